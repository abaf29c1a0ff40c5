"""Gradients of sums of differences by the kernels in `cuda_gradient_kernel`: how they are fed.

Image and kernel are laid out as for the sums (`cuda_sums`); the gradients of the sums, g, stand in
zeros, so that no program asks where the map ends. How the work is cut depends on shapes and the
card alone, and each program adds to numbers of its own: the same call gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchsim.engines import cuda_sums
from patchsim.engines.cuda_sums import Config, Taps

if TYPE_CHECKING:
    from torch import Tensor

# Products that are summed in a word, and then such sums, before the sum goes to a float64.
_MOST = 32
# Warps of a card's multiprocessor that keep it busy, some times over.
_ENOUGH_WARPS = 64

# Instructions of a lane for what a pixel of an image takes from one value of a kernel, by rows of
# the kernel's block: in what ptxas makes of the innermost loop for sm_90, which
# tests/test_gradients.py counts. Blocks of fewer rows have less of a border.
IMAGE_INSTRUCTIONS = {8: 3.4, 4: 3.7, 1: 5.6}
# The same for a value of a kernel and a window, by rows and columns of the kernel's block.
KERNEL_INSTRUCTIONS = {(4, 8): 3.7, (1, 8): 4.5, (1, 1): 6.9}


@dataclass(frozen=True)
class Block:
    """How the kernel's gradient is compiled.

    Attributes
    ----------
    rows, cols : int
        Values of the kernel that a program has, powers of two.
    lanes : int
        Windows next to each other, as many as its threads.
    group : int
        Of these, whose loop is unrolled; divides 32.
    """

    rows: int
    cols: int
    lanes: int = 32
    group: int = 4

    @property
    def config(self) -> Config:
        return Config(self.rows, self.lanes, self.group, self.lanes // 32)


def image_config(word: str, height: int, width: int, cols: int) -> Config:
    """For words of a type, planes of kernels of that size and pixels in so many columns."""
    group = 8 if width >= 8 else 4 if width >= 4 else 1
    rows = min(IMAGE_INSTRUCTIONS, key=lambda rows: (height + rows - 1) * IMAGE_INSTRUCTIONS[rows])
    if word == "float64":
        return Config(min(rows, 4), 256, min(group, 4), 4).fitted(cols)
    return Config(rows, 512, group, 4).fitted(cols)


def kernel_block(word: str, height: int, width: int) -> Block:
    """For words of a type and planes of kernels of that size."""

    def cost(shape: tuple[int, int]) -> float:
        rows, cols = shape
        taken = -(-height // rows) * rows * -(-width // cols) * cols
        return taken * KERNEL_INSTRUCTIONS[shape]

    rows, cols = min(KERNEL_INSTRUCTIONS, key=cost)
    return Block(min(rows, 2), cols) if word == "float64" else Block(rows, cols)


@dataclass(frozen=True)
class _Shapes:
    """What both gradients are made from.

    Attributes
    ----------
    kernel : Taps
    images, rows, cols : int
        Of the map.
    """

    kernel: Taps
    images: int
    rows: int
    cols: int

    @property
    def planes(self) -> int:
        return len(self.kernel.planes)

    @property
    def tall(self) -> int:
        """Rows of the tallest plane of the kernel."""
        return max(plane.height for plane in self.kernel.planes)

    @property
    def wide(self) -> int:
        return max(plane.width for plane in self.kernel.planes)

    @property
    def size(self) -> int:
        """Bytes of a word."""
        return self.kernel.words.itemsize


class _ForImage(_Shapes):
    @property
    def config(self) -> Config:
        cols = self.cols + self.wide - 1
        return image_config(self.kernel.kind.word, self.tall, self.wide, cols)

    @property
    def blocks(self) -> tuple[int, int]:
        """Below and next to each other."""
        config = self.config
        rows, cols = self.rows + self.tall - 1, self.cols + self.wide - 1
        return -(-rows // config.rows), -(-cols // config.cols)

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of pixels in whole blocks."""
        (down, across), config = self.blocks, self.config
        return down * config.rows, across * config.cols

    @property
    def programs(self) -> int:
        down, across = self.blocks
        return self.images * self.planes * down * across

    def splits(self, multiprocessors: int) -> int:
        """Programs that share a block's kernel columns, where blocks alone would be too few."""
        enough = -(-_ENOUGH_WARPS * multiprocessors // (self.programs * self.config.warps))
        return max(1, min(enough, -(-self.wide // self.config.group)))

    def working_bytes(self, multiprocessors: int) -> int:
        height, width = self.sides
        pixels = self.images * self.planes * height * width
        grads = self.images * (height + self.tall) * (width + self.wide)
        sums = self.splits(multiprocessors) + 1
        return pixels * (self.size + 8 * sums) + 2 * grads * self.size


class _ForKernel(_Shapes):
    @property
    def block(self) -> Block:
        return kernel_block(self.kernel.kind.word, self.tall, self.wide)

    @property
    def blocks(self) -> tuple[int, int]:
        """Below and next to each other."""
        return -(-self.tall // self.block.rows), -(-self.wide // self.block.cols)

    @property
    def programs(self) -> int:
        down, across = self.blocks
        return self.planes * down * across

    @property
    def step(self) -> int:
        """Windows that are compared at once, and so may lie behind the last."""
        return self.block.lanes * self.block.group

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return self.cols + self.wide - 1

    @property
    def lines(self) -> tuple[int, int]:
        """How many, and how long: rows of windows, or all of them in one.

        In one line windows at the end of a row, that hang over, are compared with the next row, for
        nothing; but rows need not be whole steps.
        """
        lines, length = self.rows + self.block.rows - 1, -(-self.cols // self.step) * self.step
        return (1, lines * self.width) if self.width <= length else (lines, length)

    @property
    def pieces(self) -> int:
        """Of a line."""
        return -(-self.lines[1] // (_MOST * self.block.lanes))

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of pixels, with what may lie behind the last."""
        over = -(-(self.wide + self.block.cols + self.step) // self.width)
        return self.rows + self.blocks[0] * self.block.rows + over, self.width

    @property
    def grad_sides(self) -> tuple[int, int]:
        around = self.rows + 2 * (self.block.rows - 1)
        lines, length = self.lines
        return (around + -(-self.step // self.width), self.width) if lines == 1 else (around, length)

    def splits(self, multiprocessors: int) -> int:
        """Programs that share windows."""
        warps = self.programs * self.block.config.warps
        enough = -(-_ENOUGH_WARPS * multiprocessors // warps)
        return max(1, min(enough, self.images * self.lines[0] * self.pieces))

    def working_bytes(self, multiprocessors: int) -> int:
        height, width = self.sides
        pixels = self.images * self.planes * height * width
        height, width = self.grad_sides
        grads = self.images * height * width
        sums = self.programs * self.block.rows * self.block.cols
        return (pixels + 2 * grads) * self.size + 8 * (self.splits(multiprocessors) + 3) * sums


def working_bytes(
    kernel: Taps, images: int, cells: tuple[int, int], wanted: tuple[bool, bool], processors: int
) -> int:
    """What the gradients of so many images and (rows, cols) of windows take, kernels laid out."""
    shapes = (_ForImage(kernel, images, *cells), _ForKernel(kernel, images, *cells))
    asked = [each for each, want in zip(shapes, wanted, strict=True) if want]
    return max(each.working_bytes(processors) for each in asked)


def add_image_gradients(found: Tensor, image: Tensor, kernel: Taps, grad: Tensor) -> None:
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
    """
    import torch
    import torch.nn.functional as F

    from patchsim.engines import cuda_gradient_kernel

    shapes = _ForImage(kernel, *grad.shape)
    (down, across), (height, width), config = shapes.blocks, shapes.sides, shapes.config
    above, before = shapes.tall - 1, shapes.wide - 1
    planes = cuda_sums.image_planes(image, kernel, height - above, width - before)
    after = width - shapes.cols, height - shapes.rows
    grads = F.pad(grad.to(planes.dtype), (before, after[0], above, after[1]))
    extremes = [torch.aminmax(kernel.values(index)) for index in range(shapes.planes)]
    splits = shapes.splits(cuda_sums.multiprocessors(image.device))
    out = torch.zeros((splits, *planes.shape), dtype=torch.float64, device=image.device)
    with cuda_sums.on(image.device):
        cuda_gradient_kernel.image_gradients[(shapes.programs, splits)](
            planes,
            kernel.words,
            grads,
            torch.stack([torch.maximum(-least, most) for least, most in extremes]),
            kernel.table_for(planes),
            out,
            shapes.planes,
            down,
            across,
            above,
            before,
            width,
            grads[0].numel(),
            grads.shape[2],
            R=config.rows,
            COLS=config.cols,
            GROUP=config.group,
            MOST=_MOST,
            PTX=cuda_sums.has_ptx(image.device),
            **cuda_sums.options(config),
        )
    sums = out[0] if splits == 1 else out.sum(0)
    for index, plane in enumerate(kernel.planes):
        height, width = shapes.rows + plane.height - 1, shapes.cols + plane.width - 1
        part = cuda_sums.plane_part(found, plane, kernel.stride)[:, :height, :width]
        part += sums[:, index, :height, :width]


def kernel_gradients(image: Tensor, kernel: Taps, grad: Tensor) -> Tensor:
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

    Returns
    -------
    Tensor [C, h, w]
        float64.
    """
    import torch
    import torch.nn.functional as F

    from patchsim.engines import cuda_gradient_kernel

    shapes = _ForKernel(kernel, *grad.shape)
    block, (down, across), (lines, length) = shapes.block, shapes.blocks, shapes.lines
    height, width = shapes.sides
    above, before = shapes.tall - 1, shapes.wide - 1
    planes = cuda_sums.image_planes(image, kernel, height - above, width - before)
    tall, wide = shapes.grad_sides
    around = 0, wide - shapes.cols, block.rows - 1, tall - shapes.rows - (block.rows - 1)
    grads = F.pad(grad.to(planes.dtype), around)
    splits = shapes.splits(cuda_sums.multiprocessors(image.device))
    shape = splits, shapes.planes, down, across, block.rows, block.cols
    out = torch.zeros(shape, dtype=torch.float64, device=image.device)
    with cuda_sums.on(image.device):
        cuda_gradient_kernel.kernel_gradients[(shapes.programs, splits)](
            planes,
            kernel.words,
            grads,
            kernel.table_for(planes),
            out,
            shapes.images,
            lines,
            shapes.pieces,
            length,
            down,
            across,
            planes[0].numel(),
            width,
            grads[0].numel(),
            wide,
            R=block.rows,
            V=block.cols,
            LANES=block.lanes,
            GROUP=block.group,
            MOST=_MOST,
            PTX=cuda_sums.has_ptx(image.device),
            **cuda_sums.options(block.config),
        )
    sums = out.sum(0).transpose(2, 3).reshape(shapes.planes, down * block.rows, -1)
    largest = torch.maximum(-planes.amin((0, 2, 3)), planes.amax((0, 2, 3)))
    found = sums.new_zeros(kernel.size)
    for index, plane in enumerate(kernel.planes):
        gap = kernel.values(index).abs() - largest[index]
        values = -sums[index, : plane.height, : plane.width]
        part = cuda_sums.plane_part(found, plane, kernel.stride)
        part[:] = values.where(gap == gap, torch.nan)  # noqa: PLR0124 - NaN is not
    return found
