/* Private to src/tui: the one widget, a list or tree with an order, a filter and a selection. */
#ifndef MS_TUI_TABLE_H
#define MS_TUI_TABLE_H

#include "view.h"

#define TUI_NEEDLE 128u

/* Long lists are filtered, sorted and searched a piece at a time, between keys; order.c. */
enum tui_phase {
    TUI_SETTLED,
    TUI_FILTERING,
    TUI_SORTING,   /* what is sorted by is fetched; the rest is fast */
};

/* What a row is sorted by. */
struct tui_sort_key {
    uint64_t rank; /* of a number itself, of a text its beginning */
    uint32_t row;
    uint32_t text; /* where it begins in texts */
};

struct tui_table {
    uint32_t *shown; /* rows that are shown, in their order */
    size_t count;
    size_t selected, top; /* of shown */
    uint64_t key;         /* of the selected row; 0: the user did not move yet */
    int sort;             /* column, -1: the rows' own order */
    bool reverse;
    char filter[TUI_NEEDLE], needle[TUI_NEEDLE];
    MS_VECTOR(uint64_t) open; /* keys of rows that are open */
    /* At work. */
    enum tui_phase phase;
    size_t at;
    uint32_t *next; /* what is going to be shown */
    size_t next_count;
    uint8_t *matches; /* a row each; NULL without a filter */
    struct tui_sort_key *keys;
    MS_VECTOR(char) texts;
    bool by_text;
    /* A search: where it goes on, how many rows are left, which way. */
    size_t search_at, search_left;
    bool search_back, search_found;
    /* As drawn last: where rows begin, and where columns are; for the mouse. */
    int rows_y, page;
    struct tui_span {
        int x, width; /* width 0: not shown */
    } spans[32];
};

ms_result tui_table_new(const struct tui_view_kind *kind, struct tui_table **table);
void tui_table_free(struct tui_table *table);

/* Rows were made anew: opens what was open, then as tui_table_arrange(). */
ms_result tui_table_refilled(struct tui_view *view);

/* Order or filter changed: what is shown is made anew, by tui_table_work(). */
ms_result tui_table_arrange(struct tui_view *view);

/* Goes on with filtering, sorting and searching until DEADLINE (tui_now()). True: there is more to do. */
bool tui_table_work(struct tui_view *view, uint64_t deadline, struct ms_error **error);

/* NULL: nothing is selected. */
const struct tui_row *tui_table_selected(const struct tui_view *view);
void tui_table_move(struct tui_view *view, long by);
void tui_table_select(struct tui_view *view, size_t position);
ms_result tui_table_toggle(struct tui_view *view);

/* Starts to look for the needle behind (before) the selected row. */
void tui_table_search(struct tui_view *view, bool back);

/* MARK: a column that is marked while one to sort by is chosen, or -1. */
void tui_table_draw(struct tui_view *view, int y, int height, int width, int mark);

/* A cell from its beginning. */
void tui_make_cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell);
bool tui_column_used(const struct tui_view *view, unsigned column);

uint64_t tui_now(void);

#endif
