"""The gradients of the sums of the engine `cuda`: two kernels in Triton that make no patches.

A pixel's gradient is the sum of g sign(I - K) over the kernel's values K, where g is the gradient
of the window that compares I and K. The loop is that of the sums themselves: rows of g, last row
first, take the place of rows of pixels, and the pixels stay in registers. The gradient of a
kernel's value is the negative sum over windows; there the lanes are windows side by side, and each
computes R x V values of the kernel.

Both need three instructions for each difference: subtract; compute (1 + sign) / 2 by a product that
saturates; add its product with g. Twice that sum, less the sum of g alone, is the sum with the
sign; R or V differences share the sum of g. `cuda_gradients` describes the layout of image, kernel
and g.
"""

from __future__ import annotations

import triton
import triton.language as tl

from patchsim.engines.cuda.triton_kernel import FIELDS, REPEATS, add, add_signs, columns, signed


# Steps that are multiples of 16 get no variant of their own: its wider loads would need another
# distribution of words over the threads.
@triton.jit(do_not_specialize=["row_step", "grad_row_step"])
def image_gradients(
    planes,  # words [images, planes, height, width]
    taps,  # words, `planes.Taps` of one kernel
    grads,  # words [images, height, width]: g, behind `above` rows and `before` columns of zeros
    largest,  # words [planes]: the largest absolute value of the kernel
    table,  # int64 [planes, FIELDS]
    out,  # float64 [splits, images, planes, height, width], zeros
    plane_count,
    down,  # blocks of pixels from top to bottom
    across,  # blocks of pixels from left to right
    above,
    before,
    row_step: tl.int64,  # words of a row of pixels
    grad_step: tl.int64,  # words of an image's g
    grad_row_step: tl.int64,  # words of a row of g
    R: tl.constexpr,
    COLS: tl.constexpr,
    GROUP: tl.constexpr,  # words of a kernel's row that are unrolled in the loop
    MOST: tl.constexpr,  # rows of GROUP words that a word may sum
    PTX: tl.constexpr,
):
    split = tl.program_id(1)
    block = tl.program_id(0) % (down * across)
    plane = tl.program_id(0) // (down * across)  # counted over all images
    top, left = block // across * R, block % across * COLS
    # Rows of a block are counted from its last row of pixels: where that row meets a row of the
    # kernel, the rows above it meet the kernel's rows before.
    row = tl.arange(0, R)[:, None]
    last = left + (top + R - 1) * row_step
    plane_step = down * R * row_step
    pixels = planes + plane * plane_step + last
    fixed = tl.load(pixels - row * row_step + tl.arange(0, COLS)[None, :])
    all_planes = tl.num_programs(0) // (down * across)
    out += (split.to(tl.int64) * all_planes + plane) * plane_step + last
    grads += plane // plane_count * grad_step
    grads += (top + R - 1 + above) * grad_row_step + left + before

    plane = plane % plane_count
    entry = table + plane * FIELDS
    first = tl.multiple_of(tl.load(entry + 1), REPEATS)
    height = tl.load(entry + 2).to(tl.int32)
    width = tl.load(entry + 3)
    grouped = width // GROUP * GROUP
    for word in range(split * GROUP, grouped, tl.num_programs(1) * GROUP):
        columns(
            fixed=fixed, pixels=grads - word, taps=taps + first + word * REPEATS, weights=None,
            out=out, out_step=-row_step, row_step=-grad_row_step, width=width, height=height,
            bits=0, R=R, COLS=COLS, GROUP=GROUP, MOST=MOST, STEP=-1, BYTES=False,
            SQUARED=False, SHADES=False, PTX=PTX, TAIL=False,
        )  # fmt: skip
    for word in range(grouped + split, width, tl.num_programs(1)):
        columns(
            fixed=fixed, pixels=grads - word, taps=taps + first + word * REPEATS, weights=None,
            out=out, out_step=-row_step, row_step=-grad_row_step, width=width, height=height,
            bits=0, R=R, COLS=COLS, GROUP=1, MOST=MOST, STEP=-1, BYTES=False,
            SQUARED=False, SHADES=False, PTX=PTX, TAIL=True,
        )  # fmt: skip
    # NaN where a difference may be NaN, of which the sums have a sign instead.
    gap = tl.abs(fixed) - tl.load(largest + plane)
    add(out, -row_step, tl.where(gap == gap, 0.0, float("nan")).to(fixed.dtype))


@triton.jit(do_not_specialize=["row_step", "grad_row_step"])
def kernel_gradients(
    planes,  # words [images, planes, height, width]
    taps,  # words, `planes.Taps` of one kernel
    grads,  # words [images, height, width]: g between R - 1 rows of zeros and more zeros
    table,  # int64 [planes, FIELDS]
    out,  # float64 [splits, planes, blocks of the kernel's values, R, V], zeros
    images,
    lines,  # lines of windows in an image
    pieces,  # pieces of a line
    length,  # windows of a line
    down,  # blocks of the kernel's values from top to bottom
    across,  # blocks of the kernel's values from left to right
    image_step: tl.int64,  # words of an image
    row_step: tl.int64,  # words of a row of pixels
    grad_step: tl.int64,  # words of an image's g
    grad_row_step: tl.int64,  # words of a row of g
    R: tl.constexpr,
    V: tl.constexpr,
    LANES: tl.constexpr,  # windows side by side
    GROUP: tl.constexpr,  # steps of LANES windows that are unrolled in the loop
    MOST: tl.constexpr,  # steps of LANES windows in a piece; pieces that a word may sum
    PTX: tl.constexpr,
):
    block = tl.program_id(0) % (down * across)
    entry = table + tl.program_id(0) // (down * across) * FIELDS
    top = block // across * R
    left = block % across * V
    row = tl.arange(0, R)[:, None]
    column = tl.arange(0, V)
    lane = tl.arange(0, LANES)
    planes += tl.load(entry) + top * row_step + left
    taps += tl.load(entry + 1)
    width = tl.load(entry + 3)
    places = ((top + row) * width + left + column[None, :]) * REPEATS  # the first of the copies
    is_inside = (top + row < tl.load(entry + 2)) & (left + column[None, :] < width)
    t = tl.load(taps + places, mask=is_inside, other=0)[:, :, None]
    out += (tl.program_id(1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)) * (R * V)
    cells = out + row * V + column[None, :]
    units = images * lines * pieces
    step = tl.num_programs(1)
    for first in range(tl.program_id(1), units, step * MOST):
        total = tl.zeros([R, V, LANES], taps.dtype.element_ty)
        for unit in range(first, tl.minimum(first + step * MOST, units), step):
            start = unit % pieces * (MOST * LANES)
            line = unit // pieces % lines
            image = unit // pieces // lines
            pixels = planes + image * image_step + line * row_step + start
            above = grads + image * grad_step + (line + R - 1) * grad_row_step + start
            added = tl.zeros_like(total)
            grad_sum = tl.zeros([R, LANES], total.dtype)
            for place in range(0, tl.minimum(MOST * LANES, length - start), GROUP * LANES):
                for member in tl.static_range(GROUP):
                    at = place + member * LANES + lane[None, :]
                    x = tl.load(pixels + column[:, None] + at)[None, :, :]
                    g = tl.load(above - row * grad_row_step + at)
                    grad_sum += g
                    added = add_signs(added, x, t, g[:, None, :], PTX)
            total += signed(added, grad_sum[:, None, :])
        # No other program adds to these cells.
        tl.atomic_add(cells, tl.sum(total.to(tl.float64), 2), sem="relaxed")
