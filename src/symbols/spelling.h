/* Private to src/symbols: the many spellings of one type's name. */
#ifndef MEMSCOPE_SPELLING_H
#define MEMSCOPE_SPELLING_H

#include <stdint.h>

/* NAME with integers as gdb and libiberty spell them: "unsigned long", not "long unsigned int". The caller's. */
char *ms_spelling_shown(const char *name);

/*
 * A hash that is the same for each way that gcc, clang and demanglers spell NAME: blanks, "> >", "const" before
 * or behind, "42ul", order of "long unsigned int". "struct " and its like in front do not count.
 * 0 when memory is short.
 */
uint64_t ms_spelling_hash(const char *name);

#endif
