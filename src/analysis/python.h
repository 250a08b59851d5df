/* Private to src/analysis: objects of CPython, which say themselves what they are. */
#ifndef MEMSCOPE_PYTHON_H
#define MEMSCOPE_PYTHON_H

#include "memscope/graph.h"
#include "memscope/symbols.h"

struct ms_python;

/* PYTHON gets NULL when the target is none, or its type objects are not to be had: as in a lean image. */
ms_result ms_python_new(const struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                        struct ms_python **python);
void ms_python_free(struct ms_python *python);

/* A class: what a type object says. */
struct ms_python_class {
    const char *name;    /* "Python dict", "Python Thing"; lives as long as the struct ms_python */
    const char *symbol;  /* of a static type object, "PyDict_Type", or NULL; the symbols' */
    const char *module;  /* that one is in, or NULL; the symbols' */
    uint64_t basic_size; /* bytes of an instance without its items */
};

/*
 * The class of the object that the block at START is, and how many bytes are before it (what the garbage collector
 * keeps there); NULL when it is none for certain.
 */
ms_result ms_python_object(struct ms_python *python, uint64_t start, const struct ms_python_class **class,
                           uint64_t *before);

#endif
