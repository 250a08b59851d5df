/* What the JSON views share: the envelope, strings of the target, addresses, writing. */
#include "json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"

/* Changes when what is there changes its meaning; additions do not count. */
#define SCHEMA 1

json_t *ms_json_escaped(const uint8_t *bytes, size_t size)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return NULL;
    ms_write_escaped(out, bytes, size);
    bool written = !ferror(out);
    written = fclose(out) == 0 && written;
    json_t *string = written ? json_stringn(text, length) : NULL;
    free(text);
    return string;
}

json_t *ms_json_string(const char *text)
{
    if (!text)
        return json_null();
    const uint8_t *bytes = (const uint8_t *)text;
    size_t size = strlen(text), length;
    for (size_t i = 0; i < size; i += length) {
        uint32_t point = ms_decode_utf8(bytes + i, size - i, &length);
        /* JSON itself escapes all controls but DEL. */
        if (length == 0 || point == 0x7F)
            return ms_json_escaped(bytes, size);
    }
    return json_stringn(text, size);
}

json_t *ms_json_address(uint64_t address)
{
    char text[24];
    snprintf(text, sizeof text, "0x%" PRIx64, address);
    return json_string(text);
}

json_t *ms_json_with(json_t *object, const char *name, json_t *value)
{
    if (!object) {
        json_decref(value);
        return NULL;
    }
    if (json_object_set_new(object, name, value) == 0)
        return object;
    json_decref(object);
    return NULL;
}

json_t *ms_json_with_item(json_t *array, json_t *item)
{
    if (!array) {
        json_decref(item);
        return NULL;
    }
    if (json_array_append_new(array, item) == 0)
        return array;
    json_decref(array);
    return NULL;
}

json_t *ms_json_count(uint64_t count)
{
    return json_integer((json_int_t)count);
}

json_t *ms_json_tally(const struct ms_tally *tally)
{
    json_t *object = ms_json_with(json_object(), "blocks", ms_json_count(tally->blocks));
    return ms_json_with(object, "bytes", ms_json_count(tally->bytes));
}

json_t *ms_json_evidence(enum ms_evidence by)
{
    return by ? json_string(ms_evidence_names[by]) : json_null();
}

/* Numbers that JSON has not are strings. */
static json_t *value_json(const struct ms_value *value)
{
    char text[32];
    switch (value->kind) {
    case MS_VALUE_UNREADABLE:
        break;
    case MS_VALUE_SIGNED:
        return json_integer((json_int_t)value->number.i);
    case MS_VALUE_UNSIGNED:
        if (value->number.u <= INT64_MAX)
            return ms_json_count(value->number.u);
        snprintf(text, sizeof text, "%" PRIu64, value->number.u);
        return json_string(text);
    case MS_VALUE_REAL:
        if (isfinite(value->number.real))
            return json_real(value->number.real);
        snprintf(text, sizeof text, "%g", value->number.real);
        return json_string(text);
    case MS_VALUE_BOOL:
        return json_boolean(value->number.u);
    case MS_VALUE_TEXT:
        return ms_json_escaped(value->bytes, value->size);
    case MS_VALUE_POINTER:
        return ms_json_address(value->number.u);
    case MS_VALUE_RAW:
        break;
    }
    return json_null();
}

json_t *ms_json_values(const struct ms_values *values)
{
    json_t *array = json_array();
    for (size_t i = 0; i < values->list.count; i++) {
        const struct ms_value *value = &values->list.items[i];
        json_t *object = ms_json_with(json_object(), "name", ms_json_string(value->path));
        object = ms_json_with(object, "type", ms_json_string(value->type->name));
        object = ms_json_with(object, "offset", ms_json_count(value->offset));
        object = ms_json_with(object, "value", value_json(value));
        object = ms_json_with(object, "text", value->kind == MS_VALUE_POINTER && value->size
                                                  ? ms_json_escaped(value->bytes, value->size)
                                                  : json_null());
        array = ms_json_with_item(array, ms_json_with(object, "target", ms_json_string(value->target)));
    }
    return array;
}

ms_result ms_json_write_string(FILE *out, const char *text)
{
    json_t *string = ms_json_string(text);
    if (!string)
        return ms_error_nomem("the list of blocks");
    json_dumpf(string, out, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    json_decref(string);
    return NULL;
}

static json_t *warnings_json(const struct ms_image *image)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < image->warnings.count; i++) {
        if (json_array_append_new(array, ms_json_string(image->warnings.items[i]))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *target_json(const struct ms_image *image, const struct ms_heap *heap)
{
    const char *allocator = *heap->description ? heap->description : NULL;
    json_t *target = json_object();
    target = ms_json_with(target, "pid", image->pid > 0 ? json_integer(image->pid) : json_null());
    target = ms_json_with(target, "exe", ms_json_string(image->exe));
    target = ms_json_with(target, "threads", ms_json_count(image->thread_count));
    return ms_json_with(target, "allocator", ms_json_string(allocator));
}

json_t *ms_json_preface(void)
{
    json_t *preface = ms_json_with(json_object(), "memscope", json_string(PACKAGE_VERSION));
    return ms_json_with(preface, "schema", json_integer(SCHEMA));
}

json_t *ms_json_envelope(const struct ms_image *image, const struct ms_heap *heap)
{
    json_t *envelope = ms_json_preface();
    envelope = ms_json_with(envelope, "target", target_json(image, heap));
    envelope = ms_json_with(envelope, "pause_ns", ms_json_count(image->pause_ns));
    envelope = ms_json_with(envelope, "stopped_ns", ms_json_count(image->stopped_ns));
    envelope = ms_json_with(envelope, "attempts", ms_json_count(image->attempts));
    return ms_json_with(envelope, "warnings", warnings_json(image));
}

json_t *ms_json_document(json_t *envelope, bool complete, const char *name, json_t *body)
{
    envelope = ms_json_with(envelope, "complete", json_boolean(complete));
    return ms_json_with(envelope, name, body);
}
