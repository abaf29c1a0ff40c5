"""How arithmetic is written once for NumPy arrays on the CPU and torch tensors on other devices.

Most functions have the same name in NumPy and in torch. This module wraps those that differ.
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
    """Return the library of an array: the module `numpy` or `torch`."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def row_by_row(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in C order without negative strides, which neither C nor torch takes.

    For NumPy a single row of an array turned upside down is in C order, with a negative stride.
    """
    array = np.ascontiguousarray(array)
    return array if min(array.strides) >= 0 else array.copy()


def like(array: Array) -> dict[str, Any]:
    """Return the keyword arguments that create an array of the same type on the same device."""
    if isinstance(array, np.ndarray):
        return {"dtype": array.dtype}
    return {"dtype": array.dtype, "device": array.device}


def cast(array: Array, dtype: Any) -> Array:
    """Convert an array to another type, which is NumPy's or the array's own library's.

    A NumPy array is always copied.
    """
    if isinstance(array, np.ndarray):
        return array.astype(dtype)
    if isinstance(dtype, np.dtype):
        import torch

        dtype = getattr(torch, dtype.name)
    return array.to(dtype)


def copied(array: Array) -> Array:
    """Return a copy, which keeps no larger array alive of which the array is a part."""
    return array.copy() if isinstance(array, np.ndarray) else array.clone()


def to_device(array: NDArray[Any], device: str) -> Array:
    """Copy a NumPy array to a device; on the CPU return the array itself."""
    return array if device == "cpu" else tensor(array, device)


def tensor(array: NDArray[Any], device: str) -> Tensor:
    """Return a NumPy array as a tensor on a device; on the CPU both may share memory.

    For a device with queues the array is first copied to pinned memory, which torch reuses. The
    device then fetches it without the CPU, while other threads' work continues.
    """
    import torch

    if not devices.has_queues(device):
        # torch accepts no read-only arrays either.
        return torch.from_numpy(np.require(row_by_row(array), requirements="W")).to(device)
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    pinned = torch.empty(array.shape, dtype=dtype, pin_memory=True)
    np.copyto(pinned.numpy(), array)
    return pinned.to(device, non_blocking=True)


def tensor_planes(pixels: NDArray[Any], device: str) -> Tensor:
    """Return pixels [H, W, C] as a contiguous tensor [C, H, W] on a device."""
    # The device transposes faster than the CPU does.
    return tensor(pixels, device).permute(2, 0, 1).contiguous()


def synchronized(array: Array) -> Array:
    """Return the array once it is computed, so that other queues of its device may read it."""
    if not isinstance(array, np.ndarray) and devices.has_queues(array.device.type):
        devices.synchronize_queue(array.device)
    return array


def to_numpy(array: Array) -> NDArray[Any]:
    """Return the array as a NumPy array, after the calling thread's work on its device is done."""
    if isinstance(array, np.ndarray):
        return array
    if not devices.has_queues(array.device.type):
        on_cpu: NDArray[Any] = array.cpu().numpy()
        return on_cpu
    import torch

    pinned = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
    pinned.copy_(array, non_blocking=True)
    devices.synchronize_queue(array.device)
    copied: NDArray[Any] = pinned.numpy()
    return copied
