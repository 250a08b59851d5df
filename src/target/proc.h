/* Private to src/target: what /proc/PID says. */
#ifndef MEMSCOPE_PROC_H
#define MEMSCOPE_PROC_H

#include "target.h"

/*
 * Opens /proc/PID of a process that can be inspected into SOURCE, or says in
 * one line why it cannot be: no such process, zombie, kernel thread, 32-bit,
 * already traced, no permission, ourselves.
 */
ms_result ms_proc_open(pid_t pid, struct ms_image_source *source);

/* The same as far as a process that stays untouched is concerned: it may be traced by others, and mem and pagemap
 * are not opened. */
ms_result ms_proc_meet(pid_t pid, struct ms_image_source *source);

/* (Re)opens mem and pagemap: they belong to the memory that the process had when they were opened. */
ms_result ms_proc_open_memory(pid_t pid, struct ms_image_source *source);

/* "process PID has ended"; or it called exec, so that what was open of it is gone: again. */
ms_result ms_proc_ended(pid_t pid);

/* Why PTRACE_SEIZE of TID failed with ERRNUM, with what mends it. */
ms_result ms_proc_diagnose(pid_t tid, int errnum);

/* A whole file under DIRECTORY, NUL-terminated; the caller frees it. NULL when it cannot be read. */
char *ms_proc_read(int directory, const char *name, size_t *size);

/* The number after KEY ("TracerPid:") in /proc/TID/status, or -1. */
long ms_proc_status(pid_t tid, const char *key);

/* State letter in /proc/TID/stat, or 0 when it is gone. */
char ms_proc_state(pid_t tid);

/* (Re)reads maps into image->regions; runs are not filled. */
ms_result ms_proc_maps(struct ms_image *image);

/* Fills rss and so on of the regions, and the image's rollup, from smaps. */
ms_result ms_proc_smaps(struct ms_image *image);

/* Reads the auxiliary vector and the path of the executable. */
ms_result ms_proc_auxv(struct ms_image *image);

/* Descriptors of epoll instances; looked for before the stop, since a process may have many. */
struct ms_epolls {
    MS_VECTOR(int) fds;
};
void ms_proc_find_epolls(const struct ms_image *image, struct ms_epolls *epolls);

/* Pointers that the kernel keeps: data of epoll registrations, values of POSIX timers. */
void ms_proc_kernel_pointers(struct ms_image *image, const struct ms_epolls *epolls);

/* All thread ids of the process, in a growing array. */
struct ms_tids {
    MS_VECTOR(pid_t) list;
};
ms_result ms_proc_tasks(const struct ms_image_source *source, struct ms_tids *tids);

/* Frees the regions and their runs. */
void ms_image_drop_regions(struct ms_image *image);

#endif
