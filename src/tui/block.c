/* Block: what is at an address, its members and bytes, who points to it, and what keeps it alive. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/output.h"
#include "what.h"
#include "words.h"

/* As much as anybody will page through. */
#define CHAINS_SHOWN 5u
#define EDGES_SHOWN 500u
#define MEMBERS_SHOWN 1000u
#define BYTES_SHOWN (64u << 10)
/* Of these so many before one asks for more. */
#define BYTES_FIRST 128u
/* Names and types of members that are longer than these parts of the terminal are cut. */
#define NAME_PART 3
#define TYPE_PART 5
/* Below this types of members are left out, and lines of bytes have half as many, then a quarter. */
#define WIDE 80u
#define NARROW 50u

enum column { OFFSET, WHAT, COLUMNS };
static const struct tui_column columns[COLUMNS] = {
    [OFFSET] = {.title = "offset", .width = 7, .right = true, .fixed = true, .weight = 1},
    [WHAT] = {.title = "what is there", .fixed = true, .least = 36},
};

struct content {
    struct ms_path_report report;
    uint8_t *bytes;       /* of the block, or from the address on; owned */
    size_t size;          /* of these; 0: they could not be read */
    uint64_t from;        /* address of the first */
    size_t names, types;  /* bytes of the longest of members */
};

struct state {
    unsigned line; /* bytes that a line of them shows */
};

/* Sections, in their order; each chain is one of its own. */
enum section { IS, MEMBERS, BYTES, INCOMING, OUTGOING, CHAINS };

/* Lines of IS. */
enum is { IS_TYPE, IS_MEMBER, IS_TEXT, IS_RETAINS, IS_ARENA, IS_SPAN, IS_MAP, IS_LINES };

/* Lines of a chain that are no steps. */
#define CHAIN_EXPRESSION 0xfffffff0u
#define CHAIN_ROOT 0xfffffff1u
#define CHAIN_OMITTED 0xfffffff2u
#define CHAIN_LED 0xfffffff3u
/* In other sections: that there is more. HEADING: the section itself; WAITING: it is not there yet. */
#define MORE 0xfffffff4u
#define HEADING 0xfffffff5u
#define WAITING UINT64_MAX

static uint64_t item_of(unsigned section, uint32_t index)
{
    return (uint64_t)section << 32 | index;
}

static unsigned section_of(const struct tui_row *row)
{
    return (unsigned)(row->item >> 32);
}

static uint32_t index_of(const struct tui_row *row)
{
    return (uint32_t)row->item;
}

/* NULL: not answered, or an error. */
static const struct content *content_of(const struct tui_view *view)
{
    return view->answers.list.count ? view->answers.list.items[0].content : NULL;
}

static const struct ms_path_chain *chain_of(const struct ms_path_report *report, const struct tui_row *row)
{
    const unsigned section = section_of(row);
    return section >= CHAINS ? &report->chains.items[section - CHAINS] : NULL;
}

/* --- the question ------------------------------------------------------------------------------ */

/* The last bytes may not be there: of a map that ends, or of which not all is known. */
static struct ms_error *read_bytes(const struct ms_facts *facts, struct content *content)
{
    const struct ms_path_report *report = &content->report;
    content->from = report->in_heap ? report->block.address : report->address;
    uint64_t size = report->in_heap ? report->block.size : report->region->end - report->address;
    size = size < BYTES_SHOWN ? size : BYTES_SHOWN;
    content->bytes = malloc(size + 1);
    if (!content->bytes)
        return ms_error_nomem("the bytes of a block");
    while (size && !ms_image_read(facts->image, content->from, content->bytes, size))
        size = size > MS_PAGE ? size / 2 : 0;
    content->size = size;
    return NULL;
}

static void measure_members(struct content *content)
{
    const struct ms_values *values = &content->report.values;
    for (size_t i = 0; i < values->list.count; i++) {
        const size_t name = strnlen(values->list.items[i].path, TUI_CELL_BYTES);
        const size_t type = strnlen(values->list.items[i].type->name, TUI_CELL_BYTES);
        content->names = name > content->names ? name : content->names;
        content->types = type > content->types ? type : content->types;
    }
}

static void free_content(void *pointer)
{
    struct content *content = pointer;
    ms_path_report_free(&content->report);
    free(content->bytes);
    free(content);
}

/* In a Go program, has C allocated what is at ADDRESS? */
static bool is_malloced(const struct ms_facts *facts, uint64_t address)
{
    return facts->go && !ms_heap_segment(&facts->scan->heap, address) &&
           ms_heap_segment(&facts->malloc_scan->heap, address);
}

static struct ms_error *look(const struct ms_facts *facts, uint64_t address, void **out)
{
    const bool malloced = is_malloced(facts, address);
    struct ms_path_options options = {
        .address = address, .chains = CHAINS_SHOWN, .types = facts->types, .edges = EDGES_SHOWN,
        .members = MEMBERS_SHOWN, .knowledge = facts->knowledge, .names = facts->names,
    };
    if (malloced) { /* what is known of blocks is known of Go's */
        options.knowledge = NULL;
        options.names = NULL;
    }
    struct content *content = calloc(1, sizeof *content);
    if (!content)
        return ms_error_nomem("a block");
    struct ms_error *error = ms_path(malloced ? facts->malloc_scan : facts->scan, facts->image, facts->symbols, &options, &content->report);
    if (error) {
        free(content);
        return error;
    }
    *out = content;
    measure_members(content);
    return read_bytes(facts, content);
}

/* --- rows -------------------------------------------------------------------------------------- */

static struct ms_error *add(struct tui_rows *rows, unsigned section, uint32_t index, bool opens)
{
    const uint64_t item = item_of(section, index);
    return tui_add_row(rows, (struct tui_row){.key = item + 1, .item = item, .opens = opens,
                                              .depth = index != HEADING});
}

static struct ms_error *add_some(struct tui_rows *rows, unsigned section, size_t count, bool more)
{
    for (size_t i = 0; i < count; i++)
        MS_TRY(add(rows, section, (uint32_t)i, false));
    return more ? add(rows, section, MORE, false) : NULL;
}

/* NULL: it is not in Go's heap. */
static const struct ms_go_span *span_of(const struct tui_view *view, const struct ms_path_block *block)
{
    return view->facts.go ? ms_go_heap_span(view->facts.go, block->address) : NULL;
}

static struct ms_error *add_is(const struct tui_view *view, const struct content *content, struct tui_rows *rows)
{
    const struct ms_path_report *report = &content->report;
    const struct ms_path_block *block = &report->block;
    const bool there[IS_LINES] = {
        [IS_TYPE] = report->in_heap && block->type,
        [IS_MEMBER] = report->member,
        [IS_TEXT] = report->in_heap && block->preview_size,
        [IS_RETAINS] = report->in_heap && block->live && view->facts.heap &&
                       !is_malloced(&view->facts, block->address),
        [IS_ARENA] = report->in_heap && !span_of(view, block),
        [IS_SPAN] = report->in_heap && span_of(view, block),
        [IS_MAP] = report->region,
    };
    for (uint32_t line = 0; line < IS_LINES; line++)
        if (there[line])
            MS_TRY(add(rows, IS, line, false));
    return NULL;
}

/* Lines of bytes have the offset of their first one as index. */
static struct ms_error *add_bytes(const struct tui_view *view, const struct content *content, size_t from,
                                  size_t end, struct tui_rows *rows)
{
    const struct state *state = view->state;
    for (size_t at = from; at < end && at < content->size; at += state->line)
        MS_TRY(add(rows, BYTES, (uint32_t)at, false));
    return end < content->size ? add(rows, BYTES, MORE, true) : NULL;
}

static struct ms_error *add_chain(const struct ms_path_report *report, unsigned section, struct tui_rows *rows)
{
    const struct ms_path_chain *chain = &report->chains.items[section - CHAINS];
    if (chain->expression)
        MS_TRY(add(rows, section, CHAIN_EXPRESSION, false));
    if (chain->from_root)
        MS_TRY(add(rows, section, CHAIN_ROOT, false));
    for (size_t i = 0; i < chain->steps.count; i++) {
        if (chain->omitted && i == MS_PATH_ENDS)
            MS_TRY(add(rows, section, CHAIN_OMITTED, false));
        MS_TRY(add(rows, section, (uint32_t)i, false));
    }
    return report->lost ? add(rows, section, CHAIN_LED, false) : NULL;
}

static struct ms_error *add_below(const struct tui_view *view, unsigned section, struct tui_rows *rows)
{
    const struct content *content = content_of(view);
    const struct ms_path_report *report = &content->report;
    switch (section) {
    case IS:
        return add_is(view, content, rows);
    case MEMBERS:
        return add_some(rows, section, report->values.list.count, report->values.more);
    case BYTES:
        return add_bytes(view, content, 0, BYTES_FIRST, rows);
    case INCOMING:
        return add_some(rows, section, report->incoming.count,
                        report->incoming.count < report->from_roots + report->from_blocks);
    case OUTGOING:
        return add_some(rows, section, report->outgoing.count,
                        report->outgoing.count < report->to_blocks + report->to_modules);
    default:
        return add_chain(report, section, rows);
    }
}

/* As in the report: what cannot be is left out, what could be and is not has a heading that says so. */
static bool has_section(const struct ms_path_report *report, unsigned section)
{
    const bool live = report->in_heap && report->block.live;
    switch (section) {
    case MEMBERS:
        return report->values.list.count;
    case INCOMING:
        return live;
    case OUTGOING:
        return live || report->to_blocks + report->to_modules;
    default:
        return true;
    }
}

static struct ms_error *open_row(struct tui_view *view, const struct tui_row *row, struct tui_rows *below)
{
    const struct content *content = content_of(view);
    if (section_of(row) == BYTES && index_of(row) == MORE)
        return add_bytes(view, content, BYTES_FIRST, SIZE_MAX, below);
    return add_below(view, section_of(row), below);
}

/* Sections are open at first. */
static struct ms_error *fill(struct tui_view *view)
{
    struct state *state = view->state;
    size_t index;
    state->line = view->width >= WIDE ? 16 : view->width >= NARROW ? 8 : 4;
    MS_TRY(tui_answers_fill(view, NULL));
    MS_TRY(tui_want(view, view->subject, &index));
    const struct content *content = content_of(view);
    if (!content)
        return tui_add_row(&view->rows, (struct tui_row){.key = 1, .item = WAITING});
    const unsigned sections = CHAINS + (unsigned)content->report.chains.count;
    for (unsigned section = 0; section < sections; section++) {
        if (!has_section(&content->report, section))
            continue;
        MS_TRY(add(&view->rows, section, HEADING, true));
        view->rows.list.items[view->rows.list.count - 1].open = true;
        MS_TRY(add_below(view, section, &view->rows));
    }
    return NULL;
}

/* --- words ------------------------------------------------------------------------------------- */

static void put_plural(struct tui_cell *cell, uint64_t count, const char *what)
{
    tui_put_count(cell, count);
    tui_put(cell, " %s%s", what, count == 1 ? "" : "s");
}

/* "0x55d1c02a4c30 (104 bytes, Widget, reachable)"; PLAIN: that it is reachable goes without saying. */
static void put_block(struct tui_cell *cell, const struct ms_path_block *block, bool plain)
{
    cell->style = TUI_LINK;
    tui_put(cell, "0x%" PRIx64 " (", block->address);
    put_plural(cell, block->size, "byte");
    if (block->type) {
        tui_put(cell, ", ");
        tui_put_type(cell, block->type, block->by);
    }
    if (!plain || strcmp(block->class, "reachable") != 0)
        tui_put(cell, ", %s", ms_block_class_text(block->class));
    tui_put(cell, ")");
}

/* The word of a block that a pointer is: " .ht[0].table", or " +0x18" when its type does not tell. */
static void put_word(struct tui_cell *cell, uint64_t offset, const char *member)
{
    if (!member) {
        tui_put(cell, " +0x%" PRIx64, offset);
        return;
    }
    tui_put(cell, "%s", *member == '[' ? " " : " .");
    tui_put_name(cell, member);
}

static void put_into(struct tui_cell *cell, int64_t into)
{
    if (into > 0)
        tui_put(cell, ", into it by 0x%" PRIx64, (uint64_t)into);
    else if (into < 0)
        tui_put(cell, ", by its header");
}

/* Where the INDEXth character of TEXT begins. */
static const char *character(const char *text, size_t index)
{
    for (; *text && index > 0; index--)
        do
            text++;
        while (((uint8_t)*text & 0xc0) == 0x80);
    return text;
}

static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((uint8_t)*text & 0xc0) != 0x80;
    return count;
}

/*
 * TEXT in a column of WIDTH, but no more than PART of the terminal's; of what is too long its END is shown, or
 * its beginning.
 */
static void put_column(const struct tui_view *view, const struct tui_cell *text, size_t width, unsigned part,
                       bool end, struct tui_cell *cell)
{
    const size_t most = view->width / part < width ? view->width / part : width;
    const size_t length = characters(text->text);
    if (length <= most)
        tui_put(cell, "%s%*s", text->text, (int)(most - length), "");
    else if (end)
        tui_put(cell, "…%s", character(text->text, length - most + 1));
    else
        tui_put(cell, "%.*s…", (int)(character(text->text, most - 1) - text->text), text->text);
    tui_put(cell, "  ");
}

/* --- cells ------------------------------------------------------------------------------------- */

/* What the place is, and where in it the address. */
static void put_place(const struct ms_path_report *report, struct tui_cell *cell)
{
    const struct ms_path_block *block = &report->block;
    tui_put(cell, "0x%" PRIx64 ": ", report->address);
    if (!report->in_heap) {
        tui_put_name(cell, report->place.text);
        return;
    }
    const bool good = strcmp(block->class, "reachable") == 0;
    cell->style = good ? TUI_GOOD : report->lost ? TUI_BAD : TUI_DOUBT;
    tui_put(cell, "%s, ", ms_block_class_text(block->class));
    if (report->offset >= block->size) {
        tui_put(cell, "behind the end of ");
    } else if (report->offset) {
        put_plural(cell, report->offset, "byte");
        tui_put(cell, " into ");
    }
    tui_put(cell, "the %s of ", block->live ? "block" : "chunk");
    put_plural(cell, block->size, "byte");
    if (report->offset)
        tui_put(cell, " at 0x%" PRIx64, block->address);
}

static void put_region(const struct ms_region *r, struct tui_cell *cell)
{
    tui_put(cell, "map: 0x%" PRIx64 "-0x%" PRIx64 " %c%c%c%c ", r->start, r->end, r->prot & MS_READ ? 'r' : '-',
            r->prot & MS_WRITE ? 'w' : '-', r->prot & MS_EXEC ? 'x' : '-', r->prot & MS_SHARED ? 's' : 'p');
    tui_put_name(cell, *r->path ? r->path : "anonymous");
}

static void put_type(const struct ms_path_block *block, struct tui_cell *cell)
{
    tui_put(cell, "type: ");
    tui_put_type(cell, block->type, block->by);
    tui_put(cell, " (%s", ms_evidence_texts[block->by]);
    if (block->module) {
        tui_put(cell, " in ");
        tui_put_name(cell, block->module);
    }
    tui_put(cell, ")");
    cell->style = block->by == MS_BY_GUESS ? TUI_DOUBT : TUI_PLAIN;
}

static void put_retained(const struct tui_view *view, const struct ms_path_block *block, struct tui_cell *cell)
{
    const struct ms_heap *heap = &view->facts.scan->heap;
    const struct ms_dominators *tree = &view->facts.heap->tree;
    const struct ms_segment *segment = ms_heap_segment(heap, block->address);
    const uint32_t position =
        segment ? ms_dominator_position(tree, heap, ms_address_granule(heap, segment, block->address)) : 0;
    tui_put(cell, "retains: ");
    if (!position) {
        tui_put(cell, "not known, for no root leads to it");
        return;
    }
    const struct ms_tally tally = {tree->end[position] - position, tree->retained[position]};
    tui_put_tally(cell, &tally);
    tui_put(cell, ", itself too (");
    tui_put_share(cell, tally.bytes, view->facts.heap->live.bytes);
    tui_put(cell, " of the live heap)");
    cell->style = ms_is_suspect(view->facts.heap, tally.bytes) ? TUI_DOUBT : TUI_PLAIN;
}

static void put_span(const struct ms_go_span *span, struct tui_cell *cell)
{
    tui_put(cell, "span: 0x%" PRIx64 "-0x%" PRIx64, span->start, span->end);
    if (span->manual)
        return;
    tui_put(cell, ", ");
    put_plural(cell, span->slots, "slot");
    tui_put(cell, " of ");
    put_plural(cell, span->slot, "byte");
    tui_put(cell, "%s", span->scanned ? "" : ", without pointers");
}

static void is_cell(const struct tui_view *view, enum is line, struct tui_cell *cell)
{
    const struct ms_path_report *report = &content_of(view)->report;
    const struct ms_path_block *block = &report->block;
    switch (line) {
    case IS_TYPE:
        put_type(block, cell);
        break;
    case IS_MEMBER:
        tui_put(cell, "member: ");
        tui_put_name(cell, report->member);
        break;
    case IS_TEXT:
        tui_put(cell, "text: ");
        tui_put_preview(cell, block->preview, block->preview_size);
        break;
    case IS_RETAINS:
        put_retained(view, block, cell);
        break;
    case IS_ARENA:
        if (block->mapped)
            tui_put(cell, "arena: none, it has a mapping of its own");
        else
            tui_put(cell, "arena: 0x%" PRIx64, block->arena);
        break;
    case IS_SPAN:
        put_span(span_of(view, block), cell);
        break;
    case IS_MAP:
        put_region(report->region, cell);
        break;
    case IS_LINES:
        break;
    }
}

/* "next  struct node *  0x55…", in columns of their own. */
static void member_cell(const struct tui_view *view, const struct content *content, uint32_t index,
                        struct tui_cell *cell)
{
    const struct ms_value *value = &content->report.values.list.items[index];
    struct tui_cell name, type;
    tui_clear(&name);
    tui_clear(&type);
    tui_put_name(&name, *value->path ? value->path : "value");
    tui_put_type(&type, value->type->name, MS_BY_NOTHING);
    put_column(view, &name, content->names, NAME_PART, true, cell);
    if (view->width >= WIDE)
        put_column(view, &type, content->types, TYPE_PART, false, cell);
    tui_put_value(cell, value);
    cell->style = value->to ? TUI_LINK : TUI_PLAIN;
}

static void bytes_cell(const struct tui_view *view, const struct content *content, size_t at,
                       struct tui_cell *cell)
{
    const unsigned line = ((const struct state *)view->state)->line;
    const size_t end = content->size - at < line ? content->size : at + line;
    for (size_t i = at; i < at + line; i++) {
        if (i < end)
            tui_put(cell, "%02x ", content->bytes[i]);
        else
            tui_put(cell, "   ");
    }
    tui_put(cell, " ");
    for (size_t i = at; i < end; i++) /* printable ASCII alone */
        tui_put(cell, "%c", content->bytes[i] >= ' ' && content->bytes[i] < 0x7f ? content->bytes[i] : '.');
}

static void incoming_cell(const struct ms_path_edge *edge, struct tui_cell *cell)
{
    if (edge->from_block) {
        put_block(cell, &edge->block, false);
        put_word(cell, edge->offset, edge->member);
    } else {
        cell->style = edge->place.address ? TUI_LINK : TUI_PLAIN;
        tui_put_name(cell, edge->place.text);
    }
    put_into(cell, edge->into);
}

static void outgoing_cell(const struct ms_path_edge *edge, struct tui_cell *cell)
{
    if (edge->from_block && edge->member) {
        tui_put(cell, "%s", *edge->member == '[' ? "" : ".");
        tui_put_name(cell, edge->member);
        tui_put(cell, " ");
    }
    tui_put(cell, "→ ");
    if (edge->to_block) {
        put_block(cell, &edge->block, false);
        put_into(cell, edge->into);
    } else {
        cell->style = TUI_LINK;
        tui_put_name(cell, edge->place.text);
    }
}

static void chain_cell(const struct ms_path_report *report, const struct tui_row *row, struct tui_cell *cell)
{
    const struct ms_path_chain *chain = chain_of(report, row);
    const uint32_t index = index_of(row);
    if (index == CHAIN_EXPRESSION) {
        cell->style = TUI_GOOD;
        tui_put_name(cell, chain->expression);
    } else if (index == CHAIN_ROOT) {
        cell->style = chain->root.address ? TUI_LINK : TUI_PLAIN;
        tui_put_name(cell, chain->root.text);
    } else if (index == CHAIN_OMITTED) {
        tui_put(cell, "… ");
        tui_put_count(cell, chain->omitted);
        tui_put(cell, " more");
    } else if (index == CHAIN_LED) {
        tui_put(cell, "its leader holds ");
        tui_put_tally(cell, &report->led);
        tui_put(cell, "%s", report->led.blocks ? " besides itself" : "");
    } else {
        const struct ms_path_step *step = &chain->steps.items[index];
        tui_put(cell, "%s", chain->from_root || index ? "→ " : "");
        put_block(cell, &step->block, true);
        put_into(cell, step->into);
        if (step->offset != MS_NOTHING)
            put_word(cell, step->offset, step->member);
    }
}

/* What a section is, and how much is in it. */
static void heading_cell(const struct content *content, unsigned section, struct tui_cell *cell)
{
    const struct ms_path_report *report = &content->report;
    cell->style = TUI_HEAD;
    switch (section) {
    case IS:
        tui_put(cell, "what it is");
        break;
    case MEMBERS:
        tui_put(cell, "what it holds%s",
                report->values.unreadable ? ": there was not the memory to copy it; only pointers were kept" : "");
        break;
    case BYTES:
        tui_put(cell, "bytes%s", content->size ? "" : ": not to be had");
        break;
    case INCOMING:
        tui_put(cell, "who points to it: ");
        put_plural(cell, report->from_roots, "root");
        tui_put(cell, ", ");
        put_plural(cell, report->from_blocks, "block");
        break;
    case OUTGOING:
        tui_put(cell, "what it points to: ");
        put_plural(cell, report->to_blocks + report->to_modules, "place");
        break;
    default:
        tui_put(cell, "%s: ", report->lost          ? "the leak that it is part of"
                              : section == CHAINS ? "what keeps it alive"
                                                  : "and");
        put_plural(cell, report->chains.items[section - CHAINS].length, "block");
        break;
    }
}

static uint64_t left_out(const struct content *content, unsigned section)
{
    const struct ms_path_report *report = &content->report;
    switch (section) {
    case BYTES:
        return content->size - BYTES_FIRST;
    case INCOMING:
        return report->from_roots + report->from_blocks - report->incoming.count;
    case OUTGOING:
        return report->to_blocks + report->to_modules - report->outgoing.count;
    default:
        return 0;
    }
}

static void more_cell(const struct content *content, unsigned section, struct tui_cell *cell)
{
    const uint64_t more = left_out(content, section);
    cell->style = TUI_DIM;
    tui_put(cell, "… and ");
    if (more)
        tui_put_count(cell, more);
    tui_put(cell, "%smore%s", more ? " " : "", section == BYTES ? " bytes" : "");
}

static void waiting_cell(const struct tui_view *view, struct tui_cell *cell)
{
    const struct tui_answer *answer = &view->answers.list.items[0];
    cell->style = answer->error ? TUI_BAD : TUI_DIM;
    if (answer->error)
        tui_put_name(cell, answer->error);
    else
        tui_put(cell, "looking into it …");
}

static void offset_cell(const struct content *content, const struct tui_row *row, struct tui_cell *cell)
{
    const uint32_t index = index_of(row);
    const unsigned section = section_of(row);
    uint64_t offset = MS_NOTHING;
    if (index == HEADING || index == MORE)
        return;
    if (section == MEMBERS)
        offset = content->report.values.list.items[index].offset;
    else if (section == BYTES)
        offset = index;
    else if (section == OUTGOING && content->report.outgoing.items[index].from_block)
        offset = content->report.outgoing.items[index].offset;
    if (offset != MS_NOTHING)
        tui_put(cell, "0x%" PRIx64, offset);
}

static void what_cell(const struct tui_view *view, const struct content *content, const struct tui_row *row,
                      struct tui_cell *cell)
{
    const unsigned section = section_of(row);
    const uint32_t index = index_of(row);
    if (index == HEADING)
        heading_cell(content, section, cell);
    else if (index == MORE)
        more_cell(content, section, cell);
    else if (section == IS)
        is_cell(view, (enum is)index, cell);
    else if (section == MEMBERS)
        member_cell(view, content, index, cell);
    else if (section == BYTES)
        bytes_cell(view, content, index, cell);
    else if (section == INCOMING)
        incoming_cell(&content->report.incoming.items[index], cell);
    else if (section == OUTGOING)
        outgoing_cell(&content->report.outgoing.items[index], cell);
    else
        chain_cell(&content->report, row, cell);
}

static void cell(const struct tui_view *view, const struct tui_row *row, unsigned column, struct tui_cell *cell)
{
    const struct content *content = content_of(view);
    if (row->item == WAITING && column == WHAT)
        waiting_cell(view, cell);
    else if (row->item != WAITING && column == OFFSET)
        offset_cell(content, row, cell);
    else if (row->item != WAITING)
        what_cell(view, content, row, cell);
}

static bool headline(const struct tui_view *view, unsigned line, struct tui_cell *cell)
{
    const struct content *content = view->state ? content_of(view) : NULL;
    if (line > 0)
        return false;
    if (content)
        put_place(&content->report, cell);
    else
        tui_put(cell, "0x%" PRIx64, view->subject);
    return true;
}

/* --- links ------------------------------------------------------------------------------------- */

static uint64_t edge_address(const struct ms_path_edge *edge, bool block)
{
    return block ? edge->block.address : edge->place.address;
}

static uint64_t chain_address(const struct ms_path_report *report, const struct tui_row *row)
{
    const struct ms_path_chain *chain = chain_of(report, row);
    const uint32_t index = index_of(row);
    if (index == CHAIN_ROOT)
        return chain->root.address;
    return index < chain->steps.count ? chain->steps.items[index].block.address : 0;
}

/* What ROW links to, or 0. */
static uint64_t link_of(const struct tui_view *view, const struct tui_row *row)
{
    const struct content *content = content_of(view);
    const uint32_t index = index_of(row);
    if (row->item == WAITING || !content || index == HEADING || index == MORE)
        return 0;
    const struct ms_path_report *report = &content->report;
    switch (section_of(row)) {
    case IS:
    case BYTES:
        return 0;
    case MEMBERS:
        return report->values.list.items[index].to;
    case INCOMING:
        return edge_address(&report->incoming.items[index], report->incoming.items[index].from_block);
    case OUTGOING:
        return edge_address(&report->outgoing.items[index], report->outgoing.items[index].to_block);
    default:
        return chain_address(report, row);
    }
}

static bool enter(const struct tui_view *view, const struct tui_row *row, struct tui_place *to)
{
    *to = (struct tui_place){&tui_block, link_of(view, row)};
    return to->subject;
}

static uint64_t address(const struct tui_view *view, const struct tui_row *row)
{
    const struct content *content = content_of(view);
    const uint64_t to = link_of(view, row);
    if (to || !content || row->item == WAITING || section_of(row) != BYTES || index_of(row) >= content->size)
        return to ? to : view->subject;
    return content->from + index_of(row);
}

const struct tui_view_kind tui_block = {
    .name = "Block",
    .empty = "nothing is there",
    .stage = MS_STAGE_TYPES,
    .columns = columns,
    .column_count = COLUMNS,
    .sort = -1,
    .state_size = sizeof(struct state),
    .answer = look,
    .free_answer = free_content,
    .fill = fill,
    .open = open_row,
    .cell = cell,
    .headline = headline,
    .enter = enter,
    .address = address,
};
