/* Reading a running process: only pages that are there, many pieces at once. */
#include "memscope/live.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proc.h"
#include "target.h"

#define BATCH 256u /* pieces in one call; at most IOV_MAX */

static ms_result open_process(pid_t pid, struct ms_image *image)
{
    image->pid = pid;
    MS_TRY(ms_proc_meet(pid, image->source));
    MS_TRY(ms_proc_open_memory(pid, image->source));
    if (asprintf(&image->origin, "process %d", pid) < 0) {
        image->origin = NULL;
        return ms_error_nomem("the image");
    }
    MS_TRY(ms_proc_auxv(image));
    MS_TRY(ms_proc_maps(image));
    image->source->stopped = image->source->running = true;
    return NULL;
}

ms_result ms_live_open(pid_t pid, struct ms_image **out)
{
    struct ms_image *image;
    MS_TRY(ms_image_new(MS_LEAN, &image));
    struct ms_error *error = open_process(pid, image);
    if (error)
        ms_image_free(image);
    else
        *out = image;
    return error;
}

/* Are all pages of [address, address + size) there, in no other process? */
static bool is_own(const struct ms_image_source *source, uint64_t address, size_t size)
{
    uint64_t page = address / MS_PAGE;
    const uint64_t last = (address + size - 1) / MS_PAGE;
    while (page <= last) {
        uint64_t entries[64];
        size_t count = last - page + 1;
        count = count < 64 ? count : 64;
        ssize_t got = pread(source->pagemap_fd, entries, count * 8, (off_t)(page * 8));
        if (got < 8)
            return false;
        for (size_t i = 0; i < (size_t)got / 8; i++)
            if (!(entries[i] & MS_PAGEMAP_PRESENT) ||
                !(entries[i] & (MS_PAGEMAP_EXCLUSIVE | MS_PAGEMAP_FILE)))
                return false;
        page += (size_t)got / 8;
    }
    return true;
}

/* As ms_image_read(), and of pages of maps that it does not know. */
static bool read_alone(const struct ms_image *image, const struct ms_live_piece *piece)
{
    const struct ms_image_source *source = image->source;
    if (ms_image_read(image, piece->address, piece->buffer, piece->size))
        return true;
    for (uint64_t page = piece->address / MS_PAGE;
         page <= (piece->address + piece->size - 1) / MS_PAGE; page++)
        if (ms_page_state(source, page * MS_PAGE) != MS_PAGE_THERE)
            return false;
    return pread(source->mem_fd, piece->buffer, piece->size, (off_t)piece->address) ==
           (ssize_t)piece->size;
}

/* Reads those of at most BATCH pieces that may be read by process_vm_readv, until one fails. */
static void read_batch(const struct ms_image_source *source, struct ms_live_piece *pieces,
                       size_t count)
{
    struct iovec remote[BATCH], local[BATCH];
    struct ms_live_piece *asked[BATCH] = {0};
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        struct ms_live_piece *piece = &pieces[i];
        piece->had = false;
        if (!piece->size || !is_own(source, piece->address, piece->size))
            continue;
        asked[wanted] = piece;
        remote[wanted] = (struct iovec){(void *)piece->address, piece->size};
        local[wanted++] = (struct iovec){piece->buffer, piece->size};
    }
    ssize_t got = wanted ? process_vm_readv(source->tid, local, wanted, remote, wanted, 0) : 0;
    for (size_t i = 0; i < wanted && got >= (ssize_t)asked[i]->size; i++) {
        asked[i]->had = true;
        got -= (ssize_t)asked[i]->size;
    }
}

size_t ms_live_read(const struct ms_image *image, struct ms_live_piece *pieces, size_t count)
{
    size_t had = 0;
    for (size_t i = 0; i < count; i += BATCH)
        read_batch(image->source, pieces + i, count - i < BATCH ? count - i : BATCH);
    for (size_t i = 0; i < count; i++) {
        struct ms_live_piece *piece = &pieces[i];
        if (!piece->had)
            piece->had = !piece->size || (piece->address + piece->size > piece->address &&
                                          read_alone(image, piece));
        had += piece->had;
    }
    /* process_vm_readv goes by the number: after an exec it would read what is there now */
    if (had && ms_live_ended(image))
        for (had = 0; count-- > 0;)
            pieces[count].had = false;
    return had;
}

bool ms_live_ended(const struct ms_image *image)
{
    uint64_t entry;
    return pread(image->source->pagemap_fd, &entry, sizeof entry, 0) != sizeof entry;
}
