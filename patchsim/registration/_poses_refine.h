/* Gauss-Newton on a metric over place, angle and scale; included once for each instruction set. */

static double VARIANT(score_of)(const VARIANT(Sums) *s, const Aim *aim)
{
    const double tt = s->pooled[0][0], tg = s->pooled[0][1], gg = s->pooled[1][1];
    if (s->weight <= 0)
        return 0;
    if (aim->metric == SAD)
        return 1 - s->distance / (s->weight * aim->full);
    if (aim->metric == SSD)
        return 1 - (tt - 2 * tg + gg) / (s->weight * aim->full * aim->full);
    return gg > LEAST_SPREAD * s->weight && tt > 0 ? tg / sqrt(tt * gg) : 0;
}

/* Solve the equations of those parameters that are free; 0 for the others. */
static int VARIANT(solve)(double A[4][4], const double right[4], int free_, double d[4])
{
    double B[4][5];
    int index[4], n = 0;
    for (int i = 0; i < 4; i++)
        if (free_ >> i & 1)
            index[n++] = i;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            B[i][j] = index[i] < index[j] ? A[index[i]][index[j]] : A[index[j]][index[i]];
        B[i][i] += 1e-6 * B[i][i] + 1e-9;
        B[i][4] = right[index[i]];
    }
    for (int i = 0; i < n; i++) { /* without pivots: the matrix is positive */
        if (!(B[i][i] > 0))
            return 0;
        for (int j = i + 1; j < n; j++) {
            const double by = B[j][i] / B[i][i];
            for (int l = i; l < n; l++)
                B[j][l] -= by * B[i][l];
            B[j][4] -= by * B[i][4];
        }
    }
    memset(d, 0, 4 * sizeof *d);
    for (int i = n - 1; i >= 0; i--) {
        double value = B[i][4];
        for (int j = i + 1; j < n; j++)
            value -= B[i][j] * d[index[j]];
        d[index[i]] = value / B[i][i];
    }
    return 1;
}

static int VARIANT(step)(const VARIANT(Sums) *s, const Aim *aim, const double *at, double d[4])
{
    const double tt = s->pooled[0][0], tg = s->pooled[0][1], gg = s->pooled[1][1];
    const int regresses = aim->metric == ZNCC || aim->metric == NCC;
    double A[4][4], right[4];
    int free_ = aim->free;
    if (regresses && !(tg > 0 && gg > 0 && tt > 0))
        return 0;
    for (int i = 0; i < 4; i++) {
        const double g = s->pooled[1][2 + i], t = s->pooled[0][2 + i];
        right[i] = regresses ? (t - tg * g / gg) * gg / tg : t - g;
        for (int j = i; j < 4; j++)
            A[i][j] = s->pooled[2 + i][2 + j] - (regresses ? g * s->pooled[1][2 + j] / gg : 0);
    }
    for (int round = 0; round < 3; round++) {
        int held = 0;
        if (!VARIANT(solve)(A, right, free_, d))
            return 0;
        for (int i = 2; i < 4; i++)
            if ((free_ >> i & 1) &&
                ((at[i] <= aim->low[i - 2] && d[i] < 0) || (at[i] >= aim->high[i - 2] && d[i] > 0)))
                held |= 1 << i;
        if (!held)
            break;
        free_ &= ~held;
    }
    return isfinite(d[0]) && isfinite(d[1]) && isfinite(d[2]) && isfinite(d[3]);
}

/* Lengthen a step, as plain.py has it; `before` becomes what the next one is compared with. */
static void VARIANT(extrapolate)(double *d, double *before, double reach)
{
    const double units[4] = {1, 1, reach, reach};
    double along = 0, size = 0, length = 0;
    for (int i = 0; i < 4; i++) {
        const double one = d[i] * units[i], other = before[i] * units[i];
        along += one * other, size += other * other, length += one * one;
    }
    memcpy(before, d, 4 * sizeof *d);
    if (size == 0 || along <= 0 || along * along < STRAIGHT * STRAIGHT * size * length)
        return;
    const double share = 1 - along / size > LEAST_SHARE ? 1 - along / size : LEAST_SHARE;
    for (int i = 0; i < 4; i++)
        d[i] /= share, before[i] = 0;
}

static void VARIANT(moved)(const double *from, const double *d, const Aim *aim, double *to)
{
    for (int i = 0; i < 4; i++)
        to[i] = from[i] + d[i];
    for (int i = 2; i < 4; i++)
        to[i] = to[i] < aim->low[i - 2] ? aim->low[i - 2] : to[i] > aim->high[i - 2] ? aim->high[i - 2] : to[i];
}

#include "_poses_around.h" /* after what it uses */

static double VARIANT(refined)(const Plane *p, const Counted *k, const Counted *rough, const Aim *aim,
                               float (*shifts)[2], double *at)
{
    double start[4], now[4], d[4] = {0}, before[4] = {0}, top = -INFINITY, soft = 8;
    const int slopes = aim->steps == 0 ? 0 : aim->free >> 3 & 1 ? 2 : 1;
    int back = 0;
    VARIANT(moved)(at, d, aim, at);
    if (aim->around)
        VARIANT(around)(p, rough, aim, shifts, at);
    memcpy(start, at, sizeof start);
    memcpy(now, at, sizeof now);
    for (ptrdiff_t i = 0;; i++) {
        VARIANT(Sums) s;
        VARIANT(sums)(p, k, aim, now, shifts, soft, aim->is_cubic, slopes, &s);
        const double found = VARIANT(score_of)(&s, aim), gain = found - top;
        if (found > top)
            top = found, back = 0, memcpy(at, now, sizeof now);
        else if (back == 2)
            break;
        else
            back++;
        if (i == aim->steps || s.weight <= 0 || (gain > 0 && top + MOST_GAINS * gain < aim->least - HOPE))
            break;
        if (back) { /* too far: less of it */
            for (int j = 0; j < 4; j++)
                d[j] /= 4, before[j] = 0;
        } else {
            if (!VARIANT(step)(&s, aim, now, d))
                break;
            soft = s.distance / s.weight > 0.05 ? s.distance / s.weight : 0.05;
            const double reach = k->reach * exp(now[3]);
            VARIANT(extrapolate)(d, before, reach);
            const double far = sqrt(d[0] * d[0] + d[1] * d[1] + reach * reach * (d[2] * d[2] + d[3] * d[3]));
            if (far > LONGEST)
                for (int j = 0; j < 4; j++)
                    d[j] *= LONGEST / far;
            if (far < aim->enough) { /* it does not show in the score */
                VARIANT(moved)(at, d, aim, at);
                break;
            }
        }
        VARIANT(moved)(at, d, aim, now);
        if (hypot(now[0] - start[0], now[1] - start[1]) > FARTHEST)
            break;
    }
    return top;
}

static int VARIANT(refine)(const Plane *p, const Kernel *k, const Aim *aim, double *poses, double *scores, ptrdiff_t n)
{
    float means[MOST_CHANNELS], shifts[MOST_CHANNELS][2];
    Counted fine = {0}, rough = {0};
    if (poses_count(k, aim->every, &fine) || (aim->around && poses_count(k, aim->around, &rough))) {
        poses_forget(&fine);
        return -1;
    }
    for (ptrdiff_t c = 0; c < k->channels; c++) {
        double weight = 0, sum = 0;
        const float *taps = k->taps + c * k->height * k->pitch;
        const float *weights = k->weights + (k->shades > 1 ? c : 0) * k->height * k->pitch;
        for (ptrdiff_t i = 0; i < k->height * k->pitch; i++)
            weight += weights[i], sum += (double)weights[i] * taps[i];
        means[c] = weight > 0 ? (float)(sum / weight) : 0;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        for (ptrdiff_t c = 0; c < k->channels; c++)
            shifts[c][0] = shifts[c][1] = means[c];
        scores[i] = VARIANT(refined)(p, &fine, &rough, aim, shifts, poses + 4 * i);
    }
    poses_forget(&fine), poses_forget(&rough);
    return 0;
}
