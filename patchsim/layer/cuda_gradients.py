"""Gradients of sums of differences: arguments and results of the kernels in `cuda_gradient_kernel`.

Image and kernel have the layout that the sums use (`planes`). The gradients of the sums, g, are
padded with zeros, so that no program tests where the map ends. How the work is split
(`cuda_gradient_blocks`) depends on the shapes and the card alone, and each program adds to numbers
that no other program adds to. A call that is repeated therefore gives the same bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from patchsim.engines.cuda import config as cuda_config
from patchsim.engines.cuda import launch
from patchsim.engines.cuda import planes as cuda_planes
from patchsim.engines.cuda.planes import Taps
from patchsim.layer.cuda_gradient_blocks import LONGEST_SUM, ImageShapes, KernelShapes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Warps that each multiprocessor of a card has to keep it busy, several times over.
_WARPS = 64


def _splits(
    shapes: ImageShapes | KernelShapes, warps: int, scratch: int, device: torch.device
) -> int:
    """Choose how many programs share a block, where one for each would not keep a card busy."""
    enough = -(-_WARPS * launch.multiprocessors(device) // (shapes.programs * warps))
    room = 1 + (scratch - shapes.working_bytes) // shapes.sums_bytes
    return max(1, min(enough, room, shapes.max_splits))


def add_image_gradients(
    total: Tensor, image: Tensor, kernel: Taps, grad: Tensor, scratch: int
) -> None:
    """Add the gradients of ``(difference_sums * grad).sum()`` for the image.

    Where a pixel equals the kernel's value |I-K| has a kink, and the gradient is taken as 0. NaN is
    added to a pixel if it is NaN, if a value of the kernel is NaN in the pixel's channel and phase
    of the stride, or if both are infinite.

    Parameters
    ----------
    total : float32 or float64 Tensor [B, C, H, W]
        The tensor that the gradients are added to.
    image : floating-point Tensor [B, C, H, W]
    kernel : Taps
        A single kernel in the layout for sums of absolute differences.
    grad : Tensor [B, rows, cols]
    scratch : int
        Bytes that may be used, at least `working_bytes`; with more, programs can share blocks.
    """
    import torch
    import torch.nn.functional as F

    from patchsim.layer import cuda_gradient_kernel

    shapes = ImageShapes.of(kernel.kind.word, kernel.size, kernel.stride, *grad.shape)
    (down, across), (height, width), config = shapes.blocks, shapes.sides, shapes.config
    above, before = shapes.tall - 1, shapes.wide - 1
    planes = cuda_planes.image_planes(image, kernel, height - above, width - before)
    after = width - shapes.cols, height - shapes.rows
    grads = F.pad(grad.to(planes.dtype), (before, after[0], above, after[1])).contiguous()
    extremes = [torch.aminmax(kernel.values(index)) for index in range(shapes.planes)]
    splits = _splits(shapes, config.warps, scratch, image.device)
    out = torch.zeros((splits, *planes.shape), dtype=torch.float64, device=image.device)
    with launch.launching(image.device):
        cuda_gradient_kernel.image_gradients[(shapes.programs, splits)](
            planes=planes,
            taps=kernel.words,
            grads=grads,
            largest=torch.stack([torch.maximum(-low, high) for low, high in extremes]),
            table=kernel.table_for(planes),
            out=out,
            plane_count=shapes.planes,
            down=down,
            across=across,
            above=above,
            before=before,
            row_step=width,
            grad_step=grads[0].numel(),
            grad_row_step=grads.shape[2],
            R=config.rows,
            COLS=config.cols,
            GROUP=config.group,
            MOST=LONGEST_SUM,
            PTX=launch.has_ptx(image.device),
            **cuda_config.options(config),
        )
    for split in out[1:]:
        out[0] += split
    _add_planes(total, out[0], kernel, shapes)


def _add_planes(total: Tensor, planes: Tensor, kernel: Taps, shapes: ImageShapes) -> None:
    """Add gradients [B, planes, height, width] to the pixels that each plane was made from."""
    for index, plane in enumerate(kernel.planes):
        height, width = shapes.rows + plane.height - 1, shapes.cols + plane.width - 1
        target = cuda_planes.plane_part(total, plane, kernel.stride)[:, :height, :width]
        target += planes[:, index, :height, :width]


def kernel_gradients(image: Tensor, kernel: Taps, grad: Tensor, scratch: int) -> Tensor:
    """Compute the gradients of ``(difference_sums * grad).sum()`` for the kernel.

    A gradient is NaN if the kernel's value is NaN, if a pixel is NaN in the value's channel and
    phase of the stride, or if both are infinite.

    Parameters
    ----------
    image : floating-point Tensor [B, C, H, W]
        At least one image.
    kernel : Taps
        A single kernel in the layout for sums of absolute differences.
    grad : Tensor [B, rows, cols]
    scratch : int
        Bytes that may be used, at least `working_bytes`; with more, programs can share blocks.

    Returns
    -------
    float64 Tensor [C, h, w]
    """
    import torch

    from patchsim.layer import cuda_gradient_kernel

    shapes = KernelShapes.of(kernel.kind.word, kernel.size, kernel.stride, *grad.shape)
    block, (down, across), (lines, length) = shapes.block, shapes.blocks, shapes.lines
    height, width = shapes.sides
    above, before = shapes.tall - 1, shapes.wide - 1
    planes = cuda_planes.image_planes(image, kernel, height - above, width - before)
    grads = _padded(grad.to(planes.dtype), shapes)
    splits = _splits(shapes, block.config.warps, scratch, image.device)
    shape = splits, shapes.planes, down, across, block.rows, block.cols
    out = torch.zeros(shape, dtype=torch.float64, device=image.device)
    with launch.launching(image.device):
        cuda_gradient_kernel.kernel_gradients[(shapes.programs, splits)](
            planes=planes,
            taps=kernel.words,
            grads=grads,
            table=kernel.table_for(planes),
            out=out,
            images=shapes.images,
            lines=lines,
            pieces=shapes.pieces,
            length=length,
            down=down,
            across=across,
            image_step=planes[0].numel(),
            row_step=width,
            grad_step=grads[0].numel(),
            grad_row_step=grads.shape[2],
            R=block.rows,
            V=block.cols,
            LANES=block.lanes,
            GROUP=block.group,
            MOST=LONGEST_SUM,
            PTX=launch.has_ptx(image.device),
            **cuda_config.options(block.config),
        )
    largest = torch.maximum(-planes.amin((0, 2, 3)), planes.amax((0, 2, 3)))
    sums = out.sum(0).transpose(2, 3).reshape(shapes.planes, down * block.rows, -1)
    return _join_planes(sums, kernel, largest)


def _padded(grad: Tensor, shapes: KernelShapes) -> Tensor:
    """Pad gradients [B, rows, cols] with zeros for the windows that hang over the map."""
    import torch.nn.functional as F

    (rows, cols), above = shapes.grad_sides, shapes.block.rows - 1
    padding = 0, cols - shapes.cols, above, rows - shapes.rows - above
    return F.pad(grad, padding).contiguous()


def _join_planes(sums: Tensor, kernel: Taps, largest: Tensor) -> Tensor:
    """Join sums [planes, rows, cols] to the kernel's gradients [C, h, w].

    `largest` [planes] has the largest absolute pixel of each plane: where its difference from a
    value of the kernel is NaN, a difference was NaN, of which the sums have a sign instead.
    """
    joined = sums.new_zeros(kernel.size)
    for index, plane in enumerate(kernel.planes):
        gap = kernel.values(index).abs() - largest[index]
        values = -sums[index, : plane.height, : plane.width]
        target = cuda_planes.plane_part(joined, plane, kernel.stride)
        target[:] = values.where(gap == gap, math.nan)
    return joined
