/* Types and variables of a copy of this very program, against what the compiler says of them here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memscope/capture.h"
#include "memscope/types.h"

/* What is looked at: each kind of member. */
struct inner {
    short small;
    void *pointer;
};

typedef struct {
    int x;
    struct inner *next;
} unnamed_t;

union choice {
    long number;
    struct inner *inner;
};

enum colour { RED, GREEN };

struct outer {
    char letter;
    const volatile unsigned long word;
    struct inner nested[3];
    unsigned low : 3, middle : 7, high : 22;
    union {
        int either;
        char *or ;
    };
    union choice choice;
    unnamed_t alias;
    int (*function)(int, char *);
    char *grid[2][4];
    enum colour colour;
    struct outer *self;
    struct opaque *never_defined;
    char rest[];
};

static struct outer outer_table[4];
unnamed_t unnamed_global;
struct declared_elsewhere *elsewhere;
static union choice a_choice;

static struct ms_image *image;
static struct ms_symbols *symbols;
static struct ms_types *types;

struct inner *static_of_function(void); /* clang forgets the name of one that nobody else could call */
struct inner *static_of_function(void)
{
    static struct inner hidden_inner[2];
    return hidden_inner;
}

static struct ms_place_type find(const void *address)
{
    uint64_t at = (uint64_t)(uintptr_t)address;
    struct ms_place_type place;
    assert_null(ms_types_find(types, &at, 1, &place));
    return place;
}

static const struct ms_type *outer(void)
{
    struct ms_place_type place = find(outer_table);
    assert_non_null(place.variable);
    assert_int_equal(place.variable->type->kind, MS_TYPE_ARRAY);
    return ms_type_complete(types, place.variable->type->target);
}

static const struct ms_member *member(const struct ms_type *type, const char *name)
{
    for (size_t i = 0; i < type->member_count; i++)
        if (type->members[i].name ? name && !strcmp(type->members[i].name, name) : !name)
            return &type->members[i];
    fail_msg("no member %s in %s", name ? name : "without name", type->name);
    return NULL;
}

static void test_members(void **state)
{
    (void)state;
    const struct ms_type *type = outer();
    assert_string_equal(type->name, "struct outer");
    assert_int_equal(type->size, sizeof(struct outer));
    assert_int_equal(type->language, MS_LANGUAGE_C);
#define CHECK(NAME, TYPE)                                                                                   \
    assert_int_equal(member(type, #NAME)->offset, offsetof(struct outer, NAME));                            \
    assert_int_equal(member(type, #NAME)->type->size, sizeof((struct outer *)NULL)->NAME);                  \
    assert_string_equal(member(type, #NAME)->type->name, TYPE)
    CHECK(letter, "char");
    CHECK(word, "unsigned long");
    CHECK(nested, "struct inner [3]");
    CHECK(choice, "union choice");
    CHECK(alias, "unnamed_t");
    CHECK(function, "int (*)(int, char *)");
    CHECK(grid, "char *[2][4]");
    CHECK(colour, "enum colour");
    CHECK(self, "struct outer *");
    CHECK(never_defined, "struct opaque *");
#undef CHECK
    assert_int_equal(member(type, "rest")->offset, offsetof(struct outer, rest));
    assert_int_equal(member(type, "rest")->type->count, 0);
    assert_int_equal(member(type, NULL)->offset, offsetof(struct outer, either));
    assert_int_equal(member(type, NULL)->type->kind, MS_TYPE_UNION);
    assert_ptr_equal(member(type, "self")->type->target, type);
    assert_ptr_equal(ms_type_named(types, "struct outer"), type);
    assert_ptr_equal(ms_type_named(types, "outer"), type);
    assert_null(ms_type_named(types, "no such type"));
    assert_false(ms_type_complete(types, member(type, "never_defined")->type->target)->complete);
}

/* What the compiler does with a bit-field is seen by setting all of its bits. */
static void test_bits(void **state)
{
    (void)state;
    const struct ms_type *type = outer();
    struct outer *value = calloc(1, sizeof *value);
    assert_non_null(value);
    uint64_t seen = 0;
#define CHECK(NAME, BITS)                                                                                   \
    {                                                                                                       \
        const struct ms_member *m = member(type, #NAME);                                                    \
        value->NAME = (1u << BITS) - 1;                                                                     \
        memcpy(&seen, (char *)value + m->offset, sizeof seen);                                              \
        assert_int_equal(m->bit_size, BITS);                                                                \
        assert_int_equal(seen >> m->bit_offset & ((1u << BITS) - 1), (1u << BITS) - 1);                     \
        value->NAME = 0;                                                                                    \
        memcpy(&seen, (char *)value + m->offset, sizeof seen);                                              \
        assert_int_equal(seen >> m->bit_offset & ((1u << BITS) - 1), 0);                                    \
    }
    CHECK(low, 3)
    CHECK(middle, 7)
    CHECK(high, 22)
#undef CHECK
    free(value);
}

static void check_path(uint64_t offset, uint64_t wanted, const char *path, const char *leaf_name)
{
    const struct ms_type *leaf = NULL;
    char *got = ms_type_path(types, outer(), offset, wanted, &leaf);
    if (!path) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, path);
    assert_string_equal(leaf->name, leaf_name);
    free(got);
}

static void test_paths(void **state)
{
    (void)state;
    check_path(offsetof(struct outer, word), 8, ".word", "unsigned long");
    check_path(offsetof(struct outer, letter) + 1, 1, NULL, NULL);
    check_path(offsetof(struct outer, nested[2].pointer), 8, ".nested[2].pointer", "void *");
    check_path(offsetof(struct outer, nested[1]) + 3, 1, NULL, NULL);
    check_path(offsetof(struct outer, either), 8, ".or", "char *");
    check_path(offsetof(struct outer, choice), 8, ".choice.inner", "struct inner *");
    check_path(offsetof(struct outer, grid[1][3]), 8, ".grid[1][3]", "char *");
    check_path(offsetof(struct outer, grid[1][2]), 16, ".grid[1]", "char *[4]");
    check_path(offsetof(struct outer, rest) + 5, 1, ".rest[5]", "char");
    check_path(offsetof(struct outer, alias.next), 8, ".alias.next", "struct inner *");
}

static void test_variables(void **state)
{
    (void)state;
    struct ms_place_type place = find((char *)&outer_table[2] + 5);
    assert_non_null(place.variable);
    assert_string_equal(place.variable->name, "outer_table");
    assert_string_equal(place.variable->unit, "test_types.c");
    assert_null(place.variable->function);
    assert_int_equal(place.variable->address, (uintptr_t)outer_table);
    assert_int_equal(place.offset, 2 * sizeof(struct outer) + 5);
    place = find(&unnamed_global);
    assert_non_null(place.variable);
    assert_string_equal(place.variable->type->name, "unnamed_t");
    place = find(static_of_function() + 1);
    assert_non_null(place.variable);
    assert_string_equal(place.variable->name, "hidden_inner");
    assert_string_equal(place.variable->function, "static_of_function");
    assert_string_equal(place.variable->type->name, "struct inner [2]");
    assert_int_equal(place.offset, sizeof(struct inner));
    assert_string_equal(find(&elsewhere).variable->type->name, "struct declared_elsewhere *");
    assert_string_equal(find(&a_choice).variable->name, "a_choice");
    assert_null(find((void *)(uintptr_t)test_variables).variable);
    assert_null(find(&place).variable);
}

static void test_ids(void **state)
{
    (void)state;
    assert_null(ms_types_read_all(types, NULL, NULL));
    assert_true(ms_type_count(types) > 10);
    for (uint32_t i = 0; i < ms_type_count(types); i++)
        assert_int_equal(ms_type_by_id(types, i)->id, i);
    assert_true(ms_types_known(types, (uintptr_t)test_ids));
    assert_false(ms_types_known(types, (uintptr_t)state));
}

static int setup(void **state)
{
    (void)state;
    struct ms_capture_options capture = {.want = MS_WANT_FULL};
    struct ms_symbols_options options = {0};
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    struct ms_error *error = ms_capture(child, &capture, &image);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    if (!error)
        error = ms_symbols_new(image, &options, &symbols);
    if (!error)
        error = ms_types_new(symbols, image, NULL, NULL, &types);
    if (error)
        fprintf(stderr, "%s\n", error->message);
    return error ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    ms_types_free(types);
    ms_symbols_free(symbols);
    ms_image_free(image);
    return 0;
}

int main(void)
{
    outer_table[0].self = outer_table;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variables), cmocka_unit_test(test_members), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_paths),     cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
