/* Finding glibc's arenas and mmapped chunks by structure, in the stop; no symbols are needed. */
#include "glibc.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIEW_LIMIT (32ull << 20) /* module data beyond this is not searched */
#define ARENA_LIMIT 65536u       /* more arenas than any machine's cores ask for */
#define HEAPS_LIMIT 1048576u

/* --- module data ------------------------------------------------------------------------------- */

/* Words of a module's writable data, copied. */
struct view {
    uint64_t start;
    uint64_t *words; /* owned */
    size_t count;
};

static bool is_data(const struct ms_region *r)
{
    return r->kind == MS_REGION_FILE && (r->prot & MS_WRITE) && !(r->prot & MS_SHARED);
}

/* .data of a module, and its .bss if that follows as an anonymous map. */
static bool take_view(const struct ms_image *image, size_t region, struct view *view)
{
    const struct ms_region *r = &image->regions[region];
    uint64_t end = r->end;
    if (region + 1 < image->region_count && r[1].start == end && r[1].kind == MS_REGION_ANON &&
        (r[1].prot & MS_WRITE))
        end = r[1].end;
    uint64_t size = end - r->start < VIEW_LIMIT ? end - r->start : VIEW_LIMIT;
    view->start = r->start;
    view->count = size / 8;
    view->words = malloc(size);
    if (view->words && ms_image_read(image, r->start, view->words, size))
        return true;
    free(view->words);
    /* A page of .bss may be unreadable; .data alone will do. */
    size = r->end - r->start < VIEW_LIMIT ? r->end - r->start : VIEW_LIMIT;
    view->count = size / 8;
    view->words = malloc(size);
    if (view->words && ms_image_read(image, r->start, view->words, size))
        return true;
    free(view->words);
    view->words = NULL;
    return false;
}

/* In which order modules are searched: libc first, the program (static) next, then all others. */
static int rank_of(const struct ms_image *image, const struct ms_region *r)
{
    const char *name = strrchr(r->path, '/');
    name = name ? name + 1 : r->path;
    if (strncmp(name, "libc.so", 7) == 0 || strncmp(name, "libc-2.", 7) == 0)
        return 0;
    return image->exe && strcmp(r->path, image->exe) == 0 ? 1 : 2;
}

/* --- main_arena -------------------------------------------------------------------------------- */

static bool is_writable(const struct ms_image *image, uint64_t address)
{
    const struct ms_region *r = ms_image_region(image, address);
    return r && (r->prot & MS_WRITE);
}

/* fd and bk of a bin header: to itself as if it were a chunk when empty, else to chunks. */
static bool is_empty_bin(const struct view *v, size_t i)
{
    uint64_t self = v->start + i * 8 - CHUNK_HEADER;
    return v->words[i] == self && v->words[i + 1] == self;
}

static bool is_bin(const struct ms_image *image, const struct view *v, size_t i)
{
    if (is_empty_bin(v, i))
        return true;
    uint64_t fd = v->words[i], bk = v->words[i + 1];
    return fd % 16 == 0 && bk % 16 == 0 && is_writable(image, fd) && is_writable(image, bk);
}

/*
 * bins[] is the one place where 127 pairs of words are all either pointers to
 * 16 bytes before themselves or pointers to chunks. Returns its index or 0.
 */
static size_t find_bins(const struct ms_image *image, const struct view *v, size_t from)
{
    const size_t words = BIN_PAIRS * 2;
    for (size_t i = from; i + 1 < v->count; i++) {
        if (!is_empty_bin(v, i))
            continue;
        size_t end = i + 2;
        while (end + 1 < v->count && is_bin(image, v, end))
            end += 2;
        bool good = end >= words + 2 && end + 8 < v->count;
        for (size_t j = end - words; good && j < i; j += 2)
            good = is_bin(image, v, j);
        if (good)
            return end - words;
        i = end - 1;
    }
    return 0;
}

/* Do the arenas' `next`, each NEXT bytes from its arena's start, lead from FIRST back to MAIN_ARENA? */
static bool leads_back(const struct ms_image *image, uint64_t first, uint64_t main_arena, uint64_t next)
{
    /* What is no ring of arenas may be a ring of something else: Brent's algorithm stops in that. */
    uint64_t at = first, mark = 0;
    for (unsigned hops = 0; hops < ARENA_LIMIT && at != mark; hops++) {
        if (at == main_arena)
            return true;
        if (!(hops & (hops - 1)))
            mark = at;
        if (at % 8 || !is_writable(image, at) || !ms_image_read_word(image, at + next, &at))
            return false;
    }
    return false;
}

/*
 * Where malloc_state begins before its bins: 104 bytes up to glibc 2.26, 112
 * from 2.27 (have_fastchunks), 24 from 2.43 (no fastbins); those first, then whatever
 * else it may come to. The ring of `next` tells. Sets g->bins_offset.
 */
static bool close_ring(const struct ms_image *image, struct glibc *g, uint64_t bins)
{
    static const uint64_t offsets[] = {112, 24, 104, 16, 32, 40, 48, 56, 64, 72, 80, 88, 96, 120, 128, 136, 144,
                                       152, 160};
    const uint64_t next_after_bins = BINS_BYTES + BINMAP_BYTES;
    uint64_t first;
    if (!ms_image_read_word(image, bins + next_after_bins, &first))
        return false;
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++)
        if (leads_back(image, first, bins - offsets[i], offsets[i] + next_after_bins)) {
            g->bins_offset = offsets[i];
            g->mapped_tail = offsets[i] < FASTBINS * 8 ? CHUNK_HEADER : 0; /* both came with 2.43 */
            return true;
        }
    return false;
}

/* The fields of one malloc_state; WORDS holds it from its start. */
static void take_arena(const struct glibc *g, const uint64_t *words, struct glibc_arena *arena)
{
    size_t bins = g->bins_offset / 8, tail = bins + (BINS_BYTES + BINMAP_BYTES) / 8;
    arena->top = words[bins - 2];
    arena->system_mem = words[tail + (g->attached ? 3 : 2)];
    arena->noncontiguous = words[0] >> 32 & 2; /* NONCONTIGUOUS_BIT of flags */
    arena->has_fastbins = g->bins_offset >= 104;
    for (size_t i = 0; arena->has_fastbins && i < FASTBINS; i++)
        arena->fastbins[i] = words[bins - 2 - FASTBINS + i];
}

/* The allocator's own pointers keep nothing alive. */
static struct ms_error *add_hole(struct ms_heap *heap, uint64_t start, uint64_t end)
{
    struct ms_hole *hole = ms_vector_add(&heap->holes);
    if (!hole)
        return ms_error_nomem("the arenas");
    *hole = (struct ms_hole){start, end};
    return NULL;
}

static struct ms_error *read_ring(struct ms_heap *heap, const struct ms_image *image, uint64_t main_arena)
{
    struct glibc *g = heap->state;
    const size_t tail = (g->bins_offset + BINS_BYTES + BINMAP_BYTES) / 8;
    uint64_t words[512], at = main_arena;
    do {
        if (!ms_image_read(image, at, words, (tail + 5) * 8))
            break;
        /* attached_threads (2.23) is a small count where older versions have system_mem. */
        if (at == main_arena)
            g->attached = words[tail + 2] < MS_PAGE;
        g->state_size = (tail + (g->attached ? 5 : 4)) * 8;
        struct glibc_arena *arena = ms_vector_add(&g->arenas);
        struct ms_arena *shown = ms_vector_add(&heap->arenas);
        if (!arena || !shown)
            return ms_error_nomem("the arenas");
        arena->address = at;
        take_arena(g, words, arena);
        *shown = (struct ms_arena){.address = at, .system = arena->system_mem,
                                   .locked = (uint32_t)words[0] != 0};
        heap->busy |= shown->locked;
        at = words[tail];
    } while (at != main_arena && g->arenas.count < ARENA_LIMIT);
    return add_hole(heap, main_arena, main_arena + g->state_size);
}

static uint64_t chunk_size_at(const struct ms_image *image, uint64_t chunk)
{
    uint64_t size;
    return ms_image_read_word(image, chunk + 8, &size) ? size & ~(uint64_t)SIZE_BITS : 0;
}

/* --- malloc_par -------------------------------------------------------------------------------- */

/*
 * struct malloc_par ends (before the tcache's fields) with the counts of mmapped
 * chunks and sbrk_base. Its ints moved: byte offsets from sbrk_base.
 */
struct par_layout {
    int trim_threshold, mmap_threshold, arena_test, n_mmaps, n_mmaps_max, max_n_mmaps, mmapped_mem,
        max_mmapped_mem;
};
static const struct par_layout par_layouts[] = {
    {-104, -88, -80, -36, -32, -28, -16, -8},  /* 2.35: hp_flags before the counts */
    {-72, -56, -48, -32, -28, -24, -16, -8},   /* 2.24 */
    {-80, -64, -56, -40, -36, -32, -24, -16},  /* up to 2.23: max_total_mem */
};
#define PAR_BEFORE 104        /* bytes of the longest before sbrk_base */
#define DEFAULT_MMAP_MAX 65536
#define DEFAULT_ARENA_TEST 8u /* NARENAS_FROM_NCORES(1) */

/*
 * How sure it is that BASE is sbrk_base: 0 for no. Programs may tune all of these
 * fields, by mallopt() or GLIBC_TUNABLES, so the defaults only add to it.
 */
static unsigned par_fits(const uint8_t *base, const struct par_layout *l)
{
    int32_t n, limit, most;
    uint64_t bytes, most_bytes, trim, mmap_threshold, arena_test;
    memcpy(&n, base + l->n_mmaps, 4);
    memcpy(&limit, base + l->n_mmaps_max, 4);
    memcpy(&most, base + l->max_n_mmaps, 4);
    memcpy(&bytes, base + l->mmapped_mem, 8);
    memcpy(&most_bytes, base + l->max_mmapped_mem, 8);
    memcpy(&trim, base + l->trim_threshold, 8);
    memcpy(&mmap_threshold, base + l->mmap_threshold, 8);
    memcpy(&arena_test, base + l->arena_test, 8);
    if (n < 0 || n > most || limit < 0 || bytes % MS_PAGE || most_bytes % MS_PAGE || bytes > most_bytes ||
        (n == 0) != (bytes == 0) || (most == 0) != (most_bytes == 0) || bytes / MS_PAGE < (uint64_t)n)
        return 0;
    return (limit == DEFAULT_MMAP_MAX ? 4 : 0) + (arena_test == DEFAULT_ARENA_TEST ? 2 : 0) +
           (trim != 0) + (mmap_threshold != 0 && mmap_threshold < 1ull << 40);
}

static void take_par(struct glibc *g, const uint8_t *base, const struct par_layout *l)
{
    int32_t n;
    memcpy(&n, base + l->n_mmaps, 4);
    memcpy(&g->mapped_bytes, base + l->mmapped_mem, 8);
    memcpy(&g->sbrk_base, base, 8);
    g->mapped_count = (uint64_t)n;
    g->par_known = true;
}

static void find_par(struct glibc *g, const struct ms_image *image, const struct view *v)
{
    const struct glibc_arena *main = &g->arenas.items[0];
    const bool main_empty = main->system_mem == 0;
    const uint64_t top_end = main->top + chunk_size_at(image, main->top);
    unsigned best = main_empty ? 4 : 1; /* zeros fit nearly anywhere */
    for (size_t i = PAR_BEFORE / 8; i < v->count; i++) {
        uint64_t sbrk_base = v->words[i];
        /* An anonymous map stands in for [heap] when brk never worked. */
        const struct ms_region *r = sbrk_base ? ms_image_region(image, sbrk_base) : NULL;
        if (main_empty ? sbrk_base != 0 : !r || (r->kind != MS_REGION_BRK && r->kind != MS_REGION_ANON))
            continue;
        for (size_t j = 0; j < sizeof par_layouts / sizeof *par_layouts; j++) {
            const uint8_t *base = (const uint8_t *)&v->words[i];
            unsigned sure = par_fits(base, &par_layouts[j]);
            sure += sure && sbrk_base && sbrk_base + main->system_mem == top_end ? 8 : 0; /* contiguous */
            if (sure > best) {
                best = sure;
                take_par(g, base, &par_layouts[j]);
            }
        }
    }
}

static struct ms_error *find_arenas(struct ms_heap *heap, const struct ms_image *image, bool *found)
{
    struct glibc *g = heap->state;
    for (int rank = 0; rank < 3; rank++)
        for (size_t i = 0; i < image->region_count; i++) {
            struct view v;
            if (!is_data(&image->regions[i]) || rank_of(image, &image->regions[i]) != rank ||
                !take_view(image, i, &v))
                continue;
            struct ms_error *error = NULL;
            for (size_t at = 0; !error && !*found && (at = find_bins(image, &v, at)); at += BIN_PAIRS * 2)
                if (close_ring(image, g, v.start + at * 8)) {
                    *found = true;
                    g->library = v.start;
                    error = read_ring(heap, image, v.start + at * 8 - g->bins_offset);
                }
            if (!error && *found && g->arenas.count)
                find_par(g, image, &v);
            free(v.words);
            if (error || *found)
                return error;
        }
    return NULL;
}

/* --- segments of arenas ------------------------------------------------------------------------ */

static struct ms_error *add_arena_segment(struct ms_heap *heap, uint32_t arena, uint64_t start, uint64_t end,
                                          uint64_t top)
{
    if (start + MIN_CHUNK > end)
        return NULL;
    heap->arenas.items[arena].walked += end - start;
    return ms_heap_add_segment(heap, &(struct ms_segment){
        .start = start, .end = end, .arena = arena, .kind = MS_SEGMENT_ARENA,
        .top = top >= start && top < end ? top : 0});
}

/* Overhead that lies before a segment's first chunk. */
static void add_lead(struct ms_arena *arena, uint64_t bytes)
{
    arena->classes[MS_CLASS_OVERHEAD].bytes += bytes;
    arena->walked += bytes;
}

/* The heap that holds TOP: heap_info is HEAP_MAX-aligned, 64 MiB or by the hugetlb tunable. */
static uint64_t heap_of(const struct ms_image *image, uint64_t top, uint64_t arena)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned shift = i == 0 ? 26 : 19 + i;
        uint64_t heap = top & ~((1ull << shift) - 1), owner;
        if (ms_image_read_word(image, heap, &owner) && owner == arena)
            return heap;
    }
    return 0;
}

/*
 * heap_info: ar_ptr, prev, size, mprotect_size, from 2.35 pagesize; the arena's
 * malloc_state follows it in the first heap, chunks in the others.
 */
static struct ms_error *add_heaps(struct ms_heap *heap, const struct ms_image *image, uint32_t index)
{
    const struct glibc *g = heap->state;
    const struct glibc_arena *a = &g->arenas.items[index];
    struct ms_arena *shown = &heap->arenas.items[index];
    const uint64_t info_size = a->address % MS_PAGE;
    uint64_t info = heap_of(image, a->top, a->address);
    for (unsigned hops = 0; info && hops < HEAPS_LIMIT; hops++) {
        uint64_t words[3]; /* ar_ptr, prev, size */
        const struct ms_region *r = ms_image_region(image, info);
        if (!r || !ms_image_read(image, info, words, sizeof words) || words[0] != a->address ||
            words[2] > 1ull << 40)
            break;
        bool first = info == a->address - info_size;
        uint64_t start = first ? (a->address + g->state_size + 15) & ~15ull : info + info_size;
        add_lead(shown, start - info);
        MS_TRY(add_hole(heap, info, start));
        MS_TRY(add_arena_segment(heap, index, start, info + words[2], a->top));
        info = words[1];
    }
    return NULL;
}

/* [heap]. A core does not name it, and it need not be near the program (static PIE): then sbrk_base tells. */
static const struct ms_region *brk_region(const struct ms_image *image, const struct glibc *g)
{
    for (size_t i = 0; i < image->region_count; i++)
        if (image->regions[i].kind == MS_REGION_BRK)
            return &image->regions[i];
    return g->sbrk_base && !g->arenas.items[0].noncontiguous ? ms_image_region(image, g->sbrk_base) : NULL;
}

/* Contiguous end of the maps that begin with R: a part made executable splits [heap]. */
static uint64_t brk_end(const struct ms_image *image, const struct ms_region *r)
{
    const struct ms_region *last = &image->regions[image->region_count - 1];
    while (r < last && r[1].start == r->end && r[1].kind == MS_REGION_BRK)
        r++;
    return r->end;
}

/* Is there a chain of chunks at START that goes on for a while, or to TOP? */
static bool chunks_at(const struct ms_image *image, uint64_t start, uint64_t end, uint64_t top)
{
    uint64_t at = start;
    for (unsigned i = 0; i < 16; i++) {
        uint64_t word;
        if (at == top)
            return true;
        if (at + MIN_CHUNK > end || !ms_image_read_word(image, at + 8, &word))
            return false;
        uint64_t size = word & ~(uint64_t)SIZE_BITS;
        if (size == CHUNK_HEADER && i > 0)
            return true; /* a fence */
        if (size < MIN_CHUNK || size % 16 || (word & (IS_MMAPPED | NON_MAIN_ARENA)) || size > end - at ||
            (i == 0 && !(word & PREV_INUSE)))
            return false;
        at += size;
    }
    return true;
}

static bool is_plain_anon(const struct ms_region *r)
{
    return r->kind == MS_REGION_ANON && (r->prot & MS_WRITE) && r->surveyed && r->run_count;
}

/*
 * The end of a piece of the main arena that begins at START: chunks lead to TOP,
 * or to a fence (sysmalloc()). 0 when they do not.
 */
static uint64_t piece_end(const struct ms_image *image, uint64_t start, uint64_t limit, uint64_t top)
{
    enum { WORDS = 8192 };
    uint64_t words[WORDS], from = 0, to = 0;
    for (uint64_t at = start; at + CHUNK_HEADER <= limit;) {
        if (at < from || at + CHUNK_HEADER > to) {
            from = at & ~(uint64_t)(MS_PAGE - 1);
            to = from + sizeof words < limit ? from + sizeof words : limit;
            if (!ms_image_read(image, from, words, to - from))
                return 0;
        }
        uint64_t head = words[(at - from) / 8 + 1], size = head & ~(uint64_t)SIZE_BITS;
        if (at == top)
            return size <= limit - at ? at + size : limit;
        if (size == CHUNK_HEADER && at > start)
            return 2 * CHUNK_HEADER <= limit - at ? at + 2 * CHUNK_HEADER : 0;
        if (size < MIN_CHUNK || size % 16 || (head & (IS_MMAPPED | NON_MAIN_ARENA)) || size > limit - at)
            return 0;
        at += size;
    }
    return 0;
}

/* Its pieces in [start, end), where the maps of other things may have merged with its own. */
static struct ms_error *add_main_pieces(struct ms_heap *heap, const struct ms_image *image, uint64_t start,
                                        uint64_t end, uint64_t top)
{
    bool found = false;
    for (uint64_t at = start; at < end;) {
        uint64_t last = chunks_at(image, at, end, top) ? piece_end(image, at, end, top) : 0;
        if (last)
            MS_TRY(add_arena_segment(heap, 0, at, last, top));
        found |= last != 0;
        at = last ? (last + MS_PAGE - 1) & ~(uint64_t)(MS_PAGE - 1) : at + MS_PAGE;
    }
    /* Damaged: take all of it. */
    return !found && chunks_at(image, start, end, top) ? add_arena_segment(heap, 0, start, end, top) : NULL;
}

/*
 * When brk could not grow, or with the tunable hugetlb=2, the main arena is in
 * anonymous maps. A block of it may have been made read-only.
 */
static struct ms_error *add_main_maps(struct ms_heap *heap, const struct ms_image *image)
{
    const struct glibc *g = heap->state;
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        uint64_t end = r->end;
        if (!is_plain_anon(r))
            continue;
        for (; i + 1 < image->region_count && image->regions[i + 1].start == end &&
               image->regions[i + 1].kind == MS_REGION_ANON && image->regions[i + 1].prot & MS_READ; i++)
            end = image->regions[i + 1].end;
        MS_TRY(add_main_pieces(heap, image, r->start, end, g->arenas.items[0].top));
    }
    return NULL;
}

static struct ms_error *add_main(struct ms_heap *heap, const struct ms_image *image)
{
    const struct glibc *g = heap->state;
    const struct glibc_arena *a = &g->arenas.items[0];
    if (a->system_mem == 0)
        return NULL; /* not used yet, or only for mmapped chunks */
    const struct ms_region *brk = brk_region(image, g);
    if (brk) {
        uint64_t base = g->sbrk_base ? g->sbrk_base : brk->start;
        uint64_t start = (base + 15) & ~15ull, end = brk_end(image, brk);
        uint64_t top_end = a->top >= start && a->top < end ? a->top + chunk_size_at(image, a->top) : end;
        /* Stopped while top was cut: its size is not written yet. */
        if (top_end > a->top + MIN_CHUNK && top_end < end && !a->noncontiguous)
            end = top_end;
        add_lead(&heap->arenas.items[0], start - base);
        MS_TRY(add_arena_segment(heap, 0, start, end, a->top));
    }
    return a->noncontiguous || !brk ? add_main_maps(heap, image) : NULL;
}

/* --- mmapped chunks ---------------------------------------------------------------------------- */

struct mapped {
    const struct glibc *g;
    MS_VECTOR(struct ms_hole) taken; /* by arenas; sorted */
    MS_VECTOR(struct ms_segment) list;
    uint64_t bytes; /* of the maps, as glibc counts them */
};

/* Anonymous maps one behind another: a block that was partly made read-only is several of them. */
struct stretch {
    uint64_t start, end;
    size_t first, last; /* regions, inclusive */
};

/*
 * The header of an mmapped chunk at CHUNK, in the map at MAP? prev_size is the
 * distance from the map's start. Up to 2.42 the size goes to the map's end; from
 * 2.43 on (mmap_set_chunk()) it ends a header short of it, and bit 0 of prev_size
 * says that the map has huge pages. Returns the end of the map or 0.
 */
static uint64_t mapped_end(const struct glibc *g, const struct stretch *stretch, uint64_t map, uint64_t chunk,
                           const uint64_t header[2])
{
    uint64_t lead = header[0] & ~(uint64_t)(g->mapped_tail ? 1 : 0);
    uint64_t size = header[1] & ~(uint64_t)SIZE_BITS;
    if (lead != chunk - map || (header[1] & SIZE_BITS) != IS_MMAPPED || size < MIN_CHUNK ||
        size >= stretch->end - chunk + 1)
        return 0;
    uint64_t end = chunk + size + g->mapped_tail;
    return end % MS_PAGE == 0 && end <= stretch->end ? end : 0;
}

/*
 * memalign() takes a map and then moves the header to where the alignment wants
 * the block; the first header stays behind, and mremap() does not mend it. Sets
 * CHUNK and returns the end by the header that counts. (A lead below 32 bytes
 * gets the next alignment's place up to 2.42.)
 */
static uint64_t moved_end(const struct ms_image *image, const struct glibc *g, const struct stretch *stretch,
                          uint64_t map, uint64_t end, uint64_t *chunk)
{
    uint64_t last = 0, header[2];
    *chunk = map;
    for (uint64_t alignment = 32; alignment < end - map; alignment *= 2) {
        uint64_t user = (map + CHUNK_HEADER + alignment - 1) & ~(alignment - 1), moved;
        if (user == last || user >= end)
            continue;
        last = user;
        if (ms_image_read(image, user - CHUNK_HEADER, header, sizeof header) &&
            (moved = mapped_end(g, stretch, map, user - CHUNK_HEADER, header))) {
            *chunk = user - CHUNK_HEADER;
            return moved;
        }
    }
    return end;
}

/* Is there an mmapped chunk in a map that begins at MAP with HEADER? Returns the map's end or 0. */
static uint64_t mapped_chunk(const struct ms_image *image, struct mapped *mapped,
                             const struct stretch *stretch, uint64_t map, const uint64_t header[2])
{
    uint64_t chunk, end = mapped_end(mapped->g, stretch, map, map, header);
    if (!end)
        return 0;
    end = moved_end(image, mapped->g, stretch, map, end, &chunk);
    struct ms_segment *s = ms_vector_add(&mapped->list);
    if (!s)
        return 0;
    /* From 2.43 on the last word is not the block's. */
    *s = (struct ms_segment){.start = chunk, .end = end, .kind = MS_SEGMENT_MAPPED,
                             .tail = mapped->g->mapped_tail / 2};
    mapped->bytes += end - map;
    return end;
}

/* Chunks one behind another from the start of the stretch: neighbours merge into one map. */
static void probe_chain(const struct ms_image *image, const struct stretch *stretch, struct mapped *mapped)
{
    uint64_t header[2];
    for (uint64_t at = stretch->start; at && at < stretch->end;) {
        if (!ms_image_read(image, at, header, sizeof header))
            return;
        at = mapped_chunk(image, mapped, stretch, at, header);
    }
}

/* Every page that is there: for chunks behind other things. */
static void probe_pages(const struct ms_image *image, const struct stretch *stretch, struct mapped *mapped)
{
    enum { BATCH = 512 };
    uint64_t pages[BATCH], headers[BATCH][2];
    uint64_t done = stretch->start; /* end of the last chunk found */
    for (size_t i = stretch->first; i <= stretch->last; i++)
        for (size_t j = 0; j < image->regions[i].run_count; j++) {
            const struct ms_run *run = &image->regions[i].runs[j];
            const uint64_t last = run->end < stretch->end ? run->end : stretch->end;
            for (uint64_t at = run->start > done ? run->start : done; at < last;) {
                size_t count = 0;
                while (count < BATCH && at + count * MS_PAGE < last) {
                    pages[count] = at + count * MS_PAGE;
                    count++;
                }
                ms_image_gather(image, pages, count, sizeof *headers, (uint8_t *)headers);
                for (size_t k = 0; k < count; k++) {
                    uint64_t end = pages[k] < done ? 0 : mapped_chunk(image, mapped, stretch, pages[k], headers[k]);
                    done = end ? end : done;
                }
                at += count * MS_PAGE;
                at = at < done ? done : at;
            }
        }
}

static int holes_by_address(const void *a, const void *b)
{
    const struct ms_hole *h = a, *k = b;
    return h->start < k->start ? -1 : h->start > k->start;
}

/* What arenas have: maps of mmapped blocks merge with theirs. */
static struct ms_error *collect_taken(const struct ms_heap *heap, struct mapped *mapped)
{
    for (size_t i = 0; i < heap->segments.count + heap->holes.count; i++) {
        struct ms_hole *taken = ms_vector_add(&mapped->taken);
        if (!taken)
            return ms_error_nomem("the arenas");
        if (i < heap->segments.count)
            *taken = (struct ms_hole){heap->segments.items[i].start, heap->segments.items[i].end};
        else
            *taken = heap->holes.items[i - heap->segments.count];
    }
    ms_vector_sort(&mapped->taken, holes_by_address);
    return NULL;
}

typedef void probe_function(const struct ms_image *, const struct stretch *, struct mapped *);

/* Probes WHOLE less what arenas have. */
static void probe_between(const struct ms_image *image, const struct stretch *whole, struct mapped *mapped,
                          probe_function *probe)
{
    struct stretch piece = *whole;
    for (size_t i = 0; i < mapped->taken.count && mapped->taken.items[i].start < whole->end; i++) {
        const struct ms_hole *taken = &mapped->taken.items[i];
        piece.end = taken->start & ~(uint64_t)(MS_PAGE - 1);
        if (taken->end <= piece.start)
            continue;
        if (piece.start < piece.end)
            probe(image, &piece, mapped);
        piece.start = (taken->end + MS_PAGE - 1) & ~(uint64_t)(MS_PAGE - 1);
    }
    piece.end = whole->end;
    if (piece.start < piece.end)
        probe(image, &piece, mapped);
}

static bool may_hold_mapped(const struct ms_region *r)
{
    return r->kind == MS_REGION_ANON && !(r->prot & MS_SHARED);
}

static void probe_all(const struct ms_image *image, struct mapped *mapped, probe_function *probe)
{
    mapped->list.count = 0;
    mapped->bytes = 0;
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        if (!may_hold_mapped(r))
            continue;
        struct stretch stretch = {r->start, r->end, i, i};
        while (i + 1 < image->region_count && image->regions[i + 1].start == stretch.end &&
               may_hold_mapped(&image->regions[i + 1])) {
            stretch.last = ++i;
            stretch.end = image->regions[i].end;
        }
        probe_between(image, &stretch, mapped, probe);
    }
}

static struct ms_error *add_mapped(struct ms_heap *heap, struct ms_image *image)
{
    const struct glibc *g = heap->state;
    struct mapped mapped = {.g = g};
    if (g->par_known && g->mapped_count == 0)
        return NULL;
    struct ms_error *error = collect_taken(heap, &mapped);
    probe_all(image, &mapped, probe_chain);
    bool exact = g->par_known && mapped.list.count == g->mapped_count && mapped.bytes == g->mapped_bytes;
    if (!exact) {
        probe_all(image, &mapped, probe_pages);
        exact = g->par_known && mapped.list.count == g->mapped_count && mapped.bytes == g->mapped_bytes;
    }
    if (!exact)
        heap->inconsistent = true;
    if (!exact && g->par_known)
        ms_image_warn(image, "glibc counts %lu mmapped blocks of %lu bytes; %zu of %lu bytes were found%s",
                      g->mapped_count, g->mapped_bytes, mapped.list.count, mapped.bytes,
                      mapped.list.count > g->mapped_count ? " and are taken as roots, not as blocks" : "");
    struct ms_arena *shown = NULL;
    /* More than there are: some only look like it. No false alarm: none is taken as a block. */
    if (!error && mapped.list.count && (!g->par_known || mapped.list.count <= g->mapped_count)) {
        shown = ms_vector_add(&heap->arenas);
        error = shown ? NULL : ms_error_nomem("the mmapped blocks");
    }
    for (size_t i = 0; shown && !error && i < mapped.list.count; i++) {
        mapped.list.items[i].arena = (uint32_t)(heap->arenas.count - 1);
        error = ms_heap_add_segment(heap, &mapped.list.items[i]);
        shown->walked += mapped.list.items[i].end - mapped.list.items[i].start;
    }
    if (shown) {
        shown->mapped = true;
        shown->system = g->par_known ? g->mapped_bytes : mapped.bytes;
        add_lead(shown, mapped.bytes - shown->walked);
    }
    ms_vector_free(&mapped.taken);
    ms_vector_free(&mapped.list);
    return error;
}

/* --- what only glibc knows --------------------------------------------------------------------- */

#define PTHREAD_WORDS 288u /* of struct pthread, 2.31 to 2.44 */
#define FRAME_LIMIT 4096u
enum { JB_RSP = 6, JB_PC = 7 }; /* sysdeps/x86_64/jmpbuf-offsets.h */

static uint64_t unrotate(uint64_t word)
{
    return word >> 17 | word << 47;
}

/* The word among the module's own data with which the jmp_buf at ADDRESS makes sense, or 0. */
static uint64_t guard_of_frame(const struct ms_image *image, const char *module, uint64_t address,
                               const uint64_t *jmp_buf)
{
    uint64_t words[MS_PAGE / 8];
    for (size_t i = 0; i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        if (r->kind != MS_REGION_FILE || r->prot & MS_EXEC || strcmp(r->path, module) != 0)
            continue;
        for (size_t j = 0; j < r->run_count; j++)
            for (uint64_t at = r->runs[j].start; !r->runs[j].file && at < r->runs[j].end; at += MS_PAGE) {
                if (!ms_image_read(image, at, words, sizeof words))
                    continue;
                for (size_t k = 0; k < MS_PAGE / 8; k++) {
                    uint64_t sp = unrotate(jmp_buf[JB_RSP]) ^ words[k], pc = unrotate(jmp_buf[JB_PC]) ^ words[k];
                    const struct ms_region *code = address - sp < FRAME_LIMIT ? ms_image_region(image, pc) : NULL;
                    if (words[k] && code && code->prot & MS_EXEC)
                        return words[k];
                }
            }
    }
    return 0;
}

/*
 * From 2.44 on the pointer guard is a variable in ld.so's RELRO, or a static
 * program's. Which one, the jmp_buf tells that a thread's first frame has
 * (__libc_start_call_main(), start_thread(): struct pthread.cleanup_jmp_buf).
 */
static void find_guard(struct ms_heap *heap, const struct ms_image *image)
{
    const struct ms_region *loader = ms_image_region(image, ms_image_auxv(image, AT_BASE));
    const char *module = loader ? loader->path : image->exe;
    uint64_t words[PTHREAD_WORDS], jmp_buf[8];
    if (heap->pointer_guard || !module || !image->thread_count ||
        !ms_image_read(image, image->threads[0].registers[MS_REG_FS_BASE], words, sizeof words))
        return;
    for (size_t i = 0; i < PTHREAD_WORDS && !heap->pointer_guard; i++)
        if (words[i] && words[i] % 8 == 0 && is_writable(image, words[i]) &&
            ms_image_read(image, words[i], jmp_buf, sizeof jmp_buf) && jmp_buf[JB_RSP] && jmp_buf[JB_PC])
            heap->pointer_guard = guard_of_frame(image, module, words[i], jmp_buf);
}

/*
 * struct pthread at the thread pointer (sysdeps/x86_64/nptl/tls.h, tcbhead_t):
 * dtv at +8 points 16 bytes into its block, pointer_guard is at +48 up to 2.43 (0 later: in ld.so).
 */
static struct ms_error *add_thread_roots(struct ms_heap *heap, const struct ms_image *image)
{
    const size_t count = image->thread_count;
    ms_auto_free uint64_t *places = calloc(count + 1, sizeof *places);
    ms_auto_free uint64_t *vectors = calloc(count + 1, sizeof *vectors);
    if (!places || !vectors)
        return ms_error_nomem("the roots");
    for (size_t i = 0; i < count; i++)
        places[i] = image->threads[i].registers[MS_REG_FS_BASE] + 8;
    ms_image_gather(image, places, count, sizeof *vectors, (uint8_t *)vectors);
    for (size_t i = 0; i < count; i++) {
        struct ms_exact_root *root = vectors[i] ? ms_vector_add(&heap->exact_roots) : NULL;
        if (root)
            *root = (struct ms_exact_root){vectors[i], places[i], "dtv"};
        else if (vectors[i])
            return ms_error_nomem("the roots");
        if (!heap->pointer_guard && vectors[i])
            ms_image_read_word(image, places[i] + 40, &heap->pointer_guard);
    }
    return NULL;
}

/* The code that is in the same file as main_arena. */
static void find_code(struct ms_heap *heap, const struct ms_image *image)
{
    const struct glibc *g = heap->state;
    const struct ms_region *data = ms_image_region(image, g->library);
    for (size_t i = 0; data && i < image->region_count; i++) {
        const struct ms_region *r = &image->regions[i];
        if (!(r->prot & MS_EXEC) || r->inode != data->inode || strcmp(r->path, data->path) != 0)
            continue;
        if (!heap->code_start)
            heap->code_start = r->start;
        heap->code_end = r->end;
    }
}

struct ms_error *glibc_discover(struct ms_heap *heap, struct ms_image *image, bool *found)
{
    heap->state = calloc(1, sizeof(struct glibc));
    if (!heap->state)
        return ms_error_nomem("the heap's state");
    MS_TRY(find_arenas(heap, image, found));
    if (!*found)
        return NULL;
    struct glibc *g = heap->state;
    snprintf(heap->description, sizeof heap->description, "glibc");
    heap->tail = 8; /* a block goes on over the next chunk's prev_size, up to its size */
    MS_TRY(add_main(heap, image));
    for (uint32_t i = 1; i < g->arenas.count; i++)
        MS_TRY(add_heaps(heap, image, i));
    MS_TRY(add_mapped(heap, image));
    find_code(heap, image);
    MS_TRY(add_thread_roots(heap, image));
    find_guard(heap, image);
    return NULL;
}
