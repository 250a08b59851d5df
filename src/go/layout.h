/* Private to src/go: what layouts are kept in. */
#ifndef MEMSCOPE_GO_LAYOUT_H
#define MEMSCOPE_GO_LAYOUT_H

#include "memscope/go.h"

/* Frees what ms_go_bind() keeps; NULL is allowed. */
void ms_go_layouts_free(struct ms_go_layouts *layouts);

#endif
