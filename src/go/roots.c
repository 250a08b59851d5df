/* Where Go's collector starts from: markroot() of src/runtime/mgcmark.go. */
#include <stdlib.h>
#include <string.h>

#include "heap.h"

#define PIECE           (64u << 10)
#define ROOTS_DATA_MOST (1ull << 36) /* bytes of data of a module that are believed */
#define LIST_MOST       (1u << 24)   /* blocks of a list, goroutines, threads */
#define FINALIZER_WORDS 5u  /* struct finalizer of src/runtime/mfinal.go: fn, arg, nret, fint, ot  \
                             */
#define STATUS_SCAN 0x1000u /* _Gscan, src/runtime/runtime2.go */

/* Goroutines in these states have no stack that counts; _Gdeadextra since 1.26. */
enum { STATUS_IDLE = 0, STATUS_RUNNING = 2, STATUS_DEAD = 6, STATUS_DEAD_EXTRA = 11 };

struct layout {
    struct ms_go_place g_low, g_high, g_sp, g_context, g_status, g_syscall_sp, g_m, g_id;
    struct ms_go_place m_g0, m_signal, m_current, m_thread, m_next;
    struct ms_go_place p_cache, cache_tiny;
    struct ms_go_place final_next, final_count, final_list, finalizer;
    struct ms_go_place cleanup_all, cleanup_next, cleanup_count, cleanup_list, cleanup;
};
#define FIELD(type, path, into)    MS_GO_FIELD(struct layout, "runtime." type, path, into)
#define SINCE(type, path, into, n) MS_GO_FIELD_IN(struct layout, "runtime." type, path, into, n, 0)
static const struct ms_go_field fields[] = {
    FIELD("g", "stack.lo", g_low),
    FIELD("g", "stack.hi", g_high),
    FIELD("g", "sched.sp", g_sp),
    FIELD("g", "sched.ctxt", g_context),
    FIELD("g", "atomicstatus", g_status),
    FIELD("g", "syscallsp", g_syscall_sp),
    FIELD("g", "m", g_m),
    FIELD("g", "goid", g_id),
    FIELD("m", "g0", m_g0),
    FIELD("m", "gsignal", m_signal),
    FIELD("m", "curg", m_current),
    FIELD("m", "procid", m_thread),
    FIELD("m", "alllink", m_next),
    FIELD("p", "mcache", p_cache),
    FIELD("mcache", "tiny", cache_tiny),
    FIELD("finblock|runtime.finBlock", "alllink", final_next),
    FIELD("finblock|runtime.finBlock", "cnt", final_count),
    FIELD("finblock|runtime.finBlock", "fin", final_list),
    FIELD("finalizer", "", finalizer),
    SINCE("cleanupQueue", "all", cleanup_all, 25),
    SINCE("cleanupBlock", "cleanupBlockHeader.alllink", cleanup_next, 25),
    SINCE("cleanupBlock", "cleanupBlockHeader.n", cleanup_count, 25),
    SINCE("cleanupBlock", "cleanups", cleanup_list, 25),
    SINCE("cleanupFn", "", cleanup, 26),
};

struct reader {
    struct ms_go_builder *b;
    struct layout layout;
    uint8_t *piece; /* PIECE bytes; owned */
};

ms_result ms_go_add_root(struct ms_go_builder *b, enum ms_root_kind kind, pid_t tid,
                         uint64_t address, uint64_t word)
{
    uint64_t target = word ? ms_go_target(&b->heap->scan->heap, word) : MS_NOTHING;
    if (target == MS_NOTHING)
        return NULL;
    struct ms_root *root = ms_vector_add(&b->roots);
    if (!root)
        return ms_error_nomem("the roots");
    *root = (struct ms_root){
        .address = address, .target = target, .tid = tid, .kind = (uint8_t)kind, .exact = true};
    return NULL;
}

/* COUNT words at ADDRESS; those of them that MASK says, a bit each, or all when that is NULL. */
static struct ms_error *add_words(struct reader *r, enum ms_root_kind kind, pid_t tid,
                                  uint64_t address, uint64_t count, const uint8_t *mask)
{
    const uint64_t *words = (const uint64_t *)(const void *)r->piece;
    for (uint64_t i = 0; i < count; i++) {
        if (i % (PIECE / 8) == 0) {
            uint64_t left = (count - i) * 8;
            if (!ms_image_read(r->b->image, address + i * 8, r->piece,
                               left < PIECE ? left : PIECE)) {
                r->b->unreadable = true;
                return NULL;
            }
        }
        if (!mask || mask[i / 8] >> i % 8 & 1)
            MS_TRY(ms_go_add_root(r->b, kind, tid, address + i * 8, words[i % (PIECE / 8)]));
    }
    return NULL;
}

/* --- variables ---------------------------------------------------------------------------------
 */

static struct ms_error *add_variables(struct reader *r, struct ms_go_range range, uint64_t mask_at)
{
    const uint64_t count = (range.end - range.start) / 8;
    if (range.end <= range.start || range.end - range.start > ROOTS_DATA_MOST)
        return NULL;
    ms_auto_free uint8_t *mask = malloc(count / 8 + 1);
    if (!mask)
        return ms_error_nomem("the roots");
    bool known = ms_image_read(r->b->image, mask_at, mask, (count + 7) / 8);
    return add_words(r, MS_ROOT_DATA, 0, range.start, count, known ? mask : NULL);
}

/* --- what the runtime keeps outside the heap ---------------------------------------------------
 */

static uint64_t get(const struct reader *r, uint64_t address, struct ms_go_place place)
{
    uint64_t value;
    return ms_go_get(r->b->go, address, place, &value) ? value : 0;
}

static uint64_t global_word(const struct reader *r, const char *name)
{
    uint64_t address = ms_go_global(r->b->go, name), value = 0;
    return address && ms_image_read_word(r->b->image, address, &value) ? value : 0;
}

/* Finalizers that are to run: the objects that they are for have died, and live until then. */
static struct ms_error *add_queued_finalizers(struct reader *r)
{
    const struct layout *l = &r->layout;
    static const uint8_t mask[] = {0x1b}; /* finptrmask: all words but nret */
    uint64_t block = global_word(r, "runtime.allfin"), left = LIST_MOST;
    for (; block && left; left--, block = get(r, block, l->final_next)) {
        uint64_t count = get(r, block, l->final_count),
                 most = l->final_list.size / l->finalizer.size;
        for (uint64_t i = 0; i < count && i < most; i++)
            MS_TRY(add_words(r, MS_ROOT_FINALIZER, 0,
                             block + l->final_list.offset + i * l->finalizer.size, FINALIZER_WORDS,
                             mask));
    }
    return NULL;
}

static struct ms_error *add_queued_cleanups(struct reader *r)
{
    const struct layout *l = &r->layout;
    uint64_t queue = ms_go_global(r->b->go, "runtime.gcCleanups"), left = LIST_MOST;
    const uint64_t size = l->cleanup.size ? l->cleanup.size : 8;
    if (!queue || !l->cleanup_all.size)
        return NULL;
    uint64_t block = get(r, queue, l->cleanup_all);
    for (; block && left; left--, block = get(r, block, l->cleanup_next)) {
        uint64_t count = get(r, block, l->cleanup_count), most = l->cleanup_list.size / size;
        MS_TRY(add_words(r, MS_ROOT_FINALIZER, 0, block + l->cleanup_list.offset,
                         (count < most ? count : most) * size / 8, NULL));
    }
    return NULL;
}

/* The functions that are called when an object has died; weak handles are kept by their special
 * too. */
static struct ms_error *add_specials(struct reader *r)
{
    for (size_t i = 0; i < r->b->specials.count; i++) {
        const struct ms_go_special *special = &r->b->specials.items[i];
        MS_TRY(add_words(r, special->kind == MS_GO_WEAK ? MS_ROOT_RUNTIME : MS_ROOT_FINALIZER, 0,
                         special->address, special->words, NULL));
    }
    return NULL;
}

/* The block that each P fills with tiny objects: gcMarkTinyAllocs() marks it. */
static struct ms_error *add_tiny_blocks(struct reader *r)
{
    uint64_t all = ms_go_global(r->b->go, "runtime.allp");
    struct ms_go_slice list;
    if (!all || !ms_go_get_slice(r->b->go, all, (struct ms_go_place){0, 24}, &list))
        return NULL;
    for (uint64_t i = 0; i < list.length && i < LIST_MOST; i++) {
        uint64_t p, cache;
        if (!ms_image_read_word(r->b->image, list.data + i * 8, &p) ||
            !(cache = get(r, p, r->layout.p_cache)))
            continue;
        MS_TRY(ms_go_add_root(r->b, MS_ROOT_RUNTIME, 0, cache + r->layout.cache_tiny.offset,
                              get(r, cache, r->layout.cache_tiny)));
    }
    return NULL;
}

/* --- goroutines and threads --------------------------------------------------------------------
 */

static const struct ms_thread *thread_of(const struct reader *r, uint64_t m)
{
    const uint64_t tid = m ? get(r, m, r->layout.m_thread) : 0;
    for (size_t i = 0; tid && i < r->b->image->thread_count; i++)
        if ((uint64_t)r->b->image->threads[i].tid == tid)
            return &r->b->image->threads[i];
    return NULL;
}

/* Does the thread wait in a system call? What its registers hold is then on its stack too. */
static bool waits(const struct ms_thread *thread)
{
    return (int64_t)thread->registers[MS_REG_ORIG_RAX] >= 0;
}

static struct ms_error *add_stack(struct reader *r, uint64_t g, pid_t index, enum ms_root_kind kind,
                                  uint64_t sp)
{
    const uint64_t low = get(r, g, r->layout.g_low), high = get(r, g, r->layout.g_high);
    if (low >= high || high - low > ROOTS_DATA_MOST)
        return NULL;
    sp = sp > low && sp <= high ? sp & ~7ull : low;
    return add_words(r, kind, index, sp, (high - sp) / 8, NULL);
}

static struct ms_error *add_goroutine(struct reader *r, uint64_t g, pid_t index)
{
    const struct layout *l = &r->layout;
    const uint64_t status = get(r, g, l->g_status) & ~(uint64_t)STATUS_SCAN;
    if (status == STATUS_IDLE || status == STATUS_DEAD || status == STATUS_DEAD_EXTRA)
        return NULL;
    uint64_t sp = get(r, g, l->g_syscall_sp);
    if (!sp)
        sp = get(r, g, l->g_sp);
    if (status == STATUS_RUNNING) {
        const struct ms_thread *thread = thread_of(r, get(r, g, l->g_m));
        const uint64_t there = thread ? thread->registers[MS_REG_RSP] : 0;
        if (there > get(r, g, l->g_low) && there <= get(r, g, l->g_high))
            sp = there;
    }
    MS_TRY(ms_go_add_root(r->b, MS_ROOT_GOROUTINE, index, g + l->g_context.offset,
                          get(r, g, l->g_context)));
    return add_stack(r, g, index, MS_ROOT_GOROUTINE, sp);
}

static struct ms_error *add_goroutines(struct reader *r)
{
    uint64_t all = ms_go_global(r->b->go, "runtime.allgs");
    struct ms_go_slice list;
    if (!all || !ms_go_get_slice(r->b->go, all, (struct ms_go_place){0, 24}, &list)) {
        r->b->unreadable = true;
        return NULL;
    }
    for (uint64_t i = 0; i < list.length && i < LIST_MOST; i++) {
        uint64_t g;
        struct ms_go_routine *slot = ms_vector_add(&r->b->heap->goroutines);
        if (!slot)
            return ms_error_nomem("the goroutines");
        if (!ms_image_read_word(r->b->image, list.data + i * 8, &g))
            continue;
        *slot = (struct ms_go_routine){g, get(r, g, r->layout.g_id)};
        MS_TRY(add_goroutine(r, g, (pid_t)i));
    }
    return NULL;
}

/*
 * A thread that is not at one of the collector's safe points: it is in the runtime, or about to
 * store a pointer that only its registers have. One that sleeps on its own stack, without a
 * goroutine, has none.
 */
static struct ms_error *add_thread(struct reader *r, uint64_t m)
{
    const struct layout *l = &r->layout;
    const struct ms_thread *thread = thread_of(r, m);
    if (!thread || !thread->registers_known || (waits(thread) && !get(r, m, l->m_current)))
        return NULL;
    for (unsigned i = 0; i < MS_REGISTERS && !waits(thread); i++)
        MS_TRY(ms_go_add_root(r->b, MS_ROOT_REGISTER, thread->tid, i, thread->registers[i]));
    for (size_t i = 0; i + 8 <= thread->xstate_size && !waits(thread); i += 8) {
        uint64_t word;
        memcpy(&word, thread->xstate + i, sizeof word);
        MS_TRY(ms_go_add_root(r->b, MS_ROOT_REGISTER, thread->tid, MS_REGISTERS + i / 8, word));
    }
    const uint64_t sp = thread->registers[MS_REG_RSP],
                   stacks[] = {get(r, m, l->m_g0), get(r, m, l->m_signal)};
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++)
        if (stacks[i] && sp > get(r, stacks[i], l->g_low) && sp <= get(r, stacks[i], l->g_high))
            MS_TRY(add_stack(r, stacks[i], thread->tid, MS_ROOT_STACK, sp));
    return NULL;
}

static struct ms_error *add_threads(struct reader *r)
{
    uint64_t m = global_word(r, "runtime.allm");
    for (uint64_t left = LIST_MOST; m && left; left--, m = get(r, m, r->layout.m_next))
        MS_TRY(add_thread(r, m));
    return NULL;
}

static struct ms_error *add_all(struct reader *r)
{
    MS_TRY(ms_go_bind(r->b->go, fields, sizeof fields / sizeof *fields, &r->layout));
    r->piece = malloc(PIECE);
    if (!r->piece || !r->layout.finalizer.size)
        return ms_error_nomem("the roots");
    for (size_t i = 0; i < r->b->go->modules.count; i++) {
        const struct ms_go_module *module = &r->b->go->modules.items[i];
        MS_TRY(add_variables(r, module->data, module->gcdata));
        MS_TRY(add_variables(r, module->bss, module->gcbss));
    }
    MS_TRY(add_goroutines(r));
    MS_TRY(add_threads(r));
    MS_TRY(add_tiny_blocks(r));
    MS_TRY(add_queued_finalizers(r));
    MS_TRY(add_queued_cleanups(r));
    return add_specials(r);
}

ms_result ms_go_read_roots(struct ms_go_builder *b)
{
    struct reader r = {.b = b};
    struct ms_error *error = add_all(&r);
    free(r.piece);
    return error;
}
