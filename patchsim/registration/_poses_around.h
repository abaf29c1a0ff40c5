/* The best of 3x3 places a pixel apart; included once for each instruction set. */

/* Sums of a channel at each of the places, in rows: products of weights, kernel and picture, or distances. */
typedef struct {
    double picture[9], product[9], square[9], weight, kernel, kernel_square;
} VARIANT(Nine);

/* The places lie between the same fractions of pixels, so pixels that are read once serve all; sampled
 * linearly. Where the middle one is clipped, all lie beyond the border, and read what is repeated there. With sad the distances are where the picture's sums are. */
static INLINE void VARIANT(nine)(const Plane *p, const Counted *k, ptrdiff_t c, const double *at,
                                 const float shift[2], VARIANT(Nine) *sums, const int is_bytes, const int is_sad)
{
    const VARIANT(Place) o = VARIANT(place)(p, k, c, at, is_bytes);
    const F own = SPLAT(shift[0]), theirs = SPLAT(shift[1]), zero = SPLAT(0.f);
    F picture[9], product[9], square[9], weight = zero, kernel = zero, kernel_square = zero;
    ptrdiff_t held = 0;
    UNROLL
    for (int i = 0; i < 9; i++)
        picture[i] = product[i] = square[i] = zero;
    for (ptrdiff_t pixel = 0; pixel < k->n; pixel += LANES) {
        F X, Y, rows[4][3];
        const VARIANT(Spot) spot = VARIANT(spot)(&o, pixel, &X, &Y);
        const F w = LOAD(o.weights + pixel), tap = VARIANT(tap)(&o, pixel) - own, by_weight = tap * w;
        UNROLL
        for (int i = 0; i < 4; i++) {
            F b[4];
            VARIANT(four)(o.base, (i - 1) * p->pitch, &spot, b, is_bytes);
            UNROLL
            for (int j = 0; j < 3; j++)
                rows[i][j] = b[j] + spot.fx * (b[j + 1] - b[j]);
        }
        weight += w, kernel += by_weight, kernel_square += by_weight * tap;
        UNROLL
        for (int i = 0; i < 9; i++) {
            const F above = rows[i / 3][i % 3];
            const F g = above + spot.fy * (rows[i / 3 + 1][i % 3] - above) - theirs, apart = tap - g;
            picture[i] += is_sad ? ABSOLUTE(apart) * w : g * w;
            product[i] += by_weight * g, square[i] += g * w * g;
        }
        if (++held % 64 && pixel + LANES < k->n) /* float32 has digits for so many */
            continue;
        UNROLL
        for (int i = 0; i < 9; i++) {
            sums->picture[i] += VARIANT(total)(picture[i]), picture[i] = zero;
            sums->product[i] += VARIANT(total)(product[i]), product[i] = zero;
            sums->square[i] += VARIANT(total)(square[i]), square[i] = zero;
        }
        sums->weight += VARIANT(total)(weight), sums->kernel += VARIANT(total)(kernel);
        sums->kernel_square += VARIANT(total)(kernel_square);
        weight = kernel = kernel_square = zero;
    }
}

typedef void VARIANT(NineOf)(const Plane *, const Counted *, ptrdiff_t, const double *, const float *, VARIANT(Nine) *);
#define NINE(name, is_bytes, is_sad)                                                                                       \
    static __attribute__((noinline)) void VARIANT(name)(const Plane *p, const Counted *k, ptrdiff_t c,       \
                                                        const double *at, const float *shift, VARIANT(Nine) *sums)         \
    {                                                                                                                      \
        VARIANT(nine)(p, k, c, at, shift, sums, is_bytes, is_sad);                                                  \
    }
NINE(nine_floats, 0, 0)
NINE(nine_floats_sad, 0, 1)
NINE(nine_bytes, 1, 0)
NINE(nine_bytes_sad, 1, 1)
#undef NINE
static VARIANT(NineOf) *const VARIANT(NINES)[2][2] = {
    {VARIANT(nine_floats), VARIANT(nine_floats_sad)},
    {VARIANT(nine_bytes), VARIANT(nine_bytes_sad)},
};

/* The sums of all nine places, without slopes. */
static void VARIANT(nine_sums)(const Plane *p, const Counted *k, const Aim *aim, const double *at,
                               float (*shifts)[2], VARIANT(Sums) sums[9])
{
    memset(sums, 0, 9 * sizeof *sums);
    if (!VARIANT(has_place)(at))
        return;
    for (ptrdiff_t c = 0; c < p->channels; c++) {
        VARIANT(Nine) n = {0};
        VARIANT(NINES)[p->is_bytes][aim->metric == SAD](p, k, c, at, shifts[c], &n);
        for (int i = 0; i < 9; i++) {
            const double r[COLUMNS][COLUMNS] = {
                {n.weight, n.kernel, n.picture[i]}, {0, n.kernel_square, n.product[i]}, {0, 0, n.square[i]}};
            VARIANT(pool)(aim, shifts[c], r, 2, &sums[i]);
            if (aim->metric == SAD)
                sums[i].distance += n.picture[i];
        }
    }
}

/* Move to the best of 3x3 places a pixel apart. */
static void VARIANT(around)(const Plane *p, const Counted *k, const Aim *aim, float (*shifts)[2], double *at)
{
    static const int order[9] = {4, 0, 1, 2, 3, 5, 6, 7, 8}; /* of equals the middle, then the first row's first */
    VARIANT(Sums) sums[9];
    const double from[4] = {at[0], at[1], at[2], at[3]};
    double top = -INFINITY;
    if (!p->visible)
        VARIANT(nine_sums)(p, k, aim, at, shifts, sums);
    for (int i = 0; i < 9; i++) {
        const int n = order[i];
        const double now[4] = {from[0] + n % 3 - 1, from[1] + n / 3 - 1, from[2], from[3]};
        if (p->visible) /* which differs from place to place */
            VARIANT(sums)(p, k, aim, now, shifts, 1, 0, 0, &sums[n]);
        const double found = VARIANT(score_of)(&sums[n], aim);
        if (found > top)
            top = found, memcpy(at, now, sizeof now);
    }
}
