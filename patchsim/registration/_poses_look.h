/* The first look: turned kernels against all places; included once for each instruction set. */

/* So many turned kernels are held in registers at once, each with so many vectors of places. */
#define STRIP 3
#if LANES == 16
#define HELD 8
#else
#define HELD 4
#endif

/* A band of a picture, with a border of the turned kernels' radius, and its rows' prefix sums. */
typedef struct {
    float *values;           /* [channels][lines][pitch], less `pivot` */
    int32_t *sums, *squares; /* of whole numbers: values times `fine` */
    ptrdiff_t lines, pitch, plane;
    float pivot, fine;
} VARIANT(Band);

/* Eight turned kernels: what they share, and where each of them begins and ends in each row. */
typedef struct {
    ptrdiff_t taps;
    ptrdiff_t *offsets;      /* [taps] */
    float *values, *weights; /* [taps][BATCH]; weights of sad alone */
    ptrdiff_t *runs;         /* [runs of all kernels and shades][begin, end] */
    ptrdiff_t first[BATCH * MOST_CHANNELS + 1]; /* of [kernel][shade] */
    double own[BATCH], count[BATCH], counts[BATCH * MOST_CHANNELS];
    int same[BATCH]; /* the first kernel that lies over the same pixels */
} VARIANT(Batch);

#define PRODUCTS(name, strip, is_sad)                                                                          \
    static __attribute__((noinline)) void VARIANT(name)(const float *at, const ptrdiff_t *offsets,             \
                                                        const float *taps, const float *weights,               \
                                                        ptrdiff_t n, F(*out)[STRIP])                           \
    {                                                                                                          \
        F a[HELD][strip];                                                                                      \
        UNROLL                                                                                                 \
        for (int i = 0; i < HELD; i++)                                                                         \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                a[i][j] = SPLAT(0.f);                                                                          \
        for (ptrdiff_t t = 0; t < n; t++, taps += BATCH, weights += is_sad ? BATCH : 0) {                                   \
            const float *p = at + offsets[t];                                                                  \
            F x[strip];                                                                                        \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                x[j] = LOAD(p + j * LANES);                                                                    \
            UNROLL                                                                                             \
            for (int i = 0; i < HELD; i++) {                                                                   \
                const F tap = SPLAT(taps[i]);                                                                  \
                UNROLL                                                                                         \
                for (int j = 0; j < strip; j++) {                                                              \
                    if (is_sad) {                                                                              \
                        const F apart = x[j] - tap;                                                            \
                        a[i][j] += ABSOLUTE(apart) * SPLAT(weights[i]);                                        \
                    } else                                                                                     \
                        a[i][j] += x[j] * tap;                                                                 \
                }                                                                                              \
            }                                                                                                  \
        }                                                                                                      \
        UNROLL                                                                                                 \
        for (int i = 0; i < HELD; i++)                                                                         \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                out[i][j] = a[i][j];                                                                           \
    }
PRODUCTS(products_1, 1, 0)
PRODUCTS(products_2, 2, 0)
PRODUCTS(products_3, 3, 0)
PRODUCTS(distances_1, 1, 1)
PRODUCTS(distances_2, 2, 1)
PRODUCTS(distances_3, 3, 1)
#undef PRODUCTS

typedef void VARIANT(Products)(const float *, const ptrdiff_t *, const float *, const float *, ptrdiff_t, F (*)[STRIP]);
static VARIANT(Products) *const VARIANT(PRODUCTS)[2][STRIP] = {
    {VARIANT(products_1), VARIANT(products_2), VARIANT(products_3)},
    {VARIANT(distances_1), VARIANT(distances_2), VARIANT(distances_3)},
};

/* The rows of a band and so many around; columns so that a strip may begin at any. */
static void VARIANT(fill_band)(const Plane *p, const Look *l, VARIANT(Band) *b)
{
    const ptrdiff_t radius = l->side / 2;
    for (ptrdiff_t c = 0; c < p->channels; c++)
        for (ptrdiff_t line = 0; line < b->lines; line++) {
            ptrdiff_t y = l->first - radius + line;
            y = y < 0 ? 0 : y >= p->height ? p->height - 1 : y;
            float *values = b->values + c * b->plane + line * b->pitch;
            int32_t *sums = b->sums + c * b->plane + line * b->pitch;
            int32_t *squares = b->squares + c * b->plane + line * b->pitch;
            uint32_t sum = 0, square = 0;
            for (ptrdiff_t i = 0; i < b->pitch; i++) {
                ptrdiff_t x = i - radius;
                x = x < 0 ? 0 : x >= p->width ? p->width - 1 : x;
                const ptrdiff_t at = c * p->plane + y * p->pitch + x;
                const float value = (p->is_bytes ? ((const uint8_t *)p->values)[at] : ((const float *)p->values)[at]) - b->pivot;
                const int32_t whole = (int32_t)(value * b->fine + (value < 0 ? -0.5f : 0.5f));
                values[i] = p->is_bytes ? value : (float)whole / b->fine;
                sums[i] = (int32_t)sum, squares[i] = (int32_t)square;
                sum += (uint32_t)whole, square += (uint32_t)whole * (uint32_t)whole;
            }
        }
}

/* Pack kernels first .. first + BATCH; there are `count`. Returns 0, or -1 without memory. */
static void VARIANT(fill_batch)(const Plane *p, const Look *l, const VARIANT(Band) *b, ptrdiff_t first, VARIANT(Batch) *batch)
{
    const ptrdiff_t box = l->side * l->side, channels = p->channels, radius = l->side / 2;
    const int count = (int)(l->poses - first < BATCH ? l->poses - first : BATCH);
    double means[BATCH][MOST_CHANNELS];
    ptrdiff_t runs = 0;
    for (int i = 0; i < BATCH; i++) {
        batch->own[i] = batch->count[i] = 0;
        for (ptrdiff_t s = 0; s < l->shades; s++) {
            const uint8_t *mask = i < count ? l->mask + (l->order[first + i] * l->shades + s) * box : NULL;
            double counted = 0;
            batch->first[i * l->shades + s] = runs;
            for (ptrdiff_t y = 0; i < count && y < l->side; y++)
                for (ptrdiff_t x = 0; x < l->side; x++) {
                    if (!mask[y * l->side + x])
                        continue;
                    const ptrdiff_t begin = x;
                    while (x < l->side && mask[y * l->side + x])
                        x++;
                    batch->runs[2 * runs] = (y - radius) * b->pitch + begin - radius;
                    batch->runs[2 * runs++ + 1] = (y - radius) * b->pitch + x - radius;
                    counted += (double)(x - begin);
                }
            batch->counts[i * l->shades + s] = counted;
        }
        for (ptrdiff_t c = 0; c < channels; c++) {
            const ptrdiff_t shade = l->shades > 1 ? c : 0;
            const double counted = batch->counts[i * l->shades + shade];
            batch->count[i] += counted;
            means[i][c] = b->pivot;
            if (i >= count || l->metric != ZNCC || counted == 0)
                continue;
            const float *values = l->values + (l->order[first + i] * channels + c) * box;
            double sum = 0;
            for (ptrdiff_t t = 0; t < box; t++)
                sum += values[t];
            means[i][c] = sum / counted;
        }
    }
    batch->first[BATCH * l->shades] = runs;
    for (int i = 0; i < BATCH; i++) {
        const size_t bytes = (size_t)(l->shades * box);
        batch->same[i] = i / HELD * HELD;
        while (batch->same[i] < i && (i >= count || memcmp(l->mask + l->order[first + i] * l->shades * box,
                                                           l->mask + l->order[first + batch->same[i]] * l->shades * box, bytes)))
            batch->same[i]++;
    }
    batch->taps = 0;
    for (ptrdiff_t c = 0; c < channels; c++)
        for (ptrdiff_t t = 0; t < box; t++) {
            const ptrdiff_t shade = l->shades > 1 ? c : 0;
            int used = 0;
            for (int i = 0; i < count; i++)
                used |= l->mask[(l->order[first + i] * l->shades + shade) * box + t];
            if (!used)
                continue;
            const ptrdiff_t to = batch->taps++ * BATCH;
            batch->offsets[to / BATCH] = c * b->plane + (t / l->side - radius) * b->pitch + t % l->side - radius;
            for (int i = 0; i < BATCH; i++) {
                const int counts = i < count && l->mask[(l->order[first + i] * l->shades + shade) * box + t];
                const double value = counts ? l->values[(l->order[first + i] * channels + c) * box + t] - means[i][c] : 0;
                batch->values[to + i] = (float)value;
                if (l->metric == SAD)
                    batch->weights[to + i] = (float)counts;
                batch->own[i] += value * value;
            }
        }
}

/* The spread of what lies under kernel i at a strip of vectors of places: sums of squares, with zncc less
 * the means. */
static INLINE void VARIANT(spread_of)(const Plane *p, const Look *l, const VARIANT(Band) *b, const VARIANT(Batch) *batch, int i,
                                      ptrdiff_t at, F out[STRIP], const int strip, const int is_zncc)
{
    for (int j = 0; j < strip; j++)
        out[j] = SPLAT(0.f);
    for (ptrdiff_t s = 0; s < l->shades; s++) {
        const ptrdiff_t *first = batch->runs + 2 * batch->first[i * l->shades + s];
        const ptrdiff_t *last = batch->runs + 2 * batch->first[i * l->shades + s + 1];
        const ptrdiff_t begin = l->shades > 1 ? s : 0, end = l->shades > 1 ? s + 1 : p->channels;
        const double counted = batch->counts[i * l->shades + s];
        const F share = SPLAT(counted > 0 ? (float)(1 / counted) : 0.f);
        for (ptrdiff_t c = begin; c < end; c++) {
            const int32_t *sums = b->sums + c * b->plane + at, *squares = b->squares + c * b->plane + at;
            I sum[STRIP], square[STRIP];
            UNROLL
            for (int j = 0; j < strip; j++)
                sum[j] = square[j] = ISPLAT(0);
            for (const ptrdiff_t *run = first; run < last; run += 2) {
                UNROLL
                for (int j = 0; j < strip; j++) {
                    square[j] += ILOAD(squares + run[1] + j * LANES) - ILOAD(squares + run[0] + j * LANES);
                    if (is_zncc)
                        sum[j] += ILOAD(sums + run[1] + j * LANES) - ILOAD(sums + run[0] + j * LANES);
                }
            }
            UNROLL
            for (int j = 0; j < strip; j++) {
                const F total = TO_FLOAT(sum[j]);
                out[j] += TO_FLOAT(square[j]);
                if (is_zncc)
                    out[j] -= total * total * share;
            }
        }
    }
    for (int j = 0; j < strip; j++)
        out[j] *= SPLAT(1 / (b->fine * b->fine));
}

#define SPREAD(name, strip, is_zncc)                                                                                          \
    static __attribute__((noinline)) void VARIANT(name)(const Plane *p, const Look *l, const VARIANT(Band) *b,                \
                                                        const VARIANT(Batch) *batch, int i, ptrdiff_t at, F out[STRIP])       \
    {                                                                                                                         \
        VARIANT(spread_of)(p, l, b, batch, i, at, out, strip, is_zncc);                                                       \
    }
SPREAD(spread_1, 1, 0)
SPREAD(spread_2, 2, 0)
SPREAD(spread_3, 3, 0)
SPREAD(spread_1_zncc, 1, 1)
SPREAD(spread_2_zncc, 2, 1)
SPREAD(spread_3_zncc, 3, 1)
#undef SPREAD

typedef void VARIANT(Spread)(const Plane *, const Look *, const VARIANT(Band) *, const VARIANT(Batch) *, int, ptrdiff_t, F *);
static VARIANT(Spread) *const VARIANT(SPREADS)[2][STRIP] = {
    {VARIANT(spread_1), VARIANT(spread_2), VARIANT(spread_3)},
    {VARIANT(spread_1_zncc), VARIANT(spread_2_zncc), VARIANT(spread_3_zncc)},
};

static INLINE F VARIANT(look_score)(const Look *l, const VARIANT(Batch) *batch, int i, F products, F spread)
{
    const float count = (float)batch->count[i], own = (float)(batch->own[i] > 1e-9 ? batch->own[i] : 1e-9);
    if (l->metric == SAD)
        return 1 - products * SPLAT((float)(1 / (batch->count[i] * l->full)));
    if (l->metric == SSD)
        return 1 - (spread - 2 * products + SPLAT(own)) * SPLAT((float)(1 / (batch->count[i] * l->full * l->full)));
    const F least = SPLAT((float)LEAST_SPREAD * count);
    const F found = products / SQUARE_ROOT(LARGEST(spread, least) * SPLAT(own));
    return SELECT(spread > least, found, SPLAT(0.f));
}

static void VARIANT(look_batch)(const Plane *p, const Look *l, const VARIANT(Band) *b, const VARIANT(Batch) *batch, ptrdiff_t first)
{
    const int count = (int)(l->poses - first < BATCH ? l->poses - first : BATCH);
    const ptrdiff_t radius = l->side / 2, rows = l->last - l->first;
    for (int begin = 0; begin < count; begin += HELD) {
        const int end = begin + HELD < count ? begin + HELD : count;
        int32_t box[4] = {INT32_MAX, -1, INT32_MAX, -1};
        for (int i = begin; i < end; i++) {
            const int32_t *bounds = l->bounds + 4 * l->order[first + i];
            if (batch->count[i] == 0 || bounds[0] > bounds[1] || bounds[2] > bounds[3])
                continue;
            for (int j = 0; j < 4; j += 2) {
                box[j] = bounds[j] < box[j] ? bounds[j] : box[j];
                box[j + 1] = bounds[j + 1] > box[j + 1] ? bounds[j + 1] : box[j + 1];
            }
        }
        const ptrdiff_t top = box[0] > l->first ? box[0] : l->first, bottom = box[1] < l->last - 1 ? box[1] : l->last - 1;
        for (ptrdiff_t y = top; y <= bottom; y++)
            for (ptrdiff_t x = box[2]; x <= box[3]; x += STRIP * LANES) {
                F sums[HELD][STRIP], spreads[HELD][STRIP];
                const ptrdiff_t left = box[3] - x + 1, at = (y - l->first + radius) * b->pitch + x + radius;
                const int strip = left <= LANES ? 1 : left <= 2 * LANES ? 2 : 3;
                VARIANT(PRODUCTS)[l->metric == SAD][strip - 1](b->values + at, batch->offsets, batch->values + begin,
                                                               batch->weights + begin, batch->taps, sums);
                for (int i = begin; i < end; i++) {
                    const int32_t *bounds = l->bounds + 4 * l->order[first + i];
                    float *out = l->out + (l->order[first + i] * rows + y - l->first) * l->out_pitch;
                    if (batch->count[i] == 0)
                        continue;
                    if (l->metric != SAD && batch->same[i] < i)
                        memcpy(spreads[i - begin], spreads[batch->same[i] - begin], sizeof spreads[0]);
                    else if (l->metric != SAD)
                        VARIANT(SPREADS)[l->metric == ZNCC][strip - 1](p, l, b, batch, i, at, spreads[i - begin]);
                    if (y < bounds[0] || y > bounds[1])
                        continue;
                    for (int j = 0; j < strip; j++) {
                        const ptrdiff_t from = x + j * LANES;
                        const F spread = l->metric == SAD ? SPLAT(0.f) : spreads[i - begin][j];
                        const F found = VARIANT(look_score)(l, batch, i, sums[i - begin][j], spread);
                        if (from >= bounds[2] && from + LANES - 1 <= bounds[3]) {
                            memcpy(out + from, &found, sizeof found);
                            continue;
                        }
                        for (int lane = 0; lane < LANES; lane++)
                            if (from + lane >= bounds[2] && from + lane <= bounds[3])
                                out[from + lane] = found[lane];
                    }
                }
            }
    }
}

static int VARIANT(look)(const Plane *p, const Look *l)
{
    VARIANT(Band) b;
    VARIANT(Batch) batch;
    const ptrdiff_t radius = l->side / 2, rows = l->last - l->first;
    const ptrdiff_t taps = p->channels * l->side * l->side;
    b.lines = rows + 2 * radius;
    b.pitch = (p->width + 2 * radius + (STRIP + 1) * LANES + 15) / 16 * 16;
    b.plane = b.lines * b.pitch;
    b.pivot = l->metric == NCC ? 0 : 128;
    /* Whole numbers whose squares' sum 31 bits hold; bytes stay what they are. */
    b.fine = 1;
    while (!p->is_bytes && b.fine < 4 && (double)(l->side * l->side) * 65025 * 4 * b.fine * b.fine < 0x1p31)
        b.fine *= 2;
    const size_t cells = (size_t)(p->channels * b.plane);
    b.values = malloc(cells * sizeof *b.values);
    b.sums = malloc(cells * sizeof *b.sums);
    b.squares = malloc(cells * sizeof *b.squares);
    batch.offsets = malloc((size_t)taps * sizeof *batch.offsets);
    batch.values = malloc((size_t)taps * BATCH * sizeof *batch.values);
    batch.weights = malloc((size_t)(l->metric == SAD ? taps * BATCH : BATCH) * sizeof *batch.weights);
    batch.runs = malloc((size_t)(BATCH * l->shades * l->side * (l->side / 2 + 1) * 2) * sizeof *batch.runs);
    const int failed = !b.values || !b.sums || !b.squares || !batch.offsets || !batch.values || !batch.weights || !batch.runs;
    if (!failed) {
        VARIANT(fill_band)(p, l, &b);
        for (ptrdiff_t i = 0; i < l->poses * rows * l->out_pitch; i++)
            l->out[i] = OUTSIDE;
        for (ptrdiff_t first = 0; first < l->poses; first += BATCH) {
            VARIANT(fill_batch)(p, l, &b, first, &batch);
            VARIANT(look_batch)(p, l, &b, &batch, first);
        }
    }
    free(b.values), free(b.sums), free(b.squares);
    free(batch.offsets), free(batch.values), free(batch.weights), free(batch.runs);
    return failed ? -1 : 0;
}

#undef STRIP
#undef HELD
