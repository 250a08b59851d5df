/* What Go's runtime keeps for later: timers that are to fire, finalizers and cleanups that are to run. */
#ifndef MEMSCOPE_GOQUEUES_H
#define MEMSCOPE_GOQUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/goheap.h"

/* Who is served by a timer, by the function that the runtime calls. */
enum ms_go_timer_kind {
    MS_GO_TIMER_FUNCTION, /* time.AfterFunc() */
    MS_GO_TIMER_CHANNEL,  /* time.NewTimer(), time.After() */
    MS_GO_TIMER_TICKER,   /* time.NewTicker(), time.Tick() */
    MS_GO_TIMER_SLEEP,    /* time.Sleep() */
    MS_GO_TIMER_OTHER,    /* deadlines of connections and what else the runtime has */
    MS_GO_TIMER_KINDS
};
extern const char *const ms_go_timer_names[MS_GO_TIMER_KINDS]; /* "function", "channel", … */

/*
 * A timer in the heap of a P: it keeps alive what it is to be called with. From 1.23 on one with a channel is there
 * only while somebody waits for that.
 */
struct ms_go_timer {
    uint64_t address;  /* of its runtime.timer */
    uint64_t when;     /* as CLOCK_MONOTONIC counts, nanoseconds */
    uint64_t function; /* address of the code that is called in the end: of AfterFunc()'s function */
    uint8_t kind;      /* enum ms_go_timer_kind */
    bool stopped;      /* but not yet taken out of the heap */
};
struct ms_go_timers {
    MS_VECTOR(struct ms_go_timer) list;
};

/* Those of all Ps. */
ms_result ms_go_timers_read(const struct ms_go_heap *heap, struct ms_go_timers *timers);
void ms_go_timers_free(struct ms_go_timers *timers);

/* A finalizer or cleanup that is to run, or runs just now: its words are roots. */
struct ms_go_queued {
    uint64_t address; /* of its entry in the queue … */
    uint64_t size;    /* … which takes so many bytes */
    bool cleanup;
};
struct ms_go_queue {
    MS_VECTOR(struct ms_go_queued) list;
};
ms_result ms_go_queue_read(const struct ms_go_heap *heap, struct ms_go_queue *queue);
void ms_go_queue_free(struct ms_go_queue *queue);

/* An object with a finalizer that is to run, or that only this keeps, with the type that the runtime has of it. */
struct ms_go_finalized {
    uint64_t address; /* of the object */
    uint64_t type;    /* header of the type of a pointer to it */
};
struct ms_go_finalized_list {
    MS_VECTOR(struct ms_go_finalized) list;
};
ms_result ms_go_finalized_read(const struct ms_go_heap *heap, struct ms_go_finalized_list *finalized);
void ms_go_finalized_free(struct ms_go_finalized_list *finalized);

/*
 * The function of the code that begins at ENTRY, "main.(*session).expire", without what the compiler adds to it of a
 * method's value; at most SIZE bytes with the zero into BUFFER, which is returned; NULL: no function begins there.
 */
char *ms_go_entry_name(const struct ms_go_heap *heap, uint64_t entry, char *buffer, size_t size);

#endif
