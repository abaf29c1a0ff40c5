"""Scores of poses of one picture, as `scores.score` defines them, in C where it was built."""

from __future__ import annotations

import numpy as np

from patchsim.metrics import Kernel, Visibility
from patchsim.poses.warp import Pose
from patchsim.registration import native, scores
from patchsim.registration.fitted import direction
from patchsim.registration.levels import KernelLevels, Pyramid, octave
from patchsim.types import Pixels


class Scoring:
    """Scores poses of one picture; what it halves for one pose serves the next.

    Parameters
    ----------
    picture : array [H, W, C]
    metric : str
    data_range : float
        The data range R.
    visible : Visibility, optional
    """

    def __init__(
        self, picture: Pixels, metric: str, data_range: float, visible: Visibility | None
    ) -> None:
        self._picture = picture
        self._metric = metric
        self._range = data_range
        self._visible = visible
        self._pyramid = Pyramid(picture, visible)

    def score(self, kernel: Kernel, levels: KernelLevels, x: float, y: float, pose: Pose) -> float:
        """Return the score of a kernel in a pose; `levels` are those of the mirrored kernel."""
        picture = self._picture.shape[:2]
        extension = native.extension(self._picture.shape[2])
        window = scores.whole_window(picture, kernel.pixels.shape[:2], x, y, pose)
        if window is not None or extension is None:
            return scores.score(
                self._picture, kernel, x, y, pose, self._metric, self._range, self._visible
            )
        halvings = octave(pose.scale, levels.deepest)
        level, k = max(halvings, 0), max(-halvings, 0)
        small = levels[k]
        cos, sin = direction(pose.angle)
        factor = pose.scale / 2.0**halvings
        place = x / 2**level - 0.5, y / 2**level - 0.5, cos * factor, sin * factor
        found = np.empty(1)
        extension.exact(
            picture=np.ascontiguousarray(self._pyramid.pixels(level)),
            kernel=np.ascontiguousarray(small.pixels),
            weights=None if small.weights is None else np.ascontiguousarray(small.weights),
            visible=self._pyramid.visible(level), poses=np.array([place]),
            centre=(levels.size[0] / 2 ** (k + 1) - 0.5, levels.size[1] / 2 ** (k + 1) - 0.5),
            metric=self._metric, full=float(self._range), scores=found, variant=native.variant(),
        )  # fmt: skip
        return float(found[0])
