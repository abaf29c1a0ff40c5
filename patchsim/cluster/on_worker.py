"""The functions that a worker of a cluster runs. Arguments and results are pickles, as bytes.

A worker keeps the last search that it opened, with its image, from one task to the next.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import patchsim
from patchsim.cluster import versions
from patchsim.cluster.work import Band, Work, check, opened, score_band
from patchsim.errors import InputError, PatchsimError
from patchsim.files.stamps import Stamp
from patchsim.machine.memory import default_limit

_SHARE = 0.6  # of a worker's memory: libraries, and the results that wait, take some, too

_FINISHED = ("memory", "error", "released", "forgotten")  # states of a task for Dask
_RUNNING = "executing"

_lock = threading.Lock()  # one thread opens what the others wait for
_kept: dict[str, Any] = {}  # the last search that was opened, by its key


class Done(NamedTuple):
    """The result of a task."""

    value: Any


class Fault(NamedTuple):
    """The error of a task.

    Attributes
    ----------
    text : str
        The first line of the message.
    host : str
    address : str
        The worker's.
    is_input : bool
        The picture or the request is at fault.
    is_memory : bool
        A part of the task may fit the memory.
    is_version : bool
        The worker has another version of patchsim; the task has no part in it.
    """

    text: str
    host: str
    address: str
    is_input: bool = False
    is_memory: bool = False
    is_version: bool = False


def same(value: bytes) -> bytes:
    """Return the constants of tasks; as the result of a task they are made again if lost."""
    return value


def constants(value: Any) -> bytes:
    """Return the constants of tasks, which `keep` takes on a worker of this version alone."""
    return pickle.dumps((patchsim.__version__, pickle.dumps(value)))


def bands(constants: bytes, key: str, task: bytes) -> bytes:
    """Score a band; the constants are a `Work` and the memory that it may take, or None."""
    return answer(lambda: _score(constants, key, pickle.loads(task)))


def _score(constants: bytes, key: str, band: Band) -> Any:
    def make(described: tuple[Work, int | None]) -> Any:
        work, memory = described
        return work, opened(work, threads=1, memory=limit(memory))

    work, search = keep(key, constants, make)
    return score_band(search, work, band)


def keep(key: str, constants: bytes, make: Callable[[Any], Any]) -> Any:
    """Return what is kept for a key, or make it of the constants, in place of what was kept.

    Raises
    ------
    OtherVersionError
        If the constants are of another version of patchsim.
    """
    with _lock:
        if key not in _kept:
            version, value = pickle.loads(constants)
            versions.check(version)
            _kept.clear()  # the memory of what was before is free for what comes
            _kept[key] = make(pickle.loads(value))
        return _kept[key]


def held(prefix: str, dask_worker: Any) -> dict[str, float]:
    """Return the tasks that a worker has yet to finish, of those whose names begin so.

    The values are the seconds for which they have run, 0 for those that wait.
    """
    now = time.time()
    return {
        name: now - (task.start_time or now) if task.state == _RUNNING else 0.0
        for name, task in dask_worker.state.tasks.items()
        if str(name).startswith(prefix) and task.state not in _FINISHED
    }


def forget(key: str) -> None:
    """Free what is kept for a key."""
    with _lock:
        _kept.pop(key, None)


def why_not(image: str, stamp: Stamp | None, version: str) -> str | None:
    """Return why this process cannot open an image, or None."""
    try:
        check(image, stamp, version)
    except InputError as error:
        return str(error)
    if stamp is not None and not os.access(image, os.R_OK):
        return f"{image} cannot be read: Permission denied"
    return None


def limit(memory: int | None) -> int:
    """Return the bytes that one task may take; `memory` is what the user allows, or None."""
    from distributed import get_worker

    worker = get_worker()
    limit_of_worker, threads = worker.memory_manager.memory_limit, worker.state.nthreads
    most = int(_SHARE * limit_of_worker) if limit_of_worker else default_limit()
    return max(1, min(most, memory or most) // threads)


def answer(task: Callable[[], Any]) -> bytes:
    """Run a task, and return its result or its error."""
    try:
        return pickle.dumps(Done(task()))
    except Exception as error:  # of any type, MemoryError among them: who asked decides on it
        return pickle.dumps(_fault(error))


def _fault(error: Exception) -> Fault:
    from distributed import get_worker

    is_ours = isinstance(error, PatchsimError)
    text = str(error) if is_ours else f"{type(error).__name__}: {error}"
    return Fault(
        (text.splitlines() or [""])[0],
        socket.gethostname(),
        get_worker().address,
        is_input=isinstance(error, InputError),
        # A reader explains that a picture does not fit; a part of the task may read less of it.
        is_memory=isinstance(error, MemoryError) or isinstance(error.__context__, MemoryError),
        is_version=isinstance(error, versions.OtherVersionError),
    )
