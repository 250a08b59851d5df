/* The shape of what is lost: which types the blocks are of that a leader holds. */
#include "held.h"

#include <stdlib.h>
#include <string.h>

/* Types beyond these are not told apart. */
#define DISTINCT_MAX 32u

ms_result ms_holdings_new(const struct ms_lost *lost, struct ms_holdings *holdings)
{
    const size_t leaders = lost->leaders.count;
    *holdings = (struct ms_holdings){.lost = lost};
    holdings->first = calloc(leaders + 2, sizeof *holdings->first);
    holdings->blocks = calloc(lost->count + 1, sizeof *holdings->blocks);
    if (!holdings->first || !holdings->blocks)
        return ms_error_nomem("the groups of leaks");
    /* A counting sort: first[n + 1] is where the next block of leader n goes, at the end where n's end. */
    for (size_t i = 0; i < lost->count; i++)
        holdings->first[lost->leader[i] + 2]++;
    for (size_t i = 2; i < leaders + 2; i++)
        holdings->first[i] += holdings->first[i - 1];
    for (size_t i = 0; i < lost->count; i++)
        holdings->blocks[holdings->first[lost->leader[i] + 1]++] = (uint32_t)i;
    return NULL;
}

void ms_holdings_free(struct ms_holdings *holdings)
{
    free(holdings->first);
    free(holdings->blocks);
    *holdings = (struct ms_holdings){0};
}

static int most_frequent_first(const void *a, const void *b)
{
    const struct ms_leak_held *g = a, *h = b;
    if (g->blocks != h->blocks)
        return g->blocks > h->blocks ? -1 : 1;
    return strcmp(g->type, h->type);
}

static int by_name(const void *a, const void *b)
{
    const struct ms_leak_held *g = a, *h = b;
    if (!g->type || !h->type)
        return (g->type == NULL) - (h->type == NULL);
    return strcmp(g->type, h->type);
}

/* Counts a block of type TYPE among COUNT ones; false when there are too many. */
static bool count_type(struct ms_leak_held *held, size_t *count, const char *type, bool guess)
{
    size_t i = 0;
    while (i < *count && held[i].type != type)
        i++;
    if (i == DISTINCT_MAX)
        return false;
    if (i == *count)
        held[(*count)++] = (struct ms_leak_held){.type = type};
    held[i].blocks++;
    held[i].guess = held[i].guess || guess;
    return true;
}

ms_result ms_find_held(const struct ms_holdings *holdings, struct ms_knowledge *knowledge, size_t leader,
                      struct ms_leak_group *group)
{
    struct ms_leak_held held[DISTINCT_MAX] = {0};
    const struct ms_lost *lost = holdings->lost;
    size_t count = 0;
    for (uint32_t i = holdings->first[leader]; i < holdings->first[leader + 1]; i++) {
        const uint64_t start = lost->starts[holdings->blocks[i]];
        struct ms_known known;
        const char *type;
        if (start == lost->leaders.items[leader].start)
            continue;
        MS_TRY(ms_block_known(knowledge, start, &known));
        MS_TRY(ms_known_group(knowledge, &known, &type));
        if (type && !count_type(held, &count, type, known.by == MS_BY_GUESS))
            group->holds_more = true;
    }
    if (count)
        qsort(held, count, sizeof *held, most_frequent_first);
    group->holds_more = group->holds_more || count > MS_GROUP_HOLDS;
    count = count < MS_GROUP_HOLDS ? count : MS_GROUP_HOLDS;
    if (count)
        qsort(held, count, sizeof *held, by_name);
    memcpy(group->holds, held, count * sizeof *held);
    for (size_t i = 0; i < count; i++)
        group->holds[i].each = group->holds[i].blocks;
    return NULL;
}

int ms_held_compare(const struct ms_leak_held *a, const struct ms_leak_held *b)
{
    int by = 0;
    for (size_t i = 0; !by && i < MS_GROUP_HOLDS; i++)
        by = by_name(&a[i], &b[i]);
    return by;
}

void ms_held_add(struct ms_leak_group *group, const struct ms_leak_group *one)
{
    for (size_t i = 0; i < MS_GROUP_HOLDS; i++) {
        group->holds[i].blocks += one->holds[i].blocks;
        group->holds[i].guess = group->holds[i].guess || one->holds[i].guess;
        if (group->holds[i].each != one->holds[i].each)
            group->holds[i].each = 0;
    }
    group->holds_more = group->holds_more || one->holds_more;
}

void ms_held_sort(struct ms_leak_group *group)
{
    size_t count = 0;
    while (count < MS_GROUP_HOLDS && group->holds[count].type)
        count++;
    if (count)
        qsort(group->holds, count, sizeof *group->holds, most_frequent_first);
}
