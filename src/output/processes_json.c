/* The list of processes as JSON. */
#include "memscope/processes.h"

#include "json.h"

static json_t *gauge_json(const struct ms_process *process)
{
    static const char *const phases[] = {"none", "mark", "termination"};
    const struct ms_go_gauge *gauge = &process->gauge;
    if (!process->gauge_known)
        return json_null();
    json_t *gc = ms_json_with(json_object(), "cycles", ms_json_count(gauge->cycles));
    gc = ms_json_with(gc, "phase", json_string(phases[gauge->phase]));
    gc = ms_json_with(gc, "live_bytes", ms_json_count(gauge->live));
    return ms_json_with(gc, "goal_bytes",
                        gauge->goal == UINT64_MAX ? json_null() : ms_json_count(gauge->goal));
}

static json_t *process_json(const struct ms_process *process)
{
    json_t *object = ms_json_with(json_object(), "pid", json_integer(process->pid));
    object = ms_json_with(object, "program", ms_json_string(process->program));
    object = ms_json_with(object, "go", ms_json_string(process->go_version));
    object = ms_json_with(object, "module", ms_json_string(process->module));
    object = ms_json_with(object, "package", ms_json_string(process->package));
    object = ms_json_with(object, "allocator", ms_json_string(process->allocator));
    object = ms_json_with(object, "rss_bytes", ms_json_count(process->rss));
    object =
        ms_json_with(object, "heap_bytes",
                     process->gauge_known ? ms_json_count(process->gauge.in_use) : json_null());
    object = ms_json_with(object, "heap_at_most_bytes",
                          process->gauge_known ? json_null() : ms_json_count(process->anonymous));
    return ms_json_with(object, "gc", gauge_json(process));
}

static json_t *list_json(const struct ms_processes *processes)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < processes->list.count; i++)
        list = ms_json_with_item(list, process_json(&processes->list.items[i]));
    return list;
}

ms_result ms_processes_json_write(const struct ms_view *view, const struct ms_processes *processes)
{
    json_t *document = ms_json_preface();
    document = ms_json_with(document, "unreadable", ms_json_count(processes->unreadable));
    document = ms_json_with(document, "ps", list_json(processes));
    if (!document)
        return ms_error_nomem("the report");
    json_dumpf(document, view->out, MS_JSON_FLAGS);
    putc('\n', view->out);
    json_decref(document);
    return NULL;
}
