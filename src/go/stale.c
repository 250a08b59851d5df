/* Which words of Go's memory hold blocks of malloc's: those that Go can still read. */
#include <stdlib.h>

#include "heap.h"

/* Parts of stacks that are in use, sorted. */
struct stacks {
    MS_VECTOR(struct ms_go_range) list;
};

static struct ms_error *add_stack(struct stacks *stacks, uint64_t start, uint64_t end)
{
    struct ms_go_range *range = ms_vector_add(&stacks->list);
    if (!range)
        return ms_error_nomem("the stacks of goroutines");
    *range = (struct ms_go_range){start, end};
    return NULL;
}

static int by_start(const void *a, const void *b)
{
    const struct ms_go_range *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* Of one that runs or makes a system call nobody knows to what depth; a thread may be on a stack of the runtime's. */
static struct ms_error *find_stacks(const struct ms_go_heap *go, const struct ms_image *image,
                                    struct stacks *stacks)
{
    for (size_t i = 0; i < go->goroutines->list.count; i++) {
        const struct ms_go_goroutine *g = &go->goroutines->list.items[i];
        const bool parked = g->status == MS_GO_WAITING || g->status == MS_GO_RUNNABLE;
        const bool inside = g->sp >= g->stack.start && g->sp < g->stack.end;
        MS_TRY(add_stack(stacks, parked && inside ? g->sp : g->stack.start, g->stack.end));
    }
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct ms_go_span *span = ms_go_heap_span(go, image->threads[i].registers[MS_REG_RSP]);
        if (span && span->manual)
            MS_TRY(add_stack(stacks, span->start, span->end));
    }
    ms_vector_sort(&stacks->list, by_start);
    uint64_t end = 0; /* they may overlap: each ends where none before it goes on */
    for (size_t i = 0; i < stacks->list.count; i++) {
        end = stacks->list.items[i].end > end ? stacks->list.items[i].end : end;
        stacks->list.items[i].end = end;
    }
    return NULL;
}

static bool is_on_stack(const struct stacks *stacks, uint64_t address)
{
    size_t low = 0, high = stacks->list.count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (stacks->list.items[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low && address < stacks->list.items[low - 1].end;
}

/* Can Go still read the word at ADDRESS of its heap? */
static bool is_in_use(const struct ms_go_heap *go, const struct stacks *stacks, uint64_t address)
{
    const struct ms_heap *heap = &go->scan->heap;
    const struct ms_go_span *span = ms_go_heap_span(go, address);
    if (!span)
        return false;
    if (span->manual)
        return is_on_stack(stacks, address);
    const uint64_t start = ms_start_of(heap, ms_address_granule(heap, ms_heap_segment(heap, address), address));
    const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
    return ms_bit(line->live & line->reached, start);
}

static bool is_in_memory(const struct ms_root *root)
{
    return root->kind != MS_ROOT_REGISTER && root->kind != MS_ROOT_KERNEL && root->kind != MS_ROOT_DTV;
}

ms_result ms_go_drop_stale(const struct ms_go_heap *go, const struct ms_image *image, struct ms_scan *scan)
{
    if (go->unreadable || go->goroutines->unreadable || !scan->heap.allocator)
        return NULL;
    struct stacks stacks = {{0}};
    struct ms_error *error = find_stacks(go, image, &stacks);
    size_t kept = 0;
    for (size_t i = 0; !error && i < scan->root_count; i++) {
        const struct ms_root root = scan->roots[i];
        if (!is_in_memory(&root) || !ms_heap_segment(&go->scan->heap, root.address) ||
            is_in_use(go, &stacks, root.address))
            scan->roots[kept++] = root;
    }
    if (!error)
        scan->root_count = kept;
    ms_vector_free(&stacks.list);
    return error;
}
