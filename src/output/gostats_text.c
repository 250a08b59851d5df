/* runtime.MemStats as text, in the names and the format of gops, and what the collector goes by. */
#include <inttypes.h>
#include <stdio.h>

#include "go_words.h"
#include "text.h"

static void write_stat(FILE *out, const struct ms_go_memstats *stats, enum ms_go_stat stat)
{
    const struct ms_go_stat_info *info = &ms_go_stats[stat];
    uint64_t value = stats->values[stat];
    char text[MS_GO_WORD];
    fprintf(out, "%s: ", info->gops);
    if (stat == MS_GO_STAT_NEXT_GC)
        fputs("when heap-alloc >= ", out);
    switch (info->kind) {
    case 's':
        fputs(ms_go_size_text(value, text), out);
        break;
    case 't':
        fputs(ms_go_time_text(value, text), out);
        break;
    case 'd':
        fputs(ms_go_duration_text(value, text), out);
        break;
    case 'b':
        fputs(value ? "true" : "false", out);
        break;
    default:
        fprintf(out, "%" PRIu64, value);
    }
    putc('\n', out);
}

/* What gops shows that is no number of its own: the latest pause, and the share of the processors.
 */
static void write_after(FILE *out, const struct ms_go_memstats *stats, enum ms_go_stat stat)
{
    char text[MS_GO_WORD];
    unsigned last = (unsigned)(stats->values[MS_GO_STAT_NUM_GC] + MS_GO_PAUSES - 1) % MS_GO_PAUSES;
    if (stat == MS_GO_STAT_PAUSE_TOTAL)
        fprintf(out, "gc-pause: %" PRIu64 "\ngc-pause-end: %" PRIu64 "\n", stats->pause_ns[last],
                stats->pause_end[last]);
    if (stat == MS_GO_STAT_NUM_FORCED_GC)
        fprintf(out, "gc-cpu-fraction: %s\n", ms_go_float_text(stats->gc_cpu_fraction, text));
}

/* A line of bytes; NONE: what is said of the largest number, which stands for no bound. */
static void write_figure(FILE *out, const char *name, struct ms_go_figure figure, uint64_t most,
                         const char *none)
{
    char text[MS_GO_WORD];
    if (!figure.known)
        return;
    bool unbounded = none && figure.value >= most;
    fprintf(out, "%s: %s\n", name, unbounded ? none : ms_go_size_text(figure.value, text));
}

/* Goals without a bound are a little below what the limit could be at most. */
#define UNBOUNDED ((uint64_t)1 << 62)

static void write_pacing(FILE *out, const struct ms_go_pacing *pacing)
{
    char text[MS_GO_WORD];
    fprintf(out, "gc-phase: %s\ngc-cycle: %" PRIu64 "\ngc-sweep: %s\n",
            ms_go_phase_names[pacing->phase], pacing->cycle, pacing->sweeping ? "running" : "done");
    write_figure(out, "heap-live", pacing->heap_live, 0, NULL);
    write_figure(out, "heap-marked", pacing->heap_marked, 0, NULL);
    write_figure(out, "gc-trigger", pacing->trigger, UNBOUNDED, "none");
    write_figure(out, "gc-goal", pacing->goal, UNBOUNDED, "none");
    if (pacing->gc_percent < 0)
        fputs("gogc: off\n", out);
    else
        fprintf(out, "gogc: %" PRId64 "\n", pacing->gc_percent);
    write_figure(out, "gomemlimit", pacing->memory_limit, INT64_MAX, "off");
    write_figure(out, "gomemlimit-counts", pacing->mapped, 0, NULL);
    fprintf(out, "gomaxprocs: %" PRIu64 "\n", pacing->processors);
    if (pacing->phase == MS_GO_PHASE_MARK)
        fprintf(out,
                "gc-assist-ratio: %s\ngc-workers-needed: %" PRId64 "\ngc-fractional-goal: %.2f\n",
                ms_go_float_text(pacing->assist_bytes, text), pacing->dedicated_workers,
                pacing->fractional_goal);
    if (pacing->forced_at.known)
        fprintf(out, "next-forced-gc: %s\n", ms_go_time_text(pacing->forced_at.value, text));
}

void ms_go_stats_text(const struct ms_view *view, const struct ms_go_stats *stats)
{
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fputs("runtime.MemStats", view->out);
    ms_style_end(view);
    putc('\n', view->out);
    for (enum ms_go_stat stat = 0; stat < MS_GO_STAT_COUNT; stat++) {
        if (ms_go_stats[stat].gops)
            write_stat(view->out, &stats->memstats, stat);
        write_after(view->out, &stats->memstats, stat);
    }
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fputs("the collector", view->out);
    ms_style_end(view);
    putc('\n', view->out);
    write_pacing(view->out, &stats->pacing);
}
