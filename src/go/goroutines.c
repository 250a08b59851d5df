/* Goroutines: all of allgs, the threads they run on, what they wait for. */
#include "goroutines.h"

#include "layout.h"
#include "memscope/live.h"
#include <string.h>

#define MACHINES_MOST   (1u << 20)
#define GOROUTINES_MOST (1u << 27)
#define STRUCTURE_MOST  4096u
#define SCAN_BIT        0x1000u
#define FINALIZER_RUNS  2u

/* Fields of a structure that is read as a whole: many are read, of very many goroutines. */
struct structure {
    uint8_t bytes[STRUCTURE_MOST];
    size_t size;
};

static bool read_structure(const struct ms_go *go, uint64_t address, struct ms_go_place self,
                           struct structure *structure)
{
    structure->size = self.size < STRUCTURE_MOST ? self.size : STRUCTURE_MOST;
    return address && ms_image_read(go->image, address, structure->bytes, structure->size);
}

static uint64_t field(const struct structure *structure, struct ms_go_place place)
{
    uint64_t value = 0;
    size_t size = place.size < sizeof value ? place.size : sizeof value;
    if (place.offset <= structure->size && structure->size - place.offset >= size)
        memcpy(&value, structure->bytes + place.offset, size);
    return value;
}

struct layout {
    struct ms_go_place self, lo, hi, m, sched_pc, sched_sp, syscall_pc, syscall_sp, status, id;
    struct ms_go_place since, reason, locked, parent, created, start, labels, waiting, bubble;
    struct ms_go_place cleanups, bubble_id;
    struct ms_go_place machine, g0, gsignal, procid, tls, current, vdso_pc, vdso_sp, next;
};
#define FIELD(path, into)   MS_GO_FIELD(struct layout, "runtime.g", path, into)
#define M_FIELD(path, into) MS_GO_FIELD(struct layout, "runtime.m", path, into)
static const struct ms_go_field fields[] = {
    FIELD("", self),
    FIELD("stack.lo", lo),
    FIELD("stack.hi", hi),
    FIELD("m", m),
    FIELD("sched.pc", sched_pc),
    FIELD("sched.sp", sched_sp),
    FIELD("syscallpc", syscall_pc),
    FIELD("syscallsp", syscall_sp),
    FIELD("atomicstatus", status),
    FIELD("goid", id),
    FIELD("waitsince", since),
    FIELD("waitreason", reason),
    FIELD("lockedm", locked),
    MS_GO_FIELD_IN(struct layout, "runtime.g", "parentGoid", parent, 21, 0),
    FIELD("gopc", created),
    FIELD("startpc", start),
    FIELD("labels", labels),
    FIELD("waiting", waiting),
    MS_GO_FIELD_IN(struct layout, "runtime.g", "bubble", bubble, 25, 0),
    MS_GO_FIELD_IN(struct layout, "runtime.g", "runningCleanups", cleanups, 25, 0),
    MS_GO_FIELD_IN(struct layout, "runtime.synctestBubble", "id", bubble_id, 25, 0),
    M_FIELD("", machine),
    M_FIELD("g0", g0),
    M_FIELD("gsignal", gsignal),
    M_FIELD("procid", procid),
    M_FIELD("tls", tls),
    M_FIELD("curg", current),
    M_FIELD("vdsoPC", vdso_pc),
    M_FIELD("vdsoSP", vdso_sp),
    M_FIELD("alllink", next),
};
MS_GO_EXPORT_FIELDS(goroutines, fields)

#define D_FIELD(path, into) MS_GO_FIELD(struct go_stack_layout, "runtime._defer", path, into)
static const struct ms_go_field stack_fields[] = {
    MS_GO_FIELD(struct go_stack_layout, "runtime.g", "sched.ctxt", context),
    MS_GO_FIELD(struct go_stack_layout, "runtime.g", "_defer", defer),
    MS_GO_FIELD(struct go_stack_layout, "runtime.g", "_panic", panic),
    D_FIELD("pc", defer_pc),
    D_FIELD("link", defer_link),
    D_FIELD("heap", defer_heap),
};
MS_GO_EXPORT_FIELDS(stacks, stack_fields)

/* --- threads ------------------------------------------------------------------------------------
 */

/*
 * The thread of an m: by its ID, else (it has another one in its own namespace) by where its
 * thread-local storage is: src/runtime/sys_linux_amd64.s (settls) has it in the m itself.
 */
static const struct ms_thread *thread_of(const struct ms_image *image, uint64_t procid, uint64_t storage)
{
    for (size_t i = 0; i < image->thread_count; i++)
        if ((uint64_t)image->threads[i].tid == procid)
            return &image->threads[i];
    for (size_t i = 0; i < image->thread_count; i++)
        if (image->threads[i].registers_known && image->threads[i].registers[MS_REG_FS_BASE] == storage + 8)
            return &image->threads[i];
    return NULL;
}

/* The part of STACK from its start on that is mapped: a damaged one may claim all there is. */
static struct ms_go_range mapped_part(const struct ms_image *image, struct ms_go_range stack)
{
    uint64_t end = stack.start;
    const struct ms_region *region;
    while (end < stack.end && (region = ms_image_region(image, end)))
        end = region->end;
    return (struct ms_go_range){stack.start, end < stack.end ? end : stack.end};
}

static struct ms_go_range stack_of(const struct ms_go *go, const struct layout *layout, uint64_t g)
{
    struct ms_go_range stack = {0};
    if (!g || !ms_go_get(go, g, layout->lo, &stack.start) || !ms_go_get(go, g, layout->hi, &stack.end) ||
        stack.end < stack.start)
        return (struct ms_go_range){0};
    return mapped_part(go->image, stack);
}

static int by_address(const void *a, const void *b)
{
    const struct go_machine *x = a, *y = b;
    return x->address < y->address ? -1 : x->address > y->address;
}

static ms_result read_machines(struct ms_go_goroutines *all, const struct layout *layout)
{
    struct ms_go *go = all->go;
    uint64_t address = 0, list = ms_go_global(go, "runtime.allm");
    ms_image_read_word(go->image, list, &address);
    struct structure m;
    while (list && read_structure(go, address, layout->machine, &m) &&
           all->reader->machines.count < MACHINES_MOST) {
        struct go_machine *machine = ms_vector_add(&all->reader->machines);
        if (!machine)
            return ms_error_nomem("the threads of the Go scheduler");
        uint64_t procid = field(&m, layout->procid);
        const struct ms_thread *thread = thread_of(go->image, procid, address + layout->tls.offset);
        *machine = (struct go_machine){
            .address = address,
            .current = field(&m, layout->current),
            .vdso_pc = field(&m, layout->vdso_pc),
            .vdso_sp = field(&m, layout->vdso_sp),
            .system = stack_of(go, layout, field(&m, layout->g0)),
            .signal = stack_of(go, layout, field(&m, layout->gsignal)),
            .thread = thread,
            .tid = thread ? thread->tid : (pid_t)procid,
        };
        address = field(&m, layout->next);
    }
    ms_vector_sort(&all->reader->machines, by_address);
    return NULL;
}

const struct go_machine *ms_go_machine(const struct ms_go_goroutines *all, uint64_t address)
{
    struct go_machine key = {.address = address};
    const struct ms_go_stack_reader *reader = all->reader;
    if (!address || !reader->machines.count)
        return NULL;
    return bsearch(&key, reader->machines.items, reader->machines.count, sizeof key, by_address);
}

/* --- states -------------------------------------------------------------------------------------
 */

static const char *const status_texts[] = {
    [MS_GO_IDLE] = "idle",           [MS_GO_RUNNABLE] = "runnable",
    [MS_GO_RUNNING] = "running",     [MS_GO_SYSCALL] = "syscall",
    [MS_GO_WAITING] = "waiting",     [MS_GO_DEAD] = "dead",
    [MS_GO_COPYSTACK] = "copystack", [MS_GO_PREEMPTED] = "preempted",
    [MS_GO_LEAKED] = "leaked",       [MS_GO_DEAD_EXTRA] = "waiting for cgo callback",
};

static const char *status_text(uint8_t status)
{
    const char *text = status < sizeof status_texts / sizeof *status_texts ? status_texts[status] : NULL;
    return text ? text : "???";
}

#define REASON_MOST 64u

/* The runtime's own words, where it says how many they are. */
static void read_reasons(struct ms_go_goroutines *all)
{
    uint64_t size = 0;
    uint64_t strings = ms_symbols_address(all->go->symbols, "runtime.waitReasonStrings", &size);
    for (unsigned i = 0; strings && i < size / 16 && i < 256; i++)
        all->reader->reasons[i] = ms_go_get_string(all->go, strings + 16u * i, REASON_MOST);
}

static const char *reason_text(const struct ms_go_goroutines *all, uint8_t reason)
{
    const char *own = all->reader->reasons[reason];
    return own ? own : ms_go_wait_reason_of(all->go->minor, reason);
}

/* Does the finalizer goroutine call a finalizer? fingRunningFinalizer in fingStatus of
 * src/runtime/mfinal.go; a flag of its own before 1.20. */
static bool finalizer_runs(const struct ms_go *go)
{
    uint8_t status = 0, running = 0;
    uint64_t address = ms_go_global(go, "runtime.fingStatus");
    if (address)
        return ms_image_read(go->image, address, &status, 1) && (status & FINALIZER_RUNS);
    address = ms_go_global(go, "runtime.fingRunning");
    return address && ms_image_read(go->image, address, &running, 1) && running;
}

/* isSystemGoroutine() of src/runtime/traceback.go */
static bool is_system(const struct ms_go_goroutines *all, uint64_t start, bool cleanups)
{
    const struct go_code_point *point = ms_go_code_point(all, start);
    if (!point || !point->function.entry)
        return false;
    switch (point->function.id) {
    case MS_GO_RUNTIME_MAIN:
    case MS_GO_COROSTART:
    case MS_GO_HANDLE_ASYNC_EVENT:
        return false;
    case MS_GO_RUN_FINALIZERS:
        return !finalizer_runs(all->go);
    case MS_GO_RUN_CLEANUPS:
        return !cleanups;
    default:
        return !strncmp(ms_go_function_name(all->functions, &point->function), "runtime.", 8);
    }
}

/* waitReason.isIdleInSynctest(), for reasons that are not called durable themselves. */
static bool is_durable(const char *reason)
{
    static const char *const durable[] = {
        "chan receive (nil chan)",
        "chan send (nil chan)",
        "select (no cases)",
        "sleep",
        "sync.Cond.Wait",
        "coroutine",
        "synctest.Run",
        "synctest.Wait",
    };
    for (size_t i = 0; i < sizeof durable / sizeof *durable; i++)
        if (!strcmp(reason, durable[i]))
            return true;
    return false;
}

/* --- all of them --------------------------------------------------------------------------------
 */

static void read_goroutine(const struct ms_go_goroutines *all, const struct layout *layout,
                           const struct structure *g, struct ms_go_goroutine *goroutine)
{
    const struct ms_go *go = all->go;
    goroutine->id = field(g, layout->id);
    goroutine->parent = field(g, layout->parent);
    goroutine->locked = field(g, layout->locked) != 0;
    goroutine->created_at = field(g, layout->created);
    goroutine->start = field(g, layout->start);
    goroutine->labels = field(g, layout->labels);
    goroutine->waiting = field(g, layout->waiting);
    goroutine->stack.start = field(g, layout->lo);
    goroutine->stack.end = field(g, layout->hi);
    goroutine->stack = mapped_part(go->image, goroutine->stack);
    goroutine->machine = field(g, layout->m);
    goroutine->system = is_system(all, goroutine->start, field(g, layout->cleanups) & 0xff);
    goroutine->syscall = field(g, layout->syscall_sp) != 0;
    goroutine->pc = field(g, goroutine->syscall ? layout->syscall_pc : layout->sched_pc);
    goroutine->sp = field(g, goroutine->syscall ? layout->syscall_sp : layout->sched_sp);
    uint64_t bubble = field(g, layout->bubble);
    if (bubble)
        ms_go_get(go, bubble, layout->bubble_id, &goroutine->bubble);

    goroutine->state = status_text(goroutine->status);
    uint8_t reason = (uint8_t)field(g, layout->reason);
    bool waits = goroutine->status == MS_GO_WAITING || goroutine->status == MS_GO_LEAKED;
    if (waits && reason)
        goroutine->state = goroutine->wait_reason = reason_text(all, reason);
    goroutine->durable = bubble && goroutine->wait_reason && is_durable(goroutine->wait_reason);
    uint64_t since = field(g, layout->since), now = go->image->taken_ns;
    if ((goroutine->status == MS_GO_WAITING || goroutine->status == MS_GO_SYSCALL) && since && since < now)
        goroutine->waited_ns = now - since;
    const struct go_machine *machine = ms_go_machine(all, goroutine->machine);
    if (machine && (goroutine->status == MS_GO_RUNNING || goroutine->status == MS_GO_SYSCALL))
        goroutine->tid = machine->tid;
}

static int by_id(const void *a, const void *b)
{
    const struct ms_go_goroutine *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static ms_result add_goroutine(struct ms_go_goroutines *all, const struct layout *layout, uint64_t address)
{
    struct structure g;
    if (!read_structure(all->go, address, layout->self, &g)) {
        all->unreadable++;
        return NULL;
    }
    uint32_t status = (uint32_t)field(&g, layout->status);
    if ((status & ~SCAN_BIT) == MS_GO_DEAD || (status & ~SCAN_BIT) == MS_GO_DEAD_EXTRA)
        return NULL;
    struct ms_go_goroutine *goroutine = ms_vector_add(&all->list);
    if (!goroutine)
        return ms_error_nomem("the goroutines");
    goroutine->address = address;
    goroutine->status = (uint8_t)(status & ~SCAN_BIT);
    goroutine->scanned = status & SCAN_BIT;
    read_goroutine(all, layout, &g, goroutine);
    return NULL;
}

#define CHUNK 512u

static ms_result no_list(const struct ms_go *go)
{
    return ms_error(MS_TARGET, "%s: the list of goroutines of this %s program is not to be had", go->image->origin,
                    go->version);
}

static ms_result read_goroutines(struct ms_go_goroutines *all, const struct layout *layout)
{
    struct ms_go *go = all->go;
    uint64_t list = ms_go_global(go, "runtime.allgs"), slice[2];
    if (!list || !ms_image_read(go->image, list, slice, sizeof slice) || slice[1] > GOROUTINES_MOST)
        return no_list(go);
    for (uint64_t i = 0; i < slice[1];) {
        uint64_t addresses[CHUNK];
        size_t count = slice[1] - i < CHUNK ? (size_t)(slice[1] - i) : CHUNK;
        if (!ms_image_read(go->image, slice[0] + 8 * i, addresses, count * sizeof *addresses)) {
            all->unreadable += slice[1] - i;
            break;
        }
        for (size_t k = 0; k < count; k++)
            MS_TRY(add_goroutine(all, layout, addresses[k]));
        i += count;
    }
    ms_vector_sort(&all->list, by_id);
    return NULL;
}

static ms_result fill(struct ms_go_goroutines *all)
{
    struct layout layout;
    MS_TRY(ms_go_bind(all->go, fields, sizeof fields / sizeof *fields, &layout));
    MS_TRY(ms_go_bind(all->go, stack_fields, sizeof stack_fields / sizeof *stack_fields, &all->reader->layout));
    read_reasons(all);
    MS_TRY(read_machines(all, &layout));
    return read_goroutines(all, &layout);
}

/* --- what an image needs of them ----------------------------------------------------------------
 */

/* In the stop most of it is kept already, because it was there before. */
static ms_result need(const struct ms_go *go, struct ms_spans *spans, uint64_t start, uint64_t size)
{
    const struct ms_region *region = ms_image_region(go->image, start);
    if (region && region->surveyed && size <= region->end - start)
        return NULL;
    struct ms_span *span = ms_vector_add(&spans->list);
    if (!span)
        return ms_error_nomem("the goroutines");
    *span = (struct ms_span){.start = start, .end = start + size > start ? start + size : start};
    return NULL;
}

/* The part of its stack that is in use; all of it when it runs. */
static struct ms_go_range used_stack(const struct layout *layout, const struct structure *g)
{
    struct ms_go_range stack = {field(g, layout->lo), field(g, layout->hi)};
    const uint64_t sp = field(g, layout->sched_sp), syscall_sp = field(g, layout->syscall_sp);
    const uint64_t low = syscall_sp && syscall_sp < sp ? syscall_sp : sp;
    if (!field(g, layout->m) && low >= stack.start && low < stack.end)
        stack.start = low;
    return stack;
}

/* Its stack and its labels, which many have in common with the one BEFORE. */
static ms_result need_of_goroutine(struct ms_go *go, const struct layout *layout, const struct structure *g,
                                   struct ms_spans *spans, uint64_t *labels_before)
{
    const struct ms_go_range stack = used_stack(layout, g);
    const uint32_t status = (uint32_t)field(g, layout->status) & ~SCAN_BIT;
    const uint64_t labels_at = field(g, layout->labels), bubble = field(g, layout->bubble);
    uint64_t value;
    if (status == MS_GO_DEAD || status == MS_GO_DEAD_EXTRA || stack.end <= stack.start)
        return NULL;
    MS_TRY(need(go, spans, stack.start, stack.end - stack.start));
    if (bubble)
        ms_go_get(go, bubble, layout->bubble_id, &value);
    if (!labels_at || labels_at == *labels_before)
        return NULL;
    struct ms_go_labels labels;
    const struct ms_go_goroutines all = {.go = go};
    const struct ms_go_goroutine goroutine = {.labels = labels_at};
    MS_TRY(ms_go_labels_read(&all, &goroutine, &labels));
    ms_go_labels_free(&labels);
    *labels_before = labels_at;
    return NULL;
}

/* Many at once, of a process that runs; one by one from what is kept. */
static void read_many(const struct ms_go *go, const uint64_t *addresses, size_t count, bool running,
                      struct structure *gs, struct ms_live_piece *pieces)
{
    for (size_t i = 0; i < count; i++) {
        pieces[i] = (struct ms_live_piece){.address = addresses[i], .buffer = gs[i].bytes, .size = gs[i].size};
        if (!running)
            pieces[i].had = ms_image_read(go->image, addresses[i], gs[i].bytes, gs[i].size);
    }
    if (running)
        ms_live_read(go->image, pieces, count);
}

static ms_result need_goroutines(struct ms_go *go, const struct layout *layout, bool running, struct structure *gs,
                                 struct ms_live_piece *pieces, struct ms_spans *spans)
{
    uint64_t list = ms_go_global(go, "runtime.allgs"), slice[2], labels = 0;
    if (!list || !ms_image_read(go->image, list, slice, sizeof slice) || slice[1] > GOROUTINES_MOST)
        return no_list(go);
    MS_TRY(need(go, spans, slice[0], 8 * slice[1]));
    for (uint64_t i = 0; i < slice[1];) {
        uint64_t addresses[CHUNK];
        size_t count = slice[1] - i < CHUNK ? (size_t)(slice[1] - i) : CHUNK;
        if (!ms_image_read(go->image, slice[0] + 8 * i, addresses, count * sizeof *addresses))
            return running ? no_list(go) : NULL; /* in the stop it has to do */
        for (size_t k = 0; k < count; k++)
            gs[k].size = layout->self.size < STRUCTURE_MOST ? layout->self.size : STRUCTURE_MOST;
        read_many(go, addresses, count, running, gs, pieces);
        for (size_t k = 0; k < count; k++) {
            MS_TRY(need(go, spans, addresses[k], gs[k].size));
            if (pieces[k].had)
                MS_TRY(need_of_goroutine(go, layout, &gs[k], spans, &labels));
        }
        i += count;
    }
    return NULL;
}

/* Reads what read_machines() will read. */
static ms_result need_machines(struct ms_go *go, const struct layout *layout, struct ms_spans *spans)
{
    uint64_t address = 0, list = ms_go_global(go, "runtime.allm");
    struct structure m;
    ms_image_read_word(go->image, list, &address);
    for (unsigned i = 0; list && i < MACHINES_MOST && read_structure(go, address, layout->machine, &m); i++) {
        stack_of(go, layout, field(&m, layout->g0));
        const struct ms_go_range signal = stack_of(go, layout, field(&m, layout->gsignal));
        MS_TRY(need(go, spans, signal.start, signal.end - signal.start));
        address = field(&m, layout->next);
    }
    return NULL;
}

ms_result ms_go_goroutines_need(struct ms_go *go, bool running, struct ms_spans *spans)
{
    struct layout layout;
    MS_TRY(ms_go_bind(go, fields, sizeof fields / sizeof *fields, &layout));
    ms_auto_free struct structure *gs = calloc(CHUNK, sizeof *gs);
    ms_auto_free struct ms_live_piece *pieces = calloc(CHUNK, sizeof *pieces);
    if (!gs || !pieces)
        return ms_error_nomem("the goroutines");
    MS_TRY(need_machines(go, &layout, spans));
    return need_goroutines(go, &layout, running, gs, pieces, spans);
}

ms_result ms_go_goroutines_new(struct ms_go *go, struct ms_go_functions *functions, struct ms_go_goroutines **out)
{
    *out = NULL;
    struct ms_go_goroutines *all = calloc(1, sizeof *all);
    struct ms_go_stack_reader *reader = calloc(1, sizeof *reader);
    if (!all || !reader) {
        free(all);
        free(reader);
        return ms_error_nomem("the goroutines");
    }
    *all = (struct ms_go_goroutines){.go = go, .functions = functions, .reader = reader};
    struct ms_error *error = fill(all);
    if (error) {
        ms_go_goroutines_free(all);
        return error;
    }
    *out = all;
    return NULL;
}

void ms_go_goroutines_free(struct ms_go_goroutines *all)
{
    if (!all)
        return;
    struct ms_go_stack_reader *reader = all->reader;
    ms_vector_free(&reader->machines);
    for (size_t i = 0; i < reader->point_room; i++)
        free(reader->points[i]);
    free(reader->points);
    for (size_t i = 0; i < 256; i++)
        free(reader->reasons[i]);
    free(reader);
    ms_vector_free(&all->list);
    free(all);
}
