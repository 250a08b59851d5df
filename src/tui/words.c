/* Words that several views use, as they are in the reports. */
#include "words.h"

#include <string.h>

#include "memscope/output.h"

/* As it is in everybody's mouth, and in the middle of many longer names. */
static const char string_in_full[] = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >";

/* The first LENGTH bytes of NAME. */
static void put_part(struct tui_cell *cell, const char *name, size_t length)
{
    char part[TUI_CELL_BYTES];
    length = length < sizeof part ? length : sizeof part - 1;
    memcpy(part, name, length);
    part[length] = '\0';
    tui_put_name(cell, part);
}

void tui_put_type(struct tui_cell *cell, const char *name, enum ms_evidence by)
{
    const char *at;
    while ((at = strstr(name, string_in_full))) {
        put_part(cell, name, (size_t)(at - name));
        tui_put(cell, "std::string");
        name = at + sizeof string_in_full - 1;
    }
    tui_put_name(cell, name);
    if (by == MS_BY_GUESS)
        tui_put(cell, "?");
}

void tui_put_tally(struct tui_cell *cell, const struct ms_tally *tally)
{
    tui_put_size(cell, tally->bytes);
    tui_put(cell, " in ");
    tui_put_count(cell, tally->blocks);
    tui_put(cell, " block%s", tally->blocks == 1 ? "" : "s");
}

void tui_put_share(struct tui_cell *cell, uint64_t part, uint64_t whole)
{
    char share[16];
    tui_put(cell, "%s", ms_share_text(part, whole, share));
}

void tui_put_duration(struct tui_cell *cell, uint64_t ns)
{
    char duration[16];
    tui_put(cell, "%s", ms_duration_text(ns, duration));
}

void tui_put_preview(struct tui_cell *cell, const uint8_t *bytes, unsigned size)
{
    const size_t length = strnlen((const char *)bytes, size);
    tui_put_bytes(cell, bytes, length ? length : size);
}

/* How much of TEXT goes on one line. */
static size_t line_length(const char *text, size_t width)
{
    size_t length = strlen(text);
    if (length <= width)
        return length;
    for (length = width; length > 0 && text[length] != ' ';)
        length--;
    return length ? length : width;
}

bool tui_put_wrapped(struct tui_cell *cell, const char *text, unsigned width, unsigned line)
{
    const size_t most = width > 20 ? width : 20;
    size_t length = line_length(text, most);
    for (; line && *text; line--) {
        text += length;
        text += strspn(text, " ");
        length = line_length(text, most);
    }
    if (!*text)
        return false;
    put_part(cell, text, length);
    return true;
}

uint64_t tui_hash(uint64_t hash, const char *words)
{
    hash ^= 0xcbf29ce484222325u; /* FNV-1a */
    for (; words && *words; words++)
        hash = (hash ^ (uint8_t)*words) * 0x100000001b3u;
    return hash ? hash : 1;
}

const struct tui_view_kind *tui_kind_of(char key)
{
    for (size_t i = 0; tui_kinds[i]; i++)
        if (tui_kinds[i]->key == key)
            return tui_kinds[i];
    return NULL;
}
