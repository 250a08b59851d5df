/* Inspections: the stages from a target to all reports, and questions, by one thread in the background. */
#include "memscope/inspection.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "memscope/capture.h"
#include "memscope/goheap.h"

const char *const ms_stage_names[MS_STAGES] = {
    [MS_STAGE_COPY] = "copying",   [MS_STAGE_MEMSTATS] = "marking", [MS_STAGE_LEAKS] = "leaks",
    [MS_STAGE_TYPES] = "types",    [MS_STAGE_HEAP] = "what retains what",
};

/* Retainers that are kept: more than anybody will page through. */
#define RETAINERS_KEPT 1000u

struct ms_question {
    ms_answer *answer;
    void *context;
    void (*release)(void *context);
    bool answered, forgotten;
    struct ms_error *error; /* owned */
    struct ms_question *next;
};

struct ms_inspection {
    struct ms_inspection_options options;
    int wake; /* eventfd */
    pthread_t thread;
    pthread_mutex_t mutex; /* for all that follows up to `own` */
    pthread_cond_t asked;
    bool stop;
    struct ms_stage_status status[MS_STAGES];
    struct ms_facts facts;
    struct ms_question *questions; /* that are not answered, in order; owned */
    struct ms_question *answered;  /* owned */
    /* Of the thread alone until its stage is done. */
    struct {
        enum ms_stage stage; /* that is at work */
        struct ms_facts facts;
        struct ms_go *runtime; /* owned */
        struct ms_go_stats go_stats;
        bool has_go_stats;
        struct ms_error *go_error; /* owned */
        struct ms_memstats memstats;
        struct ms_memory_map map;
        struct ms_heap_map heap_map;
        struct ms_goroutines goroutines;
        struct ms_leak_report leaks;
        struct ms_heap_report heap;
        struct ms_error *errors[MS_STAGES]; /* owned */
    } own;
};

static void wake(const struct ms_inspection *in)
{
    const uint64_t one = 1;
    ssize_t written = write(in->wake, &one, sizeof one);
    (void)written; /* it can only be readable already */
}

/* From the analyses, in the inspection's thread. */
static void progress(void *context, const char *what, uint64_t done, uint64_t total)
{
    struct ms_inspection *in = context;
    pthread_mutex_lock(&in->mutex);
    struct ms_stage_status *status = &in->status[in->own.stage];
    status->what = what;
    status->done = done;
    status->total = total;
    pthread_mutex_unlock(&in->mutex);
    wake(in);
}

/* --- stages ------------------------------------------------------------------------------------ */

static struct ms_error *read_runtime(struct ms_inspection *in)
{
    struct ms_facts *own = &in->own.facts;
    MS_TRY(ms_go_open(own->image, own->symbols, own->types, &in->own.runtime));
    if (!in->own.runtime)
        return NULL;
    progress(in, "reading Go's heap", 0, 0);
    MS_TRY(ms_go_heap_new(in->own.runtime, own->image, &own->go));
    own->scan = own->go->scan;
    MS_TRY(ms_go_drop_stale(own->go, own->image, own->malloc_scan));
    struct ms_error *error = ms_go_read_stats(own->go, &in->own.go_stats);
    in->own.has_go_stats = !error;
    if (error)
        ms_image_warn(own->image, "what Go's runtime counts is missing: %s", error->message);
    ms_error_free(error);
    return NULL;
}

/* What C has allocated, threads and maps are worth having without Go's heap too. */
static struct ms_error *read_go(struct ms_inspection *in)
{
    struct ms_facts *own = &in->own.facts;
    struct ms_error *error = read_runtime(in);
    if (!error || error->status != MS_TARGET)
        return error;
    in->own.go_error = error;
    own->go_error = error->message;
    own->image->incomplete = true;
    ms_image_warn(own->image, "Go's heap and goroutines are missing: %s", error->message);
    return NULL;
}

static struct ms_error *copy(struct ms_inspection *in)
{
    struct ms_facts *own = &in->own.facts;
    MS_TRY(ms_scan_new(&own->malloc_scan));
    own->scan = own->malloc_scan;
    const struct ms_capture_options options = {
        .want = MS_WANT_FULL, .account = true, .exe = in->options.exe, .sysroot = in->options.sysroot,
        .progress = progress, .progress_context = in, .sink = ms_scan_sink(own->scan),
    };
    const struct ms_symbols_options symbols = {.debuginfod = in->options.debuginfod,
                                               .sysroot = in->options.sysroot};
    MS_TRY(ms_open_target(in->options.target, &options, &own->image));
    MS_TRY(ms_scan_finish(own->scan, own->image));
    MS_TRY(ms_symbols_new(own->image, &symbols, &own->symbols));
    MS_TRY(ms_types_new(own->symbols, own->image, progress, in, &own->types));
    MS_TRY(read_go(in));
    return ms_names_new(own->scan, own->image, own->symbols, own->types, &own->names);
}

static struct ms_error *account(struct ms_inspection *in)
{
    struct ms_facts *own = &in->own.facts;
    const struct ms_go_stats *stats = in->own.has_go_stats ? &in->own.go_stats : NULL;
    struct ms_reach reach = {0};
    if (own->scan->heap.allocator)
        MS_TRY(ms_mark(own->scan, &reach));
    if (own->go && own->malloc_scan->heap.allocator)
        MS_TRY(ms_mark(own->malloc_scan, &reach));
    MS_TRY(ms_memstats(own->malloc_scan, own->image, &reach, own->go, stats, &in->own.memstats));
    MS_TRY(ms_memory_map(own->scan, own->image, &in->own.map));
    if (own->go) {
        MS_TRY(ms_group_goroutines(own->go, &in->own.goroutines));
        own->goroutines = &in->own.goroutines;
    }
    if (own->scan->heap.allocator) {
        MS_TRY(ms_heap_map(own->scan, &in->own.heap_map));
        own->heap_map = &in->own.heap_map;
    }
    own->memstats = &in->own.memstats;
    own->map = &in->own.map;
    return NULL;
}

/* Without a heap that is understood a report would be a lie. */
static struct ms_error *require_heap(const struct ms_facts *facts)
{
    const struct ms_heap *heap = &facts->scan->heap;
    if (heap->allocator)
        return NULL;
    return ms_error(MS_TARGET, "the heap cannot be read: the target uses %s",
                    *heap->description ? heap->description : "no known allocator");
}

static struct ms_error *find_leaks(struct ms_inspection *in)
{
    struct ms_facts *own = &in->own.facts;
    const struct ms_leak_options options = {
        .kinds = 1u << MS_DEFINITE | 1u << MS_INDIRECT | 1u << MS_POSSIBLE, .list = true, .index = true,
        .types = own->types,
    };
    MS_TRY(require_heap(own));
    if (own->go && !own->malloc_scan->heap.allocator) { /* no C in it, and Go's collector takes what is lost */
        in->own.leaks.complete = true;
        own->leaks = &in->own.leaks;
        return NULL;
    }
    MS_TRY(ms_leaks(own->malloc_scan, own->image, own->symbols, &options, &in->own.leaks));
    own->leaks = &in->own.leaks;
    return NULL;
}

static struct ms_error *type_blocks(struct ms_inspection *in)
{
    struct ms_facts *own = &in->own.facts;
    MS_TRY(require_heap(own));
    return ms_knowledge_new(own->scan, own->image, own->symbols, own->types, MS_TYPE_ALL, &own->knowledge);
}

static struct ms_error *build_heap(struct ms_inspection *in)
{
    struct ms_facts *own = &in->own.facts;
    const struct ms_heap_options options = {
        .by = MS_BY_TYPE, .sort = MS_SORT_RETAINED, .group_limit = SIZE_MAX, .retainer_limit = RETAINERS_KEPT,
        .types = own->types, .knowledge = own->knowledge, .keep_tree = true,
    };
    MS_TRY(require_heap(own));
    MS_TRY(ms_heap_report(own->scan, own->image, own->symbols, &options, &in->own.heap));
    own->heap = &in->own.heap;
    return NULL;
}

/* Each needs those before it, but for those that it can do without. */
static const struct stage {
    struct ms_error *(*make)(struct ms_inspection *in);
    enum ms_stage needs; /* itself: none */
} stages[MS_STAGES] = {
    [MS_STAGE_COPY] = {copy, MS_STAGE_COPY},
    [MS_STAGE_MEMSTATS] = {account, MS_STAGE_COPY},
    [MS_STAGE_LEAKS] = {find_leaks, MS_STAGE_MEMSTATS},
    [MS_STAGE_TYPES] = {type_blocks, MS_STAGE_MEMSTATS},
    [MS_STAGE_HEAP] = {build_heap, MS_STAGE_MEMSTATS},
};

static void begin(struct ms_inspection *in, enum ms_stage stage)
{
    pthread_mutex_lock(&in->mutex);
    in->own.stage = stage;
    in->status[stage] = (struct ms_stage_status){.state = MS_STAGE_RUNNING, .what = ms_stage_names[stage]};
    pthread_mutex_unlock(&in->mutex);
    wake(in);
}

static void end(struct ms_inspection *in, enum ms_stage stage, struct ms_error *error)
{
    pthread_mutex_lock(&in->mutex);
    in->own.errors[stage] = error;
    in->status[stage] = (struct ms_stage_status){.state = error ? MS_STAGE_FAILED : MS_STAGE_DONE,
                                                 .error = error ? error->message : NULL};
    if (!error)
        in->facts = in->own.facts;
    pthread_mutex_unlock(&in->mutex);
    wake(in);
}

static void make(struct ms_inspection *in, enum ms_stage stage)
{
    enum ms_stage needs = stages[stage].needs;
    if (needs != stage && in->status[needs].state == MS_STAGE_FAILED) {
        end(in, stage, ms_error(MS_TARGET, "%s", in->status[needs].error));
        return;
    }
    begin(in, stage);
    end(in, stage, stages[stage].make(in));
}

/* --- questions --------------------------------------------------------------------------------- */

static void unlink_question(struct ms_question **list, const struct ms_question *question)
{
    while (*list && *list != question)
        list = &(*list)->next;
    if (*list)
        *list = question->next;
}

static void free_question(struct ms_question *question)
{
    if (question->release)
        question->release(question->context);
    ms_error_free(question->error);
    free(question);
}

/* With the mutex held, which is given up while the answer is made. */
static void answer_first(struct ms_inspection *in)
{
    struct ms_question *question = in->questions;
    struct ms_facts facts = in->facts;
    in->questions = question->next;
    pthread_mutex_unlock(&in->mutex);
    struct ms_error *error = question->answer(&facts, question->context);
    pthread_mutex_lock(&in->mutex);
    question->error = error;
    question->answered = true;
    if (question->forgotten) {
        free_question(question);
        return;
    }
    question->next = in->answered;
    in->answered = question;
    wake(in);
}

/* Answers all that were asked; with WAIT, waits for more until the end. False when it is time to stop. */
static bool answer_questions(struct ms_inspection *in, bool wait)
{
    pthread_mutex_lock(&in->mutex);
    while (!in->stop && (in->questions || wait)) {
        if (in->questions)
            answer_first(in);
        else
            pthread_cond_wait(&in->asked, &in->mutex);
    }
    bool stop = in->stop;
    pthread_mutex_unlock(&in->mutex);
    return !stop;
}

static void *work(void *inspection)
{
    struct ms_inspection *in = inspection;
    for (int stage = 0; stage < MS_STAGES; stage++) {
        make(in, (enum ms_stage)stage);
        if (!answer_questions(in, false))
            return NULL;
    }
    answer_questions(in, true);
    return NULL;
}

ms_result ms_inspection_ask(struct ms_inspection *in, ms_answer *answer, void *context,
                            void (*release)(void *context), struct ms_question **out)
{
    struct ms_question *question = calloc(1, sizeof *question);
    if (!question) {
        if (release)
            release(context);
        return ms_error_nomem("a question");
    }
    *question = (struct ms_question){.answer = answer, .context = context, .release = release};
    pthread_mutex_lock(&in->mutex);
    struct ms_question **last = &in->questions;
    while (*last)
        last = &(*last)->next;
    *last = question;
    pthread_cond_signal(&in->asked);
    pthread_mutex_unlock(&in->mutex);
    *out = question;
    return NULL;
}

bool ms_inspection_answered(struct ms_inspection *in, const struct ms_question *question, const char **error)
{
    pthread_mutex_lock(&in->mutex);
    bool answered = question->answered;
    *error = answered && question->error ? question->error->message : NULL;
    pthread_mutex_unlock(&in->mutex);
    return answered;
}

void ms_inspection_forget(struct ms_inspection *in, struct ms_question *question)
{
    if (!question)
        return;
    pthread_mutex_lock(&in->mutex);
    bool waiting = false;
    for (const struct ms_question *q = in->questions; q; q = q->next)
        waiting |= q == question;
    unlink_question(&in->questions, question);
    unlink_question(&in->answered, question);
    question->forgotten = true;
    if (waiting || question->answered)
        free_question(question);
    pthread_mutex_unlock(&in->mutex);
}

/* --- life -------------------------------------------------------------------------------------- */

static void free_list(struct ms_question *question)
{
    while (question) {
        struct ms_question *next = question->next;
        free_question(question);
        question = next;
    }
}

/* Of what looks into one another the last first. */
static void free_facts(struct ms_inspection *in)
{
    const struct ms_facts *own = &in->own.facts;
    ms_heap_report_free(&in->own.heap);
    ms_leak_report_free(&in->own.leaks);
    ms_memory_map_free(&in->own.map);
    ms_heap_map_free(&in->own.heap_map);
    ms_goroutines_free(&in->own.goroutines);
    ms_knowledge_free(own->knowledge);
    ms_names_free(own->names);
    ms_go_heap_free(own->go);
    ms_go_close(in->own.runtime);
    ms_types_free(own->types);
    ms_symbols_free(own->symbols);
    ms_scan_free(own->malloc_scan);
    ms_image_free(own->image);
    ms_error_free(in->own.go_error);
    for (int i = 0; i < MS_STAGES; i++)
        ms_error_free(in->own.errors[i]);
}

void ms_inspection_free(struct ms_inspection *in)
{
    if (!in)
        return;
    pthread_mutex_lock(&in->mutex);
    in->stop = true;
    pthread_cond_signal(&in->asked);
    pthread_mutex_unlock(&in->mutex);
    pthread_join(in->thread, NULL);
    free_list(in->questions);
    free_list(in->answered);
    free_facts(in);
    pthread_cond_destroy(&in->asked);
    pthread_mutex_destroy(&in->mutex);
    close(in->wake);
    free(in);
}

ms_result ms_inspection_start(const struct ms_inspection_options *options, struct ms_inspection **out)
{
    struct ms_inspection *in = calloc(1, sizeof *in);
    if (!in)
        return ms_error_nomem("the inspection");
    in->options = *options;
    in->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&in->mutex, NULL);
    pthread_cond_init(&in->asked, NULL);
    int failed = in->wake < 0 ? errno : pthread_create(&in->thread, NULL, work, in);
    if (!failed) {
        *out = in;
        return NULL;
    }
    if (in->wake >= 0)
        close(in->wake);
    pthread_cond_destroy(&in->asked);
    pthread_mutex_destroy(&in->mutex);
    free(in);
    return ms_error_errno(MS_TARGET, failed, "cannot start a thread");
}

int ms_inspection_fd(const struct ms_inspection *in)
{
    return in->wake;
}

struct ms_stage_status ms_inspection_status(struct ms_inspection *in, enum ms_stage stage)
{
    pthread_mutex_lock(&in->mutex);
    struct ms_stage_status status = in->status[stage];
    pthread_mutex_unlock(&in->mutex);
    return status;
}

struct ms_facts ms_inspection_facts(struct ms_inspection *in)
{
    pthread_mutex_lock(&in->mutex);
    struct ms_facts facts = in->facts;
    pthread_mutex_unlock(&in->mutex);
    return facts;
}

/* Ended, but its parent took no note: state Z, and no thread beside the leader, who may end before others (proc(5)). */
static bool is_zombie(pid_t pid)
{
    char name[32], line[512];
    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(name, "re");
    size_t size = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[size] = '\0';
    const char *at = strrchr(line, ')'); /* behind it the state, and 16 fields on the number of threads */
    if (!at || at[1] != ' ' || (at[2] != 'Z' && at[2] != 'X'))
        return false;
    for (int field = 0; at && field < 18; field++)
        at = strchr(at + 1, ' ');
    return !at || strtol(at, NULL, 10) <= 1;
}

bool ms_inspection_target_lives(struct ms_inspection *in)
{
    struct ms_facts facts = ms_inspection_facts(in);
    if (!facts.image || facts.image->kind == MS_CORE || facts.image->pid <= 0)
        return true;
    return (kill(facts.image->pid, 0) == 0 || errno == EPERM) && !is_zombie(facts.image->pid);
}
