/* Separate debug files: by build-id and debuglink, in the target's root, the sysroot and ours. */
#include "debugfile.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <libelf.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* libdwfl's own: beside the file, in .debug there, and in the distribution's place. */
#define DEFAULT_PATH ":.debug:/usr/lib/debug"
/* Build-ids are 20 bytes (SHA-1), 16 (MD5, UUID) or what --build-id=0x… says. */
#define BUILD_ID_MAX 64
#define PATH_SIZE 4096

/* What is looked for. */
struct wanted {
    const struct ms_debug_search *search;
    const uint8_t *id; /* build-id */
    int id_size;       /* 0: none, then the checksum decides */
    const char *link;  /* base name, or NULL */
    uint32_t crc;
    int root; /* the directory that paths start at */
};

/*
 * Opens PATH below ROOT, where symbolic links stay: a container's absolute ones
 * mean its own files. A FIFO there must not stop us. -1 when it is no regular file.
 */
static int open_below(int root, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    struct stat st;
    long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) /* before Linux 5.6, or a seccomp filter */
        fd = openat(root, path + strspn(path, "/"), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    if (fstat((int)fd, &st) == 0 && S_ISREG(st.st_mode))
        return (int)fd;
    close((int)fd);
    return -1;
}

/* The checksum of .gnu_debuglink: CRC-32 as zlib has it (gdb manual, Separate Debug Files). */
static bool crc_matches(int fd, uint32_t wanted)
{
    uint32_t table[256], crc = UINT32_MAX;
    uint8_t buffer[16384];
    ssize_t got;
    off_t at = 0;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    while ((got = pread(fd, buffer, sizeof buffer, at)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            crc = crc >> 8 ^ table[(crc ^ buffer[i]) & 0xff];
        at += got;
    }
    return got == 0 && ~crc == wanted;
}

static bool matches(const struct wanted *wanted, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0 ||
        (st.st_dev == wanted->search->device && st.st_ino == wanted->search->inode))
        return false;
    if (!wanted->id_size)
        return crc_matches(fd, wanted->crc);
    const void *id = NULL;
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    ssize_t size = elf ? dwelf_elf_gnu_build_id(elf, &id) : -1;
    bool same = id && size == wanted->id_size && !memcmp(id, wanted->id, (size_t)size);
    elf_end(elf);
    return same;
}

/* Opens PATH if it is what is wanted; *FOUND is then a copy of PATH. */
static int try_file(const struct wanted *wanted, const char *path, char **found)
{
    int fd = open_below(wanted->root, path);
    if (fd >= 0 && matches(wanted, fd) && (*found = strdup(path)))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* PLACE/.build-id/ab/cdef….debug */
static int try_id(const struct wanted *wanted, const char *place, char **found)
{
    char path[PATH_SIZE], hex[2 * BUILD_ID_MAX + 1];
    for (int i = 0; i < wanted->id_size; i++)
        snprintf(hex + 2 * i, 3, "%02x", wanted->id[i]);
    int length = snprintf(path, sizeof path, "%s/.build-id/%.2s/%s.debug", place, hex, hex + 2);
    return length < (int)sizeof path ? try_file(wanted, path, found) : -1;
}

/* DIRECTORY/LINK, DIRECTORY/PLACE/LINK or PLACE/DIRECTORY/LINK: of the module's file. */
static int try_link(const struct wanted *wanted, const char *place, char **found)
{
    char path[PATH_SIZE];
    const char *file = wanted->search->file, *slash = strrchr(file, '/');
    int directory = slash ? (int)(slash - file) : 0, length;
    if (*place == '/')
        length = snprintf(path, sizeof path, "%s%.*s/%s", place, directory, file, wanted->link);
    else
        length = snprintf(path, sizeof path, "%.*s/%s%s%s", directory, file, place,
                          *place ? "/" : "", wanted->link);
    return length < (int)sizeof path ? try_file(wanted, path, found) : -1;
}

/* All places of the path below one root. */
static int search_root(const struct wanted *wanted, char **found)
{
    char place[PATH_SIZE];
    const char *rest = wanted->search->path ? wanted->search->path : DEFAULT_PATH;
    int fd = -1;
    while (fd < 0) {
        size_t length = strcspn(rest, ":");
        /* libdwfl's prefixes: whether to compare checksums. They always are. */
        size_t prefix = length && (*rest == '+' || *rest == '-') ? 1 : 0;
        if (length < sizeof place) {
            memcpy(place, rest + prefix, length - prefix);
            place[length - prefix] = '\0';
            if (*place == '/' && wanted->id_size > 1)
                fd = try_id(wanted, place, found);
            if (fd < 0 && wanted->link)
                fd = try_link(wanted, place, found);
        }
        if (!rest[length])
            break;
        rest += length + 1;
    }
    return fd;
}

/* Opens a root directory, except one that is ours by another name. */
static int open_root(const char *path, const struct stat *ours)
{
    struct stat st;
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !ours || fstat(fd, &st) < 0 || st.st_dev != ours->st_dev ||
        st.st_ino != ours->st_ino)
        return fd;
    close(fd);
    return -1;
}

#define ROOTS 3u

/* The target's root, the sysroot, ours; -1 for what there is not or is the same as ours. */
static bool open_roots(const struct ms_debug_search *search, int roots[ROOTS])
{
    char target[64];
    struct stat ours;
    if (stat("/", &ours) < 0)
        return false;
    /* If the process is gone and its number taken, build-id or checksum will not match. */
    snprintf(target, sizeof target, "/proc/%d/root", (int)search->pid);
    roots[0] = search->pid ? open_root(target, &ours) : -1;
    roots[1] = search->sysroot ? open_root(search->sysroot, &ours) : -1;
    roots[2] = open_root("/", NULL);
    return true;
}

static void close_roots(const int roots[ROOTS])
{
    for (unsigned i = 0; i < ROOTS; i++)
        if (roots[i] >= 0)
            close(roots[i]);
}

static int search_roots(struct wanted *wanted, char **found)
{
    int fd = -1, roots[ROOTS];
    if (!open_roots(wanted->search, roots))
        return -1;
    for (unsigned i = 0; i < ROOTS && fd < 0; i++) {
        wanted->root = roots[i];
        if (wanted->root >= 0)
            fd = search_root(wanted, found);
    }
    close_roots(roots);
    return fd;
}

int ms_debugfile_open(const struct ms_debug_search *search, const char *path)
{
    int fd = -1, roots[ROOTS];
    if (!open_roots(search, roots))
        return -1;
    for (unsigned i = 0; i < ROOTS && fd < 0; i++)
        fd = roots[i] >= 0 ? open_below(roots[i], path) : -1;
    close_roots(roots);
    return fd;
}

/*
 * Not dwfl_standard_find_debuginfo(): it looks in our root alone and asks the servers
 * in DEBUGINFOD_URLS whether the user wants it or not.
 */
int ms_debugfile_find(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
                      const char *file, const char *link, GElf_Word crc, char **found)
{
    const struct ms_debug_search *search = *userdata;
    const unsigned char *id = NULL;
    GElf_Addr id_address;
    if (!search)
        return -1;
    struct wanted wanted = {.search = search, .crc = crc};
    wanted.id_size = dwfl_module_build_id(module, &id, &id_address);
    wanted.id = id;
    if (wanted.id_size < 0 || wanted.id_size > BUILD_ID_MAX)
        wanted.id_size = 0;
    if (link && *link && !strchr(link, '/'))
        wanted.link = link;
    int fd = search_roots(&wanted, found);
    if (fd < 0 && search->debuginfod)
        fd = dwfl_standard_find_debuginfo(module, userdata, name, base, file, link, crc, found);
    return fd;
}
