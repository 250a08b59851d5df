/* The leak report as JSON; the list of blocks is streamed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"
#include "json.h"

static json_t *samples_json(const struct ms_leak_group *group)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < group->samples; i++) {
        if (json_array_append_new(array, ms_json_address(group->sample[i]))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *preview_json(const struct ms_leak_group *group)
{
    size_t length = ms_preview_length(group->preview, group->preview_size);
    return length ? ms_json_escaped(group->preview, length) : json_null();
}

static json_t *holds_json(const struct ms_leak_group *group)
{
    json_t *array = json_array();
    for (size_t i = 0; i < MS_GROUP_HOLDS && group->holds[i].type; i++) {
        const struct ms_leak_held *held = &group->holds[i];
        json_t *object = ms_json_with(json_object(), "type", ms_json_string(held->type));
        object = ms_json_with(object, "guess", json_boolean(held->guess));
        array = ms_json_with_item(array, ms_json_with(object, "blocks", ms_json_count(held->blocks)));
    }
    return array;
}

static json_t *group_json(const struct ms_leak_group *group, bool show)
{
    json_t *object = json_object();
    object = ms_json_with(object, "kind", json_string(ms_leak_names[group->kind]));
    object = ms_json_with(object, "blocks", ms_json_count(group->blocks));
    object = ms_json_with(object, "bytes", ms_json_count(group->bytes));
    object = ms_json_with(object, "indirect_blocks", ms_json_count(group->indirect_blocks));
    object = ms_json_with(object, "indirect_bytes", ms_json_count(group->indirect_bytes));
    object = ms_json_with(object, "type", ms_json_string(group->type));
    object = ms_json_with(object, "type_by", ms_json_evidence(group->by));
    object = ms_json_with(object, "holds", holds_json(group));
    object = ms_json_with(object, "size", ms_json_count(group->size));
    object = ms_json_with(object, "ring", json_boolean(group->ring));
    object = ms_json_with(object, "module", ms_json_string(group->module));
    object = ms_json_with(object, "preview", preview_json(group));
    object = ms_json_with(object, "sample", samples_json(group));
    return show ? ms_json_with(object, "members", ms_json_values(&group->values)) : object;
}

static json_t *groups_json(const struct ms_leak_report *report)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < report->groups.count; i++) {
        if (json_array_append_new(array, group_json(&report->groups.items[i], report->shown))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* What the collector of Go will take: no leaks. */
static json_t *go_json(const struct ms_go_heap *go)
{
    json_t *object = json_object();
    object = ms_json_with(object, "version", ms_json_string(go->go->version));
    object = ms_json_with(object, "live", ms_json_tally(&go->live));
    object = ms_json_with(object, "unreachable", ms_json_tally(&go->unreachable));
    object = ms_json_with(object, "unreachable_young", ms_json_tally(&go->young));
    object = ms_json_with(object, "garbage", ms_json_tally(&go->garbage));
    return ms_json_with(object, "collecting", json_boolean(go->marking));
}

static json_t *leaks_json(const struct ms_leak_report *report, const struct ms_go_heap *go)
{
    json_t *leaks = json_object();
    for (unsigned kind = 0; kind < MS_LEAK_KINDS; kind++)
        leaks = ms_json_with(leaks, ms_leak_names[kind], ms_json_tally(&report->kinds[kind]));
    leaks = ms_json_with(leaks, "suppressed", ms_json_tally(&report->suppressed));
    leaks = ms_json_with(leaks, "live", ms_json_tally(&report->live));
    if (go)
        leaks = ms_json_with(leaks, "go", go_json(go));
    return ms_json_with(leaks, "groups", groups_json(report));
}

/* Writes one block without making a json_t for more than its type. */
static ms_result write_block(FILE *out, const struct ms_leak_block *block, bool first)
{
    fprintf(out,
            "%s\n      {\"address\": \"0x%" PRIx64 "\", \"size\": %" PRIu64
            ", \"kind\": \"%s\", \"type\": ",
            first ? "" : ",", block->address, block->size, ms_leak_names[block->kind]);
    MS_TRY(ms_json_write_string(out, block->type));
    if (block->by)
        fprintf(out, ", \"type_by\": \"%s\"}", ms_evidence_names[block->by]);
    else
        fputs(", \"type_by\": null}", out);
    return NULL;
}

static ms_result write_listed(FILE *out, const char *document, const struct ms_leak_report *report)
{
    size_t length = strlen(document) - strlen(MS_JSON_TAIL);
    fwrite(document, 1, length, out);
    fputs(",\n    \"blocks\": [", out);
    /* Stops early when nobody reads any more. */
    for (size_t i = 0; i < report->blocks.count && !ferror(out); i++)
        MS_TRY(write_block(out, &report->blocks.items[i], i == 0));
    fputs(report->blocks.count ? "\n    ]" : "]", out);
    fputs(MS_JSON_TAIL "\n", out);
    return NULL;
}

ms_result ms_leaks_json_write(const struct ms_view *view, const struct ms_image *image,
                              const struct ms_heap *heap, const struct ms_leak_report *report,
                              const struct ms_go_heap *go, bool list)
{
    json_t *document = ms_json_document(ms_json_envelope(image, heap), report->complete, "leaks",
                                        leaks_json(report, go));
    ms_auto_free char *text = document ? json_dumps(document, MS_JSON_FLAGS) : NULL;
    json_decref(document);
    if (!text)
        return ms_error_nomem("the report");
    if (list)
        return write_listed(view->out, text, report);
    fprintf(view->out, "%s\n", text);
    return NULL;
}
