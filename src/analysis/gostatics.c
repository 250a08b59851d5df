/* Data of a Go program that no symbol names, which its variables point to: var x = &T{…}. */
#include "gotyping.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHAT         "the types of variables"
#define PIECE_WORDS  4096u
#define NEAR         (64u << 10) /* bytes before a root that such data may begin */
#define HOLDERS_MOST (1u << 18)
#define DATA_MOST    (1ull << 32)
#define ROUNDS_MOST  8u /* data that data points to, and so on */
#define NAME_MOST    512u

/* A word of the program's data that points into it. */
struct holder {
    uint64_t address, value;
    bool done;
};

struct finder {
    struct ms_go_typing *g;
    uint64_t *roots; /* that are in no variable, sorted; owned */
    size_t root_count;
    MS_VECTOR(struct holder) holders; /* by address */
    bool found;                       /* in this round */
};

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Roots of variables that are not known. */
static struct ms_error *find_nameless(struct finder *f)
{
    const struct ms_scan *scan = f->g->t->scan;
    size_t count = 0;
    f->roots = calloc(scan->root_count + 1, sizeof *f->roots);
    ms_auto_free struct ms_place_type *places = calloc(scan->root_count + 1, sizeof *places);
    if (!f->roots || !places)
        return ms_error_nomem(WHAT);
    for (size_t i = 0; i < scan->root_count; i++)
        if (scan->roots[i].kind == MS_ROOT_DATA)
            f->roots[count++] = scan->roots[i].address;
    if (!count)
        return NULL;
    qsort(f->roots, count, sizeof *f->roots, by_value);
    MS_TRY(ms_types_find(f->g->shapes.types, f->roots, count, places));
    for (size_t i = 0; i < count; i++)
        if (!places[i].variable)
            f->roots[f->root_count++] = f->roots[i];
    return NULL;
}

/* Is there a root from ADDRESS on, in so many BYTES? */
static bool has_root(const struct finder *f, uint64_t address, uint64_t bytes)
{
    size_t low = 0, high = f->root_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (f->roots[middle] < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->root_count && f->roots[low] - address < bytes;
}

/* … or what points to more such data? */
static bool has_holder(const struct finder *f, uint64_t address, uint64_t bytes)
{
    size_t low = 0, high = f->holders.count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (f->holders.items[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->holders.count && f->holders.items[low].address - address < bytes;
}

static struct ms_error *find_holders(struct finder *f, const struct ms_go_module *module, struct ms_go_range range)
{
    uint64_t words[PIECE_WORDS];
    if (range.end < range.start || range.end - range.start > DATA_MOST)
        return NULL;
    for (uint64_t at = range.start; at + 8 <= range.end; at += sizeof words) {
        const uint64_t left = range.end - at, size = left < sizeof words ? left / 8 * 8 : sizeof words;
        if (!ms_image_read(f->g->t->image, at, words, size))
            continue;
        for (uint64_t i = 0; i < size / 8; i++) {
            if ((!ms_go_is_in(&module->data, words[i]) && !ms_go_is_in(&module->bss, words[i])) ||
                !has_root(f, words[i], NEAR))
                continue;
            struct holder *holder = f->holders.count < HOLDERS_MOST ? ms_vector_add(&f->holders) : NULL;
            if (!holder)
                return f->holders.count < HOLDERS_MOST ? ms_error_nomem(WHAT) : NULL;
            *holder = (struct holder){at + i * 8, words[i], false};
        }
    }
    return NULL;
}

static int by_address(const void *a, const void *b)
{
    const struct holder *h = a, *k = b;
    return h->address < k->address ? -1 : h->address > k->address;
}

/* "main.server", "main.tables[3]": what LINK of VARIABLE points to; false: it is too long to say. */
static bool name_holder(struct finder *f, const struct ms_variable *variable, const struct ms_go_link *link,
                        const struct ms_type *dynamic, char name[NAME_MOST])
{
    const struct ms_type *leaf;
    ms_auto_free char *path =
        ms_type_path(f->g->shapes.types, variable->type, link->offset, sizeof(uint64_t), &leaf);
    if (!path)
        return false;
    char *part = strrchr(path, '.');
    const bool inside = link->how == MS_GO_LINK_SLICE || dynamic; /* the first word of a slice, of an interface */
    if (inside && part)
        *part = '\0';
    const int length = dynamic ? snprintf(name, NAME_MOST, "%s%s.(%s)", variable->name, path, dynamic->name)
                               : snprintf(name, NAME_MOST, "%s%s", variable->name, path);
    return length > 0 && (unsigned)length < NAME_MOST;
}

/* COUNT values of TYPE as one. */
static const struct ms_type *array_of(struct finder *f, const struct ms_type *type, uint64_t count)
{
    char name[NAME_MOST];
    snprintf(name, sizeof name, "[%llu]%s", (unsigned long long)count, type->name);
    const struct ms_type_plan plan = {.kind = MS_TYPE_ARRAY,
                                      .language = MS_LANGUAGE_GO,
                                      .name = name,
                                      .size = count * type->size,
                                      .count = count,
                                      .target = type};
    return ms_type_add(f->g->shapes.types, &plan);
}

/* The type of what HOLDER, a word of VARIABLE, points to by LINK; NULL: it is not to be had. */
static const struct ms_type *target_of(struct finder *f, const struct holder *holder, const struct ms_go_link *link,
                                       const struct ms_type **dynamic)
{
    uint64_t word;
    const struct ms_go_type *go;
    *dynamic = NULL;
    switch (link->how) {
    case MS_GO_LINK_VALUE:
        return link->to;
    case MS_GO_LINK_SLICE:
        if (!ms_image_read_word(f->g->t->image, holder->address + 8, &word) || !word || !link->to ||
            !link->to->size || word > DATA_MOST / link->to->size)
            return NULL;
        return array_of(f, link->to, word);
    case MS_GO_LINK_EMPTY:
    case MS_GO_LINK_INTERFACE:
        if (!ms_image_read_word(f->g->t->image, holder->address - 8, &word))
            return NULL;
        go = link->how == MS_GO_LINK_EMPTY ? ms_go_type_at(f->g->go_types, word)
                                           : ms_go_type_of_itab(f->g->go_types, word);
        if (!go || go->kind != MS_GO_POINTER || !go->element)
            return NULL;
        *dynamic = go->type;
        return ms_go_whole(&f->g->shapes, go->element);
    default:
        return NULL;
    }
}

static struct ms_error *take(struct finder *f, struct holder *holder, const struct ms_place_type *place)
{
    const struct ms_type *dynamic;
    char name[NAME_MOST];
    const struct ms_go_shape *shape = ms_go_shape_of(&f->g->shapes, place->variable->type);
    const struct ms_go_link *link = ms_go_shape_link(shape, place->offset);
    holder->done = true;
    const struct ms_type *type = link ? target_of(f, holder, link, &dynamic) : NULL;
    if (!type || (type->kind != MS_TYPE_STRUCT && type->kind != MS_TYPE_ARRAY) || !type->size ||
        (!has_root(f, holder->value, type->size) && !has_holder(f, holder->value, type->size)))
        return NULL;
    struct ms_place_type there = {0};
    MS_TRY(ms_types_find(f->g->shapes.types, &holder->value, 1, &there));
    if (there.variable || !name_holder(f, place->variable, link, dynamic, name))
        return NULL;
    f->found = true;
    return ms_types_add_variable(f->g->shapes.types, name, place->variable->unit, type, holder->value);
}

static struct ms_error *find_data(struct finder *f)
{
    const struct ms_go *go = f->g->heap->go;
    MS_TRY(find_nameless(f));
    for (size_t i = 0; i < go->modules.count && f->root_count; i++) {
        const struct ms_go_module *module = &go->modules.items[i];
        MS_TRY(find_holders(f, module, module->data));
        MS_TRY(find_holders(f, module, module->bss));
    }
    ms_vector_sort(&f->holders, by_address);
    f->found = true;
    for (unsigned round = 0; round < ROUNDS_MOST && f->found; round++) {
        f->found = false;
        for (size_t i = 0; i < f->holders.count; i++) {
            struct holder *holder = &f->holders.items[i];
            struct ms_place_type place = {0};
            if (!holder->done)
                MS_TRY(ms_types_find(f->g->shapes.types, &holder->address, 1, &place));
            if (place.variable)
                MS_TRY(take(f, holder, &place));
        }
    }
    return NULL;
}

struct ms_error *ms_go_find_statics(struct ms_go_typing *g)
{
    struct finder f = {.g = g};
    struct ms_error *error = find_data(&f);
    free(f.roots);
    ms_vector_free(&f.holders);
    return error;
}
