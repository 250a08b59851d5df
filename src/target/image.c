/* The image: reading what was kept, what the target still has while stopped, and what files hold. */
#include "memscope/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proc.h"
#include "target.h"

const char *const ms_register_names[MS_REGISTERS] = {
    "r15", "r14", "r13", "r12",      "rbp", "rbx", "r11",    "r10", "r9",
    "r8",  "rax", "rcx", "rdx",      "rsi", "rdi", "orig_rax", "rip", "cs",
    "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
};

ms_result ms_image_new(enum ms_image_kind kind, struct ms_image **out)
{
    struct ms_image *image = calloc(1, sizeof *image);
    struct ms_image_source *source = calloc(1, sizeof *source);
    if (!image || !source) {
        free(image);
        free(source);
        return ms_error_nomem("the image");
    }
    image->kind = kind;
    image->source = source;
    source->proc_fd = source->mem_fd = source->pagemap_fd = -1;
    *out = image;
    return NULL;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void source_free(struct ms_image_source *source)
{
    if (!source)
        return;
    close_if_open(source->proc_fd);
    close_if_open(source->mem_fd);
    close_if_open(source->pagemap_fd);
    ms_reserve_free(&source->store);
    ms_reserve_free(&source->xstates);
    if (source->core)
        munmap((void *)source->core, source->core_size);
    for (size_t i = 0; i < source->files.count; i++)
        close_if_open(source->files.items[i].fd);
    ms_vector_free(&source->files);
    ms_vector_free(&source->touched);
    for (size_t i = 0; i < source->strings.count; i++)
        free(source->strings.items[i]);
    ms_vector_free(&source->strings);
    free(source->exe);
    free(source->sysroot);
    free(source);
}

void ms_image_free(struct ms_image *image)
{
    if (!image)
        return;
    ms_image_drop_regions(image);
    free(image->threads);
    free(image->auxv);
    ms_vector_free(&image->kernel_pointers);
    for (size_t i = 0; i < image->warnings.count; i++)
        free(image->warnings.items[i]);
    ms_vector_free(&image->warnings);
    free(image->exe);
    free(image->origin);
    source_free(image->source);
    free(image);
}

/* Region paths repeat in neighbouring lines, so the last string is tried first. */
const char *ms_image_string(struct ms_image *image, const char *s)
{
    if (!*s)
        return "";
    struct ms_image_source *source = image->source;
    if (source->strings.count && strcmp(source->strings.items[source->strings.count - 1], s) == 0)
        return source->strings.items[source->strings.count - 1];
    char *copy = strdup(s);
    char **slot = copy ? ms_vector_add(&source->strings) : NULL;
    if (!slot) {
        free(copy);
        return NULL;
    }
    *slot = copy;
    return copy;
}

void ms_image_warn(struct ms_image *image, const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    char **slot = length < 0 ? NULL : ms_vector_add(&image->warnings);
    if (slot)
        *slot = text;
    else if (length >= 0)
        free(text);
}

const struct ms_region *ms_image_region(const struct ms_image *image, uint64_t address)
{
    size_t low = 0, high = image->region_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (image->regions[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < image->region_count && image->regions[low].start <= address ? &image->regions[low] : NULL;
}

size_t ms_first_run(const struct ms_region *region, uint64_t address)
{
    size_t low = 0, high = region->run_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (region->runs[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct ms_run *run_at(const struct ms_region *region, uint64_t address)
{
    size_t i = ms_first_run(region, address);
    return i < region->run_count && region->runs[i].start <= address ? &region->runs[i] : NULL;
}

static bool is_kept(const struct ms_region *region, uint64_t address)
{
    const struct ms_run *run = run_at(region, address);
    return run && run->bytes;
}

#define GATHER_BATCH 512u /* at most IOV_MAX */

/* --- files ------------------------------------------------------------------------------------- */

static int open_checked(int directory, const char *path, const struct ms_region *region, bool check)
{
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return -1;
    /* On some file systems (btrfs, overlayfs) st_dev is not what maps shows: the inode decides. */
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (!check || st.st_ino == region->inode))
        return fd;
    close(fd);
    return -1;
}

static int open_live(const struct ms_image *image, const struct ms_region *region)
{
    char path[4200];
    int proc = image->source->proc_fd;
    snprintf(path, sizeof path, "map_files/%lx-%lx", region->start, region->end);
    int fd = open_checked(proc, path, region, true);
    if (fd < 0 && image->exe && strcmp(region->path, image->exe) == 0)
        fd = open_checked(proc, "exe", region, true);
    if (fd < 0 && !region->deleted) {
        snprintf(path, sizeof path, "root%s", region->path);
        fd = open_checked(proc, path, region, true);
    }
    if (fd < 0 && !region->deleted)
        fd = open_checked(AT_FDCWD, region->path, region, true);
    return fd;
}

static int open_for_core(const struct ms_image *image, const struct ms_region *region)
{
    const struct ms_image_source *source = image->source;
    if (source->exe && image->exe && strcmp(region->path, image->exe) == 0)
        return open_checked(AT_FDCWD, source->exe, region, false);
    char path[8300];
    snprintf(path, sizeof path, "%s%s", source->sysroot ? source->sysroot : "", region->path);
    return open_checked(AT_FDCWD, path, region, false);
}

int ms_image_open_file(const struct ms_image *image, const struct ms_region *region)
{
    if (region->path[0] != '/' || (region->kind != MS_REGION_FILE && region->kind != MS_REGION_SHARED))
        return -1;
    return image->kind == MS_CORE ? open_for_core(image, region) : open_live(image, region);
}

/* The file of a region, opened when first asked for; NULL when there is no memory. */
static const struct ms_target_file *file_of(const struct ms_image *image, const struct ms_region *region)
{
    struct ms_image_source *source = image->source;
    for (size_t i = 0; i < source->files.count; i++) {
        const struct ms_target_file *f = &source->files.items[i];
        if (f->inode == region->inode && f->major == region->major && f->minor == region->minor &&
            strcmp(f->path, region->path) == 0)
            return f;
    }
    struct ms_target_file *file = ms_vector_add(&source->files);
    if (!file)
        return NULL;
    *file = (struct ms_target_file){ms_image_open_file(image, region), region->major, region->minor,
                                 region->inode, region->path};
    return file;
}

/* Bytes of an unmodified file page; beyond the end of the file there are zeros. */
static bool read_file(const struct ms_image *image, const struct ms_region *region, uint64_t address,
                      uint8_t *buffer, size_t length)
{
    const struct ms_target_file *file = file_of(image, region);
    if (!file || file->fd < 0)
        return false;
    /* Not mapped but read: a file that shrinks under us must not become our SIGBUS. */
    uint64_t offset = address - region->start + region->offset;
    ssize_t got = pread(file->fd, buffer, length, (off_t)offset);
    if (got < 0)
        return false;
    memset(buffer + got, 0, length - (size_t)got);
    return true;
}

/* --- reading ----------------------------------------------------------------------------------- */

enum ms_page_state ms_page_state(const struct ms_image_source *source, uint64_t address)
{
    uint64_t entry;
    if (pread(source->pagemap_fd, &entry, sizeof entry, (off_t)(address / MS_PAGE * 8)) != sizeof entry)
        return MS_PAGE_GONE;
    if (entry & MS_PAGEMAP_PRESENT)
        return MS_PAGE_THERE;
    return entry & MS_PAGEMAP_SWAP ? MS_PAGE_SWAPPED : MS_PAGE_NONE;
}

/* Can a page of the target be read now? Swapped ones may be while it waits for us anyway. */
static bool page_is_there(const struct ms_image_source *source, const struct ms_region *region,
                          uint64_t address, bool *refused)
{
    if (region->surveyed)
        return run_at(region, address) != NULL;
    enum ms_page_state state = ms_page_state(source, address);
    *refused = source->running && (state == MS_PAGE_SWAPPED || state == MS_PAGE_GONE);
    return state == MS_PAGE_THERE || state == MS_PAGE_SWAPPED;
}

/*
 * For a selection: does it have to be told that this is needed? Before the stop of all that is anonymous: a region may
 * still merge with one that is left out.
 */
static bool is_to_choose(const struct ms_image_source *source, const struct ms_region *region)
{
    return source->running ? region->kind == MS_REGION_ANON : region->left_out;
}

/* Many reads in a row are of one page: that is read as a whole, once. */
static bool read_chosen(struct ms_image_source *source, const struct ms_region *region, uint64_t address,
                        uint8_t *buffer, size_t length)
{
    const uint64_t page = address & ~(uint64_t)(MS_PAGE - 1);
    if (source->chosen_page != page) {
        bool refused = false, there = page_is_there(source, region, page, &refused);
        uint64_t *touched = source->direct && !refused ? ms_vector_add(&source->touched) : NULL;
        if (!touched)
            return false;
        source->direct--;
        source->chosen_page = UINT64_MAX;
        memset(source->chosen, 0, MS_PAGE);
        *touched = page;
        if (there && pread(source->mem_fd, source->chosen, MS_PAGE, (off_t)page) != MS_PAGE)
            return false;
        source->chosen_page = page;
    }
    memcpy(buffer, source->chosen + (address - page), length);
    return true;
}

/* LENGTH bytes inside one page. */
static bool read_page_part(const struct ms_image *image, uint64_t address, uint8_t *buffer, size_t length)
{
    struct ms_image_source *source = image->source;
    const struct ms_region *region = ms_image_region(image, address);
    if (!region || region->kind == MS_REGION_DEVICE || (source->choosing && !source->budget))
        return false;
    source->budget -= source->choosing;
    if (source->choosing && is_to_choose(source, region))
        return read_chosen(source, region, address, buffer, length);
    bool there, file_page = region->kind == MS_REGION_FILE || region->kind == MS_REGION_SHARED;
    if (source->stopped && !(source->choosing && region->surveyed && is_kept(region, address))) {
        bool refused = false, readable = page_is_there(source, region, address, &refused);
        if (refused)
            return false;
        if (readable)
            return pread(source->mem_fd, buffer, length, (off_t)address) == (ssize_t)length;
        there = false;
    } else {
        const struct ms_run *run = run_at(region, address);
        if (run && run->bytes) {
            memcpy(buffer, run->bytes + (address - run->start), length);
            return true;
        }
        there = run && !run->file;
    }
    if (region->left_out)
        source->missed++;
    if (there)
        return false; /* modified, and not kept */
    if (file_page)
        return read_file(image, region, address, buffer, length);
    if (!source->stopped && !region->surveyed)
        return false;
    memset(buffer, 0, length);
    return true;
}

bool ms_image_read(const struct ms_image *image, uint64_t address, void *buffer, size_t length)
{
    uint8_t *to = buffer;
    while (length) {
        size_t part = MS_PAGE - address % MS_PAGE;
        part = part < length ? part : length;
        if (!read_page_part(image, address, to, part))
            return false;
        address += part;
        to += part;
        length -= part;
    }
    return true;
}

bool ms_image_read_word(const struct ms_image *image, uint64_t address, uint64_t *value)
{
    if (ms_image_read(image, address, value, sizeof *value))
        return true;
    *value = 0;
    return false;
}

uint64_t ms_image_missed(const struct ms_image *image)
{
    return image->source->missed;
}

/* One batch in the stop: by process_vm_readv, which must not touch pages that are shared (see stream.c). */
static size_t gather_now(const struct ms_image *image, const uint64_t *addresses, size_t count, size_t size,
                         uint8_t *to)
{
    struct iovec remote[GATHER_BATCH], local = {to, count * size};
    for (size_t i = 0; i < count; i++)
        remote[i] = (struct iovec){(void *)addresses[i], size};
    ssize_t got = process_vm_readv(image->source->tid, &local, 1, remote, count, 0);
    return got > 0 ? (size_t)got / size : 0;
}

static bool is_private_now(const struct ms_image *image, uint64_t address)
{
    const struct ms_region *region = image->source->stopped ? ms_image_region(image, address) : NULL;
    const struct ms_run *run = region && region->prot & MS_READ ? run_at(region, address) : NULL;
    return run && !run->shared && !run->swapped;
}

void ms_image_gather(const struct ms_image *image, const uint64_t *addresses, size_t count, size_t size,
                     uint8_t *buffer)
{
    for (size_t i = 0; i < count;) {
        size_t batch = 0;
        while (i + batch < count && batch < GATHER_BATCH && is_private_now(image, addresses[i + batch]))
            batch++;
        size_t got = batch ? gather_now(image, addresses + i, batch, size, buffer + i * size) : 0;
        i += got;
        if (got == batch && batch)
            continue;
        if (i < count && !ms_image_read(image, addresses[i], buffer + i * size, size))
            memset(buffer + i * size, 0, size);
        i++;
    }
}

const uint8_t *ms_image_bytes(const struct ms_image *image, uint64_t address, size_t length)
{
    const struct ms_region *region = ms_image_region(image, address);
    const struct ms_run *run = region ? run_at(region, address) : NULL;
    if (!run || !run->bytes || run->end - address < length)
        return NULL;
    return run->bytes + (address - run->start);
}

const uint8_t *ms_image_piece(const struct ms_image *image, uint64_t address, uint64_t *start, uint64_t *end)
{
    const struct ms_region *region = ms_image_region(image, address);
    const struct ms_run *run = region ? run_at(region, address) : NULL;
    if (!run || !run->bytes)
        return NULL;
    *start = run->start;
    *end = run->end;
    return run->bytes;
}

uint64_t ms_image_auxv(const struct ms_image *image, uint64_t type)
{
    for (size_t i = 0; i < image->auxv_count; i++)
        if (image->auxv[2 * i] == type)
            return image->auxv[2 * i + 1];
    return 0;
}
