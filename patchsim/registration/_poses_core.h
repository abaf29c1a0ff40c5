/* The loops for one instruction set: the includer defines VARIANT(name), LANES and what vectors do. */

typedef float VARIANT(Floats) __attribute__((vector_size(4 * LANES)));
typedef int32_t VARIANT(Ints) __attribute__((vector_size(4 * LANES)));
typedef uint32_t VARIANT(Unsigned) __attribute__((vector_size(4 * LANES)));
typedef float VARIANT(LooseFloats) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t VARIANT(LooseInts) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define F VARIANT(Floats)
#define I VARIANT(Ints)
#define U VARIANT(Unsigned)
#define SPLAT(x) ((x) - (F){0})
#define ISPLAT(x) ((x) - (I){0})
#define LOAD(p) ((F) * (const VARIANT(LooseFloats) *)(p))
#define ILOAD(p) ((I) * (const VARIANT(LooseInts) *)(p))
#define TO_FLOAT(x) __builtin_convertvector(x, F)
#define TO_INT(x) __builtin_convertvector(x, I)
#define SELECT(mask, a, b) ((F)(((I)(a) & (mask)) | ((I)(b) & ~(mask))))
#define ABSOLUTE(x) ((F)((I)(x)&ISPLAT(0x7fffffff)))
#if LANES == 16
#define ANY(mask) (_mm512_movepi32_mask((__m512i)(mask)) != 0)
#define LARGEST(a, b) ((F)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define LEAST(a, b) ((F)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define SQUARE_ROOT(a) ((F)_mm512_sqrt_ps((__m512)(a)))
#define INVERSE_ROOT(a) VARIANT(inverse_root)(a)
#define GATHER(base, at) ((I)_mm512_i32gather_epi32((__m512i)(at), base, 1))
#define GATHER_FLOATS(base, at) ((F)_mm512_i32gather_ps((__m512i)(at), base, 4))
#elif LANES == 8
#define ANY(mask) (!_mm256_testz_si256((__m256i)(mask), (__m256i)(mask)))
#define LARGEST(a, b) ((F)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define LEAST(a, b) ((F)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define SQUARE_ROOT(a) ((F)_mm256_sqrt_ps((__m256)(a)))
#define INVERSE_ROOT(a) (1 / SQUARE_ROOT(a))
#define GATHER(base, at) ((I)_mm256_i32gather_epi32((const int *)(const void *)(base), (__m256i)(at), 1))
#define GATHER_FLOATS(base, at) ((F)_mm256_i32gather_ps(base, (__m256i)(at), 4))
#else
#define ANY(mask) (((mask)[0] | (mask)[1] | (mask)[2] | (mask)[3]) != 0)
#define LARGEST(a, b) VARIANT(largest)(a, b)
#define LEAST(a, b) VARIANT(least)(a, b)
#define SQUARE_ROOT(a) VARIANT(root)(a)
#define INVERSE_ROOT(a) (1 / SQUARE_ROOT(a))
#define GATHER(base, at) VARIANT(gather)(base, at)
#define GATHER_FLOATS(base, at) VARIANT(gather_floats)(base, at)

static INLINE F VARIANT(largest)(F a, F b)
{
    return SELECT(a > b, a, b);
}

static INLINE F VARIANT(least)(F a, F b)
{
    return SELECT(a < b, a, b);
}

static INLINE F VARIANT(root)(F a)
{
    return (F){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])};
}

/* Four bytes from each of these places on. */
static INLINE I VARIANT(gather)(const void *base, I at)
{
    I out;
    for (int i = 0; i < LANES; i++) {
        int32_t four;
        memcpy(&four, (const char *)base + at[i], sizeof four);
        out[i] = four;
    }
    return out;
}

static INLINE F VARIANT(gather_floats)(const float *base, I at)
{
    return (F){base[at[0]], base[at[1]], base[at[2]], base[at[3]]};
}
#endif

#if LANES == 16
/* 1 over the root of normal numbers: an estimate of 14 bits, and Newton's step, which doubles them. */
static INLINE F VARIANT(inverse_root)(F a)
{
    const F about = (F)_mm512_rsqrt14_ps((__m512)a);
    return about * (1.5f - 0.5f * a * about * about);
}
#endif

/* The sum of a vector's values, by halves. */
static INLINE double VARIANT(total)(F a)
{
#if LANES == 16
    return (double)_mm512_reduce_add_ps((__m512)a);
#elif LANES == 8
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)a), _mm256_extractf128_ps((__m256)a, 1));
    return (double)((half[0] + half[2]) + (half[1] + half[3]));
#else
    return (double)((a[0] + a[2]) + (a[1] + a[3]));
#endif
}

#include "_poses_exact.h"
#include "_poses_products.h" /* before what uses it */
#include "_poses_look.h"
#include "_poses_sums.h" /* before what uses it */
#include "_poses_refine.h"

/* Which columns of a row reach the bar and, but for those at its ends, are no worse than those beside them: few are left for a
 * closer look. */
static ptrdiff_t VARIANT(likely)(const Row *r, ptrdiff_t width, float bar, int32_t *columns)
{
    ptrdiff_t n = 0, x = 1;
    if (width > 0 && r->at[0] >= bar)
        columns[n++] = 0;
    for (; x + LANES < width; x += LANES) {
        const F at = LOAD(r->at + x);
        I best = at >= SPLAT(bar);
        if (!ANY(best))
            continue;
        best &= (at >= LOAD(r->at + x - 1)) & (at >= LOAD(r->at + x + 1)) & (at >= LOAD(r->above + x)) & (at >= LOAD(r->below + x)) &
                (at >= LOAD(r->before + x)) & (at >= LOAD(r->after + x));
#if LANES == 16
        for (uint32_t left = _mm512_movepi32_mask((__m512i)best); left; left &= left - 1)
            columns[n++] = (int32_t)(x + __builtin_ctz(left));
#else
        for (int i = 0; i < LANES && ANY(best); i++)
            if (best[i])
                columns[n++] = (int32_t)(x + i);
#endif
    }
    for (; x < width; x++)
        if (r->at[x] >= bar)
            columns[n++] = (int32_t)x;
    return n;
}

/* The means of 2x2 bytes of two rows, rounded. */
static void VARIANT(halve_bytes)(const uint8_t *in, ptrdiff_t in_pitch, uint8_t *out, ptrdiff_t width)
{
    typedef uint16_t Pairs __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
    typedef uint8_t Means __attribute__((vector_size(2 * LANES), aligned(1), may_alias));
    const uint8_t *below = in + in_pitch;
    ptrdiff_t x = 0;
    for (; x + 2 * LANES <= width; x += 2 * LANES) {
        const Pairs a = *(const Pairs *)(in + 2 * x), b = *(const Pairs *)(below + 2 * x);
        const Pairs mean = ((a & 255) + (a >> 8) + (b & 255) + (b >> 8) + 2) >> 2;
        *(Means *)(out + x) = __builtin_convertvector(mean, Means);
    }
    for (; x < width; x++)
        out[x] = (uint8_t)((in[2 * x] + in[2 * x + 1] + below[2 * x] + below[2 * x + 1] + 2) >> 2);
}

#undef F
#undef I
#undef U
#undef SPLAT
#undef ISPLAT
#undef LOAD
#undef ILOAD
#undef TO_FLOAT
#undef TO_INT
#undef SELECT
#undef ABSOLUTE
#undef ANY
#undef LARGEST
#undef LEAST
#undef SQUARE_ROOT
#undef INVERSE_ROOT
#undef GATHER
#undef GATHER_FLOATS
