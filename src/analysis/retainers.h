/* Private to src/analysis: the biggest retainers of a heap report. */
#ifndef MEMSCOPE_RETAINERS_H
#define MEMSCOPE_RETAINERS_H

#include "memscope/histogram.h"

/* Fills report->retainers, report->live being known, and adds those that are suspects. */
struct ms_error *ms_find_retainers(const struct ms_scan *scan, const struct ms_dominators *tree,
                                   const struct ms_heap_options *options, struct ms_heap_report *report);

/* Names the roots that hold the first of them and the suspects. */
struct ms_error *ms_name_retainers(const struct ms_scan *scan, struct ms_names *names,
                                   struct ms_heap_report *report);

/* Adds the live block at granule START to OWNERS; TREE is not yet the report's while that is built. */
struct ms_error *ms_add_owner(const struct ms_scan *scan, const struct ms_dominators *tree,
                              const struct ms_heap_report *report, uint64_t start, struct ms_owners *owners);

static inline double ms_share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

#endif
