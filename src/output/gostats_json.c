/* runtime.MemStats as JSON, in its own field names, and what the collector goes by. */
#include <math.h>

#include "json.h"

static json_t *ring_json(const uint64_t ring[MS_GO_PAUSES])
{
    json_t *array = json_array();
    for (unsigned i = 0; i < MS_GO_PAUSES; i++)
        array = ms_json_with_item(array, ms_json_count(ring[i]));
    return array;
}

static json_t *sizes_json(const struct ms_go_memstats *stats)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < MS_GO_BY_SIZE; i++) {
        json_t *object = ms_json_with(json_object(), "Size", ms_json_count(stats->by_size[i].size));
        object = ms_json_with(object, "Mallocs", ms_json_count(stats->by_size[i].mallocs));
        object = ms_json_with(object, "Frees", ms_json_count(stats->by_size[i].frees));
        array = ms_json_with_item(array, object);
    }
    return array;
}

/* JSON's integers end at 2^63; what is larger stands for "no bound". */
static json_t *number_json(uint64_t number)
{
    return number > INT64_MAX ? json_real((double)number) : ms_json_count(number);
}

/* JSON has no infinity. */
static json_t *real_json(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *figure_json(struct ms_go_figure figure)
{
    return figure.known ? number_json(figure.value) : json_null();
}

static json_t *pacing_json(const struct ms_go_pacing *pacing)
{
    json_t *object = json_object();
    object = ms_json_with(object, "phase", json_string(ms_go_phase_names[pacing->phase]));
    object = ms_json_with(object, "cycle", ms_json_count(pacing->cycle));
    object = ms_json_with(object, "sweeping", json_boolean(pacing->sweeping));
    object = ms_json_with(object, "heap_live", figure_json(pacing->heap_live));
    object = ms_json_with(object, "heap_marked", figure_json(pacing->heap_marked));
    object = ms_json_with(object, "heap_scan", figure_json(pacing->heap_scan));
    object = ms_json_with(object, "trigger", figure_json(pacing->trigger));
    object = ms_json_with(object, "goal", figure_json(pacing->goal));
    object = ms_json_with(object, "gc_percent", json_integer(pacing->gc_percent));
    object = ms_json_with(object, "memory_limit", figure_json(pacing->memory_limit));
    object = ms_json_with(object, "mapped_ready", figure_json(pacing->mapped));
    object = ms_json_with(object, "assist_work_per_byte", real_json(pacing->assist_bytes));
    object =
        ms_json_with(object, "dedicated_workers_needed", json_integer(pacing->dedicated_workers));
    object = ms_json_with(object, "fractional_goal", real_json(pacing->fractional_goal));
    object = ms_json_with(object, "forced_gc_at", figure_json(pacing->forced_at));
    return ms_json_with(object, "gomaxprocs", ms_json_count(pacing->processors));
}

json_t *ms_go_stats_json(const struct ms_go_stats *stats)
{
    const struct ms_go_memstats *memstats = &stats->memstats;
    json_t *object = json_object();
    for (enum ms_go_stat stat = 0; stat < MS_GO_STAT_COUNT; stat++)
        object = ms_json_with(object, ms_go_stats[stat].field,
                              ms_go_stats[stat].kind == 'b' ? json_boolean(memstats->values[stat])
                                                            : number_json(memstats->values[stat]));
    object = ms_json_with(object, "GCCPUFraction", real_json(memstats->gc_cpu_fraction));
    object = ms_json_with(object, "PauseNs", ring_json(memstats->pause_ns));
    object = ms_json_with(object, "PauseEnd", ring_json(memstats->pause_end));
    object = ms_json_with(object, "BySize", sizes_json(memstats));
    return ms_json_with(object, "pacing", pacing_json(&stats->pacing));
}
