"""How a command imports in less time."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quickly() -> Iterator[None]:
    """Import inside this context without a search for garbage.

    What is imported stays, so there is none to find, neither now nor later. A process that has
    NumPy already is no command that begins, and is left as it is.
    """
    if "numpy" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def hold_blas_to_one_thread() -> None:
    """Let OpenBLAS, which NumPy and SciPy bring, start no threads, unless the user asks for some.

    A search has threads of its own. OpenBLAS reads the variable when it is loaded.
    """
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
