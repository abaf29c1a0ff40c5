/* The interface of the pose search's loops to Python; every buffer is checked before it is used. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "_poses.h"

#include <math.h>
#include <string.h>

#define MOST_BUFFERS 7
#define MOST_PIXELS 0x7fffffff /* of a plane: places are counted in 32 bits */

typedef struct {
    Py_buffer views[MOST_BUFFERS];
    int held;
} Buffers;

static void release(Buffers *b)
{
    while (b->held)
        PyBuffer_Release(&b->views[--b->held]);
}

static Py_buffer *take(Buffers *b, PyObject *object, int is_written)
{
    Py_buffer *view = &b->views[b->held];
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (is_written ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return NULL;
    b->held++;
    return view;
}

static int has_format(const Py_buffer *b, const char *format)
{
    return b->format && !strcmp(b->format, format);
}

static PyObject *refused(Buffers *b, const char *why)
{
    release(b);
    if (why)
        PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

static const Variant *wanted(const char *name)
{
    for (const Variant *const *v = POSES_VARIANTS; *v; v++)
        if (!strcmp((*v)->name, name) && (*v)->is_here())
            return *v;
    PyErr_Format(PyExc_ValueError, "the variant %s does not run here", name);
    return NULL;
}

static int metric_of(const char *name)
{
    static const char *const names[] = {"zncc", "ncc", "ssd", "sad"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

static PyObject *variants(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    PyObject *names = PyList_New(0);
    for (const Variant *const *v = POSES_VARIANTS; names && *v; v++) {
        if (!(*v)->is_here())
            continue;
        PyObject *name = PyUnicode_FromString((*v)->name);
        if (!name || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

/* A padded plane of height x width pixels. */
static const char *misfit_of_plane(const Py_buffer *v, const Py_buffer *seen, Plane *p)
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

static const char *misfit_of_kernel(const Py_buffer *taps, const Py_buffer *weights, const Py_buffer *smoothing, Kernel *k)
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

static const char *misfit_of_poses(const double *poses, ptrdiff_t n, int fields)
{
    for (ptrdiff_t i = 0; i < n * fields; i++)
        if (!(fabs(poses[i]) <= (i % fields == fields - 1 ? 20 : LARGEST_SIDE)))
            return "a pose is out of range";
    return NULL;
}

static PyObject *refine(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"values", "visible", "height", "width", "taps", "weights", "smoothing", "centre", "reach", "poses",
                            "scores", "metric", "full", "steps", "enough", "is_cubic", "free", "low", "high", "every", "around",
                            "variant", NULL};
    PyObject *values, *visible, *taps, *weights, *smoothing, *poses, *scores;
    const char *metric, *name, *wrong;
    Plane p = {0};
    Kernel k = {0};
    Aim aim = {0};
    Buffers b = {0};
    int free_, is_cubic;
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOnnOOO(dd)dOOsdndpi(dd)(dd)nns", names, &values, &visible, &p.height,
                                     &p.width, &taps, &weights, &smoothing, &k.centre_y, &k.centre_x, &k.reach, &poses, &scores, &metric,
                                     &aim.full, &aim.steps, &aim.enough, &is_cubic, &free_, &aim.low[0], &aim.low[1],
                                     &aim.high[0], &aim.high[1], &aim.every, &aim.around, &name) ||
        !(variant = wanted(name)))
        return NULL;
    Py_buffer *v = take(&b, values, 0), *seen = NULL, *t = NULL, *w = NULL, *soft = NULL, *at = NULL, *found = NULL;
    if (!v || (visible != Py_None && !(seen = take(&b, visible, 0))) || !(t = take(&b, taps, 0)) || !(w = take(&b, weights, 0)) ||
        (smoothing != Py_None && !(soft = take(&b, smoothing, 0))) || !(at = take(&b, poses, 1)) || !(found = take(&b, scores, 1)))
        return refused(&b, NULL);
    if ((wrong = misfit_of_plane(v, seen, &p)) || (wrong = misfit_of_kernel(t, w, soft, &k)))
        return refused(&b, wrong);
    if (k.channels != p.channels)
        return refused(&b, "kernel and picture do not have the same channels");
    if (at->ndim != 2 || at->shape[1] != 4 || !has_format(at, "d") || found->ndim != 1 || !has_format(found, "d") ||
        found->shape[0] != at->shape[0])
        return refused(&b, "poses and scores are not float64 [n, 4] and [n]");
    if ((wrong = misfit_of_poses(at->buf, at->shape[0], 4)))
        return refused(&b, wrong);
    if ((aim.metric = (Metric)metric_of(metric)) == (Metric)-1)
        return refused(&b, "the metric is not zncc, ncc, ssd or sad");
    if (!(aim.full > 0) || aim.steps < 0 || aim.steps > 100 || aim.every < 1 || aim.every > LARGEST_SIDE || aim.around < 0 ||
        aim.around > LARGEST_SIDE || free_ < 0 || free_ > 15 || aim.low[0] != aim.low[0] || aim.low[1] != aim.low[1] ||
        aim.high[0] != aim.high[0] || aim.high[1] != aim.high[1])
        return refused(&b, "what to refine is out of range");
    aim.is_cubic = is_cubic, aim.free = free_;
    Py_BEGIN_ALLOW_THREADS
    variant->refine(&p, &k, &aim, at->buf, found->buf, at->shape[0]);
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

static PyObject *look(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"values", "height", "width", "turned", "mask", "order", "bounds", "metric", "full", "first", "out", "variant",
                            NULL};
    PyObject *values, *turned, *mask, *order, *bounds, *out;
    const char *metric, *name, *wrong;
    Plane p = {0};
    Look l = {0};
    Buffers b = {0};
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OnnOOOOsdnOs", names, &values, &p.height, &p.width, &turned, &mask, &order, &bounds,
                                     &metric, &l.full, &l.first, &out, &name) ||
        !(variant = wanted(name)))
        return NULL;
    Py_buffer *v = take(&b, values, 0), *t = NULL, *m = NULL, *turns = NULL, *edges = NULL, *o = NULL;
    if (!v || !(t = take(&b, turned, 0)) || !(m = take(&b, mask, 0)) || !(turns = take(&b, order, 0)) || !(edges = take(&b, bounds, 0)) || !(o = take(&b, out, 1)))
        return refused(&b, NULL);
    if ((wrong = misfit_of_plane(v, NULL, &p)))
        return refused(&b, wrong);
    if (t->ndim != 4 || !has_format(t, "f") || m->ndim != 4 || !(has_format(m, "?") || has_format(m, "B")))
        return refused(&b, "turned kernels and masks are not float32 and bool [poses, channels, side, side]");
    l.poses = t->shape[0], l.side = t->shape[3], l.shades = m->shape[1];
    if (t->shape[1] != p.channels || t->shape[2] != l.side || l.side % 2 == 0 || l.side > 1 << 14 || m->shape[0] != l.poses ||
        (l.shades != 1 && l.shades != p.channels) || m->shape[2] != l.side || m->shape[3] != l.side)
        return refused(&b, "turned kernels and masks do not fit each other or the planes");
    if (edges->ndim != 2 || !has_format(edges, "i") || edges->shape[0] != l.poses || edges->shape[1] != 4)
        return refused(&b, "the bounds are not int32 [poses, 4]");
    if (turns->ndim != 1 || !has_format(turns, "i") || turns->shape[0] != l.poses)
        return refused(&b, "the order is not int32 [poses]");
    if (o->ndim != 3 || !has_format(o, "f") || o->shape[0] != l.poses || o->shape[2] < p.width)
        return refused(&b, "the scores are not float32 [poses, rows, at least the width]");
    l.last = l.first + o->shape[1], l.out_pitch = o->shape[2];
    if (l.first < 0 || l.last < l.first || l.last > p.height)
        return refused(&b, "the rows are not the picture's");
    if ((double)(l.last - l.first + l.side) * (double)(p.width + l.side + 128) > MOST_PIXELS)
        return refused(&b, "so many rows are too large");
    if ((l.metric = (Metric)metric_of(metric)) == (Metric)-1 || !(l.full > 0))
        return refused(&b, "the metric is not zncc, ncc, ssd or sad, or its range is empty");
    l.values = t->buf, l.mask = m->buf, l.bounds = edges->buf, l.order = turns->buf, l.out = o->buf;
    for (ptrdiff_t i = 0; i < l.poses; i++)
        if (l.bounds[4 * i] < 0 || l.bounds[4 * i + 1] >= p.height || l.bounds[4 * i + 2] < 0 || l.bounds[4 * i + 3] >= p.width)
            return refused(&b, "the bounds lie outside the picture");
    for (ptrdiff_t i = 0; i < l.poses; i++)
        if (l.order[i] < 0 || l.order[i] >= l.poses)
            return refused(&b, "the order names a pose that is not there");
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = variant->look(&p, &l);
    Py_END_ALLOW_THREADS
    release(&b);
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *halve(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"planes", "out", "height", "width", "variant", NULL};
    PyObject *planes, *out;
    ptrdiff_t height, width;
    const char *name, *wrong;
    Plane from = {0}, to = {0};
    Buffers b = {0};
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOnns", names, &planes, &out, &height, &width, &name) ||
        !(variant = wanted(name)))
        return NULL;
    Py_buffer *v = take(&b, planes, 0), *o = NULL;
    if (!v || !(o = take(&b, out, 1)))
        return refused(&b, NULL);
    from.height = height, from.width = width, to.height = (height + 1) / 2, to.width = (width + 1) / 2;
    if ((wrong = misfit_of_plane(v, NULL, &from)) || (wrong = misfit_of_plane(o, NULL, &to)))
        return refused(&b, wrong);
    if (!from.is_bytes || !to.is_bytes || from.channels != to.channels)
        return refused(&b, "both are not uint8 of the same channels");
    Py_BEGIN_ALLOW_THREADS
    for (ptrdiff_t c = 0; c < to.channels; c++)
        for (ptrdiff_t y = 0; y < to.height; y++) {
            const uint8_t *in = (const uint8_t *)from.values + c * from.plane + 2 * y * from.pitch;
            uint8_t *row = (uint8_t *)(uintptr_t)to.values + c * to.plane + y * to.pitch;
            variant->halve_bytes(in, from.pitch, row, to.width);
        }
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

static PyObject *turn(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"taps", "weights", "width", "centre", "half", "poses", "border", "values", "mask", NULL};
    PyObject *taps, *weights, *poses, *values, *mask;
    Kernel k = {0};
    Buffers b = {0};
    ptrdiff_t width;
    double half_y, half_x, border;
    const char *wrong;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOn(dd)(dd)OdOO", names, &taps, &weights, &width, &k.centre_y, &k.centre_x,
                                     &half_y, &half_x, &poses, &border, &values, &mask))
        return NULL;
    Py_buffer *t = take(&b, taps, 0), *w = NULL, *at = NULL, *v = NULL, *m = NULL;
    if (!t || !(w = take(&b, weights, 0)) || !(at = take(&b, poses, 0)) || !(v = take(&b, values, 1)) || !(m = take(&b, mask, 1)))
        return refused(&b, NULL);
    if ((wrong = misfit_of_kernel(t, w, NULL, &k)))
        return refused(&b, wrong);
    if (width < 1 || width > k.pitch || !(half_y >= 0) || !(half_x >= 0) || !(border >= 0))
        return refused(&b, "a size is out of range");
    if (at->ndim != 2 || at->shape[1] != 2 || !has_format(at, "d"))
        return refused(&b, "the poses are not float64 [n, 2]");
    if ((wrong = misfit_of_poses(at->buf, at->shape[0], 2)))
        return refused(&b, wrong);
    if (v->ndim != 4 || !has_format(v, "f") || m->ndim != 4 || !(has_format(m, "?") || has_format(m, "B")))
        return refused(&b, "values and mask are not float32 and bool [poses, channels, side, side]");
    const ptrdiff_t side = v->shape[3];
    if (v->shape[0] != at->shape[0] || v->shape[1] != k.channels || v->shape[2] != side || side % 2 == 0 || side > 1 << 14 ||
        m->shape[0] != at->shape[0] || m->shape[1] != k.shades || m->shape[2] != side || m->shape[3] != side)
        return refused(&b, "values and mask do not fit the poses and the kernel");
    Py_BEGIN_ALLOW_THREADS
    poses_turn(&k, width, half_y, half_x, at->buf, at->shape[0], side / 2, border, v->buf, m->buf);
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

static PyObject *maxima(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"volume", "scales", "angles", "width", "first", "last", "bar", "is_cyclic", "found", "scores", NULL};
    PyObject *volume, *found, *scores;
    Maxima m = {0};
    Buffers b = {0};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OnnnnnfpOO", names, &volume, &m.scales, &m.angles, &m.width, &m.first,
                                     &m.last, &m.bar, &m.is_cyclic, &found, &scores))
        return NULL;
    Py_buffer *v = take(&b, volume, 0), *f = NULL, *s = NULL;
    if (!v || !(f = take(&b, found, 1)) || !(s = take(&b, scores, 1)))
        return refused(&b, NULL);
    if (v->ndim != 3 || !has_format(v, "f"))
        return refused(&b, "the volume is not float32 [poses, rows, pitch]");
    m.rows = v->shape[1], m.pitch = v->shape[2];
    if (m.scales < 1 || m.angles < 1 || m.scales > 1 << 20 || m.angles > 1 << 20 || m.scales * m.angles != v->shape[0] ||
        m.width < 0 || m.width > m.pitch || m.first < 0 || m.last < m.first || m.last > m.rows)
        return refused(&b, "the volume does not have so many poses, rows and columns");
    if (f->ndim != 2 || f->shape[1] != 3 || !has_format(f, "i") || s->ndim != 1 || !has_format(s, "f") || s->shape[0] != f->shape[0] ||
        s->shape[0] < 1)
        return refused(&b, "what is found is not int32 [most, 3] and float32 [most]");
    m.volume = v->buf, m.found = f->buf, m.scores = s->buf, m.most = s->shape[0];
    ptrdiff_t n;
    Py_BEGIN_ALLOW_THREADS
    n = poses_maxima(&m);
    Py_END_ALLOW_THREADS
    release(&b);
    return n < 0 ? PyErr_NoMemory() : PyLong_FromSsize_t(n);
}

static const char *misfit_of_picture(const Py_buffer *v, Picture *p)
{
    static const char *const formats[] = {"B", "H", "f", "d"};
    int type = 0;
    while (type < 4 && !has_format(v, formats[type]))
        type++;
    if (v->ndim != 3 || type == 4 || v->shape[0] < 1 || v->shape[1] < 1 || v->shape[2] < 1 || v->shape[0] > LARGEST_SIDE ||
        v->shape[1] > LARGEST_SIDE || v->shape[2] > MOST_CHANNELS)
        return "a picture is not uint8, uint16, float32 or float64 [height, width, channels]";
    p->pixels = v->buf, p->type = (Type)type;
    p->height = v->shape[0], p->width = v->shape[1], p->channels = v->shape[2];
    return NULL;
}

static PyObject *exact(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"picture", "kernel", "weights", "smoothing", "visible", "poses", "centre", "metric", "full", "scores", "variant",
                            NULL};
    PyObject *picture, *kernel, *weights, *smoothing, *visible, *poses, *scores;
    Exact e = {0};
    Buffers b = {0};
    const char *metric, *name, *wrong;
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOOO(dd)sdOs", names, &picture, &kernel, &weights, &smoothing, &visible, &poses,
                                     &e.centre_y, &e.centre_x, &metric, &e.full, &scores, &name) ||
        !(variant = wanted(name)))
        return NULL;
    Py_buffer *p = take(&b, picture, 0), *k = NULL, *w = NULL, *soft = NULL, *seen = NULL, *at = NULL, *s = NULL;
    if (!p || !(k = take(&b, kernel, 0)) || (weights != Py_None && !(w = take(&b, weights, 0))) ||
        (smoothing != Py_None && !(soft = take(&b, smoothing, 0))) ||
        (visible != Py_None && !(seen = take(&b, visible, 0))) || !(at = take(&b, poses, 0)) || !(s = take(&b, scores, 1)))
        return refused(&b, NULL);
    if ((wrong = misfit_of_picture(p, &e.picture)) || (wrong = misfit_of_picture(k, &e.kernel)))
        return refused(&b, wrong);
    if (e.picture.type != e.kernel.type || e.picture.channels != e.kernel.channels)
        return refused(&b, "kernel and picture do not have the same type and channels");
    if (w) {
        e.shades = w->ndim == 3 ? w->shape[2] : 1;
        if (!has_format(w, "B") || (w->ndim != 2 && w->ndim != 3) || w->shape[0] != e.kernel.height ||
            w->shape[1] != e.kernel.width || (e.shades != 1 && e.shades != e.kernel.channels))
            return refused(&b, "the weights are not uint8 of the kernel's size");
        e.weights = w->buf;
    }
    if (soft) {
        if (!has_format(soft, "d") || soft->ndim != 3 || soft->shape[0] != e.kernel.height ||
            soft->shape[1] != e.kernel.width || soft->shape[2] != e.kernel.channels)
            return refused(&b, "the smoothing is not float64 of the kernel's size");
        e.smoothing = soft->buf;
    }
    if (seen) {
        if (!has_format(seen, "B") || seen->ndim != 2 || seen->shape[0] != e.picture.height || seen->shape[1] != e.picture.width)
            return refused(&b, "the visibility is not uint8 of the picture's size");
        e.visible = seen->buf;
    }
    if (at->ndim != 2 || at->shape[1] != 4 || !has_format(at, "d") || s->ndim != 1 || !has_format(s, "d") ||
        s->shape[0] != at->shape[0])
        return refused(&b, "poses and scores are not float64 [n, 4] and [n]");
    if ((e.metric = (Metric)metric_of(metric)) == (Metric)-1 || !(e.full > 0))
        return refused(&b, "the metric is not zncc, ncc, ssd or sad, or its range is empty");
    e.poses = at->buf, e.scores = s->buf, e.n = at->shape[0];
    /* No pixel may lie so far away that its place has no whole number. */
    const double reach = (double)(e.kernel.height + e.kernel.width) + fabs(e.centre_y) + fabs(e.centre_x);
    for (ptrdiff_t i = 0; i < e.n; i++) {
        const double *pose = e.poses + 4 * i;
        const double far = fmax(fabs(pose[0]), fabs(pose[1])) + reach * (fabs(pose[2]) + fabs(pose[3]));
        if (!(far < LARGEST_SIDE))
            return refused(&b, "a pose is out of range");
    }
    Py_BEGIN_ALLOW_THREADS
    variant->exact(&e);
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

static PyObject *thinned(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"poses", "half", "reach", "near", "of_a_place", "kept", NULL};
    PyObject *poses, *kept;
    Thinned t = {0};
    Buffers b = {0};
    const char *wrong;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O(dd)ddnO", names, &poses, &t.half_y, &t.half_x, &t.reach, &t.near,
                                     &t.of_a_place, &kept))
        return NULL;
    Py_buffer *at = take(&b, poses, 0), *k = NULL;
    if (!at || !(k = take(&b, kept, 1)))
        return refused(&b, NULL);
    if (at->ndim != 2 || at->shape[1] != 4 || !has_format(at, "d") || k->ndim != 1 || !has_format(k, "i") ||
        k->shape[0] != at->shape[0] || at->shape[0] > MOST_PIXELS)
        return refused(&b, "poses and those kept are not float64 [n, 4] and int32 [n]");
    if ((wrong = misfit_of_poses(at->buf, at->shape[0], 4)))
        return refused(&b, wrong);
    if (!(t.half_y > 0) || !(t.half_x > 0) || !(t.reach >= 0) || !(t.near >= 0) || t.of_a_place < 1)
        return refused(&b, "a size is out of range");
    t.poses = at->buf, t.kept = k->buf, t.n = at->shape[0];
    if (!(t.others = PyMem_Calloc((size_t)t.n + 1, sizeof *t.others))) {
        release(&b);
        return PyErr_NoMemory();
    }
    ptrdiff_t n;
    Py_BEGIN_ALLOW_THREADS
    n = poses_thinned(&t);
    Py_END_ALLOW_THREADS
    PyMem_Free(t.others);
    release(&b);
    return PyLong_FromSsize_t(n);
}

/* An entry of METHODS whose arguments travel by keyword. */
#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef METHODS[] = {
    {"refine", KEYWORDS(refine),
     "Write better poses [n, 4] in place of poses, and their scores; see plain.refine."},
    {"look", KEYWORDS(look), "Write the scores of all poses at all places of some rows; see plain_look.scores."},
    {"halve", KEYWORDS(halve), "Write the 2x2 means of padded planes of bytes to others, but for their border."},
    {"turn", KEYWORDS(turn), "Write turned kernels and what of them counts; see plain_look.turn."},
    {"maxima", KEYWORDS(maxima), "Write local maxima and their scores; return how many. See plain_look.maxima."},
    {"exact", KEYWORDS(exact), "Write the scores of poses, in double precision; see scores.py."},
    {"thinned", KEYWORDS(thinned), "Write which poses are kept; return how many. See plain_look.thinned."},
    {"variants", variants, METH_NOARGS, "Names of the variants that run here, best first."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_poses", NULL, 0, METHODS, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__poses(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module && (PyModule_AddIntConstant(module, "PAD", PAD) < 0 || PyModule_AddIntConstant(module, "PIECE", PIECE) < 0 ||
                   PyModule_AddIntConstant(module, "MOST_CHANNELS", MOST_CHANNELS) < 0))
        Py_CLEAR(module);
    return module;
}
