/* The heap: segments of blocks that an allocator's walker found, and the index of blocks and edges. */
#ifndef MEMSCOPE_HEAP_H
#define MEMSCOPE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/capture.h"
#include "memscope/image.h"
#include "memscope/memory.h"

/*
 * All segments lie one behind another in one *compact space*, counted in
 * granules of 16 bytes, or of 8 where blocks may start at each 8 bytes (see
 * ms_heap.fine); granule 0 is never part of a block. Everything per granule is a
 * bit in a line; edges are offsets in the compact space, in *words* of half a
 * granule. The sizes below are those of granules of 16 bytes.
 */
#define MS_GRANULE 16u
#define MS_LINE_GRANULES 32u                               /* granules a line: 512 bytes of heap */
#define MS_PANE_LINES 128u                                 /* lines a pane: 64 KiB of heap */
#define MS_PANE (MS_PANE_LINES * MS_LINE_GRANULES * MS_GRANULE) /* bytes; segments' bases align to it */
#define MS_PANE_GRANULES (MS_PANE / MS_GRANULE)
#define MS_NOTHING UINT64_MAX                              /* no such granule, no such target */

/* What is known of 512 bytes of heap. 32 bytes, so a block's facts come with one cache miss. */
struct ms_line {
    uint64_t pointers; /* words that hold a target; bit 0 is the lowest address */
    uint32_t starts;   /* granules where a chunk's user part starts, live or not; also a gap's start */
    uint32_t live;     /* of these, blocks the program owns */
    uint32_t reached;  /* of these, reachable by start pointers */
    uint32_t maybe;    /* of these, reachable with an interior pointer on the way */
    uint32_t vouched;  /* granules whose second word (+8) is as good as the block's start */
    uint32_t first;    /* index of this line's first target in ms_heap.targets */
};

/* 64 KiB of heap: whose it is, and how to find a block that started earlier. */
struct ms_pane {
    uint32_t segment; /* index */
    uint32_t back;    /* granules from the pane's first one back to the last start before it */
};

enum ms_segment_kind {
    MS_SEGMENT_ARENA,  /* chunks, one behind another */
    MS_SEGMENT_MAPPED, /* one block in a mapping of its own */
};

/* A contiguous area that an allocator has cut into chunks. */
struct ms_segment {
    uint64_t start, end; /* addresses, half-open: start is the first chunk's header */
    uint64_t base;       /* start rounded down to MS_PANE: the address of granule `first` */
    uint64_t first;      /* granule */
    uint32_t arena;      /* index into ms_heap.arenas */
    enum ms_segment_kind kind;
    uint32_t tail;       /* bytes at its end that are not usable, of a mapped block */
    uint64_t next;       /* walker: address of the next chunk header */
    uint64_t last;       /* walker: granule of the last start, MS_NOTHING at first */
    uint64_t inspect;    /* walker: address of a block whose first words come in the next window */
    uint64_t top;        /* address of the arena's top chunk if it is here, else 0 */
    uint64_t lost_at;    /* walker: where it lost the chunks and looks for them since, else 0 */
    bool foreign;        /* walker: what it lost is somebody else's memory, not damage */
    bool fenced;         /* walker: the last chunk was a fence */
    bool bad_top;        /* walker: the top chunk's size makes no sense */
};

/* How the bytes of an arena divide. They add up to `system`. */
enum ms_class {
    MS_CLASS_LIVE,
    MS_CLASS_FREE,     /* in a small, large or unsorted bin */
    MS_CLASS_TCACHE,
    MS_CLASS_FASTBIN,
    MS_CLASS_TOP,
    MS_CLASS_OVERHEAD, /* headers of the arena and heap, fences, alignment */
    MS_CLASS_UNKNOWN,  /* skipped: corrupt or not readable */
    MS_CLASS_GARBAGE,  /* Go: dead, and not swept yet */
    MS_CLASS_RUNTIME,  /* Go: stacks, and what its runtime keeps in the heap */
    MS_CLASSES
};
extern const char *const ms_class_names[MS_CLASSES]; /* "live", "free", … */

struct ms_tally {
    uint64_t blocks, bytes;
};

struct ms_arena {
    uint64_t address; /* of its malloc_state; 0 for the set of mapped blocks */
    bool mapped;      /* stands for the mmapped blocks */
    uint64_t system;  /* bytes it has from the system, by its own account */
    uint64_t walked;  /* bytes of its segments, as found */
    struct ms_tally classes[MS_CLASSES]; /* in bytes of chunks, headers included */
    uint64_t resident[MS_CLASSES];       /* of these bytes, resident; filled by ms_memstats() */
    uint64_t trimmable; /* resident bytes of whole free pages: malloc_trim(0) would return them */
    bool locked;      /* its mutex was held in the stop */
};

/* A range that holds the allocator's own pointers: neither block nor root. */
struct ms_hole {
    uint64_t start, end;
};

/* A pointer that is as good as a start pointer wherever into its block it points. */
struct ms_exact_root {
    uint64_t value;
    uint64_t address; /* where it was found, 0 for a register or the kernel */
    const char *what; /* static: "dtv", "epoll", … */
};

/* First bytes of a block that looks like text or a struct addrinfo, taken while it passed by. */
#define MS_SAMPLE 48u
struct ms_sample {
    uint64_t granule; /* of the block's start */
    uint8_t bytes[MS_SAMPLE];
};

/* Part of a segment that is no chunk: memory that others took by sbrk, or skipped as corrupt. */
struct ms_gap {
    uint64_t start, end; /* addresses */
    bool foreign;        /* not the allocator's, and not a fault */
};

struct ms_heap;

/* An allocator: one file in src/heap, one line in the table of heap.c. */
struct ms_allocator {
    const char *name;
    /*
     * In the stop: is it there? Fills segments (start, end, arena, kind, tail, top; in any order),
     * arenas, holes, exact roots. FOUND false: not this one.
     */
    struct ms_error *(*discover)(struct ms_heap *heap, struct ms_image *image, bool *found);
    /* In the stop, in address order: marks starts and live blocks of a window of a segment. */
    void (*walk)(struct ms_heap *heap, struct ms_segment *segment, const struct ms_window *window);
    /* After the stop: takes cached chunks from the live ones (clears `live`), checks sums. */
    struct ms_error *(*settle)(struct ms_heap *heap, struct ms_image *image);
    /* Class of a chunk that is not live. */
    enum ms_class (*class_of)(const struct ms_heap *heap, const struct ms_segment *segment, uint64_t start);
    /*
     * Can this unreachable block be a free chunk on its way between the allocator's lists? Asked
     * when a thread was inside; its first word is then a link. May be NULL.
     */
    bool (*in_transit)(const struct ms_heap *heap, uint64_t start);
    /* Frees what the allocator keeps in heap->state. */
    void (*release)(struct ms_heap *heap);
};

struct ms_heap {
    const struct ms_allocator *allocator; /* NULL when none was recognised */
    char description[64];                 /* "glibc 2.36", "jemalloc (not known yet)" */
    void *state;                          /* the allocator's own; owned through release() */
    MS_VECTOR(struct ms_segment) segments; /* sorted by address */
    MS_VECTOR(struct ms_arena) arenas;
    MS_VECTOR(struct ms_hole) holes;
    MS_VECTOR(struct ms_exact_root) exact_roots;
    MS_VECTOR(struct ms_gap) gaps; /* their words are roots */
    MS_VECTOR(struct ms_sample) samples;   /* sorted by granule after settling */
    bool samples_thinned;                  /* they were too many: only some text blocks have one */

    /* The index; lines and panes are reservations of the whole compact space. */
    struct ms_reserve line_reserve, pane_reserve, target_reserve;
    struct ms_line *lines; /* = line_reserve.base */
    struct ms_pane *panes;
    uint8_t *targets;      /* of all lines, edge_width bytes each */
    uint32_t tail;       /* bytes before the next start in a segment that are not usable: its header */
    unsigned fine;       /* granules are of 16 >> fine bytes: 0 for malloc, 1 for Go */
    bool interior_holds; /* a pointer to anywhere in a block is as good as one to its start */
    uint64_t granules;   /* of all segments; edges below 2 * granules are blocks */
    unsigned edge_width; /* bytes an edge takes in targets: 4, or 5 beyond 32 GiB */

    uint64_t code_start, code_end; /* of the module that the allocator is in */
    uint64_t pointer_guard; /* glibc's PTR_MANGLE key, 0 when it has none */
    bool busy;              /* an arena was locked in the stop, or the only thread was inside */
    bool inside;            /* the only thread was in the allocator's module, not waiting in the kernel */
    bool inconsistent;      /* something did not add up: another stop may do better */
};

/*
 * Before the stop: reserves the index for compact space of up to BYTES and
 * populates what RESIDENT bytes of heap will need. Forgets what a former stop found.
 */
ms_result ms_heap_prepare(struct ms_heap *heap, uint64_t bytes, uint64_t resident);

/* In the stop: finds the allocator, lets it discover, and lays its segments out in the compact space. */
ms_result ms_heap_discover(struct ms_heap *heap, struct ms_image *image);

/* After the stop: how far back each pane's last start is; the allocator settles; tallies. */
ms_result ms_heap_settle(struct ms_heap *heap, struct ms_image *image);

/* Frees what the heap owns, not the struct. */
void ms_heap_release(struct ms_heap *heap);

/* For allocators. */
/* Gives the segments that were added their places in the compact space. */
ms_result ms_heap_lay_out(struct ms_heap *heap);
ms_result ms_heap_add_segment(struct ms_heap *heap, const struct ms_segment *segment);
void ms_heap_mark_start(struct ms_heap *heap, uint64_t granule);
void ms_heap_mark_live(struct ms_heap *heap, uint64_t granule, bool live);
void ms_heap_add_gap(struct ms_heap *heap, uint64_t start, uint64_t end, bool foreign);
/* Class of the chunk that starts at granule START: what the tallies count it as. */
enum ms_class ms_chunk_class(const struct ms_heap *heap, uint64_t start);

/* --- the index: addresses, granules, blocks --------------------------------------------------- */

/* Bytes of COUNT granules, and of COUNT words; how many words BYTES of whole 8 are. */
static inline uint64_t ms_granule_bytes(const struct ms_heap *heap, uint64_t count)
{
    return count << (4 - heap->fine);
}

static inline uint64_t ms_word_bytes(const struct ms_heap *heap, uint64_t count)
{
    return count << (3 - heap->fine);
}

static inline uint64_t ms_bytes_words(const struct ms_heap *heap, uint64_t bytes)
{
    return bytes / 8 << heap->fine;
}

/* Bytes that a chunk begins before its block. */
static inline uint64_t ms_header_bytes(const struct ms_heap *heap)
{
    return heap->fine ? 0 : MS_GRANULE;
}

/* Words from the base of a segment to OFFSET bytes behind it; an unaligned one goes to the odd word of its granule. */
static inline uint64_t ms_offset_words(const struct ms_heap *heap, uint64_t offset)
{
    return offset % 8 ? offset >> (4 - heap->fine) << 1 | 1 : offset >> (3 - heap->fine);
}

static inline uint64_t ms_granule_address(const struct ms_heap *heap, uint64_t granule)
{
    const struct ms_segment *s = &heap->segments.items[heap->panes[granule / MS_PANE_GRANULES].segment];
    return s->base + ms_granule_bytes(heap, granule - s->first);
}

static inline const struct ms_segment *ms_granule_segment(const struct ms_heap *heap, uint64_t granule)
{
    return &heap->segments.items[heap->panes[granule / MS_PANE_GRANULES].segment];
}

/* The segment that holds ADDRESS, or NULL. */
struct ms_segment *ms_heap_segment(const struct ms_heap *heap, uint64_t address);

/* After settling: the gap that holds ADDRESS, or NULL. */
const struct ms_gap *ms_heap_gap(const struct ms_heap *heap, uint64_t address);

/* The granule that holds ADDRESS, which lies in SEGMENT. */
static inline uint64_t ms_address_granule(const struct ms_heap *heap, const struct ms_segment *segment,
                                          uint64_t address)
{
    return segment->first + ((address - segment->base) >> (4 - heap->fine));
}

/* The granule behind the last one of SEGMENT. */
static inline uint64_t ms_segment_end(const struct ms_heap *heap, const struct ms_segment *segment)
{
    return ms_address_granule(heap, segment, segment->end + (MS_GRANULE >> heap->fine) - 1);
}

static inline bool ms_bit(uint32_t bits, uint64_t granule)
{
    return bits >> (granule % MS_LINE_GRANULES) & 1;
}

/* The start of what GRANULE is part of (live or not): at or before it. */
static inline uint64_t ms_start_of(const struct ms_heap *heap, uint64_t granule)
{
    uint64_t line = granule / MS_LINE_GRANULES;
    uint32_t starts = heap->lines[line].starts & (UINT32_MAX >> (31 - granule % MS_LINE_GRANULES));
    while (!starts) {
        if (line % MS_PANE_LINES == 0)
            return line * MS_LINE_GRANULES - heap->panes[line / MS_PANE_LINES].back;
        starts = heap->lines[--line].starts;
    }
    return line * MS_LINE_GRANULES + 31 - (unsigned)__builtin_clz(starts);
}

/* The start that follows START in its segment, or the segment's end rounded up, as a granule. */
uint64_t ms_next_start(const struct ms_heap *heap, uint64_t start);

/* Usable bytes of the block that starts at START, as malloc_usable_size() says. */
uint64_t ms_block_size(const struct ms_heap *heap, uint64_t start);

/* The word behind the last usable one of START's block: mostly the next start is in the same line. */
static inline uint64_t ms_words_end(const struct ms_heap *heap, uint64_t start)
{
    uint32_t later = heap->lines[start / MS_LINE_GRANULES].starts >> start % MS_LINE_GRANULES >> 1;
    if (!later)
        return start * 2 + ms_bytes_words(heap, ms_block_size(heap, start));
    return (start + 1 + (unsigned)__builtin_ctz(later)) * 2 - ms_bytes_words(heap, heap->tail);
}

/* Bytes that START's block began with in the stop, or NULL when none were taken. */
const struct ms_sample *ms_block_sample(const struct ms_heap *heap, uint64_t start);

/*
 * A target is where a pointer points to in the compact space, in words of it.
 * An unaligned pointer is moved to the odd word of its granule: it stays an
 * interior one. Targets at or above 2 * heap->granules are in read-only
 * parts of modules (vtables), see ms_scan.
 */
static inline uint64_t ms_target_at(const struct ms_heap *heap, uint64_t index)
{
    uint64_t raw;
    __builtin_memcpy(&raw, heap->targets + index * heap->edge_width, sizeof raw);
    return raw & (UINT64_MAX >> (64 - 8 * heap->edge_width));
}

/* How many words of the line of WORD hold a target and lie before it. */
static inline unsigned ms_pointers_before(const struct ms_line *line, uint64_t word)
{
    return (unsigned)__builtin_popcountll(line->pointers & ((1ull << word % 64) - 1));
}

/* The target that word WORD of the compact space (2 a granule) holds, or MS_NOTHING. */
static inline uint64_t ms_word_target(const struct ms_heap *heap, uint64_t word)
{
    const struct ms_line *line = &heap->lines[word / 64];
    if (!(line->pointers >> word % 64 & 1))
        return MS_NOTHING;
    return ms_target_at(heap, line->first + ms_pointers_before(line, word));
}

#endif
