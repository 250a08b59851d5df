/* Private to src/symbols: what unwinding and thread-local storage need of types and their modules. */
#ifndef MEMSCOPE_DWARF_TYPES_H
#define MEMSCOPE_DWARF_TYPES_H

#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/types.h"
#include "modules.h"
#include "split.h"

/* A module with its debug information. Lives as long as its struct ms_types. */
struct ms_dwarf {
    struct ms_module module;
    size_t index;    /* among the modules of struct ms_symbols */
    struct ms_types *types; /* that it belongs to */
    Dwarf *dwarf;    /* NULL: it has none */
    Dwarf *common;   /* what several files share (dwz's .gnu_debugaltlink), or NULL */
    Dwarf_Addr bias; /* address in the target less address in DWARF */
    Dwarf_Die *units; /* owned; in the order of dwarf_get_units(), of split units those of the .dwo; */
    size_t own_count; /* … behind these, those of the common file that they import */
    struct ms_splits splits; /* private */
    size_t unit_count;
    struct ms_name_index *names;      /* private */
    struct ms_variable_index *places; /* private */
    struct ms_code_index *code;       /* private */
    struct ms_scope_index *scopes;    /* private */
    bool opened;
};

const struct ms_image *ms_types_image(const struct ms_types *types);
struct ms_symbols *ms_types_symbols(const struct ms_types *types);

/* The module that is mapped at ADDRESS, its file and debug information opened. NULL: no module. */
struct ms_dwarf *ms_types_dwarf(struct ms_types *types, uint64_t address);

/* The same by its index, 0 to ms_modules_count() - 1. */
struct ms_dwarf *ms_types_dwarf_at(struct ms_types *types, size_t index);

/* The unit whose code covers PC of the target; of a split unit that of the .dwo. False: none. */
bool ms_dwarf_unit_at(struct ms_dwarf *dwarf, uint64_t pc, Dwarf_Die *unit);

/* Base name of the source file of the unit that DIE is in, or NULL. */
const char *ms_dwarf_unit_name(Dwarf_Die *die);

/* The type that a DW_TAG_…_type DIE describes; void for NULL. Never NULL. */
const struct ms_type *ms_type_of_die(struct ms_types *types, Dwarf_Die *die);

/* The type that DIE (a variable, parameter, member …) has by DW_AT_type, its origin's too. Never NULL. */
const struct ms_type *ms_type_of_variable(struct ms_types *types, Dwarf_Die *die);

/* Qualified name of a function or variable: "ns::table". NULL: it has none. Valid as long as TYPES. */
const char *ms_dwarf_name(struct ms_types *types, Dwarf_Die *die);

/* Bytes, zeroed, that are freed with TYPES; NULL when memory is short. */
void *ms_types_alloc(struct ms_types *types, size_t size);

/* A copy of TEXT that is; "" when memory is short. */
const char *ms_types_string(struct ms_types *types, const char *text);

#endif
