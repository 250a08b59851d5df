/* A process that keeps our memory until the target was let go, should we be killed. Private to src/target. */
#ifndef MS_TARGET_KEEPER_H
#define MS_TARGET_KEEPER_H

#include <sys/types.h>

/*
 * A thread that dies gives back its memory before it lets go of what it traces: do_exit() of Linux
 * calls exit_mm() before exit_notify(). If it is the last of its process, it has all of that to free,
 * megabytes that were populated for the stop, while the target waits. The keeper shares this memory,
 * so it is never the last. It ends when the thread that made it has ended, and traces nothing any more.
 */

struct ms_keeper {
    pid_t pid; /* 0: there is none, and it has to go without */
    pid_t parent;
    unsigned char stack[8192] __attribute__((aligned(16)));
};

/* To be called by the tracing thread before the stop, and before it raises its priority. */
void ms_keeper_start(struct ms_keeper *keeper);
/* By the same thread, when nothing is stopped any more. */
void ms_keeper_end(struct ms_keeper *keeper);

#endif
