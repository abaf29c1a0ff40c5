"""The engine `fft` by torch: the same scores within the same stated errors as by NumPy.

``cpu:0`` is the processor as torch alone knows it, so that no card is needed for what it computes;
where there is a card, it computes the same.
"""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest
import torch
from helpers.problems import CORRELATED, SPAN, brute, hits, problem, values
from helpers.truths import oracle_map
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from patchsim import match, metrics
from patchsim.engines import Bounds, Problem, fft
from patchsim.engines.common import visibility
from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.fft import costs
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import tiles
from patchsim.machine import devices
from patchsim.metrics import Kernel
from patchsim.numerics import overlap_save
from patchsim.planning import planner


@pytest.fixture(params=["cpu:0", "cuda:0"])
def device(request):
    if request.param == "cuda:0" and not torch.cuda.is_available():
        pytest.skip("torch sees no card")
    with devices.one_torch_thread():  # of small arrays more would only wait for each other
        yield request.param


def bounds(image, kernel, metric, device, stride=(1, 1), **options):
    work = problem(image, kernel, metric, stride, **options)._replace(device=device)
    assert fft.refuse(work) is None
    image.flags.writeable = False  # torch takes no such arrays, and none of its own may change it
    found = fft.prepare(kernel, work)(image)
    assert isinstance(found.map, np.ndarray)
    assert found.map.dtype == np.float64
    assert isinstance(found.error, float | np.ndarray)
    return found


def exact_scores(image, kernel, metric, stride=(1, 1), *weighing):
    score = metrics.exact(image, kernel, metric, SPAN[image.dtype.name], *weighing)
    rows, cols = tiles.map_shape(image.shape[:2], kernel.shape[:2], stride)
    return [[score(r * stride[0], c * stride[1]) for c in range(cols)] for r in range(rows)]


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (7, 4)])
def test_scores_lie_within_their_stated_error_of_the_oracle(
    metric, dtype, channels, stride, device, rng
):
    image, kernel = values(rng, dtype, 15, 18, channels), values(rng, dtype, 5, 6, channels)
    image[:7, :8] = image[0, 0]  # flat
    image[8:, 9:] = 0
    truth = oracle_map(metric, image, kernel, stride)
    found = bounds(image, kernel, metric, device, stride)
    assert hits(found, truth).all()
    assert np.max(found.error) <= 1e-5
    if metric == "zncc":
        assert found.map[0, 0] == 0
        assert found.error[0, 0] == 0
    if dtype in metrics.INTEGER_RANGE:
        exact = bounds(image, kernel, metric, device, stride, exact=True)
        assert np.max(exact.error) == 0
        np.testing.assert_array_equal(exact.map, exact_scores(image, kernel, metric, stride))


@pytest.mark.parametrize("metric", ["sad", *CORRELATED])
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("weighing", ["none", "pixels", "values"])
@pytest.mark.parametrize("seen", [False, True])
def test_weights_and_what_is_visible(metric, dtype, weighing, seen, device, rng):
    stride = 1, 2
    image, kernel = values(rng, dtype, 17, 21, 2), values(rng, dtype, 5, 6, 2)
    image[:9, :9] = image[0, 0]  # flat
    weights = levels = None
    options = {"tolerance": 0.02 if metric == "sad" else 0.0}
    if weighing != "none":
        weights = rng.integers(0, 4, (5, 6, 2)[: 2 if weighing == "pixels" else 3], np.uint8)
        options |= {
            "weight_sum": int(weights.sum()),
            "max_weight": 3,
            "has_channel_weights": weights.ndim == 3,
        }
    work = problem(image, kernel, metric, stride, **options)._replace(device=device)
    if seen:
        levels = rng.integers(0, 4, (17, 21), np.uint8)
        levels[:, 14:] = 0
        work = work.where_visible(3, 0.3)
    if metric == "sad" and dtype != "uint8":
        assert fft.refuse(work) == f"its sad takes uint8, not {dtype}"
        return
    truth = oracle_map(metric, image, kernel, stride, weights, levels, 0.3)

    def scored(work):
        if seen:
            return visibility.prepare(fft, kernel, work, weights)(image, levels)
        return fft.prepare(kernel, work, weights)(image)

    found = scored(work)
    if seen:
        assert found.hidden.any()
        assert not found.hidden.all()
    visible = None if levels is None else metrics.Visibility(levels, 3)
    exact = np.array(exact_scores(image, kernel, metric, stride, weights, visible))
    exact = np.where(found.hidden, 0.0, exact) if seen else exact
    assert hits(found, exact).all()
    np.testing.assert_allclose(exact, truth, rtol=0, atol=1e-12)
    if dtype in metrics.INTEGER_RANGE and metric != "sad":
        to_the_last_digit = scored(work._replace(exact=True))
        assert np.max(to_the_last_digit.error) == 0
        np.testing.assert_array_equal(to_the_last_digit.map, exact)
    doubtful = np.broadcast_to(found.error == 2, truth.shape)
    assert doubtful.sum() < truth.size / 2
    most = np.max(np.where(doubtful, 0, found.error))
    assert most <= (0.0205 if metric == "sad" else 1e-5)


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_what_single_floats_would_blur_is_transformed_in_double(metric, device, rng, monkeypatch):
    made = []
    rfft2 = torch.fft.rfft2
    monkeypatch.setattr(torch.fft, "rfft2", lambda a, *s: made.append(a.dtype) or rfft2(a, *s))
    image, kernel = values(rng, "uint8", 60, 60, 1), values(rng, "uint8", 40, 40, 1)
    single = bounds(image, kernel, metric, device)
    assert set(made) == {torch.float32}
    assert 1e-7 < np.max(single.error) <= 1e-5
    assert hits(single, brute(metric, image, kernel)).all()
    # Near 60,000 of 65,535 with a contrast of 4: float32 alone is off by 1e-3 here.
    image = (60_000 + rng.integers(0, 5, (80, 90, 1))).astype(np.uint16)
    image[:40] = values(rng, "uint16", 40, 90, 1)
    kernel = image[50:71, 30:47].copy()
    made.clear()
    double = bounds(image, kernel, metric, device)
    assert set(made) == {torch.float64}
    assert np.max(double.error) <= 1e-8
    assert hits(double, brute(metric, image, kernel)).all()


def test_16_bit_sums_beyond_64_bits(device, rng):
    # n sum I^2 of 300x300 full-range 16-bit pixels is about 2^65.
    image = (np.indices((302, 303)).sum(0) % 2 * 65535).astype(np.uint16)[..., None]
    image[:, 151:] = values(rng, "uint16", 302, 152, 1)
    kernel = image[1:301, 2:302].copy()
    for metric in CORRELATED:
        assert hits(bounds(image, kernel, metric, device), brute(metric, image, kernel)).all()


@pytest.mark.parametrize("offset", [300.0, 1e5, 3e7])
def test_floats_far_from_0(offset, device, rng):
    image = rng.random((30, 40, 1)) + offset
    kernel = image[5:10, 5:12].copy()
    for metric in CORRELATED:
        truth = np.array(exact_scores(image, kernel, metric))
        assert hits(bounds(image, kernel, metric, device), truth).all()


@pytest.mark.parametrize("metric", ["sad", *CORRELATED])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("exact", [False, True])
def test_kernels_that_share_a_tile(metric, dtype, exact, device, rng):
    if dtype == "float32" and (exact or metric == "sad"):
        pytest.skip("the engine refuses it")
    image = values(rng, dtype, 40, 50, 3)
    sizes = [(8, 9), (8, 9), (11, 6), (1, 2)]
    kernels = [values(rng, dtype, *size, 3) for size in sizes]
    exact = exact and metric != "sad"
    options = {"tolerance": 0.02 if metric == "sad" else 0.0, "exact": exact, "kernel_count": 4}
    problems = [
        problem(image, kernel, metric, (2, 1), **options)._replace(device=device)
        for kernel in kernels
    ]
    shared, before = Shared(image, image.shape[:2]), image.copy()
    for kernel, work, score in zip(
        kernels, problems, fft.prepare_together(list(map(Kernel, kernels)), problems), strict=True
    ):
        rows, cols = work.map_shape
        found = score(shared, (rows - 1, cols))  # as at the edge of a larger kernel's map
        truth = np.array(exact_scores(image, kernel, metric, (2, 1)))[:-1]
        if exact:
            np.testing.assert_array_equal(found.map, truth)
        assert hits(found, truth).all()
        assert np.max(found.error) <= (0.0205 if metric == "sad" else 1e-5)
    np.testing.assert_array_equal(image, before)


def test_the_image_is_uploaded_once_for_all_kernels(device, rng, monkeypatch):
    uploaded = []
    from_numpy = torch.from_numpy
    image = values(rng, "uint8", 40, 50, 3)
    kernels = [values(rng, "uint8", 8, 9, 3) for _ in range(3)]
    work = problem(image, kernels[0], "zncc", kernel_count=3)._replace(device=device)
    scores = fft.prepare_together(list(map(Kernel, kernels)), [work] * 3)
    monkeypatch.setattr(torch, "from_numpy", lambda a: uploaded.append(a.nbytes) or from_numpy(a))
    shared = Shared(image, image.shape[:2])
    for score in scores:
        score(shared, work.map_shape)
    assert uploaded == [image.nbytes]


class Peak(TorchDispatchMode):
    """The most bytes that tensors took at a time, apart from what an operation takes within."""

    def __init__(self):
        super().__init__()
        self.live, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.live:
                    self.live[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, storage._cdata)
        self.peak = max(self.peak, sum(self.live.values()))
        return made


@pytest.mark.parametrize("metric", ["sad", *CORRELATED])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("mask", ["", "mask", "channels"])
@pytest.mark.parametrize("size", [(300, 320, 48), (300, 300, 5), (350, 350, 200)])
def test_a_tile_takes_as_much_memory_as_planned(metric, dtype, mask, size, device, rng):
    if (metric, dtype) == ("sad", "float64"):
        pytest.skip("the engine refuses it")
    height, width, side = size
    image = values(rng, dtype, height, width, 3)
    if not mask:
        # Whether transforms need float64 depends on the picture: here they do, for all metrics.
        image[...] = SPAN[dtype] * rng.integers(0, 2, image.shape)
        if metric in ("ncc", "zncc"):
            image[:, width // 8 :] = 0
            image[::7, width // 8 :: 5] = SPAN[dtype] / 255
    kernel = image[9 : 9 + side, 7 : 7 + side].copy()
    weights, options = None, {"tolerance": 0.02 if metric == "sad" else 0.0}
    if mask:
        weights = rng.integers(0, 4, (side, side, 3)[: 2 if mask == "mask" else 3], np.uint8)
        options |= {
            "weight_sum": int(weights.sum()),
            "max_weight": 3,
            "has_channel_weights": weights.ndim == 3,
        }
    work = problem(image, kernel, metric, **options)._replace(device=device)
    with Peak() as taken:
        fft.prepare(kernel, work, weights)(image)
    planned = fft.working_bytes(work, *work.map_shape) + Bounds.estimate_bytes(*work.map_shape)
    # What transforms take within is not seen here.
    seen = planned - costs.transform_bytes(TileSizes(work, *work.map_shape))
    assert 0.75 <= seen / taken.peak <= 1.25
    assert taken.peak <= planned
    if device == "cuda:0":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        fft.prepare(kernel, work, weights)(image)
        assert torch.cuda.max_memory_allocated() - before <= planned


def accelerated(image, kernel, metric, dtype="uint8", device="cuda:0", **options):
    return Problem(image, kernel, dtype, (1, 1), metric, 255.0, device, 1, **options)


def test_blocks_on_an_accelerator_are_larger_and_transform_less():
    for side in (3, 64, 300):
        # Exactly and with weights, which the CPU transforms in blocks of this kind, too.
        work = accelerated(
            (20_000, 30_000, 3), (side, side, 3), "zncc", weight_sum=side * side, exact=True
        )
        lengths, transformed = {}, {}
        for name in ("cpu", "cuda:0"):
            step = fft.best_tile(work._replace(device=name))
            lengths[name] = [overlap_save.transform_length(cells + side - 1) for cells in step]
            count = math.prod(
                -(-total // cells) for total, cells in zip(work.map_shape, step, strict=True)
            )
            transformed[name] = count * math.prod(lengths[name])
        assert max(lengths["cpu"]) <= 1280 < min(lengths["cuda:0"]) <= 4096
        assert transformed["cuda:0"] < transformed["cpu"]
    # One that is larger than a block has its own.
    huge = accelerated((20_000, 20_000, 1), (9000, 9000, 1), "ncc")
    assert min(fft.best_tile(huge)) >= 4500


@pytest.mark.parametrize("metric", ["sad", *CORRELATED])
def test_seconds_on_an_accelerator_are_those_of_what_is_moved_at_the_least(metric):
    work = accelerated((8000, 9000, 3), (64, 64, 3), metric, tolerance=0.02)
    bus = (8000 * 9000 * 3 + 2 * 8 * math.prod(work.map_shape)) / 2e10
    transforms = 8000 * 9000 * 3 * 8 * 6 / 2.4e12
    assert bus + transforms < fft.seconds(work) < 10 * (bus + transforms)
    shared = fft.seconds(work._replace(kernel_count=50))
    assert bus / 4 < shared < fft.seconds(work)
    large = work._replace(image=(16_000, 18_000, 3))
    assert fft.seconds(large) == pytest.approx(4 * fft.seconds(work), rel=0.2)


def test_a_long_search_is_planned_for_the_accelerator_that_is_there(monkeypatch):
    monkeypatch.setattr(devices, "accelerators", lambda: ["cuda:0", "mps:0"])
    monkeypatch.setattr(devices, "free_memory", lambda _name: None)
    work = accelerated((30_000, 30_000, 3), (100, 100, 3), "zncc", device="cpu")
    found = planner.make(work, engine="auto", device="auto", memory=1 << 40, resident=0)
    assert (found.engine, found.problem.device) == ("fft", "cuda:0")
    rows = [line.split(maxsplit=3) for line in str(found).splitlines()]
    why = "its sums need 64 bits, which mps:0 does not have; use --device cpu"
    assert ["fft", "mps:0", "-", why] in rows


@pytest.mark.parametrize("metric", ["sad", *CORRELATED])
@pytest.mark.parametrize(("masked", "count"), [(False, 1), (False, 3), (True, 3)])
def test_matches_are_those_of_the_cpu(metric, masked, count, device, rng, monkeypatch, astronaut):
    image = astronaut[:200, :240].copy()
    image[100:130, 60:100] = image[10:40, 30:70]
    kernels = [image[10 * n : 10 * n + 30, 30:70].copy() for n in range(1, count + 1)]
    options = {"metric": metric, "engine": "fft", "top": 6, "map": True, "margin": False}
    options["tolerance"] = 0.02 if metric == "sad" else 0.0
    if masked:
        options["mask"] = np.where(rng.random((30, 40)) < 0.8, 255, 0).astype(np.uint8)
    expected_report = match(image, kernels, **options)
    monkeypatch.setattr(devices, "require_all", lambda _name: device)
    if device == "cpu:0":
        monkeypatch.setattr(devices, "free_memory", lambda _name: None)
    tiles_of = []
    for memory in ("1GB", "5MB"):
        found = match(image, kernels, device="cuda", memory=memory, **options)
        assert {each.problem.device for each in found.plans} == {device}
        assert found.matches == expected_report.matches
        assert max(each.tolerance for each in found.kernels) <= (
            0.0205 if metric == "sad" else 1e-5
        )
        tiles_of.append(found.plans[0].tile)
    assert tiles_of[0] != tiles_of[1]
