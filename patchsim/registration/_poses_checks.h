/* What the entry functions check before they use a buffer; included by _poses.c and _poses_first.c. */
#ifndef PATCHSIM_POSES_CHECKS_H
#define PATCHSIM_POSES_CHECKS_H
#include "../machine/_entries.h"

#include "_poses.h"

#include <math.h>
#include <string.h>

#define MOST_BUFFERS 8
#define MOST_PIXELS 0x7fffffff /* of a plane: places are counted in 32 bits */

typedef struct {
    Py_buffer views[MOST_BUFFERS];
    int held;
} Buffers;

static inline void release(Buffers *b)
{
    entry_release(b->views, b->held);
    b->held = 0;
}

static inline Py_buffer *take(Buffers *b, PyObject *object, int is_written)
{
    Py_buffer *view = &b->views[b->held];
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (is_written ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return NULL;
    b->held++;
    const char *wrong = entry_misfit(view);
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
        return NULL;
    }
    return view;
}

static inline PyObject *refused(Buffers *b, const char *why)
{
    release(b);
    if (why)
        PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

static inline const Variant *wanted(const char *name)
{
    for (const Variant *const *v = POSES_VARIANTS; *v; v++)
        if (!strcmp((*v)->name, name) && (*v)->is_here())
            return *v;
    PyErr_Format(PyExc_ValueError, "the variant %s does not run here", name);
    return NULL;
}

static inline int metric_of(const char *name)
{
    static const char *const names[] = {"zncc", "ncc", "ssd", "sad"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

/* A padded plane of height x width pixels. */
static inline const char *misfit_of_plane(const Py_buffer *v, const Py_buffer *seen, Plane *p)
{
    p->is_bytes = has_format(v, "B");
    if (v->ndim != 3 || !(p->is_bytes || has_format(v, "f")))
        return "the planes are not uint8 or float32 [channels, rows, pitch]";
    p->channels = v->shape[0], p->pitch = v->shape[2], p->plane = v->shape[1] * v->shape[2];
    if (p->channels < 1 || p->channels > MOST_CHANNELS)
        return "the number of channels is out of range";
    if (p->height < 1 || p->width < 1 || p->height > LARGEST_SIDE || p->width > LARGEST_SIDE ||
        v->shape[1] != p->height + 2 * PAD || p->pitch < p->width + 2 * PAD || p->plane > MOST_PIXELS)
        return "the planes do not have the picture's size and a border, or are too large";
    const ptrdiff_t first = PAD * p->pitch + PAD;
    p->values = (const char *)v->buf + first * v->itemsize;
    p->visible = NULL;
    if (seen) {
        if (seen->ndim != 2 || !has_format(seen, "B") || seen->shape[0] != v->shape[1] || seen->shape[1] != v->shape[2])
            return "the visibility is not uint8 of the planes' size";
        p->visible = (const uint8_t *)seen->buf + first;
    }
    return NULL;
}

/* The least and the largest value of each channel, of a type of this format. */
static inline const char *misfit_of_limits(const Py_buffer *limits, const char *format, ptrdiff_t channels)
{
    if (limits->ndim != 2 || !has_format(limits, format) || limits->shape[0] != channels || limits->shape[1] != 2)
        return "the limits are not those of the channels, [channels, 2]";
    return NULL;
}

static inline const char *misfit_of_kernel(const Py_buffer *taps, const Py_buffer *weights, const Py_buffer *smoothing, Kernel *k)
{
    if (smoothing) {
        if (smoothing->ndim != 3 || !has_format(smoothing, "f") || smoothing->shape[0] != taps->shape[0] ||
            smoothing->shape[1] != taps->shape[1] || smoothing->shape[2] != taps->shape[2])
            return "the smoothing is not float32 of the taps' size";
        k->smoothing = smoothing->buf;
    }
    if (taps->ndim != 3 || weights->ndim != 3 || !has_format(taps, "f") || !has_format(weights, "f"))
        return "taps and weights are not float32 [channels, height, pitch]";
    k->channels = taps->shape[0], k->height = taps->shape[1], k->pitch = taps->shape[2], k->shades = weights->shape[0];
    if (k->channels < 1 || k->channels > MOST_CHANNELS || k->height < 1 || k->pitch < PIECE || k->pitch % PIECE ||
        k->height > LARGEST_SIDE || k->pitch > LARGEST_SIDE)
        return "the taps' rows are not whole pieces, or a size is out of range";
    if ((k->shades != 1 && k->shades != k->channels) || weights->shape[1] != k->height || weights->shape[2] != k->pitch)
        return "the weights do not fit the taps";
    if (!(fabs(k->centre_y) <= LARGEST_SIDE) || !(fabs(k->centre_x) <= LARGEST_SIDE) || !(k->reach >= 0) || !(k->reach <= LARGEST_SIDE))
        return "the kernel's centre or reach is out of range";
    k->taps = taps->buf, k->weights = weights->buf;
    return NULL;
}

static inline const char *misfit_of_poses(const double *poses, ptrdiff_t n, int fields)
{
    for (ptrdiff_t i = 0; i < n * fields; i++)
        if (!(fabs(poses[i]) <= (i % fields == fields - 1 ? 20 : LARGEST_SIDE)))
            return "a pose is out of range";
    return NULL;
}

/* The entry functions of the first look, in _poses_first.c. */
PyObject *poses_py_look(PyObject *, PyObject *, PyObject *);
PyObject *poses_py_turn(PyObject *, PyObject *, PyObject *);
PyObject *poses_py_maxima(PyObject *, PyObject *, PyObject *);
PyObject *poses_py_thinned(PyObject *, PyObject *, PyObject *);

#endif
