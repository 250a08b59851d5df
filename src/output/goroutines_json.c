/* Goroutines as JSON: the groups, and with a list each one. */
#include <stdio.h>
#include <string.h>

#include "json.h"

#define NAME_MOST 4096u

static json_t *function_json(const char *function)
{
    char shown[NAME_MOST];
    return ms_json_string(ms_go_shown_name(function, shown, sizeof shown));
}

static json_t *call_json(const struct ms_go_call *call)
{
    json_t *object = ms_json_with(json_object(), "function", function_json(call->function));
    object = ms_json_with(object, "file", ms_json_string(call->file));
    object = ms_json_with(object, "line", json_integer(call->line));
    return call->inlined ? ms_json_with(object, "inlined", json_true()) : object;
}

static json_t *labels_json(const struct ms_go_labels *labels)
{
    json_t *array = json_array();
    for (size_t i = 0; i < labels->list.count; i++) {
        const struct ms_go_label *label = &labels->list.items[i];
        json_t *object = ms_json_with(json_object(), "key", ms_json_string(label->key));
        array = ms_json_with_item(array, ms_json_with(object, "value", ms_json_string(label->value)));
    }
    return array;
}

/* LABELS when there are any. */
static ms_result with_labels(json_t **object, const struct ms_go_goroutines *all,
                             const struct ms_go_goroutine *goroutine)
{
    struct ms_go_labels labels;
    struct ms_error *error = ms_go_labels_read(all, goroutine, &labels);
    if (error) {
        json_decref(*object);
        *object = NULL;
        return error;
    }
    if (labels.list.count)
        *object = ms_json_with(*object, "labels", labels_json(&labels));
    ms_go_labels_free(&labels);
    return NULL;
}

static json_t *with_creator(json_t *object, const struct ms_go_goroutines *all, uint64_t created_at)
{
    struct ms_go_traced creator;
    if (!created_at || !ms_go_creator(all, created_at, &creator))
        return object;
    return ms_json_with(object, "created_by", call_json(&creator.call));
}

static json_t *states_json(const struct ms_go_group *group)
{
    json_t *array = json_array();
    for (size_t i = 0; i < group->states.count; i++) {
        const struct ms_go_state_count *state = &group->states.items[i];
        json_t *object = ms_json_with(json_object(), "state", ms_json_string(state->state));
        array = ms_json_with_item(array, ms_json_with(object, "count", ms_json_count(state->count)));
    }
    return array;
}

/* STATE as design has it: what it is, and what it waits for when it waits. */
static json_t *with_state(json_t *object, const char *state, const char *wait_reason)
{
    object = ms_json_with(object, "state", ms_json_string(wait_reason ? "waiting" : state));
    return ms_json_with(object, "wait_reason", ms_json_string(wait_reason));
}

static json_t *wait_json(const struct ms_goroutines_report *report, size_t index)
{
    const struct ms_go_wait *wait = &report->leaks->waits[index];
    if (!wait->address)
        return json_null();
    json_t *object = ms_json_with(json_object(), "address", ms_json_address(wait->address));
    object = ms_json_with(object, "of", ms_json_count(wait->count));
    object = ms_json_with(object, "waiters", ms_json_count(wait->waiters));
    object = ms_json_with(object, "channel", json_boolean(wait->channel));
    if (!wait->channel)
        return object;
    object = ms_json_with(object, "length", ms_json_count(wait->length));
    return ms_json_with(object, "capacity", ms_json_count(wait->capacity));
}

/* What leaked ones keep, and what they are stuck at: as the first of them has it. */
static json_t *with_leak(json_t *object, const struct ms_goroutines_report *report, const struct ms_go_group *group)
{
    const size_t number = (size_t)(group - report->groups.list.items);
    object = ms_json_with(object, "leaked", ms_json_count(group->leaked));
    object = ms_json_with(object, "retained_blocks", ms_json_count(group->retained_blocks));
    object = ms_json_with(object, "retained_bytes", ms_json_count(group->retained_bytes));
    object = ms_json_with(object, "stack_bytes", ms_json_count(group->stack_bytes));
    for (size_t i = group->first; i < report->all->list.count; i++)
        if (report->groups.of[i] == number && (report->leaks->leaked[i] || !group->leaked))
            return ms_json_with(object, "waits_for", wait_json(report, i));
    return object;
}

static ms_result group_json(const struct ms_goroutines_report *report, const struct ms_go_group *group,
                            json_t **out)
{
    const struct ms_go_goroutines *all = report->all;
    struct ms_go_calls calls;
    MS_TRY(ms_go_group_calls(all, group, &calls));
    json_t *stack = json_array();
    for (size_t i = 0; i < calls.list.count; i++)
        stack = ms_json_with_item(stack, call_json(&calls.list.items[i].call));
    ms_go_calls_free(&calls);
    const struct ms_go_state_count *most = group->states.items;
    json_t *object = ms_json_with(json_object(), "count", ms_json_count(group->count));
    if (group->known)
        object = ms_json_with(object, "known", ms_json_count(group->known));
    if (report->leaks)
        object = with_leak(object, report, group);
    object = with_state(object, most->state, most->wait_reason);
    if (group->states.count > 1)
        object = ms_json_with(object, "states", states_json(group));
    object = ms_json_with(object, "waited_ns", ms_json_count(group->waited_ns));
    object = ms_json_with(object, "first", ms_json_count(all->list.items[group->first].id));
    *out = with_creator(object, all, group->created_at);
    struct ms_error *error = with_labels(out, all, &all->list.items[group->first]);
    if (error) {
        json_decref(stack);
        return error;
    }
    *out = ms_json_with(*out, "frames", ms_json_count(group->depth));
    *out = ms_json_with(*out, "complete", json_boolean(group->complete));
    *out = ms_json_with(*out, "stack", stack);
    return NULL;
}

static ms_result groups_json(const struct ms_goroutines_report *report, bool suspects, json_t **groups)
{
    *groups = json_array();
    for (size_t i = 0; i < report->groups.list.count; i++) {
        const struct ms_go_group *group = &report->groups.list.items[i];
        json_t *item;
        if (suspects ? !group->suspect : !ms_goroutines_shown(report, group))
            continue;
        struct ms_error *error = group_json(report, group, &item);
        if (error) {
            json_decref(*groups);
            return error;
        }
        *groups = ms_json_with_item(*groups, item);
    }
    return NULL;
}

static ms_result goroutines_json(const struct ms_goroutines_report *report, json_t **out)
{
    json_t *groups, *suspects = NULL;
    MS_TRY(groups_json(report, false, &groups));
    struct ms_error *error = report->leaks ? groups_json(report, true, &suspects) : NULL;
    if (error) {
        json_decref(groups);
        return error;
    }
    json_t *object = ms_json_with(json_object(), "total", ms_json_count(report->groups.total));
    if (report->leaks) {
        object = ms_json_with(object, "leaked", ms_json_count(report->groups.leaked));
        object = ms_json_with(object, "remaining", ms_json_count(report->remaining));
        object = ms_json_with(object, "retained_bytes", ms_json_count(report->retained.bytes));
        object = ms_json_with(object, "suspects", suspects);
    }
    object = ms_json_with(object, "system", ms_json_count(report->groups.system));
    *out = ms_json_with(object, "groups", groups);
    return *out ? NULL : ms_error_nomem("the report");
}

/* --- each one -----------------------------------------------------------------------------------
 */

static json_t *traced_json(const struct ms_go_goroutines *all, const struct ms_go_traced *traced)
{
    char arguments[MS_GO_ARGUMENTS_TEXT];
    json_t *object = call_json(&traced->call);
    if (!traced->call.inlined)
        object = ms_json_with(object, "arguments", ms_json_string(ms_go_arguments(all, traced, arguments)));
    return ms_json_with(object, "pc", ms_json_address(traced->pc));
}

static ms_result goroutine_json(const struct ms_go_goroutines *all, const struct ms_go_goroutine *goroutine,
                                json_t **out)
{
    struct ms_go_traceback traceback;
    ms_go_trace(all, goroutine, &traceback);
    json_t *object = ms_json_with(json_object(), "id", ms_json_count(goroutine->id));
    object = ms_json_with(object, "address", ms_json_address(goroutine->address));
    object = with_state(object, goroutine->state, goroutine->wait_reason);
    object = ms_json_with(object, "waited_ns", ms_json_count(goroutine->waited_ns));
    if (goroutine->parent)
        object = ms_json_with(object, "parent", ms_json_count(goroutine->parent));
    if (goroutine->tid)
        object = ms_json_with(object, "tid", json_integer(goroutine->tid));
    if (goroutine->locked)
        object = ms_json_with(object, "locked", json_true());
    *out = with_creator(object, all, goroutine->created_at);
    MS_TRY(with_labels(out, all, goroutine));
    json_t *stack = json_array();
    for (unsigned i = 0; i < traceback.count; i++)
        stack = ms_json_with_item(stack, traced_json(all, &traceback.calls[i]));
    if (traceback.elided)
        *out = ms_json_with(*out, "elided", ms_json_count(traceback.elided));
    *out = ms_json_with(*out, "complete", json_boolean(traceback.complete));
    *out = ms_json_with(*out, "stack", stack);
    return *out ? NULL : ms_error_nomem("the list of goroutines");
}

static ms_result write_listed(FILE *out, const char *document, const struct ms_goroutines_report *report)
{
    const struct ms_go_goroutines *all = report->all;
    fwrite(document, 1, strlen(document) - strlen(MS_JSON_TAIL), out);
    fputs(",\n    \"list\": [", out);
    bool first = true;
    for (size_t i = 0; i < all->list.count && !ferror(out); i++) {
        json_t *goroutine;
        if (!ms_goroutines_lists(report, i))
            continue;
        MS_TRY(goroutine_json(all, &all->list.items[i], &goroutine));
        fputs(first ? "\n      " : ",\n      ", out);
        first = false;
        json_dumpf(goroutine, out, JSON_COMPACT | JSON_ENSURE_ASCII);
        json_decref(goroutine);
    }
    fputs(first ? "]" : "\n    ]", out);
    fputs(MS_JSON_TAIL "\n", out);
    return NULL;
}

ms_result ms_goroutines_json_write(const struct ms_view *view, const struct ms_image *image,
                                   const struct ms_heap *heap, const struct ms_goroutines_report *report, bool list)
{
    json_t *body;
    MS_TRY(goroutines_json(report, &body));
    json_t *document = ms_json_document(ms_json_envelope(image, heap), report->complete, "goroutines", body);
    ms_auto_free char *text = document ? json_dumps(document, MS_JSON_FLAGS) : NULL;
    json_decref(document);
    if (!text)
        return ms_error_nomem("the report");
    if (list)
        return write_listed(view->out, text, report);
    fprintf(view->out, "%s\n", text);
    return NULL;
}
