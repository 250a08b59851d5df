/* What a view is: columns, rows and where they lead. The browser does the rest: drawing, moving, sorting, searching. */
#ifndef MS_TUI_VIEW_H
#define MS_TUI_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/inspection.h"

/* Colours by what they mean; screen.c has them for 256 and 8 colours and for none, in one table. */
enum tui_style {
    TUI_PLAIN,
    TUI_HEAD,     /* titles of columns, headings */
    TUI_DIM,
    TUI_GOOD,
    TUI_BAD,
    TUI_DOUBT,
    TUI_LINK,     /* Enter leads somewhere */
    TUI_LIVE,     /* in maps of heaps */
    TUI_FREE,
    TUI_LEAKED,
    /* Of the browser itself. */
    TUI_TITLE,    /* the first line */
    TUI_TAB,
    TUI_TAB_ON,   /* of the view that is shown */
    TUI_KEY,      /* names of keys */
    TUI_STYLES
};

/* --- cells: text that is safe for a terminal --------------------------------------------------- */

#define TUI_CELL_BYTES 512u
#define TUI_MAP_CELLS 64u

struct tui_cell {
    char text[TUI_CELL_BYTES]; /* UTF-8, printable; only cell.c writes it */
    size_t length;
    enum tui_style style;
    double bar;  /* 0 … 1: a bar of this share is drawn in the column instead of text; negative: none */
    uint8_t map[TUI_MAP_CELLS]; /* enum tui_style of the first characters, when they are a map */
    unsigned map_count;         /* of these; 0: it is none */
};

void tui_clear(struct tui_cell *cell); /* empty, plain, no bar; the browser's calls begin with that */
bool tui_utf8(void); /* does the terminal show more than ASCII? */

/* Each appends. What comes from the target (names, types, content) must come by tui_put_name or tui_put_bytes. */
void tui_put(struct tui_cell *cell, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tui_put_name(struct tui_cell *cell, const char *name);                      /* escaped as in reports */
void tui_put_bytes(struct tui_cell *cell, const uint8_t *bytes, size_t size);    /* quoted and escaped */
void tui_put_size(struct tui_cell *cell, uint64_t bytes);                        /* "1.2 MiB" */
void tui_put_count(struct tui_cell *cell, uint64_t count);                       /* "1,234" */
void tui_put_map(struct tui_cell *cell, enum tui_style style);                   /* one character of a map */
void tui_put_delta(struct tui_cell *cell, int64_t bytes, bool size);             /* "+1.2 MiB", "" for none; styled */

/* --- columns and rows -------------------------------------------------------------------------- */

struct tui_column {
    const char *title;
    unsigned width;   /* of the terminal; 0: takes what is left (one a view) */
    bool right;       /* figures */
    bool descending;  /* sorted by, the biggest first */
    bool fixed;       /* not to be sorted by */
    bool delta;       /* only shown when there is an earlier snapshot */
    bool tree;        /* rows are indented here; in no column: where width is 0 */
    unsigned least;   /* of a column without width: what it gets before others go; 0: a usual amount */
    unsigned weight;  /* in a narrow terminal those with the least go first; 0 means never */
};

struct tui_row {
    uint64_t key;     /* of the same thing in another snapshot or order: keeps the selection; not 0 */
    uint64_t item;    /* the view's own: index, address … */
    unsigned depth;   /* in a tree */
    bool opens;       /* has rows below it, which tui_view_kind.open makes */
    bool open;        /* they are there */
    bool heading;     /* cannot be selected */
    bool wide;        /* its first column takes the whole line, there are no others */
};

struct tui_rows {
    MS_VECTOR(struct tui_row) list;
};

struct tui_view;

/* Where one goes to: a view, and what it is opened for (an address, 0 for the view as such). */
struct tui_place {
    const struct tui_view_kind *kind;
    uint64_t subject;
};

/* What a view asks for piece by piece, as rows are opened, one question after another. */
struct tui_answer {
    uint64_t id;
    bool done;
    void *content; /* owned; NULL: not done, or failed */
    char *error;   /* why; owned */
};

struct tui_inquiry; /* what is asked just now; answers.c */

struct tui_answers {
    MS_VECTOR(struct tui_answer) list; /* never gets shorter while the snapshot is the same */
    struct tui_inquiry *asked;
    const void *snapshot, *knowledge; /* that they are of */
};

struct tui_view_kind {
    const char *name;   /* in the tab bar, in exports: "leaks" */
    char key;           /* '1' …; 0: only reached from others (Block) */
    const char *empty;  /* said when there are no rows */
    /* Until it is done its progress is shown; when it failed, why. MS_STAGES: it needs none. */
    enum ms_stage stage;
    const struct tui_column *columns;
    unsigned column_count;
    int sort;           /* column that rows are sorted by at first; -1: their own order, and no sorting */

    size_t state_size;            /* of the view's STATE, which begins as zeroes; 0: it has none */
    void (*release)(void *state); /* frees what STATE owns; NULL: nothing */
    /* By the inspection's thread: makes the answer for ID, which is the view's. NULL: tui_want() is not used. */
    struct ms_error *(*answer)(const struct ms_facts *facts, uint64_t id, void **content);
    void (*free_answer)(void *content);
    /*
     * Fills view->rows from view->facts: when the view is shown first, and again when a stage that it needs was
     * done, a question was answered, or a new snapshot came. Fast: it runs between two keys; what takes longer
     * is a question.
     */
    struct ms_error *(*fill)(struct tui_view *view);
    /* Rows below ROW of a tree, inserted behind it by the browser; they have depth + 1. */
    struct ms_error *(*open)(struct tui_view *view, const struct tui_row *row, struct tui_rows *below);
    void (*cell)(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell);
    /* What is sorted by; NULL, or without a number for the column: by its text. */
    bool (*number)(const struct tui_view *view, const struct tui_row *row, unsigned column, double *value);
    /* Lines above the table (the verdict first); false when there is no line with this number. */
    bool (*headline)(const struct tui_view *view, unsigned line, struct tui_cell *cell);
    /* Where Enter leads; false: nowhere (a row that opens is opened). */
    bool (*enter)(const struct tui_view *view, const struct tui_row *row, struct tui_place *to);
    /* The address that `y` copies and `g` begins with; 0: none. */
    uint64_t (*address)(const struct tui_view *view, const struct tui_row *row);
};

struct tui_view {
    const struct tui_view_kind *kind;
    uint64_t subject;
    struct ms_inspection *inspection;
    struct ms_facts facts;        /* as of the last fill */
    const struct ms_facts *before; /* reports of the snapshot before, for deltas; NULL: there is none */
    unsigned width;               /* of the terminal, for maps */
    struct tui_rows rows;         /* empty before each fill */
    /* These two are made for each snapshot anew, so they may keep what is in facts. */
    void *state; /* the view's own */
    struct tui_answers answers;
    /* The browser's. */
    struct tui_table *table;      /* selection, scrolling, order, filter; table.c */
    struct ms_question *question; /* tui_ask(); or NULL */
    bool answer_seen;             /* it was filled with the answer */
};

/* All kinds, in the order of the tab bar, then NULL; views.c. A new view is one file and one line there. */
extern const struct tui_view_kind *const tui_kinds[];
extern const struct tui_view_kind tui_overview, tui_leaks, tui_types, tui_retainers, tui_arenas, tui_map,
    tui_threads, tui_goroutines, tui_block; /* tui_block: where addresses lead */

/* Adds a row to view->rows; an error without memory. */
ms_result tui_add_row(struct tui_rows *rows, struct tui_row row);

/*
 * First in fill() of a view that has answers: takes what was answered and asks for what is still wanted, the
 * latest first. A new snapshot, or knowledge of types that was not there before, makes it forget all; true in
 * FORGOTTEN (may be NULL).
 */
ms_result tui_answers_fill(struct tui_view *view, bool *forgotten);
/* The index in view->answers of the answer for ID: perhaps it is only asked for now. */
ms_result tui_want(struct tui_view *view, uint64_t id, size_t *index);
void tui_answers_free(struct tui_view *view);

/*
 * Asks the view's inspection; when it is answered the view is filled again. One question a view at a time:
 * another one takes its place. As ms_inspection_ask().
 */
ms_result tui_ask(struct tui_view *view, ms_answer *answer, void *context, void (*release)(void *context));
bool tui_answered(const struct tui_view *view, const char **error);

#endif
