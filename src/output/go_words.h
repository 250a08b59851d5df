/* Private to src/output: figures as programs in Go write them, and words for the collector. */
#ifndef MEMSCOPE_OUTPUT_GO_WORDS_H
#define MEMSCOPE_OUTPUT_GO_WORDS_H

#include <stdint.h>

#define MS_GO_WORD 64
/* Each writes into TEXT and returns it. */
char *ms_go_size_text(uint64_t bytes, char text[MS_GO_WORD]);   /* "1.15MB (1207696 bytes)" */
char *ms_go_duration_text(uint64_t ns, char text[MS_GO_WORD]);  /* time.Duration: "1m2.5s" */
char *ms_go_time_text(uint64_t unix_ns, char text[MS_GO_WORD]); /* time.Time; "-" for 0 */
char *ms_go_float_text(double value, char text[MS_GO_WORD]);    /* %v: the shortest that is exact */

#endif
