/* What a closure of Go has captured, and of what its methods are, by the DWARF of its function. */
#include <dwarf.h>
#include <stdlib.h>

#include "dwarf.h"
#include "scopes.h"

/* Of variables of a closure's function those that the closure has: where in it (cmd/internal/dwarf, 1.23 and later). */
#define AT_GO_CLOSURE_OFFSET 0x2907

/* The function whose code begins at ENTRY into SCOPES; false: none is known. */
static bool find_function(struct ms_types *types, uint64_t entry, struct ms_scopes *scopes)
{
    struct ms_dwarf *dwarf = ms_types_dwarf(types, entry);
    Dwarf_Die unit;
    Dwarf_Addr low;
    if (!dwarf || !dwarf->dwarf || !ms_dwarf_unit_at(dwarf, entry, &unit))
        return false;
    ms_find_scopes(dwarf, &unit, entry - dwarf->bias, scopes);
    return scopes->count && dwarf_tag(&scopes->list[0]) == DW_TAG_subprogram &&
           dwarf_lowpc(&scopes->list[0], &low) == 0 && low == entry - dwarf->bias;
}

static bool read_capture(struct ms_types *types, Dwarf_Die *variable, struct ms_capture *capture)
{
    Dwarf_Attribute attribute;
    Dwarf_Word offset;
    if (dwarf_formudata(dwarf_attr_integrate(variable, AT_GO_CLOSURE_OFFSET, &attribute), &offset) != 0)
        return false;
    capture->name = dwarf_formstring(dwarf_attr_integrate(variable, DW_AT_name, &attribute));
    capture->type = capture->name ? ms_type_of_variable(types, variable) : NULL;
    capture->offset = offset;
    return capture->type != NULL;
}

size_t ms_types_captures(struct ms_types *types, uint64_t entry, struct ms_capture *captures, size_t most)
{
    ms_auto_free struct ms_scopes *scopes = malloc(sizeof *scopes);
    struct ms_child_walk walk;
    size_t count = 0;
    if (!scopes || !find_function(types, entry, scopes))
        return 0;
    for (bool more = ms_first_child(&scopes->list[0], scopes->limit[0], &walk); more && count < most;
         more = ms_next_child(&walk))
        if (dwarf_tag(&walk.die) == DW_TAG_variable && read_capture(types, &walk.die, &captures[count]))
            count++;
    return count;
}

const struct ms_type *ms_types_receiver(struct ms_types *types, uint64_t entry)
{
    ms_auto_free struct ms_scopes *scopes = malloc(sizeof *scopes);
    struct ms_child_walk walk;
    if (!scopes || !find_function(types, entry, scopes))
        return NULL;
    for (bool more = ms_first_child(&scopes->list[0], scopes->limit[0], &walk); more; more = ms_next_child(&walk))
        if (dwarf_tag(&walk.die) == DW_TAG_formal_parameter)
            return ms_type_of_variable(types, &walk.die);
    return NULL;
}
