/* Finding the Go runtime: its modules, its version, its globals. */
#include "memscope/go.h"

#include <string.h>

#include "layout.h"

/* GO with its version; NULL when there is no Go code. MODULE: where its moduledata is. */
static ms_result recognize(const struct ms_image *image, struct ms_go **go, uint64_t *module)
{
    *go = NULL;
    /* A version alone proves nothing: its mark may be any program's data. */
    *module = ms_go_find_module(image);
    if (!*module)
        return NULL;
    struct ms_go *made = calloc(1, sizeof *made);
    if (!made)
        return ms_error_nomem("the Go runtime");
    made->image = image;
    if (!ms_go_find_build_info(made, ms_image_region(image, *module)) && !ms_go_find_version(made, *module)) {
        ms_go_close(made);
        return ms_error(MS_TARGET,
                        "%s: this is a Go program, but with which version of Go it was built is not "
                        "recorded in it",
                        image->origin);
    }
    *go = made;
    return NULL;
}

ms_result ms_go_recognize(const struct ms_image *image, struct ms_go **go)
{
    uint64_t module;
    return recognize(image, go, &module);
}

ms_result ms_go_open(const struct ms_image *image, struct ms_symbols *symbols, struct ms_types *types,
                     struct ms_go **go)
{
    struct ms_go *made;
    uint64_t module;
    *go = NULL;
    MS_TRY(recognize(image, &made, &module));
    if (!made)
        return NULL;
    made->symbols = symbols;
    made->types = types;
    made->layouts = calloc(1, sizeof *made->layouts);
    struct ms_error *error = made->layouts ? ms_go_read_modules(made, module) : ms_error_nomem("the Go runtime");
    if (error) {
        ms_go_close(made);
        return error;
    }
    *go = made;
    return NULL;
}

static void free_layouts(struct ms_go_layouts *layouts)
{
    if (layouts)
        ms_vector_free(&layouts->globals);
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
    free_layouts(go->layouts);
    free(go);
}

uint64_t ms_go_global(const struct ms_go *go, const char *name)
{
    static const char prefix[] = "runtime.";
    uint64_t address = ms_symbols_address(go->symbols, name, NULL);
    /* What a table of symbols does not name is not there; only without one is it looked for. */
    if (address || ms_symbols_address(go->symbols, "runtime.firstmoduledata", NULL))
        return address;
    bool is_own = !strncmp(name, prefix, sizeof prefix - 1);
    return ms_go_find_global(go, is_own ? name + sizeof prefix - 1 : name);
}
