/* The heap report as data: live blocks in groups, what retains most, and who is suspected of too much. */
#ifndef MEMSCOPE_HISTOGRAM_H
#define MEMSCOPE_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/gosuspects.h"
#include "memscope/graph.h"
#include "memscope/known.h"
#include "memscope/profile.h"
#include "memscope/names.h"

/* A block or a group that retains more than this part of the live heap is a suspect. */
#define MS_SUSPECT_PERCENT 10u

enum ms_heap_by { MS_BY_TYPE, MS_BY_SIZE, MS_BY_MODULE, MS_BY_ARENA, MS_BY_COUNT };
extern const char *const ms_heap_by_names[MS_BY_COUNT]; /* "type", … */

enum ms_heap_sort { MS_SORT_BYTES, MS_SORT_BLOCKS, MS_SORT_RETAINED, MS_SORT_COUNT };
extern const char *const ms_heap_sort_names[MS_SORT_COUNT]; /* "bytes", … */

struct ms_heap_options {
    enum ms_heap_by by;
    enum ms_heap_sort sort;
    uint64_t min_bytes;  /* groups and retainers that neither are nor retain so much are left out */
    size_t group_limit;  /* at most this many groups are kept … */
    size_t retainer_limit; /* … and this many retainers */
    struct ms_types *types;  /* NULL: blocks are not typed, and roots are called by symbols alone */
    struct ms_knowledge *knowledge; /* of all blocks, to be used rather than a new one; or NULL */
    bool keep_tree; /* the report gets the dominator tree */
};

/* What the blocks of a group have in common, and which member of ms_heap_group says it. */
enum ms_group_kind {
    MS_GROUP_CLASS,   /* type, module: their vtable */
    MS_GROUP_TYPE,    /* type, by: other evidence */
    MS_GROUP_TEXT,    /* they begin with text */
    MS_GROUP_SIZE,    /* size: usable bytes */
    MS_GROUP_MODULE,  /* module: its read-only data is what their first word points to */
    MS_GROUP_UNKNOWN, /* by module: the first word points to none */
    MS_GROUP_ARENA,   /* arena: address */
    MS_GROUP_MAPPED,  /* each is a mapping of its own */
    MS_GROUP_KINDS
};
extern const char *const ms_group_names[MS_GROUP_KINDS]; /* "class", … */

struct ms_heap_group {
    enum ms_group_kind kind;
    const char *type, *module;
    enum ms_evidence by; /* of several the weakest; but guesses have groups of their own */
    uint64_t size, arena;
    uint64_t blocks, bytes;
    uint64_t retained; /* bytes that would be lost with them; nothing is counted twice */
    double share;      /* of the bytes of all live blocks: its own bytes */
    uint64_t sample;   /* address of the block that retains most, 0 when all are lost */
    uint8_t preview[MS_SAMPLE]; /* raw bytes of the target: escape before showing */
    unsigned preview_size;      /* 0: none */
    uint64_t most;     /* what that block retains */
};

/* A block, with what is known of it. */
struct ms_owner {
    uint64_t address;  /* 0: there is none */
    uint64_t size;     /* usable bytes of its own */
    uint64_t retained; /* bytes, its own too */
    uint64_t retained_blocks;
    double share;      /* of the bytes of all live blocks: what it retains */
    const char *type, *module;
    enum ms_evidence by;
    const char *root;  /* where the shortest chain to it begins, in words; NULL: not asked for */
    uint8_t preview[MS_SAMPLE];
    unsigned preview_size;
};

/* A block that no other one retains, only the roots. */
struct ms_retainer {
    struct ms_owner block;
    struct ms_owner gathers; /* where below it that spreads; address 0: at once, or it is a long chain */
};

struct ms_suspect {
    bool is_group;
    struct ms_retainer retainer; /* a block, or … */
    struct ms_heap_group group;  /* … blocks of a type or size in sum */
    uint64_t retained; /* of a group: without its blocks that are suspects themselves */
    double share; /* of the bytes of all live blocks */
};

/* An array of Go that slices of a small part of it keep. */
struct ms_pinned {
    struct ms_owner block;
    uint64_t used; /* bytes that slices reach */
};

struct ms_heap_report {
    enum ms_heap_by by;
    enum ms_heap_sort sort;
    struct ms_tally live, reachable, lost;
    struct ms_tally typed[MS_EVIDENCES]; /* of the live ones, by how it is known what they are */
    size_t group_count;     /* all of them */
    struct ms_tally others; /* in groups that are not in the list */
    MS_VECTOR(struct ms_heap_group) groups;      /* as sorted */
    uint64_t retainer_count; /* all of them */
    MS_VECTOR(struct ms_retainer) retainers;     /* biggest first */
    MS_VECTOR(struct ms_suspect) suspects;       /* biggest first */
    MS_VECTOR(struct ms_pinned) pinned; /* what keeps most for nothing first; not all */
    struct ms_tally pinned_all;         /* all of them: bytes that are kept for nothing */
    struct ms_go_suspects go_suspects;       /* of Go: what keeps memory alive by habit */
    bool complete; /* false: something could not be read or walked; warnings say what */
    bool types_sought;              /* typed tells something */
    struct ms_knowledge *knowledge; /* what blocks are; owned … */
    bool shared;                    /* … unless it was given */
    struct ms_dominators tree;      /* with options.keep_tree, else empty; owned */
};

/*
 * Marks, types the blocks, makes the dominator tree and builds the report; SYMBOLS may be NULL. Strings live
 * as long as the report and SYMBOLS. Beside the tree and the types it takes 4 bytes a block.
 */
ms_result ms_heap_report(struct ms_scan *scan, struct ms_image *image, struct ms_symbols *symbols,
                         const struct ms_heap_options *options, struct ms_heap_report *report);

/* Is RETAINED more of the live heap than one should have? */
bool ms_is_suspect(const struct ms_heap_report *report, uint64_t retained);

/* Some of many blocks: those that retain most first; a lost one counts by its own size. */
struct ms_owners {
    MS_VECTOR(struct ms_owner) list;
    uint64_t count; /* of all of them */
};
void ms_owners_free(struct ms_owners *owners);

/*
 * Up to MOST of the blocks that the one at granule START retains directly. REPORT, here and below, is one by type
 * that has the tree.
 */
ms_result ms_find_retained(const struct ms_scan *scan, const struct ms_heap_report *report, uint64_t start,
                           size_t most, struct ms_owners *blocks);

/* Up to MOST of the blocks of GROUP, which is one of REPORT's. Asks what each live block is. */
ms_result ms_find_group_blocks(struct ms_scan *scan, const struct ms_heap_report *report,
                               const struct ms_heap_group *group, size_t most, struct ms_owners *blocks);

/* Calls VISIT with every live block of REPORT's scan, in the order of addresses, until it returns an error. */
struct ms_listed_block {
    uint64_t address, size; /* usable bytes */
    enum ms_evidence by;
    const char *type; /* NULL: not known */
};
typedef struct ms_error *ms_block_visitor(void *context, const struct ms_listed_block *block);
ms_result ms_each_live_block(const struct ms_scan *scan, const struct ms_heap_report *report,
                             ms_block_visitor *visit, void *context);
void ms_heap_report_free(struct ms_heap_report *report);

/*
 * Fills PROFILE, which is empty, with the reachable blocks of REPORT, which has its tree: the stack of each is what
 * retains it, by type or size, outermost the root. Of the roots only those of REPORT's biggest retainers have names.
 */
ms_result ms_retained_profile(const struct ms_scan *scan, const struct ms_heap_report *report,
                              struct ms_profile *profile);

#endif
