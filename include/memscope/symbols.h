/* Modules and symbols: libdwfl over an image. Nothing is parsed before it is asked for. */
#ifndef MEMSCOPE_SYMBOLS_H
#define MEMSCOPE_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/image.h"

struct ms_symbols;

struct ms_symbols_options {
    bool debuginfod;     /* ask the servers in DEBUGINFOD_URLS; only when the user wants it */
    const char *sysroot; /* or NULL */
    const char *debug_path; /* libdwfl's debuginfo search path, NULL for its default */
};

/* Makes a table of the image's ELF modules (main program, libraries, vDSO). IMAGE must outlive it. */
ms_result ms_symbols_new(const struct ms_image *image, const struct ms_symbols_options *options,
                         struct ms_symbols **symbols);
void ms_symbols_free(struct ms_symbols *symbols);

/* Base name of the module that is mapped at ADDRESS, or NULL. */
const char *ms_symbols_module(struct ms_symbols *symbols, uint64_t address);

/*
 * Name of the symbol that covers ADDRESS, demangled where it can be, and the
 * offset into it. NULL when there is none. Valid as long as SYMBOLS.
 */
const char *ms_symbols_name(struct ms_symbols *symbols, uint64_t address, uint64_t *offset);

/* Address of the symbol NAME in the first module that has it, or 0. SIZE may be NULL. */
uint64_t ms_symbols_address(struct ms_symbols *symbols, const char *name, uint64_t *size);

/* How many symbols of the module at ADDRESS are called NAME: statics of several files may be. */
unsigned ms_symbols_count(struct ms_symbols *symbols, uint64_t address, const char *name);

/*
 * The class whose vtable holds ADDRESS (a vptr points behind offset-to-top and
 * typeinfo), demangled, or NULL: by its `_ZTV` symbol, or without one by the typeinfo.
 */
const char *ms_symbols_vtable_class(struct ms_symbols *symbols, uint64_t address);

#endif
