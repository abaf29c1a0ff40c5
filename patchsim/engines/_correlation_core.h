/* From the pixels of a task to its scores; included once for each variant.
 *
 * LANES is the number of floats in a vector, VARIANT(x) a name of this variant. The compiler's
 * vector instructions are those of the variant when this is included.
 */
#define REAL float
#define IS_DOUBLE 0
#define L LANES
#define NAME(x) VARIANT(x##_single)
#define TWIDDLES SINGLE_TWIDDLES
#include "_correlation_tile.h"
#undef REAL
#undef IS_DOUBLE
#undef L
#undef NAME
#undef TWIDDLES

#define REAL double
#define IS_DOUBLE 1
#define L (LANES / 2)
#define NAME(x) VARIANT(x##_double)
#define TWIDDLES DOUBLE_TWIDDLES
#include "_correlation_tile.h"
#undef REAL
#undef IS_DOUBLE
#undef L
#undef NAME
#undef TWIDDLES

typedef double VARIANT(Doubles)
    __attribute__((vector_size(4 * LANES), aligned(8), may_alias)); /* LANES / 2 of them */

#include "_correlation_halves.h"

/* Running sums within a vector of LANES / 2, and its last value in every lane. */
#if LANES == 16
#define RUNNING(zero, v)                                                                       \
    v += SHUFFLE(zero, v, (0, 8, 9, 10, 11, 12, 13, 14));                                      \
    v += SHUFFLE(zero, v, (0, 1, 8, 9, 10, 11, 12, 13));                                       \
    v += SHUFFLE(zero, v, (0, 1, 2, 3, 8, 9, 10, 11))
#define LAST(v) SHUFFLE(v, v, (7, 7, 7, 7, 7, 7, 7, 7))
#elif LANES == 8
#define RUNNING(zero, v)                                                                       \
    v += SHUFFLE(zero, v, (0, 4, 5, 6));                                                       \
    v += SHUFFLE(zero, v, (0, 1, 4, 5))
#define LAST(v) SHUFFLE(v, v, (3, 3, 3, 3))
#else
#define RUNNING(zero, v) v += SHUFFLE(zero, v, (0, 2))
#define LAST(v) SHUFFLE(v, v, (1, 1))
#endif

/* Copies image rows into planes [channels, lines, pitch]. What lies beyond the image repeats its
 * last row and column: transforms need values there, and scores do not depend on them. */
#define FILL(NAME, PIXEL)                                                                      \
    static INLINE void VARIANT(NAME##_line)(const PIXEL *in, ptrdiff_t width,                  \
                                            ptrdiff_t channels, PIXEL *out, ptrdiff_t plane,   \
                                            ptrdiff_t pitch)                                   \
    {                                                                                          \
        for (ptrdiff_t c = 0; c < channels; c++) {                                             \
            PIXEL *line = out + c * plane;                                                     \
            for (ptrdiff_t x = 0; x < width; x++)                                              \
                line[x] = in[x * channels + c];                                                \
            for (ptrdiff_t x = width; x < pitch; x++)                                          \
                line[x] = line[width - 1];                                                     \
        }                                                                                      \
    }                                                                                          \
    static void VARIANT(NAME)(const Task *t, const Layout *l, ptrdiff_t top, ptrdiff_t lines,  \
                              ptrdiff_t width, PIXEL *out)                                     \
    {                                                                                          \
        const ptrdiff_t plane = l->lines * l->pitch;                                           \
        for (ptrdiff_t y = 0; y < l->lines; y++, out += l->pitch) {                            \
            if (y >= lines) {                                                                  \
                for (ptrdiff_t c = 0; c < t->channels; c++)                                    \
                    memcpy(out + c * plane, out + c * plane - l->pitch,                        \
                           (size_t)l->pitch * sizeof(PIXEL));                                  \
                continue;                                                                      \
            }                                                                                  \
            const PIXEL *in = (const PIXEL *)(t->image + (top + y) * t->pitch);                \
            /* A constant number of channels lets the loop become shuffles. */                 \
            if (t->channels == 1)                                                              \
                VARIANT(NAME##_line)(in, width, 1, out, plane, l->pitch);                      \
            else if (t->channels == 3)                                                         \
                VARIANT(NAME##_line)(in, width, 3, out, plane, l->pitch);                      \
            else                                                                               \
                VARIANT(NAME##_line)(in, width, t->channels, out, plane, l->pitch);            \
        }                                                                                      \
    }
FILL(fill_bytes, uint8_t)
FILL(fill_words, uint16_t)
FILL(fill_floats, float)
FILL(fill_doubles, double)
#undef FILL

/* Sums of windows while a band is walked from its top: those of columns, then along a row.
 *
 * SUM and SQUARE hold the sums of a column, RUN and WIDE those of a window: double, where it holds
 * n E exactly or they are of floats, or 64 bits. Of floats `less` is taken off, [channels], so that
 * fewer digits are lost.
 */
#define COLUMNS(NAME, PIXEL, SUM, SQUARE, A, GROWTH)                                           \
    static void VARIANT(NAME##_begin)(const PIXEL *planes, ptrdiff_t plane, ptrdiff_t pitch,   \
                                      ptrdiff_t channels, ptrdiff_t height, ptrdiff_t columns, \
                                      const double *less, SUM *sums, SQUARE *squares)          \
    {                                                                                          \
        memset(sums, 0, (size_t)(channels * columns) * sizeof *sums);                          \
        memset(squares, 0, (size_t)columns * sizeof *squares);                                 \
        for (ptrdiff_t c = 0; c < channels; c++)                                               \
            for (ptrdiff_t y = 0; y < height; y++) {                                           \
                const PIXEL *p = planes + c * plane + y * pitch;                               \
                SUM *sum = sums + c * columns;                                                 \
                (void)less;                                                                    \
                for (ptrdiff_t x = 0; x < pitch; x++) {                                        \
                    sum[x] += (SUM)A(p[x]);                                                    \
                    squares[x] += (SQUARE)A(p[x]) * (SQUARE)A(p[x]);                           \
                }                                                                              \
            }                                                                                  \
    }                                                                                          \
    static void VARIANT(NAME##_move)(const PIXEL *above, const PIXEL *below, ptrdiff_t plane,  \
                                     ptrdiff_t pitch, ptrdiff_t channels, ptrdiff_t columns,   \
                                     const double *less, SUM *sums, SQUARE *squares)           \
    {                                                                                          \
        for (ptrdiff_t c = 0; c < channels; c++) {                                             \
            const PIXEL *p = below + c * plane, *q = above + c * plane;                        \
            SUM *sum = sums + c * columns;                                                     \
            (void)less;                                                                        \
            for (ptrdiff_t x = 0; x < pitch; x++) {                                            \
                sum[x] += (SUM)A(p[x]) - (SUM)A(q[x]);                                         \
                squares[x] += GROWTH((SQUARE)A(p[x]), (SQUARE)A(q[x]));                        \
            }                                                                                  \
        }                                                                                      \
    }
#define ITSELF(pixel) (pixel)
#define SHIFTED(pixel) ((double)(pixel) - less[c])
#define IN_WHOLE(one, other) (((one) - (other)) * ((one) + (other)))
#define IN_FLOATS(one, other) ((one) * (one) - (other) * (other)) /* rounded as where it was added */
COLUMNS(bytes, uint8_t, int32_t, int32_t, ITSELF, IN_WHOLE)
COLUMNS(words, uint16_t, int32_t, int64_t, ITSELF, IN_WHOLE)
COLUMNS(floats, float, double, double, SHIFTED, IN_FLOATS)
COLUMNS(doubles, double, double, double, SHIFTED, IN_FLOATS)
#undef COLUMNS
#undef ITSELF
#undef SHIFTED
#undef IN_WHOLE
#undef IN_FLOATS

/* Those of windows along a row, of the sums of columns; those of floats are of either precision. */
#define MOMENTS(NAME, SUM, SQUARE, RUN, WIDE)                                                  \
    /* Differences of a row's columns are summed up, LANES / 2 at once. */                     \
    static INLINE void VARIANT(NAME##_along)(const void *columns, int is_square, ptrdiff_t width,\
                                             ptrdiff_t stride, ptrdiff_t cols, WIDE *out)      \
    {                                                                                          \
        typedef SUM Sums                                                                       \
            __attribute__((vector_size(LANES / 2 * sizeof(SUM)), aligned(4), may_alias));      \
        typedef SQUARE Squares                                                                 \
            __attribute__((vector_size(LANES / 2 * sizeof(SQUARE)), aligned(4), may_alias));   \
        typedef WIDE Wide __attribute__((vector_size(4 * LANES), aligned(8), may_alias));      \
        const SUM *sums = columns;                                                             \
        const SQUARE *squares = columns;                                                       \
        RUN run = 0;                                                                           \
        ptrdiff_t first = 0;                                                                   \
        Wide firsts = {0};                                                                     \
        for (; first + LANES / 2 <= width; first += LANES / 2)                                 \
            if (is_square)                                                                     \
                firsts += __builtin_convertvector(*(const Squares *)(squares + first), Wide);  \
            else                                                                               \
                firsts += __builtin_convertvector(*(const Sums *)(sums + first), Wide);        \
        for (int i = 0; i < LANES / 2; i++)                                                    \
            run += (RUN)firsts[i];                                                             \
        for (; first < width; first++)                                                         \
            run += is_square ? (RUN)squares[first] : (RUN)sums[first];                         \
        out[0] = (WIDE)run;                                                                    \
        if (stride > 1) {                                                                      \
            for (ptrdiff_t col = 1, x = 0; col < cols; col++) {                                \
                for (ptrdiff_t i = 0; i < stride; i++, x++)                                    \
                    run += is_square ? (RUN)squares[x + width] - (RUN)squares[x]               \
                                     : (RUN)sums[x + width] - (RUN)sums[x];                    \
                out[col] = (WIDE)run;                                                          \
            }                                                                                  \
            return;                                                                            \
        }                                                                                      \
        const Wide zero = {0};                                                                 \
        Wide before = zero + out[0];                                                           \
        for (ptrdiff_t x = 0; x < cols - 1; x += LANES / 2) {                                  \
            Wide sum;                                                                          \
            if (is_square)                                                                     \
                sum = __builtin_convertvector(*(const Squares *)(squares + x + width), Wide) - \
                      __builtin_convertvector(*(const Squares *)(squares + x), Wide);          \
            else                                                                               \
                sum = __builtin_convertvector(*(const Sums *)(sums + x + width), Wide) -       \
                      __builtin_convertvector(*(const Sums *)(sums + x), Wide);                \
            RUNNING(zero, sum);                                                                \
            *(Wide *)(out + x + 1) = sum + before;                                             \
            before += LAST(sum);                                                               \
        }                                                                                      \
    }                                                                                          \
    static void VARIANT(NAME##_row)(const SUM *sums, const SQUARE *squares, ptrdiff_t channels,\
                                    ptrdiff_t columns, ptrdiff_t width, ptrdiff_t stride,      \
                                    ptrdiff_t cols, WIDE *s, WIDE *e, ptrdiff_t pitch)         \
    {                                                                                          \
        for (ptrdiff_t c = 0; c < channels; c++)                                               \
            VARIANT(NAME##_along)(sums + c * columns, 0, width, stride, cols, s + c * pitch);  \
        VARIANT(NAME##_along)(squares, 1, width, stride, cols, e);                             \
    }
MOMENTS(bytes, int32_t, int32_t, int64_t, double)
MOMENTS(many_bytes, int32_t, int32_t, int64_t, int64_t)
MOMENTS(words, int32_t, int64_t, int64_t, int64_t)
MOMENTS(floats, double, double, double, double)
#undef MOMENTS
#undef RUNNING
#undef LAST

/* What is under the root, of some windows: n E - sum S^2 of zncc, or E. */
static INLINE void VARIANT(spread_of_wides)(const Task *t, const double *s, const double *e,
                                            ptrdiff_t pitch, ptrdiff_t count, double *spread)
{
    const double n = t->metric == ZNCC ? (double)(t->height * t->width) : 1;
    for (ptrdiff_t i = 0; i < count; i++)
        spread[i] = e[i] * n;
    for (ptrdiff_t c = 0; c < t->channels && t->metric == ZNCC; c++)
        for (ptrdiff_t i = 0; i < count; i++)
            spread[i] -= s[c * pitch + i] * s[c * pitch + i];
}

/* The same of sums in 64 bits: their difference is right if it fits, though its parts do not. Double
 * precision, of which E has no more digits, tells whether it does, and is near enough to what does
 * not. */
static INLINE void VARIANT(spread_of_wholes)(const Task *t, const int64_t *s, const int64_t *e,
                                             ptrdiff_t pitch, ptrdiff_t count, double *spread)
{
    const int64_t n = t->metric == ZNCC ? t->height * t->width : 1;
    uint64_t under[BLOCK];
    for (ptrdiff_t i = 0; i < count; i++)
        under[i] = (uint64_t)e[i] * (uint64_t)n, spread[i] = (double)e[i] * (double)n;
    for (ptrdiff_t c = 0; c < t->channels && t->metric == ZNCC; c++)
        for (ptrdiff_t i = 0; i < count; i++) {
            const int64_t sum = s[c * pitch + i];
            under[i] -= (uint64_t)sum * (uint64_t)sum, spread[i] -= (double)sum * (double)sum;
        }
    for (ptrdiff_t i = 0; i < count; i++)
        spread[i] = spread[i] < MOST_WHOLE ? (double)(int64_t)under[i] : spread[i];
}

/* sum k S of some windows and a kernel, 0 of zncc. */
#define SHIFT(NAME, WIDE)                                                                      \
    static INLINE void VARIANT(NAME)(const Task *t, const double *means, const WIDE *s,        \
                                     ptrdiff_t pitch, ptrdiff_t count, double *shift)          \
    {                                                                                          \
        for (ptrdiff_t i = 0; i < count; i++)                                                  \
            shift[i] = 0;                                                                      \
        for (ptrdiff_t c = 0; c < t->channels && t->metric != ZNCC; c++)                       \
            for (ptrdiff_t i = 0; i < count; i++)                                              \
                shift[i] += means[c] * (double)s[c * pitch + i];                               \
    }
SHIFT(shift_of_wides, double)
SHIFT(shift_of_wholes, int64_t)
#undef SHIFT

/* X of one window, in double precision; `mean` of its channels, about. */
#define DIRECT(NAME, PIXEL)                                                                    \
    static double VARIANT(NAME##_direct)(const Task *t, const PIXEL *pixels, ptrdiff_t plane,  \
                                         ptrdiff_t pitch, const double *mean)                  \
    {                                                                                          \
        typedef VARIANT(Doubles) V;                                                            \
        const double *taps = t->taps;                                                          \
        double total = 0;                                                                      \
        for (ptrdiff_t c = 0; c < t->channels; c++) {                                          \
            const V means = (V){0} + mean[c];                                                  \
            V even = {0}, odd = {0};                                                           \
            for (ptrdiff_t y = 0; y < t->height; y++, taps += t->width) {                      \
                const PIXEL *p = pixels + c * plane + y * pitch;                               \
                ptrdiff_t x = 0;                                                               \
                for (; x + LANES <= t->width; x += LANES) {                                    \
                    const V a = (V)VARIANT(of_##NAME##_double)(p + x);                         \
                    const V b = (V)VARIANT(of_##NAME##_double)(p + x + LANES / 2);             \
                    even += (a - means) * *(const V *)(taps + x);                              \
                    odd += (b - means) * *(const V *)(taps + x + LANES / 2);                   \
                }                                                                              \
                if (x + LANES / 2 <= t->width) {                                               \
                    const V a = (V)VARIANT(of_##NAME##_double)(p + x);                         \
                    even += (a - means) * *(const V *)(taps + x);                              \
                    x += LANES / 2;                                                            \
                }                                                                              \
                for (; x < t->width; x++)                                                      \
                    total += ((double)p[x] - mean[c]) * taps[x];                               \
            }                                                                                  \
            even += odd;                                                                       \
            for (int i = 0; i < LANES / 2; i++)                                                \
                total += even[i];                                                              \
        }                                                                                      \
        return total;                                                                          \
    }
DIRECT(words, uint16_t)
DIRECT(floats, float)
DIRECT(doubles, double)
#undef DIRECT

/* A value of a plane of floats. */
static INLINE double VARIANT(float_at)(const Task *t, const uint8_t *plane)
{
    return t->type == FLOATS ? *(const float *)(const void *)plane
                             : *(const double *)(const void *)plane;
}

/* Sums over a window of a channel of floats: of its values, times a factor and less a constant, of
 * their squares, and of their products with the taps. */
#define WINDOW(NAME, PIXEL)                                                                    \
    static void VARIANT(NAME##_of_window)(const Task *t, const void *pixels, ptrdiff_t pitch,  \
                                          const double *taps, double factor, double less,      \
                                          double out[3])                                       \
    {                                                                                          \
        typedef VARIANT(Doubles) V;                                                            \
        const ptrdiff_t lanes = LANES / 2;                                                     \
        const PIXEL *p = pixels;                                                               \
        const V lesses = (V){0} + less, factors = (V){0} + factor;                             \
        V sums[2] = {{0}}, squares[2] = {{0}}, products[2] = {{0}};                            \
        double sum = 0, square = 0, product = 0;                                               \
        for (ptrdiff_t y = 0; y < t->height; y++, taps += t->width, p += pitch) {              \
            ptrdiff_t x = 0;                                                                   \
            for (; x + 2 * lanes <= t->width; x += 2 * lanes) {                                \
                ADD(0, VARIANT(of_##NAME##_double)(p + x), x);                                 \
                ADD(1, VARIANT(of_##NAME##_double)(p + x + lanes), x + lanes);                 \
            }                                                                                  \
            if (x + lanes <= t->width) {                                                       \
                ADD(0, VARIANT(of_##NAME##_double)(p + x), x);                                 \
                x += lanes;                                                                    \
            }                                                                                  \
            for (; x < t->width; x++) {                                                        \
                const double a = p[x] * factor - less;                                         \
                sum += a, square += a * a, product += a * taps[x];                             \
            }                                                                                  \
        }                                                                                      \
        for (int i = 0; i < LANES / 2; i++) {                                                  \
            sum += sums[0][i] + sums[1][i], square += squares[0][i] + squares[1][i];           \
            product += products[0][i] + products[1][i];                                        \
        }                                                                                      \
        out[0] = sum, out[1] = square, out[2] = product;                                       \
    }
#define ADD(i, pixels, x)                                                                      \
    do {                                                                                       \
        const V a = (V)pixels * factors - lesses;                                              \
        sums[i] += a, squares[i] += a * a, products[i] += a * *(const V *)(taps + (x));        \
    } while (0)
WINDOW(floats, float)
WINDOW(doubles, double)
#undef WINDOW
#undef ADD

/* The power of two that brings the values of a window of doubles near 1, or 0 if all are 0. */
static double VARIANT(factor_of)(const Task *t, const double *pixels, ptrdiff_t plane, ptrdiff_t pitch)
{
    double largest = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++)
        for (ptrdiff_t y = 0; y < t->height; y++)
            for (ptrdiff_t x = 0; x < t->width; x++) {
                const double size = fabs(pixels[c * plane + y * pitch + x]);
                largest = largest > size ? largest : size;
            }
    return largest > 0 ? correlation_near_1(largest) : 0;
}

/* X of a window of floats times a factor, and its spread, of `zncc` times n, or the sum of squares of
 * `ncc`; and the means of its channels. `is_doubtful` where rounding decides whether the window is flat,
 * as metrics.exact says. Values of `zncc` are taken less the first one, which is near the mean as a
 * rule; where it is far, as a bright corner is, a second pass takes them less the mean that the first
 * found, so that the sums lose no digits. `pixels` lie `plane` values after those of the channel before.
 * Returns the sum of squares, which says whether they lost digits. */
static double VARIANT(sum_floats)(const Task *t, const uint8_t *pixels, ptrdiff_t plane,
                                  ptrdiff_t pitch, double factor, double *mean, double *products,
                                  double *spread, int *is_doubtful)
{
    const double n = (double)(t->height * t->width);
    double energy = 0;
    int is_flat = 1, is_sure = 0;
    *spread = *products = 0, *is_doubtful = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++, pixels += plane * correlation_item(t)) {
        double less = t->metric == NCC ? 0 : VARIANT(float_at)(t, pixels) * factor;
        double sums[3], own;
        for (int pass = 0; pass < 2; pass++) {
            const double *taps = t->taps + c * t->height * t->width;
            (t->type == FLOATS ? VARIANT(floats_of_window) : VARIANT(doubles_of_window))(
                t, pixels, pitch, taps, factor, less, sums);
            mean[c] = less + sums[0] / n;
            own = sums[1] - sums[0] * (sums[0] / n);
            if (t->metric == NCC || sums[1] <= 64 * own)
                break;
            if (pass == 0)
                less = mean[c];
        }
        *products += sums[2];
        if (t->metric == NCC) {
            *spread += sums[1], energy += sums[1];
            continue;
        }
        const double all = sums[1] + less * (2 * sums[0] + n * less);
        energy += all;
        *spread += n * own;
        is_flat &= own <= FLAT * all;
        is_sure |= own > 1.01 * FLAT * all;
        *is_doubtful |= own > 0.99 * FLAT * all && own <= 1.01 * FLAT * all;
    }
    *is_doubtful &= !is_sure;
    if (t->metric == ZNCC && is_flat)
        *spread = 0;
    return energy;
}

/* The same of a window as it is, or with its values brought near 1 if they are so small that their
 * squares lose digits, by which no score changes. Returns X. */
static double VARIANT(float_window)(const Task *t, const uint8_t *pixels, ptrdiff_t plane,
                                    ptrdiff_t pitch, double *mean, double *spread,
                                    int *is_doubtful)
{
    double products;
    const double energy =
        VARIANT(sum_floats)(t, pixels, plane, pitch, 1, mean, &products, spread, is_doubtful);
    if (t->type == DOUBLES && energy < LEAST_ENERGY) {
        const double *values = (const double *)(const void *)pixels;
        const double factor = VARIANT(factor_of)(t, values, plane, pitch);
        VARIANT(sum_floats)(t, pixels, plane, pitch, factor, mean, &products, spread, is_doubtful);
    }
    return products;
}

/* Where windows have one value: run lengths of pixels that equal those above and beside them.
 * `above` counts for each column how many rows up to the last one equal the row before. */
#define UNIFORM(NAME, PIXEL)                                                                   \
    static void VARIANT(NAME##_count_above)(const PIXEL *planes, ptrdiff_t plane,              \
                                            ptrdiff_t pitch, ptrdiff_t channels, ptrdiff_t y,  \
                                            int32_t *above)                                    \
    {                                                                                          \
        for (ptrdiff_t x = 0; x < pitch; x++)                                                  \
            above[x] = y > 0 ? above[x] + 1 : 0;                                               \
        for (ptrdiff_t c = 0; y > 0 && c < channels; c++) {                                    \
            const PIXEL *p = planes + c * plane + y * pitch, *q = p - pitch;                   \
            for (ptrdiff_t x = 0; x < pitch; x++)                                              \
                above[x] = p[x] == q[x] ? above[x] : 0;                                        \
        }                                                                                      \
    }                                                                                          \
/* Returns whether there is one. */                                                        \
    static int VARIANT(NAME##_find_uniform)(const PIXEL *planes, ptrdiff_t plane,              \
                                            ptrdiff_t pitch, const Task *t, ptrdiff_t last,    \
                                            const int32_t *above, uint8_t *is_uniform)         \
    {                                                                                          \
        const ptrdiff_t columns = (t->cols - 1) * t->stride_x + t->width;                      \
        int32_t highest = 0;                                                                   \
        for (ptrdiff_t x = 0; x < columns; x++)                                                \
            highest = highest > above[x] ? highest : above[x];                                 \
        memset(is_uniform, 0, (size_t)t->cols);                                                \
        if (highest < t->height - 1)                                                           \
            return 0;                                                                          \
        int has_uniform = 0;                                                                   \
        ptrdiff_t run = 0, next = t->width - 1; /* where a window ends */                      \
        for (ptrdiff_t x = 0; x < columns; x++) {                                              \
            int is_equal = above[x] >= t->height - 1;                                          \
            if (!is_equal)                                                                     \
                run = 0;                                                                       \
            else {                                                                             \
                for (ptrdiff_t c = 0; c < t->channels && is_equal && x > 0; c++) {             \
                    const PIXEL *p = planes + c * plane + last * pitch + x;                    \
                    is_equal = p[0] == p[-1];                                                  \
                }                                                                              \
                run = is_equal && run ? run + 1 : 1;                                           \
            }                                                                                  \
            if (x < next)                                                                      \
                continue;                                                                      \
            next += t->stride_x;                                                               \
            if (run >= t->width)                                                               \
                has_uniform = is_uniform[(x - t->width + 1) / t->stride_x] = 1;                \
        }                                                                                      \
        return has_uniform;                                                                    \
    }
UNIFORM(words, uint16_t)
UNIFORM(floats, float)
UNIFORM(doubles, double)
#undef UNIFORM

/* A tile of a band. */
typedef struct {
    ptrdiff_t top, left;   /* windows, in the band */
    ptrdiff_t rows, cols;
    double energy;         /* of its pixels less their means, about: similar tiles become a pair */
    double drift;          /* of floats, n E - sum S^2 (or E, or what sad adds) is off by this at most */
    uint16_t octaves[OCTAVES]; /* some windows, by the exponents of their spreads, about */
    int is_sampled;        /* whether these are known */
    int is_waiting;        /* for a transform in single precision, for some kernel */
    int has_mosaic;        /* taken off in single precision */
} VARIANT(Region);

/* What is known of a tile's products with one kernel. */
typedef struct {
    double off;            /* X is off by at most this */
    ptrdiff_t open;        /* windows whose score would be off by more than the limit */
    int is_double;         /* transformed in double precision */
} VARIANT(Known);

typedef struct {
    Task *task; /* of the first kernel; the others' follow */
    ptrdiff_t count; /* of kernels */
    const Layout *layout;
    ptrdiff_t top, rows; /* windows */
    VARIANT(Region) *regions;
    ptrdiff_t region_count, most; /* tiles, and the most of a band */
    VARIANT(Known) *known;     /* [count][most] */
    double (*less)[2]; /* [channels]: the constants of the pair that is transformed */
    double *means;     /* [region_count][channels] */
    uint8_t *planes;
    float *products; /* [count][rows, x_pitch]; of direct sums int32_t, or double */
    ptrdiff_t step;  /* values of a kernel's products */
    float *work;     /* [channels][tile_values] */
    void *taps;      /* of direct sums, as they take them */
    void **own_taps; /* of bytes by transforms, each kernel's bytes less 128, or NULL */
    void *wide;      /* the planes of these, where they take 16 bits or doubles */
    float *total;    /* [count][tile_values], of several kernels or of one in parts */
    double *double_work, *double_total, *made_spectra; /* the same, where needed */
    const Task *doubled; /* whose spectra these are */
    float *mosaics;  /* [most][channels][squares], or NULL where there are none */
    double *steps;   /* of one: its values less the tile's constants, [channels][rows][steps_pitch] */
    double *lines, *weights[MOST_KERNELS]; /* of _correlation_mosaic.h */
    int has_weights; /* whether these are made */
    void *sums, *squares;                 /* of columns */
    void *s, *e; /* of a row's windows: [channels][x_pitch] and [x_pitch] */
    int has_few; /* these are of bytes, and int32_t */
    int has_wholes; /* these are int64_t: of 16 bits, and of bytes of which doubles do not hold n E */
    int is_apart; /* squares and e are sums of I (I - 256) over all channels, and there are no others */
    int is_in_registers; /* whether _correlation_scores.h makes the scores of a row */
    void *segment_memory; /* [count][segments], of a row */
    ptrdiff_t segments;
    float *saved; /* [count]: maxima and errors of the band's blocks */
    /* Of floats alone. */
    double unit;         /* a power of two that brings pixels near 1 */
    double *shift;       /* [channels], what sums are taken less */
    double largest;      /* no window of the band has more energy, less the shift */
    double *energies;    /* of columns of some rows of the band, less the shift */
    double *groups;      /* the same of groups of columns, in the rows before */
    double *reaches;     /* the most energy of a window that begins in each group */
    int32_t *above;      /* of columns: pixels that equal the one above, up to the last row */
    uint8_t *is_uniform; /* of a row's windows */
    int has_uniform;
    /* Of sad: whether pixels add something of their own to X, and how far that of a window may be off. */
    int has_excess;
    double excess_drift;
    float *excess; /* of pixels, [lines][pitch] */
} VARIANT(Band);

/* The sum of a line's values, and that of their squares. */
#define TOTALS(NAME, PIXEL, SUM)                                                               \
    static void VARIANT(NAME##_totals)(const void *line, ptrdiff_t count, double totals[2])    \
    {                                                                                          \
        const PIXEL *p = line;                                                                 \
        SUM sum = 0, square = 0;                                                               \
        for (ptrdiff_t x = 0; x < count; x++)                                                  \
            sum += p[x], square += (SUM)p[x] * p[x];                                           \
        totals[0] = (double)sum, totals[1] = (double)square;                                   \
    }
TOTALS(bytes, uint8_t, uint32_t)
TOTALS(words, uint16_t, uint64_t)
#undef TOTALS
/* Those of floats side by side, because compilers keep the order of their additions. */
#define TOTALS(NAME, PIXEL)                                                                    \
    static void VARIANT(NAME##_totals)(const void *line, ptrdiff_t count, double totals[2])    \
    {                                                                                          \
        typedef VARIANT(Doubles) V;                                                            \
        const PIXEL *p = line;                                                                 \
        V sums[2] = {{0}}, squares[2] = {{0}};                                                 \
        double sum = 0, square = 0;                                                            \
        ptrdiff_t x = 0;                                                                       \
        for (; x + LANES <= count; x += LANES) {                                               \
            const V one = (V)VARIANT(of_##NAME##_double)(p + x);                               \
            const V other = (V)VARIANT(of_##NAME##_double)(p + x + LANES / 2);                 \
            sums[0] += one, squares[0] += one * one;                                           \
            sums[1] += other, squares[1] += other * other;                                     \
        }                                                                                      \
        for (; x < count; x++)                                                                 \
            sum += p[x], square += (double)p[x] * p[x];                                        \
        sums[0] += sums[1], squares[0] += squares[1];                                          \
        for (int i = 0; i < LANES / 2; i++)                                                    \
            sum += sums[0][i], square += squares[0][i];                                        \
        totals[0] = sum, totals[1] = square;                                                   \
    }
TOTALS(floats, float)
TOTALS(doubles, double)
#undef TOTALS

/* Mean and energy of a tile's pixels, from every eighth row. */
#define SURVEY(NAME, PIXEL, ROUNDED)                                                           \
    static void VARIANT(survey_##NAME)(const VARIANT(Band) *b, VARIANT(Region) *r, double *means) \
    {                                                                                          \
        const Task *t = b->task;                                                               \
        const Layout *l = b->layout;                                                           \
        r->energy = 0;                                                                         \
        for (ptrdiff_t c = 0; c < t->channels; c++) {                                          \
            double sum = 0, square = 0, totals[2];                                             \
            for (ptrdiff_t y = 0; y < t->sides.y; y += 8) {                                    \
                const PIXEL *p = (const PIXEL *)(const void *)b->planes +                      \
                                 (c * l->lines + r->top * t->stride_y + y) * l->pitch +        \
                                 r->left * t->stride_x;                                        \
                VARIANT(NAME##_totals)(p, t->sides.x, totals);                                 \
                sum += totals[0], square += totals[1];                                         \
            }                                                                                  \
            const double mean = sum / (double)(t->sides.y / 8 * t->sides.x);                   \
            means[c] = ROUNDED(mean); /* exact in single precision */                          \
            r->energy += square - mean * sum;                                                  \
        }                                                                                      \
    }
#define TO_INTEGER(mean) floor((mean) + 0.5)
#define TO_SINGLE(mean) ((double)(float)(mean))
#define AS_IT_IS(mean) (mean)
SURVEY(bytes, uint8_t, TO_INTEGER)
SURVEY(words, uint16_t, TO_INTEGER)
SURVEY(floats, float, TO_SINGLE)
SURVEY(doubles, double, AS_IT_IS)
#undef SURVEY
#undef TO_SINGLE
/* The exponent of a number that is not negative, in single precision: numbers of one exponent differ by
 * less than twice. */
static INLINE int VARIANT(octave)(double value)
{
    const float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    return (int)(bits >> 23 & (OCTAVES - 1)); /* no number, with a sign, stays in the table, too */
}

/* Counts the spreads, about, of the windows of some rows of a tile, by 16 of their lines. The memory is
 * that of the sums, which hold nothing until a band is scored. Windows count as flat where their spread
 * may be what rounding left of those before them in the row. */
#define SAMPLE(NAME, PIXEL, SUM, RUN)                                                          \
    static void VARIANT(NAME)(const VARIANT(Band) *b, VARIANT(Region) *r)                      \
    {                                                                                          \
        const Task *t = b->task;                                                               \
        const Layout *l = b->layout;                                                           \
        const double n = (double)(t->height * t->width);                                       \
        const ptrdiff_t lines = t->height < 16 ? t->height : 16, step = t->stride_x;           \
        const ptrdiff_t columns = (r->cols - 1) * step + t->width;                             \
        const double count = (double)(lines * t->width);                                       \
        const double scale = b->unit * b->unit * n * (t->metric == ZNCC ? n : 1) / count;      \
        SUM *sums = b->sums, *squares = b->squares;                                            \
        double *energy = b->s, *spread = b->e;                                                 \
        memset(r->octaves, 0, sizeof r->octaves);                                              \
        for (ptrdiff_t i = 0; i < SAMPLED_ROWS; i++) {                                         \
            const ptrdiff_t row = r->top + r->rows * (2 * i + 1) / (2 * SAMPLED_ROWS);         \
            memset(energy, 0, (size_t)r->cols * sizeof *energy);                               \
            memset(spread, 0, (size_t)r->cols * sizeof *spread);                               \
            for (ptrdiff_t c = 0; c < t->channels; c++) {                                      \
                memset(sums, 0, (size_t)columns * sizeof *sums);                               \
                memset(squares, 0, (size_t)columns * sizeof *squares);                         \
                for (ptrdiff_t k = 0; k < lines; k++) {                                        \
                    const ptrdiff_t y = row * t->stride_y + t->height * k / lines;             \
                    const PIXEL *p = (const PIXEL *)(const void *)b->planes +                  \
                                     (c * l->lines + y) * l->pitch + r->left * step;           \
                    for (ptrdiff_t x = 0; x < columns; x++)                                    \
                        sums[x] += p[x], squares[x] += (SUM)p[x] * p[x];                       \
                }                                                                              \
                RUN sum = 0, square = 0;                                                       \
                for (ptrdiff_t x = 0; x < t->width; x++)                                       \
                    sum += sums[x], square += squares[x];                                      \
                for (ptrdiff_t col = 0, x = 0; col < r->cols; col++) {                         \
                    for (; x < col * step; x++) {                                              \
                        sum += sums[x + t->width] - sums[x];                                   \
                        square += squares[x + t->width] - squares[x];                          \
                    }                                                                          \
                    const double all = (double)sum, own = (double)square;                      \
                    energy[col] += own;                                                        \
                    spread[col] += own - (t->metric == ZNCC ? all * all / count : 0);          \
                }                                                                              \
            }                                                                                  \
            double most = 0;                                                                   \
            for (ptrdiff_t col = 0; col < r->cols; col++)                                      \
                most = most > energy[col] ? most : energy[col];                                \
            for (ptrdiff_t col = 0; col < r->cols; col++)                                      \
                if (spread[col] > FLAT * energy[col] && spread[col] > 0x1p-42 * most)          \
                    r->octaves[VARIANT(octave)(scale * spread[col])]++;                        \
        }                                                                                      \
        r->is_sampled = 1;                                                                     \
    }
SAMPLE(sample_bytes, uint8_t, int32_t, int64_t)
SAMPLE(sample_words, uint16_t, double, double)
SAMPLE(sample_floats, float, double, double)
SAMPLE(sample_doubles, double, double, double)
#undef SAMPLE

/* Rows, or columns, of a group: as many as the kernel has, or more, because groups of few take long. */
static INLINE ptrdiff_t VARIANT(group_of)(ptrdiff_t length)
{
    return length < 8 ? 8 : length;
}

/* Adds the squares of a line of floats less a constant to those of columns. */
#define SQUARES(NAME, PIXEL)                                                                   \
    static void VARIANT(NAME##_add_squares)(const void *line, ptrdiff_t count, double less,    \
                                            double *squares)                                   \
    {                                                                                          \
        const PIXEL *p = line;                                                                 \
        for (ptrdiff_t x = 0; x < count; x++)                                                  \
            squares[x] += (p[x] - less) * (p[x] - less);                                       \
    }
SQUARES(floats, float)
SQUARES(doubles, double)
#undef SQUARES

/* What a window of a band of floats holds at most: it lies in two groups of rows, and of columns. */
static void VARIANT(find_reaches)(VARIANT(Band) *b, ptrdiff_t lines, ptrdiff_t columns)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    const ptrdiff_t item = correlation_item(t);
    const ptrdiff_t tall = VARIANT(group_of)(t->height), wide = VARIANT(group_of)(t->width);
    const ptrdiff_t count = (columns + wide - 1) / wide;
    double *groups = b->groups, *energies = b->energies, most = 0;
    memset(groups, 0, (size_t)count * sizeof *groups);
    memset(b->reaches, 0, (size_t)count * sizeof *b->reaches);
    for (ptrdiff_t top = 0; top < lines; top += tall) {
        const ptrdiff_t bottom = top + tall < lines ? top + tall : lines;
        memset(energies, 0, (size_t)columns * sizeof *energies);
        for (ptrdiff_t c = 0; c < t->channels; c++) {
            const double mean = b->shift[c];
            for (ptrdiff_t y = top; y < bottom; y++)
                (t->type == FLOATS ? VARIANT(floats_add_squares) : VARIANT(doubles_add_squares))(
                    b->planes + (c * l->lines + y) * l->pitch * item, columns, mean, energies);
        }
        double before = 0; /* of the group before, in these rows and those above */
        for (ptrdiff_t i = 0; i < count; i++) {
            const ptrdiff_t right = (i + 1) * wide < columns ? (i + 1) * wide : columns;
            double energy = 0;
            for (ptrdiff_t x = i * wide; x < right; x++) {
                energy += energies[x];
                most = most > energies[x] ? most : energies[x];
            }
            const double both = groups[i] + energy;
            groups[i] = energy;
            if (i > 0 && b->reaches[i - 1] < before + both)
                b->reaches[i - 1] = before + both;
            before = both;
        }
        if (b->reaches[count - 1] < before)
            b->reaches[count - 1] = before;
    }
    b->largest = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        b->largest = b->largest > b->reaches[i] ? b->largest : b->reaches[i];
    int exponent = 0;
    frexp(sqrt(most), &exponent); /* no value is larger */
    /* Neither it nor its square, times what it is multiplied with, overflows. */
    const int largest = t->type == FLOATS ? 120 : 400;
    b->unit = ldexp(1, exponent < -largest ? largest : -exponent);
}

/* What the sums of a band of floats need: shift, unit, and the energies of its windows. */
static void VARIANT(measure)(VARIANT(Band) *b, ptrdiff_t lines, ptrdiff_t columns)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        double sum = 0, count = 0, totals[2];
        for (ptrdiff_t y = 0; y < lines && t->metric != NCC; y += 8, count += (double)columns) {
            (t->type == FLOATS ? VARIANT(floats_totals) : VARIANT(doubles_totals))(
                b->planes + (c * l->lines + y) * l->pitch * correlation_item(t), columns, totals);
            sum += totals[0];
        }
        b->shift[c] = count > 0 ? sum / count : 0;
    }
    VARIANT(find_reaches)(b, lines, columns);
}

/* How far sums of a tile's windows may be off. With v lanes, of which a running sum takes d steps:
 *
 * - A column's sum is made of as many roundings as the band has lines, and of those of the values
 *   that come and go, which are no more than two windows' for each kernel's height of lines.
 * - A tile's first window is a sum of its columns. The next v windows differ from the one before by
 *   differences of columns, with d + 1 roundings of sums of these, and one of the window's sum.
 *
 * Each rounding of squares is of no more than W, the largest energy of a window; those of the
 * differences of v columns are of no more than 2 W, or of so many times that as windows have room
 * there. Values add up to at most the root of W times that of a window's pixels (Cauchy and
 * Schwarz). */
static void VARIANT(find_drift)(const VARIANT(Band) *b, VARIANT(Region) *r)
{
    const Task *t = b->task;
    const double n = (double)(t->height * t->width), lanes = LANES / 2;
    const double steps = LANES == 16 ? 3 : LANES == 8 ? 2 : 1;
    const ptrdiff_t left = r->left * t->stride_x, last = left + (r->cols - 1) * t->stride_x;
    double most = 0;
    const ptrdiff_t wide = VARIANT(group_of)(t->width);
    for (ptrdiff_t i = left / wide; i <= last / wide; i++)
        most = most > b->reaches[i] ? most : b->reaches[i];
    const double windows = ceil(lanes / (double)t->width);
    const double column = t->stride_x > 1 ? 2 : (2 * (steps + 1) * windows + 1) / lanes;
    const double lines = (double)b->layout->lines * (2 + 4 / (double)t->height);
    const double count = lines + (double)t->width + column * (double)(last - left + LANES) + 64;
    const double around = 2 * count * 0x1p-53 * most;
    r->drift = t->metric == ZNCC ? around * 3 * n : around;
}

/* About how many of a tile's windows have a spread that is not 0 but below `lowest`. Those of its own
 * octave count as if they lay evenly there, but only for the limit of a map: other scores may be off
 * by more, and are rarely worth a second transform. */
static ptrdiff_t VARIANT(count_open)(const VARIANT(Band) *b, VARIANT(Region) *r, double lowest)
{
    ptrdiff_t open = 0;
    if (!r->is_sampled)
        (b->task->type == BYTES    ? VARIANT(sample_bytes)
         : b->task->type == WORDS  ? VARIANT(sample_words)
         : b->task->type == FLOATS ? VARIANT(sample_floats)
                                   : VARIANT(sample_doubles))(b, r);
    const int own = VARIANT(octave)(lowest);
    for (int i = own - 1; i >= 0; i--)
        open += r->octaves[i];
    int exponent;
    const int is_counted = b->task->limit <= MAP_LIMIT && lowest >= FLT_MIN && lowest < FLT_MAX;
    const double part = is_counted ? 2 * frexp(lowest, &exponent) - 1 : 0;
    open += (ptrdiff_t)(part * (double)r->octaves[own]);
    return open * r->rows / SAMPLED_ROWS;
}

#include "_correlation_mosaic.h"
#undef TO_INTEGER
#undef AS_IT_IS

/* Transforms two tiles, or one if `other` is NULL, and back for all kernels; or, in double
 * precision, for the one whose spectra are at hand. */
static void VARIANT(transform)(VARIANT(Band) *b, VARIANT(Region) *one, VARIANT(Region) *other,
                               int is_double)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    const ptrdiff_t item = correlation_item(t);
    const ptrdiff_t first = is_double ? b->doubled - t : 0, count = is_double ? 1 : b->count;
    Place places[2];
    const uint8_t *pixels[2];
    VARIANT(Region) *both[2] = {one, other ? other : one};
    const int is_folded = t->sides.folds > 1;
    for (int i = 0; i < 2; i++) {
        const VARIANT(Region) *r = both[i];
        pixels[i] = b->planes + (r->top * t->stride_y * l->pitch + r->left * t->stride_x) * item;
        places[i] = (Place){b->products + first * b->step + r->top * l->x_pitch + r->left, 0,
                            r->rows, r->cols};
        for (ptrdiff_t c = 0; c < t->channels; c++)
            b->less[c][i] = b->means[(r - b->regions) * t->channels + c];
        if (is_folded) { /* rows in turn */
            pixels[i] += i * l->pitch * item;
            places[i].out = (float *)places[i].out + i * l->x_pitch;
            places[i].rows = (r->rows + 1 - i) / 2;
        }
    }
    const ptrdiff_t folds = t->sides.folds, pitch = folds * l->pitch, x_pitch = folds * l->x_pitch;
    const int tiles = is_folded || other ? 2 : 1;
    const ptrdiff_t plane = l->lines * l->pitch * item;
    double rounding[MOST_KERNELS];
    const double(*less)[2] = (const double(*)[2])b->less;
    const int has_mosaics = !is_double && (one->has_mosaic || both[1]->has_mosaic);
    const float *mosaics[2] = {NULL};
    for (int i = 0; has_mosaics && i < 2; i++)
        mosaics[i] = VARIANT(squares_for)(b, both[i]);
    if (is_double) {
        const double *spectra =
            b->doubled->double_spectra ? b->doubled->double_spectra : b->made_spectra;
        VARIANT(pair_double)(b->doubled, 1, pixels[0], pixels[1], plane, pitch, less, NULL, b->unit,
                             &spectra, b->double_work, b->double_total, places, tiles, 0, x_pitch,
                             rounding);
    } else {
        const float *spectra[MOST_KERNELS];
        for (ptrdiff_t k = 0; k < count; k++)
            spectra[k] = t[k].spectra;
        VARIANT(pair_single)(t, count, pixels[0], pixels[1], plane, pitch, less,
                             has_mosaics ? mosaics : NULL, b->unit, spectra, b->work, b->total,
                             places, tiles, b->step, x_pitch, rounding);
    }
    const int is_square = t->sides.y == SIDE && t->sides.x == SIDE && !is_folded;
    const double unit =
        (is_double ? 0x1p-53 : 0x1p-24) * (is_square ? ROUNDING_UNITS : MORE_ROUNDING_UNITS);
    for (int i = 0; i < (other ? 2 : 1); i++) {
        const int has_mosaic = !is_double && both[i]->has_mosaic;
        const double largest = has_mosaic ? VARIANT(make_steps)(b, both[i]) : 0;
        for (ptrdiff_t k = 0; k < count; k++) {
            VARIANT(Known) *known = &b->known[(first + k) * b->most + (both[i] - b->regions)];
            known->off = unit * rounding[k], known->is_double = is_double;
            if (has_mosaic)
                known->off += VARIANT(add_mosaic)(b, k, both[i], largest);
        }
    }
}

typedef int32_t VARIANT(Masks) __attribute__((vector_size(4 * LANES)));

/* The larger and the smaller of two values: `b` where one of them is no number. */
static INLINE VARIANT(Singles) VARIANT(larger_of)(VARIANT(Singles) a, VARIANT(Singles) b)
{
    return (VARIANT(Singles))VARIANT(larger_single)((VARIANT(V_single))a, (VARIANT(V_single))b);
}

static INLINE VARIANT(Singles) VARIANT(smaller_of)(VARIANT(Singles) a, VARIANT(Singles) b)
{
#if LANES == 16
    return (VARIANT(Singles))_mm512_min_ps((__m512)a, (__m512)b);
#elif LANES == 8
    return (VARIANT(Singles))_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (VARIANT(Singles))_mm_min_ps((__m128)a, (__m128)b);
#else
    const VARIANT(Masks) is_smaller = a < b;
    return (VARIANT(Singles))((is_smaller & (VARIANT(Masks))a) | (~is_smaller & (VARIANT(Masks))b));
#endif
}

static INLINE int VARIANT(is_any)(VARIANT(Masks) masks)
{
#if LANES == 16
    return _mm512_test_epi32_mask((__m512i)masks, (__m512i)masks) != 0;
#elif LANES == 8
    return !_mm256_testz_si256((__m256i)masks, (__m256i)masks);
#else
    uint64_t words[LANES / 2], all = 0;
    memcpy(words, &masks, sizeof words);
    for (int i = 0; i < LANES / 2; i++)
        all |= words[i];
    return all != 0;
#endif
}

/* What is known of the windows of a tile in one block, until all of its rows are scored. */
typedef struct {
    VARIANT(Singles) best, lows; /* the largest scores; the smallest spreads that are not open */
    int has_made;                /* scores were made again, one by one */
    int is_doubtful;             /* whether one of these is of a flat window */
    int is_open;                 /* of a row: whether some are to be made again */
} VARIANT(Segment);

/* What a row's windows of one tile are scored with. */
typedef struct {
    double scale;  /* score = scale X / sqrt(spread) */
    double lowest; /* spreads below this one leave a score open */
    double sure;   /* spreads of floats below this one are not sure: their windows are summed again */
} VARIANT(Rule);

/* What scores of some windows of a row are made of, whatever the kernel. */
typedef struct {
    double spread[BLOCK];
    float under[BLOCK] __attribute__((aligned(64))); /* the same, and its root but of few bytes */
    float root[BLOCK] __attribute__((aligned(64)));
} VARIANT(Spreads);

/* sum (K - 128) of a channel of bytes, a whole number as is n sum I (K - 128): products of them are
 * exact in double precision, so that the least spreads lose no digits. */
static INLINE double VARIANT(sum_less_128)(const Task *t, ptrdiff_t channel)
{
    return floor((double)(t->height * t->width) * (t->means[channel] - 128) + 0.5);
}

/* S of some windows of a channel, and E. */
static INLINE const int32_t *VARIANT(few_sums)(const VARIANT(Band) *b, ptrdiff_t c, ptrdiff_t left)
{
    return (const int32_t *)b->s + c * b->layout->x_pitch + left;
}

static INLINE const int32_t *VARIANT(few_squares)(const VARIANT(Band) *b, ptrdiff_t left)
{
    return (const int32_t *)b->e + left;
}

#include "_correlation_bytes.h"
#include "_correlation_scores.h"

/* Finds which of some windows of a row are open: their numbers. Returns how many. */
static INLINE ptrdiff_t VARIANT(find_open)(const VARIANT(Rule) *rule, const float *under,
                                           ptrdiff_t count, uint8_t open[BLOCK])
{
    /* A little above, because compilers may round the spreads otherwise than where they were open. */
    const float lowest = (float)(rule->lowest * (1 + 0x1p-20));
    ptrdiff_t found = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        open[found] = (uint8_t)i;
        found += under[i] > 0 && under[i] < lowest;
    }
    return found;
}

/* sum I (K - 128) of the open windows of a row of bytes; neighbours share the reads of taps. */
static void VARIANT(sum_open_of_bytes)(const VARIANT(Band) *b, const Task *t, ptrdiff_t row,
                                       ptrdiff_t left, ptrdiff_t count, const uint8_t *open,
                                       ptrdiff_t found, double *out)
{
    const Layout *l = b->layout;
    const void *taps = b->own_taps[t - b->task];
    const uint8_t *pixels = b->planes + row * t->stride_y * l->pitch + left * t->stride_x;
    for (ptrdiff_t i = 0, all; i < found; i += all) {
        all = 1;
        while (all < TOGETHER && i + all < found && open[i + all] < open[i] + TOGETHER)
            all++;
        const uint8_t *p = pixels + open[i] * t->stride_x;
        /* They take as long as two or three alone. */
        const int is_some = all > 2 && open[i] + TOGETHER <= count;
        all = is_some ? all : 1;
        (is_some ? t->byte_sums->some : t->byte_sums->one)(t, p, l->lines * l->pitch, l->pitch, taps,
                                                           out + open[i]);
    }
}

/* X of a window of bytes: sum I (K - 128) - sum I sum (K - 128) / n, of integers that doubles hold, or
 * modulo 2^64, where n X fits because windows that are made again have small spreads. So the least
 * spreads lose no digits either; `sum` is that of I (K - 128). */
static INLINE double VARIANT(again_of_bytes)(const VARIANT(Band) *b, const Task *t, ptrdiff_t window,
                                             double sum)
{
    const double n = (double)(t->height * t->width);
    double products = n * sum;
    uint64_t whole = (uint64_t)(t->height * t->width) * (uint64_t)(int64_t)sum;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const ptrdiff_t at = c * b->layout->x_pitch + window;
        const double less = VARIANT(sum_less_128)(t, c);
        if (b->has_wholes)
            whole -= (uint64_t)(int64_t)less * ((const uint64_t *)b->s)[at];
        else
            products -= less * (b->has_few ? VARIANT(few_sums)(b, c, window)[0]
                                           : ((const double *)b->s)[at]);
    }
    return (b->has_wholes ? (double)(int64_t)whole : products) / n;
}

/* X of a window of 16 bits. */
static INLINE double VARIANT(again_of_words)(const VARIANT(Band) *b, const Task *t, ptrdiff_t window,
                                             const uint8_t *pixels)
{
    const Layout *l = b->layout;
    double mean[MOST_CHANNELS];
    for (ptrdiff_t c = 0; c < t->channels; c++)
        mean[c] = (double)((int64_t *)b->s)[c * l->x_pitch + window] / (double)(t->height * t->width);
    return t->gain * VARIANT(words_direct)(t, (const uint16_t *)(const void *)pixels,
                                           l->lines * l->pitch, l->pitch, mean);
}

/* X of a window of floats, in the band's unit; its spread, and what is added to X, are made again, too,
 * unless they are sure. */
static INLINE double VARIANT(again_of_floats)(const VARIANT(Band) *b, const Task *t, ptrdiff_t window,
                                              const uint8_t *pixels, int is_sure, double *spread,
                                              double *shift, int *is_doubtful)
{
    const Layout *l = b->layout;
    const ptrdiff_t plane = l->lines * l->pitch;
    const double n = (double)(t->height * t->width);
    double mean[MOST_CHANNELS], x;
    if (is_sure) {
        for (ptrdiff_t c = 0; c < t->channels; c++)
            mean[c] = b->shift[c] + ((double *)b->s)[c * l->x_pitch + window] / n;
        x = t->type == FLOATS ? VARIANT(floats_direct)(t, (const float *)(const void *)pixels, plane,
                                                       l->pitch, mean)
                              : VARIANT(doubles_direct)(t, (const double *)(const void *)pixels,
                                                        plane, l->pitch, mean);
    } else {
        x = VARIANT(float_window)(t, pixels, plane, l->pitch, mean, spread, is_doubtful);
        *spread *= b->unit * b->unit;
        for (ptrdiff_t c = 0; c < t->channels && t->metric == NCC; c++)
            *shift = (c ? *shift : 0) + t->means[c] * mean[c] * n * b->unit;
    }
    return t->gain * b->unit * x;
}

/* Makes scores of a row again whose spread is open, from direct sums. Returns 1 where the tile has
 * too many. */
static int VARIANT(make_again)(VARIANT(Band) *b, Task *t, VARIANT(Known) *known,
                               const VARIANT(Rule) *rule, ptrdiff_t row, ptrdiff_t left,
                               ptrdiff_t count, ptrdiff_t budget,
                               VARIANT(Segment) *segment, const VARIANT(Spreads) *spreads,
                               double *shift, float *out)
{
    const ptrdiff_t at = row * t->stride_y * b->layout->pitch, item = correlation_item(t);
    uint8_t open[BLOCK];
    const ptrdiff_t found = VARIANT(find_open)(rule, spreads->under, count, open);
    double sums[BLOCK];
    known->open += found;
    if (!known->is_double && known->open > budget)
        return 1;
    t->direct += found;
    segment->has_made = 1;
    if (t->type == BYTES)
        VARIANT(sum_open_of_bytes)(b, t, row, left, count, open, found, sums);
    for (ptrdiff_t j = 0; j < found; j++) {
        const ptrdiff_t i = open[j], window = left + i;
        const uint8_t *pixels = b->planes + (at + window * t->stride_x) * item;
        double spread = spreads->spread[i];
        int is_doubtful = 0;
        const double x = t->type == BYTES   ? VARIANT(again_of_bytes)(b, t, window, sums[i])
                         : t->type == WORDS ? VARIANT(again_of_words)(b, t, window, pixels)
                                            : VARIANT(again_of_floats)(
                                                  b, t, window, pixels, spread >= rule->sure,
                                                  &spread, &shift[i], &is_doubtful);
        double score = (x + shift[i]) * rule->scale / sqrt(spread);
        score = spread > 0 ? score : 0;
        score = score < 1 ? score : 1;
        out[i] = (float)(score > -1 ? score : -1) + 0.0f; /* 0 has no sign */
        segment->is_doubtful |= is_doubtful;
    }
    return 0;
}

/* The spreads of some windows of a row. */
static INLINE void VARIANT(measure_spreads)(const VARIANT(Band) *b, ptrdiff_t row, ptrdiff_t left,
                                            ptrdiff_t count, VARIANT(Spreads) *out)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    double *spread = out->spread;
    if (b->has_few) { /* of which some scores are made again */
        const double times = t->metric == ZNCC ? (double)(t->height * t->width) : 1;
        const int32_t *squares = VARIANT(few_squares)(b, left);
        for (ptrdiff_t i = 0; i < count; i++)
            spread[i] = squares[i] * times;
        for (ptrdiff_t c = 0; c < t->channels && t->metric == ZNCC; c++) {
            const int32_t *sums = VARIANT(few_sums)(b, c, left);
            for (ptrdiff_t i = 0; i < count; i++)
                spread[i] -= (double)sums[i] * sums[i];
        }
        for (ptrdiff_t i = 0; i < count; i++)
            out->under[i] = (float)spread[i];
        return;
    }
    if (b->has_wholes)
        VARIANT(spread_of_wholes)(t, (const int64_t *)b->s + left, (const int64_t *)b->e + left,
                                  l->x_pitch, count, spread);
    else
        VARIANT(spread_of_wides)(t, (const double *)b->s + left, (const double *)b->e + left,
                                 l->x_pitch, count, spread);
    if (t->type >= FLOATS) {
        const double square = b->unit * b->unit;
        /* Rounding may leave nothing of a small spread, and single precision is too coarse for it:
         * only windows of one value are flat for sure. */
        if (t->metric != SSD)
            for (ptrdiff_t i = 0; i < count; i++) {
                const double scaled = spread[i] * square, least = LEAST_SPREAD / 2;
                spread[i] = scaled > least ? scaled : least;
            }
        for (ptrdiff_t i = 0; i < count && b->has_uniform; i++)
            if (b->is_uniform[left + i]) {
                const ptrdiff_t at = row * t->stride_y * l->pitch + (left + i) * t->stride_x;
                const ptrdiff_t plane = l->lines * l->pitch, item = correlation_item(t);
                int is_zero = 1;
                for (ptrdiff_t c = 0; c < t->channels; c++)
                    is_zero &= VARIANT(float_at)(t, b->planes + (c * plane + at) * item) == 0;
                if (t->metric == ZNCC || is_zero)
                    spread[i] = 0;
            }
    }
    if (t->metric == SSD)
        return;
    for (ptrdiff_t i = 0; i < count; i++)
        out->under[i] = (float)spread[i];
    for (ptrdiff_t i = count; i % LANES; i++)
        out->under[i] = out->under[count - 1];
    for (ptrdiff_t i = 0; i < count; i++)
        out->root[i] = sqrtf(out->under[i]);
}

/* X of some windows as single precision, which direct sums have in other types. */
static INLINE const float *VARIANT(in_single)(const VARIANT(Band) *b, const Task *t,
                                              const float *x, ptrdiff_t row, ptrdiff_t left,
                                              ptrdiff_t count, float *out)
{
    const Layout *l = b->layout;
    if (!t->products)
        return x;
    if (t->type != BYTES) {
        const double *found = (const double *)(const void *)b->products + row * l->x_pitch + left;
        for (ptrdiff_t i = 0; i < count; i++)
            out[i] = (float)(found[i] * b->unit);
        return out;
    }
    /* n sum I (K - 128) -> n sum I (K - mean K), of integers; over n and the gain as that of the
     * transforms. */
    double sums[BLOCK];
    const double n = (double)(t->height * t->width), less = 1 / (n * t->gain);
    const int32_t *found = (const int32_t *)(const void *)x;
    for (ptrdiff_t i = 0; i < count; i++)
        sums[i] = n * found[i];
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const double *s = (const double *)b->s + c * l->x_pitch + left;
        const double taken = VARIANT(sum_less_128)(t, c);
        for (ptrdiff_t i = 0; i < count; i++)
            sums[i] -= taken * s[i];
    }
    for (ptrdiff_t i = 0; i < count; i++)
        out[i] = (float)(sums[i] * less);
    return out;
}

/* sum k S of some windows and a kernel, and what the kernel adds to ssd, in `own`. */
static INLINE void VARIANT(measure_shift)(const VARIANT(Band) *b, const Task *t, ptrdiff_t left,
                                          ptrdiff_t count, double *shift, double *own)
{
    const Layout *l = b->layout;
    double means[MOST_CHANNELS]; /* of the kernel, less what the sums are less */
    for (ptrdiff_t c = 0; c < t->channels; c++)
        means[c] = t->means[c];
    if (b->has_few) {
        memset(shift, 0, (size_t)count * sizeof *shift);
        for (ptrdiff_t c = 0; c < t->channels && t->metric != ZNCC; c++) {
            const int32_t *sums = VARIANT(few_sums)(b, c, left);
            for (ptrdiff_t i = 0; i < count; i++)
                shift[i] += means[c] * sums[i];
        }
    } else if (b->has_wholes)
        VARIANT(shift_of_wholes)(t, means, (const int64_t *)b->s + left, l->x_pitch, count, shift);
    else {
        if (t->type >= FLOATS && t->metric == SSD) {
            *own = t->norm * t->norm * t->gain * t->gain;
            for (ptrdiff_t c = 0; c < t->channels; c++) {
                means[c] -= b->shift[c];
                *own += (double)(t->height * t->width) * means[c] * means[c];
            }
        }
        VARIANT(shift_of_wides)(t, means, (const double *)b->s + left, l->x_pitch, count, shift);
        if (t->metric != SSD)
            for (ptrdiff_t i = 0; i < count; i++)
                shift[i] *= b->unit;
    }
}

/* Scores of some windows of a row, for one kernel, whose task is `t`, as `scores_of` makes them; `shift`
 * as `measure_shift` has it. */
static INLINE void VARIANT(make)(VARIANT(Band) *b, Task *t, const VARIANT(Spreads) *spreads,
                                 const VARIANT(Rule) *rule, ptrdiff_t row, ptrdiff_t left,
                                 ptrdiff_t count, double *shift, VARIANT(Segment) *segment)
{
    float centred[BLOCK], made[BLOCK] __attribute__((aligned(64)));
    const float *under = spreads->under;
    const float *products =
        b->products + (t - b->task) * b->step + row * b->layout->x_pitch + left;
    const float *x = VARIANT(in_single)(b, t, products, row, left, count, centred);
    double own = t->own;
    const double gain = t->gain / b->unit;
    VARIANT(measure_shift)(b, t, left, count, shift, &own);
    if (t->metric == SSD) {
        const double *spread = spreads->spread;
        for (ptrdiff_t i = 0; i < count; i++) {
            float score = (float)(1 - (spread[i] - 2 * (gain * x[i] + shift[i]) + own) / t->total);
            made[i] = score < 1 ? score : 1;
        }
    } else {
        const float scale = (float)(rule->scale * t->gain);
        const double less = 1 / t->gain;
        for (ptrdiff_t i = 0; i < count; i++)
            made[i] = under[i] > 0 ? scale / spreads->root[i] : 0;
        /* A sum with 0 is never -0, whose sign would be that of the rounding of X. */
        if (t->metric == NCC)
            for (ptrdiff_t i = 0; i < count; i++)
                made[i] = made[i] * (float)(x[i] + shift[i] * less) + 0.0f;
        else
            for (ptrdiff_t i = 0; i < count; i++)
                made[i] = made[i] * x[i] + 0.0f;
        for (ptrdiff_t i = 0; i < count; i++) {
            made[i] = made[i] < 1 ? made[i] : 1;
            made[i] = made[i] > -1 ? made[i] : -1;
        }
    }
    memcpy(t->map + (b->top + row) * t->cols + left, made, (size_t)count * sizeof *made);
    for (ptrdiff_t i = count; i % LANES; i++)
        made[i] = made[count - 1];
    typedef VARIANT(Singles) Floats;
    typedef VARIANT(Masks) Masks;
    const float lowest = (float)rule->lowest;
    Floats best = segment->best, lows = segment->lows;
    Masks opens = {0};
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        best = VARIANT(larger_of)(*(Floats *)(made + i), best);
        if (t->metric == SSD)
            continue;
        const Floats low = *(const Floats *)(under + i);
        const Masks is_flat = low <= 0, is_open = (low < lowest) & ~is_flat;
        const Masks is_lower = (low < lows) & ~is_open & ~is_flat;
        opens |= is_open;
        lows = (Floats)((is_lower & (Masks)low) | (~is_lower & (Masks)lows));
    }
    segment->lows = lows, segment->is_open = VARIANT(is_any)(opens);
    if (!segment->is_open)
        segment->best = best;
}

/* Makes the open scores of a segment again, in whose best one no score of the row is yet. Returns 1 where
 * the tile has too many. */
static int VARIANT(remake)(VARIANT(Band) *b, Task *t, VARIANT(Known) *known,
                           const VARIANT(Spreads) *spreads, const VARIANT(Rule) *rule, ptrdiff_t row,
                           ptrdiff_t left, ptrdiff_t count, ptrdiff_t budget, double *shift,
                           VARIANT(Segment) *segment)
{
    float *out = t->map + (b->top + row) * t->cols + left;
    if (VARIANT(make_again)(b, t, known, rule, row, left, count, budget, segment, spreads, shift, out))
        return 1;
    VARIANT(Singles) best = segment->best;
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES)
        best = VARIANT(larger_of)(
            (VARIANT(Singles))*(const VARIANT(FloatsAnywhere) *)(out + i), best);
    for (; i < count; i++)
        best[0] = best[0] > out[i] ? best[0] : out[i];
    segment->best = best;
    return 0;
}

/* Writes what is known of a block's windows in a tile. */
static void VARIANT(settle)(const VARIANT(Band) *b, const Task *t, const VARIANT(Region) *r,
                            const VARIANT(Known) *known, const VARIANT(Rule) *rule,
                            const VARIANT(Segment) *segment, float *maximum, float *error)
{
    float largest = segment->best[0], least = segment->lows[0], off = 0;
    for (int i = 1; i < LANES; i++) {
        largest = largest > segment->best[i] ? largest : segment->best[i];
        least = least < segment->lows[i] ? least : segment->lows[i];
    }
    if (t->metric == SAD)
        off = (float)((t->residual + t->gain * known->off + r->drift) / t->total + SCORE_ROUNDING);
    else if (t->metric == SSD)
        off = (float)((2 * t->gain / b->unit * known->off + r->drift * 4) / t->total +
                      SCORE_ROUNDING);
    else if (least < FLT_MAX)
        off = (float)((t->gain * known->off * rule->scale / sqrt((double)least) +
                       b->unit * b->unit * r->drift / least) *
                          (1 + 0x1p-20) +
                      SCORE_ROUNDING);
    /* Spreads of floats that are sure may be off by as much. */
    const float made = SCORE_ROUNDING * (t->type >= FLOATS ? 2 : 1);
    if (segment->has_made && off < made)
        off = made;
    off = segment->is_doubtful ? 2 : off;
    *maximum = *maximum > largest ? *maximum : largest;
    *error = *error > off ? *error : off;
}

/* Sums of columns for the first row of windows, or those for a row from those for the one before. */
#define WALK(NAME, PIXEL)                                                                      \
    static INLINE void VARIANT(NAME##_walk)(const VARIANT(Band) *b, ptrdiff_t row)             \
    {                                                                                          \
        const Task *t = b->task;                                                               \
        const Layout *l = b->layout;                                                           \
        const PIXEL *planes = (const PIXEL *)(const void *)b->planes;                          \
        const ptrdiff_t plane = l->lines * l->pitch;                                           \
        if (row == 0)                                                                          \
            VARIANT(NAME##_begin)(planes, plane, l->pitch, t->channels, t->height, l->columns, \
                                  b->shift, b->sums, b->squares);                              \
        for (ptrdiff_t y = (row - 1) * t->stride_y; row > 0 && y < row * t->stride_y; y++)     \
            VARIANT(NAME##_move)(planes + y * l->pitch, planes + (y + t->height) * l->pitch,   \
                                 plane, l->pitch, t->channels, l->columns, b->shift, b->sums,  \
                                 b->squares);                                                  \
    }
WALK(bytes, uint8_t)
WALK(words, uint16_t)
WALK(floats, float)
WALK(doubles, double)
#undef WALK

/* Finds the windows of a row that have one value, where they matter. */
#define FLAT_WINDOWS(NAME, PIXEL)                                                              \
    static INLINE void VARIANT(NAME##_find_flat)(VARIANT(Band) *b, ptrdiff_t row)              \
    {                                                                                          \
        const Task *t = b->task;                                                               \
        const Layout *l = b->layout;                                                           \
        const PIXEL *planes = (const PIXEL *)(const void *)b->planes;                          \
        const ptrdiff_t plane = l->lines * l->pitch;                                           \
        const ptrdiff_t end = row * t->stride_y + t->height;                                   \
        for (ptrdiff_t y = row > 0 ? end - t->stride_y : 0; y < end; y++)                      \
            VARIANT(NAME##_count_above)(planes, plane, l->pitch, t->channels, y, b->above);    \
        b->has_uniform =                                                                       \
            t->metric != SSD && VARIANT(NAME##_find_uniform)(planes, plane, l->pitch, t,       \
                                                             end - 1, b->above, b->is_uniform); \
    }
FLAT_WINDOWS(floats, float)
FLAT_WINDOWS(doubles, double)
#undef FLAT_WINDOWS

/* Sums of the windows of a row, which follows the one before. */
static void VARIANT(sum_row)(VARIANT(Band) *b, ptrdiff_t row)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    const ptrdiff_t columns = l->columns;
    if (b->is_apart) {
        VARIANT(walk_apart)(b, row);
        VARIANT(few_bytes_along)(b->squares, t->width, t->cols, b->e);
        return;
    }
    if (t->type == BYTES)
        VARIANT(bytes_walk)(b, row);
    else if (t->type == WORDS)
        VARIANT(words_walk)(b, row);
    else if (t->type == FLOATS)
        VARIANT(floats_walk)(b, row);
    else
        VARIANT(doubles_walk)(b, row);
    if (b->has_few) {
        for (ptrdiff_t c = 0; c < t->channels; c++)
            VARIANT(few_bytes_along)((const int32_t *)b->sums + c * columns, t->width, t->cols,
                                     (int32_t *)b->s + c * l->x_pitch);
        VARIANT(few_bytes_along)(b->squares, t->width, t->cols, b->e);
    } else if (t->type == BYTES && b->has_wholes)
        VARIANT(many_bytes_row)(b->sums, b->squares, t->channels, columns, t->width, t->stride_x,
                                t->cols, b->s, b->e, l->x_pitch);
    else if (t->type == BYTES)
        VARIANT(bytes_row)(b->sums, b->squares, t->channels, columns, t->width, t->stride_x,
                           t->cols, b->s, b->e, l->x_pitch);
    else if (t->type == WORDS)
        VARIANT(words_row)(b->sums, b->squares, t->channels, columns, t->width, t->stride_x,
                           t->cols, b->s, b->e, l->x_pitch);
    else {
        /* Each tile begins anew, so that fewer roundings add up. */
        for (ptrdiff_t left = 0; left < t->cols; left += tile_cols(l, left))
            VARIANT(floats_row)((double *)b->sums + left * t->stride_x,
                                (double *)b->squares + left * t->stride_x, t->channels,
                                columns, t->width, t->stride_x, tile_cols(l, left),
                                (double *)b->s + left, (double *)b->e + left, l->x_pitch);
        if (t->type == FLOATS)
            VARIANT(floats_find_flat)(b, row);
        else
            VARIANT(doubles_find_flat)(b, row);
    }
}

#include "_correlation_excess.h"

/* What a kernel's scores of a tile take. `flat`: a window of floats of no larger spread, in pixels'
 * own units, may count as flat. */
static INLINE VARIANT(Rule) VARIANT(rule_of)(const VARIANT(Band) *b, const Task *t,
                                             const VARIANT(Region) *r,
                                             const VARIANT(Known) *known, double flat)
{
    const double scale = (t->metric == ZNCC ? (double)(t->height * t->width) : 1) /
                         sqrt(t->own > 0 ? t->own : 1);
    const double square = b->unit * b->unit;
    /* Below this spread s the score may be off by more than the limit: x / sqrt(s), and of floats d / s,
     * by which the spread is off. Below the last one a window of floats may count as flat. */
    const double x = t->gain * known->off * scale, drift = t->type >= FLOATS ? square * r->drift : 0;
    const double root = (x + sqrt(x * x + 4 * t->limit * drift)) / (2 * t->limit);
    double lowest = root * root, sure = 0;
    if (t->type >= FLOATS) {
        const double least = flat * square > LEAST_SPREAD ? flat * square : LEAST_SPREAD;
        lowest = lowest > least ? lowest : least;
        sure = drift / SCORE_ROUNDING > least ? drift / SCORE_ROUNDING : least;
    }
    return (VARIANT(Rule)){scale, lowest, sure};
}

/* Scores of a row of a tile, for the kernels whose bits are set; those that are open are made again.
 * Returns the kernels for which the tile has too many. `segments`: those of the row, of the first
 * kernel. */
static unsigned VARIANT(score)(VARIANT(Band) *b, const VARIANT(Region) *r, const VARIANT(Parts) *parts,
                               const VARIANT(Rule) *rules, ptrdiff_t row, ptrdiff_t budget,
                               unsigned kernels, VARIANT(Segment) *segments)
{
    const ptrdiff_t right = r->left + r->cols, block = b->task->block;
    unsigned opens = 0, again = 0;
    for (ptrdiff_t k = 0; k < b->count && b->is_in_registers; k++)
        if (kernels >> k & 1 &&
            VARIANT(make_in_registers)(b, b->task + k, &parts[k], &rules[k], row, r->left, right,
                                       segments + k * b->segments))
            opens |= 1u << k;
    if (b->is_in_registers && !opens)
        return 0;
    VARIANT(Spreads) spreads;
    for (ptrdiff_t left = r->left, end; left < right; left = end, segments++) {
        end = (left / block + 1) * block;
        end = end < right ? end : right;
        int is_measured = 0;
        for (ptrdiff_t k = 0; k < b->count; k++) {
            Task *t = b->task + k;
            VARIANT(Segment) *segment = segments + k * b->segments;
            double shift[BLOCK], own;
            if (!((b->is_in_registers ? opens : kernels) >> k & 1) ||
                (b->is_in_registers && !segment->is_open))
                continue;
            if (!is_measured)
                VARIANT(measure_spreads)(b, row, left, end - left, &spreads);
            is_measured = 1;
            if (b->is_in_registers) /* what they are made again from */
                VARIANT(measure_shift)(b, t, left, end - left, shift, &own);
            else
                VARIANT(make)(b, t, &spreads, &rules[k], row, left, end - left, shift, segment);
            if (segment->is_open &&
                VARIANT(remake)(b, t, &b->known[k * b->most + (r - b->regions)], &spreads, &rules[k],
                                row, left, end - left, budget, shift, segment))
                again |= 1u << k;
        }
    }
    return again;
}

/* Scores of a band's windows, for the kernels whose bits are set. Returns those of which tiles in
 * single precision have more than `budget` open windows, and have to be made again. */
static unsigned VARIANT(finish)(VARIANT(Band) *b, ptrdiff_t budget, unsigned kernels)
{
    const Task *t = b->task;
    const ptrdiff_t blocks = (t->cols + t->block - 1) / t->block;
    double flat = 0;
    for (ptrdiff_t c = 0; c < t->channels && t->type >= FLOATS && t->metric == ZNCC; c++) {
        const double n = (double)(t->height * t->width);
        flat += 4 * FLAT * n * (n * b->shift[c] * b->shift[c] + b->largest);
    }
    unsigned again = 0;
    VARIANT(Parts) parts[MOST_KERNELS];
    for (ptrdiff_t k = 0; k < b->count; k++)
        VARIANT(set_parts)(b, t + k, &parts[k]);
    for (ptrdiff_t row = 0; row < b->rows; row++) {
        const ptrdiff_t block_row = (b->top + row) / t->block;
        const int is_first_of_block = b->top + row == block_row * t->block;
        const int is_last_of_block = b->top + row + 1 == (block_row + 1) * t->block;
        if (t->metric != SAD)
            VARIANT(sum_row)(b, row);
        else if (b->has_excess)
            VARIANT(sum_excess)(b, row);
        b->is_in_registers = !b->has_uniform && (b->has_few || t->type != BYTES || !t->products);
        VARIANT(Segment) *segments = b->segment_memory; /* of the first kernel */
        for (ptrdiff_t i = 0; i < b->region_count; i++) {
            const VARIANT(Region) *r = &b->regions[i];
            if (row < r->top || row >= r->top + r->rows)
                continue;
            const ptrdiff_t column = r->left / t->block; /* of blocks */
            const ptrdiff_t count = (r->left + r->cols - 1) / t->block + 1 - column;
            const ptrdiff_t block = block_row * blocks + column;
            const int is_first = row == r->top || is_first_of_block;
            const int is_last = row == r->top + r->rows - 1 || is_last_of_block;
            VARIANT(Rule) rules[MOST_KERNELS];
            for (ptrdiff_t k = 0; k < b->count; k++) {
                rules[k] = VARIANT(rule_of)(b, t + k, r, &b->known[k * b->most + i], flat);
                for (ptrdiff_t j = 0; is_first && j < count; j++)
                    segments[k * b->segments + j] = (VARIANT(Segment)){
                        (VARIANT(Singles)){0} - FLT_MAX, (VARIANT(Singles)){0} + FLT_MAX, 0, 0, 0};
            }
            again |= VARIANT(score)(b, r, parts, rules, row, budget, kernels, segments);
            for (ptrdiff_t k = 0; k < b->count && is_last; k++)
                for (ptrdiff_t j = 0; j < count && kernels >> k & 1; j++)
                    VARIANT(settle)(b, t + k, r, &b->known[k * b->most + i], &rules[k],
                                    &segments[k * b->segments + j], &t[k].maxima[block + j],
                                    &t[k].errors[block + j]);
            segments += count;
        }
    }
    return again;
}

/* Orders tiles by energy, so that the pair of a flat one is another flat one. */
static int VARIANT(by_energy)(const void *one, const void *other)
{
    double a = (*(VARIANT(Region) * const *)one)->energy;
    double b = (*(VARIANT(Region) * const *)other)->energy;
    return (a > b) - (a < b);
}

/* Takes memory for transforms in double precision: that of single precision, of which nothing is
 * kept, for the arrays that fit there. */
static int VARIANT(take_doubles)(VARIANT(Band) *b, size_t spectra, Arena *doubles)
{
    const Doubles doubled = correlation_doubles(b->task, b->count);
    const size_t more = spectra + doubled.more;
    Arena singles = {.next = (uint8_t *)b->work};
    if (more && !correlation_open(doubles, more))
        return -1;
    double **const arrays[2] = {&b->double_work, &b->double_total};
    for (int i = 0; i < 2; i++) {
        Arena *from = doubled.fits[i] ? &singles : doubles;
        *arrays[i] = correlation_take(from, correlation_double_bytes(b->task, i));
    }
    b->made_spectra = spectra ? correlation_take(doubles, spectra) : NULL;
    return 0;
}

/* Makes the tiles again, in double precision, whose scores for a kernel are not all within the
 * limit. */
static int VARIANT(repeat)(VARIANT(Band) *b, Task *t, ptrdiff_t budget, Arena *doubles)
{
    const ptrdiff_t parts = t->parts_y * t->parts_x;
    const size_t spectra =
        (size_t)(parts * t->channels * spectrum_values(t->sides)) * sizeof(double);
    if (!b->double_work && VARIANT(take_doubles)(b, t->double_spectra ? 0 : spectra, doubles))
        return -1;
    if (b->doubled != t && !t->double_spectra)
        for (ptrdiff_t i = 0; i < parts * t->channels; i++) { /* of one term: sad is not made again */
            const Part part = correlation_part(t, i / t->channels, i % t->channels);
            VARIANT(spectrum_double)(part.taps, part.height, part.width, t->width, t->sides,
                                     b->made_spectra + i * spectrum_values(t->sides));
        }
    b->doubled = t;
    VARIANT(Region) *waiting = NULL;
    for (ptrdiff_t i = 0; i < b->region_count; i++) {
        VARIANT(Region) *r = &b->regions[i];
        if (b->known[(t - b->task) * b->most + i].open <= budget)
            continue;
        t->repeated++;
        if (waiting || t->sides.folds > 1) {
            VARIANT(transform)(b, waiting ? waiting : r, waiting ? r : NULL, 1);
            waiting = NULL;
        } else
            waiting = r;
    }
    if (waiting)
        VARIANT(transform)(b, waiting, NULL, 1);
    return 0;
}

/* Converts a band's pixels to what direct sums take: those of floats less their shift, which b, whose
 * sum is 0, does not tell from these. */
static void VARIANT(widen)(const VARIANT(Band) *b)
{
    const Task *t = b->task;
    const ptrdiff_t plane = b->layout->lines * b->layout->pitch;
    const uint16_t *words = (const uint16_t *)(const void *)b->planes;
    int16_t *narrow = b->wide;
    double *wide = b->wide;
    if (t->type == BYTES)
        for (ptrdiff_t i = 0; i < t->channels * plane; i++)
            narrow[i] = b->planes[i];
    else if (t->type == WORDS)
        for (ptrdiff_t i = 0; i < t->channels * plane; i++)
            wide[i] = words[i];
    for (ptrdiff_t c = 0; c < t->channels && t->type >= FLOATS; c++, wide += plane) {
        const float *floats = (const float *)(const void *)b->planes + c * plane;
        const double *doubles = (const double *)(const void *)b->planes + c * plane;
        if (t->type == FLOATS)
            for (ptrdiff_t i = 0; i < plane; i++)
                wide[i] = floats[i] - b->shift[c];
        else
            for (ptrdiff_t i = 0; i < plane; i++)
                wide[i] = doubles[i] - b->shift[c];
    }
}

/* X of a band's windows by direct sums: exact of bytes; of others off by `taps` roundings of the sum
 * of |I b|, which is the norm of the window's pixels times that of b at most, and by what all b of a
 * channel are off together, because the kernel's mean is rounded. */
static void VARIANT(sum_directly)(VARIANT(Band) *b)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    const void *planes = b->planes;
    const int at_once = t->products->taps;
    if (at_once < 4) {
        VARIANT(widen)(b);
        planes = b->wide;
    }
    t->products->band(planes, l->lines * l->pitch, l->pitch, t->channels, b->taps, t->height,
                      (t->width + at_once - 1) / at_once * at_once, b->products, b->rows, t->cols,
                      l->x_pitch);
    const double n = (double)(t->height * t->width);
    double size = 0, means = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++)
        means += n * t->means[c] * t->means[c];
    if (t->type == WORDS)
        size = 65535 * sqrt(n * (double)t->channels);
    else if (t->type >= FLOATS)
        size = sqrt(b->largest) * b->unit;
    const double off = 0x1p-53 * size *
                       ((n * (double)t->channels + 3) * t->norm + sqrt(means) / t->gain);
    b->region_count = 0;
    for (ptrdiff_t left = 0, cols; left < t->cols; left += cols) {
        VARIANT(Region) *r = &b->regions[b->region_count++];
        cols = tile_cols(l, left);
        *r = (VARIANT(Region)){.left = left, .rows = b->rows, .cols = cols};
        b->known[r - b->regions] = (VARIANT(Known)){off, 0, 0};
        if (t->type >= FLOATS)
            VARIANT(find_drift)(b, r);
    }
}

/* The tiles of a band, by energy in `order`. */
static void VARIANT(divide)(VARIANT(Band) *b, VARIANT(Region) **order)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    b->region_count = 0;
    for (ptrdiff_t top = 0; top < b->rows; top += l->tall)
        for (ptrdiff_t left = 0, cols; left < t->cols; left += cols) {
            const ptrdiff_t rows = b->rows - top < l->tall ? b->rows - top : l->tall;
            cols = tile_cols(l, left);
            VARIANT(Region) *r = order[b->region_count] = &b->regions[b->region_count];
            *r = (VARIANT(Region)){top, left, rows, cols, .is_waiting = 1};
            double *means = b->means + b->region_count++ * t->channels;
            if (t->metric == SAD) { /* waves of any pixels have about one energy */
                for (ptrdiff_t c = 0; c < t->channels; c++)
                    /* From -1 to 1, of what `into_range` made; 0 where the range is one value. */
                    means[c] = t->type < FLOATS && t->halves[c] > 0;
                r->drift = b->excess_drift;
                continue;
            }
            (t->type == BYTES    ? VARIANT(survey_bytes)
             : t->type == WORDS  ? VARIANT(survey_words)
             : t->type == FLOATS ? VARIANT(survey_floats)
                                 : VARIANT(survey_doubles))(b, r, means);
            if (t->type >= FLOATS)
                VARIANT(find_drift)(b, r);
        }
    memset(b->known, 0, (size_t)(b->count * b->most) * sizeof *b->known);
    qsort(order, (size_t)b->region_count, sizeof *order, VARIANT(by_energy));
}

/* Maxima and errors of a band's blocks are kept, or those of some kernels are put back. */
static void VARIANT(save)(const VARIANT(Band) *b, unsigned put_back)
{
    const Task *t = b->task;
    const ptrdiff_t blocks = (t->cols + t->block - 1) / t->block;
    const ptrdiff_t begin = b->top / t->block * blocks;
    const ptrdiff_t count = ((b->top + b->rows - 1) / t->block - b->top / t->block + 1) * blocks;
    const size_t bytes = (size_t)count * sizeof(float);
    for (ptrdiff_t k = 0; k < b->count; k++) {
        float *maxima = t[k].maxima + begin, *errors = t[k].errors + begin;
        float *saved = b->saved + 2 * k * count;
        if (put_back >> k & 1)
            memcpy(maxima, saved, bytes), memcpy(errors, saved + count, bytes);
        else if (!put_back)
            memcpy(saved, maxima, bytes), memcpy(saved + count, errors, bytes);
    }
}

/* Lets tiles have mosaics where that is worth it, and orders all by the energy that is left. */
static void VARIANT(choose_mosaics)(VARIANT(Band) *b, VARIANT(Region) **order)
{
    for (ptrdiff_t i = 0; b->mosaics && i < b->region_count; i++)
        VARIANT(choose_mosaic)(b, &b->regions[i]);
    if (b->has_weights)
        qsort(order, (size_t)b->region_count, sizeof *order, VARIANT(by_energy));
}

/* Lets those tiles not wait for a transform in single precision of which more windows than `budget`
 * are likely to be open for all kernels. */
static void VARIANT(expect)(VARIANT(Band) *b, ptrdiff_t budget)
{
    const Task *t = b->task;
    for (ptrdiff_t i = 0; i < b->region_count; i++) {
        VARIANT(Region) *r = &b->regions[i];
        const double rounding = VARIANT(expected_rounding)(b, r);
        r->is_waiting = 0;
        for (ptrdiff_t k = 0; k < b->count; k++) {
            VARIANT(Known) *known = &b->known[k * b->most + i];
            const VARIANT(Known) expected = {rounding * t[k].norm * sqrt(t[k].smooth_share), 0, 0};
            known->open =
                VARIANT(count_open)(b, r, VARIANT(rule_of)(b, t + k, r, &expected, 0).lowest);
            known->open *= 2; /* a transform in single precision is half of what is saved */
            r->is_waiting |= known->open <= budget;
        }
    }
}

/* Transforms those tiles in double precision of which more windows than `budget` are likely to be
 * open: their scores, and direct sums, would be for nothing. */
static int VARIANT(foresee)(VARIANT(Band) *b, ptrdiff_t budget, Arena *doubles)
{
    for (ptrdiff_t k = 0; k < b->count; k++) {
        Task *t = b->task + k;
        int is_any = 0;
        for (ptrdiff_t i = 0; i < b->region_count; i++) {
            VARIANT(Region) *r = &b->regions[i];
            VARIANT(Known) *known = &b->known[k * b->most + i];
            if (known->open <= budget) /* it is transformed */
                known->open = VARIANT(count_open)(b, r, VARIANT(rule_of)(b, t, r, known, 0).lowest);
            is_any |= known->open > budget;
        }
        if (is_any && VARIANT(repeat)(b, t, budget, doubles))
            return -1;
        for (ptrdiff_t i = 0; i < b->region_count; i++)
            b->known[k * b->most + i].open = 0;
    }
    return 0;
}

/* Products and scores of a band, by transforms. */
static int VARIANT(correlate_band)(VARIANT(Band) *b, VARIANT(Region) **order, Arena *doubles)
{
    Task *t = b->task;
    const unsigned every = (1u << b->count) - 1;
    const ptrdiff_t budget = t->metric == SSD || t->metric == SAD ? 0 : correlation_budget(t);
    /* To give up a tile once windows are scored costs the scores of the whole band, too. */
    const ptrdiff_t late = 2 * budget;
    const int is_sampled = t->metric == ZNCC || t->metric == NCC;
    VARIANT(divide)(b, order);
    const ptrdiff_t at_once = t->sides.folds > 1 ? 1 : 2;
    if (is_sampled && t->limit <= MAP_LIMIT) {
        VARIANT(choose_mosaics)(b, order);
        VARIANT(expect)(b, budget);
    }
    /* The same tiles are pairs, and round alike, whatever the other kernels are. */
    for (ptrdiff_t i = b->region_count - 1; i >= 0; i -= at_once) {
        VARIANT(Region) *other = at_once > 1 && i > 0 ? order[i - 1] : NULL;
        if (order[i]->is_waiting || (other && other->is_waiting))
            VARIANT(transform)(b, order[i], other, 0);
    }
    if (is_sampled && VARIANT(foresee)(b, budget, doubles))
        return -1;
    VARIANT(save)(b, 0);
    unsigned again = 0;
    if (t->metric == SSD) { /* where every score of a tile may be off by as much */
        for (ptrdiff_t k = 0; k < b->count; k++)
            for (ptrdiff_t i = 0; i < b->region_count; i++) {
                VARIANT(Known) *known = &b->known[k * b->most + i];
                known->open = 2 * t[k].gain / b->unit * known->off / t[k].total > t[k].limit;
                again |= (unsigned)known->open << k;
            }
    } else
        again = VARIANT(finish)(b, late, every);
    for (ptrdiff_t k = 0; k < b->count; k++)
        if (again >> k & 1 && VARIANT(repeat)(b, t + k, late, doubles))
            return -1;
    if (t->metric == SSD)
        again = every;
    else if (again)
        VARIANT(save)(b, again);
    if (again)
        VARIANT(finish)(b, PTRDIFF_MAX, again);
    return 0;
}

static int VARIANT(scores_of_alike)(Task *t, ptrdiff_t count)
{
    const Layout l = correlation_layout(t);
    Arena arena = {0}, doubles = {0};
    const ptrdiff_t most = l.bands * l.across, item = correlation_item(t);
    const ptrdiff_t columns = (t->cols - 1) * t->stride_x + t->width;
    const ptrdiff_t blocks = (t->cols + t->block - 1) / t->block;
    const ptrdiff_t block_rows = (l.bands * l.tall) / t->block + 2;
    if (!correlation_open(&arena, correlation_scratch(t, &l, count)))
        return -1;
    VARIANT(Band) b = {.task = t, .count = count, .layout = &l, .most = most, .unit = 1};
    b.has_few = t->type == BYTES && t->metric != SAD && t->stride_x == 1 &&
                (double)(t->height * t->width * t->channels) * 65025 < 0x1p31;
    b.has_wholes = t->type == WORDS ||
                   (t->type == BYTES && t->metric == ZNCC && correlation_most_under_root(t) >= 0x1p53);
    b.is_apart = b.has_few && t->metric == SSD && t->products;
    b.step = l.bands * l.tall * l.x_pitch, b.segments = (ptrdiff_t)correlation_segments(t, &l);
    b.regions = correlation_take(&arena, (size_t)most * sizeof *b.regions);
    VARIANT(Region) **order = correlation_take(&arena, (size_t)most * sizeof *order);
    b.known = correlation_take(&arena, (size_t)(count * most) * sizeof *b.known);
    b.less = correlation_take(&arena, (size_t)t->channels * sizeof *b.less);
    b.means = correlation_take(&arena, (size_t)(most * t->channels) * sizeof *b.means);
    b.planes = correlation_take(&arena, (size_t)(t->channels * l.lines * l.pitch * item));
    b.products =
        correlation_take(&arena, (size_t)(count * b.step) * correlation_product_bytes(t));
    if (t->products) {
        b.wide = correlation_take(&arena, correlation_wide_bytes(t, &l));
        b.taps = correlation_take(&arena, correlation_taps_bytes(t, t->products));
        correlation_fill_taps(t, b.taps);
    } else {
        b.work = correlation_take(&arena, correlation_work_bytes(t, count));
        b.total = b.work + t->channels * tile_values(t->sides);
        if (correlation_own_bytes(t)) {
            b.own_taps = correlation_take(&arena, (size_t)count * sizeof *b.own_taps);
            for (ptrdiff_t k = 0; k < count; k++) {
                b.own_taps[k] = correlation_take(&arena, correlation_own_bytes(t));
                correlation_fill_own(t + k, b.own_taps[k]);
            }
        }
    }
    const Mosaics m = correlation_mosaics(t, &l);
    b.mosaics = m.squares ? correlation_take(&arena, m.squares) : NULL;
    b.steps = correlation_take(&arena, m.steps);
    b.lines = correlation_take(&arena, m.lines);
    for (ptrdiff_t k = 0; k < count && m.weights; k++)
        b.weights[k] = correlation_take(&arena, m.weights);
    memset(b.steps, 0, m.steps);
    b.sums = correlation_take(&arena, (size_t)(t->channels * l.columns) * 8);
    b.squares = correlation_take(&arena, (size_t)l.columns * 8);
    b.s = correlation_take(&arena, (size_t)(t->channels * l.x_pitch) * 8);
    b.e = correlation_take(&arena, (size_t)l.x_pitch * 8);
    b.segment_memory =
        correlation_take(&arena, (size_t)(count * b.segments) * sizeof(VARIANT(Segment)));
    b.saved = correlation_take(&arena, (size_t)(count * 2 * block_rows * blocks) * sizeof(float));
    b.shift = correlation_take(&arena, (size_t)t->channels * sizeof *b.shift);
    b.energies = correlation_take(&arena, (size_t)columns * sizeof *b.energies);
    b.groups = correlation_take(&arena, (size_t)columns * sizeof *b.groups);
    b.reaches = correlation_take(&arena, (size_t)columns * sizeof *b.reaches);
    b.above = correlation_take(&arena, (size_t)l.columns * sizeof *b.above);
    b.is_uniform = correlation_take(&arena, (size_t)t->cols);
    b.excess = correlation_take(&arena, correlation_excess_bytes(t, &l));
    int failed = 0;
    for (b.top = 0; b.top < t->rows && !failed; b.top += b.rows) {
        b.rows = l.bands * l.tall < t->rows - b.top ? l.bands * l.tall : t->rows - b.top;
        ptrdiff_t first = b.top * t->stride_y;
        ptrdiff_t lines = (t->rows - 1) * t->stride_y + t->height - first; /* that the image has */
        lines = lines < l.lines ? lines : l.lines;
        if (t->type == BYTES)
            VARIANT(fill_bytes)(t, &l, first, lines, columns, b.planes);
        else if (t->type == WORDS)
            VARIANT(fill_words)(t, &l, first, lines, columns, (uint16_t *)(void *)b.planes);
        else if (t->type == FLOATS)
            VARIANT(fill_floats)(t, &l, first, lines, columns, (float *)(void *)b.planes);
        else
            VARIANT(fill_doubles)(t, &l, first, lines, columns, (double *)(void *)b.planes);
        if (t->type >= FLOATS && t->metric != SAD)
            VARIANT(measure)(&b, lines, columns);
        if (t->metric == SAD)
            VARIANT(find_excess)(&b, lines, columns), VARIANT(into_range)(&b);
        if (t->products) {
            VARIANT(sum_directly)(&b);
            VARIANT(finish)(&b, PTRDIFF_MAX, 1);
        } else
            failed = VARIANT(correlate_band)(&b, order, &doubles);
    }
    correlation_close(&doubles);
    correlation_close(&arena);
    return failed;
}

static int VARIANT(by_share)(const void *one, const void *other)
{
    const double a = VARIANT(rough_share)(one), b = VARIANT(rough_share)(other);
    return (a > b) - (a < b);
}

/* Kernels that are alike in what decides on mosaics are scored together, so that scores are those of
 * each kernel alone. The tasks change places. */
static int VARIANT(scores)(Task *tasks, ptrdiff_t count)
{
    qsort(tasks, (size_t)count, sizeof *tasks, VARIANT(by_share));
    for (ptrdiff_t first = 0, alike; first < count; first += alike) {
        alike = 1;
        while (first + alike < count && !VARIANT(by_share)(&tasks[first], &tasks[first + alike]))
            alike++;
        if (first > 0) /* these take memory of another size */
            correlation_release();
        if (VARIANT(scores_of_alike)(tasks + first, alike))
            return -1;
    }
    return 0;
}
