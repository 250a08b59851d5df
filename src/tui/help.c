/* Help, a view of the table of keys. */
#include "browser.h"

static const struct tui_column columns[] = {
    {.title = "Key", .width = 18},
    {.title = "What it does"},
};

static struct ms_error *fill(struct tui_view *view)
{
    for (size_t i = 0; i < tui_key_count; i++)
        if (tui_keys[i].help)
            MS_TRY(tui_add_row(&view->rows, (struct tui_row){.key = i + 1, .item = i}));
    return NULL;
}

static void cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *to)
{
    (void)view;
    const struct tui_key *key = &tui_keys[row->item];
    tui_put(to, "%s", column == 0 ? key->name : key->help);
    to->style = column == 0 ? TUI_HEAD : TUI_PLAIN;
}

const struct tui_view_kind tui_help = {
    .name = "help", .empty = "", .stage = MS_STAGES, .columns = columns, .column_count = 2, .sort = -1,
    .fill = fill, .cell = cell,
};
