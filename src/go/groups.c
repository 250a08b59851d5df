/* Goroutines grouped by equal stacks and labels, as the goroutine profile has them. */
#include <string.h>

#include "goroutines.h"

/* FNV-1a, 64 bits, a word at a time. */
#define HASH_START 0xcbf29ce484222325u
#define HASH_PRIME 0x100000001b3u

static uint64_t hash_word(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * HASH_PRIME;
    return hash ^ hash >> 29;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    do
        hash = hash_word(hash, (uint8_t)*text);
    while (*text++);
    return hash;
}

/* What is at a label map, which very many goroutines may share. */
struct labels_hash {
    uint64_t address, hash;
};

struct grouping {
    const struct ms_go_goroutines *all;
    struct ms_go_groups *groups;
    const bool *leaked; /* by goroutine, or NULL */
    size_t *slots;      /* open addressing: index of the group + 1; owned */
    size_t room;
    struct labels_hash *labels; /* a cache, direct-mapped; owned */
};
#define LABELS_CACHED 4096u

static ms_result labels_hash(struct grouping *grouping, const struct ms_go_goroutine *goroutine, uint64_t *hash)
{
    *hash = 0;
    if (!goroutine->labels)
        return NULL;
    struct labels_hash *cached = &grouping->labels[goroutine->labels / 16 % LABELS_CACHED];
    if (cached->address != goroutine->labels) {
        struct ms_go_labels labels;
        MS_TRY(ms_go_labels_read(grouping->all, goroutine, &labels));
        uint64_t found = labels.list.count ? HASH_START : 0;
        for (size_t i = 0; i < labels.list.count; i++)
            found = hash_text(hash_text(found, labels.list.items[i].key), labels.list.items[i].value);
        ms_go_labels_free(&labels);
        *cached = (struct labels_hash){goroutine->labels, found};
    }
    *hash = cached->hash;
    return NULL;
}

static size_t *slot_of(const struct ms_go_groups *groups, size_t *slots, size_t room,
                       const struct ms_go_group *group)
{
    size_t at = group->hash & (room - 1);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there is room before anything is looked for
    for (; slots[at]; at = (at + 1) & (room - 1)) {
        const struct ms_go_group *other = &groups->list.items[slots[at] - 1];
        if (other->hash == group->hash && other->depth == group->depth &&
            (!group->kept || !memcmp(other->calls, group->calls, group->kept * sizeof *group->calls)))
            break;
    }
    return &slots[at];
}

static ms_result grow(struct grouping *grouping)
{
    struct ms_go_groups *groups = grouping->groups;
    if (groups->list.count * 2 < grouping->room)
        return NULL;
    size_t room = grouping->room ? grouping->room * 2 : 1024;
    size_t *slots = calloc(room, sizeof *slots);
    if (!slots)
        return ms_error_nomem("the groups of goroutines");
    for (size_t i = 0; i < groups->list.count; i++)
        *slot_of(groups, slots, room, &groups->list.items[i]) = i + 1;
    free(grouping->slots);
    grouping->slots = slots;
    grouping->room = room;
    return NULL;
}

static bool count_state(struct ms_go_group *group, const struct ms_go_goroutine *goroutine)
{
    size_t known = 0;
    while (known < group->states.count && strcmp(group->states.items[known].state, goroutine->state) != 0)
        known++;
    if (known == group->states.count) {
        struct ms_go_state_count *state = ms_vector_add(&group->states);
        if (!state)
            return false;
        state->state = goroutine->state;
        state->wait_reason = goroutine->wait_reason;
    }
    group->states.items[known].count++;
    return true;
}

/* A wrapper with nothing inlined into it: profiles do not have it. */
static bool is_left_out(const struct ms_go_goroutines *all, const struct ms_go_frame *frame, uint8_t callee)
{
    struct ms_go_call calls[2];
    return frame->function->id == MS_GO_WRAPPER && ms_go_elides_wrapper(callee) &&
           ms_go_calls_at(all->functions, frame->call, calls, 2) == 1;
}

/* A group with the stack of GOROUTINE; CALLS, of MS_GO_GROUP_FRAMES, hold it. */
static struct ms_go_group stack_of(const struct ms_go_goroutines *all, const struct ms_go_goroutine *goroutine,
                                   uint64_t *calls)
{
    struct ms_go_group group = {.hash = HASH_START, .calls = calls};
    struct ms_go_unwinder unwinder;
    uint8_t callee = MS_GO_NORMAL;
    for (bool found = ms_go_unwind(all, goroutine, &unwinder); found; found = ms_go_unwind_next(&unwinder)) {
        bool skipped = is_left_out(all, &unwinder.frame, callee);
        callee = unwinder.frame.function->id;
        if (skipped)
            continue;
        group.hash = hash_word(group.hash, unwinder.frame.call);
        if (group.kept < MS_GO_GROUP_FRAMES)
            calls[group.kept++] = unwinder.frame.call;
        group.depth++;
    }
    group.complete = unwinder.complete;
    return group;
}

static ms_result add(struct grouping *grouping, size_t index)
{
    const struct ms_go_goroutine *goroutine = &grouping->all->list.items[index];
    struct ms_go_groups *groups = grouping->groups;
    uint64_t calls[MS_GO_GROUP_FRAMES], labels;
    struct ms_go_group found = stack_of(grouping->all, goroutine, calls);
    MS_TRY(labels_hash(grouping, goroutine, &labels));
    found.hash = hash_word(found.hash, labels);
    MS_TRY(grow(grouping));
    size_t *slot = slot_of(groups, grouping->slots, grouping->room, &found);
    if (!*slot) {
        struct ms_go_group *made = ms_vector_add(&groups->list);
        uint64_t *copy = malloc((found.kept ? found.kept : 1) * sizeof *copy);
        if (!made || !copy) {
            free(copy);
            groups->list.count -= made != NULL;
            return ms_error_nomem("the groups of goroutines");
        }
        memcpy(copy, calls, found.kept * sizeof *copy);
        *made = found;
        made->calls = copy;
        made->first = index;
        made->created_at = goroutine->created_at;
        *slot = groups->list.count;
    }
    struct ms_go_group *group = &groups->list.items[*slot - 1];
    bool leaked = grouping->leaked && grouping->leaked[index];
    groups->of[index] = (uint32_t)(*slot - 1);
    group->count++;
    group->leaked += leaked;
    groups->leaked += leaked;
    if (group->created_at != goroutine->created_at)
        group->created_at = 0;
    group->waited_ns = goroutine->waited_ns > group->waited_ns ? goroutine->waited_ns : group->waited_ns;
    groups->total++;
    groups->incomplete += !found.complete;
    return count_state(group, goroutine) ? NULL : ms_error_nomem("the groups of goroutines");
}

static int by_count(const void *a, const void *b)
{
    const struct ms_go_group *x = a, *y = b;
    if (!x->leaked != !y->leaked)
        return x->leaked ? -1 : 1;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static int by_state_count(const void *a, const void *b)
{
    const struct ms_go_state_count *x = a, *y = b;
    return x->count > y->count ? -1 : x->count < y->count;
}

static ms_result group_all(struct grouping *grouping, bool system)
{
    const struct ms_go_goroutines *all = grouping->all;
    for (size_t i = 0; i < all->list.count; i++) {
        if (all->list.items[i].system && !system)
            grouping->groups->system++;
        else
            MS_TRY(add(grouping, i));
    }
    return NULL;
}

/* The groups are in their order now, in which each is known by the first that it has. */
static ms_result follow_order(struct ms_go_groups *groups, size_t goroutines)
{
    ms_auto_free uint32_t *place = calloc(groups->list.count + 1, sizeof *place);
    if (!place)
        return ms_error_nomem("the groups of goroutines");
    for (size_t i = 0; i < groups->list.count; i++)
        place[groups->of[groups->list.items[i].first]] = (uint32_t)i;
    for (size_t i = 0; i < goroutines; i++)
        if (groups->of[i] != MS_GO_NO_GROUP)
            groups->of[i] = place[groups->of[i]];
    return NULL;
}

static ms_result put_in_order(struct ms_go_groups *groups, size_t goroutines)
{
    ms_vector_sort(&groups->list, by_count);
    for (size_t i = 0; i < groups->list.count; i++)
        ms_vector_sort(&groups->list.items[i].states, by_state_count);
    return follow_order(groups, goroutines);
}

ms_result ms_go_group(const struct ms_go_goroutines *all, bool system, const bool *leaked,
                      struct ms_go_groups *groups)
{
    *groups = (struct ms_go_groups){.of = malloc((all->list.count + 1) * sizeof *groups->of)};
    if (!groups->of)
        return ms_error_nomem("the groups of goroutines");
    memset(groups->of, 0xff, (all->list.count + 1) * sizeof *groups->of);
    struct grouping grouping = {.all = all, .groups = groups, .leaked = leaked};
    grouping.labels = calloc(LABELS_CACHED, sizeof *grouping.labels);
    struct ms_error *error =
        grouping.labels ? group_all(&grouping, system) : ms_error_nomem("the groups of goroutines");
    free(grouping.labels);
    free(grouping.slots);
    if (!error)
        error = put_in_order(groups, all->list.count);
    if (error)
        ms_go_groups_free(groups);
    return error;
}

ms_result ms_go_group_calls(const struct ms_go_goroutines *all, const struct ms_go_group *group,
                            struct ms_go_calls *calls)
{
    *calls = (struct ms_go_calls){0};
    struct go_filter filter = {.minor = all->go->minor};
    for (uint32_t i = 0; i < group->kept; i++) {
        struct ms_go_call at[MS_GO_INLINED_MOST];
        unsigned count = ms_go_calls_at(all->functions, group->calls[i], at, MS_GO_INLINED_MOST);
        for (unsigned k = 0; k < count; k++) {
            bool wrapper = at[k].id == MS_GO_WRAPPER && ms_go_elides_wrapper(filter.callee);
            bool shown = ms_go_filter_shows(&filter, &at[k]);
            struct ms_go_traced *traced = wrapper ? NULL : ms_vector_add(&calls->list);
            if (traced)
                *traced = (struct ms_go_traced){.call = at[k], .lookup = group->calls[i], .shown = shown};
            else if (!wrapper) {
                ms_go_calls_free(calls);
                return ms_error_nomem("the stack of a group");
            }
        }
    }
    if (!filter.shown)
        for (size_t i = 0; i < calls->list.count; i++)
            calls->list.items[i].shown = true;
    return NULL;
}

void ms_go_calls_free(struct ms_go_calls *calls)
{
    ms_vector_free(&calls->list);
}

void ms_go_groups_free(struct ms_go_groups *groups)
{
    for (size_t i = 0; i < groups->list.count; i++) {
        free(groups->list.items[i].calls);
        ms_vector_free(&groups->list.items[i].states);
    }
    ms_vector_free(&groups->list);
    free(groups->of);
    groups->of = NULL;
}
