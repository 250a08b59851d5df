/* The modules of an image and their symbols, each opened only when something in it is asked for. */
#include <elf.h>
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "debugfile.h"
#include "memscope/symbols.h"
#include "modules.h"
#include "rtti.h"
#include "symtab.h"

#define NO_MODULE UINT32_MAX
/* More program headers than any module has. */
#define HEADERS_MAX 128u
/* The vDSO has two pages today. Bytes. */
#define VDSO_MAX (1u << 20)
/* How many modules back a region may find its own: maps of one file are neighbours, nearly. */
#define LOOK_BACK 4u
/* Bytes of the notes that may hold a build-id. */
#define NOTES_MAX 4096u
/* What unpacking a table of symbols may take of our address space, at most. Bytes. */
#define UNPACK_MAX (2ull << 30)
/* A vptr points behind offset-to-top and typeinfo (Itanium C++ ABI, 2.5.2). */
#define VTABLE_HEAD 16u

/* What is known of a module so far. */
enum stage {
    MAPPED,  /* regions are, not more */
    PROBED,  /* its ELF headers in memory were read */
    LOADED,  /* its symbols too */
    REFUSED, /* it is no module: a file that is mapped as data */
};

struct module {
    const struct ms_region *first; /* the one that maps offset 0, where the ELF header is */
    const char *name;              /* base name of its path */
    enum stage stage;
    Elf64_Ehdr header;
    Elf64_Phdr *segments; /* owned; header.e_phnum of them */
    uint64_t bias;        /* address in the target less address in the ELF file */
    uint64_t start, end;  /* in the target, bss included */
    struct ms_debug_search search;
    Dwfl *dwfl; /* owns what the names in table point to */
    Dwfl_Module *file; /* dwfl's; NULL: none that belongs to what is mapped */
    struct ms_symtab table;
};

/* A vtable without a symbol, and whose it is. */
struct nameless {
    uint64_t address;
    char *class; /* owned */
};

struct ms_symbols {
    const struct ms_image *image;
    struct ms_debug_search search; /* what is common to all modules */
    char *sysroot, *debug_path;    /* owned */
    MS_VECTOR(struct module) modules;
    uint32_t *module_of; /* of each region, NO_MODULE for none; owned */
    void *nameless;      /* struct nameless by address, of tsearch(); owned */
};

/* --- which regions make a module -------------------------------------------------------------- */

static bool same_file(const struct ms_region *a, const struct ms_region *b)
{
    return a->inode == b->inode && a->major == b->major && a->minor == b->minor &&
           (a->path == b->path || !strcmp(a->path, b->path));
}

/* One of the last modules that maps the same file, else NO_MODULE. */
static uint32_t known_module(const struct ms_symbols *symbols, const struct ms_region *region)
{
    size_t count = symbols->modules.count;
    for (size_t i = count; i-- > 0 && count - i <= LOOK_BACK;)
        if (same_file(symbols->modules.items[i].first, region))
            return (uint32_t)i;
    return NO_MODULE;
}

/*
 * Does a map of offset 0 belong to the module below it? So it does in a file of
 * one page, where code and data are maps of the same page, and where old linkers
 * left a gap that ld.so made inaccessible.
 */
static bool continues(const struct ms_symbols *symbols, size_t region, uint32_t module)
{
    const struct ms_region *regions = symbols->image->regions;
    return region > 0 && symbols->module_of[region - 1] == module &&
           regions[region - 1].end == regions[region].start &&
           (regions[region - 1].offset == 0 || regions[region - 1].prot == 0);
}

static ms_result add_module(struct ms_symbols *symbols, const struct ms_region *region)
{
    struct module *module = ms_vector_add(&symbols->modules);
    if (!module)
        return ms_error_nomem("listing modules");
    const char *slash = strrchr(region->path, '/');
    module->first = region;
    module->name = slash ? slash + 1 : region->path;
    return NULL;
}

/* Finds the module of one region; those below it are done. */
static ms_result place_region(struct ms_symbols *symbols, size_t i)
{
    const struct ms_region *region = &symbols->image->regions[i];
    uint32_t *module = &symbols->module_of[i];
    bool anonymous = region->kind == MS_REGION_ANON || region->kind == MS_REGION_BRK;
    bool start = region->kind == MS_REGION_VDSO;
    *module = NO_MODULE;
    if (anonymous && i > 0 && region[-1].end == region->start) {
        *module = symbols->module_of[i - 1]; /* bss; probe() finds how much of it */
    } else if (region->kind == MS_REGION_FILE && region->path[0] == '/') {
        *module = known_module(symbols, region);
        start = region->offset == 0 && !(*module != NO_MODULE && continues(symbols, i, *module));
    }
    if (!start)
        return NULL;
    *module = (uint32_t)symbols->modules.count;
    return add_module(symbols, region);
}

static ms_result place_regions(struct ms_symbols *symbols)
{
    size_t count = symbols->image->region_count;
    symbols->module_of = calloc(count + 1, sizeof *symbols->module_of);
    if (!symbols->module_of)
        return ms_error_nomem("listing modules");
    for (size_t i = 0; i < count; i++)
        MS_TRY(place_region(symbols, i));
    return NULL;
}

static ms_result copy_options(struct ms_symbols *symbols, const struct ms_symbols_options *options)
{
    symbols->sysroot = options->sysroot ? strdup(options->sysroot) : NULL;
    symbols->debug_path = options->debug_path ? strdup(options->debug_path) : NULL;
    if ((options->sysroot && !symbols->sysroot) || (options->debug_path && !symbols->debug_path))
        return ms_error_nomem("listing modules");
    const struct ms_image *image = symbols->image;
    symbols->search = (struct ms_debug_search){.pid = image->kind == MS_CORE ? 0 : image->pid,
                                               .sysroot = symbols->sysroot,
                                               .path = symbols->debug_path,
                                               .debuginfod = options->debuginfod};
    return NULL;
}

ms_result ms_symbols_new(const struct ms_image *image, const struct ms_symbols_options *options,
                         struct ms_symbols **out)
{
    struct ms_symbols *symbols = calloc(1, sizeof *symbols);
    if (!symbols)
        return ms_error_nomem("listing modules");
    elf_version(EV_CURRENT);
    symbols->image = image;
    struct ms_error *error = copy_options(symbols, options);
    if (!error)
        error = place_regions(symbols);
    if (error)
        ms_symbols_free(symbols);
    else
        *out = symbols;
    return error;
}

static void free_nameless(void *vtable)
{
    free(((struct nameless *)vtable)->class);
    free(vtable);
}

void ms_symbols_free(struct ms_symbols *symbols)
{
    if (!symbols)
        return;
    tdestroy(symbols->nameless, free_nameless);
    for (size_t i = 0; i < symbols->modules.count; i++) {
        struct module *module = &symbols->modules.items[i];
        ms_symtab_free(&module->table);
        dwfl_end(module->dwfl);
        free(module->segments);
    }
    ms_vector_free(&symbols->modules);
    free(symbols->module_of);
    free(symbols->sysroot);
    free(symbols->debug_path);
    free(symbols);
}

/* --- what the ELF headers in memory say ------------------------------------------------------- */

static uint64_t page_down(uint64_t address)
{
    return address & ~(uint64_t)(MS_PAGE - 1);
}

static bool header_is_fine(const Elf64_Ehdr *header)
{
    return !memcmp(header->e_ident, ELFMAG, SELFMAG) &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_machine == EM_X86_64 &&
           (header->e_type == ET_EXEC || header->e_type == ET_DYN) &&
           header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phnum > 0 &&
           header->e_phnum <= HEADERS_MAX;
}

/*
 * Is a segment where the program headers say? Debuggers and the like map whole
 * ELF files as data, and those must not be taken for modules. Text may be a copy
 * in anonymous memory, which is how programs get huge pages for it.
 */
static bool is_in_place(const struct ms_image *image, const struct module *module,
                        const Elf64_Phdr *segment)
{
    uint64_t address = module->bias + page_down(segment->p_vaddr);
    const struct ms_region *region = ms_image_region(image, address);
    if (segment->p_filesz == 0 || module->first->kind == MS_REGION_VDSO)
        return true;
    if (region && region->kind == MS_REGION_ANON)
        return segment->p_flags & PF_X;
    return region && same_file(region, module->first) &&
           region->offset + (address - region->start) == page_down(segment->p_offset);
}

/* Finds bias and bounds by the program headers; false when they do not fit the regions. */
static bool find_bounds(const struct ms_image *image, struct module *module)
{
    bool found = false;
    for (unsigned i = 0; i < module->header.e_phnum && !found; i++) {
        const Elf64_Phdr *segment = &module->segments[i];
        found = segment->p_type == PT_LOAD && page_down(segment->p_offset) == 0;
        if (found)
            module->bias = module->first->start - (segment->p_vaddr - segment->p_offset);
    }
    if (!found || (module->header.e_type == ET_EXEC && module->bias != 0))
        return false;
    module->start = module->end = module->first->start;
    for (unsigned i = 0; i < module->header.e_phnum; i++) {
        const Elf64_Phdr *segment = &module->segments[i];
        if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
            continue;
        uint64_t start = module->bias + segment->p_vaddr, end = start + segment->p_memsz;
        if (end < start || start < module->start || !is_in_place(image, module, segment))
            return false;
        module->end = end > module->end ? end : module->end;
    }
    return true;
}

static bool probe(const struct ms_image *image, struct module *module)
{
    if (module->stage != MAPPED)
        return module->stage != REFUSED;
    const struct ms_region *first = module->first;
    size_t size = 0;
    module->stage = REFUSED;
    if (!ms_image_read(image, first->start, &module->header, sizeof module->header) ||
        !header_is_fine(&module->header))
        return false;
    size = module->header.e_phnum * sizeof *module->segments;
    module->segments = malloc(size);
    if (!module->segments || module->header.e_phoff > first->end - first->start ||
        !ms_image_read(image, first->start + module->header.e_phoff, module->segments, size) ||
        !find_bounds(image, module))
        return false;
    module->stage = PROBED;
    return true;
}

/* The module that ADDRESS is in, probed. */
static struct module *module_at(struct ms_symbols *symbols, uint64_t address)
{
    const struct ms_region *region = ms_image_region(symbols->image, address);
    uint32_t index = region ? symbols->module_of[region - symbols->image->regions] : NO_MODULE;
    if (index == NO_MODULE)
        return NULL;
    struct module *module = &symbols->modules.items[index];
    if (!probe(symbols->image, module) || address < module->start || address >= module->end)
        return NULL;
    return module;
}

/* --- symbols ---------------------------------------------------------------------------------- */

/* A file with the bytes of the vDSO, for libdwfl. */
static int copy_vdso(const struct ms_image *image, const struct ms_region *region)
{
    uint64_t size = region->end - region->start;
    ms_auto_free uint8_t *bytes = size <= VDSO_MAX ? malloc(size) : NULL;
    if (!bytes || !ms_image_read(image, region->start, bytes, size))
        return -1;
    int fd = memfd_create("vdso", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, bytes, size) == (ssize_t)size)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/*
 * Is FD the file that was mapped? What a core's path names may be another version
 * by now. A stripped file and the same one with its symbols must both pass.
 */
static bool is_mapped_file(const struct module *module, int fd)
{
    Elf64_Ehdr header;
    return pread(fd, &header, sizeof header, 0) == sizeof header && header_is_fine(&header) &&
           header.e_type == module->header.e_type && header.e_entry == module->header.e_entry &&
           header.e_phnum == module->header.e_phnum;
}

/* The build-id among SIZE bytes of notes at NOTES, or NULL. */
static const uint8_t *find_build_id(const uint8_t *notes, uint64_t size, uint32_t *id_size)
{
    uint64_t at = 0;
    Elf64_Nhdr note;
    while (at + sizeof note <= size) {
        memcpy(&note, notes + at, sizeof note);
        uint64_t name = at + sizeof note, id = name + ((uint64_t)note.n_namesz + 3) / 4 * 4;
        if (id > size || note.n_descsz > size - id)
            return NULL;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            !memcmp(notes + name, "GNU", 4)) {
            *id_size = note.n_descsz;
            return notes + id;
        }
        at = id + ((uint64_t)note.n_descsz + 3) / 4 * 4;
    }
    return NULL;
}

/* Do the build-ids of the image (where its bytes are kept, as in a core) and of the file differ? */
static bool is_other_build(const struct ms_image *image, const struct module *module,
                           Dwfl_Module *file)
{
    const unsigned char *id = NULL;
    GElf_Addr address;
    int size = dwfl_module_build_id(file, &id, &address);
    for (unsigned i = 0; size > 0 && i < module->header.e_phnum; i++) {
        const Elf64_Phdr *segment = &module->segments[i];
        uint32_t mapped_size;
        if (segment->p_type != PT_NOTE || segment->p_memsz > NOTES_MAX)
            continue;
        const uint8_t *notes =
            ms_image_bytes(image, module->bias + segment->p_vaddr, segment->p_memsz);
        const uint8_t *mapped = notes ? find_build_id(notes, segment->p_memsz, &mapped_size) : NULL;
        if (mapped)
            return mapped_size != (uint32_t)size || memcmp(mapped, id, mapped_size) != 0;
    }
    return false;
}

/* Has the file a compressed table of symbols (minidebuginfo)? */
static bool is_compressed(Dwfl_Module *file)
{
    GElf_Addr bias;
    GElf_Shdr header;
    size_t names;
    Elf_Scn *section = NULL;
    Elf *elf = dwfl_module_getelf(file, &bias);
    if (!elf || elf_getshdrstrndx(elf, &names) < 0)
        return false;
    while ((section = elf_nextscn(elf, section))) {
        const char *name =
            gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
        if (name && !strcmp(name, ".gnu_debugdata"))
            return true;
    }
    return false;
}

/* Bytes of our address space in use, by /proc/self/statm; 0 when it cannot be read. */
static uint64_t address_space(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm && fscanf(statm, "%lu", &pages) != 1)
        pages = 0;
    if (statm)
        fclose(statm);
    return (uint64_t)pages * MS_PAGE;
}

/*
 * 400 KiB of .gnu_debugdata can unpack to gigabytes, and libdwfl has no limit. So
 * it gets no more than half of what is free, by the one means that binds a library:
 * the limit of our address space. Beyond it there are no symbols, but no OOM kill either.
 */
static void read_compressed(struct module *module, Dwfl_Module *file)
{
    struct rlimit before, during;
    uint64_t used = address_space(), room = ms_memory_available() / 2;
    if (used == 0 || getrlimit(RLIMIT_AS, &before) < 0)
        return;
    during = before;
    room = room < UNPACK_MAX ? room : UNPACK_MAX;
    if (room < before.rlim_cur && used < before.rlim_cur - room)
        during.rlim_cur = used + room;
    if (setrlimit(RLIMIT_AS, &during) < 0)
        return;
    ms_error_free(ms_symtab_read(&module->table, file, module->start, module->end));
    setrlimit(RLIMIT_AS, &before);
}

/* Opens a module's file with libdwfl and reads its symbols. No file, no symbols: never an error. */
static void load(struct ms_symbols *symbols, struct module *module)
{
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_build_id_find_elf, /* not called: the file is given */
        .find_debuginfo = ms_debugfile_find,
        .section_address = dwfl_offline_section_address,
    };
    const struct ms_image *image = symbols->image;
    const struct ms_region *first = module->first;
    struct stat st;
    void **userdata;
    module->stage = LOADED;
    int fd = first->kind == MS_REGION_VDSO ? copy_vdso(image, first)
                                           : ms_image_open_file(image, first);
    if (fd < 0)
        return;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !is_mapped_file(module, fd) ||
        !(module->dwfl = dwfl_begin(&callbacks))) {
        close(fd);
        return;
    }
    dwfl_report_begin(module->dwfl);
    Dwfl_Module *file = dwfl_report_elf(module->dwfl, module->name, first->path, fd, module->bias,
                                        true);
    if (!file)
        close(fd); /* else it is libdwfl's */
    dwfl_report_end(module->dwfl, NULL, NULL);
    if (!file || is_other_build(image, module, file))
        return;
    module->search = symbols->search;
    module->search.file = first->path;
    module->search.device = st.st_dev;
    module->search.inode = st.st_ino;
    dwfl_module_info(file, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
    *userdata = &module->search;
    module->file = file;
    if (is_compressed(file))
        read_compressed(module, file);
    else
        ms_error_free(ms_symtab_read(&module->table, file, module->start, module->end));
}

static struct ms_symbol *symbol_at(struct ms_symbols *symbols, uint64_t address)
{
    struct module *module = module_at(symbols, address);
    if (!module)
        return NULL;
    if (module->stage == PROBED)
        load(symbols, module);
    return ms_symtab_at(&module->table, address);
}

const char *ms_symbols_module(struct ms_symbols *symbols, uint64_t address)
{
    const struct module *module = module_at(symbols, address);
    return module ? module->name : NULL;
}

const char *ms_symbols_name(struct ms_symbols *symbols, uint64_t address, uint64_t *offset)
{
    struct ms_symbol *symbol = symbol_at(symbols, address);
    if (!symbol)
        return NULL;
    if (offset)
        *offset = address - symbol->address;
    return ms_symbol_shown(symbol);
}

uint64_t ms_symbols_address(struct ms_symbols *symbols, const char *name, uint64_t *size)
{
    for (size_t i = 0; i < symbols->modules.count; i++) {
        struct module *module = &symbols->modules.items[i];
        if (!probe(symbols->image, module))
            continue;
        if (module->stage == PROBED)
            load(symbols, module);
        const struct ms_symbol *symbol = ms_symtab_named(&module->table, name);
        if (!symbol)
            continue;
        if (size)
            *size = symbol->size;
        return symbol->address;
    }
    return 0;
}

unsigned ms_symbols_count(struct ms_symbols *symbols, uint64_t address, const char *name)
{
    struct module *module = module_at(symbols, address);
    if (!module)
        return 0;
    if (module->stage == PROBED)
        load(symbols, module);
    return ms_symtab_count(&module->table, name);
}

static int nameless_by_address(const void *a, const void *b)
{
    const struct nameless *left = a, *right = b;
    return left->address < right->address ? -1 : left->address > right->address;
}

/* The class of a vtable that has no symbol. */
static const char *nameless_class(struct ms_symbols *symbols, uint64_t address)
{
    const struct nameless key = {.address = address};
    struct nameless **known = tfind(&key, &symbols->nameless, nameless_by_address);
    if (known)
        return (*known)->class;
    struct nameless *vtable = malloc(sizeof *vtable);
    char *class = ms_rtti_class(symbols->image, address);
    if (class && vtable) {
        *vtable = (struct nameless){address, class};
        if (tsearch(vtable, &symbols->nameless, nameless_by_address))
            return class;
    }
    free(class);
    free(vtable);
    return NULL;
}

const char *ms_symbols_vtable_class(struct ms_symbols *symbols, uint64_t address)
{
    static const char prefix[] = "vtable for ";
    struct ms_symbol *symbol = symbol_at(symbols, address);
    /* A label reaches as far as nothing else does, over what has lost its symbol too. */
    if (!symbol || !symbol->size)
        return module_at(symbols, address) ? nameless_class(symbols, address) : NULL;
    if (strncmp(symbol->name, "_ZTV", 4) != 0 || address - symbol->address < VTABLE_HEAD)
        return NULL;
    const char *shown = ms_symbol_shown(symbol);
    return strncmp(shown, prefix, sizeof prefix - 1) ? shown : shown + sizeof prefix - 1;
}

/* --- for the debug information ---------------------------------------------------------------- */

size_t ms_modules_count(const struct ms_symbols *symbols)
{
    return symbols->modules.count;
}

size_t ms_modules_at(struct ms_symbols *symbols, uint64_t address)
{
    const struct module *module = module_at(symbols, address);
    return module ? (size_t)(module - symbols->modules.items) : MS_MODULES_NONE;
}

/* What is known of a module without its file. */
static void tell(struct module *module, struct ms_module *out)
{
    *out = (struct ms_module){.name = module->name,
                              .path = module->first->path,
                              .file = module->file,
                              .search = &module->search,
                              .table = &module->table,
                              .segments = module->segments,
                              .segment_count = module->header.e_phnum,
                              .bias = module->bias,
                              .start = module->start,
                              .end = module->end};
}

bool ms_modules_probe(struct ms_symbols *symbols, size_t index, struct ms_module *out)
{
    struct module *module = &symbols->modules.items[index];
    if (!probe(symbols->image, module))
        return false;
    tell(module, out);
    return true;
}

bool ms_modules_open(struct ms_symbols *symbols, size_t index, struct ms_module *out)
{
    struct module *module = &symbols->modules.items[index];
    if (!probe(symbols->image, module))
        return false;
    if (module->stage == PROBED)
        load(symbols, module);
    tell(module, out);
    return true;
}
