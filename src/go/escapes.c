/* Variables that the compiler moved to the heap: what DWARF calls `&x` is the address of a variable
 * x there. */
#include "memscope/goescapes.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Where in a closure a variable is that it captured: DW_AT_go_closure_offset of 1.23 and later. */
#define AT_GO_CLOSURE_OFFSET  0x2907
#define CLOSURE_OFFSETS_SINCE 23
/* Blocks inside of blocks; a compiler's own limits are lower. */
#define DEPTH_MOST 256u

struct reader {
    struct ms_go_escapes *to;
    Dwarf_Die unit, function;
    const char *package, *function_name, *function_file;
    int function_line, last_line; /* LAST_LINE 0: not looked for yet */
    bool tells_captured;          /* such variables have an attribute of their own */
    Dwarf_Lines *lines;           /* of the unit; NULL: none */
    size_t line_count;
    Dwarf_Addr low, high; /* the function's code */
};

static const char *string_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    return dwarf_formstring(dwarf_attr_integrate(die, name, &attribute));
}

static int number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    if (dwarf_formudata(dwarf_attr_integrate(die, name, &attribute), &value) != 0 ||
        value > INT32_MAX)
        return 0;
    return (int)value;
}

/* Index of the first row of the line table from ADDRESS on. */
static size_t row_at(const struct reader *reader, Dwarf_Addr address)
{
    size_t low = 0, high = reader->line_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        Dwarf_Addr at = 0;
        dwarf_lineaddr(dwarf_onesrcline(reader->lines, middle), &at);
        if (at < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/*
 * The file of code of the function that stands in LINE, its own file before others; NULL: there is
 * none. What allocates a variable stands in the line of its declaration.
 */
static const char *file_of_line(const struct reader *reader, int line)
{
    const char *other = NULL;
    for (size_t i = row_at(reader, reader->low); i < reader->line_count; i++) {
        Dwarf_Line *row = dwarf_onesrcline(reader->lines, i);
        Dwarf_Addr address = 0;
        int number = 0;
        if (dwarf_lineaddr(row, &address) != 0 || address >= reader->high)
            break;
        if (dwarf_lineno(row, &number) != 0 || number != line)
            continue;
        const char *file = dwarf_linesrc(row, NULL, NULL);
        if (file && reader->function_file && strcmp(file, reader->function_file) == 0)
            return file;
        other = other ? other : file;
    }
    return other;
}

/* The last line of the function's own file that it has code of, what was inlined into it included.
 */
static int last_line(const struct reader *reader)
{
    int last = 0;
    for (size_t i = row_at(reader, reader->low); i < reader->line_count; i++) {
        Dwarf_Line *row = dwarf_onesrcline(reader->lines, i);
        Dwarf_Addr address = 0;
        int number = 0;
        if (dwarf_lineaddr(row, &address) != 0 || address >= reader->high)
            break;
        const char *file = dwarf_linesrc(row, NULL, NULL);
        if (file && reader->function_file && strcmp(file, reader->function_file) == 0 &&
            dwarf_lineno(row, &number) == 0 && number > last)
            last = number;
    }
    return last;
}

/* The line in which the function begins; before 1.20 DWARF did not say it, but its first code does.
 */
static int first_line(struct reader *reader)
{
    int line = number_of(&reader->function, DW_AT_decl_line);
    size_t row = row_at(reader, reader->low);
    if (!line && row < reader->line_count)
        dwarf_lineno(dwarf_onesrcline(reader->lines, row), &line);
    return line;
}

static void set_type(Dwarf_Die *variable, struct ms_go_escape *escape)
{
    Dwarf_Attribute attribute;
    Dwarf_Die pointer, type;
    Dwarf_Word size;
    if (!dwarf_formref_die(dwarf_attr_integrate(variable, DW_AT_type, &attribute), &pointer) ||
        dwarf_tag(&pointer) != DW_TAG_pointer_type ||
        !dwarf_formref_die(dwarf_attr(&pointer, DW_AT_type, &attribute), &type))
        return;
    escape->type = dwarf_diename(&type);
    if (dwarf_aggregate_size(&type, &size) == 0)
        escape->size = size;
}

/* The compiler calls closures after the function that they are in: "main.f.func1". */
static bool is_closure(const char *function)
{
    for (const char *at = function; (at = strstr(at, ".func")); at += strlen(".func"))
        if (at[strlen(".func")] >= '1' && at[strlen(".func")] <= '9')
            return true;
    return false;
}

/* Go's minor version that made UNIT: "Go cmd/compile go1.26.8; regabi". */
static int minor_version(Dwarf_Die *unit)
{
    const char *producer = string_of(unit, DW_AT_producer);
    const char *version = producer ? strstr(producer, " go1.") : NULL;
    return version ? (int)strtoul(version + strlen(" go1."), NULL, 10) : CLOSURE_OFFSETS_SINCE;
}

/* Has the function a parameter or result called NAME? */
static bool has_parameter(Dwarf_Die *function, const char *name)
{
    Dwarf_Die child;
    for (int more = dwarf_child(function, &child); more == 0;
         more = dwarf_siblingof(&child, &child)) {
        const char *other =
            dwarf_tag(&child) == DW_TAG_formal_parameter ? string_of(&child, DW_AT_name) : NULL;
        if (other && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

/* Is it a variable of the function around this closure? */
static bool is_captured(struct reader *reader, Dwarf_Die *variable,
                        const struct ms_go_escape *escape)
{
    if (reader->tells_captured)
        return dwarf_hasattr(variable, AT_GO_CLOSURE_OFFSET);
    /* Before 1.23: declared where the closure is, and no code of its own if it was elsewhere. */
    if (!is_closure(reader->function_name))
        return false;
    if (escape->line == reader->function_line)
        return !has_parameter(&reader->function, escape->variable);
    return escape->inlined && !escape->file;
}

/* Where ESCAPE, which has its line, is declared: in the function, or in another that was inlined
 * into it. */
static void find_place(struct reader *reader, struct ms_go_escape *escape)
{
    if (!reader->last_line)
        reader->last_line = last_line(reader);
    const char *file = file_of_line(reader, escape->line);
    bool own_file = !file || (reader->function_file && strcmp(file, reader->function_file) == 0);
    escape->inlined =
        !own_file || escape->line < reader->function_line || escape->line > reader->last_line;
    /* An inlined parameter is allocated where the call is, so there may be no code of its line. */
    escape->file = escape->inlined ? file : reader->function_file;
}

/* Takes VARIABLE for what it is: `&x` is the address of x on the heap, unless x is captured by a
 * closure. */
static ms_result take(struct reader *reader, Dwarf_Die *variable)
{
    const char *name = string_of(variable, DW_AT_name);
    if (!name || name[0] != '&' || !name[1])
        return NULL;
    struct ms_go_escape escape = {
        .package = reader->package,
        .function = reader->function_name,
        .variable = name + 1,
        .line = number_of(variable, DW_AT_decl_line),
        .copies = 1,
    };
    find_place(reader, &escape);
    if (is_captured(reader, variable, &escape))
        return NULL;
    set_type(variable, &escape);
    struct ms_go_escape *added = ms_vector_add(&reader->to->list);
    if (!added)
        return ms_error_nomem("escaped variables");
    *added = escape;
    return NULL;
}

/* Goes through the variables of a function or of a block in it. */
static ms_result walk(struct reader *reader, Dwarf_Die *parent, unsigned depth)
{
    Dwarf_Die child;
    if (depth > DEPTH_MOST) {
        reader->to->complete = false;
        return NULL;
    }
    int more = dwarf_child(parent, &child);
    for (; more == 0; more = dwarf_siblingof(&child, &child)) {
        int tag = dwarf_tag(&child);
        /* What is a parameter `&x` was captured by a closure that is called on the spot. */
        if (tag == DW_TAG_variable)
            MS_TRY(take(reader, &child));
        else if (tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine)
            MS_TRY(walk(reader, &child, depth + 1));
    }
    if (more < 0)
        reader->to->complete = false;
    return NULL;
}

static ms_result read_function(struct reader *reader)
{
    Dwarf_Die *function = &reader->function;
    if (dwarf_lowpc(function, &reader->low) != 0 || dwarf_highpc(function, &reader->high) != 0)
        return NULL; /* an abstract one: only its copies have code */
    reader->function_name = string_of(function, DW_AT_name);
    reader->function_file = dwarf_decl_file(function);
    if (!reader->function_name)
        return NULL;
    if (!reader->function_file) {
        size_t row = row_at(reader, reader->low);
        if (row < reader->line_count)
            reader->function_file = dwarf_linesrc(dwarf_onesrcline(reader->lines, row), NULL, NULL);
    }
    reader->function_line = first_line(reader);
    reader->last_line = 0;
    return walk(reader, function, 0);
}

static ms_result read_unit(struct reader *reader)
{
    reader->package = dwarf_diename(&reader->unit);
    if (number_of(&reader->unit, DW_AT_language) != DW_LANG_Go || !reader->package)
        return NULL;
    reader->tells_captured = minor_version(&reader->unit) >= CLOSURE_OFFSETS_SINCE;
    if (dwarf_getsrclines(&reader->unit, &reader->lines, &reader->line_count) != 0)
        reader->line_count = 0;
    int more = dwarf_child(&reader->unit, &reader->function);
    for (; more == 0; more = dwarf_siblingof(&reader->function, &reader->function))
        if (dwarf_tag(&reader->function) == DW_TAG_subprogram)
            MS_TRY(read_function(reader));
    if (more < 0)
        reader->to->complete = false;
    return NULL;
}

static int compare_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "");
}

/* By place; of the same place, what is in its own function comes first. */
static int compare(const void *a, const void *b)
{
    const struct ms_go_escape *x = a, *y = b;
    int order = compare_text(x->file, y->file);
    if (order == 0)
        order = (x->line > y->line) - (x->line < y->line);
    if (order == 0)
        order = compare_text(x->variable, y->variable);
    if (order == 0)
        order = x->inlined - y->inlined;
    return order ? order : compare_text(x->function, y->function);
}

static int compare_package(const void *a, const void *b)
{
    int order = compare_text(((const struct ms_go_escape *)a)->package,
                             ((const struct ms_go_escape *)b)->package);
    return order ? order : compare(a, b);
}

/* Without a file only what is in one function is known to be the same. */
static bool is_same(const struct ms_go_escape *a, const struct ms_go_escape *b)
{
    return a->line == b->line && compare_text(a->variable, b->variable) == 0 &&
           compare_text(a->file, b->file) == 0 && (a->file || a->function == b->function);
}

/* Makes one of all that are of the same declaration. */
static void merge(struct ms_go_escapes *escapes)
{
    struct ms_go_escape *items = escapes->list.items;
    size_t kept = 0;
    ms_vector_sort(&escapes->list, compare);
    for (size_t i = 0; i < escapes->list.count; i++) {
        struct ms_go_escape *last = kept ? &items[kept - 1] : NULL;
        if (last && is_same(last, &items[i]))
            last->copies++;
        else
            items[kept++] = items[i];
    }
    escapes->list.count = kept;
    ms_vector_sort(&escapes->list, compare_package);
}

static ms_result read_units(struct ms_go_escapes *escapes)
{
    Dwarf_CU *unit = NULL;
    Dwarf_Die die;
    bool go = false;
    for (;;) {
        struct reader reader = {.to = escapes};
        int more = dwarf_get_units(escapes->dwarf, unit, &unit, NULL, NULL, &die, NULL);
        if (more != 0) {
            escapes->complete = escapes->complete && more > 0;
            break;
        }
        reader.unit = die;
        go = go || number_of(&die, DW_AT_language) == DW_LANG_Go;
        MS_TRY(read_unit(&reader));
    }
    merge(escapes);
    return go ? NULL : ms_error(MS_TARGET, "there is no Go code in its debug information");
}

static ms_result open_file(const char *path, struct ms_go_escapes *escapes)
{
    escapes->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (escapes->fd < 0)
        return ms_error_errno(MS_TARGET, errno, "cannot open %s", path);
    elf_version(EV_CURRENT);
    escapes->dwarf = dwarf_begin(escapes->fd, DWARF_C_READ);
    if (escapes->dwarf)
        return NULL;
    return ms_error(
        MS_TARGET,
        "%s: no debug information there that can be read (%s); what the compiler moved to "
        "the heap is told nowhere else. Build the program without -ldflags=-w or -s",
        path, dwarf_errmsg(-1));
}

/* PATH is for the message. */
static ms_result with_path(struct ms_error *error, const char *path)
{
    struct ms_error *named = ms_error(error->status, "%s: %s", path, error->message);
    ms_error_free(error);
    return named;
}

ms_result ms_go_escapes_read(const char *path, struct ms_go_escapes **escapes)
{
    struct ms_go_escapes *made = calloc(1, sizeof *made);
    if (!made)
        return ms_error_nomem("escaped variables");
    made->complete = true;
    struct ms_error *error = open_file(path, made);
    if (!error) {
        error = read_units(made);
        if (error)
            error = with_path(error, path);
    }
    if (error) {
        ms_go_escapes_free(made);
        return error;
    }
    *escapes = made;
    return NULL;
}

void ms_go_escapes_free(struct ms_go_escapes *escapes)
{
    if (!escapes)
        return;
    dwarf_end(escapes->dwarf);
    if (escapes->fd >= 0)
        close(escapes->fd);
    ms_vector_free(&escapes->list);
    free(escapes);
}

bool ms_go_standard_package(const char *package)
{
    size_t host = strcspn(package, "/");
    return strcmp(package, "main") != 0 && !memchr(package, '.', host) &&
           strcmp(package, "command-line-arguments") != 0;
}
