"""The memory of searches in images that are read by windows: what is kept, and the least."""

from __future__ import annotations

import re

import numpy as np
import pytest
import zarr
from helpers.problems import problem

import patchsim
from patchsim import InputError
from patchsim.geometry.blocks import BLOCK
from patchsim.pictures import zarr_source
from patchsim.pictures.chunk_cache import ChunkCache
from patchsim.ranking import score_memory
from patchsim.ranking.block_grid import BlockGrid
from patchsim.ranking.score_map import ScoreMap

_UNITS = {"kB": 1000, "MB": 1000**2}


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (900, 700, 1), dtype=np.uint8)


def saved(picture, path):
    made = zarr.create_array(str(path), shape=picture.shape, dtype="u1", chunks=(100, 100, 1))
    made[...] = picture
    return path


@pytest.fixture
def store(picture, tmp_path):
    return saved(picture, tmp_path / "image.zarr")


@pytest.fixture
def sources(monkeypatch):
    """The Zarr stores that are opened, in their order."""
    opened = []
    made = zarr_source.ZarrSource.__init__

    def remembered(self, *args):
        made(self, *args)
        opened.append(self)

    monkeypatch.setattr(zarr_source.ZarrSource, "__init__", remembered)
    return opened


@pytest.mark.parametrize("count", [1, 2])
def test_the_least_memory_that_is_named_suffices(picture, tmp_path, count):
    picture = picture[:450, :350]  # with so little memory a picture has thousands of tiles
    store = saved(picture, tmp_path / "image.zarr")
    kernels = [picture[top : top + 30, top : top + 30].copy() for top in range(0, 40 * count, 40)]
    files = {"overlay": tmp_path / "o.png"}
    if count == 1:
        files["heatmap"] = tmp_path / "h.png"
    asked = {"max_pixels": 1, "top": 1, "force": True, **files}
    with pytest.raises(InputError, match="is the least for these") as error:
        patchsim.match(store, kernels, memory=100_000, **asked)
    number, unit = re.search(r"([\d.]+) (kB|MB) is the least", str(error.value)).groups()
    least = int(float(number) * _UNITS[unit])
    report = patchsim.match(store, kernels, memory=least, **asked)
    assert (report.best.score, report.best.x, report.best.y) == (1, 0, 0)
    with pytest.raises(InputError, match="is the least for these"):
        patchsim.match(store, kernels, memory=max(100_000, least // 2), **asked)


def test_tiles_stay_as_tall_as_the_kernel_where_memory_is_short(picture, store):
    report = patchsim.match(
        store, picture[90:190, 80:180], memory="1500kB", max_pixels=1, engine="simd", top=1
    )
    assert (report.best.x, report.best.y, report.best.score) == (80, 90, 1)
    tall, wide = report.plans[0].tile
    assert tall >= 64
    assert wide < 400


def test_an_overlay_forgets_the_chunks(picture, tmp_path, sources):
    tall = np.tile(picture, (3, 1, 1))  # so tall that not all of its chunks are kept
    saved(tall, tmp_path / "tall.zarr")
    kernel = picture[20:50, 30:60]
    asked = {"memory": "8MB", "max_pixels": 1, "threads": 2, "overlay": tmp_path / "o.png"}
    patchsim.match(tmp_path / "tall.zarr", kernel, **asked)
    (source,) = sources
    assert source.cache._bytes == 0
    assert not source.cache._chunks
    # Each of the 189 is decoded for the search and for the drawing, which takes the 6 rows that are
    # kept from before it; some are decoded for the exact scores of 5 matches.
    count = 2 * 189 - 6 * 7
    assert count <= source.cache.decoded <= count + 4 * 5


def test_a_cache_shrinks_to_its_least_and_is_cleared():
    decoded = []

    def decode(number):
        decoded.append(number)
        return np.full(10, number, np.uint8)

    cache = ChunkCache(80, decode, min_capacity=20)
    for number in range(8):
        cache.get(number)
    assert [cache.get(number)[0] for number in range(8)] == decoded == [*range(8)]
    assert cache.shrink()
    assert [cache.get(number)[0] for number in range(4, 8)] == [4, 5, 6, 7]
    assert len(decoded) == 8
    assert cache.get(3)[0] == 3
    assert len(decoded) == 9
    assert cache.shrink()
    assert not cache.shrink()
    assert cache.capacity == 20
    cache.clear()
    assert cache.get(3)[0] == 3
    assert len(decoded) == 10


@pytest.mark.parametrize(
    "options", [{"metric": "zncc", "top": 9}, {"threshold": "auto"}, {"top": 9}], ids=str
)
def test_scores_of_a_tall_image_read_by_windows_are_not_all_kept_however_large_the_memory(
    picture, store, options, monkeypatch
):
    kernel = picture[90:120, 80:110]
    alone = patchsim.match(picture, kernel, engine="simd", **options)
    sides = []  # the longer one of each map

    def note(made, is_kept):
        def noted(self, shape, *args, **keywords):
            sides.append(max(shape) if is_kept(keywords) else 0)
            made(self, shape, *args, **keywords)

        return noted

    for kind, is_kept in ((ScoreMap, lambda _: True), (BlockGrid, lambda of: of["keeps_scores"])):
        monkeypatch.setattr(kind, "__init__", note(kind.__init__, is_kept))
    most = ScoreMap.estimate_bytes((871, 671))
    for kept, limit in ((True, most), (False, most // 4)):
        monkeypatch.setattr(score_memory, "_LARGEST_BY_WINDOWS", limit)
        sides.clear()
        asked = {"engine": "simd", "max_pixels": 1000, "memory": "4GB", **options}
        report = patchsim.match(store, kernel, **asked)
        found = [(m.x, m.y, m.score) for m in report]
        assert found == [(m.x, m.y, m.score) for m in alone], limit
        assert (max(sides) == 871) == kept
        assert kept or max(sides) <= BLOCK  # blocks that were scored again


@pytest.mark.parametrize("options", [{"top": 9}, {"threshold": 0.72}], ids=str)
def test_chunks_are_decoded_once_and_a_few_for_each_match(
    options, picture, tmp_path, sources, monkeypatch
):
    monkeypatch.setattr(score_memory, "_LARGEST_BY_WINDOWS", 1 << 20)  # scores are not kept
    saved(np.tile(picture, (3, 1, 1)), tmp_path / "tall.zarr")
    asked = {"engine": "simd", "max_pixels": 1, "memory": "8MB", **options}
    report = patchsim.match(tmp_path / "tall.zarr", picture[20:50, 30:60], **asked)
    (source,) = sources
    assert len(report) >= 3
    assert 189 <= source.cache.decoded <= 1.05 * 189 + 4 * len(report)


def test_ten_times_the_rows_take_a_hundred_bytes_a_block_more():
    kernel = np.zeros((64, 64, 1), np.uint8)
    images = [np.broadcast_to(np.uint8(0), (rows, 1000, 1)) for rows in (100_000, 1_000_000)]
    problems = [problem(image, kernel, "sad") for image in images]
    few, many = (
        score_memory.budget_of([one], 8 << 30, kept=False, by_windows=True) for one in problems
    )
    blocks = 16 * (1_000_000 - 100_000) // BLOCK
    assert few.resident < many.resident <= few.resident + 100 * blocks
    assert many.resident < 2 * score_memory._LARGEST_BY_WINDOWS
