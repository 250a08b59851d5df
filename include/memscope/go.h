/* The Go runtime in an image: which it is, where its globals are, and how its structures are laid
 * out. */
#ifndef MEMSCOPE_GO_H
#define MEMSCOPE_GO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/image.h"
#include "memscope/symbols.h"
#include "memscope/types.h"

/* A range of the target's memory, half-open. */
struct ms_go_range {
    uint64_t start, end;
};

static inline bool ms_go_is_in(const struct ms_go_range *range, uint64_t address)
{
    return address >= range->start && address < range->end;
}

/*
 * A module of Go code: the program, or a plugin. From runtime.moduledata (src/runtime/symtab.go),
 * checked against the maps.
 */
struct ms_go_module {
    uint64_t address; /* of its moduledata */
    uint64_t pclntab; /* of its pcHeader */
    struct ms_go_range text, noptrdata, data, bss, noptrbss, types;
    uint64_t gcdata, gcbss;  /* addresses of the pointer masks of data and bss, see gcdatamask */
    uint64_t rodata, gofunc; /* where offsets of read-only data and of function data count from */
};

/* What every reader of the runtime goes by. */
struct ms_go {
    const struct ms_image *image;
    struct ms_symbols *symbols;
    struct ms_types *types;
    char *
        version; /* as the linker recorded it: "go1.26.8", "go1.22.1 X:nocoverageredesign"; owned */
    unsigned minor;    /* of go1.MINOR */
    char *main_module; /* path of the main module, "example.com/server"; NULL when not recorded;
                          owned */
    char *build_info;  /* the module lines as runtime/debug.ReadBuildInfo() parses them, or NULL;
                          owned */
    MS_VECTOR(struct ms_go_module) modules; /* the program first */
    struct ms_go_layouts *layouts;          /* private to src/go */
};

/*
 * Finds the runtime. GO is NULL when the target is no Go program; an error when it is one that
 * cannot be read: the message names the version. SYMBOLS, TYPES and IMAGE must outlive it.
 */
ms_result ms_go_open(const struct ms_image *image, struct ms_symbols *symbols,
                     struct ms_types *types, struct ms_go **go);
void ms_go_close(struct ms_go *go);

/*
 * Has Go built the executable of process PID, or a library that it has loaded, by what these say? The process is
 * not touched. No sure thing: to decide how much of its memory to ask for.
 */
bool ms_go_is_process(pid_t pid);

/*
 * Finds version and main module alone, also when the runtime is not known: GO has no modules then,
 * and nothing is to be had by the functions below.
 */
ms_result ms_go_recognize(const struct ms_image *image, struct ms_go **go);

/* By the sections of the ELF file FD: may it be a Go program? False is certain, and cheap. */
bool ms_go_may_be(int fd);

/* The version for people, who know that it is Go's: "1.26.8", "devel go1.27-abc". */
static inline const char *ms_go_release(const struct ms_go *go)
{
    return go->version + (go->version[0] == 'g' && go->version[1] == 'o' ? 2 : 0);
}

/* Address of a global of the runtime, "runtime.mheap_", or 0: not known. */
uint64_t ms_go_global(const struct ms_go *go, const char *name);

/* --- layouts: where in a structure a field is ---------------------------------------------------
 */

/* Where a field is; SIZE 0: the structure of this version has none. Bytes. */
struct ms_go_place {
    uint32_t offset, size;
};

/*
 * A field that a reader needs, and where in the reader's own structure of places its struct
 * ms_go_place goes:
 *
 *     struct span_layout { struct ms_go_place start, elemsize, self; };
 *     #define FIELD(type, path, into) MS_GO_FIELD(struct span_layout, type, path, into)
 *     static const struct ms_go_field fields[] = {
 *         FIELD("runtime.mspan", "startAddr", start), …
 *         FIELD("runtime.mspan", "", self),              the whole structure: its size
 *
 * TYPE and PATH may have alternatives, in order of preference: "internal/abi.Type|runtime._type",
 * "Size_|size". "&runtime.work" is the type of that global, where it has no name of its own. A path
 * goes into nested structures and embedded ones: "sched.pc". SINCE and UNTIL
 * are the minor versions between which it must be there (0: no bound); outside of them it may be
 * missing.
 */
struct ms_go_field {
    const char *type, *path;
    uint16_t into;
    uint8_t since, until;
};
#define MS_GO_FIELD(layout, type, path, into)                                                      \
    {                                                                                              \
        type, path, offsetof(layout, into), 0, 0                                                   \
    }
#define MS_GO_FIELD_IN(layout, type, path, into, since, until)                                     \
    {                                                                                              \
        type, path, offsetof(layout, into), since, until                                           \
    }

/*
 * Fills LAYOUT, a structure of struct ms_go_place: from the target's DWARF, else from the table of
 * known versions. An error names the field that must be there and is not.
 */
ms_result ms_go_bind(struct ms_go *go, const struct ms_go_field *fields, size_t count,
                     void *layout);

/* --- reading ------------------------------------------------------------------------------------
 */

/* The field at PLACE of the structure at ADDRESS: 1, 2, 4 or 8 bytes, zero-extended. False: not to
 * be had; VALUE is 0. */
bool ms_go_get(const struct ms_go *go, uint64_t address, struct ms_go_place place, uint64_t *value);

/* A slice or the first two words of a string: where it is and its length in elements. */
struct ms_go_slice {
    uint64_t data, length, capacity;
};
bool ms_go_get_slice(const struct ms_go *go, uint64_t address, struct ms_go_place place,
                     struct ms_go_slice *slice);

/* The Go string at ADDRESS of at most MOST bytes; owned by the caller, raw bytes of the target;
 * NULL when not to be had. */
char *ms_go_get_string(const struct ms_go *go, uint64_t address, size_t most);

#endif
