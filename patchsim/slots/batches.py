"""Features of a loss, read from files in batches of images that fit the memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchsim.errors import InputError, printable
from patchsim.machine.memory import format_size
from patchsim.slots.feature_files import open_features, pick, read_rows
from patchsim.slots.losses import stack_views
from patchsim.slots.stored_tensors import Stored
from patchsim.slots.tensor_checks import first_not_finite

if TYPE_CHECKING:
    from torch import Tensor

# Copies of the features that a loss and its matching hold at a time, in the type of the sums.
_COPIES = 20


@dataclass(frozen=True)
class Features:
    """A tensor of features in a file.

    Attributes
    ----------
    name : str
        The name that messages use.
    stored : Stored
    path : Path
    """

    name: str
    stored: Stored
    path: Path

    @property
    def where(self) -> str:
        """The file and the name, as the beginning of a message."""
        return f"{printable(self.path)}: {self.name}"

    def rows(self, start: int, stop: int, device: str) -> Tensor:
        """Read the rows [start, stop) of the first dimension onto a device.

        Raises
        ------
        InputError
            If the file is damaged there, or a value is not finite.
        """
        block = read_rows(self.stored, start, stop, self.path).to(device)
        index = first_not_finite(block)
        if index is not None:
            value = block[index].item()
            place = [index[0] + start, *index[1:]]
            raise InputError(f"{self.where} is {value} at {place}; features are finite")
        return block

    def pairs(self, first: int, last: int, image_count: int, layout: str, device: str) -> Tensor:
        """Read both views of the images [first, last) of `image_count`, as [2b, S, C]."""
        import torch

        if layout == "B2SC":
            return stack_views(self.rows(first, last, device))
        starts = (0, image_count)
        return torch.cat([self.rows(start + first, start + last, device) for start in starts])


@contextmanager
def opened(
    paths: Sequence[Path], names: Sequence[tuple[str, tuple[str, ...]]], memory: int
) -> Iterator[list[Features]]:
    """Open the features of a loss, all in one file or each in a file of its own.

    Parameters
    ----------
    paths : sequence of Path
        One file, or one for each of `names`.
    names : sequence of (name, keys)
        The name in messages, and the keys of which the first that a file has is taken.
    memory : int
        Bytes that may be used for files which must be read as a whole.

    Raises
    ------
    InputError
        If a file cannot be read or does not have the features.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open_features(path, memory)) for path in paths]
        features = []
        for i, (name, keys) in enumerate(names):
            number = i if len(paths) > 1 else 0
            if set(files[number]) == {""}:  # a .npy, whose one array has no name
                if len(names) > len(paths):
                    raise InputError(
                        f"{printable(paths[number])} holds one array, the loss takes two;"
                        " give --f and --p"
                    )
                keys = ("",)
            stored = pick(files[number], keys, paths[number])
            features.append(Features(name, stored, paths[number]))
        yield features


def bytes_per_image(features: Sequence[Features], pair_count: int) -> int:
    """Estimate the memory for one image: its features, its cosines, and copies of both."""
    values = pair_count
    for one in features:
        rows = 2 if len(one.stored.shape) == 3 else 1
        values += rows * math.prod(one.stored.shape[1:])
    itemsize = max(4, *(one.stored.itemsize for one in features))
    return itemsize * _COPIES * values


def spare_memory(features: Sequence[Features], memory: int) -> int:
    """Return the memory that is left beside what files keep once they are read.

    Raises
    ------
    InputError
        If the files alone need more.
    """
    held = sum(one.stored.held for one in features)
    if held > memory:
        raise InputError(
            f"{printable(features[0].path)} takes {format_size(held)} read whole, but memory is"
            f" {format_size(memory)}; save it as .safetensors, or allow more with --memory"
        )
    return memory - held


def batch_size(
    image_count: int, image_bytes: int, memory: int, file: str, *, needs_all: bool
) -> int:
    """Return the number of images that are scored at once.

    Parameters
    ----------
    image_count, image_bytes : int
        The number of all images, and the memory that each takes.
    memory : int
    file : str
        The file's name in the message of an error.
    needs_all : bool
        Whether all images must be scored at once.

    Raises
    ------
    InputError
        If the memory is too small.
    """
    smallest = image_count if needs_all else 1
    if smallest * image_bytes > memory:
        raise InputError(
            f"{printable(file)} takes {format_size(smallest * image_bytes)} for {smallest} of its"
            f" images at a time, but memory is {format_size(memory)}; allow more with --memory"
        )
    return min(image_count, max(1, memory // image_bytes))
