/* Stacks as people read them: what each thread is doing, and its locals decoded. */
#ifndef MEMSCOPE_STACKS_H
#define MEMSCOPE_STACKS_H

#include "memscope/decode.h"

/* What a thread is in. Strings live as long as the types. */
struct ms_doing {
    const char *function; /* the innermost, or NULL */
    const char *caller;   /* the innermost that is of another module, or NULL */
};
ms_result ms_thread_doing(struct ms_types *types, const struct ms_thread *thread, struct ms_doing *doing);

/* A local, or one member of it. */
struct ms_stack_value {
    size_t frame;                 /* index in the stack */
    const struct ms_local *local; /* the stack's */
    struct ms_value value;        /* its path is below the local's name */
    bool decoded; /* false: it is of no kind that has a value, or there are too many of them */
};

struct ms_decoded_stack {
    struct ms_stack stack;
    MS_VECTOR(struct ms_stack_value) values; /* the innermost frame first; each of its locals is there */
};

/* Unwinds THREAD and decodes its locals: each to at most MOST_EACH values, all together to about MOST. */
ms_result ms_decode_stack(const struct ms_decoder *decoder, const struct ms_thread *thread, size_t most_each,
                          size_t most, struct ms_decoded_stack *decoded);
void ms_decoded_stack_free(struct ms_decoded_stack *decoded);

#endif
