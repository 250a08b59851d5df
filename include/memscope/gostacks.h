/* Goroutines: what each is doing, its stack, and which words of that are pointers. */
#ifndef MEMSCOPE_GOSTACKS_H
#define MEMSCOPE_GOSTACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/gofuncs.h"

/* g.atomicstatus without its scan bit (src/runtime/runtime2.go). */
enum ms_go_status {
    MS_GO_IDLE,
    MS_GO_RUNNABLE,
    MS_GO_RUNNING,
    MS_GO_SYSCALL,
    MS_GO_WAITING,
    MS_GO_DEAD = 6,
    MS_GO_COPYSTACK = 8,
    MS_GO_PREEMPTED,
    MS_GO_LEAKED,     /* 1.26 and later: found by its goroutineleak profile */
    MS_GO_DEAD_EXTRA, /* 1.26 and later: of a thread that C made */
};

/* Strings live as long as the goroutines they are of. */
struct ms_go_goroutine {
    uint64_t address;        /* of its g */
    uint64_t id, parent;     /* goid; of what made it (1.21 and later), else 0 */
    uint8_t status;          /* enum ms_go_status; no dead ones are listed */
    bool scanned;            /* the collector holds it just now */
    bool durable;            /* waits for its synctest bubble alone, and its state does not say so */
    bool system;             /* of the runtime: left out of tracebacks and profiles */
    bool locked;             /* runtime.LockOSThread() */
    const char *state;       /* "running", "chan receive", …: as tracebacks say it */
    const char *wait_reason; /* when it waits: the same; else NULL */
    uint64_t waited_ns;      /* about how long it waits; the collector looks; 0: not known */
    uint64_t created_at;     /* return address of the go statement */
    uint64_t start;          /* of its function */
    uint64_t labels;         /* address of its profiler labels; 0: none */
    uint64_t waiting;        /* address of the first sudog that it waits with; 0: none */
    uint64_t bubble;         /* number of its synctest bubble, 0: none */
    pid_t tid;               /* the thread it runs on or makes a system call on; 0: none */
    struct ms_go_range stack;
    uint64_t machine; /* address of its m, 0: none */
    uint64_t pc, sp;  /* saved: of its sched, or of its system call */
    bool syscall;     /* … of its system call */
};

struct ms_go_stack_reader; /* private to src/go */

struct ms_go_goroutines {
    struct ms_go *go;
    struct ms_go_functions *functions;
    MS_VECTOR(struct ms_go_goroutine) list; /* by id */
    size_t unreadable;                      /* so many more could not be read */
    struct ms_go_stack_reader *reader;
};

/* All that are not dead. GO and FUNCTIONS must outlive them. */
ms_result ms_go_goroutines_new(struct ms_go *go, struct ms_go_functions *functions,
                               struct ms_go_goroutines **goroutines);
void ms_go_goroutines_free(struct ms_go_goroutines *goroutines);

/* A profiler label (runtime/pprof.Do); both owned. */
struct ms_go_label {
    char *key, *value;
};
struct ms_go_labels {
    MS_VECTOR(struct ms_go_label) list; /* by key */
};
/* The labels of a goroutine; free with ms_go_labels_free(). */
ms_result ms_go_labels_read(const struct ms_go_goroutines *goroutines, const struct ms_go_goroutine *goroutine,
                            struct ms_go_labels *labels);
void ms_go_labels_free(struct ms_go_labels *labels);

/* --- stacks -------------------------------------------------------------------------------------
 */

/* A frame of the stack; stkframe of src/runtime/stkframe.go. FUNCTION lives as long as the
 * goroutines. */
struct ms_go_frame {
    const struct ms_go_function *function;
    uint64_t pc;           /* where it goes on */
    uint64_t call;         /* the address to look up: of the call, or of what was interrupted */
    uint64_t sp, fp;       /* stack pointer at PC, and of the caller */
    uint64_t varp, argp;   /* end of the local variables; start of the arguments */
    uint64_t continuation; /* for pointer maps; 0: the frame is dead, it panicked */
    bool conservative;     /* it was interrupted: no map says what is a pointer in it */
};

/* Goes through the frames of a stack, innermost first: by the stack pointer's tables. */
struct ms_go_unwinder {
    const struct ms_go_goroutines *goroutines;
    const struct ms_go_goroutine *goroutine;
    struct ms_go_frame frame;
    unsigned index; /* of FRAME */
    bool valid;     /* FRAME is one */
    bool complete;  /* the end was reached as it should; else what is from REST on is not known */
    uint64_t rest;  /* where the part of the stack begins that no frame was found for */
    uint64_t return_pc;
    uint8_t callee;   /* enum ms_go_function_id of the frame before */
    bool interrupted; /* PC is not a return address */
};

/* At the first frame; false: there is none. */
bool ms_go_unwind(const struct ms_go_goroutines *goroutines, const struct ms_go_goroutine *goroutine,
                  struct ms_go_unwinder *unwinder);
/* At the next one. */
bool ms_go_unwind_next(struct ms_go_unwinder *unwinder);

/* --- pointers -----------------------------------------------------------------------------------
 */

#define MS_GO_NO_FRAME UINT32_MAX

/* A word that keeps what it points to alive: nonzero, and not to the stack itself. */
struct ms_go_word {
    uint64_t address; /* 0: it is in a register */
    uint64_t value;
    uint32_t frame; /* index, innermost 0; MS_GO_NO_FRAME: of the goroutine as a whole */
    bool exact;     /* by a map it is a pointer; else it may be any number */
};

/*
 * Calls VISIT for each word on GOROUTINE's stack (and in its thread's registers when it runs) that
 * the collector would scan, as scanstack() of src/runtime/mgcmark.go does: locals and arguments by
 * the maps at the call, objects on the stack that those reach; everything in what was interrupted,
 * or could not be unwound. The only error is lack of memory.
 */
typedef void ms_go_word_visitor(void *context, const struct ms_go_word *word);
ms_result ms_go_stack_words(const struct ms_go_goroutines *goroutines, const struct ms_go_goroutine *goroutine,
                            ms_go_word_visitor *visit, void *context);

/*
 * The same for what is no goroutine's: registers of all threads, and what they use of the stacks
 * that the scheduler and signal handlers run on. Not exact.
 */
ms_result ms_go_thread_words(const struct ms_go_goroutines *goroutines, ms_go_word_visitor *visit, void *context);

/* --- tracebacks ---------------------------------------------------------------------------------
 */

/* A call of a stack; inlined ones have their own. */
struct ms_go_traced {
    struct ms_go_call call;
    uint64_t pc;     /* where it goes on */
    uint64_t lookup; /* ms_go_frame.call */
    uint64_t argp;   /* start of the arguments; 0: of a group, or inlined */
    bool shown;      /* by a traceback: not of the runtime's inside, no wrapper */
};

/* So many calls of a stack are in a traceback: the innermost and the outermost, half each. */
#define MS_GO_TRACED_MOST 100u

/* A stack as the traceback of a panic shows it; traceback1() of src/runtime/traceback.go. */
struct ms_go_traceback {
    struct ms_go_traced calls[MS_GO_TRACED_MOST];
    unsigned count;
    uint64_t elided; /* calls that are left out before CALLS[ELIDED_AT] */
    unsigned elided_at;
    bool cut;      /* up to 1.20: an unknown number is left out at the end */
    bool complete; /* the stack could be read to its end */
};
void ms_go_trace(const struct ms_go_goroutines *goroutines, const struct ms_go_goroutine *goroutine,
                 struct ms_go_traceback *traceback);

/* The arguments of a call as tracebacks show them, "0x17, {0xc000012345, 0x4}, ..."; BUFFER is
 * returned. */
#define MS_GO_ARGUMENTS_TEXT 512u
char *ms_go_arguments(const struct ms_go_goroutines *goroutines, const struct ms_go_traced *traced,
                      char buffer[MS_GO_ARGUMENTS_TEXT]);

/* The call that made GOROUTINE; false: not known, or not shown (of the main goroutine). */
bool ms_go_creator(const struct ms_go_goroutines *goroutines, uint64_t created_at, struct ms_go_traced *creator);

/* --- groups -------------------------------------------------------------------------------------
 */

/* So many frames of a group are kept: more than a profile of 1.23 or later has. */
#define MS_GO_GROUP_FRAMES 128u

/* How many of a group are in a state. */
struct ms_go_state_count {
    const char *state, *wait_reason; /* as in struct ms_go_goroutine */
    uint64_t count;
};

/* Goroutines with the same stack and the same labels. */
struct ms_go_group {
    uint64_t hash;
    uint64_t count;
    uint64_t leaked;                            /* of them */
    uint64_t waited_ns;                         /* at most */
    size_t first;                               /* the one with the lowest id: index in the list */
    uint32_t depth;                             /* frames, without those that were inlined */
    uint32_t kept;                              /* of them in CALLS: the innermost */
    uint64_t *calls;                            /* ms_go_frame.call of each; owned */
    bool complete;                              /* the stack could be read to its end */
    uint64_t created_at;                        /* of all of them; 0: they differ */
    MS_VECTOR(struct ms_go_state_count) states; /* most first */

    /* Set by others: goleaks.h, and what the user knows already. */
    uint64_t retained_blocks, retained_bytes; /* kept by its leaked ones alone */
    uint64_t stack_bytes;                     /* of its leaked ones */
    uint64_t before;                          /* so many there were before, leaked or not */
    uint64_t known;                           /* so many of those shown are left out for that */
    bool ignored;                             /* the user does not want to hear of it */
    bool suspect;                             /* waits for long, though something can wake it */
};

#define MS_GO_NO_GROUP UINT32_MAX
struct ms_go_groups {
    MS_VECTOR(struct ms_go_group) list; /* those with leaked ones first, then by count, most first */
    uint32_t *of;        /* of each goroutine the index of its group, MS_GO_NO_GROUP: left out; owned */
    uint64_t total;      /* goroutines in them */
    uint64_t leaked;     /* of them, when that was asked for */
    uint64_t system;     /* of the runtime, left out */
    uint64_t incomplete; /* whose stack could not be read to its end */
};

/*
 * Groups of all goroutines, those of the runtime only when SYSTEM. LEAKED, which may be NULL, says of each
 * whether it is leaked.
 */
ms_result ms_go_group(const struct ms_go_goroutines *goroutines, bool system, const bool *leaked,
                      struct ms_go_groups *groups);
void ms_go_groups_free(struct ms_go_groups *groups);

/* The calls of a group's stack, as a profile has them: wrappers are left out. */
struct ms_go_calls {
    MS_VECTOR(struct ms_go_traced) list;
};
ms_result ms_go_group_calls(const struct ms_go_goroutines *goroutines, const struct ms_go_group *group,
                            struct ms_go_calls *calls);
void ms_go_calls_free(struct ms_go_calls *calls);

#endif
