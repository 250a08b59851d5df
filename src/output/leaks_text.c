/* The leak report as text: the verdict, the groups, the blocks, the totals, where it comes from. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "escape.h"
#include "text.h"

/* More groups than this only with --verbose. */
#define GROUPS_SHOWN 20u
/* More sample addresses than this only with --verbose. */
#define SAMPLES_SHOWN 2u
/* Column of a group's description. */
#define WHAT_COLUMN 60
/* Column of its members. */
#define VALUES_COLUMN 13
/* Names of types that together are no longer than this stand on one line. */
#define BRIEF 50u

static const struct {
    const char *title, *meaning;
} kinds[MS_LEAK_KINDS] = {
    [MS_DEFINITE] = {"definitely lost", "no pointer to them is left"},
    [MS_INDIRECT] = {"indirectly lost", "only lost blocks point to them"},
    [MS_POSSIBLE] = {"possibly lost", "only pointers into their middle are left"},
    [MS_REACHABLE] = {"still reachable", "the program can still get at them"},
};

static void write_definite(const struct ms_view *view, const struct ms_leak_report *report)
{
    const struct ms_tally *definite = &report->kinds[MS_DEFINITE];
    const struct ms_tally *indirect = &report->kinds[MS_INDIRECT];
    char share[16], size[16];
    ms_style_begin(view, MS_STYLE_BAD);
    fputs("definitely lost: ", view->out);
    ms_write_tally(view->out, definite);
    ms_style_end(view);
    fprintf(view->out, " (%s of the live heap of %s)",
            ms_share_text(definite->bytes, report->live.bytes, share),
            ms_size_text(report->live.bytes, size));
    if (indirect->blocks) {
        fputs(", and ", view->out);
        ms_write_tally(view->out, indirect);
        fputs(" held only by them", view->out);
    }
    putc('\n', view->out);
}

/* Nothing is definitely lost. */
static void write_none(const struct ms_view *view, const struct ms_leak_report *report)
{
    const struct ms_tally *possible = &report->kinds[MS_POSSIBLE];
    bool doubt = possible->blocks || !report->complete;
    ms_style_begin(view, doubt ? MS_STYLE_DOUBT : MS_STYLE_GOOD);
    if (!report->complete)
        fputs("no leaks found in what could be read", view->out);
    else
        fputs(possible->blocks ? "no definite leaks" : "no leaks", view->out);
    ms_style_end(view);
    fputs(": of ", view->out);
    ms_write_tally(view->out, &report->live);
    fputs(" none is definitely lost\n", view->out);
}

static void write_verdict(const struct ms_view *view, const struct ms_leak_report *report)
{
    if (report->kinds[MS_DEFINITE].blocks)
        write_definite(view, report);
    else
        write_none(view, report);
    if (report->kinds[MS_POSSIBLE].blocks) {
        fputs("possibly lost: ", view->out);
        ms_write_tally(view->out, &report->kinds[MS_POSSIBLE]);
        fputs(", of which only pointers into their middle are left\n", view->out);
    }
}

/* "holds 2 struct buf, 1 char [64]": each leak, or "they hold" all together where they differ. */
static void write_holds(FILE *out, const struct ms_leak_group *group)
{
    bool alike = true;
    char count[32];
    for (size_t i = 0; i < MS_GROUP_HOLDS && group->holds[i].type; i++)
        alike = alike && group->holds[i].each;
    fputs(alike ? "holds " : "they hold ", out);
    for (size_t i = 0; i < MS_GROUP_HOLDS && group->holds[i].type; i++) {
        const struct ms_leak_held *held = &group->holds[i];
        fprintf(out, "%s%s ", i ? ", " : "", ms_count_text(alike ? held->each : held->blocks, count));
        ms_write_type(out, held->type, held->guess ? MS_BY_GUESS : MS_BY_NOTHING);
    }
    if (group->holds_more)
        fputs(", ...", out);
}

/* Behind the type when that leaves the line short, else on a line of its own. */
static void place_holds(FILE *out, const struct ms_leak_group *group)
{
    const bool begun = group->type || group->module || group->ring;
    size_t length = group->type ? strlen(group->type) : 0;
    for (size_t i = 0; i < MS_GROUP_HOLDS && group->holds[i].type; i++)
        length += strlen(group->holds[i].type);
    const bool brief = begun && length < BRIEF;
    if (brief)
        fputs(" (", out);
    else if (begun)
        fprintf(out, "\n%*s", WHAT_COLUMN, "");
    write_holds(out, group);
    if (brief)
        putc(')', out);
}

/* "Widget (libwidgets.so) in a ring "some text""; false when nothing is known. */
static bool write_known(FILE *out, const struct ms_leak_group *group)
{
    const char *gap = "";
    if (group->type) {
        ms_write_type(out, group->type, group->by);
        gap = " ";
    }
    if (group->module) {
        fprintf(out, "%s(", gap);
        ms_write_name(out, group->module);
        putc(')', out);
        gap = " ";
    }
    if (group->ring) {
        fprintf(out, "%s%s", gap, group->indirect_blocks ? "ring of blocks" : "points to itself");
        gap = " ";
    }
    if (group->holds[0].type) {
        place_holds(out, group);
        gap = " ";
    }
    size_t length = ms_preview_length(group->preview, group->preview_size);
    if (length) {
        fputs(gap, out);
        ms_write_quoted(out, group->preview, length);
        gap = " ";
    }
    return *gap;
}

static void write_samples(const struct ms_view *view, const struct ms_leak_group *group)
{
    unsigned shown = group->samples;
    if (shown > SAMPLES_SHOWN && !view->verbose)
        shown = SAMPLES_SHOWN;
    for (unsigned i = 0; i < shown; i++)
        fprintf(view->out, "%s0x%" PRIx64, i ? ", " : "at ", group->sample[i]);
    fputs(shown < group->blocks ? ", ...\n" : "\n", view->out);
}

static void write_group(const struct ms_view *view, const struct ms_leak_group *group)
{
    char blocks[32], each[32], own[16], held[16];
    fprintf(view->out, "%11s x %11s %10s  %10s  ", ms_count_text(group->blocks, blocks),
            ms_count_text(group->size, each), ms_size_text(group->bytes, own),
            group->indirect_blocks ? ms_size_text(group->indirect_bytes, held) : "-");
    fprintf(view->out, "%-10s", ms_leak_names[group->kind]);
    if (write_known(view->out, group) && group->samples)
        fprintf(view->out, "\n%*s", WHAT_COLUMN, "");
    if (group->samples)
        write_samples(view, group);
    else
        putc('\n', view->out);
    ms_write_values(view, &group->values, VALUES_COLUMN);
}

static bool is_guess(const struct ms_leak_group *group)
{
    bool guess = group->by == MS_BY_GUESS;
    for (size_t i = 0; i < MS_GROUP_HOLDS && group->holds[i].type; i++)
        guess = guess || group->holds[i].guess;
    return guess;
}

static void write_groups(const struct ms_view *view, const struct ms_leak_report *report)
{
    size_t shown = report->groups.count;
    if (shown == 0)
        return;
    if (shown > GROUPS_SHOWN && !view->verbose)
        shown = GROUPS_SHOWN;
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%11s x %11s %10s  %10s  %-10swhat they are, as far as is known", "blocks",
            "bytes each", "together", "they hold", "lost");
    ms_style_end(view);
    putc('\n', view->out);
    bool guesses = false;
    for (size_t i = 0; i < shown; i++) {
        write_group(view, &report->groups.items[i]);
        guesses = guesses || is_guess(&report->groups.items[i]);
    }
    if (guesses)
        fputs("?: a guess, the only type that fits the size\n", view->out);
    if (shown < report->groups.count) {
        char count[32];
        fprintf(view->out, "... and %s more group%s (--verbose)\n",
                ms_count_text(report->groups.count - shown, count),
                report->groups.count - shown == 1 ? "" : "s");
    }
}

/* Stops early when nobody reads any more. */
static void write_blocks(const struct ms_view *view, const struct ms_leak_report *report)
{
    if (report->blocks.count == 0)
        return;
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%-18s %15s  %-10stype", "address", "bytes", "lost");
    ms_style_end(view);
    putc('\n', view->out);
    for (size_t i = 0; i < report->blocks.count && !ferror(view->out); i++) {
        const struct ms_leak_block *block = &report->blocks.items[i];
        fprintf(view->out, "%#-18" PRIx64 " %15" PRIu64 "  %-10s", block->address, block->size,
                ms_leak_names[block->kind]);
        ms_write_type(view->out, block->type ? block->type : "-", block->by);
        putc('\n', view->out);
    }
}

/* "Go: no leaks: …": garbage is what the collector has found, the unreachable what it will. */
static void write_go(const struct ms_view *view, const struct ms_image *image, const struct ms_go_heap *go)
{
    FILE *out = view->out;
    ms_style_begin(view, MS_STYLE_GOOD);
    fprintf(out, "%s: nothing to leak", go->scan->heap.description);
    ms_style_end(view);
    fputs(": of ", out);
    ms_write_objects(out, &go->live);
    if (go->unreachable.blocks) {
        fputs(" the collector will take ", out);
        ms_write_objects(out, &go->unreachable);
        fputs(" that nothing reaches\n", out);
        fputs("of these allocated since the last collection: ", out);
        ms_write_objects(out, &go->young);
        putc('\n', out);
    } else {
        fputs(" all are reachable\n", out);
    }
    if (go->garbage.blocks) {
        fputs("found dead, and not swept yet: ", out);
        ms_write_objects(out, &go->garbage);
        putc('\n', out);
    }
    fputs("what keeps the others alive: memscope heap --retained", out);
    if (image->pid)
        fprintf(out, " %d", (int)image->pid);
    putc('\n', out);
}

static void write_total(const struct ms_view *view, const char *title, const struct ms_tally *tally,
                        const char *meaning)
{
    char blocks[32], bytes[32], size[16];
    fprintf(view->out, "%-16s %14s %18s  %10s", title, ms_count_text(tally->blocks, blocks),
            ms_count_text(tally->bytes, bytes), ms_size_text(tally->bytes, size));
    ms_style_begin(view, MS_STYLE_FAINT);
    fprintf(view->out, "%s%s", *meaning ? "  " : "", meaning);
    ms_style_end(view);
    putc('\n', view->out);
}

static void write_totals(const struct ms_view *view, const struct ms_leak_report *report)
{
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%-16s %14s %18s", "", "blocks", "bytes");
    ms_style_end(view);
    putc('\n', view->out);
    for (unsigned kind = 0; kind < MS_LEAK_KINDS; kind++)
        write_total(view, kinds[kind].title, &report->kinds[kind], kinds[kind].meaning);
    if (report->suppressed.blocks)
        write_total(view, "suppressed", &report->suppressed, "left out by --suppressions");
    write_total(view, "all live blocks", &report->live, "");
}

void ms_leaks_text(const struct ms_view *view, const struct ms_image *image,
                   const struct ms_heap *heap, const struct ms_leak_report *report,
                   const struct ms_go_heap *go)
{
    const bool malloc_too = heap->allocator || !go;
    if (go && malloc_too)
        fputs("malloc (cgo): ", view->out);
    if (malloc_too)
        write_verdict(view, report);
    if (go)
        write_go(view, image, go);
    if (!view->quiet)
        write_groups(view, report);
    write_blocks(view, report);
    if (view->quiet)
        return;
    if (malloc_too)
        write_totals(view, report);
    ms_write_footer(view, image, malloc_too ? heap : &go->scan->heap, report->complete);
}
