/* memscope goroutines: what the goroutines of a Go program are doing. */
#include "command.h"

#include <stdlib.h>

#include "memscope/goleaks.h"

enum { KEY_FULL = MS_KEY_LONG, KEY_LEAKED, KEY_SYSTEM };

struct goroutines_options {
    struct ms_common common;
    bool full, leaked, system;
};

static const struct argp_option options[] = {
    {"full", KEY_FULL, NULL, 0, "Each goroutine by itself, as the traceback of a panic shows them", 0},
    {"leaked", KEY_LEAKED, NULL, 0,
     "Those alone that are blocked for ever: no goroutine that can still run can reach what they "
     "wait for",
     0},
    {"system", KEY_SYSTEM, NULL, 0, "Those of the runtime too", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct goroutines_options *chosen = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &chosen->common;
        return 0;
    case KEY_FULL:
        chosen->full = true;
        return 0;
    case KEY_LEAKED:
        chosen->leaked = true;
        return 0;
    case KEY_SYSTEM:
        chosen->system = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "TARGET",
    "Groups the goroutines of TARGET, a Go program, by equal stacks, and says what they wait for "
    "and for how long. TARGET is a PID or an ELF core file; a process is stopped for a moment and "
    "goes on unharmed.\v"
    "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected, 4 the report is "
    "incomplete and says where.",
    ms_common_children,
    ms_help_filter,
    NULL,
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

static ms_result report_on(const struct goroutines_options *chosen, struct ms_session *session,
                           const struct ms_go_goroutines *all, const bool *leaked, enum ms_status *status)
{
    struct ms_goroutines_report report = {.all = all, .leaked = leaked, .with_system = chosen->system};
    MS_TRY(ms_go_group(all, chosen->system, leaked, &report.groups));
    warn(session->image, &report);
    report.complete = !session->image->incomplete && !all->unreadable && !report.groups.incomplete;
    *status = report.complete ? MS_OK : MS_INCOMPLETE;
    struct ms_error *error = ms_report_write(&chosen->common, session, write_report, chosen, &report);
    ms_go_groups_free(&report.groups);
    return error;
}

/* Which are leaked is asked of the heap. */
static ms_result analyse_leaked(const struct goroutines_options *chosen, struct ms_session *session,
                                enum ms_status *status)
{
    bool *leaked;
    MS_TRY(ms_go_heap_new(session->go, session->image, &session->go_heap));
    MS_TRY(ms_go_find_leaked(session->go_heap, &leaked));
    struct ms_error *error = report_on(chosen, session, session->go_heap->goroutines, leaked, status);
    free(leaked);
    return error;
}

static ms_result analyse_all(const struct goroutines_options *chosen, struct ms_session *session,
                             enum ms_status *status)
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

ms_result ms_command_goroutines(int argc, char **argv, enum ms_status *status)
{
    struct goroutines_options chosen = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &chosen) != 0)
        return ms_error_nomem("the command line");
    struct ms_session session;
    MS_TRY(ms_session_open(&chosen.common, MS_WANT_FULL, false, &session));
    struct ms_error *error = open_go(&chosen, &session);
    if (!error)
        error = chosen.leaked ? analyse_leaked(&chosen, &session, status) : analyse_all(&chosen, &session, status);
    ms_session_close(&session);
    return error;
}
