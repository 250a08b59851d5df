/* memscope attach: browses the target on the terminal. */
#include "command.h"

#include "memscope/tui.h"

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct ms_common *common = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case ARGP_KEY_END:
        if (common->target && (common->json || common->output))
            argp_error(state, "there is no report here; `memscope leaks' has one, and `e' exports a view");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    NULL,
    parse,
    "TARGET",
    "Browses the heap of TARGET on the terminal: leaks, types, what retains what, arenas, memory map, threads, "
    "goroutines, each block. TARGET is a PID or an ELF core file; a process is stopped for a moment and goes on unharmed.\v"
    "In it, F1 tells the keys and q leaves. Exit status: 0 done, 2 bad usage or no terminal, 3 the target could "
    "not be inspected.",
    ms_common_children,
    ms_help_filter,
    NULL,
};

ms_result ms_command_attach(int argc, char **argv, enum ms_status *status)
{
    struct ms_common common = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &common) != 0)
        return ms_error_nomem("the command line");
    const struct ms_tui_options options = {
        .inspection = {.target = common.target, .exe = common.exe, .sysroot = common.sysroot,
                       .debuginfod = common.debuginfod},
        .color = ms_wants_color(common.color, stdout),
    };
    *status = MS_OK;
    return ms_tui(&options);
}
