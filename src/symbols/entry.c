/* Values of parameters that are in no register any more: the call site in the caller's code has them (DWARF 5, 3.4). */
#include "entry.h"

#include <dwarf.h>
#include <string.h>

#include "expr.h"
#include "locals.h"
#include "scopes.h"

#define DEPTH_MAX 4u /* of values that depend on what their caller was called with */

static bool is_site(Dwarf_Die *die)
{
    return dwarf_tag(die) == DW_TAG_call_site || dwarf_tag(die) == DW_TAG_GNU_call_site;
}

/* --- which function ---------------------------------------------------------------------------- */

/* Does a call below PARENT leave its frame to what it calls? */
static bool has_tail_call(Dwarf_Die *parent, const char *limit, unsigned depth)
{
    struct ms_child_walk walk;
    for (bool more = ms_first_child(parent, limit, &walk); more; more = ms_next_child(&walk)) {
        if (is_site(&walk.die) && (ms_die_flag(&walk.die, DW_AT_call_tail_call) ||
                                   ms_die_flag(&walk.die, DW_AT_GNU_tail_call)))
            return true;
        const int tag = dwarf_tag(&walk.die);
        const bool code = tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine;
        if (code && (depth == MS_DIE_DEPTH || has_tail_call(&walk.die, walk.limit, depth + 1)))
            return true;
    }
    return false;
}

/* The DIE that has the name: instances have it from their origin, definitions from their declaration. */
static Dwarf_Die named(const Dwarf_Die *function)
{
    Dwarf_Die die = *function, next;
    for (unsigned i = 0; i < 4 && (ms_die_reference(&die, DW_AT_abstract_origin, &next) ||
                                   ms_die_reference(&die, DW_AT_specification, &next)); i++)
        die = next;
    return die;
}

static const char *symbol_of(Dwarf_Die *function)
{
    Dwarf_Attribute attribute;
    const char *symbol = dwarf_formstring(dwarf_attr_integrate(function, DW_AT_linkage_name, &attribute));
    return symbol ? symbol : ms_die_name(function);
}

/*
 * Does SITE call FUNCTION? By a pointer it may call any. What another one has gone on to without a frame of its own
 * has another name, or calls so itself.
 */
static bool calls(Dwarf_Die *site, Dwarf_Die *function)
{
    Dwarf_Die said;
    if (!ms_die_reference(site, DW_AT_call_origin, &said) && !ms_die_reference(site, DW_AT_abstract_origin, &said))
        return false;
    Dwarf_Die origin = named(&said), own = named(function);
    const char *left = symbol_of(&origin), *right = symbol_of(&own);
    return (origin.addr == own.addr || (left && right && !strcmp(left, right))) &&
           !has_tail_call(function, MS_UNIT_END, 0);
}

/* --- the call ---------------------------------------------------------------------------------- */

/* The site below one of SCOPES that the call returns to at PC, as in the DWARF. */
static bool find_site(struct ms_scopes *scopes, Dwarf_Addr pc, Dwarf_Die *site)
{
    struct ms_child_walk walk;
    for (size_t i = scopes->count; i-- > 0;)
        for (bool more = ms_first_child(&scopes->list[i], scopes->limit[i], &walk); more; more = ms_next_child(&walk)) {
            Dwarf_Attribute attribute;
            Dwarf_Addr at;
            const unsigned name = dwarf_tag(&walk.die) == DW_TAG_call_site ? DW_AT_call_return_pc : DW_AT_low_pc;
            if (!is_site(&walk.die) || dwarf_formaddr(dwarf_attr(&walk.die, name, &attribute), &at) != 0 || at != pc)
                continue;
            *site = walk.die;
            return true;
        }
    return false;
}

/* The expression of the value that SITE passes in REG. */
static bool find_value(Dwarf_Die *site, unsigned reg, Dwarf_Attribute *value)
{
    struct ms_child_walk walk;
    for (bool more = ms_first_child(site, MS_UNIT_END, &walk); more; more = ms_next_child(&walk)) {
        Dwarf_Attribute attribute;
        Dwarf_Op *ops;
        size_t count;
        if (dwarf_getlocation(dwarf_attr(&walk.die, DW_AT_location, &attribute), &ops, &count) == 0 && count == 1 &&
            ops->atom == DW_OP_reg0 + reg)
            return dwarf_attr(&walk.die, DW_AT_call_value, value) ||
                   dwarf_attr(&walk.die, DW_AT_GNU_call_site_value, value);
    }
    return false;
}

bool ms_entry_value(const struct ms_entry *entry, unsigned reg, uint64_t *value)
{
    const struct ms_call *caller = entry->callers;
    struct ms_scopes scopes;
    struct ms_location location;
    Dwarf_Die unit, site;
    Dwarf_Attribute attribute;
    Dwarf_Op *ops;
    size_t count;
    if (!entry->count || entry->depth >= DEPTH_MAX || caller->signal)
        return false;
    struct ms_dwarf *dwarf = ms_types_dwarf(entry->types, caller->at);
    if (!dwarf || !dwarf->dwarf || !ms_dwarf_unit_at(dwarf, caller->at, &unit))
        return false;
    ms_find_scopes(dwarf, &unit, caller->at - dwarf->bias, &scopes);
    if (!scopes.count || !find_site(&scopes, caller->pc - dwarf->bias, &site) || !calls(&site, entry->function) ||
        !find_value(&site, reg, &attribute) || dwarf_getlocation(&attribute, &ops, &count) != 0)
        return false;
    const struct ms_entry outer = {entry->types, &scopes.list[0], caller + 1, entry->count - 1, entry->depth + 1};
    struct ms_expr_context context = ms_call_context(entry->types, dwarf, caller, &outer);
    context.attribute = &attribute;
    /* It leaves the value where the address of a variable would be. */
    if (!ms_expression(&context, ops, count, &location))
        return false;
    *value = location.value;
    return true;
}
