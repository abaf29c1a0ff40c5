"""Where arrays lie: NumPy's on the CPU, torch's on any other device; and what both can do.

Arithmetic on arrays is written once for both, with what they call alike: most of what is needed.
What they call otherwise is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim.machine import devices

if TYPE_CHECKING:
    from torch import Tensor

# A NumPy array or a torch tensor; torch must not be imported to name its type.
Array = Any


def namespace(array: Array) -> Any:
    """`numpy` or `torch`, of which the array is."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def like(array: Array) -> dict[str, Any]:
    """The arguments that create an array of the same type in the same place."""
    if isinstance(array, np.ndarray):
        return {"dtype": array.dtype}
    return {"dtype": array.dtype, "device": array.device}


def cast(array: Array, dtype: Any) -> Array:
    """In another type, NumPy's or one of the array's own library; a copy of a NumPy array."""
    if isinstance(array, np.ndarray):
        return array.astype(dtype)
    if isinstance(dtype, np.dtype):
        import torch

        dtype = getattr(torch, dtype.name)
    return array.to(dtype)


def to_device(array: NDArray[Any], device: str) -> Array:
    """A NumPy array on a device; on the CPU itself."""
    return array if device == "cpu" else tensor(array, device)


def tensor(array: NDArray[Any], device: str) -> Tensor:
    """A NumPy array as a tensor on a device, the CPU too; it may share its memory there.

    Where a device has queues, the copy needs no processor, because it is from pinned memory, of
    which torch keeps some; other threads' work goes on beside it.
    """
    import torch

    if not devices.has_queues(device):
        # torch takes no array that is read-only or runs backwards.
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    pinned = torch.empty(array.shape, dtype=dtype, pin_memory=True)
    np.copyto(pinned.numpy(), array)
    return pinned.to(device, non_blocking=True)


def tensor_planes(pixels: NDArray[Any], device: str) -> Tensor:
    """[H, W, C] -> a tensor [C, H, W], contiguous."""
    # The device has the order of the values changed sooner than it takes here.
    return tensor(pixels, device).permute(2, 0, 1).contiguous()


def synchronized(array: Array) -> Array:
    """The same once it is computed, for threads whose work waits in other queues of its device."""
    if not isinstance(array, np.ndarray) and devices.has_queues(array.device.type):
        devices.synchronize_queue(array.device)
    return array


def to_numpy(array: Array) -> NDArray[Any]:
    """The NumPy array of it, once the calling thread's work on its device is done."""
    if isinstance(array, np.ndarray):
        return array
    if not devices.has_queues(array.device.type):
        found: NDArray[Any] = array.cpu().numpy()
        return found
    import torch

    pinned = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
    pinned.copy_(array, non_blocking=True)
    devices.synchronize_queue(array.device)
    copied: NDArray[Any] = pinned.numpy()
    return copied
