/* Typing a Go heap: types that the runtime keeps, then those that typed pointers say, until nothing changes. */
#include "gotyping.h"

#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "goclosures.h"
#include "goguess.h"
#include "gosync.h"
#include "memscope/goqueues.h"

#define HEADER          8u  /* src/runtime/mbitmap.go: mallocHeaderSize */
#define TINY            16u /* src/runtime/malloc.go: maxTinySize; smaller values without pointers share slots */
#define SIZE_MAX_SANE   (1ull << 46)
#define WORDS_LOOKED_AT 4096u
#define OVERFLOWS_MAX   (1u << 20)
#define ROUNDS_MAX      8u
/* An array is pinned by slices of it when it is so big and they reach no more than this part of it. */
#define PIN_MIN  4096u
#define PIN_PART 4u
/* So many goroutines are asked for their locals; the rest of a pool looks like the first ones. */
#define GOROUTINES_MAX 1000u
#define FRAMES_MAX     200u
#define PINS_MAX       100u /* those that keep most for nothing; each is looked for in the whole index */
#define CALLS_MAX      32u

/* The object at START, a granule. */
static bool object_at(const struct ms_go_typing *g, uint64_t start, struct object *object)
{
    object->slot = ms_slot_of(g->t, start);
    if (!object->slot)
        return false;
    object->start = start;
    object->address = ms_granule_address(g->t->heap, start);
    object->span = ms_go_granule_span(g->heap, start);
    object->size =
        object->span ? object->span->slot - (object->span->header ? HEADER : 0) : ms_block_size(g->t->heap, start);
    return true;
}

static bool find_object(const struct ms_go_typing *g, uint64_t address, struct object *object)
{
    const struct ms_heap *heap = g->t->heap;
    const struct ms_segment *segment = ms_heap_segment(heap, address);
    return segment && object_at(g, ms_start_of(heap, ms_address_granule(heap, segment, address)), object) &&
           address >= object->address && address - object->address < object->size;
}

static bool read_word(struct ms_go_typing *g, uint64_t address, uint64_t *value)
{
    if (address < g->piece_start || address >= g->piece_end || g->piece_end - address < sizeof *value) {
        g->piece = ms_image_piece(g->t->image, address, &g->piece_start, &g->piece_end);
        if (!g->piece)
            g->piece_start = g->piece_end = 0;
        if (!g->piece || g->piece_end - address < sizeof *value)
            return ms_image_read_word(g->t->image, address, value);
    }
    memcpy(value, g->piece + (address - g->piece_start), sizeof *value);
    return true;
}

/* --- does it fit? ------------------------------------------------------------------------------ */

static bool fits(const struct ms_go_typing *g, const struct object *object, uint64_t size)
{
    const uint64_t header = object->span && object->span->header ? HEADER : 0;
    return size && size <= object->size && ms_go_slot_size(g->heap, size + header) == object->size + header;
}

/* The elements that CLAIM means in OBJECT, at whose start it is; 0: they are no whole object. */
static uint64_t whole_count(const struct ms_go_typing *g, const struct object *object,
                            const struct ms_go_claim *claim)
{
    const uint64_t size = claim->type->size;
    const uint64_t count = claim->count ? claim->count : size ? object->size / size : 0;
    if (!size || count > SIZE_MAX_SANE / size)
        return 0;
    return fits(g, object, count * size + claim->extra) ? count : 0;
}

/* Does the word at OFFSET of OBJECT point to an object? */
static bool has_target(const struct ms_heap *heap, const struct object *object, uint64_t offset)
{
    const uint64_t word = object->start * 2 + ms_bytes_words(heap, offset);
    return heap->lines[word / (2 * MS_LINE_GRANULES)].pointers >> word % (2 * MS_LINE_GRANULES) & 1;
}

static bool is_pointer_word(const struct ms_go_shape *shape, uint64_t offset)
{
    if (ms_go_shape_link(shape, offset))
        return true;
    const struct ms_go_link *next = ms_go_shape_link(shape, offset + 8);
    return next && ms_go_pointer_offset(next) == 8; /* the type of an interface */
}

/* Is there a pointer type wherever the collector knows of a pointer? */
static bool agrees(struct ms_go_typing *g, const struct object *object, const struct ms_type *type)
{
    const struct ms_go_shape *shape = ms_go_shape_of(&g->shapes, type);
    const struct ms_heap *heap = g->t->heap;
    const bool scanned = !object->span || object->span->scanned;
    if (object->span && scanned != (shape->links.count > 0))
        return false;
    const uint64_t words = scanned ? object->size / 8 : 0;
    for (uint64_t i = 0; i < words && i < WORDS_LOOKED_AT; i++)
        if (has_target(heap, object, i * 8) && !is_pointer_word(shape, i * 8 % type->size))
            return false;
    return true;
}

/* What the runtime has of a channel has no pointers for the collector when the elements have none. */
static bool owner_agrees(struct ms_go_typing *g, const struct object *object, const struct ms_go_claim *claim)
{
    if (!object->span || claim->owner->kind != MS_GO_CHAN || !claim->owner->element)
        return !object->span || object->span->scanned;
    return object->span->scanned == (ms_go_shape_of(&g->shapes, claim->owner->element)->links.count > 0);
}

/* --- a block gets its type --------------------------------------------------------------------- */

static void add_work(struct ms_go_typing *g, uint64_t address, const struct ms_type *type, uint64_t count,
                     bool guess)
{
    if (!ms_go_shape_of(&g->shapes, type)->links.count)
        return;
    struct ms_go_work *work = ms_vector_add(&g->work);
    g->t->failed |= !work;
    if (!work)
        return;
    *work = (struct ms_go_work){address, count, type, guess};
    if (address >= g->piece_start && address < g->piece_end)
        __builtin_prefetch(g->piece + (address - g->piece_start));
}

/* Only COUNT of the elements that fit are in use; mostly their number has room in the slot itself. */
static void set_partial(struct ms_go_typing *g, const struct object *object, uint64_t count)
{
    object->slot->partial = 1;
    object->slot->at = count < MS_SLOT_AT_MAX ? (unsigned)count & MS_SLOT_AT_MAX : MS_SLOT_AT_MAX;
    if (count >= MS_SLOT_AT_MAX)
        g->t->failed |= !ms_map_put(&g->counts, object->start, 0, count);
}

static void set(struct ms_go_typing *g, const struct object *object, const struct ms_go_claim *claim,
                uint64_t count, unsigned level)
{
    struct ms_slot *slot = object->slot;
    slot->type = claim->type->id + 1;
    slot->level = level;
    slot->container = claim->container;
    slot->array = count != 1;
    slot->contested = 0;
    slot->at = 0;
    slot->partial = 0;
    if (slot->array && claim->type->size && count != object->size / claim->type->size)
        set_partial(g, object, count);
    add_work(g, object->address, claim->type, count, level == MS_LEVEL_GUESS);
}

/* Several small values may share it. */
static bool is_tiny(const struct object *object, uint64_t size)
{
    return object->size == TINY && object->span && !object->span->scanned && size < TINY;
}

static void set_tiny(struct ms_go_typing *g, const struct object *object, bool guess)
{
    struct ms_go_claim claim = {.type = g->tiny};
    const unsigned level = guess ? MS_LEVEL_GUESS : MS_LEVEL_VALUE;
    if (object->slot->level < level)
        set(g, object, &claim, 1, level);
}

static unsigned level_of(const struct ms_go_claim *claim)
{
    return claim->guess ? MS_LEVEL_GUESS : claim->exact ? MS_LEVEL_VTABLE : MS_LEVEL_VALUE;
}

static bool is_bytes(const struct ms_go_typing *g, const struct ms_type *type)
{
    return type == g->text || (type->kind == MS_TYPE_BASE && type->size == 1);
}

/* Two types for the same whole object. */
static void compare(struct ms_go_typing *g, const struct object *object, const struct ms_go_claim *claim,
                    uint64_t count, unsigned level)
{
    struct ms_slot *slot = object->slot;
    const struct ms_type *old = ms_slot_type(g->t, slot);
    if (old && old == claim->type) {
        if (level < slot->level && claim->guess)
            return; /* how many there are is not for a guess to say */
        slot->level = level > slot->level ? level : slot->level;
        slot->container |= claim->container;
        /* A header does not tell how many there are; a slice does. */
        if (claim->count > 1 && slot->array && !slot->partial && count != object->size / claim->type->size)
            set_partial(g, object, count);
        return;
    }
    const bool stronger = !old || level > slot->level || (level == slot->level && old == g->tiny);
    if (!stronger && (level < slot->level || ms_go_holds_at(&g->shapes, old, 0, claim->type) ||
                      (is_bytes(g, old) && is_bytes(g, claim->type))))
        return;
    if (stronger || ms_go_holds_at(&g->shapes, claim->type, 0, old)) {
        set(g, object, claim, count, level);
    } else if (!(old->kind == MS_TYPE_STRUCT && claim->type->kind != MS_TYPE_STRUCT)) {
        slot->contested = 1;
    }
}

/* Values inside of OBJECT, or at its start when it is more than these; what reaches beyond it is none of them. */
static void take_part(struct ms_go_typing *g, const struct object *object, const struct ms_go_claim *claim)
{
    const uint64_t *known = ms_map_get(&g->seen, claim->address, claim->type->id);
    const uint64_t size = claim->type->size;
    const uint64_t room = size ? (object->address + object->size - claim->address) / size : 0;
    const uint64_t count = claim->count > room ? room : claim->count ? claim->count : 1;
    if (!room || (known && *known >= count))
        return;
    g->t->failed |= !ms_map_put(&g->seen, claim->address, claim->type->id, count);
    add_work(g, claim->address, claim->type, count, claim->guess);
}

/* The beginning of an array of which no slice has all; TYPE is what it is of. */
static void take_beginning(struct ms_go_typing *g, const struct object *object, const struct ms_go_claim *claim)
{
    struct ms_go_claim whole = *claim;
    const uint64_t used = claim->address - object->address + claim->count * claim->type->size;
    const uint64_t *known = ms_map_get(&g->sliced, object->start, 0);
    if (used > object->size)
        return; /* a slice that was read while it was written, or is none */
    if (!known || *known < used)
        g->t->failed |= !ms_map_put(&g->sliced, object->start, 0, used);
    whole.count = 0;
    whole.guess = true;
    const uint64_t count = whole_count(g, object, &whole);
    if (claim->address == object->address && object->slot->level == MS_LEVEL_NONE && count &&
        agrees(g, object, claim->type))
        set(g, object, &whole, count, MS_LEVEL_GUESS);
    else
        take_part(g, object, claim);
}

/* Is what the block is known to be the claimed type at this place? Then there is nothing to be learnt. */
static bool is_known_inside(struct ms_go_typing *g, const struct object *object, const struct ms_go_claim *claim,
                            uint64_t delta)
{
    const struct ms_type *type = ms_slot_type(g->t, object->slot);
    if (!type || !type->size || object->slot->level < MS_LEVEL_GUESS)
        return false;
    return ms_go_holds_at(&g->shapes, type, object->slot->array ? delta % type->size : delta, claim->type);
}

static void take(struct ms_go_typing *g, const struct ms_go_claim *claim)
{
    struct object object;
    if (!find_object(g, claim->address, &object))
        return;
    const uint64_t delta = claim->address - object.address, size = claim->type->size;
    const uint64_t count = delta ? 0 : whole_count(g, &object, claim);
    if (is_tiny(&object, claim->count * size))
        set_tiny(g, &object, claim->guess);
    else if (count && (claim->owner ? owner_agrees(g, &object, claim) : agrees(g, &object, claim->type)))
        compare(g, &object, claim, count, level_of(claim));
    else if (!is_known_inside(g, &object, claim, delta)) {
        /* The rest of an array whose first elements nobody needs any more; or an array in a structure. */
        struct ms_go_claim whole = *claim;
        whole.count = size ? delta / size + claim->count : 0;
        whole.guess = true;
        if (claim->count > 1 && size && delta % size == 0 && object.slot->level == MS_LEVEL_NONE &&
            whole_count(g, &object, &whole) && agrees(g, &object, claim->type))
            set(g, &object, &whole, whole.count, MS_LEVEL_GUESS);
        else if (claim->slice && object.size >= PIN_MIN)
            take_beginning(g, &object, claim);
        else
            take_part(g, &object, claim);
    }
}

/* --- what pointers say ------------------------------------------------------------------------- */

static void claim_pointer(struct ms_go_typing *g, const struct ms_go_type *type, uint64_t pointer, bool guess);

/*
 * What NewTimer() and NewTicker() return is the beginning of a bigger structure of the runtime (timeTimer in
 * src/runtime/time.go, 1.23 and later).
 */
static const struct ms_type *whole_timer(struct ms_go_typing *g, const struct ms_type *type)
{
    if (strncmp(type->name, "time.Ti", 7) != 0 ||
        (strcmp(type->name, "time.Timer") != 0 && strcmp(type->name, "time.Ticker") != 0))
        return type;
    const struct ms_type *whole = ms_type_named(g->shapes.types, "runtime.timeTimer");
    return whole ? ms_go_whole(&g->shapes, whole) : type;
}

static void claim_values(struct ms_go_typing *g, uint64_t address, const struct ms_type *type, uint64_t count,
                         bool guess)
{
    if (count == 1)
        type = ms_go_whole_node(&g->shapes, g->t->image, address, whole_timer(g, type));
    const struct ms_go_claim claim = {.address = address, .type = type, .count = count, .guess = guess};
    if (type->size && type->kind != MS_TYPE_VOID && type->kind != MS_TYPE_FUNCTION)
        take(g, &claim);
}

static void claim_slice(struct ms_go_typing *g, uint64_t address, const struct ms_type *type, uint64_t count,
                        bool guess)
{
    const struct ms_go_claim claim = {
        .address = address, .type = type, .count = count, .guess = guess, .slice = true};
    take(g, &claim);
}

static void claim_units(struct ms_go_typing *g, uint64_t address, const struct ms_type *type, uint64_t count,
                        bool guess)
{
    const struct ms_go_claim claim = {
        .address = address, .type = type, .count = count, .guess = guess, .container = true};
    take(g, &claim);
}

/* The type of closures of the function at CODE that take SIZE bytes. */
static const struct ms_type *closure_type(struct ms_go_typing *g, uint64_t code, uint64_t size)
{
    const uint64_t *known = ms_map_get(&g->closures, code, size);
    if (known)
        return ms_type_by_id(g->shapes.types, (uint32_t)*known);
    struct ms_go_call calls[CALLS_MAX]; /* the last is the function itself, others are inlined in it */
    const unsigned count = ms_go_calls_at(g->heap->functions, code, calls, CALLS_MAX);
    const bool found = count && calls[count - 1].entry == code;
    ms_auto_free char *name = NULL;
    if (asprintf(&name, "closure%s%s", found ? " " : "", found ? calls[count - 1].function : "") < 0) {
        name = NULL;
        return NULL;
    }
    const struct ms_type_plan plan = {
        .kind = MS_TYPE_STRUCT, .language = MS_LANGUAGE_GO, .name = name, .size = size, .identity = code};
    const struct ms_type *type = ms_type_add(g->shapes.types, &plan);
    if (!type || !ms_map_put(&g->closures, code, size, type->id))
        g->t->failed = true;
    else if (found)
        ms_go_describe_closure(&g->shapes, g->heap->go->symbols, type, code, calls[count - 1].function);
    return type;
}

static bool is_code(const struct ms_go_typing *g, uint64_t address)
{
    for (size_t i = 0; i < g->heap->go->modules.count; i++) {
        const struct ms_go_range *text = &g->heap->go->modules.items[i].text;
        if (address >= text->start && address < text->end)
            return true;
    }
    return false;
}

static void claim_closure(struct ms_go_typing *g, uint64_t address, bool guess)
{
    struct object object;
    uint64_t code;
    if (!find_object(g, address, &object) || address != object.address || !read_word(g, address, &code) ||
        !is_code(g, code) || object.slot->level >= MS_LEVEL_VALUE)
        return;
    const struct ms_go_claim claim = {.type = closure_type(g, code, object.size)};
    if (claim.type)
        set(g, &object, &claim, 1, guess ? MS_LEVEL_GUESS : MS_LEVEL_VTABLE);
}

static void claim_structure(struct ms_go_typing *g, const struct ms_type *type, const struct ms_go_type *owner,
                            uint64_t address, bool guess)
{
    struct ms_go_claim claim = {
        .address = address, .type = type, .count = 1, .owner = owner, .container = true, .guess = guess};
    const struct ms_type *element = owner->element ? ms_go_whole(&g->shapes, owner->element) : NULL;
    if (!address || !type->size)
        return;
    if (owner->kind == MS_GO_CHAN && element && !ms_go_shape_of(&g->shapes, element)->links.count) {
        uint64_t capacity = 0; /* makechan(): the buffer is part of the channel then */
        for (size_t i = 0; i < type->member_count; i++)
            if (strcmp(type->members[i].name, "dataqsiz") == 0)
                read_word(g, address + type->members[i].offset, &capacity);
        if (element->size && capacity < SIZE_MAX_SANE / element->size)
            claim.extra = capacity * element->size;
    }
    take(g, &claim);
}

/* The data word DATA of an interface that has a value of TYPE. */
static void claim_dynamic(struct ms_go_typing *g, const struct ms_go_type *type, uint64_t data, bool guess)
{
    if (!type || !data)
        return;
    if (type->direct) {
        claim_pointer(g, type, data, guess);
        return;
    }
    const struct ms_go_claim claim = {.address = data,
                                      .type = ms_type_complete(g->shapes.types, type->type),
                                      .count = 1,
                                      .exact = !guess,
                                      .guess = guess};
    if (claim.type->size)
        take(g, &claim);
}

/* POINTER is the one word of a value of TYPE. */
static void claim_pointer(struct ms_go_typing *g, const struct ms_go_type *type, uint64_t pointer, bool guess)
{
    const struct ms_go_shape *shape = ms_go_shape_of(&g->shapes, type->type);
    const struct ms_go_link *link = shape->links.count == 1 ? shape->links.items : NULL;
    if (!link)
        return;
    if (link->how == MS_GO_LINK_VALUE)
        claim_values(g, pointer, link->to, 1, guess);
    else if (link->how == MS_GO_LINK_STRUCTURE && link->to)
        claim_structure(g, link->to, link->owner, pointer, guess);
    else if (link->how == MS_GO_LINK_FUNCTION)
        claim_closure(g, pointer, guess);
}

static void claim_directory(struct ms_go_typing *g, const struct ms_go_link *link, uint64_t base, uint64_t pointer,
                            bool guess)
{
    /* dirLen follows dirPtr (internal/runtime/maps/map.go); 0: a small map, that is one group. */
    uint64_t length;
    if (!read_word(g, base + link->offset + 8, &length))
        return;
    if (!length)
        claim_units(g, pointer, link->to, 1, guess);
    else if (link->owner->map.table && length < SIZE_MAX_SANE / 8)
        claim_units(g, pointer, link->owner->map.table, length, guess);
}

/* mapextra begins with overflow and oldoverflow, both *[]*bmap (runtime/map.go). */
static void claim_extra(struct ms_go_typing *g, const struct ms_go_link *link, uint64_t pointer, bool guess)
{
    const struct ms_type *extra = ms_type_named(g->shapes.types, "runtime.mapextra");
    if (extra && !guess)
        claim_values(g, pointer, ms_go_whole(&g->shapes, extra), 1, guess);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t list, slice[3], bucket;
        if (!read_word(g, pointer + 8 * i, &list) || !list ||
            !ms_image_read(g->t->image, list, slice, sizeof slice))
            continue;
        for (uint64_t k = 0; k < slice[1] && k < OVERFLOWS_MAX && read_word(g, slice[0] + 8 * k, &bucket); k++)
            claim_units(g, bucket, link->to, 1, guess);
    }
}

/* What LINK of a value at BASE says. */
static void claim_link(struct ms_go_typing *g, const struct ms_go_link *link, uint64_t base, bool guess)
{
    const uint64_t at = base + link->offset;
    uint64_t words[3] = {0}, pointer;
    if (!read_word(g, at, &words[0]) || !words[0])
        return;
    pointer = words[0];
    switch (link->how) {
    case MS_GO_LINK_VALUE:
        claim_values(g, pointer, link->to, 1, guess);
        break;
    case MS_GO_LINK_UNITS:
        claim_units(g, pointer, link->to, 0, guess);
        break;
    case MS_GO_LINK_STRUCTURE:
        if (link->to)
            claim_structure(g, link->to, link->owner, pointer, guess);
        break;
    case MS_GO_LINK_SLICE:
        if (read_word(g, at + 16, &words[2]) && words[2] && link->to && link->to->size &&
            words[2] < SIZE_MAX_SANE / link->to->size)
            claim_slice(g, pointer, link->to, words[2], guess);
        break;
    case MS_GO_LINK_STRING:
        if (read_word(g, at + 8, &words[1]) && words[1] && words[1] < SIZE_MAX_SANE)
            claim_slice(g, pointer, g->text, words[1], guess);
        break;
    case MS_GO_LINK_EMPTY:
    case MS_GO_LINK_INTERFACE:
        if (read_word(g, at + 8, &words[1]))
            claim_dynamic(g,
                          link->how == MS_GO_LINK_EMPTY ? ms_go_type_at(g->go_types, pointer)
                                                        : ms_go_type_of_itab(g->go_types, pointer),
                          words[1], guess);
        break;
    case MS_GO_LINK_FUNCTION:
        claim_closure(g, pointer, guess);
        break;
    case MS_GO_LINK_DIRECTORY:
        claim_directory(g, link, base, pointer, guess);
        break;
    case MS_GO_LINK_EXTRA:
        claim_extra(g, link, pointer, guess);
        break;
    case MS_GO_LINK_BUFFER: /* dataqsiz is before buf */
        if (read_word(g, at - 8, &words[1]) && words[1] && link->to && link->to->size &&
            words[1] < SIZE_MAX_SANE / link->to->size)
            claim_units(g, pointer, link->to, words[1], guess);
        break;
    case MS_GO_LINK_LOCALS:
        if (read_word(g, at + 8, &words[1]) && words[1] && words[1] < SIZE_MAX_SANE / link->to->size)
            claim_units(g, pointer, link->to, words[1], guess);
        break;
    default:
        break;
    }
}

/* Values are looked at in batches of so many words that point somewhere, whose memory is asked for ahead. */
#define AHEAD 64u

/* A pointer that is to be looked at. */
struct ahead {
    const struct ms_go_link *link;
    uint64_t base; /* of the value */
    uint64_t line; /* of what it points to, in the index; MS_NOTHING: not to the heap */
};

static void look_ahead(struct ms_go_typing *g, struct ahead *a)
{
    uint64_t pointer;
    a->line = MS_NOTHING;
    if (!read_word(g, a->base + a->link->offset + ms_go_pointer_offset(a->link), &pointer) || !pointer)
        return;
    const struct ms_segment *segment = ms_heap_segment(g->t->heap, pointer);
    if (!segment)
        return;
    a->line = ms_address_granule(g->t->heap, segment, pointer) / MS_LINE_GRANULES;
    __builtin_prefetch(&g->t->heap->lines[a->line]);
    __builtin_prefetch(&g->t->rank[a->line]);
}

static void claim_batch(struct ms_go_typing *g, struct ahead *batch, size_t count, bool guess)
{
    for (size_t i = 0; i < count; i++)
        look_ahead(g, &batch[i]);
    for (size_t i = 0; i < count; i++)
        if (batch[i].line != MS_NOTHING)
            __builtin_prefetch(&g->t->slots[g->t->rank[batch[i].line]]);
    for (size_t i = 0; i < count; i++)
        claim_link(g, batch[i].link, batch[i].base, guess);
}

static void drain(struct ms_go_typing *g)
{
    struct ahead batch[AHEAD];
    while (g->work.count && !g->t->failed && !g->shapes.failed) {
        const struct ms_go_work work = g->work.items[--g->work.count];
        const struct ms_go_shape *shape = ms_go_shape_of(&g->shapes, work.type);
        size_t count = 0;
        for (uint64_t i = 0; i < work.count; i++)
            for (size_t k = 0; k < shape->links.count; k++) {
                batch[count++] = (struct ahead){&shape->links.items[k], work.address + i * work.type->size, 0};
                if (count == AHEAD) {
                    claim_batch(g, batch, count, work.guess);
                    count = 0;
                }
            }
        claim_batch(g, batch, count, work.guess);
    }
}

/* --- where types come from --------------------------------------------------------------------- */

/* Calls VISIT with each live object of which less is known than LEVEL. */
static void each_object(struct ms_go_typing *g, unsigned level,
                        void (*visit)(struct ms_go_typing *g, const struct object *object))
{
    const struct ms_heap *heap = g->t->heap;
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++) {
        const uint32_t all = ms_scope_bits(g->t, &heap->lines[l]);
        const struct ms_slot *slot = &g->t->slots[g->t->rank[l]];
        for (uint32_t bits = all; bits; bits &= bits - 1, slot++) {
            struct object object;
            if (slot->level < level && object_at(g, l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits), &object))
                visit(g, &object);
        }
    }
}

/* Objects whose finalizers are to run: the runtime has their types. */
static void seed_finalized(struct ms_go_typing *g)
{
    struct ms_go_finalized_list finalized;
    struct ms_error *error = ms_go_finalized_read(g->heap, &finalized);
    if (error) { /* types are known without them */
        ms_error_free(error);
        return;
    }
    for (size_t i = 0; i < finalized.list.count; i++) {
        const struct ms_go_type *type = ms_go_type_at(g->go_types, finalized.list.items[i].type);
        if (type && type->kind == MS_GO_POINTER)
            claim_dynamic(g, type, finalized.list.items[i].address, false);
    }
    ms_go_finalized_free(&finalized);
}

static void seed_header(struct ms_go_typing *g, const struct object *object)
{
    const uint64_t header = ms_go_object_type(g->heap, object->address);
    const struct ms_go_type *type = header ? ms_go_type_at(g->go_types, header) : NULL;
    if (!type)
        return;
    const struct ms_go_claim claim = {
        .address = object->address, .exact = true, .type = ms_type_complete(g->shapes.types, type->type)};
    if (claim.type->size && claim.type->size <= object->size)
        set(g, object, &claim, object->size / claim.type->size, MS_LEVEL_VTABLE);
}

/* A type and then a pointer: an interface, when what it points to is such a value. */
static void seed_pair(struct ms_go_typing *g, uint64_t address)
{
    uint64_t first, data;
    struct object object;
    if (!read_word(g, address - 8, &first) || !first || !read_word(g, address, &data) ||
        !find_object(g, data, &object))
        return;
    const struct ms_go_type *type = ms_go_type_at(g->go_types, first);
    if (!type)
        type = ms_go_type_of_itab(g->go_types, first);
    if (!type)
        return;
    if (type->direct || (data == object.address && fits(g, &object, type->type->size)))
        claim_dynamic(g, type, data, false);
}

static void seed_untyped(struct ms_go_typing *g, const struct object *object)
{
    if (!object->span || !object->span->scanned)
        return;
    for (uint64_t offset = 8; offset + 8 <= object->size; offset += 8)
        if (has_target(g->t->heap, object, offset))
            seed_pair(g, object->address + offset);
}

static int compare_roots(const void *a, const void *b)
{
    const struct ms_root *const *r = a, *const *s = b;
    return (*r)->address < (*s)->address ? -1 : (*r)->address > (*s)->address;
}

/* The word of ROOT, which is in PLACE if anything is known of it. */
static void seed_root(struct ms_go_typing *g, const struct ms_root *root, const struct ms_place_type *place)
{
    if (place->variable && place->variable->type) {
        const struct ms_go_shape *shape = ms_go_shape_of(&g->shapes, place->variable->type);
        const struct ms_go_link *link = ms_go_shape_link(shape, place->offset);
        if (link)
            claim_link(g, link, root->address - place->offset, false);
    } else {
        seed_pair(g, root->address);
    }
}

static struct ms_error *seed_roots(struct ms_go_typing *g)
{
    const struct ms_scan *scan = g->t->scan;
    struct ms_error *error = NULL;
    size_t count = 0;
    ms_auto_free const struct ms_root **roots = calloc(scan->root_count + 1, sizeof *roots);
    ms_auto_free uint64_t *addresses = calloc(scan->root_count + 1, sizeof *addresses);
    ms_auto_free struct ms_place_type *places = calloc(scan->root_count + 1, sizeof *places);
    if (!roots || !addresses || !places)
        return ms_error_nomem("the types of variables");
    for (size_t i = 0; i < scan->root_count; i++)
        if (scan->roots[i].address >= MS_PAGE && scan->roots[i].kind != MS_ROOT_REGISTER &&
            scan->roots[i].kind != MS_ROOT_KERNEL)
            roots[count++] = &scan->roots[i];
    if (!count)
        return NULL;
    qsort(roots, count, sizeof *roots, compare_roots);
    for (size_t i = 0; i < count; i++)
        addresses[i] = roots[i]->address;
    error = ms_types_find(g->shapes.types, addresses, count, places);
    for (size_t i = 0; !error && i < count; i++)
        seed_root(g, roots[i], &places[i]);
    return error;
}

/* The first of COUNT roots, sorted by address, from ADDRESS on. */
static size_t first_root_from(const struct ms_root **roots, size_t count, uint64_t address)
{
    size_t low = 0;
    while (low < count) {
        const size_t middle = (low + count) / 2;
        if (roots[middle]->address < address)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/* Of a local in pieces only the first word is known: it counts when the collector knows it in that frame. */
static void seed_piece(struct ms_go_typing *g, const struct ms_frame *frame, const struct ms_local *local,
                       const struct ms_root **roots, size_t count)
{
    const struct ms_go_shape *shape = ms_go_shape_of(&g->shapes, local->type);
    const struct ms_go_link *link = ms_go_shape_link(shape, 0);
    bool live = false;
    uint64_t word;
    for (size_t i = first_root_from(roots, count, frame->sp); i < count && roots[i]->address < frame->cfa; i++)
        live |= read_word(g, roots[i]->address, &word) && word == local->value;
    if (!live || !link)
        return;
    if (link->how == MS_GO_LINK_VALUE && link->to)
        claim_values(g, local->value, link->to, 1, false);
    else if (link->how == MS_GO_LINK_SLICE && link->to)
        claim_values(g, local->value, link->to, 0, false);
    else if (link->how == MS_GO_LINK_STRUCTURE && link->to)
        claim_structure(g, link->to, link->owner, local->value, false);
    else if (link->how == MS_GO_LINK_FUNCTION)
        claim_closure(g, local->value, false);
}

/* What LOCAL of FRAME claims by those of the roots that lie in it. */
static void seed_local(struct ms_go_typing *g, const struct ms_frame *frame, const struct ms_local *local,
                       const struct ms_root **roots, size_t count)
{
    if (!local->type)
        return;
    if (!local->address) {
        if (local->valued && local->value)
            seed_piece(g, frame, local, roots, count);
        return;
    }
    const struct ms_go_shape *shape = ms_go_shape_of(&g->shapes, local->type);
    for (size_t i = first_root_from(roots, count, local->address);
         i < count && roots[i]->address - local->address < shape->type->size; i++) {
        const struct ms_go_link *link = ms_go_shape_link(shape, roots[i]->address - local->address);
        if (link)
            claim_link(g, link, local->address, false);
    }
}

static struct ms_error *seed_stack(struct ms_go_typing *g, const struct ms_go_goroutine *goroutine,
                                   const struct ms_root **roots, size_t count)
{
    struct ms_stack stack = {0};
    struct ms_go_unwinder unwinder;
    struct ms_error *error = NULL;
    if (!ms_go_unwind(g->heap->goroutines, goroutine, &unwinder))
        return NULL;
    for (; unwinder.valid && !error && unwinder.index < FRAMES_MAX; ms_go_unwind_next(&unwinder))
        error = ms_add_frame(g->shapes.types, unwinder.frame.call, unwinder.frame.sp, unwinder.frame.fp, &stack);
    for (size_t i = 0; !error && i < stack.frames.count; i++)
        for (size_t k = 0; k < stack.frames.items[i].locals.count; k++)
            seed_local(g, &stack.frames.items[i], &stack.frames.items[i].locals.items[k], roots, count);
    ms_stack_free(&stack);
    return error;
}

/* The words that the collector takes for pointers, by the variables that they are. */
static struct ms_error *seed_locals(struct ms_go_typing *g)
{
    const struct ms_scan *scan = g->t->scan;
    ms_auto_free const struct ms_root **roots = calloc(scan->root_count + 1, sizeof *roots);
    size_t count = 0;
    if (!roots)
        return ms_error_nomem("the types of variables");
    for (size_t i = 0; i < scan->root_count; i++)
        if (scan->roots[i].kind == MS_ROOT_GOROUTINE && scan->roots[i].address >= MS_PAGE)
            roots[count++] = &scan->roots[i];
    if (count)
        qsort(roots, count, sizeof *roots, compare_roots);
    const struct ms_go_goroutines *all = g->heap->goroutines;
    for (size_t i = 0; count && all && i < all->list.count && i < GOROUTINES_MAX; i++)
        MS_TRY(seed_stack(g, &all->list.items[i], roots, count));
    return NULL;
}

static uint64_t typed_blocks(const struct ms_typing *t)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < t->count; i++)
        count += t->slots[i].level >= MS_LEVEL_GUESS;
    return count;
}

static struct ms_error *settle(struct ms_go_typing *g)
{
    drain(g);
    return g->t->failed || g->shapes.failed ? ms_error_nomem("the types of blocks") : NULL;
}

/* Facts first; then what looks like an interface in what nothing else has typed. */
static struct ms_error *find_all(struct ms_go_typing *g)
{
    each_object(g, MS_LEVEL_VTABLE + 1, seed_header);
    seed_finalized(g);
    MS_TRY(settle(g));
    if (g->t->scope == MS_TYPE_ALL)
        MS_TRY(ms_go_find_statics(g));
    if (g->t->scope == MS_TYPE_ALL)
        MS_TRY(seed_roots(g));
    MS_TRY(settle(g));
    if (g->t->scope == MS_TYPE_ALL && ms_types_known(g->shapes.types, g->heap->go->modules.items[0].text.start))
        MS_TRY(seed_locals(g));
    MS_TRY(settle(g));
    uint64_t before = 0, typed = typed_blocks(g->t);
    for (unsigned round = 0; round < ROUNDS_MAX && typed != before; round++) {
        before = typed;
        each_object(g, MS_LEVEL_GUESS, seed_untyped);
        MS_TRY(settle(g));
        typed = typed_blocks(g->t);
    }
    return NULL;
}

/* --- for guesses ------------------------------------------------------------------------------- */

bool ms_go_find_object(const struct ms_go_typing *g, uint64_t address, struct object *object)
{
    return find_object(g, address, object);
}

void ms_go_set_guess(struct ms_go_typing *g, const struct object *object, const struct ms_go_claim *claim,
                     uint64_t count)
{
    set(g, object, claim, count, MS_LEVEL_GUESS);
}

ms_result ms_go_settle(struct ms_go_typing *g)
{
    return settle(g);
}

/* --- what is pinned ---------------------------------------------------------------------------- */

static int most_first(const void *a, const void *b)
{
    const struct ms_pin *p = a, *q = b;
    const uint64_t mine = p->size - p->used, theirs = q->size - q->used;
    return mine != theirs ? (mine > theirs ? -1 : 1) : p->address < q->address ? -1 : p->address > q->address;
}

/* Who points to what may be pinned: all of them must be known, one that is not may be the slice of all. */
struct holders {
    struct ms_go_typing *g;
    bool unknown;
};

static void look_at_holder(void *context, const struct ms_pointer *pointer)
{
    struct holders *h = context;
    struct ms_place_type place = {0};
    if (pointer->root) {
        struct ms_error *error = pointer->root->kind == MS_ROOT_DATA
                                     ? ms_types_find(h->g->shapes.types, &pointer->root->address, 1, &place)
                                     : NULL;
        ms_error_free(error);
        h->unknown |= !place.variable;
    } else {
        const struct ms_slot *slot = ms_slot_of(h->g->t, pointer->holder);
        h->unknown |= slot && slot->level < MS_LEVEL_VALUE;
    }
}

static bool are_holders_known(struct ms_go_typing *g, uint64_t address)
{
    struct holders h = {.g = g};
    struct object object;
    if (!find_object(g, address, &object))
        return false;
    ms_each_pointer_to(g->t->scan, object.start, look_at_holder, &h);
    return !h.unknown;
}

static struct ms_error *find_pins(struct ms_go_typing *g)
{
    for (size_t i = 0; i < g->sliced.size; i++) {
        const struct ms_map_entry *e = &g->sliced.entries[i];
        const struct ms_slot *slot = e->used ? ms_slot_of(g->t, e->a) : NULL;
        const uint64_t size = slot ? ms_block_size(g->t->heap, e->a) : 0;
        if (!slot || slot->level >= MS_LEVEL_VALUE || e->value > size / PIN_PART)
            continue;
        struct ms_pin *pin = ms_vector_add(&g->pins);
        if (!pin)
            return ms_error_nomem("the types of blocks");
        *pin = (struct ms_pin){ms_granule_address(g->t->heap, e->a), size, e->value};
    }
    ms_vector_sort(&g->pins, most_first);
    size_t kept = 0;
    for (size_t i = 0; i < g->pins.count && i < PINS_MAX; i++)
        if (are_holders_known(g, g->pins.items[i].address))
            g->pins.items[kept++] = g->pins.items[i];
    g->pins.count = kept;
    return NULL;
}

/* --- life -------------------------------------------------------------------------------------- */

static struct ms_error *make_types(struct ms_go_typing *g, struct ms_types *types)
{
    const struct ms_type_plan text = {.kind = MS_TYPE_BASE,
                                      .language = MS_LANGUAGE_GO,
                                      .name = "string data",
                                      .size = 1,
                                      .encoding = DW_ATE_UTF,
                                      .identity = 2};
    const struct ms_type_plan tiny = {
        .kind = MS_TYPE_STRUCT, .language = MS_LANGUAGE_GO, .name = "tiny values", .size = TINY, .identity = 2};
    MS_TRY(ms_go_types_new((struct ms_go *)g->heap->go, types, &g->go_types));
    g->text = ms_type_add(types, &text);
    g->tiny = ms_type_add(types, &tiny);
    g->shapes.go_types = g->go_types;
    g->shapes.types = types;
    return g->text && g->tiny ? NULL : ms_error_nomem("the types of blocks");
}

ms_result ms_go_find_types(struct ms_typing *t, struct ms_types *types)
{
    struct ms_go_typing *g = t->go = calloc(1, sizeof *g);
    if (!g)
        return ms_error_nomem("the types of blocks");
    g->t = t;
    g->heap = t->scan->go;
    struct ms_error *error = make_types(g, types);
    error = error ? error : find_all(g);
    error = error ? error : ms_go_guess(g);
    error = error ? error : find_pins(g);
    ms_map_free(&g->sliced);
    ms_vector_free(&g->work);
    ms_map_free(&g->seen);
    return error;
}

void ms_go_typing_free(struct ms_go_typing *g)
{
    if (!g)
        return;
    ms_vector_free(&g->work);
    ms_map_free(&g->seen);
    ms_map_free(&g->counts);
    ms_map_free(&g->closures);
    ms_map_free(&g->sliced);
    ms_vector_free(&g->pins);
    ms_go_shapes_free(&g->shapes);
    ms_go_types_free(g->go_types);
    free(g);
}

/* --- answers ----------------------------------------------------------------------------------- */

struct ms_block_type ms_go_block_type(const struct ms_typing *t, const struct ms_slot *slot, uint64_t start)
{
    struct ms_block_type what = {.type = ms_slot_type(t, slot), .count = 1};
    if (!what.type || slot->level < MS_LEVEL_GUESS)
        return (struct ms_block_type){0};
    what.evidence = slot->level == MS_LEVEL_GUESS || slot->contested ? MS_BY_GUESS
                    : slot->level == MS_LEVEL_VTABLE                 ? MS_BY_HEADER
                    : slot->container                                ? MS_BY_CONTAINER
                                                                     : MS_BY_POINTER;
    const uint64_t *count =
        slot->partial && slot->at == MS_SLOT_AT_MAX ? ms_map_get(&t->go->counts, start, 0) : NULL;
    if (slot->array && what.type->size)
        what.count = count ? *count : slot->partial ? slot->at : ms_block_size(t->heap, start) / what.type->size;
    return what;
}
