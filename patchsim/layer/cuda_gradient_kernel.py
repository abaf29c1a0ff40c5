"""The gradients of the engine `cuda`'s sums: two kernels in Triton, without patches.

A pixel's gradient is the sum over the kernel's values K of g sign(I - K), g being the gradient of
the window that compares the two: the form of the sums themselves, with rows of g in place of rows
of pixels, last row first, and the pixels in registers. A kernel value's is that sum over windows,
negative; here the lanes are windows next to each other, with R x V values of the kernel each.

Both take three instructions for what a difference adds: subtract; (1 + sign) / 2, by a product
that saturates; add its product with g. Sums of g alone, which R or V differences share, make that
the sum with the sign. `cuda_gradients` says how image, kernel and g are laid out.
"""

from __future__ import annotations

import triton
import triton.language as tl

from patchsim.engines.cuda.triton_kernel import FIELDS, REPEATS, add, add_signs, columns, signed


# Steps that happen to be multiples of 16 change nothing: wider loads of some words would want other
# words in a thread than the rest.
@triton.jit(do_not_specialize=["row_step", "grad_row_step"])
def image_gradients(
    planes,  # words [images, planes, height, width]
    taps,  # words, `planes.Taps` of one kernel
    # words [images, height, width]: zeros, `above` rows and `before` columns, and g, and zeros
    grads,
    largest,  # words [planes]: of the kernel's values
    table,  # int64 [planes, FIELDS]
    out,  # float64 [splits, images, planes, height, width], zeros
    plane_count,
    down,  # blocks of pixels below each other
    across,  # and next to each other
    above,
    before,
    row_step: tl.int64,  # words of a row of pixels
    grad_step: tl.int64,  # words of g, of an image
    grad_row_step: tl.int64,
    R: tl.constexpr,
    COLS: tl.constexpr,
    GROUP: tl.constexpr,  # words of a kernel row whose loop is unrolled
    MOST: tl.constexpr,  # rows of GROUP words that may be summed in a word
    PTX: tl.constexpr,
):
    split = tl.program_id(1)
    block = tl.program_id(0) % (down * across)
    plane = tl.program_id(0) // (down * across)  # of all images
    top = block // across * R
    left = block % across * COLS
    # The last row of pixels is the first of the block: where it meets a row of the kernel, those
    # above it meet the rows before.
    row = tl.arange(0, R)[:, None]
    last = left + (top + R - 1) * row_step
    plane_step = down * R * row_step
    pixels = planes + plane * plane_step + last
    fixed = tl.load(pixels - row * row_step + tl.arange(0, COLS)[None, :])
    every = tl.num_programs(0) // (down * across)
    out += (split.to(tl.int64) * every + plane) * plane_step + last
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
            fixed, grads - word, taps + first + word * REPEATS, None,
            out, -row_step, -grad_row_step, width, height, 0,
            R, COLS, GROUP, MOST, -1, False, False, False, PTX, TAIL=False,
        )  # fmt: skip
    for word in range(grouped + split, width, tl.num_programs(1)):
        columns(
            fixed, grads - word, taps + first + word * REPEATS, None,
            out, -row_step, -grad_row_step, width, height, 0,
            R, COLS, 1, MOST, -1, False, False, False, PTX, TAIL=True,
        )  # fmt: skip
    # Not a number where a difference may be none, in which the sums have a sign.
    gap = tl.abs(fixed) - tl.load(largest + plane)
    add(out, -row_step, tl.where(gap == gap, 0.0, float("nan")).to(fixed.dtype))


@triton.jit(do_not_specialize=["row_step", "grad_row_step"])
def kernel_gradients(
    planes,  # words [images, planes, height, width]
    taps,  # words, `planes.Taps` of one kernel
    grads,  # words [images, height, width]: R - 1 rows of zeros, and g, and zeros
    table,  # int64 [planes, FIELDS]
    out,  # float64 [splits, planes, blocks of the kernel's values, R, V], zeros
    images,
    lines,  # of an image
    pieces,  # of a line
    length,  # of a line, in windows
    down,  # blocks of the kernel's values below each other
    across,  # and next to each other
    image_step: tl.int64,  # words of an image
    row_step: tl.int64,  # words of a row of pixels
    grad_step: tl.int64,  # words of g, of an image
    grad_row_step: tl.int64,
    R: tl.constexpr,
    V: tl.constexpr,
    LANES: tl.constexpr,  # windows next to each other
    GROUP: tl.constexpr,  # of these, whose loop is unrolled
    MOST: tl.constexpr,  # LANES windows of a piece; pieces that are summed in a word
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
    places = ((top + row) * width + left + column[None, :]) * REPEATS  # the first of the repeats
    there = (top + row < tl.load(entry + 2)) & (left + column[None, :] < width)
    t = tl.load(taps + places, mask=there, other=0)[:, :, None]
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
            every = tl.zeros([R, LANES], total.dtype)
            for place in range(0, tl.minimum(MOST * LANES, length - start), GROUP * LANES):
                for part in tl.static_range(GROUP):
                    at = place + part * LANES + lane[None, :]
                    x = tl.load(pixels + column[:, None] + at)[None, :, :]
                    g = tl.load(above - row * grad_row_step + at)
                    every += g
                    added = add_signs(added, x, t, g[:, None, :], PTX)
            total += signed(added, every[:, None, :])
        # No other program adds here.
        tl.atomic_add(cells, tl.sum(total.to(tl.float64), 2), sem="relaxed")
