/* Private to src/symbols: units, scopes and names of the debug information. */
#ifndef MEMSCOPE_DWARF_H
#define MEMSCOPE_DWARF_H

#include "dwarf_types.h"
#include "reader.h"

/* Deeper nested DIEs are not looked at. */
#define MS_DIE_DEPTH 64u

/* A DIE that others have their names from: namespace, class, function; the first one is the unit. */
struct ms_scope {
    const char *start, *end; /* of the DIE with its children, in the section */
    const char *name;        /* qualified; NULL: not made yet */
    size_t first, count;     /* the scopes in it, when expanded */
    uint32_t parent;
    bool expanded;
    bool block; /* of code, without a name */
};
#define MS_NO_SCOPE UINT32_MAX

struct ms_unit {
    Dwarf_Die die;
    enum ms_language language;
    size_t module; /* MS_MODULES_NONE: not known */
    MS_VECTOR(struct ms_scope) scopes; /* those right inside of one are together, in order */
};

/* The unit that DIE is in; NULL when memory is short. */
struct ms_unit *ms_unit_of(struct ms_types *types, const Dwarf_Die *die);

/*
 * The children of a DIE one after another: NEXT is set to the one behind *DIE before anybody descends, and
 * LIMIT is where children of *DIE must end. DW_AT_sibling may lie; nothing is visited twice.
 *     for (bool more = ms_first_child(&parent, limit, &walk); more; more = ms_next_child(&walk))
 */
struct ms_child_walk {
    const struct ms_reader *reader; /* of the unit; NULL: libdw does it */
    Dwarf_Die die, next;
    const char *limit; /* children of die end here */
    const char *end;
    bool more;
};
bool ms_first_child(Dwarf_Die *parent, const char *limit, struct ms_child_walk *walk);
bool ms_next_child(struct ms_child_walk *walk);
/* The same with READER, which stays the unit's until the walk is over; NULL: as above. */
bool ms_first_child_by(const struct ms_reader *reader, Dwarf_Die *parent, const char *limit,
                       struct ms_child_walk *walk);
int ms_child_tag(struct ms_child_walk *walk);

/* Where nothing is known of the end: it is the unit's, and libdw sees to that. */
#define MS_UNIT_END ((const char *)UINTPTR_MAX)

bool ms_die_flag(Dwarf_Die *die, unsigned attribute);
bool ms_die_number(Dwarf_Die *die, unsigned attribute, uint64_t *value);
/* Follows a reference to another DIE. */
bool ms_die_reference(Dwarf_Die *die, unsigned attribute, Dwarf_Die *to);
/*
 * Go's linker writes expressions as blocks of bytes, as DWARF 3 did; in later versions libdw takes these for lists.
 * One that is short is the same as an expression, byte by byte.
 */
void ms_attribute_as_expression(Dwarf_Attribute *value);
/* Of a type that lives in a type unit of its own (DW_AT_signature) goes there. */
void ms_die_signed(Dwarf_Die *die);
/* DW_AT_name, its origin's or declaration's too; NULL: none. */
const char *ms_die_name(Dwarf_Die *die);

/* "ns::Outer::" before the name of DIE: qualified name of what it is in, NULL: of nothing. */
const char *ms_dwarf_scope_name(struct ms_types *types, Dwarf_Die *die);

/* Fills ms_dwarf.units. */
bool ms_dwarf_units(struct ms_dwarf *dwarf);

/* The one structure or union that the module defines under a name (ms_spelling_hash); NULL: none, or several. */
const struct ms_type *ms_dwarf_named(struct ms_types *types, struct ms_dwarf *dwarf, uint64_t hash);

/* Converts every structure that is defined in the module and has a size that is WANTED. */
void ms_dwarf_read_all(struct ms_types *types, struct ms_dwarf *dwarf, ms_size_filter *wanted, void *context);

/* Frees what hangs from DWARF, which is not itself freed. */
void ms_dwarf_close(struct ms_dwarf *dwarf);

/* Of variables.c. */
void ms_variable_index_free(struct ms_variable_index *index);

/* Of code.c. */
void ms_code_index_free(struct ms_code_index *index);

/* Of scopes.c. */
void ms_scope_index_free(struct ms_scope_index *index);

#endif
