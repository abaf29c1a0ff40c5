"""The first look by bands of rows: the same maxima in any, in the memory that is named."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import peak_memory
from scipy import ndimage

from patchsim.metrics import Kernel
from patchsim.registration import (
    BAND_BYTES,
    Range,
    first_look,
    first_look_bytes,
    levels,
    looked_poses,
    native,
    planes,
)

LEAST = first_look.least_band_bytes(1500, 3, 24, 25)
# The peak of a first look of a thread, in bytes, beyond turned kernels and pictures.
PEAK = """
import sys
import numpy as np
from helpers.peak_memory import resident_peak
from patchsim.metrics import Kernel
from patchsim.registration import first_look, levels, planes

rng = np.random.default_rng(3)
image = rng.integers(0, 256, (450, 1500, 3), dtype=np.uint8)
plane = planes.Planes(image, None)[0]
kernel = levels.KernelLevels(Kernel(image[:12, :12].copy()))
kernels = planes.KernelPlanes(kernel, planes.Unit(0, 1))
grid = first_look.Grid(np.linspace(0, 6, 24), np.linspace(-0.3, 0.3, 3), True)
first_look.turned(kernels[0], grid.poses)
with resident_peak() as peak:
    first_look.look(plane, kernels[0], grid, "zncc", 255.0, 0.5, 1, band_bytes=int(sys.argv[1]))
print(peak.bytes)
"""


@pytest.mark.parametrize("most", [first_look.MOST, 20])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("metric", ["zncc", "sad"])
def test_bands_of_any_size_have_the_same_maxima(rng, metric, threads, most):
    image = ndimage.gaussian_filter(rng.random((120, 130, 3)), (2, 2, 0))
    image = np.uint8(np.clip(image * 1500 - 620, 0, 255))
    image[60:] = image[59::-1]  # equal scores, of which the first count
    plane = planes.Planes(image, None)[0]
    kernel = planes.KernelPlane(
        levels.KernelLevels(Kernel(image[50:61, 70:82].copy())), 0, planes.Unit(0, 1)
    )
    grid = first_look.Grid(np.linspace(0, 6, 24), np.linspace(-0.3, 0.3, 3), True)
    wanted = first_look.look(plane, kernel, grid, metric, 255.0, 0.3, 1, most)
    shares = []
    found = first_look.look(
        plane, kernel, grid, metric, 255.0, 0.3, threads, most, band_bytes=1 << 19,
        tell=shares.append,
    )  # fmt: skip
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert (shares[0] <= 0.2, shares[-1]) == (True, 1)
    assert 100 < len(wanted[0]) < most or len(wanted[0]) == most == 20
    assert np.array_equal(wanted[0], found[0])
    assert np.array_equal(wanted[1], found[1])


@pytest.mark.skipif(not peak_memory.is_measurable(), reason="the peak cannot be measured here")
@pytest.mark.skipif(native.extension() is None, reason="the C extension was not built")
@pytest.mark.parametrize("band_bytes", [LEAST, 8 << 20, BAND_BYTES])
def test_a_band_takes_the_memory_that_is_named(band_bytes):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(band_bytes)],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 0.4 * band_bytes < int(done.stdout) < 1.25 * band_bytes


def _angles_of(pixels, scales=(0.0, 0.0)):
    kernel = planes.KernelPlanes(levels.KernelLevels(Kernel(pixels[..., None])), planes.Unit(0, 1))
    return looked_poses.grid_of(kernel[0], (0.0, 2 * np.pi), scales, is_cyclic=True).angles


@pytest.mark.parametrize("degrees", [100.0, 7.0, 3.0, 1.0])
@pytest.mark.parametrize("span", [360.0, 10.0])
def test_angles_lie_no_farther_apart_than_asked_and_neighbours_as_far_as_a_kernel_tells(
    degrees, span
):
    kernel = planes.KernelPlanes.of_bytes(Kernel(np.full((25, 25, 1), 9, np.uint8)))[0]
    grid = looked_poses.grid_of(
        kernel, (0.0, math.radians(span)), (0.0, 0.0), (math.radians(degrees), math.inf),
        is_cyclic=span == 360,
    )  # fmt: skip
    # A flat kernel is told apart by its corners alone.
    alone = math.degrees(first_look.SPACING / math.hypot(12.5, 12.5))
    assert len(grid.angles) == math.ceil(span / min(degrees, alone))
    between = span / len(grid.angles)
    assert grid.near == max(1, min(len(grid.angles) - 1, int(max(alone, between) / between)))


def test_angles_lie_closer_where_a_turn_shows_in_fine_detail(rng):
    noise = rng.random((25, 25))
    fine, smooth = (np.float32(ndimage.gaussian_filter(noise, sigma)) for sigma in (0.4, 3.0))
    needed = 2 * np.pi * np.hypot(12.5, 12.5) / first_look.SPACING
    usual = int(np.ceil(needed))
    assert len(_angles_of(smooth)) == usual
    assert len(_angles_of(fine)) > 1.2 * usual
    assert len(_angles_of(fine, (0.0, 0.1))) == np.ceil(needed * np.exp(0.1))
    assert len(_angles_of(np.ones((25, 25), np.float32))) == usual
    # scipy turns the fine kernel by half of each spacing.
    assert _correlation(fine, 180 / usual) < 0.95 <= _correlation(fine, 180 / len(_angles_of(fine)))


def _correlation(pixels, degrees):
    """Correlate a picture's middle, turned both ways, with itself."""
    one, other = (
        ndimage.rotate(pixels, turn, reshape=False)[5:-5, 5:-5]
        for turn in (degrees / 2, -degrees / 2)
    )
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


@pytest.mark.parametrize("size", [(12, 400), (100, 90), (41, 57), (300, 17)])
@pytest.mark.parametrize("mask", ["none", "ring"])
def test_a_sampled_kernel_has_pixels_from_all_over_it(rng, size, mask):
    down, across = np.mgrid[: size[0], : size[1]] - np.reshape(size, (2, 1, 1)) / 2 + 0.5
    far = np.hypot(down / size[0], across / size[1])
    weights = None if mask == "none" else np.uint8(255 * ((far > 0.35) & (far < 0.5)))
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    kernel = planes.KernelPlane(levels.KernelLevels(Kernel(pixels, weights)), 0, planes.Unit(0, 1))
    sampled = kernel.sampled(512)
    assert 512 <= sampled.counted < 1.7 * 512
    is_taken = sampled.weights > 0
    assert np.array_equal(sampled.weights[is_taken], kernel.weights[is_taken])
    counts = np.argwhere(kernel.weights[0] > 0)
    # About a block lies between what is taken and an end at most.
    for axis in (0, 1):
        taken = np.argwhere(is_taken[0])[:, axis]
        assert taken.min() - counts[:, axis].min() <= 8
        assert counts[:, axis].max() - taken.max() <= 8


def test_a_kernel_of_few_pixels_is_not_sampled(rng):
    pixels = rng.integers(0, 256, (20, 25, 1), dtype=np.uint8)
    kernel = planes.KernelPlane(levels.KernelLevels(Kernel(pixels)), 0, planes.Unit(0, 1))
    assert kernel.sampled(512) is kernel


# The peak of a search for a kernel of fine detail, in bytes, beyond pictures and levels.
SEARCH = """
import sys
import numpy as np
from helpers.peak_memory import resident_peak
from patchsim.metrics import Kernel
from patchsim.registration import KernelPlanes, PoseSearch, Range, first_look_bytes

rng = np.random.default_rng(3)
image = rng.integers(0, 256, (160, 500, 1), dtype=np.uint8)
kernel = Kernel(rng.integers(0, 256, tuple(map(int, sys.argv[1:3])) + (1,), dtype=np.uint8))
scales, angles = Range(0.95, 1.0), Range(0.0, 360.0)
levels = KernelPlanes.of_bytes(kernel)
shared, of_a_thread = first_look_bytes(levels, [scales], angles, image.shape[:2])
search = PoseSearch(image, "zncc", 255.0, threads=1, band_bytes=of_a_thread)
search.find(Kernel(image[:16, :16].copy()), scales, angles, most=1)  # levels, and imports
with resident_peak() as peak:
    search.find(kernel, scales, angles, most=1)
print(peak.bytes, shared + of_a_thread)
"""


@pytest.mark.skipif(not peak_memory.is_measurable(), reason="the peak cannot be measured here")
@pytest.mark.skipif(native.extension() is None, reason="the C extension was not built")
@pytest.mark.parametrize("size", [(12, 300), (120, 130)])
def test_turned_kernels_count_in_the_least_memory(size):
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, *map(str, size)],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak, told = map(int, done.stdout.split())
    assert 0.6 * told < peak < 1.1 * told


def test_the_least_memory_is_that_of_the_kernel(rng):
    short, long = (
        planes.KernelPlanes.of_bytes(Kernel(rng.integers(0, 256, (12, side, 1), dtype=np.uint8)))
        for side in (40, 400)
    )
    needed = [
        first_look_bytes(kernel, [Range(1.0, 1.0)], Range(0.0, 360.0), (300, 500))
        for kernel in (short, long)
    ]
    # Boxes are larger by the square of a side, and angles are as many times as many.
    assert needed[1][0] > 80 * needed[0][0]
    assert first_look_bytes(long, [], Range(0.0, 360.0), (300, 500)) == (0, 0)
