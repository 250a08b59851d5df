/* runtime.MemStats of a process, as its own ReadMemStats would find it in this instant. */
#include "memscope/gostats.h"

#include <stdlib.h>
#include <string.h>

#include "layout.h"

#define STAT_INFO(name, field, gops, kind) [MS_GO_STAT_##name] = {field, gops, kind},
const struct ms_go_stat_info ms_go_stats[MS_GO_STAT_COUNT] = {MS_GO_STATS(STAT_INFO)};
const char *const ms_go_phase_names[3] = {"off", "mark", "mark termination"};

#define CLASSES MS_GO_SIZE_CLASSES /* at most: the arrays' own sizes decide */

/*
 * Where all of it is: src/runtime/mstats.go, mgcpacer.go, mheap.go, mcache.go, mgc.go. Until 1.18
 * the sums over the heap were in memstats and the collector's plan in plain numbers; from 1.19 on
 * both are in gcController, and the plan is worked out when it is asked for.
 */
struct layout {
    struct ms_go_place heap_sys, heap_inuse, heap_released;           /* to 1.18 */
    struct ms_go_place control_inuse, control_released, control_free; /* from 1.19 */
    struct ms_go_place total_alloc, total_free, mapped, percent_goal, min_trigger, triggered, runway,
        memory_limit;                 /* from 1.19 */
    struct ms_go_place goal, trigger; /* to 1.18 */
    struct ms_go_place stacks_sys, mspan_sys, mcache_sys, buckhash_sys, misc_sys, other_sys;
    struct ms_go_place last_gc, last_gc_clock, pause_total, pause_ns, pause_end, num_gc, num_forced, cpu_fraction;
    struct ms_go_place generations, delta, in_stacks, in_work, in_bits, tiny, large_alloc, large_allocs,
        small_allocs, large_free, large_frees, small_frees;
    struct ms_go_place live, marked, scan, percent, assist, dedicated, fractional;
    struct ms_go_place span_inuse, cache_inuse, sweepgen, sweep_drained, sweepers, sweep_state;
    struct ms_go_place cache, tiny_allocs, scan_alloc, cached_spans, cached_stacks;
    struct ms_go_place stack_list, stack_list_self, cycles;
    struct ms_go_place span_start, span_allocated, span_before, span_sweepgen;
};
#define FIELD(type, path, into)             MS_GO_FIELD(struct layout, "runtime." type, path, into)
#define FIELD_TO(last, type, path, into)    MS_GO_FIELD_IN(struct layout, "runtime." type, path, into, 0, last)
#define FIELD_FROM(first, type, path, into) MS_GO_FIELD_IN(struct layout, "runtime." type, path, into, first, 0)
static const struct ms_go_field fields[] = {
    FIELD_TO(18, "mstats", "heap_sys", heap_sys),
    FIELD_TO(18, "mstats", "heap_inuse", heap_inuse),
    FIELD_TO(18, "mstats", "heap_released", heap_released),
    FIELD_FROM(19, "gcControllerState", "heapInUse", control_inuse),
    FIELD_FROM(19, "gcControllerState", "heapReleased", control_released),
    FIELD_FROM(19, "gcControllerState", "heapFree", control_free),
    FIELD_FROM(19, "gcControllerState", "totalAlloc", total_alloc),
    FIELD_FROM(19, "gcControllerState", "totalFree", total_free),
    FIELD_FROM(19, "gcControllerState", "mappedReady", mapped),
    FIELD_FROM(19, "gcControllerState", "gcPercentHeapGoal", percent_goal),
    FIELD_FROM(19, "gcControllerState", "sweepDistMinTrigger", min_trigger),
    FIELD_FROM(19, "gcControllerState", "triggered", triggered),
    FIELD_FROM(19, "gcControllerState", "runway", runway),
    FIELD_FROM(19, "gcControllerState", "memoryLimit", memory_limit),
    FIELD_TO(18, "gcControllerState", "heapGoal", goal),
    FIELD_TO(18, "gcControllerState", "trigger", trigger),
    FIELD("mstats", "stacks_sys", stacks_sys),
    FIELD("mstats", "mspan_sys", mspan_sys),
    FIELD("mstats", "mcache_sys", mcache_sys),
    FIELD("mstats", "buckhash_sys", buckhash_sys),
    FIELD("mstats", "gcMiscSys", misc_sys),
    FIELD("mstats", "other_sys", other_sys),
    FIELD("mstats", "last_gc_unix", last_gc),
    FIELD("mstats", "last_gc_nanotime", last_gc_clock),
    FIELD("mstats", "pause_total_ns", pause_total),
    FIELD("mstats", "pause_ns", pause_ns),
    FIELD("mstats", "pause_end", pause_end),
    FIELD("mstats", "numgc", num_gc),
    FIELD("mstats", "numforcedgc", num_forced),
    FIELD("mstats", "gc_cpu_fraction", cpu_fraction),
    FIELD("mstats", "heapStats.stats", generations),
    FIELD("heapStatsDelta", "", delta),
    FIELD("heapStatsDelta", "inStacks", in_stacks),
    FIELD("heapStatsDelta", "inWorkBufs", in_work),
    FIELD_TO(24, "heapStatsDelta", "inPtrScalarBits", in_bits),
    FIELD("heapStatsDelta", "tinyAllocCount", tiny),
    FIELD("heapStatsDelta", "largeAlloc", large_alloc),
    FIELD("heapStatsDelta", "largeAllocCount", large_allocs),
    FIELD("heapStatsDelta", "smallAllocCount", small_allocs),
    FIELD("heapStatsDelta", "largeFree", large_free),
    FIELD("heapStatsDelta", "largeFreeCount", large_frees),
    FIELD("heapStatsDelta", "smallFreeCount", small_frees),
    FIELD("gcControllerState", "heapLive", live),
    FIELD("gcControllerState", "heapMarked", marked),
    FIELD("gcControllerState", "heapScan", scan),
    FIELD("gcControllerState", "gcPercent", percent),
    FIELD("gcControllerState", "assistWorkPerByte", assist),
    FIELD("gcControllerState", "dedicatedMarkWorkersNeeded", dedicated),
    FIELD("gcControllerState", "fractionalUtilizationGoal", fractional),
    FIELD("mheap", "spanalloc.inuse", span_inuse),
    FIELD("mheap", "cachealloc.inuse", cache_inuse),
    FIELD("mheap", "sweepgen", sweepgen),
    FIELD_TO(17, "mheap", "sweepDrained", sweep_drained),
    FIELD_TO(17, "mheap", "sweepers", sweepers),
    FIELD_FROM(18, "sweepdata", "active.state", sweep_state),
    FIELD("p", "mcache", cache),
    FIELD("mcache", "tinyAllocs", tiny_allocs),
    FIELD("mcache", "scanAlloc", scan_alloc),
    FIELD("mcache", "alloc", cached_spans),
    FIELD("mcache", "stackcache", cached_stacks),
    FIELD("stackfreelist", "list", stack_list),
    FIELD("stackfreelist", "", stack_list_self),
    FIELD("workType|&runtime.work", "cycles", cycles),
    FIELD("mspan", "startAddr", span_start),
    FIELD("mspan", "allocCount", span_allocated),
    FIELD_FROM(19, "mspan", "allocCountBeforeCache", span_before),
    FIELD("mspan", "sweepgen", span_sweepgen),
};
MS_GO_EXPORT_FIELDS(stats, fields)

/* What is being read; sums are taken modulo 2^64, as the runtime's own. */
struct reading {
    struct ms_go *go;
    struct layout at;
    const struct ms_go_heap *spans;
    uint16_t *cached_stacks;                /* of each of them: its stacks that Ps have in their caches */
    uint64_t memstats, control, heap, work; /* addresses of the globals */
    struct ms_go_memstats *stats;
    uint64_t small_allocs[CLASSES], small_frees[CLASSES];
    uint64_t large_alloc, large_allocs, large_free, large_frees, tiny;
    uint64_t in_stacks, in_work, in_bits;
    uint64_t phase;
    bool *failed; /* something that is there could not be read */
    /* What giving back the caches of the Ps would do: */
    uint64_t live_change, freed_stacks, alloc_change, scan_change;
};

static uint64_t get(const struct reading *r, uint64_t address, struct ms_go_place place)
{
    uint64_t value;
    if (!ms_go_get(r->go, address, place, &value) && place.size)
        *r->failed = true;
    return value;
}

static uint64_t control(const struct reading *r, struct ms_go_place place)
{
    return get(r, r->control, place);
}

static uint64_t global(const struct reading *r, const char *name, uint32_t size)
{
    uint64_t address = ms_go_global(r->go, name);
    return address ? get(r, address, (struct ms_go_place){0, size}) : 0;
}

static ms_result find_globals(struct reading *r)
{
    uint64_t other; /* is only needed to be there */
    const struct {
        const char *name;
        uint64_t *address;
    } wanted[] = {
        {"runtime.allp", &other},     {"runtime.gomaxprocs", &other},     {"runtime.gcphase", &other},
        {"runtime.sweep", &other},    {"runtime.memstats", &r->memstats}, {"runtime.gcController", &r->control},
        {"runtime.mheap_", &r->heap}, {"runtime.work", &r->work},
    };
    uint8_t byte;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        *wanted[i].address = ms_go_global(r->go, wanted[i].name);
        if (!*wanted[i].address || !ms_image_read(r->go->image, *wanted[i].address, &byte, 1))
            return ms_error(MS_TARGET, "%s: %s of this %s program cannot be found", r->go->image->origin,
                            wanted[i].name, r->go->version);
    }
    return NULL;
}

/* --- what is counted already ------------------------------------------------------------------ */

static void add_counts(const struct reading *r, uint64_t address, struct ms_go_place place, uint64_t sums[CLASSES])
{
    uint64_t counts[CLASSES] = {0};
    uint32_t size = place.size < sizeof counts ? place.size : sizeof counts;
    if (ms_image_read(r->go->image, address + place.offset, counts, size))
        for (unsigned i = 0; i < CLASSES; i++)
            sums[i] += counts[i];
}

/* All three generations together are the truth while nobody runs (unsafeRead, mstats.go). */
static void read_heap_stats(struct reading *r)
{
    const struct {
        struct ms_go_place from;
        uint64_t *to;
    } sums[] = {
        {r->at.in_stacks, &r->in_stacks},     {r->at.in_work, &r->in_work},
        {r->at.in_bits, &r->in_bits},         {r->at.tiny, &r->tiny},
        {r->at.large_alloc, &r->large_alloc}, {r->at.large_allocs, &r->large_allocs},
        {r->at.large_free, &r->large_free},   {r->at.large_frees, &r->large_frees},
    };
    const struct ms_go_place all = r->at.generations;
    for (uint32_t at = 0; r->at.delta.size && at + r->at.delta.size <= all.size; at += r->at.delta.size) {
        uint64_t address = r->memstats + all.offset + at;
        for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
            *sums[i].to += get(r, address, sums[i].from);
        add_counts(r, address, r->at.small_allocs, r->small_allocs);
        add_counts(r, address, r->at.small_frees, r->small_frees);
    }
}

/* --- what the caches of the Ps hold ------------------------------------------------------------
 */

/*
 * ReadMemStats has each P give back its spans and stacks before it counts (flushallmcaches). The
 * spans: mcache.releaseAll(). To 1.18 a span that is cached is counted as if full, later as it was
 * before.
 */
static void give_back_span(struct reading *r, const struct ms_go_span *span, unsigned class)
{
    if (class >= CLASSES)
        return;
    const uint32_t sweepgen = (uint32_t)get(r, span->address, r->at.span_sweepgen);
    const uint32_t heap_sweepgen = (uint32_t)get(r, r->heap, r->at.sweepgen);
    /* In a cache: 3 ahead of the heap, or 1 since another cycle began; else it was just given back.
     */
    bool stale = sweepgen == heap_sweepgen + 1;
    if (!stale && sweepgen != heap_sweepgen + 3)
        return;
    const uint64_t allocated = get(r, span->address, r->at.span_allocated);
    uint64_t unused = span->slots - allocated;
    if (r->go->minor >= 19) {
        uint64_t used = allocated - get(r, span->address, r->at.span_before);
        r->small_allocs[class] += used;
        r->alloc_change += used * span->slot;
    } else {
        r->small_allocs[class] -= unused;
    }
    r->live_change -= stale ? 0 : unused * span->slot;
    r->stats->unswept_caches = r->stats->unswept_caches || stale;
}

#define STACKS_MOST (1u << 20) /* in the cache of a P: it holds at most 32 KiB of each size */

/* stackcache_clear(): a span of stacks that has none in use any more is freed. */
static void give_back_stacks(struct reading *r, uint64_t list)
{
    unsigned count = 0;
    for (uint64_t stack = get(r, list, r->at.stack_list); stack && count++ < STACKS_MOST;) {
        const struct ms_go_span *span = ms_go_heap_span(r->spans, stack);
        if (!span || !span->manual)
            return;
        uint16_t *cached = &r->cached_stacks[span - r->spans->spans.items];
        const uint64_t allocated = get(r, span->address, r->at.span_allocated);
        if (*cached >= allocated)
            return;
        if (++*cached == allocated && r->phase == MS_GO_PHASE_OFF)
            r->freed_stacks += span->end - span->start;
        if (!ms_image_read_word(r->go->image, stack, &stack))
            return;
    }
}

/* The span of objects that the word at ADDRESS points to; NULL: it is of none, runtime.emptymspan. */
static const struct ms_go_span *span_at(const struct reading *r, uint64_t address)
{
    uint64_t at, start;
    if (!ms_image_read_word(r->go->image, address, &at) || !at || !ms_go_get(r->go, at, r->at.span_start, &start))
        return NULL;
    const struct ms_go_span *span = ms_go_heap_span(r->spans, start);
    return span && span->address == at && !span->manual ? span : NULL;
}

static void give_back_cache(struct reading *r, uint64_t cache)
{
    for (uint32_t i = 0; i < r->at.cached_spans.size / 8; i++) {
        const struct ms_go_span *span = span_at(r, cache + r->at.cached_spans.offset + i * 8);
        if (span)
            give_back_span(r, span, i / 2);
    }
    r->tiny += get(r, cache, r->at.tiny_allocs);
    r->scan_change += get(r, cache, r->at.scan_alloc);
    uint32_t size = r->at.stack_list_self.size;
    for (uint32_t at = 0; size && at + size <= r->at.cached_stacks.size; at += size)
        give_back_stacks(r, cache + r->at.cached_stacks.offset + at);
}

#define PROCESSORS_MOST 65536u

static void give_back_caches(struct reading *r)
{
    struct ms_go_slice all = {0};
    uint64_t address = ms_go_global(r->go, "runtime.allp");
    uint64_t count = global(r, "runtime.gomaxprocs", 4);
    if (!address || !ms_go_get_slice(r->go, address, (struct ms_go_place){0, 24}, &all))
        return;
    for (uint64_t i = 0; i < count && i < all.length && i < PROCESSORS_MOST; i++) {
        uint64_t p, cache;
        if (!ms_image_read_word(r->go->image, all.data + i * 8, &p) || !p)
            continue;
        cache = get(r, p, r->at.cache);
        if (cache)
            give_back_cache(r, cache);
    }
}

/* --- the collector's plan ----------------------------------------------------------------------
 */

/* src/runtime/mgcpacer.go */
#define HEADROOM         (1u << 20) /* memoryLimitMinHeapGoalHeadroom */
#define HEADROOM_PERCENT 3u         /* memoryLimitHeapGoalHeadroomPercent, 1.21 and later */
#define RUNWAY           (64u << 10)
#define HEAP_MINIMUM     (4u << 20) /* defaultHeapMinimum */
#define RATIO_DEN        64u        /* triggerRatioDen, minTriggerRatioNum, maxTriggerRatioNum */
#define RATIO_MIN        45u
#define RATIO_MAX        61u

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* memoryLimitHeapGoal() */
static uint64_t limit_goal(const struct reading *r)
{
    uint64_t unused = control(r, r->at.control_free) + r->freed_stacks;
    uint64_t used = control(r, r->at.total_alloc) + r->alloc_change - control(r, r->at.total_free);
    uint64_t mapped = control(r, r->at.mapped), limit = control(r, r->at.memory_limit);
    uint64_t marked = control(r, r->at.marked);
    uint64_t other = mapped - unused - used, over = mapped > limit ? mapped - limit : 0;
    if (other + over >= limit)
        return marked;
    uint64_t goal = limit - (other + over), headroom = HEADROOM;
    if (r->go->minor >= 21)
        headroom = larger(goal / 100 * HEADROOM_PERCENT, headroom);
    goal = goal < headroom || goal - headroom < headroom ? headroom : goal - headroom;
    return larger(goal, marked);
}

/* heapGoalInternal() */
static uint64_t heap_goal(const struct reading *r, uint64_t *min_trigger)
{
    *min_trigger = 0;
    if (r->go->minor < 19)
        return control(r, r->at.goal);
    uint64_t goal = control(r, r->at.percent_goal), limited = limit_goal(r);
    if (limited < goal)
        return limited;
    uint64_t triggered = control(r, r->at.triggered);
    *min_trigger = control(r, r->at.min_trigger);
    goal = larger(goal, *min_trigger);
    if (triggered != UINT64_MAX && goal < triggered + RUNWAY)
        goal = triggered + RUNWAY;
    return goal;
}

/* trigger() */
static uint64_t heap_trigger(const struct reading *r)
{
    if (r->go->minor < 19)
        return control(r, r->at.trigger);
    uint64_t least, goal = heap_goal(r, &least), marked = control(r, r->at.marked);
    if (marked >= goal)
        return goal;
    uint64_t share = (goal - marked) / RATIO_DEN, runway = control(r, r->at.runway);
    least = larger(larger(least, marked), share * RATIO_MIN + marked);
    uint64_t most = share * RATIO_MAX + marked;
    if (goal > HEAP_MINIMUM)
        most = larger(most, goal - HEAP_MINIMUM);
    most = larger(most, least);
    return smaller(larger(runway > goal ? least : goal - runway, least), most);
}

static double real(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static struct ms_go_figure figure(uint64_t value, struct ms_go_place place)
{
    return (struct ms_go_figure){place.size ? value : 0, place.size != 0};
}

static bool is_sweeping(const struct reading *r)
{
    if (r->at.sweep_state.size) {
        uint64_t sweep = ms_go_global(r->go, "runtime.sweep");
        return sweep && get(r, sweep, r->at.sweep_state) != 1u << 31; /* sweepDrainedMask */
    }
    return !get(r, r->heap, r->at.sweep_drained) || get(r, r->heap, r->at.sweepers);
}

static void read_pacing(const struct reading *r, struct ms_go_pacing *pacing)
{
    uint64_t least;
    uint64_t period = global(r, "runtime.forcegcperiod", 8);
    *pacing = (struct ms_go_pacing){
        .phase = r->phase <= MS_GO_PHASE_MARK_TERMINATION ? (enum ms_go_phase)r->phase : MS_GO_PHASE_OFF,
        .cycle = get(r, r->work, r->at.cycles),
        .sweeping = is_sweeping(r),
        .heap_live = figure(control(r, r->at.live) + r->live_change, r->at.live),
        .heap_marked = figure(control(r, r->at.marked), r->at.marked),
        .heap_scan = figure(control(r, r->at.scan) + r->scan_change, r->at.scan),
        .trigger = {heap_trigger(r), true},
        .goal = {heap_goal(r, &least), true},
        .gc_percent = (int32_t)control(r, r->at.percent),
        .memory_limit = figure(control(r, r->at.memory_limit), r->at.memory_limit),
        .mapped = figure(control(r, r->at.mapped), r->at.mapped),
        .assist_bytes = real(control(r, r->at.assist)),
        .dedicated_workers = (int64_t)control(r, r->at.dedicated),
        .fractional_goal = real(control(r, r->at.fractional)),
        .processors = global(r, "runtime.gomaxprocs", 4),
    };
    /* gcTrigger.test() of gcTriggerTime: not with GOGC=off, and not before the first */
    uint64_t last = get(r, r->memstats, r->at.last_gc);
    if (period && last && pacing->gc_percent >= 0)
        pacing->forced_at = (struct ms_go_figure){last + period, true};
}

/* --- all of it ---------------------------------------------------------------------------------
 */

static void sum_objects(struct reading *r)
{
    uint16_t sizes[CLASSES];
    uint64_t *values = r->stats->values;
    uint64_t allocated = r->large_alloc, freed = r->large_free;
    uint64_t mallocs = r->large_allocs + r->tiny, frees = r->large_frees + r->tiny;
    ms_go_size_classes(r->go, sizes);
    for (unsigned i = 0; i < CLASSES; i++) {
        allocated += r->small_allocs[i] * sizes[i];
        freed += r->small_frees[i] * sizes[i];
        mallocs += r->small_allocs[i];
        frees += r->small_frees[i];
        if (i >= MS_GO_BY_SIZE)
            continue;
        r->stats->by_size[i].size = sizes[i];
        r->stats->by_size[i].mallocs = r->small_allocs[i];
        r->stats->by_size[i].frees = r->small_frees[i];
    }
    values[MS_GO_STAT_ALLOC] = values[MS_GO_STAT_HEAP_ALLOC] = allocated - freed;
    values[MS_GO_STAT_TOTAL_ALLOC] = allocated;
    values[MS_GO_STAT_MALLOCS] = mallocs;
    values[MS_GO_STAT_FREES] = frees;
    values[MS_GO_STAT_HEAP_OBJECTS] = mallocs - frees;
}

static void sum_memory(struct reading *r)
{
    uint64_t *values = r->stats->values, inuse, idle, released;
    if (r->go->minor >= 19) {
        inuse = control(r, r->at.control_inuse);
        released = control(r, r->at.control_released);
        idle = control(r, r->at.control_free) + r->freed_stacks + released;
    } else {
        inuse = get(r, r->memstats, r->at.heap_inuse);
        released = get(r, r->memstats, r->at.heap_released);
        idle = get(r, r->memstats, r->at.heap_sys) + r->freed_stacks - inuse;
    }
    uint64_t stacks = r->in_stacks - r->freed_stacks;
    values[MS_GO_STAT_HEAP_SYS] = inuse + idle;
    values[MS_GO_STAT_HEAP_IDLE] = idle;
    values[MS_GO_STAT_HEAP_INUSE] = inuse;
    values[MS_GO_STAT_HEAP_RELEASED] = released;
    values[MS_GO_STAT_STACK_INUSE] = stacks;
    values[MS_GO_STAT_STACK_SYS] = stacks + get(r, r->memstats, r->at.stacks_sys);
    values[MS_GO_STAT_MSPAN_INUSE] = get(r, r->heap, r->at.span_inuse);
    values[MS_GO_STAT_MSPAN_SYS] = get(r, r->memstats, r->at.mspan_sys);
    values[MS_GO_STAT_MCACHE_INUSE] = get(r, r->heap, r->at.cache_inuse);
    values[MS_GO_STAT_MCACHE_SYS] = get(r, r->memstats, r->at.mcache_sys);
    values[MS_GO_STAT_BUCKHASH_SYS] = get(r, r->memstats, r->at.buckhash_sys);
    values[MS_GO_STAT_GC_SYS] = get(r, r->memstats, r->at.misc_sys) + r->in_work + r->in_bits;
    values[MS_GO_STAT_OTHER_SYS] = get(r, r->memstats, r->at.other_sys);
    static const enum ms_go_stat parts[] = {
        MS_GO_STAT_HEAP_SYS,     MS_GO_STAT_STACK_SYS, MS_GO_STAT_MSPAN_SYS, MS_GO_STAT_MCACHE_SYS,
        MS_GO_STAT_BUCKHASH_SYS, MS_GO_STAT_GC_SYS,    MS_GO_STAT_OTHER_SYS,
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        values[MS_GO_STAT_SYS] += values[parts[i]];
}

static void read_ring(const struct reading *r, struct ms_go_place place, uint64_t *ring)
{
    if (place.size != MS_GO_PAUSES * sizeof *ring ||
        !ms_image_read(r->go->image, r->memstats + place.offset, ring, place.size))
        memset(ring, 0, MS_GO_PAUSES * sizeof *ring);
}

/* Lookups and DebugGC are fields that no version from 1.17 on fills; EnableGC is always true. */
static void read_collector(struct reading *r)
{
    struct ms_go_memstats *stats = r->stats;
    uint64_t *values = stats->values, least;
    values[MS_GO_STAT_NEXT_GC] = heap_goal(r, &least);
    values[MS_GO_STAT_LAST_GC] = get(r, r->memstats, r->at.last_gc);
    values[MS_GO_STAT_PAUSE_TOTAL] = get(r, r->memstats, r->at.pause_total);
    values[MS_GO_STAT_NUM_GC] = get(r, r->memstats, r->at.num_gc);
    values[MS_GO_STAT_NUM_FORCED_GC] = get(r, r->memstats, r->at.num_forced);
    values[MS_GO_STAT_ENABLE_GC] = 1;
    stats->gc_cpu_fraction = real(get(r, r->memstats, r->at.cpu_fraction));
    read_ring(r, r->at.pause_ns, stats->pause_ns);
    read_ring(r, r->at.pause_end, stats->pause_end);
}

ms_result ms_go_read_stats(const struct ms_go_heap *heap, struct ms_go_stats *stats)
{
    *stats = (struct ms_go_stats){0};
    bool failed = false;
    struct ms_go *go = (struct ms_go *)heap->go;
    ms_auto_free uint16_t *cached_stacks = calloc(heap->spans.count + 1, sizeof *cached_stacks);
    if (!cached_stacks)
        return ms_error_nomem("the counters of the Go runtime");
    struct reading r = {
        .go = go, .stats = &stats->memstats, .spans = heap, .cached_stacks = cached_stacks, .failed = &failed};
    MS_TRY(ms_go_bind(go, fields, sizeof fields / sizeof *fields, &r.at));
    MS_TRY(find_globals(&r));
    r.phase = global(&r, "runtime.gcphase", 4);
    read_heap_stats(&r);
    give_back_caches(&r);
    sum_objects(&r);
    sum_memory(&r);
    read_collector(&r);
    read_pacing(&r, &stats->pacing);
    if (failed)
        return ms_error(MS_TARGET, "%s: some counters of its Go runtime cannot be read", go->image->origin);
    return NULL;
}

ms_result ms_go_read_gauge(struct ms_go *go, struct ms_go_gauge *gauge)
{
    bool failed = false;
    struct reading r = {.go = go, .failed = &failed};
    MS_TRY(ms_go_bind(go, fields, sizeof fields / sizeof *fields, &r.at));
    r.memstats = ms_go_global(go, "runtime.memstats");
    r.control = ms_go_global(go, "runtime.gcController");
    const bool old = go->minor < 19;
    const uint64_t phase = global(&r, "runtime.gcphase", 4);
    *gauge = (struct ms_go_gauge){
        .cycles = get(&r, r.memstats, r.at.num_gc),
        .phase = (unsigned)phase,
        .live = control(&r, r.at.live),
        .goal = control(&r, old ? r.at.goal : r.at.percent_goal),
        .in_use = old ? get(&r, r.memstats, r.at.heap_inuse) : control(&r, r.at.control_inuse),
    };
    if (failed || !r.memstats || !r.control || !ms_go_global(go, "runtime.gcphase") ||
        phase > MS_GO_PHASE_MARK_TERMINATION)
        return ms_error(MS_TARGET, "%s: what its collector (%s) is doing cannot be read", go->image->origin,
                        go->version);
    return NULL;
}
