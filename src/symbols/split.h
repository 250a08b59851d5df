/* Private to src/symbols: split units (.dwo) that libdw does not find: they are where the target sees them. */
#ifndef MEMSCOPE_SPLIT_H
#define MEMSCOPE_SPLIT_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

#include "debugfile.h"
#include "memscope/memory.h"

/* A file with a split unit, or a view of a package that shows one unit. */
struct ms_split {
    Dwarf *dwarf;
    Elf *elf; /* owned; it needs no file any more */
    char *names; /* of the view's sections; owned */
};

/* What was opened of a module. */
struct ms_splits {
    MS_VECTOR(struct ms_split) files;
    Elf *package; /* FILE.dwp; NULL: none, or not looked for yet */
    bool package_searched;
};

/*
 * The unit that belongs to SKELETON: DW_AT_dwo_name below DW_AT_comp_dir, in the target's root, the sysroot and
 * ours, or in the package beside the module's file; with the same id. False: there is none.
 */
bool ms_split_find(struct ms_splits *splits, const struct ms_debug_search *search, Dwarf_Die *skeleton,
                   Dwarf_Die *unit);
/* The unit of SKELETON, with ID, in the package. */
bool ms_package_find(struct ms_splits *splits, const struct ms_debug_search *search, Dwarf_Die *skeleton,
                     uint64_t id, Dwarf_Die *unit);

/* Ends the need of ELF, which may be NULL, for FD, and closes that. */
void ms_split_close_fd(Elf *elf, int fd);

/* Keeps FILE if it has the unit with ID, else closes it. */
bool ms_split_keep(struct ms_splits *splits, struct ms_split file, uint64_t id, Dwarf_Die *unit);
void ms_splits_free(struct ms_splits *splits);

#endif
