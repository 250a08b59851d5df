/* What blocks, groups and values are, in the words of the reports, as text of cells. */
#include "what.h"

#include <inttypes.h>
#include "words.h"

/* Of raw bytes so many. */
#define RAW_SHOWN 16u

/* --- blocks and groups ------------------------------------------------------------------------- */

static void put_text(struct tui_cell *cell, const uint8_t *bytes, unsigned size)
{
    if (!size)
        return;
    tui_put(cell, "%s", cell->length ? " " : "");
    tui_put_preview(cell, bytes, size);
}

/* "Widget (libwidgets.so) "some text"", each as far as it is known; UNKNOWN when nothing is. */
struct what {
    const char *type;
    enum ms_evidence by;
    const char *module;
    const uint8_t *preview;
    unsigned preview_size;
};
static void put_what(struct tui_cell *cell, const struct what *what, const char *unknown)
{
    const size_t before = cell->length;
    if (what->type)
        tui_put_type(cell, what->type, what->by);
    if (what->module) {
        tui_put(cell, "%s(", cell->length > before ? " " : "");
        tui_put_name(cell, what->module);
        tui_put(cell, ")");
    }
    put_text(cell, what->preview, what->preview_size);
    if (cell->length == before)
        tui_put(cell, "%s", unknown);
}

void tui_put_owner(struct tui_cell *cell, const struct ms_owner *owner)
{
    const struct what what = {owner->type, owner->by, owner->module, owner->preview, owner->preview_size};
    const size_t before = cell->length;
    put_what(cell, &what, "");
    if (cell->length == before) {
        tui_put_count(cell, owner->size);
        tui_put(cell, " bytes");
    }
    if (owner->root) {
        tui_put(cell, ", held by ");
        tui_put_name(cell, owner->root);
    }
}

void tui_put_group(struct tui_cell *cell, const struct ms_heap_group *group)
{
    const struct what what = {group->type, group->by, group->module, NULL, 0};
    switch (group->kind) {
    case MS_GROUP_TEXT:
        tui_put(cell, "text, one of them");
        put_text(cell, group->preview, group->preview_size);
        break;
    case MS_GROUP_SIZE:
        tui_put_count(cell, group->size);
        tui_put(cell, " bytes each");
        if (group->preview_size) {
            tui_put(cell, ", one of them");
            put_text(cell, group->preview, group->preview_size);
        }
        break;
    case MS_GROUP_CLASS:
    case MS_GROUP_TYPE:
    case MS_GROUP_MODULE:
    case MS_GROUP_UNKNOWN:
    case MS_GROUP_ARENA:
    case MS_GROUP_MAPPED:
    case MS_GROUP_KINDS:
        put_what(cell, &what, "-");
        break;
    }
}

/* --- values ------------------------------------------------------------------------------------ */

static void put_string(struct tui_cell *cell, const struct ms_value *value)
{
    tui_put_bytes(cell, value->bytes, value->size);
    tui_put(cell, "%s", value->cut ? "..." : "");
}

static void put_text_value(struct tui_cell *cell, const struct ms_value *value)
{
    const uint8_t byte = value->bytes[0];
    if (!value->single)
        put_string(cell, value);
    else if (byte >= ' ' && byte < 0x7f)
        tui_put(cell, "'%c'", byte);
    else
        tui_put(cell, "%u", byte);
}

static void put_pointer(struct tui_cell *cell, const struct ms_value *value)
{
    if (!value->number.u) {
        tui_put(cell, "NULL");
        return;
    }
    tui_put(cell, "0x%" PRIx64, value->number.u);
    if (value->size) {
        tui_put(cell, "  ");
        put_string(cell, value);
    } else if (value->target) {
        tui_put(cell, "  ");
        tui_put_type(cell, value->target, MS_BY_NOTHING);
    }
}

static void put_raw(struct tui_cell *cell, const struct ms_value *value)
{
    for (unsigned i = 0; i < value->size && i < RAW_SHOWN; i++)
        tui_put(cell, "%s%02x", i ? " " : "", value->bytes[i]);
    tui_put(cell, "%s", value->cut || value->size > RAW_SHOWN ? " ..." : "");
}

void tui_put_value(struct tui_cell *cell, const struct ms_value *value)
{
    switch (value->kind) {
    case MS_VALUE_UNREADABLE:
        tui_put(cell, "-");
        break;
    case MS_VALUE_SIGNED:
        tui_put(cell, "%" PRId64, value->number.i);
        break;
    case MS_VALUE_UNSIGNED:
        tui_put(cell, "%" PRIu64, value->number.u);
        break;
    case MS_VALUE_REAL:
        tui_put(cell, "%.17g", value->number.real);
        break;
    case MS_VALUE_BOOL:
        tui_put(cell, "%s", value->number.u ? "true" : "false");
        break;
    case MS_VALUE_TEXT:
        put_text_value(cell, value);
        break;
    case MS_VALUE_POINTER:
        put_pointer(cell, value);
        break;
    case MS_VALUE_RAW:
        put_raw(cell, value);
        break;
    }
}
