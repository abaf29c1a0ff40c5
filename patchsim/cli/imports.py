"""How a command begins: imports take less time, and libraries no more than they need."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h: the number of heaps


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


def limit_libraries() -> None:
    """Let OpenBLAS start no threads, and malloc of glibc have one heap, unless the user wants more.

    A search has threads of its own. OpenBLAS, which NumPy and SciPy bring, reads its variable when
    it is loaded. With a heap for each thread, malloc keeps what each of them frees, so that a long
    picture that is read by windows takes more memory than a short one. A process that has NumPy
    already is no command that begins, and is left as it is.
    """
    if "numpy" in sys.modules:
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    is_set = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform == "linux" and not is_set:
        import ctypes  # as NumPy does

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries lack it
        if mallopt is not None:
            mallopt(_ARENA_MAX, 1)
