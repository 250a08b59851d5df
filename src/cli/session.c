/* From a target's name to an image with a settled heap: how every command starts. */
#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memscope/capture.h"

static bool shows_progress(const struct ms_common *common)
{
    return !common->quiet && isatty(STDERR_FILENO);
}

static ms_result capture(const struct ms_common *common, enum ms_want want, bool account,
                         const struct ms_selection *selection, struct ms_session *session)
{
    MS_TRY(ms_scan_new(&session->malloc_scan));
    session->scan = session->malloc_scan;
    struct ms_capture_options options = {
        .want = want,
        .account = account,
        .exe = common->exe,
        .sysroot = common->sysroot,
        .progress = shows_progress(common) ? ms_progress_show : NULL,
        .progress_context = &session->progress,
        .sink = ms_scan_sink(session->scan),
        .selection = selection,
    };
    struct ms_error *error = ms_open_target(common->target, &options, &session->image);
    ms_progress_clear(&session->progress);
    return error;
}

static ms_result open_session(const struct ms_common *common, enum ms_want want, bool account,
                              const struct ms_selection *selection, struct ms_session *session)
{
    *session = (struct ms_session){0};
    MS_TRY(ms_report_file_check(common->output));
    struct ms_error *error = capture(common, want, account, selection, session);
    if (!error)
        error = ms_scan_finish(session->scan, session->image);
    if (error)
        ms_session_close(session);
    return error;
}

ms_result ms_session_open(const struct ms_common *common, enum ms_want want, bool account,
                          struct ms_session *session)
{
    return open_session(common, want, account, NULL, session);
}

/* Its PID, or 0: the target is no Go program that runs. */
static pid_t go_process(const struct ms_common *common)
{
    const char *target = common->target;
    const bool process = !target[strspn(target, "0123456789")];
    const pid_t pid = process ? (pid_t)strtol(target, NULL, 10) : 0;
    return pid && ms_go_is_process(pid) ? pid : 0;
}

ms_result ms_session_open_heap(const struct ms_common *common, enum ms_want want, bool account,
                               struct ms_session *session)
{
    return ms_session_open(common, go_process(common) ? MS_WANT_FULL : want, account, session);
}

ms_result ms_session_open_go(const struct ms_common *common, enum ms_go_need need, struct ms_session *session)
{
    struct ms_go_selection *selection = NULL;
    const pid_t pid = go_process(common);
    if (pid)
        MS_TRY(ms_go_selection_new(pid, need, &selection));
    struct ms_error *error = open_session(common, MS_WANT_FULL, false, ms_go_selection(selection), session);
    if (error)
        ms_go_selection_free(selection);
    else
        session->selection = selection;
    session->missed = error ? 0 : ms_image_missed(session->image);
    return error;
}

void ms_session_warn_missed(struct ms_session *session)
{
    const uint64_t missed = ms_image_missed(session->image) - session->missed;
    if (!missed)
        return;
    session->image->incomplete = true;
    ms_image_warn(session->image,
                  "%llu times memory was asked for that had not been copied, maybe because the program changed much "
                  "just then: try again",
                  (unsigned long long)missed);
}

static ms_result open_symbols(const struct ms_common *common, struct ms_session *session)
{
    struct ms_symbols_options options = {
        .debuginfod = common->debuginfod,
        .sysroot = common->sysroot,
    };
    return ms_symbols_new(session->image, &options, &session->symbols);
}

/* The symbols, and types that are read with progress as they are asked for. */
static ms_result open_types(const struct ms_common *common, struct ms_session *session)
{
    MS_TRY(open_symbols(common, session));
    return ms_types_new(session->symbols, session->image, shows_progress(common) ? ms_progress_show : NULL,
                        &session->progress, &session->types);
}

ms_result ms_session_go(const struct ms_common *common, struct ms_session *session)
{
    MS_TRY(open_types(common, session));
    MS_TRY(ms_go_open(session->image, session->symbols, session->types, &session->go));
    if (session->go)
        ms_go_selection_share(session->selection, session->go);
    struct ms_heap *heap = session->scan ? &session->scan->heap : NULL;
    if (session->go && heap && !heap->allocator)
        snprintf(heap->description, sizeof heap->description, "Go %.40s", ms_go_release(session->go));
    return NULL;
}

ms_result ms_session_heap(const struct ms_common *common, struct ms_session *session)
{
    MS_TRY(ms_session_go(common, session));
    if (!session->go)
        return NULL;
    MS_TRY(ms_go_heap_new(session->go, session->image, &session->go_heap));
    session->scan = session->go_heap->scan;
    return ms_go_drop_stale(session->go_heap, session->image, session->malloc_scan);
}

ms_result ms_session_heaps(const struct ms_common *common, struct ms_session *session)
{
    struct ms_error *error = ms_session_heap(common, session);
    if (error && error->status == MS_TARGET && session->malloc_scan->heap.allocator) {
        session->image->incomplete = true;
        ms_image_warn(session->image, "only malloc's blocks were looked at: %s", error->message);
        ms_error_free(error);
        error = NULL;
    }
    if (error || session->go_heap)
        return error;
    return ms_session_require_heap(session, "cannot look for leaks");
}

ms_result ms_session_require_heap(const struct ms_session *session, const char *what)
{
    const struct ms_heap *heap = &session->scan->heap;
    if (heap->allocator)
        return NULL;
    return ms_error(MS_TARGET, "%s: %s: %s",
                    session->image->origin ? session->image->origin : "the target", what,
                    *heap->description ? heap->description : "no known allocator was found in it");
}

void ms_session_warn_without_heap(const struct ms_session *session, const char *what)
{
    const struct ms_heap *heap = &session->scan->heap;
    if (!heap->allocator)
        ms_image_warn(session->image, "%s: %s", what,
                      *heap->description ? heap->description : "no known allocator was found");
}

void ms_session_close(struct ms_session *session)
{
    /* Go looks into types, they into symbols, and those and the scan into the image. */
    ms_go_heap_free(session->go_heap);
    ms_go_close(session->go);
    ms_go_selection_free(session->selection);
    ms_types_free(session->types);
    ms_symbols_free(session->symbols);
    ms_scan_free(session->malloc_scan);
    ms_image_free(session->image);
    *session = (struct ms_session){0};
}
