/* Dominators: what each block retains, by the Semi-NCA algorithm over the index's own edges. */
#include <inttypes.h>

#include "edges.h"
#include "memscope/graph.h"

/*
 * Georgiadis, "Linear-Time Algorithms for Dominators and Related Problems" (2005), section 2.3:
 * a depth-first search numbers the blocks; going backwards, path compression gives the
 * semidominators; going forwards, the nearest common ancestor of parent and semidominator is the
 * dominator. Number 0 is the virtual root. A block that a root points to has it for dominator,
 * whatever else points there: its other edges are not even kept.
 *
 * Memory by phase, bytes a block: the search 32 at most (16 of them its stack, as deep as it gets);
 * dominators 24, and 4 an edge; the tree 24, then 32, of which 28 stay.
 */
#define SEARCH_BYTES  32u
#define EDGE_TABLES   8u  /* `label` and `dom`, beside the edges */
#define TREE_TABLES   16u /* what the tree takes beyond what is freed for it */
#define HELD_BY_ROOT  UINT32_MAX /* for a number of edges, and where they begin: none is kept */
#define EDGES_AHEAD   64u        /* pointers that wait while the memory they need is on its way */
#define MOST_BLOCKS   (UINT32_MAX - 2)

struct table {
    struct ms_reserve memory;
    uint32_t *of; /* = memory.base */
};

/* What the search looks at for each pointer, together in the cache. */
struct mark {
    uint32_t number; /* 0: not seen yet */
    uint32_t edges;  /* that lead to it */
};

struct builder {
    const struct ms_scan *scan;
    const struct ms_heap *heap;
    uint32_t count;
    struct table rank;     /* by line */
    struct ms_reserve marks; /* struct mark by rank */
    struct table number;   /* by rank; later position */
    struct table parent;   /* by number: in the tree of the search, later compressed */
    struct table semi;     /* by number: semidominator's number */
    struct table offset;   /* by number: where edges to it begin in `from` */
    struct table from;     /* numbers of blocks that point to one another; by offset */
    struct table label;    /* by number: least semidominator on the compressed path */
    struct table dom;      /* by number: dominator's number */
    struct ms_reserve stack; /* struct ms_edges of the path that the search is on */
    uint64_t edges;
};

static struct ms_error *new_table(struct table *table, uint64_t entries)
{
    MS_TRY(ms_reserve(&table->memory, entries * sizeof *table->of, "the dominators"));
    ms_reserve_populate(&table->memory, 0, entries * sizeof *table->of);
    table->of = (uint32_t *)(void *)table->memory.base;
    return NULL;
}

static void drop_table(struct table *table)
{
    ms_reserve_free(&table->memory);
    table->of = NULL;
}

static struct ms_error *require_memory(const struct builder *b, uint64_t bytes)
{
    uint64_t available = ms_memory_available();
    if (bytes <= available)
        return NULL;
    return ms_error(MS_TARGET,
                    "what each of %" PRIu32 " blocks retains takes %" PRIu64 " MiB of memory to work out and"
                    " only %" PRIu64 " MiB are available here; free some, raise the limit of memscope's"
                    " cgroup, or take a core and inspect it on another machine",
                    b->count, bytes >> 20, available >> 20);
}

/* --- ranks ------------------------------------------------------------------------------------- */

static uint32_t reachable_bits(const struct ms_line *line)
{
    return line->starts & line->live & (line->reached | line->maybe);
}

/* How many reachable blocks start before START. */
static uint32_t rank_of(const uint32_t *rank, const struct ms_heap *heap, uint64_t start)
{
    uint32_t bits = reachable_bits(&heap->lines[start / MS_LINE_GRANULES]);
    return rank[start / MS_LINE_GRANULES] +
           (uint32_t)__builtin_popcount(bits & ((1u << start % MS_LINE_GRANULES) - 1));
}

static bool is_reachable(const struct ms_heap *heap, uint64_t start)
{
    return ms_bit(reachable_bits(&heap->lines[start / MS_LINE_GRANULES]), start);
}

static struct ms_error *rank_lines(struct builder *b)
{
    uint64_t lines = b->heap->granules / MS_LINE_GRANULES, count = 0;
    MS_TRY(new_table(&b->rank, lines + 1));
    for (uint64_t l = 0; l < lines; l++) {
        b->rank.of[l] = (uint32_t)count;
        count += (uint64_t)__builtin_popcount(reachable_bits(&b->heap->lines[l]));
        if (count > MOST_BLOCKS)
            return ms_error(MS_TARGET, "more than 4 billion blocks: memscope cannot tell what each retains");
    }
    b->count = (uint32_t)count;
    return NULL;
}

/* Calls for each reachable block, in the order of ranks: the heap is passed through once, from its start. */
typedef void block_visitor(struct builder *b, uint32_t rank, uint64_t start, void *context);
static void each_block(struct builder *b, block_visitor *visit, void *context)
{
    uint32_t rank = 0;
    for (uint64_t l = 0; l < b->heap->granules / MS_LINE_GRANULES; l++)
        for (uint32_t bits = reachable_bits(&b->heap->lines[l]); bits; bits &= bits - 1)
            visit(b, rank++, l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits), context);
}

/* --- the search -------------------------------------------------------------------------------- */

/* The reachable block that TARGET is in, or MS_NOTHING. */
static uint64_t block_at(const struct ms_heap *heap, uint64_t target)
{
    if (target >= 2 * heap->granules)
        return MS_NOTHING;
    uint64_t start = ms_start_of(heap, target / 2);
    return is_reachable(heap, start) ? start : MS_NOTHING;
}

/* What a root points to: its block, and for a thread inside the allocator maybe the chunk's, as in mark.c. */
static unsigned held_by(const struct builder *b, const struct ms_root *root, uint64_t starts[2])
{
    unsigned count = 0;
    starts[count] = block_at(b->heap, root->target);
    count += starts[count] != MS_NOTHING;
    uint64_t next = root->target / 2 + 1;
    if (root->chunk && !(root->target & 1) && next < b->heap->granules && is_reachable(b->heap, next))
        starts[count++] = next;
    return count;
}

/* The lines of what a block points to are wanted soon, and in any order. */
static void call_targets(const struct builder *b, struct ms_edges e)
{
    const struct ms_heap *heap = b->heap;
    const struct ms_line *line = &heap->lines[e.word / 64];
    uint64_t index = line->first + ms_pointers_before(line, e.word);
    uint64_t bits = line->pointers >> e.word % 64;
    if (e.end - e.word < 64)
        bits &= (1ull << (e.end - e.word)) - 1;
    for (; bits; bits &= bits - 1, index++) {
        uint64_t target = ms_target_at(heap, index);
        if (target >= 2 * heap->granules)
            continue;
        __builtin_prefetch(&heap->lines[target / 64]);
        __builtin_prefetch(&b->rank.of[target / 64]);
    }
}

/* Numbers the block of MARK, which the search has come to from PARENT; its edges go onto the stack. */
static struct ms_edges enter(struct builder *b, uint64_t start, struct mark *mark, uint32_t parent,
                             uint32_t number)
{
    bool held = mark->edges == HELD_BY_ROOT;
    mark->number = number;
    mark->edges = held ? HELD_BY_ROOT : 1;
    b->parent.of[number] = parent;
    b->semi.of[number] = held ? 0 : parent;
    struct ms_edges e = ms_edges_of(b->heap, start);
    call_targets(b, e);
    return e;
}

static struct mark *mark_of(const struct builder *b, uint64_t start)
{
    return (struct mark *)(void *)b->marks.base + rank_of(b->rank.of, b->heap, start);
}

/* Numbers all that START, which a root holds, leads to and that is not numbered yet; counts edges. */
static void search_from(struct builder *b, uint64_t start, uint32_t *last)
{
    struct ms_edges *stack = (struct ms_edges *)(void *)b->stack.base;
    uint64_t depth = 1;
    uint32_t current = ++*last;
    stack[0] = enter(b, start, mark_of(b, start), 0, current);
    while (depth) {
        uint64_t target = ms_next_target(b->heap, &stack[depth - 1]);
        if (target == MS_NOTHING) {
            depth--;
            current = b->parent.of[current];
            continue;
        }
        uint64_t to = block_at(b->heap, target);
        if (to == MS_NOTHING)
            continue;
        struct mark *mark = mark_of(b, to);
        if (mark->number == 0) {
            stack[depth++] = enter(b, to, mark, current, ++*last);
            current = *last;
        } else if (mark->edges != HELD_BY_ROOT) {
            mark->edges++;
        }
    }
}

static struct ms_error *search_from_roots(struct builder *b)
{
    const struct ms_scan *scan = b->scan;
    uint64_t starts[2];
    uint32_t last = 0;
    for (size_t i = 0; i < scan->root_count; i++)
        for (unsigned j = held_by(b, &scan->roots[i], starts); j-- > 0;)
            mark_of(b, starts[j])->edges = HELD_BY_ROOT;
    for (size_t i = 0; i < scan->root_count; i++)
        for (unsigned j = held_by(b, &scan->roots[i], starts); j-- > 0;)
            if (mark_of(b, starts[j])->number == 0)
                search_from(b, starts[j], &last);
    if (last == b->count)
        return NULL;
    return ms_error(MS_TARGET, "%" PRIu32 " blocks are marked as reachable, and %" PRIu32
                    " are (a fault of memscope)", b->count, last);
}

static struct ms_error *search(struct builder *b)
{
    uint64_t entries = (uint64_t)b->count + 1;
    MS_TRY(require_memory(b, entries * SEARCH_BYTES));
    MS_TRY(new_table(&b->parent, entries));
    MS_TRY(new_table(&b->semi, entries));
    MS_TRY(ms_reserve(&b->marks, entries * sizeof(struct mark), "the dominators"));
    ms_reserve_populate(&b->marks, 0, entries * sizeof(struct mark));
    MS_TRY(ms_reserve(&b->stack, entries * sizeof(struct ms_edges), "the dominators"));
    MS_TRY(search_from_roots(b));
    ms_reserve_free(&b->stack);
    return NULL;
}

/* --- edges ------------------------------------------------------------------------------------- */

/* By number: where the edges to each block end in `from`. Filling it moves that to where they begin. */
static struct ms_error *sum_edges(struct builder *b)
{
    const struct mark *marks = (const struct mark *)(const void *)b->marks.base;
    uint64_t entries = (uint64_t)b->count + 1;
    MS_TRY(new_table(&b->number, entries));
    MS_TRY(new_table(&b->offset, entries));
    for (uint32_t rank = 0; rank < b->count; rank++) {
        b->number.of[rank] = marks[rank].number;
        b->offset.of[marks[rank].number] = marks[rank].edges;
    }
    ms_reserve_free(&b->marks);
    for (uint32_t i = 1; i <= b->count; i++) {
        if (b->offset.of[i] == HELD_BY_ROOT)
            continue;
        b->edges += b->offset.of[i];
        if (b->edges >= HELD_BY_ROOT)
            return ms_error(MS_TARGET, "more than 4 billion pointers: memscope cannot tell what blocks retain");
        b->offset.of[i] = (uint32_t)b->edges;
    }
    return NULL;
}

/* A pointer on its way through the ring: each step needs memory that was called a step before. */
struct waiting {
    uint64_t value; /* target, then rank, then number; MS_NOTHING when it is no edge */
    uint32_t from;
};
struct ring {
    struct waiting edge[EDGES_AHEAD];
    uint64_t in;
};

static void step_ring(struct builder *b, struct ring *ring, struct waiting next)
{
    const unsigned step = EDGES_AHEAD / 4;
    struct waiting *first = &ring->edge[ring->in % EDGES_AHEAD];
    struct waiting *second = &ring->edge[(ring->in - step) % EDGES_AHEAD];
    struct waiting *third = &ring->edge[(ring->in - 2 * step) % EDGES_AHEAD];
    struct waiting *last = &ring->edge[(ring->in - 3 * step) % EDGES_AHEAD];
    ring->in++;
    *first = next;
    if (next.value != MS_NOTHING) {
        __builtin_prefetch(&b->heap->lines[next.value / 64]);
        __builtin_prefetch(&b->rank.of[next.value / 64]);
    }
    if (second->value != MS_NOTHING) {
        uint64_t to = block_at(b->heap, second->value);
        second->value = to == MS_NOTHING ? to : rank_of(b->rank.of, b->heap, to);
        if (to != MS_NOTHING)
            __builtin_prefetch(&b->number.of[second->value]);
    }
    if (third->value != MS_NOTHING) {
        third->value = b->number.of[third->value];
        __builtin_prefetch(&b->offset.of[third->value], 1);
    }
    if (last->value != MS_NOTHING && b->offset.of[last->value] != HELD_BY_ROOT)
        b->from.of[--b->offset.of[last->value]] = last->from;
}

static void add_edges(struct builder *b, uint32_t rank, uint64_t start, void *ring)
{
    struct ms_edges e = ms_edges_of(b->heap, start);
    struct waiting next = {.from = b->number.of[rank]};
    while ((next.value = ms_next_target(b->heap, &e)) != MS_NOTHING)
        if (next.value < 2 * b->heap->granules)
            step_ring(b, ring, next);
}

static struct ms_error *turn_edges(struct builder *b)
{
    uint64_t entries = (uint64_t)b->count + 1;
    struct ring ring = {.in = EDGES_AHEAD};
    MS_TRY(sum_edges(b));
    uint64_t now = entries * EDGE_TABLES + b->edges * sizeof(uint32_t), later = entries * TREE_TABLES;
    MS_TRY(require_memory(b, now > later ? now : later));
    MS_TRY(new_table(&b->from, b->edges + 1));
    for (unsigned i = 0; i < EDGES_AHEAD; i++)
        ring.edge[i].value = MS_NOTHING;
    each_block(b, add_edges, &ring);
    for (unsigned i = 0; i < EDGES_AHEAD; i++)
        step_ring(b, &ring, (struct waiting){MS_NOTHING, 0});
    return NULL;
}

/* --- dominators -------------------------------------------------------------------------------- */

/*
 * The least semidominator on the way from V up to the ancestors that are not behind LAST; the way is
 * made short for the next time. It is remembered by turning its links around, so it may be of any length.
 */
static uint32_t evaluate(struct builder *b, uint32_t v, uint32_t last)
{
    uint32_t *parent = b->parent.of, *label = b->label.of;
    uint32_t below = 0, at = v;
    while (parent[at] > last) {
        uint32_t above = parent[at];
        parent[at] = below;
        below = at;
        at = above;
    }
    const uint32_t top = parent[at];
    while (below) {
        uint32_t next = parent[below];
        if (label[at] < label[below])
            label[below] = label[at];
        parent[below] = top;
        at = below;
        below = next;
    }
    return label[v];
}

static struct ms_error *find_dominators(struct builder *b)
{
    uint64_t entries = (uint64_t)b->count + 1;
    MS_TRY(new_table(&b->label, entries));
    MS_TRY(new_table(&b->dom, entries));
    uint32_t *dom = b->dom.of, *semi = b->semi.of, edges_end = (uint32_t)b->edges;
    for (uint32_t i = b->count; i > 0; i--) {
        dom[i] = b->parent.of[i];
        while (b->offset.of[i] != HELD_BY_ROOT && edges_end > b->offset.of[i]) {
            uint32_t from = b->from.of[--edges_end];
            uint32_t soon = b->from.of[edges_end < EDGES_AHEAD ? 0 : edges_end - EDGES_AHEAD];
            __builtin_prefetch(&b->parent.of[soon], 1);
            __builtin_prefetch(&b->label.of[soon], 1);
            uint32_t least = from > i ? evaluate(b, from, i) : from;
            if (least < semi[i])
                semi[i] = least;
        }
        b->label.of[i] = semi[i];
    }
    for (uint32_t i = 1; i <= b->count; i++)
        while (dom[i] > semi[i])
            dom[i] = dom[dom[i]];
    drop_table(&b->from);
    drop_table(&b->offset);
    drop_table(&b->label);
    drop_table(&b->semi);
    drop_table(&b->parent);
    return NULL;
}

/* --- the tree in preorder ---------------------------------------------------------------------- */

/* What the tree is made in. */
struct result {
    struct table position; /* by number */
    struct table end, dominator; /* by position */
    struct ms_reserve start, retained;
};

/* A dominator's number is less than those of all it dominates: two passes place all of them. */
static struct ms_error *place(struct builder *b, struct result *r)
{
    uint64_t entries = (uint64_t)b->count + 1;
    struct table next = {0}; /* by number: how many it dominates and itself; then where the next of them goes */
    struct ms_error *error = new_table(&next, entries);
    error = error ? error : new_table(&r->position, entries);
    error = error ? error : new_table(&r->end, entries);
    error = error ? error : new_table(&r->dominator, entries);
    for (uint32_t i = b->count; !error && i > 0; i--)
        next.of[b->dom.of[i]] += ++next.of[i];
    if (!error) {
        r->end.of[0] = b->count + 1;
        next.of[0] = 1;
    }
    for (uint32_t i = 1; !error && i <= b->count; i++) {
        uint32_t dom = b->dom.of[i], size = next.of[i], position = next.of[dom];
        next.of[dom] += size;
        next.of[i] = position + 1;
        r->position.of[i] = position;
        r->end.of[position] = position + size;
        r->dominator.of[position] = r->position.of[dom];
    }
    drop_table(&next);
    drop_table(&b->dom);
    return error;
}

static void place_block(struct builder *b, uint32_t rank, uint64_t start, void *context)
{
    struct result *r = context;
    uint32_t position = r->position.of[b->number.of[rank]];
    b->number.of[rank] = position;
    ((uint64_t *)(void *)r->start.base)[position] = start;
    ((uint64_t *)(void *)r->retained.base)[position] =
        ms_word_bytes(b->heap, ms_words_end(b->heap, start) - start * 2);
}

static struct ms_error *add_up(struct builder *b, struct result *r)
{
    const uint64_t bytes = ((uint64_t)b->count + 1) * sizeof(uint64_t);
    MS_TRY(ms_reserve(&r->start, bytes, "the dominators"));
    MS_TRY(ms_reserve(&r->retained, bytes, "the dominators"));
    ms_reserve_populate(&r->start, 0, bytes);
    ms_reserve_populate(&r->retained, 0, bytes);
    each_block(b, place_block, r);
    drop_table(&r->position);
    uint64_t *retained = (uint64_t *)(void *)r->retained.base;
    for (uint32_t p = b->count; p > 0; p--)
        retained[r->dominator.of[p]] += retained[p];
    return NULL;
}

static void hand_over(struct builder *b, struct result *r, struct ms_dominators *tree)
{
    *tree = (struct ms_dominators){
        .count = b->count,
        .end = r->end.of,
        .dominator = r->dominator.of,
        .start = (const uint64_t *)(const void *)r->start.base,
        .retained = (const uint64_t *)(const void *)r->retained.base,
        .rank = b->rank.of,
        .position = b->number.of,
        .memory = {r->end.memory, r->dominator.memory, r->start, r->retained, b->rank.memory,
                   b->number.memory},
    };
    *r = (struct result){0};
    b->rank = b->number = (struct table){0};
}

static void release(struct builder *b, struct result *r)
{
    struct ms_reserve *tables[] = {
        &b->rank.memory,  &b->number.memory, &b->parent.memory,   &b->semi.memory, &b->offset.memory,
        &b->from.memory,  &b->label.memory,  &b->dom.memory,      &b->stack,       &b->marks,
        &r->end.memory,   &r->start,         &r->position.memory, &r->retained,    &r->dominator.memory,
        NULL,
    };
    for (struct ms_reserve **table = tables; *table; table++)
        ms_reserve_free(*table);
}

static struct ms_error *build(struct builder *b, struct result *r)
{
    MS_TRY(rank_lines(b));
    MS_TRY(search(b));
    MS_TRY(turn_edges(b));
    MS_TRY(find_dominators(b));
    MS_TRY(place(b, r));
    return add_up(b, r);
}

ms_result ms_find_dominators(const struct ms_scan *scan, struct ms_dominators *tree)
{
    *tree = (struct ms_dominators){0};
    struct builder b = {.scan = scan, .heap = &scan->heap};
    struct result r = {0};
    struct ms_error *error = build(&b, &r);
    if (!error)
        hand_over(&b, &r, tree);
    release(&b, &r);
    return error;
}

void ms_dominators_free(struct ms_dominators *tree)
{
    for (size_t i = 0; i < sizeof tree->memory / sizeof *tree->memory; i++)
        ms_reserve_free(&tree->memory[i]);
    *tree = (struct ms_dominators){0};
}

uint32_t ms_dominator_position(const struct ms_dominators *tree, const struct ms_heap *heap, uint64_t start)
{
    return is_reachable(heap, start) ? tree->position[rank_of(tree->rank, heap, start)] : 0;
}
