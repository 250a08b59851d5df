/* Global and static variables by address. */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "types_private.h"

/* Where a variable is by its location, and its DIE. */
struct located {
    uint64_t address; /* in DWARF, not the target */
    uint64_t size;
    Dwarf_Die die;
    void *function;   /* DIE that it is a static of, or NULL */
    struct ms_variable *variable; /* made when asked for; of the types' memory */
};

struct ms_variable_index {
    MS_VECTOR(struct located) items; /* sorted by address */
    bool short_of_memory;
};

void ms_variable_index_free(struct ms_variable_index *index)
{
    if (index)
        ms_vector_free(&index->items);
    free(index);
}

/* The fixed address of a variable; false: it has none, or is only declared. */
static bool address_of(Dwarf_Die *die, uint64_t *address)
{
    Dwarf_Attribute value, number;
    Dwarf_Op *ops;
    size_t count;
    Dwarf_Addr found;
    if (!dwarf_attr(die, DW_AT_location, &value) || dwarf_getlocation(&value, &ops, &count) != 0 || count != 1)
        return false;
    if (ops[0].atom == DW_OP_addr) {
        *address = ops[0].number;
        return true;
    }
    if ((ops[0].atom != DW_OP_addrx && ops[0].atom != DW_OP_GNU_addr_index) ||
        dwarf_getlocation_attr(&value, &ops[0], &number) != 0 || dwarf_formaddr(&number, &found) != 0)
        return false;
    *address = found;
    return true;
}

static void find_variables(struct ms_variable_index *index, Dwarf_Die *die, const char *limit, void *function,
                           unsigned depth)
{
    struct ms_child_walk walk;
    uint64_t address;
    if (depth >= MS_DIE_DEPTH)
        return;
    for (bool more = ms_first_child(die, limit, &walk); more; more = ms_next_child(&walk)) {
        int tag = dwarf_tag(&walk.die);
        if (tag == DW_TAG_variable && address_of(&walk.die, &address)) {
            struct located *added = ms_vector_add(&index->items);
            if (added)
                *added = (struct located){.address = address, .die = walk.die, .function = function};
            else
                index->short_of_memory = true;
        }
        if (tag == DW_TAG_namespace || tag == DW_TAG_module || tag == DW_TAG_subprogram ||
            tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine || tag == DW_TAG_structure_type ||
            tag == DW_TAG_class_type)
            find_variables(index, &walk.die, walk.limit, tag == DW_TAG_subprogram ? walk.die.addr : function,
                           depth + 1);
    }
}

static int by_address(const void *a, const void *b)
{
    const struct located *left = a, *right = b;
    if (left->address != right->address)
        return left->address < right->address ? -1 : 1;
    return (left->die.addr > right->die.addr) - (left->die.addr < right->die.addr);
}

static struct ms_variable_index *index_variables(struct ms_types *types, struct ms_dwarf *dwarf)
{
    if (dwarf->places || !ms_dwarf_units(dwarf))
        return dwarf->places;
    dwarf->places = calloc(1, sizeof *dwarf->places);
    for (size_t i = 0; dwarf->places && i < dwarf->unit_count; i++) {
        if (types->progress && i % 64 == 0)
            types->progress(types->context, "debug information", i, dwarf->unit_count);
        find_variables(dwarf->places, &dwarf->units[i], MS_UNIT_END, NULL, 0);
    }
    if (!dwarf->places || dwarf->places->short_of_memory)
        types->short_of_memory = true;
    if (dwarf->places)
        ms_vector_sort(&dwarf->places->items, by_address);
    return dwarf->places;
}

static const struct ms_variable *make_variable(struct ms_types *types, const struct ms_dwarf *dwarf,
                                               struct located *located)
{
    Dwarf_Die function;
    if (located->variable || !(located->variable = ms_types_alloc(types, sizeof *located->variable)))
        return located->variable;
    struct ms_variable *variable = located->variable;
    const char *name = ms_dwarf_name(types, &located->die);
    variable->name = name ? name : "";
    variable->unit = ms_dwarf_unit_name(&located->die);
    variable->type = ms_type_complete(types, ms_type_of_variable(types, &located->die));
    variable->address = located->address + dwarf->bias;
    if (located->function &&
        dwarf_die_addr_die(dwarf_cu_getdwarf(located->die.cu), located->function, &function)) {
        variable->function = ms_dwarf_name(types, &function);
        const char *own = ms_die_name(&located->die);
        variable->name = own ? own : "";
    }
    return variable;
}

static void find_one(struct ms_types *types, struct ms_dwarf *dwarf, uint64_t address,
                     struct ms_place_type *place)
{
    struct ms_variable_index *index = index_variables(types, dwarf);
    uint64_t wanted = address - dwarf->bias;
    size_t low = 0, high = index ? index->items.count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->items.items[middle].address <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    while (low-- > 0) {
        struct located *located = &index->items.items[low];
        const struct ms_variable *variable = make_variable(types, dwarf, located);
        if (variable && wanted - located->address < variable->type->size) {
            *place = (struct ms_place_type){.variable = variable, .offset = wanted - located->address};
            return;
        }
        if (low == 0 || index->items.items[low - 1].address != located->address)
            return;
    }
}

ms_result ms_types_find(struct ms_types *types, const uint64_t *addresses, size_t count,
                        struct ms_place_type *places)
{
    for (size_t i = 0; i < count; i++) {
        places[i] = (struct ms_place_type){0};
        struct ms_dwarf *dwarf = ms_types_dwarf(types, addresses[i]);
        if (dwarf && dwarf->dwarf)
            find_one(types, dwarf, addresses[i], &places[i]);
    }
    return types->short_of_memory ? ms_error_nomem("reading debug information") : NULL;
}
