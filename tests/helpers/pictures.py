"""Pictures that are hard for Fourier transforms."""

from __future__ import annotations

import numpy as np

from helpers.photographs import photograph


def patterns(rng, kind, height, width):
    """Pictures whose spectra are as unlike as can be."""
    y, x = np.mgrid[:height, :width]
    period, other = rng.integers(1, 64, 2)
    waves = 2 * np.pi * (rng.integers(0, 128) * y + rng.integers(0, 128) * x) / 256
    points = np.zeros((height, width))
    points[rng.integers(0, height, 3), rng.integers(0, width, 3)] = 255
    halves = rng.integers(0, 256, (height, width))
    halves[:, : width // 2] = rng.integers(0, 256)
    made = {
        "noise": rng.integers(0, 256, (height, width)),
        "bits": rng.integers(0, 2, (height, width)) * 255,
        "wave": 127 + 120 * np.sin(waves + rng.random()),
        "points": points,
        "checkers": (x // period + y // other) % 2 * 255,
        "comb": ((x % period == 0) & (y % other == 0)) * 255,
        "ramp": (x * rng.random() + y * rng.random()) / 2,
        "halves": halves,
        "chirp": 127 + 120 * np.sin((x * x * rng.random() + y * y * rng.random()) / 100),
        "photo": np.resize(photograph("camera")[:height, :width], (height, width)),
    }
    return np.clip(made[kind], 0, 255).astype(np.uint8)[..., None]


KINDS = ["noise", "bits", "wave", "points", "checkers", "comb", "ramp", "halves", "chirp", "photo"]
