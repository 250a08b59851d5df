/* What the runtime's functions refer to: operands relative to the instruction pointer, by the names
 * in pclntab. */
#include "code.h"

#include <string.h>

#define PREFIX        "runtime."
#define PREFIX_LENGTH (sizeof PREFIX - 1)
#define ABI0          ".abi0"
/* More than any program has, so that hostile tables cost no more. Bytes. */
#define TABLE_MOST (512u << 20)
#define CODE_MOST  (256u << 10)
#define MAGIC_116  0xfffffffau

/* --- the list ----------------------------------------------------------------------------------
 */

ms_result ms_go_code_want(struct ms_go_code_list *list, const char *name, size_t length)
{
    struct ms_go_code *code = ms_vector_add(&list->functions);
    if (!code || !(code->name = strndup(name, length)))
        return ms_error_nomem("functions of the runtime");
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ms_go_code *)a)->name, ((const struct ms_go_code *)b)->name);
}

static void sort_list(struct ms_go_code_list *list)
{
    size_t kept = 0;
    ms_vector_sort(&list->functions, by_name);
    for (size_t i = 0; i < list->functions.count; i++) {
        struct ms_go_code *code = &list->functions.items[i];
        if (kept && !strcmp(list->functions.items[kept - 1].name, code->name))
            free(code->name);
        else
            list->functions.items[kept++] = *code;
    }
    list->functions.count = kept;
}

static struct ms_go_code *find(const struct ms_go_code_list *list, const char *name, size_t length)
{
    size_t low = 0, high = list->functions.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct ms_go_code *code = &list->functions.items[middle];
        int order = strncmp(code->name, name, length);
        if (order == 0 && code->name[length] == '\0')
            return code;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct ms_go_code *ms_go_code_named(const struct ms_go_code_list *list, const char *name,
                                          size_t length)
{
    return find(list, name, length);
}

void ms_go_code_free(struct ms_go_code_list *list)
{
    for (size_t i = 0; i < list->functions.count; i++) {
        free(list->functions.items[i].name);
        ms_vector_free(&list->functions.items[i].refers);
    }
    ms_vector_free(&list->functions);
}

/* --- instructions ------------------------------------------------------------------------------
 */

/*
 * Bytes of the immediate operand of the instruction whose ModRM byte is CODE[AT], by its opcode
 * (Intel's manual, volume 2, appendix A). What stands before is not decoded: an opcode that is
 * taken for another gives an address that no other function refers to.
 */
static unsigned immediate_size(const uint8_t *code, size_t at)
{
    const uint8_t opcode = code[at - 1], before = at > 1 ? code[at - 2] : 0,
                  earlier = at > 2 ? code[at - 3] : 0, extension = (code[at] >> 3) & 7;
    const bool narrow = before == 0x66 || (earlier == 0x66 && before >> 4 == 4);
    if (earlier == 0x0f && before == 0x3a)
        return 1;
    if (before == 0x0f)
        switch (opcode) {
        case 0x70:
        case 0x71:
        case 0x72:
        case 0x73:
        case 0xa4:
        case 0xac:
        case 0xba:
        case 0xc2:
        case 0xc4:
        case 0xc5:
        case 0xc6:
            return 1;
        default:
            break;
        }
    switch (opcode) {
    case 0x6b:
    case 0x80:
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6:
        return 1;
    case 0x69:
    case 0x81:
    case 0xc7:
        return narrow ? 2 : 4;
    case 0xf6:
        return extension < 2;
    case 0xf7:
        return extension >= 2 ? 0 : narrow ? 2 : 4;
    default:
        return 0;
    }
}

static bool is_data(const struct ms_go_module *module, uint64_t address)
{
    const struct ms_go_range *const ranges[] = {&module->noptrdata, &module->data, &module->bss,
                                                &module->noptrbss};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i]->start <= address && address < ranges[i]->end)
            return true;
    return false;
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Operands of code at ADDRESS: any ModRM byte of that form, wherever instructions begin. */
static ms_result add_operands(struct ms_go_code *code, const struct ms_go_module *module,
                              const uint8_t *bytes, size_t size, uint64_t address)
{
    for (size_t i = 1; i + 4 < size; i++) {
        int32_t displacement;
        if ((bytes[i] & 0xc7) != 0x05)
            continue;
        memcpy(&displacement, bytes + i + 1, sizeof displacement);
        uint64_t to = address + i + 5 + immediate_size(bytes, i) + (uint64_t)(int64_t)displacement;
        uint64_t *slot = is_data(module, to) ? ms_vector_add(&code->refers) : NULL;
        if (slot)
            *slot = to;
        else if (is_data(module, to))
            return ms_error_nomem("functions of the runtime");
    }
    ms_vector_sort(&code->refers, by_value);
    size_t kept = 0;
    for (size_t i = 0; i < code->refers.count; i++)
        if (!kept || code->refers.items[kept - 1] != code->refers.items[i])
            code->refers.items[kept++] = code->refers.items[i];
    code->refers.count = kept;
    return NULL;
}

/* --- functions ---------------------------------------------------------------------------------
 */

/* The tables of a module's functions; offsets from the pcHeader, see modules.c. */
struct tables {
    const struct ms_go_module *module;
    uint8_t *names, *functions; /* owned */
    uint64_t names_size, functions_size, count;
    bool old; /* 1.16 and 1.17: words, and addresses where there are offsets now */
};

static bool read_slice(const struct ms_image *image, uint64_t slice, uint8_t **bytes,
                       uint64_t *size)
{
    uint64_t words[2];
    if (!ms_image_read(image, slice, words, sizeof words) || words[1] > TABLE_MOST)
        return false;
    *size = words[1];
    *bytes = malloc(words[1] + 1);
    if (!*bytes || !ms_image_read(image, words[0], *bytes, words[1]))
        return false;
    (*bytes)[words[1]] = '\0';
    return true;
}

/* moduledata begins with {pcHeader, funcnametab, cutab, filetab, pctab, pclntable, …}. */
static bool read_tables(const struct ms_go *go, struct tables *tables)
{
    uint64_t header[2];
    if (!ms_image_read(go->image, tables->module->pclntab, header, sizeof header) ||
        !read_slice(go->image, tables->module->address + 8, &tables->names, &tables->names_size) ||
        !read_slice(go->image, tables->module->address + 8 + 4 * 24, &tables->functions,
                    &tables->functions_size))
        return false;
    tables->old = (uint32_t)header[0] == MAGIC_116;
    tables->count = header[1];
    return tables->count < tables->functions_size / (tables->old ? 16 : 8);
}

/* Word I of the table that pclntable begins with: addresses and offsets of the functions by turns.
 */
static uint64_t table_word(const struct tables *tables, uint64_t i)
{
    uint32_t half;
    uint64_t word;
    if (tables->old) {
        memcpy(&word, tables->functions + 8 * i, sizeof word);
        return word;
    }
    memcpy(&half, tables->functions + 4 * i, sizeof half);
    return half;
}

static uint64_t entry_of(const struct tables *tables, uint64_t function)
{
    uint64_t entry = table_word(tables, 2 * function);
    return tables->old ? entry : tables->module->text.start + entry;
}

/* The name behind "runtime." of a function; NULL when it has another. */
static const char *name_of(const struct tables *tables, uint64_t function)
{
    /* _func {entry uintptr or entryoff uint32; nameoff int32; …} (src/runtime/runtime2.go) */
    uint64_t at = table_word(tables, 2 * function + 1) + (tables->old ? 8 : 4);
    uint32_t name;
    if (at + sizeof name > tables->functions_size)
        return NULL;
    memcpy(&name, tables->functions + at, sizeof name);
    if (name >= tables->names_size || tables->names_size - name < PREFIX_LENGTH ||
        memcmp(tables->names + name, PREFIX, PREFIX_LENGTH) != 0)
        return NULL;
    return (const char *)tables->names + name + PREFIX_LENGTH;
}

static ms_result read_function(const struct ms_go *go, const struct tables *tables,
                               uint64_t function, struct ms_go_code *code, uint8_t *bytes)
{
    uint64_t start = entry_of(tables, function), end = entry_of(tables, function + 1);
    if (start < tables->module->text.start || end > tables->module->text.end || start >= end)
        return NULL;
    size_t size = end - start < CODE_MOST ? end - start : CODE_MOST;
    if (!ms_image_read(go->image, start, bytes, size))
        return NULL;
    code->found = true;
    return add_operands(code, tables->module, bytes, size, start);
}

static ms_result read_functions(const struct ms_go *go, const struct tables *tables,
                                struct ms_go_code_list *list)
{
    ms_auto_free uint8_t *bytes = malloc(CODE_MOST);
    if (!bytes)
        return ms_error_nomem("functions of the runtime");
    for (uint64_t i = 0; i < tables->count; i++) {
        const char *name = name_of(tables, i);
        size_t length = name ? strlen(name) : 0;
        if (length > sizeof ABI0 && !strcmp(name + length - sizeof ABI0 + 1, ABI0))
            length -= sizeof ABI0 - 1;
        struct ms_go_code *code = length ? find(list, name, length) : NULL;
        if (code)
            MS_TRY(read_function(go, tables, i, code, bytes));
    }
    return NULL;
}

ms_result ms_go_code_read(const struct ms_go *go, struct ms_go_code_list *list)
{
    struct tables tables = {.module = go->modules.items};
    struct ms_error *error = NULL;
    sort_list(list);
    if (go->modules.count && read_tables(go, &tables))
        error = read_functions(go, &tables, list);
    free(tables.names);
    free(tables.functions);
    return error;
}
