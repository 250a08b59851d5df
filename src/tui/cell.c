/* Cells: the only writer of text that views show, so that nothing of a target reaches a terminal raw. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "memscope/output.h"
#include "memscope/units.h"
#include "view.h"

void tui_clear(struct tui_cell *cell)
{
    cell->text[0] = '\0';
    cell->length = 0;
    cell->style = TUI_PLAIN;
    cell->bar = -1;
    cell->map_count = 0;
}

/* All of TEXT or nothing; a cell that is full takes no more. */
static void append(struct tui_cell *cell, const char *text, size_t length)
{
    if (cell->length + length + 1 > sizeof cell->text) {
        cell->length = sizeof cell->text - 1; /* its text ended before */
        return;
    }
    memcpy(cell->text + cell->length, text, length);
    cell->length += length;
    cell->text[cell->length] = '\0';
}

/* What is our own in text that a terminal without UTF-8 cannot show. */
static const struct {
    uint32_t point;
    const char *ascii;
} own_ascii[] = {
    {0x0394, "d"}, {0x00B1, "+-"}, {0x00B7, "."}, {0x00D7, "x"}, {0x2013, "-"}, {0x2014, "-"}, {0x2022, "*"},
    {0x2026, "..."}, {0x2190, "<-"}, {0x2191, "^"}, {0x2192, "->"}, {0x2193, "v"}, {0x2500, "-"}, {0x2502, "|"},
    {0x2514, "`"}, {0x251C, "|"}, {0x2588, "#"}, {0x2591, "."}, {0x2592, ":"}, {0x2593, "%"}, {0x25A0, "#"},
    {0x25AA, "*"}, {0x25CF, "*"},
};

/* A character that stands for itself by the rules of all output, but which this terminal may not show. */
static void append_point(struct tui_cell *cell, const struct ms_escaped *escaped, bool ours)
{
    char text[MS_ESCAPED];
    bool shows = tui_utf8() && wcwidth((wchar_t)escaped->point) > 0;
    if (shows) {
        append(cell, escaped->text, strlen(escaped->text));
        return;
    }
    for (size_t i = 0; ours && i < sizeof own_ascii / sizeof *own_ascii; i++) {
        if (own_ascii[i].point == escaped->point) {
            append(cell, own_ascii[i].ascii, strlen(own_ascii[i].ascii));
            return;
        }
    }
    ms_escape_point(escaped->point, text);
    append(cell, text, strlen(text));
}

/* OURS: a backslash is one. */
static void append_safely(struct tui_cell *cell, const uint8_t *bytes, size_t size, bool quoted, bool ours)
{
    struct ms_escaped escaped;
    for (size_t i = 0; i < size && cell->length < sizeof cell->text - 1; i += escaped.taken) {
        if (bytes[i] >= ' ' && bytes[i] < 0x7F && ((bytes[i] != '\\' && bytes[i] != '"') || ours)) {
            append(cell, (const char *)bytes + i, 1);
            escaped.taken = 1;
            continue;
        }
        ms_escape(bytes + i, size - i, quoted, &escaped);
        if (escaped.point)
            append_point(cell, &escaped, ours);
        else
            append(cell, escaped.text, strlen(escaped.text));
    }
}

void tui_put(struct tui_cell *cell, const char *format, ...)
{
    char text[TUI_CELL_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        append_safely(cell, (const uint8_t *)text, strlen(text), false, true);
}

void tui_put_name(struct tui_cell *cell, const char *name)
{
    /* More than a cell takes need not be measured. */
    append_safely(cell, (const uint8_t *)name, strnlen(name, TUI_CELL_BYTES), false, false);
}

void tui_put_bytes(struct tui_cell *cell, const uint8_t *bytes, size_t size)
{
    append(cell, "\"", 1);
    append_safely(cell, bytes, size, true, false);
    append(cell, "\"", 1);
}

void tui_put_map(struct tui_cell *cell, enum tui_style style)
{
    static const char letters[TUI_STYLES] = {[TUI_LIVE] = 'L', [TUI_LEAKED] = '!', [TUI_FREE] = '.'};
    if (cell->map_count >= TUI_MAP_CELLS || cell->map_count != cell->length)
        return;
    cell->map[cell->map_count++] = (uint8_t)style;
    append(cell, letters[style] ? &letters[style] : "?", 1);
}

void tui_put_size(struct tui_cell *cell, uint64_t bytes)
{
    char text[16];
    ms_size_text(bytes, text);
    append(cell, text, strlen(text));
}

void tui_put_count(struct tui_cell *cell, uint64_t count)
{
    char text[32];
    ms_count_text(count, text);
    append(cell, text, strlen(text));
}

void tui_put_delta(struct tui_cell *cell, int64_t bytes, bool size)
{
    if (bytes == 0)
        return;
    uint64_t amount = bytes < 0 ? 0 - (uint64_t)bytes : (uint64_t)bytes;
    append(cell, bytes < 0 ? "-" : "+", 1);
    (size ? tui_put_size : tui_put_count)(cell, amount);
    cell->style = bytes < 0 ? TUI_GOOD : TUI_DOUBT;
}
