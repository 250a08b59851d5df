/* memscope ps: the processes that can be inspected. */
#include "command.h"

#include "memscope/processes.h"

static const struct ms_command_line line = {
    .operands = "",
    .help = "Lists the processes that can be inspected, with their runtime, allocator and heap; of Go programs "
            "how the garbage collector is doing, too. None of them is stopped.\v"
            "HEAP: of a Go program the spans in use (MemStats.HeapInuse); of others \"<\", all of its anonymous "
            "memory, of which the heap is a part.",
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session, const void *common,
                              const void *report)
{
    (void)session;
    if (((const struct ms_common *)common)->json)
        return ms_processes_json_write(view, report);
    ms_processes_text(view, report);
    return NULL;
}

ms_result ms_command_ps(int argc, char **argv, enum ms_status *status)
{
    struct ms_common common = {0};
    MS_TRY(ms_command_line_read(&line, argc, argv, &common));
    MS_TRY(ms_report_file_check(common.output));
    struct ms_processes processes;
    MS_TRY(ms_processes(&processes));
    *status = MS_OK;
    struct ms_error *error = ms_report_write(&common, NULL, write_report, &common, &processes);
    ms_processes_free(&processes);
    return error;
}
