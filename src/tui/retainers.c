/* Retainers: the dominator tree from the blocks that only roots hold, open to what each retains directly. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "memscope/output.h"
#include "what.h"
#include "words.h"

/* Of the blocks that one retains so many are shown. */
#define BLOCKS_SHOWN 500u
/* Of what timers, contexts and finalizers keep so many lines are shown. */
#define GO_SUSPECTS_SHOWN 3u

enum column { RETAINED, SHARE, BAR, BLOCKS, OWN, WHAT, ADDRESS, COLUMNS };
static const struct tui_column columns[COLUMNS] = {
    [RETAINED] = {.title = "retained", .width = 10, .right = true, .descending = true},
    [SHARE] = {.title = "heap", .width = 6, .right = true, .descending = true, .weight = 5},
    [BAR] = {.title = "", .width = 8, .fixed = true, .weight = 4},
    [BLOCKS] = {.title = "blocks", .width = 10, .right = true, .descending = true, .weight = 2},
    [OWN] = {.title = "own", .width = 9, .right = true, .descending = true, .weight = 3},
    [WHAT] = {.title = "block", .least = 28},
    [ADDRESS] = {.title = "address", .width = 14, .weight = 1},
};

/* What a block retains. */
struct children {
    struct ms_owners owners;
    uint64_t retained; /* by the block itself */
};

/*
 * Rows: those of the report's retainers are their index; others have the answer's index plus one in the upper
 * half, and their own in the lower one. REST: one that stands for more, or waits.
 */
#define REST 0xffffffffu

static const struct tui_answer *answer_of(const struct tui_view *view, const struct tui_row *row)
{
    const uint64_t index = row->item >> 32;
    return index ? &view->answers.list.items[index - 1] : NULL;
}

static const struct ms_retainer *retainer_of(const struct tui_view *view, const struct tui_row *row)
{
    const uint64_t retainers = view->facts.heap->retainers.count;
    return row->item < retainers ? &view->facts.heap->retainers.items[row->item] : NULL;
}

/* NULL: a row that says that there are more, or what it is waited for. */
static const struct ms_owner *owner_of(const struct tui_view *view, const struct tui_row *row)
{
    const struct tui_answer *answer = answer_of(view, row);
    const struct ms_retainer *retainer = retainer_of(view, row);
    const uint64_t index = row->item & REST;
    const struct children *children = answer ? answer->content : NULL;
    if (retainer)
        return &retainer->block;
    return children && index < children->owners.list.count ? &children->owners.list.items[index] : NULL;
}

/* Bytes that it is a part of: what the block above it retains, or the live heap. */
static uint64_t whole_of(const struct tui_view *view, const struct tui_row *row)
{
    const struct tui_answer *answer = answer_of(view, row);
    const struct children *children = answer ? answer->content : NULL;
    return children ? children->retained : view->facts.heap->live.bytes;
}

/* --- questions --------------------------------------------------------------------------------- */

static struct ms_error *find_children(const struct ms_facts *facts, uint64_t address, void **content)
{
    const struct ms_segment *segment = ms_heap_segment(&facts->scan->heap, address);
    struct children *children = calloc(1, sizeof *children);
    *content = children;
    if (!children)
        return ms_error_nomem("what a block retains");
    if (!segment)
        return NULL;
    const uint64_t start = ms_address_granule(&facts->scan->heap, segment, address);
    const struct ms_dominators *tree = &facts->heap->tree;
    children->retained = tree->retained[ms_dominator_position(tree, &facts->scan->heap, start)];
    return ms_find_retained(facts->scan, facts->heap, start, BLOCKS_SHOWN, &children->owners);
}

static void free_children(void *content)
{
    struct children *children = content;
    ms_owners_free(&children->owners);
    free(children);
}

static struct ms_error *add_owner(struct tui_rows *rows, const struct ms_owner *owner, uint64_t item)
{
    return tui_add_row(rows, (struct tui_row){.key = owner->address, .item = item,
                                              .opens = owner->retained_blocks > 1});
}

static struct ms_error *fill(struct tui_view *view)
{
    const struct ms_heap_report *heap = view->facts.heap;
    const size_t count = heap->retainers.count;
    MS_TRY(tui_answers_fill(view, NULL));
    for (size_t i = 0; i < count; i++)
        MS_TRY(add_owner(&view->rows, &heap->retainers.items[i].block, i));
    if (count < heap->retainer_count)
        MS_TRY(tui_add_row(&view->rows, (struct tui_row){.key = UINT64_MAX, .item = REST}));
    return NULL;
}

static struct ms_error *open_block(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    size_t index;
    MS_TRY(tui_want(view, row->key, &index));
    const uint64_t item = (uint64_t)(index + 1) << 32;
    const struct children *children = view->answers.list.items[index].content;
    const size_t count = children ? children->owners.list.count : 0;
    for (size_t i = 0; i < count; i++)
        MS_TRY(add_owner(below, &children->owners.list.items[i], item | i));
    if (children && count >= children->owners.count)
        return NULL;
    return tui_add_row(below, (struct tui_row){.key = ~row->key, .item = item | REST});
}

/* --- cells ------------------------------------------------------------------------------------- */

static void rest_cell(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    const struct ms_heap_report *heap = view->facts.heap;
    const struct tui_answer *answer = answer_of(view, row);
    const struct children *children = answer ? answer->content : NULL;
    cell->style = TUI_DIM;
    if (answer && answer->error) {
        cell->style = TUI_BAD;
        tui_put_name(cell, answer->error);
    } else if (answer && !children) {
        tui_put(cell, "looking for the blocks …");
    } else {
        tui_put(cell, "… and ");
        tui_put_count(cell, children ? children->owners.count - children->owners.list.count
                                     : heap->retainer_count - heap->retainers.count);
        tui_put(cell, " more that retain less");
    }
}

static void what_cell(const struct tui_view *view, const struct tui_row *row, const struct ms_owner *owner,
                      struct tui_cell *cell)
{
    const struct ms_retainer *retainer = retainer_of(view, row);
    const bool suspect = ms_is_suspect(view->facts.heap, owner->retained);
    cell->style = suspect ? TUI_DOUBT : owner->by == MS_BY_NOTHING ? TUI_PLAIN : TUI_LINK;
    tui_put(cell, "%s", suspect ? "! " : "");
    tui_put_owner(cell, owner);
    if (retainer && retainer->gathers.address) {
        tui_put(cell, "; ");
        tui_put_size(cell, retainer->gathers.retained);
        tui_put(cell, " of it through ");
        tui_put_owner(cell, &retainer->gathers);
    }
}

static void cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    const struct ms_owner *owner = owner_of(view, row);
    const uint64_t whole = whole_of(view, row);
    if (!owner && column == WHAT)
        rest_cell(view, row, cell);
    if (!owner)
        return;
    switch ((enum column)column) {
    case RETAINED:
        tui_put_size(cell, owner->retained);
        break;
    case SHARE:
        tui_put_share(cell, owner->retained, view->facts.heap->live.bytes);
        break;
    case BAR:
        cell->bar = whole ? (double)owner->retained / (double)whole : 0;
        break;
    case BLOCKS:
        tui_put_count(cell, owner->retained_blocks);
        break;
    case OWN:
        tui_put_size(cell, owner->size);
        break;
    case WHAT:
        what_cell(view, row, owner, cell);
        break;
    case ADDRESS:
        tui_put(cell, "0x%" PRIx64, owner->address);
        break;
    case COLUMNS:
        break;
    }
}

static bool number(const struct tui_view *view, const struct tui_row *row, unsigned column, double *value)
{
    const struct ms_owner *owner = owner_of(view, row);
    *value = NAN;
    switch ((enum column)column) {
    case RETAINED:
    case SHARE:
        *value = owner ? (double)owner->retained : NAN;
        return true;
    case BLOCKS:
        *value = owner ? (double)owner->retained_blocks : NAN;
        return true;
    case OWN:
        *value = owner ? (double)owner->size : NAN;
        return true;
    case ADDRESS:
        *value = owner ? (double)owner->address : NAN;
        return true;
    case BAR:
    case WHAT:
    case COLUMNS:
        break;
    }
    return false;
}

static void put_suspect(const struct ms_suspect *suspect, uint64_t live, struct tui_cell *cell)
{
    cell->style = TUI_DOUBT;
    if (suspect->is_group)
        tui_put_count(cell, suspect->group.blocks);
    tui_put(cell, suspect->is_group ? " blocks retain " : "one block retains ");
    tui_put_size(cell, suspect->retained);
    tui_put(cell, " (");
    tui_put_share(cell, suspect->retained, live);
    tui_put(cell, "): ");
    if (suspect->is_group) {
        tui_put_group(cell, &suspect->group);
    } else {
        tui_put(cell, "0x%" PRIx64 " ", suspect->retainer.block.address);
        tui_put_owner(cell, &suspect->retainer.block);
    }
}

/* Of Go: what timers, contexts and finalizers keep. */
static bool put_go_suspect(const struct ms_heap_report *heap, unsigned index, struct tui_cell *cell)
{
    char *text;
    if (index >= heap->go_suspects.list.count || index >= GO_SUSPECTS_SHOWN)
        return false;
    struct ms_error *error = ms_go_suspect_text(&heap->go_suspects.list.items[index], heap->live.bytes, &text);
    ms_error_free(error);
    if (error)
        return false;
    cell->style = TUI_DOUBT;
    tui_put(cell, "%s", text);
    free(text);
    return true;
}

/* The verdict first, then what nothing retains, then what Go's own structures keep. */
static bool headline(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    const struct ms_heap_report *heap = view->facts.heap;
    if (!heap)
        return false;
    if (line >= 1 && !heap->lost.blocks)
        line++;
    if (line > 1)
        return put_go_suspect(heap, line - 2, cell);
    if (line == 1) {
        tui_put(cell, "unreachable, so that nothing retains it: ");
        tui_put_tally(cell, &heap->lost);
    } else if (heap->suspects.count) {
        put_suspect(&heap->suspects.items[0], heap->live.bytes, cell);
    } else {
        cell->style = TUI_GOOD;
        tui_put(cell, "no block or group retains more than %u%% of ", MS_SUSPECT_PERCENT);
        tui_put_size(cell, heap->live.bytes);
    }
    return true;
}

static uint64_t address(const struct tui_view *view, const struct tui_row *row)
{
    const struct ms_owner *owner = owner_of(view, row);
    return owner ? owner->address : 0;
}

static bool enter(const struct tui_view *view, const struct tui_row *row, struct tui_place *to)
{
    *to = (struct tui_place){&tui_block, address(view, row)};
    return to->subject;
}

const struct tui_view_kind tui_retainers = {
    .name = "Retainers",
    .key = '4',
    .empty = "no block is held by a root",
    .stage = MS_STAGE_HEAP,
    .columns = columns,
    .column_count = COLUMNS,
    .sort = RETAINED,
    .answer = find_children,
    .free_answer = free_children,
    .fill = fill,
    .open = open_block,
    .cell = cell,
    .number = number,
    .headline = headline,
    .enter = enter,
    .address = address,
};
