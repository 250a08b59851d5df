/* Types of a Go program from the headers that its runtime has of them: there in stripped programs
 * too. */
#ifndef MEMSCOPE_GOTYPES_H
#define MEMSCOPE_GOTYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memscope/go.h"
#include "memscope/types.h"

/* What a type is to Go: the values of internal/abi.Kind, the same since 1.17. */
enum ms_go_kind {
    MS_GO_NONE, /* no type of Go's, or not known */
    MS_GO_BOOL,
    MS_GO_INT,
    MS_GO_INT8,
    MS_GO_INT16,
    MS_GO_INT32,
    MS_GO_INT64,
    MS_GO_UINT,
    MS_GO_UINT8,
    MS_GO_UINT16,
    MS_GO_UINT32,
    MS_GO_UINT64,
    MS_GO_UINTPTR,
    MS_GO_FLOAT32,
    MS_GO_FLOAT64,
    MS_GO_COMPLEX64,
    MS_GO_COMPLEX128,
    MS_GO_ARRAY,
    MS_GO_CHAN,
    MS_GO_FUNC,
    MS_GO_INTERFACE,
    MS_GO_MAP,
    MS_GO_POINTER,
    MS_GO_SLICE,
    MS_GO_STRING,
    MS_GO_STRUCT,
    MS_GO_UNSAFE_POINTER,
    MS_GO_KINDS,
};

/* How a map keeps its keys and elements. */
struct ms_go_map {
    const struct ms_type *unit;  /* what its arrays are made of: a bucket (to 1.23), a group of
                                    slots;  NULL: not known */
    const struct ms_type *table; /* of groups: a pointer to what its directory points to */
    bool groups;                 /* 1.24 and later */
    bool indirect_key, indirect_element; /* the slot has a pointer to it */
    uint32_t key_size, element_size;     /* in the slot */
    uint32_t slot_size, element_offset;  /* of groups: of a slot, and in it */
};
#define MS_GO_SLOTS                                                                                \
    8u /* of a bucket and of a group (internal/abi: MapBucketCount, MapGroupSlots) */

/*
 * What Go knows of a type. Its struct ms_type is: a structure for structures, strings {str, len},
 * slices {array, len, cap} and interfaces {type, data}; a pointer for pointers, maps, channels and
 * functions. That of a map or channel points to a structure of its own: what the runtime has there,
 * under the map's name.
 */
struct ms_go_type {
    const struct ms_type *type;
    enum ms_go_kind kind;
    uint64_t header; /* address; 0: known from DWARF alone */
    bool direct;     /* an interface has such a value itself in its data word, no pointer to one */
    bool named;
    bool empty_interface;          /* of an interface: its first word is a type, not an itab */
    const struct ms_type *element; /* of what points, arrays, maps; or NULL */
    const struct ms_type *key;     /* of maps */
    struct ms_go_map map;
};

/* The types of all modules of a program, each read when it is first asked for. */
struct ms_go_types;

/* GO, which has TYPES, must outlive it, and it what asks for members of its types. */
ms_result ms_go_types_new(struct ms_go *go, struct ms_types *types, struct ms_go_types **go_types);
void ms_go_types_free(struct ms_go_types *go_types);

/* The type whose header is at ADDRESS of the target; NULL: there is none, or it makes no sense. */
const struct ms_go_type *ms_go_type_at(struct ms_go_types *go_types, uint64_t address);

/* The concrete type of the itab at ADDRESS; NULL: none is there. */
const struct ms_go_type *ms_go_type_of_itab(struct ms_go_types *go_types, uint64_t address);

/*
 * What Go knows of TYPE, which may come from DWARF; NULL: nothing. Where the program has a header
 * of it the answer's own type is that of the header: the one to be compared.
 */
const struct ms_go_type *ms_go_type_of(struct ms_go_types *go_types, const struct ms_type *type);

/* The map or channel whose own structure TYPE is, see struct ms_go_type; NULL: of none. */
const struct ms_go_type *ms_go_owner_of(struct ms_go_types *go_types, const struct ms_type *type);

/* TYPE, or the one that its header makes when the program has one. Never NULL. */
const struct ms_type *ms_go_canonical(struct ms_go_types *go_types, const struct ms_type *type);

#endif
