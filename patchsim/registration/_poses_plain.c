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

/* The whole number below a value that is not far below 0. */
static ptrdiff_t whole(double value)
{
    return (ptrdiff_t)(value + 2 * LARGEST_SIDE) - 2 * LARGEST_SIDE;
}

/* Round a turned kernel's values as plain_look.turn has it. */
static void round_values(const Turn *t, const uint8_t *mask, float *values)
{
    const ptrdiff_t box = (2 * t->radius + 1) * (2 * t->radius + 1);
    double means[MOST_CHANNELS] = {0}, largest = 0;
    for (ptrdiff_t c = 0; c < t->kernel.channels; c++) {
        const uint8_t *own = mask + (t->kernel.shades > 1 ? c : 0) * box;
        double sum = 0, counted = 0;
        for (ptrdiff_t i = 0; t->is_centred && i < box; i++)
            sum += (double)values[c * box + i], counted += own[i];
        means[c] = counted > 0 ? sum / counted : 0;
        for (ptrdiff_t i = 0; i < box; i++)
            if (own[i] && fabs((double)values[c * box + i] - means[c]) > largest)
                largest = fabs((double)values[c * box + i] - means[c]);
    }
    for (ptrdiff_t c = 0; c < t->kernel.channels && largest > 0; c++) {
        const uint8_t *own = mask + (t->kernel.shades > 1 ? c : 0) * box;
        double surplus = 0;
        for (ptrdiff_t i = 0; i < box; i++)
            if (own[i]) {
                const double whole = rint(((double)values[c * box + i] - means[c]) * (MOST_LEVEL / largest));
                values[c * box + i] = (float)whole, surplus += whole;
            }
        for (ptrdiff_t i = 0; t->is_centred && i < box && surplus != 0; i++)
            if (own[i]) {
                const double one = surplus > 0 ? 1 : -1;
                values[c * box + i] -= (float)one, surplus -= one;
            }
    }
}

static void turn_one(const Turn *t, const double *pose, float *values, uint8_t *mask)
{
    const Kernel *k = &t->kernel;
    const ptrdiff_t radius = t->radius, side = 2 * radius + 1, box = side * side;
    const double scale = exp(pose[1]), c = cos(pose[0]) / scale, s = sin(pose[0]) / scale;
    memset(values, 0, (size_t)(k->channels * box) * sizeof *values);
    memset(mask, 0, (size_t)(k->shades * box));
    for (ptrdiff_t y = -radius; y <= radius; y++)
        for (ptrdiff_t x = -radius; x <= radius; x++) {
            const double u = (double)x * c - (double)y * s, v = (double)x * s + (double)y * c;
            if (fabs(u) > t->half_x - t->border / scale || fabs(v) > t->half_y - t->border / scale)
                continue;
            const double px = u + k->centre_x, py = v + k->centre_y;
            const ptrdiff_t left = whole(px), top = whole(py);
            const ptrdiff_t near = inside(whole(py + 0.5), k->height) * k->pitch + inside(whole(px + 0.5), t->width);
            const ptrdiff_t to = (y + radius) * side + x + radius;
            double down[4], across[4];
            ptrdiff_t rows[4], columns[4];
            cubic(px - (double)left, across);
            cubic(py - (double)top, down);
            for (int i = 0; i < 4; i++) {
                rows[i] = inside(top + i - 1, k->height) * k->pitch;
                columns[i] = inside(left + i - 1, t->width);
            }
            for (ptrdiff_t shade = 0; shade < k->shades; shade++)
                mask[shade * box + to] = k->weights[shade * k->height * k->pitch + near] >= 0.5f;
            for (ptrdiff_t channel = 0; channel < k->channels; channel++) {
                const float *taps = k->taps + channel * k->height * k->pitch;
                double value = 0;
                if (!mask[(k->shades > 1 ? channel : 0) * box + to])
                    continue;
                for (int i = 0; i < 4; i++)
                    for (int j = 0; j < 4; j++)
                        value += down[i] * across[j] * (double)taps[rows[i] + columns[j]];
                values[channel * box + to] = (float)value;
            }
        }
}

/* A kernel turned by half a turn more than another one lies in its box from the end to the beginning. */
static void turn_by_half(const Turn *t, const float *from, const uint8_t *from_mask, float *values, uint8_t *mask)
{
    const ptrdiff_t box = (2 * t->radius + 1) * (2 * t->radius + 1);
    for (ptrdiff_t c = 0; c < t->kernel.channels; c++)
        for (ptrdiff_t i = 0; i < box; i++)
            values[c * box + i] = from[(c + 1) * box - 1 - i];
    for (ptrdiff_t s = 0; s < t->kernel.shades; s++)
        for (ptrdiff_t i = 0; i < box; i++)
            mask[s * box + i] = from_mask[(s + 1) * box - 1 - i];
}

/* Where kernels of a pass lie over nearly the same pixels, let all count those that they have in common. */
static void share_masks(const Turn *t, ptrdiff_t n, float *values, uint8_t *mask)
{
    const ptrdiff_t box = (2 * t->radius + 1) * (2 * t->radius + 1), counts = t->kernel.shades * box;
    for (ptrdiff_t first = 0; first < n; first += BATCH) {
        const int32_t *order = t->order + first;
        const int together = n - first < BATCH ? (int)(n - first) : BATCH;
        ptrdiff_t counted[BATCH] = {0}, common = 0, most = 0;
        for (ptrdiff_t at = 0; at < counts; at++) {
            int all = 1;
            for (int i = 0; i < together; i++)
                counted[i] += mask[order[i] * counts + at], all &= mask[order[i] * counts + at];
            common += all;
        }
        for (int i = 0; i < together; i++)
            most = counted[i] > most ? counted[i] : most;
        if ((double)common < SHARED * (double)most)
            continue;
        for (ptrdiff_t at = 0; at < counts; at++) {
            uint8_t all = 1;
            for (int i = 0; i < together; i++)
                all &= mask[order[i] * counts + at];
            for (int i = 0; i < together; i++)
                mask[order[i] * counts + at] = all;
        }
        for (int i = 0; i < together; i++)
            for (ptrdiff_t c = 0; c < t->kernel.channels; c++)
                for (ptrdiff_t at = 0; at < box; at++)
                    if (!mask[order[i] * counts + (t->kernel.shades > 1 ? c : 0) * box + at])
                        values[(order[i] * t->kernel.channels + c) * box + at] = 0;
    }
}

void poses_turn(const Turn *t, const double *poses, ptrdiff_t n, float *values, uint8_t *mask)
{
    const ptrdiff_t box = (2 * t->radius + 1) * (2 * t->radius + 1), half = n / 2;
    const ptrdiff_t pixels = t->kernel.channels * box, counts = t->kernel.shades * box;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double *other = poses + 2 * (i - half); /* in a whole turn of even steps half a turn before */
        const int is_half = n % 2 == 0 && i >= half && fabs(poses[2 * i] - other[0] - TURN / 2) < 1e-9 && poses[2 * i + 1] == other[1];
        if (is_half)
            turn_by_half(t, values + (i - half) * pixels, mask + (i - half) * counts, values + i * pixels, mask + i * counts);
        else
            turn_one(t, poses + 2 * i, values + i * pixels, mask + i * counts);
    }
    if (t->order)
        share_masks(t, n, values, mask);
    for (ptrdiff_t i = 0; t->rounds && i < n; i++)
        round_values(t, mask + i * counts, values + i * pixels);
}

/* Whether none of a cell's neighbours in place and angle is better; of equals the first one counts. */
static int is_maximum(const Maxima *m, ptrdiff_t scale, ptrdiff_t angle, ptrdiff_t y, ptrdiff_t x)
{
    const ptrdiff_t plane = m->rows * m->pitch, pose = scale * m->angles + angle;
    const float score = m->volume[pose * plane + y * m->pitch + x];
    for (ptrdiff_t turn = -m->near; turn <= m->near; turn++) {
        ptrdiff_t a = angle + turn;
        if (m->angles == 1 && turn)
            continue;
        if (a < 0 || a >= m->angles) {
            if (!m->is_cyclic)
                continue;
            a = (a % m->angles + m->angles) % m->angles;
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

static Row row_of(const Maxima *m, ptrdiff_t scale, ptrdiff_t angle, ptrdiff_t y)
{
    const ptrdiff_t plane = m->rows * m->pitch, last = m->angles - 1;
    const ptrdiff_t before = angle > 0 ? -1 : m->is_cyclic ? last : 0, after = angle < last ? 1 : m->is_cyclic ? -last : 0;
    const float *at = m->volume + (scale * m->angles + angle) * plane + y * m->pitch;
    const Row row = {at, y > 0 ? at - m->pitch : at, y + 1 < m->rows ? at + m->pitch : at, at + before * plane, at + after * plane};
    return row;
}

ptrdiff_t poses_maxima(const Variant *variant, const Maxima *m)
{
    ptrdiff_t n = 0;
    float bar = m->bar;
    int32_t *columns = malloc((size_t)(m->width + 1) * sizeof *columns);
    if (!columns)
        return -1;
    for (ptrdiff_t pose = 0; pose < m->scales * m->angles && n >= 0; pose++)
        for (ptrdiff_t y = m->first; y < m->last && n >= 0; y++) {
            const ptrdiff_t scale = pose / m->angles, angle = pose % m->angles;
            const Row row = row_of(m, scale, angle, y);
            const ptrdiff_t count = variant->likely(&row, m->width, bar, columns);
            for (ptrdiff_t i = 0; i < count && n >= 0; i++) {
                const ptrdiff_t x = columns[i];
                if (!(row.at[x] >= bar) || !is_maximum(m, scale, angle, y, x))
                    continue;
                if (n == m->most && (n = halved(m, n, &bar)) < 0)
                    break;
                if (!(row.at[x] >= bar))
                    continue;
                m->found[3 * n] = (int32_t)pose, m->found[3 * n + 1] = (int32_t)y, m->found[3 * n + 2] = (int32_t)x;
                m->scores[n++] = row.at[x];
            }
        }
    free(columns);
    return n;
}

#define MOST_CELLS 64 /* of a side */

/* Poses in square cells, so wide that those that may be of one place lie in neighbouring ones. */
typedef struct {
    double left, top, side;
    ptrdiff_t heads[MOST_CELLS * MOST_CELLS], *next; /* a list in each cell, of which n is the end */
} Cells;

/* How far from a pose others may be of its place: frames that share so much of their area lie no farther apart. */
static double reach_of(const Thinned *t, double scale)
{
    return fmax(1, 2 * t->reach * scale * (1 - t->near));
}

static void place_of(const Cells *cells, const double *pose, ptrdiff_t *x, ptrdiff_t *y)
{
    *x = inside((ptrdiff_t)((pose[0] - cells->left) / cells->side), MOST_CELLS);
    *y = inside((ptrdiff_t)((pose[1] - cells->top) / cells->side), MOST_CELLS);
}

static void fill_cells(const Thinned *t, Cells *cells)
{
    double right = -INFINITY, bottom = -INFINITY;
    cells->left = cells->top = INFINITY, cells->side = 1;
    for (ptrdiff_t i = 0; i < t->n; i++) {
        const double *pose = t->poses + 4 * i;
        cells->left = fmin(cells->left, pose[0]), cells->top = fmin(cells->top, pose[1]);
        right = fmax(right, pose[0]), bottom = fmax(bottom, pose[1]);
        cells->side = fmax(cells->side, reach_of(t, exp(pose[3])));
    }
    cells->side = fmax(cells->side, fmax(right - cells->left, bottom - cells->top) / MOST_CELLS);
    for (ptrdiff_t i = 0; i < MOST_CELLS * MOST_CELLS; i++)
        cells->heads[i] = t->n;
    for (ptrdiff_t i = t->n - 1; i >= 0; i--) { /* the first of a list comes first */
        ptrdiff_t x, y;
        place_of(cells, t->poses + 4 * i, &x, &y);
        cells->next[i] = cells->heads[y * MOST_CELLS + x], cells->heads[y * MOST_CELLS + x] = i;
    }
}

/* Count a better pose at another one's place, or drop the other if both are one. */
static void beside(const Thinned *t, const double *one, double scale, double c, double s, const double *other, ptrdiff_t *others)
{
    const double dx = other[0] - one[0], dy = other[1] - one[1], far = reach_of(t, scale);
    if (dx * dx + dy * dy > far * far)
        return;
    const double u = fabs(dx * c - dy * s) / (2 * t->half_x), v = fabs(dx * s + dy * c) / (2 * t->half_y);
    if (u < 1 && v < 1 && (1 - u) * (1 - v) > t->near && *others < t->of_a_place)
        ++*others;
    const double apart = sqrt(dx * dx + dy * dy);
    if (apart >= 1 || *others >= t->of_a_place)
        return;
    double turn = fmod(fabs(other[2] - one[2]), TURN);
    turn = turn > TURN / 2 ? TURN - turn : turn;
    const double growth = other[3] - one[3];
    if (apart + sqrt(turn * turn + growth * growth) * t->reach * scale < 1)
        *others = t->of_a_place;
}

ptrdiff_t poses_thinned(const Thinned *t)
{
    ptrdiff_t kept = 0;
    Cells *cells = malloc(sizeof *cells);
    ptrdiff_t *others = calloc((size_t)t->n + 1, sizeof *others), *next = malloc(((size_t)t->n + 1) * sizeof *next);
    if (!cells || !others || !next) {
        free(cells), free(others), free(next);
        return -1;
    }
    cells->next = next;
    fill_cells(t, cells);
    for (ptrdiff_t i = 0; i < t->n; i++) {
        const double *one = t->poses + 4 * i;
        ptrdiff_t x, y;
        if (others[i] >= t->of_a_place)
            continue;
        const double scale = exp(one[3]), c = cos(one[2]) / scale, s = sin(one[2]) / scale;
        t->kept[kept++] = (int32_t)i;
        place_of(cells, one, &x, &y);
        for (ptrdiff_t v = y > 0 ? y - 1 : 0; v <= y + 1 && v < MOST_CELLS; v++)
            for (ptrdiff_t u = x > 0 ? x - 1 : 0; u <= x + 1 && u < MOST_CELLS; u++)
                for (ptrdiff_t j = cells->heads[v * MOST_CELLS + u]; j < t->n; j = next[j])
                    if (j > i && others[j] < t->of_a_place)
                        beside(t, one, scale, c, s, t->poses + 4 * j, others + j);
    }
    free(cells), free(others), free(next);
    return kept;
}
