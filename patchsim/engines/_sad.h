/* Sums of absolute differences between a kernel and every window of an image.
 *
 * The image is copied into planes, one for each channel and each remainder of x divided by the
 * stride: in a plane, the values under a tap of neighbouring windows are neighbours. So a vector
 * holds neighbouring windows, whatever the channels, the stride and the kernel's width, and one
 * loop serves them all.
 *
 * Bytes are summed as bytes. Values of 16 bits become float32, which holds their differences, and
 * sums of 256 of them, exactly. float32 is summed in float32 for some steps, then in float64, and
 * float64 in float64.
 *
 * Kernels may have weights, whole numbers to 255. 0 and 1 alone are a mask, whose sums need no
 * products; more are shades. Products of bytes and shades are summed in 32 bits, those of 16 bits
 * and half the bits of a shade in float32, both exactly.
 *
 * Nothing here knows Python; _sad.c does.
 */
#ifndef PATCHSIM_SAD_H
#define PATCHSIM_SAD_H

#include <stddef.h>
#include <stdint.h>

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#define SAD_X86 1
#elif defined(__aarch64__) && defined(__GNUC__)
#define SAD_NEON 1
#endif

/* Sums stay in registers where the loops over a block are unrolled early. */
#define INLINE inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

typedef enum { BYTES, WORDS, FLOATS, DOUBLES } Type; /* uint8, uint16, float32, float64 */

/* Numbers [height, width, channels]; steps are bytes, of any sign. */
typedef struct {
    const uint8_t *data;
    ptrdiff_t height, width, channels;
    ptrdiff_t step_y, step_x, step_c;
} Picture;

/* What a variant works on: some rows of the map, whose pixels fit into the cache. */
typedef struct {
    Type type;
    ptrdiff_t rows, cols; /* windows of a band of the map */
    ptrdiff_t stride_y, stride_x;
    ptrdiff_t height, width, channels; /* of the kernel */
    ptrdiff_t phases;      /* planes a channel: remainders of x that meet a tap */
    ptrdiff_t lines;       /* rows of a plane */
    ptrdiff_t pitch;       /* values from a row of a plane to the next */
    ptrdiff_t taps_pitch;  /* the same in the kernel's planes; zeros follow the last tap */
    ptrdiff_t steps;       /* additions before a narrow sum is widened */
    const void *planes;    /* [channels, phases, lines, pitch] */
    const void *taps;      /* [channels, phases, height, taps_pitch] */
    const uint32_t *signs; /* as taps, for float32: all bits but the sign's; none where masked */
    /* As taps and of their type, shades alone; zeros follow the last one. Of float64 bytes, and masks,
     * too. */
    const void *weights;
    const uint16_t *wide_taps, *wide_weights; /* of bytes the same in 16 bits */
    double total_weight;
} Task;

/* Writes the sum of every window to out [rows, cols]. */
typedef void (*Sums)(const Task *task, double *out);

typedef struct {
    const char *name;
    int (*runs_here)(void);
    Sums bytes, floats;
    Sums shaded_bytes, shaded_floats;
    Sums doubles; /* with or without weights */
    /* Roundings in float32, one after another, that a difference of floats goes through; one more
     * with shades. */
    int roundings;
    /* Does 1024 rounds of psadbw on registers alone and returns how many differences that is: the
     * yardstick of the benchmark. NULL where there is no such instruction. */
    double (*peak)(void);
} Variant;

#define SPAN 256 /* windows at once, where no registers hold their sums */
#define FLOAT_STEPS 12 /* 12, the subtraction, and two in a group of four: 15 roundings */
/* Of at most 4 products of 8 bits each, which 31 bits hold the sum of. */
#define SHADE_STEPS 4096
/* Of at most 4 products of 16 and 4 bits each, which float32 holds the sum of. */
#define WORD_SHADE_STEPS 4

extern const Variant *const SAD_VARIANTS[]; /* best first; NULL ends them */

/* The variant of that name if it runs here, or NULL. */
const Variant *sad_variant(const char *name);

/* The sizes of the work on the first band. The kernel fits into the image. */
Task sad_task(Type type, const Picture *image, const Picture *kernel, ptrdiff_t stride_y,
              ptrdiff_t stride_x);

/* Bytes that sad_sums allocates; `heaviest` is the largest weight, 0 without weights. */
ptrdiff_t sad_scratch(const Task *task, int heaviest);

void sad_release(void); /* memory that is kept for the next call */

/* Writes the sums of all windows to out [rows, cols]; with weights, bytes of the kernel's shape, a
 * difference counts so many times. Returns 0 where memory does not suffice. */
int sad_sums(const Variant *variant, Type type, const Picture *image, const Picture *kernel,
             const Picture *weights, ptrdiff_t stride_y, ptrdiff_t stride_x, double *out);

/* Taps of a row of the kernel in that plane. */
static inline ptrdiff_t sad_plane_width(const Task *t, ptrdiff_t plane)
{
    return (t->width - plane % t->phases + t->stride_x - 1) / t->stride_x;
}
#endif
