/* Contexts of Go that hold more and more: children that nobody cancels, chains of values. */
#include <stdlib.h>
#include <string.h>

#include "gosuspects.h"
#include "map.h"

#define WHAT           "the contexts"
#define LEAST_CHILDREN 100u /* are no finding below */
#define LEAST_VALUES   200u
#define PARENTS_MOST   16u /* with most children; each means to go over what they hold */
#define CHAINS_MOST    4u
#define NOWHERE        UINT64_MAX
#define NOBODY         UINT32_MAX

/* Where in a type of context is what; offsets in bytes, NOWHERE: it has none. */
struct shape {
    bool context;      /* it is one */
    bool value;        /* context.valueCtx */
    uint64_t parent;   /* the embedded interface */
    uint64_t inner;    /* a pointer to the cancelCtx that it is (timerCtx of some versions) */
    uint64_t children; /* the map */
    uint64_t count;    /* in what that points to: how many there are */
    uint64_t timer;
};

/* A context in the heap. */
struct node {
    uint64_t address, timer;
    uint64_t map, children; /* its map of children, and how many it says that it has */
    uint32_t position;
    uint32_t above;  /* index of its parent, of a timerCtx that points to its cancelCtx of that; or NOBODY */
    uint32_t holder; /* index of the nearest above that can have children; or NOBODY */
    uint32_t depth;  /* values from here up */
    bool value, alias, cancels, settled, busy, has_below, taken;
};

struct contexts {
    struct ms_go_finder *f;
    MS_VECTOR(struct shape) shapes;
    struct ms_map shape_of; /* index of that by type's id */
    MS_VECTOR(struct node) list;
    MS_VECTOR(uint64_t) parents; /* address of the parent of each */
    struct ms_map index;         /* by address */
};

/* --- types ------------------------------------------------------------------------------------- */

static const struct ms_type *complete(const struct contexts *c, const struct ms_type *type)
{
    return type ? ms_type_complete(c->f->types, type) : NULL;
}

static bool is_called(const struct ms_member *m, const char *name)
{
    return m->name && m->type && !strcmp(m->name, name);
}

/* How many a map has is said in its structure: hmap.count, from 1.24 on maps.Map.used. */
static uint64_t count_offset(const struct contexts *c, const struct ms_type *map)
{
    const struct ms_type *pointer = complete(c, map), *structure = pointer ? complete(c, pointer->target) : NULL;
    for (size_t i = 0; structure && i < structure->member_count; i++)
        if (is_called(&structure->members[i], "count") || is_called(&structure->members[i], "used"))
            return structure->members[i].offset;
    return NOWHERE;
}

/* What a structure of package context has, that of its embedded one too. */
static void look_at_members(const struct contexts *c, const struct ms_type *type, uint64_t offset, unsigned depth,
                            struct shape *shape)
{
    for (size_t i = 0; i < type->member_count; i++) {
        const struct ms_member *m = &type->members[i];
        const uint64_t at = offset + m->offset;
        if (is_called(m, "Context") && !strcmp(m->type->name, "context.Context")) {
            shape->parent = at;
        } else if (is_called(m, "children")) {
            shape->children = at;
            shape->count = count_offset(c, m->type);
        } else if (is_called(m, "timer")) {
            shape->timer = at;
        } else if (is_called(m, "cancelCtx") && m->type->kind == MS_TYPE_POINTER) {
            shape->inner = at;
        } else if (is_called(m, "cancelCtx") && depth == 0) {
            look_at_members(c, complete(c, m->type), at, 1, shape);
        }
    }
}

static struct shape make_shape(const struct contexts *c, const struct ms_type *type)
{
    struct shape shape = {false, false, NOWHERE, NOWHERE, NOWHERE, NOWHERE, NOWHERE};
    if (type->kind != MS_TYPE_STRUCT)
        return shape;
    if (!strncmp(type->name, "context.", 8)) {
        look_at_members(c, type, 0, 0, &shape);
        shape.value = !strcmp(type->name, "context.valueCtx");
    } else if (type->member_count && is_called(&type->members[0], "Context") &&
               !strcmp(type->members[0].type->name, "context.Context")) {
        shape.parent = type->members[0].offset; /* a program's own, around another */
    }
    shape.context = shape.parent != NOWHERE || shape.inner != NOWHERE;
    return shape;
}

static struct ms_error *shape_of(struct contexts *c, const struct ms_type *type, struct shape *shape)
{
    const uint64_t *known = ms_map_get(&c->shape_of, type->id, 0);
    if (known && *known < c->shapes.count) {
        *shape = c->shapes.items[*known];
        return NULL;
    }
    *shape = make_shape(c, complete(c, type));
    struct shape *slot = ms_vector_add(&c->shapes);
    if (!slot || !ms_map_put(&c->shape_of, type->id, 0, c->shapes.count - 1))
        return ms_error_nomem(WHAT);
    *slot = *shape;
    return NULL;
}

/* --- contexts ---------------------------------------------------------------------------------- */

static uint64_t word_at(const struct contexts *c, uint64_t address)
{
    uint64_t word;
    return ms_image_read_word(c->f->image, address, &word) ? word : 0;
}

static struct ms_error *add_node(struct contexts *c, uint64_t address, uint32_t position, const struct shape *shape)
{
    struct node *node = ms_vector_add(&c->list);
    uint64_t *parent = ms_vector_add(&c->parents);
    if (!node || !parent || c->list.count >= NOBODY || !ms_map_put(&c->index, address, 0, c->list.count - 1))
        return ms_error_nomem(WHAT);
    *node = (struct node){.address = address, .position = position, .above = NOBODY, .holder = NOBODY};
    node->value = shape->value;
    node->alias = shape->inner != NOWHERE;
    *parent = node->alias ? word_at(c, address + shape->inner) : word_at(c, address + shape->parent + 8);
    if (shape->timer != NOWHERE)
        node->timer = word_at(c, address + shape->timer);
    node->cancels = shape->children != NOWHERE && shape->count != NOWHERE;
    if (node->cancels)
        node->map = word_at(c, address + shape->children);
    if (node->map)
        node->children = word_at(c, node->map + shape->count);
    return NULL;
}

static struct ms_error *collect(struct contexts *c)
{
    const struct ms_dominators *tree = c->f->tree;
    for (uint32_t p = 1; p <= tree->count; p++) {
        struct ms_known known;
        struct shape shape;
        MS_TRY(ms_block_known(c->f->knowledge, tree->start[p], &known));
        if (known.by < MS_BY_POINTER || !known.what.type || known.what.count != 1)
            continue;
        MS_TRY(shape_of(c, known.what.type, &shape));
        if (shape.context)
            MS_TRY(add_node(c, ms_granule_address(&c->f->scan->heap, tree->start[p]), p, &shape));
    }
    for (size_t i = 0; i < c->list.count; i++) {
        const uint64_t *above = ms_map_get(&c->index, c->parents.items[i], 0);
        if (!above)
            continue;
        c->list.items[i].above = (uint32_t)*above;
        c->list.items[*above].has_below = true;
    }
    return NULL;
}

/* From what is known of the one above NODE. */
static void settle(struct contexts *c, struct node *node)
{
    const struct node *above = node->above == NOBODY ? NULL : &c->list.items[node->above];
    node->settled = true;
    node->depth = node->value + (above ? above->depth : 0);
    if (!above)
        return;
    if (node->alias)
        node->holder = above->holder;
    else
        node->holder = above->cancels ? node->above : above->alias ? above->above : above->holder;
}

/* Chains may be long, and in what is hostile rings. */
static struct ms_error *settle_all(struct contexts *c)
{
    MS_VECTOR(uint32_t) way = {0};
    struct ms_error *error = NULL;
    for (size_t i = 0; i < c->list.count && !error; i++) {
        for (uint32_t n = (uint32_t)i; n != NOBODY && !c->list.items[n].settled && !c->list.items[n].busy;
             n = c->list.items[n].above) {
            uint32_t *slot = ms_vector_add(&way);
            if (!slot) {
                error = ms_error_nomem(WHAT);
                break;
            }
            *slot = n;
            c->list.items[n].busy = true;
        }
        while (way.count)
            settle(c, &c->list.items[way.items[--way.count]]);
    }
    ms_vector_free(&way);
    return error;
}

/* --- children ---------------------------------------------------------------------------------- */

/* What keeps a child that nobody needs: the map of PARENT, and the timer of its deadline. */
static struct ms_error *look_into_children(struct contexts *c, uint32_t parent)
{
    struct ms_go_finder *f = c->f;
    const struct node *p = &c->list.items[parent];
    struct ms_go_suspect suspect = {.kind = MS_GO_SUSPECT_CHILDREN, .address = p->address, .children = p->children};
    struct ms_together together;
    const uint32_t map = ms_go_position(f, p->map);
    if (!map)
        return NULL;
    ms_auto_free uint32_t *blocks = calloc(c->list.count + 1, sizeof *blocks);
    size_t count = 0;
    if (!blocks)
        return ms_error_nomem(WHAT);
    blocks[count++] = map;
    for (size_t i = 0; i < c->list.count; i++) {
        const struct node *n = &c->list.items[i];
        const uint32_t timer = n->holder == parent && n->timer ? ms_go_position(f, n->timer) : 0;
        if (timer)
            blocks[count++] = timer;
    }
    MS_TRY(ms_find_together(f->scan, f->tree, blocks, count, NULL, 0, &together));
    for (size_t i = 0; i < c->list.count; i++) {
        const struct node *n = &c->list.items[i];
        suspect.count += n->holder == parent && n->cancels && ms_together_has(&together, n->position);
    }
    struct ms_error *error = NULL;
    if (suspect.count >= LEAST_CHILDREN && !ms_go_is_little(f, together.all.bytes)) {
        error = ms_go_name_holder(f, &suspect);
        error = error ? error : ms_go_add_suspect(f, &together, &suspect);
    }
    ms_together_free(&together);
    return error;
}

/* --- values ------------------------------------------------------------------------------------ */

static struct ms_error *look_into_values(struct contexts *c, uint32_t last)
{
    struct ms_go_finder *f = c->f;
    const struct node *l = &c->list.items[last];
    struct ms_go_suspect suspect = {.kind = MS_GO_SUSPECT_VALUES, .address = l->address};
    struct ms_together together;
    ms_auto_free uint32_t *blocks = calloc((size_t)l->depth + 1, sizeof *blocks);
    if (!blocks)
        return ms_error_nomem(WHAT);
    uint32_t left = (uint32_t)c->list.count;
    for (uint32_t n = last; n != NOBODY && left && suspect.count < l->depth; n = c->list.items[n].above, left--) {
        struct node *node = &c->list.items[n];
        if (node->value && !node->taken) /* what another chain has is told of there */
            blocks[suspect.count++] = node->position;
        node->taken = true;
    }
    if (suspect.count < LEAST_VALUES)
        return NULL;
    MS_TRY(ms_find_together(f->scan, f->tree, blocks, suspect.count, NULL, 0, &together));
    struct ms_error *error = NULL;
    if (!ms_go_is_little(f, together.all.bytes)) {
        error = ms_go_name_holder(f, &suspect);
        error = error ? error : ms_go_add_suspect(f, &together, &suspect);
    }
    ms_together_free(&together);
    return error;
}

static struct ms_error *find_all(struct contexts *c)
{
    struct ms_tops parents = {.limit = PARENTS_MOST}, chains = {.limit = CHAINS_MOST};
    MS_TRY(collect(c));
    if (!c->list.items)
        return NULL;
    struct ms_error *error = settle_all(c);
    for (size_t i = 0; i < c->list.count && !error; i++) {
        const struct node *n = &c->list.items[i];
        if (n->children >= LEAST_CHILDREN)
            error = ms_tops_add(&parents, n->children, i, WHAT);
        if (!error && n->value && !n->has_below && n->depth >= LEAST_VALUES)
            error = ms_tops_add(&chains, n->depth, i, WHAT);
    }
    ms_tops_cut(&parents);
    ms_tops_cut(&chains);
    for (size_t i = 0; i < parents.list.count && !error; i++)
        error = look_into_children(c, (uint32_t)parents.list.items[i].item);
    for (size_t i = 0; i < chains.list.count && !error; i++)
        error = look_into_values(c, (uint32_t)chains.list.items[i].item);
    ms_tops_free(&parents);
    ms_tops_free(&chains);
    return error;
}

struct ms_error *ms_go_find_contexts(struct ms_go_finder *f)
{
    struct contexts c = {.f = f};
    if (!f->types || !ms_known_go_types(f->knowledge))
        return NULL;
    struct ms_error *error = find_all(&c);
    ms_vector_free(&c.shapes);
    ms_vector_free(&c.list);
    ms_vector_free(&c.parents);
    ms_map_free(&c.shape_of);
    ms_map_free(&c.index);
    return error;
}
