/* The symbols of one module: read once from libdwfl, then found by address or name without it. */
#include "symtab.h"

#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#include "demangle.h"

/* Parts of a rank, the weightier first. */
enum { RANK_SIZED = 64, RANK_TYPED = 32, RANK_GLOBAL = 16, RANK_WEAK = 8, RANK_UNDERSCORES = 7 };

/*
 * Of aliases the one to show: sized before labels, functions and objects before
 * the untyped, global before weak before local, and malloc before __libc_malloc.
 */
static uint32_t rank_of(const GElf_Sym *symbol, const char *name)
{
    unsigned type = GELF_ST_TYPE(symbol->st_info), binding = GELF_ST_BIND(symbol->st_info);
    size_t underscores = strspn(name, "_");
    uint32_t rank = symbol->st_size ? RANK_SIZED : 0;
    if (type != STT_NOTYPE)
        rank |= RANK_TYPED;
    if (binding == STB_GLOBAL || binding == STB_GNU_UNIQUE)
        rank |= RANK_GLOBAL;
    else if (binding == STB_WEAK)
        rank |= RANK_WEAK;
    return rank | (underscores < RANK_UNDERSCORES ? RANK_UNDERSCORES - (uint32_t)underscores : 0);
}

static bool is_code_or_data(const GElf_Sym *symbol, GElf_Word section)
{
    switch (GELF_ST_TYPE(symbol->st_info)) {
    case STT_NOTYPE:
    case STT_OBJECT:
    case STT_FUNC:
    case STT_COMMON:
    case STT_GNU_IFUNC:
        /* libdwfl gives -1 for what is in no section that is loaded. */
        return section != SHN_UNDEF && section != SHN_ABS && section != (GElf_Word)-1;
    default:
        return false;
    }
}

/* Where the section of a label ends: further it cannot reach. */
static uint64_t section_end(Elf *elf, GElf_Word index, Dwarf_Addr bias)
{
    GElf_Shdr header;
    Elf_Scn *section = index < SHN_LORESERVE ? elf_getscn(elf, index) : NULL;
    if (!section || !gelf_getshdr(section, &header))
        return 0;
    return bias + header.sh_addr + header.sh_size;
}

static int by_address(const void *a, const void *b)
{
    const struct ms_symbol *left = a, *right = b;
    if (left->address != right->address)
        return left->address < right->address ? -1 : 1;
    if (left->rank != right->rank)
        return left->rank < right->rank ? -1 : 1;
    return strcmp(right->name, left->name); /* the order of the file has no meaning */
}

static ms_result collect(struct ms_symtab *table, Dwfl_Module *module, uint64_t start, uint64_t end)
{
    int count = dwfl_module_getsymtab(module);
    for (int i = 1; i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        GElf_Word section;
        Elf *elf;
        Dwarf_Addr bias;
        const char *name =
            dwfl_module_getsym_info(module, i, &symbol, &address, &section, &elf, &bias);
        if (!name || !*name || address < start || address >= end ||
            !is_code_or_data(&symbol, section))
            continue;
        struct ms_symbol *added = ms_vector_add(&table->symbols);
        if (!added)
            return ms_error_nomem("reading symbols");
        /* Until the intervals are made, SIZE of a label is how far it may reach. */
        uint64_t limit = symbol.st_size ? end : section_end(elf, section, bias);
        limit = limit < end ? limit : end;
        uint64_t room = limit > address ? limit - address : 0;
        added->address = address;
        added->size = symbol.st_size && symbol.st_size < room ? symbol.st_size : room;
        added->name = name;
        added->rank = rank_of(&symbol, name);
    }
    return NULL;
}

/* A sweep over the symbols by address; OPEN are those that have started, the innermost last. */
struct sweep {
    struct ms_symtab *table;
    uint32_t *open;
    size_t open_count;
    uint32_t label; /* index + 1 of the label that the space belongs to, 0: none */
    uint64_t at;
};

static bool emit(struct sweep *sweep, uint64_t end, uint32_t symbol)
{
    if (end <= sweep->at)
        return true;
    struct ms_interval *interval = ms_vector_add(&sweep->table->intervals);
    if (!interval)
        return false;
    *interval = (struct ms_interval){sweep->at, end, symbol};
    sweep->at = end;
    return true;
}

/* Gives the space up to END to whom it belongs. */
static bool advance(struct sweep *sweep, uint64_t end)
{
    const struct ms_symbol *symbols = sweep->table->symbols.items;
    while (sweep->open_count) {
        uint32_t top = sweep->open[sweep->open_count - 1];
        uint64_t top_end = symbols[top].address + symbols[top].size;
        if (!emit(sweep, top_end < end ? top_end : end, top))
            return false;
        if (top_end > end)
            return true;
        sweep->open_count--;
    }
    if (sweep->label) {
        const struct ms_symbol *label = &symbols[sweep->label - 1];
        uint64_t reach = label->address + label->size;
        if (!emit(sweep, reach < end ? reach : end, sweep->label - 1))
            return false;
    }
    sweep->label = 0;
    sweep->at = end;
    return true;
}

/*
 * Cuts the address space so that each address belongs to the covering symbol that
 * starts last; a label without a size has what follows it up to the next symbol,
 * if no sized one covers it. A table of overlapping symbols thus costs a lookup
 * nothing, however hostile it is.
 */
static ms_result make_intervals(struct ms_symtab *table)
{
    struct sweep sweep = {.table = table};
    size_t count = table->symbols.count;
    if (count == 0)
        return NULL;
    qsort(table->symbols.items, count, sizeof *table->symbols.items, by_address);
    sweep.open = malloc(count * sizeof *sweep.open);
    bool fine = sweep.open != NULL;
    for (size_t i = 0; fine && i < count; i++) {
        const struct ms_symbol *symbol = &table->symbols.items[i];
        fine = advance(&sweep, symbol->address);
        if (symbol->rank & RANK_SIZED)
            sweep.open[sweep.open_count++] = (uint32_t)i;
        else if (sweep.open_count == 0)
            sweep.label = (uint32_t)i + 1;
    }
    fine = fine && advance(&sweep, UINT64_MAX);
    free(sweep.open);
    for (size_t i = 0; i < count; i++)
        if (!(table->symbols.items[i].rank & RANK_SIZED))
            table->symbols.items[i].size = 0;
    return fine ? NULL : ms_error_nomem("sorting symbols");
}

ms_result ms_symtab_read(struct ms_symtab *table, Dwfl_Module *module, uint64_t start, uint64_t end)
{
    MS_TRY(collect(table, module, start, end));
    return make_intervals(table);
}

void ms_symtab_free(struct ms_symtab *table)
{
    for (size_t i = 0; i < table->symbols.count; i++)
        free(table->symbols.items[i].shown);
    ms_vector_free(&table->symbols);
    ms_vector_free(&table->intervals);
    free(table->names);
    table->names = NULL;
}

struct ms_symbol *ms_symtab_at(const struct ms_symtab *table, uint64_t address)
{
    size_t low = 0, high = table->intervals.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->intervals.items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    const struct ms_interval *interval = table->intervals.items + low;
    if (low == table->intervals.count || interval->start > address)
        return NULL;
    return &table->symbols.items[interval->symbol];
}

/* Length of a name without its version: memcpy@@GLIBC_2.14. */
static size_t plain_length(const char *name)
{
    size_t length = strcspn(name, "@");
    return length ? length : strlen(name);
}

/* FNV-1a. */
static uint64_t hash_name(const char *name, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

/* The slot of a name: its symbol's, or the empty one where it would go. */
static uint32_t *name_slot(const struct ms_symtab *table, const char *name, size_t length)
{
    size_t slot = hash_name(name, length) & (table->name_slots - 1);
    while (table->names[slot]) {
        const char *other = table->symbols.items[table->names[slot] - 1].name;
        if (plain_length(other) == length && !memcmp(other, name, length))
            break;
        slot = (slot + 1) & (table->name_slots - 1);
    }
    return &table->names[slot];
}

static bool hash_names(struct ms_symtab *table)
{
    size_t slots = 16;
    while (slots < 2 * table->symbols.count)
        slots *= 2;
    table->names = calloc(slots, sizeof *table->names);
    if (!table->names)
        return false;
    table->name_slots = slots;
    for (size_t i = 0; i < table->symbols.count; i++) {
        const struct ms_symbol *symbol = &table->symbols.items[i];
        uint32_t *slot = name_slot(table, symbol->name, plain_length(symbol->name));
        if (!*slot || table->symbols.items[*slot - 1].rank < symbol->rank)
            *slot = (uint32_t)i + 1;
    }
    return true;
}

const struct ms_symbol *ms_symtab_named(struct ms_symtab *table, const char *name)
{
    if (!table->names && (!table->symbols.count || !hash_names(table)))
        return NULL;
    uint32_t index = *name_slot(table, name, strlen(name));
    return index ? &table->symbols.items[index - 1] : NULL;
}

unsigned ms_symtab_count(const struct ms_symtab *table, const char *name)
{
    const size_t length = strlen(name);
    uint64_t last = 0;
    unsigned count = 0;
    for (size_t i = 0; i < table->symbols.count; i++) {
        const struct ms_symbol *symbol = &table->symbols.items[i];
        if (strncmp(symbol->name, name, length) != 0 || (symbol->name[length] && symbol->name[length] != '@'))
            continue;
        count += !count || symbol->address != last;
        last = symbol->address;
    }
    return count;
}

const char *ms_symbol_shown(struct ms_symbol *symbol)
{
    if (!symbol->shown) {
        ms_auto_free char *plain = strndup(symbol->name, plain_length(symbol->name));
        symbol->shown = plain ? ms_demangle(plain) : NULL;
        if (!symbol->shown) {
            symbol->shown = plain;
            plain = NULL;
        }
    }
    return symbol->shown ? symbol->shown : symbol->name;
}
