"""Flat grounds of float pictures: settled together, with the scores of windows settled alone."""

from __future__ import annotations

import numpy as np
import pytest

from patchsim import match, metrics, uniform
from patchsim.tiles import Tile


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("metric", metrics.METRICS)
def test_uniform_windows_score_what_they_score_alone(stride, metric, rng):
    image = np.full((40, 50, 2), 0.3)
    image[:, 25:, 1] = 0.7
    image[30:, 10:20] = rng.random((10, 10, 2))
    kernel = rng.random((4, 5, 2))
    exact = metrics.exact(image, kernel, metric, 1.0)
    tile = Tile(1, 2, 15, 14)
    found = uniform.scores(image, (4, 5), stride, exact)(tile)
    for row in range(tile.rows):
        for col in range(tile.cols):
            y, x = (tile.top + row) * stride[0], (tile.left + col) * stride[1]
            window = image[y : y + 4, x : x + 5]
            same = bool((window == window[0, 0]).all())
            assert (found.error[row, col] == 0) == same
            if same:
                assert found.map[row, col] == exact(y, x)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_a_flat_float_picture_does_not_ask_window_by_window(metric, monkeypatch):
    asked = []
    original = metrics.exact

    def counted(*words):
        score = original(*words)
        return lambda y, x: (asked.append((y, x)), score(y, x))[1]

    monkeypatch.setattr(metrics, "exact", counted)
    image = np.full((300, 300), 0.5, np.float32)
    image[100:120, 90:110] = 0.75
    kernel = np.full((16, 16), 0.4, np.float32)
    found = match(image, kernel, metric=metric, top=3, overlap=0)
    assert [(m.x, m.y) for m in found.matches] == [(0, 0), (16, 0), (32, 0)]
    assert len({m.score for m in found.matches}) == 1
    assert len(asked) < 2000  # of 81,225 windows
