/* Private to src/analysis: a chain of pointers as an expression that C and gdb can evaluate. */
#ifndef MEMSCOPE_EXPRESSION_H
#define MEMSCOPE_EXPRESSION_H

#include "memscope/names.h"
#include "memscope/typing.h"

/* A chain that is longer than this has no expression: nothing could evaluate it. */
#define MS_EXPRESSION_STEPS 10000u

/* A block on the way. */
struct ms_expression_step {
    struct ms_block_type what;
    uint64_t offset; /* of the word that points to the next step; MS_NOTHING in the last */
    int64_t into;    /* where the word before it points to, from its start */
};

/*
 * The word ROOT and what COUNT steps lead to from it: its value is the address of the last block. NULL when
 * the root has no name that a debugger knows. Owned by the caller. TYPES and SYMBOLS may be NULL.
 */
ms_result ms_express(struct ms_types *types, struct ms_symbols *symbols, const struct ms_place *root,
                     const struct ms_expression_step *steps, size_t count, char **expression);

/* The same from the value TEXT of type TYPE (NULL: not known) on. */
ms_result ms_express_from(struct ms_types *types, const char *text, const struct ms_type *type,
                          const struct ms_expression_step *steps, size_t count, char **expression);

/*
 * The member at OFFSET of a block that WANTED bytes fit: "ht[0].table", "[3].next"; NULL: none. Owned by the
 * caller.
 */
char *ms_member_text(struct ms_types *types, const struct ms_block_type *what, uint64_t offset, uint64_t wanted);

/* Replaces *TEXT, which is owned or NULL, by a longer one that may be made of it. The only error is lack of memory. */
ms_result ms_rewrite(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
