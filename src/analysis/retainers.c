/* The biggest retainers: blocks that only roots hold, and where below them what they retain spreads. */
#include "retainers.h"

/*
 * What a block retains often hangs from another far below it: a server's state, its table, the
 * table's buckets. One goes down while one block still retains three quarters of it all; a way longer
 * than this is a list, and then any place on it would be as good.
 */
#define LONGEST_WAY 100u
/* Each takes a search from the roots on. */
#define ROOTS_NAMED 20u

static struct ms_error *describe_owner(const struct ms_scan *scan, const struct ms_dominators *tree,
                                       const struct ms_heap_report *report, uint64_t start, struct ms_owner *owner)
{
    const struct ms_heap *heap = &scan->heap;
    const uint32_t position = ms_dominator_position(tree, heap, start);
    const uint64_t retained = position ? tree->retained[position] : 0;
    struct ms_known known;
    MS_TRY(ms_block_known(report->knowledge, start, &known));
    *owner = (struct ms_owner){
        .address = ms_granule_address(heap, start),
        .size = ms_block_size(heap, start),
        .retained = retained,
        .retained_blocks = position ? tree->end[position] - position : 0,
        .share = ms_share(retained, report->live.bytes),
        .by = known.by,
        .module = known.module,
    };
    owner->preview_size = ms_block_preview(heap, start, owner->preview);
    return ms_known_text(report->knowledge, &known, &owner->type);
}

struct ms_error *ms_add_owner(const struct ms_scan *scan, const struct ms_dominators *tree,
                              const struct ms_heap_report *report, uint64_t start, struct ms_owners *owners)
{
    struct ms_owner *owner = ms_vector_add(&owners->list);
    return owner ? describe_owner(scan, tree, report, start, owner) : ms_error_nomem("the retainers");
}

ms_result ms_find_retained(const struct ms_scan *scan, const struct ms_heap_report *report, uint64_t start,
                           size_t most, struct ms_owners *blocks)
{
    const struct ms_dominators *tree = &report->tree;
    const uint32_t position = ms_dominator_position(tree, &scan->heap, start);
    struct ms_children children = {0};
    *blocks = (struct ms_owners){0};
    if (position)
        MS_TRY(ms_dominator_children(tree, position, most, &children));
    blocks->count = children.count;
    struct ms_error *error = NULL;
    for (size_t i = 0; !error && i < children.tops.list.count; i++)
        error = ms_add_owner(scan, tree, report, tree->start[children.tops.list.items[i].item], blocks);
    ms_tops_free(&children.tops);
    if (error)
        ms_owners_free(blocks);
    return error;
}

bool ms_is_suspect(const struct ms_heap_report *report, uint64_t retained)
{
    return retained / MS_SUSPECT_PERCENT > report->live.bytes / 100;
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

/* Describes the block at POSITION, and adds it to the lists that it belongs to. */
static struct ms_error *add_retainer(const struct ms_scan *scan, const struct ms_dominators *tree,
                                     uint32_t position, bool listed, bool suspect,
                                     struct ms_heap_report *report)
{
    struct ms_retainer retainer = {0};
    MS_TRY(describe_owner(scan, tree, report, tree->start[position], &retainer.block));
    const uint32_t gathers = gathering_point(tree, position);
    if (gathers)
        MS_TRY(describe_owner(scan, tree, report, tree->start[gathers], &retainer.gathers));
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
    struct ms_children all;
    MS_TRY(ms_dominator_children(tree, 0, limit > most_suspects ? limit : most_suspects, &all));
    report->retainer_count = all.count;
    struct ms_error *error = NULL;
    for (size_t i = 0; !error && i < all.tops.list.count; i++) {
        const uint32_t position = (uint32_t)all.tops.list.items[i].item;
        bool suspect = ms_is_suspect(report, tree->retained[position]);
        bool listed = i < limit && tree->retained[position] >= options->min_bytes;
        if (!suspect && !listed)
            break;
        error = add_retainer(scan, tree, position, listed, suspect, report);
    }
    ms_tops_free(&all.tops);
    return error;
}

/* --- the roots that hold them ------------------------------------------------------------------ */

/* Where the shortest chain to OWNER begins. */
static struct ms_error *name_root(const struct ms_scan *scan, struct ms_names *names,
                                  const struct ms_heap_report *report, struct ms_owner *owner)
{
    const struct ms_segment *segment = ms_heap_segment(&scan->heap, owner->address);
    const uint64_t start = ms_address_granule(&scan->heap, segment, owner->address);
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
