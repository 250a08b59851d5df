/* Private to src/output: UTF-8 as it may come from a hostile target. */
#ifndef MEMSCOPE_OUTPUT_ESCAPE_H
#define MEMSCOPE_OUTPUT_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The code point that SIZE (at least 1) BYTES start with, and in LENGTH how
 * many of them it takes; LENGTH is 0 when they are not valid UTF-8.
 */
uint32_t ms_decode_utf8(const uint8_t *bytes, size_t size, size_t *length);

/* Does it show as what it is? Not controls, nothing invisible, nothing that reorders text. */
bool ms_printable(uint32_t point);

/* Bytes of a preview that are worth showing: up to the zero byte that ends a C string. */
size_t ms_preview_length(const uint8_t *bytes, size_t size);

#endif
