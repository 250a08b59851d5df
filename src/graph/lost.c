/* Lost blocks: which of them hold the others, rings included. */
#include <stdlib.h>

#include "edges.h"
#include "memscope/graph.h"

#define NO_INDEX UINT32_MAX

/* --- the lost subgraph ------------------------------------------------------------------------- */

/* A block on the way of a depth-first walk. */
struct frame {
    uint32_t index;
    struct ms_edges edges;
};

struct finder {
    const struct ms_heap *heap;
    struct ms_lost *lost;
    uint32_t *rank;   /* by line: lost blocks before it; owned */
    uint32_t *finish; /* indices in the order in which the first walk left them; owned */
    MS_VECTOR(struct frame) path;
};

static uint32_t lost_bits(const struct ms_line *line)
{
    return line->starts & line->live & ~line->reached & ~line->maybe;
}

static uint32_t index_of(const struct finder *f, uint64_t start)
{
    const struct ms_line *line = &f->heap->lines[start / MS_LINE_GRANULES];
    uint32_t bits = lost_bits(line);
    if (!ms_bit(bits, start))
        return NO_INDEX;
    return f->rank[start / MS_LINE_GRANULES] +
           (uint32_t)__builtin_popcount(bits & ((1u << start % MS_LINE_GRANULES) - 1));
}

static struct ms_error *collect(struct finder *f)
{
    uint64_t lines = f->heap->granules / MS_LINE_GRANULES;
    size_t count = 0;
    f->rank = malloc((lines ? lines : 1) * sizeof *f->rank);
    if (!f->rank)
        return ms_error_nomem("the lost blocks");
    for (uint64_t l = 0; l < lines; l++) {
        f->rank[l] = (uint32_t)count;
        count += (size_t)__builtin_popcount(lost_bits(&f->heap->lines[l]));
    }
    if (count >= NO_INDEX)
        return ms_error(MS_TARGET, "more than 4 billion blocks are lost: memscope cannot group so many");
    f->lost->count = count;
    if (count == 0)
        return NULL;
    f->lost->starts = malloc((count + 1) * sizeof *f->lost->starts);
    f->lost->leader = malloc((count + 1) * sizeof *f->lost->leader);
    f->finish = malloc((count + 1) * sizeof *f->finish);
    if (!f->lost->starts || !f->lost->leader || !f->finish)
        return ms_error_nomem("the lost blocks");
    size_t i = 0;
    for (uint64_t l = 0; l < lines; l++)
        for (uint32_t bits = lost_bits(&f->heap->lines[l]); bits; bits &= bits - 1)
            f->lost->starts[i++] = l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits);
    return NULL;
}

static struct ms_error *enter(struct finder *f, uint32_t index, uint32_t leader)
{
    struct frame *frame = ms_vector_add(&f->path);
    if (!frame)
        return ms_error_nomem("the lost blocks");
    *frame = (struct frame){index, ms_edges_of(f->heap, f->lost->starts[index])};
    f->lost->leader[index] = leader;
    return NULL;
}

/* The lost block that the innermost frame's next pointer leads to, or NO_INDEX when it has no more. */
static uint32_t next_lost(struct finder *f)
{
    struct frame *frame = &f->path.items[f->path.count - 1];
    uint64_t target;
    while ((target = ms_next_target(f->heap, &frame->edges)) != MS_NOTHING) {
        if (target >= 2 * f->heap->granules)
            continue;
        uint32_t index = index_of(f, ms_start_of(f->heap, target / 2));
        if (index != NO_INDEX && index != frame->index)
            return index;
    }
    return NO_INDEX;
}

/*
 * First walk: the order in which blocks are left. The one left last is not held
 * by any outside its own ring (as in Kosaraju's algorithm), and so on downwards;
 * starting in address order makes it the lowest of its ring.
 */
static struct ms_error *order(struct finder *f)
{
    size_t finished = 0;
    for (uint32_t i = 0; i < f->lost->count; i++) {
        if (f->lost->leader[i] != NO_INDEX)
            continue;
        MS_TRY(enter(f, i, 0));
        while (f->path.count) {
            uint32_t to = next_lost(f);
            if (to == NO_INDEX)
                f->finish[finished++] = f->path.items[--f->path.count].index;
            else if (f->lost->leader[to] == NO_INDEX)
                MS_TRY(enter(f, to, 0));
        }
    }
    return NULL;
}

/* Second walk: each leader claims all that it holds and no earlier one does. */
static struct ms_error *claim(struct finder *f, uint32_t index)
{
    struct ms_lost *lost = f->lost;
    uint32_t number = (uint32_t)lost->leaders.count;
    struct ms_leader *leader = ms_vector_add(&lost->leaders);
    if (!leader)
        return ms_error_nomem("the lost blocks");
    leader->start = lost->starts[index];
    leader->bytes = ms_block_size(f->heap, leader->start);
    MS_TRY(enter(f, index, number));
    while (f->path.count) {
        uint32_t to = next_lost(f);
        if (to == NO_INDEX) {
            f->path.count--;
        } else if (to == index) {
            leader->ring = true;
        } else if (lost->leader[to] == NO_INDEX) {
            leader->indirect_blocks++;
            leader->indirect_bytes += ms_block_size(f->heap, lost->starts[to]);
            MS_TRY(enter(f, to, number));
        }
    }
    lost->definite.blocks++;
    lost->definite.bytes += leader->bytes;
    lost->indirect.blocks += leader->indirect_blocks;
    lost->indirect.bytes += leader->indirect_bytes;
    return NULL;
}

static void forget_leaders(struct ms_lost *lost)
{
    for (size_t i = 0; i < lost->count; i++)
        lost->leader[i] = NO_INDEX;
}

static struct ms_error *find(struct finder *f)
{
    MS_TRY(collect(f));
    if (!f->finish)
        return NULL; /* collect() has found none */
    forget_leaders(f->lost);
    MS_TRY(order(f));
    forget_leaders(f->lost);
    for (size_t i = f->lost->count; i-- > 0;)
        if (f->lost->leader[f->finish[i]] == NO_INDEX)
            MS_TRY(claim(f, f->finish[i]));
    return NULL;
}

ms_result ms_find_lost(struct ms_scan *scan, struct ms_lost *lost)
{
    *lost = (struct ms_lost){0};
    struct finder f = {.heap = &scan->heap, .lost = lost};
    struct ms_error *error = find(&f);
    free(f.rank);
    free(f.finish);
    ms_vector_free(&f.path);
    if (error)
        ms_lost_free(lost);
    return error;
}

void ms_lost_free(struct ms_lost *lost)
{
    ms_vector_free(&lost->leaders);
    free(lost->starts);
    free(lost->leader);
    *lost = (struct ms_lost){0};
}
