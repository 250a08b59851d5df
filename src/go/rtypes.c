/* Types of Go from the headers that the runtime has of them (internal/abi/type.go; runtime/type.go
 * before 1.21). */
#include "memscope/gotypes.h"

#include <dwarf.h>
#include <stdio.h>
#include <string.h>

#include "layout.h"

/* Flags of a header: TFlag, and those that share the byte of the kind. */
#define FLAG_UNCOMMON   (1u << 0)
#define FLAG_EXTRA_STAR (1u << 1)
#define FLAG_NAMED      (1u << 2)
#define FLAG_DIRECT     (1u << 5) /* 1.26 and later … */
#define KIND_DIRECT     (1u << 5) /* … before it is with the kind */
#define KIND_MASK       0x1fu
#define DIRECT_IN_FLAGS 26u /* the version */
/* Flags of a map's header: the same two meanings in all versions, at places that differ. */
#define BUCKETS_INDIRECT_KEY     (1u << 0)
#define BUCKETS_INDIRECT_ELEMENT (1u << 1)
#define GROUPS_INDIRECT_KEY      (1u << 2)
#define GROUPS_INDIRECT_ELEMENT  (1u << 3)
/* Flags of a name; then its length as a varint and its bytes. */
#define NAME_TAG       (1u << 1) /* a tag follows, in the same way */
#define NAME_HEAD_MOST 4u

#define NAME_MOST   4096u
#define FIELDS_MOST 65536u
#define SIZE_MOST   (1ull << 46)
#define DEPTH_MOST  32u /* pointers and arrays one on another */
/* Types that the program has made by package reflect: fields of one, and those that were looked at in vain. */
#define REFLECTED_FIELDS_MOST 512u
#define REJECTED              4096u

struct layout {
    struct ms_go_place size, flags, kind, name, self;
    struct ms_go_place pointer_element, slice_element, array_element, array_length, channel_element;
    struct ms_go_place key, element, bucket, group, key_size, element_size, slot_size, element_offset, map_flags;
    struct ms_go_place fields, field, field_name, field_type, field_offset;
    struct ms_go_place methods;
    struct ms_go_place pointer_self, slice_self, array_self, channel_self, map_self, struct_self, interface_self,
        function_self, package;
    struct ms_go_place itab_type;
    struct ms_go_place count, buckets, old_buckets, extra, hmap; /* of maps to 1.23 */
    struct ms_go_place groups, groups_mask, table;
    struct ms_go_place used, directory, directory_length, swiss; /* … from 1.24 on */
    struct ms_go_place queued, capacity, buffer, closed, hchan;  /* of channels */
};
#define TYPE                    "internal/abi.Type|runtime._type"
#define MAP                     "internal/abi.MapType|internal/abi.SwissMapType|internal/abi.OldMapType|runtime.maptype"
#define FIELD(type, path, into) MS_GO_FIELD(struct layout, type, path, into)
#define OLD(type, path, into)   MS_GO_FIELD_IN(struct layout, type, path, into, 0, 23)
#define NEW(type, path, into)   MS_GO_FIELD_IN(struct layout, type, path, into, 26, 0)
static const struct ms_go_field layout_fields[] = {
    FIELD(TYPE, "Size_|size", size),
    FIELD(TYPE, "TFlag|tflag", flags),
    FIELD(TYPE, "Kind_|kind", kind),
    FIELD(TYPE, "Str|str", name),
    FIELD(TYPE, "", self),
    FIELD("internal/abi.PtrType|runtime.ptrtype", "Elem|elem", pointer_element),
    FIELD("internal/abi.SliceType|runtime.slicetype", "Elem|elem", slice_element),
    FIELD("internal/abi.ArrayType|runtime.arraytype", "Elem|elem", array_element),
    FIELD("internal/abi.ArrayType|runtime.arraytype", "Len|len", array_length),
    FIELD("internal/abi.ChanType|runtime.chantype", "Elem|elem", channel_element),
    FIELD(MAP, "Key|key", key),
    FIELD(MAP, "Elem|elem", element),
    OLD(MAP, "Bucket|bucket", bucket),
    NEW(MAP, "Group", group),
    OLD(MAP, "KeySize|keysize", key_size),
    OLD(MAP, "ValueSize|elemsize", element_size),
    NEW(MAP, "SlotSize", slot_size),
    NEW(MAP, "ElemOff", element_offset),
    FIELD(MAP, "Flags|flags", map_flags),
    FIELD("internal/abi.StructType|runtime.structtype", "Fields|fields", fields),
    FIELD("internal/abi.StructField|runtime.structfield", "", field),
    FIELD("internal/abi.StructField|runtime.structfield", "Name.Bytes|name.bytes", field_name),
    FIELD("internal/abi.StructField|runtime.structfield", "Typ|typ", field_type),
    FIELD("internal/abi.StructField|runtime.structfield", "Offset|offset|offsetAnon", field_offset),
    FIELD("internal/abi.InterfaceType|runtime.interfacetype", "Methods|mhdr", methods),
    FIELD("internal/abi.PtrType|runtime.ptrtype", "", pointer_self),
    FIELD("internal/abi.SliceType|runtime.slicetype", "", slice_self),
    FIELD("internal/abi.ArrayType|runtime.arraytype", "", array_self),
    FIELD("internal/abi.ChanType|runtime.chantype", "", channel_self),
    FIELD(MAP, "", map_self),
    FIELD("internal/abi.StructType|runtime.structtype", "", struct_self),
    FIELD("internal/abi.InterfaceType|runtime.interfacetype", "", interface_self),
    FIELD("internal/abi.FuncType|runtime.functype", "", function_self),
    FIELD("internal/abi.UncommonType|runtime.uncommontype", "PkgPath|pkgpath", package),
    FIELD("internal/abi.ITab|runtime.itab", "Type|_type", itab_type),
    OLD("runtime.hmap", "count", count),
    OLD("runtime.hmap", "buckets", buckets),
    OLD("runtime.hmap", "oldbuckets", old_buckets),
    OLD("runtime.hmap", "extra", extra),
    OLD("runtime.hmap", "", hmap),
    NEW("internal/runtime/maps.Map", "used", used),
    NEW("internal/runtime/maps.Map", "dirPtr", directory),
    NEW("internal/runtime/maps.Map", "dirLen", directory_length),
    NEW("internal/runtime/maps.Map", "", swiss),
    NEW("internal/runtime/maps.table", "groups.data", groups),
    NEW("internal/runtime/maps.table", "groups.lengthMask", groups_mask),
    NEW("internal/runtime/maps.table", "", table),
    FIELD("runtime.hchan", "qcount", queued),
    FIELD("runtime.hchan", "dataqsiz", capacity),
    FIELD("runtime.hchan", "buf", buffer),
    FIELD("runtime.hchan", "closed", closed),
    FIELD("runtime.hchan", "", hchan),
};

MS_GO_EXPORT_FIELDS(types, layout_fields)

/* A type that was asked for, in a table by its header and in one by its struct ms_type. */
struct entry {
    struct ms_go_type what;
    struct ms_go_types *owner;
    struct entry *next_by_header, *next_by_id, *next_by_name, *next_by_structure;
    const struct ms_type *structure; /* of a map or channel: what the runtime has there */
};

#define BUCKETS 16384u

struct ms_go_types {
    struct ms_go *go;
    struct ms_types *types;
    struct layout layout;
    struct entry *by_header[BUCKETS], *by_id[BUCKETS], *by_name[BUCKETS], *by_structure[BUCKETS]; /* chains */
    MS_VECTOR(struct entry *) all;                                                                /* owned */
    const struct ms_type *word, *byte, *pointer; /* int, uint8, unsafe.Pointer */
    uint64_t rejected[REJECTED];                 /* headers that are none, by address */
    unsigned depth;
    bool failed; /* memory was short */
};

static size_t bucket_of(uint64_t number)
{
    return (size_t)((number * 0x9e3779b97f4a7c15u) >> 50) % BUCKETS;
}

static uint64_t hash_name(const char *name)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 1099511628211u;
    return hash;
}

/* --- names -------------------------------------------------------------------------------------
 */

/* The module whose types ADDRESS is among, or NULL. */
static const struct ms_go_module *module_of(const struct ms_go_types *t, uint64_t address)
{
    for (size_t i = 0; i < t->go->modules.count; i++) {
        const struct ms_go_module *m = &t->go->modules.items[i];
        if (address >= m->types.start && address < m->types.end)
            return m;
    }
    return NULL;
}

/* The text behind a byte of flags at ADDRESS, or behind another text; END gets the address behind it. Or NULL. */
static char *read_text(const struct ms_go_types *t, uint64_t address, uint64_t *end)
{
    uint8_t head[NAME_HEAD_MOST];
    uint64_t length = 0;
    unsigned i = 0;
    if (!ms_image_read(t->go->image, address, head, sizeof head))
        return NULL;
    for (unsigned shift = 0;; i++, shift += 7) {
        if (i == NAME_HEAD_MOST - 1)
            return NULL;
        length |= (uint64_t)(head[i] & 0x7f) << shift;
        if (!(head[i] & 0x80))
            break;
    }
    char *text = length <= NAME_MOST ? malloc(length + 1) : NULL;
    if (!text || (length && !ms_image_read(t->go->image, address + i + 1, text, length))) {
        free(text);
        return NULL;
    }
    text[length] = '\0';
    *end = address + i + 1 + length;
    return text;
}

/* The name that is encoded at ADDRESS (internal/abi/type.go: Name); owned by the caller, or NULL.
 */
static char *read_name(const struct ms_go_types *t, uint64_t address)
{
    uint64_t end;
    return module_of(t, address) ? read_text(t, address + 1, &end) : NULL;
}

static bool get(const struct ms_go_types *t, uint64_t address, struct ms_go_place place, uint64_t *value)
{
    return ms_go_get(t->go, address, place, value);
}

/* Bytes that a header of this kind takes; what named types have more stands behind them. */
static uint64_t header_size(const struct ms_go_types *t, enum ms_go_kind kind)
{
    switch (kind) {
    case MS_GO_ARRAY:
        return t->layout.array_self.size;
    case MS_GO_CHAN:
        return t->layout.channel_self.size;
    case MS_GO_FUNC:
        return t->layout.function_self.size;
    case MS_GO_INTERFACE:
        return t->layout.interface_self.size;
    case MS_GO_MAP:
        return t->layout.map_self.size;
    case MS_GO_POINTER:
        return t->layout.pointer_self.size;
    case MS_GO_SLICE:
        return t->layout.slice_self.size;
    case MS_GO_STRUCT:
        return t->layout.struct_self.size;
    default:
        return t->layout.self.size;
    }
}

/* The name of the type at HEADER: as Go's reflection has it, with the last part of the package's
 * path. */
static char *type_name(const struct ms_go_types *t, uint64_t header, unsigned flags)
{
    const struct ms_go_module *module = module_of(t, header);
    uint64_t offset;
    if (!module || !get(t, header, t->layout.name, &offset))
        return NULL;
    char *name = read_name(t, module->types.start + (uint32_t)offset);
    if (name && flags & FLAG_EXTRA_STAR && *name == '*')
        memmove(name, name + 1, strlen(name));
    return name && *name ? name : (free(name), NULL);
}

/* "math/rand/v2.Rand" for the "rand.Rand" at HEADER; NULL when there is no more to be said. */
static char *long_name(const struct ms_go_types *t, uint64_t header, enum ms_go_kind kind, unsigned flags,
                       const char *name)
{
    const struct ms_go_module *module = module_of(t, header);
    uint64_t offset;
    const char *dot = strchr(name, '.');
    char *text = NULL;
    if (!module || !(flags & FLAG_NAMED) || !(flags & FLAG_UNCOMMON) || !dot ||
        !get(t, header + header_size(t, kind), t->layout.package, &offset) || !offset)
        return NULL;
    ms_auto_free char *path = read_name(t, module->types.start + (uint32_t)offset);
    if (!path || !*path || asprintf(&text, "%s%s", path, dot) < 0)
        return NULL;
    return text;
}

/* --- types that the program has made -----------------------------------------------------------
 */

static void write_field(struct ms_go_types *t, FILE *out, uint64_t name_at, const struct ms_type *type)
{
    uint8_t flags = 0;
    uint64_t end = 0;
    ms_auto_free char *name = read_text(t, name_at + 1, &end);
    ms_image_read(t->go->image, name_at, &flags, 1);
    fprintf(out, " %s %s", name ? name : "_", type->name);
    ms_auto_free char *tag = name && flags & NAME_TAG ? read_text(t, end, &end) : NULL;
    if (!tag)
        return;
    fputs(" \"", out);
    for (const char *c = tag; *c; c++)
        fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    fputc('"', out);
}

/* "struct { A int; B *main.node }" of the FIELDS at a header; false: they are none, of a type of SIZE bytes. */
static bool write_struct(struct ms_go_types *t, FILE *out, uint64_t header, uint64_t size)
{
    struct ms_go_slice fields;
    uint64_t behind = 0;
    if (!ms_go_get_slice(t->go, header, t->layout.fields, &fields) || fields.length > REFLECTED_FIELDS_MOST ||
        fields.length > fields.capacity || !t->layout.field.size)
        return false;
    fputs("struct {", out);
    for (uint64_t i = 0; i < fields.length; i++) {
        const uint64_t field = fields.data + i * t->layout.field.size;
        uint64_t name, type, offset;
        if (!get(t, field, t->layout.field_name, &name) || !get(t, field, t->layout.field_type, &type) ||
            !get(t, field, t->layout.field_offset, &offset))
            return false;
        offset >>= t->go->minor < 19; /* the lowest bit says that it is embedded */
        const struct ms_go_type *of = ms_go_type_at(t, type);
        if (!of || offset < behind || offset > size || of->type->size > size - offset)
            return false;
        behind = offset + of->type->size;
        fputs(i ? ";" : "", out);
        write_field(t, out, name, of->type);
    }
    fputs(fields.length ? " }" : "}", out);
    return true;
}

/* The name that a header without one in a module has: it is made of those of its parts. False: these are none. */
static bool write_reflected(struct ms_go_types *t, FILE *out, uint64_t header, enum ms_go_kind kind, uint64_t size)
{
    const struct layout *l = &t->layout;
    const struct ms_go_place element_at = kind == MS_GO_POINTER ? l->pointer_element
                                          : kind == MS_GO_SLICE ? l->slice_element
                                          : kind == MS_GO_ARRAY ? l->array_element
                                          : kind == MS_GO_CHAN  ? l->channel_element
                                                                : l->element;
    uint64_t element, key, count;
    if (kind == MS_GO_STRUCT)
        return write_struct(t, out, header, size);
    const struct ms_go_type *of = get(t, header, element_at, &element) ? ms_go_type_at(t, element) : NULL;
    const struct ms_go_type *by = NULL;
    if (!of)
        return false;
    switch (kind) {
    case MS_GO_POINTER:
        fprintf(out, "*%s", of->type->name);
        return size == 8;
    case MS_GO_SLICE:
        fprintf(out, "[]%s", of->type->name);
        return size == 24;
    case MS_GO_CHAN:
        fprintf(out, "chan %s", of->type->name);
        return size == 8;
    case MS_GO_ARRAY:
        if (!get(t, header, l->array_length, &count) || (of->type->size && count > SIZE_MOST / of->type->size))
            return false;
        fprintf(out, "[%llu]%s", (unsigned long long)count, of->type->name);
        return size == count * of->type->size;
    case MS_GO_MAP:
        by = get(t, header, l->key, &key) ? ms_go_type_at(t, key) : NULL;
        if (by)
            fprintf(out, "map[%s]%s", by->type->name, of->type->name);
        return by && size == 8;
    default:
        return false;
    }
}

/*
 * The name of the type whose header the program has made in its heap (reflect.StructOf() and the like); NULL: there is
 * none. Anything may be there, so all of it must be right: such types have no name, and number what they are called
 * from -1 down (runtime.reflectOffs).
 */
static char *reflected_name(struct ms_go_types *t, uint64_t header, enum ms_go_kind kind, uint64_t size,
                            unsigned flags)
{
    uint64_t *rejected = &t->rejected[bucket_of(header) % REJECTED], number;
    char *text = NULL;
    size_t length = 0;
    if (flags & FLAG_NAMED || *rejected == header || !get(t, header, t->layout.name, &number) ||
        (int32_t)(uint32_t)number >= 0)
        return NULL;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return NULL;
    const bool sound = write_reflected(t, out, header, kind, size);
    if (fclose(out) == 0 && sound && length <= NAME_MOST)
        return text;
    *rejected = header;
    free(text);
    return NULL;
}

/* --- the tables --------------------------------------------------------------------------------
 */

static struct entry *find_header(const struct ms_go_types *t, uint64_t header)
{
    struct entry *e = t->by_header[bucket_of(header)];
    while (e && e->what.header != header)
        e = e->next_by_header;
    return e;
}

static struct entry *find_id(const struct ms_go_types *t, const struct ms_type *type)
{
    struct entry *e = t->by_id[bucket_of(type->id)];
    while (e && e->what.type != type)
        e = e->next_by_id;
    return e;
}

static struct entry *add_entry(struct ms_go_types *t, uint64_t header)
{
    struct entry *e = calloc(1, sizeof *e), **slot = e ? ms_vector_add(&t->all) : NULL;
    if (!slot) {
        free(e);
        t->failed = true;
        return NULL;
    }
    *slot = e;
    e->owner = t;
    e->what.header = header;
    if (header) {
        e->next_by_header = t->by_header[bucket_of(header)];
        t->by_header[bucket_of(header)] = e;
    }
    return e;
}

static void set_type(struct ms_go_types *t, struct entry *e, const struct ms_type *type)
{
    e->what.type = type;
    t->failed |= !type;
    if (!type)
        return;
    e->next_by_id = t->by_id[bucket_of(type->id)];
    t->by_id[bucket_of(type->id)] = e;
    e->next_by_name = t->by_name[bucket_of(hash_name(type->name))];
    t->by_name[bucket_of(hash_name(type->name))] = e;
}

static void set_structure(struct ms_go_types *t, struct entry *e, const struct ms_type *structure)
{
    e->structure = structure;
    t->failed |= !structure;
    if (!structure)
        return;
    e->next_by_structure = t->by_structure[bucket_of(structure->id)];
    t->by_structure[bucket_of(structure->id)] = e;
}

const struct ms_go_type *ms_go_owner_of(struct ms_go_types *t, const struct ms_type *type)
{
    struct entry *e = t->by_structure[bucket_of(type->id)];
    while (e && e->structure != type)
        e = e->next_by_structure;
    return e ? &e->what : NULL;
}

/* --- members -----------------------------------------------------------------------------------
 */

static const struct ms_type *type_at(struct ms_go_types *t, uint64_t header)
{
    const struct ms_go_type *found = ms_go_type_at(t, header);
    return found ? found->type : NULL;
}

static const struct ms_type *pointer_to(struct ms_go_types *t, const struct ms_type *target, uint64_t identity)
{
    ms_auto_free char *name = NULL;
    if (!target || asprintf(&name, "*%s", target->name) < 0) {
        name = NULL;
        return t->pointer;
    }
    const struct ms_type_plan plan = {.kind = MS_TYPE_POINTER,
                                      .language = MS_LANGUAGE_GO,
                                      .name = name,
                                      .size = 8,
                                      .target = target,
                                      .identity = identity};
    return ms_type_add(t->types, &plan);
}

static void fill_structure(struct ms_go_types *t, const struct ms_go_type *what)
{
    struct ms_go_slice fields;
    MS_VECTOR(struct ms_member) members = {0};
    if (!ms_go_get_slice(t->go, what->header, t->layout.fields, &fields) || fields.length > FIELDS_MOST ||
        !t->layout.field.size)
        return;
    for (uint64_t i = 0; i < fields.length; i++) {
        const uint64_t field = fields.data + i * t->layout.field.size;
        uint64_t name, type, offset;
        if (!get(t, field, t->layout.field_name, &name) || !get(t, field, t->layout.field_type, &type) ||
            !get(t, field, t->layout.field_offset, &offset))
            break;
        if (t->go->minor < 19) /* the lowest bit says that it is embedded */
            offset >>= 1;
        const struct ms_type *of = type_at(t, type);
        struct ms_member *m = of && offset <= what->type->size ? ms_vector_add(&members) : NULL;
        if (!m)
            continue;
        uint64_t end;
        char *text = module_of(t, what->header) ? read_name(t, name) : read_text(t, name + 1, &end);
        *m = (struct ms_member){.name = text, .type = of, .offset = offset};
    }
    ms_type_set_members(t->types, what->type, members.items, members.count);
    for (size_t i = 0; i < members.count; i++)
        free((char *)members.items[i].name);
    ms_vector_free(&members);
}

static void fill_slice(struct ms_go_types *t, const struct ms_go_type *what)
{
    const struct ms_type *element = what->kind == MS_GO_STRING ? t->byte : what->element;
    const bool slice = what->kind == MS_GO_SLICE;
    const struct ms_member members[] = {
        {.name = slice ? "array" : "str", .type = pointer_to(t, element, 0)},
        {.name = "len", .type = t->word, .offset = 8},
        {.name = "cap", .type = t->word, .offset = 16},
    };
    ms_type_set_members(t->types, what->type, members, slice ? 3 : 2);
}

static void fill_interface(struct ms_go_types *t, const struct ms_go_type *what)
{
    const struct ms_member members[] = {
        {.name = what->empty_interface ? "_type" : "tab", .type = t->pointer},
        {.name = "data", .type = t->pointer, .offset = 8},
    };
    ms_type_set_members(t->types, what->type, members, 2);
}

static void fill(void *context, const struct ms_type *type)
{
    struct entry *e = context;
    struct ms_go_types *t = e->owner;
    (void)type;
    switch (e->what.kind) {
    case MS_GO_STRUCT:
        fill_structure(t, &e->what);
        break;
    case MS_GO_SLICE:
    case MS_GO_STRING:
        fill_slice(t, &e->what);
        break;
    case MS_GO_INTERFACE:
        fill_interface(t, &e->what);
        break;
    default:
        break;
    }
}

struct wanted {
    const char *name;
    struct ms_go_place place;
    const struct ms_type *type;
};

static void add_members(struct ms_go_types *t, const struct ms_type *type, const struct wanted *wanted,
                        size_t count)
{
    struct ms_member members[8];
    size_t made = 0;
    for (size_t i = 0; i < count && i < 8; i++)
        if (wanted[i].place.size && wanted[i].type)
            members[made++] = (struct ms_member){
                .name = wanted[i].name, .type = wanted[i].type, .offset = wanted[i].place.offset};
    ms_type_set_members(t->types, type, members, made);
}

/* What a map's or channel's pointer points to, under the name of the map. */
static void fill_runtime(void *context, const struct ms_type *type)
{
    struct entry *e = context;
    struct ms_go_types *t = e->owner;
    const struct layout *l = &t->layout;
    const struct ms_go_type *w = &e->what;
    const struct ms_type *units = w->map.unit ? pointer_to(t, w->map.unit, 0) : t->pointer;
    if (w->kind == MS_GO_CHAN) {
        const struct wanted wanted[] = {
            {"qcount", l->queued, t->word},
            {"dataqsiz", l->capacity, t->word},
            {"buf", l->buffer, w->element ? pointer_to(t, w->element, 0) : t->pointer},
        };
        add_members(t, type, wanted, sizeof wanted / sizeof *wanted);
    } else if (w->map.groups) {
        const struct wanted wanted[] = {
            {"used", l->used, t->word},
            {"dirPtr", l->directory, t->pointer},
            {"dirLen", l->directory_length, t->word},
        };
        add_members(t, type, wanted, sizeof wanted / sizeof *wanted);
    } else {
        const struct wanted wanted[] = {
            {"count", l->count, t->word},
            {"buckets", l->buckets, units},
            {"oldbuckets", l->old_buckets, units},
            {"extra", l->extra, t->pointer},
        };
        add_members(t, type, wanted, sizeof wanted / sizeof *wanted);
    }
}

static void fill_table(void *context, const struct ms_type *type)
{
    struct entry *e = context;
    struct ms_go_types *t = e->owner;
    const struct ms_type *unit = e->what.map.unit;
    const struct wanted wanted[] = {
        {"groups.data", t->layout.groups, unit ? pointer_to(t, unit, 0) : t->pointer},
        {"groups.lengthMask", t->layout.groups_mask, t->word},
    };
    add_members(t, type, wanted, 2);
}

/* --- making them -------------------------------------------------------------------------------
 */

static uint8_t encoding_of(enum ms_go_kind kind)
{
    switch (kind) {
    case MS_GO_BOOL:
        return DW_ATE_boolean;
    case MS_GO_INT:
    case MS_GO_INT8:
    case MS_GO_INT16:
    case MS_GO_INT32:
    case MS_GO_INT64:
        return DW_ATE_signed;
    case MS_GO_UINT8: /* arrays of them are bytes */
        return DW_ATE_unsigned_char;
    case MS_GO_FLOAT32:
    case MS_GO_FLOAT64:
        return DW_ATE_float;
    case MS_GO_COMPLEX64:
    case MS_GO_COMPLEX128:
        return DW_ATE_complex_float;
    default:
        return DW_ATE_unsigned;
    }
}

static void read_map(struct ms_go_types *t, struct ms_go_type *what)
{
    const struct layout *l = &t->layout;
    uint64_t key, element, unit, flags, number;
    if (!get(t, what->header, l->key, &key) || !get(t, what->header, l->element, &element))
        return;
    what->key = type_at(t, key);
    what->element = type_at(t, element);
    if (!get(t, what->header, what->map.groups ? l->group : l->bucket, &unit) ||
        !get(t, what->header, l->map_flags, &flags))
        return;
    what->map.unit = type_at(t, unit);
    if (what->map.groups) {
        what->map.indirect_key = flags & GROUPS_INDIRECT_KEY;
        what->map.indirect_element = flags & GROUPS_INDIRECT_ELEMENT;
        what->map.slot_size = get(t, what->header, l->slot_size, &number) ? (uint32_t)number : 0;
        what->map.element_offset = get(t, what->header, l->element_offset, &number) ? (uint32_t)number : 0;
    } else {
        what->map.indirect_key = flags & BUCKETS_INDIRECT_KEY;
        what->map.indirect_element = flags & BUCKETS_INDIRECT_ELEMENT;
        what->map.key_size = get(t, what->header, l->key_size, &number) ? (uint32_t)number : 0;
        what->map.element_size = get(t, what->header, l->element_size, &number) ? (uint32_t)number : 0;
    }
}

/* What is behind the head of a header. */
static uint64_t read_parts(struct ms_go_types *t, struct ms_go_type *what)
{
    const struct layout *l = &t->layout;
    uint64_t element = 0, count = 0;
    struct ms_go_slice methods;
    switch (what->kind) {
    case MS_GO_POINTER:
        get(t, what->header, l->pointer_element, &element);
        break;
    case MS_GO_SLICE:
        get(t, what->header, l->slice_element, &element);
        break;
    case MS_GO_CHAN:
        get(t, what->header, l->channel_element, &element);
        break;
    case MS_GO_ARRAY:
        get(t, what->header, l->array_element, &element);
        get(t, what->header, l->array_length, &count);
        break;
    case MS_GO_INTERFACE:
        what->empty_interface = ms_go_get_slice(t->go, what->header, l->methods, &methods) && methods.length == 0;
        break;
    case MS_GO_MAP:
        read_map(t, what);
        break;
    default:
        break;
    }
    if (element)
        what->element = type_at(t, element);
    return count;
}

/* "map.table[string]int": as its groups are called. */
static const struct ms_type *table_type(struct ms_go_types *t, struct entry *e, const char *name)
{
    ms_auto_free char *text = NULL;
    if (!t->layout.table.size || asprintf(&text, "map.table%s", strchrnul(name, '[')) < 0) {
        text = NULL;
        return NULL;
    }
    const struct ms_type_plan plan = {.kind = MS_TYPE_STRUCT,
                                      .language = MS_LANGUAGE_GO,
                                      .name = text,
                                      .size = t->layout.table.size,
                                      .identity = e->what.header + 2,
                                      .fill = fill_table,
                                      .context = e};
    return ms_type_add(t->types, &plan);
}

static const struct ms_type *runtime_type(struct ms_go_types *t, struct entry *e, const char *name)
{
    const struct layout *l = &t->layout;
    const uint64_t size = e->what.kind == MS_GO_CHAN ? l->hchan.size
                          : e->what.map.groups       ? l->swiss.size
                                                     : l->hmap.size;
    const struct ms_type_plan plan = {.kind = MS_TYPE_STRUCT,
                                      .language = MS_LANGUAGE_GO,
                                      .name = name,
                                      .size = size,
                                      .identity = e->what.header + 1,
                                      .fill = fill_runtime,
                                      .context = e};
    return ms_type_add(t->types, &plan);
}

/*
 * The struct ms_type. Structures, slices, maps are entered before their parts are known; pointers
 * and arrays when these are, so a type that leads back to itself through pointers alone ends with
 * one of unknown target.
 */
static void make_type(struct ms_go_types *t, struct entry *e, const char *name, uint64_t size)
{
    struct ms_type_plan plan = {
        .language = MS_LANGUAGE_GO, .name = name, .size = size, .identity = e->what.header, .context = e};
    uint64_t count = 0;
    switch (e->what.kind) {
    case MS_GO_STRUCT:
    case MS_GO_STRING:
        plan.kind = MS_TYPE_STRUCT;
        plan.fill = fill;
        break;
    case MS_GO_SLICE:
    case MS_GO_INTERFACE:
        plan.kind = MS_TYPE_STRUCT;
        plan.fill = fill;
        set_type(t, e, ms_type_add(t->types, &plan));
        read_parts(t, &e->what);
        return;
    case MS_GO_ARRAY:
        count = read_parts(t, &e->what);
        plan.kind = MS_TYPE_ARRAY;
        plan.target = e->what.element;
        plan.count = plan.target && plan.target->size && count <= size / plan.target->size ? count : 0;
        break;
    case MS_GO_POINTER:
        read_parts(t, &e->what);
        plan.kind = MS_TYPE_POINTER;
        plan.target = e->what.element;
        break;
    case MS_GO_MAP:
    case MS_GO_CHAN:
        e->what.map.groups = e->what.kind == MS_GO_MAP && t->layout.group.size && t->layout.swiss.size;
        plan.kind = MS_TYPE_POINTER;
        plan.target = runtime_type(t, e, name);
        set_type(t, e, ms_type_add(t->types, &plan));
        set_structure(t, e, plan.target);
        read_parts(t, &e->what);
        if (e->what.map.groups && e->what.map.unit)
            e->what.map.table = pointer_to(t, table_type(t, e, e->what.map.unit->name), 0);
        return;
    case MS_GO_FUNC:
    case MS_GO_UNSAFE_POINTER:
        plan.kind = MS_TYPE_POINTER;
        break;
    default:
        plan.kind = MS_TYPE_BASE;
        plan.encoding = encoding_of(e->what.kind);
        break;
    }
    if ((plan.kind == MS_TYPE_POINTER || plan.kind == MS_TYPE_ARRAY) && !plan.target)
        plan.target = ms_type_by_id(t->types, 0);
    set_type(t, e, ms_type_add(t->types, &plan));
}

/* Has another type this name already? */
static bool is_taken(const struct ms_go_types *t, const char *name)
{
    for (const struct entry *e = t->by_name[bucket_of(hash_name(name))]; e; e = e->next_by_name)
        if (e->what.header && strcmp(e->what.type->name, name) == 0)
            return true;
    return false;
}

static struct entry *read_type(struct ms_go_types *t, uint64_t header)
{
    uint64_t size, kind, flags;
    if (header % 8 || !header || !get(t, header, t->layout.size, &size) || !get(t, header, t->layout.kind, &kind) ||
        !get(t, header, t->layout.flags, &flags) || size > SIZE_MOST || (kind & KIND_MASK) == 0 ||
        (kind & KIND_MASK) >= MS_GO_KINDS)
        return NULL;
    ms_auto_free char *name = module_of(t, header)
                                  ? type_name(t, header, (unsigned)flags)
                                  : reflected_name(t, header, kind & KIND_MASK, size, (unsigned)flags);
    struct entry *e = name ? add_entry(t, header) : NULL;
    if (!e)
        return NULL;
    e->what.kind = (enum ms_go_kind)(kind & KIND_MASK);
    e->what.named = flags & FLAG_NAMED;
    e->what.direct = t->go->minor >= DIRECT_IN_FLAGS ? flags & FLAG_DIRECT : kind & KIND_DIRECT;
    ms_auto_free char *full = is_taken(t, name) ? long_name(t, header, e->what.kind, (unsigned)flags, name) : NULL;
    make_type(t, e, full ? full : name, size);
    return e;
}

const struct ms_go_type *ms_go_type_at(struct ms_go_types *t, uint64_t address)
{
    struct entry *e = find_header(t, address);
    if (!e && t->depth < DEPTH_MOST) {
        t->depth++;
        e = read_type(t, address);
        t->depth--;
    }
    return e && e->what.type ? &e->what : NULL;
}

const struct ms_go_type *ms_go_type_of_itab(struct ms_go_types *t, uint64_t address)
{
    uint64_t header;
    return get(t, address, t->layout.itab_type, &header) && header ? ms_go_type_at(t, header) : NULL;
}

/* --- types of DWARF ----------------------------------------------------------------------------
 */

/* What DWARF alone says. */
static struct entry *from_marks(struct ms_go_types *t, const struct ms_type *type,
                                const struct ms_type_go_marks *marks)
{
    struct entry *e = add_entry(t, 0);
    if (!e)
        return NULL;
    e->what.kind = marks->kind < MS_GO_KINDS ? (enum ms_go_kind)marks->kind : MS_GO_NONE;
    e->what.element = marks->element ? marks->element : type->target;
    e->what.key = marks->key;
    e->what.direct = type->kind == MS_TYPE_POINTER;
    set_type(t, e, type);
    if (e->what.kind == MS_GO_INTERFACE) {
        const struct ms_type *whole = ms_type_complete(t->types, type);
        e->what.empty_interface =
            whole->member_count && whole->members[0].name && strcmp(whole->members[0].name, "_type") == 0;
    }
    return e;
}

const struct ms_go_type *ms_go_type_of(struct ms_go_types *t, const struct ms_type *type)
{
    struct entry *e = find_id(t, type);
    if (e)
        return &e->what;
    const struct ms_type_go_marks marks = ms_type_go_marks(t->types, type);
    if (!marks.kind)
        return NULL;
    for (size_t i = 0; marks.header && i < t->go->modules.count; i++) {
        const struct ms_go_range *r = &t->go->modules.items[i].types;
        const uint64_t header =
            marks.header >= r->start && marks.header < r->end ? marks.header : r->start + marks.header;
        const struct ms_go_type *found = header < r->end ? ms_go_type_at(t, header) : NULL;
        if (found && found->kind == marks.kind && found->type->size == type->size)
            return found;
    }
    e = from_marks(t, type, &marks);
    return e ? &e->what : NULL;
}

const struct ms_type *ms_go_canonical(struct ms_go_types *t, const struct ms_type *type)
{
    const struct ms_go_type *known = ms_go_type_of(t, type);
    return known && known->header ? known->type : type;
}

/* --- life --------------------------------------------------------------------------------------
 */

ms_result ms_go_types_new(struct ms_go *go, struct ms_types *types, struct ms_go_types **out)
{
    const struct ms_type_plan word = {.kind = MS_TYPE_BASE,
                                      .language = MS_LANGUAGE_GO,
                                      .name = "int",
                                      .identity = 1,
                                      .size = 8,
                                      .encoding = DW_ATE_signed};
    const struct ms_type_plan byte = {.kind = MS_TYPE_BASE,
                                      .language = MS_LANGUAGE_GO,
                                      .name = "uint8",
                                      .identity = 1,
                                      .size = 1,
                                      .encoding = DW_ATE_unsigned};
    struct ms_go_types *t = *out = calloc(1, sizeof *t);
    if (!t)
        return ms_error_nomem("Go's types");
    t->go = go;
    t->types = types;
    t->word = ms_type_add(types, &word);
    t->byte = ms_type_add(types, &byte);
    const struct ms_type_plan pointer = {.kind = MS_TYPE_POINTER,
                                         .language = MS_LANGUAGE_GO,
                                         .name = "unsafe.Pointer",
                                         .size = 8,
                                         .identity = 1,
                                         .target = ms_type_by_id(types, 0)};
    t->pointer = ms_type_add(types, &pointer);
    struct ms_error *error = NULL;
    if (!t->word || !t->byte || !t->pointer)
        error = ms_error_nomem("Go's types");
    else
        error = ms_go_bind(go, layout_fields, sizeof layout_fields / sizeof *layout_fields, &t->layout);
    if (error) {
        ms_go_types_free(t);
        *out = NULL;
    }
    return error;
}

void ms_go_types_free(struct ms_go_types *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->all.count; i++)
        free(t->all.items[i]);
    ms_vector_free(&t->all);
    free(t);
}
