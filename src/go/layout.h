/* Private to src/go: what is found out once about a runtime, and the tables it is found by. */
#ifndef MEMSCOPE_GO_LAYOUT_H
#define MEMSCOPE_GO_LAYOUT_H

#include "memscope/go.h"

/* --- fields that readers need ---------------------------------------------------------------- */

/*
 * Every table of fields that some reader gives to ms_go_bind(), by name: what contrib/go-layouts.py
 * makes the table of known versions from. A reader puts its line here, and in its file:
 *
 *     MS_GO_EXPORT_FIELDS(spans, span_fields)
 */
#define MS_GO_READERS(READER)                                                                      \
    READER(modules)                                                                                \
    READER(globals)                                                                                \
    READER(pointers)                                                                               \
    READER(roots)                                                                                  \
    READER(spans)                                                                                  \
    READER(types)                                                                                  \
    READER(goroutines)                                                                             \
    READER(stacks)                                                                                 \
    READER(labels)                                                                                 \
    READER(leaked)                                                                                 \
    READER(stats)                                                                                  \
    READER(memory)                                                                                 \
    READER(gctrace)                                                                                \
    READER(records)                                                                                \
    READER(buckets)                                                                                \
    READER(queues)

struct ms_go_fields {
    const char *reader;
    const struct ms_go_field *fields;
    size_t count;
};
#define MS_GO_EXPORT_FIELDS(reader, array)                                                                         \
    const struct ms_go_fields ms_go_fields_of_##reader = {#reader, array, sizeof(array) / sizeof *(array)};

#define MS_GO_DECLARE_FIELDS(reader) extern const struct ms_go_fields ms_go_fields_of_##reader;
MS_GO_READERS(MS_GO_DECLARE_FIELDS)

/* Where a field is by the target's DWARF, or by the table of known versions. False: not there. */
bool ms_go_place_by_dwarf(const struct ms_go *go, const struct ms_go_field *field, struct ms_go_place *place);
bool ms_go_place_by_table(const struct ms_go *go, const struct ms_go_field *field, struct ms_go_place *place);

/* --- layout_table.c: known versions ------------------------------------------------------------
 */

/* A place that is the same in versions go1.FIRST to go1.LAST; TYPE and PATH as in struct
 * ms_go_field. */
struct ms_go_known_place {
    const char *type, *path;
    uint8_t first, last;
    uint32_t offset, size;
};
extern const struct ms_go_known_place ms_go_known_places[]; /* sorted by type, path, version */
extern const size_t ms_go_known_place_count;
/* The versions the table was made from; between them nothing is missing. */
extern const unsigned ms_go_first_known, ms_go_last_known;

/* --- buckets.c ----------------------------------------------------------------------------------
 */

/* Reads buckets of the memory profile up to the one at *UNTIL (0: all), which becomes the first; COMPLETE: all those. */
ms_result ms_go_buckets_need(struct ms_go *go, uint64_t *until, bool *complete);

/* --- buildinfo.c --------------------------------------------------------------------------------
 */

/* Looks for it in what is mapped of the file that REGION maps. */
bool ms_go_find_build_info(struct ms_go *go, const struct ms_region *region);
/*
 * Where the build took that information away: the version by runtime.buildVersion, a string among the data of
 * the file that the moduledata at MODULE is in. False when none is there, or several that differ.
 */
bool ms_go_find_version(struct ms_go *go, uint64_t module);

/* --- modules.c ----------------------------------------------------------------------------------
 */

/* Address of the moduledata of the program (or of the first library in Go), by its structure; 0:
 * there is no Go code. */
uint64_t ms_go_find_module(const struct ms_image *image);
/* Fills GO->modules from the one at ADDRESS on. */
ms_result ms_go_read_modules(struct ms_go *go, uint64_t address);

/* --- globals.c ----------------------------------------------------------------------------------
 */

/* Address of a global that no symbol names, by the code that refers to it; 0: not known. NAME
 * without "runtime.", those of other packages with theirs. */
uint64_t ms_go_find_global(const struct ms_go *go, const char *name);

/* --- what is kept --------------------------------------------------------------------------------
 */

struct ms_go_found {
    const char *name; /* without "runtime."; static */
    uint64_t address;
};
struct ms_go_layouts {
    bool searched;                         /* for the globals that no symbol names */
    MS_VECTOR(struct ms_go_found) globals; /* those that were found */
};

#endif
