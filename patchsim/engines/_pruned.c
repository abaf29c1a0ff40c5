/* Bounds of windows' differences from block sums, and differences that end at a limit.
 *
 * boxes(image, pitch, channels, width, planes, cell_height, cell_width, rows, stride_x, up, down,
 *       out, row_pitch, phase_pitch, variant)
 * bounds(boxes, offsets, below, above, row_step, rows, cols, squared, doublings, out, out_pitch,
 *        variant, least, block, down, across)
 * raise_bounds(boxes ... variant as bounds, but: out has bounds already, and: limit, ratio)
 *     -> windows left
 * look(image, pitch, kernel, weights, run, height, stride_y, step_x, bounds, bounds_pitch, rows,
 *      cols, squared, scale, limit, most, variant) -> (sum, row, col, evaluated, compared, done)
 * screen(as look, and: places, sums) -> (count, compared, done)
 * narrow(image, pitch, channels, width, rows, kernel, kernel_height, kernel_width, levels, sums,
 *        costs, slack, most, bounds, variant) -> (least sum, unit, windows left, compared)
 * quantise(values, type, low, step, out, variant) -> the largest rounding, in steps
 * compare(image, type, pitch, kernel, weights, run, height, stride_y, step_x, cols, places, count,
 *         squared, limit, rounding, out, variant) -> rows compared
 *
 * A box is the sum of a cell's values, (sum << up) >> down in 16 bits. Its columns lie by phase:
 * column x of the image at [x % stride_x][x / stride_x], so that the boxes under neighbouring
 * windows are neighbours, whatever the stride.
 *
 * The bound of a window is the sum over the cells of how far the box lies below or above the
 * kernel's, saturated; for `squared` that is doubled so many times, squared and >> 16. GONE is no
 * bound but a window dropped. `least` becomes the least bound of each square of `block` windows a
 * side; the first window lies `down` and `across` from the corner of its own. `raise_bounds` raises
 * bounds that are at or below a limit to these times a ratio, where they are larger, and counts the
 * windows at or below the limit that are left.
 *
 * `narrow` bounds all windows of a picture by `sad`, and raises the bounds by finer cells as long as
 * that takes less than to compare the windows left. These are they that could differ by at most the
 * least sum found and a slack. Each level has a lattice of cells: height and width of a cell, cells
 * down and across; the kernel's sums, cell by cell and channel by channel; and costs in rows compared,
 * that of making it for the picture and that of a GROUP of windows. It ends sooner where more than
 * `most` rows seem to be left to compare in any case.
 *
 * With weights, bytes as the kernel's or None, each difference counts so many times.
 *
 * Pictures of 16 bits ("H") or floats ("f", "d") are searched as 8-bit copies, which `quantise` makes.
 * `screen` lists the windows whose copies differ by at most a limit, and `compare` sums the true
 * differences of those.
 *
 * Only the limited API and the buffer protocol are used, and the GIL is released.
 */
#include "../machine/_entries.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../machine/_targets.h"

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define X86_VARIANTS 1
#include <immintrin.h>
#define INLINE static inline __attribute__((always_inline)) /* into each variant's instructions */
#define AVX512 IN_512_BITS("avx512f,avx512bw,avx512vl")
#define AVX2 __attribute__((target("avx2")))
#else
#define X86_VARIANTS 0
#define INLINE static inline
#endif

static const char NO_VARIANT[] = "this processor has no such variant";
static const char NOT_ALIGNED[] = "an array's values do not lie at multiples of their size";

#define PADDING 64 /* boxes under columns of windows are read in whole steps of so many */
#define GONE 65535
#define LARGEST_BLOCK 65535 /* windows along a side */
#define TALLEST 257 /* values of a cell's column sum to 16 bits */
#define WIDEST 65535 /* and its columns to 32 */

typedef struct {
    const uint8_t *image;
    ptrdiff_t pitch, channels, width, planes, cell_height, cell_width, rows, stride_x;
    int up, down;
    uint16_t *out; /* [planes, rows, stride_x, phase_pitch]; rows are row_pitch apart */
    ptrdiff_t row_pitch, phase_pitch;
    uint16_t *columns; /* [width, channels] */
    uint32_t *runs, *sums; /* [width + cell_width] each */
} Boxes;

/* A row of boxes from the sums of its columns, in T, which the sum of a cell fits. */
#define RUNS(NAME, T)                                                                     \
    INLINE void gather_##NAME(const Boxes *t, ptrdiff_t plane, ptrdiff_t channels)        \
    {                                                                                     \
        T *runs = (T *)t->runs;                                                           \
        if (t->planes > 1)                                                                \
            for (ptrdiff_t x = 0; x < t->width; x++)                                      \
                runs[x] = t->columns[x * channels + plane];                               \
        else                                                                              \
            for (ptrdiff_t x = 0; x < t->width; x++) {                                    \
                T sum = 0;                                                                \
                for (ptrdiff_t c = 0; c < channels; c++)                                  \
                    sum = (T)(sum + t->columns[x * channels + c]);                        \
                runs[x] = sum;                                                            \
            }                                                                             \
    }                                                                                     \
    /* sums[x] = runs[x] + ... + runs[x + cell_width - 1], from runs of 1, 2, 4 ... */    \
    INLINE void sum_##NAME(const Boxes *t)                                                \
    {                                                                                     \
        T *runs = (T *)t->runs, *sums = (T *)t->sums;                                     \
        ptrdiff_t summed = 0;                                                             \
        for (ptrdiff_t length = 1;; length *= 2) {                                        \
            if (t->cell_width & length) {                                                 \
                if (!summed)                                                              \
                    memcpy(sums, runs, (size_t)t->width * sizeof *sums);                  \
                else                                                                      \
                    for (ptrdiff_t x = 0; x < t->width; x++)                              \
                        sums[x] = (T)(sums[x] + runs[x + summed]);                        \
                summed += length;                                                         \
            }                                                                             \
            if (2 * length > t->cell_width)                                               \
                return;                                                                   \
            for (ptrdiff_t x = 0; x < t->width; x++)                                      \
                runs[x] = (T)(runs[x] + runs[x + length]);                                \
        }                                                                                 \
    }                                                                                     \
    INLINE void row_##NAME(const Boxes *t, ptrdiff_t plane, uint16_t *out)                \
    {                                                                                     \
        ptrdiff_t count = t->width - t->cell_width + 1;                                   \
        if (t->channels == 3) /* a constant makes vectors of it */                        \
            gather_##NAME(t, plane, 3);                                                   \
        else if (t->channels == 1)                                                        \
            gather_##NAME(t, plane, 1);                                                   \
        else                                                                              \
            gather_##NAME(t, plane, t->channels);                                         \
        sum_##NAME(t);                                                                    \
        for (ptrdiff_t phase = 0; phase < t->stride_x; phase++, out += t->phase_pitch) {  \
            const T *sums = (const T *)t->sums + phase;                                   \
            ptrdiff_t boxes = (count - phase + t->stride_x - 1) / t->stride_x;            \
            if (t->stride_x == 1 && !t->up && !t->down)                                   \
                for (ptrdiff_t x = 0; x < boxes; x++)                                     \
                    out[x] = (uint16_t)sums[x];                                           \
            else if (t->stride_x == 1)                                                    \
                for (ptrdiff_t x = 0; x < boxes; x++)                                     \
                    out[x] = (uint16_t)((uint32_t)sums[x] << t->up >> t->down);           \
            else                                                                          \
                for (ptrdiff_t x = 0; x < boxes; x++)                                     \
                    out[x] = (uint16_t)((uint32_t)sums[x * t->stride_x] << t->up >> t->down);\
        }                                                                                 \
    }
RUNS(small, uint16_t)
RUNS(large, uint32_t)

INLINE void boxes_body(const Boxes *t)
{
    ptrdiff_t n = t->width * t->channels;
    ptrdiff_t values = t->cell_height * t->cell_width * (t->channels / t->planes);
    for (ptrdiff_t row = 1 - t->cell_height; row < t->rows; row++) {
        const uint8_t *enters = t->image + (row + t->cell_height - 1) * t->pitch;
        for (ptrdiff_t i = 0; i < n; i++)
            t->columns[i] += enters[i];
        if (row < 0)
            continue;
        for (ptrdiff_t plane = 0; plane < t->planes; plane++) {
            uint16_t *out = t->out + (plane * t->rows + row) * t->row_pitch;
            if (values * 255 <= 65535)
                row_small(t, plane, out);
            else
                row_large(t, plane, out);
        }
        const uint8_t *leaves = t->image + row * t->pitch;
        for (ptrdiff_t i = 0; i < n; i++)
            t->columns[i] -= leaves[i];
    }
}

typedef struct {
    const uint16_t *boxes; /* under the first window */
    const int64_t *offsets; /* to the boxes of its cells */
    const uint16_t *below, *above; /* the kernel's boxes, rounded down and up */
    ptrdiff_t cells, row_step, rows, cols;
    int squared, doublings;
    uint16_t *out;
    ptrdiff_t out_pitch;
    /* To make bounds: */
    uint16_t *least, *lines; /* of blocks, and of the columns of a row of blocks */
    ptrdiff_t block, down, across;
    /* To raise bounds: */
    int raises;
    uint16_t limit;
    double ratio;
    ptrdiff_t left;
} Bounds;

/* Whether some of n bounds are at or below a limit. */
INLINE int some_open(const uint16_t *bounds, ptrdiff_t n, uint16_t limit)
{
    uint16_t lowest = GONE;
    for (ptrdiff_t i = 0; i < n; i++)
        lowest = bounds[i] < lowest ? bounds[i] : lowest;
    return lowest <= limit;
}

INLINE void raise_some(Bounds *t, uint16_t *bounds, const uint16_t *finer, ptrdiff_t n)
{
    int32_t left = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        double raised = (double)finer[i] * t->ratio;
        uint16_t bound = raised < GONE - 1 ? (uint16_t)(int32_t)raised : GONE - 1;
        bounds[i] = bounds[i] < bound ? bound : bounds[i];
        left += bounds[i] <= t->limit;
    }
    t->left += left;
}

static ptrdiff_t blocks_across(const Bounds *t)
{
    return (t->across + t->cols - 1) / t->block + 1;
}

/* The least bounds of blocks have those of a row of windows in them. */
INLINE void keep_least(const Bounds *t, ptrdiff_t row)
{
    const uint16_t *bounds = t->out + row * t->out_pitch;
    ptrdiff_t at = t->down + row;
    if (row == 0 || at % t->block == 0)
        memcpy(t->lines, bounds, (size_t)t->cols * sizeof *bounds);
    else
        for (ptrdiff_t col = 0; col < t->cols; col++)
            t->lines[col] = bounds[col] < t->lines[col] ? bounds[col] : t->lines[col];
    if ((at + 1) % t->block && row < t->rows - 1)
        return;
    uint16_t *least = t->least + at / t->block * blocks_across(t);
    for (ptrdiff_t col = 0, end; col < t->cols; col = end) {
        end = ((t->across + col) / t->block + 1) * t->block - t->across;
        end = end < t->cols ? end : t->cols;
        uint16_t lowest = GONE;
        for (ptrdiff_t i = col; i < end; i++)
            lowest = t->lines[i] < lowest ? t->lines[i] : lowest;
        *least++ = lowest;
    }
}

static void bounds_portable(Bounds *t)
{
    for (ptrdiff_t row = 0; row < t->rows; row++) {
        for (ptrdiff_t col = 0; col < t->cols; col++) {
            const uint16_t *under = t->boxes + row * t->row_step + col;
            uint16_t *out = t->out + row * t->out_pitch + col;
            if (t->raises && *out > t->limit)
                continue;
            uint32_t total = 0;
            for (ptrdiff_t i = 0; i < t->cells; i++) {
                uint32_t box = under[t->offsets[i]], off = 0;
                if (box > t->above[i])
                    off = box - t->above[i];
                else if (box < t->below[i])
                    off = t->below[i] - box;
                off <<= t->doublings;
                off = off < 65535 ? off : 65535;
                total += t->squared ? off * off >> 16 : off;
                if (total >= GONE)
                    total = GONE - 1;
            }
            uint16_t bound = (uint16_t)total;
            if (t->raises)
                raise_some(t, out, &bound, 1);
            else
                *out = bound;
        }
        if (!t->raises)
            keep_least(t, row);
    }
}

/* STEP vectors side by side share the kernel's boxes; PADDING columns are a multiple of them. */
#define BOUNDS(NAME, TARGET, V, LANES, STEP, LOAD, STORE, SET, SUBS, ADDS, OR, HIGH)      \
    TARGET static inline void NAME##_group(const Bounds *t, const uint16_t *under, uint16_t *out, \
                                           int squared, int doublings)                    \
    {                                                                                     \
        const V one = SET(1);                                                             \
        V total[STEP];                                                                    \
        for (int k = 0; k < (STEP); k++)                                                  \
            total[k] = SET(0);                                                            \
        for (ptrdiff_t i = 0; i < t->cells; i++) {                                        \
            V above = SET((short)t->above[i]), below = SET((short)t->below[i]);           \
            for (int k = 0; k < (STEP); k++) {                                            \
                V box = LOAD(under + t->offsets[i] + k * (LANES));                        \
                V off = OR(SUBS(box, above), SUBS(below, box));                           \
                for (int d = 0; d < doublings; d++)                                       \
                    off = ADDS(off, off);                                                 \
                if (squared)                                                              \
                    off = HIGH(off, off);                                                 \
                total[k] = ADDS(total[k], off);                                           \
            }                                                                             \
        }                                                                                 \
        for (int k = 0; k < (STEP); k++) /* at most GONE - 1 */                           \
            STORE(out + k * (LANES), SUBS(ADDS(total[k], one), one));                     \
    }                                                                                     \
    TARGET static void NAME(Bounds *t)                                                    \
    {                                                                                     \
        const ptrdiff_t together = (LANES) * (STEP);                                      \
        uint16_t finer[(LANES) * (STEP)];                                                 \
        for (ptrdiff_t row = 0; row < t->rows; row++) {                                   \
            for (ptrdiff_t col = 0; col < t->cols; col += together) {                     \
                const uint16_t *under = t->boxes + row * t->row_step + col;               \
                uint16_t *out = t->out + row * t->out_pitch + col;                        \
                ptrdiff_t n = t->cols - col < together ? t->cols - col : together;        \
                if (t->raises && !some_open(out, n, t->limit))                            \
                    continue;                                                             \
                uint16_t *found = t->raises || n < together ? finer : out;                \
                if (!t->squared)                                                          \
                    NAME##_group(t, under, found, 0, 0);                                  \
                else if (!t->doublings)                                                   \
                    NAME##_group(t, under, found, 1, 0);                                  \
                else                                                                      \
                    NAME##_group(t, under, found, 1, t->doublings);                       \
                if (t->raises)                                                            \
                    raise_some(t, out, finer, n);                                         \
                else if (n < together)                                                    \
                    memcpy(out, finer, (size_t)n * sizeof *out);                          \
            }                                                                             \
            if (!t->raises)                                                               \
                keep_least(t, row);                                                       \
        }                                                                                 \
    }

#if X86_VARIANTS
#define LOAD128(p) _mm_loadu_si128((const __m128i *)(p))
#define LOAD256(p) _mm256_loadu_si256((const __m256i *)(p))
#define LOAD512(p) _mm512_loadu_si512((const void *)(p))
#define STORE128(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define STORE256(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define STORE512(p, v) _mm512_storeu_si512((void *)(p), v)
BOUNDS(bounds_sse2, , __m128i, 8, 4, LOAD128, STORE128, _mm_set1_epi16, _mm_subs_epu16,
       _mm_adds_epu16, _mm_or_si128, _mm_mulhi_epu16)
BOUNDS(bounds_avx2, AVX2, __m256i, 16, 4, LOAD256, STORE256, _mm256_set1_epi16,
       _mm256_subs_epu16, _mm256_adds_epu16, _mm256_or_si256, _mm256_mulhi_epu16)
BOUNDS(bounds_avx512, AVX512, __m512i, 32, 2, LOAD512, STORE512, _mm512_set1_epi16,
       _mm512_subs_epu16, _mm512_adds_epu16, _mm512_or_si512, _mm512_mulhi_epu16)
#endif

typedef struct Look Look;
typedef uint64_t (*Window)(Look *, const uint8_t *, uint64_t);

struct Look {
    Window window;
    const uint8_t *image, *kernel, *weights; /* the last or NULL */
    ptrdiff_t pitch, run, height, step_y, step_x; /* in bytes, but for the height */
    uint16_t *bounds; /* of the first window */
    ptrdiff_t bounds_pitch, rows, cols;
    int squared;
    double scale; /* a bound is at most so much of the difference; rounded down */
    uint64_t limit;
    ptrdiff_t most;
    /* Found: */
    uint64_t best;
    ptrdiff_t at, evaluated, compared; /* windows, and rows of them */
    int done;
    /* For `screen`: */
    int32_t *places;
    uint64_t *sums;
    ptrdiff_t found;
};

#define TOGETHER 4 /* kernel rows are compared before the limit is asked */
#define CHUNK 32768 /* squares of differences of so many bytes, TOGETHER times, fit 32-bit lanes */

INLINE uint64_t differences(const uint8_t *a, const uint8_t *b, ptrdiff_t n, int squared)
{
    uint64_t total = 0;
    for (ptrdiff_t first = 0; first < n; first += CHUNK) {
        ptrdiff_t last = first + CHUNK < n ? first + CHUNK : n;
        uint32_t part = 0;
        if (squared)
            for (ptrdiff_t i = first; i < last; i++) {
                int d = a[i] - b[i];
                part += (uint32_t)(d * d);
            }
        else
            for (ptrdiff_t i = first; i < last; i++)
                part += (uint32_t)abs(a[i] - b[i]);
        total += part;
    }
    return total;
}

#define LIGHT 256 /* squares times weights of so many bytes fit 32 bits */

INLINE uint64_t weighted(const uint8_t *a, const uint8_t *b, const uint8_t *weights, ptrdiff_t n,
                         int squared)
{
    uint64_t total = 0;
    for (ptrdiff_t first = 0; first < n; first += LIGHT) {
        ptrdiff_t last = first + LIGHT < n ? first + LIGHT : n;
        uint32_t part = 0;
        if (squared)
            for (ptrdiff_t i = first; i < last; i++) {
                int d = a[i] - b[i];
                part += (uint32_t)(weights[i] * d * d);
            }
        else
            for (ptrdiff_t i = first; i < last; i++)
                part += (uint32_t)(weights[i] * abs(a[i] - b[i]));
        total += part;
    }
    return total;
}

/* The difference of a window, or as much of it as passes the limit. */
INLINE uint64_t window_body(Look *t, const uint8_t *window, uint64_t limit)
{
    uint64_t total = 0;
    ptrdiff_t row = 0;
    for (; row < t->height && total <= limit; row++) {
        const uint8_t *a = window + row * t->pitch, *b = t->kernel + row * t->run;
        total += t->squared ? differences(a, b, t->run, 1) : differences(a, b, t->run, 0);
    }
    t->compared += row;
    return total;
}

INLINE uint64_t weighted_body(Look *t, const uint8_t *window, uint64_t limit)
{
    uint64_t total = 0;
    ptrdiff_t row = 0;
    for (; row < t->height && total <= limit; row++) {
        const uint8_t *a = window + row * t->pitch, *b = t->kernel + row * t->run;
        const uint8_t *weights = t->weights + row * t->run;
        total += t->squared ? weighted(a, b, weights, t->run, 1)
                            : weighted(a, b, weights, t->run, 0);
    }
    t->compared += row;
    return total;
}

#if X86_VARIANTS
/* Zeros, then ones: what of the last vector of a row has not been compared. */
static const uint8_t MASKS[128] = {
    [64] = 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
};

/* ADD(sum, a, b) adds the differences of bytes to the lanes of a vector. The last vector of a row
 * ends with it, so that nothing is read beyond, and is masked to what has not been compared.
 * Rows of fewer bytes than a vector are left to NARROWER. */
#define WINDOW(NAME, TARGET, V, BYTES, LOAD, AND, ZERO, ADD, REDUCE, NARROWER)            \
    TARGET static uint64_t NAME(Look *t, const uint8_t *window, uint64_t limit)           \
    {                                                                                     \
        ptrdiff_t rest = t->run % (BYTES), whole = t->run - rest, end = t->run - (BYTES); \
        if (end < 0)                                                                      \
            return NARROWER(t, window, limit);                                            \
        if (t->run > CHUNK)                                                               \
            return window_body(t, window, limit);                                         \
        const V mask = LOAD(MASKS + 64 - (BYTES) + rest);                                 \
        uint64_t total = 0;                                                               \
        ptrdiff_t row = 0;                                                                \
        while (row < t->height && total <= limit) {                                       \
            ptrdiff_t stop = row + TOGETHER < t->height ? row + TOGETHER : t->height;     \
            V sum = ZERO();                                                               \
            for (; row < stop; row++) {                                                   \
                const uint8_t *a = window + row * t->pitch;                               \
                const uint8_t *b = t->kernel + row * t->run;                              \
                for (ptrdiff_t i = 0; i < whole; i += (BYTES))                            \
                    sum = ADD(sum, LOAD(a + i), LOAD(b + i));                             \
                if (rest)                                                                 \
                    sum = ADD(sum, AND(LOAD(a + end), mask), AND(LOAD(b + end), mask));   \
            }                                                                             \
            total += REDUCE(sum);                                                         \
        }                                                                                 \
        t->compared += row;                                                               \
        return total;                                                                     \
    }

/* Rows of at most a vector, whose lanes beyond them are neither read nor compared. */
#define MASKED(NAME, V, MASK, LOAD, ZERO, ADD, REDUCE)                                    \
    AVX512 static inline uint64_t NAME(Look *t, const uint8_t *window, uint64_t limit)    \
    {                                                                                     \
        const MASK mask = (MASK)(UINT64_MAX >> (64 - t->run));                            \
        uint64_t total = 0;                                                               \
        ptrdiff_t row = 0;                                                                \
        while (row < t->height && total <= limit) {                                       \
            ptrdiff_t stop = row + TOGETHER < t->height ? row + TOGETHER : t->height;     \
            V sum = ZERO();                                                               \
            for (; row < stop; row++)                                                     \
                sum = ADD(sum, LOAD(mask, window + row * t->pitch),                       \
                          LOAD(mask, t->kernel + row * t->run));                          \
            total += REDUCE(sum);                                                         \
        }                                                                                 \
        t->compared += row;                                                               \
        return total;                                                                     \
    }

/* How differences are added, and the sums of a vector; `PARTS` gives whole windows. */
#define PARTS(NAME, TARGET, V, AND, OR, ZERO, SUBS, SAD, LOW, HIGH, MADD, ADD32, ADD64,   \
              HALVES, SHIFT, REDUCE)                                                      \
    TARGET static inline V add_sad_##NAME(V sum, V a, V b) { return ADD64(sum, SAD(a, b)); } \
    TARGET static inline V add_ssd_##NAME(V sum, V a, V b)                                \
    {                                                                                     \
        V off = OR(SUBS(a, b), SUBS(b, a)), low = LOW(off, ZERO()), high = HIGH(off, ZERO()); \
        return ADD32(sum, ADD32(MADD(low, low), MADD(high, high)));                       \
    }                                                                                     \
    TARGET static inline uint64_t reduce_sad_##NAME(V sum) { return REDUCE(sum); }        \
    TARGET static inline uint64_t reduce_ssd_##NAME(V sum) /* of 32 bits each */          \
    {                                                                                     \
        return REDUCE(ADD64(AND(sum, HALVES(0xffffffff)), SHIFT(sum, 32)));               \
    }

static inline uint64_t reduce128(__m128i v)
{
    uint64_t lanes[2];
    STORE128(lanes, v);
    return lanes[0] + lanes[1];
}
AVX2 static inline uint64_t reduce256(__m256i v)
{
    return reduce128(_mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}
AVX512 static inline uint64_t reduce512(__m512i v)
{
    return (uint64_t)_mm512_reduce_add_epi64(v);
}

PARTS(sse2, , __m128i, _mm_and_si128, _mm_or_si128, _mm_setzero_si128, _mm_subs_epu8,
      _mm_sad_epu8, _mm_unpacklo_epi8, _mm_unpackhi_epi8, _mm_madd_epi16, _mm_add_epi32,
      _mm_add_epi64, _mm_set1_epi64x, _mm_srli_epi64, reduce128)
PARTS(avx2, AVX2, __m256i, _mm256_and_si256, _mm256_or_si256, _mm256_setzero_si256,
      _mm256_subs_epu8, _mm256_sad_epu8, _mm256_unpacklo_epi8, _mm256_unpackhi_epi8,
      _mm256_madd_epi16, _mm256_add_epi32, _mm256_add_epi64, _mm256_set1_epi64x,
      _mm256_srli_epi64, reduce256)
PARTS(avx512, AVX512, __m512i, _mm512_and_si512, _mm512_or_si512, _mm512_setzero_si512,
      _mm512_subs_epu8, _mm512_sad_epu8, _mm512_unpacklo_epi8, _mm512_unpackhi_epi8,
      _mm512_madd_epi16, _mm512_add_epi32, _mm512_add_epi64, _mm512_set1_epi64,
      _mm512_srli_epi64, reduce512)

#define LOAD64(p) _mm_loadl_epi64((const __m128i *)(p))
static inline __m128i load32(const uint8_t *bytes)
{
    int32_t four;
    memcpy(&four, bytes, sizeof four);
    return _mm_cvtsi32_si128(four);
}

#define WINDOWS(METRIC)                                                                   \
    WINDOW(METRIC##_fours, , __m128i, 4, load32, _mm_and_si128, _mm_setzero_si128,        \
           add_##METRIC##_sse2, reduce_##METRIC##_sse2, window_body)                      \
    WINDOW(METRIC##_eights, , __m128i, 8, LOAD64, _mm_and_si128, _mm_setzero_si128,       \
           add_##METRIC##_sse2, reduce_##METRIC##_sse2, METRIC##_fours)                   \
    WINDOW(METRIC##_sse2, , __m128i, 16, LOAD128, _mm_and_si128, _mm_setzero_si128,       \
           add_##METRIC##_sse2, reduce_##METRIC##_sse2, METRIC##_eights)                  \
    WINDOW(METRIC##_avx2, AVX2, __m256i, 32, LOAD256, _mm256_and_si256,                   \
           _mm256_setzero_si256, add_##METRIC##_avx2, reduce_##METRIC##_avx2,             \
           METRIC##_sse2)                                                                 \
    MASKED(METRIC##_of_16, __m128i, __mmask16, _mm_maskz_loadu_epi8, _mm_setzero_si128,   \
           add_##METRIC##_sse2, reduce_##METRIC##_sse2)                                   \
    MASKED(METRIC##_of_32, __m256i, __mmask32, _mm256_maskz_loadu_epi8,                   \
           _mm256_setzero_si256, add_##METRIC##_avx2, reduce_##METRIC##_avx2)             \
    MASKED(METRIC##_of_64, __m512i, __mmask64, _mm512_maskz_loadu_epi8,                   \
           _mm512_setzero_si512, add_##METRIC##_avx512, reduce_##METRIC##_avx512)         \
    AVX512 static uint64_t METRIC##_short(Look *t, const uint8_t *window, uint64_t limit) \
    {                                                                                     \
        return t->run <= 16   ? METRIC##_of_16(t, window, limit)                          \
               : t->run <= 32 ? METRIC##_of_32(t, window, limit)                          \
                              : METRIC##_of_64(t, window, limit);                         \
    }                                                                                     \
    WINDOW(METRIC##_avx512, AVX512, __m512i, 64, LOAD512, _mm512_and_si512,               \
           _mm512_setzero_si512, add_##METRIC##_avx512, reduce_##METRIC##_avx512,         \
           METRIC##_short)
WINDOWS(sad)
WINDOWS(ssd)
#endif

static uint64_t window_portable(Look *t, const uint8_t *window, uint64_t limit)
{
    return window_body(t, window, limit);
}

static uint64_t weighted_portable(Look *t, const uint8_t *window, uint64_t limit)
{
    return weighted_body(t, window, limit);
}
#if X86_VARIANTS
AVX512 static uint64_t weighted_avx512(Look *t, const uint8_t *window, uint64_t limit)
{
    return weighted_body(t, window, limit);
}
AVX2 static uint64_t weighted_avx2(Look *t, const uint8_t *window, uint64_t limit)
{
    return weighted_body(t, window, limit);
}
#endif

/* The difference of a window, or more than `limit`; its bound is raised. */
static uint64_t evaluate(Look *t, ptrdiff_t row, ptrdiff_t col, uint64_t limit)
{
    uint16_t *bound = t->bounds + row * t->bounds_pitch + col;
    uint64_t total = t->window(t, t->image + row * t->step_y + col * t->step_x, limit);
    double raised = (double)total * t->scale;
    if (raised > *bound)
        *bound = raised < GONE - 1 ? (uint16_t)raised : GONE - 1;
    t->evaluated++;
    return total;
}

/* The largest bound of windows that could have at most this difference. */
static uint16_t reach(const Look *t, uint64_t limit)
{
    double bound = (double)limit * t->scale * (1 + 1e-9);
    return bound < GONE - 1 ? (uint16_t)bound : GONE - 1;
}

#define LOW_SHARE 4 /* bounds are low in so small a part of those that are to be looked at */

/* The least bound of a row of windows. */
INLINE uint16_t least_of(const uint16_t *bounds, ptrdiff_t cols)
{
    uint16_t least = GONE;
    for (ptrdiff_t col = 0; col < cols; col++)
        least = bounds[col] < least ? bounds[col] : least;
    return least;
}

/* The first window of the least bound, which is returned too; -1 if all are dropped. */
INLINE ptrdiff_t least_window(const Look *t, uint16_t *least)
{
    ptrdiff_t first = -1;
    *least = GONE;
    for (ptrdiff_t row = 0; row < t->rows; row++) {
        const uint16_t *bounds = t->bounds + row * t->bounds_pitch;
        uint16_t lowest = least_of(bounds, t->cols);
        if (lowest < *least) {
            *least = lowest;
            ptrdiff_t col = 0;
            while (bounds[col] != lowest)
                col++;
            first = row * t->cols + col;
        }
    }
    return first;
}

/* Looks at the windows with bounds from `low` to `high` that could be better than the best one. */
INLINE void look_between(Look *t, ptrdiff_t first, uint16_t low, uint16_t high)
{
    uint64_t limit = t->best;
    uint16_t most = reach(t, limit) < high ? reach(t, limit) : high;
    for (ptrdiff_t row = 0; row < t->rows; row++) {
        const uint16_t *bounds = t->bounds + row * t->bounds_pitch;
        /* Most rows have no window that could be as good. */
        if (least_of(bounds, t->cols) > most)
            continue;
        for (ptrdiff_t col = 0; col < t->cols; col++) {
            if (bounds[col] > most || bounds[col] < low)
                continue;
            ptrdiff_t at = row * t->cols + col;
            int behind = t->at >= 0 && at > t->at;
            if (behind && t->best == 0)
                return;
            if (limit != t->best - (uint64_t)behind) {
                limit = t->best - (uint64_t)behind;
                most = reach(t, limit) < high ? reach(t, limit) : high;
            }
            if (at == first || bounds[col] > most)
                continue;
            if (t->compared > t->most) {
                t->done = 0;
                return;
            }
            uint64_t sum = evaluate(t, row, col, limit);
            if (sum <= limit) {
                t->best = sum;
                t->at = at;
            }
        }
    }
}

/* The best window at or below the limit, or what was found when `most` rows had been compared. The
 * window of the least bound comes first and sets the limit for the others, then those of low bounds,
 * one of which mostly excludes others. An equal difference does not suffice behind the best one. */
INLINE void look_body(Look *t)
{
    uint16_t least;
    ptrdiff_t first = least_window(t, &least);
    t->best = t->limit;
    t->at = -1;
    t->done = 1;
    if (first < 0 || least > reach(t, t->limit))
        return;
    uint64_t sum = evaluate(t, first / t->cols, first % t->cols, t->best);
    if (sum <= t->best) {
        t->best = sum;
        t->at = first;
    }
    uint16_t reached = reach(t, t->best);
    uint16_t low = reached > least ? (uint16_t)(least + (reached - least) / LOW_SHARE) : least;
    look_between(t, first, 0, low);
    if (t->done)
        look_between(t, first, (uint16_t)(low + 1), GONE - 1);
}

/* Lists all windows at or below the limit, or those found when `most` rows had been compared. */
INLINE void screen_body(Look *t)
{
    uint16_t most = reach(t, t->limit);
    t->done = 1;
    for (ptrdiff_t row = 0; row < t->rows; row++) {
        const uint16_t *bounds = t->bounds + row * t->bounds_pitch;
        if (least_of(bounds, t->cols) > most)
            continue;
        for (ptrdiff_t col = 0; col < t->cols; col++) {
            if (bounds[col] > most)
                continue;
            if (t->compared > t->most) {
                t->done = 0;
                return;
            }
            uint64_t sum = evaluate(t, row, col, t->limit);
            if (sum <= t->limit) {
                t->places[t->found] = (int32_t)(row * t->cols + col);
                t->sums[t->found++] = sum;
            }
        }
    }
}

#include "_pruned_narrow.h"

/* Values of another type as bytes: (v - low) / step, clipped to 0..255 and rounded. */
typedef struct {
    const void *values;
    ptrdiff_t count;
    double low, per_unit; /* 1 / step */
    uint8_t *out;
    int32_t most; /* the largest rounding, in 2^-ROUNDING_BITS steps, rounded up */
} Quantise;

#define ROUNDING_BITS 20

#define SHORT 256 /* values whose levels stay in the cache; loops with one branch become vectors */

#define QUANTISE(NAME, T)                                                                 \
    INLINE void NAME(Quantise *t)                                                         \
    {                                                                                     \
        const double low = t->low, per_unit = t->per_unit;                                \
        double levels[SHORT];                                                             \
        int32_t most = 0;                                                                 \
        for (ptrdiff_t first = 0; first < t->count; first += SHORT) {                     \
            ptrdiff_t n = t->count - first < SHORT ? t->count - first : SHORT;            \
            const T *values = (const T *)t->values + first;                               \
            uint8_t *out = t->out + first;                                                \
            for (ptrdiff_t i = 0; i < n; i++) {                                           \
                double level = ((double)values[i] - low) * per_unit;                      \
                levels[i] = level > 0 ? level : 0; /* NaN becomes 0 */                    \
            }                                                                             \
            for (ptrdiff_t i = 0; i < n; i++)                                             \
                levels[i] = levels[i] < 255 ? levels[i] : 255;                            \
            for (ptrdiff_t i = 0; i < n; i++) {                                           \
                int32_t nearest = (int32_t)(levels[i] + 0.5);                             \
                int32_t off = (int32_t)((levels[i] - nearest) * (1 << ROUNDING_BITS));    \
                off = off < 0 ? -off : off;                                               \
                most = most > off ? most : off;                                           \
                out[i] = (uint8_t)nearest;                                                \
            }                                                                             \
        }                                                                                 \
        t->most = most + 1;                                                               \
    }
QUANTISE(quantise_words, uint16_t)
QUANTISE(quantise_floats, float)
QUANTISE(quantise_doubles, double)

typedef struct Compare Compare;
struct Compare {
    const char *image, *kernel;
    const uint8_t *weights; /* or NULL */
    ptrdiff_t itemsize, pitch, run, height, step_y, step_x, cols; /* steps in bytes, run in values */
    const int32_t *places; /* of the windows, row * cols + col */
    ptrdiff_t count;
    int squared;
    double limit, rounding; /* how much more than the least sum could be the least */
    void *out; /* uint64 for words, double for others */
    ptrdiff_t compared;
};

/* Words: sums of integers. Squares of 16 bits fit 32 unsigned, and with weights 64. */
INLINE uint64_t words(const uint16_t *a, const uint16_t *b, const uint8_t *w, ptrdiff_t n,
                      int squared)
{
    uint64_t total = 0;
    for (ptrdiff_t first = 0; first < n; first += LIGHT) {
        ptrdiff_t last = first + LIGHT < n ? first + LIGHT : n;
        if (squared) {
            for (ptrdiff_t i = first; i < last; i++) {
                uint32_t d = (uint32_t)abs((int)a[i] - (int)b[i]);
                total += (uint64_t)(d * d) * (w ? w[i] : 1);
            }
        } else { /* LIGHT * 255 * 65535 fits 32 bits */
            uint32_t part = 0;
            for (ptrdiff_t i = first; i < last; i++)
                part += (uint32_t)abs((int)a[i] - (int)b[i]) * (w ? w[i] : 1);
            total += part;
        }
    }
    return total;
}

#define LANES 16 /* sums side by side, so that additions of floats become vectors */

#define SUM_OF(NAME, T)                                                                   \
    INLINE double NAME(const T *a, const T *b, const uint8_t *w, ptrdiff_t n, int squared)\
    {                                                                                     \
        double lanes[LANES] = {0}, total = 0;                                             \
        ptrdiff_t i = 0;                                                                  \
        for (; i + LANES <= n; i += LANES)                                                \
            for (int k = 0; k < LANES; k++) {                                             \
                double d = (double)a[i + k] - b[i + k];                                   \
                d = squared ? d * d : (d < 0 ? -d : d);                                   \
                lanes[k] += w ? d * w[i + k] : d;                                         \
            }                                                                             \
        for (; i < n; i++) {                                                              \
            double d = (double)a[i] - b[i];                                               \
            d = squared ? d * d : (d < 0 ? -d : d);                                       \
            total += w ? d * w[i] : d;                                                    \
        }                                                                                 \
        for (int k = 0; k < LANES; k++)                                                   \
            total += lanes[k];                                                            \
        return total;                                                                     \
    }
SUM_OF(floats, float)
SUM_OF(doubles, double)

/* The sums of some windows, or as much of them as passes the limit, which the least one sets. */
#define COMPARE(NAME, T, SUM, ROW)                                                        \
    INLINE void NAME(Compare *t)                                                          \
    {                                                                                     \
        double limit = t->limit;                                                          \
        for (ptrdiff_t number = 0; number < t->count; number++) {                         \
            ptrdiff_t down = t->places[number] / t->cols, across = t->places[number] % t->cols; \
            const char *window = t->image + down * t->step_y + across * t->step_x;        \
            SUM total = 0;                                                                \
            ptrdiff_t row = 0;                                                            \
            for (; row < t->height && (double)total <= limit; row++) {                    \
                const T *a = (const T *)(window + row * t->pitch);                        \
                const T *b = (const T *)t->kernel + row * t->run;                         \
                if (t->weights) {                                                         \
                    const uint8_t *w = t->weights + row * t->run;                         \
                    total += t->squared ? ROW(a, b, w, t->run, 1) : ROW(a, b, w, t->run, 0); \
                } else                                                                    \
                    total += t->squared ? ROW(a, b, NULL, t->run, 1)                      \
                                        : ROW(a, b, NULL, t->run, 0);                     \
            }                                                                             \
            double least = (double)total * (1 + 1e-9) + t->rounding;                      \
            limit = least < limit ? least : limit;                                        \
            t->compared += row;                                                           \
            ((SUM *)t->out)[number] = total;                                              \
        }                                                                                 \
    }
COMPARE(compare_words, uint16_t, uint64_t, words)
COMPARE(compare_floats, float, double, floats)
COMPARE(compare_doubles, double, double, doubles)

static void boxes_portable(const Boxes *t) { boxes_body(t); }
static void look_portable(Look *t) { look_body(t); }
static void screen_portable(Look *t) { screen_body(t); }
static void narrow_portable(Narrow *t) { narrow_body(t); }
static void quantise_words_portable(Quantise *t) { quantise_words(t); }
static void quantise_floats_portable(Quantise *t) { quantise_floats(t); }
static void quantise_doubles_portable(Quantise *t) { quantise_doubles(t); }
static void compare_words_portable(Compare *t) { compare_words(t); }
static void compare_floats_portable(Compare *t) { compare_floats(t); }
static void compare_doubles_portable(Compare *t) { compare_doubles(t); }
#if X86_VARIANTS
#define BODIES(NAME, TARGET)                                                              \
    TARGET static void boxes_##NAME(const Boxes *t) { boxes_body(t); }                    \
    TARGET static void look_##NAME(Look *t) { look_body(t); }                             \
    TARGET static void screen_##NAME(Look *t) { screen_body(t); }                         \
    TARGET static void narrow_##NAME(Narrow *t) { narrow_body(t); }                       \
    TARGET static void quantise_words_##NAME(Quantise *t) { quantise_words(t); }          \
    TARGET static void quantise_floats_##NAME(Quantise *t) { quantise_floats(t); }        \
    TARGET static void quantise_doubles_##NAME(Quantise *t) { quantise_doubles(t); }      \
    TARGET static void compare_words_##NAME(Compare *t) { compare_words(t); }             \
    TARGET static void compare_floats_##NAME(Compare *t) { compare_floats(t); }           \
    TARGET static void compare_doubles_##NAME(Compare *t) { compare_doubles(t); }
BODIES(avx512, AVX512)
BODIES(avx2, AVX2)
#endif

typedef struct {
    const char *name;
    void (*boxes)(const Boxes *);
    void (*bounds)(Bounds *);
    void (*look)(Look *);
    void (*screen)(Look *);
    void (*narrow)(Narrow *);
    /* Of values of 16 bits, float and double. */
    void (*quantise[3])(Quantise *);
    void (*compare[3])(Compare *);
    Window sad, ssd, weighted;
} Variant;

#define BODIES_OF(NAME)                                                                   \
    look_##NAME, screen_##NAME, narrow_##NAME,                                            \
        {quantise_words_##NAME, quantise_floats_##NAME, quantise_doubles_##NAME},         \
        {compare_words_##NAME, compare_floats_##NAME, compare_doubles_##NAME}

static const Variant VARIANTS[] = {
#if X86_VARIANTS
    {"avx512", boxes_avx512, bounds_avx512, BODIES_OF(avx512), sad_avx512, ssd_avx512,
     weighted_avx512},
    {"avx2", boxes_avx2, bounds_avx2, BODIES_OF(avx2), sad_avx2, ssd_avx2, weighted_avx2},
    {"sse2", boxes_portable, bounds_sse2, BODIES_OF(portable), sad_sse2, ssd_sse2,
     weighted_portable},
#endif
    {"portable", boxes_portable, bounds_portable, BODIES_OF(portable), window_portable,
     window_portable, weighted_portable},
};

static const Variant *variant(const char *name)
{
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++)
        if (strcmp(VARIANTS[i].name, name) == 0 && entry_runs_here(name))
            return &VARIANTS[i];
    return NULL;
}

/* What is asked must lie in the buffers. */
enum { BOXED, BOXES, BOXES_BUFFERS };

static const char *boxes_misfit(const Boxes *t, const Py_buffer *b)
{
    const Py_buffer *image = &b[BOXED], *out = &b[BOXES];
    if (!ENTRY_ARE_SIZES(t->pitch, t->channels, t->width, t->rows, t->stride_x, t->cell_height,
                         t->cell_width, t->row_pitch, t->phase_pitch) ||
        t->cell_height > TALLEST || t->cell_width > t->width ||
        t->cell_width > WIDEST / t->channels || t->up < 0 || t->up > 16 || t->down < 0 ||
        t->down > 31 || (t->planes != 1 && t->planes != t->channels))
        return "a size is out of range";
    ptrdiff_t run = entry_times(t->width, t->channels);
    if (run > t->pitch ||
        entry_extent(t->rows + t->cell_height - 1, t->pitch, run) > image->len)
        return "the image is smaller than its boxes";
    ptrdiff_t phase = (t->width - t->cell_width) / t->stride_x + 1;
    if (phase > t->phase_pitch || entry_times(t->stride_x, t->phase_pitch) > t->row_pitch ||
        entry_times(entry_times(t->planes, t->rows), entry_times(t->row_pitch, 2)) > out->len)
        return "the output is smaller than the boxes";
    if (!entry_is_aligned(out->buf, 2))
        return NOT_ALIGNED;
    return NULL;
}

static PyObject *boxes(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image", "pitch", "channels", "width", "planes", "cell_height",
                            "cell_width", "rows", "stride_x", "up", "down", "out", "row_pitch",
                            "phase_pitch", "variant", NULL};
    Py_buffer b[BOXES_BUFFERS] = {0};
    Py_ssize_t pitch, channels, width, planes, height, cell_width, rows, stride, row, phase;
    int up, down;
    const char *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*nnnnnnnniiw*nns", names, &b[BOXED],
                                     &pitch, &channels, &width, &planes, &height, &cell_width,
                                     &rows, &stride, &up, &down, &b[BOXES], &row, &phase, &name))
        return NULL;
    Boxes t = {b[BOXED].buf, pitch, channels, width, planes, height, cell_width, rows, stride,
               up, down, b[BOXES].buf, row, phase, NULL, NULL, NULL};
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? boxes_misfit(&t, b) : NO_VARIANT;
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        size_t reach = (size_t)(width + cell_width);
        t.runs = calloc(2 * reach, sizeof *t.runs);
        t.columns = calloc((size_t)(width * channels), sizeof *t.columns);
        if (t.runs && t.columns) {
            t.sums = t.runs + reach;
            chosen->boxes(&t);
        }
        Py_END_ALLOW_THREADS
    }
    free(t.runs);
    free(t.columns);
    if (entry_failed(b, BOXES_BUFFERS, wrong, !t.sums))
        return NULL;
    Py_RETURN_NONE;
}

enum { BOXES_OF, OFFSETS, BELOW, ABOVE, RAISED, LEAST, BOUNDS_BUFFERS };

static const char *bounds_misfit(const Bounds *t, const Py_buffer *b)
{
    const Py_buffer *boxes = &b[BOXES_OF], *offsets = &b[OFFSETS], *out = &b[RAISED];
    if (!ENTRY_ARE_SIZES(t->rows, t->cols, t->row_step, t->cells, t->out_pitch) ||
        t->doublings < 0 || t->doublings > 15)
        return "a size is out of range";
    for (int i = 0; i < BOUNDS_BUFFERS; i++)
        if (!entry_is_aligned(b[i].buf, i == OFFSETS ? 8 : 2))
            return NOT_ALIGNED;
    if (entry_overlap(out, offsets) || entry_overlap(&b[LEAST], offsets))
        return "the output lies where the offsets do";
    if (offsets->len != t->cells * 8 || b[ABOVE].len != t->cells * 2 ||
        b[BELOW].len != b[ABOVE].len)
        return "offsets and kernel have other sizes than the cells";
    ptrdiff_t padded = (t->cols + PADDING - 1) / PADDING * PADDING;
    const ptrdiff_t needed = entry_extent(t->rows, t->row_step, padded);
    if (needed > boxes->len / 2)
        return "the boxes are fewer than the windows have";
    const ptrdiff_t last = boxes->len / 2 - needed;
    for (ptrdiff_t i = 0; i < t->cells; i++)
        if (t->offsets[i] < 0 || t->offsets[i] > last)
            return "the boxes are fewer than the windows have";
    if (t->cols > t->out_pitch || entry_extent(t->rows, t->out_pitch, t->cols) > out->len / 2)
        return "the output is smaller than rows x cols";
    if (t->raises)
        return t->ratio > 0 ? NULL : "the ratio is not positive";
    if (!ENTRY_ARE_SIZES(t->block) || t->block > LARGEST_BLOCK || t->down < 0 ||
        t->down >= t->block || t->across < 0 || t->across >= t->block)
        return "a size is out of range";
    ptrdiff_t tall = (entry_plus(t->down, t->rows) - 1) / t->block + 1;
    ptrdiff_t wide = (entry_plus(t->across, t->cols) - 1) / t->block + 1;
    if (b[LEAST].len != entry_times(entry_times(tall, wide), 2))
        return "the least bounds are more or fewer than the blocks";
    return NULL;
}

static Bounds bounds_of(const Py_buffer *b)
{
    Bounds t = {0};
    t.boxes = b[BOXES_OF].buf, t.offsets = b[OFFSETS].buf;
    t.below = b[BELOW].buf, t.above = b[ABOVE].buf;
    t.cells = b[OFFSETS].len / 8;
    t.out = b[RAISED].buf, t.least = b[LEAST].buf;
    return t;
}

static PyObject *bounds(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"boxes", "offsets", "below", "above", "row_step", "rows", "cols",
                            "squared", "doublings", "out", "out_pitch", "variant", "least",
                            "block", "down", "across", NULL};
    Py_buffer b[BOUNDS_BUFFERS] = {0};
    Py_ssize_t row_step, rows, cols, pitch, block, down, across;
    int squared, doublings;
    const char *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*y*y*y*nnnpiw*nsw*nnn", names,
                                     &b[BOXES_OF], &b[OFFSETS], &b[BELOW], &b[ABOVE], &row_step,
                                     &rows, &cols, &squared, &doublings, &b[RAISED], &pitch, &name,
                                     &b[LEAST], &block, &down, &across))
        return NULL;
    Bounds t = bounds_of(b);
    t.row_step = row_step, t.rows = rows, t.cols = cols, t.out_pitch = pitch;
    t.squared = squared, t.doublings = doublings;
    t.block = block, t.down = down, t.across = across;
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? bounds_misfit(&t, b) : NO_VARIANT;
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        t.lines = malloc((size_t)cols * sizeof *t.lines);
        if (t.lines)
            chosen->bounds(&t);
        Py_END_ALLOW_THREADS
    }
    int is_short = !wrong && !t.lines;
    free(t.lines);
    if (entry_failed(b, BOUNDS_BUFFERS, wrong, is_short))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *raise_bounds(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"boxes", "offsets", "below", "above", "row_step", "rows", "cols",
                            "squared", "doublings", "out", "out_pitch", "variant", "limit",
                            "ratio", NULL};
    Py_buffer b[BOUNDS_BUFFERS] = {0};
    Py_ssize_t row_step, rows, cols, pitch;
    int squared, doublings;
    unsigned short limit;
    double ratio;
    const char *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*y*y*y*nnnpiw*nsHd", names, &b[BOXES_OF],
                                     &b[OFFSETS], &b[BELOW], &b[ABOVE], &row_step, &rows, &cols,
                                     &squared, &doublings, &b[RAISED], &pitch, &name, &limit,
                                     &ratio))
        return NULL;
    Bounds t = bounds_of(b);
    t.row_step = row_step, t.rows = rows, t.cols = cols, t.out_pitch = pitch;
    t.squared = squared, t.doublings = doublings;
    t.raises = 1, t.limit = limit, t.ratio = ratio;
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? bounds_misfit(&t, b) : NO_VARIANT;
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        chosen->bounds(&t);
        Py_END_ALLOW_THREADS
    }
    if (entry_failed(b, BOUNDS_BUFFERS, wrong, 0))
        return NULL;
    return PyLong_FromSsize_t(t.left);
}

enum { LOOKED_AT, LOOK_KERNEL, LOOK_WEIGHTS, LOOK_BOUNDS, LISTED, LISTED_SUMS, LOOK_BUFFERS };

static const char *look_misfit(const Look *t, ptrdiff_t stride_y, const Py_buffer *b)
{
    const Py_buffer *kernel = &b[LOOK_KERNEL], *weights = &b[LOOK_WEIGHTS];
    if (!ENTRY_ARE_SIZES(t->rows, t->cols, t->height, t->run, stride_y, t->step_x, t->pitch,
                         t->bounds_pitch) ||
        !(t->scale > 0))
        return "a size is out of range";
    if (kernel->len != entry_times(t->height, t->run))
        return "the kernel has another size than its rows";
    if (weights->buf && weights->len != kernel->len)
        return "the weights have another size than the kernel";
    ptrdiff_t row = entry_extent(t->cols, t->step_x, t->run);
    ptrdiff_t lines = entry_extent(t->rows, stride_y, t->height);
    if (row > t->pitch || entry_extent(lines, t->pitch, row) > b[LOOKED_AT].len)
        return "the image is smaller than its windows";
    if (t->cols > t->bounds_pitch ||
        entry_extent(t->rows, t->bounds_pitch, t->cols) > b[LOOK_BOUNDS].len / 2)
        return "the bounds are fewer than the windows";
    if (!entry_is_aligned(b[LOOK_BOUNDS].buf, 2))
        return NOT_ALIGNED;
    return NULL;
}

/* What `look` and `screen` take, held while they run. */
typedef struct {
    Py_buffer b[LOOK_BUFFERS];
    const Variant *variant;
} LookBuffers;

/* Sets up a look, with lists for `screen`; returns what is wrong, or "" where Python says so. */
static const char *look_arguments(PyObject *args, PyObject *keywords, int lists, LookBuffers *held,
                                  Look *t)
{
    static char *names[] = {"image", "pitch", "kernel", "weights", "run", "height", "stride_y",
                            "step_x", "bounds", "bounds_pitch", "rows", "cols", "squared", "scale",
                            "limit", "most", "variant", "places", "sums", NULL};
    Py_ssize_t pitch, run, height, stride_y, step_x, bounds_pitch, rows, cols, most;
    int squared;
    double scale;
    unsigned long long limit;
    const char *name;
    Py_buffer *b = held->b;
    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "y*ny*z*nnnnw*nnnpdKns|w*w*", names, &b[LOOKED_AT], &pitch,
            &b[LOOK_KERNEL], &b[LOOK_WEIGHTS], &run, &height, &stride_y, &step_x, &b[LOOK_BOUNDS],
            &bounds_pitch, &rows, &cols, &squared, &scale, &limit, &most, &name, &b[LISTED],
            &b[LISTED_SUMS])) {
        memset(held, 0, sizeof *held); /* Python has released what it had parsed */
        return "";
    }
    t->image = b[LOOKED_AT].buf, t->kernel = b[LOOK_KERNEL].buf;
    t->weights = b[LOOK_WEIGHTS].buf, t->bounds = b[LOOK_BOUNDS].buf;
    t->places = b[LISTED].buf, t->sums = b[LISTED_SUMS].buf;
    t->pitch = pitch, t->run = run, t->height = height;
    t->step_x = step_x, t->bounds_pitch = bounds_pitch, t->rows = rows, t->cols = cols;
    t->squared = squared, t->scale = scale, t->limit = limit, t->most = most;
    held->variant = variant(name);
    if (!held->variant)
        return NO_VARIANT;
    const char *wrong = look_misfit(t, stride_y, b);
    if (wrong)
        return wrong;
    /* With a single row of windows the step to the next may be larger than any image. */
    t->step_y = rows > 1 ? stride_y * pitch : 0;
    if (lists && (rows > INT32_MAX / cols || b[LISTED].len / 4 < rows * cols ||
                  b[LISTED_SUMS].len / 8 < rows * cols))
        return "the lists are smaller than the windows";
    if (!entry_is_aligned(b[LISTED].buf, 4) || !entry_is_aligned(b[LISTED_SUMS].buf, 8))
        return NOT_ALIGNED;
    t->window = t->weights ? held->variant->weighted
                : squared  ? held->variant->ssd
                           : held->variant->sad;
    return wrong;
}

static PyObject *look(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    LookBuffers held = {0};
    Look t = {0};
    const char *wrong = look_arguments(args, keywords, 0, &held, &t);
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        held.variant->look(&t);
        Py_END_ALLOW_THREADS
    }
    if (entry_failed(held.b, LOOK_BUFFERS, wrong, 0))
        return NULL;
    ptrdiff_t row = t.at < 0 ? -1 : t.at / t.cols, col = t.at < 0 ? -1 : t.at % t.cols;
    return Py_BuildValue("KnnnnN", (unsigned long long)t.best, row, col, t.evaluated, t.compared,
                         PyBool_FromLong(t.done));
}

static PyObject *screen(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    LookBuffers held = {0};
    Look t = {0};
    const char *wrong = look_arguments(args, keywords, 1, &held, &t);
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        held.variant->screen(&t);
        Py_END_ALLOW_THREADS
    }
    if (entry_failed(held.b, LOOK_BUFFERS, wrong, 0))
        return NULL;
    return Py_BuildValue("nnN", t.found, t.compared, PyBool_FromLong(t.done));
}

static PyObject *narrow(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image", "pitch", "channels", "width", "rows", "kernel",
                            "kernel_height", "kernel_width", "levels", "sums", "costs", "slack",
                            "most", "bounds", "variant", NULL};
    Py_buffer b[NARROW_BUFFERS] = {0};
    Py_ssize_t pitch, channels, width, rows, height, kernel_width, most;
    unsigned long long slack;
    const char *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*nnnny*nny*y*y*Knw*s", names, &b[NARROWED],
                                     &pitch, &channels, &width, &rows, &b[NARROW_KERNEL], &height,
                                     &kernel_width, &b[LEVELS], &b[LEVEL_SUMS], &b[COSTS], &slack, &most,
                                     &b[NARROW_BOUNDS], &name))
        return NULL;
    Narrow t = {0};
    t.levels = b[LEVELS].buf, t.sums = b[LEVEL_SUMS].buf, t.costs = b[COSTS].buf;
    t.count = b[LEVELS].len / (LEVEL * 8), t.slack = slack, t.most = most;
    t.channels = channels, t.width = width, t.kernel_width = kernel_width;
    Look *look = &t.look;
    look->image = b[NARROWED].buf, look->kernel = b[NARROW_KERNEL].buf;
    look->pitch = look->step_y = pitch, look->step_x = channels;
    look->height = height, look->rows = rows;
    look->bounds = b[NARROW_BOUNDS].buf;
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? narrow_misfit(&t, b) : NO_VARIANT;
    int is_short = 0;
    if (!wrong) {
        look->run = kernel_width * channels;
        look->cols = look->bounds_pitch = width - kernel_width + 1;
        look->window = chosen->sad;
        t.boxes = chosen->boxes, t.bounds = chosen->bounds;
        Py_BEGIN_ALLOW_THREADS
        is_short = !narrow_scratch(&t);
        if (!is_short)
            chosen->narrow(&t);
        free(t.scratch);
        Py_END_ALLOW_THREADS
    }
    if (entry_failed(b, NARROW_BUFFERS, wrong, is_short))
        return NULL;
    return Py_BuildValue("Kdnn", (unsigned long long)look->best, t.unit, t.left, look->compared);
}

/* Where a type stands in the lists of a variant, and -1 of others. */
static int number_of(const char *type)
{
    for (int i = 0; i < 3; i++)
        if (*type == "Hfd"[i] && !type[1])
            return i;
    return -1;
}

static ptrdiff_t size_of(const char *type)
{
    const int number = number_of(type);
    return number < 0 ? 0 : (ptrdiff_t)2 << number;
}

static PyObject *quantise(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"values", "type", "low", "step", "out", "variant", NULL};
    Py_buffer values, out;
    double low, step;
    const char *type, *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*sddw*s", names, &values, &type, &low,
                                     &step, &out, &name))
        return NULL;
    ptrdiff_t size = size_of(type);
    Quantise t = {values.buf, out.len, low, 1 / step, out.buf, 0};
    const Variant *chosen = variant(name);
    const char *wrong = !chosen                        ? NO_VARIANT
                        : !size || !(step > 0)         ? "a type or size is wrong"
                        : values.len / size != out.len || values.len % size
                            ? "the output has another size"
                        : !entry_is_aligned(values.buf, size) ? NOT_ALIGNED
                                                       : NULL;
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        chosen->quantise[number_of(type)](&t);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&values);
    if (entry_failed(&out, 1, wrong, 0))
        return NULL;
    return PyFloat_FromDouble((double)t.most / (1 << ROUNDING_BITS));
}

enum { COMPARED, COMPARE_KERNEL, COMPARE_WEIGHTS, COMPARE_PLACES, COMPARE_OUT, COMPARE_BUFFERS };

static const char *compare_misfit(const Compare *t, const Py_buffer *b)
{
    const Py_buffer *image = &b[COMPARED], *kernel = &b[COMPARE_KERNEL];
    const Py_buffer *weights = &b[COMPARE_WEIGHTS], *places = &b[COMPARE_PLACES];
    const Py_buffer *out = &b[COMPARE_OUT];
    if (!t->itemsize || !ENTRY_ARE_SIZES(t->height, t->run, t->step_y, t->step_x, t->cols, t->pitch) ||
        t->count < 0)
        return "a size is out of range";
    if (!entry_is_aligned(image->buf, t->itemsize) || t->pitch % t->itemsize ||
        !entry_is_aligned(kernel->buf, t->itemsize) || !entry_is_aligned(places->buf, 4) ||
        !entry_is_aligned(out->buf, 8))
        return NOT_ALIGNED;
    if (entry_overlap(out, places))
        return "the output lies where the places do";
    ptrdiff_t row = t->run * t->itemsize;
    if (kernel->len != entry_times(t->height, row) || t->pitch < row)
        return "the kernel has another size than its rows";
    if (weights->buf && weights->len != t->height * t->run)
        return "the weights have another size than the kernel";
    if (places->len / 4 < t->count || out->len / 8 < t->count)
        return "the lists are smaller than the windows";
    for (ptrdiff_t i = 0; i < t->count; i++) {
        ptrdiff_t at = t->places[i];
        if (at < 0)
            return "a window's number is negative";
        ptrdiff_t first = entry_plus(entry_times(at / t->cols, t->step_y),
                                     entry_times(at % t->cols, t->step_x));
        if (entry_plus(first, entry_extent(t->height, t->pitch, row)) > image->len)
            return "the image is smaller than its windows";
    }
    return NULL;
}

static PyObject *compare(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image", "type", "pitch", "kernel", "weights", "run", "height",
                            "stride_y", "step_x", "cols", "places", "count", "squared", "limit",
                            "rounding", "out", "variant", NULL};
    Py_buffer b[COMPARE_BUFFERS] = {0};
    Py_ssize_t pitch, run, height, stride_y, step_x, cols, count;
    int squared;
    double limit, rounding;
    const char *type, *name;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*sny*z*nnnnny*npddw*s", names, &b[COMPARED],
                                     &type, &pitch, &b[COMPARE_KERNEL], &b[COMPARE_WEIGHTS], &run,
                                     &height, &stride_y, &step_x, &cols, &b[COMPARE_PLACES],
                                     &count, &squared, &limit, &rounding, &b[COMPARE_OUT], &name))
        return NULL;
    ptrdiff_t size = size_of(type);
    Compare t = {0};
    t.image = b[COMPARED].buf, t.kernel = b[COMPARE_KERNEL].buf;
    t.weights = b[COMPARE_WEIGHTS].buf;
    t.itemsize = size, t.pitch = pitch, t.run = run, t.height = height;
    t.step_y = entry_times(stride_y, pitch), t.step_x = entry_times(step_x, size), t.cols = cols;
    t.places = b[COMPARE_PLACES].buf, t.count = count, t.squared = squared;
    t.limit = limit, t.rounding = rounding, t.out = b[COMPARE_OUT].buf;
    const Variant *chosen = variant(name);
    const char *wrong = chosen ? compare_misfit(&t, b) : NO_VARIANT;
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        chosen->compare[number_of(type)](&t);
        Py_END_ALLOW_THREADS
    }
    if (entry_failed(b, COMPARE_BUFFERS, wrong, 0))
        return NULL;
    return PyLong_FromSsize_t(t.compared);
}

ENTRY_VARIANTS(i < sizeof VARIANTS / sizeof *VARIANTS, VARIANTS[i].name,
               entry_runs_here(VARIANTS[i].name))

static PyMethodDef METHODS[] = {
    ENTRY_VARIANTS_METHOD,
    {"boxes", KEYWORDS(boxes), "Sums of cells; see the head of _pruned.c."},
    {"bounds", KEYWORDS(bounds), "Least differences of windows."},
    {"raise_bounds", KEYWORDS(raise_bounds), "Larger ones, where they could matter."},
    {"look", KEYWORDS(look), "The best of some windows at or below a limit."},
    {"screen", KEYWORDS(screen), "The windows at or below a limit."},
    {"narrow", KEYWORDS(narrow), "Bounds of all windows, as fine as pays."},
    {"quantise", KEYWORDS(quantise), "An 8-bit copy of values."},
    {"compare", KEYWORDS(compare), "The differences of some windows, of 16 bits or floats."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_pruned", NULL, 0, METHODS, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__pruned(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module && (PyModule_AddIntConstant(module, "PADDING", PADDING) < 0 ||
                   PyModule_AddIntConstant(module, "GONE", GONE) < 0 ||
                   PyModule_AddIntConstant(module, "GROUP", GROUP) < 0 ||
                   PyModule_AddIntConstant(module, "TALLEST", TALLEST) < 0))
        Py_CLEAR(module);
    return module;
}
