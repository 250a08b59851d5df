/* The biggest of many: collected one by one, in memory for a few of them. */
#ifndef MEMSCOPE_TOPS_H
#define MEMSCOPE_TOPS_H

#include <stddef.h>
#include <stdint.h>

#include "memscope/memory.h"

struct ms_top {
    uint64_t weight;
    uint64_t item; /* the caller's: position, granule … */
};

/* Zero-initialised but for LIMIT; freed with ms_tops_free(). Never holds more than twice LIMIT. */
struct ms_tops {
    MS_VECTOR(struct ms_top) list; /* after ms_tops_cut(): the biggest first, of equals the lowest item */
    size_t limit;
};

/* The only error is lack of memory, for WHAT. */
ms_result ms_tops_add(struct ms_tops *tops, uint64_t weight, uint64_t item, const char *what);
void ms_tops_cut(struct ms_tops *tops);
void ms_tops_free(struct ms_tops *tops);

#endif
