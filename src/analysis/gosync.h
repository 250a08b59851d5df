/* Private to src/analysis: what structures of Go's package sync point to, where their types do not say it. */
#ifndef MEMSCOPE_GOSYNC_H
#define MEMSCOPE_GOSYNC_H

#include "goshape.h"

/*
 * A sync.Map of 1.24 and later is a tree whose pointers are to what entries and inner nodes begin with: TYPE, or which
 * of these is at ADDRESS.
 */
const struct ms_type *ms_go_whole_node(struct ms_go_shapes *shapes, const struct ms_image *image, uint64_t address,
                                       const struct ms_type *type);

/* What sync.entry.p, an unsafe.Pointer up to 1.19, points to: an interface; NULL: TYPE is something else. */
const struct ms_type *ms_go_entry_target(struct ms_go_shapes *shapes, const struct ms_type *type);

#endif
