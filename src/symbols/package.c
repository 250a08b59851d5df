/* Split units in a package (.dwp), which libdw reads from elfutils 0.191 on: of each unit a view is made. */
#include <dwarf.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "reader.h"
#include "split.h"

/* Kinds of sections that units have a part of (DWARF 5, 7.3.5.3; of GNU's version 2 where they differ). */
enum {
    COLUMN_INFO = 1,
    COLUMN_ABBREV = 3,
    COLUMN_LINE,
    COLUMN_LOC,
    COLUMN_STR_OFFSETS,
    COLUMN_RNGLISTS = 8,
    COLUMNS
};
static const char *const part_names[2][COLUMNS] = {
    {[COLUMN_INFO] = "info", [COLUMN_ABBREV] = "abbrev", [COLUMN_LINE] = "line", [COLUMN_LOC] = "loc",
     [COLUMN_STR_OFFSETS] = "str_offsets"},
    {[COLUMN_INFO] = "info", [COLUMN_ABBREV] = "abbrev", [COLUMN_LINE] = "line", [COLUMN_LOC] = "loclists",
     [COLUMN_STR_OFFSETS] = "str_offsets", [COLUMN_RNGLISTS] = "rnglists"},
};

/* .debug_cu_index: a hash table of ids, then a table of where each unit's parts are. */
struct cu_index {
    const uint8_t *slots, *rows; /* ids; numbers of rows, from 1 on */
    const uint8_t *columns, *offsets, *sizes;
    uint32_t column_count, unit_count, slot_count;
    bool five; /* DWARF 5 */
};

static uint32_t word_at(const uint8_t *bytes, uint64_t index)
{
    uint32_t word;
    memcpy(&word, bytes + 4 * index, sizeof word);
    return word;
}

static bool read_index(Elf *package, struct cu_index *index)
{
    const uint8_t *bytes;
    size_t size;
    if (!ms_elf_section(package, "cu_index", &bytes, &size) || size < 16)
        return false;
    uint32_t version = word_at(bytes, 0);
    index->five = (version & 0xffff) == 5;
    if (!index->five && version != 2)
        return false;
    index->column_count = word_at(bytes, 1);
    index->unit_count = word_at(bytes, 2);
    index->slot_count = word_at(bytes, 3);
    uint64_t cells = (uint64_t)index->column_count * index->unit_count, slots = index->slot_count;
    if (index->column_count > COLUMNS || slots == 0 || (slots & (slots - 1)) ||
        16 + 12 * slots + 4ull * index->column_count + 8 * cells > size)
        return false;
    index->slots = bytes + 16;
    index->rows = index->slots + 8 * slots;
    index->columns = index->rows + 4 * slots;
    index->offsets = index->columns + 4ull * index->column_count;
    index->sizes = index->offsets + 4 * cells;
    return true;
}

/* The row of a unit, from 0 on. */
static bool find_row(const struct cu_index *index, uint64_t id, uint32_t *row)
{
    uint64_t mask = index->slot_count - 1, slot = id & mask, step = (id >> 32 & mask) | 1, own;
    for (uint32_t tries = 0; tries < index->slot_count; tries++, slot = (slot + step) & mask) {
        uint32_t number = word_at(index->rows, slot);
        memcpy(&own, index->slots + 8 * slot, sizeof own);
        if (number == 0)
            return false;
        if (own == id) {
            *row = number - 1;
            return number <= index->unit_count;
        }
    }
    return false;
}

/* An ELF file in the making, which is never written. */
struct view {
    Elf *elf;
    char *names;
    size_t names_size;
};
#define NAMES_SIZE 512u

static Elf_Scn *add_section(struct view *view, const char *name, unsigned type, const void *bytes, size_t size)
{
    GElf_Shdr header;
    Elf_Scn *section = elf_newscn(view->elf);
    Elf_Data *data = section ? elf_newdata(section) : NULL;
    if (!data || !gelf_getshdr(section, &header))
        return NULL;
    *data = (Elf_Data){.d_buf = (void *)bytes, .d_size = size, .d_type = ELF_T_BYTE, .d_align = 1,
                       .d_version = EV_CURRENT};
    header.sh_name = (GElf_Word)view->names_size;
    header.sh_type = type;
    header.sh_size = size;
    header.sh_addralign = 1;
    int length = snprintf(view->names + view->names_size, NAMES_SIZE - view->names_size, "%s", name);
    view->names_size += (size_t)length + 1;
    return view->names_size < NAMES_SIZE && gelf_update_shdr(section, &header) ? section : NULL;
}

/* The parts of one unit, and the strings of all. */
static bool add_parts(struct view *view, Elf *package, const struct cu_index *index, uint32_t row)
{
    const uint8_t *bytes;
    size_t size;
    char name[64];
    for (uint32_t i = 0; i < index->column_count; i++) {
        uint32_t column = word_at(index->columns, i);
        uint64_t cell = (uint64_t)row * index->column_count + i;
        uint32_t offset = word_at(index->offsets, cell), length = word_at(index->sizes, cell);
        const char *part = column < COLUMNS ? part_names[index->five][column] : NULL;
        if (!part || !ms_elf_section(package, part, &bytes, &size))
            continue;
        snprintf(name, sizeof name, ".debug_%s.dwo", part);
        if (offset > size || length > size - offset ||
            !add_section(view, name, SHT_PROGBITS, bytes + offset, length))
            return false;
    }
    return !ms_elf_section(package, "str", &bytes, &size) ||
           add_section(view, ".debug_str.dwo", SHT_PROGBITS, bytes, size);
}

/*
 * The addresses of the unit are in the program's file, from where the skeleton says. libdw counts from the
 * section's start when the unit itself says nothing (libdwP.h, __libdw_cu_addr_base), so the view has only these.
 */
static bool add_addresses(struct view *view, Dwarf_Die *skeleton)
{
    const uint8_t *bytes;
    size_t size;
    Dwarf_Attribute value;
    Dwarf_Word base;
    if ((!dwarf_attr(skeleton, DW_AT_addr_base, &value) && !dwarf_attr(skeleton, DW_AT_GNU_addr_base, &value)) ||
        dwarf_formudata(&value, &base) != 0 ||
        !ms_dwarf_section(dwarf_cu_getdwarf(skeleton->cu), "addr", &bytes, &size) || base > size)
        return true;
    return add_section(view, ".debug_addr.dwo", SHT_PROGBITS, bytes + base, size - base);
}

static bool make_view(struct view *view, Elf *package, const struct cu_index *index, uint32_t row,
                      Dwarf_Die *skeleton)
{
    GElf_Ehdr header;
    if (!view->elf || !view->names || !gelf_newehdr(view->elf, ELFCLASS64) || !gelf_getehdr(view->elf, &header))
        return false;
    view->names_size = 1; /* the first is the empty one */
    if (!add_parts(view, package, index, row) || !add_addresses(view, skeleton))
        return false;
    size_t last = view->names_size;
    if (last + sizeof ".shstrtab" > NAMES_SIZE)
        return false;
    Elf_Scn *names = add_section(view, ".shstrtab", SHT_STRTAB, view->names, last + sizeof ".shstrtab");
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_machine = EM_X86_64;
    header.e_type = ET_REL;
    header.e_version = EV_CURRENT;
    header.e_shstrndx = names ? (GElf_Half)elf_ndxscn(names) : 0;
    return names && gelf_update_ehdr(view->elf, &header);
}

static Elf *open_package(struct ms_splits *splits, const struct ms_debug_search *search)
{
    char *path = NULL;
    if (splits->package_searched)
        return splits->package;
    splits->package_searched = true;
    if (asprintf(&path, "%s.dwp", search->file) < 0)
        return NULL;
    int fd = ms_debugfile_open(search, path);
    free(path);
    splits->package = fd >= 0 ? elf_begin(fd, ELF_C_READ_MMAP, NULL) : NULL;
    ms_split_close_fd(splits->package, fd);
    return splits->package;
}

bool ms_package_find(struct ms_splits *splits, const struct ms_debug_search *search, Dwarf_Die *skeleton,
                     uint64_t id, Dwarf_Die *unit)
{
    struct cu_index index;
    uint32_t row;
    Elf *package = open_package(splits, search);
    if (!package || !read_index(package, &index) || !find_row(&index, id, &row))
        return false;
    /* libelf wants a file to write to; nothing is. */
    int fd = memfd_create("unit", MFD_CLOEXEC);
    struct ms_split file = {.elf = fd >= 0 ? elf_begin(fd, ELF_C_WRITE, NULL) : NULL,
                            .names = calloc(1, NAMES_SIZE)};
    struct view view = {.elf = file.elf, .names = file.names};
    ms_split_close_fd(file.elf, fd);
    if (make_view(&view, package, &index, row, skeleton))
        return ms_split_keep(splits, file, id, unit);
    elf_end(file.elf);
    free(file.names);
    return false;
}
