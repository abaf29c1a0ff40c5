"""Checks of the tensors and numbers that slot losses take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from patchsim.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_SMALLEST_TEMPERATURE = 1e-30  # far below it cosine / temperature overflows in float32


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not a number from 1e-30; a tensor is no number either."""
    if not isinstance(temperature, int | float):
        raise InputError(f"temperature {temperature!r} is not a number; give one above 0")
    if not (math.isfinite(temperature) and temperature >= _SMALLEST_TEMPERATURE):
        raise InputError(f"temperature {temperature!r} is not possible; give a number above 0")


def check_pairs(features: Tensor, name: str) -> None:
    """Refuse features that are not finite floats [2B, S, C]."""
    _check_tensor(features, name)
    shape = list(features.shape)
    if features.ndim != 3:
        raise InputError(f"{name} is {shape}; give [2B, S, C], two views of B images")
    if shape[0] % 2:
        raise InputError(
            f"{name} is {shape}; the first dimension holds two views of B images, so that it is"
            f" even, and {shape[0]} is odd"
        )
    _check_content(features, name)


def check_crops(f_large: Tensor, p_small: Tensor) -> None:
    """Refuse features that are not finite floats [B, crops, slots, C] with equal B and C."""
    for name, tensor in (("f_large", f_large), ("p_small", p_small)):
        _check_tensor(tensor, name)
        if tensor.ndim != 4:
            raise InputError(f"{name} is {list(tensor.shape)}; give [B, crops, slots, C]")
        _check_content(tensor, name)
    large, small = f_large.shape, p_small.shape
    if (large[0], large[3]) != (small[0], small[3]) or f_large.device != p_small.device:
        raise InputError(
            f"f_large is {list(large)} on {f_large.device} and p_small {list(small)} on"
            f" {p_small.device}; give both the same B (first), C (last) and device"
        )


def _check_content(features: Tensor, name: str) -> None:
    import torch

    dtype = str(features.dtype).removeprefix("torch.")
    if dtype not in _DTYPES or features.layout != torch.strided:
        kind = features.dtype if features.layout == torch.strided else features.layout
        raise InputError(f"{name} is {kind}; give dense features of {', '.join(_DTYPES)}")
    if 0 in features.shape:
        raise InputError(f"{name} is {list(features.shape)}; there is nothing in it")
    bad = first_not_finite(features)
    if bad is not None:
        raise InputError(f"{name} is {features[bad].item()} at {list(bad)}; features are finite")


def first_not_finite(features: Tensor) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity, or None."""
    import torch

    if all(extreme.isfinite() for extreme in torch.aminmax(features.detach())):
        return None  # aminmax returns NaN if any value is NaN
    return tuple((~features.isfinite()).nonzero()[0].tolist())


def _check_tensor(features: object, name: str) -> None:
    import torch

    if not isinstance(features, torch.Tensor):
        raise InputError(f"{name} is a {type(features).__name__}; give a torch.Tensor")
