/* What an address is, who points to it, and the chains that keep it alive: as data. */
#ifndef MEMSCOPE_PATH_H
#define MEMSCOPE_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/decode.h"
#include "memscope/names.h"

struct ms_path_options {
    uint64_t address;
    size_t chains; /* at most, of different roots */
    struct ms_types *types; /* or NULL */
    size_t edges;  /* at most so many pointers to it and from it are listed; all are counted */
    size_t members; /* at most so many are decoded */
    struct ms_knowledge *knowledge; /* of all blocks, to be used rather than a new one; or NULL */
    struct ms_names *names;         /* … and the same of names */
};

/* A block or another piece of the heap. */
struct ms_path_block {
    uint64_t address;
    uint64_t size;      /* usable bytes */
    const char *class;  /* "reachable", "possible", "definite", "indirect"; "free", "top", … ; static */
    bool live;
    bool mapped;        /* it has a mapping of its own */
    uint64_t arena;     /* address of its arena, 0 when it is mapped */
    const char *type;   /* NULL when not known; as long as the report */
    enum ms_evidence by;
    const char *module; /* that has its vtable, or NULL; owned by the symbols */
    uint8_t preview[MS_SAMPLE]; /* raw bytes of the target: escape before showing */
    unsigned preview_size;      /* 0: none */
};

/* A pointer, from a root or a block, to a block or into a module's constants. */
struct ms_path_edge {
    bool to_block;   /* of an edge that comes in: always */
    bool from_block; /* of an edge that goes out: always, but for a root's own word */
    struct ms_path_block block; /* the other end, when that is a block */
    struct ms_place place;      /* the other end, when it is none */
    uint64_t offset;            /* of the word, in the block that holds it */
    char *member;               /* that the word is, by the type of that block; or NULL; owned */
    int64_t into;               /* where it points to, in the block that it points to */
};

struct ms_path_step {
    struct ms_path_block block;
    uint64_t offset; /* of the word in it that points to the next step; MS_NOTHING in the last */
    char *member;    /* that this word is, or NULL; owned */
    int64_t into;    /* where the word before it points to */
};

/* Of a long chain only so many steps at each end are kept. */
#define MS_PATH_ENDS 500u
struct ms_path_chain {
    bool from_root;       /* else it begins with the leader of a leak */
    struct ms_place root; /* when it does */
    size_t length;        /* in blocks */
    size_t omitted;       /* of these, left out behind the first MS_PATH_ENDS */
    MS_VECTOR(struct ms_path_step) steps;
    char *expression;     /* for C and gdb: its value is the block's address; NULL: none; owned */
};

struct ms_path_report {
    uint64_t address;
    const struct ms_region *region; /* the image's */
    bool in_heap;      /* block is filled, and place not */
    struct ms_path_block block;
    uint64_t offset;   /* of the address in the block: size or more is the allocator's own */
    char *member;      /* that is there, or NULL; owned */
    struct ms_values values; /* what the block holds, when its type is known */
    struct ms_place place;
    uint64_t from_roots, from_blocks; /* pointers to the block */
    MS_VECTOR(struct ms_path_edge) incoming; /* roots first, those that name best before others */
    uint64_t to_blocks, to_modules;   /* pointers from the block, or from the root's word at the address */
    MS_VECTOR(struct ms_path_edge) outgoing;
    MS_VECTOR(struct ms_path_chain) chains; /* shortest first */
    bool lost;                  /* leader is filled, and the chain begins with it */
    struct ms_path_block leader;
    struct ms_tally led;        /* blocks that the leader holds, itself excluded */
    struct ms_knowledge *knowledge; /* private: what strings of blocks live in; owned if own_knowledge */
    struct ms_names *names;     /* private: what the names of places live in; owned if own_names */
    bool own_knowledge, own_names;
    bool complete;
};

/*
 * Looks into the matter. SYMBOLS may be NULL; strings live as long as SYMBOLS, IMAGE and the report.
 * An address in no map is MS_TARGET. Marks the scan.
 */
ms_result ms_path(struct ms_scan *scan, struct ms_image *image, struct ms_symbols *symbols,
                  const struct ms_path_options *options, struct ms_path_report *report);
void ms_path_report_free(struct ms_path_report *report);

#endif
