/* The transforms of a tile; included once for each precision of a variant.
 *
 * REAL is float or double (IS_DOUBLE), L the number of them in a vector (16 at the most), NAME(x) a name of
 * this precision, TWIDDLES the table of this precision.
 *
 * An axis of `side` values is m x 16, m = side / 16: n = 16 n1 + n0, k = k1 + m k0 (Cooley and
 * Tukey, 1965). The lanes of a vector lie along x until a transpose of 16 x 16, and along y after
 * it.
 */
#define PARTS (16 / L) /* vectors of a row of 16 */
typedef REAL NAME(V) __attribute__((vector_size(sizeof(REAL) * L), may_alias));
typedef REAL NAME(Unaligned)
    __attribute__((vector_size(sizeof(REAL) * L), aligned(sizeof(REAL)), may_alias));
typedef float NAME(Floats) __attribute__((vector_size(4 * L), aligned(4), may_alias));
typedef const REAL (*NAME(Twiddles))[MOST_FIRST][16]; /* those of a side */
#define V NAME(V)
#define AT(p) (*(V *)(p))
#define ALL(x) ((V){0} + (REAL)(x))

#include "_correlation_convert.h"

/* The larger values; those of q where one is no number. */
static INLINE V NAME(larger)(V p, V q)
{
#if defined(CORRELATION_X86) && IS_DOUBLE && L == 8
    return (V)_mm512_max_pd((__m512d)p, (__m512d)q);
#elif defined(CORRELATION_X86) && IS_DOUBLE && L == 4
    return (V)_mm256_max_pd((__m256d)p, (__m256d)q);
#elif defined(CORRELATION_X86) && IS_DOUBLE && L == 2
    return (V)_mm_max_pd((__m128d)p, (__m128d)q);
#elif defined(CORRELATION_X86) && !IS_DOUBLE && L == 16
    return (V)_mm512_max_ps((__m512)p, (__m512)q);
#elif defined(CORRELATION_X86) && !IS_DOUBLE && L == 8
    return (V)_mm256_max_ps((__m256)p, (__m256)q);
#elif defined(CORRELATION_X86) && !IS_DOUBLE && L == 4
    return (V)_mm_max_ps((__m128)p, (__m128)q);
#else
    typedef __typeof__(p > q) Mask;
    const Mask is_larger = p > q;
    return (V)((is_larger & (Mask)p) | (~is_larger & (Mask)q));
#endif
}

static INLINE void NAME(fourth)(V *a, V *b, V *c, V *d, V *ai, V *bi, V *ci, V *di)
{
    V s0 = *a + *c, s1 = *a - *c, s2 = *b + *d, s3 = *b - *d;
    V t0 = *ai + *ci, t1 = *ai - *ci, t2 = *bi + *di, t3 = *bi - *di;
    *a = s0 + s2, *ai = t0 + t2, *c = s0 - s2, *ci = t0 - t2;
    *b = s1 + t3, *bi = t1 - s3, *d = s1 - t3, *di = t1 + s3;
}

static INLINE void NAME(turn)(V *re, V *im, double cosine, double sine)
{
    V c = ALL(cosine), s = ALL(sine), old = *re;
    *re = old * c - *im * s;
    *im = old * s + *im * c;
}

/* 16 values in natural order, in and out; with re and im swapped the inverse, times 16. */
static INLINE void NAME(dft16)(V *re, V *im)
{
    const double c = 0.92387953251128675613, s = 0.38268343236508977173, h = 0.70710678118654752440;
#define FOURTH(a, step)                                                                       \
    NAME(fourth)(re + (a), re + (a) + (step), re + (a) + 2 * (step), re + (a) + 3 * (step),     \
               im + (a), im + (a) + (step), im + (a) + 2 * (step), im + (a) + 3 * (step))
    FOURTH(0, 4), FOURTH(1, 4), FOURTH(2, 4), FOURTH(3, 4);
    NAME(turn)(re + 5, im + 5, c, -s);
    NAME(turn)(re + 6, im + 6, h, -h);
    NAME(turn)(re + 7, im + 7, s, -c);
    NAME(turn)(re + 9, im + 9, h, -h);
    V old = re[10];
    re[10] = im[10], im[10] = -old;
    NAME(turn)(re + 11, im + 11, -h, -h);
    NAME(turn)(re + 13, im + 13, s, -c);
    NAME(turn)(re + 14, im + 14, -h, -h);
    NAME(turn)(re + 15, im + 15, -c, s);
    FOURTH(0, 1), FOURTH(4, 1), FOURTH(8, 1), FOURTH(12, 1);
#undef FOURTH
    V res[16], ims[16];
    UNROLL16 for (int k = 0; k < 16; k++) res[k] = re[4 * (k & 3) + (k >> 2)], ims[k] = im[4 * (k & 3) + (k >> 2)];
    UNROLL16 for (int k = 0; k < 16; k++) re[k] = res[k], im[k] = ims[k];
}

static INLINE void NAME(dft2)(V *re, V *im)
{
    const V a = re[0], b = im[0];
    re[0] = a + re[1], im[0] = b + im[1];
    re[1] = a - re[1], im[1] = b - im[1];
}

static INLINE void NAME(dft3)(V *re, V *im)
{
    const V half = ALL(0.5), root = ALL(0.86602540378443864676);
    const V s = re[1] + re[2], t = im[1] + im[2];
    const V d = (re[1] - re[2]) * root, e = (im[1] - im[2]) * root;
    const V p = re[0] - s * half, q = im[0] - t * half;
    re[0] += s, im[0] += t;
    re[1] = p + e, im[1] = q - d;
    re[2] = p - e, im[2] = q + d;
}

static INLINE void NAME(dft4)(V *re, V *im)
{
    NAME(fourth)(re, re + 1, re + 2, re + 3, im, im + 1, im + 2, im + 3);
}

static INLINE void NAME(dft5)(V *re, V *im)
{
    const V c1 = ALL(0.30901699437494742410), c2 = ALL(-0.80901699437494742410);
    const V s1 = ALL(0.95105651629515357212), s2 = ALL(0.58778525229247312917);
    const V s = re[1] + re[4], t = im[1] + im[4], d = re[1] - re[4], e = im[1] - im[4];
    const V u = re[2] + re[3], v = im[2] + im[3], f = re[2] - re[3], g = im[2] - im[3];
    const V p1 = re[0] + s * c1 + u * c2, q1 = im[0] + t * c1 + v * c2;
    const V p2 = re[0] + s * c2 + u * c1, q2 = im[0] + t * c2 + v * c1;
    const V x1 = e * s1 + g * s2, y1 = d * s1 + f * s2;
    const V x2 = e * s2 - g * s1, y2 = d * s2 - f * s1;
    re[0] += s + u, im[0] += t + v;
    re[1] = p1 + x1, im[1] = q1 - y1, re[4] = p1 - x1, im[4] = q1 + y1;
    re[2] = p2 + x2, im[2] = q2 - y2, re[3] = p2 - x2, im[3] = q2 + y2;
}

/* A transform of A x B values in natural order, in and out, as dft16; TURNS has cos and -sin of
 * 2 pi i / (A B). */
#define COMBINED(name, A, B, BY_A, BY_B, TURNS)                                               \
    static inline void name(V *re, V *im)                                                     \
    {                                                                                         \
        V r[B][A], i[B][A];                                                                   \
        UNROLL16 for (int a = 0; a < A; a++)                                                  \
        {                                                                                     \
            V p[B], q[B];                                                                     \
            UNROLL16 for (int b = 0; b < B; b++) p[b] = re[a + A * b], q[b] = im[a + A * b];  \
            BY_B(p, q);                                                                       \
            UNROLL16 for (int b = 0; b < B; b++)                                              \
            {                                                                                 \
                if (a * b > 0)                                                                \
                    NAME(turn)(&p[b], &q[b], TURNS[0][a * b], TURNS[1][a * b]);               \
                r[b][a] = p[b], i[b][a] = q[b];                                               \
            }                                                                                 \
        }                                                                                     \
        UNROLL16 for (int b = 0; b < B; b++)                                                  \
        {                                                                                     \
            BY_A(r[b], i[b]);                                                                 \
            UNROLL16 for (int a = 0; a < A; a++) re[b + B * a] = r[b][a], im[b + B * a] = i[b][a]; \
        }                                                                                     \
    }
COMBINED(NAME(dft8), 2, 4, NAME(dft2), NAME(dft4), TURNS_8)
COMBINED(NAME(dft10), 2, 5, NAME(dft2), NAME(dft5), TURNS_10)
COMBINED(NAME(dft12), 3, 4, NAME(dft3), NAME(dft4), TURNS_12)
COMBINED(NAME(dft20), 4, 5, NAME(dft4), NAME(dft5), TURNS_20)
COMBINED(NAME(dft24), 3, 8, NAME(dft3), NAME(dft8), TURNS_24)
COMBINED(NAME(dft32), 4, 8, NAME(dft4), NAME(dft8), TURNS_32)
COMBINED(NAME(dft40), 5, 8, NAME(dft5), NAME(dft8), TURNS_40)
COMBINED(NAME(dft48), 4, 12, NAME(dft4), NAME(dft12), TURNS_48)
COMBINED(NAME(dft64), 8, 8, NAME(dft8), NAME(dft8), TURNS_64)
#undef COMBINED

/* The first or last stage of an axis whose side is not 256: m values, as dft16. */
static __attribute__((noinline)) void NAME(dft)(ptrdiff_t m, V *re, V *im)
{
    switch (m) {
    case 8: NAME(dft8)(re, im); return;
    case 10: NAME(dft10)(re, im); return;
    case 12: NAME(dft12)(re, im); return;
    case 16: NAME(dft16)(re, im); return;
    case 20: NAME(dft20)(re, im); return;
    case 24: NAME(dft24)(re, im); return;
    case 32: NAME(dft32)(re, im); return;
    case 40: NAME(dft40)(re, im); return;
    case 48: NAME(dft48)(re, im); return;
    default: NAME(dft64)(re, im); return;
    }
}

/* 16 rows of PARTS vectors, [part][row]: blocks of L x L, and the values of each. */
static INLINE void NAME(transpose)(V a[PARTS][16])
{
    V out[PARTS][16];
#define SWAP(distance, first, second)                                                        \
    UNROLL16 for (int k = 0; k < L; k++) if (!(k & (distance)))                              \
    {                                                                                        \
        V p = t[k], q = t[k + (distance)];                                                   \
        t[k] = SHUFFLE(p, q, first), t[k + (distance)] = SHUFFLE(p, q, second);              \
    }
    UNROLL16 for (int i = 0; i < PARTS; i++) UNROLL16 for (int j = 0; j < PARTS; j++)
    {
        V t[L];
        UNROLL16 for (int k = 0; k < L; k++) t[k] = a[j][i * L + k];
#if L == 16
        SWAP(8, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
             (8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
        SWAP(4, (0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
             (4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
        SWAP(2, (0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
             (2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
        SWAP(1, (0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
             (1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#elif L == 8
        SWAP(4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
        SWAP(2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
        SWAP(1, (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15))
#elif L == 4
        SWAP(2, (0, 1, 4, 5), (2, 3, 6, 7))
        SWAP(1, (0, 4, 2, 6), (1, 5, 3, 7))
#else
        SWAP(1, (0, 2), (1, 3))
#endif
        UNROLL16 for (int k = 0; k < L; k++) out[i][j * L + k] = t[k];
    }
#undef SWAP
    UNROLL16 for (int i = 0; i < PARTS; i++) UNROLL16 for (int k = 0; k < 16; k++) a[i][k] = out[i][k];
}

#if !IS_DOUBLE
/* Doubles less a constant, times `unit`: in single precision after that, because a value and the
 * constant may have more digits, and exponents, than it has. */
static INLINE V NAME(narrowed)(const double *values, double less, double unit)
{
    typedef double Half __attribute__((vector_size(4 * L), aligned(8), may_alias));
    const Half lesses = (Half){0} + less, units = (Half){0} + unit;
    const Half low = (*(const Half *)values - lesses) * units;
    const Half high = (*(const Half *)(values + L / 2) - lesses) * units;
#if defined(CORRELATION_X86) && L == 16
    const __m512 half = _mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)low));
    return (V)_mm512_insertf32x8(half, _mm512_cvtpd_ps((__m512d)high), 1);
#elif defined(CORRELATION_X86) && L == 8
    const __m256 half = _mm256_castps128_ps256(_mm256_cvtpd_ps((__m256d)low));
    return (V)_mm256_insertf128_ps(half, _mm256_cvtpd_ps((__m256d)high), 1);
#elif defined(CORRELATION_X86) && L == 4
    return (V)_mm_movelh_ps(_mm_cvtpd_ps((__m128d)low), _mm_cvtpd_ps((__m128d)high));
#else
    V all = {0};
    for (int lane = 0; lane < L; lane++)
        all[lane] = (REAL)(lane < L / 2 ? low[lane % (L / 2)] : high[lane % (L / 2)]);
    return all;
#endif
}
#endif

/* Values of a plane less a constant; those of floats times `unit`. Those that are put into waves or
 * curves are times `unit` first. */
static INLINE V NAME(values)(const void *plane, ptrdiff_t at, Type type, V less, V unit,
                             Factor factor)
{
    if (type == BYTES || type == WORDS) {
        const V values = type == BYTES ? NAME(of_bytes)((const uint8_t *)plane + at)
                                       : NAME(of_words)((const uint16_t *)plane + at);
        return factor != NONE ? values * unit - less : values - less;
    }
    if (factor != NONE)
        return NAME(of_floats)((const float *)plane + at) * unit - less;
#if IS_DOUBLE
    if (type == DOUBLES)
        return (NAME(of_doubles)((const double *)plane + at) - less) * unit;
#endif
    return (NAME(of_floats)((const float *)plane + at) - less) * unit;
}

#include "_correlation_curves.h"

/* The first stage of two tiles: y's n1 -> k1. What is taken off their pixels is a constant of each, or
 * that of each square of its mosaic, [squares]; of sad they are put into a wave of the term, or a
 * curve, and are those that `into_range` makes. Returns the sum of squares of what was read. */
static INLINE double NAME(down)(const void *one, const void *other, ptrdiff_t pitch, Type type,
                                const double *less, const float *const mosaics[2], int has_mosaics,
                                double scale, Factor factor, ptrdiff_t term, const double *knots,
                                Sides sides, REAL *tile)
{
    _Static_assert(MOSAIC == 16, "a square is as wide as a cell, and as high as 16 rows");
    const ptrdiff_t my = first_of_y(sides), mx = sides.x / 16, group = group_values(mx);
    const NAME(Twiddles) twiddles = TWIDDLES[my];
    const NAME(Wave) wave = NAME(wave_of)(term);
    NAME(Curve) curve;
    if (factor == CURVE)
        NAME(set_curve)(&curve, knots);
    const double times = factor == CURVE ? OF_PIECES : 1, more = factor == CURVE ? PIECES / 2 : 0;
    const V unit = ALL(scale * times);
    const V less_one = ALL(less[0] * times - more), less_other = ALL(less[1] * times - more);
    double squares = 0;
    for (int n0 = 0; n0 < 16; n0++) {
        const ptrdiff_t half = sides.folds > 1 ? n0 / 8 : 0; /* of 16 folded rows are two of squares */
        V energy = {0};
        for (ptrdiff_t x = 0; x < mx; x++)
            for (int lane = 0; lane < 16; lane += L) {
                V re[MOST_FIRST], im[MOST_FIRST];
#define LESS(i, constant)                                                                     \
    (has_mosaics ? (V)ALL(mosaics[i][(square_row * sides.folds + half) * mx + x]) : (V)(constant))
#if IS_DOUBLE
#define VALUES(plane, all, one) NAME(values)(plane, at, type, all, unit, factor)
#else
#define VALUES(plane, all, one)                                                               \
    (type == DOUBLES ? NAME(narrowed)((const double *)(plane) + at, one, scale)               \
                     : NAME(values)(plane, at, type, all, unit, factor))
#endif
#define READ(n1)                                                                              \
    const ptrdiff_t at = (16 * (n1) + n0) * pitch + 16 * x + lane, square_row = n1;           \
    re[n1] = VALUES(one, LESS(0, less_one), less[0]);                                         \
    im[n1] = VALUES(other, LESS(1, less_other), less[1]);                                     \
    if (factor == WAVE) {                                                                     \
        re[n1] = NAME(wave)(re[n1], &wave);                                                   \
        im[n1] = NAME(wave)(im[n1], &wave);                                                   \
    } else if (factor == CURVE) {                                                             \
        re[n1] = NAME(on_curve)(re[n1], &curve);                                              \
        im[n1] = NAME(on_curve)(im[n1], &curve);                                              \
    }                                                                                         \
    energy += re[n1] * re[n1] + im[n1] * im[n1];
#define WRITE(k)                                                                              \
    const V c = ALL(twiddles[0][k][n0]), s = ALL(twiddles[1][k][n0]);                         \
    REAL *out = tile + (k)*group + x * CELL_VALUES + 16 * n0 + lane;                          \
    AT(out) = re[k] * c - im[k] * s;                                                          \
    AT(out + 256) = re[k] * s + im[k] * c;
                if (my == 16) { /* in registers */
                    UNROLL16 for (int n1 = 0; n1 < 16; n1++) { READ(n1) }
                    NAME(dft16)(re, im);
                    UNROLL16 for (int k = 0; k < 16; k++) { WRITE(k) }
                } else {
                    for (ptrdiff_t n1 = 0; n1 < my; n1++) { READ(n1) }
                    NAME(dft)(my, re, im);
                    for (ptrdiff_t k = 0; k < my; k++) { WRITE(k) }
                }
#undef LESS
#undef VALUES
#undef READ
#undef WRITE
            }
        for (int lane = 0; lane < L; lane++)
            squares += (double)energy[lane];
    }
    return squares;
}

#define DOWN(name, type, factor, has_mosaics)                                                  \
    static double NAME(name)(const void *one, const void *other, ptrdiff_t pitch,              \
                             const double *less, const float *const mosaics[2], double unit,   \
                             ptrdiff_t term, const double *knots, Sides sides, REAL *tile)     \
    {                                                                                          \
        return NAME(down)(one, other, pitch, type, less, mosaics, has_mosaics, unit, factor,   \
                          term, knots, sides, tile);                                           \
    }
DOWN(down_bytes, BYTES, NONE, 0)
DOWN(down_words, WORDS, NONE, 0)
DOWN(down_floats, FLOATS, NONE, 0)
DOWN(down_doubles, DOUBLES, NONE, 0)
#if !IS_DOUBLE
DOWN(down_waves_of_bytes, BYTES, WAVE, 0)
DOWN(down_waves_of_words, WORDS, WAVE, 0)
DOWN(down_waves_of_floats, FLOATS, WAVE, 0)
DOWN(down_curves_of_bytes, BYTES, CURVE, 0)
DOWN(down_curves_of_words, WORDS, CURVE, 0)
DOWN(down_curves_of_floats, FLOATS, CURVE, 0)
DOWN(down_mosaics_of_bytes, BYTES, NONE, 1)
DOWN(down_mosaics_of_words, WORDS, NONE, 1)
DOWN(down_mosaics_of_floats, FLOATS, NONE, 1)
#endif
#undef DOWN

typedef double (*NAME(Down))(const void *one, const void *other, ptrdiff_t pitch, const double *less,
                             const float *const mosaics[2], double unit, ptrdiff_t term,
                             const double *knots, Sides sides, REAL *tile);

static NAME(Down) NAME(down_of)(const Task *t, int has_mosaics)
{
#if !IS_DOUBLE /* which mosaics and sad do not take */
    if (has_mosaics)
        return t->type == BYTES   ? NAME(down_mosaics_of_bytes)
               : t->type == WORDS ? NAME(down_mosaics_of_words)
                                  : NAME(down_mosaics_of_floats);
    if (t->metric == SAD && t->curves)
        return t->type == BYTES   ? NAME(down_curves_of_bytes)
               : t->type == WORDS ? NAME(down_curves_of_words)
                                  : NAME(down_curves_of_floats);
    if (t->metric == SAD)
        return t->type == BYTES   ? NAME(down_waves_of_bytes)
               : t->type == WORDS ? NAME(down_waves_of_words)
                                  : NAME(down_waves_of_floats);
#endif
    (void)has_mosaics;
    return t->type == BYTES    ? NAME(down_bytes)
           : t->type == WORDS  ? NAME(down_words)
           : t->type == FLOATS ? NAME(down_floats)
                               : NAME(down_doubles);
}

/* x's n0 -> k0 and y's, of one k1 of y and x, with a transpose between; forward or inverse. */
static INLINE void NAME(inner)(REAL *g, int is_inverse)
{
    V re[PARTS][16], im[PARTS][16];
    for (int j = 0; j < PARTS; j++) {
        UNROLL16 for (int k = 0; k < 16; k++) re[j][k] = AT(g + 16 * k + j * L), im[j][k] = AT(g + 256 + 16 * k + j * L);
        NAME(dft16)(is_inverse ? im[j] : re[j], is_inverse ? re[j] : im[j]);
    }
    NAME(transpose)(re);
    NAME(transpose)(im);
    for (int j = 0; j < PARTS; j++) {
        NAME(dft16)(is_inverse ? im[j] : re[j], is_inverse ? re[j] : im[j]);
        UNROLL16 for (int k = 0; k < 16; k++) AT(g + 16 * k + j * L) = re[j][k], AT(g + 256 + 16 * k + j * L) = im[j][k];
    }
}

/* Asks for values that are read soon, or for none. */
static INLINE void NAME(ask_for)(const REAL *values, ptrdiff_t first, ptrdiff_t count)
{
    for (ptrdiff_t i = first; values && i < first + count; i += 64 / (ptrdiff_t)sizeof(REAL))
        __builtin_prefetch(values + i, 0, 2);
}

/* The stages after the first one, of one k1 of y: mx of a tile. `next`: what is multiplied then, of
 * which one half is asked for in the rows, and the other one in the columns. */
static void NAME(forward)(REAL *group, ptrdiff_t mx, const REAL *next)
{
    const NAME(Twiddles) twiddles = TWIDDLES[mx];
    for (int row = 0; row < 16; row++) {
        NAME(ask_for)(next, row * 16 * mx, 16 * mx);
        for (int lane = 0; lane < 16; lane += L) {
            REAL *values = group + 16 * row + lane;
            V re[MOST_FIRST], im[MOST_FIRST];
#define READ(n1) re[n1] = AT(values + (n1)*CELL_VALUES), im[n1] = AT(values + (n1)*CELL_VALUES + 256);
#define WRITE(k)                                                                              \
    const V c = AT(&twiddles[0][k][lane]), s = AT(&twiddles[1][k][lane]);                     \
    AT(values + (k)*CELL_VALUES) = re[k] * c - im[k] * s;                                     \
    AT(values + (k)*CELL_VALUES + 256) = re[k] * s + im[k] * c;
            if (mx == 16) {
                UNROLL16 for (int n1 = 0; n1 < 16; n1++) { READ(n1) }
                NAME(dft16)(re, im);
                UNROLL16 for (int k = 0; k < 16; k++) { WRITE(k) }
            } else {
                for (ptrdiff_t n1 = 0; n1 < mx; n1++) { READ(n1) }
                NAME(dft)(mx, re, im);
                for (ptrdiff_t k = 0; k < mx; k++) { WRITE(k) }
            }
#undef READ
#undef WRITE
        }
    }
    for (ptrdiff_t x = 0; x < mx; x++) {
        NAME(ask_for)(next, 256 * (mx + x), 256);
        NAME(inner)(group + x * CELL_VALUES, 0);
    }
}

/* The way back of `forward`. */
static void NAME(backward)(REAL *group, ptrdiff_t mx, const REAL *next)
{
    const NAME(Twiddles) twiddles = TWIDDLES[mx];
    for (ptrdiff_t x = 0; x < mx; x++) {
        NAME(ask_for)(next, 256 * x, 256);
        NAME(inner)(group + x * CELL_VALUES, 1);
    }
    for (int row = 0; row < 16; row++) {
        NAME(ask_for)(next, (16 + row) * 16 * mx, 16 * mx);
        for (int lane = 0; lane < 16; lane += L) {
            REAL *values = group + 16 * row + lane;
            V re[MOST_FIRST], im[MOST_FIRST];
#define READ(k)                                                                               \
    const V c = AT(&twiddles[0][k][lane]), s = AT(&twiddles[1][k][lane]);                     \
    const V a = AT(values + (k)*CELL_VALUES), b = AT(values + (k)*CELL_VALUES + 256);         \
    re[k] = a * c + b * s, im[k] = b * c - a * s;
#define WRITE(n1) AT(values + (n1)*CELL_VALUES) = re[n1], AT(values + (n1)*CELL_VALUES + 256) = im[n1];
            if (mx == 16) {
                UNROLL16 for (int k = 0; k < 16; k++) { READ(k) }
                NAME(dft16)(im, re);
                UNROLL16 for (int n1 = 0; n1 < 16; n1++) { WRITE(n1) }
            } else {
                for (ptrdiff_t k = 0; k < mx; k++) { READ(k) }
                NAME(dft)(mx, im, re);
                for (ptrdiff_t n1 = 0; n1 < mx; n1++) { WRITE(n1) }
            }
#undef READ
#undef WRITE
        }
    }
}

/* L windows of row y, from x on: those of every `stride` th window, as far as `cols` go. */
static INLINE void NAME(put)(const Place *p, ptrdiff_t y, ptrdiff_t pitch, ptrdiff_t x,
                             ptrdiff_t stride, V values)
{
    const int is_whole = stride == 1 && x + L <= p->cols;
    /* The first lane that a window begins at, and its place in the row. */
    ptrdiff_t lane = 0, col = x;
    if (stride > 1)
        col = (x + stride - 1) / stride, lane = col * stride - x;
#if IS_DOUBLE
    if (p->is_wide) {
        double *wide = (double *)p->out + y * pitch;
        if (is_whole)
            *(NAME(Unaligned) *)(wide + x) = values;
        else
            for (; lane < L && col < p->cols; lane += stride, col++)
                wide[col] = values[lane];
        return;
    }
#endif
    float *row = (float *)p->out + y * pitch;
    if (is_whole)
        *(NAME(Floats) *)(row + x) = __builtin_convertvector(values, NAME(Floats));
    else
        for (; lane < L && col < p->cols; lane += stride, col++)
            row[col] = (float)values[lane];
}

/* The last stage of two tiles, y's k1 -> n1: the products of those windows that are asked for.
 * Returns what no product exceeds, of windows that are not asked for either. */
static double NAME(up)(const REAL *tile, Sides sides, const Place *places, int count,
                       ptrdiff_t pitch, ptrdiff_t stride_y, ptrdiff_t stride_x)
{
    const ptrdiff_t my = first_of_y(sides), mx = sides.x / 16, group = group_values(mx);
    const NAME(Twiddles) twiddles = TWIDDLES[my];
    ptrdiff_t cols = places[0].cols;
    if (count > 1 && places[1].cols > cols)
        cols = places[1].cols;
    const ptrdiff_t reach = ((cols - 1) * stride_x) / 16 + 1;
    V most = {0};
    for (int n0 = 0; n0 < 16; n0++)
        for (ptrdiff_t x = 0; x < mx; x++)
            for (int lane = 0; lane < 16; lane += L) {
                V re[MOST_FIRST], im[MOST_FIRST], energy = {0};
#define READ(k)                                                                               \
    const V c = ALL(twiddles[0][k][n0]), s = ALL(twiddles[1][k][n0]);                         \
    REAL *in = (REAL *)tile + (k)*group + x * CELL_VALUES + 16 * n0 + lane;                   \
    const V a = AT(in), b = AT(in + 256);                                                     \
    re[k] = a * c + b * s, im[k] = b * c - a * s;                                             \
    energy += a * a + b * b;
#define WRITE(n1)                                                                             \
    const ptrdiff_t y = 16 * (n1) + n0;                                                       \
    if (stride_y == 1 && y < p->rows)                                                         \
        NAME(put)(p, y, pitch, 16 * x + lane, stride_x, values[n1]);                          \
    else if (stride_y > 1 && y % stride_y == 0 && y / stride_y < p->rows)                     \
        NAME(put)(p, y / stride_y, pitch, 16 * x + lane, stride_x, values[n1]);
                if (my == 16) {
                    UNROLL16 for (int k = 0; k < 16; k++) { READ(k) }
                } else
                    for (ptrdiff_t k = 0; k < my; k++) { READ(k) }
                most = NAME(larger)(most, energy);
                if (x >= reach)
                    continue;
                if (my == 16)
                    NAME(dft16)(im, re);
                else
                    NAME(dft)(my, im, re);
                for (int i = 0; i < count; i++) {
                    const Place *p = &places[i];
                    const V *values = i ? im : re;
                    if (my == 16) {
                        UNROLL16 for (int n1 = 0; n1 < 16; n1++) { WRITE(n1) }
                    } else
                        for (ptrdiff_t n1 = 0; n1 < my; n1++) { WRITE(n1) }
                }
#undef READ
#undef WRITE
            }
    double largest = 0;
    for (int lane = 0; lane < L; lane++)
        largest = largest > most[lane] ? largest : (double)most[lane];
    return sqrt((double)my * largest); /* of sums of my (Cauchy and Schwarz) */
}

/* The transform of a kernel times `share`: of y its first `groups` of k1. The kernel's rows are
 * `pitch` values apart. */
static void NAME(transform)(const double *taps, ptrdiff_t height, ptrdiff_t width, ptrdiff_t pitch,
                            Sides sides, ptrdiff_t groups, double share, REAL *tile)
{
    const ptrdiff_t my = first_of_y(sides), mx = sides.x / 16, group = group_values(mx);
    const NAME(Twiddles) twiddles = TWIDDLES[my];
    for (int n0 = 0; n0 < 16; n0++)
        for (ptrdiff_t x = 0; x < mx; x++)
            for (int lane = 0; lane < 16; lane += L) {
                V re[MOST_FIRST], im[MOST_FIRST];
                for (ptrdiff_t n1 = 0; n1 < my; n1++) {
                    const ptrdiff_t y = 16 * n1 + n0, left = 16 * x + lane;
                    re[n1] = im[n1] = (V){0};
                    for (int i = 0; i < L && y < height && left + i < width; i++)
                        re[n1][i] = (REAL)(taps[y * pitch + left + i] * share);
                }
                NAME(dft)(my, re, im);
                for (ptrdiff_t k = 0; k < groups; k++) {
                    const V c = ALL(twiddles[0][k][n0]), s = ALL(twiddles[1][k][n0]);
                    REAL *out = tile + k * group + x * CELL_VALUES + 16 * n0 + lane;
                    AT(out) = re[k] * c - im[k] * s;
                    AT(out + 256) = re[k] * s + im[k] * c;
                }
            }
    for (ptrdiff_t k = 0; k < groups; k++)
        NAME(forward)(tile + k * group, mx, NULL);
}

/* What `pair` takes of a kernel: its transform over the number of its values, because the inverse is
 * not divided by it; of a folded one those of its even and odd rows, over twice that number. */
static void NAME(spectrum)(const double *taps, ptrdiff_t height, ptrdiff_t width, ptrdiff_t pitch,
                           Sides sides, REAL *out)
{
    const double share = 1.0 / (double)(sides.y * sides.x);
    if (sides.folds == 1) {
        NAME(transform)(taps, height, width, pitch, sides, first_of_y(sides), share, out);
        return;
    }
    const ptrdiff_t groups = first_of_y(sides) / 2 + 1;
    NAME(transform)(taps, (height + 1) / 2, width, 2 * pitch, sides, groups, share, out);
    NAME(transform)(taps + pitch, height / 2, width, 2 * pitch, sides, groups, share,
                    out + groups * group_values(sides.x / 16));
}

/* Products of two tiles with a kernel, of a channel and one k1 of y: they are put or added to `sum`,
 * which may be `own`. Their powers, where they are the last ones, and the largest powers of the
 * frequencies of the pixels and of the kernel are added to what is known of these. */
static INLINE void NAME(multiply)(const REAL *own, const REAL *kernel, REAL *sum, ptrdiff_t mx,
                                  int is_first, int is_last, V *powers, V *peak, V *kernel_peak)
{
    V power = *powers, most = *peak, kernel_most = *kernel_peak;
    for (ptrdiff_t j = 0; j < mx; j++)
        for (int i = 0; i < 256; i += L) {
            const ptrdiff_t v = CELL_VALUES * j + i;
            const V re = AT((REAL *)own + v), im = AT((REAL *)own + v + 256);
            const V kre = AT((REAL *)kernel + v), kim = AT((REAL *)kernel + v + 256);
            V products = re * kre + im * kim, crossed = im * kre - re * kim;
            if (!is_first)
                products += AT(sum + v), crossed += AT(sum + v + 256);
            AT(sum + v) = products, AT(sum + v + 256) = crossed;
            if (is_last)
                power += products * products + crossed * crossed;
            most = NAME(larger)(most, re * re + im * im);
            kernel_most = NAME(larger)(kernel_most, kre * kre + kim * kim);
        }
    *powers = power, *peak = most, *kernel_peak = kernel_most;
}

#include "_correlation_folded.h"

/* The stages after the first one, of one k1 of y or, of folded tiles, of k1 and -k1: those of all
 * channels, their products with the kernels of a pass and, after the last one, the way back. `sums`:
 * of each kernel. */
static INLINE void NAME(multiply_groups)(const Task *t, ptrdiff_t count, ptrdiff_t pass,
                                         ptrdiff_t k1, const REAL *const *spectra, REAL *work,
                                         REAL *const *sums, double *power, V *peaks,
                                         V (*kernel_peaks)[MOST_CHANNELS])
{
    const ptrdiff_t passes = passes_of(t), tile = tile_values(t->sides);
    const ptrdiff_t my = first_of_y(t->sides), mx = t->sides.x / 16, group = group_values(mx);
    const ptrdiff_t plane = spectrum_values(t->sides), mate = (my - k1) % my;
    const int is_folded = t->sides.folds > 1, has_mate = is_folded && mate != k1;
    const int is_last_pass = pass == passes - 1;
    /* Beside the tiles one spectrum stays in a cache of the processor's core, several do not. */
    const int is_far = is_folded || count * passes * t->channels > 1;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const REAL *next = spectra[0] + (pass * t->channels + c) * plane + k1 * group;
        NAME(forward)(work + c * tile + k1 * group, mx, is_far ? next : NULL);
        if (has_mate)
            NAME(forward)(work + c * tile + mate * group, mx, next + plane / 2);
    }
    for (ptrdiff_t k = 0; k < count; k++) {
        V powers = {0};
        for (ptrdiff_t c = 0; c < t->channels; c++) {
            const REAL *own = work + c * tile;
            const REAL *kernel = spectra[k] + (pass * t->channels + c) * plane + k1 * group;
            const int is_first = pass == 0 && c == 0;
            const int is_last = is_last_pass && c == t->channels - 1;
            if (is_folded)
                NAME(multiply_folded)(own, kernel, kernel + plane / 2, sums[k], t->sides, k1,
                                      is_first, is_last, &powers, &peaks[c], &kernel_peaks[k][c]);
            else
                NAME(multiply)(own + k1 * group, kernel, sums[k] + k1 * group, mx, is_first, is_last,
                               &powers, &peaks[c], &kernel_peaks[k][c]);
        }
        for (int lane = 0; lane < L; lane++)
            power[k] += (double)powers[lane];
        if (!is_last_pass)
            continue;
        NAME(backward)(sums[k] + k1 * group, mx, /* of several channels the first */
                       k + 1 < count ? spectra[k + 1] + pass * t->channels * plane + k1 * group
                                     : NULL);
        if (has_mate)
            NAME(backward)(sums[k] + mate * group, mx, NULL);
    }
}

/* The products of kernels of one size with two tiles, summed over the channels, and over the parts
 * of a kernel that is larger than a tile and the terms of sad. The tiles are transformed once.
 *
 * tasks       [count], of each kernel one
 * one, other  [channels] planes, from the first pixel of each tile on, `plane` bytes from a channel
 *             to the next and `pitch` values from a row to the next
 * less        [channels][2]: the constants of both tiles
 * mosaics     [2][channels][squares]: those of both in their places, or NULL
 * spectra     of each kernel: [parts][terms][channels][tile]
 * work        [channels][tile], `tile` the values of a tile
 * totals      [count][tile], of several kernels, parts or terms
 * places      [tiles] of the first kernel; those of the next one lie `step` values further
 * rounding    out: what stands for the rounding of a product of each kernel
 *
 * That of the transforms of pixels and kernel is about their norms' product over a side, as far as it
 * is spread over all frequencies, and that of the way back is about the root mean square of the
 * products. But the roundings of one frequency that stands out, as in stripes, may gather in
 * another one, and those of one product in another; and those of a line of pixels in the products of
 * a kernel that is as thin (`gathered`).
 */
static void NAME(pair)(const Task *tasks, ptrdiff_t count, const uint8_t *one,
                       const uint8_t *other, ptrdiff_t plane, ptrdiff_t pitch,
                       const double (*less)[2], const float *const *mosaics, double unit,
                       const REAL *const *spectra, REAL *work, REAL *totals,
                       const Place *places, int tiles, ptrdiff_t step, ptrdiff_t x_pitch,
                       double *rounding)
{
    const Task *t = tasks;
    const ptrdiff_t passes = passes_of(t), tile = tile_values(t->sides);
    const ptrdiff_t my = first_of_y(t->sides), groups = t->sides.folds > 1 ? my / 2 + 1 : my;
    const double side = sqrt((double)(t->sides.y / t->sides.folds * t->sides.x));
    const ptrdiff_t item = correlation_item(t);
    const int is_in_place = passes == 1 && count == 1; /* over the pixels of the first channel */
    const NAME(Down) down = NAME(down_of)(t, mosaics != NULL);
    REAL *sums[MOST_KERNELS];
    for (ptrdiff_t k = 0; k < count; k++)
        sums[k] = is_in_place ? work : totals + k * tile;
    double power[MOST_KERNELS] = {0}, peaked[MOST_KERNELS] = {0};
    memset(rounding, 0, (size_t)count * sizeof *rounding);
    for (ptrdiff_t pass = 0; pass < passes; pass++) {
        const ptrdiff_t part = pass / t->terms;
        const ptrdiff_t y = part / t->parts_x * t->part_height;
        const ptrdiff_t x = part % t->parts_x * t->part_width;
        const ptrdiff_t at = (y * pitch / t->sides.folds + x) * item;
        double squares = 0;
        /* Largest powers of frequencies: of the pixels, and of each kernel. */
        V peaks[MOST_CHANNELS], kernel_peaks[MOST_KERNELS][MOST_CHANNELS];
        memset(peaks, 0, (size_t)t->channels * sizeof *peaks);
        for (ptrdiff_t k = 0; k < count; k++)
            memset(kernel_peaks[k], 0, (size_t)t->channels * sizeof *peaks);
        for (ptrdiff_t c = 0; c < t->channels; c++) {
            const double share = t->metric != SAD ? unit : t->halves[c] > 0 ? 1 / t->halves[c] : 0;
            const float *own[2] = {NULL};
            for (int i = 0; mosaics && i < 2; i++)
                own[i] = mosaics[i] + c * squares_of(t->sides);
            const ptrdiff_t term = pass % t->terms;
            const double *knots = t->curves ? curve_of_term(t, c, term) : NULL;
            squares += down(one + c * plane + at, other + c * plane + at, pitch, less[c], own,
                            share, term, knots, t->sides, work + c * tile);
        }
        for (ptrdiff_t k = 0; k < count; k++)
            rounding[k] += gathered(t) * sqrt(squares) * tasks[k].norms[pass] / side;
        for (ptrdiff_t k1 = 0; k1 < groups; k1++)
            NAME(multiply_groups)(t, count, pass, k1, spectra, work, sums, power, peaks, kernel_peaks);
        for (ptrdiff_t k = 0; k < count; k++)
            for (ptrdiff_t c = 0; c < t->channels; c++) {
                double most = 0, kernel_most = 0;
                for (int lane = 0; lane < L; lane++) {
                    most = most > peaks[c][lane] ? most : (double)peaks[c][lane];
                    kernel_most = kernel_most > kernel_peaks[k][c][lane]
                                      ? kernel_most
                                      : (double)kernel_peaks[k][c][lane];
                }
                peaked[k] += sqrt(most) * sqrt(kernel_most);
            }
    }
    for (ptrdiff_t k = 0; k < count; k++) {
        Place own[2];
        for (int i = 0; i < tiles; i++) {
            own[i] = places[i];
            own[i].out = (float *)places[i].out + k * step;
        }
        const double largest =
            NAME(up)(sums[k], t->sides, own, tiles, x_pitch, t->stride_y, t->stride_x);
        /* The root mean square by Parseval's theorem. */
        rounding[k] = rounding[k] + sqrt(power[k]) + (peaked[k] + largest) / 2;
    }
}
#undef V
#undef AT
#undef ALL
#undef PARTS
