/* Errors as values. */
#include "memscope/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ms_error no_memory_for_error = {MS_TARGET, false, (char *)"out of memory"};

static struct ms_error *error_of(enum ms_status status, char *message)
{
    struct ms_error *error = message ? malloc(sizeof *error) : NULL;
    if (!error) {
        free(message);
        return &no_memory_for_error;
    }
    *error = (struct ms_error){status, false, message};
    return error;
}

struct ms_error *ms_error(enum ms_status status, const char *format, ...)
{
    char *message;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&message, format, arguments) < 0)
        message = NULL;
    va_end(arguments);
    return error_of(status, message);
}

struct ms_error *ms_error_errno(enum ms_status status, int errnum, const char *format, ...)
{
    char *what, *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&what, format, arguments) < 0)
        what = NULL;
    va_end(arguments);
    if (what && asprintf(&message, "%s: %s", what, strerror(errnum)) < 0)
        message = NULL;
    free(what);
    return error_of(status, message);
}

struct ms_error *ms_error_again(struct ms_error *error)
{
    if (error != &no_memory_for_error)
        error->again = true;
    return error;
}

struct ms_error *ms_error_nomem(const char *what)
{
    return ms_error(MS_TARGET, "out of memory for %s", what);
}

void ms_error_free(struct ms_error *error)
{
    if (!error || error == &no_memory_for_error)
        return;
    free(error->message);
    free(error);
}
