/* Growth: what differs between the reports of two snapshots of one process, group by group. */
#ifndef MEMSCOPE_GROWTH_H
#define MEMSCOPE_GROWTH_H

#include <stddef.h>
#include <stdint.h>

#include "memscope/histogram.h"
#include "memscope/leaks.h"
#include "memscope/memstats.h"
#include "memscope/regions.h"

struct ms_change {
    int64_t blocks, bytes;
    int64_t retained; /* of leaks: what they hold */
};

#define MS_NO_GROUP SIZE_MAX
struct ms_group_change {
    size_t before, now; /* indices of groups of the two reports; MS_NO_GROUP: it has none like it */
    struct ms_change change;
};

/* Of two heap or two leak reports. */
struct ms_growth {
    struct ms_change total; /* of all live blocks, or of all that are definitely and indirectly lost */
    MS_VECTOR(struct ms_group_change) groups; /* what grew most in bytes first, what shrank most last */
    struct ms_change *of;   /* by index of the later report's groups; owned */
    size_t count;           /* of these */
};

/*
 * Groups of the two are the same when they say the same of their blocks; their reports may be of different
 * knowledge. Takes the time of sorting the groups.
 */
ms_result ms_heap_growth(const struct ms_heap_report *before, const struct ms_heap_report *now,
                         struct ms_growth *growth);
ms_result ms_leak_growth(const struct ms_leak_report *before, const struct ms_leak_report *now,
                         struct ms_growth *growth);
void ms_growth_free(struct ms_growth *growth);

struct ms_memstats_growth {
    int64_t rss, total, heap; /* heap: all its rows */
    int64_t rows[MS_ROWS];
};
void ms_account_growth(const struct ms_memstats *before, const struct ms_memstats *now,
                       struct ms_memstats_growth *growth);

/* Of Rss, by use. */
struct ms_map_growth {
    int64_t total, uses[MS_USES];
};
void ms_map_growth(const struct ms_memory_map *before, const struct ms_memory_map *now,
                   struct ms_map_growth *growth);

#endif
