/* Private to src/analysis: the types that a Go program allocates, and where values of them have pointers. */
#ifndef MEMSCOPE_GOCANDIDATES_H
#define MEMSCOPE_GOCANDIDATES_H

#include "gotyping.h"

#define MS_GO_WORD       8u
#define MS_GO_PLAN_WORDS 512u /* types with pointers behind these are none of them */
#define MS_GO_PLAN_BOOLS 16u  /* of a type that are known */

/* Where values of a type have what. */
struct ms_go_plan {
    uint64_t pointers[MS_GO_PLAN_WORDS / 64]; /* a bit for each word that is a pointer to the collector */
    uint32_t last;                            /* of these words; meaningless when there is none */
    bool any;                                 /* there is a pointer */
    bool known;                               /* false: the type is too big, or not known in full */
    uint8_t bool_count;
    uint32_t bools[MS_GO_PLAN_BOOLS]; /* offsets */
};

/* A type that is allocated. */
struct ms_go_candidate {
    const struct ms_type *type;     /* canonical and complete; its size is a multiple of words */
    const struct ms_go_type *owner; /* of the runtime's structure of a map or channel: that type */
    const struct ms_go_plan *plan;
    uint64_t slot;  /* bytes of the slot that one value gets */
    bool one, many; /* one value; several, one behind another */
    bool container; /* maps and channels alone allocate it */
};

/* Zero-initialised but for SHAPES; freed with ms_go_candidates_free(). */
struct ms_go_candidates {
    const struct ms_go_heap *heap; /* these two are set before */
    struct ms_go_shapes *shapes;
    MS_VECTOR(struct ms_go_candidate) list;
    MS_VECTOR(struct ms_go_plan *) plans;   /* by id of the type; owned */
    const struct ms_go_plan *map, *channel; /* of their structures; NULL: the program has none */
    const struct ms_type *bucket; /* the runtime's own of any map, which says little of what it is; or NULL */
    uint64_t channel_element;     /* offset in a channel of the header of its elements' type */
    bool failed;                  /* memory was short */
};

/* Those that have pointers of all types that code allocates, and of those that these may point to. */
ms_result ms_go_candidates_read(struct ms_go_candidates *candidates);
void ms_go_candidates_free(struct ms_go_candidates *candidates);

/* TYPE's plan; never NULL. */
const struct ms_go_plan *ms_go_plan_of(struct ms_go_candidates *candidates, const struct ms_type *type);

static inline bool ms_go_bit(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

#endif
