/* Tests of dominators: thousands of small random heaps against the definition itself, and long shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "memscope/graph.h"

#define HEAP 0x555500000000ull
#define MOST 24u /* blocks of a small heap */
#define MOST_EDGES 64u
#define MOST_ROOTS 4u
#define ROOT_AT(index) (0x1000 + 16 * (uint64_t)(index)) /* address of that root */

/* A heap laid out by hand: blocks one behind another, their pointers at their beginning. */
struct world {
    struct ms_scan scan;
    struct ms_line *lines;
    struct ms_pane *panes;
    uint32_t *targets;
    uint64_t *starts; /* granules */
    uint32_t count;
};

struct edge {
    uint32_t from, to;
    bool interior;
};

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % limit;
}

/* COUNT live blocks of GRANULES[i] granules each; all of them in one segment. */
static void make_world(struct world *w, uint32_t count, const uint32_t *granules, size_t pointers)
{
    struct ms_heap *heap = &w->scan.heap;
    uint64_t total = 0;
    *w = (struct world){.count = count};
    for (uint32_t i = 0; i < count; i++)
        total += granules[i];
    uint64_t panes = 1 + (total + MS_PANE_GRANULES) / MS_PANE_GRANULES;
    w->lines = calloc(panes * MS_PANE_LINES, sizeof *w->lines);
    w->panes = calloc(panes, sizeof *w->panes);
    w->targets = calloc(pointers + 2, sizeof *w->targets); /* read as 8 bytes */
    w->starts = calloc(count + 1, sizeof *w->starts);
    assert_true(w->lines && w->panes && w->targets && w->starts);
    heap->lines = w->lines;
    heap->panes = w->panes;
    heap->targets = (uint8_t *)w->targets;
    heap->edge_width = 4;
    heap->tail = 8;
    heap->granules = panes * MS_PANE_GRANULES;
    struct ms_segment *segment = ms_vector_add(&heap->segments);
    struct ms_arena *arena = ms_vector_add(&heap->arenas);
    assert_true(segment && arena);
    *segment = (struct ms_segment){.start = HEAP, .base = HEAP, .first = MS_PANE_GRANULES,
                                   .end = HEAP + (total + 1) * MS_GRANULE};
    arena->classes[MS_CLASS_LIVE].blocks = count;
    uint64_t at = MS_PANE_GRANULES;
    for (uint32_t i = 0; i < count; at += granules[i++]) {
        w->starts[i] = at;
        ms_heap_mark_start(heap, at);
        ms_heap_mark_live(heap, at, true);
    }
    ms_heap_mark_start(heap, at); /* what follows is free */
    assert_null(ms_heap_settle(heap, NULL));
}

static void drop_world(struct world *w)
{
    ms_vector_free(&w->scan.heap.segments);
    ms_vector_free(&w->scan.heap.arenas);
    ms_vector_free(&w->scan.heap.gaps);
    free(w->lines);
    free(w->panes);
    free(w->targets);
    free(w->starts);
    free(w->scan.roots);
}

/* Writes EDGES, sorted by where they come from, into the first words of the blocks, and ROOTS. */
static void connect(struct world *w, const struct edge *edges, size_t edge_count, const struct edge *roots,
                    size_t root_count)
{
    uint64_t word = 0;
    size_t line = 0;
    for (size_t i = 0; i < edge_count; i++) {
        word = i && edges[i].from == edges[i - 1].from ? word + 1 : w->starts[edges[i].from] * 2;
        for (; line <= word / 64; line++)
            w->lines[line].first = (uint32_t)i;
        w->lines[word / 64].pointers |= 1ull << word % 64;
        w->targets[i] = (uint32_t)(w->starts[edges[i].to] * 2 + edges[i].interior);
    }
    w->scan.roots = calloc(root_count + 1, sizeof *w->scan.roots);
    assert_non_null(w->scan.roots);
    for (size_t i = 0; i < root_count; i++)
        w->scan.roots[i] = (struct ms_root){.target = w->starts[roots[i].to] * 2 + roots[i].interior,
                                            .address = ROOT_AT(i), .kind = MS_ROOT_STACK};
    w->scan.root_count = root_count;
}

/* Marks all that the roots, but for those in a set, reach when the blocks of another set are not there. */
static void reach_past(const struct edge *edges, size_t edge_count, const struct edge *roots, size_t root_count,
                       uint32_t without_roots, uint32_t without, bool reached[MOST])
{
    memset(reached, 0, MOST);
    for (size_t i = 0; i < root_count; i++)
        reached[roots[i].to] |= !(without_roots >> i & 1) && !(without >> roots[i].to & 1);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < edge_count; i++)
            if (reached[edges[i].from] && !(without >> edges[i].to & 1) && !reached[edges[i].to])
                more = reached[edges[i].to] = true;
    }
}

/* Marks all that roots reach when WITHOUT is not there. */
static void reach(const struct edge *edges, size_t edge_count, const struct edge *roots, size_t root_count,
                  uint32_t without, bool reached[MOST])
{
    reach_past(edges, edge_count, roots, root_count, 0, without < MOST ? 1u << without : 0, reached);
}

static void find(struct world *w, struct ms_dominators *tree)
{
    struct ms_reach reached;
    assert_null(ms_mark(&w->scan, &reached));
    assert_null(ms_find_dominators(&w->scan, tree));
    assert_int_equal(tree->count, reached.reachable.blocks + reached.possible.blocks);
    assert_int_equal(tree->retained[0], reached.reachable.bytes + reached.possible.bytes);
    assert_int_equal(tree->end[0], tree->count + 1);
    uint64_t sum = 0;
    for (uint32_t p = 1; p <= tree->count; p = tree->end[p]) {
        assert_int_equal(tree->dominator[p], 0);
        sum += tree->retained[p];
    }
    assert_int_equal(sum, tree->retained[0]);
}

/* What gets out of reach with a block is what it dominates: all of it and nothing else follows it. */
static void compare(const struct world *w, const struct ms_dominators *tree, const struct edge *edges,
                    size_t edge_count, const struct edge *roots, size_t root_count)
{
    const struct ms_heap *heap = &w->scan.heap;
    bool all[MOST], left[MOST];
    reach(edges, edge_count, roots, root_count, UINT32_MAX, all);
    for (uint32_t i = 0; i < w->count; i++) {
        uint32_t p = ms_dominator_position(tree, heap, w->starts[i]);
        uint64_t bytes = 0;
        assert_int_equal(p != 0, all[i]);
        if (!p)
            continue;
        assert_int_equal(tree->start[p], w->starts[i]);
        assert_true(tree->dominator[p] < p && p < tree->end[tree->dominator[p]]);
        reach(edges, edge_count, roots, root_count, i, left);
        for (uint32_t j = 0; j < w->count; j++) {
            bool lost = all[j] && !left[j];
            uint32_t q = ms_dominator_position(tree, heap, w->starts[j]);
            assert_int_equal(lost, q >= p && q < tree->end[p]);
            bytes += lost ? ms_block_size(heap, w->starts[j]) : 0;
        }
        assert_int_equal(tree->retained[p], bytes);
    }
}

/* The children of each position are those that it is the dominator of: the biggest MOST of them, biggest first. */
static void compare_children(const struct ms_dominators *tree, size_t most)
{
    for (uint32_t p = 0; p <= tree->count; p++) {
        struct ms_children children;
        uint64_t count = 0, last = UINT64_MAX;
        assert_null(ms_dominator_children(tree, p, most, &children));
        const struct ms_top *tops = children.tops.list.items;
        for (size_t i = 0; i < children.tops.list.count; last = tops[i++].weight) {
            assert_int_equal(tree->dominator[tops[i].item], p);
            assert_int_equal(tree->retained[tops[i].item], tops[i].weight);
            assert_true(tops[i].weight <= last && tops[i].item != 0);
            for (size_t j = 0; j < i; j++)
                assert_true(tops[i].item != tops[j].item);
        }
        size_t bigger = 0; /* than the last one that is listed */
        for (uint32_t q = 1; q <= tree->count; q++) {
            count += tree->dominator[q] == p;
            bigger += tree->dominator[q] == p && tree->retained[q] > last;
        }
        assert_int_equal(children.count, count);
        assert_int_equal(children.tops.list.count, count < most ? count : most);
        assert_true(bigger < most);
        ms_tops_free(&children.tops);
    }
}

/* What gets out of reach with some blocks and roots is what they retain together. */
static void compare_together(const struct world *w, const struct ms_dominators *tree, const struct edge *edges,
                             size_t edge_count, const struct edge *roots, size_t root_count)
{
    const uint32_t chosen = below(1u << MOST) & below(1u << MOST), chosen_roots = below(4) ? 0 : below(1u << MOST_ROOTS);
    struct ms_together_roots without[MOST_ROOTS];
    struct ms_together together;
    uint32_t blocks[MOST], mask = 0;
    size_t count = 0, without_count = 0;
    bool all[MOST], left[MOST];
    for (uint32_t i = 0; i < w->count; i++) {
        const uint32_t p = chosen >> i & 1 ? ms_dominator_position(tree, &w->scan.heap, w->starts[i]) : 0;
        mask |= p ? 1u << i : 0;
        if (p)
            blocks[count++] = p;
    }
    for (size_t i = 0; i < root_count; i++)
        if (chosen_roots >> i & 1)
            without[without_count++] = (struct ms_together_roots){ROOT_AT(i) - 8, ROOT_AT(i) + 8};
    reach(edges, edge_count, roots, root_count, UINT32_MAX, all);
    reach_past(edges, edge_count, roots, root_count, chosen_roots, mask, left);
    assert_null(ms_find_together(&w->scan, tree, blocks, count, without, without_count, &together));
    struct ms_tally lost = {0};
    for (uint32_t i = 0; i < w->count; i++) {
        const uint32_t p = ms_dominator_position(tree, &w->scan.heap, w->starts[i]);
        const bool is_lost = all[i] && !left[i];
        assert_int_equal(p && ms_together_has(&together, p), is_lost);
        lost.blocks += is_lost;
        lost.bytes += is_lost ? ms_block_size(&w->scan.heap, w->starts[i]) : 0;
    }
    assert_int_equal(together.all.blocks, lost.blocks);
    assert_int_equal(together.all.bytes, lost.bytes);
    ms_together_free(&together);
}

static int by_from(const void *a, const void *b)
{
    const struct edge *e = a, *f = b;
    return e->from < f->from ? -1 : e->from > f->from;
}

static void test_random_heaps(void **unused)
{
    (void)unused;
    for (unsigned round = 0; round < 10000; round++) {
        uint32_t count = 1 + below(MOST), granules[MOST];
        size_t edge_count = below(1 + MOST_EDGES * count / MOST), root_count = below(MOST_ROOTS);
        struct edge edges[MOST_EDGES], roots[MOST_ROOTS];
        for (uint32_t i = 0; i < count; i++) /* room for every pointer, and some are long */
            granules[i] = MOST_EDGES / 2 + 1 + below(round % 16 ? 8 : 3000);
        for (size_t i = 0; i < edge_count; i++)
            edges[i] = (struct edge){below(count), below(count), below(8) == 0};
        for (size_t i = 0; i < root_count; i++)
            roots[i] = (struct edge){0, below(count), below(8) == 0};
        qsort(edges, edge_count, sizeof *edges, by_from);
        struct world w;
        struct ms_dominators tree;
        make_world(&w, count, granules, edge_count);
        connect(&w, edges, edge_count, roots, root_count);
        find(&w, &tree);
        compare(&w, &tree, edges, edge_count, roots, root_count);
        compare_children(&tree, 1 + round % MOST);
        compare_together(&w, &tree, edges, edge_count, roots, root_count);
        ms_dominators_free(&tree);
        drop_world(&w);
    }
}

/* A list of two million that links back as well: deep for the search, and worst for dominators by rounds. */
static void test_long_list(void **unused)
{
    (void)unused;
    const char *sanitizers = getenv("SANITIZERS");
    const uint32_t count = sanitizers && strcmp(sanitizers, "yes") == 0 ? 200000 : 2000000;
    uint32_t *granules = calloc(count, sizeof *granules);
    struct edge *edges = calloc(2 * (size_t)count, sizeof *edges), root = {0, 0, false};
    struct world w;
    struct ms_dominators tree;
    size_t edge_count = 0;
    assert_true(granules && edges);
    for (uint32_t i = 0; i < count; i++) {
        granules[i] = 2;
        if (i + 1 < count)
            edges[edge_count++] = (struct edge){i, i + 1, false};
        if (i)
            edges[edge_count++] = (struct edge){i, i - 1, false};
    }
    make_world(&w, count, granules, edge_count);
    connect(&w, edges, edge_count, &root, 1);
    find(&w, &tree);
    assert_int_equal(tree.count, count);
    for (uint32_t p = 1; p <= count; p++) {
        assert_int_equal(tree.dominator[p], p - 1);
        assert_int_equal(tree.retained[p], (uint64_t)(count + 1 - p) * 24);
    }
    ms_dominators_free(&tree);
    drop_world(&w);
    free(granules);
    free(edges);
}

static void test_nothing(void **unused)
{
    (void)unused;
    struct world w;
    struct ms_dominators tree;
    uint32_t granules[2] = {2, 2};
    make_world(&w, 2, granules, 0);
    connect(&w, NULL, 0, NULL, 0);
    find(&w, &tree);
    assert_int_equal(tree.count, 0);
    assert_int_equal(ms_dominator_position(&tree, &w.scan.heap, w.starts[0]), 0);
    ms_dominators_free(&tree);
    drop_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_random_heaps),
        cmocka_unit_test(test_long_list),
    };
    return cmocka_run_group_tests_name("dominators", tests, NULL, NULL);
}
