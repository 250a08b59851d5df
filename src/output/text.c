/* What the text views share: sizes, counts, shares, colours, the footer. */
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const styles[] = {
    [MS_STYLE_BAD] = "\033[1;31m", [MS_STYLE_GOOD] = "\033[1;32m", [MS_STYLE_DOUBT] = "\033[1;33m",
    [MS_STYLE_HEAD] = "\033[1m",   [MS_STYLE_FAINT] = "\033[2m",
};

void ms_style_begin(const struct ms_view *view, enum ms_style style)
{
    if (view->color)
        fputs(styles[style], view->out);
}

void ms_style_end(const struct ms_view *view)
{
    if (view->color)
        fputs("\033[0m", view->out);
}

char *ms_count_text(uint64_t count, char buffer[32])
{
    char digits[24];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, count);
    char *to = buffer;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return buffer;
}

char *ms_share_text(uint64_t part, uint64_t whole, char buffer[16])
{
    double share = whole ? 100.0 * (double)part / (double)whole : 0;
    if (!whole)
        snprintf(buffer, 16, "-");
    else if (part > 0 && share < 0.05)
        snprintf(buffer, 16, "<0.1%%");
    else if (part < whole && share >= 99.95)
        snprintf(buffer, 16, ">99.9%%");
    else
        snprintf(buffer, 16, "%.1f%%", share);
    return buffer;
}

char *ms_duration_text(uint64_t ns, char buffer[16])
{
    if (ns < 1000000)
        snprintf(buffer, 16, "%.0f us", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(buffer, 16, "%.1f ms", (double)ns / 1e6);
    else
        snprintf(buffer, 16, "%.2f s", (double)ns / 1e9);
    return buffer;
}

void ms_write_objects(FILE *out, const struct ms_tally *tally)
{
    char size[16], count[32];
    fprintf(out, "%s in %s object%s", ms_size_text(tally->bytes, size), ms_count_text(tally->blocks, count),
            tally->blocks == 1 ? "" : "s");
}

void ms_write_tally(FILE *out, const struct ms_tally *tally)
{
    char size[16], count[32];
    fprintf(out, "%s in %s block%s", ms_size_text(tally->bytes, size),
            ms_count_text(tally->blocks, count), tally->blocks == 1 ? "" : "s");
}

/* As it is in everybody's mouth, and in the middle of many longer names. */
static const char string_in_full[] = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >";

void ms_write_type(FILE *out, const char *type, enum ms_evidence by)
{
    const char *at;
    while ((at = strstr(type, string_in_full))) {
        ms_write_escaped(out, (const uint8_t *)type, (size_t)(at - type));
        fputs("std::string", out);
        type = at + sizeof string_in_full - 1;
    }
    ms_write_name(out, type);
    if (by == MS_BY_GUESS)
        putc('?', out);
}

/* "process 123 (/usr/bin/foo), 4 threads, glibc 2.36" */
static void write_target(const struct ms_view *view, const struct ms_image *image, const struct ms_heap *heap)
{
    FILE *out = view->out;
    char count[32];
    ms_write_name(out, image->origin ? image->origin : "target");
    if (image->exe && *image->exe) {
        fputs(" (", out);
        ms_write_name(out, image->exe);
        putc(')', out);
    }
    fprintf(out, ", %s thread%s", ms_count_text(image->thread_count, count),
            image->thread_count == 1 ? "" : "s");
    if (view->go && strncmp(heap->description, "Go ", 3) != 0) {
        fputs(", Go ", out);
        ms_write_name(out, view->go);
    }
    if (*heap->description) {
        fputs(", ", out);
        ms_write_name(out, heap->description);
    }
    putc('\n', out);
}

static void write_pause(FILE *out, const struct ms_image *image, bool complete)
{
    char pause[16], size[16];
    if (image->pause_ns) {
        if (image->attempts > 1)
            fprintf(out, "stopped %u times, for at most %s", image->attempts,
                    ms_duration_text(image->pause_ns, pause));
        else
            fprintf(out, "stopped for %s", ms_duration_text(image->pause_ns, pause));
        if (image->bytes_read)
            fprintf(out, ", %s read", ms_size_text(image->bytes_read, size));
        fputs("; ", out);
    }
    fprintf(out, "the report is %s\n", complete ? "complete" : "INCOMPLETE");
}

static void write_warnings(const struct ms_view *view, const struct ms_image *image, bool complete)
{
    if (image->warnings.count == 0)
        return;
    ms_style_begin(view, MS_STYLE_DOUBT);
    fputs(complete ? "\nnot certain:" : "\nincomplete:", view->out);
    ms_style_end(view);
    putc('\n', view->out);
    for (size_t i = 0; i < image->warnings.count; i++) {
        fputs("  ", view->out);
        ms_write_name(view->out, image->warnings.items[i]);
        putc('\n', view->out);
    }
}

void ms_write_footer(const struct ms_view *view, const struct ms_image *image,
                     const struct ms_heap *heap, bool complete)
{
    putc('\n', view->out);
    write_target(view, image, heap);
    write_pause(view->out, image, complete);
    write_warnings(view, image, complete);
}
