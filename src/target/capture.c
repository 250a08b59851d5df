/* Taking an image of a live process: measure, make room, stop, stream, let go. */
#include "memscope/capture.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "freeze.h"
#include "keeper.h"
#include "proc.h"
#include "second.h"
#include "stream.h"
#include "survey.h"
#include "target.h"

#define DEFAULT_ATTEMPTS 8
#define EXEC_TRIES 50 /* a process may call exec as often as it likes; each try is short */
/* A lean image takes at most this part of what it looks at, measured on heaps full of pointers. */
#define LEAN_SHARE 3
/* A full image is cheap that takes at most this part of the memory that is available. */
#define CHEAP_SHARE 3
#define HALT_PATIENCE_NS 500000000ull
#define BLOCKED_NS       500000000ull /* how long a thread that is blocked in the kernel is waited for while all run */
#define BLOCKED_STOPS    6u           /* stops that may be given up for such ones */
#define OWN_NEED (64ull << 20)
#define LEAN_STORE (1ull << 20)
#define LEAN_STACK       (4ull * MS_PAGE) /* of a thread, is kept mostly */

struct capture {
    const struct ms_capture_options *options;
    struct ms_image *image;
    struct ms_epolls epolls;
    struct ms_second second; /* never moved */
    struct ms_stream stream;
    struct ms_reserve scratch; /* for the survey */
    size_t threads;            /* there were before the stop */
    struct ms_spans spans;
    struct ms_error *error;  /* of the tracing thread; owned */
    struct ms_error *looked; /* of the second one in the stop; owned */
    bool retry;
    bool brief;    /* a thread that is blocked in the kernel ends the stop … */
    pid_t blocked; /* … and this one did; 0: none */
};

static void progress(const struct capture *c, const char *stage, uint64_t done, uint64_t total)
{
    if (c->options->progress)
        c->options->progress(c->options->progress_context, stage, done, total);
}

/* --- before the stop --------------------------------------------------------------------------- */

/* Names and states of the threads TIDS. */
static struct ms_error *name_threads(struct ms_image *image, const struct ms_tids *tids)
{
    image->threads = calloc(tids->list.count + 1, sizeof *image->threads);
    if (!image->threads)
        return ms_error_nomem("the threads");
    for (size_t i = 0; i < tids->list.count; i++) {
        struct ms_thread *thread = &image->threads[image->thread_count++];
        char path[64];
        snprintf(path, sizeof path, "task/%d/stat", tids->list.items[i]);
        ms_auto_free char *stat = ms_proc_read(image->source->proc_fd, path, NULL);
        char *name = stat ? strchr(stat, '(') : NULL, *end = stat ? strrchr(stat, ')') : NULL;
        thread->tid = tids->list.items[i];
        if (!name || !end || end < name || end[1] != ' ')
            continue;
        size_t length = (size_t)(end - name - 1), most = sizeof thread->name - 1;
        memcpy(thread->name, name + 1, length < most ? length : most);
        thread->state = end[2];
    }
    return NULL;
}

/* Room for the threads' registers; their names too for a full image: both too slow in the stop. */
static struct ms_error *meet_threads(struct capture *c, bool full)
{
    struct ms_image *image = c->image;
    struct ms_tids tids = {{0}};
    struct ms_error *error = ms_proc_tasks(image->source, &tids);
    c->threads = tids.list.count;
    if (!error)
        error = ms_freeze_prepare(image, c->threads);
    if (!error && full)
        error = name_threads(image, &tids);
    ms_vector_free(&tids.list);
    return error;
}

/* Full or lean? The one place that decides, by what is wanted and what there is room for. */
static struct ms_error *choose_kind(struct capture *c)
{
    struct ms_image *image = c->image;
    uint64_t own = ms_survey_bytes(image), available = ms_memory_available();
    uint64_t lean = own / LEAN_SHARE + OWN_NEED, full = lean + own;
    bool cheap = own <= available / CHEAP_SHARE && full <= available;
    image->kind = c->options->want == MS_WANT_FULL || (c->options->want == MS_WANT_FULL_IF_CHEAP && cheap)
                      ? MS_FULL
                      : MS_LEAN;
    if (image->kind == MS_FULL && full > available) {
        image->kind = MS_LEAN;
        ms_image_warn(image, "a full image needs %" PRIu64 " MiB and only %" PRIu64 " MiB of memory are available:"
                      " contents were not kept", full >> 20, available >> 20);
    }
    if (lean > available)
        return ms_error(MS_TARGET,
                        "inspecting process %d needs about %" PRIu64 " MiB of memory and only %" PRIu64
                        " MiB are available here; free some, raise the limit of memscope's cgroup,"
                        " or take a core and inspect it on another machine",
                        image->pid, lean >> 20, available >> 20);
    return NULL;
}

/* Bytes of the vDSO that is mapped at BASE in our own memory: its loaded segments, in pages. */
static uint64_t vdso_size(const uint8_t *base)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(const void *)base;
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(const void *)(base + header->e_phoff);
    uint64_t end = header->e_shoff + (uint64_t)header->e_shnum * header->e_shentsize;
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD && segment[i].p_vaddr + segment[i].p_memsz > end)
            end = segment[i].p_vaddr + segment[i].p_memsz;
    return (end + MS_PAGE - 1) & ~(uint64_t)(MS_PAGE - 1);
}

/* Room for what the stop will bring. */
static struct ms_error *make_room(struct capture *c)
{
    struct ms_image *image = c->image;
    uint64_t own = ms_survey_bytes(image);
    bool full = image->kind == MS_FULL;
    MS_TRY(ms_reserve(&image->source->store, own + ms_reserve_slack(), "kept memory"));
    /* A lean image keeps stacks and modules' data: that much, or what comes is faulted in by and by. */
    const uint64_t lean = LEAN_STORE + c->threads * LEAN_STACK;
    uint64_t at_once = full || own < lean ? own : lean;
    ms_reserve_populate(&image->source->store, 0, at_once);
    return ms_stream_init(&c->stream, image, c->options->sink, &c->second);
}

static struct ms_error *measure(struct capture *c)
{
    progress(c, "measuring", 0, 0);
    ms_second_start(&c->second);
    MS_TRY(ms_reserve(&c->scratch, MS_SURVEY_SCRATCH, "the page survey"));
    ms_reserve_populate(&c->scratch, 0, MS_SURVEY_SCRATCH);
    MS_TRY(ms_proc_maps(c->image));
    if (c->options->selection)
        MS_TRY(ms_select_first(c->image, c->options->selection));
    MS_TRY(ms_survey(c->image, c->scratch.base, &c->second));
    MS_TRY(choose_kind(c));
    MS_TRY(meet_threads(c, c->options->want == MS_WANT_FULL || c->image->kind == MS_FULL));
    ms_proc_find_epolls(c->image, &c->epolls);
    return make_room(c);
}

/* --- in the stop ------------------------------------------------------------------------------- */

/*
 * The vDSO has no file. The kernel maps the same pages into every process, ours
 * too: reading the target's would map them there when it has not used them yet.
 */
static void keep_vdso(struct ms_image *image)
{
    struct ms_image_source *source = image->source;
    const uint8_t *ours = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
    for (size_t i = 0; ours && i < image->region_count; i++) {
        struct ms_region *r = &image->regions[i];
        uint64_t size = r->end - r->start;
        if (r->kind != MS_REGION_VDSO || size != vdso_size(ours) || source->store.size - source->stored < size)
            continue;
        struct ms_run *run = calloc(1, sizeof *run);
        if (!run)
            return;
        uint8_t *bytes = source->store.base + source->stored;
        memcpy(bytes, ours, size);
        *run = (struct ms_run){r->start, r->end, bytes, false, false, false};
        source->stored += size;
        r->runs = run;
        r->run_count = 1;
        r->surveyed = true;
    }
}

/* Files that were deleted, and that only root could still open: rare, so it may be found out in the stop. */
static void find_orphans(struct ms_image *image)
{
    for (size_t i = 0; i < image->region_count; i++) {
        struct ms_region *r = &image->regions[i];
        if (r->kind != MS_REGION_FILE || !r->deleted)
            continue;
        int fd = ms_image_open_file(image, r);
        r->orphan = fd < 0;
        if (fd >= 0)
            close(fd);
    }
}

/* What is present of an orphan's own pages is copied; its modified ones are looked at like all others. */
static void keep_orphans(struct ms_image *image)
{
    struct ms_image_source *source = image->source;
    for (size_t i = 0; i < image->region_count; i++) {
        struct ms_region *r = &image->regions[i];
        for (size_t j = 0; r->orphan && j < r->run_count; j++) {
            struct ms_run *run = &r->runs[j];
            uint64_t size = run->end - run->start;
            uint8_t *bytes = source->store.base + source->stored;
            if (!run->file || source->store.size - source->stored < size ||
                pread(source->mem_fd, bytes, size, (off_t)run->start) != (ssize_t)size)
                continue;
            run->bytes = bytes;
            source->stored += size;
        }
    }
}

/* What /proc says now; the second thread does it while the tracer reads registers. */
static struct ms_error *look(struct capture *c)
{
    struct ms_image *image = c->image;
    MS_TRY(ms_proc_open_memory(image->pid, image->source)); /* it may have called exec since */
    MS_TRY(ms_proc_maps(image));
    MS_TRY(ms_proc_auxv(image));
    ms_proc_kernel_pointers(image, &c->epolls);
    if (c->options->account)
        MS_TRY(ms_proc_smaps(image));
    find_orphans(image);
    return NULL;
}

static void look_beside(void *argument)
{
    struct capture *c = argument;
    c->looked = look(c);
}

/* All pages; of a selection first what it knows to need, from which it learns what it needs besides. */
static struct ms_error *keep_pages(struct capture *c)
{
    MS_TRY(ms_stream_keep_all(&c->stream));
    if (!c->options->selection)
        return NULL;
    MS_TRY(ms_select_more(c->image, c->options->selection));
    MS_TRY(ms_survey(c->image, c->scratch.base, &c->second));
    return ms_stream_keep_all(&c->stream);
}

/* All that needs the target stopped. */
static struct ms_error *take(struct capture *c, struct ms_freeze *freeze)
{
    struct ms_image *image = c->image;
    struct ms_sink *sink = c->options->sink;
    ms_second_ask(&c->second, look_beside, c);
    struct ms_error *error = ms_freeze_registers(freeze, image);
    ms_second_await(&c->second);
    if (error) {
        ms_error_free(c->looked);
        return error;
    }
    MS_TRY(c->looked);
    ms_freeze_warn(freeze, image);
    if (c->options->selection)
        MS_TRY(ms_select_first(image, c->options->selection));
    MS_TRY(ms_survey(image, c->scratch.base, &c->second));
    keep_vdso(image);
    keep_orphans(image);
    if (image->kind == MS_FULL)
        return keep_pages(c);
    if (!sink)
        return NULL;
    c->spans.list.count = 0;
    MS_TRY(sink->plan(sink->self, image, &c->spans));
    if (c->retry && sink->retry(sink->self, false))
        return NULL; /* not a good moment */
    c->retry = false;
    return ms_stream_live(&c->stream, &c->spans);
}

/*
 * The tracer: a thread of its own, because the kernel lets go of whatever it
 * traces when it ends, also of threads that were never stopped.
 */
static void *tracer(void *argument)
{
    struct capture *c = argument;
    struct ms_image *image = c->image;
    struct ms_freeze freeze;
    struct ms_keeper keeper;
    ms_keeper_start(&keeper);
    ms_raise_priority();
    ms_second_raise(&c->second);
    c->error = ms_freeze_start(image, &c->second, c->brief, &freeze);
    c->blocked = c->error ? 0 : freeze.blocked;
    if (!c->error) {
        image->source->stopped = true;
        c->error = c->blocked ? NULL : take(c, &freeze);
        image->source->stopped = false;
        image->taken_ns = freeze.interrupt_ns;
        ms_freeze_end(&freeze);
        uint64_t pause = freeze.release_ns - freeze.interrupt_ns;
        image->stopped_ns += pause;
        image->pause_ns = pause > image->pause_ns ? pause : image->pause_ns;
    }
    ms_keeper_end(&keeper);
    return NULL;
}

/* Threads that were stopped before stop again by themselves, but not before they get a CPU: that is waited for. */
static void await_halt(const struct ms_image *image)
{
    const uint64_t deadline = ms_now_ns() + HALT_PATIENCE_NS;
    for (size_t i = 0; i < image->thread_count; i++)
        while (ms_proc_state(image->threads[i].tid) == 'R' && ms_now_ns() < deadline)
            nanosleep(&(struct timespec){0, 200000}, NULL);
}

static struct ms_error *stop_once(struct capture *c)
{
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, tracer, c);
    if (failed)
        return ms_error_errno(MS_TARGET, failed, "cannot start a thread");
    pthread_join(thread, NULL);
    c->image->attempts++;
    return c->error;
}

/* Until a thread that is blocked in the kernel goes on; false when it does not. Nothing is stopped meanwhile. */
static bool await_unblocked(pid_t tid, uint64_t deadline)
{
    while (ms_proc_state(tid) == 'D') {
        if (ms_now_ns() > deadline)
            return false;
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    return true;
}

/*
 * Threads that write to a disk cannot be stopped until that is done, and all others would stand still for as long:
 * they are let go on, and stopped again when it is done.
 */
static struct ms_error *stop(struct capture *c)
{
    const uint64_t deadline = ms_now_ns() + BLOCKED_NS;
    c->brief = true;
    for (unsigned i = 0; i < BLOCKED_STOPS; i++) {
        MS_TRY(stop_once(c));
        if (!c->blocked)
            return NULL;
        if (!await_unblocked(c->blocked, deadline))
            break;
    }
    c->brief = false;
    return stop_once(c);
}

/* One stop. Sets c->retry when another one is worth a try; LAST: this one has to do. */
static struct ms_error *attempt(struct capture *c, bool last)
{
    struct ms_image *image = c->image;
    size_t warnings = image->warnings.count;
    bool incomplete = image->incomplete;
    image->source->stored = 0;
    image->bytes_read = 0;
    struct ms_sink *sink = c->options->sink;
    bool lean = image->kind == MS_LEAN && sink;
    c->retry = !last && lean;
    if (lean)
        MS_TRY(sink->prepare(sink->self, image));
    MS_TRY(stop(c));
    if (image->halted)
        await_halt(image);
    if (image->kind == MS_FULL)
        MS_TRY(ms_stream_kept(image, c->options));
    if (!c->retry && !last && sink)
        c->retry = sink->retry(sink->self, true);
    if (c->retry) {
        while (image->warnings.count > warnings)
            free(image->warnings.items[--image->warnings.count]);
        image->incomplete = incomplete;
    }
    return NULL;
}

static struct ms_error *stop_until_good(struct capture *c)
{
    unsigned attempts = c->options->attempts ? c->options->attempts : DEFAULT_ATTEMPTS;
    for (unsigned i = 1; i <= attempts; i++) {
        progress(c, "copying", ms_survey_bytes(c->image), 0);
        MS_TRY(attempt(c, i == attempts));
        if (!c->retry)
            return NULL;
        nanosleep(&(struct timespec){0, (long)i * 2000000}, NULL);
    }
    return NULL;
}

static void release(struct capture *c)
{
    ms_vector_free(&c->spans.list);
    ms_vector_free(&c->epolls.fds);
    ms_second_end(&c->second);
    ms_stream_free(&c->stream);
    ms_reserve_free(&c->scratch);
}

/* All of it, once. */
static struct ms_error *capture_once(struct capture *c, pid_t pid)
{
    struct ms_image *image;
    MS_TRY(ms_image_new(MS_LEAN, &c->image));
    image = c->image;
    image->pid = pid;
    if (asprintf(&image->origin, "process %d", pid) < 0) {
        image->origin = NULL;
        return ms_error_nomem("the image");
    }
    MS_TRY(ms_proc_open(pid, image->source));
    MS_TRY(measure(c));
    return stop_until_good(c);
}

ms_result ms_capture(pid_t pid, const struct ms_capture_options *options, struct ms_image **out)
{
    for (unsigned tries = 1;; tries++) {
        struct capture c = {.options = options};
        struct ms_error *error = capture_once(&c, pid);
        release(&c);
        if (!error) {
            *out = c.image;
            return NULL;
        }
        ms_image_free(c.image);
        /* Its memory went away under us: if the process did not, it called exec. */
        if (!error->again || tries == EXEC_TRIES || ms_proc_status(pid, "VmSize:") < 0)
            return error;
        ms_error_free(error);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

ms_result ms_open_target(const char *target, const struct ms_capture_options *options,
                         struct ms_image **image)
{
    char *end;
    errno = 0;
    long pid = strtol(target, &end, 10);
    if (!*target || *end)
        return ms_open_core(target, options, image);
    if (errno == ERANGE || pid <= 0 || pid > INT32_MAX)
        return ms_error(MS_TARGET, "no such process: %s", target);
    return ms_capture((pid_t)pid, options, image);
}
