/* Private to src/output: what the text views share. */
#ifndef MEMSCOPE_OUTPUT_TEXT_H
#define MEMSCOPE_OUTPUT_TEXT_H

#include "memscope/output.h"

enum ms_style { MS_STYLE_BAD, MS_STYLE_GOOD, MS_STYLE_DOUBT, MS_STYLE_HEAD, MS_STYLE_FAINT };

/* What follows is written in STYLE until ms_style_end(); nothing without colour. */
void ms_style_begin(const struct ms_view *view, enum ms_style style);
void ms_style_end(const struct ms_view *view);

/* A string of the target or of its files, escaped. */
void ms_write_name(FILE *out, const char *name);

/* What a block is; a guess gets a "?" behind it. */
void ms_write_type(FILE *out, const char *type, enum ms_evidence by);

/* A line for each value, below a heading that begins at column INDENT. */
void ms_write_values(const struct ms_view *view, const struct ms_values *values, unsigned indent);

/* In double quotes, which are escaped inside. */
void ms_write_quoted(FILE *out, const uint8_t *bytes, size_t size);

/* "12.3 MiB in 4,567 blocks" */
void ms_write_tally(FILE *out, const struct ms_tally *tally);
/* The same of a language that has objects. */
void ms_write_objects(FILE *out, const struct ms_tally *tally);

/* Where the figures come from: target, allocator, pause; then what is not certain. */
void ms_write_footer(const struct ms_view *view, const struct ms_image *image,
                     const struct ms_heap *heap, bool complete);

#endif
