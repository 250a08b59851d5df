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

/* A function at some address: its own, or one that was inlined there. Strings live as long as the
 * tables. */
struct ms_go_call {
    const char *function; /* "main.(*Server).serve.func1", as the linker wrote it */
    const char *file;     /* as recorded, mostly absolute */
    int line; /* of the address or, of a caller of an inlined call, of that call; 0: not known */
    int start_line; /* of the func keyword (1.20 and later), else 0 */
    uint64_t entry; /* of the function whose code it is in */
    uint8_t id;     /* funcID of src/internal/abi/symtab.go (runtime/symtab.go before 1.21) */
    bool inlined;
};

/*
 * What is called at PC, innermost first, at most MOST into CALLS; returns how many, 0 when PC is in
 * no Go function. A return address is to be given less 1, as runtime.Callers does.
 */
unsigned ms_go_calls_at(struct ms_go_functions *functions, uint64_t pc, struct ms_go_call *calls,
                        unsigned most);

/* Entry address of the function with this name ("runtime.goexit"), and its end; 0: none. END may be
 * NULL. */
uint64_t ms_go_function_named(struct ms_go_functions *functions, const char *name, uint64_t *end);

#endif
