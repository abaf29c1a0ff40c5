"""`Cluster`: the workers of a Dask scheduler, or of this machine, for searches and scans."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import Any

from patchsim.cluster import on_worker, pictures, versions, work
from patchsim.cluster.address import Address
from patchsim.cluster.link import Link, require_distributed
from patchsim.cluster.tasks import Failure, Run
from patchsim.cluster.work import Band, Work
from patchsim.errors import InputError, MachineError, printable
from patchsim.events import Observer, check_observer
from patchsim.geometry.area import Region
from patchsim.matching.matcher import Matcher
from patchsim.scanning.one_picture import Told
from patchsim.scanning.records import ScanResult
from patchsim.scanning.requests import Request
from patchsim.search.bands import BandBounds, BandSource
from patchsim.search.jobs import Job


class Cluster:
    """Workers that score the windows of large images, and search many pictures.

    It is given to `match`, `Matcher.match` and `scan`. As a context manager it closes itself.

    Parameters
    ----------
    address : str
        The address of a Dask scheduler, such as ``tcp://host:8786``; or ``local:4`` for so many
        processes on this machine, of one thread each, which end with the cluster. A script that
        starts these needs ``if __name__ == "__main__":``, because each of them imports it.
    observer : Observer, optional
        Told of notices about the cluster.

    Raises
    ------
    InputError
        If the address is none, or the package distributed is not installed. Whether a scheduler
        answers shows when the first search begins, or `connect` is called.

    Examples
    --------
    >>> import patchsim
    >>> with patchsim.Cluster("local:2") as cluster:  # doctest: +SKIP
    ...     report = patchsim.match("slide.tif", "cell.png", cluster=cluster)
    """

    __module__ = "patchsim"

    title = "a cluster"

    def __init__(self, address: str, *, observer: Observer | None = None) -> None:
        self._address = Address.parsed(address)
        require_distributed()
        self._observer = check_observer(observer)
        self._link: Link | None = None
        self._is_closed = False

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "not connected"
        if self._link is not None:
            state = f"{self._link.threads} threads"
        return f"<patchsim.Cluster: {printable(self._address.text)}, {state}>"

    def close(self) -> None:
        """Leave the scheduler, or end the processes of this machine."""
        link, self._link = self._link, None
        self._is_closed = True
        if link is not None:
            link.close()

    def connect(self) -> None:
        """Connect to the scheduler, or start the processes; the first search does it, too.

        Raises
        ------
        InputError
            If no scheduler answers in 10 seconds, a worker has another version of patchsim or
            none, or the cluster is closed.
        MachineError
            If local workers do not start.
        """
        self._connected()

    def _connected(self) -> Link:
        if self._is_closed:
            raise InputError("the cluster is closed; open a new one")
        if self._link is None:
            link = Link(self._address, self._observer.notice)
            try:
                _check_versions(link)
            except BaseException:
                link.close()
                raise
            self._link = link
        return self._link

    def band_source(
        self,
        matcher: Any,
        image: str,
        *,
        region: Region | None,
        memory: int | None,
        observer: Observer,
    ) -> BandSource:
        """Return where the bounds of an image's maps come from; `match` calls it.

        Parameters
        ----------
        matcher : Matcher
            The kernels and options.
        image : str
            The path or URL of the image.
        region : (x, y, width, height) or None
            In place of the matcher's option.
        memory : int or None
            The bytes that a worker may take at most, if they were given.
        observer : Observer
            Told of parts of the image that are not scored.

        Returns
        -------
        BandSource
            It scores the maps on the workers.

        Raises
        ------
        InputError
            If a worker does not see the image's file, or as of `connect`.
        """
        described = Work.of(matcher, image, region)
        link = self._connected()
        _check_image(link, described)
        return _Bands(link, described, memory, observer)

    def searched(
        self, matcher: Matcher, todo: Iterable[Request], *, memory: int | None, told: Told
    ) -> Generator[ScanResult, None, None]:
        """Return the results of the requests of a scan, in their order; `scan` calls it.

        Parameters
        ----------
        matcher : Matcher
            The kernels and options.
        todo : iterable of Request
            The pictures; it is iterated in a thread of its own.
        memory : int or None
            The bytes that a worker may take at most, if they were given.
        told : Told
            Takes notices and plans.

        Returns
        -------
        generator of ScanResult
            One for each request.

        Raises
        ------
        InputError
            As of `connect`.
        """
        return pictures.searched(self._connected(), matcher, todo, memory=memory, told=told)


class _Listed:
    """Bands that are all known; a `tasks.Source`."""

    def __init__(self, bands: Sequence[Band]) -> None:
        self._bands, self._next = bands, 0

    def take(self, most: int) -> Sequence[Band] | None:
        if self._next >= len(self._bands):
            return None
        taken = self._bands[self._next : self._next + most]
        self._next += len(taken)
        return taken


class _Bands:
    """Scores bands on the workers of a cluster; a `search.bands.BandSource`."""

    def __init__(self, link: Link, described: Work, memory: int | None, observer: Observer) -> None:
        self._link, self._work, self._observer = link, described, observer
        self._memory = memory

    def bounds(
        self, jobs: Sequence[Job], parts: Sequence[Sequence[int]]
    ) -> Generator[BandBounds, None, None]:
        """Yield the bounds of all bands; one that cannot be scored is missing.

        Raises
        ------
        InputError
            If the file has changed, or no band can be read.
        MachineError
            If the scheduler or all workers are lost, or no band can be scored.
        """
        key = self._work.key
        bands = work.bands_of(jobs, parts, workers=self._link.threads)
        run = Run(
            self._link,
            on_worker.bands,
            on_worker.constants((self._work, self._memory)),
            key,
            _Listed(bands),
            lambda _fault: self._work.check(),
        )
        failure: Failure | None = None
        is_any = False
        lost: list[tuple[Band, Failure]] = []
        for band, outcome in run.results():
            assert isinstance(band, Band)
            if isinstance(outcome, Failure):
                failure = failure or outcome
                lost.append((band, outcome))
                continue
            is_any = True
            yield from outcome
        self._link.forget(key)
        if failure is not None and not is_any:
            raise (InputError if failure.is_input else MachineError)(failure.reason)
        for band, why in lost:
            yield from self._missing(band, why, jobs)

    def _missing(
        self, band: Band, why: Failure, jobs: Sequence[Job]
    ) -> Generator[BandBounds, None, None]:
        told = False
        for number in band.jobs:
            rows, cols = jobs[number].plan.problem.map_shape
            left = min(band.rows, rows - band.top)
            if left < 1:
                continue
            bounds = BandBounds.missing(number, band.top, left, cols)
            if not told:
                box = ",".join(map(str, bounds.box(jobs[number])))
                self._observer.notice(
                    f"the part {box} (x,y,width,height) has no scores: {why.reason}"
                )
                told = True
            yield bounds


def _check_versions(link: Link) -> None:
    """Refuse a cluster of which a worker has another patchsim, or none."""
    for address, answer in link.run(eval, versions.ASKED).items():
        why = versions.refusal(address, answer)
        if why is not None:
            raise InputError(why)


def _check_image(link: Link, described: Work) -> None:
    """Refuse workers that do not see the file of an image."""
    about = described.image, described.stamp, described.version
    for address, fault in link.run(on_worker.why_not, *about).items():
        if fault is not None:
            text = str(fault).splitlines()[0]
            raise InputError(
                f"the worker at {versions.host(address)}: {printable(text)};\nput the image where"
                " all workers see it under the same path"
            )
