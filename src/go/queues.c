/* What the runtime keeps for later: timers in the heaps of Ps, queues of finalizers and cleanups. */
#include "memscope/goqueues.h"

#include <stdio.h>
#include <string.h>

#include "layout.h"

const char *const ms_go_timer_names[MS_GO_TIMER_KINDS] = {
    [MS_GO_TIMER_FUNCTION] = "function", [MS_GO_TIMER_CHANNEL] = "channel", [MS_GO_TIMER_TICKER] = "ticker",
    [MS_GO_TIMER_SLEEP] = "sleep",       [MS_GO_TIMER_OTHER] = "other",
};

#define PS_MOST     (1u << 16)
#define TIMERS_MOST (1u << 28) /* of one P */
#define BLOCKS_MOST (1u << 16) /* of queued finalizers or cleanups, of some 100 each */
#define CHUNK       512u
#define CALLS_MAX   32u

/* src/runtime/time.go: timer.status up to 1.22, timer.state from 1.23 on. */
#define STATUS_DELETED  3u
#define STATUS_REMOVING 4u
#define STATUS_REMOVED  5u
#define STATE_ZOMBIE    4u /* a bit */

struct layout {
    struct ms_go_place timers, entry, when, period, function, argument, status, state;
    struct ms_go_place final_next, final_count, final_list, finalizer, final_object, final_type;
    struct ms_go_place special_function, special_type;
    struct ms_go_place cleanup_all, cleanup_next, cleanup_count, cleanup_list, cleanup;
};
#define FIELD(type, path, into)    MS_GO_FIELD(struct layout, "runtime." type, path, into)
#define SINCE(type, path, into, n) MS_GO_FIELD_IN(struct layout, "runtime." type, path, into, n, 0)
static const struct ms_go_field fields[] = {
    FIELD("p", "timers.heap|timers", timers),
    SINCE("timerWhen", "", entry, 23),
    FIELD("timer", "when", when),
    FIELD("timer", "period", period),
    FIELD("timer", "f", function),
    FIELD("timer", "arg", argument),
    MS_GO_FIELD_IN(struct layout, "runtime.timer", "status.value|status", status, 17, 22),
    SINCE("timer", "state", state, 23),
    FIELD("finblock|runtime.finBlock", "alllink", final_next),
    FIELD("finblock|runtime.finBlock", "cnt", final_count),
    FIELD("finblock|runtime.finBlock", "fin", final_list),
    FIELD("finalizer", "", finalizer),
    FIELD("finalizer", "arg", final_object),
    FIELD("finalizer", "ot", final_type),
    FIELD("specialfinalizer", "fn", special_function),
    FIELD("specialfinalizer", "ot", special_type),
    SINCE("cleanupQueue", "all", cleanup_all, 25),
    SINCE("cleanupBlock", "cleanupBlockHeader.alllink", cleanup_next, 25),
    SINCE("cleanupBlock", "cleanupBlockHeader.n", cleanup_count, 25),
    SINCE("cleanupBlock", "cleanups", cleanup_list, 25),
    SINCE("cleanupFn", "", cleanup, 26),
};
MS_GO_EXPORT_FIELDS(queues, fields)

struct reader {
    const struct ms_go_heap *heap;
    const struct ms_go *go;
    struct layout layout;
};

static struct ms_error *bind(struct reader *r, const struct ms_go_heap *heap)
{
    *r = (struct reader){.heap = heap, .go = heap->go};
    return ms_go_bind((struct ms_go *)heap->go, fields, sizeof fields / sizeof *fields, &r->layout);
}

static uint64_t get(const struct reader *r, uint64_t address, struct ms_go_place place)
{
    uint64_t value;
    return ms_go_get(r->go, address, place, &value) ? value : 0;
}

static uint64_t word_at(const struct reader *r, uint64_t address)
{
    uint64_t word;
    return address && ms_image_read_word(r->go->image, address, &word) ? word : 0;
}

/* --- timers ------------------------------------------------------------------------------------ */

char *ms_go_entry_name(const struct ms_go_heap *heap, uint64_t entry, char *buffer, size_t size)
{
    struct ms_go_call calls[CALLS_MAX]; /* the last is the function itself, others are inlined in it */
    const unsigned count = ms_go_calls_at(heap->functions, entry, calls, CALLS_MAX);
    if (!count || calls[count - 1].entry != entry || !calls[count - 1].function)
        return NULL;
    const char *name = calls[count - 1].function, *end = strrchr(name, '-');
    const size_t length = end && !strcmp(end, "-fm") ? (size_t)(end - name) : strlen(name);
    snprintf(buffer, size, "%.*s", (int)(length < size ? length : size), name);
    return buffer;
}

static enum ms_go_timer_kind kind_of(const struct reader *r, uint64_t code, uint64_t period)
{
    char name[64];
    if (!ms_go_entry_name(r->heap, code, name, sizeof name))
        return MS_GO_TIMER_OTHER;
    if (!strcmp(name, "time.goFunc"))
        return MS_GO_TIMER_FUNCTION;
    if (!strcmp(name, "time.sendTime"))
        return period ? MS_GO_TIMER_TICKER : MS_GO_TIMER_CHANNEL;
    return !strcmp(name, "runtime.goroutineReady") ? MS_GO_TIMER_SLEEP : MS_GO_TIMER_OTHER;
}

static struct ms_error *add_timer(const struct reader *r, uint64_t address, struct ms_go_timers *timers)
{
    const struct layout *l = &r->layout;
    const uint64_t status = get(r, address, l->status);
    const uint64_t code =
        word_at(r, get(r, address, l->function)); /* a func value: where its code is, comes first */
    if (!code)
        return NULL;
    struct ms_go_timer *timer = ms_vector_add(&timers->list);
    if (!timer)
        return ms_error_nomem("the timers");
    *timer = (struct ms_go_timer){.address = address, .when = get(r, address, l->when), .function = code};
    timer->kind = (uint8_t)kind_of(r, code, get(r, address, l->period));
    timer->stopped =
        (status >= STATUS_DELETED && status <= STATUS_REMOVED) || get(r, address, l->state) & STATE_ZOMBIE;
    /* The argument is an interface whose data word is the func() itself. */
    if (timer->kind == MS_GO_TIMER_FUNCTION)
        timer->function = word_at(r, word_at(r, address + l->argument.offset + 8));
    return NULL;
}

/* The heap of the P at ADDRESS: pointers to timers, from 1.23 on each with its time. */
static struct ms_error *add_timers_of(const struct reader *r, uint64_t address, struct ms_go_timers *timers)
{
    const uint64_t stride = r->layout.entry.size ? r->layout.entry.size : 8;
    uint64_t words[CHUNK];
    struct ms_go_slice heap;
    if (stride % 8 || stride > sizeof words || !ms_go_get_slice(r->go, address, r->layout.timers, &heap) ||
        heap.length > heap.capacity || heap.length > TIMERS_MOST)
        return NULL;
    const uint64_t most = sizeof words / stride;
    for (uint64_t i = 0; i < heap.length; i += most) {
        const uint64_t count = heap.length - i < most ? heap.length - i : most;
        if (!ms_image_read(r->go->image, heap.data + i * stride, words, count * stride))
            return NULL;
        for (uint64_t k = 0; k < count; k++)
            if (words[k * stride / 8])
                MS_TRY(add_timer(r, words[k * stride / 8], timers));
    }
    return NULL;
}

ms_result ms_go_timers_read(const struct ms_go_heap *heap, struct ms_go_timers *timers)
{
    struct reader r;
    struct ms_go_slice ps;
    *timers = (struct ms_go_timers){0};
    MS_TRY(bind(&r, heap));
    const uint64_t all = ms_go_global(r.go, "runtime.allp");
    if (!all || !ms_go_get_slice(r.go, all, (struct ms_go_place){0, 24}, &ps))
        return NULL;
    struct ms_error *error = NULL;
    for (uint64_t i = 0; i < ps.length && i < PS_MOST && !error; i++) {
        const uint64_t p = word_at(&r, ps.data + i * 8);
        error = p ? add_timers_of(&r, p, timers) : NULL;
    }
    if (error)
        ms_go_timers_free(timers);
    return error;
}

void ms_go_timers_free(struct ms_go_timers *timers)
{
    ms_vector_free(&timers->list);
}

/* --- finalizers and cleanups ------------------------------------------------------------------- */

/* Of an array of entries at ADDRESS those that are not done yet: what has run is cleared. */
static struct ms_error *add_entries(const struct reader *r, uint64_t address, uint64_t count, uint64_t size,
                                    bool cleanup, struct ms_go_queue *queue)
{
    for (uint64_t i = 0; i < count; i++) {
        if (!word_at(r, address + i * size))
            continue;
        struct ms_go_queued *queued = ms_vector_add(&queue->list);
        if (!queued)
            return ms_error_nomem("the finalizers");
        *queued = (struct ms_go_queued){address + i * size, size, cleanup};
    }
    return NULL;
}

/* All blocks there are: those whose finalizers run just now are in the queue no more. */
static struct ms_error *add_finalizers(const struct reader *r, struct ms_go_queue *queue)
{
    const struct layout *l = &r->layout;
    const uint64_t first = ms_go_global(r->go, "runtime.allfin");
    uint64_t block = word_at(r, first), left = BLOCKS_MOST;
    for (; block && left && l->finalizer.size; left--, block = get(r, block, l->final_next)) {
        const uint64_t count = get(r, block, l->final_count), most = l->final_list.size / l->finalizer.size;
        MS_TRY(add_entries(r, block + l->final_list.offset, count < most ? count : most, l->finalizer.size, false,
                           queue));
    }
    return NULL;
}

static struct ms_error *add_cleanups(const struct reader *r, struct ms_go_queue *queue)
{
    const struct layout *l = &r->layout;
    const uint64_t at = ms_go_global(r->go, "runtime.gcCleanups");
    const uint64_t size = l->cleanup.size ? l->cleanup.size : 8; /* of 1.25: pointers to functions */
    if (!at || !l->cleanup_all.size)
        return NULL;
    uint64_t block = get(r, at, l->cleanup_all), left = BLOCKS_MOST;
    for (; block && left; left--, block = get(r, block, l->cleanup_next)) {
        const uint64_t count = get(r, block, l->cleanup_count), most = l->cleanup_list.size / size;
        MS_TRY(add_entries(r, block + l->cleanup_list.offset, count < most ? count : most, size, true, queue));
    }
    return NULL;
}

ms_result ms_go_queue_read(const struct ms_go_heap *heap, struct ms_go_queue *queue)
{
    struct reader r;
    *queue = (struct ms_go_queue){0};
    MS_TRY(bind(&r, heap));
    struct ms_error *error = add_finalizers(&r, queue);
    error = error ? error : add_cleanups(&r, queue);
    if (error)
        ms_go_queue_free(queue);
    return error;
}

void ms_go_queue_free(struct ms_go_queue *queue)
{
    ms_vector_free(&queue->list);
}

/* --- objects with finalizers ------------------------------------------------------------------- */

static struct ms_error *add_finalized(uint64_t object, uint64_t type, struct ms_go_finalized_list *finalized)
{
    struct ms_go_finalized *slot = object && type ? ms_vector_add(&finalized->list) : NULL;
    if (slot)
        *slot = (struct ms_go_finalized){object, type};
    return slot || !object || !type ? NULL : ms_error_nomem("the finalizers");
}

static struct ms_error *collect_finalized(const struct reader *r, const struct ms_go_queue *queue,
                                          struct ms_go_finalized_list *finalized)
{
    const struct layout *l = &r->layout;
    for (size_t i = 0; i < queue->list.count; i++) {
        const struct ms_go_queued *q = &queue->list.items[i];
        if (!q->cleanup)
            MS_TRY(
                add_finalized(get(r, q->address, l->final_object), get(r, q->address, l->final_type), finalized));
    }
    for (size_t i = 0; i < r->heap->finalizable.count; i++) {
        const struct ms_go_finalizable *f = &r->heap->finalizable.items[i];
        MS_TRY(add_finalized(ms_granule_address(&r->heap->scan->heap, f->start),
                             get(r, f->special - l->special_function.offset, l->special_type), finalized));
    }
    return NULL;
}

ms_result ms_go_finalized_read(const struct ms_go_heap *heap, struct ms_go_finalized_list *finalized)
{
    struct reader r;
    struct ms_go_queue queue;
    *finalized = (struct ms_go_finalized_list){0};
    MS_TRY(bind(&r, heap));
    MS_TRY(ms_go_queue_read(heap, &queue));
    struct ms_error *error = collect_finalized(&r, &queue, finalized);
    ms_go_queue_free(&queue);
    if (error)
        ms_go_finalized_free(finalized);
    return error;
}

void ms_go_finalized_free(struct ms_go_finalized_list *finalized)
{
    ms_vector_free(&finalized->list);
}
