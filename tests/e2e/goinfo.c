/* Prints what is known of the Go runtime in a target, as JSON: for go_runtime.py. goinfo TARGET
 * [GLOBAL...] */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "go/layout.h"
#include "memscope/capture.h"
#include "memscope/go.h"
#include "memscope/graph.h"

static void or_die(struct ms_error *error)
{
    if (!error)
        return;
    fprintf(stderr, "goinfo: %s\n", error->message);
    _exit(3); /* with all that was made so far: it is no leak */
}

static json_t *range_json(struct ms_go_range range)
{
    return json_pack("[I, I]", (json_int_t)range.start, (json_int_t)range.end);
}

static json_t *module_json(const struct ms_go_module *module)
{
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "address",
                     (json_int_t)module->address, "pclntab", (json_int_t)module->pclntab, "text",
                     range_json(module->text), "noptrdata", range_json(module->noptrdata), "data",
                     range_json(module->data), "bss", range_json(module->bss), "noptrbss",
                     range_json(module->noptrbss), "types", range_json(module->types), "gcdata",
                     (json_int_t)module->gcdata, "gcbss", (json_int_t)module->gcbss, "rodata",
                     (json_int_t)module->rodata, "gofunc", (json_int_t)module->gofunc);
}

typedef bool place_finder(const struct ms_go *go, const struct ms_go_field *field,
                          struct ms_go_place *place);

static json_t *place_json(const struct ms_go *go, const struct ms_go_field *field,
                          place_finder *find)
{
    struct ms_go_place place;
    return find(go, field, &place) ? json_pack("[i, i]", (int)place.offset, (int)place.size)
                                   : json_null();
}

/* Each field that a reader needs: by the DWARF, and by the table of known versions. */
static json_t *fields_json(const struct ms_go *go)
{
#define TABLE(reader) &ms_go_fields_of_##reader,
    static const struct ms_go_fields *const tables[] = {MS_GO_READERS(TABLE)};
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (size_t k = 0; k < tables[i]->count; k++) {
            const struct ms_go_field *field = &tables[i]->fields[k];
            bool needed = go->minor >= field->since && (!field->until || go->minor <= field->until);
            json_array_append_new(
                list, json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}", "reader", tables[i]->reader,
                                "type", field->type, "path", field->path, "needed", (int)needed,
                                "dwarf", place_json(go, field, ms_go_place_by_dwarf), "table",
                                place_json(go, field, ms_go_place_by_table)));
        }
    return list;
}

static json_t *go_json(const struct ms_go *go, char **globals)
{
    json_t *modules = json_array(), *addresses = json_object();
    for (size_t i = 0; i < go->modules.count; i++)
        json_array_append_new(modules, module_json(&go->modules.items[i]));
    for (; *globals; globals++)
        json_object_set_new(addresses, *globals,
                            json_integer((json_int_t)ms_go_global(go, *globals)));
    return json_pack("{s:s, s:i, s:s?, s:s?, s:o, s:o, s:o}", "version", go->version, "minor",
                     (int)go->minor, "module", go->main_module, "info", go->build_info, "modules",
                     modules, "globals", addresses, "fields", fields_json(go));
}

/* goinfo TARGET [GLOBAL...] */
int main(int argc, char **argv)
{
    struct ms_scan *scan;
    struct ms_image *image;
    struct ms_symbols *symbols;
    struct ms_types *types;
    struct ms_go *go;
    struct ms_symbols_options options = {0};
    if (argc < 2)
        return 2;
    or_die(ms_scan_new(&scan));
    struct ms_capture_options capture = {.want = MS_WANT_FULL, .sink = ms_scan_sink(scan)};
    or_die(ms_open_target(argv[1], &capture, &image));
    or_die(ms_scan_finish(scan, image));
    or_die(ms_symbols_new(image, &options, &symbols));
    or_die(ms_types_new(symbols, image, NULL, NULL, &types));
    or_die(ms_go_open(image, symbols, types, &go));
    json_t *answer = go ? go_json(go, argv + 2) : json_null();
    int failed = json_dumpf(answer, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(answer);
    ms_go_close(go);
    ms_types_free(types);
    ms_symbols_free(symbols);
    ms_scan_free(scan);
    ms_image_free(image);
    return failed ? 3 : 0;
}
