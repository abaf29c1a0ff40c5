"""A scan as one HTML page: the pictures with their matches, the best first.

However many pictures are scanned, the page shows a bounded number of them, and what it keeps until
then is bounded, too.
"""

from __future__ import annotations

import base64
import contextlib
import heapq
import io
import itertools
import math
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchsim.errors import PatchsimError, printable
from patchsim.files import atomic
from patchsim.machine import pipeline
from patchsim.output import html_page
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
_PARALLEL = 4  # thumbnails that are made at a time


@dataclass(frozen=True)
class _Shown:
    """A picture of the page, without its pixels."""

    name: str
    number: int
    width: int
    height: int
    count: int
    score: float | None
    kernels: tuple[str, ...]
    boxes: tuple[tuple[float, str], ...]
    report: Report | None  # to open the picture again
    url: str | None


class ScanPage:
    """Collects results, and writes the page of those with the best matches.

    Parameters
    ----------
    path : path
        The page. ``-`` is refused, because the results go to standard output.
    inputs : sequence of Path
        Files that must not be overwritten.
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
        command: str | None = None,
        force: bool = False,
    ) -> None:
        self._path = os.fspath(path)
        atomic.check_target(self._path, SUFFIXES, inputs, force=force)
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
        self._about = self._about or result.report
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
        """Yield results and take them; behind the last one write the page, and tell of it."""
        with contextlib.closing(results):
            for result in results:
                self.add(result)
                yield result
        wrote(self.write())

    def write(self) -> str:
        """Write the page.

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
        urls = list(pipeline.as_they_come(_url, cards, _PARALLEL))
        page = html_page.render(__name__, self._context(cards, urls))
        with atomic.writing(self._path) as file:
            file.write(page)
        return f"report {printable(self._path)}: {len(cards):,} pictures, {len(page) / 1e6:.1f} MB"

    def _context(self, cards: list[_Shown], urls: list[str | None]) -> dict[str, Any]:
        pairs = zip(cards, urls, strict=True)
        kernels = sorted({name for one in cards for name in one.kernels})
        places = {name: index for index, name in enumerate(kernels)}
        total = self._searched + self._failed
        return {
            "summary": f"{self._found:,} of {total:,} pictures with a match",
            "command": self._command,
            "about": self._about,
            "kernels": [printable(name) for name in kernels],
            "cards": [(one, url, printable(one.name)) for one, url in pairs],
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
                        "kernels": [places[name] for name in one.kernels],
                    }
                    for one in cards
                ]
            ),
        }


def _shown(result: ScanResult, report: Report, number: int) -> _Shown:
    """Keep what the page shows of a picture; pixels that lie in memory are reduced now."""
    matches = result.matches
    best = sorted(matches, key=lambda match: -match.score)[:_MOST_BOXES]
    source = getattr(report.display, "source", None)
    is_file = isinstance(source, str | os.PathLike)
    return _Shown(
        result.image,
        number,
        report.width,
        report.height,
        len(matches),
        best[0].score if best else None,
        tuple(dict.fromkeys(match.kernel for match in best)),
        tuple((match.score, _points(match)) for match in reversed(best)),
        _without_matches(report) if is_file else None,
        None if is_file else _thumbnail(report),
    )


def _without_matches(report: Report) -> Report:
    return replace(report, matches=(), maps=(), plans=())


def _points(match: Match) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in match.corners or box(match))


def _url(one: _Shown) -> str | None:
    """Return a thumbnail as a data URL; None if the picture is not there any more."""
    return one.url if one.report is None else _thumbnail(one.report)


def _thumbnail(report: Report) -> str | None:
    if report.display is None:
        return None
    try:
        return _encoded(report.display.thumbnail(report, _SIDE))
    except PatchsimError:
        return None


def _encoded(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
