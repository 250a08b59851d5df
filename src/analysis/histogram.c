/* The heap report: live blocks grouped by what they are, with what each group retains. */
#include "memscope/histogram.h"

#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "retainers.h"

const char *const ms_heap_by_names[MS_BY_COUNT] = {
    [MS_BY_TYPE] = "type", [MS_BY_SIZE] = "size", [MS_BY_MODULE] = "module", [MS_BY_ARENA] = "arena",
};
const char *const ms_heap_sort_names[MS_SORT_COUNT] = {
    [MS_SORT_BYTES] = "bytes", [MS_SORT_BLOCKS] = "blocks", [MS_SORT_RETAINED] = "retained",
};
const char *const ms_group_names[MS_GROUP_KINDS] = {
    [MS_GROUP_CLASS] = "class", [MS_GROUP_TYPE] = "type",     [MS_GROUP_TEXT] = "text",
    [MS_GROUP_SIZE] = "size",   [MS_GROUP_MODULE] = "module", [MS_GROUP_UNKNOWN] = "unknown",
    [MS_GROUP_ARENA] = "arena", [MS_GROUP_MAPPED] = "mapped",
};

#define WHAT "the histogram"

/* --- groups ------------------------------------------------------------------------------------ */

struct builder {
    struct ms_scan *scan;
    struct ms_symbols *symbols;
    const struct ms_heap_options *options;
    struct ms_heap_report *report;
    struct ms_dominators tree;
    MS_VECTOR(struct ms_heap_group) groups;
    struct ms_map group_index; /* by kind_key(), value_key() */
    MS_VECTOR(const char *) modules; /* that first words point into; NULL: none */
    struct ms_map module_index;      /* of these, by target */
    size_t next_sample;     /* samples are passed through as blocks are */
    struct ms_reserve group_of; /* uint32_t by position */
};

/* What the blocks of a group share as two numbers: its kind, and what goes with that. */
static uint64_t kind_key(const struct ms_heap_group *group)
{
    return (uint64_t)group->kind * 2 + (group->by == MS_BY_GUESS);
}

static uint64_t value_key(const struct ms_heap_group *group)
{
    if (group->kind == MS_GROUP_CLASS || group->kind == MS_GROUP_TYPE)
        return (uintptr_t)group->type;
    return group->kind == MS_GROUP_MODULE ? (uintptr_t)group->module : group->size + group->arena;
}

/* The module into whose constants the first word of START's block points; each target is looked up once. */
static struct ms_error *first_module(struct builder *b, uint64_t start, const char **module)
{
    uint64_t target = ms_first_target(b->scan, start);
    *module = NULL;
    if (target == MS_NOTHING || target < 2 * b->scan->heap.granules || !b->symbols)
        return NULL;
    const uint64_t *index = ms_map_get(&b->module_index, target, 0);
    if (!index) {
        uint64_t address = ms_scan_module_address(b->scan, target);
        const char **slot = ms_vector_add(&b->modules);
        if (!slot)
            return ms_error_nomem(WHAT);
        *slot = address ? ms_symbols_module(b->symbols, address) : NULL;
        *module = *slot;
        return ms_map_put(&b->module_index, target, 0, b->modules.count - 1) ? NULL : ms_error_nomem(WHAT);
    }
    *module = b->modules.items[*index];
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

/* By type: text counts as one only when every text block could be sampled: else it would have part of them. */
static struct ms_error *classify_type(struct builder *b, uint64_t start, const struct ms_known *known,
                                      struct ms_heap_group *what)
{
    const struct ms_sample *sample = sample_of(b, start);
    if (known->by) {
        enum ms_group_kind kind = known->by == MS_BY_VTABLE ? MS_GROUP_CLASS : MS_GROUP_TYPE;
        *what = (struct ms_heap_group){.kind = kind, .by = known->by, .module = known->module};
        return ms_known_group(b->report->knowledge, known, &what->type);
    }
    if (sample)
        preview(what, sample, what->size);
    if (what->preview_size && !b->scan->heap.samples_thinned) {
        what->kind = MS_GROUP_TEXT;
        what->size = 0;
    }
    return NULL;
}

static struct ms_error *classify(struct builder *b, uint64_t start, uint64_t size, const struct ms_known *known,
                                 struct ms_heap_group *what)
{
    const struct ms_heap *heap = &b->scan->heap;
    *what = (struct ms_heap_group){.kind = MS_GROUP_SIZE, .size = size};
    const struct ms_arena *arena;
    const struct ms_sample *sample;
    switch (b->options->by) {
    case MS_BY_TYPE:
        return classify_type(b, start, known, what);
    case MS_BY_MODULE:
        *what = (struct ms_heap_group){.kind = MS_GROUP_UNKNOWN};
        MS_TRY(first_module(b, start, &what->module));
        what->kind = what->module ? MS_GROUP_MODULE : MS_GROUP_UNKNOWN;
        return NULL;
    case MS_BY_ARENA:
        arena = &heap->arenas.items[ms_granule_segment(heap, start)->arena];
        *what = (struct ms_heap_group){.kind = arena->mapped ? MS_GROUP_MAPPED : MS_GROUP_ARENA,
                                       .arena = arena->address};
        return NULL;
    case MS_BY_SIZE:
    case MS_BY_COUNT:
        sample = sample_of(b, start);
        if (sample)
            preview(what, sample, size);
        break;
    }
    return NULL;
}

/* The group that WHAT belongs to, made when it is the first. */
static struct ms_error *group_index(struct builder *b, const struct ms_heap_group *what, uint32_t *index)
{
    const uint64_t kind = kind_key(what), value = value_key(what);
    const uint64_t *found = ms_map_get(&b->group_index, kind, value);
    if (found) {
        *index = (uint32_t)*found;
        return NULL;
    }
    struct ms_heap_group *slot = ms_vector_add(&b->groups);
    if (!slot || b->groups.count >= UINT32_MAX)
        return ms_error_nomem(WHAT);
    *slot = *what;
    *index = (uint32_t)(b->groups.count - 1);
    return ms_map_put(&b->group_index, kind, value, *index) ? NULL : ms_error_nomem(WHAT);
}

static void count(struct ms_tally *tally, uint64_t size)
{
    tally->blocks++;
    tally->bytes += size;
}

static struct ms_error *add_block(struct builder *b, uint64_t start)
{
    const struct ms_heap *heap = &b->scan->heap;
    struct ms_heap_group what;
    struct ms_known known;
    uint64_t size = ms_block_size(heap, start);
    uint32_t index = 0;
    MS_TRY(ms_block_known(b->report->knowledge, start, &known));
    count(&b->report->typed[known.by], size);
    MS_TRY(classify(b, start, size, &known, &what));
    MS_TRY(group_index(b, &what, &index));
    struct ms_heap_group *group = &b->groups.items[index];
    group->by = what.by < group->by ? what.by : group->by;
    group->blocks++;
    group->bytes += size;
    if (!group->preview_size && what.preview_size) {
        group->preview_size = what.preview_size;
        memcpy(group->preview, what.preview, sizeof what.preview);
    }
    uint32_t position = ms_dominator_position(&b->tree, heap, start);
    if (position)
        ((uint32_t *)(void *)b->group_of.base)[position] = index;
    count(position ? &b->report->reachable : &b->report->lost, size);
    return NULL;
}

static struct ms_error *add_blocks(struct builder *b)
{
    const struct ms_heap *heap = &b->scan->heap;
    const uint64_t bytes = ((uint64_t)b->tree.count + 1) * sizeof(uint32_t);
    MS_TRY(ms_reserve(&b->group_of, bytes, WHAT));
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
        return ms_error_nomem(WHAT);
    for (uint32_t p = 1; p <= tree->count; p++) {
        struct ms_heap_group *group = &b->groups.items[group_of[p]];
        if (p < until[group_of[p]])
            continue;
        until[group_of[p]] = tree->end[p];
        group->retained += tree->retained[p];
        const uint64_t address = ms_granule_address(&b->scan->heap, tree->start[p]);
        /* Of equals the first in memory: their order in the tree is that of the roots, which differs between runs. */
        if (tree->retained[p] > group->most || (tree->retained[p] == group->most && address < group->sample)) {
            group->most = tree->retained[p];
            group->sample = address;
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
    uint64_t start = ms_address_granule(heap, ms_heap_segment(heap, address), address);
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
            return ms_error_nomem(WHAT);
        *slot = *group;
    }
    return NULL;
}

static struct ms_error *build(struct builder *b, struct ms_image *image)
{
    const struct ms_heap_options *options = b->options;
    struct ms_reach reach;
    MS_TRY(ms_mark(b->scan, &reach));
    b->report->shared = options->knowledge;
    b->report->knowledge = options->knowledge;
    if (!options->knowledge)
        MS_TRY(ms_knowledge_new(b->scan, image, b->symbols, options->types, MS_TYPE_ALL, &b->report->knowledge));
    MS_TRY(ms_find_dominators(b->scan, &b->tree));
    MS_TRY(add_blocks(b));
    MS_TRY(add_retained(b));
    MS_TRY(ms_find_retainers(b->scan, &b->tree, options, b->report));
    MS_TRY(ms_find_pinned(b->scan, &b->tree, b->report));
    struct ms_names *names = NULL;
    struct ms_error *error = ms_names_new(b->scan, image, b->symbols, options->types, &names);
    if (!error)
        error = ms_name_retainers(b->scan, names, b->report);
    if (!error && b->scan->go)
        error = ms_find_go_suspects(b->scan, image, options->types, &b->tree, b->report->knowledge, names,
                                    b->report->live.bytes, &b->report->go_suspects);
    ms_names_free(names);
    MS_TRY(error);
    MS_TRY(suspect_groups(b));
    return sort_out(b);
}

ms_result ms_heap_report(struct ms_scan *scan, struct ms_image *image, struct ms_symbols *symbols,
                         const struct ms_heap_options *options, struct ms_heap_report *report)
{
    *report = (struct ms_heap_report){.by = options->by, .sort = options->sort,
                                      .types_sought = options->types, .complete = !image->incomplete};
    struct builder b = {.scan = scan, .symbols = symbols, .options = options, .report = report};
    struct ms_error *error = build(&b, image);
    if (!error && options->keep_tree) {
        report->tree = b.tree;
        b.tree = (struct ms_dominators){0};
    }
    ms_dominators_free(&b.tree);
    ms_reserve_free(&b.group_of);
    ms_vector_free(&b.groups);
    ms_vector_free(&b.modules);
    ms_map_free(&b.group_index);
    ms_map_free(&b.module_index);
    if (error)
        ms_heap_report_free(report);
    return error;
}

void ms_heap_report_free(struct ms_heap_report *report)
{
    ms_vector_free(&report->groups);
    ms_vector_free(&report->retainers);
    ms_vector_free(&report->suspects);
    ms_vector_free(&report->pinned);
    ms_go_suspects_free(&report->go_suspects);
    ms_dominators_free(&report->tree);
    if (!report->shared)
        ms_knowledge_free(report->knowledge);
}

/* --- blocks of a group ------------------------------------------------------------------------- */

/* Is the block at START one of GROUP? Then it is counted, and kept when it is one of the biggest so far. */
static struct ms_error *take_member(struct builder *b, const struct ms_heap_group *group, uint64_t start,
                                    struct ms_tops *tops, uint64_t *count)
{
    const struct ms_heap *heap = &b->scan->heap;
    const uint64_t size = ms_block_size(heap, start);
    struct ms_heap_group what;
    struct ms_known known;
    MS_TRY(ms_block_known(b->report->knowledge, start, &known));
    MS_TRY(classify(b, start, size, &known, &what));
    if (kind_key(&what) != kind_key(group) || value_key(&what) != value_key(group))
        return NULL;
    ++*count;
    const uint32_t position = ms_dominator_position(&b->report->tree, heap, start);
    return ms_tops_add(tops, position ? b->report->tree.retained[position] : size, start, WHAT);
}

static struct ms_error *find_members(struct builder *b, const struct ms_heap_group *group, struct ms_tops *tops,
                                     uint64_t *count)
{
    const struct ms_heap *heap = &b->scan->heap;
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES && *count < group->blocks; l++)
        for (uint32_t bits = heap->lines[l].starts & heap->lines[l].live; bits; bits &= bits - 1)
            MS_TRY(take_member(b, group, l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits), tops, count));
    ms_tops_cut(tops);
    return NULL;
}

ms_result ms_find_group_blocks(struct ms_scan *scan, const struct ms_heap_report *report,
                               const struct ms_heap_group *group, size_t most, struct ms_owners *blocks)
{
    const struct ms_heap_options options = {.by = MS_BY_TYPE};
    struct ms_heap_report same = *report; /* what a builder has is not constant */
    struct builder b = {.scan = scan, .options = &options, .report = &same};
    struct ms_tops tops = {.limit = most};
    *blocks = (struct ms_owners){0};
    struct ms_error *error = find_members(&b, group, &tops, &blocks->count);
    for (size_t i = 0; !error && i < tops.list.count; i++)
        error = ms_add_owner(scan, &report->tree, report, tops.list.items[i].item, blocks);
    ms_tops_free(&tops);
    if (error)
        ms_owners_free(blocks);
    return error;
}

void ms_owners_free(struct ms_owners *owners)
{
    ms_vector_free(&owners->list);
}

ms_result ms_each_live_block(const struct ms_scan *scan, const struct ms_heap_report *report,
                             ms_block_visitor *visit, void *context)
{
    const struct ms_heap *heap = &scan->heap;
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++) {
        for (uint32_t bits = heap->lines[l].starts & heap->lines[l].live; bits; bits &= bits - 1) {
            const uint64_t start = l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits);
            struct ms_listed_block block = {ms_granule_address(heap, start), ms_block_size(heap, start), 0, NULL};
            struct ms_known known;
            MS_TRY(ms_block_known(report->knowledge, start, &known));
            MS_TRY(ms_known_text(report->knowledge, &known, &block.type));
            block.by = known.by;
            MS_TRY(visit(context, &block)); // cppcheck-suppress returnDanglingLifetime
        }
    }
    return NULL;
}
