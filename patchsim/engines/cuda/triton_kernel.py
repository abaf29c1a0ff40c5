"""The arithmetic of the engine `cuda`: one kernel in Triton, for blocks of windows in registers.

A program scores R x COLS windows next to each other. Each value of the image is loaded once for R
rows of windows, each of the kernel once for all columns of a thread: with 8 of either, 16 loads
serve 64 differences. What takes most of the time is then the differences alone, in instructions
each: two for a float (subtract; add the absolute value), one for four bytes (VABSDIFF4 with ACC).

`planes` lays image and kernel out so that strides, channels and bytes look alike here: planes
of *words*, a word being a float or four bytes, windows being next to each other. Only that module
imports this one, for Triton is not everywhere.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Kernel rows are stored as often as a program may have rows of windows, one row below another: a
# single load, whose address is a multiple of its size, gets the values of one row of pixels for
# all of them.
REPEATS = tl.constexpr(8)

# Fields of a plane in the table: its first word, first tap, height, words of a row, and bits of the
# last one.
FIELDS = tl.constexpr(5)


@triton.jit
def sums(
    planes,  # words [images, planes, height, width]
    taps,  # words [kernels, kernel_step], `planes.Taps`
    weights,  # the same, 0 where there is nothing to compare; None where every value counts once
    table,  # int64 [planes, FIELDS]: see there
    out,  # int64 or float64 [splits, images, kernels, blocks of windows, R, COLS], zeros
    plane_count,
    kernel_count,
    blocks,  # of a map
    across,  # of them next to each other
    image_step: tl.int64,  # words of an image
    row_step: tl.int64,  # words of a row of pixels
    kernel_step: tl.int64,
    R: tl.constexpr,
    COLS: tl.constexpr,
    GROUP: tl.constexpr,  # words of a kernel row whose loop is unrolled
    MOST: tl.constexpr,  # rows of GROUP words that may be summed in 32 bits
    SQUARED: tl.constexpr,
    SHADES: tl.constexpr,  # of the weights some are neither 0 nor 1
    PTX: tl.constexpr,  # instructions for four bytes, which the interpreter does not know
):
    BYTES: tl.constexpr = planes.dtype.element_ty == tl.uint32
    STEP: tl.constexpr = 4 if BYTES else 1  # pixels between words of a kernel row
    split = tl.program_id(1)
    block, pair = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    top, left = block // across * R, block % across * COLS
    planes += pair // kernel_count * image_step + top * row_step + left
    kernel_start = tl.multiple_of(pair % kernel_count * kernel_step, REPEATS)
    taps += kernel_start
    if weights is not None:
        weights += kernel_start
    out += (split.to(tl.int64) * tl.num_programs(0) + tl.program_id(0)) * (R * COLS)

    for plane in range(plane_count):
        entry = table + plane * FIELDS
        pixels = planes + tl.load(entry)
        first = tl.multiple_of(tl.load(entry + 1), REPEATS)
        height = tl.load(entry + 2).to(tl.int32)
        width = tl.load(entry + 3)
        last = tl.load(entry + 4).to(tl.uint32)
        grouped = tl.where(last == 0xFFFFFFFF, width, width - 1) // GROUP * GROUP
        for word in range(split * GROUP, grouped, tl.num_programs(1) * GROUP):
            offset = first + word * REPEATS
            columns(
                fixed=None, pixels=pixels + word * STEP, taps=taps + offset,
                weights=None if weights is None else weights + offset,
                out=out, out_step=COLS, row_step=row_step, width=width, height=height, bits=last,
                R=R, COLS=COLS, GROUP=GROUP, MOST=MOST, STEP=STEP, BYTES=BYTES,
                SQUARED=SQUARED, SHADES=SHADES, PTX=PTX, TAIL=False,
            )  # fmt: skip
        for word in range(grouped + split, width, tl.num_programs(1)):
            offset = first + word * REPEATS
            bits = tl.where(word == width - 1, last, 0xFFFFFFFF).to(tl.uint32)
            columns(
                fixed=None, pixels=pixels + word * STEP, taps=taps + offset,
                weights=None if weights is None else weights + offset,
                out=out, out_step=COLS, row_step=row_step, width=width, height=height, bits=bits,
                R=R, COLS=COLS, GROUP=1, MOST=MOST, STEP=STEP, BYTES=BYTES,
                SQUARED=SQUARED, SHADES=SHADES, PTX=PTX, TAIL=True,
            )  # fmt: skip


@triton.jit
def columns(
    fixed,  # None, or the words [R, COLS] of which gradients are added instead
    pixels,
    taps,
    weights,
    out,  # where the first row goes
    out_step,  # from row to row
    row_step,
    width,
    height,
    bits,
    R: tl.constexpr,
    COLS: tl.constexpr,
    GROUP: tl.constexpr,
    MOST: tl.constexpr,
    STEP: tl.constexpr,
    BYTES: tl.constexpr,
    SQUARED: tl.constexpr,
    SHADES: tl.constexpr,
    PTX: tl.constexpr,
    TAIL: tl.constexpr,
):
    """Add what GROUP columns of the kernel differ by, MOST rows of pixels at a time.

    With `fixed` there are gradients in place of pixels, as `add_signs` takes them.
    """
    WEIGHTED: tl.constexpr = weights is not None
    tap_step = width * REPEATS
    # Rows of pixels that not all rows of windows have are first; weights say as much themselves.
    above = R - 1
    below = tl.maximum(height, above)
    border = 0 if WEIGHTED else above + tl.minimum(height, above)
    for start in range(0, height + above, MOST):
        stop = tl.minimum(start + MOST, height + above)
        total = tl.zeros([R, COLS], taps.dtype.element_ty)
        if not WEIGHTED:
            for place in range(start, tl.minimum(stop, border)):
                y = place + tl.where(place < above, 0, below - above)
                y_of_tap = y - tl.arange(0, R)
                inside = (y_of_tap >= 0) & (y_of_tap < height)
                total = _row(
                    fixed=fixed, pixels=pixels + y * row_step, taps=taps + y * tap_step,
                    weights=None, inside=inside, total=total, bits=bits,
                    R=R, COLS=COLS, GROUP=GROUP, STEP=STEP, BYTES=BYTES,
                    SQUARED=SQUARED, SHADES=SHADES, PTX=PTX, TAIL=TAIL, BORDER=True,
                )  # fmt: skip
        for place in range(tl.maximum(start, border), stop):
            y = place if WEIGHTED else place - border + above
            total = _row(
                fixed=fixed, pixels=pixels + y * row_step, taps=taps + y * tap_step,
                weights=weights + y * tap_step if WEIGHTED else None,
                inside=None, total=total, bits=bits,
                R=R, COLS=COLS, GROUP=GROUP, STEP=STEP, BYTES=BYTES,
                SQUARED=SQUARED, SHADES=SHADES, PTX=PTX, TAIL=TAIL, BORDER=False,
            )  # fmt: skip
        add(out, out_step, total)


@triton.jit
def add(out, out_step, total):
    R: tl.constexpr = total.shape[0]
    COLS: tl.constexpr = total.shape[1]
    cells = (out + tl.arange(0, COLS))[None, :] + tl.arange(0, R)[:, None] * out_step
    # No other program adds here. What loads nothing needs no registers for it.
    tl.atomic_add(cells, total.to(out.dtype.element_ty), sem="relaxed")


@triton.jit
def _row(
    fixed,
    pixels,
    taps,
    weights,
    inside,
    total,
    bits,
    R: tl.constexpr,
    COLS: tl.constexpr,
    GROUP: tl.constexpr,
    STEP: tl.constexpr,
    BYTES: tl.constexpr,
    SQUARED: tl.constexpr,
    SHADES: tl.constexpr,
    PTX: tl.constexpr,
    TAIL: tl.constexpr,
    BORDER: tl.constexpr,
):
    """Add what GROUP words of one row of pixels differ by."""
    column = tl.arange(0, COLS)
    repeat = tl.arange(0, R)
    # Short sums of floats first: they are the more precise for it, at no cost.
    added = total if BYTES else tl.zeros_like(total)
    every = tl.zeros([COLS], total.dtype)
    for word in tl.static_range(GROUP):
        x = tl.load(pixels + word * STEP + column)
        if (BYTES and TAIL) and weights is None:
            x &= bits
        if fixed is not None:
            every += x
        x = x[None, :]
        t = tl.load(taps + word * REPEATS + repeat)[:, None]
        w = None if weights is None else tl.load(weights + word * REPEATS + repeat)[:, None]
        if BYTES and BORDER:
            w = tl.where(inside, 0xFFFFFFFF, 0).to(x.dtype)[:, None]
        if fixed is not None:
            added = add_signs(added, fixed, t, x, PTX)
        elif BYTES:
            added = _add_bytes(added, x, t, w, SQUARED, SHADES and not BORDER, PTX)
        else:
            added = _add_floats(added, x, t, w, SQUARED, SHADES)
    if fixed is not None:
        added = signed(added, every[None, :])
    if BORDER and not BYTES:
        # Not a product with 0, for what is not finite stays so.
        added = tl.where(inside[:, None], added, 0.0)
    return added if BYTES else total + added


@triton.jit
def add_signs(total, x, t, g, PTX: tl.constexpr):
    """Add g (1 + sign(x - t)) / 2."""
    if PTX and x.dtype == tl.float32:
        # 2^127 times the difference and 1/2, kept within 0 and 1. Of numbers that are less than
        # 2^-128 apart, and not equal, a part of the sign.
        half = tl.inline_asm_elementwise(
            "fma.rn.sat.f32 $0, $1, 0f7F000000, 0f3F000000;", "=f,f", [x - t],
            dtype=tl.float32, is_pure=True, pack=1,
        )  # fmt: skip
    else:
        half = tl.where(x > t, 1.0, tl.where(x < t, 0.0, 0.5)).to(x.dtype)
    return tl.fma(half, tl.broadcast_to(g, half.shape), total)


@triton.jit
def signed(total, every):
    """Return sums of g sign, from sums of g (1 + sign) / 2 and of g.

    Both were summed in one order, so that a difference without a sign adds exactly 0.
    """
    twice = tl.full(total.shape, 2, total.dtype)
    return tl.fma(total, twice, -tl.broadcast_to(every, total.shape))


@triton.jit
def _add_floats(total, x, t, w, SQUARED: tl.constexpr, SHADES: tl.constexpr):
    if SHADES:
        difference = x - t
        size = difference * difference if SQUARED else tl.abs(difference)
        return tl.fma(size, tl.broadcast_to(w, size.shape), total)
    # Where a weight is 0 the tap is, too; a product with 1 is not rounded.
    difference = x - t if w is None else tl.fma(x, tl.broadcast_to(w, total.shape), -t)
    if SQUARED:
        return tl.fma(difference, difference, total)
    return total + tl.abs(difference)


@triton.jit
def _add_bytes(total, x, t, w, SQUARED: tl.constexpr, SHADES: tl.constexpr, PTX: tl.constexpr):
    if w is not None and not SHADES:
        # All bits of a byte or none; where there are none the tap has none either.
        x &= w
    if (PTX and not SQUARED) and not SHADES:
        total = tl.inline_asm_elementwise(
            "vabsdiff4.u32.u32.u32.add $0, $1, $2, $3;", "=r,r,r,r", [x, t, total],
            dtype=tl.uint32, is_pure=True, pack=1,
        )  # fmt: skip
    elif PTX:
        difference = tl.inline_asm_elementwise(
            "{.reg .b32 z; mov.b32 z, 0; vabsdiff4.u32.u32.u32 $0, $1, $2, z;}", "=r,r,r", [x, t],
            dtype=tl.uint32, is_pure=True, pack=1,
        )  # fmt: skip
        if SQUARED and SHADES:
            for byte in tl.static_range(4):
                one = difference >> (8 * byte) & 255
                total += one * one * (w >> (8 * byte) & 255)
        else:
            total = tl.inline_asm_elementwise(
                "dp4a.u32.u32 $0, $1, $2, $3;", "=r,r,r,r",
                [difference, difference if SQUARED else w, total],
                dtype=tl.uint32, is_pure=True, pack=1,
            )  # fmt: skip
    else:
        for byte in tl.static_range(4):
            one = (x >> (8 * byte) & 255).to(tl.int32)
            difference = tl.abs(one - (t >> (8 * byte) & 255).to(tl.int32)).to(tl.uint32)
            size = difference * difference if SQUARED else difference
            total += (size * (w >> (8 * byte) & 255)) if SHADES else size
    return total
