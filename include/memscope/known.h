/* What is known of a block: its type, else its class by a vtable, a known format, or that it is text. */
#ifndef MEMSCOPE_KNOWN_H
#define MEMSCOPE_KNOWN_H

#include <stddef.h>
#include <stdint.h>

#include "memscope/graph.h"
#include "memscope/symbols.h"
#include "memscope/typing.h"

/* All that blocks are asked about; it owns the strings that it gives. */
struct ms_knowledge;

/*
 * Types the blocks in SCOPE when there are TYPES; SYMBOLS and TYPES may be NULL, and all that are given
 * must outlive it. When memory is too short for types a warning says so, and it does without.
 */
ms_result ms_knowledge_new(struct ms_scan *scan, struct ms_image *image, struct ms_symbols *symbols,
                           struct ms_types *types, enum ms_typing_scope scope, struct ms_knowledge **knowledge);
void ms_knowledge_free(struct ms_knowledge *knowledge);

/* ms_typing_pins() of KNOWLEDGE, which may be NULL. */
const struct ms_pin *ms_known_pins(const struct ms_knowledge *knowledge, size_t *count);

/* Go's types, as long as KNOWLEDGE (which may be NULL); NULL: it is of no Go heap, or types are not known. */
struct ms_go_types *ms_known_go_types(const struct ms_knowledge *knowledge);

struct ms_known {
    enum ms_evidence by;        /* MS_BY_NOTHING: what follows is empty */
    struct ms_block_type what;  /* by debug information; its type is NULL when only NAME is known */
    const char *name;           /* of the type, of one element; the same pointer for the same words */
    const char *module;         /* whose vtable a word of it points to, or NULL */
};

/* What the block at granule START is; KNOWLEDGE may be NULL: then nothing is known. */
ms_result ms_block_known(struct ms_knowledge *knowledge, uint64_t start, struct ms_known *known);

/*
 * In words: "struct conn", "struct entry [12]", "struct buf + 4,096 bytes"; NULL when nothing is known. All
 * strings of one knowledge are the same pointer for the same words.
 */
ms_result ms_known_text(struct ms_knowledge *knowledge, const struct ms_known *known, const char **text);

/* What blocks that differ only in how many and how much have in common: "struct entry []", "struct buf + tail". */
ms_result ms_known_group(struct ms_knowledge *knowledge, const struct ms_known *known, const char **text);

/* TEXT as a string of KNOWLEDGE's. */
ms_result ms_known_intern(struct ms_knowledge *knowledge, const char *text, const char **interned);

/* How many of SIZE bytes make a readable preview: up to the first that is no text, at least four; else 0. */
unsigned ms_text_length(const uint8_t *bytes, uint64_t size);

/*
 * Bytes of readable text that the block at START begins with, as they were when
 * it passed by; 0 when it is no text. Raw bytes of the target: escape before showing.
 */
unsigned ms_block_preview(const struct ms_heap *heap, uint64_t start, uint8_t bytes[MS_SAMPLE]);

#endif
