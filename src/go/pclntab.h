/* Private to src/go: the tables of a module's functions, and reading read-only data by bytes. */
#ifndef MEMSCOPE_GO_PCLNTAB_H
#define MEMSCOPE_GO_PCLNTAB_H

#include "memscope/gofuncs.h"

#define MS_GO_CACHED_PAGES 256u /* direct-mapped, a power of two */

struct go_cached_page {
    uint64_t address; /* 1: none */
    uint8_t bytes[MS_PAGE];
};

/* Where a function begins, and where its _func is in the table. */
struct go_function_entry {
    uint64_t entry, offset;
};

/* How a version lays the tables out; sizes and offsets in bytes. */
struct go_table_format {
    uint32_t magic;
    uint8_t header;       /* offset of the offsets of the tables in the header */
    bool relative;        /* entries count from the text, 4 bytes each; else addresses of 8 */
    uint8_t function;     /* size of a _func without what follows it */
    uint8_t start_line;   /* offset in it, after the entry; 0: none */
    uint8_t inlined_size; /* of an entry of an inline tree; offsets in it: */
    uint8_t inlined_id, inlined_name, inlined_parent, inlined_start;
};

/* The tables of one module, all addresses in the target. */
struct go_module_tables {
    const struct ms_go_module *module;
    const struct go_table_format *format;
    uint64_t names, files, units, values, functions;
    unsigned quantum;                  /* of PCs in tables by PC */
    struct go_function_entry *entries; /* count + 1, the last is the end of the text; owned */
    size_t count;
};

/* What was read of the target, by its address. */
struct go_string {
    uint64_t address; /* 0: unused */
    char *text;       /* owned */
};

struct ms_go_functions {
    struct ms_go *go;
    MS_VECTOR(struct go_module_tables) modules;
    struct go_cached_page *pages; /* owned */
    struct go_string *strings;    /* open addressing; owned */
    size_t string_count, string_room;
    struct go_calls_cache *calls; /* private to calls.c; owned */
};

/* The tables of the module that FUNCTION is of. */
const struct go_module_tables *ms_go_tables_of(const struct ms_go_functions *functions,
                                               const struct ms_go_function *function);

/* Function INDEX of a module; false: its data is not to be had. */
bool ms_go_function_read(struct ms_go_functions *functions, const struct go_module_tables *tables,
                         size_t index, struct ms_go_function *function);

/* Value at PC of the table at OFFSET, which begins with FUNCTION; -1: none. */
int32_t ms_go_value_at(struct ms_go_functions *functions, const struct ms_go_function *function,
                       uint32_t offset, uint64_t pc);

/* The string at ADDRESS up to its zero byte; NULL: not to be had. Lives as long as FUNCTIONS. */
const char *ms_go_string_at(struct ms_go_functions *functions, uint64_t address);

/* The funcID NUMBER of version 1.MINOR. */
uint8_t ms_go_function_id(unsigned minor, uint8_t number);

void ms_go_calls_cache_free(struct go_calls_cache *cache);

#endif
