/* The memory map: regions by what they are for, those of a file together. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/growth.h"
#include "words.h"

/* In terminals with less than this, names of files without their directories. */
#define WIDE 100u

enum { WHAT, RIGHTS, COUNT, SIZE, RSS, GREW, SWAP, SHARE };
static const struct tui_column columns[] = {
    [WHAT] = {.title = "region", .least = 31},
    [RIGHTS] = {.title = "perm", .width = 4, .weight = 5},
    [COUNT] = {.title = "maps", .width = 6, .right = true, .descending = true, .weight = 2},
    [SIZE] = {.title = "size", .width = 10, .right = true, .descending = true, .weight = 4},
    [RSS] = {.title = "Rss", .width = 10, .right = true, .descending = true},
    [GREW] = {.title = "grew", .width = 11, .right = true, .descending = true, .delta = true, .weight = 6},
    [SWAP] = {.title = "swap", .width = 10, .right = true, .descending = true, .weight = 1},
    [SHARE] = {.title = "share", .width = 12, .descending = true, .weight = 3},
};

/* What tui_row.item says: an index, and of what. */
#define ITEM_BITS 40u
enum item { USE, FILES, REGION };

struct state {
    struct ms_map_growth growth; /* when there is a snapshot before */
    bool compared;
};

static enum item kind_of(const struct tui_row *row)
{
    return (enum item)(row->item >> ITEM_BITS);
}

static uint64_t index_of(const struct tui_row *row)
{
    return row->item & ((1ull << ITEM_BITS) - 1);
}

static uint64_t item_of(enum item kind, uint64_t index)
{
    return (uint64_t)kind << ITEM_BITS | index;
}

static const struct ms_map_region *map_region(const struct tui_view *view, const struct tui_row *row)
{
    return &view->facts.map->regions.items[index_of(row)];
}

static const struct ms_region *region_of(const struct tui_view *view, const struct tui_row *row)
{
    return &view->facts.image->regions[map_region(view, row)->index];
}

/* --- rows -------------------------------------------------------------------------------------- */

static struct ms_error *fill(struct tui_view *view)
{
    struct state *state = view->state;
    const struct ms_memory_map *map = view->facts.map;
    if (!map)
        return NULL;
    if (view->before && view->before->map) {
        ms_map_growth(view->before->map, map, &state->growth);
        state->compared = true;
    }
    for (unsigned use = 0; use < MS_USES; use++)
        if (map->uses[use].regions)
            MS_TRY(tui_add_row(&view->rows, (struct tui_row){.key = use + 1, .item = item_of(USE, use),
                                                             .opens = true}));
    return NULL;
}

static struct ms_error *add_regions(const struct tui_view *view, const struct ms_map_group *group, unsigned depth,
                                    struct tui_rows *below)
{
    for (uint64_t i = 0; i < group->extent.regions; i++) {
        struct tui_row row = {.item = item_of(REGION, group->first + i), .depth = depth};
        row.key = region_of(view, &row)->start + 1;
        MS_TRY(tui_add_row(below, row));
    }
    return NULL;
}

static struct ms_error *open_row(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    const struct ms_memory_map *map = view->facts.map;
    if (kind_of(row) == FILES)
        return add_regions(view, &map->groups.items[index_of(row)], row->depth + 1, below);
    for (size_t i = 0; kind_of(row) == USE && i < map->groups.count; i++) {
        const struct ms_map_group *group = &map->groups.items[i];
        if (group->use != index_of(row))
            continue;
        if (!ms_uses[group->use].by_file)
            return add_regions(view, group, row->depth + 1, below);
        MS_TRY(tui_add_row(below, (struct tui_row){.key = tui_hash(group->use + 1, group->path), .opens = true,
                                                   .item = item_of(FILES, i), .depth = row->depth + 1}));
    }
    return NULL;
}

/* --- cells ------------------------------------------------------------------------------------- */

static void put_path(const struct tui_view *view, const char *path, struct tui_cell *cell)
{
    const char *base = strrchr(path, '/');
    tui_put_name(cell, view->width < WIDE && base && base[1] ? base + 1 : path);
}

static void put_thread(const struct ms_image *image, pid_t tid, struct tui_cell *cell)
{
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct ms_thread *t = &image->threads[i];
        if (t->tid != tid)
            continue;
        tui_put(cell, " thread %d ", (int)tid);
        if (t->name[0]) {
            char name[sizeof t->name + 1] = {0};
            memcpy(name, t->name, sizeof t->name);
            tui_put_name(cell, name);
        }
        return;
    }
}

static void put_region(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    const struct ms_region *r = region_of(view, row);
    tui_put(cell, "%012" PRIx64 "-%012" PRIx64, r->start, r->end);
    if (map_region(view, row)->tid)
        put_thread(view->facts.image, map_region(view, row)->tid, cell);
    else if (*r->path && !ms_uses[map_region(view, row)->use].by_file) {
        tui_put(cell, " ");
        put_path(view, r->path, cell);
    }
}

static void put_what(const struct tui_view *view, const struct tui_row *row, struct tui_cell *cell)
{
    if (kind_of(row) == USE) {
        tui_put(cell, "%s", ms_uses[index_of(row)].title);
    } else if (kind_of(row) == REGION) {
        put_region(view, row, cell);
    } else {
        const char *path = view->facts.map->groups.items[index_of(row)].path;
        if (*path)
            put_path(view, path, cell);
        else
            tui_put(cell, "(no name)");
    }
}

static struct ms_extent extent_of(const struct tui_view *view, const struct tui_row *row)
{
    if (kind_of(row) == USE)
        return view->facts.map->uses[index_of(row)];
    if (kind_of(row) == FILES)
        return view->facts.map->groups.items[index_of(row)].extent;
    const struct ms_region *r = region_of(view, row);
    return (struct ms_extent){1, r->end - r->start, map_region(view, row)->rss, r->swap};
}

static bool number(const struct tui_view *view, const struct tui_row *row, unsigned column, double *value)
{
    const struct state *state = view->state;
    const struct ms_extent extent = extent_of(view, row);
    switch (column) {
    case WHAT: /* by address, where there is one */
        *value = kind_of(row) == REGION ? (double)region_of(view, row)->start : 0;
        return kind_of(row) == REGION;
    case COUNT:
        *value = (double)extent.regions;
        return true;
    case SIZE:
        *value = (double)extent.size;
        return true;
    case RSS:
    case SHARE:
        *value = (double)extent.rss;
        return true;
    case SWAP:
        *value = (double)extent.swap;
        return true;
    case GREW:
        *value = kind_of(row) == USE ? (double)state->growth.uses[index_of(row)] : 0;
        return kind_of(row) == USE && state->compared;
    default:
        return false;
    }
}

static void put_rights(const struct ms_region *r, struct tui_cell *cell)
{
    tui_put(cell, "%c%c%c%c", r->prot & MS_READ ? 'r' : '-', r->prot & MS_WRITE ? 'w' : '-',
            r->prot & MS_EXEC ? 'x' : '-', r->prot & MS_SHARED ? 's' : 'p');
}

static void cell_of(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    double value = 0;
    if (column == WHAT)
        put_what(view, row, cell);
    else if (column == RIGHTS && kind_of(row) == REGION)
        put_rights(region_of(view, row), cell);
    else if (!number(view, row, column, &value))
        return;
    else if (column == SHARE)
        cell->bar = view->facts.map->total.rss ? value / (double)view->facts.map->total.rss : 0;
    else if (column == GREW)
        tui_put_delta(cell, (int64_t)value, true);
    else if (column == COUNT && kind_of(row) != REGION)
        tui_put_count(cell, (uint64_t)value);
    else if (column == SIZE || column == RSS || (column == SWAP && value > 0))
        tui_put_size(cell, (uint64_t)value);
}

static bool headline(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    const struct ms_memory_map *map = view->facts.map;
    if (!map || line > 0)
        return false;
    tui_put_size(cell, map->total.rss);
    tui_put(cell, view->facts.image->accounted ? " resident of " : " there of ");
    tui_put_size(cell, map->total.size);
    tui_put(cell, " mapped in ");
    tui_put_count(cell, map->total.regions);
    tui_put(cell, " regions");
    if (map->total.swap) {
        tui_put(cell, ", and ");
        tui_put_size(cell, map->total.swap);
        tui_put(cell, " swapped");
    }
    return true;
}

/* A region of the heap leads to the arenas, which know what is in it. */
static bool enter(const struct tui_view *view, const struct tui_row *row, struct tui_place *to)
{
    if (kind_of(row) != REGION || map_region(view, row)->use != MS_USE_HEAP)
        return false;
    *to = (struct tui_place){&tui_arenas, 0};
    return true;
}

static uint64_t address(const struct tui_view *view, const struct tui_row *row)
{
    return kind_of(row) == REGION ? region_of(view, row)->start : 0;
}

const struct tui_view_kind tui_map = {
    .name = "Map", .key = '6', .empty = "no regions", .stage = MS_STAGE_MEMSTATS,
    .columns = columns, .column_count = sizeof columns / sizeof *columns, .sort = RSS,
    .state_size = sizeof(struct state), .fill = fill, .open = open_row, .cell = cell_of, .number = number,
    .headline = headline, .enter = enter, .address = address,
};
