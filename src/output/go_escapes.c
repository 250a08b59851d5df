/* Escaped variables of Go programs, as text and JSON. */
#include <string.h>

#include "json.h"
#include "memscope/goescapes.h"
#include "text.h"

/* Characters that the names of variables get at least. */
#define VARIABLE_WIDTH 24

static void write_escape(const struct ms_view *view, const struct ms_go_escape *escape)
{
    char size[16];
    int rest = VARIABLE_WIDTH - (int)strlen(escape->variable);
    fputs("    ", view->out);
    ms_write_name(view->out, escape->variable);
    fprintf(view->out, "%*s%10s  ", rest > 0 ? rest : 0, "", escape->size ? ms_size_text(escape->size, size) : "-");
    ms_write_name(view->out, escape->type ? escape->type : "?");
    fputs("  ", view->out);
    ms_write_name(view->out, escape->file ? escape->file : "?");
    fprintf(view->out, ":%d", escape->line);
    if (escape->copies > 1)
        fprintf(view->out, " (in %llu functions, by inlining)", (unsigned long long)escape->copies);
    if (escape->counted && escape->live_objects) {
        char count[32];
        fprintf(view->out, "  %s alive, %s", ms_count_text(escape->live_objects, count),
                ms_size_text(escape->live_bytes, size));
    }
    putc('\n', view->out);
}

static void write_function(const struct ms_view *view, const struct ms_go_escape *escape)
{
    fputs("  ", view->out);
    if (escape->inlined)
        fputs("inlined into ", view->out);
    ms_write_name(view->out, escape->function);
    putc('\n', view->out);
}

static void write_list(const struct ms_view *view, const struct ms_go_escapes *escapes)
{
    const struct ms_go_escape *last = NULL;
    for (size_t i = 0; i < escapes->list.count; i++) {
        const struct ms_go_escape *escape = &escapes->list.items[i];
        bool same_package = last && strcmp(last->package, escape->package) == 0;
        if (!same_package) {
            putc('\n', view->out);
            ms_style_begin(view, MS_STYLE_HEAD);
            ms_write_name(view->out, escape->package);
            ms_style_end(view);
            putc('\n', view->out);
        }
        if (!same_package || strcmp(last->function, escape->function) != 0 || last->inlined != escape->inlined)
            write_function(view, escape);
        write_escape(view, escape);
        last = escape;
    }
}

static size_t count_packages(const struct ms_go_escapes *escapes)
{
    size_t count = 0;
    for (size_t i = 0; i < escapes->list.count; i++)
        count += i == 0 || strcmp(escapes->list.items[i - 1].package, escapes->list.items[i].package) != 0;
    return count;
}

void ms_escapes_text(const struct ms_view *view, const char *target, const struct ms_go_escapes *escapes)
{
    char count[32], packages[32];
    ms_write_name(view->out, target);
    fprintf(view->out, ": the compiler moved %s variable%s to the heap, in %s package%s\n",
            ms_count_text(escapes->list.count, count), escapes->list.count == 1 ? "" : "s",
            ms_count_text(count_packages(escapes), packages), count_packages(escapes) == 1 ? "" : "s");
    if (!view->quiet)
        write_list(view, escapes);
    if (!view->quiet && escapes->counted) {
        fputs("\nalive: by the memory profile of the process", view->out);
        if (escapes->rate > 1)
            fprintf(view->out, ", an estimate from samples, one in %s bytes", ms_count_text((uint64_t)escapes->rate, count));
        fputs("; what has no figure has no sample that is alive, or shares its line\n", view->out);
    }
    if (!escapes->complete)
        fputs("some of the debug information makes no sense and was left out\n", view->out);
}

static json_t *escape_json(const struct ms_go_escape *escape)
{
    json_t *object = ms_json_with(json_object(), "package", ms_json_string(escape->package));
    object = ms_json_with(object, "function", ms_json_string(escape->function));
    object = ms_json_with(object, "file", ms_json_string(escape->file));
    object = ms_json_with(object, "line", json_integer(escape->line));
    object = ms_json_with(object, "variable", ms_json_string(escape->variable));
    object = ms_json_with(object, "type", ms_json_string(escape->type));
    object = ms_json_with(object, "size", ms_json_count(escape->size));
    object = ms_json_with(object, "copies", ms_json_count(escape->copies));
    if (escape->counted) {
        object = ms_json_with(object, "live_objects", ms_json_count(escape->live_objects));
        object = ms_json_with(object, "live_bytes", ms_json_count(escape->live_bytes));
    }
    return ms_json_with(object, "inlined", json_boolean(escape->inlined));
}

ms_result ms_escapes_json_write(const struct ms_view *view, const char *target, const struct ms_go_escapes *escapes)
{
    static const struct ms_heap no_heap;
    const struct ms_image file = {.exe = (char *)target};
    json_t *list = json_array();
    for (size_t i = 0; i < escapes->list.count; i++)
        list = ms_json_with_item(list, escape_json(&escapes->list.items[i]));
    json_t *body = ms_json_with(json_object(), "variables", list);
    if (escapes->counted)
        body = ms_json_with(body, "sample_rate", json_integer(escapes->rate));
    json_t *document = ms_json_document(ms_json_envelope(&file, &no_heap), escapes->complete, "escapes", body);
    if (!document)
        return ms_error_nomem("the report");
    json_dumpf(document, view->out, MS_JSON_FLAGS);
    json_decref(document);
    putc('\n', view->out);
    return NULL;
}
