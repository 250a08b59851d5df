/* The browser: its loop over terminal, signals and inspections, and what each key does. */
#include "browser.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* So long work on lists may go on between two looks at the keyboard; progress is not drawn more often. */
#define SLICE_NS 30000000u
#define REDRAW_NS 80000000u
#define DOUBLE_CLICK_NS 400000000u
#define WHEEL_ROWS 3

/* --- snapshots --------------------------------------------------------------------------------- */

static void *free_inspection(void *inspection)
{
    ms_inspection_free(inspection);
    return NULL;
}

/* Giving back a large image, or waiting for what is at work on it, takes longer than a key may. */
static void free_in_background(struct ms_inspection *in)
{
    pthread_t thread;
    if (in && pthread_create(&thread, NULL, free_inspection, in) == 0)
        pthread_detach(thread);
}

static bool copying(struct ms_inspection *in)
{
    if (!in)
        return false;
    enum ms_stage_state state = ms_inspection_status(in, MS_STAGE_COPY).state;
    return state == MS_STAGE_WAITING || state == MS_STAGE_RUNNING;
}

static bool is_core(const struct tui_browser *b)
{
    struct ms_facts facts = ms_inspection_facts(b->now);
    return facts.image && facts.image->kind == MS_CORE;
}

/* There are never more than two finished images, for they are large. */
static void drop_before(struct tui_browser *b)
{
    if (!b->before)
        return;
    tui_release_pages(b);
    free_in_background(b->before);
    b->before = NULL;
    for (size_t i = 0; i < b->pages.count; i++)
        b->pages.items[i]->view.before = NULL;
}

static void take_snapshot(struct tui_browser *b)
{
    if (is_core(b))
        tui_say(b, "a core file does not change");
    else if (b->next)
        tui_say(b, "a new snapshot is being taken");
    else if (b->target_gone)
        tui_say(b, "the process has ended: there is nothing new to be seen");
    else if (tui_busy(b->now))
        tui_say(b, "not yet: this snapshot is not analysed to its end");
    else {
        drop_before(b);
        struct ms_error *error = ms_inspection_start(&b->options->inspection, &b->next);
        if (error)
            tui_say(b, "%s", error->message);
        ms_error_free(error);
        b->changed = true;
    }
}

/* The new one is browsed, and the old one what it is compared with. */
static void adopt_next(struct tui_browser *b)
{
    struct ms_stage_status copy = ms_inspection_status(b->next, MS_STAGE_COPY);
    if (copy.state == MS_STAGE_FAILED) {
        tui_say(b, "no new snapshot: %s", copy.error ? copy.error : "it failed");
        b->message.style = TUI_BAD;
        free_in_background(b->next);
        b->next = NULL;
        return;
    }
    tui_release_pages(b);
    b->before = b->now;
    b->before_facts = ms_inspection_facts(b->before);
    b->now = b->next;
    b->next = NULL;
    tui_say(b, "new snapshot; it is compared with the one before");
}

/* Answers are shown when their view is filled. */
static void see_answers(struct tui_browser *b)
{
    for (size_t i = 0; i < b->pages.count; i++) {
        struct tui_view *view = &b->pages.items[i]->view;
        const char *error;
        if (view->question && !view->answer_seen && tui_answered(view, &error)) {
            view->answer_seen = true;
            b->pages.items[i]->stale = true;
        }
    }
}

static void see_inspections(struct tui_browser *b)
{
    struct ms_stage_status copy = ms_inspection_status(b->now, MS_STAGE_COPY);
    if (copy.state == MS_STAGE_FAILED && !b->error) {
        b->error = ms_error(MS_TARGET, "%s", copy.error ? copy.error : "the target could not be inspected");
        b->quit = true;
    }
    if (b->next && !b->export.file && !tui_busy(b->next))
        adopt_next(b);
    see_answers(b);
    bool gone = !ms_inspection_target_lives(b->now);
    b->changed |= gone != b->target_gone;
    b->target_gone = gone;
    /* The target is never left stopped: first it goes on, then we leave or stop. */
    if (copying(b->now) || copying(b->next))
        return;
    b->quit |= b->leaving;
    if (b->suspending && !b->quit) {
        b->suspending = false;
        b->changed = true;
        tui_screen_suspend(b->suspend_all);
    }
}

/* --- what keys do ------------------------------------------------------------------------------ */

static void report(struct tui_browser *b, struct ms_error *error)
{
    if (!error)
        return;
    tui_say(b, "%s", error->message);
    b->message.style = TUI_BAD;
    ms_error_free(error);
}

static void do_up(struct tui_browser *b)
{
    tui_table_move(tui_current_view(b), -1);
}

static void do_down(struct tui_browser *b)
{
    tui_table_move(tui_current_view(b), 1);
}

static long page_rows(const struct tui_browser *b)
{
    int page = tui_current_view(b)->table->page;
    return page > 1 ? page - 1 : 1;
}

static void do_page_up(struct tui_browser *b)
{
    tui_table_move(tui_current_view(b), -page_rows(b));
}

static void do_page_down(struct tui_browser *b)
{
    tui_table_move(tui_current_view(b), page_rows(b));
}

static void do_home(struct tui_browser *b)
{
    tui_table_move(tui_current_view(b), -(long)tui_current_view(b)->table->count);
}

static void do_end(struct tui_browser *b)
{
    tui_table_move(tui_current_view(b), (long)tui_current_view(b)->table->count);
}

static void do_toggle(struct tui_browser *b)
{
    report(b, tui_table_toggle(tui_current_view(b)));
}

/* True when there is somewhere to go. */
static bool follow(struct tui_browser *b)
{
    struct tui_view *view = tui_current_view(b);
    const struct tui_row *row = tui_table_selected(view);
    struct tui_place to = {0};
    if (!row || !view->kind->enter || !view->kind->enter(view, row, &to) || !to.kind)
        return false;
    view->table->key = row->key;
    tui_go(b, to);
    return true;
}

static void do_enter(struct tui_browser *b)
{
    if (!follow(b))
        do_toggle(b);
}

static void do_open(struct tui_browser *b)
{
    const struct tui_row *row = tui_table_selected(tui_current_view(b));
    if (row && row->opens && !row->open)
        do_toggle(b);
    else
        follow(b);
}

static void do_back(struct tui_browser *b)
{
    if (!tui_back(b))
        tui_say(b, "this is where you came in; q leaves");
}

static void do_help(struct tui_browser *b)
{
    tui_go(b, (struct tui_place){&tui_help, 0});
}

/* The next view of the tab bar, round and round. */
static void turn_tab(struct tui_browser *b, int step)
{
    const struct tui_view_kind *tabs[64];
    int count = 0, at = -1;
    for (size_t i = 0; tui_kinds[i] && count < 64; i++) {
        if (tui_kinds[i] == tui_current_view(b)->kind)
            at = count;
        if (tui_kinds[i]->key)
            tabs[count++] = tui_kinds[i];
    }
    if (at < 0 && step < 0)
        at = 0;
    if (count)
        tui_go(b, (struct tui_place){tabs[(at + step + count) % count], 0});
}

static void do_next_tab(struct tui_browser *b)
{
    turn_tab(b, 1);
}

static void do_previous_tab(struct tui_browser *b)
{
    turn_tab(b, -1);
}

static void do_next(struct tui_browser *b)
{
    tui_table_search(tui_current_view(b), false);
}

static void do_previous(struct tui_browser *b)
{
    tui_table_search(tui_current_view(b), true);
}

static bool sortable(struct tui_browser *b)
{
    if (tui_current_view(b)->kind->sort >= 0)
        return true;
    tui_say(b, "this view has an order of its own");
    return false;
}

static void do_reverse(struct tui_browser *b)
{
    struct tui_view *view = tui_current_view(b);
    if (!sortable(b))
        return;
    view->table->reverse = !view->table->reverse;
    report(b, tui_table_arrange(view));
}

static void sort_by(struct tui_browser *b, int column)
{
    struct tui_view *view = tui_current_view(b);
    view->table->reverse = view->table->sort == column && !view->table->reverse;
    view->table->sort = column;
    report(b, tui_table_arrange(view));
}

static bool can_sort_by(const struct tui_view *view, int column)
{
    return !view->kind->columns[column].fixed && tui_column_used(view, (unsigned)column);
}

static void do_sort(struct tui_browser *b)
{
    if (sortable(b))
        b->sort_choice = tui_current_view(b)->table->sort;
}

static void do_snapshot(struct tui_browser *b)
{
    take_snapshot(b);
}

static void do_quit(struct tui_browser *b)
{
    b->leaving = true;
    if (copying(b->now) || copying(b->next))
        tui_say(b, "leaving as soon as the process is running again…");
}

static uint64_t selected_address(const struct tui_browser *b)
{
    const struct tui_view *view = tui_current_view(b);
    const struct tui_row *row = tui_table_selected(view);
    return row && view->kind->address ? view->kind->address(view, row) : 0;
}

static void do_copy(struct tui_browser *b)
{
    char text[32];
    uint64_t address = selected_address(b);
    if (!address) {
        tui_say(b, "there is no address here");
        return;
    }
    snprintf(text, sizeof text, "0x%" PRIx64, address);
    tui_screen_copy(text);
    tui_say(b, "copied %s", text);
}

static void do_cancel(struct tui_browser *b)
{
    struct tui_table *t = tui_current_view(b)->table;
    t->search_left = 0;
    if (!*t->filter)
        return;
    *t->filter = '\0';
    report(b, tui_table_arrange(tui_current_view(b)));
}

static void do_suspend(struct tui_browser *b)
{
    b->suspending = b->suspend_all = true;
}

static void do_redraw(struct tui_browser *b)
{
    (void)b;
    tui_screen_resume();
}

static void do_mouse(struct tui_browser *b);

/* --- prompts ----------------------------------------------------------------------------------- */

static void do_search(struct tui_browser *b)
{
    tui_prompt_begin(&b->prompt, "search: ", "");
}

static void do_filter(struct tui_browser *b)
{
    tui_prompt_begin(&b->prompt, "filter: ", tui_current_view(b)->table->filter);
}

static void do_go(struct tui_browser *b)
{
    char text[32] = "0x";
    uint64_t address = selected_address(b);
    if (address)
        snprintf(text, sizeof text, "0x%" PRIx64, address);
    tui_prompt_begin(&b->prompt, "go to address: ", text);
}

static void do_export(struct tui_browser *b)
{
    char text[64];
    snprintf(text, sizeof text, "memscope-%s.txt", tui_current_view(b)->kind->name);
    for (char *c = text; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c == ' ' ? '-' : *c;
    tui_prompt_begin(&b->prompt, "export to (.json or text): ", text);
}

/* Hexadecimal behind 0x or when it has such digits, else decimal. */
static bool parse_address(const char *text, uint64_t *address)
{
    char *end;
    text += strspn(text, " ");
    bool prefix = text[0] == '0' && (text[1] | 32) == 'x';
    bool hexadecimal = prefix || strpbrk(text, "abcdefABCDEF");
    if (!strchr("0123456789abcdefABCDEF", text[0]) || !*text)
        return false;
    errno = 0;
    *address = strtoull(text, &end, hexadecimal ? 16 : 10);
    end += strspn(end, " ");
    return !*end && !errno && *address && !(prefix && end == text + 1);
}

static void accept_go(struct tui_browser *b)
{
    uint64_t address;
    if (parse_address(b->prompt.text, &address))
        tui_go(b, (struct tui_place){&tui_block, address});
    else
        tui_say(b, "that is no address such as 0x55d1c02a4c30");
}

static void accept_search(struct tui_browser *b)
{
    struct tui_table *t = tui_current_view(b)->table;
    if (*b->prompt.text)
        snprintf(t->needle, sizeof t->needle, "%.*s", (int)sizeof t->needle - 1, b->prompt.text);
    tui_table_search(tui_current_view(b), false);
}

static void apply_filter(struct tui_browser *b)
{
    struct tui_table *t = tui_current_view(b)->table;
    snprintf(t->filter, sizeof t->filter, "%.*s", (int)sizeof t->filter - 1, b->prompt.text);
    report(b, tui_table_arrange(tui_current_view(b)));
}

static void accept_export(struct tui_browser *b)
{
    report(b, tui_export_begin(b, b->prompt.text));
}

/* --- the table of what actions do -------------------------------------------------------------- */

static const struct {
    void (*run)(struct tui_browser *b);
    /* Of those with a prompt: when it is accepted, and whenever its text changes. */
    void (*accept)(struct tui_browser *b);
    void (*change)(struct tui_browser *b);
} actions[TUI_ACTIONS] = {
    [TUI_DO_HELP] = {.run = do_help},
    [TUI_DO_SEARCH] = {.run = do_search, .accept = accept_search},
    [TUI_DO_FILTER] = {.run = do_filter, .change = apply_filter},
    [TUI_DO_SNAPSHOT] = {.run = do_snapshot},
    [TUI_DO_SORT] = {.run = do_sort},
    [TUI_DO_EXPORT] = {.run = do_export, .accept = accept_export},
    [TUI_DO_GO] = {.run = do_go, .accept = accept_go},
    [TUI_DO_QUIT] = {.run = do_quit},
    [TUI_DO_UP] = {.run = do_up},
    [TUI_DO_DOWN] = {.run = do_down},
    [TUI_DO_PAGE_UP] = {.run = do_page_up},
    [TUI_DO_PAGE_DOWN] = {.run = do_page_down},
    [TUI_DO_HOME] = {.run = do_home},
    [TUI_DO_END] = {.run = do_end},
    [TUI_DO_ENTER] = {.run = do_enter},
    [TUI_DO_OPEN] = {.run = do_open},
    [TUI_DO_TOGGLE] = {.run = do_toggle},
    [TUI_DO_BACK] = {.run = do_back},
    [TUI_DO_NEXT_TAB] = {.run = do_next_tab},
    [TUI_DO_PREVIOUS_TAB] = {.run = do_previous_tab},
    [TUI_DO_NEXT] = {.run = do_next},
    [TUI_DO_PREVIOUS] = {.run = do_previous},
    [TUI_DO_REVERSE] = {.run = do_reverse},
    [TUI_DO_COPY] = {.run = do_copy},
    [TUI_DO_SUSPEND] = {.run = do_suspend},
    [TUI_DO_REDRAW] = {.run = do_redraw},
    [TUI_DO_MOUSE] = {.run = do_mouse},
    [TUI_DO_CANCEL] = {.run = do_cancel},
};

static void run_action(struct tui_browser *b, enum tui_action action)
{
    if (action >= TUI_ACTIONS || !actions[action].run)
        return;
    b->prompt_for = action;
    actions[action].run(b);
}

static void key_in_prompt(struct tui_browser *b, int code)
{
    enum tui_action action = tui_action_of(code, TUI_IN_PROMPT);
    if (action == TUI_DO_SUSPEND || action == TUI_DO_REDRAW) {
        actions[action].run(b);
        return;
    }
    bool cancelled = action == TUI_DO_CANCEL;
    if (cancelled)
        *b->prompt.text = '\0';
    bool changed = cancelled || tui_prompt_edit(&b->prompt, action, code);
    if (changed && actions[b->prompt_for].change)
        actions[b->prompt_for].change(b);
    if (cancelled || action == TUI_DO_ACCEPT)
        b->prompt.label = NULL;
    if (action == TUI_DO_ACCEPT && actions[b->prompt_for].accept)
        actions[b->prompt_for].accept(b);
}

static void move_choice(struct tui_browser *b, int step)
{
    const struct tui_view *view = tui_current_view(b);
    int count = (int)view->kind->column_count;
    for (int i = 0; i < count; i++) {
        b->sort_choice = (b->sort_choice + step + count) % count;
        if (can_sort_by(view, b->sort_choice))
            return;
    }
}

static void key_in_sort(struct tui_browser *b, int code)
{
    enum tui_action action = tui_action_of(code, TUI_IN_SORT);
    switch (action) {
    case TUI_DO_ACCEPT:
        if (b->sort_choice != tui_current_view(b)->table->sort)
            sort_by(b, b->sort_choice);
        b->sort_choice = -1;
        break;
    case TUI_DO_CANCEL:
        b->sort_choice = -1;
        break;
    case TUI_DO_LEFT:
    case TUI_DO_LINE_START:
    case TUI_DO_RIGHT:
    case TUI_DO_LINE_END:
        if (action == TUI_DO_LINE_START)
            b->sort_choice = -1;
        if (action == TUI_DO_LINE_END)
            b->sort_choice = 0;
        move_choice(b, action == TUI_DO_LEFT || action == TUI_DO_LINE_END ? -1 : 1);
        break;
    default:
        run_action(b, action);
    }
}

static void key_in_view(struct tui_browser *b, int code)
{
    for (size_t i = 0; tui_kinds[i]; i++) {
        if (code && code == tui_kinds[i]->key) {
            tui_go(b, (struct tui_place){tui_kinds[i], 0});
            return;
        }
    }
    run_action(b, tui_action_of(code, TUI_IN_VIEW));
}

/* An export is of what is shown: before that changes it comes to its end, or is given up. */
static void end_export(struct tui_browser *b, int code)
{
    if (tui_action_of(code, TUI_IN_PROMPT) == TUI_DO_CANCEL) {
        tui_export_drop(b);
        tui_say(b, "the export was given up");
    } else {
        report(b, tui_export_work(b, UINT64_MAX));
    }
}

static void handle_key(struct tui_browser *b, int code)
{
    b->changed = true;
    if (!b->leaving)
        tui_clear(&b->message);
    if (b->export.file)
        end_export(b, code);
    if (b->prompt.label)
        key_in_prompt(b, code);
    else if (b->sort_choice >= 0)
        key_in_sort(b, code);
    else
        key_in_view(b, code);
}

/* --- mouse ------------------------------------------------------------------------------------- */

static void click_row(struct tui_browser *b, size_t position)
{
    struct tui_view *view = tui_current_view(b);
    uint64_t now = tui_now();
    bool twice = position == b->clicked && now - b->clicked_ns < DOUBLE_CLICK_NS;
    b->clicked = position;
    b->clicked_ns = twice ? 0 : now;
    tui_table_select(view, position);
    if (twice && view->table->selected == position)
        do_enter(b);
}

static void click_title(struct tui_browser *b, int x)
{
    struct tui_view *view = tui_current_view(b);
    for (unsigned i = 0; i < view->kind->column_count; i++) {
        const struct tui_span *span = &view->table->spans[i];
        if (x >= span->x && x < span->x + span->width && view->kind->sort >= 0 && can_sort_by(view, (int)i)) {
            b->sort_choice = -1;
            sort_by(b, (int)i);
            return;
        }
    }
}

static void click(struct tui_browser *b, const struct tui_mouse *mouse)
{
    const struct tui_table *t = tui_current_view(b)->table;
    for (size_t i = 0; i < b->clicks.count; i++) {
        const struct tui_click *c = &b->clicks.items[i];
        if (mouse->y == c->y && mouse->x >= c->x && mouse->x < c->x + c->width) {
            handle_key(b, c->key);
            return;
        }
    }
    int row = mouse->y - t->rows_y;
    if (t->page > 0 && row == -1)
        click_title(b, mouse->x);
    else if (row >= 0 && row < t->page && t->top + (size_t)row < t->count)
        click_row(b, t->top + (size_t)row);
}

static void do_mouse(struct tui_browser *b)
{
    struct tui_mouse mouse;
    if (!tui_screen_mouse(&mouse))
        return;
    if (mouse.up || mouse.down)
        tui_table_move(tui_current_view(b), mouse.up ? -WHEEL_ROWS : WHEEL_ROWS);
    else
        click(b, &mouse);
}

/* --- signals ----------------------------------------------------------------------------------- */

static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};

static void make_signal_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(set, handled[i]);
}

static void handle_signals(struct tui_browser *b)
{
    struct signalfd_siginfo info;
    while (read(b->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        int number = (int)info.ssi_signo;
        b->changed = true;
        if (number == SIGWINCH) {
            tui_screen_resized();
            tui_all_stale(b); /* maps have the terminal's width */
        } else if (number == SIGCONT) {
            tui_screen_resume();
        } else if (number == SIGTSTP) {
            b->suspending = true;
            b->suspend_all = false;
        } else {
            b->signal = number;
            b->quit = true;
        }
    }
}

/* Dies of the signal, as whoever sent it expects. */
static void end_by_signal(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    signal(number, SIG_DFL);
    raise(number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* --- the loop ---------------------------------------------------------------------------------- */

/* A piece of what takes long. True: there is more. */
static bool work(struct tui_browser *b)
{
    struct tui_view *view = tui_current_view(b);
    struct tui_table *t = view->table;
    struct ms_error *error;
    bool searched = t->search_left > 0;
    bool unsettled = t->phase != TUI_SETTLED;
    uint64_t deadline = tui_now() + SLICE_NS;
    bool more = tui_table_work(view, deadline, &error);
    report(b, error);
    if (searched && !t->search_left && !t->search_found) {
        tui_say(b, "not found: ");
        tui_put_name(&b->message, t->needle);
        b->message.style = TUI_DOUBT;
    }
    b->changed |= searched || unsettled;
    if (b->export.file && tui_now() < deadline)
        report(b, tui_export_work(b, deadline));
    return more || b->export.file;
}

static void drain(int fd)
{
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof count);
    (void)ignored;
}

/* Waits, at most TIMEOUT ms, and takes in all that came. */
static void take_events(struct tui_browser *b, int timeout)
{
    struct pollfd fds[] = {
        {STDIN_FILENO, POLLIN, 0},
        {b->signals, POLLIN, 0},
        {ms_inspection_fd(b->now), POLLIN, 0},
        {b->next ? ms_inspection_fd(b->next) : -1, POLLIN, 0},
    };
    if (poll(fds, 4, timeout) < 0 && errno != EINTR)
        b->quit = true;
    if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))
        b->quit = true; /* the terminal is gone */
    if (fds[1].revents)
        handle_signals(b);
    for (int i = 2; i < 4; i++) {
        if (fds[i].revents)
            drain(fds[i].fd);
        b->progressed |= fds[i].revents != 0;
    }
    for (int code; !b->quit && (code = tui_screen_key()) >= 0;)
        handle_key(b, code);
}

static void loop(struct tui_browser *b)
{
    uint64_t drawn = 0;
    while (!b->quit) {
        see_inspections(b);
        if (b->quit)
            return;
        tui_freshen(b);
        bool more = work(b);
        bool due = b->progressed && tui_now() - drawn > REDRAW_NS;
        if (b->changed || due) {
            tui_draw(b);
            drawn = tui_now();
            b->progressed = false;
        }
        bool busy = b->next || tui_busy(b->now) || b->progressed;
        b->progressed |= tui_busy(b->now); /* a sign of life now and then */
        take_events(b, more ? 0 : busy ? (int)(REDRAW_NS / 1000000) : 500);
    }
}

/* What is still at work is not waited for: the target runs, and the process is about to end. */
static bool at_work(const struct tui_browser *b)
{
    for (size_t i = 0; i < b->pages.count; i++)
        if (b->pages.items[i]->view.question && !b->pages.items[i]->view.answer_seen)
            return true;
    return b->next || tui_busy(b->now);
}

static ms_result browse(struct tui_browser *b)
{
    MS_TRY(tui_screen_open(b->options->color));
    struct ms_error *error = ms_inspection_start(&b->options->inspection, &b->now);
    if (!error) {
        tui_go(b, (struct tui_place){tui_kinds[0], 0});
        if (b->depth)
            loop(b);
        else
            error = ms_error_nomem("a view");
    }
    tui_screen_close();
    if (b->signal)
        end_by_signal(b->signal);
    return error ? error : b->error;
}

static void release(struct tui_browser *b)
{
    bool wait = b->now && !at_work(b);
    tui_export_drop(b);
    tui_free_pages(b);
    if (wait) {
        ms_inspection_free(b->now);
        ms_inspection_free(b->before);
    }
    ms_vector_free(&b->clicks);
}

ms_result ms_tui(const struct ms_tui_options *options)
{
    struct tui_browser b = {.options = options, .sort_choice = -1, .changed = true};
    sigset_t set, old;
    make_signal_set(&set);
    /* Before any thread is made: they are to have them blocked, too. */
    pthread_sigmask(SIG_BLOCK, &set, &old);
    b.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct ms_error *error =
        b.signals < 0 ? ms_error_errno(MS_TARGET, errno, "cannot take signals") : browse(&b);
    release(&b);
    if (b.signals >= 0)
        close(b.signals);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}
