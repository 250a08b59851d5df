/* The table of views: one line each, in the order of the tab bar. */
#include "view.h"

extern const struct tui_view_kind tui_types, tui_retainers, tui_threads;

const struct tui_view_kind *const tui_kinds[] = {
    &tui_types,
    &tui_retainers,
    &tui_threads,
    &tui_block,
    NULL,
};
