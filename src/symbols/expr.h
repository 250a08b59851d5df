/* Private to src/symbols: DWARF expressions, of variables and of call frame information. */
#ifndef MEMSCOPE_EXPR_H
#define MEMSCOPE_EXPR_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/image.h"

/* DWARF numbers of x86-64's registers (psABI, figure 3.36): 0 to 15 general, 16 the return address. */
#define MS_DWARF_REGISTERS 17u
enum { MS_DWARF_RAX = 0, MS_DWARF_RBX = 3, MS_DWARF_RSP = 7, MS_DWARF_PC = 16 };

struct ms_registers {
    uint64_t value[MS_DWARF_REGISTERS];
    uint32_t known; /* a bit each */
};

struct ms_entry;

/* What an expression may ask for. */
struct ms_expr_context {
    const struct ms_image *image;
    const struct ms_registers *registers;
    uint64_t bias; /* of the addresses in it */
    bool cfa_known, base_known;
    uint64_t cfa;
    uint64_t base; /* DW_AT_frame_base */
    const struct ms_entry *entry; /* how the function was called; NULL: not known */
    Dwarf_Attribute *attribute; /* that it is the value of; NULL: it is of call frame information */
};

enum ms_location_kind {
    MS_LOCATION_MEMORY,   /* value is the address */
    MS_LOCATION_REGISTER, /* in reg; value is what it has */
    MS_LOCATION_VALUE,    /* nowhere; value is what it would have */
};

struct ms_location {
    enum ms_location_kind kind;
    uint64_t value;
    int reg;        /* of MS_LOCATION_REGISTER, else -1 */
    uint64_t piece; /* only the first so many bytes are there; 0: all */
};

/*
 * Evaluates COUNT operations of OPS; thread-local variables are not what it is for.
 * False: there is no telling, or it is hostile.
 */
bool ms_expression(const struct ms_expr_context *context, const Dwarf_Op *ops, size_t count,
                   struct ms_location *location);

#endif
