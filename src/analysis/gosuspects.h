/* Private to src/analysis: finding what keeps memory of a Go program alive. */
#ifndef MEMSCOPE_ANALYSIS_GOSUSPECTS_H
#define MEMSCOPE_ANALYSIS_GOSUSPECTS_H

#include "memscope/gosuspects.h"

struct ms_go_finder {
    struct ms_scan *scan;
    const struct ms_image *image;
    struct ms_types *types; /* or NULL */
    const struct ms_dominators *tree;
    struct ms_knowledge *knowledge;
    struct ms_names *names;
    struct ms_go_suspects *suspects;
    uint64_t live; /* bytes of the live heap */
};

/* Is it so little that nobody wants to hear of it? */
bool ms_go_is_little(const struct ms_go_finder *f, uint64_t bytes);

/* The position of the block that holds ADDRESS, or 0. */
uint32_t ms_go_position(const struct ms_go_finder *f, uint64_t address);

/* Adds SUSPECT, which has its kind and figures, with what is said of all TOGETHER. */
struct ms_error *ms_go_add_suspect(struct ms_go_finder *f, const struct ms_together *together,
                                   struct ms_go_suspect *suspect);

/* Says who holds the block at ADDRESS of SUSPECT, and what it is. */
struct ms_error *ms_go_name_holder(struct ms_go_finder *f, struct ms_go_suspect *suspect);

/* gocontexts.c: adds contexts. */
struct ms_error *ms_go_find_contexts(struct ms_go_finder *f);

#endif
