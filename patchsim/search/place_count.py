"""How many places that do not overlap a search can have at most, known before it runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from patchsim.matches.auto_threshold import NEEDED, too_few
from patchsim.options import AUTO, Options
from patchsim.scene import flatness
from patchsim.scene.build import Scene
from patchsim.search.jobs import Job


def notices(jobs: Sequence[Job], scene: Scene, options: Options) -> Iterator[str]:
    """Yield a notice if the threshold ``auto`` cannot have enough places of different scores.

    There may be enough if there are of one kernel, where each has matches of its own.
    """
    if options.threshold != AUTO:
        return
    counts = [0] * scene.given
    is_flat = _is_flat(scene)
    for job in jobs:
        counts[job.number % scene.given] += 1 if is_flat else _most_apart(job, options.overlap)
    most = max(counts) if options.per_kernel else sum(counts)
    if most < NEEDED:
        yield too_few(f"has {most} at most")


def _is_flat(scene: Scene) -> bool:
    """Return whether all windows of a kernel score the same, because they have the same pixels."""
    if scene.visible is not None or not flatness.is_flat(scene.image):
        return False
    return scene.area.padding != "zero" or not (scene.image[0, 0] != scene.zero).any()


def _most_apart(job: Job, overlap: float) -> int:
    """Return a number of windows that is not exceeded by those of which no two overlap too much.

    The intersection over union of two windows that lie a and b of their width and height apart is
    q / (2 - q) with q = (1 - a) (1 - b). Of the windows in a cell of the map in which it is larger
    than `overlap` for any two, one at most is taken.
    """
    reach = 1 - math.sqrt(2 * overlap / (1 + overlap))
    problem = job.plan.problem
    cells = 1
    for windows, length, step in zip(problem.map_shape, job.size, problem.stride, strict=True):
        cells *= math.ceil(windows / max(1, math.ceil(reach * length / step)))
    return cells
