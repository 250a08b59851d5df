/* Reading a process that runs on: what is there, what never was, what is shared, and when it is
 * gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memscope/live.h"

#define PAGES     8
#define PRESENT   (1ull << 63)
#define EXCLUSIVE (1ull << 56)

struct target {
    pid_t pid;
    int requests, answers;
    uint8_t *shared, *own, *later; /* of PAGES each; LATER is mapped when asked for */
};

static uint8_t *map_pages(void)
{
    uint8_t *map = mmap(NULL, (PAGES + 1) * MS_PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + PAGES * MS_PAGE, MS_PAGE, PROT_NONE),
                     0); /* it merges with no other */
    return map;
}

/* Every second page has been touched. */
static void fill(uint8_t *map, uint8_t with)
{
    for (int page = 0; page < PAGES; page += 2)
        memset(map + page * MS_PAGE, with + page, MS_PAGE);
}

/* The child: pages of its own, and another set when it is told. */
static void run(int in, int out)
{
    char byte;
    uint8_t *own = map_pages();
    fill(own, 100);
    if (write(out, &own, sizeof own) != sizeof own || read(in, &byte, 1) != 1)
        _exit(1);
    uint8_t *later = map_pages();
    fill(later, 50);
    if (write(out, &later, sizeof later) != sizeof later || read(in, &byte, 1) != 1)
        _exit(1);
    _exit(0);
}

static int set_up(void **state)
{
    struct target *target = calloc(1, sizeof *target);
    int to[2], from[2];
    assert_non_null(target);
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    target->shared = map_pages();
    fill(target->shared, 1);
    target->pid = fork();
    if (target->pid == 0)
        run(to[0], from[1]);
    target->requests = to[1];
    target->answers = from[0];
    assert_int_equal(read(from[0], &target->own, sizeof target->own), sizeof target->own);
    *state = target;
    return 0;
}

static int tear_down(void **state)
{
    struct target *target = *state;
    kill(target->pid, SIGKILL);
    waitpid(target->pid, NULL, 0);
    close(target->requests);
    close(target->answers);
    free(target);
    return 0;
}

static uint64_t pagemap_entry(pid_t pid, const uint8_t *address)
{
    char path[64];
    uint64_t entry = 0;
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, &entry, sizeof entry, (off_t)((uintptr_t)address / MS_PAGE * 8)),
                     sizeof entry);
    close(fd);
    return entry;
}

static struct ms_image *open_live(const struct target *target)
{
    struct ms_image *image = NULL;
    struct ms_error *error = ms_live_open(target->pid, &image);
    if (error)
        fail_msg("%s", error->message);
    return image;
}

/* What was never touched reads as zeros, and stays untouched. */
static void test_untouched(void **state)
{
    const struct target *target = *state;
    struct ms_image *image = open_live(target);
    uint8_t bytes[PAGES * MS_PAGE];
    memset(bytes, 0xff, sizeof bytes);
    assert_true(ms_image_read(image, (uintptr_t)target->own, bytes, sizeof bytes));
    struct ms_live_piece pieces[PAGES];
    uint8_t first[PAGES][16];
    for (int page = 0; page < PAGES; page++)
        pieces[page] = (struct ms_live_piece){(uintptr_t)target->own + (uint64_t)page * MS_PAGE,
                                              first[page], 16, false};
    assert_int_equal(ms_live_read(image, pieces, PAGES), PAGES);
    for (int page = 0; page < PAGES; page++) {
        uint8_t expected = (uint8_t)(page % 2 ? 0 : 100 + page);
        assert_int_equal(bytes[page * MS_PAGE], expected);
        assert_int_equal(bytes[(page + 1) * MS_PAGE - 1], expected);
        assert_int_equal(first[page][15], expected);
        assert_true(pieces[page].had);
        assert_int_equal(pagemap_entry(target->pid, target->own + page * MS_PAGE) >> 63,
                         !(page % 2));
    }
    ms_image_free(image);
}

/* Pages that a fork shares are not copied by being read. */
static void test_shared(void **state)
{
    const struct target *target = *state;
    struct ms_image *image = open_live(target);
    uint8_t byte[2] = {0};
    struct ms_live_piece pieces[] = {{(uintptr_t)target->shared, &byte[0], 1, false},
                                     {(uintptr_t)target->shared + 2 * MS_PAGE, &byte[1], 1, false}};
    assert_int_equal(pagemap_entry(target->pid, target->shared) & (PRESENT | EXCLUSIVE), PRESENT);
    assert_int_equal(ms_live_read(image, pieces, 2), 2);
    assert_int_equal(byte[0], 1);
    assert_int_equal(byte[1], 3);
    assert_int_equal(pagemap_entry(target->pid, target->shared) & (PRESENT | EXCLUSIVE), PRESENT);
    ms_image_free(image);
}

/* A map that came later is known to pieces; what is no map fails alone. */
static void test_later(void **state)
{
    struct target *target = *state;
    struct ms_image *image = open_live(target);
    assert_int_equal(write(target->requests, "x", 1), 1);
    assert_int_equal(read(target->answers, &target->later, sizeof target->later),
                     sizeof target->later);
    uint8_t bytes[4][8];
    struct ms_live_piece pieces[] = {{(uintptr_t)target->own, bytes[0], 8, false},
                                     {16, bytes[1], 8, false},
                                     {UINT64_MAX - 3, bytes[2], 8, false},
                                     {(uintptr_t)target->later + 2 * MS_PAGE, bytes[3], 8, false}};
    assert_int_equal(ms_live_read(image, pieces, 4), 2);
    assert_true(pieces[0].had && !pieces[1].had && !pieces[2].had && pieces[3].had);
    assert_int_equal(bytes[0][7], 100);
    assert_int_equal(bytes[3][7], 52);
    ms_image_free(image);
}

static void test_ended(void **state)
{
    const struct target *target = *state;
    struct ms_image *image = open_live(target);
    uint8_t byte;
    struct ms_live_piece piece = {(uintptr_t)target->own, &byte, 1, false};
    assert_false(ms_live_ended(image));
    kill(target->pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)target->pid, &info, WEXITED | WNOWAIT), 0);
    assert_true(ms_live_ended(image));
    assert_int_equal(ms_live_read(image, &piece, 1), 0);
    assert_false(ms_image_read(image, (uintptr_t)target->own, &byte, 1));
    ms_image_free(image);
    struct ms_error *error = ms_live_open(target->pid, &image);
    assert_non_null(error);
    ms_error_free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_untouched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ended, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("live", tests, NULL, NULL);
}
