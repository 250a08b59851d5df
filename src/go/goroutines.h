/* Private to src/go: what reading goroutines and their stacks shares. */
#ifndef MEMSCOPE_GO_GOROUTINES_H
#define MEMSCOPE_GO_GOROUTINES_H

#include "memscope/capture.h"
#include "memscope/gostacks.h"

/* A thread of the scheduler: an m of src/runtime/runtime2.go. */
struct go_machine {
    uint64_t address;
    uint64_t current;                  /* its curg */
    uint64_t vdso_pc, vdso_sp;         /* where it called into the vDSO, 0: it did not */
    struct ms_go_range system, signal; /* stacks of its g0 and gsignal */
    const struct ms_thread *thread;    /* NULL: not known */
    pid_t tid;
};

/* What is the same at an address of code, whoever is there. */
struct go_code_point {
    uint64_t pc;
    struct ms_go_function function;
    bool known;    /* in a function whose stack pointer is known there */
    int32_t delta; /* bytes from the stack pointer to the return address */
    /* Maps of the pointers, for a PC that is a continuation; valid when mapped. */
    bool mapped, bad_locals, bad_args;
    uint32_t local_bits, arg_bits;
    uint64_t local_map, arg_map; /* addresses */
};

struct ms_go_stack_reader {
    MS_VECTOR(struct go_machine) machines; /* by address */
    struct go_code_point **points;         /* open addressing, each owned */
    size_t point_count, point_room;
    struct go_stack_layout {
        struct ms_go_place context, defer, panic;            /* of g */
        struct ms_go_place defer_pc, defer_link, defer_heap; /* of _defer; its fn follows its pc */
    } layout;
    char *reasons[256]; /* by number, owned; NULL: of the version */
};

/*
 * What ms_go_goroutines_new(), unwinding and labels read: it is read, or added to SPANS. RUNNING: the image of GO is
 * live.
 */
ms_result ms_go_goroutines_need(struct ms_go *go, bool running, struct ms_spans *spans);

/* The code at PC; NULL: no memory. Lives as long as GOROUTINES. */
struct go_code_point *ms_go_code_point(const struct ms_go_goroutines *goroutines, uint64_t pc);

/* The machine at ADDRESS, or NULL. */
const struct go_machine *ms_go_machine(const struct ms_go_goroutines *goroutines, uint64_t address);

/* Wait reason NUMBER of version 1.MINOR. */
const char *ms_go_wait_reason_of(unsigned minor, uint8_t number);

/* Which calls of a stack a traceback shows, innermost first; showfuncinfo() of
 * src/runtime/traceback.go. */
struct go_filter {
    unsigned minor; /* of the version */
    uint8_t callee; /* enum ms_go_function_id of the call before */
    uint64_t shown; /* so far */
};
bool ms_go_filter_shows(struct go_filter *filter, const struct ms_go_call *call);

/* Is a wrapper that called CALLEE left out? Not when it panicked. */
bool ms_go_elides_wrapper(uint8_t callee);

#endif
