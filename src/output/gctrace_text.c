/* A cycle of Go's collector as a line: in the format of GODEBUG=gctrace=1, and as JSON. */
#include <inttypes.h>
#include <stdio.h>

#include "json.h"

/* fmtNSAsMS() of src/runtime/mgc.go: two digits that count, at most three behind the point. */
static void write_ms(FILE *out, uint64_t ns, bool known)
{
    uint64_t value = ns / 1000;
    int digits = 3;
    if (!known) {
        putc('-', out);
        return;
    }
    if (ns >= 10000000) {
        fprintf(out, "%" PRIu64, ns / 1000000);
        return;
    }
    for (; value >= 100; digits--)
        value /= 10;
    uint64_t unit = digits == 3 ? 1000 : digits == 2 ? 100 : 10;
    if (value)
        fprintf(out, "%" PRIu64 ".%0*" PRIu64, value / unit, digits, value % unit);
    else
        putc('0', out);
}

static void write_number(FILE *out, uint64_t number, bool known)
{
    if (known)
        fprintf(out, "%" PRIu64, number);
    else
        putc('-', out);
}

static void write_mb(FILE *out, uint64_t bytes, bool known, const char *what)
{
    write_number(out, bytes >> 20, known);
    fputs(what, out);
}

void ms_go_cycle_text(FILE *out, const struct ms_go_cycle *c, unsigned minor)
{
    const bool start = c->known & MS_GO_KNOWN_START, end = c->known & MS_GO_KNOWN_END;
    const struct {
        uint64_t ns;
        bool known;
        char before;
    } times[] = {
        {c->sweep_term_ns, start, 0}, {c->mark_ns, start, '+'},
        {c->mark_term_ns, end, '+'},  {c->sweep_term_cpu, start, 0},
        {c->assist_cpu, start, '+'},  {c->background_cpu, start, '/'},
        {c->idle_cpu, start, '/'},    {c->mark_term_cpu, start && end, '+'},
    };
    fprintf(out, "gc %" PRIu32 " @", c->number);
    if (start)
        fprintf(out, "%" PRIu64 ".%03" PRIu64, c->begin / 1000000000, c->begin / 1000000 % 1000);
    else
        putc('-', out);
    fputs("s ", out);
    write_number(out, (uint64_t)c->percent, end);
    fputs("%: ", out);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        if (i == 3)
            fputs(" ms clock, ", out);
        if (times[i].before)
            putc(times[i].before, out);
        write_ms(out, times[i].ns, times[i].known);
    }
    fputs(" ms cpu, ", out);
    write_mb(out, c->heap_start, start, "->");
    write_mb(out, c->heap_marked_at, end, "->");
    write_mb(out, c->heap_live, end, " MB, ");
    write_mb(out, c->goal, c->known & MS_GO_KNOWN_GOAL, " MB goal, ");
    if (minor >= 18) {
        write_mb(out, c->stacks, c->known & MS_GO_KNOWN_STACKS, " MB stacks, ");
        write_mb(out, c->globals, c->known & MS_GO_KNOWN_GLOBALS, " MB globals, ");
    }
    write_number(out, c->processors, start);
    fprintf(out, " P%s\n",
            !(c->known & MS_GO_KNOWN_FORCED) ? " (-)"
            : c->forced                      ? " (forced)"
                                             : "");
}

ms_result ms_go_cycle_json_write(FILE *out, const struct ms_go_cycle *c)
{
    const struct {
        const char *name;
        uint64_t value;
        unsigned needs;
    } members[] = {
        {"begin_ns", c->begin, MS_GO_KNOWN_START},
        {"cpu_percent", (uint64_t)c->percent, MS_GO_KNOWN_END},
        {"sweep_term_ns", c->sweep_term_ns, MS_GO_KNOWN_START},
        {"mark_ns", c->mark_ns, MS_GO_KNOWN_START},
        {"mark_term_ns", c->mark_term_ns, MS_GO_KNOWN_END},
        {"sweep_term_cpu_ns", c->sweep_term_cpu, MS_GO_KNOWN_START},
        {"assist_cpu_ns", c->assist_cpu, MS_GO_KNOWN_START},
        {"background_cpu_ns", c->background_cpu, MS_GO_KNOWN_START},
        {"idle_cpu_ns", c->idle_cpu, MS_GO_KNOWN_START},
        {"mark_term_cpu_ns", c->mark_term_cpu, MS_GO_KNOWN_START},
        {"heap_start", c->heap_start, MS_GO_KNOWN_START},
        {"heap_end", c->heap_marked_at, MS_GO_KNOWN_END},
        {"heap_live", c->heap_live, MS_GO_KNOWN_END},
        {"goal", c->goal, MS_GO_KNOWN_GOAL},
        {"stacks", c->stacks, MS_GO_KNOWN_STACKS},
        {"globals", c->globals, MS_GO_KNOWN_GLOBALS},
        {"processors", c->processors, MS_GO_KNOWN_START},
        {"pause_ns", c->pause_ns, MS_GO_KNOWN_PAUSE},
        {"pause_end", c->pause_end, MS_GO_KNOWN_PAUSE},
    };
    json_t *object = ms_json_with(json_object(), "gc", ms_json_count(c->number));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        object = ms_json_with(object, members[i].name,
                              c->known & members[i].needs ? ms_json_count(members[i].value)
                                                          : json_null());
    object = ms_json_with(object, "forced",
                          c->known & MS_GO_KNOWN_FORCED ? json_boolean(c->forced) : json_null());
    if (!object)
        return ms_error_nomem("the trace");
    json_dumpf(object, out, JSON_COMPACT | JSON_ENSURE_ASCII);
    putc('\n', out);
    json_decref(object);
    return NULL;
}
