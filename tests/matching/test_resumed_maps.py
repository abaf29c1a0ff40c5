"""Maps that go on where an earlier run ended: the same chunks, maps and matches."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import zarr
from helpers import load as load_picture
from helpers import patchsim as started
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore

import patchsim
from patchsim import InputError, OutputError
from patchsim.events import Observer
from patchsim.execution import runner
from patchsim.output import resumed_map
from patchsim.output.block_journal import BlockJournal
from patchsim.output.map_files import zarr_map
from patchsim.output.resumed_map import ResumedMap

LARGE = {"max_pixels": 1, "memory": "2MB"}  # read by windows, in small tiles


@pytest.fixture(autouse=True)
def _small_chunks():
    """Small tiles are chunks of their own."""
    with mock.patch.object(zarr_map, "_CELLS", 1):
        yield


class Killed(BaseException):
    """Stands for a kill: nothing is done behind it."""


class Told(Observer):
    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


def read(path):
    return zarr.open(str(path), mode="r")[...]


def killed_behind(chunks, method="append"):
    """Let a run end when so many chunks are recorded, and leave what is on disk."""
    whole, calls = getattr(BlockJournal, method), []

    def killed(self, *given):
        if len(calls) >= chunks:
            raise Killed
        calls.append(given)
        return whole(self, *given)

    return mock.patch.object(BlockJournal, method, killed)


@pytest.fixture
def files(rng, tmp_path):
    """A picture in a file, and a kernel of it."""
    picture = rng.integers(0, 256, (800, 410, 3), dtype=np.uint8)
    path = tmp_path / "image.npy"
    np.save(path, picture)
    kernel = picture[20:60, 30:57].copy()
    np.save(tmp_path / "kernel.npy", kernel)
    return SimpleNamespace(path=path, picture=picture, kernel=kernel)


def test_a_killed_run_is_gone_on_with(files, tmp_path):
    expected = patchsim.match(files.picture, files.kernel, map=True)
    path = tmp_path / "m.zarr"
    with killed_behind(3), pytest.raises(Killed):
        patchsim.match(files.path, files.kernel, resume=path, threads=1, **LARGE)
    assert not path.exists()
    assert (tmp_path / "m.zarr.partial").is_dir()
    told = Told()
    report = patchsim.match(files.path, files.kernel, resume=path, observer=told, **LARGE)
    assert told.notices[0].startswith(f"{path}: 3 of ")
    assert report.matches == expected.matches
    assert report.notices == expected.notices
    assert (read(path) == expected.map).all()
    assert not (tmp_path / "m.zarr.partial").exists()


def check_resumed(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20), "seed"))
    size = data.draw(st.tuples(st.integers(12, 200), st.integers(12, 200)), "size")
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    count = data.draw(st.integers(1, 3), "kernels")
    kernels = []
    for _ in range(count):
        tall, wide = (data.draw(st.integers(2, min(side, 40))) for side in size)
        kernels.append(image[size[0] - tall :, size[1] - wide :])
    metric = data.draw(st.sampled_from(["sad", "ssd", "zncc"]), "metric")
    options = {
        "metric": metric,
        "memory": "2MB" if metric == "sad" else "40MB",
        "engine": "simd" if metric == "sad" else "auto",
        "padding": data.draw(st.sampled_from(["valid", "edge", "zero"]), "padding"),
        "stride": data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)), "stride"),
        "threads": data.draw(st.integers(1, 2), "threads"),
        "top": 7,
        "per_kernel": data.draw(st.booleans(), "per kernel"),
    }
    threads = {options["threads"]}
    if data.draw(st.booleans(), "has region"):
        options["region"] = 1, 2, size[1] - 2, size[0] - 3
        kernels = [one[: size[0] - 3, : size[1] - 2] for one in kernels]
    source = "image.npy" if data.draw(st.booleans(), "from a file") else image
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        np.save("image.npy", image)
        if source is not image:
            options["max_pixels"] = 1
        with mock.patch("patchsim.scene.by_windows._SMALL", 1 << 40):
            expected = patchsim.match(source, kernels, resume="whole-{kernel}.zarr", **options)
            for _ in range(data.draw(st.integers(1, 2), "kills")):
                chunks = data.draw(st.integers(0, 6), "chunks")
                try:
                    with killed_behind(chunks):
                        patchsim.match(source, kernels, resume="{kernel}.zarr", **options)
                except Killed:
                    if chunks and count == 1:  # otherwise there may be a new plan, by the threads
                        options["threads"] = 3 - options["threads"]
                        threads.add(options["threads"])
            report = patchsim.match(source, kernels, resume="{kernel}.zarr", **options)
        assert report.matches == expected.matches
        for one, other in zip(report.kernels, expected.kernels, strict=True):
            # Transforms have other sides, and round otherwise, with other threads.
            is_equal = metric == "sad" or len(threads) == 1
            off = 0 if is_equal else one.tolerance + other.tolerance
            assert np.abs(read(one.map) - read(other.map)).max() <= off
            assert one.tolerance == other.tolerance or not is_equal
        os.chdir("/")


@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_resumed_maps_are_those_of_one_run(data):
    check_resumed(data)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_more_resumed_maps_are_those_of_one_run(data):
    check_resumed(data)


@pytest.mark.parametrize("threads", [1, 2])
def test_few_chunks_are_computed_twice(files, threads, tmp_path):
    """A chunk that a kill came upon in the middle is one that a thread was at."""
    asked = {"threads": threads, "engine": "simd", **LARGE, "memory": "1500kB"}
    scored = []
    run_together = runner.run_together

    def counted(plans, image, scores, take, visible=None, todo=None):
        def taken(number, tile, bounds):
            scored.append(tile)
            take(number, tile, bounds)

        return run_together(plans, image, scores, taken, visible, todo)

    at_kill = []

    def kill(journal, *given):
        if len(journal.recorded) == 4:
            at_kill.append(len(scored))
            raise Killed
        journal.recorded.append(given)
        append(journal, *given)

    append = BlockJournal.append
    path = tmp_path / "m.zarr"
    with (
        mock.patch.object(runner, "run_together", counted),
        mock.patch.object(BlockJournal, "recorded", [], create=True),
        mock.patch.object(BlockJournal, "append", kill),
        pytest.raises(Killed),
    ):
        patchsim.match(files.path, files.kernel, resume=path, **asked)
    scored.clear()
    with mock.patch.object(runner, "run_together", counted):
        patchsim.match(files.path, files.kernel, resume=path, **asked)
    chunks = zarr.open(str(path), mode="r").nchunks
    assert chunks > 8
    assert len(scored) == chunks - 4
    assert at_kill[0] - 4 <= threads


def test_a_complete_map_is_not_computed_again(files, tmp_path):
    asked = {"resume": tmp_path / "m.zarr", "heatmap": tmp_path / "h.png", "metric": "sad"}
    first = patchsim.match(files.path, files.kernel, **asked, **LARGE)
    drawn = (tmp_path / "h.png").read_bytes()
    stamps = {one: one.stat().st_mtime_ns for one in (tmp_path / "m.zarr").rglob("*")}
    with mock.patch.object(ResumedMap, "put", side_effect=AssertionError):
        again = patchsim.match(files.path, files.kernel, **asked, **LARGE)
    assert again.matches == first.matches
    assert {one: one.stat().st_mtime_ns for one in (tmp_path / "m.zarr").rglob("*")} == stamps
    assert (tmp_path / "h.png").read_bytes() == drawn


@pytest.mark.parametrize("lost", ["record", "chunk", "half a chunk", "all records"])
def test_what_is_not_whole_is_made_again(lost, files, tmp_path):
    expected = patchsim.match(files.picture, files.kernel, map=True)
    path = tmp_path / "m.zarr"
    with killed_behind(5), pytest.raises(Killed):
        patchsim.match(files.path, files.kernel, resume=path, threads=1, **LARGE)
    store = tmp_path / "m.zarr.partial"
    journal = store / "patchsim.blocks"
    if lost == "record":
        journal.write_bytes(journal.read_bytes()[:-7])
    elif lost == "all records":
        journal.write_bytes(b"")
    else:
        (chunk, *_) = (one for one in (store / "c").rglob("*") if one.is_file())
        half = chunk.with_suffix(".0123456789abcdef.partial")
        half.write_bytes(chunk.read_bytes()[:10])
        if lost == "chunk":
            chunk.unlink()
    told = Told()
    report = patchsim.match(files.path, files.kernel, resume=path, observer=told, **LARGE)
    assert (read(path) == expected.map).all()
    assert report.matches == expected.matches
    assert not list(path.rglob("*.partial"))
    kept = {"record": 4, "chunk": 4, "half a chunk": 5, "all records": 0}[lost]
    assert any(text.startswith(f"{path}: {kept} of ") for text in told.notices) == (kept > 0)


@pytest.mark.parametrize("lost", ["all", "some"])
def test_a_complete_map_without_its_records_is_made_again(lost, files, tmp_path):
    given = {"resume": tmp_path / "m.zarr", "metric": "zncc", "top": 30, "overlap": 0.9}
    given |= {"max_pixels": 1, "memory": "40MB"}
    first = patchsim.match(files.path, files.kernel, **given)
    scores = read(tmp_path / "m.zarr")
    journal = tmp_path / "m.zarr" / "patchsim.blocks"
    journal.write_bytes(journal.read_bytes()[: 0 if lost == "all" else -8])
    again = patchsim.match(files.path, files.kernel, **given)
    assert again.matches == first.matches
    assert (read(tmp_path / "m.zarr") == scores).all()


def test_a_run_that_was_killed_before_its_first_chunk_is_forgotten(files, tmp_path):
    path = tmp_path / "m.zarr"
    left = mock.patch.object(ResumedMap, "discard", lambda self: self._journal.close())
    with killed_behind(0), left, pytest.raises(Killed):
        patchsim.match(files.path, files.kernel, resume=path, **LARGE)
    assert (tmp_path / "m.zarr.partial" / "zarr.json").exists()
    report = patchsim.match(files.path, files.kernel, resume=path, metric="zncc", max_pixels=1)
    assert report.matches == patchsim.match(files.picture, files.kernel, metric="zncc").matches


def test_records_that_are_damaged_do_not_count(tmp_path):
    journal = BlockJournal(tmp_path / "j", "m.zarr")
    assert len(journal.read((2, 3))) == 0
    for row in range(3):
        journal.append((row, 7), 0.5, np.arange(2.0)[None])
    journal.close()
    whole = (tmp_path / "j").read_bytes()
    for place in range(len(whole) - 80, len(whole), 5):  # of the last record
        (tmp_path / "j").write_bytes(
            whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]
        )
        journal = BlockJournal(tmp_path / "j", "m.zarr")
        records = journal.read((2, 3))
        journal.close()
        assert records["row"].tolist() == [0, 1]
        assert np.isnan(records["bounds"]).sum() == 8
    (tmp_path / "j").write_bytes(whole + bytes(80))  # a page that was lost
    journal = BlockJournal(tmp_path / "j", "m.zarr")
    assert len(journal.read((2, 3))) == 3
    journal.close()
    assert (tmp_path / "j").read_bytes() == whole


@pytest.mark.parametrize("at", ["chunk", "record"])
@pytest.mark.usefixtures("files")
def test_a_full_disk_leaves_what_is_there(at, run):
    words = ["match", "image.npy", "kernel.npy", "--max-pixels", "2000", "--memory", "2MB"]
    words += ["--threads", "1", "--no-heatmap", "--resume"]
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    put, write = LocalStore.set, os.write
    left = [4]

    async def set_until_full(self, key, value):
        left[0] -= 1
        if left[0] < 0:
            raise full
        await put(self, key, value)

    def write_until_full(file, data):
        journal = Path("m.zarr.partial/patchsim.blocks")
        if len(data) > 16 and journal.exists() and os.path.samestat(os.fstat(file), journal.stat()):
            left[0] -= 1
            if left[0] < 0:
                raise full
            if left[0] == 0:
                return write(file, data[:20])
        return write(file, data)

    broken = (
        mock.patch.object(LocalStore, "set", set_until_full)
        if at == "chunk"
        else mock.patch("patchsim.files.appended.os.write", write_until_full)
    )
    with broken:
        code, out, err = run(*words, "m.zarr")
    assert (code, out) == (3, "")
    assert err == (
        "patchsim: cannot write m.zarr: No space left on device; free some space or write"
        " elsewhere;\npatchsim: the same command goes on with what is there\n"
    )
    code, out, err = run(*words, "m.zarr")
    assert "m.zarr: 3 of " in err
    assert (code, out) == run(*words, "other.zarr")[:2]
    assert (read("m.zarr") == read("other.zarr")).all()


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"metric": "zncc"}, "metric: sad then, zncc now"),
        ({"stride": 2}, r"stride: \(1, 1\) then, \(2, 2\) now"),
        ({"threshold": 0.5, "top": 5}, "threshold: None then, 0.5 now"),
        ({"tolerance": 0.01}, "tolerance: 0.0 then, 0.01 now"),
        ({"engine": "simd"}, "engine: auto then, simd now"),
        ({"kernel": 1}, r"kernel 1: [0-9a-f]{12}\.\.\. then, [0-9a-f]{12}\.\.\. now"),
        ({"mask": np.eye(40, 27, dtype=np.uint8)}, "kernel 1: "),
        (
            {"image": 1},
            r"image: 984128 bytes, changed at [-\d]+ [:.\d]+ UTC then, 984128 bytes, ",
        ),
    ],
)
def test_another_search_is_refused(changed, part, files, tmp_path):
    given = {"image": files.path, "kernel": files.kernel, "resume": tmp_path / "m.zarr", "top": 5}
    for complete in (False, True):
        if complete:
            patchsim.match(**given, **LARGE)
        else:
            with killed_behind(2), pytest.raises(Killed):
                patchsim.match(**given, **LARGE)
        name = "m.zarr" if complete else "m.zarr.partial"
        other = {**given, **changed}
        if "kernel" in changed:
            other["kernel"] = files.kernel + 1
        if "image" in changed:
            other["image"] = files.path
            stamp = files.path.stat()
            os.utime(files.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
        with pytest.raises(InputError, match=f"{name} is of a search with another {part}") as error:
            patchsim.match(**{**other, **LARGE})
        assert str(error.value).count("\n") == 1
        if "image" in changed:
            os.utime(files.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_a_map_of_an_array_is_told_by_its_pixels(files, tmp_path):
    given = {"kernel": files.kernel, "resume": tmp_path / "m.zarr"}
    first = patchsim.match(files.picture, **given)
    assert patchsim.match(files.picture.copy(), **given).matches == first.matches
    other = files.picture.copy()
    other[-1, -1, -1] ^= 1
    with pytest.raises(InputError, match="with another image: "):
        patchsim.match(other, **given)


@pytest.mark.usefixtures("files")
def test_what_cannot_be_resumed_is_refused(run, tmp_path):
    words = ["match", "image.npy", "kernel.npy", "--no-heatmap"]
    for more, text in (
        (
            ["--resume", "m.npy"],
            "m.npy cannot be gone on with; a map that is resumed",
        ),
        (["--resume", "no/m.zarr"], "no does not exist; create it or choose another"),
        (["--resume", "m.zarr", "--map", "m.npy"], "--map and --resume both name the file of"),
        (["--resume", "m.zarr", "--angles", "90"], "is of kernels as they are; leave out the pose"),
        (["--resume", "m.zarr", "--wait", "1"], "--resume goes on with the map of one image"),
        (["--resume", "{x}.zarr"], "resume {x}.zarr has the unknown placeholder {x}"),
        (["kernel.npy", "--resume", "m.zarr"], "m.zarr is one file for 2 kernels; put {kernel}"),
    ):
        code, out, err = run(*words, *more)
        assert (code, out) == (2, ""), more
        assert text in err, more
        assert err.count("\n") <= 2, more
        assert not list(tmp_path.glob("*.partial")), more
    zarr.save(str(tmp_path / "m.zarr"), np.zeros((3, 3)))
    code, _, err = run(*words, "--resume", "m.zarr")
    assert code == 2
    assert "m.zarr is there and is no map that can be resumed; remove it, or give" in err
    assert not (tmp_path / "m.zarr" / "patchsim.blocks").exists()
    with mock.patch.dict("sys.modules", {"zarr": None}):
        assert "needs the package zarr: pip install zarr" in run(*words, "--resume", "n.zarr")[2]


@pytest.mark.usefixtures("files")
def test_damaged_attributes_are_told(run, tmp_path):
    words = ["match", "image.npy", "kernel.npy", "--no-heatmap", "--resume", "m.zarr"]
    assert run(*words)[0] == 0
    path = tmp_path / "m.zarr" / "zarr.json"
    described = json.loads(path.read_text())
    for damage in (
        None,
        {"engine": "simd"},
        {**described["attributes"]["patchsim"]["plan"], "tile": [0, "x"]},
    ):
        described["attributes"]["patchsim"]["plan"] = damage
        path.write_text(json.dumps(described))
        code, _, err = run(*words)
        assert code == 2
        assert "m.zarr are damaged; remove it, or give another name" in err


def test_too_little_memory_for_the_same_tiles_is_told(files, tmp_path):
    given = {"resume": tmp_path / "m.zarr", "max_pixels": 1, "engine": "simd", "threads": 1}
    with killed_behind(1), pytest.raises(Killed):
        patchsim.match(files.path, files.kernel, memory="4MB", **given)
    with pytest.raises(InputError, match=r"memory 1.6 MB does not suffice for tiles of .* which"):
        patchsim.match(files.path, files.kernel, memory="1.6MB", **given)
    report = patchsim.match(files.path, files.kernel, memory="4MB", **given)
    assert report.best.score == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has other locks")
def test_two_at_once_are_refused(files, tmp_path):
    taken = ResumedMap(str(tmp_path / "m.zarr"), {})
    with pytest.raises(InputError, match="is being written by another search; wait for its end"):
        patchsim.match(files.path, files.kernel, resume=tmp_path / "m.zarr", **LARGE)
    taken.discard()
    assert not (tmp_path / "m.zarr.partial").exists()
    patchsim.match(files.path, files.kernel, resume=tmp_path / "m.zarr", **LARGE)


def test_an_interruption_leaves_what_is_there(files, tmp_path):
    def ended(*_, **__):
        raise KeyboardInterrupt

    path = tmp_path / "m.zarr"
    with mock.patch("patchsim.matching.assemble.report", ended), pytest.raises(KeyboardInterrupt):
        patchsim.match(files.path, files.kernel, resume=path, **LARGE)
    with mock.patch.object(ResumedMap, "put", side_effect=AssertionError):
        report = patchsim.match(files.path, files.kernel, resume=path, **LARGE)
    assert report.best.score == 1


WORDS = (
    "match", "../big.npy", "../k.npy", "--max-pixels", "5000", "--memory", "40MB", "--threads", "2",
    "--top", "20", "--overlap", "0.8", "--quiet", "--format", "json",
)  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder with a picture whose search takes about a quarter of a second."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (1300, 1100, 3), dtype=np.uint8)
    np.save(folder / "big.npy", picture)
    np.save(folder / "k.npy", picture[700:760, 800:870] // 2 + 60)
    return folder


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("metric", ["sad", "zncc"])
@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_maps_and_matches_survive_kills(metric, kills, large):
    folder = Path(tempfile.mkdtemp(dir=large))
    words = [*WORDS, "--metric", metric]
    whole = started(*words, "--resume", "whole.zarr", "--heatmap", "whole.png", cwd=folder)
    expected, _ = whole.communicate(timeout=120)
    assert whole.returncode == 0
    chance, done = random.Random(kills), 0
    words += ["--resume", "m.zarr", "--heatmap", "h.png"]
    while done < kills:
        store = folder / "m.zarr.partial"
        before = _size(store)
        with started(*words, cwd=folder) as process:
            # A kill comes when the search goes on, at any moment behind that.
            while process.poll() is None and _size(store) == before:
                time.sleep(0.002)
            time.sleep(chance.random() * 0.05)
            process.kill()
        done += process.returncode == -signal.SIGKILL
        if process.returncode == 0:  # it was too fast: begin again
            assert (read(folder / "m.zarr") == read(folder / "whole.zarr")).all()
            subprocess.run(["rm", "-r", folder / "m.zarr"], check=True)
    with started(*words, cwd=folder) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert _without_names(out) == _without_names(expected)
    assert (read(folder / "m.zarr") == read(folder / "whole.zarr")).all()
    assert load_picture(folder / "h.png").size == load_picture(folder / "whole.png").size
    left = sorted(one.name for one in folder.iterdir())
    assert left == ["h.png", "m.zarr", "whole.png", "whole.zarr"]
    assert not list((folder / "m.zarr").rglob("*.partial"))


def _size(store):
    """The bytes of the records of a map, which grow while it is made."""
    try:
        return (store / resumed_map._JOURNAL).stat().st_size
    except OSError:
        return -1


def _without_names(out):
    document = json.loads(out)
    del document["seconds"]
    for one in (document, *document["kernels"]):
        del one["map"], one["heatmap"]
    return document


def test_an_error_of_another_output_keeps_the_map(files, tmp_path):
    """The map appears before the picture that cannot be written, or stays to be gone on with."""
    path = tmp_path / "m.zarr"
    with (
        mock.patch(
            "patchsim.output.exporters.heatmap.write", side_effect=OSError(errno.ENOSPC, "full")
        ),
        pytest.raises(OutputError),
    ):
        patchsim.match(files.path, files.kernel, resume=path, heatmap=tmp_path / "h.png", **LARGE)
    with mock.patch.object(ResumedMap, "put", side_effect=AssertionError):
        report = patchsim.match(
            files.path, files.kernel, resume=path, heatmap=tmp_path / "h.png", **LARGE
        )
    assert report.best.score == 1
