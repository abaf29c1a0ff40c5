"""Libraries that warn of what does not matter here, called without their warnings."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0  # blocks that run now
_ignoring = warnings.catch_warnings()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore warnings while the block runs; several threads may be in such blocks at once.

    Python's filters are those of all threads, and `warnings.catch_warnings` puts back what it has
    found: of two threads the one that ends last would leave the other's filters for ever. Here the
    first that enters sets them, and the last that leaves puts them back.
    """
    global _inside, _ignoring
    with _lock:
        if not _inside:
            _ignoring = warnings.catch_warnings(action="ignore")
            _ignoring.__enter__()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _ignoring.__exit__(None, None, None)
