/* Private to src/output: what the JSON views share. */
#ifndef MEMSCOPE_OUTPUT_JSON_H
#define MEMSCOPE_OUTPUT_JSON_H

#include "memscope/output.h"

/* How every document is laid out; ASCII alone, so that it is safe to look at in any terminal. */
#define MS_JSON_FLAGS (JSON_INDENT(2) | JSON_ENSURE_ASCII)

/*
 * OBJECT with one more member, whose VALUE it takes over. NULL when either is
 * NULL or memory is short; then nothing of them is left.
 */
json_t *ms_json_with(json_t *object, const char *name, json_t *value);

json_t *ms_json_count(uint64_t count);

/* A string of the target: as it is when it is valid UTF-8, else with C escapes; null for NULL. */
json_t *ms_json_string(const char *text);

/* Bytes of the target with C escapes. */
json_t *ms_json_escaped(const uint8_t *bytes, size_t size);

/* "0x7f00…" */
json_t *ms_json_address(uint64_t address);

json_t *ms_json_tally(const struct ms_tally *tally);

/* ENVELOPE with BODY in it as its last member, NAME; takes over both, also when it gives NULL. */
json_t *ms_json_document(json_t *envelope, bool complete, const char *name, json_t *body);

#endif
