/* The terminal by curses: its life and its death, colours, and drawing text that is cut by columns. */
#include "screen.h"

#include <curses.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "keys.h"

/*
 * Curses itself is one screen a program, and a signal handler has no context: so this is global.
 */
static struct {
    SCREEN *screen;
    struct termios before; /* the terminal's modes when we came */
    char restore[256];     /* what a terminal must get when we die; made beforehand for signal handlers */
    size_t restore_length;
    char stack[16384];     /* of the signal handler */
    int cursor_y, cursor_x;
    int colors;
} own;

/* --- styles ------------------------------------------------------------------------------------ */

/*
 * One line a style: foreground and background of 256 colours, of 8, and attributes without any. -1 is the
 * terminal's own. The hues are of Okabe and Ito's palette for all kinds of colour vision: blue, vermilion,
 * orange; never red against green.
 */
static const struct {
    short fore, back;
    short fore8, back8;
    attr_t attributes; /* with colours */
    attr_t mono;       /* without */
} styles[TUI_STYLES] = {
    [TUI_PLAIN] = {-1, -1, -1, -1, A_NORMAL, A_NORMAL},
    [TUI_HEAD] = {-1, -1, -1, -1, A_BOLD, A_BOLD},
    [TUI_DIM] = {244, -1, -1, -1, A_NORMAL, A_DIM},
    [TUI_GOOD] = {36, -1, COLOR_CYAN, -1, A_NORMAL, A_NORMAL},
    [TUI_BAD] = {202, -1, COLOR_RED, -1, A_BOLD, A_BOLD},
    [TUI_DOUBT] = {214, -1, COLOR_YELLOW, -1, A_NORMAL, A_UNDERLINE},
    [TUI_LINK] = {74, -1, COLOR_CYAN, -1, A_NORMAL, A_NORMAL},
    [TUI_LIVE] = {32, -1, COLOR_BLUE, -1, A_NORMAL, A_NORMAL},
    [TUI_FREE] = {244, -1, COLOR_WHITE, -1, A_NORMAL, A_DIM},
    [TUI_LEAKED] = {202, -1, COLOR_RED, -1, A_BOLD, A_BOLD},
    [TUI_TITLE] = {255, 24, COLOR_WHITE, COLOR_BLUE, A_NORMAL, A_REVERSE},
    [TUI_TAB] = {250, 236, -1, -1, A_NORMAL, A_NORMAL},
    [TUI_TAB_ON] = {16, 74, COLOR_BLACK, COLOR_CYAN, A_NORMAL, A_REVERSE | A_BOLD},
    [TUI_KEY] = {16, 250, COLOR_BLACK, COLOR_WHITE, A_NORMAL, A_REVERSE},
};

static void make_pairs(bool color)
{
    own.colors = 0;
    if (!color || start_color() == ERR || COLORS < 8 || COLOR_PAIRS <= TUI_STYLES)
        return;
    /* What cannot have the terminal's own colours gets the usual ones. */
    short none_fore = COLOR_WHITE, none_back = COLOR_BLACK;
    if (use_default_colors() == OK)
        none_fore = none_back = -1;
    own.colors = COLORS >= 256 ? 256 : 8;
    for (int i = 0; i < TUI_STYLES; i++) {
        short fore = own.colors == 256 ? styles[i].fore : styles[i].fore8;
        short back = own.colors == 256 ? styles[i].back : styles[i].back8;
        init_pair((short)(i + 1), fore < 0 ? none_fore : fore, back < 0 ? none_back : back);
    }
}

static attr_t attributes(enum tui_style style, bool selected)
{
    attr_t attr = own.colors ? styles[style].attributes | (attr_t)COLOR_PAIR(style + 1) : styles[style].mono;
    return selected ? attr ^ A_REVERSE : attr;
}

/* --- life -------------------------------------------------------------------------------------- */

static void append_restore(const char *text)
{
    if (!text || text == (char *)-1) /* tigetstr(): absent, or no string */
        return;
    size_t length = strlen(text);
    if (own.restore_length + length > sizeof own.restore)
        return;
    memcpy(own.restore + own.restore_length, text, length);
    own.restore_length += length;
}

/* In the order in which endwin() does it. */
static void make_restore(void)
{
    static const char *const names[] = {"sgr0", "op", "cnorm", "rmkx", "rmcup"};
    own.restore_length = 0;
    append_restore("\033[?1006l\033[?1000l"); /* the mouse, as xterm has it; others do not know it */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        append_restore(tigetstr(names[i]));
}

/* Only what is allowed in a signal handler. */
static void die(int number)
{
    ssize_t ignored = write(STDOUT_FILENO, own.restore, own.restore_length);
    (void)ignored;
    tcsetattr(STDIN_FILENO, TCSANOW, &own.before);
    raise(number); /* by SA_RESETHAND and SA_NODEFER that is the end */
}

static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};

/* On a stack of its own, for it may be the stack that ended. */
static void catch_deadly(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};
    const stack_t stack = {.ss_sp = own.stack, .ss_size = sizeof own.stack};
    sigaltstack(&stack, NULL);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        sigaction(deadly[i], &action, NULL);
}

static ms_result no_terminal(const char *why)
{
    return ms_error(MS_USAGE, "%s; `memscope leaks' gives a report without one", why);
}

static ms_result check_terminal(void)
{
    int known;
    const char *term = getenv("TERM");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return no_terminal("attach needs a terminal, for input and output");
    if (!term || !*term || strcmp(term, "dumb") == 0)
        return no_terminal("attach needs a terminal that can move its cursor (see TERM)");
    if (setupterm(NULL, STDOUT_FILENO, &known) == ERR) {
        (void)del_curterm(cur_term);
        return no_terminal("attach does not know this kind of terminal (see TERM)");
    }
    const char *move = tigetstr("cup");
    bool moves = move && move != (char *)-1;
    (void)del_curterm(cur_term);
    return moves ? NULL : no_terminal("attach needs a terminal that can move its cursor (see TERM)");
}

/*
 * Keys as terminals of VT220's line, xterm in both its modes, Linux and tmux send them, whatever TERM says: what
 * curses does not know would come as its single characters, and their digits lead to other views.
 */
static void define_common_keys(void)
{
    static const struct {
        const char *sequence;
        int key;
    } common[] = {
        {"\033[A", KEY_UP},     {"\033[B", KEY_DOWN},   {"\033[C", KEY_RIGHT},  {"\033[D", KEY_LEFT},
        {"\033OA", KEY_UP},     {"\033OB", KEY_DOWN},   {"\033OC", KEY_RIGHT},  {"\033OD", KEY_LEFT},
        {"\033[H", KEY_HOME},   {"\033OH", KEY_HOME},   {"\033[1~", KEY_HOME},  {"\033[7~", KEY_HOME},
        {"\033[F", KEY_END},    {"\033OF", KEY_END},    {"\033[4~", KEY_END},   {"\033[8~", KEY_END},
        {"\033[3~", KEY_DC},    {"\033[5~", KEY_PPAGE}, {"\033[6~", KEY_NPAGE}, {"\033[Z", KEY_BTAB},
        {"\033OP", KEY_F(1)},   {"\033OQ", KEY_F(2)},   {"\033OR", KEY_F(3)},   {"\033OS", KEY_F(4)},
        {"\033[15~", KEY_F(5)}, {"\033[17~", KEY_F(6)}, {"\033[18~", KEY_F(7)}, {"\033[19~", KEY_F(8)},
        {"\033[20~", KEY_F(9)}, {"\033[21~", KEY_F(10)},
    };
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (key_defined(common[i].sequence) == 0)
            define_key(common[i].sequence, common[i].key);
}

ms_result tui_screen_open(bool color)
{
    setlocale(LC_CTYPE, "");
    MS_TRY(check_terminal());
    tcgetattr(STDIN_FILENO, &own.before);
    own.screen = newterm(NULL, stdout, stdin);
    if (!own.screen)
        return no_terminal("this terminal cannot be used");
    make_restore();
    catch_deadly(die);
    raw();
    noecho();
    nonl();
    nodelay(stdscr, TRUE);
    keypad(stdscr, TRUE);
    define_common_keys();
    intrflush(stdscr, FALSE);
    set_escdelay(40);
    mouseinterval(0);
    mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
    make_pairs(color);
    curs_set(0);
    own.cursor_y = -1;
    return NULL;
}

void tui_screen_close(void)
{
    if (!own.screen)
        return;
    endwin();
    tcsetattr(STDIN_FILENO, TCSANOW, &own.before);
    catch_deadly(SIG_DFL);
    delscreen(own.screen);
    own.screen = NULL;
}

void tui_screen_resume(void)
{
    endwin(); /* so that refresh() sets all modes anew */
    tui_screen_resized();
    clearok(curscr, TRUE);
    refresh();
    curs_set(own.cursor_y >= 0);
}

void tui_screen_suspend(bool all)
{
    sigset_t stop, old;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    endwin();
    tcsetattr(STDIN_FILENO, TCSANOW, &own.before);
    signal(SIGTSTP, SIG_DFL);
    kill(all ? 0 : getpid(), SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &stop, &old); /* here we stop */
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    tui_screen_resume();
}

void tui_screen_size(int *width, int *height)
{
    *width = COLS;
    *height = LINES;
}

void tui_screen_resized(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
        resizeterm(size.ws_row, size.ws_col);
}

void tui_screen_erase(void)
{
    own.cursor_y = -1;
    erase();
}

void tui_screen_update(void)
{
    curs_set(own.cursor_y >= 0);
    if (own.cursor_y >= 0)
        move(own.cursor_y, own.cursor_x);
    refresh();
}

void tui_screen_cursor(int y, int x)
{
    own.cursor_y = y;
    own.cursor_x = x;
}

/* --- input ------------------------------------------------------------------------------------- */

int tui_screen_key(void)
{
    wint_t key;
    int kind = get_wch(&key);
    if (kind == ERR)
        return -1;
    return kind == KEY_CODE_YES ? TUI_CODE((int)key) : (int)key;
}

bool tui_screen_mouse(struct tui_mouse *mouse)
{
    MEVENT event;
    if (getmouse(&event) != OK)
        return false;
    *mouse = (struct tui_mouse){
        .x = event.x, .y = event.y, .press = event.bstate & BUTTON1_PRESSED,
        .up = event.bstate & BUTTON4_PRESSED, .down = event.bstate & BUTTON5_PRESSED,
    };
    return mouse->press || mouse->up || mouse->down;
}

/* RFC 4648. */
static void put_base64(FILE *out, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t left = strlen(text); left > 0;) {
        unsigned n = left < 3 ? (unsigned)left : 3;
        uint32_t bits = 0;
        for (unsigned i = 0; i < 3; i++)
            bits = bits << 8 | (i < n ? (unsigned char)text[i] : 0);
        for (unsigned i = 0; i < 4; i++)
            putc(i <= n ? digits[bits >> (18 - 6 * i) & 63] : '=', out);
        text += n;
        left -= n;
    }
}

void tui_screen_copy(const char *text)
{
    fputs("\033]52;c;", stdout);
    put_base64(stdout, text);
    fputs("\a", stdout);
    fflush(stdout);
}

/* --- drawing ----------------------------------------------------------------------------------- */

bool tui_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

const char *tui_glyph(enum tui_glyph glyph)
{
    static const char *const glyphs[TUI_GLYPHS][2] = {
        [TUI_GLYPH_OPEN] = {"-", "▾"}, [TUI_GLYPH_CLOSED] = {"+", "▸"}, [TUI_GLYPH_UP] = {"^", "▲"},
        [TUI_GLYPH_DOWN] = {"v", "▼"}, [TUI_GLYPH_CUT] = {"~", "…"},
    };
    return glyphs[glyph][tui_utf8()];
}

/* Bytes of TEXT that take at most WIDTH columns, whole characters only; USED gets the columns. */
static size_t fitting(const char *text, int width, int *used)
{
    size_t at = 0, left = strlen(text);
    *used = 0;
    while (at < left) {
        wchar_t point;
        size_t length = mbrtowc(&point, text + at, left - at, &(mbstate_t){0});
        int taken = length && length < (size_t)-2 ? wcwidth(point) : -1;
        if (taken < 0 || *used + taken > width)
            break;
        *used += taken;
        at += length;
    }
    return at;
}

void tui_draw_blank(int y, int x, int width, enum tui_style style, bool selected)
{
    attrset((int)attributes(style, selected));
    for (int i = 0; i < width; i++)
        mvaddch(y, x + i, ' ');
}

static int draw(int y, int x, int width, const char *text, enum tui_style style, bool selected)
{
    int used;
    if (width <= 0)
        return 0;
    size_t bytes = fitting(text, width, &used);
    bool cut = text[bytes] != '\0';
    if (cut)
        bytes = fitting(text, width - 1, &used);
    attrset((int)attributes(style, selected));
    mvaddnstr(y, x, text, (int)bytes);
    if (cut)
        mvaddstr(y, x + used++, tui_glyph(TUI_GLYPH_CUT));
    return used;
}

int tui_draw_text(int y, int x, int width, const char *text, enum tui_style style)
{
    return draw(y, x, width, text, style, false);
}

void tui_draw_bar(int y, int x, int width, double share, enum tui_style style, bool selected)
{
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    if (!(share > 0))
        share = 0;
    if (share > 1)
        share = 1;
    int units = (int)(share * width * 8 + 0.5);
    if (units == 0 && share > 0)
        units = 1;
    tui_draw_blank(y, x, width, TUI_PLAIN, selected);
    attrset((int)attributes(style, selected));
    for (int i = 0; i < width && units > 0; i++, units -= 8) {
        if (tui_utf8())
            mvaddstr(y, x + i, eighths[units > 8 ? 8 : units]);
        else
            mvaddch(y, x + i, units >= 4 || i == 0 ? '#' : ' ');
    }
}

/* Over the letters, where the terminal can do better. */
static void draw_map(int y, int x, int width, const struct tui_cell *cell, bool selected)
{
    for (int i = 0; own.colors && i < width && i < (int)cell->map_count; i++) {
        const enum tui_style style = (enum tui_style)cell->map[i];
        attrset((int)attributes(style, selected));
        if (tui_utf8() && style != TUI_DIM)
            mvaddstr(y, x + i, style == TUI_LEAKED ? "▓" : style == TUI_FREE ? "░" : "█");
        else
            mvaddch(y, x + i, (unsigned char)cell->text[i]);
    }
}

void tui_draw_cell(int y, int x, int width, const struct tui_cell *cell, bool right, bool selected)
{
    int used;
    if (width <= 0)
        return;
    if (cell->bar >= 0) {
        tui_draw_bar(y, x, width, cell->bar, cell->style, selected);
        return;
    }
    tui_draw_blank(y, x, width, TUI_PLAIN, selected);
    bool whole = cell->text[fitting(cell->text, width, &used)] == '\0';
    x = right && whole ? x + width - used : x;
    draw(y, x, whole ? used : width, cell->text, cell->style, selected);
    draw_map(y, x, width, cell, selected);
}
