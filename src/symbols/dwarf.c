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
/* Definitions of one name that are kept to be compared. */
#define SAME_NAME_MAX 16u
/* Units whose scopes are kept at a time. */
#define SCOPED_MAX 64u
/* Longest qualified name, bytes. */
#define NAME_SIZE 16384u

/* --- DIEs ------------------------------------------------------------------------------------- */

static bool read_ahead(struct ms_child_walk *walk)
{
    if (!walk->reader)
        return dwarf_siblingof(&walk->die, &walk->next) == 0;
    const void *next = ms_reader_next(walk->reader, walk->die.addr);
    walk->next = (Dwarf_Die){.addr = (void *)next, .cu = walk->die.cu};
    return next && ms_reader_at(walk->reader, next);
}

static void look_ahead(struct ms_child_walk *walk)
{
    walk->more = read_ahead(walk) && (const char *)walk->next.addr > (const char *)walk->die.addr &&
                 (const char *)walk->next.addr < walk->end;
    walk->limit = walk->more ? walk->next.addr : walk->end;
}

bool ms_first_child_by(const struct ms_reader *reader, Dwarf_Die *parent, const char *limit,
                       struct ms_child_walk *walk)
{
    walk->reader = reader;
    walk->end = limit;
    if (reader) {
        const struct ms_abbreviation *own = ms_reader_at(reader, parent->addr);
        const void *child = own && own->children ? ms_reader_child(reader, parent->addr) : NULL;
        if (!child || !ms_reader_at(reader, child))
            return false;
        walk->die = (Dwarf_Die){.addr = (void *)child, .cu = parent->cu};
    } else if (dwarf_child(parent, &walk->die) != 0) {
        return false;
    }
    if ((const char *)walk->die.addr >= limit)
        return false;
    look_ahead(walk);
    return true;
}

bool ms_first_child(Dwarf_Die *parent, const char *limit, struct ms_child_walk *walk)
{
    return ms_first_child_by(NULL, parent, limit, walk);
}

int ms_child_tag(struct ms_child_walk *walk)
{
    const struct ms_abbreviation *own = walk->reader ? ms_reader_at(walk->reader, walk->die.addr) : NULL;
    return own ? own->tag : dwarf_tag(&walk->die);
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

void ms_die_signed(Dwarf_Die *die)
{
    Dwarf_Die definition;
    Dwarf_Attribute value;
    if (dwarf_attr(die, DW_AT_signature, &value) && dwarf_formref_die(&value, &definition))
        *die = definition;
}

void ms_attribute_as_expression(Dwarf_Attribute *value)
{
    Dwarf_Block block;
    if (value->form == DW_FORM_block1 && dwarf_formblock(value, &block) == 0 && block.length < 0x80)
        value->form = DW_FORM_exprloc;
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
    case DW_LANG_Go:
        return MS_LANGUAGE_GO;
    default:
        return MS_LANGUAGE_OTHER;
    }
}

static size_t module_of(const struct ms_types *types, Dwarf_CU *cu)
{
    Dwarf *dwarf = dwarf_cu_getdwarf(cu);
    for (size_t i = 0; i < types->module_count; i++) {
        const struct ms_dwarf *module = &types->modules[i];
        if (dwarf && (module->dwarf == dwarf || module->common == dwarf))
            return i;
        for (size_t split = 0; split < module->splits.files.count; split++)
            if (module->splits.files.items[split].dwarf == dwarf)
                return i;
    }
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
    /* dwz's common units do not say: they are in the language of those that lead to them. */
    unit->language = types->language;
    if (dwarf_cu_die(die->cu, &unit->die, NULL, NULL, NULL, NULL, NULL, NULL) && dwarf_srclang(&unit->die) >= 0)
        types->language = unit->language = language_of(&unit->die);
    return unit;
}

const char *ms_dwarf_unit_name(Dwarf_Die *die)
{
    Dwarf_Die unit;
    const char *name = dwarf_diecu(die, &unit, NULL, NULL) ? ms_die_name(&unit) : NULL;
    /* rustc's units are no files: "main.rs/@/crate.6272be4f5aae6f27-cgu.04". */
    const char *file = name && strstr(name, "/@/") ? dwarf_decl_file(die) : NULL;
    name = file && *file != '<' ? file : name;
    const char *slash = name ? strrchr(name, '/') : NULL;
    return slash && slash[1] ? slash + 1 : name;
}

struct ms_dwarf *ms_types_dwarf_at(struct ms_types *types, size_t index)
{
    struct ms_dwarf *dwarf = &types->modules[index];
    if (!dwarf->opened) {
        dwarf->opened = true;
        dwarf->index = index;
        dwarf->types = types;
        if (ms_modules_open(types->symbols, index, &dwarf->module) && dwarf->module.file)
            dwarf->dwarf = dwfl_module_getdwarf(dwarf->module.file, &dwarf->bias);
        dwarf->common = dwarf->dwarf ? dwarf_getalt(dwarf->dwarf) : NULL;
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

struct units {
    MS_VECTOR(Dwarf_Die) list;
    struct ms_type_map common; /* those of the common file that are listed */
};

/*
 * Adds the units of the common file that the one at INDEX imports, which dwz puts before all else. What else
 * is there belongs to other programs. They do not say a language: it is that of those that import them.
 */
static void add_imported(struct ms_dwarf *dwarf, struct units *units, size_t index)
{
    struct ms_child_walk walk;
    Dwarf_Die unit = units->list.items[index], imported;
    for (bool more = ms_first_child(&unit, MS_UNIT_END, &walk);
         more && dwarf_tag(&walk.die) == DW_TAG_imported_unit; more = ms_next_child(&walk)) {
        if (!ms_die_reference(&walk.die, DW_AT_import, &imported) ||
            dwarf_cu_getdwarf(imported.cu) != dwarf->common ||
            ms_type_map_get(&units->common, (uintptr_t)imported.cu))
            continue;
        const struct ms_unit *importer = ms_unit_of(dwarf->types, &unit);
        struct ms_unit *known = ms_unit_of(dwarf->types, &imported);
        Dwarf_Die *added = known ? ms_vector_add(&units->list) : NULL;
        if (!added || !ms_type_map_put(&units->common, (uintptr_t)imported.cu, known)) {
            dwarf->types->short_of_memory = true;
            return;
        }
        *added = known->die;
        if (importer && dwarf_srclang(&known->die) < 0)
            known->language = importer->language;
    }
}

bool ms_dwarf_units(struct ms_dwarf *dwarf)
{
    struct units units = {0};
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit, split;
    uint8_t kind;
    if (!dwarf->dwarf || dwarf->units)
        return dwarf->dwarf;
    while (dwarf_get_units(dwarf->dwarf, cu, &cu, NULL, &kind, &unit, &split) == 0) {
        Dwarf_Die *added = ms_vector_add(&units.list);
        if (!added)
            break;
        bool skeleton = kind == DW_UT_skeleton;
        if (skeleton && !split.addr && !ms_split_find(&dwarf->splits, dwarf->module.search, &unit, &split))
            skeleton = false;
        *added = skeleton ? split : unit;
    }
    dwarf->own_count = units.list.count;
    for (size_t i = 0; dwarf->common && i < units.list.count; i++)
        add_imported(dwarf, &units, i);
    free(units.common.slots);
    dwarf->units = units.list.items;
    dwarf->unit_count = units.list.count;
    return units.list.count > 0;
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

/* Lists the scopes right inside of one, in order; of functions only when something in them is asked for. */
static bool expand(struct ms_types *types, struct ms_unit *unit, uint32_t index)
{
    const struct ms_reader *reader;
    struct ms_child_walk walk;
    struct ms_scope scope = unit->scopes.items[index];
    Dwarf_Die die;
    if (scope.expanded)
        return true;
    scope.expanded = true;
    scope.first = unit->scopes.count;
    if (!dwarf_die_addr_die(dwarf_cu_getdwarf(unit->die.cu), (void *)scope.start, &die))
        return true;
    reader = ms_reader_open(&types->reader, &unit->die) ? &types->reader : NULL;
    for (bool more = ms_first_child_by(reader, &die, scope.end, &walk); more; more = ms_next_child(&walk)) {
        int tag = ms_child_tag(&walk);
        if ((!is_scope(tag) && tag != DW_TAG_lexical_block) || dwarf_haschildren(&walk.die) != 1)
            continue;
        struct ms_scope *added = ms_vector_add(&unit->scopes);
        if (!added)
            return false;
        *added = (struct ms_scope){.start = walk.die.addr, .end = walk.limit, .parent = index,
                                   .block = tag == DW_TAG_lexical_block};
    }
    scope.count = unit->scopes.count - scope.first;
    unit->scopes.items[index] = scope;
    return true;
}

/* The one of the scopes in OUTER that ADDRESS is in, else OUTER itself. */
static uint32_t step_in(const struct ms_unit *unit, uint32_t outer, const char *address)
{
    const struct ms_scope *scope = &unit->scopes.items[outer];
    size_t low = scope->first, high = low + scope->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unit->scopes.items[middle].start < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > scope->first && address < unit->scopes.items[low - 1].end ? (uint32_t)(low - 1) : outer;
}

/* Gives back the scopes of units that were looked at before, now and then; not while a name is put together. */
static void forget_scopes(struct ms_types *types)
{
    if (types->naming || types->scoped_units++ < SCOPED_MAX)
        return;
    types->scoped_units = 1;
    for (size_t i = 0; i < types->units.count; i++)
        ms_vector_free(&types->units.items[i]->scopes);
}

/* The innermost scope that ADDRESS is in, or MS_NO_SCOPE. */
static uint32_t scope_of(struct ms_types *types, struct ms_unit *unit, const char *address)
{
    uint32_t scope = 0, inner = 0;
    if (!unit->scopes.count) {
        forget_scopes(types);
        struct ms_scope *root = ms_vector_add(&unit->scopes);
        if (root)
            *root = (struct ms_scope){.start = unit->die.addr, .end = MS_UNIT_END, .parent = MS_NO_SCOPE};
    }
    for (unsigned depth = 0; unit->scopes.count && depth < MS_DIE_DEPTH; depth++) {
        if (!expand(types, unit, scope))
            types->short_of_memory = true;
        inner = step_in(unit, scope, address);
        if (inner == scope)
            break;
        scope = inner;
    }
    while (scope != MS_NO_SCOPE && scope != 0 && unit->scopes.items[scope].block)
        scope = unit->scopes.items[scope].parent;
    return scope ? scope : MS_NO_SCOPE;
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
    const char *known = unit->scopes.items[index].name;
    if (known)
        return known;
    unit->scopes.items[index].name = "{...}"; /* for what says that it is declared in itself */
    if (!dwarf_die_addr_die(dwarf_cu_getdwarf(unit->die.cu), (void *)unit->scopes.items[index].start, &die))
        return NULL;
    ms_auto_free char *own = own_name(&die);
    /* A demangled name is qualified. */
    bool whole = own && dwarf_tag(&die) == DW_TAG_subprogram && strchr(own, '(');
    types->naming++;
    const char *outer = !own || whole ? NULL : ms_dwarf_scope_name(types, &die);
    types->naming--;
    const char *name = own ? qualify(types, outer, own) : NULL;
    name = name ? name : "{...}";
    unit->scopes.items[index].name = name; /* they may have moved */
    return name;
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
    return scope_name(types, unit, scope_of(types, unit, declared.addr));
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
    Dwarf_Die die;
};

struct ms_name_index {
    MS_VECTOR(struct definition) items; /* sorted by hash */
};

/* A qualified name that was met: units repeat them a thousand times. */
struct met {
    uint64_t hash; /* of its spelling */
    uint32_t count;
};

/* Building an index: the qualified name of where the walk is. */
struct path {
    struct ms_types *types;
    struct ms_name_index *index;
    const struct ms_reader *reader; /* of the unit, or NULL */
    const Dwarf_Die *unit;
    struct ms_type_map met; /* from identities to struct met */
    uint64_t identity;      /* of the name, by the addresses of its parts' texts */
    size_t size;
    char text[NAME_SIZE];
};

/*
 * Equal texts of one file are one in .debug_str, so that their address is enough. Those that are no longer than a
 * reference there, as "std", stand in each unit.
 */
static uint64_t identity_of(const char *name, size_t size)
{
    uint64_t text = 0;
    if (size >= sizeof text)
        return (uintptr_t)name;
    memcpy(&text, name, size);
    return text;
}

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
    path->identity = ms_hash_mix(path->identity, identity_of(name, size));
    return true;
}

static void leave(struct path *path, size_t size, uint64_t identity)
{
    path->size = size;
    path->text[size] = '\0';
    path->identity = identity;
}

/* Adds a definition of the name, unless there are enough; then also of what is nested in it. */
static bool add_definition(struct path *path, const Dwarf_Die *die)
{
    uint64_t identity = path->identity ? path->identity : 1;
    struct met *met = ms_type_map_get(&path->met, identity);
    if (!met) {
        met = ms_types_alloc(path->types, sizeof *met);
        if (!met || !ms_type_map_put(&path->met, identity, met))
            return false;
        met->hash = ms_spelling_hash(path->text);
    }
    if (met->count++ >= SAME_NAME_MAX)
        return false;
    struct definition *added = ms_vector_add(&path->index->items);
    if (!added) {
        path->types->short_of_memory = true;
        return false;
    }
    *added = (struct definition){met->hash, *die};
    return true;
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

static void index_children(struct path *path, Dwarf_Die *die, const char *limit, bool nested, unsigned depth);

/* A namespace, a structure or a typedef, of which the path has the name. */
static void index_named(struct path *path, const struct ms_child_walk *walk, int tag, bool nested, unsigned depth)
{
    Dwarf_Die die = walk->die;
    bool structure = is_structure(tag);
    bool new = tag == DW_TAG_namespace || tag == DW_TAG_module;
    if (!new && !(structure && ms_die_flag(&die, DW_AT_declaration)))
        new = add_definition(path, &die) && structure && nested;
    if (new)
        index_children(path, &die, walk->limit, nested, depth + 1);
}

/*
 * A class that is defined outside of what it is declared in, as all of type units and A::B of "struct A::B {…}"
 * are: its name is that of its declaration, not of where the walk is.
 */
static void index_declared(struct path *path, const struct ms_child_walk *walk, int tag, const char *name,
                           unsigned depth)
{
    const size_t size = path->size;
    const uint64_t identity = path->identity;
    Dwarf_Die die = walk->die;
    ms_auto_free char *before = strdup(path->text);
    const char *scope = ms_dwarf_scope_name(path->types, &die);
    /* The declaration may be in another unit; the walk goes on in this one. */
    if (!before || (path->reader && !ms_reader_open(&path->types->reader, path->unit)))
        return;
    leave(path, 0, 0);
    bool fits = !scope || enter(path, scope);
    /* The texts of scopes are made anew for each unit: their addresses say nothing. */
    path->identity = scope ? ms_hash_text(0, scope) : 0;
    if (fits && enter(path, name))
        index_named(path, walk, tag, true, depth);
    memcpy(path->text, before, size + 1);
    leave(path, size, identity);
}

static void index_children(struct path *path, Dwarf_Die *die, const char *limit, bool nested, unsigned depth)
{
    struct ms_child_walk walk;
    size_t before = path->size;
    uint64_t identity = path->identity;
    if (depth >= MS_DIE_DEPTH)
        return;
    for (bool more = ms_first_child_by(path->reader, die, limit, &walk); more; more = ms_next_child(&walk)) {
        int tag = ms_child_tag(&walk);
        bool space = tag == DW_TAG_namespace || tag == DW_TAG_module;
        if (!space && !is_structure(tag) && (tag != DW_TAG_typedef || !names_anonymous(&walk.die)))
            continue;
        const char *name = ms_die_name(&walk.die);
        if (name && nested && is_structure(tag) && dwarf_hasattr(&walk.die, DW_AT_specification)) {
            index_declared(path, &walk, tag, name, depth);
        } else if ((name || space) && enter(path, name ? name : "(anonymous namespace)")) {
            index_named(path, &walk, tag, nested, depth);
            leave(path, before, identity);
        }
    }
}

static int by_hash(const void *a, const void *b)
{
    const struct definition *left = a, *right = b;
    if (left->hash != right->hash)
        return left->hash < right->hash ? -1 : 1;
    return left->die.addr < right->die.addr ? -1 : left->die.addr > right->die.addr;
}

static struct ms_name_index *index_names(struct ms_types *types, struct ms_dwarf *dwarf)
{
    if (dwarf->names || !ms_dwarf_units(dwarf))
        return dwarf->names;
    ms_auto_free struct path *path = calloc(1, sizeof *path);
    dwarf->names = calloc(1, sizeof *dwarf->names);
    for (size_t i = 0; dwarf->names && path && i < dwarf->unit_count; i++) {
        Dwarf_Die *unit = &dwarf->units[i];
        if (types->progress && i % PROGRESS_STEP == 0)
            types->progress(types->context, "debug information", i, dwarf->unit_count);
        path->types = types;
        path->index = dwarf->names;
        path->unit = unit;
        path->reader = ms_reader_open(&types->reader, unit) ? &types->reader : NULL;
        leave(path, 0, 0);
        const struct ms_unit *known = ms_unit_of(types, unit);
        index_children(path, unit, MS_UNIT_END, known && known->language != MS_LANGUAGE_C, 0);
    }
    if (path)
        free(path->met.slots);
    if (!dwarf->names || !path)
        types->short_of_memory = true;
    else
        ms_vector_sort(&dwarf->names->items, by_hash);
    return dwarf->names;
}

static const struct ms_type *convert_definition(struct ms_types *types, const struct definition *definition)
{
    Dwarf_Die die = definition->die;
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
        const struct ms_type *type = convert_definition(types, &index->items.items[i]);
        if (found && type && type != found)
            return NULL;
        found = type ? type : found;
    }
    return found;
}

static int by_place(const void *a, const void *b)
{
    const struct definition *left = *(const struct definition *const *)a,
                            *right = *(const struct definition *const *)b;
    return left->die.addr < right->die.addr ? -1 : left->die.addr > right->die.addr;
}

/* Its size is one of those that are wanted, or not known without reading more. */
static bool has_size(const struct definition *definition, ms_size_filter *wanted, void *context)
{
    Dwarf_Die die = definition->die, target;
    uint64_t size;
    if (!wanted)
        return true;
    if (dwarf_tag(&die) == DW_TAG_typedef && ms_die_reference(&die, DW_AT_type, &target))
        die = target;
    return !is_structure(dwarf_tag(&die)) || !ms_die_number(&die, DW_AT_byte_size, &size) || wanted(context, size);
}

/* Unit after unit: the scopes of few are kept. */
void ms_dwarf_read_all(struct ms_types *types, struct ms_dwarf *dwarf, ms_size_filter *wanted, void *context)
{
    const struct ms_name_index *index = index_names(types, dwarf);
    size_t count = index ? index->items.count : 0;
    ms_auto_free const struct definition **order = count ? malloc(count * sizeof *order) : NULL;
    if (count && !order)
        types->short_of_memory = true;
    for (size_t i = 0; order && i < count; i++)
        order[i] = &index->items.items[i];
    if (order)
        qsort(order, count, sizeof *order, by_place);
    for (size_t i = 0; order && i < count; i++) {
        if (types->progress && i % (64 * PROGRESS_STEP) == 0)
            types->progress(types->context, "types", i, count);
        const struct ms_type *type =
            has_size(order[i], wanted, context) ? convert_definition(types, order[i]) : NULL;
        if (type)
            type->source->own = true;
    }
}

void ms_dwarf_close(struct ms_dwarf *dwarf)
{
    if (dwarf->names)
        ms_vector_free(&dwarf->names->items);
    free(dwarf->names);
    free(dwarf->units);
    ms_splits_free(&dwarf->splits);
    ms_variable_index_free(dwarf->places);
    ms_code_index_free(dwarf->code);
    ms_scope_index_free(dwarf->scopes);
}
