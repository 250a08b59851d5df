/* Types from DIEs: structures, their members when asked for, what is derived from them, and lookups by name. */
#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spelling.h"
#include "types_private.h"

/* Typedefs, qualifiers, pointers and arrays one on another. */
#define CHAIN_MAX 64u
/* Go's own attributes (src/cmd/internal/dwarf/dwarf.go). */
enum { GO_KIND = 0x2900, GO_KEY = 0x2901, GO_ELEMENT = 0x2902, GO_HEADER = 0x2904 };
/* DIEs that the layout of one structure is made of, anonymous ones in it included. */
#define LAYOUT_MAX 100000u
#define LAYOUT_DEPTH 8u
/* Dimensions of an array. */
#define DIMENSIONS_MAX 16u
/* Parameters that the name of a function type shows. */
#define SHOWN_PARAMETERS 16u

static bool is_alias(int tag)
{
    switch (tag) {
    case DW_TAG_typedef:
    case DW_TAG_const_type:
    case DW_TAG_volatile_type:
    case DW_TAG_restrict_type:
    case DW_TAG_atomic_type:
    case DW_TAG_immutable_type:
    case DW_TAG_packed_type:
    case DW_TAG_shared_type:
    case DW_TAG_template_alias:
        return true;
    default:
        return false;
    }
}

static bool is_pointer(int tag)
{
    return tag == DW_TAG_pointer_type || tag == DW_TAG_reference_type || tag == DW_TAG_rvalue_reference_type;
}

static bool is_structure(int tag)
{
    return tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type ||
           tag == DW_TAG_interface_type;
}

static uint64_t size_of(Dwarf_Die *die)
{
    uint64_t size;
    return ms_die_number(die, DW_AT_byte_size, &size) ? size : 0;
}

/* --- layouts ---------------------------------------------------------------------------------- */

/* Bytes to a member from the start of its structure; false when only the running program can tell. */
static bool member_offset(Dwarf_Die *die, uint64_t *offset)
{
    Dwarf_Attribute value;
    Dwarf_Op *ops;
    size_t count;
    *offset = 0;
    if (!dwarf_attr(die, DW_AT_data_member_location, &value))
        return true;
    Dwarf_Word word;
    if (dwarf_whatform(&value) != DW_FORM_exprloc && dwarf_formudata(&value, &word) == 0) {
        *offset = word;
        return true;
    }
    /* DWARF 2's way: DW_OP_plus_uconst. */
    if (dwarf_getlocation(&value, &ops, &count) != 0 || count != 1 ||
        (ops[0].atom != DW_OP_plus_uconst && ops[0].atom != DW_OP_constu))
        return false;
    *offset = ops[0].number;
    return true;
}

/*
 * Offset of a bit-field's bytes, its first bit in them and how many. DWARF 4 and 5 count bits from the start
 * (DW_AT_data_bit_offset), DWARF 3 from the high end of a storage unit (DW_AT_bit_offset); little-endian.
 */
static void read_bits(Dwarf_Die *die, struct ms_member *member)
{
    uint64_t bits, at, storage;
    if (!ms_die_number(die, DW_AT_bit_size, &bits) || bits == 0 || bits > UINT16_MAX)
        return;
    if (ms_die_number(die, DW_AT_data_bit_offset, &at)) {
        member->offset = at / 8;
        at %= 8;
    } else if (ms_die_number(die, DW_AT_bit_offset, &at)) {
        if (!ms_die_number(die, DW_AT_byte_size, &storage))
            storage = member->type ? member->type->size : 0;
        if (storage > 16 || at + bits > 8 * storage)
            return;
        at = 8 * storage - at - bits;
        member->offset += at / 8;
        at %= 8;
    } else {
        at = 0;
    }
    member->bit_offset = (uint16_t)at;
    member->bit_size = (uint16_t)bits;
}

struct layout {
    uint64_t hash;
    unsigned left; /* DIEs that may still be read */
};

static void hash_children(struct layout *layout, Dwarf_Die *die, unsigned depth);

/* What a member's type is, by names alone. */
static void hash_type(struct layout *layout, Dwarf_Die *member, unsigned depth)
{
    Dwarf_Die at, next;
    if (!ms_die_reference(member, DW_AT_type, &at))
        return;
    for (unsigned i = 0; i < CHAIN_MAX; i++) {
        ms_die_signed(&at);
        int tag = dwarf_tag(&at);
        const char *name = is_alias(tag) || is_pointer(tag) ? NULL : ms_die_name(&at);
        if (!is_alias(tag))
            layout->hash = ms_hash_mix(layout->hash, tag == DW_TAG_class_type ? DW_TAG_structure_type
                                                                               : (unsigned)tag);
        if (name) {
            layout->hash = ms_hash_text(layout->hash, name);
            return;
        }
        if (is_structure(tag) || tag == DW_TAG_array_type)
            hash_children(layout, &at, depth + 1);
        if (!ms_die_reference(&at, DW_AT_type, &next))
            return;
        at = next;
    }
}

static void hash_child(struct layout *layout, Dwarf_Die *die, const char *limit, unsigned depth)
{
    uint64_t number;
    const char *name;
    switch (dwarf_tag(die)) {
    case DW_TAG_member:
    case DW_TAG_inheritance:
        name = ms_die_name(die);
        layout->hash = ms_hash_text(layout->hash, name ? name : "");
        if (member_offset(die, &number))
            layout->hash = ms_hash_mix(layout->hash, number);
        if (ms_die_number(die, DW_AT_data_bit_offset, &number) || ms_die_number(die, DW_AT_bit_offset, &number))
            layout->hash = ms_hash_mix(layout->hash, number);
        if (ms_die_number(die, DW_AT_bit_size, &number))
            layout->hash = ms_hash_mix(layout->hash, number);
        hash_type(layout, die, depth);
        break;
    case DW_TAG_subrange_type:
        if (ms_die_number(die, DW_AT_upper_bound, &number) || ms_die_number(die, DW_AT_count, &number))
            layout->hash = ms_hash_mix(layout->hash, number);
        break;
    case DW_TAG_variant:
        if (ms_die_number(die, DW_AT_discr_value, &number))
            layout->hash = ms_hash_mix(layout->hash, number + 1);
        /* fall through */
    case DW_TAG_variant_part: {
        struct ms_child_walk walk;
        for (bool more = ms_first_child(die, limit, &walk); more && depth < LAYOUT_DEPTH;
             more = ms_next_child(&walk))
            hash_child(layout, &walk.die, walk.limit, depth + 1);
        break;
    }
    default:
        break;
    }
}

static void hash_children(struct layout *layout, Dwarf_Die *die, unsigned depth)
{
    struct ms_child_walk walk;
    if (depth >= LAYOUT_DEPTH)
        return;
    for (bool more = ms_first_child(die, MS_UNIT_END, &walk); more && layout->left;
         more = ms_next_child(&walk)) {
        layout->left--;
        hash_child(layout, &walk.die, walk.limit, depth);
    }
}

/* --- members ---------------------------------------------------------------------------------- */

/* Members of a structure as they are read. */
struct reading {
    struct ms_types *types;
    MS_VECTOR(struct ms_member) members;
    struct ms_member *tag;
    bool tagged, otherwise; /* where the walk is in: a variant, the default one */
    uint64_t value;
};

static void add_member(struct reading *reading, Dwarf_Die *die)
{
    struct ms_member member = {.base = dwarf_tag(die) == DW_TAG_inheritance, .tagged = reading->tagged,
                               .otherwise = reading->otherwise, .tag = reading->value};
    uint64_t number;
    /* A static member is a declaration (DWARF 4); a virtual base is where its vtable says. */
    if (ms_die_flag(die, DW_AT_external) || ms_die_flag(die, DW_AT_declaration) ||
        (member.base && ms_die_number(die, DW_AT_virtuality, &number) && number != 0) ||
        !member_offset(die, &member.offset))
        return;
    member.type = ms_type_of_variable(reading->types, die);
    const char *name = member.base ? NULL : ms_die_name(die);
    member.name = name ? ms_types_string(reading->types, name) : NULL;
    member.artificial = ms_die_flag(die, DW_AT_artificial);
    read_bits(die, &member);
    struct ms_member *added = ms_vector_add(&reading->members);
    if (!added)
        reading->types->short_of_memory = true;
    else
        *added = member;
}

static void read_tag(struct reading *reading, Dwarf_Die *part)
{
    Dwarf_Die die;
    uint64_t offset;
    if (reading->tag || !ms_die_reference(part, DW_AT_discr, &die) || !member_offset(&die, &offset))
        return;
    struct ms_member *tag = ms_types_alloc(reading->types, sizeof *tag);
    if (!tag)
        return;
    *tag = (struct ms_member){.offset = offset, .artificial = true};
    tag->type = ms_type_of_variable(reading->types, &die);
    reading->tag = tag;
}

/* The variants of a Rust enum: each one member, which is there when the tag has its value. */
static void read_variants(struct reading *reading, Dwarf_Die *part, const char *limit)
{
    struct ms_child_walk variant, member;
    read_tag(reading, part);
    reading->tagged = reading->tag != NULL;
    for (bool more = ms_first_child(part, limit, &variant); more; more = ms_next_child(&variant)) {
        if (dwarf_tag(&variant.die) != DW_TAG_variant)
            continue;
        reading->value = 0;
        reading->otherwise = !ms_die_number(&variant.die, DW_AT_discr_value, &reading->value) && reading->tag;
        for (bool inner = ms_first_child(&variant.die, variant.limit, &member); inner;
             inner = ms_next_child(&member))
            if (dwarf_tag(&member.die) == DW_TAG_member)
                add_member(reading, &member.die);
    }
    reading->tagged = reading->otherwise = false;
    reading->value = 0;
}

/* Structure or union by DIE: its members, if they were not read yet. */
static void read_type_members(struct ms_types *types, struct ms_type *type)
{
    struct reading reading = {.types = types};
    struct ms_child_walk walk;
    Dwarf_Die die = type->source->die;
    type->complete = true;
    if (!die.addr)
        return;
    for (bool more = ms_first_child(&die, MS_UNIT_END, &walk); more; more = ms_next_child(&walk)) {
        int tag = dwarf_tag(&walk.die);
        if (tag == DW_TAG_member || tag == DW_TAG_inheritance)
            add_member(&reading, &walk.die);
        else if (tag == DW_TAG_variant_part)
            read_variants(&reading, &walk.die, walk.limit);
    }
    size_t count = reading.members.count;
    struct ms_member *members = count ? ms_types_alloc(types, count * sizeof *members) : NULL;
    if (members) {
        memcpy(members, reading.members.items, count * sizeof *members);
        type->members = members;
        type->member_count = count;
        type->tag = reading.tag;
    }
    ms_vector_free(&reading.members);
}

/* --- conversion ------------------------------------------------------------------------------- */

static enum ms_language language_of(struct ms_types *types, const Dwarf_Die *die)
{
    const struct ms_unit *unit = ms_unit_of(types, die);
    return unit ? unit->language : MS_LANGUAGE_OTHER;
}

/* The type as it is called in its language, NAME the one it has or that a typedef gives. Owned by the caller. */
static char *full_name(struct ms_types *types, Dwarf_Die *die, const char *head, const char *name)
{
    const enum ms_language language = language_of(types, die);
    bool c = language == MS_LANGUAGE_C;
    if (language == MS_LANGUAGE_GO && name)
        return strdup(name); /* whole as it is */
    ms_auto_free char *shown = ms_spelling_shown(name ? name : "{...}");
    const char *scope = c ? NULL : ms_dwarf_scope_name(types, die);
    char *text = NULL;
    if (!shown ||
        asprintf(&text, "%s%s%s%s", c || !name ? head : "", scope ? scope : "", scope ? "::" : "", shown) < 0)
        return NULL;
    return text;
}

/* ALIAS: of the typedef that it was reached by, or NULL. */
static struct ms_type *convert_structure(struct ms_types *types, Dwarf_Die *die, const char *alias)
{
    bool is_union = dwarf_tag(die) == DW_TAG_union_type;
    const char *name = ms_die_name(die);
    struct layout layout = {.left = LAYOUT_MAX};
    ms_auto_free char *full = full_name(types, die, !name && alias ? "" : is_union ? "union " : "struct ",
                                        name ? name : alias);
    struct ms_type_figure figure = {.kind = is_union ? MS_TYPE_UNION : MS_TYPE_STRUCT,
                                    .language = language_of(types, die), .name = full ? full : "",
                                    .size = size_of(die), .declaration = ms_die_flag(die, DW_AT_declaration)};
    if (!figure.declaration)
        hash_children(&layout, die, 0);
    figure.layout = layout.hash;
    figure.hole = strlen(figure.name);
    return ms_type_intern(types, &figure, die);
}

static struct ms_type *convert_scalar(struct ms_types *types, Dwarf_Die *die, enum ms_type_kind kind,
                                      const char *alias)
{
    const char *name = ms_die_name(die);
    uint64_t encoding = 0;
    ms_die_number(die, DW_AT_encoding, &encoding);
    ms_auto_free char *full = kind == MS_TYPE_ENUM
        ? full_name(types, die, !name && alias ? "" : "enum ", name ? name : alias)
        : ms_spelling_shown(name ? name : "{...}");
    struct ms_type_figure figure = {.kind = kind, .language = language_of(types, die),
                                    .encoding = (uint8_t)encoding, .name = full ? full : "",
                                    .size = size_of(die)};
    if (kind == MS_TYPE_ENUM)
        figure.encoding = DW_ATE_signed;
    figure.hole = strlen(figure.name);
    return ms_type_intern(types, &figure, die);
}

/* Pointers to members are offsets, or (to functions) offset and adjustment. */
static struct ms_type *convert_member_pointer(struct ms_types *types, Dwarf_Die *die)
{
    Dwarf_Die target;
    bool function = ms_die_reference(die, DW_AT_type, &target) && dwarf_tag(&target) == DW_TAG_subroutine_type;
    struct ms_type_figure figure = {.kind = MS_TYPE_BASE, .language = MS_LANGUAGE_CXX, .name = "pointer to member",
                                    .size = function ? 16 : 8, .encoding = DW_ATE_signed};
    figure.hole = strlen(figure.name);
    return ms_type_intern(types, &figure, die);
}

/* TARGET with a declarator put into its name: "int *", "int (*)[3]", "void (*)(int)". */
static char *declarator_name(const struct ms_type *target, const char *mark, size_t *hole)
{
    bool inside = target->kind == MS_TYPE_ARRAY || target->kind == MS_TYPE_FUNCTION;
    size_t before = target->source->hole;
    const char *name = target->name;
    bool blank = !inside && before > 0 && name[before - 1] != '*' && name[before - 1] != '&';
    char *text = NULL;
    int size = asprintf(&text, "%.*s%s%s%s%s", (int)before, name, inside ? "(" : blank ? " " : "", mark,
                        inside ? ")" : "", name + before);
    *hole = before + blank + inside + strlen(mark);
    return size < 0 ? NULL : text;
}

static struct ms_type *convert_pointer(struct ms_types *types, Dwarf_Die *die)
{
    int tag = dwarf_tag(die);
    const char *mark = tag == DW_TAG_pointer_type ? "*" : tag == DW_TAG_reference_type ? "&" : "&&";
    const char *name = ms_die_name(die); /* Rust's have one */
    struct ms_type_figure figure = {.kind = MS_TYPE_POINTER, .size = size_of(die),
                                    .target = ms_type_of_variable(types, die)};
    const bool go = language_of(types, die) == MS_LANGUAGE_GO;
    ms_auto_free char *text = go && name ? strdup(name)
                              : name     ? ms_spelling_shown(name)
                                         : declarator_name(figure.target, mark, &figure.hole);
    if (!figure.size)
        figure.size = 8;
    figure.language = go ? MS_LANGUAGE_GO : figure.target->language;
    figure.name = text ? text : "";
    figure.hole = name ? strlen(figure.name) : figure.hole;
    return ms_type_intern(types, &figure, die);
}

/* The name of a function: "void (int, char *)". Its target is what it returns. */
static struct ms_type *convert_function(struct ms_types *types, Dwarf_Die *die)
{
    struct ms_child_walk walk;
    unsigned count = 0;
    char *text = NULL;
    size_t size = 0, hole;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return types->nothing;
    const struct ms_type *result = ms_type_of_variable(types, die);
    fprintf(stream, "%s ", result->name);
    fflush(stream);
    hole = size;
    fputc('(', stream);
    for (bool more = ms_first_child(die, MS_UNIT_END, &walk); more && count < SHOWN_PARAMETERS;
         more = ms_next_child(&walk)) {
        int tag = dwarf_tag(&walk.die);
        if (tag == DW_TAG_formal_parameter)
            fprintf(stream, "%s%s", count++ ? ", " : "", ms_type_of_variable(types, &walk.die)->name);
        else if (tag == DW_TAG_unspecified_parameters)
            fprintf(stream, "%s...", count++ ? ", " : "");
    }
    fputs(!count && ms_die_flag(die, DW_AT_prototyped) ? "void)" : ")", stream);
    fclose(stream);
    struct ms_type_figure figure = {.kind = MS_TYPE_FUNCTION, .language = language_of(types, die),
                                    .name = text ? text : "", .target = result, .hole = text ? hole : 0};
    struct ms_type *type = ms_type_intern(types, &figure, die);
    free(text);
    return type;
}

/* Elements of one dimension; 0: not known, as of a flexible array. */
static uint64_t dimension(Dwarf_Die *die)
{
    Dwarf_Attribute value;
    uint64_t count;
    Dwarf_Word upper;
    if (ms_die_number(die, DW_AT_count, &count))
        return count;
    if (!dwarf_attr(die, DW_AT_upper_bound, &value) || dwarf_whatform(&value) == DW_FORM_exprloc)
        return 0;
    /* -1 is the bound of an empty array. As a signed number 200 in one byte would be negative too. */
    return dwarf_formudata(&value, &upper) == 0 ? upper + 1 : 0;
}

static struct ms_type *array_of(struct ms_types *types, const struct ms_type *element, uint64_t count,
                                const Dwarf_Die *die)
{
    struct ms_type_figure figure = {.kind = MS_TYPE_ARRAY, .language = element->language, .target = element,
                                    .count = count, .size = element->size};
    if (__builtin_mul_overflow(element->size, count, &figure.size) || figure.size > INT64_MAX)
        figure.count = figure.size = 0;
    bool inside = element->kind == MS_TYPE_ARRAY || element->source->hole < strlen(element->name);
    size_t before = element->source->hole;
    char last = before ? element->name[before - 1] : ' ';
    const char *blank = !inside && last != '*' && last != '&' ? " " : "";
    char *text = NULL, number[24] = "";
    if (figure.count)
        snprintf(number, sizeof number, "%llu", (unsigned long long)figure.count);
    int size = element->language == MS_LANGUAGE_RUST
                   ? asprintf(&text, "[%s; %s]", element->name, number)
                   : asprintf(&text, "%.*s%s[%s]%s", (int)before, element->name, blank, number,
                              element->name + before);
    if (size < 0)
        return types->nothing;
    figure.name = text;
    figure.hole = element->language == MS_LANGUAGE_RUST ? strlen(text) : before + strlen(blank);
    struct ms_type *type = ms_type_intern(types, &figure, die);
    free(text);
    return type;
}

static struct ms_type *convert_array(struct ms_types *types, Dwarf_Die *die)
{
    uint64_t counts[DIMENSIONS_MAX];
    unsigned dimensions = 0;
    struct ms_child_walk walk;
    for (bool more = ms_first_child(die, MS_UNIT_END, &walk); more && dimensions < DIMENSIONS_MAX;
         more = ms_next_child(&walk))
        if (dwarf_tag(&walk.die) == DW_TAG_subrange_type || dwarf_tag(&walk.die) == DW_TAG_enumeration_type)
            counts[dimensions++] = dimension(&walk.die);
    if (!dimensions)
        counts[dimensions++] = 0;
    struct ms_type *type = (struct ms_type *)ms_type_of_variable(types, die);
    while (dimensions-- > 0)
        type = array_of(types, type, counts[dimensions], die);
    return type;
}

/* --- Go ------------------------------------------------------------------------------------------ */

/* Values of functions are pointers to closures. */
static struct ms_type *convert_go_function(struct ms_types *types, Dwarf_Die *die)
{
    const char *name = ms_die_name(die);
    struct ms_type_figure figure = {.kind = MS_TYPE_POINTER, .language = MS_LANGUAGE_GO, .name = name ? name : "func()",
                                    .size = 8, .target = types->nothing};
    figure.hole = strlen(figure.name);
    return ms_type_intern(types, &figure, die);
}

/* Go's arrays are called by their own names; TYPE is one as C would have it. */
static struct ms_type *rename_go_array(struct ms_types *types, Dwarf_Die *die, struct ms_type *type)
{
    const char *name = ms_die_name(die);
    struct ms_type_figure figure = {.kind = type->kind, .language = MS_LANGUAGE_GO, .name = name ? name : type->name,
                                    .size = type->size, .count = type->count, .target = type->target};
    figure.hole = strlen(figure.name);
    return type->kind == MS_TYPE_ARRAY ? ms_type_intern(types, &figure, die) : type;
}

/* Maps, channels and interfaces are typedefs of what the runtime makes them of: TYPE, with their marks. */
static struct ms_type *name_go_type(struct ms_types *types, Dwarf_Die *marked, struct ms_type *type)
{
    const char *name = ms_die_name(marked);
    struct ms_type_figure figure = {.kind = type->kind, .language = MS_LANGUAGE_GO, .encoding = type->encoding,
                                    .name = name ? name : type->name, .size = type->size, .count = type->count,
                                    .layout = type->id + 1, .target = type->target};
    figure.hole = strlen(figure.name);
    struct ms_type *named = ms_type_intern(types, &figure, marked);
    if (!named->complete)
        named->source->members_of = type;
    return named;
}

struct ms_type_go_marks ms_type_go_marks(struct ms_types *types, const struct ms_type *type)
{
    struct ms_type_go_marks marks = {0};
    Dwarf_Die die = type->source->die, at;
    uint64_t kind;
    if (type->language != MS_LANGUAGE_GO || !die.addr || !ms_die_number(&die, GO_KIND, &kind))
        return marks;
    marks.kind = (uint8_t)kind;
    Dwarf_Attribute header;
    Dwarf_Addr address;
    if (dwarf_attr(&die, GO_HEADER, &header) && dwarf_formaddr(&header, &address) == 0)
        marks.header = address;
    if (ms_die_reference(&die, GO_KEY, &at))
        marks.key = ms_type_of_die(types, &at);
    if (ms_die_reference(&die, GO_ELEMENT, &at))
        marks.element = ms_type_of_die(types, &at);
    return marks;
}

static struct ms_type *convert(struct ms_types *types, Dwarf_Die *die, const char *alias)
{
    const bool go = language_of(types, die) == MS_LANGUAGE_GO;
    if (go && dwarf_tag(die) == DW_TAG_subroutine_type)
        return convert_go_function(types, die);
    if (go && dwarf_tag(die) == DW_TAG_array_type)
        return rename_go_array(types, die, convert_array(types, die));
    switch (dwarf_tag(die)) {
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_interface_type:
    case DW_TAG_union_type:
        return convert_structure(types, die, alias);
    case DW_TAG_pointer_type:
    case DW_TAG_reference_type:
    case DW_TAG_rvalue_reference_type:
        return convert_pointer(types, die);
    case DW_TAG_array_type:
        return convert_array(types, die);
    case DW_TAG_base_type:
    case DW_TAG_subrange_type:
    case DW_TAG_string_type:
        return convert_scalar(types, die, MS_TYPE_BASE, alias);
    case DW_TAG_enumeration_type:
        return convert_scalar(types, die, MS_TYPE_ENUM, alias);
    case DW_TAG_subroutine_type:
        return convert_function(types, die);
    case DW_TAG_ptr_to_member_type:
        return convert_member_pointer(types, die);
    default:
        return types->nothing;
    }
}

const struct ms_type *ms_type_of_die(struct ms_types *types, Dwarf_Die *die)
{
    if (!die || !die->addr || types->converting >= CHAIN_MAX)
        return types->nothing;
    struct ms_type *type = ms_type_map_get(&types->by_die, (uintptr_t)die->addr);
    if (type)
        return type;
    Dwarf_Die at = *die, next, marked = {0};
    const char *alias = NULL;
    for (unsigned i = 0; is_alias(dwarf_tag(&at)); i++) {
        if (dwarf_tag(&at) == DW_TAG_typedef)
            alias = ms_die_name(&at); /* the one nearest to what it names */
        if (!marked.addr && dwarf_hasattr(&at, GO_KIND))
            marked = at;
        if (i >= CHAIN_MAX || !ms_die_reference(&at, DW_AT_type, &next))
            return types->nothing;
        at = next;
    }
    ms_die_signed(&at);
    type = ms_type_map_get(&types->by_die, (uintptr_t)at.addr);
    if (!type) {
        types->converting++;
        type = convert(types, &at, alias);
        types->converting--;
    }
    struct ms_type *plain = type;
    if (marked.addr)
        type = name_go_type(types, &marked, type);
    if (!ms_type_map_put(&types->by_die, (uintptr_t)die->addr, type) ||
        !ms_type_map_put(&types->by_die, (uintptr_t)at.addr, plain))
        types->short_of_memory = true;
    return type;
}

const struct ms_type *ms_type_of_variable(struct ms_types *types, Dwarf_Die *die)
{
    Dwarf_Die type;
    return ms_type_of_die(types, ms_die_reference(die, DW_AT_type, &type) ? &type : NULL);
}

/* --- lookups ---------------------------------------------------------------------------------- */

/* The definition with this name: of the module it is asked for in, else of the only others that have one. */
static const struct ms_type *find_named(struct ms_types *types, size_t first, uint64_t hash)
{
    const struct ms_type *found = NULL;
    if (first != MS_MODULES_NONE)
        found = ms_dwarf_named(types, ms_types_dwarf_at(types, first), hash);
    for (size_t i = 0; !found && i < types->module_count; i++)
        if (i != first)
            found = ms_dwarf_named(types, ms_types_dwarf_at(types, i), hash);
    return found;
}

const struct ms_type *ms_type_complete(struct ms_types *types, const struct ms_type *type)
{
    struct ms_type_source *source = type->source;
    if (type->complete && !source->declaration)
        return type;
    if (source->fill) {
        ms_type_fill *fill = source->fill;
        source->fill = NULL;
        fill(source->fill_context, type);
        source->type->complete = true;
        return type;
    }
    if (source->declaration && !source->searched) {
        const struct ms_unit *unit = ms_unit_of(types, &source->die);
        source->searched = true;
        uint64_t hash = ms_spelling_hash(type->name);
        if (unit && hash)
            source->definition = find_named(types, unit->module, hash);
    }
    if (source->declaration)
        return source->definition ? ms_type_complete(types, source->definition) : type;
    if (source->members_of) {
        const struct ms_type *from = ms_type_complete(types, source->members_of);
        source->type->members = from->members;
        source->type->member_count = from->member_count;
        source->type->complete = true;
        return type;
    }
    read_type_members(types, source->type);
    return type;
}

const struct ms_type *ms_type_named(struct ms_types *types, const char *name)
{
    uint64_t hash = ms_spelling_hash(name);
    const struct ms_type *known = hash ? ms_type_map_get(&types->by_name, hash) : NULL;
    if (known || !hash)
        return known == types->nothing ? NULL : known;
    known = find_named(types, MS_MODULES_NONE, hash);
    if (!ms_type_map_put(&types->by_name, hash, (void *)(known ? known : types->nothing)))
        types->short_of_memory = true;
    return known;
}

/* Template parameters among the children of a DIE, those of packs too. */
static bool find_parameter(Dwarf_Die *die, const char *name, unsigned *index, Dwarf_Die *found, unsigned depth)
{
    struct ms_child_walk walk;
    for (bool more = ms_first_child(die, MS_UNIT_END, &walk); more; more = ms_next_child(&walk)) {
        int tag = dwarf_tag(&walk.die);
        const char *own = ms_die_name(&walk.die);
        *found = walk.die;
        if (tag == DW_TAG_GNU_template_parameter_pack && depth < 2) {
            if (find_parameter(&walk.die, name, index, found, depth + 1))
                return true;
        } else if (tag == DW_TAG_template_type_parameter &&
                   (name ? own && !strcmp(own, name) : (*index)-- == 0)) {
            return true;
        }
    }
    return false;
}

const struct ms_type *ms_type_parameter(struct ms_types *types, const struct ms_type *type, const char *name,
                                        unsigned index)
{
    Dwarf_Die found, die = ms_type_complete(types, type)->source->die;
    if ((type->kind != MS_TYPE_STRUCT && type->kind != MS_TYPE_UNION) || !die.addr ||
        !find_parameter(&die, name, &index, &found, 0))
        return NULL;
    return ms_type_of_variable(types, &found);
}

static const struct ms_type *find_nested(struct ms_types *types, const struct ms_type *type, const char *name,
                                         unsigned depth)
{
    struct ms_child_walk walk;
    type = ms_type_complete(types, type);
    Dwarf_Die die = type->source->die;
    if ((type->kind != MS_TYPE_STRUCT && type->kind != MS_TYPE_UNION) || !die.addr || depth > LAYOUT_DEPTH)
        return NULL;
    for (bool more = ms_first_child(&die, MS_UNIT_END, &walk); more; more = ms_next_child(&walk)) {
        int tag = dwarf_tag(&walk.die);
        const char *own = is_structure(tag) || tag == DW_TAG_typedef || tag == DW_TAG_enumeration_type
                              ? ms_die_name(&walk.die)
                              : NULL;
        if (own && !strcmp(own, name))
            return ms_type_of_die(types, &walk.die);
    }
    for (size_t i = 0; i < type->member_count; i++) {
        const struct ms_type *found =
            type->members[i].base ? find_nested(types, type->members[i].type, name, depth + 1) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

const struct ms_type *ms_type_nested(struct ms_types *types, const struct ms_type *type, const char *name)
{
    return find_nested(types, type, name, 0);
}

/*
 * The C library, in its parts, and what compilers bring: what these allocate has no type that a program would
 * know, and their debug information is big.
 */
static bool is_system(struct ms_symbols *symbols, size_t index)
{
    static const char *const names[] = {
        "libc.so", "libc-2.",   "libm.so", "libm-2.",  "libmvec", "libpthread", "libdl",    "librt",    "libutil",
        "libanl",  "libresolv", "libnss_", "ld-linux", "ld-2.",   "ld.so",      "libgcc_s", "libstdc++",
    };
    struct ms_module module;
    if (!ms_modules_probe(symbols, index, &module) || !module.name)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(module.name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

ms_result ms_types_read_all(struct ms_types *types, ms_size_filter *wanted, void *context)
{
    for (size_t i = 0; i < types->module_count; i++)
        if (!is_system(types->symbols, i))
            ms_dwarf_read_all(types, ms_types_dwarf_at(types, i), wanted, context);
    return types->short_of_memory ? ms_error_nomem("reading types") : NULL;
}

void ms_types_tell(struct ms_types *types, const char *what, uint64_t done, uint64_t total)
{
    if (types->progress)
        types->progress(types->context, what, done, total);
}

bool ms_type_is_own(struct ms_types *types, const struct ms_type *type)
{
    const struct ms_type_source *source = type->source;
    const struct ms_unit *unit = source->die.addr ? ms_unit_of(types, &source->die) : NULL;
    return source->own || (unit && unit->module != MS_MODULES_NONE && !is_system(types->symbols, unit->module));
}
