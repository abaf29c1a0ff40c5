/* Products of pixels with a kernel, summed directly; included once for each variant and type of
 * sums.
 *
 * NAME(x) is a name of this variant, SUM the type of the sums and LANES how many a vector has, TAPS
 * how many taps an instruction multiplies and adds, DOT(sums, pixels, taps) that instruction. PIXEL
 * and TAP are the types of what is read. ROWS rows of VECTORS vectors of the map stay in registers,
 * and each pixel that is read serves all rows.
 *
 * Bytes, or 16 bits made of them, are summed in int32_t, which is exact. A lane is TAPS neighbouring
 * pixels, so that the vector read at x + p has the sums of windows p, p + TAPS, p + 2 TAPS ...; there
 * are TAPS vectors. With TAPS 1 pixels, taps and sums are doubles.
 *
 * Where DOT takes signed bytes alone, it multiplies pixels less LESS with the taps.
 */
typedef SUM NAME(V) __attribute__((vector_size(sizeof(SUM) * LANES), may_alias));
typedef SUM NAME(Unaligned)
    __attribute__((vector_size(sizeof(SUM) * LANES), aligned(1), may_alias));
#define V NAME(V)
#if TAPS == 1
#define STEP LANES
#elif LANES == 16
#define FIRST_HALVES (0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define LAST_HALVES (8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define FIRST_HALVES (0, 8, 1, 9, 2, 10, 3, 11)
#define LAST_HALVES (4, 12, 5, 13, 6, 14, 7, 15)
#else
#define FIRST_HALVES (0, 4, 1, 5)
#define LAST_HALVES (2, 6, 3, 7)
#endif
#ifndef STEP
#define STEP 1
#endif
#ifndef LESS
#define LESS 0
#endif
#define ROW (VECTORS * LANES) /* windows of a row that are summed at once */

/* Rows of pixels `line` to `line + lines` of a channel, into rows of the map from `first` to `last`.
 * taps: of the kernel's row under the first of these lines for the map's row 0. */
static INLINE void NAME(lines)(V sums[ROWS][VECTORS], const PIXEL *pixels, ptrdiff_t pitch,
                               const TAP *taps, ptrdiff_t width, ptrdiff_t lines, int first,
                               int last)
{
    V in[ROWS][VECTORS];
    UNROLL16 for (int i = first; i <= last; i++)
        UNROLL16 for (int p = 0; p < VECTORS; p++) in[i][p] = sums[i][p];
    for (ptrdiff_t y = 0; y < lines; y++, pixels += pitch, taps += width)
        for (ptrdiff_t x = 0; x < width; x += TAPS) {
            V values[VECTORS];
            UNROLL16 for (int p = 0; p < VECTORS; p++)
                values[p] = *(const NAME(Unaligned) *)(pixels + x + p * STEP);
            UNROLL16 for (int i = first; i <= last; i++)
            {
                SUM group; /* TAPS of them */
                memcpy(&group, taps - i * width + x, sizeof group);
                const V all = (V){0} + group;
                UNROLL16 for (int p = 0; p < VECTORS; p++) in[i][p] = DOT(in[i][p], values[p], all);
            }
        }
    UNROLL16 for (int i = first; i <= last; i++)
        UNROLL16 for (int p = 0; p < VECTORS; p++) sums[i][p] = in[i][p];
}

/* The lanes of a row's vectors in the order of their windows. */
static INLINE void NAME(store)(const V sums[VECTORS], SUM *out)
{
#if TAPS == 4
    V even = SHUFFLE(sums[0], sums[2], FIRST_HALVES), odd = SHUFFLE(sums[1], sums[3], FIRST_HALVES);
    V evens = SHUFFLE(sums[0], sums[2], LAST_HALVES), odds = SHUFFLE(sums[1], sums[3], LAST_HALVES);
    *(NAME(Unaligned) *)out = SHUFFLE(even, odd, FIRST_HALVES);
    *(NAME(Unaligned) *)(out + LANES) = SHUFFLE(even, odd, LAST_HALVES);
    *(NAME(Unaligned) *)(out + 2 * LANES) = SHUFFLE(evens, odds, FIRST_HALVES);
    *(NAME(Unaligned) *)(out + 3 * LANES) = SHUFFLE(evens, odds, LAST_HALVES);
#elif TAPS == 1
    UNROLL16 for (int p = 0; p < VECTORS; p++) *(NAME(Unaligned) *)(out + p * LANES) = sums[p];
#else
    *(NAME(Unaligned) *)out = SHUFFLE(sums[0], sums[1], FIRST_HALVES);
    *(NAME(Unaligned) *)(out + LANES) = SHUFFLE(sums[0], sums[1], LAST_HALVES);
#endif
}

/* ROWS x ROW windows, whose sums begin with `first`. taps: [channels][height + 2 (ROWS - 1)][width],
 * zeros above and below. */
static void NAME(block)(const PIXEL *pixels, ptrdiff_t plane, ptrdiff_t pitch, ptrdiff_t channels,
                        const TAP *taps, ptrdiff_t height, ptrdiff_t width, SUM first, SUM *out,
                        ptrdiff_t out_pitch)
{
    V sums[ROWS][VECTORS];
    for (int i = 0; i < ROWS; i++)
        for (int p = 0; p < VECTORS; p++)
            sums[i][p] = (V){0} + first;
    for (ptrdiff_t c = 0; c < channels; c++) {
        const PIXEL *p = pixels + c * plane;
        const TAP *k = taps + (c * (height + 2 * (ROWS - 1)) + ROWS - 1) * width;
        if (height < ROWS) {
            NAME(lines)(sums, p, pitch, k, width, height + ROWS - 1, 0, ROWS - 1);
            continue;
        }
        /* The first and last lines lie under some of the rows alone. */
#define ABOVE(i) NAME(lines)(sums, p + (i) * pitch, pitch, k + (i) * width, width, 1, 0, i)
#define BELOW(i)                                                                              \
    NAME(lines)(sums, p + (height + (i)-1) * pitch, pitch, k + (height + (i)-1) * width, width, 1, i, ROWS - 1)
        ABOVE(0);
#if ROWS > 2
        ABOVE(1);
        ABOVE(2);
#endif
#if ROWS > 4
        ABOVE(3);
        ABOVE(4);
#endif
        NAME(lines)(sums, p + (ROWS - 1) * pitch, pitch, k + (ROWS - 1) * width, width,
                    height - ROWS + 1, 0, ROWS - 1);
        BELOW(1);
#if ROWS > 2
        BELOW(2);
        BELOW(3);
#endif
#if ROWS > 4
        BELOW(4);
        BELOW(5);
#endif
#undef ABOVE
#undef BELOW
    }
    for (int i = 0; i < ROWS; i++)
        NAME(store)(sums[i], out + i * out_pitch);
}

/* All windows of a band: `rows` of the map, rounded up to ROWS, and `cols`, rounded up to ROW;
 * `width` is that of the taps, rounded up to TAPS. */
static void NAME(band)(const void *planes, ptrdiff_t plane, ptrdiff_t pitch, ptrdiff_t channels,
                       const void *taps, ptrdiff_t height, ptrdiff_t width, void *out,
                       ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t out_pitch)
{
    SUM first = 0;
    for (ptrdiff_t i = 0; LESS != 0 && i < channels * (height + 2 * (ROWS - 1)) * width; i++)
        first += LESS * ((const TAP *)taps)[i];
    for (ptrdiff_t row = 0; row < rows; row += ROWS)
        for (ptrdiff_t x = 0; x < cols; x += ROW)
            NAME(block)((const PIXEL *)planes + row * pitch + x, plane, pitch, channels, taps, height, width,
                        first, (SUM *)out + row * out_pitch + x, out_pitch);
}
#undef V
#undef ROW
#undef LESS
#undef STEP
#undef FIRST_HALVES
#undef LAST_HALVES
