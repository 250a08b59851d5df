/* What is alive of escaped variables, by the samples that a process takes of its own allocations. */
#include <stdlib.h>
#include <string.h>

#include "memscope/goescapes.h"

/* Calls that can be inlined at one address, and still are looked at. */
#define CALLS_MOST 32u
/* Smaller values without pointers share slots of this size (maxTinySize of src/runtime/malloc.go). */
#define TINY 16u

static int by_line(const void *a, const void *b)
{
    const struct ms_go_escape *x = *(struct ms_go_escape *const *)a, *y = *(struct ms_go_escape *const *)b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return strcmp(x->file, y->file);
}

/* Without pointers in it, so that the runtime puts several into a slot, of which it samples the first alone. */
static bool shares_slots(const struct ms_go_escape *escape)
{
    static const char *const pointers[] = {"*", "map[", "chan ", "<-chan ", "chan<- ", "func(", "unsafe.Pointer"};
    if (escape->size >= TINY)
        return false;
    for (size_t i = 0; escape->type && i < sizeof pointers / sizeof *pointers; i++)
        if (strncmp(escape->type, pointers[i], strlen(pointers[i])) == 0)
            return false;
    return true;
}

/* Those whose line is known, in order; of several on one line none. */
static size_t index_lines(struct ms_go_escapes *escapes, struct ms_go_escape **index)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < escapes->list.count; i++)
        if (escapes->list.items[i].file && escapes->list.items[i].size && !shares_slots(&escapes->list.items[i]))
            index[count++] = &escapes->list.items[i];
    if (count)
        qsort(index, count, sizeof *index, by_line);
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && by_line(&index[i], &index[end]) == 0;)
            end++;
        if (end == i + 1)
            index[kept++] = index[i];
    }
    return kept;
}

/* Where the program asked for the memory: the innermost call that is not the runtime's. */
static bool find_site(struct ms_go_functions *functions, const uint64_t *pcs, size_t count, struct ms_go_call *site)
{
    struct ms_go_call calls[CALLS_MOST];
    for (size_t i = 0; i < count; i++) {
        const unsigned found = ms_go_calls_at(functions, pcs[i] - 1, calls, CALLS_MOST);
        for (unsigned k = 0; k < found; k++)
            if (strncmp(calls[k].function, "runtime.", strlen("runtime.")) != 0) {
                *site = calls[k];
                return true;
            }
    }
    return false;
}

/* May slots of SIZE bytes be those of ESCAPE? They are of the next size class: bigger by an eighth, or by little. */
static bool fits(const struct ms_go_escape *escape, uint64_t size)
{
    return size >= escape->size && size <= escape->size + escape->size / 8 + TINY;
}

static void add_bucket(const struct ms_go_bucket *bucket, int64_t rate, struct ms_go_escape *escape)
{
    int64_t objects, bytes, scaled[2];
    if (bucket->allocs <= 0 || !fits(escape, (uint64_t)bucket->alloc_bytes / (uint64_t)bucket->allocs) ||
        __builtin_sub_overflow(bucket->allocs, bucket->frees, &objects) ||
        __builtin_sub_overflow(bucket->alloc_bytes, bucket->free_bytes, &bytes) || objects <= 0 || bytes <= 0)
        return;
    ms_go_scale_sample(objects, bytes, rate, scaled);
    escape->live_objects += scaled[0] > 0 ? (uint64_t)scaled[0] : 0;
    escape->live_bytes += scaled[1] > 0 ? (uint64_t)scaled[1] : 0;
}

ms_result ms_go_escapes_count(struct ms_go_escapes *escapes, struct ms_go_functions *functions,
                              const struct ms_go_buckets *buckets)
{
    ms_auto_free struct ms_go_escape **index = calloc(escapes->list.count + 1, sizeof *index);
    if (!index)
        return ms_error_nomem("the variables");
    const size_t count = index_lines(escapes, index);
    for (size_t i = 0; i < count; i++)
        index[i]->counted = true;
    for (size_t i = 0; i < buckets->list.count; i++) {
        const struct ms_go_bucket *bucket = &buckets->list.items[i];
        struct ms_go_call site;
        if (!find_site(functions, buckets->pcs.items + bucket->first_pc, bucket->pc_count, &site) || !site.file)
            continue;
        const struct ms_go_escape wanted = {.file = site.file, .line = site.line}, *key = &wanted;
        struct ms_go_escape **found = bsearch(&key, index, count, sizeof *index, by_line);
        if (found)
            add_bucket(bucket, buckets->rate, *found);
    }
    escapes->counted = true;
    escapes->rate = buckets->rate;
    return NULL;
}
