/* Threads: what each is doing, open to its frames, and these to their locals. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/stacks.h"
#include "what.h"
#include "words.h"

/* What they are doing is asked for so many at once, so that one that is opened need not wait long … */
#define BATCH 32u
/* … and for no more than so many. */
#define DOING_MOST 1024u
/* Of a local so many members, and so many values of a thread. */
#define VALUES_EACH 16u
#define VALUES_MOST 5000u

enum column { WHAT, WHERE, MODULE, COLUMNS };
static const struct tui_column columns[COLUMNS] = {
    [WHAT] = {.title = "thread, frame, local", .least = 44},
    [WHERE] = {.title = "state, line, type", .width = 22, .weight = 2},
    [MODULE] = {.title = "module", .width = 16, .weight = 1},
};

/* An answer: for a thread by its index its stack, for BATCH_BIT and a batch what its threads do. */
#define BATCH_BIT (1ull << 32)
struct content {
    struct ms_decoded_stack decoded;
    struct ms_doing doing[BATCH];
};

struct state {
    size_t *batches; /* index of the answer of each batch; owned */
    size_t batch_count;
};

/* --- rows -------------------------------------------------------------------------------------- */

/*
 * Item: of a thread its index; of others that of the thread's answer in the upper half, and in the lower one a
 * frame or, with LOCAL_BIT, one of its values. WAITING: there is no answer yet, or it is an error.
 */
#define BELOW (1ull << 63)
#define LOCAL_BIT (1u << 31)
#define WAITING 0xffffffffu

static const struct ms_thread *thread_of(const struct tui_view *view, const struct tui_row *row)
{
    return row->item & BELOW ? NULL : &view->facts.image->threads[row->item];
}

static size_t answer_index(const struct tui_row *row)
{
    return (size_t)((row->item & ~BELOW) >> 32);
}

static const struct tui_answer *answer_of(const struct tui_view *view, const struct tui_row *row)
{
    return &view->answers.list.items[answer_index(row)];
}

static const struct ms_decoded_stack *stack_of(const struct tui_view *view, const struct tui_row *row)
{
    return &((const struct content *)answer_of(view, row)->content)->decoded;
}

static bool is_waiting(const struct tui_row *row)
{
    return row->item & BELOW && (uint32_t)row->item == WAITING;
}

static const struct ms_frame *frame_of(const struct tui_view *view, const struct tui_row *row)
{
    if (!(row->item & BELOW) || row->item & LOCAL_BIT)
        return NULL;
    return &stack_of(view, row)->stack.frames.items[(uint32_t)row->item];
}

static const struct ms_stack_value *value_of(const struct tui_view *view, const struct tui_row *row)
{
    if (!(row->item & BELOW) || !(row->item & LOCAL_BIT) || is_waiting(row))
        return NULL;
    return &stack_of(view, row)->values.items[(uint32_t)row->item & ~LOCAL_BIT];
}

/* A thread's has 22 bits of its number, then a frame's 11, then 30 for one of its locals. */
static uint64_t key_of(pid_t tid, size_t frame, size_t value)
{
    return BELOW | (uint64_t)(unsigned)tid << 41 | (uint64_t)frame << 30 | value;
}

/* --- questions --------------------------------------------------------------------------------- */

static struct ms_error *find_doing(const struct ms_facts *facts, uint64_t batch, struct ms_doing doing[BATCH])
{
    const struct ms_image *image = facts->image;
    for (size_t i = 0; i < BATCH && batch * BATCH + i < image->thread_count; i++)
        MS_TRY(ms_thread_doing(facts->types, &image->threads[batch * BATCH + i], &doing[i]));
    return NULL;
}

static struct ms_error *find(const struct ms_facts *facts, uint64_t id, void **out)
{
    const struct ms_decoder decoder = {facts->scan, facts->image, facts->symbols, facts->types, facts->knowledge};
    struct content *content = calloc(1, sizeof *content);
    *out = content;
    if (!content)
        return ms_error_nomem("the threads");
    if (id & BATCH_BIT)
        return find_doing(facts, id & ~BATCH_BIT, content->doing);
    return ms_decode_stack(&decoder, &facts->image->threads[id], VALUES_EACH, VALUES_MOST, &content->decoded);
}

static void free_content(void *content)
{
    ms_decoded_stack_free(&((struct content *)content)->decoded);
    free(content);
}

static void release(void *state)
{
    free(((struct state *)state)->batches);
}

/* Asks what the next threads are doing when it is known of those before them. */
static struct ms_error *next_batch(struct tui_view *view)
{
    struct state *state = view->state;
    const size_t threads = view->facts.image->thread_count, done = state->batch_count;
    const size_t wanted = (threads < DOING_MOST ? threads : DOING_MOST) / BATCH + 1;
    if (done >= wanted || (done && !view->answers.list.items[state->batches[done - 1]].done))
        return NULL;
    size_t *batches = realloc(state->batches, (done + 1) * sizeof *batches);
    if (!batches)
        return ms_error_nomem("the threads");
    state->batches = batches;
    state->batch_count++;
    return tui_want(view, BATCH_BIT | done, &state->batches[done]);
}

static struct ms_error *fill(struct tui_view *view)
{
    struct state *state = view->state;
    const struct ms_image *image = view->facts.image;
    bool forgotten;
    MS_TRY(tui_answers_fill(view, &forgotten));
    if (forgotten)
        state->batch_count = 0;
    MS_TRY(next_batch(view));
    for (size_t i = 0; i < image->thread_count; i++)
        MS_TRY(tui_add_row(&view->rows, (struct tui_row){.key = key_of(image->threads[i].tid, 0, 0),
                                                         .item = i, .opens = true}));
    return NULL;
}

static struct ms_error *open_thread(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    size_t index;
    MS_TRY(tui_want(view, row->item, &index));
    const uint64_t item = BELOW | (uint64_t)index << 32;
    const pid_t tid = thread_of(view, row)->tid;
    const struct content *content = view->answers.list.items[index].content;
    const struct ms_decoded_stack *decoded = content ? &content->decoded : NULL;
    if (!decoded || !decoded->stack.frames.count)
        return tui_add_row(below, (struct tui_row){.key = key_of(tid, 0, 1), .item = item | WAITING});
    for (size_t i = 0; i < decoded->stack.frames.count; i++) {
        bool locals = decoded->stack.frames.items[i].locals.count;
        MS_TRY(tui_add_row(below, (struct tui_row){.key = key_of(tid, i + 1, 0), .item = item | i,
                                                   .opens = locals}));
    }
    return NULL;
}

static struct ms_error *open_frame(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    const struct ms_decoded_stack *decoded = stack_of(view, row);
    const size_t frame = (uint32_t)row->item;
    for (size_t i = 0; i < decoded->values.count; i++) {
        if (decoded->values.items[i].frame != frame)
            continue;
        const uint64_t item = (row->item & ~(uint64_t)WAITING) | LOCAL_BIT | i;
        const uint64_t key = key_of(decoded->stack.tid, frame + 1, i + 1);
        MS_TRY(tui_add_row(below, (struct tui_row){.key = key, .item = item}));
    }
    return NULL;
}

static struct ms_error *open_row(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    return (row->item & BELOW ? open_frame : open_thread)(view, row, below);
}

/* --- cells ------------------------------------------------------------------------------------- */

static const char *state_text(char state)
{
    switch (state) {
    case 'R':
        return "running";
    case 'S':
        return "sleeping";
    case 'D':
        return "waiting in the kernel";
    case 'T':
        return "stopped";
    case 't':
        return "traced";
    case 'I':
        return "idle";
    case 'Z':
    case 'X':
        return "dead";
    default:
        return "";
    }
}

/* NULL: not known, or not yet. */
static const struct ms_doing *doing_of(const struct tui_view *view, size_t thread)
{
    const struct state *state = view->state;
    const size_t batch = thread / BATCH;
    if (batch >= state->batch_count)
        return NULL;
    const struct content *content = view->answers.list.items[state->batches[batch]].content;
    return content && content->doing[thread % BATCH].function ? &content->doing[thread % BATCH] : NULL;
}

static void thread_cell(const struct tui_view *view, const struct tui_row *row, enum column column,
                        struct tui_cell *cell)
{
    const struct ms_thread *thread = thread_of(view, row);
    const struct ms_doing *doing = doing_of(view, (size_t)row->item);
    char name[sizeof thread->name + 1];
    if (column == WHERE)
        tui_put(cell, "%s", state_text(thread->state));
    if (column != WHAT)
        return;
    memcpy(name, thread->name, sizeof thread->name);
    name[sizeof thread->name] = '\0';
    tui_put(cell, "%d ", (int)thread->tid);
    tui_put_name(cell, name);
    if (doing) {
        tui_put(cell, "  in ");
        tui_put_name(cell, doing->function);
    }
    if (doing && doing->caller) {
        tui_put(cell, " from ");
        tui_put_name(cell, doing->caller);
    }
}

static void frame_cell(const struct tui_row *row, const struct ms_frame *frame, enum column column,
                       struct tui_cell *cell)
{
    if (column == MODULE && frame->module) {
        tui_put_name(cell, frame->module);
    } else if (column == WHERE && frame->file) {
        tui_put_name(cell, frame->file);
        if (frame->line)
            tui_put(cell, ":%u", frame->line);
    } else if (column == WHAT) {
        tui_put(cell, "#%u ", (unsigned)(uint32_t)row->item);
        if (frame->function)
            tui_put_name(cell, frame->function);
        else
            tui_put(cell, "0x%" PRIx64, frame->pc);
        tui_put(cell, "%s", frame->inlined ? " (inlined)" : "");
    }
}

static void value_cell(const struct ms_stack_value *value, enum column column, struct tui_cell *cell)
{
    const struct ms_type *type = value->decoded ? value->value.type : value->local->type;
    const char *path = value->value.path ? value->value.path : "";
    if (column == WHERE && type)
        tui_put_type(cell, type->name, MS_BY_NOTHING);
    if (column != WHAT)
        return;
    tui_put_name(cell, value->local->name ? value->local->name : "?");
    tui_put(cell, "%s", *path && *path != '[' ? "." : "");
    tui_put_name(cell, path);
    tui_put(cell, " = ");
    if (value->decoded)
        tui_put_value(cell, &value->value);
    else
        tui_put(cell, "-");
    cell->style = value->value.to ? TUI_LINK : TUI_PLAIN;
}

static void waiting_cell(const struct tui_answer *answer, struct tui_cell *cell)
{
    cell->style = answer->error ? TUI_BAD : TUI_DIM;
    if (answer->error)
        tui_put_name(cell, answer->error);
    else
        tui_put(cell, answer->done ? "its registers are not known" : "unwinding …");
}

static void cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    if (thread_of(view, row))
        thread_cell(view, row, (enum column)column, cell);
    else if (is_waiting(row) && column == WHAT)
        waiting_cell(answer_of(view, row), cell);
    else if (is_waiting(row))
        return;
    else if (frame_of(view, row))
        frame_cell(row, frame_of(view, row), (enum column)column, cell);
    else
        value_cell(value_of(view, row), (enum column)column, cell);
}

static uint64_t address(const struct tui_view *view, const struct tui_row *row)
{
    const struct ms_stack_value *value = value_of(view, row);
    if (value)
        return value->value.to ? value->value.to : value->local->address;
    if (thread_of(view, row))
        return thread_of(view, row)->registers[MS_REG_RSP];
    return is_waiting(row) ? 0 : frame_of(view, row)->pc;
}

static bool enter(const struct tui_view *view, const struct tui_row *row, struct tui_place *to)
{
    const struct ms_stack_value *value = value_of(view, row);
    if (value && value->value.to)
        *to = (struct tui_place){&tui_block, value->value.to};
    return value && value->value.to;
}

const struct tui_view_kind tui_threads = {
    .name = "Threads",
    .key = '7',
    .empty = "there are no threads",
    .stage = MS_STAGE_COPY,
    .columns = columns,
    .column_count = COLUMNS,
    .sort = -1,
    .state_size = sizeof(struct state),
    .release = release,
    .answer = find,
    .free_answer = free_content,
    .fill = fill,
    .open = open_row,
    .cell = cell,
    .enter = enter,
    .address = address,
};
