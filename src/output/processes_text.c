/* The list of processes as text: a line each, the biggest heap first. */
#include <inttypes.h>
#include <string.h>

#include "memscope/processes.h"
#include "text.h"

#define NATIVE "native" /* C, C++, Rust, … */

static const char *const phases[] = {"-", "mark", "termination"};

static void write_heading(const struct ms_view *view, int runtime)
{
    ms_style_begin(view, MS_STYLE_HEAD);
    fprintf(view->out, "%8s %10s %11s  %-*s  %-9s %6s %10s %10s %-11s  %s", "PID", "RSS", "HEAP",
            runtime, "RUNTIME", "ALLOCATOR", "CYCLES", "LIVE", "GOAL", "PHASE", "PROGRAM");
    ms_style_end(view);
    putc('\n', view->out);
}

static void write_process(const struct ms_view *view, const struct ms_process *process, int runtime)
{
    char rss[16], size[16], heap[24], live[16] = "-", goal[16] = "-", cycles[24] = "-";
    const char *phase = "-";
    snprintf(heap, sizeof heap, "%s%s", process->gauge_known ? "" : "<",
             ms_size_text(ms_process_heap(process), size));
    if (process->gauge_known) {
        snprintf(cycles, sizeof cycles, "%" PRIu64, process->gauge.cycles);
        ms_size_text(process->gauge.live, live);
        if (process->gauge.goal != UINT64_MAX)
            ms_size_text(process->gauge.goal, goal);
        phase = phases[process->gauge.phase];
    }
    fprintf(view->out, "%8d %10s %11s  %-*s  %-9s %6s %10s %10s %-11s  ", process->pid,
            ms_size_text(process->rss, rss), heap, runtime,
            process->go_version ? process->go_version : NATIVE,
            process->allocator ? process->allocator : "-", cycles, live, goal, phase);
    bool named = process->package && strcmp(process->package, "command-line-arguments") != 0;
    ms_write_name(view->out, named ? process->package : process->program);
    putc('\n', view->out);
}

void ms_processes_text(const struct ms_view *view, const struct ms_processes *processes)
{
    int runtime = (int)strlen("RUNTIME");
    for (size_t i = 0; i < processes->list.count; i++) {
        const char *version = processes->list.items[i].go_version;
        if (version && (int)strlen(version) > runtime)
            runtime = (int)strlen(version);
    }
    write_heading(view, runtime);
    for (size_t i = 0; i < processes->list.count; i++)
        write_process(view, &processes->list.items[i], runtime);
    if (processes->unreadable && !view->quiet)
        fprintf(view->out,
                "\n%zu more cannot be inspected: other users' need CAP_SYS_PTRACE (sudo memscope "
                "ps), and "
                "32-bit programs are not known\n",
                processes->unreadable);
}
