/* Goroutines that nothing can wake any more: what they wait for is out of reach of all that can run. */
#ifndef MEMSCOPE_GOLEAKS_H
#define MEMSCOPE_GOLEAKS_H

#include <stdbool.h>

#include "memscope/goheap.h"

/*
 * Sets LEAKED, an element for each of HEAP's goroutines, of those that wait for a channel, a mutex, a
 * wait group, a condition or a semaphore that is reachable neither from variables nor from a goroutine
 * that can still run, nor from one that can be woken by those: the fixed point of the goroutineleak
 * profile of Go 1.26 (findMaybeRunnableGoroutines() of src/runtime/mgc.go), for all versions. One whose
 * wait is not understood does not count. LEAKED is the caller's to free.
 */
ms_result ms_go_find_leaked(const struct ms_go_heap *heap, bool **leaked);

#endif
