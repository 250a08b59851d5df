/* memscope leaks: the one-shot leak report. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_LIST = MS_KEY_LONG, KEY_MIN_BYTES, KEY_KINDS, KEY_SUPPRESSIONS, KEY_FULL, KEY_SHOW, KEY_NO_TYPES };

#define BIT(kind)     (1u << (kind))
#define KINDS_ALL     (BIT(MS_LEAK_KINDS) - 1)
#define KINDS_DEFAULT (BIT(MS_DEFINITE) | BIT(MS_POSSIBLE))
#define KINDS_LISTED  (KINDS_DEFAULT | BIT(MS_INDIRECT))

/* Members that are decoded of each group's sample; with --verbose the most. */
#define MEMBERS_SHOWN 24u
#define MEMBERS_MOST  10000u

struct leaks_options {
    struct ms_common common;
    unsigned kinds; /* 0: not given */
    uint64_t min_bytes;
    bool list, full, show, no_types;
    const char *suppressions; /* a file, or NULL */
};

static const struct argp_option options[] = {
    {"list", KEY_LIST, NULL, 0, "Every leaked block too", 0},
    {"min-bytes", KEY_MIN_BYTES, "SIZE", 0,
     "Leave out groups with less than SIZE bytes, own and held (k, M, G: binary)", 0},
    {"kinds", KEY_KINDS, "KINDS", 0,
     "What groups and list show: definite, indirect, possible, reachable, with commas, or all "
     "(definite,possible; with --list indirect too)",
     0},
    {"suppressions", KEY_SUPPRESSIONS, "FILE", 0,
     "Leave out leaks whose type or module matches a line leak:PATTERN of FILE, as "
     "LeakSanitizer has them",
     0},
    {"show", KEY_SHOW, NULL, 0,
     "The members of the first block of each group, with their values; copies all memory, as --full", 0},
    {"no-types", KEY_NO_TYPES, NULL, 0, "Do without debug information: classes by vtables alone", 0},
    {"full", KEY_FULL, NULL, 0,
     "Copy all memory of the target first: more to read later, a longer "
     "stop, more memory",
     0},
    {0},
};

static bool parse_kind(const char *word, size_t length, unsigned *kinds)
{
    if (length == 3 && strncmp(word, "all", 3) == 0) {
        *kinds |= KINDS_ALL;
        return true;
    }
    for (unsigned kind = 0; kind < MS_LEAK_KINDS; kind++) {
        if (strlen(ms_leak_names[kind]) == length &&
            strncmp(word, ms_leak_names[kind], length) == 0) {
            *kinds |= BIT(kind);
            return true;
        }
    }
    return false;
}

static bool parse_kinds(const char *text, unsigned *kinds)
{
    *kinds = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        if (!parse_kind(text, length, kinds))
            return false;
        if (!text[length])
            return true;
        text += length + 1;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct leaks_options *leaks = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &leaks->common;
        return 0;
    case KEY_LIST:
        leaks->list = true;
        return 0;
    case KEY_FULL:
        leaks->full = true;
        return 0;
    case KEY_SHOW:
        leaks->show = true;
        return 0;
    case KEY_NO_TYPES:
        leaks->no_types = true;
        return 0;
    case KEY_SUPPRESSIONS:
        leaks->suppressions = argument;
        return 0;
    case KEY_MIN_BYTES:
        if (!ms_parse_size(argument, &leaks->min_bytes))
            argp_error(state, "--min-bytes %s: not a size such as 4096, 64k or 1M", argument);
        return 0;
    case KEY_KINDS:
        if (!parse_kinds(argument, &leaks->kinds))
            argp_error(state,
                       "--kinds %s: not a list of definite, indirect, possible and reachable, "
                       "or all",
                       argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "TARGET",
    "Finds blocks on the heap of TARGET that nothing points to any more. TARGET is a PID or an ELF "
    "core file; a process is stopped for a moment and goes on unharmed.\v"
    "Exit status: 0 nothing is definitely lost, 1 something is, 2 bad usage, 3 the target could "
    "not "
    "be inspected, 4 the report is incomplete and says where.",
    ms_common_children,
    ms_help_filter,
    NULL,
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session,
                              const void *options_given, const void *report)
{
    const struct leaks_options *leaks = options_given;
    if (leaks->common.json)
        return ms_leaks_json_write(view, session->image, &session->malloc_scan->heap, report,
                                   session->go_heap, leaks->list);
    ms_leaks_text(view, session->image, &session->malloc_scan->heap, report, session->go_heap);
    return NULL;
}

static ms_result analyse(const struct leaks_options *leaks, struct ms_session *session,
                         const struct ms_suppressions *suppressions, enum ms_status *status)
{
    MS_TRY(ms_session_heaps(&leaks->common, session));
    struct ms_leak_options what = {
        .kinds = leaks->kinds  ? leaks->kinds
                 : leaks->list ? KINDS_LISTED
                               : KINDS_DEFAULT,
        .min_bytes = leaks->min_bytes,
        .list = leaks->list,
        .suppressions = suppressions,
        .types = leaks->no_types ? NULL : session->types,
        .show = !leaks->show             ? 0
                : leaks->common.verbose ? MEMBERS_MOST
                                        : MEMBERS_SHOWN,
    };
    struct ms_leak_report report = {0};
    struct ms_error *error =
        ms_leaks(session->malloc_scan, session->image, session->symbols, &what, &report);
    ms_progress_clear(&session->progress);
    if (!error) {
        report.complete = report.complete && !session->image->incomplete;
        *status = !report.complete                   ? MS_INCOMPLETE
                  : report.kinds[MS_DEFINITE].blocks ? MS_LEAKS
                                                     : MS_OK;
        error = ms_report_write(&leaks->common, session, write_report, leaks, &report);
        ms_leak_report_free(&report);
    }
    return error;
}

ms_result ms_command_leaks(int argc, char **argv, enum ms_status *status)
{
    struct leaks_options leaks = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &leaks) != 0)
        return ms_error_nomem("the command line");
    struct ms_suppressions suppressions = {0};
    if (leaks.suppressions)
        MS_TRY(ms_suppressions_read(leaks.suppressions, &suppressions));
    struct ms_session session;
    enum ms_want want = leaks.full || leaks.show ? MS_WANT_FULL : MS_WANT_LEAN;
    struct ms_error *error = ms_session_open_heap(&leaks.common, want, false, &session);
    if (!error) {
        error = analyse(&leaks, &session, leaks.suppressions ? &suppressions : NULL, status);
        ms_session_close(&session);
    }
    ms_suppressions_free(&suppressions);
    return error;
}
