/* Roots: which memory, registers and kernel objects a program's pointers start from. */
#include "scan.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define ALLOCATOR_FRAMES 1024u /* the frames of malloc() and what it calls take less, measured on 2.36 */
#define RED_ZONE 128u          /* System V ABI, x86-64: leaf functions may use it below rsp */
#define PTHREAD_TID 720u       /* struct pthread.tid, glibc 2.5 to 2.42, x86-64 */
#define KEEP_LIMIT (4u << 20)  /* module data of this size is kept in a lean image */

/* What threads have in a region. */
struct tenant {
    uint64_t lowest_sp;
    const struct ms_thread *thread; /* with the lowest stack pointer */
    bool has_sp, has_tcb;
    bool own_stack; /* a thread's thread pointer and stack pointer are both here: its pthread stack */
};

static size_t region_index(const struct ms_image *image, uint64_t address)
{
    const struct ms_region *r = address ? ms_image_region(image, address) : NULL;
    return r ? (size_t)(r - image->regions) : SIZE_MAX;
}

static struct tenant *find_tenants(const struct ms_image *image)
{
    struct tenant *tenants = calloc(image->region_count ? image->region_count : 1, sizeof *tenants);
    for (size_t i = 0; tenants && i < image->thread_count; i++) {
        const struct ms_thread *thread = &image->threads[i];
        uint64_t sp = thread->registers[MS_REG_RSP];
        size_t tcb_in = region_index(image, thread->registers[MS_REG_FS_BASE]);
        size_t sp_in = region_index(image, sp);
        if (tcb_in != SIZE_MAX)
            tenants[tcb_in].has_tcb = true;
        if (sp_in == SIZE_MAX)
            continue;
        struct tenant *t = &tenants[sp_in];
        if (!t->has_sp || sp < t->lowest_sp) {
            t->lowest_sp = sp;
            t->thread = thread;
        }
        t->has_sp = true;
        t->own_stack |= sp_in == tcb_in || image->regions[sp_in].kind == MS_REGION_STACK;
    }
    return tenants;
}

/* Does a thread wait for the lock of an arena? The lock is the first word of malloc_state. */
static bool waits_for_arena(const struct ms_heap *heap, const struct ms_thread *thread)
{
    for (size_t i = 0; i < heap->arenas.count; i++)
        if (heap->arenas.items[i].address == thread->registers[MS_REG_RDI])
            return true;
    return false;
}

/*
 * A thread that was stopped inside malloc or free may hold a block only by its
 * header, 16 bytes before it, in registers and in the allocator's frames. One
 * that waits in the kernel is not in there, but for the calls that malloc makes.
 */
static bool is_in_allocator(const struct ms_heap *heap, const struct ms_thread *thread)
{
    static const long calls[] = {-1, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise};
    uint64_t pc = thread->registers[MS_REG_RIP];
    const long call = (long)thread->registers[MS_REG_ORIG_RAX];
    if (!thread->registers_known || pc < heap->code_start || pc >= heap->code_end)
        return false;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (call == calls[i])
            return true;
    return call == SYS_futex && waits_for_arena(heap, thread);
}

/*
 * glibc keeps the stacks of threads that have ended, to use them again. Such a
 * one lies behind a guard, has a struct pthread at its top, which points to
 * itself twice (tcbhead_t.tcb, .self), and no thread has it as thread pointer.
 * What it holds keeps nothing alive, but for its vector of TLS blocks.
 */
static uint64_t dead_pthread(const struct ms_image *image, size_t i)
{
    const struct ms_region *r = &image->regions[i];
    uint64_t words[MS_PAGE / 8], page = r->end - MS_PAGE;
    bool behind_memory = i > 0 && r[-1].end == r->start && r[-1].prot & MS_WRITE;
    /* In a core the guard is a hole, or looks readable (gcore). */
    if (behind_memory || r->kind != MS_REGION_ANON || !(r->prot & MS_WRITE) || !ms_image_read(image, page, words, sizeof words))
        return 0;
    for (size_t w = 0; w + 2 < MS_PAGE / 8; w += 2)
        if (words[w] == page + w * 8 && words[w + 2] == words[w])
            return words[w];
    return 0;
}

static struct ms_error *add_exact(struct ms_heap *heap, uint64_t value, uint64_t address, const char *what)
{
    struct ms_exact_root *root = ms_vector_add(&heap->exact_roots);
    if (!root)
        return ms_error_nomem("the roots");
    *root = (struct ms_exact_root){value, address, what};
    return NULL;
}

static enum ms_root_kind kind_of(const struct ms_image *image, size_t i)
{
    const struct ms_region *r = &image->regions[i];
    if (r->kind == MS_REGION_SHARED)
        return MS_ROOT_SHARED;
    if (r->kind == MS_REGION_FILE)
        return MS_ROOT_DATA;
    /* .bss is an anonymous map right behind a module's data. */
    if (r->kind == MS_REGION_ANON && i > 0 && r[-1].end == r->start && r[-1].kind == MS_REGION_FILE &&
        (r[-1].prot & MS_WRITE))
        return MS_ROOT_DATA;
    return r->kind == MS_REGION_STACK ? MS_ROOT_STACK : MS_ROOT_ANON;
}

static bool has_own_pages(const struct ms_region *r)
{
    for (size_t i = 0; i < r->run_count; i++)
        if (!r->runs[i].file || (r->prot & MS_SHARED))
            return true;
    return false;
}

/* What is cut out of the roots, sorted: segments and holes. */
struct cuts {
    MS_VECTOR(struct ms_hole) list;
};

static int cuts_by_address(const void *a, const void *b)
{
    const struct ms_hole *h = a, *k = b;
    return h->start < k->start ? -1 : h->start > k->start;
}

static struct ms_error *collect_cuts(const struct ms_heap *heap, struct cuts *cuts)
{
    for (size_t i = 0; i < heap->segments.count + heap->holes.count; i++) {
        struct ms_hole *cut = ms_vector_add(&cuts->list);
        if (!cut)
            return ms_error_nomem("the roots");
        if (i < heap->segments.count)
            *cut = (struct ms_hole){heap->segments.items[i].start, heap->segments.items[i].end};
        else
            *cut = heap->holes.items[i - heap->segments.count];
    }
    ms_vector_sort(&cuts->list, cuts_by_address);
    return NULL;
}

static size_t first_cut(const struct cuts *cuts, uint64_t address)
{
    size_t low = 0, high = cuts->list.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (cuts->list.items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Adds RANGE less the cuts. */
static struct ms_error *add_range(struct ms_scan *scan, const struct cuts *cuts, struct ms_root_range range)
{
    size_t i = first_cut(cuts, range.start);
    uint64_t end = range.end;
    while (range.start < end) {
        const struct ms_hole *cut = i < cuts->list.count ? &cuts->list.items[i] : NULL;
        range.end = cut && cut->start < end ? cut->start : end;
        if (range.end > range.start) {
            struct ms_root_range *slot = ms_vector_add(&scan->ranges);
            if (!slot)
                return ms_error_nomem("the roots");
            *slot = range;
        }
        if (!cut)
            break;
        range.start = cut->end > range.start ? cut->end : range.start;
        i++;
    }
    return NULL;
}

/*
 * Of a thread that has ended only its descriptor matters, and that only until it
 * is joined (which sets its tid to -1): its result is there, and what its cleanup left.
 */
static struct ms_error *plan_cached_stack(struct ms_scan *scan, const struct ms_image *image,
                                          const struct ms_region *r, uint64_t tcb, const struct cuts *cuts)
{
    uint64_t dtv;
    int32_t tid = 0;
    struct ms_hole *stack = ms_vector_add(&scan->cached_stacks);
    if (!stack)
        return ms_error_nomem("the roots");
    *stack = (struct ms_hole){r->start, r->end};
    if (ms_image_read_word(image, tcb + 8, &dtv) && dtv)
        MS_TRY(add_exact(&scan->heap, dtv, tcb + 8, "dtv"));
    if (ms_image_read(image, tcb + PTHREAD_TID, &tid, sizeof tid) && tid == -1)
        return NULL;
    return add_range(scan, cuts, (struct ms_root_range){.start = tcb, .end = r->end, .kind = MS_ROOT_STACK});
}

static struct ms_error *plan_region(struct ms_scan *scan, const struct ms_image *image, size_t i,
                                    const struct tenant *t, const struct cuts *cuts)
{
    const struct ms_region *r = &image->regions[i];
    struct ms_root_range range = {.start = r->start, .end = r->end, .kind = kind_of(image, i)};
    if (t->has_sp) {
        range.kind = MS_ROOT_STACK;
        range.tid = t->thread->tid;
        if (is_in_allocator(&scan->heap, t->thread))
            range.chunks_before = t->lowest_sp + ALLOCATOR_FRAMES;
        /* On its own stack all below the red zone is stale; in a coroutine's map nobody knows the bounds. */
        if (t->own_stack && t->lowest_sp - RED_ZONE > r->start)
            range.start = (t->lowest_sp - RED_ZONE) & ~7ull;
    } else if (!t->has_tcb) {
        uint64_t dead = dead_pthread(image, i);
        if (dead)
            return plan_cached_stack(scan, image, r, dead, cuts);
    }
    /* The main thread's own stack too while it is on another, in a signal's handler. */
    range.keep = t->has_sp || t->has_tcb || r->kind == MS_REGION_STACK ||
                 (range.kind == MS_ROOT_DATA && r->end - r->start <= KEEP_LIMIT);
    return add_range(scan, cuts, range);
}

/* A thread that runs on a stack inside a block keeps that block, whole. */
static struct ms_error *plan_stacks_in_blocks(struct ms_scan *scan, const struct ms_image *image)
{
    for (size_t i = 0; i < image->thread_count; i++) {
        uint64_t sp = image->threads[i].registers[MS_REG_RSP];
        if (sp && ms_heap_segment(&scan->heap, sp))
            MS_TRY(add_exact(&scan->heap, sp, 0, "stack"));
    }
    return NULL;
}

struct ms_error *ms_roots_plan(struct ms_scan *scan, struct ms_image *image)
{
    /* A process with one thread takes no locks: only where it stands tells that its heap is being changed. */
    scan->heap.inside = image->thread_count == 1 && is_in_allocator(&scan->heap, &image->threads[0]);
    scan->heap.busy |= scan->heap.inside;
    scan->heap.busy &= !image->halted; /* what stands still cannot be met in a better moment */
    struct cuts cuts = {{0}};
    scan->ranges.count = scan->cached_stacks.count = 0;
    ms_auto_free struct tenant *tenants = find_tenants(image);
    struct ms_error *error = tenants ? collect_cuts(&scan->heap, &cuts) : ms_error_nomem("the roots");
    for (size_t i = 0; !error && i < image->region_count; i++)
        if (has_own_pages(&image->regions[i]) && image->regions[i].kind != MS_REGION_VDSO)
            error = plan_region(scan, image, i, &tenants[i], &cuts);
    ms_vector_free(&cuts.list);
    return error ? error : plan_stacks_in_blocks(scan, image);
}

/* --- words outside memory ---------------------------------------------------------------------- */

struct root_list {
    MS_VECTOR(struct ms_root) list;
};

static struct ms_error *add_word(const struct ms_scan *scan, struct root_list *roots, uint64_t word,
                                 struct ms_root root)
{
    root.target = ms_zone_target(&scan->workers->map, word);
    if (root.target >= 2 * scan->heap.granules)
        return NULL;
    struct ms_root *slot = ms_vector_add(&roots->list);
    if (!slot)
        return ms_error_nomem("the roots");
    *slot = root;
    return NULL;
}

/* The XSAVE area is scanned whole: legacy region, AVX and AVX-512 parts, wherever the CPU puts them. */
static struct ms_error *add_registers(const struct ms_scan *scan, const struct ms_thread *thread,
                                      struct root_list *roots)
{
    struct ms_root root = {.tid = thread->tid, .kind = MS_ROOT_REGISTER,
                           .chunk = is_in_allocator(&scan->heap, thread)};
    for (unsigned i = 0; i < MS_REGISTERS; i++) {
        root.address = i;
        MS_TRY(add_word(scan, roots, thread->registers[i], root));
    }
    for (size_t i = 0; i + 8 <= thread->xstate_size; i += 8) {
        uint64_t word;
        memcpy(&word, thread->xstate + i, sizeof word);
        root.address = MS_REGISTERS + i / 8;
        MS_TRY(add_word(scan, roots, word, root));
    }
    return NULL;
}

static struct ms_error *collect_words(const struct ms_scan *scan, const struct ms_image *image,
                                      struct root_list *roots)
{
    for (size_t i = 0; i < image->thread_count; i++)
        MS_TRY(add_registers(scan, &image->threads[i], roots));
    for (size_t i = 0; i < image->kernel_pointers.count; i++)
        MS_TRY(add_word(scan, roots, image->kernel_pointers.items[i].value,
                        (struct ms_root){.address = i, .kind = MS_ROOT_KERNEL, .exact = true}));
    for (size_t i = 0; i < scan->heap.exact_roots.count; i++) {
        const struct ms_exact_root *e = &scan->heap.exact_roots.items[i];
        MS_TRY(add_word(scan, roots, e->value,
                        (struct ms_root){.address = e->address, .kind = MS_ROOT_DTV, .exact = true}));
    }
    return NULL;
}

struct ms_error *ms_roots_add_words(struct ms_scan *scan, const struct ms_image *image)
{
    struct root_list words = {{0}};
    struct ms_error *error = collect_words(scan, image, &words);
    if (!error && words.list.count) {
        struct ms_root *roots = reallocarray(scan->roots, scan->root_count + words.list.count, sizeof *roots);
        if (roots) {
            memcpy(roots + scan->root_count, words.list.items, words.list.count * sizeof *roots);
            scan->roots = roots;
            scan->root_count += words.list.count;
        } else {
            error = ms_error_nomem("the roots");
        }
    }
    ms_vector_free(&words.list);
    return error;
}
