/* Heaps of glibc versions that few machines still run, laid out by hand as their sources say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "memscope/graph.h"
#include "target/target.h"

#define DATA 0x7f0000100000ull
#define HEAP 0x555500000000ull
#define LOW_HEAP 0x1000000ull /* where programs without PIE have it: links look like one another */
#define MAPPED 0x7f0000200000ull
#define STACK 0x7ffe00000000ull
#define TCB (STACK + 0xc00)
#define NO_CHUNK 0u

/* malloc_state, malloc_par and tcache_perthread_struct of malloc/malloc.c. */
struct version {
    const char *name;
    unsigned bins, fastbins;     /* offsets in malloc_state; fastbins 0: gone */
    bool attached;               /* attached_threads */
    unsigned n_mmaps, sbrk_base; /* offsets in malloc_par */
    unsigned tcache, entries;    /* chunk size, offset of entries[]; 0: none */
    bool safe;                   /* PROTECT_PTR */
    unsigned mapped_tail;
    uint64_t heap;
};

static const struct version versions[] = {
    {"2.17", 104, 8, false, 40, 80, NO_CHUNK, 0, false, 0, HEAP},
    {"2.23", 104, 8, true, 40, 80, NO_CHUNK, 0, false, 0, HEAP},
    {"2.23 low", 104, 8, true, 40, 80, NO_CHUNK, 0, false, 0, LOW_HEAP},
    {"2.26", 104, 8, true, 40, 72, 0x250, 64, false, 0, HEAP},
    {"2.27", 112, 16, true, 40, 72, 0x250, 64, false, 0, HEAP},
    {"2.27 low", 112, 16, true, 40, 72, 0x250, 64, false, 0, LOW_HEAP},
    {"2.30", 112, 16, true, 40, 72, 0x290, 128, false, 0, HEAP},
    {"2.32", 112, 16, true, 40, 72, 0x290, 128, true, 0, HEAP},
    {"2.32 low", 112, 16, true, 40, 72, 0x290, 128, true, 0, LOW_HEAP},
    {"2.35", 112, 16, true, 68, 104, 0x290, 128, true, 0, HEAP},
    {"2.42", 112, 16, true, 68, 104, 0x300, 152, true, 0, HEAP},
    {"2.43", 24, 0, true, 68, 104, 0x300, 152, true, 16, HEAP},
};

/* A region whose bytes are BYTES. */
struct part {
    uint64_t start;
    enum ms_region_kind kind;
    const char *path;
    uint8_t bytes[4 * MS_PAGE];
};

struct world {
    const struct version *version;
    struct part parts[4]; /* by address */
    uint64_t next;        /* chunk */
    bool previous_free;
};

static struct part *part_of(struct world *w, uint64_t address)
{
    for (size_t i = 0; i < 4; i++)
        if (address - w->parts[i].start < sizeof w->parts[i].bytes)
            return &w->parts[i];
    fail();
    return NULL;
}

static void put(struct world *w, uint64_t address, uint64_t word)
{
    struct part *part = part_of(w, address);
    memcpy(part->bytes + (address - part->start), &word, sizeof word);
}

static void put_int(struct world *w, uint64_t address, int32_t word)
{
    struct part *part = part_of(w, address);
    memcpy(part->bytes + (address - part->start), &word, sizeof word);
}

/* A chunk behind the last one; returns the address of its block. */
static uint64_t chunk(struct world *w, uint64_t size, bool is_free)
{
    uint64_t at = w->next;
    put(w, at + 8, size | !w->previous_free);
    if (is_free)
        put(w, at + size, size); /* prev_size of the next one */
    w->previous_free = is_free;
    w->next = at + size;
    return at + 16;
}

static void link_list(struct world *w, uint64_t block, uint64_t next)
{
    put(w, block, w->version->safe ? next ^ block >> 12 : next);
}

static struct ms_image *image_of(struct world *w)
{
    struct ms_image *image;
    assert_null(ms_image_new(MS_FULL, &image));
    image->pid = 1;
    image->regions = calloc(4, sizeof *image->regions);
    image->threads = calloc(1, sizeof *image->threads);
    assert_non_null(image->regions);
    assert_non_null(image->threads);
    image->region_count = 4;
    image->thread_count = 1;
    image->threads[0].registers[MS_REG_RSP] = STACK + 0x100;
    image->threads[0].registers[MS_REG_FS_BASE] = TCB;
    for (size_t i = 0; i < 4; i++) {
        struct part *p = &w->parts[i];
        struct ms_run *run = calloc(1, sizeof *run);
        assert_non_null(run);
        *run = (struct ms_run){p->start, p->start + sizeof p->bytes, p->bytes, false, false, false};
        image->regions[i] = (struct ms_region){.start = p->start, .end = p->start + sizeof p->bytes,
                                               .prot = MS_READ | MS_WRITE, .kind = p->kind,
                                               .path = p->path, .runs = run, .run_count = 1,
                                               .surveyed = true};
    }
    return image;
}

/* malloc_state with one free chunk in the unsorted bin, and malloc_par behind it. */
static void put_state(struct world *w, uint64_t top, uint64_t free_chunk, uint64_t fast_chunk)
{
    const struct version *v = w->version;
    const uint64_t state = DATA + 0x400, bins = state + v->bins, tail = bins + 2032 + 16;
    const uint64_t par = DATA + 0x2000;
    if (v->fastbins)
        put(w, state + v->fastbins + 2 * 8, fast_chunk); /* of 64 bytes */
    put(w, bins - 16, top);
    for (unsigned i = 0; i < 127; i++) {
        put(w, bins + 16 * i, bins + 16 * i - 16);
        put(w, bins + 16 * i + 8, bins + 16 * i - 16);
    }
    put(w, bins, free_chunk);
    put(w, bins + 8, free_chunk);
    put(w, free_chunk + 16, bins - 16);
    put(w, free_chunk + 24, bins - 16);
    put(w, tail, state); /* next */
    put(w, tail + 16, v->attached ? 1 : 4 * MS_PAGE);
    put(w, tail + 24, 4 * MS_PAGE);
    put(w, par, 128 << 10);      /* trim_threshold */
    put(w, par + 16, 128 << 10); /* mmap_threshold */
    put(w, par + 24, 8);         /* arena_test */
    put_int(w, par + v->n_mmaps, 1);
    put_int(w, par + v->n_mmaps + 4, 65536);
    put_int(w, par + v->n_mmaps + 8, 1);
    const uint64_t bytes = par + v->sbrk_base - (v->n_mmaps == 40 && v->sbrk_base == 80 ? 24 : 16);
    put(w, bytes, 4 * MS_PAGE);
    put(w, bytes + 8, 4 * MS_PAGE);
    put(w, par + v->sbrk_base, v->heap);
}

/* What each version must be seen as: live blocks, cached ones, a free chunk, top, an mmapped block. */
static void version_is_known(void **state)
{
    const struct version *v = *state;
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    *w = (struct world){.version = v, .next = v->heap};
    const struct part parts[4] = {{.start = v->heap, .kind = MS_REGION_BRK, .path = "[heap]"},
                                  {.start = DATA, .kind = MS_REGION_FILE, .path = "/lib/libc.so.6"},
                                  {.start = MAPPED, .kind = MS_REGION_ANON, .path = ""},
                                  {.start = STACK, .kind = MS_REGION_STACK, .path = "[stack]"}};
    memcpy(w->parts, parts, sizeof parts);
    uint64_t tcache = v->tcache ? chunk(w, v->tcache, false) : 0;
    uint64_t kept = chunk(w, 64, false), lost = chunk(w, 64, false);
    uint64_t cached = chunk(w, 48, false), cached2 = chunk(w, 48, false);
    uint64_t fast = chunk(w, 64, false), fast2 = chunk(w, 64, false);
    uint64_t unsorted = chunk(w, 272, true);
    uint64_t kept2 = chunk(w, 32, false);
    uint64_t top = w->next;
    put(w, top + 8, (v->heap + 4 * MS_PAGE - top) | 1);
    put_state(w, top, unsorted - 16, fast - 16);
    if (v->tcache) {
        put(w, TCB - 0x40, tcache);
        put(w, tcache + v->entries + 8, cached); /* of 48 bytes */
        link_list(w, cached, cached2);
        link_list(w, cached2, 0);
    }
    if (v->fastbins) {
        put(w, fast, v->safe ? (fast2 - 16) ^ fast >> 12 : fast2 - 16);
        link_list(w, fast2, 0);
    }
    put(w, unsorted + 64, lost); /* stale: free chunks keep nothing alive */
    put(w, cached + 16, lost);
    put(w, MAPPED + 8, (4 * MS_PAGE - v->mapped_tail) | 2);
    put(w, STACK + 0x200, kept);
    put(w, STACK + 0x208, kept2);
    put(w, kept + 8, kept2);

    struct ms_image *image = image_of(w);
    struct ms_scan *scan;
    struct ms_reach reach;
    struct ms_lost found;
    assert_null(ms_scan_new(&scan));
    const struct ms_capture_options options = {.sink = ms_scan_sink(scan)};
    assert_null(ms_stream_kept(image, &options));
    assert_null(ms_scan_finish(scan, image));
    assert_null(ms_mark(scan, &reach));
    assert_null(ms_find_lost(scan, &found));
    for (size_t i = 0; i < image->warnings.count; i++)
        print_message("# %s: %s\n", v->name, image->warnings.items[i]);
    assert_int_equal(image->warnings.count, 0);
    assert_int_equal(scan->heap.arenas.count, 2); /* main_arena, the mmapped blocks */

    const struct ms_tally *classes = scan->heap.arenas.items[0].classes;
    unsigned cached_count = v->tcache ? 2 : 0, fast_count = v->fastbins ? 2 : 0;
    assert_int_equal(classes[MS_CLASS_TCACHE].blocks, cached_count);
    assert_int_equal(classes[MS_CLASS_TCACHE].bytes, cached_count * 48);
    assert_int_equal(classes[MS_CLASS_FASTBIN].blocks, fast_count);
    assert_int_equal(classes[MS_CLASS_FASTBIN].bytes, fast_count * 64);
    assert_int_equal(classes[MS_CLASS_FREE].blocks, 1);
    assert_int_equal(classes[MS_CLASS_FREE].bytes, 272);
    assert_int_equal(classes[MS_CLASS_TOP].bytes, v->heap + 4 * MS_PAGE - top);
    assert_int_equal(classes[MS_CLASS_LIVE].blocks, 3 + (v->tcache != 0) + (2 - cached_count) + (2 - fast_count));

    /* Blocks that this version has no list for are lost ones here. */
    uint64_t expected[8] = {lost};
    size_t count = 1;
    if (!v->tcache) {
        expected[count++] = cached;
        expected[count++] = cached2;
    }
    if (!v->fastbins) {
        expected[count++] = fast;
        expected[count++] = fast2;
    }
    expected[count++] = MAPPED + 16;
    assert_int_equal(found.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ms_granule_address(&scan->heap, found.starts[i]), expected[i]);
    assert_int_equal(ms_block_size(&scan->heap, found.starts[count - 1]),
                     4 * MS_PAGE - 16 - v->mapped_tail / 2);
    ms_lost_free(&found);
    ms_scan_free(scan);
    ms_image_free(image);
    free(w);
}

int main(void)
{
    enum { COUNT = sizeof versions / sizeof *versions };
    struct CMUnitTest tests[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){versions[i].name, version_is_known, NULL, NULL, (void *)&versions[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
