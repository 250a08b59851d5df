/* The biggest retainers: blocks that only roots hold, and where below them what they retain spreads. */
#include "retainers.h"

#include <string.h>

/*
 * What a block retains often hangs from another far below it: a server's state, its table, the
 * table's buckets. One goes down while one block still retains three quarters of it all; a way longer
 * than this is a list, and then any place on it would be as good.
 */
#define LONGEST_WAY 100u
/* Each takes a search from the roots on. */
#define ROOTS_NAMED 20u

struct top {
    uint64_t retained;
    uint32_t position;
};

/* The biggest so far, in order up to LIMIT, then as they came. */
struct tops {
    MS_VECTOR(struct top) list;
    size_t limit;
};

static int biggest_first(const void *a, const void *b)
{
    const struct top *s = a, *t = b;
    if (s->retained != t->retained)
        return s->retained > t->retained ? -1 : 1;
    return s->position < t->position ? -1 : s->position > t->position;
}

static void cut(struct tops *tops)
{
    ms_vector_sort(&tops->list, biggest_first);
    if (tops->list.count > tops->limit)
        tops->list.count = tops->limit;
}

/* Keeps at most twice LIMIT. */
static struct ms_error *add_top(struct tops *tops, uint64_t retained, uint32_t position)
{
    if (tops->list.count / 2 >= tops->limit)
        cut(tops);
    struct top *top = ms_vector_add(&tops->list);
    if (!top)
        return ms_error_nomem("the retainers");
    *top = (struct top){retained, position};
    return NULL;
}

static struct ms_error *describe(const struct ms_scan *scan, const struct ms_dominators *tree, uint32_t position,
                                 const struct ms_heap_report *report, struct ms_owner *owner)
{
    const struct ms_heap *heap = &scan->heap;
    const uint64_t start = tree->start[position];
    struct ms_known known;
    MS_TRY(ms_block_known(report->knowledge, start, &known));
    *owner = (struct ms_owner){
        .address = ms_granule_address(heap, start),
        .size = ms_block_size(heap, start),
        .retained = tree->retained[position],
        .retained_blocks = tree->end[position] - position,
        .share = ms_share(tree->retained[position], report->live.bytes),
        .by = known.by,
        .module = known.module,
    };
    owner->preview_size = ms_block_preview(heap, start, owner->preview);
    return ms_known_text(report->knowledge, &known, &owner->type);
}

/* Of the blocks right below POSITION the one that retains at least LEAST, or 0. */
static uint32_t heaviest_below(const struct ms_dominators *tree, uint32_t position, uint64_t least)
{
    uint32_t heaviest = 0;
    for (uint32_t p = position + 1; p < tree->end[position]; p = tree->end[p])
        if (tree->retained[p] >= least && (!heaviest || tree->retained[p] > tree->retained[heaviest]))
            heaviest = p;
    return heaviest;
}

static uint32_t gathering_point(const struct ms_dominators *tree, uint32_t position)
{
    const uint64_t most = tree->retained[position] - tree->retained[position] / 4;
    uint32_t at = position;
    for (unsigned way = 0; way < LONGEST_WAY; way++) {
        uint32_t below = heaviest_below(tree, at, most);
        if (!below)
            return at == position ? 0 : at;
        at = below;
    }
    return 0;
}

static struct ms_error *add_suspect(struct ms_heap_report *report, const struct ms_retainer *retainer)
{
    struct ms_suspect *suspect = ms_vector_add(&report->suspects);
    if (!suspect)
        return ms_error_nomem("the suspects");
    suspect->retainer = *retainer;
    suspect->retained = retainer->block.retained;
    suspect->share = retainer->block.share;
    return NULL;
}

static struct ms_error *collect(const struct ms_dominators *tree, struct tops *tops)
{
    for (uint32_t p = 1; p <= tree->count; p = tree->end[p])
        MS_TRY(add_top(tops, tree->retained[p], p));
    cut(tops);
    return NULL;
}

/* Describes the block at POSITION, and adds it to the lists that it belongs to. */
static struct ms_error *add_retainer(const struct ms_scan *scan, const struct ms_dominators *tree,
                                     uint32_t position, bool listed, bool suspect,
                                     struct ms_heap_report *report)
{
    struct ms_retainer retainer = {0};
    MS_TRY(describe(scan, tree, position, report, &retainer.block));
    const uint32_t gathers = gathering_point(tree, position);
    if (gathers)
        MS_TRY(describe(scan, tree, gathers, report, &retainer.gathers));
    struct ms_retainer *slot = listed ? ms_vector_add(&report->retainers) : NULL;
    if (slot)
        *slot = retainer;
    else if (listed)
        return ms_error_nomem("the retainers");
    return suspect ? add_suspect(report, &retainer) : NULL;
}

struct ms_error *ms_find_retainers(const struct ms_scan *scan, const struct ms_dominators *tree,
                                   const struct ms_heap_options *options, struct ms_heap_report *report)
{
    /* No more than these can be suspects, whatever is asked for. */
    const size_t most_suspects = 100 / MS_SUSPECT_PERCENT, limit = options->retainer_limit;
    struct tops tops = {.limit = limit > most_suspects ? limit : most_suspects};
    struct ms_error *error = collect(tree, &tops);
    for (size_t i = 0; !error && i < tops.list.count; i++) {
        uint32_t position = tops.list.items[i].position;
        bool suspect = ms_is_suspect(report, tree->retained[position]);
        bool listed = i < limit && tree->retained[position] >= options->min_bytes;
        if (!suspect && !listed)
            break;
        error = add_retainer(scan, tree, position, listed, suspect, report);
    }
    ms_vector_free(&tops.list);
    return error;
}

/* --- the roots that hold them ------------------------------------------------------------------ */

/* Where the shortest chain to OWNER begins. */
static struct ms_error *name_root(const struct ms_scan *scan, struct ms_names *names,
                                  const struct ms_heap_report *report, struct ms_owner *owner)
{
    const struct ms_segment *segment = ms_heap_segment(&scan->heap, owner->address);
    const uint64_t start = ms_address_granule(segment, owner->address);
    struct ms_chains chains;
    struct ms_place place = {0};
    MS_TRY(ms_find_chains(scan, start, MS_NOTHING, 1, &chains));
    struct ms_error *error = NULL;
    if (chains.list.count && chains.list.items[0].root)
        error = ms_name_root(names, chains.list.items[0].root, &place);
    if (!error && place.text)
        error = ms_known_intern(report->knowledge, place.text, &owner->root);
    ms_place_free(&place);
    ms_chains_free(&chains);
    return error;
}

struct ms_error *ms_name_retainers(const struct ms_scan *scan, struct ms_names *names,
                                   struct ms_heap_report *report)
{
    for (size_t i = 0; i < report->retainers.count && i < ROOTS_NAMED; i++)
        MS_TRY(name_root(scan, names, report, &report->retainers.items[i].block));
    for (size_t i = 0; i < report->suspects.count; i++)
        MS_TRY(name_root(scan, names, report, &report->suspects.items[i].retainer.block));
    return NULL;
}
