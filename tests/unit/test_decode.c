/* Tests of decoding: single values from their bytes, whatever these are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dwarf.h>
#include <string.h>

#include "memscope/decode.h"

static struct ms_value decode(enum ms_type_kind kind, uint8_t encoding, const char *name, const void *bytes,
                              size_t size)
{
    const struct ms_type type = {.kind = kind, .encoding = encoding, .name = name, .size = size};
    struct ms_value value = ms_decode_value(&type, bytes, size, 0, 0);
    value.type = NULL;
    return value;
}

static void numbers(void **state)
{
    (void)state;
    const int16_t negative = -2;
    const uint64_t large = UINT64_MAX;
    struct ms_value value = decode(MS_TYPE_BASE, DW_ATE_signed, "short", &negative, sizeof negative);
    assert_int_equal(value.kind, MS_VALUE_SIGNED);
    assert_int_equal(value.number.i, -2);
    value = decode(MS_TYPE_BASE, DW_ATE_unsigned, "unsigned short", &negative, sizeof negative);
    assert_int_equal(value.kind, MS_VALUE_UNSIGNED);
    assert_int_equal(value.number.u, 65534);
    value = decode(MS_TYPE_BASE, DW_ATE_unsigned, "unsigned long", &large, sizeof large);
    assert_true(value.number.u == UINT64_MAX);
    value = decode(MS_TYPE_ENUM, 0, "enum e", &negative, sizeof negative);
    assert_int_equal(value.number.i, -2);
    /* __int128 has no number that a view could show */
    const uint8_t wide[16] = {1};
    value = decode(MS_TYPE_BASE, DW_ATE_signed, "__int128", wide, sizeof wide);
    assert_int_equal(value.kind, MS_VALUE_UNREADABLE);
}

static void reals(void **state)
{
    (void)state;
    const float single = 1.5f;
    const double plain = -2.25;
    const long double extended = 3.125L;
    assert_true(decode(MS_TYPE_BASE, DW_ATE_float, "float", &single, sizeof single).number.real == 1.5);
    assert_true(decode(MS_TYPE_BASE, DW_ATE_float, "double", &plain, sizeof plain).number.real == -2.25);
    struct ms_value value = decode(MS_TYPE_BASE, DW_ATE_float, "long double", &extended, sizeof extended);
    assert_int_equal(value.kind, MS_VALUE_REAL);
    assert_true(value.number.real == 3.125);
    assert_int_equal(decode(MS_TYPE_BASE, DW_ATE_float, "odd", &plain, 3).kind, MS_VALUE_UNREADABLE);
}

static void characters(void **state)
{
    (void)state;
    struct ms_value value = decode(MS_TYPE_BASE, DW_ATE_signed_char, "char", "a", 1);
    assert_int_equal(value.kind, MS_VALUE_TEXT);
    assert_int_equal(value.size, 1);
    assert_int_equal(value.bytes[0], 'a');
    value = decode(MS_TYPE_BASE, DW_ATE_unsigned_char, "unsigned char", "\xff", 1);
    assert_int_equal(value.kind, MS_VALUE_UNSIGNED);
    assert_int_equal(value.number.u, 255);
    assert_int_equal(decode(MS_TYPE_BASE, DW_ATE_boolean, "bool", "\x02", 1).number.u, 1);
}

/* The compiler lays the fields out: little-endian, from the lowest bit on. */
static void bit_fields(void **state)
{
    (void)state;
    const struct {
        unsigned a : 3;
        int b : 5;
        unsigned long c : 40;
    } fields = {5, -9, 0x123456789aul};
    const struct ms_type natural = {.kind = MS_TYPE_BASE, .encoding = DW_ATE_unsigned, .name = "unsigned int"};
    const struct ms_type integer = {.kind = MS_TYPE_BASE, .encoding = DW_ATE_signed, .name = "int"};
    uint8_t bytes[8];
    memcpy(bytes, &fields, sizeof bytes);
    assert_int_equal(ms_decode_value(&natural, bytes, 1, 0, 3).number.u, 5);
    assert_int_equal(ms_decode_value(&integer, bytes, 1, 3, 5).number.i, -9);
    assert_true(ms_decode_value(&natural, bytes, 6, 8, 40).number.u == 0x123456789aul);
}

static void pointers(void **state)
{
    (void)state;
    const uint64_t address = 0x7f0012345678;
    struct ms_value value = decode(MS_TYPE_POINTER, 0, "void *", &address, sizeof address);
    assert_int_equal(value.kind, MS_VALUE_POINTER);
    assert_true(value.number.u == address);
    assert_int_equal(decode(MS_TYPE_POINTER, 0, "odd", &address, 4).kind, MS_VALUE_UNREADABLE);
    assert_int_equal(decode(MS_TYPE_STRUCT, 0, "struct s", &address, 8).kind, MS_VALUE_UNREADABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),    cmocka_unit_test(reals),    cmocka_unit_test(characters),
        cmocka_unit_test(bit_fields), cmocka_unit_test(pointers),
    };
    return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
