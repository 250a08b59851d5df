/* Thread-local storage of glibc: static blocks below the thread pointer, others by the thread's dtv. */
#include "tls.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "modules.h"

/* More modules with TLS, and lists of them, than any process has. */
#define MODULES_MAX 4096u
#define LISTS_MAX   256u
/* More than the TLS of any module and thread. Bytes. */
#define BLOCK_MAX (1ull << 32)

/* tcbhead_t (glibc 2.36, sysdeps/x86_64/nptl/tls.h): the first three words. */
#define TCB_SELF 0u
#define TCB_DTV  8u
#define TCB_SELF_TOO 16u
/* dtv_t (sysdeps/generic/dl-dtv.h): the generation in entry 0, the number of entries in that before it. */
#define DTV_ENTRY 16u
/* struct dtv_slotinfo_list (sysdeps/generic/ldsodefs.h): len, next, then pairs of generation and link map. */
#define LIST_HEAD 16u
#define LIST_ENTRY 16u
/* link_map::l_tls_offset, not static yet, or never: NO_TLS_OFFSET, FORCED_DYNAMIC_TLS_OFFSET (include/link.h). */
#define OFFSET_NONE   0u
#define OFFSET_FORCED UINT64_MAX

/* A module that has thread-local variables. */
struct tls_module {
    size_t index;
    const Elf64_Phdr *segment;
    uint64_t id;         /* in dtv; 0: not known */
    uint64_t generation; /* of the dtv that has it first */
    uint64_t offset;     /* of static blocks: bytes below the thread pointer; else OFFSET_NONE or _FORCED */
};

struct finder {
    struct ms_symbols *symbols;
    const struct ms_image *image;
    struct ms_tls *tls;
    MS_VECTOR(struct tls_module) modules;
};

/* --- modules ----------------------------------------------------------------------------------- */

static const Elf64_Phdr *tls_segment(const struct ms_module *module)
{
    for (size_t i = 0; i < module->segment_count; i++)
        if (module->segments[i].p_type == PT_TLS && module->segments[i].p_memsz > 0 &&
            module->segments[i].p_memsz < BLOCK_MAX && module->segments[i].p_align <= MS_PAGE)
            return &module->segments[i];
    return NULL;
}

static bool add_module(struct finder *f, const struct tls_module *module)
{
    for (size_t i = 0; i < f->modules.count; i++)
        if (f->modules.items[i].index == module->index) {
            f->modules.items[i] = *module; /* the executable is in the list of libc too */
            return true;
        }
    struct tls_module *added = f->modules.count < MODULES_MAX ? ms_vector_add(&f->modules) : NULL;
    if (added)
        *added = *module;
    return added != NULL;
}

/*
 * The executable's block ends at the thread pointer, but for its alignment: its code relies
 * on that, with any libc (ELF Handling For Thread-Local Storage, 3.4.6, variant II).
 */
static void add_executable(struct finder *f)
{
    struct ms_module module;
    size_t index = ms_modules_at(f->symbols, ms_image_auxv(f->image, AT_ENTRY));
    if (index == MS_MODULES_NONE || !ms_modules_probe(f->symbols, index, &module))
        return;
    const Elf64_Phdr *segment = tls_segment(&module);
    if (!segment)
        return;
    uint64_t align = segment->p_align ? segment->p_align : 1, first = -segment->p_vaddr & (align - 1);
    uint64_t offset = (segment->p_memsz - first + align - 1) / align * align + first;
    add_module(f, &(struct tls_module){.index = index, .segment = segment, .offset = offset});
}

/* --- what libc says of itself ------------------------------------------------------------------ */

/* Offsets that libthread_db goes by (nptl_db/structs.def); in stripped files too. */
struct layout {
    uint64_t slots; /* address of the pointer to the list of slots, in ld.so's _rtld_global */
    uint64_t id, offset; /* in a link map */
};

/* A module whose name begins with one of those, or MS_MODULES_NONE. */
static size_t module_named(struct finder *f, const char *const prefixes[], struct ms_module *module)
{
    for (size_t i = 0; i < ms_modules_count(f->symbols); i++) {
        if (!ms_modules_probe(f->symbols, i, module))
            continue;
        for (const char *const *prefix = prefixes; *prefix; prefix++)
            if (strncmp(module->name, *prefix, strlen(*prefix)) == 0 &&
                ms_modules_open(f->symbols, i, module))
                return i;
    }
    return MS_MODULES_NONE;
}

/* A descriptor: bits, count, offset, 32 bits each. Only words are of use. */
static bool field_offset(struct finder *f, struct ms_module *libc, const char *name, uint64_t *offset)
{
    uint32_t descriptor[3];
    const struct ms_symbol *symbol = ms_symtab_named(libc->table, name);
    if (!symbol || !ms_image_read(f->image, symbol->address, descriptor, sizeof descriptor) ||
        descriptor[0] != 64)
        return false;
    *offset = descriptor[2];
    return true;
}

static bool find_layout(struct finder *f, struct layout *layout)
{
    static const char *const libc_names[] = {"libc.so", "libc-2.", "libpthread", NULL};
    static const char *const ld_names[] = {"ld-linux", "ld-2.", "ld.so", NULL};
    struct ms_module libc, ld;
    if (module_named(f, libc_names, &libc) == MS_MODULES_NONE ||
        module_named(f, ld_names, &ld) == MS_MODULES_NONE)
        return false;
    const struct ms_symbol *global = ms_symtab_named(ld.table, "_rtld_global");
    uint64_t slots;
    if (!global || !field_offset(f, &libc, "_thread_db_rtld_global__dl_tls_dtv_slotinfo_list", &slots) ||
        !field_offset(f, &libc, "_thread_db_link_map_l_tls_modid", &layout->id) ||
        !field_offset(f, &libc, "_thread_db_link_map_l_tls_offset", &layout->offset))
        return false;
    layout->slots = global->address + slots;
    return true;
}

/* The module of a link map, by its dynamic section: load addresses may be those of nothing. */
static bool add_mapped(struct finder *f, const struct layout *layout, uint64_t id, uint64_t generation,
                       uint64_t map)
{
    struct ms_module module;
    uint64_t bias, dynamic, known_id;
    struct tls_module found = {.id = id, .generation = generation};
    /* struct link_map (link.h): l_addr, l_name, l_ld are for all to read. */
    if (!ms_image_read_word(f->image, map, &bias) || !ms_image_read_word(f->image, map + 16, &dynamic) ||
        !ms_image_read_word(f->image, map + layout->id, &known_id) || known_id != id ||
        !ms_image_read_word(f->image, map + layout->offset, &found.offset))
        return true;
    found.index = ms_modules_at(f->symbols, dynamic);
    if (found.index == MS_MODULES_NONE || !ms_modules_probe(f->symbols, found.index, &module) ||
        module.bias != bias || !(found.segment = tls_segment(&module)))
        return true;
    return add_module(f, &found);
}

static void add_libraries(struct finder *f)
{
    struct layout layout;
    uint64_t list, length, next, id = 0, slot[2];
    if (!find_layout(f, &layout) || !ms_image_read_word(f->image, layout.slots, &list))
        return;
    for (unsigned lists = 0; list && lists < LISTS_MAX; lists++, list = next) {
        if (!ms_image_read_word(f->image, list, &length) || !ms_image_read_word(f->image, list + 8, &next))
            return;
        for (uint64_t i = 0; i < length && id < MODULES_MAX; i++, id++)
            if (!ms_image_read(f->image, list + LIST_HEAD + i * LIST_ENTRY, slot, sizeof slot) ||
                (slot[1] && !add_mapped(f, &layout, id, slot[0], slot[1])))
                return;
    }
}

/* --- threads ----------------------------------------------------------------------------------- */

/* Where the dtv at DTV says that MODULE's block is, 0: nowhere yet. */
static uint64_t block_by_dtv(const struct finder *f, uint64_t dtv, const struct tls_module *module)
{
    uint64_t generation, entries, block;
    if (!ms_image_read_word(f->image, dtv, &generation) || generation < module->generation ||
        !ms_image_read_word(f->image, dtv - DTV_ENTRY, &entries) || module->id > entries ||
        !ms_image_read_word(f->image, dtv + module->id * DTV_ENTRY, &block))
        return 0;
    return block == UINT64_MAX ? 0 : block; /* TLS_DTV_UNALLOCATED */
}

static bool add_block(struct finder *f, const struct ms_thread *thread, const struct tls_module *module,
                      uint64_t start)
{
    const Elf64_Phdr *segment = module->segment;
    uint64_t align = segment->p_align ? segment->p_align : 1, end = start + segment->p_memsz;
    const struct ms_region *region = ms_image_region(f->image, start);
    /* Dynamic blocks of old versions of glibc begin at the alignment, wherever the segment does. */
    if (!region || end < start || end > region->end ||
        (start % align != 0 && start % align != segment->p_vaddr % align))
        return true;
    struct ms_tls_block *block = ms_vector_add(&f->tls->blocks);
    if (block)
        *block = (struct ms_tls_block){start, end, thread->tid, module->index};
    return block != NULL;
}

static bool add_thread(struct finder *f, const struct ms_thread *thread)
{
    uint64_t pointer = thread->registers[MS_REG_FS_BASE], self, self_too, dtv;
    if (!thread->registers_known || !ms_image_read_word(f->image, pointer + TCB_SELF, &self) || self != pointer ||
        !ms_image_read_word(f->image, pointer + TCB_SELF_TOO, &self_too) || self_too != pointer ||
        !ms_image_read_word(f->image, pointer + TCB_DTV, &dtv))
        return true;
    for (size_t i = 0; i < f->modules.count; i++) {
        const struct tls_module *module = &f->modules.items[i];
        uint64_t start = 0;
        if (module->offset != OFFSET_NONE && module->offset != OFFSET_FORCED)
            start = pointer - module->offset;
        else if (module->id)
            start = block_by_dtv(f, dtv, module);
        if (start && !add_block(f, thread, module, start))
            return false;
    }
    return true;
}

static int compare_blocks(const void *a, const void *b)
{
    uint64_t left = ((const struct ms_tls_block *)a)->start, right = ((const struct ms_tls_block *)b)->start;
    return left < right ? -1 : left > right;
}

/* Blocks that overlap cannot both be right: the later one goes. */
static void drop_overlaps(struct ms_tls *tls)
{
    size_t kept = 0;
    for (size_t i = 0; i < tls->blocks.count; i++)
        if (kept == 0 || tls->blocks.items[i].start >= tls->blocks.items[kept - 1].end)
            tls->blocks.items[kept++] = tls->blocks.items[i];
    tls->blocks.count = kept;
}

ms_result ms_tls_read(struct ms_symbols *symbols, const struct ms_image *image, struct ms_tls *tls)
{
    struct finder f = {.symbols = symbols, .image = image, .tls = tls};
    *tls = (struct ms_tls){0};
    add_executable(&f);
    add_libraries(&f);
    bool fine = true;
    for (size_t i = 0; fine && i < image->thread_count; i++)
        fine = add_thread(&f, &image->threads[i]);
    ms_vector_free(&f.modules);
    if (!fine)
        return ms_error_nomem("thread-local storage");
    ms_vector_sort(&tls->blocks, compare_blocks);
    drop_overlaps(tls);
    return NULL;
}

const struct ms_tls_block *ms_tls_at(const struct ms_tls *tls, uint64_t address)
{
    size_t low = 0, high = tls->blocks.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tls->blocks.items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < tls->blocks.count && tls->blocks.items[low].start <= address ? &tls->blocks.items[low] : NULL;
}
