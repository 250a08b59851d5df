/* The tables of Go functions (pclntab): which function an address is in, and values by address. */
#include "pclntab.h"

#include <string.h>

/*
 * src/runtime/symtab.go, runtime2.go and symtabinl.go, cmd/link/internal/ld/pcln.go. The last three
 * versions of the tables; 1.26 no longer fills textStart of the header, which is not used here.
 */
static const struct go_table_format formats[] = {
    {0xfffffffa, 24, false, 44, 0, 20, 2, 12, 16, 0}, /* 1.16 and 1.17 */
    {0xfffffff0, 32, true, 40, 0, 20, 2, 12, 16, 0},  /* 1.18 and 1.19 */
    {0xfffffff1, 32, true, 44, 32, 16, 0, 4, 8, 12},  /* 1.20 and later */
};
#define HEADER_MOST    72u
#define FUNCTIONS_MOST (1u << 26)
#define STEPS_MOST     (1u << 20) /* of a table by address: one function's */
#define STRING_MOST    (1u << 16)

/* --- bytes --------------------------------------------------------------------------------------
 */

/* The page that holds ADDRESS, or NULL. */
static const uint8_t *page_at(struct ms_go_functions *functions, uint64_t address)
{
    uint64_t start = address & ~(uint64_t)(MS_PAGE - 1);
    struct go_cached_page *page = &functions->pages[start / MS_PAGE % MS_GO_CACHED_PAGES];
    if (page->address == start)
        return page->bytes;
    page->address = 1;
    if (!ms_image_read(functions->go->image, start, page->bytes, MS_PAGE))
        return NULL;
    page->address = start;
    return page->bytes;
}

bool ms_go_read_constant(struct ms_go_functions *functions, uint64_t address, void *buffer,
                         size_t size)
{
    uint8_t *to = buffer;
    while (size) {
        size_t part = MS_PAGE - address % MS_PAGE;
        part = part < size ? part : size;
        const uint8_t *page = page_at(functions, address);
        if (!page)
            return false;
        memcpy(to, page + address % MS_PAGE, part);
        address += part;
        to += part;
        size -= part;
    }
    return true;
}

/* A place in the target's bytes that goes forward; PAGE is NULL where they are not to be had. */
struct cursor {
    struct ms_go_functions *functions;
    const uint8_t *page;
    uint64_t address;
};

static struct cursor cursor_at(struct ms_go_functions *functions, uint64_t address)
{
    return (struct cursor){functions, page_at(functions, address), address};
}

/* The next byte, or 0 at the end of what is to be had. */
static uint8_t next_byte(struct cursor *cursor)
{
    uint8_t byte = cursor->page ? cursor->page[cursor->address % MS_PAGE] : 0;
    if (++cursor->address % MS_PAGE == 0)
        cursor->page = page_at(cursor->functions, cursor->address);
    return byte;
}

static uint32_t next_varint(struct cursor *cursor)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = next_byte(cursor);
        value |= (uint32_t)(byte & 0x7f) << (shift & 31);
        if (!(byte & 0x80))
            break;
    }
    return value;
}

/* --- strings ------------------------------------------------------------------------------------
 */

static struct go_string *string_slot(struct go_string *strings, size_t room, uint64_t address)
{
    size_t at = (address * 0x9e3779b97f4a7c15u >> 20) & (room - 1);
    while (strings[at].address && strings[at].address != address)
        at = (at + 1) & (room - 1);
    return &strings[at];
}

static bool grow_strings(struct ms_go_functions *functions)
{
    if (functions->string_count * 2 < functions->string_room)
        return true;
    size_t room = functions->string_room ? functions->string_room * 2 : 1024;
    struct go_string *strings = calloc(room, sizeof *strings);
    if (!strings)
        return false;
    for (size_t i = 0; i < functions->string_room; i++)
        if (functions->strings[i].address)
            *string_slot(strings, room, functions->strings[i].address) = functions->strings[i];
    free(functions->strings);
    functions->strings = strings;
    functions->string_room = room;
    return true;
}

static char *read_string(struct ms_go_functions *functions, uint64_t address)
{
    struct cursor cursor = cursor_at(functions, address);
    size_t length = 0;
    while (length < STRING_MOST && cursor.page && next_byte(&cursor))
        length++;
    char *text = malloc(length + 1);
    if (!text || !ms_go_read_constant(functions, address, text, length)) {
        free(text);
        return NULL;
    }
    text[length] = '\0';
    return text;
}

const char *ms_go_string_at(struct ms_go_functions *functions, uint64_t address)
{
    if (!address || !grow_strings(functions))
        return NULL;
    struct go_string *slot = string_slot(functions->strings, functions->string_room, address);
    if (slot->address)
        return slot->text;
    char *text = read_string(functions, address);
    if (text) {
        *slot = (struct go_string){address, text};
        functions->string_count++;
    }
    return text;
}

/* --- functions ----------------------------------------------------------------------------------
 */

static ms_result format_error(const struct ms_go *go, const char *what)
{
    return ms_error(MS_TARGET,
                    "%s: the table of functions of this %s program %s: a newer memscope may "
                    "know it",
                    go->image->origin, go->version, what);
}

static uint64_t word(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* The addresses that entries count from and up to, and where the _func of each is. */
static ms_result read_entries(struct ms_go_functions *functions, struct go_module_tables *tables)
{
    size_t width = tables->format->relative ? 4 : 8, size = (2 * tables->count + 1) * width;
    uint8_t last;
    if (!ms_image_read(functions->go->image, tables->functions + size - 1, &last, 1))
        return format_error(functions->go, "is not to be had");
    uint8_t *raw = malloc(size);
    tables->entries = calloc(tables->count + 1, sizeof *tables->entries);
    if (!raw || !tables->entries) {
        free(raw);
        return ms_error_nomem("the table of Go functions");
    }
    if (!ms_image_read(functions->go->image, tables->functions, raw, size)) {
        free(raw);
        return format_error(functions->go, "is not to be had");
    }
    for (size_t i = 0; i <= tables->count; i++) {
        struct go_function_entry *entry = &tables->entries[i];
        const uint8_t *from = raw + 2 * i * width;
        memcpy(&entry->entry, from, width);
        if (tables->format->relative)
            entry->entry += tables->module->text.start;
        if (i < tables->count)
            memcpy(&entry->offset, from + width, width);
    }
    free(raw);
    return NULL;
}

static ms_result read_module(struct ms_go_functions *functions, const struct ms_go_module *module)
{
    struct ms_go *go = functions->go;
    uint8_t header[HEADER_MOST];
    if (!ms_image_read(go->image, module->pclntab, header, sizeof header))
        return format_error(go, "is not to be had");
    struct go_module_tables tables = {.module = module, .quantum = header[6]};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!memcmp(header, &formats[i].magic, sizeof formats[i].magic))
            tables.format = &formats[i];
    if (!tables.format || header[4] || header[5] || header[6] == 0 || header[7] != 8)
        return format_error(go, "has a format that is not known");
    const uint8_t *offsets = header + tables.format->header;
    uint64_t *const starts[] = {&tables.names, &tables.units, &tables.files, &tables.values,
                                &tables.functions};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        *starts[i] = module->pclntab + word(offsets + 8 * i);
    uint64_t count = word(header + 8);
    if (count > FUNCTIONS_MOST)
        return format_error(go, "is damaged");
    tables.count = count;
    struct go_module_tables *slot = ms_vector_add(&functions->modules);
    if (!slot)
        return ms_error_nomem("the tables of Go functions");
    *slot = tables;
    return read_entries(functions, slot);
}

ms_result ms_go_functions_new(struct ms_go *go, struct ms_go_functions **out)
{
    *out = NULL;
    struct ms_go_functions *functions = calloc(1, sizeof *functions);
    if (!functions)
        return ms_error_nomem("the tables of Go functions");
    functions->go = go;
    functions->pages = malloc(MS_GO_CACHED_PAGES * sizeof *functions->pages);
    struct ms_error *error = functions->pages ? NULL : ms_error_nomem("the tables of Go functions");
    for (size_t i = 0; functions->pages && i < MS_GO_CACHED_PAGES; i++)
        functions->pages[i].address = 1;
    for (size_t i = 0; !error && i < go->modules.count; i++)
        error = read_module(functions, &go->modules.items[i]);
    if (error) {
        ms_go_functions_free(functions);
        return error;
    }
    *out = functions;
    return NULL;
}

void ms_go_functions_free(struct ms_go_functions *functions)
{
    if (!functions)
        return;
    for (size_t i = 0; i < functions->modules.count; i++)
        free(functions->modules.items[i].entries);
    ms_vector_free(&functions->modules);
    for (size_t i = 0; i < functions->string_room; i++)
        free(functions->strings[i].text);
    free(functions->strings);
    free(functions->pages);
    ms_go_calls_cache_free(functions->calls);
    free(functions);
}

const struct go_module_tables *ms_go_tables_of(const struct ms_go_functions *functions,
                                               const struct ms_go_function *function)
{
    for (size_t i = 0; i < functions->modules.count; i++)
        if (functions->modules.items[i].module == function->module)
            return &functions->modules.items[i];
    return NULL;
}

/*
 * Numbers of funcIDs in the order of the versions' own lists; SINCE and UNTIL are minor versions
 * that have it, 0: no bound. (src/internal/abi/symtab.go; src/runtime/symtab.go before 1.21.)
 */
static const struct {
    uint8_t id, since, until;
} ids[] = {
    {MS_GO_NORMAL, 0, 0},
    {MS_GO_ABORT, 0, 0},
    {MS_GO_ASMCGOCALL, 0, 0},
    {MS_GO_ASYNC_PREEMPT, 0, 0},
    {MS_GO_CGOCALLBACK, 0, 0},
    {MS_GO_COROSTART, 22, 0},
    {MS_GO_DEBUG_CALL, 0, 0},
    {MS_GO_GC_BG_MARK_WORKER, 0, 0},
    {MS_GO_GOEXIT, 0, 0},
    {MS_GO_GOGO, 0, 0},
    {MS_GO_GOPANIC, 0, 0},
    {MS_GO_HANDLE_ASYNC_EVENT, 0, 0},
    {MS_GO_JMPDEFER, 0, 17},
    {MS_GO_MCALL, 0, 0},
    {MS_GO_MORESTACK, 0, 0},
    {MS_GO_MSTART, 0, 0},
    {MS_GO_PANICWRAP, 0, 0},
    {MS_GO_RT0, 0, 0},
    {MS_GO_RUN_FINALIZERS, 0, 24},
    {MS_GO_RUNTIME_MAIN, 0, 0},
    {MS_GO_RUN_FINALIZERS, 25, 0},
    {MS_GO_RUN_CLEANUPS, 25, 0},
    {MS_GO_SIGPANIC, 0, 0},
    {MS_GO_SYSTEMSTACK, 0, 0},
    {MS_GO_SYSTEMSTACK_SWITCH, 0, 0},
    {MS_GO_WRAPPER, 0, 0},
};

uint8_t ms_go_function_id(unsigned minor, uint8_t number)
{
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (minor >= ids[i].since && (!ids[i].until || minor <= ids[i].until) && number-- == 0)
            return ids[i].id;
    return MS_GO_NORMAL;
}

bool ms_go_function_read(struct ms_go_functions *functions, const struct go_module_tables *tables,
                         size_t index, struct ms_go_function *function)
{
    const struct go_table_format *format = tables->format;
    const struct go_function_entry *entry = &tables->entries[index];
    uint64_t address = tables->functions + entry->offset;
    uint8_t raw[44], *bytes = raw + (format->relative ? 4 : 8);
    if (entry->offset == UINT64_MAX ||
        !ms_go_read_constant(functions, address, raw, format->function))
        return false;
    uint32_t words[8];
    memcpy(words, bytes, sizeof words);
    *function = (struct ms_go_function){
        .module = tables->module,
        .entry = entry->entry,
        .end = entry[1].entry,
        .data = address + format->function,
        .name = words[0] ? tables->names + words[0] : 0,
        .args = (int32_t)words[1],
        .deferreturn = words[2],
        .pcsp = words[3],
        .pcfile = words[4],
        .pcln = words[5],
        .npcdata = words[6],
        .cu = words[7],
        .id = ms_go_function_id(functions->go->minor, raw[format->function - 4]),
        .flags = raw[format->function - 3],
        .nfuncdata = raw[format->function - 1],
    };
    if (format->start_line)
        memcpy(&function->start_line, bytes + format->start_line, sizeof function->start_line);
    return true;
}

bool ms_go_function_at(struct ms_go_functions *functions, uint64_t pc,
                       struct ms_go_function *function)
{
    for (size_t i = 0; i < functions->modules.count; i++) {
        const struct go_module_tables *tables = &functions->modules.items[i];
        const struct go_function_entry *entries = tables->entries;
        if (!tables->count || pc < entries[0].entry || pc >= entries[tables->count].entry)
            continue;
        size_t low = 0, high = tables->count; /* entries[low] <= pc < entries[high] */
        while (high - low > 1) {
            size_t middle = low + (high - low) / 2;
            if (entries[middle].entry <= pc)
                low = middle;
            else
                high = middle;
        }
        return ms_go_function_read(functions, tables, low, function);
    }
    return false;
}

/* --- tables by address --------------------------------------------------------------------------
 */

int32_t ms_go_value_at(struct ms_go_functions *functions, const struct ms_go_function *function,
                       uint32_t offset, uint64_t pc)
{
    const struct go_module_tables *tables = ms_go_tables_of(functions, function);
    if (!offset || !tables)
        return -1;
    struct cursor cursor = cursor_at(functions, tables->values + offset);
    uint64_t at = function->entry;
    uint32_t value = UINT32_MAX; /* -1; wraps */
    for (unsigned step = 0; step < STEPS_MOST && cursor.page; step++) {
        uint32_t delta = next_varint(&cursor);
        if (!delta && step)
            break;
        value += delta & 1 ? ~(delta >> 1) : delta >> 1;
        at += (uint64_t)next_varint(&cursor) * tables->quantum;
        if (pc < at)
            return (int32_t)value;
    }
    return -1;
}

bool ms_go_sp_delta(struct ms_go_functions *functions, const struct ms_go_function *function,
                    uint64_t pc, int32_t *delta)
{
    *delta = ms_go_value_at(functions, function, function->pcsp, pc);
    return *delta >= 0 && *delta % 8 == 0;
}

int32_t ms_go_pcdata(struct ms_go_functions *functions, const struct ms_go_function *function,
                     enum ms_go_pcdata table, uint64_t pc)
{
    uint32_t offset;
    if ((uint32_t)table >= function->npcdata ||
        !ms_go_read_constant(functions, function->data + 4 * (uint64_t)table, &offset, 4))
        return -1;
    return ms_go_value_at(functions, function, offset, pc);
}

uint64_t ms_go_funcdata(struct ms_go_functions *functions, const struct ms_go_function *function,
                        enum ms_go_funcdata index)
{
    const struct go_module_tables *tables = ms_go_tables_of(functions, function);
    if ((uint32_t)index >= function->nfuncdata || !tables)
        return 0;
    uint64_t at = function->data + 4 * (uint64_t)function->npcdata, value = 0;
    if (!tables->format->relative) { /* addresses, aligned */
        at = (at + 7) & ~(uint64_t)7;
        return ms_go_read_constant(functions, at + 8 * (uint64_t)index, &value, 8) ? value : 0;
    }
    if (!ms_go_read_constant(functions, at + 4 * (uint64_t)index, &value, 4) || value == UINT32_MAX)
        return 0;
    return tables->module->gofunc + value;
}
