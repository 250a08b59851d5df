/* Guesses of Go: what an object may be that nothing claims, when only one of the types that the program allocates
 * agrees with its size, its pointers and what these point to. */
#include "goguess.h"

#include <stdlib.h>
#include <string.h>

#include "gocandidates.h"
#include "map.h"

#define WORDS_LOOKED_AT 4096u /* of an object's map of pointers */
#define BYTES_LOOKED_AT 4096u /* of what is in it */
#define CHOICES_MOST    1024u /* types of the same size and map: among more none is guessed … */
#define CHOICES_MANY    64u   /* … and among so many only for the first objects in each round */
#define OBJECTS_MOST    20000u
#define LENGTH_MOST     (1ull << 40)
#define ROUNDS_MOST     8u
/* So many words that point to what is typed outweigh candidates that say nothing of what they point to. */
#define TYPED_ENOUGH 3u
/* A map of pointers that changes so often between pointers and none is nobody else's. */
#define CHANGES_ENOUGH 8u
/* Share of bytes that must be without a type before the code is read for guesses. */
#define UNTYPED_SHARE 200u

/* What an object may be: COUNT of a candidate. */
struct choice {
    uint32_t candidate; /* index */
    uint64_t count;
};

/* A size of slots with a map of pointers, and those candidates that have both. */
struct kind {
    uint32_t first, count; /* in `choices` */
    uint64_t last;         /* the last word that is a pointer, of those that are looked at */
    uint32_t changes;      /* in the map, from pointers to none and back */
    uint32_t looked_at;    /* objects of it in this round */
};

struct guesser {
    struct ms_go_typing *g;
    struct ms_go_candidates candidates;
    struct ms_map kind_index; /* by slot and hash of the map */
    MS_VECTOR(struct kind) kinds;
    MS_VECTOR(struct choice) choices;
    uint64_t map[WORDS_LOOKED_AT / 64];
    uint64_t guessed;
    bool failed; /* memory was short */
};

/* --- which of them an object may be ------------------------------------------------------------ */

/* The map of OBJECT into u->map; returns its hash. */
static uint64_t read_map(struct guesser *u, const struct object *object)
{
    const uint64_t words =
        object->size / MS_GO_WORD < WORDS_LOOKED_AT ? object->size / MS_GO_WORD : WORDS_LOOKED_AT;
    uint64_t hash = 14695981039346656037u;
    memset(u->map, 0, (words + 63) / 64 * 8);
    for (uint64_t i = 0; i < words; i++)
        if (ms_go_heap_is_pointer(u->g->heap, object->start + i))
            u->map[i / 64] |= 1ull << i % 64;
    for (uint64_t i = 0; i < (words + 63) / 64; i++) {
        hash = (hash ^ u->map[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* How many of C are in an object with the map in u->map, whose last pointer is word LAST; 0: it is none of them. */
static uint64_t count_in(const struct guesser *u, const struct ms_go_candidate *c, const struct object *object,
                         uint64_t last)
{
    if (c->many ? c->slot > object->size : c->slot != object->size)
        return 0;
    const uint64_t words = object->size / MS_GO_WORD, size = c->type->size / MS_GO_WORD;
    uint64_t count = 1;
    if (c->many && words > WORDS_LOOKED_AT)
        count = words / size; /* what comes behind those words is not looked at */
    else if (c->many && last >= c->plan->last && (last - c->plan->last) % size == 0)
        count = (last - c->plan->last) / size + 1;
    if ((count == 1 && !c->one && !c->many) || count * size > words ||
        ms_go_slot_size(u->g->heap, count * c->type->size) != object->size)
        return 0;
    for (uint64_t i = 0; i < words && i < WORDS_LOOKED_AT; i++)
        if (ms_go_bit(u->map, i) !=
            (i < count * size && i % size <= c->plan->last && ms_go_bit(c->plan->pointers, i % size)))
            return 0;
    return count;
}

static bool make_kind(struct guesser *u, const struct object *object, struct kind *kind)
{
    bool before = false, any = false;
    *kind = (struct kind){.first = (uint32_t)u->choices.count};
    for (uint64_t i = 0; i < object->size / MS_GO_WORD && i < WORDS_LOOKED_AT; i++) {
        const bool now = ms_go_bit(u->map, i);
        kind->changes += now != before;
        kind->last = now ? i : kind->last;
        any |= now;
        before = now;
    }
    for (size_t i = 0; any && i < u->candidates.list.count; i++) {
        const uint64_t count = count_in(u, &u->candidates.list.items[i], object, kind->last);
        struct choice *choice = count ? ms_vector_add(&u->choices) : NULL;
        if (count && !choice)
            return false;
        if (choice)
            *choice = (struct choice){(uint32_t)i, count};
        kind->count += count != 0;
    }
    return true;
}

static struct kind *kind_of(struct guesser *u, const struct object *object)
{
    const uint64_t hash = read_map(u, object);
    const uint64_t *known = ms_map_get(&u->kind_index, object->size, hash);
    if (known)
        return &u->kinds.items[*known];
    struct kind *kind = ms_vector_add(&u->kinds);
    if (!kind || !make_kind(u, object, kind) ||
        !ms_map_put(&u->kind_index, object->size, hash, u->kinds.count - 1)) {
        u->failed = true;
        return NULL;
    }
    return kind;
}

/* --- does what is in it agree? ----------------------------------------------------------------- */

/* A value that is looked at. */
struct look {
    struct guesser *u;
    const struct ms_go_candidate *candidate;
    const uint8_t *bytes;
    unsigned agreed; /* words that say so */
    unsigned typed;  /* of these, those that point to what is typed */
};

static uint64_t word_at(const struct look *l, uint64_t offset)
{
    uint64_t word;
    memcpy(&word, l->bytes + offset, sizeof word);
    return word;
}

/* Is ADDRESS among the variables or constants of a module? */
static bool is_static(const struct guesser *u, uint64_t address)
{
    const struct ms_go *go = u->g->heap->go;
    for (size_t i = 0; i < go->modules.count; i++) {
        const struct ms_go_module *m = &go->modules.items[i];
        if (ms_go_is_in(&m->noptrdata, address) || ms_go_is_in(&m->data, address) || ms_go_is_in(&m->bss, address) ||
            ms_go_is_in(&m->noptrbss, address) || ms_go_is_in(&m->types, address))
            return true;
    }
    return false;
}

static bool is_code(const struct guesser *u, uint64_t address)
{
    const struct ms_go *go = u->g->heap->go;
    for (size_t i = 0; i < go->modules.count; i++)
        if (ms_go_is_in(&go->modules.items[i].text, address))
            return true;
    return false;
}

/* Are the pointers of what is at word FIRST of OBJECT where PLAN has them, for SIZE bytes? */
static bool has_pointers_of(const struct guesser *u, const struct object *object, uint64_t first,
                            const struct ms_go_plan *plan, uint64_t size)
{
    const bool scanned = !object->span || object->span->scanned;
    if (!plan->known)
        return true; /* nothing to be said */
    if (!scanned)
        return !plan->any;
    for (uint64_t i = 0; i < size / MS_GO_WORD && i < MS_GO_PLAN_WORDS; i++)
        if (ms_go_heap_is_pointer(u->g->heap, object->start + first + i) != ms_go_bit(plan->pointers, i))
            return false;
    return true;
}

/* Is what begins at ADDRESS a closure: does its first word point to where a function begins? */
static bool is_closure(const struct guesser *u, uint64_t address)
{
    struct ms_go_function function;
    uint64_t code;
    return ms_image_read_word(u->g->t->image, address, &code) && is_code(u, code) &&
           ms_go_function_at(u->g->heap->functions, code, &function) && function.entry == code;
}

/* Is OBJECT what nothing but a map or a channel points to? */
static bool is_inner(const struct object *object, const struct ms_type *type)
{
    return object->slot->container || strncmp(type->name, "map.", 4) == 0;
}

/* May COUNT values of TYPE be at ADDRESS of OBJECT? */
static bool may_be_at(struct look *l, const struct object *object, uint64_t address, const struct ms_type *type,
                      uint64_t count)
{
    struct guesser *u = l->u;
    const uint64_t delta = address - object->address;
    if (count > (object->size - delta) / type->size)
        return false;
    const struct ms_type *known = ms_slot_type(u->g->t, object->slot);
    if (known && known->size && object->slot->level >= MS_LEVEL_GUESS && !object->slot->contested &&
        known != u->g->tiny && !object->slot->partial) {
        /* A few bytes may be anywhere. */
        const bool telling = type->size >= MS_GO_WORD || known->size == type->size;
        l->agreed += telling;
        l->typed += !telling ? 0 : is_inner(object, known) ? TYPED_ENOUGH : 1;
        return ms_go_holds_at(&u->g->shapes, known, object->slot->array ? delta % known->size : delta, type) ||
               (known->size == 1 && type->size == 1);
    }
    if (delta == 0 && is_closure(u, address))
        return false;
    const struct ms_go_plan *plan = ms_go_plan_of(&u->candidates, type);
    l->agreed += plan->any || ms_go_slot_size(u->g->heap, count * type->size) == object->size;
    return delta % MS_GO_WORD && plan->known ? !plan->any
                                             : has_pointers_of(u, object, delta / MS_GO_WORD, plan, type->size);
}

/* Can ADDRESS be that of COUNT values of TYPE? */
static bool may_point(struct look *l, uint64_t address, const struct ms_type *type, uint64_t count)
{
    struct object object;
    if (!type || !type->size || type == l->u->candidates.bucket)
        return true;
    if (ms_go_find_object(l->u->g, address, &object))
        return may_be_at(l, &object, address, type, count);
    const struct ms_go_span *span = ms_go_heap_span(l->u->g->heap, address);
    return span ? span->manual : is_static(l->u, address); /* the runtime's own point to stacks */
}

static bool suits_string(struct look *l, uint64_t offset)
{
    const uint64_t pointer = word_at(l, offset), length = word_at(l, offset + 8);
    struct object object;
    if (!pointer || !length)
        return !length;
    if (length > LENGTH_MOST)
        return false;
    l->agreed++;
    if (ms_go_find_object(l->u->g, pointer, &object))
        return length <= object.address + object.size - pointer && !(object.span && object.span->scanned);
    return is_static(l->u, pointer);
}

static bool suits_slice(struct look *l, const struct ms_go_link *link)
{
    const uint64_t pointer = word_at(l, link->offset), length = word_at(l, link->offset + 8),
                   capacity = word_at(l, link->offset + 16);
    if (length > capacity || capacity > LENGTH_MOST || (!pointer && capacity))
        return false;
    return !capacity || may_point(l, pointer, link->to, capacity);
}

static bool suits_interface(struct look *l, const struct ms_go_link *link)
{
    const uint64_t word = word_at(l, link->offset), data = word_at(l, link->offset + 8);
    if (!word)
        return !data;
    const struct ms_go_type *type = link->how == MS_GO_LINK_EMPTY ? ms_go_type_at(l->u->g->go_types, word)
                                                                  : ms_go_type_of_itab(l->u->g->go_types, word);
    if (!type)
        return false;
    l->agreed++;
    return !data || type->direct || may_point(l, data, type->type, 1);
}

static bool suits_function(struct look *l, uint64_t pointer)
{
    uint64_t code;
    if (!ms_image_read_word(l->u->g->t->image, pointer, &code) || !is_code(l->u, code))
        return false;
    l->agreed++;
    return true;
}

/* A map or a channel. */
static bool suits_structure(struct look *l, const struct ms_go_link *link, uint64_t pointer)
{
    struct object object;
    if (!ms_go_find_object(l->u->g, pointer, &object))
        return is_static(l->u, pointer) || ms_go_heap_span(l->u->g->heap, pointer); /* … of a stack */
    if (object.address != pointer)
        return false;
    l->agreed++;
    if (object.slot->level >= MS_LEVEL_GUESS && !object.slot->contested && link->to) {
        l->typed++;
        return ms_slot_type(l->u->g->t, object.slot) == link->to;
    }
    const bool is_map = link->owner->kind == MS_GO_MAP;
    const struct ms_go_plan *plan = is_map ? l->u->candidates.map : l->u->candidates.channel;
    if (!plan || !link->to || (!is_map && object.span && !object.span->scanned))
        return !is_map || !plan;
    return object.size >= link->to->size && (!is_map || ms_go_slot_size(l->u->g->heap, link->to->size) == object.size) &&
           has_pointers_of(l->u, &object, 0, plan, link->to->size);
}

static bool suits_link(struct look *l, const struct ms_go_link *link)
{
    const uint64_t pointer = word_at(l, link->offset);
    if (!pointer && link->how != MS_GO_LINK_SLICE && link->how != MS_GO_LINK_STRING &&
        link->how != MS_GO_LINK_EMPTY && link->how != MS_GO_LINK_INTERFACE)
        return true;
    switch (link->how) {
    case MS_GO_LINK_STRING:
        return suits_string(l, link->offset);
    case MS_GO_LINK_SLICE:
        return suits_slice(l, link);
    case MS_GO_LINK_EMPTY:
    case MS_GO_LINK_INTERFACE:
        return suits_interface(l, link);
    case MS_GO_LINK_FUNCTION:
        return suits_function(l, pointer);
    case MS_GO_LINK_STRUCTURE:
        return suits_structure(l, link, pointer);
    case MS_GO_LINK_DIRECTORY: /* of a small map it is one group, of others it points to tables */
        return word_at(l, link->offset + 8) ? may_point(l, pointer, link->owner->map.table, 1)
                                            : may_point(l, pointer, link->to, 1);
    case MS_GO_LINK_VALUE:
    case MS_GO_LINK_UNITS:
    case MS_GO_LINK_BUFFER:
        return may_point(l, pointer, link->to, 1);
    default:
        return true;
    }
}

/* Bytes from a link's offset that suits_link() looks at. */
static uint64_t length_of(const struct ms_go_link *link)
{
    switch (link->how) {
    case MS_GO_LINK_SLICE:
        return 24;
    case MS_GO_LINK_STRING:
    case MS_GO_LINK_EMPTY:
    case MS_GO_LINK_INTERFACE:
    case MS_GO_LINK_DIRECTORY:
        return 16;
    default:
        return 8;
    }
}

static bool suits_value(struct look *l)
{
    const struct ms_go_candidate *c = l->candidate;
    const struct ms_go_shape *shape = ms_go_shape_of(&l->u->g->shapes, c->type);
    if (c->owner && c->owner->kind == MS_GO_CHAN && c->owner->element) {
        const struct ms_go_type *element = ms_go_type_of(l->u->g->go_types, c->owner->element);
        const uint64_t offset = l->u->candidates.channel_element;
        if (offset && offset + 8 <= c->type->size && element && word_at(l, offset) != element->header)
            return false;
        l->agreed++;
    }
    for (unsigned i = 0; !c->owner && i < c->plan->bool_count; i++)
        if (l->bytes[c->plan->bools[i]] > 1)
            return false;
    for (size_t i = 0; i < shape->links.count; i++)
        if (shape->links.items[i].offset + length_of(&shape->links.items[i]) <= c->type->size &&
            !suits_link(l, &shape->links.items[i]))
            return false;
    return true;
}

/* Does what OBJECT has, whose first SIZE bytes are at BYTES, agree with COUNT of the look's candidate? */
static bool suits(struct look *l, const uint8_t *bytes, uint64_t size, uint64_t count)
{
    const uint64_t each = l->candidate->type->size;
    if (each > size)
        return false;
    for (uint64_t i = 0; i < count && (i + 1) * each <= size; i++) {
        l->bytes = bytes + i * each;
        if (!suits_value(l))
            return false;
    }
    return true;
}

/* --- the only one ------------------------------------------------------------------------------ */

static bool is_zero(const uint8_t *bytes, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

/* The best of those of KIND that suit. Is it the only one, and is there something that speaks for it? */
static bool choose(struct guesser *u, const struct kind *kind, const uint8_t *bytes, uint64_t size,
                   struct ms_go_claim *claim)
{
    struct look best = {.u = u};
    bool rival = false, silent = false;
    for (uint32_t i = 0; i < kind->count && !rival; i++) {
        const struct choice *choice = &u->choices.items[kind->first + i];
        struct look l = {.u = u, .candidate = &u->candidates.list.items[choice->candidate]};
        if (!suits(&l, bytes, size, choice->count))
            continue;
        rival = best.candidate && l.agreed && best.agreed;
        silent |= best.candidate && !rival;
        if (!best.candidate || (!best.agreed && l.agreed)) {
            best = l;
            claim->count = choice->count;
        }
    }
    /* Code that several types share knows only what they have in common; the object is of one of them. */
    if (!best.candidate || strstr(best.candidate->type->name, "go.shape."))
        return false;
    claim->type = best.candidate->type;
    claim->container = best.candidate->container;
    return !rival && (!silent || best.typed >= TYPED_ENOUGH) &&
           (best.agreed || (kind->changes >= CHANGES_ENOUGH && !is_zero(bytes, size)));
}

static void guess_object(struct guesser *u, const struct object *object)
{
    uint8_t bytes[BYTES_LOOKED_AT];
    uint64_t code;
    const uint64_t size = object->size < sizeof bytes ? object->size : sizeof bytes;
    struct ms_go_claim claim = {.guess = true};
    struct kind *kind = kind_of(u, object);
    if (!kind || !kind->count || kind->count > CHOICES_MOST ||
        (kind->count > CHOICES_MANY && kind->looked_at++ >= OBJECTS_MOST) ||
        !ms_image_read(u->g->t->image, object->address, bytes, size))
        return;
    memcpy(&code, bytes, sizeof code);
    if (is_code(u, code) || !choose(u, kind, bytes, size, &claim))
        return; /* a closure is what its function makes it */
    ms_go_set_guess(u->g, object, &claim, claim.count);
    u->guessed++;
}

/* --- all of them ------------------------------------------------------------------------------- */

/* Calls VISIT with each object that has pointers and no type. */
static void each_untyped(struct guesser *u, void (*visit)(struct guesser *u, const struct object *object))
{
    const struct ms_heap *heap = u->g->t->heap;
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++)
        for (uint32_t bits = ms_scope_bits(u->g->t, &heap->lines[l]); bits; bits &= bits - 1) {
            const uint64_t start = l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits);
            const struct ms_slot *slot = ms_slot_of(u->g->t, start);
            struct object object;
            if (slot && slot->level < MS_LEVEL_GUESS &&
                ms_go_find_object(u->g, ms_granule_address(heap, start), &object) && object.start == start &&
                object.span && object.span->scanned && !object.span->header)
                visit(u, &object);
        }
}

static void count_bytes(struct guesser *u, const struct object *object)
{
    u->guessed += object->size;
}

/* Guesses that contradict each other are none. */
static void drop_contested(struct ms_typing *t)
{
    for (uint64_t i = 0; i < t->count; i++)
        if (t->slots[i].level == MS_LEVEL_GUESS && t->slots[i].contested)
            t->slots[i].level = MS_LEVEL_NONE;
}

static struct ms_error *guess_all(struct guesser *u)
{
    MS_TRY(ms_go_candidates_read(&u->candidates));
    for (unsigned round = 0; round < ROUNDS_MOST; round++) {
        u->guessed = 0;
        for (size_t i = 0; i < u->kinds.count; i++)
            u->kinds.items[i].looked_at = 0;
        each_untyped(u, guess_object);
        if (u->failed || u->candidates.failed)
            return ms_error_nomem("guesses");
        if (!u->guessed)
            break;
        MS_TRY(ms_go_settle(u->g));
    }
    drop_contested(u->g->t);
    return NULL;
}

ms_result ms_go_guess(struct ms_go_typing *g)
{
    struct guesser u = {.g = g, .candidates = {.heap = g->heap, .shapes = &g->shapes}};
    struct ms_error *error = NULL;
    each_untyped(&u, count_bytes);
    if (u.guessed > g->heap->live.bytes / UNTYPED_SHARE)
        error = guess_all(&u);
    ms_go_candidates_free(&u.candidates);
    ms_map_free(&u.kind_index);
    ms_vector_free(&u.kinds);
    ms_vector_free(&u.choices);
    return error;
}
