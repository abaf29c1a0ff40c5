/* Planes, the portable variant, and the way from a picture to its sums. */
#include "_sad.h"

#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Portable: the reference of the other variants, for any compiler. Some windows of a row at once,
 * one tap after another, in loops of which compilers make vectors. */

#define SPAN 256 /* windows; also bytes' differences that 16 bits hold the sum of */

static void bytes_portable(const Task *t, double *out)
{
    for (ptrdiff_t row = 0; row < t->rows; row++)
        for (ptrdiff_t left = 0; left < t->cols; left += SPAN) {
            ptrdiff_t cols = t->cols - left < SPAN ? t->cols - left : SPAN;
            double *sums = out + row * t->cols + left;
            memset(sums, 0, cols * sizeof *sums);
            for (ptrdiff_t plane = 0; plane < t->channels * t->phases; plane++)
                for (ptrdiff_t i = 0; i < t->height; i++) {
                    const uint8_t *pixels =
                        (const uint8_t *)t->planes +
                        (plane * t->lines + row * t->stride_y + i) * t->pitch + left;
                    const uint8_t *taps =
                        (const uint8_t *)t->taps + (plane * t->height + i) * t->taps_pitch;
                    ptrdiff_t width = sad_plane_width(t, plane);
                    for (ptrdiff_t first = 0; first < width; first += SPAN) {
                        ptrdiff_t last = first + SPAN < width ? first + SPAN : width;
                        uint16_t part[SPAN] = {0};
                        for (ptrdiff_t j = first; j < last; j++)
                            for (ptrdiff_t k = 0; k < cols; k++)
                                part[k] += (uint16_t)abs(pixels[j + k] - taps[j]);
                        for (ptrdiff_t k = 0; k < cols; k++)
                            sums[k] += part[k];
                    }
                }
        }
}

static void floats_portable(const Task *t, double *out)
{
    for (ptrdiff_t row = 0; row < t->rows; row++)
        for (ptrdiff_t left = 0; left < t->cols; left += SPAN) {
            ptrdiff_t cols = t->cols - left < SPAN ? t->cols - left : SPAN;
            double sums[SPAN] = {0};
            for (ptrdiff_t plane = 0; plane < t->channels * t->phases; plane++)
                for (ptrdiff_t i = 0; i < t->height; i++) {
                    const float *pixels =
                        (const float *)t->planes +
                        (plane * t->lines + row * t->stride_y + i) * t->pitch + left;
                    ptrdiff_t taps = (plane * t->height + i) * t->taps_pitch;
                    for (ptrdiff_t j = 0; j < sad_plane_width(t, plane); j++) {
                        double tap = ((const float *)t->taps)[taps + j];
                        if (t->signs[taps + j] == 0)
                            continue;
                        for (ptrdiff_t k = 0; k < cols; k++)
                            sums[k] += fabs(pixels[j + k] - tap);
                    }
                }
            memcpy(out + row * t->cols + left, sums, cols * sizeof *sums);
        }
}

static int always(void)
{
    return 1;
}

static const Variant PORTABLE = {"portable", always, bytes_portable, floats_portable, 0, NULL};

#ifdef SAD_X86
extern const Variant SAD_AVX512, SAD_AVX2, SAD_SSE2;
#endif
#ifdef SAD_NEON
extern const Variant SAD_NEON64;
#endif

const Variant *const SAD_VARIANTS[] = {
#ifdef SAD_X86
    &SAD_AVX512, &SAD_AVX2, &SAD_SSE2,
#endif
#ifdef SAD_NEON
    &SAD_NEON64,
#endif
    &PORTABLE, NULL,
};

const Variant *sad_variant(const char *name)
{
    for (const Variant *const *v = SAD_VARIANTS; *v; v++)
        if (strcmp((*v)->name, name) == 0)
            return (*v)->runs_here() ? *v : NULL;
    return NULL;
}

/* Bytes that values take in a plane. */
static ptrdiff_t items(ptrdiff_t count, Type type)
{
    return count * (type == BYTES ? 1 : 4);
}

/* Copies count values, `step` bytes apart, next to each other. */
static void gather(void *to, Type type, const uint8_t *from, ptrdiff_t step, ptrdiff_t count)
{
    if (type == BYTES) {
        uint8_t *bytes = to;
        for (ptrdiff_t k = 0; k < count; k++)
            bytes[k] = from[k * step];
        return;
    }
    float *floats = to;
    for (ptrdiff_t k = 0; k < count; k++) {
        uint16_t word;
        if (type == WORDS) {
            memcpy(&word, from + k * step, sizeof word);
            floats[k] = word;
        } else {
            memcpy(&floats[k], from + k * step, sizeof(float));
        }
    }
}

/* Makes planes of what the windows of a picture cover: row y, value k of the plane of a channel
 * and phase is the picture's at column k stride_x + phase. */
static void make_planes(const Task *t, const Picture *picture, Type type, uint8_t *planes,
                        ptrdiff_t lines, ptrdiff_t pitch, ptrdiff_t width)
{
    uint8_t *line = planes;
    for (ptrdiff_t c = 0; c < t->channels; c++)
        for (ptrdiff_t phase = 0; phase < t->phases; phase++)
            for (ptrdiff_t y = 0; y < lines; y++, line += items(pitch, type))
                gather(line, type,
                       picture->data + y * picture->step_y + phase * picture->step_x +
                           c * picture->step_c,
                       t->stride_x * picture->step_x,
                       (width - phase + t->stride_x - 1) / t->stride_x);
}

/* Vectors are loaded past the last value: two of 32 windows and 64 bytes of one. */
#define SLACK 128

static ptrdiff_t plane_values(const Task *t)
{
    return t->channels * t->phases * t->lines * t->pitch + SLACK;
}

static ptrdiff_t tap_values(const Task *t)
{
    return t->channels * t->phases * t->height * t->taps_pitch;
}

Task sad_task(Type type, const Picture *image, const Picture *kernel, ptrdiff_t stride_y,
              ptrdiff_t stride_x)
{
    Task t = {
        .type = type,
        .rows = (image->height - kernel->height) / stride_y + 1,
        .cols = (image->width - kernel->width) / stride_x + 1,
        .stride_y = stride_y,
        .stride_x = stride_x,
        .height = kernel->height,
        .width = kernel->width,
        .channels = kernel->channels,
        .phases = stride_x < kernel->width ? stride_x : kernel->width,
    };
    t.lines = (t.rows - 1) * stride_y + kernel->height;
    ptrdiff_t taps = (kernel->width + stride_x - 1) / stride_x;
    t.pitch = t.cols - 1 + taps;
    t.taps_pitch = (taps + 7) / 8 * 8;
    t.steps = type == FLOATS ? FLOAT_STEPS : 64;
    return t;
}

ptrdiff_t sad_scratch(const Task *t, int masked)
{
    ptrdiff_t bytes = items(plane_values(t) + tap_values(t), t->type);
    if (t->type != BYTES)
        bytes += tap_values(t) * sizeof *t->signs;
    if (masked)
        bytes += tap_values(t) + (t->type == BYTES ? t->rows * t->cols * sizeof(double) : 0);
    return bytes;
}

/* Where the mask is 0, the difference to a tap of 0 is the pixel, and to a tap of 255 what it lacks
 * of 255: together always 255. So two unmasked sums give the masked one, exactly. */
static void masked_bytes(Sums sums, const Task *t, uint8_t *taps, const uint8_t *mask, double *out,
                         double *second)
{
    double without = 0;
    for (ptrdiff_t i = 0; i < tap_values(t); i++) {
        taps[i] &= mask[i];
        without += (uint8_t)~mask[i];
    }
    sums(t, out);
    for (ptrdiff_t i = 0; i < tap_values(t); i++)
        taps[i] |= (uint8_t)~mask[i];
    sums(t, second);
    for (ptrdiff_t i = 0; i < t->rows * t->cols; i++)
        out[i] = (out[i] + second[i] - without) / 2;
}

/* The stated error needs gradual underflow and rounding to nearest, whatever mode other libraries
 * have set. Sums past float32's range are made again in float64. */
static void careful_floats(Sums sums, const Task *t, double *out)
{
    fenv_t before;
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
    sums(t, out);
    for (ptrdiff_t i = 0; i < t->rows * t->cols; i++)
        if (!isfinite(out[i])) {
            floats_portable(t, out);
            break;
        }
    fesetenv(&before);
}

int sad_sums(const Variant *variant, Task t, const Picture *image, const Picture *kernel,
             const Picture *mask, double *out)
{
    double *scratch = malloc((size_t)sad_scratch(&t, mask != NULL));
    if (!scratch)
        return 0;
    uint8_t *planes = (uint8_t *)(scratch + (mask && t.type == BYTES ? t.rows * t.cols : 0));
    uint8_t *taps = planes + items(plane_values(&t), t.type);
    uint32_t *signs = (uint32_t *)(taps + items(tap_values(&t), t.type));
    uint8_t *masks = (uint8_t *)(signs + (t.type == BYTES ? 0 : tap_values(&t)));
    t.planes = planes;
    t.taps = taps;
    t.signs = signs;
    memset(taps - items(SLACK, t.type), 0, (size_t)items(SLACK + tap_values(&t), t.type));
    make_planes(&t, image, t.type, planes, t.lines, t.pitch, (t.cols - 1) * t.stride_x + t.width);
    make_planes(&t, kernel, t.type, taps, t.height, t.taps_pitch, t.width);
    if (mask) {
        memset(masks, 255, (size_t)tap_values(&t));
        make_planes(&t, mask, BYTES, masks, t.height, t.taps_pitch, t.width);
    }
    if (t.type == BYTES && mask)
        masked_bytes(variant->bytes, &t, taps, masks, out, scratch);
    else if (t.type == BYTES)
        variant->bytes(&t, out);
    if (t.type != BYTES) {
        for (ptrdiff_t i = 0; i < tap_values(&t); i++)
            signs[i] = mask && masks[i] == 0 ? 0 : 0x7fffffff;
        careful_floats(variant->floats, &t, out);
    }
    free(scratch);
    return 1;
}
