/* The goroutines of a Go program as views show them: groups of equal stacks, and what each keeps alive. */
#ifndef MEMSCOPE_GOROUTINES_H
#define MEMSCOPE_GOROUTINES_H

#include <stddef.h>
#include <stdint.h>

#include "memscope/goheap.h"
#include "memscope/histogram.h"

/* Of the group at the same place of ms_goroutines.groups. */
struct ms_goroutine_group {
    const char *function;        /* the innermost that is not the runtime's inside; as the linker wrote it */
    struct ms_go_traced creator; /* the call that made them; its function NULL: not known, or not the same */
    uint32_t first;              /* its goroutines are ms_goroutines.members[first] … */
};

/* Those of the program, without the runtime's own. Strings live as long as the heap that they are of. */
struct ms_goroutines {
    const struct ms_go_goroutines *all;
    struct ms_go_groups groups;
    MS_VECTOR(struct ms_goroutine_group) list;
    bool *leaked;      /* of each in the list of all: nothing can wake it any more; owned */
    uint32_t *members; /* indices in the list of all, those of each group together, by id; owned */
};

/* HEAP must outlive it. */
ms_result ms_group_goroutines(const struct ms_go_heap *heap, struct ms_goroutines *goroutines);
void ms_goroutines_free(struct ms_goroutines *goroutines);

/* By how many each group of NOW has grown since BEFORE, a snapshot of the same process; GREW has room for all. */
ms_result ms_goroutine_growth(const struct ms_goroutines *before, const struct ms_goroutines *now, int64_t *grew);

/*
 * Up to MOST of the blocks that the stack of a goroutine (its INDEX in the list of all) points to, and
 * registers when it runs: those that retain most first, the biggest while that is not known. KNOWLEDGE and
 * REPORT, one by type that has the tree, may be NULL.
 */
ms_result ms_find_goroutine_blocks(const struct ms_go_heap *heap, struct ms_knowledge *knowledge,
                                   const struct ms_heap_report *report, size_t index, size_t most,
                                   struct ms_owners *blocks);

#endif
