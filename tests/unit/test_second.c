/* The second thread: each piece of work is done once, and is done when it was awaited. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "target/second.h"

struct counted {
    unsigned times;
    bool slow;
};

static void nap(long nanoseconds)
{
    nanosleep(&(struct timespec){0, nanoseconds}, NULL);
}

static void count(void *argument)
{
    struct counted *counted = argument;
    if (counted->slow)
        nap(1000000);
    counted->times++;
}

/* Awaited at once, while it works, and after it has gone to sleep. */
static void test_once_each(void **unused)
{
    (void)unused;
    struct ms_second second;
    ms_second_start(&second);
    for (unsigned i = 0; i < 2000; i++) {
        struct counted counted = {.slow = i % 32 == 0};
        ms_second_ask(&second, count, &counted);
        if (i % 16 == 0)
            nap(300000);
        ms_second_await(&second);
        assert_int_equal(counted.times, 1);
        if (i % 64 == 1)
            nap(300000);
    }
    ms_second_end(&second);
}

/* Kept awake it does nothing else, and is there again afterwards; nobody has to ask it anything. */
static void test_awake(void **unused)
{
    (void)unused;
    struct ms_second second;
    for (unsigned i = 0; i < 50; i++) {
        struct counted counted = {0};
        ms_second_start(&second);
        ms_second_raise(&second);
        ms_second_stay_awake(&second);
        if (i % 2)
            nap(200000);
        ms_second_rest(&second);
        ms_second_ask(&second, count, &counted);
        ms_second_await(&second);
        assert_int_equal(counted.times, 1);
        ms_second_end(&second);
    }
    ms_second_start(&second);
    ms_second_end(&second);
}

/* Where there is none, as with one CPU, who asks does the work. */
static void test_none(void **unused)
{
    (void)unused;
    struct ms_second second = {.there = false};
    struct counted counted = {0};
    ms_second_raise(&second);
    ms_second_stay_awake(&second);
    ms_second_rest(&second);
    ms_second_ask(&second, count, &counted);
    ms_second_await(&second);
    ms_second_end(&second);
    assert_int_equal(counted.times, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_each),
        cmocka_unit_test(test_awake),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
