/* memscope memstats: where every resident byte goes. */
#include "command.h"

#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

static error_t parse(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

static const struct argp argp = {
    NULL,
    parse,
    "TARGET",
    "Accounts for every resident byte of TARGET, and says in one line what most of it is: a leak, "
    "retained by live data, fragmentation, allocator caching, or not heap. TARGET is a PID or an "
    "ELF "
    "core file; a process is stopped for a moment and goes on unharmed.\v"
    "Exit status: 0 done, 2 bad usage, 3 the target could not be inspected, 4 the report is "
    "incomplete and says where.",
    ms_common_children,
    ms_help_filter,
    NULL,
};

static ms_result write_report(const struct ms_view *view, const struct ms_session *session,
                              const void *common, const void *report)
{
    if (((const struct ms_common *)common)->json)
        return ms_memstats_json_write(view, session->image, &session->scan->heap, report);
    ms_memstats_text(view, session->image, &session->scan->heap, report);
    return NULL;
}

/* What the runtime of a Go program counts: GO_STATS if it can be had, else a warning says why. */
static void read_go(const struct ms_common *common, struct ms_session *session,
                    struct ms_go_stats *go_stats, struct ms_memstats *stats)
{
    struct ms_error *error = ms_session_go(common, session);
    if (!error && session->go)
        error = ms_go_read_stats(session->go, go_stats);
    if (error) {
        ms_image_warn(session->image, "the figures of the Go runtime are missing: %s",
                      error->message);
        session->image->incomplete = true;
        ms_error_free(error);
    } else if (session->go) {
        stats->go = go_stats;
    }
}

static ms_result analyse(const struct ms_common *common, struct ms_session *session, bool go,
                         enum ms_status *status)
{
    struct ms_reach reach = {0};
    struct ms_memstats stats = {0};
    struct ms_go_stats go_stats;
    struct ms_image *image = session->image;
    MS_TRY(ms_mark(session->scan, &reach));
    MS_TRY(ms_memstats(session->scan, image, &reach, &stats));
    if (go || image->kind == MS_CORE)
        read_go(common, session, &go_stats, &stats);
    /* The account of maps is worth having even when the heap in them is not understood. */
    if (!stats.go)
        ms_session_warn_without_heap(session, "the heap is counted as other memory");
    stats.complete = !image->incomplete && (stats.go || session->scan->heap.allocator);
    *status = stats.complete ? MS_OK : MS_INCOMPLETE;
    return ms_report_write(common, session, write_report, common, &stats);
}

/*
 * The runtime of Go is read from its own memory, which takes an image with all bytes. Whether that is
 * needed has to be known before: the linker of Go leaves a section.
 */
static bool is_go(const char *target)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/exe", target);
    int fd = target[strspn(target, "0123456789")] ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t names;
    bool found = false;
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    if (elf && elf_getshdrstrndx(elf, &names) == 0)
        for (Elf_Scn *section = NULL; !found && (section = elf_nextscn(elf, section));) {
            GElf_Shdr header;
            const char *name =
                gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
            found = name && !strcmp(name, ".go.buildinfo");
        }
    elf_end(elf);
    close(fd);
    return found;
}

ms_result ms_command_memstats(int argc, char **argv, enum ms_status *status)
{
    struct ms_common common = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &common) != 0)
        return ms_error_nomem("the command line");
    struct ms_session session;
    bool go = is_go(common.target);
    MS_TRY(ms_session_open(&common, go ? MS_WANT_FULL : MS_WANT_LEAN, true, &session));
    struct ms_error *error = analyse(&common, &session, go, status);
    ms_session_close(&session);
    return error;
}
