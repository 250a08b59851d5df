/* The Go heap: its spans and objects, and the scan that analyses work on as they do on malloc's. */
#ifndef MEMSCOPE_GOHEAP_H
#define MEMSCOPE_GOHEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/gostacks.h"
#include "memscope/graph.h"

/* Bytes of a page of the Go heap (_PageSize in src/runtime/malloc.go), the same in all versions. */
#define MS_GO_PAGE 8192u
/* Classes of slots by size, the first of size 0 (_NumSizeClasses in src/runtime/sizeclasses.go, 1.17 to 1.26). */
#define MS_GO_SIZE_CLASSES 68u

/* Pages that are cut into slots of one size: runtime.mspan. */
struct ms_go_span {
    uint64_t start, end;           /* addresses of its pages, half-open */
    uint64_t address;              /* of the mspan */
    uint64_t slot;                 /* bytes of a slot, elemsize */
    uint32_t slots;                /* nelems */
    uint32_t free_index;           /* slots below are allocated, whatever the bits say */
    uint64_t allocated, marked;    /* addresses of the bits: allocBits, gcmarkBits */
    uint64_t specials, large_type; /* addresses: its list of specials, the type of its one object; or 0 */
    uint64_t inline_marks;         /* address of marks in the span itself, or 0 */
    uint8_t class;                 /* spanclass: the number of the size class, and the low bit */
    bool manual;                   /* no objects: stacks and what the runtime keeps */
    bool scanned;                  /* objects may have pointers */
    bool header;                   /* a slot begins with the address of its object's type */
    bool unswept;                  /* allocated slots that are not marked are garbage */
};

/* An object that nothing but its own finalizer keeps, which is to run when the collector finds that. */
struct ms_go_finalizable {
    uint64_t start;   /* granule */
    uint64_t special; /* address of the function in its runtime.specialfinalizer */
};

/* A Go heap as a scan. Blocks are objects: an object begins behind the header of its slot. */
struct ms_go_heap {
    const struct ms_go *go;
    struct ms_scan *scan;                /* owned; its roots are those of Go's collector */
    MS_VECTOR(struct ms_go_span) spans;  /* sorted by address */
    struct ms_reserve pointer_memory;    /* a uint32_t for each line of the index: words that the collector
                                            takes for pointers, null ones too; of free slots nothing */
    uint32_t *page_spans;                /* by page of the index: number of its span + 1, or 0; owned */
    struct ms_go_functions *functions;   /* owned */
    struct ms_go_goroutines *goroutines; /* owned; ms_root.tid is an index in their list */
    struct ms_tally live, garbage;       /* slots: allocated, and dead but not yet swept */
    struct ms_tally unreachable;         /* of the live ones, by ms_mark(); usable bytes */
    struct ms_tally young;               /* of the unreachable ones, by ms_go_is_young(); usable bytes */
    MS_VECTOR(struct ms_go_finalizable) finalizable;
    bool marking;                        /* the collector is at work */
    bool unreadable;                     /* parts of it could not be read: what looks unreachable may not be */
    uint16_t size_classes[MS_GO_SIZE_CLASSES];
};

/* Bytes of a slot of each class. */
void ms_go_size_classes(const struct ms_go *go, uint16_t sizes[MS_GO_SIZE_CLASSES]);

/* Bytes of the slot that an allocation of SIZE gets, a header included (src/runtime/msize.go: roundupsize). */
uint64_t ms_go_slot_size(const struct ms_go_heap *heap, uint64_t size);

/*
 * Reads the heap of IMAGE, which must be full, and marks what is reachable. What
 * is reachable only by way of a finalizer that is still to run counts as reachable.
 * GO must outlive it. MS_TARGET when the image is lean.
 */
ms_result ms_go_heap_new(struct ms_go *go, struct ms_image *image, struct ms_go_heap **heap);
void ms_go_heap_free(struct ms_go_heap *heap);

/*
 * Takes out of the roots of SCAN, which is malloc's of the same IMAGE and not marked yet, what Go cannot read any more:
 * words of objects that nothing reaches, of free slots and spans, and of stacks below what is in use. What only these
 * hold is lost. Does nothing when not all of Go's heap could be read.
 */
ms_result ms_go_drop_stale(const struct ms_go_heap *heap, const struct ms_image *image, struct ms_scan *scan);

/* The span that holds ADDRESS, or NULL. */
const struct ms_go_span *ms_go_heap_span(const struct ms_go_heap *heap, uint64_t address);

/* The span that GRANULE of the index is in, or NULL. */
static inline const struct ms_go_span *ms_go_granule_span(const struct ms_go_heap *heap, uint64_t granule)
{
    const uint32_t number = heap->page_spans[ms_granule_bytes(&heap->scan->heap, granule) / MS_GO_PAGE];
    return number ? &heap->spans.items[number - 1] : NULL;
}

/* Is the word that begins at GRANULE of the index one that the collector takes for a pointer? */
static inline bool ms_go_heap_is_pointer(const struct ms_go_heap *heap, uint64_t granule)
{
    const uint32_t *map = (const uint32_t *)(const void *)heap->pointer_memory.base;
    return map[granule / MS_LINE_GRANULES] >> granule % MS_LINE_GRANULES & 1;
}

/*
 * Was the live object that holds ADDRESS allocated since the last collection? One that the collector has marked, or
 * that was allocated while it marked, was not. Before the first collection all are young.
 */
bool ms_go_is_young(const struct ms_go_heap *heap, uint64_t address);

/*
 * The type that the allocator has kept of the object that starts at ADDRESS, as the address of its
 * abi.Type, or 0: it keeps none. Of an array that is the type of its elements.
 */
uint64_t ms_go_object_type(const struct ms_go_heap *heap, uint64_t address);

#endif
