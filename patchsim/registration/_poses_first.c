/* The interface of the first look to Python: what is turned, scored at all places and kept of it. */
#include "_poses_checks.h"

/* Why an order is not one of so many poses, or NULL. */
static const char *misfit_of_order(const Py_buffer *order, ptrdiff_t poses)
{
    if (order->ndim != 1 || !has_format(order, "i") || order->shape[0] != poses)
        return "the order is not int32 [poses]";
    for (ptrdiff_t i = 0; i < poses; i++)
        if (((const int32_t *)order->buf)[i] < 0 || ((const int32_t *)order->buf)[i] >= poses)
            return "the order names a pose that is not there";
    return NULL;
}

PyObject *poses_py_look(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"values", "height", "width", "turned", "mask", "order", "bounds", "metric", "full", "bar", "first", "out",
                            "variant", NULL};
    PyObject *values, *turned, *mask, *order, *bounds, *out;
    const char *metric, *name, *wrong;
    Plane p = {0};
    Look l = {0};
    Buffers b = {0};
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OnnOOOOsdfnOs", names, &values, &p.height, &p.width, &turned, &mask, &order, &bounds,
                                     &metric, &l.full, &l.bar, &l.first, &out, &name) ||
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
    if ((wrong = misfit_of_order(turns, l.poses)))
        return refused(&b, wrong);
    if (o->ndim != 3 || !has_format(o, "f") || o->shape[0] != l.poses || o->shape[2] < p.width)
        return refused(&b, "the scores are not float32 [poses, rows, at least the width]");
    if (entry_overlap(o, edges) || entry_overlap(o, turns))
        return refused(&b, "the scores lie where the bounds or the order do");
    l.last = entry_plus(l.first, o->shape[1]), l.out_pitch = o->shape[2];
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
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = variant->look(&p, &l);
    Py_END_ALLOW_THREADS
    release(&b);
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyObject *poses_py_turn(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"taps", "weights", "width", "centre", "half", "poses", "border", "values", "mask", "metric", "order", NULL};
    PyObject *taps, *weights, *poses, *values, *mask, *order;
    Turn turn = {0};
    Kernel *k = &turn.kernel;
    Buffers b = {0};
    const char *metric, *wrong;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOn(dd)(dd)OdOOzO", names, &taps, &weights, &turn.width, &k->centre_y, &k->centre_x,
                                     &turn.half_y, &turn.half_x, &poses, &turn.border, &values, &mask, &metric, &order))
        return NULL;
    Py_buffer *t = take(&b, taps, 0), *w = NULL, *at = NULL, *v = NULL, *m = NULL, *turns = NULL;
    if (!t || !(w = take(&b, weights, 0)) || !(at = take(&b, poses, 0)) || !(v = take(&b, values, 1)) || !(m = take(&b, mask, 1)) ||
        (order != Py_None && !(turns = take(&b, order, 0))))
        return refused(&b, NULL);
    if ((wrong = misfit_of_kernel(t, w, NULL, k)))
        return refused(&b, wrong);
    if (turn.width < 1 || turn.width > k->pitch || !(turn.half_y >= 0) || !(turn.half_x >= 0) || !(turn.border >= 0))
        return refused(&b, "a size is out of range");
    if (at->ndim != 2 || at->shape[1] != 2 || !has_format(at, "d"))
        return refused(&b, "the poses are not float64 [n, 2]");
    if ((wrong = misfit_of_poses(at->buf, at->shape[0], 2)))
        return refused(&b, wrong);
    if (v->ndim != 4 || !has_format(v, "f") || m->ndim != 4 || !(has_format(m, "?") || has_format(m, "B")))
        return refused(&b, "values and mask are not float32 and bool [poses, channels, side, side]");
    const ptrdiff_t side = v->shape[3];
    if (v->shape[0] != at->shape[0] || v->shape[1] != k->channels || v->shape[2] != side || side % 2 == 0 || side > 1 << 14 ||
        m->shape[0] != at->shape[0] || m->shape[1] != k->shades || m->shape[2] != side || m->shape[3] != side)
        return refused(&b, "values and mask do not fit the poses and the kernel");
    if (metric && metric_of(metric) != ZNCC && metric_of(metric) != NCC)
        return refused(&b, "values are rounded for zncc or ncc");
    if (turns && (wrong = misfit_of_order(turns, at->shape[0])))
        return refused(&b, wrong);
    if (turns && (entry_overlap(v, turns) || entry_overlap(m, turns)))
        return refused(&b, "values or mask lie where the order does");
    turn.order = turns ? turns->buf : NULL;
    turn.rounds = metric != NULL, turn.is_centred = metric && metric_of(metric) == ZNCC, turn.radius = side / 2;
    Py_BEGIN_ALLOW_THREADS
    poses_turn(&turn, at->buf, at->shape[0], v->buf, m->buf);
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

PyObject *poses_py_maxima(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"volume", "scales", "angles", "near", "width", "first", "last", "bar", "is_cyclic", "found", "scores", "variant", NULL};
    PyObject *volume, *found, *scores;
    Maxima m = {0};
    Buffers b = {0};
    const char *name;
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OnnnnnnfpOOs", names, &volume, &m.scales, &m.angles, &m.near, &m.width, &m.first,
                                     &m.last, &m.bar, &m.is_cyclic, &found, &scores, &name) ||
        !(variant = wanted(name)))
        return NULL;
    Py_buffer *v = take(&b, volume, 0), *f = NULL, *s = NULL;
    if (!v || !(f = take(&b, found, 1)) || !(s = take(&b, scores, 1)))
        return refused(&b, NULL);
    if (v->ndim != 3 || !has_format(v, "f"))
        return refused(&b, "the volume is not float32 [poses, rows, pitch]");
    m.rows = v->shape[1], m.pitch = v->shape[2];
    if (m.near < 1 || m.near > 1 << 20 || m.scales < 1 || m.angles < 1 || m.scales > 1 << 20 || m.angles > 1 << 20 || m.scales * m.angles != v->shape[0] ||
        m.width < 0 || m.width > m.pitch || m.first < 0 || m.last < m.first || m.last > m.rows)
        return refused(&b, "the volume does not have so many poses, rows and columns");
    if (f->ndim != 2 || f->shape[1] != 3 || !has_format(f, "i") || s->ndim != 1 || !has_format(s, "f") || s->shape[0] != f->shape[0] ||
        s->shape[0] < 1)
        return refused(&b, "what is found is not int32 [most, 3] and float32 [most]");
    m.volume = v->buf, m.found = f->buf, m.scores = s->buf, m.most = s->shape[0];
    ptrdiff_t n;
    Py_BEGIN_ALLOW_THREADS
    n = poses_maxima(variant, &m);
    Py_END_ALLOW_THREADS
    release(&b);
    return n < 0 ? PyErr_NoMemory() : PyLong_FromSsize_t(n);
}

PyObject *poses_py_thinned(PyObject *self, PyObject *args, PyObject *keywords)
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
    ptrdiff_t n;
    Py_BEGIN_ALLOW_THREADS
    n = poses_thinned(&t);
    Py_END_ALLOW_THREADS
    release(&b);
    return n < 0 ? PyErr_NoMemory() : PyLong_FromSsize_t(n);
}
