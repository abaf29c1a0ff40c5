"""Sums of absolute differences and their gradients by the fused kernels, within bounded memory.

The functions have the signatures and results of those in `unfold_tensors`. The fused kernels need
pixels in a layout of their own and sums in float64, which take several times the memory of the
image. Images and windows are therefore split into parts; with enough memory there is one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchsim.engines import unfold_tensors
from patchsim.engines.cuda import config, launch
from patchsim.engines.cuda import planes as cuda_planes
from patchsim.geometry import tiles
from patchsim.layer import cuda_gradient_blocks, cuda_gradients

if TYPE_CHECKING:
    from torch import Tensor

# Bytes of a part that is more than large enough to keep a card busy.
SCRATCH = 1 << 30

Cells = tuple[int, int, int]  # images, rows, columns


def difference_sums(image: Tensor, kernel: Tensor, stride: tuple[int, int], scratch: int) -> Tensor:
    """Sum the absolute differences between the kernel and every patch.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
    kernel : Tensor [C, h, w]
        The kernel, of the image's dtype and no larger than the image.
    stride : (y, x)
    scratch : int
        Bytes that may be used, at least `smallest_scratch`.

    Returns
    -------
    Tensor [B, rows, cols]
        Exact int64 sums for uint8 and uint16, otherwise float64. Values of float16, bfloat16 and
        float32 are subtracted in float32, which also holds the sums of up to 256 differences.
    """
    import torch

    task = _Task.of(image, kernel, stride)
    dtype = torch.float64 if image.is_floating_point() else torch.int64
    total = torch.empty(task.cells, dtype=dtype, device=image.device)
    taps = cuda_planes.taps(kernel[None], stride, squared=False)
    room = scratch - task.taps_bytes
    for piece in task.parts(room, task.sums_bytes):
        pixels = image[piece.pixels]
        spare = max(0, room - task.sums_bytes(piece.cells))
        total[piece.index] = launch.difference_sums(pixels, taps, room=spare)[:, 0]
    return total


def difference_gradients(
    image: Tensor,
    kernel: Tensor,
    stride: tuple[int, int],
    grad: Tensor,
    scratch: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Compute the gradients of ``(difference_sums * grad).sum()``.

    Where a pixel equals the kernel's value |I-K| has a kink, and the gradient is taken as 0. Values
    that are not numbers have no finite gradients; see `cuda_gradients`.

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

    task = _Task.of(image, kernel, stride)
    taps = cuda_planes.taps(kernel[None], stride, squared=False)
    word = taps.words.dtype
    image_grad = torch.zeros(image.shape, dtype=word, device=image.device) if wanted[0] else None
    kernel_grad = (
        torch.zeros(kernel.shape, dtype=torch.float64, device=kernel.device) if wanted[1] else None
    )

    def needed(cells: Cells) -> int:
        return task.gradient_bytes(cells, wanted)

    room = scratch - task.taps_bytes
    for piece in task.parts(room, needed):
        arguments = image[piece.pixels], taps, grad[piece.index], room
        if image_grad is not None:
            cuda_gradients.add_image_gradients(image_grad[piece.pixels], *arguments)
        if kernel_grad is not None:
            kernel_grad += cuda_gradients.kernel_gradients(*arguments)
    return (
        None if image_grad is None else image_grad.to(image.dtype),
        None if kernel_grad is None else kernel_grad.to(kernel.dtype),
    )


def smallest_scratch(image: Tensor, kernel: Tensor, stride: tuple[int, int]) -> int:
    """Return the smallest `scratch` for sums and gradients of arguments with these shapes."""
    task = _Task.of(image, kernel, stride)
    cells = task.smallest_part
    return task.taps_bytes + max(task.sums_bytes(cells), task.gradient_bytes(cells, (True, True)))


@dataclass(frozen=True, slots=True)
class _Part:
    """Some windows of some images.

    Attributes
    ----------
    cells : (images, rows, columns)
        The size of the part.
    index : tuple of slice
        The part of the map [B, rows, cols].
    pixels : tuple of slice
        The part of the image [B, C, H, W] that lies under the windows.
    """

    cells: Cells
    index: tuple[slice, slice, slice]
    pixels: tuple[slice, slice, slice, slice]


@dataclass(frozen=True, slots=True)
class _Task:
    """The shapes of images and kernel, and the memory that their windows need.

    Attributes
    ----------
    dtype : str
    kernel : (channels, height, width)
    stride : (y, x)
    cells : (images, rows, columns)
        The size of the map.
    """

    dtype: str
    kernel: tuple[int, int, int]
    stride: tuple[int, int]
    cells: Cells

    @classmethod
    def of(cls, image: Tensor, kernel: Tensor, stride: tuple[int, int]) -> _Task:
        channels, height, width = kernel.shape
        rows, cols = tiles.map_shape(unfold_tensors.sides(image), (height, width), stride)
        dtype = str(image.dtype).removeprefix("torch.")
        return cls(dtype, (channels, height, width), stride, (image.shape[0], rows, cols))

    @property
    def smallest_part(self) -> Cells:
        """The size of the smallest part; fewer windows would not need less memory."""
        return 1, min(config.REPEATS, self.cells[1]), min(32, self.cells[2])

    @property
    def _word_bytes(self) -> int:
        return 8 if self.dtype == "float64" else 4

    @property
    def taps_bytes(self) -> int:
        """The memory for copies of the kernel's rows, which exist twice when they are joined."""
        channels, height, width = self.kernel
        repeated = (height + self.stride[0] * config.REPEATS) * (width + self.stride[1] * 4)
        return channels * repeated * self._word_bytes * (2 * config.REPEATS + 2)

    def sums_bytes(self, cells: Cells) -> int:
        """Estimate the memory for the sums of so many windows."""
        images, rows, cols = cells
        channels, height, width = self.kernel
        words = cuda_planes.plane_words((height, width, channels), self.stride, rows, cols)
        planes = words * (self._word_bytes + (1 if self.dtype == "uint8" else 0))
        # Blocks hang over the map; their sums exist up to three times when they are joined.
        return images * (planes + config.block_cells(rows, cols) * 8 * 3)

    def gradient_bytes(self, cells: Cells, wanted: tuple[bool, bool]) -> int:
        """Estimate the memory for the gradients of so many windows."""
        if "int" in self.dtype:
            return 0
        return cuda_gradient_blocks.working_bytes(
            self.dtype, self.kernel, self.stride, cells, wanted
        )

    def parts(self, room: int, needed: Callable[[Cells], int]) -> Iterator[_Part]:
        """Split the map into parts that need at most `room` bytes, whole images if they fit."""
        count, rows, cols = self.cells
        if count == 0:
            return
        _, min_rows, min_cols = self.smallest_part
        images = _largest(1, count, lambda n: needed((n, rows, cols)) <= room)
        height = _largest(min_rows, rows, lambda n: needed((images, n, cols)) <= room)
        width = _largest(min_cols, cols, lambda n: needed((images, height, n)) <= room)
        for first in range(0, count, images):
            chosen = slice(first, min(first + images, count))
            for tile in tiles.split((rows, cols), (height, width)):
                source = tile.source(self.kernel[1:], self.stride)
                yield _Part(
                    (chosen.stop - chosen.start, tile.rows, tile.cols),
                    (chosen, *tile.index),
                    (chosen, slice(None), *source),
                )


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Find the largest number from `low` to `high` that fits; `low` if none does."""
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
