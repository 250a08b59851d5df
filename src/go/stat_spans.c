/* The spans of the Go heap, as far as statistics need them. */
#include <string.h>

#include "layout.h"
#include "stats.h"

#define FIELD(type, path, into) MS_GO_FIELD(struct ms_go_span_layout, type, path, into)
static const struct ms_go_field fields[] = {
    FIELD("runtime.mspan", "startAddr", start),
    FIELD("runtime.mspan", "npages", pages),
    FIELD("runtime.mspan", "elemsize", elemsize),
    FIELD("runtime.mspan", "nelems", elements),
    FIELD("runtime.mspan", "allocCount", allocated),
    MS_GO_FIELD_IN(struct ms_go_span_layout, "runtime.mspan", "allocCountBeforeCache", before, 19, 0),
    FIELD("runtime.mspan", "sweepgen", sweepgen),
    FIELD("runtime.mspan", "state", state),
    FIELD("runtime.mspan", "spanclass", class),
    FIELD("runtime.mspan", "", self),
    FIELD("runtime.mheap", "allspans", all),
    FIELD("runtime.mheap", "sweepgen", heap_sweepgen),
};
MS_GO_EXPORT_FIELDS(stat_spans, fields)

#define GO_PAGE    8192u /* src/runtime/sizeclasses.go, _PageSize */
#define SPAN_BYTES 1024u /* an mspan is never larger */
#define SPANS_MOST (1u << 28)
#define ADDRESSES  (1ull << 47)

static ms_result bind(struct ms_go *go, struct ms_go_span_layout *layout)
{
    MS_TRY(ms_go_bind(go, fields, sizeof fields / sizeof *fields, layout));
    if (layout->self.size > SPAN_BYTES)
        return ms_error(MS_TARGET, "%s: the layout of runtime.mspan of %s is not known", go->image->origin,
                        go->version);
    return NULL;
}

/* The field at PLACE of the structure in BYTES; PLACE lies in it, or is none. */
static uint64_t field(const uint8_t *bytes, uint32_t size, struct ms_go_place place)
{
    uint64_t value = 0;
    if (place.size && place.size <= 8 && place.offset <= size && size - place.offset >= place.size)
        memcpy(&value, bytes + place.offset, place.size);
    return value;
}

static bool read_span(const struct ms_go *go, const struct ms_go_span_layout *layout, uint64_t address,
                      struct ms_go_stat_span *span)
{
    uint8_t bytes[SPAN_BYTES];
    const uint32_t size = layout->self.size;
    if (!ms_image_read(go->image, address, bytes, size))
        return false;
    uint64_t pages = field(bytes, size, layout->pages);
    *span = (struct ms_go_stat_span){
        .start = field(bytes, size, layout->start),
        .size = field(bytes, size, layout->elemsize),
        .sweepgen = (uint32_t)field(bytes, size, layout->sweepgen),
        .count = (uint32_t)field(bytes, size, layout->elements),
        .allocated = (uint16_t)field(bytes, size, layout->allocated),
        .before = (uint16_t)field(bytes, size, layout->before),
        .state = (uint8_t)field(bytes, size, layout->state),
        .class = (uint8_t)field(bytes, size, layout->class),
    };
    if (span->start % GO_PAGE || span->start >= ADDRESSES || pages > ADDRESSES / GO_PAGE)
        return false;
    span->end = span->start + pages * GO_PAGE;
    return true;
}

bool ms_go_stat_span_at(const struct ms_go *go, const struct ms_go_stat_spans *spans, uint64_t address,
                        struct ms_go_stat_span *span)
{
    return read_span(go, &spans->layout, address, span);
}

static int by_address(const void *a, const void *b)
{
    const struct ms_go_stat_span *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Takes out what overlaps, which a heap in order does not have. */
static void make_disjoint(struct ms_go_stat_spans *spans)
{
    size_t kept = 0;
    for (size_t i = 0; i < spans->list.count; i++)
        if (!kept || spans->list.items[i].start >= spans->list.items[kept - 1].end)
            spans->list.items[kept++] = spans->list.items[i];
    spans->list.count = kept;
}

static ms_result read_all(struct ms_go *go, const struct ms_go_span_layout *layout, uint64_t heap,
                          struct ms_go_stat_spans *spans)
{
    struct ms_go_slice all;
    if (!ms_go_get_slice(go, heap, layout->all, &all) || all.length > SPANS_MOST ||
        !ms_go_get(go, heap, layout->heap_sweepgen, &spans->heap_sweepgen))
        return ms_error(MS_TARGET, "%s: the list of spans in runtime.mheap_ cannot be read", go->image->origin);
    for (uint64_t i = 0; i < all.length; i++) {
        uint64_t address;
        struct ms_go_stat_span span;
        if (!ms_image_read_word(go->image, all.data + i * 8, &address) || !address ||
            !read_span(go, layout, address, &span) || span.state == MS_GO_SPAN_DEAD ||
            span.state > MS_GO_SPAN_MANUAL || span.end == span.start)
            continue;
        struct ms_go_stat_span *added = ms_vector_add(&spans->list);
        if (!added)
            return ms_error_nomem("the spans of the Go heap");
        *added = span;
    }
    return NULL;
}

ms_result ms_go_stat_spans(struct ms_go *go, struct ms_go_stat_spans *spans)
{
    *spans = (struct ms_go_stat_spans){.heap_sweepgen = 0};
    MS_TRY(bind(go, &spans->layout));
    uint64_t heap = ms_go_global(go, "runtime.mheap_");
    if (!heap)
        return ms_error(MS_TARGET, "%s: runtime.mheap_ of this %s program cannot be found", go->image->origin,
                        go->version);
    struct ms_error *error = read_all(go, &spans->layout, heap, spans);
    if (error) {
        ms_go_stat_spans_free(spans);
        return error;
    }
    ms_vector_sort(&spans->list, by_address);
    make_disjoint(spans);
    return NULL;
}

void ms_go_stat_spans_free(struct ms_go_stat_spans *spans)
{
    ms_vector_free(&spans->list);
}

struct ms_go_stat_span *ms_go_stat_span_of(struct ms_go_stat_spans *spans, uint64_t address)
{
    size_t low = 0, high = spans->list.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (spans->list.items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < spans->list.count && spans->list.items[low].start <= address ? &spans->list.items[low] : NULL;
}
