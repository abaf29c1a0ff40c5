/* Correlation of an image with a kernel by Fourier transforms: from pixels to scores in one pass.
 *
 * The map is made of tiles. The pixels under a tile, of a channel, are transformed,
 * multiplied with the conjugate of the kernel's transform, summed over the channels and
 * transformed back: the products of the kernel with every window (overlap-save; H. J. Nussbaumer,
 * Fast Fourier Transform and Convolution Algorithms, 1981). Two tiles share a complex transform,
 * one as its real and one as its imaginary part; the kernel is real, so they stay apart. Or one tile
 * has a transform of half its rows, which _correlation_folded.h explains: of a map of one tile that
 * takes half as long, and larger tiles fit a cache.
 *
 * While the products are still near the processor, the sums of each window's pixels and of their
 * squares are added up along columns and rows, and all become scores. With a = I - m the pixels
 * less a constant of the tile and channel, and b = K - mean K the kernel, X = sum a b is what the
 * transforms give; m does not matter, because b sums to 0. Where that would leave many windows of zncc
 * open, m is a mosaic, whose part of X _correlation_mosaic.h adds. With S = sum I of a channel, E = sum
 * I^2 over all channels, n pixels and k the kernel's means:
 *
 *     zncc  n X / sqrt((n E - sum S^2) own)          own = n sum K^2 - sum (sum K)^2
 *     ncc   (X + sum k S) / sqrt(E own)              own = sum K^2
 *     ssd   1 - (E - 2 (X + sum k S) + own) / total  own = sum K^2, total = n channels R^2
 *     sad   1 - (X + offset + excess) / total        total = n channels R
 *
 * Of sad, |I - K| is about a sum of products of a function of I and one of K, as in
 * engines/common/lowrank.py and fitted.py. X is the sum over these terms: their functions of I are those of
 * _correlation_curves.h, those of K, times weights if there are any, are the taps.
 * _correlation_excess.h sums what depends on I alone.
 *
 * S and E are exact for integers. Those of floats are sums in double precision of I less a constant
 * of the channel, off by at most `drift`; windows of one value are told by comparing pixels. X is
 * off by its rounding, at most some units of what `pair` returns in _correlation_tile.h. A score
 * that may be off by more than `limit` is made again: from a direct sum, or, where a tile has many,
 * from transforms in double precision. A sample of its windows tells most such tiles before they are
 * transformed in single precision, by the rounding that is expected, or before they are scored.
 *
 * Pixels of floats and the kernel are multiplied with powers of two that bring them near 1, so that
 * no square of a value that is far from 1 overflows or vanishes. Those of float64 are taken less the
 * tile's constant in double precision, and rounded only then where single precision transforms them.
 *
 * A kernel larger than about half a tile is cut into parts, whose products are added before the way
 * back. X of small kernels is summed directly where that is faster: of bytes with 128 taken off the
 * kernel, which is exact, as are scores then but for their own rounding; of 16 bits and floats in
 * double precision, off by at most `taps` roundings (Higham, Accuracy and Stability of Numerical
 * Algorithms, 2nd ed., section 3.1).
 *
 * Several kernels of one size are scored together: the pixels are transformed and summed once, and
 * each kernel takes its product with them, the way back and its scores. They are to the last bit
 * those of each kernel alone. Where tiles may have mosaics these are kernels about as smooth.
 *
 * Nothing here knows Python; _correlation.c does.
 */
#ifndef PATCHSIM_CORRELATION_H
#define PATCHSIM_CORRELATION_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define SIDE 256 /* pixels along each axis of a transform, if no other sides are chosen */
#define MOST_SIDE 1024
#define MOST_FIRST (MOST_SIDE / 16) /* values of an axis's first stage */
#define BLOCK 64 /* windows along each axis of a block, at most */
#define MOST_CHANNELS 64
#define MOST_PARTS 4 /* of a kernel, along an axis */
#define MOST_TERMS 16
#define MOST_KERNELS 8 /* of one call */
#define TOGETHER 4 /* windows side by side whose direct sums are made together */
#define MOST_WEIGHTED_CHANNELS 16
#define MOST_PLANES (2 * MOST_WEIGHTED_CHANNELS + 1) /* of a kernel with weights */
#define MOST_OUTPUTS (3 * MOST_WEIGHTED_CHANNELS + 3)

/* Rounding of X: at most so many units of 2^-24 (single) or 2^-53 (double) of what `pair` returns.
 * Pictures that were searched for it, of stripes, points, photographs and random bits, need 8 of
 * SIDE x SIDE, without fused multiplications and additions, and 10 of other sides, whose first stages
 * take more steps. One and a half times as many are stated. Of bands of lines with faint points, beside
 * long kernels, they are 1.1 times what is needed, or more. */
#define ROUNDING_UNITS 12
#define MORE_ROUNDING_UNITS 16
#define FOLDED_POWER 12 /* of a product's square, in _correlation_folded.h */
#define SAMPLED_ROWS 8 /* of a tile's windows, whose spreads tell how many are open */
#define OCTAVES 256    /* exponents of single precision */
/* Before a tile is transformed, `pair` is expected to return this times the product of the tile's and
 * the kernel's norms and the root of the kernel's pixels, over the root of the transform's, and times
 * the root of smooth_share, because smooth ones have their energy at few frequencies. Of
 * ten photographs with kernels of 16 to 100 it returned 1.7 times that in the median, and 1.2 to 3.3
 * times for eight of ten tiles. A tile of which `pair` returns less than is expected may go to double
 * precision though its scores would do, so that this decides only for scores that may be off by no
 * more than those of a map, MAP_LIMIT, as in kernel_parts. */
#define EXPECTED 1.8
#define MAP_LIMIT 1e-5
#define MOSAIC 16 /* pixels along the sides of a mosaic's squares, as wide as a cell */
#define MOST_UNDER_MOSAIC 64 /* pixels along the sides of a kernel, at most */
/* A float channel is flat if its variance is at most this fraction of its mean square, as in
 * metrics.FLAT. */
#define FLAT 1e-12
/* Of float64, windows with smaller sums of squares are summed again with their values brought near 1:
 * their squares lose digits, or vanish. */
#define LEAST_ENERGY 0x1p-900
/* Smaller spreads of floats, in units of the band's, are left to double precision: in single
 * precision squares of pixels lose digits. */
#define LEAST_SPREAD 0x1p-100
/* Rounding of a score that is made of X in single precision. */
#define SCORE_ROUNDING 0x1p-21
/* Coefficients of the polynomials for the image's factors of sad, in z^2 of z = x / (pi / 2) from -1
 * to 1: sin(x) / z and cos(x), interpolated at Chebyshev nodes, off by 5e-8 at the most. */
#define SERIES 5
#define SINE_SERIES                                                                           \
    {1.5707963200386017, -0.6459637595835384, 0.07968991832902683, -0.004674143838153519,       \
     0.00015167170366719068}
#define COSINE_SERIES                                                                         \
    {0.9999999530275125, -1.2336982006223634, 0.25365067442266054, -0.020810515199809042,       \
     0.0008581344670956249}
/* A factor of term n, sin or cos(odd x) with odd = n - n % 2 + 1, is off by at most this times
 * odd (odd + 1): its square for the steps from one odd to the next, once more for x. */
#define WAVE_ERROR 0x1p-22
/* Curves that are made for a kernel's values, in place of these factors: pieces that are straight. */
#define PIECES 32
#define KNOTS (PIECES + 1)
#define LEAST_HALF 0x1p-110 /* of a range that is more than one value: nothing over it overflows */
#define OF_PIECES (PIECES / 2 - 0x1p-17) /* in place of half, that what is rounded stays below PIECES */
#define MOST_ON_CURVE 2 /* as far from 0 as a knot may be, but for what is added to X */
/* A value on a curve is off by at most this times its largest knot and, because pieces are told by
 * values that are rounded, 64 times the steepest piece. */
#define CURVE_ERROR 0x1p-22

/* A transform [k1 of y][k1 of x][re, im][k0 of one axis][k0 of the other]: in the order in which
 * its stages leave the values, because the way back takes them in that order. A cell of [re, im][16]
 * [16], and a group of cells of one k1 of y, are 16 values further than they are long: a cache keeps
 * few values whose addresses differ by multiples of a large power of two. */
#define CELL_VALUES (2 * 16 * 16 + 16)
#define GROUP_VALUES (SIDE / 16 * CELL_VALUES + 16)
#define TILE_VALUES (SIDE / 16 * GROUP_VALUES)

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#define CORRELATION_X86 1
#endif

#define INLINE inline __attribute__((always_inline))

typedef enum { BYTES, WORDS, FLOATS, DOUBLES } Type; /* uint8, uint16, float32, float64 */
typedef enum { ZNCC, NCC, SSD, SAD } Metric;

/* What the pixels are put into before they are transformed. */
typedef enum { NONE, WAVE, CURVE } Factor;
/* Sums over windows: int32_t; int64_t, in which differences of products are right if they fit; double. */
typedef enum { FEW_SUMS, WHOLE_SUMS, WIDE_SUMS } SumKind;

/* Pixels along the axes of a tile: 16 times 8, 10, 12, 16, 20, 24, 32, 40, 48 or 64. A transform has
 * two tiles, or `folds` is 2 and it has the even and the odd rows of one (_correlation_folded.h). */
typedef struct {
    ptrdiff_t y, x, folds;
} Sides;
#define SQUARE ((Sides){SIDE, SIDE, 1})

/* Values of the first stage of y. */
static inline ptrdiff_t first_of_y(Sides sides)
{
    return sides.y / sides.folds / 16;
}

static inline ptrdiff_t group_values(ptrdiff_t cells)
{
    return cells * CELL_VALUES + 16;
}

static inline ptrdiff_t tile_values(Sides sides)
{
    return first_of_y(sides) * group_values(sides.x / 16);
}

/* Those of a kernel, of a part and channel. */
static inline ptrdiff_t spectrum_values(Sides sides)
{
    const ptrdiff_t groups = sides.folds > 1 ? first_of_y(sides) + 2 : first_of_y(sides);
    return groups * group_values(sides.x / 16);
}

/* Squares of a tile's mosaic, and those that lie under windows of so many pixels. */
static inline ptrdiff_t squares_of(Sides sides)
{
    return (sides.y / MOSAIC) * (sides.x / MOSAIC);
}

static inline ptrdiff_t squares_under(ptrdiff_t pixels)
{
    return (pixels + MOSAIC - 2) / MOSAIC + 1;
}

int correlation_has_side(ptrdiff_t side);
int correlation_has_sides(Sides sides);

/* Direct sums, of _correlation_products.h: of bytes in 32 bits, of 16 bits and floats in double
 * precision. */
typedef struct Products {
    int taps; /* that an instruction multiplies and adds at once: 4 bytes, 2 of 16 bits, 1 double */
    int rows, cols; /* of the map that are summed together; a smaller rest takes as long */
    /* `band` writes a row of int32_t or double. */
    void (*band)(const void *planes, ptrdiff_t plane, ptrdiff_t pitch, ptrdiff_t channels,
                 const void *taps, ptrdiff_t height, ptrdiff_t width, void *out,
                 ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t out_pitch);
} Products;

/* One kernel and the image. Kernels that are scored together have a task each. */
typedef struct {
    Type type;
    Metric metric;
    const uint8_t *image; /* rows of [width, channels] values without gaps */
    ptrdiff_t pitch;      /* bytes from a row to the next */
    ptrdiff_t channels;
    ptrdiff_t height, width; /* of the kernel */
    ptrdiff_t stride_y, stride_x;
    ptrdiff_t rows, cols; /* windows */
    /* A kernel too large for a tile is cut into parts, the last of a row or column smaller. */
    ptrdiff_t parts_y, parts_x, part_height, part_width;
    Sides sides;     /* of transforms */
    ptrdiff_t terms; /* of sad: products whose sum is about |I - K|; 1 of other metrics */
    /* Of sad, where these are made for the kernels' values: [channels][1 + terms][KNOTS], or NULL. The
     * first one of a channel is added to X as it is. */
    const double *curves;
    double limit;
    const struct Products *products;  /* X is summed directly, at a stride of 1; or NULL */
    const struct ByteSums *byte_sums; /* of windows that transforms leave open */
    ptrdiff_t block;                  /* windows along each axis of a block */
    /* What follows is the kernel's own. */
    const float *spectra; /* [parts][terms][channels][spectrum_values], aligned to 64 bytes */
    const double *double_spectra; /* the same, or NULL: made as they are needed */
    const double *taps;   /* b / gain, [terms, channels, height, width] */
    double gain;
    const double *means; /* k, [channels]; of sad the middle of each channel's range */
    const double *halves; /* of sad half the width of each channel's range */
    double own, total;
    double norm; /* of taps */
    /* The share of their energy that the means of 4 x 4 parts of the kernel have: about 1 of smooth
     * kernels, next to none of noise. */
    double smooth_share;
    const double *norms; /* of the taps of a part and term */
    double offset, residual; /* of sad: what is added to X, and what its terms leave over */
    float *map;              /* [rows, cols] */
    /* For each block: the largest score, and what scores may be off by. */
    float *maxima, *errors;
    ptrdiff_t direct, repeated; /* out: windows summed directly, tiles transformed again */
} Task;

/* Whole numbers in 64 bits that are larger are taken from double precision instead. */
#define MOST_WHOLE 0x1p62

/* The most that n E, of pixels that are whole numbers, may be. */
static inline double correlation_most_under_root(const Task *t)
{
    const double n = (double)(t->height * t->width), largest = t->type == BYTES ? 255 : 65535;
    return n * n * (double)t->channels * largest * largest;
}

/* The power of two that brings a number near 1, as far as there is one. */
static inline double correlation_near_1(double number)
{
    int exponent;
    frexp(number, &exponent);
    return ldexp(1, exponent < -1023 ? 1023 : -exponent);
}

/* Products with a tile that are summed for each channel: of every part of a kernel, and every term. */
static inline ptrdiff_t passes_of(const Task *t)
{
    return t->parts_y * t->parts_x * t->terms;
}

/* The curve that the pixels of a channel are put into for a term, or, of term -1, what is added to X. */
static inline const double *curve_of_term(const Task *t, ptrdiff_t channel, ptrdiff_t term)
{
    return t->curves + (channel * (t->terms + 1) + 1 + term) * KNOTS;
}

/* How far a value on a curve may be off. */
static inline double error_of_curve(const double *knots)
{
    double largest = fabs(knots[0]), steepest = 0;
    for (int i = 0; i < PIECES; i++) {
        largest = fmax(largest, fabs(knots[i + 1]));
        steepest = fmax(steepest, fabs(knots[i + 1] - knots[i]));
    }
    return CURVE_ERROR * (largest + 64 * steepest);
}

/* How many times as much of the rounding of pixels' transforms gathers in the products of a kernel, or
 * of its parts, that is long, and most if it is thin, too: lines of pixels that are alike round alike. */
static inline double gathered(const Task *t)
{
    const double height = (double)t->part_height, width = (double)t->part_width;
    const double longest = height > width ? height : width;
    const double shortest = height > width ? width : height;
    return 1 + longest / 64 + 1.25 * sqrt(longest / shortest - 1);
}

/* Sums of the pixels of single windows of bytes with the kernel's bytes less 128, as
 * correlation_fill_own has them: of one window, and of TOGETHER side by side. */
typedef struct ByteSums {
    int item; /* bytes of a tap: 1, or 2 where the instruction takes none with bytes */
    void (*one)(const Task *t, const uint8_t *pixels, ptrdiff_t plane, ptrdiff_t pitch,
                const void *taps, double *out);
    void (*some)(const Task *t, const uint8_t *pixels, ptrdiff_t plane, ptrdiff_t pitch,
                 const void *taps, double *out);
} ByteSums;

/* What is scored by _correlation_weighted.h, which has the formulas. */
typedef struct {
    Task task; /* of which it takes no spectra, taps, tables or products; means are k */
    /* The kernel's planes: w (K - k) of the channels, -2 times that for ssd, w K for ncc; the
     * weights w, [weight_planes]; and, with levels, sum w (K - k)^2 over the channels, or sum w K^2. */
    const double *planes; /* [planes, height, width] */
    ptrdiff_t plane_count, weight_planes; /* weights of all channels are 1 plane, or each has one */
    const double *spectra;                /* [parts][planes][spectrum_values], aligned to 64 bytes */
    const uint8_t *levels;                /* v of the image's pixels, or NULL where all are visible */
    ptrdiff_t levels_pitch;
    double least;    /* windows are hidden of which less is visible: the sum of w v */
    uint8_t *hidden; /* out: [rows, cols] */
} Weighted;

typedef struct {
    const char *name;
    int (*runs_here)(void);
    /* Scores of kernels of one image and size, of each a task. 0, or -1 without memory. */
    int (*scores)(Task *tasks, ptrdiff_t count);
    int (*weighted)(Weighted *weighted);
    void (*spectrum)(const double *taps, ptrdiff_t height, ptrdiff_t width, ptrdiff_t pitch,
                     Sides sides, float *out);
    void (*double_spectrum)(const double *taps, ptrdiff_t height, ptrdiff_t width,
                            ptrdiff_t pitch, Sides sides, double *out);
    const Products *products[DOUBLES + 1]; /* by the type of the pixels, or NULL */
    const ByteSums *byte_sums;
} Variant;

extern const Variant *const CORRELATION_VARIANTS[]; /* best first, NULL last */

/* The tiles of a task, and the memory that it takes. */
typedef struct {
    ptrdiff_t tall;         /* windows of a tile's column, at most */
    ptrdiff_t wide, last;   /* those of a tile's row, and of the last tile's */
    ptrdiff_t across;       /* tiles of a row */
    ptrdiff_t bands;        /* rows of tiles that are worked on together: 1, or 2 to make pairs */
    ptrdiff_t lines, pitch; /* pixels of a band's planes */
    ptrdiff_t x_pitch;      /* values of a row of products, and of sums */
    ptrdiff_t columns;      /* sums of columns */
} Layout;

/* Windows of a row of the tile that begins at the window `left`. */
static inline ptrdiff_t tile_cols(const Layout *l, ptrdiff_t left)
{
    return left < (l->across - 1) * l->wide ? l->wide : l->last;
}

static inline ptrdiff_t widest_tile(const Layout *l)
{
    return l->wide > l->last ? l->wide : l->last;
}

/* Where the products of a tile go. */
typedef struct {
    void *out; /* float, or double */
    int is_wide;
    ptrdiff_t rows, cols; /* windows */
} Place;

/* Memory that is allocated at once and given out in pieces, each aligned to 64 bytes. */
typedef struct {
    void *base;
    size_t bytes;
    uint8_t *next;
} Arena;

int correlation_open(Arena *arena, size_t bytes); /* 0 without memory */
void *correlation_take(Arena *arena, size_t bytes);
void correlation_close(Arena *arena);
void correlation_release(void); /* what is kept for the next call */

Layout correlation_layout(const Task *task);
size_t correlation_scratch(const Task *task, const Layout *layout, ptrdiff_t kernels);
/* How much of that the arrays of transforms in single precision take. Where the kernel's spectra in
 * double precision are given, they have room for those of double precision, too, so that nothing
 * more is allocated. */
size_t correlation_work_bytes(const Task *task, ptrdiff_t kernels);
/* What an array of transforms in double precision takes: a tile's channels, or their product with a
 * kernel. */
size_t correlation_double_bytes(const Task *task, int is_product);
/* Which of both fit the arrays of single precision, in that order, and how much the others take. */
typedef struct {
    int fits[2];
    size_t more;
} Doubles;

Doubles correlation_doubles(const Task *task, ptrdiff_t kernels);

ptrdiff_t correlation_item(const Task *task); /* bytes of a value */
size_t correlation_product_bytes(const Task *task); /* bytes of a window's X */

/* A band's pixels as the products take them: in 16 bits where these are of two taps at once, as
 * doubles of one; none of four. */
size_t correlation_wide_bytes(const Task *task, const Layout *layout);

/* The sums over windows that the pass with weights makes, by their numbers: X is 0. Those that a
 * metric does not need are -1; of ssd E and B are added to X. */
typedef struct {
    ptrdiff_t energy, sums;          /* E; S of the channels */
    ptrdiff_t own, counts, own_sums; /* with levels: B; n of each plane of weights; T */
    ptrdiff_t count;
} Outputs;

Outputs correlation_outputs(const Weighted *weighted);
size_t correlation_weighted_scratch(const Weighted *weighted, const Layout *layout);
size_t correlation_plain_bytes(Sides sides); /* planes of the tiles of a transform */
ptrdiff_t correlation_out_pitch(const Layout *layout); /* values of a row of a tile's sums */

/* The kernel as a direct sum takes it, [channels][height + 2 (rows - 1)][width rounded up to `taps`]
 * with zeros around: its bytes less 128 as int8_t, or as int16_t where `taps` is 2; or, where that
 * is 1, the task's taps. */
size_t correlation_taps_bytes(const Task *task, const Products *products);
void correlation_fill_taps(const Task *task, void *out);

/* The kernel's bytes less 128, [channels][height][width rounded up to 32] with zeros behind them, as
 * the task's byte_sums take them; 0 bytes of other pixels, and where nothing is left open. */
ptrdiff_t correlation_own_width(const Task *task);
size_t correlation_own_bytes(const Task *task);
void correlation_fill_own(const Task *task, void *out);

/* Whether tiles may have mosaics, and what these take, in bytes: 0 where there are none. */
int correlation_has_mosaics(const Task *task);

typedef struct {
    size_t squares; /* of the mosaics of a band's tiles */
    size_t steps;   /* the same of one, in double precision, with zeros beside it */
    size_t weights; /* of a kernel */
    size_t lines;   /* what these are made of */
} Mosaics;

Mosaics correlation_mosaics(const Task *task, const Layout *layout);

/* Values of a row of a mosaic's steps: some more than it has squares, because windows are worked on
 * beyond the last one. */
static inline ptrdiff_t steps_pitch(const Task *t)
{
    return t->sides.x / MOSAIC + squares_under(t->width) + 4;
}

/* What _correlation_excess.h keeps. */
size_t correlation_excess_bytes(const Task *task, const Layout *layout);

/* Parts of a row of windows, each in one tile and one block, at most. */
size_t correlation_segments(const Task *task, const Layout *layout);

/* A part of a kernel's term and channel: its first value, and its size. `pass` is part x terms +
 * term. */
typedef struct {
    const double *taps;
    ptrdiff_t height, width;
} Part;

Part correlation_part(const Task *task, ptrdiff_t pass, ptrdiff_t channel);

/* How many products of direct sums take as long as a window that is made again: its own, and what else
 * it takes, which is more in the quick products of bytes. */
double correlation_window_time(const Task *task);

/* Windows of a tile that are summed directly before the tile is transformed again instead. */
ptrdiff_t correlation_budget(const Task *task);

/* cos and -sin of 2 pi k n / side, and cos and sin of 2 pi (k + side / 16 n) / side, [side / 16]
 * [4][k][n] of side / 16 x 16. */
extern float SINGLE_TWIDDLES[MOST_FIRST + 1][4][MOST_FIRST][16];
extern double DOUBLE_TWIDDLES[MOST_FIRST + 1][4][MOST_FIRST][16];
void correlation_tables(void); /* fills them */

#endif
