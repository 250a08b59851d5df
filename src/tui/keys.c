/* The one table of keys. A new key is one line here, and what it does one function of browser.c. */
#include "keys.h"

#include <curses.h>

#define K(key) TUI_CODE(KEY_##key)
#define F(number) TUI_CODE(KEY_F(number))
#define V TUI_IN_VIEW
#define P TUI_IN_PROMPT
#define S TUI_IN_SORT

const struct tui_key tui_keys[] = {
    {{F(1), '?'}, "F1 ?", "this help", "Help", "F1", TUI_DO_HELP, V},
    {{F(10), 'q', TUI_CONTROL('C')}, "F10 q", "leave", "Quit", "q", TUI_DO_QUIT, V},
    {{F(3), '/'}, "F3 /", "search in all columns", "Search", "/", TUI_DO_SEARCH, V},
    {{F(4), 'f', '\\'}, "F4 f \\", "filter: show only rows that hold a text", "Filter", "f", TUI_DO_FILTER, V},
    {{F(6), 's'}, "F6 s", "choose the column to sort by", "Sort", "s", TUI_DO_SORT, V},
    {{F(5), 'r'}, "F5 r", "take a new snapshot, and show what grew", "Refresh", "r", TUI_DO_SNAPSHOT, V},
    {{F(8), 'g'}, "F8 g", "go to an address", "Go to", "g", TUI_DO_GO, V},
    {{F(7), 'e'}, "F7 e", "export this view to a file: .json, or text", "Export", "e", TUI_DO_EXPORT, V},
    {{K(UP), 'k'}, "Up k", "up", NULL, NULL, TUI_DO_UP, V},
    {{K(DOWN), 'j'}, "Down j", "down", NULL, NULL, TUI_DO_DOWN, V},
    {{K(PPAGE), TUI_CONTROL('B')}, "PgUp ^B", "a page up", NULL, NULL, TUI_DO_PAGE_UP, V},
    {{K(NPAGE), TUI_CONTROL('F')}, "PgDn ^F", "a page down", NULL, NULL, TUI_DO_PAGE_DOWN, V},
    {{K(HOME), K(FIND)}, "Home", "to the first row", NULL, NULL, TUI_DO_HOME, V},
    {{K(END), K(SELECT), 'G'}, "End G", "to the last row", NULL, NULL, TUI_DO_END, V},
    {{'\r', '\n', K(ENTER)}, "Enter", "follow what is selected, or open or close it", NULL, NULL, TUI_DO_ENTER, V},
    {{K(RIGHT), 'l'}, "Right l", "open what is selected, or follow it", NULL, NULL, TUI_DO_OPEN, V},
    {{' ', '+', '-'}, "Space + -", "open and close a row of a tree", NULL, NULL, TUI_DO_TOGGLE, V},
    {{K(BACKSPACE), K(LEFT), 127, 8, 'h'}, "Backspace Left h", "back to where you came from", NULL, NULL,
     TUI_DO_BACK, V},
    {{'\t'}, "Tab", "next view; a digit: the view with that number", NULL, NULL, TUI_DO_NEXT_TAB, V},
    {{K(BTAB)}, "Shift-Tab", "view before", NULL, NULL, TUI_DO_PREVIOUS_TAB, V},
    {{'n'}, "n", "next row that was searched for", NULL, NULL, TUI_DO_NEXT, V},
    {{'N'}, "N", "row before that was searched for", NULL, NULL, TUI_DO_PREVIOUS, V},
    {{'I'}, "I", "reverse the order", NULL, NULL, TUI_DO_REVERSE, V},
    {{'y'}, "y", "copy the address to the clipboard", NULL, NULL, TUI_DO_COPY, V},
    {{TUI_CONTROL('Z')}, "^Z", "suspend", NULL, NULL, TUI_DO_SUSPEND, V | P | S},
    {{TUI_CONTROL('L')}, "^L", "draw the screen again", NULL, NULL, TUI_DO_REDRAW, V | P | S},
    {{TUI_ESCAPE}, "Esc", "drop filter and message; leave a prompt", NULL, NULL, TUI_DO_CANCEL, V},
    {{K(MOUSE)}, "mouse", "select, double click to follow, wheel, column titles to sort", NULL, NULL,
     TUI_DO_MOUSE, V | S},

    {{'\r', '\n', K(ENTER)}, "Enter", NULL, "Done", "Enter", TUI_DO_ACCEPT, P | S},
    {{TUI_ESCAPE, TUI_CONTROL('C')}, "Esc", NULL, "Cancel", "Esc", TUI_DO_CANCEL, P | S},
    {{K(LEFT), TUI_CONTROL('B')}, "Left", NULL, NULL, NULL, TUI_DO_LEFT, P | S},
    {{K(RIGHT), TUI_CONTROL('F')}, "Right", NULL, NULL, NULL, TUI_DO_RIGHT, P | S},
    {{K(UP), 'k', 'h'}, "Up", NULL, NULL, NULL, TUI_DO_LEFT, S},
    {{K(DOWN), 'j', 'l'}, "Down", NULL, NULL, NULL, TUI_DO_RIGHT, S},
    {{'\t', F(6), 's'}, "Tab", NULL, "Next", "Tab", TUI_DO_RIGHT, S},
    {{K(HOME), TUI_CONTROL('A')}, "Home", NULL, NULL, NULL, TUI_DO_LINE_START, P | S},
    {{K(END), TUI_CONTROL('E')}, "End", NULL, NULL, NULL, TUI_DO_LINE_END, P | S},
    {{K(BACKSPACE), 127, 8}, "Backspace", NULL, NULL, NULL, TUI_DO_RUB_OUT, P},
    {{K(DC), TUI_CONTROL('D')}, "Delete", NULL, NULL, NULL, TUI_DO_DELETE, P},
    {{TUI_CONTROL('W')}, "^W", NULL, NULL, NULL, TUI_DO_RUB_OUT_WORD, P},
    {{TUI_CONTROL('U')}, "^U", NULL, "Clear", "^U", TUI_DO_RUB_OUT_LINE, P},
};
const size_t tui_key_count = sizeof tui_keys / sizeof *tui_keys;

enum tui_action tui_action_of(int code, enum tui_context context)
{
    for (size_t i = 0; i < tui_key_count; i++) {
        if (!(tui_keys[i].contexts & context))
            continue;
        for (size_t k = 0; k < TUI_KEY_CODES && tui_keys[i].codes[k]; k++)
            if (tui_keys[i].codes[k] == code)
                return tui_keys[i].action;
    }
    return TUI_DO_NOTHING;
}
