/* Python's way to the scores of _correlation_weighted.h. */
#include "_correlation_python.h"

#include <math.h>
#include <string.h>

const char CORRELATION_WEIGHTED_SCORES[] =
    "weighted_scores(image, levels, spectra, planes, means, map, maxima, errors, hidden, metric,"
    " own, total, limit, least, stride_y, stride_x, block, weight_planes, parts_y, parts_x,"
    " variant, sides=(SIDE, SIDE), folds=1)\n\n"
    "Write the scores of all windows to map, and for each block x block of them the largest and\n"
    "how far scores may be off. Returns how many windows were summed directly. The formulas are in\n"
    "_correlation_weighted.h.\n\n"
    "image: uint8, uint16, float32 or float64 [height, width, channels], rows without gaps; levels:\n"
    "uint8 [height, width] or empty, where all is visible; spectra: float64, from spectrum; planes:\n"
    "float64 [planes, height, width] of the kernel; means: float64 of the channels, taken off the\n"
    "kernel; map: float32 [rows, cols]; maxima, errors: float32 of the blocks; hidden: bool\n"
    "[rows, cols], windows of which less than `least` is visible, or empty without levels. `total`\n"
    "is R^2, times the sum of the weights without levels.";

const char CORRELATION_WEIGHTED_SCRATCH[] =
    "weighted_scratch(format, windows, kernel_shape, has_levels, metric, stride, block,"
    " weight_planes, parts_y, parts_x, sides=(SIDE, SIDE), folds=1)\n\n"
    "Bytes that weighted_scores allocates.";

enum { IMAGE, LEVELS, SPECTRA, PLANES, MEANS, MAP, MAXIMA, ERRORS, HIDDEN, BUFFERS };

static int has_rows_without_gaps(const Py_buffer *b, Py_ssize_t values)
{
    Py_ssize_t step = b->itemsize;
    for (int axis = b->ndim - 1; axis > 0; step *= b->shape[axis], axis--)
        if (b->strides[axis] != step)
            return 0;
    return b->strides[0] >= 0 && b->strides[0] % b->itemsize == 0 && step == values * b->itemsize;
}

/* The metric of that name, or -1 with an exception. */
static int metric_of(const char *name)
{
    static const char *const metrics[] = {"zncc", "ncc", "ssd"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, metrics[i]) == 0)
            return i;
    PyErr_SetString(PyExc_ValueError, "the metric is not zncc, ncc or ssd");
    return -1;
}

static const char *misfit_of_planes(Weighted *w, const Py_buffer *b)
{
    Task *t = &w->task;
    const char *wrong = correlation_set_kernel(t, &b[PLANES], 3, 1);
    if (wrong)
        return wrong;
    if (!has_format(&b[SPECTRA], "d"))
        return "the spectra are not float64";
    wrong = correlation_misfit_of_spectra(t, &b[SPECTRA], 1);
    if (wrong)
        return wrong;
    w->plane_count = t->channels;
    if (!has_format(&b[MEANS], "d") || b[MEANS].len % 8 || b[MEANS].len < 8 ||
        b[MEANS].len / 8 > MOST_WEIGHTED_CHANNELS)
        return "the means are not a float64 for each channel";
    t->channels = b[MEANS].len / 8;
    if (w->weight_planes != 1 && w->weight_planes != t->channels)
        return "there is not one plane of weights, nor one for each channel";
    if (w->plane_count != t->channels + w->weight_planes + (b[LEVELS].len > 0))
        return "the planes are not those of the channels, of the weights and, with levels, of squares";
    return NULL;
}

static const char *misfit(const Weighted *w, const Py_buffer *b)
{
    for (int i = 0; i < BUFFERS; i++) {
        const char *wrong = i == SPECTRA ? NULL : entry_misfit(&b[i]);
        if (wrong)
            return wrong;
    }
    const Py_buffer *image = &b[IMAGE], *levels = &b[LEVELS], *map = &b[MAP];
    const Task *t = &w->task;
    if (image->ndim != 3 || !strchr("BHfd", *(image->format ? image->format : "B")) ||
        (image->format && strlen(image->format) != 1))
        return "the image is not uint8, uint16, float32 or float64 [height, width, channels]";
    if (image->shape[2] != t->channels || image->shape[0] < t->height || image->shape[1] < t->width)
        return "the kernel's size does not fit the image's";
    if (!has_rows_without_gaps(image, image->shape[1] * image->shape[2]))
        return "the pixels of an image's row have gaps";
    if (levels->len > 0 && (levels->ndim != 2 || !has_format(levels, "B") ||
                            levels->shape[0] != image->shape[0] ||
                            levels->shape[1] != image->shape[1] ||
                            !has_rows_without_gaps(levels, levels->shape[1])))
        return "the levels are not uint8, one for each pixel";
    if (t->stride_y < 1 || t->stride_x < 1)
        return "the stride is not positive";
    if (t->stride_y > 1 && t->sides.folds > 1)
        return "folded tiles are at a stride of 1";
    if (t->block < 1 || t->block > BLOCK)
        return "the block's side is out of range";
    if (map->ndim != 2 || !has_format(map, "f") ||
        map->shape[0] != (image->shape[0] - t->height) / t->stride_y + 1 ||
        map->shape[1] != (image->shape[1] - t->width) / t->stride_x + 1)
        return "the map is not float32, one for each window";
    for (int i = MAXIMA; i <= ERRORS; i++)
        if (b[i].ndim != 2 || !has_format(&b[i], "f") ||
            b[i].shape[0] != (map->shape[0] + t->block - 1) / t->block ||
            b[i].shape[1] != (map->shape[1] + t->block - 1) / t->block)
            return "maxima and errors are not a float32 for each block";
    if (b[HIDDEN].itemsize != 1 ||
        b[HIDDEN].len != (levels->len > 0 ? map->shape[0] * map->shape[1] : 0))
        return "hidden is not one bool for each window, or none without levels";
    if (!(t->own >= 0) || (t->metric != SSD && levels->len == 0 && !(t->own > 0)) ||
        !(t->total > 0) || !(t->limit > 0) || !(w->least >= 0))
        return "own, total, limit and least are not positive";
    return NULL;
}

PyObject *correlation_weighted_scores(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image",  "levels", "spectra",  "planes",   "means", "map",
                            "maxima", "errors", "hidden",   "metric",   "own",   "total",
                            "limit",  "least",  "stride_y", "stride_x", "block", "weight_planes",
                            "parts_y", "parts_x", "variant", "sides", "folds", NULL};
    PyObject *objects[BUFFERS];
    Py_buffer b[BUFFERS];
    Weighted w = {.task.sides = SQUARE};
    Task *t = &w.task;
    const char *metric, *name, *wrong;
    const Variant *variant;
    int failed = 1, found;
    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "OOOOOOOOOsddddnnnnnns|(nn)n", names, &objects[IMAGE], &objects[LEVELS],
            &objects[SPECTRA], &objects[PLANES], &objects[MEANS], &objects[MAP], &objects[MAXIMA],
            &objects[ERRORS], &objects[HIDDEN], &metric, &t->own, &t->total, &t->limit, &w.least,
            &t->stride_y, &t->stride_x, &t->block, &w.weight_planes, &t->parts_y, &t->parts_x,
            &name, &t->sides.y, &t->sides.x, &t->sides.folds) ||
        !(variant = correlation_variant(name)) || (found = metric_of(metric)) < 0)
        return NULL;
    t->metric = (Metric)found;
    memset(b, 0, sizeof b);
    for (int i = 0; i < BUFFERS; i++) {
        int flags = i <= LEVELS ? PyBUF_STRIDES : PyBUF_C_CONTIGUOUS;
        flags |= i >= MAP ? PyBUF_WRITABLE : 0;
        if (PyObject_GetBuffer(objects[i], &b[i], flags | PyBUF_FORMAT) < 0)
            goto release;
    }
    wrong = misfit_of_planes(&w, b);
    if (!wrong)
        wrong = misfit(&w, b);
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
        goto release;
    }
    t->type = has_format(&b[IMAGE], "B")   ? BYTES
              : has_format(&b[IMAGE], "H") ? WORDS
              : has_format(&b[IMAGE], "f") ? FLOATS
                                                       : DOUBLES;
    t->image = b[IMAGE].buf, t->pitch = b[IMAGE].strides[0];
    t->rows = b[MAP].shape[0], t->cols = b[MAP].shape[1];
    t->stride_y = entry_stride(t->stride_y, b[IMAGE].shape[0]);
    t->stride_x = entry_stride(t->stride_x, b[IMAGE].shape[1]);
    t->means = b[MEANS].buf;
    t->map = b[MAP].buf, t->maxima = b[MAXIMA].buf, t->errors = b[ERRORS].buf;
    w.planes = b[PLANES].buf, w.spectra = b[SPECTRA].buf;
    if (b[LEVELS].len > 0)
        w.levels = b[LEVELS].buf, w.levels_pitch = b[LEVELS].strides[0], w.hidden = b[HIDDEN].buf;
    Py_BEGIN_ALLOW_THREADS
    for (ptrdiff_t i = 0; i < b[MAXIMA].shape[0] * b[MAXIMA].shape[1]; i++)
        t->maxima[i] = -INFINITY, t->errors[i] = 0;
    failed = variant->weighted(&w);
    Py_END_ALLOW_THREADS
    if (failed)
        PyErr_NoMemory();
release:
    entry_release(b, BUFFERS);
    return failed ? NULL : PyLong_FromSsize_t(t->direct);
}

PyObject *correlation_weighted_scratch_bytes(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"format", "windows", "kernel_shape", "has_levels", "metric", "stride",
                            "block", "weight_planes", "parts_y", "parts_x", "sides", "folds", NULL};
    const char *format, *metric;
    Weighted w = {.task.sides = SQUARE};
    Task *t = &w.task;
    int has_levels, found;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "s(nn)(nnn)ps(nn)nnnn|(nn)n", names, &format,
                                     &t->rows, &t->cols, &t->height, &t->width, &t->channels,
                                     &has_levels, &metric, &t->stride_y, &t->stride_x, &t->block,
                                     &w.weight_planes, &t->parts_y, &t->parts_x, &t->sides.y,
                                     &t->sides.x, &t->sides.folds) ||
        (found = metric_of(metric)) < 0)
        return NULL;
    if (strlen(format) != 1 || !strchr("BHfd", *format) || t->rows < 1 || t->cols < 1 ||
        t->parts_y < 1 || t->parts_y > MOST_PARTS || t->parts_x < 1 || t->parts_x > MOST_PARTS ||
        !correlation_has_sides(t->sides) || t->height < 1 ||
        t->height > t->sides.y * t->parts_y || t->width < 1 ||
        t->width > t->sides.x * t->parts_x || t->channels < 1 ||
        t->channels > MOST_WEIGHTED_CHANNELS || t->stride_y < 1 || t->stride_x < 1 ||
        t->block < 1 || t->block > BLOCK ||
        (w.weight_planes != 1 && w.weight_planes != t->channels)) {
        PyErr_SetString(PyExc_ValueError, "a size or the type of the pixels is out of range");
        return NULL;
    }
    if (entry_times(entry_extent(t->rows, t->stride_y, t->height),
                    entry_extent(t->cols, t->stride_x, t->width)) > ENTRY_MOST)
        return PyErr_Format(PyExc_ValueError, "the windows are too many, or too far apart");
    static const uint8_t some;
    t->metric = (Metric)found, t->terms = 1;
    t->part_height = (t->height + t->parts_y - 1) / t->parts_y;
    t->part_width = (t->width + t->parts_x - 1) / t->parts_x;
    t->type = *format == 'B' ? BYTES : *format == 'H' ? WORDS : *format == 'f' ? FLOATS : DOUBLES;
    w.plane_count = t->channels + w.weight_planes + has_levels;
    w.levels = has_levels ? &some : NULL;
    const Layout layout = correlation_layout(t);
    return PyLong_FromSize_t(correlation_weighted_scratch(&w, &layout));
}
