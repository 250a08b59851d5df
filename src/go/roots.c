/* Where Go's collector starts from: markroot() of src/runtime/mgcmark.go. */
#include <stdlib.h>
#include <string.h>

#include "heap.h"
#include "layout.h"

#define PIECE           (64u << 10)
#define ROOTS_DATA_MOST (1ull << 36) /* bytes of data of a module that are believed */
#define BLOCKS_MOST     (1u << 16)   /* of queued finalizers or cleanups, of some 100 each */
#define LIST_MOST       (1u << 20)   /* blocks of a list, goroutines, threads */
#define FINALIZER_WORDS 5u           /* struct finalizer: fn, arg, nret, fint, ot */

struct layout {
    struct ms_go_place g_low, g_high, m_g0, m_current, m_thread, m_next;
    struct ms_go_place p_cache, cache_tiny;
    struct ms_go_place final_next, final_count, final_list, finalizer;
    struct ms_go_place cleanup_all, cleanup_next, cleanup_count, cleanup_list, cleanup;
};
#define FIELD(type, path, into)    MS_GO_FIELD(struct layout, "runtime." type, path, into)
#define SINCE(type, path, into, n) MS_GO_FIELD_IN(struct layout, "runtime." type, path, into, n, 0)
static const struct ms_go_field fields[] = {
    FIELD("g", "stack.lo", g_low),
    FIELD("g", "stack.hi", g_high),
    FIELD("m", "g0", m_g0),
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
MS_GO_EXPORT_FIELDS(roots, fields)

struct reader {
    struct ms_go_builder *b;
    struct layout layout;
    uint8_t *piece; /* PIECE bytes; owned */
};

ms_result ms_go_add_root(struct ms_go_builder *b, enum ms_root_kind kind, pid_t tid, uint64_t address,
                         uint64_t word)
{
    uint64_t target = word ? ms_go_target(&b->heap->scan->heap, word) : MS_NOTHING;
    if (target == MS_NOTHING)
        return NULL;
    struct ms_root *root = ms_vector_add(&b->roots);
    if (!root)
        return ms_error_nomem("the roots");
    *root =
        (struct ms_root){.address = address, .target = target, .tid = tid, .kind = (uint8_t)kind, .exact = true};
    if (kind == MS_ROOT_DATA)
        root->rank = (uint8_t)ms_go_variable_rank(b->go, address);
    return NULL;
}

/* COUNT words at ADDRESS; those of them that MASK says, a bit each, or all when that is NULL. */
static struct ms_error *add_words(struct reader *r, enum ms_root_kind kind, pid_t tid, uint64_t address,
                                  uint64_t count, const uint8_t *mask)
{
    const uint64_t *words = (const uint64_t *)(const void *)r->piece;
    for (uint64_t i = 0; i < count; i++) {
        if (i % (PIECE / 8) == 0) {
            uint64_t left = (count - i) * 8;
            if (!ms_image_read(r->b->image, address + i * 8, r->piece, left < PIECE ? left : PIECE)) {
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
    uint64_t block = global_word(r, "runtime.allfin"), left = BLOCKS_MOST;
    for (; block && left; left--, block = get(r, block, l->final_next)) {
        uint64_t count = get(r, block, l->final_count), most = l->final_list.size / l->finalizer.size;
        for (uint64_t i = 0; i < count && i < most; i++)
            MS_TRY(add_words(r, MS_ROOT_FINALIZER, 0, block + l->final_list.offset + i * l->finalizer.size,
                             FINALIZER_WORDS, mask));
    }
    return NULL;
}

static struct ms_error *add_queued_cleanups(struct reader *r)
{
    const struct layout *l = &r->layout;
    uint64_t queue = ms_go_global(r->b->go, "runtime.gcCleanups"), left = BLOCKS_MOST;
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
        MS_TRY(add_words(r, special->kind == MS_GO_WEAK ? MS_ROOT_RUNTIME : MS_ROOT_FINALIZER, 0, special->address,
                         special->words, NULL));
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
        if (!ms_image_read_word(r->b->image, list.data + i * 8, &p) || !(cache = get(r, p, r->layout.p_cache)))
            continue;
        MS_TRY(ms_go_add_root(r->b, MS_ROOT_RUNTIME, 0, cache + r->layout.cache_tiny.offset,
                              get(r, cache, r->layout.cache_tiny)));
    }
    return NULL;
}

/* --- goroutines and threads -------------------------------------------------------------------- */

/* A thread of the runtime's, and the stack that its scheduler runs on. */
struct machine {
    pid_t tid;
    uint64_t low, high;
    bool idle; /* it sleeps, and what it has there and in its registers is left over */
};

/*
 * Takes the words of a stack. Threads that are not idle may be anywhere in the runtime, away from the
 * collector's safe points: what they have counts, all of it.
 */
struct taker {
    MS_VECTOR(struct machine) machines;
    struct reader *r;
    enum ms_root_kind kind;
    pid_t tid;
    struct ms_error *error; /* the first one */
};

/*
 * In a system call with no goroutine, or in one that its goroutine makes itself: what that needs is in its
 * frames. C code that a goroutine called is on the scheduler's stack.
 */
static bool has_nothing(const struct reader *r, const struct ms_thread *thread, uint64_t current)
{
    const struct ms_go_goroutines *all = r->b->heap->goroutines;
    const uint64_t sp = thread->registers[MS_REG_RSP];
    if (!thread->registers_known || (int64_t)thread->registers[MS_REG_ORIG_RAX] < 0)
        return false;
    for (size_t i = 0; current && i < all->list.count; i++) {
        const struct ms_go_goroutine *goroutine = &all->list.items[i];
        if (goroutine->address == current)
            return goroutine->status == MS_GO_SYSCALL && sp >= goroutine->stack.start && sp < goroutine->stack.end;
    }
    return !current;
}

static struct ms_error *find_machines(struct taker *t)
{
    const struct reader *r = t->r;
    const struct layout *l = &r->layout;
    uint64_t m = global_word(r, "runtime.allm");
    for (uint64_t left = LIST_MOST; m && left; left--, m = get(r, m, l->m_next)) {
        const uint64_t tid = get(r, m, l->m_thread), g = get(r, m, l->m_g0);
        const struct ms_thread *thread = r->b->image->threads, *end = thread + r->b->image->thread_count;
        while (thread < end && (uint64_t)thread->tid != tid)
            thread++;
        if (thread == end)
            continue;
        if (t->machines.count == r->b->image->thread_count)
            return NULL;
        struct machine *machine = ms_vector_add(&t->machines);
        if (!machine)
            return ms_error_nomem("the threads");
        *machine = (struct machine){thread->tid, get(r, g, l->g_low), get(r, g, l->g_high),
                                    has_nothing(r, thread, get(r, m, l->m_current))};
    }
    return NULL;
}

/* The one whose stack ADDRESS is on, or NULL. */
static const struct machine *machine_at(const struct taker *t, uint64_t address)
{
    for (size_t i = 0; i < t->machines.count; i++)
        if (address >= t->machines.items[i].low && address < t->machines.items[i].high)
            return &t->machines.items[i];
    return NULL;
}

static bool is_idle(const struct taker *t, pid_t tid)
{
    for (size_t i = 0; i < t->machines.count; i++)
        if (t->machines.items[i].tid == tid)
            return t->machines.items[i].idle;
    return false;
}

/* A register that holds VALUE: which, as the kind of root wants it, and whose; MS_NOTHING: none that counts. */
static uint64_t register_with(const struct taker *t, uint64_t value, pid_t *tid)
{
    const struct ms_image *image = t->r->b->image;
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct ms_thread *thread = &image->threads[i];
        *tid = thread->tid;
        if (is_idle(t, thread->tid))
            continue;
        for (uint64_t k = 0; k < MS_REGISTERS; k++)
            if (thread->registers[k] == value)
                return k;
        for (size_t k = 0; k + 8 <= thread->xstate_size; k += 8)
            if (!memcmp(thread->xstate + k, &value, sizeof value))
                return MS_REGISTERS + k / 8;
    }
    return MS_NOTHING;
}

static void take_word(void *context, const struct ms_go_word *word)
{
    struct taker *t = context;
    enum ms_root_kind kind = t->kind;
    uint64_t address = word->address;
    pid_t tid = t->tid;
    if (t->error || ms_go_target(&t->r->b->heap->scan->heap, word->value) == MS_NOTHING)
        return;
    if (!address) {
        kind = MS_ROOT_REGISTER;
        address = register_with(t, word->value, &tid);
    } else if (kind == MS_ROOT_STACK) {
        const struct machine *machine = machine_at(t, address);
        if (machine && machine->idle)
            return;
        tid = machine ? machine->tid : 0;
    }
    if (address == MS_NOTHING)
        return;
    t->error = ms_go_add_root(t->r->b, kind, tid, address, word->value);
}

static struct ms_error *take_stacks(struct taker *t)
{
    const struct ms_go_goroutines *goroutines = t->r->b->heap->goroutines;
    MS_TRY(find_machines(t));
    for (size_t i = 0; i < goroutines->list.count && !t->error; i++) {
        t->tid = (pid_t)i;
        MS_TRY(ms_go_stack_words(goroutines, &goroutines->list.items[i], take_word, t));
    }
    t->kind = MS_ROOT_STACK;
    t->tid = 0;
    return t->error ? t->error : ms_go_thread_words(goroutines, take_word, t);
}

static struct ms_error *add_stacks(struct reader *r)
{
    struct taker taker = {.r = r, .kind = MS_ROOT_GOROUTINE};
    struct ms_error *error = take_stacks(&taker);
    ms_vector_free(&taker.machines);
    return error ? error : taker.error;
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
    MS_TRY(add_stacks(r));
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
