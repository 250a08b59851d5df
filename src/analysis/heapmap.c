/* A map of the heap: which bytes are live, lost and free, from the index of blocks. */
#include "memscope/heapmap.h"

#include <stdlib.h>

const char *const ms_chunk_state_names[MS_CHUNK_STATES] = {
    [MS_CHUNK_LIVE] = "live", [MS_CHUNK_LOST] = "leaked", [MS_CHUNK_FREE] = "free", [MS_CHUNK_UNKNOWN] = "unknown",
};

/* A pane has 64 KiB. */
struct ms_pane_sums {
    uint32_t bytes[MS_CHUNK_STATES];
};

static enum ms_chunk_state state_of(const struct ms_heap *heap, uint64_t granule, uint64_t address)
{
    const struct ms_line *line = &heap->lines[granule / MS_LINE_GRANULES];
    if (ms_bit(line->live, granule))
        return ms_bit(line->reached | line->maybe, granule) ? MS_CHUNK_LIVE : MS_CHUNK_LOST;
    return heap->gaps.count && ms_heap_gap(heap, address) ? MS_CHUNK_UNKNOWN : MS_CHUNK_FREE;
}

/* Chunks begin a granule before their user part; the first one of a segment where that begins. */
static struct ms_chunk chunk_of(const struct ms_heap *heap, const struct ms_segment *s, uint64_t granule)
{
    const uint64_t next = ms_next_start(heap, granule), end = ms_segment_end(heap, s);
    const uint64_t block = ms_granule_address(heap, granule), header = ms_header_bytes(heap);
    struct ms_chunk chunk = {.block = block, .granule = granule, .state = state_of(heap, granule, block)};
    chunk.start = block > s->start + header ? block - header : s->start;
    chunk.end = next >= end ? s->end : ms_granule_address(heap, next) - header;
    return chunk;
}

bool ms_chunk_at(const struct ms_heap *heap, const struct ms_segment *s, uint64_t address, struct ms_chunk *chunk)
{
    if (address < s->start || address >= s->end)
        return false;
    /* Its header may be in the granule before its start. */
    uint64_t granule = ms_address_granule(heap, s, address);
    if (ms_header_bytes(heap) && granule + 1 < ms_segment_end(heap, s))
        granule++;
    uint64_t start = ms_start_of(heap, granule);
    *chunk = chunk_of(heap, s, start);
    while (chunk->end <= address) {
        start = ms_next_start(heap, start);
        if (start >= ms_segment_end(heap, s))
            return false;
        *chunk = chunk_of(heap, s, start);
    }
    return true;
}

/* --- panes ------------------------------------------------------------------------------------- */

static void add_chunk(struct ms_heap_map *map, const struct ms_heap *heap, const struct ms_segment *s,
                      const struct ms_chunk *chunk)
{
    const uint64_t size = ms_granule_bytes(heap, MS_PANE_GRANULES);
    for (uint64_t at = chunk->start, next; at < chunk->end; at = next) {
        const uint64_t pane = (at - s->base) / size;
        next = s->base + (pane + 1) * size;
        next = next < chunk->end ? next : chunk->end;
        map->panes[s->first / MS_PANE_GRANULES + pane].bytes[chunk->state] += (uint32_t)(next - at);
    }
}

ms_result ms_heap_map(const struct ms_scan *scan, struct ms_heap_map *map)
{
    const struct ms_heap *heap = &scan->heap;
    map->count = heap->granules / MS_PANE_GRANULES;
    map->panes = calloc(map->count + 1, sizeof *map->panes);
    if (!map->panes)
        return ms_error_nomem("the map of the heap");
    for (size_t i = 0; i < heap->segments.count; i++) {
        const struct ms_segment *s = &heap->segments.items[i];
        struct ms_chunk chunk;
        for (uint64_t at = s->start; ms_chunk_at(heap, s, at, &chunk); at = chunk.end) {
            chunk.start = at;
            add_chunk(map, heap, s, &chunk);
        }
    }
    return NULL;
}

void ms_heap_map_free(struct ms_heap_map *map)
{
    free(map->panes);
    *map = (struct ms_heap_map){0};
}

/* --- ranges ------------------------------------------------------------------------------------ */

static void add_bytes(uint64_t bytes[MS_CHUNK_STATES], const struct ms_heap *heap, const struct ms_segment *s,
                      uint64_t start, uint64_t end)
{
    struct ms_chunk chunk;
    for (uint64_t at = start; at < end && ms_chunk_at(heap, s, at, &chunk); at = chunk.end)
        bytes[chunk.state] += (chunk.end < end ? chunk.end : end) - at;
}

struct ms_heap_cell ms_heap_map_range(const struct ms_heap *heap, const struct ms_heap_map *map,
                                      const struct ms_segment *s, uint64_t start, uint64_t end)
{
    uint64_t bytes[MS_CHUNK_STATES] = {0};
    start = start > s->start ? start : s->start;
    end = end < s->end ? end : s->end;
    const uint64_t size = ms_granule_bytes(heap, MS_PANE_GRANULES);
    const uint64_t first = (start - s->base + size - 1) / size, last = (end - s->base) / size;
    if (start < end && first < last) {
        add_bytes(bytes, heap, s, start, s->base + first * size);
        for (uint64_t pane = first; pane < last; pane++)
            for (unsigned i = 0; i < MS_CHUNK_STATES; i++)
                bytes[i] += map->panes[s->first / MS_PANE_GRANULES + pane].bytes[i];
        start = s->base + last * size;
    }
    if (start < end)
        add_bytes(bytes, heap, s, start, end);
    return (struct ms_heap_cell){bytes[MS_CHUNK_LIVE], bytes[MS_CHUNK_LOST], bytes[MS_CHUNK_FREE],
                                 bytes[MS_CHUNK_UNKNOWN]};
}

bool ms_heap_cell_state(const struct ms_heap_cell *cell, enum ms_chunk_state *state)
{
    const uint64_t bytes[MS_CHUNK_STATES] = {cell->live, cell->lost, cell->free, cell->unknown};
    *state = MS_CHUNK_LIVE;
    for (unsigned i = 0; i < MS_CHUNK_STATES; i++)
        if (bytes[i] > bytes[*state])
            *state = (enum ms_chunk_state)i;
    return bytes[*state] > 0;
}
