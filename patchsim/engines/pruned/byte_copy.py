"""8-bit copies of pictures of 16 bits or floats, and how far differences in them may be off.

A value v becomes the byte c(v) + r, where c(v) = (v - low) / step, clipped to 0..255, and r is what
rounding to the nearest adds. Clipping brings no two values further apart than they are, so that
|c(a) - c(b)| <= |a - b| / step, and the bytes of a and b differ by at most |ra| + |rb| more. With w
for the weights of values, the sums Q of the bytes' differences and D of the true ones, therefore

    sad   Q <= D / step + sum w |ra| + sum w |rb|
    ssd   sqrt(Q) <= sqrt(D) / step + sqrt(sum w ra^2) + sqrt(sum w rb^2)

by the triangle inequality, for `ssd` that of the Euclidean norm. The roundings of the kernel are
known; those of the windows are each at most the largest one of the image, which is a half or less.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.pruned import compiled
from patchsim.types import Pixels, Weights

TYPES = {"uint16": "H", "float32": "f", "float64": "d"}  # and their names in the extension
ITEM_BYTES = {"uint16": 2, "float32": 4, "float64": 8}

# From so many pixels of the image, and as many of the kernel, low and step are taken. Outside them
# this share of the values may lie at each end, as those of defect sensor pixels and of highlights:
# they are clipped, which leaves the others a finer step.
_SAMPLE = 1 << 14
_OUTSIDE = 0.001
# Roundings below this are none: the values are those of 8 bits, scaled.
_NO_ROUNDING = 1e-3
_BAND_BYTES = 1 << 20  # of a picture that does not lie in one piece, copied at a time
_LEAST_STEP = 1e-300  # its inverse is finite


class ByteCopy(NamedTuple):
    """A picture in 8 bits.

    Attributes
    ----------
    pixels : uint8 array [H, W, C]
    low, step : float
        The value of 0 and the values from one byte to the next.
    rounding : float
        The largest |r| of a value, in steps.
    """

    pixels: NDArray[np.uint8]
    low: float
    step: float
    rounding: float


def make(image: Pixels, kernel: Pixels, data_range: float) -> ByteCopy:
    """Copy an image, in a range of values that suits it and the kernel."""
    low, step = _range(image, kernel, data_range)
    pixels, rounding = _quantise(image, low, step)
    return ByteCopy(pixels, low, step, rounding)


def again(image: Pixels, like: ByteCopy) -> ByteCopy:
    """Copy an image in the range of values of another copy, whatever its own is."""
    pixels, rounding = _quantise(image, like.low, like.step)
    return like._replace(pixels=pixels, rounding=rounding)


def of_kernel(
    kernel: Pixels, weights: Weights | None, copy: ByteCopy, *, squares: bool
) -> tuple[NDArray[np.uint8], float]:
    """Copy a kernel like the image, and return how far Q or its root may be off in any window."""
    pixels, _ = _quantise(kernel, copy.low, copy.step)
    levels = kernel.astype(np.float64)
    with np.errstate(over="ignore"):  # what is infinite is clipped
        levels -= copy.low
        levels /= copy.step
    np.clip(levels, 0, 255, out=levels)
    levels -= pixels
    power = np.square if squares else np.abs
    off = power(levels, out=levels)
    rounding = power(copy.rounding)
    every = compiled.of_every_value(weights, kernel.shape)
    if every is None:
        of_windows, of_kernel = rounding * kernel.size, float(off.sum())
    else:
        of_windows = rounding * float(every.sum(dtype=np.int64))
        of_kernel = float(np.multiply(off, every, out=off).sum())
    if squares:
        of_windows, of_kernel = math.sqrt(of_windows), math.sqrt(of_kernel)
    return pixels, (of_windows + of_kernel) * (1 + 1e-9)  # and what these sums round


def kernel_bytes(taps: int) -> int:
    """Return the peak memory of `of_kernel` and of copying a picture that has to be cut up."""
    return (8 + 8 + 1 + 1) * taps + _BAND_BYTES


def _range(image: Pixels, kernel: Pixels, data_range: float) -> tuple[float, float]:
    """Return low and step: those by which the values are bytes, or from their quantiles."""
    samples = [_sample(picture) for picture in (image, kernel)]
    for step in (data_range / 255, 1.0):
        if step > _LEAST_STEP and all(_is_like_bytes(sample / step) for sample in samples):
            return 0.0, step
    shares = (_OUTSIDE, 1 - _OUTSIDE)
    quantiles = [np.quantile(sample, shares, method="nearest") for sample in samples]
    ends = [(float(low), float(high)) for low, high in quantiles]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if not low < high:
        low = min(float(sample.min()) for sample in samples)
        high = max(float(sample.max()) for sample in samples)
    return low, max((high - low) / 255, _LEAST_STEP)


def _is_like_bytes(levels: NDArray[np.float64]) -> bool:
    """Return whether all values are about those of bytes."""
    if levels.min() < 0 or levels.max() > 255:
        return False
    return bool((np.abs(levels - np.rint(levels)) < _NO_ROUNDING).all())


def _sample(picture: Pixels) -> NDArray[np.float64]:
    """Return the values of evenly spread pixels."""
    step = max(1, math.isqrt(picture.shape[0] * picture.shape[1] // _SAMPLE))
    return picture[::step, ::step].astype(np.float64).ravel()


def _quantise(picture: Pixels, low: float, step: float) -> tuple[NDArray[np.uint8], float]:
    """Return the bytes of a picture and their largest rounding, in steps."""
    extension = compiled.extension()
    assert extension is not None, "refuse says so"
    variant, rounding = compiled.variant(), 0.0
    pixels = np.empty(picture.shape, np.uint8)
    rows = len(picture)
    if not picture.flags.c_contiguous:
        rows = max(1, _BAND_BYTES // max(1, picture[0].nbytes))
    for top in range(0, len(picture), rows):
        band = np.s_[top : top + rows]
        largest = extension.quantise(
            values=np.ascontiguousarray(picture[band]),
            type=TYPES[picture.dtype.name],
            low=low,
            step=step,
            out=pixels[band],
            variant=variant,
        )
        rounding = max(rounding, largest)
    return pixels, rounding
