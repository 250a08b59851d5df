/* Known formats: a table of what must hold of a block that a library made, for it to be named for
 * certain. */
#include "formats.h"

#include <string.h>

#include "spread.h"

/* --- the language of the table ----------------------------------------------------------------- */

/*
 * A value in the block: at step[0] from its start, or behind the pointer that is there, at step[1]
 * of what it points to, and so on.
 */
struct place {
    int16_t step[3];
    uint8_t steps;
    uint8_t width; /* bytes */
};
#define PLACE(size, ...)                                                                           \
    {                                                                                              \
        {__VA_ARGS__}, sizeof((int16_t[]){__VA_ARGS__}) / sizeof(int16_t), size                    \
    }
#define WORD(...)  PLACE(8, __VA_ARGS__)
#define INT(...)   PLACE(4, __VA_ARGS__)
#define SHORT(...) PLACE(2, __VA_ARGS__)
#define BYTE(...)  PLACE(1, __VA_ARGS__)

enum rule {
    IS_WITHIN, IS_ONE_OF, IS_SUM, IS_PRODUCT, IS_POWER, IS_AT_MOST, IS_SELF, IS_BACK, IS_BLOCK, IS_NULL_OR_BLOCK,
    IS_IN_MODULE, IS_TEXT, IS_EXTENT, IS_ENTRIES
};

/* Something that must hold. */
struct fact {
    struct place at, other;
    enum rule rule;
    bool if_there; /* where the bytes are not to be had, it may be true */
    uint64_t low, high;
    const char *text;
    const uint32_t *list;
};
/* NOLINTBEGIN(bugprone-macro-parentheses): the arguments are initialisers. */
/* The value at PLACE is … */
#define WITHIN(place, from, to) {.at = place, .rule = IS_WITHIN, .low = from, .high = to}
#define WITHIN_IF_THERE(place, from, to) {.at = place, .rule = IS_WITHIN, .low = from, .high = to, .if_there = true}
/* … in a list that ends in 0 */
#define ONE_OF(place, values) {.at = place, .rule = IS_ONE_OF, .list = values}
/* … another one and MORE, in its own width; so many times another; 2 to the power of another; or not above it */
#define SUM(place, value, more) {.at = place, .rule = IS_SUM, .other = value, .low = more}
#define PRODUCT(place, value, times) {.at = place, .rule = IS_PRODUCT, .other = value, .low = times}
#define POWER(place, value) {.at = place, .rule = IS_POWER, .other = value}
#define AT_MOST(place, value) {.at = place, .rule = IS_AT_MOST, .other = value}
/* … a pointer to OFFSET of the block itself; to what has a pointer back to the block at OFFSET */
#define SELF(place, offset) {.at = place, .rule = IS_SELF, .low = offset}
#define BACK(place, offset) {.at = place, .rule = IS_BACK, .low = offset}
/* … a pointer to the start of a live block with room for ROOM bytes, for as many of SIZE as another value says */
#define BLOCK(place, room) {.at = place, .rule = IS_BLOCK, .low = room}
#define BLOCK_OF(place, size, value) {.at = place, .rule = IS_BLOCK, .low = size, .other = value}
#define NULL_OR_BLOCK(place, room) {.at = place, .rule = IS_NULL_OR_BLOCK, .low = room}
/* … a pointer into a module whose name begins so; to this string */
#define MODULE(place, name) {.at = place, .rule = IS_IN_MODULE, .text = name}
#define TEXT(place, string) {.at = place, .rule = IS_TEXT, .text = string}
/* … how many of EACH bytes the block has behind HEAD */
#define EXTENT(place, head, each) {.at = place, .rule = IS_EXTENT, .low = head, .high = each}
/* … the bytes of directory entries from FROM on, of which another value says how many were read */
#define ENTRIES(place, from, value) {.at = place, .rule = IS_ENTRIES, .low = from, .other = value}
/* NOLINTEND(bugprone-macro-parentheses) */

/* A block that another one owns: nothing else says what it is. */
struct part {
    const char *name;
    struct place at, times; /* a pointer to its start; it has `bytes` times this value */
    uint64_t bytes, more;   /* … and up to `more` */
};

struct format {
    const char *name;
    uint64_t least, most; /* usable bytes of its block */
    const struct fact *facts;
    size_t fact_count;
    const struct part *parts;
    size_t part_count;
};
#define FACTS(list) list, sizeof(list) / sizeof *(list)
#define PARTS(list) list, sizeof(list) / sizeof *(list)
#define NO_PARTS    NULL, 0
/* A structure whose size is known; malloc rounds up, and may give 16 more. */
#define EXACTLY(size) size, (size) + 31

/* --- glibc ------------------------------------------------------------------------------------- */

/* sysdeps/unix/sysv/linux/opendir.c, dirstream.h: as it is since 2.4, once something was read */
static const struct fact directory[] = {
    WITHIN(WORD(8), 4096, 1 << 20),
    EXTENT(WORD(8), 48, 1),
    WITHIN(INT(0), 0, 1 << 20), /* fd */
    WITHIN(INT(4), 0, 2),       /* lock */
    AT_MOST(WORD(16), WORD(8)),
    AT_MOST(WORD(24), WORD(16)),
    WITHIN(INT(40), 0, 133), /* errcode */
    ENTRIES(WORD(16), 48, WORD(24)),
};

/*
 * sysdeps/posix/getaddrinfo.c, generate_addrinfo(): the address stands behind its struct addrinfo.
 * Of what getaddrinfo() gives nothing is beyond these bounds: sockets of known types, protocols of
 * a byte.
 */
#define ADDRINFO(family, length) \
    WITHIN(INT(4), family, family), WITHIN(INT(16), length, length), SELF(WORD(24), 48), \
        WITHIN(INT(0), 0, 0xffff), WITHIN(INT(8), 0, 10), WITHIN(INT(12), 0, 255), \
        NULL_OR_BLOCK(WORD(32), 1), NULL_OR_BLOCK(WORD(40), 64), \
    WITHIN_IF_THERE(SHORT(48), family, family)
static const struct fact addrinfo_ip[] = {ADDRINFO(2, 16)};
static const struct fact addrinfo_ip6[] = {ADDRINFO(10, 28)};

/* posix/regex_internal.h: what regcomp() gives, in regex_t.buffer; a token, a set of nodes, and an entry of the table
   of states have 16 bytes each */
static const struct fact expression[] = {
    WITHIN(WORD(8), 1, 1 << 24),
    WITHIN(WORD(16), 1, 1 << 24),
    AT_MOST(WORD(16), WORD(8)),
    BLOCK_OF(WORD(0), 16, WORD(8)),
    BLOCK_OF(WORD(24), 4, WORD(8)),
    BLOCK_OF(WORD(40), 16, WORD(8)),
    BLOCK_OF(WORD(48), 16, WORD(8)),
    BLOCK_OF(WORD(64), 16, INT(132)),
    BLOCK(WORD(72), 64),
    BLOCK(WORD(80), 64),
    BLOCK(WORD(88), 64),
    BLOCK(WORD(96), 64),
};

/*
 * include/xlocale.h and locale/localeinfo.h: thirteen categories, of which the first is LC_CTYPE,
 * and pointers to the element 0 of its tables, which begin with -128.
 */
static const struct fact locale[] = {
    SUM(WORD(104), WORD(0, 56), 256),
    SUM(WORD(112), WORD(0, 72), 512),
    SUM(WORD(120), WORD(0, 64), 512),
};
/* _nl_intern_locale_data(): the data of a category's file, which begins with LIMAGIC(category) and
 * the same number */
static const uint32_t locale_files[] = {
    0x20090720, 0x20051014, 0x20031115 ^ 1, 0x20031115 ^ 2, 0x20031115 ^ 4, 0x20031115 ^ 5,
    0x20031115 ^ 7, 0x20031115 ^ 8, 0x20031115 ^ 9, 0x20031115 ^ 10, 0x20031115 ^ 11, 0x20031115 ^ 12, 0};
static const struct fact locale_data[] = {
    WITHIN(INT(48), 2, 2000),
    EXTENT(INT(48), 56, 8),
    WITHIN(INT(24), 0, 2),
    BLOCK(WORD(0), 2),
    WITHIN(INT(44), 0, 1),
    WITHIN(WORD(16), 16, 1 << 28),
    ONE_OF(INT(8, 0), locale_files),
    SUM(INT(8, 4), INT(48), 0),
};

/* --- zlib -------------------------------------------------------------------------------------- */

static const uint32_t deflate_states[] = {42, 57, 69, 73, 91, 103, 113, 666, 0};
/* deflate.h, struct internal_state of 1.2.8 to 1.3; the stream points back from its member `state`
 */
static const struct fact deflate[] = {
    ONE_OF(INT(8), deflate_states),
    WITHIN(BYTE(72), 8, 8),
    WITHIN(INT(84), 8, 15),
    POWER(INT(80), INT(84)),
    SUM(INT(88), INT(80), -1ull),
    PRODUCT(WORD(104), INT(80), 2),
    WITHIN(INT(136), 8, 17),
    POWER(INT(132), INT(136)),
    SUM(INT(140), INT(132), -1ull),
    BACK(WORD(0), 56),
};
static const struct part deflate_parts[] = {
    {.name = "z_stream", .at = WORD(0), .bytes = 112, .more = 8},
    {"deflate window", WORD(96), INT(80), 2, 64},
    {"deflate hash chains", WORD(112), INT(80), 2, 64},
    {"deflate hash heads", WORD(120), INT(132), 2, 64},
    {"deflate output", WORD(16), WORD(24), 1, 64},
};
/* inflate.h, struct inflate_state of 1.2.9 to 1.3 */
static const struct fact inflate[] = {
    WITHIN(INT(8), 16180, 16211),
    WITHIN(INT(12), 0, 1),
    WITHIN(INT(16), 0, 7),
    WITHIN(INT(20), 0, 1),
    WITHIN(INT(56), 0, 15),
    WITHIN(INT(60), 0, 32768),
    AT_MOST(INT(64), INT(60)),
    AT_MOST(INT(68), INT(60)),
    BACK(WORD(0), 56),
};
static const struct part inflate_parts[] = {
    {.name = "z_stream", .at = WORD(0), .bytes = 112, .more = 8},
    {"inflate window", WORD(72), INT(60), 1, 64},
};

/* --- OpenSSL 3.0 ------------------------------------------------------------------------------- */

/* SSL3_VERSION … TLS1_3_VERSION, TLS_ANY_VERSION, those of DTLS */
static const uint32_t versions[] = {0x300, 0x301,  0x302,  0x303,   0x304, 0x10000,
                                    0x100, 0xfeff, 0xfefd, 0x1ffff, 0};
/* ssl/ssl_local.h, ssl_method_st: a static of the library: a version, and functions from 16 on */
#define SSL_METHOD_AT(at) \
    MODULE(WORD(at), "libssl."), ONE_OF(INT(at, 0), versions), \
        MODULE(WORD(at, 16), "libssl."), MODULE(WORD(at, 24), "libssl."), \
    MODULE(WORD(at, 32), "libssl.")
static const struct fact ssl[] = {
    ONE_OF(INT(0), versions), SSL_METHOD_AT(8),
    NULL_OR_BLOCK(WORD(16), 112),     NULL_OR_BLOCK(WORD(24), 112),
    NULL_OR_BLOCK(WORD(32), 112),
};
static const struct fact ssl_context[] = {
    SSL_METHOD_AT(8),      BLOCK(WORD(16), 32),  BLOCK(WORD(24), 32),
    BLOCK(WORD(32), 32), BLOCK(WORD(40), 112), BLOCK(WORD(48), 64),
};
/* crypto/bio/bio_local.h, bio_meth_st: a static of either library: type, name, functions */
#define BIO_OF(library) \
    MODULE(WORD(8), library), WITHIN(INT(8, 0), 0x200, 0x7ff), \
        MODULE(WORD(8, 8), library), WITHIN(INT(40), 0, 1), WITHIN(INT(44), 0, 1), \
        MODULE(WORD(8, 32), library), \
    NULL_OR_BLOCK(WORD(64), 1)
static const struct fact bio[] = {BIO_OF("libcrypto.")};
static const struct fact bio_ssl[] = {BIO_OF("libssl.")};
/* Keys have a pointer to a static that begins with the name of what it is for. */
#define KEY_OF(at, name) \
    MODULE(WORD(at), "libcrypto."), \
    TEXT(WORD(at, 0), name)
static const struct fact rsa[] = {KEY_OF(24, "OpenSSL PKCS#1 RSA")};
static const struct fact dh[] = {KEY_OF(184, "OpenSSL DH Method")};
static const struct fact dsa[] = {KEY_OF(160, "OpenSSL DSA method")};
static const struct fact ec_key[] = {KEY_OF(0, "OpenSSL EC_KEY method")};
/* crypto/evp/evp_local.h, evp_md_ctx_st: the digest that was asked for, a static, and the one that
 * was fetched */
static const struct fact md_context[] = {
    MODULE(WORD(0), "libcrypto."), BLOCK(WORD(8), 128),
    SUM(WORD(64), WORD(8), 0),       WITHIN(INT(0, 0), 1, 5000),
    SUM(INT(8, 0), INT(0, 0), 0),    WITHIN(INT(0, 8), 1, 64),
    SUM(INT(8, 8), INT(0, 8), 0),
};

/* … or one that the program has fetched itself: evp_md_st has its functions from 136 on */
static const struct fact md_context_fetched[] = {
    BLOCK(WORD(0), 168),
    SUM(WORD(8), WORD(0), 0),
    SUM(WORD(64), WORD(0), 0),
    WITHIN(INT(0, 8), 1, 64),
    MODULE(WORD(0, 136), "libcrypto."),
    MODULE(WORD(0, 144), "libcrypto."),
    MODULE(WORD(0, 152), "libcrypto."),
};

/* --- SQLite ------------------------------------------------------------------------------------ */

/* sqliteInt.h, struct sqlite3, behind the size that mem1.c may put before it: its VFS and first
 * database are named */
#define SQLITE_AT(at) \
    WITHIN(INT(at, 0), 1, 3), WITHIN(INT(at, 8), 512, 512), \
        TEXT(WORD(at, 24), "unix"), WITHIN(INT((at) + 40), 2, 130), \
    TEXT(WORD((at) + 32, 0), "main")
static const struct fact sqlite[] = {SQLITE_AT(0)};
static const struct fact sqlite_sized[] = {EXTENT(WORD(0), 8, 1), SQLITE_AT(8)};

/* --- all of them ------------------------------------------------------------------------------- */

static const struct format known_formats[] = {
    {"DIR", 48 + 4096, 48 + (1 << 20) + 2 * MS_PAGE, FACTS(directory), NO_PARTS},
    {"struct addrinfo", EXACTLY(48 + 16), FACTS(addrinfo_ip), NO_PARTS},
    {"struct addrinfo", EXACTLY(48 + 28), FACTS(addrinfo_ip6), NO_PARTS},
    {"re_dfa_t", EXACTLY(232), FACTS(expression), NO_PARTS},
    {"struct __locale_struct", 232, 2048, FACTS(locale), NO_PARTS},
    {"struct __locale_data", 72, 16384, FACTS(locale_data), NO_PARTS},
    {"deflate_state", 5800, 6100, FACTS(deflate), PARTS(deflate_parts)},
    {"struct inflate_state", 7100, 7300, FACTS(inflate), PARTS(inflate_parts)},
    {"SSL", 5000, 9000, FACTS(ssl), NO_PARTS},
    {"SSL_CTX", 1200, 2000, FACTS(ssl_context), NO_PARTS},
    {"BIO", EXACTLY(120), FACTS(bio), NO_PARTS},
    {"BIO", EXACTLY(120), FACTS(bio_ssl), NO_PARTS},
    {"RSA", 200, 280, FACTS(rsa), NO_PARTS},
    {"DH", 200, 280, FACTS(dh), NO_PARTS},
    {"DSA", 180, 260, FACTS(dsa), NO_PARTS},
    {"EC_KEY", 80, 160, FACTS(ec_key), NO_PARTS},
    {"EVP_MD_CTX", EXACTLY(72), FACTS(md_context), NO_PARTS},
    {"EVP_MD_CTX", EXACTLY(72), FACTS(md_context_fetched), NO_PARTS},
    {"sqlite3", 500, 1200, FACTS(sqlite), NO_PARTS},
    {"sqlite3", 500, 1200, FACTS(sqlite_sized), NO_PARTS},
};
#define FORMATS    (sizeof known_formats / sizeof *known_formats)
#define FIRST_SIZE 64u /* usable bytes, of all of them */
#define LAST_SIZE  ((1u << 20) + 3 * MS_PAGE)

/* --- reading ----------------------------------------------------------------------------------- */

/* What is looked at: a block. */
struct probe {
    const struct ms_scan *scan;
    const struct ms_image *image;
    struct ms_symbols *symbols;
    uint64_t start, address, usable;
};

/* Bytes of a block; of a lean image those that were taken in the stop because they looked like
 * something. */
static bool read_bytes(const struct probe *p, uint64_t address, void *bytes, size_t size)
{
    if (ms_image_read(p->image, address, bytes, size))
        return true;
    if (address < p->address || address - p->address + size > MS_SAMPLE)
        return false;
    const struct ms_sample *sample = ms_block_sample(&p->scan->heap, p->start);
    if (sample)
        memcpy(bytes, sample->bytes + (address - p->address), size);
    return sample;
}

static bool value_at(const struct probe *p, const struct place *at, uint64_t *value)
{
    uint64_t address = p->address;
    if ((uint64_t)at->step[0] + at->width > p->usable)
        return false;
    for (unsigned i = 0; i < at->steps; i++) {
        const bool last = i + 1 == at->steps;
        address += (uint64_t)at->step[i];
        *value = 0;
        if (!read_bytes(p, address, value, last ? at->width : 8))
            return false;
        if (!last)
            address = *value;
    }
    return true;
}

/* The live block that starts at ADDRESS, or MS_NOTHING. */
static uint64_t block_at(const struct ms_heap *heap, uint64_t address)
{
    const struct ms_segment *s = ms_heap_segment(heap, address);
    if (!s || address % MS_GRANULE)
        return MS_NOTHING;
    const uint64_t granule = ms_address_granule(heap, s, address);
    const struct ms_line *line = &heap->lines[granule / MS_LINE_GRANULES];
    return ms_bit(line->starts & line->live, granule) ? granule : MS_NOTHING;
}

static bool has_room(const struct ms_heap *heap, uint64_t address, uint64_t bytes)
{
    const uint64_t start = block_at(heap, address);
    return start != MS_NOTHING && ms_usable(heap, start) >= bytes;
}

static bool points_back(const struct probe *p, uint64_t address)
{
    uint64_t value;
    return ms_image_read_word(p->image, address, &value) && value == p->address;
}

static bool is_in_module(const struct probe *p, uint64_t address, const char *prefix)
{
    const char *module = p->symbols ? ms_symbols_module(p->symbols, address) : NULL;
    return module && strncmp(module, prefix, strlen(prefix)) == 0;
}

static bool is_text(const struct probe *p, uint64_t address, const char *text)
{
    char bytes[32];
    const size_t size = strlen(text) + 1;
    return size <= sizeof bytes && ms_image_read(p->image, address, bytes, size) &&
           memcmp(bytes, text, size) == 0;
}

/*
 * struct linux_dirent64 (linux/dirent.h): inode, offset, length, type, name; one behind another up
 * to SIZE, and READ bytes are the end of one. The name ends in the entry.
 */
static bool are_entries(const struct probe *p, uint64_t from, uint64_t size, uint64_t read)
{
    enum {
        LENGTH_AT = 16,
        TYPE_AT = 18,
        NAME_AT = 19,
        TYPES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 12 | 1 << 14
    };
    bool met = read == 0;
    uint64_t at = 0;
    while (at < size && from + size <= p->usable) {
        uint8_t entry[NAME_AT + 5];
        uint16_t length;
        if (size - at < sizeof entry ||
            !ms_image_read(p->image, p->address + from + at, entry, sizeof entry))
            return false;
        memcpy(&length, entry + LENGTH_AT, sizeof length);
        if (length < sizeof entry || length % 8 || length > size - at || entry[TYPE_AT] > 14 ||
            !(TYPES >> entry[TYPE_AT] & 1) || !entry[NAME_AT] || entry[NAME_AT] == '/')
            return false;
        at += length;
        met |= at == read;
    }
    return met && size && at == size;
}

/* --- proving ----------------------------------------------------------------------------------- */

static uint64_t cut(uint64_t value, unsigned width)
{
    return width < 8 ? value & ((1ull << 8 * width) - 1) : value;
}

static bool is_listed(const uint32_t *list, uint64_t value)
{
    while (*list && *list != value)
        list++;
    return *list;
}

static bool compares(const struct probe *p, const struct fact *f, uint64_t value, uint64_t other)
{
    switch (f->rule) {
    case IS_WITHIN:
        return value >= f->low && value <= f->high;
    case IS_ONE_OF:
        return is_listed(f->list, value);
    case IS_SUM:
        return value == cut(other + f->low, f->at.width);
    case IS_PRODUCT:
        return value == other * f->low;
    case IS_POWER:
        return other < 63 && value == 1ull << other;
    case IS_AT_MOST:
        return value <= other;
    case IS_SELF:
        return value == p->address + f->low;
    case IS_BACK:
        return points_back(p, value + f->low);
    case IS_NULL_OR_BLOCK:
        return !value || has_room(&p->scan->heap, value, f->low);
    case IS_BLOCK:
        return has_room(&p->scan->heap, value, f->low * other);
    case IS_IN_MODULE:
        return is_in_module(p, value, f->text);
    case IS_TEXT:
        return is_text(p, value, f->text);
    case IS_EXTENT:
        return ms_fits(f->low + f->high * value, p->usable);
    case IS_ENTRIES:
        return are_entries(p, f->low, value, other);
    }
    return false;
}

static bool holds(const struct probe *p, const struct fact *f)
{
    uint64_t value = 0, other = 1;
    if (!value_at(p, &f->at, &value))
        return f->if_there;
    return (!f->other.steps || value_at(p, &f->other, &other)) && compares(p, f, value, other);
}

/* The index says without the bytes whether pointers to blocks are where they must be. */
static bool has_pointers(const struct probe *p, const struct format *f)
{
    const struct ms_heap *heap = &p->scan->heap;
    for (size_t i = 0; i < f->fact_count; i++) {
        const struct fact *fact = &f->facts[i];
        if ((fact->rule == IS_BLOCK || fact->rule == IS_SELF) && fact->at.steps == 1 &&
            ms_word_target(heap, p->start * 2 + (uint64_t)fact->at.step[0] / 8) >= 2 * heap->granules)
            return false;
    }
    return true;
}

static bool is_format(const struct probe *p, const struct format *f)
{
    if (p->usable < f->least || p->usable > f->most || !has_pointers(p, f))
        return false;
    for (size_t i = 0; i < f->fact_count; i++)
        if (!holds(p, &f->facts[i]))
            return false;
    return true;
}

/* --- what threads own -------------------------------------------------------------------------- */

/* nptl/descr.h: the thread pointer points to struct pthread, which begins with tcbhead_t: itself,
 * its DTV, itself */
enum { TCB_WORDS = 320, KEYS = 32, DTV_MOST = 65536 };

static bool name_block(struct ms_formats *formats, const struct ms_heap *heap, uint64_t address,
                       uint64_t least, uint64_t most, const char *name)
{
    const uint64_t start = block_at(heap, address),
                   usable = start == MS_NOTHING ? 0 : ms_usable(heap, start);
    if (!usable || usable < least || usable > most)
        return true;
    return ms_map_put(&formats->found, start, 0, (uintptr_t)name);
}

/* elf/dl-tls.c: the vector begins with how many it has room for, and is known by its second
 * element. */
static bool find_tls(struct ms_formats *formats, const struct probe *p, uint64_t dtv)
{
    uint64_t count, entry[2];
    const uint64_t start = block_at(&p->scan->heap, dtv - 16);
    if (!ms_image_read_word(p->image, dtv - 16, &count) || !count || count > DTV_MOST ||
        start == MS_NOTHING || !ms_fits((count + 2) * 16, ms_usable(&p->scan->heap, start)))
        return true;
    bool enough = name_block(formats, &p->scan->heap, dtv - 16, 0, UINT64_MAX, "dtv_t");
    for (uint64_t i = 1; enough && i <= count; i++)
        if (ms_image_read(p->image, dtv + i * 16, entry, sizeof entry) && entry[0] >= entry[1] &&
            has_room(&p->scan->heap, entry[1], entry[0] - entry[1] + 1))
            enough = name_block(formats, &p->scan->heap, entry[1], 0, UINT64_MAX,
                                "thread-local variables");
    return enough;
}

/*
 * pthread_setspecific(): struct pthread has the values of the first 32 keys, then an array of
 * pointers to as many each. The first of these is to the values before it, and tells where the
 * array is.
 */
static bool find_specific(struct ms_formats *formats, const struct probe *p, uint64_t tcb,
                          const uint64_t *words)
{
    const unsigned values = KEYS * 16 / 8;
    for (unsigned i = values; i + KEYS <= TCB_WORDS; i++) {
        if (words[i] != tcb + (i - values) * 8)
            continue;
        for (unsigned k = 1; k < KEYS; k++)
            if (!name_block(formats, &p->scan->heap, words[i + k], KEYS * 16, KEYS * 16 + 31,
                            "struct pthread_key_data"))
                return false;
        return true;
    }
    return true;
}

static bool find_owned_by_threads(struct ms_formats *formats, const struct probe *p)
{
    for (size_t i = 0; i < p->image->thread_count; i++) {
        uint64_t words[TCB_WORDS];
        const uint64_t tcb = p->image->threads[i].registers[MS_REG_FS_BASE];
        if (!tcb || !ms_image_read(p->image, tcb, words, sizeof words) || words[0] != tcb ||
            words[2] != tcb)
            continue;
        if (!find_tls(formats, p, words[1]) || !find_specific(formats, p, tcb, words))
            return false;
    }
    return true;
}

/* --- all blocks -------------------------------------------------------------------------------- */

static bool find_parts(struct ms_formats *formats, const struct probe *p, const struct format *f)
{
    for (size_t i = 0; i < f->part_count; i++) {
        const struct part *part = &f->parts[i];
        uint64_t address = 0, times = 1;
        if (!value_at(p, &part->at, &address) ||
            (part->times.steps && !value_at(p, &part->times, &times)))
            continue;
        const uint64_t bytes = part->bytes * times;
        if (bytes &&
            !name_block(formats, &p->scan->heap, address, bytes, bytes + part->more, part->name))
            return false;
    }
    return true;
}

static bool look_at(struct ms_formats *formats, struct probe *p, uint64_t start)
{
    p->start = start;
    p->usable = ms_usable(&p->scan->heap, start);
    if (p->usable < FIRST_SIZE || p->usable > LAST_SIZE)
        return true;
    p->address = ms_granule_address(&p->scan->heap, start);
    for (size_t i = 0; i < FORMATS; i++)
        if (is_format(p, &known_formats[i]))
            return ms_map_put(&formats->found, start, 0, (uintptr_t)known_formats[i].name) &&
                   find_parts(formats, p, &known_formats[i]);
    return true;
}

/* A lean image has no bytes of blocks but the samples. */
static bool look_at_samples(struct ms_formats *formats, struct probe *p)
{
    const struct ms_heap *heap = &p->scan->heap;
    for (size_t i = 0; i < heap->samples.count; i++) {
        const uint64_t start = heap->samples.items[i].granule;
        const struct ms_line *line = &heap->lines[start / MS_LINE_GRANULES];
        if (ms_bit(line->starts & line->live, start) && !look_at(formats, p, start))
            return false;
    }
    return true;
}

static bool look_at_all(struct ms_formats *formats, struct probe *p)
{
    const struct ms_heap *heap = &p->scan->heap;
    for (uint64_t l = 0; l < heap->granules / MS_LINE_GRANULES; l++)
        for (uint32_t bits = heap->lines[l].starts & heap->lines[l].live; bits; bits &= bits - 1)
            if (!look_at(formats, p, l * MS_LINE_GRANULES + (unsigned)__builtin_ctz(bits)))
                return false;
    return true;
}

ms_result ms_formats_find(const struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
                          struct ms_formats *formats)
{
    struct probe p = {.scan = scan, .image = image, .symbols = symbols};
    const bool enough = find_owned_by_threads(formats, &p) &&
                        (image->kind == MS_LEAN ? look_at_samples(formats, &p) : look_at_all(formats, &p));
    return enough ? NULL : ms_error_nomem("known formats");
}

void ms_formats_free(struct ms_formats *formats)
{
    ms_map_free(&formats->found);
}

const char *ms_format_of(const struct ms_formats *formats, uint64_t start)
{
    const uint64_t *name = formats->found.used ? ms_map_get(&formats->found, start, 0) : NULL;
    return name ? (const char *)(uintptr_t)*name : NULL;
}
