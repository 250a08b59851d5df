/* The build information of a Go program: its version, and the modules it was made of. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "layout.h"
#include "memscope/live.h"

/*
 * src/cmd/link/internal/ld/data.go (buildinfo): aligned to 16, in a section of its own among the
 * data that may be written. Not a string of its own here: memscope's own data must not look so.
 */
static const char magic_tail[] = " Go buildinf:";
#define MAGIC_HEAD   0xffu
#define MAGIC_SIZE   14u
#define INFO_ALIGN   16u
#define INFO_HEADER  32u
#define INFO_PTRSIZE 14u
#define INFO_FLAGS   15u
#define INFO_INLINE  2u /* 1.18 and later: the strings follow, each after its length as a varint */
#define TEXT_MOST    (1u << 20)
#define VERSION_MOST 256u
/* Before and after the module lines (infoStart, infoEnd in src/cmd/go/internal/modload/build.go);
 * there is a zero in the second. */
#define MARK_SIZE 16u

/* LENGTH bytes at ADDRESS with a zero behind them. */
static char *copy_bytes(const struct ms_image *image, uint64_t address, uint64_t length)
{
    if (length > TEXT_MOST)
        return NULL;
    char *text = calloc(1, length + 1);
    if (!text || (length && !ms_image_read(image, address, text, length))) {
        free(text);
        return NULL;
    }
    return text;
}

static char *read_string(const struct ms_image *image, uint64_t address, size_t most, size_t *length)
{
    uint64_t words[2];
    if (!ms_image_read(image, address, words, sizeof words) || words[1] > most)
        return NULL;
    *length = words[1];
    return copy_bytes(image, words[0], words[1]);
}

char *ms_go_get_string(const struct ms_go *go, uint64_t address, size_t most)
{
    size_t length;
    return read_string(go->image, address, most < TEXT_MOST ? most : TEXT_MOST, &length);
}

/* The string behind a varint at *ADDRESS, which goes on to what follows. */
static char *read_inline(const struct ms_image *image, uint64_t *address, size_t *length)
{
    *length = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t byte;
        if (!ms_image_read(image, (*address)++, &byte, 1))
            return NULL;
        *length |= (size_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        char *text = copy_bytes(image, *address, *length);
        *address += *length;
        return text;
    }
    return NULL;
}

/* The rest of the line of TEXT that begins with KEY, up to a tab; owned by the caller. */
static char *value_of(const char *text, const char *key)
{
    const size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length))
            return strndup(line + length, strcspn(line + length, "\t\n"));
    }
    return NULL;
}

/* Takes over INFO. */
static void keep_modules(struct ms_go *go, char *info, size_t length)
{
    if (!info || length < 2 * MARK_SIZE) {
        free(info);
        return;
    }
    memmove(info, info + MARK_SIZE, length - 2 * MARK_SIZE);
    info[length - 2 * MARK_SIZE] = '\0';
    go->build_info = info;
    go->main_module = value_of(info, "mod\t");
}

/* "go1.22.1", "go1.21rc2", "go1.22.1 X:experiment", "devel go1.27-abc Tue …": 22; 0 when it is
 * none. */
static unsigned minor_of(const char *version)
{
    for (const char *c = version; *c; c++)
        if (*c < ' ' || *c > '~') /* messages name it */
            return 0;
    if (!strncmp(version, "devel ", 6))
        version += 6;
    if (strncmp(version, "go1.", 4) != 0 || version[4] < '0' || version[4] > '9')
        return 0;
    unsigned long minor = strtoul(version + 4, NULL, 10);
    return minor < 255 ? (unsigned)minor : 0;
}

/* The build information at ADDRESS goes into GO; false when there is none that makes sense. */
static bool read_build_info(struct ms_go *go, uint64_t address)
{
    uint8_t header[INFO_HEADER];
    if (!ms_image_read(go->image, address, header, sizeof header))
        return false;
    size_t length, info_length = 0;
    char *version, *info = NULL;
    if (header[INFO_FLAGS] & INFO_INLINE) {
        uint64_t at = address + INFO_HEADER;
        version = read_inline(go->image, &at, &length);
        info = version ? read_inline(go->image, &at, &info_length) : NULL;
    } else {
        uint64_t strings[2];
        if (header[INFO_PTRSIZE] != sizeof *strings || header[INFO_FLAGS] != 0)
            return false;
        memcpy(strings, header + INFO_HEADER - sizeof strings, sizeof strings);
        version = read_string(go->image, strings[0], VERSION_MOST, &length);
        info = version ? read_string(go->image, strings[1], TEXT_MOST, &info_length) : NULL;
    }
    unsigned minor = version && length <= VERSION_MOST ? minor_of(version) : 0;
    if (!minor) {
        free(version);
        free(info);
        return false;
    }
    go->version = version;
    go->minor = minor;
    keep_modules(go, info, info_length);
    return true;
}

static bool search_region(struct ms_go *go, const struct ms_region *region)
{
    uint8_t page[MS_PAGE];
    for (uint64_t at = region->start; at < region->end; at += MS_PAGE) {
        if (!ms_image_read(go->image, at, page, sizeof page))
            continue;
        for (size_t k = 0; k < sizeof page; k += INFO_ALIGN)
            if (page[k] == MAGIC_HEAD && !memcmp(page + k + 1, magic_tail, MAGIC_SIZE - 1) &&
                read_build_info(go, at + k))
                return true;
    }
    return false;
}

bool ms_go_find_build_info(struct ms_go *go, const struct ms_region *of)
{
    /* Where it is today, then wherever else it might be. */
    for (unsigned written = 1; written <= 1; written--)
        for (size_t i = 0; i < go->image->region_count; i++) {
            const struct ms_region *region = &go->image->regions[i];
            if (region->kind == MS_REGION_FILE && !(region->prot & MS_EXEC) &&
                !(region->prot & MS_WRITE) == !written && region->inode == of->inode &&
                !strcmp(region->path, of->path) && search_region(go, region))
                return true;
        }
    return false;
}

/* --- without it --------------------------------------------------------------------------------
 */

/* Lengths of a version that stands alone: "go1.17", "go1.25rc1 X:nogreenteagc,noswissmap". */
#define ALONE_LEAST 6u
#define ALONE_MOST  128u

/* "go1.26", "go1.26.5", "go1.26rc1", with " X:experiments", "-fork" or nothing behind: a release in full, not a text about one. */
static bool is_release(const char *text)
{
    unsigned long number;
    int end = 0;
    if (sscanf(text, "go1.%3lu%n", &number, &end) != 1)
        return false;
    text += end;
    text += *text == '.' ? 1 : !strncmp(text, "rc", 2) ? 2 : !strncmp(text, "beta", 4) ? 4 : 0;
    text += strspn(text, "0123456789");
    return !*text || *text == '-' || !strncmp(text, " X:", 3);
}

/* Which versions write a table of functions that begins so, see modules.c. */
static bool fits_table(const struct ms_image *image, uint64_t module, unsigned minor)
{
    uint64_t header, word;
    if (!ms_image_read_word(image, module, &header) || !ms_image_read_word(image, header, &word))
        return false;
    switch ((uint32_t)word) {
    case 0xfffffffau:
        return minor < 18;
    case 0xfffffff0u:
        return minor == 18 || minor == 19;
    default:
        return minor >= 20;
    }
}

static bool is_constant(const struct ms_image *image, uint64_t address, const char *path)
{
    const struct ms_region *region = ms_image_region(image, address);
    return region && region->kind == MS_REGION_FILE && !(region->prot & MS_WRITE) && !strcmp(region->path, path);
}

/* Strings in a region of data that are versions. False: a second one that is not the same as GO has. */
static bool search_strings(struct ms_go *go, const struct ms_region *region, uint64_t module)
{
    uint64_t words[MS_PAGE / 8 + 1];
    for (uint64_t at = region->start; at < region->end; at += MS_PAGE) {
        size_t count = MS_PAGE / 8 + (region->end - at > MS_PAGE);
        if (!ms_image_read(go->image, at, words, count * 8))
            continue;
        for (size_t i = 0; i + 1 < count; i++) {
            if (words[i + 1] < ALONE_LEAST || words[i + 1] > ALONE_MOST ||
                !is_constant(go->image, words[i], region->path))
                continue;
            ms_auto_free char *text = copy_bytes(go->image, words[i], words[i + 1]);
            unsigned minor = text && is_release(text) ? minor_of(text) : 0;
            if (!minor || !fits_table(go->image, module, minor) || (go->version && !strcmp(go->version, text)))
                continue;
            if (go->version)
                return false;
            go->version = text;
            go->minor = minor;
            text = NULL;
        }
    }
    return true;
}

bool ms_go_find_version(struct ms_go *go, uint64_t module)
{
    const struct ms_region *of = ms_image_region(go->image, module);
    bool unique = true;
    for (size_t i = 0; unique && i < go->image->region_count; i++) {
        const struct ms_region *region = &go->image->regions[i];
        if (region->kind == MS_REGION_FILE && region->prot & MS_WRITE && region->inode == of->inode &&
            !strcmp(region->path, of->path))
            unique = search_strings(go, region, module);
    }
    if (unique && go->version)
        return true;
    free(go->version);
    go->version = NULL;
    go->minor = 0;
    return false;
}

/* --- files -------------------------------------------------------------------------------------
 */

#define SECTIONS_MOST 4096u
#define NAMES_MOST    (1u << 20)

/* SIZE bytes of a file; owned by the caller, NULL when they are not there. */
static char *read_part(int fd, uint64_t offset, size_t size)
{
    char *bytes = malloc(size + 1);
    if (!bytes || pread(fd, bytes, size, (off_t)offset) != (ssize_t)size) {
        free(bytes);
        return NULL;
    }
    bytes[size] = '\0';
    return bytes;
}

bool ms_go_may_be(int fd)
{
    Elf64_Ehdr header;
    if (pread(fd, &header, sizeof header, 0) != sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return false;
    if (!header.e_shnum || header.e_shnum > SECTIONS_MOST || header.e_shstrndx >= header.e_shnum ||
        header.e_shentsize != sizeof(Elf64_Shdr))
        return true; /* its sections were taken away */
    ms_auto_free char *bytes = read_part(fd, header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr));
    if (!bytes)
        return true;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(const void *)bytes;
    uint64_t size = sections[header.e_shstrndx].sh_size;
    ms_auto_free char *names =
        size <= NAMES_MOST ? read_part(fd, sections[header.e_shstrndx].sh_offset, size) : NULL;
    if (!names)
        return true;
    for (unsigned i = 0; i < header.e_shnum; i++)
        if (sections[i].sh_name < size && (!strcmp(names + sections[i].sh_name, ".go.buildinfo") ||
                                           !strcmp(names + sections[i].sh_name, ".gopclntab")))
            return true;
    return false;
}

static bool may_be_closing(int fd)
{
    const bool may = fd >= 0 && ms_go_may_be(fd);
    if (fd >= 0)
        close(fd);
    return may;
}

/* Is one of the files that it runs code of in Go? */
static bool has_library(const struct ms_image *image)
{
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *region = &image->regions[i];
        if (region->prot & MS_EXEC && region->inode && may_be_closing(ms_image_open_file(image, region)))
            return true;
    }
    return false;
}

bool ms_go_is_process(pid_t pid)
{
    char path[32];
    struct ms_image *image;
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    if (may_be_closing(open(path, O_RDONLY | O_CLOEXEC)))
        return true;
    struct ms_error *error = ms_live_open(pid, &image);
    if (error) {
        ms_error_free(error);
        return false;
    }
    const bool found = has_library(image);
    ms_image_free(image);
    return found;
}
