/* Moving memory through windows: two workers read and filter, and walk in turns. */
#include "stream.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "survey.h"

/* To look at so many zeros is cheaper than a window more. Bytes. */
#define SMALL_HOLE (4u * MS_PAGE)

/* A window still to be done; several have the same region one after another. */
struct job {
    const struct ms_region *region;
    const struct ms_span *span; /* NULL: only keep */
    uint64_t start, end;
    bool goes_on; /* fits into the buffer together with the one before it: they are done at once */
};

enum mode { LIVE, KEEP_ALL, FROM_KEPT };

/* Windows that are done at once: as many as one buffer holds. */
#define GROUP 64u
struct group {
    unsigned jobs;
    uint64_t bytes;
};

struct work {
    struct ms_stream *stream;
    enum mode mode;
    MS_VECTOR(struct job) jobs;
    struct group group;        /* the last one, while jobs are added */
    atomic_size_t next;        /* job to take */
    atomic_size_t turn;        /* job whose walk is due */
    atomic_ullong bytes;       /* read */
    atomic_ullong failed;      /* bytes that could not be read */
};

ms_result ms_stream_init(struct ms_stream *stream, struct ms_image *image,
                         const struct ms_sink *sink, struct ms_second *second)
{
    *stream = (struct ms_stream){.image = image, .sink = sink, .second = second};
    MS_TRY(ms_reserve(&stream->buffers, (size_t)MS_WORKERS * MS_WINDOW, "window buffers"));
    ms_reserve_populate(&stream->buffers, 0, (size_t)MS_WORKERS * MS_WINDOW);
    return NULL;
}

void ms_stream_free(struct ms_stream *stream)
{
    ms_reserve_free(&stream->buffers);
}

/* --- reading ----------------------------------------------------------------------------------- */

/* Pieces that one process_vm_readv is to read: the stacks of a thousand threads lie far apart. */
#define BATCH 64u

struct reader {
    struct work *work;
    struct iovec local[BATCH], remote[BATCH];
    unsigned count;
};

/* /proc/PID/mem does not pin, but is slower. It reads what the target itself may not (PROT_NONE). */
static void read_slowly(struct work *work, uint64_t at, uint64_t end, uint8_t *to)
{
    const uint64_t start = at;
    while (at < end) {
        ssize_t got =
            pread(work->stream->image->source->mem_fd, to + (at - start), end - at, (off_t)at);
        if (got > 0) {
            at += (uint64_t)got;
            continue;
        }
        if (got < 0 && errno == EINTR)
            continue;
        /* EIO and EFAULT: this page is not to be had (a device behind it, a poisoned page). */
        uint64_t page_end = (at / MS_PAGE + 1) * MS_PAGE;
        memset(to + (at - start), 0, page_end - at);
        atomic_fetch_add(&work->failed, page_end - at);
        at = page_end;
    }
}

/* Reads what was gathered; a piece that process_vm_readv stops in is read slowly. */
static void flush(struct reader *reader)
{
    const pid_t tid = reader->work->stream->image->source->tid;
    for (unsigned i = 0; i < reader->count;) {
        ssize_t got = process_vm_readv(tid, reader->local + i, reader->count - i,
                                       reader->remote + i, reader->count - i, 0);
        size_t left = got > 0 ? (size_t)got : 0;
        while (i < reader->count && left >= reader->remote[i].iov_len)
            left -= reader->remote[i++].iov_len;
        if (i == reader->count)
            break;
        const uint64_t start = (uintptr_t)reader->remote[i].iov_base;
        read_slowly(reader->work, start + left, start + reader->remote[i].iov_len,
                    (uint8_t *)reader->local[i].iov_base + left);
        i++;
    }
    reader->count = 0;
}

/*
 * process_vm_readv pins pages: on a page that is shared copy-on-write it makes
 * the kernel give the target a copy of its own.
 */
static void read_pages(struct reader *reader, const struct ms_region *region,
                       const struct ms_run *run, uint64_t start, uint64_t end, uint8_t *to)
{
    atomic_fetch_add(&reader->work->bytes, end - start);
    if (run->shared || run->swapped || !(region->prot & MS_READ)) {
        read_slowly(reader->work, start, end, to);
        return;
    }
    if (reader->count == BATCH)
        flush(reader);
    reader->local[reader->count] = (struct iovec){to, end - start};
    reader->remote[reader->count++] = (struct iovec){(void *)start, end - start};
}

/* What is kept of a live target's job, which has been read. */
static void keep(const struct job *job, const uint8_t *bytes)
{
    const struct ms_region *region = job->region;
    for (size_t i = ms_first_run(region, job->start); i < region->run_count; i++) {
        const struct ms_run *run = &region->runs[i];
        uint64_t start = run->start > job->start ? run->start : job->start;
        uint64_t end = run->end < job->end ? run->end : job->end;
        if (start >= job->end)
            break;
        if (run->bytes && ms_run_is_own(region, run))
            memcpy((uint8_t *)run->bytes + (start - run->start), bytes + (start - job->start),
                   end - start);
    }
}

/*
 * Brings the bytes of a job into BUFFER (or the store), when the reader is flushed;
 * pages that are not there become zeros at once.
 */
static const uint8_t *fetch(struct reader *reader, const struct job *job, uint8_t *buffer)
{
    const enum mode mode = reader->work->mode;
    const struct ms_region *region = job->region;
    uint64_t filled = job->start;
    for (size_t i = ms_first_run(region, job->start); i < region->run_count; i++) {
        const struct ms_run *run = &region->runs[i];
        uint64_t start = run->start > job->start ? run->start : job->start;
        uint64_t end = run->end < job->end ? run->end : job->end;
        if (start >= job->end)
            break;
        if (!ms_run_is_own(region, run))
            continue;
        uint8_t *kept = run->bytes ? (uint8_t *)run->bytes + (start - run->start) : NULL;
        if (mode == KEEP_ALL) {
            if (kept)
                read_pages(reader, region, run, start, end, kept);
            continue;
        }
        if (mode == FROM_KEPT && kept && start == job->start && end == job->end)
            return kept;
        memset(buffer + (filled - job->start), 0, start - filled);
        uint8_t *to = buffer + (start - job->start);
        if (mode == LIVE)
            read_pages(reader, region, run, start, end, to);
        else if (kept)
            memcpy(to, kept, end - start);
        else
            memset(to, 0, end - start);
        filled = end;
    }
    if (mode != KEEP_ALL)
        memset(buffer + (filled - job->start), 0, job->end - filled);
    return buffer;
}

/* --- jobs -------------------------------------------------------------------------------------- */

static uint64_t next_present(const struct ms_region *region, uint64_t address)
{
    for (size_t i = ms_first_run(region, address); i < region->run_count; i++)
        if (ms_run_is_own(region, &region->runs[i]))
            return region->runs[i].start > address ? region->runs[i].start : address;
    return UINT64_MAX;
}

/* How far pages go on from START, but for small holes. */
static uint64_t present_until(const struct ms_region *region, uint64_t start)
{
    uint64_t end = start;
    for (size_t i = ms_first_run(region, start); i < region->run_count; i++) {
        const struct ms_run *run = &region->runs[i];
        if (run->start > end && run->start - end > SMALL_HOLE)
            break;
        if (ms_run_is_own(region, run))
            end = run->end;
    }
    return end;
}

/* Does a window of BYTES still go into the last group? */
static bool goes_on(const struct work *work, uint64_t bytes)
{
    return work->group.jobs < GROUP && work->group.bytes + bytes <= MS_WINDOW;
}

/* One job for each window of [start, end) that has pages. */
static struct ms_error *add_jobs(struct work *work, const struct ms_region *region, const struct ms_span *span,
                                 uint64_t start, uint64_t end)
{
    while ((start = next_present(region, start)) < end) {
        uint64_t window = start & ~(uint64_t)(MS_WINDOW - 1);
        uint64_t from = span && window < span->start ? span->start : window;
        from = from < region->start ? region->start : from;
        uint64_t to = window + MS_WINDOW < end ? window + MS_WINDOW : end;
        if (span && span->sparse) {
            uint64_t until = present_until(region, start);
            from = start;
            to = until < to ? until : to;
        }
        struct job *job = ms_vector_add(&work->jobs);
        if (!job)
            return ms_error_nomem("the list of windows");
        work->group = goes_on(work, to - from) ? work->group : (struct group){0};
        *job = (struct job){region, span, from, to, work->group.jobs > 0};
        work->group.jobs++;
        work->group.bytes += to - from;
        start = to;
    }
    return NULL;
}

static struct ms_error *add_span_jobs(struct work *work, const struct ms_spans *spans)
{
    for (size_t i = 0; i < spans->list.count; i++) {
        const struct ms_span *span = &spans->list.items[i];
        const struct ms_region *region = ms_image_region(work->stream->image, span->start);
        if (region && region->surveyed)
            MS_TRY(add_jobs(work, region, span, span->start, span->end < region->end ? span->end : region->end));
    }
    return NULL;
}

/* --- workers ----------------------------------------------------------------------------------- */

static void await_turn(struct work *work, size_t job)
{
    for (unsigned spins = 0; atomic_load_explicit(&work->turn, memory_order_acquire) != job; spins++) {
        if (spins < 4000)
            __builtin_ia32_pause();
        else
            nanosleep(&(struct timespec){0, 20000}, NULL);
    }
}

/* Jobs FIRST to END: read at once, filtered, and walked when it is their turn. */
static void run_group(struct reader *reader, unsigned worker, size_t first, size_t end)
{
    struct work *work = reader->work;
    const struct ms_sink *sink = work->stream->sink;
    struct ms_window windows[GROUP];
    uint8_t *buffer = work->stream->buffers.base + (size_t)worker * MS_WINDOW;
    for (size_t i = first; i < end; i++) {
        const struct job *job = &work->jobs.items[i];
        windows[i - first] =
            (struct ms_window){job->span, job->start, job->end, fetch(reader, job, buffer), worker};
        buffer += job->end - job->start;
    }
    flush(reader);
    if (work->mode == KEEP_ALL)
        return;
    for (size_t i = first; i < end; i++) {
        if (work->mode == LIVE)
            keep(&work->jobs.items[i], windows[i - first].bytes);
        sink->filter(sink->self, &windows[i - first]);
    }
    await_turn(work, first);
    for (size_t i = first; i < end; i++)
        sink->walk(sink->self, &windows[i - first]);
    atomic_store_explicit(&work->turn, end, memory_order_release);
}

static void run_worker(struct work *work, unsigned worker)
{
    struct reader reader = {.work = work};
    size_t first = atomic_load(&work->next);
    while (first < work->jobs.count) {
        size_t end = first + 1;
        while (end < work->jobs.count && work->jobs.items[end].goes_on)
            end++;
        if (!atomic_compare_exchange_weak(&work->next, &first, end))
            continue;
        run_group(&reader, worker, first, end);
        first = atomic_load(&work->next);
    }
}

static void run_second(void *argument)
{
    run_worker(argument, 1);
}

static void run_jobs(struct work *work)
{
    struct ms_second *second = work->stream->second;
    ms_second_ask(second, run_second, work);
    run_worker(work, 0);
    ms_second_await(second);
    struct ms_image *image = work->stream->image;
    image->bytes_read += atomic_load(&work->bytes);
    unsigned long long failed = atomic_load(&work->failed);
    if (failed) {
        image->incomplete = true;
        ms_image_warn(image, "%llu bytes of the target's memory could not be read", failed);
    }
}

/* --- keeping ----------------------------------------------------------------------------------- */

/* Gives a run a place in the store; none when the store is full. */
static void place(struct ms_image_source *source, struct ms_run *run)
{
    uint64_t size = run->end - run->start;
    if (source->store.size - source->stored < size)
        return;
    run->bytes = source->store.base + source->stored;
    source->stored += size;
}

/* Cuts a region's runs at ADDRESS, so that one side can be kept and the other not. */
static struct ms_error *cut(struct ms_region *region, uint64_t address)
{
    size_t i = ms_first_run(region, address);
    if (i == region->run_count || region->runs[i].start >= address)
        return NULL;
    struct ms_run *runs = reallocarray(region->runs, region->run_count + 1, sizeof *runs);
    if (!runs)
        return ms_error_nomem("the list of pages");
    memmove(&runs[i + 1], &runs[i], (region->run_count - i) * sizeof *runs);
    runs[i].end = runs[i + 1].start = address;
    region->runs = runs;
    region->run_count++;
    return NULL;
}

static struct ms_error *place_spans(struct ms_image *image, const struct ms_spans *spans)
{
    for (size_t i = 0; i < spans->list.count; i++) {
        const struct ms_span *span = &spans->list.items[i];
        struct ms_region *region = (struct ms_region *)ms_image_region(image, span->start);
        if (!span->keep || !region)
            continue;
        MS_TRY(cut(region, span->start));
        MS_TRY(cut(region, span->end));
        for (size_t j = ms_first_run(region, span->start); j < region->run_count; j++) {
            struct ms_run *run = &region->runs[j];
            if (run->start >= span->end)
                break;
            if (ms_run_is_own(region, run) && !run->bytes)
                place(image->source, run);
        }
    }
    return NULL;
}

ms_result ms_stream_live(struct ms_stream *stream, const struct ms_spans *spans)
{
    MS_TRY(place_spans(stream->image, spans));
    struct work work = {.stream = stream, .mode = LIVE};
    struct ms_error *error = add_span_jobs(&work, spans);
    if (!error)
        run_jobs(&work);
    ms_vector_free(&work.jobs);
    return error;
}

ms_result ms_stream_keep_all(struct ms_stream *stream)
{
    struct ms_image *image = stream->image;
    struct work work = {.stream = stream, .mode = KEEP_ALL};
    struct ms_error *error = NULL;
    uint64_t lost = 0;
    for (size_t i = 0; !error && i < image->region_count; i++) {
        struct ms_region *region = &image->regions[i];
        if (region->kind == MS_REGION_VDSO)
            continue; /* kept already, and not from the target */
        bool kept = false;
        for (size_t j = 0; j < region->run_count && !kept; j++) {
            struct ms_run *run = &region->runs[j];
            if (!ms_run_is_own(region, run))
                continue;
            kept = run->bytes;
            if (kept)
                break;
            place(image->source, run);
            if (!run->bytes)
                lost += run->end - run->start;
        }
        if (!kept)
            error = add_jobs(&work, region, NULL, region->start, region->end);
    }
    if (!error)
        run_jobs(&work);
    if (lost) {
        image->incomplete = true;
        ms_image_warn(image, "%lu bytes that the target has gained since it was measured were not kept", lost);
    }
    ms_vector_free(&work.jobs);
    return error;
}

/* Feeds the windows of SPANS from kept bytes. */
static ms_result feed_kept(struct ms_stream *stream, const struct ms_spans *spans)
{
    struct work work = {.stream = stream, .mode = FROM_KEPT};
    struct ms_error *error = add_span_jobs(&work, spans);
    if (!error)
        run_jobs(&work);
    ms_vector_free(&work.jobs);
    return error;
}

ms_result ms_stream_kept(struct ms_image *image, const struct ms_capture_options *options)
{
    struct ms_sink *sink = options->sink;
    if (!sink)
        return NULL;
    struct ms_spans spans = {{0}};
    struct ms_stream stream;
    struct ms_second second;
    MS_TRY(ms_stream_init(&stream, image, sink, &second));
    ms_second_start(&second);
    struct ms_error *error = sink->prepare(sink->self, image);
    if (!error)
        error = sink->plan(sink->self, image, &spans);
    if (!error)
        error = feed_kept(&stream, &spans);
    ms_vector_free(&spans.list);
    ms_second_end(&second);
    ms_stream_free(&stream);
    return error;
}
