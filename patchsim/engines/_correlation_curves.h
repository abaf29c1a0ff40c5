/* What the pixels of an image are put into for the terms of sad; included by _correlation_tile.h.
 *
 * For any kernel these are sines and cosines. Fewer terms do for one whose values are known, with
 * functions that are made for these (engines/common/fitted.py): curves, straight from each of KNOTS
 * points to the next one, evenly over the kernel's range.
 */

/* What `wave` makes of pixels for a term of sad: sin or cos of odd x, where x grows from -pi / 2 to
 * pi / 2 over the range for which the terms are made. */
typedef struct {
    V series[SERIES], constant, slope, twice, square, before;
    ptrdiff_t steps;
} NAME(Wave);

static INLINE NAME(Wave) NAME(wave_of)(ptrdiff_t term)
{
    const int is_cosine = term % 2 == 1;
    NAME(Wave) w;
    for (int i = 0; i < SERIES; i++)
        w.series[i] = ALL(WAVE_SERIES[is_cosine][i]);
    w.constant = ALL(is_cosine), w.slope = ALL(1 - is_cosine);
    w.twice = ALL(is_cosine ? -2 : 2), w.square = ALL(is_cosine ? 4 : -4);
    w.before = ALL(is_cosine ? 1 : -1);
    w.steps = term / 2;
    return w;
}

/* The nearest values from -1 to 1. */
static INLINE V NAME(clipped)(V z)
{
    const V one = ALL(1);
#if defined(CORRELATION_X86) && !IS_DOUBLE && L == 16
    return (V)_mm512_max_ps(_mm512_min_ps((__m512)z, (__m512)one), (__m512)-one);
#elif defined(CORRELATION_X86) && !IS_DOUBLE && L == 8
    return (V)_mm256_max_ps(_mm256_min_ps((__m256)z, (__m256)one), (__m256)-one);
#elif defined(CORRELATION_X86) && !IS_DOUBLE && L == 4
    return (V)_mm_max_ps(_mm_min_ps((__m128)z, (__m128)one), (__m128)-one);
#else
    return NAME(larger)(-NAME(larger)(-z, -one), -one);
#endif
}

/* By a polynomial for x, then sin((n + 2) x) = 2 cos(2 x) sin(n x) - sin((n - 2) x), and the same
 * for cosines. */
static INLINE V NAME(wave)(V z, const NAME(Wave) *w)
{
    const V squared = z * z;
    V now = w->series[SERIES - 1];
    for (int i = SERIES - 2; i >= 0; i--)
        now = now * squared + w->series[i];
    now *= z * w->slope + w->constant;
    const V twice = now * now * w->square + w->twice;
    V before = now * w->before;
    for (ptrdiff_t i = 0; i < w->steps; i++) {
        const V next = twice * now - before;
        before = now, now = next;
    }
    return now;
}

/* A curve's values at u, from 0 to below PIECES, are bases + slopes u, of the piece that u lies in. */
typedef struct {
    REAL bases[PIECES] __attribute__((aligned(64))), slopes[PIECES] __attribute__((aligned(64)));
} NAME(Curve);

static INLINE void NAME(set_curve)(NAME(Curve) *curve, const double *knots)
{
    for (int i = 0; i < PIECES; i++) {
        const double slope = knots[i + 1] - knots[i];
        curve->slopes[i] = (REAL)slope;
        curve->bases[i] = (REAL)(knots[i] - i * slope);
    }
}

static INLINE V NAME(on_curve)(V u, const NAME(Curve) *curve)
{
    V bases, slopes;
#if defined(CORRELATION_X86) && !IS_DOUBLE && L == 16
    _Static_assert(PIECES == 32, "a permutation takes two vectors");
    const __m512i piece = _mm512_cvttps_epi32((__m512)u);
#define TAKEN(table)                                                                           \
    (V) _mm512_permutex2var_ps(_mm512_load_ps(table), piece, _mm512_load_ps((table) + 16))
    bases = TAKEN(curve->bases), slopes = TAKEN(curve->slopes);
#undef TAKEN
#else
    for (int lane = 0; lane < L; lane++) {
        const int piece = (int)u[lane];
        bases[lane] = curve->bases[piece], slopes[lane] = curve->slopes[piece];
    }
#endif
    return bases + slopes * u;
}
