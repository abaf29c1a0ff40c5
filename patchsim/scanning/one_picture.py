"""The search of one picture of many: its result, or its error as a result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from patchsim.errors import InputError, MachineError, PatchsimError, printable
from patchsim.events import Observer
from patchsim.matches.auto_threshold import is_too_few
from patchsim.matching.matcher import Matcher
from patchsim.scanning.records import ScanResult
from patchsim.scanning.requests import Request
from patchsim.search import jobs

if TYPE_CHECKING:
    from patchsim.planning.planner import Plan


class PicturesElsewhere(Protocol):
    """Processes that search pictures for a scan, such as `patchsim.Cluster`."""

    def searched(
        self, matcher: Matcher, todo: Iterable[Request], *, memory: int | None, told: Told
    ) -> Generator[ScanResult, None, None]:
        """Yield the result of each request, in their order.

        Parameters
        ----------
        matcher : Matcher
        todo : iterable of Request
        memory : int or None
            The bytes that a search may take, if they were given.
        told : Told
            Takes the notices and plans of all pictures.
        """


class Told(Observer):
    """Passes on what is known of a picture before it is searched; the result says the rest.

    That the threshold ``auto`` cannot decide, or that a search takes long, is no part of the
    result. It is passed on at any time, with the name of the picture. A notice is one line: only
    the first of several would say what it is about, and those of other pictures stand around it.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        tell_plan: Callable[[Plan, Sequence[str]], None],
        tell_swept: Callable[[str], None],
        image: str = "",
    ) -> None:
        self._tell, self._tell_plan, self._tell_swept = tell, tell_plan, tell_swept
        self._image = image
        self._has_begun = False

    def of(self, image: str) -> Told:
        """Return one for the picture of this name."""
        return Told(self._tell, self._tell_plan, self._tell_swept, image)

    def notice(self, text: str) -> None:
        text = text.replace("\n", " ")
        if is_too_few(text) or jobs.is_cost(text):
            self._tell(f"{printable(self._image)}: {text}")
        elif not self._has_begun:
            self._tell(text)

    def planned(self, plan: Plan, kernels: Sequence[str]) -> None:
        self._has_begun = True
        self._tell_plan(plan, kernels)

    def swept(self, text: str) -> None:
        self._has_begun = True
        self._tell_swept(text)


def search(
    matcher: Matcher, request: Request, told: Observer, *, threads: int, memory: int
) -> ScanResult:
    """Search a picture; an error that is one of patchsim's is its result.

    Parameters
    ----------
    matcher : Matcher
    request : Request
    told : Observer
    threads, memory : int
        As for `Matcher.match`.
    """
    report, error = None, None
    try:
        if request.source is None:
            raise InputError(request.fault or "there is no picture")
        report = matcher.match(
            request.source,
            observer=told,
            region=request.region,
            threads=threads,
            memory=memory,
        )
    except PatchsimError as raised:
        error = raised
    except MemoryError:
        error = MachineError("out of memory; give --memory a smaller size, or fewer --threads")
    return ScanResult(request.name, request.region, report, error)
