/* memscope attach: browses the target on the terminal. */
#include "command.h"

#include "memscope/tui.h"

static const struct ms_command_line line = {
    .operands = "TARGET",
    .help =
        "Browses the heap of TARGET on the terminal: leaks, types, what retains what, arenas, memory map, "
        "threads, goroutines, each block. TARGET is a PID or an ELF core file; a process is stopped for a moment "
        "and goes on unharmed.\v"
        "In it, F1 tells the keys and q leaves. Exit status: 0 done, 2 bad usage or no terminal, 3 the "
        "target could not be inspected.",
};

ms_result ms_command_attach(int argc, char **argv, enum ms_status *status)
{
    struct ms_common common = {0};
    MS_TRY(ms_command_line_read(&line, argc, argv, &common));
    if (common.json || common.output)
        return ms_error(MS_USAGE, "there is no report here; `memscope leaks' has one, and `e' exports a view");
    const struct ms_tui_options options = {
        .inspection = {.target = common.target,
                       .exe = common.exe,
                       .sysroot = common.sysroot,
                       .debuginfod = common.debuginfod},
        .color = ms_wants_color(common.color, stdout),
    };
    *status = MS_OK;
    return ms_tui(&options);
}
