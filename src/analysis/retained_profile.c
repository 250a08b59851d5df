/* Live blocks as a profile: each under those that retain it, so that a frame's sum is what it retains. */
#include <search.h>
#include <stdio.h>
#include <string.h>

#include "memscope/histogram.h"

#define WHAT "a profile of what is retained"
/* Deeper ones, and others when there are so many nodes, are counted where they hang. */
#define DEPTH_MOST 100u
#define NODES_MOST (1u << 20)

/* Blocks of one name below the same node: equal names on the way down are one, as lists are. */
struct node {
    uint32_t parent, depth;
    const char *name; /* the knowledge's: the same pointer for the same words */
    uint64_t blocks, bytes;
    size_t location;
};

/* Its place in the index, of tsearch(). */
struct place {
    uint32_t parent, node;
    const char *name;
};

struct builder {
    const struct ms_scan *scan;
    const struct ms_heap_report *report;
    struct ms_profile *profile;
    MS_VECTOR(struct node) nodes; /* the first stands for all roots */
    void *index;
    uint32_t *node_of; /* by position in the dominator tree; owned */
};

static int compare(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    return x->name < y->name ? -1 : x->name > y->name;
}

static ms_result add_node(struct builder *b, uint32_t parent, const char *name, uint32_t *node)
{
    struct place *place = malloc(sizeof *place);
    struct node *added = place ? ms_vector_add(&b->nodes) : NULL;
    if (!added) {
        free(place);
        return ms_error_nomem(WHAT);
    }
    *node = (uint32_t)(b->nodes.count - 1);
    *added = (struct node){.parent = parent, .name = name, .depth = b->nodes.items[parent].depth + 1};
    *place = (struct place){parent, *node, name};
    if (tsearch(place, &b->index, compare))
        return NULL;
    free(place);
    return ms_error_nomem(WHAT);
}

/* The node NAME below PARENT, or that itself. */
static ms_result find_node(struct builder *b, uint32_t parent, const char *name, uint32_t *node)
{
    const struct node *above = &b->nodes.items[parent];
    *node = parent;
    if (above->name == name || above->depth >= DEPTH_MOST)
        return NULL;
    const struct place wanted = {.parent = parent, .name = name};
    struct place *const *found = tfind(&wanted, &b->index, compare);
    if (found)
        *node = (*found)->node;
    else if (b->nodes.count < NODES_MOST || parent == 0)
        return add_node(b, parent, name, node);
    return NULL;
}

static ms_result name_of(const struct builder *b, uint64_t start, uint64_t size, const char **name)
{
    struct ms_knowledge *knowledge = b->report->knowledge;
    struct ms_known known;
    MS_TRY(ms_block_known(knowledge, start, &known));
    MS_TRY(ms_known_group(knowledge, &known, name));
    if (*name)
        return NULL;
    char text[48];
    snprintf(text, sizeof text, "%llu bytes each", (unsigned long long)size);
    return ms_known_intern(knowledge, text, name);
}

/* What only roots hold is below the root's name, where that is known. */
static ms_result root_node(struct builder *b, uint64_t address, uint32_t *node)
{
    const struct ms_heap_report *report = b->report;
    const char *root = "other roots", *name;
    for (size_t i = 0; i < report->retainers.count; i++)
        if (report->retainers.items[i].block.address == address && report->retainers.items[i].block.root)
            root = report->retainers.items[i].block.root;
    MS_TRY(ms_known_intern(report->knowledge, root, &name));
    return find_node(b, 0, name, node);
}

static ms_result take_block(struct builder *b, uint32_t position)
{
    const struct ms_dominators *tree = &b->report->tree;
    const struct ms_heap *heap = &b->scan->heap;
    uint64_t start = tree->start[position], size = ms_block_size(heap, start);
    uint32_t above = b->node_of[tree->dominator[position]], node;
    const char *name;
    if (tree->dominator[position] == 0)
        MS_TRY(root_node(b, ms_granule_address(heap, start), &above));
    MS_TRY(name_of(b, start, size, &name));
    MS_TRY(find_node(b, above, name, &node));
    b->node_of[position] = node;
    b->nodes.items[node].blocks++;
    b->nodes.items[node].bytes += size;
    return NULL;
}

static ms_result add_location(struct builder *b, struct node *node)
{
    uint32_t function;
    MS_TRY(ms_profile_function(b->profile, node->name, NULL, 0, &function));
    MS_TRY(ms_profile_location(b->profile, 0, &node->location));
    return ms_profile_line(b->profile, function, 0);
}

static ms_result add_samples(struct builder *b)
{
    for (size_t i = 1; i < b->nodes.count; i++)
        MS_TRY(add_location(b, &b->nodes.items[i]));
    for (size_t i = 1; i < b->nodes.count; i++) {
        const struct node *nodes = b->nodes.items;
        struct ms_profile_sample *sample;
        if (!nodes[i].blocks)
            continue;
        MS_TRY(ms_profile_sample(b->profile, &sample));
        sample->values[0] = (int64_t)nodes[i].blocks;
        sample->values[1] = (int64_t)nodes[i].bytes;
        for (size_t at = i; at != 0; at = nodes[at].parent)
            MS_TRY(ms_profile_frame(b->profile, nodes[at].location));
    }
    return NULL;
}

static ms_result build(struct builder *b)
{
    const struct ms_dominators *tree = &b->report->tree;
    b->node_of = calloc((size_t)tree->count + 1, sizeof *b->node_of);
    if (!b->node_of || !ms_vector_add(&b->nodes))
        return ms_error_nomem(WHAT);
    MS_TRY(ms_profile_unit(b->profile, "inuse_objects", "count"));
    MS_TRY(ms_profile_unit(b->profile, "inuse_space", "bytes"));
    for (uint32_t position = 1; position <= tree->count; position++)
        MS_TRY(take_block(b, position));
    return add_samples(b);
}

ms_result ms_retained_profile(const struct ms_scan *scan, const struct ms_heap_report *report,
                              struct ms_profile *profile)
{
    struct builder b = {.scan = scan, .report = report, .profile = profile};
    struct ms_error *error = build(&b);
    tdestroy(b.index, free);
    ms_vector_free(&b.nodes);
    free(b.node_of);
    return error;
}
