"""The features that a loss takes: from files by their names, in batches that fit the memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchsim import slots
from patchsim.errors import InputError, printable
from patchsim.machine.memory import format_size
from patchsim.slots.feature_files import Stored, open_features, pick, read_rows

if TYPE_CHECKING:
    from torch import Tensor

# Copies of the features that a loss and its matching hold at a time, in the type of the sums.
_COPIES = 20


@dataclass(frozen=True)
class Features:
    """Features under the name that messages use."""

    name: str
    stored: Stored
    path: Path

    @property
    def where(self) -> str:
        return f"{printable(self.path)}: {self.name}"

    def rows(self, start: int, stop: int, device: str) -> Tensor:
        """Rows of the first dimension; finite, or an InputError names the first that is not."""
        block = read_rows(self.stored, start, stop, self.path).to(device)
        place = slots.first_not_finite(block)
        if place is not None:
            value = block[place].item()
            bad = [place[0] + start, *place[1:]]
            raise InputError(f"{self.where} is {value} at {bad}; features are finite")
        return block

    def pairs(self, first: int, last: int, count: int, layout: str, device: str) -> Tensor:
        """[2b, S, C] of images first to last (not included) of `count`."""
        import torch

        if layout == "B2SC":
            return slots.stack_views(self.rows(first, last, device))
        views = [self.rows(view * count + first, view * count + last, device) for view in (0, 1)]
        return torch.cat(views)


@contextmanager
def opened(
    paths: Sequence[Path], wanted: Sequence[tuple[str, tuple[str, ...]]], memory: int
) -> Iterator[list[Features]]:
    """Features by their names in messages and their keys, of one file or of one file each.

    Raises
    ------
    InputError
        If a file cannot be read or does not have them.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open_features(path, memory)) for path in paths]
        found = []
        for number, (name, keys) in enumerate(wanted):
            place = number if len(paths) > 1 else 0
            known = keys
            if set(files[place]) == {""}:  # a .npy, whose one array has no name
                if len(wanted) > len(paths):
                    raise InputError(
                        f"{printable(paths[place])} holds one array, the loss takes two;"
                        " give --f and --p"
                    )
                known = ("",)
            stored = pick(files[place], known, paths[place])
            found.append(Features(name, stored, paths[place]))
        yield found


def bytes_an_image(named: Sequence[Features], pairs: int) -> int:
    """What an image's features, the cosines of `pairs` of its slots and copies of both take."""
    values = 0
    for one in named:
        rows = 2 if len(one.stored.shape) == 3 else 1
        values += rows * math.prod(one.stored.shape[1:])
    return max(4, *(one.stored.itemsize for one in named)) * _COPIES * (values + pairs)


def left(named: Sequence[Features], memory: int) -> int:
    """The memory that is left beside what files keep once they are read."""
    held = sum(one.stored.held for one in named)
    if held > memory:
        raise InputError(
            f"{printable(named[0].path)} takes {format_size(held)} read whole, but memory is"
            f" {format_size(memory)}; save it as .safetensors, or allow more with --memory"
        )
    return memory - held


def images_at_once(count: int, each: int, memory: int, file: str, *, together: bool) -> int:
    least = count if together else 1
    if least * each > memory:
        raise InputError(
            f"{printable(file)} takes {format_size(least * each)} for {least} of its images at a"
            f" time, but memory is {format_size(memory)}; allow more with --memory"
        )
    return min(count, max(1, memory // each))
