"""Gradients of sums of differences by the kernels in `cuda_gradient_kernel`: how they are fed.

Image and kernel are laid out as for the sums (`planes`); the gradients of the sums, g, stand
in zeros, so that no program asks where the map ends. How the work is cut (`cuda_gradient_blocks`)
depends on shapes and the card alone, and each program adds to numbers of its own: the same call
gives the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchsim.engines.cuda import config as cuda_config
from patchsim.engines.cuda import launch
from patchsim.engines.cuda import planes as cuda_planes
from patchsim.engines.cuda.planes import Taps
from patchsim.layer.cuda_gradient_blocks import MOST, ForImage, ForKernel

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Warps of a card's multiprocessor that keep it busy, some times over.
_ENOUGH_WARPS = 64


def _splits(shapes: ForImage | ForKernel, warps: int, scratch: int, device: torch.device) -> int:
    """Programs that share a block's work, where blocks alone would be too few for a card."""
    enough = -(-_ENOUGH_WARPS * launch.multiprocessors(device) // (shapes.programs * warps))
    room = 1 + (scratch - shapes.working_bytes) // shapes.sums_bytes
    return max(1, min(enough, room, shapes.most_splits))


def add_image_gradients(
    found: Tensor, image: Tensor, kernel: Taps, grad: Tensor, scratch: int
) -> None:
    """Add the gradients of ``(difference_sums * grad).sum()`` for the image.

    Where a pixel equals the kernel's, |I-K| has a kink and the gradient taken is 0. NaN is added
    where a pixel is, or any value of the kernel that is compared with the pixel's channel and
    phase of the stride; and where both are infinite.

    Parameters
    ----------
    found : Tensor [B, C, H, W]
        float32 or float64.
    image : Tensor [B, C, H, W]
        Floating point.
    kernel : Taps
        One kernel, sums of absolute differences.
    grad : Tensor [B, rows, cols]
    scratch : int
        Bytes, at least `working_bytes`; with more, programs may share the work.
    """
    import torch
    import torch.nn.functional as F

    from patchsim.layer import cuda_gradient_kernel

    shapes = ForImage.of(kernel.kind.word, kernel.size, kernel.stride, *grad.shape)
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
            largest=torch.stack([torch.maximum(-least, most) for least, most in extremes]),
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
            MOST=MOST,
            PTX=launch.has_ptx(image.device),
            **cuda_config.options(config),
        )
    for other in out[1:]:
        out[0] += other
    for index, plane in enumerate(kernel.planes):
        height, width = shapes.rows + plane.height - 1, shapes.cols + plane.width - 1
        part = cuda_planes.plane_part(found, plane, kernel.stride)[:, :height, :width]
        part += out[0, :, index, :height, :width]


def kernel_gradients(image: Tensor, kernel: Taps, grad: Tensor, scratch: int) -> Tensor:
    """The same for the kernel.

    NaN where a value of the kernel is, or any pixel of its channel and phase of the stride; and
    where both are infinite.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
        Floating point, at least one image.
    kernel : Taps
        One kernel, sums of absolute differences.
    grad : Tensor [B, rows, cols]
    scratch : int

    Returns
    -------
    Tensor [C, h, w]
        float64.
    """
    import torch
    import torch.nn.functional as F

    from patchsim.layer import cuda_gradient_kernel

    shapes = ForKernel.of(kernel.kind.word, kernel.size, kernel.stride, *grad.shape)
    block, (down, across), (lines, length) = shapes.block, shapes.blocks, shapes.lines
    height, width = shapes.sides
    above, before = shapes.tall - 1, shapes.wide - 1
    planes = cuda_planes.image_planes(image, kernel, height - above, width - before)
    tall, wide = shapes.grad_sides
    around = 0, wide - shapes.cols, block.rows - 1, tall - shapes.rows - (block.rows - 1)
    grads = F.pad(grad.to(planes.dtype), around).contiguous()
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
            grad_row_step=wide,
            R=block.rows,
            V=block.cols,
            LANES=block.lanes,
            GROUP=block.group,
            MOST=MOST,
            PTX=launch.has_ptx(image.device),
            **cuda_config.options(block.config),
        )
    sums = out.sum(0).transpose(2, 3).reshape(shapes.planes, down * block.rows, -1)
    largest = torch.maximum(-planes.amin((0, 2, 3)), planes.amax((0, 2, 3)))
    found = sums.new_zeros(kernel.size)
    for index, plane in enumerate(kernel.planes):
        gap = kernel.values(index).abs() - largest[index]
        values = -sums[index, : plane.height, : plane.width]
        part = cuda_planes.plane_part(found, plane, kernel.stride)
        part[:] = values.where(gap == gap, torch.nan)
    return found
