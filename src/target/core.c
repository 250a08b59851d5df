/* ELF cores as images: what the kernel, gcore or another debugger saved of a process. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target.h"

/* The kernel places brk at most this far above the program: arch/x86/kernel/process.c,
 * arch_randomize_brk(), 1 GiB since Linux 6.9 (32 MiB before). */
#define BRK_DISTANCE_MAX (1ull << 30)
/* The fixed page of include/uapi/asm/vsyscall.h. */
#define VSYSCALL_ADDRESS 0xffffffffff600000ull
/* Of the program headers of an executable that are looked at. */
#define EXE_HEADERS_MAX 64u

_Static_assert(sizeof(elf_gregset_t) == MS_REGISTERS * sizeof(uint64_t),
               "pr_reg has the layout of struct user_regs_struct");

/* A PT_LOAD. Sorted by address and free of overlaps once tidy_loads() is done. */
struct load {
    uint64_t start, end; /* page-aligned, half-open */
    uint64_t offset;     /* in the core; gdb's gcore does not align it */
    uint64_t filled;     /* bytes from START on that the core holds, in whole pages */
    uint32_t prot;
};

/* An entry of NT_FILE: fs/binfmt_elf.c, fill_files_note(). */
struct mapping {
    uint64_t start, end, offset;
    const char *path; /* owned by the image */
    bool deleted;
};

struct core {
    const char *name; /* as the user gave it */
    int fd;
    const uint8_t *bytes;
    uint64_t size;
    Elf *elf;
    struct ms_image *image;
    MS_VECTOR(struct load) loads;
    MS_VECTOR(struct mapping) mappings;
    MS_VECTOR(struct ms_thread) threads; /* handed to the image as they come, like the regions */
    MS_VECTOR(struct ms_region) regions;
    char command[sizeof((struct elf_prpsinfo *)0)->pr_fname + 1];
    uint64_t data_start, data_end; /* last extent of the core file known to be no hole */
    uint64_t wanted, missing;      /* bytes of memory that the headers promise, and that lack */
    uint64_t note_bytes;           /* looked at so far */
    uint64_t odd_headers;          /* segments and notes that make no sense */
};

static uint64_t page_down(uint64_t address)
{
    return address & ~(uint64_t)(MS_PAGE - 1);
}

static bool page_aligned(uint64_t address)
{
    return address % MS_PAGE == 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Says what a file that is no ELF file is, as far as the way on depends on it. */
static ms_result no_elf(const struct core *core)
{
    static const struct {
        const char magic[5];
        const char *tool;
    } packed[] = {
        {"\x28\xb5\x2f\xfd", "zstd -d"}, /* systemd-coredump */
        {"\x04\x22\x4d\x18", "lz4 -d"},
        {"\xfd\x37zX", "xz -d"},
        {"\x1f\x8b\x08", "gzip -d"},
    };
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
        if (core->size >= 4 && !memcmp(core->bytes, packed[i].magic, strlen(packed[i].magic)))
            return ms_error(MS_TARGET, "%s is compressed: decompress it first (%s)", core->name,
                            packed[i].tool);
    return ms_error(MS_TARGET, "%s is not an ELF core", core->name);
}

/* Maps the file; it belongs to the image from then on. */
static ms_result map_core(struct core *core)
{
    struct stat st;
    /* O_NONBLOCK: opening a FIFO must not hang. */
    core->fd = open(core->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (core->fd < 0 || fstat(core->fd, &st) < 0)
        return ms_error_errno(MS_TARGET, errno, "cannot open core %s", core->name);
    if (!S_ISREG(st.st_mode))
        return ms_error(MS_TARGET, "%s is not a regular file, so not a core", core->name);
    if (st.st_size == 0)
        return ms_error(MS_TARGET, "%s is empty, so not a core", core->name);
    core->size = (uint64_t)st.st_size;
    void *bytes = mmap(NULL, core->size, PROT_READ, MAP_PRIVATE, core->fd, 0);
    if (bytes == MAP_FAILED)
        return ms_error_errno(MS_TARGET, errno, "cannot map core %s", core->name);
    core->bytes = bytes;
    core->image->source->core = core->bytes;
    core->image->source->core_size = core->size;
    return NULL;
}

/* Opens the file with libelf and refuses everything but a core of an x86-64 process. */
static ms_result check_header(struct core *core, GElf_Ehdr *header)
{
    elf_version(EV_CURRENT);
    /* libelf takes char *, but does not write to memory it is given for reading. */
    core->elf = elf_memory((char *)(uintptr_t)core->bytes, core->size);
    if (!core->elf || elf_kind(core->elf) != ELF_K_ELF || !gelf_getehdr(core->elf, header))
        return no_elf(core);
    if (header->e_type != ET_CORE)
        return ms_error(MS_TARGET, "%s is an ELF file but not a core (gcore PID makes one)",
                        core->name);
    if (header->e_machine == EM_386 || gelf_getclass(core->elf) == ELFCLASS32)
        return ms_error(MS_TARGET, "%s is the core of a 32-bit process: not supported", core->name);
    if (header->e_machine != EM_X86_64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
        return ms_error(MS_TARGET, "%s is a core of another machine (ELF machine %u), not x86-64",
                        core->name, header->e_machine);
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phoff >= core->size)
        return ms_error(MS_TARGET, "%s has corrupt ELF headers", core->name);
    return NULL;
}

static Elf64_Phdr program_header(const struct core *core, const GElf_Ehdr *header, size_t i)
{
    Elf64_Phdr segment;
    memcpy(&segment, core->bytes + header->e_phoff + i * sizeof segment, sizeof segment);
    return segment;
}

/*
 * How many program headers are there, and in the file? More than PN_XNUM - 1
 * of them are counted in a section header, which the kernel puts at the very end,
 * so a truncated core has lost it. The notes follow the program headers at once.
 */
static size_t count_headers(struct core *core, const GElf_Ehdr *header)
{
    size_t room = (core->size - header->e_phoff) / sizeof(Elf64_Phdr);
    size_t count = header->e_phnum;
    /* Without that section header elf_getphdrnum() leaves PN_XNUM as it is. */
    if (count == PN_XNUM && (elf_getphdrnum(core->elf, &count) != 0 || count == PN_XNUM)) {
        Elf64_Phdr first = {0};
        if (room > 0)
            first = program_header(core, header, 0);
        if (first.p_type == PT_NOTE && first.p_offset > header->e_phoff)
            count = (first.p_offset - header->e_phoff) / sizeof first;
    }
    if (count > room) {
        core->odd_headers += count - room;
        count = room;
    }
    return count;
}

/* Takes a PT_LOAD down, cut to what the file holds. */
static ms_result add_load(struct core *core, const Elf64_Phdr *segment)
{
    uint64_t end;
    if (segment->p_memsz == 0)
        return NULL;
    if (!page_aligned(segment->p_vaddr) ||
        __builtin_add_overflow(segment->p_vaddr, segment->p_memsz, &end) ||
        __builtin_add_overflow(end, MS_PAGE - 1, &end)) {
        core->odd_headers++;
        return NULL;
    }
    uint64_t promised = min_u64(segment->p_filesz, segment->p_memsz);
    uint64_t there = segment->p_offset < core->size ? core->size - segment->p_offset : 0;
    struct load *load = ms_vector_add(&core->loads);
    if (!load)
        return ms_error_nomem("reading the segments of a core");
    load->start = segment->p_vaddr;
    load->end = page_down(end);
    load->offset = segment->p_offset;
    load->filled = page_down(min_u64(promised, there));
    load->prot = (segment->p_flags & PF_R ? MS_READ : 0) |
                 (segment->p_flags & PF_W ? MS_WRITE : 0) |
                 (segment->p_flags & PF_X ? MS_EXEC : 0);
    if (load->start != VSYSCALL_ADDRESS) { /* never read, and gdb cannot save it */
        core->wanted += promised;
        core->missing += promised - load->filled;
    }
    return NULL;
}

static int by_load_start(const void *a, const void *b)
{
    const struct load *left = a, *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

static int by_mapping_start(const void *a, const void *b)
{
    const struct mapping *left = a, *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

/* Sorts the loads and cuts off what overlaps an earlier one. */
static void tidy_loads(struct core *core)
{
    size_t kept = 0;
    uint64_t end = 0;
    if (core->loads.count > 1)
        ms_vector_sort(&core->loads, by_load_start);
    for (size_t i = 0; i < core->loads.count; i++) {
        struct load load = core->loads.items[i];
        if (load.start < end) {
            uint64_t cut = min_u64(end, load.end) - load.start;
            core->odd_headers++;
            load.start += cut;
            load.offset += cut; /* not used when nothing is filled, so wrapping is harmless */
            load.filled -= min_u64(cut, load.filled);
        }
        if (load.start >= load.end)
            continue;
        end = load.end;
        core->loads.items[kept++] = load;
    }
    core->loads.count = kept;
}

/* The same for NT_FILE, where it is the name that is lost. */
static void tidy_mappings(struct core *core)
{
    size_t kept = 0;
    uint64_t end = 0;
    if (core->mappings.count > 1)
        ms_vector_sort(&core->mappings, by_mapping_start);
    for (size_t i = 0; i < core->mappings.count; i++) {
        if (core->mappings.items[i].start < end) {
            core->odd_headers++;
            continue;
        }
        end = core->mappings.items[i].end;
        core->mappings.items[kept++] = core->mappings.items[i];
    }
    core->mappings.count = kept;
}

/* NT_PRSTATUS: struct elf_prstatus of sys/procfs.h. Opens a thread; notes that follow are its. */
static ms_result note_thread(struct core *core, const uint8_t *bytes, size_t size)
{
    struct elf_prstatus status;
    if (size < sizeof status) {
        core->odd_headers++;
        return NULL;
    }
    memcpy(&status, bytes, sizeof status);
    struct ms_thread *thread = ms_vector_add(&core->threads);
    if (!thread)
        return ms_error_nomem("reading the threads of a core");
    core->image->threads = core->threads.items;
    core->image->thread_count = core->threads.count;
    thread->tid = status.pr_pid;
    thread->state = '?'; /* PRSTATUS does not say */
    thread->registers_known = true;
    memcpy(thread->registers, status.pr_reg, sizeof thread->registers);
    return NULL;
}

/* NT_FPREGSET and NT_X86_XSTATE: the latter holds the former and more. */
static ms_result note_vectors(struct core *core, bool extended, const uint8_t *bytes, size_t size)
{
    if (core->threads.count == 0 || size == 0) {
        core->odd_headers++;
        return NULL;
    }
    struct ms_thread *thread = &core->threads.items[core->threads.count - 1];
    if (thread->xstate && !extended)
        return NULL;
    thread->xstate = bytes; /* the core stays mapped as long as the image lives */
    thread->xstate_size = size;
    return NULL;
}

static ms_result note_auxv(struct core *core, const uint8_t *bytes, size_t size)
{
    size_t pairs = 0;
    uint64_t pair[2];
    for (; (pairs + 1) * sizeof pair <= size; pairs++) {
        memcpy(pair, bytes + pairs * sizeof pair, sizeof pair);
        if (pair[0] == AT_NULL)
            break;
    }
    if (pairs == 0 || core->image->auxv)
        return NULL;
    core->image->auxv = malloc(pairs * sizeof pair);
    if (!core->image->auxv)
        return ms_error_nomem("reading the auxiliary vector of a core");
    memcpy(core->image->auxv, bytes, pairs * sizeof pair);
    core->image->auxv_count = pairs;
    return NULL;
}

/* NT_PRPSINFO: the kernel and gdb write the process id, not a thread's. */
static void note_process(struct core *core, const uint8_t *bytes, size_t size)
{
    struct elf_prpsinfo info;
    if (size < sizeof info) {
        core->odd_headers++;
        return;
    }
    memcpy(&info, bytes, sizeof info);
    core->image->pid = info.pr_pid;
    memcpy(core->command, info.pr_fname, sizeof info.pr_fname);
}

static ms_result add_mapping(struct core *core, const uint64_t entry[3], uint64_t page_size,
                             const char *name)
{
    static const char suffix[] = " (deleted)"; /* fs/d_path.c */
    struct mapping *last = core->mappings.count ? &core->mappings.items[core->mappings.count - 1]
                                                : NULL;
    uint64_t offset;
    if (!page_aligned(entry[0]) || !page_aligned(entry[1]) || entry[0] >= entry[1] ||
        __builtin_mul_overflow(entry[2], page_size, &offset)) {
        core->odd_headers++;
        return NULL;
    }
    size_t length = strlen(name), tail = sizeof suffix - 1;
    bool deleted = length > tail && !memcmp(name + length - tail, suffix, tail);
    if (deleted)
        length -= tail;
    const char *path = NULL;
    if (last && last->deleted == deleted && !strncmp(last->path, name, length) &&
        !last->path[length])
        path = last->path;
    if (!path) {
        ms_auto_free char *copy = strndup(name, length);
        path = copy ? ms_image_string(core->image, copy) : NULL;
    }
    struct mapping *mapping = path ? ms_vector_add(&core->mappings) : NULL;
    if (!mapping)
        return ms_error_nomem("reading the file names of a core");
    *mapping = (struct mapping){entry[0], entry[1], offset, path, deleted};
    return NULL;
}

/*
 * NT_FILE (fs/binfmt_elf.c, fill_files_note()): count, page size, COUNT triples of
 * start, end and offset in pages, then COUNT names. gdb writes a page size of 1.
 */
static ms_result note_files(struct core *core, const uint8_t *bytes, size_t size)
{
    uint64_t head[2], entry[3];
    if (size < sizeof head) {
        core->odd_headers++;
        return NULL;
    }
    memcpy(head, bytes, sizeof head);
    if (head[0] > (size - sizeof head) / sizeof entry) {
        core->odd_headers++;
        return NULL;
    }
    const char *name = (const char *)bytes + sizeof head + head[0] * sizeof entry;
    const char *end = (const char *)bytes + size;
    for (uint64_t i = 0; i < head[0]; i++) {
        const char *nul = name < end ? memchr(name, 0, (size_t)(end - name)) : NULL;
        if (!nul) {
            core->odd_headers++;
            break;
        }
        memcpy(entry, bytes + sizeof head + i * sizeof entry, sizeof entry);
        MS_TRY(add_mapping(core, entry, head[1], name));
        name = nul + 1;
    }
    return NULL;
}

static ms_result read_note(struct core *core, const char *owner, uint32_t type,
                           const uint8_t *bytes, size_t size)
{
    if (!strcmp(owner, "LINUX"))
        return type == NT_X86_XSTATE ? note_vectors(core, true, bytes, size) : NULL;
    if (strcmp(owner, "CORE") != 0)
        return NULL;
    switch (type) {
    case NT_PRSTATUS:
        return note_thread(core, bytes, size);
    case NT_FPREGSET:
        return note_vectors(core, false, bytes, size);
    case NT_AUXV:
        return note_auxv(core, bytes, size);
    case NT_FILE:
        return note_files(core, bytes, size);
    case NT_PRPSINFO:
        note_process(core, bytes, size);
        return NULL;
    default:
        return NULL;
    }
}

static ms_result read_notes(struct core *core, const Elf64_Phdr *segment)
{
    if (segment->p_filesz == 0)
        return NULL;
    uint64_t there = segment->p_offset < core->size ? core->size - segment->p_offset : 0;
    if (there < segment->p_filesz)
        core->odd_headers++;
    uint64_t size = min_u64(segment->p_filesz, there);
    if (size > core->size - core->note_bytes) { /* note segments that overlap: time without bound */
        core->odd_headers++;
        return NULL;
    }
    core->note_bytes += size;
    Elf_Data *data = size ? elf_getdata_rawchunk(core->elf, (int64_t)segment->p_offset, size,
                                                 segment->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR)
                          : NULL;
    if (!data)
        return NULL;
    GElf_Nhdr note;
    size_t at = 0, name_at, bytes_at;
    /* gelf_getnote() checks both sizes against the segment and always goes forward. */
    while ((at = gelf_getnote(data, at, &note, &name_at, &bytes_at)) > 0) {
        char owner[8] = "";
        if (note.n_namesz < sizeof owner)
            memcpy(owner, (const char *)data->d_buf + name_at, note.n_namesz);
        MS_TRY(read_note(core, owner, note.n_type, (const uint8_t *)data->d_buf + bytes_at,
                         note.n_descsz));
    }
    return NULL;
}

static ms_result read_headers(struct core *core)
{
    GElf_Ehdr header = {0};
    MS_TRY(check_header(core, &header));
    size_t count = count_headers(core, &header);
    for (size_t i = 0; i < count; i++) {
        Elf64_Phdr segment = program_header(core, &header, i);
        if (segment.p_type == PT_LOAD)
            MS_TRY(add_load(core, &segment));
        else if (segment.p_type == PT_NOTE)
            MS_TRY(read_notes(core, &segment));
    }
    if (core->loads.count == 0)
        return ms_error(MS_TARGET, "%s is a core without memory: its headers are corrupt or it was "
                        "cut short", core->name);
    tidy_loads(core);
    tidy_mappings(core);
    return NULL;
}

/* Offset of the first byte at or behind OFFSET that is in no hole: kernels write sparse cores. */
static uint64_t next_data(struct core *core, uint64_t offset)
{
    if (offset >= core->data_start && offset < core->data_end)
        return offset;
    off_t data = lseek(core->fd, (off_t)offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return core->size;
    off_t hole = data < 0 ? -1 : lseek(core->fd, data, SEEK_HOLE);
    if (hole <= data) { /* the file system cannot tell */
        core->data_start = 0;
        core->data_end = core->size;
        return offset;
    }
    core->data_start = (uint64_t)data;
    core->data_end = (uint64_t)hole;
    return (uint64_t)data;
}

static bool zero_page(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, MS_PAGE - 1) == 0;
}

struct run_list {
    MS_VECTOR(struct ms_run) list;
};

/* Adds SIZE bytes at ADDRESS, to the last run when they follow it. */
static bool extend_runs(struct run_list *runs, uint64_t address, const uint8_t *bytes,
                        uint64_t size, bool file)
{
    struct ms_run *last = runs->list.count ? &runs->list.items[runs->list.count - 1] : NULL;
    if (last && last->end == address) {
        last->end += size;
        return true;
    }
    struct ms_run *run = ms_vector_add(&runs->list);
    if (run)
        *run = (struct ms_run){.start = address, .end = address + size, .bytes = bytes,
                               .file = file};
    return run != NULL;
}

/*
 * Fills the runs of a region from the load it is in. A page of zeros of anonymous
 * memory counts as never touched, which reads the same and costs nothing later;
 * in a file's map it differs from what the file has, so there all pages stay.
 */
static ms_result fill_runs(struct core *core, struct ms_region *region, const struct load *load)
{
    struct run_list runs = {0};
    uint64_t skip = region->start - load->start;
    uint64_t size = load->filled > skip ? min_u64(load->filled - skip, region->end - region->start)
                                        : 0;
    uint64_t offset = load->offset + skip;
    bool anonymous = region->kind == MS_REGION_ANON, fine = true;
    if (region->kind == MS_REGION_DEVICE)
        size = 0;
    if (size && !anonymous)
        fine = extend_runs(&runs, region->start, core->bytes + offset, size,
                           region->kind == MS_REGION_SHARED);
    for (uint64_t at = 0; anonymous && at < size && fine;) {
        uint64_t data = next_data(core, offset + at);
        if (data - (offset + at) >= MS_PAGE) {
            at += page_down(data - (offset + at));
            continue;
        }
        if (!zero_page(core->bytes + offset + at))
            fine = extend_runs(&runs, region->start + at, core->bytes + offset + at, MS_PAGE,
                               false);
        at += MS_PAGE;
    }
    region->runs = runs.list.items;
    region->run_count = runs.list.count;
    region->surveyed = true;
    return fine ? NULL : ms_error_nomem("reading the pages of a core");
}

static bool has_prefix(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

/*
 * A core does not tell shared maps from private ones. Names that only shared
 * memory has are sure (mm/shmem.c, ipc/shm.c, mm/memfd.c); for other files
 * see mark_shared().
 */
static enum ms_region_kind mapping_kind(const struct mapping *mapping)
{
    static const char *const shared[] = {"/dev/shm/", "/dev/hugepages/", "/memfd:", "/SYSV",
                                         "/anon_hugepage"};
    static const char *const devices[] = {"/dev/", "anon_inode:", "/[aio]", "/dmabuf", "/i915"};
    if (!strcmp(mapping->path, "/dev/zero")) /* MAP_SHARED | MAP_ANONYMOUS is a deleted one */
        return mapping->deleted ? MS_REGION_SHARED : MS_REGION_ANON;
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (has_prefix(mapping->path, shared[i]))
            return MS_REGION_SHARED;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (has_prefix(mapping->path, devices[i]))
            return MS_REGION_DEVICE;
    return MS_REGION_FILE;
}

/*
 * Adds a region that has the same load (or none: gdb leaves unmodified file maps
 * out, so only NT_FILE knows them, without their protection) and the same mapping
 * (or none) throughout.
 */
static ms_result add_region(struct core *core, uint64_t start, uint64_t end,
                            const struct load *load, const struct mapping *mapping)
{
    struct ms_region *region = ms_vector_add(&core->regions);
    if (!region)
        return ms_error_nomem("reading the memory map of a core");
    core->image->regions = core->regions.items;
    core->image->region_count = core->regions.count;
    region->start = start;
    region->end = end;
    region->prot = load ? load->prot : MS_READ;
    region->path = "";
    region->surveyed = true;
    if (mapping) {
        region->kind = mapping_kind(mapping);
        region->path = mapping->path;
        region->deleted = mapping->deleted;
        region->offset = mapping->offset + (start - mapping->start);
        if (region->kind == MS_REGION_SHARED)
            region->prot |= MS_SHARED;
    } else if (start == VSYSCALL_ADDRESS) {
        region->kind = MS_REGION_DEVICE;
        region->path = "[vsyscall]";
    }
    return load ? fill_runs(core, region, load) : NULL;
}

/* Cuts the address space wherever a load or a mapping starts or ends. */
static ms_result build_regions(struct core *core)
{
    size_t l = 0, m = 0;
    uint64_t at = 0;
    while (true) {
        while (l < core->loads.count && core->loads.items[l].end <= at)
            l++;
        while (m < core->mappings.count && core->mappings.items[m].end <= at)
            m++;
        const struct load *load = l < core->loads.count ? &core->loads.items[l] : NULL;
        const struct mapping *mapping =
            m < core->mappings.count ? &core->mappings.items[m] : NULL;
        if (!load && !mapping)
            return NULL;
        uint64_t next = UINT64_MAX;
        bool in_load = load && load->start <= at, in_mapping = mapping && mapping->start <= at;
        if (load)
            next = min_u64(next, in_load ? load->end : load->start);
        if (mapping)
            next = min_u64(next, in_mapping ? mapping->end : mapping->start);
        if (in_load || in_mapping)
            MS_TRY(add_region(core, at, next, in_load ? load : NULL, in_mapping ? mapping : NULL));
        at = next;
    }
}

/* The region that holds ADDRESS, to change it. */
static struct ms_region *find_region(struct core *core, uint64_t address)
{
    size_t low = 0, high = core->regions.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (core->regions.items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < core->regions.count && core->regions.items[low].start <= address
               ? &core->regions.items[low]
               : NULL;
}

static const struct ms_thread *main_thread(const struct core *core)
{
    for (size_t i = 0; i < core->threads.count; i++)
        if (core->threads.items[i].tid == core->image->pid)
            return &core->threads.items[i];
    return core->threads.count ? core->threads.items : NULL;
}

/* The vDSO by AT_SYSINFO_EHDR; [vvar] lies right below and is never dumped (VM_IO). */
static void mark_vdso(struct core *core)
{
    struct ms_region *vdso = find_region(core, ms_image_auxv(core->image, AT_SYSINFO_EHDR));
    if (!vdso || vdso->kind != MS_REGION_ANON || vdso->prot & MS_WRITE)
        return;
    vdso->kind = MS_REGION_VDSO;
    vdso->path = "[vdso]";
    while (vdso-- > core->regions.items && vdso->end == vdso[1].start && vdso->run_count == 0 &&
           vdso->kind == MS_REGION_ANON && vdso->prot == MS_READ) {
        vdso->kind = MS_REGION_DEVICE;
        vdso->path = "[vvar]";
    }
}

/*
 * The main thread's stack: where the kernel put the program's name and random
 * bytes (fs/binfmt_elf.c, create_elf_tables()), else where the main thread's stack
 * pointer is, which may be a coroutine's.
 */
static void mark_stack(struct core *core)
{
    const struct ms_thread *thread = main_thread(core);
    uint64_t candidates[] = {ms_image_auxv(core->image, AT_EXECFN),
                             ms_image_auxv(core->image, AT_RANDOM),
                             thread ? thread->registers[MS_REG_RSP] : 0};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        struct ms_region *region = find_region(core, candidates[i]);
        if (!region || region->kind != MS_REGION_ANON || !(region->prot & MS_WRITE))
            continue;
        region->kind = MS_REGION_STACK;
        region->path = "[stack]";
        if (region->run_count == 0 && core->missing == 0) {
            ms_image_warn(core->image, "the core holds no anonymous memory (coredump_filter?)");
            core->image->incomplete = true;
        }
        return;
    }
}

/* End of the program in memory, bss included, by its program headers, else of its file's maps. */
static uint64_t program_end(const struct core *core)
{
    uint64_t table = ms_image_auxv(core->image, AT_PHDR), bias = 0, end = 0;
    uint64_t count = min_u64(ms_image_auxv(core->image, AT_PHNUM), EXE_HEADERS_MAX);
    Elf64_Phdr headers[EXE_HEADERS_MAX];
    if (count && ms_image_auxv(core->image, AT_PHENT) == sizeof *headers &&
        ms_image_read(core->image, table, headers, count * sizeof *headers)) {
        for (uint64_t i = 0; i < count; i++)
            if (headers[i].p_type == PT_PHDR)
                bias = table - headers[i].p_vaddr;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t last = bias + headers[i].p_vaddr + headers[i].p_memsz;
            if (headers[i].p_type == PT_LOAD && last > end)
                end = last;
        }
        return end > UINT64_MAX - MS_PAGE ? 0 : page_down(end + MS_PAGE - 1);
    }
    const struct ms_region *region = ms_image_region(core->image, table);
    const struct ms_region *behind = core->regions.items + core->regions.count;
    for (const struct ms_region *first = region; region && region < behind; region++)
        if (!strcmp(region->path, first->path) && *region->path)
            end = region->end;
        else if (region->kind != MS_REGION_ANON)
            break;
    return end;
}

/*
 * [heap] has no mark in a core. Deduced: the first writable anonymous memory at or
 * above the program's end, within the distance that the kernel keeps. Without
 * randomisation it is one map with the bss, as it is in /proc/PID/maps.
 */
static void mark_brk(struct core *core)
{
    uint64_t end = program_end(core);
    struct ms_region *behind = core->regions.items + core->regions.count;
    for (struct ms_region *region = core->regions.items; end && region < behind; region++) {
        if (region->end <= end)
            continue;
        if (region->kind != MS_REGION_ANON ||
            (region->start > end && region->start - end > BRK_DISTANCE_MAX))
            return;
        if ((region->prot & (MS_READ | MS_WRITE | MS_EXEC)) != (MS_READ | MS_WRITE))
            continue;
        region->kind = MS_REGION_BRK;
        region->path = "[heap]";
        return;
    }
}

/* Is REGION data of a module? Then a part that is not writable lies right below it. */
static bool is_module_data(const struct core *core, const struct ms_region *region)
{
    const struct ms_region *below = region - 1;
    return region > core->regions.items && below->end == region->start &&
           !(below->prot & MS_WRITE) && !strcmp(below->path, region->path);
}

/*
 * A writable map of a file of which nothing was dumped is shared, or private and
 * never written to. In the latter case it holds what the file has, so calling
 * it shared is harmless, unless it is a module's data.
 */
static void mark_shared(struct core *core)
{
    for (size_t i = 0; i < core->regions.count; i++) {
        struct ms_region *region = &core->regions.items[i];
        if (region->kind == MS_REGION_FILE && region->prot & MS_WRITE && region->run_count == 0 &&
            !is_module_data(core, region)) {
            region->kind = MS_REGION_SHARED;
            region->prot |= MS_SHARED;
        }
    }
}

/* The executable's name: of the file that its program headers or entry are in, else AT_EXECFN. */
static ms_result find_exe(struct core *core, const struct ms_capture_options *options)
{
    uint64_t places[] = {ms_image_auxv(core->image, AT_PHDR),
                         ms_image_auxv(core->image, AT_ENTRY)};
    char buffer[256] = "";
    const char *name = NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places && !name; i++) {
        const struct ms_region *region = find_region(core, places[i]);
        if (region && region->kind == MS_REGION_FILE)
            name = region->path;
    }
    uint64_t text = ms_image_auxv(core->image, AT_EXECFN);
    for (size_t i = 0; !name && text && i < sizeof buffer - 1; i++)
        if (!ms_image_read(core->image, text + i, buffer + i, 1) || !buffer[i])
            break;
    if (!name)
        name = *buffer ? buffer : options->exe ? options->exe : core->command;
    core->image->exe = strdup(name);
    return core->image->exe ? NULL : ms_error_nomem("reading a core");
}

/* Warns of what the core should have and has not. */
static void judge(struct core *core)
{
    struct ms_image *image = core->image;
    if (core->missing)
        ms_image_warn(image, "the core is truncated: %" PRIu64 " of %" PRIu64
                      " bytes of memory are missing", core->missing, core->wanted);
    if (core->odd_headers)
        ms_image_warn(image, "the core has %" PRIu64 " corrupt or overlapping headers",
                      core->odd_headers);
    if (core->threads.count == 0)
        ms_image_warn(image, "the core has no threads: roots in registers and stacks are unknown");
    if (core->missing || core->odd_headers || core->threads.count == 0)
        image->incomplete = true;
}

static ms_result fill_image(struct core *core, const struct ms_capture_options *options)
{
    struct ms_image *image = core->image;
    if (asprintf(&image->origin, "core %s", core->name) < 0) {
        image->origin = NULL;
        return ms_error_nomem("opening a core");
    }
    image->source->exe = options->exe ? strdup(options->exe) : NULL;
    image->source->sysroot = options->sysroot ? strdup(options->sysroot) : NULL;
    if ((options->exe && !image->source->exe) || (options->sysroot && !image->source->sysroot))
        return ms_error_nomem("opening a core");
    MS_TRY(map_core(core));
    MS_TRY(read_headers(core));
    MS_TRY(build_regions(core));
    MS_TRY(find_exe(core, options));
    mark_vdso(core);
    mark_stack(core);
    mark_shared(core);
    mark_brk(core);
    for (size_t i = 0; i < core->threads.count; i++) /* PRPSINFO has the name of the main one */
        if (core->threads.items[i].tid == image->pid)
            memcpy(core->threads.items[i].name, core->command, sizeof core->command - 2);
    judge(core);
    return NULL;
}

ms_result ms_open_core(const char *path, const struct ms_capture_options *options,
                       struct ms_image **image)
{
    struct core core = {.name = path, .fd = -1};
    *image = NULL;
    MS_TRY(ms_image_new(MS_CORE, &core.image));
    struct ms_error *error = fill_image(&core, options);
    elf_end(core.elf);
    if (core.fd >= 0)
        close(core.fd);
    ms_vector_free(&core.loads);
    ms_vector_free(&core.mappings);
    if (!error)
        error = ms_stream_kept(core.image, options);
    if (error)
        ms_image_free(core.image);
    else
        *image = core.image;
    return error;
}
