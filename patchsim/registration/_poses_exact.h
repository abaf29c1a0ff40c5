/* The score of poses in double precision; included once for each instruction set. */

#define PART 32 /* pixels of a row that are sampled together */

/* Of a channel: weight, kernel, picture, their squares and product, less a shift each; distances. */
typedef struct {
    double weight, kernel, picture, kernel_square, product, picture_square, distance, distance_square;
    double kernel_shift, picture_shift;
} VARIANT(Channel_sums);

/* Where the sixteen neighbours of some pixels lie, and how much each of them counts. */
typedef struct {
    ptrdiff_t rows[4][PART], columns[4][PART];
    double down[4][PART], across[4][PART], x[PART], y[PART], seen[PART];
    /* Of bytes of one channel that all lie inside: the first neighbour, and the values sampled there. */
    int is_inside;
    ptrdiff_t first[PART];
    double values[PART];
} VARIANT(Part);

#define TOGETHER 8 /* pixels that are sampled together */
typedef double VARIANT(Doubles) __attribute__((vector_size(8 * TOGETHER)));
typedef double VARIANT(LooseDoubles) __attribute__((vector_size(8 * TOGETHER), aligned(8), may_alias));
typedef int64_t VARIANT(Longs) __attribute__((vector_size(8 * TOGETHER)));
typedef int32_t VARIANT(Bytes) __attribute__((vector_size(4 * TOGETHER)));

static INLINE double VARIANT(pixel)(const void *pixels, const Type type, ptrdiff_t at)
{
    switch (type) {
    case U8: return ((const uint8_t *)pixels)[at];
    case U16: return ((const uint16_t *)pixels)[at];
    case F32: return (double)((const float *)pixels)[at];
    default: return ((const double *)pixels)[at];
    }
}

static INLINE void VARIANT(weights_of)(double t, double w[4][PART], int i)
{
    w[0][i] = ((2 - t) * t - 1) * t / 2;
    w[1][i] = ((3 * t - 5) * t * t + 2) / 2;
    w[2][i] = ((4 - 3 * t) * t + 1) * t / 2;
    w[3][i] = (t - 1) * t * t / 2;
}

static INLINE void VARIANT(sample_inside)(const uint8_t *pixels, ptrdiff_t line, const double limits[2], VARIANT(Part) *p, int n)
{
    const VARIANT(Doubles) least = limits[0] - (VARIANT(Doubles)){0}, most = limits[1] - (VARIANT(Doubles)){0};
    for (int i = 0; i < n; i += TOGETHER) {
        VARIANT(Doubles) sum = {0};
        UNROLL
        for (int j = 0; j < 4; j++) {
            VARIANT(Bytes) four;
            VARIANT(Doubles) row = {0};
            for (int l = 0; l < TOGETHER; l++) {
                int32_t bytes;
                memcpy(&bytes, pixels + p->first[i + l] + j * line, sizeof bytes);
                four[l] = bytes;
            }
            UNROLL
            for (int t = 0; t < 4; t++)
                row += __builtin_convertvector((four >> (8 * t)) & 255, VARIANT(Doubles)) *
                       *(const VARIANT(LooseDoubles) *)(p->across[t] + i);
            sum += row * *(const VARIANT(LooseDoubles) *)(p->down[j] + i);
        }
        /* Comparisons are all bits or none. */
        const VARIANT(Longs) above = (VARIANT(Longs))(sum > most), below = (VARIANT(Longs))(sum < least);
        sum = (VARIANT(Doubles))(((VARIANT(Longs))sum & ~above & ~below) | ((VARIANT(Longs))most & above) | ((VARIANT(Longs))least & below));
        memcpy(p->values + i, &sum, sizeof sum);
    }
}

static void VARIANT(fill_part)(const Exact *e, const double *pose, ptrdiff_t row, ptrdiff_t first, int n, VARIANT(Part) *p)
{
    const Picture *in = &e->picture;
    const ptrdiff_t line = in->width * in->channels;
    const double v = (double)row - e->centre_y;
    for (int i = 0; i < n; i++) {
        const double u = (double)(first + i) - e->centre_x;
        p->x[i] = pose[0] + u * pose[2] + v * pose[3];
        p->y[i] = pose[1] + v * pose[2] - u * pose[3];
    }
    p->is_inside = e->picture.type == U8 && in->channels == 1 && !e->visible;
    for (int i = 0; i < n; i += n > 1 ? n - 1 : 1) /* pixels of a row lie on a line */
        p->is_inside &= p->x[i] >= 1 && p->x[i] < (double)(in->width - 2) && p->y[i] >= 1 && p->y[i] < (double)(in->height - 2);
    if (p->is_inside) {
        for (int i = 0; i < n; i++) {
            const ptrdiff_t left = (ptrdiff_t)p->x[i], top = (ptrdiff_t)p->y[i];
            VARIANT(weights_of)(p->x[i] - (double)left, p->across, i);
            VARIANT(weights_of)(p->y[i] - (double)top, p->down, i);
            p->first[i] = (top - 1) * line + left - 1, p->seen[i] = 1;
        }
        for (int i = n; i < PART; i++) { /* what fills the last vector is read, too */
            VARIANT(weights_of)(0, p->across, i);
            VARIANT(weights_of)(0, p->down, i);
            p->first[i] = p->first[0];
        }
        VARIANT(sample_inside)(in->pixels, line, e->limits, p, n);
        return;
    }
    for (int i = 0; i < n; i++) {
        /* Floor, of values that are not far below 0. */
        const ptrdiff_t left = (ptrdiff_t)(p->x[i] + LARGEST_SIDE) - LARGEST_SIDE, top = (ptrdiff_t)(p->y[i] + LARGEST_SIDE) - LARGEST_SIDE;
        VARIANT(weights_of)(p->x[i] - (double)left, p->across, i);
        VARIANT(weights_of)(p->y[i] - (double)top, p->down, i);
        for (int j = 0; j < 4; j++) {
            const ptrdiff_t x = left + j - 1, y = top + j - 1;
            p->columns[j][i] = (x < 0 ? 0 : x >= in->width ? in->width - 1 : x) * in->channels;
            p->rows[j][i] = (y < 0 ? 0 : y >= in->height ? in->height - 1 : y) * line;
        }
        p->seen[i] = 1;
        if (e->visible) {
            const double fx = p->x[i] - (double)left, fy = p->y[i] - (double)top;
            const uint8_t *above = e->visible + p->rows[1][i] / in->channels, *below = e->visible + p->rows[2][i] / in->channels;
            const ptrdiff_t a = p->columns[1][i] / in->channels, b = p->columns[2][i] / in->channels;
            p->seen[i] = (1 - fy) * ((1 - fx) * above[a] + fx * above[b]) + fy * ((1 - fx) * below[a] + fx * below[b]);
        }
    }
}

static INLINE double VARIANT(sampled)(const void *pixels, const Type type, const double *limits, const VARIANT(Part) *p, int i,
                                      ptrdiff_t channel)
{
    const double least = limits[2 * channel], most = limits[2 * channel + 1];
    double value = 0;
    UNROLL
    for (int j = 0; j < 4; j++) {
        const ptrdiff_t row = p->rows[j][i] + channel;
        value += p->down[j][i] * (p->across[0][i] * VARIANT(pixel)(pixels, type, row + p->columns[0][i]) +
                                  p->across[1][i] * VARIANT(pixel)(pixels, type, row + p->columns[1][i]) +
                                  p->across[2][i] * VARIANT(pixel)(pixels, type, row + p->columns[2][i]) +
                                  p->across[3][i] * VARIANT(pixel)(pixels, type, row + p->columns[3][i]));
    }
    return value < least ? least : value > most ? most : value;
}

static INLINE void VARIANT(add_part)(const Exact *e, const VARIANT(Part) *p, ptrdiff_t row, ptrdiff_t first, int n,
                                     VARIANT(Channel_sums) *sums, double softness, const Type type)
{
    const ptrdiff_t channels = e->kernel.channels, at = row * e->kernel.width + first;
    for (ptrdiff_t c = 0; c < channels; c++) {
        VARIANT(Channel_sums) s = sums[c];
        for (int i = 0; i < n; i++) {
            double tap = VARIANT(pixel)(e->kernel.pixels, type, (at + i) * channels + c);
            if (softness > 0)
                tap += softness * e->smoothing[(at + i) * channels + c];
            const double value = type == U8 && p->is_inside ? p->values[i]
                                                            : VARIANT(sampled)(e->picture.pixels, type, e->limits, p, i, c);
            const double weight = e->weights ? e->weights[(at + i) * e->shades + (e->shades > 1 ? c : 0)] : 1;
            const double w = weight * p->seen[i], difference = tap - value;
            if (row == 0 && first + i == 0) /* near the values, so that sums of squares keep their digits */
                s.kernel_shift = tap, s.picture_shift = value;
            const double a = tap - s.kernel_shift, b = value - s.picture_shift;
            s.weight += w;
            s.kernel += w * a, s.picture += w * b;
            s.kernel_square += w * a * a, s.product += w * a * b, s.picture_square += w * b * b;
            s.distance += w * fabs(difference), s.distance_square += w * difference * difference;
        }
        sums[c] = s;
    }
}

/* As metrics.formulas has it. */
static double VARIANT(score_of_sums)(const Exact *e, const VARIANT(Channel_sums) *sums)
{
    double weight = 0, distance = 0, product = 0, own = 0, their = 0;
    int own_is_flat = 1, theirs_is_flat = 1;
    for (ptrdiff_t c = 0; c < e->kernel.channels; c++) {
        const VARIANT(Channel_sums) *s = sums + c;
        const double k = s->kernel_shift, p = s->picture_shift, n = s->weight;
        const double squares = s->kernel_square + 2 * k * s->kernel + k * k * n;
        const double theirs = s->picture_square + 2 * p * s->picture + p * p * n;
        weight += n;
        distance += e->metric == SAD ? s->distance : s->distance_square;
        if (e->metric == NCC) {
            product += s->product + k * s->picture + p * s->kernel + k * p * n;
            own += squares, their += theirs;
        } else if (n > 0) {
            const double a = s->kernel_square - s->kernel * s->kernel / n, b = s->picture_square - s->picture * s->picture / n;
            own_is_flat &= a <= FLAT * squares, theirs_is_flat &= b <= FLAT * theirs;
            product += s->product - s->kernel * s->picture / n;
            own += a, their += b;
        }
    }
    if (weight == 0)
        return 0;
    if (e->metric == SAD)
        return 1 - distance / (weight * e->full);
    if (e->metric == SSD)
        return 1 - distance / (weight * e->full * e->full);
    if ((e->metric == ZNCC && (own_is_flat || theirs_is_flat)) || !(own > 0) || !(their > 0))
        return 0;
    double root = sqrt(own * their); /* exact for equal spreads */
    if (!isfinite(root) || root == 0)
        root = sqrt(own) * sqrt(their);
    const double found = product / root;
    return found > 1 ? 1 : found < -1 ? -1 : found;
}

static INLINE void VARIANT(exact_of)(const Exact *e, const Type type)
{
    for (ptrdiff_t i = 0; i < e->n; i++) {
        VARIANT(Channel_sums) sums[MOST_CHANNELS];
        VARIANT(Part) part;
        const double *pose = e->poses + 4 * i;
        const double softness = e->smoothing ? poses_softness(hypot(pose[2], pose[3])) : 0;
        memset(sums, 0, (size_t)e->kernel.channels * sizeof *sums);
        for (ptrdiff_t row = 0; row < e->kernel.height; row++)
            for (ptrdiff_t first = 0; first < e->kernel.width; first += PART) {
                const int n = (int)(e->kernel.width - first < PART ? e->kernel.width - first : PART);
                VARIANT(fill_part)(e, pose, row, first, n, &part);
                VARIANT(add_part)(e, &part, row, first, n, sums, softness, type);
            }
        e->scores[i] = VARIANT(score_of_sums)(e, sums);
    }
}

#define EXACT(name, type)                                             \
    static __attribute__((noinline)) void VARIANT(name)(const Exact *e) \
    {                                                                 \
        VARIANT(exact_of)(e, type);                                   \
    }
EXACT(exact_u8, U8)
EXACT(exact_u16, U16)
EXACT(exact_f32, F32)
EXACT(exact_f64, F64)
#undef EXACT
#undef PART
#undef TOGETHER

static void VARIANT(exact)(const Exact *e)
{
    (e->picture.type == U8    ? VARIANT(exact_u8)
     : e->picture.type == U16 ? VARIANT(exact_u16)
     : e->picture.type == F32 ? VARIANT(exact_f32)
                              : VARIANT(exact_f64))(e);
}
