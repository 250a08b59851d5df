/* What is known of a Go heap, and of the addresses on stdin, as JSON; --all: all objects, their pointers, and roots. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "memscope/capture.h"
#include "memscope/goheap.h"

/* By enum ms_root_kind. */
static const char *const root_names[MS_ROOT_KINDS] = {
    [MS_ROOT_DATA] = "data",           [MS_ROOT_STACK] = "stack",         [MS_ROOT_REGISTER] = "register",
    [MS_ROOT_ANON] = "anonymous map",  [MS_ROOT_SHARED] = "shared map",   [MS_ROOT_KERNEL] = "kernel",
    [MS_ROOT_GOROUTINE] = "goroutine", [MS_ROOT_FINALIZER] = "finalizer", [MS_ROOT_RUNTIME] = "runtime",
    [MS_ROOT_DTV] = "thread-local storage",
};

static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void print_tally(const char *name, const struct ms_tally *tally)
{
    printf("\"%s\": [%" PRIu64 ", %" PRIu64 "], ", name, tally->blocks, tally->bytes);
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

/* The object that holds ADDRESS: where it starts, its size, is it live and reachable, its class, is it young. */
static void print_object(const struct ms_go_heap *go, uint64_t address)
{
    const struct ms_heap *heap = &go->scan->heap;
    const struct ms_segment *segment = ms_heap_segment(heap, address);
    if (!segment) {
        printf("null");
        return;
    }
    const uint64_t start = ms_start_of(heap, ms_address_granule(heap, segment, address));
    const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
    printf("[%" PRIu64 ", %" PRIu64 ", %s, \"%s\", %s]", ms_granule_address(heap, start),
           ms_block_size(heap, start), truth(ms_bit(line->reached, start)),
           ms_class_names[ms_chunk_class(heap, start)], truth(ms_go_is_young(go, address)));
}

/* A pointer is its address and what it points to, rounded down to 8 bytes. */
static void print_pointers(const struct ms_heap *heap, uint64_t start)
{
    const char *comma = "";
    for (uint64_t word = start * 2, end = ms_words_end(heap, start); word < end; word += 2) {
        const uint64_t target = ms_word_target(heap, word);
        if (target >= 2 * heap->granules)
            continue;
        printf("%s%" PRIu64 ", %" PRIu64, comma, ms_granule_address(heap, word / 2),
               ms_granule_address(heap, target / 2));
        comma = ", ";
    }
}

static void print_all(const struct ms_go_heap *go)
{
    const struct ms_heap *heap = &go->scan->heap;
    const char *comma = "";
    printf(", \"all\": [");
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++)
        for (uint32_t bits = heap->lines[l].starts & heap->lines[l].live; bits; bits &= bits - 1, comma = ",\n") {
            const uint64_t start = l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits);
            fputs(comma, stdout);
            putchar('[');
            print_object(go, ms_granule_address(heap, start));
            fputs(", [", stdout);
            print_pointers(heap, start);
            fputs("]]", stdout);
        }
    printf("], \"roots\": [");
    comma = "";
    for (size_t i = 0; i < go->scan->root_count; i++, comma = ", ") {
        const struct ms_root *root = &go->scan->roots[i];
        const bool stack = root->kind == MS_ROOT_GOROUTINE;
        printf("%s[\"%s\", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", comma, root_names[root->kind],
               stack ? go->goroutines->list.items[root->tid].id : 0, root->address,
               ms_granule_address(heap, root->target / 2));
    }
    putchar(']');
}

static ms_result print_heap(struct ms_image *image, struct ms_go *go, bool all)
{
    const double begun = now_ms();
    struct ms_go_heap *heap;
    MS_TRY(ms_go_heap_new(go, image, &heap));
    struct ms_reach reach;
    struct ms_error *error = ms_mark(heap->scan, &reach);
    printf("{\"version\": \"%s\", \"ms\": %.1f, \"marking\": %s, ", go->version, now_ms() - begun,
           truth(heap->marking));
    print_tally("live", &heap->live);
    print_tally("garbage", &heap->garbage);
    print_tally("reachable", &reach.reachable);
    print_tally("unreachable", &heap->unreachable);
    print_tally("young", &heap->young);
    printf("\"complete\": %s, \"objects\": [", truth(!image->incomplete));
    uint64_t address;
    for (const char *comma = ""; scanf("%" SCNu64, &address) == 1; comma = ", ") {
        fputs(comma, stdout);
        print_object(heap, address);
    }
    putchar(']');
    if (all)
        print_all(heap);
    puts("}");
    ms_go_heap_free(heap);
    return error;
}

static ms_result print_target(const char *target, bool all)
{
    struct ms_capture_options options = {.want = MS_WANT_FULL};
    struct ms_symbols_options none = {.debuginfod = false};
    struct ms_image *image = NULL;
    struct ms_symbols *symbols = NULL;
    struct ms_types *types = NULL;
    struct ms_go *go = NULL;
    struct ms_error *error = ms_open_target(target, &options, &image);
    if (!error)
        error = ms_symbols_new(image, &none, &symbols);
    if (!error)
        error = ms_types_new(symbols, image, NULL, NULL, &types);
    if (!error)
        error = ms_go_open(image, symbols, types, &go);
    if (!error)
        error = go ? print_heap(image, go, all) : ms_error(MS_TARGET, "%s is no Go program", target);
    ms_go_close(go);
    ms_types_free(types);
    ms_symbols_free(symbols);
    ms_image_free(image);
    return error;
}

int main(int argc, char **argv)
{
    const bool all = argc == 3 && !strcmp(argv[1], "--all");
    struct ms_error *error =
        argc == 2 + all ? print_target(argv[argc - 1], all) : ms_error(MS_USAGE, "goheap [--all] PID|CORE");
    if (!error)
        return 0;
    fprintf(stderr, "goheap: %s\n", error->message);
    int status = (int)error->status;
    ms_error_free(error);
    return status;
}
