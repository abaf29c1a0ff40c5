/* Loops in double precision or of few steps, which need no vectors of their own. */
#include "_poses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ptrdiff_t inside(ptrdiff_t at, ptrdiff_t length)
{
    return at < 0 ? 0 : at >= length ? length - 1 : at;
}

static void cubic(double t, double w[4])
{
    w[0] = ((2 - t) * t - 1) * t / 2;
    w[1] = ((3 * t - 5) * t * t + 2) / 2;
    w[2] = ((4 - 3 * t) * t + 1) * t / 2;
    w[3] = (t - 1) * t * t / 2;
}

static INLINE double pixel(const void *pixels, const Type type, ptrdiff_t at)
{
    switch (type) {
    case U8: return ((const uint8_t *)pixels)[at];
    case U16: return ((const uint16_t *)pixels)[at];
    case F32: return (double)((const float *)pixels)[at];
    default: return ((const double *)pixels)[at];
    }
}

static double visibility(const Exact *e, double x, double y)
{
    const Picture *p = &e->picture;
    const double left = floor(x), top = floor(y), fx = x - left, fy = y - top;
    double sum = 0;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            const ptrdiff_t at = inside((ptrdiff_t)top + i, p->height) * p->width + inside((ptrdiff_t)left + j, p->width);
            sum += (i ? fy : 1 - fy) * (j ? fx : 1 - fx) * e->visible[at];
        }
    return sum;
}

/* Where the sixteen neighbours of a position lie, and how much each of them counts. */
typedef struct {
    ptrdiff_t rows[4], columns[4];
    double down[4], across[4];
} Neighbours;

static Neighbours neighbours(const Picture *p, double x, double y)
{
    Neighbours n;
    const double left = floor(x), top = floor(y);
    cubic(x - left, n.across);
    cubic(y - top, n.down);
    for (int i = 0; i < 4; i++) {
        n.columns[i] = inside((ptrdiff_t)left + i - 1, p->width) * p->channels;
        n.rows[i] = inside((ptrdiff_t)top + i - 1, p->height) * p->width * p->channels;
    }
    return n;
}

static INLINE double sample(const void *pixels, const Type type, const Neighbours *n, ptrdiff_t channel)
{
    double value = 0;
    for (int i = 0; i < 4; i++) {
        double row = 0;
        for (int j = 0; j < 4; j++)
            row += n->across[j] * pixel(pixels, type, n->rows[i] + n->columns[j] + channel);
        value += n->down[i] * row;
    }
    if (type == U8 || type == U16) {
        const double largest = type == U8 ? 255 : 65535;
        value = value < 0 ? 0 : value > largest ? largest : value;
    }
    return value;
}

static INLINE void exact(const Exact *e, const Type type)
{
    const Picture *p = &e->picture, *k = &e->kernel;
    int is_first = 1;
    for (ptrdiff_t i = 0; i < k->height; i++)
        for (ptrdiff_t j = 0; j < k->width; j++) {
            const double u = (double)j - e->centre_x, v = (double)i - e->centre_y;
            const double x = e->x + u * e->cos + v * e->sin, y = e->y + v * e->cos - u * e->sin;
            const Neighbours n = neighbours(p, x, y);
            const double seen = e->visible ? visibility(e, x, y) : 1;
            for (ptrdiff_t c = 0; c < k->channels; c++) {
                const ptrdiff_t at = (i * k->width + j) * k->channels + c;
                const ptrdiff_t shade = (i * k->width + j) * e->shades + (e->shades > 1 ? c : 0);
                const double w = e->weights ? e->weights[shade] * seen : seen;
                const double value = sample(p->pixels, type, &n, c);
                double *s = e->sums + c * SUMS, *shift = e->shifts + 2 * c;
                if (is_first) /* near the values, so that their squares' sums keep their digits */
                    shift[0] = pixel(k->pixels, type, at), shift[1] = value;
                const double tap = pixel(k->pixels, type, at), a = tap - shift[0], b = value - shift[1];
                s[WEIGHT] += w;
                s[KERNEL] += w * a, s[PICTURE] += w * b;
                s[KERNEL_SQUARE] += w * a * a, s[PRODUCT] += w * a * b, s[PICTURE_SQUARE] += w * b * b;
                s[DISTANCE] += w * fabs(tap - value), s[DISTANCE_SQUARE] += w * (tap - value) * (tap - value);
            }
            is_first = 0;
        }
}

void poses_exact(const Exact *e)
{
    memset(e->sums, 0, (size_t)(e->kernel.channels * SUMS) * sizeof *e->sums);
    switch (e->picture.type) {
    case U8: exact(e, U8); break;
    case U16: exact(e, U16); break;
    case F32: exact(e, F32); break;
    default: exact(e, F64);
    }
}

static void turn_one(const Kernel *k, ptrdiff_t width, double half_y, double half_x, const double *pose, ptrdiff_t radius,
                     double border, float *values, uint8_t *mask)
{
    const double scale = exp(pose[1]), c = cos(pose[0]) / scale, s = sin(pose[0]) / scale;
    const ptrdiff_t side = 2 * radius + 1, box = side * side;
    memset(values, 0, (size_t)(k->channels * box) * sizeof *values);
    memset(mask, 0, (size_t)(k->shades * box));
    for (ptrdiff_t y = -radius; y <= radius; y++)
        for (ptrdiff_t x = -radius; x <= radius; x++) {
            const double u = (double)x * c - (double)y * s, v = (double)x * s + (double)y * c;
            if (fabs(u) > half_x - border / scale || fabs(v) > half_y - border / scale)
                continue;
            const double px = u + k->centre_x, py = v + k->centre_y;
            const ptrdiff_t near = inside((ptrdiff_t)floor(py + 0.5), k->height) * k->pitch + inside((ptrdiff_t)floor(px + 0.5), width);
            const ptrdiff_t to = (y + radius) * side + x + radius;
            double down[4], across[4];
            cubic(px - floor(px), across);
            cubic(py - floor(py), down);
            for (ptrdiff_t shade = 0; shade < k->shades; shade++)
                mask[shade * box + to] = k->weights[shade * k->height * k->pitch + near] >= 0.5f;
            for (ptrdiff_t channel = 0; channel < k->channels; channel++) {
                double value = 0;
                if (!mask[(k->shades > 1 ? channel : 0) * box + to])
                    continue;
                for (int i = 0; i < 4; i++) {
                    const float *row = k->taps + (channel * k->height + inside((ptrdiff_t)floor(py) + i - 1, k->height)) * k->pitch;
                    for (int j = 0; j < 4; j++)
                        value += down[i] * across[j] * (double)row[inside((ptrdiff_t)floor(px) + j - 1, width)];
                }
                values[channel * box + to] = (float)value;
            }
        }
}

void poses_turn(const Kernel *k, ptrdiff_t width, double half_y, double half_x, const double *poses, ptrdiff_t n,
                ptrdiff_t radius, double border, float *values, uint8_t *mask)
{
    const ptrdiff_t box = (2 * radius + 1) * (2 * radius + 1);
    for (ptrdiff_t i = 0; i < n; i++)
        turn_one(k, width, half_y, half_x, poses + 2 * i, radius, border, values + i * k->channels * box, mask + i * k->shades * box);
}

/* Whether none of a cell's neighbours is better; of equals the first one counts. */
static int is_maximum(const Maxima *m, ptrdiff_t scale, ptrdiff_t angle, ptrdiff_t y, ptrdiff_t x)
{
    const ptrdiff_t plane = m->rows * m->pitch, pose = scale * m->angles + angle;
    const float score = m->volume[pose * plane + y * m->pitch + x];
    for (ptrdiff_t a = scale > 0 ? scale - 1 : 0; a <= scale + 1 && a < m->scales; a++)
        for (ptrdiff_t turn = -1; turn <= 1; turn++) {
            ptrdiff_t b = angle + turn;
            if (m->angles == 1 && turn)
                continue;
            if (b < 0 || b >= m->angles) {
                if (!m->is_cyclic)
                    continue;
                b = (b + m->angles) % m->angles;
            }
            const ptrdiff_t other = a * m->angles + b;
            for (ptrdiff_t v = y > 0 ? y - 1 : 0; v <= y + 1 && v < m->rows; v++)
                for (ptrdiff_t u = x > 0 ? x - 1 : 0; u <= x + 1 && u < m->width; u++) {
                    const float found = m->volume[other * plane + v * m->pitch + u];
                    if (found > score)
                        return 0;
                    if (found == score && (other < pose || (other == pose && (v < y || (v == y && u < x)))))
                        return 0;
                }
        }
    return 1;
}

static int falling(const void *one, const void *other)
{
    const float a = *(const float *)one, b = *(const float *)other;
    return a < b ? 1 : a > b ? -1 : 0;
}

/* Keep the best half; returns how many, or -1 without memory. What scores less counts no more. */
static ptrdiff_t halved(const Maxima *m, ptrdiff_t n, float *bar)
{
    float *sorted = malloc((size_t)n * sizeof *sorted);
    ptrdiff_t kept = 0;
    if (!sorted)
        return -1;
    memcpy(sorted, m->scores, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, falling);
    *bar = sorted[n / 2];
    free(sorted);
    for (ptrdiff_t i = 0; i < n; i++)
        if (m->scores[i] > *bar) {
            memmove(m->found + 3 * kept, m->found + 3 * i, 3 * sizeof *m->found);
            m->scores[kept++] = m->scores[i];
        }
    *bar = nextafterf(*bar, INFINITY);
    return kept;
}

ptrdiff_t poses_maxima(const Maxima *m)
{
    ptrdiff_t n = 0;
    float bar = m->bar;
    for (ptrdiff_t scale = 0; scale < m->scales; scale++)
        for (ptrdiff_t angle = 0; angle < m->angles; angle++)
            for (ptrdiff_t y = m->first; y < m->last; y++) {
                const ptrdiff_t pose = scale * m->angles + angle;
                const float *row = m->volume + (pose * m->rows + y) * m->pitch;
                for (ptrdiff_t x = 0; x < m->width; x++) {
                    if (!(row[x] >= bar) || !is_maximum(m, scale, angle, y, x))
                        continue;
                    if (n == m->most && (n = halved(m, n, &bar)) < 0)
                        return -1;
                    if (!(row[x] >= bar))
                        continue;
                    m->found[3 * n] = (int32_t)pose, m->found[3 * n + 1] = (int32_t)y, m->found[3 * n + 2] = (int32_t)x;
                    m->scores[n++] = row[x];
                }
            }
    return n;
}
