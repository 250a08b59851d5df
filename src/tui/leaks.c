/* The view of leaks: groups, open to their leaders, open to what these lost with them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "memscope/growth.h"
#include "words.h"

/* Rows below one, before one that opens to more. */
#define PAGE 500u

enum { WHAT, KIND, BLOCKS, EACH, BYTES, HOLDS, GREW, SHARE };
static const struct tui_column columns[] = {
    [WHAT] = {.title = "what is lost", .least = 17},
    [KIND] = {.title = "lost", .width = 8, .weight = 4},
    [BLOCKS] = {.title = "blocks", .width = 10, .right = true, .descending = true, .weight = 7},
    [EACH] = {.title = "bytes each", .width = 12, .right = true, .descending = true, .weight = 2},
    [BYTES] = {.title = "bytes", .width = 10, .right = true, .descending = true},
    [HOLDS] = {.title = "holds", .width = 10, .right = true, .descending = true, .weight = 6},
    [GREW] = {.title = "grew", .width = 11, .right = true, .descending = true, .delta = true, .weight = 8},
    [SHARE] = {.title = "share", .width = 8, .descending = true, .weight = 3},
};

/* What tui_row.item says: an index, and of what. */
#define ITEM_BITS 40u
enum item { GROUP, BLOCK, MORE };

/* A part of a list that is only made when it is opened. */
struct more {
    const uint32_t *blocks; /* indices in the report */
    uint64_t first, count;
    uint64_t key;
};

struct state {
    struct ms_growth growth; /* when there is a snapshot before */
    bool compared;
    MS_VECTOR(struct more) more;
};

static uint64_t item_of(enum item kind, uint64_t index)
{
    return (uint64_t)kind << ITEM_BITS | index;
}

static enum item kind_of(const struct tui_row *row)
{
    return (enum item)(row->item >> ITEM_BITS);
}

static uint64_t index_of(const struct tui_row *row)
{
    return row->item & ((1ull << ITEM_BITS) - 1);
}

static const struct ms_leak_group *group_of(const struct tui_view *view, const struct tui_row *row)
{
    return &view->facts.leaks->groups.items[index_of(row)];
}

static const struct ms_leak_block *block_of(const struct tui_view *view, const struct tui_row *row)
{
    return &view->facts.leaks->blocks.items[index_of(row)];
}

/* Of a block that leads others; NULL for those that do not. */
static const struct ms_leak_leader *leader_of(const struct tui_view *view, const struct ms_leak_block *block)
{
    const bool leads = block->kind == MS_DEFINITE && block->leader != MS_NO_INDEX;
    return leads ? &view->facts.leaks->leaders.items[block->leader] : NULL;
}

/* --- rows -------------------------------------------------------------------------------------- */

static void release(void *of)
{
    struct state *state = of;
    ms_growth_free(&state->growth);
    ms_vector_free(&state->more);
}

/* The same for the same leak in another snapshot. */
static uint64_t group_key(const struct ms_leak_group *g)
{
    char numbers[64];
    snprintf(numbers, sizeof numbers, "%u %" PRIu64 " %d %d %d", g->kind, g->size, g->ring,
             g->by == MS_BY_GUESS, g->indirect_blocks > 0);
    uint64_t key = tui_hash(0, numbers);
    key = tui_hash(tui_hash(key, g->type), g->module);
    for (size_t i = 0; i < MS_GROUP_HOLDS; i++)
        key = tui_hash(key, g->holds[i].type);
    return key;
}

static struct ms_error *fill(struct tui_view *view)
{
    struct state *state = view->state;
    const struct ms_leak_report *report = view->facts.leaks;
    if (!report)
        return NULL;
    state->more.count = 0;
    if (!state->compared && view->before && view->before->leaks) {
        MS_TRY(ms_leak_growth(view->before->leaks, report, &state->growth));
        state->compared = true;
    }
    for (size_t i = 0; i < report->groups.count; i++)
        MS_TRY(tui_add_row(&view->rows, (struct tui_row){.key = group_key(&report->groups.items[i]),
                                                         .item = item_of(GROUP, i), .opens = report->members}));
    return NULL;
}

/* A row that opens to what did not find room. */
static struct ms_error *add_more(struct tui_view *view, const struct more *more, unsigned depth,
                                 struct tui_rows *below)
{
    struct state *state = view->state;
    struct more *slot = ms_vector_add(&state->more);
    if (!slot)
        return ms_error_nomem("the view");
    *slot = *more;
    return tui_add_row(below, (struct tui_row){.key = tui_hash(more->key + more->first, "more"), .depth = depth,
                                               .item = item_of(MORE, state->more.count - 1), .opens = true});
}

static struct ms_error *add_blocks(struct tui_view *view, struct more list, unsigned depth, struct tui_rows *below)
{
    const uint64_t end = list.count - list.first > PAGE ? list.first + PAGE : list.count;
    for (uint64_t i = list.first; i < end; i++) {
        const uint32_t index = list.blocks[i];
        const struct ms_leak_block *block = &view->facts.leaks->blocks.items[index];
        const struct ms_leak_leader *leader = leader_of(view, block);
        MS_TRY(tui_add_row(below, (struct tui_row){.key = list.key ^ block->address * 0x9e3779b97f4a7c15u,
                                                   .item = item_of(BLOCK, index), .depth = depth,
                                                   .opens = leader && leader->count}));
    }
    if (end == list.count)
        return NULL;
    list.first = end;
    return add_more(view, &list, depth, below);
}

static struct ms_error *open_row(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    const struct ms_leak_report *report = view->facts.leaks;
    const struct state *state = view->state;
    struct more list = {.key = row->key};
    if (kind_of(row) == GROUP) {
        list.blocks = report->members + group_of(view, row)->first;
        list.count = group_of(view, row)->blocks;
    } else if (kind_of(row) == BLOCK) {
        const struct ms_leak_leader *leader = leader_of(view, block_of(view, row));
        if (!leader)
            return NULL;
        list.blocks = report->held + leader->first;
        list.count = leader->count;
    } else {
        list = state->more.items[index_of(row)];
    }
    return add_blocks(view, list, row->depth + 1, below);
}

/* --- cells ------------------------------------------------------------------------------------- */

static void put_group(const struct ms_leak_group *g, struct tui_cell *cell)
{
    const char *gap = "";
    if (g->type) {
        tui_put_type(cell, g->type, g->by);
        gap = " ";
    }
    if (g->module) {
        tui_put(cell, "%s(", gap);
        tui_put_name(cell, g->module);
        tui_put(cell, ")");
        gap = " ";
    }
    if (g->ring) {
        tui_put(cell, "%s%s", gap, g->indirect_blocks ? "ring of blocks" : "points to itself");
        gap = " ";
    }
    if (g->preview_size) {
        tui_put(cell, "%s", gap);
        tui_put_preview(cell, g->preview, g->preview_size);
    } else if (!*gap) {
        tui_put_count(cell, g->size);
        tui_put(cell, " bytes each");
    }
    for (size_t i = 0; i < MS_GROUP_HOLDS && g->holds[i].type; i++) {
        tui_put(cell, i ? ", " : " holding ");
        tui_put_type(cell, g->holds[i].type, g->holds[i].guess ? MS_BY_GUESS : MS_BY_NOTHING);
    }
    if (g->holds_more)
        tui_put(cell, ", ...");
}

static void put_block(const struct tui_view *view, const struct ms_leak_block *block, unsigned depth,
                      struct tui_cell *cell)
{
    const struct ms_heap *heap = &view->facts.malloc_scan->heap;
    const struct ms_segment *segment = ms_heap_segment(heap, block->address);
    const struct ms_leak_leader *leader = leader_of(view, block);
    uint8_t bytes[MS_SAMPLE];
    tui_put(cell, "0x%" PRIx64, block->address);
    if (block->type && (depth > 1 || block->kind == MS_INDIRECT)) {
        tui_put(cell, " ");
        tui_put_type(cell, block->type, block->by);
    }
    if (leader && leader->count) {
        tui_put(cell, " holds ");
        tui_put_count(cell, leader->count);
        tui_put(cell, " block%s", leader->count == 1 ? "" : "s");
    }
    const unsigned size = segment ? ms_block_preview(heap, ms_address_granule(heap, segment, block->address), bytes) : 0;
    if (size) {
        tui_put(cell, " ");
        tui_put_preview(cell, bytes, size);
    }
    cell->style = TUI_LINK;
}

static void put_what(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    const struct state *state = view->state;
    if (kind_of(row) == GROUP) {
        put_group(group_of(view, row), cell);
    } else if (kind_of(row) == BLOCK) {
        put_block(view, block_of(view, row), row->depth, cell);
    } else {
        const struct more *more = &state->more.items[index_of(row)];
        tui_put(cell, "... ");
        tui_put_count(cell, more->count - more->first);
        tui_put(cell, " more");
        cell->style = TUI_DIM;
    }
}

/* The figures of a row, as they are sorted by; false: it has none there. */
static bool number(const struct tui_view *view, const struct tui_row *row, unsigned column, double *value)
{
    const struct state *state = view->state;
    const struct ms_leak_group *g = kind_of(row) == GROUP ? group_of(view, row) : NULL;
    const struct ms_leak_block *b = kind_of(row) == BLOCK ? block_of(view, row) : NULL;
    const struct ms_leak_leader *leader = b ? leader_of(view, b) : NULL;
    const uint64_t own = g ? g->bytes : b ? b->size : 0;
    const uint64_t held = g ? g->indirect_bytes : leader ? leader->bytes : 0;
    if (!g && !b)
        return false;
    switch (column) {
    case BLOCKS:
        *value = g ? (double)g->blocks : 1;
        return g;
    case EACH:
        *value = g ? (double)g->size : 0;
        return g;
    case BYTES:
        *value = (double)own;
        return true;
    case HOLDS:
        *value = (double)held;
        return true;
    case GREW:
        *value = g && state->compared ? (double)state->growth.of[index_of(row)].bytes : 0;
        return g && state->compared;
    case SHARE: /* what is definitely lost comes first, and then what only seems to be */
        *value = (double)(own + held) +
                 (!g ? 0 : g->kind == MS_DEFINITE ? 0x1p62 : g->kind == MS_POSSIBLE ? 0x1p61 : 0);
        return true;
    default:
        return false;
    }
}

static void put_share(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    const struct ms_tally *kinds = view->facts.leaks->kinds;
    const uint64_t whole = kinds[MS_DEFINITE].bytes + kinds[MS_INDIRECT].bytes + kinds[MS_POSSIBLE].bytes;
    double own = 0, held = 0;
    if (whole && number(view, row, BYTES, &own) && number(view, row, HOLDS, &held))
        cell->bar = (own + held) / (double)whole;
    cell->style = TUI_LEAKED;
}

static void put_kind(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    if (kind_of(row) == MORE)
        return;
    const enum ms_leak_kind kind = kind_of(row) == GROUP ? group_of(view, row)->kind : block_of(view, row)->kind;
    static const struct {
        const char *name;
        enum tui_style style;
    } kinds[MS_LEAK_KINDS] = {
        [MS_DEFINITE] = {"definite", TUI_BAD}, [MS_INDIRECT] = {"indirect", TUI_PLAIN},
        [MS_POSSIBLE] = {"possible", TUI_DOUBT}, [MS_REACHABLE] = {"no", TUI_GOOD},
    };
    tui_put(cell, "%s", kinds[kind].name);
    cell->style = kinds[kind].style;
}

static void cell_of(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    double value;
    if (column == WHAT)
        put_what(view, row, cell);
    else if (column == KIND)
        put_kind(view, row, cell);
    else if (column == SHARE)
        put_share(view, row, cell);
    else if (!number(view, row, column, &value))
        return;
    else if (column == BLOCKS || column == EACH)
        tui_put_count(cell, (uint64_t)value);
    else if (column == GREW)
        tui_put_delta(cell, (int64_t)value, true);
    else if (column == BYTES || value > 0)
        tui_put_size(cell, (uint64_t)value);
}

/* --- the verdict ------------------------------------------------------------------------------- */

static void put_objects(struct tui_cell *cell, const struct ms_tally *tally)
{
    tui_put_size(cell, tally->bytes);
    tui_put(cell, " in ");
    tui_put_count(cell, tally->blocks);
    tui_put(cell, " object%s", tally->blocks == 1 ? "" : "s");
}

/* What the collector will take is no leak. */
static void put_go_verdict(struct tui_cell *cell, const struct ms_go_heap *go)
{
    tui_put_name(cell, go->scan->heap.description);
    tui_put(cell, ": nothing to leak: of ");
    put_objects(cell, &go->live);
    if (go->unreachable.blocks) {
        tui_put(cell, " the collector will take ");
        put_objects(cell, &go->unreachable);
        tui_put(cell, ", ");
        tui_put_count(cell, go->young.blocks);
        tui_put(cell, " of them allocated since the last collection");
    } else {
        tui_put(cell, " all are reachable");
    }
    cell->style = TUI_GOOD;
}

/* Does the target have blocks of malloc's? Most programs in Go have none. */
static bool has_malloc(const struct ms_facts *facts)
{
    return !facts->go || facts->malloc_scan->heap.allocator;
}

void tui_put_leak_verdict(struct tui_cell *cell, const struct ms_facts *facts)
{
    const struct ms_leak_report *report = facts->leaks;
    const struct ms_tally *kinds = report->kinds;
    if (!has_malloc(facts)) {
        put_go_verdict(cell, facts->go);
        return;
    }
    tui_put(cell, "%s", facts->go ? "malloc (cgo): " : "");
    if (kinds[MS_DEFINITE].blocks) {
        const struct ms_tally lost = ms_leaks_lost(report);
        tui_put(cell, "lost: ");
        tui_put_size(cell, lost.bytes);
        tui_put(cell, ", ");
        tui_put_share(cell, lost.bytes, report->live.bytes);
        tui_put(cell, " of the heap: ");
        tui_put_count(cell, kinds[MS_DEFINITE].blocks);
        tui_put(cell, " block%s", kinds[MS_DEFINITE].blocks == 1 ? "" : "s");
        if (kinds[MS_INDIRECT].blocks) {
            tui_put(cell, " and ");
            tui_put_count(cell, kinds[MS_INDIRECT].blocks);
            tui_put(cell, " held by them");
        }
        cell->style = TUI_BAD;
        return;
    }
    cell->style = kinds[MS_POSSIBLE].blocks || !report->complete ? TUI_DOUBT : TUI_GOOD;
    tui_put(cell, !report->complete ? "no leaks found in what could be read"
                  : kinds[MS_POSSIBLE].blocks ? "no definite leaks" : "no leaks");
    tui_put(cell, ": of ");
    tui_put_tally(cell, &report->live);
    tui_put(cell, " none is definitely lost");
}

static bool headline(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    const struct ms_leak_report *report = view->facts.leaks;
    const struct state *state = view->state;
    const unsigned possible = report && report->kinds[MS_POSSIBLE].blocks;
    if (!report)
        return false;
    if (line == 0) {
        tui_put_leak_verdict(cell, &view->facts);
        return true;
    }
    if (view->facts.go && has_malloc(&view->facts) && line-- == 1) {
        put_go_verdict(cell, view->facts.go);
        return true;
    }
    if (line == 1 && possible) {
        tui_put(cell, "possibly lost: ");
        tui_put_tally(cell, &report->kinds[MS_POSSIBLE]);
        tui_put(cell, ", only pointers into their middle are left");
        cell->style = TUI_DOUBT;
        return true;
    }
    if (line == 1 + possible && state->compared) {
        tui_put_delta(cell, state->growth.total.bytes, true);
        tui_put(cell, "%slost since the snapshot before", cell->length ? " " : "nothing more ");
        return true;
    }
    return false;
}

static bool enter(const struct tui_view *view, const struct tui_row *row, struct tui_place *to)
{
    if (kind_of(row) != BLOCK)
        return false;
    *to = (struct tui_place){&tui_block, block_of(view, row)->address};
    return true;
}

static uint64_t address(const struct tui_view *view, const struct tui_row *row)
{
    if (kind_of(row) == GROUP)
        return group_of(view, row)->sample[0];
    return kind_of(row) == BLOCK ? block_of(view, row)->address : 0;
}

const struct tui_view_kind tui_leaks = {
    .name = "Leaks", .key = '2', .empty = "no leaks: nothing is lost", .stage = MS_STAGE_LEAKS,
    .columns = columns, .column_count = sizeof columns / sizeof *columns, .sort = SHARE,
    .state_size = sizeof(struct state), .release = release, .fill = fill, .open = open_row, .cell = cell_of, .number = number,
    .headline = headline, .enter = enter, .address = address,
};
