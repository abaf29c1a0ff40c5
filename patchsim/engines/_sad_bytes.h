/* Sums of bytes, some taps at a time; included once for each instruction set.
 *
 * Defined before: NAME(x), TARGET, LANES; GROUP, 4 or 8 taps; NARROW, an unsigned integer that
 * holds 64 GROUP differences; NAME(Sums), a vector of LANES of them; WINDOWS, what lies under GROUP
 * taps of LANES windows; and
 *   NAME(arranged)(pixels)            WINDOWS, of which the first begins there
 *   NAME(added)(sums, windows, taps)  the sums with GROUP differences more in each
 *   NAME(values)(pixels)              Sums of one image value each
 */

/* Where the row's taps are no multiple of GROUP, zeros follow, whose difference is the image's own
 * value; those values are subtracted again. */
static INLINE TARGET void NAME(run)(const Task *t, NAME(Sums) sums[][2], const uint8_t *pixels,
                                    ptrdiff_t first, ptrdiff_t count, ptrdiff_t n, int low,
                                    int high, int vectors)
{
    const uint8_t *taps = (const uint8_t *)t->taps + first;
    ptrdiff_t up = t->stride_y * t->taps_pitch;
    for (; count > 0; count--, pixels += t->pitch, taps += t->taps_pitch) {
        ptrdiff_t j = 0;
        for (; j < n; j += GROUP) {
            WINDOWS windows[2];
            UNROLL for (int v = 0; v < vectors; v++)
                windows[v] = NAME(arranged)(pixels + v * LANES + j);
            UNROLL for (int r = low; r < high; r++) UNROLL for (int v = 0; v < vectors; v++)
                sums[r][v] = NAME(added)(sums[r][v], windows[v], taps + j - r * up);
        }
        while (j > n) {
            j--;
            UNROLL for (int v = 0; v < vectors; v++) {
                NAME(Sums) excess = NAME(values)(pixels + v * LANES + j);
                UNROLL for (int r = low; r < high; r++)
                    sums[r][v] -= excess;
            }
        }
    }
}

#define SUMS NAME(Sums)
#define VALUE uint8_t
#define WIDE int32_t
#define WIDE_ADDITIONS (INT32_MAX / (64 * GROUP * 255))
#define STEPS(n) (((n) + GROUP - 1) / GROUP)
#include "_sad_blocks.h"
#undef VALUE
#undef NARROW
#undef GROUP
#undef WIDE
#undef WIDE_ADDITIONS
#undef STEPS
#undef SUMS
