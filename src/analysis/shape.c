/* Shapes: which pointers the values of a type hold, and what each says of what it points to. */
#include "shape.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32u     /* of structures in one another */
#define LINKS_MAX 1000000u
#define OPEN_MAX 100000u
#define STEPS_MAX 4000000u /* of a walk; hostile structures would make it endless */
#define SEARCH_MAX 10000u  /* the same for the question what lies at an offset */
#define RULES_AT_ONCE 8u  /* containers in one another; of more the outer ones are forgotten */

struct active {
    const struct ms_type *holder;
    const struct ms_container_rule *rules;
    size_t count;
    size_t first_link;
};

struct walk {
    struct ms_shapes *shapes;
    struct ms_shape *shape;
    struct active active[RULES_AT_ONCE];
    unsigned active_count;
    unsigned depth, steps;
    bool shared;
    uint32_t guard;
};

static void walk_type(struct walk *w, const struct ms_type *type, uint64_t offset, const char *name);

static bool is_structure(const struct ms_type *type)
{
    return type->kind == MS_TYPE_STRUCT || type->kind == MS_TYPE_UNION;
}

/* --- collecting -------------------------------------------------------------------------------- */

static void add_open(struct walk *w, uint64_t start, uint64_t size)
{
    struct ms_open_range *last = w->shape->open.count ? &w->shape->open.items[w->shape->open.count - 1] : NULL;
    if (last && last->end == start) {
        last->end += size;
        return;
    }
    if (w->shape->open.count >= OPEN_MAX)
        return;
    struct ms_open_range *slot = ms_vector_add(&w->shape->open);
    w->shapes->failed |= !slot;
    if (slot)
        *slot = (struct ms_open_range){start, start + size};
}

static uint64_t open_end(const struct walk *w)
{
    return w->shape->open.count ? w->shape->open.items[w->shape->open.count - 1].end : 0;
}

static bool is_rule_for(const struct ms_container_rule *rule, const char *name)
{
    return !rule->member || (name && strcmp(rule->member, name) == 0);
}

/* Applies the rules of the containers that the pointer is in, the innermost first. */
static void apply_rules(const struct walk *w, struct ms_link *link, const char *name)
{
    for (unsigned i = w->active_count; i-- > 0;)
        for (size_t r = 0; r < w->active[i].count; r++) {
            const struct ms_container_rule *rule = &w->active[i].rules[r];
            if (!is_rule_for(rule, name) || !ms_container_concerns(rule, link->to))
                continue;
            const struct ms_type *to =
                ms_container_target(w->shapes->types, rule, w->active[i].holder, link->to);
            link->how = to ? rule->how : (uint8_t)MS_LINK_OPEN; /* a node of a type that is not known */
            if (!to)
                continue; /* a class inside of the container has a name that begins as the container's */
            link->to = to;
            return;
        }
}

static void add_link(struct walk *w, const struct ms_type *pointer, uint64_t offset, const char *name)
{
    if (w->shape->links.count >= LINKS_MAX)
        return;
    const struct ms_type *to = pointer->target ? ms_type_complete(w->shapes->types, pointer->target) : NULL;
    struct ms_link link = {.offset = offset, .to = to, .guard = w->guard, .shared = w->shared};
    if (to && to->kind != MS_TYPE_VOID && to->kind != MS_TYPE_FUNCTION)
        link.how = MS_LINK_PLAIN;
    if (to)
        apply_rules(w, &link, name);
    struct ms_link *slot = ms_vector_add(&w->shape->links);
    w->shapes->failed |= !slot;
    if (slot)
        *slot = link;
}

/* --- what is in use ---------------------------------------------------------------------------- */

/*
 * The first (or the last) member NAME of TYPE, in structures in it too: bounds of a container are
 * two or three levels down. NOTHING when there is none.
 */
#define NO_OFFSET UINT64_MAX
static uint64_t member_offset(struct ms_types *types, const struct ms_type *type, const char *name, bool last,
                              unsigned depth)
{
    uint64_t found = NO_OFFSET;
    type = ms_type_complete(types, type);
    for (size_t i = 0; depth < DEPTH_MAX / 4 && i < type->member_count; i++) {
        const struct ms_member *m = &type->members[i];
        uint64_t inner = m->name && strcmp(m->name, name) == 0 ? 0 : NO_OFFSET;
        if (inner && m->type && is_structure(m->type))
            inner = member_offset(types, m->type, name, last, depth + 1);
        if (inner != NO_OFFSET && (last || found == NO_OFFSET))
            found = m->offset + inner;
    }
    return found;
}

static void bound(struct walk *w, const struct active *a, const struct ms_container_rule *rule, uint64_t offset)
{
    if (!rule->last)
        return;
    uint64_t first = rule->first ? member_offset(w->shapes->types, a->holder, rule->first, false, 0) : 0;
    uint64_t last = member_offset(w->shapes->types, a->holder, rule->last, true, 0);
    if (first == NO_OFFSET || last == NO_OFFSET)
        return;
    for (size_t i = a->first_link; i < w->shape->links.count; i++) {
        struct ms_link *link = &w->shape->links.items[i];
        if (link->how != rule->how || link->bounded || link->counted)
            continue;
        link->first = offset + first;
        link->last = offset + last;
        link->bounded = rule->first;
        link->counted = rule->counted;
        link->inclusive = rule->inclusive;
        if (rule->member) /* the first array is the one it is for */
            return;
    }
}

/* --- walking ----------------------------------------------------------------------------------- */

static void walk_variant(struct walk *w, const struct ms_type *type, const struct ms_member *m, uint64_t offset)
{
    const uint32_t guard = w->guard;
    struct ms_guard *slot = ms_vector_add(&w->shape->guards);
    w->shapes->failed |= !slot;
    if (!slot)
        return;
    *slot = (struct ms_guard){guard, offset, type, m};
    w->guard = (uint32_t)w->shape->guards.count;
    walk_type(w, m->type, offset + m->offset, m->name);
    w->guard = guard;
}

static void walk_members(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    for (size_t i = 0; i < type->member_count; i++) {
        const struct ms_member *m = &type->members[i];
        if (!m->type || m->bit_size)
            continue;
        if (m->tagged)
            walk_variant(w, type, m, offset);
        else
            walk_type(w, m->type, offset + m->offset, m->name);
    }
}

static void walk_structure(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    const unsigned active = w->active_count;
    const struct ms_type *storage = ms_container_storage(w->shapes->types, type);
    if (storage) {
        walk_type(w, storage, offset, NULL);
        return;
    }
    struct active a = {.holder = type, .first_link = w->shape->links.count};
    a.rules = ms_container_rules(type, &a.count);
    if (a.rules && active < RULES_AT_ONCE)
        w->active[w->active_count++] = a;
    walk_members(w, type, offset);
    w->active_count = active;
    for (size_t r = 0; a.rules && r < a.count; r++)
        bound(w, &a, &a.rules[r], offset);
}

/* One member that has bytes, and others that have none, is as good as a structure: Rust's MaybeUninit. */
static bool is_choice(struct ms_types *types, const struct ms_type *type)
{
    unsigned choices = 0;
    for (size_t i = 0; i < type->member_count; i++)
        choices += type->members[i].type && ms_type_complete(types, type->members[i].type)->size > 0;
    return choices > 1;
}

static void walk_union(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    const bool shared = w->shared;
    if (is_choice(w->shapes->types, type)) {
        add_open(w, offset, type->size);
        w->shared = true;
    }
    walk_members(w, type, offset);
    w->shared = shared;
}

static bool is_byte(const struct ms_type *type)
{
    return type->size == 1 && (type->kind == MS_TYPE_BASE || type->kind == MS_TYPE_ENUM);
}

static void walk_array(struct walk *w, const struct ms_type *type, uint64_t offset, const char *name)
{
    const struct ms_type *element = type->target ? ms_type_complete(w->shapes->types, type->target) : NULL;
    if (!element || !element->size || type->count > UINT64_MAX / element->size)
        return;
    if (is_byte(element)) {
        add_open(w, offset, type->count);
        return;
    }
    for (uint64_t i = 0; i < type->count && w->steps < STEPS_MAX; i++) {
        size_t links = w->shape->links.count;
        uint64_t open = open_end(w);
        walk_type(w, element, offset + i * element->size, name);
        if (links == w->shape->links.count && open == open_end(w))
            return; /* nor will the others */
    }
}

static void walk_type(struct walk *w, const struct ms_type *type, uint64_t offset, const char *name)
{
    if (w->depth >= DEPTH_MAX || w->steps >= STEPS_MAX || offset > UINT32_MAX)
        return;
    w->steps++;
    w->depth++;
    type = ms_type_complete(w->shapes->types, type);
    switch (type->kind) {
    case MS_TYPE_POINTER:
        if (type->size == 8 || type->size == 0)
            add_link(w, type, offset, name);
        break;
    case MS_TYPE_STRUCT:
        walk_structure(w, type, offset);
        break;
    case MS_TYPE_UNION:
        walk_union(w, type, offset);
        break;
    case MS_TYPE_ARRAY:
        walk_array(w, type, offset, name);
        break;
    default:
        break;
    }
    w->depth--;
}

/* --- shapes ------------------------------------------------------------------------------------ */

static int links_by_offset(const void *a, const void *b)
{
    const struct ms_link *l = a, *m = b;
    return l->offset < m->offset ? -1 : l->offset > m->offset;
}

static int ranges_by_start(const void *a, const void *b)
{
    const struct ms_open_range *r = a, *s = b;
    return r->start < s->start ? -1 : r->start > s->start;
}

/* A last member that is an array of none, one or an unknown number of elements may have more of them. */
static void find_tail(struct ms_shapes *shapes, struct ms_shape *shape)
{
    const struct ms_type *type = shape->type;
    uint64_t at = 0;
    for (unsigned depth = 0; depth < DEPTH_MAX && type->kind == MS_TYPE_STRUCT && type->member_count; depth++) {
        const struct ms_member *last = &type->members[type->member_count - 1];
        if (!last->type || last->bit_size || last->tagged || last->base)
            return;
        at += last->offset;
        type = ms_type_complete(shapes->types, last->type);
        if (type->kind != MS_TYPE_ARRAY)
            continue;
        const struct ms_type *element = type->target ? ms_type_complete(shapes->types, type->target) : NULL;
        if (element && element->size && type->count <= 1) {
            shape->tail = element;
            shape->tail_at = at;
        }
        return;
    }
}

static struct ms_shape *make_shape(struct ms_shapes *shapes, const struct ms_type *type)
{
    struct ms_shape *shape = calloc(1, sizeof *shape);
    if (!shape)
        return NULL;
    struct walk *w = calloc(1, sizeof *w);
    if (!w) {
        free(shape);
        return NULL;
    }
    w->shapes = shapes;
    w->shape = shape;
    shape->type = ms_type_complete(shapes->types, type);
    walk_type(w, shape->type, 0, NULL);
    free(w);
    ms_vector_sort(&shape->links, links_by_offset);
    ms_vector_sort(&shape->open, ranges_by_start);
    find_tail(shapes, shape);
    shape->bigger = ms_container_bigger(shapes->types, shape->type);
    return shape;
}

const struct ms_shape *ms_shape_of(struct ms_shapes *shapes, const struct ms_type *type)
{
    static const struct ms_type nothing = {.name = "void"};
    static const struct ms_shape none = {.type = &nothing};
    while (shapes->list.count <= type->id) {
        struct ms_shape **slot = ms_vector_add(&shapes->list);
        shapes->failed |= !slot;
        if (!slot)
            return &none;
    }
    const uint32_t id = type->id;
    if (!shapes->list.items[id])
        shapes->list.items[id] = make_shape(shapes, type);
    shapes->failed |= !shapes->list.items[id];
    return shapes->list.items[id] ? shapes->list.items[id] : &none;
}

void ms_shapes_free(struct ms_shapes *shapes)
{
    for (size_t i = 0; i < shapes->list.count; i++) {
        struct ms_shape *shape = shapes->list.items[i];
        if (!shape)
            continue;
        ms_vector_free(&shape->links);
        ms_vector_free(&shape->guards);
        ms_vector_free(&shape->open);
        free(shape);
    }
    ms_vector_free(&shapes->list);
    ms_map_free(&shapes->begins);
}

const struct ms_link *ms_shape_link(const struct ms_shape *shape, uint64_t offset)
{
    size_t low = 0, high = shape->links.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (shape->links.items[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < shape->links.count && shape->links.items[low].offset == offset ? &shape->links.items[low] : NULL;
}

bool ms_shape_is_open(const struct ms_shape *shape, uint64_t offset)
{
    size_t low = 0, high = shape->open.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (shape->open.items[middle].end <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < shape->open.count && shape->open.items[low].start < offset + 8;
}

/* --- relations of types ------------------------------------------------------------------------ */

bool ms_same_type(const struct ms_type *a, const struct ms_type *b)
{
    if (a == b)
        return true;
    if (a->kind != b->kind)
        return false;
    if (a->kind == MS_TYPE_POINTER)
        return a->target == b->target ||
               (a->target && b->target && strcmp(a->target->name, b->target->name) == 0);
    if (a->kind == MS_TYPE_ARRAY)
        return a->count == b->count && a->target && b->target && ms_same_type(a->target, b->target);
    return (a->size == b->size || !a->size || !b->size) && a->name[0] && strcmp(a->name, b->name) == 0;
}

/*
 * C programs write a common beginning out in each structure: PART's members, but for a last one that
 * may be longer in WHOLE, are WHOLE's first ones.
 */
static bool has_common_beginning(struct ms_shapes *shapes, const struct ms_type *whole, const struct ms_type *part)
{
    if (whole->kind != MS_TYPE_STRUCT || part->kind != MS_TYPE_STRUCT || part->member_count < 2 ||
        part->member_count > whole->member_count || whole->language != MS_LANGUAGE_C)
        return false;
    for (size_t i = 0; i < part->member_count; i++) {
        const struct ms_member *p = &part->members[i], *q = &whole->members[i];
        if (p->offset != q->offset || p->bit_offset != q->bit_offset || p->bit_size != q->bit_size || !p->type ||
            !q->type || !p->name || !q->name || strcmp(p->name, q->name) != 0 ||
            !ms_same_type(ms_type_complete(shapes->types, p->type), ms_type_complete(shapes->types, q->type)))
            return false;
    }
    return true;
}

/* A question, and how long it was looked for an answer. */
struct search {
    struct ms_shapes *shapes;
    const struct ms_type *part;
    unsigned steps;
};

static bool holds_at(struct search *s, const struct ms_type *whole, uint64_t offset, unsigned depth);

static bool member_holds(struct search *s, const struct ms_type *whole, uint64_t offset, unsigned depth)
{
    for (size_t i = 0; i < whole->member_count; i++) {
        const struct ms_member *m = &whole->members[i];
        if (m->offset > offset || !m->type || m->bit_size)
            continue;
        const struct ms_type *type = ms_type_complete(s->shapes->types, m->type);
        if ((ms_type_is_flexible(type) || offset - m->offset < (type->size ? type->size : 1)) &&
            holds_at(s, type, offset - m->offset, depth + 1))
            return true;
    }
    return false;
}

static bool holds_at(struct search *s, const struct ms_type *whole, uint64_t offset, unsigned depth)
{
    if (depth > DEPTH_MAX || s->steps++ > SEARCH_MAX)
        return false;
    whole = ms_type_complete(s->shapes->types, whole);
    if (offset == 0 && (ms_same_type(whole, s->part) || has_common_beginning(s->shapes, whole, s->part)))
        return true;
    if (whole->kind == MS_TYPE_ARRAY && whole->target) {
        const struct ms_type *element = ms_type_complete(s->shapes->types, whole->target);
        bool in = element->size && (ms_type_is_flexible(whole) || offset / element->size < whole->count);
        return in && holds_at(s, element, offset % element->size, depth + 1);
    }
    if (!is_structure(whole))
        return false;
    const struct ms_type *storage = ms_container_storage(s->shapes->types, whole);
    return (storage && holds_at(s, storage, offset, depth + 1)) || member_holds(s, whole, offset, depth);
}

bool ms_begins_with(struct ms_shapes *shapes, const struct ms_type *whole, const struct ms_type *part)
{
    if (whole == part)
        return true;
    const uint64_t *known = ms_map_get(&shapes->begins, whole->id, part->id);
    if (known)
        return *known;
    struct search search = {shapes, part, 0};
    bool begins = holds_at(&search, whole, 0, 0);
    shapes->failed |= !ms_map_put(&shapes->begins, whole->id, part->id, begins);
    return begins;
}

bool ms_holds_at(struct ms_shapes *shapes, const struct ms_type *whole, uint64_t offset,
                 const struct ms_type *part)
{
    if (offset == 0)
        return ms_begins_with(shapes, whole, part);
    struct search search = {shapes, part, 0};
    return holds_at(&search, whole, offset, 0);
}
