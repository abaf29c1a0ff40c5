"""A scheduler in this process, and worker processes on this machine, that end with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import resource_tracker
from types import ModuleType
from typing import Any

from patchsim.errors import MachineError
from patchsim.machine import memory
from patchsim.machine.threads import start as start_thread

_START_SECONDS = 60.0
_JOIN_SECONDS = 0.1
_REPLACE_SECONDS = 10.0
_LEAST_MEMORY = 1 << 28  # bytes that a worker may take at least
_DEATHS = 1  # of a task, after which the scheduler gives it back
_QUIET = "patchsim.cluster.quiet"  # is imported by each worker process
_ABOVE_ALL = 100  # a level of logging
# Otherwise each process samples its stack and its delays up to a hundred times a second, even when
# it is idle, for a dashboard that is not shown here.
_IDLE = {
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.profile.enabled": False,
}
# Dask has workers give each freed page back at once, which takes a tenth of the time of scoring a
# tile, as the next one needs the same pages. These are the bytes that glibc comes to by itself.
_MALLOC = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 26,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
}


def start(dask: ModuleType, count: int, folder: str) -> Any:
    """Start so many worker processes of one thread each, and their scheduler.

    Parameters
    ----------
    dask : module
        The package distributed.
    count : int
    folder : str
        Where workers may write.

    Returns
    -------
    distributed.LocalCluster

    Raises
    ------
    MachineError
        If they do not start.
    """
    made: list[Any] = []

    def make() -> None:
        # Processes that are started from here, at any time, have it blocked, too: Ctrl-C in a
        # terminal reaches them, and this process ends them. The tracker first, whose start
        # unblocks it.
        if hasattr(signal, "pthread_sigmask"):
            _start_tracker()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            made.append(_cluster(dask, count, folder))
        except Exception as error:  # of any type; raised in the thread that waits
            made.append(error)

    before = {process.pid for process in multiprocessing.active_children()}
    thread = threading.Thread(target=make, name="patchsim_cluster", daemon=True)
    start_thread(thread)
    end = time.monotonic() + _START_SECONDS
    try:
        while thread.is_alive() and time.monotonic() < end:
            thread.join(_JOIN_SECONDS)  # an interrupt comes between
    except BaseException:
        _kill_begun(before)
        raise
    cluster = made[0] if made else TimeoutError(f"not within {_START_SECONDS:.0f} s")
    if isinstance(cluster, Exception):
        _kill_begun(before)
        reason = cluster or type(cluster).__name__
        raise MachineError(f"{count} worker processes do not start: {reason}") from cluster
    return cluster


def _start_tracker() -> None:
    """Start Python's tracker of semaphores without standard error.

    It would warn of those of workers that are killed. For the millisecond that it takes, nothing
    that this process writes there is seen.
    """
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        resource_tracker.ensure_running()
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        resource_tracker.ensure_running()
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _cluster(dask: ModuleType, count: int, folder: str) -> Any:
    from dask import config

    # The scheduler takes no folder as an argument, and makes one in TMPDIR that stays there.
    with config.set({"temporary-directory": folder, **_IDLE, **_MALLOC}):
        return dask.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            memory_limit=max(_LEAST_MEMORY, memory.available() // count),
            dashboard_address="127.0.0.1:0",
            silence_logs=_ABOVE_ALL,
            local_directory=folder,
            preload=[_QUIET],
            scheduler_kwargs={"allowed_failures": _DEATHS, "dashboard": False},
            timeout=_START_SECONDS,
        )


def replace_lost(cluster: Any, count: int) -> None:
    """Start new workers in place of those that nobody starts again.

    Dask starts a worker again that was killed, but gives up one that is killed while it starts.
    """

    async def replace() -> None:
        for name, nanny in list(cluster.workers.items()):
            if not _is_alive(nanny):
                cluster.worker_spec.pop(name, None)
        cluster.scale(count)

    cluster.sync(replace, callback_timeout=_REPLACE_SECONDS)


def _is_alive(nanny: Any) -> bool:
    """Return whether a worker runs or is being started."""
    process = getattr(nanny, "process", None)
    states = nanny.status.name, process and process.status.name
    return all(state in ("init", "starting", "running") for state in states)


def close(cluster: Any, seconds: float) -> None:
    """End a scheduler and its workers, within about so many seconds.

    The workers of other clusters that this process has go on.
    """
    nannies = list(cluster.workers.values())
    numbers = _numbers(nannies)
    with contextlib.suppress(Exception):
        cluster.close(timeout=seconds)
    numbers |= _numbers(nannies)  # of those that were started again meanwhile
    for process in multiprocessing.active_children():
        if process.pid in numbers:
            _kill(process)


def _numbers(nannies: list[Any]) -> set[int]:
    """Return the numbers of the processes of workers."""
    return {number for nanny in nannies if (number := getattr(nanny.process, "pid", None))}


def _kill_begun(before: set[int | None]) -> None:
    """Kill the worker processes that were not there before."""
    for process in multiprocessing.active_children():
        if process.pid not in before and process.name.startswith("Dask"):
            _kill(process)


def _kill(process: Any) -> None:
    process.kill()
    process.join(1.0)
