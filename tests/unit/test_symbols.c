/* Symbols of ELF files built by hand and mapped in a hand-built core; and of a live process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memscope/capture.h"
#include "memscope/symbols.h"

#define PAGE MS_PAGE
#define BASE 0x7f0000000000ull
/* Sections of the made file, in memory as in the file. */
#define TEXT 0x1000u
#define DATA 0x2000u
#define BSS 0x3000u
#define BSS_END 0x3800u
enum { S_NULL, S_TEXT, S_DATA, S_SYMTAB, S_STRTAB, S_NOTE, S_LINK, S_COUNT };

/* An ELF file in the making. */
struct maker {
    Elf64_Ehdr header;
    Elf64_Phdr segments[3];
    Elf64_Shdr sections[S_COUNT];
    Elf64_Sym symbols[200];
    size_t symbol_count;
    char names[16384];
    size_t names_size;
    struct {
        Elf64_Nhdr header;
        char owner[4];
        uint8_t id[20];
    } note;
    char link[16]; /* name and checksum */
};

static char directory[] = "/tmp/memscope-test-symbols-XXXXXX";
static char path[64], core_path[64];

static struct maker *make(void)
{
    struct maker *m = calloc(1, sizeof *m);
    assert_non_null(m);
    memcpy(m->header.e_ident, ELFMAG "\2\1\1", SELFMAG + 3);
    m->header.e_type = ET_DYN;
    m->header.e_machine = EM_X86_64;
    m->header.e_version = EV_CURRENT;
    m->header.e_phoff = m->header.e_ehsize = sizeof m->header;
    m->header.e_phentsize = sizeof(Elf64_Phdr);
    m->header.e_phnum = 3;
    m->header.e_shentsize = sizeof(Elf64_Shdr);
    m->header.e_shnum = S_COUNT;
    m->header.e_shstrndx = S_STRTAB; /* names of sections follow those of symbols */
    m->header.e_entry = TEXT;
    /* The tables lie behind what is mapped. */
    m->header.e_shoff = BSS + offsetof(struct maker, sections);
    m->segments[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = DATA,
                                  .p_memsz = DATA, .p_align = PAGE};
    m->segments[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = DATA,
                                  .p_vaddr = DATA, .p_filesz = BSS - DATA,
                                  .p_memsz = BSS_END - DATA, .p_align = PAGE};
    m->segments[2] = (Elf64_Phdr){.p_type = PT_NULL};
    m->sections[S_TEXT] = (Elf64_Shdr){.sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC,
                                       .sh_addr = TEXT, .sh_offset = TEXT, .sh_size = 0x800};
    m->sections[S_DATA] = (Elf64_Shdr){.sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC,
                                       .sh_addr = DATA, .sh_offset = DATA, .sh_size = BSS - DATA};
    m->sections[S_SYMTAB] = (Elf64_Shdr){.sh_type = SHT_SYMTAB, .sh_link = S_STRTAB,
                                         .sh_offset = BSS + offsetof(struct maker, symbols),
                                         .sh_info = 1, .sh_entsize = sizeof(Elf64_Sym)};
    m->sections[S_STRTAB] = (Elf64_Shdr){.sh_type = SHT_STRTAB,
                                         .sh_offset = BSS + offsetof(struct maker, names)};
    m->symbol_count = m->names_size = 1;
    return m;
}

static void symbol(struct maker *m, const char *name, uint64_t value, uint64_t size, int binding,
                   int type, int section)
{
    Elf64_Sym *s = &m->symbols[m->symbol_count++];
    *s = (Elf64_Sym){.st_name = (uint32_t)m->names_size, .st_value = value, .st_size = size,
                     .st_info = (uint8_t)ELF64_ST_INFO(binding, type),
                     .st_shndx = (uint16_t)section};
    strcpy(m->names + m->names_size, name);
    m->names_size += strlen(name) + 1;
}

static void function(struct maker *m, const char *name, uint64_t value, uint64_t size)
{
    symbol(m, name, value, size, STB_GLOBAL, STT_FUNC, S_TEXT);
}

static void build_id(struct maker *m, uint8_t seed)
{
    m->note.header = (Elf64_Nhdr){4, sizeof m->note.id, NT_GNU_BUILD_ID};
    memcpy(m->note.owner, "GNU", 4);
    memset(m->note.id, seed, sizeof m->note.id);
    m->sections[S_NOTE] = (Elf64_Shdr){.sh_type = SHT_NOTE, .sh_flags = SHF_ALLOC,
                                       .sh_offset = BSS + offsetof(struct maker, note),
                                       .sh_size = sizeof m->note, .sh_addralign = 4};
}

static void debug_link(struct maker *m, const char *name, uint32_t crc)
{
    strcpy(m->link, name);
    memcpy(m->link + 12, &crc, 4);
    m->sections[S_LINK] = (Elf64_Shdr){.sh_type = SHT_PROGBITS,
                                       .sh_name = (uint32_t)m->names_size,
                                       .sh_offset = BSS + offsetof(struct maker, link),
                                       .sh_size = sizeof m->link};
    strcpy(m->names + m->names_size, ".gnu_debuglink");
    m->names_size += sizeof ".gnu_debuglink";
}

/* Writes the file; CHANGE, if there, may spoil its bytes. */
static void write_elf(struct maker *m, const char *to, void (*change)(uint8_t *, size_t))
{
    static uint8_t bytes[BSS + sizeof *m];
    m->sections[S_SYMTAB].sh_size = m->symbol_count * sizeof(Elf64_Sym);
    m->sections[S_STRTAB].sh_size = m->names_size;
    if (m->symbol_count == 1) /* stripped */
        m->sections[S_SYMTAB].sh_type = SHT_NULL;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &m->header, sizeof m->header);
    memcpy(bytes + sizeof m->header, m->segments, sizeof m->segments);
    memcpy(bytes + BSS, m, sizeof *m);
    if (change)
        change(bytes, sizeof bytes);
    FILE *out = fopen(to, "w");
    assert_non_null(out);
    fwrite(bytes, sizeof bytes, 1, out);
    fclose(out);
    free(m);
}

/* A core in which the file at PATH is mapped, as its two segments say, with bss behind. */
static struct ms_image *map_it(void)
{
    struct __attribute__((packed)) {
        Elf64_Ehdr header;
        Elf64_Phdr segments[4];
        Elf64_Nhdr note;
        char owner[8];
        uint64_t files[5];
        char name[64];
    } core = {.note = {5, 40 + 64, NT_FILE}, .owner = "CORE",
              .files = {1, PAGE, BASE, BASE + BSS, 0}};
    struct maker *m = make();
    core.header = m->header;
    free(m);
    core.header.e_type = ET_CORE;
    core.header.e_phnum = 4;
    core.header.e_shoff = core.header.e_shnum = 0;
    strcpy(core.name, path);
    core.segments[0] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = sizeof core.header +
                                    sizeof core.segments, .p_filesz = 12 + 8 + 40 + 64};
    core.segments[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = BASE,
                                    .p_memsz = DATA};
    core.segments[2] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_W,
                                    .p_vaddr = BASE + DATA, .p_memsz = BSS - DATA};
    core.segments[3] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_W,
                                    .p_vaddr = BASE + BSS, .p_memsz = 4 * PAGE};
    FILE *out = fopen(core_path, "w");
    assert_non_null(out);
    fwrite(&core, sizeof core, 1, out);
    fclose(out);
    struct ms_capture_options options = {0};
    struct ms_image *image = NULL;
    struct ms_error *error = ms_open_core(core_path, &options, &image);
    if (error)
        fail_msg("%s", error->message);
    return image;
}

struct world {
    struct ms_image *image;
    struct ms_symbols *symbols;
};

static struct world open_world(struct maker *m, const char *debug_path)
{
    struct world w = {0};
    struct ms_symbols_options options = {.debug_path = debug_path};
    write_elf(m, path, NULL);
    w.image = map_it();
    assert_null(ms_symbols_new(w.image, &options, &w.symbols));
    return w;
}

static void close_world(struct world *w)
{
    ms_symbols_free(w->symbols);
    ms_image_free(w->image);
}

/* Address VALUE of the file must be NAME+OFFSET; NAME NULL: nothing. */
static void is_named(struct world *w, uint64_t value, const char *name, uint64_t offset)
{
    uint64_t at = 0;
    const char *found = ms_symbols_name(w->symbols, BASE + value, &at);
    if (!name) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_string_equal(found, name);
    assert_int_equal(at, offset);
}

static void test_names(void **state)
{
    (void)state;
    struct maker *m = make();
    function(m, "outer", TEXT, 0x100);
    function(m, "inner", TEXT + 0x40, 0x10);
    symbol(m, "label_inside", TEXT + 0x60, 0, STB_LOCAL, STT_NOTYPE, S_TEXT);
    symbol(m, "weak_alias", TEXT + 0x200, 0x10, STB_WEAK, STT_FUNC, S_TEXT);
    function(m, "__libc_alias", TEXT + 0x200, 0x10);
    function(m, "alias", TEXT + 0x200, 0x10);
    symbol(m, "local_alias", TEXT + 0x200, 0x20, STB_LOCAL, STT_FUNC, S_TEXT);
    symbol(m, "label", TEXT + 0x300, 0, STB_GLOBAL, STT_NOTYPE, S_TEXT);
    function(m, "next@@V_2", TEXT + 0x340, 8);
    symbol(m, "last", TEXT + 0x700, 0, STB_GLOBAL, STT_NOTYPE, S_TEXT);
    symbol(m, "absolute", TEXT + 0x500, 8, STB_GLOBAL, STT_FUNC, (int)SHN_ABS);
    symbol(m, "undefined", TEXT + 0x500, 8, STB_GLOBAL, STT_FUNC, SHN_UNDEF);
    symbol(m, "thread_local", TEXT + 0x500, 8, STB_GLOBAL, STT_TLS, S_TEXT);
    symbol(m, "section", TEXT + 0x500, 8, STB_LOCAL, STT_SECTION, S_TEXT);
    symbol(m, "variable", BSS + 8, 8, STB_GLOBAL, STT_OBJECT, S_DATA);
    symbol(m, "huge", BSS + 0x700, UINT64_MAX, STB_GLOBAL, STT_OBJECT, S_DATA);
    symbol(m, "beyond", BSS_END, 8, STB_GLOBAL, STT_OBJECT, S_DATA);
    struct world w = open_world(m, NULL);
    is_named(&w, TEXT - 1, NULL, 0);
    is_named(&w, TEXT, "outer", 0);
    is_named(&w, TEXT + 0x40, "inner", 0);
    is_named(&w, TEXT + 0x4f, "inner", 15);
    is_named(&w, TEXT + 0x60, "outer", 0x60);
    is_named(&w, TEXT + 0x100, NULL, 0);
    is_named(&w, TEXT + 0x200, "alias", 0);
    is_named(&w, TEXT + 0x210, "local_alias", 0x10);
    is_named(&w, TEXT + 0x33f, "label", 0x3f);
    is_named(&w, TEXT + 0x340, "next", 0);
    is_named(&w, TEXT + 0x348, NULL, 0);
    is_named(&w, TEXT + 0x500, NULL, 0);
    is_named(&w, TEXT + 0x7ff, "last", 0xff);
    is_named(&w, TEXT + 0x800, NULL, 0); /* the section ends there */
    is_named(&w, BSS + 15, "variable", 7);
    is_named(&w, BSS_END - 1, "huge", 0xff);
    is_named(&w, BSS_END, NULL, 0);
    uint64_t size = 0;
    assert_int_equal(ms_symbols_address(w.symbols, "inner", &size), BASE + TEXT + 0x40);
    assert_int_equal(size, 0x10);
    assert_int_equal(ms_symbols_address(w.symbols, "next", NULL), BASE + TEXT + 0x340);
    assert_int_equal(ms_symbols_address(w.symbols, "nothing", NULL), 0);
    close_world(&w);
}

static void test_modules(void **state)
{
    (void)state;
    struct world w = open_world(make(), NULL);
    assert_string_equal(ms_symbols_module(w.symbols, BASE), "module.so");
    assert_string_equal(ms_symbols_module(w.symbols, BASE + BSS_END - 1), "module.so");
    assert_null(ms_symbols_module(w.symbols, BASE + BSS_END)); /* anonymous memory behind bss */
    assert_null(ms_symbols_module(w.symbols, BASE - 1));
    assert_null(ms_symbols_module(w.symbols, 0));
    close_world(&w);
}

/* A file that is mapped as data is no module, though it is ELF. */
static void test_data_maps(void **state)
{
    (void)state;
    struct maker *m = make();
    m->segments[1].p_vaddr += PAGE; /* as loaded, its data were a page further up */
    struct world w = open_world(m, NULL);
    assert_null(ms_symbols_module(w.symbols, BASE));
    close_world(&w);
    m = make();
    m->header.e_type = ET_EXEC; /* as loaded, it were at 0 */
    w = open_world(m, NULL);
    assert_null(ms_symbols_module(w.symbols, BASE));
    close_world(&w);
}

/* The file has been replaced since its header was read. */
static void test_replaced(void **state)
{
    (void)state;
    struct maker *m = make();
    function(m, "old", TEXT, 8);
    struct world w = open_world(m, NULL);
    assert_non_null(ms_symbols_module(w.symbols, BASE));
    m = make();
    function(m, "new", TEXT, 8);
    m->header.e_entry++;
    write_elf(m, path, NULL);
    assert_null(ms_symbols_name(w.symbols, BASE + TEXT, NULL));
    assert_non_null(ms_symbols_module(w.symbols, BASE));
    close_world(&w);
}

static void test_vtables(void **state)
{
    (void)state;
    struct maker *m = make();
    symbol(m, "_ZTV3Foo", DATA, 40, STB_WEAK, STT_OBJECT, S_DATA);
    symbol(m, "_ZTVN2ns3BarIiEE", DATA + 40, 24, STB_WEAK, STT_OBJECT, S_DATA);
    symbol(m, "_ZTI3Foo", DATA + 64, 24, STB_WEAK, STT_OBJECT, S_DATA);
    struct world w = open_world(m, NULL);
    assert_null(ms_symbols_vtable_class(w.symbols, BASE + DATA));
    assert_null(ms_symbols_vtable_class(w.symbols, BASE + DATA + 8));
    assert_null(ms_symbols_vtable_class(w.symbols, BASE + DATA + 64 + 16));
#ifdef HAVE_LIBIBERTY
    assert_string_equal(ms_symbols_vtable_class(w.symbols, BASE + DATA + 16), "Foo");
    assert_string_equal(ms_symbols_vtable_class(w.symbols, BASE + DATA + 39), "Foo");
    assert_string_equal(ms_symbols_vtable_class(w.symbols, BASE + DATA + 56), "ns::Bar<int>");
#else
    assert_string_equal(ms_symbols_vtable_class(w.symbols, BASE + DATA + 16), "_ZTV3Foo");
#endif
    close_world(&w);
}

/* f(p<int,int>, p<that,that>, …): each argument is twice as long as the one before. */
static void unfolding(char *name)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    name += sprintf(name, "_Z1f1pIiiE");
    for (unsigned i = 0; i < 36; i++)
        name += sprintf(name, "S_IS%c_S%c_E", digits[i], digits[i]);
}

static void test_demangling(void **state)
{
    (void)state;
    char hostile[1024];
    unfolding(hostile);
    const char *const names[][2] = {
        {"_ZN3foo3barEi", "foo::bar(int)"},
        {"_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"},
        {"_RNvNtC7mycrate3foo3bar", "mycrate::foo::bar"},
        {"_Znonsense", "_Znonsense"},
        {"esc\033[31m", "esc\033[31m"}, /* as it is: escaping is for the output */
        {hostile, hostile},
    };
    struct maker *m = make();
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        function(m, names[i][0], TEXT + i * 16, 16);
    struct world w = open_world(m, NULL);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        const char *expected = names[i][1];
#ifndef HAVE_LIBIBERTY
        expected = names[i][0];
#endif
        is_named(&w, TEXT + i * 16, expected, 0);
    }
    close_world(&w);
}

static uint32_t crc_of(const char *file)
{
    uint32_t crc = UINT32_MAX;
    FILE *in = fopen(file, "r");
    assert_non_null(in);
    for (int c; (c = getc(in)) != EOF;) {
        crc ^= (uint32_t)c;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    fclose(in);
    return ~crc;
}

/* The stripped file knows its debug file by build-id. */
static void test_debug_by_id(void **state)
{
    (void)state;
    char place[128], file[192];
    for (unsigned right = 0; right < 2; right++) {
        struct maker *m = make();
        build_id(m, right ? 0xab : 0x11);
        function(m, "from_debug", TEXT, 16);
        snprintf(place, sizeof place, "%s/.build-id", directory);
        mkdir(place, 0700);
        snprintf(place, sizeof place, "%s/.build-id/ab", directory);
        mkdir(place, 0700);
        snprintf(file, sizeof file, "%s/%s.debug", place, "ababababababababababababababababababab");
        write_elf(m, file, NULL);
        m = make();
        build_id(m, 0xab);
        struct world w = open_world(m, directory);
        is_named(&w, TEXT, right ? "from_debug" : NULL, 0);
        close_world(&w);
        unlink(file);
        rmdir(place);
        snprintf(place, sizeof place, "%s/.build-id", directory);
        rmdir(place);
    }
}

/* Without a build-id by name and checksum, beside the file. */
static void test_debug_by_link(void **state)
{
    (void)state;
    char file[128];
    snprintf(file, sizeof file, "%s/it.debug", directory);
    struct maker *m = make();
    function(m, "from_link", TEXT, 16);
    write_elf(m, file, NULL);
    for (unsigned right = 0; right < 2; right++) {
        m = make();
        debug_link(m, "it.debug", crc_of(file) + !right);
        struct world w = open_world(m, NULL);
        is_named(&w, TEXT, right ? "from_link" : NULL, 0);
        close_world(&w);
    }
    unlink(file);
    assert_int_equal(mkfifo(file, 0600), 0); /* must not hang */
    m = make();
    debug_link(m, "it.debug", 1);
    struct world w = open_world(m, NULL);
    is_named(&w, TEXT, NULL, 0);
    close_world(&w);
    unlink(file);
}

static void spoil(uint8_t *bytes, size_t size)
{
    /* The program headers too, but not what makes it a module: that is tested once it is one. */
    static const size_t tables[] = {offsetof(struct maker, sections), offsetof(struct maker, names),
                                    offsetof(struct maker, note), offsetof(struct maker, link)};
    for (unsigned i = 0; i < 4; i++) {
        size_t table = BSS + tables[(size_t)random() % 4];
        size_t at = random() % 8 ? table + (size_t)random() % 448 : 40 + (size_t)random() % 192;
        if (at < size)
            bytes[at] = random() % 2 ? (uint8_t)random() : 0xff;
    }
}

static void test_fuzz(void **state)
{
    (void)state;
    srandom(1);
    for (unsigned round = 0; round < 2000; round++) {
        struct maker *m = make();
        struct ms_symbols_options options = {0};
        for (unsigned i = 0; i < 16; i++) {
            char name[32];
            snprintf(name, sizeof name, "_ZN%uabcdefg%uE", i, i);
            function(m, name, TEXT + i * 16, i * 16);
        }
        build_id(m, 7);
        debug_link(m, "it.debug", 1);
        write_elf(m, path, spoil);
        struct world w = {.image = map_it()};
        assert_null(ms_symbols_new(w.image, &options, &w.symbols));
        for (uint64_t at = 0; at < BSS_END; at += 16) {
            ms_symbols_name(w.symbols, BASE + at, NULL);
            ms_symbols_vtable_class(w.symbols, BASE + at);
        }
        ms_symbols_address(w.symbols, "x", NULL);
        close_world(&w);
    }
}

static __attribute__((noinline)) int a_function_of_the_test(int x)
{
    __asm__ volatile("");
    return x + 1;
}

/* A child of ours has our addresses: what we know of ourselves is what must be found. */
static void test_live(void **state)
{
    (void)state;
    struct ms_capture_options capture = {.want = MS_WANT_FULL};
    struct ms_symbols_options options = {0};
    struct world w = {0};
    uint64_t at = 1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        for (;;)
            pause();
    struct ms_error *error = ms_capture(child, &capture, &w.image);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0); /* from here on there is no process */
    if (error)
        fail_msg("%s", error->message);
    assert_null(ms_symbols_new(w.image, &options, &w.symbols));
    uint64_t mine = (uint64_t)(uintptr_t)a_function_of_the_test;
    const char *name = ms_symbols_name(w.symbols, mine + 1, &at);
    assert_non_null(name);
    assert_string_equal(name, "a_function_of_the_test");
    assert_int_equal(at, 1);
    assert_non_null(strstr(ms_symbols_module(w.symbols, mine), "test_symbols"));
    uint64_t library = (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "secure_getenv");
    assert_int_equal(ms_symbols_address(w.symbols, "secure_getenv", NULL), library);
    name = ms_symbols_name(w.symbols, library, &at);
    assert_non_null(name);
    assert_string_equal(name, "secure_getenv");
    assert_string_equal(ms_symbols_module(w.symbols, getauxval(AT_SYSINFO_EHDR)), "[vdso]");
    uint64_t stack = (uint64_t)(uintptr_t)&at;
    assert_null(ms_symbols_module(w.symbols, stack));
    close_world(&w);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(directory) || a_function_of_the_test(1) != 2)
        return -1;
    snprintf(path, sizeof path, "%s/module.so", directory);
    snprintf(core_path, sizeof core_path, "%s/core", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    unlink(core_path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_modules),
        cmocka_unit_test(test_data_maps),   cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_vtables),     cmocka_unit_test(test_demangling),
        cmocka_unit_test(test_debug_by_id), cmocka_unit_test(test_debug_by_link),
        cmocka_unit_test(test_fuzz),        cmocka_unit_test(test_live),
    };
    return cmocka_run_group_tests_name("symbols", tests, setup, teardown);
}
