/* What the files share that compile one source for several sets of vector instructions.
 *
 * BEGIN(features) and END enclose functions that are compiled for these features; what follows the
 * features is for GCC alone. Included once in a file, behind the headers of the system.
 */
#ifndef PATCHSIM_TARGETS_H
#define PATCHSIM_TARGETS_H

static inline int always(void)
{
    return 1;
}

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#define PRAGMA(x) _Pragma(#x)
/* IN_512_BITS is the attribute of a function whose vectors have as many, for which GCC has to be asked.
 * Clang ignores all features with one that it does not know. */
#ifdef __clang__
#define IN_512_BITS(features) __attribute__((target(features)))
#define BEGIN(features, ...)                                                                   \
    PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END _Pragma("clang attribute pop")
#else
#define IN_512_BITS(features) __attribute__((target(features ",prefer-vector-width=512")))
#define BEGIN(...) _Pragma("GCC push_options") PRAGMA(GCC target(__VA_ARGS__))
#define END _Pragma("GCC pop_options")
#endif

static inline int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static inline int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#endif
