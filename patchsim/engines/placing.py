"""Where arrays lie: NumPy's on the CPU, torch's on any other device; and what both can do.

Arithmetic that uses these serves both. torch calls most of what is needed as NumPy does; what it
calls otherwise is here.
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
    return array.astype(dtype) if isinstance(array, np.ndarray) else array.to(dtype)


def placed(array: NDArray[Any], device: str) -> Array:
    """A NumPy array on a device."""
    if device == "cpu":
        return array
    import torch

    return torch.from_numpy(array).to(device)


def host(array: Array) -> NDArray[Any]:
    """The NumPy array of it."""
    found: NDArray[Any] = array if isinstance(array, np.ndarray) else array.cpu().numpy()
    return found
