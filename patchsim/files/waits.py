"""Tells of a wait for a pipe that lasts: who reads or writes a file has no observer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from patchsim.machine.threads import start

_PATIENCE = 5.0  # seconds of a wait that nobody is told of

_tell: Callable[[str], None] | None = None


def tell_to(tell: Callable[[str], None]) -> None:
    """Tell from now on of pipes that are waited for; for a program that owns its process."""
    global _tell
    _tell = tell


@contextmanager
def telling(name: str, what: str = "is a pipe whose end has not come yet") -> Iterator[None]:
    """Tell of a wait for a pipe that lasts, and why.

    Parameters
    ----------
    name : str
        The pipe's in the message.
    what : str
        The predicate of the message.
    """
    if _tell is None:
        yield
        return
    timer = threading.Timer(_PATIENCE, _tell, (f"{name} {what}; waiting for it",))
    timer.daemon = True
    start(timer)
    try:
        yield
    finally:
        timer.cancel()
