/* The cycles of a Go program's collector, as it runs: what GODEBUG=gctrace=1 would print of each.
 */
#ifndef MEMSCOPE_GOTRACE_H
#define MEMSCOPE_GOTRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/go.h"

/* What can be told of a cycle depends on when it is looked at: the next one overwrites it step by
 * step. */
enum ms_go_known {
    MS_GO_KNOWN_START = 1, /* begin, sweep_term_ns, mark_ns, cpu, heap_start, processors */
    MS_GO_KNOWN_END = 2, /* mark_term_ns and its share of cpu, heap_marked_at, heap_live, percent */
    MS_GO_KNOWN_GOAL = 4,
    MS_GO_KNOWN_STACKS = 8,
    MS_GO_KNOWN_GLOBALS = 16,
    MS_GO_KNOWN_FORCED = 32,
    MS_GO_KNOWN_PAUSE = 64,
};

/* Times in nanoseconds, sizes in bytes. */
struct ms_go_cycle {
    uint32_t number;
    unsigned known; /* enum ms_go_known, or-ed */
    uint64_t begin; /* since the program started */
    int percent;    /* of the processors' time since then that the collector took */
    uint64_t sweep_term_ns, mark_ns, mark_term_ns;
    uint64_t sweep_term_cpu, assist_cpu, background_cpu, idle_cpu, mark_term_cpu;
    uint64_t heap_start, heap_marked_at,
        heap_live; /* at the start, at the end of marking, marked */
    uint64_t goal, stacks, globals;
    uint32_t processors;
    bool forced;
    uint64_t pause_ns, pause_end; /* all its pauses; the end of the last in time since 1970 */
};

struct ms_go_trace;

/*
 * GO is of an image by ms_live_open(), and must outlive the trace. The first cycle that it gives is
 * the one that ended last.
 */
ms_result ms_go_trace_new(struct ms_go *go, struct ms_go_trace **trace);
void ms_go_trace_free(struct ms_go_trace *trace);

/*
 * The next cycle that has ended, in order, also those that nobody looked at in time; false: none
 * yet, or the process has ended (ms_live_ended()).
 */
bool ms_go_trace_next(struct ms_go_trace *trace, struct ms_go_cycle *cycle);

/* Bytes of the heap now, reachable or not: what the collector's trigger goes by. */
uint64_t ms_go_trace_heap(const struct ms_go_trace *trace);

#endif
