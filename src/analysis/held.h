/* Private to src/analysis: the shape of what is lost, by the types of what a leader holds. */
#ifndef MEMSCOPE_HELD_H
#define MEMSCOPE_HELD_H

#include "memscope/leaks.h"

/* Every lost block, those of one leader one behind another. */
struct ms_holdings {
    const struct ms_lost *lost;
    uint32_t *first;  /* by leader and one more: index into blocks; owned */
    uint32_t *blocks; /* indices into lost->starts; owned */
};

/* LOST must outlive it. */
ms_result ms_holdings_new(const struct ms_lost *lost, struct ms_holdings *holdings);
void ms_holdings_free(struct ms_holdings *holdings);

/* Fills GROUP->holds: the most frequent types of the blocks that the LEADERth leader holds, by name. */
ms_result ms_find_held(const struct ms_holdings *holdings, struct ms_knowledge *knowledge, size_t leader,
                      struct ms_leak_group *group);

/* Orders by the types alone, not by how many of each there are. */
int ms_held_compare(const struct ms_leak_held *a, const struct ms_leak_held *b);

/* Adds what ONE leak holds to its group, which has it in its blocks already. */
void ms_held_add(struct ms_leak_group *group, const struct ms_leak_group *one);

/* The most frequent type first: for a group that is complete. */
void ms_held_sort(struct ms_leak_group *group);

#endif
