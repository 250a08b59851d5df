/* Lost blocks as a profile: stacks of names, as nobody knows any more who allocated them. */
#include <inttypes.h>
#include <stdio.h>

#include "memscope/leaks.h"

static ms_result add_frame(struct ms_profile *profile, const char *name)
{
    uint32_t function;
    size_t location;
    MS_TRY(ms_profile_function(profile, name, NULL, 0, &function));
    MS_TRY(ms_profile_location(profile, 0, &location));
    MS_TRY(ms_profile_line(profile, function, 0));
    return ms_profile_frame(profile, location);
}

static ms_result add_sample(struct ms_profile *profile, const struct ms_leak_group *group,
                            const char *inside, uint64_t blocks, uint64_t bytes)
{
    static const char *const kinds[MS_LEAK_KINDS] = {
        [MS_DEFINITE] = "definitely lost",
        [MS_INDIRECT] = "indirectly lost",
        [MS_POSSIBLE] = "possibly lost",
        [MS_REACHABLE] = "still reachable",
    };
    char size[48];
    snprintf(size, sizeof size, "%" PRIu64 " bytes, type not known", group->size);
    struct ms_profile_sample *sample;
    MS_TRY(ms_profile_sample(profile, &sample));
    sample->values[0] = (int64_t)blocks;
    sample->values[1] = (int64_t)bytes;
    if (!inside)
        MS_TRY(ms_profile_label(profile, "bytes", NULL, (int64_t)group->size));
    else
        MS_TRY(add_frame(profile, inside));
    MS_TRY(add_frame(profile, group->type ? group->type : size));
    return add_frame(profile, kinds[group->kind]);
}

ms_result ms_leaks_profile(const struct ms_leak_report *report, struct ms_profile *profile)
{
    MS_TRY(ms_profile_unit(profile, "lost_objects", "count"));
    MS_TRY(ms_profile_unit(profile, "lost_space", "bytes"));
    for (size_t i = 0; i < report->groups.count; i++) {
        const struct ms_leak_group *group = &report->groups.items[i];
        MS_TRY(add_sample(profile, group, NULL, group->blocks, group->bytes));
        if (group->indirect_blocks)
            MS_TRY(add_sample(profile, group, "what they hold", group->indirect_blocks,
                              group->indirect_bytes));
    }
    return NULL;
}
