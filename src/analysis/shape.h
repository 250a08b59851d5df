/* Private to src/analysis: what the values of a type hold that typing goes by. */
#ifndef MEMSCOPE_SHAPE_H
#define MEMSCOPE_SHAPE_H

#include "map.h"
#include "memscope/memory.h"
#include "memscope/types.h"

/* What a pointer in a value says of what it points to. */
enum ms_link_how {
    MS_LINK_OPEN,  /* nothing: void *, functions; or it is only the end of something */
    MS_LINK_PLAIN, /* a value of `to`, perhaps several */
    MS_LINK_NODE,  /* a node of a container: also where the declared type is only the node's base */
    MS_LINK_ARRAY, /* values of `to`, as many as fit */
    MS_LINK_TABLE, /* the control bytes of a Rust hash table, with values of `to` before them */
    MS_LINK_DYN,   /* a value of the type that the vtable in the next word belongs to */
};

struct ms_link {
    uint64_t offset; /* of the pointer in the value */
    const struct ms_type *to; /* complete */
    uint32_t guard;  /* index + 1 of what must hold for it to be there; 0: it always is */
    uint8_t how;     /* enum ms_link_how */
    bool shared;     /* it is in a union with others */
    bool bounded;    /* only [first, last) of the array is in use, by the pointers at those offsets … */
    bool inclusive;  /* … the last included */
    bool counted;    /* only as many elements are in use as the word at offset `last` says */
    uint64_t first, last;
};

/* A condition on a tag: of a variant of an enum of Rust. */
struct ms_guard {
    uint32_t outer;  /* index + 1 of another that must hold too, or 0 */
    uint64_t offset; /* where the structure with the tag begins */
    const struct ms_type *type; /* that structure */
    const struct ms_member *member; /* the variant */
};

/* A range of a value where anything may be: buffers, unions. */
struct ms_open_range {
    uint64_t start, end;
};

struct ms_shape {
    const struct ms_type *type; /* complete */
    MS_VECTOR(struct ms_link) links; /* by offset */
    MS_VECTOR(struct ms_guard) guards;
    MS_VECTOR(struct ms_open_range) open; /* by offset */
    const struct ms_type *tail; /* element of a flexible array at the end, or NULL */
    uint64_t tail_at;
    const struct ms_type *bigger; /* what a block may be instead when it is bigger, or NULL */
};

/* Shapes by type, each made when it is first asked for. */
struct ms_shapes {
    struct ms_types *types;
    MS_VECTOR(struct ms_shape *) list; /* by id; owned */
    struct ms_map begins;
    bool failed; /* memory was short */
};

void ms_shapes_free(struct ms_shapes *shapes);

/* TYPE's shape; never NULL. */
const struct ms_shape *ms_shape_of(struct ms_shapes *shapes, const struct ms_type *type);

/* The link at OFFSET: the first of several; NULL when there is none. */
const struct ms_link *ms_shape_link(const struct ms_shape *shape, uint64_t offset);

/* May anything be in the word at OFFSET? */
bool ms_shape_is_open(const struct ms_shape *shape, uint64_t offset);

/* The same type, perhaps as two modules have it. */
bool ms_same_type(const struct ms_type *a, const struct ms_type *b);

/* Does every value of WHOLE have a PART at its beginning: itself, a base class, a first member? */
bool ms_begins_with(struct ms_shapes *shapes, const struct ms_type *whole, const struct ms_type *part);

/* Does WHOLE have a PART at OFFSET? */
bool ms_holds_at(struct ms_shapes *shapes, const struct ms_type *whole, uint64_t offset,
                 const struct ms_type *part);

/* --- containers.c ------------------------------------------------------------------------------ */

/* What the pointers of a container say beyond their types. */
struct ms_container_rule {
    const char *holder;  /* the structure's name begins so */
    const char *pointee; /* of pointers to structures that are named so; NULL: of any */
    const char *member;  /* of the pointer with this name; NULL: of any */
    uint8_t how;         /* enum ms_link_how */
    const char *nested;  /* the node's type by its name in the holder … */
    const char *named;   /* … or by its full name, with the type parameter for %s … */
    int parameter;       /* … or the type parameter with this number itself; -1: as declared, -2: the holder */
    const char *first, *last; /* members that bound what is in use … */
    bool inclusive, counted;  /* … see struct ms_link */
};

/* The rules of the structure TYPE: the first of COUNT, NULL when there are none. */
const struct ms_container_rule *ms_container_rules(const struct ms_type *type, size_t *count);

/* Is RULE for pointers that are declared as ones to POINTEE? */
bool ms_container_concerns(const struct ms_container_rule *rule, const struct ms_type *pointee);

/* What RULE of HOLDER says a pointer declared as one to POINTEE points to; NULL when that type is not known. */
const struct ms_type *ms_container_target(struct ms_types *types, const struct ms_container_rule *rule,
                                          const struct ms_type *holder, const struct ms_type *pointee);

/* The type of the value that the raw storage TYPE is for, or NULL when it is none. */
const struct ms_type *ms_container_storage(struct ms_types *types, const struct ms_type *type);

/* What a block is when it is too big for TYPE: the inner node of a B-tree for its leaf. NULL: none. */
const struct ms_type *ms_container_bigger(struct ms_types *types, const struct ms_type *type);

#endif
