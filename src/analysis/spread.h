/* Private to src/analysis: the table of what blocks are, shared by what fills it. */
#ifndef MEMSCOPE_SPREAD_H
#define MEMSCOPE_SPREAD_H

#include "memscope/typing.h"
#include "shape.h"

/* What is known of a block, from the weakest to the strongest; a block only rises. */
enum ms_level {
    MS_LEVEL_NONE,
    MS_LEVEL_INSIDE,   /* a structure lies in it, at `at`: for guesses */
    MS_LEVEL_GUESS,
    MS_LEVEL_RAW,      /* numbers or bytes, perhaps the beginning of anything */
    MS_LEVEL_OPAQUE,   /* a structure that is only declared */
    MS_LEVEL_POINTERS, /* an array of pointers, perhaps the beginning of a structure */
    MS_LEVEL_VALUE,    /* a structure */
    MS_LEVEL_VTABLE,
};

struct ms_slot {
    uint32_t type;          /* id + 1; 0: none */
    unsigned level : 3;     /* enum ms_level */
    unsigned strong : 1;    /* not from a local variable, which may be stale */
    unsigned container : 1; /* a container says so */
    unsigned array : 1;     /* as many as fit, not one and a tail */
    unsigned table : 1;     /* … and behind them the control bytes of a hash table */
    unsigned partial : 1;   /* only a part is in use: see struct ms_typing.used */
    unsigned contested : 1; /* equals contradicted each other */
    unsigned queued : 2;    /* a bit for each queue */
    unsigned changes : 3;
    unsigned at : 18;       /* units of 8 bytes */
};
_Static_assert(sizeof(struct ms_slot) == 8, "8 bytes a block are promised in typing.h");
#define MS_SLOT_AT_MAX ((1u << 18) - 1)

/* A pointer that says what it points to. */
struct ms_claim {
    uint64_t target; /* as in heap.h */
    const struct ms_type *type; /* complete */
    uint8_t how;     /* enum ms_link_how */
    bool strong;     /* not from a local variable */
    bool guess;
    bool doubtful;   /* the word itself may be stale: a local, or a variant whose tag is not known */
    bool chosen;     /* from several that it might be, by size: good for a guess alone */
    bool settled;    /* … but is of a kind that seldom is: a parameter */
    bool partial;    /* only the bytes [from, to) of it are in use */
    uint64_t from, to;
};

/* Blocks that are to be spread, first in first out; each is in it once at most. */
struct ms_block_queue {
    struct ms_reserve memory;
    uint64_t *items; /* granules */
    uint64_t in, out, size;
};

/* A value inside of a block, which is not what the block is. */
struct ms_inner_value {
    uint64_t target;
    const struct ms_type *type;
    bool strong, guess;
};

#define MS_CLAIMS_AHEAD 32u
enum { MS_QUEUE_VALUES, MS_QUEUE_POINTERS, MS_QUEUES };

struct ms_typing {
    struct ms_scan *scan;
    const struct ms_heap *heap;
    const struct ms_image *image;
    struct ms_symbols *symbols;
    enum ms_typing_scope scope;
    struct ms_shapes shapes;
    struct ms_reserve rank_memory, slot_memory;
    uint32_t *rank;        /* by line of the index: blocks in scope before it */
    struct ms_slot *slots; /* by rank of a block */
    uint64_t count;
    struct ms_block_queue queue[MS_QUEUES];
    MS_VECTOR(struct ms_inner_value) inner; /* still to be spread from `inner_out` on */
    size_t inner_out;
    struct ms_map inner_seen; /* by target and type */
    struct ms_map used;       /* by start: from << 32 | to, units of 8 bytes */
    struct ms_map vtables;    /* by target: see vtable_class() */
    struct ms_map texts;      /* by what is said: see text.c */
    void *words;              /* tree of strings; owned */
    MS_VECTOR(struct ms_claim) doubtful; /* only good for guesses */
    struct ms_claim ahead[MS_CLAIMS_AHEAD]; /* wait for their memory */
    uint64_t ahead_in, ahead_out;
    struct ms_tally share[MS_EVIDENCES];
    struct ms_go_typing *go; /* of a Go heap, else NULL; owned */
    bool failed; /* memory was short */
};

/* Which blocks of a line are in scope. */
static inline uint32_t ms_scope_bits(const struct ms_typing *t, const struct ms_line *line)
{
    uint32_t live = line->starts & line->live;
    return t->scope == MS_TYPE_LOST ? live & ~(line->reached | line->maybe) : live;
}

/* The slot of START's block, or NULL when that is not in scope. */
static inline struct ms_slot *ms_slot_of(const struct ms_typing *t, uint64_t start)
{
    uint32_t bits = ms_scope_bits(t, &t->heap->lines[start / MS_LINE_GRANULES]);
    if (!ms_bit(bits, start))
        return NULL;
    return &t->slots[t->rank[start / MS_LINE_GRANULES] +
                     (uint32_t)__builtin_popcount(bits & ((1u << start % MS_LINE_GRANULES) - 1))];
}

/* Usable bytes of the block at START. */
static inline uint64_t ms_usable(const struct ms_heap *heap, uint64_t start)
{
    return ms_word_bytes(heap, ms_words_end(heap, start) - start * 2);
}

/* The start of the block that the word TARGET lies in, when that is in scope. */
static inline struct ms_slot *ms_target_slot(const struct ms_typing *t, uint64_t target, uint64_t *start)
{
    if (target >= 2 * t->heap->granules)
        return NULL;
    *start = ms_start_of(t->heap, target / 2);
    return ms_slot_of(t, *start);
}

static inline const struct ms_type *ms_slot_type(const struct ms_typing *t, const struct ms_slot *slot)
{
    return slot->type ? ms_type_by_id(t->shapes.types, slot->type - 1) : NULL;
}

/*
 * Usable bytes of the block that malloc(SIZE) gives: malloc/malloc.c of glibc, chunks are multiples of
 * 16 bytes, 8 of them overhead, at least 32.
 */
static inline uint64_t ms_usable_for(uint64_t size)
{
    uint64_t usable = (size + 8 + 15) / 16 * 16 - 8;
    return usable < 24 ? 24 : usable;
}

/* Does malloc give USABLE bytes, or a few more as it does when it cannot split a chunk, when asked for SIZE? */
bool ms_fits(uint64_t size, uint64_t usable);

/* Would TARGET do for what LINK points to, and not by chance? */
bool ms_is_likely(struct ms_typing *t, const struct ms_link *link, uint64_t target);

/* How many buckets a Rust hash table of values of SIZE has; 0: it is none. CONTROL: where its bytes begin. */
uint64_t ms_table_buckets(uint64_t size, uint64_t usable, uint64_t *control);

/* Does what the words of a value of SHAPE at TARGET point to agree with it? AGREED: how many say so. */
bool ms_agrees(struct ms_typing *t, const struct ms_shape *shape, uint64_t target, unsigned *agreed);

/* Takes a claim; follows all that comes of those taken. */
void ms_claim(struct ms_typing *t, const struct ms_claim *claim);
void ms_settle_claims(struct ms_typing *t);

/* Claims all that the pointers of a value of TYPE at the word TARGET of the heap point to. */
void ms_spread_value(struct ms_typing *t, const struct ms_type *type, uint64_t target, bool strong, bool guess);

/*
 * The claim that the pointer at OFFSET of a value of SHAPE makes when it points to TARGET; false when it
 * makes none, or it cannot be told which of several it is. The value is at ADDRESS; it begins with the word
 * VALUE of the heap, or that is MS_NOTHING.
 */
bool ms_link_claim(struct ms_typing *t, const struct ms_shape *shape, const struct ms_link *link,
                   uint64_t address, uint64_t value, uint64_t target, struct ms_claim *claim);

/* typing.c: calls VISIT for each block in scope until it gives an error, and now and then the progress. */
typedef struct ms_error *ms_block_visitor(struct ms_typing *t, void *context, uint64_t start);
ms_result ms_each_block(struct ms_typing *t, ms_block_visitor *visit, void *context);

/* Makes START's block a guess of TYPE, when it is not known better. */
void ms_guess_block(struct ms_typing *t, uint64_t start, const struct ms_type *type);

/* typing_seeds.c: claims from vtables; from the classes of objects of Python; from variables; from the locals of every frame. */
ms_result ms_seed_vtables(struct ms_typing *t);
ms_result ms_seed_python(struct ms_typing *t);
ms_result ms_seed_variables(struct ms_typing *t);
ms_result ms_seed_locals(struct ms_typing *t);

/* guess.c: guesses for what nothing claims. */
ms_result ms_guess(struct ms_typing *t);

#endif
