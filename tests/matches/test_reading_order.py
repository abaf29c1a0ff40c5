"""Matches line by line, as people read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

import patchsim
from patchsim import InputError
from patchsim.matches.reading_order import reading_order


@pytest.mark.parametrize(
    ("boxes", "order"),
    [
        ([], []),
        ([(5, 0, 9, 9), (0, 0, 9, 9)], [1, 0]),
        ([(50, 2, 9, 9), (0, 4, 9, 9), (20, 0, 9, 9), (0, 30, 9, 9)], [1, 2, 0, 3]),  # uneven
        ([(50, 0, 9, 9), (0, 5, 9, 9)], [0, 1]),  # of which less than half is shared
        ([(50, 0, 9, 90), (0, 80, 9, 9), (20, 95, 9, 9)], [1, 0, 2]),  # beside a tall one
        ([(3, 3, 9, 9), (3, 3, 9, 9)], [0, 1]),
        ([(0, -5, 9, 9), (-7, -5, 9, 9)], [1, 0]),
    ],
)
def test_lines_from_the_top_each_from_the_left(boxes, order):
    assert reading_order(boxes) == order


def test_any_order_of_a_grid_of_boxes_is_read_alike(rng):
    boxes = [
        (x * 20, y * 15 + int(rng.integers(-2, 3)), 10, 10) for y in range(3) for x in range(3)
    ]
    for shuffled in itertools.islice(itertools.permutations(range(9)), 0, None, 9973):
        order = reading_order([boxes[number] for number in shuffled])
        assert [shuffled[number] for number in order] == list(range(9))


def test_the_command_and_python(run, tmp_path, rng):
    image = rng.integers(0, 256, (60, 90), dtype=np.uint8)
    kernel = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    places = [(60, 10), (5, 12), (30, 9), (20, 40)]
    for number, (x, y) in enumerate(places):
        image[y : y + 8, x : x + 8] = np.clip(kernel + 5 * number, 0, 255)
        image[y, x] ^= 1
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(kernel).save(tmp_path / "k.png")
    words = ("match", "a.png", "k.png", "--top", 4, "--no-heatmap", "--sort")
    found = {}
    for order in ("score", "reading"):
        code, out, _ = run(*words, order)
        assert code == 0
        found[order] = [tuple(map(int, line.split("\t")[:2])) for line in out.splitlines()[1:]]
    assert found["reading"] == [(5, 12), (30, 9), (60, 10), (20, 40)]
    assert found["score"] == places
    report = patchsim.match(image, [kernel, kernel[::-1]], top=2, per_kernel=True, sort="reading")
    assert reading_order([(m.x, m.y, m.width, m.height) for m in report]) == [0, 1, 2, 3]
    assert report.best.score == max(match.score for match in report)
    with pytest.raises(InputError, match="sort 'x' is unknown; there is score, reading"):
        patchsim.match(image, kernel, sort="x")
