/* goheap PID|CORE - what is known of a Go heap, and of the addresses on stdin, as JSON; for go_heap.py. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "memscope/capture.h"
#include "memscope/goheap.h"

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

/* The object that holds ADDRESS: where it starts, its size, is it live and reachable, its class. */
static void print_object(const struct ms_heap *heap, uint64_t address)
{
    const struct ms_segment *segment = ms_heap_segment(heap, address);
    if (!segment) {
        printf("null");
        return;
    }
    const uint64_t start = ms_start_of(heap, ms_address_granule(heap, segment, address));
    const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
    printf("[%" PRIu64 ", %" PRIu64 ", %s, \"%s\"]", ms_granule_address(heap, start), ms_block_size(heap, start),
           ms_bit(line->reached, start) ? "true" : "false", ms_class_names[ms_chunk_class(heap, start)]);
}

static ms_result print_heap(struct ms_image *image, struct ms_go *go)
{
    const double begun = now_ms();
    struct ms_go_heap *heap;
    MS_TRY(ms_go_heap_new(go, image, &heap));
    struct ms_reach reach;
    struct ms_error *error = ms_mark(heap->scan, &reach);
    printf("{\"version\": \"%s\", \"ms\": %.1f, \"marking\": %s, ", go->version, now_ms() - begun,
           heap->marking ? "true" : "false");
    print_tally("live", &heap->live);
    print_tally("garbage", &heap->garbage);
    print_tally("reachable", &reach.reachable);
    print_tally("unreachable", &heap->unreachable);
    printf("\"complete\": %s, \"objects\": [", image->incomplete ? "false" : "true");
    uint64_t address;
    for (const char *comma = ""; scanf("%" SCNu64, &address) == 1; comma = ", ") {
        fputs(comma, stdout);
        print_object(&heap->scan->heap, address);
    }
    puts("]}");
    ms_go_heap_free(heap);
    return error;
}

static ms_result print_target(const char *target)
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
        error = go ? print_heap(image, go) : ms_error(MS_TARGET, "%s is no Go program", target);
    ms_go_close(go);
    ms_types_free(types);
    ms_symbols_free(symbols);
    ms_image_free(image);
    return error;
}

int main(int argc, char **argv)
{
    struct ms_error *error = argc == 2 ? print_target(argv[1]) : ms_error(MS_USAGE, "goheap PID|CORE");
    if (!error)
        return 0;
    fprintf(stderr, "goheap: %s\n", error->message);
    int status = (int)error->status;
    ms_error_free(error);
    return status;
}
