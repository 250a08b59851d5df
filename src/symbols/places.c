/* Finds where units mention addresses of data, by their bytes: gigabytes a second, and no DIE is parsed. */
#include "places.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "reader.h"
#include "types_private.h"

#define PROGRESS_STEP 64u

/* Addresses that variables may have, in DWARF. */
struct extent {
    uint64_t start, size; /* of all data segments */
    uint64_t tls_start, tls_size; /* PT_TLS */
};

/* .debug_addr of one unit. */
struct table {
    const uint8_t *entries;
    size_t count;
};

struct scan {
    struct ms_mentions *mentions;
    struct extent extent;
    const uint8_t *addresses; /* .debug_addr */
    size_t addresses_size;
    uint32_t unit;
};

static struct extent find_extent(const struct ms_dwarf *dwarf)
{
    uint64_t start = UINT64_MAX, end = 0, tls_start = 0, tls = 0;
    for (size_t i = 0; i < dwarf->module.segment_count; i++) {
        const Elf64_Phdr *segment = &dwarf->module.segments[i];
        if (segment->p_type == PT_TLS) {
            tls_start = segment->p_vaddr;
            tls = segment->p_memsz;
        }
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
    return (struct extent){start, end > start ? end - start : 0, tls_start, tls};
}

static uint64_t read_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static void mention(struct scan *scan, uint64_t address, uint32_t number, const uint8_t *position, bool tls)
{
    struct ms_mention *added = ms_vector_add(&scan->mentions->items);
    if (added)
        *added = (struct ms_mention){.address = address, .position = (const char *)position, .unit = scan->unit,
                                     .number = number, .tls = tls};
    else
        scan->mentions->short_of_memory = true;
}

static bool is_tls_op(uint8_t op)
{
    return op == DW_OP_form_tls_address || op == DW_OP_GNU_push_tls_address;
}

/*
 * Is the operation at AT, of SIZE bytes, an expression or the beginning of one that places a variable?
 * Before it is the length of the whole, in one byte.
 */
static bool is_location(const uint8_t *at, size_t size, const uint8_t *end, bool tls)
{
    size_t length = at[-1];
    if (length > (size_t)(end - at))
        return false;
    if (tls)
        return length == size + 1 && is_tls_op(at[size]);
    return length == size || (length > size + 1 && at[size] == DW_OP_plus_uconst);
}

/* Unsigned LEB128 of an index; bytes read, 0: none. */
static size_t read_index(const uint8_t *at, const uint8_t *end, size_t *index)
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
static void scan_indexed(struct scan *scan, const struct table *table, const uint8_t *at, const uint8_t *end)
{
    static const uint8_t kinds[256] = {[DW_OP_addrx] = 1, [DW_OP_GNU_addr_index] = 1, [DW_OP_constx] = 2,
                                       [DW_OP_GNU_const_index] = 2};
    for (at++; at < end; at++) {
        size_t index, size;
        if (!kinds[*at] || at[-1] > 12 || !(size = read_index(at + 1, end, &index)) || index >= table->count)
            continue;
        bool tls = kinds[*at] == 2;
        uint64_t address = read_word(table->entries + 8 * index);
        /* gcc 12 relocates these to where the initial values are, not to the offset in the block. */
        if (tls && address - scan->extent.tls_start < scan->extent.tls_size)
            address -= scan->extent.tls_start;
        if ((tls ? address < scan->extent.tls_size : address - scan->extent.start < scan->extent.size) &&
            is_location(at, 1 + size, end, tls))
            mention(scan, address, (uint32_t)index, at, tls);
    }
}

/* The first byte from AT on that is one of two, or END: most are not, and sixteen are looked at at once. */
static const uint8_t *find_either(const uint8_t *at, const uint8_t *end, uint8_t one, uint8_t other)
{
#if defined(__SSE2__)
    const __m128i ones = _mm_set1_epi8((char)one), others = _mm_set1_epi8((char)other);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        int hits = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, ones), _mm_cmpeq_epi8(bytes, others)));
        if (hits)
            return at + __builtin_ctz((unsigned)hits);
    }
#endif
    while (at < end && *at != one && *at != other)
        at++;
    return at;
}

/* DW_OP_addr, and DW_OP_const8u before an operation that makes it thread-local. */
static void scan_direct(struct scan *scan, const uint8_t *at, const uint8_t *end)
{
    const struct extent extent = scan->extent;
    const uint8_t before_tls = extent.tls_size ? DW_OP_const8u : DW_OP_addr;
    for (at++; end - at >= 9; at++) {
        at = find_either(at, end, DW_OP_addr, before_tls);
        if (end - at < 9)
            return;
        uint64_t word = read_word(at + 1);
        if (*at == DW_OP_addr && word - extent.start < extent.size && is_location(at, 9, end, false))
            mention(scan, word, MS_NO_NUMBER, at, false);
        else if (*at == DW_OP_const8u && word < extent.tls_size && is_location(at, 9, end, true))
            mention(scan, word, MS_NO_NUMBER, at, true);
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

static int by_position(const void *a, const void *b)
{
    const struct ms_mention *left = a, *right = b;
    return left->position < right->position ? -1 : left->position > right->position;
}

void ms_mentions_find(struct ms_types *types, struct ms_dwarf *dwarf, struct ms_mentions *mentions)
{
    struct scan scan = {.mentions = mentions, .extent = find_extent(dwarf)};
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit, split;
    uint8_t kind;
    Dwarf_Half version;
    ms_dwarf_section(dwarf->dwarf, "addr", &scan.addresses, &scan.addresses_size);
    while (dwarf_get_units(dwarf->dwarf, cu, &cu, &version, &kind, &unit, &split) == 0 &&
           scan.unit < dwarf->own_count) {
        if (types->progress && scan.unit % PROGRESS_STEP == 0)
            types->progress(types->context, "debug information", scan.unit, dwarf->unit_count);
        struct table table = find_table(&scan, &unit, version);
        Dwarf_Die *body = &dwarf->units[scan.unit];
        const uint8_t *start, *end;
        size_t before = mentions->items.count;
        if ((kind == DW_UT_compile || kind == DW_UT_skeleton || kind == DW_UT_partial) &&
            ms_unit_bytes(body, &start, &end)) {
            scan_direct(&scan, start, end);
            if (table.count)
                scan_indexed(&scan, &table, start, end);
            size_t found = mentions->items.count - before;
            if (table.count && found)
                qsort(mentions->items.items + before, found, sizeof *mentions->items.items, by_position);
        }
        scan.unit++;
    }
    /* What files share has no addresses, but thread-local variables may be the same in several. */
    scan.extent.size = 0;
    for (const uint8_t *start, *end; scan.unit < dwarf->unit_count; scan.unit++)
        if (ms_unit_bytes(&dwarf->units[scan.unit], &start, &end))
            scan_direct(&scan, start, end);
}
