/* Private to src/symbols: from DIE to DIE without libdw, where gigabytes of them only have to be passed over. */
#ifndef MEMSCOPE_READER_H
#define MEMSCOPE_READER_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/memory.h"

/* A step over attributes: so many bytes, or what takes a look at them. */
struct ms_skip {
    enum ms_skip_kind {
        MS_SKIP_BYTES,
        MS_SKIP_LEB,
        MS_SKIP_TEXT,
        MS_SKIP_BLOCK,
        MS_SKIP_LEB_BLOCK,
        MS_SKIP_SIBLING,
    } kind;
    uint32_t size; /* bytes, or of the length before a block, or of the reference to the sibling */
};

/* One abbreviation: what a DIE of this code is, and how long. */
struct ms_abbreviation {
    uint16_t tag; /* 0: this code is not used */
    bool children;
    uint32_t first, count; /* in ms_reader.skips */
};

struct ms_reader {
    Dwarf *dwarf;           /* whose section the table is from */
    const uint8_t *section; /* .debug_abbrev */
    size_t section_size;
    uint64_t table;         /* offset of the table that was read */
    bool ready;
    unsigned offset_size, address_size, version;
    const uint8_t *start, *end; /* of the unit, its header included */
    MS_VECTOR(struct ms_abbreviation) codes; /* by code */
    MS_VECTOR(struct ms_skip) skips;
};

/* Makes READER (zeroed at first) one for the unit with this DIE; false: libdw must do it. */
bool ms_reader_open(struct ms_reader *reader, const Dwarf_Die *unit);
void ms_reader_free(struct ms_reader *reader);

/* The abbreviation of the DIE at AT; NULL at the end of children, and for what makes no sense. */
const struct ms_abbreviation *ms_reader_at(const struct ms_reader *reader, const void *at);

/* What follows a DIE's own attributes: its first child if it has children. NULL: no sense. */
const void *ms_reader_child(const struct ms_reader *reader, const void *at);

/* What follows a DIE with all below it. NULL: no sense. */
const void *ms_reader_next(const struct ms_reader *reader, const void *at);

/* The bytes of a unit: from its header to its end. */
bool ms_unit_bytes(const Dwarf_Die *unit, const uint8_t **start, const uint8_t **end);

/* A section by its name (without ".debug_"), also as NAME.dwo. Packed ones are none; libdw unpacks its own. */
bool ms_elf_section(Elf *elf, const char *name, const uint8_t **bytes, size_t *size);
bool ms_dwarf_section(Dwarf *dwarf, const char *name, const uint8_t **bytes, size_t *size);

#endif
