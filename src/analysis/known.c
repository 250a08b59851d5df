/* What is known of a block: its type, else its class by a vtable, a known format, or that it is text. */
#include "memscope/known.h"

#include <dwarf.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats.h"
#include "map.h"
#include "python.h"

#define SHORT "what blocks are"

/*
 * Formats that a pointer to a table of functions tells: where it is in the block, the module and the
 * symbol that it must point to the start of.
 */
static const struct format {
    const char *name;
    uint64_t offset;
    const char *module, *prefix, *suffix; /* of names */
} formats[] = {
    /* struct _IO_FILE_plus (glibc, libio/libioP.h): a vtable behind the 0xd8 bytes of FILE, in all versions */
    {"FILE", 0xd8, "libc", "_IO_", "_jumps"},
};
#define FORMATS (sizeof formats / sizeof *formats)

/* What a pointer into a module's constants says: a class, or one of the formats. */
struct table {
    const char *class;  /* interned, or NULL */
    uint32_t formats;   /* a bit for each */
    const char *module; /* the symbols' */
};

/* How the blocks of a group may differ from a single value of their type. */
enum { SHAPE_ARRAY = 1, SHAPE_TAIL = 2, SHAPES = 4 };

struct ms_knowledge {
    const struct ms_scan *scan;
    struct ms_symbols *symbols;  /* or NULL */
    struct ms_typing *typing;    /* owned, or NULL */
    void *strings;               /* tsearch() of char *, owned */
    struct ms_formats formats;
    struct ms_python *python; /* owned, or NULL: the target is none */
    MS_VECTOR(struct table) tables;
    struct ms_map table_index;   /* of tables, by target */
    MS_VECTOR(const char *) groups; /* by type's id * SHAPES + shape; NULL: not made yet */
    MS_VECTOR(const char *) names;  /* by type's id; interned */
};

/* --- strings ----------------------------------------------------------------------------------- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(a, b);
}

ms_result ms_known_intern(struct ms_knowledge *k, const char *text, const char **interned)
{
    char **found = tfind(text, &k->strings, compare_strings);
    if (!found) {
        char *copy = strdup(text);
        found = copy ? tsearch(copy, &k->strings, compare_strings) : NULL;
        if (!found) {
            free(copy);
            return ms_error_nomem(SHORT);
        }
    }
    *interned = *found;
    return NULL;
}

const struct ms_pin *ms_known_pins(const struct ms_knowledge *k, size_t *count)
{
    return ms_typing_pins(k ? k->typing : NULL, count);
}

struct ms_go_types *ms_known_go_types(const struct ms_knowledge *k)
{
    return k ? ms_typing_go_types(k->typing) : NULL;
}

/* --- types ------------------------------------------------------------------------------------- */

static bool is_go(const struct ms_type *type)
{
    return type->language == MS_LANGUAGE_GO && type->encoding != DW_ATE_UTF;
}

static unsigned shape_of(const struct ms_block_type *what)
{
    if (what->type && what->type->language == MS_LANGUAGE_GO && !is_go(what->type))
        return 0; /* bytes of a string are no array to Go */
    return (what->count > 1 ? SHAPE_ARRAY : 0) | (what->tail ? SHAPE_TAIL : 0);
}

/* GO: arrays are written before what they are of. */
static struct ms_error *make_group(struct ms_knowledge *k, const char *name, unsigned shape, bool go, const char **group)
{
    ms_auto_free char *text = NULL;
    if (go ? asprintf(&text, "%s%s", shape & SHAPE_ARRAY ? "[]" : "", name) < 0
           : asprintf(&text, "%s%s%s", name, shape & SHAPE_ARRAY ? " []" : "", shape & SHAPE_TAIL ? " + tail" : "") < 0) {
        text = NULL;
        return ms_error_nomem(SHORT);
    }
    return ms_known_intern(k, text, group);
}

ms_result ms_known_group(struct ms_knowledge *k, const struct ms_known *known, const char **group)
{
    const struct ms_type *type = known->what.type;
    *group = known->name;
    if (!type)
        return NULL;
    const unsigned shape = shape_of(&known->what);
    if (known->what.at) { /* few: not worth a table */
        struct ms_block_type single = known->what;
        single.count = 1;
        single.tail = 0;
        const char *words = ms_block_type_text(k->typing, &single);
        return words ? make_group(k, words, shape, false, group) : ms_error_nomem(SHORT);
    }
    const size_t index = (size_t)type->id * SHAPES + shape;
    while (k->groups.count <= index)
        if (!ms_vector_add(&k->groups))
            return ms_error_nomem(SHORT);
    if (!k->groups.items[index])
        MS_TRY(make_group(k, type->name, shape, is_go(type), &k->groups.items[index]));
    *group = k->groups.items[index];
    return NULL;
}

ms_result ms_known_text(struct ms_knowledge *k, const struct ms_known *known, const char **text)
{
    *text = known->name;
    if (!known->what.type)
        return NULL;
    const char *words = ms_block_type_text(k->typing, &known->what);
    return words ? ms_known_intern(k, words, text) : ms_error_nomem(SHORT);
}

static struct ms_error *name_of(struct ms_knowledge *k, const struct ms_type *type, const char **name)
{
    while (k->names.count <= type->id)
        if (!ms_vector_add(&k->names))
            return ms_error_nomem(SHORT);
    if (!k->names.items[type->id])
        MS_TRY(ms_known_intern(k, type->name, &k->names.items[type->id]));
    *name = k->names.items[type->id];
    return NULL;
}

/* --- tables of functions ----------------------------------------------------------------------- */

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends(const char *text, const char *suffix)
{
    size_t length = strlen(text), end = strlen(suffix);
    return length >= end && strcmp(text + length - end, suffix) == 0;
}

static struct ms_error *look_up(struct ms_knowledge *k, uint64_t target, struct table *table)
{
    const uint64_t address = ms_scan_module_address(k->scan, target);
    uint64_t offset = 0;
    *table = (struct table){0};
    if (!address || !k->symbols)
        return NULL;
    table->module = ms_symbols_module(k->symbols, address);
    const char *class = ms_symbols_vtable_class(k->symbols, address);
    const char *symbol = class ? NULL : ms_symbols_name(k->symbols, address, &offset);
    for (size_t i = 0; symbol && table->module && offset == 0 && i < FORMATS; i++)
        if (begins(table->module, formats[i].module) && begins(symbol, formats[i].prefix) &&
            ends(symbol, formats[i].suffix))
            table->formats |= 1u << i;
    return class ? ms_known_intern(k, class, &table->class) : NULL;
}

/* What TARGET says; each is looked up once. */
static struct ms_error *table_at(struct ms_knowledge *k, uint64_t target, struct table *table)
{
    *table = (struct table){0};
    if (target == MS_NOTHING || target < 2 * k->scan->heap.granules)
        return NULL;
    const uint64_t *index = ms_map_get(&k->table_index, target, 0);
    if (!index) {
        struct table *slot = ms_vector_add(&k->tables);
        if (!slot)
            return ms_error_nomem(SHORT);
        MS_TRY(look_up(k, target, slot));
        *table = *slot;
        return ms_map_put(&k->table_index, target, 0, k->tables.count - 1) ? NULL : ms_error_nomem(SHORT);
    }
    *table = k->tables.items[*index];
    return NULL;
}

static struct ms_error *find_format(struct ms_knowledge *k, uint64_t start, struct ms_known *known)
{
    known->name = ms_format_of(&k->formats, start);
    if (known->name) {
        known->by = MS_BY_FORMAT;
        return ms_known_intern(k, known->name, &known->name);
    }
    struct table table;
    for (size_t i = 0; i < FORMATS; i++) {
        if (ms_block_size(&k->scan->heap, start) < formats[i].offset + 8)
            continue;
        MS_TRY(table_at(k, ms_word_target(&k->scan->heap, start * 2 + ms_bytes_words(&k->scan->heap, formats[i].offset)), &table));
        if (!(table.formats >> i & 1))
            continue;
        *known = (struct ms_known){.by = MS_BY_VTABLE, .module = table.module};
        return ms_known_intern(k, formats[i].name, &known->name);
    }
    return NULL;
}

/* --- blocks ------------------------------------------------------------------------------------ */

static bool is_text(const struct ms_heap *heap, uint64_t start)
{
    uint8_t bytes[MS_SAMPLE];
    return ms_block_preview(heap, start, bytes) != 0;
}

/* Objects of Python say their class, which C's types do not: these know the base of all, and what is built in. */
static struct ms_error *find_object(struct ms_knowledge *k, uint64_t start, struct ms_known *known)
{
    const struct ms_python_class *class = NULL;
    uint64_t before;
    if (k->python)
        MS_TRY(ms_python_object(k->python, start, &class, &before));
    if (!class)
        return NULL;
    *known = (struct ms_known){.by = MS_BY_VTABLE, .module = class->module};
    return ms_known_intern(k, class->name, &known->name);
}

static bool is_any_object(const struct ms_type *type)
{
    return !strcmp(type->name, "struct _object");
}

ms_result ms_block_known(struct ms_knowledge *k, uint64_t start, struct ms_known *known)
{
    *known = (struct ms_known){0};
    if (!k)
        return NULL;
    const struct ms_block_type what = ms_block_type(k->typing, start);
    struct table table;
    MS_TRY(table_at(k, ms_first_target(k->scan, start), &table));
    if (!what.type || what.evidence <= MS_BY_GUESS || is_any_object(what.type))
        MS_TRY(find_object(k, start, known));
    if (known->by)
        return NULL;
    if (what.type && what.evidence > MS_BY_GUESS) {
        *known = (struct ms_known){.by = what.evidence, .what = what};
        known->module = what.evidence == MS_BY_VTABLE ? table.module : NULL;
        return name_of(k, what.type, &known->name);
    }
    if (table.class) {
        *known = (struct ms_known){.by = MS_BY_VTABLE, .name = table.class, .module = table.module};
        return NULL;
    }
    MS_TRY(find_format(k, start, known));
    /* What looks like text is rather that than what only its size speaks for. */
    if (known->by || !what.type || is_text(&k->scan->heap, start))
        return NULL;
    *known = (struct ms_known){.by = MS_BY_GUESS, .what = what};
    return name_of(k, what.type, &known->name);
}

unsigned ms_text_length(const uint8_t *bytes, uint64_t size)
{
    unsigned n = 0;
    while (n < size && n < MS_SAMPLE && (bytes[n] == '\t' || bytes[n] == '\n' || bytes[n] >= ' ') &&
           bytes[n] != 0x7f)
        n++;
    return n >= 4 && (n == size || n == MS_SAMPLE || bytes[n] == '\0') ? n : 0;
}

unsigned ms_block_preview(const struct ms_heap *heap, uint64_t start, uint8_t bytes[MS_SAMPLE])
{
    const struct ms_sample *sample = ms_block_sample(heap, start);
    unsigned length = sample ? ms_text_length(sample->bytes, ms_block_size(heap, start)) : 0;
    if (length)
        memcpy(bytes, sample->bytes, length);
    return length;
}

/* --- making it --------------------------------------------------------------------------------- */

ms_result ms_knowledge_new(struct ms_scan *scan, struct ms_image *image, struct ms_symbols *symbols,
                           struct ms_types *types, enum ms_typing_scope scope, struct ms_knowledge **knowledge)
{
    struct ms_knowledge *k = *knowledge = calloc(1, sizeof *k);
    if (!k)
        return ms_error_nomem(SHORT);
    k->scan = scan;
    k->symbols = symbols;
    MS_TRY(ms_formats_find(scan, image, symbols, &k->formats));
    MS_TRY(ms_python_new(scan, image, symbols, &k->python));
    struct ms_error *error =
        types && symbols ? ms_typing_new(scan, image, symbols, types, scope, &k->typing) : NULL;
    if (!error)
        return NULL;
    k->typing = NULL;
    ms_image_warn(image, "types are not known: %s", error->message);
    ms_error_free(error);
    return NULL;
}

void ms_knowledge_free(struct ms_knowledge *k)
{
    if (!k)
        return;
    ms_typing_free(k->typing);
    tdestroy(k->strings, free);
    ms_vector_free(&k->tables);
    ms_vector_free(&k->groups);
    ms_vector_free(&k->names);
    ms_map_free(&k->table_index);
    ms_formats_free(&k->formats);
    ms_python_free(k->python);
    free(k);
}
