"""Sums over every window of products with the kernel, by Fourier transforms.

Each function takes NumPy arrays or torch tensors; the transforms are scipy's for the ones, torch's
for the others.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from patchsim.numerics.array_api import Array, cast, namespace, synchronized
from patchsim.numerics.precision import DOUBLE, SINGLE

# A sum of products is off by at most this, times the norms of the tile's pixels and the kernel.
# Each transform is off by a share of its values' norm, and by Cauchy and Schwarz no sum is off by
# more than the shares of all three together: what the kernel's shape is does not matter. Shares are
# largest of pictures of one value, all of which lies in one frequency, in transforms whose lengths
# are powers of 5 and 3: 8.6 units of 2**-24 for 15625x15625. With kernels as large as the picture
# that was 16 units in all; 4 at the most for noise, photographs, lines, points and thin kernels.
_ROUNDING = {SINGLE: 2.0**-19, DOUBLE: 2.0**-48}

# And times this by torch. Its transforms on the CPU (MKL) were off by 14 such units at the most;
# those of cuFFT and oneMKL, of the same order by what they say, were not measured.
_ELSEWHERE = 2.0

# Longer transforms leave the processor's cache: each value of blocks of this side takes twice the
# time that it takes in small ones. Shorter steps do not pay, nor do longer blocks unless the kernel
# needs them. Of 384 to 1280 on two cores of an AMD EPYC (Zen 4), kernels of 64 and 128.
_COSTS_DOUBLE = 2000
_LONGEST = 1280
_SHORTEST = 32

# Cards have caches that no block of transforms fits into. By counts: of blocks of this side a
# kernel of 128 leaves 94 % as windows (of 1280: 81 %), and a plane's spectrum takes 134 MB in
# float64; with blocks of twice that side 3 % less were transformed, in four times the memory. What
# a block takes however small it is, some 300 operations to begin, is as if its sides were longer.
_LONGEST_ELSEWHERE = 4096
_LONGER_ELSEWHERE = 1000


# So many spectra of a kernel are kept on the CPU: two sizes of tiles take turns in a row.
KEPT_SPECTRA = 2


def rounding(dtype: np.dtype[Any], device: str = "cpu") -> float:
    """Return how far a sum of products may be off, for norms of 1."""
    return _ROUNDING[dtype] * (1 if device == "cpu" else _ELSEWHERE)


def norm_of(values: Array) -> float:
    """The Euclidean norm."""
    if isinstance(values, np.ndarray):
        flat = values.reshape(-1)
        # Not by BLAS, whose threads would wait for those of other tiles.
        return math.sqrt(np.einsum("i,i->", flat, flat))
    import torch

    return float(torch.linalg.vector_norm(values, dtype=torch.float64))


def block_step(
    windows: tuple[int, int], kernel: tuple[int, int], device: str = "cpu"
) -> tuple[int, int]:
    """Overlap-save: how many (rows, cols) of windows at stride 1 a block of transforms gives.

    Parameters
    ----------
    windows : (rows, cols)
        Of the whole map at stride 1.
    kernel : (height, width)
    device : str
    """
    costs: tuple[int, int, float] = _LONGEST, 0, _COSTS_DOUBLE
    if device != "cpu":
        costs = _LONGEST_ELSEWHERE, _LONGER_ELSEWHERE, math.inf
    return _axis_step(windows[0], kernel[0], *costs), _axis_step(windows[1], kernel[1], *costs)


@functools.cache
def _axis_step(windows: int, kernel: int, longest: int, longer: int, costs_double: float) -> int:
    """The cheapest step along one axis; pieces are of one size, the last not much shorter."""
    best = (math.inf, 0)
    most = min(windows, max(longest - kernel + 1, 2 * kernel))
    shortest = min(most, max(kernel // 2, _SHORTEST))
    for count in range(-(-windows // most), -(-windows // shortest) + 1):
        step = -(-windows // count)
        size = transform_length(step + kernel - 1)
        best = min(best, (count * (size + longer) * (1 + size / costs_double), step))
    return best[1]


@functools.cache
def transform_length(values: int) -> int:
    """The next length whose transform is fast: a product of 2s, 3s and 5s.

    As scipy.fft.next_fast_len, whose import takes longer than most searches.
    """
    for length in itertools.count(values):
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
    raise AssertionError("powers of two have no end")


def spectrum_bytes(size: tuple[int, int], itemsize: int) -> int:
    """Return the bytes of the spectrum of a plane, of values of so many bytes, on the CPU."""
    return 2 * itemsize * size[0] * (size[1] // 2 + 1)


def products_bytes(size: tuple[int, int], itemsize: int, planes: int) -> int:
    """Return the bytes of `Products.over` on the CPU, and at most of `through`.

    The spectra of the kernel, and those that `through` is given, do not count.
    """
    # The sum and the last product; then a plane with zeros appended and its spectrum, or a copy
    # that scipy makes of the sum, and the result.
    spectra = min(planes + 1, 3) * spectrum_bytes(size, itemsize)
    return spectra + itemsize * size[0] * size[1]


class Products:
    """Sums over every window, and over its channels, of image x kernel.

    Parameters
    ----------
    kernel : sequence of Array [h, w]
        A plane for each channel, floating point.
    """

    def __init__(self, kernel: Sequence[Array]) -> None:
        # Turned by half, so that the transforms' convolution compares it as it was.
        self._kernel = [namespace(plane).flip(plane, (-2, -1)) for plane in kernel]
        # By size and type, the last used at the end.
        self._spectra: dict[Hashable, _Shared] = {}
        self._lock = threading.Lock()

    def _shared(self, size: tuple[int, int], dtype: Any) -> _Shared:
        with self._lock:
            spectrum = self._spectra.pop((size, dtype), None)
            if spectrum is None:
                # It holds planes, not `self`, because Python frees a circle late.
                spectrum = _Shared(functools.partial(_spectrum, size, dtype), self._kernel)
                # Tiles have few sizes, and blocks that are scored again many. On a device none is
                # dropped, for work that was asked of it may not have read it yet.
                if isinstance(self._kernel[0], np.ndarray):
                    while len(self._spectra) >= KEPT_SPECTRA:
                        del self._spectra[next(iter(self._spectra))]
            self._spectra[size, dtype] = spectrum
            return spectrum

    def over(self, planes: Iterable[Array]) -> Array:
        """[..., rows, cols] of an image given as its C planes [..., H, W], in their dtype."""
        total = None
        for number, plane in enumerate(planes):
            # One by one: few values at a time stay near to the processor.
            forward, backward = _transforms(plane)
            size = transform_length(plane.shape[-2]), transform_length(plane.shape[-1])
            spectra = self._shared(size, plane.dtype).all()
            product = _times(forward(plane, size), spectra[number])
            if total is None:
                total = product
            else:
                total += product
        return self._windows(backward(total, size), plane.shape[-2:])

    def through(self, spectra: Spectra) -> Array:
        """Return the sums of `over` for an image whose planes are transformed already."""
        _, backward = _transforms(spectra.planes[0])
        planes = self._shared(spectra.size, spectra.dtype).all()
        total = spectra.planes[0] * planes[0]
        product = None
        for plane, other in zip(spectra.planes[1:], planes[1:], strict=True):
            product = _multiplied(plane, other, product)
            total += product
        return self._windows(backward(total, spectra.size), spectra.extent)

    def _windows(self, convolution: Array, extent: tuple[int, int]) -> Array:
        height, width = self._kernel[0].shape
        return convolution[..., height - 1 : extent[0], width - 1 : extent[1]]


class Spectra:
    """The transforms of an image's planes [H, W], for several kernels.

    Parameters
    ----------
    planes : iterable of Array [H, W]
    longest : (height, width)
        Zeros are appended up to the transform's length for this extent, which has to be one for
        all blocks of an image: then a kernel is transformed once.
    """

    def __init__(self, planes: Iterable[Array], longest: tuple[int, int]) -> None:
        self.size = transform_length(longest[0]), transform_length(longest[1])
        self.planes: list[Array] = []
        for plane in planes:
            forward, _ = _transforms(plane)
            self.planes.append(forward(plane, self.size))
        self.dtype = plane.dtype  # of the planes, not their transforms
        self.extent = plane.shape[-2:]

    def each(self) -> Iterator[Spectra]:
        """The planes one by one."""
        for plane in self.planes:
            one = copy.copy(self)
            one.planes = [plane]
            yield one


class _Shared:
    """Results of `work` for some planes, made once; threads that need them share the work."""

    def __init__(self, work: Callable[[Array], Array], planes: Sequence[Array]) -> None:
        self._work = work
        self._planes = planes
        self._made: list[Array | None] = [None] * len(planes)
        self._left = list(range(len(planes)))[::-1]
        self._locks = [threading.Lock() for _ in planes]

    def all(self) -> list[Array]:
        while True:  # each thread takes others
            try:
                number = self._left.pop()
            except IndexError:
                break
            self._make(number)
        # Those that other threads took are there once they are, or made here if they failed.
        return [self._make(number) for number in range(len(self._planes))]

    def _make(self, number: int) -> Array:
        with self._locks[number]:
            made = self._made[number]
            if made is None:
                made = self._made[number] = self._work(self._planes[number])
            return made


def _spectrum(size: tuple[int, int], dtype: Any, plane: Array) -> Array:
    forward, _ = _transforms(plane)
    return synchronized(forward(cast(plane, dtype), size))


def overlap_save(image: Array, kernel: Array) -> Array:
    """Products of an image [..., C, H, W] of any size with a kernel [C, h, w]: [..., rows, cols].

    At stride 1; differentiable where the arrays are tensors.
    """
    channels, height, width = kernel.shape
    rows, cols = image.shape[-2] - height + 1, image.shape[-1] - width + 1
    device = "cpu" if isinstance(image, np.ndarray) else image.device.type
    step_y, step_x = block_step((rows, cols), (height, width), device)
    products = Products(kernel)

    def block(top: int, left: int) -> Array:
        pixels = image[..., top : top + step_y + height - 1, left : left + step_x + width - 1]
        return products.over(pixels[..., channel, :, :] for channel in range(channels))

    xp = namespace(image)
    bands = [
        xp.concatenate([block(top, left) for left in range(0, cols, step_x)], -1)
        for top in range(0, rows, step_y)
    ]
    return xp.concatenate(bands, -2)


def _times(array: Array, other: Array) -> Array:
    """The product, in place of the array where no gradient needs that."""
    return np.multiply(array, other, out=array) if isinstance(array, np.ndarray) else array * other


def _multiplied(array: Array, other: Array, into: Array | None) -> Array:
    """The product, in an array that is free for it, if there is one."""
    if into is None or not isinstance(array, np.ndarray):
        return array * other
    return np.multiply(array, other, out=into)


def _transforms(array: Array) -> tuple[Any, Any]:
    """Forward and backward transforms of the last two axes, zeros appended up to a size."""
    if isinstance(array, np.ndarray):
        from scipy import fft

        return fft.rfft2, fft.irfft2
    import torch

    return torch.fft.rfft2, torch.fft.irfft2
