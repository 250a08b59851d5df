/* Private to src/symbols: the search for separate debug files. */
#ifndef MEMSCOPE_DEBUGFILE_H
#define MEMSCOPE_DEBUGFILE_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <sys/types.h>

/* Where to look, and for what. The callback of libdwfl finds it in the module's user data. */
struct ms_debug_search {
    pid_t pid;           /* whose root directory is tried first; 0: none */
    const char *sysroot; /* or NULL */
    const char *path;    /* as of libdwfl's Dwfl_Callbacks.debuginfo_path, NULL: the default */
    bool debuginfod;     /* and if it is nowhere, ask the servers */
    const char *file;    /* path of the module, as the target sees it */
    dev_t device;        /* of the module's file, which is not its own debug file */
    ino_t inode;
};

/* Dwfl_Callbacks.find_debuginfo; *USERDATA is a struct ms_debug_search. */
int ms_debugfile_find(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
                      const char *file, const char *link, GElf_Word crc, char **found);

/* Opens the regular file at PATH, as the target calls it: in its root, in the sysroot, in ours. -1: none. */
int ms_debugfile_open(const struct ms_debug_search *search, const char *path);

#endif
