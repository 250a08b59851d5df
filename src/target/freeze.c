/* Stopping all threads of a process with PTRACE_SEIZE and PTRACE_INTERRUPT, and letting them go on. */
#include "freeze.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"

#define TID_LIMIT (1u << 22)              /* PID_MAX_LIMIT, include/linux/threads.h */
#define XSTATE_LIMIT (64u * 1024)         /* more than any CPU's XSAVE area */
#define XSTATE_USUAL 2816u                /* with AVX-512 and protection keys */
#define BLOCKED_PATIENCE_NS 200000000ull  /* how long D state (disk, NFS) is waited for … */
#define BLOCKED_BRIEF_NS 5000000ull       /* … when another stop may find it better */
/* A thread that sleeps takes about so long to stop, with two CPUs: for many we sleep so long at once. */
#define STOP_NS          1500
#define MANY             64u
#define MANY_AT_MOST     10000u
#define STOP_PATIENCE_NS 10000000000ull   /* how long a runnable thread may take to stop */

_Static_assert(sizeof(struct user_regs_struct) == MS_REGISTERS * 8, "sys/user.h of x86-64");

uint64_t ms_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void ms_raise_priority(void)
{
    /* Threads that the caller makes inherit it: a worker that starts in the stop must not wait for a CPU. */
    struct sched_param param = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), -20);
}

static void nap(long nanoseconds)
{
    nanosleep(&(struct timespec){0, nanoseconds}, NULL);
}

static bool first_sight(struct ms_freeze *freeze, pid_t tid)
{
    if ((unsigned)tid >= TID_LIMIT)
        return false;
    uint64_t bit = 1ull << (tid & 63), *word = &freeze->seen[tid >> 6];
    bool first = !(*word & bit);
    *word |= bit;
    return first;
}

static void unsee(struct ms_freeze *freeze, pid_t tid)
{
    if ((unsigned)tid < TID_LIMIT)
        freeze->seen[tid >> 6] &= ~(1ull << (tid & 63));
}

/* Seizes every thread not seen yet; FOUND counts them. */
static struct ms_error *seize_new(const struct ms_image *image, struct ms_freeze *freeze,
                                  struct ms_tids *tids, size_t *found)
{
    *found = 0;
    MS_TRY(ms_proc_tasks(image->source, tids));
    for (size_t i = 0; i < tids->list.count; i++) {
        pid_t tid = tids->list.items[i];
        if (!first_sight(freeze, tid))
            continue;
        if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0) {
            int why = errno;
            char state = ms_proc_state(tid);
            if (why == ESRCH || state == 'Z' || state == 'X' || state == 0)
                continue; /* it is ending */
            return ms_proc_diagnose(tid, why);
        }
        struct ms_frozen *thread = ms_vector_add(&freeze->threads);
        if (!thread)
            return ms_error_nomem("the list of threads"); /* the tracer's end lets TID go */
        *thread = (struct ms_frozen){.tid = tid, .state = MS_SEIZED};
        ++*found;
    }
    return NULL;
}

/* Many stop one after another, on the CPUs that we leave to them. */
static void interrupt(struct ms_freeze *freeze)
{
    size_t asked = 0;
    const bool many = freeze->threads.count >= MANY;
    if (many)
        ms_second_stay_awake(freeze->second);
    for (size_t i = 0; i < freeze->threads.count; i++) {
        struct ms_frozen *thread = &freeze->threads.items[i];
        if (thread->state != MS_SEIZED)
            continue;
        if (!freeze->interrupt_ns)
            freeze->interrupt_ns = ms_now_ns();
        thread->state = ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) == 0 ? MS_ASKED : MS_GONE;
        asked++;
    }
    if (many)
        ms_second_rest(freeze->second);
    if (asked >= MANY)
        nap((long)(asked < MANY_AT_MOST ? asked : MANY_AT_MOST) * STOP_NS);
}

/* Takes a wait status: what has become of the thread. */
static void settle(struct ms_frozen *thread, int status)
{
    if (!WIFSTOPPED(status)) {
        thread->state = MS_GONE;
        return;
    }
    thread->state = MS_STOPPED;
    /* PTRACE_EVENT_STOP has its event in bits 16 and up; else it is a signal to be delivered. */
    bool event = status >> 16;
    thread->signal = event ? 0 : WSTOPSIG(status);
    thread->halted = event && WSTOPSIG(status) != SIGTRAP;
}

/* System call, stack pointer and program counter of a blocked thread; false when it is running. */
static bool blocked_in(pid_t tid, long *number, uint64_t arguments[6], uint64_t *sp, uint64_t *pc)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/syscall", tid);
    ms_auto_free char *text = ms_proc_read(AT_FDCWD, name, NULL);
    if (!text)
        return false;
    int fields = sscanf(text, "%ld %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
                        " %" SCNx64 " %" SCNx64, number, &arguments[0], &arguments[1], &arguments[2],
                        &arguments[3], &arguments[4], &arguments[5], sp, pc);
    return fields == 9;
}

/* A vfork parent cannot be interrupted until its child calls exec or exit. */
static bool in_vfork(pid_t tid)
{
    long number;
    uint64_t arguments[6], sp, pc;
    return blocked_in(tid, &number, arguments, &sp, &pc) &&
           (number == SYS_vfork || number == SYS_clone || number == SYS_clone3);
}

/* Waits for one thread that was interrupted; for PATIENCE when it is blocked in the kernel, BLOCKED says that it was. */
static struct ms_error *await(struct ms_frozen *thread, uint64_t patience, bool *blocked)
{
    uint64_t begin = 0;
    *blocked = false;
    for (unsigned tries = 0;; tries++) {
        int status;
        pid_t got = waitpid(thread->tid, &status, __WALL | WNOHANG);
        if (got == thread->tid) {
            settle(thread, status);
            return NULL;
        }
        if (got < 0 && errno != EINTR) {
            thread->state = MS_GONE; /* ECHILD: another thread's exec took its place */
            return NULL;
        }
        uint64_t now = ms_now_ns();
        begin = begin ? begin : now;
        if (tries >= 8) { /* most stop at once; then it is worth the reading to see what holds it */
            char state = ms_proc_state(thread->tid);
            if (state == 'Z' || state == 'X' || state == 0) {
                thread->state = MS_GONE;
                return NULL;
            }
            const bool vfork = state == 'D' && in_vfork(thread->tid);
            if (vfork || (state == 'D' && now - begin > patience)) {
                thread->state = MS_STUCK;
                *blocked = !vfork;
                return NULL;
            }
            if (now - begin > STOP_PATIENCE_NS)
                return ms_error(MS_TARGET,
                                "thread %d does not stop (state %c); is the machine overloaded?",
                                thread->tid, state);
        }
        /* Still shorter ones would starve what is to stop on our CPU. */
        nap(tries < 8 ? 30000 : tries < 64 ? 100000 : 1000000);
    }
}

/* Do all threads stand still? A directory has two links and one for each directory in it: a thread. */
static bool has_all(const struct ms_image *image, const struct ms_freeze *freeze)
{
    size_t stopped = 0;
    for (size_t i = 0; i < freeze->threads.count; i++)
        stopped += freeze->threads.items[i].state == MS_STOPPED;
    struct stat task;
    return stopped && fstatat(image->source->proc_fd, "task", &task, 0) == 0 &&
           task.st_nlink == stopped + 2;
}

static struct ms_error *stop_all(const struct ms_image *image, struct ms_freeze *freeze, struct ms_tids *tids)
{
    size_t found, waited = 0;
    do {
        MS_TRY(seize_new(image, freeze, tids, &found));
        interrupt(freeze);
        /* The last one first: when that stands most others do, and are not asked in vain. */
        const size_t count = freeze->threads.count;
        for (size_t left = count; left-- > waited;) {
            struct ms_frozen *thread = &freeze->threads.items[left];
            bool blocked = false;
            if (thread->state == MS_ASKED)
                MS_TRY(await(thread, freeze->brief ? BLOCKED_BRIEF_NS : BLOCKED_PATIENCE_NS, &blocked));
            if (blocked && freeze->brief) {
                freeze->blocked = thread->tid;
                return NULL;
            }
            /* After an exec the leader's number may live on in another thread. */
            if (thread->state == MS_GONE)
                unsee(freeze, thread->tid);
        }
        waited = count;
    } while (found && !has_all(image, freeze));
    for (size_t i = 0; i < freeze->threads.count; i++)
        if (freeze->threads.items[i].state != MS_GONE)
            return NULL;
    return ms_proc_ended(image->pid);
}

ms_result ms_freeze_start(const struct ms_image *image, struct ms_second *second, bool brief,
                          struct ms_freeze *freeze)
{
    *freeze = (struct ms_freeze){.second = second, .brief = brief};
    freeze->seen = calloc(TID_LIMIT / 64, sizeof(uint64_t));
    if (!freeze->seen)
        return ms_error_nomem("the list of threads");
    struct ms_tids tids = {{0}};
    struct ms_error *error = stop_all(image, freeze, &tids);
    ms_vector_free(&tids.list);
    if (error)
        ms_freeze_end(freeze);
    return error;
}

void ms_freeze_end(struct ms_freeze *freeze)
{
    const bool many = freeze->threads.count >= MANY;
    if (many)
        ms_second_stay_awake(freeze->second);
    for (size_t i = 0; i < freeze->threads.count; i++) {
        struct ms_frozen *thread = &freeze->threads.items[i];
        int status;
        if (thread->state == MS_ASKED && waitpid(thread->tid, &status, __WALL | WNOHANG) == thread->tid)
            settle(thread, status);
        if (thread->state == MS_STOPPED)
            ptrace(PTRACE_DETACH, thread->tid, 0, thread->signal);
        /* Others are not stopped, so they cannot be detached: the end of our thread does it. */
    }
    freeze->release_ns = ms_now_ns();
    if (many)
        ms_second_rest(freeze->second);
    ms_vector_free(&freeze->threads);
    free(freeze->seen);
    freeze->seen = NULL;
}

/* Both lists are in order of creation, so the search goes on where the last one ended. */
static const struct ms_thread *known_thread(const struct ms_image *image, pid_t tid, size_t *from)
{
    for (size_t i = 0; i < image->thread_count; i++) {
        size_t at = (*from + i) % image->thread_count;
        if (image->threads[at].tid == tid) {
            *from = at + 1;
            return &image->threads[at];
        }
    }
    return NULL;
}

/* USED: bytes of the image's room for vector registers that are taken. */
static void get_registers(struct ms_thread *thread, const struct ms_reserve *room, size_t *used)
{
    struct iovec general = {thread->registers, sizeof thread->registers};
    thread->registers_known =
        ptrace(PTRACE_GETREGSET, thread->tid, (void *)NT_PRSTATUS, &general) == 0;
    if (room->size - *used < XSTATE_LIMIT)
        return;
    uint8_t *to = room->base + *used;
    struct iovec vector = {to, XSTATE_LIMIT};
    if (ptrace(PTRACE_GETREGSET, thread->tid, (void *)NT_X86_XSTATE, &vector) != 0) {
        vector = (struct iovec){to, XSTATE_LIMIT};
        if (ptrace(PTRACE_GETREGSET, thread->tid, (void *)NT_FPREGSET, &vector) != 0)
            return;
    }
    thread->xstate = to;
    thread->xstate_size = vector.iov_len;
    *used += (vector.iov_len + 63) & ~(size_t)63;
}

ms_result ms_freeze_prepare(struct ms_image *image, size_t threads)
{
    struct ms_reserve *room = &image->source->xstates;
    ms_reserve_free(room);
    MS_TRY(ms_reserve(room, (2 * threads + 64) * XSTATE_LIMIT, "the registers"));
    ms_reserve_populate(room, 0, threads * XSTATE_USUAL);
    return NULL;
}

/* What can be known of a thread that did not stop. */
static void guess_registers(struct ms_thread *thread)
{
    static const int argument_register[6] = {14, 13, 12, 7, 9, 8}; /* rdi rsi rdx r10 r8 r9 */
    long number;
    uint64_t arguments[6], sp, pc;
    thread->registers_known = false;
    if (!blocked_in(thread->tid, &number, arguments, &sp, &pc))
        return;
    for (int i = 0; i < 6; i++)
        thread->registers[argument_register[i]] = arguments[i];
    thread->registers[MS_REG_RSP] = sp;
    thread->registers[MS_REG_RIP] = pc;
}

ms_result ms_freeze_registers(struct ms_freeze *freeze, struct ms_image *image)
{
    size_t count = freeze->threads.count, used = 0, from = 0;
    struct ms_thread *threads = calloc(count ? count : 1, sizeof *threads);
    if (!threads)
        return ms_error_nomem("the registers");
    size_t room_used = 0;
    freeze->stuck = 0;
    image->halted = true;
    for (size_t i = 0; i < count; i++) {
        const struct ms_frozen *frozen = &freeze->threads.items[i];
        if (frozen->state != MS_STOPPED && frozen->state != MS_STUCK)
            continue;
        struct ms_thread *thread = &threads[used++];
        image->halted &= frozen->halted;
        const struct ms_thread *known = known_thread(image, frozen->tid, &from);
        thread->tid = frozen->tid;
        if (known) {
            memcpy(thread->name, known->name, sizeof thread->name);
            thread->state = known->state;
        }
        if (frozen->state == MS_STOPPED)
            get_registers(thread, &image->source->xstates, &room_used);
        else
            guess_registers(thread), freeze->stuck++;
    }
    free(image->threads);
    image->threads = threads;
    image->thread_count = used;
    return NULL;
}

void ms_freeze_warn(const struct ms_freeze *freeze, struct ms_image *image)
{
    if (freeze->stuck)
        ms_image_warn(image,
                      "%zu of %zu threads could not be stopped (vfork, or blocked in the kernel):"
                      " a block that only their registers rbx, rbp, r12-r15 hold would look lost",
                      freeze->stuck, image->thread_count);
}
