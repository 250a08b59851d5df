/* The profiles that a Go program keeps of itself: of its allocations by stack, as
 * runtime.MemProfile gives them. */
#ifndef MEMSCOPE_GOPROFILE_H
#define MEMSCOPE_GOPROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/go.h"
#include "memscope/gofuncs.h"
#include "memscope/gostacks.h"
#include "memscope/profile.h"

/* Allocations of one size at one stack: runtime.MemProfileRecord, not scaled. */
struct ms_go_bucket {
    int64_t allocs, frees, alloc_bytes, free_bytes;
    size_t first_pc, pc_count; /* in the list's pcs: return addresses, innermost first */
};

/* Zero-initialised; freed with ms_go_buckets_free(). */
struct ms_go_buckets {
    int64_t rate;  /* runtime.MemProfileRate: mean bytes between samples; 1: all of them; 0: none */
    bool disabled; /* nothing in the program asks for the profile, so the linker dropped it: the
                      list is empty */
    bool complete; /* false: the list is damaged, and what is here is its beginning */
    MS_VECTOR(struct ms_go_bucket) list; /* in the runtime's order: the newest first */
    MS_VECTOR(uint64_t) pcs;
};

/*
 * Reads the memory profile as runtime.MemProfile(p, true) would give it at the instant of the
 * image: as of the last but one mark termination, or of now when there was none yet.
 */
ms_result ms_go_buckets_read(struct ms_go *go, struct ms_go_buckets *buckets);
void ms_go_buckets_free(struct ms_go_buckets *buckets);

/* COUNT and SIZE as all were counted, not one in RATE bytes (scaleHeapSample of src/runtime/pprof/protomem.go). */
void ms_go_scale_sample(int64_t count, int64_t size, int64_t rate, int64_t scaled[2]);

/*
 * Makes locations of stacks as runtime/pprof does: calls that were inlined are lines of one
 * location. PROFILE, which gets them, GO and FUNCTIONS must outlive it.
 */
struct ms_go_locator;
ms_result ms_go_locator_new(struct ms_go *go, struct ms_go_functions *functions,
                            struct ms_profile *profile, struct ms_go_locator **locator);
void ms_go_locator_free(struct ms_go_locator *locator);

/* Adds the frames of COUNT return addresses, innermost first, to the last sample; runtime.goexit is
 * left out. */
ms_result ms_go_locate(struct ms_go_locator *locator, const uint64_t *pcs, size_t count);

/* The same of addresses of calls, of which each stands for all that were inlined there. */
ms_result ms_go_locate_calls(struct ms_go_locator *locator, const uint64_t *calls, size_t count);

/* Fills PROFILE, which is empty, with what /debug/pprof/heap has (the same samples as of
 * /debug/pprof/allocs). */
ms_result ms_go_heap_profile(struct ms_go *go, struct ms_go_functions *functions,
                             const struct ms_go_buckets *buckets, struct ms_profile *profile);

/* Fills PROFILE, which is empty, with what /debug/pprof/goroutine has. */
ms_result ms_go_goroutine_profile(const struct ms_go_goroutines *goroutines,
                                  const struct ms_go_groups *groups, struct ms_profile *profile);

#endif
