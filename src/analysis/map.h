/* Private to src/analysis: a hash map from pairs of numbers to a number. */
#ifndef MEMSCOPE_MAP_H
#define MEMSCOPE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Open addressing, at most half full. Zero-initialised; freed with ms_map_free(). */
struct ms_map {
    struct ms_map_entry {
        uint64_t a, b, value;
        bool used;
    } *entries; /* owned */
    size_t size; /* a power of two, or 0 */
    size_t used;
};

/* The value of (A, B), or NULL. Valid until the next ms_map_put(). */
uint64_t *ms_map_get(const struct ms_map *map, uint64_t a, uint64_t b);

/* Sets the value of (A, B); false when memory is short. */
bool ms_map_put(struct ms_map *map, uint64_t a, uint64_t b, uint64_t value);

void ms_map_free(struct ms_map *map);

#endif
