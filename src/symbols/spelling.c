/* The many spellings of one type's name: gcc's, clang's, gdb's and the demanglers', made the same. */
#include "spelling.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/memory.h"

/* Deeper nested templates keep their spelling of const. */
#define NESTING_MAX 64u

struct writer {
    char *text;
    size_t size;
    bool key; /* for comparing, not for showing */
    unsigned depth;
    bool pending[NESTING_MAX]; /* a "const" that goes behind the type that it came before */
};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (c & 0x80);
}

static void put(struct writer *w, const char *text, size_t size)
{
    memcpy(w->text + w->size, text, size);
    w->size += size;
}

static void put_word(struct writer *w, const char *word, size_t size)
{
    if (w->key && w->size && is_word(w->text[w->size - 1]))
        put(w, " ", 1);
    put(w, word, size);
}

static bool equals(const char *word, size_t size, const char *other)
{
    return strlen(other) == size && !memcmp(word, other, size);
}

/* Words that make integer types, in any order. */
struct integer {
    unsigned longs, shorts, ints, signeds, unsigneds;
};

static bool count_word(struct integer *i, const char *word, size_t size)
{
    if (equals(word, size, "long"))
        return i->longs++, true;
    if (equals(word, size, "short"))
        return i->shorts++, true;
    if (equals(word, size, "int"))
        return i->ints++, true;
    if (equals(word, size, "unsigned"))
        return i->unsigneds++, true;
    if (equals(word, size, "signed"))
        return i->signeds++, true;
    return false;
}

static size_t word_size(const char *at)
{
    size_t size = 0;
    while (is_word(at[size]))
        size++;
    return size;
}

/*
 * The words of an integer type at AT, written as libiberty does (cplus_demangle_builtin_types); bytes read,
 * 0: it is none. "char" and "double" at their end stay what they are.
 */
static size_t put_integer(struct writer *w, const char *at)
{
    static const char *const longs[] = {"", "long", "long long"};
    struct integer i = {0};
    size_t read = 0, size;
    for (size_t next = 0; (size = word_size(at + next)) && count_word(&i, at + next, size);) {
        read = next += size;
        next += strspn(at + next, " ");
    }
    if (!read || i.longs > 2)
        return 0;
    const char *rest = at + read + strspn(at + read, " ");
    size = word_size(rest);
    bool other = equals(rest, size, "char") || equals(rest, size, "double") || equals(rest, size, "__int128");
    if (i.unsigneds)
        put_word(w, "unsigned", 8);
    else if (i.signeds && other)
        put_word(w, "signed", 6);
    const char *main = i.longs ? longs[i.longs] : i.shorts ? "short" : other ? "" : "int";
    if (*main && i.unsigneds)
        put(w, " ", 1);
    if (*main && !i.unsigneds)
        put_word(w, main, strlen(main));
    else
        put(w, main, strlen(main));
    return read;
}

/* The type at this depth ends: its const comes here. */
static void end_type(struct writer *w)
{
    if (w->depth < NESTING_MAX && w->pending[w->depth]) {
        w->pending[w->depth] = false;
        put_word(w, "const", 5);
    }
}

static void put_mark(struct writer *w, char c)
{
    if (w->key && strchr("*&,>)", c))
        end_type(w);
    put(w, &c, 1);
    if (c == '<' || c == '(') {
        w->depth++;
        if (w->depth < NESTING_MAX)
            w->pending[w->depth] = false;
    } else if ((c == '>' || c == ')') && w->depth > 0) {
        w->depth--;
    }
}

/* One word of a key; bytes read. */
static size_t put_key_word(struct writer *w, const char *at, size_t size)
{
    bool first = w->size == 0 || strchr("<,(", w->text[w->size - 1]);
    if (first && equals(at, size, "const") && w->depth < NESTING_MAX) {
        w->pending[w->depth] = true;
        return size;
    }
    size_t shown = size;
    if (isdigit((unsigned char)*at))
        while (shown > 1 && strchr("uUlL", at[shown - 1]))
            shown--;
    put_word(w, at, shown);
    return size;
}

static char *respell(const char *name, bool key)
{
    /* No more than " const" and a blank are put where something was read. */
    size_t length = strlen(name);
    struct writer w = {.key = key, .text = malloc(2 * length + 8)};
    if (!w.text)
        return NULL;
    while (*name) {
        size_t size = word_size(name), read;
        if (!size) {
            if (!key || *name != ' ')
                put_mark(&w, *name);
            name++;
        } else if ((read = put_integer(&w, name))) {
            name += read;
        } else {
            name += key ? put_key_word(&w, name, size) : (put_word(&w, name, size), size);
        }
    }
    if (key)
        end_type(&w);
    w.text[w.size] = '\0';
    return w.text;
}

char *ms_spelling_shown(const char *name)
{
    return strchr(name, ' ') ? respell(name, false) : strdup(name);
}

/* FNV-1a. */
static uint64_t hash(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    hash ^= hash >> 29;
    return hash ? hash : 1;
}

uint64_t ms_spelling_hash(const char *name)
{
    static const char *const heads[] = {"struct ", "class ", "union ", "enum "};
    for (unsigned i = 0; i < sizeof heads / sizeof *heads; i++)
        if (!strncmp(name, heads[i], strlen(heads[i]))) {
            name += strlen(heads[i]);
            break;
        }
    if (!strpbrk(name, " <"))
        return hash(name);
    ms_auto_free char *key = respell(name, true);
    return key ? hash(key) : 0;
}
