/* Links: what the pointer in one word claims, when unions, variants or bounds have a say in it. */
#include <string.h>

#include "spread.h"

enum answer { NO, YES, UNKNOWN };

/* --- tags -------------------------------------------------------------------------------------- */

static bool read_tag(const struct ms_typing *t, uint64_t address, uint64_t size, uint64_t *tag)
{
    *tag = 0;
    return size > 0 && size <= sizeof *tag && ms_image_read(t->image, address, tag, size);
}

/* Has another variant of GUARD's structure this TAG? */
static bool is_taken(const struct ms_guard *guard, uint64_t tag)
{
    for (size_t i = 0; i < guard->type->member_count; i++) {
        const struct ms_member *m = &guard->type->members[i];
        if (m->tagged && !m->otherwise && m->tag == tag)
            return true;
    }
    return false;
}

/* Where the tag is the pointer itself (Option<Box<T>>), that it points somewhere is answer enough. */
static enum answer guard_holds(const struct ms_typing *t, const struct ms_guard *guard, uint64_t link_offset,
                               uint64_t address)
{
    const struct ms_member *place = guard->type->tag;
    if (!place || !place->type)
        return UNKNOWN;
    if (guard->offset + place->offset == link_offset && place->type->size == 8)
        return guard->member->otherwise ? YES : NO;
    uint64_t tag;
    if (!read_tag(t, address + guard->offset + place->offset, place->type->size, &tag))
        return UNKNOWN;
    bool holds = guard->member->otherwise ? !is_taken(guard, tag) : guard->member->tag == tag;
    return holds ? YES : NO;
}

static enum answer guards_hold(const struct ms_typing *t, const struct ms_shape *shape,
                               const struct ms_link *link, uint64_t address)
{
    enum answer all = YES;
    for (uint32_t guard = link->guard; guard; guard = shape->guards.items[guard - 1].outer) {
        enum answer one = guard_holds(t, &shape->guards.items[guard - 1], link->offset, address);
        if (one == NO)
            return NO;
        all = one == UNKNOWN ? UNKNOWN : all;
    }
    return all;
}

/* --- one of several ---------------------------------------------------------------------------- */

bool ms_is_likely(struct ms_typing *t, const struct ms_link *link, uint64_t target)
{
    uint64_t start;
    const struct ms_slot *slot = ms_target_slot(t, target, &start);
    if (!slot || !link->to || target != 2 * start ||
        (link->to->kind != MS_TYPE_STRUCT && link->to->kind != MS_TYPE_UNION))
        return false;
    const struct ms_type *type = ms_slot_type(t, slot);
    if (type && slot->level >= MS_LEVEL_VALUE)
        return ms_begins_with(&t->shapes, type, link->to);
    return ms_fits(link->to->size, ms_usable(t->heap, start));
}

/*
 * The one link of those at its place that is there, or NULL. SURE: nothing had to be assumed for it.
 * GUESS: only the size of what it points to speaks for it.
 */
static const struct ms_link *choose(struct ms_typing *t, const struct ms_shape *shape, const struct ms_link *first,
                                    uint64_t address, uint64_t target, bool *sure,
                                    bool *guess)
{
    const struct ms_link *end = shape->links.items + shape->links.count, *one = NULL, *likely = NULL;
    unsigned count = 0, likely_count = 0;
    bool open = false;
    *sure = true;
    for (const struct ms_link *link = first; link < end && link->offset == first->offset; link++) {
        enum answer there = guards_hold(t, shape, link, address);
        if (there == NO)
            continue;
        *sure &= there == YES;
        if (link->how == MS_LINK_OPEN) {
            open = true;
        } else if (!one || !ms_same_type(one->to, link->to)) {
            one = link;
            count++;
            if (ms_is_likely(t, link, target)) {
                likely = link;
                likely_count++;
            }
        }
    }
    *guess = count > 1;
    if (open || count == 0)
        return NULL;
    if (count == 1)
        return one;
    *sure = false;
    return likely_count == 1 ? likely : NULL;
}

/* --- bounds ------------------------------------------------------------------------------------ */

/* Target of the word at OFFSET of a value that is in the heap or at ADDRESS. */
static uint64_t target_at(const struct ms_typing *t, uint64_t address, uint64_t value, uint64_t offset)
{
    if (value != MS_NOTHING)
        return offset % 8 ? MS_NOTHING : ms_word_target(t->heap, value + ms_bytes_words(t->heap, offset));
    uint64_t word;
    if (!ms_image_read_word(t->image, address + offset, &word))
        return MS_NOTHING;
    const struct ms_segment *s = ms_heap_segment(t->heap, word);
    return s && word % 8 == 0 ? 2 * s->first + ms_offset_words(t->heap, word - s->base) : MS_NOTHING;
}

/* Which bytes of the block that is claimed are in use, by the container's other members. */
static void set_bounds(const struct ms_typing *t, const struct ms_link *link, uint64_t address, uint64_t value,
                       struct ms_claim *claim)
{
    uint64_t count;
    if (link->bounded) {
        uint64_t first = target_at(t, address, value, link->first);
        uint64_t last = target_at(t, address, value, link->last);
        if (first == MS_NOTHING || last == MS_NOTHING || first < claim->target || last < first)
            return;
        claim->partial = true;
        claim->from = ms_word_bytes(t->heap, first - claim->target);
        claim->to = ms_word_bytes(t->heap, last - claim->target) + (link->inclusive ? 8 : 0);
    } else if (link->counted && ms_image_read_word(t->image, address + link->last, &count) &&
               count < UINT32_MAX && link->to->size < UINT32_MAX) {
        claim->partial = true;
        claim->to = count * link->to->size;
    }
}

/* --- trait objects ----------------------------------------------------------------------------- */

/* rustc names a vtable "<T as Trait>::{vtable}"; its second word is T's size. */
static const struct ms_type *type_of_vtable(struct ms_typing *t, uint64_t address)
{
    struct ms_place_type place = {0};
    struct ms_error *error = ms_types_find(t->shapes.types, &address, 1, &place);
    if (error) {
        ms_error_free(error);
        return NULL;
    }
    const char *name = place.variable ? place.variable->name : NULL;
    const char *end = name && name[0] == '<' ? strstr(name, " as ") : NULL;
    if (!end || place.offset)
        return NULL;
    char *type_name = strndup(name + 1, (size_t)(end - name - 1));
    const struct ms_type *type = type_name ? ms_type_named(t->shapes.types, type_name) : NULL;
    free(type_name);
    return type ? ms_type_complete(t->shapes.types, type) : NULL;
}

/* The type of the object whose vtable the word after LINK's points to, or NULL. */
static const struct ms_type *dynamic_type(struct ms_typing *t, const struct ms_link *link, uint64_t address,
                                          uint64_t value)
{
    uint64_t vtable = 0;
    if (value == MS_NOTHING || link->offset % 8) {
        if (!ms_image_read_word(t->image, address + link->offset + 8, &vtable))
            return NULL;
    } else {
        uint64_t target = ms_word_target(t->heap, value + ms_bytes_words(t->heap, link->offset + 8));
        vtable = target == MS_NOTHING ? 0 : ms_scan_module_address(t->scan, target);
    }
    if (!vtable)
        return NULL;
    const uint64_t *known = ms_map_get(&t->vtables, vtable, 1);
    if (known)
        return (const struct ms_type *)(uintptr_t)*known;
    const struct ms_type *type = type_of_vtable(t, vtable);
    t->failed |= !ms_map_put(&t->vtables, vtable, 1, (uintptr_t)type);
    return type;
}

/* --- for others -------------------------------------------------------------------------------- */

bool ms_link_claim(struct ms_typing *t, const struct ms_shape *shape, const struct ms_link *link,
                   uint64_t address, uint64_t value, uint64_t target, struct ms_claim *claim)
{
    bool sure = true, guess = false;
    if (link->shared || link->guard)
        link = choose(t, shape, link, address, target, &sure, &guess);
    if (!link || link->how == MS_LINK_OPEN)
        return false;
    *claim = (struct ms_claim){.target = target, .type = link->to, .how = link->how, .strong = sure,
                               .doubtful = !sure, .chosen = guess};
    if (link->how == MS_LINK_DYN) {
        claim->type = dynamic_type(t, link, address, value);
        claim->how = MS_LINK_PLAIN;
    } else if (link->bounded || link->counted) {
        set_bounds(t, link, address, value, claim);
    }
    return claim->type != NULL;
}
