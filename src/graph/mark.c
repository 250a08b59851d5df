/* Marking: what is reachable from the roots, and whether by start pointers all the way. */
#include "memscope/graph.h"

#include <stdlib.h>

#include "scan.h"

struct marker {
    const struct ms_scan *scan;
    struct ms_heap *heap;
    uint64_t block_targets;
    struct ms_reserve stack; /* of granules, uint32_t or uint64_t by need: uint64_t here */
    uint64_t *items;
    size_t depth, limit;
    MS_VECTOR(uint64_t) maybe; /* starts that an interior pointer reached first; marked `maybe` */
    struct ms_tally reached, possible;
};

/* --- lookups ----------------------------------------------------------------------------------- */

uint64_t ms_first_target(const struct ms_scan *scan, uint64_t start)
{
    return ms_word_target(&scan->heap, start * 2);
}

/*
 * Is a pointer to TARGET, inside the block at START, as good as one to its start?
 * memcheck's newarray, length64 and stdstring by the walker's bits; multiple
 * inheritance when both the block and the place begin with a vtable pointer.
 */
static bool is_vouched(const struct ms_scan *scan, uint64_t start, uint64_t target)
{
    const struct ms_heap *heap = &scan->heap;
    uint64_t granule = target / 2;
    if (target & 1 && ms_bit(heap->lines[granule / MS_LINE_GRANULES].vouched, granule))
        return true;
    uint64_t inner = ms_word_target(heap, target), outer = ms_word_target(heap, start * 2);
    return inner != MS_NOTHING && outer != MS_NOTHING && inner >= 2 * heap->granules &&
           outer >= 2 * heap->granules;
}

/* --- the stack --------------------------------------------------------------------------------- */

static void push(struct marker *m, uint64_t start)
{
    const struct ms_line *line = &m->heap->lines[start / MS_LINE_GRANULES];
    __builtin_prefetch(line, 1);
    m->items[m->depth++] = start;
}

/* Marks the live block at START in one of two bitmaps; false when it was marked or is not live. */
static bool mark(struct marker *m, uint64_t start, bool certain)
{
    struct ms_line *line = &m->heap->lines[start / MS_LINE_GRANULES];
    uint32_t bit = 1u << start % MS_LINE_GRANULES;
    if (!(line->live & line->starts & bit) || line->reached & bit || (!certain && line->maybe & bit))
        return false;
    if (certain)
        line->reached |= bit;
    else
        line->maybe |= bit;
    return true;
}

/* Follows one pointer in the certain pass: start pointers go on, interior ones wait for the second. */
static struct ms_error *follow(struct marker *m, uint64_t target)
{
    uint64_t granule = target / 2;
    const struct ms_line *line = &m->heap->lines[granule / MS_LINE_GRANULES];
    if (!(target & 1) && ms_bit(line->live & line->starts, granule)) {
        if (mark(m, granule, true))
            push(m, granule);
        return NULL;
    }
    uint64_t start = ms_start_of(m->heap, granule);
    line = &m->heap->lines[start / MS_LINE_GRANULES];
    if (!ms_bit(line->live, start) || ms_bit(line->reached, start))
        return NULL;
    if (is_vouched(m->scan, start, target)) {
        if (mark(m, start, true))
            push(m, start);
        return NULL;
    }
    if (!mark(m, start, false))
        return NULL;
    uint64_t *slot = ms_vector_add(&m->maybe);
    if (!slot)
        return ms_error_nomem("the marks");
    *slot = start;
    return NULL;
}

/* In the second pass any pointer will do. */
static void follow_maybe(struct marker *m, uint64_t target)
{
    uint64_t start = ms_start_of(m->heap, target / 2);
    if (mark(m, start, false))
        push(m, start);
}

/* Follows all pointers of the block at START. Its tail holds the next chunk's header. */
static struct ms_error *visit(struct marker *m, uint64_t start, bool certain)
{
    const struct ms_heap *heap = m->heap;
    uint64_t word = start * 2, end = word + ms_block_size(heap, start) / 8;
    while (word < end) {
        const struct ms_line *line = &heap->lines[word / 64];
        uint64_t bits = line->pointers & (UINT64_MAX << word % 64);
        uint64_t line_end = (word / 64 + 1) * 64;
        if (end < line_end)
            bits &= UINT64_MAX >> (line_end - end);
        uint64_t index = line->first + (unsigned)__builtin_popcountll(line->pointers &
                                                                     ((1ull << word % 64) - 1));
        for (; bits; bits &= bits - 1, index++) {
            uint64_t target = ms_target_at(heap, index);
            if (target >= m->block_targets)
                continue;
            if (certain)
                MS_TRY(follow(m, target));
            else
                follow_maybe(m, target);
        }
        word = line_end;
    }
    return NULL;
}

/* Depth first, through a short queue that gives the memory time to come. */
static struct ms_error *drain(struct marker *m, bool certain)
{
    while (m->depth) {
        uint64_t start = m->items[--m->depth];
        uint64_t bytes = ms_block_size(m->heap, start);
        struct ms_tally *tally = certain ? &m->reached : &m->possible;
        tally->blocks++;
        tally->bytes += bytes;
        MS_TRY(visit(m, start, certain));
    }
    return NULL;
}

/*
 * ld.so aligns the tables of _dl_find_object by hand (elf/dl-find_object.c, struct
 * dlfo_mappings_segment): its variable points into the block, where the second
 * word, to_free, points to the block's start.
 */
static bool is_aligned_by_hand(const struct ms_heap *heap, uint64_t target)
{
    uint64_t start = ms_start_of(heap, target / 2);
    return !(target & 1) && ms_word_target(heap, target + 1) == 2 * start;
}

static struct ms_error *mark_roots(struct marker *m)
{
    for (size_t i = 0; i < m->scan->root_count; i++) {
        const struct ms_root *root = &m->scan->roots[i];
        if (root->exact || (root->kind == MS_ROOT_DATA && is_aligned_by_hand(m->heap, root->target))) {
            uint64_t start = ms_start_of(m->heap, root->target / 2);
            if (mark(m, start, true))
                push(m, start);
        } else {
            MS_TRY(follow(m, root->target));
        }
        if (root->chunk && !(root->target & 1) && root->target / 2 + 1 < m->heap->granules &&
            mark(m, root->target / 2 + 1, true))
            push(m, root->target / 2 + 1);
        MS_TRY(drain(m, true));
    }
    return NULL;
}

/* The second pass: from what only interior pointers reach. Some of it was reached for certain since. */
static struct ms_error *mark_maybes(struct marker *m)
{
    for (size_t i = 0; i < m->maybe.count; i++) {
        uint64_t start = m->maybe.items[i];
        struct ms_line *line = &m->heap->lines[start / MS_LINE_GRANULES];
        if (ms_bit(line->reached, start))
            line->maybe &= ~(1u << start % MS_LINE_GRANULES);
        else
            push(m, start);
        MS_TRY(drain(m, false));
    }
    return NULL;
}

ms_result ms_mark(struct ms_scan *scan, struct ms_reach *reach)
{
    struct marker m = {.scan = scan, .heap = &scan->heap, .block_targets = 2 * scan->heap.granules};
    struct ms_tally live = {0, 0};
    for (size_t i = 0; i < scan->heap.arenas.count; i++)
        live.blocks += scan->heap.arenas.items[i].classes[MS_CLASS_LIVE].blocks;
    /* Every block is pushed at most once a pass. */
    MS_TRY(ms_reserve(&m.stack, (live.blocks + 1) * sizeof(uint64_t), "the mark stack"));
    m.items = (uint64_t *)(void *)m.stack.base;
    struct ms_error *error = mark_roots(&m);
    if (!error)
        error = mark_maybes(&m);
    ms_reserve_free(&m.stack);
    ms_vector_free(&m.maybe);
    *reach = (struct ms_reach){m.reached, m.possible, {0, 0}};
    reach->lost.blocks = live.blocks - m.reached.blocks - m.possible.blocks;
    return error;
}
