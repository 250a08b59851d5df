/* What structures of Go's package sync point to, where their types do not say it. */
#include "gosync.h"

#include <stdio.h>
#include <string.h>

#define NAME_MOST 1024u

/* src/internal/sync/hashtriemap.go: node is the first member of entry and of indirect, isEntry its only one. */
const struct ms_type *ms_go_whole_node(struct ms_go_shapes *shapes, const struct ms_image *image, uint64_t address,
                                       const struct ms_type *type)
{
    static const char node[] = "sync.node[", inside[] = "internal/";
    const char *name = type->name;
    char whole[NAME_MOST];
    uint8_t is_entry;
    if (!strncmp(name, inside, sizeof inside - 1))
        name += sizeof inside - 1;
    if (strncmp(name, node, sizeof node - 1) != 0 || !ms_image_read(image, address, &is_entry, 1) || is_entry > 1)
        return type;
    const int length = snprintf(whole, sizeof whole, "internal/sync.%s[%s", is_entry ? "entry" : "indirect",
                                name + sizeof node - 1);
    const struct ms_type *found =
        length > 0 && (size_t)length < sizeof whole ? ms_type_named(shapes->types, whole) : NULL;
    return found ? ms_go_whole(shapes, found) : type;
}

static const struct ms_member *member_called(const struct ms_type *type, const char *name)
{
    for (size_t i = 0; i < type->member_count; i++)
        if (type->members[i].name && type->members[i].type && !strcmp(type->members[i].name, name))
            return &type->members[i];
    return NULL;
}

const struct ms_type *ms_go_entry_target(struct ms_go_shapes *shapes, const struct ms_type *type)
{
    if (strcmp(type->name, "sync.entry") != 0)
        return NULL;
    const struct ms_member *p = member_called(type, "p");
    if (!p || p->type->kind != MS_TYPE_POINTER)
        return NULL;
    /* The keys of the map are interfaces as well. */
    const struct ms_type *map = ms_type_named(shapes->types, "sync.Map");
    const struct ms_member *dirty = map ? member_called(map, "dirty") : NULL;
    const struct ms_go_type *go = dirty ? ms_go_type_of(shapes->go_types, dirty->type) : NULL;
    return go && go->kind == MS_GO_MAP && go->key ? ms_go_whole(shapes, go->key) : NULL;
}
