/* A chain of pointers as an expression that gdb can evaluate, in C or in Rust. */
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

ms_result ms_rewrite(char **text, const char *format, ...)
{
    char *longer = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&longer, format, arguments);
    va_end(arguments);
    if (length < 0)
        return ms_error_nomem("an expression");
    free(*text);
    *text = longer;
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

/* Where in a block something is: in which element, and where in that. */
struct spot {
    uint64_t element, rest;
};

/* A single value may have a flexible array behind it. */
static bool locate(const struct ms_block_type *what, const struct ms_type *type, uint64_t offset,
                   struct spot *spot)
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

/* --- base classes ------------------------------------------------------------------------------ */

#define DEPTH_MAX 16u

/* How many members of TYPE, its bases' and those of nameless ones included, are called NAME. */
static unsigned count_named(struct ms_types *types, const struct ms_type *type, const char *name, unsigned depth)
{
    unsigned count = 0;
    type = complete(types, type);
    for (size_t i = 0; depth < DEPTH_MAX && count < 2 && i < type->member_count; i++) {
        const struct ms_member *m = &type->members[i];
        if (m->base || !m->name)
            count += count_named(types, m->type, name, depth + 1);
        else
            count += strcmp(m->name, name) == 0;
    }
    return count;
}

/* The member of TYPE with a name that OFFSET is in, which may be a base's; REST is the offset in it. */
static const struct ms_member *named_member(struct ms_types *types, const struct ms_type *type, uint64_t offset,
                                            uint64_t *rest, unsigned depth)
{
    type = complete(types, type);
    for (size_t i = 0; depth < DEPTH_MAX && i < type->member_count; i++) {
        const struct ms_member *m = &type->members[i];
        if (offset < m->offset || offset - m->offset >= m->type->size)
            continue;
        *rest = offset - m->offset;
        const struct ms_member *found = m;
        if (m->base || !m->name)
            found = named_member(types, m->type, *rest, rest, depth + 1);
        if (found)
            return found;
    }
    return NULL;
}

/* Would C++ not know which member a path to OFFSET means, because several bases have one of that name? */
static bool is_ambiguous(struct ms_types *types, const struct ms_type *type, uint64_t offset)
{
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        type = complete(types, type);
        if (type->kind == MS_TYPE_ARRAY && type->target && complete(types, type->target)->size) {
            type = type->target;
            offset %= complete(types, type)->size;
            continue;
        }
        if (type->kind != MS_TYPE_STRUCT || type->language != MS_LANGUAGE_CXX)
            return false;
        const struct ms_member *m = named_member(types, type, offset, &offset, 0);
        if (!m)
            return false;
        if (count_named(types, type, m->name, 0) > 1)
            return true;
        type = m->type;
    }
    return true;
}

/* --- steps ------------------------------------------------------------------------------------- */

/* The value as bytes are counted from it: "(char *)x + 0x18", or "x" when BY is 0. */
static struct ms_error *move_by(struct writer *w, int64_t by)
{
    if (by == 0)
        return NULL;
    uint64_t size = by < 0 ? -(uint64_t)by : (uint64_t)by;
    return ms_rewrite(&w->text, "((char *)%s %c %" PRIu64 ")", w->text, by < 0 ? '-' : '+', size);
}

/* The word BY bytes behind what the value points to. */
static struct ms_error *step_untyped(struct writer *w, int64_t by)
{
    w->type = NULL;
    MS_TRY(move_by(w, by));
    return ms_rewrite(&w->text, "*(void **)%s", w->text);
}

/* The value becomes a pointer to TYPE that is BY bytes behind; at once when it is that already. */
static struct ms_error *cast_to(struct writer *w, const struct ms_type *type, int64_t by)
{
    if (by == 0 && points_to(w, w->type, type))
        return NULL;
    MS_TRY(move_by(w, by));
    w->type = NULL;
    /* In quotes gdb takes a qualified name for one in C too: its language is that of the frame it stands in. */
    const char *quote = type->language != MS_LANGUAGE_C && strpbrk(type->name, ":<") ? "'" : "";
    /* Of a pointer only what it points to is a name. */
    size_t length = strlen(type->name);
    while (length > 0 && strchr("* ", type->name[length - 1]))
        length--;
    return ms_rewrite(&w->text, "((%s%.*s%s%s *)%s)", quote, (int)length, type->name, quote, type->name + length,
                      w->text);
}

/* The member PATH of element INDEX of what the value points to. */
static struct ms_error *select_member(struct writer *w, uint64_t index, const char *path,
                                      const struct ms_type *leaf)
{
    const char *address = is_reference(leaf) ? "&" : "";
    if (index == 0 && *path == '.')
        MS_TRY(ms_rewrite(&w->text, "%s%s->%s", address, w->text, path + 1));
    else
        MS_TRY(ms_rewrite(&w->text, "%s%s[%" PRIu64 "]%s", address, w->text, index, path));
    if (*address)
        MS_TRY(ms_rewrite(&w->text, "(%s)", w->text));
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
    bool word = path && leaf && !is_ambiguous(w->types, type, spot.rest) && leaf->size == WORD &&
                (leaf->kind == MS_TYPE_POINTER || (leaf->kind == MS_TYPE_BASE && !strstr(leaf->name, "double")));
    return word ? step_typed(w, step, type, (int64_t)spot.element, path, leaf) : step_untyped(w, by);
}

/* The value is a pointer to the start of the last block. */
static struct ms_error *finish(struct writer *w, int64_t into)
{
    if (into)
        return move_by(w, -into);
    if (w->type && w->type->kind != MS_TYPE_POINTER)
        return ms_rewrite(&w->text, "(void *)%s", w->text);
    return NULL;
}

/* --- Rust -------------------------------------------------------------------------------------- */

/*
 * gdb's Rust knows paths of plain names, no `{closure}`, `<impl …>` or `dyn`; and a Box is none of them, for it
 * is a pointer to DWARF.
 */
static bool has_rust_name(const char *name)
{
    if (strstr(name, "dyn ") || strstr(name, "boxed::Box<"))
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("_:<>, ", *name))
            return false;
    return true;
}

static const struct ms_member *member_called(const struct ms_type *type, const char *name, size_t length)
{
    for (size_t i = 0; i < type->member_count; i++) {
        const struct ms_member *m = &type->members[i];
        if (m->name && strlen(m->name) == length && strncmp(m->name, name, length) == 0)
            return m;
    }
    return NULL;
}

/* Has an enum variants beside M that may lie where that does? */
static bool is_one_of_many(struct ms_types *types, const struct ms_type *type, const struct ms_member *m)
{
    for (size_t i = 0; m->tagged && i < type->member_count; i++) {
        const struct ms_member *other = &type->members[i];
        if (other != m && other->tagged && complete(types, other->type)->member_count)
            return true;
    }
    return false;
}

/*
 * PATH in a value of TYPE (ms_type_path()) as gdb's Rust has it: ".Some.__0.next" is ".0.next", for the variant
 * that is there goes without saying. NULL when it cannot be told which that is, or TYPE has no such member. Owned
 * by the caller.
 */
static char *rust_path(struct ms_types *types, const struct ms_type *type, const char *path)
{
    char *text = calloc(strlen(path) + 1, 1), *out = text;
    while (text && *path) {
        size_t length = 1 + strcspn(path + 1, ".[");
        type = complete(types, type);
        const struct ms_member *m = *path == '.' ? member_called(type, path + 1, length - 1) : NULL;
        if (m ? is_one_of_many(types, type, m)
              : *path == '.' || type->kind != MS_TYPE_ARRAY || !type->target) {
            free(text);
            return NULL;
        }
        bool numbered = m && length > 3 && strncmp(path, ".__", 3) == 0 && isdigit((unsigned char)path[3]);
        if (!m || !m->tagged)
            out += sprintf(out, "%s%.*s", numbered ? "." : "", (int)(length - (numbered ? 3 : 0)),
                           path + (numbered ? 3 : 0));
        type = m ? m->type : type->target;
        path += length;
    }
    return text;
}

/* The value as a number, BY bytes behind. */
static struct ms_error *rust_number(struct writer *w, int64_t by)
{
    uint64_t size = by < 0 ? -(uint64_t)by : (uint64_t)by;
    w->type = NULL;
    if (by == 0)
        return ms_rewrite(&w->text, "(%s as usize)", w->text);
    return ms_rewrite(&w->text, "(%s as usize %c %" PRIu64 ")", w->text, by < 0 ? '-' : '+', size);
}

static struct ms_error *rust_untyped(struct writer *w, int64_t by)
{
    MS_TRY(rust_number(w, by));
    return ms_rewrite(&w->text, "*(%s as *mut usize)", w->text);
}

/* A member of a pointer is one of what it points to. */
static struct ms_error *rust_step(struct writer *w, const struct ms_expression_step *step)
{
    const struct ms_type *type = complete(w->types, step->what.type), *leaf = NULL;
    const int64_t by = (int64_t)step->offset - step->into, from = step->into - (int64_t)step->what.at;
    struct spot spot;
    const bool same = from == 0 && points_to(w, w->type, type);
    if (!locate(&step->what, type, step->offset, &spot) || (!same && !has_rust_name(type->name)))
        return rust_untyped(w, by);
    ms_auto_free char *path = ms_type_path(w->types, type, spot.rest, WORD, &leaf);
    ms_auto_free char *inside = path ? rust_path(w->types, type, path) : NULL;
    if (!inside || leaf->kind != MS_TYPE_POINTER || leaf->size != WORD)
        return rust_untyped(w, by);
    if (from)
        MS_TRY(rust_number(w, -from));
    if (!same)
        MS_TRY(ms_rewrite(&w->text, "(%s as *mut %s)", w->text, type->name));
    w->type = leaf;
    if (spot.element || *inside != '.')
        return ms_rewrite(&w->text, "%s[%" PRIu64 "]%s", w->text, spot.element, inside);
    return ms_rewrite(&w->text, "%s%s", w->text, inside);
}

static struct ms_error *express_rust(struct ms_types *types, const char *text, const struct ms_type *type,
                                     const struct ms_expression_step *steps, size_t count, char **expression)
{
    struct writer w = {.types = types, .type = type};
    struct ms_error *error = ms_rewrite(&w.text, "%s", text);
    for (size_t i = 0; !error && i + 1 < count; i++)
        error = rust_step(&w, &steps[i]);
    if (!error && steps[count - 1].into)
        error = rust_number(&w, -steps[count - 1].into);
    if (error)
        free(w.text);
    else
        *expression = w.text;
    return error;
}

ms_result ms_express_from(struct ms_types *types, const char *text, const struct ms_type *type,
                          const struct ms_expression_step *steps, size_t count, char **expression)
{
    struct writer w = {.types = types, .type = type};
    struct ms_error *error = ms_rewrite(&w.text, "%s", text);
    *expression = NULL;
    if (count > MS_EXPRESSION_STEPS)
        count = 0;
    for (size_t i = 0; !error && i + 1 < count; i++)
        error = add_step(&w, &steps[i]);
    if (!error && count)
        error = finish(&w, steps[count - 1].into);
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

/* What is known of the root's word beyond its name. */
struct root_type {
    const struct ms_type *type; /* of the variable's member that it is, or NULL */
    const struct ms_type *variable; /* the variable's, or NULL */
    uint64_t offset;            /* in the variable */
    bool ambiguous;             /* C++ would not know which member is meant */
};

static struct ms_error *type_of_root(struct ms_types *types, const struct ms_place *root, struct root_type *what)
{
    struct ms_place_type found = {0};
    *what = (struct root_type){0};
    if (!types || (root->kind != MS_PLACE_DATA && root->kind != MS_PLACE_TLS))
        return NULL;
    MS_TRY(ms_types_find(types, &root->address, 1, &found));
    if (!found.variable)
        return NULL;
    free(ms_type_path(types, complete(types, found.variable->type), found.offset, WORD, &what->type));
    what->variable = found.variable->type;
    what->offset = found.offset;
    what->ambiguous = is_ambiguous(types, found.variable->type, found.offset);
    if (what->type && is_reference(what->type))
        what->type = NULL;
    return NULL;
}

/* Bytes of "ns::table<int>.rows[3]" that are the variable itself. */
static size_t head_length(const char *variable)
{
    unsigned depth = 0;
    size_t i = 0;
    for (; variable[i]; i++) {
        depth += variable[i] == '<' || variable[i] == '(';
        if (depth == 0 && (variable[i] == '.' || variable[i] == '['))
            break;
        depth -= depth && (variable[i] == '>' || variable[i] == ')');
    }
    return i;
}

/* gdb finds what is in a namespace in all languages; deeper names it must be told to take as a whole. */
static bool needs_quotes(const char *head)
{
    const char *first = strstr(head, "::");
    return strpbrk(head, "<({ ") || (first && strstr(first + 2, "::"));
}

/* The word OFFSET bytes into what is called NAME, whatever gdb takes that for. */
static int write_word(const char *name, int64_t offset, struct root_type *what, char **text)
{
    if (what->type && !has_c_name(what->type))
        what->type = NULL;
    const char *cast = what->type ? what->type->name : "void *", *quote = is_identifier(name) ? "" : "'";
    if (offset)
        return asprintf(text, "(*(%s *)((char *)&%s%s%s + %" PRId64 "))", cast, quote, name, quote, offset);
    return asprintf(text, "(*(%s *)&%s%s%s)", cast, quote, name, quote);
}

/* The variable as gdb knows it: "server.db", "'a.c'::table[3]", "foo::cache". */
static int write_variable(const struct ms_place *root, struct root_type *what, struct ms_symbols *symbols,
                          char **text)
{
    const size_t length = head_length(root->variable);
    ms_auto_free char *head = strndup(root->variable, length);
    const char *rest = root->variable + length;
    const bool data = root->kind == MS_PLACE_DATA && symbols;
    if (!head)
        return -1;
    /* A static of a function has a symbol that tells it from others, and the function may be only inlined ones. */
    if (data && root->symbol && strcmp(root->symbol, head) != 0) {
        if (root->function && is_identifier(root->function) && is_identifier(head) &&
            ms_symbols_address(symbols, root->function, NULL))
            return asprintf(text, "%s::%s", root->function, root->variable);
        return write_word(root->symbol, root->offset, what, text);
    }
    if (what->ambiguous)
        return write_word(head, (int64_t)what->offset, what, text);
    if (data && root->unit && is_identifier(head) && ms_symbols_count(symbols, root->address, head) > 1)
        return asprintf(text, "'%s'::%s", root->unit, root->variable);
    const char *quote = needs_quotes(head) ? "'" : "";
    return asprintf(text, "%s%s%s%s", quote, head, quote, rest);
}

/* gdb reads nothing of C in a frame of Rust. What no type tells is so when there is Rust in the program. */
static bool is_rust(struct ms_symbols *symbols, const struct ms_type *root, const struct ms_expression_step *steps,
                    size_t count)
{
    bool known = root != NULL, rust = root && root->language == MS_LANGUAGE_RUST;
    for (size_t i = 0; i < count; i++) {
        known = known || steps[i].what.type;
        rust = rust || (steps[i].what.type && steps[i].what.type->language == MS_LANGUAGE_RUST);
    }
    return rust || (!known && symbols && ms_symbols_address(symbols, "rust_eh_personality", NULL));
}

/* A root that is a variable of Rust, in Rust. */
static struct ms_error *express_variable(struct ms_types *types, const struct ms_place *root,
                                         const struct root_type *what, const struct ms_expression_step *steps,
                                         size_t count, char **expression)
{
    const size_t length = head_length(root->variable);
    ms_auto_free char *head = strndup(root->variable, length);
    ms_auto_free char *rest = rust_path(types, what->variable, root->variable + length);
    ms_auto_free char *text = NULL;
    if (!head || !rest || root->function || !has_rust_name(head) || count > MS_EXPRESSION_STEPS || !count)
        return NULL;
    if (asprintf(&text, "%s%s", head, rest) >= 0)
        return express_rust(types, text, what->type, steps, count, expression);
    text = NULL;
    return ms_error_nomem("an expression");
}

ms_result ms_express(struct ms_types *types, struct ms_symbols *symbols, const struct ms_place *root,
                     const struct ms_expression_step *steps, size_t count, char **expression)
{
    struct root_type what = {0};
    ms_auto_free char *text = NULL;
    int length;
    *expression = NULL;
    if (!root->variable && !root->address)
        return NULL;
    if (root->variable)
        MS_TRY(type_of_root(types, root, &what));
    if (what.variable && what.variable->language == MS_LANGUAGE_RUST)
        return express_variable(types, root, &what, steps, count, expression);
    if (is_rust(symbols, what.type, steps, count))
        return NULL;
    if (root->variable)
        length = write_variable(root, &what, symbols, &text);
    else if (root->kind == MS_PLACE_DATA && root->symbol)
        length = write_word(root->symbol, root->offset, &what, &text);
    else
        length = asprintf(&text, "*(void **)0x%" PRIx64, root->address);
    if (length < 0) {
        text = NULL;
        return ms_error_nomem("an expression");
    }
    return ms_express_from(types, text, what.type, steps, count, expression);
}
