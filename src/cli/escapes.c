/* memscope escapes: Go variables that the compiler moved to the heap. */
#include "command.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/goescapes.h"
#include "memscope/live.h"

struct escapes_options {
    struct ms_common common;
    const char *package; /* or NULL */
    bool all;
};

#define INTO(member) .into = offsetof(struct escapes_options, member)
static const struct ms_option options[] = {
    {"package", 0, "PATH", "Only of this package, and of those below it", MS_TAKES_TEXT, INTO(package)},
    {"all", 0, NULL, "Of the standard library too", MS_TAKES_NOTHING, INTO(all)},
};

static const struct ms_command_line line = {
    .operands = "FILE-OR-PID",
    .help = "Tells which variables of a Go program the compiler moved to the heap, because they may be used "
            "after their function returned: by package, with the function, file, line, type and size. Each "
            "is an allocation every time. Read from the debug information of FILE, or of the program that "
            "process PID runs, which is not stopped; how many of each are alive there is told by the memory "
            "profile that it keeps, where it does.\v"
            "Exit status: 0 done, 2 bad usage, 3 the file could not be read, 4 the report is incomplete.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

static bool is_wanted(const struct escapes_options *given, const struct ms_go_escape *escape)
{
    if (!given->package)
        return given->all || !ms_go_standard_package(escape->package);
    size_t length = strlen(given->package);
    return strncmp(escape->package, given->package, length) == 0 &&
           (escape->package[length] == '\0' || escape->package[length] == '/');
}

static void select_wanted(const struct escapes_options *given, struct ms_go_escapes *escapes)
{
    size_t kept = 0;
    for (size_t i = 0; i < escapes->list.count; i++)
        if (is_wanted(given, &escapes->list.items[i]))
            escapes->list.items[kept++] = escapes->list.items[i];
    escapes->list.count = kept;
}

static ms_result write_report(const struct ms_view *view, const struct ms_session *session,
                              const void *options_given, const void *report)
{
    (void)session;
    const struct escapes_options *given = options_given;
    if (given->common.json)
        return ms_escapes_json_write(view, given->common.target, report);
    ms_escapes_text(view, given->common.target, report);
    return NULL;
}

static ms_result count_buckets(struct ms_session *session, struct ms_go_escapes *escapes)
{
    if (!session->go)
        return NULL;
    struct ms_go_functions *functions;
    MS_TRY(ms_go_functions_new(session->go, &functions));
    struct ms_go_buckets buckets = {0};
    struct ms_error *error = ms_go_buckets_read(session->go, &buckets);
    if (!error && !buckets.disabled && buckets.rate > 0)
        error = ms_go_escapes_count(escapes, functions, &buckets);
    ms_go_buckets_free(&buckets);
    ms_go_functions_free(functions);
    return error;
}

/* What is alive is more than was promised: without it the list is as good as that of a file. */
static void count_alive(const struct ms_common *common, struct ms_go_escapes *escapes)
{
    struct ms_session session = {0};
    struct ms_error *error = ms_live_open((pid_t)strtol(common->target, NULL, 10), &session.image);
    if (!error)
        error = ms_session_go(common, &session);
    if (!error)
        error = count_buckets(&session, escapes);
    if (error && !common->quiet)
        fprintf(stderr, "memscope: how many are alive is not known: %s\n", error->message);
    ms_error_free(error);
    ms_session_close(&session);
}

ms_result ms_command_escapes(int argc, char **argv, enum ms_status *status)
{
    struct escapes_options given = {0};
    MS_TRY(ms_command_line_read(&line, argc, argv, &given));
    const char *target = given.common.target;
    char path[64];
    bool is_pid = strlen(target) < 16 && !target[strspn(target, "0123456789")];
    snprintf(path, sizeof path, "/proc/%.16s/exe", target);
    MS_TRY(ms_report_file_check(given.common.output));
    struct ms_go_escapes *escapes;
    MS_TRY(ms_go_escapes_read(is_pid ? path : target, &escapes));
    select_wanted(&given, escapes);
    if (is_pid)
        count_alive(&given.common, escapes);
    *status = escapes->complete ? MS_OK : MS_INCOMPLETE;
    struct ms_error *error = ms_report_write(&given.common, NULL, write_report, &given, escapes);
    ms_go_escapes_free(escapes);
    return error;
}
