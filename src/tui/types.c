/* Types: the live blocks in groups of what they are, open to the biggest blocks of each. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "memscope/growth.h"
#include "what.h"
#include "words.h"

/* Of the blocks of a group so many are shown. */
#define BLOCKS_SHOWN 500u

enum column { RETAINED, BYTES, SHARE, BAR, BLOCKS, GREW, MORE, WHAT, KNOWN, COLUMNS };
static const struct tui_column columns[COLUMNS] = {
    [RETAINED] = {.title = "retained", .width = 10, .right = true, .descending = true},
    [BYTES] = {.title = "bytes", .width = 10, .right = true, .descending = true, .weight = 6},
    [SHARE] = {.title = "share", .width = 6, .right = true, .descending = true, .weight = 5},
    [BAR] = {.title = "", .width = 8, .fixed = true, .weight = 1},
    [BLOCKS] = {.title = "blocks", .width = 10, .right = true, .descending = true, .weight = 4},
    [GREW] = {.title = "Δ bytes", .width = 10, .right = true, .descending = true, .delta = true, .weight = 7},
    [MORE] = {.title = "Δ blocks", .width = 10, .right = true, .descending = true, .delta = true, .weight = 3},
    [WHAT] = {.title = "type", .least = 28},
    [KNOWN] = {.title = "known by", .width = 9, .weight = 2},
};

struct state {
    struct ms_growth growth;
    const struct ms_heap_report *before; /* that growth is since */
};

/* Rows: a group is its index; a block has that of the answer and its own one, which is no block's for a rest. */
#define BLOCK_BIT (1ull << 63)
#define BLOCK_MASK 0xffffffffu

static const struct ms_heap_group *group_of(const struct tui_view *view, const struct tui_row *row)
{
    return row->item & BLOCK_BIT ? NULL : &view->facts.heap->groups.items[row->item];
}

static const struct tui_answer *answer_of(const struct tui_view *view, const struct tui_row *row)
{
    return &view->answers.list.items[(row->item & ~BLOCK_BIT) >> 32];
}

/* NULL: a row that says that there are more, or what it is waited for. */
static const struct ms_owner *block_of(const struct tui_view *view, const struct tui_row *row)
{
    const struct ms_owners *owners = answer_of(view, row)->content;
    const uint64_t index = row->item & BLOCK_MASK;
    return owners && index < owners->list.count ? &owners->list.items[index] : NULL;
}

/* --- questions --------------------------------------------------------------------------------- */

static struct ms_error *find_blocks(const struct ms_facts *facts, uint64_t group, void **content)
{
    struct ms_owners *owners = calloc(1, sizeof *owners);
    *content = owners;
    if (!owners)
        return ms_error_nomem("the blocks of a group");
    return ms_find_group_blocks(facts->scan, facts->heap, &facts->heap->groups.items[group], BLOCKS_SHOWN, owners);
}

static void free_blocks(void *content)
{
    ms_owners_free(content);
    free(content);
}

static void release(void *state)
{
    ms_growth_free(&((struct state *)state)->growth);
}

static uint64_t key_of(const struct ms_heap_group *group)
{
    const uint64_t kind = group->kind * 2u + (group->by == MS_BY_GUESS);
    const uint64_t hash = tui_hash(tui_hash(kind, group->type), group->module);
    return (hash ^ group->size * 0x9e3779b97f4a7c15u) | BLOCK_BIT; /* no address */
}

static struct ms_error *find_growth(struct tui_view *view)
{
    struct state *state = view->state;
    const struct ms_heap_report *before = view->before ? view->before->heap : NULL;
    if (before == state->before)
        return NULL;
    ms_growth_free(&state->growth);
    state->growth = (struct ms_growth){0};
    state->before = before;
    return before ? ms_heap_growth(before, view->facts.heap, &state->growth) : NULL;
}

static struct ms_error *fill(struct tui_view *view)
{
    const struct ms_heap_report *heap = view->facts.heap;
    MS_TRY(tui_answers_fill(view, NULL));
    MS_TRY(find_growth(view));
    for (size_t i = 0; i < heap->groups.count; i++) {
        const struct ms_heap_group *group = &heap->groups.items[i];
        MS_TRY(tui_add_row(&view->rows, (struct tui_row){.key = key_of(group), .item = i, .opens = true}));
    }
    return NULL;
}

static struct ms_error *open_group(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    size_t index;
    MS_TRY(tui_want(view, row->item, &index));
    const uint64_t item = BLOCK_BIT | (uint64_t)index << 32;
    const struct ms_owners *owners = view->answers.list.items[index].content;
    const size_t count = owners ? owners->list.count : 0;
    for (size_t i = 0; i < count; i++)
        MS_TRY(tui_add_row(below, (struct tui_row){.key = owners->list.items[i].address, .item = item | i}));
    if (owners && count >= owners->count)
        return NULL;
    return tui_add_row(below, (struct tui_row){.key = row->key ^ 1, .item = item | BLOCK_MASK});
}

/* --- cells ------------------------------------------------------------------------------------- */

static const struct ms_change *change_of(const struct tui_view *view, const struct tui_row *row)
{
    const struct state *state = view->state;
    return !(row->item & BLOCK_BIT) && row->item < state->growth.count ? &state->growth.of[row->item] : NULL;
}

/* What blocks of a kind are called in a row of their own. */
static void group_cell(const struct tui_view *view, const struct tui_row *row, enum column column,
                       struct tui_cell *cell)
{
    const struct ms_heap_group *group = group_of(view, row);
    const struct ms_change *change = change_of(view, row);
    switch (column) {
    case RETAINED:
        tui_put_size(cell, group->retained);
        break;
    case BYTES:
        tui_put_size(cell, group->bytes);
        break;
    case SHARE:
        tui_put_share(cell, group->bytes, view->facts.heap->live.bytes);
        break;
    case BAR:
        cell->bar = group->share;
        break;
    case BLOCKS:
        tui_put_count(cell, group->blocks);
        break;
    case GREW:
        tui_put_delta(cell, change ? change->bytes : 0, true);
        break;
    case MORE:
        tui_put_delta(cell, change ? change->blocks : 0, false);
        break;
    case WHAT:
        tui_put_group(cell, group);
        break;
    case KNOWN:
        cell->style = group->by == MS_BY_GUESS ? TUI_DOUBT : TUI_DIM;
        tui_put(cell, "%s", group->by ? ms_evidence_names[group->by] : "-");
        break;
    case COLUMNS:
        break;
    }
}

/* A row that stands for blocks that are not listed. */
static void rest_cell(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    const struct tui_answer *answer = answer_of(view, row);
    const struct ms_owners *owners = answer->content;
    cell->style = answer->error ? TUI_BAD : TUI_DIM;
    if (answer->error) {
        tui_put_name(cell, answer->error);
    } else if (owners) {
        tui_put(cell, "… and ");
        tui_put_count(cell, owners->count - owners->list.count);
        tui_put(cell, " more");
    } else {
        tui_put(cell, "looking for the blocks …");
    }
}

static void cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    if (group_of(view, row)) {
        group_cell(view, row, (enum column)column, cell);
        return;
    }
    const struct ms_owner *owner = block_of(view, row);
    if (!owner && column == WHAT)
        rest_cell(view, row, cell);
    if (!owner)
        return;
    if (column == RETAINED && owner->retained)
        tui_put_size(cell, owner->retained);
    else if (column == RETAINED)
        tui_put(cell, "lost");
    else if (column == BYTES)
        tui_put_size(cell, owner->size);
    else if (column == WHAT) {
        cell->style = TUI_LINK;
        tui_put(cell, "0x%" PRIx64 " ", owner->address);
        tui_put_owner(cell, owner);
    }
}

static bool number(const struct tui_view *view, const struct tui_row *row, unsigned column, double *value)
{
    const struct ms_heap_group *group = group_of(view, row);
    const struct ms_owner *owner = group ? NULL : block_of(view, row);
    const struct ms_change *change = change_of(view, row);
    *value = NAN;
    switch ((enum column)column) {
    case RETAINED:
        *value = group ? (double)group->retained : owner ? (double)owner->retained : NAN;
        return true;
    case BYTES:
    case SHARE:
        *value = group ? (double)group->bytes : owner ? (double)owner->size : NAN;
        return true;
    case BLOCKS:
        *value = group ? (double)group->blocks : NAN;
        return true;
    case GREW:
        *value = change ? (double)change->bytes : NAN;
        return true;
    case MORE:
        *value = change ? (double)change->blocks : NAN;
        return true;
    case BAR:
    case WHAT:
    case KNOWN:
    case COLUMNS:
        break;
    }
    return false;
}

/* "types: known of 85.3% of the bytes; of 3.0% guessed (?)" */
static void put_typed(const struct ms_heap_report *heap, struct tui_cell *cell)
{
    uint64_t known = 0;
    for (int by = MS_BY_POINTER; by < MS_EVIDENCES; by++)
        known += heap->typed[by].bytes;
    tui_put(cell, "types known of ");
    tui_put_share(cell, known, heap->live.bytes);
    if (heap->typed[MS_BY_GUESS].bytes) {
        tui_put(cell, ", guessed (?) of ");
        tui_put_share(cell, heap->typed[MS_BY_GUESS].bytes, heap->live.bytes);
    }
}

static bool headline(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    const struct state *state = view->state;
    if (line > 0 || !view->facts.heap)
        return false;
    tui_put(cell, "live ");
    tui_put_tally(cell, &view->facts.heap->live);
    if (state->before) {
        tui_put(cell, " (");
        tui_put_delta(cell, state->growth.total.bytes, true);
        tui_put(cell, "%s)", state->growth.total.bytes ? "" : "as before");
        cell->style = TUI_PLAIN;
    }
    tui_put(cell, "; ");
    put_typed(view->facts.heap, cell);
    return true;
}

static bool enter(const struct tui_view *view, const struct tui_row *row, struct tui_place *to)
{
    const struct ms_owner *owner = group_of(view, row) ? NULL : block_of(view, row);
    if (owner)
        *to = (struct tui_place){&tui_block, owner->address};
    return owner;
}

static uint64_t address(const struct tui_view *view, const struct tui_row *row)
{
    const struct ms_heap_group *group = group_of(view, row);
    const struct ms_owner *owner = group ? NULL : block_of(view, row);
    return group ? group->sample : owner ? owner->address : 0;
}

const struct tui_view_kind tui_types = {
    .name = "Types",
    .key = '3',
    .empty = "the heap has no live blocks",
    .stage = MS_STAGE_HEAP,
    .columns = columns,
    .column_count = COLUMNS,
    .sort = RETAINED,
    .state_size = sizeof(struct state),
    .release = release,
    .answer = find_blocks,
    .free_answer = free_blocks,
    .fill = fill,
    .open = open_group,
    .cell = cell,
    .number = number,
    .headline = headline,
    .enter = enter,
    .address = address,
};
