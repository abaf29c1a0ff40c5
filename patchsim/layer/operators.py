"""The operator `patchsim::difference_sums` of torch, its gradients and its transforms.

The fused kernels compute it on NVIDIA cards with Triton, and unfolded patches elsewhere. This
module imports torch at its top, so that only `similarity` may import it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from patchsim.engines import unfold_tensors
from patchsim.engines.cuda import launch, planes
from patchsim.geometry import tiles
from patchsim.layer import cuda_parts

_HAS_TRITON = launch.missing() is None

# Planes of pixels that the fused kernels take: one for each channel and phase of the strides. With
# more planes there are few windows, and the patches are small.
_MAX_PLANES = 64


def is_fused(image: Tensor, kernel: Tensor, stride: tuple[int, int]) -> bool:
    """Tell whether the fused kernels compute the sums of these tensors."""
    if image.device.type != "cuda" or not _HAS_TRITON:
        return False
    channels, height, width = kernel.shape
    return planes.plane_count((channels, height, width), stride) <= _MAX_PLANES


def _backend(image: Tensor, kernel: Tensor, stride: tuple[int, int]) -> ModuleType:
    return cuda_parts if is_fused(image, kernel, stride) else unfold_tensors


@torch.library.custom_op(
    "patchsim::difference_sums",
    mutates_args=(),
    schema="(Tensor image, Tensor kernel, SymInt stride_y, SymInt stride_x, SymInt scratch)"
    " -> Tensor",
)
def difference_sums(
    image: Tensor, kernel: Tensor, stride_y: int, stride_x: int, scratch: int
) -> Tensor:
    """Sum the absolute differences between the kernel and every patch.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
        uint8, uint16 or floating point.
    kernel : Tensor [C, h, w]
        The kernel, of the image's dtype and no larger than the image.
    stride_y, stride_x : int
    scratch : int
        Bytes that blocks may use; see `cuda_parts` for NVIDIA cards, else `unfold_tensors`.

    Returns
    -------
    Tensor [B, rows, cols]
        int64 and exact for uint8 and uint16, otherwise float64, or float32 on devices without it.
    """
    stride = stride_y, stride_x
    computed: Tensor = _backend(image, kernel, stride).difference_sums(
        image, kernel, stride, scratch
    )
    return computed


@difference_sums.register_fake
def _(
    image: Tensor,
    kernel: Tensor,
    stride_y: int,
    stride_x: int,
    scratch: int,  # noqa: ARG001 - part of the signature; the shape does not depend on it
) -> Tensor:
    rows, cols = tiles.map_shape(
        unfold_tensors.sides(image), unfold_tensors.sides(kernel), (stride_y, stride_x)
    )
    dtype = unfold_tensors.wide_dtype(image.device) if image.is_floating_point() else torch.int64
    return image.new_empty((image.shape[0], rows, cols), dtype=dtype)


@torch.library.custom_op(
    "patchsim::difference_gradients",
    mutates_args=(),
    schema="(Tensor grad, Tensor image, Tensor kernel, SymInt stride_y, SymInt stride_x,"
    " SymInt scratch, bool of_image, bool of_kernel) -> (Tensor, Tensor)",
)
def difference_gradients(
    grad: Tensor,
    image: Tensor,
    kernel: Tensor,
    stride_y: int,
    stride_x: int,
    scratch: int,
    of_image: bool,
    of_kernel: bool,
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of ``(difference_sums * grad).sum()``.

    Parameters
    ----------
    grad : Tensor [B, rows, cols]
    image, kernel, stride_y, stride_x, scratch
        The arguments of `difference_sums`, of floating point.
    of_image, of_kernel : bool
        Whether the gradient for the image, and for the kernel, is computed.

    Returns
    -------
    Tensor [B, C, H, W], Tensor [C, h, w]
        The gradients for image and kernel; a gradient that is not computed is an empty tensor.
    """
    stride = stride_y, stride_x
    gradients: tuple[Tensor | None, Tensor | None]
    gradients = _backend(image, kernel, stride).difference_gradients(
        image, kernel, stride, grad, scratch, wanted=(of_image, of_kernel)
    )
    image_grad, kernel_grad = gradients
    return (
        image.new_empty(0) if image_grad is None else image_grad,
        kernel.new_empty(0) if kernel_grad is None else kernel_grad,
    )


@difference_gradients.register_fake
def _(
    grad: Tensor,  # noqa: ARG001 - part of the signature
    image: Tensor,
    kernel: Tensor,
    stride_y: int,  # noqa: ARG001 - shapes are those of the arguments
    stride_x: int,  # noqa: ARG001 - likewise
    scratch: int,  # noqa: ARG001 - likewise
    of_image: bool,
    of_kernel: bool,
) -> tuple[Tensor, Tensor]:
    return (
        image.new_empty(image.shape if of_image else 0),
        kernel.new_empty(kernel.shape if of_kernel else 0),
    )


def _keep(
    ctx: Any,
    inputs: tuple[Any, ...],
    output: Tensor,  # noqa: ARG001 - torch passes it by name
) -> None:
    image, kernel, *ctx.numbers = inputs
    ctx.save_for_backward(image, kernel)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
    image, kernel = ctx.saved_tensors
    of_image, of_kernel = ctx.needs_input_grad[:2]
    gradients: Any = difference_gradients if torch.compiler.is_compiling() else _Gradients.apply
    image_grad, kernel_grad = gradients(grad, image, kernel, *ctx.numbers, of_image, of_kernel)
    return (image_grad if of_image else None, kernel_grad if of_kernel else None, None, None, None)


def _refuse(ctx: Any, *grads: Tensor) -> None:
    # The gradient is a sum of signs. Their derivative is 0, and not defined at kinks; zeros would
    # hide that. torch's own operators raise this error, too, if they have no derivative.
    raise NotImplementedError(
        "similarity_map with metric 'sad' is differentiable once, its gradients are not;"
        " metric 'ssd' is twice"
    )


difference_sums.register_autograd(_backward, setup_context=_keep)
difference_gradients.register_autograd(_refuse)


# `torch.func` does not use the gradients that `register_autograd` registers, so that it needs these
# functions: https://github.com/pytorch/pytorch/issues/170834


def _one_by_one(function: Any, count: int, dims: tuple[int | None, ...], inputs: Any) -> list[Any]:
    """Call a function for each element along the dimensions that `vmap` maps over."""
    return [
        function.apply(
            *(
                value if dim is None else value.select(dim, i)
                for dim, value in zip(dims, inputs, strict=True)
            )
        )
        for i in range(count)
    ]


class _Sums(torch.autograd.Function):
    setup_context = staticmethod(_keep)
    backward = staticmethod(_backward)

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        result: Tensor = difference_sums(*inputs)
        return result

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        return torch.stack(_one_by_one(_Sums, info.batch_size, in_dims, inputs)), 0


class _Gradients(torch.autograd.Function):
    backward = staticmethod(_refuse)

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor] = difference_gradients(*inputs)
        return gradients

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        gradients = _one_by_one(_Gradients, info.batch_size, in_dims, inputs)
        return tuple(map(torch.stack, zip(*gradients, strict=True))), (0, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        pass


def differentiable_sums(
    image: Tensor, kernel: Tensor, stride: tuple[int, int], scratch: int
) -> Tensor:
    """Call `difference_sums` so that compilers and `torch.func` transforms can use it."""
    sums: Any = difference_sums if torch.compiler.is_compiling() else _Sums.apply
    result: Tensor = sums(image, kernel, *stride, scratch)
    return result
