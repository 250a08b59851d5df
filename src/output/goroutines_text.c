/* Goroutines as text: groups of equal stacks, or each one as the traceback of a panic shows it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define NAME_MOST 4096u
#define NS_MINUTE (60ull * 1000 * 1000 * 1000)

/* A function as tracebacks call it. */
static void write_function(FILE *out, const char *function)
{
    char shown[NAME_MOST];
    if (!strcmp(function, "runtime.gopanic"))
        function = "panic";
    ms_write_name(out, ms_go_shown_name(function, shown, sizeof shown));
}

static void write_place(FILE *out, const struct ms_go_call *call)
{
    ms_write_name(out, call->file);
    fprintf(out, ":%d", call->line);
}

uint64_t ms_goroutines_shown(const struct ms_goroutines_report *report, const struct ms_go_group *group)
{
    uint64_t count = report->leaks ? group->leaked : group->count;
    return group->ignored || group->known > count ? 0 : count - group->known;
}

bool ms_goroutines_lists(const struct ms_goroutines_report *report, size_t index)
{
    const uint32_t group = report->groups.of[index];
    if (group == MS_GO_NO_GROUP || (report->leaks && !report->leaks->leaked[index]))
        return false;
    return ms_goroutines_shown(report, &report->groups.list.items[group]) != 0;
}

/* --- each one -----------------------------------------------------------------------------------
 */

/* goroutineheader() of src/runtime/traceback.go */
static void write_header(FILE *out, const struct ms_go_goroutine *goroutine)
{
    fprintf(out, "goroutine %" PRIu64 " [", goroutine->id);
    ms_write_name(out, goroutine->state);
    if (goroutine->status == MS_GO_LEAKED)
        fputs(" (leaked)", out);
    if (goroutine->scanned)
        fputs(" (scan)", out);
    if (goroutine->durable)
        fputs(" (durable)", out);
    if (goroutine->waited_ns >= NS_MINUTE)
        fprintf(out, ", %" PRIu64 " minutes", (uint64_t)(goroutine->waited_ns / NS_MINUTE));
    if (goroutine->locked)
        fputs(", locked to thread", out);
    if (goroutine->bubble)
        fprintf(out, ", synctest bubble %" PRIu64, goroutine->bubble);
    fputs("]:\n", out);
}

static void write_offset(FILE *out, const struct ms_go_traced *traced)
{
    if (!traced->call.inlined && traced->pc > traced->call.entry)
        fprintf(out, " +0x%" PRIx64, traced->pc - traced->call.entry);
    putc('\n', out);
}

static void write_traced(FILE *out, const struct ms_go_goroutines *all, const struct ms_go_traced *traced)
{
    char arguments[MS_GO_ARGUMENTS_TEXT];
    write_function(out, traced->call.function);
    fprintf(out, "(%s)\n\t", ms_go_arguments(all, traced, arguments));
    write_place(out, &traced->call);
    write_offset(out, traced);
}

static void write_goroutine(FILE *out, const struct ms_go_goroutines *all, const struct ms_go_goroutine *goroutine)
{
    struct ms_go_traceback traceback;
    struct ms_go_traced creator;
    ms_go_trace(all, goroutine, &traceback);
    write_header(out, goroutine);
    for (unsigned i = 0; i < traceback.count; i++) {
        if (traceback.elided && i == traceback.elided_at)
            fprintf(out, "...%" PRIu64 " frames elided...\n", traceback.elided);
        write_traced(out, all, &traceback.calls[i]);
    }
    if (traceback.cut)
        fputs("...additional frames elided...\n", out);
    if (goroutine->id != 1 && ms_go_creator(all, goroutine->created_at, &creator)) {
        fputs("created by ", out);
        write_function(out, creator.call.function);
        if (goroutine->parent)
            fprintf(out, " in goroutine %" PRIu64, goroutine->parent);
        fputs("\n\t", out);
        write_place(out, &creator.call);
        write_offset(out, &creator);
    }
}

void ms_goroutines_full_text(const struct ms_view *view, const struct ms_goroutines_report *report)
{
    const struct ms_go_goroutines *all = report->all;
    bool first = true;
    for (size_t i = 0; i < all->list.count && !ferror(view->out); i++) {
        if (!ms_goroutines_lists(report, i))
            continue;
        if (!first)
            putc('\n', view->out);
        first = false;
        write_goroutine(view->out, all, &all->list.items[i]);
    }
}

/* --- groups -------------------------------------------------------------------------------------
 */

/* "5 minutes" and the like: how long something waits is known to no more than a collection. */
static void write_wait(FILE *out, uint64_t ns)
{
    static const struct {
        uint64_t ns;
        const char *name;
    } units[] = {
        {24 * 60 * NS_MINUTE, "day"},
        {60 * NS_MINUTE, "hour"},
        {NS_MINUTE, "minute"},
        {NS_MINUTE / 60, "second"},
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        uint64_t count = ns / units[i].ns;
        if (!count)
            continue;
        fprintf(out, ", %" PRIu64 " %s%s", count, units[i].name, count == 1 ? "" : "s");
        return;
    }
}

static void write_states(const struct ms_view *view, const struct ms_go_group *group)
{
    char count[32];
    for (size_t i = 0; i < group->states.count; i++) {
        const struct ms_go_state_count *state = &group->states.items[i];
        if (i)
            fputs(", ", view->out);
        if (group->states.count > 1)
            fprintf(view->out, "%s ", ms_count_text(state->count, count));
        ms_write_name(view->out, state->state);
    }
    write_wait(view->out, group->waited_ns);
    if (group->waited_ns >= NS_MINUTE / 60 && group->count > 1)
        fputs(" at most", view->out);
}

static void write_labels(FILE *out, const struct ms_go_labels *labels)
{
    for (size_t i = 0; i < labels->list.count; i++) {
        const struct ms_go_label *label = &labels->list.items[i];
        fputs(i ? ", " : "          labels: ", out);
        ms_write_quoted(out, (const uint8_t *)label->key, strlen(label->key));
        fputs(": ", out);
        ms_write_quoted(out, (const uint8_t *)label->value, strlen(label->value));
    }
    if (labels->list.count)
        putc('\n', out);
}

static void write_call(const struct ms_view *view, const struct ms_go_call *call, uint64_t times)
{
    fputs("          ", view->out);
    write_function(view->out, call->function);
    ms_style_begin(view, MS_STYLE_FAINT);
    fputs("  ", view->out);
    write_place(view->out, call);
    if (times > 1)
        fprintf(view->out, "  %" PRIu64 " times", times);
    ms_style_end(view);
    putc('\n', view->out);
}

static bool same_call(const struct ms_go_traced *a, const struct ms_go_traced *b)
{
    return a->call.line == b->call.line && !strcmp(a->call.function, b->call.function) &&
           !strcmp(a->call.file, b->call.file);
}

/* Recursion is one line. */
static void write_calls(const struct ms_view *view, const struct ms_go_group *group,
                        const struct ms_go_calls *calls)
{
    const struct ms_go_traced *before = NULL;
    uint64_t times = 0;
    for (size_t i = 0; i < calls->list.count; i++) {
        const struct ms_go_traced *traced = &calls->list.items[i];
        if (!traced->shown && !view->verbose)
            continue;
        if (before && !same_call(before, traced)) {
            write_call(view, &before->call, times);
            times = 0;
        }
        before = traced;
        times++;
    }
    if (before)
        write_call(view, &before->call, times);
    if (group->depth > group->kept)
        fprintf(view->out, "          ... %u more frames\n", group->depth - group->kept);
    if (!group->complete)
        fputs("          ... where it was called from is not known\n", view->out);
}

/* What a group of leaked ones waits for, as its first has it, and what it keeps. */
static void write_leak(const struct ms_view *view, const struct ms_goroutines_report *report,
                       const struct ms_go_group *group)
{
    char retained[16], stacks[16], blocks[32];
    const size_t number = (size_t)(group - report->groups.list.items);
    size_t first = group->first;
    while (first + 1 < report->all->list.count &&
           (report->groups.of[first] != number || !report->leaks->leaked[first]))
        first++;
    const struct ms_go_wait *wait = &report->leaks->waits[first];
    if (wait->address) {
        fprintf(view->out, "          waits for %s 0x%" PRIx64, wait->channel ? "channel" : "what is at",
                wait->address);
        if (wait->channel && wait->capacity)
            fprintf(view->out, " (%" PRIu64 " of %" PRIu64 " queued)", wait->length, wait->capacity);
        if (wait->count > 1)
            fprintf(view->out, ", the first of %" PRIu32, wait->count);
        if (wait->waiters > 1)
            fprintf(view->out, ", as %" PRIu32 " other%s", wait->waiters - 1, wait->waiters == 2 ? "" : "s");
        putc('\n', view->out);
    }
    fprintf(view->out, "          keeps %s in %s object%s, and %s of stack%s\n",
            ms_size_text(group->retained_bytes, retained), ms_count_text(group->retained_blocks, blocks),
            group->retained_blocks == 1 ? "" : "s", ms_size_text(group->stack_bytes, stacks),
            group->leaked == 1 ? "" : "s");
}

/* COUNT of GROUP are shown. */
static ms_result write_group(const struct ms_view *view, const struct ms_goroutines_report *report,
                             const struct ms_go_group *group, uint64_t shown)
{
    const struct ms_go_goroutines *all = report->all;
    char count[32];
    struct ms_go_calls calls;
    struct ms_go_labels labels;
    struct ms_go_traced creator;
    MS_TRY(ms_go_group_calls(all, group, &calls));
    struct ms_error *error = ms_go_labels_read(all, &all->list.items[group->first], &labels);
    if (error) {
        ms_go_calls_free(&calls);
        return error;
    }
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%8s  ", ms_count_text(shown, count));
    if (shown != group->count)
        fprintf(view->out, "of %s ", ms_count_text(group->count, count));
    write_states(view, group);
    ms_style_end(view);
    if (group->count == 1)
        fprintf(view->out, "  (goroutine %" PRIu64 ")", all->list.items[group->first].id);
    putc('\n', view->out);
    write_labels(view->out, &labels);
    if (report->leaks && group->leaked)
        write_leak(view, report, group);
    write_calls(view, group, &calls);
    if (group->created_at && ms_go_creator(all, group->created_at, &creator) &&
        all->list.items[group->first].id != 1) {
        fputs("          created by ", view->out);
        write_function(view->out, creator.call.function);
        ms_style_begin(view, MS_STYLE_FAINT);
        fputs("  ", view->out);
        write_place(view->out, &creator.call);
        ms_style_end(view);
        putc('\n', view->out);
    }
    ms_go_calls_free(&calls);
    ms_go_labels_free(&labels);
    return NULL;
}

/* What can no more be woken, and which of it is most. */
static void write_leaked(const struct ms_view *view, const struct ms_goroutines_report *report)
{
    char leaked[32], total[32], size[16];
    const struct ms_go_groups *groups = &report->groups;
    ms_style_begin(view, report->remaining ? MS_STYLE_BAD : MS_STYLE_GOOD);
    if (groups->leaked)
        fprintf(view->out, "%s of %s goroutine%s leaked: nothing that can still run can wake them",
                ms_count_text(groups->leaked, leaked), ms_count_text(groups->total, total),
                groups->total == 1 ? " is" : "s are");
    else
        fprintf(view->out, "none of %s goroutine%s is leaked", ms_count_text(groups->total, total),
                groups->total == 1 ? "" : "s");
    ms_style_end(view);
    if (groups->leaked)
        fprintf(view->out, ", and they alone keep %s", ms_size_text(report->retained.bytes, size));
    if (groups->leaked != report->remaining)
        fprintf(view->out, "; %s of them %s ignored or known",
                ms_count_text(groups->leaked - report->remaining, leaked),
                groups->leaked - report->remaining == 1 ? "is" : "are");
    putc('\n', view->out);
}

static ms_result write_suspects(const struct ms_view *view, const struct ms_goroutines_report *report)
{
    bool any = false;
    for (size_t i = 0; report->leaks && i < report->groups.list.count && !ferror(view->out); i++) {
        const struct ms_go_group *group = &report->groups.list.items[i];
        if (!group->suspect)
            continue;
        if (!any)
            fputs("\nsuspects, which something can still wake: many that wait for long, or more than before\n",
                  view->out);
        any = true;
        struct ms_go_group waiting = *group;
        waiting.leaked = 0; /* those were shown */
        MS_TRY(write_group(view, report, &waiting, group->count - group->leaked));
    }
    return NULL;
}

static void write_verdict(const struct ms_view *view, const struct ms_go_groups *groups)
{
    char total[32], count[32], share[16];
    fprintf(view->out, "%s goroutine%s in %s group%s of equal stacks", ms_count_text(groups->total, total),
            groups->total == 1 ? "" : "s", ms_count_text(groups->list.count, count),
            groups->list.count == 1 ? "" : "s");
    const struct ms_go_group *most = groups->list.items;
    if (groups->list.count > 1 && most->count > 1)
        fprintf(view->out, "; %s (%s) in the largest, %s", ms_count_text(most->count, total),
                ms_share_text(most->count, groups->total, share), most->states.items[0].state);
    if (groups->system)
        fprintf(view->out, "; %s of the runtime left out", ms_count_text(groups->system, count));
    putc('\n', view->out);
}

ms_result ms_goroutines_text(const struct ms_view *view, const struct ms_image *image, const struct ms_heap *heap,
                             const struct ms_goroutines_report *report)
{
    if (report->leaks)
        write_leaked(view, report);
    else
        write_verdict(view, &report->groups);
    for (size_t i = 0; i < report->groups.list.count && !ferror(view->out); i++) {
        const struct ms_go_group *group = &report->groups.list.items[i];
        uint64_t shown = ms_goroutines_shown(report, group);
        if (shown)
            MS_TRY(write_group(view, report, group, shown));
    }
    MS_TRY(write_suspects(view, report));
    ms_write_footer(view, image, heap, report->complete);
    return NULL;
}
