/* The variants: one source, compiled for each set of vector instructions; and what they share. */
#include "_correlation.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

float SINGLE_TWIDDLES[2][16][16] __attribute__((aligned(64)));
double DOUBLE_TWIDDLES[2][16][16] __attribute__((aligned(64)));

void correlation_tables(void)
{
    for (int k = 0; k < 16; k++)
        for (int n = 0; n < 16; n++) {
            double angle = 2 * 3.14159265358979323846 * k * n / SIDE;
            SINGLE_TWIDDLES[0][k][n] = (float)(DOUBLE_TWIDDLES[0][k][n] = cos(angle));
            SINGLE_TWIDDLES[1][k][n] = (float)(DOUBLE_TWIDDLES[1][k][n] = -sin(angle));
        }
}

#define PIECE 64

int correlation_open(Arena *arena, size_t bytes)
{
    arena->base = malloc(bytes + PIECE);
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
    free(arena->base);
}

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

/* Shares of one size: of `count` windows, at most `most` each, in multiples of `step`. */
static ptrdiff_t share(ptrdiff_t count, ptrdiff_t most, ptrdiff_t step)
{
    ptrdiff_t shares = (count + most - 1) / most, each = (count + shares - 1) / shares;
    return least(most, (each + step - 1) / step * step);
}

Layout correlation_layout(const Task *t)
{
    Layout l;
    ptrdiff_t tall = (SIDE - t->height) / t->stride_y + 1, wide = (SIDE - t->width) / t->stride_x + 1;
    if (wide > 16)
        wide -= wide % 16; /* whole vectors */
    l.tall = share(t->rows, tall, 1);
    l.wide = share(t->cols, wide, wide > 16 ? 16 : 1);
    l.across = (t->cols + l.wide - 1) / l.wide;
    l.bands = l.across % 2 && t->rows > l.tall ? 2 : 1;
    l.lines = (l.bands - 1) * l.tall * t->stride_y + SIDE;
    l.pitch = ((l.across - 1) * l.wide * t->stride_x + SIDE + 31) / 32 * 32;
    ptrdiff_t columns = (t->cols - 1) * t->stride_x + t->width;
    if (l.pitch < columns)
        l.pitch = (columns + 31) / 32 * 32;
    l.x_pitch = (l.across * l.wide + 15) / 16 * 16 + 16; /* a vector more than there are */
    l.columns = l.pitch + 16;
    return l;
}

size_t correlation_scratch(const Task *t, const Layout *l)
{
    const size_t channels = (size_t)t->channels, most = (size_t)(l->bands * l->across);
    const size_t columns = (size_t)l->columns;
    const size_t blocks = (size_t)((t->cols + t->block - 1) / t->block);
    const size_t block_rows = (size_t)((l->bands * l->tall) / t->block + 2);
    const size_t item = (size_t)correlation_item(t), x_pitch = (size_t)l->x_pitch;
    return piece(most * 96) + piece(most * sizeof(void *)) + piece(channels * 16) +
           piece(most * channels * 8) + piece(channels * (size_t)(l->lines * l->pitch) * item) +
           piece((size_t)(l->bands * l->tall) * x_pitch * sizeof(float)) +
           piece(channels * TILE_VALUES * sizeof(float)) + piece(channels * columns * 8) +
           piece(columns * 8) + piece(channels * x_pitch * 8) + piece(x_pitch * 8) +
           piece(2 * block_rows * blocks * sizeof(float)) + piece(channels * 8) +
           piece(columns * 8) + piece(columns * 4) + piece((size_t)t->cols);
}

ptrdiff_t correlation_item(const Task *t)
{
    return t->type == BYTES ? 1 : t->type == WORDS ? 2 : 4;
}

ptrdiff_t correlation_budget(const Task *t)
{
    return (ptrdiff_t)(2.5e5 * (double)(t->channels + 1) /
                       (double)(t->channels * t->height * t->width));
}

static int always(void)
{
    return 1;
}


#ifdef CORRELATION_X86

#ifdef __clang__
#define BEGIN(features) _Pragma("clang attribute push(__attribute__((target(" #features "))), apply_to = function)")
#define END _Pragma("clang attribute pop")
#else
#define PRAGMA(x) _Pragma(#x)
#define BEGIN(...) _Pragma("GCC push_options") PRAGMA(GCC target(__VA_ARGS__))
#define END _Pragma("GCC pop_options")
#endif

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#define VARIANT(x) x##_avx512
#define LANES 16
#include "_correlation_core.h"
static const Variant AVX512 = {"avx512", has_avx512, scores_avx512, spectrum_single_avx512};
#undef VARIANT
#undef LANES
END

BEGIN("avx2,fma")
#define VARIANT(x) x##_avx2
#define LANES 8
#include "_correlation_core.h"
static const Variant AVX2 = {"avx2", has_avx2, scores_avx2, spectrum_single_avx2};
#undef VARIANT
#undef LANES
END
#endif

/* 128 bits are what every x86-64 (SSE2) and every 64-bit ARM (NEON) has, and what compilers make of
 * these vectors elsewhere. */
#define VARIANT(x) x##_base
#define LANES 4
#include "_correlation_core.h"
#ifdef CORRELATION_X86
static const Variant BASE = {"sse2", always, scores_base, spectrum_single_base};
#elif defined(__aarch64__)
static const Variant BASE = {"neon", always, scores_base, spectrum_single_base};
#else
static const Variant BASE = {"portable", always, scores_base, spectrum_single_base};
#endif

const Variant *const CORRELATION_VARIANTS[] = {
#ifdef CORRELATION_X86
    &AVX512, &AVX2,
#endif
    &BASE, NULL,
};
