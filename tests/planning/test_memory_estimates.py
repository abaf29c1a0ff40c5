"""The memory that plans estimate, against the measured peak: within 25 % of each other."""

from __future__ import annotations

import gc
import json
import math
import subprocess
import sys
import threading
import tracemalloc
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import peak_memory
from helpers.problems import CORRELATED, problem, values
from helpers.tile_memory import Search
from scipy import ndimage

from patchsim import match
from patchsim.engines import Bounds, loading
from patchsim.engines.common import fused, fused_weighted, kernel_parts
from patchsim.engines.common.fused_costs import FORMATS
from patchsim.engines.fft import weighted
from patchsim.engines.problem import Reading
from patchsim.events import Observer
from patchsim.execution import runner
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.machine import extensions
from patchsim.machine.threads import in_order, results_held
from patchsim.matches import nms
from patchsim.metrics import Kernel
from patchsim.planning import batching, candidates, planner
from patchsim.ranking import score_memory
from patchsim.ranking.block_cache import BlockCache
from patchsim.ranking.block_maxima import BlockMaxima
from patchsim.ranking.block_queue import BlockQueue
from patchsim.ranking.score_map import ScoreMap
from patchsim.search import windows
from patchsim.search.prepared import PreparedKernels

MEMORY = 1 << 30
DTYPES = ("uint8", "uint16", "float32")


@pytest.fixture(scope="module", autouse=True)
def _small_heap():
    """Spare the collections before each measurement what earlier modules left, such as torch."""
    gc.collect()
    gc.freeze()


@contextmanager
def numpy_peak():
    """Measure what NumPy and Python allocate; the result is in `bytes` afterwards."""
    gc.collect()
    peak = SimpleNamespace(bytes=0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def assert_close(estimate, measured):
    assert 0.75 <= estimate / measured <= 1.25, f"{estimate:,} estimated, {measured:,} measured"


def planned(engine, metric, image, side, memory=MEMORY):
    """A kernel, its plan on one thread, and the budget of its scores."""
    kernel = image[20 : 20 + side, 30 : 30 + side].copy()
    found = problem(
        image, kernel, metric, map_wanted=engine != "pruned",
        tolerance=0.02 if engine == "fft" else 0.0,
    )  # fmt: skip
    refusal = loading.load(engine).refuse(found)
    if refusal:
        pytest.skip(refusal)
    budget = score_memory.budget_of([found], memory, kept=False)
    plan = planner.make(
        found, engine=engine, device="cpu", memory=memory,
        resident=budget.resident, resident_without_map=budget.resident_without_map,
    )  # fmt: skip
    return Kernel(kernel), plan, budget


def search(plan, image, kernel, cache=None):
    block_cache = None if cache is None else BlockCache(cache)
    scored = windows.windows(
        [plan],
        image,
        [kernel],
        keeps_map=False,
        advance=lambda _tile: None,
        block_cache=block_cache,
    )
    nms.resolve(scored, [(0, 0)], top=3, threshold=None, overlap=0.3)
    return scored[0]


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_search_by_simd(channels, dtype, side, rng):
    image = values(rng, dtype, 500, 480, channels)
    kernel, plan, _ = planned("simd", "sad", image, side)
    search(plan, image, kernel)
    with numpy_peak() as peak:
        search(plan, image, kernel)
    assert_close(plan.peak, peak.bytes + scratch_of_sums(plan))


def scratch_of_sums(plan):
    """What C allocates for the sums of a tile."""
    height, width, channels = plan.problem.kernel
    return extensions.extension("_sad").scratch(
        format=FORMATS[plan.problem.dtype],
        image_shape=(*tiles.extent(plan.tile, (height, width), plan.problem.stride), channels),
        kernel_shape=plan.problem.kernel,
        stride=plan.problem.stride,
        max_weight=plan.problem.max_weight if plan.problem.max_weight > 1 else 0,
    )


WEIGHTED = [
    Search("fft", metric, dtype, side, mask=mask)
    for metric in CORRELATED
    for dtype in DTYPES
    for side in (8, 32)
    for mask in ("mask", "channels")
]
TRANSFORMED = [
    *(Search("fft", "sad", "uint8", side, tolerance=0.02) for side in (8, 32)),
    *(
        Search("fft", metric, dtype, side, exact=True, extent=(500, 480))
        for metric in CORRELATED
        for dtype in ("uint8", "uint16")
        for side in (8, 32)
    ),
    # Of a large kernel, and in both precisions.
    *(
        Search("fft", metric, dtype, 180, is_stark=True)
        for metric in CORRELATED
        for dtype in DTYPES
    ),
    *(
        Search("fft", metric, "float64", side, tolerance=4e-5, is_stark=True)
        for metric in CORRELATED
        for side in (8, 32)
    ),
    *(
        Search("fft", metric, "float64", 16, mask=mask, channels=1, extent=(500, 480))
        for metric in CORRELATED
        for mask in ("", "mask")
    ),
    *WEIGHTED,
]
HIDDEN = [
    *(
        Search(engine, "sad", dtype, side, mask=mask, opaque=opaque, tolerance=0.02)
        for engine, dtypes in (("fft", ("uint8",)), ("simd", DTYPES))
        for dtype in dtypes
        for side in (8, 32)
        for mask in ("", "shades")
        for opaque in (1, 255)
    ),
    *(
        Search("fft", metric, dtype, side, mask=mask, opaque=opaque)
        for metric in CORRELATED
        for dtype in ("uint8", "float32")
        for side, mask in ((32, ""), (8, "shades"), (24, "channels"))
        for opaque in (1, 255)
    ),
]
TOGETHER = [
    *(
        Search("fft", "sad", "uint8", side, tolerance=0.02, opaque=opaque)
        for side in (8, 32)
        for opaque in (0, 255)
    ),
    *(
        Search("fft", metric, "uint8", side, exact=True, mask=mask, opaque=opaque)
        for metric in CORRELATED
        for side in (8, 32)
        for mask in ("", "mask")
        for opaque in (0, 255)
    ),
    *(
        Search("fft", metric, "float64", 8, tolerance=4e-5, is_stark=True)
        for metric in ("ncc", "zncc")
    ),
]
TOGETHER = [replace(search, count=3, extent=(500, 480)) for search in TOGETHER]
# Their transforms could need float64, as those of stark pictures do, and do not.
IN_SINGLE = [Search("fft", metric, "uint8", 180) for metric in ("ncc", "zncc")]


class Copied:
    """An image whose tiles are copies of its pixels, as if each were read from a file."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __getitem__(self, source):
        return self.pixels[source].copy()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_tiles_that_are_read_are_counted_whole_and_their_scores_in_parts(dtype, rng):
    image = values(rng, dtype, 5000, 900, 1)
    kernel = image[20:52, 30:62].copy()
    asked = problem(image, kernel, "sad")
    asked = asked._replace(reading=Reading("as copies", image.itemsize))
    plan = planner.make(asked, engine="simd", device="cpu", memory=1 << 30, resident=0)
    scorers = runner.prepare_together([plan], [Kernel(kernel)])

    def score():
        for _ in runner.run_together([plan], Copied(image), scorers, lambda *_: None):
            pass

    score()
    with numpy_peak() as peak:
        score()
    assert_close(plan.working, peak.bytes)
    assert math.prod(candidates.piece_of(plan.chosen, plan.tile)) < math.prod(plan.tile) / 8


@pytest.fixture
def without_c(monkeypatch):
    """Without the pass in C, so that arrays of NumPy and scipy hold everything."""
    monkeypatch.setattr(kernel_parts, "extension", lambda: None)
    batching.forget()


def measured(search):
    """The estimate and the peak of scoring a map in tiles, in bytes."""
    refusal = loading.load(search.engine).refuse(search.problem)
    if refusal:
        pytest.skip(refusal)
    plan, score = search.prepared()
    score()
    with numpy_peak() as peak:
        score()
    in_c = scratch_of_sums(plan) if search.engine == "simd" else 0
    return plan.working, peak.bytes + in_c


@pytest.mark.parametrize("search", dict.fromkeys((*TRANSFORMED, *HIDDEN, *TOGETHER)), ids=str)
def test_tiles_of_arrays(search, request):
    # What is all visible for sad goes through C, as planned.
    if search.metric != "sad" or not search.opaque:
        request.getfixturevalue("without_c")
    assert_close(*measured(search))


@pytest.mark.parametrize("search", IN_SINGLE, ids=str)
@pytest.mark.usefixtures("without_c")
def test_transforms_that_need_no_float64_take_no_more_than_planned(search):
    assert replace(search, is_stark=True) in TRANSFORMED
    estimate, peak = measured(search)
    assert peak <= estimate


@pytest.mark.parametrize(
    ("mask", "channels"), [("mask", 1), ("mask", 3), ("channels", 3), ("uneven", 3)]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("opaque", [0, 255])
@pytest.mark.usefixtures("without_c")
def test_sums_that_fit_64_bits_and_others(opaque, dtype, mask, channels, monkeypatch):
    """Whether they do depends on the picture and the weights."""
    fit = []

    def watched(*sums):
        found = scored_whole(*sums)
        fit.append(found is not None)
        return found

    scored_whole = weighted._whole_zncc
    monkeypatch.setattr(weighted, "_whole_zncc", watched)
    search = Search("fft", "zncc", dtype, 32, mask=mask, channels=channels, opaque=opaque)
    assert_close(*measured(search))
    if not opaque:
        assert all(fit) == (mask != "uneven" or dtype == "uint8")
    monkeypatch.setattr(weighted, "_whole_zncc", lambda *_: None)
    assert_close(*measured(search))


UNFOLD = [
    Search("unfold", "sad", dtype, side, extent=(480, 460)) for dtype in DTYPES for side in (8, 24)
]
# In a smaller map more than a fifth would be a kernel's transforms in float64, which are kept from
# the first tile on that is all visible and needs them; no tile here is.
SEEN_IN_PART = (1300, 1280)
# Windows of little contrast beside black and white, made in float64, and tiles without these.
IN_C = [
    *(
        Search("fft", metric, dtype, side, count=count, is_stark=True)
        for metric in ("ncc", "zncc")
        for dtype in (*DTYPES, "float64")
        for side in (8, 32)
        for count in (1, 3)
    ),
    *(
        Search("fft", "ssd", dtype, side, tolerance=0.02)
        for dtype in (*DTYPES, "float64")
        for side in (8, 32)
    ),
    # As many kernels as one call takes, and more.
    *(
        Search("fft", metric, "uint8", side, tolerance=0.02, count=count)
        for metric in ("ssd", "sad")
        for side, count in ((32, 8), (160, 9))
    ),
    *(
        Search("fft", metric, dtype, side, mask=mask, count=count, extent=(900, 880))
        for metric in CORRELATED
        for dtype in ("uint8", "float32")
        for side, mask, count in ((8, "mask", 1), (32, "channels", 1), (24, "shades", 3))
    ),
    *(
        Search("fft", metric, dtype, side, mask=mask, opaque=255, count=count, extent=SEEN_IN_PART)
        for metric in CORRELATED
        for dtype in ("uint8", "float32")
        for side, mask, count in ((8, "", 1), (32, "channels", 1), (24, "shades", 3))
    ),
    *(
        Search("simd", metric, dtype, side, extent=(500, 1200))
        for metric in CORRELATED
        for dtype in ("uint8", "uint16", "float32")
        for side in (8, 32)
    ),
    Search("simd", "zncc", "uint8", 96, extent=(500, 1200)),
]


@pytest.fixture(scope="module")
def resident_memory():
    """Estimate and peak of each case with what C allocates, measured in a process of its own."""
    if not peak_memory.is_measurable():
        pytest.skip("memory beside NumPy's is measured by Linux and glibc alone")
    cases = [search for search in (*UNFOLD, *IN_C) if not refusal(search)]
    given = json.dumps([asdict(search) for search in cases])
    command = [sys.executable, str(Path(peak_memory.__file__)), given]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(zip(cases, json.loads(done.stdout), strict=True))


def refusal(search):
    """Why an extension in C does not take the case, or None."""
    if search.engine == "unfold":
        return None
    asked = search.problem
    if search.mask or search.opaque:
        return fused_weighted.refusal(asked)
    return fused.refusal(asked, is_direct=search.engine == "simd")


@pytest.mark.parametrize("search", [*UNFOLD, *IN_C], ids=str)
def test_tiles_with_what_c_and_torch_allocate(search, resident_memory):
    if search not in resident_memory:
        pytest.skip(refusal(search))
    assert_close(*resident_memory[search])


def leave_no_time_for_bounds(monkeypatch):
    """Let direct searches take over at once."""
    of_blocks = planner.Plan.seconds_of

    def seconds_of(plan, rows, cols):
        is_whole = (rows, cols) == plan.problem.map_shape
        return 0.0 if is_whole else of_blocks(plan, rows, cols)

    monkeypatch.setattr(planner.Plan, "seconds_of", seconds_of)


@pytest.mark.parametrize("content", ["noise", "smooth", "repeated"])
@pytest.mark.parametrize("side", [8, 32, 64])
@pytest.mark.parametrize(("metric", "engine"), [("sad", "simd"), ("ssd", "fft")])
@pytest.mark.usefixtures("without_c")
def test_a_search_without_a_map_that_a_direct_one_takes_over(
    metric, engine, side, content, rng, monkeypatch
):
    image = values(rng, "uint8", 700, 680, 3)
    if content == "smooth":
        image = smooth(image)
    elif content == "repeated":
        image = np.tile(image[:2, :2], (350, 340, 1))
    kernel, plan, _ = planned("pruned", metric, image, side)
    assert plan.exact_plan.engine == plan.direct_plan.engine == engine
    if content == "repeated":  # many windows are the best, and none is equal to the kernel
        kernel = Kernel(kernel.pixels // 2 + 40)
    leave_no_time_for_bounds(monkeypatch)
    search(plan, image, kernel)
    with numpy_peak() as peak:
        windows_left = search(plan, image, kernel)
    assert windows_left.blocks_evaluated == windows_left.block_count
    # Scores of `ssd` have errors, and only where many could be the best are they made exact, too,
    # in float64.
    if metric == "sad" or content == "repeated" or side == 8:
        assert_close(plan.peak, peak.bytes)
    assert peak.bytes <= plan.peak


@pytest.mark.parametrize("most", [2, 32])
@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.usefixtures("without_c")
def test_several_kernels_that_stay_prepared_for_exact_scores(side, most, rng, monkeypatch):
    monkeypatch.setattr(planner, "MOST_PREPARED", most)
    image = np.tile(values(rng, "uint8", 2, 2, 3), (200, 190, 1))  # many windows are the best
    kernels = [image[:side, :side] // 2 + 40 + number for number in range(6)]
    problems = [problem(image, one, "ssd", map_wanted=False) for one in kernels]
    budget = score_memory.budget_of(problems, MEMORY, kept=False)
    (group,) = batching.make(
        problems, engine="pruned", device="cpu", memory=MEMORY,
        resident=budget.resident, resident_without_map=budget.resident_without_map,
    )  # fmt: skip
    plans = group.plans
    leave_no_time_for_bounds(monkeypatch)
    assert plans[0].exact_plan.engine == "fft"

    def search_all():
        scored = windows.windows(
            plans, image, [Kernel(one) for one in kernels], keeps_map=False, advance=lambda _: None
        )
        nms.resolve(scored, [(i, 0) for i in range(6)], top=18, threshold=None, overlap=0.3)
        for one in scored:
            one.best(-1.0)
        return scored

    search_all()
    with numpy_peak() as peak:
        scored = search_all()
    assert all(one.blocks_evaluated for one in scored)
    assert_close(group.common.peak, peak.bytes)
    assert peak.bytes <= group.common.peak


@pytest.mark.parametrize("content", ["noise", "smooth", "repeated"])
@pytest.mark.parametrize("takes_over", [False, True])
@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_kernels_whose_score_maps_find_no_room_are_searched_for_by_bounds(
    dtype, metric, takes_over, content, rng, monkeypatch
):
    """Few blocks have their scores kept then, and direct searches keep block maxima."""
    image = {
        "noise": values(rng, "uint8", 1100, 1000, 1),
        "smooth": smooth(values(rng, "uint8", 1100, 1000, 1)),
        "repeated": np.tile(values(rng, "uint8", 2, 2, 1), (550, 500, 1)),
    }[content]
    image = image.astype(np.float32) / 255 if dtype == "float32" else image.astype(dtype)
    image *= 257 if dtype == "uint16" else 1
    crops = [image[90 * i :, 70 * i :][:32, :32] for i in range(9)]
    # The last three are in no part of it.
    kernels = [*crops[:6], *(image.max() - crop // 2 for crop in crops[6:])]
    problems = [problem(image, one, metric, map_wanted=False) for one in kernels]
    if takes_over:
        leave_no_time_for_bounds(monkeypatch)

    def search_all(memory):
        budget = score_memory.budget_of(problems, memory, kept=False)
        (group,) = batching.make(
            problems, engine="pruned", device="cpu", memory=memory,
            resident=budget.resident, resident_without_map=budget.resident_without_map,
        )  # fmt: skip
        scored = windows.windows(
            group.plans, image, [Kernel(one) for one in kernels], keeps_map=False,
            advance=lambda _: None, prepared=PreparedKernels(),
            block_cache=None if budget.cache is None else BlockCache(budget.cache, len(kernels)),
        )  # fmt: skip
        found = nms.resolve(scored, [(i, 0) for i in range(9)], top=18, threshold=None, overlap=0.3)
        return group, budget, scored, found

    _, ample, _, expected = search_all(MEMORY)
    assert ample.cache is None
    memory = 36 << 20
    search_all(memory)
    with numpy_peak() as peak:
        group, budget, scored, found = search_all(memory)
    assert budget.cache is not None
    assert found == expected
    assert peak.bytes <= group.common.peak <= memory
    if takes_over:
        assert any(one.blocks_evaluated == one.block_count for one in scored)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("side", [32, 64])
def test_a_search_without_a_map_by_bounds_alone(side, metric, rng):
    image = smooth(values(rng, "uint8", 700, 680, 3))[::-1]  # not in one piece
    kernel, plan, _ = planned("pruned", metric, image, side)
    plan = replace(plan, exact_plan=None, direct_plan=None)
    search(plan, image, kernel)
    with numpy_peak() as peak:
        search(plan, image, kernel)
    assert_close(plan.peak - of_direct_search(plan), peak.bytes)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("is_view", [False, True])
def test_a_search_without_a_map_in_a_copy_of_8_bits(is_view, dtype, metric, rng):
    image = smooth(values(rng, "uint8", 700, 680, 3)) + values(rng, dtype, 700, 680, 3) // 9
    image = image.astype(dtype)
    if is_view:
        image = image[::-1]
    kernel, plan, _ = planned("pruned", metric, image, 32)
    plan = replace(plan, exact_plan=None, direct_plan=None)
    search(plan, image, kernel)
    with numpy_peak() as peak:
        search(plan, image, kernel)
    assert_close(plan.peak - of_direct_search(plan), peak.bytes)


def of_direct_search(plan):
    """The bytes by which scores of all windows take more than bounds, which are of 16 bits."""
    shape = plan.problem.map_shape
    return ScoreMap.estimate_bytes(shape) - 2 * math.prod(shape)


def smooth(image):
    return ndimage.gaussian_filter(image.astype(float), (5, 5, 0), output=np.uint8)


@pytest.mark.parametrize("capacity", [8, 60])
def test_maxima_of_blocks_and_the_cache(capacity, rng):
    def rescore(wanted):
        for tile in wanted:
            yield tile, Bounds(scores)

    scores, shape = rng.random((BLOCK, BLOCK)), (10 * BLOCK, 30 * BLOCK)
    with numpy_peak() as peak:
        cache = BlockCache(BlockCache.estimate_bytes(capacity))
        maxima = BlockMaxima(shape, (3, 3), (1, 1), lambda _y, _x: 0.5, rescore, cache)
        for tile in tiles.split(shape, (BLOCK, BLOCK)):
            maxima.put(tile, Bounds(scores, 1e-2))
        maxima.best(-1.0)  # all blocks could be the best, so that more are opened than are kept
    assert maxima.blocks_evaluated > capacity
    estimate = BlockMaxima.estimate_bytes(shape) + BlockCache.estimate_bytes(capacity)
    assert_close(estimate, peak.bytes)


def test_the_queue_of_many_blocks(rng):
    bounds = rng.random((1000, 1500))
    with numpy_peak() as peak:
        queue = BlockQueue(bounds.copy())
        assert queue.first is not None
    assert_close(BlockQueue.estimate_bytes(bounds.size), peak.bytes)


@pytest.mark.parametrize("side", [4, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_search_in_less_memory_than_its_scores_takes_no_more_than_planned(dtype, side, rng):
    image = values(rng, dtype, 700, 680, 3)
    kernel, plan, budget = planned("simd", "sad", image, side, memory=4 << 20)
    assert budget.cache is not None
    search(plan, image, kernel, budget.cache)
    with numpy_peak() as peak:
        search(plan, image, kernel, budget.cache)
    peak.bytes += scratch_of_sums(plan)
    # The cache may fill: how many blocks are opened depends on the scores. The matches are ranked
    # when the tiles are done.
    assert_close(plan.working, peak.bytes)
    assert peak.bytes <= plan.peak <= 4 << 20


@pytest.mark.parametrize("parallel", [2, 3])
def test_as_many_results_are_held_as_the_estimate_counts(parallel):
    """The first item ends when all others that may begin have ended."""
    limit, done = results_held(parallel), []
    others = threading.Event()

    def work(item):
        if item == 0:
            assert others.wait(10)
        else:
            done.append(item)
            if len(done) == limit - 1:
                others.set()
        return item

    results = in_order(work, range(20), parallel)
    assert next(results) == 0
    assert len(done) == limit - 1
    assert list(results) == list(range(1, 20))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_tiles_on_several_threads_take_no_more_than_planned(dtype, rng):
    image = values(rng, dtype, 900, 680, 3)
    kernel, plan, _ = planned("simd", "sad", image, 24)
    plan = replace(plan, tile=(150, 657), parallel=2)
    plan = replace(plan, working=planner.considered.working_bytes(plan.chosen, plan.tile, 2))
    search(plan, image, kernel)
    with numpy_peak() as peak:
        search(plan, image, kernel)
    assert peak.bytes <= plan.peak


class Plans(Observer):
    """Keeps the plans of a search."""

    def __init__(self):
        self.plans = []

    def planned(self, plan, _kernels):
        self.plans.append(plan)


@pytest.mark.parametrize(
    ("dtype", "channels", "options"),
    [
        ("uint8", 3, {}),
        ("uint16", 1, {}),
        ("float32", 3, {}),
        ("uint8", 3, {"padding": "edge"}),
        ("uint8", 1, {"invert": True}),
    ],
    ids=str,
)
def test_a_search_with_few_windows_holds_the_pictures(dtype, channels, options, rng, tmp_path):
    path = tmp_path / "image.npy"
    image = values(rng, dtype, 1500, 1400, channels)
    np.save(path, image)
    kernel = image[50:66, 60:76].copy()
    del image
    seen = Plans()
    arguments = {"stride": 32, "engine": "simd", "margin": False, "threads": 1, **options}
    match(path, kernel, observer=seen, **arguments)
    with numpy_peak() as peak:
        match(path, kernel, observer=seen, **arguments)
    plan = seen.plans[0]  # whose exact plan, for blocks, has nothing to do in so small a map
    assert_close(plan.resident + plan.working, peak.bytes)
