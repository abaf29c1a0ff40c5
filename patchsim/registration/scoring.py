"""Scores of poses of one picture, as `scores.score` defines them, in C where it was built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics import Kernel, Visibility
from patchsim.poses.pose import Pose, direction
from patchsim.registration import native, scores
from patchsim.registration.levels import (
    KernelLevels,
    Pyramid,
    limits_for,
    neighbours_mean,
    octave,
    softness,
)
from patchsim.types import Pixels

Floats = NDArray[np.float64]


class Scoring:
    """Scores poses of one picture; what it halves for one pose serves the next.

    Parameters
    ----------
    picture : array [H, W, C]
    metric : str
    data_range : float
        The data range R.
    visible : Visibility, optional
    limits : float64 array [C, 2], optional
        The ends of the data range in each channel.
    """

    def __init__(
        self,
        picture: Pixels,
        metric: str,
        data_range: float,
        visible: Visibility | None,
        limits: Floats | None = None,
    ) -> None:
        self._picture = picture
        self._metric = metric
        self._range = data_range
        self._visible, self._limits = visible, limits_for(limits, picture.shape[2])
        self._pyramid = Pyramid(picture, visible)

    def scores(self, levels: KernelLevels, halvings: int, poses: Floats) -> Floats:
        """Return the scores of poses of one octave, [n].

        Parameters
        ----------
        levels : KernelLevels
            Those of the kernel, mirrored.
        halvings : int
            The octave, as `levels.octave` tells it.
        poses : float64 array [n, 4]
            x and y of the kernel's centre, in pixels from the picture's top-left corner, the angle
            in degrees and the scale.
        """
        extension = native.extension(self._picture.shape[2])
        if extension is None:
            return np.array([self._plain(levels, *pose) for pose in poses.tolist()])
        level, k = max(halvings, 0), max(-halvings, 0)
        small = levels[k]
        places = np.empty((len(poses), 4))
        places[:, :2] = poses[:, :2] / 2**level - 0.5
        turns = [direction(angle) for angle in poses[:, 2].tolist()]
        places[:, 2:] = np.array(turns).reshape(-1, 2) * poses[:, 3:] / 2.0**halvings
        values = np.empty(len(poses))
        smoothing = None
        if len(poses) and softness(float(poses[:, 3].min()) / 2.0**halvings):
            smoothing = neighbours_mean(small) - small.pixels
        extension.exact(
            picture=np.ascontiguousarray(self._pyramid.pixels(level)), limits=self._limits,
            kernel=np.ascontiguousarray(small.pixels),
            weights=None if small.weights is None else np.ascontiguousarray(small.weights),
            smoothing=smoothing, visible=self._pyramid.visible(level), poses=places,
            centre=(levels.size[0] / 2 ** (k + 1) - 0.5, levels.size[1] / 2 ** (k + 1) - 0.5),
            metric=self._metric, full=float(self._range), scores=values, variant=native.variant(),
        )  # fmt: skip
        return values

    def _plain(self, levels: KernelLevels, x: float, y: float, angle: float, scale: float) -> float:
        return scores.score(
            self._picture, levels[0], x, y, Pose(scale, angle), self._metric, self._range,
            self._visible, limits=self._limits,
        )  # fmt: skip

    def score(self, kernel: Kernel, levels: KernelLevels, x: float, y: float, pose: Pose) -> float:
        """Return the score of a kernel in a pose; `levels` are those of the kernel, mirrored."""
        picture = self._picture.shape[:2]
        window = scores.whole_window(picture, kernel.pixels.shape[:2], x, y, pose)
        if window is not None:
            return scores.window_score(
                self._picture, kernel, window, pose, self._metric, self._range, self._visible
            )
        poses = np.array([[x, y, pose.angle, pose.scale]])
        return float(self.scores(levels, octave(pose.scale, levels.deepest), poses)[0])
