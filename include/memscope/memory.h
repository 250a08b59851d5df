/* Memory of our own: large reservations, growing arrays, what is available. */
#ifndef MEMSCOPE_MEMORY_H
#define MEMSCOPE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "memscope/error.h"

/* Frees on scope exit: `ms_auto_free char *p = …;` */
static inline void ms_free_pointer(void *p)
{
    __builtin_free(*(void **)p);
}
#define ms_auto_free __attribute__((cleanup(ms_free_pointer)))

/*
 * A reservation of address space, zero-filled, given memory page by page as it
 * is touched (huge pages where the kernel gives them). Costs nothing until used.
 */
struct ms_reserve {
    uint8_t *base; /* NULL when empty */
    size_t size;   /* bytes */
};

/* Reserves SIZE bytes; SIZE 0 gives an empty reservation. */
ms_result ms_reserve(struct ms_reserve *reserve, size_t size, const char *what);

/*
 * Bytes to reserve beyond what was measured, for what the target may gain until
 * it is stopped: plenty where address space costs nothing, little where it is
 * counted (vm.overcommit_memory = 2, or a limit on address space).
 */
uint64_t ms_reserve_slack(void);

/* Gives memory to bytes [from, from + size) now, so that touching them later does not fault. */
void ms_reserve_populate(struct ms_reserve *reserve, size_t from, size_t size);

/* Gives everything back. */
void ms_reserve_free(struct ms_reserve *reserve);

/*
 * A growing array: `MS_VECTOR(struct foo) foos;` zero-initialised, freed with
 * ms_vector_free(). ms_vector_add() gives a pointer to a new zeroed element or
 * NULL when memory is short; it is valid until the next addition.
 */
#define MS_VECTOR(type)                                                                            \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count;                                                                              \
        size_t capacity;                                                                           \
    }
#define ms_vector_add(v)                                                                           \
    ((__typeof__((v)->items))ms_vector_grow_((void **)&(v)->items, &(v)->count, &(v)->capacity,    \
                                             sizeof *(v)->items))
#define ms_vector_free(v) (__builtin_free((v)->items), (v)->items = NULL, (v)->count = (v)->capacity = 0)
/* qsort(), which must not be called without elements. */
#define ms_vector_sort(v, compare)                                                                 \
    ((v)->count ? qsort((v)->items, (v)->count, sizeof *(v)->items, (compare)) : (void)0)
void *ms_vector_grow_(void **items, size_t *count, size_t *capacity, size_t size);

/*
 * Bytes this process can still take without risking an OOM kill: MemAvailable
 * and the limits of every memory cgroup we are in (v1 and v2), less a margin
 * for others. UINT64_MAX when nothing could be read.
 */
uint64_t ms_memory_available(void);

#endif
