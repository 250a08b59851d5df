/* Drawing all that is around a table: title, tabs, headlines, progress, status, function bar. */
#include <string.h>

#include "browser.h"
#include "memscope/units.h"

#define MOST_HEADLINES 12u
/* On narrower terminals the first line has less to say. */
#define BRIEF 70

static void remember_click(struct tui_browser *b, int y, int x, int width, int key)
{
    struct tui_click *click = ms_vector_add(&b->clicks);
    if (click)
        *click = (struct tui_click){y, x, width, key};
}

/* --- title ------------------------------------------------------------------------------------- */

static void put_duration(struct tui_cell *cell, uint64_t ns)
{
    if (ns < 1000000)
        tui_put(cell, "%.0f us", (double)ns / 1e3);
    else if (ns < 1000000000)
        tui_put(cell, "%.1f ms", (double)ns / 1e6);
    else
        tui_put(cell, "%.2f s", (double)ns / 1e9);
}

static void put_progress(struct tui_cell *cell, const struct ms_stage_status *status, const char *name)
{
    tui_put(cell, "%s", status->what ? status->what : name);
    if (!status->done && !status->total)
        return;
    tui_put(cell, " ");
    tui_put_size(cell, status->done);
    if (!status->total)
        return;
    tui_put(cell, " of ");
    tui_put_size(cell, status->total);
}

/* What the target does: the end of the first line. */
static void put_state(const struct tui_browser *b, struct tui_cell *cell, int width)
{
    struct ms_facts facts = ms_inspection_facts(b->now);
    struct ms_stage_status copy = ms_inspection_status(b->now, MS_STAGE_COPY);
    if (b->next && ms_inspection_status(b->next, MS_STAGE_COPY).state == MS_STAGE_RUNNING)
        copy = ms_inspection_status(b->next, MS_STAGE_COPY);
    if (copy.state == MS_STAGE_RUNNING || copy.state == MS_STAGE_WAITING)
        put_progress(cell, &copy, ms_stage_names[MS_STAGE_COPY]);
    else if (b->target_gone)
        tui_put(cell, "process has ended");
    else if (facts.image && facts.image->kind == MS_CORE)
        tui_put(cell, "core file");
    else if (facts.image && facts.image->pause_ns) {
        tui_put(cell, width < BRIEF ? "stopped for " : "running again, stopped for ");
        put_duration(cell, facts.image->pause_ns);
    }
}

static void draw_title(const struct tui_browser *b, int width)
{
    struct tui_cell left, right;
    struct ms_facts facts = ms_inspection_facts(b->now);
    tui_clear(&left);
    tui_clear(&right);
    tui_put(&left, width < BRIEF ? " " : " memscope  ");
    if (facts.image) {
        if (width < BRIEF && facts.image->pid)
            tui_put(&left, "%d", (int)facts.image->pid);
        else
            tui_put_name(&left, facts.image->origin ? facts.image->origin : "target");
        if (facts.image->exe && *facts.image->exe) {
            const char *slash = strrchr(facts.image->exe, '/');
            tui_put(&left, " ");
            tui_put_name(&left, width >= 100 || !slash ? facts.image->exe : slash + 1);
        }
    } else {
        tui_put_name(&left, b->options->inspection.target);
    }
    put_state(b, &right, width);
    left.style = right.style = TUI_TITLE;
    tui_draw_blank(0, 0, width, TUI_TITLE, false);
    int state = (int)strlen(right.text);
    if (state > width * 2 / 3)
        state = width * 2 / 3;
    int used = tui_draw_text(0, 0, width - state - 3, left.text, TUI_TITLE);
    if (used + state + 2 <= width)
        tui_draw_text(0, width - state - 1, state, right.text, TUI_TITLE);
}

/* --- tabs -------------------------------------------------------------------------------------- */

/* Of a view that others lead to, the tab is there only while it is shown. */
static bool has_tab(const struct tui_browser *b, const struct tui_view_kind *kind)
{
    return kind->key || kind == tui_current_view(b)->kind;
}

/* How much of the tabs is shown; the shown view's has its name always. */
enum tabs { TABS_ROOMY, TABS_TIGHT, TABS_BRIEF };

static void put_tab(struct tui_cell *cell, const struct tui_view_kind *kind, enum tabs tabs, bool on)
{
    const char *pad = tabs == TABS_ROOMY || (tabs == TABS_BRIEF && on) ? " " : "";
    tui_clear(cell);
    tui_put(cell, "%s", pad);
    if (kind->key)
        tui_put(cell, "%c", kind->key);
    if (tabs != TABS_BRIEF || on || !kind->key)
        tui_put(cell, "%s%s", kind->key ? " " : "", kind->name);
    tui_put(cell, "%s", pad);
}

static int tabs_width(const struct tui_browser *b, enum tabs tabs)
{
    struct tui_cell cell;
    int sum = 0;
    for (size_t i = 0; tui_kinds[i]; i++) {
        put_tab(&cell, tui_kinds[i], tabs, tui_kinds[i] == tui_current_view(b)->kind);
        sum += has_tab(b, tui_kinds[i]) ? (int)strlen(cell.text) + 1 : 0;
    }
    return sum;
}

/* Names while there is room, else only the shown one's. */
static void draw_tabs(struct tui_browser *b, int y, int width)
{
    const struct tui_view_kind *current = tui_current_view(b)->kind;
    enum tabs tabs = TABS_ROOMY;
    while (tabs < TABS_BRIEF && tabs_width(b, tabs) > width)
        tabs++;
    int x = 0;
    tui_draw_blank(y, 0, width, TUI_TAB, false);
    for (size_t i = 0; tui_kinds[i] && x < width; i++) {
        struct tui_cell cell;
        if (!has_tab(b, tui_kinds[i]))
            continue;
        bool on = tui_kinds[i] == current;
        put_tab(&cell, tui_kinds[i], tabs, on);
        int used = tui_draw_text(y, x, width - x, cell.text, on ? TUI_TAB_ON : TUI_TAB);
        if (tui_kinds[i]->key)
            remember_click(b, y, x, used, tui_kinds[i]->key);
        x += used + 1;
    }
    if (current == &tui_help)
        tui_draw_text(y, x, width - x, " help ", TUI_TAB_ON);
}

/* --- what is not there yet --------------------------------------------------------------------- */

static char stage_mark(const struct tui_browser *b, enum ms_stage_state state)
{
    switch (state) {
    case MS_STAGE_RUNNING:
        return "|/-\\"[b->spin % 4];
    case MS_STAGE_DONE:
        return '*';
    case MS_STAGE_FAILED:
        return '!';
    default:
        return ' ';
    }
}

/* All stages, and how far they are. */
static void draw_progress(const struct tui_browser *b, int y, int height, int width)
{
    for (int i = 0; i < MS_STAGES && i + 1 < height; i++) {
        struct ms_stage_status status = ms_inspection_status(b->now, (enum ms_stage)i);
        struct tui_cell cell;
        tui_clear(&cell);
        tui_put(&cell, "  %c %-20s ", stage_mark(b, status.state), ms_stage_names[i]);
        bool running = status.state == MS_STAGE_RUNNING;
        enum tui_style style = running ? TUI_HEAD : TUI_DIM;
        int x = tui_draw_text(y + 1 + i, 0, width, cell.text, style);
        tui_clear(&cell);
        if (running)
            put_progress(&cell, &status, "");
        else if (status.state == MS_STAGE_FAILED)
            tui_put_name(&cell, status.error ? status.error : "failed");
        else
            tui_put(&cell, "%s", status.state == MS_STAGE_DONE ? "done" : "");
        if (running && status.total && x + 20 < width) {
            tui_draw_bar(y + 1 + i, x, 12, (double)status.done / (double)status.total, TUI_LIVE, false);
            x += 13;
        }
        tui_draw_text(y + 1 + i, x, width - x, cell.text, style);
    }
}

/* Words that are broken where they must be. */
static void draw_paragraph(int y, int height, int width, const char *text, enum tui_style style)
{
    struct tui_cell cell;
    tui_clear(&cell);
    tui_put_name(&cell, text);
    const char *at = cell.text;
    for (int line = 0; *at && line < height; line++) {
        char piece[TUI_CELL_BYTES];
        size_t most = (size_t)(width - 4), length = strlen(at);
        if (length > most) {
            length = most;
            while (length > most / 2 && at[length] != ' ')
                length--;
            while (length > 1 && ((unsigned char)at[length] & 0xC0) == 0x80)
                length--;
        }
        memcpy(piece, at, length);
        piece[length] = '\0';
        tui_draw_text(y + line, 2, width - 2, piece, style);
        at += length;
        at += *at == ' ';
    }
}

/* False when there are rows to draw. */
static bool draw_instead(const struct tui_browser *b, int y, int height, int width)
{
    const struct tui_page *page = tui_current(b);
    const struct tui_view_kind *kind = page->view.kind;
    if (kind->stage != MS_STAGES) {
        struct ms_stage_status status = ms_inspection_status(b->now, kind->stage);
        if (status.state == MS_STAGE_FAILED)
            draw_paragraph(y + 1, height - 1, width, status.error ? status.error : "failed", TUI_BAD);
        else if (status.state != MS_STAGE_DONE)
            draw_progress(b, y, height, width);
        if (status.state != MS_STAGE_DONE)
            return true;
    }
    if (page->error) {
        draw_paragraph(y + 1, height - 1, width, page->error, TUI_BAD);
        return true;
    }
    return false;
}

static int draw_headlines(const struct tui_view *view, int y, int height, int width)
{
    int drawn = 0;
    if (!view->kind->headline)
        return 0;
    int most = height / 3 < (int)MOST_HEADLINES ? height / 3 : (int)MOST_HEADLINES;
    for (unsigned line = 0; drawn < most; line++) {
        struct tui_cell cell;
        tui_clear(&cell);
        if (!view->kind->headline(view, line, &cell))
            break;
        tui_draw_cell(y + drawn++, 0, width, &cell, false, false);
    }
    return drawn;
}

static void draw_body(struct tui_browser *b, int y, int height, int width)
{
    struct tui_view *view = tui_current_view(b);
    view->table->page = 0;
    if (draw_instead(b, y, height, width))
        return;
    int lines = draw_headlines(view, y, height, width);
    tui_table_draw(view, y + lines, height - lines, width, b->sort_choice);
    if (!view->table->count) {
        bool filtered = *view->table->filter && view->rows.list.count;
        draw_paragraph(y + lines + 2, height - lines - 2, width,
                       filtered ? "nothing matches the filter" : view->kind->empty, TUI_DIM);
    }
}

/* --- the last two lines ------------------------------------------------------------------------ */

static void put_position(const struct tui_browser *b, struct tui_cell *cell)
{
    const struct tui_table *t = tui_current_view(b)->table;
    if (t->search_left)
        tui_put(cell, "searching… ");
    if (t->phase != TUI_SETTLED)
        tui_put(cell, t->phase == TUI_FILTERING ? "filtering… " : "sorting… ");
    if (b->export.file)
        tui_put(cell, "exporting… ");
    if (!t->page || !t->count)
        return;
    tui_put_count(cell, t->selected + 1);
    tui_put(cell, "/");
    tui_put_count(cell, t->count);
    size_t page = (size_t)t->page;
    if (t->count > page)
        tui_put(cell, t->top == 0 ? " top" : t->top + page >= t->count ? " end" : " %u%%",
                (unsigned)(100.0 * (double)t->top / (double)(t->count - page)));
}

/* A stage that is at work in the background. */
static void put_background(const struct tui_browser *b, struct tui_cell *cell)
{
    struct ms_inspection *in = b->next ? b->next : b->now;
    for (int i = 0; i < MS_STAGES; i++) {
        struct ms_stage_status status = ms_inspection_status(in, (enum ms_stage)i);
        if (status.state != MS_STAGE_RUNNING)
            continue;
        tui_put(cell, "%s%s", b->next ? "new snapshot: " : "", status.what ? status.what : ms_stage_names[i]);
        if (status.total)
            tui_put(cell, " %u%%", (unsigned)(100.0 * (double)status.done / (double)status.total));
        tui_put(cell, "…");
    }
}

static void draw_status(const struct tui_browser *b, int y, int width)
{
    const struct tui_view *view = tui_current_view(b);
    struct tui_cell left, right;
    if (b->prompt.label) {
        tui_prompt_draw(&b->prompt, y, width);
        return;
    }
    tui_clear(&left);
    tui_clear(&right);
    left.style = TUI_DIM;
    if (b->sort_choice >= 0) {
        tui_put(&left, "sort by: %s", view->kind->columns[b->sort_choice].title);
        left.style = TUI_HEAD;
    } else if (b->message.length) {
        left = b->message;
    } else if (*view->table->filter) {
        tui_put(&left, "filter: ");
        tui_put_name(&left, view->table->filter);
        left.style = TUI_DOUBT;
    } else {
        put_background(b, &left);
    }
    right.style = TUI_DIM;
    put_position(b, &right);
    int position = (int)strlen(right.text);
    if (position > width / 2)
        position = width / 2;
    tui_draw_cell(y, 0, width - position - 1, &left, false, false);
    tui_draw_cell(y, width - position, position, &right, true, false);
}

static void draw_function_bar(struct tui_browser *b, int y, int width)
{
    unsigned context = b->prompt.label ? TUI_IN_PROMPT : b->sort_choice >= 0 ? TUI_IN_SORT : TUI_IN_VIEW;
    int x = 0;
    tui_draw_blank(y, 0, width, TUI_PLAIN, false);
    for (size_t i = 0; i < tui_key_count; i++) {
        const struct tui_key *key = &tui_keys[i];
        if (!key->bar || !(key->contexts & context))
            continue;
        int wanted = (int)(strlen(key->bar_name) + strlen(key->bar)) + 2;
        if (x + wanted > width)
            break;
        int start = x;
        x += tui_draw_text(y, x, width - x, key->bar_name, TUI_KEY);
        x += tui_draw_text(y, x, width - x, key->bar, TUI_PLAIN);
        remember_click(b, y, start, x - start, key->codes[0]);
        x += 2;
    }
}

void tui_draw(struct tui_browser *b)
{
    int width, height;
    tui_screen_size(&width, &height);
    tui_screen_erase();
    b->clicks.count = 0;
    b->changed = false;
    b->spin++;
    if (width < TUI_LEAST_WIDTH || height < TUI_LEAST_HEIGHT) {
        struct tui_cell cell;
        tui_clear(&cell);
        tui_put(&cell, "memscope needs %dx%d", TUI_LEAST_WIDTH, TUI_LEAST_HEIGHT);
        tui_draw_text(0, 0, width, cell.text, TUI_PLAIN);
    } else {
        draw_title(b, width);
        draw_tabs(b, 1, width);
        draw_body(b, 2, height - 4, width);
        draw_status(b, height - 2, width);
        draw_function_bar(b, height - 1, width);
    }
    tui_screen_update();
}
