/* A chain of pointers as an expression that C and gdb can evaluate. */
#include "expression.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD 8u

/* What was written so far, and the type of its value. */
struct writer {
    struct ms_types *types;
    char *text;                 /* owned */
    const struct ms_type *type; /* NULL when C would not know it */
};

/* Replaces the text by a longer one, which may be made of it. */
__attribute__((format(printf, 2, 3))) static struct ms_error *write_text(struct writer *w, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return ms_error_nomem("an expression");
    free(w->text);
    w->text = text;
    return NULL;
}

/* --- types ------------------------------------------------------------------------------------- */

static const struct ms_type *complete(struct ms_types *types, const struct ms_type *type)
{
    return type ? ms_type_complete(types, type) : NULL;
}

/* Does a pointer of type POINTER point to values of type TYPE? */
static bool points_to(const struct writer *w, const struct ms_type *pointer, const struct ms_type *type)
{
    return pointer && pointer->kind == MS_TYPE_POINTER && pointer->target &&
           complete(w->types, pointer->target) == complete(w->types, type);
}

static bool is_reference(const struct ms_type *type)
{
    size_t length = type->kind == MS_TYPE_POINTER ? strlen(type->name) : 0;
    return length && type->name[length - 1] == '&';
}

/* Can TYPE be named in a cast? Rust's names are none of C's, and what has no name has none. */
static bool has_c_name(const struct ms_type *type)
{
    while (type->kind == MS_TYPE_POINTER && type->target)
        type = type->target;
    return type->language != MS_LANGUAGE_RUST && type->kind != MS_TYPE_FUNCTION && type->kind != MS_TYPE_ARRAY &&
           !strpbrk(type->name, "{}()&") && !strstr(type->name, "<anon") &&
           !strstr(type->name, "<unnamed");
}

/* Can a pointer to TYPE be followed by a member, or counted on by its size? */
static bool is_usable(const struct ms_type *type)
{
    return type && type->size && type->kind != MS_TYPE_VOID && type->kind != MS_TYPE_FUNCTION;
}

/* Where OFFSET of a block is: in which element, and where in that. A single one may have a flexible array behind it. */
struct spot {
    uint64_t element, rest;
};

static bool locate(const struct ms_block_type *what, const struct ms_type *type, uint64_t offset, struct spot *spot)
{
    if (!is_usable(type) || offset < what->at)
        return false;
    *spot = (struct spot){0, offset - what->at};
    if (what->count != 1)
        *spot = (struct spot){spot->rest / type->size, spot->rest % type->size};
    return spot->element < what->count;
}

char *ms_member_text(struct ms_types *types, const struct ms_block_type *what, uint64_t offset, uint64_t wanted)
{
    const struct ms_type *type = complete(types, what->type), *leaf;
    struct spot spot;
    if (!locate(what, type, offset, &spot))
        return NULL;
    ms_auto_free char *path = ms_type_path(types, type, spot.rest, wanted, &leaf);
    char *text = NULL;
    if (!path)
        return NULL;
    if (what->count == 1)
        return *path ? strdup(path + (*path == '.')) : NULL;
    return asprintf(&text, "[%" PRIu64 "]%s", spot.element, path) < 0 ? NULL : text;
}

/* --- steps ------------------------------------------------------------------------------------- */

/* The value as bytes are counted from it: "(char *)x + 0x18", or "x" when BY is 0. */
static struct ms_error *move_by(struct writer *w, int64_t by)
{
    if (by == 0)
        return NULL;
    uint64_t size = by < 0 ? -(uint64_t)by : (uint64_t)by;
    return write_text(w, "((char *)%s %c %" PRIu64 ")", w->text, by < 0 ? '-' : '+', size);
}

/* The word BY bytes behind what the value points to. */
static struct ms_error *step_untyped(struct writer *w, int64_t by)
{
    w->type = NULL;
    MS_TRY(move_by(w, by));
    return write_text(w, "*(void **)%s", w->text);
}

/* The value becomes a pointer to TYPE that is BY bytes behind; at once when it is that already. */
static struct ms_error *cast_to(struct writer *w, const struct ms_type *type, int64_t by)
{
    if (by == 0 && points_to(w, w->type, type))
        return NULL;
    MS_TRY(move_by(w, by));
    return write_text(w, "((%s *)%s)", type->name, w->text);
}

/* The member PATH of element INDEX of what the value points to. */
static struct ms_error *select_member(struct writer *w, uint64_t index, const char *path, const struct ms_type *leaf)
{
    const char *address = is_reference(leaf) ? "&" : "";
    if (index == 0 && *path == '.')
        MS_TRY(write_text(w, "%s%s->%s", address, w->text, path + 1));
    else
        MS_TRY(write_text(w, "%s%s[%" PRIu64 "]%s", address, w->text, index, path));
    if (*address)
        MS_TRY(write_text(w, "(%s)", w->text));
    w->type = is_reference(leaf) ? NULL : leaf;
    return NULL;
}

/*
 * Elements are counted from where the pointer points to when that is the start of one, and not behind the
 * one that is wanted: a[-1] is for nobody.
 */
static struct ms_error *step_typed(struct writer *w, const struct ms_expression_step *step,
                                   const struct ms_type *type, int64_t element, const char *path,
                                   const struct ms_type *leaf)
{
    const int64_t size = (int64_t)type->size, from = step->into - (int64_t)step->what.at;
    if (from >= 0 && from % size == 0 && from / size <= element) {
        MS_TRY(cast_to(w, type, 0));
        return select_member(w, (uint64_t)(element - from / size), path, leaf);
    }
    MS_TRY(cast_to(w, type, -from));
    return select_member(w, (uint64_t)element, path, leaf);
}

static struct ms_error *add_step(struct writer *w, const struct ms_expression_step *step)
{
    const struct ms_type *type = complete(w->types, step->what.type), *leaf = NULL;
    const int64_t by = (int64_t)step->offset - step->into;
    struct spot spot;
    if (!locate(&step->what, type, step->offset, &spot) ||
        (!has_c_name(type) && !(step->into == (int64_t)step->what.at && points_to(w, w->type, type))))
        return step_untyped(w, by);
    ms_auto_free char *path = ms_type_path(w->types, type, spot.rest, WORD, &leaf);
    /* Only what C reads as one word of its own is a step; of a union C would have to know which member. */
    bool word = path && leaf && leaf->size == WORD &&
                (leaf->kind == MS_TYPE_POINTER || (leaf->kind == MS_TYPE_BASE && !strstr(leaf->name, "double")));
    return word ? step_typed(w, step, type, (int64_t)spot.element, path, leaf) : step_untyped(w, by);
}

ms_result ms_express_from(struct ms_types *types, const char *text, const struct ms_type *type,
                             const struct ms_expression_step *steps, size_t count, char **expression)
{
    struct writer w = {.types = types, .type = type};
    struct ms_error *error = write_text(&w, "%s", text);
    *expression = NULL;
    if (count > MS_EXPRESSION_STEPS)
        count = 0;
    for (size_t i = 0; !error && i + 1 < count; i++)
        error = add_step(&w, &steps[i]);
    if (!error && count)
        error = move_by(&w, -steps[count - 1].into);
    if (!error && count)
        *expression = w.text;
    else
        free(w.text);
    return error;
}

/* --- roots ------------------------------------------------------------------------------------- */

static bool is_identifier(const char *name)
{
    if (isdigit((unsigned char)*name) || !*name)
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_')
            return false;
    return true;
}

/* The type of the variable's member that the root's word is, or NULL. */
static struct ms_error *type_of_root(struct ms_types *types, const struct ms_place *root, const struct ms_type **type)
{
    struct ms_place_type found = {0};
    *type = NULL;
    if (!types || (root->kind != MS_PLACE_DATA && root->kind != MS_PLACE_TLS))
        return NULL;
    MS_TRY(ms_types_find(types, &root->address, 1, &found));
    if (found.variable)
        free(ms_type_path(types, complete(types, found.variable->type), found.offset, WORD, type));
    if (*type && is_reference(*type))
        *type = NULL;
    return NULL;
}

/* A static of a function is that function's, for gdb; in C++ and Rust its name says that already. */
static char *root_text(const struct ms_place *root)
{
    char *text = NULL;
    bool static_local = root->variable && root->kind == MS_PLACE_DATA && root->function &&
                        is_identifier(root->function) && !strstr(root->variable, "::");
    int length = -1;
    if (root->variable)
        length = asprintf(&text, "%s%s%s", static_local ? root->function : "", static_local ? "::" : "",
                          root->variable);
    else if (root->kind == MS_PLACE_DATA && root->symbol && is_identifier(root->symbol) && root->offset)
        length = asprintf(&text, "*(void **)((char *)&%s + %" PRId64 ")", root->symbol, root->offset);
    else if (root->kind == MS_PLACE_DATA && root->symbol && is_identifier(root->symbol))
        length = asprintf(&text, "*(void **)&%s", root->symbol);
    else if (root->address)
        length = asprintf(&text, "*(void **)0x%" PRIx64, root->address);
    return length < 0 ? NULL : text;
}

ms_result ms_express(struct ms_types *types, const struct ms_place *root, const struct ms_expression_step *steps,
                        size_t count, char **expression)
{
    const struct ms_type *type = NULL;
    *expression = NULL;
    if (!root->variable && !root->address)
        return NULL;
    ms_auto_free char *text = root_text(root);
    if (!text)
        return ms_error_nomem("an expression");
    if (root->variable)
        MS_TRY(type_of_root(types, root, &type));
    return ms_express_from(types, text, type, steps, count, expression);
}
