/* Guesses of Go: what an object may be that nothing claims, when only one of the types that the program allocates
 * agrees with its size, its pointers and what these point to. */
#include "goguess.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/goallocs.h"

#define TYPES_MOST      200000u
#define MASK_WORDS      512u       /* types with pointers behind these are no candidates */
#define WORDS_LOOKED_AT 4096u      /* of an object's map of pointers */
#define VALUES_MOST     32u        /* of an array whose contents are looked at */
#define CHOICES_MOST    64u        /* types of the same size and map: more, and none of them is guessed */
#define FLAGS_MOST      16u        /* bools of a type that are looked at */
#define DEPTH_MOST      32u
#define LENGTH_MOST     (1ull << 40)
#define ROUNDS_MOST     4u
#define WORD            8u
#define UNTYPED_SHARE   1000u /* … */

/* A type that the program allocates, one value or several one behind another. */
struct candidate {
    const struct ms_type *type;     /* canonical and complete */
    const struct ms_go_type *owner; /* of the runtime's structure of a map or channel */
    uint64_t mask[MASK_WORDS / 64]; /* a bit for each word that is a pointer to the collector */
    uint32_t words;                 /* of a value */
    uint32_t last;                  /* the last word that is a pointer */
    uint32_t flags[FLAGS_MOST];     /* offsets of bools */
    uint8_t flag_count;
    bool container;                 /* only maps and channels allocate it */
};

/* A size of slots with a map of pointers, and those candidates that have both. */
struct kind {
    uint32_t first, count; /* in `choices` */
};

struct guesser {
    struct ms_go_typing *g;
    MS_VECTOR(struct candidate) list;
    MS_VECTOR(const struct ms_go_type *) work; /* types that are allocated; more come while they are looked at */
    struct ms_map seen;                        /* their ids */
    struct ms_map kinds;                       /* by slot and hash of the map: index of a kind + 1 */
    MS_VECTOR(struct kind) list_of_kinds;
    MS_VECTOR(uint32_t) choices; /* indices of candidates */
    uint64_t map[WORDS_LOOKED_AT / 64];
    uint64_t guessed;
    bool failed;
};

static bool bit(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

/* --- maps of types ----------------------------------------------------------------------------- */

struct mapping {
    struct guesser *u;
    struct candidate *c;
    unsigned steps;
    bool failed; /* it is too big, or something of it is not known */
};

static void map_type(struct mapping *m, const struct ms_type *type, uint64_t offset, unsigned depth);

static void map_pointer(struct mapping *m, uint64_t offset)
{
    const uint64_t word = offset / WORD;
    if (offset % WORD || word >= MASK_WORDS) {
        m->failed = true;
        return;
    }
    m->c->mask[word / 64] |= 1ull << word % 64;
    m->c->last = word > m->c->last ? (uint32_t)word : m->c->last;
}

static void map_base(struct mapping *m, const struct ms_type *type, uint64_t offset)
{
    if (type->encoding == DW_ATE_boolean && type->size == 1 && m->c->flag_count < FLAGS_MOST)
        m->c->flags[m->c->flag_count++] = (uint32_t)offset;
}

static void map_made_of(struct mapping *m, const struct ms_type *type, uint64_t offset, unsigned depth)
{
    if (type->kind == MS_TYPE_ARRAY && type->target) {
        const uint64_t size = type->target->size;
        for (uint64_t i = 0; size && i < type->count && !m->failed; i++)
            map_type(m, type->target, offset + i * size, depth + 1);
    } else if (type->kind == MS_TYPE_STRUCT) {
        for (size_t i = 0; i < type->member_count && !m->failed; i++)
            if (type->members[i].type)
                map_type(m, type->members[i].type, offset + type->members[i].offset, depth + 1);
    } else if (type->kind == MS_TYPE_BASE) {
        map_base(m, type, offset);
    } else if (type->kind == MS_TYPE_POINTER) {
        map_pointer(m, offset);
    } else {
        m->failed = true;
    }
}

static void map_type(struct mapping *m, const struct ms_type *type, uint64_t offset, unsigned depth)
{
    struct ms_go_shapes *shapes = &m->u->g->shapes;
    if (depth > DEPTH_MOST || m->steps++ > 16 * MASK_WORDS || offset >= MASK_WORDS * WORD) {
        m->failed = true;
        return;
    }
    type = ms_go_whole(shapes, type);
    const struct ms_go_type *go = ms_go_type_of(shapes->go_types, type);
    switch (go ? go->kind : MS_GO_NONE) {
    case MS_GO_STRING:
    case MS_GO_SLICE:
    case MS_GO_FUNC:
    case MS_GO_MAP:
    case MS_GO_CHAN:
    case MS_GO_POINTER:
    case MS_GO_UNSAFE_POINTER:
        map_pointer(m, offset);
        return;
    case MS_GO_INTERFACE:
        map_pointer(m, offset + WORD); /* what its first word points to is never of the heap */
        return;
    default:
        map_made_of(m, type, offset, depth);
    }
}

/* --- candidates -------------------------------------------------------------------------------- */

/* TYPE, or COUNT of it, is allocated; WHOLE has the map of what TYPE, which is not known in full, is. */
static void add_candidate(struct guesser *u, const struct ms_type *type, const struct ms_go_type *owner,
                          const struct candidate *whole, bool container)
{
    struct candidate c = {.owner = owner, .container = container};
    struct mapping m = {.u = u, .c = &c};
    if (whole) {
        c = *whole;
        c.owner = owner;
        c.container = container;
    } else {
        type = ms_go_whole(&u->g->shapes, type);
        if (!type->size || type->size % WORD)
            return; /* it has no pointers */
        map_type(&m, type, 0, 0);
    }
    c.type = type;
    c.words = (uint32_t)(type->size / WORD);
    if (m.failed || !bit(c.mask, c.last))
        return;
    struct candidate *slot = ms_vector_add(&u->list);
    u->failed |= !slot;
    if (slot)
        *slot = c;
}

static void add_type(struct guesser *u, const struct ms_go_type *go)
{
    if (!go || !go->type || ms_map_get(&u->seen, go->type->id, 0) || u->work.count > TYPES_MOST)
        return;
    const struct ms_go_type **slot = ms_vector_add(&u->work);
    u->failed |= !slot || !ms_map_put(&u->seen, go->type->id, 0, 1);
    if (slot)
        *slot = go;
}

static void add_pointed(struct guesser *u, const struct ms_type *type, unsigned depth);

/* What values of GO may point to. */
static void add_reached(struct guesser *u, const struct ms_go_type *go, unsigned depth)
{
    const struct ms_type *type = ms_go_whole(&u->g->shapes, go->type);
    switch (go->kind) {
    case MS_GO_POINTER:
    case MS_GO_SLICE:
        if (go->element)
            add_type(u, ms_go_type_of(u->g->go_types, go->element));
        break;
    case MS_GO_MAP:
    case MS_GO_CHAN:
        add_type(u, go);
        break;
    case MS_GO_ARRAY:
        if (go->element)
            add_pointed(u, go->element, depth + 1);
        break;
    case MS_GO_STRUCT:
        for (size_t i = 0; i < type->member_count; i++)
            if (type->members[i].type)
                add_pointed(u, type->members[i].type, depth + 1);
        break;
    default:
        break;
    }
}

static void add_pointed(struct guesser *u, const struct ms_type *type, unsigned depth)
{
    const struct ms_go_type *go = ms_go_type_of(u->g->go_types, type);
    if (go && depth < DEPTH_MOST)
        add_reached(u, go, depth);
}

static const struct candidate *named(const struct guesser *u, const char *name)
{
    for (size_t i = 0; i < u->list.count; i++)
        if (!u->list.items[i].owner && strcmp(u->list.items[i].type->name, name) == 0)
            return &u->list.items[i];
    return NULL;
}

/* What a map is made of besides its own structure. */
static void add_map(struct guesser *u, const struct ms_go_type *go)
{
    const struct ms_type *parts[] = {go->key, go->element};
    if (go->map.unit)
        add_candidate(u, go->map.unit, NULL, NULL, true);
    if (go->map.table && go->map.table->target)
        add_candidate(u, go->map.table, NULL, NULL, true);
    for (size_t i = 0; i < 2; i++) {
        const struct ms_go_type *part = parts[i] ? ms_go_type_of(u->g->go_types, parts[i]) : NULL;
        if (part && (i ? go->map.indirect_element : go->map.indirect_key))
            add_type(u, part);
        else if (part)
            add_reached(u, part, 0);
    }
}

static bool is_of_runtime(const struct ms_type *type)
{
    static const char *const names[] = {"runtime.hmap", "runtime.hchan", "maps.Map", "maps.table",
                                        "internal/runtime/maps.Map", "internal/runtime/maps.table"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(type->name, names[i]) == 0)
            return true;
    return false;
}

/* The types that code allocates, and what these may point to: reflection and generic code allocate that. */
static struct ms_error *collect(struct guesser *u)
{
    struct ms_go_allocations allocations = {0};
    struct ms_error *error = ms_go_allocations_read(u->g->heap->functions, &allocations);
    for (size_t i = 0; !error && i < allocations.list.count; i++) {
        const uint64_t header = allocations.list.items[i].type;
        const struct ms_go_type *type = ms_go_type_at(u->g->go_types, header);
        add_type(u, type ? type : ms_go_type_of_itab(u->g->go_types, header));
    }
    ms_vector_free(&allocations.list);
    for (size_t i = 0; !error && i < u->work.count; i++) {
        const struct ms_go_type *go = u->work.items[i];
        add_candidate(u, go->type, NULL, NULL, false);
        if (go->kind == MS_GO_MAP)
            add_map(u, go);
        else if (go->kind == MS_GO_CHAN && go->element)
            add_type(u, ms_go_type_of(u->g->go_types, go->element));
        add_reached(u, go, 0);
    }
    /* Their structures, of which the map is that of the runtime's own. */
    const struct candidate *map = named(u, "runtime.hmap"), *channel = named(u, "runtime.hchan");
    map = map ? map : named(u, "maps.Map");
    const struct candidate maps = map ? *map : (struct candidate){0}, channels = channel ? *channel : maps;
    for (size_t i = 0; !error && i < u->work.count; i++) {
        const struct ms_go_type *go = u->work.items[i];
        const bool is_map = go->kind == MS_GO_MAP;
        if (!is_map && go->kind != MS_GO_CHAN)
            continue;
        if (is_map ? map != NULL : channel != NULL)
            add_candidate(u, go->type->target, go, is_map ? &maps : &channels, true);
    }
    return error ? error : u->failed ? ms_error_nomem("guesses") : NULL;
}

/* --- which of them an object may be ------------------------------------------------------------ */

/* The map of OBJECT into u->map; the last pointer's word, or UINT64_MAX when there is none. */
static uint64_t read_map(struct guesser *u, const struct object *object, uint64_t *hash)
{
    const uint64_t words = object->size / WORD < WORDS_LOOKED_AT ? object->size / WORD : WORDS_LOOKED_AT;
    uint64_t last = UINT64_MAX;
    memset(u->map, 0, (words + 63) / 64 * 8);
    for (uint64_t i = 0; i < words; i++)
        if (ms_go_heap_is_pointer(u->g->heap, object->start + i)) {
            u->map[i / 64] |= 1ull << i % 64;
            last = i;
        }
    *hash = 14695981039346656037u;
    for (uint64_t i = 0; i < (words + 63) / 64; i++)
        *hash = (*hash ^ u->map[i]) * 0x9e3779b97f4a7c15u, *hash ^= *hash >> 29;
    return last;
}

/* How many of C are in an object with the map in u->map, whose last pointer is word LAST; 0: it is none of them. */
static uint64_t count_in(const struct guesser *u, const struct candidate *c, const struct object *object,
                         uint64_t last)
{
    const uint64_t words = object->size / WORD;
    uint64_t count = 1;
    if (!c->owner) {
        if (last < c->last || (last - c->last) % c->words)
            return 0;
        count = (last - c->last) / c->words + 1;
        if (words > WORDS_LOOKED_AT) /* what comes behind is not looked at */
            count = words / c->words;
    }
    if (count * c->words > words || ms_go_slot_for(count * c->type->size) != object->size)
        return 0;
    for (uint64_t i = 0; i < words && i < WORDS_LOOKED_AT; i++)
        if (bit(u->map, i) != (i < count * c->words && bit(c->mask, i % c->words)))
            return 0;
    return count;
}

static const struct kind *kind_of(struct guesser *u, const struct object *object, uint64_t *last)
{
    uint64_t hash;
    *last = read_map(u, object, &hash);
    const uint64_t *known = ms_map_get(&u->kinds, object->size, hash);
    if (known)
        return &u->list_of_kinds.items[*known];
    struct kind *kind = ms_vector_add(&u->list_of_kinds);
    if (!kind || !ms_map_put(&u->kinds, object->size, hash, u->list_of_kinds.count - 1)) {
        u->failed = true;
        return NULL;
    }
    kind->first = (uint32_t)u->choices.count;
    for (size_t i = 0; *last != UINT64_MAX && i < u->list.count; i++) {
        if (!count_in(u, &u->list.items[i], object, *last))
            continue;
        uint32_t *choice = ms_vector_add(&u->choices);
        u->failed |= !choice;
        if (choice)
            *choice = (uint32_t)i;
        kind->count++;
    }
    return kind;
}

/* --- does what is in it agree? ----------------------------------------------------------------- */

struct look {
    struct guesser *u;
    const uint8_t *bytes; /* of the value */
    unsigned agreed;
};

static uint64_t word_at(const struct look *l, uint64_t offset)
{
    uint64_t word;
    memcpy(&word, l->bytes + offset, sizeof word);
    return word;
}

/* Is ADDRESS in the data of a module: variables, read-only ones too? */
static bool is_static(const struct guesser *u, uint64_t address)
{
    const struct ms_go *go = u->g->heap->go;
    for (size_t i = 0; i < go->modules.count; i++) {
        const struct ms_go_module *m = &go->modules.items[i];
        const struct ms_go_range *const ranges[] = {&m->noptrdata, &m->data, &m->bss, &m->noptrbss, &m->types};
        for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++)
            if (address >= ranges[k]->start && address < ranges[k]->end)
                return true;
    }
    return false;
}

static bool is_code(const struct guesser *u, uint64_t address)
{
    const struct ms_go *go = u->g->heap->go;
    for (size_t i = 0; i < go->modules.count; i++)
        if (address >= go->modules.items[i].text.start && address < go->modules.items[i].text.end)
            return true;
    return false;
}

/* May COUNT values of TYPE be at ADDRESS of OBJECT? CERTAIN: that is known, not only possible. */
static bool may_be_at(struct guesser *u, const struct object *object, uint64_t address, const struct ms_type *type,
                      uint64_t count)
{
    const uint64_t delta = address - object->address;
    if (type->size && count > (object->size - delta) / type->size)
        return false;
    const struct ms_type *known = ms_slot_type(u->g->t, object->slot);
    if (known && known->size && object->slot->level >= MS_LEVEL_GUESS && !object->slot->contested &&
        known != u->g->tiny && !object->slot->partial)
        return ms_go_holds_at(&u->g->shapes, known, object->slot->array ? delta % known->size : delta, type) ||
               (known->size == 1 && type->size == 1);
    struct candidate c = {0};
    struct mapping m = {.u = u, .c = &c};
    if (object->span && !object->span->scanned && delta + type->size <= object->size) {
        /* The first step of most of these is the last. */
    }
    map_type(&m, type, 0, 0);
    if (m.failed || (type->size % WORD && bit(c.mask, c.last)))
        return true; /* nothing to be said */
    const bool has = bit(c.mask, c.last);
    if (has && ((object->span && !object->span->scanned) || delta % WORD))
        return false;
    if (!object->span || !object->span->scanned)
        return true;
    for (uint64_t i = 0; i < type->size / WORD && i < MASK_WORDS; i++)
        if (ms_go_heap_is_pointer(u->g->heap, object->start + delta / WORD + i) != bit(c.mask, i))
            return false;
    return true;
}

/* Do COUNT values of TYPE at ADDRESS make sense? */
static bool is_plausible(struct look *l, uint64_t address, const struct ms_type *type, uint64_t count)
{
    struct object object;
    if (!type || !type->size)
        return true;
    if (ms_go_find_object(l->u->g, address, &object)) {
        l->agreed++;
        return may_be_at(l->u, &object, address, type, count);
    }
    return is_static(l->u, address);
}

static bool suits_string(struct look *l, uint64_t offset)
{
    const uint64_t pointer = word_at(l, offset), length = word_at(l, offset + 8);
    struct object object;
    if (!pointer || !length)
        return !length;
    if (length > LENGTH_MOST)
        return false;
    if (ms_go_find_object(l->u->g, pointer, &object)) {
        l->agreed++;
        return length <= object.address + object.size - pointer && !(object.span && object.span->scanned);
    }
    l->agreed += is_static(l->u, pointer);
    return is_static(l->u, pointer);
}

static bool suits_slice(struct look *l, const struct ms_go_link *link)
{
    const uint64_t pointer = word_at(l, link->offset), length = word_at(l, link->offset + 8),
                   capacity = word_at(l, link->offset + 16);
    if (length > capacity || capacity > LENGTH_MOST || (!pointer && capacity))
        return false;
    if (!capacity || !pointer)
        return true;
    return is_plausible(l, pointer, link->to, capacity);
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
    if (!data || type->direct)
        return true;
    return is_plausible(l, data, type->type, 1);
}

static bool suits_function(struct look *l, uint64_t pointer)
{
    uint64_t code;
    if (!ms_image_read_word(l->u->g->t->image, pointer, &code) || !is_code(l->u, code))
        return false;
    l->agreed++;
    return true;
}

static bool suits_link(struct look *l, const struct ms_go_link *link)
{
    const uint64_t pointer = word_at(l, link->offset);
    struct object object;
    switch (link->how) {
    case MS_GO_LINK_STRING:
        return suits_string(l, link->offset);
    case MS_GO_LINK_SLICE:
        return suits_slice(l, link);
    case MS_GO_LINK_EMPTY:
    case MS_GO_LINK_INTERFACE:
        return suits_interface(l, link);
    default:
        break;
    }
    if (!pointer)
        return true;
    switch (link->how) {
    case MS_GO_LINK_FUNCTION:
        return suits_function(l, pointer);
    case MS_GO_LINK_STRUCTURE:
        if (!ms_go_find_object(l->u->g, pointer, &object))
            return is_static(l->u, pointer);
        if (object.address != pointer)
            return false;
        if (object.slot->level >= MS_LEVEL_GUESS && link->to && ms_slot_type(l->u->g->t, object.slot) != link->to)
            return false;
        l->agreed++;
        return link->owner->kind != MS_GO_MAP || !link->to || ms_go_slot_for(link->to->size) == object.size;
    case MS_GO_LINK_VALUE:
    case MS_GO_LINK_UNITS:
    case MS_GO_LINK_DIRECTORY:
    case MS_GO_LINK_BUFFER:
        return is_plausible(l, pointer, link->to, 1);
    default:
        return true;
    }
}

static bool suits_value(struct look *l, const struct candidate *c)
{
    const struct ms_go_shape *shape = ms_go_shape_of(&l->u->g->shapes, c->type);
    for (unsigned i = 0; i < c->flag_count; i++)
        if (l->bytes[c->flags[i]] > 1)
            return false;
    for (size_t i = 0; i < shape->links.count; i++)
        if (shape->links.items[i].offset + 24 <= c->type->size + 24 && !suits_link(l, &shape->links.items[i]))
            return false;
    return true;
}

/* Does what OBJECT, whose first bytes are in BYTES, has agree with COUNT of C? AGREED: how many words say so. */
static bool suits(struct guesser *u, const struct candidate *c, const uint8_t *bytes, uint64_t size, uint64_t count,
                  unsigned *agreed)
{
    struct look l = {.u = u};
    for (uint64_t i = 0; i < count && i < VALUES_MOST && (i + 1) * c->type->size <= size; i++) {
        l.bytes = bytes + i * c->type->size;
        if (!suits_value(&l, c))
            return false;
    }
    *agreed = l.agreed;
    return true;
}

/* --- all of them ------------------------------------------------------------------------------- */

#define BYTES_MOST (MASK_WORDS * WORD)

static bool same(const struct ms_type *a, const struct ms_type *b)
{
    return a == b || (a->size == b->size && strcmp(a->name, b->name) == 0);
}

static void guess_object(struct guesser *u, const struct object *object)
{
    uint8_t bytes[BYTES_MOST];
    uint64_t last, count = 0;
    const uint64_t size = object->size < BYTES_MOST ? object->size : BYTES_MOST;
    const struct kind *kind = kind_of(u, object, &last);
    const struct candidate *one = NULL;
    if (!kind || !kind->count || kind->count > CHOICES_MOST ||
        !ms_image_read(u->g->t->image, object->address, bytes, size))
        return;
    uint64_t code;
    memcpy(&code, bytes, sizeof code);
    if (is_code(u, code))
        return; /* a closure, if its function is known */
    for (uint32_t i = 0; i < kind->count; i++) {
        const struct candidate *c = &u->list.items[u->choices.items[kind->first + i]];
        const uint64_t many = count_in(u, c, object, last);
        unsigned agreed = 0;
        if (!many || !suits(u, c, bytes, size, many, &agreed))
            continue;
        if (one && !same(one->type, c->type))
            return;
        if (!agreed)
            return;
        one = c;
        count = many;
    }
    if (!one || (is_of_runtime(one->type)))
        return;
    const struct ms_go_claim claim = {.type = one->type, .container = one->container, .guess = true};
    ms_go_set_guess(u->g, object, &claim, count);
    u->guessed++;
}

static void guess_all(struct guesser *u)
{
    const struct ms_heap *heap = u->g->t->heap;
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++)
        for (uint32_t bits = ms_scope_bits(u->g->t, &heap->lines[l]); bits; bits &= bits - 1) {
            struct object object;
            const uint64_t start = l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits);
            const struct ms_slot *slot = ms_slot_of(u->g->t, start);
            if (slot && slot->level < MS_LEVEL_GUESS &&
                ms_go_find_object(u->g, ms_granule_address(heap, start), &object) && object.start == start &&
                object.span && object.span->scanned && !object.span->header)
                guess_object(u, &object);
        }
}

ms_result ms_go_guess(struct ms_go_typing *g)
{
    struct guesser u = {.g = g};
    struct ms_error *error = collect(&u);
    for (unsigned round = 0; !error && round < ROUNDS_MOST; round++) {
        const uint64_t before = u.guessed;
        guess_all(&u);
        error = ms_go_settle(g);
        if (!error && u.failed)
            error = ms_error_nomem("guesses");
        if (u.guessed == before)
            break;
    }
    ms_vector_free(&u.list);
    ms_vector_free(&u.work);
    ms_map_free(&u.seen);
    ms_map_free(&u.kinds);
    ms_vector_free(&u.list_of_kinds);
    ms_vector_free(&u.choices);
    return error;
}
