/* Python's way to _correlation.h, through the limited API and the buffer protocol; the GIL is
 * released. */
#include "_correlation_python.h"

#include <float.h>
#include <math.h>
#include <string.h>

ENTRY_VARIANTS(CORRELATION_VARIANTS[i], CORRELATION_VARIANTS[i]->name,
               CORRELATION_VARIANTS[i]->runs_here())

/* The variant of that name, or NULL with an exception. */
const Variant *correlation_variant(const char *name)
{
    for (const Variant *const *v = CORRELATION_VARIANTS; *v; v++)
        if (strcmp((*v)->name, name) == 0 && (*v)->runs_here())
            return *v;
    PyErr_Format(PyExc_ValueError, "this processor has no variant %s", name);
    return NULL;
}

const char *correlation_set_kernel(Task *t, const Py_buffer *taps, int ndim, ptrdiff_t terms)
{
    if (taps->ndim != ndim || !has_format(taps, "d"))
        return ndim == 4 ? "taps are float64 [kernels, channels, height, width]"
                         : "taps are float64 [channels, height, width]";
    const char *wrong = entry_misfit(taps);
    if (wrong)
        return wrong;
    const Py_ssize_t *shape = taps->shape + ndim - 3;
    if (t->parts_y < 1 || t->parts_y > MOST_PARTS || t->parts_x < 1 || t->parts_x > MOST_PARTS)
        return "the number of parts is out of range";
    if (terms < 1 || terms > MOST_TERMS || shape[0] % terms)
        return "the number of terms is out of range";
    t->terms = terms;
    if (!correlation_has_sides(t->sides))
        return "the transforms have no such sides";
    t->channels = shape[0] / terms, t->height = shape[1], t->width = shape[2];
    t->taps = taps->buf;
    if (t->channels < 1 || t->channels > MOST_CHANNELS || t->height < t->parts_y ||
        t->height > t->sides.y * t->parts_y || t->width < t->parts_x ||
        t->width > t->sides.x * t->parts_x)
        return "the kernel's size is out of range";
    t->part_height = (t->height + t->parts_y - 1) / t->parts_y;
    t->part_width = (t->width + t->parts_x - 1) / t->parts_x;
    if (t->part_height * (t->parts_y - 1) >= t->height ||
        t->part_width * (t->parts_x - 1) >= t->width)
        return "the kernel has more parts than values";
    return NULL;
}

/* The values of a kernel's spectra. */
static Py_ssize_t spectra_of(const Task *t)
{
    return passes_of(t) * t->channels * spectrum_values(t->sides);
}

const char *correlation_misfit_of_spectra(const Task *t, const Py_buffer *spectra, ptrdiff_t kernels)
{
    const Py_ssize_t item = has_format(spectra, "d") ? sizeof(double) : sizeof(float);
    if (spectra->len != kernels * spectra_of(t) * item)
        return "the spectra's size is not that of the kernel's parts, terms and channels";
    if (!entry_is_aligned(spectra->buf, 64))
        return "the spectra are not aligned to 64 bytes";
    return NULL;
}

static PyObject *spectrum(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"taps", "out", "parts_y", "parts_x", "terms", "variant",
                            "sides", "folds", NULL};
    PyObject *objects[2];
    Py_buffer taps, out;
    Task t = {.sides = SQUARE};
    const char *name, *wrong;
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOnnns|(nn)n", names, &objects[0],
                                     &objects[1], &t.parts_y, &t.parts_x, &t.terms, &name,
                                     &t.sides.y, &t.sides.x, &t.sides.folds) ||
        !(variant = correlation_variant(name)))
        return NULL;
    if (PyObject_GetBuffer(objects[0], &taps, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return NULL;
    if (PyObject_GetBuffer(objects[1], &out, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE | PyBUF_FORMAT) <
        0) {
        PyBuffer_Release(&taps);
        return NULL;
    }
    const int is_double = has_format(&out, "d");
    wrong = correlation_set_kernel(&t, &taps, 3, t.terms);
    if (!wrong && !is_double && !has_format(&out, "f"))
        wrong = "spectra are float32 or float64";
    if (!wrong)
        wrong = correlation_misfit_of_spectra(&t, &out, 1);
    if (!wrong) {
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t i = 0; i < passes_of(&t) * t.channels; i++) {
            const Part part = correlation_part(&t, i / t.channels, i % t.channels);
            if (is_double)
                variant->double_spectrum(part.taps, part.height, part.width, t.width, t.sides,
                                         (double *)out.buf + i * spectrum_values(t.sides));
            else
                variant->spectrum(part.taps, part.height, part.width, t.width, t.sides,
                                  (float *)out.buf + i * spectrum_values(t.sides));
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&taps);
    if (entry_failed(&out, 1, wrong, 0))
        return NULL;
    Py_RETURN_NONE;
}

/* The sum of the squares of some values: CHAINS of them do not wait for each other. */
static double sum_of_squares(const double *values, ptrdiff_t count)
{
    enum { CHAINS = 16 };
    double sums[CHAINS] = {0}, sum = 0;
    ptrdiff_t i = 0;
    for (; i + CHAINS <= count; i += CHAINS)
        for (int j = 0; j < CHAINS; j++)
            sums[j] += values[i + j] * values[i + j];
    for (; i < count; i++)
        sum += values[i] * values[i];
    for (int j = 0; j < CHAINS; j++)
        sum += sums[j];
    return sum;
}

/* The norm of the taps of a part and term, of all channels. */
static double norm_of(const Task *t, ptrdiff_t pass)
{
    double squares = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++) {
        const Part part = correlation_part(t, pass, c);
        if (part.width == t->width)
            squares += sum_of_squares(part.taps, part.height * part.width);
        else
            for (ptrdiff_t y = 0; y < part.height; y++)
                squares += sum_of_squares(part.taps + y * t->width, part.width);
    }
    return sqrt(squares);
}

/* As the task's smooth_share says, of taps of this norm; rows are summed up before columns are. */
static double smooth_share_of(const Task *t, double norm)
{
    double smooth = 0, sums[MOST_SIDE * MOST_PARTS];
    const double *taps = t->taps;
    for (ptrdiff_t part = 0; part < 4 * t->channels; part++) {
        const ptrdiff_t i = part % 4, top = t->height * i / 4, bottom = t->height * (i + 1) / 4;
        memset(sums, 0, (size_t)t->width * sizeof *sums);
        for (ptrdiff_t y = top; y < bottom; y++, taps += t->width)
            for (ptrdiff_t x = 0; x < t->width; x++)
                sums[x] += taps[x];
        for (ptrdiff_t j = 0; j < 4; j++) {
            const ptrdiff_t left = t->width * j / 4, right = t->width * (j + 1) / 4;
            double sum = 0;
            for (ptrdiff_t x = left; x < right; x++)
                sum += sums[x];
            const double count = (double)((bottom - top) * (right - left));
            smooth += count > 0 ? sum * sum / count : 0;
        }
    }
    return norm > 0 ? smooth / norm / norm : 0;
}

static PyObject *summary(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"taps", "out", "parts_y", "parts_x", "terms", "sides", "folds", NULL};
    PyObject *objects[2];
    Py_buffer b[2] = {{0}};
    Task t = {.sides = SQUARE};
    const char *wrong = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOnnn|(nn)n", names, &objects[0], &objects[1],
                                     &t.parts_y, &t.parts_x, &t.terms, &t.sides.y, &t.sides.x,
                                     &t.sides.folds))
        return NULL;
    for (int i = 0; i < 2; i++) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (i > 0 ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(objects[i], &b[i], flags) < 0) {
            entry_release(b, 2);
            return NULL;
        }
    }
    wrong = entry_misfit(&b[1]);
    if (!wrong)
        wrong = correlation_set_kernel(&t, &b[0], 3, t.terms);
    if (!wrong && (b[1].ndim != 1 || !has_format(&b[1], "d") || b[1].shape[0] != 1 + passes_of(&t)))
        wrong = "the summary is not float64 [1 + parts x terms]";
    if (!wrong) {
        double *out = b[1].buf, squares = 0;
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t i = 0; i < passes_of(&t); i++) {
            out[1 + i] = norm_of(&t, i);
            squares += out[1 + i] * out[1 + i];
        }
        out[0] = t.terms == 1 ? smooth_share_of(&t, sqrt(squares)) : 0;
        Py_END_ALLOW_THREADS
    }
    if (entry_failed(b, 2, wrong, 0))
        return NULL;
    Py_RETURN_NONE;
}

enum {
    IMAGE, SPECTRA, DOUBLE_SPECTRA, CURVES, TAPS, SUMMARIES, MEANS, NUMBERS, MAP, MAXIMA, ERRORS,
    BUFFERS
};
#define MAY_BE_NONE(buffer) ((buffer) == DOUBLE_SPECTRA || (buffer) == CURVES)

enum { GAIN, OWN, TOTAL, OFFSET, RESIDUAL, NUMBER_COUNT }; /* of a kernel, in NUMBERS */

/* Whether an array of maps, or of blocks' values, has one of this size for each kernel. */
static int has_shape(const Py_buffer *b, Py_ssize_t kernels, Py_ssize_t rows, Py_ssize_t cols)
{
    return b->ndim == 3 && has_format(b, "f") && b->shape[0] == kernels && b->shape[1] == rows &&
           b->shape[2] == cols;
}

static const char *misfit_of_image(const Py_buffer *image, const Task *t)
{
    if (image->ndim != 3 || !(has_format(image, "B") || has_format(image, "H") ||
                              has_format(image, "f") || has_format(image, "d")))
        return "the image is not uint8, uint16, float32 or float64 [height, width, channels]";
    if (image->shape[2] != t->channels || image->shape[0] < t->height ||
        image->shape[1] < t->width)
        return "the kernel's size does not fit the image's";
    if (image->strides[2] != image->itemsize ||
        image->strides[1] != image->itemsize * image->shape[2] || image->strides[0] < 0 ||
        image->strides[0] % image->itemsize)
        return "the pixels of an image's row have gaps";
    if (t->metric == SAD && t->type == DOUBLES)
        return "sad is not of float64";
    if (t->metric == SAD)
        return t->products ? "sad is summed by transforms" : NULL;
    if (t->terms != 1)
        return "terms are of sad";
    /* E must be exact, in doubles, and the squares of a column of bytes in 32 bits. */
    const double pixels = (double)(t->height * t->width), planes = (double)t->channels;
    if ((t->type == BYTES && (double)t->height * planes * 65025.0 >= 0x1p31) ||
        (t->type < FLOATS && correlation_most_under_root(t) / pixels >= 0x1p53))
        return "the sums over so many pixels do not fit";
    if (t->products && (t->stride_y > 1 || t->stride_x > 1))
        return "direct sums are at a stride of 1";
    if (t->products && t->type == BYTES && pixels * planes * (255 * 128) >= 0x1p31)
        return "direct sums of bytes are of as many as 32 bits hold";
    return NULL;
}

/* Whether sad's kernels have one range for each channel: finite middles, and halves not below 0; of
 * integers from one value of their type to another. */
static const char *misfit_of_ranges(const double *ranges, const Task *t, Py_ssize_t kernels)
{
    const ptrdiff_t channels = t->channels;
    const double most = t->type == BYTES ? 255 : 65535;
    for (Py_ssize_t i = 0; i < channels; i++) {
        const double middle = ranges[i], half = ranges[channels + i];
        if (!(fabs(middle) <= FLT_MAX && half >= 0 && half <= FLT_MAX))
            return "a middle or half of a range is not finite";
        if (half > 0 && half < LEAST_HALF)
            return "half of a range is too small to divide by";
        if (t->type < FLOATS && (middle - half < 0 || middle + half > most ||
                                 floor(middle - half) != middle - half ||
                                 floor(middle + half) != middle + half))
            return "a range of integers does not begin and end with values of their type";
    }
    for (Py_ssize_t k = 1; k < kernels; k++)
        if (memcmp(ranges, ranges + 2 * k * channels, (size_t)(2 * channels) * sizeof *ranges))
            return "the kernels have several ranges";
    return NULL;
}

/* Whether the curves of sad are finite and as many as there are channels and terms. */
static const char *misfit_of_curves(const Py_buffer *curves, const Task *t)
{
    if (t->metric != SAD)
        return "curves are of sad";
    if (curves->ndim != 3 || !has_format(curves, "d") || curves->shape[0] != t->channels ||
        curves->shape[1] != t->terms + 1 || curves->shape[2] != KNOTS)
        return "the curves are not float64 [channels, 1 + terms, KNOTS]";
    const double *knots = curves->buf;
    for (ptrdiff_t i = 0; i < t->channels * (t->terms + 1) * KNOTS; i++) {
        const int is_added = i / KNOTS % (t->terms + 1) == 0;
        if (!(fabs(knots[i]) <= (is_added ? FLT_MAX / 64 : MOST_ON_CURVE)))
            return "a curve's knot is too large";
    }
    return NULL;
}

/* What does not fit the first task, which all kernels share but for their own arrays and numbers. */
static const char *misfit(const Py_buffer *b, const Task *t, Py_ssize_t kernels)
{
    for (int i = 0; i < BUFFERS; i++) {
        const int is_elsewhere = i == SPECTRA || i == DOUBLE_SPECTRA;
        const char *wrong = is_elsewhere || !b[i].obj ? NULL : entry_misfit(&b[i]);
        if (wrong)
            return wrong;
    }
    if (t->stride_y < 1 || t->stride_x < 1)
        return "the stride is not positive";
    if (t->stride_y > 1 && t->sides.folds > 1)
        return "folded tiles are at a stride of 1";
    if (t->block < 1 || t->block > BLOCK)
        return "the block's side is out of range";
    const char *wrong = misfit_of_image(&b[IMAGE], t);
    if (wrong)
        return wrong;
    if (kernels > 1 && t->products)
        return "direct sums are of one kernel";
    if (b[MEANS].ndim != 2 || !has_format(&b[MEANS], "d") || b[MEANS].shape[0] != kernels ||
        b[MEANS].shape[1] != (t->metric == SAD ? 2 : 1) * t->channels)
        return "the means are not a float64 for each kernel and channel, of sad two";
    wrong = t->metric == SAD ? misfit_of_ranges(b[MEANS].buf, t, kernels) : NULL;
    if (!wrong && b[CURVES].obj)
        wrong = misfit_of_curves(&b[CURVES], t);
    if (wrong)
        return wrong;
    if (b[SUMMARIES].ndim != 2 || !has_format(&b[SUMMARIES], "d") ||
        b[SUMMARIES].shape[0] != kernels || b[SUMMARIES].shape[1] != 1 + passes_of(t))
        return "the summaries are not float64 [kernels, 1 + parts x terms]";
    const double *summaries = b[SUMMARIES].buf;
    for (Py_ssize_t i = 0; i < kernels * (1 + passes_of(t)); i++)
        if (!(summaries[i] >= 0))
            return "a norm or share is negative";
    if (b[NUMBERS].ndim != 2 || !has_format(&b[NUMBERS], "d") || b[NUMBERS].shape[0] != kernels ||
        b[NUMBERS].shape[1] != NUMBER_COUNT)
        return "the numbers are not five of float64 for each kernel";
    const Py_ssize_t rows = (b[IMAGE].shape[0] - t->height) / t->stride_y + 1;
    const Py_ssize_t cols = (b[IMAGE].shape[1] - t->width) / t->stride_x + 1;
    if (!has_shape(&b[MAP], kernels, rows, cols))
        return "the map is not float32, one for each kernel and window";
    for (int i = MAXIMA; i <= ERRORS; i++)
        if (!has_shape(&b[i], kernels, (rows + t->block - 1) / t->block,
                       (cols + t->block - 1) / t->block))
            return "maxima and errors are not a float32 for each kernel and block";
    const double *numbers = b[NUMBERS].buf;
    for (Py_ssize_t k = 0; k < kernels; k++, numbers += NUMBER_COUNT) {
        if (!(numbers[OFFSET] == numbers[OFFSET]) || !(numbers[RESIDUAL] >= 0))
            return "offset and residual are not numbers";
        const int has_own =
            t->metric == SSD || t->metric == SAD ? numbers[OWN] >= 0 : numbers[OWN] > 0;
        if (!(numbers[GAIN] > 0) || !has_own || !(numbers[TOTAL] > 0) || !(t->limit > 0))
            return "gain, own, total and limit are not positive";
        if ((t->metric == SSD || t->metric == SAD) && numbers[TOTAL] < DBL_MIN)
            return "the total is too small to divide by";
    }
    return NULL;
}

/* How far a factor of sad may be off, of a term of a channel. */
static double error_of_factor(const Task *t, ptrdiff_t channel, ptrdiff_t term)
{
    const double odd = (double)(term - term % 2 + 1);
    return t->curves ? error_of_curve(curve_of_term(t, channel, term)) : WAVE_ERROR * odd * (odd + 1);
}

/* What the image's factors of sad may add to X of a part and term: absolute values add up to at most
 * their norm times the root of their number (Cauchy and Schwarz). */
static double error_of_factors(const Task *t, ptrdiff_t pass)
{
    double error = 0;
    for (ptrdiff_t c = 0; c < t->channels; c++)
        error = fmax(error, error_of_factor(t, c, pass % t->terms));
    return error * t->norms[pass] * sqrt((double)(t->channels * t->part_height * t->part_width));
}

/* The task of kernel k, whose image and sizes are those of the first one. */
static void set_own(Task *t, Py_ssize_t k, const Py_buffer *b)
{
    const double *numbers = (const double *)b[NUMBERS].buf + k * NUMBER_COUNT;
    const ptrdiff_t blocks = b[MAXIMA].shape[1] * b[MAXIMA].shape[2];
    const ptrdiff_t taps = t->terms * t->channels * t->height * t->width;
    t->gain = numbers[GAIN], t->own = numbers[OWN], t->total = numbers[TOTAL];
    t->offset = numbers[OFFSET], t->residual = numbers[RESIDUAL];
    t->taps = (const double *)b[TAPS].buf + k * taps;
    t->means = (const double *)b[MEANS].buf + k * b[MEANS].shape[1];
    t->halves = t->means + t->channels; /* which only sad has */
    t->spectra = t->products ? NULL : (const float *)b[SPECTRA].buf + k * spectra_of(t);
    t->double_spectra = t->products || !b[DOUBLE_SPECTRA].obj
                            ? NULL
                            : (const double *)b[DOUBLE_SPECTRA].buf + k * spectra_of(t);
    t->map = (float *)b[MAP].buf + k * t->rows * t->cols;
    t->maxima = (float *)b[MAXIMA].buf + k * blocks;
    t->errors = (float *)b[ERRORS].buf + k * blocks;
    const double *summary = (const double *)b[SUMMARIES].buf + k * (1 + passes_of(t));
    const int is_expected = (t->metric == ZNCC || t->metric == NCC) && t->limit <= MAP_LIMIT;
    t->smooth_share = is_expected && !t->products ? summary[0] : 0;
    t->norms = summary + 1;
    double squares = 0;
    for (ptrdiff_t i = 0; i < passes_of(t); i++) {
        squares += t->norms[i] * t->norms[i];
        if (t->metric == SAD)
            t->residual += t->gain * error_of_factors(t, i);
    }
    t->norm = sqrt(squares);
    for (ptrdiff_t i = 0; i < blocks; i++)
        t->maxima[i] = -INFINITY, t->errors[i] = 0;
}

static PyObject *scores(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"image",    "spectra",   "taps",   "summaries", "means",
                            "numbers",  "map",       "maxima", "errors",    "metric",
                            "limit",    "stride_y",  "stride_x", "block",   "is_direct",
                            "parts_y",  "parts_x",   "terms",  "variant",   "sides",
                            "folds",    "double_spectra", "curves", NULL};
    PyObject *objects[BUFFERS] = {[DOUBLE_SPECTRA] = Py_None, [CURVES] = Py_None};
    Py_buffer b[BUFFERS];
    Task tasks[MOST_KERNELS] = {{.sides = SQUARE}}, *t = tasks;
    const char *metric, *name, *wrong = NULL;
    const Variant *variant;
    int failed = 1, is_direct;
    Py_ssize_t kernels = 0, direct = 0, repeated = 0;
    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "OOOOOOOOOsdnnnpnnns|(nn)nOO", names, &objects[IMAGE],
            &objects[SPECTRA], &objects[TAPS], &objects[SUMMARIES], &objects[MEANS],
            &objects[NUMBERS], &objects[MAP], &objects[MAXIMA], &objects[ERRORS], &metric,
            &t->limit, &t->stride_y, &t->stride_x, &t->block, &is_direct,
            &t->parts_y, &t->parts_x, &t->terms, &name, &t->sides.y, &t->sides.x,
            &t->sides.folds, &objects[DOUBLE_SPECTRA], &objects[CURVES]) ||
        !(variant = correlation_variant(name)))
        return NULL;
    static const char *const metrics[] = {"zncc", "ncc", "ssd", "sad"};
    int found = 0;
    while (found < 4 && strcmp(metric, metrics[found]))
        found++;
    if (found == 4)
        return PyErr_Format(PyExc_ValueError, "the metric is not zncc, ncc, ssd or sad");
    t->metric = (Metric)found;
    memset(b, 0, sizeof b);
    for (int i = 0; i < BUFFERS; i++) {
        int flags = i == IMAGE ? PyBUF_STRIDES : PyBUF_C_CONTIGUOUS;
        flags |= i >= MAP ? PyBUF_WRITABLE : 0;
        if ((objects[i] != Py_None || !MAY_BE_NONE(i)) &&
            PyObject_GetBuffer(objects[i], &b[i], flags | PyBUF_FORMAT) < 0)
            goto release;
    }
    t->type = has_format(&b[IMAGE], "B")   ? BYTES
              : has_format(&b[IMAGE], "H") ? WORDS
              : has_format(&b[IMAGE], "d") ? DOUBLES
                                           : FLOATS;
    t->products = is_direct ? variant->products[t->type] : NULL;
    t->byte_sums = variant->byte_sums;
    wrong = correlation_set_kernel(t, &b[TAPS], 4, t->terms);
    if (!wrong) {
        kernels = b[TAPS].shape[0];
        if (kernels < 1 || kernels > MOST_KERNELS)
            wrong = "the number of kernels is out of range";
    }
    if (!wrong && !is_direct && !has_format(&b[SPECTRA], "f"))
        wrong = "the spectra are not float32";
    if (!wrong && !is_direct)
        wrong = correlation_misfit_of_spectra(t, &b[SPECTRA], kernels);
    if (!wrong && b[DOUBLE_SPECTRA].obj && !has_format(&b[DOUBLE_SPECTRA], "d"))
        wrong = "the double spectra are not float64";
    if (!wrong && !is_direct && b[DOUBLE_SPECTRA].obj)
        wrong = correlation_misfit_of_spectra(t, &b[DOUBLE_SPECTRA], kernels);
    if (!wrong)
        wrong = misfit(b, t, kernels);
    if (!wrong && is_direct && !t->products)
        wrong = "this variant has no direct sums";
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
        goto release;
    }
    t->curves = b[CURVES].obj ? b[CURVES].buf : NULL;
    t->image = b[IMAGE].buf, t->pitch = b[IMAGE].strides[0];
    t->rows = b[MAP].shape[1], t->cols = b[MAP].shape[2];
    t->stride_y = entry_stride(t->stride_y, b[IMAGE].shape[0]);
    t->stride_x = entry_stride(t->stride_x, b[IMAGE].shape[1]);
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t k = 1; k < kernels; k++)
        tasks[k] = *t;
    for (Py_ssize_t k = 0; k < kernels; k++)
        set_own(&tasks[k], k, b);
    failed = variant->scores(tasks, kernels);
    Py_END_ALLOW_THREADS
    for (Py_ssize_t k = 0; k < kernels; k++)
        direct += tasks[k].direct, repeated += tasks[k].repeated;
    if (failed)
        PyErr_NoMemory();
release:
    entry_release(b, BUFFERS);
    return failed ? NULL : Py_BuildValue("nn", direct, repeated);
}

static PyObject *scratch(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    static char *names[] = {"format", "windows", "kernel_shape", "stride", "block",
                            "is_direct", "parts_y", "parts_x", "terms", "variant", "kernels",
                            "may_repeat", "sides", "folds", "is_sad", NULL};
    const char *format, *name;
    Py_ssize_t kernels;
    Task t = {.sides = SQUARE};
    int is_direct, may_repeat, is_sad = 0;
    const Variant *variant;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "s(nn)(nnn)(nn)npnnnsnp|(nn)np", names,
                                     &format, &t.rows, &t.cols, &t.height, &t.width, &t.channels, &t.stride_y,
                                     &t.stride_x, &t.block, &is_direct, &t.parts_y, &t.parts_x,
                                     &t.terms, &name, &kernels, &may_repeat, &t.sides.y,
                                     &t.sides.x, &t.sides.folds, &is_sad) ||
        !(variant = correlation_variant(name)))
        return NULL;
    t.metric = is_sad ? SAD : ZNCC;
    t.type = *format == 'B' ? BYTES : *format == 'H' ? WORDS : *format == 'd' ? DOUBLES : FLOATS;
    t.products = is_direct ? variant->products[t.type] : NULL;
    t.byte_sums = variant->byte_sums;
    if ((is_direct && !t.products) || !strchr("BHfd", *format) || strlen(format) != 1 || t.rows < 1 ||
        t.cols < 1 || t.parts_y < 1 || t.parts_y > MOST_PARTS ||
        t.parts_x < 1 || t.parts_x > MOST_PARTS || t.terms < 1 || t.terms > MOST_TERMS ||
        !correlation_has_sides(t.sides) || t.height < 1 ||
        t.height > t.sides.y * t.parts_y || t.width < 1 || t.width > t.sides.x * t.parts_x ||
        t.channels < 1 || t.channels > MOST_CHANNELS || t.stride_y < 1 || t.stride_x < 1 ||
        t.block < 1 || t.block > BLOCK || kernels < 1 || kernels > MOST_KERNELS) {
        PyErr_SetString(PyExc_ValueError, "a size or the type of the pixels is out of range");
        return NULL;
    }
    if (entry_times(entry_extent(t.rows, t.stride_y, t.height),
                    entry_extent(t.cols, t.stride_x, t.width)) > ENTRY_MOST)
        return PyErr_Format(PyExc_ValueError, "the windows are too many, or too far apart");
    t.part_height = (t.height + t.parts_y - 1) / t.parts_y;
    t.part_width = (t.width + t.parts_x - 1) / t.parts_x;
    t.limit = may_repeat ? MAP_LIMIT : 1;
    Layout layout = correlation_layout(&t);
    size_t most = 0; /* fewer may take more: the arrays of several have room for double precision */
    for (Py_ssize_t count = 1; count <= kernels; count++) {
        const size_t more = may_repeat && !is_direct ? correlation_doubles(&t, count).more : 0;
        const size_t bytes = correlation_scratch(&t, &layout, count) + more;
        most = most > bytes ? most : bytes;
    }
    return PyLong_FromSize_t(most);
}

static PyObject *at_once(PyObject *self, PyObject *args)
{
    (void)self;
    const char *name, *format;
    const Variant *variant;
    if (!PyArg_ParseTuple(args, "ss", &name, &format) || !(variant = correlation_variant(name)))
        return NULL;
    const char *const formats = "BHfd", *at = strlen(format) == 1 ? strchr(formats, *format) : NULL;
    if (!at)
        return PyErr_Format(PyExc_ValueError, "the format is not B, H, f or d");
    const Products *products = variant->products[at - formats];
    if (!products)
        return Py_BuildValue("iii", 0, 0, 0);
    return Py_BuildValue("iii", products->taps, products->rows, products->cols);
}

static PyObject *values(PyObject *self, PyObject *args)
{
    (void)self;
    Sides sides;
    if (!PyArg_ParseTuple(args, "(nn)n", &sides.y, &sides.x, &sides.folds))
        return NULL;
    if (!correlation_has_sides(sides))
        return PyErr_Format(PyExc_ValueError, "the transforms have no such sides");
    return Py_BuildValue("nn", tile_values(sides), spectrum_values(sides));
}

static PyObject *release(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    correlation_release();
    return Py_BuildValue("");
}

static PyMethodDef METHODS[] = {
    {"scores", KEYWORDS(scores),
     "scores(image, spectra, taps, summaries, means, numbers, map, maxima, errors, metric, limit,"
     " stride_y, stride_x, block, is_direct, parts_y, parts_x, terms, variant, sides=(SIDE, SIDE),"
     " folds=1, double_spectra=None, curves=None)\n\n"
     "Write the scores of all windows to map, and for each block x block of them the largest and\n"
     "how far scores may be off, for kernels of one size. Returns how many windows were summed\n"
     "directly, and how many tiles were transformed in double precision. The formulas are in\n"
     "_correlation.h.\n\n"
     "image: uint8, uint16, float32 or, but for sad, float64 [height, width, channels], rows\n"
     "without gaps; spectra: from spectrum, of each kernel; double_spectra: the same as\n"
     "float64, or None where they are made as they are needed; taps: float64 [kernels, terms x\n"
     "channels, height, width], each kernel less its means or its terms of sad, over gain;\n"
     "summaries: float64 [kernels, 1 + parts x terms], from summary; means: float64 [kernels,\n"
     "channels], of sad [kernels, 2 x channels], the middles and half the widths of the\n"
     "ranges; numbers: float64 [kernels, 5], gain, own, total, offset and residual; curves, of\n"
     "sad: float64 [channels, 1 + terms, KNOTS], what pixels add and are put into for each\n"
     "term, from the low end of the range to the high one, or None for sines and cosines; map:\n"
     "float32 [kernels, rows, cols]; maxima, errors: float32 [kernels, ...] of the blocks.\n"
     "Direct sums are of one kernel."},
    {"spectrum", KEYWORDS(spectrum),
     "spectrum(taps, out, parts_y, parts_x, terms, variant, sides=(SIDE, SIDE), folds=1)\n\n"
     "Write the transforms of a kernel's parts, terms and channels to out, float32 or float64\n"
     "aligned to 64 bytes."},
    {"summary", KEYWORDS(summary),
     "summary(taps, out, parts_y, parts_x, terms, sides=(SIDE, SIDE), folds=1)\n\n"
     "Write to out, float64 [1 + parts x terms], what scores takes of a kernel's taps: how smooth\n"
     "they are, from 0 to 1, and the norm of each part and term."},
    {"values", values, METH_VARARGS,
     "values(sides, folds)\n\n"
     "Return the values of a tile's transform, and of a kernel's spectrum for each part, term and\n"
     "channel."},
    {"scratch", KEYWORDS(scratch),
     "scratch(format, windows, kernel_shape, stride, block, is_direct, parts_y, parts_x, terms,"
     " variant, kernels, may_repeat, sides=(SIDE, SIDE), folds=1, is_sad=False)\n\n"
     "Bytes that scores allocates, with may_repeat if it transforms tiles in double precision, for\n"
     "which it allocates a kernel's spectra in float64, too, unless they are given."},
    {"weighted_scores", KEYWORDS(correlation_weighted_scores), CORRELATION_WEIGHTED_SCORES},
    {"weighted_scratch", KEYWORDS(correlation_weighted_scratch_bytes), CORRELATION_WEIGHTED_SCRATCH},
    {"at_once", at_once, METH_VARARGS,
     "at_once(variant, format) -> (taps, rows, cols)\n\n"
     "Taps that an instruction multiplies at once in direct sums of pixels of that format, and rows\n"
     "and columns of windows that are summed together; zeros without direct sums."},
    {"release", release, METH_NOARGS,
     "release()\n\n"
     "Give back the memory that is kept for the next call."},
    ENTRY_VARIANTS_METHOD,
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_correlation", NULL, 0, METHODS, NULL, NULL, NULL, NULL,
};

/* SIDES: what an axis of a transform may be. */
static int add_sides(PyObject *module)
{
    PyObject *sides = PyList_New(0);
    int failed = !sides;
    for (Py_ssize_t side = 16; side <= MOST_SIDE && !failed; side += 16) {
        PyObject *number = correlation_has_side(side) ? PyLong_FromSsize_t(side) : NULL;
        failed = correlation_has_side(side) && (!number || PyList_Append(sides, number) < 0);
        Py_XDECREF(number);
    }
    PyObject *all = failed ? NULL : PyList_AsTuple(sides);
    Py_XDECREF(sides);
    failed = !all || PyModule_AddObjectRef(module, "SIDES", all) < 0;
    Py_XDECREF(all);
    return failed ? -1 : 0;
}

PyMODINIT_FUNC PyInit__correlation(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module && (add_sides(module) < 0 || PyModule_AddIntConstant(module, "SIDE", SIDE) < 0 ||
                   PyModule_AddIntConstant(module, "MOST_CHANNELS", MOST_CHANNELS) < 0 ||
                   PyModule_AddIntConstant(module, "MOST_WEIGHTED_CHANNELS",
                                           MOST_WEIGHTED_CHANNELS) < 0 ||
                   PyModule_AddIntConstant(module, "MOST_PARTS", MOST_PARTS) < 0 ||
                   PyModule_AddIntConstant(module, "MOST_TERMS", MOST_TERMS) < 0 ||
                   PyModule_AddIntConstant(module, "KNOTS", KNOTS) < 0 ||
                   PyModule_AddIntConstant(module, "MOST_KERNELS", MOST_KERNELS) < 0 ||
                   PyModule_AddIntConstant(module, "TILE_VALUES", TILE_VALUES) < 0))
        Py_CLEAR(module);
    correlation_tables();
    return module;
}
