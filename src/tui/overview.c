/* The overview: the verdicts, where resident memory goes, what grew, and how good the image is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/growth.h"
#include "what.h"
#include "words.h"

/* Types that grew most, at most so many. */
#define GROWN 10u
/* More lines of a warning are not shown. */
#define WARNING_LINES 16u

enum { WHAT, SIZE, SHARE, GREW, BAR };
static const struct tui_column columns[] = {
    [WHAT] = {.title = "resident memory", .least = 37},
    [SIZE] = {.title = "size", .width = 10, .right = true},
    [SHARE] = {.title = "share", .width = 6, .right = true, .weight = 2},
    [GREW] = {.title = "grew", .width = 11, .right = true, .delta = true, .weight = 3},
    [BAR] = {.title = "", .width = 20, .weight = 1},
};

/* What tui_row.item says: an index, and of what. */
#define ITEM_BITS 32u
enum item { ROW, TOTAL, RSS, GROUP, HEADING, ABOUT, COLLECTOR, WARNING }; /* from HEADING on only words */
enum heading { HEAD_GROWN, HEAD_NOTHING, HEAD_GROWING, HEAD_COLLECTOR, HEAD_IMAGE };
enum about { ABOUT_PAUSE, ABOUT_WHOLE, ABOUTS };
enum collector { COLLECTOR_HEAP, COLLECTOR_CYCLES, COLLECTOR_SETTINGS, COLLECTOR_LINES };

struct state {
    struct ms_memstats_growth account;
    struct ms_growth heap, leaks;
    bool has_account, has_heap, has_leaks;
};

static enum item kind_of(const struct tui_row *row)
{
    return (enum item)(row->item >> ITEM_BITS);
}

static uint32_t index_of(const struct tui_row *row)
{
    return (uint32_t)row->item;
}

static void release(void *of)
{
    struct state *state = of;
    ms_growth_free(&state->heap);
    ms_growth_free(&state->leaks);
}

/* --- rows -------------------------------------------------------------------------------------- */

static ms_result add(struct tui_view *view, enum item kind, uint32_t index)
{
    const uint64_t item = (uint64_t)kind << ITEM_BITS | index;
    return tui_add_row(&view->rows, (struct tui_row){.key = item + 1, .item = item, .heading = kind == HEADING,
                                                     .wide = kind >= HEADING});
}

/* What there is to compare by now; each once. */
static ms_result compare(struct tui_view *view)
{
    struct state *state = view->state;
    const struct ms_facts *before = view->before, *now = &view->facts;
    if (!before)
        return NULL;
    if (!state->has_account && before->memstats && now->memstats) {
        ms_account_growth(before->memstats, now->memstats, &state->account);
        state->has_account = true;
    }
    if (!state->has_leaks && before->leaks && now->leaks) {
        MS_TRY(ms_leak_growth(before->leaks, now->leaks, &state->leaks));
        state->has_leaks = true;
    }
    if (!state->has_heap && before->heap && now->heap) {
        MS_TRY(ms_heap_growth(before->heap, now->heap, &state->heap));
        state->has_heap = true;
    }
    return NULL;
}

static ms_result add_grown(struct tui_view *view)
{
    const struct state *state = view->state;
    const size_t count = state->heap.groups.count;
    if (!state->has_heap)
        return add(view, HEADING, HEAD_GROWING);
    if (!count || state->heap.groups.items[0].change.bytes <= 0)
        return add(view, HEADING, HEAD_NOTHING);
    MS_TRY(add(view, HEADING, HEAD_GROWN));
    for (uint32_t i = 0; i < count && i < GROWN && state->heap.groups.items[i].change.bytes > 0; i++)
        MS_TRY(add(view, GROUP, i));
    return NULL;
}

/* As many rows as it has lines in a terminal of this width. */
static ms_result add_warning(struct tui_view *view, uint32_t index)
{
    const char *text = view->facts.image->warnings.items[index];
    struct tui_cell cell = {.bar = -1};
    uint32_t line = 0;
    do {
        MS_TRY(add(view, WARNING, index * WARNING_LINES + line));
        line++;
    } while (line < WARNING_LINES && tui_put_wrapped(&cell, text, view->width, line));
    return NULL;
}

static struct ms_error *fill(struct tui_view *view)
{
    const struct ms_facts *facts = &view->facts;
    if (!facts->image)
        return NULL;
    MS_TRY(compare(view));
    for (uint32_t row = 0; facts->memstats && row < MS_ROWS; row++)
        if (facts->memstats->rows[row])
            MS_TRY(add(view, ROW, row));
    if (facts->memstats) {
        MS_TRY(add(view, TOTAL, 0));
        if (facts->image->accounted)
            MS_TRY(add(view, RSS, 0));
    }
    if (view->before)
        MS_TRY(add_grown(view));
    if (facts->memstats && facts->memstats->go) {
        MS_TRY(add(view, HEADING, HEAD_COLLECTOR));
        for (uint32_t i = 0; i < COLLECTOR_LINES; i++)
            MS_TRY(add(view, COLLECTOR, i));
    }
    MS_TRY(add(view, HEADING, HEAD_IMAGE));
    for (uint32_t i = facts->image->pause_ns ? ABOUT_PAUSE : ABOUT_WHOLE; i < ABOUTS; i++)
        MS_TRY(add(view, ABOUT, i));
    for (uint32_t i = 0; i < facts->image->warnings.count; i++)
        MS_TRY(add_warning(view, i));
    return NULL;
}

/* --- cells ------------------------------------------------------------------------------------- */

static void put_heading(enum heading heading, struct tui_cell *cell)
{
    static const char *const titles[] = {
        [HEAD_GROWN] = "what grew most since the snapshot before",
        [HEAD_NOTHING] = "nothing grew since the snapshot before",
        [HEAD_GROWING] = "what grew: when the blocks of both snapshots are known",
        [HEAD_COLLECTOR] = "Go's collector",
        [HEAD_IMAGE] = "this snapshot",
    };
    tui_put(cell, "%s", titles[heading]);
    cell->style = TUI_HEAD;
}

static void put_pause(const struct ms_image *image, struct tui_cell *cell)
{
    tui_put(cell, "stopped ");
    if (image->attempts > 1)
        tui_put(cell, "%u times, ", image->attempts);
    tui_put(cell, image->attempts > 1 ? "for at most " : "for ");
    tui_put_duration(cell, image->pause_ns);
    if (image->bytes_read) {
        tui_put(cell, ", ");
        tui_put_size(cell, image->bytes_read);
        tui_put(cell, " read");
    }
}

static void put_about(const struct tui_view *view, enum about about, struct tui_cell *cell)
{
    const struct ms_image *image = view->facts.image;
    const bool incomplete = image->incomplete || !view->facts.scan->heap.allocator;
    if (about == ABOUT_PAUSE) {
        put_pause(image, cell);
        return;
    }
    tui_put(cell, incomplete ? "INCOMPLETE: something could not be read"
                  : image->warnings.count ? "complete, but not certain" : "complete");
    cell->style = incomplete ? TUI_BAD : image->warnings.count ? TUI_DOUBT : TUI_GOOD;
}

/* Goals without a bound are a little below what the limit could be at most. */
#define UNBOUNDED ((uint64_t)1 << 62)

static void put_cycles(const struct ms_go_stats *stats, struct tui_cell *cell)
{
    const uint64_t *values = stats->memstats.values;
    tui_put_count(cell, values[MS_GO_STAT_NUM_GC]);
    tui_put(cell, " collection%s", values[MS_GO_STAT_NUM_GC] == 1 ? "" : "s");
    if (values[MS_GO_STAT_NUM_GC]) {
        tui_put(cell, " that stopped it for ");
        tui_put_duration(cell, values[MS_GO_STAT_PAUSE_TOTAL]);
    }
    if (stats->pacing.phase != MS_GO_PHASE_OFF)
        tui_put(cell, "; one is running: %s", ms_go_phase_names[stats->pacing.phase]);
}

/* By the names that runtime.MemStats and the environment have for it. */
static void put_collector(const struct ms_go_stats *stats, enum collector line, struct tui_cell *cell)
{
    const struct ms_go_pacing *pacing = &stats->pacing;
    switch (line) {
    case COLLECTOR_HEAP:
        tui_put(cell, "HeapAlloc ");
        tui_put_size(cell, stats->memstats.values[MS_GO_STAT_HEAP_ALLOC]);
        if (stats->memstats.values[MS_GO_STAT_NEXT_GC] < UNBOUNDED) {
            tui_put(cell, ", the next collection at ");
            tui_put_size(cell, stats->memstats.values[MS_GO_STAT_NEXT_GC]);
        }
        break;
    case COLLECTOR_CYCLES:
        put_cycles(stats, cell);
        break;
    case COLLECTOR_SETTINGS:
        tui_put(cell, pacing->gc_percent < 0 ? "GOGC=off" : "GOGC=%" PRId64, pacing->gc_percent);
        if (pacing->memory_limit.known) {
            tui_put(cell, ", GOMEMLIMIT=");
            if (pacing->memory_limit.value < UNBOUNDED)
                tui_put_size(cell, pacing->memory_limit.value);
            else
                tui_put(cell, "off");
        }
        tui_put(cell, ", GOMAXPROCS=%" PRIu64, pacing->processors);
        break;
    case COLLECTOR_LINES:
        break;
    }
}

static const struct ms_heap_group *group_of(const struct tui_view *view, const struct tui_row *row)
{
    const struct state *state = view->state;
    return &view->facts.heap->groups.items[state->heap.groups.items[index_of(row)].now];
}

static void put_what(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    switch (kind_of(row)) {
    case ROW:
        tui_put(cell, "%s", ms_rows[index_of(row)].title);
        if (view->facts.memstats->rows[MS_ROW_LOST] && index_of(row) == MS_ROW_LOST)
            cell->style = TUI_BAD;
        break;
    case TOTAL:
        tui_put(cell, "total");
        cell->style = TUI_HEAD;
        break;
    case RSS:
        tui_put(cell, "Rss, as the kernel counts it");
        break;
    case GROUP:
        tui_put_group(cell, group_of(view, row));
        tui_put(cell, ", ");
        tui_put_count(cell, group_of(view, row)->blocks);
        tui_put(cell, " block%s", group_of(view, row)->blocks == 1 ? "" : "s");
        break;
    case HEADING:
        put_heading((enum heading)index_of(row), cell);
        break;
    case ABOUT:
        put_about(view, (enum about)index_of(row), cell);
        break;
    case COLLECTOR:
        put_collector(view->facts.memstats->go, (enum collector)index_of(row), cell);
        break;
    case WARNING:
        tui_put_wrapped(cell, view->facts.image->warnings.items[index_of(row) / WARNING_LINES], view->width,
                        index_of(row) % WARNING_LINES);
        cell->style = TUI_DOUBT;
        break;
    }
}

/* The bytes of a row, and what they grew by; false: it has none. */
static bool figures(const struct tui_view *view, const struct tui_row *row, uint64_t *bytes, int64_t *grew)
{
    const struct state *state = view->state;
    const struct ms_memstats *stats = view->facts.memstats;
    switch (kind_of(row)) {
    case ROW:
        *bytes = stats->rows[index_of(row)];
        *grew = state->account.rows[index_of(row)];
        return true;
    case TOTAL:
        *bytes = stats->total;
        *grew = state->account.total;
        return true;
    case RSS:
        *bytes = stats->rss;
        *grew = state->account.rss;
        return true;
    case GROUP:
        *bytes = group_of(view, row)->bytes;
        *grew = state->heap.groups.items[index_of(row)].change.bytes;
        return true;
    default:
        return false;
    }
}

static void put_bar(const struct tui_view *view, enum ms_row row, uint64_t bytes, struct tui_cell *cell)
{
    const uint64_t total = view->facts.memstats->total;
    cell->bar = total ? (double)bytes / (double)total : 0;
    const bool live = row == MS_ROW_LIVE || row == MS_ROW_POSSIBLE || row == MS_ROW_GO_LIVE;
    cell->style = !ms_rows[row].heap ? TUI_PLAIN : row == MS_ROW_LOST ? TUI_LEAKED : live ? TUI_LIVE : TUI_FREE;
}

static void cell_of(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    uint64_t bytes = 0;
    int64_t grew = 0;
    if (column == WHAT) {
        put_what(view, row, cell);
        return;
    }
    if (!figures(view, row, &bytes, &grew))
        return;
    if (column == SIZE)
        tui_put_size(cell, bytes);
    else if (column == GREW)
        tui_put_delta(cell, grew, true);
    else if (column == SHARE && kind_of(row) == ROW)
        tui_put_share(cell, bytes, view->facts.memstats->total);
    else if (column == BAR && kind_of(row) == ROW)
        put_bar(view, (enum ms_row)index_of(row), bytes, cell);
}

/* --- the verdicts ------------------------------------------------------------------------------ */

static void put_leaks(const struct tui_view *view, struct tui_cell *cell)
{
    const struct ms_stage_status status = ms_inspection_status(view->inspection, MS_STAGE_LEAKS);
    if (view->facts.leaks) {
        tui_put_leak_verdict(cell, &view->facts);
    } else if (status.state == MS_STAGE_FAILED) {
        tui_put(cell, "leaks: ");
        tui_put_name(cell, status.error);
        cell->style = TUI_DOUBT;
    } else {
        tui_put(cell, "leaks: not known yet");
        cell->style = TUI_DIM;
    }
}

/* The account's verdict over two lines at most. */
static bool put_account(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    const struct ms_stage_status status = ms_inspection_status(view->inspection, MS_STAGE_MEMSTATS);
    const struct ms_memstats *stats = view->facts.memstats;
    char text[sizeof stats->reason + 64];
    if (!stats && line > 0)
        return false;
    if (!stats && status.state == MS_STAGE_FAILED) {
        tui_put(cell, "memory: ");
        tui_put_name(cell, status.error);
        cell->style = TUI_DOUBT;
        return true;
    }
    if (!stats) {
        tui_put(cell, "memory: not known yet");
        cell->style = TUI_DIM;
        return true;
    }
    if (view->facts.scan->heap.allocator)
        snprintf(text, sizeof text, "%s: %s", ms_verdict_names[stats->verdict], stats->reason);
    else
        snprintf(text, sizeof text, "the heap of %s is among other anonymous memory",
                 view->facts.scan->heap.description);
    cell->style = stats->verdict == MS_VERDICT_LEAK ? TUI_BAD : TUI_PLAIN;
    return tui_put_wrapped(cell, text, view->width, line);
}

static void put_change(struct tui_cell *cell, const char *what, int64_t bytes)
{
    tui_put(cell, "%s ", what);
    if (bytes)
        tui_put_delta(cell, bytes, true);
    else
        tui_put(cell, "the same");
}

static bool put_growth(const struct tui_view *view, struct tui_cell *cell)
{
    const struct state *state = view->state;
    if (!state->has_account)
        return false;
    put_change(cell, "since then: heap", state->account.heap);
    if (state->has_leaks)
        put_change(cell, ", lost", state->leaks.total.bytes);
    put_change(cell, ", Rss", state->account.rss);
    cell->style = state->has_leaks && state->leaks.total.bytes > 0 ? TUI_BAD : TUI_PLAIN;
    return true;
}

static bool headline(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    if (!view->facts.image)
        return false;
    if (line == 0) {
        put_leaks(view, cell);
        return true;
    }
    if (put_growth(view, cell)) {
        if (line == 1)
            return true;
        tui_clear(cell);
        line--;
    }
    return line <= (view->width < 60 ? 1u : 2u) && put_account(view, line - 1, cell);
}

/* --- where rows lead --------------------------------------------------------------------------- */

static char key_of_row(enum ms_row row)
{
    switch (row) {
    case MS_ROW_LIVE:
    case MS_ROW_GO_LIVE:
        return '3';
    case MS_ROW_POSSIBLE:
    case MS_ROW_LOST:
        return '2';
    case MS_ROW_STACKS:
        return '7';
    case MS_ROW_GO_STACKS:
        return '8';
    default:
        return ms_rows[row].heap ? '5' : '6';
    }
}

static bool enter(const struct tui_view *view, const struct tui_row *row, struct tui_place *to)
{
    (void)view;
    char key = 0;
    if (kind_of(row) == ROW)
        key = key_of_row((enum ms_row)index_of(row));
    else if (kind_of(row) == TOTAL || kind_of(row) == RSS)
        key = '6';
    else if (kind_of(row) == GROUP)
        key = '3';
    *to = (struct tui_place){key ? tui_kind_of(key) : NULL, 0};
    return to->kind != NULL;
}

const struct tui_view_kind tui_overview = {
    .name = "Overview", .key = '1', .empty = "nothing is known yet", .stage = MS_STAGE_COPY,
    .columns = columns, .column_count = sizeof columns / sizeof *columns, .sort = -1,
    .state_size = sizeof(struct state), .release = release, .fill = fill, .cell = cell_of, .headline = headline, .enter = enter,
};
