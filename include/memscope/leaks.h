/* The leak report as data: what every view of `memscope leaks` shows. */
#ifndef MEMSCOPE_LEAKS_H
#define MEMSCOPE_LEAKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/decode.h"
#include "memscope/graph.h"
#include "memscope/known.h"
#include "memscope/profile.h"
#include "memscope/symbols.h"

enum ms_leak_kind { MS_DEFINITE, MS_INDIRECT, MS_POSSIBLE, MS_REACHABLE, MS_LEAK_KINDS };
extern const char *const ms_leak_names[MS_LEAK_KINDS]; /* "definite", … */

/* Patterns of --suppressions: LeakSanitizer's `leak:PATTERN` lines. */
struct ms_suppressions {
    MS_VECTOR(char *) patterns; /* owned */
};
/* Reads FILE; `#` comments, `leak:` lines with `*`, `^`, `$` as LeakSanitizer has them. MS_USAGE on others. */
ms_result ms_suppressions_read(const char *file, struct ms_suppressions *suppressions);
bool ms_suppressed(const struct ms_suppressions *suppressions, const char *text);
void ms_suppressions_free(struct ms_suppressions *suppressions);

struct ms_leak_options {
    unsigned kinds;     /* bits 1 << enum ms_leak_kind that are listed */
    uint64_t min_bytes; /* groups with less (own and indirect) are not listed */
    bool list;          /* every block too */
    bool index;         /* and, of the list, which blocks are in a group, and which a leader holds */
    const struct ms_suppressions *suppressions; /* or NULL */
    struct ms_types *types; /* NULL: lost blocks are not typed */
    size_t show;       /* decode at most so many members of the first sample of each group; 0: none */
};

#define MS_NO_INDEX UINT32_MAX
struct ms_leak_block {
    uint64_t address;
    uint64_t size; /* usable bytes */
    const char *type; /* NULL when not known; as long as the report */
    enum ms_leak_kind kind;
    enum ms_evidence by;
    uint32_t group;  /* with options.index: index in report.groups, or MS_NO_INDEX … */
    uint32_t leader; /* … and in report.leaders: of the leader that holds it, or its own; or MS_NO_INDEX */
};

/* A definitely lost block, and those that are lost with it. */
struct ms_leak_leader {
    uint32_t block;        /* index in report.blocks */
    uint32_t first, count; /* what it holds: report.held[first] … */
    uint64_t bytes;        /* usable bytes of these */
    bool ring;
};

/* Blocks of one type that the leaks of a group hold. */
#define MS_GROUP_HOLDS 3
struct ms_leak_held {
    const char *type; /* as long as the report */
    uint64_t blocks;  /* of all leaks of the group together */
    uint64_t each;    /* when every one of them holds so many; else 0 */
    bool guess;       /* for some of them that is a guess */
};

/* Leaks of one kind, size, type and shape: of what types the blocks are that they hold. */
#define MS_GROUP_SAMPLES 5
struct ms_leak_group {
    enum ms_leak_kind kind;
    uint64_t size;   /* usable bytes of each block */
    uint64_t blocks, bytes;
    uint64_t indirect_blocks, indirect_bytes; /* held by them */
    bool ring;         /* cycles of lost blocks */
    const char *type;  /* NULL when not known */
    enum ms_evidence by;
    struct ms_leak_held holds[MS_GROUP_HOLDS]; /* the most frequent first; type NULL: no more */
    bool holds_more;   /* there are other types */
    const char *module;/* whose vtable its first word points to, or NULL */
    uint64_t sample[MS_GROUP_SAMPLES];
    unsigned samples;
    uint8_t preview[MS_SAMPLE]; /* raw bytes of the target: escape before showing */
    unsigned preview_size;      /* 0: none */
    uint32_t first;          /* with options.index: its blocks are report.members[first] … */
    struct ms_values values; /* of the first sample, with options.show */
};

struct ms_leak_report {
    struct ms_tally kinds[MS_LEAK_KINDS]; /* all of them, suppressed ones excluded */
    struct ms_tally suppressed;
    struct ms_tally live;
    MS_VECTOR(struct ms_leak_group) groups; /* biggest (own and indirect bytes) first */
    MS_VECTOR(struct ms_leak_block) blocks; /* with options.list; sorted by address */
    /* With options.index: */
    MS_VECTOR(struct ms_leak_leader) leaders; /* by address */
    uint32_t *held;    /* indices of blocks that are indirectly lost, those of each leader together; owned */
    uint32_t *members; /* indices of blocks, those of each group together: who holds most first; owned */
    bool complete; /* false: something could not be read or walked; warnings say what */
    bool shown;    /* groups have their values */
    struct ms_knowledge *knowledge; /* what blocks are; owned */
};

/*
 * Builds the report; SYMBOLS may be NULL. Strings live as long as the report and SYMBOLS. Types are only looked
 * for when something is lost, and then of lost blocks alone.
 */
ms_result ms_leaks(struct ms_scan *scan, struct ms_image *image, struct ms_symbols *symbols,
                   const struct ms_leak_options *options, struct ms_leak_report *report);
/* What is definitely and indirectly lost together. */
struct ms_tally ms_leaks_lost(const struct ms_leak_report *report);
void ms_leak_report_free(struct ms_leak_report *report);

/*
 * Fills PROFILE, which is empty, with a stack for each group: its type or size, and the kind of loss around it;
 * what the leaks of a group hold is a frame inside of it.
 */
ms_result ms_leaks_profile(const struct ms_leak_report *report, struct ms_profile *profile);

#endif
