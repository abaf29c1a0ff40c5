/* Products of folded tiles; included by _correlation_tile.h, once for each precision of a variant.
 *
 * A folded tile alone is a complex transform of half its rows, with the even rows as its real and
 * the odd ones as its imaginary part, Z = A + iB of real A and B. With E and D the transforms of the
 * kernel's even and odd rows, the products with windows in even and in odd rows are
 *
 *     A conj E + B conj D    and    B conj E + w A conj D,    w = exp(2 pi i k / rows),
 *
 * because the odd rows of a kernel at an odd row lie on the next even ones. Of real A and B,
 * 2 A = Z + conj Z', 2 B = -i (Z - conj Z'), where Z' is at the negative frequencies. So these are
 * worked on together: row k0 of cell k1 with row -k0 of cell -k1, whose lanes are turned round.
 */

#if L == 16
#define REVERSED(v) SHUFFLE(v, v, (15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))
#define PUSHED(p, q)                                                                           \
    SHUFFLE(p, q, (15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30))
#elif L == 8
#define REVERSED(v) SHUFFLE(v, v, (7, 6, 5, 4, 3, 2, 1, 0))
#define PUSHED(p, q) SHUFFLE(p, q, (7, 8, 9, 10, 11, 12, 13, 14))
#elif L == 4
#define REVERSED(v) SHUFFLE(v, v, (3, 2, 1, 0))
#define PUSHED(p, q) SHUFFLE(p, q, (3, 4, 5, 6))
#else
#define REVERSED(v) SHUFFLE(v, v, (1, 0))
#define PUSHED(p, q) SHUFFLE(p, q, (1, 2))
#endif

/* Brings a row of 16 to the order of negative frequencies: n to 15 - n, or to -n where k1 is 0. */
static INLINE void NAME(mirror)(V row[PARTS], int is_zero)
{
    V back[PARTS];
    UNROLL16 for (int i = 0; i < PARTS; i++) back[i] = REVERSED(row[PARTS - 1 - i]);
    UNROLL16 for (int i = 0; i < PARTS; i++)
    {
        row[i] = back[i];
        if (is_zero)
            row[i] = PUSHED(back[(i + PARTS - 1) % PARTS], back[i]);
    }
}
#undef REVERSED
#undef PUSHED

/* What the products of a row and of its mirrored row are made of. */
typedef struct {
    const REAL *own, *mate;    /* pixels: both rows */
    const REAL *even, *odd;    /* of the kernel, at the frequencies of the first one */
    REAL *sum, *mate_sum;      /* where products go */
    const REAL *cosines, *sines; /* w, of the lanes */
    int is_zero, is_first, is_last, is_single; /* k1 of y is 0; one row is both */
} NAME(Rows);

static INLINE void NAME(multiply_rows)(const NAME(Rows) *r, V *powers, V *peak, V *kernel_peak)
{
    V mate[2][PARTS], other[2][PARTS];
    for (int j = 0; j < 2; j++) {
        UNROLL16 for (int i = 0; i < PARTS; i++) mate[j][i] = AT((REAL *)r->mate + 256 * j + i * L);
        NAME(mirror)(mate[j], r->is_zero);
    }
    for (int i = 0; i < PARTS; i++) {
        const V re = AT((REAL *)r->own + i * L), im = AT((REAL *)r->own + 256 + i * L);
        const V are = re + mate[0][i], aim = im - mate[1][i]; /* 2 A and 2 B */
        const V bre = im + mate[1][i], bim = mate[0][i] - re;
        const V ere = AT((REAL *)r->even + i * L), eim = AT((REAL *)r->even + 256 + i * L);
        const V dre = AT((REAL *)r->odd + i * L), dim = AT((REAL *)r->odd + 256 + i * L);
        const V wre = AT((REAL *)r->cosines + i * L), wim = AT((REAL *)r->sines + i * L);
        const V fre = are * dre + aim * dim, fim = aim * dre - are * dim;
        const V evens = are * ere + aim * eim + bre * dre + bim * dim;
        const V crossed = aim * ere - are * eim + bim * dre - bre * dim;
        const V odds = bre * ere + bim * eim + wre * fre - wim * fim;
        const V odds_crossed = bim * ere - bre * eim + wre * fim + wim * fre;
        V products[2] = {evens - odds_crossed, crossed + odds};
        other[0][i] = evens + odds_crossed, other[1][i] = odds - crossed;
        for (int j = 0; j < 2; j++) {
            if (!r->is_first)
                products[j] += AT(r->sum + 256 * j + i * L);
            AT(r->sum + 256 * j + i * L) = products[j];
        }
        if (r->is_last)
            *powers += products[0] * products[0] + products[1] * products[1];
        *peak = NAME(larger)(*peak, NAME(larger)(re * re + im * im, mate[0][i] * mate[0][i] +
                                                                        mate[1][i] * mate[1][i]));
        *kernel_peak = NAME(larger)(*kernel_peak, ere * ere + eim * eim + dre * dre + dim * dim);
    }
    if (r->is_single)
        return;
    for (int j = 0; j < 2; j++) {
        V *turned = other[j];
        NAME(mirror)(turned, r->is_zero);
        for (int i = 0; i < PARTS; i++) {
            REAL *sum = r->mate_sum + 256 * j + i * L;
            if (!r->is_first)
                turned[i] += AT(sum);
            AT(sum) = turned[i];
            if (r->is_last)
                *powers += turned[i] * turned[i];
        }
    }
}

/* As `multiply`, of one k1 of y and -k1: `own` and `sum` are tiles, `even` and `odd` the kernel's
 * group. */
static void NAME(multiply_folded)(const REAL *own, const REAL *even, const REAL *odd, REAL *sum,
                                  Sides sides, ptrdiff_t k1, int is_first, int is_last, V *powers,
                                  V *peak, V *kernel_peak)
{
    const ptrdiff_t my = first_of_y(sides), mx = sides.x / 16, group = group_values(mx);
    const ptrdiff_t mate = (my - k1) % my;
    const NAME(Twiddles) twiddles = TWIDDLES[my];
    V power = *powers, most = *peak, kernel_most = {0};
    for (ptrdiff_t x = 0; x < mx; x++)
        for (int row = 0; row < 16; row++) {
            const ptrdiff_t mate_x = (mx - x) % mx, mate_row = x ? 15 - row : (16 - row) % 16;
            const ptrdiff_t at = x * CELL_VALUES + 16 * row;
            const ptrdiff_t mate_at = mate_x * CELL_VALUES + 16 * mate_row;
            if (mate == k1 && mate_at < at)
                continue;
            const NAME(Rows) rows = {
                .own = own + k1 * group + at, .mate = own + mate * group + mate_at,
                .even = even + at, .odd = odd + at,
                .sum = sum + k1 * group + at, .mate_sum = sum + mate * group + mate_at,
                .cosines = twiddles[2][k1], .sines = twiddles[3][k1],
                .is_zero = k1 == 0, .is_first = is_first, .is_last = is_last,
                .is_single = mate == k1 && mate_at == at,
            };
            NAME(multiply_rows)(&rows, &power, &most, &kernel_most);
        }
    /* With A + iB = Z and |A| + |B| at most sqrt(2) |Z|, where |Z| is the larger of both rows, a
     * product is at most 2 |Z| (|e| + sqrt(2) |d|) of the kernel's stored values, and its square at
     * most 12 |Z|^2 (|e|^2 + |d|^2): FOLDED_POWER. */
    *powers = power, *peak = most;
    *kernel_peak = NAME(larger)(*kernel_peak, kernel_most * ALL(FOLDED_POWER));
}
