/* Private to src/tui: what blocks, groups and values are, in the words of the reports. */
#ifndef MS_TUI_WHAT_H
#define MS_TUI_WHAT_H

#include "view.h"

/* "Widget (libwidgets.so) "some text"", each as far as it is known; UNKNOWN when nothing is. */
struct tui_what {
    const char *type;
    enum ms_evidence by;
    const char *module;
    const uint8_t *preview;
    unsigned preview_size;
};
void tui_put_what(struct tui_cell *cell, const struct tui_what *what, const char *unknown);
void tui_put_owner(struct tui_cell *cell, const struct ms_owner *owner);

/* What the blocks of a group have in common. */
void tui_put_group(struct tui_cell *cell, const struct ms_heap_group *group);

/* A decoded value. */
void tui_put_value(struct tui_cell *cell, const struct ms_value *value);

#endif
