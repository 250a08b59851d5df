/* The export of a view to a text or JSON file, a piece at a time. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <wchar.h>

#include "browser.h"

/* Columns that take what is left on a terminal have room in a file. */
#define WIDE 60
#define PIECE 64u

static int columns_of(const char *text)
{
    int sum = 0;
    for (size_t length; *text; text += length) {
        wchar_t point;
        length = mbrtowc(&point, text, strlen(text), &(mbstate_t){0});
        if (length == 0 || length >= (size_t)-2)
            length = 1;
        else
            sum += wcwidth(point) > 0 ? wcwidth(point) : 0;
    }
    return sum;
}

static void pad(FILE *out, int columns)
{
    for (; columns > 0; columns--)
        putc(' ', out);
}

/* Bars are their share; the last column is not padded. */
static void write_field(FILE *out, const struct tui_column *column, const struct tui_cell *cell, bool last)
{
    char share[16];
    snprintf(share, sizeof share, "%.1f%%", 100 * cell->bar);
    const char *text = cell->bar >= 0 ? share : cell->text;
    int width = column->width ? (int)column->width : WIDE;
    int room = width - columns_of(text);
    if (column->right)
        pad(out, room);
    fputs(text, out);
    if (!column->right && !last)
        pad(out, room);
    putc(last ? '\n' : ' ', out);
}

static bool is_last(const struct tui_view *view, unsigned column)
{
    for (unsigned i = column + 1; i < view->kind->column_count; i++)
        if (tui_column_used(view, i))
            return false;
    return true;
}

static void write_text_row(FILE *out, const struct tui_view *view, const struct tui_row *row)
{
    bool first = true;
    for (unsigned i = 0; i < view->kind->column_count; i++) {
        struct tui_cell cell, indented;
        if (!tui_column_used(view, i))
            continue;
        tui_clear(&cell);
        if (row)
            tui_make_cell(view, row, i, &cell);
        else
            tui_put(&cell, "%s", view->kind->columns[i].title);
        tui_clear(&indented);
        if (row && (first || !view->kind->columns[i].width) && !view->kind->columns[i].right)
            tui_put(&indented, "%*s", view->kind->columns[i].width ? 0 : (int)(row->depth % 64) * 2, "");
        if (indented.length && cell.bar < 0) {
            tui_put(&indented, "%s", cell.text);
            cell = indented;
        }
        write_field(out, &view->kind->columns[i], &cell, is_last(view, i));
        first = false;
    }
}

/* Figures as numbers where the view has them. */
static json_t *json_cell(const struct tui_view *view, const struct tui_row *row, unsigned column)
{
    struct tui_cell cell;
    double value;
    if (!row->heading && view->kind->number && view->kind->number(view, row, column, &value) && value == value)
        return value == (double)(json_int_t)value ? json_integer((json_int_t)value) : json_real(value);
    tui_make_cell(view, row, column, &cell);
    return cell.bar >= 0 ? json_real(cell.bar) : json_string(cell.text);
}

static bool write_json_row(FILE *out, const struct tui_view *view, const struct tui_row *row, bool first)
{
    json_t *object = json_object();
    int failed = object ? json_object_set_new(object, "depth", json_integer(row->depth)) : -1;
    for (unsigned i = 0; !failed && i < view->kind->column_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s", view->kind->columns[i].title);
        if (!*name) /* a bar beside what it shows */
            snprintf(name, sizeof name, "column %u", i + 1);
        if (tui_column_used(view, i))
            failed = json_object_set_new(object, name, json_cell(view, row, i));
    }
    if (!failed) {
        fputs(first ? "\n" : ",\n", out);
        failed = json_dumpf(object, out, JSON_COMPACT);
    }
    json_decref(object);
    return !failed;
}

static void write_head(const struct tui_export *x, const struct tui_view *view)
{
    for (unsigned line = 0; view->kind->headline; line++) {
        struct tui_cell cell;
        tui_clear(&cell);
        if (!view->kind->headline(view, line, &cell))
            break;
        fprintf(x->file, "%s\n", cell.text);
    }
    putc('\n', x->file);
    write_text_row(x->file, view, NULL);
}

/* The view's name and what it was opened for; rows follow. */
static void write_json_head(const struct tui_export *x, const struct tui_view *view)
{
    fprintf(x->file, "{\"memscope\":\"%s\",\"view\":\"%s\"", PACKAGE_VERSION, view->kind->name);
    if (view->subject)
        fprintf(x->file, ",\"address\":\"0x%llx\"", (unsigned long long)view->subject);
    fputs(",\"rows\":[", x->file);
}

ms_result tui_export_begin(struct tui_browser *b, const char *path)
{
    struct tui_export *x = &b->export;
    size_t length = strlen(path);
    if (x->file)
        return ms_error(MS_USAGE, "another export is not finished yet");
    if (!length)
        return NULL;
    /* What is there already is the user's. */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return ms_error_errno(MS_USAGE, errno, "cannot write %s", path);
    x->file = fdopen(fd, "w");
    if (!x->file) {
        close(fd);
        unlink(path);
        return ms_error_nomem("the export");
    }
    snprintf(x->path, sizeof x->path, "%s", path);
    x->page = tui_current(b);
    x->json = length > 5 && strcasecmp(path + length - 5, ".json") == 0;
    x->at = 0;
    (x->json ? write_json_head : write_head)(x, &x->page->view);
    return NULL;
}

void tui_export_drop(struct tui_browser *b)
{
    if (!b->export.file)
        return;
    fclose(b->export.file);
    unlink(b->export.path);
    b->export.file = NULL;
    b->export.page = NULL;
}

static ms_result finish(struct tui_browser *b)
{
    struct tui_export *x = &b->export;
    if (x->json)
        fputs("\n]}\n", x->file);
    bool failed = ferror(x->file);
    errno = 0;
    failed = fclose(x->file) != 0 || failed;
    x->file = NULL;
    x->page = NULL;
    if (failed) {
        unlink(x->path);
        return ms_error_errno(MS_USAGE, errno ? errno : EIO, "cannot write %s", x->path);
    }
    tui_say(b, "exported to ");
    tui_put_name(&b->message, x->path);
    return NULL;
}

ms_result tui_export_work(struct tui_browser *b, uint64_t deadline)
{
    struct tui_export *x = &b->export;
    struct tui_view *view = &x->page->view;
    struct tui_table *t = view->table;
    for (; x->at < t->count; x->at++) {
        if (x->at % PIECE == 0 && tui_now() > deadline)
            return NULL;
        const struct tui_row *row = &view->rows.list.items[t->shown[x->at]];
        if (!x->json) {
            write_text_row(x->file, view, row);
        } else if (!write_json_row(x->file, view, row, x->at == 0)) {
            tui_export_drop(b);
            return ms_error_nomem("the export");
        }
    }
    return finish(b);
}
