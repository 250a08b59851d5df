/* Profiler labels of goroutines: a map of strings up to Go 1.23, a slice from 1.24 on. */
#include <string.h>

#include "layout.h"
#include "memscope/gostacks.h"

#define LABELS_MOST 1024u
#define TEXT_MOST   65536u

void ms_go_labels_free(struct ms_go_labels *labels)
{
    for (size_t i = 0; i < labels->list.count; i++) {
        free(labels->list.items[i].key);
        free(labels->list.items[i].value);
    }
    ms_vector_free(&labels->list);
}

/* Adds the label whose strings are at KEY and VALUE; one that cannot be read is left out. */
static ms_result add_label(const struct ms_go *go, uint64_t key, uint64_t value, struct ms_go_labels *labels)
{
    struct ms_go_label label = {ms_go_get_string(go, key, TEXT_MOST), ms_go_get_string(go, value, TEXT_MOST)};
    struct ms_go_label *slot = label.key && label.value ? ms_vector_add(&labels->list) : NULL;
    if (slot) {
        *slot = label;
        return NULL;
    }
    bool unread = !label.key || !label.value;
    free(label.key);
    free(label.value);
    return unread ? NULL : ms_error_nomem("profiler labels");
}

/* []label of src/runtime/pprof/label.go, two strings each. */
static ms_result read_slice(const struct ms_go *go, uint64_t address, struct ms_go_labels *labels)
{
    uint64_t slice[2];
    if (!ms_image_read(go->image, address, slice, sizeof slice))
        return NULL;
    for (uint64_t i = 0; i < slice[1] && i < LABELS_MOST; i++)
        MS_TRY(add_label(go, slice[0] + 32 * i, slice[0] + 32 * i + 16, labels));
    return NULL;
}

/* map[string]string of src/runtime/map.go: eight slots a bucket, marks of those in use first. */
#define SLOTS           8u
#define MINIMUM_TOPHASH 5u
#define BUCKET_SIZE     (SLOTS + 2 * SLOTS * 16 + 8)

struct map_layout {
    struct ms_go_place count, bits, buckets, old;
};
#define FIELD(path, into) MS_GO_FIELD_IN(struct map_layout, "runtime.hmap", path, into, 0, 23)
static const struct ms_go_field map_fields[] = {
    FIELD("count", count),
    FIELD("B", bits),
    FIELD("buckets", buckets),
    FIELD("oldbuckets", old),
};
MS_GO_EXPORT_FIELDS(labels, map_fields)

static ms_result read_buckets(const struct ms_go *go, uint64_t buckets, uint64_t count, struct ms_go_labels *labels)
{
    for (uint64_t i = 0; buckets && i < count && i < LABELS_MOST; i++) {
        uint64_t bucket = buckets + BUCKET_SIZE * i;
        for (unsigned chain = 0; bucket && chain < LABELS_MOST; chain++) {
            uint8_t marks[SLOTS];
            if (!ms_image_read(go->image, bucket, marks, sizeof marks))
                break;
            for (unsigned k = 0; k < SLOTS && labels->list.count < LABELS_MOST; k++)
                if (marks[k] >= MINIMUM_TOPHASH)
                    MS_TRY(add_label(go, bucket + SLOTS + 16 * k, bucket + SLOTS + 16 * (SLOTS + k), labels));
            ms_image_read_word(go->image, bucket + BUCKET_SIZE - 8, &bucket);
        }
    }
    return NULL;
}

static ms_result read_map(struct ms_go *go, uint64_t address, struct ms_go_labels *labels)
{
    struct map_layout layout;
    uint64_t map, bits, buckets, old;
    MS_TRY(ms_go_bind(go, map_fields, sizeof map_fields / sizeof *map_fields, &layout));
    if (!ms_image_read_word(go->image, address, &map) || !map || !ms_go_get(go, map, layout.bits, &bits) ||
        bits > 32 || !ms_go_get(go, map, layout.buckets, &buckets) || !ms_go_get(go, map, layout.old, &old))
        return NULL;
    MS_TRY(read_buckets(go, buckets, (uint64_t)1 << bits, labels));
    return read_buckets(go, old, bits ? (uint64_t)1 << (bits - 1) : 0, labels);
}

static int by_key(const void *a, const void *b)
{
    const struct ms_go_label *x = a, *y = b;
    return strcmp(x->key, y->key);
}

ms_result ms_go_labels_read(const struct ms_go_goroutines *goroutines, const struct ms_go_goroutine *goroutine,
                            struct ms_go_labels *labels)
{
    struct ms_go *go = goroutines->go;
    *labels = (struct ms_go_labels){0};
    if (!goroutine->labels)
        return NULL;
    struct ms_error *error =
        go->minor >= 24 ? read_slice(go, goroutine->labels, labels) : read_map(go, goroutine->labels, labels);
    if (error)
        ms_go_labels_free(labels);
    ms_vector_sort(&labels->list, by_key);
    return error;
}
