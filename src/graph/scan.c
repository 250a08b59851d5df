/* The scan: the sink that turns passing memory into blocks, edges and roots. */
#include "scan.h"

#include <stdlib.h>
#include <string.h>

#include "memscope/memory.h"

/* Spans carry a segment's number, or a root range's number behind this bit. */
#define ROOT_TAG (1u << 31)
#define ROOTS_AT_ONCE (256u << 10)
/* Workers take room for targets in pieces of this many; a window never needs more. */
#define TARGETS_AT_ONCE (MS_WINDOW / 8u * 8u)

/* --- life -------------------------------------------------------------------------------------- */

static struct ms_error *prepare(void *self, const struct ms_image *image);
static struct ms_error *plan(void *self, struct ms_image *image, struct ms_spans *spans);
static void filter(void *self, const struct ms_window *window);
static void walk(void *self, const struct ms_window *window);
static bool retry(void *self, bool walked);

ms_result ms_scan_new(struct ms_scan **out)
{
    struct ms_scan *scan = calloc(1, sizeof *scan);
    struct ms_scan_workers *workers = calloc(1, sizeof *workers);
    if (!scan || !workers) {
        free(scan);
        free(workers);
        return ms_error_nomem("the scan");
    }
    workers->sink = (struct ms_sink){scan, prepare, plan, filter, walk, retry};
    workers->filter = ms_filter_best();
    workers->line = ms_line_best();
    scan->workers = workers;
    *out = scan;
    return NULL;
}

struct ms_sink *ms_scan_sink(struct ms_scan *scan)
{
    return &scan->workers->sink;
}

void ms_scan_free(struct ms_scan *scan)
{
    if (!scan)
        return;
    struct ms_scan_workers *w = scan->workers;
    for (unsigned i = 0; i < MS_WORKERS; i++) {
        ms_reserve_free(&w->worker[i].roots);
    }
    ms_zones_drop(&w->map);
    ms_vector_free(&w->map.zones);
    free(w);
    ms_heap_release(&scan->heap);
    ms_vector_free(&scan->ranges);
    ms_vector_free(&scan->cached_stacks);
    free(scan->roots);
    free(scan);
}

/* --- before the stop --------------------------------------------------------------------------- */

/* Address space that can become heap, and the bytes of it that are there. */
static void measure(const struct ms_image *image, uint64_t *space, uint64_t *resident, uint64_t *all)
{
    *space = *resident = *all = 0;
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        uint64_t bytes = 0;
        for (size_t j = 0; j < r->run_count; j++)
            bytes += r->runs[j].end - r->runs[j].start;
        *all += bytes;
        if (!bytes || (r->kind != MS_REGION_ANON && r->kind != MS_REGION_BRK))
            continue;
        *space += r->end - r->start + 2 * MS_PANE;
        *resident += bytes;
    }
}

static struct ms_error *prepare(void *self, const struct ms_image *image)
{
    struct ms_scan *scan = self;
    uint64_t space, resident, all;
    measure(image, &space, &resident, &all);
    /* Sparse giants (sanitizers' shadows) are no malloc heap: the index would only reserve space for them. */
    const uint64_t most = 4ull << 40, slack = ms_reserve_slack();
    space = (space < most ? space : most) + slack;
    MS_TRY(ms_heap_prepare(&scan->heap, space, resident));
    for (unsigned i = 0; i < MS_WORKERS; i++) {
        struct worker *w = &scan->workers->worker[i];
        ms_reserve_free(&w->roots);
        w->next_target = w->last_target = w->root_count = 0;
        w->full = false;
        MS_TRY(ms_reserve(&w->roots, 3 * all + slack, "roots"));
        ms_reserve_populate(&w->roots, 0, ROOTS_AT_ONCE);
    }
    scan->ranges.count = 0;
    atomic_store(&scan->workers->targets_given, 0);
    ms_zones_drop(&scan->workers->map);
    return NULL;
}

/* --- plan: spans ------------------------------------------------------------------------------- */

static struct ms_error *add_span(struct ms_spans *spans, uint64_t start, uint64_t end, uint32_t tag, bool keep)
{
    const bool roots = tag & ROOT_TAG; /* the walk over a heap's chunks has to see all of it */
    struct ms_span *span = ms_vector_add(&spans->list);
    if (!span)
        return ms_error_nomem("the plan");
    *span = (struct ms_span){start & ~(uint64_t)(MS_PAGE - 1), (end + MS_PAGE - 1) & ~(uint64_t)(MS_PAGE - 1),
                             tag, keep, roots};
    return NULL;
}

/* A segment may run through several regions. */
static struct ms_error *add_segment_spans(struct ms_spans *spans, const struct ms_image *image,
                                          const struct ms_segment *s, uint32_t tag)
{
    for (uint64_t at = s->start; at < s->end;) {
        const struct ms_region *r = ms_image_region(image, at);
        if (!r)
            return NULL; /* the walk will miss what is not mapped */
        uint64_t end = s->end < r->end ? s->end : r->end;
        MS_TRY(add_span(spans, at, end, tag, false));
        at = end;
    }
    return NULL;
}

static int spans_by_address(const void *a, const void *b)
{
    const struct ms_span *s = a, *t = b;
    return s->start < t->start ? -1 : s->start > t->start;
}

static struct ms_error *plan(void *self, struct ms_image *image, struct ms_spans *spans)
{
    struct ms_scan *scan = self;
    MS_TRY(ms_heap_discover(&scan->heap, image));
    MS_TRY(ms_zones_make(scan, image));
    MS_TRY(ms_roots_plan(scan, image));
    for (size_t i = 0; i < scan->heap.segments.count; i++)
        MS_TRY(add_segment_spans(spans, image, &scan->heap.segments.items[i], (uint32_t)i));
    for (size_t i = 0; i < scan->ranges.count; i++) {
        const struct ms_root_range *range = &scan->ranges.items[i];
        MS_TRY(add_span(spans, range->start, range->end, ROOT_TAG | (uint32_t)i, range->keep));
    }
    ms_vector_sort(&spans->list, spans_by_address);
    return NULL;
}

/* --- in the stop: words ------------------------------------------------------------------------ */

/* Bits of the words of the line at ADDRESS that lie wholly in [start, end). */
static uint64_t inside(uint64_t address, uint64_t start, uint64_t end)
{
    const uint64_t first = start > address ? (start - address + 7) / 8 : 0;
    const uint64_t last = end > address ? (end - address) / 8 : 0; /* exclusive */
    if (first >= 64 || last <= first)
        return 0;
    return UINT64_MAX << first & (last < 64 ? (1ull << last) - 1 : UINT64_MAX);
}

/* Makes sure that a whole window's targets have room; false when there is none left. */
static bool take_room(struct ms_scan *scan, struct worker *w)
{
    const uint64_t most = MS_WINDOW / 8;
    if (w->last_target - w->next_target >= most)
        return true;
    w->next_target = atomic_fetch_add(&scan->workers->targets_given, TARGETS_AT_ONCE);
    /* Indices are 32 bits. Some stay free: more is written than what counts. */
    w->last_target = w->next_target + TARGETS_AT_ONCE - MS_LINE_SPILL / 4;
    w->full |=
        w->last_target > UINT32_MAX ||
        w->last_target * scan->heap.edge_width + MS_LINE_SPILL > scan->heap.target_reserve.size;
    return !w->full;
}

/* What line_function does, for those WANTED of the words, and for targets of 5 bytes too. */
static uint64_t filter_line(const struct ms_scan *scan, const uint64_t *words,
                            const struct ms_segment *s, uint64_t wanted, uint8_t **out)
{
    const struct zone_map *map = &scan->workers->map;
    const unsigned width = scan->heap.edge_width;
    uint64_t maybe = scan->workers->filter(words, map->low, map->span) & wanted, bits = 0;
    uint8_t *to = *out;
    for (; maybe; maybe &= maybe - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(maybe);
        uint64_t offset = words[bit] - s->base;
        uint64_t target = offset - (s->start - s->base) < s->end - s->start
                              ? 2 * s->first + ms_unit_of(offset)
                              : ms_zone_target(map, words[bit]);
        if (target == MS_NOTHING)
            continue;
        if (width == 4)
            memcpy(to, &target, 4);
        else
            memcpy(to, &target, 8);
        to += width;
        bits |= 1ull << bit;
    }
    *out = to;
    return bits;
}

static void filter_heap(struct ms_scan *scan, struct worker *w, const struct ms_window *window)
{
    struct ms_heap *heap = &scan->heap;
    const struct ms_segment *s = &heap->segments.items[window->span->tag];
    const struct zone_map *map = &scan->workers->map;
    const struct home home = ms_home_of(s);
    const unsigned width = heap->edge_width;
    line_function *const whole_line = width == 4 && s->start % 8 == 0 ? scan->workers->line : NULL;
    if (w->full || !take_room(scan, w))
        return;
    uint8_t *const first = heap->targets + w->next_target * width, *out = first;
    /* A segment that starts or ends inside a page shares that page's window with others. */
    uint64_t from = window->start > s->base ? window->start : s->base;
    struct ms_line *line =
        &heap->lines[ms_address_granule(heap, s, from) / MS_LINE_GRANULES];
    for (uint64_t address = from; address < window->end; address += 512, line++) {
        const uint64_t *words = (const uint64_t *)(const void *)(window->bytes + (address - window->start));
        const bool whole = address >= s->start && address + 512 <= s->end;
        const uint64_t bytes = (uint64_t)(out - first);
        line->first = (uint32_t)(w->next_target + (width == 4 ? bytes / 4 : bytes / 5));
        line->pointers =
            whole && whole_line
                ? whole_line(words, map, &home, &out)
                : filter_line(scan, words, s,
                              whole ? UINT64_MAX : inside(address, s->start, s->end), &out);
    }
    w->next_target += (uint64_t)(out - first) / width;
}

static void add_root(const struct ms_scan *scan, struct worker *w, const struct ms_root_range *range,
                     uint64_t address, uint64_t word)
{
    uint64_t target = ms_zone_target(&scan->workers->map, word);
    if (target >= scan->workers->block_targets) /* also MS_NOTHING */
        return;
    struct ms_root *roots = (struct ms_root *)(void *)w->roots.base;
    if ((w->root_count + 1) * sizeof *roots > w->roots.size) {
        w->full = true;
        return;
    }
    roots[w->root_count++] = (struct ms_root){address, target, range->tid, (uint8_t)range->kind,
                                               false, address < range->chunks_before, MS_RANK_OWN};
}

/*
 * PTR_MANGLE of sysdeps/unix/sysv/linux/x86_64/pointer_guard.h: xor with the guard, rotate
 * left by 17. setjmp keeps the frame pointer register so, which may hold any pointer.
 */
static inline uint64_t demangle(uint64_t word, uint64_t guard)
{
    return (word >> 17 | word << 47) ^ guard;
}

static void filter_roots(struct ms_scan *scan, struct worker *w, const struct ms_window *window)
{
    const struct ms_root_range *range = &scan->ranges.items[window->span->tag & ~ROOT_TAG];
    const struct zone_map *map = &scan->workers->map;
    uint64_t guard = range->kind == MS_ROOT_STACK || range->kind == MS_ROOT_DATA ? scan->heap.pointer_guard : 0;
    for (uint64_t address = window->start; address < window->end; address += 512) {
        const uint64_t *words = (const uint64_t *)(const void *)(window->bytes + (address - window->start));
        uint64_t wanted = inside(address, range->start, range->end);
        uint64_t maybe = scan->workers->filter(words, map->low, map->span) & wanted;
        for (; maybe; maybe &= maybe - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(maybe);
            add_root(scan, w, range, address + bit * 8, words[bit]);
        }
        for (unsigned bit = 0; guard && bit < 64; bit++)
            if (wanted >> bit & 1 && words[bit])
                add_root(scan, w, range, address + bit * 8, demangle(words[bit], guard));
    }
}

static void filter(void *self, const struct ms_window *window)
{
    struct ms_scan *scan = self;
    struct worker *w = &scan->workers->worker[window->worker];
    if (window->span->tag & ROOT_TAG)
        filter_roots(scan, w, window);
    else
        filter_heap(scan, w, window);
}

static void walk(void *self, const struct ms_window *window)
{
    struct ms_scan *scan = self;
    if (!(window->span->tag & ROOT_TAG))
        scan->heap.allocator->walk(&scan->heap, &scan->heap.segments.items[window->span->tag], window);
}

static bool retry(void *self, bool walked)
{
    const struct ms_scan *scan = self;
    return walked ? scan->heap.inconsistent : scan->heap.busy;
}

/* --- after the stop ---------------------------------------------------------------------------- */

/* Words of memory that others took from the heap by sbrk, or that was skipped, are roots. */
static void add_gap_roots(struct ms_scan *scan, const struct ms_gap *gap)
{
    struct ms_heap *heap = &scan->heap;
    const struct ms_segment *s = ms_heap_segment(heap, gap->start);
    struct worker *w = &scan->workers->worker[0];
    for (uint64_t address = gap->start & ~511ull; s && address < gap->end; address += 512) {
        if (address < s->base)
            continue;
        uint64_t number = ms_address_granule(heap, s, address) / MS_LINE_GRANULES;
        const struct ms_line *line = &heap->lines[number];
        uint64_t wanted = inside(address, gap->start, gap->end);
        uint64_t index = line->first;
        for (uint64_t left = line->pointers; left; left &= left - 1, index++) {
            unsigned bit = (unsigned)__builtin_ctzll(left);
            uint64_t target = ms_target_at(heap, index);
            if (!(wanted >> bit & 1) || target >= scan->workers->block_targets ||
                (w->root_count + 1) * sizeof(struct ms_root) > w->roots.size)
                continue;
            ((struct ms_root *)(void *)w->roots.base)[w->root_count++] =
                (struct ms_root){address + bit * 8, target, 0, MS_ROOT_ANON, false, false, MS_RANK_OWN};
        }
    }
}

static struct ms_error *gather_roots(struct ms_scan *scan, const struct ms_image *image)
{
    size_t count = 0;
    for (unsigned i = 0; i < MS_WORKERS; i++)
        count += scan->workers->worker[i].root_count;
    free(scan->roots);
    scan->roots = malloc((count ? count : 1) * sizeof *scan->roots);
    if (!scan->roots)
        return ms_error_nomem("the roots");
    scan->root_count = 0;
    for (unsigned i = 0; i < MS_WORKERS; i++) {
        struct worker *w = &scan->workers->worker[i];
        memcpy(scan->roots + scan->root_count, w->roots.base, w->root_count * sizeof *scan->roots);
        scan->root_count += w->root_count;
        ms_reserve_free(&w->roots);
    }
    return ms_roots_add_words(scan, image);
}

ms_result ms_scan_finish(struct ms_scan *scan, struct ms_image *image)
{
    MS_TRY(ms_heap_settle(&scan->heap, image));
    for (size_t i = 0; i < scan->heap.gaps.count; i++)
        add_gap_roots(scan, &scan->heap.gaps.items[i]);
    for (unsigned i = 0; i < MS_WORKERS; i++)
        if (scan->workers->worker[i].full) {
            image->incomplete = true;
            ms_image_warn(image, "the target's memory grew while it was measured; not all of it was looked at");
        }
    return gather_roots(scan, image);
}
