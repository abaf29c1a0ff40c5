"""`wait`: looks at one picture after the other until a kernel is there, or is gone."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from patchsim.checks import number
from patchsim.errors import InputError
from patchsim.events import Observer, check_observer
from patchsim.files import stamps
from patchsim.matching.matcher import Matcher
from patchsim.options import Given, check_keywords

if TYPE_CHECKING:
    from patchsim.output.report import Report
    from patchsim.pictures.reader import Picture, Source
    from patchsim.planning.planner import Plan
    from patchsim.ranking.contract import Windows

    Grab = Callable[[], Source | None]

INTERVAL = 0.1  # seconds
_NO_FILES = ("force", "heatmap_size", "labels")  # outputs of `match` that ask for no file
_SETTLED = 5.0  # seconds after which a file that stays unreadable and unchanged is no half one


def wait(
    grab: Grab | str | os.PathLike[str],
    kernel: Source | Sequence[Source],
    timeout: float,
    *,
    gone: bool = False,
    interval: float = INTERVAL,
    mask: Source | None = None,
    image_mask: Source | None = None,
    observer: Observer | None = None,
    **options: Unpack[Given],
) -> Report:
    """Wait until a kernel image, or one of several, is found in a changing picture.

    Parameters
    ----------
    grab : callable or path
        Returns the picture as it is now, as a path, a PIL image or an array, such as
        `PIL.ImageGrab.grab`; or None if there is no new one. A path is that of a file that is
        rewritten: it is read when its time, size or number has changed, and only if these are the
        same after it was read. While it is absent, empty or incomplete, the next look is awaited.
    kernel : path, PIL image or array, or a list of them
        As for `match`.
    timeout : float
        Seconds until the last look; 0 looks once. A look that has begun is finished.
    gone : bool
        Wait until nothing is found.
    interval : float
        Seconds between two looks.
    mask, image_mask : path, PIL image or array [h, w], optional
        As for `match`.
    observer : Observer, optional
        Told the plans of the first look and the notices of the last one.
    **options
        The options of `match` that describe the search, with a `threshold`.

    Returns
    -------
    Report
        That of the last look. After the time it is empty, or with `gone` it has matches.

    Raises
    ------
    InputError
        If a picture, a kernel or an option cannot be used, or there was no picture in time.
    TypeError
        If a keyword is unknown.

    Examples
    --------
    >>> import numpy as np, patchsim
    >>> screens = iter([np.zeros((20, 30)), np.eye(20, 30)])
    >>> report = patchsim.wait(lambda: next(screens), np.eye(5), 5, threshold=0.99, top=1)
    >>> report.best.x, report.best.y
    (0, 0)
    """
    check_keywords(options, "wait", ("gone", "interval", "mask", "image_mask", "observer"))
    matcher = Matcher(kernel, mask=mask, image_mask=image_mask, **options)
    return look_until(matcher, grab, timeout, gone=gone, interval=interval, observer=observer)


def look_until(
    matcher: Matcher,
    grab: Grab | str | os.PathLike[str],
    timeout: object,
    *,
    gone: bool,
    interval: object,
    observer: Observer | None = None,
    **outputs: Any,
) -> Report:
    """Wait as `wait` does; `outputs` of `Matcher.match` are made of the last picture alone.

    A look makes none, which keeps it quick: most need no map, and are repeated with little work.
    The picture in which the kernel is found is therefore searched again for them; the one that is
    searched when the time is over is not.
    """
    seconds = _seconds(timeout, "wait")
    pause = _seconds(interval, "interval")
    observer = check_observer(observer)
    if matcher.options.threshold is None:
        raise InputError(
            "wait needs a threshold, because without one the best places are matches whatever they"
            " score;\ngive one, like --threshold 0.95 (threshold=0.95)"
        )
    file: _RewrittenFile | None = None
    look: Callable[[], Any]
    if callable(grab):
        look = grab
    else:
        file = _RewrittenFile(matcher, grab)
        look = file.picture
    asked = [value for name, value in outputs.items() if name not in _NO_FILES]
    has_outputs = any(value is not None and value is not False for value in asked)
    last: Any = None
    report: Report | None = None
    end = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= end
        picture: Any = look()
        if picture is not None and is_last and has_outputs:
            return matcher.match(picture, observer=observer, **outputs)
        if picture is not None:
            watcher = _Plans(observer) if report is None else None
            last, report = picture, matcher.match(picture, observer=watcher)
            if bool(report) != gone:
                break
        if is_last:
            break
        time.sleep(max(0.0, min(pause, end - time.monotonic())))
    if report is None:
        raise (file and file.error) or InputError(
            f"there was no picture within {seconds:g} s; wait longer, or see what is grabbed"
        )
    if has_outputs:
        return matcher.match(last, observer=observer, **outputs)
    for text in report.notices:
        observer.notice(text)
    return report


class _Plans(Observer):
    """Passes on how a look is done; notices are those of the last look."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def planned(self, plan: Plan, kernels: Sequence[str]) -> None:
        self._observer.planned(plan, kernels)

    def swept(self, text: str) -> None:
        self._observer.swept(text)

    def resolved(self, fields: Sequence[Windows], plan: Plan, kernels: Sequence[str]) -> None:
        self._observer.resolved(fields, plan, kernels)


class _RewrittenFile:
    """A picture that a program writes again and again."""

    def __init__(self, matcher: Matcher, path: str | os.PathLike[str]) -> None:
        if os.fspath(path) == "-":
            raise InputError("wait is for a file that is rewritten; standard input is read once")
        if matcher.options.frame is not None:
            raise InputError("wait looks at pictures of one frame; leave out the frame")
        self._matcher, self._path = matcher, path
        self._seen: tuple[int, ...] | None = None
        self.error: InputError | None = None  # why the file was not read at last
        self._unread: tuple[int, ...] | None = None  # the stamp of a file that cannot be read
        self._unread_since = 0.0

    def picture(self) -> Picture | None:
        """Return the picture if it is another than before, and whole."""
        stamp = self._stamp()
        if stamp is not None and stamp == self._seen:
            return None
        try:
            picture = self._matcher._opened(self._path)  # of this room
        except InputError as error:  # not there, or not written to its end
            self.error = error
            if stamp is None or stamp != self._unread:
                self._unread, self._unread_since = stamp, time.monotonic()
            elif time.monotonic() - self._unread_since > _SETTLED:
                raise  # nobody writes it any more
            return None
        if stamp is None or stamp != self._stamp():
            return None
        self._seen = stamp
        return picture

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            return *stamps.of(self._path), Path(self._path).stat().st_ino
        except (OSError, ValueError):
            return None


def _seconds(given: object, option: str) -> float:
    seconds = number(given, option, "give a number of seconds")
    if not 0 <= seconds < math.inf:
        raise InputError(f"{option} {given!r} is not possible; give a number of seconds from 0")
    return seconds
