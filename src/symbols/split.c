/* Opens the .dwo files of split units in the roots where the target's files are. */
#include "split.h"

#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *text_of(Dwarf_Die *die, unsigned name, unsigned old_name)
{
    Dwarf_Attribute value;
    if (!dwarf_attr(die, name, &value) && !dwarf_attr(die, old_name, &value))
        return NULL;
    return dwarf_formstring(&value);
}

/* The unit with this id among those of a file. */
static bool find_unit(Dwarf *dwarf, uint64_t id, Dwarf_Die *found)
{
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit;
    uint8_t kind;
    uint64_t own;
    while (dwarf_get_units(dwarf, cu, &cu, NULL, &kind, &unit, NULL) == 0)
        if (kind == DW_UT_split_compile &&
            dwarf_cu_info(cu, NULL, NULL, NULL, NULL, &own, NULL, NULL) == 0 && own == id) {
            *found = unit;
            return true;
        }
    return false;
}

static void close_file(struct ms_split *file)
{
    dwarf_end(file->dwarf);
    elf_end(file->elf);
    free(file->names);
}

void ms_split_close_fd(Elf *elf, int fd)
{
    /* All is mapped. There may be more units than files that can be open. */
    elf_cntl(elf, ELF_C_FDDONE);
    if (fd >= 0)
        close(fd);
}

bool ms_split_keep(struct ms_splits *splits, struct ms_split file, uint64_t id, Dwarf_Die *unit)
{
    file.dwarf = file.elf ? dwarf_begin_elf(file.elf, DWARF_C_READ, NULL) : NULL;
    struct ms_split *kept =
        file.dwarf && find_unit(file.dwarf, id, unit) ? ms_vector_add(&splits->files) : NULL;
    if (kept)
        *kept = file;
    else
        close_file(&file);
    return kept;
}

bool ms_split_find(struct ms_splits *splits, const struct ms_debug_search *search, Dwarf_Die *skeleton,
                   Dwarf_Die *unit)
{
    uint64_t id;
    char *path = NULL;
    const char *name = text_of(skeleton, DW_AT_dwo_name, DW_AT_GNU_dwo_name);
    const char *directory = text_of(skeleton, DW_AT_comp_dir, DW_AT_comp_dir);
    if (!name || dwarf_cu_info(skeleton->cu, NULL, NULL, NULL, NULL, &id, NULL, NULL) != 0)
        return false;
    bool whole = *name == '/' || !directory;
    if (asprintf(&path, "%s%s%s", whole ? "" : directory, whole ? "" : "/", name) < 0)
        return false;
    int fd = ms_debugfile_open(search, path);
    free(path);
    struct ms_split file = {.elf = fd >= 0 ? elf_begin(fd, ELF_C_READ_MMAP_PRIVATE, NULL) : NULL};
    ms_split_close_fd(file.elf, fd);
    return (file.elf && ms_split_keep(splits, file, id, unit)) ||
           ms_package_find(splits, search, skeleton, id, unit);
}

void ms_splits_free(struct ms_splits *splits)
{
    for (size_t i = 0; i < splits->files.count; i++)
        close_file(&splits->files.items[i]);
    ms_vector_free(&splits->files);
    elf_end(splits->package);
}
