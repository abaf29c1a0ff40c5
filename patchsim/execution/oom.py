"""What does not fit a device's memory is scored in halves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds, Problem, SharedTileScore, TileScore
from patchsim.engines.tile_cache import Shared
from patchsim.errors import MachineError
from patchsim.geometry import tiles
from patchsim.machine import devices
from patchsim.types import Pixels

# cuFFT fails like this where its work space does not fit, and Apple's for one tensor too large.
_FULL = ("out of memory", "CUFFT_ALLOC_FAILED", "CUFFT_INTERNAL_ERROR", "Invalid buffer size")


@contextmanager
def preparing(device: str) -> Iterator[None]:
    """What a kernel takes for itself cannot be halved.

    Raises
    ------
    MachineError
        If the device's memory does not suffice for it.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_full(error):
            raise
        raise MachineError(
            f"the memory of {device} does not suffice for what is made of a kernel;"
            " close other programs that use it, or use --device cpu"
        ) from None


def within_memory(score: TileScore, problem: Problem) -> TileScore:
    """The same scores, of smaller tiles where the device's memory does not suffice.

    How much of it is free is known to nobody beforehand: other programs use the device, too.

    Raises
    ------
    MachineError
        If it does not suffice for one window.
    """
    size, stride = problem.kernel[:2], problem.stride
    too_many = math.inf  # windows; no use to try as many again

    def scored(pixels: Pixels, levels: NDArray[np.uint8] | None = None) -> Bounds:
        nonlocal too_many
        rows, cols = tiles.map_shape((pixels.shape[0], pixels.shape[1]), size, stride)
        if rows * cols < too_many:
            try:
                return score(pixels, levels)
            except RuntimeError as error:
                if not _is_full(error):
                    raise
            # Now that the tensors which its traceback held are freed.
            devices.release_cached_memory(problem.device)
            too_many = min(too_many, rows * cols)
        if rows == cols == 1:
            sides = "x".join(map(str, (size[1], size[0], problem.kernel[2])))
            raise MachineError(
                f"the memory of {problem.device} does not suffice for one window of {sides};"
                " close other programs that use it, or use --device cpu"
            )
        axis = 0 if rows > 1 else 1
        part = (-(-rows // 2), cols) if axis == 0 else (1, -(-cols // 2))
        halves = []
        for tile in tiles.split((rows, cols), part):
            source = tile.source(size, stride)
            part_levels = None if levels is None else levels[source]
            halves.append(scored(pixels[source], part_levels))
        return _joined(halves, axis)

    return scored


def within_memory_together(
    scores: Sequence[SharedTileScore], problems: Sequence[Problem]
) -> list[SharedTileScore]:
    """The same for several kernels that share what is made of a tile.

    A tile that does not fit is scored for each of them alone, and so are all that come after it.
    """
    full = False

    def of_one(score: SharedTileScore, problem: Problem) -> SharedTileScore:
        sizes = problem.kernel[:2], problem.stride

        def alone(pixels: Pixels, levels: NDArray[np.uint8] | None = None) -> Bounds:
            windows = tiles.map_shape((pixels.shape[0], pixels.shape[1]), *sizes)
            return score(Shared(pixels, None, levels), windows)

        in_halves = within_memory(alone, problem)

        def scored(shared: Shared, windows: tuple[int, int]) -> Bounds:
            nonlocal full
            if not full:
                try:
                    return score(shared, windows)
                except RuntimeError as error:
                    if not _is_full(error):
                        raise
                full = True
            shared.clear()
            devices.release_cached_memory(problem.device)
            pixels = shared.under(windows, *sizes)
            if shared.levels is None:
                return in_halves(pixels)
            return in_halves(pixels, shared.levels[: pixels.shape[0], : pixels.shape[1]])

        return scored

    return [of_one(*pair) for pair in zip(scores, problems, strict=True)]


def _is_full(error: RuntimeError) -> bool:
    """Torch has a type for what its allocators lack; other libraries only say so, or less."""
    return any(words in str(error) for words in _FULL)


def _joined(parts: list[Bounds], axis: int) -> Bounds:
    errors = [np.broadcast_to(part.error, part.map.shape) for part in parts]
    hidden = [
        np.zeros(part.map.shape, bool) if part.hidden is None else part.hidden for part in parts
    ]
    anything_hidden = any(part.hidden is not None for part in parts)
    return Bounds(
        np.concatenate([part.map for part in parts], axis),
        np.concatenate(errors, axis),
        np.concatenate(hidden, axis) if anything_hidden else None,
    )
