/* The parameters and locals of a function, and where they are at one address of its code. */
#include "dwarf.h"
#include "locals.h"

#include <dwarf.h>
#include <stdlib.h>

/* More than any function that people or compilers write has. */
#define LOCALS_MAX 4096u

struct reader {
    struct ms_types *types;
    const struct ms_dwarf *dwarf;
    const struct ms_call *call;
    struct ms_frame *frame;
    struct ms_expr_context context;
};

/* The expression that holds at the call; false when there is none. */
static bool expression_at(const struct ms_dwarf *dwarf, const struct ms_call *call, Dwarf_Attribute *attribute,
                          Dwarf_Op **ops, size_t *count)
{
    ms_attribute_as_expression(attribute);
    return dwarf_getlocation_addr(attribute, call->at - dwarf->bias, ops, count, 1) == 1 && *count > 0;
}

struct ms_expr_context ms_call_context(struct ms_types *types, const struct ms_dwarf *dwarf, const struct ms_call *call,
                                       const struct ms_entry *entry)
{
    struct ms_expr_context context = {.image = ms_types_image(types), .registers = &call->registers,
                                      .bias = dwarf->bias, .cfa_known = call->cfa != 0, .cfa = call->cfa,
                                      .entry = entry};
    Dwarf_Attribute attribute;
    Dwarf_Op *ops;
    size_t count;
    struct ms_location location = {0};
    /* What DW_OP_fbreg goes from. */
    if (!dwarf_attr_integrate(entry->function, DW_AT_frame_base, &attribute) ||
        !expression_at(dwarf, call, &attribute, &ops, &count))
        return context;
    context.attribute = &attribute;
    context.base_known = ms_expression(&context, ops, count, &location);
    context.base = location.value; /* a register as well as an address: clang has reg6, gcc the CFA */
    context.attribute = NULL;
    return context;
}

/* Is it a static? It has one place for all frames, and that is where it belongs. */
static bool is_static(const Dwarf_Op *ops, size_t count)
{
    return count == 1 &&
           (ops->atom == DW_OP_addr || ops->atom == DW_OP_addrx || ops->atom == DW_OP_GNU_addr_index);
}

/* Of a value in pieces only the first is looked at, and only when that is 8 bytes or all. */
static bool reduce_pieces(const struct reader *r, uint64_t size, struct ms_location *location)
{
    if (!location->piece || (size && location->piece >= size))
        return true;
    if (location->piece < sizeof location->value)
        return false;
    if (location->kind != MS_LOCATION_MEMORY)
        return true;
    location->kind = MS_LOCATION_VALUE;
    return ms_image_read_word(r->context.image, location->value, &location->value);
}

static bool find_location(struct reader *r, Dwarf_Die *variable, uint64_t size, struct ms_location *location)
{
    Dwarf_Attribute attribute;
    Dwarf_Op *ops;
    size_t count;
    if (!dwarf_attr_integrate(variable, DW_AT_location, &attribute) ||
        !expression_at(r->dwarf, r->call, &attribute, &ops, &count) || is_static(ops, count))
        return false;
    r->context.attribute = &attribute;
    bool found = ms_expression(&r->context, ops, count, location) && reduce_pieces(r, size, location);
    r->context.attribute = NULL;
    return found;
}

static const char *name_of(Dwarf_Die *variable)
{
    Dwarf_Attribute attribute;
    return dwarf_formstring(dwarf_attr_integrate(variable, DW_AT_name, &attribute));
}

static ms_result add_local(struct reader *r, Dwarf_Die *variable, bool parameter)
{
    struct ms_location location;
    const char *name = name_of(variable);
    const struct ms_type *type = name ? ms_type_of_variable(r->types, variable) : NULL;
    if (!type || !find_location(r, variable, type->size, &location))
        return NULL;
    struct ms_local *local = ms_vector_add(&r->frame->locals);
    if (!local)
        return ms_error_nomem("the locals of a thread");
    *local = (struct ms_local){.name = name, .type = type, .parameter = parameter, .reg = location.reg};
    local->valued = location.kind != MS_LOCATION_MEMORY;
    *(local->valued ? &local->value : &local->address) = location.value;
    if (location.kind == MS_LOCATION_REGISTER) {
        local->saved = r->call->saved[location.reg];
        local->live = r->call->live >> location.reg & 1;
    }
    return NULL;
}

ms_result ms_read_locals(struct ms_types *types, const struct ms_dwarf *dwarf, const struct ms_call *call,
                         size_t callers, struct ms_scopes *scopes, size_t first, size_t end,
                         struct ms_frame *frame)
{
    const struct ms_entry entry = {types, &scopes->list[0], call + 1, callers, 0};
    struct reader r = {types, dwarf, call, frame, ms_call_context(types, dwarf, call, &entry)};
    for (size_t i = end; i-- > first;) {
        struct ms_child_walk walk;
        bool more = ms_first_child(&scopes->list[i], scopes->limit[i], &walk);
        for (; more && frame->locals.count < LOCALS_MAX; more = ms_next_child(&walk)) {
            int tag = dwarf_tag(&walk.die);
            if (tag == DW_TAG_formal_parameter || tag == DW_TAG_variable)
                MS_TRY(add_local(&r, &walk.die, tag == DW_TAG_formal_parameter));
        }
    }
    return NULL;
}
