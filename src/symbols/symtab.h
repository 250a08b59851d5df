/* Private to src/symbols: the symbols of one module, by address and by name. */
#ifndef MEMSCOPE_SYMTAB_H
#define MEMSCOPE_SYMTAB_H

#include <elfutils/libdwfl.h>
#include <stdint.h>

#include "memscope/memory.h"

struct ms_symbol {
    uint64_t address; /* in the target */
    uint64_t size;    /* 0: not known */
    const char *name; /* as in the ELF file, maybe with @VERSION; owned by libdwfl */
    char *shown;      /* for people, NULL until asked for; owned */
    uint32_t rank;    /* the best of several at one address has the highest */
};

/* [start, end) belongs to one symbol. */
struct ms_interval {
    uint64_t start, end;
    uint32_t symbol; /* index */
};

struct ms_symtab {
    MS_VECTOR(struct ms_symbol) symbols;     /* by address, then rank */
    MS_VECTOR(struct ms_interval) intervals; /* by address, without overlap */
    uint32_t *names; /* hash of indices + 1 into symbols, made when first needed; owned */
    size_t name_slots;
};

/*
 * Reads the symbols of MODULE that lie in [start, end). A module without any, or
 * a corrupt one, gives an empty table. Valid as long as MODULE's Dwfl.
 */
ms_result ms_symtab_read(struct ms_symtab *table, Dwfl_Module *module, uint64_t start,
                         uint64_t end);
void ms_symtab_free(struct ms_symtab *table);

/* The symbol that covers ADDRESS, the innermost of several, or NULL. */
struct ms_symbol *ms_symtab_at(const struct ms_symtab *table, uint64_t address);

/* The best symbol called NAME (without @VERSION), or NULL. */
const struct ms_symbol *ms_symtab_named(struct ms_symtab *table, const char *name);

/* How many symbols at different addresses are called NAME. */
unsigned ms_symtab_count(const struct ms_symtab *table, const char *name);

/* The name to show: demangled, without @VERSION. Never NULL; valid as long as the table. */
const char *ms_symbol_shown(struct ms_symbol *symbol);

#endif
