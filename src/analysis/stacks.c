/* Stacks as people read them: the function that a thread is in, and all its locals decoded. */
#include "memscope/stacks.h"

#include <string.h>

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

ms_result ms_thread_doing(struct ms_types *types, const struct ms_thread *thread, struct ms_doing *doing)
{
    struct ms_stack stack;
    *doing = (struct ms_doing){0};
    if (!thread->registers_known)
        return NULL;
    MS_TRY(ms_unwind(types, thread, false, &stack));
    if (stack.frames.count)
        doing->function = stack.frames.items[0].function;
    for (size_t i = 1; i < stack.frames.count && !doing->caller; i++)
        if (!same(stack.frames.items[i].module, stack.frames.items[0].module))
            doing->caller = stack.frames.items[i].function;
    ms_stack_free(&stack);
    return NULL;
}

/* Takes the values of LOCAL over; one that has none gets a line all the same. */
static struct ms_error *take_values(struct ms_decoded_stack *decoded, size_t frame, const struct ms_local *local,
                                    struct ms_values *values)
{
    const size_t count = values->list.count;
    for (size_t i = 0; i < (count ? count : 1); i++) {
        struct ms_stack_value *value = ms_vector_add(&decoded->values);
        if (!value)
            return ms_error_nomem("the locals");
        *value = (struct ms_stack_value){.frame = frame, .local = local, .decoded = count};
        if (!count)
            return NULL;
        value->value = values->list.items[i];
        values->list.items[i].path = values->list.items[i].target = NULL;
    }
    return NULL;
}

static struct ms_error *add_local(const struct ms_decoder *decoder, size_t frame, const struct ms_local *local,
                                  size_t most, struct ms_decoded_stack *decoded)
{
    struct ms_values values = {0};
    if (most)
        MS_TRY(ms_decode_local(decoder, local, most, &values));
    struct ms_error *error = take_values(decoded, frame, local, &values);
    ms_values_free(&values);
    return error;
}

static struct ms_error *add_locals(const struct ms_decoder *decoder, size_t most_each, size_t most,
                                   struct ms_decoded_stack *decoded)
{
    for (size_t f = 0; f < decoded->stack.frames.count; f++) {
        const struct ms_frame *frame = &decoded->stack.frames.items[f];
        for (size_t i = 0; i < frame->locals.count; i++) {
            const size_t each = decoded->values.count < most ? most_each : 0;
            MS_TRY(add_local(decoder, f, &frame->locals.items[i], each, decoded));
        }
    }
    return NULL;
}

ms_result ms_decode_stack(const struct ms_decoder *decoder, const struct ms_thread *thread, size_t most_each,
                          size_t most, struct ms_decoded_stack *decoded)
{
    *decoded = (struct ms_decoded_stack){.stack.tid = thread->tid};
    if (!thread->registers_known)
        return NULL;
    MS_TRY(ms_unwind(decoder->types, thread, true, &decoded->stack));
    struct ms_error *error = add_locals(decoder, most_each, most, decoded);
    if (error)
        ms_decoded_stack_free(decoded);
    return error;
}

void ms_decoded_stack_free(struct ms_decoded_stack *decoded)
{
    for (size_t i = 0; i < decoded->values.count; i++) {
        free(decoded->values.items[i].value.path);
        free(decoded->values.items[i].value.target);
    }
    ms_vector_free(&decoded->values);
    ms_stack_free(&decoded->stack);
}
