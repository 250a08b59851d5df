/* Private to src/symbols: what a function was called with, by what its caller's code says of the call. */
#ifndef MEMSCOPE_ENTRY_H
#define MEMSCOPE_ENTRY_H

#include "dwarf_types.h"
#include "unwind.h"

/* A call of a function. */
struct ms_entry {
    struct ms_types *types;
    Dwarf_Die *function;           /* of the debug information, not inlined */
    const struct ms_call *callers; /* the nearest first */
    size_t count;
    unsigned depth; /* of entries whose values depend on one another */
};

/*
 * The value that register REG, by its DWARF number, had when the function was entered (DW_OP_entry_value). False
 * where its caller does not say, or may have called another one, which has gone on to this one.
 */
bool ms_entry_value(const struct ms_entry *entry, unsigned reg, uint64_t *value);

#endif
