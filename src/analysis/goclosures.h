/* Private to src/analysis: what closures of Go programs have captured. */
#ifndef MEMSCOPE_GOCLOSURES_H
#define MEMSCOPE_GOCLOSURES_H

#include "goshape.h"
#include "memscope/symbols.h"

/*
 * Gives CLOSURE, the type of closures of the function at CODE with this NAME, the members that are known: what the
 * function has captured, from Go 1.23 on, or the receiver that a method's value is bound to.
 */
void ms_go_describe_closure(struct ms_go_shapes *shapes, struct ms_symbols *symbols, const struct ms_type *closure,
                            uint64_t code, const char *name);

/* Is TYPE one of these, with members? */
bool ms_go_is_closure(const struct ms_type *type);

#endif
