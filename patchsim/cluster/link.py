"""The connection to a cluster of Dask.

Every wait for an answer ends: with it, or with an error after a time that is named here. A
scheduler that is busy answers late; one that is gone closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from types import ModuleType
from typing import Any

from patchsim.cluster import local, on_worker, versions
from patchsim.cluster.address import Address
from patchsim.cluster.submitted import CLOSE_SECONDS, Submitted
from patchsim.errors import InputError, MachineError, printable
from patchsim.files.scratch import ScratchFolder

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 10.0  # of a question to the scheduler, until it is asked again
BUSY_SECONDS = 300.0  # without an answer, though the connection is there
WORKER_SECONDS = 60.0  # without any worker; one that died is started again in a few
LACKING_SECONDS = 10.0  # with fewer local workers than there were, until lost ones are replaced
_CALL_SECONDS = 30.0  # of a question to all workers
_EACH = 3  # tasks that are submitted for each thread of a worker
_LEAST = 8  # tasks that are submitted at least


def _connected(dask: Any, target: Any) -> Any:
    """Return a client of a scheduler.

    One that cannot connect is closed here. The garbage collector would close it at any time, and
    hang where that is while another client holds the lock under which it starts.
    """
    client = dask.Client.__new__(dask.Client)
    try:
        client.__init__(target, timeout=CONNECT_SECONDS, name="patchsim", set_as_default=False)
    except BaseException:
        with contextlib.suppress(Exception):  # it may have failed before there is anything to close
            client.close()
        raise
    return client


class Link:
    """A client of a scheduler, and the scheduler and workers themselves if they are local.

    Parameters
    ----------
    address : Address
    tell : callable
        Takes notices.

    Attributes
    ----------
    threads : int
        The threads of all workers, as last seen; 1 if there are none.
    refused : dict of str
        The addresses of workers that have another patchsim, which get no tasks, and why.
    client : distributed.Client
    tell : callable
        Takes notices.

    Raises
    ------
    InputError
        If the package distributed is not installed, or the scheduler cannot be reached.
    MachineError
        If local workers do not start.
    """

    def __init__(self, address: Address, tell: Callable[[str], None] = lambda _text: None) -> None:
        self._dask = require_distributed()
        self._address, self.tell = address, tell
        self._local: Any = None
        self._folder: ScratchFolder | None = None
        self.client: Any = None
        self.threads = 1
        self._seen = self._complete = time.monotonic()
        self._has_told = self._has_told_busy = False
        self._known: set[str] = set()
        self.refused: dict[str, str] = {}
        try:
            self._connect()
            self.check(is_waiting=False)
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        target: Any = self._address.text
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._address.local is not None:
                self._folder = ScratchFolder()
                target = self._local = local.start(
                    self._dask, self._address.local, str(self._folder.path)
                )
            try:
                self.client = _connected(self._dask, target)
            except (OSError, ValueError, TimeoutError) as error:
                raise InputError(
                    f"no scheduler answers at {printable(self._address.text)} within"
                    f" {CONNECT_SECONDS:.0f} s; give the address that dask scheduler prints"
                ) from error
            except TypeError as error:  # Dask found no certificates
                raise InputError(
                    f"{printable(self._address.text)} cannot be connected to:"
                    f" {printable(str(error))};\nfor tls name the certificates in the"
                    " configuration of Dask, distributed.comm.tls"
                ) from error
            except (MemoryError, RuntimeError) as error:  # sizes of messages that are none
                raise InputError(
                    f"what answers at {printable(self._address.text)} is no scheduler of Dask;"
                    " give the address that dask scheduler prints"
                ) from error

    @property
    def window(self) -> int:
        """The number of tasks that are submitted at a time."""
        return max(_LEAST, _EACH * self.threads)

    def submitted(self) -> Submitted:
        """Return the tasks of a run, of which there are none yet; other runs do not see them."""
        with self._naming_loss():
            return Submitted(
                self._dask, self.client, self._addresses, self._ask, self.run, self._naming_loss
            )

    def check(self, *, is_waiting: bool) -> None:
        """Look at the scheduler and its workers; refuse new ones that have another patchsim.

        Parameters
        ----------
        is_waiting : bool
            Tasks wait for a worker.

        Raises
        ------
        MachineError
            If the scheduler is lost, or there was no worker for `WORKER_SECONDS`.
        """
        threads = self._threads_by_worker()
        joined = threads.keys() - self._known
        if joined and self._known and self._address.local is None:
            self.refuse(joined)
        self._known |= joined
        self.threads = sum(n for address, n in threads.items() if address not in self.refused)
        now = time.monotonic()
        self._replace_lost(now)
        if self.threads:
            self._seen = now
            return
        self.threads = 1
        if not is_waiting:
            self._seen = now
        elif now - self._seen > WORKER_SECONDS:
            raise MachineError(
                f"the scheduler at {printable(self._address.text)} has had no worker for"
                f" {WORKER_SECONDS:.0f} s; start some, as by dask worker, and search again"
            )
        elif not self._has_told and self._address.local is None:
            self._has_told = True
            self.tell(
                f"{printable(self._address.text)} has no workers yet; waiting up to"
                f" {WORKER_SECONDS:.0f} s for one"
            )

    def _replace_lost(self, now: float) -> None:
        """Start workers on this machine again that were lacking for a while."""
        wanted = self._address.local
        if wanted is None or self.threads >= wanted:
            self._complete = now
        elif now - self._complete > LACKING_SECONDS:
            self._complete = now
            with self._naming_loss():
                local.replace_lost(self._local, wanted)

    def refuse(self, addresses: Collection[str]) -> None:
        """Give no tasks to those of some workers that have another patchsim, and tell of it."""
        for address, answer in self.run(eval, versions.ASKED, workers=addresses).items():
            why = versions.refusal(address, answer)
            if why is not None and address not in self.refused:
                self.refused[address] = why
                self.tell(f"{why}; the others go on")

    def _addresses(self) -> list[str]:
        return list(self._threads_by_worker())

    def _threads_by_worker(self) -> dict[str, int]:
        threads: dict[str, int] = self._ask(self.client.scheduler.ncores)
        return threads

    def _ask(self, question: Callable[..., Any], **arguments: Any) -> Any:
        """Ask the scheduler, again and again while it is busy."""
        begun = time.monotonic()
        while True:
            with self._naming_loss():
                try:
                    return self.client.sync(question, callback_timeout=ANSWER_SECONDS, **arguments)
                except TimeoutError:
                    if self.client.status != "running":
                        raise
            self._still_busy(time.monotonic() - begun)

    def _still_busy(self, seconds: float) -> None:
        name = f"the scheduler at {printable(self._address.text)}"
        if seconds > BUSY_SECONDS:
            raise MachineError(
                f"{name} has not answered for {BUSY_SECONDS:.0f} s, before all was searched;"
                " search again when it answers"
            )
        if not self._has_told_busy:
            self._has_told_busy = True
            self.tell(f"{name} is busy; waiting up to {BUSY_SECONDS:.0f} s for its answers")

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        workers: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Call a function on workers, by default on each; return its values or exceptions.

        They are by the workers' addresses. A worker that dies meanwhile, or does not answer in
        time, has no part in it.
        """
        asked = self._addresses() if workers is None else workers

        async def each() -> dict[str, Any]:
            calls = [
                asyncio.ensure_future(
                    self.client._run(function, *arguments, workers=[one], on_error="return")
                )
                for one in asked
            ]
            if calls:
                await asyncio.wait(calls, timeout=_CALL_SECONDS)
            values: dict[str, Any] = {}
            for call in calls:
                if not call.done():
                    call.cancel()
                elif not call.exception():
                    values |= call.result()
            return values

        with self._naming_loss():
            values: dict[str, Any] = self.client.sync(each)
        # Should the function itself raise an OSError, the first task tells of it.
        return {name: value for name, value in values.items() if not isinstance(value, OSError)}

    def forget(self, key: str) -> None:
        """Let the workers free what they keep for a key, as far as they answer."""
        with contextlib.suppress(Exception):
            self.client.sync(
                self.client._run,
                on_worker.forget,
                key,
                on_error="ignore",
                callback_timeout=CLOSE_SECONDS,
            )

    @contextlib.contextmanager
    def _naming_loss(self) -> Iterator[None]:
        """Turn the errors of a connection that is lost into one of ours."""
        try:
            if self.client.status not in ("running", "connecting"):
                raise OSError("the client is closed")
            yield
        except (OSError, RuntimeError) as error:
            raise MachineError(
                f"the scheduler at {printable(self._address.text)} was lost before all was"
                " searched; start it, and search again"
            ) from error

    def close(self) -> None:
        """Leave the scheduler; end local workers."""
        if self.client is not None:
            with contextlib.suppress(Exception):
                self.client.close(timeout=CLOSE_SECONDS)
        if self._local is not None:
            local.close(self._local, CLOSE_SECONDS)
        if self._folder is not None:
            self._folder.close()


def require_distributed() -> ModuleType:
    """Import the package distributed, which takes half a second.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import distributed
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("distributed", "dask"):
            raise
        raise InputError(
            "a cluster needs distributed, which is not installed:"
            " pip install 'patchsim-match[cluster]'"
        ) from None
    return distributed
