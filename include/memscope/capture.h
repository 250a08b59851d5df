/* Taking an image: stop the target, stream its memory through a consumer, let it go on. */
#ifndef MEMSCOPE_CAPTURE_H
#define MEMSCOPE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/image.h"

/* At most this many workers stream memory. */
#define MS_WORKERS 2
/* Windows are this big and aligned to it, except at the ends of a span. Bytes. */
#define MS_WINDOW (256u * 1024)

/* A piece of the target's memory that the consumer wants to see. */
struct ms_span {
    uint64_t start, end; /* page-aligned, half-open, inside one region */
    uint32_t tag;        /* the consumer's own */
    bool keep;           /* keep its bytes in a lean image too */
    bool sparse;         /* zeros mean nothing: windows may leave out what is not present */
};
struct ms_spans {
    MS_VECTOR(struct ms_span) list;
};

/* What passes through the cache at once. Bytes of pages that are not present are zeros. */
struct ms_window {
    const struct ms_span *span;
    uint64_t start, end;  /* page-aligned */
    const uint8_t *bytes; /* end - start of them, 64-byte aligned or better */
    unsigned worker;      /* 0 … MS_WORKERS - 1 */
};

/*
 * The consumer of a capture. All calls happen while the target is stopped (live,
 * lean), or later on kept bytes (full, core), with equal results.
 */
struct ms_sink {
    void *self;
    /*
     * Before the stop: the sizes are known within a few per cent. Allocate and
     * populate what plan and the windows will fill.
     */
    struct ms_error *(*prepare)(void *self, const struct ms_image *image);
    /*
     * In the stop, once: regions, threads and auxv are there and small reads are
     * possible with ms_image_read(). Fills SPANS, in address order, without
     * overlap. May be called again after ms_sink.retry said so.
     */
    struct ms_error *(*plan)(void *self, struct ms_image *image, struct ms_spans *spans);
    /* For each window that has present pages; several at once by different workers. */
    void (*filter)(void *self, const struct ms_window *window);
    /* After filter, strictly one after another in address order. */
    void (*walk)(void *self, const struct ms_window *window);
    /* After plan (walked false) and at the end (walked true): is another stop worth a try? */
    bool (*retry)(void *self, bool walked);
};

/*
 * What a full image can do without, for who knows the target from a look at it before the stop: of the regions that
 * LEFT_OUT touches only what choose() asks for is kept. Reading the rest fails, and ms_image_missed() counts that.
 */
struct ms_selection {
    void *self;
    struct ms_spans left_out;
    struct ms_spans first; /* what choose() asked for before the stop: that is kept at once */
    /*
     * What it reads of regions that are left out is kept, and what it adds to SPANS, in any order. Called on a live
     * image, and in the stop, when FIRST is kept: it may read a limited number of pages then, and no more after that.
     */
    struct ms_error *(*choose)(void *self, struct ms_image *image, struct ms_spans *spans);
};

/* Fills FIRST by a look at the running process of IMAGE (live.h). PAYS: that is clearly less than all there is. */
ms_result ms_selection_look(struct ms_selection *selection, struct ms_image *image, bool *pays);
void ms_selection_free(struct ms_selection *selection); /* its lists */

/* How much of the target's memory is kept; ms_image.kind says what came of it. */
enum ms_want {
    MS_WANT_LEAN,
    MS_WANT_FULL_IF_CHEAP, /* all bytes when they take a third of what memory is available, or less */
    MS_WANT_FULL,          /* all bytes; what does not fit is lean, with a warning */
};

struct ms_capture_options {
    enum ms_want want;
    bool account;     /* smaps' figures are wanted */
    unsigned attempts; /* stops to try when the sink asks for another; 0 means 8 */
    const char *exe;     /* for cores: the executable, or NULL */
    const char *sysroot; /* for cores: where the target's files are, or NULL */
    void (*progress)(void *context, const char *stage, uint64_t done, uint64_t total); /* or NULL */
    void *progress_context;
    struct ms_sink *sink; /* NULL: only keep */
    const struct ms_selection *selection; /* of a process, with MS_WANT_FULL; or NULL: all of it */
};

/*
 * Takes an image of process PID. The target runs again when this returns, also
 * on errors. Errors have status MS_TARGET and say what to do.
 */
ms_result ms_capture(pid_t pid, const struct ms_capture_options *options, struct ms_image **image);

/* Opens the ELF core at PATH as an image and streams it through the sink. */
ms_result ms_open_core(const char *path, const struct ms_capture_options *options,
                       struct ms_image **image);

/* Either of them: TARGET is a PID in decimal, or the name of a core file. */
ms_result ms_open_target(const char *target, const struct ms_capture_options *options,
                         struct ms_image **image);

#endif
