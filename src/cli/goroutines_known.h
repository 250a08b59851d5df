/* Goroutines that the user knows already: functions to ignore, and an earlier report as baseline. */
#ifndef MEMSCOPE_CLI_GOROUTINES_KNOWN_H
#define MEMSCOPE_CLI_GOROUTINES_KNOWN_H

#include "memscope/output.h"

/* A stack of the baseline, and how many had it. */
struct ms_goroutines_known_stack {
    char *calls;            /* "FUNCTION:LINE" lines, innermost first; owned */
    uint64_t count, leaked; /* LEAKED is COUNT when that was not asked for then */
    uint64_t left;          /* of LEAKED, or of COUNT, not yet used up by groups */
};

struct ms_goroutines_known {
    MS_VECTOR(const char *) ignored;                    /* functions, or with * at the end how they begin */
    MS_VECTOR(struct ms_goroutines_known_stack) stacks; /* sorted by CALLS */
};

/* FUNCTION must outlive KNOWN; the only error is lack of memory. */
ms_result ms_goroutines_known_ignore(struct ms_goroutines_known *known, const char *function);
/* Reads the baseline at PATH; MS_USAGE when it is none. */
ms_result ms_goroutines_known_read(struct ms_goroutines_known *known, const char *path);
/* Sets what REPORT's groups say of it. The only error is lack of memory. */
ms_result ms_goroutines_known_apply(struct ms_goroutines_known *known, struct ms_goroutines_report *report);
void ms_goroutines_known_free(struct ms_goroutines_known *known);

#endif
