/* memscope heap: live blocks in groups, and what retains how much of them. */
#include "command.h"

#include <stddef.h>

/* Groups that a text report shows without -n and --verbose, and retainers of any report without -n. */
#define GROUPS_SHOWN    20u
#define RETAINERS_SHOWN 20u
#define LARGEST_NUMBER  1000000000u

struct heap_options {
    struct ms_common common;
    int by;   /* enum ms_heap_by */
    int sort; /* enum ms_heap_sort; -1: not given */
    bool retained, list, no_types;
    uint64_t min_bytes;
    uint64_t number; /* 0: not given */
};

#define INTO(member) .into = offsetof(struct heap_options, member)
static const struct ms_option options[] = {
    {"by", 0, "WHAT",
     "What makes a group: type (by debug information and vtables, text, else the size), size, module "
     "(whose read-only data the first word points to) or arena (type)",
     MS_TAKES_WORD, INTO(by), .words = ms_heap_by_names, .word_count = MS_BY_COUNT},
    {"sort", 0, "FIGURE", "Order of groups: bytes, blocks or retained (bytes)", MS_TAKES_WORD, INTO(sort),
     .words = ms_heap_sort_names, .word_count = MS_SORT_COUNT},
    {"retained", 0, NULL, "List the blocks that retain most too, and sort by what is retained", MS_TAKES_NOTHING,
     INTO(retained)},
    {"list", 0, NULL, "Every live block too", MS_TAKES_NOTHING, INTO(list)},
    {"no-types", 0, NULL, "Do without debug information: classes by vtables alone", MS_TAKES_NOTHING,
     INTO(no_types)},
    {"min-bytes", 0, "SIZE", "Leave out what neither has nor retains SIZE bytes (k, M, G: binary)", MS_TAKES_SIZE,
     INTO(min_bytes)},
    {NULL, 'n', "N", "At most N groups and N retainers", MS_TAKES_NUMBER, INTO(number), .least = 1,
     .most = LARGEST_NUMBER},
};

static const struct ms_command_line line = {
    .operands = "TARGET",
    .help = "Shows the live blocks on the heap of TARGET in groups, with the bytes that each group retains: "
            "what would be lost with it. Says first whether one block or group retains more than a tenth. "
            "TARGET is a PID or an ELF core file; a process is stopped for a moment and goes on unharmed.\v"
            "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected, 4 the report is "
            "incomplete and says where.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session,
                              const void *options_given, const void *report)
{
    const struct heap_options *heap = options_given;
    if (heap->common.json)
        return ms_heap_json_write(view, session->image, session->scan, report, heap->list);
    return ms_heap_text(view, session->image, session->scan, report, heap->retained, heap->list);
}

static ms_result analyse(const struct heap_options *heap, struct ms_session *session, enum ms_status *status)
{
    MS_TRY(ms_session_heap(&heap->common, session));
    MS_TRY(ms_session_require_heap(session, "cannot tell its blocks"));
    bool all = heap->common.json || heap->common.verbose;
    enum ms_heap_sort usual = heap->retained ? MS_SORT_RETAINED : MS_SORT_BYTES;
    struct ms_heap_options what = {
        .by = (enum ms_heap_by)heap->by,
        .sort = heap->sort < 0 ? usual : (enum ms_heap_sort)heap->sort,
        .min_bytes = heap->min_bytes,
        .group_limit = heap->number ? heap->number
                       : all        ? SIZE_MAX
                                    : GROUPS_SHOWN,
        .retainer_limit = heap->number ? heap->number : RETAINERS_SHOWN,
        .types = heap->no_types ? NULL : session->types,
    };
    struct ms_heap_report report = {0};
    struct ms_error *failed = ms_heap_report(session->scan, session->image, session->symbols, &what, &report);
    ms_progress_clear(&session->progress);
    MS_TRY(failed);
    report.complete = report.complete && !session->image->incomplete;
    *status = report.complete ? MS_OK : MS_INCOMPLETE;
    struct ms_error *error = ms_report_write(&heap->common, session, write_report, heap, &report);
    ms_heap_report_free(&report);
    return error;
}

ms_result ms_command_heap(int argc, char **argv, enum ms_status *status)
{
    struct heap_options heap = {.sort = -1};
    MS_TRY(ms_command_line_read(&line, argc, argv, &heap));
    struct ms_session session;
    /* Tags of variants and bounds of containers are in the bytes. */
    enum ms_want want = heap.no_types ? MS_WANT_LEAN : MS_WANT_FULL_IF_CHEAP;
    MS_TRY(ms_session_open_heap(&heap.common, want, false, &session));
    struct ms_error *error = analyse(&heap, &session, status);
    ms_session_close(&session);
    return error;
}
