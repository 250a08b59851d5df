/* memscope profile: profiles of a target for pprof. */
#include "command.h"

#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "memscope/goprofile.h"
#include "memscope/histogram.h"
#include "memscope/leaks.h"

/* Roots of so many of the biggest retainers are named: each takes a search. */
#define RETAINERS_NAMED 20u

struct profile_options {
    struct ms_common common;
    const struct profile_type *type;
};

/* Fills PROFILE, which has no figures yet; what is only partly there makes the image incomplete,
 * and warns. */
typedef ms_result fill_function(struct ms_session *session, struct ms_profile *profile);
static fill_function fill_heap, fill_allocs, fill_goroutine, fill_leaks, fill_retained;

/* What a profile may be of. */
static const struct profile_type {
    const char *name;
    fill_function *fill;
    struct ms_error *(*open)(const struct ms_common *, struct ms_session *); /* what of the image it needs */
    bool objects;         /* of Go's heap, where there is one, or else of malloc's … */
    enum ms_want want;    /* … for them */
    enum ms_go_need need; /* of others */
} types[] = {
    {"heap", fill_heap, ms_session_go, .need = MS_GO_NEED_BUCKETS},
    {"allocs", fill_allocs, ms_session_go, .need = MS_GO_NEED_BUCKETS},
    {"goroutine", fill_goroutine, ms_session_go, .need = MS_GO_NEED_GOROUTINES},
    {"leaks", fill_leaks, ms_session_heaps, .objects = true, .want = MS_WANT_LEAN},
    {"retained", fill_retained, ms_session_heap, .objects = true, .want = MS_WANT_FULL_IF_CHEAP},
};
#define TYPES (sizeof types / sizeof *types)

static ms_result take_type(void *given, const char *name)
{
    char names[128] = "";
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(name, types[i].name) == 0) {
            ((struct profile_options *)given)->type = &types[i];
            return NULL;
        }
        size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", types[i].name);
    }
    return ms_error(MS_USAGE, "--type %s: not one of %s", name, names);
}

static const struct ms_option options[] = {
    {"type", 0, "TYPE",
     "What it is of. Of Go programs: heap (the default) or allocs, live and all allocations by stack "
     "as the program itself counts them, goroutine, all of them by stack: as /debug/pprof has them. "
     "Of all programs: retained (live blocks by what retains them), leaks (lost blocks by type)",
     MS_TAKES_OWN, .take = take_type},
};

static const struct ms_command_line line = {
    .operands = "TARGET",
    .help = "Writes a profile of TARGET in the form of pprof (`go tool pprof FILE'): to FILE with -o, or to "
            "standard output. TARGET is a PID or an ELF core file; a process is stopped for a moment and goes "
            "on unharmed.\v"
            "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected, 4 the profile is "
            "incomplete; what is missing is said on standard error.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

static ms_result require_go(const struct ms_session *session, const char *so)
{
    if (session->go)
        return NULL;
    return ms_error(MS_TARGET, "%s is no Go program: %s. What there is of it: memscope profile --type leaks",
                    session->image->origin, so);
}

static ms_result check_buckets(struct ms_session *session, const struct ms_go_buckets *buckets)
{
    if (buckets->disabled)
        return ms_error(MS_TARGET,
                        "%s keeps no memory profile: nothing in the program refers to "
                        "runtime.MemProfile, so the linker turned it off. Import net/http/pprof "
                        "or runtime/pprof in it",
                        session->image->origin);
    if (!buckets->complete) {
        session->image->incomplete = true;
        ms_image_warn(session->image, "the program's memory profile is damaged: %zu of its buckets could be read",
                      buckets->list.count);
    }
    if (buckets->rate <= 0)
        /* The linker's mark that turns profiles off has a name only where there are symbols. */
        ms_image_warn(session->image, "runtime.MemProfileRate is %lld: the program profiles no allocations%s",
                      (long long)buckets->rate,
                      buckets->list.count ? " any more"
                                          : ", by its own choice or as nothing in it refers to runtime.MemProfile");
    return NULL;
}

static ms_result fill_from_buckets(struct ms_session *session, struct ms_profile *profile)
{
    MS_TRY(require_go(session, "it keeps no profile of its allocations"));
    struct ms_go_functions *functions;
    MS_TRY(ms_go_functions_new(session->go, &functions));
    struct ms_go_buckets buckets = {0};
    struct ms_error *error = ms_go_buckets_read(session->go, &buckets);
    if (!error)
        error = check_buckets(session, &buckets);
    if (!error)
        error = ms_go_heap_profile(session->go, functions, &buckets, profile);
    ms_go_buckets_free(&buckets);
    ms_go_functions_free(functions);
    return error;
}

static ms_result fill_heap(struct ms_session *session, struct ms_profile *profile)
{
    return fill_from_buckets(session, profile);
}

static ms_result fill_allocs(struct ms_session *session, struct ms_profile *profile)
{
    MS_TRY(fill_from_buckets(session, profile));
    return ms_profile_string(profile, "alloc_space", &profile->usual);
}

static ms_result fill_from_goroutines(struct ms_session *session, struct ms_go_functions *functions,
                                      struct ms_profile *profile)
{
    struct ms_go_goroutines *goroutines;
    MS_TRY(ms_go_goroutines_new(session->go, functions, &goroutines));
    struct ms_go_groups groups = {0};
    struct ms_error *error = ms_go_group(goroutines, false, NULL, &groups);
    if (!error)
        error = ms_go_goroutine_profile(goroutines, &groups, profile);
    if (goroutines->unreadable || groups.incomplete) {
        session->image->incomplete = true;
        ms_image_warn(session->image, "%zu goroutines could not be read, and the stacks of %llu not to their end",
                      goroutines->unreadable, (unsigned long long)groups.incomplete);
    }
    ms_go_groups_free(&groups);
    ms_go_goroutines_free(goroutines);
    return error;
}

static ms_result fill_goroutine(struct ms_session *session, struct ms_profile *profile)
{
    MS_TRY(require_go(session, "it has no goroutines"));
    struct ms_go_functions *functions;
    MS_TRY(ms_go_functions_new(session->go, &functions));
    struct ms_error *error = fill_from_goroutines(session, functions, profile);
    ms_go_functions_free(functions);
    return error;
}

static ms_result fill_leaks(struct ms_session *session, struct ms_profile *profile)
{
    if (session->go && !session->malloc_scan->heap.allocator)
        return ms_error(MS_TARGET,
                        "%s: what Go allocates its collector takes, and malloc has no blocks here that could be "
                        "lost. What keeps objects alive: memscope profile --type retained",
                        session->image->origin);
    struct ms_leak_options what = {
        .kinds = 1u << MS_DEFINITE | 1u << MS_POSSIBLE,
        .types = session->types,
    };
    struct ms_leak_report report = {0};
    MS_TRY(ms_leaks(session->malloc_scan, session->image, session->symbols, &what, &report));
    session->image->incomplete = session->image->incomplete || !report.complete;
    struct ms_error *error = ms_leaks_profile(&report, profile);
    ms_leak_report_free(&report);
    return error;
}

/* What retains a block is named by types, so memory for its bytes is well spent. */
static ms_result fill_retained(struct ms_session *session, struct ms_profile *profile)
{
    MS_TRY(ms_session_require_heap(session, "cannot tell its blocks"));
    const struct ms_heap_options what = {
        .retainer_limit = RETAINERS_NAMED,
        .types = session->types,
        .keep_tree = true,
    };
    struct ms_heap_report report = {0};
    MS_TRY(ms_heap_report(session->scan, session->image, session->symbols, &what, &report));
    session->image->incomplete = session->image->incomplete || !report.complete;
    struct ms_error *error = ms_retained_profile(session->scan, &report, profile);
    ms_heap_report_free(&report);
    return error;
}

/* When the target was as it is shown: for a core when that was written. */
static int64_t time_of(const struct ms_session *session, const char *target)
{
    struct timespec time;
    struct stat status;
    clock_gettime(CLOCK_REALTIME, &time);
    if (session->image->kind == MS_CORE && stat(target, &status) == 0)
        time = status.st_mtim;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* The file has no place for warnings that anyone would see. */
static void print_warnings(const struct ms_image *image)
{
    for (size_t i = 0; i < image->warnings.count; i++) {
        const char *warning = image->warnings.items[i];
        fputs("memscope: ", stderr);
        ms_write_escaped(stderr, (const uint8_t *)warning, strlen(warning));
        putc('\n', stderr);
    }
}

static ms_result write_profile(const struct ms_view *view, const struct ms_session *session,
                               const void *profile_options, const void *written)
{
    (void)session, (void)profile_options;
    return ms_pprof_write(view, written);
}

static ms_result make(const struct profile_options *options_given, struct ms_session *session,
                      struct ms_profile *profile, enum ms_status *status)
{
    profile->time_ns = time_of(session, options_given->common.target);
    MS_TRY(options_given->type->open(&options_given->common, session));
    struct ms_error *error = options_given->type->fill(session, profile);
    ms_progress_clear(&session->progress);
    MS_TRY(error);
    ms_session_warn_missed(session);
    *status = session->image->incomplete ? MS_INCOMPLETE : MS_OK;
    print_warnings(session->image);
    return ms_report_write(&options_given->common, session, write_profile, options_given, profile);
}

ms_result ms_command_profile(int argc, char **argv, enum ms_status *status)
{
    struct profile_options given = {.type = &types[0]};
    MS_TRY(ms_command_line_read(&line, argc, argv, &given));
    if (given.common.json)
        return ms_error(MS_USAGE, "a profile has a form of its own, pprof's: --json makes no sense");
    const char *output = given.common.output;
    if ((!output || strcmp(output, "-") == 0) && isatty(STDOUT_FILENO))
        return ms_error(MS_USAGE, "a profile is no text for a terminal; give it a file: -o FILE.pb.gz");
    struct ms_session session;
    MS_TRY(given.type->objects ? ms_session_open_heap(&given.common, given.type->want, false, &session)
                               : ms_session_open_go(&given.common, given.type->need, &session));
    struct ms_profile profile;
    struct ms_error *error = ms_profile_init(&profile);
    if (!error)
        error = make(&given, &session, &profile, status);
    ms_profile_free(&profile);
    ms_session_close(&session);
    return error;
}
