/* Zones: which addresses pointers are worth keeping to, and how to find them fast. */
#include <stdlib.h>
#include <string.h>

#include "scan.h"

void ms_zones_drop(struct zone_map *map)
{
    for (size_t i = 0; i < sizeof map->level1 / sizeof *map->level1; i++) {
        if (!map->level1[i])
            continue; /* but for a few */
        free(map->level1[i]);
        map->level1[i] = NULL;
    }
    map->zones.count = 0;
}

static struct ms_error *add_zone(struct zone_map *map, uint64_t start, uint64_t end, uint64_t base,
                                 uint64_t target)
{
    struct zone *zone = ms_vector_add(&map->zones);
    if (!zone)
        return ms_error_nomem("the zones");
    *zone = (struct zone){start, end, base, target};
    return NULL;
}

/* Read-only data of modules: vtables are there. */
static bool holds_vtables(const struct ms_image *image, size_t i)
{
    const struct ms_region *r = &image->regions[i];
    if (r->kind != MS_REGION_FILE || r->prot != MS_READ)
        return false;
    /* Only ELF modules have code beside their data: look at the neighbours of the same file. */
    for (size_t j = i; j-- > 0 && image->regions[j].inode == r->inode;)
        if (image->regions[j].prot & MS_EXEC)
            return true;
    for (size_t j = i + 1; j < image->region_count && image->regions[j].inode == r->inode; j++)
        if (image->regions[j].prot & MS_EXEC)
            return true;
    return false;
}

static int zones_by_address(const void *a, const void *b)
{
    const struct zone *y = a, *z = b;
    return y->start < z->start ? -1 : y->start > z->start;
}

/* Two intervals that leave out the widest hole between zones: usually that from brk to the maps. */
static void find_intervals(struct zone_map *map)
{
    const struct zone *z = map->zones.items;
    size_t count = map->zones.count, cut = 0;
    memset(map->low, 0, sizeof map->low);
    memset(map->span, 0, sizeof map->span);
    map->span_of_all = count ? z[count - 1].end - z[0].start : 0;
    if (!count)
        return;
    for (size_t i = 1; i < count; i++)
        if (!cut || z[i].start - z[i - 1].end > z[cut].start - z[cut - 1].end)
            cut = i;
    size_t last = cut ? cut : count;
    map->low[0] = z[0].start;
    map->span[0] = z[last - 1].end - z[0].start;
    if (cut) {
        map->low[1] = z[cut].start;
        map->span[1] = z[count - 1].end - z[cut].start;
    }
}

/* Each 64 KiB of address space knows its first zone. */
static struct ms_error *fill_levels(struct zone_map *map)
{
    for (size_t i = 0; i < map->zones.count; i++) {
        const struct zone *z = &map->zones.items[i];
        for (uint64_t page = z->start >> ZONE_SHIFT; page <= (z->end - 1) >> ZONE_SHIFT; page++) {
            uint32_t **table = &map->level1[page >> ZONE_LEVEL];
            if (!*table)
                *table = calloc(1u << ZONE_LEVEL, sizeof **table);
            if (!*table)
                return ms_error_nomem("the zones");
            uint32_t *entry = &(*table)[page & ((1u << ZONE_LEVEL) - 1)];
            if (!*entry)
                *entry = (uint32_t)i + 1;
        }
    }
    return NULL;
}

struct ms_error *ms_zones_make(struct ms_scan *scan, const struct ms_image *image)
{
    struct zone_map *map = &scan->workers->map;
    struct ms_heap *heap = &scan->heap;
    ms_zones_drop(map);
    for (size_t i = 0; i < heap->segments.count; i++) {
        const struct ms_segment *s = &heap->segments.items[i];
        if (s->end >> ADDRESS_BITS)
            return ms_error(MS_TARGET, "the heap lies beyond what x86-64 programs can have");
        MS_TRY(add_zone(map, s->start, s->end, s->base, 2 * s->first));
    }
    uint64_t target = scan->workers->block_targets = 2 * heap->granules;
    for (size_t i = 0; heap->segments.count && i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        if (!holds_vtables(image, i) || r->end >> ADDRESS_BITS)
            continue;
        MS_TRY(add_zone(map, r->start, r->end, r->start, target));
        target += ms_bytes_words(heap, r->end - r->start);
    }
    heap->edge_width = target <= UINT32_MAX ? 4 : 5;
    ms_vector_sort(&map->zones, zones_by_address);
    find_intervals(map);
    return fill_levels(map);
}

uint64_t ms_scan_module_address(const struct ms_scan *scan, uint64_t target)
{
    const struct zone_map *map = &scan->workers->map;
    for (size_t i = 0; target >= scan->workers->block_targets && i < map->zones.count; i++) {
        const struct zone *z = &map->zones.items[i];
        if (target >= z->target && target < z->target + ms_bytes_words(&scan->heap, z->end - z->base))
            return z->base + ms_word_bytes(&scan->heap, target - z->target);
    }
    return 0;
}

