"""What stands beside a matrix of cosines."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from patchsim.output import cosine_matrix
from patchsim.output.cosine_matrix import Axes


def drawn(count, axes, groups):
    values = np.linspace(-1, 1, count * count).reshape(count, count)
    file = io.BytesIO()
    cosine_matrix.draw(values, np.eye(count, dtype=bool), groups, axes, file)
    picture = Image.open(file)
    return np.asarray(picture).astype(int), tuple(map(int, picture.text["matrix"].split(",")))


def test_the_matrix_runs_from_blue_to_red_and_the_scale_too():
    pixels, (left, top, width, height) = drawn(6, Axes("slot", "a title", 0, 1, 6), (6,))
    assert (width, height) == (240, 240)
    first, last = pixels[top + 20, left + 60], pixels[top + height - 20, left + width - 60]
    assert first[2] > first[0] + 50
    assert last[0] > last[2] + 50
    scale = pixels[top + height + 19, left + 1 : left + 207]
    assert scale[0, 2] > scale[0, 0]
    assert scale[-1, 0] > scale[-1, 2]
    assert (np.abs(np.diff(scale, axis=0)) <= 12).all()


@pytest.mark.parametrize(
    ("axes", "cell", "length", "numbers"),
    [
        (Axes("slot", "", 0, 1, 7), 40, 280, list("0123456")),
        (Axes("image", "", 0, 5, 3), 40, 1200, list("012012")),
        (Axes("image", "", 4, 2, 50), 6, 1200, [str(4 + 3 * i) for i in range(17)] * 2),
        (Axes("slot", "", 0, 1, 300), 4, 1200, [str(9 * i) for i in range(34)]),
    ],
)
def test_numbers_of_groups_have_room(axes, cell, length, numbers):
    ticks = list(cosine_matrix._ticks(length, cell, axes))
    assert [number for _, number in ticks] == numbers
    places = [at for at, _ in ticks]
    assert places[0] == round(axes.group * cell / 2)
    assert min(np.diff(places)) >= 12
    assert max(places) < length


def test_axes_have_ticks_and_words():
    pixels, (left, top, _, height) = drawn(6, Axes("slot", "a title", 0, 1, 6), (6,))
    dark = pixels.sum(axis=2) < 100
    for number in range(6):
        middle = number * 40 + 20
        assert dark[top - 2, left + middle]
        assert dark[top + middle, left - 2]
    assert dark[: top // 2, left:].any()  # the title
    assert dark[top + height + 30 :].any()  # the numbers of the scale
