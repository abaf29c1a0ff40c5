"""The blocks into which the work of `cuda_gradient_kernel` is split, and the memory they need.

Both depend on shapes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchsim.engines.cuda import planes as cuda_planes
from patchsim.engines.cuda.config import Config

if TYPE_CHECKING:
    from typing import Self

# A word holds the sum of at most so many products, a second word the sum of at most so many such
# sums; longer sums are float64.
LONGEST_SUM = 32

# Instructions of a lane for the gradient of one pixel from one value of the kernel, by rows of the
# kernel's block. They are those that ptxas makes of the innermost loop for sm_90, as
# tests/layer/test_cuda_gradients.py counts them. Blocks with fewer rows waste less at the border.
IMAGE_INSTRUCTIONS = {8: 3.8, 4: 4.2, 1: 6.0}
# Instructions of a lane for the gradient of one value of the kernel from one window, by rows and
# columns of the kernel's block.
KERNEL_INSTRUCTIONS = {(4, 8): 3.8, (1, 8): 4.9, (1, 1): 6.9}


@dataclass(frozen=True)
class Block:
    """The block for which the kernel's gradient is compiled.

    Attributes
    ----------
    rows, cols : int
        The values of the kernel that a program computes; powers of two.
    lanes : int
        The windows side by side that a program compares at once, one for each of its threads.
    group : int
        The steps of `lanes` windows that are unrolled in the loop; it divides 32.
    """

    rows: int
    cols: int
    lanes: int = 32
    group: int = 4

    @property
    def config(self) -> Config:
        return Config(self.rows, self.lanes, self.group, self.lanes // 32)


def image_config(word: str, height: int, width: int, cols: int) -> Config:
    """Choose the block of the image's gradient: for the type of words, a kernel and columns."""
    group = 8 if width >= 8 else 4 if width >= 4 else 1
    rows = min(IMAGE_INSTRUCTIONS, key=lambda rows: (height + rows - 1) * IMAGE_INSTRUCTIONS[rows])
    if word == "float64":
        return Config(min(rows, 4), 128, min(group, 4), 2, 200).fitted(cols)
    return Config(rows, 256, group, 2, 200).fitted(cols)


def kernel_block(word: str, height: int, width: int) -> Block:
    """Choose the block of the kernel's gradient: for the type of words and the kernel's size."""

    def cost(shape: tuple[int, int]) -> float:
        rows, cols = shape
        computed = -(-height // rows) * rows * -(-width // cols) * cols
        return computed * KERNEL_INSTRUCTIONS[shape]

    rows, cols = min(KERNEL_INSTRUCTIONS, key=cost)
    return Block(min(rows, 2), cols) if word == "float64" else Block(rows, cols)


@dataclass(frozen=True)
class _Shapes:
    """The sizes that both gradients depend on.

    Attributes
    ----------
    word : str
        The type of a word, float32 or float64.
    planes, tall, wide : int
        The number of the kernel's planes, and the rows and columns of the largest plane.
    images, rows, cols : int
        The size of the map.
    """

    word: str
    planes: int
    tall: int
    wide: int
    images: int
    rows: int
    cols: int

    @classmethod
    def of(
        cls, dtype: str, kernel: tuple[int, int, int], stride: tuple[int, int], *cells: int
    ) -> Self:
        """Make it for a kernel (channels, height, width) and a map (images, rows, columns)."""
        _, height, width = kernel
        return cls(
            cuda_planes.word_of(dtype),
            cuda_planes.plane_count(kernel, stride),
            -(-height // stride[0]),
            -(-width // stride[1]),
            *cells,
        )

    @property
    def word_bytes(self) -> int:
        return 8 if self.word == "float64" else 4

    @property
    def taps(self) -> int:
        return self.planes * self.tall * self.wide


class ImageShapes(_Shapes):
    """The blocks of the image's gradient, and their memory."""

    @property
    def config(self) -> Config:
        cols = self.cols + self.wide - 1
        return image_config(self.word, self.tall, self.wide, cols)

    @property
    def blocks(self) -> tuple[int, int]:
        """The number of blocks from top to bottom and from left to right."""
        config = self.config
        rows, cols = self.rows + self.tall - 1, self.cols + self.wide - 1
        return -(-rows // config.rows), -(-cols // config.cols)

    @property
    def sides(self) -> tuple[int, int]:
        """The rows and columns of pixels that the blocks cover."""
        (down, across), config = self.blocks, self.config
        return down * config.rows, across * config.cols

    @property
    def programs(self) -> int:
        down, across = self.blocks
        return self.images * self.planes * down * across

    @property
    def max_splits(self) -> int:
        """The largest number of programs that can share a block, by columns of the kernel."""
        return -(-self.wide // self.config.group)

    @property
    def sums_bytes(self) -> int:
        """The memory for the sums of all programs."""
        return self.programs * self.config.rows * self.config.cols * 8

    @property
    def working_bytes(self) -> int:
        """Estimate the memory for one split, beside the arguments."""
        height, width = self.sides
        grads = self.images * (height + self.tall - 1) * (width + self.wide - 1)
        # The gradients g exist twice: in the type of words, and padded with zeros.
        return (
            self.sums_bytes
            + (self.sums_bytes // 8 + 2 * grads) * self.word_bytes
            + 64 * self.planes
        )


class KernelShapes(_Shapes):
    """The blocks of the kernel's gradient, and their memory."""

    @property
    def block(self) -> Block:
        return kernel_block(self.word, self.tall, self.wide)

    @property
    def blocks(self) -> tuple[int, int]:
        """The number of blocks from top to bottom and from left to right."""
        return -(-self.tall // self.block.rows), -(-self.wide // self.block.cols)

    @property
    def programs(self) -> int:
        down, across = self.blocks
        return self.planes * down * across

    @property
    def step(self) -> int:
        """The windows that are compared at once; those behind the last one read zeros."""
        return self.block.lanes * self.block.group

    @property
    def width(self) -> int:
        """The columns of pixels under a row of windows."""
        return self.cols + self.wide - 1

    @property
    def lines(self) -> tuple[int, int]:
        """The number of lines and the windows in each: rows, or all rows as a single line.

        In a single line the windows that hang over the end of a row are computed in vain, but rows
        need not be filled up to whole steps.
        """
        lines, length = self.rows + self.block.rows - 1, -(-self.cols // self.step) * self.step
        return (1, lines * self.width) if self.width <= length else (lines, length)

    @property
    def pieces(self) -> int:
        """The number of pieces of a line."""
        return -(-self.lines[1] // (LONGEST_SUM * self.block.lanes))

    @property
    def sides(self) -> tuple[int, int]:
        """The rows and columns of pixels, with those that windows behind the last one read."""
        over = -(-(self.wide + self.block.cols + self.step) // self.width)
        return self.rows + self.blocks[0] * self.block.rows + over, self.width

    @property
    def grad_sides(self) -> tuple[int, int]:
        """The rows and columns of the gradients g with their padding."""
        padded = self.rows + 2 * (self.block.rows - 1)
        lines, length = self.lines
        return (
            (padded + -(-self.step // self.width), self.width) if lines == 1 else (padded, length)
        )

    @property
    def max_splits(self) -> int:
        """The largest number of programs that can share a block, by windows."""
        return self.images * self.lines[0] * self.pieces

    @property
    def sums_bytes(self) -> int:
        """The memory for the sums of all programs."""
        return self.programs * self.block.rows * self.block.cols * 8

    @property
    def working_bytes(self) -> int:
        """Estimate the memory for one split, beside the arguments."""
        height, width = self.sides
        pixels = self.images * self.planes * height * width
        height, width = self.grad_sides
        grads = self.images * height * width
        # The gradients g exist twice: in the type of words, and padded with zeros. The sums exist
        # three times when they are joined, and each plane of them in several forms.
        return (pixels + 2 * grads) * self.word_bytes + 3 * self.sums_bytes + 32 * self.taps


def working_bytes(
    dtype: str,
    kernel: tuple[int, int, int],
    stride: tuple[int, int],
    cells: tuple[int, int, int],
    wanted: tuple[bool, bool],
) -> int:
    """Estimate the least memory for gradients, beside their arguments and the kernel's layout.

    Parameters
    ----------
    dtype : str
    kernel : (channels, height, width)
    stride : (y, x)
    cells : (images, rows, columns)
        The size of the map.
    wanted : (bool, bool)
        Whether the gradients for the image and for the kernel are computed.
    """
    needed = 0
    if wanted[0]:
        needed = ImageShapes.of(dtype, kernel, stride, *cells).working_bytes
    if wanted[1]:
        needed = max(needed, KernelShapes.of(dtype, kernel, stride, *cells).working_bytes)
    return needed
