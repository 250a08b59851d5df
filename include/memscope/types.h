/* Types and variables of the target, from its DWARF: read one unit at a time, when something in it is asked for. */
#ifndef MEMSCOPE_TYPES_H
#define MEMSCOPE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memscope/image.h"
#include "memscope/symbols.h"

/*
 * Typedefs and qualifiers are taken off. The same structure in a hundred units is
 * one `struct ms_type`, so pointers to them may be compared. All live as long as
 * their struct ms_types.
 */
enum ms_type_kind {
    MS_TYPE_VOID,     /* also what is not known, and what DWARF says too badly */
    MS_TYPE_BASE,     /* numbers, characters, bool */
    MS_TYPE_ENUM,
    MS_TYPE_POINTER,  /* references too; target is what it points to */
    MS_TYPE_FUNCTION,
    MS_TYPE_ARRAY,    /* target is the element */
    MS_TYPE_STRUCT,   /* struct, class; also the tagged enums of Rust, see ms_member.tagged */
    MS_TYPE_UNION,
};

enum ms_language { MS_LANGUAGE_C, MS_LANGUAGE_CXX, MS_LANGUAGE_RUST, MS_LANGUAGE_GO, MS_LANGUAGE_OTHER };

struct ms_type;

struct ms_member {
    const char *name; /* NULL: anonymous, or a base class */
    const struct ms_type *type;
    uint64_t offset;  /* bytes */
    uint16_t bit_offset, bit_size; /* size 0: it is no bit-field */
    bool base;        /* base class */
    bool artificial;  /* _vptr and its like */
    bool tagged;      /* of a variant part: there only if the tag (struct ms_type.tag) says so */
    bool otherwise;   /* … which is: when no other tagged member is there */
    uint64_t tag;     /* … else: when the tag is this */
};

struct ms_type {
    enum ms_type_kind kind;
    enum ms_language language;
    uint32_t id;      /* small, from 0 on; ms_type_by_id() */
    uint8_t encoding; /* of a base type: DW_ATE_…  */
    bool complete;    /* false: only declared, or members not read yet; ms_type_complete() */
    const char *name; /* "struct foo", "std::vector<int>", "unsigned long"; never NULL; of a pointer "T *" */
    uint64_t size;    /* bytes; 0: not known */
    const struct ms_type *target; /* see kind; of others NULL */
    uint64_t count;   /* elements of an array; 0: flexible or not known */
    const struct ms_member *members; /* of structures and unions, by offset as declared */
    size_t member_count;
    const struct ms_member *tag; /* of a structure with tagged members: where the tag is; else NULL */
    struct ms_type_source *source; /* private */
};

/* An array that goes as far as its block. Go has none: [0]T is empty, as are markers like _ [0]func(). */
static inline bool ms_type_is_flexible(const struct ms_type *type)
{
    return type->kind == MS_TYPE_ARRAY && !type->count && type->language != MS_LANGUAGE_GO;
}

struct ms_variable {
    const char *name;     /* qualified in C++ and Rust: "ns::table" */
    const char *unit;     /* base name of the source file, "redis.c"; or NULL */
    const char *function; /* it is a static of this function; else NULL */
    const struct ms_type *type;
    uint64_t address;     /* of thread-local ones that of the thread asked for */
    bool tls;
};

struct ms_types;

/*
 * --- types that come from elsewhere than DWARF ---------------------------------------------------
 * IDENTITY tells those apart that are equal in all else. FILL is called when members are asked for the
 * first time, with the type and CONTEXT, and calls ms_type_set_members(); NULL: there are none.
 */
typedef void ms_type_fill(void *context, const struct ms_type *type);
struct ms_type_plan {
    enum ms_type_kind kind;
    enum ms_language language;
    uint8_t encoding;
    const char *name; /* copied */
    uint64_t size, count, identity;
    const struct ms_type *target;
    ms_type_fill *fill;
    void *context; /* must outlive the types, or what asks them */
};

/* The type of this plan; NULL when memory is short. */
const struct ms_type *ms_type_add(struct ms_types *types, const struct ms_type_plan *plan);

/* Gives TYPE, one of ms_type_add(), its members: copied, names too. */
void ms_type_set_members(struct ms_types *types, const struct ms_type *type, const struct ms_member *members,
                         size_t count);

/* What Go's compiler says of a type that is from its DWARF (src/cmd/internal/dwarf: DW_AT_go_…). */
struct ms_type_go_marks {
    uint8_t kind;    /* as internal/abi.Kind counts; 0: TYPE is not Go's */
    uint64_t header; /* of the type in the program: bytes behind runtime.types; 0: there is none */
    const struct ms_type *key, *element; /* of maps, channels, slices; or NULL */
};
struct ms_type_go_marks ms_type_go_marks(struct ms_types *types, const struct ms_type *type);

/* A variable that a closure of Go has. */
struct ms_capture {
    const char *name; /* "&x": its address, x being captured by reference; as long as the types */
    const struct ms_type *type;
    uint64_t offset; /* bytes from the closure's start */
};
/* Up to MOST of those of the function whose code begins at ENTRY; returns how many. 0 too before Go 1.23. */
size_t ms_types_captures(struct ms_types *types, uint64_t entry, struct ms_capture *captures, size_t most);
/* The type of the first parameter of the function whose code begins at ENTRY; NULL: not known. */
const struct ms_type *ms_types_receiver(struct ms_types *types, uint64_t entry);

/* Called now and then from long readings: WHAT is static, e.g. "debug information"; bytes. May be NULL. */
typedef void ms_types_progress(void *context, const char *what, uint64_t done, uint64_t total);

/* SYMBOLS and IMAGE must outlive it. Opens no file yet. */
ms_result ms_types_new(struct ms_symbols *symbols, const struct ms_image *image, ms_types_progress *progress,
                       void *context, struct ms_types **types);
void ms_types_free(struct ms_types *types);

/* Calls the progress, if there is one: for those who work long with types. */
void ms_types_tell(struct ms_types *types, const char *what, uint64_t done, uint64_t total);

/* Is there debug information for the module that is mapped at ADDRESS? */
bool ms_types_known(struct ms_types *types, uint64_t address);

/* Types that were met so far have the ids below this. */
uint32_t ms_type_count(const struct ms_types *types);
const struct ms_type *ms_type_by_id(const struct ms_types *types, uint32_t id);

/*
 * TYPE with its members, of structures and unions the definition that another unit
 * has when TYPE is only declared. TYPE itself when there is nothing more to be had; never NULL.
 */
const struct ms_type *ms_type_complete(struct ms_types *types, const struct ms_type *type);

/* The structure or union with this name, as demangled from a vtable: "ns::Widget<int>". NULL: none, or several that differ. */
const struct ms_type *ms_type_named(struct ms_types *types, const char *name);

/* Template parameter NAME ("T", "_Tp", …) of TYPE, or the INDEXth type parameter when NAME is NULL. NULL: none. */
const struct ms_type *ms_type_parameter(struct ms_types *types, const struct ms_type *type, const char *name,
                                        unsigned index);

/* The class or typedef NAME inside of TYPE or its base classes: "_Link_type". NULL: none. */
const struct ms_type *ms_type_nested(struct ms_types *types, const struct ms_type *type, const char *name);

/*
 * Reads all units of all modules that are needed to call each structure that the target's own code
 * defines, that of the C library not among it, when its SIZE is WANTED: candidates for guesses. They have the
 * ids below ms_type_count() then. WANTED may be NULL: any. It is asked before a structure is read, which takes most of the time.
 */
typedef bool ms_size_filter(void *context, uint64_t size);
ms_result ms_types_read_all(struct ms_types *types, ms_size_filter *wanted, void *context);

/* Is TYPE the target's own code's, as far as is known? Not what only the C library has. */
bool ms_type_is_own(struct ms_types *types, const struct ms_type *type);

/* What is found at an address. */
struct ms_place_type {
    const struct ms_variable *variable; /* NULL: none */
    uint64_t offset; /* bytes into it */
    pid_t tid;       /* of a thread-local one, else 0 */
};

/*
 * The global, static or thread-local variable that covers each of COUNT ADDRESSES (sorted): many at
 * once, because finding them may mean to go through all units of a module.
 */
ms_result ms_types_find(struct ms_types *types, const uint64_t *addresses, size_t count,
                        struct ms_place_type *places);

/*
 * From now on the value of TYPE at ADDRESS, which no variable covers, is one with this NAME (copied) and UNIT: for what a compiler has put into a module's data without a symbol.
 */
ms_result ms_types_add_variable(struct ms_types *types, const char *name, const char *unit,
                                const struct ms_type *type, uint64_t address);

/*
 * The innermost thing at OFFSET of TYPE that WANTED bytes fit, as an expression that is appended to
 * that of the whole: ".db[0].dict". LEAF gets its type (of a pointer member that, not its target).
 * Of a union the first member that is a pointer is taken, else the first. NULL when OFFSET is in
 * padding or out of it. Owned by the caller.
 */
char *ms_type_path(struct ms_types *types, const struct ms_type *type, uint64_t offset, uint64_t wanted,
                   const struct ms_type **leaf);

#endif
