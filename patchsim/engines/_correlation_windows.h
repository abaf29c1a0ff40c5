/* Sums of single windows of bytes, of which a transform left the score open; included once for each set
 * of instructions.
 *
 * NAME(x) is a name of this set, AT_ONCE how many pixels an instruction multiplies and adds, TAP the
 * type of the taps, and DOT(sums, pixels, taps) that instruction: AT_ONCE / 4 sums in 32 bits with TAP
 * int8_t, AT_ONCE / 2 of them with int16_t. HALF_DOT is the same for half as many pixels, where rows of
 * taps, which are multiples of 32, are none of AT_ONCE.
 */
#define SUMS(at_once) ((at_once) * (int)sizeof(TAP) / 4)
#define CHAINS 8 /* sums that do not wait for each other */
typedef int32_t NAME(Sums) __attribute__((vector_size(4 * SUMS(AT_ONCE)), may_alias));
#ifdef HALF_DOT
typedef int32_t NAME(HalfSums) __attribute__((vector_size(2 * SUMS(AT_ONCE)), may_alias));
#endif

/* The sum of so many sums, a multiple of 4. */
static INLINE int32_t NAME(total)(const void *sums, int count)
{
    typedef int32_t Four __attribute__((vector_size(16), aligned(4), may_alias));
    const Four *fours = sums;
    Four all = fours[0];
    UNROLL16 for (int i = 1; i < count / 4; i++) all += fours[i];
    all += SHUFFLE(all, all, (2, 3, 0, 1));
    return all[0] + all[1];
}

/* Adds some lines under `windows` windows side by side, each with its own sums for every line. */
static INLINE void NAME(add_lines)(NAME(Sums) sums[CHAINS],
#ifdef HALF_DOT
                                   NAME(HalfSums) half[CHAINS],
#endif
                                   const uint8_t *pixels, ptrdiff_t pitch, ptrdiff_t step,
                                   const TAP *taps, ptrdiff_t width, int windows, int lines)
{
    ptrdiff_t x = 0;
    for (; x + AT_ONCE <= width; x += AT_ONCE)
        UNROLL16 for (int line = 0; line < lines; line++)
            UNROLL16 for (int i = 0; i < windows; i++)
                sums[line * windows + i] = DOT(sums[line * windows + i],
                                               pixels + line * pitch + i * step + x,
                                               taps + line * width + x);
#ifdef HALF_DOT
    if (x < width)
        UNROLL16 for (int line = 0; line < lines; line++)
            UNROLL16 for (int i = 0; i < windows; i++)
                half[line * windows + i] = HALF_DOT(half[line * windows + i],
                                                    pixels + line * pitch + i * step + x,
                                                    taps + line * width + x);
#endif
}

static INLINE void NAME(add_windows)(const Task *t, const uint8_t *pixels, ptrdiff_t plane,
                                     ptrdiff_t pitch, const TAP *taps, int windows, double *out)
{
    const ptrdiff_t width = correlation_own_width(t), step = t->stride_x;
    const int lines = CHAINS / windows;
    /* So many lines, of at most MOST_PARTS x MOST_SIDE pixels, have a sum of 32 bits. */
    const ptrdiff_t fit = INT32_MAX / (255 * 128) / width;
    int64_t totals[TOGETHER] = {0};
    for (ptrdiff_t c = 0, y = 0; c < t->channels;) {
        NAME(Sums) sums[CHAINS];
        UNROLL16 for (int i = 0; i < CHAINS; i++) sums[i] = (NAME(Sums)){0};
#ifdef HALF_DOT
        NAME(HalfSums) half[CHAINS];
        UNROLL16 for (int i = 0; i < CHAINS; i++) half[i] = (NAME(HalfSums)){0};
#define HALF half,
#else
#define HALF
#endif
        for (ptrdiff_t left = fit; left > 0 && c < t->channels;) {
            const ptrdiff_t bottom = y + left < t->height ? y + left : t->height;
            const uint8_t *p = pixels + c * plane;
            left -= bottom - y;
            for (; y + lines <= bottom; y += lines, taps += lines * width)
                NAME(add_lines)(sums, HALF p + y * pitch, pitch, step, taps, width, windows, lines);
            for (; y < bottom; y++, taps += width)
                NAME(add_lines)(sums, HALF p + y * pitch, pitch, step, taps, width, windows, 1);
            if (y == t->height)
                c++, y = 0;
        }
#undef HALF
        UNROLL16 for (int i = 0; i < windows; i++)
        {
            UNROLL16 for (int line = 1; line < lines; line++) sums[i] += sums[line * windows + i];
            totals[i] += NAME(total)(&sums[i], SUMS(AT_ONCE));
#ifdef HALF_DOT
            UNROLL16 for (int line = 1; line < lines; line++) half[i] += half[line * windows + i];
            totals[i] += NAME(total)(&half[i], SUMS(AT_ONCE) / 2);
#endif
        }
    }
    for (int i = 0; i < windows; i++)
        out[i] = (double)totals[i];
}

static void NAME(one_window)(const Task *t, const uint8_t *pixels, ptrdiff_t plane, ptrdiff_t pitch,
                             const void *taps, double *out)
{
    NAME(add_windows)(t, pixels, plane, pitch, taps, 1, out);
}

static void NAME(some_windows)(const Task *t, const uint8_t *pixels, ptrdiff_t plane, ptrdiff_t pitch,
                               const void *taps, double *out)
{
    NAME(add_windows)(t, pixels, plane, pitch, taps, TOGETHER, out);
}

static const ByteSums NAME(byte_sums) = {(int)sizeof(TAP), NAME(one_window), NAME(some_windows)};
#undef SUMS
#undef CHAINS
