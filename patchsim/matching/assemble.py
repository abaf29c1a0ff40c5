"""What is reported of a search: which windows are matches, the kernels and their poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from patchsim import metrics
from patchsim.errors import shown
from patchsim.matches import selection
from patchsim.matches.nms import Peak
from patchsim.matches.selection import Selection
from patchsim.options import Options
from patchsim.output.report import KernelReport, Match, PosesReport
from patchsim.poses.grid import Poses
from patchsim.poses.warp import Frame
from patchsim.scene.build import Scene
from patchsim.search.jobs import Scored, Sought

if TYPE_CHECKING:
    from patchsim.output.targets import Outputs


def select(
    found: Sequence[Scored],
    options: Options,
    scene: Scene,
    *,
    per_kernel: bool,
    margin: bool,
) -> list[Selection]:
    """The matches of all kernels, or with `per_kernel` of each; the windows are used up.

    Raises
    ------
    InputError
        If the threshold ``auto`` has too few scores to tell.
    """
    each = [one for one, _ in found]
    every = range(len(scene.kernels))
    competing = [{number} for number in every] if per_kernel else [set(every)]
    return selection.select(
        [field for _, field in found],
        [one.origin for one in each],
        groups=[
            [i for i, one in enumerate(each) if one.number in numbers] for numbers in competing
        ],
        top=options.top,
        threshold=options.threshold,
        overlap=options.overlap,
        margin=margin,
        plain=lambda i: metrics.plain(each[i].kernel, options.metric, scene.span),
    )


def told(selected: Sequence[Selection], scene: Scene) -> Iterator[str]:
    """How thresholds were found, of each kernel if each has its own."""
    for each, name in zip(selected, scene.names[1:], strict=False):
        if each.message is not None:
            yield each.message if len(selected) == 1 else f"{shown(name)}: {each.message}"


def matches(
    selected: Sequence[Selection],
    found: Sequence[Scored],
    scene: Scene,
    *,
    subpixel: bool,
    posed: bool,
) -> tuple[Match, ...]:
    """In the order of the selections; with positions between the pixels, and corners of poses."""
    best = [peak for group in selected for peak in group.peaks]
    margins = [ahead for group in selected for ahead in group.margins]
    each = [one for one, _ in found]
    corners = _corners(best, each) if subpixel else [None] * len(best)
    return tuple(
        _match(peak, ahead, each[peak.index], scene, corner, posed=posed)
        for peak, ahead, corner in zip(best, margins, corners, strict=True)
    )


def _match(
    peak: Peak,
    ahead: float | None,
    one: Sought,
    scene: Scene,
    corner: tuple[float, float] | None,
    *,
    posed: bool,
) -> Match:
    height, width = one.size
    y, x = corner or (None, None)
    corners = None
    if posed:
        corners = tuple(
            (round(peak.x + right, 4), round(peak.y + down, 4))
            for right, down in Frame.of(scene.sizes[one.number], one.pose).corners
        )
    return Match(
        peak.x, peak.y, width, height, peak.score, scene.names[1 + one.number], x, y, ahead,
        one.pose.scale, one.pose.angle, one.pose.flip, corners,
    )  # fmt: skip


def _corners(best: list[Peak], each: Sequence[Sought]) -> list[tuple[float, float] | None]:
    """Where the matches lie between the pixels, y and x in the image."""
    from patchsim.matches.registration import DECIMALS
    from patchsim.search import subpixel as refinement

    starts = [each[peak.index].origin for peak in best]
    inside = [
        replace(peak, y=peak.y - top, x=peak.x - left)
        for peak, (top, left) in zip(best, starts, strict=True)
    ]
    found = refinement.refine(
        inside,
        [one.plan for one in each],
        [one.pixels for one in each],
        [one.kernel for one in each],
        [one.visible for one in each],
    )
    return [
        corner and (round(corner[0] + top, DECIMALS), round(corner[1] + left, DECIMALS))
        for corner, (top, left) in zip(found, starts, strict=True)
    ]


def poses_report(poses: Poses | None, *, exhaustive: bool) -> PosesReport | None:
    """Of what was asked for, and whether it was searched in full; None if nothing was."""
    if poses is None:
        return None
    return PosesReport(
        scales=poses.scales.values,
        angles=poses.angles.values,
        scale_step=poses.scales.step or None,
        angle_step=poses.angles.step or None,
        flips=poses.flips,
        exhaustive=exhaustive,
        count=poses.count,
    )


def kernel_reports(
    found: Sequence[Scored],
    wanted: Outputs,
    scene: Scene,
    selected: Sequence[Selection],
) -> tuple[KernelReport, ...]:
    """Of each kernel: how it was searched, and the files of its map."""
    names = scene.names[1:]
    thresholds = [each.threshold for each in selected]
    if len(selected) < len(names):
        thresholds *= len(names)
    reports = []
    for number, name in enumerate(names):
        own = [(one, field) for one, field in found if one.number == number]
        engines = dict.fromkeys(one.plan.engine for one, _ in own)
        height, width = scene.sizes[number]
        reports.append(
            KernelReport(
                name=name,
                width=width,
                height=height,
                engine=",".join(engines),
                tolerance=max((field.error for _, field in own), default=0.0),
                heatmap=wanted.heatmaps[number] if wanted.heatmaps else None,
                map=wanted.maps[number] if wanted.maps else None,
                origin=(own[0][0].origin if own else scene.area.origin((height, width)))[::-1],
                threshold=thresholds[number],
            )
        )
    return tuple(reports)
