/* Sizes as people read them. */
#include "memscope/units.h"

#include <stddef.h>
#include <stdio.h>

char *ms_size_text(uint64_t bytes, char buffer[16])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(buffer, 16, "%u B", (unsigned)bytes);
        return buffer;
    }
    size_t unit = 0;
    double value = (double)bytes / 1024;
    /* What would round to 1024.0 is one of the next unit. */
    while (value >= 1023.95 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    snprintf(buffer, 16, "%.1f %s", value, units[unit]);
    return buffer;
}
