/* Profiles: stacks with figures, as pprof's profile.proto knows them; what they are of is for who fills them. */
#ifndef MEMSCOPE_PROFILE_H
#define MEMSCOPE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/image.h"

/* Figures of a sample, at most. */
#define MS_PROFILE_VALUES 4u

/* Strings are indices into the profile's; 0 is the empty one. */
struct ms_profile_unit {
    uint32_t type, unit; /* "inuse_space", "bytes" */
};
struct ms_profile_function {
    uint32_t name, file;
    int64_t start_line; /* of its definition; 0: not known */
};
struct ms_profile_line {
    uint32_t function; /* an index */
    int64_t line;      /* 0: not known */
};
/* A place in the code: its lines are those of the calls that were inlined there, innermost first. */
struct ms_profile_location {
    uint64_t address; /* of the call itself, or 0: a name only */
    size_t first_line, line_count;
};
struct ms_profile_label {
    uint32_t key, text; /* TEXT 0: the number counts */
    int64_t number;
};
struct ms_profile_sample {
    int64_t values[MS_PROFILE_VALUES];
    size_t first_frame, frame_count; /* in the profile's frames */
    size_t first_label, label_count;
};
/* A region of code of the target. */
struct ms_profile_mapping {
    uint64_t start, end, offset;
    uint32_t file, build_id; /* in hexadecimal digits, or empty */
    bool looked_up, failed;  /* some location in it was given lines; one of them is not complete */
};

/* Zero-initialised, then ms_profile_init(); freed with ms_profile_free(). */
struct ms_profile {
    struct ms_profile_unit units[MS_PROFILE_VALUES], period_unit;
    unsigned unit_count;
    uint32_t usual; /* the type that pprof shows unless asked: a string, or 0 for the last */
    int64_t period; /* mean distance of samples, in its unit */
    int64_t time_ns; /* when the target was looked at, since 1970 */
    MS_VECTOR(char *) strings; /* owned */
    MS_VECTOR(uint32_t) functions_of; /* by string: 1 + the function of this name, or 0 */
    MS_VECTOR(struct ms_profile_function) functions;
    MS_VECTOR(struct ms_profile_line) lines;
    MS_VECTOR(struct ms_profile_location) locations;
    MS_VECTOR(struct ms_profile_sample) samples;
    MS_VECTOR(size_t) frames; /* indices of locations, innermost first */
    MS_VECTOR(struct ms_profile_label) labels;
    MS_VECTOR(struct ms_profile_mapping) mappings; /* sorted */
    void *index; /* of strings, private */
};

/* All errors of these are lack of memory. */
ms_result ms_profile_init(struct ms_profile *profile);
void ms_profile_free(struct ms_profile *profile);

/* The one string with this text, NULL being the empty one. */
ms_result ms_profile_string(struct ms_profile *profile, const char *text, uint32_t *string);

/* One more figure for each sample. */
ms_result ms_profile_unit(struct ms_profile *profile, const char *type, const char *unit);

/* The one function with this name: as in Go, the first call says where it is defined. */
ms_result ms_profile_function(struct ms_profile *profile, const char *name, const char *file,
                              int64_t start_line, uint32_t *function);

/* A new location without lines; those that are added next are its own. */
ms_result ms_profile_location(struct ms_profile *profile, uint64_t address, size_t *location);
ms_result ms_profile_line(struct ms_profile *profile, uint32_t function, int64_t line);

/* A new sample, all zeros; frames and labels that are added next are its own. */
ms_result ms_profile_sample(struct ms_profile *profile, struct ms_profile_sample **sample);
ms_result ms_profile_frame(struct ms_profile *profile, size_t location);
ms_result ms_profile_label(struct ms_profile *profile, const char *key, const char *text,
                           int64_t number);

/* The regions of code of IMAGE, with the build-ids of the files behind them. */
ms_result ms_profile_map(struct ms_profile *profile, const struct ms_image *image);
/* Index of the mapping that ADDRESS is in, or SIZE_MAX. */
size_t ms_profile_mapping_at(const struct ms_profile *profile, uint64_t address);

#endif
