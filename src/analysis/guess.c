/* Guesses: what a block may be that nothing claims, when only one structure fits its size and pointers. */
#include <stdlib.h>

#include "spread.h"

/* More structures of one size than this, and a guess among them is worth nothing. */
#define CANDIDATES_MAX 256u
/* So many blocks of one size are compared with all candidates, the others with those that any of these may be. */
#define LOOKED_AT_MAX 10000u
/* Share of bytes that must be without a type before all debug information is read for guesses. */
#define UNTYPED_SHARE 50u

struct candidate {
    uint64_t usable; /* of a block that malloc gives for it */
    const struct ms_type *type;
    bool live;   /* some block is one for certain */
    bool suited; /* some block was looked at that it may be */
    uint64_t looked_at; /* of the first of a size: blocks of that size that were compared with all */
};

struct guesser {
    struct ms_typing *t;
    MS_VECTOR(struct candidate) list; /* by usable size */
};

static int candidates_by_size(const void *a, const void *b)
{
    const struct candidate *c = a, *d = b;
    if (c->usable != d->usable)
        return c->usable < d->usable ? -1 : 1;
    return c->type->id < d->type->id ? -1 : c->type->id > d->type->id;
}

/* --- candidates -------------------------------------------------------------------------------- */

/* One byte for each type that some block is for certain. */
static uint8_t *mark_live(const struct ms_typing *t, uint32_t count)
{
    uint8_t *live = calloc(count + 1, 1);
    for (uint64_t i = 0; live && i < t->count; i++) {
        const struct ms_slot *slot = &t->slots[i];
        if (slot->type && slot->type <= count && slot->level >= MS_LEVEL_VALUE && !slot->contested)
            live[slot->type - 1] = 1;
    }
    return live;
}

static struct ms_error *collect(struct guesser *g)
{
    const uint32_t count = ms_type_count(g->t->shapes.types);
    uint8_t *live = mark_live(g->t, count);
    if (!live)
        return ms_error_nomem("guesses");
    struct ms_error *error = NULL;
    for (uint32_t id = 0; !error && id < count; id++) {
        const struct ms_type *type = ms_type_by_id(g->t->shapes.types, id);
        if (type->kind != MS_TYPE_STRUCT || type->size < 16 || !type->name[0])
            continue; /* what is only declared has no size; its definition comes by itself */
        type = ms_type_complete(g->t->shapes.types, type);
        if (!type->complete || !ms_type_is_own(g->t->shapes.types, type))
            continue;
        struct candidate *slot = ms_vector_add(&g->list);
        if (slot)
            *slot = (struct candidate){.usable = ms_usable_for(type->size), .type = type, .live = live[id]};
        else
            error = ms_error_nomem("guesses");
    }
    free(live);
    ms_vector_sort(&g->list, candidates_by_size);
    return error;
}

static size_t first_of_size(const struct guesser *g, uint64_t usable)
{
    size_t low = 0, high = g->list.items ? g->list.count : 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (g->list.items[middle].usable < usable)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- one block --------------------------------------------------------------------------------- */

/* Does all that is known of the block, what lies in it or its pointers, speak for TYPE? */
static bool suits(struct ms_typing *t, const struct ms_type *type, uint64_t start, const struct ms_slot *slot)
{
    unsigned agreed = 0;
    const struct ms_shape *shape = ms_shape_of(&t->shapes, type);
    if (!shape->links.count || !ms_agrees(t, shape, start * 2, &agreed))
        return false;
    if (slot->level == MS_LEVEL_INSIDE)
        return ms_holds_at(&t->shapes, type, slot->at * 8ull, ms_slot_type(t, slot));
    return agreed > 0;
}

/* The one candidate that suits, of those that are live or of all; NULL: none, or several. */
static const struct ms_type *only_one(struct guesser *g, uint64_t start, const struct ms_slot *slot, bool live)
{
    const uint64_t usable = ms_usable(g->t->heap, start);
    const struct ms_type *one = NULL;
    const size_t first = first_of_size(g, usable);
    const bool sparing = g->list.items[first].looked_at > LOOKED_AT_MAX;
    for (size_t i = first; i < g->list.count && g->list.items[i].usable == usable; i++) {
        struct candidate *c = &g->list.items[i];
        if ((live && !c->live) || (sparing && !c->suited) || !suits(g->t, c->type, start, slot))
            continue;
        c->suited = true;
        if (i - first >= CANDIDATES_MAX || (one && !ms_same_type(one, c->type)))
            return NULL;
        one = c->type;
    }
    return one;
}

static bool has_pointer(const struct ms_typing *t, uint64_t start)
{
    const uint64_t end = ms_words_end(t->heap, start);
    for (uint64_t word = start * 2; word < end; word++)
        if (ms_word_target(t->heap, word) != MS_NOTHING)
            return true;
    return false;
}

static void guess_block(struct guesser *g, uint64_t start)
{
    const struct ms_slot *slot = ms_slot_of(g->t, start);
    const size_t first = first_of_size(g, ms_usable(g->t->heap, start));
    if (!slot || slot->level >= MS_LEVEL_GUESS || !g->list.items || first >= g->list.count ||
        g->list.items[first].usable != ms_usable(g->t->heap, start) || !has_pointer(g->t, start))
        return;
    g->list.items[first].looked_at++;
    const struct ms_type *type = only_one(g, start, slot, true);
    type = type ? type : only_one(g, start, slot, false);
    if (type)
        ms_guess_block(g->t, start, type);
}

/* --- all of them ------------------------------------------------------------------------------- */

/* Pointers that may be stale come first: there are types behind them. */
static void take_doubtful(struct ms_typing *t)
{
    for (size_t i = 0; i < t->doubtful.count; i++) {
        struct ms_claim claim = t->doubtful.items[i];
        claim.guess = true;
        ms_claim(t, &claim);
    }
    ms_settle_claims(t);
}

#define SIZES 4096u /* of blocks, that are told apart; there are few bigger ones */
struct untyped {
    uint64_t bytes, all;
    bool sizes[SIZES]; /* by usable bytes / MS_GRANULE; the last one: of anything bigger */
};

static bool *size_of(struct untyped *u, uint64_t usable)
{
    return &u->sizes[usable / MS_GRANULE < SIZES ? usable / MS_GRANULE : SIZES - 1];
}

/* Is there a block that a structure of SIZE bytes may be a guess of? */
static bool is_wanted(void *context, uint64_t size)
{
    return *size_of(context, ms_usable_for(size));
}

static struct ms_error *count_untyped(struct ms_typing *t, void *context, uint64_t start)
{
    struct untyped *u = context;
    const uint64_t usable = ms_usable(t->heap, start);
    u->all += usable;
    if (ms_slot_of(t, start)->level >= MS_LEVEL_GUESS)
        return NULL;
    u->bytes += usable;
    *size_of(u, usable) = true;
    return NULL;
}

static struct ms_error *visit_block(struct ms_typing *t, void *context, uint64_t start)
{
    (void)t;
    guess_block(context, start);
    return NULL;
}

ms_result ms_guess(struct ms_typing *t)
{
    struct untyped u = {0};
    struct guesser g = {.t = t};
    take_doubtful(t);
    MS_TRY(ms_each_block(t, count_untyped, &u));
    if (!u.bytes)
        return NULL;
    if (t->scope == MS_TYPE_LOST || u.bytes > u.all / UNTYPED_SHARE)
        MS_TRY(ms_types_read_all(t->shapes.types, is_wanted, &u));
    struct ms_error *error = collect(&g);
    if (!error)
        error = ms_each_block(t, visit_block, &g);
    ms_vector_free(&g.list);
    return error;
}
