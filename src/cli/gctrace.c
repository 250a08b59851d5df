/* memscope gctrace: the cycles of a Go program's collector, as they end. */
#include "command.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "memscope/live.h"

#define NUMBER_MOST 1000000000u

struct options {
    struct ms_common common;
    uint64_t interval, count; /* milliseconds; lines, 0: no end */
};

#define INTO(member) .into = offsetof(struct options, member)
static const struct ms_option options[] = {
    {"interval", 0, "MS", "Look at least every MS milliseconds (10)", MS_TAKES_NUMBER, INTO(interval),
     .least = 1, .most = NUMBER_MOST},
    {"count", 0, "N", "End after N cycles", MS_TAKES_NUMBER, INTO(count), .least = 1, .most = NUMBER_MOST},
};

static const struct ms_command_line line = {
    .operands = "PID",
    .help = "Prints a line for each cycle of the garbage collector of the Go process PID, in the format of "
            "GODEBUG=gctrace=1 of its version, though it was started without. The process is not stopped, "
            "only read as it runs. The first line is the cycle that ended last. What a later cycle has "
            "overwritten before it could be read is shown as `-'; so are stacks with Go 1.19, which keeps no "
            "count of them. Ends when the process does, or on Ctrl-C.\v"
            "With --json each line is an object: bytes, nanoseconds, and null for what is not known.\n"
            "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

/* --- what is drawn on a terminal below the lines -----------------------------------------------
 */

#define HISTORY 32u

struct chart {
    bool shown;             /* stdout is a terminal, and it is wanted */
    uint64_t last[HISTORY]; /* live bytes after the latest cycles, oldest first */
    unsigned count;
    uint64_t goal, most; /* of the latest cycle; the highest that a bar stands for */
};

static void chart_add(struct chart *chart, const struct ms_go_cycle *cycle)
{
    if (!(cycle->known & MS_GO_KNOWN_END))
        return;
    if (chart->count == HISTORY)
        memmove(chart->last, chart->last + 1, (HISTORY - 1) * sizeof *chart->last);
    else
        chart->count++;
    chart->last[chart->count - 1] = cycle->heap_live;
    chart->goal = cycle->known & MS_GO_KNOWN_GOAL ? cycle->goal : 0;
    chart->most = chart->most > cycle->heap_marked_at ? chart->most : cycle->heap_marked_at;
}

static void chart_clear(const struct chart *chart)
{
    if (chart->shown)
        fputs("\r\033[K", stdout);
}

/* ASCII, so that it is right in every terminal: the higher the denser. */
static void chart_draw(struct chart *chart, uint64_t heap)
{
    static const char levels[] = " .:-=+*#%@";
    char now[16], goal[16];
    if (!chart->shown)
        return;
    chart->most = chart->most > heap ? chart->most : heap;
    printf("\r\033[Kheap %s", ms_size_text(heap, now));
    if (chart->goal)
        printf(" of %s", ms_size_text(chart->goal, goal));
    fputs("  live after each cycle [", stdout);
    for (unsigned i = 0; i < chart->count; i++) {
        double share = chart->most ? (double)chart->last[i] / (double)chart->most : 0;
        putchar(levels[share >= 1 ? sizeof levels - 2 : (size_t)(share * (sizeof levels - 1))]);
    }
    putchar(']');
    fflush(stdout);
}

/* --- polling -----------------------------------------------------------------------------------
 */

#define MS_IN_NS 1000000ull

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What the loop goes by: cycles that follow one another closely are looked at more often. */
struct pace {
    uint64_t most, wait, last; /* nanoseconds; when the last cycle was seen */
};

static void pace_cycle(struct pace *pace)
{
    uint64_t now = now_ns();
    pace->wait = (now - pace->last) / 20;
    if (pace->wait < MS_IN_NS)
        pace->wait = MS_IN_NS;
    if (pace->wait > pace->most)
        pace->wait = pace->most;
    pace->last = now;
}

/* Waits; false: a signal asks for the end. */
static bool pace_wait(const struct pace *pace, const sigset_t *signals)
{
    struct timespec wait = {(time_t)(pace->wait / 1000000000), (long)(pace->wait % 1000000000)};
    return sigtimedwait(signals, NULL, &wait) < 0;
}

static ms_result write_cycle(const struct options *o, const struct ms_go *go,
                             const struct ms_go_cycle *cycle, FILE *out)
{
    if (o->common.json)
        MS_TRY(ms_go_cycle_json_write(out, cycle));
    else
        ms_go_cycle_text(out, cycle, go->minor);
    fflush(out);
    return NULL;
}

#define DRAW_NS (100 * MS_IN_NS)

/* Until the process ends, a signal comes, OPTIONS say so, or nobody reads what is written. */
static ms_result follow(const struct options *o, const struct ms_go *go, struct ms_go_trace *trace,
                        const sigset_t *signals, FILE *out)
{
    struct chart chart = {.shown = !o->common.quiet && !o->common.json && out == stdout &&
                                   ms_wants_color(o->common.color, stdout) &&
                                   isatty(STDOUT_FILENO)};
    struct pace pace = {o->interval * MS_IN_NS, MS_IN_NS, now_ns()};
    uint64_t lines = 0, drawn = 0;
    do {
        struct ms_go_cycle cycle;
        while (ms_go_trace_next(trace, &cycle)) {
            chart_clear(&chart);
            MS_TRY(write_cycle(o, go, &cycle, out));
            chart_add(&chart, &cycle);
            pace_cycle(&pace);
            drawn = 0;
            if (++lines == o->count || ferror(out))
                return NULL;
        }
        if (now_ns() - pace.last > 20 * pace.most)
            pace.wait = pace.most;
        if (chart.shown && now_ns() - drawn > DRAW_NS) {
            chart_draw(&chart, ms_go_trace_heap(trace));
            drawn = now_ns();
        }
        if (ms_live_ended(go->image)) {
            chart_clear(&chart);
            fprintf(stderr, "memscope: %s has ended\n", go->image->origin);
            return NULL;
        }
    } while (pace_wait(&pace, signals));
    chart_clear(&chart);
    return NULL;
}

static ms_result open_go(const struct ms_common *common, struct ms_session *session)
{
    char *end;
    long pid = strtol(common->target, &end, 10);
    if (*end || pid <= 0 || pid > INT32_MAX)
        return ms_error(MS_USAGE, "'%s' is no PID: a trace needs a process that runs",
                        common->target);
    MS_TRY(ms_report_file_check(common->output));
    MS_TRY(ms_live_open((pid_t)pid, &session->image));
    MS_TRY(ms_session_go(common, session));
    return NULL;
}

static ms_result run(const struct options *o, struct ms_session *session)
{
    MS_TRY(open_go(&o->common, session));
    struct ms_go *go = session->go;
    if (!go)
        return ms_error(MS_TARGET, "process %s is no Go program: it has no collector to trace", o->common.target);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct ms_go_trace *trace;
    MS_TRY(ms_go_trace_new(go, &trace));
    FILE *out = o->common.output ? fopen(o->common.output, "we") : stdout;
    struct ms_error *error = out ? follow(o, go, trace, &signals, out)
                                 : ms_error(MS_TARGET, "cannot write %s: %m", o->common.output);
    if (out && out != stdout && fclose(out) != 0 && !error)
        error = ms_error(MS_TARGET, "cannot write %s: %m", o->common.output);
    ms_go_trace_free(trace);
    return error;
}

ms_result ms_command_gctrace(int argc, char **argv, enum ms_status *status)
{
    struct options o = {.interval = 10};
    struct ms_session session = {0};
    MS_TRY(ms_command_line_read(&line, argc, argv, &o));
    struct ms_error *error = run(&o, &session);
    ms_session_close(&session);
    *status = MS_OK;
    return error;
}
