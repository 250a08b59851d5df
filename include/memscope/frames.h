/* Frames: the call stack of each thread, with the parameters and locals of each function. */
#ifndef MEMSCOPE_FRAMES_H
#define MEMSCOPE_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/types.h"

/* A parameter or local variable that has a value at this point of the program. */
struct ms_local {
    const char *name;
    const struct ms_type *type;
    uint64_t address; /* where it is; 0: in a register, or computed */
    uint64_t value;   /* then its first 8 bytes, when valued */
    bool valued;
    bool parameter;
    int reg;          /* DWARF number of the register that it is in, -1: none */
    uint64_t saved;   /* where on the stack a function that was called has saved that register; 0: nowhere */
    bool live;        /* that register is still as it was: the thread has it in its own */
};

struct ms_frame {
    uint64_t pc;
    uint64_t sp;          /* its stack pointer */
    uint64_t cfa;         /* the caller's stack pointer; 0: not known */
    const char *function; /* demangled, or NULL; an inlined function has its own frame before its caller's */
    const char *module;   /* base name, or NULL */
    const char *file;     /* base name of the source, or NULL */
    unsigned line;        /* 0: not known */
    bool inlined;
    MS_VECTOR(struct ms_local) locals; /* of the innermost scopes first */
};

struct ms_stack {
    pid_t tid;
    MS_VECTOR(struct ms_frame) frames; /* the innermost first */
    bool complete; /* false: it ended before the thread's first function */
};

/* At most so many frames are unwound. */
#define MS_FRAMES_MAX 1024u

/*
 * Unwinds THREAD of the image by the CFI of its modules (.eh_frame or .debug_frame). With LOCALS the
 * variables too, where there is DWARF. Strings live as long as TYPES; free with ms_stack_free().
 */
ms_result ms_unwind(struct ms_types *types, const struct ms_thread *thread, bool locals, struct ms_stack *stack);
void ms_stack_free(struct ms_stack *stack);

/*
 * Adds the function at PC to STACK, what is inlined there before it, with their locals as far as they are in memory:
 * for stacks that others unwind. Its part of the stack is from SP to CFA, which is its caller's stack pointer.
 */
ms_result ms_add_frame(struct ms_types *types, uint64_t pc, uint64_t sp, uint64_t cfa, struct ms_stack *stack);

/* A local that a word of the target belongs to. */
struct ms_local_place {
    const struct ms_local *local; /* NULL: none */
    size_t frame;    /* its index in the stack */
    uint64_t offset; /* bytes into the local */
};

/* What STACK, unwound with locals, has at ADDRESS: a local in memory, or one whose register was saved there. */
struct ms_local_place ms_local_at(const struct ms_stack *stack, uint64_t address);

/* What it has in the thread's own register of this index (of ms_thread.registers). */
struct ms_local_place ms_local_in_register(const struct ms_stack *stack, unsigned index);

/* The frame, no inlined one, whose part of the stack holds ADDRESS; frames.count: none. */
size_t ms_frame_at(const struct ms_stack *stack, uint64_t address);

#endif
