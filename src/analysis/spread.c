/* Spreading: what typed pointers claim of the blocks they point to, until nothing changes. */
#include "spread.h"

#include <string.h>

#define CHANGES_MAX 6u          /* of a block's type by refinement or contradiction */
#define INNER_MAX (1u << 20)    /* values inside of other blocks that are followed */
#define DOUBTFUL_MAX (1u << 20) /* claims that are kept for guesses */
#define ELEMENTS_LOOKED_AT 64u  /* of what may be an array */
#define BLOCKS_AHEAD 16u        /* of the queue, whose memory is called */
#define TELL_STEPS (1u << 16)   /* from one call of the progress to the next */
#define MAPPED_SLACK (2 * MS_PAGE)

/* A chunk that is less than 32 bytes too big is not split (_int_malloc: MINSIZE). */
bool ms_fits(uint64_t size, uint64_t usable)
{
    return size <= usable && usable <= ms_usable_for(size) + 16;
}

/* A mapped block has whole pages. */
static bool fits_block(const struct ms_typing *t, uint64_t size, uint64_t start, uint64_t usable)
{
    if (ms_fits(size, usable))
        return true;
    return size <= usable && usable - size < MAPPED_SLACK && usable > 16 * MS_PAGE &&
           ms_granule_segment(t->heap, start)->kind == MS_SEGMENT_MAPPED;
}

static bool is_structure(const struct ms_type *type)
{
    return type->kind == MS_TYPE_STRUCT || type->kind == MS_TYPE_UNION;
}

/* --- do the words agree? ----------------------------------------------------------------------- */

/* Does a pointer to TO agree with what it points to? 1: yes, 0: who knows, -1: no. */
static int judge(struct ms_typing *t, const struct ms_type *to, uint64_t target)
{
    uint64_t start;
    const struct ms_slot *slot = ms_target_slot(t, target, &start);
    if (!slot || !is_structure(to) || !to->size)
        return 0;
    const uint64_t delta = ms_word_bytes(t->heap, target - 2 * start), usable = ms_usable(t->heap, start);
    const struct ms_type *type = ms_slot_type(t, slot);
    if (delta + to->size > usable)
        return -1;
    if (delta || slot->contested)
        return 0;
    if (type && slot->level >= MS_LEVEL_VALUE)
        return ms_begins_with(&t->shapes, type, to) || ms_begins_with(&t->shapes, to, type) ? 1 : -1;
    /* A flexible array may be of any size. */
    return ms_fits(to->size, usable) || ms_shape_of(&t->shapes, to)->tail;
}

/* The same for LINK and the others at its place. */
static int judge_link(struct ms_typing *t, const struct ms_shape *shape, const struct ms_link *link,
                      uint64_t target)
{
    if (!link->to)
        return 0;
    if (!link->shared && !link->guard)
        return judge(t, link->to, target);
    const struct ms_link *end = shape->links.items + shape->links.count;
    for (uint64_t offset = link->offset; link < end && link->offset == offset; link++)
        if (ms_is_likely(t, link, target))
            return 1;
    return 0;
}

bool ms_agrees(struct ms_typing *t, const struct ms_shape *shape, uint64_t target, unsigned *agreed)
{
    for (uint64_t offset = 0; offset + 8 <= shape->type->size; offset += 8) {
        uint64_t to = ms_word_target(t->heap, target + ms_bytes_words(t->heap, offset));
        if (to == MS_NOTHING || to >= 2 * t->heap->granules)
            continue;
        const struct ms_link *link = ms_shape_link(shape, offset);
        if (!link) {
            if (!ms_shape_is_open(shape, offset))
                return false;
            continue;
        }
        int verdict = judge_link(t, shape, link, to);
        if (verdict < 0)
            return false;
        *agreed += verdict > 0;
    }
    return true;
}

/* Are all words of START's block that point to blocks good as pointers to what POINTER points to? */
static bool are_pointers(struct ms_typing *t, const struct ms_type *pointer, uint64_t start, uint64_t usable)
{
    const struct ms_type *to = pointer->target ? ms_type_complete(t->shapes.types, pointer->target) : NULL;
    if (!to)
        return false;
    for (uint64_t word = start * 2; word < start * 2 + ms_bytes_words(t->heap, usable); word++) {
        uint64_t target = ms_word_target(t->heap, word), block;
        if (target == MS_NOTHING || target >= 2 * t->heap->granules)
            continue;
        if (judge(t, to, target) < 0)
            return false;
        const struct ms_slot *slot = ms_target_slot(t, target, &block);
        bool plain = to->kind == MS_TYPE_BASE || to->kind == MS_TYPE_ENUM;
        if (slot && plain && target == 2 * block && slot->level >= MS_LEVEL_VALUE)
            return false;
    }
    return true;
}

static bool has_pointers(const struct ms_typing *t, uint64_t start, uint64_t usable)
{
    for (uint64_t word = start * 2; word < start * 2 + ms_bytes_words(t->heap, usable); word++)
        if (ms_word_target(t->heap, word) != MS_NOTHING)
            return true;
    return false;
}

/*
 * Several values one behind another, not one and something else? Every pointer of the others must
 * agree. Of list nodes that says nothing: they point to one another wherever they are.
 */
static bool is_array(struct ms_typing *t, const struct ms_type *type, uint64_t target, uint64_t usable)
{
    const struct ms_shape *shape = ms_shape_of(&t->shapes, type);
    if (!type->size || type->size % 8 || type->size * 2 > usable || shape->tail || !shape->links.count ||
        !ms_fits(usable / type->size * type->size, usable))
        return false;
    for (size_t i = 0; i < shape->links.count; i++)
        if (shape->links.items[i].to == type)
            return false;
    unsigned agreed = 0;
    for (uint64_t i = 1; i < usable / type->size && i < ELEMENTS_LOOKED_AT; i++)
        if (!ms_agrees(t, shape, target + ms_bytes_words(t->heap, i * type->size), &agreed))
            return false;
    return agreed > 1;
}

/* --- queues ------------------------------------------------------------------------------------ */

static void enqueue(struct ms_typing *t, unsigned which, uint64_t start, struct ms_slot *slot)
{
    struct ms_block_queue *q = &t->queue[which];
    if (slot->queued >> which & 1)
        return;
    slot->queued |= 1u << which;
    q->items[q->in++ % q->size] = start;
}

static void enqueue_block(struct ms_typing *t, uint64_t start, struct ms_slot *slot)
{
    const struct ms_type *type = ms_slot_type(t, slot);
    if (!type || slot->contested)
        return;
    if (type->kind == MS_TYPE_POINTER)
        enqueue(t, MS_QUEUE_POINTERS, start, slot);
    else if (is_structure(type) && slot->level != MS_LEVEL_OPAQUE)
        enqueue(t, MS_QUEUE_VALUES, start, slot);
}

/* A value inside a block is followed once. */
static void add_inner(struct ms_typing *t, const struct ms_claim *claim)
{
    if (t->inner_seen.used >= INNER_MAX || ms_map_get(&t->inner_seen, claim->target, claim->type->id))
        return;
    struct ms_inner_value *slot = ms_vector_add(&t->inner);
    t->failed |= !slot || !ms_map_put(&t->inner_seen, claim->target, claim->type->id, 1);
    if (slot)
        *slot = (struct ms_inner_value){claim->target, claim->type, claim->strong, claim->guess};
}

/* --- a block rises ----------------------------------------------------------------------------- */

static void set_partial(struct ms_typing *t, const struct ms_claim *claim, uint64_t start, struct ms_slot *slot)
{
    slot->partial = claim->partial && claim->to <= (uint64_t)UINT32_MAX * 8;
    if (slot->partial)
        t->failed |= !ms_map_put(&t->used, start, 0, claim->from / 8 << 32 | claim->to / 8);
}

static void set_slot(struct ms_typing *t, const struct ms_claim *claim, const struct ms_type *type, unsigned level,
                     uint64_t start, struct ms_slot *slot)
{
    uint64_t usable = ms_usable(t->heap, start);
    slot->type = type->id + 1;
    slot->level = level;
    slot->strong = claim->strong;
    slot->container = claim->how == MS_LINK_NODE || claim->how == MS_LINK_ARRAY;
    slot->at = 0;
    slot->table = 0;
    slot->array = claim->how == MS_LINK_ARRAY || level == MS_LEVEL_RAW || level == MS_LEVEL_POINTERS ||
                  (claim->how != MS_LINK_NODE && is_structure(type) && is_array(t, type, start * 2, usable));
    set_partial(t, claim, start, slot);
    enqueue_block(t, start, slot);
}

/* The same type again, perhaps by a better source, or as an array. */
static void confirm(struct ms_typing *t, const struct ms_claim *claim, uint64_t start, struct ms_slot *slot)
{
    bool more = (claim->strong && !slot->strong) || (claim->how == MS_LINK_ARRAY && !slot->array);
    slot->strong |= claim->strong;
    slot->container |= claim->how == MS_LINK_NODE || claim->how == MS_LINK_ARRAY;
    if (claim->how == MS_LINK_ARRAY && !slot->array) {
        slot->array = 1;
        set_partial(t, claim, start, slot);
    }
    if (more)
        enqueue_block(t, start, slot);
}

/* Do size and words of START's block speak for TYPE? TAIL: a flexible array at its end may have any size. */
static bool is_plausible(struct ms_typing *t, const struct ms_type *type, uint64_t start, unsigned *agreed,
                         bool tail)
{
    const struct ms_shape *shape = ms_shape_of(&t->shapes, type);
    return ((tail && shape->tail) || fits_block(t, type->size, start, ms_usable(t->heap, start))) &&
           ms_agrees(t, shape, start * 2, agreed);
}

/* Two claims of structures, of which neither begins with the other. */
static void contradict(struct ms_typing *t, const struct ms_claim *claim, const struct ms_type *type,
                       uint64_t start, struct ms_slot *slot)
{
    if (claim->how == MS_LINK_NODE || claim->strong < slot->strong || slot->level == MS_LEVEL_VTABLE)
        return;
    unsigned agreed = 0;
    bool change = claim->strong > slot->strong;
    if (!change) {
        bool mine = is_plausible(t, type, start, &agreed, true);
        bool theirs = is_plausible(t, ms_slot_type(t, slot), start, &agreed, true);
        change = mine && !theirs;
        slot->contested |= mine == theirs;
    }
    if (!change || slot->contested)
        return;
    slot->contested |= slot->changes == CHANGES_MAX;
    slot->changes += slot->changes < CHANGES_MAX;
    set_slot(t, claim, type, MS_LEVEL_VALUE, start, slot);
}

/* Two claims of structures. */
static void compare_values(struct ms_typing *t, const struct ms_claim *claim, const struct ms_type *type,
                           uint64_t start, struct ms_slot *slot)
{
    const struct ms_type *old = ms_slot_type(t, slot);
    unsigned agreed = 0;
    if (!old || slot->at)
        return;
    if (ms_same_type(old, type)) {
        confirm(t, claim, start, slot);
    } else if (ms_begins_with(&t->shapes, old, type)) {
        return;
    } else if (!ms_begins_with(&t->shapes, type, old)) {
        contradict(t, claim, type, start, slot);
    } else if (slot->level == MS_LEVEL_VALUE && !(slot->array && slot->container) &&
               slot->changes < CHANGES_MAX &&
               (claim->strong || !slot->strong || is_plausible(t, type, start, &agreed, true))) {
        slot->changes++;
        bool strong = slot->strong;
        set_slot(t, claim, type, MS_LEVEL_VALUE, start, slot);
        slot->strong |= strong && claim->strong;
    }
}

/* Bytes and numbers: whoever says bytes may mean anything, so the other wins. */
static void compare_raw(struct ms_typing *t, const struct ms_claim *claim, const struct ms_type *type,
                        unsigned level, uint64_t start, struct ms_slot *slot)
{
    const struct ms_type *old = ms_slot_type(t, slot);
    if (!old || ms_same_type(old, type)) {
        confirm(t, claim, start, slot);
        return;
    }
    if (level == MS_LEVEL_RAW && type->size == 1 && old->size != 1)
        return;
    if (level == MS_LEVEL_RAW && old->size == 1 && type->size != 1)
        set_slot(t, claim, type, level, start, slot);
    else if (level == MS_LEVEL_RAW ? type->size != old->size : true)
        slot->contested = 1;
}

static void rise(struct ms_typing *t, const struct ms_claim *claim, const struct ms_type *type, unsigned level,
                 uint64_t start, struct ms_slot *slot)
{
    if (slot->contested && level <= slot->level)
        return;
    if (level > slot->level) {
        slot->contested = 0;
        set_slot(t, claim, type, level, start, slot);
    } else if (level == MS_LEVEL_VALUE) {
        compare_values(t, claim, type, start, slot);
    } else if (level == slot->level) {
        compare_raw(t, claim, type, level, start, slot);
    }
}

/* --- claims ------------------------------------------------------------------------------------ */

/* How much a claim of TYPE says of a block with USABLE bytes. */
static unsigned level_of(const struct ms_type *type, uint64_t usable)
{
    if (type->size > usable)
        return MS_LEVEL_NONE;
    switch (type->kind) {
    case MS_TYPE_BASE:
    case MS_TYPE_ENUM:
        return type->size ? MS_LEVEL_RAW : MS_LEVEL_NONE;
    case MS_TYPE_POINTER:
        return MS_LEVEL_POINTERS;
    case MS_TYPE_STRUCT:
    case MS_TYPE_UNION:
        return type->size ? MS_LEVEL_VALUE : MS_LEVEL_OPAQUE;
    default:
        return MS_LEVEL_NONE;
    }
}

void ms_guess_block(struct ms_typing *t, uint64_t start, const struct ms_type *type)
{
    struct ms_slot *slot = ms_slot_of(t, start);
    if (!slot || slot->level >= MS_LEVEL_GUESS)
        return;
    const struct ms_claim claim = {.guess = true, .how = MS_LINK_PLAIN};
    set_slot(t, &claim, type, MS_LEVEL_GUESS, start, slot);
    slot->array |= type->kind != MS_TYPE_STRUCT && type->kind != MS_TYPE_UNION;
}

/*
 * A pointer that may be stale is only believed when all speaks for it, and so is one to a structure in a
 * block that is too big for it: it may be a first member or a base, or what was there before. What is not
 * believed is good for a guess.
 */
static bool is_believed(struct ms_typing *t, const struct ms_claim *claim, const struct ms_type *type,
                        unsigned level, uint64_t start, const struct ms_slot *slot)
{
    unsigned agreed = 0;
    if (claim->chosen)
        return false;
    if (level != MS_LEVEL_VALUE)
        return !claim->doubtful || claim->settled || level != MS_LEVEL_RAW;
    if (claim->doubtful && !claim->settled) /* and some pointer in it says so too, if there are any */
        return is_plausible(t, type, start, &agreed, true) &&
               (agreed > 0 || !ms_shape_of(&t->shapes, type)->links.count);
    if (!claim->doubtful && (slot->level >= MS_LEVEL_VALUE || claim->how == MS_LINK_ARRAY ||
                             fits_block(t, type->size, start, ms_usable(t->heap, start))))
        return true;
    return ms_agrees(t, ms_shape_of(&t->shapes, type), start * 2, &agreed);
}

static void doubt(struct ms_typing *t, const struct ms_claim *claim)
{
    if (t->doubtful.count >= DOUBTFUL_MAX)
        return;
    struct ms_claim *slot = ms_vector_add(&t->doubtful);
    t->failed |= !slot;
    if (slot)
        *slot = *claim;
}

static void take_start(struct ms_typing *t, const struct ms_claim *claim, uint64_t start, struct ms_slot *slot)
{
    const struct ms_type *type = claim->type;
    const uint64_t usable = ms_usable(t->heap, start);
    unsigned agreed = 0;
    for (unsigned depth = 0; type->kind == MS_TYPE_ARRAY && type->target && depth < 8; depth++)
        type = ms_type_complete(t->shapes.types, type->target);
    if (is_structure(type)) {
        const struct ms_type *bigger = ms_shape_of(&t->shapes, type)->bigger;
        if (bigger && !ms_fits(type->size, usable) && ms_fits(bigger->size, usable))
            type = bigger;
    }
    unsigned level = level_of(type, usable);
    if (level == MS_LEVEL_NONE || (claim->guess && slot->level >= MS_LEVEL_GUESS) ||
        (level == MS_LEVEL_RAW && (slot->level > level || has_pointers(t, start, usable))) ||
        (level == MS_LEVEL_POINTERS && (slot->level > level || !are_pointers(t, type, start, usable))))
        return;
    if (claim->guess) {
        /* A flexible array would fit whatever is there now: not by a word that may be stale. */
        if (level != MS_LEVEL_VALUE || is_plausible(t, type, start, &agreed, !claim->doubtful))
            ms_guess_block(t, start, type);
    } else if (is_believed(t, claim, type, level, start, slot)) {
        rise(t, claim, type, level, start, slot);
    } else {
        doubt(t, claim);
    }
}

/* --- pointers into blocks ---------------------------------------------------------------------- */

/* Has each of COUNT values at TARGET a pointer, and do all agree? */
static bool are_values(struct ms_typing *t, const struct ms_shape *shape, uint64_t target, uint64_t count)
{
    unsigned agreed = 0;
    for (uint64_t i = 0; i < count && i < ELEMENTS_LOOKED_AT; i++, target += ms_bytes_words(t->heap, shape->type->size)) {
        bool any = false;
        for (size_t l = 0; !any && l < shape->links.count; l++)
            any = shape->links.items[l].offset % 8 == 0 &&
                  ms_word_target(t->heap, target + ms_bytes_words(t->heap, shape->links.items[l].offset)) != MS_NOTHING;
        if (!any || !ms_agrees(t, shape, target, &agreed))
            return false;
    }
    return true;
}

/*
 * Itanium C++ ABI, 2.7: before an array of objects that have destructors stands their number, in 8 bytes
 * or in the objects' alignment. Where that cannot be read, two or more that fit must look like such objects.
 */
static bool is_behind_cookie(struct ms_typing *t, const struct ms_claim *claim, uint64_t delta, uint64_t usable,
                             uint64_t start)
{
    const uint64_t size = claim->type->size;
    uint64_t count = (usable - delta) / size, said;
    if (claim->type->language != MS_LANGUAGE_CXX || (delta != 8 && delta != 16) ||
        !ms_fits(delta + count * size, usable) || has_pointers(t, start, delta))
        return false;
    if (ms_image_read_word(t->image, ms_granule_address(t->heap, start) + delta - 8, &said))
        return said == count;
    return count > 1 && size % 8 == 0 && are_values(t, ms_shape_of(&t->shapes, claim->type), claim->target, count);
}

/* D, of which the block is (or begins with) one or more, has something at DELTA: is it what is claimed? */
enum inside { AGREES, FOREIGN, BEHIND };
static enum inside look_inside(struct ms_typing *t, const struct ms_slot *slot, const struct ms_claim *claim,
                               uint64_t delta)
{
    const struct ms_type *type = ms_slot_type(t, slot);
    const uint64_t at = slot->at * 8ull;
    if (!type || !type->size || delta < at)
        return BEHIND;
    const struct ms_shape *shape = ms_shape_of(&t->shapes, type);
    uint64_t offset = slot->array ? (delta - at) % type->size : delta - at;
    if (offset < type->size && ms_holds_at(&t->shapes, type, offset, claim->type))
        return AGREES;
    if (shape->tail && offset >= shape->tail_at &&
        ms_holds_at(&t->shapes, shape->tail, (offset - shape->tail_at) % shape->tail->size, claim->type))
        return AGREES;
    return offset < type->size && !ms_shape_is_open(shape, offset) ? FOREIGN : BEHIND;
}

static void take_inside(struct ms_typing *t, const struct ms_claim *claim, uint64_t start, struct ms_slot *slot,
                        uint64_t delta)
{
    const struct ms_type *type = claim->type;
    const uint64_t usable = ms_usable(t->heap, start);
    unsigned agreed = 0;
    if (!is_structure(type) || !type->size || delta + type->size > usable || claim->how == MS_LINK_NODE)
        return;
    const struct ms_shape *shape = ms_shape_of(&t->shapes, type);
    if (claim->chosen || (claim->doubtful && !ms_agrees(t, shape, claim->target, &agreed)))
        return;
    if (slot->level == MS_LEVEL_VTABLE && !slot->type) {
        add_inner(t, claim);
        return;
    }
    if (slot->level >= MS_LEVEL_VALUE && ms_slot_type(t, slot)) {
        enum inside found = look_inside(t, slot, claim, delta);
        if (found == BEHIND && slot->level == MS_LEVEL_VALUE && ms_same_type(ms_slot_type(t, slot), type) &&
            delta % type->size == 0 && !shape->tail && !slot->at &&
            ms_fits(usable / type->size * type->size, usable)) {
            slot->array = 1;
            enqueue_block(t, start, slot);
        } else if (found == BEHIND) {
            add_inner(t, claim);
        }
        return;
    }
    if (!claim->guess && is_behind_cookie(t, claim, delta, usable, start)) {
        set_slot(t, claim, type, MS_LEVEL_VALUE, start, slot);
        slot->at = (unsigned)(delta / 8) & MS_SLOT_AT_MAX;
        slot->array = 1;
        return;
    }
    if (slot->level == MS_LEVEL_NONE && delta / 8 <= MS_SLOT_AT_MAX) {
        slot->level = MS_LEVEL_INSIDE;
        slot->type = type->id + 1;
        slot->at = (unsigned)(delta / 8) & MS_SLOT_AT_MAX;
    }
    add_inner(t, claim);
}

/*
 * hashbrown, src/raw/mod.rs: a power of two of buckets stands before the control bytes, which are one each
 * and 16 more (Group::WIDTH); the pointer is to these, aligned to 16.
 */
uint64_t ms_table_buckets(uint64_t size, uint64_t usable, uint64_t *control)
{
    for (uint64_t buckets = 4; size && buckets <= usable / size; buckets *= 2) {
        *control = (buckets * size + 15) / 16 * 16;
        if (ms_fits(*control + buckets + 16, usable))
            return buckets;
    }
    return 0;
}

static void take_table(struct ms_typing *t, const struct ms_claim *claim, uint64_t start, struct ms_slot *slot,
                       uint64_t delta)
{
    uint64_t size = claim->type->size, control = 0;
    uint64_t buckets = ms_table_buckets(size, ms_usable(t->heap, start), &control);
    if (!buckets || control != delta || slot->level >= MS_LEVEL_VALUE)
        return;
    struct ms_claim values = *claim;
    values.how = MS_LINK_ARRAY;
    values.partial = true; /* of the buckets, not of the control bytes */
    values.from = delta - buckets * size;
    values.to = delta;
    set_slot(t, &values, claim->type, MS_LEVEL_VALUE, start, slot);
    slot->at = (unsigned)(values.from / 8) & MS_SLOT_AT_MAX;
    slot->table = 1;
}

static void take(struct ms_typing *t, const struct ms_claim *claim)
{
    uint64_t start;
    struct ms_slot *slot = ms_target_slot(t, claim->target, &start);
    if (!slot)
        return;
    const uint64_t delta = ms_word_bytes(t->heap, claim->target - 2 * start);
    if (claim->how == MS_LINK_TABLE)
        take_table(t, claim, start, slot, delta);
    else if (delta == 0)
        take_start(t, claim, start, slot);
    else
        take_inside(t, claim, start, slot, delta);
}

static void take_next(struct ms_typing *t)
{
    take(t, &t->ahead[t->ahead_out++ % MS_CLAIMS_AHEAD]);
}

/* Claims wait while the lines that they need are on their way; half-way their slots are called. */
void ms_claim(struct ms_typing *t, const struct ms_claim *claim)
{
    if (claim->target >= 2 * t->heap->granules)
        return;
    if (t->ahead_in - t->ahead_out == MS_CLAIMS_AHEAD)
        take_next(t);
    __builtin_prefetch(&t->heap->lines[claim->target / 64]);
    __builtin_prefetch(&t->rank[claim->target / 64]);
    t->ahead[t->ahead_in++ % MS_CLAIMS_AHEAD] = *claim;
    if (t->ahead_in - t->ahead_out > MS_CLAIMS_AHEAD / 2) {
        uint64_t half = t->ahead[(t->ahead_in - MS_CLAIMS_AHEAD / 2) % MS_CLAIMS_AHEAD].target;
        __builtin_prefetch(&t->slots[t->rank[half / 64]], 1);
    }
}

/* --- spreading --------------------------------------------------------------------------------- */

static uint64_t word_address(const struct ms_heap *heap, uint64_t word)
{
    return ms_granule_address(heap, word / 2) + ms_word_bytes(heap, word % 2);
}

void ms_spread_value(struct ms_typing *t, const struct ms_type *type, uint64_t target, bool strong, bool guess)
{
    const struct ms_shape *shape = ms_shape_of(&t->shapes, type);
    for (size_t i = 0; i < shape->links.count; i++) {
        const struct ms_link *link = &shape->links.items[i];
        if (link->offset % 8 || (i && link[-1].offset == link->offset))
            continue;
        uint64_t to = ms_word_target(t->heap, target + ms_bytes_words(t->heap, link->offset));
        struct ms_claim claim;
        if (to >= 2 * t->heap->granules)
            continue;
        bool plain = !link->guard && !link->shared && !link->counted;
        uint64_t address = plain ? 0 : word_address(t->heap, target);
        if (!ms_link_claim(t, shape, link, address, target, to, &claim))
            continue;
        claim.strong &= strong;
        claim.guess = guess;
        ms_claim(t, &claim);
    }
}

/* The values of START's block. */
static void spread_block(struct ms_typing *t, uint64_t start)
{
    const struct ms_slot *slot = ms_slot_of(t, start);
    const struct ms_type *type = slot ? ms_slot_type(t, slot) : NULL;
    if (!type || slot->contested)
        return;
    const struct ms_shape *shape = ms_shape_of(&t->shapes, type);
    const bool strong = slot->strong, guess = slot->level == MS_LEVEL_GUESS;
    uint64_t usable = ms_usable(t->heap, start), from = slot->at * 8ull, to = usable;
    const uint64_t size = type->kind == MS_TYPE_POINTER ? 8 : type->size;
    if ((!shape->links.count && !shape->tail) || !size || size % 8)
        return;
    if (slot->partial) {
        const uint64_t *used = ms_map_get(&t->used, start, 0);
        from = used ? (*used >> 32) * 8 : from;
        to = used && (*used & UINT32_MAX) * 8 < to ? (*used & UINT32_MAX) * 8 : to;
    }
    if (!slot->array && to > from + size)
        to = from + size;
    for (; from + size <= to; from += size)
        ms_spread_value(t, type, start * 2 + ms_bytes_words(t->heap, from), strong, guess);
    if (!shape->tail || shape->tail->size % 8 || shape->tail_at % 8)
        return;
    for (uint64_t at = shape->tail_at; at + shape->tail->size <= usable; at += shape->tail->size)
        ms_spread_value(t, shape->tail, start * 2 + ms_bytes_words(t->heap, at), strong, guess);
}

/* What the blocks that come soon need: first their lines, then their slots and pointers. */
static void call_blocks(const struct ms_typing *t, const struct ms_block_queue *q)
{
    const struct ms_heap *heap = t->heap;
    if (q->in - q->out > BLOCKS_AHEAD) {
        uint64_t start = q->items[(q->out + BLOCKS_AHEAD) % q->size];
        __builtin_prefetch(&heap->lines[start / MS_LINE_GRANULES]);
        __builtin_prefetch(&t->rank[start / MS_LINE_GRANULES]);
    }
    if (q->in - q->out > BLOCKS_AHEAD / 2) {
        uint64_t start = q->items[(q->out + BLOCKS_AHEAD / 2) % q->size];
        const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
        __builtin_prefetch(&t->slots[t->rank[start / MS_LINE_GRANULES]], 1);
        __builtin_prefetch(heap->targets + (line->first + ms_pointers_before(line, start * 2)) * heap->edge_width);
    }
}

static bool spread_next(struct ms_typing *t, unsigned which)
{
    struct ms_block_queue *q = &t->queue[which];
    if (q->in == q->out)
        return false;
    call_blocks(t, q);
    uint64_t start = q->items[q->out++ % q->size];
    struct ms_slot *slot = ms_slot_of(t, start);
    const struct ms_type *type = slot ? ms_slot_type(t, slot) : NULL;
    if (!type)
        return true;
    slot->queued &= ~(1u << which) & 3u;
    /* It may have become a structure since. */
    if ((which == MS_QUEUE_POINTERS) == (type->kind == MS_TYPE_POINTER))
        spread_block(t, start);
    return true;
}

static bool spread_inner(struct ms_typing *t)
{
    if (t->inner_out == t->inner.count) {
        t->inner.count = t->inner_out = 0;
        return false;
    }
    struct ms_inner_value v = t->inner.items[t->inner_out++];
    ms_spread_value(t, v.type, v.target, v.strong, v.guess);
    return true;
}

/* Structures first: an array of pointers may turn out to be the beginning of one. */
void ms_settle_claims(struct ms_typing *t)
{
    for (uint64_t i = 0; !t->failed && !t->shapes.failed; i++) {
        if (i % TELL_STEPS == 0)
            ms_types_tell(t->shapes.types, "spreading types", t->queue[MS_QUEUE_VALUES].out, t->queue[MS_QUEUE_VALUES].in);
        if (spread_next(t, MS_QUEUE_VALUES) || spread_inner(t))
            continue;
        if (t->ahead_in != t->ahead_out)
            take_next(t);
        else if (!spread_next(t, MS_QUEUE_POINTERS))
            return;
    }
}
