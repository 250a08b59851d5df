/* What some blocks and roots retain together: all that could not be reached without any of them. */
#include <stdlib.h>
#include <string.h>

#include "edges.h"
#include "memscope/graph.h"

#define WHAT "what blocks retain together"

struct marker {
    const struct ms_scan *scan;
    const struct ms_dominators *tree;
    struct ms_together *found;
    MS_VECTOR(uint32_t) stack; /* positions that are marked and still to be visited */
};

static bool is_marked(const struct ms_together *t, uint32_t position)
{
    const uint32_t bit = position - t->first;
    return t->marks[bit / 8] >> bit % 8 & 1;
}

static void set_mark(struct ms_together *t, uint32_t position)
{
    const uint32_t bit = position - t->first;
    t->marks[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static bool is_within(const struct ms_together *t, uint32_t position)
{
    return position >= t->first && position < t->end;
}

bool ms_together_has(const struct ms_together *together, uint32_t position)
{
    return is_within(together, position) && !is_marked(together, position);
}

/* Position 0 dominates all. */
static uint32_t common_dominator(const struct ms_dominators *tree, uint32_t a, uint32_t b)
{
    /* In preorder a dominator comes before what it dominates. */
    while (a && (b < a || b >= tree->end[a]))
        a = tree->dominator[a];
    return a;
}

static struct ms_error *push(struct marker *m, uint64_t target)
{
    const struct ms_heap *heap = &m->scan->heap;
    if (target >= 2 * heap->granules)
        return NULL;
    const uint32_t position = ms_dominator_position(m->tree, heap, ms_start_of(heap, target / 2));
    if (!position || !is_within(m->found, position) || is_marked(m->found, position))
        return NULL;
    set_mark(m->found, position);
    uint32_t *slot = ms_vector_add(&m->stack);
    if (!slot)
        return ms_error_nomem(WHAT);
    *slot = position;
    return NULL;
}

static struct ms_error *drain(struct marker *m)
{
    uint64_t target;
    while (m->stack.count) {
        const uint32_t position = m->stack.items[--m->stack.count];
        struct ms_edges edges = ms_edges_of(&m->scan->heap, m->tree->start[position]);
        while ((target = ms_next_target(&m->scan->heap, &edges)) != MS_NOTHING)
            MS_TRY(push(m, target));
    }
    return NULL;
}

static bool is_left_out(const struct ms_root *root, const struct ms_together_roots *roots, size_t count)
{
    for (size_t low = 0; low < count;) {
        const size_t middle = (low + count) / 2;
        if (root->address >= roots[middle].start && root->address < roots[middle].end)
            return true;
        if (root->address < roots[middle].start)
            count = middle;
        else
            low = middle + 1;
    }
    return false;
}

static struct ms_error *mark(struct marker *m, uint32_t top, const struct ms_together_roots *roots, size_t count)
{
    if (top) {
        MS_TRY(push(m, 2 * m->tree->start[top])); /* if it is none of them */
        return drain(m);
    }
    for (size_t i = 0; i < m->scan->root_count; i++)
        if (m->scan->roots[i].kind == MS_ROOT_REGISTER || !is_left_out(&m->scan->roots[i], roots, count)) {
            MS_TRY(push(m, m->scan->roots[i].target));
            MS_TRY(drain(m));
        }
    return NULL;
}

/* What is retained together lies below the nearest block that dominates all of them: nothing else is looked at. */
static struct ms_error *find(struct marker *m, const uint32_t *blocks, size_t count,
                             const struct ms_together_roots *roots, size_t root_count)
{
    const struct ms_dominators *tree = m->tree;
    struct ms_together *found = m->found;
    uint32_t top = count && !root_count ? blocks[0] : 0;
    for (size_t i = 1; i < count; i++)
        top = common_dominator(tree, top, blocks[i]);
    found->first = top;
    found->end = top ? tree->end[top] : tree->count + 1;
    found->marks = calloc((found->end - found->first) / 8 + 1, 1);
    if (!found->marks)
        return ms_error_nomem(WHAT);
    if (!top)
        set_mark(found, 0); /* no block */
    for (size_t i = 0; i < count; i++)
        set_mark(found, blocks[i]); /* no way leads through them */
    MS_TRY(mark(m, top, roots, root_count));
    for (size_t i = 0; i < count; i++)
        found->marks[(blocks[i] - found->first) / 8] &= (uint8_t) ~(1u << (blocks[i] - found->first) % 8);
    for (uint32_t p = found->first; p < found->end; p++)
        if (!is_marked(found, p)) {
            found->all.blocks++;
            found->all.bytes += ms_block_size(&m->scan->heap, tree->start[p]);
        }
    return NULL;
}

ms_result ms_find_together(const struct ms_scan *scan, const struct ms_dominators *tree, const uint32_t *blocks,
                           size_t count, const struct ms_together_roots *roots, size_t root_count,
                           struct ms_together *together)
{
    struct marker m = {.scan = scan, .tree = tree, .found = together};
    *together = (struct ms_together){0};
    if (!count && !root_count)
        return NULL;
    struct ms_error *error = find(&m, blocks, count, roots, root_count);
    ms_vector_free(&m.stack);
    if (error)
        ms_together_free(together);
    return error;
}

void ms_together_free(struct ms_together *together)
{
    free(together->marks);
    *together = (struct ms_together){0};
}
