"""Every pose against every window, as the searches for each pose alone have it."""

from __future__ import annotations

import itertools
import re

import cv2
import numpy as np
import pytest
from helpers.scenes import planted, turned_by

import patchsim
from patchsim.errors import InputError
from patchsim.search import fitted_windows, jobs, pose_seconds


@pytest.mark.parametrize("stride", [1, (3, 5)])
@pytest.mark.parametrize("padding", ["valid", "edge"])
def test_few_poses_are_compared_with_every_window(rng, stride, padding):
    scene = rng.integers(0, 256, (40, 50, 1), np.uint8)
    kernel = rng.integers(0, 256, (7, 9, 1), np.uint8)
    report = patchsim.match(
        scene, kernel, angles=[0, 90, 180, 270], flips="h", stride=stride, padding=padding, top=4
    )
    single = []
    for flip in ("none", "h"):
        for angle in (0, 90, 180, 270):
            shown = kernel[:, ::-1] if flip == "h" else kernel
            turned = np.ascontiguousarray(np.rot90(shown, angle // 90))
            found = patchsim.match(scene, turned, stride=stride, padding=padding, top=1).best
            single.append((-found.score, found.y, found.x, len(single), angle, flip))
    score, y, x, _, angle, flip = min(single)
    assert (report.best.score, report.best.x, report.best.y) == (-score, x, y)
    assert (report.best.angle, report.best.flip) == (angle, flip)


def test_a_retina_screenshot_is_searched_for_an_icon_of_half_its_size(astronaut):
    icon = cv2.resize(astronaut[90:154, 200:264], (32, 32), interpolation=cv2.INTER_AREA)
    best = patchsim.match(astronaut, icon, scales=[1, 1.5, 2, 3], top=1).best
    assert (best.x, best.y, best.scale, best.width) == (200, 90, 2, 64)


def test_a_map_of_several_poses_is_refused(rng):
    scene, kernel = rng.integers(0, 256, (30, 30), np.uint8), np.eye(5, dtype=np.uint8)
    with pytest.raises(
        InputError, match=r"a map is of one pose, and 2.*leave out --map \(map=\), or ask.*--scales"
    ):
        patchsim.match(scene, kernel, scales=[1, 2], map=True)
    assert patchsim.match(scene, kernel, scales=2, map=True).map.shape == (21, 21)


def test_a_full_search_of_thousands_of_poses_tells_what_it_costs(monkeypatch, run, save, rng):
    save("scene.png", rng.integers(0, 256, (24, 24), np.uint8))
    save("part.png", rng.integers(0, 256, (6, 6), np.uint8))
    words = ("match", "scene.png", "part.png", "--angles", ",".join(map(str, range(360))))
    code, _, err = run(*words, "--scales", "0.9,1,1.1", "--exhaustive", "--top", "1")
    assert (code, err.count("searched, which takes")) == (0, 0)  # it takes a second
    monkeypatch.setattr(jobs, "LONG", 0)
    code, _, err = run(*words, "--scales", "0.9,1,1.1", "--exhaustive", "--top", "1")
    assert code == 0
    assert err.count("1,080 poses are searched, which takes about") == 1


class Told(patchsim.Observer):
    """Keeps the shares that are told, those before the plans, and the notices."""

    def __init__(self):
        self.shares, self.before_plans, self.notices = [], None, []

    def progress(self, done, total):
        self.shares.append(done / total)

    def planned(self, plan, kernels):  # noqa: ARG002 - as `Observer` has it
        if self.before_plans is None:
            self.before_plans = list(self.shares)

    def notice(self, text):
        self.notices.append(text)

    @property
    def costs(self):
        return [text for text in self.notices if jobs.is_cost(text)]


@pytest.mark.parametrize("options", [{}, {"metric": "zncc"}, {"same_scale": True}])
def test_progress_of_a_full_search_begins_with_the_kernels_and_ends_with_the_fits(
    astronaut, options
):
    told = Told()
    kernel = astronaut[100:124, 200:224]
    poses = {"angles": "0:350:10", "scales": [1, 1.2], "exhaustive": True}
    patchsim.match(astronaut[50:200, 150:300], kernel, observer=told, **poses, **options)
    assert told.shares == sorted(set(told.shares))
    assert told.shares[-1] == 1
    assert len(told.before_plans) > 50  # of 72 poses that are made and planned
    assert told.before_plans[-1] == pytest.approx(0.1)
    assert max(np.diff([0, *told.shares])) < 0.2
    if not options:  # bounds of windows are there at once, and the contests take the time
        assert sum(share > 0.3 for share in told.shares) > 30


POSES = {"angles": "0:330:30", "exhaustive": True, "top": 1}
DEAR = "12 poses are searched, which takes about {}; leave out --exhaustive (exhaustive=True)"


def test_a_full_search_that_takes_long_tells_so_and_what_to_do(monkeypatch, astronaut):
    told = Told()
    scene, kernel = astronaut[50:150, 150:250], astronaut[100:124, 200:224]
    patchsim.match(scene, kernel, observer=told, **POSES)
    assert not told.costs
    monkeypatch.setattr(pose_seconds, "_FIT_SECONDS", 50.0)
    patchsim.match(scene, kernel, observer=told, threads=1, **POSES)
    (notice,) = told.costs
    assert notice.startswith(DEAR.format("5 min"))
    told = Told()
    patchsim.match(scene, kernel, observer=told, threads=1, map=True, scales=1.5, top=1)
    assert not told.notices  # nothing else makes a map


@pytest.mark.parametrize("many", [1, jobs.MANY])
def test_a_full_search_that_is_slower_than_expected_tells_so_once(many, monkeypatch, astronaut):
    monkeypatch.setattr(
        jobs, "MANY", many
    )  # the first estimate of more poses is told, if it is long
    told, clock = Told(), itertools.count(0, 2)
    monkeypatch.setattr(fitted_windows.time, "perf_counter", lambda: float(next(clock)))
    patchsim.match(astronaut[50:150, 150:250], astronaut[100:124, 200:224], observer=told, **POSES)
    (notice,) = told.costs
    assert re.fullmatch(re.escape(DEAR).replace(r"\{\}", r"\d+ (s|min)") + ".*", notice)


def test_thousands_of_kernels_are_no_poses(monkeypatch, run, save, rng):
    save("scene.png", rng.integers(0, 256, (24, 24), np.uint8))
    save("part.png", rng.integers(0, 256, (6, 6), np.uint8))
    words = ("match", "scene.png", *["part.png"] * 1001, "--top", "1", "--no-heatmap")
    assert "searched, which takes" not in run(*words)[2]
    monkeypatch.setattr(jobs, "LONG", 0)
    code, _, err = run(*words)
    assert code == 0
    assert "1,001 kernels are searched, which takes about" in err
    code, _, err = run(*words, "--flips", "none,h", "--exhaustive")
    assert code == 0
    assert "2,002 poses are searched, which takes about" in err


def test_the_plan_counts_the_products_that_each_kernel_needs():
    values = np.random.default_rng(3).integers(0, 256, (90, 120), dtype=np.uint8)
    wide, narrow = values[10:42, 20:52], values[10:42, 20:52] // 16 + 100
    assert wide.max() - wide.min() > 240
    assert narrow.max() - narrow.min() < 16
    counts = {
        name: [
            plan.problem.products and plan.problem.products.each
            for plan in patchsim.match(values, kernels, map=True, margin=False, **options).plans
        ]
        for name, kernels, options in [
            ("wide", wide, {"tolerance": 0.02, "engine": "fft"}),
            ("narrow", narrow, {"tolerance": 0.02, "engine": "fft"}),
            ("together", [wide, narrow], {"tolerance": 0.02, "engine": "fft"}),
            ("exact", wide, {}),
        ]
    }
    assert counts["wide"][0] == 6  # whatever the kernel: the least whose error is within 0.02
    assert counts["narrow"][0] == 2
    assert counts["together"] == [6, 2]
    assert counts["exact"] == [None]


@pytest.mark.parametrize(
    ("asked", "moves"),
    [
        ({"angles": "0:360:45"}, {"angles": (19.6, 4.6)}),
        ({"angles": "0:360:45", "scales": 2}, {"angles": (39.3, 2.3)}),
        ({"angles": "-20:20:20"}, {"angles": (8.7, 4.6)}),
        ({"angles": "0:10:45"}, {"angles": (4.4, 4.6)}),  # its end is a value, too
        ({"scales": "0.5:2:0.5"}, {"scales": (12.5, 0.08)}),
        ({"angles": "0:360:45", "scales": "1:2:1"}, {"angles": (39.3, 2.3), "scales": (25, 0.08)}),
        ({"angles": "0:360:9"}, {}),  # 3.9 pixels
        ({"angles": "0:8:45"}, {}),
        ({"scales": "0.8:1.2:0.15"}, {}),
        ({"angles": "-20:20", "scales": "0.9:1.1"}, {}),  # poses a pixel apart
        ({"angles": [0, 45, 90], "scales": "1,2"}, {}),  # no others are wanted
        ({"angles": "0:360:45", "exhaustive": False}, {}),
    ],
)
def test_steps_that_are_coarse_for_the_kernel_are_told_with_finer_ones(rng, asked, moves):
    """A kernel of 30x40 has its corners 25 pixels from its middle: an arc, or a part of that."""
    scene = rng.integers(0, 256, (110, 120), np.uint8)
    options = {"exhaustive": True, "top": 1, "threshold": 0.9, **asked}
    kernels = [scene[20:50, 30:70], scene[2:10, 2:10]]
    for images, name in ((kernels[:1], "kernel"), (kernels, "kernel-1")):
        report = patchsim.match(scene, images, **options)
        told = [text for text in report.notices if "would do" in text]
        assert len(told) == bool(moves)
        if not moves:
            continue
        assert told[0].startswith(f"{name} may be missed between the poses of --exhaustive")
        found = re.findall(r"by (\d+) pixels with each step of the (\w+) \(([\d.]+)", told[0])
        assert [axis for _, axis, _ in found] == list(moves)
        for pixels, axis, step in found:
            assert float(pixels) == pytest.approx(moves[axis][0], abs=0.51)
            assert float(step) == pytest.approx(moves[axis][1], rel=0.06)


def test_a_copy_between_steps_is_found_with_those_that_would_do(astronaut, coffee):
    kernel = astronaut[90:130, 200:240]
    scene = planted(coffee[:150, :200], kernel, 1.0, 17.0, (100.3, 75.6))
    asked = {"exhaustive": True, "metric": "zncc", "threshold": 0.9, "top": 1}
    coarse = patchsim.match(scene, kernel, angles="0:360:45", **asked)
    (step,) = re.findall(r"([\d.]+) degrees would do", " ".join(coarse.notices))
    fine = patchsim.match(scene, kernel, angles=f"0:360:{step}", **asked)
    assert turned_by(fine.best.angle, 17) < 0.5
    assert not any("would do" in text for text in fine.notices)
