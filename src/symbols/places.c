/* Finds where units mention addresses of data, by their bytes: gigabytes a second, and no DIE is parsed. */
#include "places.h"

#include <dwarf.h>
#include <string.h>

#include "types_private.h"

#define PROGRESS_STEP 64u

/* Addresses that variables may have, in DWARF. */
struct extent {
    uint64_t start, size; /* of all data segments */
    uint64_t tls_size;
};

/* .debug_addr of one unit. */
struct table {
    const char *entries;
    size_t count;
};

struct scan {
    struct ms_mentions *mentions;
    struct extent extent;
    const char *addresses; /* .debug_addr */
    size_t addresses_size;
    uint32_t unit;
};

static struct extent find_extent(const struct ms_dwarf *dwarf)
{
    uint64_t start = UINT64_MAX, end = 0, tls = 0;
    for (size_t i = 0; i < dwarf->module.segment_count; i++) {
        const Elf64_Phdr *segment = &dwarf->module.segments[i];
        if (segment->p_type == PT_TLS)
            tls = segment->p_memsz;
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) || !segment->p_memsz)
            continue;
        uint64_t from = segment->p_vaddr + dwarf->module.bias - dwarf->bias;
        if (from == 0)
            from++; /* the first byte of a file is its header; 0 stands for what the linker left out */
        start = from < start ? from : start;
        end = segment->p_vaddr + dwarf->module.bias - dwarf->bias + segment->p_memsz > end
                  ? segment->p_vaddr + dwarf->module.bias - dwarf->bias + segment->p_memsz
                  : end;
    }
    return (struct extent){start, end > start ? end - start : 0, tls};
}

static uint64_t read_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static void mention(struct scan *scan, uint64_t address, const char *position, bool tls)
{
    struct ms_mention *added = ms_vector_add(&scan->mentions->items);
    if (added)
        *added = (struct ms_mention){.address = address, .position = position, .unit = scan->unit, .tls = tls};
    else
        scan->mentions->short_of_memory = true;
}

static bool is_tls_op(const char *at)
{
    return *(const uint8_t *)at == DW_OP_form_tls_address || *(const uint8_t *)at == DW_OP_GNU_push_tls_address;
}

/* Unsigned LEB128 of an index; bytes read, 0: none. */
static size_t read_index(const char *at, const char *end, size_t *index)
{
    size_t read = 0;
    *index = 0;
    for (; at + read < end && read < 4; read++) {
        *index |= (size_t)(at[read] & 0x7f) << 7 * read;
        if (!(at[read] & 0x80))
            return read + 1;
    }
    return 0;
}

/* DW_OP_addrx and DW_OP_constx, also as they were before DWARF 5. */
static void scan_indexed(struct scan *scan, const struct table *table, const char *at, const char *end)
{
    for (const char *from = at; at + 1 < end; at++) {
        uint8_t op = (uint8_t)*at;
        size_t index, size;
        if ((op != DW_OP_addrx && op != DW_OP_GNU_addr_index && op != DW_OP_constx &&
             op != DW_OP_GNU_const_index) || at == from)
            continue;
        size = read_index(at + 1, end, &index);
        if (!size || index >= table->count)
            continue;
        uint64_t address = read_word(table->entries + 8 * index);
        bool tls = op == DW_OP_constx || op == DW_OP_GNU_const_index;
        if (tls ? address < scan->extent.tls_size && at + 1 + size < end && is_tls_op(at + 1 + size)
                : address - scan->extent.start < scan->extent.size)
            mention(scan, address, at, tls);
    }
}

/* DW_OP_addr, and DW_OP_const8u before an operation that makes it thread-local. */
static void scan_direct(struct scan *scan, const char *at, const char *end)
{
    const struct extent extent = scan->extent;
    for (; end - at > 9; at++) {
        uint64_t word = read_word(at + 1);
        if (*at == DW_OP_addr && word - extent.start < extent.size)
            mention(scan, word, at, false);
        else if (*at == DW_OP_const8u && word < extent.tls_size && is_tls_op(at + 9))
            mention(scan, word, at, true);
    }
}

/*
 * The addresses of a unit: from DW_AT_addr_base on. In DWARF 5 a header says before it how many (7.27), before
 * that nothing does, and no index is higher than what the section has.
 */
static struct table find_table(const struct scan *scan, Dwarf_Die *unit, unsigned version)
{
    struct table table = {0};
    uint64_t base;
    Dwarf_Attribute value;
    Dwarf_Word word;
    if ((!dwarf_attr(unit, DW_AT_addr_base, &value) && !dwarf_attr(unit, DW_AT_GNU_addr_base, &value)) ||
        dwarf_formudata(&value, &word) != 0 || (base = word) > scan->addresses_size)
        return table;
    table.entries = scan->addresses + base;
    table.count = (scan->addresses_size - base) / 8;
    if (version >= 5 && base >= 8) {
        uint32_t length;
        memcpy(&length, table.entries - 8, sizeof length);
        if (length >= 4 && (length - 4) / 8 < table.count)
            table.count = (length - 4) / 8;
    }
    return table;
}

/* Where the bytes of a unit are: behind its first DIE. */
static const char *unit_end(Dwarf_Die *unit)
{
    Dwarf_Off at = dwarf_dieoffset(unit), start = at - dwarf_cuoffset(unit), next;
    if (dwarf_next_unit(dwarf_cu_getdwarf(unit->cu), start, &next, NULL, NULL, NULL, NULL, NULL, NULL, NULL) != 0 ||
        next <= at)
        return unit->addr;
    return (const char *)unit->addr + (next - at);
}

static void find_addresses(struct scan *scan, Dwarf *dwarf)
{
    GElf_Shdr header;
    size_t names;
    Elf *elf = dwarf_getelf(dwarf);
    Elf_Scn *section = NULL;
    if (!elf || elf_getshdrstrndx(elf, &names) < 0)
        return;
    while ((section = elf_nextscn(elf, section))) {
        const char *name = gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
        if (!name || (strcmp(name, ".debug_addr") != 0 && strcmp(name, ".zdebug_addr") != 0))
            continue;
        /* libdw has unpacked it in place. */
        Elf_Data *data = elf_getdata(section, NULL);
        if (data && data->d_buf && !(header.sh_flags & SHF_COMPRESSED)) {
            scan->addresses = data->d_buf;
            scan->addresses_size = data->d_size;
        }
        return;
    }
}

void ms_mentions_find(struct ms_types *types, struct ms_dwarf *dwarf, struct ms_mentions *mentions)
{
    struct scan scan = {.mentions = mentions, .extent = find_extent(dwarf)};
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit, split;
    uint8_t kind;
    Dwarf_Half version;
    find_addresses(&scan, dwarf->dwarf);
    while (dwarf_get_units(dwarf->dwarf, cu, &cu, &version, &kind, &unit, &split) == 0 &&
           scan.unit < dwarf->unit_count) {
        if (types->progress && scan.unit % PROGRESS_STEP == 0)
            types->progress(types->context, "debug information", scan.unit, dwarf->unit_count);
        struct table table = find_table(&scan, &unit, version);
        Dwarf_Die *body = &dwarf->units[scan.unit];
        const char *end = unit_end(body);
        if (kind == DW_UT_compile || kind == DW_UT_skeleton || kind == DW_UT_partial) {
            scan_direct(&scan, body->addr, end);
            if (table.count)
                scan_indexed(&scan, &table, body->addr, end);
        }
        scan.unit++;
    }
}
