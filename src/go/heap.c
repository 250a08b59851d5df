/* The Go heap as a scan: segments, the index, and marking by the rules of Go's collector. */
#include "heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is there -----------------------------------------------------------------------------
 */

static const struct ms_go_span *find_span(const struct ms_go_heap *heap, uint64_t address)
{
    const struct ms_segment *segment = ms_heap_segment(&heap->scan->heap, address);
    return segment ? ms_go_granule_span(heap, ms_address_granule(&heap->scan->heap, segment, address)) : NULL;
}

const struct ms_go_span *ms_go_heap_span(const struct ms_go_heap *heap, uint64_t address)
{
    return find_span(heap, address);
}

uint64_t ms_go_object_type(const struct ms_go_heap *heap, uint64_t address)
{
    const struct ms_go_span *span = find_span(heap, address);
    uint64_t type = 0;
    if (!span || span->manual)
        return 0;
    if (!span->header)
        return address == span->start ? span->large_type : 0;
    if ((address - span->start) % span->slot == 8)
        ms_image_read_word(heap->go->image, address - 8, &type);
    return type;
}

/*
 * The sweeper makes the marks of a cycle the allocBits of a span, and the allocator goes on from the first slot
 * without one: mspan.sweep() and nextFreeIndex(), src/runtime/mgcsweep.go, malloc.go. So a slot has been taken since
 * when it has no bit, and in a span that is not swept yet none has.
 */
bool ms_go_is_young(const struct ms_go_heap *heap, uint64_t address)
{
    const struct ms_go_span *span = find_span(heap, address);
    return span && !span->manual && !span->unswept &&
           !ms_go_bit(heap->go, span->allocated, (uint32_t)((address - span->start) / span->slot));
}

static enum ms_class class_of(const struct ms_heap *heap, const struct ms_segment *segment, uint64_t start)
{
    const struct ms_go_heap *go = heap->state;
    const uint64_t address = segment->base + ms_granule_bytes(heap, start - segment->first);
    const struct ms_go_span *span = find_span(go, address);
    if (!span)
        return MS_CLASS_FREE;
    if (span->manual)
        return MS_CLASS_RUNTIME;
    const uint64_t index = (address - span->start) / span->slot;
    if (index >= span->slots)
        return MS_CLASS_OVERHEAD;
    if (!ms_go_slot_allocated(go->go, span, (uint32_t)index))
        return MS_CLASS_FREE;
    /* Allocated and not live: the header of what is, or garbage. */
    return span->header && ms_bit(heap->lines[(start + 1) / MS_LINE_GRANULES].live, start + 1) ? MS_CLASS_OVERHEAD
                                                                                               : MS_CLASS_GARBAGE;
}

/* Everything is there when the index is made: nothing is left to settle. */
static struct ms_error *settle(struct ms_heap *heap, struct ms_image *image)
{
    (void)heap;
    (void)image;
    return NULL;
}

static const struct ms_allocator allocator = {.name = "go", .settle = settle, .class_of = class_of};

/* --- the index ---------------------------------------------------------------------------------
 */

struct segments {
    MS_VECTOR(struct ms_segment) list;
    uint64_t bytes; /* that the index needs room for */
};

/* A segment for each run of arenas that follow each other, from their first span to their last. */
static struct ms_error *find_segments(const struct ms_go_builder *b, struct segments *segments)
{
    const struct ms_go_arenas *arenas = &b->arenas;
    const struct ms_go_span *spans = b->heap->spans.items;
    const size_t count = b->heap->spans.count;
    size_t arena = 0;
    for (size_t i = 0, end; i < count; i = end) {
        while (arena < arenas->list.count && arenas->list.items[arena].start + arenas->bytes <= spans[i].start)
            arena++;
        uint64_t limit = spans[i].start;
        for (; arena < arenas->list.count && arenas->list.items[arena].start <= limit; arena++)
            limit = arenas->list.items[arena].start + arenas->bytes;
        for (end = i + 1; end < count && spans[end].start < limit;)
            end++;
        struct ms_segment *segment = ms_vector_add(&segments->list);
        if (!segment)
            return ms_error_nomem("the Go heap");
        *segment = (struct ms_segment){.start = spans[i].start, .end = spans[end - 1].end};
        segments->bytes += segment->end - segment->start + 2 * (uint64_t)MS_PANE;
    }
    return NULL;
}

static struct ms_error *add_segments(struct ms_go_builder *b, const struct segments *segments)
{
    struct ms_heap *heap = &b->heap->scan->heap;
    /* Twice as much room: granules are half as big as those of malloc's heap. */
    MS_TRY(ms_heap_prepare(heap, 2 * segments->bytes + 2 * (uint64_t)MS_PANE, 0));
    heap->fine = 1;
    heap->interior_holds = true;
    heap->allocator = &allocator;
    heap->state = b->heap;
    snprintf(heap->description, sizeof heap->description, "Go %.40s", ms_go_release(b->go));
    struct ms_arena *arena = ms_vector_add(&heap->arenas);
    if (!arena)
        return ms_error_nomem("the Go heap");
    for (size_t i = 0; i < segments->list.count; i++) {
        MS_TRY(ms_heap_add_segment(heap, &segments->list.items[i]));
        arena->system += segments->list.items[i].end - segments->list.items[i].start;
    }
    arena->walked = arena->system;
    MS_TRY(ms_heap_lay_out(heap));
    for (size_t i = 0; i < heap->segments.count; i++)
        heap->segments.items[i].next = heap->segments.items[i].end;
    heap->edge_width = 2 * heap->granules <= UINT32_MAX ? 4 : 5;
    return NULL;
}

/* Spans are whole pages of the heap, and segments begin with one in the index. */
static struct ms_error *index_spans(struct ms_go_heap *heap)
{
    const struct ms_heap *h = &heap->scan->heap;
    const uint64_t pages = ms_granule_bytes(h, h->granules) / MS_GO_PAGE + 1;
    heap->page_spans = calloc(pages, sizeof *heap->page_spans);
    if (!heap->page_spans)
        return ms_error_nomem("the Go heap");
    for (size_t i = 0; i < heap->spans.count; i++) {
        const struct ms_go_span *span = &heap->spans.items[i];
        const struct ms_segment *segment = ms_heap_segment(h, span->start);
        if (!segment)
            continue;
        const uint64_t first =
            ms_granule_bytes(h, ms_address_granule(h, segment, span->start)) / MS_GO_PAGE;
        for (uint64_t k = 0; k < (span->end - span->start) / MS_GO_PAGE && first + k < pages; k++)
            heap->page_spans[first + k] = (uint32_t)i + 1;
    }
    return NULL;
}

static struct ms_error *make_index(struct ms_go_builder *b)
{
    struct segments segments = {.bytes = 0};
    struct ms_error *error = find_segments(b, &segments);
    if (!error)
        error = add_segments(b, &segments);
    if (!error)
        error = index_spans(b->heap);
    ms_vector_free(&segments.list);
    if (!error)
        error = ms_go_read_slots(b);
    return error ? error : ms_go_read_pointers(b);
}

/* --- marking -----------------------------------------------------------------------------------
 */

static struct ms_error *take_roots(struct ms_go_builder *b)
{
    struct ms_scan *scan = b->heap->scan;
    struct ms_root *roots = reallocarray(scan->roots, b->roots.count + 1, sizeof *roots);
    if (!roots)
        return ms_error_nomem("the roots");
    if (b->roots.count)
        memcpy(roots, b->roots.items, b->roots.count * sizeof *roots);
    scan->roots = roots;
    scan->root_count = b->roots.count;
    return NULL;
}

/* The object in SLOT, as a granule. */
static uint64_t object_in(const struct ms_go_heap *heap, uint64_t slot)
{
    const struct ms_segment *s = ms_heap_segment(&heap->scan->heap, slot);
    const struct ms_go_span *span = find_span(heap, slot);
    return ms_address_granule(&heap->scan->heap, s, slot) + span->header;
}

/*
 * Go keeps what an object with a finalizer points to until that has run, and the object itself when
 * nothing else does. So such an object is a root when it is not reachable: the ways by which it is
 * come first, that what it points to counts as theirs.
 */
static struct ms_error *mark(struct ms_go_builder *b)
{
    struct ms_scan *scan = b->heap->scan;
    struct ms_heap *heap = &scan->heap;
    const size_t first = b->roots.count;
    struct ms_reach reach;
    MS_TRY(take_roots(b));
    MS_TRY(ms_mark(scan, &reach));
    for (size_t i = 0; i < b->specials.count; i++) {
        const struct ms_go_special *special = &b->specials.items[i];
        const uint64_t object = object_in(b->heap, special->slot);
        const struct ms_line *line = &heap->lines[object / MS_LINE_GRANULES];
        if (special->kind != MS_GO_FINALIZER || !ms_bit(line->live & ~line->reached, object))
            continue;
        struct ms_go_finalizable *slot = ms_vector_add(&b->heap->finalizable);
        if (!slot)
            return ms_error_nomem("the roots");
        *slot = (struct ms_go_finalizable){object, special->address};
        MS_TRY(ms_go_add_root(b, MS_ROOT_FINALIZER, 0, special->address, ms_granule_address(heap, object)));
    }
    if (b->roots.count > first) {
        MS_TRY(take_roots(b));
        MS_TRY(ms_mark_more(scan, first, &reach));
    }
    return NULL;
}

static void count(struct ms_tally *tally, uint64_t bytes)
{
    tally->blocks++;
    tally->bytes += bytes;
}

static void sum_unreachable(struct ms_go_heap *heap)
{
    const struct ms_heap *h = &heap->scan->heap;
    for (uint64_t l = 0; l < h->granules / MS_LINE_GRANULES; l++)
        for (uint32_t bits = h->lines[l].starts & h->lines[l].live & ~h->lines[l].reached; bits; bits &= bits - 1) {
            const uint64_t start = l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits);
            const uint64_t bytes = ms_block_size(h, start);
            count(&heap->unreachable, bytes);
            if (ms_go_is_young(heap, ms_granule_address(h, start)))
                count(&heap->young, bytes);
        }
}

static struct ms_error *build(struct ms_go_builder *b)
{
    MS_TRY(ms_scan_new(&b->heap->scan));
    b->heap->scan->go = b->heap;
    MS_TRY(ms_go_read_spans(b));
    MS_TRY(make_index(b));
    MS_TRY(ms_heap_settle(&b->heap->scan->heap, b->image));
    MS_TRY(ms_go_functions_new(b->go, &b->heap->functions));
    MS_TRY(ms_go_goroutines_new(b->go, b->heap->functions, &b->heap->goroutines));
    MS_TRY(ms_go_read_roots(b));
    MS_TRY(mark(b));
    sum_unreachable(b->heap);
    b->heap->unreadable = b->unreadable;
    if (b->unreadable) {
        b->image->incomplete = true;
        ms_image_warn(b->image,
                      "parts of the Go heap could not be read; what only they point to looks unreachable");
    }
    return NULL;
}

ms_result ms_go_heap_new(struct ms_go *go, struct ms_image *image, struct ms_go_heap **heap)
{
    *heap = NULL;
    if (image->kind == MS_LEAN)
        return ms_error(MS_TARGET,
                        "%s: the heap of a Go program is read from a copy of all its memory, and "
                        "there is not memory "
                        "enough for one; write a core (memscope snapshot, gcore) and read that, "
                        "elsewhere if need be",
                        image->origin);
    struct ms_go_builder b = {.go = go, .image = image, .heap = calloc(1, sizeof *b.heap)};
    if (!b.heap)
        return ms_error_nomem("the Go heap");
    b.heap->go = go;
    ms_go_size_classes(go, b.heap->size_classes);
    struct ms_error *error = build(&b);
    ms_vector_free(&b.arenas.list);
    ms_vector_free(&b.specials);
    ms_vector_free(&b.roots);
    if (error)
        ms_go_heap_free(b.heap);
    else
        *heap = b.heap;
    return error;
}

void ms_go_heap_free(struct ms_go_heap *heap)
{
    if (!heap)
        return;
    ms_scan_free(heap->scan);
    ms_vector_free(&heap->spans);
    ms_vector_free(&heap->finalizable);
    ms_reserve_free(&heap->pointer_memory);
    free(heap->page_spans);
    ms_go_goroutines_free(heap->goroutines);
    ms_go_functions_free(heap->functions);
    free(heap);
}
