/* Demangling of C++ and Rust names with libiberty, if configure found it. */
#include "demangle.h"

#include <stddef.h>

#ifdef HAVE_LIBIBERTY

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct output {
    char *text;
    size_t size, capacity;
    jmp_buf give_up;
};

/*
 * A name of a few hundred bytes with back references can unfold to gigabytes, and
 * libiberty has no limit but gives out piece by piece. Its callback form has
 * no memory of its own to lose, so leaving it in the middle is safe.
 */
static void append(const char *piece, size_t size, void *opaque)
{
    struct output *output = opaque;
    if (size >= MS_DEMANGLE_MAX - output->size)
        longjmp(output->give_up, 1);
    if (output->size + size >= output->capacity) {
        size_t capacity = 2 * (output->size + size) + 128;
        char *text = realloc(output->text, capacity);
        if (!text)
            longjmp(output->give_up, 1);
        output->text = text;
        output->capacity = capacity;
    }
    memcpy(output->text + output->size, piece, size);
    output->size += size;
    output->text[output->size] = '\0';
}

/* OUTPUT lives in the caller: what changes between setjmp() and longjmp() must not be ours. */
static bool demangle_into(struct output *output, const char *name)
{
    const int options = DMGL_PARAMS | DMGL_ANSI;
    if (setjmp(output->give_up))
        return false;
    /* Rust first: its older names are valid C++ ones too. */
    if (rust_demangle_callback(name, options, append, output))
        return true;
    output->size = 0;
    return cplus_demangle_v3_callback(name, options, append, output);
}

char *ms_demangle(const char *name)
{
    struct output output = {0};
    if (name[0] != '_' || (name[1] != 'Z' && name[1] != 'R'))
        return NULL;
    if (demangle_into(&output, name) && output.size)
        return output.text;
    free(output.text);
    return NULL;
}

#else

char *ms_demangle(const char *name)
{
    (void)name;
    return NULL;
}

#endif
