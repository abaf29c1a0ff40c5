/* Compares the NEON variant, and each other that runs here, with plain loops over random pictures.
 * tests/neon.sh compiles it for 64-bit ARM and runs it in an emulator. */
#include "_sad.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASES = 2000, MOST = 40 * 90 * 4 };

static uint32_t state = 1;

/* Below `most`, from a small generator that is the same everywhere. */
static uint32_t chance(uint32_t most)
{
    state = state * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)state * most) >> 32);
}

static void fill(uint8_t *data, ptrdiff_t count, Type type, uint32_t extremes)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        uint32_t value = extremes ? chance(2) * 65535 : chance(65536);
        uint16_t word = (uint16_t)value;
        float number = (float)value / 65535;
        if (type == BYTES)
            data[i] = (uint8_t)value;
        else if (type == WORDS)
            memcpy(data + 2 * i, &word, 2);
        else
            memcpy(data + 4 * i, &number, 4);
    }
}

static double value(const Picture *p, Type type, ptrdiff_t y, ptrdiff_t x, ptrdiff_t c)
{
    const uint8_t *at = p->data + y * p->step_y + x * p->step_x + c * p->step_c;
    uint16_t word;
    float number;
    memcpy(&word, at, type == BYTES ? 0 : 2);
    memcpy(&number, at, type == FLOATS ? 4 : 0);
    return type == BYTES ? *at : type == WORDS ? word : number;
}

static double plain(const Picture *image, const Picture *kernel, const Picture *weights,
                    Type type, ptrdiff_t top, ptrdiff_t left)
{
    double sum = 0;
    for (ptrdiff_t y = 0; y < kernel->height; y++)
        for (ptrdiff_t x = 0; x < kernel->width; x++)
            for (ptrdiff_t c = 0; c < kernel->channels; c++)
                sum += fabs(value(image, type, top + y, left + x, c) -
                            value(kernel, type, y, x, c)) *
                       (weights ? value(weights, BYTES, y, x, c) : 1);
    return sum;
}

static Picture picture(const uint8_t *data, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
                       Type type)
{
    ptrdiff_t item = type == BYTES ? 1 : type == WORDS ? 2 : 4;
    return (Picture){data, height, width, channels, width * channels * item, channels * item, item};
}

/* One random case with every variant; returns how many cells are wrong. */
static int wrong_cells(void)
{
    static uint8_t pixels[MOST * 4], taps[MOST * 4], counts[MOST];
    static double out[MOST];
    Type type = (Type)chance(3);
    ptrdiff_t channels = 1 + chance(4), height = 1 + chance(40), width = 1 + chance(90);
    ptrdiff_t kernel_height = 1 + chance((uint32_t)height);
    ptrdiff_t kernel_width = 1 + chance((uint32_t)width);
    ptrdiff_t stride_y = 1 + chance(7), stride_x = 1 + chance(7);
    fill(pixels, height * width * channels, type, chance(2));
    fill(taps, kernel_height * kernel_width * channels, type, chance(2));
    const uint32_t heaviest[] = {1, 1, 15, 16, 255};
    uint32_t most = heaviest[chance(5)], same = chance(2);
    for (ptrdiff_t i = 0; i < kernel_height * kernel_width * channels; i++)
        counts[i] = (uint8_t)(same ? chance(2) * most : chance(most + 1));
    Picture image = picture(pixels, height, width, channels, type);
    Picture kernel = picture(taps, kernel_height, kernel_width, channels, type);
    Picture weights = picture(counts, kernel_height, kernel_width, channels, BYTES);
    const Picture *weighted = chance(3) ? &weights : NULL;
    ptrdiff_t rows = (height - kernel_height) / stride_y + 1;
    ptrdiff_t cols = (width - kernel_width) / stride_x + 1;
    int wrong = 0;
    for (const Variant *const *v = SAD_VARIANTS; *v; v++) {
        if (!(*v)->runs_here())
            continue;
        for (ptrdiff_t i = 0; i < rows * cols; i++)
            out[i] = NAN;
        if (!sad_sums(*v, type, &image, &kernel, weighted, stride_y, stride_x, out))
            return 1;
        for (ptrdiff_t i = 0; i < rows * cols; i++) {
            double expected =
                plain(&image, &kernel, weighted, type, i / cols * stride_y, i % cols * stride_x);
            double error = type == FLOATS ? ldexp((*v)->roundings + 2, -24) * expected : 0;
            /* Written so that NaN is wrong. */
            wrong += !(fabs(out[i] - expected) <= error + 1e-13 * (type == FLOATS) * expected);
        }
        if (wrong) {
            printf("%s, type %d, %td x %td x %td / %td x %td, stride %td x %td: wrong\n",
                   (*v)->name, (int)type, height, width, channels, kernel_height, kernel_width,
                   stride_y, stride_x);
            return wrong;
        }
    }
    return 0;
}

int main(void)
{
    int wrong = 0;
    for (int i = 0; i < CASES; i++)
        wrong += wrong_cells();
    for (const Variant *const *v = SAD_VARIANTS; *v; v++)
        if ((*v)->runs_here())
            printf("%s: %d cases\n", (*v)->name, CASES);
    return wrong != 0;
}
