/* Tests of suppressions: the patterns of LeakSanitizer, and files that are not right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memscope/leaks.h"

static const struct {
    const char *pattern, *text;
    bool match;
} cases[] = {
    {"foo", "foo", true},
    {"foo", "a foo b", true},
    {"foo", "fo", false},
    {"foo", "", false},
    {"*", "anything", true},
    {"^foo", "foobar", true},
    {"^foo", "a foo", false},
    {"foo$", "a foo", true},
    {"foo$", "foofoo", true}, /* LeakSanitizer itself stops at the first foo */
    {"foo$", "foob", false},
    {"^foo$", "foo", true},
    {"^foo$", "foo ", false},
    {"^$", "x", false},
    {"f*o", "xfxxox", true},
    {"f*o$", "xfxxox", false},
    {"^f*o", "faro", true},
    {"^f*o", "afaro", false},
    {"^*bar$", "foobar", true},
    {"libcrypto.so*", "libcrypto.so.3", true},
    {"a*b*c", "aXbXXc", true},
    {"a*b*c", "aXcXXb", false},
    {"std::*string", "std::__cxx11::basic_string<char>", true},
    {"a$b", "a$b", true}, /* only the last `$` is an anchor */
};

static void test_patterns(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *pattern = strdup(cases[i].pattern);
        struct ms_suppressions one = {.patterns = {&pattern, 1, 1}};
        if (ms_suppressed(&one, cases[i].text) != cases[i].match)
            fail_msg("'%s' against '%s'", cases[i].pattern, cases[i].text);
        free(pattern);
    }
}

static void test_nothing_to_match(void **state)
{
    (void)state;
    char pattern[] = "*";
    char *patterns = pattern;
    struct ms_suppressions all = {.patterns = {&patterns, 1, 1}};
    struct ms_suppressions none = {0};
    assert_false(ms_suppressed(NULL, "x"));
    assert_false(ms_suppressed(&none, "x"));
    assert_false(ms_suppressed(&all, NULL));
    assert_true(ms_suppressed(&all, "x"));
}

/* Patterns that would take exponential time if every star tried every position of every other. */
static void test_many_stars_end(void **state)
{
    (void)state;
    char pattern[] = "a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b$";
    char *patterns = pattern;
    struct ms_suppressions one = {.patterns = {&patterns, 1, 1}};
    char text[4096];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_false(ms_suppressed(&one, text));
}

/* Reads CONTENT as a file; the file's name is put in NAME. */
static struct ms_error *read_content(const char *content, size_t size, char name[32],
                                     struct ms_suppressions *suppressions)
{
    strcpy(name, "/tmp/suppress.XXXXXX");
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, size), (ssize_t)size);
    close(fd);
    struct ms_error *error = ms_suppressions_read(name, suppressions);
    unlink(name);
    return error;
}

static void test_file(void **state)
{
    (void)state;
    static const char content[] = "# comment\n\n  leak:foo \r\n\t# more\nleak:std::*<int, long>$";
    char name[32];
    struct ms_suppressions suppressions;
    assert_null(read_content(content, sizeof content - 1, name, &suppressions));
    assert_int_equal(suppressions.patterns.count, 2);
    assert_string_equal(suppressions.patterns.items[0], "foo");
    assert_string_equal(suppressions.patterns.items[1], "std::*<int, long>$");
    ms_suppressions_free(&suppressions);
    assert_null(read_content("", 0, name, &suppressions));
    assert_int_equal(suppressions.patterns.count, 0);
    ms_suppressions_free(&suppressions);
}

/* The error names file and line, and nothing is left to free. */
static void expect_error(const char *content, size_t size, unsigned line)
{
    char name[32], where[64];
    struct ms_suppressions suppressions;
    struct ms_error *error = read_content(content, size, name, &suppressions);
    assert_non_null(error);
    assert_int_equal(error->status, MS_USAGE);
    snprintf(where, sizeof where, "%s:%u: ", name, line);
    assert_memory_equal(error->message, where, strlen(where));
    assert_null(strchr(error->message, '\n'));
    assert_int_equal(suppressions.patterns.count, 0);
    ms_error_free(error);
}

static void test_bad_files(void **state)
{
    (void)state;
    expect_error("leak:a\nrace:b\n", 14, 2);
    expect_error("leak:\n", 6, 1);
    expect_error("leak:a\n\nfoo", 11, 3);
    expect_error("leak:a\0b\n", 9, 1);
    struct ms_suppressions suppressions;
    struct ms_error *error = ms_suppressions_read("/nonexistent/file", &suppressions);
    assert_non_null(error);
    assert_int_equal(error->status, MS_USAGE);
    ms_error_free(error);
    error = ms_suppressions_read("/", &suppressions);
    assert_non_null(error);
    ms_error_free(error);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),       cmocka_unit_test(test_nothing_to_match),
        cmocka_unit_test(test_many_stars_end), cmocka_unit_test(test_file),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
