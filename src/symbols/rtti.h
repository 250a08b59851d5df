/* Private to src/symbols: classes of C++ by their run-time type information. */
#ifndef MEMSCOPE_RTTI_H
#define MEMSCOPE_RTTI_H

#include <stdint.h>

#include "memscope/image.h"

/* The class, demangled, that the vtable at VPTR belongs to; the caller frees it. NULL: that is no vtable. */
char *ms_rtti_class(const struct ms_image *image, uint64_t vptr);

#endif
