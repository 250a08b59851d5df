/* Private to src/output: what the JSON views share. */
#ifndef MEMSCOPE_OUTPUT_JSON_H
#define MEMSCOPE_OUTPUT_JSON_H

#include "memscope/output.h"

/* How every document is laid out; ASCII alone, so that it is safe to look at in any terminal. */
#define MS_JSON_FLAGS (JSON_INDENT(2) | JSON_ENSURE_ASCII)

/* How a document ends whose last member is an object: streamed lists go in before. */
#define MS_JSON_TAIL "\n  }\n}"

/*
 * OBJECT with one more member, whose VALUE it takes over. NULL when either is
 * NULL or memory is short; then nothing of them is left.
 */
json_t *ms_json_with(json_t *object, const char *name, json_t *value);

/* ARRAY with one more item, in the same way. */
json_t *ms_json_with_item(json_t *array, json_t *item);

json_t *ms_json_count(uint64_t count);

/* A string of the target: as it is when it is valid UTF-8, else with C escapes; null for NULL. */
json_t *ms_json_string(const char *text);

/* Bytes of the target with C escapes. */
json_t *ms_json_escaped(const uint8_t *bytes, size_t size);

/* "0x7f00…" */
json_t *ms_json_address(uint64_t address);

json_t *ms_json_tally(const struct ms_tally *tally);

/* How a type is known: "vtable", "guess", …; null when it is not. */
json_t *ms_json_evidence(enum ms_evidence by);

/* The members of a block with their values. */
json_t *ms_json_values(const struct ms_values *values);

/* A string for one line of a streamed list; the only error is lack of memory. */
ms_result ms_json_write_string(FILE *out, const char *text);

/* What every document begins with: memscope, schema. New reference, NULL without memory. */
json_t *ms_json_preface(void);

/* ENVELOPE with BODY in it as its last member, NAME; takes over both, also when it gives NULL. */
json_t *ms_json_document(json_t *envelope, bool complete, const char *name, json_t *body);

#endif
