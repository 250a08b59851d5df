/* Lines of a heap: whichever instructions this CPU has, the targets are those of a plain search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "graph/scan.h"

#define HEAP   0x555500000000ull
#define ARENA  0x7f0000000000ull
#define VTABLE 0x7f1200340000ull
#define CODE   (VTABLE - 0x10000)

/* What pointers can point to: two segments, and the read-only data of a module. */
static const struct {
    uint64_t start, end;
} places[] = {
    {HEAP + 0x290, HEAP + 0x21000},
    {ARENA + 0x30, ARENA + 0x4000},
    {VTABLE, VTABLE + 0x3000},
};
#define PLACES (sizeof places / sizeof *places)

static struct ms_region regions[] = {
    {.start = CODE,
     .end = CODE + 0x10000,
     .inode = 7,
     .prot = MS_READ | MS_EXEC,
     .kind = MS_REGION_FILE,
     .path = ""},
    {.start = VTABLE,
     .end = VTABLE + 0x3000,
     .inode = 7,
     .prot = MS_READ,
     .kind = MS_REGION_FILE,
     .path = ""},
};

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* In a place, at its very edges, or nowhere. */
static uint64_t next_word(void)
{
    const uint64_t random = next_random();
    const uint64_t start = places[random % PLACES].start, end = places[random % PLACES].end;
    switch (random >> 8 & 7) {
    case 0:
        return start;
    case 1:
        return end - (random >> 16 & 1); /* the last byte, or none of it */
    case 2:
        return start - 1;
    case 3:
        return random >> 16; /* 48 bits: also what no program can have */
    case 4:
        return random >> 63 ? UINT64_MAX : 0;
    case 5:
        return start + (random >> 16) % (end - start); /* unaligned, mostly */
    default:
        return start + ((random >> 16) % (end - start) & ~7ull);
    }
}

/* The compact space: a pane stays free, then the segments, then the module's words. */
static uint64_t expected_target(uint64_t word)
{
    uint64_t first = 2 * MS_PANE_GRANULES;
    for (size_t i = 0; i < PLACES; i++) {
        const uint64_t base = places[i].start & ~(uint64_t)(MS_PANE - 1), offset = word - base;
        if (word >= places[i].start && word < places[i].end)
            return first + (offset % 8 ? offset / 16 * 2 + 1 : offset / 8);
        first += (places[i].end - base + MS_PANE - 1) / MS_PANE * MS_PANE_GRANULES * 2;
    }
    return MS_NOTHING;
}

static struct ms_scan *new_scan(void)
{
    struct ms_scan *scan;
    assert_null(ms_scan_new(&scan));
    uint64_t first = MS_PANE_GRANULES;
    for (size_t i = 0; i < 2; i++) {
        const uint64_t base = places[i].start & ~(uint64_t)(MS_PANE - 1);
        assert_null(ms_heap_add_segment(&scan->heap, &(struct ms_segment){.start = places[i].start,
                                                                          .end = places[i].end,
                                                                          .base = base,
                                                                          .first = first}));
        first += (places[i].end - base + MS_PANE - 1) / MS_PANE * MS_PANE_GRANULES;
    }
    scan->heap.granules = first;
    const struct ms_image image = {.regions = regions, .region_count = 2};
    assert_null(ms_zones_make(scan, &image));
    return scan;
}

static void check_line(const struct ms_scan *scan, size_t home, const uint64_t words[64])
{
    const struct zone_map *map = &scan->workers->map;
    const struct ms_segment *s = &scan->heap.segments.items[home];
    const struct home at_home = ms_home_of(s);
    const uint64_t maybe = scan->workers->filter(words, map->low, map->span);
    uint8_t room[64 * 4 + MS_LINE_SPILL], *out = room;
    uint32_t found[64];
    size_t count = 0;
    const uint64_t bits = scan->workers->line ? scan->workers->line(words, map, &at_home, &out) : 0;
    memcpy(found, room, sizeof found);
    for (unsigned i = 0; i < 64; i++) {
        const uint64_t target = expected_target(words[i]);
        assert_int_equal(ms_zone_target(map, words[i]), target);
        assert_true(target == MS_NOTHING || maybe >> i & 1);
        if (!scan->workers->line)
            continue;
        assert_int_equal(bits >> i & 1, target != MS_NOTHING);
        if (target != MS_NOTHING)
            assert_int_equal(found[count++], target);
    }
    assert_int_equal(out - room, count * 4);
}

static void test_lines(void **unused)
{
    (void)unused;
    struct ms_scan *scan = new_scan();
    uint64_t words[64] = {0};
    check_line(scan, 0, words);
    for (unsigned round = 0; round < 20000; round++) {
        /* From lines of pointers alone to lines that have hardly one. */
        const uint64_t rare = 1 + round % 16;
        for (unsigned i = 0; i < 64; i++)
            words[i] = next_random() % rare ? next_random() % 1000 : next_word();
        check_line(scan, round % 2, words);
    }
    ms_scan_free(scan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
