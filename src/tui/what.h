/* Private to src/tui: what blocks, groups and values are, in the words of the reports. */
#ifndef MS_TUI_WHAT_H
#define MS_TUI_WHAT_H

#include "view.h"

/* What a block is, as far as it is known, and which root holds it. */
void tui_put_owner(struct tui_cell *cell, const struct ms_owner *owner);

/* What the blocks of a group have in common. */
void tui_put_group(struct tui_cell *cell, const struct ms_heap_group *group);

/* A decoded value. */
void tui_put_value(struct tui_cell *cell, const struct ms_value *value);

#endif
