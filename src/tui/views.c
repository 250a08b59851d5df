/* The table of views: one line each, in the order of the tab bar. */
#include "view.h"

const struct tui_view_kind *const tui_kinds[] = {
    &tui_overview,
    &tui_leaks,
    &tui_types,
    &tui_retainers,
    &tui_arenas,
    &tui_map,
    &tui_threads,
    &tui_goroutines,
    &tui_block,
    NULL,
};
