/* Which functions, inlined ones and blocks cover an address of code, by the tree of one unit. */
#include "scopes.h"

#include <dwarf.h>

/* How deep functions may lie in namespaces and classes. */
#define NAMESPACES_MAX 64u

/*
 * Not dwarf_getscopes(): it recurses as deep as the DWARF says, looks for the origin of
 * inlined functions in all of the unit, and does not end when siblings are a ring.
 */
bool ms_next_sibling(Dwarf_Die *die)
{
    Dwarf_Off before = dwarf_dieoffset(die);
    return dwarf_siblingof(die, die) == 0 && dwarf_dieoffset(die) > before;
}

bool ms_scope_is_function(Dwarf_Die *scope)
{
    int tag = dwarf_tag(scope);
    return tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine;
}

static bool is_scope(Dwarf_Die *die)
{
    int tag = dwarf_tag(die);
    return ms_scope_is_function(die) || tag == DW_TAG_lexical_block || tag == DW_TAG_try_block ||
           tag == DW_TAG_catch_block;
}

/* What has no code of its own but may hold functions that do. */
static bool is_namespace(Dwarf_Die *die)
{
    switch (dwarf_tag(die)) {
    case DW_TAG_namespace:
    case DW_TAG_module:
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
    case DW_TAG_enumeration_type:
        return true;
    default:
        return false;
    }
}

/* The scope among the children of PARENT, and of namespaces there, that covers ADDRESS. */
static bool find_inner(Dwarf_Die *parent, Dwarf_Addr address, bool namespaces, Dwarf_Die *found)
{
    Dwarf_Die stack[NAMESPACES_MAX];
    size_t depth = 0;
    if (dwarf_child(parent, &stack[0]) != 0)
        return false;
    for (;;) {
        Dwarf_Die *die = &stack[depth];
        if (is_scope(die) && dwarf_haspc(die, address) == 1) {
            *found = *die;
            return true;
        }
        if (namespaces && depth + 1 < NAMESPACES_MAX && is_namespace(die) && dwarf_haschildren(die) == 1 &&
            dwarf_child(die, &stack[depth + 1]) == 0 &&
            dwarf_dieoffset(&stack[depth + 1]) > dwarf_dieoffset(die)) {
            depth++;
            continue;
        }
        while (!ms_next_sibling(&stack[depth]))
            if (depth-- == 0)
                return false;
    }
}

void ms_find_scopes(Dwarf_Die *unit, Dwarf_Addr address, struct ms_scopes *scopes)
{
    Dwarf_Die parent = *unit, found;
    scopes->count = 0;
    while (scopes->count < MS_SCOPES_MAX && find_inner(&parent, address, scopes->count == 0, &found))
        parent = scopes->list[scopes->count++] = found;
}
