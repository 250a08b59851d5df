/* Private to src/symbols: names as the programmer wrote them. */
#ifndef MEMSCOPE_DEMANGLE_H
#define MEMSCOPE_DEMANGLE_H

/* Longest result in bytes; a hostile name can unfold without end. What is longer stays as it is. */
#define MS_DEMANGLE_MAX (64u * 1024)

/* C++ and Rust names demangled; the caller frees the result. NULL when NAME is neither. */
char *ms_demangle(const char *name);

#endif
