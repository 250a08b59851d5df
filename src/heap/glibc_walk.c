/* Walking glibc's chunks while they stream by: starts, live bits, and what only content tells. */
#include "glibc.h"

#include <string.h>

/* A chain of this many sane headers ends a search in damaged or foreign memory. */
#define SURE_HOPS 6u
#define SAMPLE_LIMIT 32768u

static uint64_t word_at(const struct ms_window *window, uint64_t address)
{
    uint64_t word;
    memcpy(&word, window->bytes + (address - window->start), sizeof word);
    return word;
}

/* --- what a block begins with ------------------------------------------------------------------ */

static bool is_text(uint64_t word)
{
    const uint64_t high = 0x8080808080808080u, space = 0x2020202020202020u;
    uint32_t half = (uint32_t)word;
    bool four = !(((half - 0x20202020u) | half) & 0x80808080u);
    bool eight = !(((word - space) | word) & high);
    return eight || (four && (uint8_t)(word >> 32) == 0);
}

static bool is_drawn(const struct glibc *g, uint64_t granule)
{
    /* A multiplicative hash (Knuth's golden ratio): its upper bits are zero for one block of 2^shift. */
    return g->sample_shift == 0 || (granule * 0x9e3779b97f4a7c15u) >> (64 - g->sample_shift) == 0;
}

/* Keeps the first bytes of some blocks, mostly text: of all while they are few, then of ever fewer. */
static void take_sample(struct ms_heap *heap, const struct ms_window *window, uint64_t user, uint64_t granule,
                        uint64_t usable)
{
    struct glibc *g = heap->state;
    if (!is_drawn(g, granule))
        return;
    if (heap->samples.count == SAMPLE_LIMIT) {
        g->sample_shift++;
        heap->samples_thinned = true;
        size_t kept = 0;
        for (size_t i = 0; i < heap->samples.count; i++)
            if (is_drawn(g, heap->samples.items[i].granule))
                heap->samples.items[kept++] = heap->samples.items[i];
        heap->samples.count = kept;
        if (!is_drawn(g, granule) || kept == SAMPLE_LIMIT)
            return;
    }
    struct ms_sample *sample = ms_vector_add(&heap->samples);
    if (!sample)
        return;
    uint64_t there = window->end - user < usable ? window->end - user : usable;
    sample->granule = granule;
    memcpy(sample->bytes, window->bytes + (user - window->start), there < MS_SAMPLE ? there : MS_SAMPLE);
}

/*
 * memcheck's heuristics for pointers into a block (mc_leakcheck.c,
 * heuristic_reachedness), as far as the block's first words decide them. memcheck
 * knows the size that was asked for, we know it to 16 bytes.
 */
static void vouch(struct ms_heap *heap, uint64_t granule, uint64_t word0, uint64_t word1, uint64_t usable)
{
    const uint64_t most = usable - 8, least = usable > 24 ? usable - 8 - 15 : 1;
    /* newarray: a count and then that many elements; length64: the length of what follows */
    bool array = word0 && word0 <= most && most - most % word0 >= least;
    if (array)
        heap->lines[granule / MS_LINE_GRANULES].vouched |= 1u << granule % MS_LINE_GRANULES;
    /* stdstring of the old ABI: length, capacity, reference count, then the characters */
    uint64_t request = word1 + 3 * 8 + 1;
    if (word0 <= word1 && word1 < usable && request <= usable && request + 15 >= usable) {
        granule++;
        heap->lines[granule / MS_LINE_GRANULES].vouched |= 1u << granule % MS_LINE_GRANULES;
    }
}

enum { INET = 2, INET6 = 10 }; /* AF_INET, AF_INET6 */

/*
 * Does a block begin as getaddrinfo() makes them: flags, AF_INET or AF_INET6, and a pointer to what is behind its
 * struct addrinfo, whose 48 bytes tell what it is? They are often lost, and a lean image has them from here alone.
 */
static bool is_addrinfo(const struct ms_window *window, uint64_t user, uint64_t word0, uint64_t usable)
{
    enum { SIZE = 48, ADDRESS_AT = 24 };
    return (word0 >> 32 == INET || word0 >> 32 == INET6) && usable > SIZE && window->end - user >= SIZE &&
           word_at(window, user + ADDRESS_AT) == user + SIZE;
}

/*
 * Can what a block begins with tell anything? With most it cannot: a pointer, or zeros. It is asked
 * without branches, since pointer or zero is a guess that a CPU loses; a wrong yes does no harm.
 * LOW, SIZE: around all segments.
 */
static inline bool may_tell(uint64_t low, uint64_t size, uint64_t user, uint64_t word0,
                            uint64_t word1, uint64_t usable)
{
    const uint64_t next = word0 ^ user >> 12;
    const uint32_t half = (uint32_t)word0;
    const bool link = (next == 0) | (next - low < size);
    const bool array = word0 - 1 < usable - 8;
    /* vouch(): word1 + 25 is usable, or up to 15 less */
    const bool string = (word0 <= word1) & (word1 - (usable - 40) <= 15);
    const bool text = !(((half - 0x20202020u) | half) & 0x80808080u);
    const bool addresses = (word0 >> 32 == INET) | (word0 >> 32 == INET6);
    return link | array | string | text | addresses;
}

static void inspect(struct ms_heap *heap, const struct ms_window *window, uint64_t user,
                    uint64_t granule, uint64_t word0, uint64_t word1, uint64_t usable)
{
    /* PROTECT_PTR: (position >> 12) ^ pointer; cached blocks have their list's next here (2.32). */
    uint64_t next = word0 ^ user >> 12;
    if (next == 0 || (next % 16 == 0 && ms_heap_segment(heap, next))) {
        struct glibc *g = heap->state;
        struct glibc_link *link = ms_vector_add(&g->links);
        if (link)
            *link = (struct glibc_link){granule, next, word1};
    }
    if (word0 ? word0 < usable : word1 < usable)
        vouch(heap, granule, word0, word1, usable);
    else if (is_text(word0) || is_addrinfo(window, user, word0, usable))
        take_sample(heap, window, user, granule, usable);
}

static void inspect_at(struct ms_heap *heap, const struct ms_segment *segment, const struct ms_window *window,
                       uint64_t user, uint64_t usable)
{
    inspect(heap, window, user, ms_address_granule(heap, segment, user), word_at(window, user),
            word_at(window, user + 8), usable);
}

/* --- chunks ------------------------------------------------------------------------------------ */

/* Can HEAD be the size word of a chunk at CHUNK? */
static inline bool is_sane(const struct ms_segment *segment, uint64_t chunk, uint64_t head)
{
    const uint64_t forbidden = 8 | IS_MMAPPED | (segment->arena == 0 ? NON_MAIN_ARENA : 0);
    uint64_t size = head & ~(uint64_t)SIZE_BITS;
    return !(head & forbidden) && size >= MIN_CHUNK && size <= segment->end - chunk;
}

/* Does a chain of sane chunks start at CHUNK? It must last SURE_HOPS, or reach the segment's end. */
static bool chain_at(const struct ms_segment *segment, const struct ms_window *window, uint64_t chunk)
{
    unsigned hops = 0;
    for (; hops < SURE_HOPS; hops++) {
        if (chunk == segment->top || chunk == segment->end)
            return hops > 0 || chunk == segment->top;
        if (chunk + CHUNK_HEADER > window->end)
            return hops > 2;
        uint64_t head = word_at(window, chunk + 8);
        if (!is_sane(segment, chunk, head))
            return false;
        uint64_t size = head & ~(uint64_t)SIZE_BITS, next = chunk + size;
        /* A free chunk's size is repeated at its end. */
        if (next + CHUNK_HEADER <= window->end && next < segment->end &&
            !(word_at(window, next + 8) & PREV_INUSE) && word_at(window, next) != size)
            return false;
        chunk = next;
    }
    return true;
}

/* Looks for chunks again from segment->next on; false when this window has none. */
static bool resynchronise(struct ms_heap *heap, struct ms_segment *segment, const struct ms_window *window)
{
    uint64_t from = segment->next > window->start ? segment->next : window->start;
    for (uint64_t at = (from + 15) & ~15ull; at + CHUNK_HEADER <= window->end; at += 16)
        if (chain_at(segment, window, at)) {
            ms_heap_add_gap(heap, segment->lost_at, at, segment->foreign);
            segment->lost_at = 0;
            segment->next = at;
            return true;
        }
    segment->next = window->end;
    return false;
}

/* What lies at CHUNK is no chunk. Its start is marked, so that the gap belongs to no block. */
static void lose(struct ms_heap *heap, struct ms_segment *segment, uint64_t chunk, bool foreign)
{
    ms_heap_mark_start(heap, ms_address_granule(heap, segment, chunk + CHUNK_HEADER));
    segment->lost_at = chunk;
    segment->foreign = foreign;
    segment->next = chunk + CHUNK_HEADER;
    segment->last = MS_NOTHING;
}

/*
 * A fence ends what is contiguous (sysmalloc()): in the main arena two chunks of
 * 16 bytes, behind which somebody else has taken memory by sbrk; in other arenas
 * one of 16 and one of 0 at the very end of a heap.
 */
static bool is_fence(const struct ms_segment *segment, const struct ms_window *window, uint64_t chunk,
                     uint64_t head)
{
    const uint64_t fence = CHUNK_HEADER | PREV_INUSE;
    bool first = (head | PREV_INUSE) == fence; /* what is before it may be free */
    if (segment->arena != 0)
        return segment->end - chunk <= 2 * CHUNK_HEADER && (first || head == PREV_INUSE);
    if (!first)
        return false;
    uint64_t second = chunk + CHUNK_HEADER + 8;
    return segment->fenced || second >= window->end || word_at(window, second) == fence;
}

/*
 * The chunk that starts at LAST is in use or not: the next one, at START with HEAD, says so. False
 * when its size is not repeated: stopped halfway, or damaged.
 */
static inline bool settle_last(struct ms_line *lines, uint64_t last, uint64_t start,
                               uint64_t prev_size, uint64_t head)
{
    const uint32_t used = head & PREV_INUSE ? 1 : 0;
    lines[last / MS_LINE_GRANULES].live |= used << last % MS_LINE_GRANULES;
    return used | (prev_size == (start - last) * MS_GRANULE);
}

/* The usual case, many times: sane chunks before the top whose blocks' first words are in the window. */
static void walk_chunks(struct ms_heap *heap, struct ms_segment *segment, const struct ms_window *window)
{
    const struct ms_segment s = *segment; /* a copy: no store to the index can change it */
    const uint64_t limit = window->end < s.end ? window->end : s.end;
    const struct ms_segment *segments = heap->segments.items;
    const uint64_t low = segments[0].start,
                   size_of_all = segments[heap->segments.count - 1].end - low;
    const uint8_t *const bytes = window->bytes;
    const uint64_t from = window->start;
    struct ms_line *const lines = heap->lines;
    uint64_t chunk = s.next, last = s.last;
    bool sound = true;
    while (chunk + 2 * CHUNK_HEADER <= limit && chunk != s.top) {
        /* prev_size, size, and what the block begins with */
        const uint64_t *words = (const uint64_t *)(const void *)(bytes + (chunk - from));
        if (!is_sane(&s, chunk, words[1]))
            break;
        uint64_t size = words[1] & ~(uint64_t)SIZE_BITS, user = chunk + CHUNK_HEADER;
        uint64_t granule = ms_address_granule(heap, &s, user);
        if (last != MS_NOTHING)
            sound &= settle_last(lines, last, granule, words[0], words[1]);
        lines[granule / MS_LINE_GRANULES].starts |= 1u << granule % MS_LINE_GRANULES;
        if (may_tell(low, size_of_all, user, words[2], words[3], size - 8))
            inspect(heap, window, user, granule, words[2], words[3], size - 8);
        last = granule;
        chunk += size;
    }
    heap->inconsistent |= !sound;
    segment->fenced &= chunk == s.next;
    segment->next = chunk;
    segment->last = last;
}

/* Any one chunk whose header is in the window: the top, a fence, the last one of the window, or none at all. */
static void step(struct ms_heap *heap, struct ms_segment *segment, const struct ms_window *window)
{
    uint64_t chunk = segment->next, head = word_at(window, chunk + 8);
    uint64_t size = head & ~(uint64_t)SIZE_BITS, user = chunk + CHUNK_HEADER;
    uint64_t granule = ms_address_granule(heap, segment, user);
    bool top = chunk == segment->top, fence = !top && is_fence(segment, window, chunk, head);
    bool sane = is_sane(segment, chunk, head);
    if (!top && !fence && !sane) {
        /* Behind a fence, and at the very start of [heap], others may have taken memory. */
        lose(heap, segment, chunk, segment->arena == 0 && (segment->fenced || chunk == segment->start));
        return;
    }
    if (segment->last != MS_NOTHING &&
        !settle_last(heap->lines, segment->last, granule, word_at(window, chunk), head))
        heap->inconsistent = true;
    if (user < segment->end)
        ms_heap_mark_start(heap, granule);
    segment->last = top || fence ? MS_NOTHING : granule;
    segment->fenced = fence;
    if (top) {
        /* Stopped while it was cut, its size may be old or not written yet; else it is damaged. */
        segment->bad_top = !sane || !(head & PREV_INUSE);
        heap->inconsistent |= segment->bad_top;
        segment->next = segment->bad_top ? segment->end : chunk + size;
    } else if (fence) {
        segment->next = size ? user : segment->end;
    } else {
        segment->next = chunk + size;
        segment->inspect = user; /* in the next window: walk_chunks() saw all others */
    }
}

/* An mmapped block: one chunk, the whole segment. */
static void walk_mapped(struct ms_heap *heap, struct ms_segment *segment, const struct ms_window *window)
{
    uint64_t user = segment->start + CHUNK_HEADER;
    if (segment->next != segment->start)
        return;
    uint64_t granule = ms_address_granule(heap, segment, user);
    ms_heap_mark_start(heap, granule);
    ms_heap_mark_live(heap, granule, true);
    segment->next = segment->end;
    if (user >= window->start && user + CHUNK_HEADER <= window->end)
        inspect_at(heap, segment, window, user, segment->end - user);
}

void glibc_walk(struct ms_heap *heap, struct ms_segment *segment, const struct ms_window *window)
{
    if (segment->kind == MS_SEGMENT_MAPPED) {
        walk_mapped(heap, segment, window);
        return;
    }
    if (segment->inspect && segment->inspect == window->start)
        inspect_at(heap, segment, window, segment->inspect,
                   (segment->next - segment->inspect) + CHUNK_HEADER - 8);
    segment->inspect = 0;
    /* A header in a page that is not there: no allocator leaves one behind. */
    if (segment->next < window->start && !segment->lost_at)
        lose(heap, segment, segment->next, false);
    while (segment->next + CHUNK_HEADER <= window->end && segment->next < segment->end) {
        if (segment->lost_at && !resynchronise(heap, segment, window))
            return;
        walk_chunks(heap, segment, window);
        if (segment->next + CHUNK_HEADER <= window->end && segment->next < segment->end)
            step(heap, segment, window);
    }
}
