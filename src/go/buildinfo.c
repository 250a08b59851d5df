/* The build information of a Go program: its version, and the modules it was made of. */
#include <ctype.h>
#include <string.h>

#include "layout.h"

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
    char *text = malloc(length + 1);
    if (!text || (length && !ms_image_read(image, address, text, length))) {
        free(text);
        return NULL;
    }
    text[length] = '\0';
    return text;
}

static char *read_string(const struct ms_image *image, uint64_t address, size_t most,
                         size_t *length)
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
        if (!isprint((unsigned char)*c))
            return 0;
    if (!strncmp(version, "devel ", 6))
        version += 6;
    if (strncmp(version, "go1.", 4) != 0 || !isdigit((unsigned char)version[4]))
        return 0;
    unsigned long minor = strtoul(version + 4, NULL, 10);
    return minor < 255 ? (unsigned)minor : 0;
}

bool ms_go_read_build_info(struct ms_go *go, uint64_t address)
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
                ms_go_read_build_info(go, at + k))
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
