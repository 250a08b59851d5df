/* Leaked goroutines: blocked for ever, because no goroutine that can run can reach what they wait for. */
#include "memscope/goleaks.h"

#include <string.h>

#include "layout.h"

#define WAITS_MOST   (1u << 16) /* sudogs of one goroutine: cases of a select */
#define WAITERS_MOST (1u << 24) /* sudogs of all semaphores */

struct layout {
    struct ms_go_place g, next, prev, elem, waitlink, channel;
    struct ms_go_place treap, root, param;
    struct ms_go_place queued, room;
};
#define FIELD(path, into) MS_GO_FIELD(struct layout, "runtime.sudog", path, into)
static const struct ms_go_field fields[] = {
    FIELD("g", g),
    FIELD("next", next),
    FIELD("prev", prev),
    FIELD("elem.vu|elem", elem),
    FIELD("waitlink", waitlink),
    FIELD("c.maybeTraceablePtr.vu|c", channel),
    MS_GO_FIELD(struct layout, "runtime.semaRoot", "treap", treap),
    MS_GO_FIELD(struct layout, "runtime.semaRoot", "", root),
    MS_GO_FIELD(struct layout, "runtime.g", "param", param),
    MS_GO_FIELD(struct layout, "runtime.hchan", "qcount", queued),
    MS_GO_FIELD(struct layout, "runtime.hchan", "dataqsiz", room),
};
MS_GO_EXPORT_FIELDS(leaked, fields)

/* semTable of src/runtime/sema.go: a root each, at the start of a cache line. */
#define SEMAPHORE_ROOTS 251u
#define CACHE_LINE      64u

/* That a goroutine waits for what is at ADDRESS. */
struct wait {
    size_t goroutine;
    uint64_t address;
};

/* A goroutine by its g. */
struct by_g {
    uint64_t address;
    size_t goroutine;
};

/* Which group of leaked goroutines a block is kept by, and it alone. */
struct owner {
    uint64_t block; /* its granule + 1; 0: free */
    size_t group;   /* index, or SHARED */
};
#define SHARED SIZE_MAX

struct owners {
    struct owner *items; /* open addressing; owned */
    size_t room, count;
};

struct ms_go_search {
    const struct ms_go_heap *go_heap;
    const struct ms_heap *heap;
    const struct ms_go_goroutines *all;
    struct layout layout;
    uint8_t *seen;                /* a bit for each granule where a block starts; owned */
    MS_VECTOR(uint64_t) stack;    /* marked, still to be visited */
    MS_VECTOR(struct wait) waits; /* by goroutine */
    struct by_g *by_g;            /* sorted by address; owned */
    size_t *roots_of;             /* by goroutine: where its roots begin in ROOTS; owned */
    size_t *roots;                /* indexes of the scan's roots, by goroutine; owned */
    uint8_t *state;               /* by goroutine: enum state; owned */
    struct owners owners;         /* of blocks that nobody who can run reaches */
};

enum state {
    RUNS,    /* or can: its stack is a root */
    BLOCKED, /* nothing known can wake it */
    STUCK,   /* nothing at all can: it waits for nothing */
};

/* --- marking ------------------------------------------------------------------------------------
 */

static bool is_seen(const struct ms_go_search *s, uint64_t start)
{
    return s->seen[start / 8] >> (start % 8) & 1;
}

static void set_seen(struct ms_go_search *s, uint64_t start)
{
    s->seen[start / 8] |= (uint8_t)(1u << start % 8);
}

static bool is_live(const struct ms_heap *heap, uint64_t start)
{
    const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
    return ms_bit(line->starts & line->live, start);
}

/* The block at ADDRESS, or MS_NOTHING. */
static uint64_t block_at(const struct ms_go_search *s, uint64_t address)
{
    const struct ms_segment *segment = ms_heap_segment(s->heap, address);
    if (!segment)
        return MS_NOTHING;
    uint64_t start = ms_start_of(s->heap, ms_address_granule(s->heap, segment, address));
    return is_live(s->heap, start) ? start : MS_NOTHING;
}

static ms_result push(struct ms_go_search *s, uint64_t start)
{
    uint64_t *slot = ms_vector_add(&s->stack);
    if (!slot)
        return ms_error_nomem("the marks");
    *slot = start;
    return NULL;
}

static ms_result mark(struct ms_go_search *s, uint64_t target)
{
    if (target >= 2 * s->heap->granules)
        return NULL;
    uint64_t start = ms_start_of(s->heap, target / 2);
    if (!is_live(s->heap, start) || is_seen(s, start))
        return NULL;
    set_seen(s, start);
    return push(s, start);
}

static ms_result drain(struct ms_go_search *s)
{
    while (s->stack.count) {
        uint64_t start = s->stack.items[--s->stack.count];
        for (uint64_t word = start * 2, end = ms_words_end(s->heap, start); word < end; word++) {
            uint64_t target = ms_word_target(s->heap, word);
            if (target != MS_NOTHING)
                MS_TRY(mark(s, target));
        }
    }
    return NULL;
}

/* --- who waits for what -------------------------------------------------------------------------
 */

static uint64_t get(const struct ms_go_search *s, uint64_t address, struct ms_go_place place)
{
    uint64_t value;
    return ms_go_get(s->go_heap->go, address, place, &value) ? value : 0;
}

/* What a sudog points to, and a g, is no way to reach something: it is how the runtime finds it. */
static void hide(struct ms_go_search *s, uint64_t address)
{
    uint64_t start = block_at(s, address);
    if (start != MS_NOTHING)
        set_seen(s, start);
}

static ms_result add_wait(struct ms_go_search *s, size_t goroutine, uint64_t address)
{
    struct wait *wait = address ? ms_vector_add(&s->waits) : NULL;
    if (!wait)
        return address ? ms_error_nomem("what goroutines wait for") : NULL;
    *wait = (struct wait){goroutine, address};
    return NULL;
}

static bool is_one_of(const char *reason, const char *const *reasons, size_t count)
{
    for (size_t i = 0; reason && i < count; i++)
        if (!strcmp(reason, reasons[i]))
            return true;
    return false;
}
#define IS_ONE_OF(reason, reasons) is_one_of(reason, reasons, sizeof(reasons) / sizeof *(reasons))

static const char *const for_ever[] = {"chan receive (nil chan)", "chan send (nil chan)", "select (no cases)"};
static const char *const for_channels[] = {"chan receive", "chan send", "select"};
static const char *const for_others[] = {"semacquire",         "sync.Cond.Wait",    "sync.Mutex.Lock",
                                         "sync.RWMutex.RLock", "sync.RWMutex.Lock", "sync.WaitGroup.Wait"};

/* The sudogs of a goroutine itself: of channels, and from 1.26 on of others. */
static ms_result add_own_waits(struct ms_go_search *s, size_t index)
{
    const struct ms_go_goroutine *goroutine = &s->all->list.items[index];
    bool channels = IS_ONE_OF(goroutine->wait_reason, for_channels);
    uint64_t sudog = goroutine->waiting;
    for (unsigned i = 0; sudog && i < WAITS_MOST; i++) {
        hide(s, sudog);
        if (channels)
            MS_TRY(add_wait(s, index, get(s, sudog, s->layout.channel)));
        sudog = get(s, sudog, s->layout.waitlink);
    }
    return NULL;
}

static int compare_g(const void *a, const void *b)
{
    const struct by_g *x = a, *y = b;
    return x->address < y->address ? -1 : x->address > y->address;
}

/* A sudog of a semaphore, and those that wait for the same behind it. */
static ms_result add_waiters(struct ms_go_search *s, uint64_t sudog, unsigned *left)
{
    uint64_t address = get(s, sudog, s->layout.elem);
    for (; sudog && *left; sudog = get(s, sudog, s->layout.waitlink)) {
        --*left;
        hide(s, sudog);
        struct by_g key = {get(s, sudog, s->layout.g), 0};
        const struct by_g *found = bsearch(&key, s->by_g, s->all->list.count, sizeof key, compare_g);
        if (found)
            MS_TRY(add_wait(s, found->goroutine, address));
    }
    return NULL;
}

/* All semaphores: trees of sudogs, whose prev and next are their left and right. */
static ms_result add_semaphores(struct ms_go_search *s)
{
    uint64_t table = ms_go_global(s->go_heap->go, "runtime.semtable");
    uint64_t stride = (s->layout.root.size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    unsigned left = WAITERS_MOST;
    MS_VECTOR(uint64_t) tree = {0};
    struct ms_error *error = NULL;
    for (unsigned i = 0; table && i < SEMAPHORE_ROOTS && !error; i++) {
        uint64_t next[2] = {get(s, table + i * stride, s->layout.treap), 0};
        do {
            for (unsigned k = 0; k < 2 && !error; k++) {
                uint64_t *slot = next[k] ? ms_vector_add(&tree) : NULL;
                if (slot)
                    *slot = next[k];
                else if (next[k])
                    error = ms_error_nomem("the semaphores");
            }
            if (error || !tree.count)
                break;
            uint64_t sudog = tree.items[--tree.count];
            error = add_waiters(s, sudog, &left);
            next[0] = get(s, sudog, s->layout.prev);
            next[1] = get(s, sudog, s->layout.next);
        } while (!error && left);
        tree.count = 0;
    }
    ms_vector_free(&tree);
    return error;
}

/* What sync.Cond.Wait() was called with is in its frame, because it locks that again. */
struct condition {
    struct ms_go_search *search;
    size_t goroutine;
    uint32_t frame;
    struct ms_error *error;
};

static void take_condition(void *context, const struct ms_go_word *word)
{
    struct condition *c = context;
    if (word->frame == c->frame && word->exact && !c->error)
        c->error = add_wait(c->search, c->goroutine, word->value);
}

static ms_result add_condition(struct ms_go_search *s, size_t index)
{
    const struct ms_go_goroutine *goroutine = &s->all->list.items[index];
    struct ms_go_unwinder unwinder;
    for (bool found = ms_go_unwind(s->all, goroutine, &unwinder); found; found = ms_go_unwind_next(&unwinder)) {
        if (strcmp(ms_go_function_name(s->all->functions, unwinder.frame.function), "sync.(*Cond).Wait") != 0)
            continue;
        struct condition condition = {s, index, unwinder.index, NULL};
        MS_TRY(ms_go_stack_words(s->all, goroutine, take_condition, &condition));
        return condition.error;
    }
    return NULL;
}

static int compare_waits(const void *a, const void *b)
{
    const struct wait *x = a, *y = b;
    return x->goroutine < y->goroutine ? -1 : x->goroutine > y->goroutine;
}

/*
 * Is it just being woken? Who does that has taken it from its queue and needs what it waited for no more:
 * a channel's waker has left its sudog in param; of a semaphore it is in no tree any more; of a condition
 * nothing tells, so nobody may run then.
 */
static bool may_be_woken_now(const struct ms_go_search *s, const struct ms_go_goroutine *goroutine, bool calm)
{
    if (IS_ONE_OF(goroutine->wait_reason, for_channels))
        return get(s, goroutine->address, s->layout.param) != 0;
    return !calm && !strcmp(goroutine->wait_reason, "sync.Cond.Wait");
}

/* The main goroutine that says `select {}`: the program would end without it. */
static bool is_meant_to_stay(const struct ms_go_goroutine *goroutine)
{
    return goroutine->id == 1 && !strcmp(goroutine->wait_reason, "select (no cases)");
}

static ms_result find_waits(struct ms_go_search *s)
{
    bool calm = true;
    for (size_t i = 0; i < s->all->list.count; i++) {
        uint8_t status = s->all->list.items[i].status;
        calm = calm && status != MS_GO_RUNNING && status != MS_GO_COPYSTACK;
    }
    for (size_t i = 0; i < s->all->list.count; i++) {
        const struct ms_go_goroutine *goroutine = &s->all->list.items[i];
        bool waits = goroutine->status == MS_GO_WAITING || goroutine->status == MS_GO_LEAKED;
        hide(s, goroutine->address);
        MS_TRY(add_own_waits(s, i));
        if (!waits || goroutine->system || goroutine->bubble || is_meant_to_stay(goroutine))
            s->state[i] = RUNS;
        else if (IS_ONE_OF(goroutine->wait_reason, for_ever))
            s->state[i] = STUCK;
        else if (IS_ONE_OF(goroutine->wait_reason, for_channels) || IS_ONE_OF(goroutine->wait_reason, for_others))
            s->state[i] = BLOCKED;
        if (s->state[i] == BLOCKED && may_be_woken_now(s, goroutine, calm))
            s->state[i] = RUNS;
        if (s->state[i] == BLOCKED && !strcmp(goroutine->wait_reason, "sync.Cond.Wait"))
            MS_TRY(add_condition(s, i));
    }
    MS_TRY(add_semaphores(s));
    ms_vector_sort(&s->waits, compare_waits);
    return NULL;
}

/* --- the fixed point ----------------------------------------------------------------------------
 */

/* Goes on from goroutine INDEX: it can run. */
static ms_result set_running(struct ms_go_search *s, size_t index)
{
    s->state[index] = RUNS;
    for (size_t i = s->roots_of[index]; i < s->roots_of[index + 1]; i++)
        MS_TRY(mark(s, s->go_heap->scan->roots[s->roots[i]].target));
    uint64_t g = block_at(s, s->all->list.items[index].address);
    if (g != MS_NOTHING)
        MS_TRY(push(s, g));
    return drain(s);
}

/* Can what is at ADDRESS be reached by who can run? What is not in the heap can. */
static bool is_reached(const struct ms_go_search *s, size_t index, uint64_t address)
{
    const struct ms_go_range *stack = &s->all->list.items[index].stack;
    if (address >= stack->start && address < stack->end)
        return false; /* by itself alone */
    uint64_t start = block_at(s, address);
    return start == MS_NOTHING || is_seen(s, start);
}

static size_t first_wait(const struct ms_go_search *s, size_t index)
{
    size_t low = 0, high = s->waits.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->waits.items[middle].goroutine < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool can_be_woken(const struct ms_go_search *s, size_t index)
{
    size_t i = first_wait(s, index), first = i;
    for (; i < s->waits.count && s->waits.items[i].goroutine == index; i++)
        if (is_reached(s, index, s->waits.items[i].address))
            return true;
    return i == first; /* what it waits for is not known */
}

static ms_result find_fixed_point(struct ms_go_search *s)
{
    const size_t count = s->all->list.count;
    bool changed = true;
    /* There and back again: a chain of goroutines is found in one round, whichever way it goes. */
    for (bool back = false; changed; back = !back) {
        changed = false;
        for (size_t i = 0; i < count; i++) {
            size_t index = back ? count - 1 - i : i;
            if (s->state[index] != BLOCKED || !can_be_woken(s, index))
                continue;
            changed = true;
            MS_TRY(set_running(s, index));
        }
    }
    return NULL;
}

/* Sorts the roots by goroutine; marks from all that are no goroutine's. */
static ms_result sort_roots(struct ms_go_search *s)
{
    const struct ms_scan *scan = s->go_heap->scan;
    const size_t count = s->all->list.count;
    for (size_t i = 0; i < scan->root_count; i++) {
        const struct ms_root *root = &scan->roots[i];
        if (root->kind != MS_ROOT_GOROUTINE || (size_t)root->tid >= count)
            MS_TRY(mark(s, root->target));
        else
            s->roots_of[root->tid + 1]++;
    }
    for (size_t i = 0; i < count; i++)
        s->roots_of[i + 1] += s->roots_of[i];
    size_t *next = malloc((count + 1) * sizeof *next);
    if (!next)
        return ms_error_nomem("the roots of goroutines");
    memcpy(next, s->roots_of, (count + 1) * sizeof *next);
    for (size_t i = 0; i < scan->root_count; i++) {
        const struct ms_root *root = &scan->roots[i];
        if (root->kind == MS_ROOT_GOROUTINE && (size_t)root->tid < count)
            s->roots[next[root->tid]++] = i;
    }
    free(next);
    return drain(s);
}

/* --- what each waits for ------------------------------------------------------------------------
 */

static int by_address(const void *a, const void *b)
{
    const struct wait *x = a, *y = b;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return x->goroutine < y->goroutine ? -1 : x->goroutine > y->goroutine;
}

static void describe(const struct ms_go_search *s, struct ms_go_wait *waits)
{
    for (size_t i = 0; i < s->waits.count; i++) {
        const struct wait *wait = &s->waits.items[i];
        struct ms_go_wait *about = &waits[wait->goroutine];
        if (about->count++)
            continue;
        about->address = wait->address;
        about->channel = IS_ONE_OF(s->all->list.items[wait->goroutine].wait_reason, for_channels);
        if (about->channel) {
            about->length = get(s, wait->address, s->layout.queued);
            about->capacity = get(s, wait->address, s->layout.room);
        }
    }
}

/* Needs the waits by goroutine, and leaves them by address. */
static void count_waiters(struct ms_go_search *s, struct ms_go_wait *waits)
{
    const struct wait *list = s->waits.items;
    ms_vector_sort(&s->waits, by_address);
    for (size_t from = 0, to; from < s->waits.count; from = to) {
        uint32_t waiters = 0;
        for (to = from; to < s->waits.count && list[to].address == list[from].address; to++)
            waiters += to == from || list[to].goroutine != list[to - 1].goroutine;
        for (size_t i = from; i < to; i++)
            if (waits[list[i].goroutine].address == list[i].address)
                waits[list[i].goroutine].waiters = waiters;
    }
}

static ms_result find(struct ms_go_search *s, struct ms_go_leaks *leaks)
{
    const size_t count = s->all->list.count;
    s->seen = calloc(s->heap->granules / 8 + 1, 1);
    s->by_g = calloc(count + 1, sizeof *s->by_g);
    s->roots_of = calloc(count + 2, sizeof *s->roots_of);
    s->roots = calloc(s->go_heap->scan->root_count + 1, sizeof *s->roots);
    s->state = calloc(count + 1, 1);
    leaks->leaked = calloc(count + 1, sizeof *leaks->leaked);
    leaks->waits = calloc(count + 1, sizeof *leaks->waits);
    if (!s->seen || !s->by_g || !s->roots_of || !s->roots || !s->state || !leaks->leaked || !leaks->waits)
        return ms_error_nomem("the search for leaked goroutines");
    for (size_t i = 0; i < count; i++)
        s->by_g[i] = (struct by_g){s->all->list.items[i].address, i};
    qsort(s->by_g, count, sizeof *s->by_g, compare_g);
    MS_TRY(find_waits(s));
    MS_TRY(sort_roots(s));
    for (size_t i = 0; i < count; i++)
        if (s->state[i] == RUNS)
            MS_TRY(set_running(s, i));
    MS_TRY(find_fixed_point(s));
    for (size_t i = 0; i < count; i++)
        leaks->leaked[i] = s->state[i] != RUNS;
    describe(s, leaks->waits);
    count_waiters(s, leaks->waits);
    return NULL;
}

ms_result ms_go_find_leaked(const struct ms_go_heap *heap, struct ms_go_leaks *leaks)
{
    *leaks = (struct ms_go_leaks){.search = calloc(1, sizeof *leaks->search)};
    if (!leaks->search)
        return ms_error_nomem("the search for leaked goroutines");
    struct ms_go_search *s = leaks->search;
    s->go_heap = heap;
    s->heap = &heap->scan->heap;
    s->all = heap->goroutines;
    struct ms_error *error = ms_go_bind(heap->goroutines->go, fields, sizeof fields / sizeof *fields, &s->layout);
    if (!error)
        error = find(s, leaks);
    if (error)
        ms_go_leaks_free(leaks);
    return error;
}

void ms_go_leaks_free(struct ms_go_leaks *leaks)
{
    struct ms_go_search *s = leaks->search;
    if (s) {
        free(s->seen);
        free(s->by_g);
        free(s->roots_of);
        free(s->roots);
        free(s->state);
        free(s->owners.items);
        ms_vector_free(&s->stack);
        ms_vector_free(&s->waits);
    }
    free(s);
    free(leaks->leaked);
    free(leaks->waits);
    *leaks = (struct ms_go_leaks){0};
}

bool ms_go_is_blocked(const char *reason)
{
    return IS_ONE_OF(reason, for_channels) || IS_ONE_OF(reason, for_others) || IS_ONE_OF(reason, for_ever);
}

/* --- what they keep -----------------------------------------------------------------------------
 */

/* The place of the block at START in the table, or where it would be. */
static struct owner *owner_at(const struct owners *owners, uint64_t start)
{
    size_t at = (size_t)(start * 0x9e3779b97f4a7c15u >> 20) & (owners->room - 1);
    while (owners->items[at].block && owners->items[at].block != start + 1)
        at = (at + 1) & (owners->room - 1);
    return &owners->items[at];
}

static ms_result make_room(struct owners *owners)
{
    if (owners->count * 2 < owners->room)
        return NULL;
    struct owners larger = {.room = owners->room ? owners->room * 2 : 1024, .count = owners->count};
    larger.items = calloc(larger.room, sizeof *larger.items);
    if (!larger.items)
        return ms_error_nomem("what leaked goroutines keep");
    for (size_t i = 0; i < owners->room; i++)
        if (owners->items[i].block)
            *owner_at(&larger, owners->items[i].block - 1) = owners->items[i];
    free(owners->items);
    *owners = larger;
    return NULL;
}

/* A block's owner changes at most twice: from none to a group to SHARED. */
static ms_result own(struct ms_go_search *s, uint64_t target, size_t group)
{
    if (target >= 2 * s->heap->granules)
        return NULL;
    uint64_t start = ms_start_of(s->heap, target / 2);
    if (!is_live(s->heap, start) || is_seen(s, start))
        return NULL;
    MS_TRY(make_room(&s->owners));
    struct owner *owner = owner_at(&s->owners, start);
    if (owner->block && (owner->group == group || owner->group == SHARED))
        return NULL;
    s->owners.count += !owner->block;
    *owner = (struct owner){start + 1, owner->block ? SHARED : group};
    return push(s, start);
}

static ms_result own_all(struct ms_go_search *s)
{
    while (s->stack.count) {
        uint64_t start = s->stack.items[--s->stack.count];
        const size_t group = owner_at(&s->owners, start)->group;
        for (uint64_t word = start * 2, end = ms_words_end(s->heap, start); word < end; word++) {
            uint64_t target = ms_word_target(s->heap, word);
            if (target != MS_NOTHING)
                MS_TRY(own(s, target, group));
        }
    }
    return NULL;
}

ms_result ms_go_leaks_retained(struct ms_go_leaks *leaks, struct ms_go_groups *groups, struct ms_tally *all)
{
    struct ms_go_search *s = leaks->search;
    *all = (struct ms_tally){0};
    for (size_t i = 0; i < s->all->list.count; i++) {
        if (!leaks->leaked[i] || groups->of[i] == MS_GO_NO_GROUP)
            continue;
        const struct ms_go_range *stack = &s->all->list.items[i].stack;
        groups->list.items[groups->of[i]].stack_bytes += stack->end - stack->start;
        for (size_t k = s->roots_of[i]; k < s->roots_of[i + 1]; k++)
            MS_TRY(own(s, s->go_heap->scan->roots[s->roots[k]].target, groups->of[i]));
        MS_TRY(own_all(s));
    }
    for (size_t i = 0; i < s->owners.room; i++) {
        const struct owner *owner = &s->owners.items[i];
        if (!owner->block)
            continue;
        uint64_t bytes = ms_block_size(s->heap, owner->block - 1);
        all->blocks++;
        all->bytes += bytes;
        if (owner->group != SHARED) {
            groups->list.items[owner->group].retained_blocks++;
            groups->list.items[owner->group].retained_bytes += bytes;
        }
    }
    return NULL;
}
