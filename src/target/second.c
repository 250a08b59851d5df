/* A second thread that stands ready for work in the stop. */
#include "second.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "freeze.h"

/* One piece of work often follows another at once: to sleep between them takes longer. */
#define PATIENCE_NS 100000u
#define STACK_BYTES (512u << 10) /* address space may be short */
#define AWAKE_NS    100000000u

enum { IDLE, ASKED, TAKEN };

static void await(sem_t *semaphore)
{
    uint64_t end = 0;
    for (unsigned tries = 1; sem_trywait(semaphore) != 0; tries++) {
        __builtin_ia32_pause();
        if (tries % 64)
            continue;
        uint64_t now = ms_now_ns();
        end = end ? end : now + PATIENCE_NS;
        if (now < end)
            continue;
        while (sem_wait(semaphore) != 0 && errno == EINTR)
            ;
        return;
    }
}

/* Who is first: the thread, or who asked it? */
static bool take(struct ms_second *second)
{
    int asked = ASKED;
    return atomic_compare_exchange_strong(&second->state, &asked, TAKEN);
}

static void *run(void *argument)
{
    struct ms_second *second = argument;
    atomic_store(&second->tid, (int)syscall(SYS_gettid));
    for (;;) {
        await(&second->asked);
        if (!take(second))
            continue;
        if (!second->work)
            return NULL;
        second->work(second->argument);
        sem_post(&second->done);
    }
}

void ms_second_start(struct ms_second *second)
{
    cpu_set_t cpus;
    *second = (struct ms_second){.there = false};
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) < 2)
        return;
    sem_init(&second->asked, 0, 0);
    sem_init(&second->done, 0, 0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    second->there = pthread_create(&second->thread, &attributes, run, second) == 0;
    pthread_attr_destroy(&attributes);
}

void ms_second_raise(struct ms_second *second)
{
    const struct sched_param param = {.sched_priority = 1};
    pid_t tid = atomic_load(&second->tid);
    if (second->there && pthread_setschedparam(second->thread, SCHED_FIFO, &param) != 0 && tid)
        setpriority(PRIO_PROCESS, (id_t)tid, -20);
}

static void ask(struct ms_second *second, void (*work)(void *argument), void *argument)
{
    second->work = work;
    second->argument = argument;
    atomic_store(&second->state, ASKED);
    sem_post(&second->asked);
}

void ms_second_ask(struct ms_second *second, void (*work)(void *argument), void *argument)
{
    if (second->there)
        ask(second, work, argument);
    else
        work(argument);
}

void ms_second_await(struct ms_second *second)
{
    if (!second->there)
        return;
    if (take(second))
        second->work(second->argument);
    else
        await(&second->done);
}

static void stay_awake(void *argument)
{
    const struct ms_second *second = argument;
    const uint64_t end = ms_now_ns() + AWAKE_NS;
    for (unsigned turns = 1; atomic_load(&second->awake) && (turns % 1024 || ms_now_ns() < end);
         turns++)
        __builtin_ia32_pause();
}

void ms_second_stay_awake(struct ms_second *second)
{
    if (!second->there)
        return;
    atomic_store(&second->awake, true);
    ask(second, stay_awake, second);
}

void ms_second_rest(struct ms_second *second)
{
    if (!second->there)
        return;
    atomic_store(&second->awake, false);
    ms_second_await(second);
}

void ms_second_end(struct ms_second *second)
{
    if (!second->there)
        return;
    ask(second, NULL, NULL);
    pthread_join(second->thread, NULL);
    sem_destroy(&second->asked);
    sem_destroy(&second->done);
    second->there = false;
}
