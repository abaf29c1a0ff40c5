"""`patchsim.scan` of what Python holds."""

from __future__ import annotations

from unittest import mock

import numpy as np
from PIL import Image

import patchsim
from patchsim import Matcher
from patchsim.scanning.requests import Request
from patchsim.scanning.scanner import Scanner


def test_one_picture_or_several_of_any_kind(rng):
    image = rng.integers(0, 256, (30, 40, 3), np.uint8)
    picture = Image.fromarray(image)
    for given in (image, picture, [picture], iter([image])):
        (found,) = patchsim.scan(given, image[5:12, 7:19], threshold=0.99)
        assert [(match.x, match.y) for match in found.matches] == [(7, 5)]


class Watching(patchsim.Observer):
    def __init__(self):
        self.notices, self.plans = [], []

    def notice(self, text):
        self.notices.append(text)

    def planned(self, plan, kernels):
        self.plans.append((str(plan), kernels))


def test_a_plan_is_told_once_for_pictures_of_one_shape(rng):
    pictures = [rng.integers(0, 256, (30, 40 + number % 2, 3), np.uint8) for number in range(6)]
    watching = Watching()
    list(patchsim.scan(pictures, pictures[0][5:12, 7:19].copy(), observer=watching, threads=2))
    assert len(watching.plans) == len(set(map(str, watching.plans))) == 2


def test_an_observer_may_scan_by_itself(rng):
    image = rng.integers(0, 256, (30, 40, 3), np.uint8)
    flat = np.zeros((5, 5, 3), np.uint8)  # which a notice tells of

    class Scanning(Watching):
        def notice(self, text):
            super().notice(text)
            self.found = list(patchsim.scan(image, image[:5, :5].copy(), threads=1))

    watching = Scanning()
    list(patchsim.scan([image, image[::-1]], flat, observer=watching, threads=2))
    assert len(watching.notices) == 1
    assert watching.found[0].matches[0].score == 1


def test_kernels_are_counted_once_for_all_pictures(rng):
    # They take more than each picture's share of the memory, and less than all of it.
    kernel = rng.integers(0, 256, (1000, 2000), np.uint8)
    with mock.patch("patchsim.scanning.scanner._SHARE", 1):
        scanner = Scanner([kernel], memory=3_000_000, threads=4)
    assert scanner.matcher.nbytes == 2_000_000
    seen = []
    with mock.patch.object(Matcher, "match", lambda *_, memory, **__: seen.append(memory)):
        list(scanner.results([Request("image", kernel)]))
    assert seen == [2_000_000 + 1_000_000 // 4]
