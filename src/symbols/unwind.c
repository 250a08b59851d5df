/* From a thread's registers to those of each of its callers, by call frame information. */
#include "unwind.h"

#include <stdlib.h>

#include "memscope/frames.h"

/*
 * libdw reads the information and we follow it: libdwfl's own unwinder wants all modules
 * in one Dwfl and opened, tells no CFA, and guesses by rbp where there is no information.
 */
struct unwinder {
    struct ms_types *types;
    const struct ms_image *image;
    struct ms_calls *calls;
};

/* The registers in DWARF's order, as indices of user_regs_struct. */
static const uint8_t user_index[MS_DWARF_REGISTERS] = {10, 12, 11, 5, 13, 14, MS_REG_RBP, MS_REG_RSP, 9,
                                                       8,  7,  6,  3, 2,  1,  0, MS_REG_RIP};

int ms_dwarf_register(unsigned index)
{
    for (unsigned i = 0; i < MS_DWARF_REGISTERS; i++)
        if (user_index[i] == index)
            return (int)i;
    return -1;
}

static bool add_call(struct unwinder *u, const struct ms_call *call)
{
    struct ms_call *added = ms_vector_add(&u->calls->list);
    if (added)
        *added = *call;
    return added != NULL;
}

/* --- one step ---------------------------------------------------------------------------------- */

static bool frame_in(Dwarf_CFI *cfi, uint64_t address, Dwarf_Frame **frame)
{
    return cfi && dwarf_cfi_addrframe(cfi, address, frame) == 0;
}

/* What the module at ADDRESS says of it, by .eh_frame first: that is there in stripped files too. */
static Dwarf_Frame *find_frame(struct unwinder *u, uint64_t address, Dwarf_Addr *bias)
{
    struct ms_symbols *symbols = ms_types_symbols(u->types);
    struct ms_module module;
    Dwarf_Frame *frame = NULL;
    size_t index = ms_modules_at(symbols, address);
    if (index == MS_MODULES_NONE || !ms_modules_open(symbols, index, &module) || !module.file)
        return NULL;
    Dwarf_CFI *cfi = dwfl_module_eh_cfi(module.file, bias);
    if (frame_in(cfi, address - *bias, &frame))
        return frame;
    const struct ms_dwarf *dwarf = ms_types_dwarf_at(u->types, index);
    if (!dwarf || !dwarf->dwarf || !frame_in(dwarf_getcfi(dwarf->dwarf), address - dwarf->bias, &frame))
        return NULL;
    *bias = dwarf->bias;
    return frame;
}

static bool find_cfa(const struct ms_expr_context *context, Dwarf_Frame *frame, uint64_t *cfa)
{
    Dwarf_Op *ops;
    size_t count;
    struct ms_location location;
    if (dwarf_frame_cfa(frame, &ops, &count) != 0 || !ms_expression(context, ops, count, &location))
        return false;
    *cfa = location.value;
    return location.kind != MS_LOCATION_REGISTER;
}

/*
 * Is a register that has no rule in the caller as it is here? libdw says SAME or undefined by what calls
 * preserve, but takes 0 for the number of rbx, which is 3 (elfutils 0.188, backends/x86_64_cfi.c).
 */
static bool is_preserved(unsigned number, bool same)
{
    return number == MS_DWARF_RBX || (same && number != MS_DWARF_RAX);
}

/* The caller's register NUMBER. What cannot be told is left as not known. */
static void find_register(const struct ms_expr_context *context, Dwarf_Frame *frame, const struct ms_call *call,
                          unsigned number, struct ms_call *caller)
{
    Dwarf_Op memory[3], *ops;
    size_t count;
    struct ms_location location;
    uint32_t bit = 1u << number;
    if (dwarf_frame_register(frame, (int)number, memory, &ops, &count) != 0)
        return;
    if (count == 0) {
        if (!is_preserved(number, ops == NULL))
            return; /* the caller does not need it any more */
        caller->registers.value[number] = call->registers.value[number];
        caller->registers.known |= call->registers.known & bit;
        caller->saved[number] = call->saved[number];
        caller->live |= call->live & bit;
        return;
    }
    if (!ms_expression(context, ops, count, &location))
        return;
    uint64_t *value = &caller->registers.value[number];
    *value = location.value;
    if (location.kind == MS_LOCATION_MEMORY) {
        caller->saved[number] = location.value;
        if (!ms_image_read_word(context->image, location.value, value))
            return;
    }
    caller->registers.known |= bit;
}

static void find_registers(struct unwinder *u, Dwarf_Frame *frame, uint64_t bias, struct ms_call *call,
                           struct ms_call *caller)
{
    const struct ms_expr_context context = {.image = u->image, .registers = &call->registers, .bias = bias,
                                            .cfa_known = true, .cfa = call->cfa};
    for (unsigned i = 0; i < MS_DWARF_REGISTERS; i++)
        find_register(&context, frame, call, i, caller);
    if (!(caller->registers.known >> MS_DWARF_RSP & 1)) { /* the default of the psABI, where CFI has none */
        caller->registers.value[MS_DWARF_RSP] = call->cfa;
        caller->registers.known |= 1u << MS_DWARF_RSP;
    }
}

/* The caller of CALL by its module's information, which becomes the CFA of CALL too. */
static bool step(struct unwinder *u, struct ms_call *call, struct ms_call *caller)
{
    Dwarf_Addr bias = 0;
    *caller = (struct ms_call){0};
    Dwarf_Frame *frame = find_frame(u, call->at, &bias);
    if (!frame)
        return false;
    const struct ms_expr_context context = {.image = u->image, .registers = &call->registers, .bias = bias};
    int address = dwarf_frame_info(frame, NULL, NULL, &call->signal);
    bool found = address == MS_DWARF_PC && find_cfa(&context, frame, &call->cfa);
    if (found)
        find_registers(u, frame, bias, call, caller);
    free(frame);
    return found;
}

/* --- the stack --------------------------------------------------------------------------------- */

/* A core that leaves out what files have does not say which of it can be executed (gdb's gcore: NT_FILE alone). */
static bool is_code(const struct ms_image *image, uint64_t address)
{
    const struct ms_region *region = ms_image_region(image, address);
    if (!region)
        return false;
    const bool untold = image->kind == MS_CORE && region->kind == MS_REGION_FILE && !(region->prot & MS_WRITE);
    return region->prot & MS_EXEC || untold;
}

/* A call to where no code is (a null pointer, an unloaded library): what called it is at the stack pointer. */
static bool step_from_nowhere(struct unwinder *u, const struct ms_call *call, struct ms_call *caller)
{
    uint64_t stack = call->registers.value[MS_DWARF_RSP], *pc = &caller->registers.value[MS_DWARF_PC];
    if (is_code(u->image, call->pc))
        return false;
    *caller = *call;
    caller->cfa = 0;
    caller->registers.value[MS_DWARF_RSP] = stack + 8;
    return ms_image_read_word(u->image, stack, pc) && is_code(u->image, *pc);
}

/* Takes CALLER for the next call; false when the stack ends before it. */
static bool take(struct unwinder *u, const struct ms_call *call, struct ms_call *caller)
{
    uint64_t pc = caller->registers.value[MS_DWARF_PC];
    uint64_t stack = call->registers.value[MS_DWARF_RSP];
    /* The first function of a thread says that there is no caller (sysdeps/x86_64/start.S, clone.S of glibc). */
    u->calls->complete = !(caller->registers.known >> MS_DWARF_PC & 1) || pc == 0;
    if (u->calls->complete || !is_code(u->image, pc - !call->signal))
        return false;
    /* Stacks grow down. A handler may have one of its own; else there is a loop. */
    if (!call->signal && caller->registers.value[MS_DWARF_RSP] <= stack)
        return false;
    caller->pc = pc;
    caller->at = pc - !call->signal;
    return true;
}

static bool first_call(const struct ms_thread *thread, struct ms_call *call)
{
    *call = (struct ms_call){0};
    if (!thread->registers_known)
        return false;
    for (unsigned i = 0; i < MS_DWARF_REGISTERS; i++)
        call->registers.value[i] = thread->registers[user_index[i]];
    call->registers.known = call->live = (1u << MS_DWARF_REGISTERS) - 1;
    call->pc = call->at = call->registers.value[MS_DWARF_PC];
    return true;
}

ms_result ms_unwind_calls(struct ms_types *types, const struct ms_thread *thread, struct ms_calls *calls)
{
    struct unwinder u = {types, ms_types_image(types), calls};
    struct ms_call call, caller;
    *calls = (__typeof__(*calls)){0};
    for (bool more = first_call(thread, &call); more && calls->list.count < MS_FRAMES_MAX; call = caller) {
        bool stepped = step(&u, &call, &caller);
        if (!stepped && calls->list.count == 0)
            stepped = step_from_nowhere(&u, &call, &caller);
        more = stepped && take(&u, &call, &caller);
        if (!add_call(&u, &call))
            return ms_error_nomem("the stack of a thread");
    }
    return NULL;
}
