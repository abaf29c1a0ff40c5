/* The variants: one source, compiled for each set of vector instructions; and what they share. */
#include "_correlation.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#include <immintrin.h>
#if defined(__clang__) ? __clang_major__ >= 13 : __GNUC__ >= 11
#define CORRELATION_AVXVNNI
#include <cpuid.h>
#endif
#endif
#ifdef __ARM_NEON
#include <arm_neon.h>
#endif
/* Compilers that take the attribute, and those of processors that all have the instructions. */
#if defined(__aarch64__) && defined(__linux__) && !defined(__clang__) && __GNUC__ >= 8
#define CORRELATION_DOTPROD
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#define CORRELATION_DOTPROD
#endif

#include "../machine/_scratch.h"
#include "../machine/_targets.h"

#ifdef __clang__
#define UNROLL16 _Pragma("clang loop unroll(full)")
#else
#define UNROLL16 _Pragma("GCC unroll 16")
#endif

/* The masks of both are constants: SHUFFLE(p, q, (0, 2)). */
#define STRIP(...) __VA_ARGS__
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE_OF(p, q, ...) __builtin_shufflevector(p, q, __VA_ARGS__)
#define SHUFFLE(p, q, mask) SHUFFLE_OF(p, q, STRIP mask)
#else
#define SHUFFLE(p, q, mask) __builtin_shuffle(p, q, (__typeof__(p == q)){STRIP mask})
#endif

float SINGLE_TWIDDLES[MOST_FIRST + 1][4][MOST_FIRST][16] __attribute__((aligned(64)));
double DOUBLE_TWIDDLES[MOST_FIRST + 1][4][MOST_FIRST][16] __attribute__((aligned(64)));

static const double WAVE_SERIES[2][SERIES] = {SINE_SERIES, COSINE_SERIES};

/* cos and -sin of 2 pi i / n. */
static const double TURNS_8[2][4] = {
    {1, 0.70710678118654757, 6.123233995736766e-17, -0.70710678118654746},
    {-0, -0.70710678118654746, -1, -0.70710678118654757},
};
static const double TURNS_10[2][5] = {
    {1, 0.80901699437494745, 0.30901699437494745, -0.30901699437494734, -0.80901699437494734},
    {-0, -0.58778525229247314, -0.95105651629515353, -0.95105651629515364,
     -0.58778525229247325},
};
static const double TURNS_12[2][7] = {
    {1, 0.86602540378443871, 0.50000000000000011, 6.123233995736766e-17,
     -0.49999999999999978, -0.86602540378443871, -1},
    {-0, -0.49999999999999994, -0.8660254037844386, -1, -0.86602540378443871,
     -0.49999999999999994, -1.2246467991473532e-16},
};
static const double TURNS_20[2][13] = {
    {1, 0.95105651629515353, 0.80901699437494745, 0.58778525229247314, 0.30901699437494745,
     6.123233995736766e-17, -0.30901699437494734, -0.58778525229247303, -0.80901699437494734,
     -0.95105651629515353, -1, -0.95105651629515375, -0.80901699437494756},
    {-0, -0.3090169943749474, -0.58778525229247314, -0.80901699437494745,
     -0.95105651629515353, -1, -0.95105651629515364, -0.80901699437494745,
     -0.58778525229247325, -0.30901699437494751, -1.2246467991473532e-16, 0.3090169943749469,
     0.58778525229247303},
};
static const double TURNS_24[2][15] = {
    {1, 0.96592582628906831, 0.86602540378443871, 0.70710678118654757, 0.50000000000000011,
     0.25881904510252074, 6.123233995736766e-17, -0.25881904510252063, -0.49999999999999978,
     -0.70710678118654746, -0.86602540378443871, -0.9659258262890682, -1,
     -0.96592582628906831, -0.86602540378443882},
    {-0, -0.25881904510252074, -0.49999999999999994, -0.70710678118654746,
     -0.8660254037844386, -0.96592582628906831, -1, -0.96592582628906831,
     -0.86602540378443871, -0.70710678118654757, -0.49999999999999994, -0.25881904510252102,
     -1.2246467991473532e-16, 0.25881904510252079, 0.49999999999999972},
};
static const double TURNS_32[2][22] = {
    {1, 0.98078528040323043, 0.92387953251128674, 0.83146961230254524, 0.70710678118654757,
     0.55557023301960229, 0.38268343236508984, 0.19509032201612833, 6.123233995736766e-17,
     -0.19509032201612819, -0.38268343236508973, -0.55557023301960196, -0.70710678118654746,
     -0.83146961230254535, -0.92387953251128674, -0.98078528040323043, -1,
     -0.98078528040323043, -0.92387953251128685, -0.83146961230254546, -0.70710678118654768,
     -0.55557023301960218},
    {-0, -0.19509032201612825, -0.38268343236508978, -0.55557023301960218,
     -0.70710678118654746, -0.83146961230254524, -0.92387953251128674, -0.98078528040323043,
     -1, -0.98078528040323043, -0.92387953251128674, -0.83146961230254546,
     -0.70710678118654757, -0.55557023301960218, -0.38268343236508989, -0.19509032201612861,
     -1.2246467991473532e-16, 0.19509032201612836, 0.38268343236508967, 0.55557023301960196,
     0.70710678118654746, 0.83146961230254524},
};

static const double TURNS_40[2][29] = {
    {1.0, 0.9876883405951378, 0.9510565162951535, 0.8910065241883679, 0.8090169943749475,
     0.7071067811865476, 0.5877852522924731, 0.4539904997395468, 0.30901699437494745,
     0.15643446504023092, 6.123233995736766e-17, -0.1564344650402306, -0.30901699437494734,
     -0.4539904997395467, -0.587785252292473, -0.7071067811865475, -0.8090169943749473,
     -0.8910065241883678, -0.9510565162951535, -0.9876883405951377, -1.0,
     -0.9876883405951378, -0.9510565162951538, -0.8910065241883679, -0.8090169943749476,
     -0.7071067811865477, -0.5877852522924732, -0.4539904997395469, -0.30901699437494756},
    {-0.0, -0.15643446504023087, -0.3090169943749474, -0.45399049973954675,
     -0.5877852522924731, -0.7071067811865475, -0.8090169943749475, -0.8910065241883678,
     -0.9510565162951535, -0.9876883405951378, -1.0, -0.9876883405951378,
     -0.9510565162951536, -0.8910065241883679, -0.8090169943749475, -0.7071067811865476,
     -0.5877852522924732, -0.45399049973954686, -0.3090169943749475, -0.15643446504023098,
     -1.2246467991473532e-16, 0.15643446504023073, 0.3090169943749469, 0.4539904997395467,
     0.587785252292473, 0.7071067811865475, 0.8090169943749473, 0.8910065241883678,
     0.9510565162951535},
};
static const double TURNS_48[2][37] = {
    {1.0, 0.9914448613738104, 0.9659258262890683, 0.9238795325112867, 0.8660254037844387,
     0.7933533402912352, 0.7071067811865476, 0.6087614290087207, 0.5000000000000001,
     0.38268343236508984, 0.25881904510252074, 0.1305261922200517, 6.123233995736766e-17,
     -0.1305261922200516, -0.25881904510252063, -0.3826834323650895, -0.4999999999999998,
     -0.6087614290087207, -0.7071067811865475, -0.793353340291235, -0.8660254037844387,
     -0.9238795325112867, -0.9659258262890682, -0.9914448613738104, -1.0,
     -0.9914448613738104, -0.9659258262890683, -0.9238795325112868, -0.8660254037844388,
     -0.7933533402912352, -0.7071067811865479, -0.6087614290087209, -0.5000000000000004,
     -0.3826834323650895, -0.25881904510252063, -0.13052619222005163,
     -1.8369701987210297e-16},
    {-0.0, -0.13052619222005157, -0.25881904510252074, -0.3826834323650898,
     -0.49999999999999994, -0.6087614290087207, -0.7071067811865475, -0.7933533402912352,
     -0.8660254037844386, -0.9238795325112867, -0.9659258262890683, -0.9914448613738104,
     -1.0, -0.9914448613738104, -0.9659258262890683, -0.9238795325112868,
     -0.8660254037844387, -0.7933533402912352, -0.7071067811865476, -0.6087614290087209,
     -0.49999999999999994, -0.3826834323650899, -0.258819045102521, -0.130526192220052,
     -1.2246467991473532e-16, 0.13052619222005177, 0.2588190451025208, 0.38268343236508967,
     0.4999999999999997, 0.6087614290087207, 0.7071067811865471, 0.7933533402912349,
     0.8660254037844384, 0.9238795325112868, 0.9659258262890683, 0.9914448613738104, 1.0},
};
static const double TURNS_64[2][50] = {
    {1.0, 0.9951847266721969, 0.9807852804032304, 0.9569403357322088, 0.9238795325112867,
     0.881921264348355, 0.8314696123025452, 0.773010453362737, 0.7071067811865476,
     0.6343932841636455, 0.5555702330196023, 0.4713967368259978, 0.38268343236508984,
     0.29028467725446233, 0.19509032201612833, 0.09801714032956077, 6.123233995736766e-17,
     -0.09801714032956065, -0.1950903220161282, -0.29028467725446216, -0.3826834323650897,
     -0.4713967368259977, -0.555570233019602, -0.6343932841636454, -0.7071067811865475,
     -0.773010453362737, -0.8314696123025453, -0.8819212643483549, -0.9238795325112867,
     -0.9569403357322088, -0.9807852804032304, -0.9951847266721968, -1.0,
     -0.9951847266721969, -0.9807852804032304, -0.9569403357322089, -0.9238795325112868,
     -0.881921264348355, -0.8314696123025455, -0.7730104533627371, -0.7071067811865477,
     -0.6343932841636459, -0.5555702330196022, -0.47139673682599786, -0.38268343236509034,
     -0.29028467725446244, -0.19509032201612866, -0.09801714032956045,
     -1.8369701987210297e-16, 0.09801714032956009},
    {-0.0, -0.0980171403295606, -0.19509032201612825, -0.29028467725446233,
     -0.3826834323650898, -0.47139673682599764, -0.5555702330196022, -0.6343932841636455,
     -0.7071067811865475, -0.773010453362737, -0.8314696123025452, -0.8819212643483549,
     -0.9238795325112867, -0.9569403357322089, -0.9807852804032304, -0.9951847266721968,
     -1.0, -0.9951847266721969, -0.9807852804032304, -0.9569403357322089,
     -0.9238795325112867, -0.881921264348355, -0.8314696123025455, -0.7730104533627371,
     -0.7071067811865476, -0.6343932841636455, -0.5555702330196022, -0.47139673682599786,
     -0.3826834323650899, -0.2902846772544624, -0.1950903220161286, -0.09801714032956083,
     -1.2246467991473532e-16, 0.09801714032956059, 0.19509032201612836, 0.2902846772544621,
     0.38268343236508967, 0.47139673682599764, 0.555570233019602, 0.6343932841636453,
     0.7071067811865475, 0.7730104533627367, 0.8314696123025452, 0.8819212643483549,
     0.9238795325112865, 0.9569403357322088, 0.9807852804032303, 0.9951847266721969, 1.0,
     0.9951847266721969},
};

int correlation_has_side(ptrdiff_t side)
{
    return side == 128 || side == 160 || side == 192 || side == 256 || side == 320 ||
           side == 384 || side == 512 || side == 640 || side == 768 || side == 1024;
}

int correlation_has_sides(Sides sides)
{
    return (sides.folds == 1 || sides.folds == 2) && sides.y % sides.folds == 0 &&
           correlation_has_side(sides.y / sides.folds) && correlation_has_side(sides.x);
}

void correlation_tables(void)
{
    const double turn = 2 * 3.14159265358979323846;
    for (int m = 1; m <= MOST_FIRST; m++)
        for (int k = 0; k < m && correlation_has_side(16 * m); k++)
            for (int n = 0; n < 16; n++) {
                const double angle = turn * k * n / (16 * m), own = turn * (k + m * n) / (16 * m);
                const double values[4] = {cos(angle), -sin(angle), cos(own), sin(own)};
                for (int i = 0; i < 4; i++)
                    SINGLE_TWIDDLES[m][i][k][n] = (float)(DOUBLE_TWIDDLES[m][i][k][n] = values[i]);
            }
}

#define PIECE 64

int correlation_open(Arena *arena, size_t bytes)
{
    const ScratchBlock block = scratch_take(bytes + PIECE);
    arena->base = block.base, arena->bytes = block.bytes;
    arena->next = (uint8_t *)(((uintptr_t)arena->base + PIECE - 1) / PIECE * PIECE);
    return arena->base != NULL;
}

static size_t piece(size_t bytes)
{
    return (bytes + PIECE - 1) / PIECE * PIECE;
}

void *correlation_take(Arena *arena, size_t bytes)
{
    void *taken = arena->next;
    arena->next += piece(bytes);
    return taken;
}

void correlation_close(Arena *arena)
{
    scratch_give((ScratchBlock){arena->base, arena->bytes});
}

void correlation_release(void)
{
    scratch_release();
}

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

static ptrdiff_t divided(ptrdiff_t count, ptrdiff_t by) /* rounded up */
{
    return (count + by - 1) / by;
}

#define DIRECT_ROWS 96 /* of a band: a multiple of all that registers hold */
#define DIRECT_COLS 64 /* the most windows of a row that registers hold */

Layout correlation_layout(const Task *t)
{
    Layout l;
    if (t->products) {
        const ptrdiff_t cols = divided(t->cols, DIRECT_COLS) * DIRECT_COLS;
        /* Sums over windows of floats begin anew for each tile, so that fewer roundings add up. */
        l.wide = t->type >= FLOATS && t->cols > DIRECT_COLS ? DIRECT_COLS : t->cols;
        l.tall = DIRECT_ROWS, l.across = divided(t->cols, l.wide), l.bands = 1;
        l.last = t->cols - (l.across - 1) * l.wide;
        l.lines = DIRECT_ROWS + t->height - 1;
        l.pitch = (cols + t->width + 64 + 31) / 32 * 32;
        l.x_pitch = cols + 16;
        l.columns = l.pitch + 16;
        return l;
    }
    const ptrdiff_t tall = (t->sides.y - t->part_height) / t->stride_y + 1;
    l.tall = divided(t->rows, divided(t->rows, tall));
    /* All but the last tile have whole vectors. */
    const ptrdiff_t most = (t->sides.x - t->part_width) / t->stride_x + 1;
    const ptrdiff_t step = most > 16 ? 16 : 1, whole = most / step * step;
    l.across = t->cols > most ? 1 + divided(t->cols - most, whole) : 1;
    l.wide = l.across > 1 ? least(whole, divided(divided(t->cols, l.across), step) * step) : t->cols;
    l.last = t->cols - (l.across - 1) * l.wide;
    l.bands = l.across % 2 && t->rows > l.tall && t->sides.folds == 1 ? 2 : 1;
    l.lines = (l.bands - 1) * l.tall * t->stride_y + (t->parts_y - 1) * t->part_height + t->sides.y;
    l.pitch = (l.across - 1) * l.wide * t->stride_x + (t->parts_x - 1) * t->part_width + t->sides.x;
    l.pitch = (l.pitch + 31) / 32 * 32;
    ptrdiff_t columns = (t->cols - 1) * t->stride_x + t->width;
    if (l.pitch < columns)
        l.pitch = (columns + 31) / 32 * 32;
    l.x_pitch = (t->cols + 15) / 16 * 16 + 16; /* a vector more than there are */
    l.columns = l.pitch + 16;
    return l;
}

/* Products of a tile with so many kernels, where they do not lie over the tile's transform. */
static size_t total_bytes(const Task *t, ptrdiff_t count)
{
    const int is_in_place = passes_of(t) == 1 && count == 1;
    return is_in_place ? 0 : (size_t)(count * tile_values(t->sides)) * sizeof(float);
}

size_t correlation_double_bytes(const Task *t, int is_product)
{
    return (size_t)((is_product ? 1 : t->channels) * tile_values(t->sides)) * sizeof(double);
}

size_t correlation_work_bytes(const Task *t, ptrdiff_t count)
{
    const size_t singles = (size_t)(t->channels * tile_values(t->sides)) * sizeof(float) +
                           total_bytes(t, count);
    const size_t doubles = correlation_double_bytes(t, 0) + correlation_double_bytes(t, 1);
    return piece(t->double_spectra && doubles > singles ? doubles : singles);
}

Doubles correlation_doubles(const Task *t, ptrdiff_t count)
{
    size_t room = correlation_work_bytes(t, count);
    Doubles found = {0};
    for (int i = 0; i < 2; i++) {
        const size_t bytes = correlation_double_bytes(t, i);
        found.fits[i] = bytes <= room;
        if (found.fits[i])
            room -= bytes;
        else
            found.more += bytes;
    }
    return found;
}

size_t correlation_scratch(const Task *t, const Layout *l, ptrdiff_t kernels)
{
    const size_t count = (size_t)kernels;
    const size_t channels = (size_t)t->channels, most = (size_t)(l->bands * l->across);
    const size_t columns = (size_t)l->columns;
    const size_t blocks = (size_t)((t->cols + t->block - 1) / t->block);
    const size_t block_rows = (size_t)((l->bands * l->tall) / t->block + 2);
    const size_t item = (size_t)correlation_item(t), x_pitch = (size_t)l->x_pitch;
    const size_t work = t->products ? piece(correlation_wide_bytes(t, l)) +
                                          piece(correlation_taps_bytes(t, t->products))
                                    : correlation_work_bytes(t, kernels) +
                                          piece(count * sizeof(void *)) +
                                          count * piece(correlation_own_bytes(t));
    const Mosaics m = correlation_mosaics(t, l);
    return work + piece(m.squares) + piece(m.steps) + piece(m.lines) + piece(count * m.weights) +
           piece(count * correlation_segments(t, l) * 192) + piece(most * (96 + 2 * OCTAVES)) +
           piece(most * sizeof(void *)) + piece(count * most * 24) + piece(channels * 16) +
           piece(most * channels * 8) + piece(channels * (size_t)(l->lines * l->pitch) * item) +
           piece(count * (size_t)(l->bands * l->tall) * x_pitch * correlation_product_bytes(t)) +
           piece(channels * columns * 8) +
           piece(columns * 8) + piece(channels * x_pitch * 8) + piece(x_pitch * 8) +
           piece(count * 2 * block_rows * blocks * sizeof(float)) + piece(channels * 8) +
           3 * piece(columns * 8) + piece(columns * 4) + piece((size_t)t->cols) +
           piece(correlation_excess_bytes(t, l));
}

Outputs correlation_outputs(const Weighted *w)
{
    const ptrdiff_t channels = w->task.channels;
    Outputs o = {-1, -1, -1, -1, -1, 1};
    if (w->task.metric != SSD)
        o.energy = o.count++;
    if (w->task.metric == ZNCC)
        o.sums = o.count, o.count += channels;
    if (!w->levels)
        return o;
    if (w->task.metric != SSD)
        o.own = o.count++;
    o.counts = o.count, o.count += w->weight_planes;
    if (w->task.metric == ZNCC)
        o.own_sums = o.count, o.count += channels;
    return o;
}

size_t correlation_plain_bytes(Sides sides)
{
    return (size_t)(sides.y * sides.x * (sides.folds > 1 ? 1 : 2)) * sizeof(double);
}

ptrdiff_t correlation_out_pitch(const Layout *l)
{
    return (widest_tile(l) + 15) / 16 * 16;
}

size_t correlation_weighted_scratch(const Weighted *w, const Layout *l)
{
    const Task *t = &w->task;
    const size_t channels = (size_t)t->channels, most = (size_t)(l->bands * l->across);
    const size_t outputs = (size_t)correlation_outputs(w).count, tall = (size_t)l->tall;
    const size_t planes = (size_t)(t->parts_y * t->parts_x * w->plane_count);
    const size_t pixels = (size_t)(l->lines * l->pitch), item = (size_t)correlation_item(t);
    const size_t tile = (size_t)tile_values(t->sides) * sizeof(double);
    const size_t tiles = t->sides.folds > 1 ? 1 : 2;
    return piece(most * (96 + 2 * OCTAVES)) + piece(most * sizeof(void *)) + piece(most * channels * 8) +
           piece(channels * pixels * item) + piece((size_t)l->pitch * 4) +
           piece((size_t)l->bands * tall * (size_t)t->cols) + piece(tile) + piece(outputs * tile) +
           piece(correlation_plain_bytes(t->sides)) +
           piece(tiles * outputs * tall * (size_t)correlation_out_pitch(l) * 8) + 2 * piece(planes * 8) +
           (w->levels ? piece(pixels) : 0);
}

size_t correlation_product_bytes(const Task *t)
{
    return t->products && t->products->taps == 1 ? sizeof(double) : sizeof(float);
}

ptrdiff_t correlation_item(const Task *t)
{
    return t->type == BYTES ? 1 : t->type == WORDS ? 2 : t->type == FLOATS ? 4 : 8;
}

Part correlation_part(const Task *t, ptrdiff_t pass, ptrdiff_t channel)
{
    const ptrdiff_t part = pass / t->terms, term = pass % t->terms;
    const ptrdiff_t y = part / t->parts_x * t->part_height, x = part % t->parts_x * t->part_width;
    return (Part){t->taps + ((term * t->channels + channel) * t->height + y) * t->width + x,
                  least(t->part_height, t->height - y), least(t->part_width, t->width - x)};
}

size_t correlation_excess_bytes(const Task *t, const Layout *l)
{
    return t->metric == SAD ? (size_t)(l->lines * l->pitch) * sizeof(float) : 0;
}

size_t correlation_segments(const Task *t, const Layout *l)
{
    return (size_t)(l->across * (widest_tile(l) / t->block + 2));
}

int correlation_has_mosaics(const Task *t)
{
    return t->metric == ZNCC && t->type != DOUBLES && t->limit <= MAP_LIMIT && !t->products &&
           t->stride_y == 1 && t->stride_x == 1 && t->parts_y == 1 && t->parts_x == 1 &&
           t->height <= MOST_UNDER_MOSAIC && t->width <= MOST_UNDER_MOSAIC;
}

Mosaics correlation_mosaics(const Task *t, const Layout *l)
{
    if (!correlation_has_mosaics(t))
        return (Mosaics){0};
    const size_t channels = (size_t)t->channels, most = (size_t)(l->bands * l->across);
    const size_t columns = (size_t)(squares_under(t->width) * MOSAIC);
    return (Mosaics){
        .squares = most * channels * (size_t)squares_of(t->sides) * sizeof(float),
        .steps = channels * (size_t)(t->sides.y / MOSAIC * steps_pitch(t)) * sizeof(double),
        .weights = channels * MOSAIC * (size_t)squares_under(t->height) * columns * sizeof(double),
        .lines = (size_t)(t->height + 1) * columns * sizeof(double),
    };
}

size_t correlation_wide_bytes(const Task *t, const Layout *l)
{
    const size_t pixels = (size_t)(t->channels * l->lines * l->pitch);
    return pixels * (t->products->taps == 1   ? sizeof(double)
                     : t->products->taps == 2 ? sizeof(int16_t)
                                              : 0);
}

size_t correlation_taps_bytes(const Task *t, const Products *products)
{
    const ptrdiff_t width = (t->width + products->taps - 1) / products->taps * products->taps;
    const ptrdiff_t rows = t->height + 2 * (products->rows - 1);
    const size_t item = products->taps == 1 ? sizeof(double) : products->taps == 2 ? 2 : 1;
    return (size_t)(t->channels * rows * width) * item;
}

/* The kernel's byte less 128; of what is none, the nearest, and 0 of NaN. */
static int byte_of(const Task *t, ptrdiff_t channel, double value_over_gain)
{
    const double shade = floor(value_over_gain * t->gain + t->means[channel] + 0.5);
    return (shade >= 0 ? shade <= 255 ? (int)shade : 255 : 0) - 128;
}

ptrdiff_t correlation_own_width(const Task *t)
{
    return (t->width + 31) / 32 * 32;
}

size_t correlation_own_bytes(const Task *t)
{
    const int is_made_again = t->type == BYTES && (t->metric == ZNCC || t->metric == NCC);
    return is_made_again && !t->products
               ? (size_t)(t->channels * t->height * correlation_own_width(t) * t->byte_sums->item)
               : 0;
}

static void fill_tap(void *out, int item, ptrdiff_t at, int value)
{
    if (item == 2)
        ((int16_t *)out)[at] = (int16_t)value;
    else
        ((int8_t *)out)[at] = (int8_t)value;
}

void correlation_fill_own(const Task *t, void *out)
{
    const ptrdiff_t width = correlation_own_width(t);
    memset(out, 0, correlation_own_bytes(t));
    for (ptrdiff_t row = 0; row < t->channels * t->height; row++)
        for (ptrdiff_t x = 0; x < t->width; x++)
            fill_tap(out, t->byte_sums->item, row * width + x,
                     byte_of(t, row / t->height, t->taps[row * t->width + x]));
}

void correlation_fill_taps(const Task *t, void *out)
{
    const int at_once = t->products->taps, around = t->products->rows - 1;
    const ptrdiff_t width = (t->width + at_once - 1) / at_once * at_once;
    memset(out, 0, correlation_taps_bytes(t, t->products));
    for (ptrdiff_t c = 0; c < t->channels; c++)
        for (ptrdiff_t y = 0; y < t->height; y++)
            for (ptrdiff_t x = 0; x < t->width; x++) {
                const double value_over_gain = t->taps[(c * t->height + y) * t->width + x];
                const ptrdiff_t at = (c * (t->height + 2 * around) + around + y) * width + x;
                if (at_once == 1) {
                    ((double *)out)[at] = value_over_gain;
                    continue;
                }
                fill_tap(out, at_once == 2 ? 2 : 1, at, byte_of(t, c, value_over_gain));
            }
}

double correlation_window_time(const Task *t)
{
    return (double)(t->channels * t->height * t->width) + (t->type == BYTES ? 4000 : 900);
}

ptrdiff_t correlation_budget(const Task *t)
{
    /* Products in the time of a transform; those of bytes are of integers, and quick. */
    const double most = t->type == BYTES ? 1.5e7 : 2e6;
    const double tile = (double)tile_values(t->sides) / TILE_VALUES;
    return (ptrdiff_t)(most * tile * (double)(t->parts_y * t->parts_x * t->channels + 1) /
                       correlation_window_time(t));
}

#ifdef CORRELATION_X86

static int has_vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

/* Six rows of 64 windows of bytes, or of 32 in double precision, fill 24 of 32 registers. */
BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma", "prefer-vector-width=512")
#define NAME(x) x##_bytes_vnni
#define SUM int32_t
#define LANES 16
#define TAPS 4
#define VECTORS 4
#define ROWS 6
#define PIXEL uint8_t
#define TAP int8_t
#define DOT(sums, pixels, taps) ((V)_mm512_dpbusd_epi32((__m512i)(sums), (__m512i)(pixels), (__m512i)(taps)))
#include "_correlation_products.h"
#undef SUM
#undef LANES
#undef TAPS
#undef PIXEL
#undef DOT
#define AT_ONCE 64
#define DOT(sums, pixels, taps)                                                                \
    ((__typeof__(sums))_mm512_dpbusd_epi32((__m512i)(sums), _mm512_loadu_si512(pixels),        \
                                           _mm512_loadu_si512(taps)))
#define HALF_DOT(sums, pixels, taps)                                                           \
    ((__typeof__(sums))_mm256_dpbusd_epi32((__m256i)(sums),                                    \
                                           _mm256_loadu_si256((const __m256i *)(pixels)),      \
                                           _mm256_loadu_si256((const __m256i *)(taps))))
#include "_correlation_windows.h"
#undef NAME
#undef AT_ONCE
#undef TAP
#undef DOT
#undef HALF_DOT
END

BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", "prefer-vector-width=512")
#define NAME(x) x##_bytes_avx512
#define AT_ONCE 32
#define TAP int16_t
#define DOT(sums, pixels, taps)                                                                \
    ((sums) + (__typeof__(sums))_mm512_madd_epi16(                                             \
                  _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(pixels))),         \
                  _mm512_loadu_si512(taps)))
#include "_correlation_windows.h"
#undef NAME
#undef AT_ONCE
#undef TAP
#undef DOT
#define NAME(x) x##_doubles_avx512
#define LANES 8
#include "_correlation_doubles.h"
#undef NAME
#undef LANES
#undef VECTORS
#undef ROWS
#define VARIANT(x) x##_avx512
#define LANES 16
#include "_correlation_core.h"
#include "_correlation_weighted.h"
#undef VARIANT
#undef LANES
END

#ifdef CORRELATION_AVXVNNI
/* Leaf 7.1 of cpuid tells of vpdpbusd in 256 bits; compilers have names for it in later versions. */
static int has_avxvnni(void)
{
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}

/* Two rows of 32 windows of bytes. */
BEGIN("avx2,fma,avxvnni")
#define NAME(x) x##_bytes_avxvnni
#define SUM int32_t
#define LANES 8
#define TAPS 4
#define VECTORS 4
#define ROWS 2
#define PIXEL uint8_t
#define TAP int8_t
#define DOT(sums, pixels, taps)                                                                \
    ((V)_mm256_dpbusd_avx_epi32((__m256i)(sums), (__m256i)(pixels), (__m256i)(taps)))
#include "_correlation_products.h"
#undef SUM
#undef LANES
#undef TAPS
#undef VECTORS
#undef ROWS
#undef PIXEL
#undef DOT
#define AT_ONCE 32
#define DOT(sums, pixels, taps)                                                                \
    ((__typeof__(sums))_mm256_dpbusd_avx_epi32(                                                \
        (__m256i)(sums), _mm256_loadu_si256((const __m256i *)(pixels)),                        \
        _mm256_loadu_si256((const __m256i *)(taps))))
#include "_correlation_windows.h"
#undef NAME
#undef AT_ONCE
#undef TAP
#undef DOT
END
#endif

/* Four rows of 16 windows of bytes, or 8 in double precision; half of that in 128 bits. Each has 16
 * registers. */
#define VECTORS 2
#define ROWS 4
BEGIN("avx2,fma")
#define NAME(x) x##_bytes_avx2
#define SUM int32_t
#define LANES 8
#define TAPS 2
#define PIXEL int16_t
#define TAP int16_t
#define DOT(sums, pixels, taps) ((sums) + (V)_mm256_madd_epi16((__m256i)(pixels), (__m256i)(taps)))
#include "_correlation_products.h"
#undef SUM
#undef LANES
#undef TAPS
#undef PIXEL
#undef DOT
#define AT_ONCE 16
#define DOT(sums, pixels, taps)                                                                \
    ((sums) + (__typeof__(sums))_mm256_madd_epi16(                                             \
                  _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(pixels))),            \
                  _mm256_loadu_si256((const __m256i *)(taps))))
#include "_correlation_windows.h"
#undef NAME
#undef AT_ONCE
#undef TAP
#undef DOT
#define NAME(x) x##_doubles_avx2
#define LANES 4
#include "_correlation_doubles.h"
#undef NAME
#undef LANES
#define VARIANT(x) x##_avx2
#define LANES 8
#include "_correlation_core.h"
#include "_correlation_weighted.h"
#undef VARIANT
#undef LANES
END

#define NAME(x) x##_bytes_sse2
#define SUM int32_t
#define LANES 4
#define TAPS 2
#define PIXEL int16_t
#define TAP int16_t
#define DOT(sums, pixels, taps) ((sums) + (V)_mm_madd_epi16((__m128i)(pixels), (__m128i)(taps)))
#include "_correlation_products.h"
#undef NAME
#undef SUM
#undef LANES
#undef TAPS
#undef PIXEL
#undef TAP
#undef DOT
#else
#define VECTORS 2
#define ROWS 4
#endif

#ifdef CORRELATION_DOTPROD
#ifdef __linux__
#define ASIMDDP (1ul << 20) /* of AT_HWCAP; older headers have no name for it */

static int has_dotprod(void)
{
    return (getauxval(AT_HWCAP) & ASIMDDP) != 0;
}

#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#else
#define has_dotprod always
#endif
/* Six rows of 16 windows of bytes fill 24 of 32 registers. */
#pragma push_macro("VECTORS")
#pragma push_macro("ROWS")
#undef VECTORS
#undef ROWS
#define NAME(x) x##_bytes_dotprod
#define SUM int32_t
#define LANES 4
#define TAPS 4
#define VECTORS 4
#define ROWS 6
#define PIXEL uint8_t
#define TAP int8_t
#define LESS 128
#define DOT(sums, pixels, taps)                                                                \
    ((V)vdotq_s32((int32x4_t)(sums), (int8x16_t)(pixels) ^ (int8x16_t)vdupq_n_u8(LESS),        \
                  (int8x16_t)(taps)))
#include "_correlation_products.h"
#undef NAME
#undef SUM
#undef LANES
#undef TAPS
#undef PIXEL
#undef TAP
#undef DOT
#pragma pop_macro("VECTORS")
#pragma pop_macro("ROWS")
#ifdef __linux__
#pragma GCC pop_options
#endif
#endif

/* 128 bits are what every x86-64 (SSE2) and every 64-bit ARM (NEON) has, and what compilers make of
 * these vectors elsewhere. */
#define NAME(x) x##_bytes_base
#define AT_ONCE 8
#define TAP int16_t
#define DOT(sums, pixels, taps) dot_bytes_base(sums, pixels, taps)
typedef int32_t sums_base __attribute__((vector_size(16), may_alias));

static inline sums_base dot_bytes_base(sums_base sums, const uint8_t *pixels, const int16_t *taps)
{
    for (int i = 0; i < 4; i++)
        sums[i] += pixels[2 * i] * taps[2 * i] + pixels[2 * i + 1] * taps[2 * i + 1];
    return sums;
}
#include "_correlation_windows.h"
#undef NAME
#undef AT_ONCE
#undef TAP
#undef DOT
#define NAME(x) x##_doubles_base
#define LANES 2
#include "_correlation_doubles.h"
#undef NAME
#undef LANES
#define VARIANT(x) x##_base
#define LANES 4
#include "_correlation_core.h"
#include "_correlation_weighted.h"

/* Direct sums of 16 bits and of floats. */
#define DOUBLES_OF(variant, rows, cols)                                                        \
    static const Products DOUBLES_##variant = {1, rows, cols, band_doubles_##variant}
#define MADE_OF(name, runs_here, variant, bytes, windows)                                      \
    {name, runs_here, scores_##variant, weighted_##variant, spectrum_single_##variant,         \
     spectrum_double_##variant,                                                                \
     {bytes, &DOUBLES_##variant, &DOUBLES_##variant, &DOUBLES_##variant},                      \
     &byte_sums_bytes_##windows}
DOUBLES_OF(base, 4, 4);
#ifdef CORRELATION_X86
DOUBLES_OF(avx512, 6, 32);
DOUBLES_OF(avx2, 4, 8);
static const Products VNNI = {4, 6, 64, band_bytes_vnni};
static const Products MADD_AVX2 = {2, 4, 16, band_bytes_avx2};
static const Products MADD_SSE2 = {2, 4, 8, band_bytes_sse2};
static const Variant AVX512 = MADE_OF("avx512", has_avx512, avx512, NULL, avx512);
static const Variant AVX512_VNNI = MADE_OF("avx512", has_vnni, avx512, &VNNI, vnni);
static const Variant AVX2 = MADE_OF("avx2", has_avx2, avx2, &MADD_AVX2, avx2);
static const Variant BASE = MADE_OF("sse2", always, base, &MADD_SSE2, base);
#ifdef CORRELATION_AVXVNNI
static const Products NARROW_VNNI = {4, 2, 32, band_bytes_avxvnni};
static const Variant AVXVNNI = MADE_OF("avxvnni", has_avxvnni, avx2, &NARROW_VNNI, avxvnni);
#endif
#elif defined(__aarch64__)
#ifdef CORRELATION_DOTPROD
static const Products DOT_PRODUCTS = {4, 6, 16, band_bytes_dotprod};
static const Variant DOTPROD = MADE_OF("dotprod", has_dotprod, base, &DOT_PRODUCTS, base);
#endif
static const Variant BASE = MADE_OF("neon", always, base, NULL, base);
#else
static const Variant BASE = MADE_OF("portable", always, base, NULL, base);
#endif

const Variant *const CORRELATION_VARIANTS[] = {
#ifdef CORRELATION_X86
    &AVX512_VNNI, &AVX512,
#ifdef CORRELATION_AVXVNNI
    &AVXVNNI,
#endif
    &AVX2,
#endif
#ifdef CORRELATION_DOTPROD
    &DOTPROD,
#endif
    &BASE, NULL,
};
