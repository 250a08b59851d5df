/* Private to src/cli: what a command is, and what commands share. */
#ifndef MEMSCOPE_CLI_COMMAND_H
#define MEMSCOPE_CLI_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "memscope/capture.h"
#include "memscope/goheap.h"
#include "memscope/goselection.h"
#include "memscope/output.h"

/* The commands: NAME, whose function is ms_command_NAME, and help in one line. */
#define MS_COMMANDS(COMMAND)                                                                       \
    COMMAND(leaks, "find blocks on the heap that nothing points to any more")                      \
    COMMAND(heap, "live blocks by type or size, and what keeps them alive")                        \
    COMMAND(attach, "browse all of that on the terminal")                                          \
    COMMAND(path, "what an address is, and the shortest chains of pointers that keep it alive")    \
    COMMAND(memstats, "account for every resident byte of the process")                            \
    COMMAND(goroutines, "what the goroutines of a Go program are doing, grouped by stack")         \
    COMMAND(gctrace, "what GODEBUG=gctrace=1 would print, of a Go process that runs without it")   \
    COMMAND(profile, "write a profile for pprof: of the heap, of goroutines")                      \
    COMMAND(ps, "list the processes that can be inspected")                                        \
    COMMAND(escapes, "variables that the compiler of a Go program moved to the heap")

/*
 * Runs a command; ARGV[0] is "memscope NAME". --help ends the program. STATUS is set when there is no error.
 */
typedef ms_result ms_command_function(int argc, char **argv, enum ms_status *status);
#define MS_DECLARE_COMMAND(name, help) ms_command_function ms_command_##name;
MS_COMMANDS(MS_DECLARE_COMMAND)

/* Options that all commands have, first in the options of each; options.c. */
struct ms_common {
    const char *target;  /* PID or core file */
    const char *operand; /* what a command takes behind the target, or NULL */
    const char *output;  /* -o, or NULL */
    const char *exe, *sysroot;
    int color; /* enum ms_color */
    bool json, quiet, verbose, debuginfod;
};

/* What an option takes, and the type of the member that keeps it. */
enum ms_takes {
    MS_TAKES_NOTHING, /* bool: it was given */
    MS_TAKES_TEXT,    /* const char *: of argv */
    MS_TAKES_WORD,    /* int: which of WORDS */
    MS_TAKES_NUMBER,  /* uint64_t, from LEAST to MOST */
    MS_TAKES_SIZE,    /* uint64_t: bytes, from "4096", "64k" or "1M" */
    MS_TAKES_OWN,     /* the function TAKE puts it where it belongs */
};

struct ms_option {
    const char *name; /* without --; NULL: only a letter */
    int letter;       /* 0: none */
    const char *argument, *help; /* in --help; ARGUMENT is NULL when it takes nothing */
    enum ms_takes takes;
    size_t into; /* offset of the member in the command's options */
    const char *const *words;
    unsigned word_count;
    uint64_t least, most;
    struct ms_error *(*take)(void *options, const char *text); /* TEXT is NULL without ARGUMENT */
};

struct ms_command_line {
    const char *operands; /* in --help: "TARGET" or what else; "" of a command that takes none */
    const char *operand;  /* what the second one is, in messages; NULL: there is none */
    const char *help;     /* behind \v: what comes after the list of options */
    const struct ms_option *options;
    size_t option_count;
};

/*
 * Reads ARGV into OPTIONS, which begin with a struct ms_common and have their
 * defaults. MS_USAGE says what is wrong; --help and --version end the program.
 */
ms_result ms_command_line_read(const struct ms_command_line *line, int argc, char **argv, void *options);

/* A progress line on stderr, when that is a terminal that takes it; progress.c. */
struct ms_progress {
    bool shown;
    uint64_t last_ns; /* when it was last drawn */
};
void ms_progress_show(void *progress, const char *stage, uint64_t done, uint64_t total);
void ms_progress_clear(struct ms_progress *progress);

/* An image of the target and what was found in it; session.c. */
struct ms_session {
    struct ms_scan *scan;       /* what analyses work on: that of go_heap, when there is one, else malloc's */
    struct ms_scan *malloc_scan;
    struct ms_image *image;
    struct ms_go_selection *selection; /* that it was taken with, or NULL */
    uint64_t missed;            /* ms_image_missed() when the scan of malloc had looked at it */
    struct ms_symbols *symbols; /* NULL until ms_session_go() */
    struct ms_types *types;     /* NULL until ms_session_go() */
    struct ms_go *go;           /* NULL until ms_session_go(), and of what is no Go program */
    struct ms_go_heap *go_heap; /* NULL until ms_session_heap(), and of what is no Go program */
    struct ms_progress progress;
};

/* Without a heap that is understood a report would be a lie: the error says WHAT cannot be done, and why. */
ms_result ms_session_require_heap(const struct ms_session *session, const char *what);
/* Where a report has something to say all the same: warns of WHAT is not as usual then, and why. */
void ms_session_warn_without_heap(const struct ms_session *session, const char *what);

/* Takes the image and settles the heap; WANT and ACCOUNT as in struct ms_capture_options. */
ms_result ms_session_open(const struct ms_common *common, enum ms_want want, bool account,
                          struct ms_session *session);
/* The same for what looks at a heap: of a Go program the image is full, because its heap is read from that. */
ms_result ms_session_open_heap(const struct ms_common *common, enum ms_want want, bool account,
                               struct ms_session *session);
/* The same for what asks for no objects of a Go program: of that the image has what NEED says, of others all. */
ms_result ms_session_open_go(const struct ms_common *common, enum ms_go_need need, struct ms_session *session);
/* After that and the analysis: warns when that needed more than what it was said to need. */
void ms_session_warn_missed(struct ms_session *session);
/* Symbols and types and, of a Go program, the heap: SCAN is then that of Go's objects. */
ms_result ms_session_heap(const struct ms_common *common, struct ms_session *session);
/*
 * The same for what looks for leaks. A Go program has two heaps: Go's, where nothing can leak, and malloc's when C
 * code is in it, which is worth a look, and a warning, when Go's cannot be read.
 */
ms_result ms_session_heaps(const struct ms_common *common, struct ms_session *session);
/* Symbols, types and, when the target is a Go program, its runtime. */
ms_result ms_session_go(const struct ms_common *common, struct ms_session *session);
void ms_session_close(struct ms_session *session);

/* Before the target is bothered: could PATH be written? NULL is stdout; report_file.c. */
ms_result ms_report_file_check(const char *path);

/* Writes REPORT onto VIEW as OPTIONS say, which are the command's own. */
typedef ms_result ms_report_writer(const struct ms_view *view, const struct ms_session *session,
                                   const void *options, const void *report);
/* Has WRITE write to what COMMON names: stdout, or a file that is there whole or not at all. */
ms_result ms_report_write(const struct ms_common *common, const struct ms_session *session,
                          ms_report_writer *write, const void *options, const void *report);

/* Are colours wanted on FILE? COLOR is an enum ms_color. */
bool ms_wants_color(int color, FILE *file);

#endif
