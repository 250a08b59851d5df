/* Finding the Go runtime: its modules, its version, its globals. */
#include "memscope/go.h"

#include <string.h>

#include "layout.h"

static ms_result read_runtime(struct ms_go *go, uint64_t module)
{
    if (!ms_go_find_build_info(go, ms_image_region(go->image, module)))
        return ms_error(
            MS_TARGET,
            "%s: this is a Go program, but with which version of Go it was built is not "
            "recorded in it",
            go->image->origin);
    go->layouts = calloc(1, sizeof *go->layouts);
    if (!go->layouts)
        return ms_error_nomem("the Go runtime");
    return ms_go_read_modules(go, module);
}

ms_result ms_go_open(const struct ms_image *image, struct ms_symbols *symbols,
                     struct ms_types *types, struct ms_go **go)
{
    *go = NULL;
    /* A version alone proves nothing: its mark may be any program's data. */
    uint64_t module = ms_go_find_module(image);
    if (!module)
        return NULL;
    struct ms_go *made = calloc(1, sizeof *made);
    if (!made)
        return ms_error_nomem("the Go runtime");
    made->image = image;
    made->symbols = symbols;
    made->types = types;
    struct ms_error *error = read_runtime(made, module);
    if (error) {
        ms_go_close(made);
        return error;
    }
    *go = made;
    return NULL;
}

void ms_go_layouts_free(struct ms_go_layouts *layouts)
{
    free(layouts);
}

void ms_go_close(struct ms_go *go)
{
    if (!go)
        return;
    ms_vector_free(&go->modules);
    free(go->version);
    free(go->main_module);
    free(go->build_info);
    ms_go_layouts_free(go->layouts);
    free(go);
}

uint64_t ms_go_global(const struct ms_go *go, const char *name)
{
    return ms_symbols_address(go->symbols, name, NULL);
}
