/* Private to src/heap: the allocators that heap.c's table names. */
#ifndef MEMSCOPE_ALLOCATORS_H
#define MEMSCOPE_ALLOCATORS_H

#include "memscope/heap.h"

extern const struct ms_allocator ms_glibc;

#endif
