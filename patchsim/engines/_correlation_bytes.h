/* Sums over windows of bytes whose sums of squares fit 31 bits, at a stride of 1 along rows; included by
 * _correlation_core.h once for each variant. They are int32_t, LANES at once. */

/* Running sums within a vector of LANES, and its last value in every lane. */
#if LANES == 16
#define RUNNING(zero, v)                                                                       \
    v += SHUFFLE(zero, v, (0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30));    \
    v += SHUFFLE(zero, v, (0, 1, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29));     \
    v += SHUFFLE(zero, v, (0, 1, 2, 3, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27));       \
    v += SHUFFLE(zero, v, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23))
#define LAST(v) SHUFFLE(v, v, (15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15))
#elif LANES == 8
#define RUNNING(zero, v)                                                                       \
    v += SHUFFLE(zero, v, (0, 8, 9, 10, 11, 12, 13, 14));                                      \
    v += SHUFFLE(zero, v, (0, 1, 8, 9, 10, 11, 12, 13));                                       \
    v += SHUFFLE(zero, v, (0, 1, 2, 3, 8, 9, 10, 11))
#define LAST(v) SHUFFLE(v, v, (7, 7, 7, 7, 7, 7, 7, 7))
#else
#define RUNNING(zero, v)                                                                       \
    v += SHUFFLE(zero, v, (0, 4, 5, 6));                                                       \
    v += SHUFFLE(zero, v, (0, 1, 4, 5))
#define LAST(v) SHUFFLE(v, v, (3, 3, 3, 3))
#endif

/* Sums of a row's windows from those of its columns. Up to LANES - 1 columns behind the last window
 * are read, and as many sums behind the last one are written. */
static void VARIANT(few_bytes_along)(const int32_t *columns, ptrdiff_t width, ptrdiff_t cols,
                                     int32_t *out)
{
    typedef VARIANT(Ints) Ints;
    Ints firsts = {0};
    const Ints zero = {0};
    int32_t run = 0;
    ptrdiff_t first = 0;
    for (; first + LANES <= width; first += LANES)
        firsts += *(const Ints *)(columns + first);
    for (int i = 0; i < LANES; i++)
        run += firsts[i];
    for (; first < width; first++)
        run += columns[first];
    out[0] = run;
    Ints before = zero + run;
    for (ptrdiff_t x = 0; x < cols - 1; x += LANES) {
        Ints sum = *(const Ints *)(columns + x + width) - *(const Ints *)(columns + x);
        RUNNING(zero, sum);
        *(Ints *)(out + x + 1) = sum + before;
        before += LAST(sum);
    }
}
#undef RUNNING
#undef LAST

/* Adds I (I - 256) of a line of bytes to sums of columns, and takes off that of the line `gone`, if there
 * is one. */
static INLINE void VARIANT(add_apart)(const uint8_t *line, const uint8_t *gone, ptrdiff_t count,
                                      int32_t *sums)
{
    if (!gone)
        for (ptrdiff_t x = 0; x < count; x++)
            sums[x] += line[x] * (line[x] - 256);
    else
        for (ptrdiff_t x = 0; x < count; x++)
            sums[x] += (line[x] - gone[x]) * (line[x] + gone[x] - 256);
}

/* Sums over the columns of all channels for the first row of windows, or those for a row from those for
 * the one before; at a stride of 1. With the products of the kernel less 128 they are what `ssd` takes:
 * sum (I - K)^2 = sum I (I - 256) - 2 sum I (K - 128) + sum K^2. */
static void VARIANT(walk_apart)(const VARIANT(Band) *b, ptrdiff_t row)
{
    const Task *t = b->task;
    const Layout *l = b->layout;
    int32_t *sums = b->squares;
    if (row == 0)
        memset(sums, 0, (size_t)l->columns * sizeof *sums);
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const uint8_t *p = b->planes + c * l->lines * l->pitch;
        for (ptrdiff_t y = 0; row == 0 && y < t->height; y++)
            VARIANT(add_apart)(p + y * l->pitch, NULL, l->pitch, sums);
        if (row > 0)
            VARIANT(add_apart)(p + (row - 1 + t->height) * l->pitch, p + (row - 1) * l->pitch, l->pitch,
                               sums);
    }
}
