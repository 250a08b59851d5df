/* Private to src/analysis: where values of a Go type point, and what they say of it. */
#ifndef MEMSCOPE_GOSHAPE_H
#define MEMSCOPE_GOSHAPE_H

#include "memscope/gotypes.h"
#include "memscope/memory.h"

/* What a word of a value says of what it points to. */
enum ms_go_link_how {
    MS_GO_LINK_OPEN,      /* nothing: unsafe.Pointer */
    MS_GO_LINK_VALUE,     /* a value of `to` */
    MS_GO_LINK_UNITS,     /* buckets or groups `to` of a map, as many as there are */
    MS_GO_LINK_STRUCTURE, /* the runtime's own structure of a map or channel */
    MS_GO_LINK_SLICE,     /* the array of a slice of `to`: length and capacity follow */
    MS_GO_LINK_STRING,    /* the bytes of a string: length follows */
    MS_GO_LINK_EMPTY,     /* an interface whose first word is a type; the second word is the pointer */
    MS_GO_LINK_INTERFACE, /* … whose first word is an itab */
    MS_GO_LINK_FUNCTION,  /* a closure */
    MS_GO_LINK_DIRECTORY, /* of a map of groups: tables, or one group */
    MS_GO_LINK_EXTRA,     /* of a map of buckets: overflow buckets that nothing else points to */
    MS_GO_LINK_BUFFER,    /* of a channel */
    MS_GO_LINK_LOCALS,    /* of a sync.Pool: an array of `to`, one for each P; its length follows */
};

struct ms_go_link {
    uint64_t offset; /* of the first word of what says it */
    const struct ms_type *to;       /* canonical and complete, or NULL */
    const struct ms_go_type *owner; /* of parts of maps and channels: that type */
    uint8_t how;                    /* enum ms_go_link_how */
};

/* All of a value, structures and arrays in it included. */
struct ms_go_shape {
    const struct ms_type *type;
    MS_VECTOR(struct ms_go_link) links; /* by offset */
};

/* Shapes by type, each made when it is first asked for. */
struct ms_go_shapes {
    struct ms_go_types *go_types;
    struct ms_types *types;
    MS_VECTOR(struct ms_go_shape *) list; /* by id; owned */
    bool failed;                          /* memory was short */
};

void ms_go_shapes_free(struct ms_go_shapes *shapes);

/* TYPE's shape; never NULL. */
const struct ms_go_shape *ms_go_shape_of(struct ms_go_shapes *shapes, const struct ms_type *type);

/* The link whose pointer word is at OFFSET of a value of SHAPE; NULL when there is none. */
const struct ms_go_link *ms_go_shape_link(const struct ms_go_shape *shape, uint64_t offset);

/* Bytes from a link's offset to its pointer word. */
static inline uint64_t ms_go_pointer_offset(const struct ms_go_link *link)
{
    return link->how == MS_GO_LINK_EMPTY || link->how == MS_GO_LINK_INTERFACE ? 8 : 0;
}

/* TYPE as it is compared: canonical and complete. */
const struct ms_type *ms_go_whole(struct ms_go_shapes *shapes, const struct ms_type *type);

/* Does every value of WHOLE have a PART at OFFSET? */
bool ms_go_holds_at(struct ms_go_shapes *shapes, const struct ms_type *whole, uint64_t offset,
                    const struct ms_type *part);

#endif
