/* Which goroutines the user knows already: by --ignore and --baseline of `memscope goroutines`. */
#include "goroutines_known.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MOST 4096u

ms_result ms_goroutines_known_ignore(struct ms_goroutines_known *known, const char *function)
{
    const char **slot = ms_vector_add(&known->ignored);
    if (!slot)
        return ms_error_nomem("the command line");
    *slot = function;
    return NULL;
}

static int by_calls(const void *a, const void *b)
{
    const struct ms_goroutines_known_stack *x = a, *y = b;
    return strcmp(x->calls, y->calls);
}

/* --- the baseline -------------------------------------------------------------------------------
 */

static ms_result not_one(const char *path)
{
    return ms_error(MS_USAGE, "%s is no output of memscope goroutines -j: make one and give that as --baseline",
                    path);
}

/* The calls of STACK, or NULL: it is none; *CALLS is NULL then. */
static ms_result read_calls(const char *path, const json_t *stack, char **calls)
{
    size_t size = 0, i;
    json_t *call;
    *calls = NULL;
    FILE *out = json_is_array(stack) ? open_memstream(calls, &size) : NULL;
    if (!out)
        return json_is_array(stack) ? ms_error_nomem("the baseline") : not_one(path);
    json_array_foreach(stack, i, call)
    {
        const char *function = json_string_value(json_object_get(call, "function"));
        fprintf(out, "%s:%lld\n", function ? function : "",
                (long long)json_integer_value(json_object_get(call, "line")));
    }
    const bool failed = ferror(out);
    return fclose(out) != 0 || failed ? ms_error_nomem("the baseline") : NULL;
}

static uint64_t count_of(const json_t *group, const char *key)
{
    json_int_t count = json_integer_value(json_object_get(group, key));
    return count < 0 ? 0 : (uint64_t)count;
}

static ms_result read_group(struct ms_goroutines_known *known, const char *path, const json_t *group)
{
    struct ms_goroutines_known_stack *stack = ms_vector_add(&known->stacks);
    if (!stack)
        return ms_error_nomem("the baseline");
    *stack = (struct ms_goroutines_known_stack){.count = count_of(group, "count")};
    stack->leaked = json_object_get(group, "leaked") ? count_of(group, "leaked") : stack->count;
    struct ms_error *error = read_calls(path, json_object_get(group, "stack"), &stack->calls);
    if (!error)
        return NULL;
    free(stack->calls);
    known->stacks.count--;
    return error;
}

/* Groups that differ in their labels alone are one. */
static void merge(struct ms_goroutines_known *known)
{
    struct ms_goroutines_known_stack *list = known->stacks.items;
    size_t kept = 0;
    ms_vector_sort(&known->stacks, by_calls);
    for (size_t i = 0; i < known->stacks.count; i++) {
        if (kept && !by_calls(&list[kept - 1], &list[i])) {
            list[kept - 1].count += list[i].count;
            list[kept - 1].leaked += list[i].leaked;
            free(list[i].calls);
        } else
            list[kept++] = list[i];
    }
    known->stacks.count = kept;
}

static ms_result read_groups(struct ms_goroutines_known *known, const char *path, const json_t *report)
{
    static const char *const lists[] = {"groups", "suspects"};
    json_t *group;
    size_t i;
    if (!json_is_array(json_object_get(report, "groups")))
        return not_one(path);
    for (size_t k = 0; k < 2; k++)
        json_array_foreach(json_object_get(report, lists[k]), i, group) MS_TRY(read_group(known, path, group));
    merge(known);
    return NULL;
}

ms_result ms_goroutines_known_read(struct ms_goroutines_known *known, const char *path)
{
    json_error_t why;
    json_t *document = json_load_file(path, JSON_ALLOW_NUL, &why);
    if (!document)
        return ms_error(MS_USAGE, "cannot read the baseline %s: %s", path, why.text);
    struct ms_error *error = read_groups(known, path, json_object_get(document, "goroutines"));
    json_decref(document);
    return error;
}

/* --- the groups ---------------------------------------------------------------------------------
 */

static bool matches(const char *function, const char *wanted)
{
    size_t length = strlen(wanted);
    if (length && wanted[length - 1] == '*')
        return !strncmp(function, wanted, length - 1);
    return !strcmp(function, wanted);
}

static bool is_ignored(const struct ms_goroutines_known *known, const char *function)
{
    char shown[NAME_MOST];
    const char *name = ms_go_shown_name(function, shown, sizeof shown);
    for (size_t i = 0; i < known->ignored.count; i++)
        if (matches(name, known->ignored.items[i]) || matches(function, known->ignored.items[i]))
            return true;
    return false;
}

static ms_result write_calls(const struct ms_go_calls *calls, char **text)
{
    size_t size = 0;
    char shown[NAME_MOST];
    *text = NULL;
    FILE *out = open_memstream(text, &size);
    if (!out)
        return ms_error_nomem("the stack of a group");
    for (size_t i = 0; i < calls->list.count; i++) {
        const struct ms_go_call *call = &calls->list.items[i].call;
        fprintf(out, "%s:%d\n", ms_go_shown_name(call->function, shown, sizeof shown), call->line);
    }
    const bool failed = ferror(out);
    return fclose(out) != 0 || failed ? ms_error_nomem("the stack of a group") : NULL;
}

/* What the baseline knows of GROUP, which has CALLS. */
static ms_result compare(struct ms_goroutines_known *known, const struct ms_goroutines_report *report,
                         const struct ms_go_calls *calls, struct ms_go_group *group)
{
    struct ms_goroutines_known_stack key = {0};
    struct ms_error *error = write_calls(calls, &key.calls);
    struct ms_goroutines_known_stack *found =
        error ? NULL : bsearch(&key, known->stacks.items, known->stacks.count, sizeof key, by_calls);
    free(key.calls);
    if (!found)
        return error;
    const uint64_t count = report->leaks ? group->leaked : group->count;
    group->before = found->count;
    group->known = found->left < count ? found->left : count;
    found->left -= group->known;
    return NULL;
}

ms_result ms_goroutines_known_apply(struct ms_goroutines_known *known, struct ms_goroutines_report *report)
{
    for (size_t i = 0; i < known->stacks.count; i++)
        known->stacks.items[i].left = report->leaks ? known->stacks.items[i].leaked : known->stacks.items[i].count;
    for (size_t i = 0; i < report->groups.list.count && (known->stacks.count || known->ignored.count); i++) {
        struct ms_go_group *group = &report->groups.list.items[i];
        struct ms_go_calls calls;
        MS_TRY(ms_go_group_calls(report->all, group, &calls));
        for (size_t k = 0; k < calls.list.count; k++)
            group->ignored = group->ignored || is_ignored(known, calls.list.items[k].call.function);
        struct ms_error *error = known->stacks.count ? compare(known, report, &calls, group) : NULL;
        ms_go_calls_free(&calls);
        if (error)
            return error;
    }
    return NULL;
}

void ms_goroutines_known_free(struct ms_goroutines_known *known)
{
    for (size_t i = 0; i < known->stacks.count; i++)
        free(known->stacks.items[i].calls);
    ms_vector_free(&known->stacks);
    ms_vector_free(&known->ignored);
}
