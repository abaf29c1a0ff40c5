"""A scan as one HTML page: the pictures with their matches, the best first.

However many pictures are scanned, the page shows a bounded number of them, and what it keeps until
then is bounded, too.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import itertools
import math
import os
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from patchsim.errors import OutputError, PatchsimError, printable
from patchsim.files import atomic
from patchsim.machine import pipeline
from patchsim.machine.memory import format_size
from patchsim.output import html_page
from patchsim.output.notebook import ShownFrame
from patchsim.output.report import Report
from patchsim.output.report_parts import Match, box

if TYPE_CHECKING:
    from PIL import Image

    from patchsim.scanning.records import ScanResult

SUFFIXES = (".html",)
MOST = 300  # pictures on a page, those with the best matches
_MOST_BOXES = 50  # of a picture
_MOST_ERRORS = 100
_SIDE = 240  # pixels of the longer side of a thumbnail
_QUALITY = 75


@dataclass(frozen=True)
class _Shown:
    """A picture of the page, without its pixels."""

    name: str
    number: int
    width: int
    height: int
    frame: int | None
    count: int
    score: float | None
    kernels: tuple[tuple[str, float], ...]  # with the score of the best match of each
    boxes: tuple[tuple[float, str], ...]
    report: Report | None  # to open the picture again
    thumbnail: _Thumbnail


class _Thumbnail(NamedTuple):
    """A picture in small as a data URL, or why there is none."""

    url: str | None = None
    reason: str = ""


class ScanPage:
    """Collects results, and writes the page of those with the best matches.

    Parameters
    ----------
    path : path
        The page. ``-`` is refused, because the results go to standard output.
    inputs : sequence of Path
        Files that must not be overwritten.
    parallel : int
        How many thumbnails are made at a time.
    command : str or None
        The command that asked for the scan.
    force : bool
        A file that is read-only may be replaced.

    Raises
    ------
    InputError
        If the path cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        inputs: Sequence[Path] = (),
        *,
        parallel: int = 1,
        command: str | None = None,
        force: bool = False,
    ) -> None:
        self._path = os.fspath(path)
        atomic.check_target(self._path, SUFFIXES, inputs, force=force)
        self._parallel = parallel
        self._command = command
        self._best: list[tuple[float, int, _Shown]] = []
        self._errors: list[tuple[str, str]] = []
        self._searched = self._found = self._failed = 0
        self._about: Report | None = None
        self._numbers = itertools.count(1)

    def add(self, result: ScanResult) -> None:
        """Take one more result."""
        number = next(self._numbers)
        if result.report is None:
            self._failed += 1
            if len(self._errors) < _MOST_ERRORS:
                self._errors.append((printable(result.image), str(result.error)))
            return
        self._searched += 1
        self._found += bool(result)
        if self._about is None:
            self._about = replace(result.report, matches=(), maps=(), plans=(), display=None)
        best = max((match.score for match in result.matches), default=-math.inf)
        if len(self._best) == MOST and (best, -number) < self._best[0][:2]:
            return
        entry = best, -number, _shown(result, result.report, number)
        if len(self._best) < MOST:
            heapq.heappush(self._best, entry)
        else:
            heapq.heapreplace(self._best, entry)

    def collecting(
        self, results: Generator[ScanResult, None, None], wrote: Callable[[str], None]
    ) -> Generator[ScanResult, None, None]:
        """Yield results and take them; then write the page, and tell of it.

        A scan that ends early, by an error, a signal or a reader that has enough, has a page of
        the results until then, if there is one. If that page cannot be written, what ended the
        scan is raised all the same, with a note.
        """
        try:
            with contextlib.closing(results):
                for result in results:
                    self.add(result)
                    yield result
        except BaseException as ended:
            if self._searched + self._failed and not sys.is_finalizing():
                # A generator that is closed does not get what was raised where it is used.
                cause = ended.__context__ if isinstance(ended, GeneratorExit) else ended
                if not isinstance(cause, Exception | None):  # a signal
                    wrote(f"{printable(self._path)} is being written; Ctrl-C again ends without it")
                try:
                    wrote(self.write(is_whole=False))
                except OutputError as failure:
                    if isinstance(ended, GeneratorExit):  # which is told nobody
                        raise
                    ended.add_note(str(failure))
            raise
        wrote(self.write())

    def write(self, *, is_whole: bool = True) -> str:
        """Write the page.

        Parameters
        ----------
        is_whole : bool
            The scan came to its end.

        Returns
        -------
        str
            What was written, for a notice.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        cards = [one for _, _, one in sorted(self._best, key=lambda entry: entry[:2])[::-1]]
        thumbnails = list(pipeline.as_they_come(_thumbnail_of, cards, self._parallel))
        page = html_page.render(__name__, self._context(cards, thumbnails, is_whole=is_whole))
        with atomic.writing(self._path) as file:
            file.write(page)
        pictures = f"{len(cards):,} picture{'s' * (len(cards) != 1)}"
        until = "" if is_whole else ", those until the scan was ended"
        return f"report {printable(self._path)}: {pictures}{until}, {format_size(len(page))}"

    def _context(
        self, cards: list[_Shown], thumbnails: list[_Thumbnail], *, is_whole: bool
    ) -> dict[str, Any]:
        pairs = zip(cards, thumbnails, strict=True)
        kernels = sorted({name for one in cards for name, _ in one.kernels})
        places = {name: index for index, name in enumerate(kernels)}
        total = self._searched + self._failed
        return {
            "summary": f"{self._found:,} of {total:,} picture{'s' * (total != 1)} with a match",
            "is_whole": is_whole,
            "command": self._command,
            "about": self._about,
            "kernels": [printable(name) for name in kernels],
            "cards": [(one, thumbnail, printable(one.name)) for one, thumbnail in pairs],
            "most_boxes": _MOST_BOXES,
            "left_out": self._searched - len(cards),
            "failed": self._failed,
            "errors": self._errors,
            "data": html_page.json_of(
                [
                    {
                        "name": printable(one.name).lower(),
                        "number": one.number,
                        "score": one.score,
                        "count": one.count,
                        "kernels": {places[name]: score for name, score in one.kernels},
                    }
                    for one in cards
                ]
            ),
        }


def _shown(result: ScanResult, report: Report, number: int) -> _Shown:
    """Keep what the page shows of a picture; pixels that lie in memory are reduced now."""
    by_score = sorted(result.matches, key=lambda match: match.score)
    view = ShownFrame.of(report)
    boxes = [match for match in by_score if match.frame == view.frame][-_MOST_BOXES:]
    source = getattr(report.display, "source", None)
    is_file = isinstance(source, str | os.PathLike)
    # The best match tells which frame is shown.
    kept = replace(report, matches=tuple(by_score[-1:]), maps=(), plans=())
    return _Shown(
        name=result.image,
        number=number,
        width=view.width,
        height=view.height,
        frame=view.frame,
        count=len(by_score),
        score=by_score[-1].score if by_score else None,
        kernels=tuple({match.kernel: match.score for match in by_score}.items()),
        boxes=tuple((match.score, _points(match)) for match in boxes),
        report=kept if is_file else None,
        thumbnail=_Thumbnail() if is_file else _thumbnail(report),
    )


def _points(match: Match) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in match.corners or box(match))


def _thumbnail_of(one: _Shown) -> _Thumbnail:
    return one.thumbnail if one.report is None else _thumbnail(one.report)


def _thumbnail(report: Report) -> _Thumbnail:
    if report.display is None:
        return _Thumbnail()
    try:
        return _Thumbnail(_encoded(report.display.thumbnail(report, _SIDE)))
    except PatchsimError as error:
        return _Thumbnail(reason=str(error))
    except MemoryError:
        return _Thumbnail(reason="out of memory")


def _encoded(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return html_page.data_url("jpeg", file.getvalue())
