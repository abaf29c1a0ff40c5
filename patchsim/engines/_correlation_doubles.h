/* Direct sums in double precision of 16 bits and of floats; included once for each variant.
 * DOUBLES(x) is a name of it, LANES the number of doubles in a vector, ROWS and VECTORS what
 * registers hold. */
#define SUM double
#define TAPS 1
#define TAP double
#define DOT(sums, pixels, taps) ((sums) + (pixels) * (taps))
#define NAME(x) DOUBLES(x##_words)
#define PIXEL uint16_t
#include "_correlation_products.h"
#undef NAME
#undef PIXEL
#define NAME(x) DOUBLES(x##_floats)
#define PIXEL float
#include "_correlation_products.h"
#undef NAME
#undef PIXEL
#undef SUM
#undef TAPS
#undef TAP
#undef DOT
