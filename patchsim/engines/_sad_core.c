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

/* Makes planes of some rows of a picture: value k of a row of the plane of a channel and phase is
 * the picture's at column k stride_x + phase. */
static void make_planes(const Task *t, const Picture *picture, Type type, ptrdiff_t top,
                        ptrdiff_t lines, ptrdiff_t width, uint8_t *planes, ptrdiff_t pitch)
{
    uint8_t *line = planes;
    for (ptrdiff_t c = 0; c < t->channels; c++)
        for (ptrdiff_t phase = 0; phase < t->phases; phase++)
            for (ptrdiff_t y = 0; y < lines; y++, line += items(pitch, type))
                gather(line, type,
                       picture->data + (top + y) * picture->step_y + phase * picture->step_x +
                           c * picture->step_c,
                       t->stride_x * picture->step_x,
                       (width - phase + t->stride_x - 1) / t->stride_x);
}

/* A vector is loaded from the last value, too. */
#define SLACK 64

static ptrdiff_t plane_values(const Task *t)
{
    return t->channels * t->phases * t->lines * t->pitch + SLACK;
}

static ptrdiff_t tap_values(const Task *t)
{
    return t->channels * t->phases * t->height * t->taps_pitch;
}

/* Planes are made of some window rows' pixels at a time, which then lie in the cache. */
#define BAND_BYTES (512 * 1024)

static ptrdiff_t band_rows(const Task *t, ptrdiff_t rows)
{
    ptrdiff_t line = items(t->channels * t->phases * t->pitch, t->type);
    ptrdiff_t fit = (BAND_BYTES / line - t->height) / t->stride_y;
    /* The rows that two bands share are made twice: no more than one in four. */
    ptrdiff_t least = 4 * t->height / t->stride_y + 4;
    ptrdiff_t most = fit > least ? fit : least;
    return most < rows ? most : rows;
}

Task sad_task(Type type, const Picture *image, const Picture *kernel, ptrdiff_t stride_y,
              ptrdiff_t stride_x)
{
    Task t = {
        .type = type,
        .cols = (image->width - kernel->width) / stride_x + 1,
        .stride_y = stride_y,
        .stride_x = stride_x,
        .height = kernel->height,
        .width = kernel->width,
        .channels = kernel->channels,
        .phases = stride_x < kernel->width ? stride_x : kernel->width,
        .steps = type == FLOATS ? FLOAT_STEPS : 64,
    };
    ptrdiff_t taps = sad_plane_width(&t, 0);
    t.pitch = t.cols - 1 + taps;
    t.taps_pitch = (taps + 7) / 8 * 8;
    t.rows = band_rows(&t, (image->height - kernel->height) / stride_y + 1);
    t.lines = (t.rows - 1) * stride_y + kernel->height;
    return t;
}

/* What sad_sums allocates. The planes lie alone, so that a sanitizer sees what is read past them. */
typedef struct {
    uint8_t *planes;
    double *other_sums;  /* masked bytes alone */
    uint32_t *signs;     /* not for bytes */
    uint8_t *taps;
    uint8_t *masks;      /* masked alone */
    uint8_t *other_taps; /* masked bytes alone */
} Scratch;

/* Bytes of other_sums. */
static ptrdiff_t other_bytes(const Task *t, int masked)
{
    return masked && t->type == BYTES ? t->rows * t->cols * (ptrdiff_t)sizeof(double) : 0;
}

/* Bytes of signs, taps, masks and other_taps, at most. */
static ptrdiff_t tap_bytes(const Task *t)
{
    return tap_values(t) * (t->type == BYTES ? 3 : 9);
}

ptrdiff_t sad_scratch(const Task *t, int masked)
{
    return items(plane_values(t), t->type) + other_bytes(t, masked) + tap_bytes(t);
}

static Scratch allocated(const Task *t, int masked)
{
    Scratch s = {0};
    ptrdiff_t taps = tap_values(t);
    uint8_t *planes = malloc((size_t)items(plane_values(t), t->type));
    uint8_t *rest = malloc((size_t)(other_bytes(t, masked) + tap_bytes(t)));
    if (!planes || !rest) {
        free(planes);
        free(rest);
        return s;
    }
    s.planes = planes;
    s.other_sums = (double *)rest;
    s.signs = (uint32_t *)(rest + other_bytes(t, masked));
    s.taps = (uint8_t *)s.signs + (t->type == BYTES ? 0 : items(taps, FLOATS));
    s.masks = s.taps + items(taps, t->type);
    s.other_taps = s.masks + taps;
    return s;
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

/* Makes planes of the kernel and its mask. Returns how many taps are masked. */
static ptrdiff_t make_taps(const Task *t, const Picture *kernel, const Picture *mask, Scratch s)
{
    ptrdiff_t count = tap_values(t), masked = 0;
    memset(s.taps, 0, (size_t)items(count, t->type));
    make_planes(t, kernel, t->type, 0, t->height, t->width, s.taps, t->taps_pitch);
    if (mask) {
        memset(s.masks, 255, (size_t)count); /* the zeros behind a row stay in */
        make_planes(t, mask, BYTES, 0, t->height, t->width, s.masks, t->taps_pitch);
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        int counts = !mask || s.masks[i];
        masked += !counts;
        if (t->type != BYTES)
            s.signs[i] = counts ? 0x7fffffff : 0;
        if (t->type == BYTES && mask) {
            s.taps[i] = counts ? s.taps[i] : 0;
            s.other_taps[i] = counts ? s.taps[i] : 255;
        }
    }
    return masked;
}

/* Where the mask is 0, the difference to a tap of 0 is the pixel, and to a tap of 255 what it lacks
 * of 255: together always 255. So two unmasked sums give the masked one, exactly. */
static void masked_bytes(Sums sums, const Task *t, Scratch s, ptrdiff_t masked, double *out)
{
    Task other = *t;
    other.taps = s.other_taps;
    sums(t, out);
    sums(&other, s.other_sums);
    for (ptrdiff_t i = 0; i < t->rows * t->cols; i++)
        out[i] = (out[i] + s.other_sums[i] - 255.0 * (double)masked) / 2;
}

int sad_sums(const Variant *variant, Type type, const Picture *image, const Picture *kernel,
             const Picture *mask, ptrdiff_t stride_y, ptrdiff_t stride_x, double *out)
{
    Task t = sad_task(type, image, kernel, stride_y, stride_x);
    Scratch s = allocated(&t, mask != NULL);
    if (!s.planes)
        return 0;
    ptrdiff_t masked = make_taps(&t, kernel, mask, s);
    memset(s.planes + items(plane_values(&t) - SLACK, type), 0, (size_t)items(SLACK, type));
    t.planes = s.planes;
    t.taps = s.taps;
    t.signs = s.signs;
    ptrdiff_t rows = (image->height - kernel->height) / stride_y + 1, band = t.rows;
    for (ptrdiff_t top = 0; top < rows; top += band, out += band * t.cols) {
        t.rows = rows - top < band ? rows - top : band;
        t.lines = (t.rows - 1) * stride_y + t.height;
        make_planes(&t, image, type, top * stride_y, t.lines, (t.cols - 1) * stride_x + t.width,
                    s.planes, t.pitch);
        if (type != BYTES)
            careful_floats(variant->floats, &t, out);
        else if (mask)
            masked_bytes(variant->bytes, &t, s, masked, out);
        else
            variant->bytes(&t, out);
    }
    free(s.planes);
    free(s.other_sums);
    return 1;
}
