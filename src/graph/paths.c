/* Paths: the shortest chains of pointers from roots to a block, and all pointers to it. */
#include <stdlib.h>

#include "edges.h"
#include "scan.h"

/*
 * As in marking, a random graph misses the cache at each edge and each block, so
 * both are called for this many steps before their turn.
 */
#define EDGES_AHEAD 64u
#define LINES_AHEAD 16u /* blocks */
#define TARGETS_AHEAD 8u

#define NO_ROOT UINT32_MAX

/* Which links count, and which blocks are on the way. */
enum way {
    WAY_CERTAIN, /* pointers to the start, or as good: reached blocks */
    WAY_ANY,     /* all pointers: reached and maybe reached blocks */
    WAY_LOST,    /* all pointers: blocks that are neither */
};

struct edge {
    uint64_t target;
    uint32_t from; /* number of the block that it comes from, or of the root */
};

/* Breadth first: blocks get their numbers in the order in which they are found. */
struct search {
    const struct ms_scan *scan;
    const struct ms_heap *heap;
    enum way way;
    uint64_t goal;
    uint32_t *roots; /* their indices by ms_root_compare(), NO_ROOT for one that has its chain; owned */
    struct ms_reserve seen_memory, start_memory, from_memory;
    uint32_t *seen;   /* a bit a granule, as in struct ms_line */
    uint64_t *starts; /* by number */
    uint32_t *from;   /* by number: that of the block before it; of seeds, the place in `roots` */
    size_t count, seeds;
    bool found; /* the goal has the last number */
    struct edge edge[EDGES_AHEAD];
    size_t edge_in, edge_out;
    bool inside; /* from the roots inside of a runtime too: there are none, or no other way any more */
};

/* --- links ------------------------------------------------------------------------------------- */

/* The start of the block that TARGET points to, MS_NOTHING when it is no link of this kind. */
static uint64_t follow(const struct ms_scan *scan, enum way way, uint64_t target)
{
    const struct ms_heap *heap = &scan->heap;
    if (target >= 2 * heap->granules)
        return MS_NOTHING;
    const struct ms_line *line = &heap->lines[target / 64];
    if (!(target & 1) && ms_bit(line->starts & line->live, target / 2))
        return target / 2;
    uint64_t start = ms_start_of(heap, target / 2);
    return way != WAY_CERTAIN || ms_is_vouched(scan, start, target) ? start : MS_NOTHING;
}

static uint64_t follow_root(const struct ms_scan *scan, enum way way, const struct ms_root *root)
{
    return follow(scan, ms_root_is_exact(scan, root) ? WAY_ANY : way, root->target);
}

/* The block that ROOT points to by its chunk's header, or MS_NOTHING. */
static uint64_t follow_header(const struct ms_scan *scan, const struct ms_root *root)
{
    uint64_t start = root->target / 2 + 1;
    return root->chunk && !(root->target & 1) && start < scan->heap.granules ? start : MS_NOTHING;
}

static int64_t bytes_into(const struct ms_heap *heap, uint64_t start, uint64_t target)
{
    return (int64_t)ms_word_bytes(heap, target - 2 * start);
}

static uint32_t blocks_on(enum way way, const struct ms_line *line)
{
    uint32_t live = line->live & line->starts;
    return way == WAY_CERTAIN ? live & line->reached
           : way == WAY_ANY   ? live & (line->reached | line->maybe)
                              : live & ~line->reached & ~line->maybe;
}

int ms_root_compare(const struct ms_root *a, const struct ms_root *b)
{
    static const uint8_t rank[MS_ROOT_KINDS] = {
        [MS_ROOT_DATA] = 0, [MS_ROOT_STACK] = 1,  [MS_ROOT_SHARED] = 2,   [MS_ROOT_ANON] = 3,
        [MS_ROOT_DTV] = 4,  [MS_ROOT_KERNEL] = 5, [MS_ROOT_REGISTER] = 6,
        [MS_ROOT_GOROUTINE] = 1, [MS_ROOT_FINALIZER] = 5, [MS_ROOT_RUNTIME] = 4,
    };
    if (a->kind != b->kind)
        return rank[a->kind] - rank[b->kind];
    if (a->rank != b->rank)
        return a->rank - b->rank;
    if (a->kind == MS_ROOT_REGISTER && a->tid != b->tid)
        return a->tid < b->tid ? -1 : 1;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return a->target < b->target ? -1 : a->target > b->target;
}

/* --- searching --------------------------------------------------------------------------------- */

static void add_block(struct search *s, uint64_t start, uint32_t from)
{
    uint32_t *seen = &s->seen[start / MS_LINE_GRANULES], bit = 1u << start % MS_LINE_GRANULES;
    if (s->found || *seen & bit || !(blocks_on(s->way, &s->heap->lines[start / MS_LINE_GRANULES]) & bit))
        return;
    *seen |= bit;
    s->found = start == s->goal;
    s->from[s->count] = from;
    s->starts[s->count++] = start;
}

static void take_edge(struct search *s)
{
    struct edge edge = s->edge[s->edge_out++ % EDGES_AHEAD];
    uint64_t start = follow(s->scan, s->way, edge.target);
    if (start != MS_NOTHING)
        add_block(s, start, edge.from);
}

/* Queues the pointers of the block with NUMBER. They are taken in order: nearer blocks still come first. */
static void visit_block(struct search *s, uint32_t number)
{
    const struct ms_heap *heap = s->heap;
    struct ms_edges edges = ms_edges_of(heap, s->starts[number]);
    uint64_t target;
    while ((target = ms_next_target(heap, &edges)) != MS_NOTHING) {
        if (target >= 2 * heap->granules)
            continue;
        __builtin_prefetch(&heap->lines[target / 64]);
        __builtin_prefetch(&s->seen[target / 64], 1);
        s->edge[s->edge_in++ % EDGES_AHEAD] = (struct edge){target, number};
        if (s->edge_in - s->edge_out == EDGES_AHEAD)
            take_edge(s);
    }
}

static void call_ahead(const struct search *s, size_t number)
{
    const struct ms_heap *heap = s->heap;
    if (number + LINES_AHEAD < s->count)
        __builtin_prefetch(&heap->lines[s->starts[number + LINES_AHEAD] / MS_LINE_GRANULES]);
    if (number + TARGETS_AHEAD >= s->count)
        return;
    uint64_t start = s->starts[number + TARGETS_AHEAD];
    const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
    uint64_t index = line->first + ms_pointers_before(line, start * 2);
    __builtin_prefetch(heap->targets + index * heap->edge_width);
}

/* From the seeds on, until the goal is found or nothing is left. */
static void spread(struct search *s)
{
    s->seeds = s->count;
    for (size_t number = 0; !s->found;) {
        if (number < s->count) {
            call_ahead(s, number);
            visit_block(s, (uint32_t)number++);
        } else if (s->edge_in != s->edge_out) {
            take_edge(s);
        } else {
            return;
        }
    }
}

static void search_from_roots(struct search *s)
{
    for (size_t i = 0; i < s->scan->root_count; i++) {
        if (s->roots[i] == NO_ROOT)
            continue;
        const struct ms_root *root = &s->scan->roots[s->roots[i]];
        if (root->rank == MS_RANK_INSIDE && !s->inside)
            continue;
        uint64_t start = follow_root(s->scan, s->way, root);
        if (start != MS_NOTHING)
            add_block(s, start, (uint32_t)i);
        start = follow_header(s->scan, root);
        if (start != MS_NOTHING)
            add_block(s, start, (uint32_t)i);
    }
    spread(s);
}

static void forget(struct search *s)
{
    for (size_t i = 0; i < s->count; i++)
        s->seen[s->starts[i] / MS_LINE_GRANULES] = 0;
    s->count = s->seeds = s->edge_in = s->edge_out = 0;
    s->found = false;
}

/* --- chains ------------------------------------------------------------------------------------ */

/* Finds the first word of the block of STEP that links to the block of NEXT. */
static void link_steps(const struct search *s, struct ms_step *step, struct ms_step *next)
{
    struct ms_edges edges = ms_edges_of(s->heap, step->start);
    uint64_t target;
    while ((target = ms_next_target(s->heap, &edges)) != MS_NOTHING) {
        if (follow(s->scan, s->way, target) != next->start)
            continue;
        step->offset = ms_word_bytes(s->heap, edges.word - 1 - step->start * 2);
        next->into = bytes_into(s->heap, next->start, target);
        return;
    }
}

/* Where ROOT points to in the block at START, which it seeded. */
static int64_t root_into(const struct search *s, const struct ms_root *root, uint64_t start)
{
    bool by_header = follow_root(s->scan, s->way, root) != start;
    return by_header ? -(int64_t)MS_GRANULE : bytes_into(s->heap, start, root->target);
}

/* Adds the chain that led to the block found last. */
static struct ms_error *add_chain(struct search *s, struct ms_chains *chains)
{
    struct ms_chain *chain = ms_vector_add(&chains->list);
    uint32_t number = (uint32_t)s->count - 1;
    size_t length = 1;
    for (uint32_t n = number; n >= s->seeds; n = s->from[n])
        length++;
    if (!chain || !(chain->steps.items = calloc(length, sizeof *chain->steps.items)))
        return ms_error_nomem("the chains");
    chain->steps.count = chain->steps.capacity = length;
    struct ms_step *steps = chain->steps.items;
    for (size_t i = length; i-- > 0; number = i ? s->from[number] : number)
        steps[i] = (struct ms_step){s->starts[number], MS_NOTHING, 0};
    for (size_t i = 0; i + 1 < length; i++)
        link_steps(s, &steps[i], &steps[i + 1]);
    if (s->way != WAY_LOST) {
        chain->root = &s->scan->roots[s->roots[s->from[number]]];
        steps[0].into = root_into(s, chain->root, steps[0].start);
        s->roots[s->from[number]] = NO_ROOT;
    }
    return NULL;
}

static int compare_roots(const void *a, const void *b, void *roots)
{
    const struct ms_root *all = roots;
    return ms_root_compare(&all[*(const uint32_t *)a], &all[*(const uint32_t *)b]);
}

static struct ms_error *make_room(struct search *s)
{
    const struct ms_scan *scan = s->scan;
    uint64_t lines = s->heap->granules / MS_LINE_GRANULES;
    size_t blocks = 0;
    for (uint64_t l = 0; l < lines; l++)
        blocks += (size_t)__builtin_popcount(blocks_on(s->way, &s->heap->lines[l]));
    if (blocks >= UINT32_MAX || scan->root_count >= UINT32_MAX)
        return ms_error(MS_TARGET, "more than 4 billion blocks or roots: too many to find a way through");
    MS_TRY(ms_reserve(&s->seen_memory, lines * sizeof *s->seen, "the paths"));
    MS_TRY(ms_reserve(&s->start_memory, blocks * sizeof *s->starts, "the paths"));
    MS_TRY(ms_reserve(&s->from_memory, blocks * sizeof *s->from, "the paths"));
    s->seen = (uint32_t *)(void *)s->seen_memory.base;
    s->starts = (uint64_t *)(void *)s->start_memory.base;
    s->from = (uint32_t *)(void *)s->from_memory.base;
    if (s->way == WAY_LOST || !scan->root_count)
        return NULL;
    s->roots = malloc(scan->root_count * sizeof *s->roots);
    if (!s->roots)
        return ms_error_nomem("the paths");
    s->inside = true;
    for (size_t i = 0; i < scan->root_count; i++) {
        s->roots[i] = (uint32_t)i;
        s->inside = s->inside && scan->roots[i].rank != MS_RANK_INSIDE;
    }
    qsort_r(s->roots, scan->root_count, sizeof *s->roots, compare_roots, scan->roots);
    return NULL;
}

static struct ms_error *search(struct search *s, uint64_t leader, size_t most, struct ms_chains *chains)
{
    MS_TRY(make_room(s));
    if (!s->seen)
        return NULL; /* there is no heap */
    if (s->way == WAY_LOST) {
        if (leader != MS_NOTHING)
            add_block(s, leader, 0);
        spread(s);
        return s->found ? add_chain(s, chains) : NULL;
    }
    while (s->roots && chains->list.count < most) {
        search_from_roots(s);
        if (!s->found && s->inside)
            return NULL;
        if (s->found)
            MS_TRY(add_chain(s, chains));
        else
            s->inside = true;
        forget(s);
    }
    return NULL;
}

ms_result ms_find_chains(const struct ms_scan *scan, uint64_t start, uint64_t leader, size_t most,
                         struct ms_chains *chains)
{
    const struct ms_line *line = &scan->heap.lines[start / MS_LINE_GRANULES];
    *chains = (struct ms_chains){0};
    struct search s = {.scan = scan, .heap = &scan->heap, .goal = start};
    s.way = ms_bit(line->reached, start) ? WAY_CERTAIN : ms_bit(line->maybe, start) ? WAY_ANY : WAY_LOST;
    struct ms_error *error = search(&s, leader, most, chains);
    ms_reserve_free(&s.seen_memory);
    ms_reserve_free(&s.start_memory);
    ms_reserve_free(&s.from_memory);
    free(s.roots);
    if (error)
        ms_chains_free(chains);
    return error;
}

void ms_chains_free(struct ms_chains *chains)
{
    for (size_t i = 0; i < chains->list.count; i++)
        ms_vector_free(&chains->list.items[i].steps);
    ms_vector_free(&chains->list);
}

/* --- who points to it -------------------------------------------------------------------------- */

/* The word at WORD of the compact space points to the block at START: is it a live block's? */
static void report_word(const struct ms_scan *scan, uint64_t word, uint64_t start, uint64_t target,
                        ms_pointer_visitor *visit, void *context)
{
    const struct ms_heap *heap = &scan->heap;
    uint64_t holder = ms_start_of(heap, word / 2);
    const struct ms_line *line = &heap->lines[holder / MS_LINE_GRANULES];
    uint64_t offset = ms_word_bytes(heap, word - holder * 2);
    if (!ms_bit(line->live & line->starts, holder) || offset >= ms_block_size(heap, holder))
        return;
    struct ms_pointer pointer = {NULL, holder, offset, bytes_into(heap, start, target)};
    visit(context, &pointer);
}

static void each_root_to(const struct ms_scan *scan, uint64_t start, ms_pointer_visitor *visit, void *context)
{
    for (size_t i = 0; i < scan->root_count; i++) {
        const struct ms_root *root = &scan->roots[i];
        struct ms_pointer pointer = {.root = root};
        if (ms_start_of(&scan->heap, root->target / 2) == start)
            pointer.into = bytes_into(&scan->heap, start, root->target);
        else if (follow_header(scan, root) == start)
            pointer.into = -(int64_t)MS_GRANULE;
        else
            continue;
        visit(context, &pointer);
    }
}

void ms_each_pointer_to(const struct ms_scan *scan, uint64_t start, ms_pointer_visitor *visit, void *context)
{
    const struct ms_heap *heap = &scan->heap;
    const uint64_t low = 2 * start, span = 2 * (ms_next_start(heap, start) - start);
    each_root_to(scan, start, visit, context);
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++) {
        uint64_t index = heap->lines[l].first;
        for (uint64_t bits = heap->lines[l].pointers; bits; bits &= bits - 1, index++) {
            uint64_t target = ms_target_at(heap, index);
            if (target - low < span)
                report_word(scan, l * 64 + (unsigned)__builtin_ctzll(bits), start, target, visit, context);
        }
    }
}
