/* memscope ps: the processes that can be inspected. */
#include "command.h"

#include "memscope/processes.h"

static error_t parse(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

static const struct argp argp = {
    NULL,
    parse,
    "",
    "Lists the processes that can be inspected, with their runtime, allocator and heap; of Go "
    "programs "
    "how the garbage collector is doing, too. None of them is stopped.\v"
    "HEAP: of a Go program the spans in use (MemStats.HeapInuse); of others \"<\", all of its "
    "anonymous "
    "memory, of which the heap is a part.",
    ms_common_children,
    ms_help_filter,
    NULL,
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session,
                              const void *common, const void *report)
{
    (void)session;
    if (((const struct ms_common *)common)->json)
        return ms_processes_json_write(view, report);
    ms_processes_text(view, report);
    return NULL;
}

ms_result ms_command_ps(int argc, char **argv, enum ms_status *status)
{
    struct ms_common common = {.targetless = true};
    if (argp_parse(&argp, argc, argv, 0, NULL, &common) != 0)
        return ms_error_nomem("the command line");
    MS_TRY(ms_report_file_check(common.output));
    struct ms_processes processes;
    MS_TRY(ms_processes(&processes));
    *status = MS_OK;
    struct ms_error *error = ms_report_write(&common, NULL, write_report, &common, &processes);
    ms_processes_free(&processes);
    return error;
}
