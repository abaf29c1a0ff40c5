"""Sums of absolute differences and their gradients by the fused kernels, within bounded memory.

They answer what those of `unfold_tensors` do. Pixels laid out for the kernels, and sums in float64,
take several times the image, so that images and windows are taken in parts; with enough memory
there is one.
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

# Bytes of a part that keeps a card busy by far.
SCRATCH = 1 << 30

Cells = tuple[int, int, int]  # images, rows, columns


def difference_sums(image: Tensor, kernel: Tensor, stride: tuple[int, int], scratch: int) -> Tensor:
    """Sums of absolute differences between the kernel and every patch.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
    kernel : Tensor [C, h, w]
        Of the image's dtype, no larger than the image.
    stride : (y, x)
    scratch : int
        Bytes that may be taken, `least_scratch` or more.

    Returns
    -------
    Tensor [B, rows, cols]
        int64 and exact for uint8 and uint16, otherwise float64; float16, bfloat16 and float32 are
        subtracted, and up to 256 of them summed, in float32.
    """
    import torch

    task = _Task.of(image, kernel, stride)
    dtype = torch.float64 if image.is_floating_point() else torch.int64
    total = torch.empty(task.cells, dtype=dtype, device=image.device)
    taps = cuda_planes.taps(kernel[None], stride, squared=False)
    room = scratch - task.taps_bytes
    for part in task.parts(room, task.sums_bytes):
        pixels = image[part.pixels]
        spare = max(0, room - task.sums_bytes(part.cells))
        total[part.index] = launch.difference_sums(pixels, taps, room=spare)[:, 0]
    return total


def difference_gradients(
    image: Tensor,
    kernel: Tensor,
    stride: tuple[int, int],
    grad: Tensor,
    scratch: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of ``(difference_sums * grad).sum()`` for the image and for the kernel.

    Where a pixel equals the kernel's, |I-K| has a kink and the gradient taken is 0. Parameters
    as for `difference_sums`, floating point; `grad` is [B, rows, cols]; None is returned for a
    gradient that is not wanted. What is not a number has no finite gradient, see
    `cuda_gradients`.
    """
    import torch

    task = _Task.of(image, kernel, stride)
    taps = cuda_planes.taps(kernel[None], stride, squared=False)
    wide = taps.words.dtype
    image_grad = torch.zeros(image.shape, dtype=wide, device=image.device) if wanted[0] else None
    kernel_grad = (
        torch.zeros(kernel.shape, dtype=torch.float64, device=kernel.device) if wanted[1] else None
    )

    def needed(cells: Cells) -> int:
        return task.gradient_bytes(cells, wanted)

    room = scratch - task.taps_bytes
    for part in task.parts(room, needed):
        given = image[part.pixels], taps, grad[part.index], room
        if image_grad is not None:
            cuda_gradients.add_image_gradients(image_grad[part.pixels], *given)
        if kernel_grad is not None:
            kernel_grad += cuda_gradients.kernel_gradients(*given)
    return (
        None if image_grad is None else image_grad.to(image.dtype),
        None if kernel_grad is None else kernel_grad.to(kernel.dtype),
    )


def least_scratch(image: Tensor, kernel: Tensor, stride: tuple[int, int]) -> int:
    """Bytes that the sums and the gradients of any arguments of these shapes need."""
    task = _Task.of(image, kernel, stride)
    needed = task.sums_bytes(task.least), task.gradient_bytes(task.least, (True, True))
    return task.taps_bytes + max(needed)


@dataclass(frozen=True, slots=True)
class _Part:
    """Some images and windows, and the pixels under them."""

    cells: Cells
    index: tuple[slice, slice, slice]  # of the map [B, rows, cols]
    pixels: tuple[slice, slice, slice, slice]  # of the image [B, C, H, W]


@dataclass(frozen=True, slots=True)
class _Task:
    """Images that a kernel is compared with.

    Attributes
    ----------
    dtype : str
    kernel : (channels, height, width)
    stride : (y, x)
    cells : (images, rows, columns)
        Of the map.
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
    def least(self) -> Cells:
        """The smallest block of windows: fewer would not take less."""
        return 1, min(config.REPEATS, self.cells[1]), min(32, self.cells[2])

    @property
    def _word(self) -> int:
        return 8 if self.dtype == "float64" else 4

    @property
    def taps_bytes(self) -> int:
        """Rows of the kernel, repeated, twice while they are put together."""
        channels, height, width = self.kernel
        repeated = (height + self.stride[0] * config.REPEATS) * (width + self.stride[1] * 4)
        return channels * repeated * self._word * (2 * config.REPEATS + 2)

    def sums_bytes(self, cells: Cells) -> int:
        """What the sums of so many windows take."""
        images, rows, cols = cells
        channels, height, width = self.kernel
        words = cuda_planes.plane_words((height, width, channels), self.stride, rows, cols)
        planes = words * (self._word + (1 if self.dtype == "uint8" else 0))
        # Sums of whole blocks, as they are put together.
        return images * (planes + config.block_cells(rows, cols) * 8 * 3)

    def gradient_bytes(self, cells: Cells, wanted: tuple[bool, bool]) -> int:
        """What the gradients of so many windows take."""
        if "int" in self.dtype:
            return 0
        return cuda_gradient_blocks.working_bytes(
            self.dtype, self.kernel, self.stride, cells, wanted
        )

    def parts(self, room: int, needed: Callable[[Cells], int]) -> Iterator[_Part]:
        """As few as need no more bytes, first of whole images."""
        count, rows, cols = self.cells
        if count == 0:
            return
        _, least_rows, least_cols = self.least
        images = _most(1, count, lambda n: needed((n, rows, cols)) <= room)
        height = _most(least_rows, rows, lambda n: needed((images, n, cols)) <= room)
        width = _most(least_cols, cols, lambda n: needed((images, height, n)) <= room)
        for first in range(0, count, images):
            chosen = slice(first, min(first + images, count))
            for tile in tiles.split((rows, cols), (height, width)):
                source = tile.source(self.kernel[1:], self.stride)
                yield _Part(
                    (chosen.stop - chosen.start, tile.rows, tile.cols),
                    (chosen, *tile.index),
                    (chosen, slice(None), *source),
                )


def _most(least: int, most: int, fits: Callable[[int], bool]) -> int:
    """The largest number that fits, or the least one."""
    while least < most:
        middle = (least + most + 1) // 2
        if fits(middle):
            least = middle
        else:
            most = middle - 1
    return least
