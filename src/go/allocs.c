/* Calls of the allocator, by the text: what their argument says of the type. */
#include "memscope/goallocs.h"

#include <string.h>

#include "pclntab.h"

#define PIECE  (1u << 20) /* bytes of the text that are looked at at once */
#define BEFORE 128u       /* bytes before a call in which its arguments are set */
#define CALL   5u         /* bytes of a call: e8, and how far */
#define LEA    7u         /* of lea register, [rip + how far] */
#define NAME   48u
#define PREFIX "runtime."

/* ModRM bytes of lea that is relative to the instruction pointer, by register. */
enum { RAX = 0x05, RBX = 0x1d, RSI = 0x35 };

/* Functions that allocate, and the register that has the type (src/runtime/malloc.go, slice.go …). */
enum what { ONE = 1, MANY = 2 };
static const struct known {
    const char *name; /* without "runtime."; with a star it may go on */
    uint8_t modrm, what;
    uint8_t since, until; /* minor versions; 0: no bound */
} known[] = {
    {"newobject", RAX, ONE, 0, 0},    {"makeslice", RAX, MANY, 0, 0},
    {"makeslice64", RAX, MANY, 0, 0}, {"makeslicecopy", RAX, MANY, 0, 0},
    {"growslice", RAX, MANY, 0, 19},  {"growslice*", RSI, MANY, 20, 0},
    {"moveSlice", RAX, MANY, 26, 0},  {"moveSliceNoCap", RAX, MANY, 26, 0},
    {"makechan", RAX, ONE, 0, 0},     {"makechan64", RAX, ONE, 0, 0},
    {"makemap", RAX, ONE, 0, 0},      {"makemap64", RAX, ONE, 0, 0},
    {"mapassign*", RAX, ONE, 0, 0},   {"convT", RAX, ONE, 0, 0},
    {"convTnoptr", RAX, ONE, 0, 0},   {"convT2E", RAX, ONE, 0, 0},
    {"convT2Enoptr", RAX, ONE, 0, 0}, {"convT2I", RAX, ONE, 0, 0},
    {"convT2Inoptr", RAX, ONE, 0, 0}, {"mallocgc*", RBX, ONE | MANY, 0, 0},
};

struct callee {
    uint64_t entry;
    const struct known *known;
};

struct reader {
    struct ms_go_functions *functions;
    MS_VECTOR(struct callee) callees; /* by entry */
    struct ms_go_allocations *to;
};

static int by_entry(const void *a, const void *b)
{
    const struct callee *c = a, *d = b;
    return c->entry < d->entry ? -1 : c->entry > d->entry;
}

/* The function called NAME; NULL: it allocates nothing. */
static const struct known *find_known(const char *name, unsigned minor)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t length = strlen(known[i].name);
        const bool open = known[i].name[length - 1] == '*';
        if (minor >= known[i].since && (!known[i].until || minor <= known[i].until) &&
            (open ? strncmp(name, known[i].name, length - 1) == 0 : strcmp(name, known[i].name) == 0))
            return &known[i];
    }
    return NULL;
}

static struct ms_error *find_callees(struct reader *r)
{
    for (size_t i = 0; i < r->functions->modules.count; i++) {
        const struct go_module_tables *tables = &r->functions->modules.items[i];
        for (size_t k = 0; k < tables->count; k++) {
            struct ms_go_function function;
            char name[NAME] = "";
            const size_t prefix = sizeof PREFIX - 1;
            if (!ms_go_function_read(r->functions, tables, k, &function) || !function.name ||
                !ms_go_read_constant(r->functions, function.name, name, sizeof name - 1) ||
                strncmp(name, PREFIX, prefix) != 0)
                continue;
            const struct known *is = find_known(name + prefix, r->functions->go->minor);
            struct callee *callee = is ? ms_vector_add(&r->callees) : NULL;
            if (callee)
                *callee = (struct callee){function.entry, is};
            else if (is)
                return ms_error_nomem("the allocations of the code");
        }
    }
    ms_vector_sort(&r->callees, by_entry);
    return NULL;
}

static const struct callee *find_callee(const struct reader *r, uint64_t entry)
{
    size_t low = 0, high = r->callees.count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (r->callees.items[middle].entry < entry)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->callees.count && r->callees.items[low].entry == entry ? &r->callees.items[low] : NULL;
}

static int32_t distance_at(const uint8_t *bytes)
{
    int32_t distance;
    memcpy(&distance, bytes, sizeof distance);
    return distance;
}

/* What the last lea into that register before BYTES[AT], which is at ADDRESS, loads; 0: there is none. */
static uint64_t loaded_before(const uint8_t *bytes, size_t at, uint64_t address, uint8_t modrm)
{
    for (size_t back = LEA; back <= BEFORE && back <= at; back++) {
        const uint8_t *code = bytes + at - back;
        if (code[0] == 0x48 && code[1] == 0x8d && code[2] == modrm)
            return address - back + LEA + (uint64_t)(int64_t)distance_at(code + 3);
    }
    return 0;
}

/* The calls in BYTES[FROM, SIZE), which are at ADDRESS; what is before them is text too. */
static struct ms_error *look_at(struct reader *r, const uint8_t *bytes, size_t from, size_t size, uint64_t address)
{
    const uint64_t first = r->callees.items[0].entry, last = r->callees.items[r->callees.count - 1].entry;
    for (size_t i = from; i + CALL <= size; i++) {
        const uint8_t *call = memchr(bytes + i, 0xe8, size - CALL + 1 - i);
        if (!call)
            break;
        i = (size_t)(call - bytes);
        const uint64_t to = address + i + CALL + (uint64_t)(int64_t)distance_at(call + 1);
        const struct callee *callee = to >= first && to <= last ? find_callee(r, to) : NULL;
        const uint64_t type = callee ? loaded_before(bytes, i, address + i, callee->known->modrm) : 0;
        struct ms_go_allocation *found = type ? ms_vector_add(&r->to->list) : NULL;
        if (found)
            *found = (struct ms_go_allocation){.pc = address + i + CALL,
                                               .type = type,
                                               .one = callee->known->what & ONE,
                                               .many = callee->known->what & MANY};
        else if (type)
            return ms_error_nomem("the allocations of the code");
    }
    return NULL;
}

static struct ms_error *read_text(struct reader *r, const struct ms_go_range *text)
{
    struct ms_error *error = NULL;
    ms_auto_free uint8_t *bytes = malloc(PIECE);
    if (!bytes)
        return ms_error_nomem("the allocations of the code");
    for (uint64_t at = text->start; !error && at < text->end;) {
        const uint64_t before = at - text->start < BEFORE ? at - text->start : BEFORE;
        const uint64_t left = text->end - (at - before), size = left < PIECE ? left : PIECE;
        if (ms_image_read(r->functions->go->image, at - before, bytes, size))
            error = look_at(r, bytes, before, size, at - before);
        /* a call that goes on in the next piece begins in it */
        at += size - before > CALL && left > PIECE ? size - before - CALL + 1 : size - before;
    }
    return error;
}

static int by_pc(const void *a, const void *b)
{
    const struct ms_go_allocation *c = a, *d = b;
    return c->pc < d->pc ? -1 : c->pc > d->pc;
}

ms_result ms_go_allocations_read(struct ms_go_functions *functions, struct ms_go_allocations *allocations)
{
    struct reader r = {.functions = functions, .to = allocations};
    struct ms_error *error = find_callees(&r);
    for (size_t i = 0; !error && r.callees.count && i < functions->modules.count; i++)
        error = read_text(&r, &functions->modules.items[i].module->text);
    ms_vector_sort(&allocations->list, by_pc);
    ms_vector_free(&r.callees);
    return error;
}
