"""`scan`: kernels that are kept, pictures one after the other, several at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from PIL import Image

from patchsim.checks import positive_integer
from patchsim.errors import InputError
from patchsim.events import Observer, check_observer
from patchsim.machine import devices, extensions, pipeline
from patchsim.machine.memory import default_limit, parse_size
from patchsim.machine.threads import clamp
from patchsim.matching import delegated
from patchsim.matching.matcher import Matcher
from patchsim.options import Given, check_keywords
from patchsim.pictures.reader import is_stdin
from patchsim.scanning import listing, requests
from patchsim.scanning.one_picture import Told, search
from patchsim.scanning.records import ScanResult
from patchsim.scanning.requests import Request
from patchsim.scene import empty_area
from patchsim.search import jobs

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source
    from patchsim.planning.planner import Plan
    from patchsim.scanning.one_picture import PicturesElsewhere
    from patchsim.scanning.page import ScanPage

_SHARE = 1 << 29  # bytes that a picture may take at least, if there are as many; fewer go at a time
_MOST_TOLD = 1000  # notices that are remembered, so that none is told twice


class Scanner:
    """Kernels and options of a scan.

    Parameters
    ----------
    kernel : path, PIL image or array, or a sequence of these
    mask, image_mask : path, PIL image or array, optional
    observer : Observer, optional
        Told of each notice about kernels and pictures once, whatever the number of pictures.
    cluster : Cluster, optional
        Where the pictures are searched, if not here.
    **options
        As for `match`; `threads` and `memory` are those of all pictures at a time.
    """

    def __init__(
        self,
        kernel: Source | Sequence[Source],
        *,
        mask: Source | None = None,
        image_mask: Source | None = None,
        observer: Observer | None = None,
        cluster: PicturesElsewhere | None = None,
        **options: Unpack[Given],
    ) -> None:
        if cluster is not None:
            delegated.refuse_others(cluster)
        self._cluster = cluster
        asked, threads = options.get("memory"), options.get("threads")
        memory = default_limit() if asked is None else parse_size(asked)
        if threads is None:
            threads = devices.cpu_count()
        self._threads = clamp(positive_integer(threads, "threads"))
        self._parallel = max(1, min(self._threads, memory // _SHARE))
        given: Given = {**options, "memory": memory}
        self._own_memory = None if asked is None else memory
        self.matcher = Matcher(kernel, mask=mask, image_mask=image_mask, **given)
        # All pictures share the kernels, and each has its part of the rest.
        held = min(self.matcher.nbytes, memory - 1)
        self._memory = held + max(1, (memory - held) // self._parallel)
        self._observer = check_observer(observer)
        self._all_told = Told(self._tell, self._tell_plan, self._tell_swept)
        self._told: set[str] = set()
        self._lock = threading.Lock()  # of what is counted
        self._telling = threading.RLock()  # an observer is told one thing after the other
        self._waiting = 0

    def results(self, todo: Iterable[Request]) -> Generator[ScanResult, None, None]:
        """Yield the result of each request, in their order, each as soon as it can be."""
        for text in extensions.notices():
            self._tell(text)
        if self._cluster is not None:
            return self._cluster.searched(
                self.matcher, todo, memory=self._own_memory, told=self._all_told
            )
        return pipeline.as_they_come(self._search, self._counted(todo), self._parallel)

    def page(
        self, path: str | os.PathLike[str], *, force: bool = False, command: str | None = None
    ) -> ScanPage:
        """Return the page that a scan with these kernels may write.

        Raises
        ------
        InputError
            If it cannot be written, or would overwrite a kernel or mask.
        """
        from patchsim.scanning.page import ScanPage

        # As many pictures at a time as are searched, each within the memory that its search had.
        return ScanPage(
            path, self.matcher.files, parallel=self._parallel, command=command, force=force
        )

    def _counted(self, todo: Iterable[Request]) -> Iterator[Request]:
        for request in todo:
            with self._lock:
                self._waiting += 1
            yield request

    def _search(self, request: Request) -> ScanResult:
        """Search a picture; a picture that waits alone gets all threads."""
        threads = max(1, self._threads // max(1, min(self._waiting, self._parallel)))
        told = self._all_told.of(request.name)
        try:
            return search(self.matcher, request, told, threads=threads, memory=self._memory)
        finally:
            with self._lock:
                self._waiting -= 1

    def _tell(self, text: str) -> None:
        what = text
        # The score of an empty area differs with the type of the picture, and the advice does not.
        if empty_area.is_reached(text):
            what = "a threshold that is too low"
        elif jobs.is_cost(text):  # which differs with the picture's size
            what = "a search that takes long"
        with self._telling:
            if self._is_new(what):
                self._observer.notice(text)

    def _tell_plan(self, plan: Plan, kernels: Sequence[str]) -> None:
        """Tell the plan of the first picture of a kind alone."""
        # A picture that waits alone has more threads, and with these perhaps another engine.
        problem = plan.problem._replace(threads=1)
        with self._telling:
            if self._is_new(f"{problem} {kernels}"):
                self._observer.planned(plan, kernels)

    def _tell_swept(self, text: str) -> None:
        with self._telling:
            if self._is_new(text):
                self._observer.swept(text)

    def _is_new(self, text: str) -> bool:
        if text in self._told:
            return False
        if len(self._told) < _MOST_TOLD:
            self._told.add(text)
        return True


def scan(
    pictures: Source | Mapping[str, Any] | Iterable[Source | Mapping[str, Any]],
    kernel: Source | Sequence[Source],
    *,
    mask: Source | None = None,
    image_mask: Source | None = None,
    report: str | os.PathLike[str] | None = None,
    force: bool = False,
    observer: Observer | None = None,
    cluster: PicturesElsewhere | None = None,
    **options: Unpack[Given],
) -> Iterator[ScanResult]:
    """Find kernels in many pictures, several at a time; the kernels are prepared once.

    Parameters
    ----------
    pictures : path, PIL image, array or mapping, or an iterable of these
        A path may be a file, a folder, a pattern such as ``"scans/**/*.png"`` or a URL. A mapping
        has the path ``image`` and a ``region`` (x, y, width, height), in place of the option. An
        iterable may be endless: it is iterated in a thread of its own, at most two pictures for
        each thread ahead of the results.
    kernel : path, PIL image or array, or a sequence of these
        As for `match`.
    mask, image_mask : path, PIL image or array, optional
        As for `match`; the mask of the image is that of all pictures, which have its size.
    report : path, optional
        An HTML page to write when the last result was taken, or the iterator is closed before:
        thumbnails of up to 300 pictures, those with the best matches, to filter and to sort.
    force : bool
        Replace a page that is read-only, too.
    observer : Observer, optional
        Told of notices about kernels and pictures, each once, and of the page.
    cluster : Cluster, optional
        Search the pictures on its workers, several of them in a task. `threads` then has no effect,
        and more pictures are taken ahead of the results.
    **options
        The options of `match`. `threads` and `memory` are those of all pictures that are searched
        at a time, which are as many as there are threads if each gets 512 MiB.

    Returns
    -------
    iterator of ScanResult
        What was found in each picture, in the order of the pictures, as soon as it is known. A
        picture that cannot be read has an error, and the others are still searched.

    Raises
    ------
    InputError
        If an option or the kernels cannot be used; raised by the call itself.

    Examples
    --------
    >>> import numpy as np, patchsim
    >>> pictures = [np.arange(200, dtype=np.uint8).reshape(10, 20) + shift for shift in (0, 1)]
    >>> kernel = pictures[0][4:7, 5:9]
    >>> for result in patchsim.scan(pictures, kernel, threshold=0.999):
    ...     print(result.image, [(match.x, match.y) for match in result.matches])
    picture-1 [(5, 4)]
    picture-2 [(4, 4)]
    """
    check_keywords(
        options, "scan", ("mask", "image_mask", "report", "force", "observer", "cluster")
    )
    scanner = Scanner(
        kernel, mask=mask, image_mask=image_mask, observer=observer, cluster=cluster, **options
    )
    told = check_observer(observer)
    results = scanner.results(_requests(pictures, told.notice))
    if report is None:
        return results
    page = scanner.page(report, force=force, command=getattr(told, "command", None))
    return page.collecting(results, told.wrote)


def _requests(pictures: Any, tell: Callable[[str], None]) -> Iterator[Request]:
    """Yield the requests for what Python gives."""
    is_one = isinstance(pictures, Image.Image)
    is_one |= hasattr(pictures, "__array__") or hasattr(pictures, "__dlpack__")
    is_path = isinstance(pictures, str | os.PathLike | Mapping)
    for number, picture in enumerate([pictures] if is_one or is_path else pictures, 1):
        if isinstance(picture, Mapping):
            try:
                yield requests.of_object(picture)
            except InputError as error:
                yield Request(f"picture-{number}", fault=str(error))
        elif is_stdin(picture):
            yield requests.of_path("-")
        elif isinstance(picture, str | os.PathLike):
            yield from listing.listed([os.fspath(picture)], tell)
        else:
            yield Request(f"picture-{number}", picture)
