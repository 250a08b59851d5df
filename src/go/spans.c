/* The spans of the Go heap, and which of their slots are objects. */
#include <stdlib.h>
#include <string.h>

#include "heap.h"
#include "layout.h"

/* Where the first arena is: arenaBaseOffset in src/runtime/malloc.go, amd64. */
#define ARENA_BASE    0xffff800000000000u
#define ARENAS_MOST   (1u << 22)
#define SPAN_IN_USE   1u   /* mSpanInUse, src/runtime/mheap.go */
#define SPAN_MANUAL   2u   /* mSpanManual */
#define INLINE_MARKS  128u /* spanInlineMarkBits, src/runtime/mgcmark_greenteagc.go … */
#define INLINE_OFFSET 64u  /* … and where the marks are in it, behind the scan bits */
#define INLINE_BYTES  63u
#define HEADER_ABOVE  512u  /* objects beyond have a header from 1.22 on: minSizeForMallocHeader */
#define SPECIALS_MOST 4096u /* a span, and one each slot */
#define SLOTS_MOST    65536u

struct layout {
    struct ms_go_place all_arenas, l1, heap_sweepgen;
    struct ms_go_place arena_spans, bitmap, no_more, inline_pages;
    struct ms_go_place start, pages, free_index, slots, allocated, marked, sweepgen, alloc_count;
    struct ms_go_place class, state, slot, specials, large_type, span;
    struct ms_go_place next, offset, kind;
    struct ms_go_place finalizer_fn, weak_handle, cleanup;
};
#define FIELD(type, path, into)    MS_GO_FIELD(struct layout, type, path, into)
#define SINCE(type, path, into, n) MS_GO_FIELD_IN(struct layout, type, path, into, n, 0)
#define SPAN(path, into)           FIELD("runtime.mspan", path, into)
static const struct ms_go_field fields[] = {
    FIELD("runtime.mheap", "heapArenas|allArenas", all_arenas),
    FIELD("runtime.mheap", "arenas", l1),
    FIELD("runtime.mheap", "sweepgen", heap_sweepgen),
    FIELD("runtime.heapArena", "spans", arena_spans),
    MS_GO_FIELD_IN(struct layout, "runtime.heapArena", "bitmap|heapArenaPtrScalar.bitmap", bitmap, 0, 21),
    MS_GO_FIELD_IN(struct layout, "runtime.heapArena", "noMorePtrs|heapArenaPtrScalar.noMorePtrs", no_more, 20, 21),
    SINCE("runtime.heapArena", "pageUseSpanInlineMarkBits", inline_pages, 25),
    SPAN("startAddr", start),
    SPAN("npages", pages),
    SPAN("freeindex", free_index),
    SPAN("nelems", slots),
    SPAN("allocBits", allocated),
    SPAN("gcmarkBits", marked),
    SPAN("sweepgen", sweepgen),
    SPAN("allocCount", alloc_count),
    SPAN("spanclass", class),
    SPAN("state", state),
    SPAN("elemsize", slot),
    SPAN("specials", specials),
    SINCE("runtime.mspan", "largeType", large_type, 22),
    SPAN("", span),
    FIELD("runtime.special", "next", next),
    FIELD("runtime.special", "offset", offset),
    FIELD("runtime.special", "kind", kind),
    FIELD("runtime.specialfinalizer", "fn", finalizer_fn),
    SINCE("runtime.specialWeakHandle", "handle", weak_handle, 23),
    SINCE("runtime.specialCleanup", "cleanup|fn", cleanup, 24),
};
MS_GO_EXPORT_FIELDS(spans, fields)

static ms_result bind(struct ms_go *go, struct layout *layout)
{
    return ms_go_bind(go, fields, sizeof fields / sizeof *fields, layout);
}

/* --- arenas ------------------------------------------------------------------------------------
 */

static int arenas_by_start(const void *a, const void *b)
{
    const struct ms_go_arena *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static struct ms_error *unreadable(const struct ms_go_builder *b, const char *what)
{
    return ms_error(MS_TARGET, "%s: %s of this %s program cannot be read", b->image->origin, what, b->go->version);
}

/* arenaIdx is an index into both levels of mheap.arenas; on amd64 there is one table of the second.
 */
static struct ms_error *read_arenas(struct ms_go_builder *b, const struct layout *layout)
{
    const uint64_t heap = ms_go_global(b->go, "runtime.mheap_");
    struct ms_go_slice all;
    uint64_t table;
    b->arenas.bytes = layout->arena_spans.size / 8 * (uint64_t)MS_GO_PAGE;
    b->arenas.bitmap = layout->bitmap;
    b->arenas.no_more = layout->no_more;
    if (!heap || !ms_go_get_slice(b->go, heap, layout->all_arenas, &all) || all.length > ARENAS_MOST ||
        !ms_image_read_word(b->image, heap + layout->l1.offset, &table))
        return unreadable(b, "the heap");
    for (uint64_t i = 0; i < all.length; i++) {
        uint64_t index, address;
        if (!ms_image_read_word(b->image, all.data + i * 8, &index) || index >= ARENAS_MOST ||
            !ms_image_read_word(b->image, table + index * 8, &address) || !address ||
            !ms_image_region(b->image, ARENA_BASE + index * b->arenas.bytes))
            continue; /* it is being added in this moment */
        struct ms_go_arena *arena = ms_vector_add(&b->arenas.list);
        if (!arena)
            return ms_error_nomem("the Go heap");
        *arena = (struct ms_go_arena){ARENA_BASE + index * b->arenas.bytes, address};
    }
    ms_vector_sort(&b->arenas.list, arenas_by_start);
    size_t kept = 0;
    for (size_t i = 0; i < b->arenas.list.count; i++)
        if (!kept || b->arenas.list.items[i].start != b->arenas.list.items[kept - 1].start)
            b->arenas.list.items[kept++] = b->arenas.list.items[i];
    b->arenas.list.count = kept;
    return NULL;
}

ms_result ms_go_read_arenas(struct ms_go_builder *b)
{
    struct layout layout;
    MS_TRY(bind(b->go, &layout));
    return read_arenas(b, &layout);
}

/* --- spans -------------------------------------------------------------------------------------
 */

/* A field of the structure whose bytes are here. */
static uint64_t field(const uint8_t *bytes, struct ms_go_place place)
{
    uint64_t value = 0;
    memcpy(&value, bytes + place.offset, place.size < sizeof value ? place.size : sizeof value);
    return value;
}

static uint64_t count_bits(const struct ms_go *go, uint64_t address, uint32_t bits)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < bits; i += 8) {
        uint8_t byte = 0;
        ms_image_read(go->image, address + i / 8, &byte, 1);
        count += (unsigned)__builtin_popcount(bits - i < 8 ? byte & ((1u << (bits - i)) - 1) : byte);
    }
    return count;
}

/*
 * Do its marks say which objects live? sweepgen, src/runtime/mheap.go: counted from the heap's, -2
 * is a span that is not swept, -1 one that is being swept, +1 one that is cached and not swept. The
 * one being swept has its marks made its allocBits at some moment: allocCount was set before.
 */
static bool is_unswept(const struct ms_go *go, const struct ms_go_span *span, uint64_t alloc_count,
                       int32_t generation)
{
    if (generation == -1)
        return count_bits(go, span->marked, span->slots) ||
               count_bits(go, span->allocated, span->slots) != alloc_count;
    return generation == -2 || generation == 1;
}

/* Is what these bytes say of a span at START that ends before END to be believed? */
static bool take_span(const struct ms_go_builder *b, const struct layout *layout, const uint8_t *bytes,
                      uint64_t start, uint64_t end, struct ms_go_span *span)
{
    uint64_t pages = field(bytes, layout->pages), state = field(bytes, layout->state);
    uint64_t slots = field(bytes, layout->slots);
    if (field(bytes, layout->start) != start || (state != SPAN_IN_USE && state != SPAN_MANUAL) || !pages ||
        pages > (end - start) / MS_GO_PAGE)
        return false;
    *span = (struct ms_go_span){
        .start = start,
        .end = start + pages * MS_GO_PAGE,
        .slot = field(bytes, layout->slot),
        .allocated = field(bytes, layout->allocated),
        .marked = field(bytes, layout->marked),
        .specials = field(bytes, layout->specials),
        .large_type = layout->large_type.size ? field(bytes, layout->large_type) : 0,
        .class = (uint8_t)field(bytes, layout->class),
        .manual = state == SPAN_MANUAL,
    };
    if (span->manual)
        return true;
    if (span->slot < 8 || span->slot % 8 || !slots || slots > SLOTS_MOST ||
        slots > (span->end - start) / span->slot)
        return false;
    span->slots = (uint32_t)slots;
    uint64_t free_index = field(bytes, layout->free_index);
    span->free_index = free_index < slots ? (uint32_t)free_index : span->slots;
    span->scanned = !(span->class & 1);
    span->header = span->scanned && !b->arenas.bitmap.size && span->slot > HEADER_ABOVE && span->class >> 1;
    return true;
}

/* Where the mapped arenas that follow each other from ARENA on end. */
static uint64_t run_end(const struct ms_go_arenas *arenas, size_t arena)
{
    while (arena + 1 < arenas->list.count &&
           arenas->list.items[arena + 1].start == arenas->list.items[arena].start + arenas->bytes)
        arena++;
    return arenas->list.items[arena].start + arenas->bytes;
}

/*
 * The spans of an arena, which its table has once for each page. Entries of pages that are free are
 * what they were: they do not fit what they point to.
 */
static struct ms_error *read_arena(struct ms_go_builder *b, const struct layout *layout, size_t number,
                                   uint32_t heap_sweepgen, uint64_t *table, uint8_t *bytes)
{
    const struct ms_go_arena *arena = &b->arenas.list.items[number];
    const uint64_t end = run_end(&b->arenas, number);
    if (!ms_image_read(b->image, arena->address + layout->arena_spans.offset, table, layout->arena_spans.size)) {
        b->unreadable = true;
        return NULL;
    }
    for (uint64_t page = 0, pages = layout->arena_spans.size / 8; page < pages;) {
        uint64_t start = arena->start + page * MS_GO_PAGE;
        struct ms_go_span span;
        if (!table[page] || !ms_image_read(b->image, table[page], bytes, layout->span.size) ||
            !take_span(b, layout, bytes, start, end, &span)) {
            page++;
            continue;
        }
        span.address = table[page];
        uint8_t inline_marks = 0;
        if (layout->inline_pages.size)
            ms_image_read(b->image, arena->address + layout->inline_pages.offset + page / 8, &inline_marks, 1);
        if (!span.manual && inline_marks >> page % 8 & 1)
            span.inline_marks = start + MS_GO_PAGE - INLINE_MARKS;
        if (!span.manual)
            span.unswept = is_unswept(b->go, &span, field(bytes, layout->alloc_count),
                                      (int32_t)((uint32_t)field(bytes, layout->sweepgen) - heap_sweepgen));
        struct ms_go_span *slot = ms_vector_add(&b->heap->spans);
        if (!slot)
            return ms_error_nomem("the Go heap");
        *slot = span;
        page += (span.end - span.start) / MS_GO_PAGE;
    }
    return NULL;
}

static int spans_by_start(const void *a, const void *b)
{
    const struct ms_go_span *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* A span may go on in the next arena, whose table must not have others there. */
static void drop_overlaps(struct ms_go_heap *heap)
{
    size_t kept = 0;
    for (size_t i = 0; i < heap->spans.count; i++)
        if (!kept || heap->spans.items[i].start >= heap->spans.items[kept - 1].end)
            heap->spans.items[kept++] = heap->spans.items[i];
    heap->spans.count = kept;
}

ms_result ms_go_read_spans(struct ms_go_builder *b)
{
    struct layout layout;
    MS_TRY(bind(b->go, &layout));
    uint64_t heap = ms_go_global(b->go, "runtime.mheap_"), sweepgen, phase = 0;
    uint64_t phase_at = ms_go_global(b->go, "runtime.gcphase");
    if (!heap || !ms_go_get(b->go, heap, layout.heap_sweepgen, &sweepgen))
        return unreadable(b, "the heap");
    b->heap->marking = phase_at && ms_go_get(b->go, phase_at, (struct ms_go_place){0, 4}, &phase) && phase;
    MS_TRY(read_arenas(b, &layout));
    ms_auto_free uint64_t *table = malloc(layout.arena_spans.size + 8u);
    ms_auto_free uint8_t *bytes = malloc(layout.span.size + 8u);
    if (!table || !bytes)
        return ms_error_nomem("the Go heap");
    for (size_t i = 0; i < b->arenas.list.count; i++)
        MS_TRY(read_arena(b, &layout, i, (uint32_t)sweepgen, table, bytes));
    ms_vector_sort(&b->heap->spans, spans_by_start);
    drop_overlaps(b->heap);
    return NULL;
}

/* --- slots -------------------------------------------------------------------------------------
 */

bool ms_go_bit(const struct ms_go *go, uint64_t address, uint32_t index)
{
    uint8_t byte = 0;
    return ms_image_read(go->image, address + index / 8, &byte, 1) && byte >> index % 8 & 1;
}

bool ms_go_slot_allocated(const struct ms_go *go, const struct ms_go_span *span, uint32_t index)
{
    return index < span->free_index || ms_go_bit(go, span->allocated, index);
}

/* Numbers of specials' kinds, src/runtime/mheap.go: _KindSpecialFinalizer and so on; 0: there are
 * none. */
static const struct kinds {
    unsigned minor; /* from 1.MINOR on */
    unsigned finalizer, weak, cleanup;
} kinds[] = {{25, 2, 3, 7}, {24, 1, 2, 6}, {23, 1, 2, 0}, {0, 1, 0, 0}};

static struct ms_error *read_specials(struct ms_go_builder *b, const struct layout *layout,
                                      const struct ms_go_span *span)
{
    const struct kinds *k = kinds;
    while (b->go->minor < k->minor)
        k++;
    uint64_t at = span->specials, kind, offset;
    for (uint64_t left = SPECIALS_MOST + span->slots; at && left; left--) {
        if (!ms_go_get(b->go, at, layout->kind, &kind) || !ms_go_get(b->go, at, layout->offset, &offset)) {
            b->unreadable = true;
            return NULL;
        }
        struct ms_go_special found = {.slot = span->start + offset / span->slot * span->slot};
        struct ms_go_place place = {0};
        if (kind == k->finalizer) {
            found.kind = MS_GO_FINALIZER;
            place = layout->finalizer_fn;
        } else if (kind && kind == k->weak) {
            found.kind = MS_GO_WEAK;
            place = layout->weak_handle;
        } else if (kind && kind == k->cleanup) {
            found.kind = MS_GO_CLEANUP;
            place = layout->cleanup;
        }
        if (place.size && offset < span->slots * span->slot) {
            struct ms_go_special *slot = ms_vector_add(&b->specials);
            if (!slot)
                return ms_error_nomem("the Go heap");
            found.address = at + place.offset;
            found.words = place.size / 8;
            *slot = found;
        }
        ms_go_get(b->go, at, layout->next, &at);
    }
    return NULL;
}

/* Bits of which slots are allocated, and of which are garbage: allocated, and nothing will keep
 * them. */
static bool read_bits(struct ms_go_builder *b, const struct ms_go_span *span, uint8_t *allocated, uint8_t *garbage)
{
    const uint32_t bytes = (span->slots + 7) / 8;
    uint8_t marks[SLOTS_MOST / 8], more[INLINE_BYTES];
    if (!ms_image_read(b->image, span->allocated, allocated, bytes))
        return false;
    for (uint32_t i = 0; i < bytes && i * 8 < span->free_index; i++)
        allocated[i] |= span->free_index - i * 8 >= 8 ? 0xff : (uint8_t)((1u << (span->free_index - i * 8)) - 1);
    memset(garbage, 0, bytes);
    if (!span->unswept)
        return true;
    if (!ms_image_read(b->image, span->marked, marks, bytes))
        return false;
    if (span->inline_marks) {
        if (!ms_image_read(b->image, span->inline_marks + INLINE_OFFSET, more, sizeof more))
            return false;
        for (uint32_t i = 0; i < bytes && i < sizeof more; i++)
            marks[i] |= more[i];
    }
    for (uint32_t i = 0; i < bytes; i++)
        garbage[i] = (uint8_t)(allocated[i] & ~marks[i]);
    return true;
}

/* The sweeper revives what has a finalizer, to run that. */
static void revive(const struct ms_go_builder *b, const struct ms_go_span *span, size_t first, uint8_t *garbage)
{
    for (size_t i = first; i < b->specials.count; i++) {
        const struct ms_go_special *special = &b->specials.items[i];
        uint64_t index = (special->slot - span->start) / span->slot;
        if (special->kind == MS_GO_FINALIZER)
            garbage[index / 8] &= (uint8_t) ~(1u << index % 8);
    }
}

static void mark_slots(struct ms_go_builder *b, const struct ms_go_span *span, const uint8_t *allocated,
                       const uint8_t *garbage)
{
    struct ms_heap *heap = &b->heap->scan->heap;
    const struct ms_segment *s = ms_heap_segment(heap, span->start);
    uint64_t granule = ms_address_granule(heap, s, span->start), dead = 0, live = 0;
    for (uint32_t i = 0; i < span->slots; i++, granule += span->slot / 8) {
        ms_heap_mark_start(heap, granule);
        if (!(allocated[i / 8] >> i % 8 & 1))
            continue;
        if (garbage[i / 8] >> i % 8 & 1) {
            dead++;
            continue;
        }
        live++;
        if (span->header)
            ms_heap_mark_start(heap, granule + 1);
        ms_heap_mark_live(heap, granule + span->header, true);
    }
    if (span->start + span->slots * span->slot < span->end)
        ms_heap_mark_start(heap, granule);
    b->heap->live.blocks += live;
    b->heap->live.bytes += live * span->slot;
    b->heap->garbage.blocks += dead;
    b->heap->garbage.bytes += dead * span->slot;
    struct ms_tally *classes = heap->arenas.items[s->arena].classes;
    const uint64_t free = span->slots - live - dead;
    const struct ms_tally sums[] = {{live, live * span->slot},
                                    {dead, dead * span->slot},
                                    {free, free * span->slot},
                                    {1, span->end - span->start - span->slots * span->slot}};
    const enum ms_class which[] = {MS_CLASS_LIVE, MS_CLASS_GARBAGE, MS_CLASS_FREE, MS_CLASS_OVERHEAD};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        classes[which[i]].blocks += sums[i].bytes ? sums[i].blocks : 0;
        classes[which[i]].bytes += sums[i].bytes;
    }
}

static void mark_other(struct ms_heap *heap, uint64_t start, uint64_t end, enum ms_class class)
{
    const struct ms_segment *s = ms_heap_segment(heap, start);
    struct ms_tally *tally = &heap->arenas.items[s->arena].classes[class];
    ms_heap_mark_start(heap, ms_address_granule(heap, s, start));
    tally->blocks++;
    tally->bytes += end - start;
}

ms_result ms_go_read_slots(struct ms_go_builder *b)
{
    struct layout layout;
    struct ms_heap *heap = &b->heap->scan->heap;
    ms_auto_free uint8_t *bits = malloc(2 * (SLOTS_MOST / 8));
    if (!bits)
        return ms_error_nomem("the Go heap");
    MS_TRY(bind(b->go, &layout));
    uint8_t *allocated = bits, *garbage = bits + SLOTS_MOST / 8;
    for (size_t i = 0; i < b->heap->spans.count; i++) {
        const struct ms_go_span *span = &b->heap->spans.items[i];
        if (i && span[-1].end < span->start && ms_heap_segment(heap, span[-1].end))
            mark_other(heap, span[-1].end, span->start, MS_CLASS_FREE);
        if (span->manual) {
            mark_other(heap, span->start, span->end, MS_CLASS_RUNTIME);
            continue;
        }
        const size_t first = b->specials.count;
        MS_TRY(read_specials(b, &layout, span));
        if (!read_bits(b, span, allocated, garbage)) {
            b->unreadable = true;
            mark_other(heap, span->start, span->end, MS_CLASS_UNKNOWN);
            continue;
        }
        if (span->unswept)
            revive(b, span, first, garbage);
        mark_slots(b, span, allocated, garbage);
    }
    return NULL;
}
