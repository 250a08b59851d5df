/* memscope path: what an address is, and what keeps it alive. */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* Pointers to and from the block that are listed. */
#define EDGES_SHOWN 10u
#define EDGES_MOST  1000u
#define CHAINS_MOST 1000u
/* Members that are decoded. */
#define MEMBERS_SHOWN 64u
#define MEMBERS_MOST  10000u

struct path_options {
    struct ms_common common;
    uint64_t address;
    uint64_t chains;
    bool no_types;
};

#define INTO(member) .into = offsetof(struct path_options, member)
static const struct ms_option options[] = {
    {"chains", 'n', "N", "Show up to N chains, each from another root, the shortest first (1)", MS_TAKES_NUMBER,
     INTO(chains), .least = 1, .most = CHAINS_MOST},
    {"no-types", 0, NULL, "Do without debug information", MS_TAKES_NOTHING, INTO(no_types)},
};

static const struct ms_command_line line = {
    .operands = "TARGET ADDR",
    .operand = "address",
    .help = "Tells what ADDR is in TARGET, who points to it, and the shortest chain of pointers from a root "
            "that keeps it alive. TARGET is a PID or an ELF core file; a process is stopped for a moment and "
            "goes on unharmed. ADDR is hexadecimal behind 0x, or decimal.\v"
            "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected or has nothing at ADDR, 4 "
            "the report is incomplete and says where.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

/* Decimal, or hexadecimal behind 0x; false if TEXT is neither. */
static bool parse_address(const char *text, uint64_t *value)
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

static ms_result write_report(const struct ms_view *view, const struct ms_session *session, const void *common,
                              const void *report)
{
    if (((const struct ms_common *)common)->json)
        return ms_path_json_write(view, session->image, &session->scan->heap, report);
    ms_path_text(view, session->image, &session->scan->heap, report);
    return NULL;
}

static ms_result analyse(const struct path_options *path, struct ms_session *session, enum ms_status *status)
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
    MS_TRY(ms_command_line_read(&line, argc, argv, &path));
    if (!parse_address(path.common.operand, &path.address))
        return ms_error(MS_USAGE, "'%s' is no address such as 0x55d1c02a4c30", path.common.operand);
    struct ms_session session;
    MS_TRY(ms_session_open(&path.common, MS_WANT_FULL, false, &session));
    struct ms_error *error = analyse(&path, &session, status);
    ms_session_close(&session);
    return error;
}
