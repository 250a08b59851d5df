/* Global, static and thread-local variables by address. */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "tls.h"
#include "types_private.h"

/* Where a variable is by its location, and its DIE. */
struct located {
    uint64_t address; /* in DWARF, not the target; of a thread-local one in the module's block */
    uint64_t size;
    Dwarf_Die die;
    void *function;   /* DIE that it is a static of, or NULL */
    struct ms_variable *variable; /* made when asked for; of the types' memory */
};

struct located_list {
    MS_VECTOR(struct located) list; /* sorted by address */
};

struct ms_variable_index {
    struct located_list fixed, tls;
    bool short_of_memory;
};

void ms_variable_index_free(struct ms_variable_index *index)
{
    if (!index)
        return;
    ms_vector_free(&index->fixed.list);
    ms_vector_free(&index->tls.list);
    free(index);
}

/* The operand of an operation that pushes a constant, of which addresses are one kind. */
static bool operand_of(Dwarf_Attribute *location, const Dwarf_Op *op, uint64_t *operand)
{
    Dwarf_Attribute number;
    Dwarf_Addr found;
    Dwarf_Word word;
    switch (op->atom) {
    case DW_OP_addr:
    case DW_OP_const4u:
    case DW_OP_const8u:
    case DW_OP_constu:
        *operand = op->number;
        return true;
    case DW_OP_addrx:
    case DW_OP_GNU_addr_index:
        if (dwarf_getlocation_attr(location, op, &number) != 0 || dwarf_formaddr(&number, &found) != 0)
            return false;
        *operand = found;
        return true;
    case DW_OP_constx:
    case DW_OP_GNU_const_index:
        if (dwarf_getlocation_attr(location, op, &number) != 0 || dwarf_formudata(&number, &word) != 0)
            return false;
        *operand = word;
        return true;
    default:
        return false;
    }
}

/* The fixed address of a variable, or where in its module's block a thread-local one is; false: neither. */
static bool address_of(Dwarf_Die *die, uint64_t *address, bool *tls)
{
    Dwarf_Attribute value;
    Dwarf_Op *ops;
    size_t count;
    if (!dwarf_attr(die, DW_AT_location, &value) || dwarf_getlocation(&value, &ops, &count) != 0)
        return false;
    *tls = count == 2 && (ops[1].atom == DW_OP_form_tls_address || ops[1].atom == DW_OP_GNU_push_tls_address);
    if (!*tls && (count != 1 || (ops[0].atom != DW_OP_addr && ops[0].atom != DW_OP_addrx &&
                                 ops[0].atom != DW_OP_GNU_addr_index)))
        return false;
    return operand_of(&value, &ops[0], address);
}

static void add_variable(struct ms_variable_index *index, Dwarf_Die *die, void *function)
{
    uint64_t address;
    bool tls;
    if (!address_of(die, &address, &tls))
        return;
    struct located_list *list = tls ? &index->tls : &index->fixed;
    struct located *added = ms_vector_add(&list->list);
    if (added)
        *added = (struct located){.address = address, .die = *die, .function = function};
    else
        index->short_of_memory = true;
}

static void find_variables(struct ms_variable_index *index, Dwarf_Die *die, const char *limit, void *function,
                           unsigned depth)
{
    struct ms_child_walk walk;
    if (depth >= MS_DIE_DEPTH)
        return;
    for (bool more = ms_first_child(die, limit, &walk); more; more = ms_next_child(&walk)) {
        int tag = dwarf_tag(&walk.die);
        if (tag == DW_TAG_variable)
            add_variable(index, &walk.die, function);
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
    if (dwarf->places) {
        ms_vector_sort(&dwarf->places->fixed.list, by_address);
        ms_vector_sort(&dwarf->places->tls.list, by_address);
    }
    return dwarf->places;
}

/* Where a variable was looked for. */
struct wanted {
    struct ms_dwarf *dwarf;
    const struct ms_tls_block *block; /* it is thread-local there; NULL: it is not */
    uint64_t base;                    /* address in the target less that in struct located */
};

static const struct ms_variable *make_variable(struct ms_types *types, const struct wanted *w,
                                               struct located *located)
{
    Dwarf_Die function;
    uint64_t address = located->address + w->base;
    /* Of a thread-local one that of the thread that was asked for last is kept. */
    if (located->variable && located->variable->address == address)
        return located->variable;
    if (!(located->variable = ms_types_alloc(types, sizeof *located->variable)))
        return NULL;
    struct ms_variable *variable = located->variable;
    const char *name = ms_dwarf_name(types, &located->die);
    variable->name = name ? name : "";
    variable->unit = ms_dwarf_unit_name(&located->die);
    variable->type = ms_type_complete(types, ms_type_of_variable(types, &located->die));
    variable->address = address;
    variable->tls = w->block != NULL;
    if (located->function &&
        dwarf_die_addr_die(dwarf_cu_getdwarf(located->die.cu), located->function, &function)) {
        variable->function = ms_dwarf_name(types, &function);
        const char *own = ms_die_name(&located->die);
        variable->name = own ? own : "";
    }
    return variable;
}

static void find_one(struct ms_types *types, const struct wanted *w, uint64_t address,
                     struct ms_place_type *place)
{
    struct ms_variable_index *index = index_variables(types, w->dwarf);
    if (!index)
        return;
    const struct located_list *in = w->block ? &index->tls : &index->fixed;
    uint64_t wanted = address - w->base;
    size_t low = 0, high = in->list.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (in->list.items[middle].address <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    while (low-- > 0) {
        struct located *located = &in->list.items[low];
        const struct ms_variable *variable = make_variable(types, w, located);
        if (variable && wanted - located->address < variable->type->size) {
            *place = (struct ms_place_type){.variable = variable, .offset = wanted - located->address,
                                            .tid = w->block ? w->block->tid : 0};
            return;
        }
        if (low == 0 || in->list.items[low - 1].address != located->address)
            return;
    }
}

/* Which module's variables may be at ADDRESS, and whether those are thread-local. */
static bool where_to_look(struct ms_types *types, uint64_t address, struct wanted *w)
{
    *w = (struct wanted){.dwarf = ms_types_dwarf(types, address)};
    if (w->dwarf) {
        w->base = w->dwarf->bias;
        return w->dwarf->dwarf;
    }
    w->block = ms_tls_at(&types->tls, address);
    w->dwarf = w->block ? ms_types_dwarf_at(types, w->block->module) : NULL;
    w->base = w->block ? w->block->start : 0;
    return w->dwarf && w->dwarf->dwarf;
}

static ms_result know_tls(struct ms_types *types)
{
    if (types->tls_known)
        return NULL;
    types->tls_known = true;
    return ms_tls_read(types->symbols, types->image, &types->tls);
}

ms_result ms_types_find(struct ms_types *types, const uint64_t *addresses, size_t count,
                        struct ms_place_type *places)
{
    MS_TRY(know_tls(types));
    for (size_t i = 0; i < count; i++) {
        struct wanted wanted;
        places[i] = (struct ms_place_type){0};
        if (where_to_look(types, addresses[i], &wanted))
            find_one(types, &wanted, addresses[i], &places[i]);
    }
    return types->short_of_memory ? ms_error_nomem("reading debug information") : NULL;
}
