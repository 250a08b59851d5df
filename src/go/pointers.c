/* Which words of Go's objects are pointers, by the runtime's own maps, and where they point to. */
#include <stdlib.h>
#include <string.h>

#include "heap.h"
#include "layout.h"

#define LINE_BYTES  256u        /* of the heap: what a line of the index covers, granules being 8 bytes */
#define PIECE       (64u << 10) /* bytes of the heap that are read at once */
#define GC_PROGRAM  0x40u       /* kindGCProg, to 1.23 */
#define MASK_LATER  0x10u       /* TFlagGCMaskOnDemand, from 1.24 on */
#define KIND_MASK   0x1fu
#define KIND_ARRAY  17u
#define KIND_STRUCT 25u
#define DEPTH_MOST  64u
#define STEPS_LEAST 100000u /* building a mask may take so many, and … */
#define STEPS_EACH  16u     /* … for each word of it */
#define FIELDS_MOST 65536u
#define MASK_MOST   (1ull << 31) /* words: a type of 16 GiB */

struct layout {
    struct ms_go_place size, pointer_bytes, flags, kind, mask;
    struct ms_go_place element, length, fields, field_type, field_offset, field;
};
#define TYPE(path, into)        MS_GO_FIELD(struct layout, "internal/abi.Type|runtime._type", path, into)
#define LATER(type, path, into) MS_GO_FIELD_IN(struct layout, "internal/abi." type, path, into, 24, 0)
static const struct ms_go_field fields[] = {
    TYPE("Size_|size", size),
    TYPE("PtrBytes|ptrdata", pointer_bytes),
    TYPE("TFlag|tflag", flags),
    TYPE("Kind_|kind", kind),
    TYPE("GCData|gcdata", mask),
    LATER("ArrayType", "Elem", element),
    LATER("ArrayType", "Len", length),
    LATER("StructType", "Fields", fields),
    LATER("StructField", "Typ", field_type),
    LATER("StructField", "Offset", field_offset),
    LATER("StructField", "", field),
};
MS_GO_EXPORT_FIELDS(pointers, fields)

/* Where a value of a type has pointers. */
struct mask {
    uint64_t type;  /* address; 0: no entry */
    uint64_t size;  /* words of a value */
    uint64_t words; /* of these, the first that a map is there for; 0: the type cannot be read */
    uint64_t *bits; /* owned */
};

struct reader {
    struct ms_go_builder *b;
    struct layout layout;
    struct mask *masks; /* a hash table of 1 << SHIFT entries; owned */
    unsigned shift;
    size_t mask_count;
    uint64_t in_progress;    /* address that stands for a mask that is being built, runtime.inProgress */
    uint64_t steps;          /* that building a mask may still take */
    MS_VECTOR(uint64_t) map; /* a bit for each word of a span */
    uint8_t *piece;          /* PIECE bytes; owned */
    uint64_t index;          /* of the next target */
};

/* --- masks of types ----------------------------------------------------------------------------
 */

static bool bit(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

static void set_bit(uint64_t *bits, uint64_t i)
{
    bits[i / 64] |= 1ull << i % 64;
}

struct type {
    uint64_t size, words, flags, kind, mask;
};

static bool read_type(const struct reader *r, uint64_t address, struct type *type)
{
    const struct ms_go *go = r->b->go;
    const struct layout *l = &r->layout;
    if (!ms_go_get(go, address, l->size, &type->size) || !ms_go_get(go, address, l->pointer_bytes, &type->words) ||
        !ms_go_get(go, address, l->flags, &type->flags) || !ms_go_get(go, address, l->kind, &type->kind) ||
        !ms_go_get(go, address, l->mask, &type->mask))
        return false;
    type->words /= 8;
    return type->size && type->words <= (type->size + 7) / 8 && type->words <= MASK_MOST;
}

static bool read_mask(const struct reader *r, uint64_t address, uint64_t words, uint64_t *bits)
{
    return ms_image_read(r->b->image, address, bits, (words + 7) / 8);
}

/* False when building has taken more steps than any type can need. */
static bool take_step(struct reader *r)
{
    return r->steps && r->steps--;
}

static bool build(struct reader *r, uint64_t address, unsigned depth, uint64_t at, uint64_t total, uint64_t *bits);

static bool build_array(struct reader *r, uint64_t address, unsigned depth, uint64_t at, uint64_t total,
                        uint64_t *bits)
{
    struct type type;
    uint64_t element, length;
    if (!ms_go_get(r->b->go, address, r->layout.element, &element) ||
        !ms_go_get(r->b->go, address, r->layout.length, &length) || !read_type(r, element, &type))
        return false;
    for (uint64_t i = 0; i < length && at + i * (type.size / 8) < total && take_step(r); i++)
        if (!build(r, element, depth + 1, at + i * (type.size / 8), total, bits))
            return false;
    return true;
}

static bool build_struct(struct reader *r, uint64_t address, unsigned depth, uint64_t at, uint64_t total,
                         uint64_t *bits)
{
    struct ms_go_slice list;
    if (!ms_go_get_slice(r->b->go, address, r->layout.fields, &list) || list.length > FIELDS_MOST)
        return false;
    for (uint64_t i = 0; i < list.length && take_step(r); i++) {
        uint64_t item = list.data + i * r->layout.field.size, type, offset;
        struct type member;
        if (!ms_go_get(r->b->go, item, r->layout.field_type, &type) ||
            !ms_go_get(r->b->go, item, r->layout.field_offset, &offset))
            return false;
        if (!read_type(r, type, &member) || !member.words)
            continue; /* of no size, or without pointers */
        if (!build(r, type, depth + 1, at + offset / 8, total, bits))
            return false;
    }
    return true;
}

/* What buildGCMask() of src/runtime/type.go would write: the mask of the type at ADDRESS from word
 * AT on. */
static bool build(struct reader *r, uint64_t address, unsigned depth, uint64_t at, uint64_t total, uint64_t *bits)
{
    struct type type;
    if (depth > DEPTH_MOST || !take_step(r) || !read_type(r, address, &type) || at > total ||
        type.words > total - at)
        return false;
    if (type.flags & MASK_LATER) {
        if ((type.kind & KIND_MASK) == KIND_ARRAY)
            return build_array(r, address, depth, at, total, bits);
        return (type.kind & KIND_MASK) == KIND_STRUCT && build_struct(r, address, depth, at, total, bits);
    }
    for (uint64_t word = 0; word < type.words; word += 64) {
        uint64_t some = 0, count = type.words - word < 64 ? type.words - word : 64;
        if (!read_mask(r, type.mask + word / 8, count, &some))
            return false;
        for (uint64_t i = 0; i < count; i++)
            if (some >> i & 1)
                set_bit(bits, at + word + i);
    }
    return true;
}

static bool fill_mask(struct reader *r, uint64_t address, const struct type *type, uint64_t *bits)
{
    uint64_t at = type->mask;
    if (r->b->go->minor >= 24 && type->flags & MASK_LATER) {
        if (ms_image_read_word(r->b->image, type->mask, &at) && at && at != r->in_progress)
            return read_mask(r, at, type->words, bits);
        r->steps = STEPS_LEAST + STEPS_EACH * type->words;
        return build(r, address, 0, 0, type->words, bits);
    }
    /* Types of objects with programs are given to objects unrolled, in a type of its own. */
    return !(r->b->go->minor <= 23 && type->kind & GC_PROGRAM) && read_mask(r, at, type->words, bits);
}

static struct mask *find_mask(struct mask *masks, unsigned shift, uint64_t type)
{
    for (uint64_t i = type * 0x9e3779b97f4a7c15u >> (64 - shift);; i++) {
        struct mask *mask = &masks[i & ((1u << shift) - 1)];
        if (mask->type == type || !mask->type)
            return mask;
    }
}

static struct ms_error *grow(struct reader *r)
{
    if (r->masks && r->mask_count * 2 < 1u << r->shift)
        return NULL;
    unsigned shift = r->masks ? r->shift + 1 : 10;
    struct mask *masks = calloc(1u << shift, sizeof *masks);
    if (!masks)
        return ms_error_nomem("the Go heap");
    for (size_t i = 0; r->masks && i < 1u << r->shift; i++)
        if (r->masks[i].type)
            *find_mask(masks, shift, r->masks[i].type) = r->masks[i];
    free(r->masks);
    r->masks = masks;
    r->shift = shift;
    return NULL;
}

/* That of an object of WORDS words; a type that is bigger than its object cannot be true. */
static struct ms_error *mask_of(struct reader *r, uint64_t address, uint64_t words, const struct mask **mask)
{
    *mask = NULL;
    if (r->masks && (*mask = find_mask(r->masks, r->shift, address))->type)
        return NULL;
    MS_TRY(grow(r));
    struct mask made = {.type = address};
    struct type type;
    if (address && read_type(r, address, &type) && type.words <= words) {
        made.bits = calloc(type.words / 64 + 1, sizeof *made.bits);
        if (!made.bits)
            return ms_error_nomem("the Go heap");
        made.size = type.size / 8;
        if (fill_mask(r, address, &type, made.bits))
            made.words = type.words;
    }
    struct mask *slot = find_mask(r->masks, r->shift, address);
    *slot = made;
    *mask = slot;
    r->mask_count++;
    return NULL;
}

/* --- maps of objects ---------------------------------------------------------------------------
 */

/* Each word of an object of which nobody says more may be a pointer. */
static void map_all(struct reader *r, uint64_t first, uint64_t words)
{
    for (uint64_t i = first; i < first + words; i++)
        set_bit(r->map.items, i);
}

/* The mask of TYPE, over and over, as typePointers does it (src/runtime/mbitmap.go). */
static struct ms_error *map_by_type(struct reader *r, uint64_t type, uint64_t first, uint64_t words)
{
    const struct mask *mask;
    if (!type)
        return NULL; /* an object that is being made: it has none yet */
    MS_TRY(mask_of(r, type, words, &mask));
    if (!mask->words || !mask->size) {
        map_all(r, first, words);
        return NULL;
    }
    for (uint64_t value = 0; value < words; value += mask->size)
        for (uint64_t i = 0; i < mask->words && value + i < words; i++)
            if (bit(mask->bits, i))
                set_bit(r->map.items, first + value + i);
    return NULL;
}

/* Bits at the span's end, before its inline marks: spanHeapBitsRange() of src/runtime/mbitmap.go.
 */
static struct ms_error *map_by_span(struct reader *r, const struct ms_go_span *span, const struct ms_heap *heap,
                                    uint64_t granule)
{
    const uint64_t bytes = (span->end - span->start) / 64, words = span->slot / 8;
    const uint64_t at = (span->inline_marks ? span->inline_marks : span->end) - bytes;
    uint64_t *bits = (uint64_t *)(void *)r->piece;
    if (bytes > PIECE || !ms_image_read(r->b->image, at, r->piece, bytes)) {
        r->b->unreadable = true;
        return NULL;
    }
    for (uint32_t i = 0; i < span->slots; i++) {
        uint64_t first = i * words;
        if (!ms_bit(heap->lines[(granule + first) / MS_LINE_GRANULES].live, granule + first))
            continue;
        for (uint64_t word = first; word < first + words && word < bytes * 8; word++)
            if (bit(bits, word))
                set_bit(r->map.items, word);
    }
    return NULL;
}

static const struct ms_go_arena *arena_of(const struct ms_go_arenas *arenas, uint64_t address)
{
    size_t low = 0, high = arenas->list.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (arenas->list.items[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    const struct ms_go_arena *arena = low ? &arenas->list.items[low - 1] : NULL;
    return arena && address - arena->start < arenas->bytes ? arena : NULL;
}

/*
 * Bits of an object in its arena's map. To 1.19 a byte for 4 words: the low four say pointer, of
 * the high four the first 0 says that no more pointers follow. 1.20 and 1.21: a bit each word, and
 * one for each 64 that no more follow behind them (src/runtime/mbitmap.go).
 */
static struct ms_error *map_by_arena(struct reader *r, uint64_t address, uint64_t first, uint64_t words)
{
    const struct ms_go_arenas *arenas = &r->b->arenas;
    const bool two_bits = r->b->go->minor <= 19;
    const struct ms_go_arena *arena = NULL;
    for (uint64_t i = 0; i < words;) {
        const uint64_t at = address + i * 8;
        if (!arena || at - arena->start >= arenas->bytes)
            arena = arena_of(arenas, at);
        const uint64_t word = arena ? (at - arena->start) / 8 : 0;
        uint64_t bits = 0;
        uint8_t more = 0;
        const unsigned group = two_bits ? 32 : 64; /* words that 8 bytes of the map say it of */
        if (!arena ||
            !ms_image_read(r->b->image, arena->address + arenas->bitmap.offset + word / group * 8, &bits, 8) ||
            (!two_bits &&
             !ms_image_read(r->b->image, arena->address + arenas->no_more.offset + word / 512, &more, 1))) {
            r->b->unreadable = true;
            return NULL;
        }
        for (uint64_t k = word % group; k < group && i < words; k++, i++) {
            if (two_bits && !(bits >> (k / 4 * 8 + 4 + k % 4) & 1))
                return NULL;
            if (bits >> (two_bits ? k / 4 * 8 + k % 4 : k) & 1)
                set_bit(r->map.items, first + i);
        }
        if (!two_bits && more >> word / 64 % 8 & 1)
            return NULL;
    }
    return NULL;
}

/* The map of one object behind the header of its slot. */
static struct ms_error *map_object(struct reader *r, const struct ms_go_span *span, uint32_t index)
{
    uint64_t address = span->start + index * span->slot, words = span->slot / 8, type = span->large_type;
    const uint64_t first = index * words;
    if (r->b->arenas.bitmap.size)
        return map_by_arena(r, address, first, words);
    if (!span->header)
        return map_by_type(r, type, first, words);
    if (!ms_image_read_word(r->b->image, address, &type)) {
        r->b->unreadable = true;
        return NULL;
    }
    return map_by_type(r, type, first + 1, words - 1);
}

static struct ms_error *map_span(struct reader *r, const struct ms_go_span *span)
{
    const struct ms_heap *heap = &r->b->heap->scan->heap;
    const uint64_t granule = ms_address_granule(heap, ms_heap_segment(heap, span->start), span->start);
    if (!r->b->arenas.bitmap.size && !span->header && span->class >> 1)
        return map_by_span(r, span, heap, granule);
    for (uint32_t i = 0; i < span->slots; i++) {
        uint64_t start = granule + i * (span->slot / 8) + span->header;
        if (ms_bit(heap->lines[start / MS_LINE_GRANULES].live, start))
            MS_TRY(map_object(r, span, i));
    }
    return NULL;
}

/* --- edges -------------------------------------------------------------------------------------
 */

static void put_target(struct ms_heap *heap, uint64_t index, uint64_t target)
{
    memcpy(heap->targets + index * heap->edge_width, &target, heap->edge_width);
}

/* Pointers of the 32 words at WORDS, which MAP has, into LINE. */
static void read_line(struct reader *r, struct ms_heap *heap, struct ms_line *line, uint32_t map,
                      const uint64_t *words)
{
    uint32_t *maps = (uint32_t *)(void *)r->b->heap->pointer_memory.base;
    line->first = (uint32_t)r->index;
    maps[line - heap->lines] = map;
    for (; map; map &= map - 1) {
        unsigned i = (unsigned)__builtin_ctz(map);
        uint64_t target = words[i] ? ms_go_target(heap, words[i]) : MS_NOTHING;
        if (target == MS_NOTHING)
            continue;
        put_target(heap, r->index++, target);
        line->pointers |= 1ull << 2 * i;
    }
}

static struct ms_error *read_edges(struct reader *r, const struct ms_go_span *span)
{
    struct ms_heap *heap = &r->b->heap->scan->heap;
    const struct ms_segment *s = ms_heap_segment(heap, span->start);
    for (uint64_t at = span->start; at < span->end; at += PIECE) {
        const uint64_t size = span->end - at < PIECE ? span->end - at : PIECE;
        const uint64_t *map = r->map.items + (at - span->start) / 512;
        bool any = false;
        for (uint64_t i = 0; i < size / 512; i++)
            any |= map[i] != 0;
        if (!any)
            continue;
        const uint8_t *bytes = ms_image_bytes(r->b->image, at, size);
        if (!bytes) {
            bytes = r->piece;
            if (!ms_image_read(r->b->image, at, r->piece, size)) {
                r->b->unreadable = true;
                continue;
            }
        }
        struct ms_line *line = &heap->lines[ms_address_granule(heap, s, at) / MS_LINE_GRANULES];
        for (uint64_t i = 0; i < size / LINE_BYTES; i++)
            read_line(r, heap, line + i, (uint32_t)(map[i / 2] >> i % 2 * 32),
                      (const uint64_t *)(const void *)(bytes + i * LINE_BYTES));
        if (r->index > UINT32_MAX - PIECE)
            return ms_error(MS_TARGET,
                            "the Go heap has more than 4 billion pointers: memscope cannot hold so many");
    }
    return NULL;
}

static struct ms_error *make_room(struct reader *r, uint64_t words)
{
    const uint64_t count = words / 64 + 1;
    if (count > r->map.capacity) {
        ms_vector_free(&r->map);
        r->map.items = malloc(count * sizeof *r->map.items);
        if (!r->map.items)
            return ms_error_nomem("the Go heap");
        r->map.capacity = count;
    }
    memset(r->map.items, 0, count * sizeof *r->map.items);
    return NULL;
}

static struct ms_error *read_all(struct reader *r)
{
    const struct ms_go_heap *heap = r->b->heap;
    MS_TRY(ms_go_bind(r->b->go, fields, sizeof fields / sizeof *fields, &r->layout));
    r->in_progress = ms_go_global(r->b->go, "runtime.inProgress");
    r->piece = malloc(PIECE);
    if (!r->piece)
        return ms_error_nomem("the Go heap");
    MS_TRY(ms_reserve(&r->b->heap->pointer_memory, heap->scan->heap.granules / MS_LINE_GRANULES * sizeof(uint32_t),
                      "the pointers of the Go heap"));
    for (size_t i = 0; i < heap->spans.count; i++) {
        const struct ms_go_span *span = &heap->spans.items[i];
        if (span->manual || !span->scanned)
            continue;
        MS_TRY(make_room(r, (span->end - span->start) / 8));
        MS_TRY(map_span(r, span));
        MS_TRY(read_edges(r, span));
    }
    return NULL;
}

ms_result ms_go_read_pointers(struct ms_go_builder *b)
{
    struct reader r = {.b = b};
    struct ms_error *error = read_all(&r);
    for (size_t i = 0; r.masks && i < 1u << r.shift; i++)
        free(r.masks[i].bits);
    free(r.masks);
    free(r.piece);
    ms_vector_free(&r.map);
    return error;
}
