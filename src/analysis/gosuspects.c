/* What keeps memory of a Go program alive by habit: timers, and finalizers that wait; the list of all such. */
#include "gosuspects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "goexpression.h"
#include "map.h"
#include "retainers.h"

const char *const ms_go_suspect_names[MS_GO_SUSPECT_KINDS] = {
    [MS_GO_SUSPECT_TIMERS] = "timers",     [MS_GO_SUSPECT_CHILDREN] = "children",
    [MS_GO_SUSPECT_VALUES] = "values",     [MS_GO_SUSPECT_FINALIZERS] = "finalizers",
    [MS_GO_SUSPECT_CLEANUPS] = "cleanups", [MS_GO_SUSPECT_CYCLES] = "cycles",
};

#define WHAT "what keeps memory alive"
/* What retains less is no finding, nor are so few. */
#define LEAST_PART   100u /* of the live heap */
#define LEAST_BYTES  (64u << 10)
#define LEAST_TIMERS 100u
#define LEAST_QUEUED 10u
/* So many groups of timers are looked into, the biggest: each means to go over what they hold. */
#define GROUPS_MOST 8u
#define NAME_MOST   512u
#define FAR_NS      3600000000000ull /* an hour */
/* Pointers that are followed to find cycles. */
#define CYCLE_STEPS (1u << 24)

bool ms_go_is_little(const struct ms_go_finder *f, uint64_t bytes)
{
    return bytes < LEAST_BYTES || bytes < f->live / LEAST_PART;
}

uint32_t ms_go_position(const struct ms_go_finder *f, uint64_t address)
{
    const struct ms_heap *heap = &f->scan->heap;
    const struct ms_segment *segment = ms_heap_segment(heap, address);
    if (!segment)
        return 0;
    return ms_dominator_position(f->tree, heap, ms_start_of(heap, ms_address_granule(heap, segment, address)));
}

/* --- what is said of each ---------------------------------------------------------------------- */

/* The type that most bytes of TOGETHER are of. */
static struct ms_error *find_most(struct ms_go_finder *f, const struct ms_together *together,
                                  struct ms_go_suspect *suspect)
{
    struct ms_map bytes = {0}, blocks = {0};
    struct ms_error *error = NULL;
    for (uint32_t p = together->first; p < together->end && !error; p++) {
        struct ms_known known;
        const char *text = NULL;
        if (!ms_together_has(together, p))
            continue;
        error = ms_block_known(f->knowledge, f->tree->start[p], &known);
        error = error || !known.by ? error : ms_known_group(f->knowledge, &known, &text);
        if (error || !text)
            continue;
        const uint64_t key = (uintptr_t)text, size = ms_block_size(&f->scan->heap, f->tree->start[p]);
        const uint64_t *more = ms_map_get(&bytes, key, 0), *many = ms_map_get(&blocks, key, 0);
        const uint64_t sum = size + (more ? *more : 0), count = 1 + (many ? *many : 0);
        if (!ms_map_put(&bytes, key, 0, sum) || !ms_map_put(&blocks, key, 0, count))
            error = ms_error_nomem(WHAT);
        if (sum > suspect->most_of.bytes || text == suspect->most) {
            suspect->most = text;
            suspect->most_of = (struct ms_tally){count, sum};
        }
    }
    ms_map_free(&bytes);
    ms_map_free(&blocks);
    return error;
}

struct ms_error *ms_go_add_suspect(struct ms_go_finder *f, const struct ms_together *together,
                                   struct ms_go_suspect *suspect)
{
    suspect->retained = together->all;
    suspect->share = ms_share(together->all.bytes, f->live);
    MS_TRY(find_most(f, together, suspect));
    struct ms_go_suspect *slot = ms_vector_add(&f->suspects->list);
    if (!slot)
        return ms_error_nomem(WHAT);
    *slot = *suspect;
    return NULL;
}

struct ms_error *ms_go_name_holder(struct ms_go_finder *f, struct ms_go_suspect *suspect)
{
    const uint32_t position = ms_go_position(f, suspect->address);
    if (!position)
        return NULL;
    const uint64_t start = f->tree->start[position];
    struct ms_known known;
    struct ms_chains chains;
    struct ms_place place = {0};
    char *expression = NULL;
    MS_TRY(ms_block_known(f->knowledge, start, &known));
    MS_TRY(ms_known_text(f->knowledge, &known, &suspect->type));
    MS_TRY(ms_find_chains(f->scan, start, MS_NOTHING, 1, &chains));
    const struct ms_chain *chain = chains.list.count && chains.list.items[0].root ? chains.list.items : NULL;
    struct ms_error *error = chain ? ms_name_root(f->names, chain->root, &place) : NULL;
    if (!error && place.text)
        error = ms_known_intern(f->knowledge, place.text, &suspect->root);
    if (!error && chain && f->types)
        error = ms_go_express_chain(f->knowledge, f->types, f->image, f->scan, chain, &expression);
    if (!error && expression)
        error = ms_known_intern(f->knowledge, expression, &suspect->expression);
    free(expression);
    ms_place_free(&place);
    ms_chains_free(&chains);
    return error;
}

/* --- timers ------------------------------------------------------------------------------------ */

/* Those that call the same function. */
struct group {
    struct ms_go_suspect suspect;
    uint64_t function;
    MS_VECTOR(uint32_t) positions;
};
struct groups {
    MS_VECTOR(struct group) list;
    struct ms_map index; /* by kind and function */
};

static struct ms_error *add_to_group(struct ms_go_finder *f, struct groups *groups, const struct ms_go_timer *timer)
{
    const uint64_t *found = ms_map_get(&groups->index, timer->kind, timer->function);
    struct group *group = found ? &groups->list.items[*found] : ms_vector_add(&groups->list);
    if (!group || (!found && !ms_map_put(&groups->index, timer->kind, timer->function, groups->list.count - 1)))
        return ms_error_nomem(WHAT);
    const uint32_t position = ms_go_position(f, timer->address);
    uint32_t *slot = position ? ms_vector_add(&group->positions) : NULL;
    if (position && !slot)
        return ms_error_nomem(WHAT);
    if (slot)
        *slot = position;
    group->function = timer->function;
    group->suspect.timer = (enum ms_go_timer_kind)timer->kind;
    group->suspect.count++;
    group->suspect.stopped += timer->stopped;
    group->suspect.far +=
        f->image->taken_ns && timer->when > f->image->taken_ns && timer->when - f->image->taken_ns >= FAR_NS;
    return NULL;
}

static int most_timers_first(const void *a, const void *b)
{
    const struct group *g = a, *h = b;
    if (g->suspect.count != h->suspect.count)
        return g->suspect.count > h->suspect.count ? -1 : 1;
    return g->function < h->function ? -1 : g->function > h->function;
}

static struct ms_error *look_into(struct ms_go_finder *f, struct group *group)
{
    struct ms_together together;
    char name[NAME_MOST];
    MS_TRY(ms_find_together(f->scan, f->tree, group->positions.items, group->positions.count, NULL, 0, &together));
    struct ms_error *error = NULL;
    uint64_t own = 0;
    for (size_t i = 0; i < group->positions.count; i++)
        own += ms_block_size(&f->scan->heap, f->tree->start[group->positions.items[i]]);
    /* Servers have timers, many of them; a finding is what they keep. */
    if (own < together.all.bytes && !ms_go_is_little(f, together.all.bytes - own)) {
        if (ms_go_entry_name(f->scan->go, group->function, name, sizeof name))
            error = ms_known_intern(f->knowledge, name, &group->suspect.function);
        error = error ? error : ms_go_add_suspect(f, &together, &group->suspect);
    }
    ms_together_free(&together);
    return error;
}

static struct ms_error *find_timers(struct ms_go_finder *f, const struct ms_go_timers *timers)
{
    struct groups groups = {.index = {0}};
    struct ms_error *error = NULL;
    for (size_t i = 0; i < timers->list.count && !error; i++)
        error = add_to_group(f, &groups, &timers->list.items[i]);
    ms_map_free(&groups.index);
    ms_vector_sort(&groups.list, most_timers_first);
    for (size_t i = 0; i < groups.list.count && i < GROUPS_MOST && !error; i++)
        if (groups.list.items[i].suspect.count >= LEAST_TIMERS)
            error = look_into(f, &groups.list.items[i]);
    for (size_t i = 0; i < groups.list.count; i++)
        ms_vector_free(&groups.list.items[i].positions);
    ms_vector_free(&groups.list);
    return error;
}

/* --- finalizers and cleanups ------------------------------------------------------------------- */

/* What the goroutine that runs finalizers or cleanups is doing; of several the one that waits longest. */
static struct ms_error *find_runner(struct ms_go_finder *f, bool cleanup, struct ms_go_suspect *suspect)
{
    const struct ms_go_goroutines *all = f->scan->go->goroutines;
    const struct ms_go_goroutine *runner = NULL;
    char name[NAME_MOST];
    for (size_t i = 0; i < all->list.count; i++) {
        const struct ms_go_goroutine *g = &all->list.items[i];
        if (!ms_go_entry_name(f->scan->go, g->start, name, sizeof name))
            continue;
        const bool runs = cleanup ? !strcmp(name, "runtime.runCleanups")
                                  : !strcmp(name, "runtime.runfinq") || !strcmp(name, "runtime.runFinalizers");
        if (runs && (!runner || g->waited_ns > runner->waited_ns))
            runner = g;
    }
    if (!runner)
        return NULL;
    suspect->goroutine = runner->id;
    suspect->state = runner->state;
    suspect->waited_ns = runner->waited_ns;
    ms_auto_free struct ms_go_traceback *trace = calloc(1, sizeof *trace);
    if (!trace)
        return ms_error_nomem(WHAT);
    ms_go_trace(all, runner, trace);
    for (unsigned i = 0; i < trace->count; i++) {
        const char *function = trace->calls[i].call.function;
        if (function && strncmp(function, "runtime.", 8) != 0)
            return ms_known_intern(f->knowledge, function, &suspect->function);
    }
    return NULL;
}

static int by_start(const void *a, const void *b)
{
    const struct ms_together_roots *r = a, *s = b;
    return r->start < s->start ? -1 : r->start > s->start;
}

static struct ms_error *find_queued(struct ms_go_finder *f, const struct ms_go_queue *queue, bool cleanups)
{
    struct ms_go_suspect suspect = {.kind = cleanups ? MS_GO_SUSPECT_CLEANUPS : MS_GO_SUSPECT_FINALIZERS};
    ms_auto_free struct ms_together_roots *roots = calloc(queue->list.count + 1, sizeof *roots);
    struct ms_together together;
    if (!roots)
        return ms_error_nomem(WHAT);
    for (size_t i = 0; i < queue->list.count; i++) {
        const struct ms_go_queued *queued = &queue->list.items[i];
        if (queued->cleanup == cleanups)
            roots[suspect.count++] = (struct ms_together_roots){queued->address, queued->address + queued->size};
    }
    if (suspect.count < LEAST_QUEUED)
        return NULL;
    qsort(roots, suspect.count, sizeof *roots, by_start);
    MS_TRY(ms_find_together(f->scan, f->tree, NULL, 0, roots, suspect.count, &together));
    struct ms_error *error = NULL;
    if (!ms_go_is_little(f, together.all.bytes)) {
        error = find_runner(f, cleanups, &suspect);
        error = error ? error : ms_go_add_suspect(f, &together, &suspect);
    }
    ms_together_free(&together);
    return error;
}

/* --- cycles ------------------------------------------------------------------------------------ */

/* Blocks that were met on the way from one object, by the number of that search. */
struct ways {
    uint32_t *met; /* by position; owned */
    MS_VECTOR(uint32_t) stack;
    uint32_t number, steps;
};

/* Does a chain of pointers lead from the block at POSITION back to it? */
static struct ms_error *holds_itself(struct ms_go_finder *f, struct ways *w, uint32_t position, bool *itself)
{
    const struct ms_heap *heap = &f->scan->heap;
    uint32_t at = position;
    w->number++;
    w->stack.count = 0;
    *itself = false;
    for (;;) {
        const uint64_t start = f->tree->start[at];
        for (uint64_t word = start * 2, end = ms_words_end(heap, start); word < end; word++) {
            const uint64_t target = ms_word_target(heap, word);
            const uint32_t to = target < 2 * heap->granules
                                    ? ms_dominator_position(f->tree, heap, ms_start_of(heap, target / 2))
                                    : 0;
            if (!to || w->met[to] == w->number)
                continue;
            if (to == position || ++w->steps >= CYCLE_STEPS) {
                *itself = to == position;
                return NULL;
            }
            w->met[to] = w->number;
            uint32_t *slot = ms_vector_add(&w->stack);
            if (!slot)
                return ms_error_nomem(WHAT);
            *slot = to;
        }
        if (!w->stack.count)
            return NULL;
        at = w->stack.items[--w->stack.count];
    }
}

/*
 * The collector marks what an object with a finalizer points to, so one that nothing else holds and that leads back to
 * itself never dies, and neither does what it holds.
 */
static struct ms_error *collect_cycles(struct ms_go_finder *f, struct ways *w)
{
    const struct ms_go_heap *go = f->scan->go;
    struct ms_go_suspect suspect = {.kind = MS_GO_SUSPECT_CYCLES};
    struct ms_together together;
    ms_auto_free uint32_t *blocks = calloc(go->finalizable.count + 1, sizeof *blocks);
    if (!blocks)
        return ms_error_nomem(WHAT);
    uint32_t biggest = 0;
    for (size_t i = 0; i < go->finalizable.count && w->steps < CYCLE_STEPS; i++) {
        const uint32_t position = ms_dominator_position(f->tree, &f->scan->heap, go->finalizable.items[i].start);
        bool itself = false;
        if (position)
            MS_TRY(holds_itself(f, w, position, &itself));
        if (!itself)
            continue;
        blocks[suspect.count++] = position;
        biggest = f->tree->retained[position] > f->tree->retained[biggest] || !biggest ? position : biggest;
    }
    if (!suspect.count)
        return NULL;
    MS_TRY(ms_find_together(f->scan, f->tree, blocks, suspect.count, NULL, 0, &together));
    struct ms_error *error = NULL;
    if (!ms_go_is_little(f, together.all.bytes)) {
        struct ms_known known;
        suspect.address = ms_granule_address(&f->scan->heap, f->tree->start[biggest]);
        error = ms_block_known(f->knowledge, f->tree->start[biggest], &known);
        error = error ? error : ms_known_text(f->knowledge, &known, &suspect.type);
        error = error ? error : ms_go_add_suspect(f, &together, &suspect);
    }
    ms_together_free(&together);
    return error;
}

static struct ms_error *find_cycles(struct ms_go_finder *f)
{
    struct ways w = {.met =
                         f->scan->go->finalizable.count ? calloc((size_t)f->tree->count + 1, sizeof *w.met) : NULL};
    if (!f->scan->go->finalizable.count)
        return NULL;
    struct ms_error *error = w.met ? collect_cycles(f, &w) : ms_error_nomem(WHAT);
    ms_vector_free(&w.stack);
    free(w.met);
    return error;
}

/* --- all of them ------------------------------------------------------------------------------- */

static int biggest_first(const void *a, const void *b)
{
    const struct ms_go_suspect *s = a, *t = b;
    if (s->retained.bytes != t->retained.bytes)
        return s->retained.bytes > t->retained.bytes ? -1 : 1;
    return s->kind != t->kind        ? (int)s->kind - (int)t->kind
           : s->address < t->address ? -1
                                     : s->address > t->address;
}

static struct ms_error *find_all(struct ms_go_finder *f, const struct ms_go_timers *timers,
                                 const struct ms_go_queue *queue)
{
    MS_TRY(find_timers(f, timers));
    MS_TRY(ms_go_find_contexts(f));
    MS_TRY(find_queued(f, queue, false));
    MS_TRY(find_queued(f, queue, true));
    return find_cycles(f);
}

ms_result ms_find_go_suspects(struct ms_scan *scan, struct ms_image *image, struct ms_types *types,
                              const struct ms_dominators *tree, struct ms_knowledge *knowledge,
                              struct ms_names *names, uint64_t live, struct ms_go_suspects *suspects)
{
    struct ms_go_finder f = {scan, image, types, tree, knowledge, names, suspects, live};
    struct ms_go_timers timers = {0};
    struct ms_go_queue queue = {0};
    *suspects = (struct ms_go_suspects){0};
    struct ms_error *error = ms_go_timers_read(scan->go, &timers);
    error = error ? error : ms_go_queue_read(scan->go, &queue);
    if (error) { /* the rest of the report does not need it */
        ms_image_warn(image, "what timers and finalizers keep alive is not known: %s", error->message);
        ms_error_free(error);
    }
    error = find_all(&f, &timers, &queue);
    ms_vector_sort(&suspects->list, biggest_first);
    ms_go_timers_free(&timers);
    ms_go_queue_free(&queue);
    if (error)
        ms_go_suspects_free(suspects);
    return error;
}

void ms_go_suspects_free(struct ms_go_suspects *suspects)
{
    ms_vector_free(&suspects->list);
}
