/* Statistics of the Go runtime: runtime.MemStats as the process itself would read it, and where the
 * collector is. */
#ifndef MEMSCOPE_GOSTATS_H
#define MEMSCOPE_GOSTATS_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/go.h"
#include "memscope/goheap.h"

/*
 * The numbers of runtime.MemStats, in gops' order: its field, its name in the report of gops (NULL:
 * gops does not show it), and how they are shown: 's' a size in bytes, 'n' a count, 't' a time in
 * nanoseconds since 1970, 'd' a duration in nanoseconds, 'b' a truth.
 */
#define MS_GO_STATS(STAT)                                                                                          \
    STAT(ALLOC, "Alloc", "alloc", 's')                                                                             \
    STAT(TOTAL_ALLOC, "TotalAlloc", "total-alloc", 's')                                                            \
    STAT(SYS, "Sys", "sys", 's')                                                                                   \
    STAT(LOOKUPS, "Lookups", "lookups", 'n')                                                                       \
    STAT(MALLOCS, "Mallocs", "mallocs", 'n')                                                                       \
    STAT(FREES, "Frees", "frees", 'n')                                                                             \
    STAT(HEAP_ALLOC, "HeapAlloc", "heap-alloc", 's')                                                               \
    STAT(HEAP_SYS, "HeapSys", "heap-sys", 's')                                                                     \
    STAT(HEAP_IDLE, "HeapIdle", "heap-idle", 's')                                                                  \
    STAT(HEAP_INUSE, "HeapInuse", "heap-in-use", 's')                                                              \
    STAT(HEAP_RELEASED, "HeapReleased", "heap-released", 's')                                                      \
    STAT(HEAP_OBJECTS, "HeapObjects", "heap-objects", 'n')                                                         \
    STAT(STACK_INUSE, "StackInuse", "stack-in-use", 's')                                                           \
    STAT(STACK_SYS, "StackSys", "stack-sys", 's')                                                                  \
    STAT(MSPAN_INUSE, "MSpanInuse", "stack-mspan-inuse", 's')                                                      \
    STAT(MSPAN_SYS, "MSpanSys", "stack-mspan-sys", 's')                                                            \
    STAT(MCACHE_INUSE, "MCacheInuse", "stack-mcache-inuse", 's')                                                   \
    STAT(MCACHE_SYS, "MCacheSys", "stack-mcache-sys", 's')                                                         \
    STAT(BUCKHASH_SYS, "BuckHashSys", NULL, 's')                                                                   \
    STAT(OTHER_SYS, "OtherSys", "other-sys", 's')                                                                  \
    STAT(GC_SYS, "GCSys", "gc-sys", 's')                                                                           \
    STAT(NEXT_GC, "NextGC", "next-gc", 's')                                                                        \
    STAT(LAST_GC, "LastGC", "last-gc", 't')                                                                        \
    STAT(PAUSE_TOTAL, "PauseTotalNs", "gc-pause-total", 'd')                                                       \
    STAT(NUM_GC, "NumGC", "num-gc", 'n')                                                                           \
    STAT(NUM_FORCED_GC, "NumForcedGC", "num-forced-gc", 'n')                                                       \
    STAT(ENABLE_GC, "EnableGC", "enable-gc", 'b')                                                                  \
    STAT(DEBUG_GC, "DebugGC", "debug-gc", 'b')
#define MS_GO_STAT_NAME(name, ...) MS_GO_STAT_##name,
enum ms_go_stat { MS_GO_STATS(MS_GO_STAT_NAME) MS_GO_STAT_COUNT };
struct ms_go_stat_info {
    const char *field, *gops;
    char kind;
};
extern const struct ms_go_stat_info ms_go_stats[MS_GO_STAT_COUNT];

#define MS_GO_PAUSES  256u /* len(runtime.MemStats.PauseNs) */
#define MS_GO_BY_SIZE 61u  /* len(runtime.MemStats.BySize) */

/*
 * As ReadMemStats would report them if it were called in the instant of the image: it first has
 * each P give back its cache, and what that changes is worked out here too, but for one thing.
 * Lists of spans may have to grow then, by blocks of 4 KiB that move from OtherSys to GCSys; their
 * sum stays.
 */
struct ms_go_memstats {
    uint64_t values[MS_GO_STAT_COUNT];
    double gc_cpu_fraction;
    uint64_t pause_ns[MS_GO_PAUSES], pause_end[MS_GO_PAUSES];
    struct {
        uint32_t size;
        uint64_t mallocs, frees;
    } by_size[MS_GO_BY_SIZE];
    /*
     * The figures that ReadMemStats would change before it reports them cannot all be told: a P had
     * not yet given back its spans of the cycle before, which sweeps them. Mallocs and what hangs
     * together with them are right then, what is freed is a little behind.
     */
    bool unswept_caches;
};

enum ms_go_phase { MS_GO_PHASE_OFF, MS_GO_PHASE_MARK, MS_GO_PHASE_MARK_TERMINATION };
extern const char *const ms_go_phase_names[3]; /* "off", "mark", "mark termination" */

/* A figure that not every version has. */
struct ms_go_figure {
    uint64_t value;
    bool known;
};

/* Where the collector is, and what it is going by. Bytes but where said. */
struct ms_go_pacing {
    enum ms_go_phase phase;
    uint64_t cycle; /* that runs or ran last */
    bool sweeping;  /* spans of the last cycle are not all swept yet */
    struct ms_go_figure heap_live, heap_marked, heap_scan;
    struct ms_go_figure trigger;      /* heap_live at which the next cycle begins; UINT64_MAX: never */
    struct ms_go_figure goal;         /* UINT64_MAX: none */
    int64_t gc_percent;               /* GOGC; below 0: off */
    struct ms_go_figure memory_limit; /* GOMEMLIMIT (1.19 and later); INT64_MAX: none */
    struct ms_go_figure mapped;       /* bytes that the limit counts (1.19 and later) */
    double assist_bytes;              /* scan work that a byte of allocation costs while marking */
    int64_t dedicated_workers;        /* still to be started in this cycle */
    double fractional_goal;           /* share of each P's time for its fractional worker */
    struct ms_go_figure forced_at;    /* nanoseconds since 1970: when a collection comes at the latest */
    uint64_t processors;              /* GOMAXPROCS */
};

struct ms_go_stats {
    struct ms_go_memstats memstats;
    struct ms_go_pacing pacing;
};

/* Reads all of it. An error names the structure of the runtime that is not to be had. */
ms_result ms_go_read_stats(const struct ms_go_heap *heap, struct ms_go_stats *stats);

/* How the collector is doing, by what the runtime keeps up to date; from a live image too. */
struct ms_go_gauge {
    uint64_t cycles; /* of garbage collection that have ended */
    unsigned phase;  /* 0 none, 1 marking, 2 mark termination */
    uint64_t live;   /* bytes: marked in the last cycle, and allocated since */
    uint64_t goal;   /* bytes at which the next cycle is to end, by GOGC alone; UINT64_MAX: none */
    uint64_t in_use; /* bytes of spans with objects, MemStats.HeapInuse */
};
ms_result ms_go_read_gauge(struct ms_go *go, struct ms_go_gauge *gauge);

/* --- memory that holds no objects ---------------------------------------------------------------
 */

enum ms_go_memory_use {
    MS_GO_MEMORY_STACKS,      /* of goroutines that are not dead, and of threads */
    MS_GO_MEMORY_FREE_STACKS, /* kept for goroutines to come */
    MS_GO_MEMORY_WORK,        /* buffers of the collector */
    MS_GO_MEMORY_SPANS,       /* runtime.mspan, and the list of them */
    MS_GO_MEMORY_CACHES,      /* runtime.mcache */
    MS_GO_MEMORY_BITMAPS,     /* what is kept for each address: heapArena, its table, mark bits */
    MS_GO_MEMORY_PAGES,       /* the page allocator's summaries and bitmaps */
    MS_GO_MEMORY_PROFILES,    /* buckets of the profiles */
    MS_GO_MEMORY_RUNTIME,     /* other chunks that the runtime never frees */
};
struct ms_go_memory_piece {
    uint64_t start, end; /* half-open; not all of it need be touched or even mapped */
    enum ms_go_memory_use use;
};
/* Sorted by address, without overlap. */
struct ms_go_memory {
    struct ms_go_memory_piece *items;
    size_t count, capacity;
};

/* HEAP is of GO. Free with ms_go_memory_free(). */
ms_result ms_go_memory_read(struct ms_go *go, const struct ms_go_heap *heap, struct ms_go_memory *memory);
void ms_go_memory_free(struct ms_go_memory *memory);

#endif
