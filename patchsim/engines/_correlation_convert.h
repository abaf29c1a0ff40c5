/* Values in memory as a vector of REAL; included by _correlation_tile.h, whose names these are.
 *
 * Compilers convert vectors in pieces, or even value by value, where there are instructions for the whole.
 */
typedef int32_t NAME(Ints) __attribute__((vector_size(4 * L), may_alias));

static INLINE V NAME(of_ints)(NAME(Ints) values)
{
#if defined(CORRELATION_X86) && IS_DOUBLE && L == 8
    return (V)_mm512_cvtepi32_pd((__m256i)values);
#elif defined(CORRELATION_X86) && IS_DOUBLE && L == 4
    return (V)_mm256_cvtepi32_pd((__m128i)values);
#else
    return __builtin_convertvector(values, V);
#endif
}

static INLINE V NAME(of_bytes)(const uint8_t *p)
{
#if defined(CORRELATION_X86) && L == 16
    return NAME(of_ints)((NAME(Ints))_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif defined(CORRELATION_X86) && L == 8
    return NAME(of_ints)((NAME(Ints))_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#elif defined(CORRELATION_X86) && L == 4
    int32_t four;
    memcpy(&four, p, sizeof four);
    const __m128i zero = _mm_setzero_si128();
    const __m128i words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero);
    return NAME(of_ints)((NAME(Ints))_mm_unpacklo_epi16(words, zero));
#elif defined(__ARM_NEON) && L == 4
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return NAME(of_ints)((NAME(Ints))vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
#else
    typedef uint8_t Bytes __attribute__((vector_size(L), aligned(1), may_alias));
    return __builtin_convertvector(*(const Bytes *)p, V);
#endif
}

static INLINE V NAME(of_words)(const uint16_t *p)
{
#if defined(CORRELATION_X86) && L == 16
    return NAME(of_ints)((NAME(Ints))_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)));
#elif defined(CORRELATION_X86) && L == 8
    return NAME(of_ints)((NAME(Ints))_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif defined(CORRELATION_X86) && L == 4
    const __m128i words = _mm_loadl_epi64((const __m128i *)p);
    return NAME(of_ints)((NAME(Ints))_mm_unpacklo_epi16(words, _mm_setzero_si128()));
#elif defined(__ARM_NEON) && L == 4
    return NAME(of_ints)((NAME(Ints))vmovl_u16(vld1_u16(p)));
#else
    typedef uint16_t Words __attribute__((vector_size(2 * L), aligned(2), may_alias));
    return __builtin_convertvector(*(const Words *)p, V);
#endif
}

static INLINE V NAME(of_floats)(const float *p)
{
#if defined(CORRELATION_X86) && IS_DOUBLE && L == 8
    return (V)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif defined(CORRELATION_X86) && IS_DOUBLE && L == 4
    return (V)_mm256_cvtps_pd(_mm_loadu_ps(p));
#else
    return __builtin_convertvector(*(const NAME(Floats) *)p, V);
#endif
}

#if IS_DOUBLE
static INLINE V NAME(of_doubles)(const double *p)
{
    return *(const NAME(Unaligned) *)p;
}
#endif
