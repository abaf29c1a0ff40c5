"""The work of other processes on one image: bands of maps become upper bounds of blocks.

A search in one image is split in three steps, of which the second one runs anywhere:

1. `Work.of` describes the search: the matcher, the image's path, and the stamp of the file. It can
   be pickled. `bands_of` splits the maps into `Band`s.
2. `opened` opens the image in the process that has the work, and `score_band` scores one `Band`
   there. It returns `search.bands.BandBounds`, 8 bytes for each block of 64x64 windows. The result
   does not depend on the bands, so that any band may be scored again, whole or in parts.
3. A `search.bands.BandSource` hands the bounds to `search.exhaustive.Exhaustive`, which selects the
   matches as in a search in one process, with equal answers. Windows that may be matches are scored
   exactly in that process, from the image's file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import patchsim
from patchsim.cluster import versions
from patchsim.errors import InputError, printable
from patchsim.files import stamps
from patchsim.files.stamps import Stamp
from patchsim.geometry.area import Region
from patchsim.geometry.blocks import BLOCK
from patchsim.matching.band_search import band_search
from patchsim.matching.matcher import Matcher
from patchsim.pictures import remote
from patchsim.search.bands import BandBounds
from patchsim.search.exhaustive import Exhaustive
from patchsim.search.jobs import Job

MOST_BANDS = 20_000  # each costs the process that hands them out some milliseconds
_SECONDS = 3.0  # the estimated time of a band, where there are enough of them
_LEAST_SECONDS = 0.2  # of a band of a short search, so that all processes have some
_BANDS_EACH = 4  # of a short search, for each process
_KERNELS_TALL = 4  # a band is so many kernels tall where it can be: rows below it are read twice


class Band(NamedTuple):
    """A band of the maps of jobs that are scored together.

    Attributes
    ----------
    jobs : tuple of int
        Their numbers in `Exhaustive.jobs`.
    top, rows : int
        The first row, a multiple of `BLOCK`, and the number of rows. Shorter maps have fewer.
    """

    jobs: tuple[int, ...]
    top: int
    rows: int

    @property
    def title(self) -> str:
        """The band, as the object of a sentence."""
        return f"rows {self.top} to {self.top + self.rows - 1} of the scores"

    def halves(self) -> tuple[Band, ...]:
        """Return the band in two parts, if it has more than one row of blocks or more jobs."""
        if self.rows > BLOCK:
            upper = -(-self.rows // (2 * BLOCK)) * BLOCK
            return (
                Band(self.jobs, self.top, upper),
                Band(self.jobs, self.top + upper, self.rows - upper),
            )
        return ()


@dataclass(frozen=True)
class Work:
    """A search in an image, as another process needs it; it can be pickled.

    Attributes
    ----------
    matcher : Matcher
        The kernels and options.
    image : str
        The absolute path of the image, or its URL.
    stamp : Stamp or None
        The version of its file; None for a URL.
    region : (x, y, width, height) or None
        In place of the matcher's option.
    version : str
        That of patchsim.
    """

    matcher: Matcher
    image: str
    stamp: Stamp | None
    region: Region | None = None
    version: str = patchsim.__version__

    @classmethod
    def of(
        cls, matcher: Matcher, image: str | os.PathLike[str], region: Region | None = None
    ) -> Work:
        """Describe the search in a file, as it is now.

        Raises
        ------
        InputError
            If there is no such file.
        """
        if isinstance(image, str) and remote.is_url(image):
            return cls(matcher, image, None, region)
        path = str(Path(image).absolute())
        return cls(matcher, path, stamp_of(path), region)

    @cached_property
    def key(self) -> str:
        """A text that is the same for equal searches, and for no others."""
        parts = [self.matcher.fingerprint, self.image, self.stamp, self.region, self.version]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()

    def check(self) -> None:
        """Check that this process can do the work: it has the same version, and the same file.

        Raises
        ------
        InputError
            If not.
        """
        check(self.image, self.stamp, self.version)


def check(image: str, stamp: Stamp | None, version: str) -> None:
    """Check that this process has a version of patchsim, and a file with a stamp if it is one.

    Raises
    ------
    InputError
        If not.
    """
    versions.check(version)
    if stamp is None:
        return
    now = stamp_of(image)
    if now != stamp:
        raise InputError(
            f"{printable(image)} has changed since the search began, or is another file there:"
            f" {now.size:,} bytes, and {stamp.size:,} before"
        )


def stamp_of(path: str) -> Stamp:
    """Return the stamp of an image.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    try:
        return stamps.of(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{printable(path)} cannot be read: {reason}") from None


def opened(work: Work, *, threads: int, memory: int) -> Exhaustive:
    """Open the image of a search, and plan how its bands are scored here.

    Parameters
    ----------
    work : Work
    threads : int
        The threads that score one band.
    memory : int
        Bytes that the image and the bands that are scored at a time may take.

    Raises
    ------
    InputError
        If it cannot be done here; the message does not say where that is.
    """
    work.check()
    return band_search(work.matcher, work.image, region=work.region, threads=threads, memory=memory)


def score_band(search: Exhaustive, work: Work, band: Band) -> list[BandBounds]:
    """Score a band of an opened search; several threads may score different bands at once.

    Returns
    -------
    list of BandBounds
        One for each of the band's jobs whose map has rows there.

    Raises
    ------
    InputError
        If the image cannot be read there, or its file has changed.
    """
    work.check()
    bounds = search.score_band(band.jobs, band.top, band.rows)
    work.check()  # what was read before may be of another version of the file
    return bounds


def bands_of(
    jobs: Sequence[Job],
    parts: Iterable[Sequence[int]],
    *,
    workers: int = 1,
    seconds: float | None = None,
) -> list[Band]:
    """Split the maps of jobs into bands that take about equally long.

    Parameters
    ----------
    jobs : sequence of Job
        `Exhaustive.jobs`.
    parts : iterable of sequences of int
        `Exhaustive.parts`.
    workers : int
        The number of threads that score a band each at a time. Short searches are split into bands
        for each of them.
    seconds : float, optional
        The estimated seconds of a band, in place of some that suit these.

    Returns
    -------
    list of Band
        Every row of the maps is in one of them; at most `MOST_BANDS`, unless there are more parts.
    """
    listed = [tuple(group) for group in parts]
    estimates = [_seconds_of([jobs[i] for i in group]) for group in listed]
    if seconds is None:
        seconds = min(_SECONDS, sum(estimates) / (_BANDS_EACH * workers))
        seconds = max(seconds, _LEAST_SECONDS)
    seconds = max(seconds, sum(estimates) / MOST_BANDS)
    bands = []
    for group, estimate in zip(listed, estimates, strict=True):
        rows = max(jobs[i].plan.problem.map_shape[0] for i in group)
        tall = max(jobs[i].plan.problem.kernel[0] for i in group)
        stride = jobs[group[0]].plan.problem.stride[0]
        wanted = math.ceil(rows * seconds / max(estimate, seconds))
        # As few rows of pixels as can be are read for two bands, within twice the time.
        taller = min(_KERNELS_TALL * tall // stride, 2 * wanted)
        step = -(-max(wanted, taller, 1) // BLOCK) * BLOCK
        bands += [Band(group, top, min(step, rows - top)) for top in range(0, rows, step)]
    return bands


def _seconds_of(jobs: Sequence[Job]) -> float:
    """Return the estimated seconds of one thread for the maps of jobs."""
    return sum(job.plan.chosen.work * max(1, job.plan.problem.threads) for job in jobs)
