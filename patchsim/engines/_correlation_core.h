/* From the pixels of a task to its scores; included once for each variant.
 *
 * LANES is the number of floats in a vector, VARIANT(x) a name of this variant. The compiler's
 * vector instructions are those of the variant when this is included.
 */
#define REAL float
#define L LANES
#define NAME(x) VARIANT(x##_single)
#define TWIDDLES SINGLE_TWIDDLES
#include "_correlation_tile.h"
#undef REAL
#undef L
#undef NAME
#undef TWIDDLES

#define REAL double
#define L (LANES / 2)
#define NAME(x) VARIANT(x##_double)
#define TWIDDLES DOUBLE_TWIDDLES
#include "_correlation_tile.h"
#undef REAL
#undef L
#undef NAME
#undef TWIDDLES

typedef double VARIANT(Doubles)
    __attribute__((vector_size(4 * LANES), aligned(8), may_alias)); /* LANES / 2 of them */
typedef int32_t VARIANT(Signed) __attribute__((vector_size(2 * LANES), aligned(4), may_alias));

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
#undef FILL

/* Sums of windows while a band is walked from its top: those of columns, then along a row.
 *
 * SUM holds a column's sum and that of its squares, WIDE a window's: double, where it holds them
 * exactly, or 64 bits, in which differences of products are right if they fit (modulo 2^64). */
#define MOMENTS(NAME, PIXEL, SQUARE, WIDE)                                                     \
    static void VARIANT(NAME##_begin)(const PIXEL *planes, ptrdiff_t plane, ptrdiff_t pitch,   \
                                      ptrdiff_t channels, ptrdiff_t height, ptrdiff_t columns, \
                                      uint32_t *sums, SQUARE *squares)                         \
    {                                                                                          \
        memset(sums, 0, (size_t)(channels * columns) * sizeof *sums);                          \
        memset(squares, 0, (size_t)columns * sizeof *squares);                                 \
        for (ptrdiff_t c = 0; c < channels; c++)                                               \
            for (ptrdiff_t y = 0; y < height; y++) {                                           \
                const PIXEL *p = planes + c * plane + y * pitch;                               \
                uint32_t *sum = sums + c * columns;                                            \
                for (ptrdiff_t x = 0; x < pitch; x++) {                                        \
                    sum[x] += p[x];                                                            \
                    squares[x] += (SQUARE)p[x] * p[x];                                         \
                }                                                                              \
            }                                                                                  \
    }                                                                                          \
    static void VARIANT(NAME##_move)(const PIXEL *above, const PIXEL *below, ptrdiff_t plane,  \
                                     ptrdiff_t pitch, ptrdiff_t channels, ptrdiff_t columns,   \
                                     uint32_t *sums, SQUARE *squares)                          \
    {                                                                                          \
        for (ptrdiff_t c = 0; c < channels; c++) {                                             \
            const PIXEL *p = below + c * plane, *q = above + c * plane;                        \
            uint32_t *sum = sums + c * columns;                                                \
            for (ptrdiff_t x = 0; x < pitch; x++) {                                            \
                sum[x] += (uint32_t)p[x] - q[x];                                               \
                squares[x] += (SQUARE)p[x] * p[x] - (SQUARE)q[x] * q[x];                       \
            }                                                                                  \
        }                                                                                      \
    }                                                                                          \
    /* Sums along a row from those of its columns: differences are summed up, LANES / 2 at once. */\
    static INLINE void VARIANT(NAME##_along)(const void *columns, int is_square, ptrdiff_t width,\
                                             ptrdiff_t stride, ptrdiff_t cols, WIDE *out)      \
    {                                                                                          \
        typedef VARIANT(Signed) Narrow;                                                        \
        typedef WIDE Wide __attribute__((vector_size(4 * LANES), aligned(8), may_alias));      \
        typedef SQUARE Squares                                                                 \
            __attribute__((vector_size(LANES / 2 * sizeof(SQUARE)), aligned(4), may_alias));   \
        const uint32_t *sums = columns;                                                        \
        const SQUARE *squares = columns;                                                       \
        uint64_t run = 0;                                                                      \
        for (ptrdiff_t x = 0; x < width; x++)                                                  \
            run += is_square ? (uint64_t)squares[x] : sums[x];                                 \
        out[0] = (WIDE)(int64_t)run;                                                           \
        if (stride > 1) {                                                                      \
            for (ptrdiff_t col = 1, x = 0; col < cols; col++) {                                \
                for (ptrdiff_t i = 0; i < stride; i++, x++)                                    \
                    run += is_square ? (uint64_t)squares[x + width] - squares[x]               \
                                     : (uint64_t)sums[x + width] - sums[x];                    \
                out[col] = (WIDE)(int64_t)run;                                                 \
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
                sum = __builtin_convertvector(*(const Narrow *)(sums + x + width), Wide) -     \
                      __builtin_convertvector(*(const Narrow *)(sums + x), Wide);              \
            RUNNING(zero, sum);                                                                \
            *(Wide *)(out + x + 1) = sum + before;                                             \
            before += LAST(sum);                                                               \
        }                                                                                      \
    }                                                                                          \
    static void VARIANT(NAME##_row)(const uint32_t *sums, const SQUARE *squares,               \
                                    ptrdiff_t channels, ptrdiff_t columns, ptrdiff_t width,    \
                                    ptrdiff_t stride, ptrdiff_t cols, WIDE *s, WIDE *e,        \
                                    ptrdiff_t pitch)                                           \
    {                                                                                          \
        for (ptrdiff_t c = 0; c < channels; c++)                                               \
            VARIANT(NAME##_along)(sums + c * columns, 0, width, stride, cols, s + c * pitch);  \
        VARIANT(NAME##_along)(squares, 1, width, stride, cols, e);                             \
    }                                                                                          \
    /* What is under the root, of some windows: n E - sum S^2, or E; and sum k S. */           \
    static INLINE void VARIANT(NAME##_spread)(const Task *t, const WIDE *s, const WIDE *e,     \
                                              ptrdiff_t pitch, ptrdiff_t at, ptrdiff_t count,  \
                                              double *spread, double *means)                   \
    {                                                                                          \
        WIDE under[BLOCK];                                                                     \
        const WIDE n = (WIDE)(t->height * t->width);                                           \
        for (ptrdiff_t i = 0; i < count; i++)                                                  \
            under[i] = t->metric == ZNCC ? n * e[at + i] : e[at + i];                          \
        for (ptrdiff_t i = 0; i < count; i++)                                                  \
            means[i] = 0;                                                                      \
        for (ptrdiff_t c = 0; c < t->channels; c++) {                                          \
            const WIDE *sum = s + c * pitch + at;                                              \
            if (t->metric == ZNCC)                                                             \
                for (ptrdiff_t i = 0; i < count; i++)                                          \
                    under[i] -= sum[i] * sum[i];                                               \
            else                                                                               \
                for (ptrdiff_t i = 0; i < count; i++)                                          \
                    means[i] += t->means[c] * (double)sum[i];                                  \
        }                                                                                      \
        for (ptrdiff_t i = 0; i < count; i++)                                                  \
            spread[i] = (double)under[i];                                                      \
    }                                                                                          \
    /* X of one window, in double precision. */                                                \
    static double VARIANT(NAME##_direct)(const Task *t, const PIXEL *pixels, ptrdiff_t plane,  \
                                         ptrdiff_t pitch, const WIDE *s, ptrdiff_t s_pitch)    \
    {                                                                                          \
        typedef PIXEL Pixels                                                                   \
            __attribute__((vector_size(LANES / 2 * sizeof(PIXEL)), aligned(1), may_alias));    \
        typedef VARIANT(Doubles) V;                                                            \
        const double *taps = t->taps;                                                          \
        double total = 0;                                                                      \
        for (ptrdiff_t c = 0; c < t->channels; c++) {                                          \
            const double mean = (double)s[c * s_pitch] / (double)(t->height * t->width);       \
            const V means = (V){0} + mean;                                                     \
            V even = {0}, odd = {0};                                                           \
            for (ptrdiff_t y = 0; y < t->height; y++, taps += t->width) {                      \
                const PIXEL *p = pixels + c * plane + y * pitch;                               \
                ptrdiff_t x = 0;                                                               \
                for (; x + LANES <= t->width; x += LANES) {                                    \
                    V a = __builtin_convertvector(*(const Pixels *)(p + x), V);                \
                    V b = __builtin_convertvector(*(const Pixels *)(p + x + LANES / 2), V);    \
                    even += (a - means) * *(const V *)(taps + x);                              \
                    odd += (b - means) * *(const V *)(taps + x + LANES / 2);                   \
                }                                                                              \
                for (; x < t->width; x++)                                                      \
                    total += ((double)p[x] - mean) * taps[x];                                  \
            }                                                                                  \
            even += odd;                                                                       \
            for (int i = 0; i < LANES / 2; i++)                                                \
                total += even[i];                                                              \
        }                                                                                      \
        return total;                                                                          \
    }
MOMENTS(bytes, uint8_t, int32_t, double)
MOMENTS(words, uint16_t, uint64_t, int64_t)
#undef MOMENTS
#undef RUNNING
#undef LAST

/* A tile of a band. */
typedef struct {
    ptrdiff_t top, left;   /* windows, in the band */
    ptrdiff_t rows, cols;
    double energy;         /* of its pixels less their means, about: similar tiles become a pair */
    double off;            /* X is off by at most this */
    ptrdiff_t open;        /* windows whose score would be off by more than the limit */
    int is_repeated;       /* X was made in double precision */
} VARIANT(Region);

typedef struct {
    Task *task;
    const Layout *layout;
    ptrdiff_t top, rows; /* windows */
    VARIANT(Region) *regions;
    ptrdiff_t region_count;
    double (*less)[2]; /* [channels]: the constants of the pair that is transformed */
    double *means;     /* [region_count][channels] */
    uint8_t *planes;
    float *products; /* [rows, x_pitch] */
    float *work;     /* [channels][TILE_VALUES] */
    double *double_work, *double_spectra; /* the same, where needed */
    uint32_t *sums;                       /* of columns */
    void *squares;
    void *s, *e; /* of a row's windows: [channels][x_pitch] and [x_pitch] */
    float *saved; /* maxima and errors of the band's blocks */
} VARIANT(Band);

/* Mean and energy of a tile's pixels, from every eighth row. */
static void VARIANT(survey)(const VARIANT(Band) *b, ptrdiff_t number)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    VARIANT(Region) *r = &b->regions[number];
    r->energy = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        uint64_t sum = 0, square = 0, count = SIDE / 8 * SIDE;
        for (ptrdiff_t y = 0; y < SIDE; y += 8) {
            ptrdiff_t at = (c * l->lines + r->top * t->stride_y + y) * l->pitch + r->left * t->stride_x;
            if (t->type == BYTES) {
                const uint8_t *p = b->planes + at;
                uint32_t line = 0, squares = 0;
                for (int x = 0; x < SIDE; x++)
                    line += p[x], squares += (uint32_t)p[x] * p[x];
                sum += line, square += squares;
            } else {
                const uint16_t *p = (const uint16_t *)b->planes + at;
                for (int x = 0; x < SIDE; x++)
                    sum += p[x], square += (uint64_t)p[x] * p[x];
            }
        }
        double mean = (double)sum / (double)count;
        b->means[number * t->channels + c] = floor(mean + 0.5);
        r->energy += (double)square - mean * (double)sum;
    }
}

/* Transforms two tiles, or one if `other` is NULL. */
static void VARIANT(transform)(VARIANT(Band) *b, VARIANT(Region) *one, VARIANT(Region) *other,
                               int is_double)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    const ptrdiff_t item = t->type == BYTES ? 1 : 2;
    Place places[2];
    const uint8_t *pixels[2];
    VARIANT(Region) *both[2] = {one, other ? other : one};
    for (int i = 0; i < 2; i++) {
        const VARIANT(Region) *r = both[i];
        pixels[i] = b->planes + (r->top * t->stride_y * l->pitch + r->left * t->stride_x) * item;
        places[i] = (Place){b->products + r->top * l->x_pitch + r->left, r->rows, r->cols};
        for (ptrdiff_t c = 0; c < t->channels; c++)
            b->less[c][i] = b->means[(r - b->regions) * t->channels + c];
    }
    const ptrdiff_t plane = l->lines * l->pitch * item;
    double rounding, unit = is_double ? DOUBLE_UNIT : SINGLE_UNIT;
    const double(*less)[2] = (const double(*)[2])b->less;
    if (is_double)
        rounding = VARIANT(pair_double)(pixels[0], pixels[1], plane, l->pitch, t->type, t->channels,
                                       less, b->double_spectra, t->norm, b->double_work, places,
                                       other ? 2 : 1, l->x_pitch, t->stride_y, t->stride_x);
    else
        rounding = VARIANT(pair_single)(pixels[0], pixels[1], plane, l->pitch, t->type, t->channels,
                                       less, t->spectra, t->norm, b->work, places, other ? 2 : 1,
                                       l->x_pitch, t->stride_y, t->stride_x);
    for (int i = 0; i < 2; i++)
        both[i]->off = unit * rounding, both[i]->is_repeated = is_double;
}

/* What a row's windows of one tile are scored with. */
typedef struct {
    double scale;  /* score = scale X / sqrt(spread) */
    double lowest; /* spreads below this one leave a score open */
} VARIANT(Rule);

static INLINE int VARIANT(score)(VARIANT(Band) *b, VARIANT(Region) *r, const VARIANT(Rule) *rule,
                                 ptrdiff_t row, ptrdiff_t left, ptrdiff_t count, int may_repeat,
                                 ptrdiff_t budget, float *maximum, float *error)
{
    Task *t = b->task;
    const Layout *l = b->layout;
    double spread[BLOCK], means[BLOCK];
    const float *x = b->products + row * l->x_pitch + left;
    float *out = t->map + (b->top + row) * t->cols + left, largest = *maximum;
    if (t->type == BYTES)
        VARIANT(bytes_spread)(t, b->s, b->e, l->x_pitch, left, count, spread, means);
    else
        VARIANT(words_spread)(t, b->s, b->e, l->x_pitch, left, count, spread, means);
    if (t->metric == SSD) {
        for (ptrdiff_t i = 0; i < count; i++) {
            float score = (float)(1 - (spread[i] - 2 * (x[i] + means[i]) + t->own) / t->total);
            score = score < 1 ? score : 1;
            out[i] = score;
            largest = largest > score ? largest : score;
        }
        *maximum = largest;
        float off = (float)(2 * r->off / t->total + SCORE_ROUNDING);
        *error = *error > off ? *error : off;
        return 0;
    }
    typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    typedef int32_t Masks __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    const float scale = (float)rule->scale, lowest = (float)rule->lowest;
    float under[BLOCK], made[BLOCK];
    for (ptrdiff_t i = 0; i < count; i++)
        under[i] = (float)spread[i];
    for (ptrdiff_t i = 0; i < count; i++)
        made[i] = under[i] > 0 ? scale / sqrtf(under[i]) : 0;
    if (t->metric == NCC)
        for (ptrdiff_t i = 0; i < count; i++)
            made[i] *= x[i] + (float)means[i];
    else
        for (ptrdiff_t i = 0; i < count; i++)
            made[i] *= x[i];
    for (ptrdiff_t i = 0; i < count; i++) {
        made[i] = made[i] < 1 ? made[i] : 1;
        made[i] = made[i] > -1 ? made[i] : -1;
    }
    memcpy(out, made, (size_t)count * sizeof *out);
    for (ptrdiff_t i = count; i % LANES; i++)
        made[i] = made[count - 1], under[i] = under[count - 1];
    Floats best = (Floats){0} + largest, lows = (Floats){0} + FLT_MAX;
    Masks opens = {0};
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        Floats score = *(Floats *)(made + i), low = *(Floats *)(under + i);
        Masks is_better = score > best, is_flat = low <= 0;
        best = (Floats)((is_better & (Masks)score) | (~is_better & (Masks)best));
        Masks is_open = (low < lowest) & ~is_flat;
        opens |= is_open;
        Masks counts = (low < lows) & ~is_open & ~is_flat;
        lows = (Floats)((counts & (Masks)low) | (~counts & (Masks)lows));
    }
    float least = FLT_MAX;
    int open = 0;
    for (int i = 0; i < LANES; i++) {
        largest = largest > best[i] ? largest : best[i];
        least = least < lows[i] ? least : lows[i];
        open |= opens[i];
    }
    if (open) {
        const ptrdiff_t plane = l->lines * l->pitch;
        for (ptrdiff_t i = 0; i < count; i++) {
            if (!(under[i] > 0 && under[i] < lowest))
                continue;
            r->open++;
            if (may_repeat && r->open > budget)
                return 1; /* the rest of the tile will be made again, this too */
            t->direct++;
            ptrdiff_t at = row * t->stride_y * l->pitch + (left + i) * t->stride_x;
            double exact =
                t->type == BYTES
                    ? VARIANT(bytes_direct)(t, b->planes + at, plane, l->pitch,
                                            (double *)b->s + left + i, l->x_pitch)
                    : VARIANT(words_direct)(t, (uint16_t *)(void *)b->planes + at, plane, l->pitch,
                                            (int64_t *)b->s + left + i, l->x_pitch);
            double score = (exact + means[i]) * rule->scale / sqrt(spread[i]);
            score = score < 1 ? score : 1;
            out[i] = (float)(score > -1 ? score : -1);
        }
        largest = *maximum;
        for (ptrdiff_t i = 0; i < count; i++)
            largest = largest > out[i] ? largest : out[i];
    }
    *maximum = largest;
    float off = SCORE_ROUNDING;
    if (least < FLT_MAX)
        off += (float)(r->off * rule->scale / sqrt((double)least) * (1 + 0x1p-20));
    *error = *error > off ? *error : off;
    return 0;
}

/* Scores of a band's windows. Returns whether tiles have to be made again. */
static int VARIANT(finish)(VARIANT(Band) *b, int may_repeat)
{
    Task *t = b->task;
    const Layout *l = b->layout;
    const ptrdiff_t plane = l->lines * l->pitch, columns = l->columns;
    const ptrdiff_t blocks = (t->cols + t->block - 1) / t->block;
    const ptrdiff_t budget = correlation_budget(t);
    const double scale = (t->metric == ZNCC ? (double)(t->height * t->width) : 1) / sqrt(t->own);
    int again = 0;
    for (ptrdiff_t row = 0; row < b->rows; row++) {
        if (row == 0 && t->type == BYTES)
            VARIANT(bytes_begin)(b->planes, plane, l->pitch, t->channels, t->height, columns,
                                 b->sums, b->squares);
        else if (row == 0)
            VARIANT(words_begin)((uint16_t *)(void *)b->planes, plane, l->pitch, t->channels,
                                 t->height, columns, b->sums, b->squares);
        for (ptrdiff_t y = (row - 1) * t->stride_y; row > 0 && y < row * t->stride_y; y++)
            if (t->type == BYTES)
                VARIANT(bytes_move)(b->planes + y * l->pitch,
                                    b->planes + (y + t->height) * l->pitch, plane, l->pitch,
                                    t->channels, columns, b->sums, b->squares);
            else
                VARIANT(words_move)((uint16_t *)(void *)b->planes + y * l->pitch,
                                    (uint16_t *)(void *)b->planes + (y + t->height) * l->pitch,
                                    plane, l->pitch, t->channels, columns, b->sums, b->squares);
        if (t->type == BYTES)
            VARIANT(bytes_row)(b->sums, b->squares, t->channels, columns, t->width, t->stride_x,
                               t->cols, b->s, b->e, l->x_pitch);
        else
            VARIANT(words_row)(b->sums, b->squares, t->channels, columns, t->width, t->stride_x,
                               t->cols, b->s, b->e, l->x_pitch);
        for (ptrdiff_t i = 0; i < b->region_count; i++) {
            VARIANT(Region) *r = &b->regions[i];
            if (row < r->top || row >= r->top + r->rows)
                continue;
            double open = r->off * scale / t->limit;
            const VARIANT(Rule) rule = {scale, open * open};
            for (ptrdiff_t left = r->left, end; left < r->left + r->cols; left = end) {
                end = (left / t->block + 1) * t->block;
                end = end < r->left + r->cols ? end : r->left + r->cols;
                ptrdiff_t block = (b->top + row) / t->block * blocks + left / t->block;
                again |= VARIANT(score)(b, r, &rule, row, left, end - left, may_repeat, budget,
                                        &t->maxima[block], &t->errors[block]);
            }
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

/* Makes the tiles again, in double precision, whose scores are not all within the limit. */
static int VARIANT(repeat)(VARIANT(Band) *b, ptrdiff_t budget, Arena *doubles)
{
    Task *t = b->task;
    const size_t bytes = (size_t)(t->channels * TILE_VALUES) * sizeof(double);
    if (!b->double_spectra) {
        if (!correlation_open(doubles, 2 * bytes))
            return -1;
        b->double_work = correlation_take(doubles, bytes);
        b->double_spectra = correlation_take(doubles, bytes);
        for (ptrdiff_t c = 0; c < t->channels; c++)
            VARIANT(spectrum_double)(t->taps + c * t->height * t->width, t->height, t->width,
                                     b->double_spectra + c * TILE_VALUES);
    }
    VARIANT(Region) *waiting = NULL;
    for (ptrdiff_t i = 0; i < b->region_count; i++) {
        VARIANT(Region) *r = &b->regions[i];
        if (r->open <= budget)
            continue;
        t->repeated++;
        if (waiting) {
            VARIANT(transform)(b, waiting, r, 1);
            waiting = NULL;
        } else
            waiting = r;
    }
    if (waiting)
        VARIANT(transform)(b, waiting, NULL, 1);
    return 0;
}

static int VARIANT(scores)(Task *t)
{
    const Layout l = correlation_layout(t);
    Arena arena = {0}, doubles = {0};
    const ptrdiff_t most = l.bands * l.across, item = t->type == BYTES ? 1 : 2;
    const ptrdiff_t columns = (t->cols - 1) * t->stride_x + t->width;
    const ptrdiff_t blocks = (t->cols + t->block - 1) / t->block;
    const ptrdiff_t block_rows = (l.bands * l.tall) / t->block + 2;
    if (!correlation_open(&arena, correlation_scratch(t, &l)))
        return -1;
    VARIANT(Band) b = {.task = t, .layout = &l};
    b.regions = correlation_take(&arena, (size_t)most * sizeof *b.regions);
    VARIANT(Region) **order = correlation_take(&arena, (size_t)most * sizeof *order);
    b.less = correlation_take(&arena, (size_t)t->channels * sizeof *b.less);
    b.means = correlation_take(&arena, (size_t)(most * t->channels) * sizeof *b.means);
    b.planes = correlation_take(&arena, (size_t)(t->channels * l.lines * l.pitch * item));
    b.products = correlation_take(&arena, (size_t)(l.bands * l.tall * l.x_pitch) * sizeof(float));
    b.work = correlation_take(&arena, (size_t)(t->channels * TILE_VALUES) * sizeof(float));
    b.sums = correlation_take(&arena, (size_t)(t->channels * l.columns) * sizeof *b.sums);
    b.squares = correlation_take(&arena, (size_t)l.columns * 8);
    b.s = correlation_take(&arena, (size_t)(t->channels * l.x_pitch) * 8);
    b.e = correlation_take(&arena, (size_t)l.x_pitch * 8);
    b.saved = correlation_take(&arena, (size_t)(2 * block_rows * blocks) * sizeof(float));
    int failed = 0;
    const ptrdiff_t budget = t->metric == SSD ? 0 : correlation_budget(t);
    for (b.top = 0; b.top < t->rows && !failed; b.top += b.rows) {
        b.rows = l.bands * l.tall < t->rows - b.top ? l.bands * l.tall : t->rows - b.top;
        ptrdiff_t first = b.top * t->stride_y;
        ptrdiff_t lines = (t->rows - 1) * t->stride_y + t->height - first; /* that the image has */
        if (t->type == BYTES)
            VARIANT(fill_bytes)(t, &l, first, lines < l.lines ? lines : l.lines, columns, b.planes);
        else
            VARIANT(fill_words)(t, &l, first, lines < l.lines ? lines : l.lines, columns,
                                (uint16_t *)(void *)b.planes);
        b.region_count = 0;
        for (ptrdiff_t top = 0; top < b.rows; top += l.tall)
            for (ptrdiff_t left = 0; left < t->cols; left += l.wide) {
                ptrdiff_t rows = b.rows - top < l.tall ? b.rows - top : l.tall;
                ptrdiff_t cols = t->cols - left < l.wide ? t->cols - left : l.wide;
                order[b.region_count] = &b.regions[b.region_count];
                b.regions[b.region_count] = (VARIANT(Region)){top, left, rows, cols, 0, 0, 0, 0};
                VARIANT(survey)(&b, b.region_count++);
            }
        qsort(order, (size_t)b.region_count, sizeof *order, VARIANT(by_energy));
        for (ptrdiff_t i = b.region_count - 1; i >= 0; i -= 2)
            VARIANT(transform)(&b, order[i], i > 0 ? order[i - 1] : NULL, 0);
        ptrdiff_t begin = b.top / t->block * blocks;
        size_t saved = (size_t)(((b.top + b.rows - 1) / t->block - b.top / t->block + 1) * blocks);
        memcpy(b.saved, t->maxima + begin, saved * sizeof(float));
        memcpy(b.saved + saved, t->errors + begin, saved * sizeof(float));
        int again = 0;
        if (t->metric == SSD) /* where every score of a tile may be off by as much */
            for (ptrdiff_t i = 0; i < b.region_count; i++)
                again |= b.regions[i].open = 2 * b.regions[i].off / t->total > t->limit;
        else
            again = VARIANT(finish)(&b, 1);
        if (again && (failed = VARIANT(repeat)(&b, budget, &doubles)))
            break;
        if (again || t->metric == SSD) {
            memcpy(t->maxima + begin, b.saved, saved * sizeof(float));
            memcpy(t->errors + begin, b.saved + saved, saved * sizeof(float));
            VARIANT(finish)(&b, 0);
        }
    }
    correlation_close(&doubles);
    correlation_close(&arena);
    return failed;
}
