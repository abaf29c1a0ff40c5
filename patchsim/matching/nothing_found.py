"""Why a search found no match, and how close the best place came, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from patchsim.errors import printable, titled
from patchsim.matches.selection import Selection
from patchsim.matching import assemble
from patchsim.options import AUTO, Options
from patchsim.output.report_parts import BestBelow
from patchsim.scene.build import Scene
from patchsim.search.jobs import Found, Job

if TYPE_CHECKING:
    from patchsim.matches.pose_selection import PoseSelection
    from patchsim.search.criteria import Criteria

_MOST_JOBS = 16  # poses and kernels whose visible share is looked at
_ALIKE = 1e-4  # scores that differ by less are not told apart in a sentence
_MOST_BOXES = 3  # that are named
_BAND = 256  # rows of windows that are looked at together


def best_below(
    findings: Found, selections: Sequence[Selection | PoseSelection], scene: Scene, options: Options
) -> BestBelow | None:
    """Return the best place if nothing reached the threshold, as far as little work tells it."""
    is_open = options.threshold is None and not options.has_criteria
    if is_open or any(_count(selection) for selection in selections):
        return None
    if findings.candidates is not None:
        if not findings.candidates:
            return None
        pose = assemble.fitted_match(max(findings.candidates, key=lambda c: c.score), None, scene)
        return BestBelow(pose.kernel, pose.x, pose.y, pose.score, None, pose.inverted)
    from patchsim.matches.closest import Closest, closest

    jobs = [one.job for one in findings.scored]
    if options.threshold == AUTO:
        peaks = [one.best_below for one in selections if isinstance(one, Selection)]
        best = max((peak for peak in peaks if peak), key=lambda peak: peak.score, default=None)
        known = None if best is None else Closest(best.index, best, best.score)
    else:
        known = closest([one.windows for one in findings.scored], [job.origin for job in jobs])
    if known is None:
        return None
    number, peak = jobs[known.index].number, known.peak
    name, inverted = scene.names[1 + number], number >= scene.given
    if peak is None:
        return BestBelow(name, None, None, None, known.at_most, inverted)
    return BestBelow(name, peak.x, peak.y, peak.score, known.at_most, inverted)


def reason(
    findings: Found,
    selections: Sequence[Selection | PoseSelection],
    scene: Scene,
    options: Options,
    below: BestBelow | None,
    strict: Criteria | None = None,
) -> tuple[str, ...]:
    """Return why there is no match; nothing if there is one, or the threshold ``auto`` told it."""
    if any(_count(selection) for selection in selections):
        return ()
    shares = [(_largest_visible_share(one.job), one.job) for one in findings.scored[:_MOST_JOBS]]
    is_hidden = findings.candidates is None and all(
        share < options.min_visible for share, _ in shares
    )
    if scene.visible is not None and is_hidden and shares:
        share, job = max(shares, key=lambda one: one[0])
        percent = math.floor(share * 1000) / 10
        most = f"; the best shows {percent:g}% of {titled('kernel', job.label(scene.labels))}"
        return (
            f"no match: no window shows {options.min_visible:.6g} of the kernel's pixels{most};\n"
            "lower --min-visible (min_visible=), or use --ignore-alpha (ignore_alpha=True)",
        )
    if options.threshold == AUTO:
        return ()
    asked = options.numeric_threshold
    needed = None if strict is None else strict.lowest
    if strict is not None and needed is not None and (asked is None or asked < needed):
        how_close = "" if below is None else _how_close(below, needed, several=scene.given > 1)
        places = f"places that meet {strict.named} score {needed:.6g} or more"
        return (f"no match: {places}{how_close}",)
    also = "" if scene.visible is None else " where enough is visible"
    if asked is None:
        if findings.candidates is not None:
            return ("no match: no pose was found",)
        return (f"no match: nothing reached the threshold{also}",)
    how_close = "" if below is None else _how_close(below, asked, several=scene.given > 1)
    return (f"no match: nothing reached the threshold of {asked:.10g}{also}{how_close}",)


def _how_close(below: BestBelow, threshold: float, *, several: bool) -> str:
    """Say how close the best place came to the threshold, as the rest of a sentence."""
    of_kernel = f", of {printable(below.kernel)}," if several else ""
    if below.inverted:
        of_kernel = f", of {printable(below.kernel)} inverted," if several else ", inverted,"
    bound = ""
    if below.at_most is not None and below.at_most < threshold - _ALIKE:
        bound = f"none scores more than {_digits(below.at_most, threshold, math.ceil)}"
    if below.score is None:
        return f"; {bound}" if bound else ""
    score = _digits(below.score, threshold, math.floor)
    place = f"scores {score} at {below.x},{below.y}"
    if below.at_most is None:
        return f"; the best pose that was followed{of_kernel} {place}"
    if below.at_most - below.score <= _ALIKE:
        return f"; the best{of_kernel} {place}"
    return f"; the best of a quick look{of_kernel} {place}" + (f", and {bound}" if bound else "")


def _digits(score: float, threshold: float, rounded: Callable[[float], int]) -> str:
    """Return a score below the threshold with 4 decimals, or as many as tell it from that."""
    for decimals in range(4, 16):
        scale = 10**decimals
        text = f"{rounded(score * scale) / scale:.{decimals}f}".rstrip("0").rstrip(".")
        if float(text) < threshold:
            return text
    return repr(score)


def missing_notices(findings: Found) -> Iterator[str]:
    """Say in which parts of the image no match could be found, because they were not scored."""
    if not findings.missing:
        return
    boxes = " and ".join(",".join(map(str, box)) for box in findings.missing[:_MOST_BOXES])
    others = len(findings.missing) - _MOST_BOXES
    more = f" and {others} more" if others > 0 else ""
    yield f"matches may be missing: windows inside {boxes}{more} (x,y,width,height) were not scored"


def _count(selection: Selection | PoseSelection) -> int:
    return len(selection.peaks if isinstance(selection, Selection) else selection.matches)


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
