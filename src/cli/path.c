/* memscope path: what an address is, and what keeps it alive. */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* Pointers to and from the block that are listed. */
#define EDGES_SHOWN 10u
#define EDGES_MOST  1000u
#define CHAINS_MOST 1000u
/* Members that are decoded. */
#define MEMBERS_SHOWN 64u
#define MEMBERS_MOST  10000u

enum { KEY_NO_TYPES = MS_KEY_LONG };

struct path_options {
    struct ms_common common;
    bool address_given;
    uint64_t address;
    uint64_t chains;
    bool no_types;
};

static const struct argp_option options[] = {
    {"chains", 'n', "N", 0, "Show up to N chains, each from another root, the shortest first (1)", 0},
    {"no-types", KEY_NO_TYPES, NULL, 0, "Do without debug information", 0},
    {0},
};

/* Decimal, or hexadecimal behind 0x; false if TEXT is neither. */
static bool parse_number(const char *text, uint64_t *value)
{
    char *end;
    bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = hexadecimal ? text + 2 : text;
    if (hexadecimal ? !isxdigit((unsigned char)*digits) : !isdigit((unsigned char)*digits))
        return false;
    errno = 0;
    *value = strtoull(digits, &end, hexadecimal ? 16 : 10);
    return !*end && errno == 0;
}

/* The first argument is the target, which all commands have; the second is ours. */
static error_t take_argument(struct argp_state *state, struct path_options *path, const char *argument)
{
    if (!path->common.target)
        return ARGP_ERR_UNKNOWN;
    if (path->address_given)
        argp_error(state, "one address at a time: what is '%s'?", argument);
    if (!parse_number(argument, &path->address))
        argp_error(state, "'%s' is no address such as 0x55d1c02a4c30", argument);
    path->address_given = true;
    return 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct path_options *path = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &path->common;
        return 0;
    case 'n':
        if (!parse_number(argument, &path->chains) || path->chains < 1 || path->chains > CHAINS_MOST)
            argp_error(state, "--chains %s: not a number from 1 to %u", argument, CHAINS_MOST);
        return 0;
    case KEY_NO_TYPES:
        path->no_types = true;
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(state, path, argument);
    case ARGP_KEY_END:
        if (path->common.target && !path->address_given)
            argp_error(state, "which address? Give one such as 0x55d1c02a4c30");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "TARGET ADDR",
    "Tells what ADDR is in TARGET, who points to it, and the shortest chain of pointers from a root "
    "that keeps it alive. TARGET is a PID or an ELF core file; a process is stopped for a moment and "
    "goes on unharmed. ADDR is hexadecimal behind 0x, or decimal.\v"
    "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected or has nothing at ADDR, 4 "
    "the report is incomplete and says where.",
    ms_common_children,
    ms_help_filter,
    NULL,
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session,
                              const void *common, const void *report)
{
    if (((const struct ms_common *)common)->json)
        return ms_path_json_write(view, session->image, &session->scan->heap, report);
    ms_path_text(view, session->image, &session->scan->heap, report);
    return NULL;
}

static ms_result analyse(const struct path_options *path, struct ms_session *session,
                         enum ms_status *status)
{
    /* What maps and symbols say is worth having even when the heap is not understood. */
    MS_TRY(ms_session_heap(&path->common, session));
    /* What C has allocated in a Go program. */
    if (!ms_heap_segment(&session->scan->heap, path->address) &&
        ms_heap_segment(&session->malloc_scan->heap, path->address))
        session->scan = session->malloc_scan;
    ms_session_warn_without_heap(session, "blocks are not known");
    struct ms_path_options what = {
        .address = path->address,
        .chains = path->chains,
        .types = path->no_types ? NULL : session->types,
        .members = path->common.verbose ? MEMBERS_MOST : MEMBERS_SHOWN,
        .edges = path->common.json || path->common.verbose ? EDGES_MOST : EDGES_SHOWN,
    };
    struct ms_path_report report;
    struct ms_error *failed = ms_path(session->scan, session->image, session->symbols, &what, &report);
    ms_progress_clear(&session->progress);
    MS_TRY(failed);
    report.complete = report.complete && session->scan->heap.allocator;
    *status = report.complete ? MS_OK : MS_INCOMPLETE;
    struct ms_error *error = ms_report_write(&path->common, session, write_report, &path->common, &report);
    ms_path_report_free(&report);
    return error;
}

ms_result ms_command_path(int argc, char **argv, enum ms_status *status)
{
    struct path_options path = {.chains = 1};
    if (argp_parse(&argp, argc, argv, 0, NULL, &path) != 0)
        return ms_error_nomem("the command line");
    struct ms_session session;
    MS_TRY(ms_session_open(&path.common, MS_WANT_FULL, false, &session));
    struct ms_error *error = analyse(&path, &session, status);
    ms_session_close(&session);
    return error;
}
