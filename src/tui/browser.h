/* Private to src/tui: all that is being browsed, and what draws it. */
#ifndef MS_TUI_BROWSER_H
#define MS_TUI_BROWSER_H

#include <stdio.h>

#include "keys.h"
#include "memscope/tui.h"
#include "prompt.h"
#include "screen.h"
#include "table.h"
#include "view.h"

/* Views that were left are kept, with their place; more than these are forgotten, the oldest first. */
#define TUI_VIEWS_KEPT 64u
#define TUI_HISTORY    256u

/* A view and what the browser knows of it. */
struct tui_page {
    struct tui_view view;
    bool stale;            /* to be filled before it is shown */
    unsigned stages_done;  /* when it was filled: bits */
    char *error;           /* why it could not be filled; owned */
    uint64_t used;         /* a clock of steps: which were left long ago */
};

/* The export of a view, which goes on between keys; export.c. */
struct tui_export {
    FILE *file; /* NULL: there is none */
    char path[TUI_LINE];
    struct tui_page *page;
    bool json;
    size_t at;
};

/* Where a click leads. */
struct tui_click {
    int y, x, width;
    int key;  /* as if it was typed */
};

struct tui_browser {
    const struct ms_tui_options *options;
    int signals; /* signalfd */
    struct ms_inspection *now;    /* that is browsed */
    struct ms_inspection *next;   /* a new snapshot that is being made; or NULL */
    struct ms_inspection *before; /* the snapshot before; or NULL */
    struct ms_facts before_facts;
    MS_VECTOR(struct tui_page *) pages;
    struct tui_page *history[TUI_HISTORY]; /* the last one is shown */
    size_t depth;
    uint64_t steps;
    bool quit, leaving;       /* leaving: when the target runs */
    bool suspending, suspend_all; /* as soon as the target runs; the whole job */
    bool changed, progressed; /* to be drawn: at once, soon */
    int signal;         /* that ended it, or 0 */
    bool target_gone;
    struct ms_error *error; /* that ended it */
    struct tui_prompt prompt;
    enum tui_action prompt_for;
    int sort_choice; /* column that is marked; -1: nothing is being chosen */
    struct tui_cell message;
    struct tui_export export;
    MS_VECTOR(struct tui_click) clicks; /* as drawn last */
    uint64_t clicked_ns; /* the last click on a row, and which */
    size_t clicked;
    unsigned spin;
};

struct tui_page *tui_current(const struct tui_browser *b);
struct tui_view *tui_current_view(const struct tui_browser *b);

/* --- history.c */
void tui_go(struct tui_browser *b, struct tui_place place);
bool tui_back(struct tui_browser *b);
/* Fills the shown view when that is due. */
void tui_freshen(struct tui_browser *b);
void tui_all_stale(struct tui_browser *b);
/* Lets go of all that views have of the snapshot. */
void tui_release_pages(struct tui_browser *b);
void tui_free_pages(struct tui_browser *b);
bool tui_busy(struct ms_inspection *inspection);

/* --- chrome.c */
void tui_draw(struct tui_browser *b);

/* --- export.c: of the shown view to PATH */
ms_result tui_export_begin(struct tui_browser *b, const char *path);
ms_result tui_export_work(struct tui_browser *b, uint64_t deadline);
/* What was begun is not left behind. */
void tui_export_drop(struct tui_browser *b);

/* --- help.c */
extern const struct tui_view_kind tui_help;

#define tui_say(b, ...) (tui_clear(&(b)->message), tui_put(&(b)->message, __VA_ARGS__), (b)->changed = true)

#endif
