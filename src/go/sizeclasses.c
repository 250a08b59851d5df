/* Sizes of slots: of the target's own table, or as they are in all known versions. */
#include "memscope/goheap.h"

#include <string.h>

void ms_go_size_classes(const struct ms_go *go, uint16_t sizes[MS_GO_SIZE_CLASSES])
{
    /* src/runtime/sizeclasses.go, 1.17 to 1.26 (src/internal/runtime/gc from 1.25 on) */
    static const uint16_t known[MS_GO_SIZE_CLASSES] = {
        0,     8,     16,    24,    32,    48,    64,    80,    96,    112,   128,   144,  160,   176,
        192,   208,   224,   240,   256,   288,   320,   352,   384,   416,   448,   480,  512,   576,
        640,   704,   768,   896,   1024,  1152,  1280,  1408,  1536,  1792,  2048,  2304, 2688,  3072,
        3200,  3456,  4096,  4864,  5376,  6144,  6528,  6784,  6912,  8192,  9472,  9728, 10240, 10880,
        12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768};
    uint64_t address = ms_go_global(go, "internal/runtime/gc.SizeClassToSize");
    if (!address)
        address = ms_go_global(go, "runtime.class_to_size");
    if (!address || !ms_image_read(go->image, address, sizes, sizeof known))
        memcpy(sizes, known, sizeof known);
}

uint64_t ms_go_slot_size(const struct ms_go_heap *heap, uint64_t size)
{
    const uint16_t *classes = heap->size_classes;
    if (size > classes[MS_GO_SIZE_CLASSES - 1])
        return (size + MS_GO_PAGE - 1) / MS_GO_PAGE * MS_GO_PAGE;
    size_t low = 1, high = MS_GO_SIZE_CLASSES - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (classes[middle] < size)
            low = middle + 1;
        else
            high = middle;
    }
    return classes[low];
}
