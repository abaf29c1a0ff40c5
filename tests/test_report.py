"""A report in the forms of other packages."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from skimage.feature import match_template, peak_local_max

from patchsim import InputError, match


@pytest.fixture
def report(astronaut):
    kernels = [astronaut[100:140, 200:250], astronaut[300:330, 50:80]]
    return match(astronaut, kernels, top=3, subpixel=True)


def test_a_data_frame_has_the_keys_of_json(report):
    frame = report.to_pandas()
    assert list(frame.columns) == [
        "x", "y", "width", "height", "center_x", "center_y", "score", "kernel", "margin",
        "x_subpixel", "y_subpixel",
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
