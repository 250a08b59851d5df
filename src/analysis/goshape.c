/* Shapes of Go's types: where their values point, and what slices, maps and interfaces say of that. */
#include "goshape.h"

#include <stdlib.h>
#include <string.h>

#include "gosync.h"

#define DEPTH_MAX  32u
#define LINKS_MAX  1000000u
#define STEPS_MAX  4000000u
#define SEARCH_MAX 10000u

struct walk {
    struct ms_go_shapes *shapes;
    struct ms_go_shape *shape;
    unsigned depth, steps;
};

static void walk_type(struct walk *w, const struct ms_type *type, uint64_t offset);

const struct ms_type *ms_go_whole(struct ms_go_shapes *shapes, const struct ms_type *type)
{
    return ms_type_complete(shapes->types, ms_go_canonical(shapes->go_types, type));
}

static void add_link(struct walk *w, uint64_t offset, enum ms_go_link_how how, const struct ms_type *to,
                     const struct ms_go_type *owner)
{
    if (w->shape->links.count >= LINKS_MAX)
        return;
    struct ms_go_link *link = ms_vector_add(&w->shape->links);
    w->shapes->failed |= !link;
    if (link)
        *link = (struct ms_go_link){
            .offset = offset, .to = to ? ms_go_whole(w->shapes, to) : NULL, .owner = owner, .how = (uint8_t)how};
}

/* --- structures that have rules of their own --------------------------------------------------- */

/* Is NAME that of the type WANTED, up to type parameters, with a package path of any length? */
static bool is_named(const char *name, const char *wanted)
{
    const char *end = strchrnul(name, '[');
    const size_t length = strlen(wanted), whole = (size_t)(end - name);
    return whole >= length && strncmp(end - length, wanted, length) == 0 &&
           (whole == length || end[-(ptrdiff_t)length - 1] == '/');
}

static const struct ms_member *member_called(const struct ms_type *type, const char *name)
{
    for (size_t i = 0; i < type->member_count; i++)
        if (type->members[i].name && strcmp(type->members[i].name, name) == 0)
            return &type->members[i];
    return NULL;
}

/* sync/atomic: type Pointer[T any] struct { _ [0]*T; _ noCopy; v unsafe.Pointer }. */
static bool walk_atomic_pointer(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    const struct ms_member *v = member_called(type, "v");
    if (!is_named(type->name, "atomic.Pointer") || !v || !type->members[0].type)
        return false;
    const struct ms_type *none = ms_go_whole(w->shapes, type->members[0].type);
    const struct ms_type *pointer =
        none->kind == MS_TYPE_ARRAY && none->target ? ms_go_whole(w->shapes, none->target) : NULL;
    if (!pointer || pointer->kind != MS_TYPE_POINTER || !pointer->target)
        return false;
    add_link(w, offset + v->offset, MS_GO_LINK_VALUE, pointer->target, NULL);
    return true;
}

/* sync: type Pool struct { …; local unsafe.Pointer; localSize uintptr; victim …; victimSize … }. */
static bool walk_pool(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    static const char *const arrays[] = {"local", "victim"};
    const struct ms_type *locals =
        is_named(type->name, "sync.Pool") ? ms_type_named(w->shapes->types, "sync.poolLocal") : NULL;
    for (size_t i = 0; locals && i < sizeof arrays / sizeof *arrays; i++) {
        const struct ms_member *m = member_called(type, arrays[i]);
        if (m)
            add_link(w, offset + m->offset, MS_GO_LINK_LOCALS, locals, NULL);
    }
    const struct ms_member *make = member_called(type, "New");
    if (locals && make)
        add_link(w, offset + make->offset, MS_GO_LINK_FUNCTION, NULL, NULL);
    return locals != NULL;
}

/* The overflow bucket of a bucket is one too; without pointers in them it is a uintptr, and the map's extra knows. */
static bool walk_bucket(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    const struct ms_member *overflow = member_called(type, "overflow");
    if (strncmp(type->name, "map.bucket[", 11) != 0 || !overflow || !overflow->type ||
        overflow->type->kind != MS_TYPE_POINTER)
        return false;
    for (size_t i = 0; i < type->member_count; i++)
        if (&type->members[i] != overflow && type->members[i].type)
            walk_type(w, type->members[i].type, offset + type->members[i].offset);
    add_link(w, offset + overflow->offset, MS_GO_LINK_UNITS, type, NULL);
    return true;
}

static void add_part(struct walk *w, const struct ms_type *type, uint64_t offset, const char *name,
                     enum ms_go_link_how how, const struct ms_type *to, const struct ms_go_type *owner)
{
    const struct ms_member *m = member_called(type, name);
    if (m)
        add_link(w, offset + m->offset, how, to, owner);
}

/* What the runtime has of a map or channel. */
static void walk_structure(struct walk *w, const struct ms_type *type, uint64_t offset,
                           const struct ms_go_type *owner)
{
    if (owner->kind == MS_GO_CHAN) {
        add_part(w, type, offset, "buf", MS_GO_LINK_BUFFER, owner->element, owner);
    } else if (owner->map.groups) {
        add_part(w, type, offset, "dirPtr", MS_GO_LINK_DIRECTORY, owner->map.unit, owner);
    } else if (owner->map.unit) {
        add_part(w, type, offset, "buckets", MS_GO_LINK_UNITS, owner->map.unit, owner);
        add_part(w, type, offset, "oldbuckets", MS_GO_LINK_UNITS, owner->map.unit, owner);
        add_part(w, type, offset, "extra", MS_GO_LINK_EXTRA, owner->map.unit, owner);
    }
}

/* --- walking ----------------------------------------------------------------------------------- */

/* sync: type entry struct { p unsafe.Pointer }, to 1.19. */
static bool walk_entry(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    const struct ms_type *to = ms_go_entry_target(w->shapes, type);
    if (to)
        add_link(w, offset, MS_GO_LINK_VALUE, to, NULL);
    return to != NULL;
}

static void walk_members(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    const struct ms_go_type *owner = ms_go_owner_of(w->shapes->go_types, type);
    if (owner) {
        walk_structure(w, type, offset, owner);
        return;
    }
    if (strncmp(type->name, "map.table[", 10) == 0 && type->member_count && type->members[0].type->target) {
        add_link(w, offset + type->members[0].offset, MS_GO_LINK_UNITS, type->members[0].type->target, NULL);
        return;
    }
    if (walk_entry(w, type, offset) || walk_atomic_pointer(w, type, offset) || walk_pool(w, type, offset) || walk_bucket(w, type, offset))
        return;
    for (size_t i = 0; i < type->member_count; i++)
        if (type->members[i].type)
            walk_type(w, type->members[i].type, offset + type->members[i].offset);
}

static void walk_array(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    const struct ms_type *element = type->target ? ms_go_whole(w->shapes, type->target) : NULL;
    if (!element || !element->size)
        return;
    for (uint64_t i = 0; i < type->count && w->steps < STEPS_MAX; i++) {
        const size_t before = w->shape->links.count;
        walk_type(w, element, offset + i * element->size);
        if (w->shape->links.count == before)
            return; /* no element has any */
    }
}

static void walk_pointer(struct walk *w, const struct ms_type *type, const struct ms_go_type *go, uint64_t offset)
{
    const struct ms_type *to = go && go->element ? go->element : type->target;
    if (!to || to->kind == MS_TYPE_VOID)
        add_link(w, offset, MS_GO_LINK_OPEN, NULL, NULL);
    else
        add_link(w, offset, MS_GO_LINK_VALUE, to, NULL);
}

/* What Go knows of it decides; of what it knows nothing, what it is made of. */
static void walk_kind(struct walk *w, const struct ms_type *type, const struct ms_go_type *go, uint64_t offset)
{
    switch (go ? go->kind : MS_GO_NONE) {
    case MS_GO_STRING:
        add_link(w, offset, MS_GO_LINK_STRING, NULL, NULL);
        return;
    case MS_GO_SLICE:
        add_link(w, offset, MS_GO_LINK_SLICE, go->element, NULL);
        return;
    case MS_GO_INTERFACE:
        add_link(w, offset, go->empty_interface ? MS_GO_LINK_EMPTY : MS_GO_LINK_INTERFACE, NULL, NULL);
        return;
    case MS_GO_FUNC:
        add_link(w, offset, MS_GO_LINK_FUNCTION, NULL, NULL);
        return;
    case MS_GO_MAP:
    case MS_GO_CHAN:
        add_link(w, offset, go->header ? MS_GO_LINK_STRUCTURE : MS_GO_LINK_OPEN, type->target, go);
        return;
    default:
        break;
    }
    if (type->kind == MS_TYPE_STRUCT || type->kind == MS_TYPE_UNION)
        walk_members(w, type, offset);
    else if (type->kind == MS_TYPE_ARRAY)
        walk_array(w, type, offset);
    else if (type->kind == MS_TYPE_POINTER)
        walk_pointer(w, type, go, offset);
}

static void walk_type(struct walk *w, const struct ms_type *type, uint64_t offset)
{
    if (w->depth >= DEPTH_MAX || w->steps++ >= STEPS_MAX)
        return;
    w->depth++;
    type = ms_go_whole(w->shapes, type);
    walk_kind(w, type, ms_go_type_of(w->shapes->go_types, type), offset);
    w->depth--;
}

static int links_by_offset(const void *a, const void *b)
{
    const struct ms_go_link *l = a, *m = b;
    return l->offset < m->offset ? -1 : l->offset > m->offset;
}

static struct ms_go_shape *make_shape(struct ms_go_shapes *shapes, const struct ms_type *type)
{
    struct ms_go_shape *shape = calloc(1, sizeof *shape);
    if (!shape)
        return NULL;
    struct walk w = {.shapes = shapes, .shape = shape};
    shape->type = ms_go_whole(shapes, type);
    walk_type(&w, shape->type, 0);
    ms_vector_sort(&shape->links, links_by_offset);
    return shape;
}

const struct ms_go_shape *ms_go_shape_of(struct ms_go_shapes *shapes, const struct ms_type *type)
{
    static const struct ms_type nothing = {.name = "void"};
    static const struct ms_go_shape none = {.type = &nothing};
    const uint32_t id = type->id;
    while (shapes->list.count <= id) {
        struct ms_go_shape **slot = ms_vector_add(&shapes->list);
        shapes->failed |= !slot;
        if (!slot)
            return &none;
    }
    if (!shapes->list.items[id]) {
        struct ms_go_shape *made = make_shape(shapes, type);
        shapes->list.items[id] = made;
    }
    shapes->failed |= !shapes->list.items[id];
    return shapes->list.items[id] ? shapes->list.items[id] : &none;
}

void ms_go_shapes_free(struct ms_go_shapes *shapes)
{
    for (size_t i = 0; i < shapes->list.count; i++)
        if (shapes->list.items[i]) {
            ms_vector_free(&shapes->list.items[i]->links);
            free(shapes->list.items[i]);
        }
    ms_vector_free(&shapes->list);
}

const struct ms_go_link *ms_go_shape_link(const struct ms_go_shape *shape, uint64_t offset)
{
    size_t low = 0, high = shape->links.count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const struct ms_go_link *link = &shape->links.items[middle];
        const uint64_t at = link->offset + ms_go_pointer_offset(link);
        if (at == offset)
            return link;
        if (at < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* --- relations --------------------------------------------------------------------------------- */

struct search {
    struct ms_go_shapes *shapes;
    const struct ms_type *part;
    unsigned steps;
};

static bool holds_at(struct search *s, const struct ms_type *whole, uint64_t offset, unsigned depth)
{
    if (depth > DEPTH_MAX || s->steps++ > SEARCH_MAX)
        return false;
    whole = ms_go_whole(s->shapes, whole);
    if (offset == 0 && (whole == s->part || (whole->size == s->part->size && whole->kind == s->part->kind &&
                                             strcmp(whole->name, s->part->name) == 0)))
        return true;
    if (whole->kind == MS_TYPE_ARRAY && whole->target && whole->target->size)
        return offset / whole->target->size < whole->count &&
               holds_at(s, whole->target, offset % whole->target->size, depth + 1);
    for (size_t i = 0; i < whole->member_count; i++) {
        const struct ms_member *m = &whole->members[i];
        if (m->type && offset >= m->offset && offset - m->offset < (m->type->size ? m->type->size : 1) &&
            holds_at(s, m->type, offset - m->offset, depth + 1))
            return true;
    }
    return false;
}

bool ms_go_holds_at(struct ms_go_shapes *shapes, const struct ms_type *whole, uint64_t offset,
                    const struct ms_type *part)
{
    struct search search = {shapes, ms_go_whole(shapes, part), 0};
    return holds_at(&search, whole, offset, 0);
}
