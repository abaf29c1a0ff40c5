"""Tiles on accelerators: dealt out to the devices, copied while others are computed.

Each thread that brings tiles has a device, and a queue of its own there: with two threads a device
the pixels of one tile are on their way while those of the other are compared. Nothing here knows
what is computed.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim import devices
from patchsim.engines import Bounds
from patchsim.metrics import Pixels

_Prepared = TypeVar("_Prepared")


class Lanes:
    """Which of some devices the calling thread uses.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._coming = itertools.count()
        self._own = threading.local()

    @contextmanager
    def taken(self) -> Iterator[str]:
        """The thread's device; what it does there waits for no other thread's."""
        if not hasattr(self._own, "name"):
            self._own.name = self._names[next(self._coming) % len(self._names)]
        with devices.queue(self._own.name, self._own):
            yield self._own.name

    def dealt(self, scores: Mapping[str, Callable[..., Bounds]]) -> Callable[..., Bounds]:
        """A score of all the devices', given those of each, which take the same."""

        def score(*tile: Any) -> Bounds:
            with self.taken() as name:
                return scores[name](*tile)

        return score


def on_each(names: Sequence[str], prepare: Callable[[str], _Prepared]) -> dict[str, _Prepared]:
    """What is prepared on every device, ready for all threads."""
    prepared = {name: prepare(name) for name in names}
    for name in names:
        devices.finish(name)
    return prepared


def upload(pixels: Pixels, device: str) -> Any:
    """A tensor of an array, on a device.

    To NVIDIA's and Intel's from pinned memory, which torch keeps for the next: then the copy
    itself needs no processor, and other threads' work goes on beside it.
    """
    import torch

    if not devices.has_queues(device):
        # A copy, because torch takes no read-only arrays.
        return torch.from_numpy(np.array(pixels, order="C")).to(device)
    like = torch.from_numpy(np.empty(0, pixels.dtype)).dtype
    pinned = torch.empty(pixels.shape, dtype=like, pin_memory=True)
    np.copyto(pinned.numpy(), pixels)
    return pinned.to(device, non_blocking=True)


def upload_planes(pixels: Pixels, device: str) -> Any:
    """[H, W, C] -> a tensor [C, H, W], contiguous."""
    if device == "cpu":
        return upload(pixels.transpose(2, 0, 1), device)
    # In the order that they have here: the device turns them sooner.
    return upload(pixels, device).permute(2, 0, 1).contiguous()


def download(tensor: Any) -> NDArray[Any]:
    """An array of a tensor, once the calling thread's work on its device is done."""
    import torch

    if not devices.has_queues(tensor.device.type):
        found: NDArray[Any] = tensor.cpu().numpy()
        return found
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    pinned.copy_(tensor, non_blocking=True)
    devices.finish_queue(tensor.device)
    copied: NDArray[Any] = pinned.numpy()
    return copied
