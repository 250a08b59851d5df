/* What a Go program allocates: the types that its code asks the allocator for, and those that these lead to. */
#include "gocandidates.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "memscope/goallocs.h"

#define TYPES_MOST 200000u
#define DEPTH_MOST 32u
#define STEPS_MOST (16 * MS_GO_PLAN_WORDS)

/* --- plans ------------------------------------------------------------------------------------- */

struct walk {
    struct ms_go_candidates *c;
    struct ms_go_plan *plan;
    unsigned steps;
};

static void walk_type(struct walk *w, const struct ms_type *type, uint64_t offset, unsigned depth);

static void add_pointer(struct walk *w, uint64_t offset)
{
    const uint64_t word = offset / MS_GO_WORD;
    if (offset % MS_GO_WORD || word >= MS_GO_PLAN_WORDS) {
        w->plan->known = false;
        return;
    }
    w->plan->pointers[word / 64] |= 1ull << word % 64;
    w->plan->last = word > w->plan->last ? (uint32_t)word : w->plan->last;
    w->plan->any = true;
}

static void walk_parts(struct walk *w, const struct ms_type *type, uint64_t offset, unsigned depth)
{
    if (type->kind == MS_TYPE_ARRAY && type->target) {
        const uint64_t size = type->target->size;
        for (uint64_t i = 0; size && i < type->count && w->plan->known; i++)
            walk_type(w, type->target, offset + i * size, depth + 1);
    } else if (type->kind == MS_TYPE_STRUCT) {
        for (size_t i = 0; i < type->member_count && w->plan->known; i++)
            if (type->members[i].type)
                walk_type(w, type->members[i].type, offset + type->members[i].offset, depth + 1);
    } else if (type->kind == MS_TYPE_POINTER) {
        add_pointer(w, offset);
    } else if (type->kind == MS_TYPE_BASE) {
        if (type->encoding == DW_ATE_boolean && type->size == 1 && w->plan->bool_count < MS_GO_PLAN_BOOLS)
            w->plan->bools[w->plan->bool_count++] = (uint32_t)offset;
    } else {
        w->plan->known = false;
    }
}

static void walk_type(struct walk *w, const struct ms_type *type, uint64_t offset, unsigned depth)
{
    if (depth > DEPTH_MOST || w->steps++ > STEPS_MOST || offset >= MS_GO_PLAN_WORDS * MS_GO_WORD) {
        w->plan->known = false;
        return;
    }
    type = ms_go_whole(w->c->shapes, type);
    const struct ms_go_type *go = ms_go_type_of(w->c->shapes->go_types, type);
    switch (go ? go->kind : MS_GO_NONE) {
    case MS_GO_STRING:
    case MS_GO_SLICE:
    case MS_GO_FUNC:
    case MS_GO_MAP:
    case MS_GO_CHAN:
    case MS_GO_POINTER:
    case MS_GO_UNSAFE_POINTER:
        add_pointer(w, offset);
        break;
    case MS_GO_INTERFACE: /* what its first word points to is never of the heap */
        add_pointer(w, offset + MS_GO_WORD);
        break;
    default:
        walk_parts(w, type, offset, depth);
    }
}

const struct ms_go_plan *ms_go_plan_of(struct ms_go_candidates *c, const struct ms_type *type)
{
    static const struct ms_go_plan none;
    while (c->plans.count <= type->id) {
        struct ms_go_plan **slot = ms_vector_add(&c->plans);
        c->failed |= !slot;
        if (!slot)
            return &none;
    }
    if (c->plans.items[type->id])
        return c->plans.items[type->id];
    struct ms_go_plan *plan = calloc(1, sizeof *plan);
    c->failed |= !plan;
    if (!plan)
        return &none;
    const uint32_t id = type->id;
    struct walk w = {.c = c, .plan = plan};
    plan->known = true;
    walk_type(&w, type, 0, 0);
    c->plans.items[id] = plan;
    return plan;
}

/* --- what is allocated ------------------------------------------------------------------------- */

/* A type that is allocated, by itself or as part of what a map or channel has. */
struct found {
    const struct ms_go_type *go; /* NULL: TYPE alone is known */
    const struct ms_type *type;
    bool one, many, container;
};

struct search {
    struct ms_go_candidates *c;
    struct ms_go_types *go_types;
    MS_VECTOR(struct found) list; /* more come while it is looked at */
    struct ms_map seen;           /* index by id of the type */
};

static void add(struct search *s, const struct ms_type *type, bool one, bool many, bool container)
{
    if (!type)
        return;
    const uint64_t *known = ms_map_get(&s->seen, type->id, 0);
    if (known && s->list.items) {
        struct found *f = &s->list.items[*known];
        f->one |= one;
        f->many |= many;
        f->container &= container;
        return;
    }
    if (s->list.count >= TYPES_MOST)
        return;
    struct found *slot = ms_vector_add(&s->list);
    s->c->failed |= !slot || !ms_map_put(&s->seen, type->id, 0, s->list.count - 1);
    if (slot)
        *slot = (struct found){ms_go_type_of(s->go_types, type), type, one, many, container};
}

static void add_reached(struct search *s, const struct ms_type *type, unsigned depth);

/* A map's parts besides its own structure. */
static void add_map(struct search *s, const struct ms_go_type *go, unsigned depth)
{
    const struct ms_type *const parts[] = {go->key, go->element};
    const bool indirect[] = {go->map.indirect_key, go->map.indirect_element};
    add(s, go->map.unit, true, true, true);
    if (go->map.table) {
        add(s, go->map.table->target, true, false, true);
        add(s, go->map.table, false, true, true);
    }
    for (size_t i = 0; i < 2; i++) {
        if (parts[i] && indirect[i])
            add(s, parts[i], true, false, false);
        else if (parts[i])
            add_reached(s, parts[i], depth + 1);
    }
}

/* What values of TYPE may point to. */
static void add_reached(struct search *s, const struct ms_type *type, unsigned depth)
{
    const struct ms_go_type *go = ms_go_type_of(s->go_types, type);
    if (!go || depth > DEPTH_MOST)
        return;
    type = ms_go_whole(s->c->shapes, type);
    switch (go->kind) {
    case MS_GO_POINTER:
        add(s, go->element, true, false, false);
        break;
    case MS_GO_SLICE:
        add(s, go->element, false, true, false);
        break;
    case MS_GO_MAP:
    case MS_GO_CHAN:
        add(s, go->type, false, false, false);
        break;
    case MS_GO_ARRAY:
        if (go->element)
            add_reached(s, go->element, depth + 1);
        break;
    case MS_GO_STRUCT:
        for (size_t i = 0; i < type->member_count; i++)
            if (type->members[i].type)
                add_reached(s, type->members[i].type, depth + 1);
        break;
    default:
        break;
    }
}

static struct ms_error *add_allocated(struct search *s, struct ms_go_functions *functions)
{
    struct ms_go_allocations allocations = {0};
    struct ms_error *error = ms_go_allocations_read(functions, &allocations);
    for (size_t i = 0; !error && i < allocations.list.count; i++) {
        const struct ms_go_allocation *a = &allocations.list.items[i];
        const struct ms_go_type *type = ms_go_type_at(s->go_types, a->type);
        type = type ? type : ms_go_type_of_itab(s->go_types, a->type);
        if (type)
            add(s, type->type, a->one, a->many, false);
    }
    ms_vector_free(&allocations.list);
    return error;
}

/* The structure of the runtime itself that is called one of NAMES. */
static const struct ms_type *runtime_type(const struct search *s, const char *one, const char *other)
{
    for (size_t i = 0; i < s->list.count; i++)
        if (strcmp(s->list.items[i].type->name, one) == 0 || strcmp(s->list.items[i].type->name, other) == 0)
            return ms_go_whole(s->c->shapes, s->list.items[i].type);
    return NULL;
}

static void find_structures(struct search *s)
{
    const struct ms_type *map = runtime_type(s, "runtime.hmap", "maps.Map");
    const struct ms_type *channel = runtime_type(s, "runtime.hchan", "runtime.hchan");
    s->c->bucket = runtime_type(s, "runtime.bmap", "runtime.bmap");
    s->c->map = map ? ms_go_plan_of(s->c, map) : NULL;
    s->c->channel = channel ? ms_go_plan_of(s->c, channel) : NULL;
    for (size_t i = 0; channel && i < channel->member_count; i++)
        if (channel->members[i].name && strcmp(channel->members[i].name, "elemtype") == 0)
            s->c->channel_element = channel->members[i].offset;
}

/* Of these the program has several types; which one, the object itself does not say. */
static bool is_of_runtime(const struct ms_type *type)
{
    static const char *const names[] = {"runtime.hmap", "runtime.hchan", "maps.Map", "maps.table", "runtime.bmap"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(type->name, names[i]) == 0)
            return true;
    return false;
}

static void make_candidate(struct ms_go_candidates *c, const struct found *f)
{
    const struct ms_go_type *owner =
        f->go && (f->go->kind == MS_GO_MAP || f->go->kind == MS_GO_CHAN) ? f->go : NULL;
    const struct ms_go_plan *structure = !owner ? NULL : owner->kind == MS_GO_MAP ? c->map : c->channel;
    if (structure && structure->any && owner->type->target && owner->header &&
        strncmp(owner->type->name, "<-", 2) != 0 && strncmp(owner->type->name, "chan<-", 6) != 0) {
        struct ms_go_candidate *slot = ms_vector_add(&c->list);
        c->failed |= !slot;
        if (slot)
            *slot = (struct ms_go_candidate){.type = ms_type_complete(c->shapes->types, owner->type->target),
                                             .owner = owner,
                                             .plan = structure,
                                             .slot = ms_go_slot_size(c->heap, owner->type->target->size),
                                             .one = true,
                                             .container = true};
    }
    const struct ms_type *type = ms_go_whole(c->shapes, f->type);
    if ((!f->one && !f->many) || !type->size || type->size % MS_GO_WORD || is_of_runtime(type))
        return;
    const struct ms_go_plan *plan = ms_go_plan_of(c, type);
    struct ms_go_candidate *slot = plan->known && plan->any ? ms_vector_add(&c->list) : NULL;
    c->failed |= plan->known && plan->any && !slot;
    if (slot)
        *slot = (struct ms_go_candidate){.type = type,
                                         .plan = plan,
                                         .slot = ms_go_slot_size(c->heap, type->size),
                                         .one = f->one,
                                         .many = f->many,
                                         .container = f->container};
}

ms_result ms_go_candidates_read(struct ms_go_candidates *c)
{
    struct search s = {.c = c, .go_types = c->shapes->go_types};
    struct ms_error *error = add_allocated(&s, c->heap->functions);
    for (size_t i = 0; !error && i < s.list.count; i++) {
        const struct found f = s.list.items[i];
        if (f.go && f.go->kind == MS_GO_MAP)
            add_map(&s, f.go, 0);
        else if (f.go && f.go->kind == MS_GO_CHAN)
            add(&s, f.go->element, false, true, false);
        else
            add_reached(&s, f.type, 0);
    }
    if (!error)
        find_structures(&s);
    for (size_t i = 0; !error && i < s.list.count; i++)
        make_candidate(c, &s.list.items[i]);
    ms_map_free(&s.seen);
    ms_vector_free(&s.list);
    return error ? error : c->failed ? ms_error_nomem("guesses") : NULL;
}

void ms_go_candidates_free(struct ms_go_candidates *c)
{
    for (size_t i = 0; i < c->plans.count; i++)
        free(c->plans.items[i]);
    ms_vector_free(&c->plans);
    ms_vector_free(&c->list);
}
