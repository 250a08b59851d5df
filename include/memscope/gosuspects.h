/* What keeps memory of a Go program alive by habit: timers, contexts that nobody cancels, finalizers that wait. */
#ifndef MEMSCOPE_GOSUSPECTS_H
#define MEMSCOPE_GOSUSPECTS_H

#include <stdint.h>

#include "memscope/goqueues.h"
#include "memscope/known.h"
#include "memscope/names.h"

enum ms_go_suspect_kind {
    MS_GO_SUSPECT_TIMERS,     /* timers that call the same function */
    MS_GO_SUSPECT_CHILDREN,   /* children that a context holds until somebody cancels one or the other */
    MS_GO_SUSPECT_VALUES,     /* contexts with a value, each the parent of the next */
    MS_GO_SUSPECT_FINALIZERS, /* objects whose finalizers are to run */
    MS_GO_SUSPECT_CLEANUPS,   /* cleanups that are to run */
    MS_GO_SUSPECT_CYCLES,     /* objects with a finalizer that hold themselves: never freed */
    MS_GO_SUSPECT_KINDS
};
extern const char *const ms_go_suspect_names[MS_GO_SUSPECT_KINDS]; /* "timers", … */

/* Strings live as long as the knowledge that it was found with. */
struct ms_go_suspect {
    enum ms_go_suspect_kind kind;
    uint64_t
        count; /* of timers, of children that nothing else holds, of values in the chain, of entries, of objects */
    struct ms_tally retained; /* what would be lost with them, themselves too */
    double share;             /* of the bytes of all live blocks */
    const char *most;         /* the type that most of the bytes are of, or NULL: not known … */
    struct ms_tally most_of;  /* … and how much is */

    enum ms_go_timer_kind timer;
    const char *function; /* timers: what they call; finalizers, cleanups: what runs them is in; or NULL */
    uint64_t stopped;     /* timers: of them stopped, but still in the heap */
    uint64_t far;         /* timers: of them those that fire in an hour at the earliest */

    uint64_t address;       /* children, values: the parent, the last of the chain; a cycle's biggest; else 0 */
    const char *type;       /* of that */
    const char *root;       /* where the shortest chain of pointers to that begins, in words; or NULL */
    const char *expression; /* that chain as Go writes it; or NULL */
    uint64_t children;      /* all that it has */

    uint64_t goroutine; /* finalizers, cleanups: number of what runs them; 0: none is known */
    const char *state;  /* of that goroutine */
    uint64_t waited_ns; /* about how long it waits, 0: not known */
};
struct ms_go_suspects {
    MS_VECTOR(struct ms_go_suspect) list; /* that retain most first */
};

/*
 * Those that retain a hundredth of the live heap, which has LIVE bytes, at least; of timers that beside themselves. SCAN is of a Go heap and marked, TREE its dominators; TYPES
 * may be NULL: then contexts are not known.
 */
ms_result ms_find_go_suspects(struct ms_scan *scan, struct ms_image *image, struct ms_types *types,
                              const struct ms_dominators *tree, struct ms_knowledge *knowledge,
                              struct ms_names *names, uint64_t live, struct ms_go_suspects *suspects);
void ms_go_suspects_free(struct ms_go_suspects *suspects);

#endif
