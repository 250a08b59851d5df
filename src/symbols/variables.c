/* Global, static and thread-local variables by address. */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "places.h"
#include "types_private.h"

/* Mentions below an address that are looked at until one covers it; most are the variable itself. */
#define LOOK_BACK 64u

struct ms_variable_index {
    struct ms_mentions mentions;
    uint32_t *order;      /* of mentions, by address; owned */
    uint32_t fixed_count; /* in order: fixed addresses first, then those of thread-local ones */
    bool *resolved;       /* units; owned */
};

void ms_variable_index_free(struct ms_variable_index *index)
{
    if (!index)
        return;
    ms_vector_free(&index->mentions.items);
    free(index->order);
    free(index->resolved);
    free(index);
}

/* A location that is the same all the time. */
struct location {
    uint64_t number; /* as it is mentioned: an address, or the number of one in .debug_addr */
    bool indexed;
    uint64_t plus; /* what is merged with others lies so far behind */
    bool tls;
};

/* Where a variable is; false: it has no place, or none that stays, or it is only declared. */
static bool locate(Dwarf_Die *die, struct location *location)
{
    Dwarf_Attribute value;
    Dwarf_Op *ops;
    size_t count;
    *location = (struct location){0};
    if (!dwarf_attr(die, DW_AT_location, &value))
        return false;
    ms_attribute_as_expression(&value);
    if (dwarf_getlocation(&value, &ops, &count) != 0 || count < 1 || count > 2)
        return false;
    uint8_t first = ops[0].atom;
    location->number = ops[0].number;
    location->indexed = first != DW_OP_addr && first != DW_OP_const8u;
    if (count == 2) {
        location->tls = ops[1].atom == DW_OP_form_tls_address || ops[1].atom == DW_OP_GNU_push_tls_address;
        location->plus = ops[1].atom == DW_OP_plus_uconst ? ops[1].number : 0;
        if (!location->tls && ops[1].atom != DW_OP_plus_uconst)
            return false;
    }
    if (location->tls)
        return first == DW_OP_const8u || first == DW_OP_constx || first == DW_OP_GNU_const_index;
    return first == DW_OP_addr || first == DW_OP_addrx || first == DW_OP_GNU_addr_index;
}

static bool is_mentioned(const struct location *location, const struct ms_mention *mention)
{
    uint64_t number = mention->number == MS_NO_NUMBER ? mention->address : mention->number;
    return location->indexed == (mention->number != MS_NO_NUMBER) && location->number == number &&
           location->tls == mention->tls;
}

/* The mentions of one unit that are still to be resolved. */
struct resolving {
    const struct ms_reader *reader; /* or NULL */
    struct ms_mention *next, *end;
};

static bool holds_variables(int tag)
{
    switch (tag) {
    case DW_TAG_namespace:
    case DW_TAG_module:
    case DW_TAG_subprogram:
    case DW_TAG_lexical_block:
    case DW_TAG_inlined_subroutine:
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type:
        return true;
    default:
        return false;
    }
}

/* Goes down to the DIEs that mentions are in, and nowhere else. */
static void resolve(struct resolving *r, Dwarf_Die *die, const char *limit, void *function, unsigned depth)
{
    struct ms_child_walk walk;
    if (depth >= MS_DIE_DEPTH)
        return;
    for (bool more = ms_first_child_by(r->reader, die, limit, &walk); more && r->next < r->end;
         more = ms_next_child(&walk)) {
        while (r->next < r->end && r->next->position < (const char *)walk.die.addr)
            r->next++;
        if (r->next == r->end || r->next->position >= walk.limit)
            continue;
        int tag = ms_child_tag(&walk);
        struct location location;
        if (tag == DW_TAG_variable && locate(&walk.die, &location)) {
            for (; r->next < r->end && r->next->position < walk.limit; r->next++)
                if (is_mentioned(&location, r->next) && !r->next->die) {
                    r->next->plus = location.plus;
                    r->next->die = walk.die.addr;
                    r->next->function = function;
                }
        } else if (holds_variables(tag)) {
            resolve(r, &walk.die, walk.limit, tag == DW_TAG_subprogram ? walk.die.addr : function, depth + 1);
        }
    }
}

/*
 * The source file that DIE was written in: link-time optimisation puts all variables into a unit of its own, and
 * dwz those that are alike into units without a name.
 */
static const char *source_of(Dwarf_Die *die)
{
    Dwarf_Die origin;
    const char *name = ms_dwarf_unit_name(ms_die_reference(die, DW_AT_abstract_origin, &origin) ? &origin : die);
    const char *declared = name ? NULL : dwarf_decl_file(die), *slash = declared ? strrchr(declared, '/') : NULL;
    return name ? name : slash ? slash + 1 : declared;
}

static void make_variable(struct ms_types *types, const struct ms_dwarf *dwarf, struct ms_mention *mention)
{
    Dwarf_Die die, function;
    Dwarf *owner = dwarf_cu_getdwarf(dwarf->units[mention->unit].cu);
    if (!mention->die || !dwarf_die_addr_die(owner, mention->die, &die) ||
        !(mention->variable = ms_types_alloc(types, sizeof *mention->variable)))
        return;
    struct ms_variable *variable = mention->variable;
    if (mention->function && dwarf_die_addr_die(owner, mention->function, &function))
        variable->function = ms_dwarf_name(types, &function);
    const char *name = variable->function ? ms_die_name(&die) : ms_dwarf_name(types, &die);
    variable->name = name ? name : "";
    variable->unit = source_of(&die);
    variable->type = ms_type_complete(types, ms_type_of_variable(types, &die));
    variable->address = mention->address + mention->plus + (mention->tls ? 0 : dwarf->bias);
    variable->tls = mention->tls;
}

/* All of a unit at once: going from unit to unit in the order of addresses would read each many times. */
static void resolve_unit(struct ms_types *types, struct ms_dwarf *dwarf, uint32_t unit)
{
    struct ms_variable_index *index = dwarf->places;
    struct ms_mention *items = index->mentions.items.items;
    size_t low = 0, high = index->mentions.items.count;
    if (index->resolved[unit])
        return;
    index->resolved[unit] = true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (items[middle].unit < unit)
            low = middle + 1;
        else
            high = middle;
    }
    for (high = low; high < index->mentions.items.count && items[high].unit == unit;)
        high++;
    bool fast = low < high && ms_reader_open(&types->reader, &dwarf->units[unit]);
    struct resolving r = {fast ? &types->reader : NULL, items + low, items + high};
    resolve(&r, &dwarf->units[unit], MS_UNIT_END, NULL, 0);
    for (size_t i = low; i < high; i++)
        make_variable(types, dwarf, &items[i]);
}

static int by_address(const void *a, const void *b, void *context)
{
    const struct ms_mention *items = context;
    const struct ms_mention *left = items + *(const uint32_t *)a, *right = items + *(const uint32_t *)b;
    if (left->tls != right->tls)
        return left->tls ? 1 : -1;
    if (left->address != right->address)
        return left->address < right->address ? -1 : 1;
    return left < right ? -1 : left > right;
}

static bool order_mentions(struct ms_variable_index *index, size_t units)
{
    size_t count = index->mentions.items.count;
    index->order = count < UINT32_MAX ? malloc((count + 1) * sizeof *index->order) : NULL;
    index->resolved = calloc(units + 1, sizeof *index->resolved);
    if (!index->order || !index->resolved || index->mentions.short_of_memory)
        return false;
    for (size_t i = 0; i < count; i++) {
        index->order[i] = (uint32_t)i;
        index->fixed_count += !index->mentions.items.items[i].tls;
    }
    if (count)
        qsort_r(index->order, count, sizeof *index->order, by_address, index->mentions.items.items);
    return true;
}

static struct ms_variable_index *index_variables(struct ms_types *types, struct ms_dwarf *dwarf)
{
    if (dwarf->places || !ms_dwarf_units(dwarf))
        return dwarf->places;
    struct ms_variable_index *index = calloc(1, sizeof *index);
    if (index)
        ms_mentions_find(types, dwarf, &index->mentions);
    if (!index || !order_mentions(index, dwarf->unit_count)) {
        types->short_of_memory = true;
        ms_variable_index_free(index);
        return NULL;
    }
    return dwarf->places = index;
}

/* The variable among mentions FROM to TO of the order that covers ADDRESS, or NULL. */
static struct ms_variable *find_in(struct ms_types *types, struct ms_dwarf *dwarf, uint64_t address, size_t from,
                                   size_t to, uint64_t *offset)
{
    const struct ms_variable_index *index = dwarf->places;
    size_t low = from, high = to;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->mentions.items.items[index->order[middle]].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (unsigned tries = 0; low-- > from && tries < LOOK_BACK; tries++) {
        const struct ms_mention *mention = &index->mentions.items.items[index->order[low]];
        resolve_unit(types, dwarf, mention->unit);
        const struct ms_variable *variable = mention->variable;
        *offset = address - mention->address - mention->plus;
        if (variable && *offset < variable->type->size)
            return mention->variable;
        /* Variables do not overlap: what lies before one that ends before ADDRESS does not reach it. */
        const struct ms_mention *next = low > from ? &index->mentions.items.items[index->order[low - 1]] : NULL;
        if (variable && variable->type->size && !(next && next->address == mention->address))
            return NULL;
    }
    return NULL;
}

/* Thread-local VARIABLE, as the thread has it whose own is at ADDRESS. */
static const struct ms_variable *of_thread(struct ms_types *types, const struct ms_variable *variable,
                                           uint64_t address)
{
    struct ms_variable *own = ms_type_map_get(&types->by_thread, address);
    if (own && own->type == variable->type && own->name == variable->name)
        return own;
    own = ms_types_alloc(types, sizeof *own);
    if (!own)
        return NULL;
    *own = *variable;
    own->address = address;
    ms_type_map_put(&types->by_thread, address, own); /* if that fails, it is made again */
    return own;
}

/* Of one ADDRESS that is in no module's map: in a thread's block of a module? */
static void find_tls(struct ms_types *types, uint64_t address, struct ms_place_type *place)
{
    const struct ms_tls_block *block = ms_tls_at(&types->tls, address);
    struct ms_dwarf *dwarf = block ? ms_types_dwarf_at(types, block->module) : NULL;
    const struct ms_variable_index *index = dwarf ? index_variables(types, dwarf) : NULL;
    if (!index)
        return;
    const struct ms_variable *variable = find_in(types, dwarf, address - block->start, index->fixed_count,
                                                 index->mentions.items.count, &place->offset);
    place->variable = variable ? of_thread(types, variable, address - place->offset) : NULL;
    place->tid = place->variable ? block->tid : 0;
}

/* The first of the variables that were added that lies behind ADDRESS. */
static size_t first_added_behind(const struct ms_types *types, uint64_t address)
{
    size_t low = 0, high = types->added.count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (types->added.items[middle]->address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void find_added(const struct ms_types *types, uint64_t address, struct ms_place_type *place)
{
    const size_t behind = first_added_behind(types, address);
    const struct ms_variable *variable = behind ? types->added.items[behind - 1] : NULL;
    if (variable && address - variable->address < variable->type->size)
        *place = (struct ms_place_type){.variable = variable, .offset = address - variable->address};
}

ms_result ms_types_add_variable(struct ms_types *types, const char *name, const char *unit,
                                const struct ms_type *type, uint64_t address)
{
    const size_t at = first_added_behind(types, address);
    struct ms_variable *variable = ms_types_alloc(types, sizeof *variable);
    if (!variable || !ms_vector_add(&types->added))
        return ms_error_nomem("the variables");
    *variable = (struct ms_variable){
        .name = ms_types_string(types, name), .unit = unit, .type = type, .address = address};
    if (!variable->name)
        variable->name = "";
    memmove(types->added.items + at + 1, types->added.items + at,
            (types->added.count - 1 - at) * sizeof *types->added.items);
    types->added.items[at] = variable;
    return NULL;
}

ms_result ms_types_find(struct ms_types *types, const uint64_t *addresses, size_t count,
                        struct ms_place_type *places)
{
    if (!types->tls_known)
        MS_TRY(ms_tls_read(types->symbols, types->image, &types->tls));
    types->tls_known = true;
    for (size_t i = 0; i < count; i++) {
        places[i] = (struct ms_place_type){0};
        struct ms_dwarf *dwarf = ms_types_dwarf(types, addresses[i]);
        const struct ms_variable_index *index = dwarf ? index_variables(types, dwarf) : NULL;
        if (!dwarf)
            find_tls(types, addresses[i], &places[i]);
        else if (index)
            places[i].variable = find_in(types, dwarf, addresses[i] - dwarf->bias, 0, index->fixed_count,
                                         &places[i].offset);
        if (!places[i].variable && types->added.count)
            find_added(types, addresses[i], &places[i]);
    }
    return types->short_of_memory ? ms_error_nomem("reading debug information") : NULL;
}
