/* The memory map: every region by what it is for and which file it is of, with sums. */
#ifndef MEMSCOPE_REGIONS_H
#define MEMSCOPE_REGIONS_H

#include <stdint.h>
#include <sys/types.h>

#include "memscope/graph.h"
#include "memscope/image.h"
#include "memscope/memstats.h"

enum ms_use {
    MS_USE_HEAP,    /* the allocator has some of it */
    MS_USE_STACK,   /* of threads, with static TLS */
    MS_USE_MODULE,  /* files with code, their bss too */
    MS_USE_FILE,    /* other private maps of files */
    MS_USE_SHARED,
    MS_USE_ANON,
    MS_USE_OTHER,   /* vdso and devices */
    MS_USES
};
struct ms_use_info {
    const char *name;  /* "heap", … */
    const char *title; /* in text */
    bool by_file;      /* its groups are files; else it has one group */
};
extern const struct ms_use_info ms_uses[MS_USES];

struct ms_extent {
    uint64_t regions, size, rss, swap; /* bytes but the first */
};

struct ms_map_region {
    uint32_t index; /* in image->regions */
    pid_t tid;      /* of a stack: whose, when that is known; else 0 */
    enum ms_use use;
    uint64_t rss;
};

struct ms_map_group {
    enum ms_use use;
    const char *path; /* of the file, "" for none; the image's */
    struct ms_extent extent;
    uint32_t first;   /* its regions are map->regions[first] …, by address */
};

struct ms_memory_map {
    struct ms_extent total, uses[MS_USES];
    MS_VECTOR(struct ms_map_group) groups;  /* by use, biggest Rss first */
    MS_VECTOR(struct ms_map_region) regions;
};

ms_result ms_memory_map(const struct ms_scan *scan, const struct ms_image *image, struct ms_memory_map *map);
void ms_memory_map_free(struct ms_memory_map *map);

/* The row of the account that REGION's bytes belong to as far as they are not the heap's. */
enum ms_row ms_region_row(const struct ms_scan *scan, const struct ms_image *image,
                          const struct ms_region *region);

/* Resident bytes by smaps; of a core, or without the account, what is there of it. */
uint64_t ms_region_rss(const struct ms_image *image, const struct ms_region *region);

#endif
