/* stopwatch.c - how long a process stands still for a tracer, as seen from outside. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * stopwatch PID: says `ready`, looks at the state of PID's first thread several thousand times a
 * second until stdin is closed, and prints
 *
 *     stopped NANOSECONDS longest NANOSECONDS stops COUNT blind NANOSECONDS
 *
 * in all, in one piece, how often, and the longest time between two looks: by so much a figure can
 * be wrong, either way. Real-time priority is asked for, so that a busy machine does not blind it.
 */
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The state letter: t is stopped by a tracer, T by a signal. */
static char state_of(int stat) {
    char text[512];
    ssize_t got = pread(stat, text, sizeof text - 1, 0);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' ? end[2] : 0;
}

int main(int argc, char **argv) {
    char name[64];
    struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
    struct sched_param priority = {.sched_priority = 2};
    uint64_t stopped = 0, longest = 0, blind = 0, stops = 0, since = 0, last;

    if (argc < 2)
        return 2;
    snprintf(name, sizeof name, "/proc/%s/stat", argv[1]);
    int stat = open(name, O_RDONLY);
    if (stat < 0) {
        perror(name);
        return 3;
    }
    sched_setscheduler(0, SCHED_FIFO, &priority);
    puts("ready");
    fflush(stdout);
    last = now();
    for (unsigned looks = 0;; looks++) {
        char state = state_of(stat);
        uint64_t t = now();
        blind = t - last > blind ? t - last : blind;
        if (state == 't' && since == 0) {
            since = t;
            stops++;
        } else if (state != 't' && since != 0) {
            stopped += t - since;
            longest = t - since > longest ? t - since : longest;
            since = 0;
        }
        last = t;
        if (state == 0 || (looks % 16 == 0 && poll(&end, 1, 0) > 0))
            break;
        nanosleep(&(struct timespec){0, 150000}, NULL);
    }
    printf("stopped %" PRIu64 " longest %" PRIu64 " stops %" PRIu64 " blind %" PRIu64 "\n", stopped,
           longest, stops, blind);
    return 0;
}
