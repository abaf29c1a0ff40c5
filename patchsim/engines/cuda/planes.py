"""Layout of pixels and kernels for the kernel in `triton_kernel`: words, in planes.

The kernel compares *words*, 32 bits (or a float64) of which rows of the image and of a kernel are
made. A stride is taken apart first: the pixels at every s-th place are a plane of their own, as are
those of each channel, and in a plane windows lie next to each other. The word at a place of a plane
of bytes holds the byte there and the three on its right; every fourth is compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from patchsim.engines.cuda.config import REPEATS, Kind, block_cols
from patchsim.numerics import array_api

if TYPE_CHECKING:
    from torch import Tensor

_BYTE_MASKS = {1: 0xFF, 2: 0xFFFF, 3: 0xFFFFFF, 0: 0xFFFFFFFF}


def plane_count(kernel: tuple[int, int, int], stride: tuple[int, int]) -> int:
    """Return the number of planes of a kernel (channels, height, width): channels times phases."""
    channels, height, width = kernel
    return channels * min(stride[0], height) * min(stride[1], width)


def plane_words(kernel: tuple[int, int, int], stride: tuple[int, int], rows: int, cols: int) -> int:
    """Return the most words that `image_planes` makes for a kernel [h, w, C] and these windows."""
    height, width, channels = kernel
    across = block_cols(cols)
    tall = rows + REPEATS + -(-height // stride[0])
    wide = cols + across + -(-width // stride[1]) + 3
    return plane_count((channels, height, width), stride) * tall * wide


def word_of(dtype: str) -> str:
    """Return the type of the words for pixels of a type; float32 holds 16 bits exactly."""
    return {"uint8": "uint32", "float64": "float64"}.get(dtype, "float32")


class _Plane(NamedTuple):
    """A part of a kernel, and the pixels that it is compared with."""

    channel: int
    phase: tuple[int, int]  # of the stride, y and x
    height: int
    width: int


def _planes_of(kernel: tuple[int, int, int], stride: tuple[int, int]) -> list[_Plane]:
    """Return the planes of a kernel (channels, height, width)."""
    channels, height, width = kernel
    return [
        _Plane(channel, (y, x), -(-(height - y) // stride[0]), -(-(width - x) // stride[1]))
        for channel in range(channels)
        for y in range(min(stride[0], height))
        for x in range(min(stride[1], width))
    ]


@dataclass(frozen=True)
class Taps:
    """Kernels of one size, laid out on a device; made by `taps`.

    Attributes
    ----------
    kind : Kind
    size : (channels, height, width)
    stride : (y, x)
    planes : list of _Plane
    words : Tensor [kernels, words]
        Plane after plane, each [height + REPEATS - 1, words of a row, REPEATS]: row y - i of the
        plane is at [y, :, i]; where there is no row, or the weight is 0, there are zeros.
    weights : Tensor [kernels, words], optional
        The weights in this layout. Without shades a byte has all bits set where the weight is 1.
    table : list of (first word, height, words of a row, bits of a row's last word that count)
    """

    kind: Kind
    size: tuple[int, int, int]
    stride: tuple[int, int]
    planes: list[_Plane]
    words: Tensor
    weights: Tensor | None
    table: list[tuple[int, int, int, int]]

    def only(self, number: int | None) -> Taps:
        """Return the taps of one kernel, or all if `number` is None."""
        if number is None:
            return self
        only_it = slice(number, number + 1)
        weights = None if self.weights is None else self.weights[only_it]
        return replace(self, words=self.words[only_it], weights=weights)

    def values(self, index: int) -> Tensor:
        """Return the words of the first kernel in a plane, a view [height, words]."""
        first, height, words, _ = self.table[index]
        # The first of the rows that are repeated is the kernel's own.
        taken = self.words[0, first : first + height * words * REPEATS : REPEATS]
        return taken.view(height, words)

    def table_for(self, planes: Tensor) -> Tensor:
        """Return the table for `triton_kernel`, with the first word of each plane in front."""
        _, _, height, width = planes.shape
        entries = [(index * height * width, *entry) for index, entry in enumerate(self.table)]
        # From pinned memory: to wait for the card here would keep it waiting afterwards.
        return array_api.tensor(np.array(entries, np.int64), str(planes.device))


def taps(
    kernels: Tensor, stride: tuple[int, int], *, squared: bool, weights: Tensor | None = None
) -> Taps:
    """Lay kernels out.

    Parameters
    ----------
    kernels : Tensor [N, C, h, w]
        uint8, uint16 or floats.
    stride : (y, x)
    squared : bool
        Differences will be squared.
    weights : Tensor [N, C, h, w], optional
        uint8.
    """
    import torch

    word = word_of(str(kernels.dtype).removeprefix("torch."))
    max_weight = 0 if weights is None else int(weights.max())
    kind = Kind(word, squared, max_weight)
    values = kernels if word == "uint32" else kernels.to(getattr(torch, word))
    size = (kernels.shape[1], kernels.shape[2], kernels.shape[3])
    planes = _planes_of(size, stride)
    every = weights
    if every is not None:
        values = torch.where(every == 0, 0, values)
        if word != "uint32":
            every = every.to(values.dtype)
        elif not kind.has_shades:
            every = every * 255

    def laid(values: Tensor) -> Tensor:
        rows = (_rows_of_words(plane_part(values, plane, stride)) for plane in planes)
        return torch.cat([_repeated(words).flatten(1) for words in rows], 1)

    table, first = [], 0
    for plane in planes:
        count = -(-plane.width // 4) if word == "uint32" else plane.width
        table.append((first, plane.height, count, _BYTE_MASKS[plane.width % 4]))
        first += (plane.height + REPEATS - 1) * count * REPEATS
    return Taps(
        kind=kind,
        size=size,
        stride=stride,
        planes=planes,
        words=laid(values),
        weights=None if every is None else laid(every),
        table=table,
    )


def plane_part(values: Tensor, plane: _Plane, stride: tuple[int, int]) -> Tensor:
    """Return a view of the part of [..., C, H, W] that lies in a plane."""
    y, x = plane.phase
    return values[..., plane.channel, y :: stride[0], x :: stride[1]]


def _rows_of_words(values: Tensor) -> Tensor:
    """Join each four bytes of rows [..., w] to a word, [..., words]; floats are words already."""
    import torch
    import torch.nn.functional as F

    if values.dtype != torch.uint8:
        return values
    padded = F.pad(values, (0, -values.shape[-1] % 4)).contiguous()
    return padded.view(torch.int32)


def _repeated(rows: Tensor) -> Tensor:
    """Repeat rows [N, h, words], each shift one lower: [N, h + REPEATS - 1, words, REPEATS]."""
    count, height, words = rows.shape
    repeated = rows.new_zeros((count, height + REPEATS - 1, words, REPEATS))
    for i in range(REPEATS):
        repeated[:, i : i + height, :, i] = rows
    return repeated


def image_planes(image: Tensor, kernels: Taps, rows: int, cols: int) -> Tensor:
    """Lay an image [B, C, H, W] out in planes of words, [B, planes, height, width].

    Each plane has pixels for at least `rows` x `cols` windows; where the image ends they are 0.
    """
    import torch

    step = 4 if kernels.kind.word == "uint32" else 1
    height = rows + max(plane.height for plane in kernels.planes) - 1
    width = cols + (max(words for _, _, words, _ in kernels.table) - 1) * step
    dtype = torch.uint8 if step == 4 else getattr(torch, kernels.kind.word)
    shape = (len(image), len(kernels.planes), height, width + step - 1)
    planes = torch.zeros(shape, dtype=dtype, device=image.device)
    for index, plane in enumerate(kernels.planes):
        pixels = plane_part(image, plane, kernels.stride)[..., :height, : width + step - 1]
        planes[:, index, : pixels.shape[-2], : pixels.shape[-1]] = pixels
    if step == 1:
        return planes
    return planes.unfold(-1, 4, 1).contiguous().view(torch.int32).squeeze(-1)
