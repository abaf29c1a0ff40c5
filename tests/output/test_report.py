"""A report in the forms of other packages."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest
from skimage.feature import match_template, peak_local_max

import patchsim
from patchsim import InputError, match
from patchsim.output import doubts
from patchsim.output.stretch import Stretch


@pytest.fixture
def report(astronaut):
    kernels = [astronaut[100:140, 200:250], astronaut[300:330, 50:80]]
    return match(astronaut, kernels, top=3, subpixel=True)


def test_a_report_is_a_collection_of_its_matches(report):
    assert len(report) == len(report.matches) == 3
    assert list(report) == list(report.matches)
    assert report
    assert report.best in report
    assert (report[0], report[-1]) == (report.matches[0], report.matches[-1])
    assert report[1:] == report.matches[1:]
    assert list(reversed(report)) == list(report.matches[::-1])
    with pytest.raises(IndexError):
        report[3]


def test_a_report_without_matches_is_false_and_empty(astronaut):
    nothing = match(astronaut, 255 - astronaut[:40, :40], threshold=0.999)
    assert not nothing
    assert (len(nothing), list(nothing), nothing.best) == (0, [], None)


@pytest.mark.parametrize("name", ["Match", "Report"])
def test_results_name_the_public_module(name):
    assert getattr(patchsim, name).__module__ == "patchsim"
    assert "kernel" in "".join(get_type_hints(getattr(patchsim, name)))


def test_a_pickled_report_is_read_by_a_fresh_process(report):
    data = pickle.dumps(report)
    read = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer)))"
    result = subprocess.run([sys.executable, "-c", read], input=data, capture_output=True)
    assert (result.stdout.strip(), result.stderr) == (b"3", b"")
    again = pickle.loads(data)
    assert again == report
    assert all(type(m) is patchsim.Match for m in again)


def test_a_data_frame_has_the_keys_of_json(report):
    frame = report.to_pandas()
    assert list(frame.columns) == [
        "x", "y", "width", "height", "center_x", "center_y", "score", "kernel",
        "x_subpixel", "y_subpixel",
        "click_x", "click_y",
    ]  # fmt: skip
    assert frame["x"].tolist() == [m.x for m in report.matches]
    assert frame["center_y"].tolist() == [m.y + m.height / 2 for m in report.matches]
    assert frame.loc[0, "score"] == 1.0
    assert set(frame["kernel"]) == {"kernel-1", "kernel-2"}


def test_a_data_frame_without_matches_has_columns(astronaut):
    nothing = match(astronaut, 255 - astronaut[:40, :40], threshold=0.999)
    assert nothing.matches == ()
    frame = nothing.to_pandas()
    assert (len(frame), list(frame.columns)[:2]) == (0, ["x", "y"])
    assert nothing.row_col().shape == (0, 2)
    assert nothing.row_col_rectangles().shape == (0, 4, 2)
    assert nothing.to_coco()["annotations"] == []


def test_without_pandas_it_is_named(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        report.to_pandas()


def test_coco_detections(report):
    found = report.to_coco(image_id=7)
    assert found["categories"] == [{"id": 1, "name": "kernel-1"}, {"id": 2, "name": "kernel-2"}]
    for annotation, m in zip(found["annotations"], report.matches, strict=True):
        assert annotation == {
            "image_id": 7,
            "category_id": int(m.kernel[-1]),
            "bbox": [m.x, m.y, m.width, m.height],
            "score": m.score,
        }


def test_rows_and_columns_are_those_of_scikit_image(astronaut):
    grey = np.ascontiguousarray(astronaut[..., 1])
    kernel = grey[120:152, 210:250]
    peak = peak_local_max(match_template(grey, kernel), num_peaks=1)
    np.testing.assert_array_equal(match(grey, kernel, metric="zncc", top=1).row_col(), peak)


def test_rectangles_hold_the_pixels_of_the_match(report, astronaut):
    for corners, m in zip(report.row_col_rectangles(), report.matches, strict=True):
        (top, left), (_, right), (bottom, _), _ = corners.astype(int)
        assert astronaut[top : bottom + 1, left : right + 1].shape[:2] == (m.height, m.width)
        assert (left, top) == (m.x, m.y)


@pytest.mark.parametrize("several", [False, True])
def test_poses_that_were_asked_for_are_told_behind_the_rest(several, run, save, astronaut):
    save("scene.png", astronaut[:120, :140])
    save("part.png", astronaut[30:54, 40:64])
    save("other.png", astronaut[60:80, 90:112])
    kernels = ["part.png", "other.png"] if several else ["part.png"]
    words = ("match", "scene.png", *kernels, "--top", "1", "--no-heatmap", "--format", "json")
    _, plain, _ = run(*words)
    assert "poses" not in json.loads(plain)
    _, out, _ = run(*words, "--scales", "0.9:1.25:0.1", "--angles", "90,-90,0", "--flips", "h")
    found = json.loads(out)
    assert list(found)[: len(json.loads(plain))] == list(json.loads(plain))
    assert list(found)[-1] == "poses"
    assert found["poses"] == {
        "scales": [0.9, 1.0, 1.1, 1.2, 1.25], "angles": [0.0, 90.0, 270.0],
        "scale_step": 0.1, "angle_step": None, "flips": ["none", "h"],
        "exhaustive": False, "count": 30,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "exhaustive", "count"),
    [
        ({"angles": [0, 90, 180, 270]}, True, 4),  # quarter turns are searched in windows
        ({"angles": [0, 45]}, False, 2),
        ({"angles": "any"}, False, None),
        ({"angles": "0:350:10"}, False, 36),
        ({"angles": "0:350:10", "exhaustive": True}, True, 36),
        ({"flips": "h,v", "angles": [0, 180]}, True, 4),  # upside down is left to right, turned
    ],
)
def test_a_report_says_which_poses_were_searched_how(options, exhaustive, count, astronaut):
    report = match(astronaut[:90, :100], astronaut[30:46, 40:56], top=1, **options)
    assert report.posed
    assert (report.poses.exhaustive, report.poses.count) == (exhaustive, count)
    assert pickle.loads(pickle.dumps(report)) == report
    again = match(astronaut[:90, :100], astronaut[30:46, 40:56], top=1)
    assert (again.posed, again.poses) == (False, None)


def test_no_output_says_that_a_score_next_to_1_is_1(tmp_path, rng):
    """Scores are rounded down where they are shown, whatever shows them."""
    image = rng.integers(0, 65536, (90, 90), np.uint16)
    kernel = image[20:52, 30:62].copy()
    kernel[5, 5] ^= 8
    page, heatmap = tmp_path / "page.html", tmp_path / "map.png"
    report = match(image, kernel, top=1, report=page, heatmap=heatmap, map=True)
    assert 0.9999995 < report.best.score < 1
    told = [line for line in Stretch.of(report.maps[0]).described.split() if "0.99" in line]
    assert told == ["0.999999"]
    for text in (report._repr_html_(), report.best._repr_html_()):
        assert "<td>0.999999</td>" in text
        assert "<td>1</td>" not in text
    assert ">0.999999</td>" in page.read_text(encoding="utf-8")
    assert told_doubts(report, 1 - 1e-7) == ["0.9999", "(0.9999)"]


def told_doubts(report, empty):
    """The scores in the line that doubts a match, if an empty area scores so much."""
    kernels = tuple(replace(one, empty_score=empty) for one in report.kernels)
    line = doubts.doubt(replace(report, kernels=kernels))
    return re.findall(r"\(?0\.99\d+\)?|\(1\)| 1 ", line)
