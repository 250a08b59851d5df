/* memscope goroutines: what the goroutines of a Go program are doing. */
#include "command.h"

#include <stddef.h>

#include "goroutines_known.h"

#define MINUTES_MOST   (100ull * 366 * 24 * 60)
#define SUSPECTS_LEAST 10u /* of a group that is suspect because it waits for long */
#define NS_MINUTE      (60ull * 1000 * 1000 * 1000)

struct goroutines_options {
    struct ms_common common;
    bool full, leaked, system;
    struct ms_goroutines_known known;
    const char *baseline; /* path, or NULL */
    uint64_t suspect_minutes;
};

static ms_result take_ignored(void *chosen, const char *function)
{
    return ms_goroutines_known_ignore(&((struct goroutines_options *)chosen)->known, function);
}

#define INTO(member) .into = offsetof(struct goroutines_options, member)
static const struct ms_option options[] = {
    {"full", 0, NULL, "Each goroutine by itself, as the traceback of a panic shows them", MS_TAKES_NOTHING,
     INTO(full)},
    {"leaked", 0, NULL,
     "Those alone that are blocked for ever: no goroutine that can still run can reach what they wait for",
     MS_TAKES_NOTHING, INTO(leaked)},
    {"ignore", 0, "FUNC",
     "Leave out groups that have the function FUNC in their stacks, or with * at its end one whose name "
     "begins so; may be given more than once",
     MS_TAKES_OWN, .take = take_ignored},
    {"baseline", 0, "FILE",
     "Leave out as many of each stack as FILE has, an earlier output of memscope goroutines -j", MS_TAKES_TEXT,
     INTO(baseline)},
    {"suspect-after", 0, "MINUTES", "With --leaked, show groups as suspects that wait for so long (1)",
     MS_TAKES_NUMBER, INTO(suspect_minutes), .most = MINUTES_MOST},
    {"system", 0, NULL, "Those of the runtime too", MS_TAKES_NOTHING, INTO(system)},
};

static const struct ms_command_line line = {
    .operands = "TARGET",
    .help = "Groups the goroutines of TARGET, a Go program, by equal stacks, and says what they wait for "
            "and for how long. TARGET is a PID or an ELF core file; a process is stopped for a moment and "
            "goes on unharmed.\v"
            "Exit status: 0 done, 1 with --leaked: some are, 2 bad usage, 3 the target could not be inspected, "
            "4 the report is incomplete and says where.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session,
                              const void *command_options, const void *data)
{
    const struct goroutines_options *chosen = command_options;
    const struct ms_goroutines_report *report = data;
    const struct ms_heap *heap = &session->scan->heap;
    if (chosen->common.json)
        return ms_goroutines_json_write(view, session->image, heap, report, chosen->full);
    if (!chosen->full)
        return ms_goroutines_text(view, session->image, heap, report);
    ms_goroutines_full_text(view, report);
    return NULL;
}

static void warn(struct ms_image *image, const struct ms_goroutines_report *report)
{
    if (report->all->unreadable)
        ms_image_warn(image, "%zu goroutines could not be read", report->all->unreadable);
    if (report->groups.incomplete)
        ms_image_warn(image, "%llu stacks could not be read to their end",
                      (unsigned long long)report->groups.incomplete);
}

/* Those of the leaked that nobody knew, and the groups that may become so. */
static void judge(struct ms_goroutines_report *report)
{
    for (size_t i = 0; i < report->groups.list.count; i++) {
        struct ms_go_group *group = &report->groups.list.items[i];
        const uint64_t waiting = group->count - group->leaked;
        report->remaining += ms_goroutines_shown(report, group);
        const bool many = waiting >= SUSPECTS_LEAST && group->waited_ns >= report->suspect_ns;
        const bool grown = group->before && group->count > group->before;
        const char *reason = group->states.items[0].wait_reason;
        group->suspect = waiting && !group->ignored && ms_go_is_blocked(reason) &&
                         (grown || (many && group->before < group->count));
    }
}

static ms_result write_on(struct goroutines_options *chosen, struct ms_session *session,
                          struct ms_goroutines_report *report, struct ms_go_leaks *leaks, enum ms_status *status)
{
    if (leaks)
        MS_TRY(ms_go_leaks_retained(leaks, &report->groups, &report->retained));
    MS_TRY(ms_goroutines_known_apply(&chosen->known, report));
    if (leaks)
        judge(report);
    ms_session_warn_missed(session);
    warn(session->image, report);
    report->complete = !session->image->incomplete && !report->all->unreadable && !report->groups.incomplete;
    *status = !report->complete ? MS_INCOMPLETE : report->remaining ? MS_LEAKS : MS_OK;
    return ms_report_write(&chosen->common, session, write_report, chosen, report);
}

/* LEAKS is NULL unless that was asked. */
static ms_result report_on(struct goroutines_options *chosen, struct ms_session *session,
                           const struct ms_go_goroutines *all, struct ms_go_leaks *leaks, enum ms_status *status)
{
    struct ms_goroutines_report report = {
        .all = all, .leaks = leaks, .suspect_ns = chosen->suspect_minutes * NS_MINUTE, .with_system = chosen->system};
    MS_TRY(ms_go_group(all, chosen->system, leaks ? leaks->leaked : NULL, &report.groups));
    struct ms_error *error = write_on(chosen, session, &report, leaks, status);
    ms_go_groups_free(&report.groups);
    return error;
}

/* Which are leaked is asked of the heap. */
static ms_result analyse_leaked(struct goroutines_options *chosen, struct ms_session *session,
                                enum ms_status *status)
{
    struct ms_go_leaks leaks;
    MS_TRY(ms_go_heap_new(session->go, session->image, &session->go_heap));
    MS_TRY(ms_go_find_leaked(session->go_heap, &leaks));
    struct ms_error *error = report_on(chosen, session, session->go_heap->goroutines, &leaks, status);
    ms_go_leaks_free(&leaks);
    return error;
}

static ms_result analyse_all(struct goroutines_options *chosen, struct ms_session *session, enum ms_status *status)
{
    struct ms_go_functions *functions;
    struct ms_go_goroutines *all = NULL;
    MS_TRY(ms_go_functions_new(session->go, &functions));
    struct ms_error *error = ms_go_goroutines_new(session->go, functions, &all);
    if (!error)
        error = report_on(chosen, session, all, NULL, status);
    ms_go_goroutines_free(all);
    ms_go_functions_free(functions);
    return error;
}

static ms_result open_go(const struct goroutines_options *chosen, struct ms_session *session)
{
    if (session->image->kind == MS_LEAN)
        return ms_error(MS_TARGET,
                        "%s: its stacks take a copy of its memory, for which there is "
                        "not enough here: give a core file of it instead",
                        session->image->origin);
    MS_TRY(ms_session_go(&chosen->common, session));
    if (!session->go)
        return ms_error(MS_TARGET, "%s is no Go program: it has no goroutines", session->image->origin);
    return NULL;
}

static ms_result inspect(struct goroutines_options *chosen, enum ms_status *status)
{
    struct ms_session session;
    if (chosen->baseline)
        MS_TRY(ms_goroutines_known_read(&chosen->known, chosen->baseline));
    /* What the leaked ones wait for is asked of all objects. */
    MS_TRY(chosen->leaked ? ms_session_open(&chosen->common, MS_WANT_FULL, false, &session)
                          : ms_session_open_go(&chosen->common, MS_GO_NEED_GOROUTINES, &session));
    struct ms_error *error = open_go(chosen, &session);
    if (!error)
        error = chosen->leaked ? analyse_leaked(chosen, &session, status) : analyse_all(chosen, &session, status);
    ms_session_close(&session);
    return error;
}

ms_result ms_command_goroutines(int argc, char **argv, enum ms_status *status)
{
    struct goroutines_options chosen = {.suspect_minutes = 1};
    struct ms_error *error = ms_command_line_read(&line, argc, argv, &chosen);
    if (!error)
        error = inspect(&chosen, status);
    ms_goroutines_known_free(&chosen.known);
    return error;
}
