/* What is known of a block from its own first bytes: its class by a vtable, or that it is text. */
#include "memscope/known.h"

#include <string.h>

struct ms_known ms_block_known(const struct ms_scan *scan, struct ms_symbols *symbols, uint64_t start)
{
    uint64_t target = ms_first_target(scan, start);
    uint64_t address = target == MS_NOTHING ? 0 : ms_scan_module_address(scan, target);
    if (!address || !symbols)
        return (struct ms_known){NULL, NULL};
    const char *type = ms_symbols_vtable_class(symbols, address);
    return (struct ms_known){type, type ? ms_symbols_module(symbols, address) : NULL};
}

unsigned ms_text_length(const uint8_t *bytes, uint64_t size)
{
    unsigned n = 0;
    while (n < size && n < MS_SAMPLE && (bytes[n] == '\t' || bytes[n] == '\n' || bytes[n] >= ' ') &&
           bytes[n] != 0x7f)
        n++;
    return n >= 4 && (n == size || n == MS_SAMPLE || bytes[n] == '\0') ? n : 0;
}

unsigned ms_block_preview(const struct ms_heap *heap, uint64_t start, uint8_t bytes[MS_SAMPLE])
{
    const struct ms_sample *sample = ms_block_sample(heap, start);
    unsigned length = sample ? ms_text_length(sample->bytes, ms_block_size(heap, start)) : 0;
    if (length)
        memcpy(bytes, sample->bytes, length);
    return length;
}
