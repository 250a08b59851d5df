/* Private to src/symbols: split units (.dwo) that libdw does not find: they are where the target sees them. */
#ifndef MEMSCOPE_SPLIT_H
#define MEMSCOPE_SPLIT_H

#include <elfutils/libdw.h>
#include <stdbool.h>

#include "debugfile.h"
#include "memscope/memory.h"

/* The files of split units that were opened. */
struct ms_splits {
    MS_VECTOR(struct ms_split { Dwarf *dwarf; Elf *elf; int fd; }) files;
};

/*
 * The unit that belongs to SKELETON: DW_AT_dwo_name below DW_AT_comp_dir, in the target's root, the sysroot and
 * ours, with the same id. False: there is none.
 */
bool ms_split_find(struct ms_splits *splits, const struct ms_debug_search *search, Dwarf_Die *skeleton,
                   Dwarf_Die *unit);
void ms_splits_free(struct ms_splits *splits);

#endif
