/* Frames of a goroutine's stack: unwinding by the stack pointer's tables, as the runtime does. */
#include <string.h>

#include "goroutines.h"

/* --- code ---------------------------------------------------------------------------------------
 */

static struct go_code_point **point_slot(struct go_code_point **points, size_t room, uint64_t pc)
{
    size_t at = (pc * 0x9e3779b97f4a7c15u >> 20) & (room - 1);
    while (points[at] && points[at]->pc != pc)
        at = (at + 1) & (room - 1);
    return &points[at];
}

static bool grow(struct ms_go_stack_reader *reader)
{
    if (reader->point_count * 2 < reader->point_room)
        return true;
    size_t room = reader->point_room ? reader->point_room * 2 : 1024;
    struct go_code_point **points = calloc(room, sizeof *points);
    if (!points)
        return false;
    for (size_t i = 0; i < reader->point_room; i++)
        if (reader->points[i])
            *point_slot(points, room, reader->points[i]->pc) = reader->points[i];
    free(reader->points);
    reader->points = points;
    reader->point_room = room;
    return true;
}

struct go_code_point *ms_go_code_point(const struct ms_go_goroutines *all, uint64_t pc)
{
    struct ms_go_stack_reader *reader = all->reader;
    if (!grow(reader))
        return NULL;
    struct go_code_point **slot = point_slot(reader->points, reader->point_room, pc);
    struct go_code_point *point = *slot;
    if (point)
        return point;
    point = calloc(1, sizeof *point);
    if (!point)
        return NULL;
    point->pc = pc;
    if (ms_go_function_at(all->functions, pc, &point->function))
        point->known = ms_go_sp_delta(all->functions, &point->function, pc, &point->delta);
    else
        point->function = (struct ms_go_function){0};
    reader->point_count++;
    return *slot = point;
}

/* --- where a running goroutine is ---------------------------------------------------------------
 */

static bool within(struct ms_go_range range, uint64_t address)
{
    return range.start <= address && address < range.end;
}

/*
 * A handler runs on the signal stack: what it interrupted is in the frame that the kernel made, the
 * struct ucontext that follows the return address of sigtramp (arch/x86/kernel/signal_64.c; gregs
 * of <sys/ucontext.h>).
 */
#define SIGNAL_FRAMES_MOST 256u
#define UCONTEXT_RSP       (40u + 15 * 8)
#define UCONTEXT_RIP       (40u + 16 * 8)

static bool interrupted_by_signal(const struct ms_go_goroutines *all, uint64_t *pc, uint64_t *sp)
{
    const struct ms_image *image = all->go->image;
    for (unsigned i = 0; i < SIGNAL_FRAMES_MOST; i++) {
        const struct go_code_point *point = ms_go_code_point(all, *pc);
        const char *name =
            point && point->function.entry ? ms_go_function_name(all->functions, &point->function) : "";
        if (!strncmp(name, "runtime.sigreturn", 17))
            return ms_image_read_word(image, *sp + UCONTEXT_RIP, pc) &&
                   ms_image_read_word(image, *sp + UCONTEXT_RSP, sp);
        if (!point || !point->known || !ms_image_read_word(image, *sp + (uint64_t)point->delta, pc))
            return false;
        *sp += (uint64_t)point->delta + 8;
    }
    return false;
}

/* Where a running goroutine is, if its thread's registers tell: *PC and *SP on its stack. */
static bool running_at(const struct ms_go_goroutines *all, const struct ms_go_goroutine *goroutine, uint64_t *pc,
                       uint64_t *sp)
{
    const struct go_machine *machine = ms_go_machine(all, goroutine->machine);
    if (goroutine->status != MS_GO_RUNNING || goroutine->syscall || !machine || !machine->thread ||
        !machine->thread->registers_known || machine->current != goroutine->address)
        return false;
    *pc = machine->thread->registers[MS_REG_RIP];
    *sp = machine->thread->registers[MS_REG_RSP];
    if (within(machine->signal, *sp) && !interrupted_by_signal(all, pc, sp))
        return false;
    return within(goroutine->stack, *sp);
}

/* --- frames -------------------------------------------------------------------------------------
 */

static bool stop(struct ms_go_unwinder *unwinder, bool complete, uint64_t rest)
{
    unwinder->valid = false;
    unwinder->complete = complete;
    unwinder->rest = rest;
    return false;
}

/* The offset by which a call to deferreturn is looked up at its return address, less 1. */
static uint64_t continuation_of(const struct ms_go_unwinder *unwinder, const struct ms_go_frame *frame)
{
    if (unwinder->callee != MS_GO_SIGPANIC)
        return frame->pc;
    return frame->function->deferreturn ? frame->function->entry + frame->function->deferreturn + 1 : 0;
}

/*
 * The frame at PC and SP; (*unwinder).resolveInternal() of src/runtime/traceback.go. FREE: a
 * function that writes the stack pointer has not done so yet.
 */
static bool resolve(struct ms_go_unwinder *unwinder, uint64_t pc, uint64_t sp, bool free)
{
    const struct ms_go_goroutines *all = unwinder->goroutines;
    const struct ms_go_range *stack = &unwinder->goroutine->stack;
    const struct go_code_point *point = ms_go_code_point(all, pc);
    if (!point || !point->known || sp % 8 || sp < stack->start || sp > stack->end ||
        (uint64_t)point->delta + 8 > stack->end - sp)
        return stop(unwinder, false, sp);
    const struct ms_go_function *function = &point->function;
    struct ms_go_frame *frame = &unwinder->frame;
    uint64_t fp = sp + (uint64_t)point->delta + 8;
    *frame = (struct ms_go_frame){
        .function = function,
        .pc = pc,
        .call = unwinder->interrupted || pc == function->entry ? pc : pc - 1,
        .sp = sp,
        .fp = fp,
        .varp = fp - 8 > sp ? fp - 16 : fp - 8, /* a frame has the caller's frame pointer */
        .argp = fp,
    };
    frame->continuation = continuation_of(unwinder, frame);
    bool writes = function->flags & MS_GO_SP_WRITE && function->id != MS_GO_CGOCALLBACK && !free;
    unwinder->return_pc = 0;
    unwinder->complete = function->flags & MS_GO_TOP_FRAME;
    unwinder->rest = unwinder->complete ? stack->end : fp;
    if (!unwinder->complete && !writes)
        ms_image_read_word(all->go->image, fp - 8, &unwinder->return_pc);
    return unwinder->valid = true;
}

static const char *name_at(const struct ms_go_goroutines *all, uint64_t pc)
{
    const struct go_code_point *point = ms_go_code_point(all, pc);
    return point && point->function.entry ? ms_go_function_name(all->functions, &point->function) : "";
}

/* Is PC in gogo(), whose second half has a name of its own since 1.17 (src/runtime/asm_amd64.s)? */
static bool is_resuming(const struct ms_go_goroutines *all, uint64_t pc)
{
    const char *name = name_at(all, pc);
    return !strcmp(name, "gogo") || !strcmp(name, "runtime.gogo");
}

/*
 * The runtime's functions that write the stack pointer switch to another stack and back: on the
 * goroutine's own it is where their frame begins. Others align it, nobody knows by how much.
 */
static bool switches_stacks(const struct ms_go_goroutines *all, uint64_t pc)
{
    const char *name = name_at(all, pc);
    return !strncmp(name, "runtime.", 8) || !strcmp(name, "time.now");
}

bool ms_go_unwind(const struct ms_go_goroutines *all, const struct ms_go_goroutine *goroutine,
                  struct ms_go_unwinder *unwinder)
{
    *unwinder = (struct ms_go_unwinder){.goroutines = all, .goroutine = goroutine};
    const struct go_machine *machine = ms_go_machine(all, goroutine->machine);
    uint64_t pc, sp;
    if (running_at(all, goroutine, &pc, &sp)) {
        if (is_resuming(all, pc)) /* it goes on where it was parked */
            return resolve(unwinder, goroutine->pc, sp, true);
        if (!pc) { /* a call of a nil function */
            ms_image_read_word(all->go->image, sp, &pc);
            sp += 8;
        } else {
            unwinder->interrupted = true;
        }
        bool found = resolve(unwinder, pc, sp, switches_stacks(all, pc));
        unwinder->frame.conservative = unwinder->interrupted;
        return found;
    }
    pc = goroutine->pc;
    sp = goroutine->sp;
    if (goroutine->status == MS_GO_RUNNING && machine && within(goroutine->stack, machine->vdso_sp)) {
        pc = machine->vdso_pc;
        sp = machine->vdso_sp;
    }
    if (!pc) {
        ms_image_read_word(all->go->image, sp, &pc);
        sp += 8;
    }
    return resolve(unwinder, pc, sp, true);
}

bool ms_go_unwind_next(struct ms_go_unwinder *unwinder)
{
    if (!unwinder->valid)
        return false;
    struct ms_go_frame *frame = &unwinder->frame;
    uint8_t id = frame->function->id;
    if (!unwinder->return_pc)
        return stop(unwinder, unwinder->complete, unwinder->rest);
    unwinder->callee = id;
    unwinder->interrupted = id == MS_GO_SIGPANIC || id == MS_GO_ASYNC_PREEMPT || id == MS_GO_DEBUG_CALL;
    unwinder->index++;
    /* What was made to call these was interrupted anywhere; its registers are in their frames. */
    bool conservative = id == MS_GO_ASYNC_PREEMPT || id == MS_GO_DEBUG_CALL;
    bool found = resolve(unwinder, unwinder->return_pc, frame->fp, false);
    frame->conservative = conservative;
    return found;
}
