/* The leak report: lost blocks, grouped by what they have in common. */
#include "memscope/leaks.h"

#include <search.h>
#include <stdlib.h>

#include "held.h"
#include "leak_index.h"

const char *const ms_leak_names[MS_LEAK_KINDS] = {
    [MS_DEFINITE] = "definite",
    [MS_INDIRECT] = "indirect",
    [MS_POSSIBLE] = "possible",
    [MS_REACHABLE] = "reachable",
};

struct builder {
    struct ms_scan *scan;
    struct ms_symbols *symbols;
    const struct ms_leak_options *options;
    struct ms_leak_report *report;
    struct ms_lost lost;
    struct ms_holdings holdings; /* of what leaders hold */
    void *tree;             /* tsearch() of struct ms_leak_group *, owned */
    bool *suppressed;       /* by leader; owned */
    uint32_t group_count;   /* in the tree */
};

/* --- what a block is --------------------------------------------------------------------------- */

/* A guess suppresses nothing: it might be another leak. */
static struct ms_error *is_suppressed(const struct builder *b, uint64_t start, bool *suppressed)
{
    const struct ms_suppressions *s = b->options->suppressions;
    struct ms_known what;
    *suppressed = false;
    if (!s)
        return NULL;
    MS_TRY(ms_block_known(b->report->knowledge, start, &what));
    *suppressed = what.by > MS_BY_GUESS && ((what.name && ms_suppressed(s, what.name)) ||
                                            (what.module && ms_suppressed(s, what.module)));
    return NULL;
}

/* --- groups ------------------------------------------------------------------------------------ */

static int order_of(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* Strings of one symbol table are one pointer each, so pointers are compared. */
static int compare_groups(const void *a, const void *b)
{
    const struct ms_leak_group *g = a, *h = b;
    int by = order_of(g->kind, h->kind);
    by = by ? by : order_of(g->size, h->size);
    by = by ? by : order_of((uintptr_t)g->type, (uintptr_t)h->type);
    by = by ? by : order_of((uintptr_t)g->module, (uintptr_t)h->module);
    by = by ? by : order_of(g->by == MS_BY_GUESS, h->by == MS_BY_GUESS);
    by = by ? by : order_of(g->ring, h->ring);
    by = by ? by : order_of(g->indirect_blocks > 0, h->indirect_blocks > 0);
    return by ? by : ms_held_compare(g->holds, h->holds);
}

static void free_group(void *group)
{
    free(group);
}

/* The group with the same key, made when it is the first; NULL without memory. */
static struct ms_leak_group *group_of(struct builder *b, const struct ms_leak_group *key)
{
    struct ms_leak_group **found = tfind(key, &b->tree, compare_groups);
    if (found)
        return *found;
    struct ms_leak_group *group = malloc(sizeof *group);
    if (!group)
        return NULL;
    *group = *key;
    if (!tsearch(group, &b->tree, compare_groups)) {
        free(group);
        return NULL;
    }
    group->first = b->group_count++; /* until they are in order */
    /* Counted from nothing on; of the key it only told that there is something. */
    group->indirect_blocks = 0;
    for (size_t i = 0; i < MS_GROUP_HOLDS; i++)
        group->holds[i].blocks = 0;
    return group;
}

/* Of a block what groups and list say. */
struct item {
    enum ms_leak_kind kind;
    uint64_t start, size;
    const char *type, *module;
    enum ms_evidence by;
    uint32_t group;  /* in the order in which they were made */
    uint32_t leader; /* that it is counted under, or MS_NO_INDEX */
};

static struct ms_error *add_to_group(struct builder *b, struct item *item, const struct ms_leader *leader)
{
    uint64_t held = leader ? leader->indirect_blocks : 0;
    struct ms_leak_group key = {.kind = item->kind, .size = item->size, .type = item->type, .module = item->module,
                                .by = item->by, .ring = leader && leader->ring, .indirect_blocks = held > 0};
    if (held)
        MS_TRY(ms_find_held(&b->holdings, b->report->knowledge, (size_t)(leader - b->lost.leaders.items), &key));
    struct ms_leak_group *group = group_of(b, &key);
    if (!group)
        return ms_error_nomem("the groups of leaks");
    item->group = group->first;
    group->blocks++;
    group->bytes += item->size;
    group->by = item->by < group->by ? item->by : group->by;
    group->indirect_blocks += held;
    group->indirect_bytes += leader ? leader->indirect_bytes : 0;
    ms_held_add(group, &key);
    if (group->samples < MS_GROUP_SAMPLES)
        group->sample[group->samples++] = ms_granule_address(&b->scan->heap, item->start);
    if (!group->preview_size)
        group->preview_size = ms_block_preview(&b->scan->heap, item->start, group->preview);
    return NULL;
}

static struct ms_error *add_to_list(struct builder *b, const struct item *item)
{
    if (!b->options->list)
        return NULL;
    struct ms_leak_block *block = ms_vector_add(&b->report->blocks);
    if (!block)
        return ms_error_nomem("the list of leaks");
    *block = (struct ms_leak_block){ms_granule_address(&b->scan->heap, item->start), item->size, item->type,
                                    item->kind, item->by, item->group, item->leader};
    return NULL;
}

/* --- the kinds --------------------------------------------------------------------------------- */

static void count(struct ms_tally *tally, uint64_t size)
{
    tally->blocks++;
    tally->bytes += size;
}

/* NUMBER: of the leader that it is counted under, or MS_NO_INDEX; LEADER: when it is that. */
static struct ms_error *add_block(struct builder *b, enum ms_leak_kind kind, uint64_t start, uint32_t number,
                                  const struct ms_leader *leader)
{
    struct item item = {.kind = kind, .start = start, .size = ms_block_size(&b->scan->heap, start),
                        .leader = number};
    struct ms_known what;
    count(&b->report->kinds[kind], item.size);
    if (!(b->options->kinds & 1u << kind))
        return NULL;
    MS_TRY(ms_block_known(b->report->knowledge, start, &what));
    MS_TRY(ms_known_text(b->report->knowledge, &what, &item.type));
    item.module = what.module;
    item.by = what.by;
    MS_TRY(add_to_group(b, &item, leader));
    return add_to_list(b, &item);
}

static struct ms_error *add_lost(struct builder *b)
{
    const struct ms_lost *lost = &b->lost;
    b->suppressed = calloc(lost->leaders.count + 1, sizeof *b->suppressed);
    if (!b->suppressed)
        return ms_error_nomem("the groups of leaks");
    for (size_t i = 0; b->options->suppressions && i < lost->leaders.count; i++)
        MS_TRY(is_suppressed(b, lost->leaders.items[i].start, &b->suppressed[i]));
    MS_TRY(ms_holdings_new(lost, &b->holdings));
    for (size_t i = 0; i < lost->count; i++) {
        const struct ms_leader *leader = &lost->leaders.items[lost->leader[i]];
        bool leads = leader->start == lost->starts[i];
        if (b->suppressed[lost->leader[i]])
            count(&b->report->suppressed, ms_block_size(&b->scan->heap, lost->starts[i]));
        else
            MS_TRY(add_block(b, leads ? MS_DEFINITE : MS_INDIRECT, lost->starts[i], lost->leader[i],
                             leads ? leader : NULL));
    }
    return NULL;
}

/* Blocks that are marked in one bitmap and not in the other. */
static struct ms_error *add_marked(struct builder *b, enum ms_leak_kind kind)
{
    const struct ms_heap *heap = &b->scan->heap;
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++) {
        const struct ms_line *line = &heap->lines[l];
        uint32_t bits = line->starts & line->live &
                        (kind == MS_REACHABLE ? line->reached : line->maybe & ~line->reached);
        for (; bits; bits &= bits - 1) {
            uint64_t start = l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits);
            bool suppressed = false;
            if (kind == MS_POSSIBLE)
                MS_TRY(is_suppressed(b, start, &suppressed));
            if (suppressed)
                count(&b->report->suppressed, ms_block_size(heap, start));
            else
                MS_TRY(add_block(b, kind, start, MS_NO_INDEX, NULL));
        }
    }
    return NULL;
}

/* --- the report -------------------------------------------------------------------------------- */

static int biggest_first(const void *a, const void *b)
{
    const struct ms_leak_group *g = a, *h = b;
    int by = order_of(g->kind, h->kind);
    by = by ? by : order_of(h->bytes + h->indirect_bytes, g->bytes + g->indirect_bytes);
    by = by ? by : order_of(h->blocks, g->blocks);
    return by ? by : order_of(g->sample[0], h->sample[0]);
}

static int blocks_by_address(const void *a, const void *b)
{
    return order_of(((const struct ms_leak_block *)a)->address, ((const struct ms_leak_block *)b)->address);
}

struct collected {
    struct ms_leak_report *report;
    uint64_t min_bytes;
    bool failed;
};

static void collect_group(const void *node, VISIT visit, void *context)
{
    const struct ms_leak_group *group = *(struct ms_leak_group *const *)node;
    struct collected *c = context;
    if ((visit != postorder && visit != leaf) || group->bytes + group->indirect_bytes < c->min_bytes)
        return;
    struct ms_leak_group *slot = ms_vector_add(&c->report->groups);
    if (slot)
        *slot = *group;
    else
        c->failed = true;
}

static struct ms_error *sort_out(struct builder *b)
{
    struct ms_leak_report *report = b->report;
    struct collected c = {report, b->options->min_bytes, false};
    twalk_r(b->tree, collect_group, &c);
    if (c.failed)
        return ms_error_nomem("the groups of leaks");
    for (size_t i = 0; i < report->groups.count; i++)
        ms_held_sort(&report->groups.items[i]);
    ms_vector_sort(&report->groups, biggest_first);
    ms_vector_sort(&report->blocks, blocks_by_address);
    return b->options->index ? ms_leak_index(report, &b->lost, b->group_count) : NULL;
}

/* The members of each group's first sample. */
static struct ms_error *decode(struct builder *b, const struct ms_image *image)
{
    const struct ms_decoder decoder = {b->scan, image, b->symbols, b->options->types, b->report->knowledge};
    b->report->shown = true;
    for (size_t i = 0; i < b->report->groups.count; i++) {
        struct ms_leak_group *group = &b->report->groups.items[i];
        const struct ms_segment *segment = ms_heap_segment(&b->scan->heap, group->sample[0]);
        const uint64_t start = ms_address_granule(&b->scan->heap, segment, group->sample[0]);
        struct ms_known what;
        MS_TRY(ms_block_known(b->report->knowledge, start, &what));
        MS_TRY(ms_decode(&decoder, start, &what.what, b->options->show, &group->values));
    }
    return NULL;
}

static struct ms_error *build(struct builder *b, struct ms_image *image)
{
    struct ms_leak_report *report = b->report;
    struct ms_reach reach;
    MS_TRY(ms_mark(b->scan, &reach));
    MS_TRY(ms_find_lost(b->scan, &b->lost));
    struct ms_types *types = b->lost.count ? b->options->types : NULL;
    MS_TRY(ms_knowledge_new(b->scan, image, b->symbols, types, MS_TYPE_LOST, &report->knowledge));
    MS_TRY(add_lost(b));
    MS_TRY(add_marked(b, MS_POSSIBLE));
    if (b->options->kinds & 1u << MS_REACHABLE)
        MS_TRY(add_marked(b, MS_REACHABLE));
    report->kinds[MS_REACHABLE] = reach.reachable;
    report->live.blocks = reach.reachable.blocks + reach.possible.blocks + b->lost.count;
    report->live.bytes = reach.reachable.bytes + reach.possible.bytes + b->lost.definite.bytes +
                         b->lost.indirect.bytes;
    report->complete = !image->incomplete;
    MS_TRY(sort_out(b));
    return b->options->show ? decode(b, image) : NULL;
}

ms_result ms_leaks(struct ms_scan *scan, struct ms_image *image, struct ms_symbols *symbols,
                   const struct ms_leak_options *options, struct ms_leak_report *report)
{
    *report = (struct ms_leak_report){0};
    struct builder b = {.scan = scan, .symbols = symbols, .options = options, .report = report};
    struct ms_error *error = build(&b, image);
    tdestroy(b.tree, free_group);
    ms_lost_free(&b.lost);
    ms_holdings_free(&b.holdings);
    free(b.suppressed);
    if (error)
        ms_leak_report_free(report);
    return error;
}

struct ms_tally ms_leaks_lost(const struct ms_leak_report *report)
{
    const struct ms_tally *definite = &report->kinds[MS_DEFINITE], *indirect = &report->kinds[MS_INDIRECT];
    return (struct ms_tally){definite->blocks + indirect->blocks, definite->bytes + indirect->bytes};
}

void ms_leak_report_free(struct ms_leak_report *report)
{
    for (size_t i = 0; i < report->groups.count; i++)
        ms_values_free(&report->groups.items[i].values);
    ms_vector_free(&report->groups);
    ms_vector_free(&report->blocks);
    ms_vector_free(&report->leaders);
    free(report->held);
    free(report->members);
    ms_knowledge_free(report->knowledge);
}
