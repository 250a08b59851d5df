/* Private to src/heap: what the three files of the glibc walker share. */
#ifndef MEMSCOPE_GLIBC_H
#define MEMSCOPE_GLIBC_H

#include "memscope/heap.h"

/*
 * Layouts are those of malloc/malloc.c and malloc/arena.c of glibc 2.17 to 2.44
 * on x86-64. A chunk: prev_size, size|flags, then the user's part; the user's
 * part goes on over the next chunk's prev_size.
 */
#define CHUNK_HEADER 16u
#define MIN_CHUNK 32u
#define PREV_INUSE 1u
#define IS_MMAPPED 2u
#define NON_MAIN_ARENA 4u
#define SIZE_BITS 7u

#define FASTBINS 10u   /* NFASTBINS for 160-byte chunks, all that mallopt allows on x86-64 */
#define BIN_PAIRS 127u /* NBINS - 1: fd and bk of each bin header */
#define BINS_BYTES (BIN_PAIRS * 16u)
#define BINMAP_BYTES 16u

/* What the walk after the stop needs of an arena. */
struct glibc_arena {
    uint64_t address; /* malloc_state */
    uint64_t top;     /* chunk */
    uint64_t system_mem;
    uint64_t fastbins[FASTBINS];
    bool has_fastbins; /* up to 2.42 */
    bool noncontiguous;
};

/* First words of a block that may be a cached one: word 0 decodes as a safe-linked pointer. */
struct glibc_link {
    uint64_t granule;
    uint64_t next; /* address, 0 at the end of a list */
    uint64_t key;  /* word 1 */
};

/* A chunk that looks live by its neighbours' bits and is in a tcache or fastbin. */
struct glibc_cached {
    uint64_t granule;
    enum ms_class class;
};

struct glibc {
    /* malloc_state: distance of bins from its start, and whether attached_threads is there (2.23). */
    uint64_t bins_offset, state_size;
    bool attached;
    unsigned mapped_tail; /* bytes from the end of an mmapped chunk to that of its map: 0, or 16 from 2.43 */
    MS_VECTOR(struct glibc_arena) arenas; /* [0] is main_arena */
    /* malloc_par */
    bool par_known;
    uint64_t sbrk_base, mapped_count, mapped_bytes;
    MS_VECTOR(struct glibc_link) links;
    size_t link_votes[2]; /* hops along lists that plain and safe links allow */
    bool plain_links;     /* up to 2.31 */
    MS_VECTOR(struct glibc_cached) cached; /* sorted when settled */
    unsigned sample_shift; /* one text block of 2^shift is sampled */
    uint64_t library; /* an address in the module that holds main_arena */
};

/* glibc_find.c */
struct ms_error *glibc_discover(struct ms_heap *heap, struct ms_image *image, bool *found);
/* glibc_walk.c */
void glibc_walk(struct ms_heap *heap, struct ms_segment *segment, const struct ms_window *window);
/* glibc_settle.c */
struct ms_error *glibc_settle(struct ms_heap *heap, struct ms_image *image);
enum ms_class glibc_class_of(const struct ms_heap *heap, const struct ms_segment *segment, uint64_t start);

bool glibc_in_transit(const struct ms_heap *heap, uint64_t start);

#endif
