/* Of a full image, the regions that nobody asks for, and what is needed of them. */
#include <stdlib.h>
#include <string.h>

#include "proc.h"
#include "target.h"

/* So many bytes more are read sooner than another piece is made. */
#define SMALL_GAP (4u * MS_PAGE)
/* Reads of pages in the stop: of each page that was known before it several, and of others. */
#define READS_OF_PAGE 32u
#define READS_MORE    (1u << 18)
/* … of which so many may be in regions left out, one after another. */
#define DIRECT_READS (1u << 16)

static int by_start(const void *a, const void *b)
{
    const struct ms_span *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Whole pages, in order, without overlap and gaps up to GAP. */
static void tidy(struct ms_spans *spans, uint64_t gap)
{
    size_t kept = 0;
    ms_vector_sort(&spans->list, by_start);
    for (size_t i = 0; i < spans->list.count; i++) {
        struct ms_span span = spans->list.items[i];
        struct ms_span *last = kept ? &spans->list.items[kept - 1] : NULL;
        span.start &= ~(uint64_t)(MS_PAGE - 1);
        span.end = (span.end + MS_PAGE - 1) & ~(uint64_t)(MS_PAGE - 1);
        if (span.end <= span.start)
            continue;
        if (last && span.start <= last->end + gap)
            last->end = span.end > last->end ? span.end : last->end;
        else
            spans->list.items[kept++] = span;
    }
    spans->list.count = kept;
}

static void leave_out(struct ms_image *image, const struct ms_spans *left_out)
{
    for (size_t i = 0, next = 0; i < image->region_count; i++) {
        struct ms_region *region = &image->regions[i];
        while (next < left_out->list.count && left_out->list.items[next].end <= region->start)
            next++;
        region->left_out = region->kind == MS_REGION_ANON && next < left_out->list.count &&
                           left_out->list.items[next].start < region->end;
    }
}

/*
 * Cuts REGION, which is left out, into TO where SPANS, from the one numbered FIRST on, lie that are not; returns how
 * many pieces it is in.
 */
static size_t cut(const struct ms_region *region, const struct ms_spans *spans, size_t first, struct ms_region *to)
{
    size_t pieces = 0;
    uint64_t at = region->start;
    for (size_t i = first; i < spans->list.count && spans->list.items[i].start < region->end; i++) {
        const struct ms_span *span = &spans->list.items[i];
        const uint64_t start = span->start > at ? span->start : at;
        const uint64_t end = span->end < region->end ? span->end : region->end;
        if (end <= start)
            continue;
        if (start > at) {
            to[pieces] = *region;
            to[pieces].start = at;
            to[pieces++].end = start;
        }
        to[pieces] = *region;
        to[pieces].left_out = false;
        to[pieces].start = start;
        to[pieces++].end = at = end;
    }
    if (at < region->end) {
        to[pieces] = *region;
        to[pieces++].start = at;
    }
    return pieces;
}

/* Makes regions of their own of what lies in SPANS of those that are left out. */
static struct ms_error *cut_out(struct ms_image *image, const struct ms_spans *spans)
{
    size_t count = 0, next = 0;
    struct ms_region *regions = calloc(image->region_count + 2 * spans->list.count + 1, sizeof *regions);
    if (!regions)
        return ms_error_nomem("the memory map");
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *region = &image->regions[i];
        while (next < spans->list.count && spans->list.items[next].end <= region->start)
            next++;
        if (region->left_out)
            count += cut(region, spans, next, regions + count);
        else
            regions[count++] = *region;
    }
    free(image->regions);
    image->regions = regions;
    image->region_count = count;
    return NULL;
}

/* What choose() reads and asks for. */
static struct ms_error *choose(const struct ms_selection *selection, struct ms_image *image, uint64_t budget,
                               uint64_t direct, struct ms_spans *spans)
{
    struct ms_image_source *source = image->source;
    source->touched.count = 0;
    source->budget = budget;
    source->direct = direct;
    source->chosen_page = UINT64_MAX;
    source->choosing = true;
    struct ms_error *error = selection->choose(selection->self, image, spans);
    source->choosing = false;
    for (size_t i = 0; i < source->touched.count && !error; i++) {
        struct ms_span *span = ms_vector_add(&spans->list);
        if (span)
            *span = (struct ms_span){.start = source->touched.items[i], .end = source->touched.items[i] + MS_PAGE};
        else
            error = ms_error_nomem("the list of pages");
    }
    tidy(spans, SMALL_GAP);
    return error;
}

/* Bytes of it. */
static uint64_t known_bytes(const struct ms_selection *selection)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < selection->first.list.count; i++)
        bytes += selection->first.list.items[i].end - selection->first.list.items[i].start;
    return bytes;
}

ms_result ms_selection_look(struct ms_selection *selection, struct ms_image *image, bool *pays)
{
    tidy(&selection->left_out, 0);
    leave_out(image, &selection->left_out);
    MS_TRY(choose(selection, image, UINT64_MAX, UINT64_MAX, &selection->first));
    const long resident = ms_proc_status(image->pid, "RssAnon:"); /* KiB */
    *pays = resident > 0 && known_bytes(selection) < ((uint64_t)resident << 10) / 4 * 3;
    return NULL;
}

void ms_selection_free(struct ms_selection *selection)
{
    ms_vector_free(&selection->left_out.list);
    ms_vector_free(&selection->first.list);
}

ms_result ms_select_first(struct ms_image *image, const struct ms_selection *selection)
{
    leave_out(image, &selection->left_out);
    return cut_out(image, &selection->first);
}

ms_result ms_select_more(struct ms_image *image, const struct ms_selection *selection)
{
    struct ms_spans spans = {{0}};
    const uint64_t known = known_bytes(selection) / MS_PAGE;
    struct ms_error *error = choose(selection, image, READS_MORE + READS_OF_PAGE * known, DIRECT_READS, &spans);
    if (!error)
        error = cut_out(image, &spans);
    ms_vector_free(&spans.list);
    return error; // cppcheck-suppress returnDanglingLifetime
}
