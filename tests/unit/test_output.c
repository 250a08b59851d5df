/* Tests of the views: sizes, escaping of hostile bytes, whole reports in text and JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/output.h"
#include "output/escape.h"
#include "output/text.h"

/* What a view wrote. */
struct written {
    FILE *out;
    char *text;
    size_t size;
};

static void begin(struct written *written)
{
    *written = (struct written){0};
    written->out = open_memstream(&written->text, &written->size);
    assert_non_null(written->out);
}

static void end(struct written *written)
{
    assert_int_equal(fclose(written->out), 0);
    written->out = NULL;
}

static void test_sizes(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {1048575, "1.0 MiB"}, /* not 1024.0 KiB */
        {1048576, "1.0 MiB"},
        {12897123, "12.3 MiB"},
        {UINT64_C(1) << 40, "1.0 TiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    (void)state;
    char buffer[16];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(ms_size_text(cases[i].bytes, buffer), cases[i].text);
}

static void test_counts(void **state)
{
    (void)state;
    char buffer[32];
    assert_string_equal(ms_count_text(0, buffer), "0");
    assert_string_equal(ms_count_text(999, buffer), "999");
    assert_string_equal(ms_count_text(1000, buffer), "1,000");
    assert_string_equal(ms_count_text(1234567, buffer), "1,234,567");
    assert_string_equal(ms_count_text(UINT64_MAX, buffer), "18,446,744,073,709,551,615");
}

static void test_shares_and_durations(void **state)
{
    (void)state;
    char buffer[16];
    assert_string_equal(ms_share_text(0, 0, buffer), "-");
    assert_string_equal(ms_share_text(0, 10, buffer), "0.0%");
    assert_string_equal(ms_share_text(1, 1000000, buffer), "<0.1%");
    assert_string_equal(ms_share_text(999999, 1000000, buffer), ">99.9%");
    assert_string_equal(ms_share_text(10, 10, buffer), "100.0%");
    assert_string_equal(ms_duration_text(850000, buffer), "850 us");
    assert_string_equal(ms_duration_text(12345678, buffer), "12.3 ms");
    assert_string_equal(ms_duration_text(2500000000u, buffer), "2.50 s");
}

static void test_escapes(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
    } cases[] = {
        {"plain", 5, "plain"},
        {"say \"hi\" \\", 10, "say \"hi\" \\\\"},
        {"\n\t\r\a\b\f\v", 7, "\\n\\t\\r\\a\\b\\f\\v"},
        {"a\0b\033[31m\177", 9, "a\\x00b\\x1b[31m\\x7f"},
        {"h\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x98\x80", 12, "h\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x98\x80"},
        {"\x9b" "31m", 4, "\\x9b31m"},              /* C1 as a byte */
        {"\xc2\x9b" "31m", 5, "\\u009b31m"},        /* C1 as a code point */
        {"\xc2\xa0", 2, "\\u00a0"},                 /* no-break space */
        {"\xe2\x80\xae", 3, "\\u202e"},             /* right-to-left override */
        {"\xe2\x81\xa6", 3, "\\u2066"},             /* left-to-right isolate */
        {"\xe2\x80\x8b", 3, "\\u200b"},             /* zero width space */
        {"\xef\xbb\xbf", 3, "\\ufeff"},             /* byte order mark */
        {"\xf3\xa0\x81\x81", 4, "\\U000e0041"},     /* tag */
        {"\xc0\x80", 2, "\\xc0\\x80"},              /* overlong */
        {"\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf"},     /* overlong */
        {"\xed\xa0\x80", 3, "\\xed\\xa0\\x80"},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
        {"\xff\xfe", 2, "\\xff\\xfe"},
        {"x\xe6\x97", 3, "x\\xe6\\x97"},            /* cut off */
        {"\xe6" "ab", 3, "\\xe6" "ab"},
        {"", 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct written written;
        begin(&written);
        ms_write_escaped(written.out, (const uint8_t *)cases[i].bytes, cases[i].size);
        end(&written);
        assert_string_equal(written.text, cases[i].text);
        free(written.text);
    }
}

/* Whatever comes in, what goes out is valid UTF-8 of printable characters. */
static void test_random_bytes_are_harmless(void **state)
{
    (void)state;
    srand(1);
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t bytes[48];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(rand() % 4 ? 0x80 + rand() % 0x80 : rand());
        struct written written;
        begin(&written);
        ms_write_quoted(written.out, bytes, sizeof bytes);
        end(&written);
        size_t length;
        for (size_t i = 0; i < written.size; i += length) {
            uint32_t point =
                ms_decode_utf8((const uint8_t *)written.text + i, written.size - i, &length);
            assert_true(length > 0);
            assert_true(ms_printable(point));
        }
        free(written.text);
    }
}

static void test_preview_length(void **state)
{
    (void)state;
    assert_int_equal(ms_preview_length((const uint8_t *)"abc\0def", 7), 3);
    assert_int_equal(ms_preview_length((const uint8_t *)"abcdefg", 7), 7);
    assert_int_equal(ms_preview_length((const uint8_t *)"\0\0a\0\0\0\0", 7), 3);
    assert_int_equal(ms_preview_length((const uint8_t *)"\0\0\0", 3), 0);
    assert_int_equal(ms_preview_length((const uint8_t *)"", 0), 0);
}

/* --- a made-up report ----------------------------------------------------------------------- */

static const struct ms_allocator allocator = {.name = "glibc"};
static char exe[] = "/usr/bin/b\xff\033[2Jo";
static char origin[] = "process 4711";
static char warning[] = "1 page of /tmp/\xe2\x80\xae could not be read";
static char *warnings[] = {warning};

static struct ms_image image_of(void)
{
    return (struct ms_image){.pid = 4711, .exe = exe, .origin = origin, .thread_count = 2,
                             .pause_ns = 12345678, .attempts = 1};
}

static struct ms_heap heap_of(void)
{
    return (struct ms_heap){.allocator = &allocator, .description = "glibc 2.36"};
}

static struct ms_leak_group groups[] = {
    {.kind = MS_DEFINITE, .size = 1032, .blocks = 1000, .bytes = 1032000, .indirect_blocks = 10,
     .indirect_bytes = 2048, .type = "Widget<int>", .module = "libw.so",
     .sample = {0x7f0000001010, 0x7f0000002010, 0x7f0000003010}, .samples = 3},
    {.kind = MS_DEFINITE, .size = 24, .blocks = 1, .bytes = 24, .indirect_blocks = 1,
     .indirect_bytes = 24, .ring = true, .sample = {0x55d0c0a12340}, .samples = 1},
    {.kind = MS_POSSIBLE, .size = 40, .blocks = 2, .bytes = 80,
     .sample = {0x55d0c0a12440, 0x55d0c0a12480}, .samples = 2,
     .preview = "a \"b\"\033[31m\xff\0rest", .preview_size = 48},
};

static struct ms_leak_block blocks[] = {
    {.address = 0x55d0c0a12340, .size = 24, .kind = MS_DEFINITE},
    {.address = 0x55d0c0a12440, .size = 40, .kind = MS_POSSIBLE, .type = "bad\xfftype"},
};

static struct ms_leak_report report_of(void)
{
    return (struct ms_leak_report){
        .kinds = {{1001, 1032024}, {11, 2072}, {2, 80}, {9000, 9000000}},
        .live = {10014, 10034176},
        .groups = {groups, 3, 3},
        .complete = true,
    };
}

static char *leaks_text(struct ms_image *image, const struct ms_leak_report *report, bool color,
                        bool quiet)
{
    struct written written;
    struct ms_heap heap = heap_of();
    begin(&written);
    struct ms_view view = {.out = written.out, .color = color, .quiet = quiet};
    ms_leaks_text(&view, image, &heap, report, NULL);
    end(&written);
    return written.text;
}

static void test_leaks_text(void **state)
{
    static const char expected[] =
        "definitely lost: 1007.8 KiB in 1,001 blocks (10.3% of the live heap of 9.6 MiB), "
        "and 2.0 KiB in 11 blocks held only by them\n"
        "possibly lost: 80 B in 2 blocks, of which only pointers into their middle are left\n"
        "\n"
        "     blocks x  bytes each   together   they hold  lost      what they are, as far as is "
        "known\n"
        "      1,000 x       1,032 1007.8 KiB     2.0 KiB  definite  Widget<int> (libw.so)\n"
        "                                                            at 0x7f0000001010, "
        "0x7f0000002010, ...\n"
        "          1 x          24       24 B        24 B  definite  ring of blocks\n"
        "                                                            at 0x55d0c0a12340\n"
        "          2 x          40       80 B           -  "
        "possible  \"a \\\"b\\\"\\x1b[31m\\xff\"\n"
        "                                                            at 0x55d0c0a12440, "
        "0x55d0c0a12480\n"
        "\n"
        "                         blocks              bytes\n"
        "definitely lost           1,001          1,032,024  1007.8 KiB  no pointer to them is "
        "left\n"
        "indirectly lost              11              2,072     2.0 KiB  only lost blocks point to "
        "them\n"
        "possibly lost                 2                 80        80 B  only pointers into their "
        "middle are left\n"
        "still reachable           9,000          9,000,000     8.6 MiB  the program can still get "
        "at them\n"
        "all live blocks          10,014         10,034,176     9.6 MiB\n"
        "\n"
        "process 4711 (/usr/bin/b\\xff\\x1b[2Jo), 2 threads, glibc 2.36\n"
        "stopped for 12.3 ms; the report is complete\n";
    (void)state;
    struct ms_image image = image_of();
    struct ms_leak_report report = report_of();
    char *text = leaks_text(&image, &report, false, false);
    assert_string_equal(text, expected);
    free(text);
}

static void test_verdicts(void **state)
{
    (void)state;
    struct ms_image image = image_of();
    struct ms_leak_report report = {.live = {10, 1000}, .complete = true};
    char *text = leaks_text(&image, &report, false, true);
    assert_string_equal(text, "no leaks: of 1000 B in 10 blocks none is definitely lost\n");
    free(text);
    report.kinds[MS_POSSIBLE] = (struct ms_tally){1, 10};
    text = leaks_text(&image, &report, false, true);
    assert_non_null(strstr(text, "no definite leaks: "));
    assert_non_null(strstr(text, "possibly lost: 10 B in 1 block, "));
    free(text);
    report.complete = false;
    image.warnings.items = warnings;
    image.warnings.count = 1;
    text = leaks_text(&image, &report, false, false);
    assert_ptr_equal(strstr(text, "no leaks found in what could be read: "), text);
    assert_non_null(strstr(text, "; the report is INCOMPLETE\n"));
    assert_non_null(strstr(text, "\nincomplete:\n  1 page of /tmp/\\u202e could not be read\n"));
    free(text);
}

/* Without its escape sequences a coloured report is the plain one. */
static void test_colour(void **state)
{
    (void)state;
    struct ms_image image = image_of();
    struct ms_leak_report report = report_of();
    char *plain = leaks_text(&image, &report, false, false);
    char *coloured = leaks_text(&image, &report, true, false);
    assert_null(strchr(plain, '\033'));
    assert_non_null(strchr(coloured, '\033'));
    char *to = coloured;
    for (const char *from = coloured; *from;) {
        if (*from == '\033')
            from = strchr(from, 'm') + 1;
        else
            *to++ = *from++;
    }
    *to = '\0';
    assert_string_equal(plain, coloured);
    free(plain);
    free(coloured);
}

static void test_many_groups_are_cut(void **state)
{
    (void)state;
    struct ms_image image = image_of();
    struct ms_leak_report report = report_of();
    struct ms_leak_group many[30];
    for (size_t i = 0; i < 30; i++)
        many[i] = groups[1];
    report.groups.items = many;
    report.groups.count = 30;
    char *text = leaks_text(&image, &report, false, false);
    assert_non_null(strstr(text, "\n... and 10 more groups (--verbose)\n"));
    free(text);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *leaks_json(const struct ms_leak_report *report, bool list)
{
    struct written written;
    struct ms_image image = image_of();
    struct ms_heap heap = heap_of();
    image.warnings.items = warnings;
    image.warnings.count = 1;
    begin(&written);
    struct ms_view view = {.out = written.out};
    assert_null(ms_leaks_json_write(&view, &image, &heap, report, NULL, list));
    end(&written);
    for (size_t i = 0; i < written.size; i++)
        assert_true(written.text[i] == '\n' || (written.text[i] >= ' ' && written.text[i] < 0x7F));
    json_error_t error;
    json_t *document = json_loads(written.text, JSON_REJECT_DUPLICATES, &error);
    if (!document)
        fail_msg("line %d: %s", error.line, error.text);
    free(written.text);
    return document;
}

/* The string at PATH of members and indices separated by dots. */
static const char *text_at(json_t *value, const char *path)
{
    char name[32];
    int length;
    for (; *path && sscanf(path, "%31[^.]%n", name, &length) == 1; path += path[length] == '.') {
        path += length;
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(name))
                                     : json_object_get(value, name);
        length = 0;
    }
    if (!json_is_string(value))
        fail_msg("%s is no string", name);
    return json_string_value(value);
}

static void test_envelope(void **state)
{
    (void)state;
    struct ms_leak_report report = report_of();
    json_t *document = leaks_json(&report, false);
    assert_int_equal(json_integer_value(json_object_get(document, "schema")), 1);
    assert_string_equal(text_at(document, "memscope"), PACKAGE_VERSION);
    assert_int_equal(json_integer_value(json_object_get(document, "pause_ns")), 12345678);
    assert_true(json_is_true(json_object_get(document, "complete")));
    json_t *target = json_object_get(document, "target");
    assert_int_equal(json_integer_value(json_object_get(target, "pid")), 4711);
    assert_int_equal(json_integer_value(json_object_get(target, "threads")), 2);
    assert_string_equal(text_at(target, "exe"), "/usr/bin/b\\xff\\x1b[2Jo");
    assert_string_equal(text_at(target, "allocator"), "glibc 2.36");
    /* Valid UTF-8 is kept as it is: JSON has escapes of its own. */
    assert_string_equal(text_at(document, "warnings.0"), warning);
    json_decref(document);
}

static void test_leaks_json(void **state)
{
    (void)state;
    struct ms_leak_report report = report_of();
    json_t *document = leaks_json(&report, false);
    json_t *leaks = json_object_get(document, "leaks");
    json_t *definite = json_object_get(leaks, "definite");
    assert_int_equal(json_integer_value(json_object_get(definite, "blocks")), 1001);
    assert_int_equal(json_integer_value(json_object_get(definite, "bytes")), 1032024);
    assert_null(json_object_get(leaks, "blocks"));
    assert_int_equal(json_array_size(json_object_get(leaks, "groups")), 3);
    json_t *ring = json_array_get(json_object_get(leaks, "groups"), 1);
    assert_true(json_is_true(json_object_get(ring, "ring")));
    assert_true(json_is_null(json_object_get(ring, "type")));
    assert_true(json_is_null(json_object_get(ring, "preview")));
    assert_string_equal(text_at(ring, "sample.0"), "0x55d0c0a12340");
    assert_string_equal(text_at(leaks, "groups.0.type"), "Widget<int>");
    assert_string_equal(text_at(leaks, "groups.0.module"), "libw.so");
    assert_string_equal(text_at(leaks, "groups.2.kind"), "possible");
    assert_string_equal(text_at(leaks, "groups.2.preview"), "a \"b\"\\x1b[31m\\xff");
    json_decref(document);
}

static void test_list_json(void **state)
{
    (void)state;
    struct ms_leak_report report = report_of();
    json_t *document = leaks_json(&report, true);
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(document, "leaks"), "blocks")), 0);
    json_decref(document);
    report.blocks.items = blocks;
    report.blocks.count = 2;
    document = leaks_json(&report, true);
    json_t *list = json_object_get(json_object_get(document, "leaks"), "blocks");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(text_at(list, "0.address"), "0x55d0c0a12340");
    assert_string_equal(text_at(list, "0.kind"), "definite");
    assert_true(json_is_null(json_object_get(json_array_get(list, 0), "type")));
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "size")), 40);
    assert_string_equal(text_at(list, "1.type"), "bad\\xfftype");
    json_decref(document);
}

/* --- memstats -------------------------------------------------------------------------------- */

static struct ms_arena arenas[] = {
    {.address = 0x7ffff7e19c60, .system = 135168,
     .classes = {[MS_CLASS_LIVE] = {12, 70000}, [MS_CLASS_TOP] = {1, 65168}}, .trimmable = 61440},
    {.mapped = true, .system = 1052672, .classes = {[MS_CLASS_LIVE] = {1, 1052672}}},
};

static struct ms_memstats stats_of(void)
{
    struct ms_memstats stats = {.rss = 1000000, .total = 999424, .complete = true,
                                .verdict = MS_VERDICT_RETAINED,
                                .reason = "most of it is in use"};
    stats.rows[MS_ROW_LIVE] = 749568;
    stats.rows[MS_ROW_TEXT] = 249856;
    return stats;
}

static void test_memstats_text(void **state)
{
    (void)state;
    struct written written;
    struct ms_image image = image_of();
    struct ms_heap heap = heap_of();
    struct ms_memstats stats = stats_of();
    heap.arenas.items = arenas;
    heap.arenas.count = 2;
    begin(&written);
    struct ms_view view = {.out = written.out};
    ms_memstats_text(&view, &image, &heap, &stats);
    end(&written);
    assert_non_null(strstr(written.text, ": most of it is in use\n"));
    assert_non_null(strstr(written.text, "            749,568  75.0%  ###############\n"));
    assert_non_null(strstr(written.text, "\n  0x7ffff7e19c60  "));
    assert_non_null(strstr(written.text, "\n  mapped blocks   "));
    assert_null(strstr(written.text, "fastbin")); /* a column of zeros */
    free(written.text);
}

static void test_memstats_json(void **state)
{
    (void)state;
    struct ms_heap heap = heap_of();
    struct ms_memstats stats = stats_of();
    heap.arenas.items = arenas;
    heap.arenas.count = 2;
    json_t *memstats = ms_memstats_json(&heap, &stats);
    json_t *rss = json_object_get(memstats, "rss");
    assert_int_equal(json_integer_value(json_object_get(rss, "total")), 1000000);
    json_t *rows = json_object_get(rss, "rows");
    assert_int_equal(json_array_size(rows), MS_ROWS);
    json_int_t sum = 0;
    for (size_t i = 0; i < MS_ROWS; i++)
        sum += json_integer_value(json_object_get(json_array_get(rows, i), "bytes"));
    assert_int_equal(sum, stats.total);
    assert_string_equal(text_at(memstats, "verdict.name"), ms_verdict_names[MS_VERDICT_RETAINED]);
    assert_string_equal(text_at(memstats, "arenas.0.address"), "0x7ffff7e19c60");
    json_t *mapped = json_array_get(json_object_get(memstats, "arenas"), 1);
    assert_true(json_is_true(json_object_get(mapped, "mapped")));
    assert_int_equal(json_integer_value(json_object_get(mapped, "live_bytes")), 1052672);
    assert_int_equal(json_integer_value(json_object_get(mapped, "fastbin_blocks")), 0);
    json_decref(memstats);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_shares_and_durations),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_random_bytes_are_harmless),
        cmocka_unit_test(test_preview_length),
        cmocka_unit_test(test_leaks_text),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_many_groups_are_cut),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_leaks_json),
        cmocka_unit_test(test_list_json),
        cmocka_unit_test(test_memstats_text),
        cmocka_unit_test(test_memstats_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
