/* Passes over DIEs by what their abbreviations say (DWARF 5, 7.5), some ten times faster than libdw. */
#include "reader.h"

#include <dwarf.h>
#include <gelf.h>
#include <string.h>

/* Codes are counted from 1 by all compilers; a higher one is left to libdw. */
#define CODES_MAX 65536u

/* Is this ".debug_NAME" or ".zdebug_NAME", maybe with ".dwo"? */
static bool is_called(const char *section, const char *name)
{
    size_t size = strlen(name);
    if (!strncmp(section, ".zdebug_", 8))
        section += 8;
    else if (!strncmp(section, ".debug_", 7))
        section += 7;
    else
        return false;
    return !strncmp(section, name, size) && (!section[size] || !strcmp(section + size, ".dwo"));
}

bool ms_elf_section(Elf *elf, const char *name, const uint8_t **bytes, size_t *size)
{
    GElf_Shdr header;
    size_t names;
    Elf_Scn *section = NULL;
    if (!elf || elf_getshdrstrndx(elf, &names) < 0)
        return false;
    while ((section = elf_nextscn(elf, section))) {
        const char *own = gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
        if (!own || header.sh_type == SHT_NOBITS || !is_called(own, name))
            continue;
        /* libdw has unpacked it in place. */
        Elf_Data *data = header.sh_flags & SHF_COMPRESSED ? NULL : elf_getdata(section, NULL);
        if (!data || !data->d_buf)
            return false;
        *bytes = data->d_buf;
        *size = data->d_size;
        return true;
    }
    return false;
}

/* The section that ADDRESS is in ends at *END; false: it is neither of those that units are in. */
static bool section_end(Dwarf *dwarf, const uint8_t *address, const uint8_t **end)
{
    static const char *const names[] = {"info", "types"};
    const uint8_t *bytes;
    size_t size;
    for (unsigned i = 0; i < 2; i++)
        if (ms_dwarf_section(dwarf, names[i], &bytes, &size) && address >= bytes &&
            (size_t)(address - bytes) < size) {
            *end = bytes + size;
            return true;
        }
    return false;
}

bool ms_unit_bytes(const Dwarf_Die *unit, const uint8_t **start, const uint8_t **end)
{
    Dwarf_Die die = *unit;
    Dwarf_Off at = dwarf_dieoffset(&die), into = dwarf_cuoffset(&die), next;
    Dwarf *dwarf = dwarf_cu_getdwarf(die.cu);
    if (dwarf_next_unit(dwarf, at - into, &next, NULL, NULL, NULL, NULL, NULL, NULL, NULL) != 0 || next <= at ||
        !section_end(dwarf, die.addr, end))
        return false;
    *start = (const uint8_t *)die.addr - into;
    /* What the header says of its length may be beyond the section. */
    if (next - at < (uint64_t)(*end - (const uint8_t *)die.addr))
        *end = (const uint8_t *)die.addr + (next - at);
    return true;
}

bool ms_dwarf_section(Dwarf *dwarf, const char *name, const uint8_t **bytes, size_t *size)
{
    return ms_elf_section(dwarf_getelf(dwarf), name, bytes, size);
}

/* Unsigned LEB128; false when it goes beyond END or 64 bits. */
static bool read_leb(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static uint64_t read_bytes(const uint8_t *at, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, at, size <= 8 ? size : 8);
    return value;
}

static bool skip_leb(const uint8_t **at, const uint8_t *end)
{
    while (*at < end)
        if (!(*(*at)++ & 0x80))
            return true;
    return false;
}

/* How a form is passed over (7.5.6, and those of GNU before); false: it cannot be without more. */
static bool skip_of_form(const struct ms_reader *reader, uint64_t form, struct ms_skip *skip)
{
    *skip = (struct ms_skip){MS_SKIP_BYTES, 0};
    switch (form) {
    case DW_FORM_flag_present:
    case DW_FORM_implicit_const:
        return true;
    case DW_FORM_data1:
    case DW_FORM_ref1:
    case DW_FORM_flag:
    case DW_FORM_strx1:
    case DW_FORM_addrx1:
        skip->size = 1;
        return true;
    case DW_FORM_data2:
    case DW_FORM_ref2:
    case DW_FORM_strx2:
    case DW_FORM_addrx2:
        skip->size = 2;
        return true;
    case DW_FORM_strx3:
    case DW_FORM_addrx3:
        skip->size = 3;
        return true;
    case DW_FORM_data4:
    case DW_FORM_ref4:
    case DW_FORM_strx4:
    case DW_FORM_addrx4:
    case DW_FORM_ref_sup4:
        skip->size = 4;
        return true;
    case DW_FORM_data8:
    case DW_FORM_ref8:
    case DW_FORM_ref_sig8:
    case DW_FORM_ref_sup8:
        skip->size = 8;
        return true;
    case DW_FORM_data16:
        skip->size = 16;
        return true;
    case DW_FORM_addr:
        skip->size = reader->address_size;
        return true;
    case DW_FORM_ref_addr:
        skip->size = reader->version < 3 ? reader->address_size : reader->offset_size;
        return true;
    case DW_FORM_strp:
    case DW_FORM_sec_offset:
    case DW_FORM_line_strp:
    case DW_FORM_strp_sup:
    case DW_FORM_GNU_ref_alt:
    case DW_FORM_GNU_strp_alt:
        skip->size = reader->offset_size;
        return true;
    case DW_FORM_sdata:
    case DW_FORM_udata:
    case DW_FORM_ref_udata:
    case DW_FORM_strx:
    case DW_FORM_addrx:
    case DW_FORM_loclistx:
    case DW_FORM_rnglistx:
    case DW_FORM_GNU_addr_index:
    case DW_FORM_GNU_str_index:
        skip->kind = MS_SKIP_LEB;
        return true;
    case DW_FORM_string:
        skip->kind = MS_SKIP_TEXT;
        return true;
    case DW_FORM_block:
    case DW_FORM_exprloc:
        skip->kind = MS_SKIP_LEB_BLOCK;
        return true;
    case DW_FORM_block1:
    case DW_FORM_block2:
    case DW_FORM_block4:
        *skip = (struct ms_skip){MS_SKIP_BLOCK, form == DW_FORM_block1 ? 1 : form == DW_FORM_block2 ? 2 : 4};
        return true;
    default: /* DW_FORM_indirect among them */
        return false;
    }
}

/* Adds a step; fixed sizes one after another become one. */
static bool add_skip(struct ms_reader *reader, struct ms_abbreviation *abbreviation, struct ms_skip skip)
{
    struct ms_skip *last = abbreviation->count ? &reader->skips.items[reader->skips.count - 1] : NULL;
    if (skip.kind == MS_SKIP_BYTES && (skip.size == 0 || (last && last->kind == MS_SKIP_BYTES))) {
        if (skip.size)
            last->size += skip.size;
        return true;
    }
    struct ms_skip *added = ms_vector_add(&reader->skips);
    if (!added)
        return false;
    *added = skip;
    abbreviation->count++;
    return true;
}

static bool read_attributes(struct ms_reader *reader, struct ms_abbreviation *abbreviation, const uint8_t **at,
                            const uint8_t *end)
{
    for (;;) {
        uint64_t name, form;
        struct ms_skip skip;
        if (!read_leb(at, end, &name) || !read_leb(at, end, &form))
            return false;
        if (!name && !form)
            return true;
        if (!skip_of_form(reader, form, &skip) || (form == DW_FORM_implicit_const && !skip_leb(at, end)))
            return false;
        if (name == DW_AT_sibling && (form == DW_FORM_ref1 || form == DW_FORM_ref2 || form == DW_FORM_ref4))
            skip.kind = MS_SKIP_SIBLING;
        if (!add_skip(reader, abbreviation, skip))
            return false;
    }
}

static bool read_table(struct ms_reader *reader)
{
    const uint8_t *at = reader->section + reader->table, *end = reader->section + reader->section_size;
    reader->codes.count = reader->skips.count = 0;
    for (;;) {
        uint64_t code, tag;
        if (!read_leb(&at, end, &code))
            return false;
        if (!code)
            return true;
        if (code >= CODES_MAX || !read_leb(&at, end, &tag) || tag == 0 || tag > UINT16_MAX || at == end)
            return false;
        while (reader->codes.count <= code)
            if (!ms_vector_add(&reader->codes))
                return false;
        struct ms_abbreviation abbreviation = {.tag = (uint16_t)tag, .children = *at++ == DW_CHILDREN_yes,
                                               .first = (uint32_t)reader->skips.count};
        if (!read_attributes(reader, &abbreviation, &at, end))
            return false;
        reader->codes.items[code] = abbreviation;
    }
}

/* What the header of the unit says (7.5.1); *TABLE is the offset of its abbreviations. */
static bool read_header(struct ms_reader *reader, uint64_t *table)
{
    const uint8_t *at = reader->start;
    if (reader->end - at < 24)
        return false;
    reader->offset_size = read_bytes(at, 4) == UINT32_MAX ? 8 : 4;
    at += reader->offset_size == 8 ? 12 : 4;
    reader->version = (unsigned)read_bytes(at, 2);
    at += 2;
    if (reader->version < 2 || reader->version > 5)
        return false;
    if (reader->version == 5) {
        reader->address_size = at[1];
        *table = read_bytes(at + 2, reader->offset_size);
    } else {
        *table = read_bytes(at, reader->offset_size);
        reader->address_size = at[reader->offset_size];
    }
    return reader->address_size == 4 || reader->address_size == 8;
}

bool ms_reader_open(struct ms_reader *reader, const Dwarf_Die *unit)
{
    Dwarf *dwarf = dwarf_cu_getdwarf(unit->cu);
    unsigned offset_size = reader->offset_size, address_size = reader->address_size, version = reader->version;
    uint64_t table;
    if (reader->dwarf != dwarf) {
        reader->ready = false;
        reader->dwarf = NULL;
        if (!ms_dwarf_section(dwarf, "abbrev", &reader->section, &reader->section_size))
            return false;
        reader->dwarf = dwarf;
    }
    if (!ms_unit_bytes(unit, &reader->start, &reader->end) || !read_header(reader, &table) ||
        table >= reader->section_size)
        return reader->ready = false;
    /* Sizes of some forms depend on the header. */
    if (!reader->ready || reader->table != table || offset_size != reader->offset_size ||
        address_size != reader->address_size || version != reader->version) {
        reader->table = table;
        reader->ready = read_table(reader);
    }
    return reader->ready;
}

void ms_reader_free(struct ms_reader *reader)
{
    ms_vector_free(&reader->codes);
    ms_vector_free(&reader->skips);
}

/* The same, AT set behind the code. */
static const struct ms_abbreviation *read_code(const struct ms_reader *reader, const uint8_t **at)
{
    uint64_t code = **at;
    if (code < 0x80)
        (*at)++;
    else if (!read_leb(at, reader->end, &code))
        return NULL;
    const struct ms_abbreviation *found = code < reader->codes.count ? &reader->codes.items[code] : NULL;
    return found && found->tag ? found : NULL;
}

const struct ms_abbreviation *ms_reader_at(const struct ms_reader *reader, const void *address)
{
    const uint8_t *at = address;
    return at >= reader->start && at < reader->end ? read_code(reader, &at) : NULL;
}

/* Moves AT behind what SKIP is for; SIBLING is set to where a sibling is, if it says. */
static bool pass(const struct ms_reader *reader, const struct ms_skip *skip, const uint8_t **at,
                 const uint8_t **sibling)
{
    const uint8_t *end = reader->end;
    uint64_t size = skip->size;
    switch (skip->kind) {
    case MS_SKIP_LEB:
        return skip_leb(at, end);
    case MS_SKIP_TEXT: {
        const uint8_t *nul = memchr(*at, 0, (size_t)(end - *at));
        *at = nul ? nul + 1 : end;
        return nul;
    }
    case MS_SKIP_SIBLING:
        if ((uint64_t)(end - *at) < size)
            return false;
        *sibling = reader->start + read_bytes(*at, (unsigned)size);
        break;
    case MS_SKIP_BLOCK:
        if ((uint64_t)(end - *at) < size)
            return false;
        size += read_bytes(*at, (unsigned)size);
        break;
    case MS_SKIP_LEB_BLOCK:
        if (!read_leb(at, end, &size))
            return false;
        break;
    case MS_SKIP_BYTES:
        break;
    }
    if ((uint64_t)(end - *at) < size)
        return false;
    *at += size;
    return true;
}

static bool pass_attributes(const struct ms_reader *reader, const struct ms_abbreviation *abbreviation,
                            const uint8_t **at, const uint8_t **sibling)
{
    const struct ms_skip *skip = reader->skips.items + abbreviation->first, *last = skip + abbreviation->count;
    for (; skip < last; skip++)
        if (!pass(reader, skip, at, sibling))
            return false;
    return true;
}

const void *ms_reader_child(const struct ms_reader *reader, const void *address)
{
    const uint8_t *at = address, *sibling = NULL;
    const struct ms_abbreviation *abbreviation = ms_reader_at(reader, at);
    if (!abbreviation || !read_code(reader, &at) || !pass_attributes(reader, abbreviation, &at, &sibling))
        return NULL;
    return at < reader->end ? at : NULL;
}

const void *ms_reader_next(const struct ms_reader *reader, const void *address)
{
    const uint8_t *at = address;
    size_t depth = 0;
    if (at < reader->start)
        return NULL;
    while (at < reader->end) {
        const uint8_t *sibling = NULL;
        if (*at == 0) {
            /* The end of the children of what is one level up. */
            at++;
            if (depth == 0)
                return NULL;
            if (--depth == 0)
                return at;
            continue;
        }
        const struct ms_abbreviation *abbreviation = read_code(reader, &at);
        if (!abbreviation || !pass_attributes(reader, abbreviation, &at, &sibling))
            return NULL;
        if (abbreviation->children && sibling && sibling > at && sibling <= reader->end)
            at = sibling;
        else if (abbreviation->children)
            depth++;
        if (depth == 0)
            return at;
    }
    return NULL;
}
