/* The interface of the pose search's loops to Python; every buffer is checked before it is used. */
#include "_poses_checks.h"

ENTRY_VARIANTS(POSES_VARIANTS[i], POSES_VARIANTS[i]->name, POSES_VARIANTS[i]->is_here())

static PyObject *refine(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"values", "limits", "visible", "height", "width", "taps", "weights", "smoothing", "centre", "reach", "poses",
                            "scores", "metric", "full", "steps", "enough", "least", "is_cubic", "free", "low", "high", "every", "around",
                            "variant", NULL};
    PyObject *values, *limits, *visible, *taps, *weights, *smoothing, *poses, *scores;
    const char *metric, *name, *wrong;
    Plane p = {0};
    Kernel k = {0};
    Aim aim = {0};
    Buffers b = {0};
    int free_, is_cubic;
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOnnOOO(dd)dOOsdnddpi(dd)(dd)nns", names, &values, &limits, &visible, &p.height,
                                     &p.width, &taps, &weights, &smoothing, &k.centre_y, &k.centre_x, &k.reach, &poses, &scores, &metric,
                                     &aim.full, &aim.steps, &aim.enough, &aim.least, &is_cubic, &free_, &aim.low[0], &aim.low[1],
                                     &aim.high[0], &aim.high[1], &aim.every, &aim.around, &name) ||
        !(variant = wanted(name)))
        return NULL;
    Py_buffer *v = take(&b, values, 0), *ends = NULL, *seen = NULL, *t = NULL, *w = NULL, *soft = NULL, *at = NULL, *found = NULL;
    if (!v || !(ends = take(&b, limits, 0)) || (visible != Py_None && !(seen = take(&b, visible, 0))) || !(t = take(&b, taps, 0)) || !(w = take(&b, weights, 0)) ||
        (smoothing != Py_None && !(soft = take(&b, smoothing, 0))) || !(at = take(&b, poses, 1)) || !(found = take(&b, scores, 1)))
        return refused(&b, NULL);
    if ((wrong = misfit_of_plane(v, seen, &p)) || (wrong = misfit_of_kernel(t, w, soft, &k)) ||
        (wrong = misfit_of_limits(ends, "f", p.channels)))
        return refused(&b, wrong);
    p.limits = ends->buf;
    if (k.channels != p.channels)
        return refused(&b, "kernel and picture do not have the same channels");
    if (poses_reaches_farther(&k))
        return refused(&b, "the kernel reaches farther than is said");
    if (at->ndim != 2 || at->shape[1] != 4 || !has_format(at, "d") || found->ndim != 1 || !has_format(found, "d") ||
        found->shape[0] != at->shape[0])
        return refused(&b, "poses and scores are not float64 [n, 4] and [n]");
    if ((wrong = misfit_of_poses(at->buf, at->shape[0], 4)))
        return refused(&b, wrong);
    if ((aim.metric = (Metric)metric_of(metric)) == (Metric)-1)
        return refused(&b, "the metric is not zncc, ncc, ssd or sad");
    if (!(aim.full > 0) || aim.steps < 0 || aim.steps > 100 || aim.every < 1 || aim.every > LARGEST_SIDE || aim.around < 0 ||
        aim.around > LARGEST_SIDE || free_ < 0 || free_ > 15 || aim.low[0] != aim.low[0] || aim.low[1] != aim.low[1] ||
        aim.high[0] != aim.high[0] || aim.high[1] != aim.high[1] || aim.least != aim.least)
        return refused(&b, "what to refine is out of range");
    aim.is_cubic = is_cubic, aim.free = free_;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = variant->refine(&p, &k, &aim, at->buf, found->buf, at->shape[0]);
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
    from.height = height, from.width = width;
    to.height = entry_plus(height, 1) / 2, to.width = entry_plus(width, 1) / 2;
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
    static char *names[] = {"picture", "limits", "kernel", "weights", "smoothing", "visible", "poses", "centre", "metric", "full", "scores",
                            "variant", NULL};
    PyObject *picture, *limits, *kernel, *weights, *smoothing, *visible, *poses, *scores;
    Exact e = {0};
    Buffers b = {0};
    const char *metric, *name, *wrong;
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOOOO(dd)sdOs", names, &picture, &limits, &kernel, &weights, &smoothing, &visible, &poses,
                                     &e.centre_y, &e.centre_x, &metric, &e.full, &scores, &name) ||
        !(variant = wanted(name)))
        return NULL;
    Py_buffer *p = take(&b, picture, 0), *ends = NULL, *k = NULL, *w = NULL, *soft = NULL, *seen = NULL, *at = NULL, *s = NULL;
    if (!p || !(ends = take(&b, limits, 0)) || !(k = take(&b, kernel, 0)) || (weights != Py_None && !(w = take(&b, weights, 0))) ||
        (smoothing != Py_None && !(soft = take(&b, smoothing, 0))) ||
        (visible != Py_None && !(seen = take(&b, visible, 0))) || !(at = take(&b, poses, 0)) || !(s = take(&b, scores, 1)))
        return refused(&b, NULL);
    if ((wrong = misfit_of_picture(p, &e.picture)) || (wrong = misfit_of_picture(k, &e.kernel)))
        return refused(&b, wrong);
    if ((wrong = misfit_of_limits(ends, "d", e.picture.channels)))
        return refused(&b, wrong);
    e.limits = ends->buf;
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
    if (entry_overlap(s, at))
        return refused(&b, "the scores lie where the poses do");
    e.poses = at->buf, e.scores = s->buf, e.n = at->shape[0];
    /* No pixel may lie so far away that its place has no whole number. */
    const double reach = (double)(e.kernel.height + e.kernel.width) + fabs(e.centre_y) + fabs(e.centre_x);
    for (ptrdiff_t i = 0; i < e.n; i++) {
        const double *pose = e.poses + 4 * i;
        const double far = reach * (fabs(pose[2]) + fabs(pose[3]));
        if (!(fabs(pose[0]) + far < LARGEST_SIDE) || !(fabs(pose[1]) + far < LARGEST_SIDE)) /* NaN, too */
            return refused(&b, "a pose is out of range");
    }
    Py_BEGIN_ALLOW_THREADS
    variant->exact(&e);
    Py_END_ALLOW_THREADS
    release(&b);
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"refine", KEYWORDS(refine),
     "Write better poses [n, 4] in place of poses, and their scores; see plain.refine."},
    {"look", KEYWORDS(poses_py_look), "Write the scores of all poses at all places of some rows; see plain_look.scores."},
    {"halve", KEYWORDS(halve), "Write the 2x2 means of padded planes of bytes to others, but for their border."},
    {"turn", KEYWORDS(poses_py_turn), "Write turned kernels and what of them counts; see plain_look.turn."},
    {"maxima", KEYWORDS(poses_py_maxima), "Write local maxima and their scores; return how many. See plain_look.maxima."},
    {"exact", KEYWORDS(exact), "Write the scores of poses, in double precision; see scores.py."},
    {"thinned", KEYWORDS(poses_py_thinned), "Write which poses are kept; return how many. See plain_look.thinned."},
    ENTRY_VARIANTS_METHOD,
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
