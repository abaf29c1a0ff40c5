"""Sums of differences by the kernel in `cuda_kernel`: how it is fed, and how it is launched.

The kernel compares *words*, 32 bits (or a float64) of which rows of the image and of a kernel are
made. A stride is taken apart first: the pixels at every s-th place are a plane of their own, as are
those of each channel, and in a plane windows lie next to each other. The word at a place of a plane
of bytes holds the byte there and the three on its right; every fourth is compared.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patchsim import placing, tiles

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Words of a row whose loop the kernel may unroll.
_WIDEST = 8
# Rows of such groups that floats are summed over before the sum goes to a float64, and so
# `ROUNDINGS` of a sum: of the difference, in a group, over the rows. Differences of 16 bits, 255
# times 65,793 of them, are exact in float32 that far.
_FLOAT_ROWS = 32
ROUNDINGS = 1 + _WIDEST + _FLOAT_ROWS

# Kernel rows stand one below the other so often: `cuda_kernel.REPEATS`.
REPEATS = 8

# Windows of a program next to each other, at the most.
_LARGEST = 512

_BYTE_MASKS = {1: 0xFF, 2: 0xFFFF, 3: 0xFFFFFF, 0: 0xFFFFFFFF}


@dataclass(frozen=True)
class Config:
    """How the kernel is compiled.

    Attributes
    ----------
    rows, cols : int
        Windows of a program, powers of two, at most 8 rows; the columns a multiple of its threads.
    group : int
        Words of a kernel row whose loop is unrolled, at most 8.
    warps : int
    registers : int or None
        The most of a thread; None leaves them to the compiler.
    """

    rows: int
    cols: int
    group: int
    warps: int
    registers: int | None = None

    def fitted(self, cols: int) -> Config:
        """For maps of so few columns."""
        found = self
        while found.cols > 32 and found.cols // 2 >= cols:
            half = found.cols // 2
            found = replace(found, cols=half, warps=min(found.warps, half // 32))
        return found


def options(config: Config) -> dict[str, Any]:
    """What Triton compiles with."""
    found: dict[str, Any] = {
        "num_warps": config.warps,
        "num_stages": 1,  # loads are from the cache, without copies in shared memory
        "enable_fp_fusion": False,  # what is fused says so
    }
    return found if config.registers is None else {**found, "maxnreg": config.registers}


@dataclass(frozen=True)
class Kind:
    """What the kernel computes; its code differs by it.

    Attributes
    ----------
    word : str
        uint32, four bytes; float32 or float64.
    squared : bool
        Differences are squared, not absolute.
    heaviest : int
        The largest weight, 0 without weights.
    """

    word: str
    squared: bool
    heaviest: int

    @property
    def shades(self) -> bool:
        return self.heaviest > 1

    @property
    def most(self) -> int:
        """Rows of `_WIDEST` words that may be summed in a word."""
        if self.word != "uint32":
            return _FLOAT_ROWS
        word = 4 * (255 * 255 if self.squared else 255) * max(1, self.heaviest)
        return (2**32 - 1) // (word * _WIDEST)

    def configs(self, height: int) -> list[Config]:
        """Those that may be the fastest for kernels of that height."""
        if self.word == "uint32" and self.squared and self.shades:
            found = [Config(4, 128, 1, 4)]
        elif self.word == "uint32" and self.heaviest:
            found = [Config(8, 256, 4, 4), Config(4, 256, 4, 4)]
        elif self.heaviest or self.word == "float64":
            found = [Config(8, 256, 4, 2, 200), Config(4, 256, 4, 2)]
        else:
            found = [Config(8, 512, 8, 2), Config(8, 256, 8, 1), Config(4, 512, 8, 2)]
        # Rows of pixels are height + rows - 1 to a program, each compared with all its rows.
        low = Config(1, 512, 4, 4)
        return [low] if height == 1 else [*found, low] if height < REPEATS else found


def block_cells(rows: int, cols: int) -> int:
    """Windows in whole blocks of the largest that there are, for a map of that shape."""
    across = Config(REPEATS, _LARGEST, 1, 1).fitted(cols).cols
    return -(-rows // REPEATS) * REPEATS * -(-cols // across) * across


def plane_count(kernel: tuple[int, int, int], stride: tuple[int, int]) -> int:
    """Channels times phases of the stride, of a kernel (channels, height, width)."""
    channels, height, width = kernel
    return channels * min(stride[0], height) * min(stride[1], width)


def plane_words(kernel: tuple[int, int, int], stride: tuple[int, int], rows: int, cols: int) -> int:
    """Words that `image_planes` makes for a kernel [h, w, C] and so many windows, or more."""
    height, width, channels = kernel
    across = Config(REPEATS, _LARGEST, 1, 1).fitted(cols).cols
    tall = rows + REPEATS + -(-height // stride[0])
    wide = cols + across + -(-width // stride[1]) + 3
    return plane_count((channels, height, width), stride) * tall * wide


def missing() -> str | None:
    """What the kernels need to run, and is not here; imports torch."""
    import torch

    if torch.version.hip:
        return "it is for NVIDIA cards, and this torch is built for AMD's"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not here (pip install triton)"
    # With these it builds the code that launches kernels, once.
    if not os.environ.get("CC") and not any(map(shutil.which, ("gcc", "clang"))):
        return "Triton needs a C compiler, and neither gcc nor clang is here (or CC=...)"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
    if not Path(sysconfig.get_path("include", scheme), "Python.h").is_file():
        return "Triton needs Python.h, which is not here (python3-dev in Debian)"
    return None


def word_of(dtype: str) -> str:
    """The words for pixels of a type; 16 bits are floats, exactly."""
    return {"uint8": "uint32", "float64": "float64"}.get(dtype, "float32")


@dataclass(frozen=True)
class _Plane:
    """Which part of a kernel is compared with which pixels."""

    channel: int
    phase: tuple[int, int]  # of the stride, y and x
    height: int
    width: int


def _planes_of(kernel: tuple[int, int, int], stride: tuple[int, int]) -> list[_Plane]:
    """Of a kernel (channels, height, width)."""
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
        Of each plane [height + REPEATS - 1, words of a row, REPEATS]: its row y - i at [y, :, i],
        0 where there is none and where the weight is 0.
    weights : Tensor [kernels, words], optional
        Laid out in the same way. Of bytes without shades all bits are set where the weight is 1.
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
        """Those of one kernel, or all."""
        if number is None:
            return self
        part = slice(number, number + 1)
        weights = None if self.weights is None else self.weights[part]
        return replace(self, words=self.words[part], weights=weights)

    def values(self, index: int) -> Tensor:
        """The first kernel's words in a plane, [height, words], a view."""
        first, height, words, _ = self.table[index]
        # The first of the rows that are repeated is the kernel's own.
        taken = self.words[0, first : first + height * words * REPEATS : REPEATS]
        return taken.view(height, words)

    def table_for(self, planes: Tensor) -> Tensor:
        """As the kernel reads it, with the first word of each of an image's planes in front."""
        _, _, height, width = planes.shape
        entries = [(index * height * width, *entry) for index, entry in enumerate(self.table)]
        # From pinned memory: to wait for the card here would keep it waiting afterwards.
        return placing.tensor(np.array(entries, np.int64), str(planes.device))


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
    heaviest = 0 if weights is None else int(weights.max())
    kind = Kind(word, squared, heaviest)
    values = kernels if word == "uint32" else kernels.to(getattr(torch, word))
    size = (kernels.shape[1], kernels.shape[2], kernels.shape[3])
    planes = _planes_of(size, stride)
    every = weights
    if every is not None:
        values = torch.where(every == 0, 0, values)
        if word != "uint32":
            every = every.to(values.dtype)
        elif not kind.shades:
            every = every * 255

    def laid(values: Tensor) -> Tensor:
        rows = (_rows_of_words(plane_part(values, plane, stride)) for plane in planes)
        return torch.cat([_repeated(each).flatten(1) for each in rows], 1)

    table, first = [], 0
    for plane in planes:
        count = -(-plane.width // 4) if word == "uint32" else plane.width
        table.append((first, plane.height, count, _BYTE_MASKS[plane.width % 4]))
        first += (plane.height + REPEATS - 1) * count * REPEATS
    return Taps(
        kind, size, stride, planes, laid(values), None if every is None else laid(every), table
    )


def plane_part(values: Tensor, plane: _Plane, stride: tuple[int, int]) -> Tensor:
    """What a plane has of [..., C, H, W]."""
    y, x = plane.phase
    return values[..., plane.channel, y :: stride[0], x :: stride[1]]


def _rows_of_words(values: Tensor) -> Tensor:
    """[..., w] -> [..., words]: four bytes each, or the floats."""
    import torch
    import torch.nn.functional as F

    if values.dtype != torch.uint8:
        return values
    padded = F.pad(values, (0, -values.shape[-1] % 4)).contiguous()
    return padded.view(torch.int32)


def _repeated(rows: Tensor) -> Tensor:
    """[N, h, words] -> [N, h + REPEATS - 1, words, REPEATS]."""
    count, height, words = rows.shape
    found = rows.new_zeros((count, height + REPEATS - 1, words, REPEATS))
    for i in range(REPEATS):
        found[:, i : i + height, :, i] = rows
    return found


def image_planes(image: Tensor, kernels: Taps, rows: int, cols: int) -> Tensor:
    """Lay an image out: [B, C, H, W] -> [B, planes, height, width] of words.

    Of each plane at least so many rows and columns of windows, 0 where there are no pixels.
    """
    import torch

    step = 4 if kernels.kind.word == "uint32" else 1
    height = rows + max(plane.height for plane in kernels.planes) - 1
    width = cols + (max(words for _, _, words, _ in kernels.table) - 1) * step
    dtype = torch.uint8 if step == 4 else getattr(torch, kernels.kind.word)
    shape = (len(image), len(kernels.planes), height, width + step - 1)
    found = torch.zeros(shape, dtype=dtype, device=image.device)
    for index, plane in enumerate(kernels.planes):
        part = plane_part(image, plane, kernels.stride)[..., :height, : width + step - 1]
        found[:, index, : part.shape[-2], : part.shape[-1]] = part
    if step == 1:
        return found
    return found.unfold(-1, 4, 1).contiguous().view(torch.int32).squeeze(-1)


def difference_sums(
    image: Tensor, kernels: Taps, config: Config | None = None, room: int | None = None
) -> Tensor:
    """Sums of differences between every kernel and every patch, in one launch.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
        Of the kernels' type and device, no smaller than they.
    kernels : Taps
    config : Config, optional
        The fastest otherwise.
    room : int, optional
        Bytes that programs which share a block may take for sums of their own.

    Returns
    -------
    Tensor [B, N, rows, cols]
        int64 and exact for uint8; float64, of 16 bits exact.
    """
    return _Launch(image, kernels, config or chosen(image, kernels, room), room).run()


# Of each configuration, when the fastest is looked for.
_TRIALS = 4

_chosen: dict[object, Config] = {}
compiled: set[Kind] = set()  # in this process
_choosing = threading.Lock()  # two at a time would slow one another down
# What compiles and launches keeps what it made; nothing says that threads may share that.
_launching = threading.Lock()


def chosen(image: Tensor, kernels: Taps, room: int | None = None) -> Config:
    """The fastest configuration; they are timed once on a card, for kernels of a kind.

    The first one, untimed, while `torch.use_deterministic_algorithms` is on.
    """
    import torch

    configs = candidates(image, kernels)
    if torch.are_deterministic_algorithms_enabled():
        # Another configuration adds floats in another order.
        return configs[0]
    kind = replace(kernels.kind, heaviest=min(kernels.kind.heaviest, 2))
    key = torch.cuda.get_device_name(image.device), kind, tuple(configs)
    return _fastest(
        configs, key, lambda config: _Launch(image, kernels, config, room).window_milliseconds()
    )


def candidates(image: Tensor, kernels: Taps) -> list[Config]:
    """Configurations that may be the fastest."""
    _, cols = _map_shape(image, kernels)
    height = max(plane.height for plane in kernels.planes)
    return [each.fitted(cols) for each in kernels.kind.configs(height)]


def _fastest(configs: list[Config], key: object, cost: Callable[[Config], float]) -> Config:
    """The one that costs least; asked once for a key."""
    with _choosing:
        if key not in _chosen:
            _chosen[key] = configs[0] if len(configs) == 1 else min(configs, key=cost)
        return _chosen[key]


def _map_shape(image: Tensor, kernels: Taps) -> tuple[int, int]:
    sides = image.shape[-2], image.shape[-1]
    return tiles.map_shape(sides, kernels.size[1:], kernels.stride)


def multiprocessors(device: torch.device) -> int:
    """Of a card; none elsewhere, where the interpreter runs programs in turn."""
    import torch

    if device.type != "cuda":
        return 0
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


@contextlib.contextmanager
def launching(device: torch.device) -> Iterator[None]:
    """Where Triton launches: on the current card, one launch at a time."""
    import torch

    on_card = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    with on_card, _launching:
        yield


def has_ptx(device: torch.device) -> bool:
    """Whether kernels may have instructions in PTX, which the interpreter does not know."""
    return device.type == "cuda"  # an NVIDIA card, or `missing` says so


class _Launch:
    """An image as a configuration needs it, kernels, and the programs that compare them."""

    def __init__(
        self, image: Tensor, kernels: Taps, config: Config, room: int | None = None
    ) -> None:
        self.kernels, self.room = kernels, room
        self.rows, self.cols = _map_shape(image, kernels)
        self.config = config = config.fitted(self.cols)
        self.down, self.across = -(-self.rows // config.rows), -(-self.cols // config.cols)
        self.pairs = len(image) * len(kernels.words)
        self.programs = self.pairs * self.down * self.across
        self.planes = image_planes(
            image, kernels, self.down * config.rows, self.across * config.cols
        )
        self.table = kernels.table_for(self.planes)

    def run(self) -> Tensor:
        """Sums [B, N, rows, cols]."""
        config = self.config
        out = self._launched(self.programs)
        cells = out.sum(0).view(self.pairs, self.down, self.across, config.rows, config.cols)
        shape = len(self.planes), -1, self.down * config.rows, self.across * config.cols
        found = cells.permute(0, 1, 3, 2, 4).reshape(shape)
        return found[..., : self.rows, : self.cols]

    def window_milliseconds(self) -> float:
        """What a window takes in the first programs, somewhat more than the card runs at once."""
        import torch

        at_once = 32 * multiprocessors(self.planes.device) // self.config.warps
        programs = min(self.programs, at_once)
        spent: list[float] = []
        event: Any = torch.cuda.Event
        with torch.cuda.device(self.planes.device):
            for _ in range(_TRIALS):
                start, end = event(enable_timing=True), event(enable_timing=True)
                start.record()
                self._launched(programs)
                end.record()
                end.synchronize()
                spent.append(start.elapsed_time(end))
        # The first compiles, and others may be slowed down by another's work.
        return min(spent) / (programs * self.config.rows * self.config.cols)

    def _splits(self) -> int:
        """Programs that share a block's kernel columns, where blocks alone would be too few."""
        config, columns = self.config, max(words for _, _, words, _ in self.kernels.table)
        enough = -(-4 * multiprocessors(self.planes.device) // self.programs)
        if self.room is not None:
            enough = min(enough, 1 + self.room // (self.programs * 8 * config.rows * config.cols))
        return max(1, min(enough, -(-columns // _WIDEST)))

    def _launched(self, programs: int) -> Tensor:
        """[splits, programs, rows x cols] as the kernel fills them."""
        import torch

        from patchsim.engines import cuda_kernel

        kernels, kind, config = self.kernels, self.kernels.kind, self.config
        splits = self._splits()
        whole = kind.word == "uint32"
        shape = (splits, programs, config.rows * config.cols)
        dtype = torch.int64 if whole else torch.float64
        out = torch.zeros(shape, dtype=dtype, device=self.planes.device)

        def words(tensor: Tensor) -> Tensor:
            return tensor.view(torch.uint32) if whole else tensor

        _, plane_count, height, width = self.planes.shape
        compiled.add(kind)
        with launching(out.device):
            cuda_kernel.sums[(programs, splits)](
                words(self.planes),
                words(kernels.words),
                None if kernels.weights is None else words(kernels.weights),
                self.table,
                out,
                plane_count,
                len(kernels.words),
                self.down * self.across,
                self.across,
                plane_count * height * width,
                width,
                kernels.words.shape[1],
                R=config.rows,
                COLS=config.cols,
                GROUP=config.group,
                MOST=kind.most,
                SQUARED=kind.squared,
                SHADES=kind.shades,
                PTX=has_ptx(out.device),
                **options(config),
            )
        return out
