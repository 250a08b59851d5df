/* Names: what roots and other places outside the blocks are called. */
#ifndef MEMSCOPE_NAMES_H
#define MEMSCOPE_NAMES_H

#include <stdint.h>
#include <sys/types.h>

#include "memscope/frames.h"
#include "memscope/graph.h"
#include "memscope/symbols.h"

enum ms_place_kind {
    MS_PLACE_DATA,     /* a module's: symbol and offset, or module and offset */
    MS_PLACE_FILE,     /* private map of a file that is no module: offset in the file */
    MS_PLACE_STACK,    /* offset from the thread's stack pointer */
    MS_PLACE_TLS,      /* thread-local storage and the thread's descriptor: offset from the thread pointer */
    MS_PLACE_REGISTER, /* general or vector register */
    MS_PLACE_ANON,     /* anonymous map: offset in it */
    MS_PLACE_SHARED,   /* shared map: offset in the file */
    MS_PLACE_KERNEL,   /* epoll, timer */
    MS_PLACE_DTV,      /* glibc's vector of TLS blocks, and what else it keeps unseen */
    MS_PLACE_GOROUTINE, /* a goroutine's stack: offset from its frame's stack pointer */
    MS_PLACE_FINALIZER, /* Go: what is to be called when an object has died */
    MS_PLACE_RUNTIME,   /* what Go's runtime keeps outside its heap */
    MS_PLACE_OTHER,    /* none of the roots: code, constants, vDSO, below a stack pointer */
    MS_PLACE_KINDS
};
extern const char *const ms_place_names[MS_PLACE_KINDS]; /* "data", "file", … */

/* A word outside the blocks. Strings that are not owned live as long as their struct ms_names. */
struct ms_place {
    enum ms_place_kind kind;
    uint64_t address;     /* 0 for registers and the kernel */
    pid_t tid;            /* of stacks, TLS and registers, else 0 */
    const char *module;   /* base name, or NULL */
    uint64_t goroutine;   /* number of the goroutine whose stack it is on, else 0 */
    const char *symbol;   /* that covers it, demangled where it can be, or NULL */
    int64_t offset;       /* from what the kind says */
    int frame;            /* of a stack or register: its frame, the innermost is 0; -1: not known */
    const char *function; /* of that frame, or whose static this is; or NULL */
    const char *unit;     /* base name of the source file that the variable is of, or NULL */
    bool parameter;       /* the variable is one */
    char *variable;       /* with the path into it, "server.db[0].dict"; NULL: not known; owned */
    char *text;           /* all that in words, "libfoo.so:table+0x10"; owned */
};

/* Names roots and addresses; keeps the stacks of threads that it had to unwind for that. */
struct ms_names;

/* SYMBOLS and TYPES may be NULL; all that are given must outlive it. Opens and unwinds nothing yet. */
ms_result ms_names_new(const struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                       struct ms_types *types, struct ms_names **names);
void ms_names_free(struct ms_names *names);

/* Names ROOT. */
ms_result ms_name_root(struct ms_names *names, const struct ms_root *root, struct ms_place *place);

/* Names ADDRESS, which lies in a region of the image, whatever it is. */
ms_result ms_name_address(struct ms_names *names, uint64_t address, struct ms_place *place);
void ms_place_free(struct ms_place *place);

#endif
