/* The index of a leak report's list, made by counting: millions of blocks take no longer than to pass them. */
#include "leak_index.h"

#include <stdlib.h>

#define WHAT "the list of leaks"

/* Gives leaders their places; NUMBER: by index of lost->leaders. */
static ms_result add_leaders(struct ms_leak_report *report, const struct ms_lost *lost, uint32_t *number)
{
    for (size_t i = 0; i < lost->leaders.count; i++)
        number[i] = MS_NO_INDEX;
    for (size_t i = 0; i < report->blocks.count; i++) {
        const struct ms_leak_block *block = &report->blocks.items[i];
        if (block->kind != MS_DEFINITE)
            continue;
        number[block->leader] = (uint32_t)report->leaders.count;
        struct ms_leak_leader *leader = ms_vector_add(&report->leaders);
        if (!leader)
            return ms_error_nomem(WHAT);
        leader->block = (uint32_t)i;
        leader->ring = lost->leaders.items[block->leader].ring;
    }
    for (size_t i = 0; i < report->blocks.count; i++) {
        struct ms_leak_block *block = &report->blocks.items[i];
        block->leader = block->leader == MS_NO_INDEX ? MS_NO_INDEX : number[block->leader];
    }
    return NULL;
}

static struct ms_leak_leader *holder(struct ms_leak_report *report, const struct ms_leak_block *block)
{
    return block->kind == MS_INDIRECT && block->leader != MS_NO_INDEX ? &report->leaders.items[block->leader]
                                                                      : NULL;
}

static ms_result fill_held(struct ms_leak_report *report)
{
    uint32_t sum = 0;
    report->held = calloc(report->blocks.count + 1, sizeof *report->held);
    if (!report->held)
        return ms_error_nomem(WHAT);
    for (size_t i = 0; i < report->blocks.count; i++) {
        struct ms_leak_leader *leader = holder(report, &report->blocks.items[i]);
        if (leader)
            leader->count++;
    }
    for (size_t i = 0; report->leaders.items && i < report->leaders.count; i++) {
        report->leaders.items[i].first = sum;
        sum += report->leaders.items[i].count;
        report->leaders.items[i].count = 0;
    }
    for (size_t i = 0; i < report->blocks.count; i++) {
        struct ms_leak_leader *leader = holder(report, &report->blocks.items[i]);
        if (!leader)
            continue;
        report->held[leader->first + leader->count++] = (uint32_t)i;
        leader->bytes += report->blocks.items[i].size;
    }
    return NULL;
}

static int most_held_first(const void *a, const void *b, void *context)
{
    const struct ms_leak_report *report = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    const uint64_t held = report->leaders.items[report->blocks.items[i].leader].bytes;
    const uint64_t other = report->leaders.items[report->blocks.items[j].leader].bytes;
    return held != other ? (held > other ? -1 : 1) : (i > j) - (i < j);
}

/* NUMBER: by the number of a group, its index in the report. */
static ms_result fill_members(struct ms_leak_report *report, uint32_t *number, uint32_t groups)
{
    report->members = calloc(report->blocks.count + 1, sizeof *report->members);
    ms_auto_free uint32_t *next = calloc(report->groups.count + 1, sizeof *next);
    if (!report->members || !next)
        return ms_error_nomem(WHAT);
    for (uint32_t i = 0; i < groups; i++)
        number[i] = MS_NO_INDEX;
    uint32_t sum = 0;
    for (size_t i = 0; i < report->groups.count; i++) {
        struct ms_leak_group *group = &report->groups.items[i];
        number[group->first] = (uint32_t)i;
        group->first = next[i] = sum;
        sum += (uint32_t)group->blocks;
    }
    for (size_t i = 0; i < report->blocks.count; i++) {
        struct ms_leak_block *block = &report->blocks.items[i];
        block->group = number[block->group];
        if (block->group != MS_NO_INDEX)
            report->members[next[block->group]++] = (uint32_t)i;
    }
    for (size_t i = 0; i < report->groups.count; i++) {
        const struct ms_leak_group *group = &report->groups.items[i];
        if (group->kind == MS_DEFINITE && group->indirect_blocks)
            qsort_r(report->members + group->first, group->blocks, sizeof *report->members, most_held_first,
                    report);
    }
    return NULL;
}

ms_result ms_leak_index(struct ms_leak_report *report, const struct ms_lost *lost, uint32_t groups)
{
    const size_t most = lost->leaders.count > groups ? lost->leaders.count : groups;
    if (report->blocks.count >= MS_NO_INDEX)
        return ms_error(MS_TARGET, "more than 4 billion blocks are lost: memscope cannot list so many");
    ms_auto_free uint32_t *number = calloc(most + 1, sizeof *number);
    if (!number)
        return ms_error_nomem(WHAT);
    MS_TRY(add_leaders(report, lost, number));
    MS_TRY(fill_held(report));
    return fill_members(report, number, groups);
}
