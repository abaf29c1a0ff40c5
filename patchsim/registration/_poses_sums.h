/* Sums of products of a kernel, a picture sampled where a pose puts it, and the slopes there: what
 * Gauss-Newton needs; included once for each instruction set. */

typedef struct {
    double pooled[6][6]; /* kernel, picture, slopes by x, y, angle, log scale; upper half */
    double weight, distance;
} VARIANT(Sums);

static INLINE F VARIANT(byte_of)(U g, const int i)
{
    return TO_FLOAT((I)((g >> (8 * i)) & 255));
}

static INLINE void VARIANT(cubic)(F t, F w[4], F d[4])
{
    const F h = SPLAT(0.5f);
    w[0] = ((2 - t) * t - 1) * t * h;
    w[1] = ((3 * t - 5) * t * t + 2) * h;
    w[2] = ((4 - 3 * t) * t + 1) * t * h;
    w[3] = (t - 1) * t * t * h;
    d[0] = ((4 - 3 * t) * t - 1) * h;
    d[1] = (9 * t - 10) * t * h;
    d[2] = ((8 - 9 * t) * t + 1) * h;
    d[3] = (3 * t - 2) * t * h;
}

/* Where samples lie: whole pixels from an origin, and what is left. */
typedef struct {
    I at;
    F fx, fy;
} VARIANT(Spot);

static INLINE F VARIANT(linear_bytes)(const uint8_t *base, ptrdiff_t pitch, const VARIANT(Spot) *s, F *gx, F *gy)
{
    const U a = (U)GATHER(base, s->at), b = (U)GATHER(base + pitch, s->at);
    const F a0 = VARIANT(byte_of)(a, 0), b0 = VARIANT(byte_of)(b, 0);
    const F da = VARIANT(byte_of)(a, 1) - a0, db = VARIANT(byte_of)(b, 1) - b0;
    const F u = a0 + s->fx * da, v = b0 + s->fx * db;
    *gx = da + s->fy * (db - da), *gy = v - u;
    return u + s->fy * (v - u);
}

static INLINE F VARIANT(linear_floats)(const float *base, ptrdiff_t pitch, const VARIANT(Spot) *s, F *gx, F *gy)
{
    const F a0 = GATHER_FLOATS(base, s->at), b0 = GATHER_FLOATS(base + pitch, s->at);
    const F da = GATHER_FLOATS(base + 1, s->at) - a0, db = GATHER_FLOATS(base + pitch + 1, s->at) - b0;
    const F u = a0 + s->fx * da, v = b0 + s->fx * db;
    *gx = da + s->fy * (db - da), *gy = v - u;
    return u + s->fy * (v - u);
}

/* Four neighbours in the row that lies so far off, from the one before the spot on. */
static INLINE void VARIANT(four)(const void *base, ptrdiff_t row, const VARIANT(Spot) *s, F b[4], const int is_bytes)
{
    const U g = is_bytes ? (U)GATHER((const uint8_t *)base + row - 1, s->at) : (U)ISPLAT(0);
    UNROLL
    for (int j = 0; j < 4; j++)
        b[j] = is_bytes ? VARIANT(byte_of)(g, j) : GATHER_FLOATS((const float *)base + row + j - 1, s->at);
}

static INLINE F VARIANT(sample)(const void *base, ptrdiff_t pitch, const VARIANT(Spot) *s, F *gx, F *gy,
                                const int is_bytes, const int is_cubic, const int slopes)
{
    if (!is_cubic)
        return is_bytes ? VARIANT(linear_bytes)(base, pitch, s, gx, gy) : VARIANT(linear_floats)(base, pitch, s, gx, gy);
    F wx[4], wy[4], dx[4], dy[4], r = SPLAT(0.f);
    VARIANT(cubic)(s->fx, wx, dx);
    VARIANT(cubic)(s->fy, wy, dy);
    *gx = *gy = r;
    UNROLL
    for (int i = 0; i < 4; i++) {
        F b[4];
        VARIANT(four)(base, (i - 1) * pitch, s, b, is_bytes);
        const F q = wx[0] * b[0] + wx[1] * b[1] + wx[2] * b[2] + wx[3] * b[3];
        r += wy[i] * q;
        if (slopes) {
            *gy += dy[i] * q;
            *gx += wy[i] * (dx[0] * b[0] + dx[1] * b[1] + dx[2] * b[2] + dx[3] * b[3]);
        }
    }
    return r;
}

/* Where a channel of a posed kernel and of the picture under it lie. */
typedef struct {
    F C, S, bx, by, mx, my, softness;
    I pitch;
    ptrdiff_t origin;
    const char *base;
    const float *across, *down, *taps, *weights, *smoothing; /* smoothing: NULL where none is needed */
} VARIANT(Place);

static INLINE VARIANT(Place) VARIANT(place)(const Plane *p, const Counted *k, ptrdiff_t c, const double *at,
                                            const int is_bytes)
{
    const double far = k->reach * exp(at[3]) + 3, share = k->smoothing ? poses_softness(exp(at[3])) : 0;
    /* Positions are counted from an origin beside the kernel: float32 has digits for those. */
    const ptrdiff_t ox = LIMITED(floor(at[0] - far), -2, p->width + 1);
    const ptrdiff_t oy = LIMITED(floor(at[1] - far), -2, p->height + 1);
    const ptrdiff_t origin = oy * p->pitch + ox;
    const VARIANT(Place) place = {
        .C = SPLAT((float)(cos(at[2]) * exp(at[3]))),
        .S = SPLAT((float)(sin(at[2]) * exp(at[3]))),
        .bx = SPLAT((float)(at[0] - (double)ox)),
        .by = SPLAT((float)(at[1] - (double)oy)),
        .mx = SPLAT((float)(p->width + 1 - ox)),
        .my = SPLAT((float)(p->height + 1 - oy)),
        .softness = SPLAT((float)share),
        .pitch = ISPLAT((int32_t)p->pitch),
        .origin = origin,
        .base = (const char *)p->values + (ptrdiff_t)(is_bytes ? 1 : sizeof(float)) * (c * p->plane + origin),
        .across = k->across,
        .down = k->down,
        .taps = k->taps + c * k->pitch,
        .weights = k->weights + (k->shades > 1 ? c : 0) * k->pitch,
        .smoothing = share > 0 ? k->smoothing + c * k->pitch : NULL,
    };
    return place;
}

/* Where pixels of the kernel from one on lie in the picture, and from the kernel's centre. */
static INLINE VARIANT(Spot) VARIANT(spot)(const VARIANT(Place) *o, ptrdiff_t i, F *X, F *Y)
{
    const F u = LOAD(o->across + i), v = LOAD(o->down + i);
    *X = u * o->C + v * o->S, *Y = v * o->C - u * o->S;
    const F px = LEAST(LARGEST(*X + o->bx, SPLAT(0.f)), o->mx), py = LEAST(LARGEST(*Y + o->by, SPLAT(0.f)), o->my);
    const I ix = TO_INT(px), iy = TO_INT(py);
    const VARIANT(Spot) spot = {iy * o->pitch + ix, px - TO_FLOAT(ix), py - TO_FLOAT(iy)};
    return spot;
}

static INLINE F VARIANT(tap)(const VARIANT(Place) *o, ptrdiff_t at)
{
    const F tap = LOAD(o->taps + at);
    return o->smoothing ? tap + o->softness * LOAD(o->smoothing + at) : tap;
}

/* Add the sums of a channel to r [COLUMNS][COLUMNS] (upper half) and distance. */
static INLINE void VARIANT(channel)(const Plane *p, const Counted *k, ptrdiff_t c, const double *at,
                                    const float shift[2], const float soft, double r[COLUMNS][COLUMNS], double *distance,
                                    const int is_bytes, const int is_cubic, const int dof, const int is_sad)
{
    const VARIANT(Place) o = VARIANT(place)(p, k, c, at, is_bytes);
    const F own = SPLAT(shift[0]), theirs = SPLAT(shift[1]), softest = SPLAT(soft), zero = SPLAT(0.f);
    const F least = SPLAT(p->limits[2 * c]), most = SPLAT(p->limits[2 * c + 1]);
    const int n = 3 + dof;
    F a[COLUMNS][COLUMNS], apart = zero;
    ptrdiff_t held = 0;
    UNROLL
    for (int i = 0; i < n; i++)
        UNROLL
        for (int j = i; j < n; j++)
            a[i][j] = zero;
    for (ptrdiff_t pixel = 0; pixel < k->n; pixel += LANES) {
        F f[COLUMNS], gx, gy, X, Y, w = LOAD(o.weights + pixel);
        const VARIANT(Spot) spot = VARIANT(spot)(&o, pixel, &X, &Y);
        if (p->visible) {
            F ux, uy;
            w *= VARIANT(linear_bytes)(p->visible + o.origin, p->pitch, &spot, &ux, &uy) * SPLAT(1 / 255.f);
        }
        f[1] = VARIANT(tap)(&o, pixel) - own;
        f[2] = VARIANT(sample)(o.base, p->pitch, &spot, &gx, &gy, is_bytes, is_cubic, dof > 0);
        if (is_cubic)
            f[2] = LEAST(LARGEST(f[2], least), most);
        f[2] -= theirs;
        if (dof)
            f[3] = gx, f[4] = gy, f[5] = gx * Y - gy * X;
        if (dof > 3)
            f[6] = gx * X + gy * Y;
        a[0][0] += w;
        if (is_sad) {
            const F difference = f[1] - f[2], size = LARGEST(difference, -difference);
            apart += w * size;
            w /= LARGEST(size, softest);
        }
        UNROLL
        for (int i = 1; i < n; i++) {
            const F product = f[i] * w;
            a[0][i] += product;
            UNROLL
            for (int j = i; j < n; j++)
                a[i][j] += product * f[j];
        }
        if (++held % 64 == 0) {
            for (int i = 0; i < n; i++)
                for (int j = i; j < n; j++)
                    r[i][j] += VARIANT(total)(a[i][j]), a[i][j] = zero;
            *distance += VARIANT(total)(apart), apart = zero;
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            r[i][j] += VARIANT(total)(a[i][j]);
    *distance += VARIANT(total)(apart);
}

typedef void VARIANT(Channel)(const Plane *, const Counted *, ptrdiff_t, const double *, const float *, float,
                              double (*)[COLUMNS], double *);
#define CHANNEL(name, is_bytes, is_cubic, dof, is_sad)                                                                     \
    static __attribute__((noinline)) void VARIANT(name)(const Plane *p, const Counted *k, ptrdiff_t c,       \
                                                        const double *at, const float *shift, float soft,                  \
                                                        double (*r)[COLUMNS], double *distance)                            \
    {                                                                                                                      \
        VARIANT(channel)(p, k, c, at, shift, soft, r, distance, is_bytes, is_cubic, dof, is_sad);                   \
    }
CHANNEL(bytes_linear_0, 1, 0, 0, 0)
CHANNEL(bytes_linear_3, 1, 0, 3, 0)
CHANNEL(bytes_linear_4, 1, 0, 4, 0)
CHANNEL(bytes_cubic_0, 1, 1, 0, 0)
CHANNEL(bytes_cubic_3, 1, 1, 3, 0)
CHANNEL(bytes_cubic_4, 1, 1, 4, 0)
CHANNEL(floats_linear_0, 0, 0, 0, 0)
CHANNEL(floats_linear_4, 0, 0, 4, 0)
CHANNEL(floats_cubic_0, 0, 1, 0, 0)
CHANNEL(floats_cubic_4, 0, 1, 4, 0)
CHANNEL(bytes_linear_0_sad, 1, 0, 0, 1)
CHANNEL(bytes_linear_4_sad, 1, 0, 4, 1)
CHANNEL(bytes_cubic_0_sad, 1, 1, 0, 1)
CHANNEL(bytes_cubic_4_sad, 1, 1, 4, 1)
CHANNEL(floats_linear_0_sad, 0, 0, 0, 1)
CHANNEL(floats_linear_4_sad, 0, 0, 4, 1)
CHANNEL(floats_cubic_0_sad, 0, 1, 0, 1)
CHANNEL(floats_cubic_4_sad, 0, 1, 4, 1)
#undef CHANNEL

/* The loop of [uint8, float32][linear, cubic][no slopes, without scale, with scale][other metrics, sad]. */
static VARIANT(Channel) *const VARIANT(CHANNELS)[2][2][3][2] = {
    {{{VARIANT(floats_linear_0), VARIANT(floats_linear_0_sad)},
      {VARIANT(floats_linear_4), VARIANT(floats_linear_4_sad)},
      {VARIANT(floats_linear_4), VARIANT(floats_linear_4_sad)}},
     {{VARIANT(floats_cubic_0), VARIANT(floats_cubic_0_sad)},
      {VARIANT(floats_cubic_4), VARIANT(floats_cubic_4_sad)},
      {VARIANT(floats_cubic_4), VARIANT(floats_cubic_4_sad)}}},
    {{{VARIANT(bytes_linear_0), VARIANT(bytes_linear_0_sad)},
      {VARIANT(bytes_linear_3), VARIANT(bytes_linear_4_sad)},
      {VARIANT(bytes_linear_4), VARIANT(bytes_linear_4_sad)}},
     {{VARIANT(bytes_cubic_0), VARIANT(bytes_cubic_0_sad)},
      {VARIANT(bytes_cubic_3), VARIANT(bytes_cubic_4_sad)},
      {VARIANT(bytes_cubic_4), VARIANT(bytes_cubic_4_sad)}}},
};

/* Pixels and limits that are no numbers lead to poses that are none, and have no place. */
static int VARIANT(has_place)(const double *at)
{
    for (int i = 0; i < 4; i++)
        if (!(fabs(at[i]) <= (i == 3 ? LARGEST_SCALE : 2.0 * LARGEST_SIDE)))
            return 0;
    return 1;
}

/* Add a channel's sums of products r with kernel, picture and so on, n columns of them, to those of all. */
static void VARIANT(pool)(const Aim *aim, const float shift[2], const double r[COLUMNS][COLUMNS], int n, VARIANT(Sums) *s)
{
    const double own = r[0][0], by = aim->metric == ZNCC && own > 0 ? 1 / own : 0;
    /* ncc is of the values themselves: what was taken off for the digits' sake comes back. */
    double back[6] = {0};
    if (aim->metric == NCC)
        back[0] = shift[0], back[1] = shift[1];
    s->weight += own;
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            s->pooled[i][j] += r[i + 1][j + 1] - by * r[0][i + 1] * r[0][j + 1] + back[i] * r[0][j + 1] + back[j] * r[0][i + 1] +
                               back[i] * back[j] * own;
}

static void VARIANT(sums)(const Plane *p, const Counted *k, const Aim *aim, const double *at, float (*shifts)[2],
                          double soft, int is_cubic, int slopes, VARIANT(Sums) *s)
{
    VARIANT(Channel) *const add = VARIANT(CHANNELS)[p->is_bytes][is_cubic][slopes][aim->metric == SAD];
    memset(s, 0, sizeof *s);
    if (!VARIANT(has_place)(at))
        return;
    for (ptrdiff_t c = 0; c < p->channels; c++) {
        double r[COLUMNS][COLUMNS];
        memset(r, 0, sizeof r);
        add(p, k, c, at, shifts[c], (float)soft, r, &s->distance);
        VARIANT(pool)(aim, shifts[c], r, 6, s);
        /* With zncc the picture's mean is taken off: from now on before squares lose digits. */
        if (aim->metric == ZNCC && r[0][0] > 0)
            shifts[c][1] += (float)(r[0][2] / r[0][0]);
    }
}
