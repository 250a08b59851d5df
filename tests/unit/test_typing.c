/* Tests of typing: heaps and types laid out by hand, and what must come of them; facts are never wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "memscope/typing.h"

#define HEAP 0x555500000000ull
#define DATA 0x600000000000ull /* where roots are */
#define MOST 16u
#define POINTERS 32u

/* --- types that are not from DWARF: all that typing asks of struct ms_types ------------------------ */

enum { VOID, CHAR, LONG, POINT, NODE, BASE, DERIVED, OTHER, LINK, ITEM, TEXT, PAIR, HOLDER, TREE, TREE_NODE,
       TREE_BASE, BYTES, TYPES };

static struct ms_type types[TYPES + POINTERS];
static uint32_t type_count;
static struct ms_member members[64];
static size_t member_count;
static struct ms_variable variables[MOST];
static struct ms_local locals[MOST];
static size_t local_count;

uint32_t ms_type_count(const struct ms_types *t)
{
    (void)t;
    return type_count;
}

const struct ms_type *ms_type_by_id(const struct ms_types *t, uint32_t id)
{
    (void)t;
    return &types[id];
}

const struct ms_type *ms_type_complete(struct ms_types *t, const struct ms_type *type)
{
    (void)t;
    return type;
}

const struct ms_type *ms_type_named(struct ms_types *t, const char *name)
{
    (void)t;
    for (uint32_t i = 0; i < type_count; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

const struct ms_type *ms_type_parameter(struct ms_types *t, const struct ms_type *type, const char *name,
                                        unsigned index)
{
    (void)t;
    (void)name;
    return type == &types[TREE] && index == 1 ? &types[POINT] : NULL;
}

const struct ms_type *ms_type_nested(struct ms_types *t, const struct ms_type *type, const char *name)
{
    (void)t;
    (void)type;
    (void)name;
    return NULL;
}

void ms_types_tell(struct ms_types *t, const char *what, uint64_t done, uint64_t total)
{
    (void)t;
    (void)what;
    assert_true(total == 0 || done <= total);
}

bool ms_type_is_own(struct ms_types *t, const struct ms_type *type)
{
    (void)t;
    return type != NULL;
}

ms_result ms_types_read_all(struct ms_types *t, ms_size_filter *wanted, void *context)
{
    (void)t;
    (void)wanted;
    (void)context;
    return NULL;
}

/* None of this is asked for but of Go heaps. */
const struct ms_type *ms_type_add(struct ms_types *t, const struct ms_type_plan *plan)
{
    (void)t;
    (void)plan;
    return NULL;
}

void ms_type_set_members(struct ms_types *t, const struct ms_type *type, const struct ms_member *list, size_t count)
{
    (void)t;
    (void)type;
    (void)list;
    (void)count;
}

struct ms_type_go_marks ms_type_go_marks(struct ms_types *t, const struct ms_type *type)
{
    (void)t;
    (void)type;
    return (struct ms_type_go_marks){0};
}

bool ms_types_known(struct ms_types *t, uint64_t address)
{
    (void)t;
    (void)address;
    return false;
}

ms_result ms_add_frame(struct ms_types *t, uint64_t pc, uint64_t sp, uint64_t cfa, struct ms_stack *stack)
{
    (void)t;
    (void)pc;
    (void)sp;
    (void)cfa;
    (void)stack;
    return NULL;
}

ms_result ms_types_add_variable(struct ms_types *t, const char *name, const char *unit, const struct ms_type *type,
                                uint64_t address)
{
    (void)t;
    (void)name;
    (void)unit;
    (void)type;
    (void)address;
    return NULL;
}

size_t ms_types_captures(struct ms_types *t, uint64_t entry, struct ms_capture *captures, size_t most)
{
    (void)t;
    (void)entry;
    (void)captures;
    (void)most;
    return 0;
}

const struct ms_type *ms_types_receiver(struct ms_types *t, uint64_t entry)
{
    (void)t;
    (void)entry;
    return NULL;
}

char *ms_type_path(struct ms_types *t, const struct ms_type *type, uint64_t offset, uint64_t wanted,
                   const struct ms_type **leaf)
{
    (void)t;
    (void)type;
    (void)offset;
    (void)wanted;
    (void)leaf;
    return NULL;
}

/* The variable I is the word DATA + 64 * I and those behind it. */
ms_result ms_types_find(struct ms_types *t, const uint64_t *addresses, size_t count, struct ms_place_type *places)
{
    (void)t;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = (addresses[i] - DATA) / 64;
        places[i] = (struct ms_place_type){0};
        if (addresses[i] >= DATA && number < MOST && variables[number].type)
            places[i] = (struct ms_place_type){&variables[number], (addresses[i] - DATA) % 64, 0};
    }
    return NULL;
}

ms_result ms_unwind(struct ms_types *t, const struct ms_thread *thread, bool with_locals, struct ms_stack *stack)
{
    (void)t;
    (void)thread;
    (void)with_locals;
    *stack = (struct ms_stack){0};
    struct ms_frame *frame = ms_vector_add(&stack->frames);
    assert_non_null(frame);
    for (size_t i = 0; i < local_count; i++) {
        struct ms_local *local = ms_vector_add(&frame->locals);
        assert_non_null(local);
        *local = locals[i];
    }
    return NULL;
}

void ms_stack_free(struct ms_stack *stack)
{
    for (size_t i = 0; i < stack->frames.count; i++)
        ms_vector_free(&stack->frames.items[i].locals);
    ms_vector_free(&stack->frames);
}

static void set_type(uint32_t id, enum ms_type_kind kind, const char *name, uint64_t size)
{
    types[id] = (struct ms_type){.kind = kind, .id = id, .complete = true, .name = name, .size = size};
}

static const struct ms_type *pointer_to(uint32_t target)
{
    uint32_t id = type_count++;
    assert_true(id < TYPES + POINTERS);
    set_type(id, MS_TYPE_POINTER, "pointer", 8);
    types[id].target = &types[target];
    return &types[id];
}

/* Members of one type are added one behind another. */
static void add_member(uint32_t id, const char *name, const struct ms_type *type, uint64_t offset)
{
    if (!types[id].member_count)
        types[id].members = &members[member_count];
    members[member_count++] = (struct ms_member){.name = name, .type = type, .offset = offset};
    types[id].member_count++;
    assert_true(member_count <= sizeof members / sizeof *members);
}

/*
 * struct point { long x, y; }                  struct node { struct node *next; struct point *point; char *text; }
 * struct base { long a; struct point *p; }     struct derived { struct base b; struct node *n; long c; }
 * struct other { struct point *p; long a; }    struct link { struct link *next; }
 * struct item { long number; struct link link; struct point *point; long last; }
 * struct text { long length; char bytes[]; }   union pair { struct point *point; struct derived *derived; }
 * struct holder { union pair pair; long kind, kinds[4]; }
 * std::_Rb_tree<int, point> { _Rb_tree_node_base { base *left; } }  and its node, with a struct point
 */
static void make_types(void)
{
    type_count = TYPES;
    member_count = local_count = 0;
    memset(variables, 0, sizeof variables);
    set_type(VOID, MS_TYPE_VOID, "void", 0);
    set_type(CHAR, MS_TYPE_BASE, "char", 1);
    set_type(LONG, MS_TYPE_BASE, "long", 8);
    set_type(POINT, MS_TYPE_STRUCT, "struct point", 24);
    set_type(NODE, MS_TYPE_STRUCT, "struct node", 24);
    set_type(BASE, MS_TYPE_STRUCT, "struct base", 16);
    set_type(DERIVED, MS_TYPE_STRUCT, "struct derived", 40);
    set_type(OTHER, MS_TYPE_STRUCT, "struct other", 40);
    set_type(LINK, MS_TYPE_STRUCT, "struct link", 8);
    set_type(ITEM, MS_TYPE_STRUCT, "struct item", 72);
    set_type(TEXT, MS_TYPE_STRUCT, "struct text", 8);
    set_type(PAIR, MS_TYPE_UNION, "union pair", 8);
    set_type(HOLDER, MS_TYPE_STRUCT, "struct holder", 56);
    set_type(TREE, MS_TYPE_STRUCT, "std::_Rb_tree<int, point>", 8);
    set_type(TREE_BASE, MS_TYPE_STRUCT, "std::_Rb_tree_node_base", 8);
    set_type(TREE_NODE, MS_TYPE_STRUCT, "std::_Rb_tree_node<struct point>", 40);
    set_type(BYTES, MS_TYPE_ARRAY, "char []", 0);
    types[BYTES].target = &types[CHAR];
    types[TREE].language = types[TREE_NODE].language = types[TREE_BASE].language = MS_LANGUAGE_CXX;
    add_member(POINT, "x", &types[LONG], 0);
    add_member(POINT, "y", &types[LONG], 8);
    add_member(NODE, "next", pointer_to(NODE), 0);
    add_member(NODE, "point", pointer_to(POINT), 8);
    add_member(NODE, "text", pointer_to(CHAR), 16);
    add_member(BASE, "a", &types[LONG], 0);
    add_member(BASE, "p", pointer_to(POINT), 8);
    add_member(DERIVED, "b", &types[BASE], 0);
    add_member(DERIVED, "n", pointer_to(NODE), 16);
    add_member(OTHER, "p", pointer_to(POINT), 0);
    add_member(OTHER, "a", &types[LONG], 8);
    add_member(LINK, "next", pointer_to(LINK), 0);
    add_member(ITEM, "number", &types[LONG], 0);
    add_member(ITEM, "link", &types[LINK], 8);
    add_member(ITEM, "point", pointer_to(POINT), 16);
    add_member(TEXT, "length", &types[LONG], 0);
    add_member(TEXT, "bytes", &types[BYTES], 8);
    add_member(PAIR, "point", pointer_to(POINT), 0);
    add_member(PAIR, "derived", pointer_to(DERIVED), 0);
    add_member(HOLDER, "pair", &types[PAIR], 0);
    add_member(TREE_BASE, "left", pointer_to(TREE_BASE), 0);
    add_member(TREE, "header", &types[TREE_BASE], 0);
    add_member(TREE_NODE, "base", &types[TREE_BASE], 0);
    add_member(TREE_NODE, "value", &types[POINT], 8);
}

/* --- heaps that are not of a process ------------------------------------------------------------- */

struct edge {
    unsigned from, word, to, into; /* the word of block FROM points to the word INTO of block TO */
};

struct world {
    struct ms_scan scan;
    struct ms_image image;
    struct ms_thread thread;
    struct ms_typing *typing;
    uint64_t starts[MOST];
    uint32_t targets[256];
};

static void lay_blocks(struct world *w, const uint64_t *sizes, unsigned count)
{
    struct ms_heap *heap = &w->scan.heap;
    struct ms_segment *segment = ms_vector_add(&heap->segments);
    assert_true(segment && count < MOST);
    heap->lines = calloc(2 * MS_PANE_LINES, sizeof *heap->lines);
    heap->panes = calloc(2, sizeof *heap->panes);
    assert_true(heap->lines && heap->panes);
    heap->targets = (uint8_t *)w->targets;
    heap->edge_width = 4;
    heap->tail = 8;
    heap->granules = 2 * MS_PANE_GRANULES;
    uint64_t at = MS_PANE_GRANULES;
    for (unsigned i = 0; i < count; i++) {
        w->starts[i] = at;
        ms_heap_mark_start(heap, at);
        ms_heap_mark_live(heap, at, true);
        at += (sizes[i] + 8) / MS_GRANULE;
    }
    ms_heap_mark_start(heap, at);
    *segment = (struct ms_segment){.start = HEAP, .base = HEAP, .first = MS_PANE_GRANULES,
                                   .end = HEAP + (at + 1 - MS_PANE_GRANULES) * MS_GRANULE};
    assert_null(ms_heap_settle(heap, NULL));
}

static void lay_edges(struct world *w, const struct edge *edges, size_t count)
{
    struct ms_line *lines = w->scan.heap.lines;
    size_t next = 0, line = 0;
    for (; next < count; next++) {
        uint64_t word = w->starts[edges[next].from] * 2 + edges[next].word;
        for (; line <= word / 64; line++)
            lines[line].first = (uint32_t)next;
        lines[word / 64].pointers |= 1ull << word % 64;
        w->targets[next] = (uint32_t)(w->starts[edges[next].to] * 2 + edges[next].into);
    }
    for (; line < 2 * MS_PANE_LINES; line++)
        lines[line].first = (uint32_t)next;
}

/* Blocks of usable SIZES, EDGES in the order of blocks and words, and a root of variable I for each of ROOTS. */
static void make_world(struct world *w, const uint64_t *sizes, unsigned count, const struct edge *edges,
                       size_t edge_count, const struct edge *roots, size_t root_count)
{
    memset(w, 0, sizeof *w);
    lay_blocks(w, sizes, count);
    lay_edges(w, edges, edge_count);
    w->scan.roots = calloc(root_count + 1, sizeof *w->scan.roots);
    assert_non_null(w->scan.roots);
    w->scan.root_count = root_count;
    for (size_t i = 0; i < root_count; i++)
        w->scan.roots[i] = (struct ms_root){.address = DATA + 64 * roots[i].from + 8 * roots[i].word,
                                            .target = w->starts[roots[i].to] * 2 + roots[i].into,
                                            .kind = MS_ROOT_DATA};
    w->thread.registers_known = true;
    w->image.threads = &w->thread;
    w->image.thread_count = 1;
}

static void type_all(struct world *w, enum ms_typing_scope scope)
{
    assert_null(ms_typing_new(&w->scan, &w->image, NULL, NULL, scope, &w->typing));
}

static void drop_world(struct world *w)
{
    ms_typing_free(w->typing);
    ms_vector_free(&w->scan.heap.segments);
    ms_vector_free(&w->scan.heap.gaps);
    free(w->scan.heap.lines);
    free(w->scan.heap.panes);
    free(w->scan.roots);
}

#define MAKE(w, sizes, edges, roots) \
    make_world(&(w), sizes, sizeof (sizes) / sizeof *(sizes), edges, sizeof (edges) / sizeof *(edges), roots, \
               sizeof (roots) / sizeof *(roots))

static void expect(struct world *w, unsigned block, const char *text, enum ms_evidence evidence)
{
    struct ms_block_type what = ms_block_type(w->typing, w->starts[block]);
    const char *said = ms_block_type_text(w->typing, &what);
    if (text)
        assert_string_equal(said ? said : "(nothing)", text);
    else
        assert_null(said);
    assert_int_equal(what.evidence, evidence);
}

/* A local in a register that holds the address of BLOCK's first word. */
static void add_local(const struct world *w, const struct ms_type *type, unsigned block, bool parameter)
{
    locals[local_count++] = (struct ms_local){
        .name = "local", .type = type, .valued = true, .reg = 3, .parameter = parameter,
        .value = HEAP + (w->starts[block] - MS_PANE_GRANULES) * MS_GRANULE};
}

/* --- tests --------------------------------------------------------------------------------------- */

/* From a variable along a list; text and numbers by pointers to them, if there are no pointers in them. */
static void test_lists(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {24, 24, 24, 40, 1032};
    static const struct edge edges[] = {{0, 0, 1, 0}, {0, 1, 2, 0}, {0, 2, 3, 0},
                                        {1, 0, 0, 0}, {1, 2, 4, 0}, {4, 1, 0, 0}};
    static const struct edge roots[] = {{0, 0, 0, 0}};
    struct world w;
    make_types();
    variables[0].type = pointer_to(NODE);
    MAKE(w, sizes, edges, roots);
    type_all(&w, MS_TYPE_ALL);
    expect(&w, 0, "struct node", MS_BY_POINTER);
    expect(&w, 1, "struct node", MS_BY_POINTER);
    expect(&w, 2, "struct point", MS_BY_POINTER);
    expect(&w, 3, "char [40]", MS_BY_POINTER);
    expect(&w, 4, NULL, MS_BY_NOTHING);
    struct ms_tally share[MS_EVIDENCES];
    ms_typing_share(w.typing, share);
    assert_int_equal(share[MS_BY_POINTER].blocks, 4);
    assert_int_equal(share[MS_BY_POINTER].bytes, 24 * 3 + 40);
    assert_int_equal(share[MS_BY_NOTHING].bytes, 1032);
    drop_world(&w);
}

/* What does not fit is nothing; what is bigger has a tail; a flexible array is one. */
static void test_sizes(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {24, 120, 2056};
    static const struct edge roots[] = {{0, 0, 0, 0}, {1, 0, 1, 0}, {2, 0, 2, 0}};
    struct world w;
    make_types();
    variables[0].type = pointer_to(DERIVED);
    variables[1].type = pointer_to(DERIVED);
    variables[2].type = pointer_to(TEXT);
    make_world(&w, sizes, 3, NULL, 0, roots, 3);
    type_all(&w, MS_TYPE_ALL);
    expect(&w, 0, NULL, MS_BY_NOTHING);
    expect(&w, 1, "struct derived + 80 bytes", MS_BY_POINTER);
    expect(&w, 2, "struct text + 2,048 bytes", MS_BY_POINTER);
    drop_world(&w);
}

/* A pointer to the base and one to the derived structure agree, in either order. */
static void test_bases(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {40, 40, 24};
    static const struct edge edges[] = {{0, 2, 2, 0}};
    static const struct edge roots[] = {{0, 0, 0, 0}, {1, 0, 0, 0}, {2, 0, 1, 0}, {3, 0, 1, 0}};
    struct world w;
    make_types();
    variables[0].type = variables[3].type = pointer_to(BASE);
    variables[1].type = variables[2].type = pointer_to(DERIVED);
    MAKE(w, sizes, edges, roots);
    type_all(&w, MS_TYPE_ALL);
    expect(&w, 0, "struct derived", MS_BY_POINTER);
    expect(&w, 1, "struct derived", MS_BY_POINTER);
    expect(&w, 2, "struct node", MS_BY_POINTER);
    drop_world(&w);
}

/* Of two variables that contradict each other neither is believed, unless the words decide. */
static void test_contradictions(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {40, 40, 24};
    static const struct edge edges[] = {{1, 2, 2, 0}};
    static const struct edge roots[] = {{0, 0, 0, 0}, {1, 0, 0, 0}, {2, 0, 1, 0}, {3, 0, 1, 0}};
    struct world w;
    make_types();
    variables[0].type = variables[2].type = pointer_to(OTHER);
    variables[1].type = variables[3].type = pointer_to(DERIVED);
    MAKE(w, sizes, edges, roots);
    type_all(&w, MS_TYPE_ALL);
    struct ms_block_type what = ms_block_type(w.typing, w.starts[0]);
    assert_int_equal(what.evidence, MS_BY_GUESS);
    expect(&w, 1, "struct derived", MS_BY_POINTER);
    drop_world(&w);
}

/* A local may be stale: it neither changes what a variable says nor makes a fact of what does not fit. */
static void test_locals(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {40, 40, 120, 24, 40, 24, 24};
    static const struct edge edges[] = {{1, 2, 5, 0}, {4, 2, 5, 0}};
    static const struct edge roots[] = {{0, 0, 0, 0}};
    struct world w;
    make_types();
    variables[0].type = pointer_to(DERIVED);
    MAKE(w, sizes, edges, roots);
    add_local(&w, pointer_to(OTHER), 0, false);   /* a variable says otherwise */
    add_local(&w, pointer_to(DERIVED), 1, false); /* fits and agrees */
    add_local(&w, pointer_to(DERIVED), 2, false); /* the block is too big */
    add_local(&w, pointer_to(POINT), 3, true);
    add_local(&w, pointer_to(OTHER), 4, false);   /* its third word is no pointer in struct other */
    add_local(&w, pointer_to(NODE), 6, false);    /* the block has none of its pointers */
    type_all(&w, MS_TYPE_ALL);
    expect(&w, 2, NULL, MS_BY_NOTHING);
    assert_true(ms_block_type(w.typing, w.starts[6]).evidence <= MS_BY_GUESS);
    expect(&w, 0, "struct derived", MS_BY_POINTER);
    expect(&w, 1, "struct derived", MS_BY_POINTER);
    expect(&w, 3, "struct point", MS_BY_POINTER);
    assert_true(ms_block_type(w.typing, w.starts[4]).evidence <= MS_BY_GUESS);
    expect(&w, 5, "struct node", MS_BY_POINTER);
    drop_world(&w);
}

/* Pointers to elements make an array; elements are followed. */
static void test_arrays(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {120, 24, 24, 88, 24};
    static const struct edge edges[] = {{0, 6, 1, 0}, {0, 13, 2, 0}, {3, 0, 4, 0}, {3, 10, 4, 0}};
    static const struct edge roots[] = {{0, 0, 0, 0}, {1, 0, 0, 6}, {2, 0, 3, 0}};
    struct world w;
    make_types();
    variables[0].type = variables[1].type = pointer_to(NODE);
    const struct ms_type *point = pointer_to(POINT);
    variables[2].type = pointer_to((uint32_t)(point - types));
    MAKE(w, sizes, edges, roots);
    type_all(&w, MS_TYPE_ALL);
    expect(&w, 0, "struct node [5]", MS_BY_POINTER);
    expect(&w, 1, "struct node", MS_BY_POINTER);
    expect(&w, 2, "struct point", MS_BY_POINTER);
    expect(&w, 3, "pointer [11]", MS_BY_POINTER);
    expect(&w, 4, "struct point", MS_BY_POINTER);
    drop_world(&w);
}

/* Which member of a union it is can only be guessed, by size. */
static void test_unions(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {56, 40, 200};
    static const struct edge edges[] = {{0, 0, 1, 0}};
    static const struct edge roots[] = {{0, 0, 0, 0}, {1, 0, 2, 0}};
    struct world w;
    make_types();
    variables[0].type = pointer_to(HOLDER);
    variables[1].type = &types[HOLDER];
    MAKE(w, sizes, edges, roots);
    type_all(&w, MS_TYPE_ALL);
    expect(&w, 0, "struct holder", MS_BY_POINTER);
    assert_true(ms_block_type(w.typing, w.starts[1]).evidence <= MS_BY_GUESS);
    expect(&w, 2, NULL, MS_BY_NOTHING);
    drop_world(&w);
}

/* Nodes of a container by the container's parameter; the pointer back to the header claims nothing. */
static void test_containers(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {24, 40, 40};
    static const struct edge edges[] = {{0, 0, 1, 0}, {1, 0, 2, 0}, {2, 0, 0, 0}};
    static const struct edge roots[] = {{0, 0, 0, 0}};
    struct world w;
    make_types();
    variables[0].type = pointer_to(TREE);
    MAKE(w, sizes, edges, roots);
    type_all(&w, MS_TYPE_ALL);
    expect(&w, 0, "std::_Rb_tree<int, point>", MS_BY_POINTER);
    expect(&w, 1, "std::_Rb_tree_node<struct point>", MS_BY_CONTAINER);
    expect(&w, 2, "std::_Rb_tree_node<struct point>", MS_BY_CONTAINER);
    drop_world(&w);
}

/* A pointer to a member tells what it is a member of, when only one structure can be: as a guess. */
static void test_members(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {72, 72, 24, 1000};
    static const struct edge edges[] = {{0, 1, 1, 1}, {0, 2, 2, 0}, {1, 1, 3, 4}};
    static const struct edge roots[] = {{0, 0, 0, 1}};
    struct world w;
    make_types();
    variables[0].type = &types[LINK];
    MAKE(w, sizes, edges, roots);
    type_all(&w, MS_TYPE_ALL);
    expect(&w, 0, "struct item", MS_BY_GUESS);
    expect(&w, 1, "struct item", MS_BY_GUESS);
    expect(&w, 2, "struct point", MS_BY_GUESS);
    expect(&w, 3, NULL, MS_BY_NOTHING);
    drop_world(&w);
}

/* Of lost blocks: the one structure of that size whose pointers agree; of two, none. */
static void test_guesses(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = {72, 24, 40, 24};
    static const struct edge edges[] = {{0, 2, 1, 0}, {2, 1, 3, 0}};
    static const struct edge roots[] = {{0, 0, 3, 0}};
    struct world w;
    make_types();
    variables[0].type = pointer_to(POINT);
    MAKE(w, sizes, edges, roots);
    w.scan.heap.lines[w.starts[3] / MS_LINE_GRANULES].reached |= 1u << w.starts[3] % MS_LINE_GRANULES;
    type_all(&w, MS_TYPE_LOST);
    expect(&w, 0, "struct item", MS_BY_GUESS);
    expect(&w, 1, "struct point", MS_BY_GUESS);
    expect(&w, 3, NULL, MS_BY_NOTHING); /* not in scope */
    drop_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),          cmocka_unit_test(test_sizes),  cmocka_unit_test(test_bases),
        cmocka_unit_test(test_contradictions), cmocka_unit_test(test_locals), cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_unions),         cmocka_unit_test(test_containers), cmocka_unit_test(test_members),
        cmocka_unit_test(test_guesses),
    };
    return cmocka_run_group_tests_name("typing", tests, NULL, NULL);
}
