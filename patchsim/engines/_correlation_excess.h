/* What sad's windows add to X that depends on their pixels alone; included by _correlation_core.h once
 * for each variant.
 *
 * With a' the value of the range that is nearest to a pixel a, |a - b| is |a' - b| + |a - a'| for
 * every b of the range. The terms give the first part; that of curves has a part of its own which
 * does not depend on b, either. What a pixel adds is computed once, over all channels. While a band
 * is walked from its top, it is summed in double precision along columns and then along a row.
 */

/* What a line of a channel adds, put on `curve` if that is not NULL; `most` grows to the largest value.
 * The line is as long as whole vectors. */
static INLINE void VARIANT(line_of_excess)(const void *line, Type type, ptrdiff_t columns,
                                           double middle, double half,
                                           const VARIANT(Curve_single) *curve, int is_first,
                                           float *out, VARIANT(V_single) *most)
{
    typedef VARIANT(V_single) V;
    const V zero = {0}, middles = zero + (float)middle, halves = zero + (float)half;
    const V shares = zero + (float)(half > 0 ? 1 / half : 0);
    for (ptrdiff_t x = 0; x < columns; x += LANES) {
        const V pixels = type == BYTES   ? VARIANT(of_bytes_single)((const uint8_t *)line + x)
                         : type == WORDS ? VARIANT(of_words_single)((const uint16_t *)line + x)
                                         : VARIANT(of_floats_single)((const float *)line + x);
        const V less = pixels - middles;
        V own = VARIANT(larger_single)(VARIANT(larger_single)(less, -less) - halves, zero);
        if (curve)
            own += VARIANT(on_curve_single)(
                VARIANT(clipped_single)(less * shares) * (float)OF_PIECES + PIECES / 2.0f, curve);
        if (!is_first)
            own += *(const V *)(out + x);
        *(V *)(out + x) = own;
        *most = VARIANT(larger_single)(*most, VARIANT(larger_single)(own, -own));
    }
}

/* What the pixels of all channels of a band add, [lines][pitch]. Returns the largest. */
static double VARIANT(fill_excess)(const VARIANT(Band) *b, ptrdiff_t lines, ptrdiff_t columns)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    VARIANT(V_single) most = {0};
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        VARIANT(Curve_single) own;
        const VARIANT(Curve_single) *curve = t->curves ? &own : NULL;
        if (curve)
            VARIANT(set_curve_single)(&own, curve_of_term(t, c, -1));
        for (ptrdiff_t y = 0; y < lines; y++) {
            const uint8_t *line = b->planes + (c * l->lines + y) * l->pitch * correlation_item(t);
            const double middle = t->means[c], half = t->halves[c];
            float *out = b->excess + y * l->pitch;
#define LINE(type)                                                                             \
    VARIANT(line_of_excess)(line, type, columns, middle, half, curve, c == 0, out, &most)
            if (t->type == BYTES)
                LINE(BYTES);
            else if (t->type == WORDS)
                LINE(WORDS);
            else
                LINE(FLOATS);
#undef LINE
        }
    }
    float largest = 0;
    for (int i = 0; i < LANES; i++)
        largest = largest > most[i] ? largest : most[i];
    return (double)largest;
}

/* Whether the range has all values of integers of the task's type. */
static int VARIANT(has_all_values)(const Task *t)
{
    const double most = t->type == BYTES ? 255 : 65535;
    for (ptrdiff_t c = 0; c < t->channels; c++)
        if (t->means[c] - t->halves[c] > 0 || t->means[c] + t->halves[c] < most)
            return 0;
    return t->type != FLOATS;
}

/* Puts the pixels of a plane into their range: integers less its lowest value, floats less its middle. */
static INLINE void VARIANT(plane_into_range)(void *plane, Type type, ptrdiff_t count, double middle,
                                             double half)
{
    typedef VARIANT(V_single) V;
    const V most = (V){0} + (float)half;
    float *floats = plane;
#define OF_INTEGERS(PIXEL)                                                                     \
    PIXEL *pixels = plane;                                                                     \
    const PIXEL low = (PIXEL)(middle - half), high = (PIXEL)(middle + half);                   \
    for (ptrdiff_t i = 0; i < count; i++) {                                                    \
        const PIXEL least = pixels[i] > low ? pixels[i] : low;                                 \
        pixels[i] = (PIXEL)((least < high ? least : high) - low);                              \
    }
    if (type == BYTES) {
        OF_INTEGERS(uint8_t)
    } else if (type == WORDS) {
        OF_INTEGERS(uint16_t)
    } else
        for (ptrdiff_t i = 0; i < count; i += LANES) {
            const V less = VARIANT(of_floats_single)(floats + i) - (float)middle;
            *(V *)(floats + i) =
                -VARIANT(larger_single)(-VARIANT(larger_single)(less, -most), -most);
        }
#undef OF_INTEGERS
}

/* Puts the pixels of a band into the ranges of their channels, once for all terms. */
static void VARIANT(into_range)(const VARIANT(Band) *b)
{
    const Task *t = b->task;
    const ptrdiff_t pixels = b->layout->lines * b->layout->pitch;
    if (VARIANT(has_all_values)(t))
        return;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        uint8_t *plane = b->planes + c * pixels * correlation_item(t);
        if (t->type == BYTES)
            VARIANT(plane_into_range)(plane, BYTES, pixels, t->means[c], t->halves[c]);
        else if (t->type == WORDS)
            VARIANT(plane_into_range)(plane, WORDS, pixels, t->means[c], t->halves[c]);
        else
            VARIANT(plane_into_range)(plane, FLOATS, pixels, t->means[c], t->halves[c]);
    }
}

/* How far the sums over a band's windows may be off. Values of bytes and of 16 bits without curves are
 * exact, and so are their sums. Others are rounded a few times, curves as CURVE_ERROR says; no
 * sum in double precision is larger than all values of a band, and each is one of at most `count`
 * roundings, one after another. */
static void VARIANT(find_excess)(VARIANT(Band) *b, ptrdiff_t lines, ptrdiff_t columns)
{
    const Task *t = b->task;
    b->has_excess = t->curves || !VARIANT(has_all_values)(t);
    b->excess_drift = 0;
    const double most = b->has_excess ? VARIANT(fill_excess)(b, lines, columns) : 0;
    if ((t->type < FLOATS && !t->curves) || !b->has_excess)
        return;
    double off = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const double *knots = t->curves ? curve_of_term(t, c, -1) : NULL;
        off += 0x1p-22 * (most + t->halves[c]) + (knots ? error_of_curve(knots) : 0);
    }
    const double count = 4 * (double)(lines + columns) + 64;
    b->excess_drift = (double)(t->height * t->width) * off +
                      count * 0x1p-53 * most * (double)lines * (double)columns;
}

/* Those of the windows of a row, which follows the one before, to `e`. */
static void VARIANT(sum_excess)(VARIANT(Band) *b, ptrdiff_t row)
{
    const Task *t = b->task;
    const ptrdiff_t columns = (t->cols - 1) * t->stride_x + t->width, pitch = b->layout->pitch;
    double *sums = (double *)b->squares;
    const float *above = b->excess + (row - 1) * t->stride_y * pitch;
    if (row == 0) {
        memset(sums, 0, (size_t)columns * sizeof *sums);
        for (ptrdiff_t y = 0; y < t->height; y++)
            for (ptrdiff_t x = 0; x < columns; x++)
                sums[x] += (double)b->excess[y * pitch + x];
    }
    for (ptrdiff_t y = 0; y < t->stride_y && row > 0; y++, above += pitch) {
        const float *below = above + t->height * pitch;
        for (ptrdiff_t x = 0; x < columns; x++)
            sums[x] += (double)below[x] - (double)above[x];
    }
    VARIANT(floats_along)(sums, 1, t->width, t->stride_x, t->cols, b->e);
}
