/* The path report as JSON: region, block, pointers to and from it, chains. */
#include <stdio.h>
#include <stdlib.h>

#include "escape.h"
#include "json.h"

static json_t *place_json(const struct ms_place *place)
{
    json_t *object = json_object();
    object = ms_json_with(object, "kind", json_string(ms_place_names[place->kind]));
    object = ms_json_with(object, "name", ms_json_string(place->text));
    object = ms_json_with(object, "address", place->address ? ms_json_address(place->address) : json_null());
    object = ms_json_with(object, "thread", place->tid ? json_integer(place->tid) : json_null());
    object = ms_json_with(object, "module", ms_json_string(place->module));
    object = ms_json_with(object, "symbol", ms_json_string(place->symbol));
    object = ms_json_with(object, "frame", place->frame < 0 ? json_null() : json_integer(place->frame));
    object = ms_json_with(object, "function", ms_json_string(place->function));
    object = ms_json_with(object, "unit", ms_json_string(place->unit));
    object = ms_json_with(object, "variable", ms_json_string(place->variable));
    return ms_json_with(object, "offset", json_integer(place->offset));
}

static json_t *region_json(const struct ms_path_report *report)
{
    const struct ms_region *region = report->region;
    const char rights[] = {region->prot & MS_READ ? 'r' : '-', region->prot & MS_WRITE ? 'w' : '-',
                           region->prot & MS_EXEC ? 'x' : '-', region->prot & MS_SHARED ? 's' : 'p', '\0'};
    json_t *object = json_object();
    object = ms_json_with(object, "start", ms_json_address(region->start));
    object = ms_json_with(object, "end", ms_json_address(region->end));
    object = ms_json_with(object, "permissions", json_string(rights));
    object = ms_json_with(object, "offset", ms_json_count(region->offset));
    object = ms_json_with(object, "path", ms_json_string(*region->path ? region->path : NULL));
    return ms_json_with(object, "place", report->in_heap ? json_null() : place_json(&report->place));
}

/* What steps and edges have of a block. */
static json_t *brief_json(const struct ms_path_block *block)
{
    json_t *object = json_object();
    object = ms_json_with(object, "address", ms_json_address(block->address));
    object = ms_json_with(object, "size", ms_json_count(block->size));
    object = ms_json_with(object, "class", json_string(block->class));
    object = ms_json_with(object, "type", ms_json_string(block->type));
    return ms_json_with(object, "type_by", ms_json_evidence(block->by));
}

static json_t *block_json(const struct ms_path_report *report)
{
    const struct ms_path_block *block = &report->block;
    size_t length = ms_preview_length(block->preview, block->preview_size);
    if (!report->in_heap)
        return json_null();
    json_t *object = brief_json(block);
    object = ms_json_with(object, "offset", ms_json_count(report->offset));
    object = ms_json_with(object, "live", json_boolean(block->live));
    object = ms_json_with(object, "mapped", json_boolean(block->mapped));
    object = ms_json_with(object, "arena", block->arena ? ms_json_address(block->arena) : json_null());
    object = ms_json_with(object, "module", ms_json_string(block->module));
    object = ms_json_with(object, "preview", length ? ms_json_escaped(block->preview, length) : json_null());
    object = ms_json_with(object, "member", ms_json_string(report->member));
    object = ms_json_with(object, "members_complete", json_boolean(!report->values.more));
    object = ms_json_with(object, "contents", json_boolean(!report->values.unreadable));
    return ms_json_with(object, "members", ms_json_values(&report->values));
}

/* The other end is "root", "block" or "place"; "offset" is of the word, in the block that holds it. */
static json_t *edge_json(const struct ms_path_edge *edge, bool incoming)
{
    bool is_block = incoming ? edge->from_block : edge->to_block;
    const char *name = is_block ? "block" : incoming ? "root" : "place";
    json_t *object = json_object();
    object = ms_json_with(object, name, is_block ? brief_json(&edge->block) : place_json(&edge->place));
    object = ms_json_with(object, "offset", edge->from_block ? ms_json_count(edge->offset) : json_null());
    object = ms_json_with(object, "member", ms_json_string(edge->member));
    return ms_json_with(object, "into", edge->to_block ? json_integer(edge->into) : json_null());
}

static json_t *step_json(const struct ms_path_step *step)
{
    json_t *object = brief_json(&step->block);
    object = ms_json_with(object, "offset",
                          step->offset == MS_NOTHING ? json_null() : ms_json_count(step->offset));
    object = ms_json_with(object, "member", ms_json_string(step->member));
    return ms_json_with(object, "into", json_integer(step->into));
}

static json_t *chain_json(const struct ms_path_chain *chain)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < chain->steps.count; i++)
        steps = ms_json_with_item(steps, step_json(&chain->steps.items[i]));
    json_t *object = ms_json_with(json_object(), "root",
                                  chain->from_root ? place_json(&chain->root) : json_null());
    object = ms_json_with(object, "length", ms_json_count(chain->length));
    object = ms_json_with(object, "expression", ms_json_string(chain->expression));
    object = ms_json_with(object, "omitted", ms_json_count(chain->omitted));
    return ms_json_with(object, "steps", steps);
}

static json_t *leader_json(const struct ms_path_report *report)
{
    if (!report->lost)
        return json_null();
    return ms_json_with(brief_json(&report->leader), "indirect", ms_json_tally(&report->led));
}

static json_t *path_json(const struct ms_path_report *report)
{
    json_t *incoming = json_array(), *outgoing = json_array(), *chains = json_array();
    for (size_t i = 0; i < report->incoming.count; i++)
        incoming = ms_json_with_item(incoming, edge_json(&report->incoming.items[i], true));
    for (size_t i = 0; i < report->outgoing.count; i++)
        outgoing = ms_json_with_item(outgoing, edge_json(&report->outgoing.items[i], false));
    for (size_t i = 0; i < report->chains.count; i++)
        chains = ms_json_with_item(chains, chain_json(&report->chains.items[i]));
    json_t *path = ms_json_with(json_object(), "address", ms_json_address(report->address));
    path = ms_json_with(path, "region", region_json(report));
    path = ms_json_with(path, "block", block_json(report));
    path = ms_json_with(path, "incoming_roots", ms_json_count(report->from_roots));
    path = ms_json_with(path, "incoming_blocks", ms_json_count(report->from_blocks));
    path = ms_json_with(path, "incoming", incoming);
    path = ms_json_with(path, "outgoing_blocks", ms_json_count(report->to_blocks));
    path = ms_json_with(path, "outgoing_modules", ms_json_count(report->to_modules));
    path = ms_json_with(path, "outgoing", outgoing);
    path = ms_json_with(path, "leader", leader_json(report));
    return ms_json_with(path, "chains", chains);
}

ms_result ms_path_json_write(const struct ms_view *view, const struct ms_image *image,
                             const struct ms_heap *heap, const struct ms_path_report *report)
{
    json_t *document =
        ms_json_document(ms_json_envelope(image, heap), report->complete, "path", path_json(report));
    ms_auto_free char *text = document ? json_dumps(document, MS_JSON_FLAGS) : NULL;
    json_decref(document);
    if (!text)
        return ms_error_nomem("the report");
    fprintf(view->out, "%s\n", text);
    return NULL;
}
