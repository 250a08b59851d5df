/* Private to src/target: a second thread that stands ready for work in the stop. */
#ifndef MEMSCOPE_SECOND_H
#define MEMSCOPE_SECOND_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

/*
 * Made before the stop, so that its start is no part of it. It traces nothing. With
 * one CPU there is none; then, and when it does not get a CPU in time, what it is
 * asked to do is done by who asks.
 */
struct ms_second {
    pthread_t thread;
    sem_t asked, done;
    atomic_int state, tid;
    atomic_bool awake;
    void (*work)(void *argument); /* NULL: the end */
    void *argument;
    bool there;
};

/* May fail in silence: then there is none. */
void ms_second_start(struct ms_second *second);

/* It runs before others from now on, where that is permitted. */
void ms_second_raise(struct ms_second *second);

/* Has WORK done beside what the caller does; one thing at a time. */
void ms_second_ask(struct ms_second *second, void (*work)(void *argument), void *argument);

/* Waits until it is done, or does it if that has not begun. */
void ms_second_await(struct ms_second *second);

/*
 * Keeps its CPU busy, until it is let rest or 100 ms have passed. Who wakes a thread on a CPU that
 * sleeps has to wake that too, each time, and in a virtual machine that takes longer than all the
 * rest.
 */
void ms_second_stay_awake(struct ms_second *second);
void ms_second_rest(struct ms_second *second);

void ms_second_end(struct ms_second *second);

#endif
