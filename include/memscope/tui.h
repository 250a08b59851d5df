/* The interactive browser: views of an inspection on a terminal. */
#ifndef MEMSCOPE_TUI_H
#define MEMSCOPE_TUI_H

#include "memscope/inspection.h"

struct ms_tui_options {
    struct ms_inspection_options inspection;
    bool color; /* NO_COLOR and --color never forbid it */
};

/*
 * Browses until the user leaves; the terminal is then as it was. MS_USAGE when stdin and stdout are no terminal
 * that can be browsed on (not one at all, or TERM is dumb or not known): the message names `memscope leaks`. MS_TARGET
 * when the target cannot be inspected.
 */
ms_result ms_tui(const struct ms_tui_options *options);

#endif
