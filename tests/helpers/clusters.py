"""Workers that are killed while they work, and stand-ins for workers."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import time

import numpy as np


def worker_processes(cluster):
    """The numbers of the worker processes of a local cluster that run now."""
    nannies = list(cluster._connected()._local.workers.values())
    found = [getattr(nanny.process, "pid", None) for nanny in nannies]
    return [number for number in found if number]


@contextlib.contextmanager
def killing(cluster, seed, kills, pauses):
    """Kill workers, one after the other, in a thread; yields the list of those killed."""
    rng = np.random.default_rng(seed)
    killed, is_over = [], threading.Event()

    def kill():
        while len(killed) < kills and not is_over.wait(rng.uniform(*pauses)):
            with contextlib.suppress(OSError, RuntimeError):
                running = worker_processes(cluster)
                number = running[rng.integers(len(running))] if running else None
                if number not in (None, *killed):
                    os.kill(number, signal.SIGKILL)
                    killed.append(number)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        is_over.set()
        thread.join()


def has_worker_processes(before, seconds=5.0):
    """Whether processes with this one as parent are left that were not there before."""
    import psutil

    end = time.monotonic() + seconds
    while True:
        left = {
            one.pid
            for one in psutil.Process().children(recursive=True)
            if one.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in str(one.cmdline())
        } - set(before)
        if not left or time.monotonic() > end:
            return bool(left)
        time.sleep(0.05)


class Ends:
    """A link whose tasks end as a function says, in the order in which they were submitted."""

    threads, window = 2, 8

    def __init__(self, end):
        self._end, self._done, self.sent, self.count = end, [], [], 0
        self.refused = {}

    def submitted(self):
        return self

    def submit(self, function, constants, key, payloads, *, avoid=None, never=()):  # noqa: ARG002
        names = [f"task-{self.count + i}" for i in range(len(payloads))]
        self.count += len(names)
        for name, payload in zip(names, payloads, strict=True):
            task = pickle.loads(payload)
            self.sent.append((task, avoid, len(payloads)))
            self._done.append((name, *self._end(task, len(self.sent))))
        return names

    def completed(self):
        done, self._done = self._done, []
        return [one for one in done if one[1] != "never"]

    def check(self, *, is_waiting):
        pass

    def places(self, _names):
        return {}

    def cancel(self):
        self._done = []

    def forget(self, key):
        pass
