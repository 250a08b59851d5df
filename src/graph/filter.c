/* The first look at every word of the target: does it lie where blocks are? */
#include "scan.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint64_t filter_plain(const uint64_t *words, const uint64_t low[2], const uint64_t span[2])
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 64; i++)
        bits |= (uint64_t)((words[i] - low[0] < span[0]) | (words[i] - low[1] < span[1])) << i;
    return bits;
}

#if defined(__x86_64__)
/* AVX2 compares signed numbers only: both sides are moved by 2^63. */
__attribute__((target("avx2"))) static uint64_t filter_avx2(const uint64_t *words, const uint64_t low[2],
                                                             const uint64_t span[2])
{
    const uint64_t flip = 1ull << 63;
    const uint64_t moved[4] = {low[0] + flip, low[1] + flip, span[0] ^ flip, span[1] ^ flip};
    const __m256i low0 = _mm256_set1_epi64x((long long)moved[0]);
    const __m256i low1 = _mm256_set1_epi64x((long long)moved[1]);
    const __m256i span0 = _mm256_set1_epi64x((long long)moved[2]);
    const __m256i span1 = _mm256_set1_epi64x((long long)moved[3]);
    uint64_t bits = 0;
    for (unsigned i = 0; i < 64; i += 4) {
        __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(words + i));
        __m256i in0 = _mm256_cmpgt_epi64(span0, _mm256_sub_epi64(w, low0));
        __m256i in1 = _mm256_cmpgt_epi64(span1, _mm256_sub_epi64(w, low1));
        unsigned four = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_or_si256(in0, in1)));
        bits |= (uint64_t)four << i;
    }
    return bits;
}

__attribute__((target("avx512f"))) static uint64_t filter_avx512(const uint64_t *words, const uint64_t low[2],
                                                                  const uint64_t span[2])
{
    const __m512i low0 = _mm512_set1_epi64((long long)low[0]), low1 = _mm512_set1_epi64((long long)low[1]);
    const __m512i span0 = _mm512_set1_epi64((long long)span[0]);
    const __m512i span1 = _mm512_set1_epi64((long long)span[1]);
    uint64_t bits = 0;
    for (unsigned i = 0; i < 64; i += 8) {
        __m512i w = _mm512_loadu_si512(words + i);
        unsigned eight = _mm512_cmplt_epu64_mask(_mm512_sub_epi64(w, low0), span0);
        eight |= _mm512_cmplt_epu64_mask(_mm512_sub_epi64(w, low1), span1);
        bits |= (uint64_t)eight << i;
    }
    return bits;
}

/* Compressed in registers: compressing stores are microcode on some CPUs. */
__attribute__((target("avx512f,popcnt"))) static uint64_t line_avx512(const uint64_t *words,
                                                                      const struct zone_map *map,
                                                                      const struct home *home,
                                                                      uint8_t **out)
{
    const __m512i start = _mm512_set1_epi64((long long)home->start);
    const __m512i units = _mm512_set1_epi64((long long)home->units);
    const __m512i target = _mm512_set1_epi64((long long)home->target);
    /* All zones in one interval: what lies in the hole between the two is rare. */
    const __m512i low = _mm512_set1_epi64((long long)map->low[0]);
    const __m512i span = _mm512_set1_epi64((long long)map->span_of_all);
    uint64_t bits = 0;
    uint8_t *to = *out;
    for (unsigned i = 0; i < 64; i += 8) {
        __m512i w = _mm512_loadu_si512(words + i);
        /* Rotated, an unaligned pointer has a bit set beyond all units: it is looked up like the others. */
        __m512i unit = _mm512_ror_epi64(_mm512_sub_epi64(w, start), 3);
        unsigned found = _mm512_cmplt_epu64_mask(unit, units);
        unsigned other = _mm512_cmplt_epu64_mask(_mm512_sub_epi64(w, low), span) & ~found;
        __m512i targets = _mm512_add_epi64(unit, target);
        if (other) {
            uint64_t lanes[8];
            _mm512_storeu_si512(lanes, targets);
            for (; other; other &= other - 1) {
                unsigned lane = (unsigned)__builtin_ctz(other);
                lanes[lane] = ms_zone_target(map, words[i + lane]);
                found |= (lanes[lane] != MS_NOTHING) << lane;
            }
            targets = _mm512_loadu_si512(lanes);
        }
        __m512i packed = _mm512_maskz_compress_epi64((__mmask8)found, targets);
        _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtepi64_epi32(packed));
        to += 4 * (unsigned)__builtin_popcount(found);
        bits |= (uint64_t)found << i;
    }
    *out = to;
    return bits;
}
#endif

line_function *ms_line_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("popcnt"))
        return line_avx512;
#endif
    return NULL;
}

filter_function *ms_filter_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return filter_avx512;
    if (__builtin_cpu_supports("avx2"))
        return filter_avx2;
#endif
    return filter_plain;
}
