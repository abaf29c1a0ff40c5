/* Scores from sums over windows and products, in registers; included by _correlation_core.h once for each
 * variant.
 *
 * Nothing is stored between the steps, because scores of small kernels take longer than their products.
 * `make` of _correlation_core.h has the rows with windows of one value, of which rounding may leave a
 * spread, and direct sums of bytes whose squares do not fit 31 bits.
 */
typedef uint32_t VARIANT(Bits) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int64_t VARIANT(Longs) __attribute__((vector_size(4 * LANES), aligned(8), may_alias));
typedef uint64_t VARIANT(LongBits) __attribute__((vector_size(4 * LANES), aligned(8), may_alias));

/* Half of a vector of sums from `at` on, in double precision. */
static INLINE VARIANT(Doubles) VARIANT(half_of_sums)(const void *sums, ptrdiff_t at, int half, SumKind kind)
{
    if (kind == FEW_SUMS)
        return VARIANT(half_of_ints)(*(const VARIANT(Ints) *)((const int32_t *)sums + at), half);
    at += half * (LANES / 2);
    if (kind == WHOLE_SUMS)
        return __builtin_convertvector(*(const VARIANT(Longs) *)((const int64_t *)sums + at),
                                       VARIANT(Doubles));
    return *(const VARIANT(Doubles) *)((const double *)sums + at);
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
#elif LANES == 4 && defined(__SSE2__)
    return (VARIANT(Singles))_mm_div_ps(_mm_set1_ps(1), _mm_sqrt_ps((__m128)v));
#else
    VARIANT(Singles) root;
    for (int i = 0; i < LANES; i++)
        root[i] = sqrtf(v[i]);
    return 1 / root;
#endif
}

/* What the scores of a kernel are made of, whichever the window. */
typedef struct {
    double size;                 /* pixels of a channel */
    double less[MOST_CHANNELS];  /* sum (K - 128) */
    double means[MOST_CHANNELS]; /* k, of ncc over the gain */
    double gain, own, share;     /* of ssd: the gain, sum K^2, and 1 over the total; of sad own is 1
                                  * less what is added to X, over the total */
    uint32_t whole;              /* sum K^2 of few bytes */
    double unit, square;         /* of the band, and its square */
    float least;                 /* the smallest spread, of floats */
    int is_vast;                 /* n E - sum S^2 may be MOST_WHOLE or more */
    const void *s, *e;           /* of the row that is scored: [channels][pitch] and [pitch]; of sad e
                                  * is what pixels add, or NULL */
    ptrdiff_t pitch;
} VARIANT(Parts);

static void VARIANT(set_parts)(const VARIANT(Band) *b, const Task *t, VARIANT(Parts) *parts)
{
    const int is_shifted = t->type >= FLOATS && t->metric == SSD;
    const double gain = t->gain / b->unit;
    parts->size = (double)(t->height * t->width);
    parts->gain = gain, parts->share = 1 / t->total;
    parts->unit = b->unit, parts->square = b->unit * b->unit;
    parts->is_vast = correlation_most_under_root(t) / 4 >= MOST_WHOLE; /* (Popoviciu) */
    /* Rounding may leave nothing of a small spread of floats, and single precision is too coarse for
     * it: only windows of one value are flat for sure. */
    parts->least = t->type >= FLOATS ? (float)(LEAST_SPREAD / 2) : -FLT_MAX;
    parts->s = b->s, parts->e = b->e, parts->pitch = b->layout->x_pitch;
    if (t->metric == SAD) {
        parts->own = 1 - t->offset * parts->share;
        parts->e = b->has_excess ? b->e : NULL;
        return;
    }
    parts->own = is_shifted ? t->norm * t->norm * t->gain * t->gain : t->own;
    parts->whole = t->own >= 0 && t->own < 0x1p31 ? (uint32_t)(t->own + 0.5) : 0;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const double mean = t->means[c] - (is_shifted ? b->shift[c] : 0);
        parts->less[c] = VARIANT(sum_less_128)(t, c);
        parts->means[c] = t->metric == SSD ? mean : mean / gain;
        parts->own += is_shifted ? parts->size * mean * mean : 0;
    }
}

/* n E - sum S^2 of zncc, or E of ncc, of a vector of windows, in the band's units. */
static INLINE VARIANT(Singles) VARIANT(spreads_of)(const VARIANT(Parts) *parts, ptrdiff_t left,
                                                   Metric metric, ptrdiff_t channels, SumKind kind)
{
    typedef VARIANT(Doubles) Doubles;
    const void *const s = parts->s, *const e = parts->e;
    const ptrdiff_t pitch = parts->pitch;
    Doubles halves[2];
    if (kind == FEW_SUMS && metric == NCC)
        return __builtin_convertvector(*(const VARIANT(Ints) *)((const int32_t *)e + left),
                                       VARIANT(Singles));
    for (int half = 0; half < 2; half++) {
        Doubles whole = {0};
        if (kind == WHOLE_SUMS && metric == ZNCC) { /* as `spread_of_wholes` has it */
            typedef VARIANT(LongBits) Bits;
            const ptrdiff_t at = left + half * (LANES / 2);
            Bits all = *(const Bits *)((const uint64_t *)e + at) * (uint64_t)parts->size;
            for (ptrdiff_t c = 0; c < channels; c++) {
                const Bits sum = *(const Bits *)((const uint64_t *)s + c * pitch + at);
                all -= sum * sum;
            }
            halves[half] = whole = __builtin_convertvector((VARIANT(Longs))all, Doubles);
            if (!parts->is_vast)
                continue;
        }
        halves[half] = VARIANT(half_of_sums)(e, left, half, kind);
        halves[half] *= metric == ZNCC ? parts->size : 1;
        for (ptrdiff_t c = 0; c < channels && metric == ZNCC; c++) {
            const Doubles sum = VARIANT(half_of_sums)(s, c * pitch + left, half, kind);
            halves[half] -= sum * sum;
        }
        halves[half] *= kind == WIDE_SUMS ? parts->square : 1;
        if (kind == WHOLE_SUMS && metric == ZNCC) {
            const VARIANT(Longs) fits = halves[half] < MOST_WHOLE;
            halves[half] = (Doubles)((fits & (VARIANT(Longs))whole) |
                                     (~fits & (VARIANT(Longs))halves[half]));
        }
    }
    VARIANT(Singles) spreads = VARIANT(joined)(halves);
    if (kind == WIDE_SUMS)
        spreads = VARIANT(larger_of)(spreads, (VARIANT(Singles)){0} + parts->least);
    return spreads;
}

/* X of a vector of windows over the gain; of ncc X + sum k S; of ssd and sad their scores. X of direct
 * sums of few bytes is not over the gain, and of zncc n times as large. */
static INLINE VARIANT(Singles) VARIANT(products_of)(const VARIANT(Parts) *parts, const void *x,
                                                    ptrdiff_t left, Metric metric, int is_direct,
                                                    ptrdiff_t channels, SumKind kind)
{
    typedef VARIANT(Doubles) Doubles;
    typedef VARIANT(Ints) Ints;
    typedef VARIANT(Bits) Bits;
    const void *const s = parts->s, *const e = parts->e;
    const ptrdiff_t pitch = parts->pitch;
    const int32_t *const few = s;
    Doubles halves[2];
    if (!is_direct && metric == ZNCC)
        return (VARIANT(Singles))*(const VARIANT(FloatsAnywhere) *)x;
    if (metric == SAD) {
        const VARIANT(Singles) products = (VARIANT(Singles))*(const VARIANT(FloatsAnywhere) *)x;
        VARIANT(Singles) score = (float)parts->own - products * (float)(parts->gain * parts->share);
        if (!e)
            return score;
        for (int half = 0; half < 2; half++)
            halves[half] = VARIANT(half_of_sums)(e, left, half, kind);
        return score - VARIANT(joined)(halves) * (float)parts->share;
    }
    if (is_direct && kind == FEW_SUMS && metric == ZNCC) {
        /* Of K - 128: n sum I (K - 128) -> n sum I (K - mean K). */
        for (int half = 0; half < 2; half++) {
            halves[half] = VARIANT(half_of_ints)(*(const Ints *)x, half) * parts->size;
            for (ptrdiff_t c = 0; c < channels; c++)
                halves[half] -=
                    VARIANT(half_of_sums)(few, c * pitch + left, half, kind) * parts->less[c];
        }
        return VARIANT(joined)(halves);
    }
    if (is_direct && kind == FEW_SUMS) {
        /* Whole numbers, whose sums fit though their parts may not. */
        Bits all = *(const Bits *)x;
        if (metric == SSD) { /* of `walk_apart` */
            all = *(const Bits *)((const int32_t *)e + left) - (all << 1) + parts->whole;
            return 1 - __builtin_convertvector((Ints)all, VARIANT(Singles)) * (float)parts->share;
        }
        for (ptrdiff_t c = 0; c < channels; c++) /* sum I K */
            all += *(const Bits *)(few + c * pitch + left) << 7;
        return __builtin_convertvector((Ints)all, VARIANT(Singles));
    }
    for (int half = 0; half < 2; half++) {
        if (is_direct)
            halves[half] = *((const Doubles *)x + half) * parts->unit;
        else
            halves[half] = VARIANT(half_of_floats)(
                (VARIANT(Singles))*(const VARIANT(FloatsAnywhere) *)x, half);
        if (metric == SSD)
            halves[half] *= parts->gain;
        for (ptrdiff_t c = 0; c < channels && metric != ZNCC; c++)
            halves[half] +=
                VARIANT(half_of_sums)(s, c * pitch + left, half, kind) * parts->means[c];
        if (metric == SSD)
            halves[half] = 1 - (VARIANT(half_of_sums)(e, left, half, kind) -
                                halves[half] * 2 + parts->own) * parts->share;
    }
    return VARIANT(joined)(halves);
}

/* Scores of the windows `left` to `right` of a row, and what is noted of them in the segments of their
 * blocks. Returns whether there are open ones: their segments are marked, and do not have the scores. */
static INLINE int VARIANT(scores_of)(const Task *t, const VARIANT(Parts) *all_parts,
                                     const VARIANT(Rule) *rule, const void *x, ptrdiff_t left,
                                     ptrdiff_t right, Metric metric, int is_direct, ptrdiff_t channels,
                                     SumKind kind, float *out, VARIANT(Segment) *segment)
{
    typedef VARIANT(Singles) Floats;
    typedef VARIANT(Masks) Masks;
    typedef VARIANT(FloatsAnywhere) Anywhere;
    const VARIANT(Parts) parts = *all_parts; /* that no score is written over */
    const ptrdiff_t item = is_direct && kind != FEW_SUMS ? 8 : 4, block = t->block;
    const int has_spreads = metric == ZNCC || metric == NCC;
    const double times = !is_direct || kind != FEW_SUMS ? t->gain
                         : metric == ZNCC               ? 1 / parts.size
                                                        : 1;
    const Floats none = {0}, scale = none + (float)(rule->scale * times), one = none + 1;
    const Floats lowest = none + (float)rule->lowest;
    int is_open_in_any = 0;
    for (ptrdiff_t begin = left, end; begin < right; begin = end, segment++) {
        end = (begin / block + 1) * block;
        end = end < right ? end : right;
        Floats best = segment->best, lows = segment->lows;
        Masks opens = {0};
        for (ptrdiff_t i = begin; i < end; i += LANES) {
            Floats score = VARIANT(products_of)(&parts, (const uint8_t *)x + (i - left) * item, i, metric,
                                                is_direct, channels, kind);
            Floats low = none;
            if (has_spreads) {
                low = VARIANT(spreads_of)(&parts, i, metric, channels, kind);
                const Masks has_spread = low > none;
                const Floats root = scale * VARIANT(inverse_root)(low);
                /* A sum with 0 is never -0, whose sign would be that of the rounding of X. */
                score = score * (Floats)((Masks)root & has_spread) + none;
                score = VARIANT(larger_of)(-one, score);
            }
            score = VARIANT(smaller_of)(one, score);
            if (i + LANES <= end)
                *(Anywhere *)(out + i - left) = score;
            else { /* behind the last window its score and spread again */
                const ptrdiff_t count = end - i;
                float ends[2][LANES] __attribute__((aligned(64)));
                *(Floats *)ends[0] = score, *(Floats *)ends[1] = low;
                memcpy(out + i - left, ends[0], (size_t)count * sizeof *out);
                for (ptrdiff_t lane = count; lane < LANES; lane++)
                    for (int j = 0; j < 2; j++)
                        ends[j][lane] = ends[j][count - 1];
                score = *(Floats *)ends[0], low = *(Floats *)ends[1];
            }
            best = VARIANT(larger_of)(score, best);
            if (!has_spreads)
                continue;
            const Masks is_flat = low <= none, is_open = (low < lowest) & ~is_flat;
            const Masks is_lower = (low < lows) & ~is_open & ~is_flat;
            opens |= is_open;
            lows = (Floats)((is_lower & (Masks)low) | (~is_lower & (Masks)lows));
        }
        if (has_spreads) {
            segment->lows = lows, segment->is_open = VARIANT(is_any)(opens);
            is_open_in_any |= segment->is_open;
            if (segment->is_open)
                continue;
        }
        segment->best = best;
    }
    return is_open_in_any;
}

/* The same of the row of a tile, with constants that let the loops become few instructions. */
static __attribute__((noinline)) int VARIANT(make_in_registers)(
    const VARIANT(Band) *b, const Task *t, const VARIANT(Parts) *parts, const VARIANT(Rule) *rule,
    ptrdiff_t row, ptrdiff_t left, ptrdiff_t right, VARIANT(Segment) *segments)
{
    const int is_direct = t->products != NULL;
    const ptrdiff_t at = (t - b->task) * b->step + row * b->layout->x_pitch + left;
    float *out = t->map + (b->top + row) * t->cols + left;
    const void *x = b->products + at;
    if (is_direct && !b->has_few)
        x = (const double *)(const void *)b->products + at;
#define SCORES(metric, is_direct, channels, kind)                                              \
    return VARIANT(scores_of)(t, parts, rule, x, left, right, metric, is_direct, channels, kind, out, \
                              segments)
#define OF_KIND(metric, is_direct)                                                             \
    do {                                                                                       \
        if (b->has_few && t->channels == 1)                                                    \
            SCORES(metric, is_direct, 1, FEW_SUMS);                                            \
        else if (b->has_few)                                                                   \
            SCORES(metric, is_direct, t->channels, FEW_SUMS);                                  \
        else if (b->has_wholes)                                                                \
            SCORES(metric, is_direct, t->channels, WHOLE_SUMS);                                \
        else                                                                                   \
            SCORES(metric, is_direct, t->channels, WIDE_SUMS);                                 \
    } while (0)
#define OF_METRIC(metric)                                                                      \
    do {                                                                                       \
        if (is_direct)                                                                         \
            OF_KIND(metric, 1);                                                                \
        else                                                                                   \
            OF_KIND(metric, 0);                                                                \
    } while (0)
    if (t->metric == SAD)
        SCORES(SAD, 0, t->channels, WIDE_SUMS);
    if (t->metric == ZNCC)
        OF_METRIC(ZNCC);
    else if (t->metric == NCC)
        OF_METRIC(NCC);
    else
        OF_METRIC(SSD);
#undef OF_METRIC
#undef OF_KIND
#undef SCORES
}
