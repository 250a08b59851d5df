/* The memory account as JSON. */
#include <stdio.h>

#include "json.h"

/* Members of an arena: which class's blocks and bytes they are; blocks NULL where they mean
 * nothing. */
static const struct {
    enum ms_class class;
    const char *bytes, *blocks;
} members[] = {
    {MS_CLASS_LIVE, "live_bytes", "live_blocks"},
    {MS_CLASS_FREE, "free_bytes", "free_blocks"},
    {MS_CLASS_TCACHE, "tcache_bytes", "tcache_blocks"},
    {MS_CLASS_FASTBIN, "fastbin_bytes", "fastbin_blocks"},
    {MS_CLASS_TOP, "top_bytes", NULL},
    {MS_CLASS_OVERHEAD, "overhead_bytes", NULL},
    {MS_CLASS_UNKNOWN, "unknown_bytes", NULL},
};

static json_t *arena_json(const struct ms_arena *arena)
{
    json_t *object = ms_json_with(json_object(), "address", ms_json_address(arena->address));
    object = ms_json_with(object, "system", ms_json_count(arena->system));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const struct ms_tally *tally = &arena->classes[members[i].class];
        object = ms_json_with(object, members[i].bytes, ms_json_count(tally->bytes));
        if (members[i].blocks)
            object = ms_json_with(object, members[i].blocks, ms_json_count(tally->blocks));
    }
    object = ms_json_with(object, "trimmable_bytes", ms_json_count(arena->trimmable));
    object = ms_json_with(object, "mapped", json_boolean(arena->mapped));
    return ms_json_with(object, "locked", json_boolean(arena->locked));
}

static json_t *arenas_json(const struct ms_heap *heap)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < heap->arenas.count; i++) {
        if (json_array_append_new(array, arena_json(&heap->arenas.items[i]))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *rows_json(const struct ms_memstats *stats)
{
    json_t *array = json_array();
    for (unsigned row = 0; array && row < MS_ROWS; row++) {
        json_t *object = ms_json_with(json_object(), "name", json_string(ms_rows[row].name));
        object = ms_json_with(object, "bytes", ms_json_count(stats->rows[row]));
        if (json_array_append_new(array, object)) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *ms_memstats_json(const struct ms_heap *heap, const struct ms_memstats *stats)
{
    json_t *rss = ms_json_with(json_object(), "total", ms_json_count(stats->rss));
    rss = ms_json_with(rss, "accounted", ms_json_count(stats->total));
    rss = ms_json_with(rss, "rows", rows_json(stats));
    json_t *verdict = json_string(ms_verdict_names[stats->verdict]);
    verdict = ms_json_with(json_object(), "name", verdict);
    verdict = ms_json_with(verdict, "reason", ms_json_string(stats->reason));
    json_t *memstats = ms_json_with(json_object(), "rss", rss);
    memstats = ms_json_with(memstats, "verdict", verdict);
    memstats = ms_json_with(memstats, "arenas", arenas_json(heap));
    return stats->go ? ms_json_with(memstats, "go", ms_go_stats_json(stats->go)) : memstats;
}

ms_result ms_memstats_json_write(const struct ms_view *view, const struct ms_image *image,
                                 const struct ms_heap *heap, const struct ms_memstats *stats)
{
    json_t *document = ms_json_document(ms_json_envelope(image, heap), stats->complete, "memstats",
                                        ms_memstats_json(heap, stats));
    if (!document)
        return ms_error_nomem("the report");
    json_dumpf(document, view->out, MS_JSON_FLAGS);
    json_decref(document);
    putc('\n', view->out);
    return NULL;
}
