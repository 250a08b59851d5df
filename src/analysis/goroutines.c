/* Groups of goroutines with the function that tells them apart, and the blocks that their stacks point to. */
#include "memscope/goroutines.h"

#include <string.h>

#include "map.h"
#include "memscope/goleaks.h"
#include "retainers.h"

#define WHAT "the goroutines"

/* --- groups ------------------------------------------------------------------------------------ */

/* Of the runtime, or of what all programs wait with: not what tells one goroutine from another. */
static bool is_inside(const char *function)
{
    static const char *const packages[] = {"runtime.",  "runtime/", "sync.", "sync/",
                                           "internal/", "syscall.", "time."};
    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++)
        if (strncmp(function, packages[i], strlen(packages[i])) == 0)
            return true;
    return false;
}

/* Without any other it is the one that the goroutine began with. */
static const char *telling_function(const struct ms_go_goroutines *all, const struct ms_go_group *group)
{
    const char *function = "?";
    for (uint32_t i = 0; i < group->kept; i++) {
        struct ms_go_call calls[MS_GO_INLINED_MOST];
        const unsigned count = ms_go_calls_at(all->functions, group->calls[i], calls, MS_GO_INLINED_MOST);
        for (unsigned k = 0; k < count; k++) {
            if (calls[k].id == MS_GO_GOEXIT)
                continue;
            function = calls[k].function;
            if (calls[k].id != MS_GO_WRAPPER && !is_inside(function))
                return function;
        }
    }
    return function;
}

static ms_result describe_groups(struct ms_goroutines *goroutines)
{
    const struct ms_go_goroutines *all = goroutines->all;
    uint32_t members = 0;
    for (size_t i = 0; i < goroutines->groups.list.count; i++) {
        const struct ms_go_group *group = &goroutines->groups.list.items[i];
        struct ms_goroutine_group *described = ms_vector_add(&goroutines->list);
        if (!described)
            return ms_error_nomem(WHAT);
        described->function = telling_function(all, group);
        described->first = members;
        members += (uint32_t)group->count;
        const bool main = all->list.items[group->first].id == 1;
        if (main || !group->created_at || !ms_go_creator(all, group->created_at, &described->creator))
            described->creator.call.function = NULL;
    }
    return NULL;
}

static ms_result list_members(struct ms_goroutines *goroutines)
{
    const size_t groups = goroutines->groups.list.count;
    ms_auto_free uint32_t *next = calloc(groups + 1, sizeof *next);
    goroutines->members = calloc(goroutines->groups.total + 1, sizeof *goroutines->members);
    if (!next || !goroutines->members)
        return ms_error_nomem(WHAT);
    for (size_t i = 0; i < groups; i++)
        next[i] = goroutines->list.items[i].first;
    for (size_t i = 0; i < goroutines->all->list.count; i++) {
        const uint32_t group = goroutines->groups.of[i];
        if (group != MS_GO_NO_GROUP)
            goroutines->members[next[group]++] = (uint32_t)i;
    }
    return NULL;
}

ms_result ms_group_goroutines(const struct ms_go_heap *heap, struct ms_goroutines *goroutines)
{
    *goroutines = (struct ms_goroutines){.all = heap->goroutines};
    struct ms_go_leaks leaks;
    MS_TRY(ms_go_find_leaked(heap, &leaks));
    goroutines->leaked = leaks.leaked;
    leaks.leaked = NULL;
    ms_go_leaks_free(&leaks);
    struct ms_error *error = ms_go_group(heap->goroutines, false, goroutines->leaked, &goroutines->groups);
    if (!error)
        error = describe_groups(goroutines);
    if (!error)
        error = list_members(goroutines);
    if (error)
        ms_goroutines_free(goroutines);
    return error;
}

void ms_goroutines_free(struct ms_goroutines *goroutines)
{
    ms_go_groups_free(&goroutines->groups);
    ms_vector_free(&goroutines->list);
    free(goroutines->members);
    free(goroutines->leaked);
    *goroutines = (struct ms_goroutines){0};
}

ms_result ms_goroutine_growth(const struct ms_goroutines *before, const struct ms_goroutines *now, int64_t *grew)
{
    struct ms_map counts = {0};
    bool room = true;
    for (size_t i = 0; room && i < before->groups.list.count; i++)
        room = ms_map_put(&counts, before->groups.list.items[i].hash, 0, before->groups.list.items[i].count);
    for (size_t i = 0; i < now->groups.list.count; i++) {
        const struct ms_go_group *group = &now->groups.list.items[i];
        const uint64_t *count = ms_map_get(&counts, group->hash, 0);
        grew[i] = (int64_t)group->count - (count ? (int64_t)*count : 0);
    }
    ms_map_free(&counts);
    return room ? NULL : ms_error_nomem(WHAT);
}

/* --- what they keep alive ---------------------------------------------------------------------- */

/* Registers belong to the thread that the goroutine runs on. */
static bool is_of(const struct ms_root *root, const struct ms_go_goroutine *goroutine, size_t index)
{
    if (root->kind == MS_ROOT_GOROUTINE)
        return (size_t)root->tid == index;
    return root->kind == MS_ROOT_REGISTER && goroutine->status == MS_GO_RUNNING && root->tid == goroutine->tid;
}

static int compare_starts(const void *a, const void *b)
{
    const uint64_t s = *(const uint64_t *)a, t = *(const uint64_t *)b;
    return s < t ? -1 : s > t;
}

struct starts {
    MS_VECTOR(uint64_t) list;
};

/* Granules of the blocks, each once. */
static ms_result find_starts(const struct ms_go_heap *heap, size_t index, struct starts *starts)
{
    const struct ms_scan *scan = heap->scan;
    const struct ms_go_goroutine *goroutine = &heap->goroutines->list.items[index];
    for (size_t i = 0; i < scan->root_count; i++) {
        const struct ms_root *root = &scan->roots[i];
        if (!is_of(root, goroutine, index) || root->target >= 2 * scan->heap.granules)
            continue;
        uint64_t *start = ms_vector_add(&starts->list);
        if (!start)
            return ms_error_nomem(WHAT);
        *start = ms_start_of(&scan->heap, root->target / 2);
    }
    ms_vector_sort(&starts->list, compare_starts);
    size_t kept = 0;
    for (size_t i = 0; i < starts->list.count; i++) {
        const uint64_t start = starts->list.items[i];
        const struct ms_line *line = &scan->heap.lines[start / MS_LINE_GRANULES];
        if (ms_bit(line->live, start) && (!kept || starts->list.items[kept - 1] != start))
            starts->list.items[kept++] = start;
    }
    starts->list.count = kept;
    return NULL;
}

static ms_result add_block(const struct ms_scan *scan, struct ms_knowledge *knowledge,
                           const struct ms_heap_report *report, uint64_t start, struct ms_owners *blocks)
{
    if (report)
        return ms_add_owner(scan, &report->tree, report, start, blocks);
    struct ms_known known;
    MS_TRY(ms_block_known(knowledge, start, &known));
    struct ms_owner *owner = ms_vector_add(&blocks->list);
    if (!owner)
        return ms_error_nomem(WHAT);
    owner->address = ms_granule_address(&scan->heap, start);
    owner->size = ms_block_size(&scan->heap, start);
    owner->by = known.by;
    owner->module = known.module;
    owner->preview_size = ms_block_preview(&scan->heap, start, owner->preview);
    return knowledge ? ms_known_text(knowledge, &known, &owner->type) : NULL;
}

static ms_result add_blocks(const struct ms_go_heap *heap, struct ms_knowledge *knowledge,
                            const struct ms_heap_report *report, const struct starts *starts, size_t most,
                            struct ms_owners *blocks)
{
    const struct ms_scan *scan = heap->scan;
    struct ms_tops tops = {.limit = most};
    struct ms_error *error = NULL;
    for (size_t i = 0; !error && i < starts->list.count; i++) {
        const uint64_t start = starts->list.items[i];
        const uint32_t position = report ? ms_dominator_position(&report->tree, &scan->heap, start) : 0;
        const uint64_t weight = position ? report->tree.retained[position] : ms_block_size(&scan->heap, start);
        error = ms_tops_add(&tops, weight, start, WHAT);
    }
    ms_tops_cut(&tops);
    for (size_t i = 0; !error && i < tops.list.count; i++)
        error = add_block(scan, knowledge, report, tops.list.items[i].item, blocks);
    ms_tops_free(&tops);
    blocks->count = starts->list.count;
    return error;
}

ms_result ms_find_goroutine_blocks(const struct ms_go_heap *heap, struct ms_knowledge *knowledge,
                                   const struct ms_heap_report *report, size_t index, size_t most,
                                   struct ms_owners *blocks)
{
    struct starts starts = {0};
    *blocks = (struct ms_owners){0};
    struct ms_error *error = find_starts(heap, index, &starts);
    if (!error)
        error = add_blocks(heap, knowledge, report, &starts, most, blocks);
    ms_vector_free(&starts.list);
    if (error)
        ms_owners_free(blocks);
    return error;
}
