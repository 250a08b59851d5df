/* The modules of Go code: found by the pointers between moduledata and the table of functions. */
#include <string.h>

#include "layout.h"

/* --- finding the first, without symbols and whatever the version -------------------------------
 */

/*
 * A moduledata begins (from 1.16 on, src/runtime/symtab.go) with a pointer to the pcHeader and the
 * slices of the tables that follow the header, each at an offset that the header has:
 *     pcHeader *pcHeader; funcnametab []byte; cutab []uint32; filetab, pctab, pclntable []byte
 *     pcHeader {magic uint32; 0, 0, minLC, ptrSize uint8; nfunc int; nfiles uint; textStart uintptr
 *     (1.18 and later); funcnameOffset, cuOffset, filetabOffset, pctabOffset, pclnOffset uintptr}
 */
#define HEADER_WORDS 9u
#define TABLES       5u
#define HEAD_WORDS   (1u + 3u * TABLES) /* of a moduledata: header and tables */
/* The first table is behind the header, aligned. */
#define NEAR 128u
/* Magics of the pcHeader less 0xfffffff0: 1.16, 1.18, 1.20 (src/internal/abi/symtab.go). */
static bool is_magic(uint32_t magic)
{
    return magic == 0xfffffffau || magic == 0xfffffff0u || magic == 0xfffffff1u;
}

/* Is there a header at HEAD[0] that the other words belong to? */
static bool is_module(const struct ms_image *image, const uint64_t head[HEAD_WORDS])
{
    uint64_t header[HEADER_WORDS];
    if (!ms_image_read(image, head[0], header, sizeof header) || !is_magic((uint32_t)header[0]) ||
        header[0] >> 32 !=
            0x08010000u) /* no padding, instructions of one byte, pointers of eight */
        return false;
    const unsigned first = (uint32_t)header[0] == 0xfffffffau ? 3 : 4;
    for (unsigned i = 0; i < TABLES; i++)
        if (head[1 + 3 * i] != head[0] + header[first + i])
            return false;
    return true;
}

/* The words that are compared first: a pointer, one a little farther, a length that is the
 * capacity. */
static bool may_be_module(const uint64_t *head)
{
    return head[0] && head[1] - head[0] - 1 < NEAR && head[2] && head[2] == head[3];
}

/* In one region that holds data of a file; STEP bytes at a time, and a head more. */
static uint64_t find_in_region(const struct ms_image *image, const struct ms_region *region,
                               uint64_t *words)
{
    for (uint64_t at = region->start; at < region->end; at += MS_PAGE) {
        uint64_t size = MS_PAGE + HEAD_WORDS * 8;
        size = size < region->end - at ? size : region->end - at;
        if (!ms_image_read(image, at, words, size)) {
            /* perhaps only what follows cannot be had */
            size = MS_PAGE;
            if (!ms_image_read(image, at, words, size))
                continue;
        }
        for (size_t i = 0; i + HEAD_WORDS <= size / 8; i++)
            if (may_be_module(words + i) && is_module(image, words + i))
                return at + 8 * i;
    }
    return 0;
}

uint64_t ms_go_find_module(const struct ms_image *image)
{
    ms_auto_free uint64_t *words = malloc(MS_PAGE + HEAD_WORDS * 8);
    uint64_t found = 0;
    for (unsigned own = 1; words && !found && own <= 1; own--)
        for (size_t i = 0; i < image->region_count && !found; i++) {
            const struct ms_region *region = &image->regions[i];
            bool is_own = image->exe && !strcmp(region->path, image->exe);
            if (region->kind == MS_REGION_FILE && region->prot & MS_WRITE && is_own == own)
                found = find_in_region(image, region, words);
        }
    return found;
}

/* --- what they say -----------------------------------------------------------------------------
 */

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
MS_GO_EXPORT_FIELDS(modules, module_fields)
#define MODULES_MOST 256u

static struct ms_error *bad_module(const struct ms_go *go, uint64_t address, const char *what)
{
    return ms_error(MS_TARGET, "%s: the module data of this %s program at 0x%llx %s",
                    go->image->origin, go->version, (unsigned long long)address, what);
}

static bool has(const struct ms_image *image, uint64_t address, uint32_t prot)
{
    const struct ms_region *region = ms_image_region(image, address);
    return region && (region->prot & prot) == prot;
}

/* A layout that is not this version's gives other addresses than these. */
static bool makes_sense(const struct ms_image *image, const struct ms_go_module *module)
{
    const struct ms_go_range *const ranges[] = {&module->text, &module->noptrdata, &module->data,
                                                &module->bss,  &module->noptrbss,  &module->types};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i]->start > ranges[i]->end ||
            (ranges[i]->start < ranges[i]->end && !has(image, ranges[i]->start, 0)))
            return false;
    return module->text.start < module->text.end && has(image, module->text.start, MS_EXEC) &&
           has(image, module->text.end - 1, MS_EXEC) && has(image, module->data.start, MS_WRITE) &&
           module->types.start < module->types.end;
}

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
            return bad_module(go, address, "cannot be read");
    ms_go_get(go, address, layout->rodata, &module->rodata);
    ms_go_get(go, address, layout->gofunc, &module->gofunc);
    uint64_t head[HEAD_WORDS];
    if (!ms_image_read(go->image, address, head, sizeof head) || !is_module(go->image, head) ||
        !makes_sense(go->image, module))
        return bad_module(go, address, "is not laid out as is known of that version");
    return NULL;
}

ms_result ms_go_read_modules(struct ms_go *go, uint64_t address)
{
    struct module_layout layout;
    MS_TRY(ms_go_bind(go, module_fields, sizeof module_fields / sizeof *module_fields, &layout));
    while (address && go->modules.count < MODULES_MOST)
        MS_TRY(read_module(go, &layout, address, &address));
    return NULL;
}
