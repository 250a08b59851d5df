/* What keeps memory of a Go program alive by habit: as a sentence for all views, as text and JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "escape.h"
#include "json.h"
#include "text.h"

/* More only with --verbose. */
#define SHOWN 10u

/* --- the sentence ------------------------------------------------------------------------------ */

/* "time.AfterFunc of main.(*session).expire" */
static void write_timers(FILE *out, const struct ms_go_suspect *s)
{
    static const char *const makers[MS_GO_TIMER_KINDS] = {
        [MS_GO_TIMER_FUNCTION] = "time.AfterFunc", [MS_GO_TIMER_CHANNEL] = "time.NewTimer or time.After",
        [MS_GO_TIMER_TICKER] = "time.NewTicker",   [MS_GO_TIMER_SLEEP] = "time.Sleep",
        [MS_GO_TIMER_OTHER] = "the runtime",
    };
    const bool deadline = s->function && !strncmp(s->function, "context.", 8);
    fprintf(out, " timers (%s%s", deadline ? "deadlines of contexts: " : "", makers[s->timer]);
    if (s->function && (s->timer == MS_GO_TIMER_FUNCTION || s->timer == MS_GO_TIMER_OTHER))
        fprintf(out, " of %s", s->function);
    fputs(") keep", out);
}

static void write_subject(FILE *out, const struct ms_go_suspect *s)
{
    char count[32];
    ms_count_text(s->count, count);
    if (s->kind == MS_GO_SUSPECT_VALUES) {
        fprintf(out, "a chain of %s contexts with values keeps", count);
        return;
    }
    fputs(count, out);
    switch (s->kind) {
    case MS_GO_SUSPECT_TIMERS:
        write_timers(out, s);
        break;
    case MS_GO_SUSPECT_CHILDREN:
        fputs(" child contexts that nothing but their parent still has keep", out);
        break;
    case MS_GO_SUSPECT_FINALIZERS:
        fputs(" finalizers that are still to run keep", out);
        break;
    case MS_GO_SUSPECT_CLEANUPS:
        fputs(" cleanups that are still to run keep", out);
        break;
    case MS_GO_SUSPECT_CYCLES:
        fprintf(out, " object%s with a finalizer that lead%s back to %s keep%s", s->count == 1 ? "" : "s",
                s->count == 1 ? "s" : "", s->count == 1 ? "itself" : "themselves", s->count == 1 ? "s" : "");
        break;
    case MS_GO_SUSPECT_VALUES:
    case MS_GO_SUSPECT_KINDS:
        break;
    }
}

ms_result ms_go_suspect_text(const struct ms_go_suspect *suspect, uint64_t live, char **text)
{
    size_t size = 0;
    char bytes[16], share[16];
    *text = NULL;
    FILE *out = open_memstream(text, &size);
    if (!out)
        return ms_error_nomem("the report");
    write_subject(out, suspect);
    fprintf(out, " %s (%s) alive%s", ms_size_text(suspect->retained.bytes, bytes),
            ms_share_text(suspect->retained.bytes, live, share),
            suspect->kind == MS_GO_SUSPECT_CYCLES ? " for ever" : "");
    const bool failed = ferror(out);
    if (fclose(out) == 0 && !failed)
        return NULL;
    free(*text);
    *text = NULL;
    return ms_error_nomem("the report");
}

/* --- text -------------------------------------------------------------------------------------- */

static void write_wait(FILE *out, uint64_t ns)
{
    const uint64_t minutes = ns / 60000000000u;
    if (minutes)
        fprintf(out, ", %" PRIu64 " minute%s", minutes, minutes == 1 ? "" : "s");
}

/* What the goroutine is doing that should run them. */
static void write_runner(FILE *out, const struct ms_go_suspect *s)
{
    if (!s->goroutine) {
        fputs("    no goroutine runs them\n", out);
        return;
    }
    fprintf(out, "    goroutine %" PRIu64 ", which runs them, is ", s->goroutine);
    if (s->function) {
        fputs("in ", out);
        ms_write_name(out, s->function);
        fputs(" (", out);
    }
    fputs(s->state ? s->state : "?", out);
    write_wait(out, s->waited_ns);
    fputs(s->function ? ")\n" : "\n", out);
}

static void write_details(FILE *out, const struct ms_go_suspect *s)
{
    char count[32], size[16];
    if (s->address) {
        fprintf(out, "    0x%" PRIx64, s->address);
        if (s->type) {
            putc(' ', out);
            ms_write_name(out, s->type);
        }
        if (s->kind == MS_GO_SUSPECT_CHILDREN)
            fprintf(out, ", which has %s child%s", ms_count_text(s->children, count),
                    s->children == 1 ? "" : "ren");
        if (s->root) {
            fputs(", held by ", out);
            ms_write_name(out, s->root);
        }
        putc('\n', out);
    }
    if (s->expression) {
        fputs("    ", out);
        ms_write_name(out, s->expression);
        putc('\n', out);
    }
    if (s->kind == MS_GO_SUSPECT_FINALIZERS || s->kind == MS_GO_SUSPECT_CLEANUPS)
        write_runner(out, s);
    if (s->far)
        fprintf(out, "    %s of them fire in an hour at the earliest\n", ms_count_text(s->far, count));
    if (s->stopped)
        fprintf(out, "    %s of them are stopped, and the runtime has not taken them out yet\n",
                ms_count_text(s->stopped, count));
    if (s->most) {
        fprintf(out, "    most of it: %s in %s ", ms_size_text(s->most_of.bytes, size),
                ms_count_text(s->most_of.blocks, count));
        ms_write_name(out, s->most);
        putc('\n', out);
    }
}

ms_result ms_go_suspects_text(const struct ms_view *view, const struct ms_go_suspects *suspects, uint64_t live)
{
    if (!suspects->list.count)
        return NULL;
    putc('\n', view->out);
    ms_style_begin(view, MS_STYLE_HEAD);
    fputs("kept by timers, contexts or finalizers", view->out);
    ms_style_end(view);
    putc('\n', view->out);
    size_t i = 0;
    for (; i < suspects->list.count && (i < SHOWN || view->verbose); i++) {
        const struct ms_go_suspect *suspect = &suspects->list.items[i];
        ms_auto_free char *text = NULL;
        MS_TRY(ms_go_suspect_text(suspect, live, &text));
        fputs("  ", view->out);
        ms_style_begin(view, MS_STYLE_DOUBT);
        ms_write_name(view->out, text);
        ms_style_end(view);
        putc('\n', view->out);
        write_details(view->out, suspect);
    }
    if (i < suspects->list.count)
        fprintf(view->out, "  ... and %zu more (--verbose)\n", suspects->list.count - i);
    return NULL;
}

/* --- JSON -------------------------------------------------------------------------------------- */

static json_t *of_timers(json_t *object, const struct ms_go_suspect *s)
{
    object = ms_json_with(object, "timer", json_string(ms_go_timer_names[s->timer]));
    object = ms_json_with(object, "function", ms_json_string(s->function));
    object = ms_json_with(object, "stopped", ms_json_count(s->stopped));
    return ms_json_with(object, "in_an_hour_or_later", ms_json_count(s->far));
}

static json_t *of_queue(json_t *object, const struct ms_go_suspect *s)
{
    object = ms_json_with(object, "goroutine", s->goroutine ? ms_json_count(s->goroutine) : json_null());
    object = ms_json_with(object, "function", ms_json_string(s->function));
    object = ms_json_with(object, "state", ms_json_string(s->state));
    return ms_json_with(object, "waited_ns", ms_json_count(s->waited_ns));
}

static json_t *suspect_json(const struct ms_go_suspect *s)
{
    json_t *object = ms_json_with(json_object(), "kind", json_string(ms_go_suspect_names[s->kind]));
    object = ms_json_with(object, "count", ms_json_count(s->count));
    object = ms_json_with(object, "retained_bytes", ms_json_count(s->retained.bytes));
    object = ms_json_with(object, "retained_blocks", ms_json_count(s->retained.blocks));
    object = ms_json_with(object, "share", json_real(s->share));
    object = ms_json_with(object, "most_type", ms_json_string(s->most));
    object = ms_json_with(object, "most_of", s->most ? ms_json_tally(&s->most_of) : json_null());
    if (s->kind == MS_GO_SUSPECT_TIMERS)
        object = of_timers(object, s);
    else if (s->kind == MS_GO_SUSPECT_FINALIZERS || s->kind == MS_GO_SUSPECT_CLEANUPS)
        object = of_queue(object, s);
    if (!s->address)
        return object;
    object = ms_json_with(object, "address", ms_json_address(s->address));
    object = ms_json_with(object, "type", ms_json_string(s->type));
    object = ms_json_with(object, "root", ms_json_string(s->root));
    object = ms_json_with(object, "expression", ms_json_string(s->expression));
    return s->kind == MS_GO_SUSPECT_CHILDREN ? ms_json_with(object, "children", ms_json_count(s->children))
                                             : object;
}

json_t *ms_go_suspects_json(const struct ms_go_suspects *suspects)
{
    json_t *list = json_array();
    for (size_t i = 0; i < suspects->list.count; i++)
        list = ms_json_with_item(list, suspect_json(&suspects->list.items[i]));
    return list;
}
