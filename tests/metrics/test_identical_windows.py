"""An identical window scores exactly 1, in every metric and type, with any weights."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from patchsim import match, metrics

TYPES = {"uint8": 1, "uint16": 257, "float32": 1 / 255, "float64": 1 / 255}


def photograph(dtype):
    return (skimage.data.astronaut() * np.float64(TYPES[dtype])).astype(dtype)


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_exact_score_is_1(metric, dtype, weighted, rng):
    image = photograph(dtype)
    span = 255 if dtype == "uint8" else 65535 if dtype == "uint16" else 1.0
    for _ in range(40):
        height, width = rng.integers(2, 60, 2)
        y, x = rng.integers(0, 512 - height), rng.integers(0, 512 - width)
        kernel = image[y : y + height, x : x + width].copy()
        weights = rng.integers(0, 256, kernel.shape[:2], np.uint8) if weighted else None
        if not metrics.has_scores(metrics.Kernel(kernel, weights), metric):
            continue
        assert metrics.exact(image, kernel, metric, span, weights=weights)(y, x) == 1.0


RANGES = {"int16": (-32768, 32767), "int32": (-(10**8), 10**8)}
NARROW = {"uint8", "uint16", "int16", "float32"}
ENGINES = {  # and the types and metrics that they take
    "auto": ({*TYPES, *RANGES}, {"sad", "ssd", "ncc", "zncc"}),
    "unfold": ({*TYPES, *RANGES}, {"sad"}),
    "fft": ({*TYPES, *RANGES}, {"ssd", "ncc", "zncc"}),
    "simd": (NARROW - {"int16"}, {"sad", "ssd", "ncc", "zncc"}),
    "pruned": (NARROW, {"sad", "ssd"}),
}


@pytest.mark.parametrize("crops", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    ("engine", "dtype", "metric"),
    [
        (engine, dtype, metric)
        for engine, (types, metrics_) in ENGINES.items()
        for dtype in sorted(types)
        for metric in sorted(metrics_)
    ],
)
def test_every_engine_finds_exact_crops_with_a_threshold_of_1(
    engine, dtype, metric, channels, crops
):
    rng = np.random.default_rng([channels, *f"{engine}{dtype}{metric}".encode()])
    bytes_ = skimage.data.astronaut()[100:200, 80:210, :channels]
    if dtype in RANGES:
        low, high = RANGES[dtype]
        image = (low / 2 + bytes_ * ((high - low) / 400)).astype(dtype)
    else:
        image = (bytes_ * np.float64(TYPES[dtype])).astype(dtype)
    for _ in range(crops):
        height, width = rng.integers(4, 40, 2)
        y, x = rng.integers(0, 100 - height), rng.integers(0, 130 - width)
        kernel = image[y : y + height, x : x + width].copy()
        report = match(
            image, kernel, metric=metric, engine=engine, threshold=1, top=1, margin=False,
            threads=1, data_range=RANGES.get(dtype),
        )  # fmt: skip
        assert [match.score for match in report.matches] == [1.0]
        best = report.best
        found = image[best.y : best.y + height, best.x : best.x + width]
        assert found.tolist() == kernel.tolist()


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_a_threshold_of_1_finds_exact_crops_of_floats(metric):
    image = photograph("float64")
    for y in range(0, 480, 90):
        kernel = image[y : y + 24, 2 * y // 3 : 2 * y // 3 + 31].copy()
        report = match(image, kernel, metric=metric, threshold=1, top=1)
        assert [(m.y, m.x, m.score) for m in report.matches] == [(y, 2 * y // 3, 1.0)]
