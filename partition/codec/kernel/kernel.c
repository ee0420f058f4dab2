/* Rows of float32 to levels of 8 or 4 bits and back, each row in one go while it is in the cache.
 *
 * Equal to partition/quantise.py to the last level: the same operations in float32, in the same
 * order, without fused multiply-add (compile with -ffp-contract=off). No header of Python is
 * needed. x86's minimum and maximum drop NaN, so it is
 * kept apart there; NEON's hand it on.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CHUNK 512
#define SMALLEST_NORMAL 1.17549435e-38f
#define QUANTISE_ARGUMENTS                                                                  \
    const float *values, const int32_t *rows, size_t n_rows, size_t n, int bits,            \
        uint8_t *payload, float *scale_out, float *zero_out
#define DEQUANTISE_ARGUMENTS                                                                \
    const uint8_t *payload, const float *scale, const float *zero, const int32_t *rows,     \
        size_t n_rows, size_t n, int bits, float *out

static inline __attribute__((always_inline)) int is_finite(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

#if defined(__x86_64__)

#include <immintrin.h>

#define NAME(x) x##_sse2
#define TARGET
#define WIDTH 4
#define vec __m128
#define LOAD _mm_loadu_ps
#define LEAST _mm_min_ps
#define MOST _mm_max_ps
#define JOIN _mm_or_ps
#define SPOILT(seen, v) _mm_or_ps(seen, _mm_cmpunord_ps(v, v))
#define STEP 16
static inline __m128i four_sse2(const float *row, float zero, float per_level)
{
    __m128 v = _mm_mul_ps(_mm_sub_ps(_mm_loadu_ps(row), _mm_set1_ps(zero)), _mm_set1_ps(per_level));
    return _mm_cvttps_epi32(_mm_add_ps(v, _mm_set1_ps(0.5f)));
}
static inline void step_sse2(const float *row, float zero, float per_level, uint8_t *out)
{
    __m128i a = four_sse2(row, zero, per_level), b = four_sse2(row + 4, zero, per_level);
    __m128i c = four_sse2(row + 8, zero, per_level), d = four_sse2(row + 12, zero, per_level);
    __m128i narrow = _mm_packus_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    _mm_storeu_si128((__m128i *)out, narrow);
}
#include "rows.h"
#undef NAME
#undef TARGET
#undef WIDTH
#undef vec
#undef LOAD
#undef LEAST
#undef MOST
#undef JOIN
#undef SPOILT
#undef STEP

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2")))
#define WIDTH 8
#define vec __m256
#define LOAD _mm256_loadu_ps
#define LEAST _mm256_min_ps
#define MOST _mm256_max_ps
#define JOIN _mm256_or_ps
#define SPOILT(seen, v) _mm256_or_ps(seen, _mm256_cmp_ps(v, v, _CMP_UNORD_Q))
#define STEP 32
TARGET static inline __m256i eight_avx2(const float *row, float zero, float per_level)
{
    __m256 v = _mm256_sub_ps(_mm256_loadu_ps(row), _mm256_set1_ps(zero));
    v = _mm256_mul_ps(v, _mm256_set1_ps(per_level));
    return _mm256_cvttps_epi32(_mm256_add_ps(v, _mm256_set1_ps(0.5f)));
}
TARGET static inline void step_avx2(const float *row, float zero, float per_level, uint8_t *out)
{
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i a = eight_avx2(row, zero, per_level), b = eight_avx2(row + 8, zero, per_level);
    __m256i c = eight_avx2(row + 16, zero, per_level), d = eight_avx2(row + 24, zero, per_level);
    __m256i narrow = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    _mm256_storeu_si256((__m256i *)out, _mm256_permutevar8x32_epi32(narrow, in_order));
}
#include "rows.h"

#define BEST(function, ...)                                                                 \
    (__builtin_cpu_supports("avx2") ? function##_avx2(__VA_ARGS__) : function##_sse2(__VA_ARGS__))

#else

#define NAME(x) x##_only
#define TARGET
#define WIDTH 4
#if defined(__aarch64__)
#include <arm_neon.h>
#define vec float32x4_t
#define LOAD vld1q_f32
#define LEAST vminq_f32
#define MOST vmaxq_f32
#define JOIN vminq_f32
#define SPOILT(seen, v) vminq_f32(seen, v)
#else
typedef struct {
    float lane[WIDTH];
} vec;
static inline vec load(const float *values)
{
    vec v;
    memcpy(&v, values, sizeof v);
    return v;
}
#define EACH(name, choice)                                                                  \
    static inline vec name(vec a, vec b)                                                    \
    {                                                                                       \
        for (int k = 0; k < WIDTH; k++)                                                     \
            a.lane[k] = choice ? a.lane[k] : b.lane[k];                                     \
        return a;                                                                           \
    }
EACH(least, a.lane[k] < b.lane[k])
EACH(most, a.lane[k] > b.lane[k])
EACH(join, a.lane[k] != a.lane[k])
#define LOAD load
#define LEAST least
#define MOST most
#define JOIN join
#define SPOILT(seen, v) join(v, seen)
#endif
#include "rows.h"
#define BEST(function, ...) function##_only(__VA_ARGS__)

#endif

/* Number that the Python side knows this file by: a library of another one is not used. */
int dvfo_kernel_version(void)
{
    return 1;
}

/* Levels of `n_rows` rows of `n` values. `rows` says where in `values` each row lies; NULL: one
 * behind the other. Returns 1 when a row holds NaN, infinity or a range beyond float32. */
int dvfo_quantise(QUANTISE_ARGUMENTS)
{
    return BEST(quantise, values, rows, n_rows, n, bits, payload, scale_out, zero_out);
}

/* The values that levels stand for. `rows` says where in `out` each row goes. */
void dvfo_dequantise(DEQUANTISE_ARGUMENTS)
{
    BEST(dequantise, payload, scale, zero, rows, n_rows, n, bits, out);
}
