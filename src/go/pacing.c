/* How the collector is doing: cycles, phase, live heap and goal. */
#include "layout.h"

struct pacing_layout {
    struct ms_go_place cycles, live, goal, in_use_old, in_use;
};
#define FIELD(type, path, into) MS_GO_FIELD(struct pacing_layout, type, path, into)
#define FIELD_IN(type, path, into, since, until)                                                   \
    MS_GO_FIELD_IN(struct pacing_layout, type, path, into, since, until)
static const struct ms_go_field pacing_fields[] = {
    FIELD("runtime.mstats", "numgc", cycles),
    FIELD("runtime.gcControllerState", "heapLive", live),
    FIELD("runtime.gcControllerState", "gcPercentHeapGoal|heapGoal", goal),
    FIELD_IN("runtime.mstats", "heap_inuse", in_use_old, 17, 18),
    FIELD_IN("runtime.gcControllerState", "heapInUse", in_use, 19, 0),
};
MS_GO_EXPORT_FIELDS(pacing, pacing_fields)

ms_result ms_go_read_gauge(struct ms_go *go, struct ms_go_gauge *gauge)
{
    struct pacing_layout layout;
    MS_TRY(ms_go_bind(go, pacing_fields, sizeof pacing_fields / sizeof *pacing_fields, &layout));
    uint64_t memstats = ms_go_global(go, "runtime.memstats"),
             controller = ms_go_global(go, "runtime.gcController"),
             phase_at = ms_go_global(go, "runtime.gcphase");
    const struct ms_go_place phase_place = {0, 4};
    uint64_t phase = 0;
    bool old = !layout.in_use.size;
    if (!memstats || !controller || !phase_at ||
        !ms_go_get(go, memstats, layout.cycles, &gauge->cycles) ||
        !ms_go_get(go, controller, layout.live, &gauge->live) ||
        !ms_go_get(go, controller, layout.goal, &gauge->goal) ||
        !ms_go_get(go, old ? memstats : controller, old ? layout.in_use_old : layout.in_use,
                   &gauge->in_use) ||
        !ms_go_get(go, phase_at, phase_place, &phase) || phase > 2)
        return ms_error(MS_TARGET, "%s: what its collector (%s) is doing cannot be read",
                        go->image->origin, go->version);
    gauge->phase = (unsigned)phase;
    return NULL;
}
