/* Where things are in values of a type: the pointers in it, and what lies at an offset, as an expression. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "types_private.h"

/* Values in values; deeper is no honest type. */
#define DEPTH_MAX 64u
#define POINTERS_MAX (1u << 20)
/* Members and elements looked at for one answer. */
#define STEPS_MAX (8u << 20)

/* --- pointers --------------------------------------------------------------------------------- */

struct collecting {
    struct ms_types *types;
    MS_VECTOR(struct ms_pointer_member) found;
    size_t steps;
    bool unordered;
};

/* A value of some type somewhere in the whole. */
struct value {
    const struct ms_type *type;
    uint64_t offset;
    const struct ms_type *holder;
    uint64_t holder_offset;
    bool ambiguous;
};

static void collect(struct collecting *c, struct value value, unsigned depth);

static void collect_pointer(struct collecting *c, const struct value *value)
{
    if (c->found.count >= POINTERS_MAX)
        return;
    if (c->found.count && c->found.items[c->found.count - 1].offset > value->offset)
        c->unordered = true;
    struct ms_pointer_member *added = ms_vector_add(&c->found);
    if (!added) {
        c->types->short_of_memory = true;
        c->steps = STEPS_MAX;
        return;
    }
    *added = (struct ms_pointer_member){.offset = value->offset, .type = value->type, .holder = value->holder,
                                        .holder_offset = value->holder_offset, .ambiguous = value->ambiguous};
}

static void collect_elements(struct collecting *c, const struct value *array, unsigned depth)
{
    const struct ms_type *type = array->type;
    size_t before = c->found.count;
    struct value element = *array;
    element.type = type->target;
    for (uint64_t i = 0; i < type->count && c->steps < STEPS_MAX && type->target->size; i++) {
        element.offset = array->offset + i * type->target->size;
        collect(c, element, depth + 1);
        if (c->found.count == before)
            break; /* no pointer in the first, none in the others */
    }
}

static void collect_members(struct collecting *c, const struct value *value, unsigned depth)
{
    const struct ms_type *type = ms_type_complete(c->types, value->type);
    bool choice = type->kind == MS_TYPE_UNION && type->member_count > 1;
    for (size_t i = 0; i < type->member_count && c->steps < STEPS_MAX; i++) {
        const struct ms_member *member = &type->members[i];
        uint64_t end;
        if (member->bit_size || __builtin_add_overflow(member->offset, member->type->size, &end) ||
            (type->size && end > type->size))
            continue;
        collect(c, (struct value){.type = member->type, .offset = value->offset + member->offset, .holder = type,
                                  .holder_offset = value->offset,
                                  .ambiguous = value->ambiguous || choice || member->tagged},
                depth + 1);
    }
}

static void collect(struct collecting *c, struct value value, unsigned depth)
{
    if (depth >= DEPTH_MAX || c->steps++ >= STEPS_MAX)
        return;
    switch (value.type->kind) {
    case MS_TYPE_POINTER:
        collect_pointer(c, &value);
        break;
    case MS_TYPE_ARRAY:
        collect_elements(c, &value, depth);
        break;
    case MS_TYPE_STRUCT:
    case MS_TYPE_UNION:
        collect_members(c, &value, depth);
        break;
    default:
        break;
    }
}

static int by_offset(const void *a, const void *b)
{
    const struct ms_pointer_member *left = a, *right = b;
    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    return left->type->id < right->type->id ? -1 : left->type->id > right->type->id;
}

const struct ms_pointer_member *ms_type_pointers(struct ms_types *types, const struct ms_type *type, size_t *count)
{
    type = ms_type_complete(types, type);
    struct ms_type_source *source = type->source;
    if (!source->listed) {
        struct collecting c = {.types = types};
        collect(&c, (struct value){.type = type}, 0);
        if (c.unordered)
            ms_vector_sort(&c.found, by_offset);
        /* Many types have few: give back what doubling took too much. */
        struct ms_pointer_member *fit = c.found.count ? realloc(c.found.items, c.found.count * sizeof *fit) : NULL;
        source->pointers = fit ? fit : c.found.items;
        source->pointer_count = c.found.count;
        source->listed = true;
    }
    *count = source->pointer_count;
    return source->pointers;
}

/* --- paths ------------------------------------------------------------------------------------ */

struct descent {
    struct ms_types *types;
    uint64_t wanted;
    size_t steps;
    const struct ms_type *leaf;
    const struct ms_type *derived; /* the structure whose bases are gone through … */
    const struct ms_type *base;    /* … and which of them this is in; NULL: none */
    char *text; /* owned */
    size_t size, capacity;
};

static bool append(struct descent *d, const char *text)
{
    size_t length = strlen(text);
    if (d->size + length >= d->capacity) {
        size_t capacity = 2 * (d->size + length) + 64;
        char *bigger = realloc(d->text, capacity);
        if (!bigger)
            return false;
        d->text = bigger;
        d->capacity = capacity;
    }
    if (!d->text)
        return false;
    memcpy(d->text + d->size, text, length + 1);
    d->size += length;
    return true;
}

static bool descend(struct descent *d, const struct ms_type *type, uint64_t offset, unsigned depth);

/* Elements are not told apart when what is wanted is bigger than one. */
static bool descend_array(struct descent *d, const struct ms_type *array, uint64_t offset, unsigned depth)
{
    uint64_t size = array->target->size;
    char index[32];
    if (!size || offset % size + d->wanted > size)
        return true;
    snprintf(index, sizeof index, "[%llu]", (unsigned long long)(offset / size));
    d->derived = array->target;
    return append(d, index) && descend(d, array->target, offset % size, depth + 1);
}

static bool covers(const struct ms_type *whole, const struct ms_member *member, uint64_t offset)
{
    if (offset < member->offset || member->bit_size)
        return member->bit_size && offset >= member->offset && offset - member->offset < member->type->size;
    /* A flexible array goes as far as its block. */
    if (ms_type_is_flexible(member->type))
        return whole->members + whole->member_count - 1 == member || member->offset >= whole->size;
    return offset - member->offset < member->type->size;
}

static bool fits(const struct descent *d, const struct ms_member *member, uint64_t offset)
{
    uint64_t size = member->type->size;
    return ms_type_is_flexible(member->type) || (size >= d->wanted && offset - member->offset <= size - d->wanted);
}

/* How many members of TYPE and its bases are called NAME; two are as good as more. */
static unsigned count_named(struct descent *d, const struct ms_type *type, const char *name, unsigned depth)
{
    unsigned count = 0;
    type = ms_type_complete(d->types, type);
    for (size_t i = 0; i < type->member_count && count < 2 && depth < DEPTH_MAX && d->steps < STEPS_MAX; i++) {
        const struct ms_member *m = &type->members[i];
        d->steps++;
        if (m->name)
            count += strcmp(m->name, name) == 0;
        else if (m->type->kind == MS_TYPE_STRUCT || m->type->kind == MS_TYPE_UNION)
            count += count_named(d, m->type, name, depth + 1);
    }
    return count;
}

/* ".name", or ".'Base'::name" when another base has one of that name too, as gdb wants it. */
static bool append_member(struct descent *d, const char *name)
{
    if (!d->base || count_named(d, d->derived, name, 0) < 2)
        return append(d, ".") && append(d, name);
    return append(d, ".'") && append(d, d->base->name) && append(d, "'::") && append(d, name);
}

static bool enter_member(struct descent *d, const struct ms_member *member, uint64_t offset, unsigned depth)
{
    const struct ms_type *base = d->base, *derived = d->derived;
    bool good = !member->name || append_member(d, member->name);
    if (member->base) {
        d->base = member->type;
    } else if (member->name) {
        d->base = NULL;
        d->derived = member->type;
    }
    good = good && descend(d, member->type, offset - member->offset, depth + 1);
    d->base = base;
    d->derived = derived;
    return good;
}

/*
 * Of the members at OFFSET (one in a structure, more in a union and among variants) the first that leads to a
 * pointer, else the first.
 */
static bool descend_members(struct descent *d, const struct ms_type *type, uint64_t offset, unsigned depth)
{
    const struct ms_type *whole = ms_type_complete(d->types, type), *first_leaf = NULL;
    const struct ms_member *first = NULL;
    size_t before = d->size;
    bool partly = false; /* there is something, but not as big as is wanted */
    for (size_t i = 0; i < whole->member_count && d->steps < STEPS_MAX; i++) {
        const struct ms_member *member = &whole->members[i];
        if (!covers(whole, member, offset))
            continue;
        if (!fits(d, member, offset)) {
            partly = true;
            continue;
        }
        d->size = before;
        d->leaf = member->type;
        if (!enter_member(d, member, offset, depth))
            continue;
        if (!first) {
            first = member;
            first_leaf = d->leaf;
        }
        if (d->leaf->kind == MS_TYPE_POINTER)
            return true;
    }
    d->size = before;
    if (d->text)
        d->text[before] = '\0';
    if (first) {
        d->leaf = first_leaf;
        return enter_member(d, first, offset, depth);
    }
    d->leaf = whole;
    return partly || whole->member_count == 0;
}

/* Is the word at OFFSET the pointer of a string, slice or interface of Go? To Go's users that has no name of its own. */
static bool is_go_pointer(struct descent *d, const struct ms_type *type, uint64_t offset)
{
    if (type->language != MS_LANGUAGE_GO || type->kind != MS_TYPE_STRUCT || type->size > 24 || d->wanted != 8)
        return false;
    const struct ms_type *whole = ms_type_complete(d->types, type);
    const struct ms_member *m = whole->members;
    if (whole->member_count < 2 || !m[0].name || !m[1].name)
        return false;
    if (strcmp(m[1].name, "len") == 0)
        return offset == 0 && (strcmp(m[0].name, "str") == 0 || strcmp(m[0].name, "array") == 0);
    return offset == 8 && strcmp(m[1].name, "data") == 0 &&
           (strcmp(m[0].name, "tab") == 0 || strcmp(m[0].name, "_type") == 0);
}

static bool descend(struct descent *d, const struct ms_type *type, uint64_t offset, unsigned depth)
{
    d->leaf = type;
    if (is_go_pointer(d, type, offset))
        return true;
    if (depth >= DEPTH_MAX || d->steps++ >= STEPS_MAX)
        return true;
    if (type->kind == MS_TYPE_ARRAY)
        return descend_array(d, type, offset, depth);
    if (type->kind == MS_TYPE_STRUCT || type->kind == MS_TYPE_UNION)
        return descend_members(d, type, offset, depth);
    return true;
}

char *ms_type_path(struct ms_types *types, const struct ms_type *type, uint64_t offset, uint64_t wanted,
                   const struct ms_type **leaf)
{
    struct descent d = {.types = types, .wanted = wanted ? wanted : 1, .derived = type};
    type = ms_type_complete(types, type);
    bool endless = ms_type_is_flexible(type);
    bool flexible = type->member_count && ms_type_is_flexible(type->members[type->member_count - 1].type);
    if ((offset >= type->size && !endless && !flexible) || !append(&d, "") || !descend(&d, type, offset, 0)) {
        free(d.text);
        return NULL;
    }
    if (leaf)
        *leaf = d.leaf;
    return d.text;
}
