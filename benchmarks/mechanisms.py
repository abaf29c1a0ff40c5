"""What each mechanism for speed brings: its own case with it and without it, interleaved.

A mechanism that brings less than 1.2 times and bounds nothing that is promised should go. Answers
are compared before anything is timed. Times are CPU time of this process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import skimage.data
from PIL import Image

from patchsim import match
from patchsim.engines import Bounds, fft
from patchsim.output.report import Report
from patchsim.planning import batching
from patchsim.ranking import equal_windows

ROUNDS = 5


@contextmanager
def without_shared_spectra() -> Iterator[None]:
    """Kernels of one size are transformed and scored one after the other."""
    with mock.patch.object(fft, "SHARES", False):
        yield


@contextmanager
def without_equal_windows() -> Iterator[None]:
    """Windows with equal pixels are scored one by one."""

    def unknown(*_: Any) -> Callable[..., Any]:
        def score_block(tile: Any) -> Any:
            shape = tile.rows, tile.cols
            return Bounds(np.zeros(shape), np.full(shape, np.inf))

        return score_block

    with mock.patch.object(equal_windows, "scores", unknown):
        yield


def shared_spectra() -> Callable[[], Report]:
    image = skimage.data.astronaut()
    kernels = [image[y : y + 32, x : x + 32] for y in range(0, 400, 100) for x in range(0, 400, 80)]
    return lambda: match(image, kernels, metric="zncc", per_kernel=True, top=1, margin=False)


def equal_backgrounds() -> Callable[[], Report]:
    image = np.zeros((300, 300), np.float32)
    image[::7] = 0.3
    image[100:140, 100:140] = np.random.default_rng(0).random((40, 40), np.float32)
    kernel = np.full((20, 20), 0.1, np.float32)
    return lambda: match(image, kernel, metric="ssd", top=5, margin=False)


def cells_in_masks(engine: str) -> Callable[[], Report]:
    photograph = skimage.data.astronaut()
    y, x = np.ogrid[-32:32, -32:32]
    alpha = np.where(y**2 + x**2 < 30**2, 255, 0).astype(np.uint8)
    kernel = Image.fromarray(np.dstack([photograph[200:264, 200:264], alpha]), "RGBA")
    return lambda: match(photograph, kernel, engine=engine, top=1, margin=False)


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


def timed(search: Callable[[], Report]) -> float:
    batching.forget()
    started = time.process_time()
    search()
    return time.process_time() - started


def main() -> None:
    for name, search, other, without in (
        ("shared spectra: 20 kernels 32x32, zncc", shared_spectra(), shared_spectra(),
         without_shared_spectra),
        ("equal windows: float stripes, ssd", equal_backgrounds(), equal_backgrounds(),
         without_equal_windows),
        ("cells: round mask 64x64, sad, best match", cells_in_masks("pruned"),
         cells_in_masks("simd"), as_it_is),
    ):  # fmt: skip
        batching.forget()
        expected = search().matches
        with without():
            batching.forget()
            assert other().matches == expected, name
        on, off = [], []
        for _ in range(ROUNDS):
            on.append(timed(search))
            with without():
                off.append(timed(other))
        a, b = statistics.median(on), statistics.median(off)
        print(f"{name}: {a * 1e3:.0f} ms, without it {b * 1e3:.0f} ms: {b / a:.2f}x", flush=True)


if __name__ == "__main__":
    main()
