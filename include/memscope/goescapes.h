/* Variables of a Go program that its compiler moved to the heap, from its DWARF alone: no process
 * is needed. */
#ifndef MEMSCOPE_GOESCAPES_H
#define MEMSCOPE_GOESCAPES_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/error.h"
#include "memscope/goprofile.h"
#include "memscope/memory.h"

/*
 * A variable whose address outlives its function, or may: each time it comes to its declaration the
 * program allocates. Strings live as long as the list.
 */
struct ms_go_escape {
    const char *package;  /* import path: "example.com/server", "main" */
    const char *function; /* that it is a variable of or, when INLINED, that it was inlined into */
    const char *file;     /* as the compiler recorded it; NULL: not known, of some that were inlined */
    const char *variable;
    const char *type; /* NULL: not known */
    int line;         /* of its declaration */
    uint64_t size;    /* bytes; 0: not known, or nothing */
    uint64_t copies;  /* functions with code that allocates it: more than one by inlining */
    bool inlined;     /* none of them is its own */
    bool counted;     /* a process has been asked, ms_go_escapes_count(): */
    uint64_t live_objects, live_bytes; /* of it that are alive, by the samples of the memory profile */
};

struct ms_go_escapes {
    MS_VECTOR(struct ms_go_escape) list; /* by package, file and line */
    bool counted;  /* ms_go_escapes_count() */
    int64_t rate;  /* … mean bytes between samples; 1: none is missing */
    bool complete; /* false: some debug information made no sense and was left out */
    int fd;        /* private */
    void *dwarf;   /* private: owns the strings */
};

/* Reads the ELF file at PATH; errors say what to do. Free with ms_go_escapes_free(). */
ms_result ms_go_escapes_read(const char *path, struct ms_go_escapes **escapes);
void ms_go_escapes_free(struct ms_go_escapes *escapes);

/*
 * Says of each how much is alive, by the memory profile of a process that runs the same program: BUCKETS whose
 * allocation is at the line of the declaration and of its size. Not of two on one line.
 */
ms_result ms_go_escapes_count(struct ms_go_escapes *escapes, struct ms_go_functions *functions,
                              const struct ms_go_buckets *buckets);

/* Is it a package of the standard library? Import paths of others begin with the name of a host, or
 * are "main". */
bool ms_go_standard_package(const char *package);

#endif
