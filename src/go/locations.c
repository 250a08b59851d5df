/* Stacks of return addresses as locations of a profile, after profileBuilder of src/runtime/pprof/proto.go. */
#include <search.h>
#include <string.h>

#include "memscope/goprofile.h"

/* Calls that may have been inlined into each other at one address. */
#define INLINED_MOST 64u

/* A frame of a stack: one return address has one, as the runtime records those of inlined calls too. */
struct frame {
    uint64_t pc;      /* as it is in the stack; 0: lost when the stack was cut, and found again */
    uint64_t address; /* of the call */
    struct ms_go_call call;
    bool found; /* CALL is valid: it is Go code */
};

/* A location that is there already. */
struct known {
    uint64_t pc;
    size_t location;
    size_t pc_count; /* of the stack, that it stands for */
};

struct ms_go_locator {
    struct ms_go *go;
    struct ms_go_functions *functions;
    struct ms_profile *profile;
    void *known; /* struct known by pc, of tsearch() */
    MS_VECTOR(struct frame) frames;
};

static int compare(const void *a, const void *b)
{
    uint64_t x = ((const struct known *)a)->pc, y = ((const struct known *)b)->pc;
    return x < y ? -1 : x > y;
}

ms_result ms_go_locator_new(struct ms_go *go, struct ms_go_functions *functions,
                            struct ms_profile *profile, struct ms_go_locator **locator)
{
    *locator = calloc(1, sizeof **locator);
    if (!*locator)
        return ms_error_nomem("a profile");
    (*locator)->go = go;
    (*locator)->functions = functions;
    (*locator)->profile = profile;
    return NULL;
}

void ms_go_locator_free(struct ms_go_locator *locator)
{
    if (!locator)
        return;
    tdestroy(locator->known, free);
    ms_vector_free(&locator->frames);
    free(locator);
}

static bool is_exit(const struct frame *frame)
{
    return frame->found && strcmp(frame->call.function, "runtime.goexit") == 0;
}

static ms_result add_frame(struct ms_go_locator *locator, const struct frame *frame)
{
    struct frame *added = ms_vector_add(&locator->frames);
    if (!added)
        return ms_error_nomem("a profile");
    *added = *frame;
    return NULL;
}

/*
 * The frames of a stack. A stack that was cut between calls inlined into each other has those around the
 * last one added again (runtime_expandFinalInlineFrame).
 */
static ms_result expand(struct ms_go_locator *locator, const uint64_t *pcs, size_t count)
{
    struct ms_go_call calls[INLINED_MOST];
    locator->frames.count = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned most = i + 1 == count ? INLINED_MOST : 1;
        unsigned found = ms_go_calls_at(locator->functions, pcs[i] - 1, calls, most);
        struct frame frame = {.pc = pcs[i], .address = pcs[i] - 1, .found = found > 0};
        if (found)
            frame.call = *calls;
        MS_TRY(add_frame(locator, &frame));
        for (unsigned k = 1; k < found; k++) {
            struct frame outer = {.address = pcs[i] - 1, .call = calls[k], .found = true};
            MS_TRY(add_frame(locator, &outer));
        }
    }
    return NULL;
}

/* Was the call of FRAME inlined into that of OUTER, which follows it on the stack? (pcDeck.tryAdd) */
static bool belongs(const struct frame *frame, const struct frame *outer)
{
    return frame->found && outer->found && frame->call.inlined &&
           frame->call.entry == outer->call.entry &&
           strcmp(frame->call.function, outer->call.function) != 0;
}

static ms_result add_line(struct ms_go_locator *locator, const struct frame *frame, bool *complete)
{
    const struct ms_go_call *call = &frame->call;
    const char *name = frame->found ? call->function : "", *file = frame->found ? call->file : "";
    *complete = *complete && *name && file && *file && call->line;
    uint32_t function;
    MS_TRY(ms_profile_function(locator->profile, name, file, call->start_line, &function));
    return ms_profile_line(locator->profile, function, call->line);
}

/* Makes a location of the first COUNT of FRAMES. */
static ms_result make_location(struct ms_go_locator *locator, const struct frame *frames,
                               size_t count, size_t *location)
{
    bool complete = true;
    MS_TRY(ms_profile_location(locator->profile, frames->address, location));
    for (size_t i = 0; i < count; i++)
        MS_TRY(add_line(locator, &frames[i], &complete));
    size_t place = ms_profile_mapping_at(locator->profile, frames->address);
    if (place != SIZE_MAX) {
        struct ms_profile_mapping *mapping = &locator->profile->mappings.items[place];
        mapping->looked_up = true;
        mapping->failed = mapping->failed || !complete;
    }
    if (!frames->pc)
        return NULL;
    struct known *known = malloc(sizeof *known);
    if (!known)
        return ms_error_nomem("a profile");
    *known = (struct known){frames->pc, *location, count};
    if (tsearch(known, &locator->known, compare))
        return NULL;
    free(known);
    return ms_error_nomem("a profile");
}

ms_result ms_go_locate(struct ms_go_locator *locator, const uint64_t *pcs, size_t count)
{
    MS_TRY(expand(locator, pcs, count));
    const struct frame *frame = locator->frames.items, *end = frame + locator->frames.count;
    while (frame < end) {
        if (is_exit(frame)) {
            frame++;
            continue;
        }
        struct known wanted = {.pc = frame->pc}, **known = tfind(&wanted, &locator->known, compare);
        size_t taken = 1, location;
        if (known) {
            location = (*known)->location;
            taken = (*known)->pc_count;
        } else {
            while (frame + taken < end && belongs(&frame[taken - 1], &frame[taken]))
                taken++;
            MS_TRY(make_location(locator, frame, taken, &location));
        }
        MS_TRY(ms_profile_frame(locator->profile, location));
        frame += taken < (size_t)(end - frame) ? taken : (size_t)(end - frame);
    }
    return NULL;
}
