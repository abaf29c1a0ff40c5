"""What does not fit a card's memory is scored in halves."""

from __future__ import annotations

from typing import Any

import numpy as np

from patchsim import tiles
from patchsim.engines import Bounds, Problem, Score
from patchsim.errors import MachineError
from patchsim.metrics import Pixels


def within_memory(score: Score, problem: Problem) -> Score:
    """The same scores, of smaller tiles where the device's memory does not suffice.

    How much of it is free is known to nobody beforehand: other programs use the card, too.

    Raises
    ------
    MachineError
        If it does not suffice for one window.
    """
    import torch

    size, stride = problem.kernel[:2], problem.stride

    def scored(pixels: Pixels, *levels: Any) -> Bounds:
        try:
            return score(pixels, *levels)
        except torch.cuda.OutOfMemoryError:
            pass  # and the tensors that its traceback holds are freed
        torch.cuda.empty_cache()
        rows, cols = tiles.map_shape((pixels.shape[0], pixels.shape[1]), size, stride)
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
            halves.append(scored(pixels[source], *(each[source] for each in levels)))
        return _joined(halves, axis)

    return scored


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
