/* Which allocator a process uses, and the index of blocks that all allocators fill. */
#include "memscope/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocators.h"

const char *const ms_class_names[MS_CLASSES] = {
    [MS_CLASS_LIVE] = "live",       [MS_CLASS_FREE] = "free", [MS_CLASS_TCACHE] = "tcache",
    [MS_CLASS_FASTBIN] = "fastbin", [MS_CLASS_TOP] = "top",   [MS_CLASS_OVERHEAD] = "overhead",
    [MS_CLASS_UNKNOWN] = "unknown", [MS_CLASS_GARBAGE] = "garbage", [MS_CLASS_RUNTIME] = "runtime",
};

/* The allocators that memscope knows; the first that finds itself counts. */
static const struct ms_allocator *const allocators[] = {&ms_glibc};

/* Allocators that are recognised by their library's name, but not understood yet. */
static const struct {
    const char *file_prefix, *name;
} strangers[] = {
    {"libjemalloc", "jemalloc"}, {"libtcmalloc", "tcmalloc"},     {"libmimalloc", "mimalloc"},
    {"ld-musl", "musl's malloc"}, {"libhoard", "Hoard"},          {"libsnmalloc", "snmalloc"},
    {"libasan", "AddressSanitizer"}, {"libc_malloc_debug", "libc_malloc_debug"},
};

/* What is populated before the stop: of the heap's bytes, the part that edges usually need. */
#define EDGE_SHARE 10u

/* --- life -------------------------------------------------------------------------------------- */

static void forget(struct ms_heap *heap)
{
    if (heap->allocator && heap->allocator->release)
        heap->allocator->release(heap);
    heap->allocator = NULL;
    heap->segments.count = heap->arenas.count = heap->holes.count = 0;
    heap->exact_roots.count = heap->gaps.count = heap->samples.count = 0;
    heap->granules = heap->pointer_guard = heap->code_start = heap->code_end = 0;
    heap->busy = heap->inside = heap->inconsistent = heap->samples_thinned = false;
    heap->description[0] = '\0';
}

void ms_heap_release(struct ms_heap *heap)
{
    forget(heap);
    ms_vector_free(&heap->segments);
    ms_vector_free(&heap->arenas);
    ms_vector_free(&heap->holes);
    ms_vector_free(&heap->exact_roots);
    ms_vector_free(&heap->gaps);
    ms_vector_free(&heap->samples);
    ms_reserve_free(&heap->line_reserve);
    ms_reserve_free(&heap->pane_reserve);
    ms_reserve_free(&heap->target_reserve);
}

ms_result ms_heap_prepare(struct ms_heap *heap, uint64_t bytes, uint64_t resident)
{
    forget(heap);
    ms_reserve_free(&heap->line_reserve);
    ms_reserve_free(&heap->pane_reserve);
    ms_reserve_free(&heap->target_reserve);
    const uint64_t line_bytes = MS_LINE_GRANULES * MS_GRANULE;
    MS_TRY(ms_reserve(&heap->line_reserve, bytes / line_bytes * sizeof(struct ms_line), "the block index"));
    MS_TRY(ms_reserve(&heap->pane_reserve, bytes / MS_PANE * sizeof(struct ms_pane), "the block index"));
    MS_TRY(ms_reserve(&heap->target_reserve, bytes, "edges"));
    ms_reserve_populate(&heap->target_reserve, 0, resident / EDGE_SHARE);
    ms_reserve_populate(&heap->line_reserve, 0, resident / line_bytes * sizeof(struct ms_line));
    ms_reserve_populate(&heap->pane_reserve, 0, resident / MS_PANE * sizeof(struct ms_pane));
    heap->lines = (struct ms_line *)(void *)heap->line_reserve.base;
    heap->panes = (struct ms_pane *)(void *)heap->pane_reserve.base;
    heap->targets = heap->target_reserve.base;
    return NULL;
}

/* --- discovery --------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const struct ms_segment *s = a, *t = b;
    return s->start < t->start ? -1 : s->start > t->start;
}

ms_result ms_heap_lay_out(struct ms_heap *heap)
{
    ms_vector_sort(&heap->segments, by_address);
    uint64_t granule = MS_PANE_GRANULES; /* the first pane stays empty: granule 0 is nobody's */
    const uint64_t limit = heap->pane_reserve.size / sizeof(struct ms_pane) * MS_PANE_GRANULES;
    const uint64_t pane_bytes = ms_granule_bytes(heap, MS_PANE_GRANULES);
    size_t kept = 0;
    for (size_t i = 0; i < heap->segments.count; i++) {
        struct ms_segment *s = &heap->segments.items[i];
        if (kept && s->start < heap->segments.items[kept - 1].end) {
            heap->inconsistent = true; /* two arenas claim the same bytes */
            continue;
        }
        s->base = s->start & ~(pane_bytes - 1);
        s->first = granule;
        s->next = s->start;
        s->last = MS_NOTHING;
        s->inspect = 0;
        s->lost_at = 0;
        s->foreign = s->fenced = s->bad_top = false;
        uint64_t panes = (s->end - s->base + pane_bytes - 1) / pane_bytes;
        if (granule + panes * MS_PANE_GRANULES > limit)
            return ms_error(MS_TARGET, "the target's heap grew by more than memscope made room for; try again");
        for (uint64_t p = 0; p < panes; p++)
            heap->panes[granule / MS_PANE_GRANULES + p] = (struct ms_pane){(uint32_t)kept, 0};
        granule += panes * MS_PANE_GRANULES;
        heap->segments.items[kept++] = *s;
    }
    heap->segments.count = kept;
    heap->granules = granule;
    return NULL;
}

static void name_stranger(struct ms_heap *heap, const struct ms_image *image)
{
    for (size_t i = 0; i < image->region_count; i++) {
        const char *name = strrchr(image->regions[i].path, '/');
        for (size_t j = 0; name && j < sizeof strangers / sizeof *strangers; j++)
            if (strncmp(name + 1, strangers[j].file_prefix, strlen(strangers[j].file_prefix)) == 0) {
                snprintf(heap->description, sizeof heap->description, "%s (not known yet)", strangers[j].name);
                return;
            }
    }
}

ms_result ms_heap_discover(struct ms_heap *heap, struct ms_image *image)
{
    name_stranger(heap, image);
    /* An interposed allocator gets all calls: glibc's own heap is then empty or a leftover. */
    if (heap->description[0])
        return ms_heap_lay_out(heap);
    for (size_t i = 0; i < sizeof allocators / sizeof allocators[0]; i++) {
        bool found = false;
        heap->allocator = allocators[i];
        MS_TRY(allocators[i]->discover(heap, image, &found)); // cppcheck-suppress returnDanglingLifetime
        if (found)
            return ms_heap_lay_out(heap);
        if (allocators[i]->release)
            allocators[i]->release(heap);
        heap->allocator = NULL;
    }
    snprintf(heap->description, sizeof heap->description, "no known allocator");
    return ms_heap_lay_out(heap);
}

ms_result ms_heap_add_segment(struct ms_heap *heap, const struct ms_segment *segment)
{
    struct ms_segment *slot = ms_vector_add(&heap->segments);
    if (!slot)
        return ms_error_nomem("the heap's segments");
    *slot = *segment;
    return NULL;
}

/* --- marking ----------------------------------------------------------------------------------- */

void ms_heap_mark_start(struct ms_heap *heap, uint64_t granule)
{
    heap->lines[granule / MS_LINE_GRANULES].starts |= 1u << granule % MS_LINE_GRANULES;
}

void ms_heap_mark_live(struct ms_heap *heap, uint64_t granule, bool live)
{
    uint32_t bit = 1u << granule % MS_LINE_GRANULES;
    uint32_t *bits = &heap->lines[granule / MS_LINE_GRANULES].live;
    *bits = live ? *bits | bit : *bits & ~bit;
}

void ms_heap_add_gap(struct ms_heap *heap, uint64_t start, uint64_t end, bool foreign)
{
    struct ms_gap *gap = ms_vector_add(&heap->gaps);
    if (gap)
        *gap = (struct ms_gap){start, end, foreign};
    heap->inconsistent |= !gap || !foreign;
}

/* --- after the stop ---------------------------------------------------------------------------- */

static int gaps_by_address(const void *a, const void *b)
{
    const struct ms_gap *g = a, *h = b;
    return g->start < h->start ? -1 : g->start > h->start;
}

const struct ms_gap *ms_heap_gap(const struct ms_heap *heap, uint64_t address)
{
    size_t low = 0, high = heap->gaps.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (heap->gaps.items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < heap->gaps.count && heap->gaps.items[low].start <= address ? &heap->gaps.items[low] : NULL;
}

/* A walker that still looks for chunks at the end of its segment has lost all that follows. */
static void close_gaps(struct ms_heap *heap)
{
    for (size_t i = 0; i < heap->segments.count; i++) {
        struct ms_segment *s = &heap->segments.items[i];
        uint64_t from = s->lost_at ? s->lost_at : s->next;
        if (from < s->end)
            ms_heap_add_gap(heap, from, s->end, s->lost_at && s->foreign);
        s->lost_at = 0;
    }
    ms_vector_sort(&heap->gaps, gaps_by_address);
}

/* Every segment begins with a start, so that a search backwards ends in it; panes learn the way. */
static void link_panes(struct ms_heap *heap)
{
    for (size_t i = 0; i < heap->segments.count; i++) {
        const struct ms_segment *s = &heap->segments.items[i];
        uint64_t end = ms_segment_end(heap, s);
        uint64_t last = s->first;
        ms_heap_mark_start(heap, s->first);
        for (uint64_t pane = s->first; pane < end; pane += MS_PANE_GRANULES) {
            heap->panes[pane / MS_PANE_GRANULES].back = (uint32_t)(pane - last);
            for (uint64_t line = MS_PANE_LINES; line-- > 0;) {
                uint32_t starts = heap->lines[pane / MS_LINE_GRANULES + line].starts;
                if (starts) {
                    last = pane + line * MS_LINE_GRANULES + 31 - (unsigned)__builtin_clz(starts);
                    break;
                }
            }
        }
    }
}

static int samples_by_granule(const void *a, const void *b)
{
    const struct ms_sample *s = a, *t = b;
    return s->granule < t->granule ? -1 : s->granule > t->granule;
}

ms_result ms_heap_settle(struct ms_heap *heap, struct ms_image *image)
{
    if (heap->inside)
        ms_image_warn(image, "the program was stopped inside libc each time, perhaps in malloc or free: unreachable"
                      " blocks that look like free ones on their way are not counted as lost");
    close_gaps(heap);
    link_panes(heap);
    ms_vector_sort(&heap->samples, samples_by_granule);
    return heap->allocator ? heap->allocator->settle(heap, image) : NULL;
}

/* --- the index --------------------------------------------------------------------------------- */

struct ms_segment *ms_heap_segment(const struct ms_heap *heap, uint64_t address)
{
    size_t low = 0, high = heap->segments.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (heap->segments.items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == heap->segments.count || heap->segments.items[low].start > address)
        return NULL;
    return &heap->segments.items[low];
}

uint64_t ms_next_start(const struct ms_heap *heap, uint64_t start)
{
    const struct ms_segment *s = ms_granule_segment(heap, start);
    uint64_t end = ms_segment_end(heap, s);
    uint64_t line = start / MS_LINE_GRANULES, last_line = (end - 1) / MS_LINE_GRANULES;
    unsigned bit = start % MS_LINE_GRANULES;
    uint32_t starts = bit == 31 ? 0 : heap->lines[line].starts & (UINT32_MAX << (bit + 1));
    while (!starts && line < last_line)
        starts = heap->lines[++line].starts;
    uint64_t next = starts ? line * MS_LINE_GRANULES + (unsigned)__builtin_ctz(starts) : end;
    return next < end ? next : end;
}

uint64_t ms_block_size(const struct ms_heap *heap, uint64_t start)
{
    const struct ms_segment *s = ms_granule_segment(heap, start);
    uint64_t next = ms_next_start(heap, start);
    uint64_t from = s->base + ms_granule_bytes(heap, start - s->first);
    uint64_t to = s->base + ms_granule_bytes(heap, next - s->first);
    if (to >= s->end)
        return s->end - from - s->tail; /* a mapped block, or the last one of a segment without a fence */
    return to - from - heap->tail;
}

const struct ms_sample *ms_block_sample(const struct ms_heap *heap, uint64_t start)
{
    struct ms_sample key = {.granule = start};
    return heap->samples.count ? bsearch(&key, heap->samples.items, heap->samples.count, sizeof key,
                                         samples_by_granule)
                               : NULL;
}

enum ms_class ms_chunk_class(const struct ms_heap *heap, uint64_t start)
{
    if (ms_bit(heap->lines[start / MS_LINE_GRANULES].live, start))
        return MS_CLASS_LIVE;
    return heap->allocator->class_of(heap, ms_granule_segment(heap, start), start);
}
