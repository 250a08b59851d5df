/* Layouts of the runtime's structures by the names of fields: by the target's own DWARF, or what is
 * known of its version. */
#include "layout.h"

#include <string.h>

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
static const struct ms_type *find_type(const struct ms_go *go, const char *name)
{
    if (!go->types || *name != '&')
        return go->types ? ms_type_named(go->types, name) : NULL;
    uint64_t address = ms_go_global(go, name + 1);
    struct ms_place_type found = {0};
    struct ms_error *error = address ? ms_types_find(go->types, &address, 1, &found) : NULL;
    ms_error_free(error);
    return !error && found.variable && found.offset == 0 ? found.variable->type : NULL;
}

bool ms_go_place_by_dwarf(const struct ms_go *go, const struct ms_go_field *field,
                          struct ms_go_place *place)
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

/* --- known versions ----------------------------------------------------------------------------
 */

/*
 * Experiments that leave the fields in the table where they are, on or off, from a minor version on
 * (src/internal/goexperiment; those of 1.25 and 1.26 as measured).
 */
static const struct experiment {
    const char *name;
    unsigned since;
} harmless[] = {
    {"aliastypeparams", 0},
    {"arenas", 0},
    {"boringcrypto", 0},
    {"cacheprog", 0},
    {"coverageredesign", 0},
    {"dwarf5", 25},
    {"goroutineleakprofile", 26},
    {"greenteagc", 26},
    {"heapminimum512kib", 0},
    {"jsonv2", 0},
    {"loopvar", 0},
    {"newinliner", 0},
    {"randomizedheapbase64", 26},
    {"rangefunc", 0},
    {"runtimefreegc", 26},
    {"runtimesecret", 26},
    {"simd", 0},
    {"sizespecializedmalloc", 26},
    {"synchashtriemap", 24},
    {"synctest", 0},
};

static bool is_harmless(const char *experiment, size_t length, unsigned minor)
{
    if (length > 2 && !strncmp(experiment, "no", 2)) {
        experiment += 2;
        length -= 2;
    }
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strlen(harmless[i].name) == length && !strncmp(harmless[i].name, experiment, length))
            return minor >= harmless[i].since;
    return false;
}

/*
 * Is it a released version that the table knows, with its usual structures? Experiments follow as
 * "go1.22.1 X:this,that", and "go1.26-X:this" (buildVersion in src/cmd/link/internal/ld/main.go).
 */
static bool is_known_version(const struct ms_go *go)
{
    if (go->minor < ms_go_first_known || go->minor > ms_go_last_known ||
        strncmp(go->version, "go1.", 4) != 0)
        return false;
    const char *one = strstr(go->version, "X:");
    for (one = one ? one + 2 : ""; *one && *one != ' '; one += *one == ',') {
        size_t length = strcspn(one, ", ");
        if (!is_harmless(one, length, go->minor))
            return false;
        one += length;
    }
    return true;
}

/* The first of the table's entries that is not before TYPE and PATH. */
static size_t first_of(const char *type, const char *path)
{
    size_t low = 0, high = ms_go_known_place_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct ms_go_known_place *known = &ms_go_known_places[middle];
        int order = strcmp(known->type, type);
        if (order < 0 || (order == 0 && strcmp(known->path, path) < 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ms_go_place_by_table(const struct ms_go *go, const struct ms_go_field *field,
                          struct ms_go_place *place)
{
    if (!is_known_version(go))
        return false;
    for (size_t i = first_of(field->type, field->path); i < ms_go_known_place_count; i++) {
        const struct ms_go_known_place *known = &ms_go_known_places[i];
        if (strcmp(known->type, field->type) != 0 || strcmp(known->path, field->path) != 0)
            return false;
        if (known->first <= go->minor && go->minor <= known->last) {
            *place = (struct ms_go_place){known->offset, known->size};
            return true;
        }
    }
    return false;
}

/* --- what readers ask --------------------------------------------------------------------------
 */

static ms_result unknown_field(const struct ms_go *go, const struct ms_go_field *field)
{
    const char *path = *field->path ? field->path : "(its size)";
    if (is_known_version(go))
        return ms_error(MS_TARGET, "%s: %s: the field %s of %s is not known", go->image->origin,
                        go->version, path, field->type);
    return ms_error(
        MS_TARGET,
        "%s: built with %s, whose runtime is not known here (go1.%u to go1.%u are), and without "
        "debug information to learn it from (field %s of %s): build it without -ldflags=-w",
        go->image->origin, go->version, ms_go_first_known, ms_go_last_known, path, field->type);
}

ms_result ms_go_bind(struct ms_go *go, const struct ms_go_field *fields, size_t count, void *layout)
{
    for (size_t i = 0; i < count; i++) {
        const struct ms_go_field *field = &fields[i];
        struct ms_go_place place = {0};
        bool needed = go->minor >= field->since && (!field->until || go->minor <= field->until);
        if (!ms_go_place_by_dwarf(go, field, &place) && !ms_go_place_by_table(go, field, &place) &&
            needed)
            return unknown_field(go, field);
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
