/* Private to src/symbols: where the parameters and locals of a function are. */
#ifndef MEMSCOPE_LOCALS_H
#define MEMSCOPE_LOCALS_H

#include "memscope/frames.h"
#include "entry.h"
#include "scopes.h"
#include "unwind.h"

/*
 * Adds to FRAME what is declared in the function SCOPES->list[FIRST] and in its blocks up to before END,
 * the innermost first, as far as CALL, the CALLERS behind it and what these called with tell where it is.
 */
ms_result ms_read_locals(struct ms_types *types, const struct ms_dwarf *dwarf, const struct ms_call *call,
                         size_t callers, struct ms_scopes *scopes, size_t first, size_t end,
                         struct ms_frame *frame);

/* What expressions of the function that ENTRY is a call of may ask for, while it is at CALL of code of DWARF. */
struct ms_expr_context ms_call_context(struct ms_types *types, const struct ms_dwarf *dwarf, const struct ms_call *call,
                                       const struct ms_entry *entry);

#endif
