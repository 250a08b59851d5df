/* Private to src/go: what the code of the runtime's functions refers to. */
#ifndef MEMSCOPE_GO_CODE_H
#define MEMSCOPE_GO_CODE_H

#include "memscope/go.h"

/* A function that is looked for, and what was found of it. */
struct ms_go_code {
    char *name;                 /* without "runtime."; owned */
    bool found;                 /* the program has it */
    MS_VECTOR(uint64_t) refers; /* data that its instructions address, sorted, each once */
};
struct ms_go_code_list {
    MS_VECTOR(struct ms_go_code) functions; /* sorted by name, each once */
};

/* Adds a name of LENGTH characters; sorted by ms_go_code_read(). */
ms_result ms_go_code_want(struct ms_go_code_list *list, const char *name, size_t length);
/*
 * Reads the code of all functions of the list, which it finds by the names in the program's
 * pclntab. What cannot be read is not found; the only error is lack of memory.
 */
ms_result ms_go_code_read(const struct ms_go *go, struct ms_go_code_list *list);
const struct ms_go_code *ms_go_code_named(const struct ms_go_code_list *list, const char *name,
                                          size_t length);
void ms_go_code_free(struct ms_go_code_list *list);

#endif
