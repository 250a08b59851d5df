/* The graph: roots, edges between blocks, and what is reachable from what. */
#ifndef MEMSCOPE_GRAPH_H
#define MEMSCOPE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/capture.h"
#include "memscope/heap.h"
#include "memscope/image.h"
#include "memscope/tops.h"

enum ms_root_kind {
    MS_ROOT_DATA,     /* writable data of a module */
    MS_ROOT_STACK,    /* a thread's stack, from its stack pointer less the red zone; TLS too */
    MS_ROOT_REGISTER, /* general or vector register of a thread */
    MS_ROOT_ANON,     /* anonymous map that is no heap and no stack */
    MS_ROOT_SHARED,   /* shared writable map */
    MS_ROOT_KERNEL,   /* a pointer that only the kernel keeps: epoll, timer */
    MS_ROOT_DTV,      /* glibc's own vector of TLS blocks */
    MS_ROOT_GOROUTINE, /* a goroutine's stack: tid is its index in ms_go_heap.goroutines */
    MS_ROOT_FINALIZER, /* Go: something that is to be called when an object has died */
    MS_ROOT_RUNTIME,   /* what Go's runtime keeps outside its heap */
    MS_ROOT_KINDS
};

/* How much the name of a variable that holds a block says, the best first. */
enum ms_root_rank {
    MS_RANK_OWN,     /* the program's own, or not known whose; all roots that are no variables */
    MS_RANK_OTHER,   /* of a package that it uses */
    MS_RANK_LIBRARY, /* of the language's library */
    MS_RANK_INSIDE,  /* of the runtime: a way through such a variable is told of when there is no other */
};

/* A range of memory whose words are roots. */
struct ms_root_range {
    uint64_t start, end;
    enum ms_root_kind kind;
    pid_t tid; /* whose stack, else 0 */
    bool keep; /* a lean image keeps its bytes too */
    uint64_t chunks_before; /* words below this may point to blocks by their chunks, see ms_root.chunk */
};

/* A word that is a root and points into the heap. */
struct ms_root {
    uint64_t address; /* of the word; of a register its index, of the kernel's that in kernel_pointers */
    uint64_t target;  /* as in heap.h */
    pid_t tid;        /* for registers and stacks; see MS_ROOT_GOROUTINE */
    uint8_t kind;     /* enum ms_root_kind */
    bool exact;       /* as good as a start pointer */
    bool chunk;       /* of a thread inside the allocator, which knows blocks by their headers */
    uint8_t rank;     /* enum ms_root_rank */
};

/* Blocks and usable bytes. */
struct ms_reach {
    struct ms_tally reachable, possible, lost; /* lost: neither */
};

/* What a scan of an image gives: the heap's blocks, their edges, and the roots. */
struct ms_scan {
    struct ms_heap heap;
    MS_VECTOR(struct ms_root_range) ranges;
    struct ms_root *roots; /* owned by the scan */
    size_t root_count;
    MS_VECTOR(struct ms_hole) cached_stacks; /* of threads that have ended: no roots */
    bool marked;            /* by ms_mark() */
    struct ms_reach reach;  /* … and what it found */
    struct ms_scan_workers *workers; /* private */
    const struct ms_go_heap *go; /* goheap.h: whose scan this is; NULL: malloc's */
};

/* Makes an empty scan; ms_scan_sink() is then given to ms_capture() or ms_open_core(). */
ms_result ms_scan_new(struct ms_scan **scan);
struct ms_sink *ms_scan_sink(struct ms_scan *scan);
void ms_scan_free(struct ms_scan *scan);

/* After the capture: settles the heap and collects the roots. The target is not needed any more. */
ms_result ms_scan_finish(struct ms_scan *scan, struct ms_image *image);

/* The address in a module's read-only data that TARGET stands for, or 0. */
uint64_t ms_scan_module_address(const struct ms_scan *scan, uint64_t target);

/* The target of the first word of START's block, or MS_NOTHING when that word is no pointer. */
uint64_t ms_first_target(const struct ms_scan *scan, uint64_t start);

/*
 * Marks every live block as reached (chain of start pointers from a root), maybe
 * (some link is interior and nothing vouches for it) or neither, as memcheck
 * does. Free chunks keep nothing alive. Another call tells what the first one found.
 */
ms_result ms_mark(struct ms_scan *scan, struct ms_reach *reach);

/* After ms_mark(): what is reachable from roots that were added since, from number FIRST on, too. */
ms_result ms_mark_more(struct ms_scan *scan, size_t first, struct ms_reach *reach);

/* A lost block that no other lost block holds, or one chosen of a ring of them. */
struct ms_leader {
    uint64_t start;         /* granule */
    uint64_t bytes;         /* usable, own */
    uint64_t indirect_blocks, indirect_bytes; /* of what only it (or an earlier leader too) holds */
    bool ring;              /* it is part of a cycle of lost blocks */
};
struct ms_lost {
    MS_VECTOR(struct ms_leader) leaders;
    struct ms_tally definite, indirect;
    uint64_t *starts;  /* every lost block's granule, sorted; owned */
    uint32_t *leader;  /* for each, index of the leader it is counted under; owned */
    size_t count;
};

/* Finds leaders among the blocks that ms_mark() left unmarked. */
ms_result ms_find_lost(struct ms_scan *scan, struct ms_lost *lost);
void ms_lost_free(struct ms_lost *lost);


/*
 * The dominator tree of all reachable blocks, in preorder: the blocks that a
 * block retains (that would be lost with it) are those that follow it up to its
 * end. Every pointer counts as an edge, as it does for ms_mark(). Position 0 is
 * a virtual root that points wherever a root does. 28 bytes a block, and a 128th
 * of the heap's bytes.
 */
struct ms_dominators {
    uint32_t count;            /* blocks; their positions are 1 to COUNT */
    const uint32_t *end;       /* by position: the first one behind what it retains */
    const uint32_t *dominator; /* by position: the nearest that all ways to it lead through; 0 for 0 */
    const uint64_t *start;     /* by position: granule; 0 for the root */
    const uint64_t *retained;  /* by position: usable bytes of it and all that it retains */
    const uint32_t *rank;      /* by line of the index: reachable blocks before it */
    const uint32_t *position;  /* by rank of a block */
    struct ms_reserve memory[6]; /* what these six point into; owned */
};

/*
 * Makes the tree of the blocks that ms_mark() has marked. Meanwhile it takes 32
 * bytes a block, or 24 and 4 for each pointer between blocks, whichever is more.
 * MS_TARGET when there is not that much memory.
 */
ms_result ms_find_dominators(const struct ms_scan *scan, struct ms_dominators *tree);
void ms_dominators_free(struct ms_dominators *tree);

/* The position of the block that starts at granule START, or 0 when no live, reachable one does. */
uint32_t ms_dominator_position(const struct ms_dominators *tree, const struct ms_heap *heap,
                               uint64_t start);

/* Blocks that one retains directly: children in the tree. */
struct ms_children {
    struct ms_tops tops; /* the biggest: weight is what each retains, item its position; owned */
    uint64_t count;      /* of all of them */
};

/* The MOST that retain most of the children of POSITION; goes over all of them. */
ms_result ms_dominator_children(const struct ms_dominators *tree, uint32_t position, size_t most,
                                struct ms_children *children);

/* Addresses of words that are roots, half-open. */
struct ms_together_roots {
    uint64_t start, end;
};

/* What some blocks and roots retain together. */
struct ms_together {
    struct ms_tally all;  /* the blocks themselves too */
    uint32_t first, end;  /* positions outside of [first, end) are none of it */
    uint8_t *marks;       /* private; owned */
};

/*
 * What would be lost without the COUNT blocks at positions BLOCKS (none is 0) and the roots that lie in ROOTS
 * (sorted, apart): more than the sum of what each retains, as what several of them hold is part of it. Exact: of
 * Go's heap, where each pointer counts, marks anew what their nearest common dominator retains. A bit a block.
 */
ms_result ms_find_together(const struct ms_scan *scan, const struct ms_dominators *tree, const uint32_t *blocks,
                           size_t count, const struct ms_together_roots *roots, size_t root_count,
                           struct ms_together *together);
/* Is the block at POSITION part of it? */
bool ms_together_has(const struct ms_together *together, uint32_t position);
void ms_together_free(struct ms_together *together);

/* --- paths: who holds a block ------------------------------------------------------------------ */

/* A pointer to a block. */
struct ms_pointer {
    const struct ms_root *root; /* NULL: a block holds it */
    uint64_t holder;            /* that block's start */
    uint64_t offset;            /* bytes from there to the word */
    int64_t into;               /* where it points to, from the start of the block it points to */
};
/*
 * Calls VISIT for each root that points to the block at START, in the order of
 * the roots, then for each live block that does, itself too, in the order of addresses.
 */
typedef void ms_pointer_visitor(void *context, const struct ms_pointer *pointer);
void ms_each_pointer_to(const struct ms_scan *scan, uint64_t start, ms_pointer_visitor *visit, void *context);

/* Negative when A is the root to name rather than B: variables first, registers last; then by rank, by address. */
int ms_root_compare(const struct ms_root *a, const struct ms_root *b);

/* A block on the way from a root. */
struct ms_step {
    uint64_t start;
    uint64_t offset; /* of the word in it that points to the next step; MS_NOTHING in the last */
    int64_t into;    /* where the word before it points to, from its start; 0 where there is none */
};
struct ms_chain {
    const struct ms_root *root; /* NULL: it begins with a lost block */
    MS_VECTOR(struct ms_step) steps; /* at least one */
};
struct ms_chains {
    MS_VECTOR(struct ms_chain) list; /* shortest first, but those from roots inside of a runtime last */
};

/*
 * Up to MOST chains to the live block at START, of different roots, each the
 * shortest from its root. To a reached block all links are what ms_mark() goes
 * by for certain; to one that is `maybe`, any. LEADER is where the one chain to a
 * lost block begins, else MS_NOTHING. Needs a scan that was marked; takes 12
 * bytes for each block that is nearer to the roots than START, and a bit a granule.
 */
ms_result ms_find_chains(const struct ms_scan *scan, uint64_t start, uint64_t leader, size_t most,
                         struct ms_chains *chains);
void ms_chains_free(struct ms_chains *chains);

#endif
