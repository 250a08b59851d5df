/* The members of a block with their values, as a table of text. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

/* What is longer than this does not widen its column. */
#define COLUMN_MAX 40u
/* Of raw bytes so many. */
#define RAW_SHOWN 16u

/* "'a'", or the number when it is no character to be seen. */
static void write_character(FILE *out, uint8_t byte)
{
    if (byte >= ' ' && byte < 0x7f)
        fprintf(out, "'%c'", byte);
    else
        fprintf(out, "%u", byte);
}

static void write_string(FILE *out, const struct ms_value *value)
{
    ms_write_quoted(out, value->bytes, value->size);
    if (value->cut)
        fputs("...", out);
}

static void write_pointer(FILE *out, const struct ms_value *value)
{
    if (!value->number.u) {
        fputs(value->type->language == MS_LANGUAGE_GO ? "nil" : "NULL", out);
        return;
    }
    fprintf(out, "0x%" PRIx64, value->number.u);
    if (value->size) {
        fputs("  ", out);
        write_string(out, value);
    } else if (value->target) {
        fputs("  ", out);
        ms_write_name(out, value->target);
    }
}

static void write_value(FILE *out, const struct ms_value *value)
{
    switch (value->kind) {
    case MS_VALUE_UNREADABLE:
        putc('-', out);
        break;
    case MS_VALUE_SIGNED:
        fprintf(out, "%" PRId64, value->number.i);
        break;
    case MS_VALUE_UNSIGNED:
        fprintf(out, "%" PRIu64, value->number.u);
        break;
    case MS_VALUE_REAL:
        fprintf(out, "%.17g", value->number.real);
        break;
    case MS_VALUE_BOOL:
        fputs(value->number.u ? "true" : "false", out);
        break;
    case MS_VALUE_TEXT:
        if (value->single)
            write_character(out, value->bytes[0]);
        else
            write_string(out, value);
        break;
    case MS_VALUE_POINTER:
        write_pointer(out, value);
        break;
    case MS_VALUE_RAW:
        for (unsigned i = 0; i < value->size && i < RAW_SHOWN; i++)
            fprintf(out, "%s%02x", i ? " " : "", value->bytes[i]);
        fputs(value->cut || value->size > RAW_SHOWN ? " ..." : "", out);
        break;
    }
}

static int width_of(int longest, const char *text)
{
    const int length = (int)strnlen(text, COLUMN_MAX);
    return length > longest ? length : longest;
}

/* NAME, padded to WIDTH as if every byte took a column. */
static void write_cell(FILE *out, const char *name, int width)
{
    ms_write_name(out, name);
    fprintf(out, "%*s  ", strlen(name) < (size_t)width ? width - (int)strlen(name) : 0, "");
}

void ms_write_values(const struct ms_view *view, const struct ms_values *values, unsigned indent)
{
    int names = (int)strlen("member"), types = (int)strlen("type");
    char offset[24];
    if (values->list.count == 0)
        return;
    for (size_t i = 0; i < values->list.count; i++) {
        names = width_of(names, values->list.items[i].path);
        types = width_of(types, values->list.items[i].type->name);
    }
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%*s%6s  %-*s  %-*s  value", (int)indent, "", "offset", names, "member", types, "type");
    ms_style_end(view);
    putc('\n', view->out);
    for (size_t i = 0; i < values->list.count; i++) {
        const struct ms_value *value = &values->list.items[i];
        snprintf(offset, sizeof offset, "0x%" PRIx64, value->offset);
        fprintf(view->out, "%*s%6s  ", (int)indent, "", offset);
        write_cell(view->out, value->path, names);
        write_cell(view->out, value->type->name, types);
        write_value(view->out, value);
        putc('\n', view->out);
    }
    if (values->more)
        fprintf(view->out, "%*s... and more%s\n", (int)indent, "", view->verbose ? "" : " (--verbose)");
    if (values->unreadable)
        fprintf(view->out, "%*sthere was not the memory to copy its contents; only pointers were kept\n",
                (int)indent, "");
}
