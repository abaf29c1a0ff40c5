"""A fitted pose that may become a match, and what it is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchsim.metrics.local_differences import Measured
    from patchsim.registration import Fitted

# The least difference from the kernel that counts as evidence: half a step of 8 bits.
_LEAST_DIFFERENCE = 0.5 / 255


@dataclass(frozen=True)
class Candidate:
    """A kernel in a fitted pose, which may be a match.

    Attributes
    ----------
    number : int
        The kernel's number, from 0.
    fitted : Fitted
        In pixels of the image.
    pixels : float
        How many pixels of the kernel count.
    plain : float
        The score of a window that has the kernel's mean in every pixel.
    measured : Measured or None
        What criteria that are stricter than a score say of it, if any are asked for.
    """

    number: int
    fitted: Fitted
    pixels: float
    plain: float
    measured: Measured | None = None

    @property
    def score(self) -> float:
        return self.fitted.score

    @property
    def scale(self) -> float:
        return self.fitted.pose.scale

    @cached_property
    def corners(self) -> tuple[tuple[float, float], ...]:
        return self.fitted.corners

    @property
    def radius(self) -> float:
        """The distance of the corners from the centre, in pixels."""
        sides = zip(self.fitted.size, self.fitted.pose.scales, strict=True)
        return math.hypot(*(side * scale for side, scale in sides)) / 2

    @property
    def skill(self) -> float:
        """How far it is on the way from a window of the kernel's mean, at 0, to an identical one.

        A skill score (A. H. Murphy, Mon. Wea. Rev. 116, 1988), at most 1.
        """
        return 1 - (1 - self.score) / max(1 - self.plain, _LEAST_DIFFERENCE)

    @property
    def evidence(self) -> float:
        """How much better the pose explains the image than the kernel's mean does, in nats.

        The logarithm of the ratio of the two likelihoods: for the pixels of the image that it
        covers, each as much as its mean difference is less than that of the mean.
        """
        before = max(1 - self.plain, _LEAST_DIFFERENCE)
        after = max(1 - self.score, _LEAST_DIFFERENCE)
        return self.pixels * self.scale**2 * math.log(before / after)
