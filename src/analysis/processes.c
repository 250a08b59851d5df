/* Processes that can be inspected: their runtime and allocator, and how much heap they have. */
#include "memscope/processes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "memscope/live.h"
#include "memscope/symbols.h"

/* Whose library is mapped; those that replace another come before it. */
static const struct {
    const char *prefix, *name;
} libraries[] = {
    {"libjemalloc.", "jemalloc"}, {"libtcmalloc", "tcmalloc"}, {"libmimalloc", "mimalloc"},
    {"ld-musl-", "musl"},         {"libc.musl-", "musl"},      {"libc.so.6", "glibc"},
    {"libc-2.", "glibc"},
};
#define LIBRARIES (sizeof libraries / sizeof *libraries)

static const char *find_allocator(const struct ms_image *image)
{
    size_t best = LIBRARIES;
    for (size_t i = 0; i < image->region_count; i++) {
        const char *slash = strrchr(image->regions[i].path, '/');
        for (size_t k = 0; slash && k < best; k++)
            if (!strncmp(slash + 1, libraries[k].prefix, strlen(libraries[k].prefix)))
                best = k;
    }
    return best < LIBRARIES ? libraries[best].name : NULL;
}

/* A number of kilobytes in /proc/PID/status as bytes; false when there is no such line. */
static bool status_bytes(const char *status, const char *key, uint64_t *bytes)
{
    const char *line = strstr(status, key);
    *bytes = line ? strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
    return line != NULL;
}

/* /proc/PID/status; false when the process has ended. */
static bool read_status(pid_t pid, char *status, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, status, size - 1);
    if (fd >= 0)
        close(fd);
    status[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static bool may_be_go(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool may = fd >= 0 && ms_go_may_be(fd);
    if (fd >= 0)
        close(fd);
    return may;
}

/* The collector's figures; none of a runtime that is not known. Debug information would take long.
 */
static void find_gauge(const struct ms_image *image, struct ms_process *process)
{
    const struct ms_symbols_options options = {0};
    struct ms_symbols *symbols;
    struct ms_go *go = NULL;
    struct ms_error *error = ms_symbols_new(image, &options, &symbols);
    if (error) {
        ms_error_free(error);
        return;
    }
    error = ms_go_open(image, symbols, NULL, &go);
    if (!error && go)
        error = ms_go_read_gauge(go, &process->gauge);
    process->gauge_known = go && !error;
    ms_error_free(error);
    ms_go_close(go);
    ms_symbols_free(symbols);
}

/* What was built: "example.com/server/cmd/serve", or "command-line-arguments". */
static char *package_of(const struct ms_go *go)
{
    static const char key[] = "path\t";
    const char *line = go->build_info ? strstr(go->build_info, key) : NULL;
    return line ? strndup(line + sizeof key - 1, strcspn(line + sizeof key - 1, "\n")) : NULL;
}

static void find_go(const struct ms_image *image, struct ms_process *process)
{
    struct ms_go *go = NULL;
    ms_error_free(ms_go_recognize(image, &go));
    if (!go)
        return;
    process->go_version = strdup(go->version);
    process->module = go->main_module ? strdup(go->main_module) : NULL;
    process->package = package_of(go);
    process->allocator = "go";
    ms_go_close(go);
    find_gauge(image, process);
}

static ms_result add_process(struct ms_processes *processes, const struct ms_image *image,
                             const struct ms_process *known)
{
    struct ms_process *process = ms_vector_add(&processes->list);
    if (!process)
        return ms_error_nomem("the list of processes");
    *process = *known;
    process->program = strdup(image->exe);
    process->allocator = find_allocator(image);
    if (may_be_go(process->pid))
        find_go(image, process);
    return process->program ? NULL : ms_error_nomem("the list of processes");
}

static ms_result look_at(struct ms_processes *processes, pid_t pid)
{
    char status[8192];
    struct ms_process process = {.pid = pid};
    struct ms_image *image;
    /* Kernel threads and zombies have no memory. */
    if (!read_status(pid, status, sizeof status) || !status_bytes(status, "\nVmRSS:", &process.rss))
        return NULL;
    if (!status_bytes(status, "\nRssAnon:", &process.anonymous)) /* before Linux 4.5 */
        process.anonymous = process.rss;
    struct ms_error *error = ms_live_open(pid, &image);
    if (error) {
        processes->unreadable += read_status(pid, status, sizeof status);
        ms_error_free(error);
        return NULL;
    }
    error = add_process(processes, image, &process);
    ms_image_free(image);
    return error;
}

uint64_t ms_process_heap(const struct ms_process *process)
{
    return process->gauge_known ? process->gauge.in_use : process->anonymous;
}

static int by_heap(const void *a, const void *b)
{
    const struct ms_process *left = a, *right = b;
    uint64_t bytes = ms_process_heap(left), other = ms_process_heap(right);
    if (bytes != other)
        return bytes > other ? -1 : 1;
    return left->pid < right->pid ? -1 : left->pid > right->pid;
}

ms_result ms_processes(struct ms_processes *processes)
{
    *processes = (struct ms_processes){0};
    DIR *directory = opendir("/proc");
    if (!directory)
        return ms_error_errno(MS_TARGET, errno, "cannot list the processes in /proc");
    struct ms_error *error = NULL;
    struct dirent *entry;
    while (!error && (entry = readdir(directory)))
        if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != getpid())
            error = look_at(processes, atoi(entry->d_name));
    closedir(directory);
    if (error)
        ms_processes_free(processes);
    ms_vector_sort(&processes->list, by_heap);
    return error;
}

void ms_processes_free(struct ms_processes *processes)
{
    for (size_t i = 0; i < processes->list.count; i++) {
        struct ms_process *process = &processes->list.items[i];
        free(process->program);
        free(process->go_version);
        free(process->module);
        free(process->package);
    }
    ms_vector_free(&processes->list);
}
