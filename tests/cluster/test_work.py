"""Bands of maps that are scored by themselves lead to the answers of a search in one process."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from helpers.bands import InTurn
from hypothesis import given, settings
from hypothesis import strategies as st

import patchsim
from patchsim.cluster import work
from patchsim.errors import InputError
from patchsim.files.stamps import Stamp
from patchsim.geometry.blocks import BLOCK
from patchsim.output.match_records import MatchRecords
from patchsim.search.bands import BandBounds


def answer(report):
    """All that is told of matches, with every digit."""
    return [
        (m.x, m.y, m.width, m.height, m.score, m.kernel, m.margin, m.angle, m.inverted)
        for m in report.matches
    ], report.threshold


def both(path, kernels, **options):
    there = InTurn()
    spread = patchsim.match(path, kernels, cluster=there, **options)
    assert len(there.done) > 1
    return answer(spread), answer(patchsim.match(path, kernels, **options))


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize(
    "options",
    [
        {"top": 20},
        {"threshold": 0.8, "margin": True},
        {"threshold": "auto"},
        {"top": 3, "margin": True, "stride": (3, 2)},
        {"top": 5, "padding": "edge"},
        {"top": 5, "padding": "transparent"},
        {"region": (7, 3, 333, 290), "top": 4},
    ],
    ids=str,
)
def test_bands_lead_to_the_answer_of_one_process(picture, kernel, metric, options):
    spread, alone = both(picture, kernel, metric=metric, **options)
    assert spread == alone
    assert alone[0] or options.get("threshold") == "auto"


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_several_kernels_of_unlike_sizes_compete(picture, kernel, coffee, metric):
    kernels = [kernel, kernel[2:29, 3:], coffee[:7, :90].copy(), coffee[100:280, 5:25].copy()]
    spread, alone = both(picture, kernels, metric=metric, top=12, margin=True)
    assert spread == alone
    assert len({one[5] for one in alone[0]}) > 1


@pytest.mark.parametrize(
    "options",
    [
        {"invert": True, "metric": "zncc", "top": 9},
        {"angles": "0,90,180", "flips": "h", "top": 6},
        {"per_kernel": True, "top": 2},
        {"color": "lab", "top": 3},
        {"channel_weights": (1, 0, 3), "top": 3},
        {"ignore": [(10, 20, 40, 40)], "top": 4},
        {"worst": 0.8, "top": 4},
        {"subpixel": True, "top": 4},
    ],
    ids=str,
)
def test_other_options_lead_to_the_same_answer(picture, kernel, options):
    spread, alone = both(picture, [kernel, 255 - kernel[:20]], **options)
    assert spread == alone
    assert alone[0]


def test_masks_of_kernel_and_image_count_there_too(picture, kernel, rng):
    masks = {
        "mask": rng.integers(0, 2, kernel.shape[:2], np.uint8) * 255,
        "image_mask": rng.integers(0, 9, (301, 437), np.uint8) // 8 * 255,
    }
    spread, alone = both(picture, kernel, top=8, **masks)
    assert spread == alone


@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_an_image_that_is_read_by_windows_is_so_there(tmp_path, astronaut, kernel, suffix):
    shown = np.tile(astronaut, (2, 1, 1))[:777]
    path = tmp_path / f"scene.{suffix}"
    if suffix == "npy":
        np.save(path, shown)
    else:
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(path, shown, photometric="rgb", tile=(64, 64), compression="zlib")
    there = InTurn()
    spread = patchsim.match(path, kernel, top=9, margin=True, max_pixels=1000, cluster=there)
    assert answer(spread) == answer(patchsim.match(shown, kernel, top=9, margin=True))
    assert len(there.done) > 5


@cache
def _noise(height, width, seed):
    return np.random.default_rng(seed).integers(0, 4, (height, width), np.uint8) * 80


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 90),
    st.integers(1, 40),
    st.sampled_from(["sad", "ssd", "zncc"]),
    st.sampled_from([1, 2, (3, 1)]),
)
def test_any_sizes_lead_to_the_same_answer(
    tmp_path_factory, more_rows, more_cols, height, width, metric, stride
):
    kernel = _noise(height, width, 1)
    if metric == "zncc" and np.ptp(kernel) == 0:
        return
    path = tmp_path_factory.mktemp("sizes") / "scene.npy"
    np.save(path, _noise(height + more_rows, width + more_cols, 2))
    options = {"metric": metric, "stride": stride, "top": 7, "margin": True}
    spread = patchsim.match(path, kernel, cluster=InTurn(), **options)
    assert answer(spread) == answer(patchsim.match(path, kernel, **options))


def test_upper_bounds_hold_and_are_as_few_as_blocks(picture, kernel):
    matcher = patchsim.Matcher(kernel, metric="zncc")
    described = work.Work.of(matcher, picture)
    search = work.opened(described, threads=1, memory=1 << 28)
    scores = patchsim.match(picture, kernel, metric="zncc", map=True, tolerance=0).map
    found = work.score_band(search, described, work.Band((0,), BLOCK, 100))[0]
    assert isinstance(found, BandBounds)
    assert found.upper_bounds.shape == (2, -(-scores.shape[1] // BLOCK))
    assert found.upper_bounds.dtype == np.float64
    for (row, col), bound in np.ndenumerate(found.upper_bounds):
        top, left = BLOCK * (1 + row), BLOCK * col
        block = scores[top : min(top + BLOCK, BLOCK + 100), left : left + BLOCK]
        assert block.max() - 1e-6 <= bound <= block.max() + 2 * found.error + 1e-6


def test_windows_of_a_band_that_was_not_scored_are_named_and_not_found(picture, kernel):
    there = InTurn(lost={0})
    report = patchsim.match(picture, kernel, top=None, threshold=0.99, cluster=there)
    lost = set(range(0, 301 - 30, BLOCK)) - {band.top for band in there.done}
    (top,) = lost
    rows = min(BLOCK, 301 - 30 - top)
    assert report.missing == ((0, top, 437, rows - 1 + 31),)
    alone = patchsim.match(picture, kernel, top=None, threshold=0.99)
    left = [m for m in alone.matches if not top <= m.y < top + rows]
    assert [(m.x, m.y, m.score) for m in report.matches] == [(m.x, m.y, m.score) for m in left]
    assert len(left) < len(alone)
    assert any("windows inside" in text for text in report.notices)
    assert MatchRecords(report).document()["missing"] == [list(report.missing[0])]


@pytest.mark.parametrize("kernels", [1, 40])
@pytest.mark.parametrize("workers", [1, 7, 500])
def test_bands_cover_all_rows_of_all_maps_once(picture, rng, kernels, workers):
    parts = [rng.integers(0, 256, (5 + n, 40 - n, 3), np.uint8) for n in range(kernels)]
    matcher = patchsim.Matcher(parts)
    search = work.opened(work.Work.of(matcher, picture), threads=1, memory=1 << 28)
    bands = work.bands_of(search.jobs, search.parts, workers=workers)
    for number, job in enumerate(search.jobs):
        of_job = sorted((b.top, b.rows) for b in bands if number in b.jobs)
        assert all(top % BLOCK == 0 and rows > 0 for top, rows in of_job)
        ends = [top + rows for top, rows in of_job]
        assert [0, *ends[:-1]] == [top for top, _ in of_job]
        assert ends[-1] >= job.plan.problem.map_shape[0]


def test_bands_are_no_more_than_the_most(picture, kernel, monkeypatch):
    search = work.opened(work.Work.of(patchsim.Matcher(kernel), picture), threads=1, memory=1 << 28)
    monkeypatch.setattr(work, "MOST_BANDS", 2)
    assert len(work.bands_of(search.jobs, search.parts, seconds=1e-9)) <= 2


def test_halves_of_a_band_are_the_band():
    whole = work.Band((0, 3), 128, 300)
    parts = [whole]
    while any(part.halves() for part in parts):
        parts = [piece for part in parts for piece in (part.halves() or [part])]
    assert [(part.top, part.rows) for part in parts] == [
        (128, 64), (192, 64), (256, 64), (320, 64), (384, 44)
    ]  # fmt: skip
    assert all(part.jobs == (0, 3) for part in parts)


def test_a_file_that_changed_is_refused(picture, kernel):
    described = work.Work.of(patchsim.Matcher(kernel), picture)
    search = work.opened(described, threads=1, memory=1 << 28)
    band = work.bands_of(search.jobs, search.parts)[0]
    os.utime(picture, ns=(1, 1))
    with pytest.raises(InputError, match="has changed since the search began"):
        work.score_band(search, described, band)
    with pytest.raises(InputError, match="has changed since the search began"):
        work.opened(described, threads=1, memory=1 << 28)


def test_another_version_is_refused(picture, kernel):
    described = work.Work.of(patchsim.Matcher(kernel), picture)
    with pytest.raises(InputError, match=r"0\.0\.1 here"):
        replace(described, version="0.0.1").check()


def test_a_file_that_is_not_there_is_refused(tmp_path, kernel):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        work.Work.of(patchsim.Matcher(kernel), tmp_path / "none.png")


def test_keys_tell_searches_apart(picture, kernel):
    first = work.Work.of(patchsim.Matcher(kernel), picture)
    assert first.key == pickle.loads(pickle.dumps(first)).key
    others = [
        work.Work.of(patchsim.Matcher(kernel, metric="zncc"), picture),
        work.Work.of(patchsim.Matcher(255 - kernel), picture),
        work.Work.of(patchsim.Matcher(kernel), picture, (0, 0, 100, 100)),
        replace(first, stamp=Stamp(1, 1)),
    ]
    assert len({first.key, *(one.key for one in others)}) == 5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"map": True}, "need the scores of all windows"),
        ({"heatmap": "h.png"}, "need the scores of all windows"),
        ({"blend": "b.png"}, "need the scores of all windows"),
        ({"frame": 0}, "save the frame to a file"),
        ({"angles": "0:20"}, "are searched for in the whole image"),
        ({"engine": "pruned"}, "scores no map"),
    ],
    ids=str,
)
def test_a_search_that_is_none_of_bands_is_refused_before_it_begins(picture, kernel, options, text):
    there = InTurn()
    with pytest.raises(InputError, match=text):
        patchsim.match(picture, kernel, cluster=there, **options)
    assert not there.done


def test_an_image_in_memory_is_refused(kernel):
    with pytest.raises(InputError, match="is in memory, but a stand-in opens it by its path"):
        patchsim.match(np.zeros((50, 50, 3), np.uint8), kernel, cluster=InTurn())
