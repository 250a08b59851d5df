/* Processes that can be inspected, and what is known of each without stopping it. */
#ifndef MEMSCOPE_PROCESSES_H
#define MEMSCOPE_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/error.h"
#include "memscope/gostats.h"
#include "memscope/memory.h"

struct ms_process {
    pid_t pid;
    char *program;         /* path of its executable; owned */
    char *go_version;      /* owned; NULL: no Go program */
    char *module;          /* path of a Go program's main module; owned; or NULL */
    char *package;         /* of a Go program, as given to go build; owned; or NULL */
    const char *allocator; /* "go", or by the names of its libraries "glibc", …; NULL: not known */
    uint64_t rss;          /* bytes, as the kernel counts them */
    uint64_t anonymous;    /* bytes of RSS that are no file's: the heap is no bigger */
    bool gauge_known;
    struct ms_go_gauge gauge; /* of a Go program whose runtime is known */
};

struct ms_processes {
    MS_VECTOR(struct ms_process) list; /* the biggest heap first; see ms_process_heap() */
    size_t unreadable; /* those that we have no right to inspect, or that are not x86-64 */
};

/* Bytes of the heap that are in use; of what is not Go as much as it may be at most. */
uint64_t ms_process_heap(const struct ms_process *process);

/*
 * Looks at every process but our own and those of the kernel: /proc and a few pages that are
 * present anyway. Those that end meanwhile are left out. The only errors are lack of memory and of
 * /proc.
 */
ms_result ms_processes(struct ms_processes *processes);
void ms_processes_free(struct ms_processes *processes);

#endif
