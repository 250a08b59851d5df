/* Private to src/graph: what the parts of a scan share. */
#ifndef MEMSCOPE_SCAN_H
#define MEMSCOPE_SCAN_H

#include <stdatomic.h>

#include "memscope/graph.h"

/* filter.c: one bit for each of 64 WORDS that lies in one of two intervals. */
typedef uint64_t filter_function(const uint64_t *words, const uint64_t low[2], const uint64_t span[2]);

/* The segment that words are in, as one zone: most pointers stay there. */
struct home {
    uint64_t start;  /* address, a multiple of 8 */
    uint64_t units;  /* of 8 bytes; the last one may be part of one */
    uint64_t target; /* of the start */
};

static inline struct home ms_home_of(const struct ms_segment *s)
{
    return (struct home){s->start, (s->end - s->start + 7) / 8, 2 * s->first + (s->start - s->base) / 8};
}

/*
 * filter.c: a bit for each of 64 WORDS that has a target; those are appended at *OUT, 4 bytes
 * each. Up to MS_LINE_SPILL bytes behind them are overwritten.
 */
struct zone_map;
typedef uint64_t line_function(const uint64_t *words, const struct zone_map *map,
                               const struct home *home, uint8_t **out);
#define MS_LINE_SPILL 32u

/* What a worker has found; reservations, so that nothing is moved while the target waits. */
struct worker {
    uint64_t next_target, last_target; /* its share of heap.targets, as indices */
    struct ms_reserve roots;           /* struct ms_root */
    size_t root_count;
    bool full; /* a reservation was too small */
};

/* A range of addresses that pointers to are kept: blocks, and read-only data of modules (vtables). */
struct zone {
    uint64_t start, end;
    uint64_t base;   /* address … */
    uint64_t target; /* … that has this target */
};

/* Finds a pointer's zone: by its upper bits, in two levels, then by a short search. */
#define ZONE_SHIFT 16
#define ZONE_LEVEL 16 /* bits of the second level */
#define ADDRESS_BITS 47
struct zone_map {
    MS_VECTOR(struct zone) zones; /* sorted */
    uint32_t *level1[1u << (ADDRESS_BITS - ZONE_SHIFT - ZONE_LEVEL)]; /* owned; of 1-based zone numbers */
    /* Two intervals that hold all zones, for the first, vectorised look at each word. */
    uint64_t low[2], span[2];
    uint64_t span_of_all; /* from low[0] on */
};

struct ms_scan_workers {
    struct worker worker[MS_WORKERS];
    atomic_ullong targets_given; /* indices of heap.targets that workers have taken */
    struct zone_map map;
    uint64_t block_targets; /* targets below are blocks */
    filter_function *filter;
    line_function *line; /* NULL: this CPU has no such instructions */
    struct ms_sink sink;
};

/* roots.c: fills scan->ranges and the exact roots from the image; heap discovered already. */
struct ms_error *ms_roots_plan(struct ms_scan *scan, struct ms_image *image);

/* roots.c: adds registers and pointers of the kernel to scan->roots. */
struct ms_error *ms_roots_add_words(struct ms_scan *scan, const struct ms_image *image);

/* zones.c: makes the map for the segments that were discovered, and for modules' read-only data. */
struct ms_error *ms_zones_make(struct ms_scan *scan, const struct ms_image *image);
void ms_zones_drop(struct zone_map *map);

/* In what streams by: its heaps have granules of 16 bytes. An unaligned pointer goes to the odd unit of its granule. */
static inline uint64_t ms_unit_of(uint64_t offset)
{
    return offset % 8 ? offset / 16 * 2 + 1 : offset / 8;
}

/* The target of pointer WORD, or MS_NOTHING. Here, because it is called for every word that may point. */
static inline uint64_t ms_zone_target(const struct zone_map *map, uint64_t word)
{
    if (word >> ADDRESS_BITS)
        return MS_NOTHING;
    const uint32_t *table = map->level1[word >> (ZONE_SHIFT + ZONE_LEVEL)];
    uint32_t first = table ? table[word >> ZONE_SHIFT & ((1u << ZONE_LEVEL) - 1)] : 0;
    if (!first)
        return MS_NOTHING;
    const struct zone *z = &map->zones.items[first - 1], *end = map->zones.items + map->zones.count;
    while (word >= z->end)
        if (++z == end)
            return MS_NOTHING;
    if (word < z->start)
        return MS_NOTHING;
    return z->target + ms_unit_of(word - z->base);
}

/* mark.c: is a pointer to TARGET, inside the block at START, as good as one to its start? */
bool ms_is_vouched(const struct ms_scan *scan, uint64_t start, uint64_t target);

/* mark.c: is ROOT as good as a start pointer wherever into its block it points? */
bool ms_root_is_exact(const struct ms_scan *scan, const struct ms_root *root);

/* filter.c: the fastest that this CPU can run. */
filter_function *ms_filter_best(void);
line_function *ms_line_best(void);

#endif
