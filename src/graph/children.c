/* What a block retains directly: its children in the dominator tree. */
#include "memscope/graph.h"

#define WHAT "what a block retains"

/* In preorder the next child comes where the one before it ends. */
ms_result ms_dominator_children(const struct ms_dominators *tree, uint32_t position, size_t most,
                                struct ms_children *children)
{
    *children = (struct ms_children){.tops.limit = most};
    if (position > tree->count)
        return NULL;
    struct ms_error *error = NULL;
    for (uint32_t p = position + 1; !error && p < tree->end[position]; p = tree->end[p]) {
        children->count++;
        error = ms_tops_add(&children->tops, tree->retained[p], p, WHAT);
    }
    ms_tops_cut(&children->tops);
    if (error)
        ms_tops_free(&children->tops);
    return error;
}
