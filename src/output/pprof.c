/* Profiles as files of pprof: profile.proto (github.com/google/pprof/proto), encoded here and
 * packed by zlib. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "memscope/output.h"

/* Numbers of fields, by message. */
enum {
    PROFILE_SAMPLE_TYPE = 1,
    PROFILE_SAMPLE,
    PROFILE_MAPPING,
    PROFILE_LOCATION,
    PROFILE_FUNCTION,
    PROFILE_STRING
};
enum { PROFILE_TIME = 9, PROFILE_PERIOD_TYPE = 11, PROFILE_PERIOD = 12, PROFILE_DEFAULT_TYPE = 14 };
enum { UNIT_TYPE = 1, UNIT_UNIT };
enum { SAMPLE_LOCATION = 1, SAMPLE_VALUE, SAMPLE_LABEL };
enum { LABEL_KEY = 1, LABEL_TEXT, LABEL_NUMBER };
enum {
    MAPPING_ID = 1,
    MAPPING_START,
    MAPPING_END,
    MAPPING_OFFSET,
    MAPPING_FILE,
    MAPPING_BUILD_ID,
    MAPPING_HAS_FUNCTIONS
};
enum { LOCATION_ID = 1, LOCATION_MAPPING, LOCATION_ADDRESS, LOCATION_LINE };
enum { LINE_FUNCTION = 1, LINE_LINE };
enum { FUNCTION_ID = 1, FUNCTION_NAME, FUNCTION_SYSTEM_NAME, FUNCTION_FILE, FUNCTION_START_LINE };

/* Wire types of protocol buffers. */
enum { VARINT = 0, BYTES = 2 };

#define CHUNK (1u << 15)
/* Window bits for zlib's largest window, and for a gzip header. */
#define GZIP_WINDOW  (15 + 16)
#define MEMORY_LEVEL 8

/* A message in the making. */
struct message {
    MS_VECTOR(uint8_t) bytes;
    bool failed; /* memory was short */
};

struct writer {
    FILE *out;
    z_stream packer;
    uint8_t chunk[CHUNK];          /* what it made */
    struct message message, inner; /* a field of the profile, and one of that */
    struct message packed;         /* numbers of a packed field */
};

static void put_byte(struct message *message, unsigned byte)
{
    uint8_t *added = ms_vector_add(&message->bytes);
    message->failed = message->failed || !added;
    if (added)
        *added = (uint8_t)byte;
}

static void put_varint(struct message *message, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_byte(message, 0x80 | (value & 0x7f));
    put_byte(message, (unsigned)value);
}

static void put_bytes(struct message *message, unsigned field, const void *bytes, size_t size)
{
    put_varint(message, field << 3 | BYTES);
    put_varint(message, size);
    for (size_t i = 0; i < size; i++)
        put_byte(message, ((const uint8_t *)bytes)[i]);
}

/* Zero is what a field has that is not there. */
static void put_number(struct message *message, unsigned field, uint64_t value)
{
    if (!value)
        return;
    put_varint(message, field << 3 | VARINT);
    put_varint(message, value);
}

static void put_flag(struct message *message, unsigned field, bool value)
{
    put_number(message, field, value);
}

/* Puts INNER into MESSAGE and empties it. */
static void put_message(struct message *message, unsigned field, struct message *inner)
{
    put_bytes(message, field, inner->bytes.items, inner->bytes.count);
    message->failed = message->failed || inner->failed;
    inner->bytes.count = 0;
}

/* What does not reach the file is seen by who closes it. */
static ms_result pack(struct writer *writer, const void *bytes, size_t size, int flush)
{
    writer->packer.next_in = (Bytef *)bytes;
    writer->packer.avail_in = (uInt)size;
    do {
        writer->packer.next_out = writer->chunk;
        writer->packer.avail_out = sizeof writer->chunk;
        if (deflate(&writer->packer, flush) == Z_STREAM_ERROR)
            return ms_error_nomem("packing a profile");
        fwrite(writer->chunk, 1, sizeof writer->chunk - writer->packer.avail_out, writer->out);
    } while (writer->packer.avail_out == 0);
    return NULL;
}

/* Writes the message as FIELD of the profile and empties it. */
static ms_result write_field(struct writer *writer, unsigned field)
{
    struct message head = {0};
    put_varint(&head, field << 3 | BYTES);
    put_varint(&head, writer->message.bytes.count);
    struct ms_error *error = NULL;
    if (writer->message.failed || head.failed)
        error = ms_error_nomem("a profile");
    if (!error)
        error = pack(writer, head.bytes.items, head.bytes.count, Z_NO_FLUSH);
    if (!error)
        error = pack(writer, writer->message.bytes.items, writer->message.bytes.count, Z_NO_FLUSH);
    ms_vector_free(&head.bytes);
    writer->message.bytes.count = 0;
    return error;
}

static ms_result write_unit(struct writer *writer, unsigned field, const struct ms_profile_unit *unit)
{
    put_number(&writer->message, UNIT_TYPE, unit->type);
    put_number(&writer->message, UNIT_UNIT, unit->unit);
    return write_field(writer, field);
}

static ms_result write_sample(struct writer *writer, const struct ms_profile *profile,
                              const struct ms_profile_sample *sample)
{
    struct message *message = &writer->message;
    for (size_t i = 0; i < sample->frame_count; i++)
        put_varint(&writer->packed, profile->frames.items[sample->first_frame + i] + 1);
    put_message(message, SAMPLE_LOCATION, &writer->packed);
    for (unsigned i = 0; i < profile->unit_count; i++)
        put_varint(&writer->packed, (uint64_t)sample->values[i]);
    put_message(message, SAMPLE_VALUE, &writer->packed);
    for (size_t i = 0; i < sample->label_count; i++) {
        const struct ms_profile_label *label = &profile->labels.items[sample->first_label + i];
        put_number(&writer->inner, LABEL_KEY, label->key);
        put_number(&writer->inner, LABEL_TEXT, label->text);
        put_number(&writer->inner, LABEL_NUMBER, (uint64_t)label->number);
        put_message(message, SAMPLE_LABEL, &writer->inner);
    }
    return write_field(writer, PROFILE_SAMPLE);
}

static ms_result write_mapping(struct writer *writer, const struct ms_profile_mapping *mapping, size_t number)
{
    struct message *message = &writer->message;
    put_number(message, MAPPING_ID, number);
    put_number(message, MAPPING_START, mapping->start);
    put_number(message, MAPPING_END, mapping->end);
    put_number(message, MAPPING_OFFSET, mapping->offset);
    put_number(message, MAPPING_FILE, mapping->file);
    put_number(message, MAPPING_BUILD_ID, mapping->build_id);
    put_flag(message, MAPPING_HAS_FUNCTIONS, mapping->looked_up && !mapping->failed);
    return write_field(writer, PROFILE_MAPPING);
}

static ms_result write_location(struct writer *writer, const struct ms_profile *profile, size_t index)
{
    const struct ms_profile_location *location = &profile->locations.items[index];
    size_t mapping = ms_profile_mapping_at(profile, location->address);
    struct message *message = &writer->message;
    put_number(message, LOCATION_ID, index + 1);
    if (mapping != SIZE_MAX)
        put_number(message, LOCATION_MAPPING, mapping + 1);
    put_number(message, LOCATION_ADDRESS, location->address);
    for (size_t i = 0; i < location->line_count; i++) {
        const struct ms_profile_line *line = &profile->lines.items[location->first_line + i];
        put_number(&writer->inner, LINE_FUNCTION, line->function + 1ull);
        put_number(&writer->inner, LINE_LINE, (uint64_t)line->line);
        put_message(message, LOCATION_LINE, &writer->inner);
    }
    return write_field(writer, PROFILE_LOCATION);
}

static ms_result write_function(struct writer *writer, const struct ms_profile_function *function, size_t number)
{
    struct message *message = &writer->message;
    put_number(message, FUNCTION_ID, number);
    put_number(message, FUNCTION_NAME, function->name);
    put_number(message, FUNCTION_SYSTEM_NAME, function->name);
    put_number(message, FUNCTION_FILE, function->file);
    put_number(message, FUNCTION_START_LINE, (uint64_t)function->start_line);
    return write_field(writer, PROFILE_FUNCTION);
}

/* As they are, as the runtime writes them: what shows a profile has to beware of them. */
static ms_result write_strings(struct writer *writer, const struct ms_profile *profile)
{
    for (size_t i = 0; i < profile->strings.count; i++) {
        const char *string = profile->strings.items[i];
        for (const char *c = string; *c; c++)
            put_byte(&writer->message, (uint8_t)*c);
        MS_TRY(write_field(writer, PROFILE_STRING));
    }
    return NULL;
}

/* The numbers that are the profile's own fields. */
static ms_result write_numbers(struct writer *writer, const struct ms_profile *profile)
{
    struct message *message = &writer->message;
    put_number(message, PROFILE_TIME, (uint64_t)profile->time_ns);
    put_number(message, PROFILE_PERIOD, (uint64_t)profile->period);
    put_number(message, PROFILE_DEFAULT_TYPE, profile->usual);
    if (message->failed)
        return ms_error_nomem("a profile");
    MS_TRY(pack(writer, message->bytes.items, message->bytes.count, Z_NO_FLUSH));
    message->bytes.count = 0;
    return NULL;
}

static ms_result write_profile(struct writer *writer, const struct ms_profile *profile)
{
    for (unsigned i = 0; i < profile->unit_count; i++)
        MS_TRY(write_unit(writer, PROFILE_SAMPLE_TYPE, &profile->units[i]));
    for (size_t i = 0; i < profile->samples.count; i++)
        MS_TRY(write_sample(writer, profile, &profile->samples.items[i]));
    for (size_t i = 0; i < profile->mappings.count; i++)
        MS_TRY(write_mapping(writer, &profile->mappings.items[i], i + 1));
    for (size_t i = 0; i < profile->locations.count; i++)
        MS_TRY(write_location(writer, profile, i));
    for (size_t i = 0; i < profile->functions.count; i++)
        MS_TRY(write_function(writer, &profile->functions.items[i], i + 1));
    MS_TRY(write_strings(writer, profile));
    MS_TRY(write_numbers(writer, profile));
    if (profile->period_unit.type)
        MS_TRY(write_unit(writer, PROFILE_PERIOD_TYPE, &profile->period_unit));
    return pack(writer, NULL, 0, Z_FINISH);
}

ms_result ms_pprof_write(const struct ms_view *view, const struct ms_profile *profile)
{
    struct writer writer = {.out = view->out};
    if (deflateInit2(&writer.packer, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return ms_error_nomem("packing a profile");
    struct ms_error *error = write_profile(&writer, profile);
    deflateEnd(&writer.packer);
    ms_vector_free(&writer.message.bytes);
    ms_vector_free(&writer.inner.bytes);
    ms_vector_free(&writer.packed.bytes);
    return error;
}
