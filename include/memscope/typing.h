/* Typing: what each block of the heap is, and how that is known. */
#ifndef MEMSCOPE_TYPING_H
#define MEMSCOPE_TYPING_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/frames.h"
#include "memscope/gotypes.h"
#include "memscope/graph.h"
#include "memscope/types.h"

/* From the weakest to the strongest. */
enum ms_evidence {
    MS_BY_NOTHING,
    MS_BY_GUESS,     /* the only type that fits its size and its pointers; or told by another guess */
    MS_BY_POINTER,   /* a typed pointer, from a root or a typed block, points to it */
    MS_BY_CONTAINER, /* it is a node or a table of a container of known type */
    MS_BY_FORMAT,    /* all that a library's structure must hold does, without debug information */
    MS_BY_VTABLE,    /* its first word points to the vtable of its class */
    MS_BY_HEADER,    /* Go's runtime itself keeps its type: with the object, or in an interface that has it */
    MS_EVIDENCES
};
extern const char *const ms_evidence_names[MS_EVIDENCES]; /* "nothing", "guess", "pointer", … */

/*
 * A block is COUNT values of TYPE one behind another, from AT on. What comes before (container_of,
 * only when AT > 0) and after (TAIL) is not known.
 */
struct ms_block_type {
    const struct ms_type *type; /* NULL: not known */
    uint64_t count;
    uint64_t at, tail;          /* bytes; a tail of no more than malloc's rounding is 0 */
    enum ms_evidence evidence;
};

/* What is typed. */
enum ms_typing_scope {
    MS_TYPE_ALL,  /* every live block; needs ms_mark() to have run */
    MS_TYPE_LOST, /* blocks that are neither reached nor maybe: roots say nothing of them */
};

struct ms_typing;

/*
 * Spreads types from typed roots (variables, locals in registers and memory of every frame) and from
 * vtables along the pointers of the graph until nothing changes. It goes by the pointers in the index, so a lean
 * image is enough; what bytes alone can tell (tags of Rust's enums, how much of a vector is in use) is
 * taken from the image where it has them. A class whose vtable is known and whose type is not has the
 * evidence MS_BY_VTABLE and no type: ms_block_known() has its name. 8 bytes a block and 4 for each 512
 * bytes of heap; meanwhile 16 bytes more a block that is queued, and up to 200 MiB for values inside of
 * other blocks, if there are millions of these.
 */
ms_result ms_typing_new(struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                        struct ms_types *types, enum ms_typing_scope scope, struct ms_typing **typing);
void ms_typing_free(struct ms_typing *typing);

/* What the block at granule START is; TYPING may be NULL. */
struct ms_block_type ms_block_type(const struct ms_typing *typing, uint64_t start);

/*
 * In words: "struct conn", "struct entry [12]", "struct buf + 4,096 bytes". Owned by TYPING; the same for the
 * same words, so pointers may be compared. NULL when the type is not known.
 */
const char *ms_block_type_text(struct ms_typing *typing, const struct ms_block_type *what);

/* Go's types, as long as TYPING; NULL: it is of no Go heap. */
struct ms_go_types *ms_typing_go_types(const struct ms_typing *typing);

/* An array of Go of which slices reach only a small part: the rest is kept for nothing. Bytes. */
struct ms_pin {
    uint64_t address, size;
    uint64_t used; /* from its beginning to where the slices end that reach farthest */
};

/* All that there are, those first that keep most for nothing; as long as TYPING, which may be NULL. */
const struct ms_pin *ms_typing_pins(const struct ms_typing *typing, size_t *count);

/* How much is typed, by evidence; [MS_BY_NOTHING] is what is not. Blocks in scope. */
void ms_typing_share(const struct ms_typing *typing, struct ms_tally share[MS_EVIDENCES]);

#endif
