/* The first look: turned kernels against all places; included once for each instruction set. */

/* The bytes of a row, and those at its ends again as often as a strip that begins anywhere asks. */
static void VARIANT(fill_line)(const Plane *p, const VARIANT(Band) *b, ptrdiff_t radius, const uint8_t *row)
{
    const ptrdiff_t right = radius + p->width;
    memset(b->line, row[0], (size_t)radius);
    memcpy(b->line + radius, row, (size_t)p->width);
    memset(b->line + right, row[p->width - 1], (size_t)(b->pitch + 3 - right));
}

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
            const ptrdiff_t row = c * p->plane + y * p->pitch;
            uint32_t sum = 0, square = 0;
            if (p->is_bytes)
                VARIANT(fill_line)(p, b, radius, (const uint8_t *)p->values + row);
            for (ptrdiff_t i = 0; i < b->pitch; i++) {
                int32_t whole;
                if (p->is_bytes) {
                    whole = b->line[i] - (int32_t)b->pivot;
                    values[i] = (float)whole;
                } else {
                    ptrdiff_t x = i - radius;
                    x = x < 0 ? 0 : x >= p->width ? p->width - 1 : x;
                    const float value = ((const float *)p->values)[row + x] - b->pivot;
                    whole = (int32_t)(value * b->fine + (value < 0 ? -0.5f : 0.5f));
                    values[i] = (float)whole / b->fine;
                }
                sums[i] = (int32_t)sum, squares[i] = (int32_t)square;
                sum += (uint32_t)whole, square += (uint32_t)whole * (uint32_t)whole;
            }
            for (ptrdiff_t i = 0; b->has_words && i < b->pitch; i++)
                memcpy(values + i, b->line + i, sizeof *values);
        }
}

/* Where each of `count` kernels from `first` on begins and ends in each row, and what all have in common. */
static void VARIANT(fill_runs)(const Look *l, const VARIANT(Band) *b, ptrdiff_t first, int count, VARIANT(Batch) *batch)
{
    const ptrdiff_t box = l->side * l->side, radius = l->side / 2;
    ptrdiff_t runs = 0;
    memset(batch->common, 1, (size_t)(l->shades * box));
    for (int i = 0; i <= BATCH; i++)
        for (ptrdiff_t s = 0; s < l->shades; s++) {
            uint8_t *common = batch->common + s * box;
            const uint8_t *mask = i == BATCH ? common : i < count ? l->mask + (l->order[first + i] * l->shades + s) * box : NULL;
            double counted = 0;
            batch->first[i * l->shades + s] = runs;
            for (ptrdiff_t t = 0; mask && t < box; t++)
                common[t] &= mask[t];
            for (ptrdiff_t y = 0; mask && y < l->side; y++)
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
    batch->first[(BATCH + 1) * l->shades] = runs;
}

/* Whether a pixel of a box counts for any kernel of a batch, in a channel. */
static INLINE int VARIANT(is_used)(const Look *l, ptrdiff_t first, int count, ptrdiff_t shade, ptrdiff_t t)
{
    int used = 0;
    for (int i = 0; i < count; i++)
        used |= l->mask[(l->order[first + i] * l->shades + shade) * l->side * l->side + t];
    return used;
}

static void VARIANT(fill_taps)(const Plane *p, const Look *l, const VARIANT(Band) *b, ptrdiff_t first, int count,
                               double means[BATCH][MOST_CHANNELS], VARIANT(Batch) *batch)
{
    const ptrdiff_t box = l->side * l->side, radius = l->side / 2;
    batch->taps = 0;
    for (ptrdiff_t c = 0; c < p->channels; c++)
        for (ptrdiff_t t = 0; t < box; t++) {
            const ptrdiff_t shade = l->shades > 1 ? c : 0;
            if (!VARIANT(is_used)(l, first, count, shade, t))
                continue;
            const ptrdiff_t to = batch->taps++ * BATCH;
            batch->offsets[to / BATCH] = c * b->plane + (t / l->side - radius) * b->pitch + t % l->side - radius;
            for (int i = 0; i < BATCH; i++) {
                const int counts = i < count && l->mask[(l->order[first + i] * l->shades + shade) * box + t];
                batch->values[to + i] =
                    counts ? (float)((double)l->values[(l->order[first + i] * p->channels + c) * box + t] - means[i][c]) : 0;
                if (l->metric == SAD)
                    batch->weights[to + i] = (float)counts;
            }
        }
}

/* Four taps of a row together, from one that counts on. */
static void VARIANT(fill_words)(const Plane *p, const Look *l, const VARIANT(Band) *b, ptrdiff_t first, int count, VARIANT(Batch) *batch)
{
    const ptrdiff_t box = l->side * l->side, radius = l->side / 2;
    batch->taps = 0;
    for (ptrdiff_t c = 0; c < p->channels; c++)
        for (ptrdiff_t t = 0; t < box; t++) {
            if (!VARIANT(is_used)(l, first, count, l->shades > 1 ? c : 0, t))
                continue;
            const ptrdiff_t to = batch->taps++ * BATCH, left = l->side - t % l->side, width = left < 4 ? left : 4;
            batch->offsets[to / BATCH] = c * b->plane + (t / l->side - radius) * b->pitch + t % l->side - radius;
            for (int i = 0; i < BATCH; i++) {
                uint32_t word = 0;
                for (ptrdiff_t j = width - 1; i < count && j >= 0; j--)
                    word |= (uint32_t)(uint8_t)(int8_t)l->values[(l->order[first + i] * p->channels + c) * box + t + j] << (8 * j);
                memcpy(batch->values + to + i, &word, sizeof word);
            }
            t += width - 1;
        }
}

/* Pack so many kernels from `first` on, less their means. */
static void VARIANT(fill_batch)(const Plane *p, const Look *l, const VARIANT(Band) *b, ptrdiff_t first, VARIANT(Batch) *batch)
{
    const ptrdiff_t box = l->side * l->side, channels = p->channels;
    const int count = (int)(l->poses - first < BATCH ? l->poses - first : BATCH);
    double means[BATCH][MOST_CHANNELS];
    VARIANT(fill_runs)(l, b, first, count, batch);
    for (int i = 0; i < BATCH; i++) {
        batch->own[i] = batch->count[i] = 0;
        for (ptrdiff_t c = 0; c < channels; c++) {
            const double counted = batch->counts[i * l->shades + (l->shades > 1 ? c : 0)];
            batch->count[i] += counted;
            means[i][c] = b->pivot;
            if (i >= count || counted == 0)
                continue;
            const float *values = l->values + (l->order[first + i] * channels + c) * box;
            double sum = 0, squares = 0;
            for (ptrdiff_t t = 0; t < box; t++)
                sum += (double)values[t], squares += (double)values[t] * (double)values[t];
            if (l->metric == ZNCC)
                means[i][c] = sum / counted;
            batch->own[i] += squares - 2 * means[i][c] * sum + means[i][c] * means[i][c] * counted;
        }
        batch->own[i] = batch->own[i] > 1e-9 ? batch->own[i] : 1e-9;
        batch->by[i] = (float)(1 / sqrt(batch->own[i]));
    }
    for (int i = 0; i < BATCH; i++) {
        const size_t bytes = (size_t)(l->shades * box);
        batch->same[i] = i / HELD * HELD;
        while (batch->same[i] < i && (i >= count || memcmp(l->mask + l->order[first + i] * l->shades * box,
                                                           l->mask + l->order[first + batch->same[i]] * l->shades * box, bytes)))
            batch->same[i]++;
    }
    if (b->has_words)
        VARIANT(fill_words)(p, l, b, first, count, batch);
    else
        VARIANT(fill_taps)(p, l, b, first, count, means, batch);
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

/* What of a spread a score needs: with zncc and ncc 1 over its root, or 0 where it is flat. */
static INLINE F VARIANT(usable)(const Look *l, double count, F spread)
{
    const F least = SPLAT((float)(LEAST_SPREAD * count));
    return l->metric == SSD ? spread : SELECT(spread > least, INVERSE_ROOT(LARGEST(spread, least)), SPLAT(0.f));
}

static INLINE F VARIANT(look_score)(const Look *l, const VARIANT(Batch) *batch, int i, F products, F usable)
{
    if (l->metric == SAD)
        return 1 - products * SPLAT((float)(1 / (batch->count[i] * l->full)));
    if (l->metric == SSD)
        return 1 - (usable - 2 * products + SPLAT((float)batch->own[i])) * SPLAT((float)(1 / (batch->count[i] * l->full * l->full)));
    return products * SPLAT(batch->by[i]) * usable;
}

/* What products over the root of the kernel's own squares must reach at a strip of places, so that a score may reach the
 * bar: the spread under a kernel is no less than that under a part of it. It counts less what float32 leaves out. */
static INLINE void VARIANT(least_products)(const Plane *p, const Look *l, const VARIANT(Band) *b, const VARIANT(Batch) *batch,
                                           ptrdiff_t at, const int strip, F least[STRIP])
{
    double counted = 0;
    for (ptrdiff_t s = 0; s < l->shades; s++)
        counted += batch->counts[BATCH * l->shades + s] * (double)(l->shades > 1 ? 1 : p->channels);
    const F lost = SPLAT((float)(ROUNDED * counted)), bar = SPLAT(l->bar * (1 - 1e-5f));
    VARIANT(SPREADS)[l->metric == ZNCC][strip - 1](p, l, b, batch, BATCH, at, least);
    for (int j = 0; j < strip; j++)
        least[j] = SQUARE_ROOT(LARGEST(least[j] - lost, SPLAT(0.f))) * bar;
}

/* Scores that lie outside the places of a kernel. */
static void VARIANT(fill_outside)(const Look *l, const int32_t *bounds, int is_empty, float *out)
{
    const ptrdiff_t rows = l->last - l->first;
    for (ptrdiff_t row = 0; row < rows; row++, out += l->out_pitch) {
        const int is_out = is_empty || row + l->first < bounds[0] || row + l->first > bounds[1] || bounds[2] > bounds[3];
        const ptrdiff_t left = is_out ? l->out_pitch : bounds[2];
        for (ptrdiff_t x = 0; x < left; x++)
            out[x] = OUTSIDE;
        for (ptrdiff_t x = is_out ? l->out_pitch : bounds[3] + 1; x < l->out_pitch; x++)
            out[x] = OUTSIDE;
    }
}

/* Store those of a vector's scores of places from one on that lie within a kernel's bounds. */
static INLINE void VARIANT(store_within)(const int32_t *bounds, ptrdiff_t from, F found, float *out)
{
    if (from >= bounds[2] && from + LANES - 1 <= bounds[3]) {
        memcpy(out, &found, sizeof found);
        return;
    }
#if LANES == 16
    const ptrdiff_t before = bounds[2] - from, until = bounds[3] + 1 - from;
    const uint32_t begun = before <= 0 ? 0xffff : before < LANES ? 0xffffu << before & 0xffff : 0;
    const uint32_t left = until >= LANES ? 0xffff : until > 0 ? (1u << until) - 1 : 0;
    _mm512_mask_storeu_ps(out, (__mmask16)(begun & left), (__m512)found);
#else
    for (int lane = 0; lane < LANES; lane++)
        if (from + lane >= bounds[2] && from + lane <= bounds[3])
            out[lane] = found[lane];
#endif
}

/* The scores of kernels begin .. end of a batch at a strip of places from x on. */
static INLINE void VARIANT(look_strip)(const Plane *p, const Look *l, const VARIANT(Band) *b, const VARIANT(Batch) *batch,
                                       const int32_t *order, int begin, int end, ptrdiff_t y, ptrdiff_t x, const int strip)
{
    F sums[HELD][STRIP], spreads[HELD][STRIP], least[STRIP];
    int known[HELD] = {0}; /* a bit for each vector of `spreads` */
    const ptrdiff_t radius = l->side / 2, rows = l->last - l->first, at = (y - l->first + radius) * b->pitch + x + radius;
    int is_one = l->metric != SAD;
    for (int i = begin; i < end; i++)
        is_one &= batch->same[i] == begin;
    const int prunes = !is_one && l->bar > 0 && (l->metric == ZNCC || l->metric == NCC);
    VARIANT(PRODUCTS)[b->has_words ? 2 : l->metric == SAD][strip - 1](b->values + at, batch->offsets, batch->values + begin, batch->weights + begin,
                                                   batch->taps, sums);
    if (prunes)
        VARIANT(least_products)(p, l, b, batch, at, strip, least);
    if (is_one) { /* spreads for all cost less than to tell which of them are needed */
        VARIANT(SPREADS)[l->metric == ZNCC][strip - 1](p, l, b, batch, begin, at, spreads[0]);
        for (int j = 0; j < strip; j++)
            spreads[0][j] = VARIANT(usable)(l, batch->count[begin], spreads[0][j]);
        known[0] = (1 << STRIP) - 1;
    }
    for (int i = begin; i < end; i++) {
        const int32_t *bounds = l->bounds + 4 * order[i];
        float *out = l->out + (order[i] * rows + y - l->first) * l->out_pitch + x;
        const int same = batch->same[i] - begin;
        const F by = SPLAT(batch->by[i]);
        if (batch->count[i] == 0 || y < bounds[0] || y > bounds[1])
            continue;
        for (int j = 0; j < strip; j++) {
            const ptrdiff_t from = x + j * LANES;
            const F product = sums[i - begin][j];
            F found = SPLAT(OUTSIDE);
            if (!prunes || ANY(product * by >= least[j])) {
                if (l->metric != SAD && !(known[same] >> j & 1)) {
                    VARIANT(SPREADS)[l->metric == ZNCC][0](p, l, b, batch, i, at + j * LANES, &spreads[same][j]);
                    spreads[same][j] = VARIANT(usable)(l, batch->count[i], spreads[same][j]);
                    known[same] |= 1 << j;
                }
                found = VARIANT(look_score)(l, batch, i, product, l->metric == SAD ? SPLAT(0.f) : spreads[same][j]);
            }
            VARIANT(store_within)(bounds, from, found, out + j * LANES);
        }
    }
}

static void VARIANT(look_batch)(const Plane *p, const Look *l, const VARIANT(Band) *b, const VARIANT(Batch) *batch, ptrdiff_t first)
{
    const int count = (int)(l->poses - first < BATCH ? l->poses - first : BATCH);
    const int32_t *order = l->order + first;
    const ptrdiff_t rows = l->last - l->first;
    for (int i = 0; i < count; i++)
        VARIANT(fill_outside)(l, l->bounds + 4 * order[i], batch->count[i] == 0, l->out + order[i] * rows * l->out_pitch);
    for (int begin = 0; begin < count; begin += HELD) {
        const int end = begin + HELD < count ? begin + HELD : count;
        int32_t box[4] = {INT32_MAX, -1, INT32_MAX, -1};
        for (int i = begin; i < end; i++) {
            const int32_t *bounds = l->bounds + 4 * order[i];
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
                const ptrdiff_t left = box[3] - x + 1;
                const int strip = left <= LANES ? 1 : left <= 2 * LANES ? 2 : STRIP;
                VARIANT(look_strip)(p, l, b, batch, order, begin, end, y, x, strip);
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
    b.has_words = VARIANT(has_words)(p, l);
    b.pivot = l->metric == NCC ? 0 : 128;
    /* Whole numbers whose squares' sum 31 bits hold; bytes stay what they are. */
    b.fine = 1;
    while (!p->is_bytes && b.fine < 4 && (double)(l->side * l->side) * 65025 * 4 * b.fine * b.fine < 0x1p31)
        b.fine *= 2;
    const size_t cells = (size_t)(p->channels * b.plane);
    b.values = malloc(cells * sizeof *b.values);
    b.sums = malloc(cells * sizeof *b.sums);
    b.squares = malloc(cells * sizeof *b.squares);
    b.line = malloc((size_t)b.pitch + 3);
    batch.offsets = malloc((size_t)taps * sizeof *batch.offsets);
    batch.values = malloc((size_t)taps * BATCH * sizeof *batch.values);
    batch.weights = malloc((size_t)(l->metric == SAD ? taps * BATCH : BATCH) * sizeof *batch.weights);
    batch.common = malloc((size_t)(l->shades * l->side * l->side));
    batch.runs = malloc((size_t)((BATCH + 1) * l->shades * l->side * (l->side / 2 + 1) * 2) * sizeof *batch.runs);
    const int failed = !b.values || !b.sums || !b.squares || !b.line || !batch.offsets || !batch.values || !batch.weights || !batch.runs || !batch.common;
    if (!failed) {
        VARIANT(fill_band)(p, l, &b);
        for (ptrdiff_t first = 0; first < l->poses; first += BATCH) {
            VARIANT(fill_batch)(p, l, &b, first, &batch);
            VARIANT(look_batch)(p, l, &b, &batch, first);
        }
    }
    free(b.values), free(b.sums), free(b.squares), free(b.line);
    free(batch.offsets), free(batch.values), free(batch.weights), free(batch.runs), free(batch.common);
    return failed ? -1 : 0;
}

#undef STRIP
#undef HELD
