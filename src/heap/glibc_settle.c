/* After the stop: which of glibc's chunks are only cached, and do the sums agree? */
#include "glibc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_LIMIT 65536u /* counts are uint16_t: no list is longer */
#define VOTES_A_LIST 8u
#define TLS_REACH 65536u  /* the static TLS of libc lies within this below the thread pointer */
#define TCACHE_SHAPES 3u

/*
 * tcache_perthread_struct by version: size of its chunk, offset of entries[],
 * and how many bins are one size each (32 + 16 * index). 2.42 has more bins
 * behind them for sizes that vary.
 */
static const struct tcache_shape {
    unsigned chunk, entries, exact_bins, bins;
} shapes[TCACHE_SHAPES] = {
    {0x250, 64, 64, 64},  /* 2.26: char counts[64] */
    {0x290, 128, 64, 64}, /* 2.30: uint16_t counts[64] */
    {0x300, 152, 64, 76}, /* 2.42: uint16_t num_slots[76] */
};

/* --- looking things up ------------------------------------------------------------------------- */

static int links_by_granule(const void *a, const void *b)
{
    const struct glibc_link *s = a, *t = b;
    return s->granule < t->granule ? -1 : s->granule > t->granule;
}

static const struct glibc_link *link_of(const struct glibc *g, uint64_t granule)
{
    struct glibc_link key = {.granule = granule};
    return g->links.count ? bsearch(&key, g->links.items, g->links.count, sizeof key, links_by_granule) : NULL;
}

static bool is_live(const struct ms_heap *heap, uint64_t granule)
{
    const struct ms_line *line = &heap->lines[granule / MS_LINE_GRANULES];
    return ms_bit(line->live & line->starts, granule);
}

/* The granule of a live arena block that starts at ADDRESS, or MS_NOTHING. */
static uint64_t live_at(const struct ms_heap *heap, uint64_t address)
{
    const struct ms_segment *s = address % 16 ? NULL : ms_heap_segment(heap, address);
    if (!s || s->kind != MS_SEGMENT_ARENA)
        return MS_NOTHING;
    uint64_t granule = ms_address_granule(heap, s, address);
    return is_live(heap, granule) ? granule : MS_NOTHING;
}

static uint64_t chunk_size(const struct ms_heap *heap, uint64_t granule)
{
    return (ms_next_start(heap, granule) - granule) * MS_GRANULE;
}

/* The address that word INDEX of a block holds, if it is a heap address; else 0. */
static uint64_t pointer_in(const struct ms_heap *heap, uint64_t granule, unsigned index)
{
    uint64_t target = ms_word_target(heap, granule * 2 + index);
    if (target >= 2 * heap->granules) /* MS_NOTHING too */
        return 0;
    return ms_granule_address(heap, target / 2) + (target & 1 ? 8 : 0);
}

/* --- cached chunks ----------------------------------------------------------------------------- */

static struct ms_error *take_out(struct ms_heap *heap, uint64_t granule, enum ms_class class)
{
    struct glibc *g = heap->state;
    struct glibc_cached *slot = ms_vector_add(&g->cached);
    if (!slot)
        return ms_error_nomem("the cached chunks");
    *slot = (struct glibc_cached){granule, class};
    ms_heap_mark_live(heap, granule, false);
    return NULL;
}

/* The address in a list after the block at GRANULE; SAFE: lists are safe-linked (2.32). */
static uint64_t next_in_list(const struct ms_heap *heap, uint64_t granule, bool safe)
{
    if (!safe)
        return pointer_in(heap, granule, 0);
    const struct glibc_link *link = link_of(heap->state, granule);
    return link ? link->next : 0;
}

/*
 * A list of cached chunks from the block at ADDRESS on; all have chunk size SIZE
 * (0: any). HEADER is what the list's pointers lack to be block addresses:
 * fastbins link chunks, tcache links blocks.
 */
typedef struct ms_error *list_function(struct ms_heap *heap, uint64_t address, uint64_t size,
                                       unsigned header, enum ms_class class);

static uint64_t member_at(const struct ms_heap *heap, uint64_t address, uint64_t size)
{
    uint64_t granule = address ? live_at(heap, address) : MS_NOTHING;
    return granule == MS_NOTHING || (size && chunk_size(heap, granule) != size) ? MS_NOTHING : granule;
}

/* Counts not trusted: what is no live chunk of that size ends the list. */
static struct ms_error *empty_list(struct ms_heap *heap, uint64_t address, uint64_t size, unsigned header,
                                   enum ms_class class)
{
    const struct glibc *g = heap->state;
    for (unsigned i = 0; address && i < LIST_LIMIT; i++) {
        uint64_t granule = member_at(heap, address + header, size);
        if (granule == MS_NOTHING)
            break;
        MS_TRY(take_out(heap, granule, class));
        address = next_in_list(heap, granule, !g->plain_links);
    }
    return NULL;
}

/*
 * Are links plain or safe? At low addresses (programs without PIE) each may look
 * like the other once in a while, so lists vote with the links that lead on.
 */
static struct ms_error *vote_on_links(struct ms_heap *heap, uint64_t address, uint64_t size, unsigned header,
                                      enum ms_class class)
{
    struct glibc *g = heap->state;
    (void)class;
    for (int safe = 0; safe < 2; safe++) {
        uint64_t granule = address ? member_at(heap, address + header, size) : MS_NOTHING;
        for (unsigned hops = 0; granule != MS_NOTHING && hops < VOTES_A_LIST; hops++) {
            uint64_t next = next_in_list(heap, granule, safe);
            granule = next ? member_at(heap, next + header, size) : MS_NOTHING;
            g->link_votes[safe] += granule != MS_NOTHING;
        }
    }
    return NULL;
}

static const struct tcache_shape *shape_of(const struct ms_heap *heap, uint64_t granule)
{
    uint64_t size = chunk_size(heap, granule);
    for (unsigned i = 0; i < TCACHE_SHAPES; i++)
        if (shapes[i].chunk == size)
            return &shapes[i];
    return NULL;
}

/* Is the block a tcache? Each entry must be nothing or a block of that bin's size. */
static bool is_tcache(const struct ms_heap *heap, uint64_t granule)
{
    const struct tcache_shape *shape = shape_of(heap, granule);
    if (!shape)
        return false;
    for (unsigned bin = 0; bin < shape->bins; bin++) {
        uint64_t entry = pointer_in(heap, granule, shape->entries / 8 + bin);
        if (!entry)
            continue;
        uint64_t block = live_at(heap, entry);
        if (block == MS_NOTHING || (bin < shape->exact_bins && chunk_size(heap, block) != MIN_CHUNK + 16 * bin))
            return false;
    }
    return true;
}

/* A word of a thread's TLS. The map it lies in may have merged with one that the main arena grew into. */
static bool read_tls(const struct ms_heap *heap, const struct ms_image *image, uint64_t address, uint64_t *word)
{
    const struct ms_segment *s = ms_heap_segment(heap, address);
    if (!s)
        return ms_image_read_word(image, address, word);
    *word = pointer_in(heap, ms_address_granule(heap, s, address), address % 16 / 8);
    return true;
}

/* Every thread's static TLS has the `tcache` variable at the same distance below its thread pointer. */
static uint64_t tcache_of(const struct ms_heap *heap, const struct ms_image *image, size_t thread,
                          uint64_t distance)
{
    uint64_t tcb = image->threads[thread].registers[MS_REG_FS_BASE], address;
    if (!tcb || !read_tls(heap, image, tcb - distance, &address) || !address)
        return MS_NOTHING;
    uint64_t granule = live_at(heap, address);
    return granule != MS_NOTHING && is_tcache(heap, granule) ? granule : MS_NOTHING;
}

/* The distance at which most threads have a tcache, or 0. */
static uint64_t find_distance(const struct ms_heap *heap, const struct ms_image *image)
{
    size_t probes = image->thread_count < 4 ? image->thread_count : 4;
    uint64_t best = 0;
    size_t best_count = 0;
    for (size_t i = 0; i < probes; i++)
        for (uint64_t distance = 8; distance < TLS_REACH; distance += 8) {
            uint64_t tcb = image->threads[i].registers[MS_REG_FS_BASE], word;
            if (!tcb || !read_tls(heap, image, tcb - distance, &word))
                break;
            if (!word || tcache_of(heap, image, i, distance) == MS_NOTHING)
                continue;
            size_t count = 0;
            for (size_t j = 0; j < image->thread_count; j++)
                count += tcache_of(heap, image, j, distance) != MS_NOTHING;
            if (count > best_count) {
                best_count = count;
                best = distance;
            }
        }
    return best;
}

/* All lists of a tcache. */
static struct ms_error *each_list(struct ms_heap *heap, uint64_t granule, list_function *function)
{
    const struct tcache_shape *shape = shape_of(heap, granule);
    for (unsigned bin = 0; bin < shape->bins; bin++)
        MS_TRY(function(heap, pointer_in(heap, granule, shape->entries / 8 + bin),
                        bin < shape->exact_bins ? MIN_CHUNK + 16 * bin : 0, 0, MS_CLASS_TCACHE));
    return NULL;
}

/* One vote in a search for the majority (Boyer and Moore's). */
static void vote(uint64_t for_key, uint64_t *key, size_t *votes)
{
    *key = *votes ? *key : for_key;
    if (for_key == *key)
        ++*votes;
    else
        --*votes;
}

/*
 * Cached chunks carry a key in their second word: random from 2.34, the tcache's
 * address before. Once it is known, chunks that are just on their way into or out
 * of a list, or whose thread's tcache was not found, are known too.
 */
static struct ms_error *sweep_by_key(struct ms_heap *heap)
{
    struct glibc *g = heap->state;
    uint64_t key = 0;
    size_t votes = 0;
    if (g->plain_links)
        return NULL;
    for (size_t i = 0; i < g->cached.count; i++) {
        const struct glibc_link *link = link_of(g, g->cached.items[i].granule);
        if (link && g->cached.items[i].class == MS_CLASS_TCACHE)
            vote(link->key, &key, &votes);
    }
    /* No list was found: of what decodes as a link, most must be cached chunks. */
    for (size_t i = 0; g->cached.count == 0 && i < g->links.count; i++)
        vote(g->links.items[i].key, &key, &votes);
    /* A small number or zero is nobody's key. */
    if (!votes || key < 1u << 16)
        return NULL;
    for (size_t i = 0; i < g->links.count; i++)
        if (g->links.items[i].key == key && is_live(heap, g->links.items[i].granule))
            MS_TRY(take_out(heap, g->links.items[i].granule, MS_CLASS_TCACHE));
    return NULL;
}

static struct ms_error *each_tcache_list(struct ms_heap *heap, const struct ms_image *image,
                                         uint64_t distance, list_function *function)
{
    for (size_t i = 0; distance && i < image->thread_count; i++) {
        uint64_t granule = tcache_of(heap, image, i, distance);
        if (granule != MS_NOTHING)
            MS_TRY(each_list(heap, granule, function));
    }
    return NULL;
}

static struct ms_error *each_fastbin(struct ms_heap *heap, list_function *function)
{
    const struct glibc *g = heap->state;
    for (size_t i = 0; i < g->arenas.count; i++)
        for (unsigned bin = 0; g->arenas.items[i].has_fastbins && bin < FASTBINS; bin++)
            MS_TRY(function(heap, g->arenas.items[i].fastbins[bin], MIN_CHUNK + 16 * bin, CHUNK_HEADER,
                            MS_CLASS_FASTBIN));
    return NULL;
}

static struct ms_error *empty_lists(struct ms_heap *heap, const struct ms_image *image)
{
    struct glibc *g = heap->state;
    uint64_t distance = find_distance(heap, image);
    MS_TRY(each_fastbin(heap, vote_on_links));
    MS_TRY(each_tcache_list(heap, image, distance, vote_on_links));
    g->plain_links = g->link_votes[0] > g->link_votes[1];
    MS_TRY(each_fastbin(heap, empty_list));
    MS_TRY(each_tcache_list(heap, image, distance, empty_list));
    return sweep_by_key(heap);
}

/*
 * malloc_consolidate() takes whole fastbins away before it merges what was in
 * them: until then the chunks are in no list. Each still links to the next one,
 * of the same size, by its chunk, 16 bytes before the block.
 */
bool glibc_in_transit(const struct ms_heap *heap, uint64_t start)
{
    const struct glibc *g = heap->state;
    const struct glibc_link *link = g->plain_links ? NULL : link_of(g, start);
    uint64_t size = chunk_size(heap, start);
    if (!link || size >= MIN_CHUNK + 16 * FASTBINS)
        return false;
    const struct ms_segment *s = ms_heap_segment(heap, link->next + CHUNK_HEADER);
    if (!link->next || !s)
        return !link->next;
    uint64_t next = ms_address_granule(heap, s, link->next + CHUNK_HEADER);
    return ms_bit(heap->lines[next / MS_LINE_GRANULES].starts, next) && chunk_size(heap, next) == size;
}

/* --- tallies ----------------------------------------------------------------------------------- */

static int cached_by_granule(const void *a, const void *b)
{
    const struct glibc_cached *s = a, *t = b;
    return s->granule < t->granule ? -1 : s->granule > t->granule;
}

enum ms_class glibc_class_of(const struct ms_heap *heap, const struct ms_segment *segment, uint64_t start)
{
    const struct glibc *g = heap->state;
    uint64_t chunk = segment->base + (start - segment->first) * MS_GRANULE - CHUNK_HEADER;
    struct glibc_cached key = {.granule = start};
    const struct glibc_cached *cached =
        g->cached.count ? bsearch(&key, g->cached.items, g->cached.count, sizeof key, cached_by_granule) : NULL;
    if (cached)
        return cached->class;
    if (start == segment->first && chunk + CHUNK_HEADER <= segment->start)
        return MS_CLASS_OVERHEAD;
    if (segment->top && chunk == segment->top)
        return MS_CLASS_TOP;
    const struct ms_gap *gap = ms_heap_gap(heap, chunk);
    if (gap)
        return gap->foreign ? MS_CLASS_OVERHEAD : MS_CLASS_UNKNOWN;
    return chunk_size(heap, start) < MIN_CHUNK ? MS_CLASS_OVERHEAD : MS_CLASS_FREE;
}

static void tally_segment(struct ms_heap *heap, const struct ms_segment *s)
{
    struct ms_arena *arena = &heap->arenas.items[s->arena];
    uint64_t end = s->first + (s->end - s->base + MS_GRANULE - 1) / MS_GRANULE;
    uint64_t at = s->first;
    uint64_t chunk = s->start; /* where the piece that belongs to `at` begins */
    while (at < end) {
        uint64_t next = ms_next_start(heap, at);
        uint64_t next_chunk =
            next == end ? s->end : s->base + (next - s->first) * MS_GRANULE - CHUNK_HEADER;
        enum ms_class class = ms_chunk_class(heap, at);
        if (next_chunk > chunk) {
            arena->classes[class].bytes += next_chunk - chunk;
            arena->classes[class].blocks += class != MS_CLASS_OVERHEAD;
            chunk = next_chunk;
        }
        at = next;
    }
}

static void check_gaps(struct ms_heap *heap, struct ms_image *image)
{
    uint64_t damaged = 0, first = 0;
    unsigned pieces = 0;
    for (size_t i = 0; i < heap->gaps.count; i++) {
        const struct ms_gap *gap = &heap->gaps.items[i];
        const struct ms_segment *s = ms_heap_segment(heap, gap->start);
        uint64_t size = gap->end - gap->start;
        if (!gap->foreign) {
            first = pieces++ ? first : gap->start;
            damaged += size;
        } else if (s && gap->end == s->end) {
            /* system_mem counts what others took by sbrk (sysmalloc()), but not what lies behind it all. */
            heap->arenas.items[0].walked -= size;
            heap->arenas.items[0].classes[MS_CLASS_OVERHEAD].bytes -= size;
        }
    }
    if (!damaged)
        return;
    image->incomplete = true;
    ms_image_warn(image, "%lu bytes of the heap in %u pieces were skipped: the chunks there make no sense"
                  " (first at %#lx); the heap is corrupt, or was stopped in the middle of a change",
                  damaged, pieces, first);
}

/* While a thread cuts it, top has no size for a moment; it ends where the segment does anyway. */
static void check_tops(const struct ms_heap *heap, struct ms_image *image)
{
    for (size_t i = 0; i < heap->segments.count; i++) {
        const struct ms_segment *segment = &heap->segments.items[i];
        if (!segment->bad_top || heap->arenas.items[segment->arena].locked)
            continue;
        image->incomplete = true;
        ms_image_warn(image, "the size of the top chunk at %#lx makes no sense: the heap is corrupt, or was"
                      " stopped in the middle of a change", segment->top);
    }
}

static void check_sums(struct ms_heap *heap, struct ms_image *image)
{
    unsigned locked = 0;
    for (size_t i = 0; i < heap->arenas.count; i++) {
        const struct ms_arena *arena = &heap->arenas.items[i];
        locked += arena->locked;
        if (arena->walked == arena->system || arena->mapped)
            continue;
        heap->inconsistent = true;
        image->incomplete = true;
        ms_image_warn(image, "arena %#lx says it has %lu bytes from the system, %lu were found",
                      arena->address, arena->system, arena->walked);
    }
    if (locked)
        ms_image_warn(image, "%u of %zu arenas were locked in %u stop%s: threads may have been changing them",
                      locked, heap->arenas.count, image->attempts, image->attempts > 1 ? "s" : "");
}

/* "GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36." in libc's constants, which old ones have beside their code. */
static void find_version(struct ms_heap *heap, const struct ms_image *image)
{
    const struct glibc *g = heap->state;
    const struct ms_region *data = ms_image_region(image, g->library);
    ms_auto_free uint8_t *buffer = malloc(MS_WINDOW);
    for (size_t i = 0; buffer && data && i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        if (r->inode != data->inode || strcmp(r->path, data->path) != 0 || (r->prot & MS_WRITE))
            continue;
        for (uint64_t at = r->start; at < r->end && at < r->start + (8u << 20); at += MS_WINDOW - MS_PAGE) {
            uint64_t size = r->end - at < MS_WINDOW ? r->end - at : MS_WINDOW;
            static const char banner[] = "stable release version 2.";
            const uint8_t *found = ms_image_read(image, at, buffer, size)
                                       ? memmem(buffer, size, banner, sizeof banner - 1) : NULL;
            if (!found)
                continue;
            unsigned minor = 0;
            for (found += sizeof banner - 1; found < buffer + size && *found >= '0' && *found <= '9'; found++)
                minor = minor * 10 + (*found - '0');
            snprintf(heap->description, sizeof heap->description, "glibc 2.%u", minor % 1000);
            return;
        }
    }
}

struct ms_error *glibc_settle(struct ms_heap *heap, struct ms_image *image)
{
    struct glibc *g = heap->state;
    ms_vector_sort(&g->links, links_by_granule);
    MS_TRY(empty_lists(heap, image));
    ms_vector_sort(&g->cached, cached_by_granule);
    for (size_t i = 0; i < heap->segments.count; i++)
        tally_segment(heap, &heap->segments.items[i]);
    check_gaps(heap, image);
    check_tops(heap, image);
    check_sums(heap, image);
    find_version(heap, image);
    return NULL;
}
