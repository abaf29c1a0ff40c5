"""Imported by each worker process on this machine, as Dask's preload: it keeps them silent.

What libraries write to standard error of a worker, as while it is killed, is none of the command's
text.
"""

from __future__ import annotations

import os


def dask_setup(_worker: object) -> None:
    """Set up a worker process; Dask calls it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
