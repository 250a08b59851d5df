/* Private to src/symbols: the functions, inlined ones and blocks that an address of code is in. */
#ifndef MEMSCOPE_SCOPES_H
#define MEMSCOPE_SCOPES_H

#include "dwarf.h"

/* Deeper than compilers nest; what is deeper is not looked at. */
#define MS_SCOPES_MAX 128u

struct ms_scopes {
    Dwarf_Die list[MS_SCOPES_MAX];      /* the outermost, a function, first */
    const char *limit[MS_SCOPES_MAX];   /* where its children end, for ms_first_child() */
    size_t count;
};

/*
 * The scopes of UNIT, one of DWARF's, that ADDRESS (as in the DWARF) is in. COUNT is 0 when there are none. Kept with
 * DWARF: many threads are at the same few addresses, and a unit is searched from its beginning.
 */
void ms_find_scopes(struct ms_dwarf *dwarf, Dwarf_Die *unit, Dwarf_Addr address, struct ms_scopes *scopes);

/* A function, or one that is inlined here? Else a block. */
bool ms_scope_is_function(Dwarf_Die *scope);

#endif
