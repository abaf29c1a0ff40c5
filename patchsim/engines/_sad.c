/* Sums of absolute differences between a kernel and every window of an image.
 *
 * sums(image, width, channels, kernel, kernel_width, stride_y, stride_x, rows, cols, out, variant)
 *
 * image   uint8, uint16 or float32, C-contiguous [H, W, C], followed by PADDING readable bytes
 * kernel  the same type, C-contiguous [h, w, C], its rows padded with zeros to ROW_MULTIPLE bytes
 * out     uint64, or double for float32, C-contiguous [rows, cols]; every cell is written
 *
 * A window's row is a run of w C values, so a window is h runs. For bytes the instruction psadbw
 * sums 8 differences a lane; a block of BLOCK_ROWS x BLOCK_COLS windows is summed at once, so that
 * a load of an image run serves several kernel rows and a load of a kernel row several windows.
 *
 * Only the limited API and the buffer protocol are used, and the GIL is released.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define X86_VARIANTS 1
#include <immintrin.h>
#else
#define X86_VARIANTS 0
#endif

#define PADDING 64      /* a vector may be loaded from the last byte of the image */
#define ROW_MULTIPLE 64 /* kernel rows are read in whole vectors */
#define BLOCK_COLS 4

typedef struct {
    const uint8_t *image;   /* first byte of the first window */
    const uint8_t *kernel;
    ptrdiff_t pitch;        /* bytes from image row to image row */
    ptrdiff_t kernel_pitch; /* bytes from kernel row to kernel row */
    ptrdiff_t run;          /* bytes of a window's row that count */
    ptrdiff_t height;       /* kernel rows */
    ptrdiff_t step_y;       /* bytes from a window to the one below, and to the right */
    ptrdiff_t step_x;
    ptrdiff_t stride_y;     /* image rows from a window to the one below */
    ptrdiff_t rows, cols;
} Task;

/* Portable: one window at a time; what the variants are tested against. */

/* Parts of a run whose sum fits 32 bits: 32,768 differences of up to 16 bits. */
#define CHUNK 32768

static uint64_t window_u8(const Task *t, const uint8_t *window)
{
    uint64_t total = 0;
    for (ptrdiff_t i = 0; i < t->height; i++) {
        const uint8_t *a = window + i * t->pitch, *b = t->kernel + i * t->kernel_pitch;
        for (ptrdiff_t first = 0; first < t->run; first += CHUNK) {
            ptrdiff_t last = first + CHUNK < t->run ? first + CHUNK : t->run;
            uint32_t part = 0;
            for (ptrdiff_t j = first; j < last; j++)
                part += (uint32_t)(a[j] > b[j] ? a[j] - b[j] : b[j] - a[j]);
            total += part;
        }
    }
    return total;
}

static void sums_u8_portable(const Task *t, uint64_t *out)
{
    for (ptrdiff_t r = 0; r < t->rows; r++)
        for (ptrdiff_t c = 0; c < t->cols; c++)
            out[r * t->cols + c] = window_u8(t, t->image + r * t->step_y + c * t->step_x);
}

/* The compiler makes vectors of these loops; lanes are summed apart, since it may not reorder the
 * sums of floats. */
#define LANES 16
#define BODY_U16                                                                          \
    for (ptrdiff_t r = 0; r < t->rows; r++)                                               \
        for (ptrdiff_t c = 0; c < t->cols; c++) {                                         \
            const uint8_t *window = t->image + r * t->step_y + c * t->step_x;             \
            ptrdiff_t n = t->run / 2;                                                     \
            uint64_t total = 0;                                                           \
            for (ptrdiff_t i = 0; i < t->height; i++) {                                   \
                const uint16_t *a = (const uint16_t *)(window + i * t->pitch);            \
                const uint16_t *b = (const uint16_t *)(t->kernel + i * t->kernel_pitch);  \
                for (ptrdiff_t first = 0; first < n; first += CHUNK) {                    \
                    ptrdiff_t last = first + CHUNK < n ? first + CHUNK : n;               \
                    uint32_t part = 0;                                                    \
                    for (ptrdiff_t j = first; j < last; j++)                              \
                        part += (uint32_t)(a[j] > b[j] ? a[j] - b[j] : b[j] - a[j]);      \
                    total += part;                                                        \
                }                                                                         \
            }                                                                             \
            out[r * t->cols + c] = total;                                                 \
        }

#define BODY_F32                                                                          \
    for (ptrdiff_t r = 0; r < t->rows; r++)                                               \
        for (ptrdiff_t c = 0; c < t->cols; c++) {                                         \
            const uint8_t *window = t->image + r * t->step_y + c * t->step_x;             \
            ptrdiff_t n = t->run / 4;                                                     \
            double lanes[LANES] = {0}, total = 0;                                         \
            for (ptrdiff_t i = 0; i < t->height; i++) {                                   \
                const float *a = (const float *)(window + i * t->pitch);                  \
                const float *b = (const float *)(t->kernel + i * t->kernel_pitch);        \
                ptrdiff_t j = 0;                                                          \
                for (; j + LANES <= n; j += LANES)                                        \
                    for (int k = 0; k < LANES; k++)                                       \
                        lanes[k] += fabs((double)a[j + k] - (double)b[j + k]);            \
                for (; j < n; j++)                                                        \
                    total += fabs((double)a[j] - (double)b[j]);                           \
            }                                                                             \
            for (int k = 0; k < LANES; k++)                                               \
                total += lanes[k];                                                        \
            out[r * t->cols + c] = total;                                                 \
        }

static void sums_u16_portable(const Task *t, uint64_t *out) { BODY_U16 }
static void sums_f32_portable(const Task *t, double *out) { BODY_F32 }

#if X86_VARIANTS

__attribute__((target("avx2"))) static void sums_u16_avx2(const Task *t, uint64_t *out)
{
    BODY_U16
}
__attribute__((target("avx2"))) static void sums_f32_avx2(const Task *t, double *out)
{
    BODY_F32
}
__attribute__((target("avx512f,avx512bw,avx512vl,prefer-vector-width=512"))) static void
sums_u16_avx512(const Task *t, uint64_t *out)
{
    BODY_U16
}
__attribute__((target("avx512f,avx512bw,avx512vl,prefer-vector-width=512"))) static void
sums_f32_avx512(const Task *t, double *out)
{
    BODY_F32
}

/* The tail of a run is cut off the image by a mask; the kernel is zero there already. */
static const uint8_t MASKS[128] = {
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
};

/* One vector of each of the block's windows in image row y (counted from the block's first) at
 * byte j of the run, against the kernel rows that meet that image row. */
#define BLOCK_STEP(V, LOAD, AND, SAD, ADD, low, high)                                     \
    do {                                                                                  \
        V pixels[BLOCK_COLS];                                                             \
        for (int c = 0; c < BLOCK_COLS; c++) {                                            \
            pixels[c] = LOAD(row + c * t->step_x + j);                                    \
            if (tail)                                                                     \
                pixels[c] = AND(pixels[c], mask);                                         \
        }                                                                                 \
        for (int r = (low); r < (high); r++) {                                            \
            V taps = LOAD(t->kernel + (y - r * t->stride_y) * t->kernel_pitch + j);       \
            for (int c = 0; c < BLOCK_COLS; c++)                                          \
                total[r][c] = ADD(total[r][c], SAD(pixels[c], taps));                     \
        }                                                                                 \
    } while (0)

#define ROW_STEPS(V, BYTES, LOAD, AND, SAD, ADD, low, high)                               \
    do {                                                                                  \
        const uint8_t *row = first + y * t->pitch;                                        \
        ptrdiff_t j = 0;                                                                  \
        {                                                                                 \
            const int tail = 0;                                                           \
            for (; j + BYTES <= t->run; j += BYTES)                                       \
                BLOCK_STEP(V, LOAD, AND, SAD, ADD, low, high);                            \
        }                                                                                 \
        if (j < t->run) {                                                                 \
            const int tail = 1;                                                           \
            BLOCK_STEP(V, LOAD, AND, SAD, ADD, low, high);                                \
        }                                                                                 \
    } while (0)

/* Window row ONE of the block alone; a constant, so that its totals stay in registers. */
#define EDGE(ONE, V, BYTES, LOAD, AND, SAD, ADD)                                          \
    do {                                                                                  \
        ptrdiff_t meets = y - ONE * t->stride_y;                                          \
        if (ONE < BLOCK_ROWS && meets >= 0 && meets < t->height)                          \
            ROW_STEPS(V, BYTES, LOAD, AND, SAD, ADD, ONE, ONE + 1);                       \
    } while (0)

/* Image row y meets kernel row y - r stride_y of window row r, if there is one. Where it meets all
 * of the block's window rows, in most of the work, the loop over them is unrolled. */
#define SUMS_U8(NAME, TARGET, ROWS, V, BYTES, LOAD, AND, SAD, ADD, ZERO, REDUCE)          \
    __attribute__((target(TARGET))) static void NAME(const Task *t, uint64_t *out)        \
    {                                                                                     \
        enum { BLOCK_ROWS = ROWS }; /* as many as the registers hold */                   \
        const V mask = LOAD(MASKS + 64 - t->run % BYTES);                                 \
        ptrdiff_t whole_rows = t->rows - t->rows % BLOCK_ROWS;                            \
        ptrdiff_t whole_cols = t->cols - t->cols % BLOCK_COLS;                            \
        ptrdiff_t reach = (BLOCK_ROWS - 1) * t->stride_y + t->height;                     \
        for (ptrdiff_t top = 0; top < whole_rows; top += BLOCK_ROWS)                      \
            for (ptrdiff_t left = 0; left < whole_cols; left += BLOCK_COLS) {             \
                const uint8_t *first = t->image + top * t->step_y + left * t->step_x;     \
                V total[BLOCK_ROWS][BLOCK_COLS];                                          \
                for (int r = 0; r < BLOCK_ROWS; r++)                                      \
                    for (int c = 0; c < BLOCK_COLS; c++)                                  \
                        total[r][c] = ZERO();                                             \
                for (ptrdiff_t y = 0; y < reach; y++) {                                   \
                    if (y >= (BLOCK_ROWS - 1) * t->stride_y && y < t->height) {           \
                        ROW_STEPS(V, BYTES, LOAD, AND, SAD, ADD, 0, BLOCK_ROWS);          \
                        continue;                                                         \
                    }                                                                     \
                    EDGE(0, V, BYTES, LOAD, AND, SAD, ADD);                               \
                    EDGE(1, V, BYTES, LOAD, AND, SAD, ADD);                               \
                    EDGE(2, V, BYTES, LOAD, AND, SAD, ADD);                               \
                    EDGE(3, V, BYTES, LOAD, AND, SAD, ADD);                               \
                }                                                                         \
                for (int r = 0; r < BLOCK_ROWS; r++)                                      \
                    for (int c = 0; c < BLOCK_COLS; c++)                                  \
                        out[(top + r) * t->cols + left + c] = REDUCE(total[r][c]);        \
            }                                                                             \
        for (ptrdiff_t r = 0; r < t->rows; r++)                                           \
            for (ptrdiff_t c = r < whole_rows ? whole_cols : 0; c < t->cols; c++) {       \
                const uint8_t *window = t->image + r * t->step_y + c * t->step_x;         \
                V alone = ZERO();                                                         \
                for (ptrdiff_t i = 0; i < t->height; i++) {                               \
                    const uint8_t *a = window + i * t->pitch;                             \
                    const uint8_t *b = t->kernel + i * t->kernel_pitch;                   \
                    ptrdiff_t j = 0;                                                      \
                    for (; j + BYTES <= t->run; j += BYTES)                               \
                        alone = ADD(alone, SAD(LOAD(a + j), LOAD(b + j)));                \
                    if (j < t->run)                                                       \
                        alone = ADD(alone, SAD(AND(LOAD(a + j), mask), LOAD(b + j)));     \
                }                                                                         \
                out[r * t->cols + c] = REDUCE(alone);                                     \
            }                                                                             \
    }

#define LOAD128(p) _mm_loadu_si128((const __m128i *)(p))
#define LOAD256(p) _mm256_loadu_si256((const __m256i *)(p))
#define LOAD512(p) _mm512_loadu_si512((const void *)(p))

static inline uint64_t reduce128(__m128i v)
{
    uint64_t lanes[2];
    _mm_storeu_si128((__m128i *)lanes, v);
    return lanes[0] + lanes[1];
}
__attribute__((target("avx2"))) static inline uint64_t reduce256(__m256i v)
{
    return reduce128(_mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}
__attribute__((target("avx512f"))) static inline uint64_t reduce512(__m512i v)
{
    return (uint64_t)_mm512_reduce_add_epi64(v);
}

SUMS_U8(sums_u8_sse2, "sse2", 2, __m128i, 16, LOAD128, _mm_and_si128, _mm_sad_epu8, _mm_add_epi64,
        _mm_setzero_si128, reduce128)
SUMS_U8(sums_u8_avx2, "avx2", 2, __m256i, 32, LOAD256, _mm256_and_si256, _mm256_sad_epu8,
        _mm256_add_epi64, _mm256_setzero_si256, reduce256)
SUMS_U8(sums_u8_avx512, "avx512f,avx512bw", 4, __m512i, 64, LOAD512, _mm512_and_si512,
        _mm512_sad_epu8, _mm512_add_epi64, _mm512_setzero_si512, reduce512)

#endif

typedef void (*SumsInteger)(const Task *, uint64_t *);
typedef void (*SumsFloat)(const Task *, double *);

typedef struct {
    const char *name;
    SumsInteger u8, u16;
    SumsFloat f32;
} Variant;

/* Best first. */
static const Variant VARIANTS[] = {
#if X86_VARIANTS
    {"avx512", sums_u8_avx512, sums_u16_avx512, sums_f32_avx512},
    {"avx2", sums_u8_avx2, sums_u16_avx2, sums_f32_avx2},
    {"sse2", sums_u8_sse2, sums_u16_portable, sums_f32_portable},
#endif
    {"portable", sums_u8_portable, sums_u16_portable, sums_f32_portable},
};
#define VARIANT_COUNT ((int)(sizeof VARIANTS / sizeof VARIANTS[0]))

static int runs_here(const char *name)
{
#if X86_VARIANTS
    __builtin_cpu_init();
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl");
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") != 0;
#endif
    (void)name;
    return 1;
}

static PyObject *variants(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    PyObject *names = PyList_New(0);
    for (int i = 0; names && i < VARIANT_COUNT; i++) {
        if (!runs_here(VARIANTS[i].name))
            continue;
        PyObject *name = PyUnicode_FromString(VARIANTS[i].name);
        if (!name || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

/* What is asked must lie in the buffers; a mistake of the caller must not read or write beyond. */
static const char *misfit(const Task *t, ptrdiff_t item, ptrdiff_t image_bytes,
                          ptrdiff_t kernel_bytes, ptrdiff_t out_bytes)
{
    if (item == 0)
        return "type is not one of B, H, f";
    if (t->rows < 1 || t->cols < 1 || t->height < 1 || t->run < 1 || t->stride_y < 1 ||
        t->step_x < 1)
        return "a size is not positive";
    if (t->run > t->kernel_pitch || t->kernel_pitch % ROW_MULTIPLE ||
        kernel_bytes < t->height * t->kernel_pitch)
        return "the kernel is smaller than its size says";
    ptrdiff_t last_row = (t->rows - 1) * t->stride_y + t->height - 1;
    ptrdiff_t last = last_row * t->pitch + (t->cols - 1) * t->step_x + t->run;
    if ((t->cols - 1) * t->step_x + t->run > t->pitch || last + PADDING > image_bytes)
        return "the image is smaller than its windows";
    if (out_bytes != t->rows * t->cols * 8)
        return "the output has another size than rows x cols";
    return NULL;
}

static PyObject *sums(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer image, kernel, out;
    Py_ssize_t pitch, kernel_pitch, run, height, stride_y, step_x, rows, cols;
    const char *type, *name;
    if (!PyArg_ParseTuple(args, "y*y*w*snnnnnnnns", &image, &kernel, &out, &type, &pitch,
                          &kernel_pitch, &run, &height, &stride_y, &step_x, &rows, &cols, &name))
        return NULL;
    Task task = {image.buf, kernel.buf, pitch, kernel_pitch, run,  height,
                 stride_y * pitch, step_x, stride_y, rows, cols};
    ptrdiff_t item = *type == 'B' ? 1 : *type == 'H' ? 2 : *type == 'f' ? 4 : 0;
    const char *wrong = misfit(&task, item, image.len, kernel.len, out.len);
    const Variant *chosen = NULL;
    for (int i = 0; i < VARIANT_COUNT; i++)
        if (strcmp(VARIANTS[i].name, name) == 0 && runs_here(name))
            chosen = &VARIANTS[i];
    if (!wrong && !chosen)
        wrong = "this processor has no such variant";
    if (wrong) {
        PyErr_Format(PyExc_ValueError, "%s", wrong);
    } else {
        Py_BEGIN_ALLOW_THREADS
        if (item == 1)
            chosen->u8(&task, out.buf);
        else if (item == 2)
            chosen->u16(&task, out.buf);
        else
            chosen->f32(&task, out.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&image);
    PyBuffer_Release(&kernel);
    PyBuffer_Release(&out);
    if (wrong)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"sums", sums, METH_VARARGS, "Sums of absolute differences; see the head of _sad.c."},
    {"variants", variants, METH_NOARGS, "Names of the variants that run here, best first."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_sad", NULL, 0, METHODS, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__sad(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module && (PyModule_AddIntConstant(module, "PADDING", PADDING) < 0 ||
                   PyModule_AddIntConstant(module, "ROW_MULTIPLE", ROW_MULTIPLE) < 0))
        Py_CLEAR(module);
    return module;
}
