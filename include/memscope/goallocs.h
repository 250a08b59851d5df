/* Which types a Go program allocates, by its code: there in stripped programs too. */
#ifndef MEMSCOPE_GOALLOCS_H
#define MEMSCOPE_GOALLOCS_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/gofuncs.h"

/* A call of the allocator that says what for. */
struct ms_go_allocation {
    uint64_t pc;   /* where the call returns to */
    uint64_t type; /* address of the header of the type that the call was given: of a value, of the elements of a
                      slice, of a map or a channel; or of an itab */
    bool one;      /* it may be of one value */
    bool many;     /* it may be of the elements of an array */
};

/* By PC; zero-initialised, freed with ms_vector_free(&list). */
struct ms_go_allocations {
    MS_VECTOR(struct ms_go_allocation) list;
};

/*
 * All of them in the text of all modules. What is told from code may be wrong where the type comes from elsewhere
 * than from an instruction right before the call: an address need not be one of a header.
 */
ms_result ms_go_allocations_read(struct ms_go_functions *functions, struct ms_go_allocations *allocations);

#endif
