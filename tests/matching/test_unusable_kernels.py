"""Of several kernels those that cannot be used are left out, with a notice each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import patchsim
from patchsim import InputError


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def unusable(image, kind):
    """A kernel that cannot be used, what is said of it, and options of the search."""
    height, width, _ = image.shape
    if kind == "too large":
        large = np.zeros((height, width + 1, 3), np.uint8)
        return large, f"larger than the image with {width}x{height}", {}
    if kind == "unreadable":
        return "absent.png", "absent.png", {}
    if kind == "flat":
        return np.full((5, 5, 3), 7, np.uint8), "zncc has nothing to correlate", {"metric": "zncc"}
    if kind == "not a number":
        return np.full((5, 5, 3), np.nan), "a value nan at x=0, y=0", {}
    if kind == "channels":
        return np.zeros((5, 5, 2), np.uint8), "differ in channels", {}
    if kind == "transparent":
        hidden = np.ma.masked_array(image[:5, :5], True)
        return hidden, "is transparent everywhere", {}
    assert kind == "too large in every pose"
    large = np.zeros((width + 1, width + 1, 3), np.uint8)
    return large, "takes 51x51 even at", {"angles": "0,90"}


KINDS = [
    "too large", "unreadable", "flat", "not a number", "channels", "transparent",
    "too large in every pose",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_others_go_on(kind, place, image):
    bad, says, options = unusable(image, kind)
    good = [image[4:14, 30:42], image[20:31, 3:17]]
    kernels = [*good[:place], bad, *good[place:]]
    options = {"map": None if "angles" in options else True, "top": 2} | options
    report = patchsim.match(image, kernels, **options)
    names = [f"kernel-{number + 1}" for number in range(3) if number != place]
    assert [kernel.name for kernel in report.kernels] == names
    (skipped,) = report.skipped
    assert skipped.number == place
    assert skipped.name == ("absent.png" if kind == "unreadable" else f"kernel-{place + 1}")
    told = [text for text in report.notices if text.startswith("left out: ")]
    assert told == [f"left out: {skipped.reason}"]
    alone = patchsim.match(image, good, **options)
    boxes = [(m.x, m.y, m.score, names[int(m.kernel[-1]) - 1]) for m in alone]
    assert [(m.x, m.y, m.score, m.kernel) for m in report] == boxes
    for found, expected in zip(report.maps, alone.maps, strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match=says):
        patchsim.match(image, kernels, strict=True, **options)
    for only in (bad, [bad]):
        with pytest.raises(InputError, match=says) as caught:
            patchsim.match(image, only, **options)
        assert "none of the" not in str(caught.value)


def test_none_is_left(image):
    kernels = [np.zeros((50, 50), np.uint8), np.zeros((5, 99), np.uint8)]
    with pytest.raises(InputError, match=r"^none of the 2 kernels can be used: kernel-1 is 50x50"):
        patchsim.match(image, kernels)


def test_a_matcher_leaves_out_image_by_image(image):
    matcher = patchsim.Matcher([image[:30, :20], image[20:28, 30:45], "absent.png"])
    for one, left in ((image, [2]), (image[20:29], [0, 2]), (image, [2])):
        report = matcher.match(one)
        assert [skipped.number for skipped in report.skipped] == left
        assert report.best.score == 1.0


def test_categories_do_not_move(image):
    kernels = [np.zeros((99, 9, 3), np.uint8), image[20:28, 30:45]]
    coco = patchsim.match(image, kernels, top=1).to_coco()
    assert coco["categories"] == [{"id": 1, "name": "kernel-1"}, {"id": 2, "name": "kernel-2"}]
    assert coco["annotations"][0]["category_id"] == 2


def test_the_command(image, run, save):
    save("image.png", image)
    save("a.png", image[5:15, 5:15])
    save("large.png", np.zeros((90, 90, 3), np.uint8))
    words = ("match", "image.png", "a.png", "large.png", "absent.png", "--top", "1")
    code, out, err = run(*words, "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert [one["number"] for one in document["skipped"]] == [1, 2]
    assert [(m["x"], m["y"], m["kernel"]) for m in document["matches"]] == [(5, 5, "a.png")]
    assert [line.partition(": ")[2][:9] for line in err.splitlines()[:2]] == ["left out:"] * 2
    assert Path("image.a.heatmap.png").exists()
    assert not Path("image.large.heatmap.png").exists()
    assert run(*words, "--strict")[0] == 2
    assert run("match", "image.png", "large.png", "absent.png")[0] == 2


def test_pictures_in_the_place_of_kernels_are_told(image):
    """As by `patchsim match scans/*.jpg logo.png`."""
    scans, logo = [image, image[::-1], image[:, ::-1]], image[5:15, 5:15]
    told = patchsim.match(image, [*scans, logo]).notices[0]
    assert told.startswith("image is the image, and the other 4 are kernels, most of them larger")
    assert "run patchsim scan PICTURES... --kernel kernel-4" in told
    assert patchsim.match(image, [logo, scans[0]]).notices == ()
    assert patchsim.match(image, logo).notices == ()
    assert patchsim.match(image, scans).notices == ()
    # Kernels of different sizes are usual.
    assert patchsim.match(image, [image[:20, :20], logo[:4, :4]]).notices == ()
