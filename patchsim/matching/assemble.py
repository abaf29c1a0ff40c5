"""Makes the report of a search: its matches, kernels and poses."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.errors import printable
from patchsim.matches.nms import Peak
from patchsim.matches.reading_order import reading_order
from patchsim.matches.selection import Selection
from patchsim.matches.selection import select as select_matches
from patchsim.options import Options
from patchsim.output.report import KernelReport, Match, PosesReport, Report
from patchsim.poses.warp import Frame
from patchsim.scene.build import Scene
from patchsim.search.exhaustive import is_exhaustive
from patchsim.search.jobs import Job, Scored, by_plan

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.output.targets import Outputs


def select(scored: Sequence[Scored], options: Options, scene: Scene) -> list[Selection]:
    """Select the matches of all kernels, or with `per_kernel` of each; the windows are used up.

    Raises
    ------
    InputError
        If the threshold ``auto`` has too few scores to tell.
    """
    jobs = [one.job for one in scored]
    groups: list[Sequence[int]] = [range(len(jobs))]
    if options.per_kernel:
        groups = [
            [i for i, job in enumerate(jobs) if job.number == number]
            for number in range(len(scene.kernels))
        ]
    return select_matches(
        [one.windows for one in scored],
        [job.origin for job in jobs],
        groups=groups,
        top=options.top,
        threshold=options.threshold,
        overlap=options.overlap,
        margin=options.margin,
        plain=lambda i: metrics.uniform_score(jobs[i].kernel, options.metric, scene.span),
    )


def explanations(selections: Sequence[Selection], scene: Scene) -> Iterator[str]:
    """Say how thresholds were found, for each kernel if each has its own."""
    for selection, name in zip(selections, scene.names[1:], strict=False):
        if selection.message is not None:
            several = len(selections) > 1
            yield f"{printable(name)}: {selection.message}" if several else selection.message


def tell_resolved(scored: Sequence[Scored], scene: Scene, observer: Observer) -> None:
    """Tell the observer how many scores had to be exact, plan by plan."""
    jobs = [one.job for one in scored]
    for plan, numbers in by_plan(jobs):
        windows = [scored[i].windows for i in numbers]
        observer.resolved(windows, plan, [jobs[i].label(scene.names) for i in numbers])


def report(
    scored: Sequence[Scored],
    selections: Sequence[Selection],
    scene: Scene,
    options: Options,
    outputs: Outputs,
    size: tuple[int, int],
    notices: tuple[str, ...],
    *,
    has_maps: bool,
    started: float,
) -> Report:
    """Make the report of a search.

    Parameters
    ----------
    size : (height, width)
        The image's, as displayed.
    has_maps : bool
        Put the maps into the report, too.
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
        device=scored[0].job.plan.problem.device,
        kernels=_kernel_reports(scored, selections, scene, outputs),
        matches=_matches(selections, scored, scene, options),
        maps=tuple(maps(scored)) if has_maps else (),
        plans=tuple(one.job.plan for one in scored),
        notices=notices,
        seconds=time.perf_counter() - started,
        color=options.color,
        subpixel=options.subpixel,
        region=scene.area.region,
        padding=scene.area.padding,
        margin=options.margin,
        threshold=selections[0].threshold if one_group else options.numeric_threshold,
        min_visible=None if scene.visible is None else options.min_visible,
        channel_weights=options.channel_weights,
        poses=_poses_report(options),
    )


def maps(scored: Sequence[Scored]) -> list[NDArray[np.float32]]:
    """List the maps that were kept, one a kernel."""
    return [one.windows.map for one in scored if one.windows.map is not None]


def _matches(
    selections: Sequence[Selection], scored: Sequence[Scored], scene: Scene, options: Options
) -> tuple[Match, ...]:
    """List the matches in the order of the selections, or in that in which people read them."""
    peaks = [peak for selection in selections for peak in selection.peaks]
    margins = [margin for selection in selections for margin in selection.margins]
    jobs = [one.job for one in scored]
    corners = _subpixel_positions(peaks, jobs) if options.subpixel else [None] * len(peaks)
    matches = [
        _match(peak, margin, jobs[peak.index], scene, corner, posed=options.poses is not None)
        for peak, margin, corner in zip(peaks, margins, corners, strict=True)
    ]
    if options.sort == "reading":
        boxes = [(one.x, one.y, one.width, one.height) for one in matches]
        matches = [matches[number] for number in reading_order(boxes)]
    return tuple(matches)


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
            (round(peak.x + right, 4), round(peak.y + down, 4))
            for right, down in Frame.of(scene.sizes[job.number], job.pose).corners
        )
    return Match(
        x=peak.x,
        y=peak.y,
        width=width,
        height=height,
        score=peak.score,
        kernel=scene.names[1 + job.number],
        x_subpixel=x_subpixel,
        y_subpixel=y_subpixel,
        margin=margin,
        scale=job.pose.scale,
        angle=job.pose.angle,
        flip=job.pose.flip,
        corners=corners,
    )


def _subpixel_positions(peaks: list[Peak], jobs: Sequence[Job]) -> list[tuple[float, float] | None]:
    """Locate the matches between the pixels: y and x in the image, or None."""
    from patchsim.matches.registration import DECIMALS
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


def _poses_report(options: Options) -> PosesReport | None:
    """Report the poses that were searched; None if none were asked for."""
    poses = options.poses
    if poses is None:
        return None
    return PosesReport(
        scales=poses.scales.values,
        angles=poses.angles.values,
        scale_step=poses.scales.step or None,
        angle_step=poses.angles.step or None,
        flips=poses.flips,
        exhaustive=is_exhaustive(options),
        count=poses.count,
    )


def _kernel_reports(
    scored: Sequence[Scored],
    selections: Sequence[Selection],
    scene: Scene,
    outputs: Outputs,
) -> tuple[KernelReport, ...]:
    """Report for each kernel how it was searched, and the files of its map."""
    names = scene.names[1:]
    thresholds = [selection.threshold for selection in selections]
    if len(selections) < len(names):
        thresholds *= len(names)
    scored_by_kernel: list[list[Scored]] = [[] for _ in names]
    for one in scored:
        scored_by_kernel[one.job.number].append(one)
    reports = []
    for number, (name, size, own) in enumerate(
        zip(names, scene.sizes, scored_by_kernel, strict=True)
    ):
        origin = own[0].job.origin if own else scene.area.origin(size)
        reports.append(
            KernelReport(
                name=name,
                width=size[1],
                height=size[0],
                engine=",".join(dict.fromkeys(one.job.plan.engine for one in own)),
                tolerance=max((one.windows.error for one in own), default=0.0),
                heatmap=outputs.path("heatmap", number),
                map=outputs.path("map", number),
                origin=origin[::-1],
                threshold=thresholds[number],
            )
        )
    return tuple(reports)
