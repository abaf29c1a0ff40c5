/* Python's way to _sad.h, through the limited API and the buffer protocol; the GIL is released. */
#include "../machine/_entries.h"

#include "_sad.h"

#include <string.h>

ENTRY_VARIANTS(SAD_VARIANTS[i], SAD_VARIANTS[i]->name, SAD_VARIANTS[i]->runs_here())

/* The variant of that name, or NULL with an exception. */
static const Variant *wanted(const char *name)
{
    const Variant *variant = sad_variant(name);
    if (!variant)
        PyErr_Format(PyExc_ValueError, "this processor has no variant %s", name);
    return variant;
}

static PyObject *roundings(PyObject *self, PyObject *args)
{
    (void)self;
    const char *name;
    const Variant *variant;
    if (!PyArg_ParseTuple(args, "s", &name) || !(variant = wanted(name)))
        return NULL;
    return PyLong_FromLong(variant->roundings);
}

static PyObject *peak(PyObject *self, PyObject *args)
{
    (void)self;
    const char *name;
    Py_ssize_t rounds;
    const Variant *variant;
    if (!PyArg_ParseTuple(args, "sn", &name, &rounds) || !(variant = wanted(name)))
        return NULL;
    if (rounds < 0 || rounds > 1 << 20) /* nothing ends it before */
        return PyErr_Format(PyExc_ValueError, "the number of rounds is out of range");
    double differences = 0;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; variant->peak && i < rounds; i++)
        differences += variant->peak();
    Py_END_ALLOW_THREADS
    return PyFloat_FromDouble(differences);
}

/* The type of a buffer's numbers, or -1. */
static int type_of(const Py_buffer *buffer)
{
    return has_format(buffer, "B")   ? BYTES
           : has_format(buffer, "H") ? WORDS
           : has_format(buffer, "f") ? FLOATS
           : has_format(buffer, "d") ? DOUBLES
                                     : -1;
}

static Picture picture(const Py_buffer *buffer)
{
    return (Picture){buffer->buf,        buffer->shape[0],   buffer->shape[1],  buffer->shape[2],
                     buffer->strides[0], buffer->strides[1], buffer->strides[2]};
}

static const char *misfit(const Py_buffer *image, const Py_buffer *kernel,
                          const Py_buffer *weights, const Py_buffer *out, Py_ssize_t stride_y,
                          Py_ssize_t stride_x)
{
    if (image->ndim != 3 || kernel->ndim != 3 || (weights && weights->ndim != 3) ||
        out->ndim != 2)
        return "image, kernel, weights are [height, width, channels], the output is [rows, cols]";
    if (type_of(image) < 0 || type_of(image) != type_of(kernel))
        return "image and kernel are not both of one type of uint8, uint16, float32, float64";
    if (weights && type_of(weights) != BYTES)
        return "the weights' type is not uint8";
    if (!has_format(out, "d"))
        return "the output's type is not float64";
    const Py_buffer *const all[] = {image, kernel, weights, out};
    for (int i = 0; i < 4; i++) {
        const char *wrong = all[i] ? entry_misfit(all[i]) : NULL;
        if (wrong)
            return wrong;
    }
    for (int i = 0; i < 3; i++)
        if (kernel->shape[i] < 1 || kernel->shape[i] > image->shape[i] ||
            (i == 2 && kernel->shape[i] != image->shape[i]))
            return "the kernel's size does not fit the image's";
    for (int i = 0; weights && i < 3; i++)
        if (weights->shape[i] != kernel->shape[i])
            return "the weights' size is not the kernel's";
    if (stride_y < 1 || stride_x < 1)
        return "the stride is not positive";
    if (out->shape[0] != (image->shape[0] - kernel->shape[0]) / stride_y + 1 ||
        out->shape[1] != (image->shape[1] - kernel->shape[1]) / stride_x + 1)
        return "the output's size is not the number of windows";
    return NULL;
}

static PyObject *sums(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image",    "kernel",   "weights", "out",
                            "stride_y", "stride_x", "variant", NULL};
    PyObject *objects[4]; /* image, kernel, weights, out */
    Py_buffer buffers[4];
    Py_ssize_t stride_y, stride_x;
    const char *name;
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOnns", names, &objects[0], &objects[1],
                                     &objects[2], &objects[3], &stride_y, &stride_x, &name) ||
        !(variant = wanted(name)))
        return NULL;
    int weighted = objects[2] != Py_None, done = 0;
    const char *wrong = NULL;
    memset(buffers, 0, sizeof buffers);
    for (int i = 0; i < 4; i++) {
        if (i == 2 && !weighted)
            continue;
        int flags = i == 3 ? PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE : PyBUF_STRIDES;
        if (PyObject_GetBuffer(objects[i], &buffers[i], flags | PyBUF_FORMAT) < 0)
            goto release;
    }
    wrong = misfit(&buffers[0], &buffers[1], weighted ? &buffers[2] : NULL, &buffers[3], stride_y,
                   stride_x);
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
        goto release;
    }
    Picture image = picture(&buffers[0]), kernel = picture(&buffers[1]), weights;
    if (weighted)
        weights = picture(&buffers[2]);
    Type type = (Type)type_of(&buffers[0]);
    stride_y = entry_stride(stride_y, image.height), stride_x = entry_stride(stride_x, image.width);
    Py_BEGIN_ALLOW_THREADS
    done = sad_sums(variant, type, &image, &kernel, weighted ? &weights : NULL, stride_y,
                    stride_x, buffers[3].buf);
    Py_END_ALLOW_THREADS
    if (!done)
        PyErr_NoMemory();
release:
    entry_release(buffers, 4);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *scratch(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"format", "image_shape", "kernel_shape", "stride", "max_weight", NULL};
    Picture image = {0}, kernel = {0};
    Py_ssize_t stride_y, stride_x;
    const char *format;
    int heaviest;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "s(nnn)(nnn)(nn)i", names, &format,
                                     &image.height, &image.width, &image.channels, &kernel.height,
                                     &kernel.width, &kernel.channels, &stride_y, &stride_x,
                                     &heaviest))
        return NULL;
    if (!ENTRY_ARE_SIZES(image.height, image.width, image.channels, kernel.height, kernel.width,
                         kernel.channels, stride_y, stride_x) ||
        entry_times(entry_times(image.height, image.width), image.channels) > ENTRY_MOST ||
        kernel.height > image.height || kernel.width > image.width ||
        kernel.channels != image.channels || heaviest < 0 || heaviest > 255)
        return PyErr_Format(PyExc_ValueError, "a size or weight is out of range");
    stride_y = entry_stride(stride_y, image.height), stride_x = entry_stride(stride_x, image.width);
    Type type = *format == 'B' ? BYTES : *format == 'H' ? WORDS : *format == 'f' ? FLOATS : DOUBLES;
    Task task = sad_task(type, &image, &kernel, stride_y, stride_x);
    return PyLong_FromSsize_t(sad_scratch(&task, heaviest));
}

static PyObject *release(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    sad_release();
    return Py_BuildValue("");
}

static PyMethodDef METHODS[] = {
    {"sums", KEYWORDS(sums),
     "sums(image, kernel, weights, out, stride_y, stride_x, variant)\n\n"
     "Write the sum of absolute differences of every window to out, exact for integers.\n\n"
     "image, kernel: uint8, uint16, float32 or float64 [height, width, channels], of any steps; weights:\n"
     "uint8 of the kernel's shape, how many times each value counts, or None; out: float64 [rows,\n"
     "cols]."},
    {"scratch", KEYWORDS(scratch),
     "scratch(format, image_shape, kernel_shape, stride, max_weight)\n\n"
     "Bytes that sums allocates; max_weight is the largest weight, 0 without weights."},
    {"release", release, METH_NOARGS,
     "release()\n\n"
     "Give back the memory that is kept for the next call."},
    ENTRY_VARIANTS_METHOD,
    {"roundings", roundings, METH_VARARGS,
     "roundings(variant)\n\n"
     "Float32 roundings that a difference of float32 goes through, at most; with shades one more."},
    {"peak", peak, METH_VARARGS,
     "peak(variant, rounds)\n\n"
     "Run psadbw on registers alone; returns how many differences that was, 0 without psadbw."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_sad", NULL, 0, METHODS, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__sad(void)
{
    return PyModule_Create(&MODULE);
}
