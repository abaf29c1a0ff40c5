"""Selects the matches of a search, and says what there is to know about the selection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from patchsim import metrics
from patchsim.errors import printable
from patchsim.matches.selection import Selection
from patchsim.matches.selection import select as select_windows
from patchsim.metrics.written import told
from patchsim.options import Options
from patchsim.scene import advice
from patchsim.scene.advice import Mixed
from patchsim.scene.build import Scene
from patchsim.search.jobs import Found, Scored, by_plan

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.matches.pose_selection import Candidate, PoseSelection
    from patchsim.output.streamed_maps import StreamedMaps
    from patchsim.search.criteria import Criteria

_ALIKE = 0.99  # the score of a match that has the kernel's colours


def criteria_of(findings: Found, options: Options, scene: Scene) -> Criteria | None:
    """Return the criteria of single places, if any is asked for."""
    if not options.has_criteria:
        return None
    from patchsim.search.criteria import Criteria  # few searches have some

    return Criteria(options, scene.span, [one.job for one in findings.scored])


def select(
    findings: Found,
    options: Options,
    scene: Scene,
    *,
    margin: bool,
    criteria: Criteria | None = None,
) -> Sequence[Selection | PoseSelection]:
    """Select the matches of all kernels, or with `per_kernel` of each; the windows are used up.

    Their margins are found, too, if `margin` is true.
    """
    if findings.candidates is not None:
        return _select_poses(findings.candidates, options, scene, margin=margin, criteria=criteria)
    if not findings.scored:
        count = scene.given if options.per_kernel else 1
        return [Selection([], [], None, None) for _ in range(count)]
    jobs = [one.job for one in findings.scored]
    groups: list[Sequence[int]] = [range(len(jobs))]
    if options.per_kernel:
        groups = [
            [i for i, job in enumerate(jobs) if job.number % scene.given == number]
            for number in range(scene.given)
        ]
    return select_windows(
        [one.windows for one in findings.scored],
        [job.origin for job in jobs],
        groups=groups,
        top=options.top,
        threshold=options.threshold,
        overlap=options.overlap,
        margin=margin,
        plain=lambda i: metrics.empty_score(jobs[i].kernel, options.metric, scene.span),
        accepts=None if criteria is None else criteria.is_met,
        floor=None if criteria is None else criteria.lowest,
    )


def _select_poses(
    candidates: Sequence[Candidate],
    options: Options,
    scene: Scene,
    *,
    margin: bool,
    criteria: Criteria | None,
) -> list[PoseSelection]:
    from patchsim.matches import pose_selection  # few searches are of poses

    groups = [list(candidates)]
    if options.per_kernel:
        groups = [
            [one for one in candidates if one.number % scene.given == number]
            for number in range(scene.given)
        ]
    return [
        pose_selection.select(
            group,
            top=options.top,
            threshold=options.threshold,
            overlap=options.overlap,
            margin=margin,
            accepts=None if criteria is None else criteria.is_met_by_pose,
        )
        for group in groups
    ]


def explanations(
    selections: Sequence[Selection | PoseSelection], options: Options, scene: Scene
) -> Iterator[str]:
    """Say how thresholds were found, and why there are fewer matches of poses than asked for.

    With several selections each text begins with the name of the kernel.
    """
    several = len(selections) > 1
    for selection, name in zip(selections, scene.names[1:], strict=False):
        texts = [selection.message]
        if not isinstance(selection, Selection):
            texts.append(_why_fewer(selection, options))
        for text in texts:
            if text is not None:
                yield f"{printable(name)}: {text}" if several else text


def grey_notices(
    mixed: Mixed,
    selections: Sequence[Selection | PoseSelection],
    findings: Found,
    scene: Scene,
) -> Iterator[str]:
    """Tell of kernels that are grey beside colour, unless they were found all the same.

    Parameters
    ----------
    mixed : Mixed
        Their numbers are those among the opened kernels.
    """
    alike = set()  # kernels with a match that is next to identical
    for selection in selections:
        if isinstance(selection, Selection):
            scores = [(findings.scored[one.index].job.number, one.score) for one in selection.peaks]
        else:
            scores = [(one.number, one.score) for one in selection.matches]
        alike |= {scene.numbers[number] for number, score in scores if score > _ALIKE}
    names = dict(zip(scene.numbers, scene.names[1:], strict=True))
    told = [names[number] for number in mixed.numbers if number in names and number not in alike]
    if told:
        yield advice.grey_notice(scene.names[0], told, is_image_grey=mixed.is_image_grey)


def _why_fewer(selection: PoseSelection, options: Options) -> str | None:
    """Say why there are fewer matches than `top`, if there are any.

    Of none, and of the threshold ``auto``, other texts tell.
    """
    count = len(selection.matches)
    if not count or options.top is None or count >= options.top:
        return None
    if isinstance(options.threshold, str):
        return None
    text = f"{count} match{'es' * (count != 1)} of the {options.top} asked for"
    if selection.rest is not None:
        return f"{text}: the next scores {told(selection.rest)}, below the threshold"
    if options.threshold is not None:
        return f"{text}: no other pose reaches the threshold"
    scale = " at the same scale" if options.same_scale else ""
    return f"{text}: all other poses that were found{scale} overlap these"


def tell_resolved(scored: Sequence[Scored], scene: Scene, observer: Observer) -> None:
    """Tell the observer how many scores had to be exact, plan by plan."""
    jobs = [one.job for one in scored]
    for plan, numbers in by_plan(jobs):
        windows = [scored[i].windows for i in numbers]
        observer.resolved(windows, plan, [jobs[i].label(scene.labels) for i in numbers])


def settle(
    selections: Sequence[Selection | PoseSelection],
    scored: Sequence[Scored],
    streamed: StreamedMaps,
) -> None:
    """Put the exact scores of matches into maps that are written or reduced while they are made."""
    settled: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for selection in selections:
        for peak in selection.peaks if isinstance(selection, Selection) else []:
            job, windows, reduced = scored[peak.index]
            if windows.error > 0:
                place = zip((peak.y, peak.x), job.origin, job.plan.problem.stride, strict=True)
                row, col = ((at - first) // step for at, first, step in place)
                if reduced is not None:
                    reduced.settle(row, col, peak.score)
                if streamed.has_map(job.number):
                    settled[job.number].append((row, col, peak.score))
    for number, cells in settled.items():
        rows, cols, scores = zip(*cells, strict=True)
        streamed.settle(number, np.array(rows), np.array(cols), np.array(scores))
