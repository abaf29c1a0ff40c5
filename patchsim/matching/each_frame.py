"""A search in one frame of a picture, or in all of them: the reports become one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from patchsim.errors import InputError
from patchsim.events import Observer
from patchsim.matching.inputs import Kernels, count_streams
from patchsim.matching.opened_image import Opened, by_windows
from patchsim.metrics.written import told
from patchsim.options import ALL, Options
from patchsim.output.report import Report
from patchsim.output.report_parts import FrameReport
from patchsim.pictures import frames
from patchsim.pictures.limits import TooLargeError

if TYPE_CHECKING:
    from patchsim.pictures.reader import Picture, Source

# Searches an opened frame and tells an observer; the last argument: say why nothing was found.
Search = Callable[[Opened, Observer, bool], Report]


def search(
    image: Source,
    kernels: Kernels,
    options: Options,
    observer: Observer,
    in_frame: Search,
    *,
    is_drawn: bool,
) -> Report:
    """Search the frames that are asked for, each by itself, and join the reports.

    Parameters
    ----------
    image : path, PIL image or array
    kernels : Kernels
    options : Options
        With a frame.
    observer : Observer
    in_frame : Search
    is_drawn : bool
        A map or drawing is asked for, which is of one frame.
    """
    assert options.frame is not None
    started = time.perf_counter()
    is_one = options.frame != ALL
    if is_drawn and not is_one:
        raise InputError(
            "heatmap, blend, map, overlay and report are of one frame, and all are asked for; leave"
            " them out, or give the number of a frame"
        )
    count_streams([image], kernels.streams)
    reports = []
    told: set[str] = set()
    for number, opened in _opened(image, kernels, options):
        watcher = observer if is_one else _Once(observer, number, told)
        reports.append(_of_frame(in_frame(opened, watcher, is_one), number))
    joined = reports[0] if is_one else _joined(reports)
    if not is_one and options.threshold is not None and not joined:
        text = _nothing(joined)
        observer.notice(text)
        joined = replace(joined, notices=(*joined.notices, text))
    return replace(joined, seconds=time.perf_counter() - started)


def _opened(image: Source, kernels: Kernels, options: Options) -> Iterator[tuple[int, Opened]]:
    """Open the frames that are asked for."""
    if isinstance(options.frame, int):
        yield options.frame, _single(image, kernels, options)
        return
    for number, picture in _decoded(image, kernels, options):
        yield number, Opened.holding(picture)


def _single(image: Source, kernels: Kernels, options: Options) -> Opened:
    """Open a frame, which the result alone keeps; one that is too large is read by windows."""
    try:
        _, picture = next(_decoded(image, kernels, options))
    except TooLargeError as error:
        picture = by_windows(image, kernels, options, error)
    return Opened.holding(picture)


def _decoded(image: Source, kernels: Kernels, options: Options) -> Iterator[tuple[int, Picture]]:
    """Decode the frames that are asked for."""
    assert options.frame is not None
    return frames.open_frames(
        image,
        options.frame,
        name="image",
        max_pixels=options.max_pixels,
        memory=max(0, options.memory - kernels.nbytes),
        total=options.memory,
        alpha=options.alpha,
    )


class _Once(Observer):
    """Passes on what is told of a frame, but notices once, with the frame of later ones."""

    def __init__(self, observer: Observer, number: int, told: set[str]) -> None:
        self._observer, self._number, self._told = observer, number, told

    def notice(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            if self._number:  # on one line: only the first of several would name the frame
                text = f"frame {self._number}: {text}".replace("\n", " ")
            self._observer.notice(text)

    def __getattribute__(self, name: str) -> Any:
        is_own = name.startswith("_") or name == "notice"
        return object.__getattribute__(self, name) if is_own else getattr(self._observer, name)


def _of_frame(report: Report, number: int) -> Report:
    """Return the report of a frame; its matches have the number."""
    of = FrameReport(number, report.width, report.height, report.threshold)
    matches = tuple(replace(match, frame=number) for match in report.matches)
    return replace(report, matches=matches, frames=(of,))


def _joined(reports: Sequence[Report]) -> Report:
    """Return one report of all frames: what is of a single image is that of the first."""
    first = reports[0]
    below = [one.best_below for one in reports if one.best_below is not None]
    matches = tuple(match for one in reports for match in one.matches)
    best = max(below, key=lambda one: -math.inf if one.score is None else one.score, default=None)
    thresholds = {one.threshold for one in reports}
    return replace(
        first,
        matches=matches,
        plans=tuple(plan for one in reports for plan in one.plans),
        notices=tuple(dict.fromkeys(text for one in reports for text in one.notices)),
        threshold=first.threshold if len(thresholds) == 1 else None,
        skipped=tuple(dict.fromkeys(one for report in reports for one in report.skipped)),
        best_below=None if matches else best,
        frames=tuple(one for report in reports for one in report.frames),
    )


def _nothing(report: Report) -> str:
    """Return that no frame has a match, and how close the best place came."""
    text = f"no match: nothing reached the threshold in any of {len(report.frames)} frames"
    below = report.best_below
    if below is None or below.score is None:
        return text
    return f"{text}; the best that was looked at scores {told(below.score)} at {below.x},{below.y}"
