/* What is known of a block from its own first bytes: its class by a vtable, or that it is text. */
#ifndef MEMSCOPE_KNOWN_H
#define MEMSCOPE_KNOWN_H

#include <stddef.h>
#include <stdint.h>

#include "memscope/graph.h"
#include "memscope/symbols.h"

/* Strings of one symbol table are one pointer each, so pointers may be compared. */
struct ms_known {
    const char *type;   /* class, NULL when not known; lives as long as the symbols */
    const char *module; /* whose vtable the first word points to, NULL without TYPE */
};

/* A vtable pointer in the first word names the class. SYMBOLS may be NULL: then nothing is known. */
struct ms_known ms_block_known(const struct ms_scan *scan, struct ms_symbols *symbols, uint64_t start);

/* How many of SIZE bytes make a readable preview: up to the first that is no text, at least four; else 0. */
unsigned ms_text_length(const uint8_t *bytes, uint64_t size);

/*
 * Bytes of readable text that the block at START begins with, as they were when
 * it passed by; 0 when it is no text. Raw bytes of the target: escape before showing.
 */
unsigned ms_block_preview(const struct ms_heap *heap, uint64_t start, uint8_t bytes[MS_SAMPLE]);

#endif
