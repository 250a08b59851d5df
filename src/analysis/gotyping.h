/* Private to src/analysis: typing of the objects of a Go heap. */
#ifndef MEMSCOPE_GOTYPING_H
#define MEMSCOPE_GOTYPING_H

#include "goshape.h"
#include "memscope/goheap.h"
#include "spread.h"

/* What is typed goes on from here: VALUES of TYPE one behind another at ADDRESS. */
struct ms_go_work {
    uint64_t address, count;
    const struct ms_type *type;
    bool guess;
};

/* A pointer says that COUNT values of TYPE begin at ADDRESS. */
struct ms_go_claim {
    uint64_t address;
    uint64_t count;                 /* 0: as many as fit */
    const struct ms_type *type;     /* canonical and complete */
    const struct ms_go_type *owner; /* it is the runtime's structure of this map or channel */
    uint64_t extra;                 /* bytes behind them that are of the same allocation: a channel's buffer */
    bool exact;                     /* the runtime itself keeps this type: by a header, by an interface */
    bool container;                 /* a map or channel says so */
    bool guess;
    bool slice; /* … and of that: it may be a part of an array */
};

struct ms_go_typing {
    struct ms_typing *t;
    const struct ms_go_heap *heap;
    struct ms_go_types *go_types; /* owned */
    struct ms_go_shapes shapes;
    MS_VECTOR(struct ms_go_work) work;
    struct ms_map seen;     /* parts of blocks that were gone on from, by address and type */
    struct ms_map counts;   /* of arrays with fewer elements than fit, by start */
    struct ms_map closures; /* types by code address and size */
    struct ms_map sliced;   /* arrays of which no slice has all: bytes that slices reach, by start */
    MS_VECTOR(struct ms_pin) pins;
    const uint8_t *piece; /* of the image, that was last read from: [piece_start, piece_end) of the target */
    uint64_t piece_start, piece_end;
    const struct ms_type *text, *tiny; /* bytes of strings; several small values in one slot */
};

/* gostatics.c: adds what variables point to in the program's data to the variables of its types. */
struct ms_error *ms_go_find_statics(struct ms_go_typing *g);

/* A live object. */
struct object {
    uint64_t start; /* granule */
    uint64_t address, size;
    struct ms_slot *slot;
    const struct ms_go_span *span; /* or NULL */
};

/* The live object that ADDRESS lies in. */
bool ms_go_find_object(const struct ms_go_typing *g, uint64_t address, struct object *object);

/* OBJECT, of which nothing is known, is guessed to be what CLAIM says, COUNT of them. */
void ms_go_set_guess(struct ms_go_typing *g, const struct object *object, const struct ms_go_claim *claim,
                     uint64_t count);

/* Follows all that is claimed until nothing is left. */
ms_result ms_go_settle(struct ms_go_typing *g);

/* Types all that is live; T->go is made. */
ms_result ms_go_find_types(struct ms_typing *t, struct ms_types *types);
void ms_go_typing_free(struct ms_go_typing *g);

/* What the block at START is, by its slot. */
struct ms_block_type ms_go_block_type(const struct ms_typing *t, const struct ms_slot *slot, uint64_t start);

#endif
