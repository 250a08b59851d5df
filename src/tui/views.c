/* The table of views: one line each, in the order of the tab bar. */
#include <string.h>

#include "view.h"

/* A first one. */
static const struct tui_column columns[] = {
    {.title = "Kind", .width = 9, .weight = 3},
    {.title = "Bytes", .width = 10, .right = true, .descending = true, .weight = 0},
    {.title = "Share", .width = 10, .weight = 1, .fixed = true},
    {.title = "Blocks", .width = 9, .right = true, .descending = true, .weight = 2},
    {.title = "Type"},
};

static struct ms_error *fill(struct tui_view *view)
{
    for (size_t i = 0; i < view->facts.leaks->groups.count; i++)
        MS_TRY(tui_add_row(&view->rows, (struct tui_row){.key = i + 1, .item = i, .opens = true}));
    return NULL;
}

static struct ms_error *open_group(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    (void)view;
    for (size_t i = 0; i < 3; i++)
        MS_TRY(tui_add_row(below, (struct tui_row){.key = row->item * 10 + i + 1000, .item = row->item}));
    return NULL;
}

static void cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *to)
{
    const struct ms_leak_group *g = &view->facts.leaks->groups.items[row->item];
    switch (column) {
    case 0: tui_put(to, "%s", ms_leak_names[g->kind]); break;
    case 1: tui_put_size(to, g->bytes); break;
    case 2: to->bar = (double)g->bytes / (double)(view->facts.leaks->groups.items[0].bytes + 1); to->style = TUI_LIVE; break;
    case 3: tui_put_count(to, g->blocks); break;
    default:
        if (g->type)
            tui_put_name(to, g->type);
        else
            tui_put_bytes(to, g->preview, g->preview_size);
    }
}

static bool number(const struct tui_view *view, const struct tui_row *row, unsigned column, double *value)
{
    const struct ms_leak_group *g = &view->facts.leaks->groups.items[row->item];
    *value = column == 1 ? (double)g->bytes : (double)g->blocks;
    return column == 1 || column == 3;
}

static const struct tui_view_kind more = {
    .name = "Types", .key = '3', .empty = "no leaks", .stage = MS_STAGE_HEAP, .columns = columns, .column_count = 5,
    .sort = 1, .fill = fill, .open = open_group, .cell = cell, .number = number,
};

const struct tui_view_kind tui_block = {
    .name = "Block", .empty = "no leaks", .stage = MS_STAGE_HEAP, .columns = columns, .column_count = 5,
    .sort = 1, .fill = fill, .cell = cell, .number = number,
};

const struct tui_view_kind *const tui_kinds[] = {&tui_overview, &tui_leaks, &more, &tui_arenas, &tui_map, &tui_block,
                                                  NULL};
