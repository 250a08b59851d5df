/* A bounded evaluator of DWARF expressions over the image and the registers of one frame. */
#include "expr.h"

#include <dwarf.h>
#include <string.h>

#include "entry.h"

/* Expressions of compilers take few steps and few words; those of an enemy need not. */
#define STEPS_MAX 4096u
#define STACK_MAX 64u

struct machine {
    const struct ms_expr_context *context;
    const Dwarf_Op *ops;
    size_t count, at; /* the next operation */
    uint64_t stack[STACK_MAX];
    unsigned depth;
    struct ms_location *location;
    bool placed; /* location is filled: it is no address on the stack */
    bool done;
};

static bool push(struct machine *m, uint64_t value)
{
    if (m->depth == STACK_MAX)
        return false;
    m->stack[m->depth++] = value;
    return true;
}

static bool pop(struct machine *m, uint64_t *value)
{
    if (m->depth == 0)
        return false;
    *value = m->stack[--m->depth];
    return true;
}

/* The word N below the top, again. */
static bool pick(struct machine *m, uint64_t n)
{
    return n < m->depth && push(m, m->stack[m->depth - 1 - n]);
}

static bool push_register(struct machine *m, uint64_t number, uint64_t offset)
{
    const struct ms_registers *registers = m->context->registers;
    if (number >= MS_DWARF_REGISTERS || !(registers->known >> number & 1))
        return false;
    return push(m, registers->value[number] + offset);
}

static bool place_in_register(struct machine *m, uint64_t number)
{
    const struct ms_registers *registers = m->context->registers;
    if (m->placed || number >= MS_DWARF_REGISTERS || !(registers->known >> number & 1))
        return false;
    *m->location = (struct ms_location){MS_LOCATION_REGISTER, registers->value[number], (int)number, 0};
    return m->placed = true;
}

static bool place_value(struct machine *m, uint64_t value)
{
    if (m->placed)
        return false;
    *m->location = (struct ms_location){MS_LOCATION_VALUE, value, -1, 0};
    return m->placed = true;
}

/* Of a composite, the first piece is enough. */
static bool end_piece(struct machine *m, uint64_t size)
{
    uint64_t address;
    if (!m->placed && (size == 0 || !pop(m, &address)))
        return false; /* this piece is nowhere */
    if (!m->placed)
        *m->location = (struct ms_location){MS_LOCATION_MEMORY, address, -1, 0};
    m->location->piece = size;
    return m->placed = m->done = true;
}

static bool dereference(struct machine *m, uint64_t size)
{
    uint64_t address, value = 0;
    if (!pop(m, &address) || size == 0 || size > sizeof value ||
        !ms_image_read(m->context->image, address, &value, size))
        return false;
    return push(m, value);
}

/* Goes to the operation that begins at OFFSET; all jumps count as steps. */
static bool jump(struct machine *m, uint64_t offset)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->ops[i].offset == offset) {
            m->at = i;
            return true;
        }
    m->at = m->count; /* just behind the last one: the end. Anything else does no harm. */
    return true;
}

static bool swap_or_rotate(struct machine *m, unsigned words)
{
    uint64_t *top = m->stack + m->depth;
    if (m->depth < words)
        return false;
    uint64_t last = top[-1];
    memmove(top - words + 1, top - words, (words - 1) * sizeof *top);
    top[-(int)words] = last;
    return true;
}

/* Operations of two words. */
static bool binary(struct machine *m, unsigned atom)
{
    uint64_t b, a, result;
    if (!pop(m, &b) || !pop(m, &a))
        return false;
    switch (atom) {
    case DW_OP_plus: result = a + b; break;
    case DW_OP_minus: result = a - b; break;
    case DW_OP_mul: result = a * b; break;
    case DW_OP_and: result = a & b; break;
    case DW_OP_or: result = a | b; break;
    case DW_OP_xor: result = a ^ b; break;
    case DW_OP_shl: result = b < 64 ? a << b : 0; break;
    case DW_OP_shr: result = b < 64 ? a >> b : 0; break;
    /* A signed shift is arithmetic with gcc and clang. */
    case DW_OP_shra: result = (uint64_t)((int64_t)a >> (b < 64 ? b : 63)); break; // cppcheck-suppress shiftTooManyBitsSigned
    case DW_OP_eq: result = a == b; break;
    case DW_OP_ne: result = a != b; break;
    case DW_OP_ge: result = (int64_t)a >= (int64_t)b; break;
    case DW_OP_gt: result = (int64_t)a > (int64_t)b; break;
    case DW_OP_le: result = (int64_t)a <= (int64_t)b; break;
    case DW_OP_lt: result = (int64_t)a < (int64_t)b; break;
    case DW_OP_div:
        if (b == 0 || (a == (uint64_t)INT64_MIN && b == UINT64_MAX))
            return false;
        result = (uint64_t)((int64_t)a / (int64_t)b);
        break;
    case DW_OP_mod:
        if (b == 0)
            return false;
        result = a % b;
        break;
    default:
        return false;
    }
    return push(m, result);
}

static bool unary(struct machine *m, unsigned atom, uint64_t number)
{
    uint64_t a;
    if (!pop(m, &a))
        return false;
    switch (atom) {
    case DW_OP_neg: return push(m, -a);
    case DW_OP_not: return push(m, ~a);
    case DW_OP_abs: return push(m, (int64_t)a < 0 ? -a : a);
    case DW_OP_plus_uconst: return push(m, a + number);
    case DW_OP_stack_value: return place_value(m, a);
    default: return false;
    }
}

/* Operations that look elsewhere in the DWARF: an address or a constant by its index, a block. */
static bool indexed(struct machine *m, const Dwarf_Op *op)
{
    Dwarf_Attribute result;
    Dwarf_Addr address;
    Dwarf_Word number;
    Dwarf_Block block;
    uint64_t value = 0;
    Dwarf_Attribute *attribute = m->context->attribute;
    if (!attribute)
        return false;
    if (op->atom == DW_OP_implicit_value) {
        if (dwarf_getlocation_implicit_value(attribute, op, &block) != 0)
            return false;
        memcpy(&value, block.data, block.length < sizeof value ? block.length : sizeof value);
        return place_value(m, value);
    }
    if (dwarf_getlocation_attr(attribute, op, &result) != 0)
        return false;
    if (op->atom == DW_OP_addrx || op->atom == DW_OP_GNU_addr_index)
        return dwarf_formaddr(&result, &address) == 0 && push(m, address + m->context->bias);
    return dwarf_formudata(&result, &number) == 0 && push(m, number);
}

/* What a register had at first: the operation has an expression for which one, and that is its name. */
static bool entered(struct machine *m, const Dwarf_Op *op)
{
    Dwarf_Attribute inner;
    Dwarf_Op *ops;
    size_t count;
    uint64_t value;
    if (!m->context->entry || !m->context->attribute ||
        dwarf_getlocation_attr(m->context->attribute, op, &inner) != 0 ||
        dwarf_getlocation(&inner, &ops, &count) != 0 || count != 1 || ops->atom < DW_OP_reg0 ||
        ops->atom > DW_OP_reg31)
        return false;
    return ms_entry_value(m->context->entry, ops->atom - DW_OP_reg0, &value) && push(m, value);
}

static bool branch(struct machine *m, const Dwarf_Op *op)
{
    uint64_t condition = 1, behind = op->offset + 3; /* one byte and an offset of two */
    if (op->atom == DW_OP_bra && !pop(m, &condition))
        return false;
    return !condition || jump(m, behind + op->number);
}

static bool step(struct machine *m, const Dwarf_Op *op)
{
    const struct ms_expr_context *context = m->context;
    unsigned atom = op->atom;
    uint64_t ignored;
    if (atom >= DW_OP_lit0 && atom <= DW_OP_lit31)
        return push(m, atom - DW_OP_lit0);
    if (atom >= DW_OP_reg0 && atom <= DW_OP_reg31)
        return place_in_register(m, atom - DW_OP_reg0);
    if (atom >= DW_OP_breg0 && atom <= DW_OP_breg31)
        return push_register(m, atom - DW_OP_breg0, op->number);
    switch (atom) {
    case DW_OP_addr: return push(m, op->number + context->bias);
    case DW_OP_const1u: case DW_OP_const1s: case DW_OP_const2u: case DW_OP_const2s: case DW_OP_const4u:
    case DW_OP_const4s: case DW_OP_const8u: case DW_OP_const8s: case DW_OP_constu: case DW_OP_consts:
        return push(m, op->number);
    case DW_OP_regx: return place_in_register(m, op->number);
    case DW_OP_bregx: return push_register(m, op->number, op->number2);
    case DW_OP_fbreg: return context->base_known && push(m, context->base + op->number);
    case DW_OP_call_frame_cfa: return context->cfa_known && push(m, context->cfa);
    case DW_OP_deref: return dereference(m, 8);
    case DW_OP_deref_size: return dereference(m, op->number);
    case DW_OP_dup: return pick(m, 0);
    case DW_OP_over: return pick(m, 1);
    case DW_OP_pick: return pick(m, op->number);
    case DW_OP_drop: return pop(m, &ignored);
    case DW_OP_swap: return swap_or_rotate(m, 2);
    case DW_OP_rot: return swap_or_rotate(m, 3);
    case DW_OP_skip: case DW_OP_bra: return branch(m, op);
    case DW_OP_piece: return end_piece(m, op->number);
    case DW_OP_bit_piece: return op->number2 == 0 && end_piece(m, op->number / 8);
    case DW_OP_nop: return true;
    case DW_OP_entry_value: case DW_OP_GNU_entry_value: return entered(m, op);
    case DW_OP_addrx: case DW_OP_constx: case DW_OP_GNU_addr_index: case DW_OP_GNU_const_index:
    case DW_OP_implicit_value: return indexed(m, op);
    case DW_OP_neg: case DW_OP_not: case DW_OP_abs: case DW_OP_plus_uconst: case DW_OP_stack_value:
        return unary(m, atom, op->number);
    default: return binary(m, atom);
    }
}

bool ms_expression(const struct ms_expr_context *context, const Dwarf_Op *ops, size_t count,
                   struct ms_location *location)
{
    struct machine m = {.context = context, .ops = ops, .count = count, .location = location};
    uint64_t address;
    if (count == 0)
        return false;
    for (unsigned steps = 0; m.at < count && !m.done; steps++)
        if (steps == STEPS_MAX || !step(&m, &ops[m.at++]))
            return false;
    if (m.placed)
        return true;
    if (!pop(&m, &address))
        return false;
    *location = (struct ms_location){MS_LOCATION_MEMORY, address, -1, 0};
    return true;
}
