/* Sums over single windows of an image, many in one call: what exact scores are made of.
 *
 * differences(image, kernel, weights, places, squared, sums, variant)
 * correlations(image, kernel, weights, places, sums, energies, products, variant)
 * centred(image, kernel, weights, places, counts, kernel_means, flat, means, spreads, products,
 *         variant)
 * scores(image, kernel, weights, places, counts, kernel_sums, scores, metric, total, spread, scale,
 *        flat, variant)
 * variants()
 *
 * image, kernel  [H, W, C] and [h, w, C] of one type: uint8, uint16, float32, float64. The values of
 *                a row lie side by side; rows of the image may be any bytes apart.
 * weights        uint16 [h, w, C], or None: each term counts so many times
 * places         int64 [n, 2]: y and x of each window
 * sums           of `differences`, [n]: sum w |a - b|, or sum w (a - b)^2 if `squared`
 *                of `correlations`, [n, C]: sum w a of each channel, of integers; or empty
 * energies, products  [n]: sum w a a and sum w a b over all channels
 * counts, kernel_means  double [C]: the sum of each channel's weights, and the kernel's means
 * means, spreads, products  double [n, C], [n], [n]: the windows' means m = sum w a / count, and
 *                sum w (a - m)^2 and sum w (a - m) (b - kernel mean). The spread is 0 if that of
 *                each channel is at most `flat` times its sum of squares.
 *
 * Energies and spreads of floats are NaN where the window's sum of squares leaves IN_RANGE and not
 * all that counts is 0: its squares, or their products with those of a kernel that is in range, may
 * have overflowed or lost digits. `scores` takes such a window times a power of two, by which its score
 * does not change; the caller of others does so.
 *
 * Of `scores`, by the formulas of formulas.py:
 * total          of sad and ssd: the sum of the weights times the difference of a value that scores 0
 * spread         of the others: the kernel's sum of squares; of zncc of the kernel less its means, of
 *                integers times `scale`
 * counts, kernel_sums  of zncc, [C]: of integers int64, `scale` over each channel's weights and the
 *                kernel's sums; of floats as those of `centred`
 * scores         double [n]
 *
 * Of integers all sums are int64 and exact; the caller sees to it that they fit. Floats are summed
 * in double, in the order that `window_sums.py` describes, whatever the instructions are: products
 * must not be fused with sums (-ffp-contract=off).
 *
 * Only the limited API and the buffer protocol are used, and the GIL is released.
 */
#include "../machine/_entries.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../machine/_targets.h"

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define X86_VARIANTS 1
#define INLINE static inline __attribute__((always_inline)) /* into each variant's instructions */
#define AVX512 IN_512_BITS("avx512f,avx512bw,avx512vl,avx512dq")
#define AVX2 __attribute__((target("avx2")))
#else
#define X86_VARIANTS 0
#define INLINE static inline
#endif

#define LANES 16 /* sums of floats side by side, of each of up to FEW channels; of more at least so many */
#define FEW 4
#define SEGMENT 1024 /* pixels of a row that are summed together */
#define ROWS 65536   /* of 16 bits, whose sum fits 32 */
#define SHORT 4096 /* values whose terms of 16 bits are summed in 32 */
/* Sums of squares of floats, of which two have a product that double holds. No square of float32 is
 * lost, and none of their sums is out of range but 0. */
#define IN_RANGE(energy) ((energy) >= 0x1p-400 && (energy) <= 0x1p400)

typedef struct {
    const char *image, *kernel;
    const uint16_t *weights; /* or NULL */
    ptrdiff_t height, width, channels, run, pitch, pixel; /* run in values, the others in bytes */
    const int64_t *places;
    ptrdiff_t count;
    int squared, has_sums;
    void *sums, *energies, *products;
    const double *counts, *kernel_means;
    double flat, *means, *spreads;
    void *scratch;
} Task;

static ptrdiff_t lanes_of(ptrdiff_t channels)
{
    return channels * (channels <= FEW ? LANES : (LANES + channels - 1) / channels);
}

INLINE const char *window_of(const Task *t, ptrdiff_t number)
{
    return t->image + t->places[2 * number] * t->pitch + t->places[2 * number + 1] * t->pixel;
}

/* Integers. Terms without weights fit 32 bits, with them 64. */
#define INTEGERS(TYPE, NAME, SMALL)                                                       \
    INLINE uint64_t off_##NAME(const TYPE *a, const TYPE *b, const uint16_t *w, ptrdiff_t n, \
                               int squared)                                               \
    {                                                                                     \
        uint64_t total = 0;                                                               \
        for (ptrdiff_t first = 0; first < n; first += SHORT) {                            \
            ptrdiff_t last = n - first < SHORT ? n : first + SHORT;                       \
            uint32_t part = 0;                                                            \
            if (w)                                                                        \
                for (ptrdiff_t i = first; i < last; i++) {                                \
                    uint32_t d = (uint32_t)abs((int)a[i] - (int)b[i]);                    \
                    total += (uint64_t)(squared ? d * d : d) * w[i];                      \
                }                                                                         \
            else if (!squared)                                                            \
                for (ptrdiff_t i = first; i < last; i++)                                  \
                    part += (uint32_t)abs((int)a[i] - (int)b[i]);                         \
            else if (SMALL)                                                               \
                for (ptrdiff_t i = first; i < last; i++) {                                \
                    int d = (int)a[i] - (int)b[i];                                        \
                    part += (uint32_t)(d * d);                                            \
                }                                                                         \
            else                                                                          \
                for (ptrdiff_t i = first; i < last; i++) {                                \
                    uint32_t d = (uint32_t)abs((int)a[i] - (int)b[i]);                    \
                    total += d * d;                                                       \
                }                                                                         \
            total += part;                                                                \
        }                                                                                 \
        return total;                                                                     \
    }                                                                                     \
    INLINE uint64_t product_##NAME(const TYPE *a, const TYPE *b, const uint16_t *w,       \
                                   ptrdiff_t n)                                           \
    {                                                                                     \
        uint64_t total = 0;                                                               \
        for (ptrdiff_t first = 0; first < n; first += SHORT) {                            \
            ptrdiff_t last = n - first < SHORT ? n : first + SHORT;                       \
            uint32_t part = 0;                                                            \
            if (w)                                                                        \
                for (ptrdiff_t i = first; i < last; i++)                                  \
                    total += (uint64_t)((uint32_t)a[i] * b[i]) * w[i];                    \
            else if (SMALL)                                                               \
                for (ptrdiff_t i = first; i < last; i++)                                  \
                    part += (uint32_t)a[i] * b[i];                                        \
            else                                                                          \
                for (ptrdiff_t i = first; i < last; i++)                                  \
                    total += (uint32_t)a[i] * b[i];                                       \
            total += part;                                                                \
        }                                                                                 \
        return total;                                                                     \
    }                                                                                     \
    INLINE void differences_##NAME(const Task *t)                                         \
    {                                                                                     \
        for (ptrdiff_t number = 0; number < t->count; number++) {                         \
            const char *window = window_of(t, number);                                    \
            uint64_t total = 0;                                                           \
            for (ptrdiff_t row = 0; row < t->height; row++) {                             \
                const TYPE *a = (const TYPE *)(window + row * t->pitch);                  \
                const TYPE *b = (const TYPE *)t->kernel + row * t->run;                   \
                if (t->weights) {                                                         \
                    const uint16_t *w = t->weights + row * t->run;                        \
                    total += t->squared ? off_##NAME(a, b, w, t->run, 1)                  \
                                        : off_##NAME(a, b, w, t->run, 0);                 \
                } else                                                                    \
                    total += t->squared ? off_##NAME(a, b, NULL, t->run, 1)               \
                                        : off_##NAME(a, b, NULL, t->run, 0);              \
            }                                                                             \
            ((uint64_t *)t->sums)[number] = total;                                        \
        }                                                                                 \
    }                                                                                     \
    INLINE void fold_##NAME(const Task *t, ptrdiff_t number)                              \
    {                                                                                     \
        uint64_t *sums = (uint64_t *)t->sums + number * t->channels;                      \
        uint32_t *columns = t->scratch;                                                   \
        for (ptrdiff_t i = 0, c = 0; i < t->run; i++, c = c + 1 < t->channels ? c + 1 : 0)\
            sums[c] += columns[i];                                                        \
        memset(columns, 0, (size_t)t->run * sizeof *columns);                             \
    }                                                                                     \
    INLINE void channels_##NAME(const Task *t, const char *window, ptrdiff_t number)      \
    {                                                                                     \
        uint32_t *columns = t->scratch; /* [run], zeros here and at the end */            \
        uint64_t *sums = (uint64_t *)t->sums + number * t->channels;                      \
        memset(sums, 0, (size_t)t->channels * sizeof *sums);                              \
        for (ptrdiff_t row = 0; row < t->height; row++) {                                 \
            const TYPE *a = (const TYPE *)(window + row * t->pitch);                      \
            if (t->weights) {                                                             \
                const uint16_t *w = t->weights + row * t->run;                            \
                for (ptrdiff_t i = 0, c = 0; i < t->run; i++, c = c + 1 < t->channels ? c + 1 : 0)\
                    sums[c] += (uint32_t)a[i] * w[i];                                     \
                continue;                                                                 \
            }                                                                             \
            for (ptrdiff_t i = 0; i < t->run; i++)                                        \
                columns[i] += a[i];                                                       \
            if (row % ROWS == ROWS - 1)                                                   \
                fold_##NAME(t, number);                                                   \
        }                                                                                 \
        fold_##NAME(t, number);                                                           \
    }                                                                                     \
    INLINE void correlations_##NAME(const Task *t)                                        \
    {                                                                                     \
        for (ptrdiff_t number = 0; number < t->count; number++) {                         \
            const char *window = window_of(t, number);                                    \
            uint64_t energy = 0, product = 0;                                             \
            for (ptrdiff_t row = 0; row < t->height; row++) {                             \
                const TYPE *a = (const TYPE *)(window + row * t->pitch);                  \
                const TYPE *b = (const TYPE *)t->kernel + row * t->run;                   \
                const uint16_t *w = t->weights ? t->weights + row * t->run : NULL;        \
                energy += w ? product_##NAME(a, a, w, t->run) : product_##NAME(a, a, NULL, t->run);\
                product += w ? product_##NAME(a, b, w, t->run) : product_##NAME(a, b, NULL, t->run);\
            }                                                                             \
            ((uint64_t *)t->energies)[number] = energy;                                   \
            ((uint64_t *)t->products)[number] = product;                                  \
            if (t->has_sums)                                                              \
                channels_##NAME(t, window, number);                                       \
        }                                                                                 \
    }
INTEGERS(uint8_t, bytes, 1)
INTEGERS(uint16_t, words, 0)

/* Floats: lanes of a segment, then those of all segments, then of each channel, one after another. */
typedef enum { ABSOLUTE, SQUARED, ENERGY, PRODUCT, SUM, SQUARES, SPREAD, CENTRED } Term;

#define FLOATS(TYPE, NAME, NARROW)                                                        \
    static int is_zero_##NAME(const Task *t, const char *window, double energy)           \
    {                                                                                     \
        if (NARROW)                                                                       \
            return energy == 0;                                                           \
        for (ptrdiff_t row = 0; row < t->height; row++) {                                 \
            const TYPE *a = (const TYPE *)(window + row * t->pitch);                      \
            const uint16_t *w = t->weights ? t->weights + row * t->run : NULL;            \
            for (ptrdiff_t i = 0; i < t->run; i++)                                        \
                if (a[i] != 0 && (!w || w[i]))                                            \
                    return 0;                                                             \
        }                                                                                 \
        return 1;                                                                         \
    }                                                                                     \
    INLINE double term_##NAME(Term term, double a, double b, const double *means,         \
                              const double *others)                                       \
    {                                                                                     \
        double d = a - b;                                                                 \
        switch (term) {                                                                   \
        case ABSOLUTE: return d < 0 ? -d : d;                                             \
        case SQUARED: return d * d;                                                       \
        case ENERGY: case SQUARES: return a * a;                                          \
        case PRODUCT: return a * b;                                                       \
        case SUM: return a;                                                               \
        case SPREAD: return (a - *means) * (a - *means);                                  \
        default: return (a - *means) * (b - *others);                                     \
        }                                                                                 \
    }                                                                                     \
    /* `lanes`, twice [stride], then the sums of each channel. `means` are those of lanes. */ \
    INLINE void sums_##NAME(const Task *t, const char *window, Term term, ptrdiff_t stride, \
                            int weighted, const double *means, const double *others, double *lanes) \
    {                                                                                     \
        double *total = lanes + stride;                                                   \
        memset(total, 0, (size_t)stride * sizeof *total);                                 \
        ptrdiff_t whole = SEGMENT * t->channels;                                          \
        whole -= whole % stride;                                                          \
        for (ptrdiff_t row = 0; row < t->height; row++) {                                 \
            const TYPE *a = (const TYPE *)(window + row * t->pitch);                      \
            const TYPE *b = (const TYPE *)t->kernel + row * t->run;                       \
            const uint16_t *w = weighted ? t->weights + row * t->run : NULL;              \
            for (ptrdiff_t first = 0; first < t->run; first += whole) {                   \
                ptrdiff_t last = t->run - first < whole ? t->run : first + whole, i = first; \
                for (ptrdiff_t k = 0; k < stride; k++)                                    \
                    lanes[k] = 0;                                                         \
                for (; i + stride <= last; i += stride)                                   \
                    for (ptrdiff_t k = 0; k < stride; k++) {                              \
                        double found = term_##NAME(term, a[i + k], b[i + k], means + k,   \
                                                   others + k);                           \
                        lanes[k] += weighted ? found * w[i + k] : found;                  \
                    }                                                                     \
                for (ptrdiff_t k = 0; i + k < last; k++) {                                \
                    double found = term_##NAME(term, a[i + k], b[i + k], means + k, others + k); \
                    lanes[k] += weighted ? found * w[i + k] : found;                      \
                }                                                                         \
                for (ptrdiff_t k = 0; k < stride; k++)                                    \
                    total[k] += lanes[k];                                                 \
            }                                                                             \
        }                                                                                 \
        for (ptrdiff_t k = t->channels; k < stride; k++)                                  \
            total[k % t->channels] += total[k];                                           \
    }                                                                                     \
    /* Constants make vectors of the lanes of one and three channels. */                  \
    INLINE const double *channels_##NAME(const Task *t, const char *window, Term term,    \
                                         const double *means, const double *others)       \
    {                                                                                     \
        double *lanes = t->scratch;                                                       \
        ptrdiff_t stride = lanes_of(t->channels);                                         \
        if (t->weights)                                                                   \
            sums_##NAME(t, window, term, stride, 1, means, others, lanes);                \
        else if (stride == 16)                                                            \
            sums_##NAME(t, window, term, 16, 0, means, others, lanes);                    \
        else if (stride == 48)                                                            \
            sums_##NAME(t, window, term, 48, 0, means, others, lanes);                    \
        else                                                                              \
            sums_##NAME(t, window, term, stride, 0, means, others, lanes);                \
        return lanes + stride;                                                            \
    }                                                                                     \
    INLINE double sum_##NAME(const Task *t, const char *window, Term term, const double *means, \
                             const double *others)                                        \
    {                                                                                     \
        const double *sums = channels_##NAME(t, window, term, means, others);             \
        double total = 0;                                                                 \
        for (ptrdiff_t c = 0; c < t->channels; c++)                                       \
            total += sums[c];                                                             \
        return total;                                                                     \
    }                                                                                     \
    INLINE void differences_##NAME(const Task *t)                                         \
    {                                                                                     \
        const double *none = t->scratch;                                                  \
        for (ptrdiff_t number = 0; number < t->count; number++) {                         \
            const char *window = window_of(t, number);                                    \
            ((double *)t->sums)[number] =                                                 \
                t->squared ? sum_##NAME(t, window, SQUARED, none, none)                   \
                           : sum_##NAME(t, window, ABSOLUTE, none, none);                 \
        }                                                                                 \
    }                                                                                     \
    INLINE void correlations_##NAME(const Task *t)                                        \
    {                                                                                     \
        const double *none = t->scratch;                                                  \
        for (ptrdiff_t number = 0; number < t->count; number++) {                         \
            const char *window = window_of(t, number);                                    \
            double energy = sum_##NAME(t, window, ENERGY, none, none), product = 0;       \
            if (IN_RANGE(energy))                                                         \
                product = sum_##NAME(t, window, PRODUCT, none, none);                     \
            else                                                                          \
                energy = is_zero_##NAME(t, window, energy) ? 0 : NAN;                     \
            ((double *)t->energies)[number] = energy;                                     \
            ((double *)t->products)[number] = product;                                    \
        }                                                                                 \
    }                                                                                     \
    INLINE void centred_##NAME(const Task *t)                                             \
    {                                                                                     \
        ptrdiff_t channels = t->channels;                                                 \
        ptrdiff_t stride = lanes_of(channels);                                            \
        /* Behind the lanes: means of each lane, the kernel's, and sums of squares. */    \
        double *means = (double *)t->scratch + 2 * stride, *others = means + stride;      \
        double *squares = others + stride;                                                \
        for (ptrdiff_t k = 0; k < stride; k++)                                            \
            others[k] = t->kernel_means[k % channels];                                    \
        for (ptrdiff_t number = 0; number < t->count; number++) {                         \
            const char *window = window_of(t, number);                                    \
            const double *sums = channels_##NAME(t, window, SUM, means, others);          \
            for (ptrdiff_t k = 0; k < stride; k++)                                        \
                means[k] = sums[k % channels] / t->counts[k % channels];                  \
            memcpy(t->means + number * channels, means, (size_t)channels * sizeof *means); \
            sums = channels_##NAME(t, window, SQUARES, means, others);                    \
            memcpy(squares, sums, (size_t)channels * sizeof *squares);                    \
            sums = channels_##NAME(t, window, SPREAD, means, others);                     \
            double spread = 0, energy = 0;                                                \
            int flat = 1;                                                                 \
            for (ptrdiff_t c = 0; c < channels; c++) {                                    \
                spread += sums[c], energy += squares[c];                                  \
                flat = flat && sums[c] <= t->flat * squares[c];                           \
            }                                                                             \
            t->spreads[number] = flat ? 0 : spread;                                       \
            if (!IN_RANGE(energy))                                                        \
                t->spreads[number] = is_zero_##NAME(t, window, energy) ? 0 : NAN;         \
            ((double *)t->products)[number] = sum_##NAME(t, window, CENTRED, means, others); \
        }                                                                                 \
    }
FLOATS(float, floats, 1)
FLOATS(double, doubles, 0)

typedef void (*Pass)(const Task *);
typedef enum { DIFFERENCES, CORRELATIONS, CENTRED_SUMS, PASSES } Kind;
typedef struct {
    const char *name;
    Pass passes[4][PASSES]; /* of bytes, words, floats, doubles */
} Variant;

#define BODIES(NAME, TARGET)                                                              \
    TARGET static void db_##NAME(const Task *t) { differences_bytes(t); }                 \
    TARGET static void dw_##NAME(const Task *t) { differences_words(t); }                 \
    TARGET static void df_##NAME(const Task *t) { differences_floats(t); }                \
    TARGET static void dd_##NAME(const Task *t) { differences_doubles(t); }               \
    TARGET static void cb_##NAME(const Task *t) { correlations_bytes(t); }                \
    TARGET static void cw_##NAME(const Task *t) { correlations_words(t); }                \
    TARGET static void cf_##NAME(const Task *t) { correlations_floats(t); }               \
    TARGET static void cd_##NAME(const Task *t) { correlations_doubles(t); }              \
    TARGET static void mf_##NAME(const Task *t) { centred_floats(t); }                    \
    TARGET static void md_##NAME(const Task *t) { centred_doubles(t); }
#define VARIANT(NAME)                                                                     \
    {                                                                                     \
        #NAME, { {db_##NAME, cb_##NAME, NULL}, {dw_##NAME, cw_##NAME, NULL},              \
                 {df_##NAME, cf_##NAME, mf_##NAME}, {dd_##NAME, cd_##NAME, md_##NAME} }   \
    }
BODIES(portable, )
#if X86_VARIANTS
BODIES(avx2, AVX2)
BODIES(avx512, AVX512)
#endif

static const Variant VARIANTS[] = {
#if X86_VARIANTS
    VARIANT(avx512), VARIANT(avx2),
#endif
    VARIANT(portable),
};

static const Variant *variant(const char *name)
{
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++)
        if (strcmp(VARIANTS[i].name, name) == 0 && entry_runs_here(name))
            return &VARIANTS[i];
    return NULL;
}

/* The arguments of all entries, held while a pass runs. */
enum { IMAGE, KERNEL, WEIGHTS, PLACES, OUTPUTS };
typedef struct {
    Py_buffer held[10];
    int count;
} Buffers;

static int hold(Buffers *buffers, PyObject *object, int flags)
{
    if (object == Py_None) { /* weights that are not there */
        memset(&buffers->held[buffers->count++], 0, sizeof(Py_buffer));
        return 1;
    }
    if (PyObject_GetBuffer(object, &buffers->held[buffers->count], flags) < 0)
        return 0;
    buffers->count++;
    return 1;
}

/* The index of a type, or -1. */
static int type_of(const Py_buffer *view)
{
    static const char *FORMATS[] = {"B", "H", "f", "d"};
    for (int i = 0; view->format && i < 4; i++)
        if (has_format(view, FORMATS[i]))
            return i;
    return -1;
}

static const char *pictures_misfit(Task *t, const Buffers *buffers)
{
    const Py_buffer *image = &buffers->held[IMAGE], *kernel = &buffers->held[KERNEL];
    const Py_buffer *weights = &buffers->held[WEIGHTS], *places = &buffers->held[PLACES];
    int type = type_of(image);
    if (type < 0 || type != type_of(kernel) || image->ndim != 3 || kernel->ndim != 3)
        return "image and kernel are not [H, W, C] of one type";
    ptrdiff_t size = image->itemsize, channels = kernel->shape[2];
    t->image = image->buf, t->kernel = kernel->buf, t->weights = weights->buf;
    t->height = kernel->shape[0], t->width = kernel->shape[1], t->channels = channels;
    t->run = t->width * channels, t->pitch = image->strides[0], t->pixel = channels * size;
    if (kernel->len < 1 || image->shape[2] != channels)
        return "the kernel has other channels than the image, or no values";
    if ((channels > 1 && image->strides[2] != size) ||
        (image->shape[1] > 1 && image->strides[1] != t->pixel))
        return "the values of a row do not lie side by side";
    if (channels > ENTRY_MOST / 1024)
        return "an array is too large";
    if (weights->buf && weights->len != t->height * t->run * 2)
        return "the weights have another size than the kernel";
    t->places = places->buf, t->count = places->len / 16;
    if (places->len % 16)
        return "places are not pairs of int64";
    for (ptrdiff_t i = 0; i < t->count; i++) {
        int64_t y = t->places[2 * i], x = t->places[2 * i + 1];
        if (y < 0 || x < 0 || y > image->shape[0] - t->height || x > image->shape[1] - t->width)
            return "a window is not in the image";
    }
    return NULL;
}

static int run(Task *t, const Variant *chosen, int type, Kind kind)
{
    ptrdiff_t lanes = lanes_of(t->channels);
    ptrdiff_t values = t->run > 5 * lanes ? t->run : 5 * lanes;
    int made;
    Py_BEGIN_ALLOW_THREADS
    t->scratch = calloc((size_t)values, 8);
    made = t->scratch != NULL;
    if (made)
        chosen->passes[type][kind](t);
    free(t->scratch);
    Py_END_ALLOW_THREADS
    return made;
}

#define NO_VARIANT "this processor has no such variant"

/* Holds `outputs` writable buffers behind image, kernel, weights and places. */
static const char *prepared(Task *t, Buffers *buffers, PyObject **objects, int outputs, int inputs)
{
    static const int FLAGS[] = {PyBUF_STRIDED_RO | PyBUF_FORMAT, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT,
                                PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS};
    for (int i = 0; i < OUTPUTS + inputs + outputs; i++) {
        int flags = i < OUTPUTS            ? FLAGS[i]
                    : i < OUTPUTS + inputs ? PyBUF_C_CONTIGUOUS
                                           : PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE;
        if (!hold(buffers, objects[i], flags))
            return ""; /* Python has said why */
    }
    for (int i = 0; i < buffers->count; i++)
        if (i != WEIGHTS && !buffers->held[i].obj)
            return "only weights may be None";
    const Py_buffer *held = buffers->held;
    for (int i = 0; i < buffers->count; i++) {
        /* Places are int64, weights uint16, and all behind are numbers of 64 bits. */
        const ptrdiff_t item = i == WEIGHTS ? 2 : i >= PLACES ? 8 : 1;
        const char *wrong = held[i].obj ? entry_misfit(&held[i]) : NULL;
        if (wrong)
            return wrong;
        if (held[i].obj && held[i].len > 0 && !entry_is_aligned(held[i].buf, item))
            return "an array's values do not lie at multiples of their size";
        if (i >= OUTPUTS + inputs && entry_overlap(&held[i], &held[PLACES]))
            return "an output lies where the places do";
    }
    return pictures_misfit(t, buffers);
}

static PyObject *finished(Buffers *buffers, const char *wrong, int made)
{
    if (entry_failed(buffers->held, buffers->count, wrong, !made))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *differences(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image", "kernel", "weights", "places", "squared", "sums", "variant",
                            NULL};
    PyObject *objects[5];
    Task t = {0};
    const char *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOpOs", names, &objects[0], &objects[1],
                                     &objects[2], &objects[3], &t.squared, &objects[4], &name))
        return NULL;
    Buffers buffers = {0};
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? prepared(&t, &buffers, objects, 1, 0) : NO_VARIANT;
    const Py_buffer *sums = &buffers.held[OUTPUTS];
    if (!wrong && sums->len != t.count * 8)
        wrong = "the output has another size";
    t.sums = sums->buf;
    int made = !wrong && run(&t, chosen, type_of(&buffers.held[IMAGE]), DIFFERENCES);
    return finished(&buffers, wrong, made);
}

static PyObject *correlations(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image", "kernel", "weights", "places", "sums", "energies", "products",
                            "variant", NULL};
    PyObject *objects[7];
    Task t = {0};
    const char *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOOOOs", names, &objects[0], &objects[1],
                                     &objects[2], &objects[3], &objects[4], &objects[5],
                                     &objects[6], &name))
        return NULL;
    Buffers buffers = {0};
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? prepared(&t, &buffers, objects, 3, 0) : NO_VARIANT;
    const Py_buffer *out = &buffers.held[OUTPUTS];
    int type = wrong ? 0 : type_of(&buffers.held[IMAGE]);
    t.has_sums = out[0].len > 0;
    if (!wrong && (out[1].len != t.count * 8 || out[2].len != t.count * 8 ||
                   (t.has_sums && (type > 1 || out[0].len != t.count * t.channels * 8))))
        wrong = "an output has another size";
    t.sums = out[0].buf, t.energies = out[1].buf, t.products = out[2].buf;
    int made = !wrong && run(&t, chosen, type, CORRELATIONS);
    return finished(&buffers, wrong, made);
}

static PyObject *centred(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image", "kernel", "weights", "places", "counts", "kernel_means",
                            "flat", "means", "spreads", "products", "variant", NULL};
    PyObject *objects[9];
    Task t = {0};
    const char *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOOOdOOOs", names, &objects[0],
                                     &objects[1], &objects[2], &objects[3], &objects[4],
                                     &objects[5], &t.flat, &objects[6], &objects[7], &objects[8],
                                     &name))
        return NULL;
    Buffers buffers = {0};
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? prepared(&t, &buffers, objects, 3, 2) : NO_VARIANT;
    const Py_buffer *in = &buffers.held[OUTPUTS], *out = in + 2;
    int type = wrong ? 0 : type_of(&buffers.held[IMAGE]);
    if (!wrong && type < 2)
        wrong = "integers are not centred";
    if (!wrong && (in[0].len != t.channels * 8 || in[1].len != t.channels * 8 ||
                   out[0].len != t.count * t.channels * 8 || out[1].len != t.count * 8 ||
                   out[2].len != t.count * 8))
        wrong = "an array has another size";
    t.counts = in[0].buf, t.kernel_means = in[1].buf;
    t.means = out[0].buf, t.spreads = out[1].buf, t.products = out[2].buf;
    int made = !wrong && run(&t, chosen, type, CENTRED_SUMS);
    return finished(&buffers, wrong, made);
}

typedef enum { SAD, SSD, NCC, ZNCC, METRICS } Metric;

/* products / sqrt(spread x kernel_spread), as `correlation` in formulas.py has it. */
static double correlation_of(double products, double spread, double kernel_spread)
{
    double score = products / sqrt(spread * kernel_spread);
    if (!isfinite(score)) { /* a spread is 0, or the product of both underflowed to 0 */
        const double roots = sqrt(spread) * sqrt(kernel_spread);
        score = roots > 0 ? products / roots : 0;
    }
    score = score < -1 ? -1 : score;
    return score > 1 ? 1 : score;
}

/* What the scores of a window are made of beside its sums. */
typedef struct {
    Metric metric;
    double total, spread;
    int64_t scale;
    const int64_t *shares, *kernel_sums; /* of zncc of integers */
    double *scores;
} Making;

/* Differences of products, which fit 64 bits with a sign where the products need not. */
static void score_of_integers(const Task *t, const Making *m)
{
    for (ptrdiff_t i = 0; i < t->count; i++) {
        if (m->metric <= SSD) {
            m->scores[i] = 1 - (double)((const int64_t *)t->sums)[i] / m->total;
            continue;
        }
        uint64_t energy = ((const uint64_t *)t->energies)[i];
        uint64_t product = ((const uint64_t *)t->products)[i];
        if (m->metric == ZNCC) {
            energy *= (uint64_t)m->scale, product *= (uint64_t)m->scale;
            for (ptrdiff_t c = 0; c < t->channels; c++) {
                const uint64_t sum = ((const uint64_t *)t->sums)[i * t->channels + c];
                const uint64_t mean = sum * (uint64_t)m->shares[c];
                energy -= mean * sum, product -= mean * (uint64_t)m->kernel_sums[c];
            }
        }
        m->scores[i] = correlation_of((double)(int64_t)product, (double)(int64_t)energy, m->spread);
    }
}

static void score_of_floats(const Task *t, const Making *m)
{
    const double *energies = m->metric == ZNCC ? t->spreads : t->energies;
    for (ptrdiff_t i = 0; i < t->count; i++)
        m->scores[i] = m->metric <= SSD
                           ? 1 - ((const double *)t->sums)[i] / m->total
                           : correlation_of(((const double *)t->products)[i], energies[i], m->spread);
}

/* Writes a window of doubles with its values brought near 1, and 0 where nothing counts. */
static void bring_near_1(const Task *t, ptrdiff_t number, double *out)
{
    const char *window = window_of(t, number);
    double largest = 0;
    for (ptrdiff_t row = 0; row < t->height; row++) {
        const double *a = (const double *)(window + row * t->pitch);
        const uint16_t *w = t->weights ? t->weights + row * t->run : NULL;
        for (ptrdiff_t i = 0; i < t->run; i++) {
            const double value = !w || w[i] ? a[i] : 0, size = fabs(value);
            out[row * t->run + i] = value;
            largest = largest > size ? largest : size;
        }
    }
    int exponent;
    frexp(largest, &exponent);
    /* In two steps, because a power of two may be too large for a number. */
    const double half = ldexp(1, -exponent / 2), rest = ldexp(1, -exponent - -exponent / 2);
    for (ptrdiff_t i = 0; i < t->height * t->run; i++)
        out[i] = out[i] * half * rest;
}

/* Sums windows of doubles again that are out of range. Returns 0 where memory lacks. */
static int run_scaled(Task *t, const Variant *chosen, Kind kind)
{
    static const int64_t FIRST[2] = {0, 0};
    double *energies = kind == CENTRED_SUMS ? t->spreads : t->energies, *window = NULL;
    int made = 1;
    for (ptrdiff_t i = 0; i < t->count && made; i++) {
        if (!isnan(energies[i]))
            continue;
        if (!window)
            window = malloc((size_t)(t->height * t->run) * sizeof *window);
        made = window != NULL;
        if (!made)
            break;
        bring_near_1(t, i, window);
        Task one = *t;
        one.image = (const char *)window, one.pitch = t->run * (ptrdiff_t)sizeof *window;
        one.places = FIRST, one.count = 1;
        one.spreads = energies + i, one.energies = energies + i;
        one.products = (double *)t->products + i, one.means = t->means;
        if (kind == CENTRED_SUMS)
            one.means += i * t->channels;
        made = run(&one, chosen, 3, kind);
    }
    free(window);
    return made;
}

static PyObject *scores(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image", "kernel", "weights", "places", "counts", "kernel_sums",
                            "scores", "metric", "total", "spread", "scale", "flat", "variant", NULL};
    static const char *const METRIC_NAMES[] = {"sad", "ssd", "ncc", "zncc"};
    PyObject *objects[7];
    Task t = {0};
    Making m = {0};
    const char *name, *metric;
    long long scale;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOOOOsddLds", names, &objects[0],
                                     &objects[1], &objects[2], &objects[3], &objects[4],
                                     &objects[5], &objects[6], &metric, &m.total, &m.spread, &scale,
                                     &t.flat, &name))
        return NULL;
    while (m.metric < METRICS && strcmp(metric, METRIC_NAMES[m.metric]) != 0)
        m.metric++;
    m.scale = scale;
    Buffers buffers = {0};
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? prepared(&t, &buffers, objects, 1, 2) : NO_VARIANT;
    const Py_buffer *in = &buffers.held[OUTPUTS], *out = in + 2;
    const int type = wrong ? 0 : type_of(&buffers.held[IMAGE]), is_integer = type < 2;
    if (!wrong && m.metric == METRICS)
        wrong = "the metric is not sad, ssd, ncc or zncc";
    if (!wrong && (out->len != t.count * 8 ||
                   (m.metric == ZNCC && (in[0].len != t.channels * 8 || in[1].len != t.channels * 8))))
        wrong = "an array has another size";
    int made = 0;
    if (!wrong) {
        const int has_sums = m.metric == ZNCC; /* or means, of floats */
        const ptrdiff_t each = m.metric <= SSD ? 1 : 2 + (has_sums ? t.channels : 0);
        const ptrdiff_t values = entry_times(t.count, each);
        double *memory = values <= ENTRY_MOST ? malloc((size_t)values * 8 + 8) : NULL;
        m.scores = out->buf, m.shares = in[0].buf, m.kernel_sums = in[1].buf;
        t.squared = m.metric == SSD, t.counts = in[0].buf, t.kernel_means = in[1].buf;
        t.has_sums = has_sums && is_integer;
        if (memory && m.metric <= SSD)
            t.sums = memory;
        else if (memory) {
            t.energies = t.spreads = memory, t.products = memory + t.count;
            t.sums = t.means = memory + 2 * t.count;
        }
        const Kind kind = m.metric <= SSD                   ? DIFFERENCES
                          : m.metric == ZNCC && !is_integer ? CENTRED_SUMS
                                                            : CORRELATIONS;
        made = memory && run(&t, chosen, type, kind);
        if (made && type == 3 && kind != DIFFERENCES)
            made = run_scaled(&t, chosen, kind);
        if (made && is_integer)
            score_of_integers(&t, &m);
        else if (made)
            score_of_floats(&t, &m);
        free(memory);
    }
    return finished(&buffers, wrong, made);
}

ENTRY_VARIANTS(i < sizeof VARIANTS / sizeof *VARIANTS, VARIANTS[i].name,
               entry_runs_here(VARIANTS[i].name))

static PyMethodDef METHODS[] = {
    ENTRY_VARIANTS_METHOD,
    {"differences", KEYWORDS(differences), "Sums of differences; see the head of _windows.c."},
    {"correlations", KEYWORDS(correlations), "Sums of products and squares."},
    {"centred", KEYWORDS(centred), "The same of floats after subtraction of the means."},
    {"scores", KEYWORDS(scores), "Scores, which are made of these sums."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_windows", NULL, 0, METHODS, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__windows(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module && (PyModule_AddIntConstant(module, "LANES", LANES) < 0 ||
                   PyModule_AddIntConstant(module, "SEGMENT", SEGMENT) < 0))
        Py_CLEAR(module);
    return module;
}
