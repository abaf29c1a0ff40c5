"""Notices of pictures of one colour, and none of any other."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from patchsim import InputError, match
from patchsim.scene.flatness import is_flat

KERNEL = "kernel is flat (each channel has one value): every flat area of that colour"
IMAGE = "image is flat (each channel has one value): no place in it differs from another"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 3), (17, 1), (33, 5)])
def test_one_other_value_is_enough(dtype, size):
    picture = np.ones((*size, 3), dtype)
    picture[..., 0] = 0
    nearly = np.nextafter(dtype(1), dtype(0)) if issubclass(dtype, np.floating) else 2
    assert is_flat(picture)
    for channel in range(3) if size != (1, 1) else ():
        for place in {(0, 0), (size[0] // 2, size[1] // 2), (size[0] - 1, size[1] - 1)}:
            other = picture.copy()
            other[(*place, channel)] = nearly
            assert not is_flat(other)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("colour", [(0, 0, 0), (5, 200, 17)])
def test_flat_pictures_are_named(metric, colour, rng):
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    blank = np.full((6, 7, 3), colour, np.uint8)
    assert match(image, blank, metric=metric).notices == (f"{KERNEL} matches it",)
    assert match(image, image[:6, :7], metric=metric).notices == ()
    other = np.full((20, 20, 3), 9, np.uint8)
    assert match(other, image[:6, :7], metric=metric).notices == (IMAGE,)
    assert match(other, blank, metric=metric).notices == (IMAGE, f"{KERNEL} matches it")


def test_metrics_that_contrast_does_not_change_say_what_is_true_of_them(rng):
    image = rng.integers(0, 256, (40, 50), dtype=np.uint8)
    grey = np.full((6, 7), 9, np.uint8)
    found = match(image, grey, metric="ncc").notices
    assert found == (f"{KERNEL}, however bright, matches it",)
    told = []
    with pytest.raises(InputError, match="zncc has nothing to correlate"):
        match(image, grey, metric="zncc", observer=Told(told))
    assert told == []


class Told:
    """An observer that keeps notices."""

    def __init__(self, told):
        self.notice = told.append


def test_the_region_counts_and_its_padding_does_not(rng):
    image = rng.integers(0, 256, (40, 50), dtype=np.uint8)
    kernel = image[:5, :5].copy()
    image[10:30, 20:40] = 3
    inside, outside = (20, 10, 20, 20), (20, 10, 20, 21)
    for padding in ("valid", "zero"):
        found = match(image, kernel, region=inside, padding=padding).notices
        assert found == (f"region 20,10,20,20 of the {IMAGE}",)
        assert match(image, kernel, region=outside, padding=padding).notices == ()


def test_the_command_tells_of_a_black_kernel(run, save, astronaut):
    save("photo.png", astronaut)
    save("blank.png", Image.new("RGB", (20, 20)))
    code, out, err = run("match", "photo.png", "blank.png", "--no-heatmap")
    assert code == 0
    assert len(out.splitlines()) == 6
    assert err == (
        "patchsim: kernel blank.png is flat (each channel has one value): every flat area of that"
        " colour matches it\n"
    )
    assert run("match", "photo.png", "blank.png", "--no-heatmap", "-q")[2] == ""
