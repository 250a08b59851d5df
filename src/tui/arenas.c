/* The allocator's arenas, open to their segments, open to maps of them, down to single blocks. */
#include <inttypes.h>
#include <stdlib.h>

#include "words.h"

/* Rows below one, before one that opens to more. */
#define PAGE 500u
/* Rows that a range opens to, at most. */
#define ROWS 16u
/* A row of a map with no more bytes opens to its blocks. */
#define FINEST 4096u

enum { WHAT, MAP, SYSTEM, LIVE, LOST, FREE, FRAGMENTED, TCACHE, FASTBIN, TOP, BLOCKS };
static const struct tui_column columns[] = {
    [WHAT] = {.title = "arena", .width = 22, .tree = true},
    [MAP] = {.title = "map", .least = 32},
    [SYSTEM] = {.title = "system", .width = 10, .right = true, .weight = 5},
    [LIVE] = {.title = "live", .width = 10, .right = true, .weight = 8},
    [LOST] = {.title = "lost", .width = 10, .right = true, .weight = 7},
    [FREE] = {.title = "free", .width = 10, .right = true, .weight = 6},
    [FRAGMENTED] = {.title = "frag", .width = 6, .right = true, .weight = 4},
    [TCACHE] = {.title = "tcache", .width = 10, .right = true, .weight = 3},
    [FASTBIN] = {.title = "fastbin", .width = 10, .right = true, .weight = 1},
    [TOP] = {.title = "top", .width = 10, .right = true, .weight = 2},
    [BLOCKS] = {.title = "blocks", .width = 11, .right = true, .weight = 2},
};

enum node_kind { ARENA, SEGMENT, RANGE, CHUNK, MORE_SEGMENTS, MORE_CHUNKS };

/* What a row is; tui_row.item is its index in struct state. */
struct node {
    enum node_kind kind;
    uint32_t arena, segment; /* indices; of MORE_SEGMENTS the first one to come */
    uint64_t start, end;     /* addresses */
    struct ms_heap_cell bytes;
    uint8_t map[TUI_MAP_CELLS]; /* enum tui_style; made when it is shown first */
    unsigned map_count;
};

struct state {
    MS_VECTOR(struct node) nodes;
    struct ms_heap_cell total;
};

static const struct node *node_of(const struct tui_view *view, const struct tui_row *row)
{
    const struct state *state = view->state;
    return &state->nodes.items[row->item];
}

static const struct ms_heap *heap_of(const struct tui_view *view)
{
    return &view->facts.scan->heap;
}

static void release(void *of)
{
    struct state *state = of;
    ms_vector_free(&state->nodes);
}

/* --- rows -------------------------------------------------------------------------------------- */

static ms_result add(struct tui_view *view, const struct node *node, unsigned depth, struct tui_rows *rows)
{
    struct state *state = view->state;
    struct node *slot = ms_vector_add(&state->nodes);
    if (!slot)
        return ms_error_nomem("the view");
    *slot = *node;
    /* Where it is, and what: ranges of several sizes begin at one address. */
    const uint64_t key = (uint64_t)(node->kind + 1) << 60 ^ (node->start + node->segment) ^
                         (node->end - node->start) << 13 ^ (uint64_t)node->arena << 48;
    return tui_add_row(rows, (struct tui_row){.key = key ? key : 1, .item = state->nodes.count - 1, .depth = depth,
                                              .opens = node->kind != CHUNK});
}

static struct ms_heap_cell range_of(const struct tui_view *view, uint32_t segment, uint64_t from, uint64_t to)
{
    return ms_heap_map_range(heap_of(view), view->facts.heap_map, &heap_of(view)->segments.items[segment], from,
                             to);
}

/* Segments of ARENA from index FIRST on. */
static ms_result add_segments(struct tui_view *view, uint32_t arena, uint32_t first, unsigned depth,
                              struct tui_rows *below)
{
    const struct ms_heap *heap = heap_of(view);
    size_t added = 0;
    for (uint32_t i = first; i < heap->segments.count; i++) {
        const struct ms_segment *s = &heap->segments.items[i];
        if (s->arena != arena)
            continue;
        struct node node = {.kind = SEGMENT, .arena = arena, .segment = i, .start = s->start, .end = s->end};
        if (added++ == PAGE) {
            node.kind = MORE_SEGMENTS;
            return add(view, &node, depth, below);
        }
        node.bytes = range_of(view, i, s->start, s->end);
        if (s->kind == MS_SEGMENT_MAPPED)
            node.kind = CHUNK; /* it is one block */
        MS_TRY(add(view, &node, depth, below));
    }
    return NULL;
}

static void add_cell(struct ms_heap_cell *sum, const struct ms_heap_cell *cell)
{
    sum->live += cell->live;
    sum->lost += cell->lost;
    sum->free += cell->free;
    sum->unknown += cell->unknown;
}

static int biggest_first(const void *a, const void *b, void *heap)
{
    const struct ms_arena *arenas = ((const struct ms_heap *)heap)->arenas.items;
    const struct node *n = a, *m = b;
    if (arenas[n->arena].system != arenas[m->arena].system)
        return arenas[n->arena].system > arenas[m->arena].system ? -1 : 1;
    return n->arena < m->arena ? -1 : n->arena > m->arena;
}

static struct ms_error *fill(struct tui_view *view)
{
    struct state *state = view->state;
    const struct ms_heap *heap = heap_of(view);
    state->nodes.count = 0;
    state->total = (struct ms_heap_cell){0};
    if (!view->facts.heap_map)
        return NULL;
    ms_auto_free struct node *arenas = calloc(heap->arenas.count + 1, sizeof *arenas);
    if (!arenas)
        return ms_error_nomem("the view");
    for (uint32_t i = 0; i < heap->arenas.count; i++)
        arenas[i] = (struct node){.kind = ARENA, .arena = i};
    for (uint32_t i = 0; i < heap->segments.count; i++) {
        const struct ms_segment *s = &heap->segments.items[i];
        const struct ms_heap_cell bytes = range_of(view, i, s->start, s->end);
        add_cell(&arenas[s->arena].bytes, &bytes);
        add_cell(&state->total, &bytes);
    }
    qsort_r(arenas, heap->arenas.count, sizeof *arenas, biggest_first, (void *)heap);
    for (size_t i = 0; i < heap->arenas.count; i++) {
        MS_TRY(add(view, &arenas[i], 0, &view->rows));
        if (i > 0)
            continue;
        view->rows.list.items[0].open = true; /* the biggest shows its map at once */
        MS_TRY(add_segments(view, arenas[0].arena, 0, 1, &view->rows));
    }
    return NULL;
}

static ms_result add_chunks(struct tui_view *view, const struct node *range, unsigned depth,
                            struct tui_rows *below)
{
    const struct ms_segment *segment = &heap_of(view)->segments.items[range->segment];
    struct ms_chunk chunk;
    struct node node = *range;
    size_t added = 0;
    for (uint64_t at = range->start; at < range->end && ms_chunk_at(heap_of(view), segment, at, &chunk);
         at = chunk.end) {
        if (added++ == PAGE) {
            node = *range;
            node.kind = MORE_CHUNKS;
            node.start = at;
            return add(view, &node, depth, below);
        }
        node.kind = CHUNK;
        node.start = chunk.start;
        node.end = chunk.end;
        node.bytes = range_of(view, node.segment, node.start, node.end);
        MS_TRY(add(view, &node, depth, below));
    }
    return NULL;
}

/* A power of two, so that rows of several ranges compare. */
static ms_result add_ranges(struct tui_view *view, const struct node *range, unsigned depth,
                            struct tui_rows *below)
{
    uint64_t each = FINEST;
    while (each * ROWS < range->end - range->start)
        each *= 2;
    for (uint64_t at = range->start & ~(each - 1); at < range->end; at += each) {
        struct node node = *range;
        node.kind = RANGE;
        node.map_count = 0;
        node.start = at > range->start ? at : range->start;
        node.end = at + each < range->end ? at + each : range->end;
        node.bytes = range_of(view, node.segment, node.start, node.end);
        MS_TRY(add(view, &node, depth, below));
    }
    return NULL;
}

static struct ms_error *open_row(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    const struct node node = *node_of(view, row); /* the vector may move */
    const unsigned depth = row->depth + 1;
    switch (node.kind) {
    case ARENA:
        return add_segments(view, node.arena, 0, depth, below);
    case MORE_SEGMENTS:
        return add_segments(view, node.arena, node.segment, depth, below);
    case SEGMENT:
    case RANGE:
        if (node.end - node.start > FINEST)
            return add_ranges(view, &node, depth, below);
        return add_chunks(view, &node, depth, below);
    case MORE_CHUNKS:
        return add_chunks(view, &node, depth, below);
    case CHUNK:
        break;
    }
    return NULL;
}

/* --- maps -------------------------------------------------------------------------------------- */

static enum tui_style style_of(enum ms_chunk_state state)
{
    static const enum tui_style styles[MS_CHUNK_STATES] = {
        [MS_CHUNK_LIVE] = TUI_LIVE, [MS_CHUNK_LOST] = TUI_LEAKED, [MS_CHUNK_FREE] = TUI_FREE,
        [MS_CHUNK_UNKNOWN] = TUI_DIM,
    };
    return styles[state];
}

/* Characters of a map: as many as find room beside the figures that this width leaves. */
static unsigned map_cells(const struct tui_view *view)
{
    return view->width < 60 ? 16 : view->width < 180 ? 32 : 64;
}

/* Where character INDEX of COUNT begins; at a pane when it has several, as of these sums are there. */
static uint64_t boundary(const struct node *node, unsigned index, unsigned count)
{
    const uint64_t size = node->end - node->start;
    const uint64_t at = node->start + size / count * index + size % count * index / count;
    return index && index < count && size / count > 2 * MS_PANE ? at & ~(uint64_t)(MS_PANE - 1) : at;
}

/* Each character is a part of the range, coloured as most bytes in it are. */
static void make_map(const struct tui_view *view, struct node *node)
{
    const unsigned cells = map_cells(view);
    for (unsigned i = 0; i < cells; i++) {
        const uint64_t from = boundary(node, i, cells), to = boundary(node, i + 1, cells);
        const struct ms_heap_cell bytes = range_of(view, node->segment, from, to);
        enum ms_chunk_state state;
        if (to > from && ms_heap_cell_state(&bytes, &state))
            node->map[node->map_count++] = (uint8_t)style_of(state);
    }
}

static void put_range(const struct tui_view *view, const struct node *node, struct tui_cell *cell)
{
    struct state *state = view->state;
    if (!node->map_count)
        make_map(view, &state->nodes.items[node - state->nodes.items]);
    for (unsigned i = 0; i < node->map_count; i++)
        tui_put_map(cell, (enum tui_style)node->map[i]);
}

/* Of an arena: how its bytes divide, as lengths. */
static void put_lengths(const struct tui_view *view, const struct ms_heap_cell *bytes, struct tui_cell *cell)
{
    const uint64_t parts[MS_CHUNK_STATES] = {bytes->live, bytes->lost, bytes->free, bytes->unknown};
    const uint64_t whole = bytes->live + bytes->lost + bytes->free + bytes->unknown;
    const double cells = map_cells(view);
    double sum = 0;
    unsigned drawn = 0;
    for (unsigned state = 0; whole && state < MS_CHUNK_STATES; state++) {
        sum += (double)parts[state];
        for (; drawn < (unsigned)(sum / (double)whole * cells + 0.5); drawn++)
            tui_put_map(cell, style_of((enum ms_chunk_state)state));
    }
}

/* --- cells ------------------------------------------------------------------------------------- */

static bool chunk_of(const struct tui_view *view, const struct node *node, struct ms_chunk *chunk)
{
    const struct ms_segment *segment = &heap_of(view)->segments.items[node->segment];
    return node->kind == CHUNK && ms_chunk_at(heap_of(view), segment, node->start, chunk);
}

static void put_what(const struct tui_view *view, const struct node *node, struct tui_cell *cell)
{
    const struct ms_arena *arena = &heap_of(view)->arenas.items[node->arena];
    struct ms_chunk chunk;
    if (node->kind == MORE_SEGMENTS || node->kind == MORE_CHUNKS) {
        tui_put(cell, "... more");
        cell->style = TUI_DIM;
    } else if (node->kind == ARENA && arena->mapped) {
        tui_put(cell, "mapped blocks");
    } else if (node->kind == ARENA && view->facts.go) {
        tui_put(cell, "Go's heap");
    } else if (node->kind == ARENA) {
        tui_put(cell, "%012" PRIx64 "%s", arena->address, arena->locked ? " locked" : "");
    } else if (chunk_of(view, node, &chunk)) {
        tui_put(cell, "%012" PRIx64, chunk.block);
        cell->style = TUI_LINK;
    } else {
        tui_put(cell, "%012" PRIx64, node->start);
    }
}

/* What nothing leads to is no leak where a collector will take it. */
static const char *lost_text(const struct tui_view *view)
{
    return view->facts.go ? "unreachable" : ms_chunk_state_names[MS_CHUNK_LOST];
}

/* What is at a block: free ones by the allocator's class, others by how they are lost or live. */
static void put_chunk(const struct tui_view *view, const struct ms_chunk *chunk, struct tui_cell *cell)
{
    const enum ms_class class = ms_chunk_class(heap_of(view), chunk->granule);
    uint8_t bytes[MS_SAMPLE];
    tui_put(cell, "%s", class != MS_CLASS_LIVE           ? ms_class_names[class]
                        : chunk->state == MS_CHUNK_LOST ? lost_text(view)
                                                        : ms_chunk_state_names[chunk->state]);
    cell->style = style_of(chunk->state);
    const unsigned size = class == MS_CLASS_LIVE ? ms_block_preview(heap_of(view), chunk->granule, bytes) : 0;
    if (size) {
        tui_put(cell, " ");
        tui_put_preview(cell, bytes, size);
    }
}

static void put_map_cell(const struct tui_view *view, const struct node *node, struct tui_cell *cell)
{
    struct ms_chunk chunk;
    if (node->kind == ARENA)
        put_lengths(view, &node->bytes, cell);
    else if (node->kind == SEGMENT || node->kind == RANGE)
        put_range(view, node, cell);
    else if (chunk_of(view, node, &chunk))
        put_chunk(view, &chunk, cell);
}

static void put_bytes(struct tui_cell *cell, uint64_t bytes)
{
    if (bytes)
        tui_put_size(cell, bytes);
}

/* Figures of a part come from the map, those of an arena that only the allocator knows from its account. */
static void cell_of(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    const struct node *node = node_of(view, row);
    const struct ms_arena *arena = node->kind == ARENA ? &heap_of(view)->arenas.items[node->arena] : NULL;
    static const enum ms_class classes[] = {[TCACHE] = MS_CLASS_TCACHE, [FASTBIN] = MS_CLASS_FASTBIN,
                                            [TOP] = MS_CLASS_TOP};
    switch (column) {
    case WHAT:
        put_what(view, node, cell);
        break;
    case MAP:
        put_map_cell(view, node, cell);
        break;
    case SYSTEM:
        if (node->kind != MORE_CHUNKS && node->kind != MORE_SEGMENTS)
            put_bytes(cell, arena ? arena->system : node->end - node->start);
        break;
    case LIVE:
        put_bytes(cell, node->bytes.live);
        break;
    case LOST:
        put_bytes(cell, node->bytes.lost);
        cell->style = view->facts.go ? TUI_DOUBT : TUI_BAD;
        break;
    case FREE:
        put_bytes(cell, node->bytes.free);
        break;
    case FRAGMENTED:
        if (arena && !arena->mapped && !view->facts.go)
            tui_put(cell, "%.0f%%", 100 * ms_arena_fragmentation(arena));
        break;
    case BLOCKS:
        if (arena)
            tui_put_count(cell, arena->classes[MS_CLASS_LIVE].blocks);
        break;
    default:
        put_bytes(cell, arena ? arena->classes[classes[column]].bytes : 0);
    }
}

static bool headline(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    const struct state *state = view->state;
    const struct ms_heap *heap = heap_of(view);
    if (line == 0) {
        tui_put_name(cell, heap->description);
        if (!view->facts.heap_map)
            return true;
        tui_put(cell, ", %zu arena%s: ", heap->arenas.count, heap->arenas.count == 1 ? "" : "s");
        tui_put_size(cell, state->total.live);
        tui_put(cell, " live, ");
        tui_put_size(cell, state->total.lost);
        tui_put(cell, " %s, ", lost_text(view));
        tui_put_size(cell, state->total.free);
        tui_put(cell, " free");
        return true;
    }
    if (line > 1 || !view->facts.heap_map)
        return false;
    tui_put_map(cell, TUI_LIVE);
    tui_put_map(cell, TUI_LEAKED);
    tui_put_map(cell, TUI_FREE);
    tui_put(cell, " live, %s, free%s", lost_text(view),
            view->width < 60 ? "" : "; open a row to see its parts, down to blocks");
    return true;
}

static bool enter(const struct tui_view *view, const struct tui_row *row, struct tui_place *to)
{
    struct ms_chunk chunk;
    if (!chunk_of(view, node_of(view, row), &chunk))
        return false;
    *to = (struct tui_place){&tui_block, chunk.block};
    return true;
}

static uint64_t address(const struct tui_view *view, const struct tui_row *row)
{
    const struct node *node = node_of(view, row);
    struct ms_chunk chunk;
    if (node->kind == ARENA)
        return heap_of(view)->arenas.items[node->arena].address;
    return chunk_of(view, node, &chunk) ? chunk.block : node->start;
}

const struct tui_view_kind tui_arenas = {
    .name = "Arenas", .key = '5', .empty = "no arenas: memscope does not know this allocator's heap",
    .stage = MS_STAGE_MEMSTATS,
    .columns = columns, .column_count = sizeof columns / sizeof *columns, .sort = -1,
    .state_size = sizeof(struct state), .release = release, .fill = fill, .open = open_row, .cell = cell_of, .headline = headline,
    .enter = enter, .address = address,
};
