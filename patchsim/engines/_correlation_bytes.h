/* Sums over windows and scores of bytes whose sums of squares fit 31 bits, at a stride of 1 along
 * rows; included by _correlation_core.h once for each variant.
 *
 * The sums are int32_t, LANES at once, and no pass over windows does less than it can while they are
 * in registers: scores of small kernels take longer than their products.
 */
typedef int32_t VARIANT(Ints) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
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

/* Some compilers convert vectors in two halves, where there is an instruction for the whole. */
static INLINE VARIANT(Doubles) VARIANT(as_doubles)(const int32_t *values)
{
#if LANES == 16
    return (VARIANT(Doubles))_mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i *)values));
#else
    return __builtin_convertvector(*(const VARIANT(HalfInts) *)values, VARIANT(Doubles));
#endif
}

static INLINE VARIANT(Doubles) VARIANT(widened)(const float *values)
{
#if LANES == 16
    return (VARIANT(Doubles))_mm512_cvtps_pd(_mm256_loadu_ps(values));
#else
    return __builtin_convertvector(*(const VARIANT(HalfFloats) *)values, VARIANT(Doubles));
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

/* The spreads of some windows of a row, as `measure_spreads` has them. */
static INLINE void VARIANT(few_spreads)(const VARIANT(Band) *b, ptrdiff_t left, ptrdiff_t count,
                                        Metric metric, ptrdiff_t channels, VARIANT(Spreads) *out)
{
    typedef VARIANT(Doubles) Doubles;
    const int32_t *squares = VARIANT(few_squares)(b, left);
    const Doubles n = (Doubles){0} + (double)(b->task->height * b->task->width);
    for (ptrdiff_t i = 0; i < count; i += LANES / 2) {
        Doubles spread = VARIANT(as_doubles)(squares + i);
        if (metric == ZNCC) {
            spread *= n;
            for (ptrdiff_t c = 0; c < channels; c++) {
                const Doubles sum = VARIANT(as_doubles)(VARIANT(few_sums)(b, c, left) + i);
                spread -= sum * sum;
            }
        }
        *(Doubles *)(out->spread + i) = spread;
        if (metric != SSD)
            *(VARIANT(HalfFloats) *)(out->under + i) =
                __builtin_convertvector(spread, VARIANT(HalfFloats));
    }
    if (metric == SSD)
        return;
    for (ptrdiff_t i = count; i % LANES; i++)
        out->under[i] = out->under[count - 1];
    for (ptrdiff_t i = 0; i < count; i += LANES)
        *(VARIANT(Singles) *)(out->inverse + i) =
            VARIANT(inverse_root)(*(const VARIANT(Singles) *)(out->under + i));
}

/* X of some windows; of ncc X + sum k S, both over the gain, and of ssd their scores. */
static INLINE const float *VARIANT(few_products)(const VARIANT(Band) *b, const Task *t,
                                                 const VARIANT(Spreads) *spreads, const float *x,
                                                 ptrdiff_t left, ptrdiff_t count, Metric metric,
                                                 int is_direct, ptrdiff_t channels, float *out)
{
    typedef VARIANT(Doubles) Doubles;
    typedef VARIANT(HalfFloats) HalfFloats;
    if (metric == ZNCC && !is_direct)
        return x;
    const double size = (double)(t->height * t->width);
    const Doubles none = {0}, less = none + 1 / t->gain, of_direct = none + 1 / (size * t->gain);
    double taken[MOST_CHANNELS];
    for (ptrdiff_t c = 0; c < channels && is_direct; c++)
        taken[c] = VARIANT(sum_less_128)(t, c);
    const Doubles twice = none + 2 * t->gain, own = none + t->own, share = none + 1 / t->total;
    for (ptrdiff_t i = 0; i < count; i += LANES / 2) {
        Doubles found, shift = none; /* sum k S */
        /* Direct sums are those of K - 128: n sum I (K - 128) -> n sum I (K - mean K). */
        found = is_direct ? VARIANT(as_doubles)((const int32_t *)(const void *)x + i)
                          : VARIANT(widened)(x + i);
        if (is_direct)
            found *= size;
        for (ptrdiff_t c = 0; c < channels && (is_direct || metric != ZNCC); c++) {
            const Doubles sum = VARIANT(as_doubles)(VARIANT(few_sums)(b, c, left) + i);
            if (is_direct)
                found -= sum * taken[c];
            if (metric != ZNCC)
                shift += sum * t->means[c];
        }
        if (is_direct)
            found *= of_direct;
        if (metric == NCC)
            found += shift * less;
        if (metric == SSD)
            found = 1 - (*(const Doubles *)(spreads->spread + i) - found * twice - shift * 2 + own) *
                            share;
        *(HalfFloats *)(out + i) = __builtin_convertvector(found, HalfFloats);
    }
    return out;
}

/* Scores of some windows of a row, and what is noted of them. */
static INLINE void VARIANT(few_scores)(const VARIANT(Band) *b, const Task *t,
                                       const VARIANT(Spreads) *spreads, const VARIANT(Rule) *rule,
                                       const float *x, ptrdiff_t left, ptrdiff_t count,
                                       Metric metric, int is_direct, ptrdiff_t channels,
                                       float *out, VARIANT(Segment) *segment, VARIANT(Masks) *opens)
{
    typedef VARIANT(Singles) Floats;
    typedef VARIANT(Masks) Masks;
    typedef VARIANT(FloatsAnywhere) Anywhere;
    float found[BLOCK] __attribute__((aligned(64)));
    const float *values = VARIANT(few_products)(b, t, spreads, x, left, count, metric, is_direct,
                                                channels, found);
    const Floats none = {0}, scale = none + (float)(rule->scale * t->gain), one = none + 1;
    const Floats lowest = none + (float)rule->lowest;
    Floats best = segment->best, lows = segment->lows;
    Masks is_open_in_any = {0};
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        Floats score = *(const Anywhere *)(values + i), low = none;
        if (metric != SSD) {
            low = *(const Floats *)(spreads->under + i);
            const Masks has_spread = low > none;
            const Floats root = scale * *(const Floats *)(spreads->inverse + i);
            /* A sum with 0 is never -0, whose sign would be that of the rounding of X. */
            score = score * (Floats)((Masks)root & has_spread) + none;
            const Masks is_less = score < -one;
            score = (Floats)((is_less & (Masks)-one) | (~is_less & (Masks)score));
        }
        const Masks is_more = score > one;
        score = (Floats)((is_more & (Masks)one) | (~is_more & (Masks)score));
        if (i + LANES <= count)
            *(Anywhere *)(out + i) = score;
        else { /* behind the last window its score again, as its spread is there again */
            float made[LANES] __attribute__((aligned(64)));
            *(Floats *)made = score;
            memcpy(out + i, made, (size_t)(count - i) * sizeof *out);
            for (ptrdiff_t lane = count - i; lane < LANES; lane++)
                made[lane] = made[count - i - 1];
            score = *(Floats *)made;
        }
        const Masks is_better = score > best;
        best = (Floats)((is_better & (Masks)score) | (~is_better & (Masks)best));
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
