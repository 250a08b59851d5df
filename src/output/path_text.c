/* The path report as text: what the address is, who points to it, what it points to, the chains. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "escape.h"
#include "text.h"

/* Of a longer chain only so many steps at each end are shown without --verbose. */
#define STEPS_SHOWN 12u
/* A longer expression only with --verbose. */
#define EXPRESSION_MAX 500u

const char *const ms_evidence_texts[MS_EVIDENCES] = {
    [MS_BY_NOTHING] = "",
    [MS_BY_GUESS] = "a guess: the only type that fits the size",
    [MS_BY_POINTER] = "by a pointer to it",
    [MS_BY_CONTAINER] = "by the container that holds it",
    [MS_BY_FORMAT] = "by all that its library's structure must hold",
    [MS_BY_VTABLE] = "by its vtable",
    [MS_BY_HEADER] = "by the type that the runtime keeps",
};

const char *ms_block_class_text(const char *class)
{
    static const struct {
        const char *class, *text;
    } texts[] = {
        {"definite", "definitely lost"},  {"indirect", "indirectly lost"},
        {"possible", "possibly lost"},    {"free", "free"},
        {"tcache", "free, in a tcache"},  {"fastbin", "free, in a fastbin"},
        {"top", "free, at the arena's top"}, {"overhead", "the allocator's own"},
        {"unreachable", "unreachable: the collector will take it"},
        {"garbage", "dead: the collector has found it, and not swept it yet"},
        {"runtime", "the runtime's own: a stack, or what it works with"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(class, texts[i].class) == 0)
            return texts[i].text;
    return class;
}

static void write_heading(const struct ms_view *view, const char *text)
{
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fputs(text, view->out);
    ms_style_end(view);
}

/* "block 0x55d1c02a4c30 (104 bytes, Widget, reachable)"; PLAIN: that it is reachable goes without saying. */
static void write_block(const struct ms_view *view, const struct ms_path_block *block, bool plain)
{
    char size[32];
    fprintf(view->out, "block 0x%" PRIx64 " (%s bytes", block->address, ms_count_text(block->size, size));
    if (block->type) {
        fputs(", ", view->out);
        ms_write_type(view->out, block->type, block->by);
    }
    if (!plain || strcmp(block->class, "reachable") != 0)
        fprintf(view->out, ", %s", ms_block_class_text(block->class));
    putc(')', view->out);
}

/* Pointers to the start need no word. */
static void write_into(FILE *out, int64_t into)
{
    if (into > 0)
        fprintf(out, ", into it by 0x%" PRIx64, (uint64_t)into);
    else if (into < 0)
        fputs(", by its header", out);
}

/* --- what it is -------------------------------------------------------------------------------- */

static void write_region(const struct ms_view *view, const struct ms_path_report *report)
{
    const struct ms_region *r = report->region;
    fprintf(view->out, "map: 0x%" PRIx64 "-0x%" PRIx64 " %c%c%c%c ", r->start, r->end,
            r->prot & MS_READ ? 'r' : '-', r->prot & MS_WRITE ? 'w' : '-', r->prot & MS_EXEC ? 'x' : '-',
            r->prot & MS_SHARED ? 's' : 'p');
    ms_write_name(view->out, *r->path ? r->path : "anonymous");
    putc('\n', view->out);
}

static void write_type(const struct ms_view *view, const struct ms_path_block *block)
{
    fputs("type: ", view->out);
    ms_write_type(view->out, block->type, block->by);
    fprintf(view->out, " (%s", ms_evidence_texts[block->by]);
    if (block->module) {
        fputs(" in ", view->out);
        ms_write_name(view->out, block->module);
    }
    fputs(")\n", view->out);
}

static void write_what_block(const struct ms_view *view, const struct ms_path_report *report)
{
    const struct ms_path_block *block = &report->block;
    char size[32], offset[32];
    bool good = strcmp(block->class, "reachable") == 0, bad = report->lost;
    fprintf(view->out, "0x%" PRIx64 ": ", report->address);
    ms_style_begin(view, good ? MS_STYLE_GOOD : bad ? MS_STYLE_BAD : MS_STYLE_DOUBT);
    fputs(ms_block_class_text(block->class), view->out);
    ms_style_end(view);
    fputs(", ", view->out);
    if (report->offset >= block->size)
        fputs("behind the end of ", view->out);
    else if (report->offset)
        fprintf(view->out, "%s bytes into ", ms_count_text(report->offset, offset));
    fprintf(view->out, "the %s of %s bytes at 0x%" PRIx64 "\n", block->live ? "block" : "chunk",
            ms_count_text(block->size, size), block->address);
    if (block->type)
        write_type(view, block);
    if (report->member) {
        fputs("member: ", view->out);
        ms_write_name(view->out, report->member);
        putc('\n', view->out);
    }
    size_t length = ms_preview_length(block->preview, block->preview_size);
    if (length) {
        fputs("text: ", view->out);
        ms_write_quoted(view->out, block->preview, length);
        putc('\n', view->out);
    }
    if (block->mapped)
        fputs("arena: none, it has a mapping of its own\n", view->out);
    else if (block->arena)
        fprintf(view->out, "arena: 0x%" PRIx64 "\n", block->arena);
}

static void write_what(const struct ms_view *view, const struct ms_path_report *report)
{
    if (report->in_heap) {
        write_what_block(view, report);
    } else {
        fprintf(view->out, "0x%" PRIx64 ": ", report->address);
        ms_write_name(view->out, report->place.text);
        putc('\n', view->out);
    }
    write_region(view, report);
}

static void write_members(const struct ms_view *view, const struct ms_path_report *report)
{
    if (report->values.list.count == 0)
        return;
    write_heading(view, "what it holds");
    putc('\n', view->out);
    ms_write_values(view, &report->values, 2);
}

/* --- pointers ---------------------------------------------------------------------------------- */

/* The word of a block that a pointer is: " .ht[0].table", or " +0x18" when its type does not tell. */
static void write_word(FILE *out, uint64_t offset, const char *member)
{
    if (!member) {
        fprintf(out, " +0x%" PRIx64, offset);
        return;
    }
    fputs(*member == '[' ? " " : " .", out);
    ms_write_name(out, member);
}

static void write_more(const struct ms_view *view, uint64_t more)
{
    char count[32];
    if (more)
        fprintf(view->out, "  ... and %s more\n", ms_count_text(more, count));
}

static void write_incoming(const struct ms_view *view, const struct ms_path_report *report)
{
    char roots[32], blocks[32];
    write_heading(view, "who points to it");
    fprintf(view->out, ": %s root%s, %s block%s\n", ms_count_text(report->from_roots, roots),
            report->from_roots == 1 ? "" : "s", ms_count_text(report->from_blocks, blocks),
            report->from_blocks == 1 ? "" : "s");
    for (size_t i = 0; i < report->incoming.count; i++) {
        const struct ms_path_edge *edge = &report->incoming.items[i];
        fputs("  ", view->out);
        if (edge->from_block) {
            write_block(view, &edge->block, false);
            write_word(view->out, edge->offset, edge->member);
        } else {
            ms_write_name(view->out, edge->place.text);
        }
        write_into(view->out, edge->into);
        putc('\n', view->out);
    }
    write_more(view, report->from_roots + report->from_blocks - report->incoming.count);
}

static void write_outgoing(const struct ms_view *view, const struct ms_path_report *report)
{
    char count[32];
    uint64_t all = report->to_blocks + report->to_modules;
    if (!report->in_heap && !all)
        return;
    write_heading(view, "what it points to");
    fprintf(view->out, ": %s place%s\n", ms_count_text(all, count), all == 1 ? "" : "s");
    for (size_t i = 0; i < report->outgoing.count; i++) {
        const struct ms_path_edge *edge = &report->outgoing.items[i];
        if (edge->from_block) {
            putc(' ', view->out);
            write_word(view->out, edge->offset, edge->member);
            fputs(" -> ", view->out);
        } else {
            fputs("  -> ", view->out);
        }
        if (edge->to_block) {
            write_block(view, &edge->block, false);
            write_into(view->out, edge->into);
        } else {
            ms_write_name(view->out, edge->place.text);
        }
        putc('\n', view->out);
    }
    write_more(view, all - report->outgoing.count);
}

/* --- chains ------------------------------------------------------------------------------------ */

static void write_step(const struct ms_view *view, const struct ms_path_step *step, bool arrow)
{
    fputs(arrow ? "    -> " : "  ", view->out);
    write_block(view, &step->block, true);
    write_into(view->out, step->into);
    if (step->offset != MS_NOTHING)
        write_word(view->out, step->offset, step->member);
    putc('\n', view->out);
}

/* As C and gdb can evaluate it. */
static void write_expression(const struct ms_view *view, const struct ms_path_chain *chain)
{
    size_t length = chain->expression ? strlen(chain->expression) : 0;
    if (length == 0 || (length > EXPRESSION_MAX && !view->verbose))
        return;
    fputs("  ", view->out);
    ms_style_begin(view, MS_STYLE_GOOD);
    ms_write_name(view->out, chain->expression);
    ms_style_end(view);
    putc('\n', view->out);
}

static void write_chain(const struct ms_view *view, const struct ms_path_chain *chain)
{
    size_t count = chain->steps.count, ends = view->verbose ? MS_PATH_ENDS : STEPS_SHOWN;
    char left[32];
    write_expression(view, chain);
    if (chain->from_root) {
        fputs("  ", view->out);
        ms_write_name(view->out, chain->root.text);
        putc('\n', view->out);
    }
    for (size_t i = 0; i < count; i++) {
        if (i == ends && count > 2 * ends) {
            i = count - ends;
            fprintf(view->out, "    ... %s more\n", ms_count_text(chain->length - 2 * ends, left));
        } else if (i == MS_PATH_ENDS && chain->omitted) {
            fprintf(view->out, "    ... %s more\n", ms_count_text(chain->omitted, left));
        }
        write_step(view, &chain->steps.items[i], chain->from_root || i > 0);
    }
}

static void write_chains(const struct ms_view *view, const struct ms_path_report *report)
{
    char count[32], length[32];
    for (size_t i = 0; i < report->chains.count; i++) {
        const struct ms_path_chain *chain = &report->chains.items[i];
        write_heading(view, report->lost ? "the leak that it is part of"
                            : i == 0     ? "what keeps it alive"
                                         : "and");
        fprintf(view->out, ": %s block%s\n", ms_count_text(chain->length, length),
                chain->length == 1 ? "" : "s");
        write_chain(view, chain);
    }
    if (report->lost) {
        fputs("  its leader holds ", view->out);
        ms_write_tally(view->out, &report->led);
        fprintf(view->out, "%s\n", report->led.blocks ? " besides itself" : "");
    } else if (report->chains.count > 1) {
        fprintf(view->out, "\n%s chains from different roots\n", ms_count_text(report->chains.count, count));
    }
}

void ms_path_text(const struct ms_view *view, const struct ms_image *image, const struct ms_heap *heap,
                  const struct ms_path_report *report)
{
    write_what(view, report);
    if (!view->quiet)
        write_members(view, report);
    if (!view->quiet && report->in_heap && report->block.live)
        write_incoming(view, report);
    if (!view->quiet && (!report->in_heap || report->block.live || report->to_blocks))
        write_outgoing(view, report);
    write_chains(view, report);
    if (!view->quiet)
        ms_write_footer(view, image, heap, report->complete);
}
