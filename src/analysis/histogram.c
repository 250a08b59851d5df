/* The heap report: live blocks grouped by what they are, with what each group retains. */
#include "memscope/histogram.h"

#include <stdlib.h>
#include <string.h>

#include "retainers.h"

const char *const ms_heap_by_names[MS_BY_COUNT] = {
    [MS_BY_TYPE] = "type", [MS_BY_SIZE] = "size", [MS_BY_MODULE] = "module", [MS_BY_ARENA] = "arena",
};
const char *const ms_heap_sort_names[MS_SORT_COUNT] = {
    [MS_SORT_BYTES] = "bytes", [MS_SORT_BLOCKS] = "blocks", [MS_SORT_RETAINED] = "retained",
};
const char *const ms_group_names[MS_GROUP_KINDS] = {
    [MS_GROUP_CLASS] = "class",     [MS_GROUP_TEXT] = "text",       [MS_GROUP_SIZE] = "size",
    [MS_GROUP_MODULE] = "module",   [MS_GROUP_UNKNOWN] = "unknown", [MS_GROUP_ARENA] = "arena",
    [MS_GROUP_MAPPED] = "mapped",
};

#define NO_INDEX UINT32_MAX

/* --- a map of numbers to small ones ------------------------------------------------------------ */

/* Open addressing, at most half full. */
struct map {
    struct map_entry {
        uint64_t key;
        uint32_t value; /* plus one; 0: free */
    } *entries; /* owned */
    size_t size;    /* a power of two, or 0 */
    size_t used;
};

static struct map_entry *slot_of(const struct map *map, uint64_t key)
{
    /* A multiplicative hash (Knuth's golden ratio); its upper bits are the good ones. */
    size_t i = (key * 0x9e3779b97f4a7c15u) >> 32;
    for (;; i++) {
        struct map_entry *e = &map->entries[i & (map->size - 1)];
        if (!e->value || e->key == key)
            return e;
    }
}

static uint32_t map_get(const struct map *map, uint64_t key)
{
    return map->size ? slot_of(map, key)->value - 1 : NO_INDEX; /* free: 0 - 1 */
}

static struct ms_error *map_grow(struct map *map)
{
    struct map bigger = {.size = map->size ? map->size * 2 : 256, .used = map->used};
    bigger.entries = calloc(bigger.size, sizeof *bigger.entries);
    if (!bigger.entries)
        return ms_error_nomem("the histogram");
    for (size_t i = 0; i < map->size; i++)
        if (map->entries[i].value)
            *slot_of(&bigger, map->entries[i].key) = map->entries[i];
    free(map->entries);
    *map = bigger;
    return NULL;
}

static struct ms_error *map_put(struct map *map, uint64_t key, uint32_t value)
{
    if (map->used >= map->size / 2)
        MS_TRY(map_grow(map));
    *slot_of(map, key) = (struct map_entry){key, value + 1};
    map->used++;
    return NULL;
}

/* --- groups ------------------------------------------------------------------------------------ */

struct builder {
    struct ms_scan *scan;
    struct ms_symbols *symbols;
    const struct ms_heap_options *options;
    struct ms_heap_report *report;
    struct ms_dominators tree;
    MS_VECTOR(struct ms_heap_group) groups;
    struct map group_index; /* by key_of() */
    MS_VECTOR(struct ms_heap_group) seen; /* what a first word says: kinds CLASS, MODULE, UNKNOWN */
    struct map seen_index;  /* by target */
    size_t next_sample;     /* samples are passed through as blocks are */
    struct ms_reserve group_of; /* uint32_t by position */
};

/* One number for what the blocks of a group share: the upper byte is the kind, the rest is free for it. */
static uint64_t key_of(const struct ms_heap_group *group)
{
    uint64_t value = group->size + group->arena;
    if (group->kind == MS_GROUP_CLASS)
        value = (uintptr_t)group->type;
    else if (group->kind == MS_GROUP_MODULE)
        value = (uintptr_t)group->module;
    return (uint64_t)group->kind << 56 ^ value;
}

static struct ms_heap_group look_up(const struct builder *b, uint64_t target, uint64_t start)
{
    struct ms_heap_group what = {.kind = MS_GROUP_UNKNOWN};
    uint64_t address = b->symbols ? ms_scan_module_address(b->scan, target) : 0;
    if (b->options->by == MS_BY_TYPE) {
        struct ms_known known = ms_block_known(b->scan, b->symbols, start);
        what.type = known.type;
        what.module = known.module;
        what.kind = known.type ? MS_GROUP_CLASS : MS_GROUP_UNKNOWN;
    } else if (address) {
        what.module = ms_symbols_module(b->symbols, address);
        what.kind = what.module ? MS_GROUP_MODULE : MS_GROUP_UNKNOWN;
    }
    return what;
}

/* What the first word of START's block says; each target is looked up once. */
static struct ms_error *first_word(struct builder *b, uint64_t start, struct ms_heap_group *what)
{
    uint64_t target = ms_first_target(b->scan, start);
    *what = (struct ms_heap_group){.kind = MS_GROUP_UNKNOWN};
    if (target == MS_NOTHING || target < 2 * b->scan->heap.granules)
        return NULL;
    uint32_t index = map_get(&b->seen_index, target);
    if (index == NO_INDEX) {
        struct ms_heap_group *slot = ms_vector_add(&b->seen);
        if (!slot)
            return ms_error_nomem("the histogram");
        *slot = look_up(b, target, start);
        index = (uint32_t)(b->seen.count - 1);
        MS_TRY(map_put(&b->seen_index, target, index));
    }
    *what = b->seen.items[index];
    return NULL;
}

/* The sample of START's block, or NULL; blocks come in the order of samples. */
static const struct ms_sample *sample_of(struct builder *b, uint64_t start)
{
    const struct ms_heap *heap = &b->scan->heap;
    while (b->next_sample < heap->samples.count && heap->samples.items[b->next_sample].granule < start)
        b->next_sample++;
    bool there = b->next_sample < heap->samples.count && heap->samples.items[b->next_sample].granule == start;
    return there ? &heap->samples.items[b->next_sample] : NULL;
}

static void preview(struct ms_heap_group *group, const struct ms_sample *sample, uint64_t size)
{
    group->preview_size = ms_text_length(sample->bytes, size);
    memcpy(group->preview, sample->bytes, group->preview_size);
}

/*
 * What START's block is. Text counts as a type only when every text block could be sampled: else it
 * would have part of them.
 */
static struct ms_error *classify(struct builder *b, uint64_t start, uint64_t size, struct ms_heap_group *what)
{
    const struct ms_heap *heap = &b->scan->heap;
    *what = (struct ms_heap_group){.kind = MS_GROUP_SIZE, .size = size};
    const struct ms_sample *sample = sample_of(b, start);
    if (b->options->by == MS_BY_ARENA) {
        const struct ms_arena *arena = &heap->arenas.items[ms_granule_segment(heap, start)->arena];
        *what = (struct ms_heap_group){.kind = arena->mapped ? MS_GROUP_MAPPED : MS_GROUP_ARENA,
                                       .arena = arena->address};
        return NULL;
    }
    if (b->options->by != MS_BY_SIZE) {
        struct ms_heap_group word;
        MS_TRY(first_word(b, start, &word));
        if (word.kind != MS_GROUP_UNKNOWN || b->options->by == MS_BY_MODULE) {
            *what = word;
            return NULL;
        }
    }
    if (sample)
        preview(what, sample, size);
    if (what->preview_size && b->options->by == MS_BY_TYPE && !heap->samples_thinned) {
        what->kind = MS_GROUP_TEXT;
        what->size = 0;
    }
    return NULL;
}

/* The group that WHAT belongs to, made when it is the first. */
static struct ms_error *group_index(struct builder *b, const struct ms_heap_group *what, uint32_t *index)
{
    uint64_t key = key_of(what);
    *index = map_get(&b->group_index, key);
    if (*index != NO_INDEX)
        return NULL;
    struct ms_heap_group *slot = ms_vector_add(&b->groups);
    if (!slot || b->groups.count >= NO_INDEX)
        return ms_error_nomem("the histogram");
    *slot = *what;
    *index = (uint32_t)(b->groups.count - 1);
    return map_put(&b->group_index, key, *index);
}

static struct ms_error *add_block(struct builder *b, uint64_t start)
{
    const struct ms_heap *heap = &b->scan->heap;
    struct ms_heap_group what;
    uint64_t size = ms_block_size(heap, start);
    uint32_t index;
    MS_TRY(classify(b, start, size, &what));
    MS_TRY(group_index(b, &what, &index));
    struct ms_heap_group *group = &b->groups.items[index];
    group->blocks++;
    group->bytes += size;
    if (!group->preview_size && what.preview_size) {
        group->preview_size = what.preview_size;
        memcpy(group->preview, what.preview, sizeof what.preview);
    }
    uint32_t position = ms_dominator_position(&b->tree, heap, start);
    if (position)
        ((uint32_t *)(void *)b->group_of.base)[position] = index;
    struct ms_tally *tally = position ? &b->report->reachable : &b->report->lost;
    tally->blocks++;
    tally->bytes += size;
    return NULL;
}

static struct ms_error *add_blocks(struct builder *b)
{
    const struct ms_heap *heap = &b->scan->heap;
    const uint64_t bytes = ((uint64_t)b->tree.count + 1) * sizeof(uint32_t);
    MS_TRY(ms_reserve(&b->group_of, bytes, "the histogram"));
    ms_reserve_populate(&b->group_of, 0, bytes);
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++)
        for (uint32_t bits = heap->lines[l].starts & heap->lines[l].live; bits; bits &= bits - 1)
            MS_TRY(add_block(b, l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits)));
    struct ms_heap_report *report = b->report;
    report->live.blocks = report->reachable.blocks + report->lost.blocks;
    report->live.bytes = report->reachable.bytes + report->lost.bytes;
    return NULL;
}

/*
 * In preorder what a block retains follows it. So a block of a group adds what it retains unless it
 * comes before the end of the last one that did.
 */
static struct ms_error *add_retained(struct builder *b)
{
    const struct ms_dominators *tree = &b->tree;
    const uint32_t *group_of = (const uint32_t *)(const void *)b->group_of.base;
    ms_auto_free uint32_t *until = calloc(b->groups.count + 1, sizeof *until);
    if (!until)
        return ms_error_nomem("the histogram");
    for (uint32_t p = 1; p <= tree->count; p++) {
        struct ms_heap_group *group = &b->groups.items[group_of[p]];
        if (p < until[group_of[p]])
            continue;
        until[group_of[p]] = tree->end[p];
        group->retained += tree->retained[p];
        if (tree->retained[p] > group->most) {
            group->most = tree->retained[p];
            group->sample = ms_granule_address(&b->scan->heap, tree->start[p]);
        }
    }
    for (size_t i = 0; i < b->groups.count; i++)
        b->groups.items[i].share = ms_share(b->groups.items[i].bytes, b->report->live.bytes);
    return NULL;
}

/* --- suspects ---------------------------------------------------------------------------------- */

static uint32_t group_of_address(const struct builder *b, uint64_t address)
{
    const struct ms_heap *heap = &b->scan->heap;
    uint64_t start = ms_address_granule(ms_heap_segment(heap, address), address);
    return ((const uint32_t *)(const void *)b->group_of.base)[ms_dominator_position(&b->tree, heap, start)];
}

static struct ms_error *add_group_suspect(struct ms_heap_report *report, const struct ms_heap_group *group,
                                          uint64_t retained)
{
    struct ms_suspect *suspect = ms_vector_add(&report->suspects);
    if (!suspect)
        return ms_error_nomem("the suspects");
    *suspect = (struct ms_suspect){.is_group = true, .group = *group, .retained = retained,
                                   .share = ms_share(retained, report->live.bytes)};
    return NULL;
}

static int biggest_suspect_first(const void *a, const void *b)
{
    const struct ms_suspect *s = a, *t = b;
    if (s->retained != t->retained)
        return s->retained > t->retained ? -1 : 1;
    return s->is_group - t->is_group;
}

/* Blocks are in the list already. Everything in an arena or of a module is no finding. */
static struct ms_error *suspect_groups(struct builder *b)
{
    struct ms_heap_report *report = b->report;
    if (b->options->by != MS_BY_TYPE && b->options->by != MS_BY_SIZE)
        return NULL;
    ms_auto_free uint64_t *left = calloc(b->groups.count + 1, sizeof *left);
    if (!left)
        return ms_error_nomem("the suspects");
    for (size_t i = 0; i < b->groups.count; i++)
        left[i] = b->groups.items[i].retained;
    /* No other block of its group retains a suspect: only roots hold it. */
    for (size_t i = 0; i < report->suspects.count; i++) {
        const struct ms_suspect *s = &report->suspects.items[i];
        left[group_of_address(b, s->retainer.block.address)] -= s->retained;
    }
    for (size_t i = 0; i < b->groups.count; i++)
        if (b->groups.items[i].blocks > 1 && ms_is_suspect(report, left[i]))
            MS_TRY(add_group_suspect(report, &b->groups.items[i], left[i]));
    ms_vector_sort(&report->suspects, biggest_suspect_first);
    return NULL;
}

/* --- the report -------------------------------------------------------------------------------- */

static int order_of(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_bytes(const void *a, const void *b)
{
    const struct ms_heap_group *g = a, *h = b;
    int by = order_of(h->bytes, g->bytes);
    by = by ? by : order_of(h->blocks, g->blocks);
    by = by ? by : order_of(h->retained, g->retained);
    by = by ? by : order_of(g->kind, h->kind);
    return by ? by : order_of(g->size + g->arena + g->sample, h->size + h->arena + h->sample);
}

static int by_blocks(const void *a, const void *b)
{
    const struct ms_heap_group *g = a, *h = b;
    int by = order_of(h->blocks, g->blocks);
    return by ? by : by_bytes(a, b);
}

static int by_retained(const void *a, const void *b)
{
    const struct ms_heap_group *g = a, *h = b;
    int by = order_of(h->retained, g->retained);
    return by ? by : by_bytes(a, b);
}

static struct ms_error *sort_out(struct builder *b)
{
    typedef int comparison(const void *, const void *);
    static comparison *const orders[MS_SORT_COUNT] = {by_bytes, by_blocks, by_retained};
    struct ms_heap_report *report = b->report;
    ms_vector_sort(&b->groups, orders[b->options->sort]);
    report->group_count = b->groups.count;
    for (size_t i = 0; i < b->groups.count; i++) {
        const struct ms_heap_group *group = &b->groups.items[i];
        bool small = group->bytes < b->options->min_bytes && group->retained < b->options->min_bytes;
        if (small || report->groups.count >= b->options->group_limit) {
            report->others.blocks += group->blocks;
            report->others.bytes += group->bytes;
            continue;
        }
        struct ms_heap_group *slot = ms_vector_add(&report->groups);
        if (!slot)
            return ms_error_nomem("the histogram");
        *slot = *group;
    }
    return NULL;
}

static struct ms_error *build(struct builder *b)
{
    struct ms_reach reach;
    MS_TRY(ms_mark(b->scan, &reach));
    MS_TRY(ms_find_dominators(b->scan, &b->tree));
    MS_TRY(add_blocks(b));
    MS_TRY(add_retained(b));
    MS_TRY(ms_find_retainers(b->scan, b->symbols, &b->tree, b->options, b->report));
    MS_TRY(suspect_groups(b));
    return sort_out(b);
}

ms_result ms_heap_report(struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                         const struct ms_heap_options *options, struct ms_heap_report *report)
{
    *report = (struct ms_heap_report){.by = options->by, .sort = options->sort,
                                      .complete = !image->incomplete};
    struct builder b = {.scan = scan, .symbols = symbols, .options = options, .report = report};
    struct ms_error *error = build(&b);
    ms_dominators_free(&b.tree);
    ms_reserve_free(&b.group_of);
    ms_vector_free(&b.groups);
    ms_vector_free(&b.seen);
    free(b.group_index.entries);
    free(b.seen_index.entries);
    if (error)
        ms_heap_report_free(report);
    return error;
}

void ms_heap_report_free(struct ms_heap_report *report)
{
    ms_vector_free(&report->groups);
    ms_vector_free(&report->retainers);
    ms_vector_free(&report->suspects);
}
