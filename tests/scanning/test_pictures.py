"""`patchsim.scan` of what Python holds."""

from __future__ import annotations

import numpy as np
from PIL import Image

import patchsim


def test_one_picture_or_several_of_any_kind(rng):
    image = rng.integers(0, 256, (30, 40, 3), np.uint8)
    picture = Image.fromarray(image)
    for given in (image, picture, [picture], iter([image])):
        (found,) = patchsim.scan(given, image[5:12, 7:19], threshold=0.99)
        assert [(match.x, match.y) for match in found.matches] == [(7, 5)]
