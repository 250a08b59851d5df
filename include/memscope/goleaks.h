/* Goroutines that nothing can wake any more: what they wait for is out of reach of all that can run. */
#ifndef MEMSCOPE_GOLEAKS_H
#define MEMSCOPE_GOLEAKS_H

#include <stdbool.h>

#include "memscope/goheap.h"

/* What a goroutine waits for. */
struct ms_go_wait {
    uint64_t address;          /* of the first of it: a channel, or the word in a mutex or the like; 0: not known */
    uint32_t count;            /* so many: more than one in a select */
    uint32_t waiters;          /* goroutines that wait for that first one, this one too */
    bool channel;              /* it is one: */
    uint64_t length, capacity; /* of its queue */
};

struct ms_go_search; /* private to leaked.c */

struct ms_go_leaks {
    bool *leaked;             /* by goroutine; owned */
    struct ms_go_wait *waits; /* by goroutine; owned */
    struct ms_go_search *search;
};

/*
 * Sets LEAKED, an element for each of HEAP's goroutines, of those that wait for a channel, a mutex, a
 * wait group, a condition or a semaphore that is reachable neither from variables nor from a goroutine
 * that can still run, nor from one that can be woken by those: the fixed point of the goroutineleak
 * profile of Go 1.26 (findMaybeRunnableGoroutines() of src/runtime/mgc.go), for all versions. One whose
 * wait is not understood does not count, nor does the main one in `select {}`, which is meant to stay. HEAP must outlive LEAKS.
 */
ms_result ms_go_find_leaked(const struct ms_go_heap *heap, struct ms_go_leaks *leaks);
void ms_go_leaks_free(struct ms_go_leaks *leaks);

/*
 * Sets of each of GROUPS what the stacks of its leaked goroutines alone keep alive: nothing else
 * reaches it. Returns in ALL that of all together, which is more when they share something.
 */
ms_result ms_go_leaks_retained(struct ms_go_leaks *leaks, struct ms_go_groups *groups, struct ms_tally *all);

/* Whether one that waits for REASON can be woken by another goroutine alone. */
bool ms_go_is_blocked(const char *reason);

#endif
