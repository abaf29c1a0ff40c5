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
    import logging

    from patchsim.cluster.client import Cluster

    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.setLevel(_ABOVE_ALL)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    with Cluster(address, observer=observer) as cluster:
        yield cluster
