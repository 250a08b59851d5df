/* Private to src/tui: what a view asks for piece by piece, as rows are opened, one question after another. */
#ifndef MS_TUI_ANSWERS_H
#define MS_TUI_ANSWERS_H

#include "view.h"

/* By the inspection's thread: makes ANSWER for ID, which is the view's (a position, a thread, an address). */
typedef struct ms_error *tui_answer_maker(const struct ms_facts *facts, uint64_t id, void **answer);

struct tui_answer {
    uint64_t id;
    bool done;
    void *content; /* owned; NULL: not done, or failed */
    char *error;   /* why; owned */
};

struct tui_inquiry; /* what is asked just now; the question's */

/* Zero-initialised but for the functions. */
struct tui_answers {
    tui_answer_maker *make;
    void (*free_content)(void *content);
    MS_VECTOR(struct tui_answer) list; /* never gets shorter while the snapshot is the same */
    struct tui_inquiry *asked;
    const void *snapshot, *knowledge; /* that they are of */
};

/*
 * First in fill(): takes what was answered and asks for what is still wanted, the latest first. A new snapshot, or
 * knowledge of types that was not there before, makes it forget all; true in FORGOTTEN (may be NULL).
 */
ms_result tui_answers_fill(struct tui_view *view, struct tui_answers *answers, bool *forgotten);

/* The index of the answer for ID in the list: perhaps it is only asked for now. */
ms_result tui_want(struct tui_view *view, struct tui_answers *answers, uint64_t id, size_t *index);

void tui_answers_free(struct tui_answers *answers);

#endif
