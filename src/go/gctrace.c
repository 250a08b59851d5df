/* Cycles of a collector that runs on: its counters, read whole and twice while it is between two.
 */
#include "memscope/gotrace.h"

#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "memscope/live.h"

/* src/runtime/mgc.go (gcStart, gcMarkTermination), mgcpacer.go, mstats.go. */
struct layout {
    struct ms_go_place work, control; /* the whole structures */
    struct ms_go_place cycles, forced, processors, sweepers, sweep_term, mark, mark_term, end;
    struct ms_go_place heap0, heap1, heap2, goal, last_goal, stack_scan, last_stack_scan, globals;
    struct ms_go_place assist, dedicated, fractional, idle, live;
    struct ms_go_place count, forced_count, cpu_fraction, pause_ns, pause_end;
};
#define WORK                    "runtime.workType|&runtime.work"
#define FIELD(type, path, into) MS_GO_FIELD(struct layout, type, path, into)
#define FIELD_IN(type, path, into, since, until)                                                   \
    MS_GO_FIELD_IN(struct layout, type, path, into, since, until)
static const struct ms_go_field fields[] = {
    FIELD(WORK, "", work),
    FIELD(WORK, "cycles", cycles),
    FIELD(WORK, "userForced", forced),
    FIELD(WORK, "maxprocs", processors),
    FIELD(WORK, "stwprocs", sweepers),
    FIELD(WORK, "tSweepTerm", sweep_term),
    FIELD(WORK, "tMark", mark),
    FIELD(WORK, "tMarkTerm", mark_term),
    FIELD(WORK, "tEnd", end),
    FIELD(WORK, "heap0", heap0),
    FIELD(WORK, "heap1", heap1),
    FIELD(WORK, "heap2", heap2),
    FIELD_IN(WORK, "heapGoal", goal, 0, 18),
    FIELD("runtime.gcControllerState", "", control),
    FIELD_IN("runtime.gcControllerState", "lastHeapGoal", last_goal, 19, 0),
    FIELD_IN("runtime.gcControllerState", "stackScan", stack_scan, 18, 18),
    FIELD_IN("runtime.gcControllerState", "lastStackScan", last_stack_scan, 19, 0),
    FIELD_IN("runtime.gcControllerState", "globalsScan", globals, 18, 0),
    FIELD("runtime.gcControllerState", "assistTime", assist),
    FIELD("runtime.gcControllerState", "dedicatedMarkTime", dedicated),
    FIELD("runtime.gcControllerState", "fractionalMarkTime", fractional),
    FIELD("runtime.gcControllerState", "idleMarkTime", idle),
    FIELD("runtime.gcControllerState", "heapLive", live),
    FIELD("runtime.mstats", "numgc", count),
    FIELD("runtime.mstats", "numforcedgc", forced_count),
    FIELD("runtime.mstats", "gc_cpu_fraction", cpu_fraction),
    FIELD("runtime.mstats", "pause_ns", pause_ns),
    FIELD("runtime.mstats", "pause_end", pause_end),
};
MS_GO_EXPORT_FIELDS(gctrace, fields)

#define STRUCTURE_MOST 8192u /* bytes of runtime.work, and of runtime.gcController */
#define PAUSES         256u  /* of the rings in runtime.mstats */
#define TRIES          200u  /* looks until two in a row are the same */

struct ms_go_trace {
    struct ms_go *go;
    struct layout at;
    uint64_t work, control, memstats; /* addresses */
    uint64_t started;                 /* runtimeInitTime */
    uint32_t told;                    /* cycles up to this have been given */
    uint32_t forced;                  /* of them by force; known if FORCED_KNOWN */
    bool forced_known;
};

/* All that is read of the process for one cycle. */
struct look {
    uint32_t count, forced_count;
    double cpu_fraction;
    uint8_t work[STRUCTURE_MOST], control[STRUCTURE_MOST];
};

static uint64_t field(const uint8_t *bytes, struct ms_go_place place)
{
    uint64_t value = 0;
    if (place.size <= sizeof value && place.offset + place.size <= STRUCTURE_MOST)
        memcpy(&value, bytes + place.offset, place.size);
    return value;
}

static bool look_at(const struct ms_go_trace *trace, struct look *look)
{
    const struct layout *at = &trace->at;
    struct ms_live_piece pieces[] = {
        {trace->memstats + at->count.offset, &look->count, sizeof look->count, false},
        {trace->work, look->work, at->work.size, false},
        {trace->control, look->control, at->control.size, false},
        {trace->memstats + at->forced_count.offset, &look->forced_count, sizeof look->forced_count,
         false},
        {trace->memstats + at->cpu_fraction.offset, &look->cpu_fraction, sizeof look->cpu_fraction,
         false},
    };
    const size_t count = sizeof pieces / sizeof *pieces;
    return ms_live_read(trace->go->image, pieces, count) == count;
}

static bool read_count(const struct ms_go_trace *trace, uint32_t *count)
{
    struct ms_live_piece piece = {trace->memstats + trace->at.count.offset, count, sizeof *count,
                                  false};
    return ms_live_read(trace->go->image, &piece, 1) == 1;
}

static ms_result missing(const struct ms_go *go, const char *what)
{
    return ms_error(MS_TARGET, "%s: %s of this %s program cannot be read", go->image->origin, what,
                    go->version);
}

static ms_result open_trace(struct ms_go_trace *trace)
{
    struct ms_go *go = trace->go;
    MS_TRY(ms_go_bind(go, fields, sizeof fields / sizeof *fields, &trace->at));
    trace->work = ms_go_global(go, "runtime.work");
    trace->control = ms_go_global(go, "runtime.gcController");
    trace->memstats = ms_go_global(go, "runtime.memstats");
    uint64_t started = ms_go_global(go, "runtime.runtimeInitTime");
    uint32_t count;
    if (!trace->work || trace->at.work.size > STRUCTURE_MOST)
        return missing(go, "runtime.work");
    if (!trace->control || trace->at.control.size > STRUCTURE_MOST)
        return missing(go, "runtime.gcController");
    if (!trace->memstats || !read_count(trace, &count))
        return missing(go, "runtime.memstats");
    if (!started || !ms_image_read_word(go->image, started, &trace->started))
        return missing(go, "runtime.runtimeInitTime");
    trace->told = count ? count - 1 : 0;
    return NULL;
}

ms_result ms_go_trace_new(struct ms_go *go, struct ms_go_trace **out)
{
    struct ms_go_trace *trace = calloc(1, sizeof *trace);
    if (!trace)
        return ms_error_nomem("the trace");
    trace->go = go;
    struct ms_error *error = open_trace(trace);
    if (error)
        ms_go_trace_free(trace);
    else
        *out = trace;
    return error;
}

void ms_go_trace_free(struct ms_go_trace *trace)
{
    free(trace);
}

/* --- what one look says ------------------------------------------------------------------------
 */

/*
 * Which parts of LOOK are of the cycle that ended last. gcStart() writes heap0 and tSweepTerm, and
 * only then counts its cycle; gcMarkTermination() writes tMarkTerm, heap1, tEnd, heap2, and only
 * then counts it as done. False: it is in the middle of that.
 */
static bool judge(const struct ms_go_trace *trace, const struct look *look, unsigned *known)
{
    const struct layout *at = &trace->at;
    uint32_t cycles = (uint32_t)field(look->work, at->cycles);
    int64_t sweep_term = (int64_t)field(look->work, at->sweep_term);
    int64_t mark = (int64_t)field(look->work, at->mark);
    int64_t mark_term = (int64_t)field(look->work, at->mark_term);
    int64_t end = (int64_t)field(look->work, at->end);
    *known = MS_GO_KNOWN_END;
    if (mark_term > end)
        return false;
    if (cycles == look->count && sweep_term <= mark && mark <= mark_term)
        *known |= MS_GO_KNOWN_START;
    else if (sweep_term <= end || (cycles != look->count && cycles != look->count + 1))
        return false;
    return true;
}

static void read_start(const struct ms_go_trace *trace, const struct look *look,
                       struct ms_go_cycle *cycle)
{
    const struct layout *at = &trace->at;
    uint64_t sweep_term = field(look->work, at->sweep_term), mark = field(look->work, at->mark);
    uint64_t sweepers = field(look->work, at->sweepers);
    cycle->begin = sweep_term - trace->started;
    cycle->sweep_term_ns = mark - sweep_term;
    cycle->mark_ns = field(look->work, at->mark_term) - mark;
    cycle->sweep_term_cpu = sweepers * cycle->sweep_term_ns;
    cycle->mark_term_cpu = sweepers * cycle->mark_term_ns;
    cycle->assist_cpu = field(look->control, at->assist);
    cycle->background_cpu =
        field(look->control, at->dedicated) + field(look->control, at->fractional);
    cycle->idle_cpu = field(look->control, at->idle);
    cycle->heap_start = field(look->work, at->heap0);
    cycle->processors = (uint32_t)field(look->work, at->processors);
    cycle->forced = field(look->work, at->forced) & 1;
    cycle->known |= MS_GO_KNOWN_START | MS_GO_KNOWN_FORCED;
    if (at->goal.size) {
        cycle->goal = field(look->work, at->goal);
        cycle->known |= MS_GO_KNOWN_GOAL;
    }
    if (at->stack_scan.size && trace->go->minor == 18) {
        cycle->stacks = field(look->control, at->stack_scan);
        cycle->known |= MS_GO_KNOWN_STACKS;
    }
}

static void read_end(const struct ms_go_trace *trace, const struct look *look,
                     struct ms_go_cycle *cycle)
{
    const struct layout *at = &trace->at;
    double percent = look->cpu_fraction * 100;
    cycle->mark_term_ns = field(look->work, at->end) - field(look->work, at->mark_term);
    cycle->heap_marked_at = field(look->work, at->heap1);
    cycle->heap_live = field(look->work, at->heap2);
    cycle->percent = percent >= 0 && percent < 1000000 ? (int)percent : 0;
    cycle->known |= MS_GO_KNOWN_END;
    if (at->last_goal.size && !at->goal.size) {
        cycle->goal = field(look->control, at->last_goal);
        cycle->known |= MS_GO_KNOWN_GOAL;
    }
    /* 1.19 prints the stacks of that instant, which nothing keeps. */
    if (at->last_stack_scan.size && trace->go->minor >= 20) {
        cycle->stacks = field(look->control, at->last_stack_scan);
        cycle->known |= MS_GO_KNOWN_STACKS;
    }
    if (at->globals.size) {
        cycle->globals = field(look->control, at->globals);
        cycle->known |= MS_GO_KNOWN_GLOBALS;
    }
}

/* The pauses of CYCLE, which the ring keeps for long. */
static void read_pause(const struct ms_go_trace *trace, struct ms_go_cycle *cycle)
{
    const struct layout *at = &trace->at;
    uint64_t ring = 8 * (uint64_t)((cycle->number + PAUSES - 1) % PAUSES);
    struct ms_live_piece pieces[] = {
        {trace->memstats + at->pause_ns.offset + ring, &cycle->pause_ns, 8, false},
        {trace->memstats + at->pause_end.offset + ring, &cycle->pause_end, 8, false},
    };
    if (ring + 8 <= at->pause_ns.size && ring + 8 <= at->pause_end.size &&
        ms_live_read(trace->go->image, pieces, 2) == 2)
        cycle->known |= MS_GO_KNOWN_PAUSE;
}

/* What LOOK tells of the cycle that ended last; false: too little, look again. */
static bool decode(const struct ms_go_trace *trace, const struct look *look,
                   struct ms_go_cycle *cycle)
{
    unsigned known;
    memset(cycle, 0, sizeof *cycle);
    cycle->number = look->count;
    if (!judge(trace, look, &known))
        return false;
    read_end(trace, look, cycle);
    if (known & MS_GO_KNOWN_START)
        read_start(trace, look, cycle);
    return true;
}

/* The cycle that ended last, as far as it is to be had; false: look again later. */
static bool read_cycle(struct ms_go_trace *trace, struct ms_go_cycle *cycle, struct look *look)
{
    struct ms_go_cycle before = {0};
    uint32_t forced = 0;
    bool told = false;
    for (unsigned i = 0; i < TRIES && !told; i++) {
        if (!look_at(trace, look))
            return false;
        /* Copies of one structure, what pads it too. */
        // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
        told = decode(trace, look, cycle) && !memcmp(&before, cycle, sizeof before) &&
               forced == look->forced_count;
        memcpy(&before, cycle, sizeof before);
        forced = look->forced_count;
    }
    if (!told || cycle->number == trace->told)
        return false;
    /* Forced ones are counted too, which stays when work.userForced is the next one's already. */
    if (trace->forced_known && cycle->number == trace->told + 1) {
        cycle->forced = look->forced_count != trace->forced;
        cycle->known |= MS_GO_KNOWN_FORCED;
    }
    trace->forced = look->forced_count;
    trace->forced_known = true;
    return true;
}

bool ms_go_trace_next(struct ms_go_trace *trace, struct ms_go_cycle *cycle)
{
    uint32_t count;
    if (!read_count(trace, &count) || count == trace->told)
        return false;
    ms_auto_free struct look *look = calloc(1, sizeof *look);
    if (!look || !read_cycle(trace, cycle, look))
        return false;
    if (cycle->number - trace->told > 1) { /* nobody looked at this one in time */
        trace->forced_known = false;
        if (cycle->number - trace->told > PAUSES)
            trace->told = cycle->number - PAUSES;
        *cycle = (struct ms_go_cycle){.number = trace->told + 1};
    }
    trace->told = cycle->number;
    read_pause(trace, cycle);
    return true;
}

uint64_t ms_go_trace_heap(const struct ms_go_trace *trace)
{
    uint64_t value = 0;
    struct ms_live_piece piece = {trace->control + trace->at.live.offset, &value, sizeof value,
                                  false};
    return ms_live_read(trace->go->image, &piece, 1) == 1 ? value : 0;
}
