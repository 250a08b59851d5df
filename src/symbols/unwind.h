/* Private to src/symbols: the registers of each call of a thread. */
#ifndef MEMSCOPE_UNWIND_H
#define MEMSCOPE_UNWIND_H

#include "dwarf_types.h"
#include "expr.h"

/* A call, inlined ones not told apart. */
struct ms_call {
    uint64_t pc;    /* the instruction it is at, or goes on at when what it called returns */
    uint64_t at;    /* an address in the instruction it is at: pc, or in the call before it */
    uint64_t cfa;   /* 0: not known */
    bool signal;    /* the kernel made it, for a handler; its caller was interrupted anywhere */
    struct ms_registers registers;       /* as they are in it */
    uint64_t saved[MS_DWARF_REGISTERS];  /* where on the stack those are; 0: not there */
    uint32_t live;  /* a bit for each register that still is in the thread's own */
};

struct ms_calls {
    MS_VECTOR(struct ms_call) list; /* the innermost first */
    bool complete;
};

/* The DWARF number of a register of ms_thread.registers, -1 for those that have none here. */
int ms_dwarf_register(unsigned index);

/* Unwinds THREAD, up to MS_FRAMES_MAX calls. Free with ms_vector_free(&calls->list), on errors too. */
ms_result ms_unwind_calls(struct ms_types *types, const struct ms_thread *thread, struct ms_calls *calls);

#endif
