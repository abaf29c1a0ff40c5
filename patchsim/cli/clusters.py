"""The cluster of a command, which is closed with it; Dask's own lines stay out of stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchsim.cluster.client import Cluster
    from patchsim.events import Observer

_LOUD = ("distributed", "tornado", "asyncio", "dask")  # what they log, errors of ours tell
_ABOVE_ALL = 100  # a level of logging


@contextlib.contextmanager
def opened(address: str | None, observer: Observer) -> Iterator[Cluster | None]:
    """Open the cluster at an address, if one was given, for as long as the context lasts."""
    if address is None:
        yield None
        return
    from patchsim.cluster.client import Cluster

    with Cluster(address, observer=observer) as cluster:
        _silence()  # behind the import of Dask, which sets levels of its own
        yield cluster


def _silence() -> None:
    import logging

    for name in (*_LOUD, *logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LOUD:
            logging.getLogger(name).setLevel(_ABOVE_ALL)
