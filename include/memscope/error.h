/* Errors as values: a message for the user and the exit status it leads to. */
#ifndef MEMSCOPE_ERROR_H
#define MEMSCOPE_ERROR_H

#include <stdbool.h>

/* Exit statuses of the command line; an error carries the one it leads to. */
enum ms_status {
    MS_OK = 0,         /* done, and no leaks */
    MS_LEAKS = 1,      /* done, and there are leaks */
    MS_USAGE = 2,      /* the command line makes no sense */
    MS_TARGET = 3,     /* the target could not be inspected */
    MS_INCOMPLETE = 4, /* the report is incomplete and says where */
};

struct ms_error {
    enum ms_status status;
    bool again;    /* the target changed under us: another try may succeed */
    char *message; /* owned; one line, no newline, addressed to the user */
};

/*
 * Every function that can fail returns `struct ms_error *`: NULL is success,
 * else the caller owns the error and must pass it on or ms_error_free() it.
 * When memory for the error itself is short a static one is returned, which
 * ms_error_free() knows.
 */
#define ms_result __attribute__((warn_unused_result)) struct ms_error *

/* Makes an error; printf-like. */
ms_result ms_error(enum ms_status status, const char *format, ...)
    __attribute__((returns_nonnull, format(printf, 2, 3)));

/* The same with ": " and strerror(errnum) appended. */
ms_result ms_error_errno(enum ms_status status, int errnum, const char *format, ...)
    __attribute__((returns_nonnull, format(printf, 3, 4)));

/* Marks ERROR, which is not NULL, as one that another try may not have; returns it. */
ms_result ms_error_again(struct ms_error *error) __attribute__((nonnull, returns_nonnull));

/* Out of memory while doing WHAT. */
ms_result ms_error_nomem(const char *what) __attribute__((returns_nonnull));

/* Frees an error; NULL is allowed. */
void ms_error_free(struct ms_error *error);

/* Evaluates a ms_result and returns it from the calling function if it is an error. */
#define MS_TRY(expression)                                                                         \
    do {                                                                                           \
        struct ms_error *ms_try_error_ = (expression);                                             \
        if (ms_try_error_)                                                                         \
            return ms_try_error_;                                                                  \
    } while (0)

#endif
