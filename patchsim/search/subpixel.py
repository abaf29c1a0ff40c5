"""Sub-pixel positions of matches, by registration from the best window around each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from patchsim.engines import Problem
from patchsim.matches import nms
from patchsim.matches.nms import Peak
from patchsim.matches.subpixel_fit import locate
from patchsim.metrics import Kernel, Visibility
from patchsim.planning import planner
from patchsim.planning.planner import Plan
from patchsim.search import windows
from patchsim.types import Pixels


def refine(
    matches: Sequence[Peak],
    plans: Sequence[Plan],
    images: Sequence[Pixels],
    kernels: Sequence[Kernel],
    seen: Sequence[Visibility | None],
) -> list[tuple[float, float] | None]:
    """Locate each match between the pixels.

    Parameters
    ----------
    matches : sequence of Peak
    plans : sequence of Plan
        The plan of each kernel, by which its matches were found.
    images : sequence of arrays [H, W, C]
        The pixels in which each kernel was searched.
    kernels : sequence of Kernel
    seen : sequence of Visibility or None
        The visibility of these pixels for each kernel, where not all are visible.

    Returns
    -------
    list of (y, x) or None
        The top-left corner of each window in pixels, as `subpixel_fit.locate` gives it.
    """
    places = []
    for peak in matches:
        chosen, image, kernel = plans[peak.index], images[peak.index], kernels[peak.index]
        visible = seen[peak.index]
        at = _best_of_cell(chosen, image, kernel, visible, (peak.y, peak.x))
        weights = kernel.weights
        counts = None if weights is None else weights / np.float64(weights.max())
        free = chosen.memory - chosen.resident
        metric = chosen.problem.metric
        places.append(locate(image, kernel.pixels, at, metric, counts, visible, memory=free))
    return places


def cell(problem: Problem) -> Problem:
    """Describe the largest search for the best window around a match, at every pixel.

    The search goes from the match up to the next windows of its stride, but no further than half
    the kernel, because windows beyond show something else.
    """
    sides = [
        min(side, length + 2 * reach)
        for side, length, reach in zip(
            problem.image[:2], problem.kernel[:2], _cell_reach(problem), strict=True
        )
    ]
    image = (sides[0], sides[1], problem.image[2])
    return problem._replace(
        image=image, stride=(1, 1), device="cpu", map_wanted=False, kernel_count=1
    )


def _cell_reach(problem: Problem) -> tuple[int, int]:
    down, across = (
        min(step - 1, length // 2)
        for step, length in zip(problem.stride, problem.kernel[:2], strict=True)
    )
    return down, across


def _best_of_cell(
    chosen: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visibility | None,
    at: tuple[int, int],
) -> tuple[int, int]:
    """Find the best window (y, x) between a match and the next windows of the stride, exactly."""
    problem = chosen.problem
    reach = _cell_reach(problem)
    if reach == (0, 0):
        return at
    (top, bottom), (left, right) = (
        (max(0, start - far), min(side, start + length + far))
        for start, far, length, side in zip(
            at, reach, kernel.pixels.shape[:2], image.shape[:2], strict=True
        )
    )
    excerpt = image[top:bottom, left:right]
    around = cell(problem)._replace(image=excerpt.shape)
    made = planner.make(
        around, engine="auto", device=problem.device, memory=chosen.memory, resident=chosen.resident
    )
    seen = visible and visible.crop(np.s_[top:bottom, left:right])
    fields = windows.windows(
        [made], excerpt, [kernel], seen, keeps_map=False, advance=lambda _tile: None
    )
    (best,) = nms.resolve(fields, [(0, 0)], top=1, threshold=None, overlap=1.0)
    return top + best.y, left + best.x
