/* Decoding: the contents of a block as its type says, member by member. */
#include "memscope/decode.h"

#include <dwarf.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32u
/* Structures without a value in them would let one walk for ever. */
#define STEPS_MAX 100000u
/* An array takes no more than this part of the values that are wanted. */
#define ARRAY_PART 8u
/* The largest value that is a number: long double. */
#define VALUE_MAX 16u
/* An x87 long double: 80 bits, padded to 16 bytes (System V ABI, x86-64). */
#define X87_BYTES 10u

struct walker {
    const struct ms_decoder *decoder;
    uint64_t address, size; /* of the block */
    size_t most;
    unsigned steps; /* taken */
    struct ms_values *values;
};

/* --- single values ----------------------------------------------------------------------------- */

static uint64_t raw_bits(const uint8_t *bytes, size_t size, unsigned shift, unsigned bits)
{
    __uint128_t raw = 0;
    memcpy(&raw, bytes, size < sizeof raw ? size : sizeof raw);
    const uint64_t value = (uint64_t)(raw >> (shift & 127));
    return bits && bits < 64 ? value & ((1ull << bits) - 1) : value;
}

static int64_t sign_extended(uint64_t value, unsigned bits)
{
    return bits == 0 || bits >= 64 ? (int64_t)value : (int64_t)(value << (64 - bits)) >> (64 - bits);
}

static void decode_real(struct ms_value *value, const uint8_t *bytes, size_t size)
{
    float single;
    long double extended = 0;
    value->kind = MS_VALUE_REAL;
    if (size == sizeof single) {
        memcpy(&single, bytes, sizeof single);
        value->number.real = single;
    } else if (size == sizeof value->number.real) {
        memcpy(&value->number.real, bytes, size);
    } else if (size == sizeof extended) {
        memcpy(&extended, bytes, X87_BYTES);
        value->number.real = (double)extended;
    } else {
        value->kind = MS_VALUE_UNREADABLE;
    }
}

static bool is_character(const struct ms_type *type)
{
    return type->kind == MS_TYPE_BASE && type->size == 1 &&
           (type->encoding == DW_ATE_signed_char || type->encoding == DW_ATE_unsigned_char ||
            type->encoding == DW_ATE_UTF);
}

/* uint8_t is an unsigned char in DWARF; so is a char of its own name only. */
static bool is_text(const struct ms_type *type)
{
    return is_character(type) && (type->encoding == DW_ATE_UTF || strcmp(type->name, "char") == 0);
}

static void decode_base(struct ms_value *value, const struct ms_type *type, const uint8_t *bytes, size_t size,
                        unsigned shift, unsigned bits)
{
    const uint64_t raw = raw_bits(bytes, size, shift, bits);
    const unsigned width = bits ? bits : (unsigned)size * 8;
    switch (type->encoding) {
    case DW_ATE_float:
        decode_real(value, bytes, size);
        return;
    case DW_ATE_boolean:
        value->kind = MS_VALUE_BOOL;
        value->number.u = raw != 0;
        return;
    case DW_ATE_signed:
    case DW_ATE_signed_char:
        value->kind = MS_VALUE_SIGNED;
        value->number.i = sign_extended(raw, width);
        break;
    case DW_ATE_unsigned:
    case DW_ATE_unsigned_char:
    case DW_ATE_UTF:
    case DW_ATE_address:
        value->kind = MS_VALUE_UNSIGNED;
        value->number.u = raw;
        break;
    default:
        return;
    }
    if (size > sizeof raw)
        value->kind = MS_VALUE_UNREADABLE;
    if (!bits && is_text(type)) {
        value->kind = MS_VALUE_TEXT;
        value->bytes[0] = bytes[0];
        value->size = 1;
        value->single = true;
    }
}

struct ms_value ms_decode_value(const struct ms_type *type, const uint8_t *bytes, size_t size, unsigned shift,
                                unsigned bits)
{
    struct ms_value value = {.type = type};
    if (type->kind == MS_TYPE_BASE) {
        decode_base(&value, type, bytes, size, shift, bits);
    } else if (type->kind == MS_TYPE_ENUM && size <= 8) {
        /* C's are unsigned when no enumerator is negative; the DWARF of both looks the same. */
        value.kind = MS_VALUE_SIGNED;
        value.number.i = sign_extended(raw_bits(bytes, size, shift, bits), bits ? 0 : (unsigned)size * 8);
    } else if (type->kind == MS_TYPE_POINTER && size == 8) {
        value.kind = MS_VALUE_POINTER;
        value.number.u = raw_bits(bytes, size, 0, 0);
    }
    return value;
}

/* --- what pointers point to -------------------------------------------------------------------- */

static struct ms_error *set_target(struct ms_value *value, const char *text, uint64_t offset)
{
    int length = offset ? asprintf(&value->target, "%s+0x%" PRIx64, text, offset)
                        : asprintf(&value->target, "%s", text);
    if (length >= 0)
        return NULL;
    value->target = NULL;
    return ms_error_nomem("values");
}

static struct ms_error *find_block(const struct ms_decoder *d, const struct ms_segment *segment,
                                   struct ms_value *value)
{
    const struct ms_heap *heap = &d->scan->heap;
    const uint64_t start = ms_start_of(heap, ms_address_granule(heap, segment, value->number.u));
    struct ms_known known;
    const char *text;
    if (!ms_bit(heap->lines[start / MS_LINE_GRANULES].live & heap->lines[start / MS_LINE_GRANULES].starts, start))
        return set_target(value, "free memory", 0);
    value->to = ms_granule_address(heap, start);
    MS_TRY(ms_block_known(d->knowledge, start, &known));
    MS_TRY(ms_known_text(d->knowledge, &known, &text));
    return text ? set_target(value, text, 0) : NULL;
}

/* The string that a pointer to characters points to; none when it is no text. */
static void find_string(const struct ms_decoder *d, struct ms_value *value)
{
    const struct ms_type *to = value->type->target;
    const uint64_t address = value->number.u;
    unsigned size = MS_VALUE_BYTES;
    if (!to || !is_text(to))
        return;
    while (size > 1 && !ms_image_read(d->image, address, value->bytes, size))
        size /= 2;
    value->size = size > 1 ? ms_text_length(value->bytes, size) : 0;
    value->cut = value->size == MS_SAMPLE && value->bytes[value->size] != '\0';
}

static struct ms_error *find_target(const struct ms_decoder *d, struct ms_value *value)
{
    find_string(d, value);
    const struct ms_segment *segment = ms_heap_segment(&d->scan->heap, value->number.u);
    uint64_t offset = 0;
    if (segment)
        return find_block(d, segment, value);
    const char *symbol = d->symbols ? ms_symbols_name(d->symbols, value->number.u, &offset) : NULL;
    return symbol ? set_target(value, symbol, offset) : NULL;
}

/* --- walking through types --------------------------------------------------------------------- */

static bool is_full(struct walker *w)
{
    const bool full = w->values->list.count >= w->most || w->steps >= STEPS_MAX;
    w->values->more = w->values->more || full;
    return full;
}

static struct ms_error *add_value(struct walker *w, const char *path, uint64_t offset, const struct ms_value *from)
{
    struct ms_value *value = ms_vector_add(&w->values->list);
    if (!value)
        return ms_error_nomem("values");
    *value = *from;
    value->offset = offset;
    value->path = strdup(path + (*path == '.'));
    if (!value->path)
        return ms_error_nomem("values");
    return value->kind == MS_VALUE_POINTER && value->number.u ? find_target(w->decoder, value) : NULL;
}

/* A bit-field may reach beyond its type's bytes from its first one on. */
static struct ms_error *add_leaf(struct walker *w, const struct ms_type *type, const char *path, uint64_t offset,
                                 const struct ms_member *field)
{
    uint8_t bytes[VALUE_MAX] = {0};
    const unsigned shift = field ? field->bit_offset : 0, bits = field ? field->bit_size : 0;
    uint64_t size = bits ? ((uint64_t)shift + bits + 7) / 8 : type->size;
    struct ms_value value = {.type = type};
    if (offset > w->size || size > w->size - offset)
        return NULL;
    if (size && size <= sizeof bytes) {
        if (ms_image_read(w->decoder->image, w->address + offset, bytes, size))
            value = ms_decode_value(type, bytes, size, shift, bits);
        else
            w->values->unreadable = true;
    }
    return add_value(w, path, offset, &value);
}

/* SIZE bytes that are TEXT, or not. */
static struct ms_error *add_bytes(struct walker *w, const struct ms_type *type, bool text, const char *path,
                                  uint64_t offset, uint64_t size)
{
    struct ms_value value = {.type = type, .kind = text ? MS_VALUE_TEXT : MS_VALUE_RAW};
    value.size = size < MS_VALUE_BYTES ? (unsigned)size : MS_VALUE_BYTES;
    if (!ms_image_read(w->decoder->image, w->address + offset, value.bytes, value.size)) {
        value.kind = MS_VALUE_UNREADABLE;
        w->values->unreadable = true;
    }
    const size_t length = text ? strnlen((const char *)value.bytes, value.size) : value.size;
    value.cut = length == value.size && size > value.size;
    value.size = (unsigned)length;
    return add_value(w, path, offset, &value);
}

static struct ms_error *walk(struct walker *w, const struct ms_type *type, const char *path, uint64_t offset,
                             unsigned depth);

static struct ms_error *walk_elements(struct walker *w, const struct ms_type *type, uint64_t count,
                                      const char *path, uint64_t offset, unsigned depth)
{
    for (uint64_t i = 0; i < count && !is_full(w); i++) {
        ms_auto_free char *element = NULL;
        if (i > 0 && i >= w->most / ARRAY_PART) {
            w->values->more = true;
            break;
        }
        if (asprintf(&element, "%s[%" PRIu64 "]", path, i) < 0) {
            element = NULL;
            return ms_error_nomem("values");
        }
        MS_TRY(walk(w, type, element, offset + i * type->size, depth));
    }
    return NULL;
}

/* One that has no count takes what the block has left. */
static struct ms_error *walk_array(struct walker *w, const struct ms_type *array, const char *path,
                                   uint64_t offset, unsigned depth)
{
    const struct ms_type *element = array->target ? ms_type_complete(w->decoder->types, array->target) : NULL;
    if (!element || !element->size || offset > w->size)
        return NULL;
    const uint64_t room = (w->size - offset) / element->size;
    const uint64_t count = ms_type_is_flexible(array) || array->count > room ? room : array->count;
    if (count && is_character(element))
        return add_bytes(w, array, is_text(element), path, offset, count);
    return walk_elements(w, element, count, path, offset, depth);
}

/* Which of the variants is there: the tag's value; false when it is not to be had. */
static bool read_tag(const struct walker *w, const struct ms_type *type, uint64_t offset, uint64_t *tag)
{
    uint8_t bytes[VALUE_MAX] = {0};
    const uint64_t size = type->tag->type->size, address = w->address + offset + type->tag->offset;
    if (!size || size > 8 || !ms_image_read(w->decoder->image, address, bytes, size))
        return false;
    *tag = raw_bits(bytes, size, 0, 0);
    return true;
}

static uint64_t cut_to(uint64_t value, uint64_t size)
{
    return size < 8 ? value & ((1ull << size * 8) - 1) : value;
}

static bool is_active(const struct ms_type *type, const struct ms_member *member, uint64_t tag)
{
    if (!member->otherwise)
        return cut_to(member->tag, type->tag->type->size) == tag;
    for (size_t i = 0; i < type->member_count; i++)
        if (type->members[i].tagged && !type->members[i].otherwise &&
            cut_to(type->members[i].tag, type->tag->type->size) == tag)
            return false;
    return true;
}

static struct ms_error *walk_member(struct walker *w, const struct ms_member *member, const char *path,
                                    uint64_t offset, unsigned depth)
{
    ms_auto_free char *below = NULL;
    const bool named = member->name && !member->base;
    if (asprintf(&below, "%s%s%s", path, named ? "." : "", named ? member->name : "") < 0) {
        below = NULL;
        return ms_error_nomem("values");
    }
    if (member->bit_size)
        return add_leaf(w, member->type, below, offset + member->offset, member);
    return walk(w, member->type, below, offset + member->offset, depth);
}

static struct ms_error *walk_members(struct walker *w, const struct ms_type *type, const char *path,
                                     uint64_t offset, unsigned depth)
{
    uint64_t tag = 0;
    const bool tagged = type->tag && type->tag->type && read_tag(w, type, offset, &tag);
    for (size_t i = 0; i < type->member_count && !is_full(w); i++) {
        const struct ms_member *member = &type->members[i];
        if (!member->type || (member->tagged && !(tagged && is_active(type, member, tag))))
            continue;
        MS_TRY(walk_member(w, member, path, offset, depth));
    }
    return NULL;
}

/* --- Go ------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static struct ms_error *say_target(struct ms_value *value, const char *format,
                                                                         ...)
{
    va_list arguments;
    free(value->target);
    va_start(arguments, format);
    int length = vasprintf(&value->target, format, arguments);
    va_end(arguments);
    if (length >= 0)
        return NULL;
    value->target = NULL;
    return ms_error_nomem("values");
}

static struct ms_error *add_go_string(struct walker *w, const struct ms_type *type, const char *path, uint64_t offset,
                                      const uint64_t words[3])
{
    struct ms_value value = {.type = type, .kind = MS_VALUE_TEXT};
    value.size = words[1] < MS_VALUE_BYTES ? (unsigned)words[1] : MS_VALUE_BYTES;
    value.cut = words[1] > value.size;
    if (value.size && !ms_image_read(w->decoder->image, words[0], value.bytes, value.size))
        value = (struct ms_value){.type = type};
    return add_value(w, path, offset, &value);
}

/* A pointer, and in words what the type says of it: how long a slice is, what an interface has. */
static struct ms_error *add_go_pointer(struct walker *w, const struct ms_type *type, const struct ms_go_type *go,
                                       const char *path, uint64_t offset, const uint64_t words[3])
{
    struct ms_go_types *go_types = ms_known_go_types(w->decoder->knowledge);
    const bool slice = go->kind == MS_GO_SLICE;
    struct ms_value value = {.type = type, .kind = MS_VALUE_POINTER, .number.u = words[slice ? 0 : 1]};
    MS_TRY(add_value(w, path, offset, &value));
    struct ms_value *added = &w->values->list.items[w->values->list.count - 1];
    added->size = 0;
    if (slice)
        return say_target(added, "len %" PRIu64 ", cap %" PRIu64, words[1], words[2]);
    const struct ms_go_type *has = !words[0]            ? NULL
                                   : go->empty_interface ? ms_go_type_at(go_types, words[0])
                                                         : ms_go_type_of_itab(go_types, words[0]);
    return has ? say_target(added, "%s", has->type->name) : NULL;
}

/* Strings, slices and interfaces are values to Go's users. DONE false: it is none of these. */
static struct ms_error *walk_go(struct walker *w, const struct ms_type *type, const char *path, uint64_t offset,
                                bool *done)
{
    struct ms_go_types *go_types = ms_known_go_types(w->decoder->knowledge);
    const struct ms_go_type *go =
        go_types && type->language == MS_LANGUAGE_GO ? ms_go_type_of(go_types, type) : NULL;
    uint64_t words[3] = {0};
    *done = go && (go->kind == MS_GO_STRING || go->kind == MS_GO_SLICE || go->kind == MS_GO_INTERFACE) &&
            type->size <= sizeof words && offset + type->size <= w->size &&
            ms_image_read(w->decoder->image, w->address + offset, words, type->size);
    if (!*done)
        return NULL;
    return go->kind == MS_GO_STRING ? add_go_string(w, type, path, offset, words)
                                    : add_go_pointer(w, type, go, path, offset, words);
}

static struct ms_error *walk(struct walker *w, const struct ms_type *type, const char *path, uint64_t offset,
                             unsigned depth)
{
    type = ms_type_complete(w->decoder->types, type);
    if (offset > w->size || is_full(w))
        return NULL;
    w->steps++;
    if (depth >= DEPTH_MAX) {
        w->values->more = true;
        return NULL;
    }
    bool done;
    MS_TRY(walk_go(w, type, path, offset, &done));
    if (done)
        return NULL;
    switch (type->kind) {
    case MS_TYPE_STRUCT:
    case MS_TYPE_UNION:
        return walk_members(w, type, path, offset, depth + 1);
    case MS_TYPE_ARRAY:
        return walk_array(w, type, path, offset, depth + 1);
    case MS_TYPE_BASE:
    case MS_TYPE_ENUM:
    case MS_TYPE_POINTER:
        return add_leaf(w, type, path, offset, NULL);
    case MS_TYPE_VOID:
    case MS_TYPE_FUNCTION:
        break;
    }
    return NULL;
}

ms_result ms_decode(const struct ms_decoder *decoder, uint64_t start, const struct ms_block_type *what,
                    size_t most, struct ms_values *values)
{
    const struct ms_heap *heap = &decoder->scan->heap;
    struct walker w = {decoder, ms_granule_address(heap, start), ms_block_size(heap, start), most, 0, values};
    *values = (struct ms_values){0};
    if (!what->type || !decoder->types)
        return NULL;
    const struct ms_type *type = ms_type_complete(decoder->types, what->type);
    struct ms_error *error;
    if (what->count > 1 && is_character(type))
        error = add_bytes(&w, type, is_text(type), "", what->at, what->count);
    else if (what->count > 1)
        error = walk_elements(&w, type, what->count, "", what->at, 0);
    else
        error = walk(&w, type, "", what->at, 0);
    if (error)
        ms_values_free(values);
    return error;
}

/* A value in a register, or computed: its first 8 bytes are known. */
static struct ms_error *decode_register(struct walker *w, const struct ms_type *type, const struct ms_local *local)
{
    uint8_t bytes[sizeof local->value];
    memcpy(bytes, &local->value, sizeof bytes);
    struct ms_value value = {.type = type};
    if (local->valued && type->size && type->size <= sizeof bytes)
        value = ms_decode_value(type, bytes, type->size, 0, 0);
    return add_value(w, "", 0, &value);
}

ms_result ms_decode_local(const struct ms_decoder *decoder, const struct ms_local *local, size_t most,
                          struct ms_values *values)
{
    *values = (struct ms_values){0};
    if (!local->type || !decoder->types)
        return NULL;
    const struct ms_type *type = ms_type_complete(decoder->types, local->type);
    struct walker w = {decoder, local->address, type->size, most, 0, values};
    struct ms_error *error =
        local->address ? walk(&w, type, "", 0, 0) : decode_register(&w, type, local);
    if (error)
        ms_values_free(values);
    return error;
}

void ms_values_free(struct ms_values *values)
{
    for (size_t i = 0; i < values->list.count; i++) {
        free(values->list.items[i].path);
        free(values->list.items[i].target);
    }
    ms_vector_free(&values->list);
    *values = (struct ms_values){0};
}
