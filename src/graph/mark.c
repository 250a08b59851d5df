/* Marking: what is reachable from the roots, and whether by start pointers all the way. */
#include "memscope/graph.h"

#include <stdlib.h>

#include "edges.h"
#include "scan.h"

/*
 * A random graph misses the cache at each edge and each block. So both wait in
 * rings, this many steps, while the memory they need is on its way.
 */
#define EDGES_AHEAD 64u
#define BLOCKS_AHEAD 16u

struct marker {
    const struct ms_scan *scan;
    struct ms_heap *heap;
    uint64_t block_targets;
    bool certain; /* the pass: start pointers only, or any */
    struct ms_reserve stack;
    uint64_t *items; /* granules of marked blocks still to be visited */
    size_t depth;
    uint64_t edge[EDGES_AHEAD]; /* targets still to be followed */
    size_t edge_in, edge_out;
    uint64_t block[BLOCKS_AHEAD]; /* taken from the stack, to be visited next */
    size_t block_in, block_out;
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
bool ms_is_vouched(const struct ms_scan *scan, uint64_t start, uint64_t target)
{
    const struct ms_heap *heap = &scan->heap;
    uint64_t granule = target / 2;
    if (heap->interior_holds)
        return true;
    if (target & 1 && ms_bit(heap->lines[granule / MS_LINE_GRANULES].vouched, granule))
        return true;
    uint64_t inner = ms_word_target(heap, target), outer = ms_word_target(heap, start * 2);
    return inner != MS_NOTHING && outer != MS_NOTHING && inner >= 2 * heap->granules &&
           outer >= 2 * heap->granules;
}

/* --- the stack --------------------------------------------------------------------------------- */

static void push(struct marker *m, uint64_t start)
{
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
    if (ms_is_vouched(m->scan, start, target)) {
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

static struct ms_error *take_edge(struct marker *m)
{
    uint64_t target = m->edge[m->edge_out++ % EDGES_AHEAD];
    if (m->certain)
        return follow(m, target);
    follow_maybe(m, target);
    return NULL;
}

static struct ms_error *add_edge(struct marker *m, uint64_t target)
{
    __builtin_prefetch(&m->heap->lines[target / 64], 1);
    m->edge[m->edge_in++ % EDGES_AHEAD] = target;
    return m->edge_in - m->edge_out == EDGES_AHEAD ? take_edge(m) : NULL;
}

/* Counts the block at START and queues all its pointers. */
static struct ms_error *visit(struct marker *m, uint64_t start)
{
    const struct ms_heap *heap = m->heap;
    uint64_t word = start * 2, end = ms_words_end(heap, start);
    struct ms_tally *tally = m->certain ? &m->reached : &m->possible;
    tally->blocks++;
    tally->bytes += ms_word_bytes(heap, end - word);
    while (word < end) {
        const struct ms_line *line = &heap->lines[word / 64];
        uint64_t bits = line->pointers & (UINT64_MAX << word % 64);
        uint64_t line_end = (word / 64 + 1) * 64;
        if (end < line_end)
            bits &= UINT64_MAX >> (line_end - end);
        uint64_t index = line->first + ms_pointers_before(line, word);
        for (; bits; bits &= bits - 1, index++) {
            uint64_t target = ms_target_at(heap, index);
            if (target < m->block_targets)
                MS_TRY(add_edge(m, target));
        }
        word = line_end;
    }
    return NULL;
}

/* Fills the ring of blocks from the stack. Half-way through it a block's line is there: its edges are called. */
static void take_blocks(struct marker *m)
{
    const struct ms_heap *heap = m->heap;
    while (m->depth && m->block_in - m->block_out < BLOCKS_AHEAD) {
        uint64_t start = m->items[--m->depth];
        __builtin_prefetch(&heap->lines[start / MS_LINE_GRANULES]);
        m->block[m->block_in++ % BLOCKS_AHEAD] = start;
        if (m->block_in - m->block_out <= BLOCKS_AHEAD / 2)
            continue;
        uint64_t half = m->block[(m->block_in - BLOCKS_AHEAD / 2) % BLOCKS_AHEAD];
        const struct ms_line *line = &heap->lines[half / MS_LINE_GRANULES];
        __builtin_prefetch(heap->targets + (line->first + ms_pointers_before(line, half * 2)) * heap->edge_width);
    }
}

/* Goes on until nothing is left to visit or to follow. */
static struct ms_error *drain(struct marker *m)
{
    for (;;) {
        take_blocks(m);
        if (m->block_in != m->block_out)
            MS_TRY(visit(m, m->block[m->block_out++ % BLOCKS_AHEAD]));
        else if (m->edge_in != m->edge_out)
            MS_TRY(take_edge(m));
        else
            return NULL;
    }
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

bool ms_root_is_exact(const struct ms_scan *scan, const struct ms_root *root)
{
    return root->exact || scan->heap.interior_holds || (root->kind == MS_ROOT_DATA && is_aligned_by_hand(&scan->heap, root->target));
}

static struct ms_error *mark_roots(struct marker *m, size_t first)
{
    for (size_t i = first; i < m->scan->root_count; i++) {
        const struct ms_root *root = &m->scan->roots[i];
        if (ms_root_is_exact(m->scan, root)) {
            uint64_t start = ms_start_of(m->heap, root->target / 2);
            if (mark(m, start, true))
                push(m, start);
        } else {
            MS_TRY(add_edge(m, root->target));
        }
        if (root->chunk && !(root->target & 1) && root->target / 2 + 1 < m->heap->granules &&
            mark(m, root->target / 2 + 1, true))
            push(m, root->target / 2 + 1);
    }
    return drain(m);
}

/* The second pass: from what only interior pointers reach. Some of it was reached for certain since. */
static struct ms_error *mark_maybes(struct marker *m)
{
    m->certain = false;
    for (size_t i = 0; i < m->maybe.count; i++) {
        uint64_t start = m->maybe.items[i];
        struct ms_line *line = &m->heap->lines[start / MS_LINE_GRANULES];
        if (ms_bit(line->reached, start))
            line->maybe &= ~(1u << start % MS_LINE_GRANULES);
        else
            push(m, start);
    }
    return drain(m);
}

static void forget(struct ms_tally *tally, uint64_t bytes)
{
    tally->blocks--;
    tally->bytes -= bytes;
}

/* Takes from the live blocks what only a thread inside the allocator knows to be free. */
static void settle_doubts(struct ms_heap *heap, struct ms_reach *reach)
{
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++) {
        const struct ms_line *line = &heap->lines[l];
        uint32_t bits = line->starts & line->live & ~line->reached;
        for (; bits; bits &= bits - 1) {
            uint64_t start = l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits);
            if (!heap->allocator->in_transit(heap, start))
                continue;
            struct ms_tally *classes = heap->arenas.items[ms_granule_segment(heap, start)->arena].classes;
            uint64_t bytes = ms_granule_bytes(heap, ms_next_start(heap, start) - start);
            forget(&classes[MS_CLASS_LIVE], bytes);
            classes[MS_CLASS_FREE].blocks++;
            classes[MS_CLASS_FREE].bytes += bytes;
            if (ms_bit(line->maybe, start))
                forget(&reach->possible, ms_block_size(heap, start));
            else
                reach->lost.blocks--;
            ms_heap_mark_live(heap, start, false);
        }
    }
}

static void add(struct ms_tally *sum, const struct ms_tally *more)
{
    sum->blocks += more->blocks;
    sum->bytes += more->bytes;
}

/* Marks what the roots from number FIRST on reach, and adds it to what is reached. */
static struct ms_error *mark_from(struct ms_scan *scan, size_t first)
{
    struct marker m = {.scan = scan, .heap = &scan->heap, .block_targets = 2 * scan->heap.granules,
                       .certain = true};
    struct ms_tally live = {0, 0};
    for (size_t i = 0; i < scan->heap.arenas.count; i++)
        live.blocks += scan->heap.arenas.items[i].classes[MS_CLASS_LIVE].blocks;
    /* Every block is pushed at most once a pass. */
    MS_TRY(ms_reserve(&m.stack, (live.blocks + 1) * sizeof(uint64_t), "the mark stack"));
    m.items = (uint64_t *)(void *)m.stack.base;
    struct ms_error *error = mark_roots(&m, first);
    if (!error)
        error = mark_maybes(&m);
    ms_reserve_free(&m.stack);
    ms_vector_free(&m.maybe);
    if (error)
        return error;
    struct ms_reach *reach = &scan->reach;
    add(&reach->reachable, &m.reached);
    add(&reach->possible, &m.possible);
    reach->lost.blocks = live.blocks - reach->reachable.blocks - reach->possible.blocks;
    return NULL;
}

ms_result ms_mark(struct ms_scan *scan, struct ms_reach *reach)
{
    if (scan->marked) {
        *reach = scan->reach;
        return NULL;
    }
    scan->reach = (struct ms_reach){0};
    MS_TRY(mark_from(scan, 0));
    if (scan->heap.inside && scan->heap.allocator->in_transit)
        settle_doubts(&scan->heap, &scan->reach);
    scan->marked = true;
    *reach = scan->reach;
    return NULL;
}

ms_result ms_mark_more(struct ms_scan *scan, size_t first, struct ms_reach *reach)
{
    MS_TRY(mark_from(scan, first));
    *reach = scan->reach;
    return NULL;
}
