/* Go functions by name, and the calls at an address: files, lines, what was inlined. */
#include <stdio.h>
#include <string.h>

#include "pclntab.h"

/* The calls at addresses that were asked for: those of the stacks of many goroutines are few. */
struct go_calls_at {
    uint64_t pc; /* 0: unused */
    size_t first;
    unsigned count;
};
struct go_calls_cache {
    struct go_calls_at *slots; /* open addressing; owned */
    size_t count, room;
    MS_VECTOR(struct ms_go_call) calls;
};

void ms_go_calls_cache_free(struct go_calls_cache *cache)
{
    if (!cache)
        return;
    free(cache->slots);
    ms_vector_free(&cache->calls);
    free(cache);
}

const char *ms_go_function_name(struct ms_go_functions *functions,
                                const struct ms_go_function *function)
{
    const char *name = ms_go_string_at(functions, function->name);
    return name ? name : "";
}

char *ms_go_shown_name(const char *name, char *buffer, size_t size)
{
    const char *open = strchr(name, '['), *close = strrchr(name, ']');
    if (open && close && close > open)
        snprintf(buffer, size, "%.*s[...]%s", (int)(open - name), name, close + 1);
    else
        snprintf(buffer, size, "%s", name);
    return buffer;
}

/* --- calls --------------------------------------------------------------------------------------
 */

/* The file and line at PC in FUNCTION; funcline1() of src/runtime/symtab.go. */
static void set_line(struct ms_go_functions *functions, const struct ms_go_function *function,
                     uint64_t pc, struct ms_go_call *call)
{
    const struct go_module_tables *tables = ms_go_tables_of(functions, function);
    int32_t file = ms_go_value_at(functions, function, function->pcfile, pc);
    int32_t line = ms_go_value_at(functions, function, function->pcln, pc);
    uint32_t offset;
    call->file = "?";
    if (file < 0 || line < 0)
        return;
    uint64_t at = tables->units + 4 * ((uint64_t)function->cu + (uint32_t)file);
    if (!ms_go_read_constant(functions, at, &offset, sizeof offset) || offset == UINT32_MAX)
        return;
    const char *name = ms_go_string_at(functions, tables->files + offset);
    call->file = name ? name : "?";
    call->line = line;
}

/* The call of index INDEX in the inline tree of FUNCTION, and the address of the call to it. */
static bool inlined_call(struct ms_go_functions *functions, const struct ms_go_function *function,
                         int32_t index, struct ms_go_call *call, uint64_t *pc)
{
    const struct go_module_tables *tables = ms_go_tables_of(functions, function);
    const struct go_table_format *format = tables->format;
    uint64_t tree = ms_go_funcdata(functions, function, MS_GO_INLINE_TREE);
    uint8_t raw[20];
    if (index < 0 || !tree ||
        !ms_go_read_constant(functions, tree + (uint64_t)index * format->inlined_size, raw,
                             format->inlined_size))
        return false;
    int32_t name, parent, start = 0;
    memcpy(&name, raw + format->inlined_name, sizeof name);
    memcpy(&parent, raw + format->inlined_parent, sizeof parent);
    if (format->inlined_start)
        memcpy(&start, raw + format->inlined_start, sizeof start);
    const char *text = name > 0 ? ms_go_string_at(functions, tables->names + (uint32_t)name) : NULL;
    set_line(functions, function, *pc, call);
    call->function = text ? text : "";
    call->start_line = start;
    call->entry = function->entry;
    call->id = ms_go_function_id(functions->go->minor, raw[format->inlined_id]);
    call->inlined = true;
    *pc = function->entry + (uint64_t)(int64_t)parent;
    return true;
}

/* Adds the calls at PC to CACHE; false: no memory. */
static bool find_calls(struct ms_go_functions *functions, uint64_t pc, struct go_calls_cache *cache,
                       struct go_calls_at *slot)
{
    struct ms_go_function function;
    if (!ms_go_function_at(functions, pc, &function))
        return true;
    while (slot->count < MS_GO_INLINED_MOST) {
        struct ms_go_call *call = ms_vector_add(&cache->calls);
        if (!call)
            return false;
        slot->count++;
        int32_t index = ms_go_pcdata(functions, &function, MS_GO_INLINE_INDEX, pc);
        if (inlined_call(functions, &function, index, call, &pc))
            continue;
        set_line(functions, &function, pc, call);
        call->function = ms_go_function_name(functions, &function);
        call->start_line = function.start_line;
        call->entry = function.entry;
        call->id = function.id;
        break;
    }
    return true;
}

static struct go_calls_at *slot_of(struct go_calls_at *slots, size_t room, uint64_t pc)
{
    size_t at = (pc * 0x9e3779b97f4a7c15u >> 20) & (room - 1);
    while (slots[at].pc && slots[at].pc != pc)
        at = (at + 1) & (room - 1);
    return &slots[at];
}

static bool grow(struct go_calls_cache *cache)
{
    if (cache->count * 2 < cache->room)
        return true;
    size_t room = cache->room ? cache->room * 2 : 1024;
    struct go_calls_at *slots = calloc(room, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < cache->room; i++)
        if (cache->slots[i].pc)
            *slot_of(slots, room, cache->slots[i].pc) = cache->slots[i];
    free(cache->slots);
    cache->slots = slots;
    cache->room = room;
    return true;
}

unsigned ms_go_calls_at(struct ms_go_functions *functions, uint64_t pc, struct ms_go_call *calls,
                        unsigned most)
{
    if (!functions->calls)
        functions->calls = calloc(1, sizeof *functions->calls);
    struct go_calls_cache *cache = functions->calls;
    if (!pc || !cache || !grow(cache))
        return 0;
    struct go_calls_at *slot = slot_of(cache->slots, cache->room, pc);
    if (!slot->pc) {
        struct go_calls_at found = {pc, cache->calls.count, 0};
        if (!find_calls(functions, pc, cache, &found)) {
            cache->calls.count = found.first;
            return 0;
        }
        *slot = found;
        cache->count++;
    }
    unsigned count = slot->count < most ? slot->count : most;
    if (count && cache->calls.items)
        memcpy(calls, cache->calls.items + slot->first, count * sizeof *calls);
    return count;
}
