/* Stacks as the programmer sees them: functions, inlined ones too, lines, and what each has in its locals. */
#include "memscope/frames.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "demangle.h"
#include "locals.h"
#include "scopes.h"
#include "unwind.h"

struct builder {
    struct ms_types *types;
    struct ms_stack *stack;
    bool locals;
    /* Of the call that is worked on: */
    const struct ms_call *call;
    size_t callers;         /* behind it */
    struct ms_dwarf *dwarf; /* its module; NULL: none */
    Dwarf_Die unit;         /* valid when there are scopes, or lines */
    bool in_unit;
    struct ms_scopes scopes;
};

/* As gdb calls it. */
static const char signal_frame[] = "<signal handler called>";

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

/* --- names and lines --------------------------------------------------------------------------- */

/* The symbol of a function as DWARF has it; clang and old compilers under an older name. */
static const char *linkage_name(Dwarf_Die *function)
{
    Dwarf_Attribute attribute;
    if (!dwarf_attr_integrate(function, DW_AT_linkage_name, &attribute) &&
        !dwarf_attr_integrate(function, DW_AT_MIPS_linkage_name, &attribute))
        return NULL;
    return dwarf_formstring(&attribute);
}

static const char *function_name(struct builder *b, Dwarf_Die *function)
{
    const char *symbol = linkage_name(function);
    ms_auto_free char *shown = symbol ? ms_demangle(symbol) : NULL;
    return shown ? ms_types_string(b->types, shown) : ms_dwarf_name(b->types, function);
}

/* The line of the call itself. */
static void find_line(struct builder *b, struct ms_frame *frame)
{
    Dwarf_Line *line = b->in_unit ? dwarf_getsrc_die(&b->unit, b->call->at - b->dwarf->bias) : NULL;
    int number = 0;
    if (!line)
        return;
    frame->file = base_name(dwarf_linesrc(line, NULL, NULL));
    if (dwarf_lineno(line, &number) == 0 && number > 0)
        frame->line = (unsigned)number;
}

static Dwarf_Word number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word number;
    return dwarf_formudata(dwarf_attr(die, name, &attribute), &number) == 0 ? number : 0;
}

/* The line where the caller of an inlined function has it. */
static void find_call_line(struct builder *b, Dwarf_Die *inlined, struct ms_frame *frame)
{
    Dwarf_Files *files;
    size_t count;
    Dwarf_Word file = number_of(inlined, DW_AT_call_file), line = number_of(inlined, DW_AT_call_line);
    if (line <= UINT32_MAX)
        frame->line = (unsigned)line;
    if (dwarf_getsrcfiles(&b->unit, &files, &count) == 0 && file < count)
        frame->file = base_name(dwarf_filesrc(files, file, NULL, NULL));
}

/* --- frames ------------------------------------------------------------------------------------ */

static struct ms_frame *add_frame(struct builder *b)
{
    struct ms_frame *frame = b->stack->frames.count < MS_FRAMES_MAX ? ms_vector_add(&b->stack->frames) : NULL;
    if (!frame)
        return NULL;
    frame->pc = b->call->pc;
    frame->sp = b->call->registers.value[MS_DWARF_RSP];
    frame->cfa = b->call->cfa;
    frame->module = b->dwarf ? b->dwarf->module.name : NULL;
    return frame;
}

/* Of a call into code without DWARF, or that it does not describe. */
static ms_result add_plain(struct builder *b)
{
    struct ms_frame *frame = add_frame(b);
    if (!frame)
        return NULL;
    frame->function = b->call->signal ? signal_frame /* which has a local symbol at best */
                                      : ms_symbols_name(ms_types_symbols(b->types), b->call->at, NULL);
    find_line(b, frame);
    return NULL;
}

/* The function at FIRST of the scopes; that at END, if any, is inlined into it. */
static ms_result add_function(struct builder *b, size_t first, size_t end)
{
    Dwarf_Die *function = &b->scopes.list[first];
    struct ms_frame *frame = add_frame(b);
    if (!frame)
        return NULL;
    frame->function = function_name(b, function);
    frame->inlined = dwarf_tag(function) == DW_TAG_inlined_subroutine;
    if (end == b->scopes.count)
        find_line(b, frame);
    else
        find_call_line(b, &b->scopes.list[end], frame);
    if (!b->locals)
        return NULL;
    return ms_read_locals(b->types, b->dwarf, b->call, b->callers, &b->scopes, first, end, frame);
}

static ms_result add_call(struct builder *b, const struct ms_call *call, size_t callers)
{
    b->call = call;
    b->callers = callers;
    b->dwarf = ms_types_dwarf(b->types, call->at);
    b->scopes.count = 0;
    b->in_unit = b->dwarf && b->dwarf->dwarf && ms_dwarf_unit_at(b->dwarf, call->at, &b->unit);
    if (b->in_unit)
        ms_find_scopes(b->dwarf, &b->unit, call->at - b->dwarf->bias, &b->scopes);
    if (b->scopes.count == 0 || call->signal)
        return add_plain(b);
    for (size_t end = b->scopes.count, i = end; i-- > 0;)
        if (ms_scope_is_function(&b->scopes.list[i])) {
            MS_TRY(add_function(b, i, end));
            end = i;
        }
    return NULL;
}

ms_result ms_unwind(struct ms_types *types, const struct ms_thread *thread, bool locals, struct ms_stack *stack)
{
    *stack = (struct ms_stack){.tid = thread->tid};
    struct builder *b = calloc(1, sizeof *b);
    if (!b)
        return ms_error_nomem("the stack of a thread");
    *b = (struct builder){.types = types, .stack = stack, .locals = locals};
    struct ms_calls calls = {0};
    struct ms_error *error = ms_unwind_calls(types, thread, &calls);
    for (size_t i = 0; !error && i < calls.list.count; i++)
        error = add_call(b, &calls.list.items[i], calls.list.count - i - 1);
    stack->complete = calls.complete && stack->frames.count < MS_FRAMES_MAX;
    ms_vector_free(&calls.list);
    free(b);
    if (error)
        ms_stack_free(stack);
    return error;
}

ms_result ms_add_frame(struct ms_types *types, uint64_t pc, uint64_t sp, uint64_t cfa, struct ms_stack *stack)
{
    struct builder *b = calloc(1, sizeof *b);
    struct ms_call *call = calloc(1, sizeof *call);
    struct ms_error *error;
    if (!b || !call) {
        error = ms_error_nomem("the stack of a thread");
    } else {
        *b = (struct builder){.types = types, .stack = stack, .locals = true};
        *call = (struct ms_call){.pc = pc, .at = pc, .cfa = cfa};
        call->registers.value[MS_DWARF_RSP] = sp;
        error = add_call(b, call, 0);
    }
    free(call);
    free(b);
    return error;
}

void ms_stack_free(struct ms_stack *stack)
{
    for (size_t i = 0; i < stack->frames.count; i++)
        ms_vector_free(&stack->frames.items[i].locals);
    ms_vector_free(&stack->frames);
}

/* --- what is where ----------------------------------------------------------------------------- */

/* Is the word at ADDRESS part of LOCAL? OFFSET is then how far into it. */
static bool covers(const struct ms_local *local, uint64_t address, uint64_t *offset)
{
    uint64_t start = local->reg >= 0 ? local->saved : local->address;
    uint64_t size = local->reg >= 0 ? sizeof local->value : local->type->size;
    *offset = address - start;
    return start && address >= start && *offset < size;
}

struct ms_local_place ms_local_at(const struct ms_stack *stack, uint64_t address)
{
    struct ms_local_place place = {0};
    for (place.frame = 0; place.frame < stack->frames.count; place.frame++) {
        const struct ms_frame *frame = &stack->frames.items[place.frame];
        for (size_t i = 0; i < frame->locals.count; i++)
            if (covers(&frame->locals.items[i], address, &place.offset)) {
                place.local = &frame->locals.items[i];
                return place;
            }
    }
    return (struct ms_local_place){0};
}

struct ms_local_place ms_local_in_register(const struct ms_stack *stack, unsigned index)
{
    struct ms_local_place place = {0};
    int number = ms_dwarf_register(index);
    for (place.frame = 0; number >= 0 && place.frame < stack->frames.count; place.frame++) {
        const struct ms_frame *frame = &stack->frames.items[place.frame];
        for (size_t i = 0; i < frame->locals.count; i++)
            if (frame->locals.items[i].live && frame->locals.items[i].reg == number) {
                place.local = &frame->locals.items[i];
                return place;
            }
    }
    return (struct ms_local_place){0};
}

/* The red zone of the psABI, below the stack pointer of the innermost function. */
#define RED_ZONE 128u

size_t ms_frame_at(const struct ms_stack *stack, uint64_t address)
{
    size_t count = stack->frames.count;
    uint64_t below = RED_ZONE;
    for (size_t i = 0; i < count; i++) {
        const struct ms_frame *frame = &stack->frames.items[i];
        if (frame->inlined)
            continue;
        if (address >= frame->sp - below && address < frame->cfa)
            return i;
        below = 0;
    }
    return count;
}
