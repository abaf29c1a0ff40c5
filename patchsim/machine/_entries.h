/* What every entry of a C extension shares: it checks what its caller gives before it reads or
 * writes, because a mistake of the caller must not reach beyond the buffers.
 *
 * Sizes are multiplied and added by entry_times and entry_plus alone, which saturate: what does not
 * fit in 63 bits is larger than every buffer, and so is what a negative size makes.
 *
 * An extension reads and writes its values by their types, so that their addresses must be
 * multiples of their sizes. NumPy's arrays are, unless they were made otherwise on purpose;
 * `pictures/arrays.py` copies those.
 */
#ifndef PATCHSIM_ENTRIES_H
#define PATCHSIM_ENTRIES_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ENTRY_TOO_LARGE PTRDIFF_MAX
/* Of values, rows, steps and what else a caller counts. What is allocated for them, some bytes
 * each, is counted in 64 bits without a check of its own. */
#define ENTRY_MOST ((ptrdiff_t)1 << 40)

static inline ptrdiff_t entry_times(ptrdiff_t a, ptrdiff_t b)
{
    if (a < 0 || b < 0 || (b > 0 && a > ENTRY_TOO_LARGE / b))
        return ENTRY_TOO_LARGE;
    return a * b;
}

static inline ptrdiff_t entry_plus(ptrdiff_t a, ptrdiff_t b)
{
    return a < 0 || b < 0 || a > ENTRY_TOO_LARGE - b ? ENTRY_TOO_LARGE : a + b;
}

/* Bytes from the first of some windows to behind the last: `windows` lie a step apart, the last one
 * takes `own`. */
static inline ptrdiff_t entry_extent(ptrdiff_t windows, ptrdiff_t step, ptrdiff_t own)
{
    return entry_plus(entry_times(windows - 1, step), own);
}

static inline int entry_are_sizes_of(const ptrdiff_t *sizes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (sizes[i] < 1 || sizes[i] > ENTRY_MOST)
            return 0;
    return 1;
}

/* Whether all of some sizes are from 1 to ENTRY_MOST. */
#define ENTRY_ARE_SIZES(...)                                                              \
    entry_are_sizes_of((const ptrdiff_t[]){__VA_ARGS__},                                  \
                       sizeof(const ptrdiff_t[]){__VA_ARGS__} / sizeof(ptrdiff_t))

/* A positive stride, or a smaller one that takes the same steps in so many values: one step. */
static inline ptrdiff_t entry_stride(ptrdiff_t stride, ptrdiff_t length)
{
    return stride < length ? stride : length;
}

static inline int has_format(const Py_buffer *buffer, const char *format)
{
    return strcmp(buffer->format ? buffer->format : "B", format) == 0;
}

/* Whether the bytes from an address on may be read as values of so many bytes. */
static inline int entry_is_aligned(const void *address, ptrdiff_t item)
{
    return (uintptr_t)address % (uintptr_t)item == 0;
}

/* Why the values of a buffer cannot be read by their type, or NULL. It has a shape; strides, where
 * it has these, may make it larger than its memory. */
static inline const char *entry_misfit(const Py_buffer *buffer)
{
    ptrdiff_t values = 1;
    for (int axis = 0; axis < buffer->ndim && buffer->shape; axis++) {
        values = entry_times(values, buffer->shape[axis]);
        if (buffer->strides && buffer->itemsize > 1 && buffer->shape[axis] > 1 &&
            buffer->strides[axis] % buffer->itemsize)
            return "an array's values do not lie at multiples of their size";
        if (buffer->shape[axis] > ENTRY_MOST)
            return "an array is too large";
    }
    if (values > ENTRY_MOST)
        return "an array is too large";
    /* Up to 8 bytes: the alignment of the largest type that is read. */
    if (buffer->itemsize > 1 && buffer->itemsize <= 8 &&
        !entry_is_aligned(buffer->buf, buffer->itemsize))
        return "an array's values do not lie at multiples of their size";
    return NULL;
}

/* Whether two buffers without gaps share memory: an output must not change what was checked. */
static inline int entry_overlap(const Py_buffer *a, const Py_buffer *b)
{
    const uintptr_t one = (uintptr_t)a->buf, other = (uintptr_t)b->buf;
    return a->len > 0 && b->len > 0 && one < other + (uintptr_t)b->len &&
           other < one + (uintptr_t)a->len;
}

/* Releases those of some buffers that are held; the others are zero. */
static inline void entry_release(Py_buffer *buffers, int count)
{
    for (int i = 0; i < count; i++)
        if (buffers[i].obj)
            PyBuffer_Release(&buffers[i]);
}

/* Ends a call: releases its buffers and returns whether it failed, with the exception set. It did
 * if something is wrong, "" where Python has said what, or if memory did not suffice. */
static inline int entry_failed(Py_buffer *buffers, int count, const char *wrong, int lacks_memory)
{
    entry_release(buffers, count);
    if (wrong && *wrong)
        PyErr_Format(PyExc_ValueError, "%s", wrong);
    else if (!wrong && lacks_memory)
        PyErr_NoMemory();
    return wrong || lacks_memory;
}

/* Whether this processor runs a variant of that name; those of other names run on all. */
static inline int entry_runs_here(const char *name)
{
#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") != 0;
#endif
    (void)name;
    return 1;
}

static inline void entry_append_name(PyObject **names, const char *text)
{
    PyObject *name = PyUnicode_FromString(text);
    if (!name || PyList_Append(*names, name) < 0)
        Py_CLEAR(*names);
    Py_XDECREF(name);
}

/* Define `variants`, an entry that returns the names of the variants that run here, best first.
 * The arguments are expressions of a variant's number i: whether there is one of that number, its
 * name, and whether it runs here. */
#define ENTRY_VARIANTS(is_there, name, runs_here)                                         \
    static PyObject *variants(PyObject *self, PyObject *unused)                           \
    {                                                                                     \
        (void)self, (void)unused;                                                         \
        PyObject *names = PyList_New(0);                                                  \
        for (size_t i = 0; names && (is_there); i++)                                      \
            if (runs_here)                                                                \
                entry_append_name(&names, name);                                          \
        return names;                                                                     \
    }

/* Its line in the table of methods. */
#define ENTRY_VARIANTS_METHOD                                                             \
    {"variants", variants, METH_NOARGS, "Names of the variants that run here, best first."}

/* An entry of a method table whose arguments travel by keyword. */
#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

#endif
