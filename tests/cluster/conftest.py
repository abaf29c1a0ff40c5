from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def kernel(astronaut):
    return astronaut[90:121, 200:227].copy()


@pytest.fixture
def picture(tmp_path, astronaut, kernel):
    """A photograph of odd sides with a few copies of one part, and the path of its file."""
    shown = astronaut[:301, :437].copy()
    for y, x in [(10, 20), (201, 300), (150, 150), (250, 17)]:
        shown[y : y + 31, x : x + 27] = kernel
    path = tmp_path / "scene.png"
    Image.fromarray(shown).save(path)
    return path


@pytest.fixture
def large(tmp_path, rng):
    """A picture that takes a second or more, in a file; and a part of it."""
    shown = rng.integers(0, 256, (1501, 1403, 3), np.uint8)
    path = tmp_path / "large.npy"
    np.save(path, shown)
    return path, shown[700:764, 600:664].copy()


@pytest.fixture
def short_bands(monkeypatch):
    """Bands that take a fraction of the usual time, so that a small picture has many."""
    from patchsim.cluster import work

    monkeypatch.setattr(work, "_SECONDS", 1e-9)
    monkeypatch.setattr(work, "_LEAST_SECONDS", 1e-9)
