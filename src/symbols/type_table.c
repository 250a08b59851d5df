/* The table of types: one entry for what is the same, and the memory that they live in. */
#include <stdlib.h>
#include <string.h>

#include "types_private.h"

#define CHUNK (256u * 1024)

void *ms_types_alloc(struct ms_types *types, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    if (size > types->chunk_left) {
        size_t room = size > CHUNK / 4 ? size : CHUNK;
        void **chunk = ms_vector_add(&types->chunks);
        if (!chunk || !(*chunk = calloc(1, room))) {
            types->short_of_memory = true;
            types->chunk_left = 0;
            return NULL;
        }
        if (room == size && types->chunks.count > 1) {
            /* A big one in between: the one before has room still. */
            void **before = chunk - 1, *big = *chunk;
            *chunk = *before;
            *before = big;
            return big;
        }
        types->chunk_left = room;
    }
    /* A chunk is used from its end, so that only what is left must be known. */
    types->chunk_left -= size;
    return (char *)types->chunks.items[types->chunks.count - 1] + types->chunk_left;
}

const char *ms_types_string(struct ms_types *types, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = ms_types_alloc(types, size);
    return copy ? memcpy(copy, text, size) : "";
}

uint64_t ms_hash_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

uint64_t ms_hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return ms_hash_mix(hash, 0);
}

static size_t slot_of(const struct ms_type_map *map, uint64_t key)
{
    size_t slot = ms_hash_mix(0, key) & (map->size - 1);
    while (map->slots[slot].key && map->slots[slot].key != key)
        slot = (slot + 1) & (map->size - 1);
    return slot;
}

static bool grow(struct ms_type_map *map)
{
    struct ms_type_map bigger = {.size = map->size ? 2 * map->size : 1024, .used = map->used};
    bigger.slots = calloc(bigger.size, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < map->size; i++)
        if (map->slots[i].key)
            bigger.slots[slot_of(&bigger, map->slots[i].key)] = map->slots[i];
    free(map->slots);
    *map = bigger;
    return true;
}

bool ms_type_map_put(struct ms_type_map *map, uint64_t key, void *value)
{
    if (2 * map->used >= map->size && !grow(map))
        return false;
    struct ms_type_slot *slot = &map->slots[slot_of(map, key)];
    map->used += slot->key == 0;
    *slot = (struct ms_type_slot){key, value};
    return true;
}

void *ms_type_map_get(const struct ms_type_map *map, uint64_t key)
{
    return map->size ? map->slots[slot_of(map, key)].value : NULL;
}

static uint64_t hash_figure(const struct ms_type_figure *figure)
{
    uint64_t hash = ms_hash_text(figure->kind + 1, figure->name);
    hash = ms_hash_mix(hash, figure->size);
    hash = ms_hash_mix(hash, figure->count);
    hash = ms_hash_mix(hash, figure->layout);
    hash = ms_hash_mix(hash, figure->target ? figure->target->id + 1 : 0);
    hash = ms_hash_mix(hash, figure->encoding | figure->declaration << 8 | figure->language << 9);
    return hash ? hash : 1;
}

static bool same(const struct ms_type *type, const struct ms_type_figure *figure, uint64_t hash)
{
    return type->source->hash == hash && type->kind == figure->kind && type->size == figure->size &&
           type->target == figure->target && !strcmp(type->name, figure->name);
}

struct ms_type *ms_type_intern(struct ms_types *types, const struct ms_type_figure *figure, const Dwarf_Die *die)
{
    uint64_t hash = hash_figure(figure);
    struct ms_type *known = ms_type_map_get(&types->by_hash, hash);
    if (known && same(known, figure, hash))
        return known;
    size_t length = strlen(figure->name);
    struct ms_type *type = ms_types_alloc(types, sizeof *type + sizeof *type->source + length + 1);
    struct ms_type **entry = type && types->all.count < UINT32_MAX ? ms_vector_add(&types->all) : NULL;
    if (!entry || !ms_type_map_put(&types->by_hash, hash, type)) {
        types->short_of_memory = true;
        types->all.count -= entry != NULL;
        return types->nothing;
    }
    char *name = (char *)(type + 1) + sizeof *type->source;
    memcpy(name, figure->name, length + 1);
    *entry = type;
    *type = (struct ms_type){.kind = figure->kind, .language = figure->language, .encoding = figure->encoding,
                             .id = (uint32_t)(types->all.count - 1), .name = name, .size = figure->size,
                             .target = figure->target, .count = figure->count,
                             .source = (struct ms_type_source *)(type + 1)};
    type->complete = type->kind != MS_TYPE_STRUCT && type->kind != MS_TYPE_UNION;
    *type->source = (struct ms_type_source){.type = type, .hash = hash, .declaration = figure->declaration,
                                            .hole = figure->hole};
    if (die)
        type->source->die = *die;
    return type;
}

const struct ms_type *ms_type_add(struct ms_types *types, const struct ms_type_plan *plan)
{
    const struct ms_type_figure figure = {.kind = plan->kind, .language = plan->language, .encoding = plan->encoding,
                                          .name = plan->name, .size = plan->size, .count = plan->count,
                                          .layout = plan->identity, .target = plan->target,
                                          .hole = strlen(plan->name)};
    const uint32_t before = (uint32_t)types->all.count;
    struct ms_type *type = ms_type_intern(types, &figure, NULL);
    if (type == types->nothing && plan->kind != MS_TYPE_VOID)
        return NULL;
    if (type->id < before)
        return type;
    type->source->fill = plan->fill;
    type->source->fill_context = plan->context;
    return type;
}

void ms_type_set_members(struct ms_types *types, const struct ms_type *type, const struct ms_member *members,
                         size_t count)
{
    struct ms_type *own = type->source->type;
    struct ms_member *copy = count ? ms_types_alloc(types, count * sizeof *copy) : NULL;
    own->complete = true;
    if (!copy)
        return;
    memcpy(copy, members, count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i].name = members[i].name ? ms_types_string(types, members[i].name) : NULL;
    own->members = copy;
    own->member_count = count;
}

ms_result ms_types_new(struct ms_symbols *symbols, const struct ms_image *image, ms_types_progress *progress,
                       void *context, struct ms_types **out)
{
    const struct ms_type_figure nothing = {.kind = MS_TYPE_VOID, .name = "void", .hole = 4,
                                           .language = MS_LANGUAGE_OTHER};
    struct ms_types *types = calloc(1, sizeof *types);
    if (!types)
        return ms_error_nomem("reading types");
    types->symbols = symbols;
    types->image = image;
    types->progress = progress;
    types->context = context;
    types->module_count = ms_modules_count(symbols);
    types->modules = calloc(types->module_count + 1, sizeof *types->modules);
    if (types->modules)
        types->nothing = ms_type_intern(types, &nothing, NULL);
    if (!types->nothing) {
        ms_types_free(types);
        return ms_error_nomem("reading types");
    }
    *out = types;
    return NULL;
}

void ms_types_free(struct ms_types *types)
{
    if (!types)
        return;
    for (size_t i = 0; types->modules && i < types->module_count; i++)
        ms_dwarf_close(&types->modules[i]);
    for (size_t i = 0; i < types->units.count; i++)
        ms_vector_free(&types->units.items[i]->scopes);
    for (size_t i = 0; i < types->chunks.count; i++)
        free(types->chunks.items[i]);
    free(types->modules);
    ms_vector_free(&types->tls.blocks);
    free(types->by_die.slots);
    free(types->by_hash.slots);
    free(types->by_name.slots);
    free(types->by_unit.slots);
    ms_reader_free(&types->reader);
    free(types->by_thread.slots);
    ms_vector_free(&types->added);
    ms_vector_free(&types->units);
    ms_vector_free(&types->all);
    ms_vector_free(&types->chunks);
    free(types);
}

uint32_t ms_type_count(const struct ms_types *types)
{
    return (uint32_t)types->all.count;
}

const struct ms_type *ms_type_by_id(const struct ms_types *types, uint32_t id)
{
    return id < types->all.count ? types->all.items[id] : types->nothing;
}

const struct ms_image *ms_types_image(const struct ms_types *types)
{
    return types->image;
}

struct ms_symbols *ms_types_symbols(const struct ms_types *types)
{
    return types->symbols;
}
