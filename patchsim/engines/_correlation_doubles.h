/* Direct sums in double precision; included once for each variant. NAME(x) is a name of it, LANES the
 * number of doubles in a vector, ROWS and VECTORS what registers hold. */
#define SUM double
#define TAPS 1
#define PIXEL double
#define TAP double
#define DOT(sums, pixels, taps) ((sums) + (pixels) * (taps))
#include "_correlation_products.h"
#undef SUM
#undef TAPS
#undef PIXEL
#undef TAP
#undef DOT
