"""How far sub-pixel positions are off, on photographs moved by known fractions of a pixel.

Run it as ``python benchmarks/subpixel.py``; the random numbers have a fixed seed. A part of a
photograph is moved by multiplying its Fourier transform (the kernel is cut from its middle, far
from where it wraps around), noise is added to both, both are rounded to 8 bits. Kernels are cut
anywhere, sky and shadows included. Beside it stands the usual parabola through the scores of the
best window and its neighbours. The root mean square is over both axes.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import scipy
import skimage.data
from numpy.typing import NDArray

import patchsim
from patchsim import choices, metrics

PHOTOGRAPHS = ("astronaut", "coffee", "camera", "coins", "rocket", "chelsea")
SIDES = (32, 64)
KERNELS = 120  # of each side
NOISE = 2.0  # standard deviation, of 255
SEED = 0
MARGIN = 20  # pixels between the kernel and what surrounds it, beside its own side

Bytes = NDArray[np.uint8]


def cases(side: int, count: int, seed: int) -> Iterator[tuple[Bytes, Bytes, NDArray[np.float64]]]:
    """Image, kernel, and the kernel's true corner (y, x)."""
    random = np.random.default_rng([seed, side])
    length = 3 * side + 2 * MARGIN
    for number in range(count):
        name = PHOTOGRAPHS[number % len(PHOTOGRAPHS)]
        photo = np.atleast_3d(getattr(skimage.data, name)()).astype(float)
        top, left = (int(random.integers(size - length + 1)) for size in photo.shape[:2])
        part = photo[top : top + length, left : left + length]
        shift = random.uniform(-0.5, 0.5, 2)
        corner = side + MARGIN
        kernel = moved(part, shift)[corner : corner + side, corner : corner + side]
        yield noisy(part, random), noisy(kernel, random), corner + shift


def moved(picture: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """What lies at x + shift comes to x."""
    waves = np.fft.fft2(picture, axes=(0, 1))
    for axis, by in enumerate(shift):
        turns = np.exp(2j * np.pi * by * np.fft.fftfreq(picture.shape[axis]))
        waves *= np.expand_dims(turns, tuple({0, 1, 2} - {axis}))
    return np.fft.ifft2(waves, axes=(0, 1)).real


def noisy(picture: NDArray[np.float64], random: np.random.Generator) -> Bytes:
    values = picture + random.normal(0, NOISE, picture.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def parabola(image: Bytes, kernel: Bytes, at: tuple[int, int], metric: str) -> list[float]:
    """The top of the parabola in each axis through three scores."""
    score = metrics.exact(image, kernel, metric, 255)
    found = []
    for axis in (0, 1):
        step = np.eye(2, dtype=int)[axis]
        before, here, after = (score(*(np.add(at, k * step).tolist())) for k in (-1, 0, 1))
        bend = before - 2 * here + after
        found.append(at[axis] + (0.5 * (before - after) / bend if bend else 0.0))
    return found


def main() -> None:
    print(f"{platform.platform()}, Python {platform.python_version()}, NumPy {np.__version__},")
    print(f"scipy {scipy.__version__}, scikit-image {version('scikit-image')}; seed {SEED},")
    print(f"{KERNELS} kernels a row, noise {NOISE:g}/255; errors in pixels, time without search\n")
    print("kernel  metric      rms  median  largest   parabola's rms   not told  ms a match")
    for side in SIDES:
        tried = list(cases(side, KERNELS, SEED))
        for metric in choices.METRICS:
            errors, usual, took = [], [], []
            for image, kernel, truth in tried:
                started = time.perf_counter()
                plain = patchsim.match(image, kernel, metric=metric, top=1).best
                between = time.perf_counter()
                best = patchsim.match(image, kernel, metric=metric, top=1, subpixel=True).best
                took.append(time.perf_counter() - between - (between - started))
                assert plain is not None
                assert best is not None
                if best.x_subpixel is None or best.y_subpixel is None:
                    continue
                errors.append(np.subtract((best.y_subpixel, best.x_subpixel), truth))
                usual.append(np.subtract(parabola(image, kernel, (best.y, best.x), metric), truth))
            off, off_usual = np.abs(errors), np.abs(usual)
            print(
                f"{side:3}x{side:<3} {metric:6} {np.sqrt(np.mean(off**2)):8.4f}"
                f"{np.median(off):8.4f}{off.max():9.4f}{np.sqrt(np.mean(off_usual**2)):17.4f}"
                f"{KERNELS - len(off):11}{statistics.median(took) * 1e3:12.1f}"
            )


if __name__ == "__main__":
    main()
