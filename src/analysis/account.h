/* Private to src/analysis: resident bytes by what they are for. */
#ifndef MEMSCOPE_ANALYSIS_ACCOUNT_H
#define MEMSCOPE_ANALYSIS_ACCOUNT_H

#include "memscope/memstats.h"

/* Counts resident bytes of ranges that come in address order; memstats.c. */
struct ms_cursor {
    const struct ms_image *image;
    const struct ms_region *region; /* NULL starts again from lower addresses */
    size_t run;
    uint64_t *used; /* by region and row: bytes that are in that row already; owned by the caller */
};
/* Those of [START, END), which ROW gets; the caller adds them to it. */
uint64_t ms_resident(struct ms_cursor *cursor, enum ms_row row, uint64_t start, uint64_t end);

/* The heap of a Go program and what its runtime keeps; memstats_go.c. */
ms_result ms_account_go(const struct ms_go_heap *go, struct ms_cursor *cursor, struct ms_memstats *stats);
/* The row of what is left of REGION, or ROW, which it has when it is not Go's. */
enum ms_row ms_go_region_row(const struct ms_go_heap *go, const struct ms_region *region, enum ms_row row);
/* What most of it is; false: it is malloc's heap, or not the heap. */
bool ms_judge_go(const struct ms_go_heap *go, struct ms_memstats *stats);

#endif
