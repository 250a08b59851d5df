/* Memory of our own: large reservations, growing arrays, what is available. */
#include "memscope/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define HUGE_PAGE (2ul << 20)

/* Since Linux 5.14, include/uapi/asm-generic/mman-common.h; Debian 12's libc has it, older ones not. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

ms_result ms_reserve(struct ms_reserve *reserve, size_t size, const char *what)
{
    *reserve = (struct ms_reserve){NULL, 0};
    if (size == 0)
        return NULL;
    if (size > SIZE_MAX / 4)
        return ms_error_nomem(what);
    size = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    /* One huge page more, so that the base can be aligned to one. */
    uint8_t *base = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return ms_error_errno(MS_TARGET, errno, "cannot reserve %zu bytes for %s", size, what);
    uint8_t *aligned = (uint8_t *)(((uintptr_t)base + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
    if (aligned != base)
        munmap(base, (size_t)(aligned - base));
    if (aligned + size != base + size + HUGE_PAGE)
        munmap(aligned + size, (size_t)(base + HUGE_PAGE - aligned));
    *reserve = (struct ms_reserve){aligned, size};
    return NULL;
}

void ms_reserve_populate(struct ms_reserve *reserve, size_t from, size_t size)
{
    if (from >= reserve->size)
        return;
    if (size > reserve->size - from)
        size = reserve->size - from;
    uint8_t *start = reserve->base + (from & ~(size_t)4095);
    size_t length = (size + (from & 4095) + 4095) & ~(size_t)4095;
    if (length >= HUGE_PAGE)
        madvise(start, length, MADV_HUGEPAGE);
    if (madvise(start, length, MADV_POPULATE_WRITE) == 0)
        return;
    for (size_t i = 0; i < length; i += 4096) {
        volatile uint8_t *byte = start + i;
        *byte = *byte; // cppcheck-suppress selfAssignment
    }
}

void ms_reserve_free(struct ms_reserve *reserve)
{
    if (reserve->base)
        munmap(reserve->base, reserve->size);
    *reserve = (struct ms_reserve){NULL, 0};
}

void *ms_vector_grow_(void **items, size_t *count, size_t *capacity, size_t size)
{
    if (*count == *capacity) {
        size_t more = *capacity ? *capacity * 2 : 16;
        void *grown = reallocarray(*items, more, size);
        if (!grown)
            return NULL;
        *items = grown;
        *capacity = more;
    }
    void *item = (char *)*items + (*count)++ * size;
    return memset(item, 0, size);
}

/* The number after KEY in a file like /proc/meminfo, times SCALE; UINT64_MAX when there is none. */
static uint64_t number_in_file(const char *path, const char *key, uint64_t scale)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return UINT64_MAX;
    char line[256];
    uint64_t value = UINT64_MAX;
    size_t length = strlen(key);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) != 0)
            continue;
        char *end;
        errno = 0;
        unsigned long long n = strtoull(line + length, &end, 10);
        if (end != line + length && errno == 0 && n < UINT64_MAX / scale)
            value = n * scale;
        break;
    }
    fclose(file);
    return value;
}

uint64_t ms_reserve_slack(void)
{
    struct rlimit limit;
    bool counted = number_in_file("/proc/sys/vm/overcommit_memory", "", 1) == 2;
    bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return counted || limited ? 32ull << 20 : 16ull << 30;
}

/* What one memory cgroup still allows: LIMIT_FILE - USAGE_FILE, page cache counted as free. */
static uint64_t cgroup_room(const char *dir, const char *limit_file, const char *usage_file,
                            const char *cache_key)
{
    char path[4352];
    snprintf(path, sizeof path, "%s/%s", dir, limit_file);
    uint64_t limit = number_in_file(path, "", 1); /* "max" is no number */
    if (limit > UINT64_MAX / 4) /* v1 says 0x7ffffffffffff000 for none */
        return UINT64_MAX;
    snprintf(path, sizeof path, "%s/%s", dir, usage_file);
    uint64_t usage = number_in_file(path, "", 1);
    if (usage == UINT64_MAX)
        return UINT64_MAX;
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    uint64_t cache = number_in_file(path, cache_key, 1);
    if (cache != UINT64_MAX)
        usage -= cache < usage ? cache : usage;
    return limit > usage ? limit - usage : 0;
}

/* The least room of the cgroup NAME and its ancestors under MOUNT. */
static uint64_t cgroup_chain_room(const char *mount, char *name, bool v2)
{
    uint64_t room = UINT64_MAX;
    for (;;) {
        char dir[4224];
        snprintf(dir, sizeof dir, "%s%s", mount, name);
        uint64_t here = v2 ? cgroup_room(dir, "memory.max", "memory.current", "inactive_file ")
                           : cgroup_room(dir, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                         "total_inactive_file ");
        if (here < room)
            room = here;
        char *slash = strrchr(name, '/');
        if (!slash || name[0] == '\0')
            return room;
        *slash = '\0'; /* up to the parent; the root itself is "" */
    }
}

uint64_t ms_memory_available(void)
{
    uint64_t available = number_in_file("/proc/meminfo", "MemAvailable:", 1024);
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4096];
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *name = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!name)
            continue;
        *name++ = '\0';
        bool v2 = controllers[1] == '\0';
        if (!v2 && !strstr(controllers + 1, "memory"))
            continue;
        /* Inside a container's cgroup namespace NAME is relative to what is mounted: "/" works there. */
        uint64_t room = cgroup_chain_room(v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory", name, v2);
        if (room < available)
            available = room;
    }
    if (file)
        fclose(file);
    /* A tenth is left to others. */
    return available == UINT64_MAX ? available : available - available / 10;
}
