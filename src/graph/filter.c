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
#endif

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
