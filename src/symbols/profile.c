/* Profiles: their tables of strings, functions and locations, filled piece by piece. */
#include "memscope/profile.h"

#include <elfutils/libdwelf.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Bytes of a build-id, at most. */
#define ID_MOST 64u

/* A string's place in the index, a tree of tsearch(). */
struct interned {
    const char *text; /* the profile's */
    uint32_t string;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct interned *)a)->text, ((const struct interned *)b)->text);
}

static ms_result no_memory(void)
{
    return ms_error_nomem("a profile");
}

static ms_result add_string(struct ms_profile *profile, const char *text, struct interned *entry)
{
    char **string = ms_vector_add(&profile->strings);
    if (!string || !ms_vector_add(&profile->functions_of))
        return no_memory();
    *string = strdup(text);
    if (!*string)
        return no_memory();
    *entry = (struct interned){*string, (uint32_t)(profile->strings.count - 1)};
    return NULL;
}

ms_result ms_profile_string(struct ms_profile *profile, const char *text, uint32_t *string)
{
    struct interned wanted = {text ? text : "", 0};
    struct interned **found = tfind(&wanted, &profile->index, compare);
    if (found) {
        *string = (*found)->string;
        return NULL;
    }
    struct interned *entry = malloc(sizeof *entry);
    if (!entry)
        return no_memory();
    struct ms_error *error = add_string(profile, wanted.text, entry);
    if (!error && !tsearch(entry, &profile->index, compare))
        error = no_memory();
    if (error) {
        free(entry);
        return error;
    }
    *string = entry->string;
    return NULL;
}

ms_result ms_profile_init(struct ms_profile *profile)
{
    uint32_t empty;
    *profile = (struct ms_profile){0};
    return ms_profile_string(profile, "", &empty);
}

void ms_profile_free(struct ms_profile *profile)
{
    tdestroy(profile->index, free);
    for (size_t i = 0; i < profile->strings.count; i++)
        free(profile->strings.items[i]);
    ms_vector_free(&profile->strings);
    ms_vector_free(&profile->functions_of);
    ms_vector_free(&profile->functions);
    ms_vector_free(&profile->lines);
    ms_vector_free(&profile->locations);
    ms_vector_free(&profile->samples);
    ms_vector_free(&profile->frames);
    ms_vector_free(&profile->labels);
    ms_vector_free(&profile->mappings);
    *profile = (struct ms_profile){0};
}

ms_result ms_profile_unit(struct ms_profile *profile, const char *type, const char *unit)
{
    struct ms_profile_unit *added = &profile->units[profile->unit_count++];
    MS_TRY(ms_profile_string(profile, type, &added->type));
    return ms_profile_string(profile, unit, &added->unit);
}

ms_result ms_profile_function(struct ms_profile *profile, const char *name, const char *file,
                              int64_t start_line, uint32_t *function)
{
    uint32_t string, file_string;
    MS_TRY(ms_profile_string(profile, name, &string));
    MS_TRY(ms_profile_string(profile, file, &file_string));
    uint32_t *known = &profile->functions_of.items[string];
    if (!*known) {
        struct ms_profile_function *added = ms_vector_add(&profile->functions);
        if (!added)
            return no_memory();
        *added = (struct ms_profile_function){string, file_string, start_line};
        *known = (uint32_t)profile->functions.count;
    }
    *function = *known - 1;
    return NULL;
}

ms_result ms_profile_location(struct ms_profile *profile, uint64_t address, size_t *location)
{
    struct ms_profile_location *added = ms_vector_add(&profile->locations);
    if (!added)
        return no_memory();
    *added = (struct ms_profile_location){address, profile->lines.count, 0};
    *location = profile->locations.count - 1;
    return NULL;
}

ms_result ms_profile_line(struct ms_profile *profile, uint32_t function, int64_t line)
{
    struct ms_profile_line *added = ms_vector_add(&profile->lines);
    if (!added)
        return no_memory();
    *added = (struct ms_profile_line){function, line};
    profile->locations.items[profile->locations.count - 1].line_count++;
    return NULL;
}

ms_result ms_profile_sample(struct ms_profile *profile, struct ms_profile_sample **sample)
{
    *sample = ms_vector_add(&profile->samples);
    if (!*sample)
        return no_memory();
    (*sample)->first_frame = profile->frames.count;
    (*sample)->first_label = profile->labels.count;
    return NULL;
}

ms_result ms_profile_frame(struct ms_profile *profile, size_t location)
{
    size_t *frame = ms_vector_add(&profile->frames);
    if (!frame)
        return no_memory();
    *frame = location;
    profile->samples.items[profile->samples.count - 1].frame_count++;
    return NULL;
}

ms_result ms_profile_label(struct ms_profile *profile, const char *key, const char *text,
                           int64_t number)
{
    struct ms_profile_label label = {.number = number};
    MS_TRY(ms_profile_string(profile, key, &label.key));
    MS_TRY(ms_profile_string(profile, text, &label.text));
    struct ms_profile_label *added = ms_vector_add(&profile->labels);
    if (!added)
        return no_memory();
    *added = label;
    profile->samples.items[profile->samples.count - 1].label_count++;
    return NULL;
}

/* The build-id of the file behind REGION in hexadecimal digits; empty when there is none. */
static void build_id(const struct ms_image *image, const struct ms_region *region,
                     char digits[2 * ID_MOST + 1])
{
    *digits = '\0';
    int fd = ms_image_open_file(image, region);
    if (fd < 0)
        return;
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    const void *id = NULL;
    ssize_t size = elf ? dwelf_elf_gnu_build_id(elf, &id) : 0;
    for (ssize_t i = 0; i < size && i < (ssize_t)ID_MOST; i++)
        snprintf(digits + 2 * i, 3, "%02x", ((const uint8_t *)id)[i]);
    elf_end(elf);
    close(fd);
}

ms_result ms_profile_map(struct ms_profile *profile, const struct ms_image *image)
{
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *region = &image->regions[i];
        if (!(region->prot & MS_EXEC) || !*region->path)
            continue;
        char id[2 * ID_MOST + 1];
        build_id(image, region, id);
        struct ms_profile_mapping mapping = {
            .start = region->start,
            .end = region->end,
            .offset = region->offset,
        };
        MS_TRY(ms_profile_string(profile, region->path, &mapping.file));
        MS_TRY(ms_profile_string(profile, id, &mapping.build_id));
        struct ms_profile_mapping *added = ms_vector_add(&profile->mappings);
        if (!added)
            return no_memory();
        *added = mapping;
    }
    return NULL;
}

size_t ms_profile_mapping_at(const struct ms_profile *profile, uint64_t address)
{
    for (size_t i = 0; i < profile->mappings.count; i++) {
        const struct ms_profile_mapping *mapping = &profile->mappings.items[i];
        if (mapping->start <= address && address < mapping->end)
            return i;
    }
    return SIZE_MAX;
}
