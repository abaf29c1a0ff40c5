"""Searches in parts: each part is a file, and all together give the matches of one process."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from helpers import said
from hypothesis import given, settings
from hypothesis import strategies as st

import patchsim
from patchsim import InputError, Matcher
from patchsim.cluster import part_files, parts
from patchsim.cluster.part_files import Part
from patchsim.events import Observer


@settings(deadline=None)
@given(
    map_rows=st.lists(st.integers(1, 3000), min_size=1, max_size=3),
    kernel_rows=st.integers(1, 300),
    stride=st.integers(1, 9),
    total=st.integers(1, 70),
)
def test_the_bands_of_all_parts_cover_each_row_of_the_maps_once(
    map_rows, kernel_rows, stride, total
):
    jobs = [
        SimpleNamespace(
            plan=SimpleNamespace(
                problem=SimpleNamespace(
                    map_shape=(rows, 7), kernel=(kernel_rows, 5), stride=(stride, 1)
                )
            )
        )
        for rows in map_rows
    ]
    search = SimpleNamespace(jobs=jobs, parts=[[index] for index in range(len(jobs))])
    scored = [[] for _ in jobs]
    with mock.patch.object(parts.work, "score_band", lambda _search, _todo, band: [band]):
        for number in range(1, total + 1):
            for band in parts._scored(search, None, Part(number, total), Observer()):
                scored[band.jobs[0]] += range(band.top, band.top + band.rows)
    assert scored == [list(range(max(map_rows)))] * len(jobs)


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_parts_give_the_matches_of_one_process(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20), "seed"))
    size = data.draw(st.tuples(st.integers(12, 330), st.integers(12, 130)), "size")
    dtype = data.draw(st.sampled_from(["u1", "u2", "f4"]), "dtype")
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8).astype(dtype)
    image = image / np.float32(255) if dtype == "f4" else image
    kernels = []
    for _ in range(data.draw(st.integers(1, 3), "kernels")):
        tall, wide = (data.draw(st.integers(2, min(side, 40))) for side in size)
        top, left = (
            data.draw(st.integers(0, most - side))
            for most, side in zip(size, (tall, wide), strict=True)
        )
        kernels.append(image[top : top + tall, left : left + wide])
    options = {
        "metric": data.draw(st.sampled_from(["sad", "ssd", "ncc", "zncc"]), "metric"),
        "padding": data.draw(st.sampled_from(["valid", "edge", "transparent"]), "padding"),
        "stride": data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)), "stride"),
        "threshold": data.draw(st.sampled_from([None, 0.8, "auto"]), "threshold"),
        "per_kernel": data.draw(st.booleans(), "per kernel"),
        "angles": data.draw(st.sampled_from([None, "0,90"]), "angles"),
        "subpixel": data.draw(st.booleans(), "subpixel"),
        "top": 6,
        "margin": True,
    }
    if data.draw(st.booleans(), "has region"):
        options["region"] = 1, 2, size[1] - 1, size[0] - 2
        kernels = [one[: size[0] - 2, : size[1] - 1] for one in kernels]
    total = data.draw(st.integers(1, 8), "parts")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.npy")
        np.save(path, image)
        expected = patchsim.match(path, kernels, **options)
        names = []
        for number in data.draw(st.permutations(range(1, total + 1)), "order"):
            own = {"threads": data.draw(st.integers(1, 2)), "memory": "40MB"}
            names.append(f"{folder}/{number}.npz")
            parts.compute(
                Matcher(kernels, **options, **own), str(path), Part(number, total), names[-1],
                flags={}, observer=Observer(),
            )  # fmt: skip
        matcher = Matcher(kernels, **options)
        report = matcher.match(path, cluster=parts.read_all(names))
    assert report.matches == expected.matches
    assert report.threshold == expected.threshold
    if report.matches:
        assert report.notices == expected.notices
    else:  # how close the best place came is told as far as that is known
        told = [one.notices[-1].partition(";")[0] for one in (report, expected) if one.notices]
        assert told[:1] == told[1:]


@pytest.fixture
def folder(rng, tmp_path, monkeypatch):
    """A folder with a picture of four rows of blocks and a kernel, the current one."""
    monkeypatch.chdir(tmp_path)
    picture = rng.integers(0, 256, (285, 150, 3), dtype=np.uint8)
    np.save("big.npy", picture)
    np.save("k.npy", picture[100:131, 60:90])
    np.save("other.npy", picture[10:45, 20:60] // 2)
    return tmp_path


def computed(run, *words, total):
    """The files of all parts, from the last one on."""
    for number in range(total, 0, -1):
        code, out, err = run("match", *words, "--part", f"{number}/{total}")
        assert (code, out) == (0, ""), err
        assert err.startswith(f"patchsim: part {number} of {total}: big.part-{number}-of-{total}")
    return [f"big.part-{number}-of-{total}.npz" for number in range(total, 0, -1)]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("total", [1, 3, 9])  # there are four rows of blocks
@pytest.mark.parametrize(
    "words",
    [
        "--top 20",
        "--threshold 0.9 --format json --no-margin",
        "--threshold 0.99999 --format jsonl",
        "--metric zncc --threshold auto --format csv --columns x,y,score,margin",
        "--no-heatmap --subpixel --print '{x}/{y} {score}'",
        "--heatmap none --per-kernel --top 2 --sort reading --region 5,5,140,250",
    ],
)
def test_merge_prints_what_match_prints(words, total, run):
    words = ["big.npy", "k.npy", "other.npy", *words.replace("'", "").split(" ")]
    if "--print" in words:
        words = [*words[:-2], "{x}/{y} {score}"]
    code, expected, told = run("match", *words)
    files = computed(run, *words, total=total)
    merged = run("merge", *files)
    assert merged[0] == code
    if "json" in words:
        documents = [json.loads(text) for text in (expected, merged[1])]
        for document in documents:
            del document["seconds"], document["heatmap"]
            for kernel in document["kernels"]:
                del kernel["heatmap"]
        assert documents[0] == documents[1]
    else:
        assert merged[1] == expected
    assert merged[2] == "".join(line for line in told.splitlines(True) if "heatmap" not in line)


@pytest.mark.usefixtures("folder")
def test_a_part_without_rows_tells_how_many_have_some(run):
    for number, says in (
        (1, "no rows: there is work for 4 parts at most"),
        (9, "63 rows of 255 from row 192"),
    ):
        _, _, err = run("match", "big.npy", "k.npy", "--part", f"{number}/9")
        assert err.endswith(f"big.part-{number}-of-9.npz, {says}\n")


@pytest.mark.usefixtures("folder")
def test_what_merge_is_told_wins(run):
    files = computed(run, "big.npy", "k.npy", "--format", "json", "--top", "2", total=2)
    assert run("merge", *files, "--format", "csv")[1].startswith("x,y,width,height,score,")
    assert run("merge", *files, "--print", "{x} {y}")[1].splitlines()[0] == "60 100"
    assert json.loads(run("merge", *files)[1])["matches"][0]["x"] == 60
    code, out, err = run(
        "merge", *files, "--columns", "y,x", "--format", "tsv", "--no-header", "--overlay", "o.png",
        "--report", "r.html", "--labels", "score",
    )  # fmt: skip
    assert (code, out.splitlines()[0]) == (0, "100\t60"), err
    assert Path("o.png").exists()
    assert Path("r.html").exists()


@pytest.mark.usefixtures("folder")
def test_parts_that_are_not_those_of_one_search_are_named(run):
    words = ["big.npy", "k.npy", "--top", "3"]
    three = computed(run, *words, total=3)
    two = computed(run, *words, total=2)
    run("match", *words, "--part", "1/3", "--part-file", "again.npz")
    run("match", *words, "--metric", "zncc", "--part", "1/3", "--part-file", "zncc.npz")
    run("match", "big.npy", "other.npy", "--part", "1/3", "--part-file", "kernel.npz")
    Path("cut.npz").write_bytes(Path("again.npz").read_bytes()[:-40])
    Path("empty.npz").write_bytes(b"")
    for files, text in (
        (three[:1], "of 3 parts numbers 1, 2 are missing; compute them with --part 1/3 and so on"),
        (three[1:], "of 3 parts number 3 is missing; compute it with --part 3/3"),
        (
            [*three, "again.npz"],
            f"part 1 of 3 is given twice, by {three[2]} and by again.npz; l",
        ),
        ([three[0], three[0]], f"part 3 of 3 is given twice, by {three[0]} and by {three[0]}; l"),
        ([*three[:2], two[0]], f"{three[0]} is part 3 of 3 and {two[0]} part 2 of 2; give the p"),
        ([*three[:2], "zncc.npz"], "are of searches with different metric: sad and zncc;\ngive"),
        ([*three[:2], "kernel.npz"], "are of searches with different kernel 1: "),
        ([*three[:2], "no.npz"], "no.npz does not exist; check the path"),
        ([*three[:2], "k.npy"], "k.npy is damaged, or no part of a search that this version wro"),
        ([*three[:2], "cut.npz"], "cut.npz is damaged, or no part of a search that this version"),
        ([*three[:2], "empty.npz"], "empty.npz is damaged, or no part of a search that this ver"),
        (["."], ". is a folder; give a part of a search"),
    ):
        code, out, err = run("merge", *files)
        assert (code, out) == (2, ""), files
        assert text in said(err), files
        assert err.count("\n") <= 2, files
    assert run("merge", *three)[0] == 0


@pytest.mark.usefixtures("folder")
def test_an_image_or_kernel_that_changed_is_told(run):
    files = computed(run, "big.npy", "k.npy", total=2)
    kernel = np.load("k.npy")
    np.save("k.npy", kernel[1:])
    code, _, err = run("merge", *files)
    assert code == 2
    assert "part-1-of-2.npz is of a search with another kernel 1: " in err
    assert err.endswith("patchsim: compute all parts again\n")
    np.save("k.npy", kernel)
    assert run("merge", *files)[0] == 0
    os.utime("big.npy", ns=(1, 1))
    code, _, err = run("merge", *files)
    assert code == 2
    assert "with another image: 128378 bytes, changed at " in err
    Path("big.npy").unlink()
    assert run("merge", *files)[0] == 2


@pytest.mark.usefixtures("folder")
def test_what_does_not_go_with_a_part_is_refused(run, tmp_path):
    before = sorted(tmp_path.iterdir())
    for words, text in (
        (["--part", "0/2"], "part 0/2 is not possible; give I/N, such as 3/8, with I from 1 to N"),
        (["--part", "3/2"], "part 3/2 is not possible"),
        (["--part", "2"], "part 2 is not possible"),
        (["--part", "-1/2"], "part -1/2 is not possible"),
        (["--part", "1/2", "--map", "m.npy"], "--map needs the scores of all windows, which parts"),
        (["--part", "1/2", "--resume", "m.zarr"], "--resume needs the scores of all windows, wh"),
        (["--part", "1/2", "--heatmap", "h.png"], "--heatmap needs the scores of all windows, wh"),
        (["--part", "1/2", "--blend", "h.png"], "--blend needs the scores of all windows, which "),
        (["--part", "1/2", "--overlay", "o.png"], "--overlay is of the whole search; give it to "),
        (["--part", "1/2", "--report", "r.html"], "--report is of the whole search; give it to "),
        (["--part", "1/2", "--cluster", "local:1"], "--cluster and --part both split the search"),
        (["--part", "1/2", "--wait", "3"], "--wait looks at a picture again and again"),
        (["--part", "1/2", "--engine", "pruned"], "the engine pruned scores no map, which a sear"),
        (["--part", "1/2", "--frame", "0"], "frame is not for a search in parts"),
        (["--part", "1/2", "--angles", "any"], "scales and angles other than quarter turns are"),
        (["--part", "1/2", "--part-file", "p.txt"], "p.txt would be written as .npz; end its na"),
        (["--part", "1/2", "--part-file", "no/p.npz"], "/no does not exist; create it or choose"),
        (["--part-file", "p.npz"], "--part-file is about a part; give --part I/N with it"),
    ):
        code, out, err = run("match", "big.npy", "k.npy", *words)
        assert (code, out) == (2, ""), words
        assert text in said(err), words
        assert err.count("\n") <= 2, words
    code, _, err = run("match", "-", "k.npy", "--part", "1/2")
    assert code == 2
    assert "the image is standard input, but a search in parts opens it by its path" in said(err)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("folder")
def test_plans_of_parts_are_explained(run):
    code, out, err = run("match", "big.npy", "k.npy", "--part", "1/2", "--explain")
    assert (code, out) == (0, "")
    assert "plan for k.npy: " in err
    assert "chosen: " in err


@pytest.mark.usefixtures("folder")
def test_a_part_appears_whole_or_not_at_all(run, tmp_path):
    before = sorted(tmp_path.iterdir())
    with mock.patch.object(np, "savez", side_effect=OSError(28, "No space left on device")):
        code, _, err = run("match", "big.npy", "k.npy", "--part", "1/2")
    assert code == 3
    assert "cannot write big.part-1-of-2.npz: No space left on device" in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "fault",
    [
        "format",
        "part",
        "flags",
        "kernel",
        "overlay",
        "rows",
        "job",
        "nan",
        "zip",
        "fingerprint",
        "error",
    ],
)
def test_files_that_are_changed_are_refused(fault, run):
    files = computed(run, "big.npy", "k.npy", total=2)
    with np.load(files[0]) as archive:
        header, bounds = json.loads(archive["header"].tobytes()), archive["bounds"]
    if fault == "format":
        header["format"] = 2
    elif fault == "part":
        header["part"] = [0, 2]
    elif fault == "flags":
        header["flags"]["unknown"] = "1"
    elif fault == "kernel":
        header["flags"]["image"] = 7
    elif fault == "overlay":  # a file of a stranger lets no other file be written
        header["flags"]["overlay"] = "written.png"
    elif fault == "fingerprint":
        header["fingerprint"] = []
    elif fault == "error":
        header["bands"][0][4] = 10**400
    elif fault == "rows":
        header["bands"], bounds = header["bands"][1:], bounds[len(bounds) :]
        header["bands"].clear()
    elif fault == "job":
        header["bands"][0][0] = 5
    elif fault == "nan":
        bounds = np.full_like(bounds, np.nan)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    (np.savez_compressed if fault == "zip" else np.savez)(files[0], header=text, bounds=bounds)
    code, out, err = run("merge", *files)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    expected = {
        "flags": "the parts are of another version; compute them again with this one",
        "kernel": "the parts are of another version; compute them again with this one",
        "overlay": "the parts are of another version; compute them again with this one",
        "rows": "part-2-of-2.npz has other rows than part 2 of 2 of this search; compute it again",
        "job": "part-2-of-2.npz has other rows than part 2 of 2 of this search; compute it again",
    }
    assert expected.get(fault, "part-2-of-2.npz is damaged, or no part of a search") in err


@pytest.mark.usefixtures("folder")
def test_a_band_in_place_of_another_is_refused():
    matcher = Matcher(np.load("k.npy"))
    part = parts.compute(matcher, "big.npy", Part(1, 1), "p.npz", flags={}, observer=Observer())
    assert len(part.bands) > 1
    forged = dataclasses.replace(part, bands=[part.bands[0]] * (len(part.bands) + 2))
    with pytest.raises(InputError, match="has other rows than part 1 of 1 of this search"):
        matcher.match("big.npy", cluster=parts.Merged([forged]))


def test_parts_of_equal_searches_are_equal_files(folder):
    matcher = Matcher(np.load("k.npy"))
    for name in ("a.npz", "b.npz"):
        parts.compute(matcher, "big.npy", Part(1, 2), name, flags={"top": "3"}, observer=Observer())
    assert (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()
    read = part_files.read("a.npz")
    assert read.part == (1, 2)
    assert read.flags == {"top": "3"}
    with zipfile.ZipFile("a.npz") as archive:
        assert all(one.compress_type == zipfile.ZIP_STORED for one in archive.infolist())


def test_no_parts_are_refused():
    with pytest.raises(InputError, match="there are no parts; give the files that match --part"):
        parts.read_all([])


@pytest.mark.usefixtures("folder")
def test_a_part_that_states_an_endless_array_is_refused(run):
    (name,) = computed(run, "big.npy", "k.npy", total=1)
    with zipfile.ZipFile(name) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    members["bounds.npy"] = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(members["bounds.npy"], header)
    members["bounds.npy"] = members["bounds.npy"].getvalue()
    with zipfile.ZipFile(name, "w") as archive:
        for one, content in members.items():
            archive.writestr(one, content)
    code, out, err = run("merge", name)
    assert (code, out) == (2, "")
    assert f"{name} is damaged, or no part of a search" in err
