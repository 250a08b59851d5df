/* Stacks as the traceback of a panic shows them: which calls, and their arguments. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "goroutines.h"

/* --- which calls --------------------------------------------------------------------------------
 */

bool ms_go_elides_wrapper(uint8_t callee)
{
    return callee != MS_GO_GOPANIC && callee != MS_GO_SIGPANIC && callee != MS_GO_PANICWRAP;
}

static bool is_upper(char character)
{
    return character >= 'A' && character <= 'Z';
}

/* isExportedRuntime() for NAME behind "runtime."; methods count from 1.23 on. */
static bool is_exported(const char *name, unsigned minor)
{
    const char *method = minor >= 23 ? strrchr(name, '.') : NULL;
    if (!method)
        return is_upper(*name);
    if (method - name >= 3 && !strncmp(name, "(*", 2) && method[-1] == ')')
        name += 2;
    return is_upper(method[1]) && (name == method || is_upper(*name));
}

bool ms_go_filter_shows(struct go_filter *filter, const struct ms_go_call *call)
{
    uint8_t callee = filter->callee;
    filter->callee = call->id;
    bool shown = true;
    if (call->id == MS_GO_WRAPPER && ms_go_elides_wrapper(callee))
        shown = false;
    else if ((filter->minor >= 25 && (call->id == MS_GO_RUN_FINALIZERS || call->id == MS_GO_RUN_CLEANUPS)) ||
             (!strcmp(call->function, "runtime.gopanic") && filter->shown))
        shown = true;
    else if (!strncmp(call->function, "runtime.", 8))
        shown = is_exported(call->function + 8, filter->minor);
    else
        shown = strchr(call->function, '.') != NULL;
    filter->shown += shown;
    return shown;
}

/* --- a stack ------------------------------------------------------------------------------------
 */

#define HALF (MS_GO_TRACED_MOST / 2)
/* Up to 1.20 so many frames were gone through, shown or not (_TracebackMaxFrames). */
#define OLD_FRAMES_MOST 100u
#define OLD_UNTIL       20u

/* Keeps the innermost in the first half and the latest in a ring, the second half. */
static void keep(struct ms_go_traceback *traceback, uint64_t number,
                 const struct ms_go_traced *traced)
{
    size_t at = number < HALF ? number : HALF + (number - HALF) % HALF;
    traceback->calls[at] = *traced;
}

/* Turns the ring so that its oldest call comes first. */
static void unroll(struct ms_go_traceback *traceback, uint64_t number)
{
    traceback->count = number < MS_GO_TRACED_MOST ? (unsigned)number : MS_GO_TRACED_MOST;
    if (number <= MS_GO_TRACED_MOST)
        return;
    traceback->elided = number - MS_GO_TRACED_MOST;
    traceback->elided_at = HALF;
    struct ms_go_traced ring[HALF];
    memcpy(ring, traceback->calls + HALF, sizeof ring);
    for (size_t i = 0; i < HALF; i++)
        traceback->calls[HALF + i] = ring[(number + i) % HALF];
}

/* All calls, or with FILTERED those that are shown; how many those are. */
static uint64_t go_through(const struct ms_go_goroutines *all,
                           const struct ms_go_goroutine *goroutine, bool filtered,
                           struct ms_go_traceback *traceback)
{
    struct go_filter filter = {.minor = all->go->minor};
    struct ms_go_unwinder unwinder;
    uint64_t number = 0;
    unsigned frames = 0;
    bool old = all->go->minor <= OLD_UNTIL;
    bool found = ms_go_unwind(all, goroutine, &unwinder);
    for (; found && !(old && frames == OLD_FRAMES_MOST); found = ms_go_unwind_next(&unwinder)) {
        const struct ms_go_frame *frame = &unwinder.frame;
        struct ms_go_call calls[MS_GO_INLINED_MOST];
        unsigned count = ms_go_calls_at(all->functions, frame->call, calls, MS_GO_INLINED_MOST);
        frames++;
        for (unsigned i = 0; i < count; i++) {
            if (!ms_go_filter_shows(&filter, &calls[i]) && filtered)
                continue;
            uint64_t argp = calls[i].inlined ? 0 : frame->argp;
            keep(traceback, number++,
                 &(struct ms_go_traced){calls[i], frame->pc, frame->call, argp, true});
        }
    }
    traceback->complete = found || unwinder.complete;
    traceback->cut = old && number == OLD_FRAMES_MOST;
    return number;
}

void ms_go_trace(const struct ms_go_goroutines *all, const struct ms_go_goroutine *goroutine,
                 struct ms_go_traceback *traceback)
{
    *traceback = (struct ms_go_traceback){0};
    uint64_t number = go_through(all, goroutine, true, traceback);
    if (!number)
        number = go_through(all, goroutine, false, traceback);
    unroll(traceback, number);
}

bool ms_go_creator(const struct ms_go_goroutines *all, uint64_t created_at,
                   struct ms_go_traced *creator)
{
    struct ms_go_function function;
    if (!ms_go_function_at(all->functions, created_at, &function))
        return false;
    struct ms_go_call calls[MS_GO_INLINED_MOST];
    uint64_t pc = created_at > function.entry ? created_at - 1 : created_at;
    unsigned count = ms_go_calls_at(all->functions, pc, calls, MS_GO_INLINED_MOST);
    struct go_filter filter = {.minor = all->go->minor, .shown = 1};
    if (!count)
        return false;
    /* The function's own name, with the line of what was inlined: printcreatedby1(). */
    struct ms_go_call call = calls[count - 1];
    call.file = calls[0].file;
    call.line = calls[0].line;
    *creator = (struct ms_go_traced){.call = call, .pc = created_at, .lookup = pc};
    creator->shown = ms_go_filter_shows(&filter, &call);
    return creator->shown;
}

/* --- arguments ----------------------------------------------------------------------------------
 */

/* What describes them: offsets and sizes, with these between (src/internal/abi/type.go). */
enum {
    ARGUMENTS_END = 0xff,
    AGGREGATE_START = 0xfe,
    AGGREGATE_END = 0xfd,
    DOTS = 0xfc,
    OFFSET_TOO_LARGE = 0xfb,
};
#define INFO_MOST 171u /* abi.TraceArgsMaxLen */

/* Which slots are known to hold their argument still; up to 1.17 nothing is known. */
struct liveness {
    bool known;
    uint8_t first; /* slots at smaller offsets always do */
    uint8_t bits[32];
};

static struct liveness liveness_at(struct ms_go_functions *functions,
                                   const struct ms_go_function *function, uint64_t pc)
{
    struct liveness liveness = {0};
    uint64_t info = ms_go_funcdata(functions, function, MS_GO_ARGUMENT_LIVE_INFO);
    if (!info || !ms_go_read_constant(functions, info, &liveness.first, 1))
        return (struct liveness){.first = 0xff};
    int32_t index = ms_go_pcdata(functions, function, MS_GO_ARGUMENT_LIVE_INDEX, pc);
    liveness.known = index > 0 && ms_go_read_constant(functions, info + (uint64_t)index,
                                                      liveness.bits, sizeof liveness.bits);
    return liveness;
}

static bool is_live(const struct liveness *liveness, uint8_t offset, uint8_t slot)
{
    return !liveness->known || offset < liveness->first ||
           liveness->bits[slot / 8] >> (slot % 8) & 1;
}

struct text {
    char *at, *end;
};

static void put(struct text *text, const char *words)
{
    size_t length = strlen(words), room = (size_t)(text->end - text->at);
    length = length < room ? length : room - 1;
    memcpy(text->at, words, length);
    text->at += length;
    *text->at = '\0';
}

/* The SIZE bytes at ADDRESS as a number. */
static void put_value(struct text *text, const struct ms_image *image, uint64_t address,
                      uint8_t size, bool live)
{
    uint64_t value = 0;
    char number[24];
    ms_image_read(image, address, &value, size < sizeof value ? size : sizeof value);
    snprintf(number, sizeof number, "0x%" PRIx64 "%s", value, live ? "" : "?");
    put(text, number);
}

char *ms_go_arguments(const struct ms_go_goroutines *all, const struct ms_go_traced *traced,
                      char buffer[MS_GO_ARGUMENTS_TEXT])
{
    struct text text = {buffer, buffer + MS_GO_ARGUMENTS_TEXT};
    struct ms_go_function function;
    *buffer = '\0';
    if (traced->call.inlined) {
        put(&text, "...");
        return buffer;
    }
    if (!traced->argp || !ms_go_function_at(all->functions, traced->lookup, &function))
        return buffer;
    uint64_t info = ms_go_funcdata(all->functions, &function, MS_GO_ARGUMENT_INFO);
    struct liveness liveness = liveness_at(all->functions, &function, traced->lookup);
    bool first = true;
    uint8_t slot = 0;
    for (unsigned i = 0; info && i < INFO_MOST; i++) {
        uint8_t code, size;
        if (!ms_go_read_constant(all->functions, info + i, &code, 1) || code == ARGUMENTS_END)
            break;
        if (code != AGGREGATE_END && !first)
            put(&text, ", ");
        first = code == AGGREGATE_START;
        if (code == AGGREGATE_START) {
            put(&text, "{");
        } else if (code == AGGREGATE_END) {
            put(&text, "}");
        } else if (code == DOTS) {
            put(&text, "...");
        } else if (code == OFFSET_TOO_LARGE) {
            put(&text, "_");
        } else if (ms_go_read_constant(all->functions, info + ++i, &size, 1)) {
            put_value(&text, all->go->image, traced->argp + code, size,
                      is_live(&liveness, code, slot));
            slot += code >= liveness.first;
        }
    }
    return buffer;
}
