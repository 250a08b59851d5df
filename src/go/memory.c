/* What the Go runtime has memory for besides objects: stacks, and what it keeps about the heap. */
#include <stdlib.h>
#include <string.h>

#include "goroutines.h"
#include "heap.h"
#include "layout.h"
#include "memscope/gostats.h"

/* src/runtime/mheap.go, mpagealloc.go, mprof.go, mcache.go. */
struct layout {
    struct ms_go_place span, all_spans, arena, arenas, cache, p_cache, chunks, chunk, summaries, scavenge_index;
    struct ms_go_place bits, bits_next, bucket, bucket_next, bucket_kind, bucket_size, bucket_depth, memory_record,
        other_record;
};
#define FIELD(type, path, into) MS_GO_FIELD(struct layout, "runtime." type, path, into)
/* Nothing of this must be there: what is not found is in the row of the rest. */
#define FIELD_ANY(type, path, into) MS_GO_FIELD_IN(struct layout, "runtime." type, path, into, 255, 0)
static const struct ms_go_field fields[] = {
    FIELD("mspan", "", span),
    FIELD("mheap", "allspans", all_spans),
    FIELD_ANY("heapArena", "", arena),
    FIELD_ANY("mheap", "arenas", arenas),
    FIELD_ANY("mcache", "", cache),
    FIELD("p", "mcache", p_cache),
    FIELD_ANY("mheap", "pages.chunks", chunks),
    FIELD_ANY("pallocData", "", chunk),
    FIELD_ANY("mheap", "pages.summary", summaries),
    FIELD_ANY("mheap", "pages.scav.index.chunks", scavenge_index),
    FIELD_ANY("gcBitsArena", "", bits),
    FIELD_ANY("gcBitsArena", "next", bits_next),
    FIELD_ANY("bucket", "", bucket),
    FIELD_ANY("bucket", "allnext", bucket_next),
    FIELD_ANY("bucket", "typ", bucket_kind),
    FIELD_ANY("bucket", "nstk", bucket_depth),
    FIELD_ANY("memRecord", "", memory_record),
    FIELD_ANY("blockRecord", "", other_record),
};
MS_GO_EXPORT_FIELDS(memory, fields)

#define ARENA_TABLE      ((uint64_t)8 << 22) /* bytes: 1 << arenaL2Bits pointers, linux/amd64 */
#define PERSISTENT_CHUNK (256u << 10)        /* persistentChunkSize, malloc.go */
#define BUCKET_TABLE     (179999u * 8)       /* buckHashSize pointers, mprof.go */
#define CHUNKS_IN_GROUP  8192u               /* 1 << pallocChunksL2Bits */
#define MOST             (1u << 28)          /* of what is in a list */

struct reading {
    struct ms_go *go;
    struct layout at;
    uint64_t heap;
    struct ms_go_memory *fine, *coarse; /* what is fine lies in what is coarse, maybe */
};

static ms_result add(struct ms_go_memory *memory, uint64_t start, uint64_t size, enum ms_go_memory_use use)
{
    if (!start || !size || start + size < start)
        return NULL;
    struct ms_go_memory_piece *piece = ms_vector_add(memory);
    if (!piece)
        return ms_error_nomem("what the Go runtime keeps");
    *piece = (struct ms_go_memory_piece){start, start + size, use};
    return NULL;
}

static uint64_t word(const struct reading *r, uint64_t address)
{
    uint64_t value;
    ms_image_read_word(r->go->image, address, &value);
    return value;
}

static ms_result add_spans(struct reading *r)
{
    struct ms_go_slice all;
    if (!ms_go_get_slice(r->go, r->heap, r->at.all_spans, &all) || all.length > MOST || all.capacity > MOST)
        return NULL;
    for (uint64_t i = 0; i < all.length; i++)
        MS_TRY(add(r->fine, word(r, all.data + 8 * i), r->at.span.size, MS_GO_MEMORY_SPANS));
    return add(r->fine, all.data, 8 * all.capacity, MS_GO_MEMORY_SPANS);
}

static ms_result add_caches(struct reading *r)
{
    struct ms_go_slice all = {0};
    uint64_t list = ms_go_global(r->go, "runtime.allp");
    if (!list || !ms_go_get_slice(r->go, list, (struct ms_go_place){0, 24}, &all) || all.length > MOST)
        return NULL;
    for (uint64_t i = 0; i < all.length; i++) {
        uint64_t p = word(r, all.data + 8 * i), cache;
        if (p && ms_go_get(r->go, p, r->at.p_cache, &cache))
            MS_TRY(add(r->fine, cache, r->at.cache.size, MS_GO_MEMORY_CACHES));
    }
    return NULL;
}

/* The tables by address, and the mark bits. */
static ms_result add_bitmaps(struct reading *r, const struct ms_go_arenas *arenas)
{
    for (size_t i = 0; i < arenas->list.count; i++)
        MS_TRY(add(r->fine, arenas->list.items[i].address, r->at.arena.size, MS_GO_MEMORY_BITMAPS));
    if (r->at.arenas.size == 8)
        MS_TRY(add(r->coarse, word(r, r->heap + r->at.arenas.offset), ARENA_TABLE, MS_GO_MEMORY_BITMAPS));
    /* gcBitsArenas is a lock and four lists; a lock is one word. */
    uint64_t lists = ms_go_global(r->go, "runtime.gcBitsArenas");
    for (unsigned i = 1; lists && i <= 4; i++) {
        unsigned count = 0;
        for (uint64_t at = word(r, lists + 8 * i); at && count++ < MOST / 1024;
             at = word(r, at + r->at.bits_next.offset))
            MS_TRY(add(r->fine, at, r->at.bits.size, MS_GO_MEMORY_BITMAPS));
    }
    return NULL;
}

static ms_result add_page_allocator(struct reading *r)
{
    for (uint32_t at = 0; at + 8 <= r->at.chunks.size; at += 8)
        MS_TRY(add(r->fine, word(r, r->heap + r->at.chunks.offset + at),
                   CHUNKS_IN_GROUP * (uint64_t)r->at.chunk.size, MS_GO_MEMORY_PAGES));
    for (uint32_t at = 0; at + 24 <= r->at.summaries.size; at += 24) {
        struct ms_go_slice level;
        if (ms_go_get_slice(r->go, r->heap + at, (struct ms_go_place){r->at.summaries.offset, 24}, &level) &&
            level.capacity < 1ull << 40)
            MS_TRY(add(r->coarse, level.data, 8 * level.capacity, MS_GO_MEMORY_PAGES));
    }
    struct ms_go_slice index;
    if (ms_go_get_slice(r->go, r->heap, r->at.scavenge_index, &index) && index.capacity < 1ull << 40)
        return add(r->coarse, index.data, 8 * index.capacity, MS_GO_MEMORY_PAGES);
    return NULL;
}

/* Records of the profiles: a header, the stack, and the counts of what the list is of. */
static ms_result add_buckets(struct reading *r, const char *list, uint32_t record)
{
    const struct layout *at = &r->at;
    uint64_t head = ms_go_global(r->go, list), depth;
    unsigned count = 0;
    for (uint64_t bucket = head ? word(r, head) : 0; bucket && count++ < MOST;
         bucket = word(r, bucket + at->bucket_next.offset)) {
        if (!ms_go_get(r->go, bucket, at->bucket_depth, &depth) || depth > 1u << 16)
            return NULL;
        MS_TRY(add(r->fine, bucket, at->bucket.size + 8 * depth + record, MS_GO_MEMORY_PROFILES));
    }
    return NULL;
}

static ms_result add_profiles(struct reading *r)
{
    if (!r->at.bucket.size || !r->at.bucket_next.size)
        return NULL;
    uint64_t table = ms_go_global(r->go, "runtime.buckhash");
    MS_TRY(add(r->coarse, table ? word(r, table) : 0, BUCKET_TABLE, MS_GO_MEMORY_PROFILES));
    MS_TRY(add_buckets(r, "runtime.mbuckets", r->at.memory_record.size));
    MS_TRY(add_buckets(r, "runtime.bbuckets", r->at.other_record.size));
    return add_buckets(r, "runtime.xbuckets", r->at.other_record.size);
}

static ms_result add_persistent(struct reading *r)
{
    uint64_t list = ms_go_global(r->go, "runtime.persistentChunks");
    unsigned count = 0;
    for (uint64_t at = list ? word(r, list) : 0; at && count++ < MOST / 1024; at = word(r, at))
        MS_TRY(add(r->coarse, at, PERSISTENT_CHUNK, MS_GO_MEMORY_RUNTIME));
    return NULL;
}

static ms_result add_stacks(struct reading *r, const struct ms_go_goroutines *goroutines)
{
    for (size_t i = 0; goroutines && i < goroutines->list.count; i++) {
        const struct ms_go_range *stack = &goroutines->list.items[i].stack;
        MS_TRY(add(r->fine, stack->start, stack->end - stack->start, MS_GO_MEMORY_STACKS));
    }
    for (size_t i = 0; goroutines && i < goroutines->reader->machines.count; i++) {
        const struct go_machine *m = &goroutines->reader->machines.items[i];
        MS_TRY(add(r->fine, m->system.start, m->system.end - m->system.start, MS_GO_MEMORY_STACKS));
        MS_TRY(add(r->fine, m->signal.start, m->signal.end - m->signal.start, MS_GO_MEMORY_STACKS));
    }
    return NULL;
}

/* Spans without objects are of stacks, which have a size, or of work buffers. */
static ms_result add_manual(struct reading *r, const struct ms_go_heap *heap)
{
    for (size_t i = 0; i < heap->spans.count; i++) {
        const struct ms_go_span *span = &heap->spans.items[i];
        if (span->manual)
            MS_TRY(add(r->coarse, span->start, span->end - span->start,
                       span->slot ? MS_GO_MEMORY_FREE_STACKS : MS_GO_MEMORY_WORK));
    }
    return NULL;
}

static int by_start(const void *a, const void *b)
{
    const struct ms_go_memory_piece *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static void make_disjoint(struct ms_go_memory *memory)
{
    uint64_t end = 0;
    size_t kept = 0;
    ms_vector_sort(memory, by_start);
    for (size_t i = 0; i < memory->count; i++) {
        struct ms_go_memory_piece piece = memory->items[i];
        piece.start = piece.start > end ? piece.start : end;
        if (piece.start >= piece.end)
            continue;
        end = piece.end;
        if (kept && memory->items[kept - 1].end == piece.start && memory->items[kept - 1].use == piece.use)
            memory->items[kept - 1].end = piece.end;
        else
            memory->items[kept++] = piece;
    }
    memory->count = kept;
}

/* FINE with the parts of COARSE that it leaves. */
static ms_result merge(const struct ms_go_memory *fine, const struct ms_go_memory *coarse, struct ms_go_memory *all)
{
    size_t next = 0;
    for (size_t i = 0; i < coarse->count; i++) {
        const struct ms_go_memory_piece *piece = &coarse->items[i];
        uint64_t at = piece->start;
        for (; next < fine->count && fine->items[next].start < piece->end; next++) {
            const struct ms_go_memory_piece *in = &fine->items[next];
            if (in->start > at)
                MS_TRY(add(all, at, in->start - at, piece->use));
            MS_TRY(add(all, in->start, in->end - in->start, in->use));
            at = in->end > at ? in->end : at;
        }
        if (at < piece->end)
            MS_TRY(add(all, at, piece->end - at, piece->use));
    }
    for (; next < fine->count; next++)
        MS_TRY(add(all, fine->items[next].start, fine->items[next].end - fine->items[next].start,
                   fine->items[next].use));
    make_disjoint(all);
    return NULL;
}

static ms_result add_arenas(struct reading *r)
{
    struct ms_go_builder builder = {.go = r->go, .image = (struct ms_image *)r->go->image};
    struct ms_error *error = ms_go_read_arenas(&builder);
    if (!error)
        error = add_bitmaps(r, &builder.arenas);
    ms_vector_free(&builder.arenas.list);
    return error;
}

static ms_result read_all(struct reading *r, const struct ms_go_heap *heap)
{
    MS_TRY(add_spans(r));
    MS_TRY(add_caches(r));
    MS_TRY(add_arenas(r));
    MS_TRY(add_page_allocator(r));
    MS_TRY(add_profiles(r));
    MS_TRY(add_persistent(r));
    MS_TRY(add_stacks(r, heap->goroutines));
    MS_TRY(add_manual(r, heap));
    make_disjoint(r->fine);
    make_disjoint(r->coarse);
    return NULL;
}

ms_result ms_go_memory_read(struct ms_go *go, const struct ms_go_heap *heap, struct ms_go_memory *memory)
{
    struct ms_go_memory fine = {0}, coarse = {0};
    struct reading r = {.go = go, .fine = &fine, .coarse = &coarse};
    memset(memory, 0, sizeof *memory);
    MS_TRY(ms_go_bind(go, fields, sizeof fields / sizeof *fields, &r.at));
    r.heap = ms_go_global(go, "runtime.mheap_");
    struct ms_error *error = read_all(&r, heap);
    if (!error)
        error = merge(&fine, &coarse, memory);
    ms_go_memory_free(&fine);
    ms_go_memory_free(&coarse);
    if (error)
        ms_go_memory_free(memory);
    return error;
}

void ms_go_memory_free(struct ms_go_memory *memory)
{
    ms_vector_free(memory);
}
