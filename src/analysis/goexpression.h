/* Private to src/analysis: a chain of pointers as an expression that Go's users write. */
#ifndef MEMSCOPE_GOEXPRESSION_H
#define MEMSCOPE_GOEXPRESSION_H

#include "memscope/gotypes.h"
#include "memscope/known.h"
#include "memscope/typing.h"

/* A block on the way. */
struct ms_go_expression_step {
    struct ms_block_type what;
    uint64_t address;
    uint64_t word; /* address of the word in it that points to the next step; 0 in the last */
};

/* Where the chain begins: a word of a variable, or what else is known of it. */
struct ms_go_expression_root {
    const char *name;           /* of a variable, "main.sessions"; NULL: it is none */
    const struct ms_type *type; /* of that */
    uint64_t address;           /* … and where it begins */
    uint64_t word;              /* address of the word that points to the first step */
};

/*
 * The value that points to the last of COUNT steps, as Go (and Delve) has it: `main.cache.items["k17"].buf`,
 * `main.shape.(*main.Circle).next`. Where the way leads through what has no name in Go it begins anew with a
 * conversion of an address, `(*main.node)(0xc000012345)`. NULL when the last step cannot be said in either way. Owned
 * by the caller.
 */
ms_result ms_go_express(struct ms_go_types *go_types, struct ms_types *types, const struct ms_image *image,
                        const struct ms_go_expression_root *root, const struct ms_go_expression_step *steps,
                        size_t count, char **expression);

/* The same of a chain of pointers, which begins with a root or a lost block. */
ms_result ms_go_express_chain(struct ms_knowledge *knowledge, struct ms_types *types, const struct ms_image *image,
                              const struct ms_scan *scan, const struct ms_chain *chain, char **expression);

#endif
