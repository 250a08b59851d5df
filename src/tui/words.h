/* Words that several views use: types, tallies, shares, durations, text over several lines. */
#ifndef MS_TUI_WORDS_H
#define MS_TUI_WORDS_H

#include "view.h"

/* NAME as reports show it: std::string by that name, a guess with a question mark. */
void tui_put_type(struct tui_cell *cell, const char *name, enum ms_evidence by);
void tui_put_tally(struct tui_cell *cell, const struct ms_tally *tally);       /* "1.2 MiB in 34 blocks" */
void tui_put_share(struct tui_cell *cell, uint64_t part, uint64_t whole);      /* "12.3%" */
void tui_put_duration(struct tui_cell *cell, uint64_t ns);                     /* "3.1 ms" */
void tui_put_preview(struct tui_cell *cell, const uint8_t *bytes, unsigned size); /* quoted; as far as it is text */

/* "definitely lost: …" or "no leaks: …", with its style; in a Go program without C, what its collector will take. */
void tui_put_leak_verdict(struct tui_cell *cell, const struct ms_facts *facts);

/* Puts line LINE of TEXT, broken between words so that each is at most WIDTH bytes; false: it has no such line. */
bool tui_put_wrapped(struct tui_cell *cell, const char *text, unsigned width, unsigned line);

/* A number from words, for keys of rows: begin with 0, go on with what it returned. */
uint64_t tui_hash(uint64_t hash, const char *words);

/* The kind of view that is reached by KEY, or NULL. */
const struct tui_view_kind *tui_kind_of(char key);

#endif
