/* A hash map from pairs of numbers to a number. */
#include "map.h"

#include <stdlib.h>

#define FIRST_SIZE 256u

static struct ms_map_entry *slot_of(const struct ms_map *map, uint64_t a, uint64_t b)
{
    /* Multiplicative hashes (Knuth's golden ratio); their upper bits are the good ones. */
    size_t i = ((a * 0x9e3779b97f4a7c15u ^ b) * 0x9e3779b97f4a7c15u) >> 24;
    for (;; i++) {
        struct ms_map_entry *e = &map->entries[i & (map->size - 1)];
        if (!e->used || (e->a == a && e->b == b))
            return e;
    }
}

uint64_t *ms_map_get(const struct ms_map *map, uint64_t a, uint64_t b)
{
    if (!map->size)
        return NULL;
    struct ms_map_entry *e = slot_of(map, a, b);
    return e->used ? &e->value : NULL;
}

static bool grow(struct ms_map *map)
{
    struct ms_map bigger = {.size = map->size ? map->size * 2 : FIRST_SIZE, .used = map->used};
    bigger.entries = calloc(bigger.size, sizeof *bigger.entries);
    if (!bigger.entries)
        return false;
    for (size_t i = 0; i < map->size; i++)
        if (map->entries[i].used)
            *slot_of(&bigger, map->entries[i].a, map->entries[i].b) = map->entries[i];
    free(map->entries);
    *map = bigger;
    return true;
}

bool ms_map_put(struct ms_map *map, uint64_t a, uint64_t b, uint64_t value)
{
    if (map->used >= map->size / 2 && !grow(map))
        return false;
    struct ms_map_entry *e = slot_of(map, a, b);
    map->used += !e->used;
    *e = (struct ms_map_entry){a, b, value, true};
    return true;
}

void ms_map_free(struct ms_map *map)
{
    free(map->entries);
    *map = (struct ms_map){0};
}
