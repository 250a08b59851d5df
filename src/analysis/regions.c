/* The memory map: what each region is for, and regions of one file together. */
#include "memscope/regions.h"

#include <stdlib.h>
#include <string.h>

const struct ms_use_info ms_uses[MS_USES] = {
    [MS_USE_HEAP] = {"heap", "heap", false},
    [MS_USE_STACK] = {"stacks", "stacks and static TLS", false},
    [MS_USE_MODULE] = {"modules", "modules", true},
    [MS_USE_FILE] = {"files", "other file maps", true},
    [MS_USE_SHARED] = {"shared", "shared memory", true},
    [MS_USE_ANON] = {"anonymous", "other anonymous memory", false},
    [MS_USE_OTHER] = {"other", "vdso and devices", false},
};

#define WHAT "the memory map"

/* --- what a region is for ---------------------------------------------------------------------- */

static bool is_stack(const struct ms_scan *scan, const struct ms_image *image, const struct ms_region *r)
{
    if (r->kind == MS_REGION_STACK)
        return true;
    if (r->kind != MS_REGION_ANON)
        return false;
    for (size_t i = 0; i < scan->cached_stacks.count; i++)
        if (scan->cached_stacks.items[i].start >= r->start && scan->cached_stacks.items[i].end <= r->end)
            return true;
    for (size_t i = 0; i < image->thread_count; i++) {
        uint64_t tcb = image->threads[i].registers[MS_REG_FS_BASE];
        uint64_t sp = image->threads[i].registers[MS_REG_RSP];
        if ((tcb >= r->start && tcb < r->end) || (sp >= r->start && sp < r->end))
            return true;
    }
    return false;
}

/* A file of which some part is mapped as code is a module. */
static bool is_module(const struct ms_image *image, const struct ms_region *r)
{
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *other = &image->regions[i];
        if (other->kind == MS_REGION_FILE && other->prot & MS_EXEC && other->inode == r->inode &&
            other->major == r->major && other->minor == r->minor)
            return true;
    }
    return false;
}

enum ms_row ms_region_row(const struct ms_scan *scan, const struct ms_image *image, const struct ms_region *r)
{
    if (r->kind == MS_REGION_SHARED)
        return MS_ROW_SHARED;
    if (r->kind == MS_REGION_FILE)
        return !is_module(image, r) ? MS_ROW_FILES : r->prot & MS_WRITE ? MS_ROW_DATA : MS_ROW_TEXT;
    if (r->kind == MS_REGION_DEVICE || r->kind == MS_REGION_VDSO)
        return MS_ROW_OTHER;
    bool bss = r > image->regions && r->kind == MS_REGION_ANON && r[-1].end == r->start &&
               r[-1].kind == MS_REGION_FILE && r[-1].prot & MS_WRITE;
    if (bss)
        return MS_ROW_DATA;
    return is_stack(scan, image, r) ? MS_ROW_STACKS : MS_ROW_ANON;
}

uint64_t ms_region_rss(const struct ms_image *image, const struct ms_region *r)
{
    if (image->accounted)
        return r->rss;
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->run_count; i++)
        bytes += r->runs[i].end - r->runs[i].start;
    return bytes;
}

static enum ms_use use_of_row(enum ms_row row)
{
    switch (row) {
    case MS_ROW_STACKS:
        return MS_USE_STACK;
    case MS_ROW_DATA:
    case MS_ROW_TEXT:
        return MS_USE_MODULE;
    case MS_ROW_FILES:
        return MS_USE_FILE;
    case MS_ROW_SHARED:
        return MS_USE_SHARED;
    case MS_ROW_OTHER:
        return MS_USE_OTHER;
    default:
        return MS_USE_ANON;
    }
}

/* Has the heap a segment in R? NEXT: the first that can be in it or behind it; both are sorted. */
static bool has_heap(const struct ms_heap *heap, const struct ms_region *r, size_t *next)
{
    while (*next < heap->segments.count && heap->segments.items[*next].end <= r->start)
        ++*next;
    return *next < heap->segments.count && heap->segments.items[*next].start < r->end;
}

/* Whose stack pointer or thread pointer is in R: the one thread's, or 0. */
static pid_t thread_of(const struct ms_image *image, const struct ms_region *r)
{
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct ms_thread *t = &image->threads[i];
        const uint64_t sp = t->registers[MS_REG_RSP];
        if (t->registers_known && sp >= r->start && sp < r->end)
            return t->tid;
    }
    return 0;
}

/* --- groups ------------------------------------------------------------------------------------ */

/* A region on its way into a group. */
struct placed {
    struct ms_map_region region;
    const struct ms_region *file; /* the region itself, or before a bss that of the file */
};

static int order_of(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int same_file(const struct ms_region *a, const struct ms_region *b)
{
    int by = order_of(a->inode, b->inode);
    by = by ? by : order_of(a->major, b->major);
    by = by ? by : order_of(a->minor, b->minor);
    return by ? by : strcmp(a->path, b->path);
}

static int by_group(const void *a, const void *b)
{
    const struct placed *p = a, *q = b;
    int by = order_of(p->region.use, q->region.use);
    if (!by && ms_uses[p->region.use].by_file)
        by = same_file(p->file, q->file);
    return by;
}

static int by_group_and_address(const void *a, const void *b)
{
    const int by = by_group(a, b);
    return by ? by : order_of(((const struct placed *)a)->region.index, ((const struct placed *)b)->region.index);
}

static int biggest_first(const void *a, const void *b)
{
    const struct ms_map_group *g = a, *h = b;
    int by = order_of(g->use, h->use);
    by = by ? by : order_of(h->extent.rss, g->extent.rss);
    by = by ? by : order_of(h->extent.size, g->extent.size);
    return by ? by : order_of(g->first, h->first);
}

static void add_extent(struct ms_extent *sum, const struct ms_region *r, uint64_t rss)
{
    sum->regions++;
    sum->size += r->end - r->start;
    sum->rss += rss;
    sum->swap += r->swap;
}

static void place(const struct ms_scan *scan, const struct ms_image *image, struct placed *placed)
{
    size_t segment = 0;
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        struct ms_map_region *region = &placed[i].region;
        region->index = (uint32_t)i;
        region->rss = ms_region_rss(image, r);
        region->use = has_heap(&scan->heap, r, &segment) || r->kind == MS_REGION_BRK
                          ? MS_USE_HEAP : use_of_row(ms_region_row(scan, image, r));
        region->tid = region->use == MS_USE_STACK ? thread_of(image, r) : 0;
        placed[i].file = region->use == MS_USE_MODULE && r->kind == MS_REGION_ANON ? r - 1 : r;
    }
}

static ms_result add_groups(struct ms_memory_map *map, const struct ms_image *image, const struct placed *placed)
{
    struct ms_map_group *group = NULL;
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_map_region *from = &placed[i].region;
        const struct ms_region *r = &image->regions[from->index];
        struct ms_map_region *to = ms_vector_add(&map->regions);
        if (!group || by_group(&placed[i - 1], &placed[i]) != 0) {
            group = ms_vector_add(&map->groups);
            if (group)
                *group = (struct ms_map_group){.use = from->use, .first = (uint32_t)i,
                                               .path = ms_uses[from->use].by_file ? placed[i].file->path : ""};
        }
        if (!group || !to)
            return ms_error_nomem(WHAT);
        *to = *from;
        add_extent(&group->extent, r, from->rss);
        add_extent(&map->uses[from->use], r, from->rss);
        add_extent(&map->total, r, from->rss);
    }
    ms_vector_sort(&map->groups, biggest_first);
    return NULL;
}

ms_result ms_memory_map(const struct ms_scan *scan, const struct ms_image *image, struct ms_memory_map *map)
{
    *map = (struct ms_memory_map){0};
    ms_auto_free struct placed *placed = calloc(image->region_count + 1, sizeof *placed);
    if (!placed)
        return ms_error_nomem(WHAT);
    place(scan, image, placed);
    qsort(placed, image->region_count, sizeof *placed, by_group_and_address);
    struct ms_error *error = add_groups(map, image, placed);
    if (error)
        ms_memory_map_free(map);
    return error;
}

void ms_memory_map_free(struct ms_memory_map *map)
{
    ms_vector_free(&map->groups);
    ms_vector_free(&map->regions);
}
