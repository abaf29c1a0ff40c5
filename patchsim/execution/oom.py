"""Tiles that do not fit a device's memory are split in halves and scored again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds, Problem, SharedTileScorer, TileScorer
from patchsim.engines.tile_cache import Shared
from patchsim.errors import MachineError
from patchsim.geometry import tiles
from patchsim.machine import devices
from patchsim.types import Pixels

# Messages of a failed allocation: torch's allocators, cuFFT's work space, Metal's largest tensor.
_FULL = ("out of memory", "CUFFT_ALLOC_FAILED", "CUFFT_INTERNAL_ERROR", "Invalid buffer size")


@contextmanager
def refuse_when_full(device: str) -> Iterator[None]:
    """Turn a failed allocation into an error, while a kernel is prepared, which cannot be split.

    Raises
    ------
    MachineError
        If the device's memory does not suffice.
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


def split_when_full(scorer: TileScorer, problem: Problem) -> TileScorer:
    """Return a scorer that splits a tile in halves where the device's memory does not suffice.

    The free memory cannot be known in advance, because other programs use the device, too.

    Raises
    ------
    MachineError
        If the memory does not suffice for one window.
    """
    size, stride = problem.kernel[:2], problem.stride
    too_many = math.inf  # the fewest windows that did not fit; as many are not tried again

    def scored(pixels: Pixels, levels: NDArray[np.uint8] | None = None) -> Bounds:
        nonlocal too_many
        rows, cols = tiles.map_shape((pixels.shape[0], pixels.shape[1]), size, stride)
        if rows * cols < too_many:
            try:
                return scorer(pixels, levels)
            except RuntimeError as error:
                if not _is_full(error):
                    raise
            # Outside the handler, as the error's traceback keeps tensors alive.
            devices.release_cached_memory(problem.device)
            too_many = min(too_many, rows * cols)
        if rows == cols == 1:
            sides = "x".join(map(str, (size[1], size[0], problem.kernel[2])))
            raise MachineError(
                f"the memory of {problem.device} does not suffice for one window of {sides};"
                " close other programs that use it, or use --device cpu"
            )
        axis = 0 if rows > 1 else 1
        half = (-(-rows // 2), cols) if axis == 0 else (1, -(-cols // 2))
        halves = []
        for tile in tiles.split((rows, cols), half):
            source = tile.source(size, stride)
            half_levels = None if levels is None else levels[source]
            halves.append(scored(pixels[source], half_levels))
        return _join(halves, axis)

    return scored


def split_shared_when_full(
    scorers: Sequence[SharedTileScorer], problems: Sequence[Problem]
) -> list[SharedTileScorer]:
    """Return scorers like those of `split_when_full`, for kernels that share a tile's transforms.

    Once a tile has not fitted, it and all later ones are scored for each kernel alone.
    """
    is_full = False

    def splitting(scorer: SharedTileScorer, problem: Problem) -> SharedTileScorer:
        sizes = problem.kernel[:2], problem.stride

        def alone(pixels: Pixels, levels: NDArray[np.uint8] | None = None) -> Bounds:
            windows = tiles.map_shape((pixels.shape[0], pixels.shape[1]), *sizes)
            return scorer(Shared(pixels, None, levels), windows)

        split = split_when_full(alone, problem)

        def scored(shared: Shared, windows: tuple[int, int]) -> Bounds:
            nonlocal is_full
            if not is_full:
                try:
                    return scorer(shared, windows)
                except RuntimeError as error:
                    if not _is_full(error):
                        raise
                is_full = True
            shared.clear()
            devices.release_cached_memory(problem.device)
            pixels = shared.under(windows, *sizes)
            if shared.levels is None:
                return split(pixels)
            return split(pixels, shared.levels[: pixels.shape[0], : pixels.shape[1]])

        return scored

    return [splitting(*pair) for pair in zip(scorers, problems, strict=True)]


def _is_full(error: RuntimeError) -> bool:
    """Return whether an allocation failed; only torch's allocators raise a type of their own."""
    return any(words in str(error) for words in _FULL)


def _join(halves: list[Bounds], axis: int) -> Bounds:
    errors = [np.broadcast_to(half.error, half.map.shape) for half in halves]
    hidden = [
        np.zeros(half.map.shape, bool) if half.hidden is None else half.hidden for half in halves
    ]
    has_hidden = any(half.hidden is not None for half in halves)
    return Bounds(
        np.concatenate([half.map for half in halves], axis),
        np.concatenate(errors, axis),
        np.concatenate(hidden, axis) if has_hidden else None,
    )
