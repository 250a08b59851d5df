/* Private to src/tui: the one table of keys, from which dispatch, help and function bar are made. */
#ifndef MS_TUI_KEYS_H
#define MS_TUI_KEYS_H

#include <stddef.h>

/* A key of curses, as opposed to a character. */
#define TUI_CODE(key) ((key) | 1 << 30)
#define TUI_CONTROL(letter) ((letter) & 31)
#define TUI_ESCAPE 27

/* What the keys go to. */
enum tui_context {
    TUI_IN_VIEW = 1,
    TUI_IN_PROMPT = 2,
    TUI_IN_SORT = 4, /* a column to sort by is being chosen */
};

enum tui_action {
    TUI_DO_HELP, TUI_DO_SEARCH, TUI_DO_FILTER, TUI_DO_SNAPSHOT, TUI_DO_SORT, TUI_DO_EXPORT, TUI_DO_GO, TUI_DO_QUIT,
    TUI_DO_UP, TUI_DO_DOWN, TUI_DO_PAGE_UP, TUI_DO_PAGE_DOWN, TUI_DO_HOME, TUI_DO_END,
    TUI_DO_ENTER, TUI_DO_OPEN, TUI_DO_TOGGLE, TUI_DO_BACK, TUI_DO_NEXT_TAB, TUI_DO_PREVIOUS_TAB,
    TUI_DO_NEXT, TUI_DO_PREVIOUS, TUI_DO_REVERSE, TUI_DO_COPY, TUI_DO_SUSPEND, TUI_DO_REDRAW, TUI_DO_MOUSE,
    TUI_DO_ACCEPT, TUI_DO_CANCEL, TUI_DO_LEFT, TUI_DO_RIGHT, TUI_DO_LINE_START, TUI_DO_LINE_END,
    TUI_DO_RUB_OUT, TUI_DO_DELETE, TUI_DO_RUB_OUT_WORD, TUI_DO_RUB_OUT_LINE,
    TUI_ACTIONS,
    TUI_DO_NOTHING = TUI_ACTIONS
};

#define TUI_KEY_CODES 5
struct tui_key {
    int codes[TUI_KEY_CODES]; /* 0: no more */
    const char *name;   /* for help */
    const char *help;   /* NULL: it is not in the help */
    const char *bar, *bar_name; /* in the function bar: what it does, its key; NULL: it is not there */
    enum tui_action action;
    unsigned contexts;  /* enum tui_context, or-ed */
};

extern const struct tui_key tui_keys[];
extern const size_t tui_key_count;

enum tui_action tui_action_of(int code, enum tui_context context);

#endif
