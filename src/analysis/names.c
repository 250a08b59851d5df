/* Names: what roots and other places outside the blocks are called. */
#include "memscope/names.h"

#include <elf.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/goheap.h"

const char *const ms_place_names[MS_PLACE_KINDS] = {
    [MS_PLACE_DATA] = "data",         [MS_PLACE_FILE] = "file",     [MS_PLACE_STACK] = "stack",
    [MS_PLACE_TLS] = "tls",           [MS_PLACE_REGISTER] = "register", [MS_PLACE_ANON] = "anonymous map",
    [MS_PLACE_SHARED] = "shared map", [MS_PLACE_KERNEL] = "kernel", [MS_PLACE_DTV] = "dtv",
    [MS_PLACE_GOROUTINE] = "goroutine", [MS_PLACE_FINALIZER] = "finalizer", [MS_PLACE_RUNTIME] = "runtime",
    [MS_PLACE_OTHER] = "other",
};

/* struct pthread of glibc 2.36 takes 2304 bytes, older and newer ones no more than this. */
#define DESCRIPTOR_BYTES 2560u
/* Static TLS ends at the thread pointer, which is aligned so (TCB_ALIGNMENT, glibc's sysdeps/x86_64). */
#define TLS_ALIGN 64u
#define HEADERS_MAX 64u

/* FXSAVE's layout, and AVX's behind it (Intel SDM volume 1, 13.4): first byte, bytes a register. */
#define XSAVE_ST 32u
#define XSAVE_XMM 160u
#define XSAVE_LEGACY_END 416u
#define XSAVE_YMM 576u
#define XSAVE_YMM_END 832u
#define XSAVE_REGISTER 16u

struct ms_names {
    const struct ms_scan *scan;
    const struct ms_image *image;
    struct ms_symbols *symbols; /* or NULL */
    struct ms_types *types;     /* or NULL */
    struct ms_stack **stacks;   /* of each thread of the image, NULL until one is needed; owned */
};

/* --- text -------------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static struct ms_error *say(struct ms_place *place, const char *format,
                                                                  ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&place->text, format, arguments);
    va_end(arguments);
    if (length >= 0)
        return NULL;
    place->text = NULL;
    return ms_error_nomem("names");
}

/* "+0x10", "-0x40"; BUFFER is returned. */
static const char *signed_text(int64_t offset, char buffer[24])
{
    uint64_t size = offset < 0 ? -(uint64_t)offset : (uint64_t)offset;
    snprintf(buffer, 24, "%c0x%" PRIx64, offset < 0 ? '-' : '+', size);
    return buffer;
}

/* --- variables --------------------------------------------------------------------------------- */

/* The expression for the word at OFFSET of a variable: "server.db[0]", or "server+0x10" in padding. */
static struct ms_error *variable_path(struct ms_names *n, const char *name, const struct ms_type *type,
                                      uint64_t offset, char **path)
{
    const struct ms_type *leaf;
    ms_auto_free char *inside = ms_type_path(n->types, type, offset, sizeof(uint64_t), &leaf);
    int length = inside || offset == 0 ? asprintf(path, "%s%s", name, inside ? inside : "")
                                       : asprintf(path, "%s+0x%" PRIx64, name, offset);
    if (length >= 0)
        return NULL;
    *path = NULL;
    return ms_error_nomem("names");
}

/* The variable at the address of PLACE: sets variable, unit and function, and TID when it is thread-local. */
static struct ms_error *take_variable(struct ms_names *n, struct ms_place *place, pid_t *tid)
{
    struct ms_place_type found = {0};
    *tid = 0;
    if (!n->types)
        return NULL;
    MS_TRY(ms_types_find(n->types, &place->address, 1, &found));
    if (!found.variable)
        return NULL;
    *tid = found.tid;
    place->unit = found.variable->unit;
    place->function = found.variable->function;
    return variable_path(n, found.variable->name, found.variable->type, found.offset, &place->variable);
}

/* --- threads ----------------------------------------------------------------------------------- */

static const struct ms_thread *thread_of(const struct ms_image *image, pid_t tid)
{
    for (size_t i = 0; i < image->thread_count; i++)
        if (image->threads[i].tid == tid)
            return &image->threads[i];
    return NULL;
}

/* "thread 1234 'worker'"; BUFFER is returned. */
static const char *thread_text(const struct ms_thread *thread, char buffer[48])
{
    int length = snprintf(buffer, 48, "thread %d", (int)thread->tid);
    if (thread->name[0])
        snprintf(buffer + length, 48 - (size_t)length, " '%.15s'", thread->name);
    return buffer;
}

/* The stack of THREAD with its locals, unwound when first asked for; NULL without TYPES. */
static struct ms_error *stack_of(struct ms_names *n, const struct ms_thread *thread,
                                 const struct ms_stack **stack)
{
    struct ms_stack **slot = &n->stacks[thread - n->image->threads];
    if (n->types && !*slot) {
        ms_auto_free struct ms_stack *made = calloc(1, sizeof *made);
        if (!made)
            return ms_error_nomem("names");
        MS_TRY(ms_unwind(n->types, thread, true, made));
        *slot = made;
        made = NULL;
    }
    *stack = *slot;
    return NULL;
}

/* "frame 3 handle_request()"; the caller frees it. */
static char *frame_text(const struct ms_stack *stack, size_t index)
{
    const struct ms_frame *frame = &stack->frames.items[index];
    const char *function = frame->function ? frame->function : frame->module;
    const char *brackets = frame->function && !strchr(function, '(') ? "()" : "";
    char *text;
    int length = function ? asprintf(&text, "frame %zu %s%s", index, function, brackets)
                          : asprintf(&text, "frame %zu", index);
    return length < 0 ? NULL : text;
}

/* Takes note of FRAME in PLACE; TEXT is for the caller to free. */
static struct ms_error *take_frame(const struct ms_stack *stack, size_t frame, struct ms_place *place, char **text)
{
    place->frame = (int)frame;
    place->function = stack->frames.items[frame].function;
    *text = frame_text(stack, frame);
    return *text ? NULL : ms_error_nomem("names");
}

/* What a local is called at an offset: "local conn.buf", "parameter n"; sets variable and parameter of PLACE. */
static struct ms_error *take_local(struct ms_names *n, const struct ms_local_place *where, struct ms_place *place)
{
    const struct ms_local *local = where->local;
    place->parameter = local->parameter;
    return variable_path(n, local->name, local->type, where->offset, &place->variable);
}

/* What the TLS segment of the module whose headers are in REGION takes, 0 when it has none. */
static uint64_t tls_of_module(const struct ms_image *image, const struct ms_region *region)
{
    Elf64_Ehdr header;
    Elf64_Phdr segments[HEADERS_MAX];
    if (region->kind != MS_REGION_FILE || region->offset != 0 ||
        !ms_image_read(image, region->start, &header, sizeof header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phnum > HEADERS_MAX ||
        header.e_phoff > MS_PAGE || header.e_phentsize != sizeof *segments ||
        !ms_image_read(image, region->start + header.e_phoff, segments, header.e_phnum * sizeof *segments))
        return 0;
    for (unsigned i = 0; i < header.e_phnum; i++)
        if (segments[i].p_type == PT_TLS && segments[i].p_memsz < region->end)
            return segments[i].p_memsz + (segments[i].p_align < MS_PAGE ? segments[i].p_align : MS_PAGE);
    return 0;
}

/* Bytes below a thread pointer that are static TLS: no more than all modules' together. */
static uint64_t tls_bytes(const struct ms_image *image)
{
    uint64_t sum = TLS_ALIGN;
    for (size_t i = 0; i < image->region_count; i++)
        sum += tls_of_module(image, &image->regions[i]);
    return sum;
}

/* The thread whose TLS or descriptor ADDRESS is in, or NULL. */
static const struct ms_thread *tls_owner(struct ms_names *n, uint64_t address)
{
    const struct ms_region *region = ms_image_region(n->image, address);
    uint64_t below = 0;
    for (size_t i = 0; region && i < n->image->thread_count; i++) {
        const struct ms_thread *thread = &n->image->threads[i];
        uint64_t pointer = thread->registers[MS_REG_FS_BASE];
        if (pointer < region->start || pointer >= region->end || address >= pointer + DESCRIPTOR_BYTES)
            continue;
        if (address >= pointer)
            return thread;
        below = below ? below : tls_bytes(n->image);
        if (pointer - address <= below)
            return thread;
    }
    return NULL;
}

static struct ms_error *name_tls(struct ms_names *n, const struct ms_thread *thread, struct ms_place *place)
{
    char who[48], offset[24];
    pid_t tid;
    place->kind = MS_PLACE_TLS;
    place->tid = thread->tid;
    place->offset = (int64_t)(place->address - thread->registers[MS_REG_FS_BASE]);
    MS_TRY(take_variable(n, place, &tid));
    if (place->variable)
        return say(place, "%s TLS %s", thread_text(thread, who), place->variable);
    return say(place, "%s TLS %s", thread_text(thread, who), signed_text(place->offset, offset));
}

/* The range of roots that holds ADDRESS, or NULL. */
static const struct ms_root_range *range_of(const struct ms_scan *scan, uint64_t address)
{
    for (size_t i = 0; i < scan->ranges.count; i++)
        if (scan->ranges.items[i].start <= address && address < scan->ranges.items[i].end)
            return &scan->ranges.items[i];
    return NULL;
}

/* A word of a living thread's stack: by the local it is part of, else by the frame. */
static struct ms_error *name_in_frame(struct ms_names *n, struct ms_place *place, const struct ms_thread *thread)
{
    char who[48], offset[24];
    const struct ms_stack *stack = NULL;
    ms_auto_free char *frame = NULL;
    place->tid = thread->tid;
    place->offset = (int64_t)(place->address - thread->registers[MS_REG_RSP]);
    MS_TRY(stack_of(n, thread, &stack));
    struct ms_local_place where = stack ? ms_local_at(stack, place->address) : (struct ms_local_place){0};
    size_t count = stack ? stack->frames.count : 0;
    size_t index = where.local ? where.frame : stack ? ms_frame_at(stack, place->address) : 0;
    if (index < count)
        MS_TRY(take_frame(stack, index, place, &frame));
    thread_text(thread, who);
    if (where.local) {
        MS_TRY(take_local(n, &where, place));
        return say(place, "%s %s %s %s%s", who, frame, place->parameter ? "parameter" : "local", place->variable,
                   where.local->reg >= 0 ? ", saved register" : "");
    }
    return say(place, "%s stack sp%s%s%s", who, signed_text(place->offset, offset), frame ? ", " : "",
               frame ? frame : "");
}

/* Whose stack ADDRESS is on, also while that thread is on another, in a signal's handler. */
static const struct ms_thread *stack_owner(const struct ms_image *image, uint64_t address)
{
    const struct ms_region *region = ms_image_region(image, address);
    if (region && region->kind == MS_REGION_STACK)
        return thread_of(image, image->pid);
    for (size_t i = 0; region && i < image->thread_count; i++) {
        uint64_t pointer = image->threads[i].registers[MS_REG_FS_BASE];
        if (pointer >= region->start && pointer < region->end && address < pointer)
            return &image->threads[i];
    }
    return NULL;
}

static struct ms_error *name_stack(struct ms_names *n, struct ms_place *place, pid_t tid)
{
    char offset[24];
    const struct ms_thread *thread = tid ? thread_of(n->image, tid) : stack_owner(n->image, place->address);
    place->kind = MS_PLACE_STACK;
    if (thread)
        return name_in_frame(n, place, thread);
    /* Of a thread that has ended there is the descriptor alone, from its thread pointer on. */
    const struct ms_root_range *range = range_of(n->scan, place->address);
    place->kind = MS_PLACE_TLS;
    place->offset = range ? (int64_t)(place->address - range->start) : 0;
    return say(place, "ended thread's TLS %s", signed_text(place->offset, offset));
}

/* --- registers and the kernel ------------------------------------------------------------------ */

/* The vector register that byte AT of an XSAVE area belongs to; BUFFER is returned. */
static const char *vector_text(unsigned at, char buffer[32])
{
    if (at >= XSAVE_ST && at < XSAVE_XMM)
        snprintf(buffer, 32, "st%u", (at - XSAVE_ST) / XSAVE_REGISTER);
    else if (at >= XSAVE_XMM && at < XSAVE_LEGACY_END)
        snprintf(buffer, 32, "xmm%u", (at - XSAVE_XMM) / XSAVE_REGISTER);
    else if (at >= XSAVE_YMM && at < XSAVE_YMM_END)
        snprintf(buffer, 32, "ymm%u, upper half", (at - XSAVE_YMM) / XSAVE_REGISTER);
    else /* where the rest lies differs between processors */
        snprintf(buffer, 32, "xsave+0x%x", at);
    return buffer;
}

static struct ms_error *name_register(struct ms_names *n, struct ms_place *place,
                                      const struct ms_root *root)
{
    char who[48], vector[32];
    const struct ms_thread *thread = thread_of(n->image, root->tid);
    place->kind = MS_PLACE_REGISTER;
    place->tid = root->tid;
    place->address = 0;
    if (root->address >= MS_REGISTERS)
        place->offset = (int64_t)(root->address - MS_REGISTERS) * 8;
    const char *name = root->address < MS_REGISTERS ? ms_register_names[root->address]
                                                    : vector_text((unsigned)place->offset, vector);
    if (!thread)
        return say(place, "thread %d register %s", (int)root->tid, name);
    thread_text(thread, who);
    struct ms_local_place where = {0};
    const struct ms_stack *stack = NULL;
    ms_auto_free char *frame = NULL;
    if (root->address < MS_REGISTERS)
        MS_TRY(stack_of(n, thread, &stack));
    if (stack)
        where = ms_local_in_register(stack, (unsigned)root->address);
    if (!where.local)
        return say(place, "%s register %s", who, name);
    MS_TRY(take_frame(stack, where.frame, place, &frame));
    MS_TRY(take_local(n, &where, place));
    return say(place, "%s register %s, %s %s %s", who, name, frame, place->parameter ? "parameter" : "local",
               place->variable);
}

static struct ms_error *name_kernel(struct ms_names *n, struct ms_place *place, const struct ms_root *root)
{
    place->kind = MS_PLACE_KERNEL;
    place->address = 0;
    bool known = root->address < n->image->kernel_pointers.count;
    return say(place, "kernel: %s",
               known ? n->image->kernel_pointers.items[root->address].source : "unknown");
}

/* Pointers that are exact: what they are was said where they were found. */
static struct ms_error *name_exact(struct ms_names *n, struct ms_place *place, const struct ms_root *root)
{
    const struct ms_heap *heap = &n->scan->heap;
    const char *what = "dtv";
    for (size_t i = 0; i < heap->exact_roots.count; i++) {
        const struct ms_exact_root *e = &heap->exact_roots.items[i];
        const struct ms_segment *s = e->address == root->address ? ms_heap_segment(heap, e->value) : NULL;
        if (s && ms_address_granule(heap, s, e->value) == root->target / 2) {
            what = e->what;
            break;
        }
    }
    place->kind = MS_PLACE_DTV;
    if (strcmp(what, "stack") == 0)
        return say(place, "a thread's stack pointer");
    const struct ms_thread *thread = root->address ? tls_owner(n, root->address) : NULL;
    char who[48];
    if (!thread)
        return say(place, "%s", what);
    place->tid = thread->tid;
    return say(place, "%s %s", thread_text(thread, who), what);
}

/* --- Go ---------------------------------------------------------------------------------------- */

/* The frame of the goroutine that holds the word at ADDRESS: its locals, and the arguments of those it calls. */
static bool find_frame(const struct ms_go_goroutines *goroutines, const struct ms_go_goroutine *goroutine,
                       uint64_t address, struct ms_go_unwinder *unwinder)
{
    for (bool any = ms_go_unwind(goroutines, goroutine, unwinder); any; any = ms_go_unwind_next(unwinder))
        if (address >= unwinder->frame.sp && address < unwinder->frame.fp)
            return true;
    return false;
}

/* A local of which only the first word is known, and that word is at ADDRESS. */
static struct ms_local_place local_with_value(const struct ms_names *n, const struct ms_stack *stack, uint64_t address)
{
    uint64_t word;
    if (!ms_image_read_word(n->image, address, &word) || !word)
        return (struct ms_local_place){0};
    for (size_t i = 0; i < stack->frames.count; i++)
        for (size_t k = 0; k < stack->frames.items[i].locals.count; k++) {
            const struct ms_local *local = &stack->frames.items[i].locals.items[k];
            if (!local->address && local->valued && local->value == word)
                return (struct ms_local_place){local, i, 0};
        }
    return (struct ms_local_place){0};
}

/* Sets the variable of PLACE, which is at ADDRESS of a goroutine's FRAME, when debug information tells it. */
static struct ms_error *take_go_local(struct ms_names *n, const struct ms_go_frame *frame, uint64_t address,
                                      struct ms_place *place)
{
    struct ms_stack stack = {0};
    if (!n->types)
        return NULL;
    struct ms_error *error = ms_add_frame(n->types, frame->call, frame->sp, frame->fp, &stack);
    struct ms_local_place where = ms_local_at(&stack, address);
    if (!where.local)
        where = local_with_value(n, &stack, address);
    if (!error && where.local)
        error = take_local(n, &where, place);
    ms_stack_free(&stack);
    return error;
}

static struct ms_error *name_goroutine(struct ms_names *n, struct ms_place *place, const struct ms_root *root)
{
    const struct ms_go_goroutines *goroutines = n->scan->go->goroutines;
    place->kind = MS_PLACE_GOROUTINE;
    if ((size_t)root->tid >= goroutines->list.count)
        return say(place, "a goroutine");
    const struct ms_go_goroutine *goroutine = &goroutines->list.items[root->tid];
    struct ms_go_unwinder unwinder;
    struct ms_go_call call = {.function = NULL};
    char offset[24];
    place->goroutine = goroutine->id;
    place->tid = goroutine->tid;
    if ( !find_frame(goroutines, goroutine, root->address, &unwinder))
        return say(place, "goroutine %" PRIu64 " (%s)", goroutine->id, goroutine->state);
    place->frame = (int)unwinder.index;
    place->offset = (int64_t)(root->address - unwinder.frame.sp);
    if (ms_go_calls_at(goroutines->functions, unwinder.frame.call, &call, 1) && call.function)
        place->function = call.function;
    MS_TRY(take_go_local(n, &unwinder.frame, root->address, place));
    if (place->variable)
        return say(place, "goroutine %" PRIu64 " frame %d %s %s %s", goroutine->id, place->frame,
                   call.function ? call.function : "?", place->parameter ? "parameter" : "local", place->variable);
    return say(place, "goroutine %" PRIu64 " frame %d %s stack%s", goroutine->id, place->frame,
               call.function ? call.function : "?", signed_text(place->offset, offset));
}

/* What Go's runtime runs on itself, in each thread. */
static struct ms_error *name_scheduler(struct ms_names *n, struct ms_place *place, pid_t tid)
{
    const struct ms_thread *thread = tid ? thread_of(n->image, tid) : NULL;
    char who[48];
    place->kind = MS_PLACE_STACK;
    place->tid = tid;
    if (!thread)
        return say(place, "a scheduler's stack at 0x%" PRIx64, place->address);
    return say(place, "%s scheduler's stack at 0x%" PRIx64, thread_text(thread, who), place->address);
}

static struct ms_error *name_runtime(struct ms_place *place, const struct ms_root *root)
{
    const bool finalizer = root->kind == MS_ROOT_FINALIZER;
    place->kind = finalizer ? MS_PLACE_FINALIZER : MS_PLACE_RUNTIME;
    return finalizer ? say(place, "a finalizer or cleanup at 0x%" PRIx64, root->address)
                     : say(place, "Go's runtime at 0x%" PRIx64, root->address);
}

/* --- maps -------------------------------------------------------------------------------------- */

/* Where the module or file that REGION is part of begins: .bss lies behind its file's maps. */
static uint64_t file_start(const struct ms_image *image, const struct ms_region *region)
{
    const struct ms_region *r = region;
    while (r > image->regions && r->kind == MS_REGION_ANON && r[-1].end == r->start)
        r--;
    uint64_t inode = r->inode, start = r->start;
    for (; r > image->regions; r--) {
        if (r->inode == inode && r->kind == MS_REGION_FILE)
            start = r->start;
        if (r->inode == inode && r->offset == 0)
            break;
        if (r->inode != inode && r->inode != 0)
            break;
    }
    return start;
}

static struct ms_error *name_in_map(struct ms_place *place, const struct ms_region *region)
{
    char text[24];
    place->offset = (int64_t)(place->address - region->start);
    if (region->kind == MS_REGION_SHARED) {
        place->offset += (int64_t)region->offset;
        return say(place, "shared map %s%s", *region->path ? region->path : "without a name",
                   signed_text(place->offset, text));
    }
    if (region->kind == MS_REGION_ANON && !*region->path)
        return say(place, "anonymous map 0x%" PRIx64 "%s", region->start, signed_text(place->offset, text));
    return say(place, "%s 0x%" PRIx64 "%s", *region->path ? region->path : "map", region->start,
               signed_text(place->offset, text));
}

/* Is what the variable is called its package, which is what Go has for a unit, and a name there? */
static bool is_qualified(const struct ms_place *place)
{
    const size_t length = place->unit ? strlen(place->unit) : 0;
    const char *slash = memrchr(place->variable, '/', strcspn(place->variable, "[("));
    const char *name = slash ? slash + 1 : place->variable;
    return length && !strncmp(name, place->unit, length) && name[length] == '.';
}

/* "global redis.c:server.db", "global net/http.bufioReaderPool.local", "static redis.c:foo()::table[3]". */
static struct ms_error *name_variable(struct ms_place *place)
{
    const char *where = place->unit ? place->unit : place->module ? place->module : "?";
    const char *function = place->function;
    if (!function && is_qualified(place))
        return say(place, "global %s", place->variable);
    if (!function)
        return say(place, "global %s:%s", where, place->variable);
    return say(place, "static %s:%s%s::%s", where, function, strchr(function, '(') ? "" : "()", place->variable);
}

static struct ms_error *name_in_file(struct ms_names *n, struct ms_place *place,
                                     const struct ms_region *region)
{
    uint64_t offset = 0;
    char text[24];
    pid_t tid;
    if (n->symbols) {
        place->module = ms_symbols_module(n->symbols, place->address);
        place->symbol = ms_symbols_name(n->symbols, place->address, &offset);
    }
    place->offset = (int64_t)offset;
    MS_TRY(take_variable(n, place, &tid));
    if (place->variable)
        return name_variable(place);
    if (place->symbol) {
        return say(place, "%s:%s%s", place->module, place->symbol,
                   offset ? signed_text(place->offset, text) : "");
    }
    if (place->module) {
        place->offset = (int64_t)(place->address - file_start(n->image, region));
        return say(place, "%s%s", place->module, signed_text(place->offset, text));
    }
    /* An anonymous map may follow a module's .bss without a gap. */
    if (region->kind != MS_REGION_FILE) {
        place->kind = place->kind == MS_PLACE_DATA ? MS_PLACE_ANON : place->kind;
        return name_in_map(place, region);
    }
    if (place->kind == MS_PLACE_DATA)
        place->kind = MS_PLACE_FILE;
    place->offset = (int64_t)(place->address - region->start + region->offset);
    return say(place, "file map %s%s", *region->path ? region->path : "without a name",
               signed_text(place->offset, text));
}

static struct ms_error *name_word(struct ms_names *n, struct ms_place *place, enum ms_root_kind kind,
                                  pid_t tid)
{
    static const enum ms_place_kind kinds[MS_ROOT_KINDS] = {
        [MS_ROOT_DATA] = MS_PLACE_DATA,     [MS_ROOT_STACK] = MS_PLACE_STACK, [MS_ROOT_ANON] = MS_PLACE_ANON,
        [MS_ROOT_SHARED] = MS_PLACE_SHARED,
    };
    const struct ms_region *region = ms_image_region(n->image, place->address);
    if (kind == MS_ROOT_STACK || kind == MS_ROOT_ANON) {
        const struct ms_thread *thread = tls_owner(n, place->address);
        if (thread)
            return name_tls(n, thread, place);
    }
    place->kind = kinds[kind];
    if (kind == MS_ROOT_STACK && n->scan->go)
        return name_scheduler(n, place, tid);
    if (kind == MS_ROOT_STACK)
        return name_stack(n, place, tid);
    if (!region)
        return say(place, "0x%" PRIx64, place->address);
    return kind == MS_ROOT_DATA ? name_in_file(n, place, region) : name_in_map(place, region);
}

/* --- for others -------------------------------------------------------------------------------- */

ms_result ms_names_new(const struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                       struct ms_types *types, struct ms_names **names)
{
    struct ms_names *n = *names = calloc(1, sizeof *n);
    if (!n)
        return ms_error_nomem("names");
    *n = (struct ms_names){.scan = scan, .image = image, .symbols = symbols, .types = types};
    n->stacks = calloc(image->thread_count + 1, sizeof(struct ms_stack *));
    if (n->stacks)
        return NULL;
    free(n);
    *names = NULL;
    return ms_error_nomem("names");
}

void ms_names_free(struct ms_names *names)
{
    if (!names)
        return;
    for (size_t i = 0; i < names->image->thread_count; i++) {
        if (names->stacks[i])
            ms_stack_free(names->stacks[i]);
        free(names->stacks[i]);
    }
    free(names->stacks);
    free(names);
}

ms_result ms_name_root(struct ms_names *names, const struct ms_root *root, struct ms_place *place)
{
    *place = (struct ms_place){.address = root->address, .frame = -1};
    switch ((enum ms_root_kind)root->kind) {
    case MS_ROOT_REGISTER:
        return name_register(names, place, root);
    case MS_ROOT_KERNEL:
        return name_kernel(names, place, root);
    case MS_ROOT_DTV:
        return name_exact(names, place, root);
    case MS_ROOT_GOROUTINE:
        return name_goroutine(names, place, root);
    case MS_ROOT_FINALIZER:
    case MS_ROOT_RUNTIME:
        return name_runtime(place, root);
    default:
        return name_word(names, place, (enum ms_root_kind)root->kind, root->tid);
    }
}

ms_result ms_name_address(struct ms_names *names, uint64_t address, struct ms_place *place)
{
    *place = (struct ms_place){.address = address, .kind = MS_PLACE_OTHER, .frame = -1};
    const struct ms_root_range *range = range_of(names->scan, address);
    if (range)
        return name_word(names, place, range->kind, range->tid);
    const struct ms_region *region = ms_image_region(names->image, address);
    if (!region)
        return say(place, "0x%" PRIx64, address);
    if (region->kind == MS_REGION_FILE || region->kind == MS_REGION_VDSO)
        return name_in_file(names, place, region);
    return name_in_map(place, region);
}

void ms_place_free(struct ms_place *place)
{
    free(place->variable);
    free(place->text);
    place->variable = place->text = NULL;
}
