/* Prints as JSON what only the browser shows of a target, for browsed.py; of two targets also what grew. */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "memscope/growth.h"
#include "memscope/inspection.h"
#include "memscope/stacks.h"

/* Of blocks that are retained so many are listed. */
#define RETAINED_LISTED 20u

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static struct ms_inspection *inspect(const char *target)
{
    const struct ms_inspection_options options = {.target = target};
    struct ms_inspection *inspection;
    struct ms_error *error = ms_inspection_start(&options, &inspection);
    if (error) {
        fprintf(stderr, "browsed: %s\n", error->message);
        exit(3);
    }
    for (;;) {
        const struct ms_stage_status status = ms_inspection_status(inspection, MS_STAGE_HEAP);
        uint64_t count;
        struct pollfd fd = {.fd = ms_inspection_fd(inspection), .events = POLLIN};
        if (status.state == MS_STAGE_DONE)
            return inspection;
        if (status.state == MS_STAGE_FAILED) {
            fprintf(stderr, "browsed: %s\n", status.error);
            exit(3);
        }
        if (poll(&fd, 1, 1000) > 0 && read(fd.fd, &count, sizeof count) < 0)
            continue;
    }
}

static json_t *addresses(const struct ms_leak_report *report, const uint32_t *indices, uint64_t count)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < count; i++)
        json_array_append_new(list, number(report->blocks.items[indices[i]].address));
    return list;
}

static json_t *leaders_json(const struct ms_leak_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->leaders.count; i++) {
        const struct ms_leak_leader *leader = &report->leaders.items[i];
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:b}", "address",
                                              number(report->blocks.items[leader->block].address), "bytes",
                                              number(leader->bytes), "held",
                                              addresses(report, report->held + leader->first, leader->count),
                                              "ring", leader->ring));
    }
    return list;
}

static json_t *groups_json(const struct ms_leak_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->groups.count; i++) {
        const struct ms_leak_group *g = &report->groups.items[i];
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:o}", "kind", ms_leak_names[g->kind], "size",
                                              number(g->size), "bytes", number(g->bytes), "indirect_bytes",
                                              number(g->indirect_bytes), "members",
                                              addresses(report, report->members + g->first, g->blocks)));
    }
    return list;
}

static json_t *chunks_json(const struct ms_heap *heap)
{
    json_t *list = json_array();
    for (size_t i = 0; i < heap->segments.count; i++) {
        const struct ms_segment *s = &heap->segments.items[i];
        struct ms_chunk chunk;
        for (uint64_t at = s->start; ms_chunk_at(heap, s, at, &chunk); at = chunk.end)
            json_array_append_new(list, json_pack("[o, o, o, s]", number(chunk.start), number(chunk.end),
                                                  number(chunk.block), ms_chunk_state_names[chunk.state]));
    }
    return list;
}

/* Each segment as a whole, and in pieces of 10,000 bytes: sums must be the same. */
static json_t *segments_json(const struct ms_heap *heap, const struct ms_heap_map *map)
{
    json_t *list = json_array();
    for (size_t i = 0; i < heap->segments.count; i++) {
        const struct ms_segment *s = &heap->segments.items[i];
        const struct ms_heap_cell whole = ms_heap_map_range(heap, map, s, s->start, s->end);
        struct ms_heap_cell sum = {0};
        for (uint64_t at = s->start; at < s->end; at += 10000) {
            const struct ms_heap_cell cell = ms_heap_map_range(heap, map, s, at, at + 10000);
            sum.live += cell.live;
            sum.lost += cell.lost;
            sum.free += cell.free;
        }
        json_t *sums = json_pack("[o, o, o]", number(whole.live), number(whole.lost), number(whole.free));
        json_t *pieces = json_pack("[o, o, o]", number(sum.live), number(sum.lost), number(sum.free));
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "start", number(s->start), "end",
                                              number(s->end), "whole", sums, "pieces", pieces));
    }
    return list;
}

static json_t *map_json(const struct ms_image *image, const struct ms_memory_map *map)
{
    json_t *list = json_array();
    for (size_t i = 0; i < map->groups.count; i++) {
        const struct ms_map_group *group = &map->groups.items[i];
        for (uint32_t j = group->first; j < group->first + group->extent.regions; j++) {
            const struct ms_map_region *region = &map->regions.items[j];
            const struct ms_region *r = &image->regions[region->index];
            json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:s, s:s, s:i}", "start", number(r->start),
                                                  "end", number(r->end), "rss", number(region->rss), "use",
                                                  ms_uses[region->use].name, "group", group->path, "tid",
                                                  (int)region->tid));
        }
    }
    return json_pack("{s:o, s:o, s:o}", "regions", list, "rss", number(map->total.rss), "size",
                     number(map->total.size));
}

static json_t *changes_json(const struct ms_growth *growth)
{
    json_t *list = json_array();
    for (size_t i = 0; i < growth->groups.count; i++) {
        const struct ms_group_change *c = &growth->groups.items[i];
        json_array_append_new(list, json_pack("{s:I, s:I, s:b, s:b}", "blocks", (json_int_t)c->change.blocks,
                                              "bytes", (json_int_t)c->change.bytes, "before",
                                              c->before != MS_NO_GROUP, "now", c->now != MS_NO_GROUP));
    }
    return json_pack("{s:I, s:I, s:o}", "blocks", (json_int_t)growth->total.blocks, "bytes",
                     (json_int_t)growth->total.bytes, "groups", list);
}

static json_t *growth_json(const struct ms_facts *before, const struct ms_facts *now)
{
    struct ms_growth heap, leaks;
    if (ms_heap_growth(before->heap, now->heap, &heap) || ms_leak_growth(before->leaks, now->leaks, &leaks))
        exit(3);
    json_t *growth = json_pack("{s:o, s:o}", "heap", changes_json(&heap), "leaks", changes_json(&leaks));
    ms_growth_free(&heap);
    ms_growth_free(&leaks);
    return growth;
}

static json_t *owners_json(const struct ms_owners *owners)
{
    json_t *list = json_array();
    for (size_t i = 0; i < owners->list.count; i++) {
        const struct ms_owner *o = &owners->list.items[i];
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "address", number(o->address), "size",
                                              number(o->size), "retained", number(o->retained), "blocks",
                                              number(o->retained_blocks)));
    }
    return json_pack("{s:o, s:o}", "count", number(owners->count), "list", list);
}

/* All blocks of each group, and what each of these retains directly. */
static json_t *blocks_json(const struct ms_facts *facts, json_t *retained)
{
    json_t *list = json_array();
    for (size_t i = 0; i < facts->heap->groups.count; i++) {
        const struct ms_heap_group *group = &facts->heap->groups.items[i];
        struct ms_owners members, below;
        if (ms_find_group_blocks(facts->scan, facts->heap, group, SIZE_MAX, &members))
            exit(3);
        for (size_t j = 0; j < members.list.count; j++) {
            const uint64_t address = members.list.items[j].address;
            const uint64_t start = ms_address_granule(&facts->scan->heap, ms_heap_segment(&facts->scan->heap, address), address);
            char key[32];
            if (ms_find_retained(facts->scan, facts->heap, start, RETAINED_LISTED, &below))
                exit(3);
            snprintf(key, sizeof key, "%llu", (unsigned long long)address);
            json_object_set_new(retained, key, owners_json(&below));
            ms_owners_free(&below);
        }
        json_array_append_new(list, json_pack("{s:o, s:o}", "blocks", number(group->blocks), "members",
                                              owners_json(&members)));
        ms_owners_free(&members);
    }
    return list;
}

static json_t *locals_json(const struct ms_facts *facts)
{
    const struct ms_decoder decoder = {facts->scan, facts->image, facts->symbols, facts->types, facts->knowledge};
    json_t *list = json_array();
    for (size_t i = 0; i < facts->image->thread_count; i++) {
        struct ms_decoded_stack decoded;
        if (ms_decode_stack(&decoder, &facts->image->threads[i], 16, 5000, &decoded))
            exit(3);
        for (size_t j = 0; j < decoded.values.count; j++) {
            const struct ms_stack_value *v = &decoded.values.items[j];
            const struct ms_frame *frame = &decoded.stack.frames.items[v->frame];
            json_array_append_new(list, json_pack("{s:i, s:i, s:s?, s:s?, s:s?, s:o, s:o, s:o}", "tid",
                                                  (int)decoded.stack.tid, "frame", (int)v->frame, "function",
                                                  frame->function, "name", v->local->name, "path", v->value.path,
                                                  "at", number(v->local->address), "value", number(v->value.number.u),
                                                  "to", number(v->value.to)));
        }
        ms_decoded_stack_free(&decoded);
    }
    return list;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    struct ms_inspection *first = inspect(argv[1]), *second = argc > 2 ? inspect(argv[2]) : NULL;
    const struct ms_facts facts = ms_inspection_facts(first);
    json_t *answer = json_pack("{s:o, s:o, s:o, s:o, s:o}", "leaders", leaders_json(facts.leaks), "groups",
                               groups_json(facts.leaks), "chunks", chunks_json(&facts.scan->heap), "segments",
                               segments_json(&facts.scan->heap, facts.heap_map), "map",
                               map_json(facts.image, facts.map));
    json_t *retained = json_object();
    json_object_set_new(answer, "blocks", blocks_json(&facts, retained));
    json_object_set_new(answer, "retained", retained);
    json_object_set_new(answer, "locals", locals_json(&facts));
    if (second) {
        const struct ms_facts later = ms_inspection_facts(second);
        json_object_set_new(answer, "growth", growth_json(&facts, &later));
    }
    const int failed = json_dumpf(answer, stdout, JSON_COMPACT);
    json_decref(answer);
    ms_inspection_free(second);
    ms_inspection_free(first);
    return failed ? 3 : 0;
}
