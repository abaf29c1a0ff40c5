"""Equal windows of float pictures: settled together, with the scores of windows settled alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from patchsim import choices, match, metrics
from patchsim.geometry.tiles import Tile
from patchsim.ranking import equal_windows


@pytest.fixture
def asked(monkeypatch):
    """Windows that were scored exactly one by one."""
    windows = []
    original = metrics.exact

    def counted(*words, **keywords):
        score = original(*words, **keywords)
        return lambda y, x: (windows.extend(zip(y, x, strict=True)), score(y, x))[1]

    monkeypatch.setattr(metrics, "exact", counted)
    return windows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("metric", choices.METRICS)
def test_equal_windows_score_what_they_score_alone(stride, metric, dtype, rng):
    image = np.full((40, 50, 2), 0.3, dtype)
    image[:, 25:, 1] = np.tile(rng.random(5), 5)  # stripes
    image[30:, 10:20] = rng.random((10, 10, 2))
    image[6, 6], image[6, 15] = -0.0, 0.0  # equal
    kernel = rng.random((4, 5, 2)).astype(dtype)
    exact = metrics.exact(image, kernel, metric, 1.0)
    tile = Tile(1, 2, 15, 40 if stride == (1, 1) else 14)
    found = equal_windows.scores(image, (4, 5), stride, exact)(tile)
    cells = {}
    for row in range(tile.rows):
        for col in range(tile.cols):
            y, x = (tile.top + row) * stride[0], (tile.left + col) * stride[1]
            cells[row, col] = y, x, (image[y : y + 4, x : x + 5] + 0.0).tobytes()
    count = Counter(content for _, _, content in cells.values())
    assert len(count) > 5
    for (row, col), (y, x, content) in cells.items():
        assert (found.error[row, col] == 0) == (count[content] > 1)
        if count[content] > 1:
            assert found.map[row, col] == exact(y, x)


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_stripes_and_gradients_do_not_ask_window_by_window(metric, asked):
    image = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (200, 8))
    kernel = image[:16, 5:21] * np.float32(0.9)
    found = match(image, kernel, metric=metric, top=3, overlap=0)
    assert len({m.score for m in found.matches}) == 1
    assert len(asked) < 5000  # of 44,585 windows


@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_a_flat_float_picture_does_not_ask_window_by_window(metric, asked):
    image = np.full((300, 300), 0.5, np.float32)
    image[100:120, 90:110] = 0.75
    kernel = np.full((16, 16), 0.4, np.float32)
    found = match(image, kernel, metric=metric, top=3, overlap=0)
    assert [(m.x, m.y) for m in found.matches] == [(0, 0), (16, 0), (32, 0)]
    assert len({m.score for m in found.matches}) == 1
    assert len(asked) < 2000  # of 81,225 windows
