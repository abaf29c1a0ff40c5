"""Ways of searching that are left out for some images after one in which they gave up."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from patchsim import Matcher, match
from patchsim.engines import pruned
from patchsim.matching import ways
from patchsim.matching.ways import Directly
from patchsim.metrics import Kernel
from patchsim.search import contender_share
from patchsim.search.prepared import KeptKernels


@pytest.fixture
def clock(monkeypatch):
    """Have a clock that stands still until it is moved."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(ways.time, "perf_counter", lambda: now.seconds)
    return now


def searches(clock, *, bounds_take, blocks, directly_takes=1.0, images=40):
    """Return the numbers of the images that were searched by bounds."""

    def directly(_image, _started):
        clock.seconds += directly_takes
        return "a report"

    by_bounds, either = [], Directly(lambda: directly)
    for number in range(images):
        search = either.for_next()
        if search is not None:
            search(None, clock.seconds)
        else:
            by_bounds.append(number)
            either.tell(blocks, bounds_take)
    return by_bounds


def test_bounds_that_take_longer_than_direct_sums_are_left_out_ever_longer(clock):
    assert searches(clock, bounds_take=1.1, blocks=3) == [0, 2, 6, 14, 30]


def test_bounds_that_are_quicker_although_they_leave_some_blocks_are_tried_once(clock):
    assert searches(clock, bounds_take=0.9, blocks=3) == [0, *range(2, 40)]


def test_bounds_that_leave_nothing_are_never_left_out(clock):
    assert searches(clock, bounds_take=9.0, blocks=0) == [*range(40)]


@pytest.mark.parametrize("made", [None, lambda _image, _started: None])
def test_a_direct_search_that_cannot_be_leaves_the_image_to_bounds(made):
    either = Directly(lambda: made)
    either.tell(1, 1.0)
    search = either.for_next()
    assert search is None if made is None else search(None, 0.0) is None


def test_an_image_left_to_a_search_of_its_own_is_no_quick_direct_search(clock):
    def directly(image, _started):
        clock.seconds += 0.1 if image is None else 1.0
        return image

    either = Directly(lambda: directly)
    assert either.for_next() is None
    either.tell(1, 1.5)
    assert either.for_next()("a report", 0.0) == "a report"
    assert either.for_next() is None
    either.tell(1, 1.5)
    for image in ("a report", None, "a report"):
        assert either.for_next()(image, 0.0) == image
    assert either.for_next() is None
    either.tell(1, 0.5)  # less than a direct search takes
    assert either.for_next() is None


@pytest.mark.parametrize(
    "options", [{"top": 1, "margin": False}, {"top": 3}, {"threshold": 0.9, "top": 2}]
)
@pytest.mark.parametrize(
    ("dtype", "metric"),
    [(np.uint8, "sad"), (np.uint8, "ssd"), (np.uint16, "sad"), (np.float32, "sad")],
)
def test_images_searched_directly_have_the_matches_of_a_search_by_bounds(
    dtype, metric, options, astronaut, monkeypatch
):
    tell = Directly.tell
    monkeypatch.setattr(Directly, "tell", lambda self, _count, _s: tell(self, 1, math.inf))
    monkeypatch.setattr(pruned, "finder", lambda *_: None)
    shade = dtype(1 / 255) if dtype is np.float32 else dtype(np.iinfo(dtype).max // 255)
    images = [astronaut[top:, top:][:400, :400].astype(dtype) * shade for top in range(0, 100, 9)]
    kernel = images[5][100:164, 100:164].copy()
    kernel[20:50] = kernel[20:50][::-1]  # so that it is in no image
    # Without a limit the plans change with what other processes leave of the memory.
    given = {**options, "metric": metric, "memory": 10**9, "threads": 1}
    matcher = Matcher(kernel, **given)
    by_bounds = []
    for number, image in enumerate(images):
        found = matcher.match(image)
        own = match(image, kernel, **given)
        same = [replace(one, seconds=0.0, plans=(), kernels=()) for one in (found, own)]
        assert same[0] == same[1]
        assert own.plans[0].engine == "pruned"
        if found.plans[0].engine == "pruned":
            by_bounds.append(number)
    # The third is the first that is searched like the one before. How close the best window came
    # to a threshold is told by bounds, and so by all images.
    assert by_bounds == ([0, 1, 2, 4, 8] if "threshold" not in options else [*range(12)])


@pytest.mark.parametrize("gives_up", [False, True])
@pytest.mark.parametrize("options", [{"top": 1, "margin": False}, {"top": 3}])
def test_a_tolerance_is_tried_where_many_windows_were_expected_to_be_alike(
    options, gives_up, astronaut, monkeypatch
):
    """Scores within it are ranked exactly, which was expected to take longer than exact scores."""
    monkeypatch.setattr(contender_share, "_share", lambda *_: 1.0)
    tell = Directly.tell
    if gives_up:
        monkeypatch.setattr(Directly, "tell", lambda self, _count, _s: tell(self, 1, math.inf))
    else:
        monkeypatch.setattr(Directly, "tell", lambda self, count, _s: tell(self, count, 0.0))
    images = [astronaut[top:, top:][:400, :400].copy() for top in range(0, 100, 9)]
    kernel = images[5][100:196, 100:196].copy()
    given = {**options, "metric": "sad", "memory": 10**9, "threads": 1, "tolerance": 0.02}
    matcher = Matcher(kernel, **given)
    engines = []
    for image in images:
        found = matcher.match(image, map=True)
        exact = match(image, kernel, map=True, **given | {"tolerance": 0.0})
        assert found.matches == exact.matches
        assert np.abs(found.map - exact.map).max() <= 0.02
        engines.append(found.plans[0].engine)
    tried = [number for number, engine in enumerate(engines) if engine == "fft"]
    assert set(engines) == {"simd", "fft"}
    # The third is the first that is searched like the one before, and exactly, which is timed.
    assert tried == ([3, 5, 9] if gives_up else [*range(3, 12)])


def test_what_replaces_bounds_has_the_products_of_its_kernel(astronaut):
    kernel = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    given = {"top": 1, "margin": False, "memory": 10**9, "threads": 1, "tolerance": 0.02}
    plan = match(astronaut, kernel, **given).plans[0]
    assert plan.engine == "pruned"
    asked = []
    quick_plan, directly = ways.quickly(plan, Kernel(kernel), lambda plan: asked.append(plan))
    assert quick_plan is plan
    directly.tell(1, 1.0)
    directly.for_next()
    if asked[0].engine == "fft":  # noise takes as many as any kernel
        assert asked[0].problem.products.each >= 5
    fast = [one for one in plan.candidates if one.engine == "fft"]
    (counted,) = (ways._without_ranking(one, Kernel(kernel)) for one in fast)
    assert counted.problem.products.each >= 5


def test_a_quick_plan_without_room_leaves_the_direct_one(astronaut, monkeypatch):
    """The transforms of the kernel would take more than a Matcher keeps."""
    monkeypatch.setattr(contender_share, "_share", lambda *_: 1.0)
    has_room = KeptKernels.has_room
    monkeypatch.setattr(
        KeptKernels, "has_room", staticmethod(lambda size, _memory: has_room(size, 10**8))
    )
    kernel = astronaut[100:300, 100:300].copy()
    matcher = Matcher(kernel, tolerance=0.02, top=1, margin=False, threads=1, memory=10**9)
    for _ in range(3):
        assert matcher.match(astronaut, map=True).plans[0].engine == "simd"
    assert matcher._before is not None
