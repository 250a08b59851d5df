/* The heap report as JSON: groups, retainers, suspects; the list of blocks is streamed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "escape.h"
#include "json.h"

static json_t *preview_json(const uint8_t *bytes, unsigned size)
{
    size_t length = ms_preview_length(bytes, size);
    return length ? ms_json_escaped(bytes, length) : json_null();
}

/* What a kind is named for is never null; module, size and arena are left out of the others. */
static json_t *group_json(const struct ms_heap_group *group)
{
    json_t *object = ms_json_with(json_object(), "kind", json_string(ms_group_names[group->kind]));
    object = ms_json_with(object, "type", ms_json_string(group->type));
    object = ms_json_with(object, "type_by", ms_json_evidence(group->by));
    if (group->kind == MS_GROUP_CLASS || group->kind == MS_GROUP_MODULE)
        object = ms_json_with(object, "module", ms_json_string(group->module));
    if (group->kind == MS_GROUP_SIZE)
        object = ms_json_with(object, "size", ms_json_count(group->size));
    if (group->kind == MS_GROUP_ARENA)
        object = ms_json_with(object, "arena", ms_json_address(group->arena));
    object = ms_json_with(object, "blocks", ms_json_count(group->blocks));
    object = ms_json_with(object, "bytes", ms_json_count(group->bytes));
    object = ms_json_with(object, "share", json_real(group->share));
    object = ms_json_with(object, "retained_bytes", ms_json_count(group->retained));
    object = ms_json_with(object, "sample", group->sample ? ms_json_address(group->sample) : json_null());
    return ms_json_with(object, "preview", preview_json(group->preview, group->preview_size));
}

static json_t *owner_json(const struct ms_owner *owner)
{
    json_t *object = ms_json_with(json_object(), "address", ms_json_address(owner->address));
    object = ms_json_with(object, "size", ms_json_count(owner->size));
    object = ms_json_with(object, "retained_bytes", ms_json_count(owner->retained));
    object = ms_json_with(object, "retained_blocks", ms_json_count(owner->retained_blocks));
    object = ms_json_with(object, "share", json_real(owner->share));
    object = ms_json_with(object, "type", ms_json_string(owner->type));
    object = ms_json_with(object, "type_by", ms_json_evidence(owner->by));
    object = ms_json_with(object, "root", ms_json_string(owner->root));
    object = ms_json_with(object, "module", ms_json_string(owner->module));
    return ms_json_with(object, "preview", preview_json(owner->preview, owner->preview_size));
}

static json_t *retainer_json(const struct ms_retainer *retainer)
{
    json_t *gathers = retainer->gathers.address ? owner_json(&retainer->gathers) : json_null();
    return ms_json_with(owner_json(&retainer->block), "gathers", gathers);
}

static json_t *suspect_json(const struct ms_suspect *suspect)
{
    json_t *object = json_object();
    object = ms_json_with(object, "retained_bytes", ms_json_count(suspect->retained));
    object = ms_json_with(object, "share", json_real(suspect->share));
    if (suspect->is_group)
        return ms_json_with(object, "group", group_json(&suspect->group));
    return ms_json_with(object, "block", retainer_json(&suspect->retainer));
}

static json_t *typed_json(const struct ms_heap_report *report)
{
    json_t *typed = json_object();
    for (int by = MS_EVIDENCES - 1; by >= 0; by--)
        typed = ms_json_with(typed, ms_evidence_names[by], ms_json_tally(&report->typed[by]));
    return typed;
}

/* Of a Go heap alone. */
static json_t *pinned_json(const struct ms_heap_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->pinned.count; i++) {
        json_t *one = ms_json_with(json_object(), "used", ms_json_count(report->pinned.items[i].used));
        list = ms_json_with_item(list, ms_json_with(one, "block", owner_json(&report->pinned.items[i].block)));
    }
    return ms_json_with(ms_json_tally(&report->pinned_all), "arrays", list);
}

static json_t *heap_json(const struct ms_heap_report *report)
{
    json_t *groups = json_array(), *retainers = json_array(), *suspects = json_array();
    for (size_t i = 0; i < report->groups.count; i++)
        groups = ms_json_with_item(groups, group_json(&report->groups.items[i]));
    for (size_t i = 0; i < report->retainers.count; i++)
        retainers = ms_json_with_item(retainers, retainer_json(&report->retainers.items[i]));
    for (size_t i = 0; i < report->suspects.count; i++)
        suspects = ms_json_with_item(suspects, suspect_json(&report->suspects.items[i]));
    json_t *heap = ms_json_with(json_object(), "live", ms_json_tally(&report->live));
    heap = ms_json_with(heap, "reachable", ms_json_tally(&report->reachable));
    heap = ms_json_with(heap, "lost", ms_json_tally(&report->lost));
    heap = ms_json_with(heap, "typed", typed_json(report));
    heap = ms_json_with(heap, "by", json_string(ms_heap_by_names[report->by]));
    heap = ms_json_with(heap, "sort", json_string(ms_heap_sort_names[report->sort]));
    heap = ms_json_with(heap, "group_count", ms_json_count(report->group_count));
    heap = ms_json_with(heap, "others", ms_json_tally(&report->others));
    heap = ms_json_with(heap, "suspects", suspects);
    if (report->pinned_all.blocks)
        heap = ms_json_with(heap, "pinned", pinned_json(report));
    if (report->go_suspects.list.count)
        heap = ms_json_with(heap, "go_suspects", ms_go_suspects_json(&report->go_suspects));
    heap = ms_json_with(heap, "retainers", retainers);
    return ms_json_with(heap, "groups", groups);
}

struct list {
    FILE *out;
    bool begun;
};

static struct ms_error *write_block(void *context, const struct ms_listed_block *block)
{
    struct list *list = context;
    if (ferror(list->out)) /* nobody reads any more */
        return NULL;
    fprintf(list->out, "%s\n      {\"address\": \"0x%" PRIx64 "\", \"size\": %" PRIu64 ", \"type\": ",
            list->begun ? "," : "", block->address, block->size);
    list->begun = true;
    MS_TRY(ms_json_write_string(list->out, block->type));
    if (block->by)
        fprintf(list->out, ", \"type_by\": \"%s\"}", ms_evidence_names[block->by]);
    else
        fputs(", \"type_by\": null}", list->out);
    return NULL;
}

/* The list goes in before what a document ends with whose last member is an object. */
static ms_result write_listed(const struct ms_view *view, const char *document, const struct ms_scan *scan,
                              const struct ms_heap_report *report)
{
    struct list list = {view->out, false};
    fwrite(document, 1, strlen(document) - strlen(MS_JSON_TAIL), view->out);
    fputs(",\n    \"blocks\": [", view->out);
    MS_TRY(ms_each_live_block(scan, report, write_block, &list));
    fputs(list.begun ? "\n    ]" : "]", view->out);
    fputs(MS_JSON_TAIL "\n", view->out);
    return NULL;
}

ms_result ms_heap_json_write(const struct ms_view *view, const struct ms_image *image, const struct ms_scan *scan,
                             const struct ms_heap_report *report, bool list)
{
    json_t *document = ms_json_document(ms_json_envelope(image, &scan->heap), report->complete, "heap",
                                        heap_json(report));
    ms_auto_free char *text = document ? json_dumps(document, MS_JSON_FLAGS | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(document);
    if (!text)
        return ms_error_nomem("the report");
    if (list)
        return write_listed(view, text, scan, report);
    fprintf(view->out, "%s\n", text);
    return NULL;
}
