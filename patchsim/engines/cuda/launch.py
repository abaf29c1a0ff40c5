"""Launches the kernel in `triton_kernel` and finds its fastest configuration."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchsim.engines.cuda.config import WIDEST, Config, Kind, options
from patchsim.engines.cuda.planes import Taps, image_planes
from patchsim.geometry import tiles

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def missing() -> str | None:
    """Return what the kernels need and this machine lacks, or None; imports torch."""
    import torch

    if torch.version.hip:
        return "it is for NVIDIA cards, and this torch is built for AMD's"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not here (pip install triton)"
    # Triton builds the code that launches kernels with a C compiler.
    if not os.environ.get("CC") and not any(map(shutil.which, ("gcc", "clang"))):
        return "Triton needs a C compiler, and neither gcc nor clang is here (or CC=...)"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
    if not Path(sysconfig.get_path("include", scheme), "Python.h").is_file():
        return "Triton needs Python.h, which is not here (python3-dev in Debian)"
    return None


def difference_sums(
    image: Tensor, kernels: Taps, config: Config | None = None, room: int | None = None
) -> Tensor:
    """Sum the differences between every kernel and every patch, in one launch.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
        Its type and device are the kernels'; it is no smaller than they are.
    kernels : Taps
    config : Config, optional
        By default the fastest.
    room : int, optional
        Bytes for the sums of programs that share a block.

    Returns
    -------
    Tensor [B, N, rows, cols]
        int64 and exact for uint8; otherwise float64, exact for uint16.
    """
    return _Launch(image, kernels, config or chosen(image, kernels, room), room).run()


# Timed runs of each configuration.
_TRIALS = 4

_chosen: dict[object, Config] = {}
compiled: set[Kind] = set()  # kinds launched in this process
_choosing = threading.Lock()  # two at a time would slow one another down
# Triton caches what it compiles, and does not say that threads may share that cache.
_launching = threading.Lock()


def chosen(image: Tensor, kernels: Taps, room: int | None = None) -> Config:
    """Return the fastest configuration; they are timed once on a card, for kernels of a kind.

    It is the first one, untimed, while `torch.use_deterministic_algorithms` is on.
    """
    import torch

    configs = candidates(image, kernels)
    if torch.are_deterministic_algorithms_enabled():
        # Another configuration adds floats in another order.
        return configs[0]
    kind = replace(kernels.kind, max_weight=min(kernels.kind.max_weight, 2))
    key = torch.cuda.get_device_name(image.device), kind, tuple(configs)
    return _fastest(
        configs, key, lambda config: _Launch(image, kernels, config, room).window_milliseconds()
    )


def candidates(image: Tensor, kernels: Taps) -> list[Config]:
    """Return the configurations that may be the fastest."""
    _, cols = _map_shape(image, kernels)
    height = max(plane.height for plane in kernels.planes)
    return [config.fitted(cols) for config in kernels.kind.configs(height)]


def _fastest(configs: list[Config], key: object, cost: Callable[[Config], float]) -> Config:
    """Return the configuration that costs least; it is measured once for a key."""
    with _choosing:
        if key not in _chosen:
            _chosen[key] = configs[0] if len(configs) == 1 else min(configs, key=cost)
        return _chosen[key]


def _map_shape(image: Tensor, kernels: Taps) -> tuple[int, int]:
    sides = image.shape[-2], image.shape[-1]
    return tiles.map_shape(sides, kernels.size[1:], kernels.stride)


def multiprocessors(device: torch.device) -> int:
    """Return a card's multiprocessors; 0 for the interpreter, which runs programs in turn."""
    import torch

    if device.type != "cuda":
        return 0
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


@contextlib.contextmanager
def launching(device: torch.device) -> Iterator[None]:
    """Make the device current and exclude other launches while Triton launches."""
    import torch

    on_card = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    with on_card, _launching:
        yield


def has_ptx(device: torch.device) -> bool:
    """Return whether kernels may use PTX, which the interpreter does not know."""
    return device.type == "cuda"  # an NVIDIA card, or `missing` says so


class _Launch:
    """One launch: the image's planes, the kernels, and the programs that compare them."""

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
        """Return the sums [B, N, rows, cols]."""
        config = self.config
        out = self._launched(self.programs)
        cells = out.sum(0).view(self.pairs, self.down, self.across, config.rows, config.cols)
        shape = len(self.planes), -1, self.down * config.rows, self.across * config.cols
        sums = cells.permute(0, 1, 3, 2, 4).reshape(shape)
        return sums[..., : self.rows, : self.cols]

    def window_milliseconds(self) -> float:
        """Measure a window in the first programs, somewhat more than the card runs at once."""
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
        """Return how many programs share a block's kernel columns, if blocks alone are too few."""
        config, columns = self.config, max(words for _, _, words, _ in self.kernels.table)
        enough = -(-4 * multiprocessors(self.planes.device) // self.programs)
        if self.room is not None:
            enough = min(enough, 1 + self.room // (self.programs * 8 * config.rows * config.cols))
        return max(1, min(enough, -(-columns // WIDEST)))

    def _launched(self, programs: int) -> Tensor:
        """Return the kernel's output [splits, programs, rows x cols]."""
        import torch

        from patchsim.engines.cuda import triton_kernel

        kernels, kind, config = self.kernels, self.kernels.kind, self.config
        splits = self._splits()
        is_integer = kind.word == "uint32"
        shape = (splits, programs, config.rows * config.cols)
        dtype = torch.int64 if is_integer else torch.float64
        out = torch.zeros(shape, dtype=dtype, device=self.planes.device)

        def words(tensor: Tensor) -> Tensor:
            return tensor.view(torch.uint32) if is_integer else tensor

        _, plane_count, height, width = self.planes.shape
        compiled.add(kind)
        with launching(out.device):
            triton_kernel.sums[(programs, splits)](
                planes=words(self.planes),
                taps=words(kernels.words),
                weights=None if kernels.weights is None else words(kernels.weights),
                table=self.table,
                out=out,
                plane_count=plane_count,
                kernel_count=len(kernels.words),
                blocks=self.down * self.across,
                across=self.across,
                image_step=plane_count * height * width,
                row_step=width,
                kernel_step=kernels.words.shape[1],
                R=config.rows,
                COLS=config.cols,
                GROUP=config.group,
                MOST=kind.most,
                SQUARED=kind.squared,
                SHADES=kind.has_shades,
                PTX=has_ptx(out.device),
                **options(config),
            )
        return out
