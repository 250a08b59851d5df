/* memscope memstats: where every resident byte goes. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

static const struct ms_command_line line = {
    .operands = "TARGET",
    .help = "Accounts for every resident byte of TARGET, and says in one line what most of it is: a leak, "
            "retained by live data, fragmentation, allocator caching, or not heap. TARGET is a PID or an ELF "
            "core file; a process is stopped for a moment and goes on unharmed.\v"
            "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected, 4 the report is "
            "incomplete and says where.",
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session, const void *common,
                              const void *report)
{
    if (((const struct ms_common *)common)->json)
        return ms_memstats_json_write(view, session->image, &session->malloc_scan->heap, report);
    ms_memstats_text(view, session->image, &session->malloc_scan->heap, report);
    return NULL;
}

/* A heap of Go with what its runtime counts; a warning says why when it cannot be had. */
static const struct ms_go_stats *read_go(const struct ms_common *common, struct ms_session *session,
                                         struct ms_go_stats *stats)
{
    struct ms_error *error = ms_session_heap(common, session);
    if (!error && session->go)
        error = ms_go_read_stats(session->go_heap, stats);
    if (!error)
        return session->go ? stats : NULL;
    ms_image_warn(session->image, "the account of Go's memory is missing: %s", error->message);
    session->image->incomplete = true;
    ms_error_free(error);
    return NULL;
}

static ms_result analyse(const struct ms_common *common, struct ms_session *session, enum ms_status *status)
{
    struct ms_reach reach = {0};
    struct ms_memstats stats;
    struct ms_go_stats go_stats;
    struct ms_image *image = session->image;
    const struct ms_go_stats *go = image->kind == MS_LEAN ? NULL : read_go(common, session, &go_stats);
    /* The account of maps is worth having even when the heap in them is not understood. */
    if (!go)
        ms_session_warn_without_heap(session, "the heap is counted as other memory");
    MS_TRY(ms_mark(session->malloc_scan, &reach));
    MS_TRY(ms_memstats(session->malloc_scan, image, &reach, session->go_heap, go, &stats));
    stats.complete = !image->incomplete && (go || session->malloc_scan->heap.allocator);
    *status = stats.complete ? MS_OK : MS_INCOMPLETE;
    return ms_report_write(common, session, write_report, common, &stats);
}

ms_result ms_command_memstats(int argc, char **argv, enum ms_status *status)
{
    struct ms_common common = {0};
    MS_TRY(ms_command_line_read(&line, argc, argv, &common));
    struct ms_session session;
    MS_TRY(ms_session_open_heap(&common, MS_WANT_LEAN, true, &session));
    struct ms_error *error = analyse(&common, &session, status);
    ms_session_close(&session);
    return error;
}
