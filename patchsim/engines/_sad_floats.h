/* Sums of float32, in the vectors of GCC and Clang; included once for each instruction set.
 *
 * Defined before: NAME(x), TARGET and LANES; SHADED where differences are multiplied by weights.
 */
typedef float NAME(Vector) __attribute__((vector_size(LANES * 4)));
typedef uint32_t NAME(Bits) __attribute__((vector_size(LANES * 4)));

static INLINE TARGET NAME(Vector) NAME(loaded)(const float *pixels)
{
    NAME(Vector) values;
    memcpy(&values, pixels, sizeof values);
    return values;
}

static INLINE TARGET NAME(Vector) NAME(difference)(NAME(Vector) values, float tap, uint32_t sign)
{
    return (NAME(Vector))((NAME(Bits))(values - tap) & sign);
}

/* Four differences are summed before they meet the sum, for fewer roundings one after another. */
static INLINE TARGET void NAME(run)(const Task *t, NAME(Vector) sums[][2], const float *pixels,
                                    ptrdiff_t first, ptrdiff_t count, ptrdiff_t n, int low,
                                    int high, int vectors)
{
    const float *taps = (const float *)t->taps + first;
    const uint32_t *signs = t->signs + first;
    ptrdiff_t up = t->stride_y * t->taps_pitch;
#define PLAIN_DIFFERENCE(q)                                                               \
    NAME(difference)(under[v][q], taps[j + q - r * up], signs[j + q - r * up])
#ifdef SHADED
    const float *weights = (const float *)t->weights + first;
#define DIFFERENCE(q) (PLAIN_DIFFERENCE(q) * weights[j + q - r * up])
#else
#define DIFFERENCE(q) PLAIN_DIFFERENCE(q)
#endif
    for (; count > 0; count--) {
        ptrdiff_t j = 0;
        for (; j + 4 <= n; j += 4) {
            NAME(Vector) under[2][4];
            UNROLL for (int v = 0; v < vectors; v++) UNROLL for (int q = 0; q < 4; q++)
                under[v][q] = NAME(loaded)(pixels + v * LANES + j + q);
            UNROLL for (int r = low; r < high; r++) UNROLL for (int v = 0; v < vectors; v++)
                sums[r][v] += (DIFFERENCE(0) + DIFFERENCE(1)) + (DIFFERENCE(2) + DIFFERENCE(3));
        }
        for (; j < n; j++)
            UNROLL for (int v = 0; v < vectors; v++) {
                NAME(Vector) under[2][1];
                under[v][0] = NAME(loaded)(pixels + v * LANES + j);
                UNROLL for (int r = low; r < high; r++)
                    sums[r][v] += DIFFERENCE(0);
            }
        pixels += t->pitch;
        taps += t->taps_pitch;
        signs += t->taps_pitch;
#ifdef SHADED
        weights += t->taps_pitch;
#endif
    }
#undef DIFFERENCE
#undef PLAIN_DIFFERENCE
}

#define GROUP 4
#define VALUE float
#define SUMS NAME(Vector)
#define NARROW float
#define WIDE double
#define WIDE_ADDITIONS PTRDIFF_MAX
#define STEPS(n) ((n) / 4 + (n) % 4)
#include "_sad_blocks.h"
#undef GROUP
#undef VALUE
#undef SUMS
#undef NARROW
#undef WIDE
#undef WIDE_ADDITIONS
#undef STEPS
