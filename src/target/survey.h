/* Private to src/target: which pages are there, and how they may be read. */
#ifndef MEMSCOPE_SURVEY_H
#define MEMSCOPE_SURVEY_H

#include "second.h"
#include "target.h"

/*
 * Fills the runs of every region that may hold something of the process's own:
 * all but code, devices and read-only shared maps. SCRATCH is a buffer of
 * MS_SURVEY_SCRATCH bytes, populated before the stop. SECOND does half of it.
 * Never touches a page.
 * Regions that are surveyed already, or left out, stay as they are.
 * Anonymous regions are cut at guard pages that have no map of their own.
 */
#define MS_SURVEY_SCRATCH (1u << 19)
ms_result ms_survey(struct ms_image *image, void *scratch, struct ms_second *second);

/* Bytes of the process's own memory that the survey found: what a full image would keep. */
uint64_t ms_survey_bytes(const struct ms_image *image);

/* Pages of a run that are the process's own: anonymous, or of a shared writable map. */
static inline bool ms_run_is_own(const struct ms_region *region, const struct ms_run *run)
{
    return !run->file || (region->prot & MS_SHARED);
}

#endif
