/* Private to src/tui: a line that is typed. */
#ifndef MS_TUI_PROMPT_H
#define MS_TUI_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

#include "keys.h"

#define TUI_LINE 256u

struct tui_prompt {
    const char *label; /* NULL: there is no prompt */
    char text[TUI_LINE];
    size_t cursor; /* byte */
};

void tui_prompt_begin(struct tui_prompt *prompt, const char *label, const char *text);
/* Edits by ACTION, or with TUI_DO_NOTHING takes the character CODE. True when the text changed. */
bool tui_prompt_edit(struct tui_prompt *prompt, enum tui_action action, int code);
void tui_prompt_draw(const struct tui_prompt *prompt, int y, int width);

#endif
