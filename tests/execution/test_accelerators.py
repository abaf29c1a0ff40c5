"""Searches on an accelerator: on an NVIDIA card where there is one, else on a stand-in.

The stand-in is another of torch's names for the CPU; all but the copies, the queues and the engine
`cuda` is then as on a card.
"""

from __future__ import annotations

import contextlib

import numpy as np
import oracle
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from patchsim import match
from patchsim.machine import devices
from patchsim.planning import tiling

CARD = torch.cuda.is_available()
ENGINES = {
    "sad": ["unfold", *(["cuda"] if CARD else [])],
    "ssd": ["fft", *(["cuda"] if CARD else [])],
    "ncc": ["fft"],
    "zncc": ["fft"],
}
EVERY = [(metric, engine) for metric, engines in ENGINES.items() for engine in engines]
SPAN = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
needs_card = pytest.mark.skipif(not CARD, reason="torch sees no NVIDIA card")


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    if not CARD:
        monkeypatch.setattr(devices, "require_all", lambda _name: "cpu:0")
        monkeypatch.setattr(devices, "free_memory", lambda _name: 1 << 30)


def picture(rng, dtype, *shape):
    if dtype.startswith("float"):
        return rng.random(shape).astype(dtype)
    return rng.integers(0, SPAN[dtype] + 1, shape).astype(dtype)


def refused(metric, engine, dtype):
    return engine == "cuda" and metric == "ssd" and dtype == "uint16"


def on_device(*arguments, **options):
    found = match(*arguments, device="cuda", **options)
    assert found.device != "cpu"
    return found


def assert_same(found, expected, tolerance):
    assert found.matches == expected.matches
    for one, other in zip(found.maps, expected.maps, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("metric", "engine"), EVERY)
@pytest.mark.parametrize("dtype", SPAN)
def test_maps_agree_with_the_oracle(metric, engine, dtype, rng):
    if refused(metric, engine, dtype):
        pytest.skip("squares of 16 bits are not for this engine")
    for channels, stride, size in [
        (1, (1, 1), (5, 6)), (3, (2, 3), (7, 3)), (2, (1, 2), (1, 2)), (1, (3, 1), (15, 17)),
    ]:  # fmt: skip
        image = picture(rng, dtype, 15, 17, channels)
        image[:8, :9] = image[0, 0]  # flat
        kernel = picture(rng, dtype, *size, channels)
        found = on_device(image, kernel, metric=metric, engine=engine, stride=stride, map=True)
        true = oracle.score_map(metric, image.tolist(), kernel.tolist(), stride, SPAN[dtype])
        np.testing.assert_allclose(found.map, true, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("engine", ENGINES["sad"])
def test_grid_of_strides_and_sizes(engine, stride, rng):
    for side in (99, 100, 101):
        image = rng.random((side, 200 - side, 1)).astype(np.float32)
        for size in (9, 10, 11):
            kernel = rng.random((size, 20 - size, 1)).astype(np.float32)
            found = on_device(image, kernel, stride=stride, engine=engine, map=True)
            true = oracle.sad_map(image.tolist(), kernel.tolist(), (stride, stride), 1)
            np.testing.assert_allclose(found.map, true, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("metric", "engine"), EVERY)
@given(data=st.data())
@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_matches_are_those_of_the_cpu_ties_included(metric, engine, data):
    dtype = data.draw(st.sampled_from(sorted(SPAN)))
    if refused(metric, engine, dtype):
        return
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    height, width = data.draw(st.integers(4, 40)), data.draw(st.integers(4, 40))
    channels = data.draw(st.sampled_from([1, 3]))
    few = data.draw(st.booleans())  # values, so that windows are equal
    values = rng.integers(0, 2, (height, width, channels)) if few else None
    image = picture(rng, dtype, height, width, channels)
    image = image if values is None else values.astype(dtype)
    tall, wide = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    kernel = picture(rng, dtype, tall, wide, channels)
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    options = {"metric": metric, "stride": stride, "map": True, "top": 8, "overlap": 1}
    kernel.flat[0] = 1  # neither black nor, with what comes, flat
    if metric == "zncc":
        if kernel[:, :, 0].size == 1:
            return
        kernel.flat[-1] = 0
        if not (kernel != kernel[0, 0]).any():
            return
    found = on_device(image, kernel, engine=engine, **options)
    assert_same(found, match(image, kernel, device="cpu", **options), 1e-6)


@pytest.mark.parametrize(("metric", "engine"), EVERY)
def test_masks_and_what_is_not_visible(metric, engine, astronaut):
    def with_alpha(pixels, alpha):
        return Image.fromarray(np.dstack([pixels, alpha]), "RGBA")

    part = astronaut[100:180, 180:290]
    rows, cols = np.indices((24, 20))
    round_ = np.where((rows - 12) ** 2 + (cols - 10) ** 2 < 90, 255, 0).astype(np.uint8)
    soft = (rows * 10).astype(np.uint8)
    holes = np.full((80, 110), 255, np.uint8)
    holes[30:34, 50:90] = 0
    for image, mask in [(Image.fromarray(part), round_), (Image.fromarray(part), soft),
                        (with_alpha(part, holes), round_)]:  # fmt: skip
        if engine == "cuda" and metric == "ssd" and image.mode == "RGBA":
            continue  # refused
        kernel = with_alpha(part[40:64, 60:80], mask)
        options = {"metric": metric, "map": True, "min_visible": 0.4}
        found = on_device(image, kernel, engine=engine, **options)
        assert_same(found, match(image, kernel, device="cpu", **options), 1e-5)
        assert (found.best.x, found.best.y) == (60, 40)


@pytest.mark.parametrize(("metric", "engine"), EVERY)
def test_several_kernels_in_small_tiles(metric, engine, astronaut, monkeypatch):
    monkeypatch.setattr(tiling, "_TILE_SECONDS", 1e-4)
    kernels = [astronaut[y : y + h, 60:90].copy() for y, h in ((20, 25), (60, 25), (90, 28))]
    options = {"metric": metric, "map": True, "per_kernel": True}
    image = astronaut[:150, :200]
    found = on_device(image, kernels, engine=engine, **options)
    assert_same(found, match(image, kernels, device="cpu", **options), 1e-5)
    assert [m.score for m in found.matches if m.y in (20, 60, 90)] == [1.0] * 3


@needs_card
@pytest.mark.parametrize(("metric", "engine"), EVERY)
def test_a_card_that_is_almost_full(metric, engine, astronaut):
    kernel = astronaut[200:280, 100:180].copy()
    expected = match(astronaut, kernel, metric=metric, device="cpu", map=True)
    with memory_of_a_card(24 << 20):
        found = on_device(astronaut, kernel, metric=metric, engine=engine, map=True)
    assert_same(found, expected, 1e-5)


@needs_card
def test_a_picture_larger_than_the_memory_of_a_card(rng):
    image = rng.integers(0, 256, (6000, 7000), np.uint8)
    kernel = image[4000:4016, 5000:5016].copy()
    with memory_of_a_card(64 << 20):
        found = on_device(image, kernel, engine="cuda")
    assert found.matches == match(image, kernel, device="cpu").matches


@contextlib.contextmanager
def memory_of_a_card(size):
    """So many bytes beside what is in use."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + size) / total, 0)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
