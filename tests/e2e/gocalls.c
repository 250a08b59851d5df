/* Prints what memscope knows of the code of a Go program: for go_goroutines.py. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "memscope/capture.h"
#include "memscope/gofuncs.h"

/* Every address of FUNCTION, STEP apart, with what is called there: innermost first, a line each. */
static void print_function(struct ms_go_functions *functions, const struct ms_go_function *function,
                           uint64_t step)
{
    for (uint64_t pc = function->entry; pc < function->end; pc += step) {
        struct ms_go_call calls[MS_GO_INLINED_MOST];
        unsigned count = ms_go_calls_at(functions, pc, calls, MS_GO_INLINED_MOST);
        for (unsigned i = 0; i < count; i++) {
            char name[4096];
            printf("%" PRIx64 "\t%u\t%s\t%s\t%d\t%" PRIx64 "\n", pc, i,
                   ms_go_shown_name(calls[i].function, name, sizeof name), calls[i].file,
                   calls[i].line, function->entry);
        }
    }
}

static ms_result print_all(struct ms_image *image, uint64_t step)
{
    struct ms_symbols_options options = {0};
    struct ms_symbols *symbols = NULL;
    struct ms_types *types = NULL;
    struct ms_go *go = NULL;
    struct ms_go_functions *functions = NULL;
    struct ms_error *error = ms_symbols_new(image, &options, &symbols);
    if (!error)
        error = ms_types_new(symbols, image, NULL, NULL, &types);
    if (!error)
        error = ms_go_open(image, symbols, types, &go);
    if (!error && !go)
        error = ms_error(MS_TARGET, "no Go program");
    if (!error)
        error = ms_go_functions_new(go, &functions);
    for (size_t i = 0; !error && i < go->modules.count; i++) {
        struct ms_go_function function;
        for (uint64_t pc = go->modules.items[i].text.start; pc < go->modules.items[i].text.end;) {
            if (!ms_go_function_at(functions, pc, &function)) {
                pc++;
                continue;
            }
            print_function(functions, &function, step);
            pc = function.end;
        }
    }
    ms_go_functions_free(functions);
    ms_go_close(go);
    ms_types_free(types);
    ms_symbols_free(symbols);
    return error;
}

int main(int argc, char **argv)
{
    struct ms_image *image = NULL;
    struct ms_capture_options options = {.want = MS_WANT_FULL};
    if (argc < 3)
        return MS_USAGE;
    struct ms_error *error = ms_open_target(argv[1], &options, &image);
    if (!error)
        error = print_all(image, strtoull(argv[2], NULL, 10));
    int status = error ? (int)error->status : 0;
    if (error)
        fprintf(stderr, "%s\n", error->message);
    ms_error_free(error);
    ms_image_free(image);
    return status;
}
