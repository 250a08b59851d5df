/* Functions, lines and pointer maps of Go code, from its pclntab: there in stripped programs too.
 */
#ifndef MEMSCOPE_GOFUNCS_H
#define MEMSCOPE_GOFUNCS_H

#include <stdbool.h>
#include <stdint.h>

#include "memscope/go.h"

/* The tables of all modules; keeps the names that were asked for. */
struct ms_go_functions;

/* GO must outlive it. An error when the format of the tables is not known. */
ms_result ms_go_functions_new(struct ms_go *go, struct ms_go_functions **functions);
void ms_go_functions_free(struct ms_go_functions *functions);

/*
 * Functions that the runtime treats as special: funcID of src/internal/abi/symtab.go
 * (runtime/symtab.go before 1.21), whose numbers differ by version; these do not.
 */
enum ms_go_function_id {
    MS_GO_NORMAL,
    MS_GO_ABORT,
    MS_GO_ASMCGOCALL,
    MS_GO_ASYNC_PREEMPT,
    MS_GO_CGOCALLBACK,
    MS_GO_COROSTART,
    MS_GO_DEBUG_CALL,
    MS_GO_GC_BG_MARK_WORKER,
    MS_GO_GOEXIT,
    MS_GO_GOGO,
    MS_GO_GOPANIC,
    MS_GO_HANDLE_ASYNC_EVENT,
    MS_GO_JMPDEFER,
    MS_GO_MCALL,
    MS_GO_MORESTACK,
    MS_GO_MSTART,
    MS_GO_PANICWRAP,
    MS_GO_RT0,
    MS_GO_RUN_FINALIZERS,
    MS_GO_RUNTIME_MAIN,
    MS_GO_RUN_CLEANUPS,
    MS_GO_SIGPANIC,
    MS_GO_SYSTEMSTACK,
    MS_GO_SYSTEMSTACK_SWITCH,
    MS_GO_WRAPPER, /* code that the compiler made: method wrappers, hash and equality */
};

/* A function at some address: its own, or one that was inlined there. Strings live as long as the
 * tables. */
struct ms_go_call {
    const char *function; /* "main.(*Server).serve.func1", as the linker wrote it */
    const char *file;     /* as recorded, mostly absolute; "?": not known */
    int line; /* of the address or, of a caller of an inlined call, of that call; 0: not known */
    int start_line; /* of the func keyword (1.20 and later), else 0 */
    uint64_t entry; /* of the function whose code it is in */
    uint8_t id;     /* enum ms_go_function_id */
    bool inlined;
};

/*
 * What is called at PC, innermost first, at most MOST into CALLS; returns how many, 0 when PC is in
 * no Go function. A return address is to be given less 1, as runtime.Callers does.
 */
unsigned ms_go_calls_at(struct ms_go_functions *functions, uint64_t pc, struct ms_go_call *calls,
                        unsigned most);

/* More are never inlined in one another as far as ms_go_calls_at() goes. */
#define MS_GO_INLINED_MOST 256u

/*
 * NAME as tracebacks and profiles show it: type arguments as "[...]". At most SIZE bytes with the
 * zero into BUFFER, which is returned.
 */
char *ms_go_shown_name(const char *name, char *buffer, size_t size);

/* --- what stacks are read by --------------------------------------------------------------------
 */

enum { /* bits of ms_go_function.flags: abi.FuncFlag */
       MS_GO_TOP_FRAME = 1,
       MS_GO_SP_WRITE = 2,
       MS_GO_ASM = 4,
};
#define MS_GO_ARGS_UNKNOWN INT32_MIN /* abi.ArgsSizeUnknown */

/* A function as its _func in the tables describes it (src/runtime/runtime2.go). */
struct ms_go_function {
    const struct ms_go_module *module;
    uint64_t entry, end;
    uint64_t data; /* address of the offsets of its pcdata tables */
    uint64_t name; /* address of its name */
    int32_t args;  /* bytes of its arguments and results on the stack, or MS_GO_ARGS_UNKNOWN */
    uint32_t deferreturn; /* offset from ENTRY of a call to deferreturn, 0: none */
    uint32_t pcsp, pcfile, pcln, npcdata, cu;
    int32_t start_line;
    uint8_t id, flags, nfuncdata;
};

/* The function whose code holds PC; false: none. */
bool ms_go_function_at(struct ms_go_functions *functions, uint64_t pc,
                       struct ms_go_function *function);

/* Its name as the linker wrote it; lives as long as the tables. */
const char *ms_go_function_name(struct ms_go_functions *functions,
                                const struct ms_go_function *function);

/* Bytes from the stack pointer at PC to the return address of FUNCTION; false: not known. */
bool ms_go_sp_delta(struct ms_go_functions *functions, const struct ms_go_function *function,
                    uint64_t pc, int32_t *delta);

/* Tables by PC and data of a function (src/internal/abi/symtab.go); the same in all versions. */
enum ms_go_pcdata {
    MS_GO_UNSAFE_POINT,
    MS_GO_STACK_MAP_INDEX,
    MS_GO_INLINE_INDEX,
    MS_GO_ARGUMENT_LIVE_INDEX, /* 1.18 and later */
};
enum ms_go_funcdata {
    MS_GO_ARGS_POINTER_MAPS,
    MS_GO_LOCALS_POINTER_MAPS,
    MS_GO_STACK_OBJECTS,
    MS_GO_INLINE_TREE,
    MS_GO_ARGUMENT_INFO = 5,
    MS_GO_ARGUMENT_LIVE_INFO, /* 1.18 and later */
};

/* Value of TABLE at PC, or -1. */
int32_t ms_go_pcdata(struct ms_go_functions *functions, const struct ms_go_function *function,
                     enum ms_go_pcdata table, uint64_t pc);

/* Address of a function's data, or 0: it has none. */
uint64_t ms_go_funcdata(struct ms_go_functions *functions, const struct ms_go_function *function,
                        enum ms_go_funcdata index);

/* Reads SIZE bytes of read-only data, through a cache: for small reads in great number. */
bool ms_go_read_constant(struct ms_go_functions *functions, uint64_t address, void *buffer,
                         size_t size);

#endif
