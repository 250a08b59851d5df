/* glibc's malloc, 2.17 to 2.42: the entry in the table of allocators. */
#include "allocators.h"
#include "glibc.h"

#include <stdlib.h>

static void release(struct ms_heap *heap)
{
    struct glibc *g = heap->state;
    if (!g)
        return;
    ms_vector_free(&g->arenas);
    ms_vector_free(&g->links);
    ms_vector_free(&g->cached);
    free(g);
    heap->state = NULL;
}

const struct ms_allocator ms_glibc = {
    .name = "glibc",
    .discover = glibc_discover,
    .walk = glibc_walk,
    .settle = glibc_settle,
    .class_of = glibc_class_of,
    .in_transit = glibc_in_transit,
    .release = release,
};
