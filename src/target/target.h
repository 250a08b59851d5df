/* Private to src/target: how an image gets at its bytes. */
#ifndef MEMSCOPE_TARGET_H
#define MEMSCOPE_TARGET_H

#include "memscope/capture.h"
#include "memscope/image.h"

/* A file of the target, opened when first needed. */
struct ms_target_file {
    int fd; /* -1: tried and not to be had */
    uint32_t major, minor;
    uint64_t inode;
    const char *path; /* the region's */
};

struct ms_image_source {
    bool stopped;    /* the target is stopped: reads come from it */
    bool running;    /* … though it is not (live.c): only what is present, and it may end at any time */
    pid_t tid;       /* a thread of it that has an mm: /proc/TID/… is used throughout */
    int proc_fd;     /* directory /proc/TID, -1 for a core */
    int mem_fd;      /* /proc/TID/mem, -1 for a core */
    int pagemap_fd;  /* /proc/TID/pagemap, -1 for a core */
    struct ms_reserve store; /* kept bytes of a live target */
    size_t stored;           /* bytes used of it */
    struct ms_reserve xstates; /* vector registers of a live target's threads */
    bool choosing;             /* pages that are read of regions left out are to be kept … */
    MS_VECTOR(uint64_t) touched; /* … their addresses */
    uint64_t budget;             /* so many more reads of a page may be made … */
    uint64_t direct;             /* … and so many pages in regions left out be read */
    uint64_t chosen_page;        /* the last of them, or UINT64_MAX … */
    uint8_t chosen[MS_PAGE];     /* … and its bytes */
    uint64_t missed;             /* ms_image_missed() */
    const uint8_t *core;     /* the whole core file, mapped; NULL for a live target */
    size_t core_size;
    char *exe;     /* --exe, owned, or NULL */
    char *sysroot; /* --sysroot, owned, or NULL */
    MS_VECTOR(struct ms_target_file) files;
    MS_VECTOR(char *) strings; /* paths of regions; owned */
};

/* image.c: an empty image of a kind with an empty source (descriptors -1). */
ms_result ms_image_new(enum ms_image_kind kind, struct ms_image **image);

/* Bits of a pagemap entry: Documentation/admin-guide/mm/pagemap.rst. */
#define MS_PAGEMAP_PRESENT   (1ull << 63)
#define MS_PAGEMAP_SWAP      (1ull << 62)
#define MS_PAGEMAP_FILE      (1ull << 61)
#define MS_PAGEMAP_EXCLUSIVE (1ull << 56)

/* image.c: what pagemap says of the page of ADDRESS; gone: the process has ended, or called exec. */
enum ms_page_state { MS_PAGE_NONE, MS_PAGE_THERE, MS_PAGE_SWAPPED, MS_PAGE_GONE };
enum ms_page_state ms_page_state(const struct ms_image_source *source, uint64_t address);

/* image.c: copies S for the life of the image's regions; owned by the image. NULL without memory. */
const char *ms_image_string(struct ms_image *image, const char *s);

/* image.c: index of the first run of a region that ends after ADDRESS; run_count when there is none. */
size_t ms_first_run(const struct ms_region *region, uint64_t address);

/* select.c: cuts what SELECTION leaves out off the regions, but for what it knows to need. */
ms_result ms_select_first(struct ms_image *image, const struct ms_selection *selection);
/* select.c: in the stop, what it needs besides: its regions are to be surveyed and kept. */
ms_result ms_select_more(struct ms_image *image, const struct ms_selection *selection);

/* stream.c: plan, then feeds every window of the plan from kept bytes; for full images and cores. */
ms_result ms_stream_kept(struct ms_image *image, const struct ms_capture_options *options);

#endif
