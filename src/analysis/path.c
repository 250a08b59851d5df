/* The path report: what an address is, who points to it, what keeps it alive. */
#include "memscope/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expression.h"
#include "goexpression.h"
#include "memscope/known.h"
#include "memscope/leaks.h"

#define WORD 8u

struct builder {
    struct ms_scan *scan;
    struct ms_image *image;
    struct ms_symbols *symbols;
    const struct ms_path_options *options;
    struct ms_path_report *report;
    struct ms_knowledge *knowledge; /* the report's */
    struct ms_lost lost;
    bool lost_known; /* lost is filled: only when a lost block is met */
    MS_VECTOR(struct ms_pointer) pointers; /* to the block, those that are listed */
    struct ms_error *error; /* of a visitor; owned */
};

/* --- blocks ------------------------------------------------------------------------------------ */

static int order_of(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_starts(const void *a, const void *b)
{
    return order_of(*(const uint64_t *)a, *(const uint64_t *)b);
}

/* The leader that the lost block at START is counted under, NULL when it is not lost. */
static struct ms_error *find_leader(struct builder *b, uint64_t start, const struct ms_leader **leader)
{
    *leader = NULL;
    if (!b->lost_known)
        MS_TRY(ms_find_lost(b->scan, &b->lost));
    b->lost_known = true;
    const struct ms_lost *lost = &b->lost;
    const uint64_t *found =
        lost->count ? bsearch(&start, lost->starts, lost->count, sizeof start, compare_starts) : NULL;
    if (found)
        *leader = &lost->leaders.items[lost->leader[found - lost->starts]];
    return NULL;
}

static struct ms_error *classify(struct builder *b, uint64_t start, struct ms_path_block *block)
{
    const struct ms_line *line = &b->scan->heap.lines[start / MS_LINE_GRANULES];
    const struct ms_leader *leader = NULL;
    block->live = ms_bit(line->live & line->starts, start);
    if (!block->live) {
        block->class = ms_class_names[ms_chunk_class(&b->scan->heap, start)];
        return NULL;
    }
    enum ms_leak_kind kind = ms_bit(line->reached, start) ? MS_REACHABLE : MS_POSSIBLE;
    if (!ms_bit(line->reached | line->maybe, start)) {
        MS_TRY(find_leader(b, start, &leader));
        kind = leader && leader->start != start ? MS_INDIRECT : MS_DEFINITE;
    }
    block->class = b->scan->go && kind != MS_REACHABLE ? "unreachable" : ms_leak_names[kind];
    return NULL;
}

static struct ms_error *describe(struct builder *b, uint64_t start, struct ms_path_block *block)
{
    const struct ms_heap *heap = &b->scan->heap;
    const struct ms_segment *segment = ms_granule_segment(heap, start);
    *block = (struct ms_path_block){.address = ms_granule_address(heap, start),
                                    .size = ms_block_size(heap, start),
                                    .mapped = segment->kind == MS_SEGMENT_MAPPED,
                                    .arena = heap->arenas.items[segment->arena].address};
    /* What a segment begins with may be cut off by it. */
    if (block->address < segment->start) {
        block->size -= segment->start - block->address;
        block->address = segment->start;
    }
    MS_TRY(classify(b, start, block));
    if (!block->live)
        return NULL;
    struct ms_known what;
    MS_TRY(ms_block_known(b->knowledge, start, &what));
    block->by = what.by;
    block->module = what.module;
    block->preview_size = ms_block_preview(heap, start, block->preview);
    return ms_known_text(b->knowledge, &what, &block->type);
}

/* The member that WANTED bytes at OFFSET of START's block are, NULL when its type does not tell. */
static struct ms_error *find_member(struct builder *b, uint64_t start, uint64_t offset, uint64_t wanted,
                                    char **member)
{
    struct ms_known what;
    MS_TRY(ms_block_known(b->knowledge, start, &what));
    *member = what.what.type ? ms_member_text(b->options->types, &what.what, offset, wanted) : NULL;
    return NULL;
}

/* --- pointers to it ---------------------------------------------------------------------------- */

/* Those of roots before those of blocks, which come by address. */
static int compare_pointers(const struct ms_pointer *p, const struct ms_pointer *q)
{
    if (!p->root || !q->root)
        return (p->root == NULL) - (q->root == NULL);
    return ms_root_compare(p->root, q->root);
}

/* Counts a pointer, and keeps it in its place when it is one of those that are listed. */
static void take_pointer(void *context, const struct ms_pointer *pointer)
{
    struct builder *b = context;
    uint64_t *count = pointer->root ? &b->report->from_roots : &b->report->from_blocks;
    ++*count;
    size_t at = b->pointers.count;
    while (at > 0 && compare_pointers(pointer, &b->pointers.items[at - 1]) < 0)
        at--;
    if (at >= b->options->edges || b->error)
        return;
    if (b->pointers.count < b->options->edges && !ms_vector_add(&b->pointers)) {
        b->error = ms_error_nomem("the pointers");
        return;
    }
    struct ms_pointer *items = b->pointers.items;
    memmove(items + at + 1, items + at, (b->pointers.count - 1 - at) * sizeof *items);
    items[at] = *pointer;
}

static struct ms_error *add_incoming(struct builder *b, const struct ms_pointer *pointer)
{
    struct ms_path_edge *edge = ms_vector_add(&b->report->incoming);
    if (!edge)
        return ms_error_nomem("the pointers");
    edge->to_block = true;
    edge->into = pointer->into;
    if (pointer->root)
        return ms_name_root(b->report->names, pointer->root, &edge->place);
    edge->from_block = true;
    edge->offset = pointer->offset;
    MS_TRY(find_member(b, pointer->holder, pointer->offset, WORD, &edge->member));
    return describe(b, pointer->holder, &edge->block);
}

static struct ms_error *collect_incoming(struct builder *b, uint64_t start)
{
    ms_each_pointer_to(b->scan, start, take_pointer, b);
    struct ms_error *error = b->error;
    b->error = NULL;
    for (size_t i = 0; !error && i < b->pointers.count; i++)
        error = add_incoming(b, &b->pointers.items[i]);
    return error;
}

/* --- pointers from it -------------------------------------------------------------------------- */

/* The word at OFFSET of HOLDER's block (MS_NOTHING: a root's) holds TARGET: counted, and listed if there is room. */
static struct ms_error *add_outgoing(struct builder *b, uint64_t target, uint64_t holder, uint64_t offset)
{
    const bool from_block = holder != MS_NOTHING;
    const struct ms_heap *heap = &b->scan->heap;
    bool to_block = target < 2 * heap->granules;
    uint64_t start = to_block ? ms_start_of(heap, target / 2) : 0;
    uint64_t address = to_block ? 0 : ms_scan_module_address(b->scan, target);
    if (!to_block && !address)
        return NULL;
    uint64_t *count = to_block ? &b->report->to_blocks : &b->report->to_modules;
    ++*count;
    if (b->report->outgoing.count >= b->options->edges)
        return NULL;
    struct ms_path_edge *edge = ms_vector_add(&b->report->outgoing);
    if (!edge)
        return ms_error_nomem("the pointers");
    *edge = (struct ms_path_edge){.to_block = to_block, .from_block = from_block, .offset = offset};
    if (from_block)
        MS_TRY(find_member(b, holder, offset, WORD, &edge->member));
    if (!to_block)
        return ms_name_address(b->report->names, address, &edge->place);
    edge->into = (int64_t)ms_word_bytes(heap, target - 2 * start);
    return describe(b, start, &edge->block);
}

static struct ms_error *collect_outgoing(struct builder *b, uint64_t start)
{
    const struct ms_heap *heap = &b->scan->heap;
    uint64_t words = ms_block_size(heap, start) / WORD;
    for (uint64_t i = 0; i < words; i++) {
        uint64_t target = ms_word_target(heap, start * 2 + ms_bytes_words(heap, i * WORD));
        if (target != MS_NOTHING)
            MS_TRY(add_outgoing(b, target, start, i * WORD));
    }
    return NULL;
}

/* Of an address outside the heap: is the word there a root? */
static struct ms_error *collect_root_word(struct builder *b)
{
    uint64_t word = b->options->address & ~7ull;
    for (size_t i = 0; i < b->scan->root_count; i++) {
        const struct ms_root *root = &b->scan->roots[i];
        if (root->address == word && root->kind != MS_ROOT_REGISTER && root->kind != MS_ROOT_KERNEL)
            MS_TRY(add_outgoing(b, root->target, MS_NOTHING, 0));
    }
    return NULL;
}

/* --- chains ------------------------------------------------------------------------------------ */

/*
 * Where the word at ADDRESS points to in the block STEP. The index has unaligned pointers only nearly, in the odd
 * unit of their granule; the word itself says it, where the image has it and it is a plain address. False: it is
 * not known.
 */
static bool exact_into(const struct builder *b, uint64_t address, const struct ms_step *step, int64_t *into)
{
    const uint64_t start = ms_granule_address(&b->scan->heap, step->start);
    uint64_t word;
    if (!address || !ms_image_read_word(b->image, address, &word) || word < start ||
        word - start >= ms_block_size(&b->scan->heap, step->start)) {
        *into = step->into;
        return step->into % (int64_t)ms_granule_bytes(&b->scan->heap, 1) == 0;
    }
    *into = (int64_t)(word - start);
    return true;
}

/* The chain as an expression; that of a lost block begins with the address of its leader. */
static struct ms_error *express(struct builder *b, const struct ms_chain *from, struct ms_path_chain *chain)
{
    const size_t count = from->steps.count;
    struct ms_types *types = b->options->types;
    char leader[24];
    if (count > MS_EXPRESSION_STEPS || (!from->root && count < 2))
        return NULL;
    if (ms_known_go_types(b->knowledge))
        return ms_go_express_chain(b->knowledge, types, b->image, b->scan, from, &chain->expression);
    ms_auto_free struct ms_expression_step *steps = calloc(count, sizeof *steps);
    if (!steps)
        return ms_error_nomem("an expression");
    uint64_t word = from->root ? chain->root.address : 0;
    for (size_t i = 0; i < count; i++) {
        const struct ms_step *step = &from->steps.items[i];
        struct ms_known what;
        MS_TRY(ms_block_known(b->knowledge, step->start, &what));
        steps[i] = (struct ms_expression_step){.what = what.what, .offset = step->offset};
        if (!exact_into(b, word, step, &steps[i].into))
            return NULL;
        word = ms_granule_address(&b->scan->heap, step->start) + step->offset;
    }
    if (from->root)
        return ms_express(types, b->symbols, &chain->root, steps, count, &chain->expression);
    snprintf(leader, sizeof leader, "0x%" PRIx64, ms_granule_address(&b->scan->heap, from->steps.items[0].start));
    return ms_express_from(types, leader, NULL, steps, count, &chain->expression);
}

static struct ms_error *add_step(struct builder *b, const struct ms_step *from, struct ms_path_chain *chain)
{
    struct ms_path_step *step = ms_vector_add(&chain->steps);
    if (!step)
        return ms_error_nomem("the chains");
    step->offset = from->offset;
    step->into = from->into;
    if (from->offset != MS_NOTHING)
        MS_TRY(find_member(b, from->start, from->offset, WORD, &step->member));
    return describe(b, from->start, &step->block);
}

static struct ms_error *add_chain(struct builder *b, const struct ms_chain *from)
{
    struct ms_path_chain *chain = ms_vector_add(&b->report->chains);
    if (!chain)
        return ms_error_nomem("the chains");
    chain->length = from->steps.count;
    if (chain->length > 2 * MS_PATH_ENDS)
        chain->omitted = chain->length - 2 * MS_PATH_ENDS;
    chain->from_root = from->root != NULL;
    if (from->root)
        MS_TRY(ms_name_root(b->report->names, from->root, &chain->root));
    for (size_t i = 0; i < chain->length; i++) {
        if (chain->omitted && i == MS_PATH_ENDS)
            i += chain->omitted;
        MS_TRY(add_step(b, &from->steps.items[i], chain));
    }
    return express(b, from, chain);
}

static struct ms_error *collect_chains(struct builder *b, uint64_t start)
{
    const struct ms_line *line = &b->scan->heap.lines[start / MS_LINE_GRANULES];
    const struct ms_leader *leader = NULL;
    struct ms_chains chains;
    if (!ms_bit(line->reached | line->maybe, start))
        MS_TRY(find_leader(b, start, &leader));
    if (leader) {
        b->report->lost = true;
        b->report->led = (struct ms_tally){leader->indirect_blocks, leader->indirect_bytes};
        MS_TRY(describe(b, leader->start, &b->report->leader));
    }
    MS_TRY(ms_find_chains(b->scan, start, leader ? leader->start : MS_NOTHING, b->options->chains, &chains));
    struct ms_error *error = NULL;
    for (size_t i = 0; !error && i < chains.list.count; i++)
        error = add_chain(b, &chains.list.items[i]);
    ms_chains_free(&chains);
    return error;
}

/* --- the report -------------------------------------------------------------------------------- */

static struct ms_error *collect_members(struct builder *b, uint64_t start)
{
    const struct ms_decoder decoder = {b->scan, b->image, b->symbols, b->options->types, b->knowledge};
    struct ms_known what;
    MS_TRY(ms_block_known(b->knowledge, start, &what));
    if (b->report->offset)
        MS_TRY(find_member(b, start, b->report->offset, 1, &b->report->member));
    return ms_decode(&decoder, start, &what.what, b->options->members, &b->report->values);
}

static struct ms_error *build_in_heap(struct builder *b, const struct ms_segment *segment)
{
    struct ms_path_report *report = b->report;
    uint64_t start = ms_start_of(&b->scan->heap, ms_address_granule(&b->scan->heap, segment, report->address));
    report->in_heap = true;
    MS_TRY(describe(b, start, &report->block));
    report->offset = report->address - report->block.address;
    if (!report->block.live)
        return collect_root_word(b); /* memory that others took from the heap is a root */
    MS_TRY(collect_members(b, start));
    MS_TRY(collect_incoming(b, start));
    MS_TRY(collect_outgoing(b, start));
    return collect_chains(b, start);
}

static struct ms_error *build(struct builder *b)
{
    struct ms_path_report *report = b->report;
    struct ms_reach reach;
    report->address = b->options->address;
    report->region = ms_image_region(b->image, report->address);
    if (!report->region)
        return ms_error(MS_TARGET, "%s: no map holds the address 0x%" PRIx64,
                        b->image->origin ? b->image->origin : "the target", report->address);
    MS_TRY(ms_mark(b->scan, &reach));
    report->knowledge = b->options->knowledge;
    if (!report->knowledge)
        MS_TRY(ms_knowledge_new(b->scan, b->image, b->symbols, b->options->types, MS_TYPE_ALL, &report->knowledge));
    b->knowledge = report->knowledge;
    const struct ms_segment *segment = ms_heap_segment(&b->scan->heap, report->address);
    if (segment)
        return build_in_heap(b, segment);
    MS_TRY(ms_name_address(b->report->names, report->address, &report->place));
    return collect_root_word(b);
}

ms_result ms_path(struct ms_scan *scan, struct ms_image *image, struct ms_symbols *symbols,
                  const struct ms_path_options *options, struct ms_path_report *report)
{
    *report = (struct ms_path_report){.names = options->names, .own_names = !options->names,
                                      .own_knowledge = !options->knowledge};
    struct builder b = {.scan = scan, .image = image, .symbols = symbols, .options = options,
                        .report = report};
    struct ms_error *error = NULL;
    if (report->own_names)
        error = ms_names_new(scan, image, symbols, options->types, &report->names);
    if (!error)
        error = build(&b);
    report->complete = !image->incomplete;
    if (b.lost_known)
        ms_lost_free(&b.lost);
    ms_vector_free(&b.pointers);
    if (error)
        ms_path_report_free(report);
    return error;
}

static void free_chain(struct ms_path_chain *chain)
{
    for (size_t i = 0; i < chain->steps.count; i++)
        free(chain->steps.items[i].member);
    free(chain->expression);
    ms_place_free(&chain->root);
    ms_vector_free(&chain->steps);
}

static void free_edge(struct ms_path_edge *edge)
{
    free(edge->member);
    ms_place_free(&edge->place);
}

void ms_path_report_free(struct ms_path_report *report)
{
    for (size_t i = 0; i < report->incoming.count; i++)
        free_edge(&report->incoming.items[i]);
    for (size_t i = 0; i < report->outgoing.count; i++)
        free_edge(&report->outgoing.items[i]);
    for (size_t i = 0; i < report->chains.count; i++)
        free_chain(&report->chains.items[i]);
    ms_vector_free(&report->incoming);
    ms_vector_free(&report->outgoing);
    ms_vector_free(&report->chains);
    ms_values_free(&report->values);
    free(report->member);
    ms_place_free(&report->place);
    if (report->own_names)
        ms_names_free(report->names);
    if (report->own_knowledge)
        ms_knowledge_free(report->knowledge);
}
