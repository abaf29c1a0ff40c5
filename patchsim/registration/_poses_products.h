/* The sums of products of eight turned kernels with a picture, at strips of places; included once for each instruction set. */

/* So many turned kernels are held in registers at once, each with so many vectors of places. */
#define STRIP 3
#if LANES == 16
#define HELD 8
#else
#define HELD 4
#endif

/* A band of a picture, with a border of the turned kernels' radius, and its rows' prefix sums. */
typedef struct {
    float *values;           /* [channels][lines][pitch], less `pivot`; or words of four bytes, each from its place on */
    int32_t *sums, *squares; /* of whole numbers: values times `fine` */
    uint8_t *line;           /* [pitch + 3]: a row of bytes */
    ptrdiff_t lines, pitch, plane;
    float pivot, fine;
    int has_words;
} VARIANT(Band);

/* Eight turned kernels: what they share, and where each of them begins and ends in each row. */
typedef struct {
    ptrdiff_t taps;
    ptrdiff_t *offsets;      /* [taps] */
    float *values, *weights; /* [taps][BATCH]; weights of sad alone; or words of four taps, each a byte */
    ptrdiff_t *runs;         /* [runs of all kernels and shades][begin, end] */
    ptrdiff_t first[(BATCH + 1) * MOST_CHANNELS + 1]; /* of [kernel][shade]; behind the last kernel, what all have in common */
    float by[BATCH]; /* 1 over the root of `own` */
    double own[BATCH], count[BATCH], counts[(BATCH + 1) * MOST_CHANNELS];
    uint8_t *common; /* [shades][side][side]: what lies under all of them */
    int same[BATCH]; /* the first kernel that lies over the same pixels */
} VARIANT(Batch);

#define PRODUCTS(name, strip, is_sad)                                                                          \
    static __attribute__((noinline)) void VARIANT(name)(const float *at, const ptrdiff_t *offsets,             \
                                                        const float *taps, const float *weights,               \
                                                        ptrdiff_t n, F(*out)[STRIP])                           \
    {                                                                                                          \
        F a[HELD][strip];                                                                                      \
        UNROLL                                                                                                 \
        for (int i = 0; i < HELD; i++)                                                                         \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                a[i][j] = SPLAT(0.f);                                                                          \
        for (ptrdiff_t t = 0; t < n; t++, taps += BATCH, weights += is_sad ? BATCH : 0) {                                   \
            const float *p = at + offsets[t];                                                                  \
            F x[strip];                                                                                        \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                x[j] = LOAD(p + j * LANES);                                                                    \
            UNROLL                                                                                             \
            for (int i = 0; i < HELD; i++) {                                                                   \
                const F tap = SPLAT(taps[i]);                                                                  \
                UNROLL                                                                                         \
                for (int j = 0; j < strip; j++) {                                                              \
                    if (is_sad) {                                                                              \
                        const F apart = x[j] - tap;                                                            \
                        a[i][j] += ABSOLUTE(apart) * SPLAT(weights[i]);                                        \
                    } else                                                                                     \
                        a[i][j] += x[j] * tap;                                                                 \
                }                                                                                              \
            }                                                                                                  \
        }                                                                                                      \
        UNROLL                                                                                                 \
        for (int i = 0; i < HELD; i++)                                                                         \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                out[i][j] = a[i][j];                                                                           \
    }
PRODUCTS(products_1, 1, 0)
PRODUCTS(products_2, 2, 0)
PRODUCTS(products_3, 3, 0)
PRODUCTS(distances_1, 1, 1)
PRODUCTS(distances_2, 2, 1)
PRODUCTS(distances_3, 3, 1)
#undef PRODUCTS

typedef void VARIANT(Products)(const float *, const ptrdiff_t *, const float *, const float *, ptrdiff_t, F (*)[STRIP]);
#if LANES == 16
/* As `products`, of whole numbers: four bytes of the picture, not negative, times four of the kernel at once. Sums are exact. */
#define WORDS(name, strip)                                                                                     \
    static __attribute__((noinline, target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))) void VARIANT(name)(    \
        const float *at, const ptrdiff_t *offsets, const float *taps, const float *weights, ptrdiff_t n, F(*out)[STRIP]) \
    {                                                                                                          \
        I a[HELD][strip];                                                                                \
        (void)weights;                                                                                         \
        UNROLL                                                                                                 \
        for (int i = 0; i < HELD; i++)                                                                         \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                a[i][j] = ISPLAT(0);                                                              \
        for (ptrdiff_t t = 0; t < n; t++, taps += BATCH) {                                                     \
            const float *p = at + offsets[t];                                                                  \
            I x[strip];                                                                                  \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                x[j] = ILOAD(p + j * LANES);                                                      \
            UNROLL                                                                                             \
            for (int i = 0; i < HELD; i++) {                                                                   \
                int32_t four;                                                                                  \
                memcpy(&four, taps + i, sizeof four);                                                          \
                UNROLL                                                                                         \
                for (int j = 0; j < strip; j++)                                                                \
                    a[i][j] = (I)_mm512_dpbusd_epi32((__m512i)a[i][j], (__m512i)x[j], _mm512_set1_epi32(four));                     \
            }                                                                                                  \
        }                                                                                                      \
        UNROLL                                                                                                 \
        for (int i = 0; i < HELD; i++)                                                                         \
            UNROLL                                                                                             \
            for (int j = 0; j < strip; j++)                                                                    \
                out[i][j] = TO_FLOAT(a[i][j]);                                                    \
    }
WORDS(words_1, 1)
WORDS(words_2, 2)
WORDS(words_3, 3)
#undef WORDS
#endif

/* How sums are made: products of floats, distances of floats, products of bytes. */
static VARIANT(Products) *const VARIANT(PRODUCTS)[3][STRIP] = {
    {VARIANT(products_1), VARIANT(products_2), VARIANT(products_3)},
    {VARIANT(distances_1), VARIANT(distances_2), VARIANT(distances_3)},
#if LANES == 16
    {VARIANT(words_1), VARIANT(words_2), VARIANT(words_3)},
#endif
};

/* Whether the picture and all turned kernels are bytes, and products of them fit 32 bits, so that words are multiplied. The
 * kernels' sums are zero for zncc, so that means need not be taken off. */
static int VARIANT(has_words)(const Plane *p, const Look *l)
{
    const ptrdiff_t box = l->side * l->side;
    if (LANES != 16 || !has_vnni() || !p->is_bytes || (l->metric != ZNCC && l->metric != NCC) ||
        (double)(p->channels * box) * 127 * 255 > INT32_MAX)
        return 0;
    for (const float *from = l->values, *end = from + l->poses * p->channels * box; from < end; from += box) {
        float sum = 0;
        int is_byte = 1;
        for (ptrdiff_t t = 0; t < box; t++) {
            is_byte &= (fabsf(from[t]) <= 127) & (from[t] == floorf(from[t]));
            sum += from[t];
        }
        if (!is_byte || (l->metric == ZNCC && sum != 0))
            return 0;
    }
    return 1;
}
