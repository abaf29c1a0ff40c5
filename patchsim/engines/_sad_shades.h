/* Sums of bytes' differences times weights; included once for each instruction set.
 *
 * Defined before: NAME(x), TARGET, LANES; GROUP, the taps that are added at once, at most 4; TAPS
 * and WEIGHTS, where a task has them, and TAP, their type; NAME(Sums), LANES sums of 32 bits;
 * WINDOWS, what lies under GROUP taps of LANES windows; and
 *   NAME(arranged)(pixels)                     WINDOWS, of which the first begins there
 *   NAME(added)(sums, windows, taps, weights)  the sums with GROUP products more in each
 */

/* The taps behind a row's last one weigh nothing. */
static INLINE TARGET void NAME(run)(const Task *t, NAME(Sums) sums[][2], const uint8_t *pixels,
                                    ptrdiff_t first, ptrdiff_t count, ptrdiff_t n, int low,
                                    int high, int vectors)
{
    const TAP *taps = (const TAP *)t->TAPS + first;
    const TAP *weights = (const TAP *)t->WEIGHTS + first;
    ptrdiff_t up = t->stride_y * t->taps_pitch;
    for (; count > 0; count--) {
        for (ptrdiff_t j = 0; j < n; j += GROUP) {
            WINDOWS windows[2];
            UNROLL for (int v = 0; v < vectors; v++)
                windows[v] = NAME(arranged)(pixels + v * LANES + j);
            UNROLL for (int r = low; r < high; r++) UNROLL for (int v = 0; v < vectors; v++)
                sums[r][v] = NAME(added)(sums[r][v], windows[v], taps + j - r * up,
                                         weights + j - r * up);
        }
        pixels += t->pitch;
        taps += t->taps_pitch;
        weights += t->taps_pitch;
    }
}

#define SUMS NAME(Sums)
#define VALUE uint8_t
#define NARROW int32_t
#define WIDE double
#define WIDE_ADDITIONS PTRDIFF_MAX
#define STEPS(n) (((n) + GROUP - 1) / GROUP)
#include "_sad_blocks.h"
#undef SUMS
#undef VALUE
#undef NARROW
#undef WIDE
#undef WIDE_ADDITIONS
#undef STEPS
#undef GROUP
#undef TAP
