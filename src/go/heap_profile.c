/* The heap profile of pprof, after writeHeapProto of src/runtime/pprof/protomem.go. */
#include <math.h>
#include <string.h>

#include "memscope/goprofile.h"

/* What int64 ends before. */
#define FLOAT_LIMIT 9223372036854775808.0
/* internal/runtime/ is the runtime too, since 1.24. */
#define RUNTIME_PACKAGES_SINCE 24u

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Is the code at the return address PC the runtime's? runtime.FuncForPC() is asked, without a step
 * back. */
static bool in_runtime(struct ms_go *go, struct ms_go_functions *functions, uint64_t pc)
{
    struct ms_go_call call;
    return ms_go_calls_at(functions, pc, &call, 1) == 1 &&
           (starts_with(call.function, "runtime.") ||
            (go->minor >= RUNTIME_PACKAGES_SINCE && starts_with(call.function, "internal/runtime/")));
}

/* As many as a float64 that a Go program converts to int64 gives on amd64. */
static int64_t to_integer(double value)
{
    return value < FLOAT_LIMIT && value >= -FLOAT_LIMIT ? (int64_t)value : INT64_MIN;
}

/* Divides what was counted by the probability of being counted (scaleHeapSample). */
void ms_go_scale_sample(int64_t count, int64_t size, int64_t rate, int64_t scaled[2])
{
    double factor = 1;
    scaled[0] = scaled[1] = 0;
    if (count == 0 || size == 0)
        return;
    scaled[0] = count;
    scaled[1] = size;
    if (rate <= 1)
        return;
    factor = 1 / (1 - exp(-((double)size / (double)count) / (double)rate));
    scaled[0] = to_integer((double)count * factor);
    scaled[1] = to_integer((double)size * factor);
}

/* Frames of the runtime that lead to the allocation are left out, unless there are no others. */
static ms_result locate(struct ms_go *go, struct ms_go_functions *functions, struct ms_go_locator *locator,
                        const struct ms_profile *profile, const uint64_t *pcs, size_t count)
{
    size_t hidden = 0;
    while (hidden < count && in_runtime(go, functions, pcs[hidden]))
        hidden++;
    if (hidden == count)
        hidden = 0;
    size_t frames = profile->frames.count;
    MS_TRY(ms_go_locate(locator, pcs + hidden, count - hidden));
    return profile->frames.count == frames ? ms_go_locate(locator, pcs, count) : NULL;
}

static ms_result add_sample(struct ms_profile *profile, int64_t rate, const struct ms_go_bucket *bucket)
{
    struct ms_profile_sample *sample;
    MS_TRY(ms_profile_sample(profile, &sample));
    int64_t objects, bytes;
    if (__builtin_sub_overflow(bucket->allocs, bucket->frees, &objects) ||
        __builtin_sub_overflow(bucket->alloc_bytes, bucket->free_bytes, &bytes))
        objects = bytes = 0;
    ms_go_scale_sample(bucket->allocs, bucket->alloc_bytes, rate, sample->values);
    ms_go_scale_sample(objects, bytes, rate, sample->values + 2);
    int64_t size = bucket->allocs > 0 ? bucket->alloc_bytes / bucket->allocs : 0;
    return size ? ms_profile_label(profile, "bytes", NULL, size) : NULL;
}

static ms_result fill(struct ms_go *go, struct ms_go_functions *functions, struct ms_go_locator *locator,
                      const struct ms_go_buckets *buckets, struct ms_profile *profile)
{
    for (size_t i = 0; i < buckets->list.count; i++) {
        const struct ms_go_bucket *bucket = &buckets->list.items[i];
        MS_TRY(add_sample(profile, buckets->rate, bucket));
        MS_TRY(locate(go, functions, locator, profile, buckets->pcs.items + bucket->first_pc, bucket->pc_count));
    }
    return NULL;
}

ms_result ms_go_heap_profile(struct ms_go *go, struct ms_go_functions *functions,
                             const struct ms_go_buckets *buckets, struct ms_profile *profile)
{
    MS_TRY(ms_profile_unit(profile, "alloc_objects", "count"));
    MS_TRY(ms_profile_unit(profile, "alloc_space", "bytes"));
    MS_TRY(ms_profile_unit(profile, "inuse_objects", "count"));
    MS_TRY(ms_profile_unit(profile, "inuse_space", "bytes"));
    MS_TRY(ms_profile_string(profile, "space", &profile->period_unit.type));
    MS_TRY(ms_profile_string(profile, "bytes", &profile->period_unit.unit));
    profile->period = buckets->rate;
    MS_TRY(ms_profile_map(profile, go->image));
    struct ms_go_locator *locator;
    MS_TRY(ms_go_locator_new(go, functions, profile, &locator));
    struct ms_error *error = fill(go, functions, locator, buckets, profile);
    ms_go_locator_free(locator);
    return error;
}
