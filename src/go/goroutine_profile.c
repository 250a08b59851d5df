/* The goroutine profile of pprof, after printCountProfile of src/runtime/pprof/pprof.go. */
#include "memscope/goprofile.h"

static ms_result add_labels(const struct ms_go_goroutines *goroutines, size_t goroutine,
                            struct ms_profile *profile)
{
    struct ms_go_labels labels = {0};
    MS_TRY(ms_go_labels_read(goroutines, &goroutines->list.items[goroutine], &labels));
    struct ms_error *error = NULL;
    for (size_t i = 0; i < labels.list.count && !error; i++) {
        const struct ms_go_label *label = &labels.list.items[i];
        error = ms_profile_label(profile, label->key, label->value, 0);
    }
    ms_go_labels_free(&labels);
    return error;
}

static ms_result fill(const struct ms_go_goroutines *goroutines, const struct ms_go_groups *groups,
                      struct ms_go_locator *locator, struct ms_profile *profile)
{
    for (size_t i = 0; i < groups->list.count; i++) {
        const struct ms_go_group *group = &groups->list.items[i];
        struct ms_profile_sample *sample;
        MS_TRY(ms_profile_sample(profile, &sample));
        sample->values[0] = (int64_t)group->count;
        MS_TRY(ms_go_locate_calls(locator, group->calls, group->kept));
        MS_TRY(add_labels(goroutines, group->first, profile));
    }
    return NULL;
}

ms_result ms_go_goroutine_profile(const struct ms_go_goroutines *goroutines,
                                  const struct ms_go_groups *groups, struct ms_profile *profile)
{
    MS_TRY(ms_profile_unit(profile, "goroutine", "count"));
    profile->period_unit = profile->units[0];
    profile->period = 1;
    MS_TRY(ms_profile_map(profile, goroutines->go->image));
    struct ms_go_locator *locator;
    MS_TRY(ms_go_locator_new(goroutines->go, goroutines->functions, profile, &locator));
    struct ms_error *error = fill(goroutines, groups, locator, profile);
    ms_go_locator_free(locator);
    return error;
}
