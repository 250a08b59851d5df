/* What lies at an offset of a value of a type, as an expression. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "types_private.h"

/* Values in values; deeper is no honest type. */
#define DEPTH_MAX 64u
/* Members and elements looked at for one answer. */
#define STEPS_MAX (8u << 20)

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
