/* What /proc/PID says: maps, smaps, auxv, threads, epoll registrations; and why a target is refused. */
#include "proc.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *ms_proc_read(int directory, const char *name, size_t *size)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t capacity = 1 << 16, used = 0;
    char *text = malloc(capacity);
    while (text) {
        ssize_t got = read(fd, text + used, capacity - used - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int why = errno;
            free(text);
            close(fd);
            errno = why;
            return NULL;
        }
        if (got == 0)
            break;
        used += (size_t)got;
        if (capacity - used < 8192) {
            char *grown = realloc(text, capacity *= 2);
            if (!grown)
                free(text);
            text = grown;
        }
    }
    close(fd);
    if (text)
        text[used] = '\0';
    if (size)
        *size = used;
    return text;
}

/* /proc/TID/NAME, whole. */
static char *read_of(pid_t tid, const char *name, size_t *size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", tid, name);
    return ms_proc_read(AT_FDCWD, path, size);
}

long ms_proc_status(pid_t tid, const char *key)
{
    ms_auto_free char *text = read_of(tid, "status", NULL);
    const char *line = text;
    size_t length = strlen(key);
    while (line && strncmp(line, key, length) != 0) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return line ? strtol(line + length, NULL, 10) : -1;
}

char ms_proc_state(pid_t tid)
{
    ms_auto_free char *text = read_of(tid, "stat", NULL);
    const char *after_name = text ? strrchr(text, ')') : NULL;
    return after_name && after_name[1] == ' ' ? after_name[2] : 0;
}

/* By its flags (PF_KTHREAD of include/linux/sched.h), the seventh figure of stat behind the name. */
static bool is_kernel_thread(pid_t tid)
{
    ms_auto_free char *text = read_of(tid, "stat", NULL);
    const char *after_name = text ? strrchr(text, ')') : NULL;
    unsigned long flags;
    return after_name && sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 && flags & 0x00200000;
}

/* The name of a process for messages; comm may hold anything, so only printable ASCII is kept. */
static void name_of(pid_t tid, char name[32])
{
    ms_auto_free char *comm = read_of(tid, "comm", NULL);
    snprintf(name, 32, "%s", comm ? comm : "?");
    name[strcspn(name, "\n")] = '\0';
    for (char *c = name; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

static struct ms_error *refuse_tracer(pid_t pid)
{
    long tracer = ms_proc_status(pid, "TracerPid:");
    if (tracer <= 0)
        return NULL;
    char name[32];
    name_of((pid_t)tracer, name);
    return ms_error(MS_TARGET,
                    "process %d is already traced by process %ld (%s); only one tracer is possible:"
                    " end that one first",
                    pid, tracer, name);
}

static struct ms_error *no_permission(pid_t pid)
{
    ms_auto_free char *scope = ms_proc_read(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", NULL);
    int yama = scope ? atoi(scope) : 0;
    if (yama == 3)
        return ms_error(MS_TARGET,
                        "no permission to inspect process %d: kernel.yama.ptrace_scope is 3, which"
                        " forbids it to everybody until the next boot",
                        pid);
    const char *sudo = geteuid() == 0 ? "" : "sudo ";
    long uid = ms_proc_status(pid, "Uid:");
    if (geteuid() != 0 && yama > 0 && uid == (long)geteuid())
        return ms_error(MS_TARGET,
                        "no permission to inspect process %d: kernel.yama.ptrace_scope is %d;"
                        " run memscope with CAP_SYS_PTRACE (sudo memscope …) or allow it with:"
                        " sudo sysctl kernel.yama.ptrace_scope=0",
                        pid, yama);
    if (geteuid() == 0)
        return ms_error(MS_TARGET,
                        "no permission to inspect process %d: CAP_SYS_PTRACE is missing here (as in a"
                        " container without --cap-add=SYS_PTRACE), or a security module forbids it"
                        " (ptrace_scope is %d)",
                        pid, yama);
    return ms_error(MS_TARGET,
                    "no permission to inspect process %d of user %ld: CAP_SYS_PTRACE is needed"
                    " (kernel.yama.ptrace_scope is %d); try: %smemscope …",
                    pid, uid, yama, sudo);
}

ms_result ms_proc_ended(pid_t pid)
{
    return ms_error_again(ms_error(MS_TARGET, "process %d has ended", pid));
}

ms_result ms_proc_diagnose(pid_t tid, int errnum)
{
    if (errnum == ESRCH)
        return ms_proc_ended(tid);
    MS_TRY(refuse_tracer(tid));
    return no_permission(tid);
}

/* The thread group of a task: /proc/TID exists for threads too. */
static struct ms_error *check_is_process(pid_t pid)
{
    long tgid = ms_proc_status(pid, "Tgid:");
    if (tgid < 0)
        return ms_error(MS_TARGET, "no such process: %d", pid);
    if (tgid == getpid())
        return ms_error(MS_TARGET, "process %d is memscope itself, which cannot stop itself", pid);
    if (tgid != pid)
        return ms_error(MS_TARGET, "%d is a thread of process %ld: give that number", pid, tgid);
    return NULL;
}

ms_result ms_proc_tasks(const struct ms_image_source *source, struct ms_tids *tids)
{
    tids->list.count = 0;
    int fd = openat(source->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return ms_error_errno(MS_TARGET, why == ENOENT ? ESRCH : why, "cannot list the threads");
    }
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        pid_t *tid = ms_vector_add(&tids->list);
        if (!tid) {
            closedir(dir);
            return ms_error_nomem("the list of threads");
        }
        *tid = atoi(entry->d_name);
    }
    closedir(dir);
    return NULL;
}

/* A thread that is not a zombie: the leader may have ended by pthread_exit() while others live. */
static pid_t living_thread(const struct ms_image_source *source, pid_t pid)
{
    if (ms_proc_state(pid) != 'Z')
        return pid;
    struct ms_tids tids = {{0}};
    struct ms_error *error = ms_proc_tasks(source, &tids);
    pid_t found = 0;
    for (size_t i = 0; !error && !found && i < tids.list.count; i++)
        if (ms_proc_state(tids.list.items[i]) != 'Z')
            found = tids.list.items[i];
    ms_error_free(error);
    ms_vector_free(&tids.list);
    return found;
}

static struct ms_error *check_class(const struct ms_image_source *source, pid_t pid)
{
    unsigned char ident[EI_NIDENT + 4] = {0};
    int fd = openat(source->proc_fd, "exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL; /* it may be hidden from us; attaching will tell */
    ssize_t got = pread(fd, ident, sizeof ident, 0);
    close(fd);
    uint16_t machine = (uint16_t)(ident[18] | ident[19] << 8);
    if (got < (ssize_t)sizeof ident || memcmp(ident, ELFMAG, SELFMAG) != 0)
        return NULL;
    if (ident[EI_CLASS] == ELFCLASS32)
        return ms_error(MS_TARGET, "process %d is a 32-bit program; memscope knows x86-64 only", pid);
    if (machine != EM_X86_64)
        return ms_error(MS_TARGET, "process %d is a program for ELF machine %u; memscope knows x86-64 only",
                        pid, machine);
    return NULL;
}

ms_result ms_proc_meet(pid_t pid, struct ms_image_source *source)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", pid);
    source->proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source->proc_fd < 0)
        return ms_error(MS_TARGET, "no such process: %d", pid);
    MS_TRY(check_is_process(pid));
    source->tid = living_thread(source, pid);
    if (!source->tid)
        return ms_error(MS_TARGET, "process %d is a zombie: it has ended, its parent %ld has not taken note",
                        pid, ms_proc_status(pid, "PPid:"));
    if (source->tid != pid) {
        snprintf(path, sizeof path, "/proc/%d", source->tid);
        close(source->proc_fd);
        source->proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (source->proc_fd < 0)
            return ms_proc_ended(pid);
    }
    /* A kernel thread has no memory: status has no VmSize. Nor has a process that is just ending. */
    if (ms_proc_status(source->tid, "VmSize:") < 0) {
        if (!is_kernel_thread(source->tid))
            return ms_proc_ended(pid);
        return ms_error(MS_TARGET, "process %d is a kernel thread: it has no memory of its own", pid);
    }
    return check_class(source, pid);
}

ms_result ms_proc_open(pid_t pid, struct ms_image_source *source)
{
    MS_TRY(ms_proc_meet(pid, source));
    MS_TRY(refuse_tracer(source->tid));
    return ms_proc_open_memory(pid, source);
}

/* Opens NAME anew into *FD; what was open before is closed. */
static int reopen(const struct ms_image_source *source, const char *name, int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = openat(source->proc_fd, name, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? errno : 0;
}

ms_result ms_proc_open_memory(pid_t pid, struct ms_image_source *source)
{
    int failed = reopen(source, "mem", &source->mem_fd);
    if (failed)
        return ms_proc_diagnose(pid, failed == ENOENT ? ESRCH : failed);
    failed = reopen(source, "pagemap", &source->pagemap_fd);
    if (failed)
        return ms_error_errno(MS_TARGET, failed, "cannot open /proc/%d/pagemap", pid);
    return NULL;
}

/* --- maps -------------------------------------------------------------------------------------- */

void ms_image_drop_regions(struct ms_image *image)
{
    for (size_t i = 0; i < image->region_count; i++)
        free(image->regions[i].runs);
    free(image->regions);
    image->regions = NULL;
    image->region_count = 0;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* By name first, else by what is mapped; the first match counts. */
static enum ms_region_kind kind_of(const struct ms_region *r)
{
    static const struct {
        const char *prefix;
        enum ms_region_kind kind;
    } names[] = {
        {"[heap]", MS_REGION_BRK},          {"[stack", MS_REGION_STACK},
        {"[vdso]", MS_REGION_VDSO},         {"[vvar", MS_REGION_DEVICE},
        {"[vsyscall]", MS_REGION_DEVICE},   {"[anon:", MS_REGION_ANON},
        {"[anon_shmem:", MS_REGION_SHARED}, {"/dev/shm/", MS_REGION_SHARED},
        {"/dev/zero", MS_REGION_SHARED},    {"/dev/", MS_REGION_DEVICE},
        {"anon_inode:", MS_REGION_DEVICE},  {"/anon_hugepage", MS_REGION_ANON},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (begins(r->path, names[i].prefix)) {
            bool private_map = names[i].kind == MS_REGION_SHARED && !(r->prot & MS_SHARED);
            return private_map ? MS_REGION_FILE : names[i].kind;
        }
    if (r->prot & MS_SHARED)
        return MS_REGION_SHARED;
    return r->inode ? MS_REGION_FILE : MS_REGION_ANON;
}

/* "start-end rwxp offset major:minor inode   path"; the path is the rest of the line. */
static bool parse_line(struct ms_image *image, char *line, struct ms_region *r)
{
    char prot[5];
    int path_at = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &r->start, &r->end,
               prot, &r->offset, &r->major, &r->minor, &r->inode, &path_at) < 7)
        return false;
    r->prot = (prot[0] == 'r' ? MS_READ : 0) | (prot[1] == 'w' ? MS_WRITE : 0) |
              (prot[2] == 'x' ? MS_EXEC : 0) | (prot[3] == 's' ? MS_SHARED : 0);
    char *path = path_at ? line + path_at : line + strlen(line);
    static const char deleted[] = " (deleted)";
    size_t length = strlen(path);
    if (length >= sizeof deleted && strcmp(path + length - sizeof deleted + 1, deleted) == 0) {
        r->deleted = true;
        path[length - sizeof deleted + 1] = '\0';
    }
    r->path = ms_image_string(image, path);
    if (!r->path)
        return false;
    r->kind = kind_of(r);
    return true;
}

ms_result ms_proc_maps(struct ms_image *image)
{
    ms_image_drop_regions(image);
    errno = 0;
    ms_auto_free char *text = ms_proc_read(image->source->proc_fd, "maps", NULL);
    if (!text)
        return errno == EACCES || errno == EPERM ? ms_proc_diagnose(image->pid, errno)
                                                 : ms_proc_ended(image->pid);
    size_t lines = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++)
        lines++;
    image->regions = calloc(lines ? lines : 1, sizeof *image->regions);
    if (!image->regions)
        return ms_error_nomem("the memory map");
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")) && *line) {
        struct ms_region *r = &image->regions[image->region_count];
        /* A map that changes while it is read can repeat: keep the order strict. */
        if (image->region_count == lines || !parse_line(image, line, r) || r->start >= r->end ||
            (image->region_count && r[-1].end > r->start))
            continue;
        /* The kernel splits [heap] by advice and locks; to us it is one. */
        if (image->region_count && r->kind == MS_REGION_BRK && r[-1].kind == MS_REGION_BRK &&
            r[-1].end == r->start)
            r[-1].end = r->end;
        else
            image->region_count++;
    }
    if (image->region_count == 0)
        return ms_proc_ended(image->pid);
    return NULL;
}

/* --- smaps ------------------------------------------------------------------------------------- */

/* Bytes after KEY in the text of one region, which ends at END. */
static uint64_t smaps_field(const char *text, const char *end, const char *key)
{
    const char *at = memmem(text, (size_t)(end - text), key, strlen(key));
    return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

ms_result ms_proc_smaps(struct ms_image *image)
{
    ms_auto_free char *text = ms_proc_read(image->source->proc_fd, "smaps", NULL);
    if (!text)
        return ms_error_errno(MS_TARGET, errno, "cannot read smaps of process %d", image->pid);
    size_t i = 0;
    image->rollup_rss = 0;
    for (const char *at = text; *at;) {
        char *after;
        uint64_t start = strtoull(at, &after, 16);
        const char *body = strchr(at, '\n');
        /* The next header follows the line "VmFlags:". */
        const char *flags = body ? strstr(body, "\nVmFlags:") : NULL;
        const char *end = flags ? strchr(flags + 1, '\n') : NULL;
        if (!end)
            break;
        while (i < image->region_count && image->regions[i].end <= start)
            i++;
        if (i < image->region_count && image->regions[i].start <= start) {
            struct ms_region *r = &image->regions[i];
            r->rss += smaps_field(body, end, "\nRss:");
            r->pss += smaps_field(body, end, "\nPss:");
            r->private_dirty += smaps_field(body, end, "\nPrivate_Dirty:");
            r->anonymous += smaps_field(body, end, "\nAnonymous:");
            r->swap += smaps_field(body, end, "\nSwap:");
            image->rollup_rss += smaps_field(body, end, "\nRss:");
        }
        at = end + 1;
    }
    image->accounted = true;
    return NULL;
}

/* --- the rest ---------------------------------------------------------------------------------- */

ms_result ms_proc_auxv(struct ms_image *image)
{
    size_t size = 0;
    char *text = ms_proc_read(image->source->proc_fd, "auxv", &size);
    if (!text)
        return ms_error_errno(MS_TARGET, errno, "cannot read auxv of process %d", image->pid);
    free(image->auxv);
    image->auxv = (uint64_t *)(void *)text;
    image->auxv_count = size / 16;
    char path[4096];
    ssize_t length = readlinkat(image->source->proc_fd, "exe", path, sizeof path - 1);
    free(image->exe);
    path[length > 0 ? length : 0] = '\0';
    image->exe = strdup(path);
    return image->exe ? NULL : ms_error_nomem("the name of the program");
}

void ms_proc_find_epolls(const struct ms_image *image, struct ms_epolls *epolls)
{
    int fd = openat(image->source->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    static const char name[] = "anon_inode:[eventpoll]";
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        char link[sizeof name];
        if (readlinkat(dirfd(dir), entry->d_name, link, sizeof link) != sizeof name - 1 ||
            memcmp(link, name, sizeof name - 1) != 0)
            continue;
        int *found = ms_vector_add(&epolls->fds);
        if (found)
            *found = atoi(entry->d_name);
    }
    closedir(dir);
}

/* Adds the hexadecimal numbers that follow KEY, and after that MARK, in a file of /proc/TID. */
static void add_pointers(struct ms_image *image, const char *name, const char *key, char mark,
                         const char *source)
{
    ms_auto_free char *text = ms_proc_read(image->source->proc_fd, name, NULL);
    const char *at = text ? strstr(text, key) : NULL;
    for (; at; at = strstr(at, key)) {
        at += strlen(key);
        const char *marked = mark ? strchr(at, mark) : NULL;
        uint64_t value = strtoull(marked ? marked + 1 : at, NULL, 16);
        struct ms_kernel_pointer *p = value ? ms_vector_add(&image->kernel_pointers) : NULL;
        if (p)
            *p = (struct ms_kernel_pointer){value, source};
    }
}

void ms_proc_kernel_pointers(struct ms_image *image, const struct ms_epolls *epolls)
{
    image->kernel_pointers.count = 0;
    for (size_t i = 0; i < epolls->fds.count; i++) {
        char name[32];
        snprintf(name, sizeof name, "fdinfo/%d", epolls->fds.items[i]);
        /* "tfd: 5 events: 19 data: ffff…  pos:0 ino:… sdev:…" (fs/eventpoll.c, ep_show_fdinfo) */
        add_pointers(image, name, "data:", '\0', "epoll");
    }
    /* "signal: 34/00007f…" is sigev_value (fs/proc/base.c, show_timer) */
    add_pointers(image, "timers", "signal: ", '/', "timer");
}
