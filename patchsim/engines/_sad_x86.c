/* The variants of x86-64, each compiled for its instructions whatever the compiler's flags say. */
#include "_sad.h"

#ifdef SAD_X86
#include <immintrin.h>
#include <math.h>
#include <string.h>

static INLINE int four_bytes(const uint8_t *bytes)
{
    int four;
    memcpy(&four, bytes, sizeof four);
    return four;
}

/* Bytes 0 1 1 2 2 3 ... 7 8. */
static INLINE __m128i pairs(const uint8_t *pixels)
{
    return _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)pixels),
                             _mm_loadl_epi64((const __m128i *)(pixels + 1)));
}

/* AVX-512: vdbpsadbw makes four-tap sums of 32 windows, twice the differences of psadbw. */

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl")))
#define NAME(x) x##_bytes_avx512
#define LANES 32
#define GROUP 4
#define NARROW uint16_t
#define WINDOWS __m512i
typedef uint16_t NAME(Sums) __attribute__((vector_size(64)));

/* Lane i gets bytes 8 i to 8 i + 15, which lie under its eight windows. */
static INLINE TARGET __m512i NAME(arranged)(const uint8_t *pixels)
{
    const __m512i order = _mm512_setr_epi64(0, 1, 1, 2, 2, 3, 3, 4);
    return _mm512_permutexvar_epi64(order, _mm512_loadu_si512(pixels));
}

static INLINE TARGET NAME(Sums) NAME(added)(NAME(Sums) sums, __m512i windows, const uint8_t *taps)
{
    /* 0x94: of each lane the double words 0, 1, 1, 2, two for every four windows. */
    __m512i four = _mm512_set1_epi32(four_bytes(taps));
    return sums + (NAME(Sums))_mm512_dbsad_epu8(four, windows, 0x94);
}

static INLINE TARGET NAME(Sums) NAME(values)(const uint8_t *pixels)
{
    return (NAME(Sums))_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)pixels));
}
#include "_sad_bytes.h"
#undef NAME
#undef LANES
#undef WINDOWS

#define NAME(x) x##_doubles_avx512
#include "_sad_doubles.h"
#undef NAME

#define NAME(x) x##_floats_avx512
#define LANES 16
#include "_sad_floats.h"
#undef NAME
#undef LANES

#define NAME(x) x##_shaded_floats_avx512
#define LANES 16
#define SHADED
#include "_sad_floats.h"
#undef NAME
#undef LANES
#undef SHADED
#undef TARGET

/* AVX-512 with VNNI: vpdpbusd adds four products of an unsigned and a signed byte for 16 windows.
 * The weights are the unsigned ones; of the differences 128 is taken off, and for all weights
 * together added again. */

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define NAME(x) x##_shades_vnni
#define LANES 16
#define GROUP 4
#define TAP uint8_t
#define TAPS taps
#define WEIGHTS weights
#define WINDOWS __m512i
typedef int32_t NAME(Sums) __attribute__((vector_size(64)));

/* Lane i gets bytes 4 i to 4 i + 6, which lie under its four windows. */
static INLINE TARGET __m512i NAME(arranged)(const uint8_t *pixels)
{
    const __m512i words = _mm512_setr_epi32(0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4);
    const __m512i bytes = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6));
    __m256i loaded = _mm256_loadu_si256((const __m256i *)pixels);
    __m512i placed = _mm512_permutexvar_epi32(words, _mm512_castsi256_si512(loaded));
    return _mm512_shuffle_epi8(placed, bytes);
}

static INLINE TARGET NAME(Sums) NAME(added)(NAME(Sums) sums, __m512i windows, const uint8_t *taps,
                                            const uint8_t *weights)
{
    __m512i four = _mm512_set1_epi32(four_bytes(taps));
    /* 0x1e: 128 ^ (above | below), of which one is 0. */
    __m512i moved = _mm512_ternarylogic_epi32(_mm512_set1_epi8(-128),
                                              _mm512_subs_epu8(windows, four),
                                              _mm512_subs_epu8(four, windows), 0x1e);
    return (NAME(Sums))_mm512_dpbusd_epi32((__m512i)sums, _mm512_set1_epi32(four_bytes(weights)),
                                           moved);
}
#include "_sad_shades.h"
#undef NAME
#undef LANES
#undef TAPS
#undef WEIGHTS
#undef WINDOWS
#undef TARGET

/* AVX2: vmpsadbw makes four-tap sums of 16 windows. */

#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_bytes_avx2
#define LANES 16
#define GROUP 4
#define NARROW uint16_t
#define WINDOWS __m256i
typedef uint16_t NAME(Sums) __attribute__((vector_size(32)));

/* The second lane gets bytes 8 to 23, which lie under its eight windows. */
static INLINE TARGET __m256i NAME(arranged)(const uint8_t *pixels)
{
    return _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i *)pixels), 0x94);
}

static INLINE TARGET NAME(Sums) NAME(added)(NAME(Sums) sums, __m256i windows, const uint8_t *taps)
{
    __m256i four = _mm256_set1_epi32(four_bytes(taps));
    return sums + (NAME(Sums))_mm256_mpsadbw_epu8(windows, four, 0);
}

static INLINE TARGET NAME(Sums) NAME(values)(const uint8_t *pixels)
{
    return (NAME(Sums))_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)pixels));
}
#include "_sad_bytes.h"
#undef NAME
#undef LANES
#undef WINDOWS

#define NAME(x) x##_doubles_avx2
#include "_sad_doubles.h"
#undef NAME

#define NAME(x) x##_floats_avx2
#define LANES 8
#include "_sad_floats.h"
#undef NAME
#undef LANES

#define NAME(x) x##_shaded_floats_avx2
#define LANES 8
#define SHADED
#include "_sad_floats.h"
#undef NAME
#undef LANES
#undef SHADED

/* And vpmaddwd two products of 16 bits for 8 windows. */

#define NAME(x) x##_shades_avx2
#define LANES 8
#define GROUP 2
#define TAP uint16_t
#define TAPS wide_taps
#define WEIGHTS wide_weights
#define WINDOWS __m256i
typedef int32_t NAME(Sums) __attribute__((vector_size(32)));

static INLINE TARGET __m256i NAME(arranged)(const uint8_t *pixels)
{
    return _mm256_cvtepu8_epi16(pairs(pixels));
}

static INLINE TARGET NAME(Sums) NAME(added)(NAME(Sums) sums, __m256i windows, const uint16_t *taps,
                                            const uint16_t *weights)
{
    __m256i two = _mm256_set1_epi32(four_bytes((const uint8_t *)taps));
    __m256i heavy = _mm256_set1_epi32(four_bytes((const uint8_t *)weights));
    __m256i differences = _mm256_abs_epi16(_mm256_sub_epi16(windows, two));
    return sums + (NAME(Sums))_mm256_madd_epi16(differences, heavy);
}
#include "_sad_shades.h"
#undef NAME
#undef LANES
#undef TAPS
#undef WEIGHTS
#undef WINDOWS
#undef TARGET

/* SSE2, which every x86-64 has: psadbw makes eight-tap sums of two windows. */

#define TARGET
#define NAME(x) x##_bytes_sse2
#define LANES 2
#define GROUP 8
#define NARROW uint64_t
#define WINDOWS __m128i
typedef uint64_t NAME(Sums) __attribute__((vector_size(16)));

static INLINE __m128i NAME(arranged)(const uint8_t *pixels)
{
    return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)pixels),
                              _mm_loadl_epi64((const __m128i *)(pixels + 1)));
}

static INLINE NAME(Sums) NAME(added)(NAME(Sums) sums, __m128i windows, const uint8_t *taps)
{
    __m128i eight = _mm_loadl_epi64((const __m128i *)taps);
    return sums + (NAME(Sums))_mm_sad_epu8(windows, _mm_unpacklo_epi64(eight, eight));
}

static INLINE NAME(Sums) NAME(values)(const uint8_t *pixels)
{
    return (NAME(Sums)){pixels[0], pixels[1]};
}
#include "_sad_bytes.h"
#undef NAME
#undef LANES
#undef WINDOWS

#define NAME(x) x##_doubles_sse2
#include "_sad_doubles.h"
#undef NAME

#define NAME(x) x##_floats_sse2
#define LANES 4
#include "_sad_floats.h"
#undef NAME
#undef LANES

#define NAME(x) x##_shaded_floats_sse2
#define LANES 4
#define SHADED
#include "_sad_floats.h"
#undef NAME
#undef LANES
#undef SHADED

/* And pmaddwd two products of 16 bits for 4 windows. */

#define NAME(x) x##_shades_sse2
#define LANES 4
#define GROUP 2
#define TAP uint16_t
#define TAPS wide_taps
#define WEIGHTS wide_weights
#define WINDOWS __m128i
typedef int32_t NAME(Sums) __attribute__((vector_size(16)));

static INLINE __m128i NAME(arranged)(const uint8_t *pixels)
{
    return _mm_unpacklo_epi8(pairs(pixels), _mm_setzero_si128());
}

static INLINE NAME(Sums) NAME(added)(NAME(Sums) sums, __m128i windows, const uint16_t *taps,
                                     const uint16_t *weights)
{
    __m128i two = _mm_set1_epi32(four_bytes((const uint8_t *)taps));
    __m128i heavy = _mm_set1_epi32(four_bytes((const uint8_t *)weights));
    __m128i above = _mm_sub_epi16(windows, two), below = _mm_sub_epi16(two, windows);
    return sums + (NAME(Sums))_mm_madd_epi16(_mm_max_epi16(above, below), heavy);
}
#include "_sad_shades.h"
#undef NAME
#undef LANES
#undef TAPS
#undef WEIGHTS
#undef WINDOWS
#undef TARGET

static int avx512_runs_here(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}

static int avx2_runs_here(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0;
}

static int sse2_runs_here(void)
{
    return 1;
}

/* The first processors with AVX-512 have no VNNI, but all of them have AVX2. */
static void shades_avx512(const Task *t, double *out)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512vnni")) {
        sums_shades_avx2(t, out);
        return;
    }
    sums_shades_vnni(t, out);
    for (ptrdiff_t i = 0; i < t->rows * t->cols; i++)
        out[i] += 128 * t->total_weight;
}

/* The loop of peak: eight chains, so that it is the instruction's rate, not its delay. */
#define PEAK(NAME, TARGET, VECTOR, SAD, ADD)                                              \
    TARGET static double NAME(void)                                                       \
    {                                                                                     \
        VECTOR a = {1}, b = {2}, sums[8] = {{0}};                                         \
        for (int n = 0; n < 1024; n++)                                                    \
            _Pragma("GCC unroll 8") for (int k = 0; k < 8; k++)                           \
            {                                                                             \
                __asm__("" : "+x"(a));                                                    \
                sums[k] = ADD(sums[k], SAD(a, b));                                        \
            }                                                                             \
        for (int k = 0; k < 8; k++)                                                       \
            __asm__("" ::"x"(sums[k]));                                                   \
        return 1024.0 * 8 * sizeof(VECTOR);                                               \
    }
PEAK(peak_avx512, __attribute__((target("avx512f,avx512bw"))), __m512i, _mm512_sad_epu8,
     _mm512_add_epi64)
PEAK(peak_avx2, __attribute__((target("avx2"))), __m256i, _mm256_sad_epu8, _mm256_add_epi64)
PEAK(peak_sse2, , __m128i, _mm_sad_epu8, _mm_add_epi64)

const Variant SAD_AVX512 = {
    "avx512", avx512_runs_here, sums_bytes_avx512, sums_floats_avx512, shades_avx512,
    sums_shaded_floats_avx512, sums_doubles_avx512, FLOAT_STEPS + 3, peak_avx512,
};
const Variant SAD_AVX2 = {
    "avx2", avx2_runs_here, sums_bytes_avx2, sums_floats_avx2, sums_shades_avx2,
    sums_shaded_floats_avx2, sums_doubles_avx2, FLOAT_STEPS + 3, peak_avx2,
};
const Variant SAD_SSE2 = {
    "sse2", sse2_runs_here, sums_bytes_sse2, sums_floats_sse2, sums_shades_sse2,
    sums_shaded_floats_sse2, sums_doubles_sse2, FLOAT_STEPS + 3, peak_sse2,
};
#else
typedef int nothing_here; /* a file must not be empty */
#endif
