/* Private to src/graph: goes over the pointers of one block. */
#ifndef MEMSCOPE_EDGES_H
#define MEMSCOPE_EDGES_H

#include "memscope/heap.h"

struct ms_edges {
    uint64_t word, end; /* next word to look at, in words of the compact space */
};

static inline struct ms_edges ms_edges_of(const struct ms_heap *heap, uint64_t start)
{
    return (struct ms_edges){start * 2, ms_words_end(heap, start)};
}

/* The next target of a block, or MS_NOTHING at its end. */
static inline uint64_t ms_next_target(const struct ms_heap *heap, struct ms_edges *e)
{
    while (e->word < e->end) {
        const struct ms_line *line = &heap->lines[e->word / 64];
        uint64_t line_end = (e->word / 64 + 1) * 64;
        uint64_t bits = line->pointers & (UINT64_MAX << e->word % 64);
        if (!bits) {
            e->word = line_end;
            continue;
        }
        unsigned bit = (unsigned)__builtin_ctzll(bits);
        e->word = line_end - 64 + bit;
        if (e->word >= e->end)
            break;
        e->word++;
        return ms_target_at(heap, line->first + ms_pointers_before(line, bit));
    }
    e->word = e->end;
    return MS_NOTHING;
}

#endif
