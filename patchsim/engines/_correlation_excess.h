/* How far the pixels of sad's windows lie outside the range for which its terms are made; included by
 * _correlation_core.h once for each variant.
 *
 * With a' the value of the range that is nearest to a pixel a, |a - b| is |a' - b| + |a - a'| for
 * every b of the range. The terms give the first part. The last one does not depend on b: it is
 * summed in double precision while a band is walked from its top, along columns and then along a
 * row, exactly of integers.
 */
#define OUTSIDE(NAME, PIXEL)                                                                   \
    /* Adds what the pixels of a line have outside, times `sign`, to the sums of columns. */   \
    static void VARIANT(NAME)(const PIXEL *line, ptrdiff_t count, double middle, double half,  \
                              double sign, double *columns)                                    \
    {                                                                                          \
        for (ptrdiff_t x = 0; x < count; x++) {                                                \
            const double outside = fabs((double)line[x] - middle) - half;                      \
            columns[x] += sign * (outside > 0 ? outside : 0);                                  \
        }                                                                                      \
    }
OUTSIDE(bytes_outside, uint8_t)
OUTSIDE(words_outside, uint16_t)
OUTSIDE(floats_outside, float)
#undef OUTSIDE

/* All channels of some lines of a band. */
static void VARIANT(add_outside)(const VARIANT(Band) *b, ptrdiff_t first, ptrdiff_t lines,
                                 ptrdiff_t columns, double sign, double *sums)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    for (ptrdiff_t c = 0; c < t->channels; c++)
        for (ptrdiff_t y = first; y < first + lines; y++) {
            const ptrdiff_t at = (c * l->lines + y) * l->pitch;
            const double middle = t->means[c], half = t->halves[c];
            if (t->type == BYTES)
                VARIANT(bytes_outside)(b->planes + at, columns, middle, half, sign, sums);
            else if (t->type == WORDS)
                VARIANT(words_outside)((const uint16_t *)(const void *)b->planes + at, columns,
                                       middle, half, sign, sums);
            else
                VARIANT(floats_outside)((const float *)(const void *)b->planes + at, columns,
                                        middle, half, sign, sums);
        }
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

/* The sum over all pixels of a band, and how far those over windows may be off. None of these is
 * larger, and each is one of at most `count` roundings, one after another. */
static void VARIANT(find_excess)(VARIANT(Band) *b, ptrdiff_t lines, ptrdiff_t columns)
{
    const Task *t = b->task;
    double *sums = (double *)b->squares;
    b->excess = b->excess_drift = 0;
    if (VARIANT(has_all_values)(t))
        return;
    memset(sums, 0, (size_t)b->layout->columns * sizeof *sums);
    VARIANT(add_outside)(b, 0, lines, columns, 1, sums);
    for (ptrdiff_t x = 0; x < columns; x++)
        b->excess += sums[x];
    const double count = 4 * (double)(lines * t->channels + columns) + 64;
    if (t->type == FLOATS)
        b->excess_drift = count * 0x1p-53 * b->excess;
}

/* Those of the windows of a row, which follows the one before, to `e`. */
static void VARIANT(sum_excess)(VARIANT(Band) *b, ptrdiff_t row)
{
    const Task *t = b->task;
    const ptrdiff_t columns = (t->cols - 1) * t->stride_x + t->width;
    double *sums = (double *)b->squares;
    const ptrdiff_t above = (row - 1) * t->stride_y;
    if (row == 0) {
        memset(sums, 0, (size_t)b->layout->columns * sizeof *sums);
        VARIANT(add_outside)(b, 0, t->height, columns, 1, sums);
    } else {
        VARIANT(add_outside)(b, above, t->stride_y, columns, -1, sums);
        VARIANT(add_outside)(b, above + t->height, t->stride_y, columns, 1, sums);
    }
    VARIANT(floats_along)(sums, 1, t->width, t->stride_x, t->cols, b->e);
}
