/* Private to src/symbols: where each thread has the thread-local variables of each module. */
#ifndef MEMSCOPE_TLS_H
#define MEMSCOPE_TLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/image.h"
#include "memscope/symbols.h"

/* One module's variables of one thread, as its PT_TLS lays them out. */
struct ms_tls_block {
    uint64_t start, end; /* half-open */
    pid_t tid;
    size_t module; /* as of modules.h */
};

struct ms_tls {
    MS_VECTOR(struct ms_tls_block) blocks; /* by address, without overlap */
};

/*
 * Finds the blocks of all threads, of glibc: that of the executable in any, those of libraries by
 * what libc says of itself to libthread_db. Free with ms_vector_free(&tls->blocks), on errors too.
 */
ms_result ms_tls_read(struct ms_symbols *symbols, const struct ms_image *image, struct ms_tls *tls);

/* The block that ADDRESS is in, or NULL. */
const struct ms_tls_block *ms_tls_at(const struct ms_tls *tls, uint64_t address);

#endif
