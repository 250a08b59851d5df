/* Growth between two snapshots: groups that say the same are found in both, and what they differ by. */
#include "memscope/growth.h"

#include <stdlib.h>
#include <string.h>

/* What a group is known by in any report: no pointers, which differ from one to the next. */
struct key {
    uint64_t numbers[4];
    const char *words[2 + MS_GROUP_HOLDS];
    size_t index;
    struct ms_change size;
};

struct keys {
    struct key *items; /* owned */
    size_t count;
};

static int compare_words(const char *a, const char *b)
{
    if (!a || !b)
        return (a != NULL) - (b != NULL);
    return a == b ? 0 : strcmp(a, b);
}

static int compare_keys(const void *a, const void *b)
{
    const struct key *k = a, *l = b;
    for (size_t i = 0; i < sizeof k->numbers / sizeof *k->numbers; i++)
        if (k->numbers[i] != l->numbers[i])
            return k->numbers[i] < l->numbers[i] ? -1 : 1;
    int by = 0;
    for (size_t i = 0; !by && i < sizeof k->words / sizeof *k->words; i++)
        by = compare_words(k->words[i], l->words[i]);
    return by;
}

static struct key heap_key(const struct ms_heap_group *g, size_t index)
{
    const bool typed = g->kind == MS_GROUP_CLASS || g->kind == MS_GROUP_TYPE;
    return (struct key){
        .numbers = {g->kind, g->by == MS_BY_GUESS, typed ? 0 : g->size, g->arena},
        .words = {typed ? g->type : NULL, g->kind == MS_GROUP_MODULE ? g->module : NULL},
        .index = index,
        .size = {(int64_t)g->blocks, (int64_t)g->bytes, (int64_t)g->retained},
    };
}

static struct key leak_key(const struct ms_leak_group *g, size_t index)
{
    struct key key = {
        .numbers = {g->kind, g->size, g->by == MS_BY_GUESS, g->ring * 2u + (g->indirect_blocks > 0)},
        .words = {g->type, g->module},
        .index = index,
        .size = {(int64_t)g->blocks, (int64_t)g->bytes, (int64_t)g->indirect_bytes},
    };
    for (size_t i = 0; i < MS_GROUP_HOLDS; i++)
        key.words[2 + i] = g->holds[i].type;
    return key;
}

static ms_result heap_keys(const struct ms_heap_report *report, struct keys *keys)
{
    keys->count = report->groups.count;
    keys->items = calloc(keys->count + 1, sizeof *keys->items);
    if (!keys->items)
        return ms_error_nomem("the growth");
    for (size_t i = 0; i < keys->count; i++)
        keys->items[i] = heap_key(&report->groups.items[i], i);
    qsort(keys->items, keys->count, sizeof *keys->items, compare_keys);
    return NULL;
}

static ms_result leak_keys(const struct ms_leak_report *report, struct keys *keys)
{
    keys->count = report->groups.count;
    keys->items = calloc(keys->count + 1, sizeof *keys->items);
    if (!keys->items)
        return ms_error_nomem("the growth");
    for (size_t i = 0; i < keys->count; i++)
        keys->items[i] = leak_key(&report->groups.items[i], i);
    qsort(keys->items, keys->count, sizeof *keys->items, compare_keys);
    return NULL;
}

static struct ms_change difference(const struct ms_change *before, const struct ms_change *now)
{
    return (struct ms_change){now->blocks - before->blocks, now->bytes - before->bytes,
                              now->retained - before->retained};
}

static ms_result add_change(struct ms_growth *growth, const struct key *before, const struct key *now)
{
    static const struct ms_change none = {0};
    struct ms_group_change *slot = ms_vector_add(&growth->groups);
    if (!slot)
        return ms_error_nomem("the growth");
    slot->before = before ? before->index : MS_NO_GROUP;
    slot->now = now ? now->index : MS_NO_GROUP;
    slot->change = difference(before ? &before->size : &none, now ? &now->size : &none);
    if (now)
        growth->of[now->index] = slot->change;
    return NULL;
}

static int most_grown_first(const void *a, const void *b)
{
    const struct ms_group_change *c = a, *d = b;
    if (c->change.bytes != d->change.bytes)
        return c->change.bytes > d->change.bytes ? -1 : 1;
    if (c->change.retained != d->change.retained)
        return c->change.retained > d->change.retained ? -1 : 1;
    return c->now != d->now ? (c->now < d->now ? -1 : 1) : (c->before > d->before) - (c->before < d->before);
}

/* Both are in order: as in a merge. */
static ms_result match(const struct keys *before, const struct keys *now, struct ms_growth *growth)
{
    growth->count = now->count;
    growth->of = calloc(now->count + 1, sizeof *growth->of);
    if (!growth->of)
        return ms_error_nomem("the growth");
    for (size_t i = 0, j = 0; i < before->count || j < now->count;) {
        const int by = i == before->count ? 1 : j == now->count ? -1
                       : compare_keys(&before->items[i], &now->items[j]);
        MS_TRY(add_change(growth, by <= 0 ? &before->items[i] : NULL, by >= 0 ? &now->items[j] : NULL));
        i += by <= 0;
        j += by >= 0;
    }
    ms_vector_sort(&growth->groups, most_grown_first);
    return NULL;
}

static ms_result finish(struct ms_error *error, struct keys *before, struct keys *now, struct ms_growth *growth)
{
    if (!error)
        error = match(before, now, growth);
    free(before->items);
    free(now->items);
    if (error)
        ms_growth_free(growth);
    return error;
}

ms_result ms_heap_growth(const struct ms_heap_report *before, const struct ms_heap_report *now,
                         struct ms_growth *growth)
{
    struct keys old = {0}, new = {0};
    *growth = (struct ms_growth){0};
    growth->total.blocks = (int64_t)(now->live.blocks - before->live.blocks);
    growth->total.bytes = (int64_t)(now->live.bytes - before->live.bytes);
    struct ms_error *error = heap_keys(before, &old);
    error = error ? error : heap_keys(now, &new);
    return finish(error, &old, &new, growth);
}

ms_result ms_leak_growth(const struct ms_leak_report *before, const struct ms_leak_report *now,
                         struct ms_growth *growth)
{
    struct keys old = {0}, new = {0};
    const struct ms_tally then = ms_leaks_lost(before), later = ms_leaks_lost(now);
    *growth = (struct ms_growth){0};
    growth->total.blocks = (int64_t)(later.blocks - then.blocks);
    growth->total.bytes = (int64_t)(later.bytes - then.bytes);
    struct ms_error *error = leak_keys(before, &old);
    error = error ? error : leak_keys(now, &new);
    return finish(error, &old, &new, growth);
}

void ms_growth_free(struct ms_growth *growth)
{
    ms_vector_free(&growth->groups);
    free(growth->of);
    *growth = (struct ms_growth){0};
}

void ms_account_growth(const struct ms_memstats *before, const struct ms_memstats *now,
                       struct ms_memstats_growth *growth)
{
    *growth = (struct ms_memstats_growth){.rss = (int64_t)(now->rss - before->rss),
                                          .total = (int64_t)(now->total - before->total)};
    for (unsigned row = 0; row < MS_ROWS; row++) {
        growth->rows[row] = (int64_t)(now->rows[row] - before->rows[row]);
        growth->heap += ms_rows[row].heap ? growth->rows[row] : 0;
    }
}

void ms_map_growth(const struct ms_memory_map *before, const struct ms_memory_map *now,
                   struct ms_map_growth *growth)
{
    growth->total = (int64_t)(now->total.rss - before->total.rss);
    for (unsigned use = 0; use < MS_USES; use++)
        growth->uses[use] = (int64_t)(now->uses[use].rss - before->uses[use].rss);
}
