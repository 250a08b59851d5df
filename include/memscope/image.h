/* The image: everything known about the target at one instant, from a live process or an ELF core. */
#ifndef MEMSCOPE_IMAGE_H
#define MEMSCOPE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/error.h"
#include "memscope/memory.h"

#define MS_PAGE 4096u

enum ms_prot {
    MS_READ = 1,
    MS_WRITE = 2,
    MS_EXEC = 4,
    MS_SHARED = 8, /* MAP_SHARED */
};

enum ms_region_kind {
    MS_REGION_ANON,   /* private anonymous, unnamed */
    MS_REGION_BRK,    /* [heap] */
    MS_REGION_STACK,  /* [stack], the main thread's */
    MS_REGION_FILE,   /* private map of a file: modules' text and data, file maps */
    MS_REGION_SHARED, /* shared map: of a file, memfd, SysV or anonymous */
    MS_REGION_VDSO,   /* [vdso]: code without a file */
    MS_REGION_DEVICE, /* device, [vvar], [vsyscall]: never read */
};

/* A run of pages of one region that are present (or swapped) and of one kind. */
struct ms_run {
    uint64_t start, end;  /* page-aligned, half-open */
    const uint8_t *bytes; /* kept bytes of this run (owned by the image), NULL when not kept */
    bool shared;          /* some page of it may be mapped by another process too (COW) */
    bool file;            /* pages of a file or of shared memory, not anonymous ones */
    bool swapped;
};

/* A line of /proc/PID/maps (or a PT_LOAD of a core). */
struct ms_region {
    uint64_t start, end; /* half-open */
    uint64_t offset;     /* in the file, bytes */
    uint64_t inode;
    uint32_t major, minor;
    uint32_t prot; /* enum ms_prot, or-ed */
    enum ms_region_kind kind;
    bool deleted;            /* the file has no name any more */
    bool orphan;             /* … and cannot be opened in any other way: its pages are kept */
    const char *path;        /* "" when none; owned by the image */
    struct ms_run *runs;     /* sorted; pages known to hold something, see ms_image_runs() */
    size_t run_count;        /* valid when surveyed */
    bool surveyed;           /* runs are filled */
    bool left_out;           /* nobody asked for it (struct ms_selection): it cannot be read after the stop */
    /* From smaps, in bytes; only when the capture asked for the account (ms_image.accounted). */
    uint64_t rss, anonymous, swap, pss, private_dirty;
};

/* x86-64 general registers as struct user_regs_struct (sys/user.h) lays them out. */
#define MS_REGISTERS 27
extern const char *const ms_register_names[MS_REGISTERS];
enum { MS_REG_RBP = 4, MS_REG_RDI = 14, MS_REG_ORIG_RAX = 15, MS_REG_RIP = 16, MS_REG_RSP = 19, MS_REG_FS_BASE = 21, MS_REG_GS_BASE = 22 };

struct ms_thread {
    pid_t tid;
    char name[16];   /* full images only */
    char state;      /* of /proc/PID/task/TID/stat before the stop: R S D T …; full images only */
    bool registers_known; /* false: it could not be stopped (vfork parent, D state) */
    uint64_t registers[MS_REGISTERS];
    const uint8_t *xstate; /* NT_X86_XSTATE (or NT_FPREGSET) contents; the image's; NULL when unknown */
    size_t xstate_size;
};

/* A pointer that only the kernel keeps for the target. */
struct ms_kernel_pointer {
    uint64_t value;
    const char *source; /* "epoll", "timer": static */
};

/* How an image is kept; chosen in ms_capture() alone. */
enum ms_image_kind {
    MS_LEAN, /* bytes stream through a consumer; few are kept */
    MS_FULL, /* all bytes are kept */
    MS_CORE, /* bytes are in a core file */
};

struct ms_image_source; /* private to src/target */

struct ms_image {
    enum ms_image_kind kind;
    pid_t pid;             /* 0 when a core does not say */
    char *exe;             /* path as the target sees it; owned */
    char *origin;          /* "process 123" or "core FILE"; owned */
    struct ms_region *regions; /* sorted by address; owned */
    size_t region_count;
    struct ms_thread *threads; /* owned */
    size_t thread_count;
    uint64_t *auxv; /* pairs (type, value); owned */
    size_t auxv_count; /* pairs */
    MS_VECTOR(struct ms_kernel_pointer) kernel_pointers;
    bool accounted;          /* regions carry smaps' figures */
    uint64_t rollup_rss;     /* Rss of the whole process in the same stop, bytes */
    bool halted;             /* all threads were in a group-stop before: another stop shows the same */
    uint64_t taken_ns;       /* CLOCK_MONOTONIC at the last stop; 0 for a core */
    uint64_t pause_ns;       /* first interrupt to last detach of the longest stop; 0 for a core */
    unsigned attempts;       /* stops that were needed */
    uint64_t stopped_ns;     /* sum over all stops */
    uint64_t bytes_read;     /* in the stop */
    bool incomplete;         /* something that matters is missing; a warning says what */
    MS_VECTOR(char *) warnings; /* what could not be read or is not exact; owned strings */
    struct ms_image_source *source; /* owned */
};

/* Frees an image and all it owns; NULL is allowed. */
void ms_image_free(struct ms_image *image);

/* Adds a warning that every report of this image shows; printf-like. */
void ms_image_warn(struct ms_image *image, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The region that holds ADDRESS, or NULL. */
const struct ms_region *ms_image_region(const struct ms_image *image, uint64_t address);

/*
 * Reads LENGTH bytes of the target at ADDRESS. While the target is stopped they
 * come from it (never from a page that is not present), later from what was
 * kept, and for read-only and unmodified file pages from the files. Pages that
 * were never touched read as zeros.
 * Returns false when some byte is not to be had; BUFFER is then undefined.
 */
bool ms_image_read(const struct ms_image *image, uint64_t address, void *buffer, size_t length);

/* The same for one 8-byte word; VALUE is 0 on failure. */
bool ms_image_read_word(const struct ms_image *image, uint64_t address, uint64_t *value);

/* Reads that failed after the stop because what they asked for was left out. */
uint64_t ms_image_missed(const struct ms_image *image);

/*
 * Reads SIZE bytes at each of COUNT addresses, none of which may cross a page,
 * one behind another into BUFFER: many small reads at the price of few. What
 * cannot be had reads as zeros.
 */
void ms_image_gather(const struct ms_image *image, const uint64_t *addresses, size_t count, size_t size,
                     uint8_t *buffer);

/* Kept bytes of [address, address + length) without a copy, or NULL when they are not in one piece. */
const uint8_t *ms_image_bytes(const struct ms_image *image, uint64_t address, size_t length);

/* Kept bytes of all that is kept in one piece around ADDRESS, from START to END; NULL when it is not kept. */
const uint8_t *ms_image_piece(const struct ms_image *image, uint64_t address, uint64_t *start, uint64_t *end);

/* Value of auxiliary vector entry TYPE (AT_…), or 0. */
uint64_t ms_image_auxv(const struct ms_image *image, uint64_t type);

/*
 * Opens the file behind a region as the target sees it: through map_files, then
 * /proc/PID/root, then --sysroot; its device and inode are checked.
 * Returns a file descriptor that the caller closes, or -1.
 */
int ms_image_open_file(const struct ms_image *image, const struct ms_region *region);

#endif
