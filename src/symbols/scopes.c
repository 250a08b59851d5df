/* Which functions, inlined ones and blocks cover an address of code, by the tree of one unit. */
#include "scopes.h"

#include <dwarf.h>
#include <search.h>
#include <stdlib.h>

/* Where a scope may be. */
enum where { BELOW, IN_NAMESPACES, IN_FUNCTIONS_TOO };

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

/*
 * What may hold functions that are not part of its own code, if it has any. Compilers put the
 * functions of local classes, as of lambdas, into the functions that those are local to.
 */
static bool may_hold(Dwarf_Die *die, enum where where)
{
    if (where == IN_FUNCTIONS_TOO && is_scope(die))
        return true;
    switch (dwarf_tag(die)) {
    case DW_TAG_namespace:
    case DW_TAG_module:
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
    case DW_TAG_enumeration_type:
        return where != BELOW;
    default:
        return false;
    }
}

/*
 * The next scope below PARENT that covers ADDRESS, added to SCOPES.
 * Not dwarf_getscopes(): it recurses as deep as the DWARF says, goes where siblings lead it, and
 * looks through all of the unit for the origin of inlined functions.
 */
static bool add_inner(Dwarf_Die *parent, const char *limit, Dwarf_Addr address, enum where where, unsigned depth,
                      struct ms_scopes *scopes)
{
    struct ms_child_walk walk;
    if (depth == MS_DIE_DEPTH)
        return false;
    for (bool more = ms_first_child(parent, limit, &walk); more; more = ms_next_child(&walk)) {
        if (is_scope(&walk.die) && dwarf_haspc(&walk.die, address) == 1) {
            scopes->list[scopes->count] = walk.die;
            scopes->limit[scopes->count++] = walk.limit;
            return true;
        }
        if (may_hold(&walk.die, where) && add_inner(&walk.die, walk.limit, address, where, depth + 1, scopes))
            return true;
    }
    return false;
}

static void search(Dwarf_Die *unit, Dwarf_Addr address, struct ms_scopes *scopes)
{
    bool more = add_inner(unit, MS_UNIT_END, address, IN_NAMESPACES, 0, scopes) ||
                add_inner(unit, MS_UNIT_END, address, IN_FUNCTIONS_TOO, 0, scopes);
    while (more && scopes->count < MS_SCOPES_MAX) {
        Dwarf_Die parent = scopes->list[scopes->count - 1];
        more = add_inner(&parent, scopes->limit[scopes->count - 1], address, BELOW, 0, scopes);
    }
}

/* --- what was found before --------------------------------------------------------------------- */

/* More addresses are not kept. */
#define KEPT_MOST 65536u

struct kept {
    Dwarf_Addr address;
    size_t count;
    struct kept_scope {
        Dwarf_Die die;
        const char *limit;
    } list[];
};

struct ms_scope_index {
    void *tree; /* tsearch()'s, of struct kept */
    size_t count;
};

static int by_address(const void *a, const void *b)
{
    const struct kept *left = a, *right = b;
    return left->address < right->address ? -1 : left->address > right->address;
}

/* Without memory it is searched for again, no more. */
static void keep(struct ms_scope_index *index, Dwarf_Addr address, const struct ms_scopes *scopes)
{
    struct kept *kept = index->count < KEPT_MOST ? malloc(sizeof *kept + scopes->count * sizeof *kept->list) : NULL;
    if (!kept)
        return;
    kept->address = address;
    kept->count = scopes->count;
    for (size_t i = 0; i < scopes->count; i++)
        kept->list[i] = (struct kept_scope){scopes->list[i], scopes->limit[i]};
    if (tsearch(kept, &index->tree, by_address))
        index->count++;
    else
        free(kept);
}

void ms_find_scopes(struct ms_dwarf *dwarf, Dwarf_Die *unit, Dwarf_Addr address, struct ms_scopes *scopes)
{
    scopes->count = 0;
    dwarf->scopes = dwarf->scopes ? dwarf->scopes : calloc(1, sizeof *dwarf->scopes);
    struct kept *const *found =
        dwarf->scopes ? tfind(&(struct kept){.address = address}, &dwarf->scopes->tree, by_address) : NULL;
    if (!found) {
        search(unit, address, scopes);
        if (dwarf->scopes)
            keep(dwarf->scopes, address, scopes);
        return;
    }
    for (; scopes->count < (*found)->count; scopes->count++) {
        scopes->list[scopes->count] = (*found)->list[scopes->count].die;
        scopes->limit[scopes->count] = (*found)->list[scopes->count].limit;
    }
}

void ms_scope_index_free(struct ms_scope_index *index)
{
    if (index)
        tdestroy(index->tree, free);
    free(index);
}
