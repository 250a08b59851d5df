/* An image without what nobody asks for: a chain of pages is followed before the stop and, changed, in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memscope/capture.h"
#include "memscope/live.h"

#define PAGES                 64
#define TOUCHED               60 /* the others have never been there */
#define WORD(map, page, word) (*(uint64_t *)(void *)((map) + (page)*MS_PAGE + (word)*8))

struct target {
    pid_t pid;
    int requests, answers;
    uint8_t *map; /* of the target: each page has its number, and the address of the next one in the chain */
    bool endless; /* choose() reads on and on in the stop */
    uint64_t reads;
};

static void link_pages(uint8_t *map, int from, int to)
{
    WORD(map, from, 1) = to ? (uintptr_t)map + to * MS_PAGE : 0;
}

static void run(int in, int out)
{
    char byte;
    uint8_t *guard = mmap(NULL, (PAGES + 2) * MS_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *map = guard + MS_PAGE;
    if (guard == MAP_FAILED || mprotect(map, PAGES * MS_PAGE, PROT_READ | PROT_WRITE) !=
                                   0) /* between two guards it merges with no other */
        _exit(1);
    for (int page = 0; page < TOUCHED; page++)
        WORD(map, page, 0) = 1000 + page;
    link_pages(map, 0, 40);
    if (write(out, &map, sizeof map) != sizeof map || read(in, &byte, 1) != 1)
        _exit(1);
    link_pages(map, 0, 20);
    link_pages(map, 20, 50);
    WORD(map, 40, 0) = 2040;
    if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1)
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
    target->pid = fork();
    if (target->pid == 0)
        run(to[0], from[1]);
    target->requests = to[1];
    target->answers = from[0];
    assert_int_equal(read(from[0], &target->map, sizeof target->map), sizeof target->map);
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

static struct ms_error *choose(void *self, struct ms_image *image, struct ms_spans *spans)
{
    struct target *target = self;
    const uint64_t start = (uintptr_t)target->map;
    uint64_t at = start, next;
    while (at && ms_image_read_word(image, at + 8, &next)) {
        if (at == start + 50 * MS_PAGE) {
            struct ms_span *span = ms_vector_add(&spans->list);
            assert_non_null(span);
            *span = (struct ms_span){.start = start + 58 * MS_PAGE + 100, .end = start + 61 * MS_PAGE + 1};
        }
        at = next;
    }
    while (target->endless && ms_image_read_word(image, start, &next))
        target->reads++;
    if (target->endless)
        assert_false(ms_image_read_word(image, start, &next)); /* nor later */
    return NULL;
}

static struct ms_image *take(struct target *target, struct ms_selection *selection)
{
    struct ms_image *live, *image = NULL;
    const uint64_t start = (uintptr_t)target->map;
    struct ms_capture_options options = {.want = MS_WANT_FULL, .selection = selection};
    bool pays, endless = target->endless;
    char byte = 0;
    *selection = (struct ms_selection){.self = target, .choose = choose};
    struct ms_span *span = ms_vector_add(&selection->left_out.list);
    assert_non_null(span);
    *span = (struct ms_span){.start = start + MS_PAGE, .end = start + 2 * MS_PAGE};
    assert_null(ms_live_open(target->pid, &live));
    target->endless = false;
    assert_null(ms_selection_look(selection, live, &pays));
    ms_image_free(live);
    assert_true(pays);
    assert_int_equal(selection->first.list.count, 2);
    assert_int_equal(selection->first.list.items[0].start, start);
    assert_int_equal(selection->first.list.items[1].start, start + 40 * MS_PAGE);
    assert_int_equal(selection->first.list.items[1].end, start + 41 * MS_PAGE);
    assert_int_equal(write(target->requests, &byte, 1), 1);
    assert_int_equal(read(target->answers, &byte, 1), 1);
    target->endless = endless;
    struct ms_error *error = ms_capture(target->pid, &options, &image);
    if (error)
        fail_msg("%s", error->message);
    return image;
}

static void test_kept(void **state)
{
    struct target *target = *state;
    struct ms_selection selection;
    struct ms_image *image = take(target, &selection);
    static const uint64_t expected[][2] = {{0, 1000},  {20, 1020}, {40, 2040}, {50, 1050}, {58, 1058},
                                           {59, 1059}, {60, 0},    {61, 0}}; /* never touched, and asked for */
    const uint64_t start = (uintptr_t)target->map;
    uint64_t word;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_true(ms_image_read_word(image, start + expected[i][0] * MS_PAGE, &word));
        assert_int_equal(word, expected[i][1]);
    }
    /* What is not left out is there. */
    assert_true(ms_image_read_word(image, (uintptr_t)&environ, &word));
    assert_int_equal(word, (uintptr_t)environ);
    assert_int_equal(ms_image_missed(image), 0);
    assert_false(ms_image_read_word(image, start + 10 * MS_PAGE, &word));
    assert_false(ms_image_read_word(image, start + 63 * MS_PAGE, &word));
    assert_int_equal(ms_image_missed(image), 2);
    assert_int_equal(image->warnings.count, 0);
    ms_image_free(image);
    ms_selection_free(&selection);
}

/* What the target says does not keep it stopped. */
static void test_endless(void **state)
{
    struct target *target = *state;
    struct ms_selection selection;
    target->endless = true;
    struct ms_image *image = take(target, &selection);
    uint64_t word;
    assert_true(target->reads > 0);
    assert_true(ms_image_read_word(image, (uintptr_t)target->map, &word));
    assert_int_equal(word, 1000);
    ms_image_free(image);
    ms_selection_free(&selection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_endless, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
