/* Loops in double precision or of few steps, which need no vectors of their own. */
#include "_poses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ptrdiff_t inside(ptrdiff_t at, ptrdiff_t length)
{
    return at < 0 ? 0 : at >= length ? length - 1 : at;
}

double poses_softness(double pixel)
{
    return pixel >= 1 ? 0 : pixel <= 0.5 ? 1 : 2 * (1 - pixel);
}

/* Whether a pixel counts in any channel. */
static int counts(const Kernel *k, ptrdiff_t at)
{
    for (ptrdiff_t s = 0; s < k->shades; s++)
        if (k->weights[s * k->height * k->pitch + at] > 0)
            return 1;
    return 0;
}

/* Copy pixel `at` of a kernel's planes to place i of n. */
static void copy_pixel(const float *from, ptrdiff_t planes, ptrdiff_t pixels, ptrdiff_t at, float *to, ptrdiff_t n, ptrdiff_t i)
{
    for (ptrdiff_t c = 0; c < planes; c++)
        to[c * n + i] = from[c * pixels + at];
}

int poses_count(const Kernel *k, ptrdiff_t every, Counted *counted)
{
    const ptrdiff_t turn = (ptrdiff_t)((double)every * 0.618) | 1, pixels = k->height * k->pitch;
    const ptrdiff_t planes = 2 + k->channels * (k->smoothing ? 2 : 1) + k->shades;
    const ptrdiff_t most = k->height * ((k->pitch / PIECE + every - 1) / every + 1) * PIECE;
    float *all = calloc((size_t)(planes * most), sizeof *all);
    ptrdiff_t i = 0;
    if (!all)
        return -1;
    counted->across = all, counted->down = all + most, counted->pitch = most, counted->shades = k->shades, counted->reach = k->reach;
    counted->taps = all + 2 * most, counted->weights = counted->taps + k->channels * most;
    counted->smoothing = k->smoothing ? counted->weights + k->shades * most : NULL;
    for (ptrdiff_t y = 0; y < k->height; y++)
        for (ptrdiff_t piece = y * turn % every * PIECE; piece < k->pitch; piece += PIECE * every)
            for (ptrdiff_t x = piece; x < piece + PIECE; x++) {
                const ptrdiff_t at = y * k->pitch + x;
                if (!counts(k, at))
                    continue;
                counted->across[i] = (float)((double)x - k->centre_x), counted->down[i] = (float)((double)y - k->centre_y);
                copy_pixel(k->taps, k->channels, pixels, at, counted->taps, most, i);
                copy_pixel(k->weights, k->shades, pixels, at, counted->weights, most, i);
                if (k->smoothing)
                    copy_pixel(k->smoothing, k->channels, pixels, at, counted->smoothing, most, i);
                i++;
            }
    counted->n = (i + PIECE - 1) / PIECE * PIECE;
    return 0;
}

int poses_reaches_farther(const Kernel *k)
{
    for (ptrdiff_t y = 0; y < k->height; y++)
        for (ptrdiff_t x = 0; x < k->pitch; x++)
            if (counts(k, y * k->pitch + x) && hypot((double)x - k->centre_x, (double)y - k->centre_y) > k->reach + 1e-3)
                return 1;
    return 0;
}

void poses_forget(Counted *counted)
{
    free(counted->across);
}

#define TURN (2 * 3.14159265358979323846)

static void cubic(double t, double w[4])
{
    w[0] = ((2 - t) * t - 1) * t / 2;
    w[1] = ((3 * t - 5) * t * t + 2) / 2;
    w[2] = ((4 - 3 * t) * t + 1) * t / 2;
    w[3] = (t - 1) * t * t / 2;
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

/* Whether none of a cell's neighbours in place and angle is better; of equals the first one counts. */
static int is_maximum(const Maxima *m, ptrdiff_t scale, ptrdiff_t angle, ptrdiff_t y, ptrdiff_t x)
{
    const ptrdiff_t plane = m->rows * m->pitch, pose = scale * m->angles + angle;
    const float score = m->volume[pose * plane + y * m->pitch + x];
    for (ptrdiff_t turn = -1; turn <= 1; turn++) {
        ptrdiff_t a = angle + turn;
        if (m->angles == 1 && turn)
            continue;
        if (a < 0 || a >= m->angles) {
            if (!m->is_cyclic)
                continue;
            a = (a + m->angles) % m->angles;
        }
        const ptrdiff_t other = scale * m->angles + a;
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

/* Keep the best half, of equals the first; returns how many, or -1 without memory. What scores no
 * more than the least of them counts no more. */
static ptrdiff_t halved(const Maxima *m, ptrdiff_t n, float *bar)
{
    float *sorted = malloc((size_t)n * sizeof *sorted);
    ptrdiff_t kept = 0, equals = n / 2;
    if (!sorted)
        return -1;
    memcpy(sorted, m->scores, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, falling);
    *bar = sorted[n / 2];
    free(sorted);
    for (ptrdiff_t i = 0; i < n; i++)
        equals -= m->scores[i] > *bar;
    for (ptrdiff_t i = 0; i < n; i++)
        if (m->scores[i] > *bar || (m->scores[i] == *bar && equals-- > 0)) {
            memmove(m->found + 3 * kept, m->found + 3 * i, 3 * sizeof *m->found);
            m->scores[kept++] = m->scores[i];
        }
    *bar = nextafterf(*bar, INFINITY);
    return kept;
}

#define CELLS 16 /* that are looked at together */

/* A row of cells and those beside it in place and angle; the row itself where there is none. */
typedef struct {
    const float *at, *above, *below, *before, *after;
} Row;

static Row row_of(const Maxima *m, ptrdiff_t scale, ptrdiff_t angle, ptrdiff_t y)
{
    const ptrdiff_t plane = m->rows * m->pitch, last = m->angles - 1;
    const ptrdiff_t before = angle > 0 ? -1 : m->is_cyclic ? last : 0, after = angle < last ? 1 : m->is_cyclic ? -last : 0;
    const float *at = m->volume + (scale * m->angles + angle) * plane + y * m->pitch;
    const Row row = {at, y > 0 ? at - m->pitch : at, y + 1 < m->rows ? at + m->pitch : at, at + before * plane, at + after * plane};
    return row;
}

/* Which of CELLS cells from x on, none of them the row's first or last, reach the bar and are no worse than those
 * beside them: few are left for a closer look. Returns 0 where none does. */
static int likely(const Row *r, ptrdiff_t x, float bar, int32_t found[CELLS])
{
    const float *at = r->at + x, *above = r->above + x, *below = r->below + x, *before = r->before + x, *after = r->after + x;
    int32_t any = 0;
    for (int i = 0; i < CELLS; i++)
        any |= found[i] = at[i] >= bar;
    if (!any)
        return 0;
    any = 0;
    for (int i = 0; i < CELLS; i++)
        any |= found[i] &= (at[i] >= at[i - 1]) & (at[i] >= at[i + 1]) & (at[i] >= above[i]) & (at[i] >= below[i]) &
                           (at[i] >= before[i]) & (at[i] >= after[i]);
    return any;
}

ptrdiff_t poses_maxima(const Maxima *m)
{
    ptrdiff_t n = 0;
    float bar = m->bar;
    for (ptrdiff_t pose = 0; pose < m->scales * m->angles; pose++)
        for (ptrdiff_t y = m->first; y < m->last; y++) {
            const ptrdiff_t scale = pose / m->angles, angle = pose % m->angles;
            const Row row = row_of(m, scale, angle, y);
            for (ptrdiff_t first = 0, count; first < m->width; first += count) {
                const int is_inside = first > 0 && first + CELLS < m->width;
                int32_t found[CELLS] = {row.at[first] >= bar};
                count = is_inside ? CELLS : 1;
                if (is_inside && !likely(&row, first, bar, found))
                    continue;
                for (ptrdiff_t x = first; x < first + count; x++) {
                    if (!found[x - first] || !is_maximum(m, scale, angle, y, x))
                        continue;
                    if (n == m->most && (n = halved(m, n, &bar)) < 0)
                        return -1;
                    if (!(row.at[x] >= bar))
                        continue;
                    m->found[3 * n] = (int32_t)pose, m->found[3 * n + 1] = (int32_t)y, m->found[3 * n + 2] = (int32_t)x;
                    m->scores[n++] = row.at[x];
                }
            }
        }
    return n;
}

ptrdiff_t poses_thinned(const Thinned *t)
{
    ptrdiff_t kept = 0;
    for (ptrdiff_t i = 0; i < t->n; i++)
        t->others[i] = 0;
    for (ptrdiff_t i = 0; i < t->n; i++) {
        const double *one = t->poses + 4 * i;
        if (t->others[i] >= t->of_a_place)
            continue;
        const double scale = exp(one[3]), c = cos(one[2]) / scale, s = sin(one[2]) / scale;
        t->kept[kept++] = (int32_t)i;
        const double far = 2 * t->reach * scale > 1 ? 2 * t->reach * scale : 1;
        for (ptrdiff_t j = i + 1; j < t->n; j++) {
            const double *other = t->poses + 4 * j, dx = other[0] - one[0], dy = other[1] - one[1];
            if (dx * dx + dy * dy > far * far)
                continue;
            const double u = fabs(dx * c - dy * s) / (2 * t->half_x), v = fabs(dx * s + dy * c) / (2 * t->half_y);
            if (u < 1 && v < 1 && (1 - u) * (1 - v) > t->near && t->others[j] < t->of_a_place)
                t->others[j]++;
            const double apart = sqrt(dx * dx + dy * dy);
            if (apart >= 1 || t->others[j] >= t->of_a_place)
                continue;
            double turn = fmod(fabs(other[2] - one[2]), TURN);
            turn = turn > TURN / 2 ? TURN - turn : turn;
            if (apart + hypot(turn, other[3] - one[3]) * t->reach * scale < 1)
                t->others[j] = t->of_a_place;
        }
    }
    return kept;
}
