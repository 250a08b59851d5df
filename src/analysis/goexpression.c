/* A chain of pointers as an expression that Go's users write: members, indexes, keys of maps, type assertions. */
#include "goexpression.h"

#include <ctype.h>
#include <dwarf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expression.h"
#include "goclosures.h"
#include "goshape.h"

#define STEPS_MAX 10000u
#define DEPTH_MAX 32u
#define KEY_MAX   256u /* bytes of a key that is a string */
#define TEXT_MAX  4096u

/* What the text stands for. */
enum place {
    LOST,    /* nothing: the way has no name */
    VALUE,   /* a value of `type` at `base` */
    POINTED, /* a pointer to one */
    SLICE,   /* a slice of `type`, whose array is at `base` */
    MAP,     /* a map: the way leads through what it is made of */
    CLOSURE, /* a function, whose variables come next */
    CHAN,    /* a channel of `type` */
    SYNCED,  /* a sync.Map: as with MAP */
    OPEN,    /* an unsafe.Pointer */
};

struct writer {
    struct ms_go_types *go_types;
    struct ms_types *types;
    const struct ms_image *image;
    struct ms_go_shapes shapes;
    char *text;   /* owned */
    bool starred; /* it begins with an operator: what follows needs brackets around it */
    enum place place;
    const struct ms_type *type;
    uint64_t base, length;
    const struct ms_go_type *map;
    bool keyed; /* SYNCED: its key is said, and the value comes */
};

/* The text in brackets, if what is appended would not belong to all of it else. */
static struct ms_error *wrap(struct writer *w)
{
    const bool starred = w->starred;
    w->starred = false;
    return starred ? ms_rewrite(&w->text, "(%s)", w->text) : NULL;
}

static const struct ms_type *whole(struct writer *w, const struct ms_type *type)
{
    return ms_go_whole(&w->shapes, type);
}

/* --- keys of maps ------------------------------------------------------------------------------ */

static struct ms_error *write_key(struct writer *w, FILE *out, const struct ms_type *type, uint64_t address,
                                  unsigned depth, bool *good);

/* As strconv.Quote() does for what is not printable ASCII. */
static void quote(FILE *out, const char *bytes, size_t size)
{
    fputc('"', out);
    for (size_t i = 0; i < size; i++) {
        const uint8_t c = (uint8_t)bytes[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c == '\n' || c == '\t')
            fputs(c == '\n' ? "\\n" : "\\t", out);
        else if (c < ' ' || c == 0x7f || c >= 0x80)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static bool write_string(struct writer *w, FILE *out, uint64_t address)
{
    uint64_t words[2];
    char bytes[KEY_MAX];
    if (!ms_image_read(w->image, address, words, sizeof words) || words[1] > sizeof bytes ||
        (words[1] && !ms_image_read(w->image, words[0], bytes, words[1])))
        return false;
    quote(out, bytes, words[1]);
    return true;
}

static bool write_number(struct writer *w, FILE *out, const struct ms_type *type, uint64_t address)
{
    uint64_t word = 0;
    float single;
    double real;
    if (type->size > sizeof word || !ms_image_read(w->image, address, &word, type->size))
        return false;
    const unsigned unused = 64 - 8 * (unsigned)type->size;
    switch (type->encoding) {
    case DW_ATE_boolean:
        fputs(word ? "true" : "false", out);
        return true;
    case DW_ATE_signed:
    case DW_ATE_signed_char:
        fprintf(out, "%" PRId64, (int64_t)(word << unused) >> unused);
        return true;
    case DW_ATE_float:
        memcpy(&single, &word, sizeof single);
        memcpy(&real, &word, sizeof real);
        fprintf(out, "%.17g", type->size == 4 ? (double)single : real);
        return true;
    case DW_ATE_unsigned:
    case DW_ATE_unsigned_char:
        fprintf(out, "%" PRIu64, word);
        return true;
    default:
        return false;
    }
}

/* "main.key{a: 5, b: 5}", "[2]int{1, 2}". */
static struct ms_error *write_parts(struct writer *w, FILE *out, const struct ms_type *type, uint64_t address,
                                    unsigned depth, bool *good)
{
    fprintf(out, "%s{", type->name);
    const uint64_t count = type->kind == MS_TYPE_ARRAY ? type->count : type->member_count;
    *good = *good && count <= KEY_MAX && depth < DEPTH_MAX;
    for (uint64_t i = 0; *good && i < count; i++) {
        const struct ms_member *m = type->kind == MS_TYPE_ARRAY ? NULL : &type->members[i];
        if (m)
            fprintf(out, "%s%s: ", i ? ", " : "", m->name ? m->name : "_");
        else if (i)
            fputs(", ", out);
        MS_TRY(write_key(w, out, m ? m->type : type->target, address + (m ? m->offset : i * type->target->size),
                         depth + 1, good));
    }
    fputc('}', out);
    return NULL;
}

static struct ms_error *write_key(struct writer *w, FILE *out, const struct ms_type *type, uint64_t address,
                                  unsigned depth, bool *good)
{
    type = whole(w, type);
    const struct ms_go_type *go = ms_go_type_of(w->go_types, type);
    uint64_t words[2];
    switch (go ? go->kind : MS_GO_NONE) {
    case MS_GO_NONE:
        *good = false;
        return NULL;
    case MS_GO_STRING:
        *good = *good && write_string(w, out, address);
        return NULL;
    case MS_GO_STRUCT:
    case MS_GO_ARRAY:
        return write_parts(w, out, type, address, depth, good);
    case MS_GO_POINTER:
    case MS_GO_CHAN:
    case MS_GO_UNSAFE_POINTER:
        *good = *good && ms_image_read_word(w->image, address, words);
        if (*good)
            fprintf(out, "(%s)(0x%" PRIx64 ")", type->name, words[0]);
        return NULL;
    case MS_GO_INTERFACE: {
        *good = *good && depth < DEPTH_MAX && ms_image_read(w->image, address, words, sizeof words);
        const struct ms_go_type *value = !*good                ? NULL
                                         : go->empty_interface ? ms_go_type_at(w->go_types, words[0])
                                                               : ms_go_type_of_itab(w->go_types, words[0]);
        *good = *good && value;
        return value ? write_key(w, out, value->type, value->direct ? address + 8 : words[1], depth + 1, good)
                     : NULL;
    }
    default:
        *good = *good && write_number(w, out, type, address);
        return NULL;
    }
}

/* "[KEY]" behind the text; the way is lost when the key cannot be written. */
static struct ms_error *add_key(struct writer *w, const struct ms_type *type, uint64_t address)
{
    char *text = NULL;
    size_t size = 0;
    bool good = true;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return ms_error_nomem("an expression");
    struct ms_error *error = write_key(w, out, type, address, 0, &good);
    if (fclose(out) != 0 && !error)
        error = ms_error_nomem("an expression");
    if (!error && (!good || size > TEXT_MAX))
        w->place = LOST;
    else if (!error)
        error = ms_rewrite(&w->text, "%s[%s]", w->text, text);
    free(text);
    return error;
}

/* --- ways -------------------------------------------------------------------------------------- */

/* A member or element that holds WORD, of the value that the text is; false: it is none of either. */
static struct ms_error *enter(struct writer *w, uint64_t word, bool *entered)
{
    const uint64_t offset = word - w->base;
    *entered = false;
    if (w->type->kind == MS_TYPE_ARRAY && w->type->target && w->type->target->size) {
        const uint64_t size = w->type->target->size, index = offset / size;
        MS_TRY(wrap(w));
        MS_TRY(ms_rewrite(&w->text, "%s[%" PRIu64 "]", w->text, index));
        w->base += index * size;
        w->type = whole(w, w->type->target);
        *entered = true;
    }
    for (size_t i = 0; !*entered && w->type->kind == MS_TYPE_STRUCT && i < w->type->member_count; i++) {
        const struct ms_member *m = &w->type->members[i];
        if (!m->name || !m->type || offset < m->offset || offset - m->offset >= m->type->size)
            continue;
        MS_TRY(wrap(w));
        MS_TRY(ms_rewrite(&w->text, "%s.%s", w->text, m->name));
        w->base += m->offset;
        w->type = whole(w, m->type);
        *entered = true;
    }
    if (*entered)
        w->place = VALUE;
    return NULL;
}

/* Does a value of this kind end the way through structures? */
static bool is_end(struct writer *w, const struct ms_type *type)
{
    const struct ms_go_type *go = ms_go_type_of(w->go_types, type);
    return go ? go->kind != MS_GO_STRUCT && go->kind != MS_GO_ARRAY : type->kind == MS_TYPE_POINTER;
}

static const struct ms_member *member_called(const struct ms_type *type, const char *name)
{
    for (size_t i = 0; i < type->member_count; i++)
        if (type->members[i].name && type->members[i].type && !strcmp(type->members[i].name, name))
            return &type->members[i];
    return NULL;
}

static bool begins(const char *name, const char *prefix)
{
    return !strncmp(name, prefix, strlen(prefix));
}

/* A map that several goroutines use: until 1.23 it has two plain ones, from 1.24 on a tree. */
static bool is_synced(const struct ms_type *type)
{
    return type->kind == MS_TYPE_STRUCT &&
           (!strcmp(type->name, "sync.Map") || begins(type->name, "sync.HashTrieMap[") ||
            begins(type->name, "internal/sync.HashTrieMap["));
}

static void begin_synced(struct writer *w)
{
    const struct ms_member *dirty = member_called(w->type, "dirty");
    const struct ms_go_type *map = dirty ? ms_go_type_of(w->go_types, dirty->type) : NULL;
    w->map = map && map->kind == MS_GO_MAP && map->key ? map : NULL;
    w->keyed = false;
    w->place = SYNCED;
}

/* Goes down to the value that WORD is the pointer of. */
static struct ms_error *descend(struct writer *w, uint64_t word)
{
    if (w->place == SLICE) {
        const uint64_t size = w->type->size, index = word >= w->base && size ? (word - w->base) / size : UINT64_MAX;
        if (index == UINT64_MAX) {
            w->place = LOST;
            return NULL;
        }
        MS_TRY(wrap(w));
        /* What is behind the length is still there up to the capacity. */
        MS_TRY(index < w->length ? ms_rewrite(&w->text, "%s[%" PRIu64 "]", w->text, index)
                                 : ms_rewrite(&w->text, "%s[:cap(%s)][%" PRIu64 "]", w->text, w->text, index));
        w->base += index * size;
        w->place = VALUE;
    }
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        if (word < w->base || word - w->base >= w->type->size)
            break;
        if (is_end(w, w->type)) {
            if (w->place == POINTED) {
                MS_TRY(ms_rewrite(&w->text, "*%s", w->text));
                w->starred = true;
                w->place = VALUE;
            }
            return NULL;
        }
        if (is_synced(w->type)) {
            begin_synced(w);
            return NULL;
        }
        bool entered;
        MS_TRY(enter(w, word, &entered));
        if (!entered)
            break;
    }
    w->place = LOST;
    return NULL;
}

static struct ms_error *follow_interface(struct writer *w, const struct ms_go_type *go);
static struct ms_error *follow(struct writer *w);

/* The text is a value that points: to what? */
static struct ms_error *follow(struct writer *w)
{
    const struct ms_go_type *go = ms_go_type_of(w->go_types, w->type);
    uint64_t words[2];
    const enum ms_go_kind kind = go ? go->kind : MS_GO_NONE;
    if (w->place == SYNCED)
        return NULL;
    if (w->place != VALUE || !ms_image_read(w->image, w->base, words, w->type->size < 16 ? 8 : 16)) {
        w->place = LOST;
        return NULL;
    }
    const struct ms_type *element = go ? go->element : w->type->kind == MS_TYPE_POINTER ? w->type->target : NULL;
    if ((kind == MS_GO_POINTER || !go) && element && element->kind != MS_TYPE_VOID) {
        w->type = whole(w, element);
        w->base = words[0];
        w->place = POINTED;
    } else if (kind == MS_GO_SLICE && go->element) {
        w->type = whole(w, go->element);
        w->base = words[0];
        w->length = words[1];
        w->place = SLICE;
    } else if (kind == MS_GO_INTERFACE) {
        return follow_interface(w, go);
    } else if (kind == MS_GO_CHAN && go->element) {
        w->type = whole(w, go->element);
        w->place = CHAN;
    } else if (kind == MS_GO_UNSAFE_POINTER || (kind == MS_GO_POINTER && !go->element)) {
        w->place = OPEN;
    } else if (kind == MS_GO_FUNC) {
        w->place = CLOSURE;
    } else if (kind == MS_GO_MAP) {
        w->map = go;
        w->place = MAP;
    } else {
        w->place = LOST;
    }
    return NULL;
}

static struct ms_error *follow_interface(struct writer *w, const struct ms_go_type *go)
{
    uint64_t words[2];
    const uint64_t data = w->base + 8;
    if (!ms_image_read(w->image, w->base, words, sizeof words))
        return NULL;
    const struct ms_go_type *value =
        go->empty_interface ? ms_go_type_at(w->go_types, words[0]) : ms_go_type_of_itab(w->go_types, words[0]);
    if (!value) {
        w->place = LOST;
        return NULL;
    }
    MS_TRY(wrap(w));
    MS_TRY(ms_rewrite(&w->text, "%s.(%s)", w->text, value->type->name));
    w->type = whole(w, value->type);
    w->place = VALUE;
    w->base = value->direct ? data : words[1];
    if (!value->direct)
        return NULL;
    MS_TRY(descend(w, data));
    return w->place == VALUE && ms_go_type_of(w->go_types, w->type)->kind != MS_GO_INTERFACE ? follow(w) : NULL;
}

/* Where in a unit of a map the word is: in which slot, in its element? */
struct slot {
    uint64_t key, element; /* addresses */
    bool in_element;
};

static bool find_slot(const struct ms_go_map *map, uint64_t unit, uint64_t offset, struct slot *slot)
{
    uint64_t index, rest;
    if (map->groups) {
        if (!map->slot_size || offset < 8)
            return false;
        index = (offset - 8) / map->slot_size; /* behind the control word */
        rest = (offset - 8) % map->slot_size;
        slot->key = unit + 8 + index * map->slot_size;
        slot->element = slot->key + map->element_offset;
        slot->in_element = rest >= map->element_offset;
        return index < MS_GO_SLOTS;
    }
    const uint64_t keys = MS_GO_SLOTS, elements = keys + (uint64_t)MS_GO_SLOTS * map->key_size,
                   end = elements + (uint64_t)MS_GO_SLOTS * map->element_size;
    if (offset < elements || offset >= end || !map->key_size || !map->element_size) {
        slot->in_element = false;
        return offset >= keys && offset < elements;
    }
    index = (offset - elements) / map->element_size;
    slot->key = unit + keys + index * map->key_size;
    slot->element = unit + elements + index * map->element_size;
    slot->in_element = true;
    return true;
}

/* The text is a map, STEP part of what it is made of; goes on to an element when that holds the word. */
static struct ms_error *step_map(struct writer *w, const struct ms_go_expression_step *step)
{
    const struct ms_go_map *map = &w->map->map;
    const struct ms_type *type = step->what.type;
    struct slot slot = {0};
    if (!type || !map->unit || type != whole(w, map->unit))
        return NULL; /* its structure, directory, a table */
    const uint64_t unit = step->address + (step->word - step->address) / type->size * type->size;
    if (!find_slot(map, unit, step->word - unit, &slot))
        return NULL; /* an overflow bucket follows */
    uint64_t key = slot.key;
    if (!slot.in_element || !w->map->key || !w->map->element ||
        (map->indirect_key && !ms_image_read_word(w->image, slot.key, &key))) {
        w->place = LOST;
        return NULL;
    }
    MS_TRY(add_key(w, w->map->key, key));
    if (w->place == LOST)
        return NULL;
    w->type = whole(w, w->map->element);
    w->base = slot.element;
    w->place = VALUE;
    if (map->indirect_element) { /* the element is the next block */
        if (!ms_image_read_word(w->image, slot.element, &w->base))
            w->place = LOST;
        return NULL;
    }
    MS_TRY(descend(w, step->word));
    return w->place == LOST ? NULL : follow(w);
}

/* The way begins anew, with what is known of STEP; FROM says its address, and may be the text. */
static struct ms_error *begin(struct writer *w, const struct ms_go_expression_step *step, const char *from)
{
    const struct ms_type *type = step->what.type;
    w->place = LOST;
    if (!type || type->kind == MS_TYPE_VOID || ms_go_owner_of(w->go_types, type) ||
        !ms_go_type_of(w->go_types, type))
        return NULL;
    w->starred = false;
    w->base = step->address;
    w->type = type;
    w->place = step->what.count == 1 ? POINTED : SLICE;
    w->length = step->what.count;
    return step->what.count == 1
               ? ms_rewrite(&w->text, "(*%s)(%s)", type->name, from)
               : ms_rewrite(&w->text, "(*[%" PRIu64 "]%s)(%s)", step->what.count, type->name, from);
}

static struct ms_error *begin_at(struct writer *w, const struct ms_go_expression_step *step)
{
    char address[24];
    snprintf(address, sizeof address, "0x%" PRIx64, step->address);
    return begin(w, step, address);
}

/* The text is an unsafe.Pointer: what is there is known of STEP alone. */
static struct ms_error *step_open(struct writer *w, const struct ms_go_expression_step *step)
{
    return begin(w, step, w->text);
}

/* The text is a channel, STEP its structure or its buffer. */
static struct ms_error *step_channel(struct writer *w, const struct ms_go_expression_step *step)
{
    const struct ms_type *type = step->what.type;
    if (type && ms_go_owner_of(w->go_types, type))
        return NULL;
    w->place = type && type == w->type ? SLICE : LOST;
    if (w->place == LOST)
        return NULL;
    w->base = step->address;
    w->length = step->what.count;
    MS_TRY(wrap(w));
    return ms_rewrite(&w->text, "%s.buf", w->text);
}

/* The value of TYPE at ADDRESS is what the key belongs to; the word is in it. */
static struct ms_error *enter_synced(struct writer *w, const struct ms_type *type, uint64_t address, uint64_t word)
{
    w->type = whole(w, type);
    w->base = address;
    w->place = VALUE;
    MS_TRY(descend(w, word));
    return w->place == LOST ? NULL : follow(w);
}

/* An entry of the tree. */
static struct ms_error *step_entry(struct writer *w, const struct ms_go_expression_step *step)
{
    const struct ms_member *key = member_called(step->what.type, "key"),
                           *value = member_called(step->what.type, "value");
    const uint64_t offset = step->word - step->address;
    if (!key || !value || (offset >= key->offset && offset < value->offset)) {
        w->place = LOST;
        return NULL;
    }
    if (offset < key->offset)
        return NULL; /* others with the same hash follow */
    MS_TRY(add_key(w, key->type, step->address + key->offset));
    return w->place == LOST ? NULL : enter_synced(w, value->type, step->address + value->offset, step->word);
}

/* A bucket of a plain map, or from 1.24 on a group (GOEXPERIMENT=nosynchashtriemap): its elements point to entries. */
static struct ms_error *step_synced_unit(struct writer *w, const struct ms_go_expression_step *step)
{
    const struct ms_type *type = step->what.type;
    struct slot slot = {0};
    const uint64_t unit = step->address + (step->word - step->address) / type->size * type->size;
    if (!find_slot(&w->map->map, unit, step->word - unit, &slot))
        return NULL; /* an overflow bucket follows */
    if (!slot.in_element || w->map->map.indirect_key) {
        w->place = LOST;
        return NULL;
    }
    w->keyed = true;
    return add_key(w, w->map->key, slot.key);
}

/* The text is a sync.Map, STEP part of what it is made of. */
static struct ms_error *step_synced(struct writer *w, const struct ms_go_expression_step *step)
{
    const struct ms_type *type = step->what.type;
    const char *name = type ? type->name : "";
    const char *inside = begins(name, "internal/") ? name + strlen("internal/") : name;
    if (begins(inside, "sync.entry["))
        return step_entry(w, step);
    /* What the entry of a plain map points to is the value as an interface. */
    if (w->keyed && strcmp(name, "sync.entry") != 0 && step->word == step->address + 8)
        return enter_synced(w, w->map->key, step->address, step->word);
    if (w->map && type && w->map->map.unit && type == whole(w, w->map->map.unit))
        return step_synced_unit(w, step);
    if (!begins(inside, "sync.indirect[") && strcmp(name, "sync.readOnly") != 0 &&
        strcmp(name, "sync.entry") != 0 && !(type && ms_go_owner_of(w->go_types, type)) &&
        !(type && begins(name, "map.table[")) && !(type && type->kind == MS_TYPE_POINTER))
        w->place = LOST;
    return NULL;
}

static struct ms_error *add_step(struct writer *w, const struct ms_go_expression_step *step)
{
    if (w->place == MAP) {
        MS_TRY(step_map(w, step));
        if (w->place != LOST)
            return NULL;
    }
    if (w->place == SYNCED) {
        MS_TRY(step_synced(w, step));
        if (w->place != LOST)
            return NULL;
    }
    if (w->place == OPEN || w->place == CHAN) {
        MS_TRY(w->place == OPEN ? step_open(w, step) : step_channel(w, step));
        if (w->place == CHAN)
            return NULL;
    }
    if (w->place == CLOSURE) {
        const struct ms_type *type = step->what.type;
        w->place = type && ms_go_is_closure(type) ? POINTED : LOST;
        w->type = type;
        w->base = step->address;
    }
    for (unsigned tries = 0; tries < 2; tries++) {
        if (w->place == LOST)
            MS_TRY(begin_at(w, step));
        if (w->place == LOST)
            return NULL;
        MS_TRY(descend(w, step->word));
        if (w->place != LOST)
            return follow(w);
    }
    return NULL;
}

/* "(*p)" says no more than "*p". */
static struct ms_error *finish(struct writer *w, const struct ms_go_expression_step *last)
{
    if (w->place == LOST)
        MS_TRY(begin_at(w, last));
    /* The box of an interface is not addressable; a value that is one is said by its own. */
    return NULL;
}

ms_result ms_go_express(struct ms_go_types *go_types, struct ms_types *types, const struct ms_image *image,
                        const struct ms_go_expression_root *root, const struct ms_go_expression_step *steps,
                        size_t count, char **expression)
{
    struct writer w = {
        .go_types = go_types, .types = types, .image = image, .shapes = {.go_types = go_types, .types = types}};
    struct ms_error *error = NULL;
    *expression = NULL;
    if (!count || count > STEPS_MAX)
        return NULL;
    if (root->name && root->type) {
        w.place = VALUE;
        w.base = root->address;
        w.type = whole(&w, root->type);
        /* Go's own way to write it, which Delve reads too: "http.DefaultClient" of net/http */
        const char *slash = strrchr(root->name, '/');
        error = ms_rewrite(&w.text, "%s", slash ? slash + 1 : root->name);
        error = error ? error : descend(&w, root->word);
        if (!error && w.place != LOST)
            error = follow(&w);
    }
    for (size_t i = 0; !error && i + 1 < count; i++)
        error = add_step(&w, &steps[i]);
    if (!error)
        error = finish(&w, &steps[count - 1]);
    if (!error && w.place != LOST) {
        *expression = w.text;
        w.text = NULL;
    }
    free(w.text);
    ms_go_shapes_free(&w.shapes);
    return error;
}

ms_result ms_go_express_chain(struct ms_knowledge *knowledge, struct ms_types *types, const struct ms_image *image,
                              const struct ms_scan *scan, const struct ms_chain *chain, char **expression)
{
    const size_t count = chain->steps.count;
    struct ms_place_type place = {0};
    *expression = NULL;
    if (!ms_known_go_types(knowledge))
        return NULL;
    ms_auto_free struct ms_go_expression_step *steps = calloc(count + 1, sizeof *steps);
    if (!steps)
        return ms_error_nomem("an expression");
    for (size_t i = 0; i < count; i++) {
        const struct ms_step *step = &chain->steps.items[i];
        struct ms_known what;
        MS_TRY(ms_block_known(knowledge, step->start, &what));
        steps[i] = (struct ms_go_expression_step){.what = what.what,
                                                  .address = ms_granule_address(&scan->heap, step->start)};
        if (step->offset != MS_NOTHING)
            steps[i].word = steps[i].address + step->offset;
    }
    if (chain->root && chain->root->kind == MS_ROOT_DATA)
        MS_TRY(ms_types_find(types, &chain->root->address, 1, &place));
    struct ms_go_expression_root root = {0};
    if (place.variable)
        root = (struct ms_go_expression_root){place.variable->name, place.variable->type,
                                              chain->root->address - place.offset, chain->root->address};
    return ms_go_express(ms_known_go_types(knowledge), types, image, &root, steps, count, expression);
}
