"""Where arrays lie: NumPy's on the CPU, torch's on any other device; and what both can do.

Arithmetic on arrays is written once for both, with what they call alike: most of what is needed.
What they call otherwise is here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A NumPy array or a torch tensor; torch must not be imported to name its type.
Array = Any


def module(array: Array) -> Any:
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


def placed(array: NDArray[Any], device: str) -> Array:
    """A NumPy array on a device; on the CPU itself."""
    if device == "cpu":
        return array
    import torch

    # torch takes no array that is read-only or runs backwards.
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)


def settled(array: Array) -> Array:
    """The same once it is computed, for threads whose work waits in other queues of its device."""
    if not isinstance(array, np.ndarray) and array.device.type in ("cuda", "xpu"):
        import torch

        getattr(torch, array.device.type).current_stream(array.device).synchronize()
    return array


def host(array: Array) -> NDArray[Any]:
    """The NumPy array of it."""
    found: NDArray[Any] = array if isinstance(array, np.ndarray) else array.cpu().numpy()
    return found
