/* Which pages are present, from /proc/PID/pagemap and, in sparse regions, PAGEMAP_SCAN. */
#include "survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Bits of a pagemap entry: Documentation/admin-guide/mm/pagemap.rst. */
#define PM_PRESENT (1ull << 63)
#define PM_SWAP (1ull << 62)
#define PM_FILE (1ull << 61)
#define PM_GUARD (1ull << 58) /* Linux 6.15: MADV_GUARD_INSTALL; touching it kills */
#define PM_EXCLUSIVE (1ull << 56)

/* PAGEMAP_SCAN, include/uapi/linux/fs.h of Linux 6.7; headers of Debian 12 are older. */
struct page_region {
    uint64_t start, end, categories;
};
struct pm_scan_arg {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_PRESENT (1u << 3)
#define PAGE_IS_SWAPPED (1u << 4)

/* Bigger regions are asked for holes first; smaller ones are read entry by entry. */
#define SPARSE_SIZE (1ull << 30)
#define SPARSE_UNREADABLE_SIZE (1ull << 20)
/* Without PAGEMAP_SCAN a hole of this size costs too long to read. */
#define HOLE_LIMIT (1ull << 40)

struct run_list {
    MS_VECTOR(struct ms_run) runs;
};

static struct ms_error *add_page(struct run_list *list, uint64_t address, uint64_t entry)
{
    bool file = entry & PM_FILE, swapped = !(entry & PM_PRESENT);
    bool shared = !(entry & PM_EXCLUSIVE) && !swapped;
    struct ms_run *last = list->runs.count ? &list->runs.items[list->runs.count - 1] : NULL;
    if (last && last->end == address && last->file == file && last->swapped == swapped &&
        last->shared == shared) {
        last->end += MS_PAGE;
        return NULL;
    }
    struct ms_run *run = ms_vector_add(&list->runs);
    if (!run)
        return ms_error_nomem("the list of pages");
    *run = (struct ms_run){address, address + MS_PAGE, NULL, shared, file, swapped};
    return NULL;
}

/* Reads the entries of [start, end). */
static struct ms_error *read_entries(const struct ms_image *image, struct run_list *list, uint64_t start,
                                     uint64_t end, uint64_t *scratch)
{
    while (start < end) {
        size_t pages = (end - start) / MS_PAGE;
        if (pages > MS_SURVEY_SCRATCH / 8)
            pages = MS_SURVEY_SCRATCH / 8;
        ssize_t got = pread(image->source->pagemap_fd, scratch, pages * 8, (off_t)(start / MS_PAGE * 8));
        if (got < 8) /* 0 when the process has lost its memory */
            return ms_error_again(ms_error_errno(MS_TARGET, got < 0 ? errno : ESRCH,
                                                 "cannot read pagemap of process %d", image->pid));
        pages = (size_t)got / 8;
        for (size_t i = 0; i < pages; i++)
            if ((scratch[i] & (PM_PRESENT | PM_SWAP)) && !(scratch[i] & PM_GUARD))
                MS_TRY(add_page(list, start + i * MS_PAGE, scratch[i]));
        start += pages * MS_PAGE;
    }
    return NULL;
}

/* Finds the populated parts of a big region with the kernel's help. Sets DONE when it could. */
static struct ms_error *read_sparse(const struct ms_image *image, struct run_list *list,
                                    const struct ms_region *region, uint64_t *scratch, bool *done)
{
    enum { BATCH = 512 };
    ms_auto_free struct page_region *found = calloc(BATCH, sizeof *found);
    if (!found)
        return ms_error_nomem("the list of pages");
    struct pm_scan_arg arg = {.size = sizeof arg, .start = region->start, .end = region->end,
                              .vec = (uintptr_t)found, .vec_len = BATCH,
                              .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                              .return_mask = PAGE_IS_PRESENT};
    while (arg.start < region->end) {
        int count = ioctl(image->source->pagemap_fd, PAGEMAP_SCAN_IOCTL, &arg);
        if (count < 0)
            return NULL; /* an older kernel: not done */
        for (int i = 0; i < count; i++)
            MS_TRY(read_entries(image, list, found[i].start, found[i].end, scratch));
        if (arg.walk_end <= arg.start)
            break;
        arg.start = arg.walk_end;
    }
    *done = true;
    return NULL;
}

static bool worth_surveying(const struct ms_region *r)
{
    if (r->kind == MS_REGION_DEVICE || r->kind == MS_REGION_VDSO)
        return false;
    if (r->prot & MS_WRITE)
        return true;
    /* Code of files and read-only shared maps hold what their files hold. */
    return !(r->prot & MS_SHARED) && !(r->prot & MS_EXEC && r->kind == MS_REGION_FILE);
}

static struct ms_error *survey_region(struct ms_image *image, struct ms_region *region, uint64_t *scratch)
{
    struct run_list list = {{0}};
    bool readable = region->prot & (MS_READ | MS_WRITE), done = false;
    uint64_t size = region->end - region->start;
    struct ms_error *error = NULL;
    if (size > (readable ? SPARSE_SIZE : SPARSE_UNREADABLE_SIZE))
        error = read_sparse(image, &list, region, scratch, &done);
    if (!error && !done && (readable ? size < HOLE_LIMIT : size <= SPARSE_UNREADABLE_SIZE)) {
        list.runs.count = 0;
        error = read_entries(image, &list, region->start, region->end, scratch);
        done = true;
    }
    if (!error && !done && readable)
        ms_image_warn(image, "%#lx-%#lx was not looked into: this kernel cannot list the pages of so big a"
                      " map in bearable time", region->start, region->end);
    if (error) {
        ms_vector_free(&list.runs);
        return error;
    }
    region->runs = list.runs.items;
    region->run_count = list.runs.count;
    region->surveyed = true;
    return NULL;
}

ms_result ms_survey(struct ms_image *image, void *scratch)
{
    for (size_t i = 0; i < image->region_count; i++) {
        struct ms_region *region = &image->regions[i];
        if (worth_surveying(region))
            MS_TRY(survey_region(image, region, scratch));
    }
    return NULL;
}

uint64_t ms_survey_bytes(const struct ms_image *image)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *region = &image->regions[i];
        for (size_t j = 0; j < region->run_count; j++)
            if (ms_run_is_own(region, &region->runs[j]))
                bytes += region->runs[j].end - region->runs[j].start;
    }
    return bytes;
}
