/* The memory profile of the runtime: buckets of allocations by stack (src/runtime/mprof.go). */
#include <string.h>

#include "memscope/goprofile.h"
#include "layout.h"

/* Cycles that are counted ahead: future[3] of struct memRecord, as long as there is a profile. */
#define CYCLES 3u
/* mProfCycle's flag that the cycle is flushed, below the number (1.19 and later). */
#define FLUSHED_BITS 1u
/* maxProfStackDepth; 32 before 1.23. */
#define DEPTH_MOST 1024u
/* More buckets and return addresses in them than any program has. */
#define BUCKETS_MOST (1u << 22)
#define PCS_MOST     (1u << 25)
/* bucketType of the memory profile. */
#define MEMORY_BUCKET 1u

struct record_layout {
    struct ms_go_place allocs, frees, alloc_bytes, free_bytes, self;
};
#define RECORD(name, into) MS_GO_FIELD(struct record_layout, "runtime.memRecordCycle", name, into)
static const struct ms_go_field record_fields[] = {
    RECORD("allocs", allocs),         RECORD("frees", frees), RECORD("alloc_bytes", alloc_bytes),
    RECORD("free_bytes", free_bytes), RECORD("", self),
};
MS_GO_EXPORT_FIELDS(records, record_fields)

struct bucket_layout {
    struct ms_go_place next, kind, depth, self; /* of the bucket; the stack follows it */
    struct ms_go_place active, future;          /* of the record that follows the stack */
};
#define BUCKET(name, into) MS_GO_FIELD(struct bucket_layout, "runtime.bucket", name, into)
#define TAIL(name, into)   MS_GO_FIELD(struct bucket_layout, "runtime.memRecord", name, into)
static const struct ms_go_field bucket_fields[] = {
    BUCKET("allnext", next), BUCKET("typ", kind),    BUCKET("nstk", depth),
    BUCKET("", self),        TAIL("active", active), TAIL("future", future),
};
MS_GO_EXPORT_FIELDS(buckets, bucket_fields)

#define COUNT(fields) (sizeof(fields) / sizeof *(fields))

struct cycle {
    uint64_t allocs, frees, alloc_bytes, free_bytes;
};

/* A bucket as it is read, before it is known which of its cycles are published. */
struct reading {
    struct ms_go *go;
    struct record_layout record;
    struct bucket_layout bucket;
    struct ms_go_buckets *to;
    MS_VECTOR(struct cycle) future; /* CYCLES of each bucket */
    uint64_t until;                 /* the address of the first bucket that is not wanted; 0: all are */
};

static bool read_cycle(const struct reading *reading, uint64_t address, struct cycle *cycle)
{
    const struct record_layout *record = &reading->record;
    return ms_go_get(reading->go, address, record->allocs, &cycle->allocs) &&
           ms_go_get(reading->go, address, record->frees, &cycle->frees) &&
           ms_go_get(reading->go, address, record->alloc_bytes, &cycle->alloc_bytes) &&
           ms_go_get(reading->go, address, record->free_bytes, &cycle->free_bytes);
}

static void add_cycle(struct ms_go_bucket *bucket, const struct cycle *cycle)
{
    bucket->allocs = (int64_t)((uint64_t)bucket->allocs + cycle->allocs);
    bucket->frees = (int64_t)((uint64_t)bucket->frees + cycle->frees);
    bucket->alloc_bytes = (int64_t)((uint64_t)bucket->alloc_bytes + cycle->alloc_bytes);
    bucket->free_bytes = (int64_t)((uint64_t)bucket->free_bytes + cycle->free_bytes);
}

static ms_result no_memory(void)
{
    return ms_error_nomem("the memory profile");
}

static ms_result read_counts(struct reading *reading, uint64_t record, struct ms_go_bucket *bucket,
                             bool *read)
{
    struct cycle cycle;
    *read = read_cycle(reading, record + reading->bucket.active.offset, &cycle);
    add_cycle(bucket, &cycle);
    for (unsigned i = 0; i < CYCLES && *read; i++) {
        struct cycle *future = ms_vector_add(&reading->future);
        if (!future)
            return no_memory();
        *read = read_cycle(reading,
                           record + reading->bucket.future.offset +
                               (uint64_t)i * reading->record.self.size,
                           future);
    }
    return NULL;
}

/* Reads the bucket at ADDRESS, and the address of the one before it. READ: could it be? */
static ms_result read_bucket(struct reading *reading, uint64_t address, uint64_t *next, bool *read)
{
    const struct bucket_layout *layout = &reading->bucket;
    struct ms_go_buckets *to = reading->to;
    uint64_t kind, depth;
    *read = ms_go_get(reading->go, address, layout->kind, &kind) && kind == MEMORY_BUCKET &&
            ms_go_get(reading->go, address, layout->depth, &depth) && depth <= DEPTH_MOST &&
            ms_go_get(reading->go, address, layout->next, next);
    if (!*read)
        return NULL;
    struct ms_go_bucket bucket = {.first_pc = to->pcs.count, .pc_count = depth};
    uint64_t stack = address + layout->self.size;
    for (uint64_t i = 0; i < depth && *read; i++) {
        uint64_t *pc = ms_vector_add(&to->pcs);
        if (!pc)
            return no_memory();
        *read = ms_image_read_word(reading->go->image, stack + 8 * i, pc);
    }
    if (*read)
        MS_TRY(read_counts(reading, stack + 8 * depth, &bucket, read));
    if (!*read)
        return NULL;
    struct ms_go_bucket *added = ms_vector_add(&to->list);
    if (!added)
        return no_memory();
    *added = bucket;
    return NULL;
}

static ms_result read_list(struct reading *reading, uint64_t address)
{
    struct ms_go_buckets *to = reading->to;
    uint64_t passed = 0; /* a list that comes back to where it was is a ring (Brent) */
    to->complete = true;
    while (address && address != reading->until && to->complete) {
        bool read;
        if ((to->list.count & (to->list.count - 1)) == 0)
            passed = address;
        MS_TRY(read_bucket(reading, address, &address, &read));
        to->complete =
            read && address != passed && to->list.count < BUCKETS_MOST && to->pcs.count < PCS_MOST;
    }
    return NULL;
}

/* The number of the cycle in progress, of which all that is still in future[] is published. */
static uint64_t current_cycle(const struct ms_go *go)
{
    uint64_t address = ms_go_global(go, "runtime.mProfCycle");
    uint32_t value = 0;
    if (address && ms_image_read(go->image, address, &value, sizeof value))
        return value >> FLUSHED_BITS;
    /* Before 1.19: a structure that begins with the number. */
    address = ms_go_global(go, "runtime.mProf");
    if (address && ms_image_read(go->image, address, &value, sizeof value))
        return value;
    return 0;
}

/* Adds what memProfileInternal() would flush before it copies. */
static void publish(struct reading *reading)
{
    struct ms_go_buckets *to = reading->to;
    uint64_t index = current_cycle(reading->go) % CYCLES;
    bool clear = true;
    for (size_t i = 0; i < to->list.count; i++) {
        struct ms_go_bucket *bucket = &to->list.items[i];
        add_cycle(bucket, &reading->future.items[CYCLES * i + index]);
        clear = clear && bucket->allocs == 0 && bucket->frees == 0;
    }
    /* "Absolutely no data, suggesting that a garbage collection has not yet happened." */
    for (size_t i = 0; clear && i < to->list.count; i++)
        for (unsigned cycle = 0; cycle < CYCLES; cycle++)
            if (cycle != index)
                add_cycle(&to->list.items[i], &reading->future.items[CYCLES * i + cycle]);
}

static bool read_global(const struct ms_go *go, const char *name, void *value, size_t size)
{
    uint64_t address = ms_go_global(go, name);
    return address && ms_image_read(go->image, address, value, size);
}

static ms_result bind(struct reading *reading)
{
    MS_TRY(ms_go_bind(reading->go, record_fields, COUNT(record_fields), &reading->record));
    MS_TRY(ms_go_bind(reading->go, bucket_fields, COUNT(bucket_fields), &reading->bucket));
    if (reading->bucket.future.size == CYCLES * reading->record.self.size)
        return NULL;
    return ms_error(MS_TARGET, "%s: the memory profile of %s is kept in a form that is not known",
                    reading->go->image->origin, reading->go->version);
}

ms_result ms_go_buckets_read(struct ms_go *go, struct ms_go_buckets *buckets)
{
    uint64_t first;
    uint8_t disabled = 0;
    if (!read_global(go, "runtime.mbuckets", &first, sizeof first) ||
        !read_global(go, "runtime.MemProfileRate", &buckets->rate, sizeof buckets->rate))
        return ms_error(
            MS_TARGET,
            "%s: the memory profile of this %s program cannot be found: it has no symbols",
            go->image->origin, go->version);
    read_global(go, "runtime.disableMemoryProfiling", &disabled, sizeof disabled);
    buckets->disabled = disabled != 0;
    struct reading reading = {.go = go, .to = buckets};
    MS_TRY(bind(&reading));
    struct ms_error *error = read_list(&reading, first);
    if (!error)
        publish(&reading);
    ms_vector_free(&reading.future);
    return error;
}

/* Buckets are never freed and new ones come first: those from *UNTIL on are known. */
ms_result ms_go_buckets_need(struct ms_go *go, uint64_t *until, bool *complete)
{
    struct ms_go_buckets buckets = {.rate = 0};
    struct reading reading = {.go = go, .to = &buckets, .until = *until};
    *complete = read_global(go, "runtime.mbuckets", until, sizeof *until);
    if (!*complete)
        return NULL;
    struct ms_error *error = bind(&reading);
    if (!error)
        error = read_list(&reading, *until);
    *complete = buckets.complete;
    ms_vector_free(&reading.future);
    ms_go_buckets_free(&buckets);
    return error;
}

void ms_go_buckets_free(struct ms_go_buckets *buckets)
{
    ms_vector_free(&buckets->list);
    ms_vector_free(&buckets->pcs);
}
