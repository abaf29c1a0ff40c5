"""A search in parts, for job arrays and make: each part is a process, and files carry the results.

A part scores some rows of the maps, which its number alone decides, and writes the upper bounds of
their blocks into a file. `Merged` takes the files of all parts, and lets `Matcher.match` select the
matches as in a search in one process.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from patchsim.cluster import part_files, work
from patchsim.cluster.part_files import Part, PartFile
from patchsim.cluster.work import Band, Work
from patchsim.errors import InputError, printable
from patchsim.events import Observer
from patchsim.files import atomic, fingerprints
from patchsim.geometry.area import Region
from patchsim.geometry.blocks import BLOCK, grid_shape
from patchsim.matching import delegated, fingerprint
from patchsim.matching.matcher import Matcher
from patchsim.output.targets import Asked
from patchsim.search.bands import BandBounds
from patchsim.search.exhaustive import Exhaustive
from patchsim.search.jobs import Job

_PIECES = 32  # of a part, between which progress is told
_KERNELS_TALL = 4  # a piece is so many kernels tall: rows of pixels below it are read twice
_MOST_NAMED = 5  # parts in a message


def file_name(image: str, part: Part) -> str:
    """Return the name of the file of a part of the search in an image, in the current folder."""
    stem = Path(image).stem or "image"
    return f"{stem}.part-{part.number}-of-{part.total}{part_files.SUFFIX}"


def compute(
    matcher: Matcher,
    image: str,
    part: Part,
    path: str,
    *,
    flags: Mapping[str, Any],
    observer: Observer,
    force: bool = False,
) -> PartFile:
    """Score a part of the search in an image, and write its file.

    Parameters
    ----------
    matcher : Matcher
    image : str
        A path or URL.
    part : Part
    path : str
        The file to write.
    flags : mapping
        What the file tells of how the search was asked for.
    observer : Observer
        Told of plans, of progress and of the file.
    force : bool
        Replace a file that is read-only, too.

    Raises
    ------
    InputError
        If the search cannot be done in parts, or the file not be written there.
    OutputError
        If the disk is full, for example.
    """
    delegated.check(_Titled(), image, matcher.options, Asked(False, {}, force=False))
    inputs = [*matcher.files, Path(image)]
    atomic.check_target(path, (part_files.SUFFIX,), inputs, force=force)
    options = matcher.options
    todo = Work.of(matcher, image)
    fingerprint = _fingerprint(matcher, image)
    search = work.opened(todo, threads=options.threads, memory=options.memory)
    search.tell_plans(observer)
    bands = list(_scored(search, todo, part, observer))
    made = PartFile(path, part, fingerprint, flags, bands)
    made.write()
    rows = max(job.plan.problem.map_shape[0] for job in search.jobs)
    top, count = _rows(search.jobs, part)
    observer.wrote(f"{part}: {printable(path)}, {_described(rows, top, count)}")
    return made


def _described(rows: int, top: int, count: int) -> str:
    """Return which rows of the maps a part has."""
    if count:
        return f"{count:,} rows of {rows:,} from row {top:,}"
    most = grid_shape((rows, 1))[0]
    return f"no rows: there is work for {most:,} part{'s' * (most != 1)} at most"


def _scored(
    search: Exhaustive, todo: Work, part: Part, observer: Observer
) -> Generator[BandBounds, None, None]:
    """Score a part piece by piece."""
    top, rows = _rows(search.jobs, part)
    tall = max(job.plan.problem.kernel[0] for job in search.jobs)
    stride = min(job.plan.problem.stride[0] for job in search.jobs)
    wanted = max(-(-rows // _PIECES), -(-_KERNELS_TALL * tall // stride), 1)
    step = -(-wanted // BLOCK) * BLOCK
    total, done = rows * len(search.parts), 0
    for members in search.parts:
        for first in range(top, top + rows, step):
            count = min(step, top + rows - first)
            yield from work.score_band(search, todo, Band(tuple(members), first, count))
            done += count
            observer.progress(done, total)


def _rows(jobs: Sequence[Job], part: Part) -> tuple[int, int]:
    """Return the first row of a part, and the number of rows; shorter maps have fewer there.

    They depend on the maps and on the part alone, so that no process needs to know of others.
    """
    rows = max(job.plan.problem.map_shape[0] for job in jobs)
    blocks = grid_shape((rows, 1))[0]
    first, end = (
        BLOCK * (blocks * number // part.total) for number in (part.number - 1, part.number)
    )
    return first, max(0, min(end, rows) - first)


def _fingerprint(matcher: Matcher, image: str) -> dict[str, str]:
    return {**fingerprint.of_image(image), **matcher.fingerprint}


class _Titled:
    """The name of a search in parts, for messages."""

    title = "a search in parts"


class Merged(_Titled):
    """All parts of a search, in place of scoring its maps; implements `matching.delegated`.

    Parameters
    ----------
    files : sequence of PartFile
        In any order.

    Raises
    ------
    InputError
        If they are not all parts of one search, each once.
    """

    def __init__(self, files: Sequence[PartFile]) -> None:
        if not files:
            raise InputError("there are no parts; give the files that match --part wrote")
        first = files[0]
        for other in files[1:]:
            _check_same(first, other)
        by_number: dict[int, PartFile] = {}
        for file in files:
            before = by_number.setdefault(file.part.number, file)
            if before is not file:
                raise InputError(
                    f"{file.part} is given twice, by {printable(before.name)} and by"
                    f" {printable(file.name)}; leave one out"
                )
        count = first.part.total
        missing = [number for number in range(1, count + 1) if number not in by_number]
        if missing:
            named = ", ".join(map(str, missing[:_MOST_NAMED]))
            more = f" and {len(missing) - _MOST_NAMED:,} more" * (len(missing) > _MOST_NAMED)
            plural = "s" * (len(missing) > 1)
            raise InputError(
                f"of {count} parts number{plural} {named}{more} {'are' if plural else 'is'}"
                f" missing; compute {'them' if plural else 'it'} with --part {missing[0]}/{count}"
                + " and so on"
                * bool(plural)
            )
        self._files = [by_number[number] for number in sorted(by_number)]
        self.flags: Mapping[str, Any] = first.flags

    def band_source(
        self,
        matcher: Matcher,
        image: str,
        *,
        region: Region | None,  # noqa: ARG002 - as `DelegatedSearch` has it
        memory: int | None,  # noqa: ARG002 - as `DelegatedSearch` has it
        observer: Observer,  # noqa: ARG002 - as `DelegatedSearch` has it
    ) -> Merged:
        """Check that the parts are of this search."""
        fingerprints.check(
            self._files[0].fingerprint,
            _fingerprint(matcher, image),
            what=f"{printable(self._files[0].name)} is of a search",
            advice="compute all parts again",
        )
        return self

    def bounds(
        self,
        jobs: Sequence[Job],
        parts: Sequence[Sequence[int]],  # noqa: ARG002 - the files have all
    ) -> Generator[BandBounds, None, None]:
        """Yield the bounds of all bands, which the files have."""
        for file in self._files:
            top, rows = _rows(jobs, file.part)
            ends = [top] * len(jobs)  # the rows of each map that the bands reach, from the top
            for band in sorted(file.bands, key=lambda band: (band.job, band.top)):
                if not _is_of(band, jobs) or band.top != ends[band.job]:
                    raise _damaged(file)
                ends[band.job] += band.rows
                yield band
            for end, job in zip(ends, jobs, strict=True):
                if end != top + max(0, min(rows, job.plan.problem.map_shape[0] - top)):
                    raise _damaged(file)


def _is_of(band: BandBounds, jobs: Sequence[Job]) -> bool:
    """Return whether a band lies in the map of its job."""
    if band.job >= len(jobs) or band.top % BLOCK:
        return False
    rows, cols = jobs[band.job].plan.problem.map_shape
    return band.top + band.rows <= rows and band.upper_bounds.shape[1] == grid_shape((1, cols))[1]


def _damaged(file: PartFile) -> InputError:
    return InputError(
        f"{printable(file.name)} has other rows than {file.part} of this search; compute it again"
    )


def _check_same(first: PartFile, other: PartFile) -> None:
    """Check that two files are of one search."""
    if first.part.total != other.part.total:
        raise InputError(
            f"{printable(first.name)} is {first.part} and {printable(other.name)} {other.part};"
            " give the parts of one search"
        )
    for name in dict.fromkeys([*first.fingerprint, *other.fingerprint]):
        one, two = (fingerprints.shown(file.fingerprint.get(name)) for file in (first, other))
        if first.fingerprint.get(name) != other.fingerprint.get(name):
            raise InputError(
                f"{printable(first.name)} and {printable(other.name)} are of searches with"
                f" different {printable(name)}: {one} and {two};\ngive the parts of one search"
            )


def read_all(paths: Sequence[str | os.PathLike[str]]) -> Merged:
    """Read the files of all parts of a search.

    Raises
    ------
    InputError
        If one cannot be read, or as of `Merged`.
    """
    return Merged([part_files.read(path) for path in paths])
