/* Sums over blocks of windows, for one type and instruction set; included once for each.
 *
 * Defined before: NAME(x), a name of this inclusion; TARGET; VALUE, the type of planes and taps;
 * LANES; SUMS, narrow sums of LANES neighbouring windows; NARROW, the type of one; WIDE, what they
 * are added to before they overflow or grow coarse, at most WIDE_ADDITIONS times; GROUP, the taps
 * that are added at once; STEPS(n), the additions that n taps of a row take; and NAME(run), which adds
 * n taps of some kernel rows.
 *
 * A block is ROWS windows high and one or two vectors wide. Its sums stay in registers, an image
 * load serves up to ROWS kernel rows and a load of taps two vectors.
 */
#define ROWS 4

static INLINE TARGET void NAME(widen)(SUMS sums[ROWS][2], WIDE *wide, int vectors)
{
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < vectors; v++) {
        NARROW narrow[LANES];
        memcpy(narrow, &sums[r][v], sizeof narrow);
        for (int k = 0; k < LANES; k++)
            wide[(r * 2 + v) * LANES + k] += narrow[k];
        sums[r][v] = (SUMS){0};
    }
}

/* Moves the wide sums of the block's windows that exist into out. */
static INLINE TARGET void NAME(settle)(WIDE *wide, double *out, ptrdiff_t pitch, int rows, int cols,
                                       int again)
{
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < cols; k++)
            out[r * pitch + k] = (double)wide[r * 2 * LANES + k] + (again ? out[r * pitch + k] : 0);
    memset(wide, 0, ROWS * 2 * LANES * sizeof *wide);
}

static INLINE TARGET void NAME(block)(const Task *t, ptrdiff_t top, ptrdiff_t left, int vectors,
                                      double *out)
{
    int rows = t->rows - top < ROWS ? (int)(t->rows - top) : ROWS;
    int cols = t->cols - left < vectors * LANES ? (int)(t->cols - left) : vectors * LANES;
    ptrdiff_t reach = (rows - 1) * t->stride_y + t->height;
    ptrdiff_t steps = 0, additions = 0, again = 0;
    SUMS sums[ROWS][2] = {0};
    WIDE wide[ROWS * 2 * LANES] = {0};
    for (ptrdiff_t plane = 0; plane < t->channels * t->phases; plane++) {
        ptrdiff_t width = sad_plane_width(t, plane);
        for (ptrdiff_t first = 0, n; first < width; first += n) {
            n = width - first < GROUP * t->steps ? width - first : GROUP * t->steps;
            if (STEPS(n) > t->steps)
                n -= n % GROUP;
            const VALUE *pixels = (const VALUE *)t->planes + left + first +
                                  (plane * t->lines + top * t->stride_y) * t->pitch;
            ptrdiff_t taps = plane * t->height * t->taps_pitch + first;
            /* Image rows y to y + count - 1 meet the window rows low to high - 1. */
            int low = 0, high = 0;
            for (ptrdiff_t y = 0, count; y < reach; y += count) {
                while (high < rows && high * t->stride_y <= y)
                    high++;
                while (low * t->stride_y + t->height <= y)
                    low++;
                count = low * t->stride_y + t->height - y;
                if (high < rows && high * t->stride_y - y < count)
                    count = high * t->stride_y - y;
                if (low == high)
                    continue;
                if (steps + STEPS(n) > t->steps) {
                    if (additions == WIDE_ADDITIONS) {
                        NAME(settle)(wide, out, t->cols, rows, cols, again++ > 0);
                        additions = 0;
                    }
                    NAME(widen)(sums, wide, vectors);
                    additions++;
                    steps = 0;
                }
                if (count > (t->steps - steps) / STEPS(n))
                    count = (t->steps - steps) / STEPS(n);
                steps += count * STEPS(n);
                /* Constants, so that the loops over window rows are unrolled. */
#define MEET(LOW, HIGH)                                                                   \
    case LOW * 8 + HIGH:                                                                  \
        NAME(run)(t, sums, pixels + y * t->pitch, taps + y * t->taps_pitch, count, n,     \
                  LOW, HIGH, vectors);                                                    \
        break;
                switch (low * 8 + high) {
                    MEET(0, 4) MEET(0, 1) MEET(0, 2) MEET(0, 3) MEET(1, 2)
                    MEET(1, 3) MEET(1, 4) MEET(2, 3) MEET(2, 4) MEET(3, 4)
                }
#undef MEET
            }
        }
    }
    if (additions == WIDE_ADDITIONS)
        NAME(settle)(wide, out, t->cols, rows, cols, again++ > 0);
    NAME(widen)(sums, wide, vectors);
    NAME(settle)(wide, out, t->cols, rows, cols, again > 0);
}

TARGET static void NAME(sums)(const Task *t, double *out)
{
    for (ptrdiff_t top = 0; top < t->rows; top += ROWS)
        for (ptrdiff_t left = 0; left < t->cols;) {
            double *cells = out + top * t->cols + left;
            if (t->cols - left > LANES) {
                NAME(block)(t, top, left, 2, cells);
                left += 2 * LANES;
            } else {
                NAME(block)(t, top, left, 1, cells);
                left += LANES;
            }
        }
}
#undef ROWS
