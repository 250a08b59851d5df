/* Layouts of the runtime's structures by version of Go: made by contrib/go-layouts.py, not by hand. */
#include "layout.h"

/* Made with 1.17.13, 1.18.10, 1.19.13, 1.20.14, 1.21.13, 1.22.12, 1.23.12, 1.24.13, 1.25.5, 1.26.8. */
const unsigned ms_go_first_known = 17, ms_go_last_known = 26;

/* clang-format off */
const struct ms_go_known_place ms_go_known_places[] = {
    {"runtime.bucket", "typ", 17, 26, 16, 8},
    {"runtime.finBlock|runtime.finblock", "alllink", 17, 26, 0, 8},
    {"runtime.finBlock|runtime.finblock", "cnt", 17, 26, 16, 4},
    {"runtime.g", "m", 17, 26, 48, 8},
    {"runtime.m", "g0", 17, 26, 0, 8},
    {"runtime.moduledata", "bss", 17, 26, 224, 8},
    {"runtime.moduledata", "data", 17, 26, 208, 8},
    {"runtime.moduledata", "ebss", 17, 26, 232, 8},
    {"runtime.moduledata", "edata", 17, 26, 216, 8},
    {"runtime.moduledata", "enoptrbss", 17, 26, 248, 8},
    {"runtime.moduledata", "enoptrdata", 17, 26, 200, 8},
    {"runtime.moduledata", "etext", 17, 26, 184, 8},
    {"runtime.moduledata", "etypes", 17, 19, 288, 8},
    {"runtime.moduledata", "etypes", 20, 26, 304, 8},
    {"runtime.moduledata", "gcbssmask.bytedata", 17, 17, 504, 8},
    {"runtime.moduledata", "gcbssmask.bytedata", 18, 19, 520, 8},
    {"runtime.moduledata", "gcbssmask.bytedata", 20, 20, 536, 8},
    {"runtime.moduledata", "gcbssmask.bytedata", 21, 25, 560, 8},
    {"runtime.moduledata", "gcbssmask.bytedata", 26, 26, 568, 8},
    {"runtime.moduledata", "gcdatamask.bytedata", 17, 17, 488, 8},
    {"runtime.moduledata", "gcdatamask.bytedata", 18, 19, 504, 8},
    {"runtime.moduledata", "gcdatamask.bytedata", 20, 20, 520, 8},
    {"runtime.moduledata", "gcdatamask.bytedata", 21, 25, 544, 8},
    {"runtime.moduledata", "gcdatamask.bytedata", 26, 26, 552, 8},
    {"runtime.moduledata", "gofunc", 18, 19, 304, 8},
    {"runtime.moduledata", "gofunc", 20, 26, 320, 8},
    {"runtime.moduledata", "next", 17, 17, 528, 8},
    {"runtime.moduledata", "next", 18, 19, 544, 8},
    {"runtime.moduledata", "next", 20, 20, 560, 8},
    {"runtime.moduledata", "next", 21, 22, 584, 8},
    {"runtime.moduledata", "next", 23, 25, 576, 8},
    {"runtime.moduledata", "next", 26, 26, 584, 8},
    {"runtime.moduledata", "noptrbss", 17, 26, 240, 8},
    {"runtime.moduledata", "noptrdata", 17, 26, 192, 8},
    {"runtime.moduledata", "pcHeader", 17, 26, 0, 8},
    {"runtime.moduledata", "rodata", 18, 19, 296, 8},
    {"runtime.moduledata", "rodata", 20, 26, 312, 8},
    {"runtime.moduledata", "text", 17, 26, 176, 8},
    {"runtime.moduledata", "types", 17, 19, 280, 8},
    {"runtime.moduledata", "types", 20, 26, 296, 8},
    {"runtime.mstats", "heapStats", 17, 18, 5960, 3544},
    {"runtime.mstats", "heapStats", 19, 24, 0, 3544},
    {"runtime.mstats", "heapStats", 25, 26, 0, 3520},
    {"runtime.p", "id", 17, 26, 0, 4},
    {"runtime.sweepdata", "g", 17, 26, 8, 8},
};
/* clang-format on */
const size_t ms_go_known_place_count = sizeof ms_go_known_places / sizeof *ms_go_known_places;
