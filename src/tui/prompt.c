/* A line that is typed: editing by whole characters, and showing the part around the cursor. */
#include "prompt.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "screen.h"

void tui_prompt_begin(struct tui_prompt *prompt, const char *label, const char *text)
{
    prompt->label = label;
    snprintf(prompt->text, sizeof prompt->text, "%s", text);
    prompt->cursor = strlen(prompt->text);
}

static bool continues(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static size_t before(const struct tui_prompt *p, size_t at)
{
    if (at == 0)
        return 0;
    at--;
    while (at > 0 && at < sizeof p->text && continues(p->text[at]))
        at--;
    return at;
}

static size_t after(const struct tui_prompt *p, size_t at)
{
    if (p->text[at])
        at++;
    while (continues(p->text[at]))
        at++;
    return at;
}

static bool remove_between(struct tui_prompt *p, size_t from, size_t to)
{
    memmove(p->text + from, p->text + to, strlen(p->text + to) + 1);
    p->cursor = from;
    return from != to;
}

static size_t word_start(const struct tui_prompt *p)
{
    size_t at = p->cursor;
    while (at > 0 && p->text[at - 1] == ' ')
        at--;
    while (at > 0 && p->text[at - 1] != ' ')
        at--;
    return at;
}

static bool insert(struct tui_prompt *p, int code)
{
    char text[MB_LEN_MAX + 1];
    if (code < ' ' || code >= TUI_CODE(0) || wcwidth((wchar_t)code) <= 0)
        return false;
    size_t length = wcrtomb(text, (wchar_t)code, &(mbstate_t){0});
    if (length == (size_t)-1 || strlen(p->text) + length + 1 > sizeof p->text)
        return false;
    memmove(p->text + p->cursor + length, p->text + p->cursor, strlen(p->text + p->cursor) + 1);
    memcpy(p->text + p->cursor, text, length);
    p->cursor += length;
    return true;
}

bool tui_prompt_edit(struct tui_prompt *p, enum tui_action action, int code)
{
    switch (action) {
    case TUI_DO_LEFT:
        p->cursor = before(p, p->cursor);
        return false;
    case TUI_DO_RIGHT:
        p->cursor = after(p, p->cursor);
        return false;
    case TUI_DO_LINE_START:
        p->cursor = 0;
        return false;
    case TUI_DO_LINE_END:
        p->cursor = strlen(p->text);
        return false;
    case TUI_DO_RUB_OUT:
        return remove_between(p, before(p, p->cursor), p->cursor);
    case TUI_DO_DELETE:
        return remove_between(p, p->cursor, after(p, p->cursor));
    case TUI_DO_RUB_OUT_WORD:
        return remove_between(p, word_start(p), p->cursor);
    case TUI_DO_RUB_OUT_LINE:
        return remove_between(p, 0, p->cursor);
    case TUI_DO_NOTHING:
        return insert(p, code);
    default:
        return false;
    }
}

/* Columns of the characters from FROM to TO. */
static int columns(const struct tui_prompt *p, size_t from, size_t to)
{
    int sum = 0;
    while (from < to) {
        wchar_t point;
        size_t length = mbrtowc(&point, p->text + from, to - from, &(mbstate_t){0});
        int width = length && length < (size_t)-2 ? wcwidth(point) : 0;
        sum += width > 0 ? width : 0;
        from += length && length < (size_t)-2 ? length : 1;
    }
    return sum;
}

void tui_prompt_draw(const struct tui_prompt *p, int y, int width)
{
    size_t from = 0;
    tui_draw_blank(y, 0, width, TUI_PLAIN, false);
    int x = tui_draw_text(y, 0, width / 2, p->label, TUI_HEAD);
    while (from < p->cursor && x + columns(p, from, p->cursor) >= width)
        from = after(p, from);
    tui_draw_text(y, x, width - x, p->text + from, TUI_PLAIN);
    tui_screen_cursor(y, x + columns(p, from, p->cursor));
}
