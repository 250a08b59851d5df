/* Private to src/go: what the readers of statistics share, the spans of the heap among it. */
#ifndef MEMSCOPE_GO_STATS_H
#define MEMSCOPE_GO_STATS_H

#include "memscope/go.h"

/* What statistics need of runtime.mspan (src/runtime/mheap.go). */
struct ms_go_stat_span {
    uint64_t start, end; /* half-open */
    uint64_t size;       /* bytes of an object; of a stack in spans of stacks; else 0 */
    uint32_t sweepgen;
    uint32_t count;         /* objects that the span holds */
    uint16_t allocated;     /* of them, as the allocator counts */
    uint16_t before;        /* allocated when a P took it to its cache (1.19 and later) */
    uint16_t cached_stacks; /* of its stacks, in the caches of Ps */
    uint8_t state;          /* enum ms_go_span_state */
    uint8_t class;          /* spanClass: size class times two, and 1 for "no pointers" */
};
enum ms_go_span_state { MS_GO_SPAN_DEAD, MS_GO_SPAN_IN_USE, MS_GO_SPAN_MANUAL };

/* Fields of runtime.mspan, and of runtime.mheap (src/runtime/mheap.go). */
struct ms_go_span_layout {
    struct ms_go_place start, pages, elemsize, elements, allocated, before, sweepgen, state, class, self;
    struct ms_go_place all, heap_sweepgen;
};

struct ms_go_stat_spans {
    struct ms_go_span_layout layout;
    MS_VECTOR(struct ms_go_stat_span) list; /* in use or manual, by address */
    uint64_t heap_sweepgen;                 /* of mheap_ */
};

/* The span at ADDRESS, a struct mspan; false: it is not to be had. */
bool ms_go_stat_span_at(const struct ms_go *go, const struct ms_go_stat_spans *spans, uint64_t address,
                        struct ms_go_stat_span *span);
/* All that are in use. */
ms_result ms_go_stat_spans(struct ms_go *go, struct ms_go_stat_spans *spans);
void ms_go_stat_spans_free(struct ms_go_stat_spans *spans);
/* The one that ADDRESS lies in, or NULL. */
struct ms_go_stat_span *ms_go_stat_span_of(struct ms_go_stat_spans *spans, uint64_t address);

#endif
