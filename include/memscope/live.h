/* A process that runs on while it is read, a little at a time: no stop, no page of it faulted in.
 */
#ifndef MEMSCOPE_LIVE_H
#define MEMSCOPE_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/image.h"

/*
 * An image of process PID that keeps nothing: ms_image_read() asks the process, as it runs, and
 * from pages that are present only; others are read from their files, or are zeros when they were
 * never touched. What is swapped out, and all of a process that has ended or called exec, is not
 * to be had. Values that belong together may be of different instants. The regions are those of
 * the opening; there are no threads and no runs. Symbols, types and ms_go_open() work with it.
 * Errors have status MS_TARGET and say what to do.
 */
ms_result ms_live_open(pid_t pid, struct ms_image **image);

/* A piece of memory to read. */
struct ms_live_piece {
    uint64_t address;
    void *buffer; /* the caller's, of SIZE bytes; undefined when the piece was not to be had */
    size_t size;
    bool had; /* is set: was it read? */
};

/*
 * Reads COUNT pieces, all in one system call where the pages are the process's own (and two to see
 * that they are there). Unlike ms_image_read() it also knows maps that are newer than the image.
 * Returns how many were had.
 */
size_t ms_live_read(const struct ms_image *image, struct ms_live_piece *pieces, size_t count);

/* Has the process ended, or replaced its memory by exec? Then no read will succeed any more. */
bool ms_live_ended(const struct ms_image *image);

#endif
