/* Halves of vectors in double precision; included by _correlation_core.h once for each variant. */
typedef float VARIANT(Singles) __attribute__((vector_size(4 * LANES)));
typedef int32_t VARIANT(Ints) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t VARIANT(HalfInts) __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
typedef float VARIANT(HalfFloats) __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
typedef float VARIANT(FloatsAnywhere)
    __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Half of a vector of integers, and of floats, in double precision; and two halves in one vector. Some
 * compilers convert vectors in pieces, where there is an instruction for the whole. */
static INLINE VARIANT(Doubles) VARIANT(half_of_ints)(VARIANT(Ints) v, int half)
{
#if LANES == 16
    const __m512i all = (__m512i)v;
    return (VARIANT(Doubles))_mm512_cvtepi32_pd(half ? _mm512_extracti64x4_epi64(all, 1)
                                                     : _mm512_castsi512_si256(all));
#elif LANES == 4 && defined(__SSE2__)
    const __m128i all = (__m128i)v;
    return (VARIANT(Doubles))_mm_cvtepi32_pd(half ? _mm_unpackhi_epi64(all, all) : all);
#else
    VARIANT(HalfInts) part;
    memcpy(&part, (const int32_t *)&v + half * LANES / 2, sizeof part);
    return __builtin_convertvector(part, VARIANT(Doubles));
#endif
}

static INLINE VARIANT(Doubles) VARIANT(half_of_floats)(VARIANT(Singles) v, int half)
{
#if LANES == 16
    const __m512 all = (__m512)v;
    return (VARIANT(Doubles))_mm512_cvtps_pd(half ? _mm512_extractf32x8_ps(all, 1)
                                                  : _mm512_castps512_ps256(all));
#elif LANES == 4 && defined(__SSE2__)
    const __m128 all = (__m128)v;
    return (VARIANT(Doubles))_mm_cvtps_pd(half ? _mm_movehl_ps(all, all) : all);
#else
    VARIANT(HalfFloats) part;
    memcpy(&part, (const float *)&v + half * LANES / 2, sizeof part);
    return __builtin_convertvector(part, VARIANT(Doubles));
#endif
}

static INLINE VARIANT(Singles) VARIANT(joined)(const VARIANT(Doubles) halves[2])
{
#if LANES == 4 && defined(__SSE2__)
    return (VARIANT(Singles))_mm_movelh_ps(_mm_cvtpd_ps((__m128d)halves[0]),
                                           _mm_cvtpd_ps((__m128d)halves[1]));
#else
    const VARIANT(HalfFloats) low = __builtin_convertvector(halves[0], VARIANT(HalfFloats));
    const VARIANT(HalfFloats) high = __builtin_convertvector(halves[1], VARIANT(HalfFloats));
#if LANES == 16
    return (VARIANT(Singles))_mm512_insertf32x8(_mm512_castps256_ps512((__m256)low), (__m256)high, 1);
#elif LANES == 8
    return (VARIANT(Singles))_mm256_insertf128_ps(_mm256_castps128_ps256((__m128)low), (__m128)high, 1);
#else
    VARIANT(Singles) both;
    memcpy(&both, &low, sizeof low);
    memcpy((float *)&both + LANES / 2, &high, sizeof high);
    return both;
#endif
#endif
}
