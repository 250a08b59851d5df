/* What an image of a Go process needs: a look at the running process, and in the stop at what is new since. */
#include "memscope/goselection.h"

#include <string.h>

#include "goroutines.h"
#include "heap.h"
#include "layout.h"
#include "memscope/live.h"

struct ms_go_selection {
    struct ms_selection chosen;
    enum ms_go_need need;
    struct ms_image *live; /* owned, as the others */
    struct ms_symbols *symbols;
    struct ms_go *go; /* of it */
    uint64_t bucket;  /* the first one of the look */
    bool replaced;    /* it was another program in the stop */
};

static ms_result leave_out(struct ms_go_selection *s, uint64_t start, uint64_t size)
{
    struct ms_span *span = ms_vector_add(&s->chosen.left_out.list);
    if (!span)
        return ms_error_nomem("the Go heap");
    *span = (struct ms_span){.start = start, .end = start + size};
    return NULL;
}

/* C may have memory beside that in which the runtime keeps what describes the heap. */
static bool may_have_c(const struct ms_go *go)
{
    uint64_t address = ms_go_global(go, "runtime.iscgo");
    uint8_t cgo = 1;
    return !address || !ms_image_read(go->image, address, &cgo, 1) || cgo;
}

static ms_result leave_out_heap(struct ms_go_selection *s)
{
    struct ms_go_builder builder = {.go = s->go, .image = s->live};
    const bool c = may_have_c(s->go);
    struct ms_error *error = ms_go_read_arenas(&builder);
    for (size_t i = 0; i < builder.arenas.list.count && !error; i++) {
        error = leave_out(s, builder.arenas.list.items[i].start, builder.arenas.bytes);
        if (!error && !c)
            error = leave_out(s, builder.arenas.list.items[i].address, 1);
    }
    ms_vector_free(&builder.arenas.list);
    return error;
}

/* Since the look the process may have called exec. */
static bool is_same(const struct ms_go_selection *s, const struct ms_image *image)
{
    const uint64_t module = s->go->modules.items[0].address;
    const struct ms_region *was = ms_image_region(s->live, module), *is = ms_image_region(image, module);
    return was && is && was->start == is->start && was->inode == is->inode && !strcmp(was->path, is->path);
}

static struct ms_error *choose(void *self, struct ms_image *image, struct ms_spans *spans)
{
    struct ms_go_selection *s = self;
    struct ms_go go = *s->go; /* with layouts and globals that the look has found */
    go.image = image;
    s->replaced = !is_same(s, image);
    if (s->replaced) {
        struct ms_span *all = ms_vector_add(&spans->list);
        if (!all)
            return ms_error_nomem("the list of pages");
        *all = (struct ms_span){.end = UINT64_MAX & ~(uint64_t)(MS_PAGE - 1)};
        return NULL;
    }
    uint64_t bucket = s->bucket;
    if (s->need == MS_GO_NEED_GOROUTINES)
        return ms_go_goroutines_need(&go, image == s->live, spans);
    bool complete;
    MS_TRY(ms_go_buckets_need(&go, &bucket, &complete));
    if (image != s->live)
        return NULL;
    s->bucket = bucket;
    return complete ? NULL : ms_error(MS_TARGET, "%s: its memory profile cannot be read as it runs", image->origin);
}

static ms_result look(struct ms_go_selection *s, pid_t pid)
{
    const struct ms_symbols_options options = {0};
    s->chosen.self = s;
    s->chosen.choose = choose;
    MS_TRY(ms_live_open(pid, &s->live));
    MS_TRY(ms_symbols_new(s->live, &options, &s->symbols));
    MS_TRY(ms_go_open(s->live, s->symbols, NULL, &s->go));
    if (!s->go || !s->go->modules.count)
        return ms_error(MS_TARGET, "process %d is no Go program", pid);
    MS_TRY(leave_out_heap(s));
    bool pays;
    MS_TRY(ms_selection_look(&s->chosen, s->live, &pays));
    return pays ? NULL : ms_error(MS_TARGET, "most of process %d is needed", pid);
}

ms_result ms_go_selection_new(pid_t pid, enum ms_go_need need, struct ms_go_selection **out)
{
    *out = NULL;
    struct ms_go_selection *s = calloc(1, sizeof *s);
    if (!s)
        return ms_error_nomem("what the image needs");
    s->need = need;
    struct ms_error *error = look(s, pid);
    if (!error) {
        *out = s;
        return NULL;
    }
    /* Whatever it was: it will be said of the full image, if it matters there. */
    ms_error_free(error);
    ms_go_selection_free(s);
    return NULL;
}

const struct ms_selection *ms_go_selection(const struct ms_go_selection *selection)
{
    return selection ? &selection->chosen : NULL;
}

void ms_go_selection_share(const struct ms_go_selection *s, struct ms_go *go)
{
    if (!s || s->replaced || !s->go->layouts->searched)
        return;
    const struct ms_go_layouts *from = s->go->layouts;
    ms_vector_free(&go->layouts->globals);
    go->layouts->searched = true;
    for (size_t i = 0; i < from->globals.count; i++) {
        struct ms_go_found *found = ms_vector_add(&go->layouts->globals);
        if (found)
            *found = from->globals.items[i];
    }
}

void ms_go_selection_free(struct ms_go_selection *s)
{
    if (!s)
        return;
    ms_go_close(s->go);
    ms_symbols_free(s->symbols);
    ms_image_free(s->live);
    ms_selection_free(&s->chosen);
    free(s);
}
