/* Decoding: the contents of a block as its type says, member by member, as data. */
#ifndef MEMSCOPE_DECODE_H
#define MEMSCOPE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/known.h"
#include "memscope/typing.h"

enum ms_value_kind {
    MS_VALUE_UNREADABLE, /* the image does not have it, or it is of no kind that has a value */
    MS_VALUE_SIGNED,     /* number.i */
    MS_VALUE_UNSIGNED,   /* number.u */
    MS_VALUE_REAL,       /* number.real */
    MS_VALUE_BOOL,       /* number.u: 0 or 1 */
    MS_VALUE_TEXT,       /* bytes: a character, or an array of them up to its zero byte */
    MS_VALUE_POINTER,    /* number.u: an address */
    MS_VALUE_RAW,        /* bytes: of an array of them that are no characters */
};

/* Of an array of characters no more than so many are taken. */
#define MS_VALUE_BYTES 64u

struct ms_value {
    char *path;       /* "ht[0].table"; "" of a block that is one value; owned */
    const struct ms_type *type;
    uint64_t offset;  /* from the start of the block; of a bit-field that of its first byte */
    enum ms_value_kind kind;
    union {
        int64_t i;
        uint64_t u;
        double real;
    } number;
    uint8_t bytes[MS_VALUE_BYTES]; /* of text, or of the string that a pointer points to: escape before showing */
    unsigned size;    /* of bytes */
    bool cut;         /* there are more bytes */
    bool single;      /* text: one character, no array */
    uint64_t to;      /* of a pointer into the heap: the block's address; else 0 */
    char *target;     /* what a pointer points to: that block's type, a symbol with offset, or NULL; owned */
};

struct ms_values {
    MS_VECTOR(struct ms_value) list; /* by offset, as declared */
    bool more;       /* there are members or elements that are not in the list */
    bool unreadable; /* the image has not what the block holds */
};

/* What decoding looks into; all but SCAN and IMAGE may be NULL. */
struct ms_decoder {
    const struct ms_scan *scan;
    const struct ms_image *image;
    struct ms_symbols *symbols;
    struct ms_types *types;
    struct ms_knowledge *knowledge;
};

/*
 * The block at granule START, which is WHAT, decoded: at most MOST values, of each array the first few.
 * Structures are flattened to their members. Nothing when its type is not known.
 */
ms_result ms_decode(const struct ms_decoder *decoder, uint64_t start, const struct ms_block_type *what,
                    size_t most, struct ms_values *values);

/*
 * The variable LOCAL of a frame, as ms_decode(); the paths are below its name. What is in no memory
 * and no known register is unreadable.
 */
ms_result ms_decode_local(const struct ms_decoder *decoder, const struct ms_local *local, size_t most,
                          struct ms_values *values);
void ms_values_free(struct ms_values *values);

/*
 * SIZE bytes at BYTES, at most 16, as a value of TYPE; BITS are a bit-field's (0: it is none), from bit SHIFT
 * on.
 */
struct ms_value ms_decode_value(const struct ms_type *type, const uint8_t *bytes, size_t size, unsigned shift,
                                unsigned bits);

#endif
