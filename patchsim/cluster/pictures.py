"""Many pictures on the workers of a cluster: batches of them are the tasks."""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from patchsim.cluster import on_worker
from patchsim.cluster.link import Link
from patchsim.cluster.tasks import Failure, Run
from patchsim.errors import InputError, MachineError, PatchsimError, printable
from patchsim.events import Observer
from patchsim.machine.threads import start
from patchsim.matching.matcher import Matcher
from patchsim.output.notebook import ImageDisplay
from patchsim.pictures import remote
from patchsim.scanning.one_picture import Told, search
from patchsim.scanning.records import ScanResult
from patchsim.scanning.requests import Request

_SECONDS = 3.0  # of a batch
_MOST = 500  # pictures of a batch
_MOST_DEATHS = 16  # enough to find one picture of a batch by halves
_GROWTH = 2  # of the number of pictures of a batch, until they take so long
_AHEAD = 3  # batches for each thread that are taken ahead of the results
_PAUSE = 0.005  # seconds until the next look for room


class Batch(NamedTuple):
    """Pictures that are searched in one task.

    Attributes
    ----------
    first : int
        The number of the first request.
    requests : tuple of Request
    """

    first: int
    requests: tuple[Request, ...]

    @property
    def title(self) -> str:
        """The batch, as the object of a sentence."""
        more = len(self.requests) - 1
        rest = f" and {more:,} more" if more else ""
        return f"{printable(self.requests[0].name)}{rest}"

    def halves(self) -> tuple[Batch, ...]:
        """Return the batch in two parts, if it has more than one picture."""
        half = len(self.requests) // 2
        if not half:
            return ()
        return (
            Batch(self.first, self.requests[:half]),
            Batch(self.first + half, self.requests[half:]),
        )


class Answer(NamedTuple):
    """The results of a batch, and what was told of each of its pictures."""

    results: list[ScanResult]
    told: list[list[tuple[Any, ...]]]
    seconds: float


def search_batch(constants: bytes, key: str, task: bytes) -> bytes:
    """Search the pictures of a batch, on a worker.

    The constants are a `Matcher`, the folder that paths are relative to, and the memory or None.
    """
    return on_worker.answer(lambda: _searched(constants, key, pickle.loads(task)))


def _searched(constants: bytes, key: str, batch: Batch) -> Answer:
    matcher, folder, memory = on_worker.keep(key, constants, lambda held: held)
    started = time.perf_counter()
    results, told = [], []
    for request in batch.requests:
        heard = _Heard()
        results.append(_in_folder(matcher, request, folder, heard, memory=on_worker.limit(memory)))
        told.append(heard.told)
    return Answer(results, told, time.perf_counter() - started)


class _Heard(Observer):
    """Keeps what a search tells before it begins."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def notice(self, text: str) -> None:
        self.told.append(("notice", text))

    def planned(self, plan: Any, kernels: Sequence[str]) -> None:
        self.told.append(("planned", plan, list(kernels)))

    def swept(self, text: str) -> None:
        self.told.append(("swept", text))


def _in_folder(
    matcher: Matcher, request: Request, folder: str, told: Observer, *, memory: int
) -> ScanResult:
    """Search a picture whose path is relative to a folder, and name it as it was given."""
    given = request.source
    if not isinstance(given, str | os.PathLike) or _is_found(os.fspath(given), folder):
        return search(matcher, request, told, threads=1, memory=memory)
    name = os.fspath(given)
    path = os.path.join(folder, name)
    result = search(matcher, replace(request, source=path), told, threads=1, memory=memory)
    if result.report is not None:
        notices = tuple(text.replace(path, name) for text in result.report.notices)
        return replace(result, report=replace(result.report, image=name, notices=notices))
    error = result.error
    assert error is not None
    return replace(result, error=type(error)(str(error).replace(path, name)))


def _is_found(path: str, folder: str) -> bool:
    """Return whether a path leads to the same file in this process as in the folder's."""
    return remote.is_url(path) or Path(path).is_absolute() or str(Path.cwd()) == folder


class _Requests:
    """Requests that come one by one, perhaps slowly, as batches; a `tasks.Source`."""

    def __init__(self, todo: Iterable[Request], link: Link) -> None:
        self._todo, self._link = todo, link
        self._queue: queue.SimpleQueue[Request | BaseException | None] = queue.SimpleQueue()
        self._count = 0
        self._is_over = False
        self.error: BaseException | None = None  # of the iterable, behind its last request
        self._size = 1
        self._held = 0  # requests that were given out, without a result yet
        self._is_closed = threading.Event()
        start(threading.Thread(target=self._feed, name="patchsim_feeder", daemon=True))

    def _feed(self) -> None:
        """Take requests ahead of the results, but not all."""
        end: BaseException | None = None
        try:
            for request in self._todo:
                while self._queue.qsize() + self._held >= self._most:
                    if self._is_closed.wait(_PAUSE):
                        return
                self._queue.put(request)
        except BaseException as error:  # raised where the requests are taken
            end = error
        self._queue.put(end)

    @property
    def _most(self) -> int:
        return _AHEAD * max(1, self._link.threads) * self._size + 1

    def take(self, most: int) -> Sequence[Batch] | None:
        """Return batches of the requests that are there."""
        if self._has_ended():
            return None
        batches: list[Batch] = []
        share = -(-self._queue.qsize() // max(1, self._link.threads))
        size = max(1, min(self._size, share))
        while len(batches) < most:
            requests = self._next(size)
            if not requests:
                break
            batches.append(Batch(self._count, tuple(requests)))
            self._count += len(requests)
            self._held += len(requests)
        return batches or (None if self._has_ended() else ())

    def _has_ended(self) -> bool:
        return self._is_over

    def _next(self, size: int) -> list[Request]:
        requests: list[Request] = []
        while len(requests) < size and not self._is_over:
            try:
                one = self._queue.get_nowait()
            except queue.Empty:
                break
            if isinstance(one, Request):
                requests.append(one)
                continue
            self._is_over = True
            self.error = one
        return requests

    def done(self, count: int) -> None:
        """Take note that so many results were handed on."""
        self._held -= count

    def took(self, count: int, seconds: float) -> None:
        """Take note that a batch of so many pictures took so long."""
        fitting = int(_SECONDS * count / max(seconds, 1e-6))
        self._size = max(1, min(fitting, _GROWTH * self._size, _MOST))

    def close(self) -> None:
        self._is_closed.set()


def searched(
    link: Link,
    matcher: Matcher,
    todo: Iterable[Request],
    *,
    memory: int | None,
    told: Told,
) -> Generator[ScanResult, None, None]:
    """Yield the result of each request in their order, as `scanning.one_picture` describes."""
    key = f"scan-{os.getpid()}-{time.time_ns()}"
    source = _Requests(todo, link)
    constants = on_worker.constants((matcher, str(Path.cwd()), memory))
    run = Run(link, search_batch, constants, key, source, most_deaths=_MOST_DEATHS)
    waiting: dict[int, tuple[ScanResult, list[tuple[Any, ...]]]] = {}
    following = 0
    try:
        for batch, outcome in run.results():
            assert isinstance(batch, Batch)
            if isinstance(outcome, Failure):
                for number, request in enumerate(batch.requests, batch.first):
                    waiting[number] = _failed(request, outcome), []
            else:
                results = map(_with_display, outcome.results, batch.requests)
                waiting.update(enumerate(zip(results, outcome.told, strict=True), batch.first))
                source.took(len(batch.requests), outcome.seconds)
            while following in waiting:
                result, texts = waiting.pop(following)
                following += 1
                source.done(1)
                _tell(texts, told.of(result.image))
                yield result
        if source.error is not None:
            raise source.error
    finally:
        source.close()
    link.forget(key)


def _tell(texts: list[tuple[Any, ...]], told: Told) -> None:
    """Pass on what was told of a picture."""
    for method, *arguments in texts:
        getattr(told, method)(*arguments)


def _with_display(result: ScanResult, request: Request) -> ScanResult:
    """Let a report show its picture again, which it forgot on its way."""
    report = result.report
    if report is None or not isinstance(report.display, ImageDisplay):
        return result
    display = replace(report.display, source=request.source)
    return replace(result, report=replace(report, display=display))


def _failed(request: Request, failure: Failure) -> ScanResult:
    kind: type[PatchsimError] = InputError if failure.is_input else MachineError
    text = f"{request.name}: {failure.reason}"
    return ScanResult(request.name, request.region, None, kind(text))
