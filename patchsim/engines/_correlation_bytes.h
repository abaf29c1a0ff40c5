/* Sums over windows and scores of bytes whose sums of squares fit 31 bits, at a stride of 1 along
 * rows; included by _correlation_core.h once for each variant.
 *
 * The sums are int32_t, LANES at once, and no pass over windows does less than it can while they are
 * in registers: scores of small kernels take longer than their products.
 */
typedef int32_t VARIANT(Ints) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t VARIANT(Bits) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t VARIANT(HalfInts) __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
typedef float VARIANT(HalfFloats) __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
typedef float VARIANT(FloatsAnywhere)
    __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Running sums within a vector of LANES, and its last value in every lane. */
#if LANES == 16
#define RUNNING(zero, v)                                                                       \
    v += SHUFFLE(zero, v, (0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30));    \
    v += SHUFFLE(zero, v, (0, 1, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29));     \
    v += SHUFFLE(zero, v, (0, 1, 2, 3, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27));       \
    v += SHUFFLE(zero, v, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23))
#define LAST(v) SHUFFLE(v, v, (15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15))
#elif LANES == 8
#define RUNNING(zero, v)                                                                       \
    v += SHUFFLE(zero, v, (0, 8, 9, 10, 11, 12, 13, 14));                                      \
    v += SHUFFLE(zero, v, (0, 1, 8, 9, 10, 11, 12, 13));                                       \
    v += SHUFFLE(zero, v, (0, 1, 2, 3, 8, 9, 10, 11))
#define LAST(v) SHUFFLE(v, v, (7, 7, 7, 7, 7, 7, 7, 7))
#else
#define RUNNING(zero, v)                                                                       \
    v += SHUFFLE(zero, v, (0, 4, 5, 6));                                                       \
    v += SHUFFLE(zero, v, (0, 1, 4, 5))
#define LAST(v) SHUFFLE(v, v, (3, 3, 3, 3))
#endif

/* Sums of a row's windows from those of its columns. Up to LANES - 1 columns behind the last window
 * are read, and as many sums behind the last one are written. */
static void VARIANT(few_bytes_along)(const int32_t *columns, ptrdiff_t width, ptrdiff_t cols,
                                     int32_t *out)
{
    typedef VARIANT(Ints) Ints;
    Ints firsts = {0};
    const Ints zero = {0};
    int32_t run = 0;
    ptrdiff_t first = 0;
    for (; first + LANES <= width; first += LANES)
        firsts += *(const Ints *)(columns + first);
    for (int i = 0; i < LANES; i++)
        run += firsts[i];
    for (; first < width; first++)
        run += columns[first];
    out[0] = run;
    Ints before = zero + run;
    for (ptrdiff_t x = 0; x < cols - 1; x += LANES) {
        Ints sum = *(const Ints *)(columns + x + width) - *(const Ints *)(columns + x);
        RUNNING(zero, sum);
        *(Ints *)(out + x + 1) = sum + before;
        before += LAST(sum);
    }
}
#undef RUNNING
#undef LAST

/* S of some windows of a channel, and E. */
static INLINE const int32_t *VARIANT(few_sums)(const VARIANT(Band) *b, ptrdiff_t c, ptrdiff_t left)
{
    return (const int32_t *)b->s + c * b->layout->x_pitch + left;
}

static INLINE const int32_t *VARIANT(few_squares)(const VARIANT(Band) *b, ptrdiff_t left)
{
    return (const int32_t *)b->e + left;
}

/* Half of a vector of integers, and of floats, in double precision; and two halves in one vector. Some
 * compilers convert vectors in pieces, where there is an instruction for the whole. */
static INLINE VARIANT(Doubles) VARIANT(half_of_ints)(VARIANT(Ints) v, int half)
{
#if LANES == 16
    const __m512i all = (__m512i)v;
    return (VARIANT(Doubles))_mm512_cvtepi32_pd(half ? _mm512_extracti64x4_epi64(all, 1)
                                                     : _mm512_castsi512_si256(all));
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
#else
    VARIANT(HalfFloats) part;
    memcpy(&part, (const float *)&v + half * LANES / 2, sizeof part);
    return __builtin_convertvector(part, VARIANT(Doubles));
#endif
}

static INLINE VARIANT(Singles) VARIANT(joined)(const VARIANT(Doubles) halves[2])
{
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
}

/* 1 / sqrt(v), off by at most 2^-23 of itself; of what is not above 0, anything. */
static INLINE VARIANT(Singles) VARIANT(inverse_root)(VARIANT(Singles) v)
{
#if LANES == 16
    /* Off by 2^-14, then by the square of that: a step of Newton's method. */
    const __m512 about = _mm512_rsqrt14_ps((__m512)v), product = _mm512_mul_ps((__m512)v, about);
    const __m512 left = _mm512_fnmadd_ps(product, about, _mm512_set1_ps(1));
    const __m512 half = _mm512_mul_ps(about, _mm512_set1_ps(0.5f));
    return (VARIANT(Singles))_mm512_fmadd_ps(half, left, about);
#else
    VARIANT(Singles) root;
    for (int i = 0; i < LANES; i++)
        root[i] = sqrtf(v[i]);
    return 1 / root;
#endif
}

/* n E - sum S^2 of zncc, or E, of a vector of windows. */
static INLINE VARIANT(Singles) VARIANT(few_spreads)(const VARIANT(Band) *b, ptrdiff_t left,
                                                    Metric metric, ptrdiff_t channels, double size)
{
    const VARIANT(Ints) squares = *(const VARIANT(Ints) *)VARIANT(few_squares)(b, left);
    if (metric != ZNCC)
        return __builtin_convertvector(squares, VARIANT(Singles));
    VARIANT(Doubles) halves[2];
    for (int half = 0; half < 2; half++) {
        halves[half] = VARIANT(half_of_ints)(squares, half) * size;
        for (ptrdiff_t c = 0; c < channels; c++) {
            const VARIANT(Doubles) sum = VARIANT(half_of_ints)(
                *(const VARIANT(Ints) *)VARIANT(few_sums)(b, c, left), half);
            halves[half] -= sum * sum;
        }
    }
    return VARIANT(joined)(halves);
}

/* What the scores of a kernel are made of, whichever the window. */
typedef struct {
    double size;                 /* pixels of a channel */
    double less[MOST_CHANNELS];  /* sum (K - 128) */
    double means[MOST_CHANNELS]; /* k over the gain */
    double by_gain;              /* 1 over the gain */
    double twice, own, share;    /* of ssd: 2 gain, sum K^2, and 1 over the total */
    uint32_t whole;              /* sum K^2 as well */
} VARIANT(FewBytes);

static void VARIANT(set_few)(const Task *t, VARIANT(FewBytes) *few)
{
    few->size = (double)(t->height * t->width);
    few->by_gain = 1 / t->gain;
    few->twice = 2 * t->gain, few->own = t->own, few->share = 1 / t->total;
    few->whole = t->own >= 0 && t->own < 0x1p31 ? (uint32_t)(t->own + 0.5) : 0;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        few->less[c] = VARIANT(sum_less_128)(t, c);
        few->means[c] = t->means[c] * few->by_gain;
    }
}

/* X of a vector of windows over the gain; of ncc X + sum k S; of ssd their scores. X of direct sums
 * is not over the gain, and of zncc n times as large. */
static INLINE VARIANT(Singles) VARIANT(few_products)(const VARIANT(Band) *b, const VARIANT(FewBytes) *few,
                                                     const float *x, ptrdiff_t left, Metric metric,
                                                     int is_direct, ptrdiff_t channels)
{
    typedef VARIANT(Doubles) Doubles;
    typedef VARIANT(Ints) Ints;
    typedef VARIANT(Bits) Bits;
    const VARIANT(Singles) found = (VARIANT(Singles))*(const VARIANT(FloatsAnywhere) *)x;
    const Ints direct = *(const Ints *)x, squares = *(const Ints *)VARIANT(few_squares)(b, left);
    Doubles halves[2];
    if (metric == ZNCC && !is_direct)
        return found;
    if (metric == ZNCC) { /* of K - 128: n sum I (K - 128) -> n sum I (K - mean K) */
        for (int half = 0; half < 2; half++) {
            halves[half] = VARIANT(half_of_ints)(direct, half) * few->size;
            for (ptrdiff_t c = 0; c < channels; c++)
                halves[half] -= VARIANT(half_of_ints)(
                                    *(const Ints *)VARIANT(few_sums)(b, c, left), half) *
                                few->less[c];
        }
        return VARIANT(joined)(halves);
    }
    if (is_direct) { /* sum I K: whole numbers, whose sums fit though their parts may not */
        Bits all = (Bits)direct;
        for (ptrdiff_t c = 0; c < channels; c++)
            all += *(const Bits *)VARIANT(few_sums)(b, c, left) << 7;
        if (metric == NCC)
            return __builtin_convertvector((Ints)all, VARIANT(Singles));
        const Ints apart = (Ints)((Bits)squares - (all << 1) + few->whole);
        for (int half = 0; half < 2; half++)
            halves[half] = 1 - VARIANT(half_of_ints)(apart, half) * few->share;
        return VARIANT(joined)(halves);
    }
    for (int half = 0; half < 2; half++) {
        halves[half] = VARIANT(half_of_floats)(found, half);
        for (ptrdiff_t c = 0; c < channels; c++)
            halves[half] += VARIANT(half_of_ints)(
                                *(const Ints *)VARIANT(few_sums)(b, c, left), half) *
                            few->means[c];
        if (metric == SSD)
            halves[half] = 1 - (VARIANT(half_of_ints)(squares, half) - halves[half] * few->twice +
                                few->own) * few->share;
    }
    return VARIANT(joined)(halves);
}

/* Scores of some windows of a row, and what is noted of them: all in registers. */
static INLINE void VARIANT(few_scores)(const VARIANT(Band) *b, const Task *t,
                                       const VARIANT(FewBytes) *few, const VARIANT(Rule) *rule,
                                       const float *x, ptrdiff_t left, ptrdiff_t count,
                                       Metric metric, int is_direct, ptrdiff_t channels,
                                       float *out, VARIANT(Segment) *segment, VARIANT(Masks) *opens)
{
    typedef VARIANT(Singles) Floats;
    typedef VARIANT(Masks) Masks;
    typedef VARIANT(FloatsAnywhere) Anywhere;
    const double times = !is_direct ? t->gain : metric == ZNCC ? 1 / few->size : 1;
    const Floats none = {0}, scale = none + (float)(rule->scale * times), one = none + 1;
    const Floats lowest = none + (float)rule->lowest;
    Floats best = segment->best, lows = segment->lows;
    Masks is_open_in_any = {0};
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        Floats score = VARIANT(few_products)(b, few, x + i, left + i, metric, is_direct, channels);
        Floats low = none;
        if (metric != SSD) {
            low = VARIANT(few_spreads)(b, left + i, metric, channels, few->size);
            const Masks has_spread = low > none;
            const Floats root = scale * VARIANT(inverse_root)(low);
            /* A sum with 0 is never -0, whose sign would be that of the rounding of X. */
            score = score * (Floats)((Masks)root & has_spread) + none;
            score = VARIANT(larger_of)(-one, score);
        }
        score = VARIANT(smaller_of)(one, score);
        if (i + LANES <= count)
            *(Anywhere *)(out + i) = score;
        else { /* behind the last window its score and spread again */
            memcpy(out + i, &score, (size_t)(count - i) * sizeof *out);
            for (ptrdiff_t lane = count - i; lane < LANES; lane++)
                score[lane] = score[count - i - 1], low[lane] = low[count - i - 1];
        }
        best = VARIANT(larger_of)(score, best);
        if (metric == SSD)
            continue;
        const Masks is_flat = low <= none, is_open = (low < lowest) & ~is_flat;
        const Masks is_lower = (low < lows) & ~is_open & ~is_flat;
        is_open_in_any |= is_open;
        lows = (Floats)((is_lower & (Masks)low) | (~is_lower & (Masks)lows));
    }
    segment->best = best, segment->lows = lows;
    *opens = is_open_in_any;
}
