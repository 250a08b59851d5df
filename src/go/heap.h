/* Private to src/go: what the parts of the Go heap share. */
#ifndef MEMSCOPE_GO_HEAP_H
#define MEMSCOPE_GO_HEAP_H

#include "memscope/goheap.h"

/* A piece of the address space that the heap has taken, and what describes it: runtime.heapArena.
 */
struct ms_go_arena {
    uint64_t start;   /* address of its memory */
    uint64_t address; /* of its heapArena */
};

struct ms_go_arenas {
    MS_VECTOR(struct ms_go_arena) list; /* sorted by start */
    uint64_t bytes;                     /* of each: heapArenaBytes */
    struct ms_go_place bitmap, no_more; /* in each: pointer bits, to 1.21 and in later ones without headers */
};

/* A special that matters to the collector. */
struct ms_go_special {
    enum { MS_GO_FINALIZER, MS_GO_CLEANUP, MS_GO_WEAK } kind;
    uint64_t slot;    /* address of the slot that it is about */
    uint64_t address; /* of its words that are roots … */
    uint32_t words;   /* … and how many they are */
};

struct ms_go_builder {
    struct ms_go *go;
    struct ms_image *image;
    struct ms_go_heap *heap;
    struct ms_go_arenas arenas;
    MS_VECTOR(struct ms_go_special) specials;
    MS_VECTOR(struct ms_root) roots;
    bool unreadable; /* something that matters could not be read */
};

/* spans.c: fills arenas alone; it needs go and image. */
ms_result ms_go_read_arenas(struct ms_go_builder *b);
/* spans.c: fills arenas, heap->spans and heap->marking. */
ms_result ms_go_read_spans(struct ms_go_builder *b);
/* spans.c: fills starts and live bits of the index, tallies, and the specials. */
ms_result ms_go_read_slots(struct ms_go_builder *b);
/* spans.c: bit INDEX of those at ADDRESS; false when it cannot be read. */
bool ms_go_bit(const struct ms_go *go, uint64_t address, uint32_t index);
/* spans.c: is slot INDEX of SPAN allocated? Garbage that is not swept is. */
bool ms_go_slot_allocated(const struct ms_go *go, const struct ms_go_span *span, uint32_t index);

/* pointers.c: fills the edges. */
ms_result ms_go_read_pointers(struct ms_go_builder *b);

/* roots.c: fills b->roots, but for those of finalizers. */
ms_result ms_go_read_roots(struct ms_go_builder *b);
/* ranks.c: of the variable that ADDRESS lies in. */
enum ms_root_rank ms_go_variable_rank(const struct ms_go *go, uint64_t address);
/* Adds WORD, which was found at ADDRESS, when it points into the heap. */
ms_result ms_go_add_root(struct ms_go_builder *b, enum ms_root_kind kind, pid_t tid,
                         uint64_t address, uint64_t word);

/* The target of WORD, or MS_NOTHING when it does not point into the heap. */
static inline uint64_t ms_go_target(const struct ms_heap *heap, uint64_t word)
{
    const struct ms_segment *s =
        heap->segments.count == 1 ? heap->segments.items : ms_heap_segment(heap, word);
    if (!s || word - s->start >= s->end - s->start)
        return MS_NOTHING;
    return 2 * s->first + ms_offset_words(heap, word - s->base);
}

#endif
