"""Maps of pictures that are read by windows are written while they are made."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore

import patchsim
from patchsim import InputError, OutputError
from patchsim.files import replacement
from patchsim.geometry import tiles
from patchsim.output import map_files
from patchsim.output.map_files import placed

LARGE = {"max_pixels": 1, "memory": "2MB"}  # too large to be read whole


def load(path):
    if path.suffix == ".zarr":
        return zarr.open(str(path), mode="r")[...]
    return np.load(path) if path.suffix == ".npy" else tifffile.imread(path)


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (300, 410, 3), dtype=np.uint8)


@pytest.fixture
def files(picture, tmp_path):
    """A picture in a file, a kernel of it, and the names in the folder before a search."""
    path = tmp_path / "image.npy"
    np.save(path, picture)
    return SimpleNamespace(
        path=path, kernel=picture[20:60, 30:57].copy(), before=sorted(tmp_path.iterdir())
    )


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_sink_takes_tiles_of_any_size(data):
    rows, cols = data.draw(st.tuples(st.integers(1, 600), st.integers(1, 600)), "shape")
    tile = data.draw(st.tuples(st.integers(1, rows), st.integers(1, cols)), "tile")
    tile = max(tile[0], rows // 9), max(tile[1], cols // 9)
    scores = np.arange(rows * cols, dtype=np.float32).reshape(rows, cols)
    split = data.draw(st.permutations(list(tiles.split((rows, cols), tile))), "order")
    suffix = data.draw(st.sampled_from(map_files.SUFFIXES), "suffix")
    cells = st.integers(0, rows * cols - 1)
    settled = np.array(data.draw(st.lists(cells, max_size=5, unique=True), "settled"), np.int64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"map{suffix}")
        with map_files.writing(path) as place:
            sink = map_files.sink_of(path, place, (rows, cols), tile)
            for one in split:
                part = scores[one.index]
                sink.put(one, part.astype(np.float64) if one.top else part)
            sink.settle(*np.divmod(settled, cols), np.full(len(settled), -1.5))
            sink.finish()
        assert [one.name for one in Path(folder).iterdir()] == [path.name]
        read = load(path)
        if suffix.startswith(".tif"):
            with tifffile.TiffFile(path) as tiff:
                assert tiff.is_bigtiff
                assert tiff.pages[0].is_tiled
    scores.flat[settled] = -1.5
    assert (read == scores).all()
    assert read.dtype == np.float32


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_streamed_maps_are_those_of_memory(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20), "seed"))
    size = data.draw(st.tuples(st.integers(12, 150), st.integers(12, 150)), "size")
    dtype = data.draw(st.sampled_from(["u1", "u2"]), "dtype")
    image = rng.integers(0, np.iinfo(dtype).max, (*size, 3), dtype, endpoint=True)
    tall, wide = (data.draw(st.integers(2, min(side, 40))) for side in size)
    kernel = image[:tall, :wide]
    metric = data.draw(st.sampled_from(["sad", "ssd", "zncc"]), "metric")
    options = {
        "metric": metric,
        "engine": "simd" if metric == "sad" else "auto",
        "memory": "2MB" if metric == "sad" else "40MB",
        "padding": data.draw(st.sampled_from(["valid", "edge", "reflect", "zero"]), "padding"),
        "stride": data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)), "stride"),
        "threads": data.draw(st.integers(1, 2), "threads"),
        "color": data.draw(st.sampled_from(["auto", "gray"]), "color"),
    }
    if data.draw(st.booleans(), "has region"):
        options["region"] = size[1] - wide, size[0] - tall, wide, tall
    if data.draw(st.booleans(), "masked"):
        options["mask"] = rng.integers(0, 256, (tall, wide), dtype=np.uint8)
        options["mask"][:2, :2] = 255  # no flat kernel, which zncc refuses
    suffix = data.draw(st.sampled_from(map_files.SUFFIXES), "suffix")
    with tempfile.TemporaryDirectory() as folder:
        path, written = Path(folder, "image.npy"), Path(folder, f"map{suffix}")
        np.save(path, image)
        expected = patchsim.match(image, kernel, map=True, **options)
        with mock.patch("patchsim.scene.by_windows._SMALL", 1 << 40):
            report = patchsim.match(path, kernel, map=written, max_pixels=1, **options)
        assert report.plans[0].problem.reading
        scores = load(written)
    assert report.maps == ()
    assert scores.shape == expected.map.shape
    if metric == "sad":
        assert (scores == expected.map).all()
    else:  # transforms of tiles of other sizes round in other ways
        error = report.kernels[0].tolerance + expected.kernels[0].tolerance
        assert np.abs(scores - expected.map).max() <= error
        for match in report:
            row, col = ((match.y, match.x) - np.array(report.kernels[0].origin[::-1])) // (
                options["stride"]
            )
            assert scores[row, col] == np.float32(match.score)


def test_maps_of_several_kernels_beside_their_heatmaps(picture, files, tmp_path):
    kernels = [picture[5:25, 5:30], picture[40:60, 50:75], picture[60:83, 9:29]]
    names = [tmp_path / f"k{i}.npy" for i in range(3)]
    for name, kernel in zip(names, kernels, strict=True):
        np.save(name, kernel)
    expected = patchsim.match(picture, kernels, map=True, engine="simd")
    report = patchsim.match(
        files.path,
        names,
        map=tmp_path / "{kernel}.tif",
        heatmap=tmp_path / "{kernel}.png",
        memory="2MB",
        max_pixels=1000,
    )
    for kernel, scores in zip(report.kernels, expected.maps, strict=True):
        assert (tifffile.imread(kernel.map) == scores).all()
        assert Path(kernel.heatmap).exists()
    found, wanted = ([(one.x, one.y, one.score) for one in each] for each in (report, expected))
    assert found == wanted


def test_the_maps_of_memory_are_written_in_each_format(picture, files, tmp_path):
    report = patchsim.match(picture, files.kernel, map=tmp_path / "m.tif")
    assert (tifffile.imread(tmp_path / "m.tif") == report.map).all()
    for suffix in map_files.SUFFIXES:
        path = tmp_path / f"other{suffix}"
        patchsim.match(picture, files.kernel, map=path)
        assert (load(path) == report.map).all()


@pytest.mark.parametrize("has_name", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_disk_that_is_full_in_the_middle_leaves_nothing(files, suffix, has_name, tmp_path):
    write, calls = placed.PlacedWriter.write, []

    def until_full(self, *given):
        calls.append(given)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, *given)

    without = None if has_name else replacement._WITHOUT_NAME
    with (
        mock.patch.object(placed.PlacedWriter, "write", until_full),
        mock.patch.object(replacement, "_WITHOUT_NAME", without),
        pytest.raises(OutputError, match=r"cannot write .*No space left on device; free some"),
    ):
        patchsim.match(files.path, files.kernel, map=tmp_path / f"m{suffix}", **LARGE)
    assert len(calls) > 3
    assert sorted(tmp_path.iterdir()) == files.before


def test_a_disk_that_is_full_leaves_nothing_of_a_zarr_store(files, tmp_path):
    put, calls = LocalStore.set, []

    async def until_full(self, key, value):
        calls.append(key)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await put(self, key, value)

    with (
        mock.patch.object(LocalStore, "set", until_full),
        pytest.raises(OutputError, match=r"cannot write .*No space left on device; free some"),
    ):
        patchsim.match(files.path, files.kernel, map=tmp_path / "m.zarr", **LARGE)
    assert len(calls) > 1
    assert sorted(tmp_path.iterdir()) == files.before


def test_a_chunk_is_written_twice_at_most(files, tmp_path):
    set_to, written = LocalStore.set, Counter()

    async def counted(self, key, value):
        written[key] += 1
        await set_to(self, key, value)

    asked = {"metric": "zncc", "top": 300, "overlap": 0.9, "max_pixels": 1, "memory": "40MB"}
    with mock.patch.object(LocalStore, "set", counted):
        report = patchsim.match(files.path, files.kernel, map=tmp_path / "m.zarr", **asked)
    chunks = {key: count for key, count in written.items() if key.startswith("c/")}
    assert len(report.matches) == 300
    assert max(chunks.values()) == 2
    scores = load(tmp_path / "m.zarr")
    assert all(scores[one.y, one.x] == np.float32(one.score) for one in report)


def test_a_zarr_store_replaces_nothing(files, tmp_path):
    patchsim.match(files.path, files.kernel, map=tmp_path / "m.zarr", **LARGE)
    before = load(tmp_path / "m.zarr")
    with pytest.raises(InputError, match=r"m\.zarr is there, and a Zarr store is a folder, which"):
        patchsim.match(files.path, files.kernel, map=tmp_path / "m.zarr", stride=2, **LARGE)
    assert (load(tmp_path / "m.zarr") == before).all()


def test_a_signal_leaves_no_folder(files, tmp_path):
    def ended(*_, **__):
        replacement.discard_unfinished()
        assert sorted(tmp_path.iterdir()) == files.before
        raise KeyboardInterrupt

    with mock.patch("patchsim.matching.assemble.report", ended), pytest.raises(KeyboardInterrupt):
        patchsim.match(files.path, files.kernel, map=tmp_path / "m.zarr", **LARGE)
    assert sorted(tmp_path.iterdir()) == files.before


def test_an_error_behind_the_search_leaves_no_map(files, tmp_path):
    (tmp_path / "m.npy").write_bytes(b"old")
    with (
        mock.patch("patchsim.matching.assemble.report", side_effect=RuntimeError("broken")),
        pytest.raises(RuntimeError, match="broken"),
    ):
        patchsim.match(files.path, files.kernel, map=tmp_path / "m.npy", **LARGE)
    assert (tmp_path / "m.npy").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == len(files.before) + 1


def test_too_little_room_is_told_before_the_search(files, tmp_path):
    little = SimpleNamespace(free=100_000)
    with (
        mock.patch.object(shutil, "disk_usage", return_value=little),
        pytest.raises(OutputError, match=r"maps take 400.9 kB, and .* has 100.0 kB free"),
    ):
        patchsim.match(files.path, files.kernel, map=tmp_path / "m.npy", **LARGE)
    assert sorted(tmp_path.iterdir()) == files.before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_takes_no_tiles(files, tmp_path):
    os.mkfifo(tmp_path / "m.npy")
    with pytest.raises(InputError, match="which a pipe or device cannot take"):
        patchsim.match(files.path, files.kernel, map=tmp_path / "m.npy", **LARGE)


@pytest.mark.parametrize(("suffix", "package"), [("tif", "tifffile"), ("zarr", "zarr")])
def test_a_format_needs_its_package(files, suffix, package, tmp_path):
    with (
        mock.patch.dict("sys.modules", {package: None}),
        pytest.raises(InputError, match=f"needs the package {package}: pip install {package}"),
    ):
        patchsim.match(files.path, files.kernel, map=tmp_path / f"m.{suffix}", **LARGE)


def test_the_command_says_what_it_wrote(files, run, tmp_path):
    np.save(tmp_path / "kernel.npy", files.kernel)
    code, out, err = run(
        "match", "image.npy", "kernel.npy", "--max-pixels", "2000", "--no-heatmap", "--map", "m.tif"
    )
    assert code == 0, err
    assert "map m.tif: float32, 261 rows x 384 columns" in err
    assert out.splitlines()[1].split("\t")[:2] == ["30", "20"]
