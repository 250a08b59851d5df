/* plainread.c - times what no stop can avoid: one worker's process_vm_readv of all memory. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/*
 * plainread PID [ROUNDS]: reads the resident pages of PID's private writable maps into memory that
 * is populated beforehand, in huge pages where the system has them, and prints
 *
 *     bytes BYTES pieces PIECES ns NANOSECONDS      the best of ROUNDS (1)
 *
 * The target must be idle. Like memscope in its stop, the reader asks for real-time priority.
 */
#define PAGE 4096u
#define BATCH 512           /* pieces a call takes; at most IOV_MAX */
#define BATCH_BYTES (1u << 30) /* a call returns at most 2 GiB */
#define HUGE_PAGE (2u << 20)

static struct iovec *pieces;
static size_t piece_count, piece_room;
static uint64_t total;

static void die(const char *what) {
    perror(what);
    exit(3);
}

static void add_piece(uint64_t start, uint64_t end) {
    total += end - start;
    while (start < end) {
        uint64_t size = end - start < BATCH_BYTES ? end - start : BATCH_BYTES;
        if (piece_count == piece_room) {
            piece_room = piece_room ? piece_room * 2 : 1024;
            pieces = reallocarray(pieces, piece_room, sizeof *pieces);
            if (pieces == NULL)
                die("reallocarray");
        }
        pieces[piece_count++] = (struct iovec){(void *)(uintptr_t)start, size};
        start += size;
    }
}

/* Adds the resident pages of one map. */
static void add_map(int pagemap, uint64_t start, uint64_t end) {
    static uint64_t entries[8192];
    uint64_t from = 0;

    for (uint64_t at = start; at < end;) {
        size_t pages = (end - at) / PAGE < 8192 ? (end - at) / PAGE : 8192;
        ssize_t got = pread(pagemap, entries, pages * 8, (off_t)(at / PAGE * 8));
        if (got < 8)
            die("pagemap");
        for (size_t i = 0; i < (size_t)got / 8; i++, at += PAGE) {
            int present = entries[i] >> 63 & 1;
            if (present && from == 0)
                from = at;
            if (!present && from != 0) {
                add_piece(from, at);
                from = 0;
            }
        }
    }
    if (from != 0)
        add_piece(from, end);
}

static void survey(const char *pid) {
    char name[64], line[8192], access[5];
    uint64_t start, end;

    snprintf(name, sizeof name, "/proc/%s/maps", pid);
    FILE *maps = fopen(name, "r");
    snprintf(name, sizeof name, "/proc/%s/pagemap", pid);
    int pagemap = open(name, O_RDONLY);
    if (maps == NULL || pagemap < 0)
        die(name);
    while (fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, access) == 3 &&
            access[0] == 'r' && access[1] == 'w' && access[3] == 'p')
            add_map(pagemap, start, end);
    fclose(maps);
    close(pagemap);
}

static uint8_t *room_for(uint64_t bytes) {
    bytes = (bytes / HUGE_PAGE + 2) * HUGE_PAGE;
    uint8_t *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        die("mmap");
    room = (uint8_t *)(((uintptr_t)room + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    madvise(room, bytes - HUGE_PAGE, MADV_HUGEPAGE);
    memset(room, 1, bytes - HUGE_PAGE);
    return room;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void read_all(pid_t pid, uint8_t *room) {
    for (size_t i = 0; i < piece_count;) {
        size_t count = 0, bytes = 0;
        while (i + count < piece_count && count < BATCH &&
               bytes + pieces[i + count].iov_len <= BATCH_BYTES)
            bytes += pieces[i + count++].iov_len;
        struct iovec local = {room, bytes};
        ssize_t got = process_vm_readv(pid, &local, 1, pieces + i, count, 0);
        if (got != (ssize_t)bytes) {
            if (got >= 0)
                fprintf(stderr, "plainread: %zd of %zu bytes\n", got, bytes);
            die("process_vm_readv");
        }
        room += bytes;
        i += count;
    }
}

int main(int argc, char **argv) {
    int rounds = argc > 2 ? atoi(argv[2]) : 1;
    uint64_t best = UINT64_MAX;
    struct sched_param priority = {.sched_priority = 1};

    if (argc < 2)
        return 2;
    survey(argv[1]);
    uint8_t *room = room_for(total);
    sched_setscheduler(0, SCHED_FIFO, &priority); /* refused: at normal priority then */
    for (int i = 0; i < rounds; i++) {
        uint64_t begin = now();
        read_all(atoi(argv[1]), room);
        uint64_t took = now() - begin;
        best = took < best ? took : best;
    }
    printf("bytes %" PRIu64 " pieces %zu ns %" PRIu64 "\n", total, piece_count, best);
    return 0;
}
