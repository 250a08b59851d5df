/* Prints stacks with all locals, or variables at addresses, as JSON: what frames.py compares with gdb. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "memscope/capture.h"
#include "memscope/frames.h"
#include "memscope/graph.h"

static void or_die(struct ms_error *error)
{
    if (!error)
        return;
    fprintf(stderr, "stacks: %s\n", error->message);
    exit(3);
}

static json_t *local_json(const struct ms_local *local)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(local->name));
    json_object_set_new(object, "type", json_string(local->type->name));
    json_object_set_new(object, "size", json_integer((json_int_t)local->type->size));
    json_object_set_new(object, "address", json_integer((json_int_t)local->address));
    json_object_set_new(object, "value", json_integer((json_int_t)local->value));
    json_object_set_new(object, "valued", json_boolean(local->valued));
    json_object_set_new(object, "parameter", json_boolean(local->parameter));
    json_object_set_new(object, "register", json_integer(local->reg));
    json_object_set_new(object, "saved", json_integer((json_int_t)local->saved));
    return object;
}

static json_t *frame_json(const struct ms_frame *frame)
{
    json_t *locals = json_array();
    for (size_t i = 0; i < frame->locals.count; i++)
        json_array_append_new(locals, local_json(&frame->locals.items[i]));
    return json_pack("{s:I, s:I, s:s?, s:s?, s:s?, s:i, s:b, s:o}", "pc", (json_int_t)frame->pc, "cfa",
                     (json_int_t)frame->cfa, "function", frame->function, "module", frame->module, "file",
                     frame->file, "line", (int)frame->line, "inlined", frame->inlined, "locals", locals);
}

static json_t *stack_json(struct ms_types *types, const struct ms_thread *thread)
{
    struct ms_stack stack;
    json_t *frames = json_array();
    or_die(ms_unwind(types, thread, true, &stack));
    for (size_t i = 0; i < stack.frames.count; i++)
        json_array_append_new(frames, frame_json(&stack.frames.items[i]));
    json_t *json = json_pack("{s:i, s:b, s:o}", "thread", (int)stack.tid, "complete", stack.complete, "frames",
                             frames);
    ms_stack_free(&stack);
    return json;
}

static json_t *stacks_json(struct ms_types *types, const struct ms_image *image)
{
    json_t *stacks = json_array();
    for (size_t i = 0; i < image->thread_count; i++)
        json_array_append_new(stacks, stack_json(types, &image->threads[i]));
    return stacks;
}

/* The variable at each of the addresses, or null. */
static json_t *places_json(struct ms_types *types, char **texts)
{
    json_t *places = json_array();
    for (; *texts; texts++) {
        struct ms_place_type place;
        uint64_t address = strtoull(*texts, NULL, 0);
        or_die(ms_types_find(types, &address, 1, &place));
        json_array_append_new(places, !place.variable ? json_null()
                                                      : json_pack("{s:s, s:I, s:i}", "name", place.variable->name,
                                                                  "offset", (json_int_t)place.offset, "thread",
                                                                  (int)place.tid));
    }
    return places;
}

/* stacks TARGET: of a lean image. stacks TARGET ADDRESS...: of a full one, for libc has its lists in the heap. */
int main(int argc, char **argv)
{
    struct ms_scan *scan;
    struct ms_image *image;
    struct ms_symbols *symbols;
    struct ms_types *types;
    struct ms_symbols_options options = {0};
    if (argc < 2)
        return 2;
    or_die(ms_scan_new(&scan));
    struct ms_capture_options capture = {.want = argc > 2 ? MS_WANT_FULL : MS_WANT_LEAN, .sink = ms_scan_sink(scan)};
    or_die(ms_open_target(argv[1], &capture, &image));
    or_die(ms_scan_finish(scan, image));
    or_die(ms_symbols_new(image, &options, &symbols));
    or_die(ms_types_new(symbols, image, NULL, NULL, &types));
    json_t *answer = argc > 2 ? places_json(types, argv + 2) : stacks_json(types, image);
    int failed = json_dumpf(answer, stdout, JSON_COMPACT);
    json_decref(answer);
    ms_types_free(types);
    ms_symbols_free(symbols);
    ms_scan_free(scan);
    ms_image_free(image);
    return failed ? 3 : 0;
}
