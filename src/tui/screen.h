/* Private to src/tui: the terminal, which only screen.c talks to. */
#ifndef MS_TUI_SCREEN_H
#define MS_TUI_SCREEN_H

#include <stdbool.h>

#include "view.h"

/* Smaller ones show a line that says so. */
#define TUI_LEAST_WIDTH  40
#define TUI_LEAST_HEIGHT 10

/* Takes over the terminal; MS_USAGE when there is none that could be. */
ms_result tui_screen_open(bool color);
/* Gives it back as it was; safe to be called twice. */
void tui_screen_close(void);
/* Gives it back, stops this process (the whole job when ALL) and takes it over again when it goes on. */
void tui_screen_suspend(bool all);
/* Takes it over again after somebody else used it. */
void tui_screen_resume(void);

void tui_screen_size(int *width, int *height);
/* The terminal may have another size now. */
void tui_screen_resized(void);
void tui_screen_erase(void);
void tui_screen_update(void);
/* The cursor is shown there until the next update; negative: nowhere. */
void tui_screen_cursor(int y, int x);

/* A key as in keys.h, or -1 when there is none now; tui_screen_mouse() belongs to TUI_CODE(KEY_MOUSE). */
int tui_screen_key(void);
struct tui_mouse {
    int x, y;
    bool press, up, down; /* button 1, wheel */
};
bool tui_screen_mouse(struct tui_mouse *mouse);

/* Has the terminal put TEXT on the clipboard (OSC 52). TEXT is our own. */
void tui_screen_copy(const char *text);

/* Fills WIDTH columns. */
void tui_draw_blank(int y, int x, int width, enum tui_style style, bool selected);
/* At most WIDTH columns of a cell, cut with a mark; what is left is blank. RIGHT: it is at the right end. */
void tui_draw_cell(int y, int x, int width, const struct tui_cell *cell, bool right, bool selected);
/* TEXT is our own and ASCII, or comes from a cell. Returns its columns. */
int tui_draw_text(int y, int x, int width, const char *text, enum tui_style style);
void tui_draw_bar(int y, int x, int width, double share, enum tui_style style, bool selected);
/* Rules, markers: the same for terminals with and without UTF-8. */
enum tui_glyph { TUI_GLYPH_OPEN, TUI_GLYPH_CLOSED, TUI_GLYPH_UP, TUI_GLYPH_DOWN, TUI_GLYPH_CUT, TUI_GLYPHS };
const char *tui_glyph(enum tui_glyph glyph);

#endif
