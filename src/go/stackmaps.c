/* Words of a goroutine's stack that are pointers, by the maps of its functions' frames. */
#include <string.h>

#include "goroutines.h"

/* --- the stack's bytes --------------------------------------------------------------------------
 */

#define COPY_MOST (64u << 20)

/* What of the stack is in use; BYTES NULL: it is read word by word. */
struct memory {
    const struct ms_image *image;
    struct ms_go_range range;
    const uint8_t *bytes;
    uint8_t *copy; /* owned, or NULL */
};

static struct memory open_memory(const struct ms_image *image, struct ms_go_range range)
{
    struct memory memory = {.image = image, .range = range};
    uint64_t size = range.end - range.start;
    if (!size)
        return memory;
    memory.bytes = ms_image_bytes(image, range.start, size);
    if (memory.bytes || size > COPY_MOST)
        return memory;
    memory.copy = malloc(size);
    if (memory.copy && ms_image_read(image, range.start, memory.copy, size))
        memory.bytes = memory.copy;
    return memory;
}

static uint64_t word_at(const struct memory *memory, uint64_t address)
{
    uint64_t value = 0;
    const struct ms_go_range *range = &memory->range;
    if (memory->bytes && address >= range->start && address < range->end &&
        range->end - address >= sizeof value)
        memcpy(&value, memory->bytes + (address - range->start), sizeof value);
    else
        ms_image_read_word(memory->image, address, &value);
    return value;
}

/* --- objects on the stack -----------------------------------------------------------------------
 */

/* A variable in a frame whose address was taken: alive when something points to it. */
struct object {
    uint64_t start, end;
    uint64_t pointers; /* bytes of it, from its start, that may hold pointers */
    uint64_t mask;     /* address of a bit for each word; 0: any may be a pointer */
    uint32_t frame;
    bool reached;
};

struct walk {
    const struct ms_go_goroutines *all;
    const struct ms_go_goroutine *goroutine;
    struct memory memory;
    ms_go_word_visitor *visit;
    void *context;
    MS_VECTOR(struct object) objects; /* by address, once all are there */
    MS_VECTOR(uint64_t) pointers;     /* into the stack, still to follow */
    bool failed;                      /* no memory */
};

/* A word that may keep something alive: what is on the stack itself is followed here. */
static void take(struct walk *walk, uint64_t address, uint64_t value, uint32_t frame, bool exact)
{
    if (!value)
        return;
    if (value >= walk->goroutine->stack.start && value < walk->goroutine->stack.end) {
        uint64_t *slot = ms_vector_add(&walk->pointers);
        if (slot)
            *slot = value;
        else
            walk->failed = true;
        return;
    }
    walk->visit(walk->context, &(struct ms_go_word){address, value, frame, exact});
}

static void take_word(struct walk *walk, uint64_t address, uint32_t frame, bool exact)
{
    take(walk, address, word_at(&walk->memory, address), frame, exact);
}

/* END, or where the maps that follow each other from START on end: a stack is nowhere else. */
static uint64_t mapped_end(const struct ms_image *image, uint64_t start, uint64_t end)
{
    const struct ms_region *region = ms_image_region(image, start);
    const struct ms_region *last = image->regions + image->region_count - 1;
    if (!region)
        return start;
    while (region < last && region->end < end && region[1].start == region->end)
        region++;
    return end < region->end ? end : region->end;
}

static void take_range(struct walk *walk, uint64_t start, uint64_t end, uint32_t frame)
{
    if (end > walk->goroutine->stack.end)
        end = walk->goroutine->stack.end;
    end = mapped_end(walk->all->go->image, start, end);
    for (uint64_t at = start; at < end && end - at >= 8; at += 8)
        take_word(walk, at, frame, false);
}

/* Words from START on that have a bit in the mask at MASK. */
static void take_masked(struct walk *walk, uint64_t start, uint64_t words, uint64_t mask,
                        uint32_t frame)
{
    uint8_t bits = 0;
    for (uint64_t i = 0; i < words; i++) {
        if (i % 8 == 0 &&
            !ms_go_read_constant(walk->all->functions, mask + i / 8, &bits, sizeof bits)) {
            take_range(walk, start + 8 * i, start + 8 * words, frame);
            return;
        }
        if (bits >> (i % 8) & 1)
            take_word(walk, start + 8 * i, frame, true);
    }
}

/* --- maps ---------------------------------------------------------------------------------------
 */

/* struct stackmap of src/runtime/symtab.go: n, nbit, then n maps of whole bytes. */
static bool find_map(struct ms_go_functions *functions, uint64_t maps, int32_t index,
                     uint32_t *bits, uint64_t *map)
{
    int32_t header[2];
    *bits = 0;
    if (!maps || !ms_go_read_constant(functions, maps, header, sizeof header) || header[0] <= 0 ||
        header[1] < 0)
        return false;
    if (!header[1])
        return true;
    if (index < 0 || index >= header[0])
        return false;
    *bits = (uint32_t)header[1];
    *map = maps + sizeof header + (uint64_t)index * ((*bits + 7u) / 8);
    return true;
}

/* (*stkframe).getStackMap() of src/runtime/stkframe.go for what goes on at POINT. */
static void find_maps(struct ms_go_functions *functions, struct go_code_point *point)
{
    const struct ms_go_function *function = &point->function;
    int32_t index = -1;
    point->mapped = true;
    if (point->pc != function->entry)
        index = ms_go_pcdata(functions, function, MS_GO_STACK_MAP_INDEX, point->pc - 1);
    if (index == -1)
        index = 0; /* the prologue */
    point->bad_locals =
        !find_map(functions, ms_go_funcdata(functions, function, MS_GO_LOCALS_POINTER_MAPS), index,
                  &point->local_bits, &point->local_map);
    point->bad_args =
        !find_map(functions, ms_go_funcdata(functions, function, MS_GO_ARGS_POINTER_MAPS), index,
                  &point->arg_bits, &point->arg_map);
}

/*
 * reflect.makeFuncStub and methodValueCall have the map of their arguments in what they were called
 * for, the reflectMethodValue that they saved at their stack pointer (stkframe.go).
 */
struct method_value {
    uint64_t function, map, argument_bytes;
};
#define RESULTS_VALID (4u * 8) /* offset of the flag from the stack pointer */

static void take_reflected_args(struct walk *walk, const struct ms_go_frame *frame, uint32_t index)
{
    const struct ms_image *image = walk->all->go->image;
    struct method_value value;
    int32_t bits;
    uint64_t map, at = word_at(&walk->memory, frame->sp);
    if (frame->sp + 8 >= frame->fp || !ms_image_read(image, at, &value, sizeof value) ||
        value.function != frame->function->entry ||
        !ms_image_read(image, value.map, &bits, sizeof bits) || bits < 0 ||
        !ms_image_read_word(image, value.map + 8, &map))
        return;
    uint64_t words = (uint64_t)bits;
    if (!(word_at(&walk->memory, frame->sp + RESULTS_VALID) & 0xff) &&
        value.argument_bytes / 8 < words)
        words = value.argument_bytes / 8;
    for (uint64_t i = 0; i < words && frame->argp + 8 * i < walk->goroutine->stack.end; i++) {
        uint8_t byte;
        if (!ms_image_read(image, map + i / 8, &byte, 1))
            return;
        if (byte >> (i % 8) & 1)
            take_word(walk, frame->argp + 8 * i, index, true);
    }
}

/* Are LENGTH words from START on all on the stack? A map of a hostile target may say anything. */
static bool fits(const struct walk *walk, uint64_t start, uint64_t words)
{
    const struct ms_go_range *stack = &walk->goroutine->stack;
    return start >= stack->start && start <= stack->end && words <= (stack->end - start) / 8;
}

static void take_args(struct walk *walk, const struct ms_go_frame *frame,
                      const struct go_code_point *point, uint32_t index)
{
    int32_t args = frame->function->args;
    if (args == MS_GO_ARGS_UNKNOWN) {
        take_reflected_args(walk, frame, index);
        return;
    }
    uint64_t words = args > 0 ? (uint64_t)args / 8 : 0;
    if (!words || !fits(walk, frame->argp, words))
        return;
    if (point->bad_args)
        take_range(walk, frame->argp, frame->argp + 8 * words, index);
    else if (fits(walk, frame->argp, point->arg_bits))
        take_masked(walk, frame->argp, point->arg_bits, point->arg_map, index);
}

/* --- frames -------------------------------------------------------------------------------------
 */

/* stackObjectRecord of src/runtime/stack.go: where in the frame, and a map; 1.17 has its address.
 */
struct object_record {
    int32_t offset, size, pointers; /* negative: the map is a GC program (to 1.23) */
    uint32_t map;
};
#define OBJECTS_MOST (1u << 16) /* of one frame */

static void add_objects(struct walk *walk, const struct ms_go_frame *frame, uint32_t index)
{
    struct ms_go_functions *functions = walk->all->functions;
    const struct ms_go_function *function = frame->function;
    const struct ms_go_range *stack = &walk->goroutine->stack;
    uint64_t at = ms_go_funcdata(functions, function, MS_GO_STACK_OBJECTS), count;
    bool old = walk->all->go->minor <= 17;
    if (!at || !ms_go_read_constant(functions, at, &count, sizeof count) || count > OBJECTS_MOST)
        return;
    at += sizeof count;
    for (uint64_t i = 0; i < count; i++, at += old ? 24 : 16) {
        struct object_record record;
        uint64_t mask;
        if (!ms_go_read_constant(functions, at, &record, sizeof record))
            return;
        if (!old)
            mask = function->module->rodata + record.map;
        else if (!ms_go_read_constant(functions, at + 16, &mask, sizeof mask))
            return;
        uint64_t start =
            (record.offset < 0 ? frame->varp : frame->argp) + (uint64_t)(int64_t)record.offset;
        int64_t pointers = record.pointers < 0 ? -(int64_t)record.pointers : record.pointers;
        if (start < frame->sp || start >= stack->end || record.size <= 0 ||
            (uint64_t)record.size > stack->end - start || pointers > record.size)
            continue; /* not there yet */
        struct object *object = ms_vector_add(&walk->objects);
        if (!object) {
            walk->failed = true;
            return;
        }
        *object = (struct object){
            .start = start,
            .end = start + (uint64_t)record.size,
            .pointers = (uint64_t)pointers,
            .mask = record.pointers < 0 ? 0 : mask,
            .frame = index,
        };
    }
}

static void take_frame(struct walk *walk, const struct ms_go_frame *frame, uint32_t index)
{
    if (frame->conservative || frame->function->id == MS_GO_ASYNC_PREEMPT ||
        frame->function->id == MS_GO_DEBUG_CALL) {
        int32_t args = frame->function->args;
        take_range(walk, frame->sp, frame->varp, index);
        if (args > 0)
            take_range(walk, frame->argp, frame->argp + (uint64_t)args, index);
        return;
    }
    struct go_code_point *point =
        frame->continuation ? ms_go_code_point(walk->all, frame->continuation) : NULL;
    if (!point || !point->function.entry)
        return; /* a frame that panicked and will not go on */
    if (!point->mapped)
        find_maps(walk->all->functions, point);
    uint64_t bytes = 8 * (uint64_t)point->local_bits;
    if (frame->varp > frame->sp) {
        if (point->bad_locals || frame->function->args == MS_GO_ARGS_UNKNOWN)
            take_range(walk, frame->sp, frame->varp, index);
        else if (bytes <= frame->varp - walk->goroutine->stack.start)
            take_masked(walk, frame->varp - bytes, point->local_bits, point->local_map, index);
    }
    take_args(walk, frame, point, index);
    add_objects(walk, frame, index);
}

/* --- what else a goroutine keeps ----------------------------------------------------------------
 */

#define DEFERS_MOST (1u << 24)

/* The chain of defers goes through the stack and the heap; panics are on the stack. */
static void take_own(struct walk *walk)
{
    const struct ms_go *go = walk->all->go;
    const struct go_stack_layout *layout = &walk->all->reader->layout;
    uint64_t g = walk->goroutine->address, value, defer;
    if (ms_go_get(go, g, layout->context, &value))
        take(walk, g + layout->context.offset, value, MS_GO_NO_FRAME, true);
    if (ms_go_get(go, g, layout->panic, &value))
        take(walk, g + layout->panic.offset, value, MS_GO_NO_FRAME, true);
    if (!ms_go_get(go, g, layout->defer, &defer))
        return;
    uint64_t from = g + layout->defer.offset;
    for (unsigned i = 0; defer && i < DEFERS_MOST; i++) {
        uint64_t heap = 0;
        ms_go_get(go, defer, layout->defer_heap, &heap);
        if (heap)
            take(walk, from, defer, MS_GO_NO_FRAME, true);
        uint64_t function = defer + layout->defer_pc.offset + layout->defer_pc.size;
        if (ms_image_read_word(go->image, function, &value))
            take(walk, function, value, MS_GO_NO_FRAME, true);
        from = defer + layout->defer_link.offset;
        if (!ms_go_get(go, defer, layout->defer_link, &value) || value == defer)
            return;
        defer = value;
    }
}

static int by_start(const void *a, const void *b)
{
    const struct object *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* Objects that something on the stack points to, and what they point to in turn. */
static void follow(struct walk *walk)
{
    ms_vector_sort(&walk->objects, by_start);
    while (walk->pointers.count) {
        uint64_t value = walk->pointers.items[--walk->pointers.count];
        size_t low = 0, high = walk->objects.count;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (walk->objects.items[middle].end <= value)
                low = middle + 1;
            else
                high = middle;
        }
        struct object *object = &walk->objects.items[low];
        if (low == walk->objects.count || value < object->start || object->reached)
            continue;
        object->reached = true;
        if (object->mask)
            take_masked(walk, object->start, object->pointers / 8, object->mask, object->frame);
        else
            take_range(walk, object->start, object->start + object->pointers, object->frame);
    }
}

static void take_registers(const struct ms_thread *thread, struct walk *walk)
{
    for (unsigned i = 0; i < MS_REGISTERS; i++)
        if (i <= MS_REG_RDI && thread->registers_known)
            take(walk, 0, thread->registers[i], 0, false);
}

ms_result ms_go_stack_words(const struct ms_go_goroutines *all,
                            const struct ms_go_goroutine *goroutine, ms_go_word_visitor *visit,
                            void *context)
{
    struct walk walk = {.all = all, .goroutine = goroutine, .visit = visit, .context = context};
    struct ms_go_unwinder unwinder;
    bool found = ms_go_unwind(all, goroutine, &unwinder);
    uint64_t start = found ? unwinder.frame.sp : unwinder.rest;
    if (start >= goroutine->stack.start && start <= goroutine->stack.end)
        walk.memory =
            open_memory(all->go->image, (struct ms_go_range){start, goroutine->stack.end});
    else
        walk.memory = open_memory(all->go->image, goroutine->stack);
    if (found && unwinder.interrupted)
        take_registers(ms_go_machine(all, goroutine->machine)->thread, &walk);
    for (; found; found = ms_go_unwind_next(&unwinder))
        take_frame(&walk, &unwinder.frame, unwinder.index);
    if (!unwinder.complete)
        take_range(&walk,
                   walk.memory.range.start > unwinder.rest ? walk.memory.range.start
                                                           : unwinder.rest,
                   goroutine->stack.end, MS_GO_NO_FRAME);
    take_own(&walk);
    follow(&walk);
    free(walk.memory.copy);
    ms_vector_free(&walk.objects);
    ms_vector_free(&walk.pointers);
    return walk.failed ? ms_error_nomem("the pointers of a stack") : NULL;
}

/* --- threads ------------------------------------------------------------------------------------
 */

static void visit_range(const struct ms_image *image, uint64_t start, uint64_t end,
                        ms_go_word_visitor *visit, void *context)
{
    end = mapped_end(image, start, end);
    struct memory memory = open_memory(image, (struct ms_go_range){start, end});
    for (uint64_t at = start; at < end && end - at >= 8; at += 8) {
        uint64_t value = word_at(&memory, at);
        if (value)
            visit(context, &(struct ms_go_word){at, value, MS_GO_NO_FRAME, false});
    }
    free(memory.copy);
}

ms_result ms_go_thread_words(const struct ms_go_goroutines *all, ms_go_word_visitor *visit,
                             void *context)
{
    const struct ms_image *image = all->go->image;
    for (size_t i = 0; i < image->thread_count; i++)
        for (unsigned k = 0; image->threads[i].registers_known && k <= MS_REG_RDI; k++)
            if (image->threads[i].registers[k])
                visit(context, &(struct ms_go_word){0, image->threads[i].registers[k],
                                                    MS_GO_NO_FRAME, false});
    for (size_t i = 0; i < all->reader->machines.count; i++) {
        const struct go_machine *machine = &all->reader->machines.items[i];
        uint64_t sp = machine->thread && machine->thread->registers_known
                          ? machine->thread->registers[MS_REG_RSP]
                          : 0;
        const struct ms_go_range stacks[] = {machine->system, machine->signal};
        for (size_t k = 0; k < 2; k++) {
            bool on_it = stacks[k].start <= sp && sp < stacks[k].end;
            /* where it switched away from the scheduler's stack is not worth knowing: all of it */
            if (on_it)
                visit_range(image, sp & ~(uint64_t)7, stacks[k].end, visit, context);
            else if (k == 0 && stacks[k].end - stacks[k].start <= COPY_MOST)
                visit_range(image, stacks[k].start, stacks[k].end, visit, context);
        }
    }
    return NULL;
}
