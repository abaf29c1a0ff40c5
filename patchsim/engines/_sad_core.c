/* Planes, the portable variant, and the way from a picture to its sums. */
#include "_sad.h"

#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../machine/_scratch.h"

/* Portable: the reference of the other variants, for any compiler. Some windows of a row at once,
 * one tap after another, in loops of which compilers make vectors. */

_Static_assert(SPAN <= 257, "16 bits hold the sum of so many bytes' differences, too");

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

static void shaded_bytes_portable(const Task *t, double *out)
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
                    ptrdiff_t line = (plane * t->height + i) * t->taps_pitch;
                    const uint8_t *taps = (const uint8_t *)t->taps + line;
                    const uint8_t *weights = (const uint8_t *)t->weights + line;
                    ptrdiff_t width = sad_plane_width(t, plane);
                    for (ptrdiff_t first = 0; first < width; first += SHADE_STEPS) {
                        ptrdiff_t last = first + SHADE_STEPS < width ? first + SHADE_STEPS : width;
                        int32_t part[SPAN] = {0};
                        for (ptrdiff_t j = first; j < last; j++)
                            for (ptrdiff_t k = 0; k < cols; k++)
                                part[k] += weights[j] * abs(pixels[j + k] - taps[j]);
                        for (ptrdiff_t k = 0; k < cols; k++)
                            sums[k] += part[k];
                    }
                }
        }
}

static inline void floats_body(const Task *t, double *out, int shaded)
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
                        double weight = shaded ? ((const float *)t->weights)[taps + j] : 1;
                        for (ptrdiff_t k = 0; k < cols; k++)
                            sums[k] += fabs(pixels[j + k] - tap) * weight;
                    }
                }
            memcpy(out + row * t->cols + left, sums, cols * sizeof *sums);
        }
}

static void floats_portable(const Task *t, double *out)
{
    floats_body(t, out, 0);
}

static void shaded_floats_portable(const Task *t, double *out)
{
    floats_body(t, out, 1);
}

#define TARGET
#define NAME(x) x##_doubles_portable
#include "_sad_doubles.h"
#undef NAME
#undef TARGET

static int always(void)
{
    return 1;
}

static const Variant PORTABLE = {
    "portable", always, bytes_portable, floats_portable, shaded_bytes_portable,
    shaded_floats_portable, sums_doubles_portable, 0, NULL,
};

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
    return count * (type == BYTES ? 1 : type == DOUBLES ? 8 : 4);
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
    if (type == DOUBLES) {
        double *doubles = to;
        for (ptrdiff_t k = 0; k < count; k++)
            memcpy(&doubles[k], from + k * step, sizeof(double));
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
    ScratchBlock blocks[2];
    uint8_t *planes;
    double *other_sums;     /* masked bytes, and words with more than four bits of shade */
    uint32_t *signs;        /* for words and float32 */
    float *factors;         /* shades of these: of the second pass, then of the first */
    uint16_t *wide_taps;    /* shaded bytes alone */
    uint16_t *wide_weights; /* the same */
    uint8_t *taps;
    uint8_t *weights;       /* not without weights */
    uint8_t *other_taps;    /* masked bytes alone */
} Scratch;

#define NIBBLE 16 /* a shade of words has two */

/* Bytes of other_sums. */
static ptrdiff_t other_bytes(const Task *t, int heaviest)
{
    int passes = t->type == BYTES ? heaviest == 1 : t->type == WORDS && heaviest >= NIBBLE;
    return passes ? t->rows * t->cols * (ptrdiff_t)sizeof(double) : 0;
}

/* Bytes of all behind other_sums, at most. */
static ptrdiff_t tap_bytes(const Task *t, int heaviest)
{
    ptrdiff_t shaded = heaviest > 1;
    const ptrdiff_t each = t->type == BYTES ? 3 + 4 * shaded : t->type == DOUBLES ? 9 : 9 + 8 * shaded;
    return tap_values(t) * each;
}

ptrdiff_t sad_scratch(const Task *t, int heaviest)
{
    return items(plane_values(t), t->type) + other_bytes(t, heaviest) + tap_bytes(t, heaviest);
}

static void release(Scratch s)
{
    scratch_give(s.blocks[0]);
    scratch_give(s.blocks[1]);
}

static Scratch allocated(const Task *t, int heaviest)
{
    Scratch s = {0};
    ptrdiff_t taps = tap_values(t), shaded = heaviest > 1 ? taps : 0;
    s.blocks[0] = scratch_take((size_t)items(plane_values(t), t->type));
    s.blocks[1] = scratch_take((size_t)(other_bytes(t, heaviest) + tap_bytes(t, heaviest)));
    uint8_t *rest = s.blocks[1].base;
    if (!s.blocks[0].base || !rest) {
        release(s);
        return (Scratch){0};
    }
    s.planes = s.blocks[0].base;
    s.other_sums = (double *)rest;
    rest += other_bytes(t, heaviest);
    if (t->type == BYTES) {
        s.wide_taps = (uint16_t *)rest;
        s.wide_weights = s.wide_taps + shaded;
        s.taps = (uint8_t *)(s.wide_weights + shaded);
    } else if (t->type == DOUBLES) {
        s.taps = rest;
    } else {
        s.signs = (uint32_t *)rest;
        s.factors = (float *)(s.signs + taps);
        s.taps = (uint8_t *)(s.factors + 2 * shaded);
    }
    s.weights = s.taps + items(taps, t->type);
    s.other_taps = s.weights + taps;
    return s;
}

/* The stated error needs gradual underflow and rounding to nearest, whatever mode other libraries
 * have set. Sums past float32's range are made again in float64. */
static void careful_floats(Sums sums, Sums portable, const Task *t, double *out)
{
    fenv_t before;
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
    sums(t, out);
    for (ptrdiff_t i = 0; i < t->rows * t->cols; i++)
        if (!isfinite(out[i])) {
            portable(t, out);
            break;
        }
    fesetenv(&before);
}

/* The largest weight, or 1. */
static int heaviest_of(const Picture *weights)
{
    int heaviest = 1;
    for (ptrdiff_t y = 0; y < weights->height; y++)
        for (ptrdiff_t x = 0; x < weights->width; x++)
            for (ptrdiff_t c = 0; c < weights->channels; c++) {
                int weight = weights->data[y * weights->step_y + x * weights->step_x +
                                           c * weights->step_c];
                heaviest = weight > heaviest ? weight : heaviest;
            }
    return heaviest;
}

/* Makes planes of the kernel and its weights, of which zeros are behind each row. */
static void make_taps(const Task *t, const Picture *kernel, const Picture *weights, Scratch s)
{
    ptrdiff_t count = tap_values(t);
    memset(s.taps, 0, (size_t)items(count, t->type));
    make_planes(t, kernel, t->type, 0, t->height, t->width, s.taps, t->taps_pitch);
    if (weights) {
        memset(s.weights, 0, (size_t)count);
        make_planes(t, weights, BYTES, 0, t->height, t->width, s.weights, t->taps_pitch);
    }
    if (s.signs)
        for (ptrdiff_t i = 0; i < count; i++)
            s.signs[i] = !weights || s.weights[i] ? 0x7fffffff : 0;
}

/* Makes taps of 0 and of 255 where the mask is 0; returns how many. */
static ptrdiff_t make_mask(const Task *t, Scratch s)
{
    ptrdiff_t masked = 0;
    for (ptrdiff_t plane = 0; plane < t->channels * t->phases; plane++)
        for (ptrdiff_t y = 0; y < t->height; y++) {
            ptrdiff_t line = (plane * t->height + y) * t->taps_pitch;
            for (ptrdiff_t j = 0; j < t->taps_pitch; j++) {
                int counts = s.weights[line + j] || j >= sad_plane_width(t, plane);
                masked += !counts;
                s.taps[line + j] = counts ? s.taps[line + j] : 0;
                s.other_taps[line + j] = counts ? s.taps[line + j] : 255;
            }
        }
    return masked;
}

static void make_shades(Task *t, Scratch s)
{
    ptrdiff_t count = tap_values(t);
    t->weights = s.weights;
    for (ptrdiff_t i = 0; i < count; i++) {
        t->total_weight += s.weights[i];
        if (t->type == BYTES) {
            s.wide_taps[i] = s.taps[i];
            s.wide_weights[i] = s.weights[i];
        } else {
            int upper = t->type == WORDS ? s.weights[i] / NIBBLE : 0;
            s.factors[i] = (float)upper;
            s.factors[count + i] = (float)(s.weights[i] - NIBBLE * upper);
        }
    }
    t->wide_taps = s.wide_taps;
    t->wide_weights = s.wide_weights;
    if (t->type != BYTES)
        t->weights = s.factors + count;
    t->steps = t->type == BYTES ? SHADE_STEPS : t->type == WORDS ? WORD_SHADE_STEPS : FLOAT_STEPS;
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

/* A second pass has the upper half of the words' weights. */
static void shaded_floats(const Variant *variant, const Task *t, Scratch s, int heaviest,
                          double *out)
{
    careful_floats(variant->shaded_floats, shaded_floats_portable, t, out);
    if (t->type != WORDS || heaviest < NIBBLE)
        return;
    Task upper = *t;
    upper.weights = s.factors;
    careful_floats(variant->shaded_floats, shaded_floats_portable, &upper, s.other_sums);
    for (ptrdiff_t i = 0; i < t->rows * t->cols; i++)
        out[i] += NIBBLE * s.other_sums[i];
}

int sad_sums(const Variant *variant, Type type, const Picture *image, const Picture *kernel,
             const Picture *weights, ptrdiff_t stride_y, ptrdiff_t stride_x, double *out)
{
    Task t = sad_task(type, image, kernel, stride_y, stride_x);
    int heaviest = weights ? heaviest_of(weights) : 0, shaded = heaviest > 1;
    Scratch s = allocated(&t, heaviest);
    if (!s.planes)
        return 0;
    make_taps(&t, kernel, weights, s);
    memset(s.planes + items(plane_values(&t) - SLACK, type), 0, (size_t)items(SLACK, type));
    t.planes = s.planes;
    t.taps = s.taps;
    t.signs = s.signs;
    ptrdiff_t masked = weights && !shaded && type == BYTES ? make_mask(&t, s) : 0;
    if (type == DOUBLES)
        t.weights = weights ? s.weights : NULL;
    else if (shaded)
        make_shades(&t, s);
    ptrdiff_t rows = (image->height - kernel->height) / stride_y + 1, band = t.rows;
    for (ptrdiff_t top = 0; top < rows; top += band, out += band * t.cols) {
        t.rows = rows - top < band ? rows - top : band;
        t.lines = (t.rows - 1) * stride_y + t.height;
        make_planes(&t, image, type, top * stride_y, t.lines, (t.cols - 1) * stride_x + t.width,
                    s.planes, t.pitch);
        if (type == DOUBLES)
            careful_floats(variant->doubles, sums_doubles_portable, &t, out);
        else if (type != BYTES && shaded)
            shaded_floats(variant, &t, s, heaviest, out);
        else if (type != BYTES)
            careful_floats(variant->floats, floats_portable, &t, out);
        else if (shaded)
            variant->shaded_bytes(&t, out);
        else if (weights)
            masked_bytes(variant->bytes, &t, s, masked, out);
        else
            variant->bytes(&t, out);
    }
    release(s);
    return 1;
}

void sad_release(void)
{
    scratch_release();
}
