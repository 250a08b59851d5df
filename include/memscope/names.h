/* Names: what a root is called, as far as is known without debug information. */
#ifndef MEMSCOPE_NAMES_H
#define MEMSCOPE_NAMES_H

#include <stdint.h>
#include <sys/types.h>

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
    MS_PLACE_OTHER,    /* none of the roots: code, constants, vDSO, below a stack pointer */
    MS_PLACE_KINDS
};
extern const char *const ms_place_names[MS_PLACE_KINDS]; /* "data", "file", … */

/* A word outside the blocks. */
struct ms_place {
    enum ms_place_kind kind;
    uint64_t address;   /* 0 for registers and the kernel */
    pid_t tid;          /* of stacks, TLS and registers, else 0 */
    const char *module; /* base name, or NULL; lives as long as the symbols */
    const char *symbol; /* that covers it, demangled where it can be, or NULL; as long as the symbols */
    int64_t offset;     /* from what the kind says */
    char *text;         /* all that in words, "libfoo.so:table+0x10"; owned */
};

/* Names ROOT; SYMBOLS may be NULL. */
ms_result ms_name_root(const struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                       const struct ms_root *root, struct ms_place *place);

/* Names ADDRESS, which lies in a region of the image, whatever it is. */
ms_result ms_name_address(const struct ms_scan *scan, const struct ms_image *image,
                          struct ms_symbols *symbols, uint64_t address, struct ms_place *place);
void ms_place_free(struct ms_place *place);

#endif
