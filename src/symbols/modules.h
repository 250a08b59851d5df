/* Private to src/symbols: the modules of an image, for those who read their debug information. */
#ifndef MEMSCOPE_MODULES_H
#define MEMSCOPE_MODULES_H

#include <elf.h>
#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "debugfile.h"
#include "memscope/symbols.h"
#include "symtab.h"

#define MS_MODULES_NONE SIZE_MAX

/* A module that is opened. All belongs to its struct ms_symbols. */
struct ms_module {
    const char *name;  /* base name of its path */
    const char *path;  /* as the target sees it */
    Dwfl_Module *file; /* NULL: no file that belongs to what is mapped */
    const struct ms_debug_search *search; /* where separate debug files are looked for */
    struct ms_symtab *table;
    const Elf64_Phdr *segments;
    size_t segment_count;
    uint64_t bias;       /* address in the target less address in the ELF file */
    uint64_t start, end; /* in the target */
};

/* Candidates for modules; some are none, and ms_modules_open() says so. */
size_t ms_modules_count(const struct ms_symbols *symbols);

/* Index of the module that is mapped at ADDRESS, or MS_MODULES_NONE. */
size_t ms_modules_at(struct ms_symbols *symbols, uint64_t address);

/* What the headers in memory say of a module; its file may not be opened yet. False: it is no module. */
bool ms_modules_probe(struct ms_symbols *symbols, size_t index, struct ms_module *module);

/* Opens the file of a module and reads its symbols, if that was not done. False: it is no module. */
bool ms_modules_open(struct ms_symbols *symbols, size_t index, struct ms_module *module);

#endif
