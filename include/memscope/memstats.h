/* Memory accounting: where every resident byte of the process goes. */
#ifndef MEMSCOPE_MEMSTATS_H
#define MEMSCOPE_MEMSTATS_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/gostats.h"
#include "memscope/graph.h"
#include "memscope/symbols.h"

/* Rows of the account, in the order they are shown; each resident byte is in one of them. */
enum ms_row {
    MS_ROW_LIVE,        /* heap: reachable blocks */
    MS_ROW_POSSIBLE,    /* heap: possibly lost */
    MS_ROW_LOST,        /* heap: definitely and indirectly lost */
    MS_ROW_FREE_TRIM,   /* heap: free, whole pages that malloc_trim would return */
    MS_ROW_FREE_PINNED, /* heap: free, in pages that hold live neighbours */
    MS_ROW_TCACHE,      /* heap: cached for threads */
    MS_ROW_FASTBIN,
    MS_ROW_TOP,
    MS_ROW_OVERHEAD,    /* heap: headers of arenas, fences, rounding */
    MS_ROW_UNKNOWN,     /* heap: could not be walked */
    MS_ROW_GO_LIVE,     /* Go's heap: objects that can be reached */
    MS_ROW_GO_GARBAGE,  /* … and cannot, but the collector has not seen that yet */
    MS_ROW_GO_UNSWEPT,  /* … the last collection found dead, not swept yet */
    MS_ROW_GO_SLOTS,    /* … free slots between them, and ends of spans */
    MS_ROW_GO_IDLE,     /* … pages of no span, resident though */
    MS_ROW_GO_STACKS,   /* in spans: stacks that are in use … */
    MS_ROW_GO_FREE_STACKS, /* … and that are kept for later */
    MS_ROW_GO_WORK,     /* … buffers of the collector */
    MS_ROW_GO_SPANS,    /* the runtime's own: see enum ms_go_memory_use */
    MS_ROW_GO_CACHES,
    MS_ROW_GO_BITMAPS,
    MS_ROW_GO_PAGES,
    MS_ROW_GO_PROFILES,
    MS_ROW_GO_RUNTIME,
    MS_ROW_STACKS,      /* threads' stacks and static TLS */
    MS_ROW_DATA,        /* modules' writable data and bss */
    MS_ROW_TEXT,        /* modules' code and constants */
    MS_ROW_FILES,       /* other file maps */
    MS_ROW_SHARED,      /* shared memory */
    MS_ROW_ANON,        /* other anonymous memory */
    MS_ROW_OTHER,       /* vdso and devices */
    MS_ROWS
};
struct ms_row_info {
    const char *name;  /* in JSON: "live", "free_trimmable", … */
    const char *title; /* in text */
    bool heap;
};
extern const struct ms_row_info ms_rows[MS_ROWS];

enum ms_verdict {
    MS_VERDICT_LEAK,
    MS_VERDICT_RETAINED,      /* retained by live data */
    MS_VERDICT_FRAGMENTATION,
    MS_VERDICT_CACHING,       /* allocator caching: malloc_trim would return it */
    MS_VERDICT_GARBAGE,  /* Go: unreachable, until the next collection */
    MS_VERDICT_IDLE,     /* Go: free, the runtime still has it */
    MS_VERDICT_STACKS,   /* Go: stacks of goroutines */
    MS_VERDICT_NOT_HEAP,
    MS_VERDICTS
};
extern const char *const ms_verdict_names[MS_VERDICTS];

struct ms_memstats {
    uint64_t rss;       /* Rss of smaps_rollup in the same stop, bytes */
    uint64_t total;     /* sum of rows */
    uint64_t rows[MS_ROWS];
    enum ms_verdict verdict;
    char reason[256];   /* the verdict in plain words, with its figures */
    bool complete;
    const struct ms_go_stats *go; /* of a Go program what its runtime counts, or NULL */
};

/*
 * Needs a scan that was marked (ms_mark) and an image with the account. Of a Go
 * program SCAN is that of malloc's heap, GO Go's own, and GO_STATS what its
 * runtime counts; else both are NULL, and of a Go program they may be.
 */
ms_result ms_memstats(struct ms_scan *scan, struct ms_image *image, const struct ms_reach *reach,
                      const struct ms_go_heap *go, const struct ms_go_stats *go_stats, struct ms_memstats *stats);

/* After that: of the resident bytes of ARENA, the share that is free in pages with live neighbours. */
double ms_arena_fragmentation(const struct ms_arena *arena);

#endif
