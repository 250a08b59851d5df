/* Which pages are present, from /proc/PID/pagemap and, in sparse regions, PAGEMAP_SCAN. */
#include "survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PM_PRESENT MS_PAGEMAP_PRESENT
#define PM_SWAP MS_PAGEMAP_SWAP
#define PM_FILE MS_PAGEMAP_FILE
#define PM_EXCLUSIVE MS_PAGEMAP_EXCLUSIVE
#define PM_GUARD (1ull << 58) /* Linux 6.15: MADV_GUARD_INSTALL; touching it kills */
#define PM_KIND (PM_PRESENT | PM_SWAP | PM_FILE | PM_GUARD | PM_EXCLUSIVE)

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

/* Pages of a guard, MADV_GUARD_INSTALL: no map of their own, as PROT_NONE ones have. */
struct guard {
    uint64_t start, end;
};

struct run_list {
    MS_VECTOR(struct ms_run) runs;
    MS_VECTOR(struct guard) guards;
};

static struct ms_error *add_guard(struct run_list *list, uint64_t start, uint64_t end)
{
    struct guard *last = list->guards.count ? &list->guards.items[list->guards.count - 1] : NULL;
    if (last && last->end == start) {
        last->end = end;
        return NULL;
    }
    struct guard *guard = ms_vector_add(&list->guards);
    if (!guard)
        return ms_error_nomem("the list of guards");
    *guard = (struct guard){start, end};
    return NULL;
}

/* Pages [start, end) that are there, all of one kind by their ENTRY. */
static struct ms_error *add_pages(struct run_list *list, uint64_t start, uint64_t end, uint64_t entry)
{
    bool file = entry & PM_FILE, swapped = !(entry & PM_PRESENT);
    bool shared = !(entry & PM_EXCLUSIVE) && !swapped;
    struct ms_run *last = list->runs.count ? &list->runs.items[list->runs.count - 1] : NULL;
    if (last && last->end == start && last->file == file && last->swapped == swapped && last->shared == shared) {
        last->end = end;
        return NULL;
    }
    struct ms_run *run = ms_vector_add(&list->runs);
    if (!run)
        return ms_error_nomem("the list of pages");
    *run = (struct ms_run){start, end, NULL, shared, file, swapped};
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
        for (size_t i = 0, next; i < pages; i = next) {
            const uint64_t kind = scratch[i] & PM_KIND;
            for (next = i + 1; next < pages && (scratch[next] & PM_KIND) == kind; next++)
                ;
            if (kind & PM_GUARD)
                MS_TRY(add_guard(list, start + i * MS_PAGE, start + next * MS_PAGE));
            else if (kind & (PM_PRESENT | PM_SWAP))
                MS_TRY(add_pages(list, start + i * MS_PAGE, start + next * MS_PAGE, kind));
        }
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
    if (r->prot & MS_WRITE || r->orphan)
        return true;
    /* Code of files and read-only shared maps hold what their files hold. */
    return !(r->prot & MS_SHARED) && !(r->prot & MS_EXEC && r->kind == MS_REGION_FILE);
}

static struct ms_error *survey_region(struct ms_image *image, struct ms_region *region, uint64_t *scratch,
                                      struct run_list *all)
{
    struct run_list list = {.guards = all->guards};
    bool readable = region->prot & (MS_READ | MS_WRITE), done = false;
    uint64_t size = region->end - region->start;
    struct ms_error *error = NULL;
    if (size > (readable ? SPARSE_SIZE : SPARSE_UNREADABLE_SIZE))
        error = read_sparse(image, &list, region, scratch, &done);
    if (!error && !done && (readable ? size < HOLE_LIMIT : size <= SPARSE_UNREADABLE_SIZE)) {
        list.runs.count = 0;
        list.guards.count = all->guards.count;
        error = read_entries(image, &list, region->start, region->end, scratch);
        done = true;
    }
    if (!error && !done && readable)
        ms_image_warn(image, "%#lx-%#lx was not looked into: this kernel cannot list the pages of so big a"
                      " map in bearable time", region->start, region->end);
    all->guards = list.guards;
    if (error) {
        ms_vector_free(&list.runs);
        return error;
    }
    region->runs = list.runs.items;
    region->run_count = list.runs.count;
    region->surveyed = true;
    return NULL;
}

/* --- guards ------------------------------------------------------------------------------------ */

static uint64_t resident(const struct ms_region *r)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->run_count; i++)
        bytes += r->runs[i].swapped ? 0 : r->runs[i].end - r->runs[i].start;
    return bytes;
}

/* Gives PIECE its share of the figures that smaps has for all of it, and takes it from there. */
static void share_figures(struct ms_region *whole, struct ms_region *piece)
{
    const uint64_t of = whole->rss, rss = resident(piece);
    piece->rss = rss < of ? rss : of;
    piece->anonymous = piece->rss < whole->anonymous ? piece->rss : whole->anonymous;
    piece->pss = of ? (uint64_t)((double)whole->pss * (double)piece->rss / (double)of) : 0;
    piece->private_dirty = of ? (uint64_t)((double)whole->private_dirty * (double)piece->rss / (double)of) : 0;
    piece->swap = 0;
    whole->rss -= piece->rss;
    whole->anonymous -= piece->anonymous;
    whole->pss -= piece->pss;
    whole->private_dirty -= piece->private_dirty;
}

/* Cuts what lies at and above ADDRESS off *REST; no run crosses it, a guard is there. */
static struct ms_error *cut_off(struct ms_region *rest, uint64_t address, struct ms_region *piece)
{
    size_t below = 0;
    while (below < rest->run_count && rest->runs[below].start < address)
        below++;
    *piece = *rest;
    piece->start = rest->end = address;
    piece->runs = calloc(rest->run_count - below + 1, sizeof *piece->runs);
    piece->run_count = piece->runs ? rest->run_count - below : 0;
    if (piece->run_count)
        memcpy(piece->runs, rest->runs + below, piece->run_count * sizeof *piece->runs);
    rest->run_count = below;
    share_figures(rest, piece);
    return piece->runs ? NULL : ms_error_nomem("the list of pages");
}

/*
 * From glibc 2.42 on Linux 6.13 the stacks of threads have guards that are no
 * maps of their own, and maps of stacks merge. Cut at guards, regions are what
 * they are with PROT_NONE. Pieces are laid out from the back of the grown list.
 */
static struct ms_error *cut_at_guards(struct ms_image *image, const struct run_list *all)
{
    const size_t limit = image->region_count + 2 * all->guards.count;
    size_t to = limit, guard = all->guards.count;
    struct ms_region *regions = reallocarray(image->regions, limit, sizeof *regions);
    struct ms_error *error = NULL;
    if (!regions)
        return ms_error_nomem("the memory map");
    image->regions = regions;
    for (size_t i = image->region_count; i-- > 0;) {
        struct ms_region rest = regions[i];
        for (; guard > 0 && all->guards.items[guard - 1].start >= rest.start; guard--) {
            const struct guard *g = &all->guards.items[guard - 1];
            if (rest.kind != MS_REGION_ANON || error)
                continue;
            uint64_t end = g->end < rest.end ? g->end : rest.end; /* it may go on in the next region */
            if (end < rest.end)
                error = cut_off(&rest, end, &regions[--to]);
            regions[--to] = (struct ms_region){.start = g->start, .end = end, .kind = MS_REGION_ANON,
                                               .path = rest.path, .surveyed = true};
            rest.end = g->start;
        }
        if (rest.start < rest.end)
            regions[--to] = rest;
        else
            free(rest.runs);
    }
    image->region_count = limit - to;
    memmove(regions, regions + to, image->region_count * sizeof *regions);
    return error;
}

ms_result ms_survey(struct ms_image *image, void *scratch)
{
    struct run_list all = {{0}, {0}}; /* guards, of all regions */
    struct ms_error *error = NULL;
    for (size_t i = 0; !error && i < image->region_count; i++) {
        struct ms_region *region = &image->regions[i];
        if (worth_surveying(region))
            error = survey_region(image, region, scratch, &all);
    }
    if (!error && all.guards.count)
        error = cut_at_guards(image, &all);
    ms_vector_free(&all.guards);
    return error;
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
