/* Inspections: one image of a target and all that is made of it, stage by stage, by a thread of its own. */
#ifndef MEMSCOPE_INSPECTION_H
#define MEMSCOPE_INSPECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/goroutines.h"
#include "memscope/heapmap.h"
#include "memscope/histogram.h"
#include "memscope/leaks.h"
#include "memscope/memstats.h"
#include "memscope/path.h"
#include "memscope/regions.h"

/* In the order in which they are made. */
enum ms_stage {
    MS_STAGE_COPY,     /* the image: when it is done the target runs again */
    MS_STAGE_MEMSTATS, /* marking, and the account of every resident byte */
    MS_STAGE_LEAKS,
    MS_STAGE_TYPES,    /* what each block is */
    MS_STAGE_HEAP,     /* dominators, groups, retainers, suspects */
    MS_STAGES
};
extern const char *const ms_stage_names[MS_STAGES]; /* "copying", … */

enum ms_stage_state {
    MS_STAGE_WAITING,
    MS_STAGE_RUNNING,
    MS_STAGE_DONE,
    MS_STAGE_FAILED, /* or not to be had because an earlier one failed */
};

struct ms_stage_status {
    enum ms_stage_state state;
    const char *what;     /* while it runs: what is being done; static */
    uint64_t done, total; /* bytes; total 0: not known */
    const char *error;    /* FAILED: why, as long as the inspection; else NULL */
};

/* All there is. A member is NULL until its stage is done, and does not change any more from then on. */
struct ms_facts {
    struct ms_scan *scan;         /* COPY: of the objects of a Go program, of malloc's blocks else */
    struct ms_scan *malloc_scan;  /* COPY: the same, or in a Go program what C has allocated */
    struct ms_go_heap *go;        /* COPY: NULL when it is no Go program, or that cannot be read … */
    const char *go_error;         /* … then why; else NULL */
    struct ms_image *image;       /* COPY */
    struct ms_symbols *symbols;   /* COPY */
    struct ms_types *types;       /* COPY */
    struct ms_names *names;       /* COPY */
    const struct ms_memstats *memstats;
    const struct ms_memory_map *map;     /* MEMSTATS */
    const struct ms_heap_map *heap_map;  /* MEMSTATS; NULL too when the allocator is not known */
    const struct ms_goroutines *goroutines; /* MEMSTATS; NULL too without GO */
    const struct ms_leak_report *leaks; /* of malloc's blocks; every lost one is listed */
    struct ms_knowledge *knowledge;     /* TYPES; of all blocks */
    const struct ms_heap_report *heap;  /* by type, with all groups and the dominator tree */
};

struct ms_inspection;

struct ms_inspection_options {
    const char *target;        /* PID or core file */
    const char *exe, *sysroot; /* for cores, or NULL */
    bool debuginfod;
};

/* Returns at once; a thread does the work. The strings of OPTIONS must outlive the inspection. */
ms_result ms_inspection_start(const struct ms_inspection_options *options, struct ms_inspection **inspection);

/* Waits for the stage or question that is at work, leaves out the others, and frees all. NULL is allowed. */
void ms_inspection_free(struct ms_inspection *inspection);

/* An eventfd that is readable whenever a stage went on or a question was answered; the caller reads it. */
int ms_inspection_fd(const struct ms_inspection *inspection);

struct ms_stage_status ms_inspection_status(struct ms_inspection *inspection, enum ms_stage stage);

/*
 * What there is by now. The caller's thread may read reports, regions, threads and the index of blocks. Symbols,
 * types, names and knowledge look things up in files and tables of their own when they are asked: only
 * answers to questions may call them.
 */
struct ms_facts ms_inspection_facts(struct ms_inspection *inspection);

/*
 * Asks for ANSWER to be run with CONTEXT by the inspection's thread, before the next stage begins; questions are
 * answered in the order of asking. RELEASE (or NULL) is called with CONTEXT when the question is forgotten
 * and not at work any more. When it cannot be asked CONTEXT is released too.
 */
typedef struct ms_error *ms_answer(const struct ms_facts *facts, void *context);
struct ms_question; /* the inspection's */
ms_result ms_inspection_ask(struct ms_inspection *inspection, ms_answer *answer, void *context,
                            void (*release)(void *context), struct ms_question **question);

/* Is it answered? Then ERROR, as long as the question, or NULL. */
bool ms_inspection_answered(struct ms_inspection *inspection, const struct ms_question *question,
                            const char **error);

/* Every question must be forgotten, answered or not, before the inspection is freed or by that. */
void ms_inspection_forget(struct ms_inspection *inspection, struct ms_question *question);

/* Does the process still live? True for a core. */
bool ms_inspection_target_lives(struct ms_inspection *inspection);

#endif
