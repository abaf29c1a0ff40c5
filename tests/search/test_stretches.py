"""Kernels scaled by more along one side than along the other, planted by another library."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from PIL import Image

import patchsim
from patchsim.errors import InputError

CENTER = (150.3, 120.7)
_FINER = 4  # the planted copy is drawn so many times as large, and each pixel is a mean of it


def placed(kernel, stretch, angle, flip):
    """Matrix and offset from (x, y) in the kernel to those in the picture."""
    turn = math.radians(angle)
    turned = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    matrix = turned @ np.diag(stretch[::-1])
    matrix = matrix @ np.diag([-1.0 if flip == "h" else 1.0, -1.0 if flip == "v" else 1.0])
    height, width = kernel.shape[:2]
    return matrix, np.array(CENTER) - matrix @ (width / 2, height / 2)


def planted(picture, kernel, stretch, angle=0.0, flip="none"):
    """The picture with the stretched, mirrored and turned kernel on it, and its corners."""
    matrix, offset = placed(kernel, stretch, angle, flip)
    affine = np.hstack([matrix, offset[:, None]]) * _FINER
    affine[:, 2] += affine[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from the middle of a pixel
    height, width = picture.shape[:2]

    def shown(values, how):
        large = cv2.warpAffine(
            values.astype(np.float32), affine, (width * _FINER, height * _FINER), flags=how,
            borderMode=cv2.BORDER_CONSTANT if values.ndim == 2 else cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)

    cover = shown(np.ones(kernel.shape[:2]), cv2.INTER_NEAREST)[..., None]
    mixed = picture * (1 - cover) + shown(kernel, cv2.INTER_CUBIC) * cover
    high, wide = kernel.shape[:2]
    corners = [matrix @ corner + offset for corner in ((0, 0), (wide, 0), (wide, high), (0, high))]
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), np.array(corners)


@pytest.fixture(scope="module")
def picture(astronaut):
    return np.ascontiguousarray(astronaut[:240, :300])


@pytest.fixture(scope="module")
def kernel(coffee):
    return np.ascontiguousarray(coffee[100:141, 200:259])  # odd sides


@pytest.mark.parametrize("metric", ["sad", "zncc"])
@pytest.mark.parametrize(
    ("stretch", "angle", "flip"),
    [
        ((1, 1.31), 0, "none"),
        ((0.8, 1.31), 30, "none"),
        ((0.8, 1.31), 30, "h"),
        ((2.2, 0.6), 75, "v"),
        ((0.5, 1.5), 200, "h"),
    ],
)
def test_a_stretched_kernel_is_found_turned_and_mirrored(
    picture, kernel, metric, stretch, angle, flip
):
    scene, corners = planted(picture, kernel, stretch, angle, flip)
    flips = None if flip == "none" else flip
    best = patchsim.match(
        scene, kernel, scales=[stretch, 1.0], angles=f"{angle - 5}:{angle + 5}", flips=flips,
        metric=metric, top=1,
    ).best  # fmt: skip
    assert (best.scale_y, best.scale_x, best.flip) == (*stretch, flip)
    assert best.scale == pytest.approx(math.sqrt(math.prod(stretch)), abs=1e-4)
    assert np.abs(np.array(best.corners) - corners).max() < 0.25
    assert best.score > 0.97


@pytest.mark.parametrize("angles", [None, "20,30,40"])
def test_an_exhaustive_search_finds_the_same(picture, kernel, angles):
    stretch = (0.8, 1.31)
    scene, _ = planted(picture, kernel, stretch, 30 if angles else 0)
    asked = {"scales": "1.31x0.8,1,0.9x1.2", "angles": angles, "top": 1}
    quick, slow = (patchsim.match(scene, kernel, exhaustive=e, **asked).best for e in (False, True))
    assert (slow.scale_y, slow.scale_x, slow.angle) == (*stretch, 30 if angles else 0)
    assert quick.stretch == slow.stretch
    assert np.abs(np.subtract(quick.corners, slow.corners)).max() < 0.02
    assert quick.score == pytest.approx(slow.score, abs=1e-5)


def test_a_kernel_that_pillow_stretched_lies_at_whole_pixels(picture, kernel):
    even = np.ascontiguousarray(kernel[:, :58])
    scene = picture.copy()
    scene[50:91, 70:157] = Image.fromarray(even).resize((87, 41), Image.Resampling.BICUBIC)
    best = patchsim.match(scene, even, scales="1.5x1", top=1).best
    assert (best.x, best.y, best.width, best.height) == (70, 50, 87, 41)
    assert best.corners == ((70, 50), (157, 50), (157, 91), (70, 91))
    assert best.score > 1 - 0.5 / 255  # Pillow rounds bytes otherwise than floats


def test_one_size_for_all_may_be_a_pair(picture, kernel):
    scene, _ = planted(picture, kernel, (1, 1.4))
    scene[180:221, 20:79] = kernel
    scene[10:51, 200:282] = cv2.resize(kernel, (82, 41), interpolation=cv2.INTER_CUBIC)
    found = patchsim.match(
        scene, kernel, scales=[1, (1, 1.4), (1.4, 1)], same_scale=True, threshold=0.95
    )
    assert {match.stretch for match in found} == {(1, 1.4)}
    assert len(found) == 2


def test_margins_that_do_not_count_are_stretched_with_the_kernel(picture, kernel):
    alpha = np.zeros(kernel.shape[:2], np.uint8)
    alpha[6:36, 15:50] = 255
    stretch = (0.9, 1.3)
    scene, corners = planted(picture, kernel, stretch)
    masked = np.dstack([kernel, alpha])
    for exhaustive in (False, True):
        best = patchsim.match(
            scene, masked, scales=[stretch], alpha=True, exhaustive=exhaustive, top=1
        ).best
        assert np.abs(np.array(best.corners) - corners).max() < 0.3


def test_equal_pairs_are_one_scale_and_texts_have_x_first(picture, kernel):
    scene = picture
    asked = [
        patchsim.match(scene, kernel, scales=scales, top=1).poses
        for scales in ("2x2,1.5x0.5", [2, (0.5, 1.5)], np.array([[0.5, 1.5], [2, 2]]))
    ]
    assert all(one == asked[0] for one in asked)
    assert (asked[0].scales, asked[0].stretches, asked[0].count) == ((2.0,), ((0.5, 1.5),), 2)


def test_columns_and_json_tell_both_scales(tmp_path, monkeypatch, picture, kernel, run):
    monkeypatch.chdir(tmp_path)
    scene, _ = planted(picture, kernel, (1, 1.31))
    Image.fromarray(scene).save("image.png")
    Image.fromarray(kernel).save("kernel.png")
    words = ("match", "image.png", "kernel.png", "--scales", "1,1.31x1", "--top", "1")
    code, out, _ = run(*words)
    header, row = (line.split("\t") for line in out.splitlines())
    assert code == 0
    assert header[-4:] == ["scale_x", "scale_y", "center_x", "center_y"]
    assert row[-4:-2] == ["1.31", "1.0"]
    _, out, _ = run(*words, "--format", "json")
    document = json.loads(out)
    (found,) = document["matches"]
    assert (found["scale_x"], found["scale_y"], found["scale"]) == (1.31, 1.0, 1.1446)
    assert document["poses"]["stretches"] == [[1.31, 1.0]]
    assert document["poses"]["scales"] == [1.0]


@pytest.mark.parametrize(
    ("scales", "text"),
    [
        ("1x1:2x1", "range of pairs"),
        ("1x2x3", "cannot be read at '1x2x3'"),
        ("x2", "cannot be read at 'x2'"),
        ("2x", "cannot be read at '2x'"),
        ("0x1", "scales 0 is not possible; give 0.01 to 100"),
        ([(1, 2, 3)], "cannot be read at"),
        ([(1, "two")], "cannot be read at"),
        ([(1, 1000)], "scales 1000 is not possible"),
    ],
)
def test_what_is_no_pair_is_refused_in_a_line_or_two(picture, kernel, scales, text):
    with pytest.raises(InputError, match=text) as raised:
        patchsim.match(picture, kernel, scales=scales)
    assert str(raised.value).count("\n") < 2


def test_a_stretch_that_leaves_no_contrast_is_refused(picture):
    stripes = np.full((20, 42), 100, np.uint8)
    stripes[:, ::3] = 101
    with pytest.raises(InputError, match="keeps no contrast"):
        patchsim.match(picture, stripes, scales="0.05x1", metric="zncc", color="gray")
