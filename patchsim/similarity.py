"""The similarity map as a differentiable function of tensors, computed on their device."""

from __future__ import annotations

import torch
from torch import Tensor

from patchsim import choices, metrics
from patchsim.engines import unfold_tensors
from patchsim.errors import InputError
from patchsim.geometry import tiles
from patchsim.layer import correlation, cuda_parts, operators
from patchsim.machine import devices
from patchsim.machine.memory import format_size, parse_size

_DTYPES = ("uint8", "uint16", "float16", "bfloat16", "float32", "float64")


def similarity_map(
    image: Tensor,
    kernel: Tensor,
    stride: int | tuple[int, int] = 1,
    *,
    metric: str = metrics.DEFAULT,
    data_range: float | tuple[float, float] | None = None,
    memory: int | str | None = None,
) -> Tensor:
    """Compare a kernel with every patch of an image: ``1 - mean(|patch - kernel|) / R``.

    Like ``conv2d`` without padding, but black on black scores 1. Differentiable in both
    arguments; `sad` once: where a pixel equals the kernel's, |I-K| has a kink and the gradient
    is 0.

    Parameters
    ----------
    image : Tensor [B, C, H, W] or [C, H, W]
        Images of uint8, uint16, float16, bfloat16, float32 or float64.
    kernel : Tensor [C, h, w]
        The kernel, of the image's dtype and on its device, with h <= H and w <= W.
    stride : int or (y, x)
        Step between windows in pixels.
    metric : str
        ``"sad"``, the formula above; ``"ssd"``, ``1 - mean((patch - kernel)**2) / R**2``;
        ``"ncc"``, their cosine; ``"zncc"``, their cosine after each channel's mean is taken off
        both. Flat patches and kernels score 0 in `zncc`, black ones in `ncc`. All but `sad` are
        computed in float64, by Fourier transforms.
    data_range : float or (low, high), optional
        R, or the range whose width R is. By default 255 for uint8, 65535 for uint16 and 1 for
        floating point. Values are not checked against it: that would synchronise a GPU.
    memory : int or str, optional
        Bytes, or a size such as ``"512MB"``, that the call may take beyond the memory of its
        arguments, forward or backward. By default as much as is fast.

    Returns
    -------
    Tensor [B, rows, cols] or [rows, cols]
        ``rows = (H - h) // stride_y + 1``, columns likewise. float64 for float64, else float32.

    Raises
    ------
    InputError
        A ValueError: shapes, dtypes, devices, stride, metric or memory that do not fit.
    NotImplementedError
        In the backward pass through gradients of `sad`.

    Notes
    -----
    `sad` is the operator ``patchsim::difference_sums``, which `torch.compile` takes as it is, also
    with ``fullgraph=True``; the other metrics break its graphs. ``import patchsim.similarity``
    registers it, for programs that `torch.export` saved. `torch.func` has `vmap` of `sad` alone,
    and forward derivatives of the other metrics alone. Under `torch.autocast` floats are brought to
    the wider of both types, and sums are no shorter than without.

    On NVIDIA cards, where Triton is installed, fused kernels make its sums and gradients without
    patches, from pixels laid out for them: image by image, or less, where `memory` is given; with
    large strides, channels x stride_y x stride_x above 64, patches are as few as pixels. There
    the kernels' configuration is found by timing, so that sums of floats may differ in their last
    digits from process to process; with `torch.use_deterministic_algorithms` nothing depends on
    time. (Then the other metrics raise an error on these cards: torch has no running sums there
    that it calls deterministic.) Where an image or kernel is not finite, gradients may be NaN that
    are finite on other devices, never the other way round; float32 values less than 2**-128 apart,
    and not equal, have a part of their gradient.

    Examples
    --------
    >>> import torch, patchsim
    >>> image = torch.zeros(1, 8, 8)
    >>> patchsim.similarity_map(image, torch.zeros(1, 3, 3), stride=2)[0]
    tensor([1., 1., 1.])
    """
    image, kernel = _autocast(image, kernel)
    _check(image, kernel)
    is_batch = image.ndim == 4
    step = tiles.clamp_stride(tiles.stride_pair(stride), unfold_tensors.sides(image))
    metric = choices.check("metric", metric, choices.METRICS)
    span = _span(image.dtype, data_range)
    images = image if is_batch else image[None]
    if metric == "sad":
        scratch = _scratch(images, kernel, step, memory)
        sums = operators.differentiable_sums(images, kernel, step, scratch)
        scores = metrics.similarity(
            sums.to(unfold_tensors.wide_dtype(image.device)), kernel.numel(), span
        )
    else:
        _check_transforms(images, kernel, metric, memory)
        scores = correlation.scores(
            images.double(),
            kernel.double(),
            step,
            metric,
            span,
            is_integer=not images.is_floating_point(),
            is_wide=images.dtype == torch.float64,
        )
    result = scores.to(torch.float64 if image.dtype == torch.float64 else torch.float32)
    return result if is_batch else result[0]


def _autocast(image: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Under `torch.autocast` bring floats to the wider of both types."""
    are_tensors = isinstance(image, Tensor) and isinstance(kernel, Tensor)
    if not are_tensors or image.dtype == kernel.dtype:
        return image, kernel
    are_floats = image.is_floating_point() and kernel.is_floating_point()
    if not are_floats or not torch.is_autocast_enabled(image.device.type):
        return image, kernel
    wider = torch.promote_types(image.dtype, kernel.dtype)
    return image.to(wider), kernel.to(wider)


def _check(image: Tensor, kernel: Tensor) -> None:
    """Check that the tensors fit each other."""
    for name, value in (("image", image), ("kernel", kernel)):
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{name} is a {type(value).__name__}; give a torch.Tensor")
    if image.ndim not in (3, 4) or kernel.ndim != 3:
        raise InputError(
            f"image {list(image.shape)} and kernel {list(kernel.shape)} do not fit;"
            " give an image [B, C, H, W] or [C, H, W] and a kernel [C, h, w]"
        )
    if image.dtype != kernel.dtype or image.device != kernel.device:
        raise InputError(
            f"image is {image.dtype} on {image.device}, kernel {kernel.dtype} on {kernel.device};"
            " bring both to one dtype and device"
        )
    if str(image.dtype).removeprefix("torch.") not in _DTYPES:
        raise InputError(f"dtype {image.dtype} is not supported; use one of {', '.join(_DTYPES)}")
    if image.shape[-3] != kernel.shape[0]:
        raise InputError(f"image has {image.shape[-3]} channels, kernel {kernel.shape[0]}")
    if 0 in kernel.shape:
        raise InputError(f"kernel {list(kernel.shape)} is empty")
    if kernel.shape[1] > image.shape[-2] or kernel.shape[2] > image.shape[-1]:
        raise InputError(
            f"kernel {list(kernel.shape[1:])} is larger than image {list(image.shape[-2:])}"
            " (height, width)"
        )


def _check_transforms(images: Tensor, kernel: Tensor, metric: str, limit: int | str | None) -> None:
    """Refuse a metric by Fourier transforms where type or memory do not suffice."""
    if not devices.has_float64(str(images.device)):
        raise InputError(
            f"{metric} needs float64, which {images.device} does not have; use the cpu"
        )
    if limit is None:
        return
    allowed = parse_size(limit)
    # The backward pass needs 24 float64 values a pixel: pixels in several forms, running sums,
    # spectra.
    needed = 8 * 24 * (images.numel() + kernel.numel())
    if needed > allowed:
        raise InputError(
            f"memory {limit!r} is too small: {metric} of this image takes about"
            f" {format_size(needed)}; give smaller images, or metric 'sad'"
        )


def _span(dtype: torch.dtype, data_range: float | tuple[float, float] | None) -> float:
    if data_range is None:
        return metrics.INTEGER_RANGE.get(str(dtype).removeprefix("torch."), 1)
    if isinstance(data_range, int | float):
        return metrics.check_range((0, data_range))
    return metrics.check_range(data_range)


def _scratch(
    images: Tensor, kernel: Tensor, stride: tuple[int, int], limit: int | str | None
) -> int:
    """Return the bytes that sums and gradients may use for blocks beside arguments and results."""
    is_fused = operators.is_fused(images, kernel, stride)
    fast = cuda_parts.SCRATCH if is_fused else unfold_tensors.block_bytes(images.device.type)
    if limit is None:
        return fast
    allowed = parse_size(limit)
    # The sums, in the wide type and as scores, and the gradients of both arguments.
    rows, cols = tiles.map_shape(unfold_tensors.sides(images), unfold_tensors.sides(kernel), stride)
    size = max(images.itemsize, 4)
    results = images.shape[0] * rows * cols * 32 + 2 * size * (images.numel() + kernel.numel())
    if is_fused:
        smallest = cuda_parts.smallest_scratch(images, kernel, stride)
    else:
        # The pixels under a row of windows, in the type of the sums.
        results += images.shape[1] * images.shape[3] * kernel.shape[1] * size
        smallest = kernel.shape[0] * kernel.shape[2] * size
    if results + smallest > allowed:
        raise InputError(
            f"memory {limit!r} is too small: the map and the gradients of this image take"
            f" {format_size(results + smallest)} at the least"
        )
    # A block needs up to three times its bytes: with few windows and many kernel rows the pixels
    # under it take as much as the block.
    return min(fast, allowed - results if is_fused else max(smallest, (allowed - results) // 3))
