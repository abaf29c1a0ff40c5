/* The loops of the pose search: plain.py and plain_look.py say what each of them does, in NumPy.
 *
 * Planes are padded by PAD pixels that repeat their border, so that a position may be clipped to
 * [-2, length + 1] and all its neighbours are there. A kernel's rows are padded with pixels of
 * weight 0 to whole pieces.
 *
 * Nothing here knows Python; _poses.c does.
 */
#ifndef PATCHSIM_POSES_H
#define PATCHSIM_POSES_H

#include <stddef.h>
#include <stdint.h>

#define PAD 8
#define PIECE 16 /* pixels of a kernel's row that are taken or left out together */
#define BATCH 8  /* turned kernels that are compared with a picture in one pass */
#define OUTSIDE (-9.0f)
#define LARGEST_SIDE (1 << 24) /* of a picture or kernel, so that products of two fit */
#define LARGEST_SCALE 32.0 /* its logarithm: places of that scale still fit floats */
#define COLUMNS 7 /* of sums: weight, kernel, picture, its slopes by x, y, angle, log scale */
#define MOST_CHANNELS 64
#define FLAT 1e-12 /* as metrics.FLAT: of a channel's mean square, its variance */
#define SHARED 0.7 /* of the most pixels of turned kernels that they have in common: enough to count these alone */
#define MOST_LEVEL 126.0  /* of whole numbers that stand for a turned kernel; one more is a byte, too */
#define ROUNDED 0.02      /* of a pixel's square, in units of 0 to 255: what sums in float32 leave out */
#define LEAST_SPREAD 1e-3 /* of a pixel, in units of 0 to 255; less is flat */
#define FARTHEST 4.0      /* pixels of the level that a pose may move from where it began */
#define STRAIGHT 0.9      /* the cosine of two steps that are of one direction */
#define LEAST_SHARE 0.125 /* of what is left that a step is taken for */
#define MOST_GAINS 8.0    /* times the last step's gain is what all that follow may add, */
#define HOPE 0.03         /* and so much more */
#define LONGEST 2.0       /* pixels that a corner may move in one step */

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#define POSES_X86 1
#endif

#define INLINE inline __attribute__((always_inline))

typedef enum { ZNCC, NCC, SSD, SAD } Metric;

typedef struct {
    const void *values;     /* uint8 or float [channels], each of `plane`: pixel (0, 0) */
    const uint8_t *visible; /* pixel (0, 0), or NULL */
    const float *limits;    /* [channels][least, most]: of what is sampled by the cubic */
    int is_bytes;
    ptrdiff_t channels, height, width, pitch, plane;
} Plane;

typedef struct {
    const float *taps, *weights; /* [channels or shades][height][pitch] */
    const float *smoothing; /* as taps, or NULL: the neighbours' mean less the pixel */
    ptrdiff_t channels, shades, height, pitch;
    double centre_y, centre_x, reach;
} Kernel;

/* Those of a kernel's pixels that are looked at and count, in whole pieces; what fills the last one weighs 0. */
typedef struct {
    float *across, *down;              /* [n]: from the kernel's centre */
    float *taps, *weights, *smoothing; /* [channels or shades][pitch]; smoothing as in Kernel */
    ptrdiff_t n, shades, pitch;
    double reach;
} Counted;

typedef struct {
    Metric metric;
    double full, enough, least, low[2], high[2]; /* of angle and log scale */
    ptrdiff_t steps, every, around;
    int is_cubic, free; /* a bit each: x, y, angle, scale */
} Aim;

typedef struct {
    const float *values;  /* [poses][channels][side][side] */
    const uint8_t *mask;  /* [poses][shades][side][side] */
    const int32_t *order;  /* [poses]: neighbours here share a pass */
    const int32_t *bounds; /* [poses][first row, last row, first column, last column] */
    ptrdiff_t poses, shades, side;
    Metric metric;
    double full;
    float bar;             /* what scores less, by zncc and ncc, may be told to lie outside */
    ptrdiff_t first, last; /* rows, the last one excluded */
    float *out;            /* [at least poses][last - first][out_pitch] */
    ptrdiff_t out_pitch;
} Look;

typedef enum { U8, U16, F32, F64 } Type;

/* A picture or kernel as it was given: [height][width][channels]. */
typedef struct {
    const void *pixels;
    Type type;
    ptrdiff_t height, width, channels;
} Picture;

typedef struct {
    Picture picture, kernel;
    const uint8_t *weights, *visible; /* [h][w][shades], [H][W]; or NULL */
    const double *smoothing; /* [h][w][channels], or NULL: the neighbours' mean less the pixel */
    ptrdiff_t shades, n;
    const double *poses; /* [n][x, y of the centre; cosine, sine of the angle times the scale] */
    double centre_y, centre_x; /* in the kernel */
    const double *limits; /* [channels][least, most]: of what is sampled */
    Metric metric;
    double full;
    double *scores; /* [n] */
} Exact;

/* A row of cells and those beside it in place and angle; the row itself where there is none. */
typedef struct {
    const float *at, *above, *below, *before, *after;
} Row;

typedef struct {
    const char *name;
    int (*is_here)(void);
    /* Poses [n][4] become better ones, with their scores [n]. */
    /* Returns 0, or -1 without memory, as the next. */
    int (*refine)(const Plane *, const Kernel *, const Aim *, double *poses, double *scores, ptrdiff_t n);
    int (*look)(const Plane *, const Look *);
    ptrdiff_t (*likely)(const Row *, ptrdiff_t width, float bar, int32_t *columns);
    void (*halve_bytes)(const uint8_t *in, ptrdiff_t in_pitch, uint8_t *out, ptrdiff_t width);
    void (*exact)(const Exact *);
} Variant;

extern const Variant *const POSES_VARIANTS[];

/* How much of a kernel's smoothing counts where its pixels have this size; as levels.softness. */
double poses_softness(double pixel);

/* Take one of so many pieces of a kernel; returns 0, or -1 without memory. `poses_forget` frees what it holds. */
int poses_count(const Kernel *, ptrdiff_t every, Counted *);
void poses_forget(Counted *);

/* Whether a pixel that counts lies farther from the centre than the kernel's reach, within which places are counted. */
int poses_reaches_farther(const Kernel *);

typedef struct {
    Kernel kernel;
    ptrdiff_t width, radius;
    double half_y, half_x, border;
    int rounds, is_centred; /* to whole numbers, of which `is_centred` takes off the mean */
    const int32_t *order; /* [poses]: so many as share a pass share their mask, too, where it is nearly the same; or NULL */
} Turn;

void poses_turn(const Turn *, const double *poses, ptrdiff_t n, float *values, uint8_t *mask);

typedef struct {
    const float *volume; /* [scales x angles][rows][pitch] */
    ptrdiff_t scales, angles, rows, pitch, width, first, last, near; /* angles within so many steps are neighbours */
    float bar;
    int is_cyclic;
    int32_t *found; /* [most][pose, row, column] */
    float *scores;  /* [most] */
    ptrdiff_t most;
} Maxima;

ptrdiff_t poses_maxima(const Variant *, const Maxima *);

typedef struct {
    const double *poses; /* [n][4], the best first */
    ptrdiff_t n, of_a_place;
    double half_y, half_x, reach, near;
    int32_t *kept;     /* [n] */
} Thinned;

ptrdiff_t poses_thinned(const Thinned *); /* or -1 without memory */

#endif
