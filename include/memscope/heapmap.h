/* A map of the heap: how many bytes of any range are live, lost, free. */
#ifndef MEMSCOPE_HEAPMAP_H
#define MEMSCOPE_HEAPMAP_H

#include <stddef.h>
#include <stdint.h>

#include "memscope/graph.h"

/* Bytes of chunks, with their headers. */
struct ms_heap_cell {
    uint64_t live; /* reachable and possibly lost */
    uint64_t lost;
    uint64_t free; /* in bins, cached, top; the allocator's own */
    uint64_t unknown; /* of gaps */
};

/* Sums of each pane, so that a map of any size is made between two keys. */
struct ms_heap_map {
    struct ms_pane_sums *panes; /* owned */
    size_t count;
};

/* Needs a scan that was marked. */
ms_result ms_heap_map(const struct ms_scan *scan, struct ms_heap_map *map);
void ms_heap_map_free(struct ms_heap_map *map);

/* Of the bytes [START, END) of SEGMENT; what is outside of it does not count. */
struct ms_heap_cell ms_heap_map_range(const struct ms_heap *heap, const struct ms_heap_map *map,
                                      const struct ms_segment *segment, uint64_t start, uint64_t end);

/* What a chunk is in the map's terms. */
enum ms_chunk_state { MS_CHUNK_LIVE, MS_CHUNK_LOST, MS_CHUNK_FREE, MS_CHUNK_UNKNOWN, MS_CHUNK_STATES };
extern const char *const ms_chunk_state_names[MS_CHUNK_STATES]; /* "live", "leaked", "free", "unknown" */

/* What most bytes of CELL are; false when it has none. */
bool ms_heap_cell_state(const struct ms_heap_cell *cell, enum ms_chunk_state *state);

/* A chunk: what lies between two starts. */
struct ms_chunk {
    uint64_t start, end; /* addresses, header included */
    uint64_t block;      /* of its user part */
    uint64_t granule;    /* of the same */
    enum ms_chunk_state state;
};
/* The chunk of SEGMENT that ADDRESS is part of; the next one is at its end. False when there is none. */
bool ms_chunk_at(const struct ms_heap *heap, const struct ms_segment *segment, uint64_t address,
                 struct ms_chunk *chunk);

#endif
