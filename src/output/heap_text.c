/* The heap report as text: the verdict, the suspects, the retainers, the groups, where it comes from. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "escape.h"
#include "text.h"

/* More suspects than this only with --verbose. */
#define SUSPECTS_SHOWN 5u

/* --- what things are --------------------------------------------------------------------------- */

/* "Widget (libwidgets.so) "some text"", each as far as it is known, with a blank before each. */
static void write_known(FILE *out, const char *type, enum ms_evidence by, const char *module,
                        const uint8_t *preview, unsigned preview_size)
{
    if (type) {
        putc(' ', out);
        ms_write_type(out, type, by);
    }
    if (module) {
        fputs(" (", out);
        ms_write_name(out, module);
        putc(')', out);
    }
    size_t length = ms_preview_length(preview, preview_size);
    if (length) {
        putc(' ', out);
        ms_write_quoted(out, preview, length);
    }
}

static void write_group_name(FILE *out, const struct ms_heap_group *group)
{
    char count[32];
    switch (group->kind) {
    case MS_GROUP_CLASS:
    case MS_GROUP_TYPE:
        ms_write_type(out, group->type, group->by);
        write_known(out, NULL, MS_BY_NOTHING, group->module, NULL, 0);
        return;
    case MS_GROUP_TEXT:
        fputs("text", out);
        break;
    case MS_GROUP_SIZE:
        fprintf(out, "%s bytes each", ms_count_text(group->size, count));
        break;
    case MS_GROUP_MODULE:
        ms_write_name(out, group->module ? group->module : "?");
        return;
    case MS_GROUP_ARENA:
        fprintf(out, "arena 0x%" PRIx64, group->arena);
        return;
    case MS_GROUP_MAPPED:
        fputs("mapped blocks", out);
        return;
    case MS_GROUP_UNKNOWN:
    case MS_GROUP_KINDS:
        fputs("of no module", out);
        return;
    }
    size_t length = ms_preview_length(group->preview, group->preview_size);
    if (length)
        fputs(", one of them", out);
    write_known(out, NULL, MS_BY_NOTHING, NULL, group->preview, group->preview_size);
}

/* "0x55… Widget (libwidgets.so), held by redis.c:server.db" */
static void write_owner(FILE *out, const struct ms_owner *owner)
{
    fprintf(out, "0x%" PRIx64, owner->address);
    write_known(out, owner->type, owner->by, owner->module, owner->preview, owner->preview_size);
    if (owner->root) {
        fputs(", held by ", out);
        ms_write_name(out, owner->root);
    }
}

/* --- the verdict ------------------------------------------------------------------------------- */

static void write_suspect(const struct ms_view *view, const struct ms_suspect *suspect, uint64_t live)
{
    char size[16], share[16], count[32];
    ms_size_text(suspect->retained, size);
    ms_share_text(suspect->retained, live, share);
    if (suspect->is_group) {
        fprintf(view->out, "%s blocks retain %s (%s): ", ms_count_text(suspect->group.blocks, count),
                size, share);
        write_group_name(view->out, &suspect->group);
    } else {
        fprintf(view->out, "one block retains %s (%s): ", size, share);
        write_owner(view->out, &suspect->retainer.block);
    }
}

static void write_verdict(const struct ms_view *view, const struct ms_heap_report *report)
{
    const bool suspects = report->suspects.count;
    const bool groups = report->by == MS_BY_TYPE || report->by == MS_BY_SIZE;
    fputs("live heap: ", view->out);
    ms_write_tally(view->out, &report->live);
    fputs("; ", view->out);
    ms_style_begin(view, suspects ? MS_STYLE_DOUBT : MS_STYLE_GOOD);
    if (suspects)
        write_suspect(view, &report->suspects.items[0], report->live.bytes);
    else
        fprintf(view->out, "no block%s retains more than %u%% of it", groups ? " or group" : "",
                MS_SUSPECT_PERCENT);
    ms_style_end(view);
    putc('\n', view->out);
    if (!report->lost.blocks)
        return;
    fputs("of it unreachable, so that nothing retains it: ", view->out);
    ms_write_tally(view->out, &report->lost);
    fputs(" (memscope leaks)\n", view->out);
}

/* The first one is in the verdict; here is where it gathers. */
static void write_suspects(const struct ms_view *view, const struct ms_heap_report *report)
{
    if (report->suspects.count == 0)
        return;
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "suspects, each with more than %u%% of the live heap", MS_SUSPECT_PERCENT);
    ms_style_end(view);
    putc('\n', view->out);
    size_t shown = report->suspects.count;
    if (shown > SUSPECTS_SHOWN && !view->verbose)
        shown = SUSPECTS_SHOWN;
    for (size_t i = 0; i < shown; i++) {
        const struct ms_suspect *suspect = &report->suspects.items[i];
        char size[16];
        fputs("  ", view->out);
        write_suspect(view, suspect, report->live.bytes);
        putc('\n', view->out);
        if (suspect->is_group || !suspect->retainer.gathers.address)
            continue;
        fprintf(view->out, "    %s of it through ",
                ms_size_text(suspect->retainer.gathers.retained, size));
        write_owner(view->out, &suspect->retainer.gathers);
        putc('\n', view->out);
    }
    if (shown < report->suspects.count)
        fprintf(view->out, "  ... and %zu more (--verbose)\n", report->suspects.count - shown);
}

/* Arrays of Go that little slices keep. */
static void write_pinned(const struct ms_view *view, const struct ms_heap_report *report)
{
    char size[16], all[16], count[32];
    if (!report->pinned_all.blocks)
        return;
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "pinned: %s in %s array%s that only slices of a small part of them hold; copying the part frees the rest",
            ms_size_text(report->pinned_all.bytes, all), ms_count_text(report->pinned_all.blocks, count),
            report->pinned_all.blocks == 1 ? "" : "s");
    ms_style_end(view);
    putc('\n', view->out);
    for (size_t i = 0; i < report->pinned.count && (i < SUSPECTS_SHOWN || view->verbose); i++) {
        const struct ms_pinned *pinned = &report->pinned.items[i];
        fprintf(view->out, "  %s of ", ms_size_text(pinned->used, size));
        fprintf(view->out, "%s: ", ms_size_text(pinned->block.size, size));
        write_owner(view->out, &pinned->block);
        putc('\n', view->out);
    }
}

/* --- tables ------------------------------------------------------------------------------------ */

static void write_retainers(const struct ms_view *view, const struct ms_heap_report *report)
{
    char retained[16], share[16], count[32], own[16];
    if (report->retainers.count == 0)
        return;
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%10s %6s %14s %10s  block that only roots hold, as far as is known", "retained",
            "share", "blocks", "own");
    ms_style_end(view);
    putc('\n', view->out);
    for (size_t i = 0; i < report->retainers.count; i++) {
        const struct ms_retainer *r = &report->retainers.items[i];
        fprintf(view->out, "%10s %6s %14s %10s  ", ms_size_text(r->block.retained, retained),
                ms_share_text(r->block.retained, report->live.bytes, share),
                ms_count_text(r->block.retained_blocks, count), ms_size_text(r->block.size, own));
        write_owner(view->out, &r->block);
        if (r->gathers.address) {
            fprintf(view->out, "; %s of it through ", ms_size_text(r->gathers.retained, retained));
            write_owner(view->out, &r->gathers);
        }
        putc('\n', view->out);
    }
}

static void write_others(const struct ms_view *view, const struct ms_heap_report *report)
{
    size_t left = report->group_count - report->groups.count;
    char count[32];
    if (left == 0)
        return;
    fprintf(view->out, "... and ");
    ms_write_tally(view->out, &report->others);
    fprintf(view->out, " in %s more group%s (--verbose, -n)\n", ms_count_text(left, count),
            left == 1 ? "" : "s");
}

static void write_groups(const struct ms_view *view, const struct ms_heap_report *report)
{
    char blocks[32], bytes[16], share[16], retained[16];
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%14s %10s %6s %10s  by %s", "blocks", "bytes", "share", "retained",
            ms_heap_by_names[report->by]);
    ms_style_end(view);
    putc('\n', view->out);
    for (size_t i = 0; i < report->groups.count && !ferror(view->out); i++) {
        const struct ms_heap_group *group = &report->groups.items[i];
        fprintf(view->out, "%14s %10s %6s %10s  ", ms_count_text(group->blocks, blocks),
                ms_size_text(group->bytes, bytes), ms_share_text(group->bytes, report->live.bytes, share),
                ms_size_text(group->retained, retained));
        write_group_name(view->out, group);
        putc('\n', view->out);
    }
    write_others(view, report);
}

/* "types: 85.3% of the bytes: 60.1% by pointer, 25.2% by vtable; 3.0% guessed (?); 11.7% not known" */
static void write_typed(const struct ms_view *view, const struct ms_heap_report *report)
{
    uint64_t certain = 0, live = report->live.bytes;
    char share[16];
    if (!report->types_sought && report->typed[MS_BY_NOTHING].bytes == live)
        return;
    for (int by = MS_BY_POINTER; by < MS_EVIDENCES; by++)
        certain += report->typed[by].bytes;
    fprintf(view->out, "types: known of %s of the bytes", ms_share_text(certain, live, share));
    const char *gap = " (";
    for (int by = MS_EVIDENCES - 1; by >= MS_BY_POINTER; by--) {
        if (!report->typed[by].bytes)
            continue;
        fprintf(view->out, "%s%s by %s", gap, ms_share_text(report->typed[by].bytes, live, share),
                ms_evidence_names[by]);
        gap = ", ";
    }
    if (certain)
        putc(')', view->out);
    if (report->typed[MS_BY_GUESS].bytes)
        fprintf(view->out, "; of %s guessed from %s (?)",
                ms_share_text(report->typed[MS_BY_GUESS].bytes, live, share),
                view->go ? "size, pointers and content" : "the size alone");
    putc('\n', view->out);
}

static struct ms_error *write_block(void *context, const struct ms_listed_block *block)
{
    FILE *out = context;
    if (ferror(out)) /* nobody reads any more */
        return NULL;
    fprintf(out, "%#-18" PRIx64 " %15" PRIu64 "  ", block->address, block->size);
    ms_write_type(out, block->type ? block->type : "-", block->by);
    putc('\n', out);
    return NULL;
}

static ms_result write_blocks(const struct ms_view *view, const struct ms_scan *scan,
                              const struct ms_heap_report *report)
{
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%-18s %15s  type", "address", "bytes");
    ms_style_end(view);
    putc('\n', view->out);
    return ms_each_live_block(scan, report, write_block, view->out);
}

ms_result ms_heap_text(const struct ms_view *view, const struct ms_image *image, const struct ms_scan *scan,
                       const struct ms_heap_report *report, bool retainers, bool list)
{
    write_verdict(view, report);
    if (!view->quiet) {
        write_suspects(view, report);
        MS_TRY(ms_go_suspects_text(view, &report->go_suspects, report->live.bytes));
        write_pinned(view, report);
        if (retainers)
            write_retainers(view, report);
        write_groups(view, report);
        write_typed(view, report);
    }
    if (list)
        MS_TRY(write_blocks(view, scan, report));
    if (!view->quiet)
        ms_write_footer(view, image, &scan->heap, report->complete);
    return NULL;
}
