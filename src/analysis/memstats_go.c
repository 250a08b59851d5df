/* The account of a Go program: objects, free memory of the heap, stacks, and what the runtime keeps. */
#include <stdio.h>

#include "account.h"
#include "memscope/units.h"

/* --- the heap ---------------------------------------------------------------------------------- */

static enum ms_row row_of_object(const struct ms_heap *heap, uint64_t start)
{
    const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
    return ms_bit(line->reached, start) || ms_bit(line->maybe, start) ? MS_ROW_GO_LIVE : MS_ROW_GO_GARBAGE;
}

/* Whatever begins at granule START; FOLLOWS is what the header of an object belongs to. */
static enum ms_row row_of(const struct ms_go_heap *go, uint64_t start, uint64_t next)
{
    const struct ms_heap *heap = &go->scan->heap;
    switch (ms_chunk_class(heap, start)) {
    case MS_CLASS_LIVE:
        return row_of_object(heap, start);
    case MS_CLASS_OVERHEAD: /* a header lies before its object; else it is the end of a span */
        return next == start + 1 && ms_chunk_class(heap, next) == MS_CLASS_LIVE ? row_of_object(heap, next)
                                                                                : MS_ROW_GO_SLOTS;
    case MS_CLASS_GARBAGE:
        return MS_ROW_GO_UNSWEPT;
    case MS_CLASS_FREE:
        return ms_go_heap_span(go, ms_granule_address(heap, start)) ? MS_ROW_GO_SLOTS : MS_ROW_GO_IDLE;
    case MS_CLASS_UNKNOWN:
        return MS_ROW_UNKNOWN;
    default:
        return MS_ROWS; /* spans of stacks and buffers are counted on their own */
    }
}

static void account_segment(const struct ms_go_heap *go, const struct ms_segment *s, struct ms_cursor *cursor,
                            struct ms_memstats *stats)
{
    const struct ms_heap *heap = &go->scan->heap;
    uint64_t end = ms_segment_end(heap, s), from = s->start;
    for (uint64_t at = s->first, next; at < end; at = next) {
        next = ms_next_start(heap, at);
        uint64_t until = next >= end ? s->end : ms_granule_address(heap, next);
        enum ms_row row = row_of(go, at, next);
        if (row != MS_ROWS && until > from)
            stats->rows[row] += ms_resident(cursor, row, from, until);
        from = until;
    }
}

static enum ms_row row_of_use(enum ms_go_memory_use use)
{
    static const enum ms_row rows[] = {
        [MS_GO_MEMORY_STACKS] = MS_ROW_GO_STACKS,   [MS_GO_MEMORY_FREE_STACKS] = MS_ROW_GO_FREE_STACKS,
        [MS_GO_MEMORY_WORK] = MS_ROW_GO_WORK,       [MS_GO_MEMORY_SPANS] = MS_ROW_GO_SPANS,
        [MS_GO_MEMORY_CACHES] = MS_ROW_GO_CACHES,   [MS_GO_MEMORY_BITMAPS] = MS_ROW_GO_BITMAPS,
        [MS_GO_MEMORY_PAGES] = MS_ROW_GO_PAGES,     [MS_GO_MEMORY_PROFILES] = MS_ROW_GO_PROFILES,
        [MS_GO_MEMORY_RUNTIME] = MS_ROW_GO_RUNTIME,
    };
    return rows[use];
}

/* In modules' data and in the stacks of the system nothing is the runtime's own map. */
static bool is_own(const struct ms_image *image, uint64_t address)
{
    const struct ms_region *region = ms_image_region(image, address);
    return region && region->kind == MS_REGION_ANON;
}

ms_result ms_account_go(const struct ms_go_heap *go, struct ms_cursor *cursor, struct ms_memstats *stats)
{
    const struct ms_heap *heap = &go->scan->heap;
    struct ms_go_memory memory;
    MS_TRY(ms_go_memory_read((struct ms_go *)go->go, go, &memory));
    cursor->region = NULL;
    for (size_t i = 0; i < heap->segments.count; i++)
        account_segment(go, &heap->segments.items[i], cursor, stats);
    cursor->region = NULL;
    for (size_t i = 0; i < memory.count; i++) {
        const struct ms_go_memory_piece *piece = &memory.items[i];
        /* A stack that a thread has of C lies in no span: its region is counted with others. */
        if (is_own(cursor->image, piece->start) &&
            (piece->use != MS_GO_MEMORY_STACKS || ms_go_heap_span(go, piece->start)))
            stats->rows[row_of_use(piece->use)] +=
                ms_resident(cursor, row_of_use(piece->use), piece->start, piece->end);
    }
    ms_go_memory_free(&memory);
    return NULL;
}

static bool has_c(const struct ms_go_heap *go)
{
    uint64_t address = ms_go_global(go->go, "runtime.iscgo");
    uint8_t cgo = 1;
    return !address || !ms_image_read(go->go->image, address, &cgo, 1) || cgo;
}

enum ms_row ms_go_region_row(const struct ms_go_heap *go, const struct ms_region *region, enum ms_row row)
{
    if (region->kind != MS_REGION_ANON || row == MS_ROW_DATA)
        return row;
    const struct ms_heap *heap = &go->scan->heap;
    for (size_t i = 0; i < heap->segments.count; i++)
        if (heap->segments.items[i].start < region->end && heap->segments.items[i].end > region->start)
            return MS_ROW_GO_IDLE; /* behind the last span */
    return has_c(go) ? row : MS_ROW_GO_RUNTIME;
}

/* --- the verdict ------------------------------------------------------------------------------- */

/* When the next collection comes, as far as it is known before. */
static void next_collection(const struct ms_memstats *stats, char text[128])
{
    const struct ms_go_pacing *pacing = stats->go ? &stats->go->pacing : NULL;
    char trigger[16];
    text[0] = '\0';
    if (!pacing)
        return;
    bool limited = pacing->memory_limit.known && pacing->memory_limit.value < INT64_MAX;
    if (pacing->phase != MS_GO_PHASE_OFF)
        snprintf(text, 128, "; a collection is running");
    else if (pacing->gc_percent < 0 && !limited)
        snprintf(text, 128, "; GOGC=off: only runtime.GC() collects it");
    else
        snprintf(text, 128, "; the next collection comes when %s are in use (GOGC=%s%.0lld%s)",
                 ms_size_text(pacing->trigger.value, trigger), pacing->gc_percent < 0 ? "off" : "",
                 pacing->gc_percent < 0 ? 0LL : (long long)pacing->gc_percent, limited ? ", GOMEMLIMIT" : "");
}

bool ms_judge_go(const struct ms_go_heap *go, struct ms_memstats *s)
{
    const uint64_t *row = s->rows;
    const uint64_t garbage = row[MS_ROW_GO_GARBAGE] + row[MS_ROW_GO_UNSWEPT];
    const uint64_t stacks = row[MS_ROW_GO_STACKS] + row[MS_ROW_GO_FREE_STACKS];
    uint64_t malloced = 0, go_all = row[MS_ROW_GO_LIVE] + garbage + row[MS_ROW_GO_IDLE] + row[MS_ROW_GO_SLOTS];
    for (unsigned i = MS_ROW_LIVE; i <= MS_ROW_UNKNOWN; i++)
        malloced += row[i];
    uint64_t other = s->total - go_all - stacks - malloced;
    const struct {
        enum ms_verdict verdict;
        uint64_t bytes;
        const char *text;
    } causes[] = {
        {MS_VERDICT_RETAINED, row[MS_ROW_GO_LIVE], "live objects of Go: the program still holds pointers to them"},
        {MS_VERDICT_GARBAGE, garbage, "unreachable objects of Go"},
        {MS_VERDICT_IDLE, row[MS_ROW_GO_IDLE],
         "free spans of Go's heap, which are returned little by little, or at once by "
         "debug.FreeOSMemory()"},
        {MS_VERDICT_FRAGMENTATION, row[MS_ROW_GO_SLOTS],
         "free slots of Go's heap, in spans that live objects hold"},
        {MS_VERDICT_STACKS, stacks, "stacks"},
        {MS_VERDICT_NOT_HEAP, other, "not in the heap of Go: look at the rows"},
        {MS_VERDICTS, malloced, NULL},
    };
    size_t most = 0;
    for (size_t i = 1; i < sizeof causes / sizeof *causes; i++)
        if (causes[i].bytes > causes[most].bytes)
            most = i;
    if (causes[most].verdict == MS_VERDICTS)
        return false;
    char size[16], next[128] = "";
    s->verdict = causes[most].verdict;
    if (s->verdict == MS_VERDICT_GARBAGE)
        next_collection(s, next);
    if (s->verdict == MS_VERDICT_STACKS)
        snprintf(next, sizeof next, " of %zu goroutines", go->goroutines ? go->goroutines->list.count : 0);
    snprintf(s->reason, sizeof s->reason, "%s, %.0f%% of resident memory, is %s%s",
             ms_size_text(causes[most].bytes, size),
             s->total ? 100.0 * (double)causes[most].bytes / (double)s->total : 0, causes[most].text, next);
    return true;
}
