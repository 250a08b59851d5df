/* What an image of a Go process needs to have for those who do not ask about its objects. */
#ifndef MEMSCOPE_GOSELECTION_H
#define MEMSCOPE_GOSELECTION_H

#include "memscope/capture.h"
#include "memscope/go.h"

enum ms_go_need {
    MS_GO_NEED_GOROUTINES, /* ms_go_goroutines_new(), and what stacks and labels say */
    MS_GO_NEED_BUCKETS,    /* ms_go_buckets_read() */
};

struct ms_go_selection;

/*
 * Looks at process PID, which runs on. SELECTION is NULL when it cannot be told what will be needed, as it is no Go
 * program, or one whose runtime is not known without debug information, or when that is nearly all: choosing would
 * take longer. Then the image must be full.
 */
ms_result ms_go_selection_new(pid_t pid, enum ms_go_need need, struct ms_go_selection **selection);
void ms_go_selection_free(struct ms_go_selection *selection);

/* GO is of the image: what was found of the runtime by searching is not searched again. SELECTION may be NULL. */
void ms_go_selection_share(const struct ms_go_selection *selection, struct ms_go *go);

/* For ms_capture(); of NULL it is NULL. */
const struct ms_selection *ms_go_selection(const struct ms_go_selection *selection);

#endif
