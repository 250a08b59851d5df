/* What closures of Go programs have captured, as members of their types. */
#include "goclosures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPTURES_MOST 64u
#define NAME_MOST     512u

static int by_offset(const void *a, const void *b)
{
    const struct ms_member *m = a, *n = b;
    if (m->offset != n->offset)
        return m->offset < n->offset ? -1 : 1;
    return (m->name[0] != '&') - (n->name[0] != '&'); /* what is captured by reference: the pointer to it first */
}

/* Those that are whole and one behind another. */
static size_t keep_sound(struct ms_member *members, size_t count, uint64_t size)
{
    uint64_t end = sizeof(uint64_t); /* of the code's address */
    size_t kept = 0;
    qsort(members, count, sizeof *members, by_offset);
    for (size_t i = 0; i < count; i++) {
        const struct ms_member *m = &members[i];
        if (m->offset < end || m->offset > size || !m->type->size || m->type->size > size - m->offset)
            continue;
        end = m->offset + m->type->size;
        members[kept] = *m;
        members[kept++].name += m->name[0] == '&';
    }
    return kept;
}

/* By the name of METHOD, "main.(*server).serve", "main.pair.sum": where all calls of it are inlined there is no more. */
static const struct ms_type *receiver_by_name(struct ms_go_shapes *shapes, char *method)
{
    char *end = strrchr(method, '.');
    if (!end || strchr(method, '['))
        return NULL;
    *end = '\0';
    char *star = strstr(method, ".(*");
    if (star && end[-1] == ')') {
        end[-1] = '\0';
        memmove(star + 1, star + 3, strlen(star + 3) + 1);
    }
    const struct ms_type *type = ms_type_named(shapes->types, method);
    if (!type || !star)
        return type;
    char name[NAME_MOST];
    snprintf(name, sizeof name, "*%s", type->name);
    const struct ms_type_plan plan = {
        .kind = MS_TYPE_POINTER, .language = MS_LANGUAGE_GO, .name = name, .size = 8, .target = type};
    return ms_type_add(shapes->types, &plan);
}

/* The receiver of the method that NAME, "main.(*server).serve-fm", is a value of; NULL: it is none. */
static const struct ms_type *receiver_of(struct ms_go_shapes *shapes, struct ms_symbols *symbols, const char *name)
{
    const size_t length = strlen(name);
    char method[NAME_MOST];
    if (length < 3 || length >= sizeof method || strcmp(name + length - 3, "-fm") != 0)
        return NULL;
    memcpy(method, name, length - 3);
    method[length - 3] = '\0';
    const uint64_t entry = symbols ? ms_symbols_address(symbols, method, NULL) : 0;
    const struct ms_type *type = entry ? ms_types_receiver(shapes->types, entry) : NULL;
    return type ? type : receiver_by_name(shapes, method);
}

void ms_go_describe_closure(struct ms_go_shapes *shapes, struct ms_symbols *symbols, const struct ms_type *closure,
                            uint64_t code, const char *name)
{
    struct ms_capture captures[CAPTURES_MOST];
    struct ms_member members[CAPTURES_MOST + 1] = {{0}};
    size_t count = ms_types_captures(shapes->types, code, captures, CAPTURES_MOST);
    for (size_t i = 0; i < count; i++)
        members[i] =
            (struct ms_member){.name = captures[i].name, .type = captures[i].type, .offset = captures[i].offset};
    const struct ms_type *receiver = count ? NULL : receiver_of(shapes, symbols, name);
    if (receiver)
        members[count++] = (struct ms_member){.name = "R", .type = receiver, .offset = sizeof(uint64_t)};
    for (size_t i = 0; i < count; i++)
        members[i].type = ms_go_whole(shapes, members[i].type);
    count = keep_sound(members, count, closure->size);
    if (count)
        ms_type_set_members(shapes->types, closure, members, count);
}

bool ms_go_is_closure(const struct ms_type *type)
{
    return type->kind == MS_TYPE_STRUCT && type->member_count && !strncmp(type->name, "closure ", 8);
}
