/* Which pages are present, from /proc/PID/pagemap and, in sparse regions, PAGEMAP_SCAN. */
#include "survey.h"

#include <errno.h>
#include <stdatomic.h>
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
/* Bytes of address space that a worker takes at once: small against what they both have to do. */
#define PIECE         (8ull << 20)
#define SPARSE_PIECE  (256ull << 20)
#define SPARSE_PIECES 64u /* of a region, at most: to walk over nothing takes a system call too */
#define SCRATCH_SHARE (MS_SURVEY_SCRATCH / MS_WORKERS)

/* Pages of a guard, MADV_GUARD_INSTALL: no map of their own, as PROT_NONE ones have. */
struct guard {
    uint64_t start, end;
};

struct run_list {
    MS_VECTOR(struct ms_run) runs;
    MS_VECTOR(struct guard) guards;
};

/* --- reading: both workers ------------------------------------------------------------------- */

/* Of a region, or of several that follow each other without a gap; one worker reads it. */
struct piece {
    uint64_t start, end;
    bool sparse; /* mostly not there: the kernel is asked first what is */
    unsigned worker;
    size_t first, count; /* of the worker's extents */
};

/* Pages [start, end) that have equal entries. */
struct extent {
    uint64_t start, end, kind;
};

struct surveyor {
    struct survey *survey;
    unsigned number;
    uint64_t *scratch;
    MS_VECTOR(struct extent) extents;
    struct ms_error *error; /* owned */
};

struct survey {
    const struct ms_image *image;
    MS_VECTOR(struct piece) pieces; /* in address order */
    atomic_size_t next;             /* piece to take */
    struct surveyor by[MS_WORKERS];
};

/* Reads the entries of [start, end). */
static struct ms_error *read_entries(struct surveyor *by, uint64_t start, uint64_t end)
{
    const struct ms_image *image = by->survey->image;
    const size_t room = SCRATCH_SHARE / 8;
    const uint64_t *entries = by->scratch;
    while (start < end) {
        size_t pages = (end - start) / MS_PAGE;
        pages = pages < room ? pages : room;
        ssize_t got =
            pread(image->source->pagemap_fd, by->scratch, pages * 8, (off_t)(start / MS_PAGE * 8));
        if (got < 8) /* 0 when the process has lost its memory */
            return ms_error_again(ms_error_errno(MS_TARGET, got < 0 ? errno : ESRCH,
                                                 "cannot read pagemap of process %d", image->pid));
        pages = (size_t)got / 8;
        for (size_t i = 0, next; i < pages; i = next) {
            const uint64_t kind = entries[i] & PM_KIND;
            for (next = i + 1; next < pages && (entries[next] & PM_KIND) == kind; next++)
                ;
            if (!(kind & (PM_GUARD | PM_PRESENT | PM_SWAP)))
                continue;
            struct extent *extent = ms_vector_add(&by->extents);
            if (!extent)
                return ms_error_nomem("the list of pages");
            *extent = (struct extent){start + i * MS_PAGE, start + next * MS_PAGE, kind};
        }
        start += pages * MS_PAGE;
    }
    return NULL;
}

static int scan(const struct ms_image *image, struct pm_scan_arg *arg, uint64_t start, uint64_t end,
                struct page_region *found, size_t room)
{
    *arg = (struct pm_scan_arg){.size = sizeof *arg,
                                .start = start,
                                .end = end,
                                .vec = (uintptr_t)found,
                                .vec_len = room,
                                .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                                .return_mask = PAGE_IS_PRESENT};
    return ioctl(image->source->pagemap_fd, PAGEMAP_SCAN_IOCTL, arg);
}

/* Reads what the kernel says is populated of [start, end). */
static struct ms_error *read_sparse(struct surveyor *by, uint64_t start, uint64_t end)
{
    enum { BATCH = 512 };
    struct page_region found[BATCH];
    while (start < end) {
        struct pm_scan_arg arg;
        int count = scan(by->survey->image, &arg, start, end, found, BATCH);
        if (count < 0)
            return ms_error_again(ms_error_errno(MS_TARGET, errno, "cannot list pages of process %d",
                                                 by->survey->image->pid));
        for (int i = 0; i < count; i++)
            MS_TRY(read_entries(by, found[i].start, found[i].end));
        if (arg.walk_end <= start)
            return NULL;
        start = arg.walk_end;
    }
    return NULL;
}

static void read_pieces(void *argument)
{
    struct surveyor *by = argument;
    struct survey *survey = by->survey;
    size_t i;
    while (!by->error && (i = atomic_fetch_add(&survey->next, 1)) < survey->pieces.count) {
        struct piece *piece = &survey->pieces.items[i];
        piece->worker = by->number;
        piece->first = by->extents.count;
        by->error = piece->sparse ? read_sparse(by, piece->start, piece->end)
                                  : read_entries(by, piece->start, piece->end);
        piece->count = by->extents.count - piece->first;
    }
}

/* --- what to read ---------------------------------------------------------------------------- */

static bool worth_surveying(const struct ms_region *r)
{
    if (r->kind == MS_REGION_DEVICE || r->kind == MS_REGION_VDSO)
        return false;
    if (r->prot & MS_WRITE || r->orphan)
        return true;
    /* Code of files and read-only shared maps hold what their files hold. */
    return !(r->prot & MS_SHARED) && !(r->prot & MS_EXEC && r->kind == MS_REGION_FILE);
}

static bool is_readable(const struct ms_region *r)
{
    return r->prot & (MS_READ | MS_WRITE);
}

static bool is_sparse(const struct ms_region *r)
{
    return r->end - r->start > (is_readable(r) ? SPARSE_SIZE : SPARSE_UNREADABLE_SIZE);
}

/* For a region of SIZE bytes. */
static uint64_t sparse_piece(uint64_t size)
{
    uint64_t piece = (size / SPARSE_PIECES + MS_PAGE) & ~(uint64_t)(MS_PAGE - 1);
    return piece > SPARSE_PIECE ? piece : SPARSE_PIECE;
}

/* In pieces of SIZE; what follows the last one without a gap is added to that first. */
static struct ms_error *add_pieces(struct survey *survey, const struct ms_region *r, bool sparse,
                                   uint64_t size)
{
    struct piece *last =
        survey->pieces.count ? &survey->pieces.items[survey->pieces.count - 1] : NULL;
    uint64_t at = r->start;
    if (last && last->end == at && last->sparse == sparse && r->end - last->start <= size) {
        last->end = r->end;
        return NULL;
    }
    while (at < r->end) {
        struct piece *piece = ms_vector_add(&survey->pieces);
        if (!piece)
            return ms_error_nomem("the page survey");
        uint64_t end = r->end - at > size ? at + size : r->end;
        *piece = (struct piece){.start = at, .end = end, .sparse = sparse};
        at = end;
    }
    return NULL;
}

/* PAGEMAP_SCAN is from Linux 6.7. */
static bool can_scan(const struct ms_image *image, uint64_t address)
{
    struct page_region found;
    struct pm_scan_arg arg;
    return scan(image, &arg, address, address + MS_PAGE, &found, 1) >= 0;
}

static struct ms_error *plan_survey(struct survey *survey, struct ms_image *image)
{
    bool asked = false, scans = false;
    for (size_t i = 0; i < image->region_count; i++) {
        struct ms_region *r = &image->regions[i];
        const uint64_t size = r->end - r->start;
        bool sparse = is_sparse(r);
        if (r->surveyed || r->left_out || !worth_surveying(r))
            continue;
        if (sparse && !asked) {
            scans = can_scan(image, r->start);
            asked = true;
        }
        r->surveyed = true;
        if (sparse && scans)
            MS_TRY(add_pieces(survey, r, true, sparse_piece(size)));
        else if (is_readable(r) ? size < HOLE_LIMIT : !sparse)
            MS_TRY(add_pieces(survey, r, false, PIECE));
        else if (is_readable(r))
            ms_image_warn(image,
                          "%#lx-%#lx was not looked into: this kernel cannot list the pages of so"
                          " big a map in bearable time",
                          r->start, r->end);
    }
    return NULL;
}

/* --- runs of regions ------------------------------------------------------------------------- */

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

/* The list's runs are those of REGION; the list is empty then. */
static struct ms_error *give_runs(struct ms_region *region, struct run_list *list)
{
    const size_t count = list->runs.count;
    region->runs = count ? malloc(count * sizeof *region->runs) : NULL;
    if (!region->runs && count)
        return ms_error_nomem("the list of pages");
    if (count)
        memcpy(region->runs, list->runs.items, count * sizeof *region->runs);
    region->run_count = count;
    list->runs.count = 0;
    return NULL;
}

/* Distributes EXTENT; *AT is the region that the list's runs are of. */
static struct ms_error *take_extent(struct ms_image *image, const struct extent *extent, size_t *at,
                                    struct run_list *list)
{
    for (uint64_t start = extent->start; start < extent->end;) {
        while (*at < image->region_count && image->regions[*at].end <= start) {
            if (list->runs.count)
                MS_TRY(give_runs(&image->regions[*at], list));
            ++*at;
        }
        if (*at == image->region_count)
            return NULL;
        const struct ms_region *r = &image->regions[*at];
        uint64_t end = extent->end < r->end ? extent->end : r->end;
        MS_TRY(extent->kind & PM_GUARD ? add_guard(list, start, end)
                                       : add_pages(list, start, end, extent->kind));
        start = end;
    }
    return NULL;
}

static struct ms_error *take_extents(struct ms_image *image, const struct survey *survey,
                                     struct run_list *list)
{
    size_t at = 0;
    for (size_t i = 0; i < survey->pieces.count; i++) {
        const struct piece *piece = &survey->pieces.items[i];
        for (size_t j = 0; j < piece->count; j++)
            MS_TRY(take_extent(image, &survey->by[piece->worker].extents.items[piece->first + j],
                               &at, list));
    }
    return list->runs.count ? give_runs(&image->regions[at], list) : NULL;
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

ms_result ms_survey(struct ms_image *image, void *scratch, struct ms_second *second)
{
    struct survey survey = {.image = image};
    struct run_list list = {{0}, {0}}; /* guards, of all regions */
    struct ms_error *error = plan_survey(&survey, image);
    for (unsigned i = 0; i < MS_WORKERS; i++)
        survey.by[i] =
            (struct surveyor){&survey, i, (uint64_t *)scratch + i * (SCRATCH_SHARE / 8), {0}, NULL};
    if (!error) {
        ms_second_ask(second, read_pieces, &survey.by[1]);
        read_pieces(&survey.by[0]);
        ms_second_await(second);
        error = survey.by[0].error ? survey.by[0].error : survey.by[1].error;
        if (error == survey.by[0].error)
            ms_error_free(survey.by[1].error);
    }
    if (!error)
        error = take_extents(image, &survey, &list);
    if (!error && list.guards.count)
        error = cut_at_guards(image, &list);
    for (unsigned i = 0; i < MS_WORKERS; i++)
        ms_vector_free(&survey.by[i].extents);
    ms_vector_free(&survey.pieces);
    ms_vector_free(&list.runs);
    ms_vector_free(&list.guards);
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
