/* Sums of float64; included once for each instruction set, and once for any compiler.
 *
 * Defined before: NAME(x) and TARGET. Some windows of a row at once, four taps at a time, in loops of
 * which compilers make vectors.
 */

/* Adds the differences of a row of the kernel to the sums of neighbouring windows. */
TARGET static void NAME(row)(const double *pixels, const double *taps, const uint8_t *weights,
                             ptrdiff_t width, double *sums, ptrdiff_t cols)
{
    ptrdiff_t j = 0;
    for (; j + 4 <= width && !weights; j += 4) {
        const double *under = pixels + j, *own = taps + j;
        for (ptrdiff_t k = 0; k < cols; k++)
            sums[k] += (fabs(under[k] - own[0]) + fabs(under[k + 1] - own[1])) +
                       (fabs(under[k + 2] - own[2]) + fabs(under[k + 3] - own[3]));
    }
    for (; j < width; j++) {
        const double weight = weights ? weights[j] : 1;
        for (ptrdiff_t k = 0; k < cols && weight > 0; k++)
            sums[k] += fabs(pixels[j + k] - taps[j]) * weight;
    }
}

TARGET static void NAME(sums)(const Task *t, double *out)
{
    for (ptrdiff_t row = 0; row < t->rows; row++)
        for (ptrdiff_t left = 0; left < t->cols; left += SPAN) {
            const ptrdiff_t cols = t->cols - left < SPAN ? t->cols - left : SPAN;
            double sums[SPAN] = {0};
            for (ptrdiff_t plane = 0; plane < t->channels * t->phases; plane++)
                for (ptrdiff_t i = 0; i < t->height; i++) {
                    const double *pixels =
                        (const double *)t->planes +
                        (plane * t->lines + row * t->stride_y + i) * t->pitch + left;
                    const ptrdiff_t line = (plane * t->height + i) * t->taps_pitch;
                    NAME(row)(pixels, (const double *)t->taps + line,
                              t->weights ? (const uint8_t *)t->weights + line : NULL,
                              sad_plane_width(t, plane), sums, cols);
                }
            memcpy(out + row * t->cols + left, sums, (size_t)cols * sizeof *sums);
        }
}
