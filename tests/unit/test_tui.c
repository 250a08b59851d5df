/* Tests of the browser's parts: cells that are safe whatever is put into them, drawing by columns, tables, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curses.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wchar.h>
#include <wctype.h>

#include "memscope/output.h"
#include "tui/keys.h"
#include "tui/screen.h"
#include "tui/table.h"
#include "tui/view.h"

#define ROUNDS 20000

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Bytes such as targets have: noise, escape sequences, pieces of UTF-8, wide and combining characters. */
static size_t hostile(uint8_t *bytes, size_t most)
{
    static const char *const pieces[] = {
        "\033[2J", "\033]0;x\007", "\x9b" "31m", "\xc2\x9b", "\xe6\x97\xa5", "e\xcc\x81", "\xe2\x80\xae", "\xf0\x9f\x98\x80",
        "\xf0\x9f", "\xff", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\\", "\"", "plain", "\xe2\x80\x8b", "\xef\xb8\x8f", "\n",
    };
    size_t wanted = next_random() % most, size = 0;
    while (size < wanted) {
        const char *piece = pieces[next_random() % (sizeof pieces / sizeof *pieces)];
        if (next_random() % 2 || size + strlen(piece) > wanted) {
            bytes[size++] = (uint8_t)next_random();
        } else {
            memcpy(bytes + size, piece, strlen(piece));
            size += strlen(piece);
        }
    }
    return size;
}

/* Valid in the locale, every character takes a column or two: no control, nothing that joins or reorders. */
static void assert_harmless(const struct tui_cell *cell)
{
    const char *at = cell->text;
    size_t left = strlen(cell->text);
    assert_true(left <= cell->length && cell->length < sizeof cell->text);
    while (left > 0) {
        wchar_t point;
        size_t length = mbrtowc(&point, at, left, &(mbstate_t){0});
        assert_true(length > 0 && length <= left);
        assert_true(wcwidth(point) > 0 && !iswcntrl((wint_t)point));
        assert_false(point >= 0x202A && point <= 0x202E);
        assert_false(point >= 0x2066 && point <= 0x2069);
        at += length;
        left -= length;
    }
}

static void cells_are_harmless(void **unused)
{
    static const char *const locales[] = {"C.UTF-8", "C"};
    uint8_t bytes[2 * TUI_CELL_BYTES + 1];
    struct tui_cell cell;
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        assert_non_null(setlocale(LC_CTYPE, locales[i]));
        assert_int_equal(tui_utf8(), i == 0);
        for (int round = 0; round < ROUNDS; round++) {
            size_t size = hostile(bytes, sizeof bytes - 1);
            bytes[size] = 0;
            tui_clear(&cell);
            tui_put_bytes(&cell, bytes, size);
            assert_harmless(&cell);
            tui_put_name(&cell, (const char *)bytes); /* appends to what may be full */
            assert_harmless(&cell);
            tui_clear(&cell);
            tui_put(&cell, "%s", (const char *)bytes);
            assert_harmless(&cell);
        }
    }
    setlocale(LC_CTYPE, "C.UTF-8");
}

static const char *put_name(struct tui_cell *cell, const char *name)
{
    tui_clear(cell);
    tui_put_name(cell, name);
    return cell->text;
}

static void cells_show_what_can_be_shown(void **unused)
{
    struct tui_cell cell;
    (void)unused;
    assert_string_equal(put_name(&cell, "\xe6\x97\xa5 r\xc3\xa9"), "\xe6\x97\xa5 r\xc3\xa9");
    assert_string_equal(put_name(&cell, "\033[2J"), "\\x1b[2J");
    assert_string_equal(put_name(&cell, "\\x1b"), "\\\\x1b"); /* not to be taken for an escape */
    assert_string_equal(put_name(&cell, "e\xcc\x81"), "e\\u0301");
    assert_string_equal(put_name(&cell, "\xe2\x80\xae"), "\\u202e");
    tui_clear(&cell);
    tui_put_bytes(&cell, (const uint8_t *)"a\"\xff", 3);
    assert_string_equal(cell.text, "\"a\\\"\\xff\"");
    setlocale(LC_CTYPE, "C");
    assert_string_equal(put_name(&cell, "\xe6\x97\xa5"), "\\u65e5");
    tui_clear(&cell);
    tui_put(&cell, "a \xe2\x86\x92 b");
    assert_string_equal(cell.text, "a -> b");
    setlocale(LC_CTYPE, "C.UTF-8");
}

static void figures(void **unused)
{
    struct tui_cell cell;
    (void)unused;
    tui_clear(&cell);
    tui_put_delta(&cell, 0, true);
    assert_string_equal(cell.text, "");
    tui_put_delta(&cell, INT64_MIN, false);
    assert_string_equal(cell.text, "-9,223,372,036,854,775,808");
    tui_clear(&cell);
    tui_put_delta(&cell, 1536, true);
    assert_string_equal(cell.text, "+1.5 KiB");
}

/* --- drawing ----------------------------------------------------------------------------------- */

#define WIDTH 40

/* A screen in memory; what is drawn on it goes nowhere. */
static SCREEN *open_screen(void)
{
    SCREEN *screen = newterm("xterm", fopen("/dev/null", "w"), fopen("/dev/null", "r"));
    assert_non_null(screen);
    return screen;
}

/* Is all outside of the columns FROM … TO of the line still '.'? */
static void assert_untouched(int y, int from, int to)
{
    for (int x = 0; x < COLS; x++)
        if (x < from || x >= to)
            assert_int_equal(mvinch(y, x) & A_CHARTEXT, '.');
}

static void drawing_stays_in_its_columns(void **unused)
{
    uint8_t bytes[200];
    struct tui_cell cell;
    SCREEN *screen = open_screen();
    (void)unused;
    for (int round = 0; round < ROUNDS / 4; round++) {
        int x = 1 + (int)(next_random() % 30), width = (int)(next_random() % WIDTH);
        tui_clear(&cell);
        tui_put_bytes(&cell, bytes, hostile(bytes, sizeof bytes));
        for (int i = 0; i < COLS; i++)
            mvaddch(3, i, '.');
        tui_draw_cell(3, x, width, &cell, round % 2, round % 3);
        assert_untouched(3, x, x + width);
    }
    endwin();
    delscreen(screen);
}

static void wide_characters_are_not_halved(void **unused)
{
    struct tui_cell cell;
    SCREEN *screen = open_screen();
    (void)unused;
    tui_clear(&cell);
    tui_put_name(&cell, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"); /* six columns */
    for (int width = 0; width < 8; width++) {
        wchar_t line[WIDTH + 1];
        move(0, 0);
        clrtoeol();
        tui_draw_cell(0, 0, width, &cell, false, false);
        mvinnwstr(0, 0, line, WIDTH);
        assert_int_equal(wcsncmp(line, L"\u65e5\u672c\u8a9e", 3) == 0, width >= 6);
        assert_int_equal(wcschr(line, L'\u2026') != NULL, width > 0 && width < 6);
    }
    endwin();
    delscreen(screen);
}

/* --- tables against a model -------------------------------------------------------------------- */

#define NODES 120
#define NONE  (-1)

/* A node is item and key - 1; its parent has a lower number. */
struct node {
    int parent;
    bool open;
    double value; /* below 0: it has none */
    char name[24];
};

struct model {
    struct node nodes[NODES];
    bool backwards; /* siblings in their own order */
    int expected[NODES], count;
};

static struct model model;

static bool is_parent(int node)
{
    for (int i = node + 1; i < NODES; i++)
        if (model.nodes[i].parent == node)
            return true;
    return false;
}

static void make_model(void)
{
    memset(&model, 0, sizeof model);
    for (int i = 0; i < NODES; i++) {
        struct node *node = &model.nodes[i];
        node->parent = i < 10 || next_random() % 3 == 0 ? NONE : (int)(next_random() % (unsigned)i);
        node->value = next_random() % 10 == 0 ? -1 : (double)(next_random() % 20);
        snprintf(node->name, sizeof node->name, "%c%c%s%d", (int)('a' + next_random() % 4),
                 (int)('A' + next_random() % 3), next_random() % 2 ? "" : "longer than 8", (int)(next_random() % 9));
    }
}

static ms_result add_children(struct tui_rows *rows, int parent)
{
    for (int k = 0; k < NODES; k++) {
        int i = model.backwards ? NODES - 1 - k : k;
        if (model.nodes[i].parent == parent)
            MS_TRY(tui_add_row(rows, (struct tui_row){.key = (uint64_t)i + 1, .item = (uint64_t)i,
                                                      .opens = is_parent(i)}));
    }
    return NULL;
}

static struct ms_error *open_node(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    (void)view;
    return add_children(below, (int)row->item);
}

enum { VALUE, NAME };

static void node_cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    (void)view;
    if (column == VALUE)
        tui_put_count(cell, (uint64_t)(model.nodes[row->item].value + 100));
    else
        tui_put_name(cell, model.nodes[row->item].name);
}

static bool node_number(const struct tui_view *view, const struct tui_row *row, unsigned column, double *value)
{
    (void)view;
    *value = model.nodes[row->item].value;
    return column == VALUE && *value >= 0;
}

static const struct tui_column node_columns[] = {
    [VALUE] = {.title = "value", .width = 8, .right = true, .descending = true},
    [NAME] = {.title = "name"},
};
static const struct tui_view_kind node_kind = {
    .name = "nodes", .columns = node_columns, .column_count = 2, .sort = VALUE,
    .open = open_node, .cell = node_cell, .number = node_number,
};

/* Does `a` come before `b`, both children of one parent, in the table's order? 0: it does not matter to it. */
static int compare(const struct tui_table *t, int a, int b)
{
    const struct node *x = &model.nodes[a], *y = &model.nodes[b];
    if (t->sort == NAME)
        return strcasecmp(x->name, y->name) * (t->reverse ? -1 : 1);
    if (t->sort < 0 || (x->value < 0 && y->value < 0))
        return 0;
    if (x->value < 0 || y->value < 0)
        return x->value < 0 ? 1 : -1;
    return ((x->value > y->value) - (x->value < y->value)) * (t->reverse ? 1 : -1);
}

static bool node_matches(int node, const char *filter)
{
    char number[32];
    ms_count_text((uint64_t)(model.nodes[node].value + 100), number);
    return strcasestr(model.nodes[node].name, filter) || strcasestr(number, filter);
}

/* Insertion sort of the children, which keeps the order of equals; then each with what is open below it. */
static bool expect(const struct tui_table *t, int parent)
{
    int siblings[NODES], count = 0, from = model.count;
    for (int k = 0; k < NODES; k++) {
        int i = model.backwards ? NODES - 1 - k : k, at = count;
        if (model.nodes[i].parent != parent)
            continue;
        for (; at > 0 && compare(t, i, siblings[at - 1]) < 0; at--)
            siblings[at] = siblings[at - 1];
        siblings[at] = i;
        count++;
    }
    for (int i = 0; i < count; i++) {
        int place = model.count;
        model.expected[model.count++] = siblings[i];
        bool below = model.nodes[siblings[i]].open && is_parent(siblings[i]) && expect(t, siblings[i]);
        if (!below && *t->filter && !node_matches(siblings[i], t->filter))
            model.count = place;
    }
    return model.count > from;
}

static void settle(struct tui_view *view)
{
    struct ms_error *error = NULL;
    while (tui_table_work(view, UINT64_MAX, &error))
        assert_null(error);
    assert_null(error);
}

static void assert_as_model(struct tui_view *view)
{
    const struct tui_table *t = view->table;
    model.count = 0;
    expect(t, NONE);
    assert_int_equal(t->count, model.count);
    for (int i = 0; i < model.count; i++)
        assert_int_equal(view->rows.list.items[t->shown[i]].item, model.expected[i]);
}

static bool expected_has(uint64_t key)
{
    for (int i = 0; i < model.count; i++)
        if ((uint64_t)model.expected[i] + 1 == key)
            return true;
    return false;
}

static void refill(struct tui_view *view)
{
    view->rows.list.count = 0;
    assert_null(add_children(&view->rows, NONE));
    assert_null(tui_table_refilled(view));
}

/* One thing that a user does, or that happens to the rows. */
static void step(struct tui_view *view)
{
    static const char *const filters[] = {"", "", "a", "LONGER", "b7", "10", "nothing has this"};
    struct tui_table *t = view->table;
    const struct tui_row *row = tui_table_selected(view);
    switch (next_random() % 6) {
    case 0:
        if (row && row->opens)
            model.nodes[row->item].open = !model.nodes[row->item].open;
        assert_null(tui_table_toggle(view));
        break;
    case 1:
        tui_table_move(view, (long)(next_random() % 21) - 10);
        break;
    case 2:
        t->sort = (int)(next_random() % 3) - 1;
        assert_null(tui_table_arrange(view));
        break;
    case 3:
        t->reverse = !t->reverse && t->sort >= 0;
        assert_null(tui_table_arrange(view));
        break;
    case 4:
        strcpy(t->filter, filters[next_random() % (sizeof filters / sizeof *filters)]);
        assert_null(tui_table_arrange(view));
        break;
    default:
        model.backwards = !model.backwards;
        refill(view);
    }
}

static void free_view(struct tui_view *view)
{
    tui_table_free(view->table);
    ms_vector_free(&view->rows.list);
}

static void tables_are_as_the_model(void **unused)
{
    (void)unused;
    for (int round = 0; round < 60; round++) {
        struct tui_view view = {.kind = &node_kind};
        make_model();
        assert_null(tui_table_new(&node_kind, &view.table));
        refill(&view);
        settle(&view);
        for (int i = 0; i < 60; i++) {
            step(&view);
            uint64_t key = view.table->key;
            settle(&view);
            assert_as_model(&view);
            const struct tui_row *row = tui_table_selected(&view);
            assert_int_equal(row != NULL, view.table->count > 0);
            if (key && expected_has(key))
                assert_int_equal(row->key, key); /* what was selected still is, wherever it went */
        }
        free_view(&view);
    }
}

static void searching(void **unused)
{
    struct tui_view view = {.kind = &node_kind};
    (void)unused;
    make_model();
    assert_null(tui_table_new(&node_kind, &view.table));
    refill(&view);
    settle(&view);
    assert_as_model(&view);
    strcpy(view.table->needle, "LONGER");
    for (int turn = 0; turn < 2; turn++) {
        tui_table_select(&view, 0);
        for (int i = 0; i < 2 * model.count; i++) {
            size_t at = view.table->selected, count = view.table->count;
            do
                at = (at + (turn ? count - 1 : 1)) % count;
            while (!node_matches(model.expected[at], "longer"));
            tui_table_search(&view, turn == 1);
            settle(&view);
            assert_int_equal(view.table->selected, at);
        }
    }
    free_view(&view);
}

/* Work that is cut into pieces has the same end, and stops soon after each deadline. */
static void work_in_pieces(void **unused)
{
    struct tui_view view = {.kind = &node_kind};
    struct ms_error *error = NULL;
    unsigned pieces = 0;
    (void)unused;
    make_model();
    assert_null(tui_table_new(&node_kind, &view.table));
    for (unsigned i = 0; i < 100000; i++)
        assert_null(tui_add_row(&view.rows, (struct tui_row){.key = i + 1, .item = i % NODES}));
    strcpy(view.table->filter, "a");
    assert_null(tui_table_refilled(&view));
    while (tui_table_work(&view, tui_now() + 20000, &error))
        pieces++;
    assert_null(error);
    assert_true(pieces > 10);
    for (size_t i = 1; i < view.table->count; i++) {
        const struct tui_row *rows = view.rows.list.items;
        const uint32_t *shown = view.table->shown;
        assert_true(compare(view.table, (int)rows[shown[i - 1]].item, (int)rows[shown[i]].item) <= 0);
        assert_true(node_matches((int)rows[shown[i]].item, "a"));
    }
    free_view(&view);
}

/* Headings stay where they are, are never selected, and go with the last row under them. */
static void headings(void **unused)
{
    static const struct tui_row rows[] = {
        {.key = 201, .item = 0, .heading = true}, {.key = 1, .item = 0}, {.key = 2, .item = 1},
        {.key = 202, .item = 0, .heading = true}, {.key = 3, .item = 2}, {.key = 4, .item = 3},
    };
    static const uint64_t sorted[] = {201, 2, 1, 202, 4, 3}, filtered[] = {202, 4};
    struct tui_view view = {.kind = &node_kind};
    (void)unused;
    memset(&model, 0, sizeof model);
    for (int i = 0; i < 4; i++) {
        model.nodes[i].value = i;
        snprintf(model.nodes[i].name, sizeof model.nodes[i].name, "x%d", i);
    }
    assert_null(tui_table_new(&node_kind, &view.table));
    for (size_t i = 0; i < 6; i++)
        assert_null(tui_add_row(&view.rows, rows[i]));
    assert_null(tui_table_refilled(&view));
    settle(&view);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(view.rows.list.items[view.table->shown[i]].key, sorted[i]);
    assert_int_equal(view.table->selected, 1);
    tui_table_move(&view, 2);
    assert_int_equal(view.table->selected, 4);
    tui_table_move(&view, -1);
    assert_int_equal(view.table->selected, 2);
    strcpy(view.table->filter, "x3");
    assert_null(tui_table_arrange(&view));
    settle(&view);
    assert_int_equal(view.table->count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(view.rows.list.items[view.table->shown[i]].key, filtered[i]);
    free_view(&view);
}

/* --- keys -------------------------------------------------------------------------------------- */

/* A key means one thing in each place, and every key that can be pressed in a view is in the help. */
static void keys_are_unique(void **unused)
{
    (void)unused;
    for (size_t a = 0; a < tui_key_count; a++) {
        assert_true(tui_keys[a].codes[0] != 0 && tui_keys[a].name && tui_keys[a].action < TUI_ACTIONS);
        assert_true(tui_keys[a].help || !(tui_keys[a].contexts & TUI_IN_VIEW));
        for (size_t i = 0; i < TUI_KEY_CODES && tui_keys[a].codes[i]; i++) {
            assert_false(tui_keys[a].codes[i] >= '0' && tui_keys[a].codes[i] <= '9'); /* views have these */
            for (unsigned context = TUI_IN_VIEW; context <= TUI_IN_SORT; context <<= 1)
                if (tui_keys[a].contexts & context)
                    assert_int_equal(tui_action_of(tui_keys[a].codes[i], context), tui_keys[a].action);
        }
    }
}

static void actions_have_keys(void **unused)
{
    (void)unused;
    for (int action = 0; action < TUI_ACTIONS; action++) {
        size_t a = 0;
        while (a < tui_key_count && (int)tui_keys[a].action != action)
            a++;
        assert_true(a < tui_key_count);
    }
}

/* Tabs: numbers and names are unique, columns agree with themselves. */
static void views_are_consistent(void **unused)
{
    (void)unused;
    for (size_t i = 0; tui_kinds[i]; i++) {
        const struct tui_view_kind *kind = tui_kinds[i];
        unsigned flexible = 0;
        assert_true(kind->name && kind->fill && kind->cell && kind->empty && kind->column_count > 0);
        assert_true(kind->key == 0 || (kind->key >= '1' && kind->key <= '9'));
        assert_true(kind->sort < (int)kind->column_count);
        for (unsigned c = 0; c < kind->column_count; c++)
            flexible += kind->columns[c].width == 0;
        assert_int_equal(flexible, 1);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(tui_kinds[k]->name, kind->name);
            assert_true(kind->key == 0 || tui_kinds[k]->key != kind->key);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_harmless),
        cmocka_unit_test(cells_show_what_can_be_shown),
        cmocka_unit_test(figures),
        cmocka_unit_test(drawing_stays_in_its_columns),
        cmocka_unit_test(wide_characters_are_not_halved),
        cmocka_unit_test(tables_are_as_the_model),
        cmocka_unit_test(searching),
        cmocka_unit_test(work_in_pieces),
        cmocka_unit_test(headings),
        cmocka_unit_test(keys_are_unique),
        cmocka_unit_test(actions_have_keys),
        cmocka_unit_test(views_are_consistent),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests_name("tui", tests, NULL, NULL);
}
