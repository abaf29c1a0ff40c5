/* Sums of pixels and of their squares over every window, exact, in one pass over the image.
 *
 * moments(image, type, pitch, channels, height, width, stride_y, stride_x, rows, cols,
 *         constants, weights, spread, means), by position or keyword
 *
 * image      uint8 ("B") or uint16 ("H"), rows of [W, C] values, `pitch` bytes apart
 * constants  int64 [C]: a = pixel - constant
 * weights    int64 [C], or empty
 * spread     double [rows, cols]: E = sum a^2 over channels or, with weights, n E - sum S^2, where
 *            n are the window's pixels and S = sum a for each channel
 * means      int64 [rows, cols], with weights: sum of S x weight over the channels; else empty
 *
 * Columns as high as the window are kept: a row is added below and one taken off above. Along a
 * row the window's sum gains a column on the right and loses one on the left.
 */
#include "../machine/_entries.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CHANNELS 64
#define TALLEST 65000 /* rows of bytes whose squares a column of 32 bits can hold */

typedef struct {
    const uint8_t *image;
    ptrdiff_t pitch, channels, height, width, stride_y, stride_x, rows, cols;
    const int64_t *constants, *weights; /* weights NULL: energies alone */
    double *spread;
    int64_t *means;
} Task;

/* Beyond this a difference of products is taken from doubles: 64 bits could have overflowed. */
#define FITS 4611686018427387904.0

/* Of a window whose channels sum to `sums` and whose squares sum to `squares`. */
static inline void put(const Task *t, ptrdiff_t cell, const int64_t *sums, uint64_t squares,
                       ptrdiff_t channels)
{
    /* All modulo 2^64, so that a constant or weight that no picture has overflows nothing; of_sums,
     * as the product below: their difference is right. */
    uint64_t count = (uint64_t)(t->height * t->width), modular = squares, means = 0, of_sums = 0;
    double rounded = 0;
    for (ptrdiff_t c = 0; c < channels; c++) {
        const uint64_t constant = (uint64_t)t->constants[c];
        modular += constant * (count * constant - 2 * (uint64_t)sums[c]);
    }
    const int64_t energy = (int64_t)modular;
    if (!t->weights) {
        t->spread[cell] = (double)energy;
        return;
    }
    for (ptrdiff_t c = 0; c < channels; c++) {
        const int64_t sum = (int64_t)((uint64_t)sums[c] - count * (uint64_t)t->constants[c]);
        means += (uint64_t)sum * (uint64_t)t->weights[c];
        of_sums += (uint64_t)sum * (uint64_t)sum;
        rounded -= (double)sum * (double)sum;
    }
    rounded += (double)count * (double)energy;
    t->spread[cell] = rounded < FITS
                          ? (double)(int64_t)(count * (uint64_t)energy - of_sums)
                          : rounded;
    t->means[cell] = (int64_t)means;
}

/* Columns of uint8 fit 32 bits, up to TALLEST; those of uint16 take 64. */
#define COLUMNS(NAME, PIXEL, SUM)                                                         \
    static void NAME##_add(const uint8_t *row, ptrdiff_t n, SUM *sums, SUM *squares)      \
    {                                                                                     \
        const PIXEL *p = (const PIXEL *)row;                                              \
        for (ptrdiff_t i = 0; i < n; i++) {                                               \
            sums[i] += p[i];                                                              \
            squares[i] += (SUM)p[i] * p[i];                                               \
        }                                                                                 \
    }                                                                                     \
    static void NAME##_move(const uint8_t *below, const uint8_t *above, ptrdiff_t n,      \
                            SUM *sums, SUM *squares)                                      \
    {                                                                                     \
        const PIXEL *p = (const PIXEL *)below, *q = (const PIXEL *)above;                 \
        for (ptrdiff_t i = 0; i < n; i++) {                                               \
            sums[i] += (SUM)p[i] - q[i];                                                  \
            squares[i] += (SUM)p[i] * p[i] - (SUM)q[i] * q[i];                            \
        }                                                                                 \
    }                                                                                     \
    static inline void NAME##_row(const Task *t, ptrdiff_t row, const SUM *sums,          \
                                  const SUM *squares, ptrdiff_t channels)                 \
    {                                                                                     \
        int64_t run[MOST_CHANNELS] = {0};                                                 \
        uint64_t square = 0;                                                              \
        ptrdiff_t reach = t->width * channels;                                            \
        for (ptrdiff_t i = 0; i < reach; i += channels)                                   \
            for (ptrdiff_t c = 0; c < channels; c++) {                                    \
                run[c] += sums[i + c];                                                    \
                square += squares[i + c];                                                 \
            }                                                                             \
        put(t, row * t->cols, run, square, channels);                                     \
        for (ptrdiff_t col = 1, i = 0; col < t->cols; col++) {                            \
            for (ptrdiff_t s = 0; s < t->stride_x; s++, i += channels)                    \
                for (ptrdiff_t c = 0; c < channels; c++) {                                \
                    run[c] += (int64_t)sums[i + reach + c] - (int64_t)sums[i + c];        \
                    square += (uint64_t)squares[i + reach + c] - squares[i + c];          \
                }                                                                         \
            put(t, row * t->cols + col, run, square, channels);                           \
        }                                                                                 \
    }                                                                                     \
    static int NAME(const Task *t)                                                        \
    {                                                                                     \
        ptrdiff_t n = ((t->cols - 1) * t->stride_x + t->width) * t->channels, top = 0;    \
        SUM *sums = calloc((size_t)n, 2 * sizeof(SUM)), *squares = sums + n;              \
        if (!sums)                                                                        \
            return -1;                                                                    \
        for (ptrdiff_t y = 0; y < t->height; y++)                                         \
            NAME##_add(t->image + y * t->pitch, n, sums, squares);                        \
        for (ptrdiff_t row = 0; row < t->rows; row++) {                                   \
            for (; top < row * t->stride_y; top++)                                        \
                NAME##_move(t->image + (top + t->height) * t->pitch,                      \
                            t->image + top * t->pitch, n, sums, squares);                 \
            /* A constant number of channels keeps the sums in registers. */              \
            if (t->channels == 1)                                                         \
                NAME##_row(t, row, sums, squares, 1);                                     \
            else if (t->channels == 3)                                                    \
                NAME##_row(t, row, sums, squares, 3);                                     \
            else                                                                          \
                NAME##_row(t, row, sums, squares, t->channels);                           \
        }                                                                                 \
        free(sums);                                                                       \
        return 0;                                                                         \
    }

COLUMNS(moments_u8, uint8_t, uint32_t)
COLUMNS(moments_u16, uint16_t, uint64_t)

enum { IMAGE, CONSTANTS, WEIGHTS, SPREAD, MEANS, BUFFERS };

/* What is asked must lie in the buffers. */
static const char *misfit(const Task *t, ptrdiff_t item, const Py_buffer *b)
{
    if (item == 0)
        return "type is not one of B, H";
    if (!ENTRY_ARE_SIZES(t->channels, t->height, t->width, t->stride_y, t->stride_x, t->rows,
                         t->cols, t->pitch) ||
        t->channels > MOST_CHANNELS || t->height > TALLEST)
        return "a size is out of range";
    ptrdiff_t row = entry_times(entry_extent(t->cols, t->stride_x, t->width), t->channels * item);
    ptrdiff_t lines = entry_extent(t->rows, t->stride_y, t->height);
    if (row > t->pitch || entry_extent(lines, t->pitch, row) > b[IMAGE].len)
        return "the image is smaller than its windows";
    if (t->pitch % item)
        return "an array's values do not lie at multiples of their size";
    for (int i = 0; i < BUFFERS; i++)
        if (!entry_is_aligned(b[i].buf, i == IMAGE ? item : 8))
            return "an array's values do not lie at multiples of their size";
    ptrdiff_t cells = entry_times(entry_times(t->rows, t->cols), 8);
    if (b[CONSTANTS].len != t->channels * 8 ||
        (b[WEIGHTS].len && b[WEIGHTS].len != t->channels * 8))
        return "constants or weights have another size than the channels";
    if (b[SPREAD].len != cells || b[MEANS].len != (b[WEIGHTS].len ? cells : 0))
        return "an output has another size than rows x cols";
    return NULL;
}

static PyObject *moments(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image",     "type",    "pitch",    "channels", "height",
                            "width",     "stride_y", "stride_x", "rows",     "cols",
                            "constants", "weights", "spread",   "means",    NULL};
    Py_buffer b[BUFFERS] = {0};
    const char *type;
    Py_ssize_t pitch, channels, height, width, stride_y, stride_x, rows, cols;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*snnnnnnnny*y*w*w*", names, &b[IMAGE],
                                     &type, &pitch, &channels, &height, &width, &stride_y,
                                     &stride_x, &rows, &cols, &b[CONSTANTS], &b[WEIGHTS],
                                     &b[SPREAD], &b[MEANS]))
        return NULL;
    Task t = {b[IMAGE].buf, pitch, channels, height, width, stride_y, stride_x, rows, cols,
              b[CONSTANTS].buf, b[WEIGHTS].len ? b[WEIGHTS].buf : NULL, b[SPREAD].buf,
              b[MEANS].buf};
    ptrdiff_t item = strcmp(type, "B") == 0 ? 1 : strcmp(type, "H") == 0 ? 2 : 0;
    const char *wrong = misfit(&t, item, b);
    int failed = 0;
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        failed = item == 1 ? moments_u8(&t) : moments_u16(&t);
        Py_END_ALLOW_THREADS
    }
    if (entry_failed(b, BUFFERS, wrong, failed))
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"moments", KEYWORDS(moments), "Sums over windows; see the head of _moments.c."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_moments", NULL, 0, METHODS, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__moments(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module && (PyModule_AddIntConstant(module, "MOST_CHANNELS", MOST_CHANNELS) < 0 ||
                   PyModule_AddIntConstant(module, "TALLEST", TALLEST) < 0))
        Py_CLEAR(module);
    return module;
}
