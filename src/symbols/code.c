/* Which unit of the debug information describes the code at an address. */
#include <dwarf.h>
#include <stdlib.h>

#include "dwarf.h"

/* Units whose ranges overlap are not what linkers make: only so many are looked at. */
#define LOOK_BACK 16u

struct code_range {
    uint64_t start, end; /* in DWARF; half-open */
    size_t unit;         /* index in ms_dwarf.units */
};

struct ms_code_index {
    MS_VECTOR(struct code_range) ranges; /* by start */
};

void ms_code_index_free(struct ms_code_index *index)
{
    if (index)
        ms_vector_free(&index->ranges);
    free(index);
}

static int by_start(const void *a, const void *b)
{
    const struct code_range *left = a, *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

static void add_ranges(struct ms_code_index *index, Dwarf_Die *unit, size_t number)
{
    Dwarf_Addr base, start, end;
    for (ptrdiff_t at = 0; (at = dwarf_ranges(unit, at, &base, &start, &end)) > 0;) {
        struct code_range *added = start < end ? ms_vector_add(&index->ranges) : NULL;
        if (added)
            *added = (struct code_range){start, end, number};
    }
}

/* What the units say themselves. Of a split one the skeleton does. */
static struct ms_code_index *index_code(struct ms_dwarf *dwarf)
{
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit;
    if (dwarf->code || !ms_dwarf_units(dwarf))
        return dwarf->code;
    dwarf->code = calloc(1, sizeof *dwarf->code);
    for (size_t i = 0; dwarf->code && i < dwarf->own_count &&
                       dwarf_get_units(dwarf->dwarf, cu, &cu, NULL, NULL, &unit, NULL) == 0; i++)
        add_ranges(dwarf->code, &unit, i);
    if (dwarf->code)
        ms_vector_sort(&dwarf->code->ranges, by_start);
    return dwarf->code;
}

static bool find_by_ranges(struct ms_dwarf *dwarf, uint64_t address, Dwarf_Die *unit)
{
    const struct ms_code_index *index = index_code(dwarf);
    size_t low = 0, high = index ? index->ranges.count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->ranges.items[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (unsigned tries = 0; low-- > 0 && tries < LOOK_BACK; tries++)
        if (address < index->ranges.items[low].end) {
            *unit = dwarf->units[index->ranges.items[low].unit];
            return true;
        }
    return false;
}

/* What ms_dwarf.units has for the unit that libdw calls CU. */
static bool find_body(struct ms_dwarf *dwarf, const Dwarf_CU *wanted, Dwarf_Die *body)
{
    Dwarf_CU *cu = NULL;
    for (size_t i = 0; ms_dwarf_units(dwarf) && i < dwarf->own_count &&
                       dwarf_get_units(dwarf->dwarf, cu, &cu, NULL, NULL, NULL, NULL) == 0; i++)
        if (cu == wanted) {
            *body = dwarf->units[i];
            return true;
        }
    return false;
}

bool ms_dwarf_unit_at(struct ms_dwarf *dwarf, uint64_t pc, Dwarf_Die *unit)
{
    Dwarf_Die split;
    uint8_t kind;
    pc -= dwarf->bias;
    if (!dwarf->dwarf)
        return false;
    /* By .debug_aranges, which clang leaves out and assembler sources often lack. */
    if (!dwarf_addrdie(dwarf->dwarf, pc, unit))
        return find_by_ranges(dwarf, pc, unit);
    if (dwarf_cu_info(unit->cu, NULL, &kind, NULL, &split, NULL, NULL, NULL) != 0 || kind != DW_UT_skeleton)
        return true;
    if (split.addr)
        *unit = split;
    return split.addr || find_body(dwarf, unit->cu, unit);
}
