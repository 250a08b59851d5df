/* Memory accounting: every resident byte in one row, and a verdict in plain words. */
#include "memscope/memstats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "memscope/regions.h"
#include "memscope/units.h"

const struct ms_row_info ms_rows[MS_ROWS] = {
    [MS_ROW_LIVE] = {"live", "heap: live, reachable", true},
    [MS_ROW_POSSIBLE] = {"possibly_lost", "heap: possibly lost", true},
    [MS_ROW_LOST] = {"lost", "heap: lost (leaked)", true},
    [MS_ROW_FREE_TRIM] = {"free_trimmable", "heap: free, whole pages (malloc_trim returns them)", true},
    [MS_ROW_FREE_PINNED] = {"free_pinned", "heap: free, pinned by live neighbours", true},
    [MS_ROW_TCACHE] = {"tcache", "heap: cached for threads (tcache)", true},
    [MS_ROW_FASTBIN] = {"fastbin", "heap: cached in fastbins", true},
    [MS_ROW_TOP] = {"top", "heap: top of arenas, not handed out", true},
    [MS_ROW_OVERHEAD] = {"overhead", "heap: allocator's own", true},
    [MS_ROW_UNKNOWN] = {"unknown", "heap: could not be walked", true},
    [MS_ROW_GO_LIVE] = {"go_live", "Go: live objects", true},
    [MS_ROW_GO_GARBAGE] = {"go_garbage", "Go: unreachable, not collected yet", true},
    [MS_ROW_GO_UNSWEPT] = {"go_unswept", "Go: dead, not swept yet", true},
    [MS_ROW_GO_SLOTS] = {"go_free_slots", "Go: free slots in spans in use", true},
    [MS_ROW_GO_IDLE] = {"go_idle", "Go: free spans, not returned", true},
    [MS_ROW_GO_STACKS] = {"go_stacks", "Go: stacks of goroutines", false},
    [MS_ROW_GO_FREE_STACKS] = {"go_free_stacks", "Go: free stacks", false},
    [MS_ROW_GO_WORK] = {"go_work_buffers", "Go: buffers of the collector", false},
    [MS_ROW_GO_SPANS] = {"go_spans", "Go: runtime, mspan", false},
    [MS_ROW_GO_CACHES] = {"go_caches", "Go: runtime, mcache", false},
    [MS_ROW_GO_BITMAPS] = {"go_bitmaps", "Go: runtime, bitmaps and arena index", false},
    [MS_ROW_GO_PAGES] = {"go_pages", "Go: runtime, page allocator", false},
    [MS_ROW_GO_PROFILES] = {"go_profiles", "Go: runtime, buckets of profiles", false},
    [MS_ROW_GO_RUNTIME] = {"go_runtime", "Go: runtime, other", false},
    [MS_ROW_STACKS] = {"stacks", "stacks and static TLS", false},
    [MS_ROW_DATA] = {"data", "modules: data", false},
    [MS_ROW_TEXT] = {"text", "modules: code and constants", false},
    [MS_ROW_FILES] = {"files", "other file maps", false},
    [MS_ROW_SHARED] = {"shared", "shared memory", false},
    [MS_ROW_ANON] = {"anonymous", "other anonymous memory", false},
    [MS_ROW_OTHER] = {"other", "vdso and devices", false},
};

const char *const ms_verdict_names[MS_VERDICTS] = {
    [MS_VERDICT_LEAK] = "leak",
    [MS_VERDICT_RETAINED] = "retained by live data",
    [MS_VERDICT_FRAGMENTATION] = "fragmentation",
    [MS_VERDICT_CACHING] = "allocator caching",
    [MS_VERDICT_GARBAGE] = "garbage waiting for the collector",
    [MS_VERDICT_IDLE] = "free spans not yet returned to the system",
    [MS_VERDICT_STACKS] = "stacks of goroutines",
    [MS_VERDICT_NOT_HEAP] = "not heap",
};

/* --- resident bytes ---------------------------------------------------------------------------- */

static void seek(struct ms_cursor *c, uint64_t address)
{
    if (c->region && address < c->region->end && address >= c->region->start)
        return;
    c->region = ms_image_region(c->image, address);
    c->run = 0;
}

uint64_t ms_resident(struct ms_cursor *c, enum ms_row row, uint64_t start, uint64_t end)
{
    uint64_t sum = 0;
    while (start < end) {
        seek(c, start);
        const struct ms_region *r = c->region;
        if (!r)
            break;
        uint64_t until = end < r->end ? end : r->end, here = 0;
        while (c->run < r->run_count && r->runs[c->run].end <= start)
            c->run++;
        for (size_t i = c->run; i < r->run_count && r->runs[i].start < until; i++) {
            uint64_t from = r->runs[i].start > start ? r->runs[i].start : start;
            uint64_t to = r->runs[i].end < until ? r->runs[i].end : until;
            if (!r->runs[i].swapped && to > from)
                here += to - from;
        }
        c->used[(size_t)(r - c->image->regions) * MS_ROWS + row] += here;
        sum += here;
        start = until;
    }
    return sum;
}

/* --- the heap ---------------------------------------------------------------------------------- */

static enum ms_row row_of_class(enum ms_class class)
{
    static const enum ms_row rows[MS_CLASSES] = {
        [MS_CLASS_LIVE] = MS_ROW_LIVE,       [MS_CLASS_FREE] = MS_ROW_FREE_PINNED,
        [MS_CLASS_TCACHE] = MS_ROW_TCACHE,   [MS_CLASS_FASTBIN] = MS_ROW_FASTBIN,
        [MS_CLASS_TOP] = MS_ROW_TOP,         [MS_CLASS_OVERHEAD] = MS_ROW_OVERHEAD,
        [MS_CLASS_UNKNOWN] = MS_ROW_UNKNOWN, [MS_CLASS_GARBAGE] = MS_ROW_FREE_PINNED,
        [MS_CLASS_RUNTIME] = MS_ROW_OVERHEAD,
    };
    return rows[class];
}

static enum ms_row row_of_live(const struct ms_heap *heap, uint64_t start)
{
    const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
    if (ms_bit(line->reached, start))
        return MS_ROW_LIVE;
    return ms_bit(line->maybe, start) ? MS_ROW_POSSIBLE : MS_ROW_LOST;
}

/* Whole pages of a free chunk behind its header: what malloc_trim(0) gives back (mtrim, malloc.c). */
static void trim_range(uint64_t *start, uint64_t *end)
{
    const uint64_t header = 48; /* sizeof(struct malloc_chunk) */
    *start = (*start + header + MS_PAGE - 1) & ~(uint64_t)(MS_PAGE - 1);
    *end &= ~(uint64_t)(MS_PAGE - 1);
    if (*end < *start)
        *end = *start;
}

static void account_free(struct ms_cursor *c, struct ms_memstats *stats, struct ms_arena *arena, uint64_t start,
                         uint64_t end)
{
    uint64_t first = start, last = end;
    trim_range(&first, &last);
    if (first >= end)
        first = last = end;
    uint64_t pinned = ms_resident(c, MS_ROW_FREE_PINNED, start, first);
    uint64_t whole = ms_resident(c, MS_ROW_FREE_TRIM, first, last);
    pinned += ms_resident(c, MS_ROW_FREE_PINNED, last, end);
    stats->rows[MS_ROW_FREE_PINNED] += pinned;
    stats->rows[MS_ROW_FREE_TRIM] += whole;
    arena->resident[MS_CLASS_FREE] += pinned + whole;
    arena->trimmable += whole;
}

static void account_segment(struct ms_heap *heap, struct ms_cursor *c, const struct ms_segment *s,
                            struct ms_memstats *stats)
{
    struct ms_arena *arena = &heap->arenas.items[s->arena];
    uint64_t end = ms_segment_end(heap, s), chunk = s->start;
    for (uint64_t at = s->first, next; at < end; at = next) {
        next = ms_next_start(heap, at);
        uint64_t until = next == end ? s->end : ms_granule_address(heap, next) - ms_header_bytes(heap);
        if (until <= chunk)
            continue;
        enum ms_class class = ms_chunk_class(heap, at);
        if (class == MS_CLASS_FREE) {
            account_free(c, stats, arena, chunk, until);
        } else {
            enum ms_row row = class == MS_CLASS_LIVE ? row_of_live(heap, at) : row_of_class(class);
            uint64_t bytes = ms_resident(c, row, chunk, until);
            stats->rows[row] += bytes;
            arena->resident[class] += bytes;
        }
        chunk = until;
    }
}

static void account_heap(struct ms_scan *scan, struct ms_cursor *c, struct ms_memstats *stats)
{
    struct ms_heap *heap = &scan->heap;
    for (size_t i = 0; i < heap->arenas.count; i++) {
        memset(heap->arenas.items[i].resident, 0, sizeof heap->arenas.items[i].resident);
        heap->arenas.items[i].trimmable = 0;
    }
    for (size_t i = 0; i < heap->segments.count; i++)
        account_segment(heap, c, &heap->segments.items[i], stats);
    for (size_t i = 0; i < heap->holes.count; i++) { /* heads of heaps; main_arena is a module's data */
        const struct ms_region *r = ms_image_region(c->image, heap->holes.items[i].start);
        c->region = NULL; /* these lie before the segments */
        if (r && r->kind == MS_REGION_ANON)
            stats->rows[MS_ROW_OVERHEAD] += ms_resident(c, MS_ROW_OVERHEAD, heap->holes.items[i].start, heap->holes.items[i].end);
    }
}

/* --- the rest ---------------------------------------------------------------------------------- */

/*
 * The page of zeros, where memory was only read, is present but not in Rss: EXCESS bytes of what a region's rows
 * USED. In live blocks, mostly; else in whatever the region has most of.
 */
static void take_zeros(uint64_t used[MS_ROWS], uint64_t excess, struct ms_memstats *stats)
{
    for (unsigned round = 0; round < MS_ROWS && excess; round++) {
        unsigned most = MS_ROW_LIVE;
        for (unsigned row = 0; row < MS_ROWS && !used[MS_ROW_LIVE]; row++)
            most = used[row] > used[most] ? row : most;
        uint64_t zeros = excess < used[most] ? excess : used[most];
        stats->rows[most] -= zeros;
        used[most] = 0;
        excess -= zeros;
    }
}

static void account_regions(const struct ms_scan *scan, struct ms_image *image, uint64_t *used,
                            const struct ms_go_heap *go, struct ms_memstats *stats)
{
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        uint64_t rss = ms_region_rss(image, r), sum = 0;
        for (unsigned row = 0; row < MS_ROWS; row++)
            sum += used[i * MS_ROWS + row];
        if (rss < sum) {
            take_zeros(&used[i * MS_ROWS], sum - rss, stats);
            continue;
        }
        enum ms_row row = ms_region_row(scan, image, r);
        stats->rows[go ? ms_go_region_row(go, r, row) : row] += rss - sum;
    }
}

/* --- the verdict ------------------------------------------------------------------------------- */

/* Share of a whole in per cent. */
static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void judge(struct ms_memstats *s)
{
    const uint64_t *row = s->rows;
    uint64_t heap = 0;
    for (unsigned i = 0; i <= MS_ROW_UNKNOWN; i++) /* Go's have their own verdicts */
        heap += row[i];
    uint64_t cached = row[MS_ROW_FREE_TRIM] + row[MS_ROW_TOP] + row[MS_ROW_TCACHE] + row[MS_ROW_FASTBIN];
    uint64_t pinned = row[MS_ROW_FREE_PINNED], live = row[MS_ROW_LIVE] + row[MS_ROW_POSSIBLE];
    uint64_t lost = row[MS_ROW_LOST];
    char size[16], trim[16];
    if (lost > heap / 20) {
        s->verdict = MS_VERDICT_LEAK;
        snprintf(s->reason, sizeof s->reason, "%s, %.0f%% of the heap, is lost: no pointer leads there."
                 " `memscope leaks` lists it", ms_size_text(lost, size), percent(lost, heap));
    } else if (heap < s->total / 2) {
        s->verdict = MS_VERDICT_NOT_HEAP;
        snprintf(s->reason, sizeof s->reason, "the malloc heap is %s, only %.0f%% of resident memory;"
                 " look at the other rows", ms_size_text(heap, size), percent(heap, s->total));
    } else if (pinned > heap * 3 / 10 && pinned >= cached) {
        s->verdict = MS_VERDICT_FRAGMENTATION;
        snprintf(s->reason, sizeof s->reason, "%s, %.0f%% of the heap, is free but shares its pages with"
                 " live blocks, so it cannot be given back", ms_size_text(pinned, size), percent(pinned, heap));
    } else if (cached > heap * 3 / 10) {
        s->verdict = MS_VERDICT_CACHING;
        snprintf(s->reason, sizeof s->reason, "%s, %.0f%% of the heap, is free and kept by the allocator;"
                 " malloc_trim would give back %s of it", ms_size_text(cached, size), percent(cached, heap),
                 ms_size_text(row[MS_ROW_FREE_TRIM] + row[MS_ROW_TOP], trim));
    } else {
        s->verdict = MS_VERDICT_RETAINED;
        snprintf(s->reason, sizeof s->reason, "%s, %.0f%% of the heap, is live: the program still holds"
                 " pointers to it", ms_size_text(live, size), percent(live, heap));
    }
}

ms_result ms_memstats(struct ms_scan *scan, struct ms_image *image, const struct ms_reach *reach,
                      const struct ms_go_heap *go, const struct ms_go_stats *go_stats, struct ms_memstats *stats)
{
    (void)reach; /* its marks are in the index; asking for it makes sure that they are there */
    *stats = (struct ms_memstats){.go = go_stats};
    ms_auto_free uint64_t *used = calloc((image->region_count + 1) * MS_ROWS, sizeof *used);
    if (!used)
        return ms_error_nomem("the account");
    struct ms_cursor cursor = {.image = image, .used = used};
    account_heap(scan, &cursor, stats);
    if (go)
        MS_TRY(ms_account_go(go, &cursor, stats));
    account_regions(scan, image, used, go, stats);
    for (unsigned i = 0; i < MS_ROWS; i++)
        stats->total += stats->rows[i];
    stats->rss = image->accounted ? image->rollup_rss : stats->total;
    stats->complete = !image->incomplete;
    if (!go || !ms_judge_go(go, stats))
        judge(stats);
    return NULL;
}

double ms_arena_fragmentation(const struct ms_arena *arena)
{
    uint64_t resident = 0;
    for (unsigned class = 0; class < MS_CLASSES; class++)
        resident += arena->resident[class];
    return percent(arena->resident[MS_CLASS_FREE] - arena->trimmable, resident) / 100;
}
