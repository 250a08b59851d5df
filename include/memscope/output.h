/* Views: text and JSON of the analyses. No figure is computed here. */
#ifndef MEMSCOPE_OUTPUT_H
#define MEMSCOPE_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "memscope/goescapes.h"
#include "memscope/goheap.h"
#include "memscope/goleaks.h"
#include "memscope/gostacks.h"
#include "memscope/gostats.h"
#include "memscope/gotrace.h"
#include "memscope/histogram.h"
#include "memscope/image.h"
#include "memscope/leaks.h"
#include "memscope/memstats.h"
#include "memscope/path.h"
#include "memscope/profile.h"
#include "memscope/processes.h"
#include "memscope/units.h"

enum ms_color { MS_COLOR_AUTO, MS_COLOR_ALWAYS, MS_COLOR_NEVER };

struct ms_view {
    FILE *out;
    bool color;   /* already decided */
    bool verbose;
    bool quiet;
    const char *go; /* release of Go that the target runs on, "1.26.8", or NULL */
};

/* Decimal with thousands separated by commas; BUFFER of at least 32 bytes is returned. */
char *ms_count_text(uint64_t count, char buffer[32]);
/* PART of WHOLE: "3.1%", "<0.1%", "-" when WHOLE is 0; BUFFER of 16 bytes is returned. */
char *ms_share_text(uint64_t part, uint64_t whole, char buffer[16]);
/* "12.3 ms"; BUFFER of 16 bytes is returned. */
char *ms_duration_text(uint64_t ns, char buffer[16]);
/* Writes SIZE bytes of the target so that no byte can reach a terminal raw: C escapes, UTF-8 kept when valid and printable. */
void ms_write_escaped(FILE *out, const uint8_t *bytes, size_t size);

#define MS_ESCAPED 12 /* bytes of the longest escape, and of any character, with the zero behind it */
struct ms_escaped {
    char text[MS_ESCAPED]; /* as it may be shown; UTF-8 */
    uint32_t point;        /* when it stands for itself; 0: it is an escape */
    size_t taken;          /* bytes that it stands for */
};
/* The first character of SIZE (at least 1) BYTES of the target, by the same rules; QUOTED: inside of double quotes. */
void ms_escape(const uint8_t *bytes, size_t size, bool quoted, struct ms_escaped *escaped);
void ms_escape_point(uint32_t point, char text[MS_ESCAPED]);

/* HEAP is malloc's, and GO Go's in a Go program, else NULL. */
void ms_leaks_text(const struct ms_view *view, const struct ms_image *image, const struct ms_heap *heap,
                   const struct ms_leak_report *report, const struct ms_go_heap *go);
/* With RETAINERS and LIST, the lists of them and of every block too. The only error is lack of memory. */
ms_result ms_heap_text(const struct ms_view *view, const struct ms_image *image, const struct ms_scan *scan,
                       const struct ms_heap_report *report, bool retainers, bool list);
/* "12,000 timers (time.AfterFunc of main.expire) keep 1.2 GiB (80.0%) alive"; raw names of the target; owned. */
ms_result ms_go_suspect_text(const struct ms_go_suspect *suspect, uint64_t live, char **text);
/* All of them, with who holds them; LIVE bytes there are. */
ms_result ms_go_suspects_text(const struct ms_view *view, const struct ms_go_suspects *suspects, uint64_t live);
void ms_memstats_text(const struct ms_view *view, const struct ms_image *image, const struct ms_heap *heap,
                      const struct ms_memstats *stats);
/* A cycle in the format of gctrace of go1.MINOR; what is not known is "-". */
void ms_go_cycle_text(FILE *out, const struct ms_go_cycle *cycle, unsigned minor);
/* As an object on one line; what is not known is null. The only error is lack of memory. */
ms_result ms_go_cycle_json_write(FILE *out, const struct ms_go_cycle *cycle);
void ms_go_stats_text(const struct ms_view *view, const struct ms_go_stats *stats);

/* The envelope of design.md: memscope, schema, target, pause_ns, warnings. New reference, NULL without memory. */
json_t *ms_json_envelope(const struct ms_image *image, const struct ms_heap *heap);
json_t *ms_go_stats_json(const struct ms_go_stats *stats);
json_t *ms_go_suspects_json(const struct ms_go_suspects *suspects);
json_t *ms_memstats_json(const struct ms_heap *heap, const struct ms_memstats *stats);

/*
 * The whole documents, the envelope with the command's object last. With LIST,
 * every block too, one at a time: they may be many millions. The only error is
 * lack of memory; whether VIEW's file took what was written is for who opened it.
 */
ms_result ms_leaks_json_write(const struct ms_view *view, const struct ms_image *image,
                              const struct ms_heap *heap, const struct ms_leak_report *report,
                              const struct ms_go_heap *go, bool list);
ms_result ms_heap_json_write(const struct ms_view *view, const struct ms_image *image,
                             const struct ms_scan *scan, const struct ms_heap_report *report, bool list);
ms_result ms_memstats_json_write(const struct ms_view *view, const struct ms_image *image,
                                 const struct ms_heap *heap, const struct ms_memstats *stats);

/* A class of struct ms_path_block in words: "definitely lost". */
const char *ms_block_class_text(const char *class);
extern const char *const ms_evidence_texts[MS_EVIDENCES]; /* how a type is known: "by its vtable" */
void ms_path_text(const struct ms_view *view, const struct ms_image *image, const struct ms_heap *heap,
                  const struct ms_path_report *report);
ms_result ms_path_json_write(const struct ms_view *view, const struct ms_image *image,
                             const struct ms_heap *heap, const struct ms_path_report *report);

/*
 * Writes PROFILE in the form of pprof, packed by gzip. The only error is lack of memory; whether VIEW's file took
 * what was written is for who opened it.
 */
ms_result ms_pprof_write(const struct ms_view *view, const struct ms_profile *profile);
/* What `memscope goroutines` shows. */
struct ms_goroutines_report {
    const struct ms_go_goroutines *all;
    struct ms_go_groups groups;
    const struct ms_go_leaks *leaks; /* only the leaked ones are shown; NULL: that was not asked */
    struct ms_tally retained;        /* by all leaked ones together */
    uint64_t remaining;              /* leaked ones that the user does not know, and wants to */
    uint64_t suspect_ns;             /* so long one waits that is suspect */
    bool with_system; /* those of the runtime are in GROUPS */
    bool complete;
};
/* How many of GROUP are shown: those of interest that were not known before. */
uint64_t ms_goroutines_shown(const struct ms_goroutines_report *report, const struct ms_go_group *group);
/* Whether the goroutine INDEX is in a list of each. */
bool ms_goroutines_lists(const struct ms_goroutines_report *report, size_t index);
/* The only error is lack of memory. */
ms_result ms_goroutines_text(const struct ms_view *view, const struct ms_image *image,
                             const struct ms_heap *heap, const struct ms_goroutines_report *report);
/* Each one as the traceback of a panic shows it, which other tools read: nothing else. */
void ms_goroutines_full_text(const struct ms_view *view, const struct ms_goroutines_report *report);
/* With LIST, each goroutine too. */
ms_result ms_goroutines_json_write(const struct ms_view *view, const struct ms_image *image,
                                   const struct ms_heap *heap,
                                   const struct ms_goroutines_report *report, bool list);
void ms_processes_text(const struct ms_view *view, const struct ms_processes *processes);
ms_result ms_processes_json_write(const struct ms_view *view, const struct ms_processes *processes);

/* TARGET: as the user named it. */
void ms_escapes_text(const struct ms_view *view, const char *target,
                     const struct ms_go_escapes *escapes);
ms_result ms_escapes_json_write(const struct ms_view *view, const char *target,
                                const struct ms_go_escapes *escapes);

#endif
