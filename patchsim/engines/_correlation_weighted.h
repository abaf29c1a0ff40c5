/* From the pixels of a task to its scores, where the kernel's values have weights or the image is
 * visible in part; included once for each variant, after _correlation_core.h.
 *
 * With w the weights, v the visibility of the image (1 where all is visible), a = I - m the pixels
 * less a constant of the tile and channel, b = K - k the kernel less its weighted means, and
 *
 *     X = sum w v a b    S = sum w v a    T = sum w v b    n = sum w v    of each channel,
 *     E = sum w v a^2    B = sum w v b^2                                  over all channels:
 *
 *     zncc  (X - sum ST / n) / sqrt((E - sum S^2 / n) (B - sum T^2 / n))
 *     ncc   X / sqrt(E B), with K for b and I for a
 *     ssd   1 - (E - 2 X + B) / (R^2 sum n), with k for m
 *
 * All sums are correlations of v a, v a^2 and v with planes of the kernel, by transforms in double
 * precision. They are linear, so those that are only added up share one way back. Where all is
 * visible n, T and B are numbers: T is 0, and sum n R^2 is the task's total, B its own. The sums of
 * integers are integers, to which E, S, T, B and n are rounded where their errors allow it; b has no
 * fraction then. A spread that is not 0 is 1/2 at least: sum_i<j w_i w_j (a_i - a_j)^2 / n, with one
 * value in some pixels and others in the rest, is p (n - p) / n or more.
 *
 * A score that may be off by more than `limit`, or whose window may be flat, is made again from
 * direct sums.
 */
#define WIDE VARIANT(Doubles)
#define MOST_WIDTH (MOST_SIDE * MOST_PARTS) /* of a kernel */
#define TO_SINGLE_ROUNDING 0x1p-24 /* of a score up to 1, which is made in double precision */

/* What is known of a sum over windows. */
typedef struct {
    double off;   /* it is off by at most this, 0 where it is rounded to an integer */
    double added; /* to it */
    int is_whole; /* it is to be rounded */
} VARIANT(Sum);

typedef struct {
    const Weighted *weighted;
    VARIANT(Band) band; /* its task, layout, pixels and tiles */
    Outputs outputs;
    double *work;                    /* [tile_values] */
    double *totals;                  /* [outputs][tile_values] */
    double *found;                   /* [tiles][outputs][tall][pitch] */
    ptrdiff_t pitch;
    double *plain;                   /* [tiles][sides]: of a plane that is made of pixels */
    uint8_t *levels;                 /* of the band */
    uint8_t *is_uniform;             /* of the band's windows, made where it is needed */
    int has_uniform;
    double *norms, *peaks;           /* [parts][planes]: of the kernel */
    double weights[MOST_WEIGHTED_CHANNELS]; /* W: n where all is visible */
    double largest;                  /* no sum of integers is larger */
    /* Of the pair that is worked on. */
    double rounding[MOST_OUTPUTS], peaked[MOST_OUTPUTS];
    int has_begun[MOST_OUTPUTS];
    double centres[2]; /* of v a^2: taken off before the transform */
    double centre_of[2][MOST_WEIGHTED_CHANNELS];
    VARIANT(Sum) sums[2][MOST_OUTPUTS];
    double direct[MOST_CHANNELS];
} VARIANT(Weigher);

/* A tile of values v (p - less)^power, put or added to `out`. */
#define PLAIN(NAME, PIXEL)                                                                     \
    static INLINE void VARIANT(NAME##_values)(const PIXEL *p, ptrdiff_t pitch,                 \
                                              const uint8_t *levels, double less, Sides sides, \
                                              int is_square, int is_added, double *out)        \
    {                                                                                          \
        for (ptrdiff_t y = 0; y < sides.y; y++, p += pitch, out += sides.x) {                  \
            double values[MOST_SIDE];                                                          \
            for (ptrdiff_t x = 0; x < sides.x; x++) {                                          \
                const double a = (double)p[x] - less;                                          \
                values[x] = is_square ? a * a : a;                                             \
            }                                                                                  \
            if (levels)                                                                        \
                for (ptrdiff_t x = 0; x < sides.x; x++)                                        \
                    values[x] *= levels[y * pitch + x];                                        \
            for (ptrdiff_t x = 0; x < sides.x; x++)                                            \
                out[x] = is_added ? out[x] + values[x] : values[x];                            \
        }                                                                                      \
    }                                                                                          \
    static void VARIANT(NAME)(const void *p, ptrdiff_t pitch, const uint8_t *levels,           \
                              double less, Sides sides, int is_square, int is_added,           \
                              double *out)                                                     \
    {                                                                                          \
        if (is_square && is_added)                                                             \
            VARIANT(NAME##_values)(p, pitch, levels, less, sides, 1, 1, out);                  \
        else if (is_square)                                                                    \
            VARIANT(NAME##_values)(p, pitch, levels, less, sides, 1, 0, out);                  \
        else                                                                                   \
            VARIANT(NAME##_values)(p, pitch, levels, less, sides, 0, 0, out);                  \
    }
PLAIN(plain_bytes, uint8_t)
PLAIN(plain_words, uint16_t)
PLAIN(plain_floats, float)
PLAIN(plain_doubles, double)
#undef PLAIN

/* Products of a group of the plane with one of the kernel, put or added to a sum; and the largest
 * power of the plane's frequencies, of the first sum. */
static INLINE VARIANT(V_double) VARIANT(add_group)(const double *own, const double *kernel,
                                                   ptrdiff_t cells, int has_begun, int is_first,
                                                   VARIANT(V_double) peaks, double *sum)
{
    typedef VARIANT(V_double) V;
    for (ptrdiff_t j = 0; j < cells; j++)
        for (ptrdiff_t at = CELL_VALUES * j; at < CELL_VALUES * j + 256; at += LANES / 2) {
            const V re = *(const V *)(own + at), im = *(const V *)(own + at + 256);
            const V kre = *(const V *)(kernel + at), kim = *(const V *)(kernel + at + 256);
            V products = re * kre + im * kim, crossed = im * kre - re * kim;
            if (has_begun)
                products += *(V *)(sum + at), crossed += *(V *)(sum + at + 256);
            *(V *)(sum + at) = products, *(V *)(sum + at + 256) = crossed;
            if (is_first)
                peaks = VARIANT(larger_double)(peaks, re * re + im * im);
        }
    return peaks;
}

static INLINE double VARIANT(largest_lane)(VARIANT(V_double) values)
{
    double largest = values[0];
    for (int lane = 1; lane < LANES / 2; lane++)
        largest = largest > values[lane] ? largest : values[lane];
    return largest;
}

/* Transforms the plane in `work` and adds its products with planes of the kernel to sums. */
static void VARIANT(add)(VARIANT(Weigher) *g, double squares, ptrdiff_t part,
                         const ptrdiff_t *planes, const ptrdiff_t *outputs, int count)
{
    const Weighted *w = g->weighted;
    const Sides sides = w->task.sides;
    const ptrdiff_t my = first_of_y(sides), mx = sides.x / 16, group = group_values(mx);
    const ptrdiff_t tile = tile_values(sides), spectrum = spectrum_values(sides);
    const int is_folded = sides.folds > 1;
    VARIANT(V_double) peaks = {0}, powers = {0}, kernel_peaks = {0};
    /* Of folded tiles the products of k1 are made beside those of -k1. */
    for (ptrdiff_t k = 0; k < (is_folded ? my / 2 + 1 : my); k++) {
        const ptrdiff_t mate = (my - k) % my;
        VARIANT(forward_double)(g->work + k * group, mx, NULL);
        if (is_folded && mate != k)
            VARIANT(forward_double)(g->work + mate * group, mx, NULL);
        for (int i = 0; i < count; i++) {
            double *sum = g->totals + outputs[i] * tile;
            const double *kernel =
                w->spectra + (part * w->plane_count + planes[i]) * spectrum + k * group;
            const int has_begun = g->has_begun[outputs[i]];
            if (is_folded)
                VARIANT(multiply_folded_double)(g->work, kernel, kernel + spectrum / 2, sum, sides,
                                                k, !has_begun, 0, &powers, &peaks, &kernel_peaks);
            else
                peaks = VARIANT(add_group)(g->work + k * group, kernel, mx, has_begun, i == 0, peaks,
                                           sum + k * group);
        }
    }
    const double side = sqrt((double)(sides.y / sides.folds * sides.x));
    for (int i = 0; i < count; i++) {
        const ptrdiff_t at = part * w->plane_count + planes[i];
        g->rounding[outputs[i]] += sqrt(squares) * g->norms[at] / side;
        g->peaked[outputs[i]] += sqrt(VARIANT(largest_lane)(peaks)) * g->peaks[at];
        g->has_begun[outputs[i]] = 1;
    }
}

/* A plane of one of the tiles, of which there is one where it is folded. */
static double *VARIANT(plain_of)(const VARIANT(Weigher) *g, int tile)
{
    const Sides sides = g->weighted->task.sides;
    return g->plain + tile * sides.y * sides.x;
}

/* The first stage of the planes of two tiles, or of the even and odd rows of one. */
static double VARIANT(down_plain)(VARIANT(Weigher) *g, const double less[2])
{
    const Sides sides = g->weighted->task.sides;
    const double *other = sides.folds > 1 ? g->plain + sides.x : VARIANT(plain_of)(g, 1);
    return VARIANT(down_doubles_double)(g->plain, other, sides.folds * sides.x, less, NULL, 1, 0, NULL,
                                        sides, g->work);
}

/* The values v (p - less)^power of a plane of a tile. */
static void VARIANT(make_plain)(VARIANT(Weigher) *g, const uint8_t *pixels, const uint8_t *levels,
                                double less, int is_square, int is_added, double *out)
{
    const Task *t = &g->weighted->task;
    (t->type == BYTES    ? VARIANT(plain_bytes)
     : t->type == WORDS  ? VARIANT(plain_words)
     : t->type == FLOATS ? VARIANT(plain_floats)
                         : VARIANT(plain_doubles))(pixels, g->band.layout->pitch, levels, less,
                                                   t->sides, is_square, is_added, out);
}

/* Adds what v a^2 gives, of one channel or the sum over all. `first` is the first one's number. */
static void VARIANT(add_squares)(VARIANT(Weigher) *g, const uint8_t *const pixels[2],
                                 const uint8_t *const levels[2], double less[][2], ptrdiff_t part,
                                 ptrdiff_t first, ptrdiff_t count)
{
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const Layout *l = g->band.layout;
    const ptrdiff_t plane = l->lines * l->pitch * correlation_item(t);
    const Sides sides = t->sides;
    double centres[2] = {0};
    for (int i = 0; i < (sides.folds > 1 ? 1 : 2); i++) {
        double *out = VARIANT(plain_of)(g, i), sum = 0;
        for (ptrdiff_t c = first; c < first + count; c++)
            VARIANT(make_plain)(g, pixels[i] + c * plane, levels[i], less[c][i], 1, c > first, out);
        for (ptrdiff_t y = 0; y < sides.y; y += 8)
            for (ptrdiff_t x = 0; x < sides.x; x++)
                sum += out[y * sides.x + x];
        centres[i] = sum / (double)(sides.y / 8 * sides.x);
        if (t->type <= WORDS)
            centres[i] = floor(centres[i] + 0.5);
        /* The parts of a kernel see the same constant in all pixels: that of the first part. */
        if (part == 0)
            g->centre_of[i][first] = centres[i];
        centres[i] = g->centre_of[i][first];
    }
    if (sides.folds > 1)
        centres[1] = centres[0];
    const double squares = VARIANT(down_plain)(g, centres);
    const ptrdiff_t kernel = t->channels + (w->weight_planes > 1 ? first : 0);
    const ptrdiff_t output = t->metric == SSD ? 0 : g->outputs.energy;
    VARIANT(add)(g, squares, part, &kernel, &output, 1);
}

/* Adds what v gives: n, T and B. */
static void VARIANT(add_levels)(VARIANT(Weigher) *g, const uint8_t *const levels[2],
                                ptrdiff_t part)
{
    static const double less[2] = {0};
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const Outputs *o = &g->outputs;
    ptrdiff_t planes[MOST_PLANES], outputs[MOST_PLANES];
    int count = 0;
    for (ptrdiff_t j = 0; j < w->weight_planes; j++, count++)
        planes[count] = t->channels + j, outputs[count] = o->counts + j;
    for (ptrdiff_t c = 0; c < t->channels && t->metric == ZNCC; c++, count++)
        planes[count] = c, outputs[count] = o->own_sums + c;
    planes[count] = w->plane_count - 1;
    outputs[count++] = t->metric == SSD ? 0 : o->own;
    const double squares =
        VARIANT(down_bytes_double)(levels[0], levels[1], t->sides.folds * g->band.layout->pitch,
                                   less, NULL, 1, 0, NULL, t->sides, g->work);
    VARIANT(add)(g, squares, part, planes, outputs, count);
}

/* Adds what v a gives: X, and S of the channel. */
static void VARIANT(add_pixels)(VARIANT(Weigher) *g, const uint8_t *const pixels[2],
                                const uint8_t *const levels[2], double less[][2], ptrdiff_t part,
                                ptrdiff_t c)
{
    static const double none[2] = {0};
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const Layout *l = g->band.layout;
    const ptrdiff_t at = c * l->lines * l->pitch * correlation_item(t);
    double squares;
    if (levels[0]) {
        for (int i = 0; i < (t->sides.folds > 1 ? 1 : 2); i++)
            VARIANT(make_plain)(g, pixels[i] + at, levels[i], less[c][i], 0, 0,
                                VARIANT(plain_of)(g, i));
        squares = VARIANT(down_plain)(g, none);
    } else
        squares = VARIANT(down_of_double)(t, 0)(pixels[0] + at, pixels[1] + at,
                                                t->sides.folds * l->pitch, less[c], NULL, 1, 0, NULL,
                                                t->sides, g->work);
    const ptrdiff_t planes[2] = {c, t->channels + (w->weight_planes > 1 ? c : 0)};
    const ptrdiff_t outputs[2] = {0, g->outputs.sums + c};
    VARIANT(add)(g, squares, part, planes, outputs, t->metric == ZNCC ? 2 : 1);
}

/* Says how far the sums of a pair's tile may be off, and what is added to them. */
static void VARIANT(state)(VARIANT(Weigher) *g, int tile, const double *off)
{
    const Weighted *w = g->weighted;
    const Outputs *o = &g->outputs;
    const int is_integer = w->task.type <= WORDS && g->largest < 0x1p50;
    for (ptrdiff_t i = 0; i < o->count; i++) {
        VARIANT(Sum) *sum = &g->sums[tile][i];
        sum->off = off[i], sum->added = 0;
        sum->is_whole = i > 0 && is_integer && off[i] < 0.25;
        /* n is made of weights and levels, which are integers. */
        if (w->levels && i >= o->counts && i < o->counts + w->weight_planes)
            sum->is_whole = 1;
        if (sum->is_whole)
            sum->off = 0;
    }
    const ptrdiff_t energy = w->task.metric == SSD ? 0 : o->energy;
    for (ptrdiff_t j = 0; j < w->weight_planes; j++)
        g->sums[tile][energy].added += g->centre_of[tile][j] * g->weights[j];
}

/* The way back of a sum, which returns what stands for the rounding of the products. */
static double VARIANT(bring_back)(VARIANT(Weigher) *g, double *total, const Place *places, int count)
{
    const Task *t = &g->weighted->task;
    const ptrdiff_t my = first_of_y(t->sides), mx = t->sides.x / 16, group = group_values(mx);
    double power = 0;
    for (ptrdiff_t k = 0; k < my; k++) {
        VARIANT(V_double) powers = {0};
        for (ptrdiff_t cell = 0; cell < mx; cell++)
            for (ptrdiff_t at = 0; at < 512; at += LANES / 2) {
                const VARIANT(V_double) value =
                    *(VARIANT(V_double) *)(total + k * group + cell * CELL_VALUES + at);
                powers += value * value;
            }
        for (int lane = 0; lane < LANES / 2; lane++)
            power += powers[lane];
        VARIANT(backward_double)(total + k * group, mx, NULL);
    }
    const double largest =
        VARIANT(up_double)(total, t->sides, places, count, t->sides.folds * g->pitch, t->stride_y,
                           t->stride_x);
    return sqrt(power) + largest / 2;
}

/* The sums of two tiles, or of one if `other` is NULL, as of folded ones. */
static void VARIANT(weigh)(VARIANT(Weigher) *g, const VARIANT(Region) *one,
                           const VARIANT(Region) *other)
{
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const Layout *l = g->band.layout;
    const ptrdiff_t item = correlation_item(t), each = l->tall * g->pitch;
    const int is_folded = t->sides.folds > 1;
    const VARIANT(Region) *both[2] = {one, other ? other : one};
    double less[MOST_WEIGHTED_CHANNELS][2], off[MOST_OUTPUTS];
    for (ptrdiff_t c = 0; c < t->channels; c++)
        for (int i = 0; i < 2; i++)
            less[c][i] = t->metric == NCC   ? 0
                         : t->metric == SSD ? t->means[c]
                                            : g->band.means[(both[i] - g->band.regions) * t->channels + c];
    memset(g->rounding, 0, sizeof g->rounding);
    memset(g->peaked, 0, sizeof g->peaked);
    memset(g->has_begun, 0, sizeof g->has_begun);
    for (ptrdiff_t part = 0; part < t->parts_y * t->parts_x; part++) {
        const uint8_t *pixels[2], *levels[2];
        for (int i = 0; i < 2; i++) {
            const ptrdiff_t y = both[i]->top * t->stride_y + part / t->parts_x * t->part_height;
            const ptrdiff_t x = both[i]->left * t->stride_x + part % t->parts_x * t->part_width;
            const ptrdiff_t at = (y + (is_folded ? i : 0)) * l->pitch + x;
            pixels[i] = g->band.planes + at * item;
            levels[i] = w->levels ? g->levels + at : NULL;
        }
        for (ptrdiff_t c = 0; c < t->channels; c++)
            VARIANT(add_pixels)(g, pixels, levels, less, part, c);
        if (w->weight_planes > 1)
            for (ptrdiff_t c = 0; c < t->channels; c++)
                VARIANT(add_squares)(g, pixels, levels, less, part, c, 1);
        else
            VARIANT(add_squares)(g, pixels, levels, less, part, 0, t->channels);
        if (w->levels)
            VARIANT(add_levels)(g, levels, part);
    }
    const int is_square = t->sides.y == SIDE && t->sides.x == SIDE && !is_folded;
    const double unit = 0x1p-53 * (is_square ? ROUNDING_UNITS : MORE_ROUNDING_UNITS);
    for (ptrdiff_t i = 0; i < g->outputs.count; i++) {
        Place places[2];
        for (int tile = 0; tile < 2; tile++) {
            double *found = g->found + i * each;
            places[tile] =
                is_folded ? (Place){found + tile * g->pitch, 1, (one->rows + 1 - tile) / 2, one->cols}
                          : (Place){found + tile * g->outputs.count * each, 1, both[tile]->rows,
                                    both[tile]->cols};
        }
        const double back = VARIANT(bring_back)(g, g->totals + i * tile_values(t->sides), places,
                                                is_folded || other ? 2 : 1);
        off[i] = unit * (gathered(t) * g->rounding[i] + back + g->peaked[i] / 2);
    }
    VARIANT(state)(g, 0, off);
    if (!is_folded)
        VARIANT(state)(g, 1, off);
}

/* A row of pixels as doubles. */
static void VARIANT(row_of)(const Task *t, const uint8_t *row, ptrdiff_t count, double *out)
{
#define EACH(PIXEL)                                                                            \
    for (ptrdiff_t x = 0; x < count; x++)                                                      \
        out[x] = (double)((const PIXEL *)(const void *)row)[x]
    if (t->type == BYTES)
        EACH(uint8_t);
    else if (t->type == WORDS)
        EACH(uint16_t);
    else if (t->type == FLOATS)
        EACH(float);
    else
        EACH(double);
#undef EACH
}

/* Sums over a row of w v, w v a, w v a^2 and a u, with w v in `often` and u in `taps`. */
static INLINE void VARIANT(sum_of_row)(const double *often, const double *a, const double *taps,
                                       ptrdiff_t count, double less, double sums[4])
{
    WIDE many = {0}, ones = {0}, squares = {0}, products = {0};
    ptrdiff_t x = 0;
    for (; x + LANES / 2 <= count; x += LANES / 2) {
        const WIDE n = *(const WIDE *)(often + x), value = *(const WIDE *)(a + x) - less;
        many += n, ones += n * value, squares += n * value * value;
        products += value * *(const WIDE *)(taps + x);
    }
    for (int i = 0; i < LANES / 2; i++)
        sums[0] += many[i], sums[1] += ones[i], sums[2] += squares[i], sums[3] += products[i];
    for (; x < count; x++) {
        const double value = a[x] - less;
        sums[0] += often[x], sums[1] += often[x] * value, sums[2] += often[x] * value * value;
        sums[3] += value * taps[x];
    }
}

/* The size of the largest value that counts of a window, or of the kernel under it if `of_kernel`; of
 * channels with a mean off, no value of the kernel is so small that it could be lost. */
static double VARIANT(largest_of)(const VARIANT(Weigher) *g, ptrdiff_t y, ptrdiff_t x, int of_kernel)
{
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const Layout *l = g->band.layout;
    const ptrdiff_t taps_count = t->height * t->width;
    double largest = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const double *weights =
            w->planes + (t->channels + (w->weight_planes > 1 ? c : 0)) * taps_count;
        for (ptrdiff_t line = 0; line < t->height; line++) {
            double values[MOST_WIDTH];
            const ptrdiff_t at = (y + line) * l->pitch + x, first = line * t->width;
            const double *own = w->planes + c * taps_count + first;
            VARIANT(row_of)(t, g->band.planes + (c * l->lines * l->pitch + at) * correlation_item(t),
                            t->width, values);
            for (ptrdiff_t i = 0; i < t->width; i++) {
                const int is_counted = weights[first + i] > 0 && (!w->levels || g->levels[at + i] > 0);
                const double value = !of_kernel ? values[i] : t->means[c] == 0 ? own[i] : 0;
                const double size = is_counted ? fabs(value) : 0;
                largest = largest > size ? largest : size;
            }
        }
    }
    return largest;
}

/* The score of one window of ncc or zncc, whose values are multiplied with a power of two, by direct sums
 * in two passes, as metrics.exact has it. `is_doubtful` where rounding decides whether the window or the
 * kernel under it is flat, or the kernel's squares vanish. */
static double VARIANT(weighted_direct)(const VARIANT(Weigher) *g, ptrdiff_t y, ptrdiff_t x,
                                       double factor, int *is_doubtful)
{
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const Layout *l = g->band.layout;
    const ptrdiff_t item = correlation_item(t), taps_count = t->height * t->width;
    double products = 0, spread = 0, own = w->levels ? 0 : t->own, energies[2] = {0};
    int is_flat[2] = {1, 1}, is_near[2] = {0, 0}, is_sure[2] = {0, 0};
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const double *weights =
            w->planes + (t->channels + (w->weight_planes > 1 ? c : 0)) * taps_count;
        const double *taps = w->planes + c * taps_count;
        double of[2][4] = {{0}}, shown_taps = 0, mean = 0, own_mean = 0;
        double own_squares[2] = {0}, own_rest = 0;
        for (int pass = 0; pass < 2; pass++) {
            if (pass)
                mean = of[0][0] > 0 && t->metric == ZNCC ? of[0][1] / of[0][0] : 0;
            if (pass && w->levels && of[0][0] > 0 && t->metric == ZNCC)
                own_mean = shown_taps / of[0][0];
            for (ptrdiff_t line = 0; line < t->height; line++) {
                double a[MOST_WIDTH], often[MOST_WIDTH], shown[MOST_WIDTH];
                const ptrdiff_t at = (y + line) * l->pitch + x, first = line * t->width;
                VARIANT(row_of)(t, g->band.planes + (c * l->lines * l->pitch + at) * item, t->width, a);
                const double *n = weights + first, *u = taps + first;
                if (w->levels) {
                    /* Less their own mean, so that small values of the kernel lose no digits. */
                    for (ptrdiff_t i = 0; i < t->width; i++) {
                        often[i] = n[i] * g->levels[at + i];
                        shown[i] = u[i] * g->levels[at + i] - own_mean * often[i];
                    }
                    for (ptrdiff_t i = 0; i < t->width; i++) {
                        shown_taps += pass ? 0 : shown[i];
                        if (!pass || !(n[i] > 0))
                            continue;
                        const double b = u[i] / n[i], k = b + t->means[c];
                        own_squares[0] += often[i] * k * k;
                        own_squares[1] += often[i] * (b - own_mean) * (b - own_mean);
                        own_rest += often[i] * (b - own_mean);
                    }
                    n = often, u = shown;
                }
                for (ptrdiff_t i = 0; i < t->width && factor != 1; i++)
                    a[i] = n[i] > 0 ? a[i] * factor : 0; /* what does not count may be far larger */
                VARIANT(sum_of_row)(n, a, u, t->width, mean, of[pass]);
            }
        }
        if (of[0][0] > 0 && t->metric == ZNCC)
            own_squares[1] -= own_rest * own_rest / of[0][0];
        products += of[1][3], spread += of[1][2];
        own += w->levels ? own_squares[1] : 0;
        const double squares[2] = {of[0][2], own_squares[0]}, spreads[2] = {of[1][2], own_squares[1]};
        energies[0] += squares[0], energies[1] += squares[1];
        for (int i = 0; i < 2 && t->metric == ZNCC; i++) {
            /* The kernel's values, which were taken less its mean, are known to so many digits. */
            const double lost = i ? 8 * 0x1p-53 * t->means[c] : 0;
            const double least =
                (t->type <= WORDS ? 0 : FLAT * squares[i]) + of[0][0] * lost * lost;
            is_flat[i] &= spreads[i] <= least;
            is_sure[i] |= spreads[i] > 1.01 * least;
            is_near[i] |= least > 0 && spreads[i] > 0.99 * least && spreads[i] <= 1.01 * least;
        }
    }
    *is_doubtful = (is_near[0] && !is_sure[0]) || (w->levels && is_near[1] && !is_sure[1]);
    if (t->type == DOUBLES && energies[0] < LEAST_ENERGY && factor == 1) {
        const double largest = VARIANT(largest_of)(g, y, x, 0);
        const double near = correlation_near_1(largest); /* 1 where weights alone are so small */
        if (largest > 0 && near != 1)
            return VARIANT(weighted_direct)(g, y, x, near, is_doubtful);
    }
    if (t->type == DOUBLES && w->levels && energies[1] < LEAST_ENERGY)
        *is_doubtful |= VARIANT(largest_of)(g, y, x, 1) > 0;
    if (t->metric == ZNCC && (is_flat[0] || (w->levels && is_flat[1])))
        return 0;
    const double root = sqrt(spread) * sqrt(own);
    const double score = root > 0 ? products / root : 0;
    return score < -1 ? -1 : score > 1 ? 1 : score;
}

/* Finds the band's windows of one value. */
static void VARIANT(find_all_uniform)(VARIANT(Weigher) *g)
{
    const Task *t = &g->weighted->task;
    const Layout *l = g->band.layout;
    const ptrdiff_t plane = l->lines * l->pitch, lines = (g->band.rows - 1) * t->stride_y + t->height;
    const void *planes = g->band.planes;
    for (ptrdiff_t y = 0; y < lines; y++) {
        const ptrdiff_t top = y - t->height + 1;
        uint8_t *out = top >= 0 && top % t->stride_y == 0
                           ? g->is_uniform + top / t->stride_y * t->cols
                           : NULL;
#define FIND(NAME)                                                                             \
    VARIANT(NAME##_count_above)(planes, plane, l->pitch, t->channels, y, g->band.above);       \
    if (out)                                                                                   \
        VARIANT(NAME##_find_uniform)(planes, plane, l->pitch, t, y, g->band.above, out)
        if (t->type == WORDS) {
            FIND(words);
        } else if (t->type == FLOATS) {
            FIND(floats);
        } else {
            FIND(doubles);
        }
#undef FIND
    }
    g->has_uniform = 1;
}

/* Whether a window's score is 0 because its pixels have one value. */
static int VARIANT(is_plain)(VARIANT(Weigher) *g, ptrdiff_t row, ptrdiff_t col)
{
    const Task *t = &g->weighted->task;
    const Layout *l = g->band.layout;
    if (t->type == BYTES) /* whose spreads are exact */
        return 0;
    if (!g->has_uniform)
        VARIANT(find_all_uniform)(g);
    if (!g->is_uniform[row * t->cols + col])
        return 0;
    for (ptrdiff_t c = 0; c < t->channels && t->metric == NCC; c++) {
        double value;
        const ptrdiff_t at = c * l->lines * l->pitch + row * t->stride_y * l->pitch + col * t->stride_x;
        VARIANT(row_of)(t, g->band.planes + at * correlation_item(t), 1, &value);
        if (value != 0)
            return 0;
    }
    return 1;
}

/* What makes the scores of some windows. */
typedef struct {
    double top[BLOCK], top_off[BLOCK];
    double under[BLOCK], under_off[BLOCK], raw[BLOCK]; /* E - sum S^2 / n, and sum w v I^2 */
    double own[BLOCK], own_off[BLOCK], own_raw[BLOCK];
    double count[BLOCK]; /* n over all channels */
    double score[BLOCK] __attribute__((aligned(64))), off[BLOCK] __attribute__((aligned(64)));
    double is_open[BLOCK] __attribute__((aligned(64))); /* 1, or 0 */
} VARIANT(Few);

static INLINE void VARIANT(read)(const VARIANT(Sum) *sum, const double *from, ptrdiff_t count,
                                 double *out)
{
    const double whole = 0x1.8p52; /* rounds what is added to it and taken off */
    if (sum->is_whole)
        for (ptrdiff_t i = 0; i < count; i++)
            out[i] = (from[i] + sum->added + whole) - whole;
    else
        for (ptrdiff_t i = 0; i < count; i++)
            out[i] = from[i] + sum->added;
}

/* Takes sum S^2 / n from the spreads, and sum S T / n from the numerators. */
static void VARIANT(subtract_means)(VARIANT(Weigher) *g, int tile, const double *from,
                                    const double *means, ptrdiff_t each, ptrdiff_t count,
                                    VARIANT(Few) *f)
{
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const Outputs *o = &g->outputs;
    const double rounding = (double)(8 + 2 * t->channels) * 0x1p-53;
    double s[BLOCK], u[BLOCK], n[BLOCK], size[BLOCK], own_size[BLOCK], top_size[BLOCK];
    for (ptrdiff_t i = 0; i < count; i++) {
        size[i] = f->under[i], own_size[i] = f->own[i], top_size[i] = fabs(f->top[i]);
    }
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const ptrdiff_t j = w->weight_planes > 1 ? c : 0;
        const VARIANT(Sum) *sum = &g->sums[tile][o->sums + c];
        const VARIANT(Sum) *own = w->levels ? &g->sums[tile][o->own_sums + c] : sum;
        const double less = means[c], k = t->means[c];
        VARIANT(read)(sum, from + (o->sums + c) * each, count, s);
        for (ptrdiff_t i = 0; i < count; i++)
            n[i] = g->weights[j];
        if (w->levels) {
            VARIANT(read)(&g->sums[tile][o->counts + j], from + (o->counts + j) * each, count, n);
            VARIANT(read)(own, from + (o->own_sums + c) * each, count, u);
        }
        for (ptrdiff_t i = 0; i < count; i++) {
            const double share = n[i] > 0 ? 1 / n[i] : 0, term = s[i] * s[i] * share;
            f->raw[i] += less * (2 * s[i] + less * n[i]);
            f->under[i] -= term, size[i] += term;
            f->under_off[i] += (2 * fabs(s[i]) + sum->off) * sum->off * share;
        }
        for (ptrdiff_t i = 0; i < count && w->levels; i++) {
            const double share = n[i] > 0 ? 1 / n[i] : 0, term = u[i] * u[i] * share;
            f->own_raw[i] += k * (2 * u[i] + k * n[i]);
            f->own[i] -= term, own_size[i] += term;
            f->own_off[i] += (2 * fabs(u[i]) + own->off) * own->off * share;
            f->top[i] -= s[i] * u[i] * share, top_size[i] += fabs(s[i] * u[i]) * share;
            f->top_off[i] += (fabs(s[i]) * own->off + fabs(u[i]) * sum->off + sum->off * own->off) * share;
        }
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        f->under_off[i] += rounding * size[i], f->top_off[i] += rounding * top_size[i];
        if (w->levels)
            f->own_off[i] += rounding * own_size[i];
    }
}

/* Scores of ncc and zncc, and which of them are open. */
static void VARIANT(correlate)(VARIANT(Weigher) *g, int tile, const double *from,
                               const double *means, ptrdiff_t each, ptrdiff_t count,
                               VARIANT(Few) *f)
{
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const Outputs *o = &g->outputs;
    const VARIANT(Sum) *sums = g->sums[tile];
    const int is_integer = t->type <= WORDS, has_levels = w->levels != NULL;
    VARIANT(read)(&sums[o->energy], from + o->energy * each, count, f->under);
    if (has_levels)
        VARIANT(read)(&sums[o->own], from + o->own * each, count, f->own);
    for (ptrdiff_t i = 0; i < count; i++) {
        f->own[i] = has_levels ? f->own[i] : t->own;
        f->top_off[i] = sums[0].off, f->under_off[i] = sums[o->energy].off;
        f->own_off[i] = has_levels ? sums[o->own].off : 0;
        f->raw[i] = f->under[i], f->own_raw[i] = f->own[i];
    }
    if (t->metric == ZNCC)
        VARIANT(subtract_means)(g, tile, from, means, each, count, f);
    const double limit = t->limit, flat = t->metric == ZNCC && !is_integer ? 1.01 * FLAT : 0;
    const double certain = is_integer ? 0.25 : 0; /* smaller spreads of integers are 0 */
    for (ptrdiff_t i = 0; i < count; i++) {
        const double under = f->under[i], own = f->own[i];
        const double inverse = 1 / sqrt(under > 0 && own > 0 ? under * own : 1);
        const double score = f->top[i] * inverse;
        /* |score| is 1 at most, so spreads that are off by shares x and y of them move the score by
         * no more than 1 - sqrt((1 - x) (1 - y)), which is less than x + y. */
        const double off = f->top_off[i] * inverse + (f->under_off[i] * own + f->own_off[i] * under) *
                                                         inverse * inverse;
        const double least = flat * f->raw[i], own_least = has_levels ? flat * f->own_raw[i] : -1;
        /* In double, because vectors have no use for int here. */
        double is_open = under - f->under_off[i] > least ? 0 : 1, is_counted = 1;
        is_open = own - f->own_off[i] > own_least ? is_open : 1;
        is_open = off < limit ? is_open : 1;
        is_counted = f->under_off[i] < certain ? under < certain ? 0 : 1 : 1;
        is_counted = f->own_off[i] < certain ? own < certain ? 0 : is_counted : is_counted;
        f->score[i] = is_counted * (score < -1 ? -1 : score > 1 ? 1 : score);
        f->off[i] = is_counted * (off + TO_SINGLE_ROUNDING);
        f->is_open[i] = is_counted * is_open;
    }
}

/* The largest of some values, in an array that is aligned and has room for whole vectors. */
static INLINE double VARIANT(most_of)(double *values, ptrdiff_t count)
{
    typedef VARIANT(V_double) V;
    for (ptrdiff_t i = count; i % (LANES / 2); i++)
        values[i] = values[0];
    V most = *(const V *)values;
    for (ptrdiff_t i = LANES / 2; i < count; i += LANES / 2)
        most = VARIANT(larger_double)(most, *(const V *)(values + i));
    double largest = most[0];
    for (int lane = 1; lane < LANES / 2; lane++)
        largest = largest > most[lane] ? largest : most[lane];
    return largest;
}

static void VARIANT(score_few)(VARIANT(Weigher) *g, const VARIANT(Region) *r, int tile,
                               ptrdiff_t row, ptrdiff_t left, ptrdiff_t count, VARIANT(Few) *f)
{
    const Weighted *w = g->weighted;
    Task *t = (Task *)&w->task;
    const Outputs *o = &g->outputs;
    const ptrdiff_t each = g->band.layout->tall * g->pitch;
    const double *from = g->found + tile * o->count * each + (row - r->top) * g->pitch + left - r->left;
    const double *means = g->band.means + (r - g->band.regions) * t->channels;
    const VARIANT(Sum) *sums = g->sums[tile];
    VARIANT(read)(&sums[0], from, count, f->top);
    for (ptrdiff_t i = 0; i < count && w->levels; i++)
        f->count[i] = 0;
    for (ptrdiff_t j = 0; j < w->weight_planes && w->levels; j++) {
        double n[BLOCK];
        const double often = w->weight_planes > 1 ? 1 : (double)t->channels;
        VARIANT(read)(&sums[o->counts + j], from + (o->counts + j) * each, count, n);
        for (ptrdiff_t i = 0; i < count; i++)
            f->count[i] += often * n[i];
    }
    if (t->metric == SSD) {
        const double square = t->total; /* R^2, times n where all is visible */
        for (ptrdiff_t i = 0; i < count; i++) {
            const double total = w->levels ? square * (f->count[i] > 1 ? f->count[i] : 1) : square;
            const double score = 1 - (f->top[i] + (w->levels ? 0 : t->own)) / total;
            f->score[i] = score < 1 ? score : 1;
            const double size = score < -1 ? -score : 1;
            f->off[i] = sums[0].off / total + TO_SINGLE_ROUNDING * size;
        }
    } else
        VARIANT(correlate)(g, tile, from, means, each, count, f);
    const int has_open = t->metric != SSD && VARIANT(most_of)(f->is_open, count) > 0;
    for (ptrdiff_t i = 0; i < count && has_open; i++) {
        if (f->is_open[i] == 0 || (w->levels && f->count[i] < w->least))
            continue;
        int is_doubtful = 0;
        f->score[i] = 0, f->off[i] = 0;
        if (VARIANT(is_plain)(g, row, left + i))
            continue;
        t->direct++;
        f->score[i] = VARIANT(weighted_direct)(g, row * t->stride_y, (left + i) * t->stride_x,
                                               1, &is_doubtful);
        f->off[i] = is_doubtful ? 2 : TO_SINGLE_ROUNDING;
    }
}

/* Writes the scores of a tile's windows, and what its blocks have of them. */
static void VARIANT(score_tile)(VARIANT(Weigher) *g, const VARIANT(Region) *r, int tile)
{
    const Weighted *w = g->weighted;
    const Task *t = &w->task;
    const ptrdiff_t blocks = (t->cols + t->block - 1) / t->block;
    VARIANT(Few) few;
    for (ptrdiff_t row = r->top; row < r->top + r->rows; row++)
        for (ptrdiff_t left = r->left, end; left < r->left + r->cols; left = end) {
            end = (left / t->block + 1) * t->block;
            end = end < r->left + r->cols ? end : r->left + r->cols;
            const ptrdiff_t y = g->band.top + row, count = end - left;
            const ptrdiff_t block = y / t->block * blocks + left / t->block;
            VARIANT(score_few)(g, r, tile, row, left, count, &few);
            if (w->levels)
                for (ptrdiff_t i = 0; i < count; i++) {
                    const int is_hidden = few.count[i] < w->least;
                    w->hidden[y * t->cols + left + i] = (uint8_t)is_hidden;
                    few.score[i] = is_hidden ? -INFINITY : few.score[i];
                    few.off[i] = is_hidden ? 0 : few.off[i];
                }
            float *out = t->map + y * t->cols + left;
            for (ptrdiff_t i = 0; i < count; i++)
                out[i] = (float)few.score[i] + 0.0f; /* 0 has no sign */
            for (ptrdiff_t i = 0; i < count; i++)
                few.score[i] = out[i]; /* rounded */
            const float largest = (float)VARIANT(most_of)(few.score, count);
            const float bound = (float)(VARIANT(most_of)(few.off, count) * (1 + 0x1p-20));
            for (ptrdiff_t i = 0; i < count && w->levels; i++)
                out[i] = w->hidden[y * t->cols + left + i] ? 0 : out[i];
            t->maxima[block] = t->maxima[block] > largest ? t->maxima[block] : largest;
            t->errors[block] = t->errors[block] > bound ? t->errors[block] : bound;
        }
}

/* The largest frequency of a plane of the kernel; of a folded one what multiply_folded makes of it. */
static double VARIANT(peak_of)(Sides sides, const double *spectrum)
{
    typedef VARIANT(V_double) V;
    const ptrdiff_t mx = sides.x / 16, group = group_values(mx), half = spectrum_values(sides) / 2;
    const int is_folded = sides.folds > 1;
    V peaks = {0};
    for (ptrdiff_t k = 0; k < (is_folded ? first_of_y(sides) / 2 + 1 : first_of_y(sides)); k++)
        for (ptrdiff_t j = 0; j < mx; j++)
            for (int i = 0; i < 256; i += LANES / 2) {
                const double *both = spectrum + k * group + j * CELL_VALUES + i;
                const V re = *(const V *)both, im = *(const V *)(both + 256);
                V power = re * re + im * im;
                if (is_folded) {
                    const V odd = *(const V *)(both + half), crossed = *(const V *)(both + half + 256);
                    power += odd * odd + crossed * crossed;
                }
                peaks = VARIANT(larger_double)(peaks, power);
            }
    return sqrt((is_folded ? FOLDED_POWER : 1) * VARIANT(largest_lane)(peaks));
}

/* Norms and largest frequencies of the kernel's planes. */
static void VARIANT(measure_kernel)(VARIANT(Weigher) *g)
{
    const Weighted *w = g->weighted;
    Task t = w->task;
    t.taps = w->planes, t.channels = w->plane_count, t.terms = 1;
    for (ptrdiff_t i = 0; i < t.parts_y * t.parts_x * w->plane_count; i++) {
        const Part part = correlation_part(&t, i / w->plane_count, i % w->plane_count);
        double squares = 0;
        for (ptrdiff_t y = 0; y < part.height; y++)
            for (ptrdiff_t x = 0; x < part.width; x++)
                squares += part.taps[y * t.width + x] * part.taps[y * t.width + x];
        g->norms[i] = sqrt(squares);
        g->peaks[i] = VARIANT(peak_of)(t.sides, w->spectra + i * spectrum_values(t.sides));
    }
    const double range = t.type == BYTES ? 255 : 65535;
    for (ptrdiff_t j = 0; j < w->weight_planes; j++) {
        const double *plane = w->planes + (w->task.channels + j) * t.height * t.width;
        for (ptrdiff_t i = 0; i < t.height * t.width; i++)
            g->weights[j] += plane[i];
        g->largest += g->weights[j] * (w->levels ? 255 : 1) * range * range;
    }
    if (w->weight_planes == 1)
        g->largest *= (double)w->task.channels;
}

static int VARIANT(weighted)(Weighted *w)
{
    Task *t = &w->task;
    const Layout l = correlation_layout(t);
    Arena arena = {0};
    const ptrdiff_t most = l.bands * l.across, item = correlation_item(t);
    const ptrdiff_t columns = (t->cols - 1) * t->stride_x + t->width;
    const ptrdiff_t planes = t->parts_y * t->parts_x * w->plane_count;
    if (!correlation_open(&arena, correlation_weighted_scratch(w, &l)))
        return -1;
    VARIANT(Weigher) g = {.weighted = w, .outputs = correlation_outputs(w)};
    VARIANT(Band) *b = &g.band;
    b->task = t, b->layout = &l, b->unit = 1;
    g.pitch = correlation_out_pitch(&l);
    b->regions = correlation_take(&arena, (size_t)most * sizeof *b->regions);
    VARIANT(Region) **order = correlation_take(&arena, (size_t)most * sizeof *order);
    b->means = correlation_take(&arena, (size_t)(most * t->channels) * sizeof *b->means);
    b->planes = correlation_take(&arena, (size_t)(t->channels * l.lines * l.pitch * item));
    b->above = correlation_take(&arena, (size_t)l.pitch * sizeof *b->above);
    g.is_uniform = correlation_take(&arena, (size_t)(l.bands * l.tall * t->cols));
    const size_t tile = (size_t)tile_values(t->sides) * sizeof(double);
    g.work = correlation_take(&arena, tile);
    g.totals = correlation_take(&arena, (size_t)g.outputs.count * tile);
    g.plain = correlation_take(&arena, correlation_plain_bytes(t->sides));
    const ptrdiff_t tiles = t->sides.folds > 1 ? 1 : 2;
    g.found = correlation_take(
        &arena, (size_t)(tiles * g.outputs.count * l.tall * g.pitch) * sizeof(double));
    g.norms = correlation_take(&arena, (size_t)planes * sizeof(double));
    g.peaks = correlation_take(&arena, (size_t)planes * sizeof(double));
    if (w->levels)
        g.levels = correlation_take(&arena, (size_t)(l.lines * l.pitch));
    VARIANT(measure_kernel)(&g);
    for (b->top = 0; b->top < t->rows; b->top += b->rows) {
        b->rows = l.bands * l.tall < t->rows - b->top ? l.bands * l.tall : t->rows - b->top;
        g.has_uniform = 0;
        const ptrdiff_t first = b->top * t->stride_y;
        ptrdiff_t lines = (t->rows - 1) * t->stride_y + t->height - first;
        lines = lines < l.lines ? lines : l.lines;
        if (t->type == BYTES)
            VARIANT(fill_bytes)(t, &l, first, lines, columns, b->planes);
        else if (t->type == WORDS)
            VARIANT(fill_words)(t, &l, first, lines, columns, (uint16_t *)(void *)b->planes);
        else if (t->type == FLOATS)
            VARIANT(fill_floats)(t, &l, first, lines, columns, (float *)(void *)b->planes);
        else
            VARIANT(fill_doubles)(t, &l, first, lines, columns, (double *)(void *)b->planes);
        if (w->levels) {
            Task shown = *t;
            shown.image = w->levels, shown.pitch = w->levels_pitch, shown.channels = 1;
            VARIANT(fill_bytes)(&shown, &l, first, lines, columns, g.levels);
        }
        b->region_count = 0;
        for (ptrdiff_t top = 0; top < b->rows; top += l.tall)
            for (ptrdiff_t left = 0, cols; left < t->cols; left += cols) {
                const ptrdiff_t rows = b->rows - top < l.tall ? b->rows - top : l.tall;
                cols = tile_cols(&l, left);
                VARIANT(Region) *r = order[b->region_count] = &b->regions[b->region_count];
                *r = (VARIANT(Region)){.top = top, .left = left, .rows = rows, .cols = cols};
                (t->type == BYTES    ? VARIANT(survey_bytes)
                 : t->type == WORDS  ? VARIANT(survey_words)
                 : t->type == FLOATS ? VARIANT(survey_floats)
                                     : VARIANT(survey_doubles))(
                    b, r, b->means + b->region_count * t->channels);
                b->region_count++;
            }
        qsort(order, (size_t)b->region_count, sizeof *order, VARIANT(by_energy));
        const ptrdiff_t at_once = t->sides.folds > 1 ? 1 : 2;
        for (ptrdiff_t i = b->region_count - 1; i >= 0; i -= at_once) {
            const VARIANT(Region) *other = at_once > 1 && i > 0 ? order[i - 1] : NULL;
            VARIANT(weigh)(&g, order[i], other);
            VARIANT(score_tile)(&g, order[i], 0);
            if (other)
                VARIANT(score_tile)(&g, other, 1);
        }
    }
    correlation_close(&arena);
    return 0;
}
#undef WIDE
#undef MOST_WIDTH
#undef TO_SINGLE_ROUNDING
