/* Views that are or were shown: making, filling and forgetting them, and the way back. */
#include <string.h>

#include "browser.h"

struct tui_page *tui_current(const struct tui_browser *b)
{
    return b->history[b->depth - 1];
}

struct tui_view *tui_current_view(const struct tui_browser *b)
{
    return &tui_current(b)->view;
}

/* Bits of the stages that are done. */
static unsigned done_stages(struct ms_inspection *in)
{
    unsigned done = 0;
    for (int stage = 0; stage < MS_STAGES; stage++)
        if (ms_inspection_status(in, (enum ms_stage)stage).state == MS_STAGE_DONE)
            done |= 1u << stage;
    return done;
}

bool tui_busy(struct ms_inspection *in)
{
    for (int stage = 0; stage < MS_STAGES; stage++) {
        enum ms_stage_state state = ms_inspection_status(in, (enum ms_stage)stage).state;
        if (state == MS_STAGE_WAITING || state == MS_STAGE_RUNNING)
            return true;
    }
    return false;
}

/* --- life -------------------------------------------------------------------------------------- */

static void forget_question(struct tui_view *view)
{
    if (view->question)
        ms_inspection_forget(view->inspection, view->question);
    view->question = NULL;
    view->answer_seen = false;
}

/* What it has of a snapshot. */
static void release_page(struct tui_page *page)
{
    struct tui_view *view = &page->view;
    forget_question(view);
    tui_answers_free(view);
    if (view->state && view->kind->release)
        view->kind->release(view->state);
    free(view->state);
    view->state = NULL;
    page->stale = true;
    view->rows.list.count = 0;
    view->table->count = 0;
    view->table->phase = TUI_SETTLED;
    view->table->search_left = 0;
}

static void free_page(struct tui_page *page)
{
    release_page(page);
    tui_table_free(page->view.table);
    ms_vector_free(&page->view.rows.list);
    free(page->error);
    free(page);
}

void tui_release_pages(struct tui_browser *b)
{
    for (size_t i = 0; i < b->pages.count; i++)
        release_page(b->pages.items[i]);
}

void tui_free_pages(struct tui_browser *b)
{
    for (size_t i = 0; i < b->pages.count; i++)
        free_page(b->pages.items[i]);
    ms_vector_free(&b->pages);
    b->depth = 0;
}

void tui_all_stale(struct tui_browser *b)
{
    for (size_t i = 0; i < b->pages.count; i++)
        b->pages.items[i]->stale = true;
}

static bool in_history(const struct tui_browser *b, const struct tui_page *page)
{
    for (size_t i = 0; i < b->depth; i++)
        if (b->history[i] == page)
            return true;
    return b->export.page == page;
}

/* The views of the tab bar stay. */
static void forget_oldest(struct tui_browser *b)
{
    size_t oldest = SIZE_MAX;
    if (b->pages.count < TUI_VIEWS_KEPT)
        return;
    for (size_t i = 0; i < b->pages.count; i++) {
        const struct tui_page *page = b->pages.items[i];
        if (page->view.subject && !in_history(b, page) &&
            (oldest == SIZE_MAX || page->used < b->pages.items[oldest]->used))
            oldest = i;
    }
    if (oldest == SIZE_MAX)
        return;
    free_page(b->pages.items[oldest]);
    b->pages.items[oldest] = b->pages.items[--b->pages.count];
}

/* NULL without memory. */
static struct tui_page *new_page(struct tui_browser *b, struct tui_place place)
{
    struct tui_page **slot = ms_vector_add(&b->pages);
    if (!slot)
        return NULL;
    struct tui_page *page = calloc(1, sizeof *page);
    struct ms_error *error = page ? tui_table_new(place.kind, &page->view.table) : NULL;
    if (!page || error) {
        b->pages.count--;
        ms_error_free(error);
        free(page);
        return NULL;
    }
    page->view.kind = place.kind;
    page->view.subject = place.subject;
    page->stale = true;
    *slot = page;
    return page;
}

static struct tui_page *find_page(struct tui_browser *b, struct tui_place place)
{
    for (size_t i = 0; i < b->pages.count; i++) {
        struct tui_page *page = b->pages.items[i];
        if (page->view.kind == place.kind && page->view.subject == place.subject)
            return page;
    }
    forget_oldest(b);
    return new_page(b, place);
}

/* --- moving ------------------------------------------------------------------------------------ */

void tui_go(struct tui_browser *b, struct tui_place place)
{
    struct tui_page *page = find_page(b, place);
    if (!page) {
        tui_say(b, "out of memory");
        return;
    }
    page->used = ++b->steps;
    b->changed = true;
    if (b->depth && tui_current(b) == page)
        return;
    if (b->depth == TUI_HISTORY)
        memmove(b->history, b->history + 1, --b->depth * sizeof *b->history);
    b->history[b->depth++] = page;
}

bool tui_back(struct tui_browser *b)
{
    if (b->depth < 2)
        return false;
    b->depth--;
    b->changed = true;
    return true;
}

/* --- filling ----------------------------------------------------------------------------------- */

static struct ms_error *fill(struct tui_browser *b, struct tui_page *page)
{
    struct tui_view *view = &page->view;
    int width, height;
    tui_screen_size(&width, &height);
    view->width = (unsigned)width;
    view->inspection = b->now;
    view->facts = ms_inspection_facts(b->now);
    view->before = b->before ? &b->before_facts : NULL;
    view->rows.list.count = 0;
    view->table->count = 0;
    if (!view->state && view->kind->state_size) {
        view->state = calloc(1, view->kind->state_size);
        if (!view->state)
            return ms_error_nomem("a view");
    }
    MS_TRY(view->kind->fill(view));
    return tui_table_refilled(view);
}

/* Is what the view shows to be had? */
static bool ready(struct tui_browser *b, const struct tui_view_kind *kind)
{
    return kind->stage == MS_STAGES || ms_inspection_status(b->now, kind->stage).state == MS_STAGE_DONE;
}

void tui_freshen(struct tui_browser *b)
{
    struct tui_page *page = tui_current(b);
    unsigned done = done_stages(b->now);
    if (b->export.page == page || !ready(b, page->view.kind) || (!page->stale && page->stages_done == done))
        return;
    page->stale = false;
    page->stages_done = done;
    free(page->error);
    page->error = NULL;
    struct ms_error *error = fill(b, page);
    if (error) {
        page->error = strdup(error->message);
        page->view.rows.list.count = 0;
        page->view.table->count = 0;
        ms_error_free(error);
    }
    b->changed = true;
}

/* --- questions of views ------------------------------------------------------------------------ */

ms_result tui_ask(struct tui_view *view, ms_answer *answer, void *context, void (*release)(void *context))
{
    forget_question(view);
    return ms_inspection_ask(view->inspection, answer, context, release, &view->question);
}

bool tui_answered(const struct tui_view *view, const char **error)
{
    *error = NULL;
    return view->question && ms_inspection_answered(view->inspection, view->question, error);
}
