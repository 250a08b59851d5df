/* Private to src/analysis: blocks that are certain to be what a library makes of them, without
 * debug information. */
#ifndef MEMSCOPE_FORMATS_H
#define MEMSCOPE_FORMATS_H

#include "map.h"
#include "memscope/graph.h"
#include "memscope/symbols.h"

struct ms_formats {
    struct ms_map found; /* by start: the name, a static string */
};

/*
 * Looks at every live block whose size one of the formats has. A lean image has few of their bytes:
 * then only what the kept ones say for certain is found. SYMBOLS may be NULL: nothing is found in
 * modules then.
 */
ms_result ms_formats_find(const struct ms_scan *scan, const struct ms_image *image,
                          struct ms_symbols *symbols, struct ms_formats *formats);
void ms_formats_free(struct ms_formats *formats);

/* What the block at granule START is, or NULL. */
const char *ms_format_of(const struct ms_formats *formats, uint64_t start);

#endif
