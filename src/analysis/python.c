/* CPython: a block is an object when its type is one for certain, and counts, sizes and links agree with that. */
#include "python.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "spread.h"

#define WHAT "the objects of Python"

/* Include/object.h and cpython/object.h of 3.8 to 3.13, the build with the global lock: struct _object, _typeobject. */
enum {
    REFERENCES = 0, TYPE = 8, SIZE = 16, /* ob_refcnt, ob_type, ob_size */
    NAME = 24, BASIC_SIZE = 32, ITEM_SIZE = 40, FLAGS = 168, BASE = 256, TYPE_BYTES = 264,
};
#define PRE_HEADER  (3ull << 3) /* Py_TPFLAGS_MANAGED_WEAKREF, _DICT: 3.11, 3.12 */
#define READY       (1ull << 12)
#define HAVE_GC     (1ull << 14)
#define IS_INTEGER  (1ull << 24) /* Py_TPFLAGS_LONG_SUBCLASS, _UNICODE_, _TYPE_ */
#define IS_TEXT     (1ull << 28)
#define IS_TYPE     (1ull << 31)
#define GC_HEAD     16u /* _gc_next, _gc_prev; the lowest bits of the latter are flags */
#define GC_FLAGS    7ull
#define MANAGED     16u
#define NAME_MOST   128u
#define BASES_MOST  16u
#define REFERENCES_MOST (1ull << 40)
#define NONE_MOST   65536u /* addresses where no type object is are remembered while there are fewer */
#define HEAD_BYTES  72u /* of a block, that tell what it is */

struct class {
    struct ms_python_class public; /* its name is owned */
    uint64_t flags, item_size, before;
};

struct ms_python {
    const struct ms_scan *scan;
    const struct ms_image *image;
    struct ms_symbols *symbols;
    uint64_t type_type; /* the address of PyType_Type */
    struct ms_map classes; /* by the address of the type object: struct class *, owned; 0: it is none */
};

static uint64_t word_of(const uint8_t *bytes, size_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof word);
    return word;
}

/* --- type objects ------------------------------------------------------------------------------ */

/* Names as Python writes them: "dict", "collections.OrderedDict", "<lambda>"; UTF-8 may be in them. */
static bool read_name(const struct ms_image *image, uint64_t address, char name[NAME_MOST])
{
    size_t n = 0;
    for (; n < NAME_MOST; n++) {
        if (!ms_image_read(image, address + n, name + n, 1))
            return false;
        const unsigned char c = (unsigned char)name[n];
        if (!c)
            break;
        const bool letter = (unsigned)(c | 32) - 'a' < 26u || c == '_' || c >= 0x80;
        if (!letter && (n == 0 || !strchr("0123456789.<>-", c)) && c != '<')
            return false;
    }
    return n > 0 && n < NAME_MOST;
}

/* Is META, the type of a type, `type` or derived from it? */
static bool is_metatype(const struct ms_python *py, uint64_t meta)
{
    for (unsigned i = 0; meta && i < BASES_MOST; i++) {
        uint8_t bytes[TYPE_BYTES];
        if (meta == py->type_type)
            return true;
        if (meta % 8 || !ms_image_read(py->image, meta, bytes, sizeof bytes) || !(word_of(bytes, FLAGS) & IS_TYPE))
            return false;
        meta = word_of(bytes, BASE);
    }
    return false;
}

static struct ms_error *make_class(const struct ms_python *py, uint64_t address, struct class **class)
{
    uint8_t bytes[TYPE_BYTES];
    char name[NAME_MOST];
    *class = NULL;
    if (!ms_image_read(py->image, address, bytes, sizeof bytes) || !word_of(bytes, REFERENCES) ||
        !(word_of(bytes, FLAGS) & READY) || word_of(bytes, BASIC_SIZE) < 16 || word_of(bytes, BASIC_SIZE) > 1 << 16 ||
        word_of(bytes, ITEM_SIZE) > 1 << 12 || !is_metatype(py, word_of(bytes, TYPE)) ||
        !read_name(py->image, word_of(bytes, NAME), name))
        return NULL;
    struct class *c = calloc(1, sizeof *c);
    char *text = NULL;
    if (!c || asprintf(&text, "Python %s", name) < 0) {
        free(c);
        return ms_error_nomem(WHAT);
    }
    c->flags = word_of(bytes, FLAGS);
    c->item_size = word_of(bytes, ITEM_SIZE);
    c->before = (c->flags & HAVE_GC ? GC_HEAD : 0) + (c->flags & PRE_HEADER ? MANAGED : 0);
    uint64_t offset = 0;
    const char *module = ms_symbols_module(py->symbols, address);
    const char *symbol = module ? ms_symbols_name(py->symbols, address, &offset) : NULL;
    c->public = (struct ms_python_class){.name = text, .symbol = offset ? NULL : symbol, .module = module,
                                         .basic_size = word_of(bytes, BASIC_SIZE)};
    *class = c;
    return NULL;
}

/* The class whose type object is at ADDRESS, or NULL; each is looked at once, mostly. */
static struct ms_error *class_at(struct ms_python *py, uint64_t address, struct class **class)
{
    *class = NULL;
    if (address % 8 || address < MS_PAGE)
        return NULL;
    const uint64_t *known = ms_map_get(&py->classes, address, 0);
    if (known) {
        *class = (struct class *)(uintptr_t)*known;
        return NULL;
    }
    MS_TRY(make_class(py, address, class));
    if (!*class && py->classes.used >= NONE_MOST)
        return NULL;
    return ms_map_put(&py->classes, address, 0, (uintptr_t)*class) ? NULL : ms_error_nomem(WHAT);
}

/* --- objects ----------------------------------------------------------------------------------- */

/* PyASCIIObject: length, hash, and bits: two, then the width of a character, whether it follows, whether it is ASCII. */
static bool is_string(const struct class *c, const uint8_t *object, size_t there, uint64_t room)
{
    enum { LENGTH = 16, STATE = 32, WITH_WSTR = 80 };
    if (there < STATE + 4)
        return false;
    const uint32_t state = object[STATE], width = state >> 2 & 7, compact = state >> 5 & 1, ascii = state >> 6 & 1;
    const uint64_t length = word_of(object, LENGTH), basic = c->public.basic_size;
    if (!compact)
        return ms_fits(c->before + basic, room);
    const uint64_t head = !ascii ? basic - 8 : basic == WITH_WSTR ? 48 : 40;
    return (width == 1 || width == 2 || width == 4) && length < 1ull << 40 && ms_fits(head + (length + 1) * width, room);
}

/* Has the object as many bytes as its class and its items need? One item more is what PyType_GenericAlloc() takes. */
static bool has_size(const struct class *c, const uint8_t *object, size_t there, uint64_t room)
{
    const uint64_t single = c->before + c->public.basic_size;
    if (c->flags & IS_TEXT && !c->before)
        return is_string(c, object, there, room);
    if (!c->item_size)
        return ms_fits(single, room);
    if (there < SIZE + 8)
        return false;
    const int64_t size = (int64_t)word_of(object, SIZE);
    const uint64_t count = size < 0 ? -(uint64_t)size : (uint64_t)size;
    for (unsigned more = 0; more < 2; more++)
        if (count < 1ull << 40 && ms_fits(single + (count + more) * c->item_size, room))
            return true;
    /* 3.12, lv_tag: digits in units of 8, then three bits */
    return c->flags & IS_INTEGER && count < 1ull << 40 && ms_fits(single + (count >> 3) * c->item_size, room);
}

/* Does the neighbour in the collector's list point back to the head of an object at ADDRESS? */
static bool is_linked(const struct ms_python *py, uint64_t next, uint64_t address)
{
    uint64_t back;
    return ms_image_read_word(py->image, next + 8, &back) && (back & ~GC_FLAGS) == address;
}

static bool is_object(const struct ms_python *py, const struct class *c, const uint8_t *block, size_t there,
                      uint64_t start, uint64_t usable)
{
    const uint8_t *object = block + c->before;
    const uint64_t next = c->flags & HAVE_GC ? word_of(object - GC_HEAD, 0) : 0;
    if (!next) /* the collector does not know it */
        return has_size(c, object, there - c->before, usable);
    /* Generators do not say how many items they have: the link is proof enough. */
    return c->before + c->public.basic_size <= usable &&
           is_linked(py, next, ms_granule_address(&py->scan->heap, start) + c->before - GC_HEAD);
}

ms_result ms_python_object(struct ms_python *py, uint64_t start, const struct ms_python_class **class, uint64_t *before)
{
    static const uint8_t befores[] = {GC_HEAD, GC_HEAD + MANAGED, 0, MANAGED};
    uint8_t bytes[HEAD_BYTES];
    const uint64_t usable = ms_usable(&py->scan->heap, start);
    const size_t there = usable < sizeof bytes ? usable : sizeof bytes;
    *class = NULL;
    *before = 0;
    if (!ms_image_read(py->image, ms_granule_address(&py->scan->heap, start), bytes, there))
        return NULL;
    for (size_t i = 0; i < sizeof befores; i++) {
        struct class *c;
        if (befores[i] + 16u > there || word_of(bytes, befores[i] + REFERENCES) - 1 >= REFERENCES_MOST)
            continue;
        MS_TRY(class_at(py, word_of(bytes, befores[i] + TYPE), &c));
        if (!c || c->before != befores[i] || !is_object(py, c, bytes, there, start, usable))
            continue;
        *class = &c->public;
        *before = c->before;
        return NULL;
    }
    return NULL;
}

/* --- life -------------------------------------------------------------------------------------- */

static bool has_python(const struct ms_image *image)
{
    for (size_t i = 0; i < image->region_count; i++) {
        const char *slash = strrchr(image->regions[i].path, '/'), *name = slash ? slash + 1 : "";
        if (image->regions[i].prot & MS_EXEC && (!strncmp(name, "python", 6) || !strncmp(name, "libpython", 9)))
            return true;
    }
    return false;
}

ms_result ms_python_new(const struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                        struct ms_python **python)
{
    char name[NAME_MOST];
    uint64_t type, address;
    *python = NULL;
    if (!symbols || !has_python(image))
        return NULL;
    const uint64_t type_type = ms_symbols_address(symbols, "PyType_Type", NULL);
    if (!type_type || !ms_image_read_word(image, type_type + TYPE, &type) || type != type_type ||
        !ms_image_read_word(image, type_type + NAME, &address) || !read_name(image, address, name) ||
        strcmp(name, "type") != 0)
        return NULL;
    struct ms_python *py = *python = calloc(1, sizeof *py);
    if (!py)
        return ms_error_nomem(WHAT);
    py->scan = scan;
    py->image = image;
    py->symbols = symbols;
    py->type_type = type_type;
    return NULL;
}

void ms_python_free(struct ms_python *py)
{
    if (!py)
        return;
    for (size_t i = 0; i < py->classes.size; i++) {
        struct class *c = py->classes.entries[i].used ? (struct class *)(uintptr_t)py->classes.entries[i].value : NULL;
        if (c)
            free((char *)(uintptr_t)c->public.name);
        free(c);
    }
    ms_map_free(&py->classes);
    free(py);
}
