/* Cores built by hand: each oddity of a hostile or broken core, and what must come of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "memscope/capture.h"

#define PAGE MS_PAGE
#define BASE 0x555500000000ull

/* A core in the making. Segments' bytes lie behind one another, 16 bytes off page alignment. */
struct maker {
    Elf64_Ehdr header;
    Elf64_Phdr segments[16];
    unsigned count;
    uint8_t notes[65536], data[32 * PAGE];
    size_t note_size, data_size;
    uint64_t note_claim; /* added to the size that the note segment claims */
    size_t keep;         /* bytes of the file that are written; 0: all */
};

static char path[] = "/tmp/memscope-test-core-XXXXXX";

static struct maker *make(void)
{
    struct maker *m = calloc(1, sizeof *m);
    assert_non_null(m);
    memcpy(m->header.e_ident, ELFMAG, SELFMAG);
    m->header.e_ident[EI_CLASS] = ELFCLASS64;
    m->header.e_ident[EI_DATA] = ELFDATA2LSB;
    m->header.e_ident[EI_VERSION] = EV_CURRENT;
    m->header.e_type = ET_CORE;
    m->header.e_machine = EM_X86_64;
    m->header.e_version = EV_CURRENT;
    m->header.e_phoff = m->header.e_ehsize = sizeof m->header;
    m->header.e_phentsize = sizeof(Elf64_Phdr);
    return m;
}

static void note(struct maker *m, const char *owner, uint32_t type, const void *bytes, size_t size)
{
    Elf64_Nhdr header = {(uint32_t)strlen(owner) + 1, (uint32_t)size, type};
    uint8_t *to = m->notes + m->note_size;
    memcpy(to, &header, sizeof header);
    memcpy(to + sizeof header, owner, header.n_namesz);
    to += sizeof header + (header.n_namesz + 3) / 4 * 4;
    memcpy(to, bytes, size);
    m->note_size = (size_t)(to - m->notes) + (size + 3) / 4 * 4;
}

/* FILL of each dumped page; the first 8 bytes are its address. FILL 0: a page of zeros. */
static void load(struct maker *m, uint64_t address, uint32_t flags, const char *fill, size_t pages)
{
    Elf64_Phdr *s = &m->segments[m->count++];
    *s = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = flags, .p_vaddr = address,
                      .p_memsz = pages * PAGE, .p_filesz = strlen(fill) * PAGE,
                      .p_offset = m->data_size};
    for (; *fill; fill++, address += PAGE, m->data_size += PAGE) {
        memset(m->data + m->data_size, *fill == '0' ? 0 : *fill, PAGE);
        if (*fill != '0')
            memcpy(m->data + m->data_size, &address, sizeof address);
    }
}

static void thread(struct maker *m, int tid, uint64_t stack_pointer)
{
    struct elf_prstatus status = {.pr_pid = tid};
    status.pr_reg[MS_REG_RSP] = stack_pointer;
    note(m, "CORE", NT_PRSTATUS, &status, sizeof status);
}

static void process(struct maker *m, int pid, const char *command)
{
    struct elf_prpsinfo info = {.pr_pid = pid};
    memcpy(info.pr_fname, command, strlen(command));
    note(m, "CORE", NT_PRPSINFO, &info, sizeof info);
}

/* NT_FILE of one entry. */
static void file(struct maker *m, uint64_t start, uint64_t end, uint64_t page, const char *name)
{
    uint64_t head[5] = {1, PAGE, start, end, page};
    uint8_t bytes[512];
    memcpy(bytes, head, sizeof head);
    memcpy(bytes + sizeof head, name, strlen(name) + 1);
    note(m, "CORE", NT_FILE, bytes, sizeof head + strlen(name) + 1);
}

/* What most cores have: a thread, a process and a load. */
static struct maker *usual(void)
{
    struct maker *m = make();
    process(m, 77, "victim");
    thread(m, 77, BASE + 0x10);
    load(m, BASE, PF_R | PF_W, "a0b", 4);
    return m;
}

static void write_core(struct maker *m)
{
    unsigned count = m->count + 1;
    uint64_t notes = sizeof m->header + count * sizeof(Elf64_Phdr);
    uint64_t data = (notes + m->note_size + PAGE) / PAGE * PAGE + 16;
    Elf64_Phdr first = {.p_type = PT_NOTE, .p_offset = notes,
                        .p_filesz = m->note_size + m->note_claim};
    if (!m->header.e_phnum)
        m->header.e_phnum = (uint16_t)count;
    for (unsigned i = 0; i < m->count; i++)
        m->segments[i].p_offset += data;
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(&m->header, sizeof m->header, 1, out), 1);
    assert_int_equal(fwrite(&first, sizeof first, 1, out), 1);
    fwrite(m->segments, sizeof *m->segments, m->count, out);
    fwrite(m->notes, 1, m->note_size, out);
    fseek(out, (long)data, SEEK_SET);
    fwrite(m->data, 1, m->data_size, out);
    assert_int_equal(fclose(out), 0);
    if (m->keep)
        assert_int_equal(truncate(path, (off_t)m->keep), 0);
    free(m);
}

/* Writes the core and opens it; it must be a core. */
static struct ms_image *open_core(struct maker *m)
{
    struct ms_image *image = NULL;
    struct ms_capture_options options = {0};
    write_core(m);
    struct ms_error *error = ms_open_core(path, &options, &image);
    if (error)
        fail_msg("%s", error->message);
    return image;
}

/* The same for what must not pass as a core; TEXT is in the message. */
static void refuse(struct maker *m, const char *text)
{
    struct ms_image *image = NULL;
    struct ms_capture_options options = {0};
    write_core(m);
    struct ms_error *error = ms_open_core(path, &options, &image);
    assert_non_null(error);
    assert_null(image);
    assert_int_equal(error->status, MS_TARGET);
    if (!strstr(error->message, text))
        fail_msg("%s", error->message);
    ms_error_free(error);
}

static uint64_t word(const struct ms_image *image, uint64_t address)
{
    uint64_t value;
    assert_true(ms_image_read_word(image, address, &value));
    return value;
}

static void test_usual(void **state)
{
    (void)state;
    struct ms_image *image = open_core(usual());
    assert_false(image->incomplete);
    assert_int_equal(image->warnings.count, 0);
    assert_int_equal(image->pid, 77);
    assert_string_equal(image->exe, "victim");
    assert_int_equal(image->thread_count, 1);
    assert_string_equal(image->threads[0].name, "victim");
    assert_int_equal(image->threads[0].registers[MS_REG_RSP], BASE + 0x10);
    assert_int_equal(image->region_count, 1);
    assert_int_equal(image->regions[0].kind, MS_REGION_STACK);
    assert_int_equal(image->regions[0].run_count, 2); /* the page of zeros is between */
    assert_int_equal(word(image, BASE), BASE);
    assert_int_equal(word(image, BASE + PAGE), 0);
    assert_int_equal(word(image, BASE + 2 * PAGE), BASE + 2 * PAGE);
    assert_int_equal(word(image, BASE + 3 * PAGE), 0); /* not dumped */
    ms_image_free(image);
}

static void test_threads(void **state)
{
    (void)state;
    struct maker *m = usual();
    uint8_t vectors[512];
    memset(vectors, 7, sizeof vectors);
    note(m, "CORE", NT_FPREGSET, vectors, sizeof vectors);
    thread(m, 78, BASE + 0x20);
    note(m, "LINUX", NT_X86_XSTATE, vectors, 100);
    note(m, "CORE", NT_FPREGSET, vectors, sizeof vectors); /* less than what is there */
    note(m, "CORE", NT_PRSTATUS, vectors, 20);             /* too short: not a thread */
    struct ms_image *image = open_core(m);
    assert_int_equal(image->thread_count, 2);
    assert_int_equal(image->threads[0].xstate_size, 512);
    assert_int_equal(image->threads[1].tid, 78);
    assert_int_equal(image->threads[1].xstate_size, 100);
    assert_true(image->incomplete);
    ms_image_free(image);
}

static void test_files(void **state)
{
    (void)state;
    struct maker *m = usual();
    uint64_t auxv[] = {AT_PHDR, BASE + 0x100000 + 64, AT_SYSINFO_EHDR, BASE + 0x300000, AT_NULL, 0};
    note(m, "CORE", NT_AUXV, auxv, sizeof auxv);
    file(m, BASE + 0x100000, BASE + 0x103000, 2, "/no/such/exe (deleted)");
    load(m, BASE + 0x101000, PF_R | PF_W, "0c", 2);    /* a page of zeros in a file stays */
    load(m, BASE + 0x104000, PF_R | PF_W, "d", 1);     /* 0x103000: the end of bss */
    load(m, BASE + 0x2ff000, PF_R, "", 1);             /* [vvar] */
    load(m, BASE + 0x300000, PF_R | PF_X, "v", 1);     /* [vdso] */
    load(m, 0xffffffffff600000, PF_X, "", 1);          /* [vsyscall] */
    struct ms_image *image = open_core(m);
    const struct ms_region *first = ms_image_region(image, BASE + 0x100000);
    assert_string_equal(image->exe, "/no/such/exe");
    assert_true(first->deleted);
    assert_int_equal(first->end, BASE + 0x101000); /* no load has it, only NT_FILE */
    assert_int_equal(first->offset, 2 * PAGE);
    assert_int_equal(first->prot, MS_READ);
    const struct ms_region *second = first + 1;
    assert_int_equal(second->kind, MS_REGION_FILE);
    assert_int_equal(second->offset, 3 * PAGE);
    assert_int_equal(second->run_count, 1);
    assert_int_equal(word(image, BASE + 0x101000), 0);
    assert_int_equal(ms_image_region(image, BASE + 0x104000)->kind, MS_REGION_BRK);
    assert_int_equal(ms_image_region(image, BASE + 0x2ff000)->kind, MS_REGION_DEVICE);
    assert_int_equal(ms_image_region(image, BASE + 0x300000)->kind, MS_REGION_VDSO);
    assert_string_equal(ms_image_region(image, 0xffffffffff600000)->path, "[vsyscall]");
    uint64_t value;
    assert_false(ms_image_read_word(image, BASE + 0x100000, &value)); /* nowhere to be had */
    assert_false(image->incomplete);
    ms_image_free(image);
}

static void test_shared(void **state)
{
    (void)state;
    struct maker *m = usual();
    file(m, BASE + 0x100000, BASE + 0x101000, 0, "/dev/zero (deleted)");
    file(m, BASE + 0x200000, BASE + 0x201000, 0, "/var/lib/data");
    file(m, BASE + 0x300000, BASE + 0x301000, 0, "/dev/mem");
    load(m, BASE + 0x100000, PF_R | PF_W, "0", 1);
    load(m, BASE + 0x200000, PF_R | PF_W, "", 1);
    load(m, BASE + 0x300000, PF_R | PF_W, "x", 1);
    struct ms_image *image = open_core(m);
    const struct ms_region *region = ms_image_region(image, BASE + 0x100000);
    assert_int_equal(region->kind, MS_REGION_SHARED);
    assert_int_equal(region->run_count, 1);
    assert_true(region->runs[0].file);
    assert_int_equal(ms_image_region(image, BASE + 0x200000)->kind, MS_REGION_SHARED);
    assert_true(ms_image_region(image, BASE + 0x200000)->prot & MS_SHARED);
    assert_int_equal(ms_image_region(image, BASE + 0x300000)->kind, MS_REGION_DEVICE);
    assert_int_equal(ms_image_region(image, BASE + 0x300000)->run_count, 0);
    ms_image_free(image);
}

static void test_truncated(void **state)
{
    (void)state;
    struct maker *m = usual();
    m->keep = 2 * PAGE + 16 + PAGE / 2; /* a page and a half of memory, the half is lost */
    struct ms_image *image = open_core(m);
    assert_true(image->incomplete);
    assert_non_null(strstr(image->warnings.items[0], "truncated: 8192 of 12288 bytes"));
    assert_int_equal(word(image, BASE), BASE);
    ms_image_free(image);
}

static void test_overlap_and_order(void **state)
{
    (void)state;
    struct maker *m = usual();
    load(m, BASE - 2 * PAGE, PF_R | PF_W, "xyzw", 4); /* two pages overlap the first load */
    load(m, BASE + PAGE, PF_R, "q", 1);               /* inside another */
    struct ms_image *image = open_core(m);
    assert_true(image->incomplete);
    assert_int_equal(image->region_count, 2);
    assert_int_equal(image->regions[0].start, BASE - 2 * PAGE);
    assert_int_equal(image->regions[1].start, BASE + 2 * PAGE);
    assert_int_equal(word(image, BASE + 2 * PAGE), BASE + 2 * PAGE);
    ms_image_free(image);
}

static void test_absurd_sizes(void **state)
{
    (void)state;
    struct maker *m = usual();
    load(m, BASE + 0x100000, PF_R | PF_W, "x", UINT64_MAX / PAGE); /* wraps around */
    load(m, BASE + 0x200001, PF_R | PF_W, "x", 1);                 /* not at a page */
    load(m, BASE + 0x300000, PF_R | PF_W, "x", 1);
    m->segments[m->count - 1].p_filesz = UINT64_MAX; /* more than memory: cut */
    load(m, BASE + 0x400000, PF_R | PF_W, "x", 1);
    m->segments[m->count - 1].p_offset = UINT64_MAX - 2 * PAGE; /* beyond the file */
    load(m, BASE + 0x500000, PF_R | PF_W, "", 1ull << 30);      /* 4 TiB, never touched */
    struct ms_image *image = open_core(m);
    assert_true(image->incomplete);
    assert_int_equal(image->region_count, 4);
    assert_int_equal(word(image, BASE + 0x300000), BASE + 0x300000);
    assert_int_equal(word(image, BASE + 0x400000), 0);
    ms_image_free(image);
}

static void test_bad_notes(void **state)
{
    (void)state;
    static const uint64_t files[][5] = {
        {UINT64_MAX, PAGE, BASE, BASE + PAGE, 0},          /* more entries than bytes */
        {1, UINT64_MAX, BASE, BASE + PAGE, 2},             /* offset overflows */
        {1, PAGE, BASE + PAGE, BASE, 0},                   /* ends before it starts */
        {1, PAGE, BASE + 1, BASE + PAGE, 0},               /* not at a page */
        {0x0aaaaaaaaaaaaaab, PAGE, BASE, BASE + PAGE, 0},  /* times 24 is 8 */
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct maker *m = usual();
        uint8_t bytes[44] = {0};
        memcpy(bytes, files[i], sizeof files[i]);
        memcpy(bytes + sizeof files[i], "/x", 3);
        note(m, "CORE", NT_FILE, bytes, sizeof bytes);
        struct ms_image *image = open_core(m);
        assert_true(image->incomplete);
        assert_string_equal(image->regions[0].path, "[stack]");
        ms_image_free(image);
    }
    struct maker *m = usual(); /* a name without end, then a note beyond the segment */
    uint64_t head[5] = {1, PAGE, BASE, BASE + PAGE, 0};
    note(m, "CORE", NT_FILE, head, sizeof head);
    note(m, "CORE", NT_AUXV, head, sizeof head);
    ((Elf64_Nhdr *)(void *)(m->notes + m->note_size - 60))->n_descsz = UINT32_MAX;
    ms_image_free(open_core(m));
    m = usual();
    m->note_claim = UINT64_MAX / 2;
    struct ms_image *image = open_core(m);
    assert_true(image->incomplete);
    assert_int_equal(image->thread_count, 1);
    ms_image_free(image);
}

static void test_no_threads(void **state)
{
    (void)state;
    struct maker *m = make();
    load(m, BASE, PF_R | PF_W, "a", 1);
    struct ms_image *image = open_core(m);
    assert_true(image->incomplete);
    assert_int_equal(image->pid, 0);
    assert_string_equal(image->exe, "");
    ms_image_free(image);
}

static void test_refused(void **state)
{
    (void)state;
    struct ms_image *image;
    struct ms_capture_options options = {0};
    struct maker *m = usual();
    m->header.e_type = ET_DYN;
    refuse(m, "not a core");
    m = usual();
    m->header.e_machine = EM_AARCH64;
    refuse(m, "another machine");
    m = usual();
    m->header.e_machine = EM_386;
    refuse(m, "32-bit");
    m = usual();
    m->header.e_ident[0] = 'X';
    refuse(m, "is not an ELF core");
    m = usual();
    m->header.e_phoff = UINT64_MAX - 8;
    refuse(m, "");
    m = usual();
    m->header.e_phentsize = 1;
    refuse(m, "");
    m = usual();
    m->keep = 80;
    refuse(m, "");
    m = usual();
    memcpy(&m->header, "\x28\xb5\x2f\xfd", 4);
    refuse(m, "zstd -d");
    struct ms_error *error = ms_open_core("/tmp", &options, &image);
    assert_non_null(strstr(error->message, "not a regular file"));
    ms_error_free(error);
    error = ms_open_core("/no/such/core", &options, &image);
    assert_non_null(strstr(error->message, "No such file"));
    ms_error_free(error);
}

/*
 * 70,000 segments: their number is in section header 0. LOST: the file ends before
 * it, so the number must be deduced.
 */
static void many_segments(bool lost)
{
    enum { COUNT = 70000 };
    uint64_t notes = sizeof(Elf64_Ehdr) + (COUNT + 1) * sizeof(Elf64_Phdr);
    struct maker *m = usual();
    Elf64_Shdr section = {.sh_info = COUNT + 1};
    Elf64_Phdr segment = {.p_type = PT_NOTE, .p_offset = notes, .p_filesz = m->note_size};
    m->header.e_phnum = PN_XNUM;
    m->header.e_shnum = 1;
    m->header.e_shentsize = sizeof section;
    m->header.e_shoff = notes + m->note_size + (lost ? 1 << 20 : 0);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fwrite(&m->header, sizeof m->header, 1, out);
    fwrite(&segment, sizeof segment, 1, out);
    for (uint64_t i = 0; i < COUNT; i++) {
        segment = (Elf64_Phdr){.p_type = PT_LOAD, .p_vaddr = BASE + i * 2 * PAGE, .p_memsz = PAGE};
        fwrite(&segment, sizeof segment, 1, out);
    }
    fwrite(m->notes, 1, m->note_size, out);
    fwrite(&section, sizeof section, 1, out);
    assert_int_equal(fclose(out), 0);
    free(m);
    struct ms_image *image = NULL;
    struct ms_capture_options options = {0};
    struct ms_error *error = ms_open_core(path, &options, &image);
    assert_null(error);
    assert_int_equal(image->region_count, COUNT);
    assert_int_equal(image->thread_count, 1);
    ms_image_free(image);
}

static void test_many_segments(void **state)
{
    (void)state;
    many_segments(false);
    many_segments(true);
}

static unsigned windows;

static struct ms_error *sink_prepare(void *self, const struct ms_image *image)
{
    (void)self, (void)image;
    return NULL;
}

static struct ms_error *sink_plan(void *self, struct ms_image *image, struct ms_spans *spans)
{
    (void)self;
    struct ms_span *span = ms_vector_add(&spans->list);
    assert_non_null(span);
    span->start = image->regions[0].start;
    span->end = image->regions[0].end;
    return NULL;
}

static void sink_filter(void *self, const struct ms_window *window)
{
    (void)self;
    uint64_t first;
    memcpy(&first, window->bytes, sizeof first);
    assert_int_equal(first, BASE);
    assert_int_equal(window->bytes[PAGE + 5], 0);
    assert_int_equal(window->bytes[2 * PAGE + 100], 'b');
}

static void sink_walk(void *self, const struct ms_window *window)
{
    (void)self;
    assert_int_equal(window->start, BASE);
    windows++;
}

static void test_stream(void **state)
{
    (void)state;
    struct ms_sink sink = {.prepare = sink_prepare, .plan = sink_plan, .filter = sink_filter,
                           .walk = sink_walk};
    struct ms_capture_options options = {.sink = &sink};
    struct ms_image *image = NULL;
    write_core(usual());
    assert_null(ms_open_core(path, &options, &image));
    assert_int_equal(windows, 1);
    ms_image_free(image);
}

/* Bytes of a good core changed at random: no crash, whatever it is taken for. */
static void test_fuzz(void **state)
{
    (void)state;
    static uint8_t good[1 << 20], bad[1 << 20];
    struct maker *m = usual();
    uint64_t auxv[] = {AT_PHDR, BASE + 64, AT_EXECFN, BASE + 8, AT_PHNUM, 3, AT_PHENT, 56, 0, 0};
    note(m, "CORE", NT_AUXV, auxv, sizeof auxv);
    file(m, BASE, BASE + PAGE, 0, "/no/such/file");
    write_core(m);
    FILE *in = fopen(path, "r");
    size_t size = fread(good, 1, sizeof good, in);
    fclose(in);
    srandom(1);
    for (unsigned round = 0; round < 3000; round++) {
        memcpy(bad, good, size);
        for (unsigned i = 0; i < 1 + round % 8; i++)
            bad[(size_t)random() % 1400] = round % 3 ? (uint8_t)random() : 0xff;
        FILE *out = fopen(path, "w");
        fwrite(bad, 1, size, out);
        fclose(out);
        struct ms_image *image = NULL;
        struct ms_capture_options options = {0};
        ms_error_free(ms_open_core(path, &options, &image));
        ms_image_free(image);
    }
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_files),        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_truncated),    cmocka_unit_test(test_overlap_and_order),
        cmocka_unit_test(test_absurd_sizes), cmocka_unit_test(test_bad_notes),
        cmocka_unit_test(test_no_threads),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many_segments), cmocka_unit_test(test_stream),
        cmocka_unit_test(test_fuzz),
    };
    return cmocka_run_group_tests_name("core", tests, setup, teardown);
}
