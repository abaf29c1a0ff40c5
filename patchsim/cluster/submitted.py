"""The tasks of one run on the workers of a cluster, apart from those of other runs."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, NamedTuple

from patchsim.cluster import on_worker

CLOSE_SECONDS = 5.0
_WAITING = ("waiting", "queued")  # states of a task for Dask's scheduler


class Place(NamedTuple):
    """Where a task waits or runs.

    Attributes
    ----------
    worker : str
        The address of the worker that has it, or nothing.
    seconds : float
        How long it has run there, as far as the worker tells; 0 if it waits.
    """

    worker: str = ""
    seconds: float = 0.0

    @property
    def host(self) -> str:
        """The worker's host and port."""
        return self.worker.rpartition("://")[2]


class Submitted:
    """Tasks of one run. Several runs, as of a search beside a scan, may share a link.

    Parameters
    ----------
    dask : module
        The package distributed.
    client : distributed.Client
    workers : () -> list of str
        The addresses of the workers that there are now.
    ask : (function, **arguments) -> value
        Calls a function of the scheduler.
    run : (function, argument) -> dict
        Calls a function on the workers; returns the values by the addresses of those that answer.
    naming_loss : () -> context manager
        Turns the errors of a connection that is lost into one of ours.
    """

    def __init__(
        self,
        dask: ModuleType,
        client: Any,
        workers: Callable[[], list[str]],
        ask: Callable[..., Any],
        run: Callable[..., dict[str, Any]],
        naming_loss: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._dask, self._client = dask, client
        self._workers, self._ask, self._run = workers, ask, run
        self._naming_loss = naming_loss
        # A scheduler takes tasks of the same name for the same task, whoever submits them.
        self._name = f"patchsim-{uuid.uuid4().hex}"
        self._constants: Any = None
        self._count = 0
        self._completed = self._new_completed()

    def _new_completed(self) -> Any:
        return self._dask.as_completed(
            loop=self._client.loop, with_results=True, raise_errors=False
        )

    def submit(
        self,
        function: Callable[[bytes, str, bytes], bytes],
        constants: bytes,
        key: str,
        tasks: list[bytes],
        *,
        avoid: str | None = None,
        never: Collection[str] = (),
    ) -> list[str]:
        """Submit tasks, and return a name for each.

        Parameters
        ----------
        function : (constants, key, task) -> bytes
            A function of `on_worker`.
        constants, key, tasks
            Its arguments; the constants, which are those of the run, are sent to each worker once.
        avoid : str, optional
            The address of a worker that should not have them, if there is another.
        never : collection of str
            The addresses of workers that must not have them, if there is another.
        """
        names = [f"{self._name}-{self._count + i}" for i in range(len(tasks))]
        self._count += len(tasks)
        elsewhere: dict[str, Any] = {}
        if avoid is not None or never:
            allowed = [one for one in self._workers() if one not in never]
            others = [one for one in allowed if one != avoid] or allowed
            if others:
                elsewhere = {"workers": others, "allow_other_workers": not never}
        with self._naming_loss():
            futures = self._client.map(
                function,
                [self._constant(constants)] * len(tasks),
                [key] * len(tasks),
                tasks,
                key=names,
                pure=False,
                **elsewhere,
            )
            self._completed.update(futures)
        return names

    def _constant(self, constants: bytes) -> Any:
        """Return the future of constants: a task, so that Dask makes them again if they are lost.

        Scattered data would be lost with the worker that has them.
        """
        if self._constants is not None and self._constants.status in ("pending", "finished"):
            return self._constants
        self._count += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large graph
            self._constants = self._client.submit(
                on_worker.same, constants, pure=False, key=f"{self._name}-{self._count}-same"
            )
        return self._constants

    def completed(self) -> list[tuple[str, str, Any]]:
        """Return the tasks that ended since the last call, without waiting.

        Returns
        -------
        list of (name, kind, value)
            ``done`` with the function's bytes; ``died`` with a text, if it killed its workers, or
            these died otherwise; ``lost``; ``error`` with a text.
        """
        if not self._completed.has_ready():
            return []
        ended = []
        for future, result in self._completed.next_batch(block=False):
            status = future.status
            if status == "finished":
                ended.append((future.key, "done", result))
            elif status == "error":
                ended.append((future.key, *self._explained(result)))
            else:
                ended.append((future.key, "lost", None))
        return ended

    def _explained(self, result: Any) -> tuple[str, str]:
        error = result[1] if isinstance(result, tuple) else result
        if isinstance(error, self._dask.KilledWorker):
            host = str(getattr(error.last_worker, "address", "")).rpartition("://")[2]
            where = f", the last one at {host}" if host else ""
            return "died", f"the workers that scored it died{where}"
        text = f"{type(error).__name__}: {error}"
        return "error", (text.splitlines() or [""])[0]

    def places(self, names: Collection[str]) -> dict[str, Place]:
        """Return where tasks wait or run, of those that a worker has or will have.

        A task may end while it is asked for: only what is absent twice is lost.
        """
        states = self._ask(self._client.scheduler.get_task_status, keys=list(names))
        processing = self._ask(self._client.scheduler.processing, workers=None)
        held = self._run(on_worker.held, self._name)
        workers = {name: worker for worker, there in processing.items() for name in there}
        places = {}
        for name in names:
            worker = workers.get(name, "")
            if states.get(name) in _WAITING or (states.get(name) == "processing" and not worker):
                places[name] = Place()
            elif states.get(name) == "processing":
                # A worker that does not answer is busy, or the scheduler drops it in a while.
                seconds = held[worker].get(name) if worker in held else 0.0
                if seconds is not None:
                    places[name] = Place(worker, seconds)
        return places

    def cancel(self) -> None:
        """Let no task go on, and forget the constants."""
        futures = [*self._completed.futures]
        if self._constants is not None:
            futures.append(self._constants)
            self._constants = None
        self._completed = self._new_completed()
        if futures and self._client.status == "running":
            with contextlib.suppress(Exception):
                self._client.sync(self._client._cancel, futures, callback_timeout=CLOSE_SECONDS)
