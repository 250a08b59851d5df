/* The list and tree widget: selection, scrolling, opening, columns that fit, drawing. */
#include "table.h"

#include <string.h>

#include "screen.h"

#define SPANS (sizeof((struct tui_table *)0)->spans / sizeof(struct tui_span))
/* What a column without a width of its own gets at least, before others go. */
#define LEAST_FLEXIBLE 14
#define INDENT 2

ms_result tui_table_new(const struct tui_view_kind *kind, struct tui_table **table)
{
    *table = calloc(1, sizeof **table);
    if (!*table)
        return ms_error_nomem("a view");
    (*table)->sort = kind->sort;
    return NULL;
}

void tui_table_free(struct tui_table *t)
{
    if (!t)
        return;
    free(t->shown);
    free(t->next);
    free(t->matches);
    free(t->keys);
    ms_vector_free(&t->texts);
    ms_vector_free(&t->open);
    free(t);
}

ms_result tui_add_row(struct tui_rows *rows, struct tui_row row)
{
    struct tui_row *new = rows->list.count < UINT32_MAX ? ms_vector_add(&rows->list) : NULL;
    if (!new)
        return ms_error_nomem("a list");
    *new = row;
    return NULL;
}

bool tui_column_used(const struct tui_view *view, unsigned column)
{
    return !view->kind->columns[column].delta || view->before;
}

void tui_make_cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    tui_clear(cell);
    view->kind->cell(view, row, column, cell);
}

/* --- selection --------------------------------------------------------------------------------- */

const struct tui_row *tui_table_selected(const struct tui_view *view)
{
    const struct tui_table *t = view->table;
    if (t->selected >= t->count)
        return NULL;
    const struct tui_row *row = &view->rows.list.items[t->shown[t->selected]];
    return row->heading ? NULL : row;
}

static bool is_heading(const struct tui_view *view, size_t position)
{
    return view->rows.list.items[view->table->shown[position]].heading;
}

/* The nearest row from POSITION on that can be selected, then before it. */
static size_t selectable(const struct tui_view *view, size_t position, bool back)
{
    const struct tui_table *t = view->table;
    for (int turn = 0; turn < 2; turn++, back = !back) {
        for (size_t i = position; i < t->count; i += back ? (size_t)-1 : 1)
            if (!is_heading(view, i))
                return i;
    }
    return position;
}

static void select_towards(struct tui_view *view, size_t position, bool back)
{
    struct tui_table *t = view->table;
    if (!t->count) {
        t->selected = t->top = 0;
        return;
    }
    if (position >= t->count)
        position = t->count - 1;
    t->selected = selectable(view, position, back);
    const struct tui_row *row = tui_table_selected(view);
    t->key = row ? row->key : 0;
}

void tui_table_select(struct tui_view *view, size_t position)
{
    select_towards(view, position, false);
}

void tui_table_move(struct tui_view *view, long by)
{
    struct tui_table *t = view->table;
    size_t steps = by < 0 ? (size_t)-by : (size_t)by;
    size_t to = t->selected;
    if (by < 0) {
        to = steps > to ? 0 : to - steps;
        if (to == 0)
            t->top = 0; /* headings above the first row are seen again */
    } else {
        to = steps > t->count - to ? t->count : to + steps;
    }
    select_towards(view, to, by < 0);
}

/* --- trees ------------------------------------------------------------------------------------- */

static struct ms_error *open_row(struct tui_view *view, size_t index)
{
    struct tui_rows below = {0};
    struct tui_row row = view->rows.list.items[index];
    struct ms_error *error = view->kind->open ? view->kind->open(view, &row, &below) : NULL;
    size_t more = below.list.count, old = view->rows.list.count;
    for (size_t i = 0; !error && i < more; i++)
        error = tui_add_row(&view->rows, (struct tui_row){0}); /* room */
    if (!error) {
        struct tui_row *items = view->rows.list.items;
        memmove(items + index + 1 + more, items + index + 1, (old - index - 1) * sizeof *items);
        if (more)
            memcpy(items + index + 1, below.list.items, more * sizeof *items);
        for (size_t i = 0; i < more; i++)
            items[index + 1 + i].depth = row.depth + 1;
        items[index].open = true;
    } else {
        view->rows.list.count = old;
    }
    ms_vector_free(&below.list);
    return error;
}

static void close_row(struct tui_view *view, size_t index)
{
    struct tui_row *items = view->rows.list.items;
    size_t end = index + 1;
    while (end < view->rows.list.count && items[end].depth > items[index].depth)
        end++;
    memmove(items + index + 1, items + end, (view->rows.list.count - end) * sizeof *items);
    view->rows.list.count -= end - index - 1;
    items[index].open = false;
}

static struct ms_error *remember_open(struct tui_table *t, uint64_t key, bool open)
{
    for (size_t i = 0; i < t->open.count; i++) {
        if (t->open.items[i] != key)
            continue;
        if (!open)
            t->open.items[i] = t->open.items[--t->open.count];
        return NULL;
    }
    uint64_t *new = open ? ms_vector_add(&t->open) : NULL;
    if (new)
        *new = key;
    return open && !new ? ms_error_nomem("a view") : NULL;
}

/* Rows moved, so what is shown points to others: until it is arranged again, all is. */
static struct ms_error *show_all(struct tui_view *view)
{
    struct tui_table *t = view->table;
    uint32_t *shown = realloc(t->shown, (view->rows.list.count + 1) * sizeof *shown);
    if (!shown) {
        t->count = 0;
        return ms_error_nomem("a view");
    }
    t->shown = shown;
    t->count = view->rows.list.count;
    for (size_t i = 0; i < t->count; i++)
        shown[i] = (uint32_t)i;
    MS_TRY(tui_table_arrange(view));
    return NULL;
}

ms_result tui_table_toggle(struct tui_view *view)
{
    struct tui_table *t = view->table;
    const struct tui_row *row = tui_table_selected(view);
    if (!row || !row->opens)
        return NULL;
    size_t index = t->shown[t->selected];
    bool open = !row->open;
    t->key = row->key;
    MS_TRY(remember_open(t, row->key, open));
    if (open)
        MS_TRY(open_row(view, index));
    else
        close_row(view, index);
    return show_all(view);
}

/* A key opens one row: a thing that is below itself does not open without end. */
ms_result tui_table_refilled(struct tui_view *view)
{
    struct tui_table *t = view->table;
    size_t closed = t->open.count; /* keys before this have not been seen yet */
    for (size_t i = 0; closed > 0 && i < view->rows.list.count; i++) {
        const struct tui_row *row = &view->rows.list.items[i];
        for (size_t k = 0; row->opens && !row->open && k < closed; k++) {
            if (t->open.items[k] != row->key)
                continue;
            t->open.items[k] = t->open.items[--closed];
            t->open.items[closed] = row->key;
            MS_TRY(open_row(view, i));
            break;
        }
    }
    return show_all(view);
}

/* --- columns ----------------------------------------------------------------------------------- */

static int least_width(const struct tui_column *column)
{
    return column->width ? (int)column->width : column->least ? (int)column->least : LEAST_FLEXIBLE;
}

/* Columns of the terminal that those with SHOWN need. */
static int needed(const struct tui_view_kind *kind, const bool *shown)
{
    int sum = 0;
    for (unsigned i = 0; i < kind->column_count; i++)
        if (shown[i])
            sum += 1 + least_width(&kind->columns[i]);
    return sum - 1;
}

static void drop_light_columns(const struct tui_view_kind *kind, bool *shown, int width)
{
    while (needed(kind, shown) > width) {
        int lightest = -1;
        for (unsigned i = 0; i < kind->column_count; i++)
            if (shown[i] && kind->columns[i].weight &&
                (lightest < 0 || kind->columns[i].weight <= kind->columns[lightest].weight))
                lightest = (int)i;
        if (lightest < 0)
            return;
        shown[lightest] = false;
    }
}

/* The columns that fit WIDTH. */
static void lay_out(struct tui_view *view, int width)
{
    const struct tui_view_kind *kind = view->kind;
    bool shown[SPANS] = {0};
    for (unsigned i = 0; i < kind->column_count; i++)
        shown[i] = tui_column_used(view, i);
    drop_light_columns(kind, shown, width);
    int spare = width - needed(kind, shown), x = 0;
    for (unsigned i = 0; i < kind->column_count; i++) {
        struct tui_span *span = &view->table->spans[i];
        int wanted = least_width(&kind->columns[i]) + (kind->columns[i].width ? 0 : spare);
        *span = (struct tui_span){x, shown[i] && x < width ? wanted : 0};
        if (!kind->columns[i].width && span->width < LEAST_FLEXIBLE / 2 && shown[i])
            span->width = LEAST_FLEXIBLE / 2;
        if (span->width > width - x)
            span->width = width - x > 0 ? width - x : 0;
        if (shown[i])
            x += span->width + 1;
    }
}

/* --- drawing ----------------------------------------------------------------------------------- */

static void draw_titles(const struct tui_view *view, int y, int width, int mark)
{
    const struct tui_table *t = view->table;
    tui_draw_blank(y, 0, width, TUI_HEAD, false);
    for (unsigned i = 0; i < view->kind->column_count; i++) {
        const struct tui_column *column = &view->kind->columns[i];
        struct tui_cell cell;
        tui_clear(&cell);
        bool sorted = t->sort == (int)i;
        bool down = sorted && column->descending != t->reverse;
        tui_put(&cell, "%s", column->title);
        if (sorted && (int)strlen(column->title) < t->spans[i].width)
            tui_put(&cell, "%s", tui_glyph(down ? TUI_GLYPH_DOWN : TUI_GLYPH_UP));
        cell.style = TUI_HEAD;
        tui_draw_cell(y, t->spans[i].x, t->spans[i].width, &cell, column->right, mark == (int)i);
    }
}

/* The column that has the tree: the one that says so, else that takes what is left, else the first. */
static unsigned tree_column(const struct tui_view_kind *kind)
{
    for (unsigned i = 0; i < kind->column_count; i++)
        if (kind->columns[i].tree)
            return i;
    for (unsigned i = 0; i < kind->column_count; i++)
        if (!kind->columns[i].width)
            return i;
    return 0;
}

/* Indentation and marker; returns their width. */
static int draw_branch(const struct tui_row *row, int y, const struct tui_span *span, bool selected)
{
    int indent = (int)(row->depth > 20 ? 20 : row->depth) * INDENT;
    if (indent + INDENT > span->width / 2)
        indent = span->width / 2 - INDENT > 0 ? span->width / 2 - INDENT : 0;
    struct tui_cell cell;
    tui_clear(&cell);
    if (row->opens)
        tui_put(&cell, "%s", tui_glyph(row->open ? TUI_GLYPH_OPEN : TUI_GLYPH_CLOSED));
    tui_draw_blank(y, span->x, indent, TUI_PLAIN, selected);
    tui_draw_cell(y, span->x + indent, INDENT, &cell, false, selected);
    return indent + INDENT;
}

static void draw_row(const struct tui_view *view, const struct tui_row *row, int y, int width, bool selected)
{
    const struct tui_table *t = view->table;
    unsigned tree = view->kind->open ? tree_column(view->kind) : UINT32_MAX;
    tui_draw_blank(y, 0, width, TUI_PLAIN, selected);
    for (unsigned i = 0; i < view->kind->column_count; i++) {
        struct tui_span span = row->wide && i == 0 ? (struct tui_span){0, width} : t->spans[i];
        struct tui_cell cell;
        if (!span.width || (row->wide && i > 0))
            continue;
        tui_make_cell(view, row, i, &cell);
        if (row->heading && cell.style == TUI_PLAIN)
            cell.style = TUI_HEAD;
        int taken = i == tree && !row->heading ? draw_branch(row, y, &span, selected) : 0;
        tui_draw_cell(y, span.x + taken, span.width - taken, &cell, view->kind->columns[i].right, selected);
    }
}

static void scroll(struct tui_table *t)
{
    size_t page = t->page > 0 ? (size_t)t->page : 1;
    if (t->selected < t->top)
        t->top = t->selected;
    if (t->selected >= t->top + page)
        t->top = t->selected - page + 1;
    if (t->top + page > t->count)
        t->top = t->count > page ? t->count - page : 0;
}

void tui_table_draw(struct tui_view *view, int y, int height, int width, int mark)
{
    struct tui_table *t = view->table;
    lay_out(view, width);
    draw_titles(view, y, width, mark);
    t->rows_y = y + 1;
    t->page = height - 1;
    scroll(t);
    for (int i = 0; i < t->page && t->top + (size_t)i < t->count; i++) {
        size_t position = t->top + (size_t)i;
        const struct tui_row *row = &view->rows.list.items[t->shown[position]];
        draw_row(view, row, t->rows_y + i, width, position == t->selected && !row->heading);
    }
}
