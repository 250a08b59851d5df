/* Goroutines: groups of equal stacks, open to the stack and to each of them, and these to what they keep alive. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/output.h"
#include "what.h"
#include "words.h"

/* Goroutines of a group, before a row that opens to more. */
#define PAGE 500u
/* Of the blocks that one points to so many are shown. */
#define BLOCKS_SHOWN 200u
#define NAME_MOST    4096u
/* Below this files are shown without their directories. */
#define NARROW    100u
#define NS_SECOND 1000000000ull

enum column { WHAT, COUNT, GREW, STATE, REASON, WAIT, CREATOR, COLUMNS };
static const struct tui_column columns[COLUMNS] = {
    [WHAT] = {.title = "goroutines", .fixed = true, .least = 24},
    [COUNT] = {.title = "count", .width = 9, .right = true, .descending = true},
    [GREW] = {.title = "grew", .width = 9, .right = true, .descending = true, .delta = true, .weight = 5},
    [STATE] = {.title = "state", .width = 8, .fixed = true, .weight = 3},
    [REASON] = {.title = "waits for", .width = 15, .fixed = true, .weight = 4},
    [WAIT] = {.title = "longest", .width = 10, .right = true, .descending = true, .weight = 2},
    [CREATOR] = {.title = "created by", .width = 24, .fixed = true, .weight = 1},
};

/* An answer, for a group its stack and labels, for a goroutine the blocks. */
struct content {
    struct ms_go_calls calls;
    struct ms_go_labels labels;
    struct ms_owners blocks;
};
#define ID_GROUP    (1ull << 32) /* and the group's index; else a goroutine's */
#define ID_RETAINED (1ull << 33) /* asked for when it was known what blocks retain */

struct state {
    int64_t *grew; /* of each group, when there is a snapshot before; owned */
};

/* --- rows -------------------------------------------------------------------------------------- */

/* What a row is, and its numbers: of a group, a goroutine, or an answer; and in that. */
enum row_kind {
    GROUP,     /* group */
    LABELS,    /* answer */
    CALL,      /* answer, call */
    ELIDED,    /* group */
    UNKNOWN,   /* group */
    CREATED,   /* group */
    GOROUTINE, /* goroutine */
    MORE,      /* group, first of its members that it stands for */
    BLOCK,     /* answer, block */
    REST,      /* answer: what did not find room, or is waited for */
};

static uint64_t item_of(enum row_kind kind, size_t number, size_t index)
{
    return (uint64_t)kind << 60 | (uint64_t)number << 30 | index;
}

static enum row_kind kind_of(const struct tui_row *row)
{
    return (enum row_kind)(row->item >> 60);
}

static size_t number_of(const struct tui_row *row)
{
    return row->item >> 30 & ((1u << 30) - 1);
}

static size_t index_of(const struct tui_row *row)
{
    return row->item & ((1u << 30) - 1);
}

static const struct ms_go_group *group_of(const struct tui_view *view, const struct tui_row *row)
{
    return &view->facts.goroutines->groups.list.items[number_of(row)];
}

static const struct ms_goroutine_group *described(const struct tui_view *view, const struct tui_row *row)
{
    return &view->facts.goroutines->list.items[number_of(row)];
}

static const struct ms_go_goroutine *goroutine_of(const struct tui_view *view, const struct tui_row *row)
{
    return &view->facts.goroutines->all->list.items[number_of(row)];
}

static const struct tui_answer *answer_of(const struct tui_view *view, const struct tui_row *row)
{
    return &view->answers.list.items[number_of(row)];
}

/* NULL: not answered yet, or an error. */
static const struct content *content_of(const struct tui_view *view, const struct tui_row *row)
{
    return answer_of(view, row)->content;
}

static const struct ms_go_traced *call_of(const struct tui_view *view, const struct tui_row *row)
{
    return &content_of(view, row)->calls.list.items[index_of(row)];
}

static const struct ms_owner *block_of(const struct tui_view *view, const struct tui_row *row)
{
    return &content_of(view, row)->blocks.list.items[index_of(row)];
}

/* The same for the same thing in another snapshot: of what is below a row whose key is ABOVE. */
static uint64_t key_below(uint64_t above, enum row_kind kind, uint64_t number)
{
    const uint64_t key = (above ^ (number * 16 + kind)) * 0x9e3779b97f4a7c15u;
    return key ? key : 1;
}

/* --- questions --------------------------------------------------------------------------------- */

static struct ms_error *find(const struct ms_facts *facts, uint64_t id, void **out)
{
    const struct ms_goroutines *goroutines = facts->goroutines;
    struct content *content = calloc(1, sizeof *content);
    *out = content;
    if (!content)
        return ms_error_nomem("the goroutines");
    if (!(id & ID_GROUP))
        return ms_find_goroutine_blocks(facts->go, facts->knowledge, facts->heap, (uint32_t)id, BLOCKS_SHOWN,
                                        &content->blocks);
    const struct ms_go_group *group = &goroutines->groups.list.items[(uint32_t)id];
    MS_TRY(ms_go_group_calls(goroutines->all, group, &content->calls));
    return ms_go_labels_read(goroutines->all, &goroutines->all->list.items[group->first], &content->labels);
}

static void free_content(void *pointer)
{
    struct content *content = pointer;
    ms_go_calls_free(&content->calls);
    ms_go_labels_free(&content->labels);
    ms_owners_free(&content->blocks);
    free(content);
}

static void release(void *state)
{
    free(((struct state *)state)->grew);
}

static struct ms_error *compare(struct tui_view *view)
{
    struct state *state = view->state;
    const struct ms_goroutines *before = view->before ? view->before->goroutines : NULL;
    if (!before || state->grew)
        return NULL;
    state->grew = calloc(view->facts.goroutines->list.count + 1, sizeof *state->grew);
    if (!state->grew)
        return ms_error_nomem("what grew");
    return ms_goroutine_growth(before, view->facts.goroutines, state->grew);
}

static struct ms_error *fill(struct tui_view *view)
{
    const struct ms_goroutines *goroutines = view->facts.goroutines;
    if (!goroutines)
        return NULL;
    MS_TRY(tui_answers_fill(view, NULL));
    MS_TRY(compare(view));
    for (size_t i = 0; i < goroutines->list.count; i++) {
        const uint64_t key = key_below(goroutines->groups.list.items[i].hash, GROUP, 0);
        MS_TRY(tui_add_row(&view->rows, (struct tui_row){.key = key, .item = item_of(GROUP, i, 0), .opens = true}));
    }
    return NULL;
}

/* A line under ROW. */
static ms_result add(struct tui_rows *below, const struct tui_row *row, enum row_kind kind, size_t number,
                     size_t index)
{
    return tui_add_row(below, (struct tui_row){.key = key_below(row->key, kind, index),
                                               .item = item_of(kind, number, index),
                                               .wide = true});
}

/* Goroutines of group GROUP from the one at FIRST on. */
static ms_result add_members(const struct tui_view *view, const struct tui_row *row, size_t group, size_t first,
                             struct tui_rows *below)
{
    const struct ms_goroutines *goroutines = view->facts.goroutines;
    const uint32_t *members = goroutines->members + goroutines->list.items[group].first;
    const size_t count = goroutines->groups.list.items[group].count;
    const size_t end = count - first > PAGE ? first + PAGE : count;
    for (size_t i = first; i < end; i++) {
        const uint64_t id = goroutines->all->list.items[members[i]].id;
        MS_TRY(tui_add_row(below, (struct tui_row){.key = key_below(0, GOROUTINE, id),
                                                   .opens = true,
                                                   .item = item_of(GOROUTINE, members[i], 0)}));
    }
    if (end == count)
        return NULL;
    return tui_add_row(
        below,
        (struct tui_row){.key = key_below(row->key, MORE, end), .opens = true, .item = item_of(MORE, group, end)});
}

static ms_result open_group(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    const struct ms_go_group *group = group_of(view, row);
    const size_t number = number_of(row);
    size_t index;
    MS_TRY(tui_want(view, ID_GROUP | number, &index));
    const struct content *content = view->answers.list.items[index].content;
    if (!content)
        return add(below, row, REST, index, 0);
    if (content->labels.list.count)
        MS_TRY(add(below, row, LABELS, index, 0));
    for (size_t i = 0; i < content->calls.list.count; i++)
        MS_TRY(add(below, row, CALL, index, i));
    if (group->depth > group->kept)
        MS_TRY(add(below, row, ELIDED, number, 0));
    if (!group->complete)
        MS_TRY(add(below, row, UNKNOWN, number, 0));
    if (described(view, row)->creator.call.function)
        MS_TRY(add(below, row, CREATED, number, 0));
    return add_members(view, row, number, 0, below);
}

static ms_result open_goroutine(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    const uint64_t retained = view->facts.heap ? ID_RETAINED : 0;
    size_t index;
    MS_TRY(tui_want(view, number_of(row) | retained, &index));
    const struct content *content = view->answers.list.items[index].content;
    const size_t count = content ? content->blocks.list.count : 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t key = key_below(row->key, BLOCK, content->blocks.list.items[i].address);
        MS_TRY(tui_add_row(below, (struct tui_row){.key = key, .item = item_of(BLOCK, index, i), .wide = true}));
    }
    if (content && count && count == content->blocks.count)
        return NULL;
    return add(below, row, REST, index, 0);
}

static struct ms_error *open_row(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    if (kind_of(row) == GROUP)
        return open_group(view, row, below);
    if (kind_of(row) == GOROUTINE)
        return open_goroutine(view, row, below);
    return add_members(view, row, number_of(row), index_of(row), below);
}

/* --- words ------------------------------------------------------------------------------------- */

static void put_function(struct tui_cell *cell, const char *function)
{
    char shown[NAME_MOST];
    tui_put_name(cell, ms_go_shown_name(function, shown, sizeof shown));
}

static void put_place(const struct tui_view *view, struct tui_cell *cell, const struct ms_go_call *call)
{
    const char *slash = view->width < NARROW ? strrchr(call->file, '/') : NULL;
    tui_put(cell, "  ");
    tui_put_name(cell, slash ? slash + 1 : call->file);
    tui_put(cell, ":%d", call->line);
}

/* "waiting" for all that has a reason, which has a column of its own. */
static const char *state_text(const char *state, const char *wait_reason)
{
    return wait_reason ? "waiting" : state;
}

/* How long something waits is known to no more than a collection. */
static void put_wait(struct tui_cell *cell, uint64_t ns)
{
    static const struct {
        uint64_t ns;
        const char *name;
    } units[] = {
        {86400 * NS_SECOND, "day"}, {3600 * NS_SECOND, "hour"}, {60 * NS_SECOND, "minute"}, {NS_SECOND, "second"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const uint64_t count = ns / units[i].ns;
        if (!count)
            continue;
        tui_put(cell, "%" PRIu64 " %s%s", count, units[i].name, count == 1 ? "" : "s");
        return;
    }
}

static void put_labels(struct tui_cell *cell, const struct ms_go_labels *labels)
{
    for (size_t i = 0; i < labels->list.count; i++) {
        const struct ms_go_label *label = &labels->list.items[i];
        tui_put(cell, "%s", i ? ", " : "labels: ");
        tui_put_bytes(cell, (const uint8_t *)label->key, strlen(label->key));
        tui_put(cell, ": ");
        tui_put_bytes(cell, (const uint8_t *)label->value, strlen(label->value));
    }
    cell->style = TUI_DIM;
}

static void put_call(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    const struct ms_go_traced *traced = call_of(view, row);
    tui_put(cell, "#%zu ", index_of(row));
    put_function(cell, traced->call.function);
    tui_put(cell, "%s", traced->call.inlined ? " (inlined)" : "");
    put_place(view, cell, &traced->call);
    cell->style = traced->shown ? TUI_PLAIN : TUI_DIM;
}

static void put_goroutine(const struct ms_go_goroutine *goroutine, struct tui_cell *cell)
{
    tui_put(cell, "goroutine %" PRIu64, goroutine->id);
    if (goroutine->tid)
        tui_put(cell, ", thread %d", (int)goroutine->tid);
    if (goroutine->locked)
        tui_put(cell, ", locked to it");
    if (goroutine->bubble)
        tui_put(cell, ", synctest bubble %" PRIu64, goroutine->bubble);
}

static void put_block(const struct tui_view *view, const struct ms_owner *block, struct tui_cell *cell)
{
    tui_put(cell, "0x%" PRIx64 "  ", block->address);
    if (block->retained) {
        tui_put_size(cell, block->retained);
        tui_put(cell, " retained  ");
    }
    tui_put_owner(cell, block);
    const bool suspect = view->facts.heap && ms_is_suspect(view->facts.heap, block->retained);
    cell->style = suspect ? TUI_DOUBT : TUI_LINK;
}

static void put_rest(const struct tui_answer *answer, struct tui_cell *cell)
{
    const struct content *content = answer->content;
    cell->style = answer->error ? TUI_BAD : TUI_DIM;
    if (answer->error) {
        tui_put_name(cell, answer->error);
    } else if (!content) {
        tui_put(cell, answer->id & ID_GROUP ? "unwinding …" : "looking for the blocks …");
    } else if (!content->blocks.count) {
        tui_put(cell, "its stack points to no block");
    } else {
        tui_put(cell, "… and ");
        tui_put_count(cell, content->blocks.count - content->blocks.list.count);
        tui_put(cell, " more blocks");
    }
}

static void put_what(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    switch (kind_of(row)) {
    case GROUP:
        put_function(cell, described(view, row)->function);
        break;
    case LABELS:
        put_labels(cell, &content_of(view, row)->labels);
        break;
    case CALL:
        put_call(view, row, cell);
        break;
    case ELIDED:
        tui_put(cell, "… %" PRIu32 " more frames", group_of(view, row)->depth - group_of(view, row)->kept);
        cell->style = TUI_DIM;
        break;
    case UNKNOWN:
        tui_put(cell, "… where it was called from is not known");
        cell->style = TUI_DOUBT;
        break;
    case CREATED:
        tui_put(cell, "created by ");
        put_function(cell, described(view, row)->creator.call.function);
        put_place(view, cell, &described(view, row)->creator.call);
        break;
    case GOROUTINE:
        put_goroutine(goroutine_of(view, row), cell);
        break;
    case MORE:
        tui_put(cell, "… ");
        tui_put_count(cell, group_of(view, row)->count - index_of(row));
        tui_put(cell, " more");
        cell->style = TUI_DIM;
        break;
    case BLOCK:
        put_block(view, block_of(view, row), cell);
        break;
    case REST:
        put_rest(answer_of(view, row), cell);
        break;
    }
}

/* --- cells ------------------------------------------------------------------------------------- */

/* States of a group, each once, those first that most are in. */
static void put_states(const struct ms_go_group *group, bool reasons, struct tui_cell *cell)
{
    const struct ms_go_state_count *items = group->states.items;
    if (group->leaked && !reasons) {
        cell->style = TUI_LEAKED;
        tui_put(cell, "leaked");
        if (group->leaked == group->count)
            return;
    }
    for (size_t i = 0; i < group->states.count; i++) {
        const char *text = reasons ? items[i].wait_reason : state_text(items[i].state, items[i].wait_reason);
        bool said = !text;
        for (size_t k = 0; k < i && !said && !reasons; k++)
            said = strcmp(text, state_text(items[k].state, items[k].wait_reason)) == 0;
        if (said)
            continue;
        tui_put(cell, "%s", cell->length ? ", " : "");
        tui_put_name(cell, text);
    }
}

static void group_cell(const struct tui_view *view, const struct tui_row *row, enum column column,
                       struct tui_cell *cell)
{
    const struct state *state = view->state;
    const struct ms_go_group *group = group_of(view, row);
    const char *creator = described(view, row)->creator.call.function;
    if (column == COUNT)
        tui_put_count(cell, group->count);
    else if (column == GREW && state->grew)
        tui_put_delta(cell, state->grew[number_of(row)], false);
    else if (column == STATE || column == REASON)
        put_states(group, column == REASON, cell);
    else if (column == WAIT)
        put_wait(cell, group->waited_ns);
    else if (column == CREATOR && creator)
        put_function(cell, creator);
}

static void goroutine_cell(const struct ms_go_goroutine *goroutine, bool leaked, enum column column,
                           struct tui_cell *cell)
{
    if (column == STATE && leaked) {
        cell->style = TUI_LEAKED;
        tui_put(cell, "leaked");
    } else if (column == STATE)
        tui_put_name(cell, state_text(goroutine->state, goroutine->wait_reason));
    else if (column == REASON && goroutine->wait_reason)
        tui_put_name(cell, goroutine->wait_reason);
    else if (column == WAIT)
        put_wait(cell, goroutine->waited_ns);
    else if (column == CREATOR && goroutine->parent)
        tui_put(cell, "goroutine %" PRIu64, goroutine->parent);
}

static void cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    if (column == WHAT)
        put_what(view, row, cell);
    else if (kind_of(row) == GROUP)
        group_cell(view, row, (enum column)column, cell);
    else if (kind_of(row) == GOROUTINE)
        goroutine_cell(goroutine_of(view, row), view->facts.goroutines->leaked[number_of(row)],
                       (enum column)column, cell);
}

/* Of groups alone: what they open to stays in its order. */
static bool number(const struct tui_view *view, const struct tui_row *row, unsigned column, double *value)
{
    const struct state *state = view->state;
    if (kind_of(row) != GROUP)
        return false;
    const struct ms_go_group *group = group_of(view, row);
    switch (column) {
    case COUNT:
        /* Leaked ones before all others. */
        *value = (double)group->count + (group->leaked ? 0x1p40 : 0);
        return true;
    case GREW:
        *value = state->grew ? (double)state->grew[number_of(row)] : 0;
        return true;
    case WAIT:
        *value = (double)group->waited_ns;
        return true;
    default:
        return false;
    }
}

/* --- the verdict ------------------------------------------------------------------------------- */

static void put_verdict(const struct ms_go_groups *groups, struct tui_cell *cell)
{
    const struct ms_go_group *most = groups->list.items;
    tui_put_count(cell, groups->total);
    tui_put(cell, " goroutine%s in ", groups->total == 1 ? "" : "s");
    tui_put_count(cell, groups->list.count);
    tui_put(cell, " group%s of equal stacks", groups->list.count == 1 ? "" : "s");
    if (groups->leaked) {
        tui_put(cell, "; ");
        tui_put_count(cell, groups->leaked);
        tui_put(cell, " leaked: nothing can wake %s", groups->leaked == 1 ? "it" : "them");
    } else if (groups->list.count > 1 && most->count > 1) {
        tui_put(cell, "; ");
        tui_put_count(cell, most->count);
        tui_put(cell, " (");
        tui_put_share(cell, most->count, groups->total);
        tui_put(cell, ") in the largest: ");
        tui_put_name(cell, most->states.items[0].state);
    }
    if (groups->system) {
        tui_put(cell, "; ");
        tui_put_count(cell, groups->system);
        tui_put(cell, " of the runtime left out");
    }
}

static bool put_growth(const struct tui_view *view, struct tui_cell *cell)
{
    const struct ms_goroutines *before = view->before ? view->before->goroutines : NULL;
    if (!before)
        return false;
    const int64_t grew = (int64_t)view->facts.goroutines->groups.total - (int64_t)before->groups.total;
    tui_put_delta(cell, grew, false);
    tui_put(cell, "%s since the snapshot before", grew ? "" : "as many as");
    return true;
}

static bool headline(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    if (!view->facts.goroutines) {
        cell->style = TUI_BAD;
        if (line == 0 && view->facts.go_error)
            tui_put_name(cell, view->facts.go_error);
        return line == 0 && view->facts.go_error;
    }
    if (line == 0)
        put_verdict(&view->facts.goroutines->groups, cell);
    return line == 0 || (line == 1 && put_growth(view, cell));
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
    switch (kind_of(row)) {
    case CALL:
        return call_of(view, row)->lookup;
    case CREATED:
        return group_of(view, row)->created_at;
    case GOROUTINE:
        return goroutine_of(view, row)->address;
    case BLOCK:
        return block_of(view, row)->address;
    default:
        return 0;
    }
}

const struct tui_view_kind tui_goroutines = {
    .name = "Goroutines",
    .key = '8',
    .empty = "no goroutines: this is no Go program",
    .stage = MS_STAGE_MEMSTATS,
    .columns = columns,
    .column_count = COLUMNS,
    .sort = COUNT,
    .state_size = sizeof(struct state),
    .release = release,
    .answer = find,
    .free_answer = free_content,
    .fill = fill,
    .open = open_row,
    .cell = cell,
    .number = number,
    .headline = headline,
    .enter = enter,
    .address = address,
};
