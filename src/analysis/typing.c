/* Typing: the table of what each block is, and how it is told to others. */
#include "memscope/typing.h"

#include <dwarf.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gotyping.h"
#include "spread.h"

#define TELL_LINES 16384u /* of the index, 8 MiB of heap, are walked from one call of the progress to the next */

const char *const ms_evidence_names[MS_EVIDENCES] = {
    [MS_BY_NOTHING] = "nothing",     [MS_BY_GUESS] = "guess",   [MS_BY_POINTER] = "pointer",
    [MS_BY_CONTAINER] = "container", [MS_BY_FORMAT] = "format", [MS_BY_VTABLE] = "vtable",
    [MS_BY_HEADER] = "header",
};

/* --- life -------------------------------------------------------------------------------------- */

static struct ms_error *rank_lines(struct ms_typing *t)
{
    uint64_t lines = t->heap->granules / MS_LINE_GRANULES;
    MS_TRY(ms_reserve(&t->rank_memory, (lines + 1) * sizeof *t->rank, "the types of blocks"));
    t->rank = (uint32_t *)(void *)t->rank_memory.base;
    for (uint64_t l = 0; l < lines; l++) {
        if (t->count > UINT32_MAX)
            return ms_error(MS_TARGET, "more than 4 billion blocks: memscope cannot tell what each is");
        t->rank[l] = (uint32_t)t->count;
        t->count += (unsigned)__builtin_popcount(ms_scope_bits(t, &t->heap->lines[l]));
    }
    return NULL;
}

static struct ms_error *make_table(struct ms_typing *t)
{
    MS_TRY(rank_lines(t));
    const uint64_t bytes = (t->count + 1) * sizeof *t->slots;
    uint64_t available = ms_memory_available();
    if (bytes > available)
        return ms_error(MS_TARGET,
                        "what each of %" PRIu64 " blocks is takes %" PRIu64 " MiB of memory to find out and only"
                        " %" PRIu64 " MiB are available here; free some, raise the limit of memscope's cgroup,"
                        " or take a core and inspect it on another machine",
                        t->count, bytes >> 20, available >> 20);
    MS_TRY(ms_reserve(&t->slot_memory, bytes, "the types of blocks"));
    ms_reserve_populate(&t->slot_memory, 0, bytes);
    t->slots = (struct ms_slot *)(void *)t->slot_memory.base;
    for (unsigned i = 0; i < MS_QUEUES; i++) {
        struct ms_block_queue *q = &t->queue[i];
        q->size = t->count + 1;
        MS_TRY(ms_reserve(&q->memory, q->size * sizeof *q->items, "the types of blocks"));
        q->items = (uint64_t *)(void *)q->memory.base;
    }
    return NULL;
}

/* What only the search needs. */
static void drop_work(struct ms_typing *t)
{
    for (unsigned i = 0; i < MS_QUEUES; i++)
        ms_reserve_free(&t->queue[i].memory);
    ms_vector_free(&t->inner);
    ms_vector_free(&t->doubtful);
    ms_map_free(&t->inner_seen);
    ms_map_free(&t->used);
    ms_map_free(&t->vtables);
}

void ms_typing_free(struct ms_typing *t)
{
    if (!t)
        return;
    drop_work(t);
    ms_reserve_free(&t->rank_memory);
    ms_reserve_free(&t->slot_memory);
    ms_go_typing_free(t->go);
    ms_shapes_free(&t->shapes);
    ms_map_free(&t->texts);
    tdestroy(t->words, free);
    free(t);
}

/* --- the search -------------------------------------------------------------------------------- */

static struct ms_error *settle(struct ms_typing *t)
{
    ms_settle_claims(t);
    return t->failed || t->shapes.failed ? ms_error_nomem("the types of blocks") : NULL;
}

/* Facts first, the surest before those that may be stale; then guesses, which change no fact. */
static struct ms_error *find_types(struct ms_typing *t)
{
    MS_TRY(ms_seed_vtables(t));
    MS_TRY(ms_seed_python(t));
    if (t->scope == MS_TYPE_ALL)
        MS_TRY(ms_seed_variables(t));
    MS_TRY(settle(t));
    if (t->scope == MS_TYPE_ALL) {
        MS_TRY(ms_seed_locals(t));
        MS_TRY(settle(t));
    }
    MS_TRY(ms_guess(t));
    return settle(t);
}

ms_result ms_each_block(struct ms_typing *t, ms_block_visitor *visit, void *context)
{
    const uint64_t lines = t->heap->granules / MS_LINE_GRANULES;
    for (uint64_t l = 0; l < lines; l++) {
        if (l % TELL_LINES == 0)
            ms_types_tell(t->shapes.types, "types of blocks", l, lines);
        for (uint32_t bits = ms_scope_bits(t, &t->heap->lines[l]); bits; bits &= bits - 1)
            MS_TRY(visit(t, context, l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits)));
    }
    return NULL;
}

static struct ms_error *add_up(struct ms_typing *t, void *unused, uint64_t start)
{
    (void)unused;
    struct ms_tally *tally = &t->share[ms_block_type(t, start).evidence];
    tally->blocks++;
    tally->bytes += ms_usable(t->heap, start);
    return NULL;
}

ms_result ms_typing_new(struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                        struct ms_types *types, enum ms_typing_scope scope, struct ms_typing **out)
{
    struct ms_typing *t = calloc(1, sizeof *t);
    if (!t)
        return ms_error_nomem("the types of blocks");
    t->scan = scan;
    t->heap = &scan->heap;
    t->image = image;
    t->symbols = symbols;
    t->scope = scope;
    t->shapes.types = types;
    struct ms_error *error = make_table(t);
    if (!error)
        error = scan->go ? ms_go_find_types(t, types) : find_types(t);
    error = error ? error : ms_each_block(t, add_up, NULL);
    if (error) {
        ms_typing_free(t);
        return error;
    }
    drop_work(t);
    *out = t;
    return NULL;
}

/* --- answers ----------------------------------------------------------------------------------- */

static enum ms_evidence evidence_of(const struct ms_slot *slot)
{
    if (slot->level < MS_LEVEL_GUESS)
        return MS_BY_NOTHING;
    if (slot->level == MS_LEVEL_VTABLE)
        return MS_BY_VTABLE;
    if (slot->level == MS_LEVEL_GUESS || slot->contested)
        return MS_BY_GUESS;
    return slot->container ? MS_BY_CONTAINER : MS_BY_POINTER;
}

struct ms_block_type ms_block_type(const struct ms_typing *t, uint64_t start)
{
    struct ms_block_type what = {0};
    const struct ms_slot *slot = t ? ms_slot_of(t, start) : NULL;
    if (slot && t->go)
        return ms_go_block_type(t, slot, start);
    what.evidence = slot ? evidence_of(slot) : MS_BY_NOTHING;
    what.type = what.evidence != MS_BY_NOTHING ? ms_slot_type(t, slot) : NULL;
    if (!what.type)
        return what;
    const uint64_t usable = ms_usable(t->heap, start);
    const uint64_t size = what.type->kind == MS_TYPE_POINTER ? 8 : what.type->size;
    what.at = slot->at * 8ull;
    uint64_t control;
    what.count = slot->array && size ? (usable - what.at) / size : 1;
    if (slot->table)
        what.count = ms_table_buckets(size, usable, &control);
    uint64_t end = what.at + what.count * size;
    if (size && ms_usable_for(end) < usable)
        what.tail = usable - end;
    return what;
}

const struct ms_pin *ms_typing_pins(const struct ms_typing *t, size_t *count)
{
    *count = t && t->go ? t->go->pins.count : 0;
    return *count ? t->go->pins.items : NULL;
}

struct ms_go_types *ms_typing_go_types(const struct ms_typing *t)
{
    return t && t->go ? t->go->go_types : NULL;
}

void ms_typing_share(const struct ms_typing *t, struct ms_tally share[MS_EVIDENCES])
{
    memcpy(share, t->share, sizeof t->share);
}

/* --- words ------------------------------------------------------------------------------------- */

static int compare_words(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* NUMBER in groups of three digits; BUFFER is returned. */
static char *grouped(uint64_t number, char buffer[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *out = buffer;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return buffer;
}

/* Go writes arrays before what they are of; of strings their length says nothing. */
static char *describe_go(const struct ms_block_type *what)
{
    char *text = NULL;
    const bool plain = what->count == 1 || what->type->encoding == DW_ATE_UTF;
    int length = plain ? asprintf(&text, "%s", what->type->name)
                       : asprintf(&text, "[%" PRIu64 "]%s", what->count, what->type->name);
    return length < 0 ? NULL : text;
}

static char *describe(const struct ms_block_type *what)
{
    if (what->type->language == MS_LANGUAGE_GO)
        return describe_go(what);
    char before[48] = "", count[40] = "", after[48] = "", number[32], *text = NULL;
    if (what->at)
        snprintf(before, sizeof before, "%s bytes + ", grouped(what->at, number));
    if (what->count != 1)
        snprintf(count, sizeof count, " [%s]", grouped(what->count, number));
    if (what->tail)
        snprintf(after, sizeof after, " + %s bytes", grouped(what->tail, number));
    return asprintf(&text, "%s%s%s%s", before, what->type->name, count, after) < 0 ? NULL : text;
}

/* What is beyond these is put into words each time. */
#define COUNT_LIMIT (1ull << 24)
#define TAIL_LIMIT (1ull << 40)

const char *ms_block_type_text(struct ms_typing *t, const struct ms_block_type *what)
{
    if (!what->type)
        return NULL;
    const bool small = what->count < COUNT_LIMIT && what->tail < TAIL_LIMIT;
    const uint64_t a = what->at << 32 | what->type->id, b = what->count * TAIL_LIMIT + what->tail;
    const uint64_t *known = small ? ms_map_get(&t->texts, a, b) : NULL;
    if (known)
        return (const char *)(uintptr_t)*known;
    char *text = describe(what);
    char **node = text ? tsearch(text, &t->words, compare_words) : NULL;
    if (!node || *node != text)
        free(text);
    if (node && small)
        (void)!ms_map_put(&t->texts, a, b, (uintptr_t)*node);
    return node ? *node : NULL;
}
