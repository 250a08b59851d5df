/* Taking an image of a live process: bytes of a file that nobody can open any more. */
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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memscope/capture.h"

#define TOUCHED (8 * MS_PAGE)
#define SIZE (64 * MS_PAGE) /* the last page is farther off than what a fault maps around itself */
#define NOBODY 65534

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + i / MS_PAGE);
}

/* The user that may not open /proc/PID/map_files; without root's rights we are such a one already. */
static bool become_nobody(void)
{
    return geteuid() != 0 || (setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
}

/* Maps a file, touches its first pages, deletes it, tells where it is, and waits. */
static void run_target(int out)
{
    char name[] = "/tmp/memscope-orphan-XXXXXX";
    int fd = mkstemp(name);
    for (size_t i = 0; i < SIZE; i++) {
        uint8_t byte = byte_at(i);
        if (write(fd, &byte, 1) != 1)
            _exit(1);
    }
    uint8_t *map = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
    unlink(name);
    close(fd);
    if (map == MAP_FAILED || !become_nobody() || prctl(PR_SET_DUMPABLE, 1) != 0)
        _exit(1);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < TOUCHED; i += MS_PAGE)
        sum = (uint8_t)(sum + map[i]);
    if (write(out, &map, sizeof map) == sizeof map)
        pause();
    _exit(1);
}

/* In a process that has given up its rights: 0 when all is as it should be, else what was not. */
static int inspect(pid_t pid, uint64_t address, bool full)
{
    const struct ms_capture_options options = {.want = full ? MS_WANT_FULL : MS_WANT_LEAN};
    struct ms_image *image;
    uint8_t bytes[SIZE];
    if (!become_nobody())
        return 2;
    struct ms_error *error = ms_capture(pid, &options, &image);
    if (error) {
        fprintf(stderr, "%s\n", error->message);
        ms_error_free(error);
        return 3;
    }
    const struct ms_region *region = ms_image_region(image, address);
    int result = !region || !region->orphan ? 4 : 0;
    if (!result && !ms_image_read(image, address, bytes, TOUCHED))
        result = 5;
    for (size_t i = 0; !result && i < TOUCHED; i++)
        result = bytes[i] == byte_at(i) ? 0 : 6;
    /* The last page was never read: nobody has its bytes, and zeros would be a lie. */
    if (!result && ms_image_read(image, address + SIZE - MS_PAGE, bytes, MS_PAGE))
        result = 7;
    ms_image_free(image);
    return result;
}

static void check_orphan(bool full)
{
    int ends[2], status;
    uint64_t address = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t target = fork();
    if (target == 0)
        run_target(ends[1]);
    assert_int_equal(read(ends[0], &address, sizeof address), sizeof address);
    pid_t inspector = fork();
    if (inspector == 0)
        _exit(inspect(target, address, full));
    assert_int_equal(waitpid(inspector, &status, 0), inspector);
    kill(target, SIGKILL);
    waitpid(target, NULL, 0);
    close(ends[0]);
    close(ends[1]);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void keeps_what_no_file_has_lean(void **state)
{
    (void)state;
    check_orphan(false);
}

static void keeps_what_no_file_has_full(void **state)
{
    (void)state;
    check_orphan(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_no_file_has_lean),
        cmocka_unit_test(keeps_what_no_file_has_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
