/* Finding the Go runtime: its version in the build information, its modules, its globals. */
#include "memscope/go.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "layout.h"

/* src/cmd/link/internal/ld/data.go (buildinfo): aligned to 16, at the start of a section of its
 * own. */
static const char magic[] = "\xff Go buildinf:";
#define MAGIC_SIZE  14u
#define INFO_HEADER 32u
#define INFO_FLAGS  15u
#define INFO_INLINE 2u /* 1.18 and later: the strings follow, each after its length as a varint */
#define TEXT_MOST   (1u << 20)

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

char *ms_go_get_string(const struct ms_go *go, uint64_t address, size_t most)
{
    uint64_t data, length;
    if (!ms_image_read_word(go->image, address, &data) ||
        !ms_image_read_word(go->image, address + 8, &length) || length > most)
        return NULL;
    return copy_bytes(go->image, data, length);
}

/* The string behind a varint at *ADDRESS, which goes on to what follows. */
static char *inline_string(const struct ms_image *image, uint64_t *address)
{
    uint64_t length = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t byte;
        if (!ms_image_read(image, (*address)++, &byte, 1))
            return NULL;
        length |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        char *text = copy_bytes(image, *address, length);
        *address += length;
        return text;
    }
    return NULL;
}

/* The module lines stand between 16 bytes each of a mark (src/cmd/go/internal/modload/build.go). */
static void read_modules(struct ms_go *go, char *info)
{
    size_t length = info ? strlen(info) : 0;
    if (length < 33) {
        free(info);
        return;
    }
    info[length - 16] = '\0';
    memmove(info, info + 16, length - 31);
    go->build_info = info;
    const char *line = strstr(info, "mod\t");
    if (line && (line == info || line[-1] == '\n'))
        go->main_module = strndup(line + 4, strcspn(line + 4, "\t\n"));
}

static bool read_info(struct ms_go *go, uint64_t address)
{
    uint8_t header[INFO_HEADER];
    if (!ms_image_read(go->image, address, header, sizeof header))
        return false;
    char *info = NULL;
    if (header[INFO_FLAGS] & INFO_INLINE) {
        uint64_t at = address + INFO_HEADER;
        go->version = inline_string(go->image, &at);
        info = go->version ? inline_string(go->image, &at) : NULL;
    } else {
        uint64_t strings[2];
        memcpy(strings, header + 16, sizeof strings);
        go->version = ms_go_get_string(go, strings[0], 256);
        info = ms_go_get_string(go, strings[1], TEXT_MOST);
    }
    if (!go->version || strncmp(go->version, "go1.", 4) != 0 ||
        !isdigit((unsigned char)go->version[4])) {
        free(info);
        free(go->version);
        go->version = NULL;
        return false;
    }
    go->minor = (unsigned)strtoul(go->version + 4, NULL, 10);
    read_modules(go, info);
    return true;
}

/* Looks for the build information in what is mapped from files: it is in the program, near a
 * region's start. */
static bool find_info(struct ms_go *go)
{
    for (size_t i = 0; i < go->image->region_count; i++) {
        const struct ms_region *region = &go->image->regions[i];
        if (region->kind != MS_REGION_FILE || region->prot & MS_EXEC)
            continue;
        uint8_t page[MS_PAGE];
        for (uint64_t at = region->start; at < region->end; at += MS_PAGE) {
            if (!ms_image_read(go->image, at, page, sizeof page))
                continue;
            for (size_t k = 0; k < sizeof page; k += 16)
                if (!memcmp(page + k, magic, MAGIC_SIZE) && read_info(go, at + k))
                    return true;
        }
    }
    return false;
}

struct module_layout {
    struct ms_go_place header, text, etext, noptrdata, enoptrdata, data, edata, bss, ebss, noptrbss,
        enoptrbss;
    struct ms_go_place types, etypes, rodata, gofunc, gcdata, gcbss, next;
};
#define FIELD(name, into) MS_GO_FIELD(struct module_layout, "runtime.moduledata", name, into)
static const struct ms_go_field module_fields[] = {
    FIELD("pcHeader", header),
    FIELD("text", text),
    FIELD("etext", etext),
    FIELD("noptrdata", noptrdata),
    FIELD("enoptrdata", enoptrdata),
    FIELD("data", data),
    FIELD("edata", edata),
    FIELD("bss", bss),
    FIELD("ebss", ebss),
    FIELD("noptrbss", noptrbss),
    FIELD("enoptrbss", enoptrbss),
    FIELD("types", types),
    FIELD("etypes", etypes),
    MS_GO_FIELD_IN(struct module_layout, "runtime.moduledata", "rodata", rodata, 18, 0),
    MS_GO_FIELD_IN(struct module_layout, "runtime.moduledata", "gofunc", gofunc, 18, 0),
    FIELD("gcdatamask.bytedata", gcdata),
    FIELD("gcbssmask.bytedata", gcbss),
    FIELD("next", next),
};
#define MODULES_MOST 256u

static ms_result read_module(struct ms_go *go, const struct module_layout *layout, uint64_t address,
                             uint64_t *next)
{
    struct ms_go_module *module = ms_vector_add(&go->modules);
    if (!module)
        return ms_error_nomem("modules of Go code");
    module->address = address;
    const struct {
        struct ms_go_place from;
        uint64_t *to;
    } words[] = {
        {layout->header, &module->pclntab},
        {layout->text, &module->text.start},
        {layout->etext, &module->text.end},
        {layout->noptrdata, &module->noptrdata.start},
        {layout->enoptrdata, &module->noptrdata.end},
        {layout->data, &module->data.start},
        {layout->edata, &module->data.end},
        {layout->bss, &module->bss.start},
        {layout->ebss, &module->bss.end},
        {layout->noptrbss, &module->noptrbss.start},
        {layout->enoptrbss, &module->noptrbss.end},
        {layout->types, &module->types.start},
        {layout->etypes, &module->types.end},
        {layout->gcdata, &module->gcdata},
        {layout->gcbss, &module->gcbss},
        {layout->next, next},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!ms_go_get(go, address, words[i].from, words[i].to))
            return ms_error(MS_TARGET,
                            "%s: cannot read the module data of this %s program at 0x%llx",
                            go->image->origin, go->version, (unsigned long long)address);
    ms_go_get(go, address, layout->rodata, &module->rodata);
    ms_go_get(go, address, layout->gofunc, &module->gofunc);
    return NULL;
}

static ms_result read_module_list(struct ms_go *go)
{
    struct module_layout layout;
    MS_TRY(ms_go_bind(go, module_fields, sizeof module_fields / sizeof *module_fields, &layout));
    uint64_t address = ms_go_global(go, "runtime.firstmoduledata");
    if (!address)
        return ms_error(MS_TARGET,
                        "%s: the runtime of this %s program cannot be found: it has no symbols",
                        go->image->origin, go->version);
    while (address && go->modules.count < MODULES_MOST)
        MS_TRY(read_module(go, &layout, address, &address));
    return NULL;
}

ms_result ms_go_open(const struct ms_image *image, struct ms_symbols *symbols,
                     struct ms_types *types, struct ms_go **go)
{
    *go = NULL;
    struct ms_go *made = calloc(1, sizeof *made);
    if (!made)
        return ms_error_nomem("the Go runtime");
    made->image = image;
    made->symbols = symbols;
    made->types = types;
    if (!find_info(made)) {
        ms_go_close(made);
        return NULL;
    }
    struct ms_error *error = read_module_list(made);
    if (error) {
        ms_go_close(made);
        return error;
    }
    *go = made;
    return NULL;
}

void ms_go_close(struct ms_go *go)
{
    if (!go)
        return;
    ms_vector_free(&go->modules);
    free(go->version);
    free(go->main_module);
    free(go->build_info);
    ms_go_layouts_free(go->layouts);
    free(go);
}

uint64_t ms_go_global(const struct ms_go *go, const char *name)
{
    return ms_symbols_address(go->symbols, name, NULL);
}
