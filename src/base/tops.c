/* The biggest of many: a list that is sorted and cut to half whenever it is full. */
#include "memscope/tops.h"

static int biggest_first(const void *a, const void *b)
{
    const struct ms_top *s = a, *t = b;
    if (s->weight != t->weight)
        return s->weight > t->weight ? -1 : 1;
    return s->item < t->item ? -1 : s->item > t->item;
}

void ms_tops_cut(struct ms_tops *tops)
{
    ms_vector_sort(&tops->list, biggest_first);
    if (tops->list.count > tops->limit)
        tops->list.count = tops->limit;
}

ms_result ms_tops_add(struct ms_tops *tops, uint64_t weight, uint64_t item, const char *what)
{
    if (tops->list.count / 2 >= tops->limit)
        ms_tops_cut(tops);
    struct ms_top *top = ms_vector_add(&tops->list);
    if (!top)
        return ms_error_nomem(what);
    *top = (struct ms_top){weight, item};
    return NULL;
}

void ms_tops_free(struct ms_tops *tops)
{
    ms_vector_free(&tops->list);
}
