/* memscope leaks: the one-shot leak report. */
#include "command.h"

#include <stddef.h>
#include <string.h>

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

static ms_result take_kinds(void *leaks, const char *text)
{
    if (!parse_kinds(text, &((struct leaks_options *)leaks)->kinds))
        return ms_error(MS_USAGE, "--kinds %s: not a list of definite, indirect, possible and reachable, or all", text);
    return NULL;
}

#define INTO(member) .into = offsetof(struct leaks_options, member)
static const struct ms_option options[] = {
    {"list", 0, NULL, "Every leaked block too", MS_TAKES_NOTHING, INTO(list)},
    {"min-bytes", 0, "SIZE", "Leave out groups with less than SIZE bytes, own and held (k, M, G: binary)",
     MS_TAKES_SIZE, INTO(min_bytes)},
    {"kinds", 0, "KINDS",
     "What groups and list show: definite, indirect, possible, reachable, with commas, or all "
     "(definite,possible; with --list indirect too)",
     MS_TAKES_OWN, .take = take_kinds},
    {"suppressions", 0, "FILE",
     "Leave out leaks whose type or module matches a line leak:PATTERN of FILE, as LeakSanitizer has them",
     MS_TAKES_TEXT, INTO(suppressions)},
    {"show", 0, NULL,
     "The members of the first block of each group, with their values; copies all memory, as --full",
     MS_TAKES_NOTHING, INTO(show)},
    {"no-types", 0, NULL, "Do without debug information: classes by vtables alone", MS_TAKES_NOTHING,
     INTO(no_types)},
    {"full", 0, NULL,
     "Copy all memory of the target first: more to read later, a longer stop, more memory",
     MS_TAKES_NOTHING, INTO(full)},
};

static const struct ms_command_line line = {
    .operands = "TARGET",
    .help = "Finds blocks on the heap of TARGET that nothing points to any more. TARGET is a PID or an ELF "
            "core file; a process is stopped for a moment and goes on unharmed.\v"
            "Exit status: 0 nothing is definitely lost, 1 something is, 2 bad usage, 3 the target could not "
            "be inspected, 4 the report is incomplete and says where.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
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
    MS_TRY(ms_command_line_read(&line, argc, argv, &leaks));
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
