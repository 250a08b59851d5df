/* Layouts of the runtime's structures: offsets by the names of fields, from the target's own DWARF.
 */
#include "layout.h"

#include <string.h>

void ms_go_layouts_free(struct ms_go_layouts *layouts)
{
    free(layouts);
}

/* The part of TEXT up to the next SEPARATOR into PART; what follows it, or NULL. */
static const char *split(const char *text, char separator, char *part, size_t size)
{
    const char *end = strchrnul(text, separator);
    size_t length = (size_t)(end - text) < size ? (size_t)(end - text) : size - 1;
    memcpy(part, text, length);
    part[length] = '\0';
    return *end ? end + 1 : NULL;
}

#define NAME_MOST 256u

static bool walk_path(struct ms_types *types, const struct ms_type *type, const char *path,
                      struct ms_go_place *place)
{
    uint64_t offset = 0;
    while (path && *path) {
        char name[NAME_MOST];
        path = split(path, '.', name, sizeof name);
        type = ms_type_complete(types, type);
        const struct ms_member *member = type->members, *end = member + type->member_count;
        while (member < end && !(member->name && !strcmp(member->name, name)))
            member++;
        if (member == end)
            return false;
        offset += member->offset;
        type = member->type;
    }
    type = ms_type_complete(types, type);
    if (offset > UINT32_MAX || type->size == 0 || type->size > UINT32_MAX)
        return false;
    *place = (struct ms_go_place){(uint32_t)offset, (uint32_t)type->size};
    return true;
}

/* The type called NAME, or with '&' in front, that of the global variable of that name. */
static const struct ms_type *find_type(struct ms_go *go, const char *name)
{
    if (!go->types || *name != '&')
        return go->types ? ms_type_named(go->types, name) : NULL;
    uint64_t address = ms_go_global(go, name + 1);
    struct ms_place_type found = {0};
    struct ms_error *error = address ? ms_types_find(go->types, &address, 1, &found) : NULL;
    ms_error_free(error);
    return !error && found.variable && found.offset == 0 ? found.variable->type : NULL;
}

static bool find_place(struct ms_go *go, const struct ms_go_field *field, struct ms_go_place *place)
{
    char type_name[NAME_MOST], path[NAME_MOST];
    for (const char *types = field->type; types;) {
        types = split(types, '|', type_name, sizeof type_name);
        const struct ms_type *type = find_type(go, type_name);
        if (!type)
            continue;
        for (const char *paths = field->path; paths;) {
            paths = split(paths, '|', path, sizeof path);
            if (walk_path(go->types, type, path, place))
                return true;
        }
    }
    return false;
}

ms_result ms_go_bind(struct ms_go *go, const struct ms_go_field *fields, size_t count, void *layout)
{
    for (size_t i = 0; i < count; i++) {
        const struct ms_go_field *field = &fields[i];
        struct ms_go_place place = {0};
        bool needed = go->minor >= field->since && (!field->until || go->minor <= field->until);
        if (!find_place(go, field, &place) && needed)
            return ms_error(MS_TARGET,
                            "%s: the layout of %s is not known: %s has no field %s there that can "
                            "be found, and the "
                            "program has no debug information; build it without -ldflags=-w",
                            go->image->origin, field->type, go->version,
                            *field->path ? field->path : "at all");
        memcpy((char *)layout + field->into, &place, sizeof place);
    }
    return NULL;
}

bool ms_go_get(const struct ms_go *go, uint64_t address, struct ms_go_place place, uint64_t *value)
{
    *value = 0;
    return (place.size == 1 || place.size == 2 || place.size == 4 || place.size == 8) &&
           ms_image_read(go->image, address + place.offset, value, place.size);
}

bool ms_go_get_slice(const struct ms_go *go, uint64_t address, struct ms_go_place place,
                     struct ms_go_slice *slice)
{
    *slice = (struct ms_go_slice){0};
    if (place.size < 16)
        return false;
    return ms_image_read(go->image, address + place.offset, slice, place.size < 24 ? 16 : 24);
}
