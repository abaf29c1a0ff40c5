"""locate and locateAll against PyScreeze's, from arrays, PIL images and files."""

from __future__ import annotations

import gc
import warnings

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from patchsim.compat import pyscreeze
from patchsim.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import leaves pipes open
    import pyscreeze as peer

    gc.collect()


@pytest.fixture
def screen():
    picture = skimage.data.astronaut()[:300, :400, ::-1].copy()  # blue first
    picture[200:231, 300:343] = picture[50:81, 60:103]
    return picture


@pytest.fixture
def icon(screen):
    return screen[50:81, 60:103].copy()


@pytest.mark.parametrize("grayscale", [None, True, False])
@pytest.mark.parametrize("region", [None, (250, 150, 120, 130)])
@pytest.mark.parametrize("confidence", [0.999, 0.9])
def test_boxes_are_those_of_pyscreeze(screen, icon, grayscale, region, confidence):
    options = {"grayscale": grayscale, "region": region, "confidence": confidence}
    found = list(pyscreeze.locateAll(icon, screen, **options))
    assert [tuple(box) for box in found] == [
        tuple(int(value) for value in box) for box in peer.locateAll(icon, screen, **options)
    ]
    first = peer.locate(icon, screen, **options)
    assert tuple(pyscreeze.locate(icon, screen, **options)) == tuple(int(each) for each in first)
    assert ((300, 200) if region else (60, 50)) in {box[:2] for box in found}


def test_every_second_pixel(screen, icon):
    # PyScreeze tells half the needle's size then, and so does this.
    found = tuple(pyscreeze.locate(icon, screen, step=2))
    assert found == tuple(int(value) for value in peer.locate(icon, screen, step=2))


@pytest.mark.parametrize("grayscale", [True, False])
def test_files_and_pil_images(screen, icon, tmp_path, grayscale):
    paths = [str(tmp_path / "screen.png"), str(tmp_path / "an icon.png")]
    cv2.imwrite(paths[0], screen)
    cv2.imwrite(paths[1], icon)
    whole, part = (Image.fromarray(each[..., ::-1]) for each in (screen, icon))
    for needle in (paths[1], part, tmp_path / "an icon.png"):
        for haystack in (paths[0], whole, screen):
            box = pyscreeze.locate(needle, haystack, grayscale=grayscale)
            assert tuple(box) == (60, 50, 43, 31)


def test_a_limit(screen, icon):
    assert len(list(pyscreeze.locateAll(icon, screen))) == 2
    assert len(list(pyscreeze.locateAll(icon, screen, limit=1))) == 1


def test_nothing_found(screen, icon, monkeypatch):
    turned = np.ascontiguousarray(icon[::-1, ::-1])
    with pytest.raises(pyscreeze.ImageNotFoundException, match=r"highest confidence = 0\."):
        pyscreeze.locate(turned, screen)
    monkeypatch.setattr(pyscreeze, "USE_IMAGE_NOT_FOUND_EXCEPTION", False)
    assert pyscreeze.locate(turned, screen) is None
    assert list(pyscreeze.locateAll(turned, screen)) == []


def test_a_needle_of_one_colour(screen):
    screen[100:140, 200:260] = (10, 200, 30)
    needle = screen[100:140, 200:260].copy()
    assert tuple(pyscreeze.locate(needle, screen, grayscale=False)) == (200, 100, 60, 40)


def test_center():
    box = (10, 21, 43, 31)
    assert tuple(pyscreeze.center(box)) == tuple(peer.center(box))
    assert pyscreeze.center(pyscreeze.Box(*box)).x == 31


def test_bad_arguments(screen, icon):
    with pytest.raises(InputError, match=r"needle \[400, 300\] is larger than the haystack"):
        pyscreeze.locate(screen, icon)
    with pytest.raises(InputError, match="has 3 channels of float64"):
        pyscreeze.locate(icon.astype(float), screen)
    with pytest.raises(InputError, match=r"missing\.png"):
        pyscreeze.locate("missing.png", screen)
