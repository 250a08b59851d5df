/* Private to src/symbols: the table of types and what conversion from DIEs keeps there. */
#ifndef MEMSCOPE_TYPES_PRIVATE_H
#define MEMSCOPE_TYPES_PRIVATE_H

#include "dwarf.h"
#include "dwarf_types.h"
#include "memscope/types.h"
#include "tls.h"

/* What a type came from. */
struct ms_type_source {
    struct ms_type *type;
    Dwarf_Die die;      /* the first that was met; addr NULL: none */
    uint64_t hash;      /* of all by which equal types are known */
    bool declaration;   /* only declared there */
    bool searched;      /* definition was looked for */
    bool own;           /* a module that is not the C library's defines it too; known after ms_types_read_all() */
    const struct ms_type *definition; /* what it found, or NULL */
    ms_type_fill *fill; /* of a type from elsewhere: reads its members; NULL: done, or none */
    void *fill_context;
    const struct ms_type *members_of; /* it has the members of this one, or NULL */
    size_t hole;        /* where in the name a declarator goes: "int (|)[3]" */
};

/* A hash table from a number that is not 0 to something. */
struct ms_type_map {
    struct ms_type_slot {
        uint64_t key; /* 0: free */
        void *value;
    } *slots;
    size_t size, used; /* size is a power of two */
};

struct ms_types {
    struct ms_symbols *symbols;
    const struct ms_image *image;
    ms_types_progress *progress;
    void *context;
    MS_VECTOR(struct ms_type *) all;
    struct ms_type_map by_die, by_hash, by_name; /* to struct ms_type */
    struct ms_type_map by_unit;                  /* from Dwarf_CU to struct ms_unit */
    MS_VECTOR(struct ms_unit *) units;
    MS_VECTOR(void *) chunks; /* memory of all that lives as long */
    size_t chunk_left;
    struct ms_type *nothing;  /* void */
    struct ms_dwarf *modules; /* by index */
    size_t module_count;
    struct ms_tls tls;        /* read when tls_known */
    struct ms_type_map by_thread; /* from the address of a thread-local variable to its struct ms_variable */
    MS_VECTOR(struct ms_variable *) added; /* by ms_types_add_variable(), sorted by address */
    bool tls_known;
    enum ms_language language;   /* of the last unit that says so */
    unsigned naming, converting; /* how deep */
    unsigned scoped_units;       /* since scopes were last given back */
    struct ms_reader reader;     /* of the unit that is being walked, by whoever does it */
    bool short_of_memory;     /* some answer is poorer than it could be */
};

/* --- type_table.c */

bool ms_type_map_put(struct ms_type_map *map, uint64_t key, void *value);
void *ms_type_map_get(const struct ms_type_map *map, uint64_t key);

/* What a type is known by: equal figures, one type. NAME is copied, members come later. */
struct ms_type_figure {
    enum ms_type_kind kind;
    enum ms_language language;
    uint8_t encoding;
    bool declaration;
    const char *name;
    uint64_t size, count, layout;
    const struct ms_type *target;
    size_t hole;
};

/* The type with this figure, made if there is none; void when memory is short. */
struct ms_type *ms_type_intern(struct ms_types *types, const struct ms_type_figure *figure, const Dwarf_Die *die);

uint64_t ms_hash_mix(uint64_t hash, uint64_t value);
uint64_t ms_hash_text(uint64_t hash, const char *text);

#endif
