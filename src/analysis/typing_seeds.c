/* Where types come from: vtables in blocks, variables of modules and threads, locals of every frame. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python.h"
#include "spread.h"

/* So many threads are unwound; the rest of a thread pool looks like the first ones. */
#define THREADS_MAX 256u
/* Static TLS lies below the thread pointer: farther away nothing is asked for. Bytes. */
#define TLS_REACH (1u << 20)

/* --- vtables ----------------------------------------------------------------------------------- */

/* The type of the class whose vtable TARGET is in. KNOWN: it is in one, though its type may not be known. */
static const struct ms_type *vtable_class(struct ms_typing *t, uint64_t target, bool *known)
{
    const uint64_t *seen = ms_map_get(&t->vtables, target, 0);
    if (seen) {
        *known = *seen & 1;
        return (const struct ms_type *)(uintptr_t)(*seen & ~1ull);
    }
    uint64_t address = ms_scan_module_address(t->scan, target);
    const char *name = address && t->symbols ? ms_symbols_vtable_class(t->symbols, address) : NULL;
    const struct ms_type *type = name ? ms_type_named(t->shapes.types, name) : NULL;
    type = type ? ms_type_complete(t->shapes.types, type) : NULL;
    *known = name;
    t->failed |= !ms_map_put(&t->vtables, target, 0, (uintptr_t)type | *known);
    return type;
}

/* Every one of the COUNT objects of SIZE bytes must begin with the same vtable. */
static bool is_row(const struct ms_typing *t, uint64_t start, uint64_t size, uint64_t count)
{
    uint64_t first = ms_word_target(t->heap, start * 2);
    if (!size || size % 8 || count < 2)
        return false;
    for (uint64_t i = 1; i < count; i++)
        if (ms_word_target(t->heap, start * 2 + ms_bytes_words(t->heap, i * size)) != first)
            return false;
    return true;
}

static struct ms_error *seed_vtable(struct ms_typing *t, void *unused, uint64_t start)
{
    (void)unused;
    struct ms_slot *slot = ms_slot_of(t, start);
    uint64_t target = ms_word_target(t->heap, start * 2);
    if (target == MS_NOTHING || target < 2 * t->heap->granules)
        return NULL;
    bool known;
    const struct ms_type *type = vtable_class(t, target, &known);
    const uint64_t usable = ms_usable(t->heap, start);
    /* An object that would not fit was there before, in a block that was bigger then. */
    if (!known || (type && (type->size > usable || !type->size)))
        return NULL;
    slot->level = MS_LEVEL_VTABLE;
    slot->strong = 1;
    slot->type = type ? type->id + 1 : 0;
    slot->array = type && is_row(t, start, type->size, usable / type->size);
    for (uint64_t i = 0; type && i < (slot->array ? usable / type->size : 1); i++)
        ms_spread_value(t, type, start * 2 + ms_bytes_words(t->heap, i * type->size), true, false);
    return NULL;
}

ms_result ms_seed_vtables(struct ms_typing *t)
{
    return ms_each_block(t, seed_vtable, NULL);
}

/* --- objects of Python ------------------------------------------------------------------------- */

/* The structure of a class that is built in: of PyDict_Type PyDictObject, whose size must be what the class says. */
static const struct ms_type *object_type(struct ms_typing *t, const struct ms_python_class *class)
{
    char name[64];
    const size_t length = class->symbol ? strlen(class->symbol) : 0;
    /* Most text is without the last members of its structure. */
    if (length < 6 || length > sizeof name - 3 || strcmp(class->symbol + length - 5, "_Type") != 0 ||
        !strcmp(class->symbol, "PyUnicode_Type"))
        return NULL;
    snprintf(name, sizeof name, "%.*sObject", (int)length - 5, class->symbol);
    const struct ms_type *type = ms_type_named(t->shapes.types, name);
    type = type ? ms_type_complete(t->shapes.types, type) : NULL;
    /* An item may be declared that not every object has. */
    return type && type->size >= class->basic_size && type->size <= class->basic_size + 8 ? type : NULL;
}

static struct ms_error *seed_object(struct ms_typing *t, void *python, uint64_t start)
{
    const struct ms_python_class *class;
    struct ms_slot *slot = ms_slot_of(t, start);
    uint64_t before;
    MS_TRY(ms_python_object(python, start, &class, &before));
    if (!class)
        return NULL;
    slot->level = MS_LEVEL_VTABLE; /* also without a structure: no pointer may say otherwise */
    slot->strong = 1;
    const struct ms_type *type = object_type(t, class);
    if (!type || before + type->size > ms_usable(t->heap, start))
        return NULL;
    slot->type = type->id + 1;
    slot->at = (unsigned)(before / 8) & MS_SLOT_AT_MAX;
    ms_spread_value(t, type, start * 2 + before / 8, true, false);
    return NULL;
}

ms_result ms_seed_python(struct ms_typing *t)
{
    struct ms_python *python;
    struct ms_error *error = ms_python_new(t->scan, t->image, t->symbols, &python);
    if (!error && python)
        error = ms_each_block(t, seed_object, python);
    ms_python_free(python);
    return error;
}

/* --- variables --------------------------------------------------------------------------------- */

struct roots {
    MS_VECTOR(const struct ms_root *) list; /* by address */
};

static int roots_by_address(const void *a, const void *b)
{
    const struct ms_root *const *r = a, *const *s = b;
    return (*r)->address < (*s)->address ? -1 : (*r)->address > (*s)->address;
}

static bool is_near_tls(const struct ms_image *image, uint64_t address)
{
    for (size_t i = 0; i < image->thread_count && i < THREADS_MAX; i++) {
        uint64_t pointer = image->threads[i].registers[MS_REG_FS_BASE];
        if (pointer > address && pointer - address < TLS_REACH)
            return true;
    }
    return false;
}

typedef bool root_filter(const struct ms_typing *t, const struct ms_root *root);

static bool may_be_variable(const struct ms_typing *t, const struct ms_root *root)
{
    return root->kind == MS_ROOT_DATA ||
           ((root->kind == MS_ROOT_STACK || root->kind == MS_ROOT_ANON) && is_near_tls(t->image, root->address));
}

static bool is_on_stack(const struct ms_typing *t, const struct ms_root *root)
{
    (void)t;
    return root->kind == MS_ROOT_STACK || root->kind == MS_ROOT_ANON;
}

/* The roots that are WANTED, sorted by address. */
static struct ms_error *collect_roots(const struct ms_typing *t, root_filter *wanted, struct roots *roots)
{
    for (size_t i = 0; i < t->scan->root_count; i++) {
        const struct ms_root *root = &t->scan->roots[i];
        if (root->address % 8 || !wanted(t, root))
            continue;
        const struct ms_root **slot = ms_vector_add(&roots->list);
        if (!slot)
            return ms_error_nomem("the types of variables");
        *slot = root;
    }
    ms_vector_sort(&roots->list, roots_by_address);
    return NULL;
}

/* What the word at OFFSET of a variable of TYPE claims, when it points to TARGET. */
static void claim_word(struct ms_typing *t, const struct ms_type *type, uint64_t base, uint64_t offset,
                       uint64_t target, const struct ms_claim *manner)
{
    const struct ms_shape *shape = ms_shape_of(&t->shapes, type);
    const struct ms_link *link = ms_shape_link(shape, offset);
    struct ms_claim claim;
    if (!link || !ms_link_claim(t, shape, link, base, MS_NOTHING, target, &claim))
        return;
    claim.strong &= manner->strong;
    claim.doubtful |= manner->doubtful;
    claim.settled = manner->settled;
    ms_claim(t, &claim);
}

static void claim_variables(struct ms_typing *t, const struct roots *roots, const struct ms_place_type *places)
{
    const struct ms_claim manner = {.strong = true};
    for (size_t i = 0; i < roots->list.count; i++) {
        const struct ms_root *root = roots->list.items[i];
        const struct ms_place_type *place = &places[i];
        if (place->variable && place->variable->type)
            claim_word(t, place->variable->type, root->address - place->offset, place->offset, root->target,
                       &manner);
    }
}

static struct ms_error *find_variables(struct ms_typing *t, const struct roots *roots, uint64_t *addresses,
                                       struct ms_place_type *places)
{
    for (size_t i = 0; i < roots->list.count; i++)
        addresses[i] = roots->list.items[i]->address;
    MS_TRY(ms_types_find(t->shapes.types, addresses, roots->list.count, places));
    claim_variables(t, roots, places);
    return NULL;
}

ms_result ms_seed_variables(struct ms_typing *t)
{
    struct roots roots = {0};
    struct ms_error *error = collect_roots(t, may_be_variable, &roots);
    const size_t count = roots.list.count;
    uint64_t *addresses = calloc(count + 1, sizeof *addresses);
    struct ms_place_type *places = calloc(count + 1, sizeof *places);
    if (!addresses || !places)
        error = error ? error : ms_error_nomem("the types of variables");
    else if (!error && count)
        error = find_variables(t, &roots, addresses, places);
    free(addresses);
    free(places);
    ms_vector_free(&roots.list);
    return error;
}

/* --- locals ------------------------------------------------------------------------------------ */

/* Address VALUE as a target, or MS_NOTHING; an unaligned one lies in the odd unit of its granule. */
static uint64_t target_of(const struct ms_heap *heap, uint64_t value)
{
    const struct ms_segment *s = ms_heap_segment(heap, value);
    if (!s)
        return MS_NOTHING;
    return 2 * s->first + ms_offset_words(heap, value - s->base);
}

static size_t first_root_from(const struct roots *roots, uint64_t address)
{
    size_t low = 0, high = roots->list.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (roots->list.items[middle]->address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void claim_local(struct ms_typing *t, const struct roots *roots, const struct ms_local *local)
{
    if (!local->type)
        return;
    const struct ms_type *type = ms_type_complete(t->shapes.types, local->type);
    /* What has a constructor is seldom left without a value. */
    const bool constructed = type->kind == MS_TYPE_STRUCT && type->language != MS_LANGUAGE_C;
    /* What only the caller knows that it passed is not needed here any more, and may be freed. */
    const bool kept = !local->valued || local->reg >= 0;
    const struct ms_claim manner = {.doubtful = true, .settled = (local->parameter && kept) || constructed};
    if (!local->address) {
        uint64_t target = local->valued ? target_of(t->heap, local->value) : MS_NOTHING;
        if (target != MS_NOTHING && type->size <= 8)
            claim_word(t, type, 0, 0, target, &manner);
        return;
    }
    for (size_t i = first_root_from(roots, local->address); i < roots->list.count; i++) {
        const struct ms_root *root = roots->list.items[i];
        if (root->address - local->address >= type->size)
            break;
        claim_word(t, type, local->address, root->address - local->address, root->target, &manner);
    }
}

static struct ms_error *claim_stack(struct ms_typing *t, const struct roots *roots, const struct ms_thread *thread)
{
    struct ms_stack stack = {0};
    struct ms_error *error = ms_unwind(t->shapes.types, thread, true, &stack);
    for (size_t i = 0; !error && i < stack.frames.count; i++)
        for (size_t j = 0; j < stack.frames.items[i].locals.count; j++)
            claim_local(t, roots, &stack.frames.items[i].locals.items[j]);
    ms_stack_free(&stack);
    return error;
}

ms_result ms_seed_locals(struct ms_typing *t)
{
    struct roots roots = {0};
    struct ms_error *error = collect_roots(t, is_on_stack, &roots);
    for (size_t i = 0; !error && i < t->image->thread_count && i < THREADS_MAX; i++)
        if (t->image->threads[i].registers_known)
            error = claim_stack(t, &roots, &t->image->threads[i]);
    ms_vector_free(&roots.list);
    return error;
}
