/* Private to src/target: moving memory through windows, with two workers. */
#ifndef MEMSCOPE_STREAM_H
#define MEMSCOPE_STREAM_H

#include "second.h"
#include "target.h"

/* Window buffers of the workers; make and populate them before the stop. */
struct ms_stream {
    struct ms_image *image;
    const struct ms_sink *sink; /* NULL: only keep */
    struct ms_reserve buffers;
    struct ms_second *second; /* not owned */
};
ms_result ms_stream_init(struct ms_stream *stream, struct ms_image *image,
                         const struct ms_sink *sink, struct ms_second *second);
void ms_stream_free(struct ms_stream *stream);

/* Feeds the windows of SPANS; what they ask to keep goes into the image's store. Stopped target only. */
ms_result ms_stream_live(struct ms_stream *stream, const struct ms_spans *spans);

/* Copies all of the process's own pages into the store but those that are there already. Stopped target only. */
ms_result ms_stream_keep_all(struct ms_stream *stream);

#endif
