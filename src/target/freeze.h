/* Private to src/target: stopping all threads of a process and letting them go on. */
#ifndef MEMSCOPE_FREEZE_H
#define MEMSCOPE_FREEZE_H

#include "second.h"
#include "target.h"

/*
 * A thread's way through a stop:
 *   SEIZED ─interrupt→ ASKED ─wait→ STOPPED ─detach→ (runs)
 *                        ├─ blocked in vfork or in D state → STUCK (never stopped, let go at the end)
 *                        └─ exit or exec → GONE
 */
enum ms_freeze_state { MS_SEIZED, MS_ASKED, MS_STOPPED, MS_STUCK, MS_GONE };

struct ms_frozen {
    pid_t tid;
    enum ms_freeze_state state;
    int signal; /* it was stopped on its way to this signal: delivered at detach */
    bool halted; /* it was in a group-stop (SIGSTOP, ^Z) already, and will be again */
};

struct ms_freeze {
    MS_VECTOR(struct ms_frozen) threads;
    uint64_t *seen;        /* bit per tid */
    uint64_t interrupt_ns; /* CLOCK_MONOTONIC of the first interrupt */
    uint64_t release_ns;   /* and when the last thread was let go */
    struct ms_second *second; /* not owned */
    size_t stuck;             /* threads whose registers had to be guessed */
    bool brief;    /* for a thread that is blocked in the kernel the others do not wait long … */
    pid_t blocked; /* … and this one was: not all stand still, and the stop is to be ended at once; 0: none */
};

/*
 * Seizes and stops all threads; those that are born meanwhile too. All ms_freeze_*
 * calls must come from one thread of ours; when that ends, for whatever reason,
 * the kernel lets the target go. On error nothing is left stopped. SECOND has nothing else to do
 * meanwhile. BRIEF: gives up early when a thread is blocked in the kernel (fsync), which freeze->blocked tells.
 */
ms_result ms_freeze_start(const struct ms_image *image, struct ms_second *second, bool brief,
                          struct ms_freeze *freeze);

/* Before the stop: makes room for the vector registers of about THREADS threads. */
ms_result ms_freeze_prepare(struct ms_image *image, size_t threads);

/* Fills image->threads with the registers; keeps names and states already there. */
ms_result ms_freeze_registers(struct ms_freeze *freeze, struct ms_image *image);

/* Says in the image what is missing of them. */
void ms_freeze_warn(const struct ms_freeze *freeze, struct ms_image *image);

/* Detaches from all threads, with the signals they were stopped on. */
void ms_freeze_end(struct ms_freeze *freeze);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t ms_now_ns(void);

/* The calling thread runs before others from now on, where that is permitted. */
void ms_raise_priority(void);

#endif
