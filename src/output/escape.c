/* Escaping: no byte of the target reaches a terminal raw. */
#include "escape.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

/* Code points, inclusive. */
struct range {
    uint32_t first, last;
};

/*
 * Valid, yet never shown as they are: controls, what is invisible, what changes
 * the order of others. From Unicode 15: categories Cc, Cf, Cs, Co, Zl, Zp, Zs but
 * the space, and Default_Ignorable_Code_Point. Sorted.
 */
static const struct range hidden[] = {
    {0x0000, 0x001F},    /* C0 */
    {0x007F, 0x009F},    /* DEL and C1 */
    {0x00A0, 0x00A0},    /* no-break space */
    {0x00AD, 0x00AD},    /* soft hyphen */
    {0x034F, 0x034F},    /* combining grapheme joiner */
    {0x0600, 0x0605},    /* Arabic number signs */
    {0x061C, 0x061C},    /* Arabic letter mark: bidi */
    {0x06DD, 0x06DD},
    {0x070F, 0x070F},
    {0x0890, 0x0891},
    {0x08E2, 0x08E2},
    {0x115F, 0x1160},    /* Hangul fillers */
    {0x1680, 0x1680},    /* Ogham space */
    {0x17B4, 0x17B5},    /* Khmer inherent vowels */
    {0x180B, 0x180F},    /* Mongolian selectors */
    {0x2000, 0x200F},    /* spaces, zero width, bidi marks */
    {0x2028, 0x202F},    /* separators, bidi embeddings and overrides */
    {0x205F, 0x206F},    /* word joiner, bidi isolates */
    {0x2800, 0x2800},    /* empty Braille pattern */
    {0x3000, 0x3000},    /* ideographic space */
    {0x3164, 0x3164},    /* Hangul filler */
    {0xE000, 0xF8FF},    /* private use */
    {0xFDD0, 0xFDEF},    /* no characters */
    {0xFE00, 0xFE0F},    /* variation selectors */
    {0xFEFF, 0xFEFF},    /* byte order mark */
    {0xFFA0, 0xFFA0},    /* Hangul filler */
    {0xFFF0, 0xFFFF},    /* specials */
    {0x110BD, 0x110BD},
    {0x110CD, 0x110CD},
    {0x13430, 0x1343F},  /* hieroglyph joiners */
    {0x1BCA0, 0x1BCA3},  /* shorthand controls */
    {0x1D173, 0x1D17A},  /* musical controls */
    {0x1FFFE, 0x1FFFF},
    {0x2FFFE, 0x2FFFF},
    {0x3FFFE, 0x10FFFF}, /* nothing there but tags, selectors and private use */
};

/* How many bytes a sequence has by its first one, and the least point that needs them. */
static const struct {
    uint8_t mask, lead, payload;
    uint32_t least;
} sequences[] = {
    {0x80, 0x00, 0x7F, 0},
    {0xE0, 0xC0, 0x1F, 0x80},
    {0xF0, 0xE0, 0x0F, 0x800},
    {0xF8, 0xF0, 0x07, 0x10000},
};

uint32_t ms_decode_utf8(const uint8_t *bytes, size_t size, size_t *length)
{
    *length = 0;
    for (size_t n = 0; n < sizeof sequences / sizeof *sequences && n < size; n++) {
        if ((bytes[0] & sequences[n].mask) != sequences[n].lead)
            continue;
        uint32_t point = bytes[0] & sequences[n].payload;
        for (size_t i = 1; i <= n; i++) {
            if ((bytes[i] & 0xC0) != 0x80)
                return 0;
            point = point << 6 | (bytes[i] & 0x3F);
        }
        if (point < sequences[n].least || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
            return 0;
        *length = n + 1;
        return point;
    }
    return 0;
}

bool ms_printable(uint32_t point)
{
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden && hidden[i].first <= point; i++)
        if (point <= hidden[i].last)
            return false;
    return true;
}

size_t ms_preview_length(const uint8_t *bytes, size_t size)
{
    size_t length = size ? strnlen((const char *)bytes, size) : 0; /* without bytes there is no array */
    if (length > 0)
        return length;
    while (size > 0 && bytes[size - 1] == 0)
        size--;
    return size;
}

/* The letter of an ASCII character that has an escape of its own, else 0; QUOTED makes the double quote one. */
static char escape_letter(uint32_t point, bool quoted)
{
    static const char special[] = "\n\t\r\a\b\f\v\\\"";
    static const char letters[] = "ntrabfv\\\"";
    const char *at = point && point < 0x80 ? strchr(special, (int)point) : NULL;
    return at && (point != '"' || quoted) ? letters[at - special] : 0;
}

void ms_escape(const uint8_t *bytes, size_t size, bool quoted, struct ms_escaped *escaped)
{
    size_t length;
    uint32_t point = ms_decode_utf8(bytes, size, &length);
    char letter = length ? escape_letter(point, quoted) : 0;
    escaped->taken = length ? length : 1;
    escaped->point = 0;
    if (length == 0)
        snprintf(escaped->text, sizeof escaped->text, "\\x%02x", bytes[0]);
    else if (letter)
        snprintf(escaped->text, sizeof escaped->text, "\\%c", letter);
    else if (!ms_printable(point))
        ms_escape_point(point, escaped->text);
    else {
        memcpy(escaped->text, bytes, length);
        escaped->text[length] = '\0';
        escaped->point = point;
    }
}

void ms_escape_point(uint32_t point, char text[MS_ESCAPED])
{
    if (point < 0x80)
        snprintf(text, MS_ESCAPED, "\\x%02x", (unsigned)point);
    else if (point > 0xFFFF)
        snprintf(text, MS_ESCAPED, "\\U%08x", (unsigned)point);
    else
        snprintf(text, MS_ESCAPED, "\\u%04x", (unsigned)point);
}

static void write_escaped(FILE *out, const uint8_t *bytes, size_t size, bool quoted)
{
    struct ms_escaped escaped;
    for (size_t i = 0; i < size; i += escaped.taken) {
        ms_escape(bytes + i, size - i, quoted, &escaped);
        fputs(escaped.text, out);
    }
}

void ms_write_escaped(FILE *out, const uint8_t *bytes, size_t size)
{
    write_escaped(out, bytes, size, false);
}

void ms_write_name(FILE *out, const char *name)
{
    write_escaped(out, (const uint8_t *)name, strlen(name), false);
}

void ms_write_quoted(FILE *out, const uint8_t *bytes, size_t size)
{
    putc('"', out);
    write_escaped(out, bytes, size, true);
    putc('"', out);
}
