/* Class names from the typeinfo that vtables lead to: stripped programs have it too, dynamic_cast needs it. */
#include "rtti.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demangle.h"

/* Before what a vptr points to: offset to top, typeinfo. That is: vptr, name (Itanium C++ ABI, 2.5.2, 2.9.3). */
#define VTABLE_HEAD 16u
/* Bigger than any base class before another, and than any mangled name. Bytes. */
#define TOP_MAX (1ll << 32)
#define NAME_MAX_SIZE 8192u
#define PIECE 256u

/* Two words that lie where vtables and typeinfos do: in a file's map, or in .bss when they are copied there. */
static bool read_pair(const struct ms_image *image, uint64_t address, uint64_t pair[2])
{
    const struct ms_region *region = ms_image_region(image, address);
    return address % 8 == 0 && region && (region->kind == MS_REGION_FILE || region->kind == MS_REGION_ANON) &&
           !(region->prot & MS_EXEC) && ms_image_read(image, address, pair, 16);
}

/* The typeinfo of the vtable at VPTR: its address, the words of it in INFO. */
static bool read_typeinfo(const struct ms_image *image, uint64_t vptr, uint64_t info[2])
{
    uint64_t head[2];
    if (vptr < VTABLE_HEAD || !read_pair(image, vptr - VTABLE_HEAD, head))
        return false;
    int64_t top = (int64_t)head[0];
    return top <= 0 && top > -TOP_MAX && top % 8 == 0 && head[1] && read_pair(image, head[1], info);
}

/* The text at ADDRESS if it is made of what mangled names are made of; owned by the caller. */
static char *read_name(const struct ms_image *image, uint64_t address)
{
    ms_auto_free char *name = malloc(NAME_MAX_SIZE);
    for (size_t size = 0, end = 0; name && size < NAME_MAX_SIZE; size++) {
        if (size == end) {
            size_t piece = MS_PAGE - (address + size) % MS_PAGE;
            piece = piece < PIECE ? piece : PIECE;
            end += piece < NAME_MAX_SIZE - size ? piece : NAME_MAX_SIZE - size;
            if (!ms_image_read(image, address + size, name + size, end - size))
                return NULL;
        }
        if (!name[size])
            return strdup(name);
        if (!isalnum((unsigned char)name[size]) && !strchr("_.$*", name[size]))
            return NULL;
    }
    return NULL;
}

/*
 * Is what a typeinfo's own first word points to the vtable of a class's typeinfo? It has one in turn, whose
 * name says so, whether the C++ library is linked in and stripped or not.
 */
static bool is_class_info(const struct ms_image *image, uint64_t vptr)
{
    static const char *const kinds[] = {"N10__cxxabiv117__class_type_infoE",
                                        "N10__cxxabiv120__si_class_type_infoE",
                                        "N10__cxxabiv121__vmi_class_type_infoE"};
    uint64_t info[2];
    ms_auto_free char *name = read_typeinfo(image, vptr, info) ? read_name(image, info[1]) : NULL;
    for (size_t i = 0; name && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(name + (*name == '*'), kinds[i]))
            return true;
    return false;
}

char *ms_rtti_class(const struct ms_image *image, uint64_t vptr)
{
    static const char prefix[] = "typeinfo name for ";
    uint64_t info[2];
    char *linked = NULL;
    if (!read_typeinfo(image, vptr, info) || !is_class_info(image, info[0]))
        return NULL;
    ms_auto_free char *name = read_name(image, info[1]);
    /* GCC marks names that are of one object file alone with an asterisk (std::type_info::name(), <typeinfo>). */
    if (!name || asprintf(&linked, "_ZTS%s", name + (*name == '*')) < 0)
        return NULL;
    char *shown = ms_demangle(linked);
    if (shown && !strncmp(shown, prefix, sizeof prefix - 1)) {
        memmove(shown, shown + sizeof prefix - 1, strlen(shown + sizeof prefix - 1) + 1);
        free(linked);
        return shown;
    }
    free(shown);
    return linked;
}
