/* lsanheap.c - bigheap's heap under LeakSanitizer, which checks it when it is told to. */
#include "../fixtures/truth.h"

#include <sanitizer/lsan_interface.h>
#include <time.h>

/*
 * lsanheap N: as bigheap; then each line on stdin asks for one check and is answered by
 *
 *     check NANOSECONDS FOUND
 *
 * LeakSanitizer stops the world for its whole check, so its stop is its check.
 */
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

TRUTH_NOINLINE static void serve(void) {
    char byte, line[64];

    truth_print();
    truth_scrub();
    truth_write("ready\n", 6);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
        if (byte != '\n')
            continue;
        uint64_t begin = now();
        int found = __lsan_do_recoverable_leak_check();
        unsigned long took = (unsigned long)(now() - begin);
        int n = snprintf(line, sizeof line, "check %lu %d\n", took, found);
        truth_write(line, (size_t)n);
    }
    _exit(0);
}

#define truth_ready serve
#include "../fixtures/bigheap.c"
