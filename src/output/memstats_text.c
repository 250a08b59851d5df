/* The memory account as text: the verdict, the rows that add up to Rss, the arenas. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

/* More arenas than this only with --verbose. */
#define ARENAS_SHOWN 16u
/* Characters of a bar for the whole. */
#define BAR 20u

static void write_bar(FILE *out, uint64_t part, uint64_t whole)
{
    unsigned length = whole ? (unsigned)((double)part / (double)whole * BAR + 0.5) : 0;
    if (length)
        fputs("  ", out);
    for (unsigned i = 0; i < length && i < BAR; i++)
        putc('#', out);
    putc('\n', out);
}

static void write_row(const struct ms_view *view, const struct ms_row_info *row, uint64_t bytes,
                      uint64_t total)
{
    char size[16], count[32], share[16];
    fprintf(view->out, "  %-38s %10s %18s %6s", row->title, ms_size_text(bytes, size),
            ms_count_text(bytes, count), ms_share_text(bytes, total, share));
    write_bar(view->out, bytes, total);
}

static void write_rows(const struct ms_view *view, const struct ms_memstats *stats)
{
    char size[16], count[32];
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%-40s %10s %18s %6s", "resident memory", "size", "bytes", "share");
    ms_style_end(view);
    putc('\n', view->out);
    for (unsigned row = 0; row < MS_ROWS; row++)
        if (stats->rows[row] || view->verbose)
            write_row(view, &ms_rows[row], stats->rows[row], stats->total);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "  %-38s %10s %18s", "total", ms_size_text(stats->total, size),
            ms_count_text(stats->total, count));
    ms_style_end(view);
    fprintf(view->out, "\n  %-38s %10s %18s\n", "Rss, as the kernel counts it",
            ms_size_text(stats->rss, size), ms_count_text(stats->rss, count));
}

/* Columns of the table of arenas; those that are nothing but zeros are left out. */
static const struct {
    const char *title;
    enum ms_class class;
} columns[] = {
    {"live", MS_CLASS_LIVE},       {"free", MS_CLASS_FREE}, {"tcache", MS_CLASS_TCACHE},
    {"fastbin", MS_CLASS_FASTBIN}, {"top", MS_CLASS_TOP},   {"overhead", MS_CLASS_OVERHEAD},
    {"unknown", MS_CLASS_UNKNOWN},
};
#define COLUMNS (sizeof columns / sizeof *columns)

static bool column_used(const struct ms_heap *heap, size_t column)
{
    for (size_t i = 0; i < heap->arenas.count; i++)
        if (heap->arenas.items[i].classes[columns[column].class].bytes)
            return true;
    return false;
}

/* "1.2M" for a narrow column. */
static void write_narrow(FILE *out, uint64_t bytes)
{
    char size[16];
    char *gap = strchr(ms_size_text(bytes, size), ' ');
    gap[0] = gap[1];
    gap[1] = '\0';
    fprintf(out, " %8s", size);
}

static void write_arena(const struct ms_view *view, const struct ms_heap *heap,
                        const struct ms_arena *arena)
{
    char blocks[32];
    if (arena->mapped)
        fprintf(view->out, "  %-16s", "mapped blocks");
    else
        fprintf(view->out, "  %#-16" PRIx64, arena->address);
    write_narrow(view->out, arena->system);
    for (size_t i = 0; i < COLUMNS; i++)
        if (column_used(heap, i))
            write_narrow(view->out, arena->classes[columns[i].class].bytes);
    write_narrow(view->out, arena->trimmable);
    fprintf(view->out, " %11s%s\n", ms_count_text(arena->classes[MS_CLASS_LIVE].blocks, blocks),
            arena->locked ? " locked" : "");
}

static void write_arena_head(const struct ms_view *view, const struct ms_heap *heap)
{
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%-18s %8s", "arenas", "system");
    for (size_t i = 0; i < COLUMNS; i++)
        if (column_used(heap, i))
            fprintf(view->out, " %8s", columns[i].title);
    fprintf(view->out, " %8s %11s", "trim", "live blocks");
    ms_style_end(view);
    putc('\n', view->out);
}

static void write_arenas(const struct ms_view *view, const struct ms_heap *heap)
{
    size_t shown = heap->arenas.count;
    if (shown == 0)
        return;
    if (shown > ARENAS_SHOWN && !view->verbose)
        shown = ARENAS_SHOWN;
    write_arena_head(view, heap);
    for (size_t i = 0; i < shown; i++)
        write_arena(view, heap, &heap->arenas.items[i]);
    if (shown < heap->arenas.count)
        fprintf(view->out, "  ... and %zu more (--verbose)\n", heap->arenas.count - shown);
    fputs("  system: what an arena has of the kernel, touched or not; "
          "trim: what malloc_trim(0) would give back\n",
          view->out);
}

void ms_memstats_text(const struct ms_view *view, const struct ms_image *image,
                      const struct ms_heap *heap, const struct ms_memstats *stats)
{
    ms_style_begin(view, stats->verdict == MS_VERDICT_LEAK ? MS_STYLE_BAD : MS_STYLE_HEAD);
    fputs(ms_verdict_names[stats->verdict], view->out);
    ms_style_end(view);
    fputs(": ", view->out);
    ms_write_name(view->out, stats->reason);
    putc('\n', view->out);
    if (view->quiet)
        return;
    write_rows(view, stats);
    write_arenas(view, heap);
    if (stats->go)
        ms_go_stats_text(view, stats->go);
    ms_write_footer(view, image, heap, stats->complete);
}
