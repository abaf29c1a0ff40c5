"""Why a search found no match, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from patchsim.errors import titled
from patchsim.matches.pose_selection import PoseSelection
from patchsim.matches.selection import Selection
from patchsim.options import AUTO, Options
from patchsim.scene.build import Scene
from patchsim.search.jobs import Found, Job

_MOST_JOBS = 16  # poses and kernels whose visible share is looked at
_BAND = 256  # rows of windows that are looked at together


def reason(
    found: Found, selections: Sequence[Selection | PoseSelection], scene: Scene, options: Options
) -> tuple[str, ...]:
    """Return why there is no match; nothing if there is one, or the threshold ``auto`` told it."""
    if any(_count(selection) for selection in selections):
        return ()
    shares = [(_largest_visible_share(one.job), one.job) for one in found.scored[:_MOST_JOBS]]
    is_hidden = found.candidates is None and all(share < options.min_visible for share, _ in shares)
    if scene.visible is not None and is_hidden:
        most = ""
        if shares:
            share, job = max(shares, key=lambda one: one[0])
            percent = math.floor(share * 1000) / 10
            most = f"; the best shows {percent:g}% of {titled('kernel', job.label(scene.names))}"
        return (
            f"no match: no window shows {options.min_visible:.6g} of the kernel's pixels{most};\n"
            "lower --min-visible (min_visible=), or use --ignore-alpha (ignore_alpha=True)",
        )
    if options.threshold == AUTO:
        return ()
    also = "" if scene.visible is None else " where enough is visible"
    asked = options.numeric_threshold
    if asked is None and found.candidates is not None:
        return ("no match: no pose was found",)
    threshold = "the threshold" if asked is None else f"the threshold of {asked:.10g}"
    return (f"no match: nothing reached {threshold}{also}",)


def _count(selection: Selection | PoseSelection) -> int:
    if isinstance(selection, PoseSelection):
        return len(selection.matches)
    return len(selection.peaks)


def _largest_visible_share(job: Job) -> float:
    """Return the visible share of the most visible window, from 0 to 1."""
    if job.visible is None:
        return 1.0
    from scipy.signal import fftconvolve  # here, because it takes a while

    levels = job.visible.levels
    weights = job.kernel.weights
    height, width = job.kernel.size
    if weights is None:
        taps = np.ones((height, width))
    else:
        taps = weights.astype(np.float64)
        taps = taps.sum(-1) if taps.ndim == 3 else taps
    down, across = job.plan.problem.stride
    rows = len(levels) - height + 1
    largest = 0.0
    for top in range(0, rows, _BAND):
        band = levels[top : min(top + _BAND, rows) + height - 1]
        sums = fftconvolve(band.astype(np.float64), taps[::-1, ::-1], mode="valid")
        largest = max(largest, sums[-top % down :: down, ::across].max(initial=0.0))
    return float(np.rint(largest) / (taps.sum() * job.visible.full_level))
