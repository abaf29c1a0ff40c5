/* Products of a kernel with the mosaics of tiles; included by _correlation_core.h once for each variant.
 *
 * A mosaic is a picture of squares of MOSAIC x MOSAIC pixels, of which each has one value: about the
 * mean of the tile's pixels there. Where zncc takes the mosaic m off a tile, in place of a constant,
 *
 *     X = sum (I - m) b + sum m b.
 *
 * The first sum is by transforms, whose rounding is that of the norm of I - m: of most photographs a
 * half to a quarter of that of I, so that fewer windows of little contrast have to be made again. The
 * second one is of a product for each square under a window, in double precision: of its value, less
 * a constant of the tile, and the sum of the b that lie there. Those sums depend on the place of the
 * window's first pixel in its square alone.
 */

/* The pixels of a tile less its mosaic have at most this share of their energy less a constant, or
 * there is no mosaic. */
#define WORTH_MOSAIC 0.6
/* Products of what is left once a mosaic is taken off do not grow with kernels of more than so many
 * pixels: they are expected to be those of as many. Of ten photographs with kernels of 16 to 64. */
#define MOST_EXPECTED (26 * 26)
/* The time of a product with a square, of a window, in that of a product of direct sums. */
#define MOSAIC_TIME_OF_BYTES 1.7
#define MOSAIC_TIME_OF_OTHERS 0.5

/* The values of a tile's mosaic, from every fourth row, and its energy as `survey` has it. */
#define SURVEY(NAME, PIXEL, ROUNDED)                                                           \
    static double VARIANT(survey_mosaic_of_##NAME)(const VARIANT(Band) *b,                     \
                                                   const VARIANT(Region) *r, float *out)       \
    {                                                                                          \
        typedef VARIANT(Doubles) V;                                                            \
        const Task *t = b->task;                                                               \
        const Layout *l = b->layout;                                                           \
        double energy = 0;                                                                     \
        for (ptrdiff_t c = 0; c < t->channels; c++)                                            \
            for (ptrdiff_t y = 0; y < t->sides.y; y += MOSAIC)                                 \
                for (ptrdiff_t x = 0; x < t->sides.x; x += MOSAIC) {                           \
                    const PIXEL *p = (const PIXEL *)(const void *)b->planes +                  \
                                     (c * l->lines + r->top + y) * l->pitch + r->left + x;     \
                    V sums = {0}, squares = {0};                                               \
                    for (ptrdiff_t row = 0; row < MOSAIC; row += 4)                            \
                        for (ptrdiff_t i = 0; i < MOSAIC; i += LANES / 2) {                    \
                            const V one = (V)VARIANT(of_##NAME##_double)(p + row * l->pitch + i); \
                            sums += one, squares += one * one;                                 \
                        }                                                                      \
                    double sum = 0, square = 0;                                                \
                    for (int i = 0; i < LANES / 2; i++)                                        \
                        sum += sums[i], square += squares[i];                                  \
                    const double mean = sum / (MOSAIC * MOSAIC / 4);                           \
                    *out++ = (float)ROUNDED(mean);                                             \
                    energy += square - mean * sum;                                             \
                }                                                                              \
        return energy / 2; /* as of every eighth row */                                        \
    }
SURVEY(bytes, uint8_t, TO_INTEGER)
SURVEY(words, uint16_t, TO_INTEGER)
SURVEY(floats, float, AS_IT_IS)
#undef SURVEY

static INLINE float *VARIANT(mosaic_of)(const VARIANT(Band) *b, const VARIANT(Region) *r)
{
    return b->mosaics + (r - b->regions) * b->task->channels * squares_of(b->task->sides);
}

/* The same, with a constant of the tile in each square where it has no mosaic. */
static const float *VARIANT(squares_for)(const VARIANT(Band) *b, const VARIANT(Region) *r)
{
    const ptrdiff_t squares = squares_of(b->task->sides);
    float *mosaic = VARIANT(mosaic_of)(b, r);
    for (ptrdiff_t c = 0; c < b->task->channels && !r->has_mosaic; c++)
        for (ptrdiff_t i = 0; i < squares; i++)
            mosaic[c * squares + i] = (float)b->means[(r - b->regions) * b->task->channels + c];
    return mosaic;
}

static INLINE ptrdiff_t VARIANT(within)(ptrdiff_t value, ptrdiff_t most)
{
    return value < 0 ? 0 : value < most ? value : most;
}

/* Sums of a kernel's taps over the squares under a window: [channels][y in the first square][squares
 * down][squares across][x in the first square]. */
static void VARIANT(sum_taps)(const Task *t, double *lines, double *out)
{
    const ptrdiff_t down = squares_under(t->height), across = squares_under(t->width);
    const ptrdiff_t columns = across * MOSAIC;
    const double *taps = t->taps;
    double before[MOST_UNDER_MOSAIC + 1]; /* sums of the taps of a row before each */
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        memset(lines, 0, (size_t)columns * sizeof *lines); /* sums of the rows above */
        for (ptrdiff_t y = 0; y < t->height; y++, taps += t->width) {
            before[0] = 0;
            for (ptrdiff_t x = 0; x < t->width; x++)
                before[x + 1] = before[x] + taps[x];
            for (ptrdiff_t i = 0; i < columns; i++) {
                const ptrdiff_t first = i / MOSAIC * MOSAIC - i % MOSAIC;
                lines[(y + 1) * columns + i] = lines[y * columns + i] +
                                               before[VARIANT(within)(first + MOSAIC, t->width)] -
                                               before[VARIANT(within)(first, t->width)];
            }
        }
        for (ptrdiff_t y = 0; y < MOSAIC; y++)
            for (ptrdiff_t i = 0; i < down; i++, out += columns) {
                const ptrdiff_t first = i * MOSAIC - y;
                const double *end = lines + VARIANT(within)(first + MOSAIC, t->height) * columns;
                const double *begin = lines + VARIANT(within)(first, t->height) * columns;
                for (ptrdiff_t x = 0; x < columns; x++)
                    out[x] = end[x] - begin[x];
            }
    }
}

/* Adds those of the windows that begin in a square. */
static INLINE void VARIANT(add_square)(const VARIANT(Doubles) *sums, float *out)
{
    typedef VARIANT(FloatsAnywhere) Anywhere;
    UNROLL16 for (int i = 0; i < MOSAIC / LANES; i++)
    {
        Anywhere *own = (Anywhere *)(out + i * LANES);
        const VARIANT(Singles) values = (VARIANT(Singles))*own;
        const VARIANT(Doubles) halves[2] = {
            sums[2 * i] + VARIANT(half_of_floats)(values, 0),
            sums[2 * i + 1] + VARIANT(half_of_floats)(values, 1),
        };
        *own = VARIANT(joined)(halves);
    }
}

/* The same of the first ones alone: others are those of the next tile. */
static __attribute__((noinline)) void VARIANT(add_some)(const VARIANT(Doubles) *sums,
                                                        ptrdiff_t count, float *out)
{
    float all[MOSAIC] = {0};
    memcpy(all, out, (size_t)count * sizeof *out);
    VARIANT(add_square)(sums, all);
    memcpy(out, all, (size_t)count * sizeof *out);
}

/* Makes the steps of a tile: the values of its mosaic less its constants. Returns the largest size. */
static double VARIANT(make_steps)(VARIANT(Band) *b, const VARIANT(Region) *r)
{
    const Task *t = b->task;
    const ptrdiff_t high = t->sides.y / MOSAIC, wide = t->sides.x / MOSAIC, pitch = steps_pitch(t);
    const double *means = b->means + (r - b->regions) * t->channels;
    const float *mosaic = VARIANT(mosaic_of)(b, r);
    double largest = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++)
        for (ptrdiff_t y = 0; y < high; y++)
            for (ptrdiff_t x = 0; x < wide; x++, mosaic++) {
                const double step = (*mosaic - means[c]) * b->unit, size = fabs(step);
                b->steps[(c * high + y) * pitch + x] = step;
                largest = largest > size ? largest : size;
            }
    return largest;
}

/* Adds the products of a kernel's windows in a tile with its mosaic, of which `make_steps` made the steps,
 * to those of the transforms. Returns what they are off by, at most. */
static double VARIANT(add_mosaic)(VARIANT(Band) *b, ptrdiff_t kernel, const VARIANT(Region) *r,
                                  double largest)
{
    typedef VARIANT(Doubles) V;
    enum { PARTS = 2 * MOSAIC / LANES, AT_ONCE = LANES / 4 }; /* vectors of a square; squares */
    const Task *t = b->task + kernel;
    const ptrdiff_t down = squares_under(t->height), across = squares_under(t->width);
    const ptrdiff_t high = t->sides.y / MOSAIC, pitch = steps_pitch(t);
    for (ptrdiff_t row = 0; row < r->rows; row++) {
        float *out = b->products + kernel * b->step + (r->top + row) * b->layout->x_pitch + r->left;
        const ptrdiff_t y = row % MOSAIC, rows = (y + t->height - 1) / MOSAIC + 1;
        for (ptrdiff_t x = 0; x * MOSAIC < r->cols; x += AT_ONCE) {
            V sums[AT_ONCE][PARTS] = {{{0}}};
            for (ptrdiff_t c = 0; c < t->channels; c++) {
                const double *weights =
                    b->weights[kernel] + (c * MOSAIC + y) * down * across * MOSAIC;
                const double *steps = b->steps + (c * high + row / MOSAIC) * pitch + x;
                for (ptrdiff_t i = 0; i < rows; i++, steps += pitch)
                    for (ptrdiff_t j = 0; j < across; j++, weights += MOSAIC)
                        UNROLL16 for (int k = 0; k < AT_ONCE; k++)
                            UNROLL16 for (int part = 0; part < PARTS; part++)
                                sums[k][part] += ((const V *)weights)[part] * steps[j + k];
            }
            UNROLL16 for (int k = 0; k < AT_ONCE; k++)
            {
                const ptrdiff_t left = (x + k) * MOSAIC, count = r->cols - left;
                if (count >= MOSAIC)
                    VARIANT(add_square)(sums[k], out + left);
                else if (count > 0)
                    VARIANT(add_some)(sums[k], count, out + left);
            }
        }
    }
    /* A weight is a difference of sums of so many taps, which are together no more than `taps`. */
    const double count = (double)(t->channels * t->height * t->width), taps = sqrt(count) * t->norm;
    const double roundings = (double)(t->height + t->width + t->channels + 3);
    return 0x1p-53 * largest * taps * roundings * (double)(down * across);
}

/* What the rounding of a tile's products is expected to be, for a kernel of norm and smooth_share 1. */
static double VARIANT(expected_rounding)(const VARIANT(Band) *b, const VARIANT(Region) *r)
{
    const Task *t = b->task;
    const double side = sqrt((double)(t->sides.y / t->sides.folds * t->sides.x));
    const double norm = b->unit * sqrt(8 * r->energy) / side; /* of every eighth row */
    const double pixels = (double)(t->height * t->width);
    const double grown = r->has_mosaic && pixels > MOST_EXPECTED ? MOST_EXPECTED : pixels;
    return ROUNDING_UNITS * 0x1p-24 * EXPECTED * sqrt(grown) * norm;
}

/* About the kernel's smooth_share, by which its rounding is expected when tiles get mosaics: one of few
 * values, because kernels that are scored together have the same. */
static double VARIANT(rough_share)(const Task *t)
{
    return !correlation_has_mosaics(t) ? 0
           : t->smooth_share > 0.25    ? 0.5
           : t->smooth_share > 0.0625  ? 0.125
                                       : 0.03125;
}

/* Lets a tile have a mosaic where more of its windows than that is worth are likely to be open without
 * it. */
static void VARIANT(choose_mosaic)(VARIANT(Band) *b, VARIANT(Region) *r)
{
    const Task *t = b->task;
    const double n = (double)(t->height * t->width), channels = (double)t->channels;
    const double off = VARIANT(expected_rounding)(b, r) / t->limit;
    const double lowest = n * VARIANT(rough_share)(t) * off * off;
    const double squares = (double)(squares_under(t->height) * squares_under(t->width));
    const double time = channels * squares * (double)(r->rows * r->cols) *
                        (t->type == BYTES ? MOSAIC_TIME_OF_BYTES : MOSAIC_TIME_OF_OTHERS);
    if ((double)VARIANT(count_open)(b, r, lowest) * correlation_window_time(t) < time)
        return;
    const double energy = (t->type == BYTES   ? VARIANT(survey_mosaic_of_bytes)
                           : t->type == WORDS ? VARIANT(survey_mosaic_of_words)
                                              : VARIANT(survey_mosaic_of_floats))(
        b, r, VARIANT(mosaic_of)(b, r));
    if (energy > WORTH_MOSAIC * r->energy)
        return;
    r->energy = energy, r->has_mosaic = 1;
    for (ptrdiff_t k = 0; k < b->count && !b->has_weights; k++)
        VARIANT(sum_taps)(t + k, b->lines, b->weights[k]);
    b->has_weights = 1;
}
