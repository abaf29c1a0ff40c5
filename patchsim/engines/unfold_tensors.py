"""The specification: `Tensor.unfold` twice, subtract, take absolute values, sum.

All patches at once would take image x kernel memory, so the patches are made block by block. A
block holds some images, map rows, map columns and kernel rows; with all of them it is the plain
unfold, with one of each the loop. Blocks that stay in the processor's cache are also several
times as fast as the plain unfold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from patchsim.geometry import tiles
from patchsim.machine import devices
from patchsim.metrics import INTEGER_RANGE

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Bytes of patches in a block: what a CPU core's share of cache holds (half and double are slower,
# measured likewise); on other devices enough to hide the launches.
CPU_BLOCK = 6 << 20
ACCELERATOR_BLOCK = 256 << 20


def difference_sums(
    image: Tensor,
    kernel: Tensor,
    stride: tuple[int, int],
    scratch: int,
    weights: Tensor | None = None,
    levels: Tensor | None = None,
) -> Tensor:
    """Sum the absolute differences between the kernel and every patch.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
    kernel : Tensor [C, h, w]
        The kernel, of the image's dtype and no larger than the image.
    stride : (y, x)
    scratch : int
        Bytes that the patches of a block may take; one kernel row of one window is the least.
    weights : Tensor [1, h, w] or [C, h, w], optional
        uint8, how often each value counts.
    levels : Tensor [H, W], optional
        uint8, how visible each pixel of the image is: how often its values count, too.

    Returns
    -------
    Tensor [B, rows, cols]
        int64 and exact for uint8 and uint16. Otherwise float64, or float32 on devices without
        it; float16, bfloat16 and float32 are subtracted, and summed within a block, in float32.
    """
    import torch

    max_weight = 1 if weights is None else int(weights.max())
    max_weight *= 1 if levels is None else int(levels.max())
    work = _work_dtype(image.dtype, kernel, max_weight)
    taps = kernel.to(work)
    counts = None if weights is None else weights.to(work)
    seen = None if levels is None else levels.to(work)[None, None]
    rows, cols = tiles.map_shape(sides(image), sides(kernel), stride)
    wide = wide_dtype(image.device) if image.is_floating_point() else torch.int64
    total = torch.zeros((len(image), rows, cols), dtype=wide, device=image.device)
    buffer = _Buffer(work, image.device)
    for block, patches in _blocks(image, taps, stride, scratch, max_weight):
        reference = taps[:, block.kernel_rows]
        factor = None if counts is None else counts[:, block.kernel_rows]
        visibility = None if seen is None else _under(block, seen, patches.shape, stride)
        sums = _block_sums(patches, reference, factor, visibility, buffer)
        total[block.cells] += sums.to(total.dtype)
    return total


def _block_sums(
    patches: Tensor,
    reference: Tensor,
    factor: Tensor | None,
    visibility: Tensor | None,
    buffer: _Buffer,
) -> Tensor:
    """Return the sums of absolute differences of a block, [B, rows, cols].

    Parameters
    ----------
    patches : Tensor [B, C, rows, cols, h, w]
    reference : Tensor [C, h, w]
        The kernel's rows in the block.
    factor : Tensor [C, h, w] or [1, h, w], optional
        Their weights.
    visibility : Tensor, optional
        Visibility of the pixels, in the patches' order.
    buffer : _Buffer
        Holds the differences.
    """
    import torch

    # The longer of map row and kernel row goes last, because it is the inner loop.
    order: tuple[int, ...]
    over: tuple[int, ...]
    if patches.shape[3] >= patches.shape[5]:
        order, over = (0, 1, 4, 5, 2, 3), (1, 2, 3)
        reference = reference[None, ..., None, None]
        factor = None if factor is None else factor[..., None, None]
    else:
        # The kernel's rows and columns are last, as in the weights.
        order, over = (0, 2, 3, 1, 4, 5), (3, 4, 5)
        reference = reference[None, None, None]
    patches = patches.permute(order)
    difference = torch.sub(patches, reference, out=buffer.shaped(patches.shape))
    difference.abs_()
    if factor is not None:
        difference *= factor
    if visibility is not None:
        difference *= visibility.permute(order)
    return difference.sum(over)


def difference_gradients(
    image: Tensor,
    kernel: Tensor,
    stride: tuple[int, int],
    grad: Tensor,
    scratch: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Compute the gradients of ``(difference_sums * grad).sum()`` for image and kernel.

    Where a pixel equals the kernel's value |I-K| has a kink, and the gradient is taken as 0.

    Parameters
    ----------
    image, kernel, stride, scratch
        The arguments of `difference_sums`, of floating point.
    grad : Tensor [B, rows, cols]
    wanted : (bool, bool)
        Whether the gradients for the image and for the kernel are computed.

    Returns
    -------
    Tensor [B, C, H, W] or None, Tensor [C, h, w] or None
        The gradients for image and kernel; None for one that is not wanted.
    """
    import torch
    import torch.nn.functional as F

    work = _work_dtype(image.dtype, kernel)
    taps = kernel.to(work)
    image_grad = torch.zeros(image.shape, dtype=work, device=image.device) if wanted[0] else None
    kernel_grad = torch.zeros(taps.shape, dtype=work, device=taps.device) if wanted[1] else None
    weights = grad.to(work)
    buffer = _Buffer(work, image.device)
    for block, patches in _blocks(image, taps, stride, scratch):
        patches = patches.permute(0, 1, 4, 5, 2, 3)  # [B, C, h, w, rows, cols]
        reference = taps[None, :, block.kernel_rows, :, None, None]
        slope = torch.sub(patches, reference, out=buffer.shaped(patches.shape)).sign_()
        slope *= weights[block.cells][:, None, None, None]
        if kernel_grad is not None:
            kernel_grad[:, block.kernel_rows] -= slope.sum((0, 4, 5))
        if image_grad is not None:
            _, _, height, width, rows, cols = slope.shape
            size = tiles.extent((rows, cols), (height, width), stride)
            overlapping = slope.flatten(4).flatten(1, 3)  # [B, C h w, rows cols], a view
            image_grad[block.pixels] += F.fold(overlapping, size, (height, width), stride=stride)
    return (
        None if image_grad is None else image_grad.to(image.dtype),
        None if kernel_grad is None else kernel_grad.to(kernel.dtype),
    )


class _Block(NamedTuple):
    """The images, windows and kernel rows that are compared at once."""

    cells: tuple[slice, slice, slice]  # of the sums [B, rows, cols]
    pixels: tuple[slice, slice, slice, slice]  # of the image [B, C, H, W]
    kernel_rows: slice


def _blocks(
    image: Tensor, taps: Tensor, stride: tuple[int, int], scratch: int, max_weight: int = 1
) -> Iterator[tuple[_Block, Tensor]]:
    """Yield blocks and views of their patches [B, C, rows, cols, h, w], in the dtype of `taps`."""
    import torch

    count = len(image)
    channels, height, width = taps.shape
    rows, cols = tiles.map_shape(sides(image), (height, width), stride)
    # From the loop towards the unfold: along a map row, then kernel rows, map rows, images.
    room = max(1, scratch // taps.itemsize // (channels * width))
    step_cols = min(cols, room)
    room //= step_cols
    step_kernel = min(height, max(1, room), _exact_kernel_rows(image.dtype, taps, max_weight))
    room //= step_kernel
    step_rows = min(rows, max(1, room))
    room //= step_rows
    step_images = max(1, min(count, room))
    for first in range(0, count, step_images):
        images = slice(first, min(first + step_images, count))
        for tile_row in tiles.split((rows, cols), (step_rows, cols)):
            band, _ = tile_row.source((height, width), stride)
            converted = image[images, :, band].to(taps.dtype, memory_format=torch.contiguous_format)
            for block in tiles.split((tile_row.rows, cols), (step_rows, step_cols)):
                tile = tiles.Tile(tile_row.top, block.left, block.rows, block.cols)
                for top in range(0, height, step_kernel):
                    kernel_rows = slice(top, min(top + step_kernel, height))
                    taken = kernel_rows.stop - top
                    # The windows' rows [top, top + taken) alone.
                    within, across = block.source((taken, width), stride)
                    lines = slice(within.start + top, within.stop + top)
                    patches = (
                        converted[:, :, lines, across]
                        .unfold(2, taken, stride[0])
                        .unfold(3, width, stride[1])
                    )
                    pixels = slice(band.start + lines.start, band.start + lines.stop)
                    everything = slice(None)
                    yield (
                        _Block(
                            (images, *tile.index), (images, everything, pixels, across), kernel_rows
                        ),
                        patches,
                    )


def _under(block: _Block, levels: Tensor, patches: torch.Size, stride: tuple[int, int]) -> Tensor:
    """Return a view of [1, 1, H, W] under a block's patches, [1, 1, rows, cols, h, w]."""
    _, _, lines, across = block.pixels
    visible = levels[:, :, lines, across]
    return visible.unfold(2, patches[4], stride[0]).unfold(3, patches[5], stride[1])


class _Buffer:
    """One allocation that the patches of all blocks use in turn."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        import torch

        self._memory = torch.empty(0, dtype=dtype, device=device)

    def shaped(self, shape: torch.Size) -> Tensor:
        if self._memory.numel() < shape.numel():
            self._memory = self._memory.new_empty(shape.numel())
        return self._memory[: shape.numel()].view(shape)


def sides(tensor: Tensor) -> tuple[int, int]:
    """Return height and width of a tensor [..., H, W]."""
    return tensor.shape[-2], tensor.shape[-1]


def integer_work_size(dtype: str, row_weight: int) -> int:
    """Return the bytes of the float type in which integer differences are summed exactly.

    `row_weight` is the largest sum of weights of a kernel row.
    """
    # float32 is exact for integers up to 2**24: enough for a kernel row, or else float64.
    return 4 if row_weight * INTEGER_RANGE[dtype] <= 2**24 else 8


def _work_dtype(dtype: torch.dtype, kernel: Tensor, max_weight: int = 1) -> torch.dtype:
    import torch

    if dtype.is_floating_point:
        return torch.promote_types(dtype, torch.float32)
    row_weight = len(kernel) * kernel.shape[-1] * max_weight
    size = integer_work_size(str(dtype).removeprefix("torch."), row_weight)
    return torch.float32 if size == 4 else torch.float64


def _exact_kernel_rows(dtype: torch.dtype, taps: Tensor, max_weight: int) -> int:
    """Return the number of kernel rows whose differences are summed without rounding, or all."""
    rows = taps.shape[1]
    if dtype.is_floating_point or taps.itemsize == 8:
        return rows
    peak = INTEGER_RANGE[str(dtype).removeprefix("torch.")] * max_weight
    return min(rows, 2**24 // (peak * len(taps) * taps.shape[2]))


def wide_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices without float64."""
    import torch

    return torch.float64 if devices.has_float64(str(device)) else torch.float32


def block_bytes(device: str) -> int:
    """Return the bytes of patches in a block that suit the device."""
    return CPU_BLOCK if device == "cpu" else ACCELERATOR_BLOCK
