"""`patchsim::difference_sums` and its gradients as operators of torch, for its compiler.

On NVIDIA cards, with Triton, the fused kernels compute them, elsewhere the unfold. Only
`similarity_map` imports this module, for it imports torch.
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

_LAUNCHES = launch.missing() is None

# Planes that pixels are laid out in, one by one, for the fused kernels: for each channel and phase
# of the strides. With more there are few windows, and few patches at once.
_MOST_PLANES = 64


def fused(image: Tensor, kernel: Tensor, stride: tuple[int, int]) -> bool:
    """Whether the fused kernels compute this."""
    if image.device.type != "cuda" or not _LAUNCHES:
        return False
    channels, height, width = kernel.shape
    return planes.plane_count((channels, height, width), stride) <= _MOST_PLANES


def _layer(image: Tensor, kernel: Tensor, stride: tuple[int, int]) -> ModuleType:
    return cuda_parts if fused(image, kernel, stride) else unfold_tensors


@torch.library.custom_op(
    "patchsim::difference_sums",
    mutates_args=(),
    schema="(Tensor image, Tensor kernel, SymInt stride_y, SymInt stride_x, SymInt scratch)"
    " -> Tensor",
)
def difference_sums(
    image: Tensor, kernel: Tensor, stride_y: int, stride_x: int, scratch: int
) -> Tensor:
    """Sums of absolute differences between the kernel and every patch.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
        uint8, uint16 or floating point.
    kernel : Tensor [C, h, w]
        Of the image's dtype, no larger than the image.
    stride_y, stride_x : int
    scratch : int
        Bytes, as `cuda_parts` has them on such cards, `unfold_tensors` elsewhere.

    Returns
    -------
    Tensor [B, rows, cols]
        int64 and exact for uint8 and uint16, otherwise float64, or float32 on devices without it.
    """
    stride = stride_y, stride_x
    computed: Tensor = _layer(image, kernel, stride).difference_sums(image, kernel, stride, scratch)
    return computed


@difference_sums.register_fake
def _(
    image: Tensor,
    kernel: Tensor,
    stride_y: int,
    stride_x: int,
    scratch: int,  # noqa: ARG001 - as the operator has it; the shape does not depend on it
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
    """Gradients of ``(difference_sums * grad).sum()`` for the image and for the kernel.

    Parameters as for `difference_sums`, floating point; `grad` is [B, rows, cols]. Of a gradient
    that is not wanted an empty tensor is returned.
    """
    stride = stride_y, stride_x
    found: tuple[Tensor | None, Tensor | None]
    found = _layer(image, kernel, stride).difference_gradients(
        image, kernel, stride, grad, scratch, wanted=(of_image, of_kernel)
    )
    image_grad, kernel_grad = found
    return (
        image.new_empty(0) if image_grad is None else image_grad,
        kernel.new_empty(0) if kernel_grad is None else kernel_grad,
    )


@difference_gradients.register_fake
def _(
    grad: Tensor,  # noqa: ARG001 - this and the next three as the operator has them
    image: Tensor,
    kernel: Tensor,
    stride_y: int,  # noqa: ARG001 - shapes are the arguments' own
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
    output: Tensor,  # noqa: ARG001 - torch names it in its call
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
    # A gradient is made of signs, whose derivative is 0 but at kinks, where there is none. As torch
    # does for its own operators without one.
    raise NotImplementedError(
        "similarity_map with metric 'sad' is differentiable once, its gradients are not;"
        " metric 'ssd' is twice"
    )


difference_sums.register_autograd(_backward, setup_context=_keep)
difference_gradients.register_autograd(_refuse)


# The same for `torch.func`, which does not know what `register_autograd` makes:
# https://github.com/pytorch/pytorch/issues/170834


def _one_by_one(function: Any, count: int, dims: tuple[int | None, ...], inputs: Any) -> list[Any]:
    """What a function returns for each of the inputs that have a dimension for `vmap`."""
    return [
        function.apply(
            *(
                each if dim is None else each.select(dim, number)
                for dim, each in zip(dims, inputs, strict=True)
            )
        )
        for number in range(count)
    ]


class _Sums(torch.autograd.Function):
    setup_context = staticmethod(_keep)
    backward = staticmethod(_backward)

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        found: Tensor = difference_sums(*inputs)
        return found

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        return torch.stack(_one_by_one(_Sums, info.batch_size, in_dims, inputs)), 0


class _Gradients(torch.autograd.Function):
    backward = staticmethod(_refuse)

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = difference_gradients(*inputs)
        return found

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        found = _one_by_one(_Gradients, info.batch_size, in_dims, inputs)
        return tuple(map(torch.stack, zip(*found, strict=True))), (0, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        pass


def differentiable_sums(
    image: Tensor, kernel: Tensor, stride: tuple[int, int], scratch: int
) -> Tensor:
    """`difference_sums`, for compilers and for transforms such as `torch.func.grad`."""
    sums: Any = difference_sums if torch.compiler.is_compiling() else _Sums.apply
    found: Tensor = sums(image, kernel, *stride, scratch)
    return found
