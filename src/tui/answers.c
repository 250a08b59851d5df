/* What a view asks for piece by piece: a list of answers, made by one question after another. */
#include "view.h"

#include <stdlib.h>
#include <string.h>

/* It outlives the view when that goes while it is at work. */
struct tui_inquiry {
    const struct tui_view_kind *kind;
    uint64_t id;
    void *content; /* owned until it is taken */
};

static struct ms_error *answer(const struct ms_facts *facts, void *context)
{
    struct tui_inquiry *inquiry = context;
    return inquiry->kind->answer(facts, inquiry->id, &inquiry->content);
}

static void release(void *context)
{
    struct tui_inquiry *inquiry = context;
    if (inquiry->content)
        inquiry->kind->free_answer(inquiry->content);
    free(inquiry);
}

static struct ms_error *ask(struct tui_view *view, uint64_t id)
{
    struct tui_inquiry *inquiry = calloc(1, sizeof *inquiry);
    if (!inquiry)
        return ms_error_nomem("a question");
    *inquiry = (struct tui_inquiry){view->kind, id, NULL};
    MS_TRY(tui_ask(view, answer, inquiry, release));
    view->answers.asked = inquiry;
    return NULL;
}

static struct ms_error *ask_next(struct tui_view *view)
{
    const struct tui_answers *answers = &view->answers;
    if (answers->asked)
        return NULL;
    for (size_t i = answers->list.count; i > 0; i--)
        if (!answers->list.items[i - 1].done)
            return ask(view, answers->list.items[i - 1].id);
    return NULL;
}

static struct tui_answer *find(const struct tui_answers *answers, uint64_t id)
{
    for (size_t i = 0; i < answers->list.count; i++)
        if (answers->list.items[i].id == id)
            return &answers->list.items[i];
    return NULL;
}

static struct ms_error *take(struct tui_view *view)
{
    struct tui_answers *answers = &view->answers;
    const char *error = NULL;
    if (!answers->asked || !tui_answered(view, &error))
        return NULL;
    struct tui_inquiry *inquiry = answers->asked;
    struct tui_answer *to = find(answers, inquiry->id);
    answers->asked = NULL;
    if (!to)
        return NULL;
    to->done = true;
    if (error) {
        to->error = strdup(error);
        return to->error ? NULL : ms_error_nomem("an answer");
    }
    to->content = inquiry->content;
    inquiry->content = NULL;
    return NULL;
}

ms_result tui_answers_fill(struct tui_view *view, bool *forgotten)
{
    struct tui_answers *answers = &view->answers;
    const bool forget = answers->snapshot != view->facts.scan || answers->knowledge != view->facts.knowledge;
    if (forgotten)
        *forgotten = forget;
    if (forget) {
        tui_answers_free(view);
        answers->snapshot = view->facts.scan;
        answers->knowledge = view->facts.knowledge;
        return NULL;
    }
    MS_TRY(take(view));
    return ask_next(view);
}

ms_result tui_want(struct tui_view *view, uint64_t id, size_t *index)
{
    struct tui_answers *answers = &view->answers;
    struct tui_answer *there = find(answers, id);
    if (!there) {
        there = ms_vector_add(&answers->list);
        if (!there)
            return ms_error_nomem("an answer");
        there->id = id;
    }
    *index = (size_t)(there - answers->list.items);
    return ask_next(view);
}

void tui_answers_free(struct tui_view *view)
{
    struct tui_answers *answers = &view->answers;
    for (size_t i = 0; i < answers->list.count; i++) {
        if (answers->list.items[i].content)
            view->kind->free_answer(answers->list.items[i].content);
        free(answers->list.items[i].error);
    }
    ms_vector_free(&answers->list);
    *answers = (struct tui_answers){0}; /* what is asked just now is the question's */
}
