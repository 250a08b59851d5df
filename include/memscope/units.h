/* Sizes as people read them. */
#ifndef MEMSCOPE_UNITS_H
#define MEMSCOPE_UNITS_H

#include <stdint.h>

/* BYTES in binary units with one decimal, "1.2 MiB"; BUFFER is returned. */
char *ms_size_text(uint64_t bytes, char buffer[16]);

#endif
