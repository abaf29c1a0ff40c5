/* The variant of 64-bit ARM, whose processors all have NEON. */
#include "_sad.h"

#ifdef SAD_NEON
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#define TARGET

/* uabal adds the differences of 8 windows to one tap. */

#define NAME(x) x##_bytes_neon
#define LANES 8
#define GROUP 4
#define NARROW uint16_t
#define WINDOWS NAME(Windows)
typedef uint16_t NAME(Sums) __attribute__((vector_size(16)));
typedef struct {
    uint8x8_t under[4]; /* each of four taps */
} NAME(Windows);

static INLINE NAME(Windows) NAME(arranged)(const uint8_t *pixels)
{
    return (NAME(Windows)){
        {vld1_u8(pixels), vld1_u8(pixels + 1), vld1_u8(pixels + 2), vld1_u8(pixels + 3)}};
}

static INLINE NAME(Sums) NAME(added)(NAME(Sums) sums, NAME(Windows) windows, const uint8_t *taps)
{
    uint16x8_t found = (uint16x8_t)sums;
    UNROLL for (int q = 0; q < 4; q++)
        found = vabal_u8(found, windows.under[q], vdup_n_u8(taps[q]));
    return (NAME(Sums))found;
}

static INLINE NAME(Sums) NAME(values)(const uint8_t *pixels)
{
    return (NAME(Sums))vmovl_u8(vld1_u8(pixels));
}
#include "_sad_bytes.h"
#undef NAME
#undef LANES
#undef WINDOWS

/* umull makes the products of 8 windows and one tap, which uaddw adds. */

#define NAME(x) x##_shades_neon
#define LANES 8
#define GROUP 1
#define TAP uint8_t
#define TAPS taps
#define WEIGHTS weights
#define WINDOWS uint8x8_t
typedef struct {
    uint32x4_t halves[2];
} NAME(Sums);

static INLINE uint8x8_t NAME(arranged)(const uint8_t *pixels)
{
    return vld1_u8(pixels);
}

static INLINE NAME(Sums) NAME(added)(NAME(Sums) sums, uint8x8_t windows, const uint8_t *taps,
                                     const uint8_t *weights)
{
    uint16x8_t products = vmull_u8(vabd_u8(windows, vdup_n_u8(*taps)), vdup_n_u8(*weights));
    return (NAME(Sums)){{vaddw_u16(sums.halves[0], vget_low_u16(products)),
                         vaddw_u16(sums.halves[1], vget_high_u16(products))}};
}
#include "_sad_shades.h"
#undef NAME
#undef LANES
#undef TAPS
#undef WEIGHTS
#undef WINDOWS

#define NAME(x) x##_doubles_neon
#include "_sad_doubles.h"
#undef NAME

#define NAME(x) x##_floats_neon
#define LANES 4
#include "_sad_floats.h"
#undef NAME
#undef LANES

#define NAME(x) x##_shaded_floats_neon
#define LANES 4
#define SHADED
#include "_sad_floats.h"
#undef NAME
#undef LANES
#undef SHADED

static int neon_runs_here(void)
{
    return 1;
}

const Variant SAD_NEON64 = {
    "neon", neon_runs_here, sums_bytes_neon, sums_floats_neon, sums_shades_neon,
    sums_shaded_floats_neon, sums_doubles_neon, FLOAT_STEPS + 3, NULL,
};
#else
typedef int nothing_here; /* a file must not be empty */
#endif
