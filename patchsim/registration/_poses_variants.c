/* The variants: one source, compiled for each set of vector instructions. */
#include "_poses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef POSES_X86
#include <immintrin.h>
#endif

#include "../machine/_targets.h"

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* A whole number within limits. */
static ptrdiff_t limited(double value, ptrdiff_t low, ptrdiff_t high)
{
    return value <= (double)low ? low : value >= (double)high ? high : (ptrdiff_t)value;
}
#define LIMITED(value, low, high) limited(value, low, high)

/* Whether bytes are multiplied four at once. */
static int has_vnni(void)
{
#ifdef POSES_X86
    return __builtin_cpu_supports("avx512vnni");
#else
    return 0;
#endif
}

#ifdef POSES_X86

BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", "prefer-vector-width=512")
#define VARIANT(x) x##_avx512
#define LANES 16
#include "_poses_core.h"
#undef VARIANT
#undef LANES
END

BEGIN("avx2,fma")
#define VARIANT(x) x##_avx2
#define LANES 8
#include "_poses_core.h"
#undef VARIANT
#undef LANES
END
#endif

/* 128 bits are what every x86-64 (SSE2) and every 64-bit ARM (NEON) has, and what compilers make of
 * these vectors elsewhere. */
#define VARIANT(x) x##_base
#define LANES 4
#include "_poses_core.h"

#ifdef POSES_X86
static const Variant AVX512 = {"avx512", has_avx512, refine_avx512, look_avx512, likely_avx512, halve_bytes_avx512, exact_avx512};
static const Variant AVX2 = {"avx2", has_avx2, refine_avx2, look_avx2, likely_avx2, halve_bytes_avx2, exact_avx2};
static const Variant BASE = {"sse2", always, refine_base, look_base, likely_base, halve_bytes_base, exact_base};
#elif defined(__aarch64__)
static const Variant BASE = {"neon", always, refine_base, look_base, likely_base, halve_bytes_base, exact_base};
#else
static const Variant BASE = {"portable", always, refine_base, look_base, likely_base, halve_bytes_base, exact_base};
#endif

const Variant *const POSES_VARIANTS[] = {
#ifdef POSES_X86
    &AVX512, &AVX2,
#endif
    &BASE, NULL,
};
