"""Makes the report of a search: its matches, kernels and poses."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchsim.matches.nms import Peak
from patchsim.matches.selection import Selection
from patchsim.options import Options
from patchsim.output.report import Display, Report
from patchsim.output.report_parts import BestBelow, KernelReport, Match, PosesReport
from patchsim.poses.pose import DECIMALS, Frame, Pose
from patchsim.scene.build import Scene
from patchsim.scene.unusable import SkippedKernel
from patchsim.search import jobs as searched
from patchsim.search.jobs import Found, Job, Scored

if TYPE_CHECKING:
    from patchsim.matches.pose_selection import Candidate, PoseSelection
    from patchsim.metrics.local_differences import Measured
    from patchsim.output.targets import Outputs
    from patchsim.search.criteria import Criteria

_DECIMALS = 4  # of positions in pixels
# The words in place of an engine's name: where poses were fitted without scores of windows, and
# where it was known before the search that there can be no match.
_POSES, _NONE = "poses", "none"


def report(
    findings: Found,
    selections: Sequence[Selection | PoseSelection],
    scene: Scene,
    options: Options,
    outputs: Outputs,
    size: tuple[int, int],
    notices: tuple[str, ...],
    *,
    skipped: tuple[SkippedKernel, ...],
    best_below: BestBelow | None,
    margin: bool,
    criteria: Criteria | None,
    has_maps: bool,
    display: Display,
    started: float,
) -> Report:
    """Make the report of a search.

    Parameters
    ----------
    size : (height, width)
        The image's, as displayed.
    skipped : tuple of SkippedKernel
        The kernels that could not be used.
    best_below : BestBelow or None
        The best place, if nothing reached the threshold.
    margin : bool
        Whether margins were looked for.
    criteria : Criteria or None
        Those of `select_matches.select`.
    has_maps : bool
        Put the maps into the report, too.
    display : Display
        Shows the report.
    started : float
        When the search began, in seconds of `time.perf_counter`.
    """
    height, width = size
    one_group = len(selections) == 1
    return Report(
        image=scene.names[0],
        width=width,
        height=height,
        metric=options.metric,
        stride=options.stride,
        device=findings.scored[0].job.plan.problem.device if findings.scored else "cpu",
        kernels=_kernel_reports(findings, selections, scene, options, outputs),
        matches=_matches(selections, findings.scored, scene, options, criteria),
        criteria=options.criteria,
        maps=tuple(maps(findings.scored)) if has_maps else (),
        plans=tuple(one.job.plan for one in findings.scored),
        notices=notices,
        seconds=time.perf_counter() - started,
        color=options.color,
        subpixel=options.subpixel,
        region=scene.area.region,
        padding=scene.area.padding,
        margin=margin,
        threshold=selections[0].threshold if one_group else options.numeric_threshold,
        min_visible=None if scene.visible is None else options.min_visible,
        channel_weights=options.channel_weights,
        poses=_poses_report(
            options, scene, is_exhaustive=findings.candidates is None or bool(findings.scored)
        ),
        skipped=skipped,
        best_below=best_below,
        inverts=options.invert,
        level=options.level,
        missing=findings.missing,
        display=display,
    )


def maps(scored: Sequence[Scored]) -> list[NDArray[np.float32]]:
    """List the maps that were kept, one a kernel."""
    return [score_map for one in scored if (score_map := one.map) is not None]


def _matches(
    selections: Sequence[Selection | PoseSelection],
    scored: Sequence[Scored],
    scene: Scene,
    options: Options,
    criteria: Criteria | None,
) -> tuple[Match, ...]:
    """List the matches in the order of the selections, or in that in which people read them."""
    # A sum with 0 is never -0, whose sign would depend on tiles and threads.
    margins = [
        None if margin is None else margin + 0.0
        for selection in selections
        for margin in selection.margins
    ]
    peaks: list[Peak] = []
    fitted: list[Candidate] = []
    for selection in selections:
        if isinstance(selection, Selection):
            peaks += selection.peaks
        else:
            fitted += selection.matches
    if fitted:
        matches = [
            fitted_match(one, margin, scene) for one, margin in zip(fitted, margins, strict=True)
        ]
    else:
        jobs = [one.job for one in scored]
        corners = _subpixel_positions(peaks, jobs) if options.subpixel else [None] * len(peaks)
        matches = [
            _match(peak, margin, jobs[peak.index], scene, corner, posed=options.poses is not None)
            for peak, margin, corner in zip(peaks, margins, corners, strict=True)
        ]
        if criteria is not None:
            matches = [
                _measured(match, criteria.measure(*_place(peak, jobs)))
                for match, peak in zip(matches, peaks, strict=True)
            ]
    if options.sort == "reading":
        from patchsim.matches.reading_order import reading_order

        boxes = [(one.x, one.y, one.width, one.height) for one in matches]
        matches = [matches[number] for number in reading_order(boxes)]
    return tuple(matches)


def fitted_match(candidate: Candidate, margin: float | None, scene: Scene) -> Match:
    """Make the match of a fitted pose; its box has the edges of the frame in whole pixels."""
    from patchsim.geometry import polygons  # few searches are of poses

    corners = tuple((round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in candidate.corners)
    edges = polygons.bounds(corners)
    left, top, right, bottom = (math.floor(edge + 0.5) for edge in edges)
    pose = candidate.fitted.pose
    match = Match(
        x=left,
        y=top,
        width=max(1, right - left),
        height=max(1, bottom - top),
        score=candidate.score + 0.0,
        kernel=scene.names[1 + candidate.number],
        x_subpixel=edges[0],
        y_subpixel=edges[1],
        margin=margin,
        scale=_scale(pose),
        angle=pose.angle,
        flip=pose.flip,
        corners=corners,
        inverted=candidate.number >= scene.given,
        stretch=pose.stretch,
    )
    return match if candidate.measured is None else _measured(match, candidate.measured)


def _scale(pose: Pose) -> float:
    """Return the scale that is reported; the mean of two scales is no number that was given."""
    return pose.scale if pose.stretch is None else round(pose.scale, DECIMALS)


def _match(
    peak: Peak,
    margin: float | None,
    job: Job,
    scene: Scene,
    corner: tuple[float, float] | None,
    *,
    posed: bool,
) -> Match:
    height, width = job.size
    y_subpixel, x_subpixel = corner or (None, None)
    corners = None
    if posed:
        corners = tuple(
            (round(peak.x + right, _DECIMALS), round(peak.y + down, _DECIMALS))
            for right, down in Frame.of(scene.sizes[job.number], job.pose).corners
        )
    return Match(
        x=peak.x,
        y=peak.y,
        width=width,
        height=height,
        score=peak.score + 0.0,
        kernel=scene.names[1 + job.number],
        x_subpixel=x_subpixel,
        y_subpixel=y_subpixel,
        margin=margin,
        scale=_scale(job.pose),
        angle=job.pose.angle,
        flip=job.pose.flip,
        corners=corners,
        inverted=job.number >= scene.given,
        stretch=job.pose.stretch,
    )


def _place(peak: Peak, jobs: Sequence[Job]) -> tuple[int, int, int]:
    """Return the number of a peak's job, and its (y, x) in the pixels of that."""
    top, left = jobs[peak.index].origin
    return peak.index, peak.y - top, peak.x - left


def _measured(match: Match, measured: Measured) -> Match:
    """Add to a match what the criteria say of it."""
    worst, differing = measured
    if differing is None:
        return replace(match, worst=worst)
    return replace(match, worst=worst, differing=differing.pixels, max_difference=differing.largest)


def _subpixel_positions(peaks: list[Peak], jobs: Sequence[Job]) -> list[tuple[float, float] | None]:
    """Locate the matches between the pixels: y and x in the image, or None."""
    from patchsim.matches.subpixel_fit import DECIMALS
    from patchsim.search import subpixel as refinement

    origins = [jobs[peak.index].origin for peak in peaks]
    inside = [
        replace(peak, y=peak.y - top, x=peak.x - left)
        for peak, (top, left) in zip(peaks, origins, strict=True)
    ]
    corners = refinement.refine(
        inside,
        [job.plan for job in jobs],
        [job.pixels for job in jobs],
        [job.kernel for job in jobs],
        [job.visible for job in jobs],
    )
    return [
        corner and (round(corner[0] + top, DECIMALS), round(corner[1] + left, DECIMALS))
        for corner, (top, left) in zip(corners, origins, strict=True)
    ]


def _poses_report(options: Options, scene: Scene, *, is_exhaustive: bool) -> PosesReport | None:
    """Report the poses that were searched; None if none were asked for."""
    poses = options.poses
    if poses is None:
        return None
    count = poses.count
    if count is None and is_exhaustive:
        count = max(len(poses.of(size)) for size in scene.sizes)
    return PosesReport(
        scales=poses.scales.values,
        angles=poses.angles.values,
        scale_step=poses.scales.step,
        angle_step=poses.angles.step,
        flips=poses.flips,
        exhaustive=is_exhaustive,
        count=count,
        stretches=poses.scales.stretches,
    )


def _kernel_reports(
    findings: Found,
    selections: Sequence[Selection | PoseSelection],
    scene: Scene,
    options: Options,
    outputs: Outputs,
) -> tuple[KernelReport, ...]:
    """Report for each kernel how it was searched, and the files of its map."""
    names = scene.names[1 : 1 + scene.given]
    thresholds = [selection.threshold for selection in selections]
    if len(selections) < len(names):
        thresholds *= len(names)
    scored_by_kernel: list[list[Scored]] = [[] for _ in names]
    for one in findings.scored:
        scored_by_kernel[one.job.number % scene.given].append(one)
    instead = _NONE if not findings.scored and findings.candidates is None else _POSES
    reports = []
    for number, (name, size, scored) in enumerate(
        zip(names, scene.sizes[: scene.given], scored_by_kernel, strict=True)
    ):
        trimmed = scene.trimmed[number]
        origin = scored[0].job.origin if scored else searched.origin(scene, trimmed, options)
        reports.append(
            KernelReport(
                name=name,
                width=size[1],
                height=size[0],
                engine=",".join(dict.fromkeys(one.job.plan.engine for one in scored)) or instead,
                tolerance=max((one.windows.error for one in scored), default=0.0),
                heatmap=outputs.path("heatmap", number),
                map=outputs.path("map", number),
                origin=origin[::-1],
                threshold=thresholds[number],
                empty_score=scene.empty_scores[number],
            )
        )
    return tuple(reports)
