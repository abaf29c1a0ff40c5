"""How the work of `cuda_gradient_kernel` is cut into blocks, and what memory that takes.

It depends on shapes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchsim.engines.cuda import planes as cuda_planes
from patchsim.engines.cuda.config import Config

if TYPE_CHECKING:
    from typing import Self

# Products that are summed in a word, and then such sums, before the sum goes to a float64.
MOST = 32

# Instructions of a lane for what a pixel of an image takes from one value of a kernel, by rows of
# the kernel's block: in what ptxas makes of the innermost loop for sm_90, which
# tests/layer/test_cuda_gradients.py counts. Blocks of fewer rows have less of a border.
IMAGE_INSTRUCTIONS = {8: 3.8, 4: 4.2, 1: 6.0}
# The same for a value of a kernel and a window, by rows and columns of the kernel's block.
KERNEL_INSTRUCTIONS = {(4, 8): 3.8, (1, 8): 4.9, (1, 1): 6.9}


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
        return Config(min(rows, 4), 128, min(group, 4), 2, 200).fitted(cols)
    return Config(rows, 256, group, 2, 200).fitted(cols)


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
    word : str
        float32 or float64.
    planes, tall, wide : int
        How many the kernel has; rows and columns of the largest.
    images, rows, cols : int
        Of the map.
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
        """For kernels (channels, height, width) and maps (images, rows, columns)."""
        _, height, width = kernel
        return cls(
            cuda_planes.word_of(dtype),
            cuda_planes.plane_count(kernel, stride),
            -(-height // stride[0]),
            -(-width // stride[1]),
            *cells,
        )

    @property
    def size(self) -> int:
        """Bytes of a word."""
        return 8 if self.word == "float64" else 4

    @property
    def taps(self) -> int:
        return self.planes * self.tall * self.wide


class ForImage(_Shapes):
    @property
    def config(self) -> Config:
        cols = self.cols + self.wide - 1
        return image_config(self.word, self.tall, self.wide, cols)

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

    @property
    def most_splits(self) -> int:
        """Programs that may share a block, each some columns of the kernel."""
        return -(-self.wide // self.config.group)

    @property
    def sums_bytes(self) -> int:
        """What the programs add up in."""
        return self.programs * self.config.rows * self.config.cols * 8

    @property
    def working_bytes(self) -> int:
        """What one split takes beside the arguments."""
        height, width = self.sides
        grads = self.images * (height + self.tall - 1) * (width + self.wide - 1)
        # The gradients in the words' type, and among zeros.
        return self.sums_bytes + (self.sums_bytes // 8 + 2 * grads) * self.size + 64 * self.planes


class ForKernel(_Shapes):
    @property
    def block(self) -> Block:
        return kernel_block(self.word, self.tall, self.wide)

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
        return -(-self.lines[1] // (MOST * self.block.lanes))

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of pixels, with what may lie behind the last."""
        over = -(-(self.wide + self.block.cols + self.step) // self.width)
        return self.rows + self.blocks[0] * self.block.rows + over, self.width

    @property
    def grad_sides(self) -> tuple[int, int]:
        around = self.rows + 2 * (self.block.rows - 1)
        lines, length = self.lines
        return (
            (around + -(-self.step // self.width), self.width) if lines == 1 else (around, length)
        )

    @property
    def most_splits(self) -> int:
        """Programs that may share a block, each some windows."""
        return self.images * self.lines[0] * self.pieces

    @property
    def sums_bytes(self) -> int:
        """What the programs add up in."""
        return self.programs * self.block.rows * self.block.cols * 8

    @property
    def working_bytes(self) -> int:
        """What one split takes beside the arguments."""
        height, width = self.sides
        pixels = self.images * self.planes * height * width
        height, width = self.grad_sides
        grads = self.images * height * width
        # The gradients in the words' type, and among zeros. The sums, put together; and what is
        # made of them, a plane at a time.
        return (pixels + 2 * grads) * self.size + 3 * self.sums_bytes + 32 * self.taps


def working_bytes(
    dtype: str,
    kernel: tuple[int, int, int],
    stride: tuple[int, int],
    cells: tuple[int, int, int],
    wanted: tuple[bool, bool],
) -> int:
    """What gradients take at least beside their arguments and the kernel laid out.

    For kernels (channels, height, width) and maps (images, rows, columns).
    """
    found = 0
    if wanted[0]:
        found = ForImage.of(dtype, kernel, stride, *cells).working_bytes
    if wanted[1]:
        found = max(found, ForKernel.of(dtype, kernel, stride, *cells).working_bytes)
    return found
