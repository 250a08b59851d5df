/* Stacks of children that know their own: addresses of calls and locals, signals, threads, bad stacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memscope/capture.h"
#include "memscope/frames.h"

#define DEEP 40u
/* The sanitizers move locals to where debug information does not follow them. */
#define noinline __attribute__((noinline, no_sanitize("address", "undefined")))

/* What the child writes down for us, in memory that is shared. */
struct truth {
    struct {
        uint64_t back; /* return address */
        uint64_t local, parameter;
    } calls[DEEP];
    uint64_t outer, outer_local;
    pid_t tid;
    volatile int ready;
};
static struct truth *truth;

struct pair {
    long first, second;
};

/* Too big for registers: the caller puts it on the stack. */
struct given {
    long level, more[3];
};

struct world {
    struct ms_image *image;
    struct ms_symbols *symbols;
    struct ms_types *types;
    struct ms_stack stack;
};

static uint64_t here(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static noinline void rest(void)
{
    truth->tid = (pid_t)syscall(SYS_gettid);
    truth->ready = 1;
    while (truth->ready)
        pause();
}

/* The deepest of DEEP calls waits. */
static noinline long descend(struct given given)
{
    struct pair kept = {given.level, 2 * given.level};
    truth->calls[given.level].back = here(__builtin_return_address(0));
    truth->calls[given.level].local = here(&kept);
    truth->calls[given.level].parameter = here(&given);
    if (given.level == 0)
        rest();
    else
        kept.first += descend((struct given){given.level - 1, {0}});
    return kept.first + kept.second;
}

static noinline void start_descent(void)
{
    long outer_local = 77;
    truth->outer = here(__builtin_return_address(0));
    truth->outer_local = here(&outer_local);
    outer_local += descend((struct given){DEEP - 1, {0}});
    if (outer_local == 1)
        abort();
}

static void open_child(struct world *w, pid_t child, bool full)
{
    struct ms_capture_options capture = {.want = full ? MS_WANT_FULL : MS_WANT_LEAN};
    struct ms_symbols_options options = {0};
    while (!truth->ready) {
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0); /* it is still there */
        usleep(1000);
    }
    usleep(20000); /* until it sleeps */
    struct ms_error *error = ms_capture(child, &capture, &w->image);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0); /* from here on there is no process */
    if (error)
        fail_msg("%s", error->message);
    assert_null(ms_symbols_new(w->image, &options, &w->symbols));
    assert_null(ms_types_new(w->symbols, w->image, NULL, NULL, &w->types));
}

static void unwind(struct world *w)
{
    const struct ms_thread *thread = NULL;
    for (size_t i = 0; i < w->image->thread_count; i++)
        if (w->image->threads[i].tid == truth->tid)
            thread = &w->image->threads[i];
    assert_non_null(thread);
    assert_null(ms_unwind(w->types, thread, true, &w->stack));
}

static void close_world(struct world *w)
{
    ms_stack_free(&w->stack);
    ms_types_free(w->types);
    ms_symbols_free(w->symbols);
    ms_image_free(w->image);
}

/* A child that runs BODY; what it has is in W. */
static void run(struct world *w, void (*body)(void))
{
    *w = (struct world){0};
    memset(truth, 0, sizeof *truth);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        body();
        _exit(1);
    }
    open_child(w, child, true);
    unwind(w);
}

static size_t frame_of(const struct ms_stack *stack, const char *function)
{
    for (size_t i = 0; i < stack->frames.count; i++)
        if (stack->frames.items[i].function && !strcmp(stack->frames.items[i].function, function))
            return i;
    fail_msg("no frame of %s", function);
    return 0;
}

static const struct ms_local *local_of(const struct ms_frame *frame, const char *name)
{
    for (size_t i = 0; i < frame->locals.count; i++)
        if (!strcmp(frame->locals.items[i].name, name))
            return &frame->locals.items[i];
    fail_msg("no local %s in %s", name, frame->function);
    return NULL;
}

/* The calls of descend() from FRAME on are those that the child has written down. */
static void check_descent(const struct ms_stack *stack, size_t frame)
{
    assert_true(frame + DEEP < stack->frames.count);
    for (unsigned i = 0; i < DEEP; i++) {
        const struct ms_frame *f = &stack->frames.items[frame + i];
        assert_string_equal(f->function, "descend");
        assert_string_equal(f->file, "test_frames.c");
        assert_true(f->line > 0);
        assert_int_equal(f[1].pc, truth->calls[i].back);
        assert_int_equal(f[1].sp, f->cfa);
        const struct ms_local *kept = local_of(f, "kept"), *given = local_of(f, "given");
        assert_int_equal(kept->address, truth->calls[i].local);
        assert_string_equal(kept->type->name, "struct pair");
        assert_int_equal(kept->type->size, sizeof(struct pair));
        assert_false(kept->parameter);
        assert_int_equal(given->address, truth->calls[i].parameter);
        assert_int_equal(given->type->size, sizeof(struct given));
        assert_true(given->parameter);
        struct ms_local_place place = ms_local_at(stack, truth->calls[i].local + 8);
        assert_ptr_equal(place.local, kept);
        assert_int_equal(place.frame, frame + i);
        assert_int_equal(place.offset, 8);
        assert_int_equal(ms_frame_at(stack, truth->calls[i].local), frame + i);
    }
    const struct ms_frame *outer = &stack->frames.items[frame + DEEP];
    assert_string_equal(outer->function, "start_descent");
    assert_int_equal(local_of(outer, "outer_local")->address, truth->outer_local);
    assert_int_equal(outer[1].pc, truth->outer);
}

static void test_descent(void **state)
{
    (void)state;
    struct world w;
    run(&w, start_descent);
    assert_true(w.stack.complete);
    assert_string_equal(w.stack.frames.items[frame_of(&w.stack, "main")].file, "test_frames.c");
    check_descent(&w.stack, frame_of(&w.stack, "descend"));
    assert_int_equal(ms_frame_at(&w.stack, UINT64_MAX - 100), w.stack.frames.count);
    close_world(&w);
}

/* --- signals ----------------------------------------------------------------------------------- */

static void handler(int number)
{
    start_descent();
    truth->ready = number; /* no tail call */
}

static noinline void with_signal(void)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    stack_t stack = {.ss_sp = malloc(1 << 20), .ss_size = 1 << 20};
    if (!stack.ss_sp || sigaltstack(&stack, NULL) != 0)
        return;
    sigaction(SIGILL, &action, NULL);
    __asm__ volatile("ud2"); /* the signal comes at an instruction, not behind a call */
}

/* A handler on a stack of its own, and what it interrupted. */
static void test_signal(void **state)
{
    (void)state;
    struct world w;
    run(&w, with_signal);
    assert_true(w.stack.complete);
    check_descent(&w.stack, frame_of(&w.stack, "descend"));
    size_t handled = frame_of(&w.stack, "handler"), hit = frame_of(&w.stack, "with_signal");
    assert_int_equal(hit, handled + 2);
    const struct ms_local *stack = local_of(&w.stack.frames.items[hit], "stack");
    uint64_t low = 0;
    assert_true(ms_image_read_word(w.image, stack->address, &low)); /* ss_sp */
    assert_in_range(w.stack.frames.items[handled].sp, low, low + (1 << 20));
    close_world(&w);
}

/* --- threads ----------------------------------------------------------------------------------- */

static void *thread_main(void *argument)
{
    start_descent();
    return argument;
}

static void with_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_main, NULL) == 0)
        pthread_join(thread, NULL);
}

static void test_thread(void **state)
{
    (void)state;
    struct world w;
    run(&w, with_thread);
    assert_true(w.stack.complete);
    check_descent(&w.stack, frame_of(&w.stack, "descend"));
    frame_of(&w.stack, "thread_main");
    close_world(&w);
}

/* --- registers --------------------------------------------------------------------------------- */

/* What a caller has in registers that calls preserve, which functions further in save. */
static noinline void with_registers(void)
{
    register uint64_t kept __asm__("rbx") = 0x1122334455667788;
    register uint64_t other __asm__("r12") = 0x99aabbccddeeff;
    __asm__ volatile("" : "+r"(kept), "+r"(other));
    start_descent();
    __asm__ volatile("" : "+r"(kept), "+r"(other));
}

static void test_registers(void **state)
{
    (void)state;
    struct world w;
    uint64_t word;
    run(&w, with_registers);
    const struct ms_frame *frame = &w.stack.frames.items[frame_of(&w.stack, "with_registers")];
    const char *const names[] = {"kept", "other"};
    const uint64_t values[] = {0x1122334455667788, 0x99aabbccddeeff};
    for (unsigned i = 0; i < 2; i++) {
        const struct ms_local *local = local_of(frame, names[i]);
        assert_true(local->valued);
        assert_int_equal(local->value, values[i]);
        assert_int_equal(local->address, 0);
        assert_true(local->reg >= 0);
        assert_true(local->live != (local->saved != 0)); /* in either place */
        if (local->saved) {
            assert_true(ms_image_read_word(w.image, local->saved, &word));
            assert_int_equal(word, values[i]);
            assert_ptr_equal(ms_local_at(&w.stack, local->saved).local, local);
        }
    }
    close_world(&w);
}

/* --- bad stacks -------------------------------------------------------------------------------- */

/* A thread whose registers are anything: an end, and no crash. */
static void test_garbage(void **state)
{
    (void)state;
    struct world w;
    run(&w, start_descent);
    struct ms_thread thread = w.image->threads[0];
    unsigned seed = 1;
    for (unsigned i = 0; i < 3000; i++) {
        struct ms_thread broken = thread;
        struct ms_stack stack;
        uint64_t *registers = broken.registers;
        const struct ms_region *region = &w.image->regions[rand_r(&seed) % w.image->region_count];
        uint64_t anywhere = region->start + (unsigned)rand_r(&seed) % (region->end - region->start);
        switch (i % 4) {
        case 0: registers[MS_REG_RIP] = anywhere; break;
        case 1: registers[MS_REG_RSP] += (uint64_t)(rand_r(&seed) % 4096) - 2048; break;
        case 2: registers[MS_REG_RBP] = registers[MS_REG_RSP] = anywhere; break;
        default: registers[rand_r(&seed) % MS_REGISTERS] = (uint64_t)rand_r(&seed) << 33; break;
        }
        assert_null(ms_unwind(w.types, &broken, true, &stack));
        assert_in_range(stack.frames.count, 1, MS_FRAMES_MAX);
        ms_local_at(&stack, anywhere);
        ms_frame_at(&stack, anywhere);
        ms_stack_free(&stack);
    }
    close_world(&w);
}

/* A call of a null pointer: what called it is at the top of the stack. */
static void test_null_call(void **state)
{
    (void)state;
    struct world w;
    run(&w, start_descent);
    struct ms_thread thread = w.image->threads[0];
    size_t first = frame_of(&w.stack, "descend");
    struct ms_stack stack;
    thread.registers[MS_REG_RIP] = 0;
    thread.registers[MS_REG_RSP] = w.stack.frames.items[first].cfa - 8;
    assert_null(ms_unwind(w.types, &thread, false, &stack));
    assert_true(stack.frames.count >= 2);
    assert_int_equal(stack.frames.items[0].pc, 0);
    assert_int_equal(stack.frames.items[1].pc, w.stack.frames.items[first + 1].pc);
    ms_stack_free(&stack);
    /* and a thread that could not be stopped has none */
    thread.registers_known = false;
    assert_null(ms_unwind(w.types, &thread, false, &stack));
    assert_false(stack.complete);
    ms_stack_free(&stack);
    close_world(&w);
}

static int setup(void **state)
{
    (void)state;
    truth = mmap(NULL, sizeof *truth, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return truth == MAP_FAILED ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descent),   cmocka_unit_test(test_signal),  cmocka_unit_test(test_thread),
        cmocka_unit_test(test_registers), cmocka_unit_test(test_garbage), cmocka_unit_test(test_null_call),
    };
    return cmocka_run_group_tests_name("frames", tests, setup, NULL);
}
