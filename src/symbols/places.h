/* Private to src/symbols: where the debug information mentions addresses of data. */
#ifndef MEMSCOPE_PLACES_H
#define MEMSCOPE_PLACES_H

#include "dwarf.h"

/* A place in the bytes of a unit that looks like the location of a variable; its DIE tells whether it is. */
struct ms_mention {
    uint64_t address;     /* in DWARF; of thread-local ones from the start of the module's block */
    uint64_t plus;        /* a variable merged with others: so many bytes behind; when resolved */
    const char *position; /* of the operation, in the section */
    void *die;            /* the variable; NULL: none, or not resolved yet */
    void *function;       /* DIE that it is a static of, or NULL */
    struct ms_variable *variable; /* made when asked for; of the types' memory */
    uint32_t unit;        /* index in ms_dwarf.units */
    uint32_t number;      /* of the address in .debug_addr, MS_NO_NUMBER: it is mentioned itself */
    bool tls;
};

#define MS_NO_NUMBER UINT32_MAX

struct ms_mentions {
    MS_VECTOR(struct ms_mention) items; /* by position, those of one unit together */
    bool short_of_memory;
};

/*
 * Looks for the operations of fixed addresses (DW_OP_addr and, through .debug_addr, DW_OP_addrx) and of
 * thread-local variables by their bytes: that is much faster than to parse what they are in. What else
 * looks so is sorted out when it is resolved.
 */
void ms_mentions_find(struct ms_types *types, struct ms_dwarf *dwarf, struct ms_mentions *mentions);

#endif
