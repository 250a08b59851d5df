/* Units of the debug information, the scopes in them that names are qualified by, and definitions by name. */
#include "dwarf.h"

#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demangle.h"
#include "spelling.h"
#include "types_private.h"

/* Units between two calls of progress. */
#define PROGRESS_STEP 256u
/* Definitions of one name that are compared. */
#define SAME_NAME_MAX 256u
/* Longest qualified name, bytes. */
#define NAME_SIZE 16384u

/* --- DIEs ------------------------------------------------------------------------------------- */

static void look_ahead(struct ms_child_walk *walk)
{
    walk->more = dwarf_siblingof(&walk->die, &walk->next) == 0 &&
                 (const char *)walk->next.addr > (const char *)walk->die.addr &&
                 (const char *)walk->next.addr < walk->end;
    walk->limit = walk->more ? walk->next.addr : walk->end;
}

bool ms_first_child(Dwarf_Die *parent, const char *limit, struct ms_child_walk *walk)
{
    walk->end = limit;
    if (dwarf_child(parent, &walk->die) != 0 || (const char *)walk->die.addr >= limit)
        return false;
    look_ahead(walk);
    return true;
}

bool ms_next_child(struct ms_child_walk *walk)
{
    if (!walk->more)
        return false;
    walk->die = walk->next;
    look_ahead(walk);
    return true;
}

bool ms_die_flag(Dwarf_Die *die, unsigned attribute)
{
    Dwarf_Attribute value;
    bool flag;
    return dwarf_attr(die, attribute, &value) && dwarf_formflag(&value, &flag) == 0 && flag;
}

bool ms_die_number(Dwarf_Die *die, unsigned attribute, uint64_t *number)
{
    Dwarf_Attribute value;
    Dwarf_Word word;
    if (!dwarf_attr(die, attribute, &value) || dwarf_formudata(&value, &word) != 0)
        return false;
    *number = word;
    return true;
}

bool ms_die_reference(Dwarf_Die *die, unsigned attribute, Dwarf_Die *to)
{
    Dwarf_Attribute value;
    return dwarf_attr_integrate(die, attribute, &value) && dwarf_formref_die(&value, to);
}

const char *ms_die_name(Dwarf_Die *die)
{
    Dwarf_Attribute value;
    const char *name = dwarf_attr_integrate(die, DW_AT_name, &value) ? dwarf_formstring(&value) : NULL;
    return name && *name ? name : NULL;
}

/* --- units ------------------------------------------------------------------------------------ */

static enum ms_language language_of(Dwarf_Die *unit)
{
    switch (dwarf_srclang(unit)) {
    case DW_LANG_C:
    case DW_LANG_C89:
    case DW_LANG_C99:
    case DW_LANG_C11:
        return MS_LANGUAGE_C;
    case DW_LANG_C_plus_plus:
    case DW_LANG_C_plus_plus_03:
    case DW_LANG_C_plus_plus_11:
    case DW_LANG_C_plus_plus_14:
        return MS_LANGUAGE_CXX;
    case DW_LANG_Rust:
        return MS_LANGUAGE_RUST;
    default:
        return MS_LANGUAGE_OTHER;
    }
}

static size_t module_of(const struct ms_types *types, Dwarf_CU *cu)
{
    Dwarf *dwarf = dwarf_cu_getdwarf(cu);
    for (size_t i = 0; i < types->module_count; i++)
        if (types->modules[i].dwarf == dwarf)
            return i;
    return MS_MODULES_NONE;
}

struct ms_unit *ms_unit_of(struct ms_types *types, const Dwarf_Die *die)
{
    struct ms_unit *unit = ms_type_map_get(&types->by_unit, (uintptr_t)die->cu);
    if (unit)
        return unit;
    struct ms_unit **entry = ms_vector_add(&types->units);
    unit = entry ? ms_types_alloc(types, sizeof *unit) : NULL;
    if (!unit || !ms_type_map_put(&types->by_unit, (uintptr_t)die->cu, unit)) {
        types->units.count -= entry != NULL;
        types->short_of_memory = true;
        return NULL;
    }
    *entry = unit;
    unit->module = module_of(types, die->cu);
    unit->language = dwarf_cu_die(die->cu, &unit->die, NULL, NULL, NULL, NULL, NULL, NULL)
                         ? language_of(&unit->die)
                         : MS_LANGUAGE_OTHER;
    return unit;
}

const char *ms_dwarf_unit_name(Dwarf_Die *die)
{
    Dwarf_Die unit;
    const char *name = dwarf_diecu(die, &unit, NULL, NULL) ? ms_die_name(&unit) : NULL;
    const char *slash = name ? strrchr(name, '/') : NULL;
    return slash && slash[1] ? slash + 1 : name;
}

struct ms_dwarf *ms_types_dwarf_at(struct ms_types *types, size_t index)
{
    struct ms_dwarf *dwarf = &types->modules[index];
    if (!dwarf->opened) {
        dwarf->opened = true;
        dwarf->index = index;
        if (ms_modules_open(types->symbols, index, &dwarf->module) && dwarf->module.file)
            dwarf->dwarf = dwfl_module_getdwarf(dwarf->module.file, &dwarf->bias);
    }
    return dwarf;
}

struct ms_dwarf *ms_types_dwarf(struct ms_types *types, uint64_t address)
{
    size_t index = ms_modules_at(types->symbols, address);
    return index == MS_MODULES_NONE ? NULL : ms_types_dwarf_at(types, index);
}

bool ms_types_known(struct ms_types *types, uint64_t address)
{
    const struct ms_dwarf *dwarf = ms_types_dwarf(types, address);
    return dwarf && dwarf->dwarf;
}

bool ms_dwarf_units(struct ms_dwarf *dwarf)
{
    MS_VECTOR(Dwarf_Die) units = {0};
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit, split;
    uint8_t kind;
    if (!dwarf->dwarf || dwarf->units)
        return dwarf->dwarf;
    while (dwarf_get_units(dwarf->dwarf, cu, &cu, NULL, &kind, &unit, &split) == 0) {
        Dwarf_Die *added = ms_vector_add(&units);
        if (!added)
            break;
        *added = kind == DW_UT_skeleton && split.addr ? split : unit;
    }
    dwarf->units = units.items;
    dwarf->unit_count = units.count;
    return units.count > 0;
}

/* --- scopes ----------------------------------------------------------------------------------- */

static bool is_scope(int tag)
{
    switch (tag) {
    case DW_TAG_namespace:
    case DW_TAG_module:
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type:
    case DW_TAG_interface_type:
    case DW_TAG_enumeration_type:
    case DW_TAG_subprogram:
        return true;
    default:
        return false;
    }
}

static void find_scopes(struct ms_types *types, struct ms_unit *unit, Dwarf_Die *die, const char *limit,
                        uint32_t parent, unsigned depth)
{
    struct ms_child_walk walk;
    if (depth >= MS_DIE_DEPTH)
        return;
    for (bool more = ms_first_child(die, limit, &walk); more; more = ms_next_child(&walk)) {
        int tag = dwarf_tag(&walk.die);
        uint32_t inner = parent;
        if (dwarf_haschildren(&walk.die) != 1)
            continue;
        if (is_scope(tag)) {
            struct ms_scope *scope = ms_vector_add(&unit->scopes);
            if (!scope) {
                types->short_of_memory = true;
                return;
            }
            *scope = (struct ms_scope){.start = walk.die.addr, .end = walk.limit, .parent = parent};
            inner = (uint32_t)(unit->scopes.count - 1);
        } else if (tag != DW_TAG_lexical_block) {
            continue;
        }
        find_scopes(types, unit, &walk.die, walk.limit, inner, depth + 1);
    }
}

/* The innermost scope that ADDRESS is in. */
static uint32_t scope_of(const struct ms_unit *unit, const char *address)
{
    size_t low = 0, high = unit->scopes.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unit->scopes.items[middle].start < address)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t scope = low ? (uint32_t)(low - 1) : MS_NO_SCOPE;
    while (scope != MS_NO_SCOPE && unit->scopes.items[scope].end <= address)
        scope = unit->scopes.items[scope].parent;
    return scope;
}

/* What one scope adds to names. A function does so with its parameters, as demanglers show it. */
static char *own_name(Dwarf_Die *die)
{
    Dwarf_Attribute value;
    const char *linked = NULL, *name = ms_die_name(die);
    if (dwarf_tag(die) == DW_TAG_subprogram && dwarf_attr_integrate(die, DW_AT_linkage_name, &value))
        linked = dwarf_formstring(&value);
    char *shown = linked ? ms_demangle(linked) : NULL;
    if (shown)
        return shown;
    if (!name)
        return strdup(dwarf_tag(die) == DW_TAG_namespace ? "(anonymous namespace)" : "{...}");
    return ms_spelling_shown(name);
}

/* OUTER::NAME, kept with TYPES; NULL when it is too long. OUTER may be NULL. */
static const char *qualify(struct ms_types *types, const char *outer, const char *name)
{
    char *text = NULL;
    int size = asprintf(&text, "%s%s%s", outer ? outer : "", outer ? "::" : "", name);
    const char *kept = size > 0 && size < (int)NAME_SIZE ? ms_types_string(types, text) : NULL;
    if (size >= 0)
        free(text);
    return kept;
}

static const char *scope_name(struct ms_types *types, struct ms_unit *unit, uint32_t index)
{
    Dwarf_Die die;
    if (index == MS_NO_SCOPE || types->naming >= MS_DIE_DEPTH)
        return NULL;
    struct ms_scope *scope = &unit->scopes.items[index];
    if (scope->name)
        return scope->name;
    scope->name = "{...}"; /* for what says that it is declared in itself */
    if (!dwarf_die_addr_die(dwarf_cu_getdwarf(unit->die.cu), (void *)scope->start, &die))
        return NULL;
    ms_auto_free char *own = own_name(&die);
    /* A demangled name is qualified. */
    bool whole = own && dwarf_tag(&die) == DW_TAG_subprogram && strchr(own, '(');
    types->naming++;
    const char *outer = !own || whole ? NULL : ms_dwarf_scope_name(types, &die);
    types->naming--;
    const char *name = own ? qualify(types, outer, own) : NULL;
    return scope->name = name ? name : "{...}";
}

const char *ms_dwarf_scope_name(struct ms_types *types, Dwarf_Die *die)
{
    Dwarf_Die declared = *die, next;
    /* A class or variable that is defined outside of its namespace is named by its declaration. */
    for (unsigned i = 0; i < 4 && (ms_die_reference(&declared, DW_AT_specification, &next) ||
                                   ms_die_reference(&declared, DW_AT_abstract_origin, &next)); i++)
        declared = next;
    struct ms_unit *unit = ms_unit_of(types, &declared);
    if (!unit || unit->language == MS_LANGUAGE_C)
        return NULL;
    if (!unit->scoped) {
        unit->scoped = true;
        find_scopes(types, unit, &unit->die, MS_UNIT_END, MS_NO_SCOPE, 0);
    }
    return scope_name(types, unit, scope_of(unit, declared.addr));
}

const char *ms_dwarf_name(struct ms_types *types, Dwarf_Die *die)
{
    const char *name = ms_die_name(die), *scope = name ? ms_dwarf_scope_name(types, die) : NULL;
    const char *whole = scope ? qualify(types, scope, name) : NULL;
    return whole ? whole : name;
}

/* --- definitions by name ---------------------------------------------------------------------- */

struct definition {
    uint64_t hash;
    void *die;
};

/* A unit split off has a Dwarf of its own, which its DIEs are found in. */
struct ms_name_index {
    MS_VECTOR(struct definition) items; /* sorted by hash */
    bool short_of_memory;
};

/* The qualified name of where the walk is. */
struct path {
    char text[NAME_SIZE];
    size_t size;
};

static bool enter(struct path *path, const char *name)
{
    size_t size = strlen(name);
    if (path->size + size + 3 > sizeof path->text)
        return false;
    if (path->size) {
        memcpy(path->text + path->size, "::", 2);
        path->size += 2;
    }
    memcpy(path->text + path->size, name, size + 1);
    path->size += size;
    return true;
}

static void leave(struct path *path, size_t size)
{
    path->size = size;
    path->text[size] = '\0';
}

static void add_definition(struct ms_name_index *index, const struct path *path, void *die)
{
    struct definition *added = ms_vector_add(&index->items);
    if (!added)
        index->short_of_memory = true;
    else
        *added = (struct definition){ms_spelling_hash(path->text), die};
}

static bool is_structure(int tag)
{
    return tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type ||
           tag == DW_TAG_interface_type;
}

/* typedef struct { … } NAME */
static bool names_anonymous(Dwarf_Die *die)
{
    Dwarf_Die target;
    return ms_die_reference(die, DW_AT_type, &target) && is_structure(dwarf_tag(&target)) &&
           !ms_die_name(&target);
}

static void index_children(struct ms_name_index *index, Dwarf_Die *die, const char *limit, struct path *path,
                           bool nested, unsigned depth)
{
    struct ms_child_walk walk;
    size_t before = path->size;
    if (depth >= MS_DIE_DEPTH)
        return;
    for (bool more = ms_first_child(die, limit, &walk); more; more = ms_next_child(&walk)) {
        int tag = dwarf_tag(&walk.die);
        bool space = tag == DW_TAG_namespace || tag == DW_TAG_module;
        bool structure = is_structure(tag);
        if (!space && !structure && tag != DW_TAG_typedef)
            continue;
        const char *name = ms_die_name(&walk.die);
        if (!name && !space)
            continue;
        if (!enter(path, name ? name : "(anonymous namespace)"))
            continue;
        if (structure ? !ms_die_flag(&walk.die, DW_AT_declaration)
                      : tag == DW_TAG_typedef && names_anonymous(&walk.die))
            add_definition(index, path, walk.die.addr);
        if (space || (structure && nested))
            index_children(index, &walk.die, walk.limit, path, nested, depth + 1);
        leave(path, before);
    }
}

static int by_hash(const void *a, const void *b)
{
    const struct definition *left = a, *right = b;
    if (left->hash != right->hash)
        return left->hash < right->hash ? -1 : 1;
    return left->die < right->die ? -1 : left->die > right->die;
}

static struct ms_name_index *index_names(struct ms_types *types, struct ms_dwarf *dwarf)
{
    if (dwarf->names || !ms_dwarf_units(dwarf))
        return dwarf->names;
    ms_auto_free struct path *path = calloc(1, sizeof *path);
    dwarf->names = calloc(1, sizeof *dwarf->names);
    for (size_t i = 0; dwarf->names && path && i < dwarf->unit_count; i++) {
        if (types->progress && i % PROGRESS_STEP == 0)
            types->progress(types->context, "debug information", i, dwarf->unit_count);
        bool nested = language_of(&dwarf->units[i]) != MS_LANGUAGE_C;
        leave(path, 0);
        index_children(dwarf->names, &dwarf->units[i], MS_UNIT_END, path, nested, 0);
    }
    if (!dwarf->names || !path)
        types->short_of_memory = true;
    else
        ms_vector_sort(&dwarf->names->items, by_hash);
    return dwarf->names;
}

static const struct ms_type *convert_definition(struct ms_types *types, struct ms_dwarf *dwarf,
                                                const struct definition *definition)
{
    Dwarf_Die die;
    if (!dwarf_die_addr_die(dwarf->dwarf, definition->die, &die))
        return NULL;
    const struct ms_type *type = ms_type_of_die(types, &die);
    return type->kind == MS_TYPE_STRUCT || type->kind == MS_TYPE_UNION ? type : NULL;
}

const struct ms_type *ms_dwarf_named(struct ms_types *types, struct ms_dwarf *dwarf, uint64_t hash)
{
    const struct ms_name_index *index = index_names(types, dwarf);
    const struct ms_type *found = NULL;
    size_t low = 0, high = index ? index->items.count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->items.items[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; index && i < index->items.count && index->items.items[i].hash == hash; i++) {
        const struct ms_type *type = convert_definition(types, dwarf, &index->items.items[i]);
        if ((found && type && type != found) || i - low >= SAME_NAME_MAX)
            return NULL;
        found = type ? type : found;
    }
    return found;
}

void ms_dwarf_read_all(struct ms_types *types, struct ms_dwarf *dwarf)
{
    const struct ms_name_index *index = index_names(types, dwarf);
    for (size_t i = 0; index && i < index->items.count; i++) {
        if (types->progress && i % (64 * PROGRESS_STEP) == 0)
            types->progress(types->context, "types", i, index->items.count);
        convert_definition(types, dwarf, &index->items.items[i]);
    }
}

void ms_dwarf_close(struct ms_dwarf *dwarf)
{
    if (dwarf->names)
        ms_vector_free(&dwarf->names->items);
    free(dwarf->names);
    free(dwarf->units);
    ms_variable_index_free(dwarf->places);
    ms_code_index_free(dwarf->code);
}
