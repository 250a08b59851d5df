/* Filtering, sorting and searching of rows, a piece at a time so that a list of millions never holds up a key. */
#include <string.h>
#include <time.h>

#include "table.h"

/* Rows between two looks at the clock. */
#define PIECE 256u
/* So few are sorted by insertion. */
#define FEW 32u
/* Trees that are deeper are sorted down to here. */
#define DEEPEST_SORTED 256u

uint64_t tui_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- filter ------------------------------------------------------------------------------------ */

/* Does some cell of the row hold NEEDLE? Letters of ASCII in any case. */
static bool row_matches(const struct tui_view *view, const struct tui_row *row, const char *needle)
{
    struct tui_cell cell;
    for (unsigned column = 0; column < view->kind->column_count; column++) {
        if (!tui_column_used(view, column))
            continue;
        tui_make_cell(view, row, column, &cell);
        if (cell.length && strcasestr(cell.text, needle))
            return true;
    }
    return false;
}

/*
 * A row that matches is shown with those it is below of, and the heading it is under. From the end,
 * because that is when it is known whether something follows.
 */
static void keep_ancestors(const struct tui_rows *rows, uint8_t *matches)
{
    unsigned wanted = 0; /* depth of the last shown row: what is above it has less */
    bool below = false;  /* something since the last heading */
    for (size_t i = rows->list.count; i-- > 0;) {
        const struct tui_row *row = &rows->list.items[i];
        if (row->heading) {
            matches[i] = below;
            below = false;
            wanted = 0;
        } else if (matches[i] || row->depth < wanted) {
            matches[i] = true;
            below = true;
            wanted = row->depth;
        }
    }
}

/* True when all rows were looked at. */
static bool filter(struct tui_view *view, uint64_t deadline)
{
    struct tui_table *t = view->table;
    for (; t->at < view->rows.list.count; t->at++) {
        if (t->at % PIECE == 0 && t->at && tui_now() > deadline)
            return false;
        t->matches[t->at] = row_matches(view, &view->rows.list.items[t->at], t->filter);
    }
    keep_ancestors(&view->rows, t->matches);
    t->next_count = 0;
    for (size_t i = 0; i < view->rows.list.count; i++)
        if (t->matches[i])
            t->next[t->next_count++] = (uint32_t)i;
    return true;
}

/* --- what is sorted by ------------------------------------------------------------------------- */

/* Doubles in the order of unsigned numbers; what is no number comes last. */
static uint64_t rank_of(double value, bool descending)
{
    uint64_t bits;
    if (value != value)
        return UINT64_MAX;
    memcpy(&bits, &value, sizeof bits);
    bits = bits >> 63 ? ~bits : bits | 1ull << 63;
    return descending ? ~bits : bits;
}

static uint64_t rank_of_text(const char *text, bool descending)
{
    uint64_t rank = 0;
    size_t length = strnlen(text, 8);
    for (size_t i = 0; i < 8; i++) {
        unsigned char c = i < length ? (unsigned char)text[i] : 0;
        rank = rank << 8 | (c >= 'A' && c <= 'Z' ? c + 32u : c);
    }
    return descending ? ~rank : rank;
}

static bool sorts_descending(const struct tui_view *view)
{
    const struct tui_table *t = view->table;
    return view->kind->columns[t->sort].descending != t->reverse;
}

static struct ms_error *fetch_text(struct tui_view *view, struct tui_sort_key *key)
{
    struct tui_table *t = view->table;
    struct tui_cell cell;
    tui_make_cell(view, &view->rows.list.items[key->row], (unsigned)t->sort, &cell);
    size_t size = strlen(cell.text) + 1, old = t->texts.count;
    while (t->texts.capacity < old + size) {
        if (!ms_vector_add(&t->texts)) /* that is how it grows */
            return ms_error_nomem("sorting");
        t->texts.count = t->texts.capacity;
    }
    memcpy(t->texts.items + old, cell.text, size);
    t->texts.count = old + size;
    key->text = (uint32_t)old;
    key->rank = rank_of_text(cell.text, sorts_descending(view));
    return NULL;
}

/* By number, unless the first row that is none of the headings has none. */
static bool has_numbers(struct tui_view *view)
{
    double value;
    struct tui_table *t = view->table;
    for (size_t i = 0; view->kind->number && i < t->next_count; i++) {
        const struct tui_row *row = &view->rows.list.items[t->next[i]];
        if (!row->heading && view->kind->number(view, row, (unsigned)t->sort, &value))
            return true;
    }
    return false;
}

/* True when all keys are there, or there was an error. */
static bool fetch(struct tui_view *view, uint64_t deadline, struct ms_error **error)
{
    struct tui_table *t = view->table;
    if (t->at == 0) {
        t->texts.count = 0;
        t->by_text = !has_numbers(view);
    }
    bool descending = sorts_descending(view);
    for (; t->at < t->next_count; t->at++) {
        if (t->at % PIECE == 0 && t->at && tui_now() > deadline)
            return false;
        struct tui_sort_key *key = &t->keys[t->at];
        double value = 0;
        *key = (struct tui_sort_key){.row = t->next[t->at]};
        if (t->by_text)
            *error = t->texts.count < UINT32_MAX - TUI_CELL_BYTES ? fetch_text(view, key) : NULL;
        else if (view->kind->number(view, &view->rows.list.items[key->row], (unsigned)t->sort, &value))
            key->rank = rank_of(value, descending);
        else
            key->rank = UINT64_MAX;
        if (*error)
            return true;
    }
    return true;
}

/* --- sorting ----------------------------------------------------------------------------------- */

static void insert_by_rank(struct tui_sort_key *keys, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct tui_sort_key key = keys[i];
        size_t to = i;
        for (; to > 0 && keys[to - 1].rank > key.rank; to--)
            keys[to] = keys[to - 1];
        keys[to] = key;
    }
}

/* Where those with each byte at SHIFT begin; false when all have the same. */
static bool make_starts(const size_t counts[256], size_t count, size_t starts[256])
{
    size_t sum = 0;
    for (unsigned i = 0; i < 256; i++) {
        if (counts[i] == count)
            return false;
        starts[i] = sum;
        sum += counts[i];
    }
    return true;
}

/* Sorts KEYS by their ranks, equal ones left as they are: a byte at a time from the last; bytes that are the same in
 * all are passed over. SPARE has as many. */
static void sort_by_rank(struct tui_sort_key *keys, struct tui_sort_key *spare, size_t count)
{
    struct tui_sort_key *from = keys, *to = spare;
    size_t counts[8][256] = {0}, starts[256];
    if (count <= FEW) {
        insert_by_rank(keys, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (unsigned byte = 0; byte < 8; byte++)
            counts[byte][keys[i].rank >> 8 * byte & 255]++;
    for (unsigned byte = 0; byte < 8; byte++) {
        if (!make_starts(counts[byte], count, starts))
            continue;
        for (size_t i = 0; i < count; i++)
            to[starts[from[i].rank >> 8 * byte & 255]++] = from[i];
        struct tui_sort_key *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys)
        memcpy(keys, from, count * sizeof *keys);
}

/* Texts that begin alike are sorted by their next bytes, and so on; LEVEL eights are behind us. */
static void sort_keys(const struct tui_view *view, struct tui_sort_key *keys, struct tui_sort_key *spare,
                      size_t count, unsigned level)
{
    const struct tui_table *t = view->table;
    bool descending = sorts_descending(view);
    sort_by_rank(keys, spare, count);
    for (size_t i = 0, end; t->by_text && i < count; i = end) {
        for (end = i + 1; end < count && keys[end].rank == keys[i].rank; end++)
            ;
        bool ended = !((descending ? ~keys[i].rank : keys[i].rank) & 255);
        if (end - i == 1 || ended)
            continue;
        for (size_t k = i; k < end; k++)
            keys[k].rank = rank_of_text(t->texts.items + keys[k].text + 8 * (level + 1), descending);
        sort_keys(view, keys + i, spare, end - i, level + 1);
    }
}

struct sorting {
    struct tui_view *view;
    struct tui_sort_key *siblings, *spare; /* as many as there are keys */
    size_t used;  /* of siblings, by the levels above */
    uint32_t *out;
};

/* How many keys from FROM on belong to the row there: itself and what is below it. */
static size_t family(const struct sorting *s, size_t from, size_t end)
{
    const struct tui_row *rows = s->view->rows.list.items;
    const struct tui_sort_key *keys = s->view->table->keys;
    unsigned depth = rows[keys[from].row].depth;
    size_t i = from + 1;
    while (i < end && rows[keys[i].row].depth > depth && !rows[keys[i].row].heading)
        i++;
    return i - from;
}

static void sort_range(struct sorting *s, size_t from, size_t end, unsigned level);

/* Siblings between two headings: TEXT is not needed any more behind sorting, ROW becomes the place among keys. */
static void emit(struct sorting *s, struct tui_sort_key *siblings, size_t count, unsigned level)
{
    const struct tui_table *t = s->view->table;
    for (size_t i = 0; i < count; i++) {
        size_t place = siblings[i].row;
        *s->out++ = t->keys[place].row;
        size_t members = family(s, place, t->next_count);
        if (members > 1)
            sort_range(s, place + 1, place + members, level + 1);
    }
}

/* Rows of one run of siblings, with all that is below them; headings stay where they are. */
static void sort_range(struct sorting *s, size_t from, size_t end, unsigned level)
{
    const struct tui_table *t = s->view->table;
    const struct tui_row *rows = s->view->rows.list.items;
    while (from < end) {
        size_t before = s->used, i = from;
        for (; i < end && !rows[t->keys[i].row].heading; i += family(s, i, end)) {
            s->siblings[s->used] = t->keys[i];
            s->siblings[s->used++].row = (uint32_t)i;
        }
        struct tui_sort_key *run = s->siblings + before;
        size_t count = s->used - before;
        if (level < DEEPEST_SORTED)
            sort_keys(s->view, run, s->spare, count, 0);
        emit(s, run, count, level);
        s->used = before;
        from = i;
        if (from < end)
            *s->out++ = t->keys[from++].row; /* the heading */
    }
}

/* Most lists are no trees, and long ones need it most. */
static bool is_flat(const struct tui_view *view)
{
    for (size_t i = 0; i < view->rows.list.count; i++)
        if (view->rows.list.items[i].depth || view->rows.list.items[i].heading)
            return false;
    return true;
}

static struct ms_error *sort(struct tui_view *view)
{
    struct tui_table *t = view->table;
    size_t count = t->next_count;
    bool flat = is_flat(view);
    ms_auto_free struct tui_sort_key *spare = malloc((flat ? count + 1 : 2 * count + 1) * sizeof *spare);
    if (!spare)
        return ms_error_nomem("sorting");
    if (flat) {
        sort_keys(view, t->keys, spare, count, 0);
        for (size_t i = 0; i < count; i++)
            t->next[i] = t->keys[i].row;
        return NULL;
    }
    struct sorting s = {.view = view, .siblings = spare + count, .spare = spare, .out = t->next};
    sort_range(&s, 0, count, 0);
    return NULL;
}

/* --- all of it --------------------------------------------------------------------------------- */

ms_result tui_table_arrange(struct tui_view *view)
{
    struct tui_table *t = view->table;
    size_t count = view->rows.list.count;
    free(t->next);
    free(t->matches);
    free(t->keys);
    t->next = calloc(count + 1, sizeof *t->next);
    t->matches = *t->filter ? calloc(count + 1, 1) : NULL;
    t->keys = t->sort >= 0 ? malloc((count + 1) * sizeof *t->keys) : NULL;
    t->at = 0;
    t->search_left = 0;
    t->phase = TUI_FILTERING;
    if (!t->next || (*t->filter && !t->matches) || (t->sort >= 0 && !t->keys)) {
        t->phase = TUI_SETTLED;
        return ms_error_nomem("sorting");
    }
    for (size_t i = 0; i < count; i++)
        t->next[i] = (uint32_t)i;
    t->next_count = count;
    return NULL;
}

/* What was made is shown; the same row stays selected. */
static void settle(struct tui_view *view)
{
    struct tui_table *t = view->table;
    free(t->shown);
    t->shown = t->next;
    t->count = t->next_count;
    t->next = NULL;
    t->phase = TUI_SETTLED;
    size_t row = 0, place = 0;
    while (t->key && row < view->rows.list.count && view->rows.list.items[row].key != t->key)
        row++;
    while (t->key && place < t->count && t->shown[place] != row)
        place++;
    if (t->key && place < t->count) {
        tui_table_select(view, place);
        return;
    }
    uint64_t key = t->key;
    tui_table_select(view, key ? t->selected : 0);
    t->key = key; /* it may be back when the filter is gone */
}

static bool search(struct tui_view *view, uint64_t deadline)
{
    struct tui_table *t = view->table;
    for (unsigned looked = 1; t->search_left > 0; looked++) {
        if (looked % PIECE == 0 && tui_now() > deadline)
            return true;
        size_t at = t->search_at;
        const struct tui_row *row = &view->rows.list.items[t->shown[at]];
        t->search_left--;
        t->search_at = t->search_back ? (at ? at : t->count) - 1 : (at + 1) % t->count;
        if (!row->heading && row_matches(view, row, t->needle)) {
            t->search_left = 0;
            t->search_found = true;
            tui_table_select(view, at);
        }
    }
    return false;
}

void tui_table_search(struct tui_view *view, bool back)
{
    struct tui_table *t = view->table;
    if (!t->count || !*t->needle)
        return;
    t->search_back = back;
    t->search_found = false;
    t->search_left = t->count;
    t->search_at = back ? (t->selected ? t->selected : t->count) - 1 : (t->selected + 1) % t->count;
}

bool tui_table_work(struct tui_view *view, uint64_t deadline, struct ms_error **error)
{
    struct tui_table *t = view->table;
    *error = NULL;
    if (t->phase == TUI_FILTERING) {
        if (t->matches && !filter(view, deadline))
            return true;
        t->phase = TUI_SORTING;
        t->at = 0;
    }
    if (t->phase == TUI_SORTING) {
        if (t->sort >= 0) {
            bool fetched = t->next_count && t->at == t->next_count;
            if (!fetch(view, deadline, error))
                return true;
            if (!fetched && !*error && tui_now() > deadline)
                return true; /* sorting is a piece of its own */
            if (!*error)
                *error = sort(view);
        }
        settle(view);
    }
    return search(view, deadline);
}
