/* memscope heap: live blocks in groups, and what retains how much of them. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

/* Groups that a text report shows without -n and --verbose, and retainers of any report without -n. */
#define GROUPS_SHOWN    20u
#define RETAINERS_SHOWN 20u
#define LARGEST_NUMBER  1000000000ul

enum { KEY_BY = MS_KEY_LONG, KEY_SORT, KEY_RETAINED, KEY_MIN_BYTES, KEY_LIST, KEY_NO_TYPES };

struct heap_options {
    struct ms_common common;
    enum ms_heap_by by;
    int sort; /* enum ms_heap_sort; -1: not given */
    bool retained, list, no_types;
    uint64_t min_bytes;
    size_t number; /* 0: not given */
};

static const struct argp_option options[] = {
    {"by", KEY_BY, "WHAT", 0,
     "What makes a group: type (by debug information and vtables, text, else the size), size, module "
     "(whose read-only data the first word points to) or arena (type)",
     0},
    {"sort", KEY_SORT, "FIGURE", 0, "Order of groups: bytes, blocks or retained (bytes)", 0},
    {"retained", KEY_RETAINED, NULL, 0,
     "List the blocks that retain most too, and sort by what is retained", 0},
    {"list", KEY_LIST, NULL, 0, "Every live block too", 0},
    {"no-types", KEY_NO_TYPES, NULL, 0, "Do without debug information: classes by vtables alone", 0},
    {"min-bytes", KEY_MIN_BYTES, "SIZE", 0,
     "Leave out what neither has nor retains SIZE bytes (k, M, G: binary)", 0},
    {NULL, 'n', "N", 0, "At most N groups and N retainers", 0},
    {0},
};

/* Index of WORD in NAMES; else a usage error that names them. */
static int parse_name(struct argp_state *state, const char *option, const char *word,
                      const char *const names[], int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(word, names[i]) == 0)
            return i;
    argp_error(state, "--%s %s: not one of %s, %s, %s%s%s", option, word, names[0], names[1],
               names[2], count > 3 ? ", " : "", count > 3 ? names[3] : "");
    return 0;
}

static size_t parse_number(struct argp_state *state, const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (text[strspn(text, "0123456789")] || !*text || number == 0 || number > LARGEST_NUMBER)
        argp_error(state, "-n %s: not a number from 1 on", text);
    return number;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct heap_options *heap = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &heap->common;
        return 0;
    case KEY_BY:
        heap->by = (enum ms_heap_by)parse_name(state, "by", argument, ms_heap_by_names, MS_BY_COUNT);
        return 0;
    case KEY_SORT:
        heap->sort = parse_name(state, "sort", argument, ms_heap_sort_names, MS_SORT_COUNT);
        return 0;
    case KEY_RETAINED:
        heap->retained = true;
        return 0;
    case KEY_LIST:
        heap->list = true;
        return 0;
    case KEY_NO_TYPES:
        heap->no_types = true;
        return 0;
    case KEY_MIN_BYTES:
        if (!ms_parse_size(argument, &heap->min_bytes))
            argp_error(state, "--min-bytes %s: not a size such as 4096, 64k or 1M", argument);
        return 0;
    case 'n':
        heap->number = parse_number(state, argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "TARGET",
    "Shows the live blocks on the heap of TARGET in groups, with the bytes that each group retains: "
    "what would be lost with it. Says first whether one block or group retains more than a tenth. "
    "TARGET is a PID or an ELF core file; a process is stopped for a moment and goes on unharmed.\v"
    "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected, 4 the report is "
    "incomplete and says where.",
    ms_common_children,
    ms_help_filter,
    NULL,
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session,
                              const void *options_given, const void *report)
{
    const struct heap_options *heap = options_given;
    if (heap->common.json)
        return ms_heap_json_write(view, session->image, session->scan, report, heap->list);
    return ms_heap_text(view, session->image, session->scan, report, heap->retained, heap->list);
}

static ms_result analyse(const struct heap_options *heap, struct ms_session *session,
                         enum ms_status *status)
{
    MS_TRY(ms_session_heap(&heap->common, session));
    MS_TRY(ms_session_require_heap(session, "cannot tell its blocks"));
    bool all = heap->common.json || heap->common.verbose;
    enum ms_heap_sort usual = heap->retained ? MS_SORT_RETAINED : MS_SORT_BYTES;
    struct ms_heap_options what = {
        .by = heap->by,
        .sort = heap->sort < 0 ? usual : (enum ms_heap_sort)heap->sort,
        .min_bytes = heap->min_bytes,
        .group_limit = heap->number ? heap->number : all ? SIZE_MAX : GROUPS_SHOWN,
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
    if (argp_parse(&argp, argc, argv, 0, NULL, &heap) != 0)
        return ms_error_nomem("the command line");
    struct ms_session session;
    /* Tags of variants and bounds of containers are in the bytes. */
    enum ms_want want = heap.no_types ? MS_WANT_LEAN : MS_WANT_FULL_IF_CHEAP;
    MS_TRY(ms_session_open_heap(&heap.common, want, false, &session));
    struct ms_error *error = analyse(&heap, &session, status);
    ms_session_close(&session);
    return error;
}
